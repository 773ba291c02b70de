/**
 * A Namespace over a ModelStore and a data half that holds no data: calls with strings, waiting done, and
 * the store seen to be whole after each.
 */
import type { Clock } from "../../host/base/clock.ts";
import { Retry } from "../../host/base/retry.ts";
import { Core } from "../../host/core/core.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import type { DataHooks } from "../../host/fs/data_hooks.ts";
import { AttributeChange, Attributes, NewNode } from "../../host/fs/file_system.ts";
import { formatRoot, Namespace } from "../../host/fs/namespace.ts";
import type { InodeQuota } from "../../host/fs/quotas.ts";
import { ContractError, ModelStore } from "./model_store.ts";
import { treeProblems } from "./namespace_check.ts";

/** As a volume without quotas. */
const NO_QUOTAS: InodeQuota = {
  areOn: false,
  inodeProblem: () => 0,
  moveProblem: () => 0,
  ownersAt: () => ({ uid: 0, gid: 0, project: 0 }),
};

const NAME_AREA = 8192;
const BUFFER_BYTES = 1 << 17;

export interface Listed {
  readonly name: string;
  readonly ino: number;
  readonly type: number;
  readonly cookie: number;
}

export interface RigOptions {
  readonly retryShare?: number;
  readonly seed?: number;
  readonly readOnly?: boolean;
  /** Names that do not begin with "user." get one of so many hashes. */
  readonly hashes?: number;
}

/** Whatever the data half is asked for is written down here. */
export class RecordingHooks implements DataHooks {
  readonly reaped: number[] = [];
  readonly ordered: number[] = [];
  readonly truncated: { ino: number; size: number; newSize: number }[] = [];
  readonly released: number[] = [];
  /** What truncatePrepare returns. */
  truncateStatus = 0;
  /** What truncateApply returns. */
  blocksFreed = 0;
  /** Files whose data does not go in one transaction. */
  readonly heavy: Set<number> = new Set();
  readonly overlays: Map<number, { size: number; mtime: number }> = new Map();

  overlay(ino: number, out: Attributes): void {
    const newer = this.overlays.get(ino);
    if (newer === undefined) return;
    out.size = newer.size;
    out.mtime = newer.mtime;
  }

  truncatePrepare(_ino: number, _size: number, _newSize: number): number {
    return this.truncateStatus;
  }

  truncateApply(ino: number, size: number, newSize: number): number {
    this.truncated.push({ ino, size, newSize });
    return this.blocksFreed;
  }

  releasePrepare(ino: number): boolean {
    return !this.heavy.has(ino);
  }

  releaseApply(ino: number): void {
    this.released.push(ino);
  }

  reap(ino: number): void {
    this.reaped.push(ino);
  }

  orderData(ino: number): void {
    this.ordered.push(ino);
  }

  flagsChanged(): void {}

  ctimeChanged(): null {
    return null;
  }

  attributesChanged(ino: number, out: Attributes): void {
    const newer = this.overlays.get(ino);
    if (newer !== undefined) newer.mtime = out.mtime;
  }
}

export class Rig {
  readonly core: Core;
  readonly store: ModelStore;
  readonly hooks: RecordingHooks = new RecordingHooks();
  readonly out: Attributes = new Attributes();
  readonly node: NewNode = new NewNode();
  readonly change: AttributeChange = new AttributeChange();
  /** Seconds of the clock; every look at it is a second later. */
  now = 1000;
  names: Namespace;
  readonly #clock: Clock;
  readonly #layout: Layout;
  readonly #name: number;
  readonly #buffer: number;
  readonly #readOnly: boolean;

  constructor(options: RigOptions = {}) {
    const loaded = loadCore({ memoryPages: 32 });
    this.core =
      options.hashes === undefined
        ? loaded
        : new Core(weakened(loaded, options.hashes), loaded.memory);
    this.#layout = new Layout(this.core);
    this.store = new ModelStore({
      core: this.core,
      layout: this.#layout,
      retryShare: options.retryShare ?? 0,
      seed: options.seed ?? 1,
    });
    this.#name = this.#layout.take(2 * NAME_AREA, 8);
    this.#buffer = this.#layout.take(BUFFER_BYTES, 8);
    this.#clock = {
      seconds: () => ++this.now,
      nanoseconds: () => this.now % 1000,
      monotonicMs: () => this.now * 1000,
    };
    this.#readOnly = options.readOnly ?? false;
    this.call(() => {
      this.store.begin(0);
      formatRoot(this.store, this.core, this.#clock, this.#layout);
      this.store.commit();
      return 0;
    });
    this.names = this.#open();
  }

  #open(): Namespace {
    return new Namespace({
      store: this.store,
      core: this.core,
      clock: this.#clock,
      layout: this.#layout,
      hooks: this.hooks,
      quotas: NO_QUOTAS,
      readOnly: this.#readOnly,
    });
  }

  /** As a mount after a crash: nothing is remembered but the tree. */
  remount(): void {
    this.names = this.#open();
  }

  /** Runs an operation until it does not wait, and sees that it leaves the store whole. */
  call(operation: () => number): number {
    for (let turn = 0; ; turn++) {
      const before = this.store.commits;
      try {
        const result = operation();
        if (this.store.unfinished) throw new ContractError(`changes left open, result ${result}`);
        if (result < 0 && this.store.commits > before)
          throw new ContractError(`a commit with ${result}`);
        return result;
      } catch (error) {
        if (!(error instanceof Retry)) throw error;
        if (this.store.unfinished) throw new ContractError("a wait after the first change");
        if (turn > 10_000) throw new Error("An operation waits for ever");
        error.wait(() => {});
      }
    }
  }

  /** Puts a name (Latin-1, a byte a character) where operations read it. */
  #put(name: string, area = 0): number {
    const at = this.#name + area * NAME_AREA;
    for (let i = 0; i < name.length; i++) this.core.bytes[at + i] = name.charCodeAt(i);
    return at;
  }

  #made(mode: number, options: { uid?: number; gid?: number; rdev?: number }): NewNode {
    this.node.mode = mode;
    this.node.uid = options.uid ?? 0;
    this.node.gid = options.gid ?? 0;
    this.node.rdev = options.rdev ?? 0;
    return this.node;
  }

  /** The number of the new inode, or −errno. */
  #inoOr(status: number): number {
    return status < 0 ? status : this.out.ino;
  }

  lookup(parent: number, name: string): number {
    const at = this.#put(name);
    return this.#inoOr(this.call(() => this.names.lookup(parent, at, name.length, this.out)));
  }

  stat(ino: number): Attributes {
    const out = new Attributes();
    const status = this.call(() => this.names.getAttributes(ino, out));
    if (status < 0) throw new Error(`getAttributes of ${ino}: ${status}`);
    return out;
  }

  statStatus(ino: number): number {
    return this.call(() => this.names.getAttributes(ino, this.out));
  }

  file(
    parent: number,
    name: string,
    mode = 0o100644,
    options: { uid?: number; gid?: number; rdev?: number } = {},
  ): number {
    const at = this.#put(name);
    return this.#inoOr(
      this.call(() =>
        this.names.making.makeNode(parent, at, name.length, this.#made(mode, options), this.out),
      ),
    );
  }

  directory(
    parent: number,
    name: string,
    mode = 0o755,
    options: { uid?: number; gid?: number } = {},
  ): number {
    const at = this.#put(name);
    return this.#inoOr(
      this.call(() =>
        this.names.making.makeDirectory(
          parent,
          at,
          name.length,
          this.#made(mode, options),
          this.out,
        ),
      ),
    );
  }

  symlink(parent: number, name: string, target: string): number {
    const at = this.#put(name);
    const to = this.#put(target, 1);
    return this.#inoOr(
      this.call(() =>
        this.names.making.makeSymlink(
          parent,
          at,
          name.length,
          to,
          target.length,
          this.#made(0o777, {}),
          this.out,
        ),
      ),
    );
  }

  unnamed(parent: number, mode = 0o600): number {
    return this.#inoOr(
      this.call(() => this.names.making.makeUnnamed(parent, this.#made(mode, {}), this.out)),
    );
  }

  link(ino: number, parent: number, name: string): number {
    const at = this.#put(name);
    return this.call(() => this.names.making.link(ino, parent, at, name.length, this.out));
  }

  unlink(parent: number, name: string): number {
    const at = this.#put(name);
    return this.call(() => this.names.removal.unlink(parent, at, name.length));
  }

  removeDirectory(parent: number, name: string): number {
    const at = this.#put(name);
    return this.call(() => this.names.removal.removeDirectory(parent, at, name.length));
  }

  rename(parent: number, name: string, newParent: number, newName: string, flags = 0): number {
    const from = this.#put(name);
    const to = this.#put(newName, 1);
    return this.call(() =>
      this.names.renaming.rename(parent, from, name.length, newParent, to, newName.length, flags),
    );
  }

  readLink(ino: number, bufferBytes = 4096): string | number {
    const length = this.call(() => this.names.readLink(ino, this.#buffer, bufferBytes));
    return length < 0 ? length : this.#text(this.#buffer, length);
  }

  parentOf(ino: number): number {
    return this.call(() => this.names.parentOf(ino));
  }

  /** One reading after a cookie, of `limit` entries at most. Only an empty one is the end: what waits comes later. */
  listSome(
    ino: number,
    cookie: number,
    limit: number = Number.POSITIVE_INFINITY,
  ): Listed[] | number {
    let found: Listed[] = [];
    const status = this.call(() => {
      found = [];
      return this.names.readDirectory(ino, cookie, (entry, type, name, length, next) => {
        if (found.length >= limit) return false;
        found.push({ ino: entry, type, name: this.#text(name, length), cookie: next });
        return true;
      });
    });
    if (status < 0) return status;
    if (status !== found.length) throw new Error(`${found.length} entries given, ${status} told`);
    return found;
  }

  /** All entries. */
  list(ino: number): Listed[] | number {
    const all: Listed[] = [];
    for (;;) {
      const found = this.listSome(ino, all.at(-1)?.cookie ?? 0);
      if (typeof found === "number") return found;
      if (found.length === 0) return all;
      all.push(...found);
    }
  }

  setAttributes(ino: number, change: Partial<AttributeChange>): number {
    Object.assign(this.change, new AttributeChange(), change);
    return this.call(() => this.names.attributes.setAttributes(ino, this.change, this.out));
  }

  setXattr(ino: number, name: string, value: Uint8Array, flags = 0): number {
    const at = this.#put(name);
    this.core.bytes.set(value, this.#buffer);
    return this.call(() =>
      this.names.setXattr(ino, at, name.length, this.#buffer, value.length, flags),
    );
  }

  getXattr(ino: number, name: string, bufferBytes: number = BUFFER_BYTES): Uint8Array | number {
    const at = this.#put(name);
    const length = this.call(() =>
      this.names.getXattr(ino, at, name.length, this.#buffer, bufferBytes),
    );
    if (length < 0 || bufferBytes === 0) return length;
    return this.core.bytes.slice(this.#buffer, this.#buffer + length);
  }

  listXattr(ino: number, bufferBytes: number = BUFFER_BYTES): string[] | number {
    const length = this.call(() => this.names.listXattr(ino, this.#buffer, bufferBytes));
    if (length < 0 || bufferBytes === 0) return length;
    return this.#text(this.#buffer, length).split("\0").slice(0, -1);
  }

  removeXattr(ino: number, name: string): number {
    const at = this.#put(name);
    return this.call(() => this.names.removeXattr(ino, at, name.length));
  }

  remember(ino: number, count = 1): void {
    this.names.removal.remember(ino, count);
  }

  forget(ino: number, count = 1): void {
    this.names.removal.forget(ino, count);
  }

  /** Frees what was handed over to be reaped. Returns how many transactions it took. */
  reap(): number {
    let steps = 0;
    for (const ino of this.hooks.reaped.splice(0)) {
      for (let done = false; !done; steps++) {
        this.call(() => {
          done = this.names.removal.reapStep(ino);
          return 0;
        });
      }
    }
    return steps;
  }

  orphans(): number[] {
    let found: number[] = [];
    this.call(() => {
      found = this.names.removal.orphans();
      return 0;
    });
    return found;
  }

  #text(at: number, length: number): string {
    return Buffer.from(this.core.bytes.slice(at, at + length)).toString("latin1");
  }

  /** What of SPEC §5 the tree breaks; empty when nothing. */
  problems(): string[] {
    return treeProblems(this.store.items, this.store.objectCount, (name) => {
      const at = this.#put(name);
      return this.core.exports.name_hash(at, name.length);
    });
  }
}

function weakened(core: Core, hashes: number): Core["exports"] {
  const { exports } = core;
  return {
    ...exports,
    name_hash: (address: number, byteLength: number): number => {
      const hash = exports.name_hash(address, byteLength);
      const isXattr = Buffer.from(core.bytes.slice(address, address + 5)).toString() === "user.";
      return isXattr ? hash : hash % hashes;
    },
  };
}

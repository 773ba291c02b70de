/**
 * What a volume may hold after a loss of power, worked out from what was asked of it.
 *
 * Names, types, modes, link counts, targets and extended attributes are one map of text; each operation that the file
 * system has applied is a step: the entries it changed. After a crash the recovered map must be the map after some step,
 * no earlier than the last that somebody was told is durable. That step bounds what files may hold:
 * - a barrier (an fsync that was acknowledged, a rename or link that is there) makes a file's contents at its time sure;
 * - each later write may be there or not, block by block; each later truncation is there if its step is.
 *
 * Time is counted in ticks, one for each thing that happens. Nothing is ever taken back, so what a cut at an earlier
 * moment may show can be asked later.
 */
import { Buffer } from "node:buffer";
import { assert } from "../../host/base/assert.ts";
import { type ByteSource, Slab } from "../../host/base/slab.ts";

export const BLOCK: number = 4096;

export interface Change {
  readonly key: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
}

export interface Step {
  readonly tick: number;
  readonly text: string;
  readonly changes: Change[];
}

/** A promise that may have been kept: acknowledged as the nth, or not yet. */
export interface Promised {
  readonly tick: number;
  acknowledged: number;
}

interface Version {
  readonly tick: number;
  /** null: zeros. */
  readonly bytes: Uint8Array | null;
}

type FileEvent =
  | { readonly kind: "write"; readonly tick: number; readonly first: number; readonly last: number }
  | { readonly kind: "truncate"; readonly tick: number; readonly size: number }
  | {
      readonly kind: "punch";
      readonly tick: number;
      /** Blocks that are zero as a whole from then on. */
      readonly from: number;
      readonly to: number;
      /** Blocks of which a part was cleared. */
      readonly parts: readonly number[];
    }
  | { readonly kind: "promise"; readonly tick: number; readonly promise: Promised }
  | { readonly kind: "publish"; readonly tick: number };

/** What damage excuses in a file. */
export interface Leniency {
  /** No promise since the beginning was kept, not even one by name. */
  readonly isWeak?: boolean;
  /** Blocks that could not be read. */
  readonly unreadable?: ReadonlySet<number> | undefined;
  /** What was found besides the contents. */
  readonly times?: Times | undefined;
}

/** Seconds and nanoseconds since the epoch, as text. */
export interface Times {
  readonly mtime: string;
  readonly ctime: string;
}

export const UNKNOWN_TIMES: Times = { mtime: "unknown", ctime: "unknown" };

export function timesText(times: Times): string {
  return `${times.mtime} ${times.ctime}`;
}

const ZEROS = new Uint8Array(BLOCK);

export class FileModel {
  readonly ino: number;
  size: number;
  readonly #memory: ByteSource;
  readonly #blocks = new Map<number, Version[]>();
  readonly #sizes: { tick: number; size: number }[];
  readonly #events: FileEvent[] = [];
  /** All that it had, the newest last. */
  readonly #times: { tick: number; times: Times }[] = [];
  readonly #spans: { readonly from: number; to: number }[] = [];

  constructor(
    ino: number,
    tick: number,
    memory: ByteSource,
    contents: Uint8Array = ZEROS.subarray(0, 0),
    times: Times = UNKNOWN_TIMES,
  ) {
    this.ino = ino;
    this.#memory = memory;
    this.#times.push({ tick, times });
    this.size = contents.length;
    this.#sizes = [{ tick, size: this.size }];
    for (let block = 0; block * BLOCK < contents.length; block++) {
      const bytes = memory.take(BLOCK);
      const part = contents.subarray(block * BLOCK, (block + 1) * BLOCK);
      bytes.set(part);
      bytes.fill(0, part.length);
      this.#blocks.set(block, [{ tick, bytes }]);
    }
    this.promised({ tick, acknowledged: 0 });
  }

  /** @param isConstant Nobody ever changes the bytes: whole blocks of them are not copied. */
  write(tick: number, offset: number, bytes: Uint8Array, isConstant = false): void {
    const end = offset + bytes.length;
    const first = Math.floor(offset / BLOCK);
    const last = Math.floor((end - 1) / BLOCK);
    for (let block = first; block <= last; block++) {
      const at = block * BLOCK;
      if (isConstant && at >= offset && at + BLOCK <= end) {
        this.#push(block, tick, bytes.subarray(at - offset, at - offset + BLOCK));
        continue;
      }
      const fresh = this.#copy(block);
      const from = Math.max(offset, block * BLOCK);
      const to = Math.min(end, (block + 1) * BLOCK);
      fresh.set(bytes.subarray(from - offset, to - offset), from - block * BLOCK);
      this.#push(block, tick, fresh);
    }
    if (end > this.size) this.#resize(tick, end);
    this.#events.push({ kind: "write", tick, first, last });
  }

  get times(): Times {
    return (this.#times[this.#times.length - 1] as { times: Times }).times;
  }

  set(tick: number, times: Times): void {
    this.#times.push({ tick, times });
  }

  /**
   * An operation that takes several transactions began: each has a time of its own. What is returned says that it succeeded; of
   * one that failed nobody knows.
   */
  beginSteps(tick: number): (tick: number) => void {
    const span = { from: tick, to: Number.POSITIVE_INFINITY };
    this.#spans.push(span);
    return (end) => {
      span.to = end;
    };
  }

  /** Nobody knows its times just now. */
  get isStepping(): boolean {
    return this.#spans.some((span) => span.to === Number.POSITIVE_INFINITY);
  }

  truncate(tick: number, size: number): void {
    for (const block of this.#blocks.keys()) {
      const at = block * BLOCK;
      if (at >= size) this.#push(block, tick, null);
      else if (at + BLOCK > size) this.#clear(block, tick, size - at, BLOCK);
    }
    this.#resize(tick, size);
    this.#events.push({ kind: "truncate", tick, size });
  }

  /** A size that covers this end, and nothing written. */
  grow(tick: number, end: number): void {
    if (end <= this.size) return;
    this.#resize(tick, end);
    this.#events.push({ kind: "write", tick, first: 0, last: -1 });
  }

  punch(tick: number, offset: number, byteLength: number): void {
    const stop = Math.min(offset + byteLength, this.size);
    if (offset >= stop) return;
    const from = Math.ceil(offset / BLOCK);
    const to = stop === this.size ? Math.ceil(stop / BLOCK) : Math.floor(stop / BLOCK);
    const parts: number[] = [];
    for (let block = Math.floor(offset / BLOCK); block * BLOCK < stop; block++) {
      if (block >= from && block < to) {
        this.#push(block, tick, null);
        continue;
      }
      const at = block * BLOCK;
      this.#clear(block, tick, Math.max(0, offset - at), Math.min(BLOCK, stop - at));
      parts.push(block);
    }
    this.#events.push({ kind: "punch", tick, from, to, parts });
  }

  /** From this tick on, when acknowledged, the contents of then are sure. */
  promised(promise: Promised): void {
    this.#events.push({ kind: "promise", tick: promise.tick, promise });
  }

  /** A name that means this file appeared: where the name is, the contents of then are too. */
  published(tick: number): void {
    this.#events.push({ kind: "publish", tick });
  }

  /** What a read of a range at this moment gives: less where the file ends. */
  contents(tick: number, from = 0, to: number = Number.POSITIVE_INFINITY): Uint8Array {
    const end = Math.min(to, this.#sizeAt(tick));
    const bytes = new Uint8Array(Math.max(0, end - from));
    for (let block = Math.floor(from / BLOCK); block * BLOCK < end; block++) {
      const version = this.#at(block, tick);
      if (version === null) continue;
      const at = block * BLOCK;
      const first = Math.max(from, at);
      bytes.set(version.subarray(first - at, Math.min(BLOCK, end - at)), first - from);
    }
    return bytes;
  }

  /**
   * Whether what was recovered is one of the things that the file may hold.
   *
   * @param included Tick of the last step that was recovered.
   * @param next Tick of the first step that was not.
   * @param acknowledged How many promises had been acknowledged.
   * @param leniency What damage excuses.
   * @returns null, or what is wrong.
   */
  problem(
    found: Uint8Array,
    included: number,
    next: number,
    acknowledged: number,
    leniency: Leniency = {},
  ): string | null {
    const events = this.#events;
    let start = leniency.isWeak === true ? 0 : events.length - 1;
    for (; start > 0; start--) {
      const event = events[start] as FileEvent;
      if (
        event.kind === "promise" &&
        event.tick < next &&
        event.promise.acknowledged <= acknowledged
      )
        break;
      if (event.kind === "publish" && event.tick <= included) break;
    }
    const base = (events[Math.max(0, start)] as FileEvent).tick;
    const baseSize = this.#sizeAt(base);
    const sizes = new Set([baseSize]);
    let multiplesFrom = baseSize;
    let multiplesTo = baseSize;
    const candidates = new Map<number, (Uint8Array | null)[]>();
    const of = (block: number): (Uint8Array | null)[] => {
      let list = candidates.get(block);
      if (list === undefined) {
        list = [this.#at(block, base)];
        candidates.set(block, list);
      }
      return list;
    };
    for (let index = start + 1; index < events.length; index++) {
      const event = events[index] as FileEvent;
      if (event.tick >= next) break;
      if (event.kind === "write") {
        for (let block = event.first; block <= event.last; block++) {
          of(block).push(this.#at(block, event.tick));
        }
        const size = this.#sizeAt(event.tick);
        sizes.add(size);
        multiplesTo = Math.max(multiplesTo, size);
      } else if (event.kind === "truncate") {
        if (event.tick > included) break;
        const touched = new Set(
          [...this.#blocks.keys()].filter((block) => (block + 1) * BLOCK > event.size),
        );
        for (const block of touched) {
          const kept = event.size - block * BLOCK;
          candidates.set(
            block,
            kept <= 0
              ? [null]
              : of(block).map((bytes) => (bytes === null ? null : cleared(bytes, kept, BLOCK))),
          );
        }
        sizes.clear();
        sizes.add(event.size);
        multiplesFrom = event.size;
        multiplesTo = event.size;
      } else if (event.kind === "punch") {
        const sure = event.tick <= included;
        for (let block = event.from; block < event.to; block++) {
          if (sure) candidates.set(block, [null]);
          else of(block).push(null);
        }
        for (const block of event.parts) of(block).push(this.#at(block, event.tick));
      }
    }
    const size = found.length;
    const isMultiple = size % BLOCK === 0 && size > multiplesFrom && size < multiplesTo;
    if (leniency.times !== undefined) {
      const problem = this.#timesProblem(leniency.times, base, next);
      if (problem !== null) return problem;
    }
    if (!sizes.has(size) && !isMultiple) {
      return `inode ${this.ino} has ${size} bytes; possible since tick ${base}: ${[...sizes].join(", ")}`;
    }
    for (let block = 0; block * BLOCK < size; block++) {
      if (leniency.unreadable?.has(block) === true) continue;
      const length = Math.min(BLOCK, size - block * BLOCK);
      const part = found.subarray(block * BLOCK, block * BLOCK + length);
      const list = candidates.get(block) ?? [this.#at(block, base)];
      let matches = false;
      for (let index = list.length - 1; index >= 0 && !matches; index--) {
        matches = same(part, list[index] ?? null);
      }
      if (!matches) return this.#describe(block, part, base, list.length);
    }
    return null;
  }

  /** Whether a loss of power may leave these times: each is one that it had since `base`, before `next`. */
  #timesProblem(found: Times, base: number, next: number): string | null {
    if (this.#spans.some((span) => span.from < next && span.to >= base)) return null;
    let isMtime = false;
    let isCtime = false;
    for (let index = this.#times.length - 1; index >= 0; index--) {
      const { tick, times } = this.#times[index] as { tick: number; times: Times };
      if (tick >= next) continue;
      isMtime ||= times.mtime === found.mtime;
      isCtime ||= times.ctime === found.ctime;
      if (tick <= base || (isMtime && isCtime)) break;
    }
    if (isMtime && isCtime) return null;
    const had = this.#times.map(({ tick, times }) => `${tick}: ${timesText(times)}`).join(", ");
    return `inode ${this.ino} has times ${timesText(found)}; since tick ${base}, before ${next} it had ${had}`;
  }

  /** Whether a read that began at one tick and ended at another may have given this. */
  readProblem(found: Uint8Array, offset: number, from: number): string | null {
    for (let at = 0; at < found.length; ) {
      const block = Math.floor((offset + at) / BLOCK);
      const start = (offset + at) % BLOCK;
      const length = Math.min(BLOCK - start, found.length - at);
      const part = found.subarray(at, at + length);
      const list = [this.#at(block, from)];
      for (const version of this.#blocks.get(block) ?? [])
        if (version.tick > from) list.push(version.bytes);
      if (
        !list.some((bytes) =>
          same(part, bytes === null ? null : bytes.subarray(start, start + length)),
        )
      ) {
        return `a read since ${this.#describe(block, part, from, list.length)}`;
      }
      at += length;
    }
    return null;
  }

  #describe(block: number, part: Uint8Array, base: number, count: number): string {
    const versions = this.#blocks.get(block) ?? [];
    const matching = versions
      .filter((version) => same(part, version.bytes))
      .map((version) => version.tick);
    const newest = versions[versions.length - 1]?.bytes ?? ZEROS;
    let at = 0;
    while (at < part.length && part[at] === newest[at]) at++;
    const zero = same(part, null) ? ", which is zeros" : "";
    const older = matching.length > 0 ? `, as written at ${matching.join(", ")}` : "";
    return (
      `inode ${this.ino}, block ${block} of ${part.length} bytes is none of ${count} possible since tick ${base}${zero}${older}` +
      `; differs from the newest at byte ${at}; ticks of versions ${versions.map((version) => version.tick).join(", ")}`
    );
  }

  #copy(block: number): Uint8Array {
    const bytes = this.#memory.take(BLOCK);
    const current = this.#at(block, Number.POSITIVE_INFINITY);
    if (current === null) bytes.fill(0);
    else bytes.set(current);
    return bytes;
  }

  #clear(block: number, tick: number, from: number, to: number): void {
    const bytes = this.#copy(block);
    bytes.fill(0, from, to);
    this.#push(block, tick, bytes);
  }

  #push(block: number, tick: number, bytes: Uint8Array | null): void {
    const versions = this.#blocks.get(block);
    if (versions === undefined)
      this.#blocks.set(block, [
        { tick: -1, bytes: null },
        { tick, bytes },
      ]);
    else versions.push({ tick, bytes });
  }

  #at(block: number, tick: number): Uint8Array | null {
    const versions = this.#blocks.get(block);
    if (versions === undefined) return null;
    for (let index = versions.length - 1; index >= 0; index--) {
      const version = versions[index] as Version;
      if (version.tick <= tick) return version.bytes;
    }
    return null;
  }

  #resize(tick: number, size: number): void {
    this.size = size;
    this.#sizes.push({ tick, size });
  }

  #sizeAt(tick: number): number {
    for (let index = this.#sizes.length - 1; index >= 0; index--) {
      const entry = this.#sizes[index] as { tick: number; size: number };
      if (entry.tick <= tick) return entry.size;
    }
    return 0;
  }
}

function cleared(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const copy = bytes.slice();
  copy.fill(0, from, to);
  return copy;
}

function same(part: Uint8Array, bytes: Uint8Array | null): boolean {
  const expected = bytes ?? ZEROS;
  return Buffer.compare(part, expected.subarray(0, part.length)) === 0;
}

export type NodeType = "file" | "directory" | "symlink" | "special";

export interface Node {
  readonly ino: number;
  readonly type: NodeType;
  mode: number;
  links: number;
  /** "uid:gid". */
  owner: string;
  /** Of a symlink; of a special file its kind and device. */
  readonly target: string;
  readonly xattrs: Map<string, string>;
  /** Of a directory. */
  readonly names: Map<string, number>;
  parent: number;
  /** Of files FileModel has them. */
  times: Times;
}

/** Everything that was read from a recovered volume. */
export interface Dump {
  readonly entries: Map<string, string>;
  /** Of regular files, by inode. */
  readonly contents: Map<number, Uint8Array>;
  /** Blocks of files that gave an error; their bytes in `contents` mean nothing. */
  readonly unreadable?: Map<number, Set<number>>;
  /** Of regular files, when they were asked for; those of other objects are among the entries. */
  readonly times?: Map<number, Times>;
  /** Metadata that gave an error is left out. */
  readonly isPartial?: boolean;
}

/** A moment of the device: what it could hold is checked against what had been promised by then. */
export interface Moment {
  readonly acknowledged: number;
}

/** Numbers of which one can be chosen at once. */
export class Bag {
  readonly #items: number[] = [];
  readonly #places = new Map<number, number>();

  get size(): number {
    return this.#items.length;
  }

  at(index: number): number {
    return this.#items[index] as number;
  }

  add(item: number): void {
    if (this.#places.has(item)) return;
    this.#places.set(item, this.#items.length);
    this.#items.push(item);
  }

  delete(item: number): void {
    const place = this.#places.get(item);
    if (place === undefined) return;
    this.#places.delete(item);
    const last = this.#items.pop() as number;
    if (last === item) return;
    this.#items[place] = last;
    this.#places.set(last, place);
  }
}

export class VolumeModel {
  /** Inodes to choose from. */
  readonly directories: Bag = new Bag();
  readonly others: Bag = new Bag();
  readonly regular: Bag = new Bag();
  readonly entries: Map<string, string>;
  readonly nodes: Map<number, Node> = new Map();
  readonly files: Map<number, FileModel> = new Map();
  /** Every file that ever was: a crash may bring it back. */
  readonly history: Map<number, FileModel> = new Map();
  /** Of unlinked files that are held: their data can still be written, and is gone after a crash. */
  readonly steps: Step[] = [];
  readonly promises: Promised[] = [];
  acknowledged = 0;
  tick = 0;
  #step: Step | null = null;

  readonly #now: (() => string) | null;
  readonly memory: ByteSource;

  /**
   * A model of what was found: all of it is durable.
   *
   * @param now The time of a change that is made now; none: the model does not know of times.
   * @param memory Where it keeps contents.
   */
  constructor(
    dump: Dump,
    now: (() => string) | null = null,
    memory: ByteSource = new Slab(1 << 19),
  ) {
    this.#now = now;
    this.memory = memory;
    this.entries = new Map(dump.entries);
    for (const [key, value] of dump.entries) {
      if (!key.startsWith("i")) continue;
      const ino = Number(key.slice(1));
      const [type, mode, links, owner, target] = value.split(" ") as [
        NodeType,
        string,
        string,
        string,
        string,
      ];
      this.nodes.set(ino, {
        ino,
        type,
        mode: Number.parseInt(mode, 8),
        links: Number(links),
        owner,
        target,
        xattrs: new Map(),
        names: new Map(),
        parent: 1,
        times: UNKNOWN_TIMES,
      });
      this.#count(this.node(ino));
      if (type === "file")
        this.addFile(new FileModel(ino, 0, memory, dump.contents.get(ino), dump.times?.get(ino)));
    }
    for (const [key, value] of dump.entries) {
      const [owner, name] = splitKey(key);
      if (key.startsWith("n")) {
        this.node(owner).names.set(name, Number(value));
        const child = this.node(Number(value));
        if (child.type === "directory") child.parent = owner;
      } else if (key.startsWith("x")) this.node(owner).xattrs.set(name, value);
      else if (key.startsWith("t")) {
        const [mtime, ctime] = value.split(" ") as [string, string];
        this.node(owner).times = { mtime, ctime };
      }
    }
  }

  node(ino: number): Node {
    const node = this.nodes.get(ino);
    assert(node !== undefined, `the model has inode ${ino}`);
    return node;
  }

  // --- steps ---

  begin(text: string): number {
    assert(this.#step === null, "steps do not overlap");
    this.tick += 1;
    this.#step = { tick: this.tick, text, changes: [] };
    this.steps.push(this.#step);
    return this.tick;
  }

  end(): void {
    this.#step = null;
  }

  #set(key: string, after: string | undefined): void {
    const step = this.#step;
    assert(step !== null, "a change belongs to a step");
    const before = this.entries.get(key);
    if (before === after) return;
    step.changes.push({ key, before, after });
    if (after === undefined) this.entries.delete(key);
    else this.entries.set(key, after);
  }

  #count(node: Node): void {
    if (node.type === "directory") this.directories.add(node.ino);
    else this.others.add(node.ino);
  }

  putNode(node: Node): void {
    if (!this.nodes.has(node.ino)) {
      this.nodes.set(node.ino, node);
      this.#count(node);
    }
    this.#set(`i${node.ino}`, describeNode(node));
  }

  #dropNode(node: Node): void {
    this.nodes.delete(node.ino);
    this.files.delete(node.ino);
    this.directories.delete(node.ino);
    this.others.delete(node.ino);
    this.regular.delete(node.ino);
    this.#set(`i${node.ino}`, undefined);
    this.#set(`t${node.ino}`, undefined);
    for (const name of node.xattrs.keys()) this.#set(`x${node.ino}/${name}`, undefined);
  }

  putName(parent: number, name: string, ino: number): void {
    this.node(parent).names.set(name, ino);
    this.#set(`n${parent}/${name}`, String(ino));
    this.changed(parent, true);
  }

  removeName(parent: number, name: string): void {
    this.node(parent).names.delete(name);
    this.#set(`n${parent}/${name}`, undefined);
    this.changed(parent, true);
  }

  /** The object changed now. @param isContents Not its attributes alone. */
  changed(ino: number, isContents: boolean): void {
    const now = this.#now?.();
    if (now !== undefined) this.setTimes(ino, isContents ? now : null, now);
  }

  /** @param mtime null: as it was. */
  setTimes(ino: number, mtime: string | null, ctime: string): void {
    const holder = this.history.get(ino) ?? this.nodes.get(ino);
    if (this.#now === null || holder === undefined) return;
    const times = { mtime: mtime ?? holder.times.mtime, ctime };
    if (holder instanceof FileModel) {
      holder.set(this.tick, times);
    } else {
      holder.times = times;
      this.#set(`t${ino}`, timesText(times));
    }
  }

  /** Changes the link count of an inode, which is gone when it is 0 (1 for a directory). */
  link(ino: number, change: number): void {
    const node = this.node(ino);
    node.links += change;
    if (node.links < (node.type === "directory" ? 2 : 1)) {
      this.#dropNode(node);
    } else {
      this.putNode(node);
      this.changed(ino, false);
    }
  }

  setXattr(ino: number, name: string, value: string | undefined): void {
    const node = this.node(ino);
    if (value === undefined) node.xattrs.delete(name);
    else node.xattrs.set(name, value);
    this.#set(`x${ino}/${name}`, value);
    this.changed(ino, false);
  }

  // --- promises ---

  /** Somebody asked for all that happened so far to be durable. */
  promise(): Promised {
    this.tick += 1;
    const promise: Promised = { tick: this.tick, acknowledged: Number.POSITIVE_INFINITY };
    this.promises.push(promise);
    return promise;
  }

  acknowledge(promise: Promised): void {
    this.acknowledged += 1;
    promise.acknowledged = this.acknowledged;
  }

  moment(): Moment {
    return { acknowledged: this.acknowledged };
  }

  // --- checking ---

  /**
   * null, or how the dump is nothing that a loss of power at this moment could leave.
   *
   * @param isWeak Promises do not count: damage took what they were kept with.
   */
  problem(dump: Dump, moment: Moment, isWeak = false): string | null {
    let floor = 0;
    for (const promise of isWeak ? [] : this.promises) {
      if (promise.acknowledged <= moment.acknowledged) floor = Math.max(floor, promise.tick);
    }
    const isPartial = dump.isPartial === true;
    const differing = new Set<string>();
    for (const [key, value] of this.entries) {
      const found = dump.entries.get(key);
      if (found !== value && !(isPartial && found === undefined)) differing.add(key);
    }
    for (const key of dump.entries.keys()) if (!this.entries.has(key)) differing.add(key);
    let closest = differing.size;
    let closestText = describeDifference(differing, dump, this.entries);
    let closestTick = this.tick;
    let contentProblem: string | null = null;
    const at = new Map(this.entries);
    for (let index = this.steps.length; index >= 0; index--) {
      const included = index > 0 ? (this.steps[index - 1] as Step).tick : 0;
      const next = (this.steps[index] as Step | undefined)?.tick ?? Number.POSITIVE_INFINITY;
      if (differing.size === 0) {
        const problem = this.#contentProblem(dump, included, next, moment.acknowledged, isWeak);
        if (problem === null) return null;
        contentProblem ??= `names are those after tick ${included}, before ${next}; ${problem}`;
      } else if (differing.size < closest) {
        closest = differing.size;
        closestText = describeDifference(differing, dump, at);
        closestTick = included;
      }
      if (index === 0 || included <= floor) break;
      const { changes } = this.steps[index - 1] as Step;
      for (let change = changes.length - 1; change >= 0; change--) {
        const { key, before } = changes[change] as Change;
        if (before === undefined) at.delete(key);
        else at.set(key, before);
        const found = dump.entries.get(key);
        if (found === before || (isPartial && found === undefined)) differing.delete(key);
        else differing.add(key);
      }
    }
    if (contentProblem !== null) return contentProblem;
    return `names are those after no step since tick ${floor}; nearest is tick ${closestTick}:\n${closestText}`;
  }

  #contentProblem(
    dump: Dump,
    included: number,
    next: number,
    acknowledged: number,
    isWeak: boolean,
  ): string | null {
    for (const [ino, bytes] of dump.contents) {
      const file = this.history.get(ino);
      assert(file !== undefined, `the history has file ${ino}`);
      const problem = file.problem(bytes, included, next, acknowledged, {
        isWeak,
        unreadable: dump.unreadable?.get(ino),
        times: dump.times?.get(ino),
      });
      if (problem !== null) return problem;
    }
    return null;
  }

  addFile(file: FileModel): void {
    this.files.set(file.ino, file);
    this.regular.add(file.ino);
    this.history.set(file.ino, file);
  }
}

export function describeNode(node: Node): string {
  return `${node.type} ${node.mode.toString(8)} ${node.links} ${node.owner} ${node.target}`;
}

function splitKey(key: string): [number, string] {
  const slash = key.indexOf("/");
  return [
    Number(key.slice(1, slash < 0 ? undefined : slash)),
    slash < 0 ? "" : key.slice(slash + 1),
  ];
}

function describeDifference(keys: Set<string>, dump: Dump, expected: Map<string, string>): string {
  return [...keys]
    .slice(0, 12)
    .map(
      (key) =>
        `  ${key}: found ${dump.entries.get(key) ?? "nothing"}, expected ${expected.get(key) ?? "nothing"}`,
    )
    .join("\n");
}

/** null, or where two dumps differ. */
export function difference(first: Dump, second: Dump): string | null {
  for (const [key, value] of first.entries) {
    const other = second.entries.get(key);
    if (other !== value) return `${key}: ${value} became ${other ?? "nothing"}`;
  }
  for (const [key, value] of second.entries)
    if (!first.entries.has(key)) return `${key}: nothing became ${value}`;
  for (const [ino, times] of first.times ?? []) {
    const other = second.times?.get(ino) ?? UNKNOWN_TIMES;
    if (timesText(other) !== timesText(times))
      return `inode ${ino}: times ${timesText(times)} became ${timesText(other)}`;
  }
  for (const [ino, bytes] of first.contents) {
    const other = second.contents.get(ino);
    if (other === undefined || other.length !== bytes.length) {
      return `inode ${ino}: ${bytes.length} bytes became ${other?.length ?? "none"}`;
    }
    if (Buffer.compare(bytes, other) !== 0) {
      const at = bytes.findIndex((byte, index) => byte !== other[index]);
      return `inode ${ino}: byte ${at} of ${bytes.length} became another`;
    }
  }
  return null;
}

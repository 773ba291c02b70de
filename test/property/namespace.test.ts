/**
 * The names half against plain objects: any operations, in any order, give the result and leave the tree that a simple
 * model of POSIX says, while keys wait to be cached, names share hashes, and directories are listed meanwhile.
 */
import t from "tap";
import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  ESTALE,
} from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { ReferenceTable } from "../../host/fs/reference_table.ts";
import { Rig } from "../support/namespace_rig.ts";

const SEED = Number(process.env.SEED ?? 31_007);
const STEPS = Number(process.env.STEPS ?? 2500);
const DIRECTORY = 0o040000;
const REGULAR = 0o100000;
const SYMLINK = 0o120000;
const CHARACTER = 0o020000;
const NOREPLACE = 1;
const EXCHANGE = 2;
const WHITEOUT = 4;

interface Node {
  readonly ino: number;
  readonly type: number;
  nlink: number;
  /** Of a directory. */
  parent: number;
  readonly entries: Map<string, Node>;
  readonly xattrs: Map<string, Uint8Array>;
  readonly target: string;
  references: number;
  /** Made without a name, and never linked. */
  linkable: boolean;
}

/** A listing in progress. */
interface Stream {
  readonly directory: Node;
  cookie: number;
  /** Names that were there at its start and have not been touched since. */
  readonly untouched: Set<string>;
  /** All names that were there at some time since. */
  readonly possible: Set<string>;
  readonly seen: Map<string, number>;
}

/** What POSIX and Linux say, as plainly as it can be said. */
class Model {
  readonly nodes: Map<number, Node> = new Map();
  readonly streams: Stream[] = [];
  readonly root: Node;

  constructor() {
    this.root = this.make(ROOT_INO, DIRECTORY, ROOT_INO);
  }

  make(ino: number, type: number, parent = 0, target = ""): Node {
    const node: Node = {
      ino,
      type,
      nlink: type === DIRECTORY ? 2 : 1,
      parent: type === DIRECTORY ? parent : 0,
      entries: new Map(),
      xattrs: new Map(),
      target,
      references: 0,
      linkable: false,
    };
    this.nodes.set(ino, node);
    return node;
  }

  /** A directory that can have entries, or −errno. */
  directory(ino: number): Node | number {
    const node = this.nodes.get(ino);
    if (node === undefined) return -ESTALE;
    if (node.type !== DIRECTORY) return -ENOTDIR;
    return node.nlink === 0 ? -ENOENT : node;
  }

  #touch(directory: Node, name: string): void {
    for (const stream of this.streams) {
      if (stream.directory !== directory) continue;
      stream.untouched.delete(name);
      stream.possible.add(name);
    }
  }

  add(directory: Node, name: string, node: Node): void {
    this.#touch(directory, name);
    directory.entries.set(name, node);
    if (node.type !== DIRECTORY) return;
    directory.nlink++;
    node.parent = directory.ino;
  }

  take(directory: Node, name: string): Node {
    this.#touch(directory, name);
    const node = directory.entries.get(name) as Node;
    directory.entries.delete(name);
    if (node.type === DIRECTORY) directory.nlink--;
    return node;
  }

  drop(node: Node): void {
    node.nlink = node.type === DIRECTORY ? 0 : node.nlink - 1;
    this.settle(node);
  }

  settle(node: Node): void {
    if (node.nlink === 0 && node.references === 0) this.nodes.delete(node.ino);
  }

  create(parent: number, name: string): number {
    const directory = this.directory(parent);
    if (typeof directory === "number") return directory;
    return directory.entries.has(name) ? -EEXIST : 0;
  }

  link(ino: number, parent: number, name: string): number {
    const directory = this.directory(parent);
    if (typeof directory === "number") return directory;
    const node = this.nodes.get(ino);
    if (node === undefined) return -ESTALE;
    if (node.type === DIRECTORY) return -EPERM;
    if (directory.entries.has(name)) return -EEXIST;
    if (node.nlink === 0 && !node.linkable) return -ENOENT;
    node.linkable = false;
    node.nlink++;
    this.add(directory, name, node);
    return 0;
  }

  remove(parent: number, name: string, wantsDirectory: boolean): number {
    const directory = this.directory(parent);
    if (typeof directory === "number") return directory;
    const node = directory.entries.get(name);
    if (node === undefined) return -ENOENT;
    if (wantsDirectory && node.type !== DIRECTORY) return -ENOTDIR;
    if (!wantsDirectory && node.type === DIRECTORY) return -EISDIR;
    if (node.entries.size > 0) return -ENOTEMPTY;
    this.drop(this.take(directory, name));
    return 0;
  }

  /** Whether `node` is `directory` or above it. */
  #isAbove(node: Node, directory: Node): boolean {
    for (let at = directory; ; at = this.nodes.get(at.parent) as Node) {
      if (at === node) return true;
      if (at === this.root) return false;
    }
  }

  /** The node moved, when a name changed. */
  rename(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: number,
  ): number | Node {
    if ((flags & EXCHANGE) !== 0 && (flags & (NOREPLACE | WHITEOUT)) !== 0) return -EINVAL;
    const from = this.directory(parent);
    if (typeof from === "number") return from;
    const node = from.entries.get(name);
    if (node === undefined) return -ENOENT;
    const to = this.directory(newParent);
    if (typeof to === "number") return to;
    const other = to.entries.get(newName);
    if (other !== undefined && (flags & NOREPLACE) !== 0) return -EEXIST;
    if (other === undefined && (flags & EXCHANGE) !== 0) return -ENOENT;
    if (other === node) return 0;
    if (node.type === DIRECTORY && this.#isAbove(node, to)) return -EINVAL;
    if ((flags & EXCHANGE) !== 0) {
      const second = other as Node;
      if (second.type === DIRECTORY && this.#isAbove(second, from)) return -EINVAL;
      this.take(from, name);
      this.take(to, newName);
      this.add(from, name, second);
      this.add(to, newName, node);
      return node;
    }
    if (other !== undefined) {
      if (other.type === DIRECTORY && node.type !== DIRECTORY) return -EISDIR;
      if (other.type !== DIRECTORY && node.type === DIRECTORY) return -ENOTDIR;
      if (other.entries.size > 0) return -ENOTEMPTY;
      this.drop(this.take(to, newName));
    }
    this.take(from, name);
    this.add(to, newName, node);
    return node;
  }
}

class Run {
  readonly rig: Rig;
  readonly model: Model = new Model();
  readonly #random: Prng;
  readonly #names: readonly string[];
  readonly #xattrs = ["user.a", "user.long", `user.${"x".repeat(250)}`];
  /** Numbers of all objects that ever were. */
  readonly #inos: number[] = [ROOT_INO];
  what = "";

  constructor(rig: Rig, random: Prng) {
    this.rig = rig;
    this.#random = random;
    this.#names = [..."abcdefghij", "\xff\x01", "n".repeat(255), "...", "a b"];
  }

  #some<T>(from: readonly T[]): T {
    return from[this.#random.below(from.length)] as T;
  }

  /** Mostly something that exists; now and then anything that ever was, or never. */
  #ino(): number {
    const kind = this.#random.below(20);
    if (kind === 0) return 999_999;
    if (kind < 3) return this.#some(this.#inos);
    return this.#some([...this.model.nodes.keys()]);
  }

  #parent(): number {
    if (this.#random.below(15) === 0) return this.#ino();
    const directories = [...this.model.nodes.values()].filter((node) => node.type === DIRECTORY);
    return this.#some(directories).ino;
  }

  #name(parent: number): string {
    const entries = this.model.nodes.get(parent)?.entries;
    if (entries !== undefined && entries.size > 0 && this.#random.below(2) === 0) {
      return this.#some([...entries.keys()]);
    }
    return this.#some(this.#names);
  }

  #expect(actual: unknown, expected: unknown): void {
    const same = JSON.stringify(actual) === JSON.stringify(expected);
    if (!same) {
      throw new Error(`${this.what}: ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
    }
  }

  step(): void {
    const { rig, model } = this;
    const random = this.#random;
    if (random.below(8) === 0) rig.store.evict();
    if (random.below(3) === 0) rig.reap();
    switch (random.below(14)) {
      case 0:
      case 1:
        this.#make(DIRECTORY);
        break;
      case 2:
      case 3:
        this.#make(this.#some([REGULAR, SYMLINK, CHARACTER, 0o010000]));
        break;
      case 4:
        this.#unnamed();
        break;
      case 5:
        this.#link();
        break;
      case 6: {
        const parent = this.#parent();
        const name = this.#name(parent);
        this.what = `unlink ${parent} ${name}`;
        this.#expect(rig.unlink(parent, name), model.remove(parent, name, false));
        break;
      }
      case 7: {
        const parent = this.#parent();
        const name = this.#name(parent);
        this.what = `rmdir ${parent} ${name}`;
        this.#expect(rig.removeDirectory(parent, name), model.remove(parent, name, true));
        break;
      }
      case 8:
      case 9:
        this.#rename();
        break;
      case 10:
        this.#xattr();
        break;
      case 11:
        this.#reference();
        break;
      case 12:
        this.#list();
        break;
      default:
        this.#look();
    }
  }

  #make(type: number): void {
    const { rig, model } = this;
    const parent = this.#parent();
    const name = this.#name(parent);
    const target = type === SYMLINK ? "t".repeat(1 + this.#random.below(4095)) : "";
    this.what = `make ${type.toString(8)} ${parent} ${name}`;
    const expected = model.create(parent, name);
    let status: number;
    if (type === DIRECTORY) status = rig.directory(parent, name);
    else if (type === SYMLINK) status = rig.symlink(parent, name, target);
    else status = rig.file(parent, name, type | 0o644);
    this.#expect(Math.min(status, 0), expected);
    if (status < 0) return;
    this.#expect(this.#inos.includes(status), false);
    this.#inos.push(status);
    const node = model.make(status, type, parent, target);
    model.add(model.nodes.get(parent) as Node, name, node);
    if (this.#random.below(6) === 0) rig.hooks.heavy.add(status);
  }

  #unnamed(): void {
    const { rig, model } = this;
    const parent = this.#parent();
    this.what = `unnamed ${parent}`;
    const directory = model.directory(parent);
    const status = rig.unnamed(parent);
    this.#expect(Math.min(status, 0), typeof directory === "number" ? directory : 0);
    if (status < 0) return;
    this.#inos.push(status);
    const node = model.make(status, REGULAR);
    node.nlink = 0;
    node.linkable = true;
    node.references = 1;
    rig.remember(status);
  }

  #link(): void {
    const ino = this.#ino();
    const parent = this.#parent();
    const name = this.#name(parent);
    this.what = `link ${ino} ${parent} ${name}`;
    const expected = this.model.link(ino, parent, name);
    this.#expect(this.rig.link(ino, parent, name), expected);
  }

  #rename(): void {
    const { rig, model } = this;
    const parent = this.#parent();
    const newParent = this.#random.below(3) === 0 ? parent : this.#parent();
    const name = this.#name(parent);
    const newName = this.#name(newParent);
    const flags = this.#some([0, 0, 0, NOREPLACE, EXCHANGE, WHITEOUT, NOREPLACE | WHITEOUT, 3]);
    this.what = `rename ${parent} ${name} ${newParent} ${newName} ${flags}`;
    const expected = model.rename(parent, name, newParent, newName, flags);
    const status = rig.rename(parent, name, newParent, newName, flags);
    this.#expect(status, typeof expected === "number" ? expected : 0);
    if (typeof expected === "number" || (flags & WHITEOUT) === 0) return;
    const whiteout = rig.lookup(parent, name);
    this.#expect([rig.out.mode, rig.out.rdev, rig.out.nlink], [CHARACTER, 0, 1]);
    this.#inos.push(whiteout);
    model.add(model.nodes.get(parent) as Node, name, model.make(whiteout, CHARACTER));
  }

  #xattr(): void {
    const { rig, model } = this;
    const ino = this.#ino();
    const node = model.nodes.get(ino);
    const name = this.#some(this.#xattrs);
    if (this.#random.below(3) === 0) {
      this.what = `removexattr ${ino} ${name}`;
      const expected = node === undefined ? -ESTALE : node.xattrs.delete(name) ? 0 : -ENODATA;
      this.#expect(rig.removeXattr(ino, name), expected);
      return;
    }
    const value = new Uint8Array(
      this.#some([0, 1, 100, 2047, 2048, 2049, 4096, 65_535, 65_536, this.#random.below(65_537)]),
    );
    this.#random.bytes(value);
    const flags = this.#random.below(3);
    this.what = `setxattr ${ino} ${name} ${value.length} ${flags}`;
    let expected = 0;
    if (node === undefined) expected = -ESTALE;
    else if (flags === 1 && node.xattrs.has(name)) expected = -EEXIST;
    else if (flags === 2 && !node.xattrs.has(name)) expected = -ENODATA;
    else node.xattrs.set(name, value);
    this.#expect(rig.setXattr(ino, name, value, flags), expected);
  }

  /** References are the caller's: it takes them to what it has seen, and gives back no more than it has. */
  #reference(): void {
    const { rig, model } = this;
    const node = this.#some([...model.nodes.values()]);
    this.what = `reference ${node.ino}`;
    if (node.references === 0 || (node.nlink > 0 && this.#random.below(2) === 0)) {
      const count = 1 + this.#random.below(3);
      node.references += count;
      rig.remember(node.ino, count);
      return;
    }
    const count = 1 + this.#random.below(node.references);
    node.references -= count;
    rig.forget(node.ino, count);
    model.settle(node);
  }

  /** Starts a listing, or goes on with one. */
  #list(): void {
    const { rig, model } = this;
    if (model.streams.length < 4 && this.#random.below(2) === 0) {
      const directory = model.directory(this.#parent());
      if (typeof directory === "number") return;
      model.streams.push({
        directory,
        cookie: 0,
        untouched: new Set(directory.entries.keys()),
        possible: new Set(directory.entries.keys()),
        seen: new Map(),
      });
      return;
    }
    const index = this.#random.below(model.streams.length);
    const stream = model.streams[index];
    if (stream === undefined) return;
    this.what = `list ${stream.directory.ino} from ${stream.cookie}`;
    if (!model.nodes.has(stream.directory.ino)) {
      model.streams.splice(index, 1);
      return;
    }
    const limit = 1 + this.#random.below(6);
    const found = rig.listSome(stream.directory.ino, stream.cookie, limit);
    if (typeof found === "number") throw new Error(`${this.what}: ${found}`);
    for (const { name, cookie } of found) {
      this.#expect(cookie > stream.cookie && cookie < 2 ** 53, true);
      stream.cookie = cookie;
      stream.seen.set(name, (stream.seen.get(name) ?? 0) + 1);
      if (name !== "." && name !== "..")
        this.#expect([name, stream.possible.has(name)], [name, true]);
    }
    if (found.length > 0) return;
    model.streams.splice(index, 1);
    for (const name of stream.untouched) {
      this.what = `listing of ${stream.directory.ino}, ${name}`;
      this.#expect(stream.seen.get(name) ?? 0, 1);
    }
    this.#expect([stream.seen.get("."), stream.seen.get("..")], [1, 1]);
  }

  #look(): void {
    const { rig, model } = this;
    const parent = this.#parent();
    const name = this.#name(parent);
    this.what = `lookup ${parent} ${name}`;
    const directory = model.nodes.get(parent);
    let expected = -ENOENT;
    if (directory === undefined) expected = -ESTALE;
    else if (directory.type !== DIRECTORY) expected = -ENOTDIR;
    else expected = directory.entries.get(name)?.ino ?? -ENOENT;
    this.#expect(rig.lookup(parent, name), expected);
  }

  /** Everything is as the model says. */
  compare(): void {
    const { rig, model } = this;
    rig.reap();
    this.what = "tree";
    this.#expect(rig.problems(), []);
    for (const ino of this.#inos) {
      this.what = `inode ${ino}`;
      const node = model.nodes.get(ino);
      if (node === undefined) {
        this.#expect(rig.statStatus(ino), -ESTALE);
        continue;
      }
      const found = rig.stat(ino);
      this.#expect([found.mode & 0o170000, found.nlink], [node.type, node.nlink]);
      const names = rig.listXattr(ino);
      this.#expect(Array.isArray(names) && [...names].sort(), [...node.xattrs.keys()].sort());
      for (const [name, value] of node.xattrs) {
        this.what = `xattr ${name} of ${ino}`;
        const stored = rig.getXattr(ino, name);
        this.#expect(typeof stored !== "number" && Buffer.compare(stored, value), 0);
      }
      if (node.type === SYMLINK) this.#expect(rig.readLink(ino), node.target);
      if (node.type === DIRECTORY) this.#compareDirectory(node);
    }
    this.what = "orphans";
    const without = [...model.nodes.values()].filter((node) => node.nlink === 0);
    this.#expect(
      rig.orphans(),
      without.map((node) => node.ino).sort((a, b) => a - b),
    );
  }

  #compareDirectory(node: Node): void {
    this.what = `directory ${node.ino}`;
    const found = this.rig.list(node.ino);
    if (typeof found === "number") throw new Error(`${this.what}: ${found}`);
    const expected = [...node.entries].map(([name, { ino, type }]) => [name, ino, type >> 12]);
    expected.push([".", node.ino, 4], ["..", node.parent, 4]);
    const sort = (rows: unknown[][]): unknown[][] =>
      rows.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
    this.#expect(sort(found.map(({ name, ino, type }) => [name, ino, type])), sort(expected));
    if (node.nlink > 0) this.#expect(this.rig.parentOf(node.ino), node.parent);
  }
}

const KINDS = [
  { title: "all cached", options: {} },
  { title: "keys wait", options: { retryShare: 0.3 } },
  { title: "names share 3 hashes", options: { hashes: 3 } },
  { title: "names share a hash, keys wait", options: { hashes: 1, retryShare: 0.3 } },
] as const;

for (const [index, { title, options }] of KINDS.entries()) {
  for (const seed of [SEED + 2 * index, SEED + 2 * index + 1]) {
    t.test(`names: any operations equal a model of POSIX, ${title}, seed ${seed}`, (t) => {
      const run = new Run(new Rig({ ...options, seed }), new Prng(seed));
      for (let step = 0; step < STEPS; step++) {
        try {
          run.step();
          if (step % 50 === 49) run.compare();
        } catch (error) {
          t.fail(`step ${step}, ${run.what}: ${error instanceof Error ? error.stack : error}`);
          t.end();
          return;
        }
      }
      t.equal(run.rig.store.retries > 0, "retryShare" in options, "operations waited");
      t.ok(run.model.nodes.size > 10, "the tree has grown");
      // A crash: nobody holds anything any more, and what had no names goes.
      run.rig.store.evict();
      run.rig.remount();
      run.rig.hooks.reaped.length = 0;
      run.rig.hooks.reaped.push(...run.rig.orphans());
      for (const node of [...run.model.nodes.values()]) {
        node.references = 0;
        run.model.settle(node);
      }
      run.compare();
      t.end();
    });
  }
}

t.test(`reference table: any operations equal a Map, seed ${SEED}`, (t) => {
  const random = new Prng(SEED);
  const table = new ReferenceTable();
  const model = new Map<number, number>();
  let wrong = 0;
  const keys = [3000, 200, 40_000];
  for (let step = 0; step < 150_000; step++) {
    // The range changes, so that the table grows and shrinks; keys 2^32 apart share their low words.
    const range = keys[Math.floor(step / 50_000)] as number;
    const ino = 1 + random.below(range) + random.below(3) * 2 ** 32;
    const before = model.get(ino) ?? 0;
    if (table.get(ino) !== before) wrong++;
    const count = 1 + random.below(4);
    if (random.below(5) < 2) {
      table.add(ino, count);
      model.set(ino, before + count);
    } else {
      const left = Math.max(0, before - count);
      if (table.subtract(ino, count) !== left) wrong++;
      if (left === 0) model.delete(ino);
      else model.set(ino, left);
    }
  }
  for (const [ino, count] of model) if (table.get(ino) !== count) wrong++;
  t.equal(wrong, 0);
  t.equal(table.size, model.size);
  for (const ino of [...model.keys()]) table.subtract(ino, 2 ** 31);
  t.equal(table.size, 0);
  t.end();
});

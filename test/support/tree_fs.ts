/**
 * A file system in JavaScript objects: a test double for whoever drives the FileSystem interface. Simple rather than
 * quick; what it lacks of POSIX (permissions, atime) its users do not need. It can be made unpleasant: `retryShare` of
 * all calls wait first, and `heldRuns` runs of handed-over buffers are kept for a while, so that the pool runs dry.
 */
import {
  EBADF,
  EEXIST,
  EINVAL,
  EISDIR,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  ENXIO,
  EOPNOTSUPP,
  ERANGE,
} from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { Retry } from "../../host/base/retry.ts";
import type { Core } from "../../host/core/core.ts";
import type { Done } from "../../host/device/device.ts";
import {
  type AttributeChange,
  type Attributes,
  type DirectorySink,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  type FileSystem,
  type NewNode,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  type ReadResult,
  ROOT_INO,
  SET_ATIME,
  SET_ATIME_NOW,
  SET_CTIME,
  SET_GID,
  SET_KILL_PRIVILEGES,
  SET_MODE,
  SET_MTIME,
  SET_MTIME_NOW,
  SET_SIZE,
  SET_UID,
  type VolumeSpace,
} from "../../host/fs/file_system.ts";

const BLOCK = 4096;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFCHR = 0o020000;
const SEEK_DATA = 3;

export interface TreeFsOptions {
  readonly core: Core;
  /** The data pool: addresses from `poolStart`, a multiple of 4096. */
  readonly poolStart: number;
  readonly poolBlocks: number;
  /** Calls back from the loop's next turn. */
  readonly post: (callback: () => void) => void;
  /** Share of calls that wait first, 0 to 1. */
  readonly retryShare?: number;
  readonly heldRuns?: number;
  readonly seed?: number;
}

interface Entry {
  ino: number;
  readonly cookie: number;
}

class TreeNode {
  readonly ino: number;
  mode: number;
  uid: number;
  gid: number;
  nlink = 1;
  rdev: number;
  size = 0;
  atimeMs: number = Date.now();
  mtimeMs: number = this.atimeMs;
  ctimeMs: number = this.atimeMs;
  readonly btimeMs: number = this.atimeMs;
  parent = 0;
  nextCookie = 3;
  references = 0;
  target = "";
  readonly blocks = new Map<number, Uint8Array>();
  /** By name, one byte a character. */
  readonly entries = new Map<string, Entry>();
  readonly xattrs = new Map<string, Uint8Array>();

  constructor(ino: number, node: NewNode) {
    this.ino = ino;
    this.mode = node.mode & ~node.umask;
    this.uid = node.uid;
    this.gid = node.gid;
    this.rdev = node.rdev;
  }

  get isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }
}

export class TreeFs implements FileSystem {
  readonly readOnly = false;
  /** Calls of write() and writeOwned(), fsync() and sync(). */
  writes = 0;
  writesOwned = 0;
  fsyncs = 0;
  retries = 0;
  /** forget() of more than was remembered, and buffers given back that were not taken. */
  accountingErrors = 0;

  readonly #core: Core;
  readonly #options: TreeFsOptions;
  readonly #prng: Prng;
  readonly #nodes = new Map<number, TreeNode>();
  #nextIno = 2;
  readonly #used: Uint8Array;
  #waiters: ((status: number) => void)[] = [];
  readonly #held: [address: number, blocks: number][] = [];
  #drainPosted = false;

  constructor(options: TreeFsOptions) {
    this.#core = options.core;
    this.#options = options;
    this.#prng = new Prng(options.seed ?? 1);
    this.#used = new Uint8Array(options.poolBlocks);
    const root = new TreeNode(ROOT_INO, {
      mode: S_IFDIR | 0o755,
      umask: 0,
      uid: 0,
      gid: 0,
      rdev: 0,
    });
    root.nlink = 2;
    root.parent = ROOT_INO;
    this.#nodes.set(ROOT_INO, root);
  }

  /** Blocks that somebody has, without those that are held. */
  get blocksTaken(): number {
    let taken = 0;
    for (const used of this.#used) taken += used;
    for (const [, blocks] of this.#held) taken -= blocks;
    return taken;
  }

  /** References of all inodes. */
  get references(): number {
    let total = 0;
    for (const node of this.#nodes.values()) total += node.references;
    return total;
  }

  get inodeCount(): number {
    return this.#nodes.size;
  }

  lookup(parent: number, nameAddress: number, nameLength: number, out: Attributes): number {
    this.#mayRetry();
    const directory = this.#nodes.get(parent);
    if (directory === undefined) return -ENOENT;
    if (!directory.isDirectory) return -ENOTDIR;
    const entry = directory.entries.get(this.#text(nameAddress, nameLength));
    return entry === undefined ? -ENOENT : this.#fill(entry.ino, out);
  }

  getAttributes(ino: number, out: Attributes): number {
    this.#mayRetry();
    return this.#fill(ino, out);
  }

  setAttributes(ino: number, change: AttributeChange, out: Attributes): number {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    if (node === undefined) return -ENOENT;
    const { set } = change;
    const now = Date.now();
    if ((set & SET_SIZE) !== 0) {
      if (node.isDirectory) return -EISDIR;
      this.#truncate(node, change.size);
      node.mtimeMs = now;
    }
    node.ctimeMs = now;
    if ((set & SET_MODE) !== 0) node.mode = (node.mode & S_IFMT) | change.mode;
    if ((set & SET_UID) !== 0) node.uid = change.uid;
    if ((set & SET_GID) !== 0) node.gid = change.gid;
    if ((set & SET_KILL_PRIVILEGES) !== 0) this.#kill(node);
    if ((set & SET_ATIME) !== 0) node.atimeMs = change.atime * 1000 + change.atimeNs / 1e6;
    if ((set & SET_MTIME) !== 0) node.mtimeMs = change.mtime * 1000 + change.mtimeNs / 1e6;
    if ((set & SET_ATIME_NOW) !== 0) node.atimeMs = now;
    if ((set & SET_MTIME_NOW) !== 0) node.mtimeMs = now;
    if ((set & SET_CTIME) !== 0) node.ctimeMs = change.ctime * 1000 + change.ctimeNs / 1e6;
    return this.#fill(ino, out);
  }

  makeNode(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    return this.#make(parent, nameAddress, nameLength, node, out, "");
  }

  makeDirectory(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    return this.#make(parent, nameAddress, nameLength, node, out, "");
  }

  makeSymlink(
    parent: number,
    nameAddress: number,
    nameLength: number,
    targetAddress: number,
    targetLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    const target = this.#text(targetAddress, targetLength);
    return this.#make(parent, nameAddress, nameLength, node, out, target);
  }

  makeUnnamed(parent: number, node: NewNode, out: Attributes): number {
    this.#mayRetry();
    if (!this.#nodes.has(parent)) return -ENOENT;
    const made = this.#newNode(node);
    made.nlink = 0;
    return this.#fill(made.ino, out);
  }

  link(
    ino: number,
    newParent: number,
    nameAddress: number,
    nameLength: number,
    out: Attributes,
  ): number {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    const directory = this.#nodes.get(newParent);
    if (node === undefined || directory === undefined) return -ENOENT;
    const name = this.#text(nameAddress, nameLength);
    if (directory.entries.has(name)) return -EEXIST;
    this.#enter(directory, name, ino);
    node.nlink += 1;
    node.ctimeMs = Date.now();
    return this.#fill(ino, out);
  }

  unlink(parent: number, nameAddress: number, nameLength: number): number {
    this.#mayRetry();
    const directory = this.#nodes.get(parent);
    const name = this.#text(nameAddress, nameLength);
    const node = this.#nodes.get(directory?.entries.get(name)?.ino ?? 0);
    if (directory === undefined || node === undefined) return -ENOENT;
    if (node.isDirectory) return -EISDIR;
    this.#leave(directory, name, node);
    return 0;
  }

  removeDirectory(parent: number, nameAddress: number, nameLength: number): number {
    this.#mayRetry();
    const directory = this.#nodes.get(parent);
    const name = this.#text(nameAddress, nameLength);
    const node = this.#nodes.get(directory?.entries.get(name)?.ino ?? 0);
    if (directory === undefined || node === undefined) return -ENOENT;
    if (!node.isDirectory) return -ENOTDIR;
    if (node.entries.size > 0) return -ENOTEMPTY;
    this.#leave(directory, name, node);
    return 0;
  }

  rename(
    parent: number,
    nameAddress: number,
    nameLength: number,
    newParent: number,
    newNameAddress: number,
    newNameLength: number,
    flags: number,
  ): number {
    this.#mayRetry();
    const from = this.#nodes.get(parent);
    const to = this.#nodes.get(newParent);
    const name = this.#text(nameAddress, nameLength);
    const newName = this.#text(newNameAddress, newNameLength);
    const entry = from?.entries.get(name);
    if (from === undefined || to === undefined || entry === undefined) return -ENOENT;
    const node = this.#nodes.get(entry.ino) as TreeNode;
    const target = to.entries.get(newName);
    const now = Date.now();
    if ((flags & RENAME_EXCHANGE) !== 0) {
      if (target === undefined) return -ENOENT;
      const other = this.#nodes.get(target.ino) as TreeNode;
      entry.ino = other.ino;
      target.ino = node.ino;
      for (const [moved, origin, goal] of [
        [node, from, to],
        [other, to, from],
      ] as const) {
        if (!moved.isDirectory) continue;
        origin.nlink -= 1;
        goal.nlink += 1;
        moved.parent = goal.ino;
      }
      node.ctimeMs = now;
      other.ctimeMs = now;
      return 0;
    }
    if (target !== undefined) {
      if ((flags & RENAME_NOREPLACE) !== 0) return -EEXIST;
      if (target.ino === node.ino) return 0;
      const replaced = this.#nodes.get(target.ino) as TreeNode;
      if (replaced.isDirectory && !node.isDirectory) return -EISDIR;
      if (!replaced.isDirectory && node.isDirectory) return -ENOTDIR;
      if (replaced.entries.size > 0) return -ENOTEMPTY;
      this.#leave(to, newName, replaced);
    }
    from.entries.delete(name);
    this.#enter(to, newName, node.ino);
    if (node.isDirectory) {
      from.nlink -= 1;
      to.nlink += 1;
      node.parent = to.ino;
    }
    if ((flags & RENAME_WHITEOUT) !== 0) {
      const whiteout = this.#newNode({ mode: S_IFCHR, umask: 0, uid: 0, gid: 0, rdev: 0 });
      this.#enter(from, name, whiteout.ino);
    }
    from.mtimeMs = now;
    to.mtimeMs = now;
    node.ctimeMs = now;
    return 0;
  }

  readLink(ino: number, bufferAddress: number, bufferLength: number): number {
    this.#mayRetry();
    const target = Buffer.from(this.#nodes.get(ino)?.target ?? "", "latin1");
    if (target.length > bufferLength) return -ERANGE;
    this.#core.bytes.set(target, bufferAddress);
    return target.length;
  }

  readDirectory(ino: number, cookie: number, sink: DirectorySink): number {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    if (node === undefined) return -ENOENT;
    if (!node.isDirectory) return -ENOTDIR;
    const scratch = this.takeBuffer(1);
    if (scratch === 0) throw new Retry((resume) => this.whenBuffers(resume));
    let count = 0;
    const give = (target: number, type: number, name: string, next: number): boolean => {
      this.#core.bytes.set(Buffer.from(name, "latin1"), scratch);
      if (!sink(target, type, scratch, name.length, next)) return false;
      count += 1;
      return true;
    };
    try {
      if (cookie < 1 && !give(ino, S_IFDIR >> 12, ".", 1)) return count;
      if (cookie < 2 && !give(node.parent, S_IFDIR >> 12, "..", 2)) return count;
      for (const [name, entry] of node.entries) {
        if (entry.cookie <= cookie) continue;
        // In the middle, as when the next page of a directory is not in memory.
        if (count > 20) this.#mayRetry(0.02);
        const type = (this.#nodes.get(entry.ino) as TreeNode).mode >> 12;
        if (!give(entry.ino, type, name, entry.cookie)) break;
      }
    } finally {
      this.giveBuffer(scratch, 1);
    }
    return count;
  }

  parentOf(ino: number): number {
    const node = this.#nodes.get(ino);
    if (node === undefined) return -ENOENT;
    return node.isDirectory ? node.parent : -ENOTDIR;
  }

  getXattr(
    ino: number,
    nameAddress: number,
    nameLength: number,
    bufferAddress: number,
    bufferLength: number,
  ): number {
    this.#mayRetry();
    const value = this.#nodes.get(ino)?.xattrs.get(this.#text(nameAddress, nameLength));
    if (value === undefined) return -ENODATA;
    if (bufferLength === 0) return value.length;
    if (value.length > bufferLength) return -ERANGE;
    this.#core.bytes.set(value, bufferAddress);
    return value.length;
  }

  setXattr(
    ino: number,
    nameAddress: number,
    nameLength: number,
    valueAddress: number,
    valueLength: number,
    flags: number,
  ): number {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    if (node === undefined) return -ENOENT;
    const name = this.#text(nameAddress, nameLength);
    if (flags === 1 && node.xattrs.has(name)) return -EEXIST;
    if (flags === 2 && !node.xattrs.has(name)) return -ENODATA;
    node.xattrs.set(name, this.#core.bytes.slice(valueAddress, valueAddress + valueLength));
    return 0;
  }

  listXattr(ino: number, bufferAddress: number, bufferLength: number): number {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    if (node === undefined) return -ENOENT;
    const list = Buffer.from([...node.xattrs.keys()].map((name) => `${name}\0`).join(""), "latin1");
    if (bufferLength === 0) return list.length;
    if (list.length > bufferLength) return -ERANGE;
    this.#core.bytes.set(list, bufferAddress);
    return list.length;
  }

  removeXattr(ino: number, nameAddress: number, nameLength: number): number {
    this.#mayRetry();
    const removed = this.#nodes.get(ino)?.xattrs.delete(this.#text(nameAddress, nameLength));
    return removed === true ? 0 : -ENODATA;
  }

  space(out: VolumeSpace): number {
    out.blocks = 1_000_000;
    out.blocksFree = 900_000;
    out.blocksAvailable = 800_000;
    out.files = 5000;
    out.filesFree = 4000;
    return 0;
  }

  remember(ino: number, count: number): void {
    const node = this.#nodes.get(ino);
    if (node === undefined) this.accountingErrors += 1;
    else node.references += count;
  }

  forget(ino: number, count: number): void {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    if (node === undefined || node.references < count) {
      this.accountingErrors += 1;
      return;
    }
    node.references -= count;
    this.#reap(node);
  }

  read(ino: number, offset: number, byteLength: number, done: (result: ReadResult) => void): void {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    const length = Math.max(0, Math.min(byteLength, (node?.size ?? 0) - offset));
    const blocks = Math.ceil(length / BLOCK);
    const run = blocks === 0 ? 0 : this.takeBuffer(blocks);
    if (blocks > 0 && run === 0) throw new Retry((resume) => this.whenBuffers(resume));
    if (node !== undefined && length > 0) this.#copyOut(node, offset, run, length);
    // In two parts, so that gathering is exercised.
    const first = Math.min(length, 1000);
    const parts = length === 0 ? 0 : length > first ? 2 : 1;
    this.#options.post(() =>
      done({
        status: node === undefined ? -EBADF : 0,
        byteLength: length,
        parts,
        addresses: [run, run + first],
        byteLengths: [first, length - first],
        release: () => {
          if (blocks > 0) this.giveBuffer(run, blocks);
        },
      }),
    );
  }

  write(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    killPrivileges: boolean,
  ): number {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    if (node === undefined) return -EBADF;
    this.writes += 1;
    if (killPrivileges) this.#kill(node);
    for (let moved = 0; moved < byteLength; ) {
      const at = offset + moved;
      const inBlock = at % BLOCK;
      const length = Math.min(BLOCK - inBlock, byteLength - moved);
      const data = this.#core.bytes.subarray(address + moved, address + moved + length);
      this.#blockOf(node, Math.floor(at / BLOCK)).set(data, inBlock);
      moved += length;
    }
    node.size = Math.max(node.size, offset + byteLength);
    return byteLength;
  }

  writeOwned(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    runAddress: number,
    runBlocks: number,
    killPrivileges: boolean,
  ): number {
    if (address % BLOCK !== 0) this.accountingErrors += 1;
    const status = this.write(ino, offset, address, byteLength, killPrivileges);
    this.writesOwned += 1;
    this.#held.push([runAddress, runBlocks]);
    if (this.#held.length > (this.#options.heldRuns ?? 0)) this.#drainLater();
    return status;
  }

  setFlags(): number {
    return -EOPNOTSUPP;
  }

  copyRange(_f: number, _o: number, _t: number, _p: number, _n: number, done: Done): void {
    done(-EOPNOTSUPP);
  }

  fallocate(ino: number, mode: number, offset: number, byteLength: number): number {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    if (node === undefined) return -EBADF;
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) !== 0) {
      this.#zero(node, offset, Math.min(offset + byteLength, node.size));
    } else if ((mode & ~FALLOC_FL_KEEP_SIZE) !== 0) return -EOPNOTSUPP;
    if ((mode & FALLOC_FL_KEEP_SIZE) === 0) node.size = Math.max(node.size, offset + byteLength);
    return 0;
  }

  seek(ino: number, offset: number, whence: number): number {
    this.#mayRetry();
    const node = this.#nodes.get(ino);
    if (node === undefined) return -EBADF;
    if (offset >= node.size) return -ENXIO;
    for (let at = offset; at < node.size; at = (Math.floor(at / BLOCK) + 1) * BLOCK) {
      if (node.blocks.has(Math.floor(at / BLOCK)) === (whence === SEEK_DATA)) return at;
    }
    return whence === SEEK_DATA ? -ENXIO : node.size;
  }

  fsync(_ino: number, _dataOnly: boolean, done: Done): void {
    this.#mayRetry();
    this.fsyncs += 1;
    this.#options.post(() => done(0));
  }

  sync(done: Done): void {
    this.fsync(0, false, done);
  }

  takeBuffer(blockCount: number): number {
    const used = this.#used;
    let free = 0;
    for (let block = 0; block < used.length; block += 1) {
      free = used[block] === 0 ? free + 1 : 0;
      if (free < blockCount) continue;
      used.fill(1, block + 1 - blockCount, block + 1);
      return this.#options.poolStart + (block + 1 - blockCount) * BLOCK;
    }
    // Somebody waits for what is held: let it go.
    this.#drainLater();
    return 0;
  }

  giveBuffer(address: number, blockCount: number): void {
    const block = (address - this.#options.poolStart) / BLOCK;
    for (let index = block; index < block + blockCount; index += 1) {
      if (this.#used[index] !== 1) this.accountingErrors += 1;
      this.#used[index] = 0;
    }
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resume of waiters) resume(0);
  }

  whenBuffers(resume: (status: number) => void): void {
    this.#waiters.push(resume);
  }

  #drainLater(): void {
    if (this.#drainPosted) return;
    this.#drainPosted = true;
    this.#options.post(() => {
      this.#drainPosted = false;
      for (const [address, blocks] of this.#held.splice(0)) this.giveBuffer(address, blocks);
    });
  }

  #mayRetry(share: number = this.#options.retryShare ?? 0): void {
    if ((this.#options.retryShare ?? 0) === 0 || this.#prng.float() >= share) return;
    this.retries += 1;
    const { post } = this.#options;
    // Now and then at once, from inside wait().
    if (this.#prng.below(4) === 0) throw new Retry((resume) => resume(0));
    throw new Retry((resume) => post(() => post(() => resume(0))));
  }

  #text(address: number, length: number): string {
    return Buffer.from(this.#core.bytes.buffer, address, length).toString("latin1");
  }

  #newNode(node: NewNode): TreeNode {
    const made = new TreeNode(this.#nextIno, node);
    this.#nextIno += 1;
    this.#nodes.set(made.ino, made);
    return made;
  }

  #make(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
    target: string,
  ): number {
    this.#mayRetry();
    const directory = this.#nodes.get(parent);
    if (directory === undefined) return -ENOENT;
    const name = this.#text(nameAddress, nameLength);
    if (directory.entries.has(name)) return -EEXIST;
    if (node.mode < S_IFREG >> 4) return -EINVAL;
    const made = this.#newNode(node);
    made.target = target;
    made.size = target.length;
    if (made.isDirectory) {
      made.nlink = 2;
      made.parent = parent;
      directory.nlink += 1;
    }
    this.#enter(directory, name, made.ino);
    return this.#fill(made.ino, out);
  }

  #enter(directory: TreeNode, name: string, ino: number): void {
    directory.entries.set(name, { ino, cookie: directory.nextCookie });
    directory.nextCookie += 1;
    directory.mtimeMs = Date.now();
    directory.ctimeMs = directory.mtimeMs;
  }

  #leave(directory: TreeNode, name: string, node: TreeNode): void {
    directory.entries.delete(name);
    directory.mtimeMs = Date.now();
    directory.ctimeMs = directory.mtimeMs;
    node.ctimeMs = directory.mtimeMs;
    if (node.isDirectory) {
      node.nlink = 0;
      directory.nlink -= 1;
    } else node.nlink -= 1;
    this.#reap(node);
  }

  #reap(node: TreeNode): void {
    if (node.nlink === 0 && node.references === 0) this.#nodes.delete(node.ino);
  }

  #kill(node: TreeNode): void {
    node.mode &= ~0o4000;
    if ((node.mode & 0o010) !== 0) node.mode &= ~0o2000;
  }

  #fill(ino: number, out: Attributes): number {
    const node = this.#nodes.get(ino);
    if (node === undefined) return -ENOENT;
    out.ino = ino;
    out.generation = 1;
    out.mode = node.mode;
    out.nlink = node.nlink;
    out.uid = node.uid;
    out.gid = node.gid;
    out.rdev = node.rdev;
    out.size = node.isDirectory ? node.entries.size : node.size;
    out.blocks = node.blocks.size * (BLOCK / 512);
    [out.atime, out.atimeNs] = split(node.atimeMs);
    [out.mtime, out.mtimeNs] = split(node.mtimeMs);
    [out.ctime, out.ctimeNs] = split(node.ctimeMs);
    [out.btime, out.btimeNs] = split(node.btimeMs);
    return 0;
  }

  #blockOf(node: TreeNode, index: number): Uint8Array {
    let block = node.blocks.get(index);
    if (block === undefined) {
      block = new Uint8Array(BLOCK);
      node.blocks.set(index, block);
    }
    return block;
  }

  #copyOut(node: TreeNode, offset: number, to: number, byteLength: number): void {
    for (let moved = 0; moved < byteLength; ) {
      const at = offset + moved;
      const inBlock = at % BLOCK;
      const length = Math.min(BLOCK - inBlock, byteLength - moved);
      const block = node.blocks.get(Math.floor(at / BLOCK));
      const target = this.#core.bytes.subarray(to + moved, to + moved + length);
      if (block === undefined) target.fill(0);
      else target.set(block.subarray(inBlock, inBlock + length));
      moved += length;
    }
  }

  #truncate(node: TreeNode, size: number): void {
    if (size < node.size) {
      for (const index of [...node.blocks.keys()]) {
        if (index * BLOCK >= size) node.blocks.delete(index);
      }
      if (size % BLOCK !== 0) node.blocks.get(Math.floor(size / BLOCK))?.fill(0, size % BLOCK);
    }
    node.size = size;
  }

  #zero(node: TreeNode, start: number, end: number): void {
    for (const [index, block] of [...node.blocks]) {
      const from = Math.max(start - index * BLOCK, 0);
      const to = Math.min(end - index * BLOCK, BLOCK);
      if (from === 0 && to === BLOCK) node.blocks.delete(index);
      else if (from < to) block.fill(0, from, to);
    }
  }
}

function split(ms: number): [seconds: number, nanoseconds: number] {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6) % 1_000_000_000];
}

/**
 * A file system of Maps and arrays that behaves as the interface says, and says Retry at random: for tests of what is
 * above it, without the engine.
 */
import { Buffer } from "node:buffer";
import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
} from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { Retry } from "../../host/base/retry.ts";
import type { Done } from "../../host/device/device.ts";
import {
  type AttributeChange,
  Attributes,
  type DirectorySink,
  type FileSystem,
  type NewNode,
  type ReadResult,
  ROOT_INO,
  SET_ATIME,
  SET_GID,
  SET_KILL_PRIVILEGES,
  SET_MODE,
  SET_MTIME,
  SET_SIZE,
  SET_UID,
  type VolumeSpace,
} from "../../host/fs/file_system.ts";

const BLOCK_BYTES = 4096;
const DIRECTORY = 0o040000;
const SYMLINK = 0o120000;
const TYPE = 0o170000;

class Node {
  readonly attributes = new Attributes();
  data: Buffer = Buffer.alloc(0);
  /** Of a directory: name (latin1) to inode number. */
  readonly entries = new Map<string, number>();
  readonly cookies = new Map<string, number>();
  parent = ROOT_INO;
  readonly xattrs = new Map<string, Buffer>();
  references = 0;
}

export class PlainFileSystem implements FileSystem {
  readonly readOnly: boolean = false;
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly #bytes: Buffer;
  readonly #nodes = new Map<number, Node>();
  readonly #random: Prng;
  readonly #retryShare: number;
  readonly #used: boolean[];
  readonly #waiting: ((status: number) => void)[] = [];
  #calm = 0;
  #nextIno = 2;
  #nextCookie = 3;
  /** Runs taken and not given back, in blocks. */
  blocksTaken = 0;
  readsOpen = 0;

  /** @param options.retryShare How many of the calls say Retry, 0 to 1. */
  constructor(options: { seed: number; retryShare: number; blocks: number }) {
    this.memory = new Uint8Array((options.blocks + 1) * BLOCK_BYTES);
    this.#bytes = Buffer.from(this.memory.buffer);
    this.#used = new Array<boolean>(options.blocks).fill(false);
    this.#random = new Prng(options.seed);
    this.#retryShare = options.retryShare;
    const root = new Node();
    root.attributes.ino = ROOT_INO;
    root.attributes.mode = DIRECTORY | 0o755;
    root.attributes.nlink = 2;
    this.#nodes.set(ROOT_INO, root);
  }

  /** Inodes that exist: orphans too. */
  get inodeCount(): number {
    return this.#nodes.size;
  }

  #maybeRetry(): void {
    if (this.#calm > 0) {
      this.#calm -= 1;
      return;
    }
    if (this.#random.float() >= this.#retryShare) return;
    // What was waited for is there then: an operation gets through some day, however long it is.
    this.#calm = this.#random.below(200);
    const late = this.#random.float() < 0.5;
    throw new Retry((resume) => {
      if (late) setImmediate(() => resume(0));
      else resume(0);
    });
  }

  #name(address: number, length: number): string {
    return this.#bytes.toString("latin1", address, address + length);
  }

  #directory(ino: number): Node | number {
    const node = this.#nodes.get(ino);
    if (node === undefined) return -ENOENT;
    return (node.attributes.mode & TYPE) === DIRECTORY ? node : -ENOTDIR;
  }

  #touch(node: Node, data: boolean): void {
    const now = Date.now();
    const { attributes } = node;
    attributes.ctime = Math.floor(now / 1000);
    attributes.ctimeNs = (now % 1000) * 1e6;
    if (data) {
      attributes.mtime = attributes.ctime;
      attributes.mtimeNs = attributes.ctimeNs;
    }
  }

  #answer(node: Node, out: Attributes): number {
    node.attributes.size = node.data.length;
    node.attributes.blocks = Math.ceil(node.data.length / 512);
    Object.assign(out, node.attributes);
    return 0;
  }

  lookup(parent: number, nameAddress: number, nameLength: number, out: Attributes): number {
    this.#maybeRetry();
    const directory = this.#directory(parent);
    if (typeof directory === "number") return directory;
    const ino = directory.entries.get(this.#name(nameAddress, nameLength));
    return ino === undefined ? -ENOENT : this.#answer(this.#nodes.get(ino)!, out);
  }

  getAttributes(ino: number, out: Attributes): number {
    this.#maybeRetry();
    const node = this.#nodes.get(ino);
    return node === undefined ? -ENOENT : this.#answer(node, out);
  }

  setAttributes(ino: number, change: AttributeChange, out: Attributes): number {
    this.#maybeRetry();
    const node = this.#nodes.get(ino);
    if (node === undefined) return -ENOENT;
    const { attributes } = node;
    const { set } = change;
    if ((set & SET_SIZE) !== 0) this.#resize(node, change.size);
    this.#touch(node, (set & SET_SIZE) !== 0);
    if ((set & SET_KILL_PRIVILEGES) !== 0) {
      attributes.mode &= ~0o4000;
      if ((attributes.mode & 0o010) !== 0) attributes.mode &= ~0o2000;
    }
    if ((set & SET_MODE) !== 0) {
      attributes.mode = (attributes.mode & TYPE) | (change.mode & 0o7777);
    }
    if ((set & SET_UID) !== 0) attributes.uid = change.uid;
    if ((set & SET_GID) !== 0) attributes.gid = change.gid;
    if ((set & SET_ATIME) !== 0) {
      attributes.atime = change.atime;
      attributes.atimeNs = change.atimeNs;
    }
    if ((set & SET_MTIME) !== 0) {
      attributes.mtime = change.mtime;
      attributes.mtimeNs = change.mtimeNs;
    }
    return this.#answer(node, out);
  }

  #resize(node: Node, size: number): void {
    if (size <= node.data.length) node.data = node.data.subarray(0, size);
    else {
      const grown = Buffer.alloc(size);
      grown.set(node.data);
      node.data = grown;
    }
  }

  #insert(directory: Node, name: string, node: Node): void {
    directory.entries.set(name, node.attributes.ino);
    directory.cookies.set(name, this.#nextCookie);
    this.#nextCookie += 1;
    this.#touch(directory, true);
  }

  #remove(directory: Node, name: string): void {
    directory.entries.delete(name);
    directory.cookies.delete(name);
    this.#touch(directory, true);
  }

  #make(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
  ): Node | number {
    this.#maybeRetry();
    const directory = this.#directory(parent);
    if (typeof directory === "number") return directory;
    if (directory.attributes.nlink === 0) return -ENOENT;
    const name = this.#name(nameAddress, nameLength);
    if (directory.entries.has(name)) return -EEXIST;
    const made = new Node();
    const { attributes } = made;
    attributes.ino = this.#nextIno;
    attributes.mode = node.mode;
    attributes.uid = node.uid;
    attributes.gid = node.gid;
    attributes.nlink = 1;
    if ((directory.attributes.mode & 0o2000) !== 0) {
      attributes.gid = directory.attributes.gid;
      if ((node.mode & TYPE) === DIRECTORY) attributes.mode |= 0o2000;
    }
    this.#touch(made, true);
    attributes.atime = attributes.btime = attributes.mtime;
    attributes.atimeNs = attributes.btimeNs = attributes.mtimeNs;
    made.parent = parent;
    this.#nodes.set(attributes.ino, made);
    this.#nextIno += 1;
    this.#insert(directory, name, made);
    this.#answer(made, out);
    return made;
  }

  makeNode(
    parent: number,
    address: number,
    length: number,
    node: NewNode,
    out: Attributes,
  ): number {
    const made = this.#make(parent, address, length, node, out);
    return typeof made === "number" ? made : 0;
  }

  makeDirectory(
    parent: number,
    address: number,
    length: number,
    node: NewNode,
    out: Attributes,
  ): number {
    const made = this.#make(parent, address, length, node, out);
    if (typeof made === "number") return made;
    made.attributes.nlink = 2;
    this.#nodes.get(parent)!.attributes.nlink += 1;
    return this.#answer(made, out);
  }

  makeSymlink(
    parent: number,
    address: number,
    length: number,
    targetAddress: number,
    targetLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    const made = this.#make(parent, address, length, node, out);
    if (typeof made === "number") return made;
    made.data = Buffer.from(this.#bytes.subarray(targetAddress, targetAddress + targetLength));
    return this.#answer(made, out);
  }

  makeUnnamed(): number {
    return -EINVAL;
  }

  link(ino: number, newParent: number, address: number, length: number, out: Attributes): number {
    this.#maybeRetry();
    const node = this.#nodes.get(ino)!;
    const directory = this.#directory(newParent);
    if (typeof directory === "number") return directory;
    if ((node.attributes.mode & TYPE) === DIRECTORY) return -EPERM;
    const name = this.#name(address, length);
    if (directory.entries.has(name)) return -EEXIST;
    this.#insert(directory, name, node);
    node.attributes.nlink += 1;
    this.#touch(node, false);
    return this.#answer(node, out);
  }

  unlink(parent: number, address: number, length: number): number {
    this.#maybeRetry();
    const directory = this.#directory(parent);
    if (typeof directory === "number") return directory;
    const name = this.#name(address, length);
    const node = this.#nodes.get(directory.entries.get(name) ?? 0);
    if (node === undefined) return -ENOENT;
    if ((node.attributes.mode & TYPE) === DIRECTORY) return -EISDIR;
    this.#remove(directory, name);
    this.#drop(node, 1);
    return 0;
  }

  #drop(node: Node, links: number): void {
    node.attributes.nlink -= links;
    this.#touch(node, false);
    if (node.attributes.nlink <= 0 && node.references === 0) {
      this.#nodes.delete(node.attributes.ino);
    }
  }

  removeDirectory(parent: number, address: number, length: number): number {
    this.#maybeRetry();
    const directory = this.#directory(parent);
    if (typeof directory === "number") return directory;
    const name = this.#name(address, length);
    const node = this.#nodes.get(directory.entries.get(name) ?? 0);
    if (node === undefined) return -ENOENT;
    if ((node.attributes.mode & TYPE) !== DIRECTORY) return -ENOTDIR;
    if (node.entries.size > 0) return -ENOTEMPTY;
    this.#remove(directory, name);
    directory.attributes.nlink -= 1;
    this.#drop(node, 2);
    return 0;
  }

  rename(
    parent: number,
    nameAddress: number,
    nameLength: number,
    newParent: number,
    newNameAddress: number,
    newNameLength: number,
  ): number {
    this.#maybeRetry();
    const from = this.#directory(parent);
    const to = this.#directory(newParent);
    if (typeof from === "number") return from;
    if (typeof to === "number") return to;
    const name = this.#name(nameAddress, nameLength);
    const newName = this.#name(newNameAddress, newNameLength);
    const node = this.#nodes.get(from.entries.get(name) ?? 0);
    if (node === undefined) return -ENOENT;
    const isDirectory = (node.attributes.mode & TYPE) === DIRECTORY;
    const old = this.#nodes.get(to.entries.get(newName) ?? 0);
    if (old === node) return 0;
    if (old !== undefined) {
      const isOld = (old.attributes.mode & TYPE) === DIRECTORY;
      if (isDirectory && !isOld) return -ENOTDIR;
      if (!isDirectory && isOld) return -EISDIR;
      if (isOld && old.entries.size > 0) return -ENOTEMPTY;
      this.#remove(to, newName);
      if (isOld) to.attributes.nlink -= 1;
      this.#drop(old, isOld ? 2 : 1);
    }
    this.#remove(from, name);
    this.#insert(to, newName, node);
    if (isDirectory) {
      from.attributes.nlink -= 1;
      to.attributes.nlink += 1;
      node.parent = newParent;
    }
    this.#touch(node, false);
    return 0;
  }

  readLink(ino: number, bufferAddress: number, bufferLength: number): number {
    this.#maybeRetry();
    const node = this.#nodes.get(ino)!;
    if ((node.attributes.mode & TYPE) !== SYMLINK) return -EINVAL;
    if (node.data.length > bufferLength) return -ERANGE;
    this.#bytes.set(node.data, bufferAddress);
    return node.data.length;
  }

  readDirectory(ino: number, cookie: number, sink: DirectorySink): number {
    this.#maybeRetry();
    const node = this.#directory(ino);
    if (typeof node === "number") return node;
    const list: [cookie: number, name: string, ino: number][] = [
      [1, ".", ino],
      [2, "..", node.parent],
    ];
    for (const [name, child] of node.entries) list.push([node.cookies.get(name)!, name, child]);
    list.sort((a, b) => a[0] - b[0]);
    let taken = 0;
    const address = this.#used.length * BLOCK_BYTES;
    for (const [at, name, child] of list) {
      if (at <= cookie) continue;
      // In the middle of a listing too.
      if (taken < 50) this.#maybeRetry();
      this.#bytes.write(name, address, "latin1");
      const type = this.#nodes.get(child)!.attributes.mode >> 12;
      if (!sink(child, type, address, name.length, at)) break;
      taken += 1;
    }
    return taken;
  }

  parentOf(ino: number): number {
    this.#maybeRetry();
    return this.#nodes.get(ino)!.parent;
  }

  #value(value: Buffer, bufferAddress: number, bufferLength: number): number {
    if (bufferLength === 0) return value.length;
    if (value.length > bufferLength) return -ERANGE;
    this.#bytes.set(value, bufferAddress);
    return value.length;
  }

  getXattr(ino: number, address: number, length: number, buffer: number, size: number): number {
    this.#maybeRetry();
    const value = this.#nodes.get(ino)!.xattrs.get(this.#name(address, length));
    return value === undefined ? -ENODATA : this.#value(value, buffer, size);
  }

  setXattr(
    ino: number,
    address: number,
    length: number,
    valueAddress: number,
    valueLength: number,
    flags: number,
  ): number {
    this.#maybeRetry();
    const { xattrs } = this.#nodes.get(ino)!;
    const name = this.#name(address, length);
    if (flags === 1 && xattrs.has(name)) return -EEXIST;
    if (flags === 2 && !xattrs.has(name)) return -ENODATA;
    xattrs.set(name, Buffer.from(this.#bytes.subarray(valueAddress, valueAddress + valueLength)));
    return 0;
  }

  listXattr(ino: number, buffer: number, size: number): number {
    this.#maybeRetry();
    const names = [...this.#nodes.get(ino)!.xattrs.keys()].map((name) => `${name}\0`).join("");
    return this.#value(Buffer.from(names, "latin1"), buffer, size);
  }

  removeXattr(ino: number, address: number, length: number): number {
    this.#maybeRetry();
    const { xattrs } = this.#nodes.get(ino)!;
    return xattrs.delete(this.#name(address, length)) ? 0 : -ENODATA;
  }

  space(out: VolumeSpace): number {
    this.#maybeRetry();
    out.blocks = 1 << 20;
    out.blocksFree = 1 << 19;
    out.blocksAvailable = 1 << 19;
    out.files = this.#nodes.size;
    out.filesFree = 1 << 20;
    return 0;
  }

  remember(ino: number, count: number): void {
    this.#nodes.get(ino)!.references += count;
  }

  forget(ino: number, count: number): void {
    const node = this.#nodes.get(ino)!;
    node.references -= count;
    if (node.references === 0 && node.attributes.nlink <= 0) this.#nodes.delete(ino);
  }

  read(ino: number, offset: number, byteLength: number, done: (result: ReadResult) => void): void {
    const node = this.#nodes.get(ino)!;
    const data = node.data.subarray(offset, offset + byteLength);
    const blocks = Math.ceil(data.length / BLOCK_BYTES);
    const address = blocks === 0 ? 0 : this.takeBuffer(blocks);
    if (blocks > 0 && address === 0) {
      this.whenBuffers(() => this.read(ino, offset, byteLength, done));
      return;
    }
    this.readsOpen += 1;
    this.#bytes.set(data, address);
    // In two parts, at a border that nothing else has.
    const first = Math.min(data.length, 1 + (data.length >> 1));
    setImmediate(() =>
      done({
        status: 0,
        byteLength: data.length,
        parts: data.length === 0 ? 0 : 2,
        addresses: [address, address + first],
        byteLengths: [first, data.length - first],
        release: () => {
          this.readsOpen -= 1;
          if (blocks > 0) this.giveBuffer(address, blocks);
        },
      }),
    );
  }

  write(ino: number, offset: number, address: number, byteLength: number): number {
    this.#maybeRetry();
    const node = this.#nodes.get(ino)!;
    if (offset + byteLength > node.data.length) {
      // Spare room behind the data, so that appending is not quadratic.
      const spare = Buffer.from(node.data.buffer, node.data.byteOffset);
      if (spare.length >= offset + byteLength && node.data.byteOffset === 0) {
        spare.fill(0, node.data.length, Math.max(offset, node.data.length));
        node.data = spare.subarray(0, offset + byteLength);
      } else {
        const grown = Buffer.from(new ArrayBuffer(2 * (offset + byteLength) + BLOCK_BYTES));
        grown.set(node.data);
        node.data = grown.subarray(0, offset + byteLength);
      }
    }
    node.data.set(this.#bytes.subarray(address, address + byteLength), offset);
    this.#touch(node, true);
    return byteLength;
  }

  writeOwned(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    runAddress: number,
    runBlocks: number,
  ): number {
    const result = this.write(ino, offset, address, byteLength);
    this.giveBuffer(runAddress, runBlocks);
    return result;
  }

  fallocate(): number {
    return -EINVAL;
  }

  setFlags(): number {
    return -EOPNOTSUPP;
  }

  copyRange(_f: number, _o: number, _t: number, _p: number, _n: number, done: Done): void {
    done(-EOPNOTSUPP);
  }

  seek(): number {
    return -EINVAL;
  }

  fsync(_ino: number, _dataOnly: boolean, done: Done): void {
    setImmediate(() => done(0));
  }

  sync(done: Done): void {
    setImmediate(() => done(0));
  }

  takeBuffer(blockCount: number): number {
    for (let start = 1; start + blockCount <= this.#used.length; start += 1) {
      let length = 0;
      while (length < blockCount && !this.#used[start + length]) length += 1;
      if (length === blockCount) {
        this.#used.fill(true, start, start + blockCount);
        this.blocksTaken += blockCount;
        return start * BLOCK_BYTES;
      }
      start += length;
    }
    return 0;
  }

  giveBuffer(address: number, blockCount: number): void {
    const start = address / BLOCK_BYTES;
    for (let block = start; block < start + blockCount; block += 1) {
      if (!this.#used[block]) throw new Error(`Block ${block} is given back twice`);
      this.#used[block] = false;
    }
    this.blocksTaken -= blockCount;
    for (const resume of this.#waiting.splice(0)) setImmediate(() => resume(0));
  }

  whenBuffers(resume: (status: number) => void): void {
    this.#waiting.push(resume);
  }
}

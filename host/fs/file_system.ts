/**
 * POSIX operations on one volume, by inode number: the interface that FUSE, the library and the tools share.
 *
 * Conventions. Names and buffers are (address, byteLength) in the core's memory, so the FUSE request is used where it
 * lies. Synchronous operations return ≥ 0 or −errno and may throw `Retry` (base/retry.ts) before they have changed
 * anything: wait and call again. Others take a completion. No permission checks: the kernel does them
 * (default_permissions); what no kernel checks (types, names, limits, emptiness) is checked here. Inode 1 is the root.
 *
 * Durability: changes are ordered and atomic each; durable after `sync`, `fsync` of an object changed after them, or
 * the next checkpoint (a few seconds).
 */
import type { Done } from "../device/device.ts";

export const ROOT_INO = 1;
export const NAME_BYTES_MAX = 255;

/** What stat(2) tells, refilled by the caller's operations: one object, reused. Sizes in bytes, times in s and ns. */
export class Attributes {
  ino = 0;
  generation = 0;
  /** S_IFMT type bits and 07777 permission bits. */
  mode = 0;
  nlink = 0;
  uid = 0;
  gid = 0;
  /** Kernel "huge" encoding as in FUSE: (major << 8) | (minor & 0xff) | ((minor & ~0xff) << 12). */
  rdev = 0;
  size = 0;
  /** In 512-byte units. */
  blocks = 0;
  atime = 0;
  atimeNs = 0;
  mtime = 0;
  mtimeNs = 0;
  ctime = 0;
  ctimeNs = 0;
  btime = 0;
  btimeNs = 0;
  /** FS_*_FL flags (chattr): inode_flags.ts. */
  flags = 0;
  /** Project id, for accounting. */
  project = 0;
}

/** A change of attributes: fields named in `set` only. */
export class AttributeChange {
  set = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  size = 0;
  atime = 0;
  atimeNs = 0;
  mtime = 0;
  mtimeNs = 0;
  ctime = 0;
  ctimeNs = 0;
}
export const SET_MODE = 1;
export const SET_UID = 2;
export const SET_GID = 4;
export const SET_SIZE = 8;
export const SET_ATIME = 16;
export const SET_MTIME = 32;
export const SET_ATIME_NOW = 64;
export const SET_MTIME_NOW = 128;
export const SET_CTIME = 256;
/** Drop set-user-id, set-group-id (where group-executable) and security.capability, as a write by another does. */
export const SET_KILL_PRIVILEGES = 512;

/** How a new object is to be made. */
export class NewNode {
  /** Type and permission bits. */
  mode = 0;
  /** Bits that are taken from the mode, unless the directory has a default ACL. Used up by the call. */
  umask = 0;
  uid = 0;
  gid = 0;
  rdev = 0;
}

/** A flag of setXattr beside XATTR_CREATE and XATTR_REPLACE: an ACL takes the set-group-id bit away. */
export const XATTR_KILL_SETGID = 0x1_0000;

export class VolumeSpace {
  blockBytes = 4096;
  blocks = 0;
  blocksFree = 0;
  blocksAvailable = 0;
  files = 0;
  filesFree = 0;
}

/** Data that a read brought: gather list in the core's memory, valid until release() (call exactly once). */
export interface ReadResult {
  /** 0 or −errno. */
  status: number;
  /** Total bytes; fewer than asked only at the end of the file. */
  byteLength: number;
  /** Number of parts in use. */
  parts: number;
  addresses: number[];
  byteLengths: number[];
  release(): void;
}

/** Returns false to stop before this entry (it is given again next time). `type` is S_IFMT >> 12, as in dirent. */
export type DirectorySink = (
  ino: number,
  type: number,
  nameAddress: number,
  nameLength: number,
  nextCookie: number,
) => boolean;

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_COLLAPSE_RANGE = 0x08;
export const FALLOC_FL_ZERO_RANGE = 0x10;
export const FALLOC_FL_INSERT_RANGE = 0x20;
export const FALLOC_FL_UNSHARE_RANGE = 0x40;

export interface FileSystem {
  readonly readOnly: boolean;

  lookup(parent: number, nameAddress: number, nameLength: number, out: Attributes): number;
  getAttributes(ino: number, out: Attributes): number;
  setAttributes(ino: number, change: AttributeChange, out: Attributes): number;

  /** Regular file, FIFO, socket or device, by node.mode. */
  makeNode(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
  ): number;
  makeDirectory(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
  ): number;
  makeSymlink(
    parent: number,
    nameAddress: number,
    nameLength: number,
    targetAddress: number,
    targetLength: number,
    node: NewNode,
    out: Attributes,
  ): number;
  /** An unnamed file (O_TMPFILE): nlink 0 until linked. */
  makeUnnamed(parent: number, node: NewNode, out: Attributes): number;
  link(
    ino: number,
    newParent: number,
    nameAddress: number,
    nameLength: number,
    out: Attributes,
  ): number;
  unlink(parent: number, nameAddress: number, nameLength: number): number;
  removeDirectory(parent: number, nameAddress: number, nameLength: number): number;
  rename(
    parent: number,
    nameAddress: number,
    nameLength: number,
    newParent: number,
    newNameAddress: number,
    newNameLength: number,
    flags: number,
  ): number;

  /** Length of the target, copied to the buffer (4,095 bytes at most). */
  readLink(ino: number, bufferAddress: number, bufferLength: number): number;
  /**
   * Calls the sink for each entry after `cookie` (0: from the start, "." and ".." first). Cookies are stable: they stay
   * valid while entries come and go, and are < 2^53. Returns the number of entries taken.
   */
  readDirectory(ino: number, cookie: number, sink: DirectorySink): number;
  /** The directory's parent, for "..". */
  parentOf(ino: number): number;

  /** Length of the value; with bufferLength 0 the length alone, else −ERANGE if it does not fit; −ENODATA. */
  getXattr(
    ino: number,
    nameAddress: number,
    nameLength: number,
    bufferAddress: number,
    bufferLength: number,
  ): number;
  /** flags: 1 XATTR_CREATE, 2 XATTR_REPLACE. */
  setXattr(
    ino: number,
    nameAddress: number,
    nameLength: number,
    valueAddress: number,
    valueLength: number,
    flags: number,
  ): number;
  /** Names, each ended by NUL; length as getXattr. */
  listXattr(
    ino: number,
    bufferAddress: number,
    bufferLength: number,
    /** Default true: names of trusted. too, which only the privileged may see. */
    withTrusted?: boolean,
  ): number;
  removeXattr(ino: number, nameAddress: number, nameLength: number): number;

  /** @param ino A directory that hands on its project's quota has no more than this leaves. */
  space(out: VolumeSpace, ino?: number): number;

  /** The caller keeps `count` more references to the inode: while any is held, an unlinked file keeps its data. */
  remember(ino: number, count: number): void;
  /** Gives references back; the last one of an unlinked inode frees it. */
  forget(ino: number, count: number): void;

  /**
   * Reads. Any range; holes are zeros. Every block is verified; a mismatch that no copy can mend is −EIO.
   */
  read(ino: number, offset: number, byteLength: number, done: (result: ReadResult) => void): void;
  /**
   * Buffers a write, to be made durable later. If the payload lies in a run of the data pool that the caller owns
   * (takeBuffer) at a block-aligned address, offset is block-aligned and `own` is true, the file system takes whole
   * blocks of it without a copy: then it owns the buffer's whole run. Otherwise it copies.
   * `keepTimes`: the caller owns mtime and ctime and sets them itself (the kernel, when it caches writes).
   * Returns bytes written (always all) or −errno.
   */
  write(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    killPrivileges: boolean,
    keepTimes?: boolean,
  ): number;
  /** As write(), taking over the data-pool run (runAddress, runBlocks) that holds the payload, whatever the result. */
  writeOwned(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    runAddress: number,
    runBlocks: number,
    killPrivileges: boolean,
    keepTimes?: boolean,
  ): number;
  /**
   * Sets the flags of a file or directory (those that can be set, the others stay) and its project id.
   * −EOPNOTSUPP for a flag that is not offered.
   */
  setFlags(ino: number, flags: number, project: number, out: Attributes): number;
  /** fallocate(2): mode 0, KEEP_SIZE, ZERO_RANGE, PUNCH_HOLE | KEEP_SIZE. */
  fallocate(ino: number, mode: number, offset: number, byteLength: number): number;
  /**
   * Copies a range as copy_file_range(2) does; whole blocks are shared, not copied. Calls back with the bytes copied,
   * fewer where the source ends, or −errno.
   */
  copyRange(
    from: number,
    fromOffset: number,
    to: number,
    toOffset: number,
    byteLength: number,
    done: Done,
  ): void;
  /** SEEK_DATA (3) or SEEK_HOLE (4); −ENXIO past the end. */
  seek(ino: number, offset: number, whence: number): number;
  /** Durable: the file's data and metadata, and every operation before (one write and one flush, shared). */
  fsync(ino: number, dataOnly: boolean, done: Done): void;
  /** Durable: everything. */
  sync(done: Done): void;

  /** A run of 4 KiB blocks of the data pool, for payloads: address, or 0 when the pool is exhausted just now. */
  takeBuffer(blockCount: number): number;
  giveBuffer(address: number, blockCount: number): void;
  /** Calls back when the pool may have room again. */
  whenBuffers(resume: (status: number) => void): void;
}

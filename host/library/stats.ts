/**
 * What stat and statfs tell, with the fields and methods of Node's fs.Stats, fs.BigIntStats and fs.StatFs.
 */
import { constants } from "node:fs";
import type { Attributes, VolumeSpace } from "../fs/file_system.ts";

const { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } = constants;

/** Bytes of a transfer that the volume likes best. */
const BLOCK_BYTES = 4096;

/** The type that statfs reports: "DynF". */
export const STATFS_TYPE = 0x44796e46;

/** Attributes of a file, as Node's fs.Stats. */
export class Stats {
  /** The volume's number: one volume keeps its own. */
  dev: number;
  /** Type (S_IFMT) and permission bits. */
  mode: number;
  /** Names that lead here; of a directory, 2 and its subdirectories. */
  nlink: number;
  /** Owner. */
  uid: number;
  /** Group. */
  gid: number;
  /** Of a device: its number. */
  rdev: number;
  /** Bytes of a transfer that the volume likes best. */
  blksize: number;
  /** Inode number, never used again. */
  ino: number;
  /** Bytes. */
  size: number;
  /** Room taken, in units of 512 bytes. */
  blocks: number;
  /** Last read, in milliseconds since the epoch. */
  atimeMs: number;
  /** Last change of the content, in milliseconds. */
  mtimeMs: number;
  /** Last change of content or attributes, in milliseconds. */
  ctimeMs: number;
  /** Creation, in milliseconds. */
  birthtimeMs: number;
  /** Last read. */
  atime: Date;
  /** Last change of the content. */
  mtime: Date;
  /** Last change of content or attributes. */
  ctime: Date;
  /** Creation. */
  birthtime: Date;

  /** Made by the volume's functions, not by programs. */
  constructor(from: Attributes, dev: number) {
    this.dev = dev;
    this.mode = from.mode;
    this.nlink = from.nlink;
    this.uid = from.uid;
    this.gid = from.gid;
    this.rdev = from.rdev;
    this.blksize = BLOCK_BYTES;
    this.ino = from.ino;
    this.size = from.size;
    this.blocks = from.blocks;
    this.atimeMs = milliseconds(from.atime, from.atimeNs);
    this.mtimeMs = milliseconds(from.mtime, from.mtimeNs);
    this.ctimeMs = milliseconds(from.ctime, from.ctimeNs);
    this.birthtimeMs = milliseconds(from.btime, from.btimeNs);
    this.atime = date(this.atimeMs);
    this.mtime = date(this.mtimeMs);
    this.ctime = date(this.ctimeMs);
    this.birthtime = date(this.birthtimeMs);
  }

  /** Whether it is a regular file. */
  isFile(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }
  /** Whether it is a directory. */
  isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }
  /** Whether it is a symbolic link. */
  isSymbolicLink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }
  /** Whether it is a block device. */
  isBlockDevice(): boolean {
    return (this.mode & S_IFMT) === S_IFBLK;
  }
  /** Whether it is a character device. */
  isCharacterDevice(): boolean {
    return (this.mode & S_IFMT) === S_IFCHR;
  }
  /** Whether it is a FIFO. */
  isFIFO(): boolean {
    return (this.mode & S_IFMT) === S_IFIFO;
  }
  /** Whether it is a socket. */
  isSocket(): boolean {
    return (this.mode & S_IFMT) === S_IFSOCK;
  }
}

/** Attributes of a file with 64-bit integers and nanoseconds, as Node's fs.BigIntStats. */
export class BigIntStats {
  /** The volume's number: one volume keeps its own. */
  dev: bigint;
  /** Type (S_IFMT) and permission bits. */
  mode: bigint;
  /** Names that lead here; of a directory, 2 and its subdirectories. */
  nlink: bigint;
  /** Owner. */
  uid: bigint;
  /** Group. */
  gid: bigint;
  /** Of a device: its number. */
  rdev: bigint;
  /** Bytes of a transfer that the volume likes best. */
  blksize: bigint;
  /** Inode number, never used again. */
  ino: bigint;
  /** Bytes. */
  size: bigint;
  /** Room taken, in units of 512 bytes. */
  blocks: bigint;
  /** Last read, in milliseconds since the epoch. */
  atimeMs: bigint;
  /** Last change of the content, in milliseconds. */
  mtimeMs: bigint;
  /** Last change of content or attributes, in milliseconds. */
  ctimeMs: bigint;
  /** Creation, in milliseconds. */
  birthtimeMs: bigint;
  /** Last read, in nanoseconds since the epoch. */
  atimeNs: bigint;
  /** Last change of the content, in nanoseconds. */
  mtimeNs: bigint;
  /** Last change of content or attributes, in nanoseconds. */
  ctimeNs: bigint;
  /** Creation, in nanoseconds. */
  birthtimeNs: bigint;
  /** Last read. */
  atime: Date;
  /** Last change of the content. */
  mtime: Date;
  /** Last change of content or attributes. */
  ctime: Date;
  /** Creation. */
  birthtime: Date;

  /** Made by the volume's functions, not by programs. */
  constructor(from: Attributes, dev: number) {
    this.dev = BigInt(dev);
    this.mode = BigInt(from.mode);
    this.nlink = BigInt(from.nlink);
    this.uid = BigInt(from.uid);
    this.gid = BigInt(from.gid);
    this.rdev = BigInt(from.rdev);
    this.blksize = BigInt(BLOCK_BYTES);
    this.ino = BigInt(from.ino);
    this.size = BigInt(from.size);
    this.blocks = BigInt(from.blocks);
    this.atimeNs = nanoseconds(from.atime, from.atimeNs);
    this.mtimeNs = nanoseconds(from.mtime, from.mtimeNs);
    this.ctimeNs = nanoseconds(from.ctime, from.ctimeNs);
    this.birthtimeNs = nanoseconds(from.btime, from.btimeNs);
    this.atimeMs = this.atimeNs / 1_000_000n;
    this.mtimeMs = this.mtimeNs / 1_000_000n;
    this.ctimeMs = this.ctimeNs / 1_000_000n;
    this.birthtimeMs = this.birthtimeNs / 1_000_000n;
    this.atime = date(Number(this.atimeMs));
    this.mtime = date(Number(this.mtimeMs));
    this.ctime = date(Number(this.ctimeMs));
    this.birthtime = date(Number(this.birthtimeMs));
  }

  /** Whether it is a regular file. */
  isFile(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFREG;
  }
  /** Whether it is a directory. */
  isDirectory(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFDIR;
  }
  /** Whether it is a symbolic link. */
  isSymbolicLink(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFLNK;
  }
  /** Whether it is a block device. */
  isBlockDevice(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFBLK;
  }
  /** Whether it is a character device. */
  isCharacterDevice(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFCHR;
  }
  /** Whether it is a FIFO. */
  isFIFO(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFIFO;
  }
  /** Whether it is a socket. */
  isSocket(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFSOCK;
  }
}

/** Space of a volume, as Node's fs.StatFs; counts of `bsize` bytes. */
export class StatFs<T extends number | bigint = number> {
  /** The filesystem's type: STATFS_TYPE. */
  type: T;
  /** Bytes of a block. */
  bsize: T;
  /** The same; Node has it since 24. */
  frsize: T;
  /** Room taken, in units of 512 bytes. */
  blocks: T;
  /** Free blocks. */
  bfree: T;
  /** Free blocks that can be had. */
  bavail: T;
  /** Inodes in use. */
  files: T;
  /** Inodes that can still be made. */
  ffree: T;

  /** Made by the volume's functions, not by programs. */
  constructor(from: VolumeSpace, convert: (value: number) => T) {
    this.type = convert(STATFS_TYPE);
    this.bsize = convert(from.blockBytes);
    this.frsize = convert(from.blockBytes);
    this.blocks = convert(from.blocks);
    this.bfree = convert(from.blocksFree);
    this.bavail = convert(from.blocksAvailable);
    this.files = convert(from.files);
    this.ffree = convert(from.filesFree);
  }
}

function milliseconds(seconds: number, ns: number): number {
  return seconds * 1000 + ns / 1e6;
}

function nanoseconds(seconds: number, ns: number): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(ns);
}

/** Rounded, as Node does: the fraction of a millisecond has lost bits by now. */
function date(ms: number): Date {
  return new Date(Math.round(ms));
}

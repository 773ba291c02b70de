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
  dev: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  blksize: number;
  ino: number;
  size: number;
  blocks: number;
  atimeMs: number;
  mtimeMs: number;
  ctimeMs: number;
  birthtimeMs: number;
  atime: Date;
  mtime: Date;
  ctime: Date;
  birthtime: Date;

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

  isFile(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }
  isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }
  isSymbolicLink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }
  isBlockDevice(): boolean {
    return (this.mode & S_IFMT) === S_IFBLK;
  }
  isCharacterDevice(): boolean {
    return (this.mode & S_IFMT) === S_IFCHR;
  }
  isFIFO(): boolean {
    return (this.mode & S_IFMT) === S_IFIFO;
  }
  isSocket(): boolean {
    return (this.mode & S_IFMT) === S_IFSOCK;
  }
}

/** Attributes of a file with 64-bit integers and nanoseconds, as Node's fs.BigIntStats. */
export class BigIntStats {
  dev: bigint;
  mode: bigint;
  nlink: bigint;
  uid: bigint;
  gid: bigint;
  rdev: bigint;
  blksize: bigint;
  ino: bigint;
  size: bigint;
  blocks: bigint;
  atimeMs: bigint;
  mtimeMs: bigint;
  ctimeMs: bigint;
  birthtimeMs: bigint;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  birthtimeNs: bigint;
  atime: Date;
  mtime: Date;
  ctime: Date;
  birthtime: Date;

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

  isFile(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFREG;
  }
  isDirectory(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFDIR;
  }
  isSymbolicLink(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFLNK;
  }
  isBlockDevice(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFBLK;
  }
  isCharacterDevice(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFCHR;
  }
  isFIFO(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFIFO;
  }
  isSocket(): boolean {
    return (Number(this.mode) & S_IFMT) === S_IFSOCK;
  }
}

/** Space of a volume, as Node's fs.StatFs; counts of `bsize` bytes. */
export class StatFs<T extends number | bigint = number> {
  type: T;
  bsize: T;
  frsize: T;
  blocks: T;
  bfree: T;
  bavail: T;
  files: T;
  ffree: T;

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

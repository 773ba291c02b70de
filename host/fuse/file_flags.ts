/**
 * The ioctls of chattr(1) and lsattr(1), as FUSE passes them on: FS_IOC_GETFLAGS and the like, and struct fsxattr with
 * project ids. ioctl_fs (linux/fs.h).
 */
import type { Attributes } from "../fs/file_system.ts";
import {
  FLAG_APPEND,
  FLAG_IMMUTABLE,
  FLAG_NOATIME,
  FLAG_NODUMP,
  FLAG_PROJECT_INHERIT,
} from "../fs/inode_flags.ts";

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

/** FS_*_FL and FS_XFLAG_* of the same meaning. */
const PAIRS: readonly (readonly [flag: number, xflag: number])[] = [
  [FLAG_IMMUTABLE, 0x8],
  [FLAG_APPEND, 0x10],
  [FLAG_NOATIME, 0x40],
  [FLAG_NODUMP, 0x80],
  [FLAG_PROJECT_INHERIT, 0x200],
];

export function xflagsOf(flags: number): number {
  let xflags = 0;
  for (const [flag, xflag] of PAIRS) if ((flags & flag) !== 0) xflags |= xflag;
  return xflags;
}

/** FS_*_FL of FS_XFLAG_*, or −1 when one of them has none that is offered. */
export function flagsOfXflags(xflags: number): number {
  let flags = 0;
  let left = xflags;
  for (const [flag, xflag] of PAIRS) {
    if ((xflags & xflag) === 0) continue;
    flags |= flag;
    left &= ~xflag;
  }
  return left === 0 ? flags : -1;
}

/** Whether the kernel must ask before it writes to the file, although it caches it. */
export function isImmutableFile(attributes: Attributes): boolean {
  return (attributes.flags & FLAG_IMMUTABLE) !== 0 && (attributes.mode & S_IFMT) === S_IFREG;
}

/**
 * Flags of inodes as chattr(1) sets them (FS_*_FL of linux/fs.h), and what they forbid.
 *
 * An immutable inode does not change at all, an append-only one only grows: neither can be removed, renamed, linked, or
 * given another owner, mode or attribute, by root either. Directories so marked keep their names.
 */
import { EPERM } from "../base/errno.ts";

export const FLAG_IMMUTABLE = 0x10;
export const FLAG_APPEND = 0x20;
/** dump(8) leaves the file out. */
export const FLAG_NODUMP = 0x40;
/** Reads do not change the access time. */
export const FLAG_NOATIME = 0x80;
/** Of a directory: what is made in it gets its project. */
export const FLAG_PROJECT_INHERIT = 0x20000000;
const FLAG_FIXED: number = FLAG_IMMUTABLE | FLAG_APPEND;

/** What can be set: others (compression, no-cow, …) would promise what this version does not do. */
export const FLAGS_OF_FILES: number = FLAG_FIXED | FLAG_NODUMP | FLAG_NOATIME;
export const FLAGS_OF_DIRECTORIES: number = FLAGS_OF_FILES | FLAG_PROJECT_INHERIT;
/** What new inodes take from their directory; directories also FLAG_PROJECT_INHERIT. */
export const FLAGS_INHERITED: number = FLAG_NODUMP | FLAG_NOATIME;

/** 0, or −EPERM if nothing of the inode, names that lead to it included, may change but by appending. */
export function fixedProblem(flags: number): number {
  return (flags & FLAG_FIXED) !== 0 ? -EPERM : 0;
}

/** 0, or −EPERM if nothing at all may be added to the inode. */
export function immutableProblem(flags: number): number {
  return (flags & FLAG_IMMUTABLE) !== 0 ? -EPERM : 0;
}

/** The fields of an inode record that the data half reads and writes. */
import { getI64, getU64, setI64, setU64 } from "../base/bytes.ts";
import type { Core } from "../core/core.ts";
import {
  INODE_BLOCKS,
  INODE_BYTES,
  INODE_CTIME,
  INODE_CTIME_NS,
  INODE_FLAGS,
  INODE_MODE,
  INODE_MTIME,
  INODE_MTIME_NS,
  INODE_SIZE,
} from "../format/inode.ts";
import type { DirtyFile } from "./dirty_file.ts";

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

export function inodeIsRegular(core: Core, at: number): boolean {
  return (core.view.getUint32(at + INODE_MODE, true) & S_IFMT) === S_IFREG;
}

/** Bytes, as far as they are durable with the trees. */
export function inodeSize(core: Core, at: number): number {
  return getU64(core.view, at + INODE_SIZE);
}

/** Blocks of 4 KiB in extents. */
export function inodeBlocks(core: Core, at: number): number {
  return getU64(core.view, at + INODE_BLOCKS);
}

/** FS_*_FL, INODE_PREALLOCATED and INODE_SHARED. */
export function inodeFlags(core: Core, at: number): number {
  return core.view.getUint32(at + INODE_FLAGS, true);
}

export function addInodeFlags(core: Core, at: number, flags: number): void {
  core.view.setUint32(at + INODE_FLAGS, (inodeFlags(core, at) | flags) >>> 0, true);
}

/** Of data and inode, as the kernel shows them. */
export class Times {
  mtime = 0;
  mtimeNs = 0;
  ctime = 0;
  ctimeNs = 0;
}

export function inodeTimes(core: Core, at: number, out: Times): void {
  out.mtime = getI64(core.view, at + INODE_MTIME);
  out.mtimeNs = core.view.getUint32(at + INODE_MTIME_NS, true);
  out.ctime = getI64(core.view, at + INODE_CTIME);
  out.ctimeNs = core.view.getUint32(at + INODE_CTIME_NS, true);
}

/** Copies a record out of its page, to be changed and put again. */
export function copyInodeForData(core: Core, from: number, to: number): void {
  core.exports.bytes_copy(to, from, INODE_BYTES);
}

/** Sets size, blocks and, if the file has newer ones buffered, its times. */
export function storeInodeData(
  core: Core,
  at: number,
  size: number,
  blocks: number,
  file: DirtyFile | null,
): void {
  setU64(core.view, at + INODE_SIZE, size);
  setU64(core.view, at + INODE_BLOCKS, Math.max(0, blocks));
  storeBufferedTimes(core, at, file);
}

/** Every inode that is put has all times as they are then: recovery takes it for newer than the data before it. SPEC §7.3. */
export function storeBufferedTimes(core: Core, at: number, file: DirtyFile | null): void {
  if (file?.timesDirty !== true) return;
  setI64(core.view, at + INODE_MTIME, file.mtime);
  core.view.setUint32(at + INODE_MTIME_NS, file.mtimeNs, true);
  setI64(core.view, at + INODE_CTIME, file.ctime);
  core.view.setUint32(at + INODE_CTIME_NS, file.ctimeNs, true);
}

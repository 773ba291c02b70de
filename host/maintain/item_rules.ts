/**
 * Rules of single items: SPEC §5. What is wrong with one in words, or null; nothing is known of others.
 */

import { getU64 } from "../base/bytes.ts";
import type { Core } from "../core/core.ts";
import { DENTRY_NAME, DENTRY_NAME_LENGTH, dentryBytes } from "../format/dentry.ts";
import {
  EXTENT_ADDRESSES,
  EXTENT_BLOCK_COUNT,
  EXTENT_COPY_COUNT,
  extentChecksums,
  extentIsWritten,
  extentProblem,
} from "../format/extent.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import {
  INODE_ATIME_NS,
  INODE_BLOCKS,
  INODE_BTIME_NS,
  INODE_BYTES,
  INODE_CTIME_NS,
  INODE_MODE,
  INODE_MTIME_NS,
  INODE_PARENT,
  INODE_SIZE,
} from "../format/inode.ts";
import { itemProblem } from "../format/item_problem.ts";
import { addressBlock, addressDevice, TREE_FS } from "../format/page_pointer.ts";
import type { Superblock } from "../format/superblock.ts";
import {
  XATTR_HASH_SPAN,
  XATTR_NAME,
  XATTR_NAME_LENGTH,
  XATTR_VALUE_BYTES_MAX,
  XATTR_VALUE_LENGTH,
  xattrChunkCount,
} from "../format/xattr.ts";
import type { DataRun } from "./data_check.ts";
import { type Key, keyText } from "./tree_walk.ts";

export const ROOT_INO = 1;
export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
const TYPES: ReadonlySet<number> = new Set([
  0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000,
]);

/** An extent that is valid by itself. */
export interface ExtentFound {
  readonly blockCount: number;
  readonly copies: readonly DataRun[];
  /** Address of the checksums, in the page. */
  readonly checksums: number;
}

/** Of an inode's item. */
export function inodeProblem(
  core: Core,
  key: Key,
  value: number,
  valueLength: number,
): string | null {
  if (key.offset !== 0) return `its key is ${keyText(key)}`;
  if (valueLength !== INODE_BYTES) return `it is ${valueLength} bytes long`;
  const { view } = core;
  const mode = view.getUint32(value + INODE_MODE, true);
  if (mode > 0o177777 || !TYPES.has(mode & S_IFMT)) return `mode 0${mode.toString(8)}`;
  for (const field of [INODE_ATIME_NS, INODE_MTIME_NS, INODE_CTIME_NS, INODE_BTIME_NS]) {
    const nanoseconds = view.getUint32(value + field, true);
    if (nanoseconds >= 1e9) return `${nanoseconds} nanoseconds`;
  }
  for (const field of [INODE_SIZE, INODE_BLOCKS, INODE_PARENT]) {
    const number = getU64(view, value + field);
    if (!Number.isSafeInteger(number)) return `a field of ${number}`;
  }
  if (key.oid === ROOT_INO && (mode & S_IFMT) !== S_IFDIR) return "the root is no directory";
  return null;
}

/** Of an extended attribute's item. */
export function xattrProblem(
  core: Core,
  key: Key,
  value: number,
  valueLength: number,
): string | null {
  if (valueLength < XATTR_NAME + 1) return "it is cut off";
  const { view, exports } = core;
  const length = view.getUint32(value + XATTR_VALUE_LENGTH, true);
  const nameLength = view.getUint8(value + XATTR_NAME_LENGTH);
  const inline = xattrChunkCount(length) === 0 ? length : 0;
  if (nameLength === 0) return "it has no name";
  if (length > XATTR_VALUE_BYTES_MAX) return `its value has ${length} bytes`;
  if (valueLength !== XATTR_NAME + nameLength + inline) return `it is ${valueLength} bytes long`;
  const hash = exports.name_hash(value + XATTR_NAME, nameLength) % XATTR_HASH_SPAN || 1;
  return key.offset === hash ? null : `its name's hash is ${hash}`;
}

/** Of an extent's item, its addresses included. */
export function extentItemProblem(
  core: Core,
  superblock: Superblock,
  key: Key,
  value: number,
  valueLength: number,
): string | null {
  const { view } = core;
  if (key.offset % BLOCK_BYTES !== 0) return "it is not aligned";
  const problem = extentProblem(view, value, valueLength);
  if (problem !== null) return problem;
  const { blockCount, regionBlocks } = superblock.geometry;
  for (const { device, block, blockCount: count } of extentFound(core, key, value).copies) {
    if (device >= superblock.deviceCount) return `device ${device} is not part of the pool`;
    if (block + count > blockCount) return `block ${block} is beyond the end`;
    if (Math.floor(block / regionBlocks) !== Math.floor((block + count - 1) / regionBlocks)) {
      return `blocks ${block} to ${block + count - 1} lie in two regions`;
    }
  }
  // What the engine would refuse for other reasons.
  const { geometry } = superblock;
  const { oid, type, offset } = key;
  return itemProblem(
    view,
    core.exports.name_hash,
    geometry,
    TREE_FS,
    oid,
    type,
    offset,
    value,
    valueLength,
  );
}

/** A valid extent's copies and checksums. */
export function extentFound(core: Core, key: Key, value: number): ExtentFound {
  const { view } = core;
  const blockCount = view.getUint32(value + EXTENT_BLOCK_COUNT, true);
  const copyCount = view.getUint8(value + EXTENT_COPY_COUNT);
  const copies: DataRun[] = [];
  for (let copy = 0; copy < copyCount; copy++) {
    const low = view.getUint32(value + EXTENT_ADDRESSES + copy * 8, true);
    const high = view.getUint32(value + EXTENT_ADDRESSES + copy * 8 + 4, true);
    copies.push({
      ino: key.oid,
      offset: key.offset,
      copy,
      device: addressDevice(high),
      block: addressBlock(low, high),
      blockCount,
    });
  }
  const checksums = extentIsWritten(view, value) ? value + extentChecksums(copyCount) : 0;
  return { blockCount, copies, checksums };
}

/** Whether an entry of a directory's item before `at` has the same name. */
export function isRepeated(core: Core, item: number, at: number): boolean {
  const { view, exports } = core;
  const length = view.getUint8(at + DENTRY_NAME_LENGTH);
  for (let other = item; other < at; ) {
    const otherLength = view.getUint8(other + DENTRY_NAME_LENGTH);
    const same =
      otherLength === length &&
      exports.bytes_equal(other + DENTRY_NAME, at + DENTRY_NAME, length) === 1;
    if (same) return true;
    other += dentryBytes(otherLength);
  }
  return false;
}

/** Names are 1 to 255 bytes without "/" and zeros, and neither "." nor "..". */
export function isName(bytes: Uint8Array, at: number, length: number): boolean {
  for (let index = 0; index < length; index++) {
    const byte = bytes[at + index];
    if (byte === 0 || byte === 0x2f) return false;
  }
  const dots = bytes[at] === 0x2e && (length === 1 || (length === 2 && bytes[at + 1] === 0x2e));
  return !dots;
}

/** A name for messages: quoted, whatever its bytes. */
export function nameText(core: Core, at: number, length: number): string {
  return JSON.stringify(new TextDecoder().decode(core.bytes.slice(at, at + length)));
}

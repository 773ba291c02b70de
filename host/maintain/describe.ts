/**
 * Records in words: each kind of item and pointer as a plain object, ready for JSON. What is invalid says so and is shown
 * as far as it goes; long values are told by their length.
 */
import { getI64, getU64, toHex } from "../base/bytes.ts";
import type { Core } from "../core/core.ts";
import {
  DENTRY_INO,
  DENTRY_NAME,
  DENTRY_NAME_LENGTH,
  DENTRY_SLOT,
  DENTRY_TYPE,
  dentriesProblem,
  dentryBytes,
} from "../format/dentry.ts";
import {
  EXTENT_ADDRESSES,
  EXTENT_BLOCK_COUNT,
  EXTENT_COPY_COUNT,
  EXTENT_GENERATION,
  extentChecksums,
  extentIsWritten,
  extentProblem,
} from "../format/extent.ts";
import {
  INODE_ATIME,
  INODE_ATIME_NS,
  INODE_BLOCKS,
  INODE_BTIME,
  INODE_BTIME_NS,
  INODE_BYTES,
  INODE_CTIME,
  INODE_CTIME_NS,
  INODE_ENTRIES,
  INODE_FLAGS,
  INODE_GENERATION,
  INODE_GID,
  INODE_MODE,
  INODE_MTIME,
  INODE_MTIME_NS,
  INODE_NLINK,
  INODE_PARENT,
  INODE_PROJECT,
  INODE_RDEV,
  INODE_SIZE,
  INODE_UID,
  INODE_XATTRS,
} from "../format/inode.ts";
import {
  ITEM_DENTRY,
  ITEM_EXTENT,
  ITEM_INLINE,
  ITEM_INODE,
  ITEM_ORPHAN,
  ITEM_QUOTA,
  ITEM_SHARED,
  ITEM_SYMLINK,
  ITEM_XATTR,
  ITEM_XATTR_DATA,
} from "../format/key.ts";
import {
  addressBlock,
  addressDevice,
  POINTER_CHECKSUM,
  POINTER_COPIES,
  POINTER_GENERATION,
  ROOT_LEVEL,
  ROOT_TREE_ID,
  TREE_FS,
  TREE_POOL,
  TREE_SPACE,
} from "../format/page_pointer.ts";
import {
  QUOTA_BLOCKS,
  QUOTA_BLOCKS_MAX,
  QUOTA_BYTES,
  QUOTA_COUNTED,
  QUOTA_INODES,
  QUOTA_INODES_MAX,
} from "../format/quota.ts";
import {
  ITEM_REGION,
  REGION_BYTES,
  REGION_CHECKSUM,
  REGION_FREE,
  REGION_GENERATION,
  REGION_LONGEST,
  REGION_SLOT,
  REGION_STATE,
  REGION_STATE_EMPTY,
  REGION_STATE_MAPPED,
} from "../format/region.ts";
import { SHARED_BLOCK_COUNT, SHARED_REFERENCES, sharedRunProblem } from "../format/shared_run.ts";
import { XATTR_NAME, XATTR_NAME_LENGTH, XATTR_VALUE_LENGTH } from "../format/xattr.ts";
import type { Key } from "./tree_walk.ts";

const NAMES: Readonly<Record<number, string>> = {
  [ITEM_INODE]: "inode",
  [ITEM_XATTR]: "xattr",
  [ITEM_XATTR_DATA]: "xattr data",
  [ITEM_SYMLINK]: "symlink",
  [ITEM_DENTRY]: "dentry",
  [ITEM_EXTENT]: "extent",
  [ITEM_SHARED]: "shared run",
  [ITEM_QUOTA]: "quota",
  [ITEM_INLINE]: "inline",
  [ITEM_ORPHAN]: "orphan",
};
const FILE_TYPES: Readonly<Record<number, string>> = {
  1: "fifo",
  2: "character device",
  4: "directory",
  6: "block device",
  8: "file",
  10: "symlink",
  12: "socket",
};
/** The pool tree's one item: (0, 32, 0). */
export const ITEM_POOL = 32;
/** Bytes of a value that are shown in hexadecimal. */
const SHOWN_BYTES_MAX = 64;

/** Name of an item's type in a tree. */
export function itemTypeName(treeId: number, type: number): string {
  if (treeId === TREE_FS) return NAMES[type] ?? `type ${type}`;
  if (treeId === TREE_SPACE && type === ITEM_REGION) return "region";
  if (treeId === TREE_POOL && type === ITEM_POOL) return "pool";
  return `type ${type}`;
}

/** Device and first block of a copy: "0:4096". */
export function addressText(core: Core, at: number): string {
  const low = core.view.getUint32(at, true);
  const high = core.view.getUint32(at + 4, true);
  return `${addressDevice(high)}:${addressBlock(low, high)}`;
}

/** A page pointer in core memory, or a root record. */
export function describePointer(core: Core, at: number, isRoot: boolean): Record<string, unknown> {
  const { view } = core;
  const copies: string[] = [];
  for (let copy = 0; copy < POINTER_COPIES; copy++) {
    const address = at + copy * 8;
    if (view.getUint32(address, true) === 0 && view.getUint32(address + 4, true) === 0) continue;
    copies.push(addressText(core, address));
  }
  return {
    ...(isRoot
      ? {
          tree: view.getUint32(at + ROOT_TREE_ID, true),
          level: view.getUint32(at + ROOT_LEVEL, true),
        }
      : {}),
    copies,
    generation: getU64(view, at + POINTER_GENERATION),
    checksum: hex(core, at + POINTER_CHECKSUM, 8),
  };
}

/** An item of a leaf. */
export function describeItem(
  core: Core,
  treeId: number,
  key: Key,
  value: number,
  valueLength: number,
): Record<string, unknown> {
  return {
    item: itemTypeName(treeId, key.type),
    objectId: key.oid,
    type: key.type,
    offset: key.offset,
    ...valueFields(core, treeId, key.type, value, valueLength),
  };
}

function valueFields(
  core: Core,
  treeId: number,
  type: number,
  value: number,
  valueLength: number,
): Record<string, unknown> {
  const raw = { valueLength, value: hex(core, value, Math.min(valueLength, SHOWN_BYTES_MAX)) };
  if (treeId === TREE_SPACE && type === ITEM_REGION)
    return { ...(describeRegion(core, value, valueLength) ?? raw) };
  if (treeId !== TREE_FS) return raw;
  switch (type) {
    case ITEM_INODE:
      return valueLength === INODE_BYTES ? describeInode(core.view, value) : raw;
    case ITEM_XATTR:
      return describeXattr(core, value, valueLength) ?? raw;
    case ITEM_SYMLINK:
      return { target: text(core, value, valueLength) };
    case ITEM_DENTRY:
      return describeDentries(core, value, valueLength) ?? raw;
    case ITEM_SHARED:
      return describeSharedRun(core, value, valueLength) ?? raw;
    case ITEM_QUOTA:
      return valueLength === QUOTA_BYTES ? describeQuota(core.view, value) : raw;
    case ITEM_EXTENT:
      return describeExtent(core, value, valueLength) ?? raw;
    default:
      return raw;
  }
}

/** A region's item, or null when it is none. */
export function describeRegion(
  core: Core,
  at: number,
  byteLength: number,
): {
  state: string;
  slot: number;
  free: number;
  longest: number;
  generation: number;
  checksum: string;
} | null {
  if (byteLength !== REGION_BYTES) return null;
  const { view } = core;
  const state = view.getUint8(at + REGION_STATE);
  const names: Readonly<Record<number, string>> = {
    [REGION_STATE_EMPTY]: "empty",
    [REGION_STATE_MAPPED]: "mapped",
  };
  return {
    state: names[state] ?? `invalid (${state})`,
    slot: view.getUint8(at + REGION_SLOT) & 1,
    free: view.getUint32(at + REGION_FREE, true),
    longest: view.getUint32(at + REGION_LONGEST, true),
    generation: getU64(view, at + REGION_GENERATION),
    checksum: hex(core, at + REGION_CHECKSUM, 8),
  };
}

function describeInode(view: DataView, at: number): Record<string, unknown> {
  const mode = view.getUint32(at + INODE_MODE, true);
  return {
    kind: FILE_TYPES[mode >> 12] ?? `invalid (${mode >> 12})`,
    mode: `0${mode.toString(8)}`,
    nlink: view.getUint32(at + INODE_NLINK, true),
    uid: view.getUint32(at + INODE_UID, true),
    gid: view.getUint32(at + INODE_GID, true),
    size: getU64(view, at + INODE_SIZE),
    blocks: getU64(view, at + INODE_BLOCKS),
    accessed: time(view, at + INODE_ATIME, at + INODE_ATIME_NS),
    modified: time(view, at + INODE_MTIME, at + INODE_MTIME_NS),
    changed: time(view, at + INODE_CTIME, at + INODE_CTIME_NS),
    born: time(view, at + INODE_BTIME, at + INODE_BTIME_NS),
    generation: view.getUint32(at + INODE_GENERATION, true),
    flags: view.getUint32(at + INODE_FLAGS, true),
    rdev: view.getUint32(at + INODE_RDEV, true),
    project: view.getUint32(at + INODE_PROJECT, true),
    parent: getU64(view, at + INODE_PARENT),
    entries: view.getUint32(at + INODE_ENTRIES, true),
    xattrs: view.getUint32(at + INODE_XATTRS, true),
  };
}

function describeXattr(core: Core, at: number, byteLength: number): Record<string, unknown> | null {
  if (byteLength < XATTR_NAME) return null;
  const nameLength = core.view.getUint8(at + XATTR_NAME_LENGTH);
  if (XATTR_NAME + nameLength > byteLength) return null;
  const inline = byteLength - XATTR_NAME - nameLength;
  return {
    name: text(core, at + XATTR_NAME, nameLength),
    valueLength: core.view.getUint32(at + XATTR_VALUE_LENGTH, true),
    value: hex(core, at + XATTR_NAME + nameLength, Math.min(inline, SHOWN_BYTES_MAX)),
  };
}

function describeDentries(
  core: Core,
  at: number,
  byteLength: number,
): Record<string, unknown> | null {
  const { view } = core;
  if (dentriesProblem(view, at, byteLength) !== null) return null;
  const names: unknown[] = [];
  for (let entry = at; entry < at + byteLength; ) {
    const nameLength = view.getUint8(entry + DENTRY_NAME_LENGTH);
    const type = view.getUint8(entry + DENTRY_TYPE);
    names.push({
      name: text(core, entry + DENTRY_NAME, nameLength),
      ino: getU64(view, entry + DENTRY_INO),
      kind: FILE_TYPES[type] ?? `invalid (${type})`,
      slot: view.getUint8(entry + DENTRY_SLOT),
    });
    entry += dentryBytes(nameLength);
  }
  return { names };
}

function describeSharedRun(
  { view }: Core,
  at: number,
  byteLength: number,
): Record<string, unknown> | null {
  if (sharedRunProblem(view, at, byteLength) !== null) return null;
  return {
    blockCount: view.getUint32(at + SHARED_BLOCK_COUNT, true),
    references: view.getUint32(at + SHARED_REFERENCES, true),
  };
}

function describeQuota(view: DataView, at: number): Record<string, unknown> {
  return {
    blocksMax: getU64(view, at + QUOTA_BLOCKS_MAX),
    inodesMax: getU64(view, at + QUOTA_INODES_MAX),
    blocks: getU64(view, at + QUOTA_BLOCKS),
    inodes: getU64(view, at + QUOTA_INODES),
    counted: getU64(view, at + QUOTA_COUNTED),
  };
}

function describeExtent(
  core: Core,
  at: number,
  byteLength: number,
): Record<string, unknown> | null {
  const { view } = core;
  if (extentProblem(view, at, byteLength) !== null) return null;
  const copyCount = view.getUint8(at + EXTENT_COPY_COUNT);
  const copies: string[] = [];
  for (let copy = 0; copy < copyCount; copy++)
    copies.push(addressText(core, at + EXTENT_ADDRESSES + copy * 8));
  return {
    blockCount: view.getUint32(at + EXTENT_BLOCK_COUNT, true),
    copies,
    generation: getU64(view, at + EXTENT_GENERATION),
    firstChecksum: extentIsWritten(view, at)
      ? hex(core, at + extentChecksums(copyCount), 8)
      : "unwritten",
  };
}

function hex(core: Core, at: number, byteLength: number): string {
  return toHex(core.bytes.subarray(at, at + byteLength));
}

function text(core: Core, at: number, byteLength: number): string {
  return new TextDecoder().decode(core.bytes.slice(at, at + byteLength));
}

/** A time as RFC 3339 with nanoseconds; null when it is out of range. */
function time(view: DataView, seconds: number, nanoseconds: number): string | null {
  const date = new Date(getI64(view, seconds) * 1000);
  if (Number.isNaN(date.getTime())) return null;
  const fraction = String(view.getUint32(nanoseconds, true)).padStart(9, "0");
  return date.toISOString().replace(/\.\d+Z$/, `.${fraction}Z`);
}

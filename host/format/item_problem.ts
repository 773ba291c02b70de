/**
 * What an item must be for the engine to work with it: SPEC §5 and §6, as far as one item alone tells. Asked for each
 * item of a page that is read from a device, and for each that replay puts: behind that, nobody looks again. Checksums
 * say that a page is what somebody wrote, not that it was us.
 *
 * Kept here is what lengths, ranges and names would do harm: a value that is read behind its end, a block outside the
 * device, a name that leads out of its directory. Whether items fit each other is the check's to say.
 */
import { getU64 } from "../base/bytes.ts";
import {
  DENTRY_INO,
  DENTRY_NAME,
  DENTRY_NAME_LENGTH,
  dentriesProblem,
  dentryBytes,
  dentryHash,
} from "./dentry.ts";
import {
  EXTENT_ADDRESSES,
  EXTENT_BLOCK_COUNT,
  EXTENT_COPY_COUNT,
  extentProblem,
} from "./extent.ts";
import { BLOCK_BYTES, type Geometry } from "./geometry.ts";
import { INODE_BLOCKS, INODE_BYTES, INODE_MODE, INODE_PARENT, INODE_SIZE } from "./inode.ts";
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
} from "./key.ts";
import { OBJECT_ID_MAX } from "./limits.ts";
import { TREE_FS, TREE_SPACE } from "./page_pointer.ts";
import { quotaProblem } from "./quota.ts";
import {
  ITEM_REGION,
  REGION_BYTES,
  REGION_FREE,
  REGION_SLOT,
  REGION_STATE,
  REGION_STATE_MAPPED,
} from "./region.ts";
import { SHARED_BLOCK_COUNT, sharedRunProblem } from "./shared_run.ts";
import {
  XATTR_CHUNK_BYTES,
  XATTR_HASH_SPAN,
  XATTR_NAME,
  XATTR_NAME_LENGTH,
  XATTR_VALUE_BYTES_MAX,
  XATTR_VALUE_LENGTH,
  xattrChunkCount,
} from "./xattr.ts";

const TREE_POOL_TYPE = 32;
const INLINE_BYTES_MAX = 2048;
const SYMLINK_BYTES_MAX = 4095;
/** Files end here, as the kernel's do. */
const FILE_BYTES_MAX: number = Number.MAX_SAFE_INTEGER;
/** A name's hash has 48 bits: with the slot, a position in a listing is a safe integer. */
const DENTRY_HASH_SPAN: number = 2 ** 48;
const ROOT_INO = 1;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
/** By S_IFMT >> 12. */
const IS_TYPE: readonly boolean[] = Array.from({ length: 16 }, (_, type) =>
  [1, 2, 4, 6, 8, 10, 12].includes(type),
);
const SLASH = 0x2f;
const DOT = 0x2e;

/** The hash of the name at an address: the core's name_hash. */
export type NameHash = (address: number, byteLength: number) => number;

/**
 * What is wrong with an item, or null. `view` is over the memory in which the value lies at an address, and `nameHash`
 * reads the same memory.
 */
export function itemProblem(
  view: DataView,
  nameHash: NameHash,
  geometry: Geometry,
  treeId: number,
  oid: number,
  type: number,
  offset: number,
  value: number,
  byteLength: number,
): string | null {
  if (treeId !== TREE_FS)
    return otherProblem(view, geometry, treeId, type, offset, value, byteLength);
  const isVolumes = type === ITEM_ORPHAN || type === ITEM_SHARED || type === ITEM_QUOTA;
  if (oid === 0 ? type <= ITEM_INLINE : isVolumes) return "object";
  if (oid >= OBJECT_ID_MAX) return "object id";
  switch (type) {
    case ITEM_INODE:
      return inodeProblem(view, oid, offset, value, byteLength);
    case ITEM_DENTRY:
      if (!(offset > 0 && offset < DENTRY_HASH_SPAN)) return "key";
      return (
        dentriesProblem(view, value, byteLength) ??
        namesProblem(view, nameHash, offset, value, byteLength)
      );
    case ITEM_EXTENT:
      return extentPlaceProblem(view, geometry, offset, value, byteLength);
    case ITEM_XATTR:
      return xattrProblem(view, nameHash, offset, value, byteLength);
    case ITEM_XATTR_DATA:
      if (offset >= XATTR_HASH_SPAN * 64) return "key";
      return byteLength > 0 && byteLength <= XATTR_CHUNK_BYTES ? null : `length ${byteLength}`;
    case ITEM_SYMLINK:
      if (offset !== 0) return "key";
      return byteLength > 0 && byteLength <= SYMLINK_BYTES_MAX ? null : `length ${byteLength}`;
    case ITEM_INLINE:
      if (offset !== 0) return "key";
      return byteLength > 0 && byteLength <= INLINE_BYTES_MAX ? null : `length ${byteLength}`;
    case ITEM_ORPHAN:
      if (!(offset > ROOT_INO && offset < Number.MAX_SAFE_INTEGER)) return "key";
      return byteLength === 0 ? null : `length ${byteLength}`;
    case ITEM_SHARED:
      return (
        sharedRunProblem(view, value, byteLength) ??
        runProblem(geometry, offset, view.getUint32(value + SHARED_BLOCK_COUNT, true))
      );
    case ITEM_QUOTA:
      return quotaProblem(view, offset, value, byteLength);
    default:
      // Nobody looks at what nobody knows.
      return null;
  }
}

function otherProblem(
  view: DataView,
  geometry: Geometry,
  treeId: number,
  type: number,
  offset: number,
  value: number,
  byteLength: number,
): string | null {
  if (treeId !== TREE_SPACE) return type === TREE_POOL_TYPE ? null : `type ${type}`;
  if (type !== ITEM_REGION) return `type ${type}`;
  if (byteLength !== REGION_BYTES) return `length ${byteLength}`;
  if (offset >= geometry.regionCount) return "region";
  if (view.getUint32(value + REGION_FREE, true) > geometry.regionBlocks) return "free blocks";
  if (view.getUint8(value + REGION_SLOT) > 1) return "slot";
  return view.getUint8(value + REGION_STATE) <= REGION_STATE_MAPPED ? null : "state";
}

function inodeProblem(
  view: DataView,
  oid: number,
  offset: number,
  value: number,
  byteLength: number,
): string | null {
  if (offset !== 0) return "key";
  if (byteLength !== INODE_BYTES) return `length ${byteLength}`;
  const mode = view.getUint32(value + INODE_MODE, true);
  if (mode > 0o177777 || IS_TYPE[mode >>> 12] !== true) return `mode 0${mode.toString(8)}`;
  if (oid === ROOT_INO && (mode & S_IFMT) !== S_IFDIR) return "the root is no directory";
  if (!(getU64(view, value + INODE_SIZE) <= FILE_BYTES_MAX)) return "size";
  if (!Number.isSafeInteger(getU64(view, value + INODE_BLOCKS))) return "blocks";
  return Number.isSafeInteger(getU64(view, value + INODE_PARENT)) ? null : "parent";
}

/** Of entries that are whole: names that are none, or that nobody finds under this hash. */
function namesProblem(
  view: DataView,
  nameHash: NameHash,
  hash: number,
  at: number,
  byteLength: number,
): string | null {
  const end = at + byteLength;
  for (let entry = at; entry < end; ) {
    const ino = getU64(view, entry + DENTRY_INO);
    if (!(ino > 0 && ino < Number.MAX_SAFE_INTEGER)) return `an entry of object ${ino}`;
    const length = view.getUint8(entry + DENTRY_NAME_LENGTH);
    const name = entry + DENTRY_NAME;
    for (let index = name; index < name + length; index++) {
      const byte = view.getUint8(index);
      if (byte === 0 || byte === SLASH) return "a name with a slash or a zero";
    }
    const isDots =
      view.getUint8(name) === DOT &&
      (length === 1 || (length === 2 && view.getUint8(name + 1) === DOT));
    if (isDots) return 'a name that is "." or ".."';
    if (dentryHash(nameHash(name, length)) !== hash) return "a name of another hash";
    entry += dentryBytes(length);
  }
  return null;
}

function extentPlaceProblem(
  view: DataView,
  geometry: Geometry,
  offset: number,
  value: number,
  byteLength: number,
): string | null {
  const problem = extentProblem(view, value, byteLength);
  if (problem !== null) return problem;
  const count = view.getUint32(value + EXTENT_BLOCK_COUNT, true);
  if (offset % BLOCK_BYTES !== 0 || offset + count * BLOCK_BYTES > FILE_BYTES_MAX) return "offset";
  // More copies than one have no meaning yet.
  if (view.getUint8(value + EXTENT_COPY_COUNT) !== 1) return "copies";
  return runProblem(geometry, getU64(view, value + EXTENT_ADDRESSES), count);
}

/** Of a run of blocks that data or a page may lie in: on the one device, in one region, outside the fixed areas. */
export function runProblem(geometry: Geometry, start: number, count: number): string | null {
  const { blockCount, regionBlocks, regionCount, mapBlocks, mapStarts } = geometry;
  const end = start + count;
  const first = mapStarts[0] + regionCount * 2 * mapBlocks;
  if (!(count > 0 && start >= first && end <= mapStarts[1] && end <= blockCount))
    return `blocks ${start} to ${end - 1}`;
  return Math.floor(start / regionBlocks) === Math.floor((end - 1) / regionBlocks)
    ? null
    : `blocks ${start} to ${end - 1} in two regions`;
}

function xattrProblem(
  view: DataView,
  nameHash: NameHash,
  offset: number,
  value: number,
  byteLength: number,
): string | null {
  if (byteLength < XATTR_NAME + 1) return `length ${byteLength}`;
  const length = view.getUint32(value + XATTR_VALUE_LENGTH, true);
  const nameLength = view.getUint8(value + XATTR_NAME_LENGTH);
  const inline = xattrChunkCount(length) === 0 ? length : 0;
  if (nameLength === 0 || length > XATTR_VALUE_BYTES_MAX || offset >= XATTR_HASH_SPAN)
    return "name or value";
  if (byteLength !== XATTR_NAME + nameLength + inline) return `length ${byteLength}`;
  for (let index = value + XATTR_NAME; index < value + XATTR_NAME + nameLength; index++)
    if (view.getUint8(index) === 0) return "a name with a zero";
  const hash = nameHash(value + XATTR_NAME, nameLength) % XATTR_HASH_SPAN || 1;
  return hash === offset ? null : "a name of another hash";
}

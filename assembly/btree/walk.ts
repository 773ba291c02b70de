/**
 * Walks from a root to a leaf over cached pages, and along the leaves.
 *
 * Pages in the cache have been validated, but a walk does not rely on it: it checks each page's header, its level
 * against its parent's, and each value's place before it uses it; depth is bounded by the level of the root. So damage
 * gives wrong answers or −EUCLEAN, and nothing is ever written outside a leaf.
 */
import {
  KEY_NUMBER_MAX,
  KEY_OFFSET_MASK,
  LEVEL_MAX,
  PAGE_BYTES,
  PageHeader,
  POINTER_BYTES,
  POINTER_COPY0,
  ROOT_LEVEL,
  SLOT_OID,
  SLOT_TYPE_OFFSET,
  SLOT_VALUE_LENGTH,
  SLOT_VALUE_OFFSET,
  SLOTS,
  VALUE_BYTES_MAX,
} from "../format/page_format";
import { EAGAIN, EINVAL, ENOENT, ENOSPC, EUCLEAN } from "../lib/errno";
import {
  copyValue,
  insertItem,
  isBelow,
  keyNumber,
  removeItem,
  replaceValue,
  slotAt,
  tailOffset,
  tailType,
  valueAt,
} from "./page";
import { Cache, cacheAt, findLoaded, isInUse, pageOf } from "./page_cache";
import { hasKey, upperBound } from "./search";
import { headerProblem } from "./validate";

/** The path record: PATH_* in host/core/abi.ts. After it, u32 frame and u32 slot for each level, the root's first. */
@unmanaged
class Path {
  keyOid: f64;
  keyOffset: f64;
  keyType: u32;
  valueAddress: u32;
  valueLength: u32;
  depth: u32;
  exact: u32;
  missingPointer: u32;
  leafFrame: u32;
  leafSlot: u32;
}
if (offsetof<Path>() != 48) ERROR("the levels of a Path begin at 48");

const PATH_LEVELS: usize = 48;
const LEVEL_BYTES: u32 = 8;
const DEPTH_MAX: u32 = LEVEL_MAX + 1;

/** An entry that was copied out: ENTRY_* in host/core/abi.ts. */
const ENTRY_TYPE: usize = 8;
const ENTRY_VALUE_LENGTH: usize = 12;
const ENTRY_OFFSET: usize = 16;
const ENTRY_VALUE: u32 = 24;

/** Empty leaves are not left in trees, but skipped: up to so many in a row. */
const EMPTY_LEAVES_MAX: u32 = 1024;

const BEFORE_FIRST: u32 = 0xffffffff;

export function pathBytes(): u32 {
  return u32(PATH_LEVELS) + DEPTH_MAX * LEVEL_BYTES;
}

export function find(base: usize, tree: usize, record: usize, oid: u64, tail: u64): i32 {
  const path = changetype<Path>(record);
  const cache = cacheAt(base);
  const status = descend(cache, tree, path, oid, tail);
  return status == 1 ? takeEntry(path, leafPage(cache, path), path.leafSlot) : status;
}

export function seek(base: usize, tree: usize, record: usize, oid: u64, tail: u64): i32 {
  const path = changetype<Path>(record);
  const cache = cacheAt(base);
  const status = descend(cache, tree, path, oid, tail);
  return status < 0 ? status : settle(cache, path, path.leafSlot, 1);
}

export function seekLast(base: usize, tree: usize, record: usize, oid: u64, tail: u64): i32 {
  const path = changetype<Path>(record);
  const cache = cacheAt(base);
  const status = descend(cache, tree, path, oid, tail);
  if (status < 0) return status;
  return settle(cache, path, status == 1 ? path.leafSlot : path.leafSlot - 1, -1);
}

export function step(base: usize, record: usize, direction: i32): i32 {
  const path = changetype<Path>(record);
  const cache = cacheAt(base);
  if ((direction != 1 && direction != -1) || !isPath(cache, path)) return -EUCLEAN;
  path.exact = 0;
  return settle(cache, path, path.leafSlot + direction, direction);
}

export function scan(
  base: usize,
  tree: usize,
  record: usize,
  oid: u64,
  tail: u64,
  endOid: u64,
  endTail: u64,
  out: usize,
  capacity: u32,
): i32 {
  const path = changetype<Path>(record);
  const cache = cacheAt(base);
  let status = descend(cache, tree, path, oid, tail);
  if (status < 0) return status;
  let copied: i32 = 0;
  let used: u32 = 0;
  let lastOid: u64 = 0;
  let lastTail: u64 = 0;
  let slot = path.leafSlot;
  let emptyLeaves: u32 = 0;
  while (true) {
    const page = leafPage(cache, path);
    const count = <u32>changetype<PageHeader>(page).slotCount;
    // Each turn uses up some of `capacity`.
    for (; slot < count; slot++) {
      const at = slotAt(page, slot);
      const slotOid = load<u64>(at, SLOT_OID);
      const slotTail = load<u64>(at, SLOT_TYPE_OFFSET);
      if (!isBelow(slotOid, slotTail, endOid, endTail)) {
        setKey(path, endOid, endTail);
        return copied;
      }
      setKey(path, slotOid, slotTail);
      if (!isInPage(at)) return copied > 0 ? copied : -EUCLEAN;
      const length = <u32>load<u16>(at, SLOT_VALUE_LENGTH);
      const room = ENTRY_VALUE + ((length + 7) & ~7);
      if (room > capacity - used) return copied > 0 ? copied : -ENOSPC;
      const to = out + used;
      store<f64>(to, path.keyOid);
      store<u32>(to, path.keyType, ENTRY_TYPE);
      store<u32>(to, length, ENTRY_VALUE_LENGTH);
      store<f64>(to, path.keyOffset, ENTRY_OFFSET);
      copyValue(to + ENTRY_VALUE, valueAt(page, at), length);
      used += room;
      copied++;
      lastOid = slotOid;
      lastTail = slotTail;
    }
    emptyLeaves = count > 0 ? 0 : emptyLeaves + 1;
    status = emptyLeaves < EMPTY_LEAVES_MAX ? moveLeaf(cache, path, 1) : -EUCLEAN;
    if (status <= 0) break;
    slot = path.leafSlot;
  }
  if (status == 0) {
    setKey(path, endOid, endTail);
    return copied;
  }
  if (copied == 0) return status;
  setNextKey(path, lastOid, lastTail);
  return copied;
}

export function putFast(
  base: usize,
  tree: usize,
  record: usize,
  oid: u64,
  tail: u64,
  value: usize,
  length: u32,
  generation: f64,
): i32 {
  if (length > VALUE_BYTES_MAX) return -EINVAL;
  const path = changetype<Path>(record);
  const cache = cacheAt(base);
  const status = descend(cache, tree, path, oid, tail);
  if (status < 0) return status;
  const page = leafPage(cache, path);
  const slot = path.leafSlot;
  const at = slotAt(page, slot);
  if (status == 1 && !isInPage(at)) return -EUCLEAN;
  let to: usize = 0;
  if (isBornIn(cache, path, keyNumber(generation))) {
    to = status == 1 ? replaceValue(page, slot, length) : insertItem(page, slot, oid, tail, length);
  }
  if (to == 0) return status == 1 ? min(takeEntry(path, page, slot), 0) : 0;
  copyValue(to, value, length);
  return 1 + status;
}

export function removeFast(
  base: usize,
  tree: usize,
  record: usize,
  oid: u64,
  tail: u64,
  generation: f64,
): i32 {
  const path = changetype<Path>(record);
  const cache = cacheAt(base);
  const status = descend(cache, tree, path, oid, tail);
  if (status < 0) return status;
  if (status == 0) return -ENOENT;
  const page = leafPage(cache, path);
  const entry = takeEntry(path, page, path.leafSlot);
  if (entry < 0) return entry;
  if (changetype<PageHeader>(page).slotCount < 2) return 0;
  if (!isBornIn(cache, path, keyNumber(generation))) return 0;
  removeItem(page, path.leafSlot);
  return 1;
}

// --- from the root to a leaf ---

/** Fills the path's levels. Returns 1 when the leaf has the key, 0 when not, or an error. */
function descend(cache: Cache, tree: usize, path: Path, oid: u64, tail: u64): i32 {
  const rootLevel = load<u32>(tree, ROOT_LEVEL);
  path.depth = 0;
  path.exact = 0;
  if (rootLevel > LEVEL_MAX) return -EUCLEAN;
  let pointer = tree;
  for (let depth: u32 = 0; depth < rootLevel; depth++) {
    const frame = enter(cache, path, depth, pointer, rootLevel - depth);
    if (frame < 0) return frame;
    const page = pageOf(cache, frame);
    const slot = upperBound(page, oid, tail) - 1;
    setSlot(path, depth, slot);
    pointer = childPointer(page, slot);
    if (pointer == 0) return -EUCLEAN;
  }
  const frame = enter(cache, path, rootLevel, pointer, 0);
  if (frame < 0) return frame;
  const page = pageOf(cache, frame);
  const upper = upperBound(page, oid, tail);
  const exact = upper > 0 && hasKey(page, upper - 1, oid, tail);
  path.depth = rootLevel + 1;
  path.exact = u32(exact);
  setLeaf(path, frame, upper - u32(exact));
  return i32(exact);
}

/** Finds the page of a pointer and notes it at a depth of the path. Returns its frame or an error. */
function enter(cache: Cache, path: Path, depth: u32, pointer: usize, level: u32): i32 {
  const address = load<u64>(pointer, POINTER_COPY0);
  if (address == 0) return -EUCLEAN;
  const frame = findLoaded(cache, address);
  if (frame < 0) {
    path.missingPointer = u32(pointer);
    return -EAGAIN;
  }
  const page = pageOf(cache, frame);
  if (headerProblem(page) != 0 || changetype<PageHeader>(page).level != level) return -EUCLEAN;
  store<u32>(levelAt(path, depth), frame);
  return frame;
}

/** Address of a child's pointer in an interior page, or 0. A slot of −1 comes from a page without any. */
function childPointer(page: usize, slot: u32): usize {
  if (slot >= <u32>changetype<PageHeader>(page).slotCount) return 0;
  const at = slotAt(page, slot);
  return load<u16>(at, SLOT_VALUE_LENGTH) == POINTER_BYTES && isInPage(at) ? valueAt(page, at) : 0;
}

/** Whether a slot's value lies in its page. */
function isInPage(slotAddress: usize): bool {
  const offset = <u32>load<u16>(slotAddress, SLOT_VALUE_OFFSET);
  const length = <u32>load<u16>(slotAddress, SLOT_VALUE_LENGTH);
  return length == 0 || (offset >= SLOTS && offset + length <= PAGE_BYTES);
}

function isBornIn(cache: Cache, path: Path, generation: u64): bool {
  for (let depth: u32 = 0; depth < path.depth; depth++) {
    const page = pageOf(cache, load<u32>(levelAt(path, depth)));
    if (changetype<PageHeader>(page).generation != generation) return false;
  }
  return true;
}

// --- along the leaves ---

/** Takes the entry at a slot of the path's leaf, or the next one in a direction when there is none. */
function settle(cache: Cache, path: Path, firstSlot: u32, direction: i32): i32 {
  let slot = firstSlot;
  for (let leaves: u32 = 0; leaves < EMPTY_LEAVES_MAX; leaves++) {
    const page = leafPage(cache, path);
    const count = <u32>changetype<PageHeader>(page).slotCount;
    if (slot < count) {
      setLeaf(path, path.leafFrame, slot);
      return takeEntry(path, page, slot);
    }
    const status = moveLeaf(cache, path, direction);
    if (status == 0) setLeaf(path, path.leafFrame, direction > 0 ? count : BEFORE_FIRST);
    if (status <= 0) return status;
    slot = path.leafSlot;
  }
  return -EUCLEAN;
}

/** Moves the path to the neighbouring leaf's nearer end. Returns 1, 0 when there is none (path unchanged), or an error. */
function moveLeaf(cache: Cache, path: Path, direction: i32): i32 {
  const leaf = path.depth - 1;
  let depth = leaf;
  while (depth > 0) {
    depth--;
    const at = levelAt(path, depth);
    const page = pageOf(cache, load<u32>(at));
    const slot = load<u32>(at, 4) + direction;
    if (slot >= <u32>changetype<PageHeader>(page).slotCount) continue;
    store<u32>(at, slot, 4);
    return descendEdge(cache, path, depth, direction);
  }
  return 0;
}

/** Refills the path below a depth: first children when moving up, last ones when moving down. */
function descendEdge(cache: Cache, path: Path, top: u32, direction: i32): i32 {
  const leaf = path.depth - 1;
  for (let depth = top; depth < leaf; depth++) {
    const at = levelAt(path, depth);
    const pointer = childPointer(pageOf(cache, load<u32>(at)), load<u32>(at, 4));
    if (pointer == 0) return -EUCLEAN;
    const frame = enter(cache, path, depth + 1, pointer, leaf - depth - 1);
    if (frame < 0) return frame;
    const count = <u32>changetype<PageHeader>(pageOf(cache, frame)).slotCount;
    setSlot(path, depth + 1, direction > 0 ? 0 : count - 1);
  }
  const end = levelAt(path, leaf);
  setLeaf(path, load<u32>(end), load<u32>(end, 4));
  return 1;
}

/** Whether a path's frames hold pages whose levels fit: all that a step needs. */
function isPath(cache: Cache, path: Path): bool {
  const depth = path.depth;
  if (depth == 0 || depth > DEPTH_MAX) return false;
  for (let at: u32 = 0; at < depth; at++) {
    const frame = load<u32>(levelAt(path, at));
    if (!isInUse(cache, frame)) return false;
    const page = pageOf(cache, frame);
    if (headerProblem(page) != 0) return false;
    if (changetype<PageHeader>(page).level != depth - 1 - at) return false;
  }
  return path.leafFrame == load<u32>(levelAt(path, depth - 1));
}

// --- the record ---

function levelAt(path: Path, depth: u32): usize {
  return changetype<usize>(path) + PATH_LEVELS + depth * LEVEL_BYTES;
}

function setSlot(path: Path, depth: u32, slot: u32): void {
  store<u32>(levelAt(path, depth), slot, 4);
}

function setLeaf(path: Path, frame: u32, slot: u32): void {
  path.leafFrame = frame;
  path.leafSlot = slot;
  setSlot(path, path.depth - 1, slot);
}

function leafPage(cache: Cache, path: Path): usize {
  return pageOf(cache, path.leafFrame);
}

function setKey(path: Path, oid: u64, tail: u64): void {
  path.keyOid = f64(oid);
  path.keyOffset = tailOffset(tail);
  path.keyType = tailType(tail);
}

/** Sets the lowest key above one. */
function setNextKey(path: Path, oid: u64, tail: u64): void {
  if ((tail & KEY_OFFSET_MASK) < KEY_NUMBER_MAX) setKey(path, oid, tail + 1);
  else if (tailType(tail) < 255) setKey(path, oid, (tail | KEY_OFFSET_MASK) + 1);
  else setKey(path, oid + 1, 0);
}

function takeEntry(path: Path, page: usize, slot: u32): i32 {
  const at = slotAt(page, slot);
  if (!isInPage(at)) return -EUCLEAN;
  setKey(path, load<u64>(at, SLOT_OID), load<u64>(at, SLOT_TYPE_OFFSET));
  path.valueAddress = u32(valueAt(page, at));
  path.valueLength = load<u16>(at, SLOT_VALUE_LENGTH);
  return 1;
}

/**
 * Items of one slotted page: format/page_format.ts.
 *
 * Invariants of a valid page (validate.ts checks them, every function here keeps them):
 * - 64 + 20 × slotCount ≤ heapStart ≤ 16384;
 * - values lie in [heapStart, 16384) and do not overlap; their lengths and deadBytes add up to 16384 − heapStart;
 * - keys ascend strictly, but that of slot 0 of an interior page, which stands for −∞, does not count.
 *
 * Bytes are freed by counting them as dead; insertion gathers them when it needs room, by rebuilding the heap in static
 * scratch memory. On bytes that are no valid page these functions may trap or do nonsense, but write inside it only.
 */
import {
  KEY_NUMBER_MAX,
  KEY_OFFSET_BITS,
  KEY_OFFSET_MASK,
  LEVEL_MAX,
  PAGE_BYTES,
  PAGE_MAGIC,
  PageHeader,
  SLOT_BYTES,
  SLOT_OID,
  SLOT_TYPE_OFFSET,
  SLOT_VALUE_LENGTH,
  SLOT_VALUE_OFFSET,
  SLOTS,
  VALUE_BYTES_MAX,
} from "../format/page_format";
import { isWhole } from "../lib/whole";

const SCRATCH: usize = memory.data(16384, 16);

// --- keys: two u64, compared one after the other ---

export function keyNumber(x: f64): u64 {
  assert(isWhole(x, f64(KEY_NUMBER_MAX)));
  return u64(x);
}

export function keyTail(type: i32, offset: f64): u64 {
  assert(u32(type) <= 255);
  return ((<u64>type) << KEY_OFFSET_BITS) | keyNumber(offset);
}

export function tailType(tail: u64): u32 {
  return u32(tail >> KEY_OFFSET_BITS);
}

export function tailOffset(tail: u64): f64 {
  return f64(tail & KEY_OFFSET_MASK);
}

export function isBelow(oid: u64, tail: u64, otherOid: u64, otherTail: u64): bool {
  return oid < otherOid || (oid == otherOid && tail < otherTail);
}

// --- pages and slots ---

export function pageAt(page: usize): PageHeader {
  const header = changetype<PageHeader>(page);
  assert(header.magic == PAGE_MAGIC);
  return header;
}

export function initPage(
  page: usize,
  level: u32,
  treeId: u32,
  generation: f64,
  address: u64,
): void {
  assert(level <= LEVEL_MAX && treeId <= 255);
  // All of it: what the frame held before must not reach the disk.
  memory.fill(page, 0, PAGE_BYTES);
  const header = changetype<PageHeader>(page);
  header.magic = PAGE_MAGIC;
  header.level = u8(level);
  header.treeId = u8(treeId);
  header.generation = keyNumber(generation);
  header.address = address;
  header.heapStart = u16(PAGE_BYTES);
}

export function slotAt(page: usize, slot: u32): usize {
  return page + SLOTS + slot * SLOT_BYTES;
}

/** A slot in use; traps at others. */
export function usedSlot(page: usize, slot: u32): usize {
  assert(slot < pageAt(page).slotCount);
  return slotAt(page, slot);
}

export function valueAt(page: usize, slotAddress: usize): usize {
  return page + load<u16>(slotAddress, SLOT_VALUE_OFFSET);
}

export function readKey(page: usize, slot: u32, result: usize): void {
  const from = usedSlot(page, slot);
  const tail = load<u64>(from, SLOT_TYPE_OFFSET);
  store<f64>(result, f64(load<u64>(from, SLOT_OID)));
  store<f64>(result, tailOffset(tail), 8);
  store<u32>(result, tailType(tail), 16);
  store<u32>(result, 0, 20);
}

function slotsEnd(header: PageHeader): u32 {
  return SLOTS + <u32>header.slotCount * SLOT_BYTES;
}

export function liveBytes(page: usize): u32 {
  const header = pageAt(page);
  return slotsEnd(header) - SLOTS + (PAGE_BYTES - header.heapStart) - header.deadBytes;
}

export function freeBytes(page: usize): u32 {
  return PAGE_BYTES - SLOTS - liveBytes(page);
}

// --- changes ---

/** Copies bytes that do not overlap: values are short, and memory.copy is a call out of the core. */
export function copyValue(to: usize, from: usize, byteLength: u32): void {
  if (byteLength > 256) {
    memory.copy(to, from, byteLength);
    return;
  }
  if (byteLength >= 16) {
    const last = byteLength - 16;
    for (let at: u32 = 0; at < last; at += 16) v128.store(to + at, v128.load(from + at));
    v128.store(to + last, v128.load(from + last));
    return;
  }
  if (byteLength >= 8) {
    const last = byteLength - 8;
    store<u64>(to, load<u64>(from));
    store<u64>(to + last, load<u64>(from + last));
    return;
  }
  for (let at: u32 = 0; at < byteLength; at++) store<u8>(to + at, load<u8>(from + at));
}

/** Traps unless a key belongs between the slots before and at `slot` (those not below `next`). */
function assertOrder(page: usize, slot: u32, next: u32, oid: u64, tail: u64): void {
  const header = pageAt(page);
  const first: u32 = header.level > 0 ? 1 : 0;
  if (slot > first) {
    const before = slotAt(page, slot - 1);
    assert(isBelow(load<u64>(before, SLOT_OID), load<u64>(before, SLOT_TYPE_OFFSET), oid, tail));
  }
  if (slot >= first && next < header.slotCount) {
    const after = slotAt(page, next);
    assert(isBelow(oid, tail, load<u64>(after, SLOT_OID), load<u64>(after, SLOT_TYPE_OFFSET)));
  }
}

/** insertItem() with the order checked. */
export function insertChecked(page: usize, slot: u32, oid: u64, tail: u64, length: u32): usize {
  const header = pageAt(page);
  assert(slot <= header.slotCount && length <= VALUE_BYTES_MAX);
  // Before slot 0 of an interior page nothing can be: that slot's key would begin to count.
  assert(slot > 0 || header.level == 0 || header.slotCount == 0);
  assertOrder(page, slot, slot, oid, tail);
  return insertItem(page, slot, oid, tail, length);
}

/** Inserts an item and returns its value's address, or 0 when there is no room. */
export function insertItem(page: usize, slot: u32, oid: u64, tail: u64, length: u32): usize {
  const header = changetype<PageHeader>(page);
  const end = slotsEnd(header);
  if (end + SLOT_BYTES + length > header.heapStart) {
    if (end + SLOT_BYTES + length > <u32>header.heapStart + header.deadBytes) return 0;
    if (!gather(page)) return 0;
    if (end + SLOT_BYTES + length > header.heapStart) return 0;
  }
  const at = slotAt(page, slot);
  memory.copy(at + SLOT_BYTES, at, page + end - at);
  header.slotCount++;
  store<u64>(at, oid, SLOT_OID);
  store<u64>(at, tail, SLOT_TYPE_OFFSET);
  return placeValue(page, at, length);
}

/** Gives a slot the bytes next below the heap, for which there is room. */
function placeValue(page: usize, slotAddress: usize, length: u32): usize {
  const header = changetype<PageHeader>(page);
  const offset: u32 = length == 0 ? 0 : <u32>header.heapStart - length;
  if (length != 0) header.heapStart = u16(offset);
  store<u16>(slotAddress, u16(offset), SLOT_VALUE_OFFSET);
  store<u16>(slotAddress, u16(length), SLOT_VALUE_LENGTH);
  return page + offset;
}

export function replaceValue(page: usize, slot: u32, length: u32): usize {
  const header = pageAt(page);
  assert(length <= VALUE_BYTES_MAX);
  const at = usedSlot(page, slot);
  const before = <u32>load<u16>(at, SLOT_VALUE_LENGTH);
  if (length == before) return valueAt(page, at);
  if (length < before) {
    header.deadBytes += u16(before - length);
    store<u16>(at, u16(length), SLOT_VALUE_LENGTH);
    if (length == 0) store<u16>(at, 0, SLOT_VALUE_OFFSET);
    return valueAt(page, at);
  }
  const end = slotsEnd(header);
  if (end + length > <u32>header.heapStart + header.deadBytes + before) return 0;
  freeValue(page, at);
  if (end + length > header.heapStart && !gather(page)) return 0;
  if (end + length > header.heapStart) return 0;
  return placeValue(page, at, length);
}

function freeValue(page: usize, slotAddress: usize): void {
  const header = changetype<PageHeader>(page);
  const length = load<u16>(slotAddress, SLOT_VALUE_LENGTH);
  if (load<u16>(slotAddress, SLOT_VALUE_OFFSET) == header.heapStart) header.heapStart += length;
  else header.deadBytes += length;
  store<u32>(slotAddress, 0, SLOT_VALUE_OFFSET);
}

export function removeItem(page: usize, slot: u32): void {
  const at = usedSlot(page, slot);
  const header = changetype<PageHeader>(page);
  freeValue(page, at);
  const end = page + slotsEnd(header);
  memory.copy(at, at + SLOT_BYTES, end - at - SLOT_BYTES);
  header.slotCount--;
  if (header.slotCount == 0) emptyHeap(page);
}

function emptyHeap(page: usize): void {
  const header = changetype<PageHeader>(page);
  header.heapStart = u16(PAGE_BYTES);
  header.deadBytes = 0;
}

/** Forgets the items from `count` on, without a look at their values' places. */
export function truncateItems(page: usize, count: u32, valueBytes: u32): void {
  const header = changetype<PageHeader>(page);
  header.slotCount = u16(count);
  header.deadBytes += u16(valueBytes);
  if (count == 0) emptyHeap(page);
}

export function setKey(page: usize, slot: u32, oid: u64, tail: u64): void {
  const at = usedSlot(page, slot);
  assertOrder(page, slot, slot + 1, oid, tail);
  store<u64>(at, oid, SLOT_OID);
  store<u64>(at, tail, SLOT_TYPE_OFFSET);
}

/**
 * Rebuilds the heap without dead bytes, values ascending with their slots, so that scans read forward. False, and nothing
 * changed but the scratch, when values do not fit: then it is no valid page.
 */
export function gather(page: usize): bool {
  const header = changetype<PageHeader>(page);
  const count = <u32>header.slotCount;
  const end = slotsEnd(header);
  if (end > PAGE_BYTES) return false;
  let bytes: u32 = 0;
  for (let slot: u32 = 0; slot < count; slot++) {
    const at = slotAt(page, slot);
    const length = <u32>load<u16>(at, SLOT_VALUE_LENGTH);
    if (load<u16>(at, SLOT_VALUE_OFFSET) + length > PAGE_BYTES) return false;
    bytes += length;
  }
  if (end + bytes > PAGE_BYTES) return false;

  const heapStart = PAGE_BYTES - bytes;
  let offset = heapStart;
  for (let slot: u32 = 0; slot < count; slot++) {
    const at = slotAt(page, slot);
    const length = <u32>load<u16>(at, SLOT_VALUE_LENGTH);
    if (length == 0) continue;
    copyValue(SCRATCH + offset, valueAt(page, at), length);
    store<u16>(at, u16(offset), SLOT_VALUE_OFFSET);
    offset += length;
  }
  memory.copy(page + heapStart, SCRATCH + heapStart, bytes);
  header.heapStart = u16(heapStart);
  header.deadBytes = 0;
  return true;
}

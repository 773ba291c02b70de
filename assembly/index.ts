/**
 * The exported ABI and nothing else: one thin function an export, documented in host/core/abi.ts.
 * The module imports memory alone; it has no I/O, clock, randomness or callbacks.
 */

import { mergePages } from "./btree/merge";
import {
  freeBytes,
  initPage,
  insertChecked,
  keyNumber,
  keyTail,
  liveBytes,
  readKey,
  removeItem,
  replaceValue,
  setKey,
  usedSlot,
  valueAt,
} from "./btree/page";
import {
  addFrame,
  cacheBytes,
  dirtyPageCount,
  evictFrame,
  findFrame,
  flagsOf,
  frameAddress,
  frameOf,
  freePageCount,
  initCache,
  nextDirty,
  pinFrame,
  rekeyFrame,
  removeFrame,
  setFlags,
  unpinFrame,
} from "./btree/page_cache";
import { searchPage } from "./btree/search";
import { splitPage } from "./btree/split";
import { validatePage } from "./btree/validate";
import { find, pathBytes, putFast, removeFast, scan, seek, seekLast, step } from "./btree/walk";
import { blake3Hash } from "./checksum/blake3";
import { crc } from "./checksum/crc32c";
import { xxh3Wide } from "./checksum/xxh3_128";
import { xxh3, xxh3Units, xxh3VerifyUnits } from "./checksum/xxh3_64";
import {
  abortWrite,
  completeWrite,
  createMap,
  destroyMap,
  dirtyCount,
  dirtyTotal,
  dropBlocks,
  findBlock,
  flushingCount,
  insert,
  nextRun,
  nextWanted,
  nodesFree,
  truncate,
} from "./coalesce/dirty_map";
import { plan } from "./coalesce/plan";
import { drainQueue, initSlab, slabBytes } from "./coalesce/slab";
import {
  alloc,
  attach,
  attached,
  clearBits,
  countBits,
  detach,
  freeOf,
  freeTotal,
  initSpace,
  isUsed,
  longestOf,
  mark,
  release,
  setSummary,
} from "./extent/allocator";
import {
  allocFrames,
  freeFrameCount,
  freeFrames,
  initPool,
  longestFrames,
  poolBytes,
} from "./extent/pool";
import { spaceBytes } from "./extent/summary";
import { SLOT_VALUE_LENGTH } from "./format/page_format";
import { equalBytes } from "./lib/bytes";

const ABI_VERSION: i32 = 1;

export function abi_version(): i32 {
  return ABI_VERSION;
}

export function static_end(): u32 {
  return u32(__heap_base);
}

// --- checksum ---

export function xxh3_64(address: usize, byteLength: u32, result: usize): void {
  store<u64>(result, xxh3(address, byteLength));
}

export function xxh3_64_units(address: usize, unitBytes: u32, unitCount: u32, out: usize): void {
  xxh3Units(address, unitBytes, unitCount, out);
}

export function xxh3_64_verify_units(
  address: usize,
  unitBytes: u32,
  unitCount: u32,
  expected: usize,
): i32 {
  return xxh3VerifyUnits(address, unitBytes, unitCount, expected);
}

export function xxh3_128(address: usize, byteLength: u32, result: usize): void {
  xxh3Wide(address, byteLength, result);
}

export function blake3(address: usize, byteLength: u32, result: usize): void {
  blake3Hash(address, byteLength, result);
}

export function crc32c(address: usize, byteLength: u32, seed: u32): u32 {
  return crc(address, byteLength, seed);
}

export function name_hash(address: usize, byteLength: u32): f64 {
  return f64(xxh3(address, byteLength) & 0xffffffffffff);
}

export function bytes_copy(to: usize, from: usize, byteLength: u32): void {
  memory.copy(to, from, byteLength);
}

export function bytes_fill(to: usize, value: u32, byteLength: u32): void {
  memory.fill(to, u8(value), byteLength);
}

export function bytes_equal(a: usize, b: usize, byteLength: u32): i32 {
  return i32(equalBytes(a, b, byteLength));
}

// --- btree ---

function wide(low: u32, high: u32): u64 {
  return ((<u64>high) << 32) | low;
}

export function page_init(
  page: usize,
  level: u32,
  treeId: u32,
  generation: f64,
  addressLow: u32,
  addressHigh: u32,
): void {
  initPage(page, level, treeId, generation, wide(addressLow, addressHigh));
}

export function page_search(page: usize, oid: f64, type: i32, offset: f64): i32 {
  return searchPage(page, keyNumber(oid), keyTail(type, offset));
}

export function page_insert(
  page: usize,
  slot: u32,
  oid: f64,
  type: i32,
  offset: f64,
  valueLength: u32,
): usize {
  return insertChecked(page, slot, keyNumber(oid), keyTail(type, offset), valueLength);
}

export function page_replace(page: usize, slot: u32, valueLength: u32): usize {
  return replaceValue(page, slot, valueLength);
}

export function page_remove(page: usize, slot: u32): void {
  removeItem(page, slot);
}

export function page_set_key(page: usize, slot: u32, oid: f64, type: i32, offset: f64): void {
  setKey(page, slot, keyNumber(oid), keyTail(type, offset));
}

export function page_split(page: usize, emptyPage: usize, insertSlot: u32): u32 {
  return splitPage(page, emptyPage, insertSlot);
}

export function page_merge(left: usize, right: usize): i32 {
  return i32(mergePages(left, right));
}

export function page_live_bytes(page: usize): u32 {
  return liveBytes(page);
}

export function page_free_bytes(page: usize): u32 {
  return freeBytes(page);
}

export function page_value(page: usize, slot: u32): usize {
  return valueAt(page, usedSlot(page, slot));
}

export function page_value_length(page: usize, slot: u32): u32 {
  return load<u16>(usedSlot(page, slot), SLOT_VALUE_LENGTH);
}

export function page_key(page: usize, slot: u32, result: usize): void {
  readKey(page, slot, result);
}

export function page_validate(page: usize, expectedLevel: i32): i32 {
  return validatePage(page, expectedLevel);
}

export function cache_bytes(frameCount: u32): u32 {
  return cacheBytes(frameCount);
}

export function cache_init(base: usize, frameCount: u32, framesAddress: usize): i32 {
  return initCache(base, frameCount, framesAddress);
}

export function cache_find(base: usize, addressLow: u32, addressHigh: u32): i32 {
  return findFrame(base, wide(addressLow, addressHigh));
}

export function cache_add(base: usize, addressLow: u32, addressHigh: u32): i32 {
  return addFrame(base, wide(addressLow, addressHigh));
}

export function cache_remove(base: usize, frame: u32): i32 {
  return removeFrame(base, frame);
}

export function cache_evict(base: usize): i32 {
  return evictFrame(base);
}

export function cache_pin(base: usize, frame: u32): i32 {
  return pinFrame(base, frame);
}

export function cache_unpin(base: usize, frame: u32): i32 {
  return unpinFrame(base, frame);
}

export function cache_flags(base: usize, frame: u32): i32 {
  return flagsOf(base, frame);
}

export function cache_set_flags(base: usize, frame: u32, set: u32, clear: u32): i32 {
  return setFlags(base, frame, set, clear);
}

export function cache_free_count(base: usize): u32 {
  return freePageCount(base);
}

export function cache_dirty_count(base: usize): u32 {
  return dirtyPageCount(base);
}

export function cache_frame_address(base: usize, frame: u32): usize {
  return frameAddress(base, frame);
}

export function cache_frame_of(base: usize, pageAddress: usize): i32 {
  return frameOf(base, pageAddress);
}

export function cache_next_dirty(base: usize, fromFrame: u32): i32 {
  return nextDirty(base, fromFrame);
}

export function cache_rekey(base: usize, frame: u32, addressLow: u32, addressHigh: u32): i32 {
  return rekeyFrame(base, frame, wide(addressLow, addressHigh));
}

export function path_bytes(): u32 {
  return pathBytes();
}

export function tree_find(
  cache: usize,
  tree: usize,
  path: usize,
  oid: f64,
  type: i32,
  offset: f64,
): i32 {
  return find(cache, tree, path, keyNumber(oid), keyTail(type, offset));
}

export function tree_seek(
  cache: usize,
  tree: usize,
  path: usize,
  oid: f64,
  type: i32,
  offset: f64,
): i32 {
  return seek(cache, tree, path, keyNumber(oid), keyTail(type, offset));
}

export function tree_seek_last(
  cache: usize,
  tree: usize,
  path: usize,
  oid: f64,
  type: i32,
  offset: f64,
): i32 {
  return seekLast(cache, tree, path, keyNumber(oid), keyTail(type, offset));
}

export function tree_step(cache: usize, path: usize, direction: i32): i32 {
  return step(cache, path, direction);
}

export function tree_scan(
  cache: usize,
  tree: usize,
  path: usize,
  oid: f64,
  type: i32,
  offset: f64,
  endOid: f64,
  endType: i32,
  endOffset: f64,
  outAddress: usize,
  outCapacity: u32,
): i32 {
  return scan(
    cache,
    tree,
    path,
    keyNumber(oid),
    keyTail(type, offset),
    keyNumber(endOid),
    keyTail(endType, endOffset),
    outAddress,
    outCapacity,
  );
}

export function tree_put_fast(
  cache: usize,
  tree: usize,
  path: usize,
  oid: f64,
  type: i32,
  offset: f64,
  valueAddress: usize,
  valueLength: u32,
  generation: f64,
): i32 {
  return putFast(
    cache,
    tree,
    path,
    keyNumber(oid),
    keyTail(type, offset),
    valueAddress,
    valueLength,
    generation,
  );
}

export function tree_remove_fast(
  cache: usize,
  tree: usize,
  path: usize,
  oid: f64,
  type: i32,
  offset: f64,
  generation: f64,
): i32 {
  return removeFast(cache, tree, path, keyNumber(oid), keyTail(type, offset), generation);
}

// --- extent ---

export function space_bytes(regionCount: u32): u32 {
  return spaceBytes(regionCount);
}

export function space_init(base: usize, blockCount: f64, regionBlocks: u32): i32 {
  return initSpace(base, blockCount, regionBlocks);
}

export function space_set_summary(base: usize, region: u32, free: u32, longest: u32): i32 {
  return setSummary(base, region, free, longest);
}

export function space_region_free(base: usize, region: u32): i32 {
  return freeOf(base, region);
}

export function space_region_longest(base: usize, region: u32): i32 {
  return longestOf(base, region);
}

export function space_attach(base: usize, region: u32, bitmapAddress: usize): i32 {
  return attach(base, region, bitmapAddress);
}

export function space_detach(base: usize, region: u32): i32 {
  return detach(base, region);
}

export function space_attached(base: usize, region: u32): usize {
  return attached(base, region);
}

export function space_alloc(
  base: usize,
  goal: f64,
  count: u32,
  minCount: u32,
  flags: u32,
  result: usize,
): i32 {
  return alloc(base, goal, count, minCount, flags, result);
}

export function space_mark(base: usize, start: f64, count: u32): i32 {
  return mark(base, start, count);
}

export function space_free(base: usize, start: f64, count: u32): i32 {
  return release(base, start, count);
}

export function space_is_used(base: usize, start: f64, count: u32): i32 {
  return isUsed(base, start, count);
}

export function space_free_total(base: usize): f64 {
  return freeTotal(base);
}

export function space_bitmap_clear(bitmapAddress: usize, firstBit: u32, count: u32): u32 {
  return clearBits(bitmapAddress, firstBit, count);
}

export function space_bitmap_count(bitmapAddress: usize, bitCount: u32): u32 {
  return countBits(bitmapAddress, bitCount);
}

export function pool_bytes(frameCount: u32): u32 {
  return poolBytes(frameCount);
}

export function pool_init(base: usize, frameCount: u32, framesAddress: usize): i32 {
  return initPool(base, frameCount, framesAddress);
}

export function pool_alloc(base: usize, count: u32): usize {
  return allocFrames(base, count);
}

export function pool_free(base: usize, address: usize, count: u32): void {
  freeFrames(base, address, count);
}

export function pool_free_count(base: usize): u32 {
  return freeFrameCount(base);
}

export function pool_longest(base: usize): u32 {
  return longestFrames(base);
}

// --- coalesce ---

export function dirty_bytes(nodeCapacity: u32): u32 {
  return slabBytes(nodeCapacity);
}

export function dirty_init(base: usize, nodeCapacity: u32): i32 {
  return initSlab(base, nodeCapacity);
}

export function dirty_create(base: usize): i32 {
  return createMap(base);
}

export function dirty_destroy(base: usize, map: u32): i32 {
  return destroyMap(base, map);
}

export function dirty_insert(
  base: usize,
  map: u32,
  fileBlock: f64,
  count: u32,
  bufferAddress: u32,
): i32 {
  return insert(base, map, fileBlock, count, bufferAddress);
}

export function dirty_find(base: usize, map: u32, fileBlock: f64, result: usize): i32 {
  return findBlock(base, map, fileBlock, result);
}

export function dirty_next(base: usize, map: u32, fromBlock: f64, result: usize): i32 {
  return nextRun(base, map, fromBlock, result);
}

export function dirty_count(base: usize, map: u32): u32 {
  return dirtyCount(base, map);
}

export function dirty_flushing_count(base: usize, map: u32): u32 {
  return flushingCount(base, map);
}

export function dirty_total(base: usize): f64 {
  return dirtyTotal(base);
}

export function dirty_node_free(base: usize): u32 {
  return nodesFree(base);
}

export function dirty_plan(
  base: usize,
  map: u32,
  fromBlock: f64,
  maxExtentBlocks: u32,
  maxBlocks: u32,
  outAddress: usize,
  outCapacityWords: u32,
): i32 {
  return plan(base, map, fromBlock, maxExtentBlocks, maxBlocks, outAddress, outCapacityWords);
}

export function dirty_wanted(
  base: usize,
  map: u32,
  fileBlock: f64,
  count: u32,
  result: usize,
): i32 {
  return nextWanted(base, map, fileBlock, count, result);
}

export function dirty_complete(base: usize, map: u32, fileBlock: f64, count: u32): i32 {
  return completeWrite(base, map, fileBlock, count);
}

export function dirty_abort(base: usize, map: u32, fileBlock: f64, count: u32): i32 {
  return abortWrite(base, map, fileBlock, count);
}

export function dirty_truncate(base: usize, map: u32, fromBlock: f64): i32 {
  return truncate(base, map, fromBlock);
}

export function dirty_drop(base: usize, map: u32, fileBlock: f64, count: u32): i32 {
  return dropBlocks(base, map, fileBlock, count);
}

export function dirty_freed(base: usize, outAddress: usize, capacityRuns: u32): u32 {
  return drainQueue(base, outAddress, capacityRuns);
}

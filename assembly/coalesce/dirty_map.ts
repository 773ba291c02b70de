/**
 * Buffered blocks of one file.
 *
 * A block is in at most one run of `top` (what readers see): DIRTY, newest data not yet being written, or FLUSHING, its
 * write in flight. It is also in at most one run of `buried`: data in flight that newer data lies over (COVERED) or
 * that was truncated or dropped (CANCELLED). A buried run only waits for its write to end. So:
 * - newer data over FLUSHING blocks moves these to `buried` at once, and a lookup is one walk of one tree;
 * - a DIRTY block may be planned if and only if nothing is buried below it: the file has one write in flight a block,
 *   and two writes of it cannot be reordered.
 *
 * Range operations first cut the runs that straddle the range's ends, then treat whole runs. A cut needs a node; they
 * are counted before anything is changed.
 */
import { EBUSY, EINVAL, ENOMEM } from "../lib/errno";
import { isWhole } from "../lib/whole";
import { addRun, lastRun, removeRun, runAtOrAfter, runBefore } from "./run_tree";
import {
  bufferEnd,
  bufferOf,
  endOf,
  MapNode,
  mapAt,
  newMap,
  newRun,
  PLAN_RESERVE,
  queueBuffer,
  RESERVE,
  RunNode,
  returnNode,
  runAt,
  Slab,
  slabAt,
} from "./slab";

export const DIRTY: u8 = 1;
export const FLUSHING: u8 = 2;
const COVERED: u8 = 3;
const CANCELLED: u8 = 4;
/** For a cut: runs of any state. */
const ANY: u8 = 0;

export const BLOCK_MAX: f64 = 4503599627370496.0; // 2^52
const COUNT_MAX: u32 = 1 << 20; // 4 GiB, all the memory there can be
const BLOCK_SHIFT: u32 = 12;

export function topSlot(map: MapNode): usize {
  return changetype<usize>(map) + offsetof<MapNode>("top");
}

function buriedSlot(map: MapNode): usize {
  return changetype<usize>(map) + offsetof<MapNode>("buried");
}

function isRange(fileBlock: f64, count: u32): bool {
  return count > 0 && isWhole(fileBlock, BLOCK_MAX) && fileBlock + f64(count) <= BLOCK_MAX;
}

export function createMap(base: usize): i32 {
  const slab = slabAt(base);
  return slab.available > RESERVE ? i32(newMap(slab)) : -ENOMEM;
}

export function destroyMap(base: usize, mapId: u32): i32 {
  const slab = slabAt(base);
  const map = mapAt(slab, mapId);
  if (map.flushing != 0) return -EBUSY;
  while (map.top != 0) {
    const id = map.top;
    removeRun(slab, topSlot(map), id);
    queueBuffer(slab, id);
  }
  slab.dirtyTotal -= map.dirty;
  returnNode(slab, mapId);
  return 0;
}

export function insert(base: usize, mapId: u32, fileBlock: f64, count: u32, buffer: u32): i32 {
  const slab = slabAt(base);
  const map = mapAt(slab, mapId);
  if (!isRange(fileBlock, count) || count > COUNT_MAX || buffer == 0) return -EINVAL;
  if (<u64>buffer + ((<u64>count) << BLOCK_SHIFT) > u64(1) << 32) return -EINVAL;
  const start = u64(fileBlock);
  const end = start + count;

  if (map.last == 0) map.last = lastRun(slab, map.top);
  let before = map.last;
  let after: u32 = 0;
  const appends = before == 0 || endOf(runAt(slab, before)) <= start;
  if (!appends) {
    after = runAtOrAfter(slab, map.top, start);
    if (after != 0 && runAt(slab, after).fileBlock < end) {
      const cuts = straddles(slab, map.top, start, ANY) + straddles(slab, map.top, end, ANY);
      if (!has(slab, RESERVE, cuts + 1)) return -ENOMEM;
      clearTop(slab, map, start, end, COVERED);
      after = runAtOrAfter(slab, map.top, start);
    }
    before = runBefore(slab, map.top, start);
  }
  const extendsBefore = before != 0 && isContinued(runAt(slab, before), start, buffer);
  if (!extendsBefore && !has(slab, RESERVE, 1)) return -ENOMEM;
  slab.dirtyTotal += count;
  map.dirty += count;
  if (extendsBefore) {
    runAt(slab, before).blockCount += count;
  } else {
    before = newRun(slab, DIRTY, start, count, buffer);
    addRun(slab, topSlot(map), before);
    if (appends) map.last = before;
  }
  if (after != 0) joinNext(slab, map, before, after);
  return 0;
}

/** Whether a DIRTY block at `start`, with this buffer, would go on where the run ends. */
function isContinued(run: RunNode, start: u64, buffer: u32): bool {
  return run.state == DIRTY && endOf(run) == start && bufferEnd(run) == <u64>buffer;
}

/** Makes a DIRTY run and the one after it one, if they are adjacent in the file and in memory. */
function joinNext(slab: Slab, map: MapNode, id: u32, nextId: u32): void {
  const run = runAt(slab, id);
  const next = runAt(slab, nextId);
  if (next.state != DIRTY || !isContinued(run, next.fileBlock, next.bufferAddress)) return;
  removeRun(slab, topSlot(map), nextId);
  run.blockCount += next.blockCount;
  if (map.last == nextId) map.last = id;
  returnNode(slab, nextId);
}

/** Whether `count` nodes can be taken and `keep` be left. */
export function has(slab: Slab, keep: u32, count: u32): bool {
  return slab.available >= keep + count;
}

/** 1 if a run of this state has blocks on both sides of `at`: a cut there takes a node. */
function straddles(slab: Slab, root: u32, at: u64, state: u8): u32 {
  const id = runAtOrAfter(slab, root, at);
  if (id == 0) return 0;
  const run = runAt(slab, id);
  return u32(run.fileBlock < at && (state == ANY || run.state == state));
}

/** Cuts the run that straddles `at` in two, if there is one of this state. */
function cut(slab: Slab, map: MapNode, slot: usize, at: u64, state: u8): void {
  if (straddles(slab, load<u32>(slot), at, state) == 0) return;
  const id = runAtOrAfter(slab, load<u32>(slot), at);
  cutRun(slab, map, slot, id, at);
}

/** Cuts a run at a block inside it. @returns The id of the upper part. */
export function cutRun(slab: Slab, map: MapNode, slot: usize, id: u32, at: u64): u32 {
  const run = runAt(slab, id);
  const upper = newRun(slab, run.state, at, u32(endOf(run) - at), bufferOf(run, at));
  run.blockCount = u32(at - run.fileBlock);
  addRun(slab, slot, upper);
  if (map.last == id) map.last = upper;
  return upper;
}

/**
 * Empties a range of `top`: DIRTY buffers are queued, what is in flight is buried in the state given.
 *
 * @returns How many DIRTY blocks went.
 */
function clearTop(slab: Slab, map: MapNode, start: u64, end: u64, buriedState: u8): u64 {
  const slot = topSlot(map);
  cut(slab, map, slot, start, ANY);
  cut(slab, map, slot, end, ANY);
  let dropped: u64 = 0;
  let id = runAtOrAfter(slab, map.top, start);
  while (id != 0) {
    const run = runAt(slab, id);
    if (run.fileBlock >= end) break;
    const next = endOf(run);
    removeTop(slab, map, id);
    if (run.state == DIRTY) {
      dropped += run.blockCount;
      queueBuffer(slab, id);
    } else {
      run.state = buriedState;
      addRun(slab, buriedSlot(map), id);
    }
    id = runAtOrAfter(slab, map.top, next);
  }
  map.dirty -= u32(dropped);
  slab.dirtyTotal -= dropped;
  return dropped;
}

function removeTop(slab: Slab, map: MapNode, id: u32): void {
  removeRun(slab, topSlot(map), id);
  if (map.last == id) map.last = 0;
}

export function findBlock(base: usize, mapId: u32, fileBlock: f64, result: usize): i32 {
  const slab = slabAt(base);
  const map = mapAt(slab, mapId);
  if (!isWhole(fileBlock, BLOCK_MAX)) return -EINVAL;
  const block = u64(fileBlock);
  const id = runAtOrAfter(slab, map.top, block);
  if (id != 0) {
    const run = runAt(slab, id);
    if (run.fileBlock <= block) {
      store<u32>(result, bufferOf(run, block));
      store<u32>(result, u32(endOf(run) - block), 4);
      store<u32>(result, run.state, 8);
      return 1;
    }
  }
  const gap = id == 0 ? u64.MAX_VALUE : runAt(slab, id).fileBlock - block;
  store<u32>(result, 0);
  store<u32>(result, u32(min(gap, <u64>u32.MAX_VALUE)), 4);
  store<u32>(result, 0, 8);
  return 0;
}

export function nextRun(base: usize, mapId: u32, fromBlock: f64, result: usize): i32 {
  const slab = slabAt(base);
  const map = mapAt(slab, mapId);
  if (!isWhole(fromBlock, BLOCK_MAX)) return -EINVAL;
  const id = runAtOrAfter(slab, map.top, u64(fromBlock));
  if (id == 0) return 0;
  const run = runAt(slab, id);
  const start = max(run.fileBlock, u64(fromBlock));
  store<f64>(result, f64(start));
  store<u32>(result, u32(endOf(run) - start), 8);
  store<u32>(result, run.state, 12);
  store<u32>(result, bufferOf(run, start), 16);
  store<u32>(result, 0, 20);
  return 1;
}

export function dirtyCount(base: usize, mapId: u32): u32 {
  return mapAt(slabAt(base), mapId).dirty;
}

export function flushingCount(base: usize, mapId: u32): u32 {
  return mapAt(slabAt(base), mapId).flushing;
}

export function dirtyTotal(base: usize): f64 {
  return f64(slabAt(base).dirtyTotal);
}

export function nodesFree(base: usize): u32 {
  const available = slabAt(base).available;
  return available > RESERVE ? available - RESERVE : 0;
}

/** First block of a run that something in flight and not seen lies under, or the end of the run if there is none. */
export function firstBuried(slab: Slab, map: MapNode, start: u64, end: u64): u64 {
  const id = runAtOrAfter(slab, map.buried, start);
  return id == 0 ? end : min(max(runAt(slab, id).fileBlock, start), end);
}

/** First block at or after one that something is buried under, where nothing is. */
export function buriedEnd(slab: Slab, map: MapNode, block: u64): u64 {
  return endOf(runAt(slab, runAtOrAfter(slab, map.buried, block)));
}

export function nextWanted(
  base: usize,
  mapId: u32,
  fileBlock: f64,
  count: u32,
  result: usize,
): i32 {
  const slab = slabAt(base);
  const map = mapAt(slab, mapId);
  if (!isRange(fileBlock, count)) return -EINVAL;
  const start = u64(fileBlock);
  const end = start + count;
  const top = nextOfState(slab, map.top, start, end, FLUSHING);
  const buried = nextOfState(slab, map.buried, start, end, COVERED);
  let id = top == 0 ? buried : top;
  if (top != 0 && buried != 0 && runAt(slab, buried).fileBlock < runAt(slab, top).fileBlock) {
    id = buried;
  }
  if (id == 0) return 0;
  const run = runAt(slab, id);
  const first = max(run.fileBlock, start);
  store<f64>(result, f64(first));
  store<u32>(result, u32(min(endOf(run), end) - first), 8);
  store<u32>(result, 0, 12);
  return 1;
}

/** First run of this state that meets [start, end); 0 when there is none. */
function nextOfState(slab: Slab, root: u32, start: u64, end: u64, state: u8): u32 {
  let id = runAtOrAfter(slab, root, start);
  while (id != 0) {
    const run = runAt(slab, id);
    if (run.fileBlock >= end) return 0;
    if (run.state == state) return id;
    id = runAtOrAfter(slab, root, endOf(run));
  }
  return 0;
}

export function completeWrite(base: usize, mapId: u32, fileBlock: f64, count: u32): i32 {
  return settle(base, mapId, fileBlock, count, true);
}

export function abortWrite(base: usize, mapId: u32, fileBlock: f64, count: u32): i32 {
  return settle(base, mapId, fileBlock, count, false);
}

/** The writes in a range have ended: well, or not. */
function settle(base: usize, mapId: u32, fileBlock: f64, count: u32, isWritten: bool): i32 {
  const slab = slabAt(base);
  const map = mapAt(slab, mapId);
  if (!isRange(fileBlock, count) || count > <u32>i32.MAX_VALUE) return -EINVAL;
  const start = u64(fileBlock);
  const end = start + count;
  const cuts =
    straddles(slab, map.top, start, FLUSHING) +
    straddles(slab, map.top, end, FLUSHING) +
    straddles(slab, map.buried, start, ANY) +
    straddles(slab, map.buried, end, ANY);
  if (!has(slab, 0, cuts)) return -ENOMEM;

  const settled = settleTop(slab, map, start, end, isWritten);
  const stillWanted = settleBuried(slab, map, start, end);
  return i32(isWritten ? settled + stillWanted : settled);
}

function settleTop(slab: Slab, map: MapNode, start: u64, end: u64, isWritten: bool): u32 {
  const slot = topSlot(map);
  cut(slab, map, slot, start, FLUSHING);
  cut(slab, map, slot, end, FLUSHING);
  let settled: u32 = 0;
  let id = nextOfState(slab, map.top, start, end, FLUSHING);
  while (id != 0) {
    const run = runAt(slab, id);
    const blocks = run.blockCount;
    const from = endOf(run);
    settled += blocks;
    map.flushing -= blocks;
    if (isWritten) {
      removeTop(slab, map, id);
      queueBuffer(slab, id);
    } else {
      map.dirty += blocks;
      slab.dirtyTotal += blocks;
      run.state = DIRTY;
      joinBoth(slab, map, id);
    }
    id = nextOfState(slab, map.top, from, end, FLUSHING);
  }
  return settled;
}

function joinBoth(slab: Slab, map: MapNode, id: u32): void {
  const run = runAt(slab, id);
  const after = runAtOrAfter(slab, map.top, endOf(run));
  if (after != 0) joinNext(slab, map, id, after);
  const before = runBefore(slab, map.top, run.fileBlock);
  if (before != 0) joinNext(slab, map, before, id);
}

/** @returns How many of the buried blocks were COVERED, not CANCELLED. */
function settleBuried(slab: Slab, map: MapNode, start: u64, end: u64): u32 {
  const slot = buriedSlot(map);
  cut(slab, map, slot, start, ANY);
  cut(slab, map, slot, end, ANY);
  let stillWanted: u32 = 0;
  let id = runAtOrAfter(slab, map.buried, start);
  while (id != 0) {
    const run = runAt(slab, id);
    if (run.fileBlock >= end) break;
    const from = endOf(run);
    map.flushing -= run.blockCount;
    if (run.state == COVERED) stillWanted += run.blockCount;
    removeRun(slab, slot, id);
    queueBuffer(slab, id);
    id = runAtOrAfter(slab, map.buried, from);
  }
  return stillWanted;
}

export function truncate(base: usize, mapId: u32, fromBlock: f64): i32 {
  const slab = slabAt(base);
  const map = mapAt(slab, mapId);
  if (!isWhole(fromBlock, BLOCK_MAX)) return -EINVAL;
  return dropRange(slab, map, u64(fromBlock), u64(BLOCK_MAX));
}

export function dropBlocks(base: usize, mapId: u32, fileBlock: f64, count: u32): i32 {
  const slab = slabAt(base);
  const map = mapAt(slab, mapId);
  if (!isRange(fileBlock, count)) return -EINVAL;
  return dropRange(slab, map, u64(fileBlock), u64(fileBlock) + count);
}

function dropRange(slab: Slab, map: MapNode, start: u64, end: u64): i32 {
  const cuts =
    straddles(slab, map.top, start, ANY) +
    straddles(slab, map.top, end, ANY) +
    straddles(slab, map.buried, start, COVERED) +
    straddles(slab, map.buried, end, COVERED);
  if (!has(slab, PLAN_RESERVE, cuts)) return -ENOMEM;

  const slot = buriedSlot(map);
  cut(slab, map, slot, start, COVERED);
  cut(slab, map, slot, end, COVERED);
  let id = nextOfState(slab, map.buried, start, end, COVERED);
  while (id != 0) {
    const run = runAt(slab, id);
    run.state = CANCELLED;
    id = nextOfState(slab, map.buried, endOf(run), end, COVERED);
  }
  return i32(clearTop(slab, map, start, end, CANCELLED));
}

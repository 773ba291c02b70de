/**
 * What to write next: adjacent DIRTY blocks joined into extents, so that a device sees few large writes.
 *
 * Extents end at multiples of the largest extent, so a file written in any order is cut in the same places, and a later
 * overwrite replaces whole extents instead of the middle of one.
 */
import { EINVAL } from "../lib/errno";
import { isWhole } from "../lib/whole";
import {
  BLOCK_MAX,
  buriedEnd,
  cutRun,
  DIRTY,
  FLUSHING,
  firstBuried,
  has,
  topSlot,
} from "./dirty_map";
import { runAtOrAfter } from "./run_tree";
import { bufferEnd, bufferOf, endOf, mapAt, runAt, slabAt } from "./slab";

/**
 * Record layout, in u32 words: header f64 nextFromBlock, extentCount, wordsUsed; extent f64 fileBlock, blockCount,
 * runCount, then runCount pairs.
 */
const HEADER_WORDS: u32 = 4;
const EXTENT_WORDS: u32 = 4;
const PAIR_WORDS: u32 = 2;
const NOTHING_LEFT: f64 = -1.0;

export function plan(
  base: usize,
  mapId: u32,
  fromBlock: f64,
  maxExtentBlocks: u32,
  maxBlocks: u32,
  out: usize,
  capacityWords: u32,
): i32 {
  const slab = slabAt(base);
  const map = mapAt(slab, mapId);
  if (!isWhole(fromBlock, BLOCK_MAX) || maxExtentBlocks == 0 || maxBlocks == 0) return -EINVAL;
  if (capacityWords < HEADER_WORDS + EXTENT_WORDS + PAIR_WORDS) return -EINVAL;

  const slot = topSlot(map);
  let at = u64(fromBlock);
  let next = NOTHING_LEFT;
  let words = HEADER_WORDS;
  let left = maxBlocks;
  let extentCount: u32 = 0;
  let extent: usize = 0; // the record being filled
  let extentEnd: u64 = 0;
  let lastPair: usize = 0;
  let lastBufferEnd: u64 = 0;
  // Each turn passes a run, or a part of one that something is buried under, or writes a pair.
  while (true) {
    let id = runAtOrAfter(slab, map.top, at);
    if (id == 0) break;
    let run = runAt(slab, id);
    if (run.state != DIRTY) {
      at = endOf(run);
      continue;
    }
    const start = max(run.fileBlock, at);
    let end = firstBuried(slab, map, start, endOf(run));
    if (end == start) {
      at = buriedEnd(slab, map, start);
      continue;
    }
    if (left == 0) {
      next = f64(start);
      break;
    }
    end = min(end, (start / maxExtentBlocks + 1) * maxExtentBlocks);
    end = min(end, start + left);
    const joins = extent != 0 && extentEnd == start && start % maxExtentBlocks != 0;
    const joinsPair = joins && lastBufferEnd == <u64>bufferOf(run, start);
    const needed = joinsPair ? 0 : joins ? PAIR_WORDS : EXTENT_WORDS + PAIR_WORDS;
    const cuts = u32(start > run.fileBlock) + u32(end < endOf(run));
    if (words + needed > capacityWords || !has(slab, 0, cuts)) {
      next = f64(start);
      break;
    }

    if (start > run.fileBlock) {
      id = cutRun(slab, map, slot, id, start);
      run = runAt(slab, id);
    }
    if (end < endOf(run)) cutRun(slab, map, slot, id, end);
    run.state = FLUSHING;
    const blocks = run.blockCount;
    if (joinsPair) {
      store<u32>(lastPair, load<u32>(lastPair, 4) + blocks, 4);
    } else {
      if (!joins) {
        extent = out + words * 4;
        words += EXTENT_WORDS;
        extentCount++;
        store<f64>(extent, f64(start));
        store<u64>(extent, 0, 8);
      }
      lastPair = out + words * 4;
      words += PAIR_WORDS;
      store<u32>(lastPair, run.bufferAddress);
      store<u32>(lastPair, blocks, 4);
      store<u32>(extent, load<u32>(extent, 12) + 1, 12);
    }
    store<u32>(extent, load<u32>(extent, 8) + blocks, 8);
    lastBufferEnd = bufferEnd(run);
    extentEnd = end;
    left -= blocks;
    map.dirty -= blocks;
    map.flushing += blocks;
    slab.dirtyTotal -= blocks;
    at = end;
  }
  store<f64>(out, next);
  store<u32>(out, extentCount, 8);
  store<u32>(out, words, 12);
  return i32(extentCount);
}

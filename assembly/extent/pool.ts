/**
 * Frames of 4 KiB for file data, in contiguous runs.
 *
 *     base   Pool header, 64 bytes
 *     +64    used[W]  u64, W = frames / 64 rounded up: 1 = taken; bits past the last frame are set
 *            full[]   u64, one bit a word of `used`: all its frames are taken
 *
 * Single frames are taken first-fit (every frame below `lowest` is taken), runs next-fit from `cursor`: singles gather at
 * the low end and the rest stays in one piece. `longest` is an upper bound of the longest free run, made exact by a
 * search that fails, so repeated failures cost nothing.
 */
import { EINVAL } from "../lib/errno";
import { memoryBytes } from "../lib/whole";
import { clearRange, findRun, firstFree, longestRun, mergedRun, NONE, setRange } from "./bitmap";

@unmanaged
class Pool {
  magic: u32;
  frameCount: u32;
  frames: u32;
  freeCount: u32;
  lowest: u32;
  cursor: u32;
  longest: u32;
}
if (offsetof<Pool>() > 64) ERROR("the header of a Pool is 64 bytes");

const HEADER_BYTES: u32 = 64;
const POOL_MAGIC: u32 = 0x4c4f4f50; // "POOL"
const FRAME_SHIFT: u32 = 12;
const FRAME_COUNT_MAX: u32 = 1 << 20; // 4 GiB, all the memory there can be

function wordCount(bits: u32): u32 {
  return (bits + 63) >> 6;
}

function usedMap(base: usize): usize {
  return base + HEADER_BYTES;
}

function fullMap(base: usize, frameCount: u32): usize {
  return base + HEADER_BYTES + wordCount(frameCount) * 8;
}

export function poolBytes(frameCount: u32): u32 {
  if (frameCount == 0 || frameCount > FRAME_COUNT_MAX) return 0;
  const words = wordCount(frameCount);
  return HEADER_BYTES + (words + wordCount(words)) * 8;
}

function poolAt(base: usize): Pool {
  const pool = changetype<Pool>(base);
  assert((base & 7) == 0 && pool.magic == POOL_MAGIC);
  return pool;
}

export function initPool(base: usize, frameCount: u32, frames: usize): i32 {
  const bytes = poolBytes(frameCount);
  if (bytes == 0 || base == 0 || (base & 7) != 0 || frames == 0) return -EINVAL;
  if (<u64>base + bytes > memoryBytes()) return -EINVAL;
  const framesEnd = <u64>frames + ((<u64>frameCount) << FRAME_SHIFT);
  if (framesEnd > memoryBytes()) return -EINVAL;
  if (<u64>base < framesEnd && <u64>frames < <u64>base + bytes) return -EINVAL;

  memory.fill(base, 0, bytes);
  const pool = changetype<Pool>(base);
  pool.magic = POOL_MAGIC;
  pool.frameCount = frameCount;
  pool.frames = u32(frames);
  pool.freeCount = frameCount;
  pool.longest = frameCount;
  const words = wordCount(frameCount);
  setRange(usedMap(base), frameCount, words * 64 - frameCount);
  setRange(fullMap(base, frameCount), words, wordCount(words) * 64 - words);
  return 0;
}

export function allocFrames(base: usize, count: u32): usize {
  const pool = poolAt(base);
  if (count == 0 || count > pool.longest) return 0;
  const start = count == 1 ? findSingle(base, pool) : findFrames(base, pool, count);
  if (start == NONE) {
    pool.longest = u32(longestRun(usedMap(base), pool.frameCount));
    return 0;
  }
  setRange(usedMap(base), start, count);
  noteFull(base, pool, start, count);
  pool.freeCount -= count;
  if (pool.longest > pool.freeCount) pool.longest = pool.freeCount;
  if (start == pool.lowest) pool.lowest = start + count;
  if (count > 1) pool.cursor = start + count;
  return <usize>pool.frames + ((<usize>start) << FRAME_SHIFT);
}

function findSingle(base: usize, pool: Pool): u32 {
  const words = wordCount(pool.frameCount);
  const word = firstFree(fullMap(base, pool.frameCount), pool.lowest >> 6, words);
  if (word == words) return NONE;
  // Frames below `lowest` are taken, so its word needs no mask.
  const frame = firstFree(usedMap(base), word << 6, pool.frameCount);
  pool.lowest = frame;
  return frame;
}

function findFrames(base: usize, pool: Pool, count: u32): u32 {
  const used = usedMap(base);
  const start = findRun(used, pool.cursor, pool.frameCount, count);
  if (start != NONE) return start;
  return findRun(used, pool.lowest, min(pool.cursor + count - 1, pool.frameCount), count);
}

function noteFull(base: usize, pool: Pool, start: u32, count: u32): void {
  const used = usedMap(base);
  const full = fullMap(base, pool.frameCount);
  const last = (start + count - 1) >> 6;
  for (let word = start >> 6; word <= last; word++) {
    if (load<u64>(used + (word << 3)) == u64.MAX_VALUE) setRange(full, word, 1);
  }
}

export function freeFrames(base: usize, address: usize, count: u32): void {
  const pool = poolAt(base);
  const offset = address - pool.frames;
  assert(address >= pool.frames && (offset & ((1 << FRAME_SHIFT) - 1)) == 0);
  const start = u32(offset >> FRAME_SHIFT);
  assert(count > 0 && <u64>start + count <= <u64>pool.frameCount);
  const used = usedMap(base);
  assert(firstFree(used, start, start + count) == start + count);

  clearRange(used, start, count);
  const firstWord = start >> 6;
  clearRange(fullMap(base, pool.frameCount), firstWord, ((start + count - 1) >> 6) - firstWord + 1);
  pool.freeCount += count;
  if (start < pool.lowest) pool.lowest = start;
  if (pool.longest < pool.freeCount) {
    const merged = min(mergedRun(used, start, count, pool.frameCount), pool.freeCount);
    if (merged > pool.longest) pool.longest = merged;
  }
}

export function freeFrameCount(base: usize): u32 {
  return poolAt(base).freeCount;
}

export function longestFrames(base: usize): u32 {
  const pool = poolAt(base);
  pool.longest = u32(longestRun(usedMap(base), pool.frameCount));
  return pool.longest;
}

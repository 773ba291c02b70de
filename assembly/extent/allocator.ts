/**
 * Free space of one device: bitmaps by region, loaded when needed, under summaries that are always there.
 *
 * Runs never cross a region. A search that fails in a region lowers that region's bound to the exact length, so the
 * same request does not look there again until something is freed; a free raises the bound. Rejected: trees of free
 * extents, 5 to 50 times slower for short runs, with memory that grows with fragmentation.
 */
import { EAGAIN, EBUSY, EEXIST, EINVAL, ENOENT, ENOSPC } from "../lib/errno";
import { isWhole, memoryBytes } from "../lib/whole";
import {
  clearRange,
  countUsed,
  findRun,
  firstFree,
  firstUsed,
  longestRun,
  mergedRun,
  NONE,
  setRange,
} from "./bitmap";
import {
  highestLongest,
  nearestRegion,
  REGION_COUNT_MAX,
  regionBitmap,
  regionCursor,
  regionFree,
  regionLongest,
  regionSize,
  Space,
  setRegionBitmap,
  setRegionCursor,
  setRegionFree,
  setRegionLongest,
  spaceAt,
  spaceBytes,
  spaceReset,
} from "./summary";

const BLOCK_COUNT_MAX: f64 = 281474976710656.0; // 2^48: what a page pointer can name
const REGION_BLOCKS_MIN: u32 = 32768;
const REGION_BLOCKS_MAX: u32 = 0x80000000;
const ATTACHED_ONLY: u32 = 1;
/** How many of the most promising regions to measure before the best so far will do. */
const CANDIDATES_MAX: u32 = 8;

export function initSpace(base: usize, blockCount: f64, regionBlocks: u32): i32 {
  if (!isWhole(blockCount, BLOCK_COUNT_MAX) || blockCount < 1.0) return -EINVAL;
  if (regionBlocks < REGION_BLOCKS_MIN || regionBlocks > REGION_BLOCKS_MAX) return -EINVAL;
  if (popcnt(regionBlocks) != 1 || base == 0 || (base & 7) != 0) return -EINVAL;
  const shift = u32(ctz(regionBlocks));
  const regionCount = (u64(blockCount) + regionBlocks - 1) >> shift;
  if (regionCount > REGION_COUNT_MAX) return -EINVAL;
  if (<u64>base + spaceBytes(u32(regionCount)) > memoryBytes()) return -EINVAL;
  spaceReset(base, u64(blockCount), shift, u32(regionCount));
  return i32(regionCount);
}

export function setSummary(base: usize, region: u32, free: u32, longest: u32): i32 {
  const space = spaceAt(base);
  if (region >= space.regionCount) return -EINVAL;
  if (free > regionSize(space, region) || longest > free) return -EINVAL;
  if (regionBitmap(space, region) != 0) return -EBUSY;
  setRegionFree(space, region, free);
  setRegionLongest(space, region, longest);
  return 0;
}

export function freeOf(base: usize, region: u32): i32 {
  const space = spaceAt(base);
  return region < space.regionCount ? i32(regionFree(space, region)) : -EINVAL;
}

export function longestOf(base: usize, region: u32): i32 {
  const space = spaceAt(base);
  return region < space.regionCount ? i32(regionLongest(space, region)) : -EINVAL;
}

export function attach(base: usize, region: u32, bitmap: usize): i32 {
  const space = spaceAt(base);
  if (region >= space.regionCount || bitmap == 0 || (bitmap & 7) != 0) return -EINVAL;
  const bitmapBytes = (u64(1) << space.regionShift) >> 3;
  if (<u64>bitmap + bitmapBytes > memoryBytes()) return -EINVAL;
  const spaceEnd = <u64>base + spaceBytes(space.regionCount);
  if (<u64>bitmap < spaceEnd && <u64>base < <u64>bitmap + bitmapBytes) return -EINVAL;
  if (regionBitmap(space, region) != 0) return -EEXIST;

  const size = regionSize(space, region);
  setRange(bitmap, size, (u32(1) << space.regionShift) - size);
  setRegionFree(space, region, size - countUsed(bitmap, 0, size));
  setRegionLongest(space, region, u32(longestRun(bitmap, size)));
  setRegionBitmap(space, region, bitmap);
  setRegionCursor(space, region, 0);
  return 0;
}

export function detach(base: usize, region: u32): i32 {
  const space = spaceAt(base);
  if (region >= space.regionCount) return -EINVAL;
  if (regionBitmap(space, region) == 0) return -ENOENT;
  setRegionBitmap(space, region, 0);
  return 0;
}

export function attached(base: usize, region: u32): usize {
  const space = spaceAt(base);
  return region < space.regionCount ? regionBitmap(space, region) : 0;
}

export function alloc(
  base: usize,
  goal: f64,
  wanted: u32,
  minCount: u32,
  flags: u32,
  result: usize,
): i32 {
  const space = spaceAt(base);
  if (!isWhole(goal, BLOCK_COUNT_MAX) || u64(goal) >= space.blockCount) return -EINVAL;
  if (minCount == 0 || wanted < minCount || flags > ATTACHED_ONLY) return -EINVAL;
  const shift = space.regionShift;
  const count = min(wanted, u32(1) << shift);
  if (count < minCount) return -ENOSPC;
  const goalRegion = u32(u64(goal) >> shift);
  const goalBit = u32(u64(goal) & ((u64(1) << shift) - 1));

  if (regionBitmap(space, goalRegion) != 0 && regionLongest(space, goalRegion) >= count) {
    const start = searchRegion(space, goalRegion, goalBit, count);
    if (start != NONE) return take(space, goalRegion, start, count, result);
  }
  // Each turn that does not return lowers one bound below count.
  for (let turn: u32 = 0; turn <= space.regionCount; turn++) {
    const region = nearestRegion(space, goalRegion, count, true);
    if (region == NONE) break;
    const start = searchRegion(space, region, regionCursor(space, region), count);
    if (start != NONE) return take(space, region, start, count, result);
  }
  const mayLoad = flags != ATTACHED_ONLY;
  if (mayLoad) {
    const region = nearestRegion(space, goalRegion, count, false);
    if (region != NONE) return askFor(region, result);
  }
  if (minCount < count) {
    if (takeLongest(space, goalRegion, minCount, result)) return 0;
    if (mayLoad) {
      const unread = nearestRegion(space, goalRegion, minCount, false);
      if (unread != NONE) return askFor(unread, result);
    }
  }
  return -ENOSPC;
}

/** First run at or after `from`, else from the region's start on; on failure the bound becomes exact. */
function searchRegion(space: Space, region: u32, from: u32, count: u32): u32 {
  const bitmap = regionBitmap(space, region);
  const size = regionSize(space, region);
  let start = findRun(bitmap, from, size, count);
  if (start != NONE) return start;
  // What lies at or after `from` was seen: a run found now begins before it.
  const end = u32(min(<u64>from + count - 1, <u64>size));
  start = findRun(bitmap, 0, end, count);
  if (start == NONE) setRegionLongest(space, region, u32(longestRun(bitmap, size)));
  return start;
}

/**
 * Takes about the longest run of all attached regions: measures those with the highest bounds until one is sure to have
 * it, or enough were measured and one will do.
 *
 * @returns Whether a run of minCount was found; if not, no attached region has one.
 */
function takeLongest(space: Space, goalRegion: u32, minCount: u32, result: usize): bool {
  let best = NONE;
  let bestRun: u64 = 0;
  for (let turn: u32 = 0; turn <= space.regionCount; turn++) {
    const bound = highestLongest(space, true);
    if (bound < minCount || bound == u32(bestRun)) break;
    if (turn >= CANDIDATES_MAX && best != NONE) break;
    const region = nearestRegion(space, goalRegion, bound, true);
    const run = longestRun(regionBitmap(space, region), regionSize(space, region));
    const length = u32(run);
    setRegionLongest(space, region, length);
    if (length >= minCount && length > u32(bestRun)) {
      best = region;
      bestRun = run;
    }
  }
  if (best == NONE) return false;
  take(space, best, u32(bestRun >> 32), u32(bestRun), result);
  return true;
}

function take(space: Space, region: u32, start: u32, count: u32, result: usize): i32 {
  setRange(regionBitmap(space, region), start, count);
  const free = regionFree(space, region) - count;
  setRegionFree(space, region, free);
  if (regionLongest(space, region) > free) setRegionLongest(space, region, free);
  setRegionCursor(space, region, start + count);
  store<f64>(result, f64(((<u64>region) << space.regionShift) + start));
  store<u32>(result, count, 8);
  store<u32>(result, region, 12);
  return 0;
}

function askFor(region: u32, result: usize): i32 {
  store<u32>(result, region, 12);
  return -EAGAIN;
}

/** Region of a run that lies in one region of the device, NONE for any other. */
function regionOf(space: Space, start: f64, count: u32): u32 {
  if (!isWhole(start, BLOCK_COUNT_MAX) || count == 0) return NONE;
  const first = u64(start);
  const last = first + count - 1;
  if (last >= space.blockCount) return NONE;
  const region = first >> space.regionShift;
  return region == last >> space.regionShift ? u32(region) : NONE;
}

function bitOf(space: Space, start: f64): u32 {
  return u32(u64(start) & ((u64(1) << space.regionShift) - 1));
}

export function mark(base: usize, start: f64, count: u32): i32 {
  const space = spaceAt(base);
  const region = regionOf(space, start, count);
  if (region == NONE) return -EINVAL;
  const bitmap = regionBitmap(space, region);
  if (bitmap == 0) return -EAGAIN;
  const bit = bitOf(space, start);
  if (firstUsed(bitmap, bit, bit + count) != bit + count) return -EEXIST;
  setRange(bitmap, bit, count);
  const free = regionFree(space, region) - count;
  setRegionFree(space, region, free);
  if (regionLongest(space, region) > free) setRegionLongest(space, region, free);
  return 0;
}

export function release(base: usize, start: f64, count: u32): i32 {
  const space = spaceAt(base);
  const region = regionOf(space, start, count);
  if (region == NONE) return -EINVAL;
  const bitmap = regionBitmap(space, region);
  if (bitmap == 0) return -EAGAIN;
  const bit = bitOf(space, start);
  if (firstFree(bitmap, bit, bit + count) != bit + count) return -ENOENT;
  clearRange(bitmap, bit, count);
  const free = regionFree(space, region) + count;
  setRegionFree(space, region, free);
  if (regionLongest(space, region) < free) {
    const merged = min(mergedRun(bitmap, bit, count, regionSize(space, region)), free);
    if (merged > regionLongest(space, region)) setRegionLongest(space, region, merged);
  }
  return 0;
}

export function isUsed(base: usize, start: f64, count: u32): i32 {
  const space = spaceAt(base);
  const region = regionOf(space, start, count);
  if (region == NONE) return -EINVAL;
  const bitmap = regionBitmap(space, region);
  if (bitmap == 0) return -EAGAIN;
  const bit = bitOf(space, start);
  const end = bit + count;
  if (firstFree(bitmap, bit, end) == end) return 1;
  return firstUsed(bitmap, bit, end) == end ? 0 : 2;
}

export function freeTotal(base: usize): f64 {
  return f64(spaceAt(base).freeTotal);
}

export function clearBits(bitmap: usize, firstBit: u32, count: u32): u32 {
  assert(<u64>firstBit + count <= REGION_BLOCKS_MAX);
  return clearRange(bitmap, firstBit, count);
}

export function countBits(bitmap: usize, bitCount: u32): u32 {
  assert(bitCount <= REGION_BLOCKS_MAX);
  return countUsed(bitmap, 0, bitCount);
}

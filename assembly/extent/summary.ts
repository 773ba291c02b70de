/**
 * What is known of every region without its bitmap: free blocks, an upper bound of the longest free run, and where the
 * bitmap lies if it is attached. Above it a level of maxima over groups of 64 regions, once over all regions and once
 * over attached ones, so that a search looks at few of them and an impossible one at none.
 *
 *     base      Space header, 64 bytes
 *     +64       free[R]      u32   R = regionCount rounded up to 256: rows end on whole vectors and whole groups
 *               longest[R]   u32
 *               bitmap[R]    u32   address, 0 = not attached
 *               cursor[R]    u32   where the last run taken from this region ended
 *               topAll[R/64] u32   max of longest
 *               topHere[R/64] u32  max of longest of attached regions
 *
 * Invariants: longest[r] ≥ the true longest run of r (if the host's summaries are true); each top is exactly the
 * maximum of its row; freeTotal is the sum of free.
 */
import { NONE } from "./bitmap";

@unmanaged
export class Space {
  blockCount: u64;
  freeTotal: u64;
  magic: u32;
  regionShift: u32;
  regionCount: u32;
  rowLength: u32;
}
if (offsetof<Space>() > 64) ERROR("the header of a Space is 64 bytes");

const HEADER_BYTES: u32 = 64;
export const SPACE_MAGIC: u32 = 0x43415053; // "SPAC"
export const REGION_COUNT_MAX: u32 = 65536;

function rowLength(regionCount: u32): u32 {
  return (regionCount + 255) & ~255;
}

export function spaceBytes(regionCount: u32): u32 {
  if (regionCount == 0 || regionCount > REGION_COUNT_MAX) return 0;
  const row = rowLength(regionCount);
  return HEADER_BYTES + row * 16 + (row >> 6) * 8;
}

/** The allocator at a base that was initialised; traps at any other. */
export function spaceAt(base: usize): Space {
  const space = changetype<Space>(base);
  assert((base & 7) == 0 && space.magic == SPACE_MAGIC);
  return space;
}

/** Writes the header and empty rows. The caller has checked the arguments. */
export function spaceReset(base: usize, blockCount: u64, regionShift: u32, regionCount: u32): void {
  memory.fill(base, 0, spaceBytes(regionCount));
  const space = changetype<Space>(base);
  space.blockCount = blockCount;
  space.regionShift = regionShift;
  space.regionCount = regionCount;
  space.rowLength = rowLength(regionCount);
  space.magic = SPACE_MAGIC;
}

function row(space: Space, index: u32): usize {
  return changetype<usize>(space) + HEADER_BYTES + index * space.rowLength * 4;
}

function topRow(space: Space, here: bool): usize {
  const tops = row(space, 4);
  return here ? tops + (space.rowLength >> 6) * 4 : tops;
}

export function regionFree(space: Space, region: u32): u32 {
  return load<u32>(row(space, 0) + region * 4);
}

export function regionLongest(space: Space, region: u32): u32 {
  return load<u32>(row(space, 1) + region * 4);
}

export function regionBitmap(space: Space, region: u32): usize {
  return load<u32>(row(space, 2) + region * 4);
}

export function regionCursor(space: Space, region: u32): u32 {
  return load<u32>(row(space, 3) + region * 4);
}

export function setRegionCursor(space: Space, region: u32, cursor: u32): void {
  store<u32>(row(space, 3) + region * 4, cursor);
}

/** Blocks of a region: fewer in the last one. */
export function regionSize(space: Space, region: u32): u32 {
  const shift = space.regionShift;
  const rest = space.blockCount - ((<u64>region) << shift);
  return u32(min(rest, u64(1) << shift));
}

export function setRegionFree(space: Space, region: u32, free: u32): void {
  const address = row(space, 0) + region * 4;
  space.freeTotal += free - <u64>load<u32>(address);
  store<u32>(address, free);
}

export function setRegionLongest(space: Space, region: u32, longest: u32): void {
  const address = row(space, 1) + region * 4;
  const before = load<u32>(address);
  if (before == longest) return;
  store<u32>(address, longest);
  raiseOrRecompute(space, false, region, before, longest);
  if (regionBitmap(space, region) != 0) raiseOrRecompute(space, true, region, before, longest);
}

/** Attaches (an address) or detaches (0); the maxima of attached regions follow. */
export function setRegionBitmap(space: Space, region: u32, bitmap: usize): void {
  store<u32>(row(space, 2) + region * 4, u32(bitmap));
  store<u32>(topRow(space, true) + (region >> 6) * 4, groupMax(space, true, region >> 6));
}

function raiseOrRecompute(space: Space, here: bool, region: u32, before: u32, after: u32): void {
  const top = topRow(space, here) + (region >> 6) * 4;
  const max = load<u32>(top);
  if (after >= max) store<u32>(top, after);
  else if (before == max) store<u32>(top, groupMax(space, here, region >> 6));
}

function groupMax(space: Space, here: bool, group: u32): u32 {
  const longest = row(space, 1) + group * 256;
  const bitmaps = row(space, 2) + group * 256;
  let max = i32x4.splat(0);
  for (let offset: u32 = 0; offset < 256; offset += 16) {
    let lanes = v128.load(longest + offset);
    if (here) lanes = v128.and(lanes, i32x4.ne(v128.load(bitmaps + offset), i32x4.splat(0)));
    max = v128.max<u32>(max, lanes);
  }
  return lanesMax(max);
}

function lanesMax(lanes: v128): u32 {
  const a = max(<u32>i32x4.extract_lane(lanes, 0), <u32>i32x4.extract_lane(lanes, 1));
  const b = max(<u32>i32x4.extract_lane(lanes, 2), <u32>i32x4.extract_lane(lanes, 3));
  return max(a, b);
}

/** Highest upper bound of all regions, or of all attached ones. */
export function highestLongest(space: Space, here: bool): u32 {
  const top = topRow(space, here);
  const bytes = (space.rowLength >> 6) * 4;
  let max = i32x4.splat(0);
  for (let offset: u32 = 0; offset < bytes; offset += 16) {
    max = v128.max<u32>(max, v128.load(top + offset));
  }
  return lanesMax(max);
}

/**
 * The region whose bound is at least `count`, in the group nearest to `goalRegion`'s and there nearest to it.
 *
 * @param here Attached regions only.
 * @returns NONE when there is no such region.
 */
export function nearestRegion(space: Space, goalRegion: u32, count: u32, here: bool): u32 {
  if (highestLongest(space, here) < count) return NONE;
  const top = topRow(space, here);
  const groups = space.rowLength >> 6;
  const goalGroup = goalRegion >> 6;
  for (let distance: u32 = 0; distance < groups; distance++) {
    const above = goalGroup + distance;
    if (above < groups && load<u32>(top + above * 4) >= count) {
      return nearestInGroup(space, above, goalRegion, count, here);
    }
    if (distance > goalGroup) continue;
    const below = goalGroup - distance;
    if (load<u32>(top + below * 4) >= count) {
      return nearestInGroup(space, below, goalRegion, count, here);
    }
  }
  return NONE;
}

function nearestInGroup(space: Space, group: u32, goal: u32, count: u32, here: bool): u32 {
  let nearest = NONE;
  let nearestDistance = NONE;
  const end = min((group + 1) << 6, space.regionCount);
  for (let region = group << 6; region < end; region++) {
    if (regionLongest(space, region) < count) continue;
    if (here && regionBitmap(space, region) == 0) continue;
    const distance = region > goal ? region - goal : goal - region;
    if (distance < nearestDistance) {
      nearest = region;
      nearestDistance = distance;
    }
  }
  return nearest;
}

/**
 * Scans and changes of a bitmap in memory, 1 = used, used by the allocator and the buffer pool.
 *
 * Bit b is bit (b & 63) of the little-endian u64 at byte (b >> 6) × 8. Ranges are [from, end) in bits, at most 2^31,
 * and bytes outside the words that hold a range are neither read nor written. All loops go forward a word or more, so
 * they end after (end − from) / 64 steps.
 */

/** What a search returns when it finds nothing: no valid bit number. */
export const NONE: u32 = 0xffffffff;

/** First free bit, or `end`. */
export function firstFree(map: usize, from: u32, end: u32): u32 {
  if (from >= end) return end;
  let at = from & ~63;
  let word = load<u64>(map + (at >> 3)) | ((u64(1) << (from & 63)) - 1);
  while (word == u64.MAX_VALUE) {
    at += 64;
    while (at + 128 <= end && v128.all_true<i32>(allUsed(map + (at >> 3)))) at += 128;
    if (at >= end) return end;
    word = load<u64>(map + (at >> 3));
  }
  return min(at + u32(ctz(~word)), end);
}

/** First used bit, or `end`. */
export function firstUsed(map: usize, from: u32, end: u32): u32 {
  if (from >= end) return end;
  let at = from & ~63;
  let word = load<u64>(map + (at >> 3)) & (u64.MAX_VALUE << (from & 63));
  while (word == 0) {
    at += 64;
    while (at + 128 <= end && !v128.any_true(v128.load(map + (at >> 3)))) at += 128;
    if (at >= end) return end;
    word = load<u64>(map + (at >> 3));
  }
  return min(at + u32(ctz(word)), end);
}

/** First bit of the free run that ends just before `before`, not looking below `from`; `before` if that bit is used. */
export function freeRunStart(map: usize, from: u32, before: u32): u32 {
  let at = before;
  while (at > from) {
    const base = (at - 1) & ~63;
    const mask = u64.MAX_VALUE >> (63 - ((at - 1) & 63));
    const word = load<u64>(map + (base >> 3)) & mask;
    if (word != 0) return max(base + 64 - u32(clz(word)), from);
    at = base;
  }
  return from;
}

/**
 * First run of `count` free bits inside [from, end), by its lowest position.
 *
 * @param count 1 or more.
 * @returns Its first bit, or NONE.
 */
export function findRun(map: usize, from: u32, end: u32, count: u32): u32 {
  if (end <= from || end - from < count) return NONE;
  if (count == 1) {
    const at = firstFree(map, from, end);
    return at < end ? at : NONE;
  }
  return count < 128 ? findShortRun(map, from, end, count) : findLongRun(map, from, end, count);
}

/** Word by word, with the number of free bits that end the previous word. */
function findShortRun(map: usize, from: u32, end: u32, count: u32): u32 {
  let freeBefore: u32 = 0;
  let at = from & ~63;
  while (at < end) {
    let word = load<u64>(map + (at >> 3));
    if (at < from) word |= (u64(1) << (from & 63)) - 1;
    if (end - at < 64) word |= u64.MAX_VALUE << (end & 63);
    if (word == u64.MAX_VALUE) {
      freeBefore = 0;
      at += 64;
      while (at + 128 <= end && v128.all_true<i32>(allUsed(map + (at >> 3)))) at += 128;
      continue;
    }
    const leading = u32(ctz(word));
    if (freeBefore + leading >= count) return at - freeBefore;
    if (word == 0) {
      freeBefore += 64;
    } else {
      if (count <= 63) {
        const starts = runStarts(~word, count);
        if (starts != 0) return at + u32(ctz(starts));
      }
      freeBefore = u32(clz(word));
    }
    at += 64;
  }
  return NONE;
}

/**
 * A run of `count` ≥ 127 bits holds at least (count − 63) / 64 whole free words, so it is enough to look at every
 * such-and-such word; the run around a free one is then measured.
 */
function findLongRun(map: usize, from: u32, end: u32, count: u32): u32 {
  const stride = (count - 63) >> 6;
  const words = end >> 6;
  let probe = ((from + 63) >> 6) + stride - 1;
  while (probe < words) {
    if (load<u64>(map + (probe << 3)) != 0) {
      probe += stride;
      continue;
    }
    const start = freeRunStart(map, from, probe << 6);
    const stop = min(end, start + count);
    const used = firstUsed(map, probe << 6, stop);
    if (used - start >= count) return start;
    probe = (used >> 6) + stride;
  }
  return NONE;
}

/** Bits at which `count` (1 to 64) set bits in a row begin. */
function runStarts(free: u64, count: u32): u64 {
  let starts = free;
  let have: u32 = 1;
  while (have < count) {
    const step = min(have, count - have);
    starts &= starts >> step;
    have += step;
  }
  return starts;
}

/** The longest free run of [0, end): its first bit × 2^32 + its length; 0 when all are used. */
export function longestRun(map: usize, end: u32): u64 {
  let best: u32 = 0;
  let bestStart: u32 = 0;
  let freeBefore: u32 = 0;
  for (let at: u32 = 0; at < end; at += 64) {
    let word = load<u64>(map + (at >> 3));
    if (end - at < 64) word |= u64.MAX_VALUE << (end & 63);
    if (word == u64.MAX_VALUE) {
      freeBefore = 0;
      continue;
    }
    const run = freeBefore + u32(ctz(word));
    if (run > best) {
      best = run;
      bestStart = at - freeBefore;
    }
    if (word == 0) {
      freeBefore += 64;
      continue;
    }
    // A used bit is in this word: runs inside are 63 at most.
    if (best < 63) {
      const free = ~word;
      let starts = runStarts(free, best + 1);
      while (starts != 0) {
        best++;
        bestStart = at + u32(ctz(starts));
        starts &= free >> best;
      }
    }
    freeBefore = u32(clz(word));
  }
  return ((<u64>bestStart) << 32) | best;
}

/** How far around a freed run to look: a longer neighbour does not need an exact length. */
const MERGE_LIMIT: u32 = 2048;

/**
 * Upper bound of the free run that [start, start + count) lies in, all of whose bits are free: exact as long as its
 * ends are within MERGE_LIMIT, else NONE (as good as infinite).
 */
export function mergedRun(map: usize, start: u32, count: u32, end: u32): u32 {
  const low = start > MERGE_LIMIT ? start - MERGE_LIMIT : 0;
  const first = freeRunStart(map, low, start);
  if (first == low && low != 0) return NONE;
  const stop = start + count;
  const high = end - stop > MERGE_LIMIT ? stop + MERGE_LIMIT : end;
  const last = firstUsed(map, stop, high);
  if (last == high && high != end) return NONE;
  return last - first;
}

export function setRange(map: usize, from: u32, count: u32): void {
  const end = from + count;
  let at = from & ~63;
  while (at < end) {
    const address = map + (at >> 3);
    store<u64>(address, load<u64>(address) | wordMask(at, from, end));
    at += 64;
  }
}

/** Clears a range. @returns How many of its bits were set. */
export function clearRange(map: usize, from: u32, count: u32): u32 {
  const end = from + count;
  let cleared: u32 = 0;
  let at = from & ~63;
  while (at < end) {
    const address = map + (at >> 3);
    const word = load<u64>(address);
    const mask = wordMask(at, from, end);
    cleared += u32(popcnt(word & mask));
    store<u64>(address, word & ~mask);
    at += 64;
  }
  return cleared;
}

export function countUsed(map: usize, from: u32, count: u32): u32 {
  const end = from + count;
  let used: u32 = 0;
  let at = from & ~63;
  while (at < end) {
    used += u32(popcnt(load<u64>(map + (at >> 3)) & wordMask(at, from, end)));
    at += 64;
  }
  return used;
}

/** The bits of the word at `at` that lie in [from, end), which it meets. */
function wordMask(at: u32, from: u32, end: u32): u64 {
  let mask = u64.MAX_VALUE;
  if (at < from) mask <<= from & 63;
  if (end - at < 64) mask &= ~(u64.MAX_VALUE << (end & 63));
  return mask;
}

/** Lanes of 32 bits, all ones where all bits are used. */
function allUsed(address: usize): v128 {
  return i32x4.eq(v128.load(address), i32x4.splat(-1));
}

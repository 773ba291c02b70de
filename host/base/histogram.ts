/**
 * Histograms of positive numbers in log-linear buckets: 16 to each power of two, so that what is read out is within a
 * thirty-second of what was put in, over 9 decades, in 4 KiB.
 *
 * A bucket's index is the exponent and the first four bits of the mantissa as the number has them in memory: putting one
 * in costs a few nanoseconds and allocates nothing. Whole numbers below 32 each have a bucket of their own.
 *
 * Counts leave the engine as HistogramCounts, which can be added and subtracted; percentiles are the reader's work.
 */

/** Values below 2^EXPONENT_MIN share the first bucket, those from 2^EXPONENT_END on the last. */
const EXPONENT_MIN = -2;
const EXPONENT_END = 30;
const SUB_BITS = 4;
const SUB_COUNT: number = 1 << SUB_BITS;
export const BUCKET_COUNT: number = (EXPONENT_END - EXPONENT_MIN) * SUB_COUNT;

/** The upper half of a double: 1 bit of sign, 11 of exponent, 20 of mantissa. */
const SHIFT: number = 20 - SUB_BITS;
const FIRST: number = (1023 + EXPONENT_MIN) * SUB_COUNT;
// Behind the buckets.
const SUM: number = BUCKET_COUNT;
const MAX: number = BUCKET_COUNT + 1;
const CELLS: number = BUCKET_COUNT + 2;

const scratch: Float64Array<ArrayBuffer> = new Float64Array(1);
/** Little-endian, as Wasm's memory. */
const scratchWords: Uint32Array<ArrayBuffer> = new Uint32Array(scratch.buffer);

/** What a histogram holds: `buckets` is index, count, index, count …, ascending, without empty ones. */
export interface HistogramCounts {
  readonly count: number;
  readonly sum: number;
  /** Exact since the beginning; of a difference it is the upper end of the highest bucket, when it was not raised. */
  readonly max: number;
  readonly buckets: readonly number[];
}

export const NO_COUNTS: HistogramCounts = { count: 0, sum: 0, max: 0, buckets: [] };

export class Histogram {
  /** null: nothing has been counted. Most pools are opened for a moment, and use few of theirs. */
  #cells: Float64Array | null;

  /** @param cells Zeros to count in, from Histogram.rows(); own ones by default. */
  constructor(cells: Float64Array | null = null) {
    this.#cells = cells;
  }

  /** So many histograms in one array. */
  static rows(count: number): Histogram[] {
    const cells = new Float64Array(count * CELLS);
    return Array.from(
      { length: count },
      (_, row) => new Histogram(cells.subarray(row * CELLS, (row + 1) * CELLS)),
    );
  }

  /** @param value What is not above 0 counts as 0. */
  record(value: number): void {
    this.#cells ??= new Float64Array(CELLS);
    const cells = this.#cells;
    const index = bucketOf(value);
    cells[index] = (cells[index] as number) + 1;
    cells[SUM] = (cells[SUM] as number) + value;
    if (value > (cells[MAX] as number)) cells[MAX] = value;
  }

  counts(): HistogramCounts {
    const cells = this.#cells;
    if (cells === null) return NO_COUNTS;
    const buckets: number[] = [];
    let count = 0;
    for (let index = 0; index < BUCKET_COUNT; index += 1) {
      const inBucket = cells[index] as number;
      if (inBucket === 0) continue;
      buckets.push(index, inBucket);
      count += inBucket;
    }
    return { count, sum: cells[SUM] as number, max: cells[MAX] as number, buckets };
  }
}

/** @returns 0 ≤ index < BUCKET_COUNT. */
export function bucketOf(value: number): number {
  if (!(value > 0)) return 0;
  scratch[0] = value;
  const index = ((scratchWords[1] as number) >>> SHIFT) - FIRST;
  if (index < 0) return 0;
  return index < BUCKET_COUNT ? index : BUCKET_COUNT - 1;
}

/** The smallest value of a bucket, and so the end of the one before it. */
export function bucketStart(index: number): number {
  if (index === 0) return 0;
  const scale = 2 ** (EXPONENT_MIN + (index >>> SUB_BITS));
  return scale * (1 + (index & (SUB_COUNT - 1)) / SUB_COUNT);
}

/**
 * The value that a share of all are not above, within a thirty-second.
 *
 * @param share 0 to 1: 0.5 for the median.
 * @returns 0 when there is nothing.
 */
export function percentile(counts: HistogramCounts, share: number): number {
  const rank = Math.max(1, Math.ceil(counts.count * share));
  if (rank >= counts.count) return counts.max;
  let seen = 0;
  for (let at = 0; at < counts.buckets.length; at += 2) {
    seen += counts.buckets[at + 1] as number;
    if (seen < rank) continue;
    const index = counts.buckets[at] as number;
    return Math.min((bucketStart(index) + bucketStart(index + 1)) / 2, counts.max);
  }
  return counts.max;
}

/** Both together. */
export function mergeCounts(one: HistogramCounts, other: HistogramCounts): HistogramCounts {
  return {
    count: one.count + other.count,
    sum: one.sum + other.sum,
    max: Math.max(one.max, other.max),
    buckets: combine(one.buckets, other.buckets, 1),
  };
}

/** What came between two readings of one histogram. */
export function countsSince(later: HistogramCounts, earlier: HistogramCounts): HistogramCounts {
  const buckets = combine(later.buckets, earlier.buckets, -1);
  const top = buckets[buckets.length - 2];
  let max = 0;
  if (later.max > earlier.max) max = later.max;
  else if (top !== undefined) max = Math.min(bucketStart(top + 1), later.max);
  return { count: later.count - earlier.count, sum: later.sum - earlier.sum, max, buckets };
}

function combine(one: readonly number[], other: readonly number[], sign: 1 | -1): number[] {
  const result: number[] = [];
  let left = 0;
  let right = 0;
  while (left < one.length || right < other.length) {
    const a = one[left] ?? BUCKET_COUNT;
    const b = other[right] ?? BUCKET_COUNT;
    const index = Math.min(a, b);
    let count = 0;
    if (a === index) {
      count += one[left + 1] as number;
      left += 2;
    }
    if (b === index) {
      count += sign * (other[right + 1] as number);
      right += 2;
    }
    if (count !== 0) result.push(index, count);
  }
  return result;
}

/** Histograms against the sorted values that went into them, and what is made of engine counters. */
import fc from "fast-check";
import t, { type Test } from "tap";
import {
  BUCKET_COUNT,
  bucketOf,
  bucketStart,
  countsSince,
  Histogram,
  type HistogramCounts,
  mergeCounts,
  NO_COUNTS,
  percentile,
} from "../../host/base/histogram.ts";

const SHARES = [0, 0.01, 0.5, 0.9, 0.99, 0.999, 1];

function of(values: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

/** The smallest value that the share of all are not above. */
function exact(sorted: readonly number[], share: number): number {
  return sorted[Math.max(1, Math.ceil(sorted.length * share)) - 1] as number;
}

function close(t: Test, counts: HistogramCounts, values: readonly number[]): void {
  const sorted = [...values].sort((a, b) => a - b);
  for (const share of SHARES) {
    const expected = exact(sorted, share);
    const found = percentile(counts, share);
    // Half of a bucket: a sixteenth of a power of two wide.
    if (Math.abs(found - expected) > expected / 32 + 1e-12)
      t.fail(`${share}: ${found}, not ${expected} of ${values.length}`);
  }
  t.equal(counts.count, values.length);
  t.equal(counts.max, sorted[sorted.length - 1]);
}

/** From a nanosecond's thousandth to minutes, dense everywhere in the logarithm. */
const values = fc.array(
  fc.double({ min: -1.9, max: 29.9, noNaN: true }).map((exponent) => 2 ** exponent),
  { minLength: 1, maxLength: 400 },
);

t.test("percentiles are within half a bucket of the sorted values", async (t) => {
  fc.assert(
    fc.property(values, (all) => close(t, of(all).counts(), all)),
    { numRuns: 200, seed: 7 },
  );
});

t.test("each bucket begins where the one before ends, and holds what lies between", async (t) => {
  for (let index = 1; index < BUCKET_COUNT; index += 1) {
    const start = bucketStart(index);
    if (start <= bucketStart(index - 1)) t.fail(`bucket ${index} begins at ${start}`);
    if (bucketOf(start) !== index) t.fail(`${start} lies in ${bucketOf(start)}, not ${index}`);
    const before = start * (1 - Number.EPSILON);
    if (bucketOf(before) !== index - 1) t.fail(`${before} lies in ${bucketOf(before)}`);
  }
  for (let whole = 1; whole < 32; whole += 1)
    t.equal(Math.floor(percentile(of([whole, 1e9]).counts(), 0.5)), whole, "whole numbers");
});

t.test("what is out of range is counted at the ends", async (t) => {
  t.equal(bucketOf(0), 0);
  t.equal(bucketOf(-1), 0);
  t.equal(bucketOf(Number.NaN), 0);
  t.equal(bucketOf(Number.MIN_VALUE), 0);
  t.equal(bucketOf(2 ** 40), BUCKET_COUNT - 1);
  t.equal(bucketOf(Number.POSITIVE_INFINITY), BUCKET_COUNT - 1);
  t.equal(of([2 ** 40]).counts().max, 2 ** 40, "the maximum stays exact");
  t.equal(percentile(NO_COUNTS, 0.5), 0);
});

t.test("two together are as one with the values of both", async (t) => {
  fc.assert(
    fc.property(values, values, (one, other) => {
      const merged = mergeCounts(of(one).counts(), of(other).counts());
      const { sum, ...whole } = of([...one, ...other]).counts();
      const { sum: mergedSum, ...rest } = merged;
      t.same(rest, whole);
      if (Math.abs(mergedSum - sum) > sum * 1e-9) t.fail(`sum ${mergedSum}, not ${sum}`);
    }),
    { numRuns: 60, seed: 8 },
  );
});

t.test("a difference is what came between", async (t) => {
  fc.assert(
    fc.property(values, values, (before, between) => {
      const histogram = of(before);
      const earlier = histogram.counts();
      for (const value of between) histogram.record(value);
      const later = histogram.counts();
      const difference = countsSince(later, earlier);
      t.same(difference.buckets, of(between).counts().buckets);
      t.equal(difference.count, between.length);
      const max = Math.max(...between);
      // Known exactly when it was raised, else by its bucket.
      if (max > earlier.max) t.equal(difference.max, max);
      else if (difference.max < max || difference.max > max * (1 + 1 / 16) + 1e-9)
        t.fail(`maximum ${difference.max}, not ${max}`);
      t.same(countsSince(later, later), { count: 0, sum: 0, max: 0, buckets: [] });
    }),
    { numRuns: 60, seed: 9 },
  );
});

t.test("rows of one array do not touch each other", async (t) => {
  const rows = Histogram.rows(3);
  rows[1]?.record(5);
  rows[1]?.record(2 ** 40);
  t.equal(rows[0]?.counts().count, 0);
  t.equal(rows[1]?.counts().count, 2);
  t.same(rows[2]?.counts(), NO_COUNTS);
});

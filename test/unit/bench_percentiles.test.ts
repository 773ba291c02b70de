/** What `npm run bench -- --tail` calls a percentile. */
import t from "tap";
import { percentileCurve, percentileOf, percentilesOf } from "../bench/percentiles.ts";

t.test("a percentile is a sample, by nearest rank", async (t) => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
  t.equal(percentileOf(hundred, 0.5), 50);
  t.equal(percentileOf(hundred, 0.9), 90);
  t.equal(percentileOf(hundred, 0.99), 99);
  t.equal(percentileOf(hundred, 0.999), 100);
  t.equal(percentileOf(hundred, 0), 1);
  t.equal(percentileOf(hundred, 1), 100);
  // 0.07 × 100 is 7.000000000000001: rounding must not make it the eighth.
  t.equal(percentileOf(hundred, 0.07), 7);
  t.equal(percentileOf([15, 20, 35, 40, 50], 0.3), 20);
  t.equal(percentileOf([7], 0.999), 7);
});

t.test("the whole row, of samples in any order", async (t) => {
  // 1 to 2000, each once: 1009 has no divisor in common with 2000.
  const samples = Array.from({ length: 2000 }, (_, index) => ((index * 1009) % 2000) + 1);
  t.same(percentilesOf(samples), {
    ...{ count: 2000, p50: 1000, p90: 1800, p99: 1980, p999: 1998, max: 2000 },
  });
  t.equal(samples[1], 1010, "and they stay as they were");
  t.equal(percentilesOf([]), null);
  // As text, 10 would come before 9.
  t.equal(percentilesOf([10, 9, 100])?.p50, 10);
});

t.test("a curve rises to the longest", async (t) => {
  const samples = Array.from({ length: 1000 }, (_, index) => 1000 - index);
  const curve = percentileCurve(samples);
  t.same(curve[0], [2, 500]);
  t.same(curve.at(-1), [1000, 1000]);
  for (const [index, [inverse, value]] of curve.entries()) {
    const [inverseBefore, valueBefore] = curve[index - 1] ?? [0, 0];
    t.ok(inverse > inverseBefore && value >= valueBefore, `point ${index}`);
  }
  t.same(percentileCurve([]), []);
  t.same(percentileCurve([3]), [[2, 3]]);
});

t.test("no samples, and no share, are errors", async (t) => {
  t.throws(() => percentileOf([], 0.5), RangeError);
  for (const share of [-0.1, 1.1, 99, Number.NaN]) {
    t.throws(() => percentileOf([1], share), RangeError);
  }
});

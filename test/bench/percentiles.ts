/**
 * Percentiles of latencies, exact: of all samples, by nearest rank (the smallest sample that at least that share of all
 * samples does not exceed), so that each value shown has been measured.
 */

/** In the unit of the samples. */
export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/**
 * @param sorted Ascending, at least one.
 * @param share 0 ≤ share ≤ 1: 0.99 is the 99th percentile.
 * @throws {RangeError} Of no samples, or another share.
 */
export function percentileOf(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) throw new RangeError("no samples");
  if (!(share >= 0 && share <= 1)) throw new RangeError(`no share: ${share}`);
  // 0.999 × 1000 is a little more than 999: what is whole but for rounding stays whole.
  const rank = Math.ceil(Number((share * sorted.length).toPrecision(12)));
  return sorted[Math.max(1, rank) - 1] as number;
}

/** @returns null of no samples, which may be in any order. */
export function percentilesOf(samples: readonly number[]): Percentiles | null {
  if (samples.length === 0) return null;
  const sorted = Float64Array.from(samples).sort();
  return {
    count: sorted.length,
    p50: percentileOf(sorted, 0.5),
    p90: percentileOf(sorted, 0.9),
    p99: percentileOf(sorted, 0.99),
    p999: percentileOf(sorted, 0.999),
    max: percentileOf(sorted, 1),
  };
}

const POINTS_A_NINE = 8;

/**
 * What is drawn of them: the higher a percentile the more of the width it gets.
 *
 * @returns Pairs of 1 / (1 − share), so 10 for the 90th percentile and 100 for the 99th, and the value there; from the
 *   median to the last share of which there is more than one sample above. Then the maximum.
 */
export function percentileCurve(samples: readonly number[]): [inverse: number, value: number][] {
  const sorted = Float64Array.from(samples).sort();
  const curve: [number, number][] = [];
  if (sorted.length === 0) return curve;
  const end = Math.max(2, sorted.length);
  for (let inverse = 2; inverse < end; inverse *= 10 ** (1 / POINTS_A_NINE)) {
    curve.push([inverse, percentileOf(sorted, 1 - 1 / inverse)]);
  }
  curve.push([end, percentileOf(sorted, 1)]);
  return curve;
}

/**
 * The figures that the last landed version reached, and what is slower than they were. All are speeds relative to ext4 in the same
 * round, 2 being twice as fast: so that a slow hour of the machine slows both.
 */

/** One row: of the ratios of all rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Baseline {
  readonly schema: "dynamicfs.bench-baseline/1";
  /** What it was measured on; figures of another machine are compared all the same, and it is said. */
  readonly machine: string;
  readonly date: string;
  readonly rounds: number;
  readonly rows: Readonly<Record<string, Spread>>;
}

/**
 * A row is slower when its median is lower than the lowest round of the baseline by more than this share of it, and no round
 * reached the baseline's median: three rounds on a busy machine may agree by chance.
 */
export const TOLERANCE = 0.15;

export interface Row {
  readonly name: string;
  /** null: not in the baseline. */
  readonly before: Spread | null;
  /** null: not measured, or every round failed. */
  readonly now: Spread | null;
  readonly verdict: "slower" | "failed" | "as before" | "faster" | "new";
}

/** Null of no ratios. */
export function spreadOf(ratios: readonly number[]): Spread | null {
  const sorted = ratios.toSorted((a, b) => a - b);
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  const high = sorted[Math.ceil((sorted.length - 1) / 2)];
  if (low === undefined || high === undefined) return null;
  return { median: (low + high) / 2, min: sorted[0] as number, max: sorted.at(-1) as number };
}

/** @param ratios By row, of each round; a row that was measured and always failed has none. */
export function compareWith(
  baseline: Baseline,
  ratios: ReadonlyMap<string, readonly number[]>,
): Row[] {
  return [...ratios].map(([name, values]): Row => {
    const before = baseline.rows[name] ?? null;
    const now = spreadOf(values);
    return { name, before, now, verdict: verdictOf(before, now) };
  });
}

function verdictOf(before: Spread | null, now: Spread | null): Row["verdict"] {
  if (now === null) return "failed";
  if (before === null) return "new";
  if (now.median < before.min * (1 - TOLERANCE) && now.max < before.median) return "slower";
  return now.median > before.max * (1 + TOLERANCE) ? "faster" : "as before";
}

/** @throws {Error} When it is not one. */
export function parseBaseline(text: string): Baseline {
  const baseline = JSON.parse(text) as Baseline;
  if (baseline.schema !== "dynamicfs.bench-baseline/1")
    throw new Error("the baseline is not a dynamicfs.bench-baseline/1");
  return baseline;
}

/** A table for people. @param titles What each row is called. */
export function describeRows(rows: readonly Row[], titles: ReadonlyMap<string, string>): string {
  const ratio = (value: number | undefined): string =>
    value === undefined ? "–" : `${value.toFixed(2)}×`;
  const range = (spread: Spread | null): string =>
    spread === null ? "" : `${ratio(spread.min)} … ${ratio(spread.max)}`;
  const lines = [["", "before", "its rounds", "now", "its rounds", ""]];
  for (const { name, before, now, verdict } of rows) {
    const title = titles.get(name) ?? name;
    lines.push([
      title,
      ratio(before?.median),
      range(before),
      ratio(now?.median),
      range(now),
      verdict,
    ]);
  }
  const widths = lines[0]?.map((_, column) =>
    Math.max(...lines.map((line) => (line[column] as string).length)),
  ) as number[];
  return lines
    .map((line) =>
      line
        .map((cell, column) => {
          const width = widths[column] as number;
          return column === 0 || column === 5 ? cell.padEnd(width) : cell.padStart(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

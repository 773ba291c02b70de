/** `dynamicfs stats`: what a mount does, since it was mounted or as it happens. */
import { CliError, usageError } from "./cli_error.ts";
import type { MountReport } from "./daemon.ts";
import type { EngineStats } from "./engine_stats.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { MountEntry } from "./mount_table.ts";
import { canonicalMountPoint, ownMounts } from "./mount_table.ts";
import { askDaemon, mountOfPool } from "./mounted_pool.ts";
import type { Output } from "./output.ts";
import { reportOf } from "./stats_report.ts";
import { intervalHeader, intervalLine, printReport } from "./stats_text.ts";

const SCHEMA = "dynamicfs.stats/1";
const SECONDS_MIN = 0.05;
const SECONDS_MAX = 86_400;
/** As vmstat: the header comes again while one can still see it. */
const LINES_PER_HEADER = 20;

interface Reading {
  readonly mount: MountReport;
  readonly stats: EngineStats;
  readonly answerMs: number;
}

/** `dynamicfs stats DIR [--interval SECONDS [--count N]]` */
export async function stats(invocation: Invocation, output: Output): Promise<ExitCode> {
  const seconds = numberOf(invocation, "interval", SECONDS_MIN, SECONDS_MAX);
  const count = numberOf(invocation, "count", 1, Number.MAX_SAFE_INTEGER);
  if (count !== null && seconds === null) throw usageError("--count", "it goes with --interval");
  if (count !== null && !Number.isInteger(count)) throw usageError("--count", "not a whole number");
  const entry = await mountOf(invocation.one("DIR"));
  let last = await read(entry);
  if (seconds === null) {
    const { mount, stats, answerMs } = last;
    const report = reportOf(stats, null, answerMs);
    if (output.machine) output.envelope(SCHEMA, { mount, ...report });
    else printReport(report, mount, output);
    return ExitCode.ok;
  }
  let dueMs = performance.now();
  for (let line = 0; count === null || line < count; line++) {
    dueMs = Math.max(dueMs + seconds * 1000, performance.now());
    await until(dueMs);
    const next = await read(entry);
    const { mount, stats, answerMs } = next;
    const report = reportOf(stats, last.stats, answerMs);
    last = next;
    // Of many documents none is the summary.
    if (output.options.ndjson) output.event("event", { schema: SCHEMA, mount, ...report });
    else if (output.machine) output.envelope(SCHEMA, { mount, ...report });
    else if (output.options.verbosity > 0) printReport(report, mount, output);
    else {
      if (line % LINES_PER_HEADER === 0 && !output.options.noHeader)
        output.data(output.style("bold", intervalHeader()));
      output.data(intervalLine(report, output.options.noHeader));
    }
  }
  return ExitCode.ok;
}

/** @throws {CliError} As `status` says it. */
async function mountOf(target: string): Promise<MountEntry> {
  const entries = ownMounts();
  const at = canonicalMountPoint(target);
  // A later mount covers an earlier one.
  const entry =
    entries.findLast((each) => each.mountPoint === at) ?? (await mountOfPool(target, entries));
  if (entry !== null) return entry;
  await import("./unmounted_pool.ts").then((module) => module.readUnmounted(target));
  throw new CliError({
    exitCode: ExitCode.notFound,
    what: `cannot get stats of ${target}`,
    why: "it is not mounted",
    try: "dynamicfs mounts",
  });
}

async function read(entry: MountEntry): Promise<Reading> {
  const { stats, ...rest } = await askDaemon<
    Omit<Reading, "stats"> & { readonly stats: EngineStats | null }
  >(entry, "stats");
  if (stats === null) throw ending(entry.mountPoint);
  return { stats, ...rest };
}

function ending(mountPoint: string): CliError {
  return new CliError({
    exitCode: ExitCode.failed,
    what: `cannot get stats of ${mountPoint}`,
    why: "it is being unmounted",
  });
}

function numberOf(invocation: Invocation, flag: string, min: number, max: number): number | null {
  const text = invocation.text(flag);
  if (text === undefined) return null;
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw usageError(`--${flag} ${text}`, `it is a number from ${min} to ${max}`);
}

function until(dueMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, Math.max(0, dueMs - performance.now()));
  });
}

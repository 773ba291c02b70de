/**
 * From an engine's counters (engine_stats.ts) to what `dynamicfs stats` says: differences, rates, percentiles, and text.
 * Times of operations are microseconds, rounded to a tenth; others are milliseconds.
 */
import { errnoName } from "../base/errno.ts";
import {
  countsSince,
  type HistogramCounts,
  mergeCounts,
  NO_COUNTS,
  percentile,
} from "../base/histogram.ts";
import type { DeviceCounts, OperationCounts } from "../fs/statistics.ts";
import type { RequestCounts } from "../fuse/stats.ts";
import type { EngineStats, EngineTimes } from "./engine_stats.ts";

/** What a histogram tells, within a thirty-second; the maximum since the mount is exact. Null without values. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface OperationReport {
  readonly count: number;
  readonly bytes: number;
  readonly latencyUs: Distribution | null;
}

export interface RequestReport {
  readonly name: string;
  readonly count: number;
  readonly perSecond: number;
  readonly errors: number;
  readonly latencyUs: Distribution | null;
}

/** The document of `dynamicfs stats --json`, without the mount. */
export interface StatsReport {
  readonly pool: string;
  readonly transport: "kernel" | "fuse-native";
  /** What was counted when: since the mount, or since the line before. */
  readonly period: {
    readonly kind: "mount" | "interval";
    readonly since: string;
    readonly seconds: number;
  };
  readonly requests: {
    readonly count: number;
    readonly perSecond: number;
    readonly errors: number;
    readonly errorsByCode: readonly { readonly code: string; readonly count: number }[];
    readonly bytesRead: number;
    readonly bytesWritten: number;
    /** Read and not yet answered: now, on average, and at most since the mount; of now's, those that are parked. */
    readonly underWay: number;
    readonly underWayMean: number;
    readonly underWayMax: number;
    readonly parked: number;
    readonly retries: number;
    readonly pauses: number;
    readonly unanswered: number;
    readonly malformed: number;
    readonly refused: number;
    /** Requests taken at a time. */
    readonly batch: Distribution | null;
    readonly perSleep: number | null;
    readonly latencyUs: Distribution | null;
    readonly types: readonly RequestReport[];
  } | null;
  /** Where the engine's thread was. Null is not known; `engineMs` is the rest of the period. */
  readonly thread: EngineTimes & {
    readonly engineMs: number | null;
    /** Of reads and replies, one in so many is timed, and the others are reckoned from it. */
    readonly fuseSampledOneIn: number;
  };
  readonly cache: {
    readonly pageHits: number;
    readonly pageMisses: number;
    readonly pageLoads: number;
    readonly bufferedBlocks: number;
    readonly deviceBlocks: number;
    readonly holeBlocks: number;
    readonly kernelNotices: number | null;
  };
  readonly devices: readonly {
    readonly name: string;
    readonly inFlight: number;
    readonly inFlightMean: number;
    readonly inFlightMax: number;
    readonly reads: OperationReport;
    readonly writes: OperationReport;
    readonly durableWrites: OperationReport;
    readonly flushes: OperationReport;
    readonly discards: OperationReport;
  }[];
  /** Operations handed to the kernel in one call. */
  readonly submission: Distribution | null;
  readonly journal: {
    readonly commits: number;
    readonly transactions: number;
    readonly records: number;
    readonly bytes: number;
    readonly flushes: number;
    readonly latencyUs: Distribution | null;
  };
  readonly checkpoints: {
    readonly count: number;
    readonly pages: number;
    readonly totalMs: number;
    /** Of the last one, and of the longest since the mount. */
    readonly lastMs: number;
    readonly maxMs: number;
  };
  readonly gc: { readonly count: number; readonly totalMs: number; readonly maxMs: number } | null;
  readonly memory: EngineStats["memory"];
  /** How long the engine took to come to the question, and to answer it. */
  readonly answerMs: number;
}

/** @param earlier The counters to subtract; null, or of another engine: nothing. */
export function reportOf(
  later: EngineStats,
  earlier: EngineStats | null,
  answerMs: number,
): StatsReport {
  const before = earlier !== null && earlier.since === later.since ? earlier : null;
  const elapsedMs = later.elapsedMs - (before?.elapsedMs ?? 0);
  const seconds = elapsedMs / 1000;
  const cache = numbersSince(later.volume.cache, before?.volume.cache);
  const notices = later.fuse === null ? null : later.fuse.notices - (before?.fuse?.notices ?? 0);
  const { latency, ...journal } = later.volume.journal;
  const { latency: latencyBefore, ...journalBefore } = before?.volume.journal ?? {};
  const { count, pages, totalMs } = later.volume.checkpoints;
  const checkpointsBefore = before?.volume.checkpoints;
  return {
    pool: later.pool,
    transport: later.transport,
    period: {
      kind: earlier === null ? "mount" : "interval",
      since: before === null ? later.since : timeAfter(later.since, before.elapsedMs),
      seconds: rounded(seconds),
    },
    requests: requestsOf(later, before, elapsedMs),
    thread: threadOf(later, before, elapsedMs),
    cache: { ...cache, kernelNotices: notices },
    devices: later.volume.devices.map((device, index) =>
      deviceOf(device, before?.volume.devices[index], elapsedMs),
    ),
    submission: distributionOf(since(later.submissions ?? NO_COUNTS, before?.submissions)),
    journal: {
      ...numbersSince(journal, journalBefore),
      latencyUs: distributionOf(since(latency, latencyBefore)),
    },
    checkpoints: {
      count: count - (checkpointsBefore?.count ?? 0),
      pages: pages - (checkpointsBefore?.pages ?? 0),
      totalMs: rounded(totalMs - (checkpointsBefore?.totalMs ?? 0)),
      lastMs: rounded(later.volume.checkpoints.lastMs),
      maxMs: rounded(later.volume.checkpoints.maxMs),
    },
    gc:
      later.gc === null
        ? null
        : {
            count: later.gc.count - (before?.gc?.count ?? 0),
            totalMs: rounded(later.gc.totalMs - (before?.gc?.totalMs ?? 0)),
            maxMs: rounded(later.gc.maxMs),
          },
    memory: later.memory,
    answerMs: rounded(answerMs),
  };
}

function requestsOf(
  later: EngineStats,
  before: EngineStats | null,
  elapsedMs: number,
): StatsReport["requests"] {
  const { fuse } = later;
  if (fuse === null) return null;
  const old = before?.fuse;
  const seconds = elapsedMs / 1000;
  const oldTypes = new Map(old?.requests.map((each) => [each.name, each]));
  const types: RequestReport[] = [];
  let count = 0;
  let errors = 0;
  let all: HistogramCounts = NO_COUNTS;
  for (const each of fuse.requests) {
    const now = requestsSince(each, oldTypes.get(each.name));
    if (now.count === 0 && now.latency.count === 0) continue;
    count += now.count;
    errors += now.errors;
    all = mergeCounts(all, now.latency);
    types.push({
      name: now.name,
      count: now.count,
      perSecond: perSecond(now.count, seconds),
      errors: now.errors,
      latencyUs: distributionOf(now.latency),
    });
  }
  types.sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1));
  const oldErrors = new Map(old?.errors);
  const sleeps = later.sleeps === null ? null : later.sleeps - (before?.sleeps ?? 0);
  const { underWay, underWayMax, parked } = fuse;
  const { bytesRead, bytesWritten, retries, pauses, unanswered, malformed, refused } = fuse;
  const sums = { bytesRead, bytesWritten, retries, pauses, unanswered, malformed, refused };
  return {
    count,
    perSecond: perSecond(count, seconds),
    errors,
    errorsByCode: fuse.errors
      .map(([errno, total]) => ({
        code: errnoName(errno),
        count: total - (oldErrors.get(errno) ?? 0),
      }))
      .filter((each) => each.count > 0)
      .sort((a, b) => b.count - a.count || (a.code < b.code ? -1 : 1)),
    ...numbersSince(sums, old ?? undefined),
    underWay,
    // Little's law: what each waited, added up, is how many waited, added up over time.
    underWayMean: elapsedMs > 0 ? rounded(all.sum / 1000 / elapsedMs, 1000) : 0,
    underWayMax,
    parked,
    batch: distributionOf(since(fuse.batches, old?.batches)),
    perSleep: sleeps === null || sleeps === 0 ? null : rounded(count / sleeps),
    latencyUs: distributionOf(all),
    types,
  };
}

function requestsSince(later: RequestCounts, earlier: RequestCounts | undefined): RequestCounts {
  if (earlier === undefined) return later;
  return {
    name: later.name,
    count: later.count - earlier.count,
    errors: later.errors - earlier.errors,
    latency: countsSince(later.latency, earlier.latency),
  };
}

function threadOf(
  later: EngineStats,
  before: EngineStats | null,
  elapsedMs: number,
): StatsReport["thread"] {
  const now = later.times;
  const old = before?.times;
  const difference = (name: keyof EngineTimes): number | null => {
    const value = now[name];
    return value === null ? null : rounded(Math.max(0, value - (old?.[name] ?? 0)));
  };
  const known = {
    fuseReadMs: difference("fuseReadMs"),
    fuseReplyMs: difference("fuseReplyMs"),
    submitMs: difference("submitMs"),
    deviceWaitMs: difference("deviceWaitMs"),
    spinMs: difference("spinMs"),
    idleMs: difference("idleMs"),
  };
  let rest = elapsedMs;
  for (const value of Object.values(known)) rest -= value ?? 0;
  return {
    ...known,
    engineMs: rounded(Math.max(0, rest)),
    fuseSampledOneIn: later.sampledOneIn,
  };
}

function deviceOf(
  later: DeviceCounts,
  before: DeviceCounts | undefined,
  elapsedMs: number,
): StatsReport["devices"][number] {
  let waitedUs = 0;
  const operations = (now: OperationCounts, old: OperationCounts | undefined): OperationReport => {
    const latency = since(now.latency, old?.latency);
    waitedUs += latency.sum;
    return {
      count: now.count - (old?.count ?? 0),
      bytes: now.bytes - (old?.bytes ?? 0),
      latencyUs: distributionOf(latency),
    };
  };
  const reads = operations(later.reads, before?.reads);
  const writes = operations(later.writes, before?.writes);
  const durableWrites = operations(later.durableWrites, before?.durableWrites);
  const flushes = operations(later.flushes, before?.flushes);
  const discards = operations(later.discards, before?.discards);
  return {
    name: later.name,
    inFlight: later.inFlight,
    inFlightMean: elapsedMs > 0 ? rounded(waitedUs / 1000 / elapsedMs, 1000) : 0,
    inFlightMax: later.inFlightMax,
    reads,
    writes,
    durableWrites,
    flushes,
    discards,
  };
}

/** @returns Null when nothing was counted. */
export function distributionOf(counts: HistogramCounts): Distribution | null {
  if (counts.count === 0) return null;
  return {
    count: counts.count,
    mean: rounded(counts.sum / counts.count),
    p50: rounded(percentile(counts, 0.5)),
    p90: rounded(percentile(counts, 0.9)),
    p99: rounded(percentile(counts, 0.99)),
    p999: rounded(percentile(counts, 0.999)),
    max: rounded(counts.max),
  };
}

function since(
  later: HistogramCounts,
  earlier: HistogramCounts | null | undefined,
): HistogramCounts {
  return earlier == null ? later : countsSince(later, earlier);
}

function numbersSince<T extends Readonly<Record<string, number>>>(
  later: T,
  earlier: { readonly [Name in keyof T]?: number } | undefined,
): T {
  const entries = Object.entries(later).map(([name, value]) => [
    name,
    value - (earlier?.[name] ?? 0),
  ]);
  return Object.fromEntries(entries) as T;
}

function perSecond(count: number, seconds: number): number {
  return seconds > 0 ? rounded(count / seconds) : 0;
}

function rounded(value: number, steps = 100): number {
  return Math.round(value * steps) / steps;
}

function timeAfter(since: string, ms: number): string {
  return new Date(Date.parse(since) + ms).toISOString();
}

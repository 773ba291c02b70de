/** What `dynamicfs stats` shows people: tables for the whole, a line for an interval. */
import { formatSize } from "../base/units.ts";
import type { MountReport } from "./daemon.ts";
import type { Output } from "./output.ts";
import type { Distribution, StatsReport } from "./stats_report.ts";

/** All of a report. */
export function printReport(report: StatsReport, mount: MountReport, output: Output): void {
  const { exact } = output.options;
  const size = (bytes: number): string => (exact ? String(bytes) : formatSize(bytes));
  const number = (value: number): string => (exact ? String(value) : grouped(value));
  const time = (us: number): string => (exact ? String(us) : formatTime(us));
  const heading = (text: string): string => output.style("bold", text);
  const { period, requests } = report;
  const over = `${number(period.seconds)} s ${period.kind === "mount" ? "since the mount" : "until now"}`;
  output.data(
    `${heading(report.pool)} on ${mount.mountPoint}: ${over}, process ${mount.pid}, transport ${report.transport}`,
  );
  if (requests === null) {
    output.data(
      "  requests: not known: libfuse 2 takes them and does not tell; mount with --transport kernel to see them",
    );
  } else {
    output.data(
      [
        `  requests: ${number(requests.count)} (${number(requests.perSecond)}/s), ${number(requests.errors)} with an error${codesOf(requests)}; read ${size(requests.bytesRead)}, written ${size(requests.bytesWritten)}`,
        `     queue: ${requests.underWay} under way (${requests.parked} parked), ${requests.underWayMean} on average, ${requests.underWayMax} at most; taken ${batchOf(requests.batch)} at a time, ${requests.perSleep ?? "-"} a sleep`,
      ].join("\n"),
    );
    table(
      output,
      ["REQUEST", "COUNT", "RATE/s", "ERRORS"],
      requests.types.map((type) => ({
        cells: [
          type.name,
          number(type.count),
          number(Math.round(type.perSecond * 10) / 10),
          number(type.errors),
        ],
        latency: type.latencyUs,
      })),
      time,
    );
  }
  output.data(`      time: ${timesOf(report)}`);
  const { cache } = report;
  const walks = cache.pageHits + cache.pageMisses;
  output.data(
    [
      `     cache: ${percent(cache.pageHits, walks)} of ${number(walks)} walks in memory, ${number(cache.pageLoads)} pages read; blocks read: ${number(cache.bufferedBlocks)} buffered, ${number(cache.deviceBlocks)} from devices, ${number(cache.holeBlocks)} holes; ${cache.kernelNotices === null ? "notices to the kernel not known" : `${number(cache.kernelNotices)} notices to the kernel`}`,
    ].join("\n"),
  );
  for (const device of report.devices) {
    output.data(
      `    device: ${device.name}: ${device.inFlight} in flight, ${device.inFlightMean} on average, ${device.inFlightMax} at most`,
    );
    const kinds = [
      ["read", device.reads],
      ["write", device.writes],
      ["durable write", device.durableWrites],
      ["flush", device.flushes],
      ["discard", device.discards],
    ] as const;
    table(
      output,
      ["OPERATION", "COUNT", "BYTES"],
      kinds
        .filter(([, operation]) => operation.count > 0)
        .map(([name, operation]) => ({
          cells: [name, number(operation.count), size(operation.bytes)],
          latency: operation.latencyUs,
        })),
      time,
    );
  }
  const { journal, gc, memory, submission } = report;
  const each = (value: number): string => number(ratio(value, journal.commits));
  const durable =
    journal.latencyUs === null
      ? ""
      : `; durable after ${time(journal.latencyUs.p50)}, p99 ${time(journal.latencyUs.p99)}, at most ${time(journal.latencyUs.max)}`;
  const lines = [
    `    submit: ${submission === null ? "nothing" : `${number(submission.count)} calls, ${batchOf(submission)} operations a call`}`,
    `   journal: ${number(journal.commits)} commits of ${each(journal.transactions)} transactions, ${each(journal.records)} records, ${size(ratio(journal.bytes, journal.commits))}; ${number(journal.flushes)} flushed before${durable}`,
    `checkpoint: ${checkpointsOf(report, number, time)}`,
    `        gc: ${gc === null ? "not known in this runtime" : `${number(gc.count)} collections, ${time(gc.totalMs * 1000)} in all, at most ${time(gc.maxMs * 1000)} since the mount`}`,
    `    memory: ${size(memory.rssBytes)} resident, ${size(memory.heapUsedBytes)} heap; budget ${size(memory.budgetBytes)}: pages ${percent(memory.pageFrames - memory.pageFramesFree, memory.pageFrames)} used (${percent(memory.pageFramesDirty, memory.pageFrames)} dirty), buffers ${percent(memory.bufferBlocks - memory.bufferBlocksFree, memory.bufferBlocks)} used (${percent(memory.dirtyBlocks, memory.bufferBlocks)} dirty)`,
    `    answer: the engine answered this after ${time(report.answerMs * 1000)}`,
  ];
  output.data(lines.join("\n"));
}

interface Row {
  readonly cells: readonly string[];
  readonly latency: Distribution | null;
}

/** A table whose last columns are latencies. */
function table(
  output: Output,
  head: readonly string[],
  rows: readonly Row[],
  time: (us: number) => string,
): void {
  if (rows.length === 0) return;
  output.table(
    [...head.map((name, index) => (index === 0 ? `  ${name}` : name)), ...PERCENTILES],
    rows.map(({ cells, latency }) => [
      ...cells.map((cell, index) => (index === 0 && !output.options.noHeader ? `  ${cell}` : cell)),
      ...(latency === null
        ? PERCENTILES.map(() => "-")
        : [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(time)),
    ]),
    `<${">".repeat(head.length - 1 + PERCENTILES.length)}`,
  );
}

const PERCENTILES = ["P50", "P90", "P99", "P99.9", "MAX"];

/** Of a line: name, and width of its cells. */
const COLUMNS: readonly (readonly [name: string, width: number])[] = [
  ["REQ/s", 8],
  ["ERR/s", 7],
  ["READ/s", 9],
  ["WRITE/s", 9],
  ["P50", 8],
  ["P99", 8],
  ["MAX", 8],
  ["FLIGHT", 7],
  ["HIT", 6],
  ["DEV/s", 7],
  ["COMMIT/s", 9],
  ["FUSE", 6],
  ["ENGINE", 7],
  ["DEV", 6],
  ["SPIN", 6],
  ["IDLE", 6],
  ["GC", 6],
];

/** The header of intervalLine(). */
export function intervalHeader(): string {
  return COLUMNS.map(([name, width]) => name.padStart(width)).join("");
}

/** One interval in a line. @param tabs For programs. */
export function intervalLine(report: StatsReport, tabs: boolean): string {
  const { requests, period, cache, thread, journal, gc } = report;
  const seconds = period.seconds;
  const ms = seconds * 1000;
  const rate = (count: number): string => compact(seconds > 0 ? count / seconds : 0);
  const bytes = (count: number): string => compactSize(seconds > 0 ? count / seconds : 0);
  const share = (value: number | null): string => (value === null ? "-" : percent(value, ms));
  const latency = requests?.latencyUs;
  const latencyOf = (value: number | undefined): string =>
    value === undefined ? "-" : formatTime(value).replace(" ", "");
  const operations = report.devices.reduce(
    (sum, device) =>
      sum +
      device.reads.count +
      device.writes.count +
      device.durableWrites.count +
      device.flushes.count,
    0,
  );
  const fuse = thread.fuseReadMs === null ? null : thread.fuseReadMs + (thread.fuseReplyMs ?? 0);
  const cells = [
    requests === null ? "-" : rate(requests.count),
    requests === null ? "-" : rate(requests.errors),
    requests === null ? "-" : bytes(requests.bytesRead),
    requests === null ? "-" : bytes(requests.bytesWritten),
    latencyOf(latency?.p50),
    latencyOf(latency?.p99),
    latencyOf(latency?.max),
    requests === null ? "-" : String(requests.underWayMean),
    percent(cache.pageHits, cache.pageHits + cache.pageMisses),
    rate(operations),
    rate(journal.commits),
    share(fuse),
    share(thread.engineMs === null ? null : thread.engineMs + (thread.submitMs ?? 0)),
    share(thread.deviceWaitMs),
    share(thread.spinMs),
    share(thread.idleMs),
    gc === null ? "-" : percent(gc.totalMs, ms),
  ];
  if (tabs) return cells.join("\t");
  return cells.map((cell, index) => cell.padStart(COLUMNS[index]?.[1] ?? 0)).join("");
}

function checkpointsOf(
  { checkpoints }: StatsReport,
  number: (value: number) => string,
  time: (us: number) => string,
): string {
  const { count, pages, lastMs, maxMs } = checkpoints;
  const done = `${number(count)}${count === 0 ? "" : ` of ${number(ratio(pages, count))} pages`}`;
  if (maxMs === 0) return done;
  return `${done}; the last took ${time(lastMs * 1000)}, the longest since the mount ${time(maxMs * 1000)}`;
}

function codesOf(requests: NonNullable<StatsReport["requests"]>): string {
  const codes = requests.errorsByCode.slice(0, 3).map(({ code, count }) => `${code} ${count}`);
  return codes.length === 0 ? "" : ` (${codes.join(", ")})`;
}

function batchOf(batch: Distribution | null): string {
  if (batch === null) return "-";
  return `${batch.mean} (p99 ${Math.floor(batch.p99)}, at most ${Math.floor(batch.max)})`;
}

function timesOf(report: StatsReport): string {
  const { thread, period } = report;
  const ms = period.seconds * 1000;
  const share = (name: string, value: number | null): string =>
    `${name} ${value === null ? "not known" : percent(value, ms)}`;
  const parts = [
    share("reading requests", thread.fuseReadMs),
    share("replying", thread.fuseReplyMs),
    share("engine", thread.engineMs),
    share("submitting", thread.submitMs),
    share("waiting for devices", thread.deviceWaitMs),
    share("spinning", thread.spinMs),
    share("idle", thread.idleMs),
  ];
  return parts.join(", ");
}

/** Microseconds for people, with three digits. */
export function formatTime(us: number): string {
  if (us < 999.5) return `${digits(us)} µs`;
  if (us < 999_500) return `${digits(us / 1000)} ms`;
  return `${digits(us / 1e6)} s`;
}

function digits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

function percent(part: number, whole: number): string {
  if (whole <= 0) return "-";
  const share = (100 * part) / whole;
  return `${share >= 9.95 || share === 0 ? share.toFixed(0) : share.toFixed(1)}%`;
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((10 * part) / whole) / 10;
}

function grouped(value: number): string {
  const [whole = "", fraction] = String(value >= 1000 ? Math.round(value) : value).split(".");
  const text = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? text : `${text}.${fraction}`;
}

function compact(value: number): string {
  if (value >= 99_950) return `${(value / 1000).toFixed(0)}k`;
  if (value >= 9_995) return `${(value / 1000).toFixed(1)}k`;
  return value >= 9.95 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

function compactSize(bytes: number): string {
  return formatSize(bytes)
    .replace(/ bytes?$/, "B")
    .replace(/ ([KMGTPE])iB$/, "$1");
}

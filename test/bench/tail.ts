/**
 * How long the slowest operations take: latencies of each kind of operation while all kinds arrive at a moderate, fixed
 * rate, for DynamicFS and some peers, one after the other on the same image file.
 *
 * Invariants: as in paced_worker.ts; everything is mounted anew before, with nothing in the caches, and then each
 * operation but the cold reads warms what it uses.
 */
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dynamicfs, type FileSystem, missing, PEERS, Work } from "./file_systems.ts";
import { OPERATIONS, type Operation, type Pace, preparePaced, runPaced } from "./paced_worker.ts";
import { type Percentiles, percentileCurve, percentilesOf } from "./percentiles.ts";
import { type Axis, type Plot, renderPlot, shortDuration } from "./plot.ts";
import {
  checkPaths,
  chooseNames,
  dropCaches,
  fail,
  isMounted,
  isStopped,
  machine,
  note,
  notes,
  numberOf,
  parseFlags,
  run,
  say,
} from "./processes.ts";

export const TAIL_HELP: string = `npm run bench -- --tail [FLAGS]
  Latency percentiles of each operation at a fixed rate of arrival, counted from when it was due,
  for DynamicFS and some peers one after the other.
  --peers NAME,…|none  Beside them (default ext4,ntfs-3g)
  --seconds N          Of each file system (default 60)
  --rate N             Operations a second, all kinds together (default 500)
  --quick              10 seconds, on a smaller disk
  --plot FILE.svg      Draw it
  --dir DIR  --json    As above`;

const MIB = 2 ** 20;
const PEERS_DEFAULT = "ext4,ntfs-3g";
const ALL = Object.keys(OPERATIONS) as Operation[];
/** Beside the others, not one of them. */
const KINDS = ALL.filter((name) => name !== "timer");

interface TailOptions {
  readonly peers: readonly FileSystem[];
  readonly seconds: number;
  /** Of all operations together. */
  readonly rate: number;
  readonly quick: boolean;
  readonly dir: string;
  readonly json: boolean;
  readonly plot: string | undefined;
}

/** One operation of one file system; without percentiles it failed at once. */
interface Row {
  readonly operation: Operation;
  readonly fileSystem: string;
  readonly percentilesUs: Percentiles | null;
  readonly unfinished: number;
  readonly error: string | null;
  /** See `percentileCurve`. */
  readonly curveUs: readonly (readonly [number, number])[];
}

function parse(args: readonly string[]): TailOptions {
  const flags = parseFlags(args, {
    tail: { type: "boolean" },
    peers: { type: "string" },
    seconds: { type: "string" },
    rate: { type: "string" },
    quick: { type: "boolean" },
    dir: { type: "string" },
    json: { type: "boolean" },
    plot: { type: "string" },
  });
  const quick = flags["quick"] === true;
  const text = (name: string, otherwise: string): string => String(flags[name] ?? otherwise);
  const given = text("peers", PEERS_DEFAULT);
  const known = PEERS.map(({ name }) => name);
  const names = given === "none" ? [] : chooseNames(given, known, "peer");
  const plot = flags["plot"];
  return {
    peers: PEERS.filter(({ name }) => names.includes(name)),
    seconds: numberOf("--seconds", text("seconds", quick ? "10" : "60"), { min: 1, max: 3600 }),
    rate: numberOf("--rate", text("rate", "500"), { min: KINDS.length, max: 20_000 }),
    quick,
    dir: text("dir", tmpdir()),
    json: flags["json"] === true,
    plot: plot === undefined ? undefined : String(plot),
  };
}

async function measureOne(fileSystem: FileSystem, work: Work, pace: Pace): Promise<Row[]> {
  const usage = { cpuSeconds: 0, rssMib: 0 };
  work.wipeDisk();
  await fileSystem.make(work);
  await fileSystem.mount(work);
  say(`${fileSystem.name}: making files …`);
  await preparePaced(work.target, pace);
  await run("sync", ["-f", work.target]);
  await fileSystem.unmount(work, usage);
  await run("sync", ["-f", work.directory]);
  dropCaches();
  await fileSystem.mount(work);
  say(`${fileSystem.name}: ${pace.seconds} s …`);
  const { operations } = await runPaced(work.target, pace);
  await fileSystem.unmount(work, usage);
  return ALL.map((operation): Row => {
    const result = operations[operation];
    const { latenciesUs = [], unfinished = 0, error = "not measured" } = result ?? {};
    const name = `${fileSystem.name}, ${OPERATIONS[operation]}`;
    if (error !== null) note(`${name} failed: ${error}`);
    else if (unfinished > 0) note(`${name}: too slow for this rate, ${unfinished} were not begun`);
    return {
      ...{ operation, fileSystem: fileSystem.name, unfinished, error },
      percentilesUs: error === null ? percentilesOf(latenciesUs) : null,
      curveUs: error === null ? percentileCurve(latenciesUs) : [],
    };
  });
}

function tableOf(rows: readonly Row[]): string {
  const lines = [
    ["", "", "p50", "p90", "p99", "p99.9", "max"],
    ["---", "---", "--:", "--:", "--:", "--:", "--:"],
  ];
  for (const operation of ALL) {
    const ofThis = rows.filter((row) => row.operation === operation);
    for (const [index, { fileSystem, percentilesUs }] of ofThis.entries()) {
      const { p50, p90, p99, p999, max } = percentilesUs ?? {};
      const cells = [p50, p90, p99, p999, max].map((value) =>
        value === undefined ? "failed" : shortDuration(value),
      );
      lines.push([index === 0 ? OPERATIONS[operation] : "", fileSystem, ...cells]);
    }
  }
  return lines.map((line) => `| ${line.join(" | ")} |`).join("\n");
}

/** The x axis of `percentileCurve`. */
export const PERCENTILE_AXIS: Axis = {
  label: "percentile",
  scale: "log",
  ticks: [
    { value: 2, text: "50" },
    { value: 10, text: "90" },
    { value: 100, text: "99" },
    { value: 1000, text: "99.9" },
    { value: 10_000, text: "99.99" },
    { value: 100_000, text: "99.999" },
  ],
};

/** The y axis of latencies in microseconds. */
export const LATENCY_AXIS: Axis = { label: "latency", scale: "log", format: shortDuration };

function plotOf(rows: readonly Row[], { rate, seconds }: TailOptions): Plot {
  return {
    title: "Latencies at a fixed rate of arrival",
    subtitle: `${rate} operations a second of ${KINDS.length} kinds, ${seconds} s each, counted from when each was due. ${machine()}`,
    columns: 3,
    sharedLegend: true,
    panels: KINDS.map((operation) => ({
      title: OPERATIONS[operation],
      x: PERCENTILE_AXIS,
      y: LATENCY_AXIS,
      series: rows
        .filter((row) => row.operation === operation)
        .map(({ fileSystem, curveUs }) => ({ name: fileSystem, points: curveUs })),
    })),
  };
}

/**
 * @param args Of the command line, `--tail` among them.
 * @throws {UsageError} Of wrong arguments.
 */
export async function tail(args: readonly string[]): Promise<void> {
  const options = parse(args);
  checkPaths(options.dir, options.plot);
  const absent = missing(["python3"], false);
  if (absent !== null) fail(absent);
  const usable: FileSystem[] = [];
  for (const fileSystem of [dynamicfs, ...options.peers]) {
    const reason = fileSystem.unusable();
    if (reason === null) usable.push(fileSystem);
    else note(`${fileSystem.name} skipped: ${reason}`);
  }
  const pace: Pace = {
    rates: Object.fromEntries(ALL.map((name) => [name, options.rate / KINDS.length])),
    seconds: options.seconds,
    largeMib: options.quick ? 64 : 256,
    streamMib: 0,
  };
  if ((options.rate / KINDS.length) * options.seconds < 1000)
    note("fewer than 1,000 of each operation: p99.9 is the longest");
  const rows: Row[] = [];
  const work = new Work(options.dir);
  try {
    say(`in ${work.directory}: disk …`);
    work.fillDisk((options.quick ? 512 : 1024) * MIB);
    for (const fileSystem of usable) {
      try {
        rows.push(...(await measureOne(fileSystem, work, pace)));
      } catch (error) {
        if (isStopped || isMounted(work.target)) throw error;
        note(`${fileSystem.name} failed: ${(error as Error).message.split("\n").at(-1)}`);
      }
    }
  } finally {
    await work.cleanUp();
  }
  if (options.plot !== undefined) writeFileSync(options.plot, renderPlot(plotOf(rows, options)));
  if (options.json) {
    const { seconds, rate } = options;
    const printed = {
      schema: "dynamicfs.bench-tail/1",
      machine: machine(),
      time: new Date().toISOString(),
      ...{ seconds, rate, rows, notes },
    };
    process.stdout.write(`${JSON.stringify(printed)}\n`);
  } else {
    const shownNotes = notes.map((text) => `\n- ${text}`).join("");
    process.stdout.write(`${tableOf(rows)}\n${shownNotes}\n`);
  }
  if (rows.length === 0) process.exitCode = 1;
}

/**
 * What becomes of DynamicFS as what it holds grows: files, names in one directory, a file that is nearly all hole, and the
 * pauses of small writes beside large ones.
 *
 * Invariants: each part has a new pool on a disk of nothing but holes, so that sizes need only the space that is really
 * written; what is called cold was mounted anew, with nothing in the caches. Each row is printed as soon as it is known.
 */
import { statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseSize } from "../../host/base/units.ts";
import { dynamicfs, dynamicfsRun, missing, Work } from "./file_systems.ts";
import { OPERATIONS, type Operation, type Pace, preparePaced, runPaced } from "./paced_worker.ts";
import { percentileCurve, percentilesOf } from "./percentiles.ts";
import { type Panel, renderPlot, type Series, shortDuration, shortNumber } from "./plot.ts";
import {
  checkPaths,
  chooseNames,
  dropCaches,
  fail,
  figure,
  machine,
  note,
  notes,
  numberOf,
  parseFlags,
  run,
  say,
  timed,
} from "./processes.ts";
import { runWork, type WorkOrder, type WorkResult } from "./scale_worker.ts";
import { LATENCY_AXIS, PERCENTILE_AXIS } from "./tail.ts";

const PARTS = ["rates", "mounts", "directory", "sparse", "pauses"] as const;
type Part = (typeof PARTS)[number];

export const SCALE_HELP: string = `npm run bench -- --scale [FLAGS]
  Of DynamicFS alone: what becomes of its figures as what it holds grows.
  --parts PART,…       Of ${PARTS.join(", ")} (default all)
                       rates: create, look up, remove files in directories of 1,000
                       mounts: mount and unmount times, and memory of the daemon, with that many files
                       directory: the same of one directory, and listing it
                       sparse: 4 KiB writes in random order into a file of 1 TiB
                       pauses: latencies of small operations beside a large sequential write
  --files N,…          Numbers of files of rates and mounts (default 10000,1000000)
  --names N            Names of directory (default 1000000)
  --random-bytes SIZE  Written by sparse (default 1G)
  --seconds N          Of each half of pauses (default 30)
  --plot FILE.svg      Draw it
  --dir DIR  --json    As above`;

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;
const FILES_PER_DIRECTORY = 1000;
const BLOCK_BYTES = 4096;
/** Enough for a rate, few enough for a large pool. */
const LOOKUPS = 100_000;
const SPARSE_READS = 20_000;
const STREAM_MIB = 1024;
/** What a pool takes without files, and each file at most: for the check that there is room. */
const POOL_BYTES = 512 * MIB;
const FILE_BYTES = 1024;

type Unit = "op/s" | "MiB/s" | "s" | "MiB" | "µs" | "";

interface Row {
  readonly part: Part;
  /** What there is of it: "10,000 files". */
  readonly subject: string;
  readonly what: string;
  readonly value: number;
  readonly unit: Unit;
}

interface ScaleOptions {
  readonly parts: readonly Part[];
  readonly files: readonly number[];
  readonly names: number;
  readonly randomBytes: number;
  readonly seconds: number;
  readonly dir: string;
  readonly json: boolean;
  readonly plot: string | undefined;
}

function sizeOf(flag: string, given: string, { min, max }: { min: number; max: number }): number {
  let bytes = Number.NaN;
  try {
    bytes = parseSize(given);
  } catch (error) {
    fail(`${flag}: ${(error as Error).message}`);
  }
  if (bytes < min || bytes > max) fail(`${flag}: "${given}" is not from ${min} to ${max} bytes`);
  return bytes;
}

function parse(args: readonly string[]): ScaleOptions {
  const flags = parseFlags(args, {
    scale: { type: "boolean" },
    parts: { type: "string" },
    files: { type: "string" },
    names: { type: "string" },
    "random-bytes": { type: "string" },
    seconds: { type: "string" },
    dir: { type: "string" },
    json: { type: "boolean" },
    plot: { type: "string" },
  });
  const text = (name: string, otherwise: string): string => String(flags[name] ?? otherwise);
  const count = { min: 10, max: 100_000_000, whole: true };
  const parts = chooseNames(text("parts", PARTS.join(",")), PARTS, "part");
  if (parts.length === 0) fail(`--parts: there are ${PARTS.join(", ")}`);
  const plot = flags["plot"];
  const files = text("files", "10000,1000000")
    .split(",")
    .map((each) => numberOf("--files", each, count));
  return {
    parts: PARTS.filter((part) => parts.includes(part)),
    files: [...new Set(files)].sort((a, b) => a - b),
    names: numberOf("--names", text("names", "1000000"), count),
    randomBytes: sizeOf("--random-bytes", text("random-bytes", "1G"), {
      min: 10 * BLOCK_BYTES,
      max: TIB / 4,
    }),
    seconds: numberOf("--seconds", text("seconds", "30"), { min: 1, max: 3600 }),
    dir: text("dir", tmpdir()),
    json: flags["json"] === true,
    plot: plot === undefined ? undefined : String(plot),
  };
}

// ---- what is measured

const rows: Row[] = [];
/** Of what grows, its rate by how much there was; of latencies, see `percentileCurve`. By part, then by name. */
const curves: Record<Part, Record<string, [x: number, y: number][]>> = {
  ...{ rates: {}, mounts: {}, directory: {}, sparse: {}, pauses: {} },
};

function describe(value: number, unit: Unit): [value: string, unit: string] {
  if (unit === "µs") return [shortDuration(value), ""];
  return [unit === "" ? count(value) : figure(value), unit];
}

/** Adds rows of one part, and prints them at once. */
class Recorder {
  readonly #print: (text: string) => void;
  readonly #part: Part;
  readonly #subject: string;

  constructor(part: Part, subject: string, print: (text: string) => void) {
    this.#part = part;
    this.#subject = subject;
    this.#print = print;
  }

  add(what: string, value: number, unit: Unit): void {
    if (rows.length === 0) this.#print(`| part | of | what | | |\n| --- | --- | --- | --: | --- |`);
    rows.push({ part: this.#part, subject: this.#subject, what, value, unit });
    const cells = [this.#part, this.#subject, what, ...describe(value, unit)];
    this.#print(`| ${cells.join(" | ")} |`);
  }

  rate(what: string, { count, seconds, tenths }: WorkResult): void {
    this.add(what, count / seconds, "op/s");
    if (what !== "create" || tenths.length < 2) return;
    for (const [name, tenth] of [
      ["create, first tenth", tenths[0]],
      ["create, last tenth", tenths.at(-1)],
    ] as const) {
      if (tenth !== undefined) this.add(name, tenth[0] / tenth[1], "op/s");
    }
  }
}

/** Of each tenth, its rate where it ended. */
function curveOf({ tenths }: WorkResult, factor = 1): [number, number][] {
  let sum = 0;
  return tenths.map(([count, seconds]) => {
    sum += count;
    return [sum * factor, (count * factor) / seconds];
  });
}

/** A mounted pool that is mounted anew now and then. */
class Pool {
  readonly #work: Work;
  /** Of the daemon of the last mount that was ended. */
  peakMib = 0;

  private constructor(work: Work) {
    this.#work = work;
  }

  /** A new one, mounted. */
  static async make(work: Work, diskBytes: number): Promise<Pool> {
    work.makeSparseDisk(diskBytes);
    await dynamicfs.make(work);
    const pool = new Pool(work);
    await pool.mount();
    return pool;
  }

  /** @returns Seconds. */
  async mount(): Promise<number> {
    const startMs = performance.now();
    await dynamicfs.mount(this.#work);
    return (performance.now() - startMs) / 1000;
  }

  /** @returns Seconds, until all is on the disk. */
  async unmount(): Promise<number> {
    const usage = { cpuSeconds: 0, rssMib: 0 };
    const startMs = performance.now();
    await dynamicfs.unmount(this.#work, usage);
    this.peakMib = usage.rssMib;
    return (performance.now() - startMs) / 1000;
  }

  /** The image's own blocks are not in the caches either. */
  async forget(): Promise<void> {
    await run("sync", [this.#work.disk]);
    dropCaches();
  }
}

type Print = (text: string) => void;
const count = (value: number): string => value.toLocaleString("en-US");

async function measureFiles(
  work: Work,
  total: number,
  { parts }: ScaleOptions,
  print: Print,
): Promise<void> {
  const subject = `${count(total)} files`;
  const hasRates = parts.includes("rates");
  const rates = new Recorder("rates", subject, print);
  const mounts = new Recorder("mounts", subject, print);
  const mounted = (what: string, value: number, unit: Unit): void => {
    if (hasMounts(parts)) mounts.add(what, value, unit);
  };
  const order = {
    ...{ path: join(work.target, "files"), total, filesPerDirectory: FILES_PER_DIRECTORY },
  };
  const pool = await Pool.make(work, 8 * GIB + 4 * FILE_BYTES * total);
  await run("mkdir", [order.path]);
  const created = await runWork(`create ${subject}`, { ...order, what: "create" });
  if (hasRates) rates.rate("create", created);
  curves.rates[`create ${shortNumber(total)}`] = curveOf(created);
  mounted("unmount after creating", await pool.unmount(), "s");
  mounted("peak memory, creating", pool.peakMib, "MiB");
  await pool.forget();
  mounted("mount, cold", await pool.mount(), "s");
  if (hasRates) {
    const picked = Math.min(total, LOOKUPS);
    const title = `look up ${count(picked)} of ${subject}`;
    rates.rate("look up, cold", await runWork(title, { ...order, what: "find", picked }));
  }
  mounted(hasRates ? "unmount after looking up" : "unmount, unchanged", await pool.unmount(), "s");
  mounted(`peak memory, ${hasRates ? "looking up" : "mounted"}`, pool.peakMib, "MiB");
  if (!hasRates) return;
  await pool.mount();
  rates.rate("remove", await runWork(`remove ${subject}`, { ...order, what: "remove" }));
  mounted("unmount after removing", await pool.unmount(), "s");
  mounted("peak memory, removing", pool.peakMib, "MiB");
}

const hasMounts = (parts: readonly Part[]): boolean => parts.includes("mounts");

async function measureDirectory(work: Work, { names }: ScaleOptions, print: Print): Promise<void> {
  const subject = `${count(names)} names`;
  const recorder = new Recorder("directory", subject, print);
  const order: Omit<WorkOrder, "what"> = { path: join(work.target, "large"), total: names };
  const pool = await Pool.make(work, 8 * GIB + 4 * FILE_BYTES * names);
  const again = async (): Promise<void> => {
    await pool.unmount();
    await pool.forget();
    await pool.mount();
  };
  const created = await runWork(`create ${subject} in one directory`, { ...order, what: "create" });
  recorder.rate("create", created);
  curves.directory["create"] = curveOf(created);
  await again();
  const picked = Math.min(names, LOOKUPS);
  const found = await runWork(`look up ${count(picked)} names`, {
    ...{ ...order, what: "find", picked },
  });
  recorder.rate("look up, cold", found);
  curves.directory["look up"] = [[names, found.count / found.seconds]];
  await again();
  const listed = await runWork(`list ${subject}`, { ...order, what: "list" });
  recorder.rate("list, cold", listed);
  curves.directory["list"] = [[names, listed.count / listed.seconds]];
  const removed = await runWork(`remove ${subject}`, { ...order, what: "remove" });
  recorder.rate("remove", removed);
  // By how many there were, as the others: from all of them down.
  curves.directory["remove"] = curveOf(removed).map(([, rate], index, all) => [
    names - (all[index - 1]?.[0] ?? 0),
    rate,
  ]);
  await pool.unmount();
  recorder.add("peak memory, listing and removing", pool.peakMib, "MiB");
}

async function measureSparse(
  work: Work,
  { randomBytes }: ScaleOptions,
  print: Print,
): Promise<void> {
  const total = Math.floor(randomBytes / BLOCK_BYTES);
  const subject = `${figure(randomBytes / MIB)} MiB in 1 TiB`;
  const recorder = new Recorder("sparse", subject, print);
  const path = join(work.target, "sparse");
  const order = { path, total, fileBytes: TIB, blockBytes: BLOCK_BYTES };
  const pool = await Pool.make(work, 16 * GIB + 4 * randomBytes);
  const written = await runWork(`write ${subject}`, { ...order, what: "sparse_write" });
  const mibPerSecond = (done: number, seconds: number): number =>
    (done * BLOCK_BYTES) / MIB / seconds;
  recorder.add("write, all", mibPerSecond(written.count, written.seconds), "MiB/s");
  const [first, last] = [written.tenths[0], written.tenths.at(-1)];
  if (first !== undefined) recorder.add("write, first tenth", mibPerSecond(...first), "MiB/s");
  if (last !== undefined) recorder.add("write, last tenth", mibPerSecond(...last), "MiB/s");
  curves.sparse["write"] = curveOf(written, BLOCK_BYTES / MIB);
  recorder.add("unmount", await pool.unmount(), "s");
  recorder.add("peak memory, writing", pool.peakMib, "MiB");
  await pool.forget();
  await pool.mount();
  const picked = Math.min(total, SPARSE_READS);
  const title = `read and verify ${count(picked)} blocks`;
  recorder.rate("read, cold", await runWork(title, { ...order, what: "sparse_read", picked }));
  recorder.add("remove the file", await timed("rm", [path]), "s");
  recorder.add("unmount after removing", await pool.unmount(), "s");
}

/** In a second. A write each 5 ms; few that are synced, or they would themselves be the load. */
const PAUSE_RATES: Readonly<Partial<Record<Operation, number>>> = {
  ...{ write: 200, create: 200, fsync: 10, timer: 200 },
};

interface Checkpoints {
  readonly count: number;
  readonly maxMs: number;
}

async function measurePauses(work: Work, { seconds }: ScaleOptions, print: Print): Promise<void> {
  const pool = await Pool.make(work, 32 * GIB);
  const checkpoints = async (): Promise<Checkpoints> => {
    const out = await dynamicfsRun("stats", "--json", work.target);
    return (JSON.parse(out) as { checkpoints: Checkpoints }).checkpoints;
  };
  for (const [subject, streamMib] of [
    ["alone", 0],
    ["beside a large write", STREAM_MIB],
  ] as const) {
    const recorder = new Recorder("pauses", subject, print);
    const pace: Pace = { rates: PAUSE_RATES, seconds, largeMib: 0, streamMib };
    // A directory for each, so that names do not meet.
    const directory = join(work.target, streamMib === 0 ? "alone" : "beside");
    await run("mkdir", [directory]);
    await preparePaced(directory, pace);
    await run("sync", ["-f", work.target]);
    say(`small operations ${subject}, ${seconds} s …`);
    const before = await checkpoints();
    const { operations, streamMibPerSecond } = await runPaced(directory, pace);
    const after = await checkpoints();
    for (const [name, result] of Object.entries(operations)) {
      const shown = OPERATIONS[name as Operation];
      const { latenciesUs, unfinished, error } = result;
      const percentiles = error === null ? percentilesOf(latenciesUs) : null;
      if (error !== null) note(`${shown}, ${subject}, failed: ${error}`);
      if (unfinished > 0) note(`${shown}, ${subject}: ${unfinished} were not begun in time`);
      if (percentiles === null) continue;
      const { p50, p99, p999, max } = percentiles;
      recorder.add(`${shown}: p50`, p50, "µs");
      recorder.add(`${shown}: p99`, p99, "µs");
      // Of fewer it is the longest.
      if (latenciesUs.length >= 1000) recorder.add(`${shown}: p99.9`, p999, "µs");
      recorder.add(`${shown}: longest`, max, "µs");
      if (name !== "timer") curves.pauses[`${shown}, ${subject}`] = percentileCurve(latenciesUs);
    }
    if (streamMibPerSecond !== null) recorder.add("large write", streamMibPerSecond, "MiB/s");
    recorder.add("checkpoints in that time", after.count - before.count, "");
    recorder.add("longest checkpoint since the mount", after.maxMs * 1000, "µs");
  }
  await pool.unmount();
}

// ---- what is drawn

function rowsOf(part: Part, what: string): [number, number][] {
  return rows.flatMap((row) =>
    row.part === part && row.what === what
      ? [[Number(row.subject.split(" ")[0]?.replaceAll(",", "")), row.value] as [number, number]]
      : [],
  );
}

function seriesOf(part: Part, whats: readonly string[]): Series[] {
  return whats
    .map((what) => ({ name: what, points: rowsOf(part, what) }))
    .filter(({ points }) => points.length > 0);
}

const curvesOf = (part: Part): Series[] =>
  Object.entries(curves[part]).map(([name, points]) => ({ name, points }));

/** Of "create a file, alone" what is before the last comma. */
function operationOf(name: string): string {
  return name.slice(0, name.lastIndexOf(", "));
}

function panels(): Panel[] {
  const files = { label: "files in directories of 1,000", scale: "log" } as const;
  const all: Panel[] = [
    {
      title: "Create, look up, remove",
      x: files,
      y: { label: "operations a second", scale: "linear" },
      series: seriesOf("rates", ["create", "look up, cold", "remove"]),
    },
    {
      title: "Creating, as the files become more",
      x: files,
      y: { label: "creates a second", scale: "linear" },
      series: rowsOf("rates", "create").length > 0 ? curvesOf("rates") : [],
    },
    {
      title: "One directory",
      x: { label: "names in it", scale: "linear" },
      y: { label: "operations a second", scale: "log" },
      series: curvesOf("directory"),
    },
    {
      title: "Mount and unmount",
      x: files,
      y: { label: "seconds", scale: "linear" },
      series: seriesOf("mounts", [
        ...["mount, cold", "unmount after creating", "unmount after looking up"],
        ...["unmount, unchanged", "unmount after removing"],
      ]),
    },
    {
      title: "Peak memory of the daemon",
      x: files,
      y: { label: "MiB", scale: "linear" },
      series: seriesOf("mounts", [
        ...["peak memory, creating", "peak memory, looking up", "peak memory, mounted"],
        "peak memory, removing",
      ]).map(({ name, points }) => ({ name: name.replace("peak memory, ", ""), points })),
    },
    {
      title: "4 KiB writes at random into 1 TiB",
      x: { label: "MiB written", scale: "linear" },
      y: { label: "MiB/s", scale: "linear" },
      series: curvesOf("sparse"),
    },
  ];
  const pauses = curvesOf("pauses");
  for (const name of new Set(pauses.map((each) => operationOf(each.name)))) {
    const series = pauses
      .filter((each) => operationOf(each.name) === name)
      .map((each) => ({ ...each, name: each.name.slice(name.length + 2) }));
    all.push({ title: `Pauses: ${name}`, x: PERCENTILE_AXIS, y: LATENCY_AXIS, series });
  }
  return all.filter(({ series }) => series.length > 0);
}

// ---- all of it

/** Before hours have gone by. */
function checkSpace({ parts, files, names, randomBytes, dir }: ScaleOptions): void {
  const needs: number[] = [POOL_BYTES];
  const most = Math.max(...files);
  if (parts.includes("rates") || hasMounts(parts)) needs.push(most * FILE_BYTES);
  if (parts.includes("directory")) needs.push(names * FILE_BYTES);
  if (parts.includes("sparse")) needs.push(randomBytes * 1.5);
  if (parts.includes("pauses")) needs.push(4 * STREAM_MIB * MIB);
  const needed = POOL_BYTES + Math.max(...needs);
  const { bavail, bsize } = statfsSync(dir);
  if (bavail * bsize >= needed) return;
  const [has, wants] = [bavail * bsize, needed].map((bytes) => (bytes / GIB).toFixed(1));
  throw new Error(`${dir} has ${has} GiB free, and up to ${wants} GiB may be needed: --dir DIR`);
}

/**
 * @param args Of the command line, `--scale` among them.
 * @throws {UsageError} Of wrong arguments.
 */
export async function scale(args: readonly string[]): Promise<void> {
  const options = parse(args);
  const { parts, files, json, plot } = options;
  checkPaths(options.dir, plot);
  const absent = missing(["python3"], false) ?? dynamicfs.unusable();
  if (absent !== null) fail(absent);
  checkSpace(options);
  // Of JSON, only the document goes to standard output.
  const print: Print = json ? say : (text) => void process.stdout.write(`${text}\n`);
  const work = new Work(options.dir);
  try {
    say(`in ${work.directory}`);
    if (parts.includes("rates") || hasMounts(parts)) {
      for (const total of files) await measureFiles(work, total, options, print);
    }
    if (parts.includes("directory")) await measureDirectory(work, options, print);
    if (parts.includes("sparse")) await measureSparse(work, options, print);
    if (parts.includes("pauses")) await measurePauses(work, options, print);
  } finally {
    await work.cleanUp();
  }
  if (plot !== undefined) {
    const svg = renderPlot({
      title: "DynamicFS, and how its figures change with what it holds",
      subtitle: machine(),
      panels: panels(),
      columns: 3,
      sharedLegend: false,
    });
    writeFileSync(plot, svg);
  }
  if (json) {
    const printed = {
      schema: "dynamicfs.bench-scale/1",
      machine: machine(),
      time: new Date().toISOString(),
      ...{ rows, curves, notes },
    };
    process.stdout.write(`${JSON.stringify(printed)}\n`);
  } else {
    print(notes.map((text) => `\n- ${text}`).join(""));
  }
}

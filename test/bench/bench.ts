/**
 * DynamicFS beside other file systems, paired: in every round each of them gets the same image file as its disk, one
 * after the other and in another order each round, and does the same work. Shown are medians, and in brackets the
 * median of the speed relative to ext4 in the same round (2.00× is twice as fast as ext4).
 *
 *   npm run bench -- [--quick] [--runs N] [--only WORKLOAD,…] [--peers NAME,…|none] [--dir DIR] [--json]
 *   npm run bench -- --check [--only WORKLOAD,…]    is anything slower than when test/bench/baseline.json was made? exit code 1
 *   npm run bench -- --save-baseline                makes it anew
 *   npm run bench -- --tail …     latencies of single operations: tail.ts
 *   npm run bench -- --scale …    very many files, a very large one, pauses: scale.ts
 *   npm run bench -- --kernels …  instructions that the core executes: kernels.ts
 *   npm run bench -- --help       all of it
 *
 * A check has three rounds beside ext4 alone, as the baseline had. What looks slower is measured once more before it is called so.
 *
 * Invariants: the work is done by child processes, never by this one, which could have to serve itself; everything
 * lies below one work directory; whatever happens, mounts and loop devices are taken off and the directory removed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  type Baseline,
  compareWith,
  describeRows,
  parseBaseline,
  type Row,
  type Spread,
  spreadOf,
} from "./baseline.ts";
import { dynamicfs, ext4, type FileSystem, missing, PEERS, Work } from "./file_systems.ts";
import { KERNELS_HELP, kernels } from "./kernels.ts";
import {
  chooseNames,
  dropCaches,
  exists,
  fail,
  figure,
  isMounted,
  isStopped,
  machine,
  note,
  notes,
  run,
  runToEnd,
  say,
  timed,
  type Usage,
} from "./processes.ts";
import { SCALE_HELP, scale } from "./scale.ts";
import { TAIL_HELP, tail } from "./tail.ts";

const MIB = 2 ** 20;
/** In the sources: it is landed with them. */
const BASELINE = fileURLToPath(new URL("../../../test/bench/baseline.json", import.meta.url));

const ARGUMENTS = process.argv.slice(2);
/** Something else than the measurement described above; the first of them that is among the flags. */
const MODES = {
  "--help": help,
  "-h": help,
  "--tail": tail,
  "--scale": scale,
  "--kernels": kernels,
};
const mode = (Object.keys(MODES) as (keyof typeof MODES)[]).find((flag) =>
  ARGUMENTS.includes(flag),
);

function parse() {
  try {
    return parseArgs({
      args: mode === undefined ? ARGUMENTS : [],
      options: {
        quick: { type: "boolean", default: false },
        runs: { type: "string" },
        only: { type: "string" },
        peers: { type: "string" },
        dir: { type: "string", default: tmpdir() },
        json: { type: "boolean", default: false },
        check: { type: "boolean", default: false },
        "save-baseline": { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    say(`bench: ${(error as Error).message}`);
    process.exit(2);
  }
}

const options = parse();
const compares = options.check || options["save-baseline"];
const { quick } = options;
const ROUNDS = Number(options.runs ?? (quick ? 1 : 3));
const SCALE = quick ? 4 : 1;
const DISK_BYTES = (quick ? 1024 : 2048) * MIB;
const SOURCE_FILES = 3000 / SCALE;

// ---- the work

/** What the children run: one workload a process. Prints {"count", "seconds"} of the part that counts. */
const WORKER = `
import json, os, random, sys, time
what, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
now = time.perf_counter
def name(i): return os.path.join(path, "some file name %06d" % i)
def fill(size):
    os.mkdir(path)
    data = b"x" * size
    for i in range(count):
        fd = os.open(name(i), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        if size: os.write(fd, data)
        os.close(fd)
def stat():
    for i in range(count): os.stat(name(i))
def write_all():
    block = random.Random(1).randbytes(1 << 20)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    for i in range(count): os.write(fd, block)
    os.fsync(fd)
    os.close(fd)
if what == "stat_warm": stat()
if what == "unlink": names = [os.path.join(path, n) for n in os.listdir(path)]
if what in ("random_read", "fsync_write"):
    size = os.stat(path).st_size
    offsets = [random.Random(i).randrange(size // 4096) * 4096 for i in range(count)]
    block = b"y" * 4096
start = now()
if what == "create": fill(0)
elif what == "create_4k": fill(4096)
elif what in ("stat_cold", "stat_warm"): stat()
elif what == "rename":
    for i in range(count): os.rename(name(i), name(i) + ".new")
elif what == "unlink":
    for n in names: os.unlink(n)
elif what == "readdir":
    with os.scandir(path) as entries: found = sum(1 for _ in entries)
    assert found == count, found
elif what == "write": write_all()
elif what == "read":
    fd = os.open(path, os.O_RDONLY)
    found = 0
    while True:
        n = len(os.read(fd, 1 << 20))
        if n == 0: break
        found += n
    os.close(fd)
    assert found == count << 20, found
elif what == "random_read":
    fd = os.open(path, os.O_RDONLY)
    for offset in offsets: assert len(os.pread(fd, 4096, offset)) == 4096
    os.close(fd)
elif what == "fsync_write":
    fd = os.open(path, os.O_WRONLY)
    for offset in offsets:
        os.pwrite(fd, block, offset)
        os.fsync(fd)
    os.close(fd)
else: sys.exit("no work " + what)
print(json.dumps({"count": count, "seconds": now() - start}))
`;

type Unit = "op/s" | "MiB/s" | "s";

interface Workload {
  readonly name: string;
  readonly shown: string;
  readonly unit: Unit;
  /** Mounted anew and with nothing in the caches. */
  readonly cold: boolean;
  /** Makes what the work needs, if no workload before has left it; not timed. */
  prepare?(target: string): Promise<void>;
  /** The value in `unit`. */
  run(target: string): Promise<number>;
}

/** Rates count what is done a second; of "s" the time itself is the value. */
async function worker(what: string, path: string, count: number): Promise<number> {
  const out = await run("python3", ["-c", WORKER, what, path, String(count)]);
  const result = JSON.parse(out) as { count: number; seconds: number };
  return result.count / result.seconds;
}

/** A workload of the Python worker on one path below the mount; `source` makes that path if it is not there. */
function pythonWorkload(
  settings: Omit<Workload, "run" | "prepare"> & {
    readonly path: string;
    readonly count: number;
    readonly source?: readonly [what: string, count: number];
  },
): Workload {
  const { path, count, source, ...rest } = settings;
  return {
    ...rest,
    async prepare(target) {
      if (source === undefined || exists(join(target, path))) return;
      await worker(source[0], join(target, path), source[1]);
    },
    run: async (target) => await worker(settings.name, join(target, path), count),
  };
}

const FILES = 10_000 / SCALE;
const FILES_4K = 4000 / SCALE;
const LARGE_MIB = 256 / SCALE;
const READS = 4000 / SCALE;
const SYNCED_FILE_MIB = 64 / SCALE;
const SYNCED_WRITES = 8000 / SCALE;
const empty = ["create", FILES] as const;
const large = ["write", LARGE_MIB] as const;

function workloads(work: Work): Workload[] {
  const clone = [
    ...["-c", "gc.auto=0", "-c", "advice.detachedHead=false"],
    ...["clone", "-q", "--no-local", work.repository],
  ];
  const untar = (target: string): readonly string[] => ["-xf", work.archive, "-C", target];
  return [
    pythonWorkload({
      ...{ name: "create", shown: `create ${FILES} empty files`, unit: "op/s", cold: false },
      ...{ path: "empty", count: FILES },
    }),
    pythonWorkload({
      ...{ name: "create_4k", shown: `create ${FILES_4K} files of 4 KiB`, unit: "op/s" },
      ...{ cold: false, path: "small", count: FILES_4K },
    }),
    pythonWorkload({
      ...{ name: "readdir", shown: `readdir of ${FILES} names, cold`, unit: "op/s", cold: true },
      ...{ path: "empty", count: FILES, source: empty },
    }),
    pythonWorkload({
      ...{ name: "stat_cold", shown: "stat, cold", unit: "op/s", cold: true },
      ...{ path: "empty", count: FILES, source: empty },
    }),
    pythonWorkload({
      ...{ name: "stat_warm", shown: "stat, warm", unit: "op/s", cold: false },
      ...{ path: "empty", count: FILES, source: empty },
    }),
    pythonWorkload({
      ...{ name: "rename", shown: "rename", unit: "op/s", cold: false },
      ...{ path: "empty", count: FILES, source: empty },
    }),
    pythonWorkload({
      ...{ name: "unlink", shown: "unlink", unit: "op/s", cold: false },
      ...{ path: "empty", count: FILES, source: empty },
    }),
    {
      ...{ name: "untar", shown: `untar ${SOURCE_FILES} source files`, unit: "s", cold: false },
      run: async (target) => await timed("tar", untar(target)),
    },
    {
      ...{ name: "rm", shown: "rm -rf of that tree", unit: "s", cold: false },
      async prepare(target) {
        if (!exists(join(target, "tree"))) await run("tar", untar(target));
      },
      run: async (target) => await timed("rm", ["-rf", join(target, "tree")]),
    },
    {
      ...{ name: "git_clone", shown: "git clone of that tree", unit: "s", cold: false },
      run: async (target) => await timed("git", [...clone, join(target, "clone")]),
    },
    pythonWorkload({
      ...{ name: "write", shown: `write ${LARGE_MIB} MiB and fsync`, unit: "MiB/s", cold: false },
      ...{ path: "large", count: LARGE_MIB },
    }),
    pythonWorkload({
      ...{ name: "read", shown: `read ${LARGE_MIB} MiB, cold`, unit: "MiB/s", cold: true },
      ...{ path: "large", count: LARGE_MIB, source: large },
    }),
    pythonWorkload({
      ...{ name: "random_read", shown: "random reads of 4 KiB, cold", unit: "op/s", cold: true },
      ...{ path: "large", count: READS, source: large },
    }),
    pythonWorkload({
      ...{ name: "fsync_write", shown: "random writes of 4 KiB, each fsynced", unit: "op/s" },
      ...{ cold: false, path: "synced", count: SYNCED_WRITES },
      source: ["write", SYNCED_FILE_MIB],
    }),
  ];
}

// ---- the rounds

/** One figure of one workload on one file system in one round; null: it failed. */
interface Sample {
  readonly round: number;
  readonly fileSystem: string;
  readonly workload: string;
  readonly unit: Unit;
  readonly value: number | null;
}

interface UsageSample extends Usage {
  readonly round: number;
  readonly fileSystem: string;
}

const samples: Sample[] = [];
const usages: UsageSample[] = [];

async function runRound(
  round: number,
  fileSystem: FileSystem,
  work: Work,
  chosen: readonly Workload[],
): Promise<void> {
  const usage: UsageSample = { round, fileSystem: fileSystem.name, cpuSeconds: 0, rssMib: 0 };
  work.wipeDisk();
  await fileSystem.make(work);
  await fileSystem.mount(work);
  for (const { name, shown, unit, cold, prepare, run: runWorkload } of chosen) {
    say(`round ${round}, ${fileSystem.name}: ${shown} …`);
    let value: number | null = null;
    try {
      await prepare?.(work.target);
      await run("sync", ["-f", work.target]);
      if (cold) {
        await fileSystem.unmount(work, usage);
        await run("sync", ["-f", work.directory]);
        dropCaches();
        await fileSystem.mount(work);
      }
      value = await runWorkload(work.target);
    } catch (error) {
      if (isStopped || !isMounted(work.target)) throw error;
      note(`${fileSystem.name}, ${shown}: ${(error as Error).message.split("\n").at(-1)}`);
    }
    samples.push({ round, fileSystem: fileSystem.name, workload: name, unit, value });
  }
  await fileSystem.unmount(work, usage);
  usages.push(usage);
}

// ---- what is shown

function median(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  const high = sorted[Math.ceil((sorted.length - 1) / 2)];
  return low === undefined || high === undefined ? null : (low + high) / 2;
}

function sampleValue(round: number, fileSystem: string, workload: string): number | null {
  const found = samples.find(
    (sample) =>
      sample.round === round && sample.fileSystem === fileSystem && sample.workload === workload,
  );
  return found?.value ?? null;
}

/** Of each round in which both did it: the speed relative to ext4. */
function ratiosOf(fileSystem: string, { name, unit }: Workload): number[] {
  return samples.flatMap(({ round, fileSystem: each, workload, value }) => {
    const reference = sampleValue(round, ext4.name, name);
    if (each !== fileSystem || workload !== name || value === null || reference === null) return [];
    return [unit === "s" ? reference / value : value / reference];
  });
}

function cell(fileSystem: string, workload: Workload): string {
  const values = samples.flatMap(({ fileSystem: each, workload: name, value }) =>
    each === fileSystem && name === workload.name && value !== null ? [value] : [],
  );
  const value = median(values);
  if (value === null) return "failed";
  const ratio = fileSystem === ext4.name ? null : median(ratiosOf(fileSystem, workload));
  return ratio === null ? figure(value) : `${figure(value)} (${ratio.toFixed(2)}×)`;
}

function table(fileSystems: readonly FileSystem[], chosen: readonly Workload[]): string {
  const names = fileSystems.map(({ name }) => name);
  const rows = [
    ["", "unit", ...names],
    ["---", "---", ...names.map(() => "--:")],
    ...chosen.map((one) => [one.shown, one.unit, ...names.map((name) => cell(name, one))]),
  ];
  const used = (key: "cpuSeconds" | "rssMib"): string[] =>
    names.map((name) => {
      const ofThis = usages.filter(({ fileSystem }) => fileSystem === name);
      const value = median(ofThis.map((usage) => usage[key]));
      return value === null || value === 0 ? "" : figure(value);
    });
  rows.push(["CPU time of the daemon", "s", ...used("cpuSeconds")]);
  rows.push(["peak memory of the daemon", "MiB", ...used("rssMib")]);
  return rows.map((row) => `| ${row.join(" | ")} |`).join("\n");
}

// ---- never again slower

function allRatios(chosen: readonly Workload[]): Map<string, number[]> {
  return new Map(chosen.map((one) => [one.name, ratiosOf(dynamicfs.name, one)]));
}

function saveBaseline(chosen: readonly Workload[]): void {
  const rows: Record<string, Spread> = {};
  for (const [name, ratios] of allRatios(chosen)) {
    const spread = spreadOf(ratios);
    if (spread === null) throw new Error(`${name} failed: no baseline is written`);
    const rounded = (value: number): number => Number(value.toPrecision(3));
    rows[name] = {
      median: rounded(spread.median),
      min: rounded(spread.min),
      max: rounded(spread.max),
    };
  }
  const baseline: Baseline = {
    schema: "dynamicfs.bench-baseline/1",
    machine: machine(),
    date: new Date().toISOString().slice(0, 10),
    rounds: ROUNDS,
    rows,
  };
  writeFileSync(BASELINE, `${JSON.stringify(baseline, null, 2)}\n`);
  say(`wrote ${BASELINE}`);
}

/** @param measure Measures some of it once more. */
async function check(
  chosen: readonly Workload[],
  measure: (some: readonly Workload[]) => Promise<void>,
): Promise<void> {
  const baseline = parseBaseline(readFileSync(BASELINE, "utf8"));
  if (baseline.machine !== machine())
    note(`the baseline of ${baseline.date} is of another machine: ${baseline.machine}`);
  const isDoubtful = ({ verdict }: Row): boolean => verdict === "slower" || verdict === "failed";
  let rows = compareWith(baseline, allRatios(chosen));
  const doubtful = new Set(rows.filter(isDoubtful).map(({ name }) => name));
  if (doubtful.size > 0) {
    say(`once more: ${[...doubtful].join(", ")}`);
    await measure(chosen.filter(({ name }) => doubtful.has(name)));
    rows = compareWith(baseline, allRatios(chosen));
  }
  const slower = rows.filter(isDoubtful);
  if (options.json) {
    const document = { schema: "dynamicfs.bench-check/1", baseline, rows, notes };
    process.stdout.write(`${JSON.stringify(document)}\n`);
  } else {
    const titles = new Map(chosen.map(({ name, shown }) => [name, shown]));
    const shownNotes = notes.map((text) => `\n- ${text}`).join("");
    const names = slower.map(({ name }) => name).join(", ");
    const verdict = slower.length === 0 ? "nothing is slower" : `slower than before: ${names}`;
    process.stdout.write(`${describeRows(rows, titles)}\n${shownNotes}\n${verdict}\n`);
  }
  if (slower.length > 0) process.exitCode = 1;
}

// ---- all of it

const HELP = `npm run bench -- [FLAGS]
  DynamicFS beside other file systems: in every round each does the same work on the same disk.
  --quick              A quarter of the work, one round
  --runs N             Rounds (default 3)
  --only WORKLOAD,…    Not all of them
  --peers NAME,…|none  Beside them (default ext4,fuse2fs,ntfs-3g,bindfs)
  --dir DIR            Where the disk lies (default ${tmpdir()})
  --json               One JSON document instead of tables
  --check              Is anything slower than when test/bench/baseline.json was made? Exit code 1
  --save-baseline      Make that anew

npm run bench -- NAME…
  Measurements of single parts: those of test/bench/NAME*.bench.ts`;

async function help(): Promise<void> {
  process.stdout.write(`${[HELP, TAIL_HELP, SCALE_HELP, KERNELS_HELP].join("\n\n")}\n`);
}

function chooseFileSystems(): FileSystem[] {
  const known = PEERS.map(({ name }) => name);
  const given = options.peers ?? (compares ? ext4.name : known.join(","));
  const names = given === "none" ? [] : chooseNames(given, known, "peer");
  // All the others are shown relative to ext4, so it is there if any of them is.
  if (names.length > 0) names.push(ext4.name);
  const usable: FileSystem[] = [];
  for (const fileSystem of [...PEERS.filter(({ name }) => names.includes(name)), dynamicfs]) {
    const reason = fileSystem.unusable();
    if (reason === null) usable.push(fileSystem);
    else note(`${fileSystem.name} skipped: ${reason}`);
  }
  return usable;
}

async function main(): Promise<void> {
  if (!Number.isInteger(ROUNDS) || ROUNDS < 1) fail("--runs: a number from 1");
  if (options.check && options["save-baseline"]) fail("--check or --save-baseline, not both");
  // Small amounts fit the caches of disks, and are over before functions are compiled.
  if (compares && quick) fail("a baseline and a check are of the full size");
  if (options["save-baseline"] && options.only !== undefined) fail("a baseline has all workloads");
  const absent = missing(["python3", "tar", "git"], false);
  if (absent !== null) fail(absent);
  const fileSystems = chooseFileSystems();
  if (compares && fileSystems.length < 2) fail(`nothing to compare with: ${notes.join("; ")}`);
  const work = new Work(options.dir);
  try {
    const all = workloads(work);
    const allNames = all.map(({ name }) => name);
    const only = chooseNames(options.only ?? allNames.join(","), allNames, "workload");
    const chosen = all.filter(({ name }) => only.includes(name));
    say(`in ${work.directory}: disk and source tree …`);
    work.fillDisk(DISK_BYTES);
    if (chosen.some(({ name }) => ["untar", "rm", "git_clone"].includes(name))) {
      await work.makeTree(SOURCE_FILES);
    }
    let round = 0;
    const measure = async (some: readonly Workload[]): Promise<void> => {
      for (let count = 0; count < ROUNDS; count += 1) {
        const first = round % Math.max(1, fileSystems.length);
        round += 1;
        const order = [...fileSystems.slice(first), ...fileSystems.slice(0, first)];
        for (const fileSystem of order) await runRound(round, fileSystem, work, some);
      }
    };
    await measure(chosen);
    if (options["save-baseline"]) {
      saveBaseline(chosen);
    } else if (options.check) {
      await check(chosen, measure);
    } else if (options.json) {
      const printed = {
        schema: "dynamicfs.bench/1",
        quick,
        rounds: ROUNDS,
        samples,
        usages,
        notes,
      };
      process.stdout.write(`${JSON.stringify(printed)}\n`);
    } else {
      const shownNotes = notes.map((text) => `\n- ${text}`).join("");
      process.stdout.write(`${table(fileSystems, chosen)}\n${shownNotes}\n`);
    }
  } finally {
    await work.cleanUp();
  }
}

await runToEnd(async () => await (mode === undefined ? main() : MODES[mode](ARGUMENTS)));

/**
 * Work whose amount grows without end: very many files, very many names in one directory, a file that is nearly all hole.
 * In Python, one work a process; it tells how far it is on standard error.
 *
 * Invariants: what random work picks depends on its seed alone, and nothing is picked twice; what was written is told
 * from where it lies, so that reading can verify it.
 */
import { type RunOptions, run, say } from "./processes.ts";

/** What one work printed. */
export interface WorkResult {
  readonly count: number;
  readonly seconds: number;
  /** Of each tenth of the work in turn, how much of `count` was done in how many seconds; fewer of little work. */
  readonly tenths: readonly (readonly [count: number, seconds: number])[];
}

export interface WorkOrder {
  /** "find" is a cold or warm stat of random names; "sparse_read" verifies what "sparse_write" wrote. */
  readonly what: "create" | "find" | "list" | "remove" | "sparse_write" | "sparse_read";
  readonly path: string;
  /** All files there are, or all blocks that are written. */
  readonly total: number;
  /** So many of them, picked at random, of "find" and "sparse_read". */
  readonly picked?: number;
  /** Of each directory; 0: all files lie in one. */
  readonly filesPerDirectory?: number;
  /** Of the sparse file, and of each write into it. */
  readonly fileBytes?: number;
  readonly blockBytes?: number;
}

const WORKER = `
import json, os, random, struct, sys, time
order = json.loads(sys.argv[1])
what, path, total = order["what"], order["path"], order["total"]
picked = min(total, order.get("picked", total))
per = order.get("filesPerDirectory", 0)
now = time.perf_counter
folders = -(-total // per) if per else 1
def folder(d): return os.path.join(path, "d%06d" % d) if per else path
def name(i): return (path + "/d%06d/file %09d" % (i // per, i)) if per else path + "/file %09d" % i
done, tenths, shown = 0, [], now()
def tell(count):
    """After each piece of work."""
    global done, shown, tenth_start, tenth_done
    done += 1
    if done * 10 // count > (done - 1) * 10 // count:
        if what == "sparse_write": os.fsync(fd)
        time_now = now()
        tenths.append([done - tenth_done, time_now - tenth_start])
        tenth_start, tenth_done = time_now, done
    if done % 64 == 0 and now() - shown > 0.5:
        shown = now()
        print("@%d %d" % (done, count), file=sys.stderr, flush=True)
def create():
    for d in range(folders):
        os.mkdir(folder(d))
        for i in range(d * per, min(total, (d + 1) * per)) if per else range(total):
            os.close(os.open(name(i), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            tell(total)
def find():
    for i in picks:
        os.stat(name(i))
        tell(picked)
def list_all():
    found = 0
    for d in range(folders):
        with os.scandir(folder(d)) as entries:
            for _ in entries:
                found += 1
                tell(total)
    assert found == total, found
def remove():
    for d in range(folders):
        for i in range(d * per, min(total, (d + 1) * per)) if per else range(total):
            os.unlink(name(i))
            tell(total)
        os.rmdir(folder(d))
def block_of(index, size): return struct.pack("<QQ", index, index ^ 0x5a5a5a5a5a5a5a5a) * (size // 16)
def sparse_write():
    for index in picks:
        os.pwrite(fd, block_of(index, size), index * size)
        tell(total)
def sparse_read():
    for index in picks:
        data = os.pread(fd, size, index * size)
        assert data == block_of(index, size), "block %d of the sparse file is wrong" % index
        tell(picked)
if what == "find": picks = random.Random(1).sample(range(total), picked)
if what.startswith("sparse"):
    size = order["blockBytes"]
    picks = random.Random(2).sample(range(order["fileBytes"] // size), total)
    if what == "sparse_write":
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        os.ftruncate(fd, order["fileBytes"])
    else:
        fd = os.open(path, os.O_RDONLY)
        assert os.fstat(fd).st_size == order["fileBytes"]
        # Not in the order in which they were written, nor the first of them only.
        picks = random.Random(3).sample(picks, picked)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
work = {"create": create, "find": find, "list": list_all, "remove": remove, "sparse_write": sparse_write, "sparse_read": sparse_read}[what]
start = tenth_start = now()
tenth_done = 0
work()
print(json.dumps({"count": done, "seconds": now() - start, "tenths": tenths}))
`;

const DAY_MS = 86_400_000;
/** On a terminal more often. */
const SAY_MS = process.stderr.isTTY ? 2000 : 15_000;

/** 1 h 5 min, 12 min, 40 s: as exact as an estimate can be. */
export function describeSeconds(seconds: number): string {
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** @returns Takes the lines of a worker, and now and then says how far it is and how long it may yet take. */
function progress(title: string): NonNullable<RunOptions["onLine"]> {
  let saidMs = performance.now();
  let before: { ms: number; done: number } = { ms: saidMs, done: 0 };
  return (line) => {
    const match = /^@(\d+) (\d+)$/.exec(line);
    if (match === null) return false;
    const ms = performance.now();
    if (ms - saidMs < SAY_MS) return true;
    const [done, total] = [Number(match[1]), Number(match[2])];
    // As fast as lately: the rate may fall as the work grows.
    const rate = (done - before.done) / (ms - before.ms);
    const left = describeSeconds((total - done) / rate / 1000);
    const share = Math.floor((done / total) * 100);
    say(
      `  ${title}: ${share} %, ${Math.round(rate * 1000).toLocaleString("en-US")}/s, ${left} left`,
    );
    saidMs = ms;
    before = { ms, done };
    return true;
  };
}

/**
 * @param title What is said to be going on.
 * @throws {Error} When it fails, or what it finds is not what there should be.
 */
export async function runWork(title: string, order: WorkOrder): Promise<WorkResult> {
  say(`${title} …`);
  const options = { msMax: DAY_MS, onLine: progress(title) };
  const out = await run("python3", ["-c", WORKER, JSON.stringify(order)], options);
  return JSON.parse(out) as WorkResult;
}

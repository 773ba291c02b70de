/**
 * Operations that arrive at a fixed rate whatever becomes of those before them, as they do where many programs share a
 * file system; in Python, and in processes of their own.
 *
 * Invariants: each kind of operation has its own process, so that no kind waits for another but in the file system; a
 * latency is counted from when the operation was due, so one that waits for its predecessor has waited, too (no
 * coordinated omission: G. Tene, "How NOT to Measure Latency"); what is due and where is the same for all file systems.
 */
import { join } from "node:path";
import { run } from "./processes.ts";

/** What can be paced, and what each is called. `timer` does nothing: what the measuring itself takes. */
export const OPERATIONS = {
  create: "create an empty file",
  open_read: "open and read 4 KiB, warm",
  read: "read 4 KiB at random, cold",
  write: "write 4 KiB",
  fsync: "write 4 KiB and fsync",
  stat: "stat",
  rename: "rename",
  unlink: "unlink",
  readdir: "list 100 names",
  timer: "nothing: the timer alone",
} as const;

export type Operation = keyof typeof OPERATIONS;

export interface Pace {
  /** How many arrive in a second, of each. */
  readonly rates: Readonly<Partial<Record<Operation, number>>>;
  readonly seconds: number;
  /** The file that `read` reads. */
  readonly largeMib: number;
  /** A file of that size is written over and over meanwhile, from its beginning to its end and synced now and then; 0: none. */
  readonly streamMib: number;
}

export interface Latencies {
  /** Of each arrival in microseconds; of one that was not even begun, how long it had waited when all ended. */
  readonly latenciesUs: readonly number[];
  /** So many were not begun. */
  readonly unfinished: number;
  /** What made it end early, or null. */
  readonly error: string | null;
}

export interface PacedResult {
  readonly operations: Readonly<Partial<Record<Operation, Latencies>>>;
  /** Of the file written over and over; null without one. */
  readonly streamMibPerSecond: number | null;
}

/** An operation that gets behind goes on for so many times the planned time and so much more, and is then given up. */
const TIMES_MAX = 2;
const GRACE_SECONDS = 30;
/** For making the files, or for closing them. */
const SLOW_SECONDS = 900;

const WORKER = `
import ctypes, gc, json, math, os, random, signal, sys, time
stage, path, pace = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
rates, seconds = pace["rates"], pace["seconds"]
def count_of(name): return max(1, math.floor(rates[name] * seconds))
now = time.perf_counter
PAGE = 4096
FILES, RENAMED, LISTED, WRITTEN_MIB = 1000, 200, 20, 64
SYNCED_MIB = 64
libc = ctypes.CDLL(None)
PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29
def at(*names): return os.path.join(path, *names)
def make(name, data=b""):
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    if data: os.write(fd, data)
    os.close(fd)
def make_large(name, mib):
    block = random.Random(1).randbytes(1 << 20)
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    for i in range(mib): os.write(fd, block)
    os.fsync(fd)
    os.close(fd)
def prepare():
    os.mkdir(path)
    os.mkdir(at("created"))
    if "stat" in rates or "open_read" in rates:
        os.mkdir(at("files"))
        for i in range(FILES): make(at("files", "file %04d" % i), b"x" * PAGE)
    if "rename" in rates:
        os.mkdir(at("renamed"))
        for i in range(RENAMED): make(at("renamed", "a%04d" % i))
    if "unlink" in rates:
        os.mkdir(at("unlinked"))
        for i in range(count_of("unlink")): make(at("unlinked", "file %07d" % i))
    if "readdir" in rates:
        for i in range(LISTED):
            os.mkdir(at("listed%02d" % i))
            for j in range(100): make(at("listed%02d" % i, "some file name %02d" % j))
    if "read" in rates: make_large(at("large"), pace["largeMib"])
    for name in ("write", "fsync"):
        if name in rates: make_large(at("file of " + name), WRITTEN_MIB)
def offsets(mib, count, chance):
    pages = mib << 8
    # Each page once, so that what must be cold is: and from the first again when there are not enough.
    order = chance.sample(range(pages), min(pages, count))
    return [order[i % len(order)] * PAGE for i in range(count)]
def begin(name, chance):
    """What one operation does, number i."""
    count = count_of(name)
    if name == "timer": return lambda i: None
    if name == "create": return lambda i: make(at("created", "file %07d" % i))
    if name == "unlink": return lambda i: os.unlink(at("unlinked", "file %07d" % i))
    if name == "rename":
        def rename(i):
            name, turn = i % RENAMED, i // RENAMED % 2
            os.rename(at("renamed", "ab"[turn] + "%04d" % name), at("renamed", "ba"[turn] + "%04d" % name))
        return rename
    if name in ("stat", "open_read"):
        names = [at("files", "file %04d" % i) for i in range(FILES)]
        picks = [names[chance.randrange(FILES)] for i in range(count)]
        def open_read(i):
            fd = os.open(picks[i], os.O_RDONLY)
            assert len(os.read(fd, PAGE)) == PAGE
            os.close(fd)
        if name == "open_read":
            for i in range(FILES):
                fd = os.open(names[i], os.O_RDONLY)
                os.read(fd, PAGE)
                os.close(fd)
            return open_read
        for n in names: os.stat(n)
        return lambda i: os.stat(picks[i])
    if name == "readdir":
        def listed(i):
            with os.scandir(at("listed%02d" % (i % LISTED))) as entries: found = sum(1 for _ in entries)
            assert found == 100, found
        for i in range(LISTED): listed(i)
        return listed
    if name == "read":
        places = offsets(pace["largeMib"], count, chance)
        fd = os.open(at("large"), os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        def read(i): assert len(os.pread(fd, PAGE, places[i])) == PAGE
        return read
    if name in ("write", "fsync"):
        places = [chance.randrange(WRITTEN_MIB << 8) * PAGE for i in range(count)]
        fd = os.open(at("file of " + name), os.O_WRONLY)
        block = b"y" * PAGE
        if name == "write": return lambda i: os.pwrite(fd, block, places[i])
        def synced(i):
            os.pwrite(fd, block, places[i])
            os.fsync(fd)
        return synced
    sys.exit("no operation " + name)
def measure(name, ready, go):
    # The seed is the name, so each has its own rhythm, and the same one every time.
    chance = random.Random(name)
    work = begin(name, chance)
    count, interval = count_of(name), 1 / rates[name]
    # Somewhere in its interval: an exact beat could always meet, or always miss, that of another.
    due = [(i + chance.random()) * interval for i in range(count)]
    latencies, failure, done = [], None, 0
    gc.collect()
    gc.disable()
    os.write(ready, b"r")
    start = float(os.read(go, 64))
    limit = start + seconds * ${TIMES_MAX} + ${GRACE_SECONDS}
    try:
        while done < count:
            time_due = start + due[done]
            wait = time_due - now()
            if wait > 0: time.sleep(wait)
            elif now() > limit: break
            work(done)
            latencies.append(now() - time_due)
            done += 1
    except Exception as error:
        failure = "%s: %s" % (type(error).__name__, error)
    if failure is None:
        end = now()
        latencies += [end - start - due[i] for i in range(done, count)]
    return {"latenciesUs": [round(x * 1e6, 1) for x in latencies], "unfinished": count - done, "error": failure}
def stream(ready, go):
    block = random.Random(2).randbytes(1 << 20)
    size = pace["streamMib"]
    fd = os.open(at("stream"), os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(ready, b"r")
    start = float(os.read(go, 64))
    written = 0
    while now() < start + seconds:
        os.pwrite(fd, block, written % size << 20)
        written += 1
        # Without it, memory would take it all.
        if written % SYNCED_MIB == 0: os.fsync(fd)
    os.fsync(fd)
    return written / (now() - start)
def run():
    libc.prctl(PR_SET_TIMERSLACK, 1)
    names = list(rates) + (["stream"] if pace["streamMib"] else [])
    parent = os.getpid()
    children = []
    for name in names:
        ready, ready_end = os.pipe()
        go_end, go = os.pipe()
        out, out_end = os.pipe()
        if os.fork() == 0:
            # What is not to outlive us would keep the mount busy.
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            status = 1
            try:
                if os.getppid() != parent: sys.exit()
                result = stream(ready_end, go_end) if name == "stream" else measure(name, ready_end, go_end)
                with os.fdopen(out_end, "w") as file: json.dump(result, file)
                status = 0
            except BaseException as error:
                print("%s: %s" % (name, error), file=sys.stderr, flush=True)
            os._exit(status)
        for fd in (ready_end, go_end, out_end): os.close(fd)
        children.append((name, ready, go, out))
    for name, ready, go, out in children:
        if os.read(ready, 1) != b"r": sys.exit(name + " could not begin")
    start = now() + 0.2
    for name, ready, go, out in children: os.write(go, repr(start).encode())
    results = {}
    for name, ready, go, out in children:
        with os.fdopen(out) as file: text = file.read()
        if text == "": sys.exit(name + " ended early")
        results[name] = json.loads(text)
    # Until the last file is closed the file system cannot be unmounted.
    for _ in children: os.wait()
    print(json.dumps({"streamMibPerSecond": results.pop("stream", None), "operations": results}))
prepare() if stage == "prepare" else run()
`;

const place = (target: string): string => join(target, "paced");

async function worker(stage: string, target: string, pace: Pace): Promise<string> {
  const msMax = (pace.seconds * TIMES_MAX + GRACE_SECONDS + SLOW_SECONDS) * 1000;
  return await run("python3", ["-c", WORKER, stage, place(target), JSON.stringify(pace)], {
    msMax,
  });
}

/** Makes the files that `runPaced` needs below a mount point; then it can be mounted anew, to be cold. */
export async function preparePaced(target: string, pace: Pace): Promise<void> {
  await worker("prepare", target, pace);
}

/** @throws {Error} When nothing could be measured; what fails underway is in the result. */
export async function runPaced(target: string, pace: Pace): Promise<PacedResult> {
  return JSON.parse(await worker("run", target, pace)) as PacedResult;
}

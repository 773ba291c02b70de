/**
 * Rounds of kill -9 under real programs: what they do, what they note, and how it is checked afterwards.
 *
 * Each workload is a Python program that works on the mount until the mount is gone, and notes outside of it what the
 * file system has acknowledged, right after it has. Its checker reads the notes and looks at what is there after the
 * next mount. A note may be missing (the kill came between), never be too early.
 */
import { spawn } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Prng } from "../../host/base/prng.ts";
import { delay, type Mounted, programsMissing, python } from "./mount.ts";

/** Shared by writers and checkers. `content(seed, n)`: bytes that no other seed has. */
const COMMON = `
import ctypes, glob, hashlib, json, mmap, os, random, sqlite3, subprocess, sys
mount_path, notes, round, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
random.seed(seed + sys.argv[5])
# Relative to a directory of the mount: once that is gone, nothing is written to what lies under it.
os.chdir(mount_path); mount = "."
if not os.path.ismount(mount_path): sys.exit("not mounted")
def content(seed, n):
    out = b""; i = 0
    while len(out) < n: out += hashlib.sha512(b"%s %d" % (str(seed).encode(), i)).digest() * 8; i += 1
    return out[:n]
def sync_dir(path):
    fd = os.open(path, os.O_RDONLY); os.fsync(fd); os.close(fd)
def note(kind):
    fd = os.open(os.path.join(notes, kind), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    return lambda *line: os.write(fd, json.dumps(line).encode() + b"\\n")
def noted(kind):
    try: return [json.loads(line) for line in open(os.path.join(notes, kind))]
    except FileNotFoundError: return []
def last(kind, otherwise=0):
    return max([otherwise] + [line[-1] for line in noted(kind)])
def read(path):
    with open(mount + "/" + path, "rb") as f: return f.read()
def write(path, *parts):
    with open(mount + "/" + path, "wb") as f:
        for part in parts: f.write(part)
def folder(name):
    os.makedirs(name, exist_ok=True); sync_dir(name); sync_dir("."); return name
def listed(name): return os.listdir(name) if os.path.exists(name) else []
bad = []; figures = {}
def check(true, *what):
    if not true: bad.append(" ".join(map(str, what)))
`;

export interface Workload {
  /** Works until the mount is gone. Prints nothing. */
  readonly write: string;
  /** Calls check(). */
  readonly check: string;
  /** The last line of its error output when it ends because the mount is gone. */
  readonly ends?: RegExp;
  readonly programs?: readonly string[];
}

const QUIET = { throwIfNoEntry: false } as const;
const NOTE_POLLS_MAX = 1200;
/** A dead mount, or (of a device that failed) one that takes no more. */
const GONE = /Errno (107|103|5|2|9|30)\]/;
const SQLITE_GONE =
  /disk I\/O error|unable to open database file|readonly database|locking protocol|Errno|SIGBUS/;

/**
 * Transactions of several rows, of which each leaves exactly the last hundred: what a reader finds must be the state
 * after one of them, not before the last that was acknowledged.
 *
 * SQLite tells of a commit also if it could not open the directory that it wanted to fsync (unixDelete() in os_unix.c),
 * as on a mount that has just died. So a question to the daemon comes before the note: who answers it was alive then.
 */
function sqlite(mode: string, synchronous: string, more: string): Workload {
  const name = `sqlite-${mode}`;
  return {
    write: `
db = sqlite3.connect("${name}.db", isolation_level=None, timeout=1)
db.execute("pragma journal_mode=${mode}"); db.execute("pragma synchronous=${synchronous}"); ${more}
db.execute("create table if not exists t (n integer, k integer, payload blob, primary key (n, k))")
db.execute("create index if not exists p on t (payload)"); sync_dir(".")
say = note("${name}"); n = (db.execute("select max(n) from t").fetchone()[0] or 0)
while True:
    n += 1; db.execute("begin immediate")
    for k in range(1 + n % 5): db.execute("insert into t values (?, ?, ?)", (n, k, content("%d %d" % (n, k), 100 + n * 37 % 3000)))
    db.execute("delete from t where n <= ?", (n - 100,)); db.execute("commit"); os.statvfs("."); say(n)
`,
    check: `
if os.path.exists("${name}.db"):
    db = sqlite3.connect("${name}.db")
    whole = db.execute("pragma integrity_check").fetchall(); check(whole == [("ok",)], "${name}:", whole[:3])
    try: rows = db.execute("select n, k, payload from t order by n, k").fetchall()
    except sqlite3.OperationalError as error: rows = []; check("no such table" in str(error), "${name}:", error)
    n = rows[-1][0] if rows else 0; check(n >= last("${name}"), "${name}: transaction", n, "of", last("${name}"))
    expected = [(m, k) for m in range(max(1, n - 99), n + 1) for k in range(1 + m % 5)]
    check([row[:2] for row in rows] == expected, "${name}: not one transaction's rows")
    check(all(row[2] == content("%d %d" % row[:2], 100 + row[0] * 37 % 3000) for row in rows), "${name}: wrong bytes")
    db.close(); figures["${name}"] = n
`,
    ends: SQLITE_GONE,
  };
}

/** By name. */
export const WORKLOADS: Readonly<Record<string, Workload>> = {
  /** New files, fsynced: all of them must be there, whole. */
  files: {
    write: `
say = note("files"); d = folder("files")
for i in range(10**9):
    name = "%d-%d" % (round, i); size = random.choice([0, 10, 700, 5000, 30000, 300000])
    fd = os.open(d + "/" + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    data = content(name, size)
    for at in range(0, size, 50000): os.write(fd, data[at:at + 50000])
    os.fsync(fd); os.close(fd)
    say(name, size)
`,
    check: `
for name, size in noted("files"):
    try: check(read("files/" + name) == content(name, size), "files", name, "is wrong")
    except OSError as error: check(False, "files", name, error)
figures["files"] = len(noted("files"))
`,
  },
  /** A log that only grows: what was acknowledged is there; behind it each byte is what was written, or zero. */
  log: {
    write: `
say = note("log"); fd = os.open(mount + "/log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
at = os.fstat(fd).st_size
for i in range(10**9):
    end = at + random.randrange(1, 3000)
    os.write(fd, b"".join(b"%09d;" % n for n in range(at // 10, end // 10 + 1))[at % 10:][:end - at]); at = end
    if i % 3 == 0: os.fdatasync(fd); say(at)
`,
    check: `
log = read("log") if os.path.exists("log") else b""
check(len(log) >= last("log"), "log: %d bytes of %d acknowledged" % (len(log), last("log")))
expected = b"".join(b"%09d;" % n for n in range(len(log) // 10 + 1))[:len(log)]
told = last("log")
wrong = [i for i in range(len(log)) if log[i] != expected[i] and (i < told or log[i] != 0)] if log != expected else []
if log != expected and not wrong:
    # The next life appends to what was acknowledged.
    os.truncate(mount + "/log", told)
if wrong:
    at = wrong[0]
    check(False, "log: wrong bytes from %d on, of %d, acknowledged %d: %r" % (at, len(log), last("log"), log[at:at + 40]))
figures["log"] = len(noted("log"))
`,
  },
  /** Replaced by rename, fsynced: the acknowledged version or a newer one, whole. */
  replaced: {
    write: `
say = note("replaced"); version = last("replaced") + 1000
while True:
    version += 1
    with open("tmp", "wb") as f: f.write(b"%d\\n" % version + content(version, 20000)); f.flush(); os.fsync(f.fileno())
    os.rename("tmp", "replaced"); sync_dir("."); say(version)
`,
    check: `
if last("replaced"):
    data = read("replaced"); version = int(data.split(b"\\n")[0])
    check(version >= last("replaced"), "replaced: version", version, "of", last("replaced"))
    check(data.split(b"\\n", 1)[1] == content(version, 20000), "replaced: not whole")
figures["replaced"] = len(noted("replaced"))
`,
  },
  /** Replaced by rename without any fsync: some version, whole; never empty, never mixed. */
  careless: {
    write: `
for i in range(10**9):
    write("careless.tmp", b"%d.%d\\n" % (round, i) + content("%d.%d" % (round, i), random.choice([100, 9000, 200000])))
    os.rename("careless.tmp", "careless")
`,
    check: `
if os.path.exists("careless"):
    data = read("careless"); check(b"\\n" in data, "careless: %d bytes" % len(data))
    if b"\\n" in data:
        head, body = data.split(b"\\n", 1)
        check(len(body) in (100, 9000, 200000) and body == content(head.decode(), len(body)), "careless: not whole", head, len(body))
`,
  },
  /** Published by link without an fsync of the file: whole where there is a name. Of some the directory is fsynced. */
  linked: {
    write: `
say = note("linked"); d = folder("linked")
# It may still be a second name of the last one that was published.
if os.path.exists("linked.tmp"): os.unlink("linked.tmp")
for i in range(10**9):
    name = "%d-%d" % (round, i); size = random.choice([100, 9000, 200000]); write("linked.tmp", content(name, size))
    os.link("linked.tmp", d + "/" + name); os.unlink("linked.tmp")
    if i % 4 == 0: sync_dir(d); say(name, size)
    if i >= 50: os.unlink(d + "/%d-%d" % (round, i - 50))
`,
    check: `
there = set(listed("linked"))
for name in there:
    data = read("linked/" + name); check(len(data) in (100, 9000, 200000) and data == content(name, len(data)), "linked", name, len(data), "is wrong")
newest = [name for name, size in noted("linked")][-5:]
for name in newest: check(name in there, "linked", name, "is lost")
figures["linked"] = len(noted("linked"))
`,
  },
  /** Never synced: a part of what was written from the start, or nothing. */
  unsynced: {
    write: `
d = folder("unsynced")
for name in os.listdir(d): os.unlink(d + "/" + name)
for i in range(10**9):
    name = "%d-%d" % (round, i)
    with open(d + "/" + name, "wb") as f:
        for at in range(0, 200000, 40000): f.write(content(name, 200000)[at:at + 40000])
    if i >= 300: os.unlink(d + "/%d-%d" % (round, i - 300))
`,
    check: `
for name in listed("unsynced"):
    data = read("unsynced/" + name); check(data == content(name, 200000)[:len(data)], "unsynced", name, len(data), "is wrong")
`,
  },
  /** Blocks of one file overwritten in place: of each block the acknowledged version or a newer one, whole. */
  blocks: {
    write: `
say = note("blocks"); fd = os.open("blocks", os.O_CREAT | os.O_RDWR); os.ftruncate(fd, 400 * 4096)
version = last("blocks") + 100000
while True:
    version += 1; block = random.randrange(400)
    os.pwrite(fd, b"%015d;" % version * 256, block * 4096)
    if random.random() < 0.3: os.fsync(fd); say(block, version)
`,
    check: `
blocks = read("blocks") if os.path.exists("blocks") else b""; acked = {}
for block, version in noted("blocks"): acked[block] = version
check(not acked or len(blocks) == 400 * 4096, "blocks:", len(blocks), "bytes")
for block in range(len(blocks) // 4096):
    data = blocks[block * 4096:block * 4096 + 4096]
    if data == bytes(4096): check(block not in acked, "blocks", block, "is empty"); continue
    check(data == data[:16] * 256, "blocks", block, "is mixed")
    check(int(data[:15]) >= acked.get(block, 0), "blocks", block, data[:15], "before", acked.get(block))
figures["blocks"] = len(noted("blocks"))
`,
  },
  /** Each write durable when it returns: O_DSYNC and O_SYNC, buffered and with O_DIRECT. */
  dsync: {
    write: `
say = note("dsync"); flags = [os.O_DSYNC, os.O_SYNC, os.O_DSYNC | os.O_DIRECT, os.O_SYNC | os.O_DIRECT]
fds = [os.open("dsync-%d" % i, os.O_CREAT | os.O_RDWR | flag, 0o600) for i, flag in enumerate(flags)]; sync_dir(".")
version = last("dsync") + 100000; page = mmap.mmap(-1, 4096)
while True:
    version += 1; i = random.randrange(4); block = random.randrange(64); page[:] = b"%015d;" % version * 256
    os.pwritev(fds[i], [page], block * 4096); say(i, block, version)
`,
    check: `
acked = {}
for i, block, version in noted("dsync"): acked[i, block] = version
for i in range(4) if acked else []:
    data = read("dsync-%d" % i)
    for block in range(64):
        page = data[block * 4096:block * 4096 + 4096]
        if page.strip(b"\\0") == b"": check((i, block) not in acked, "dsync", i, block, "is lost"); continue
        check(page == page[:16] * 256, "dsync", i, block, "is mixed")
        check(int(page[:15]) >= acked.get((i, block), 0), "dsync", i, block, page[:15], "before", acked.get((i, block)))
figures["dsync"] = len(noted("dsync"))
`,
  },
  /** Stores to a mapping, durable by msync. */
  mapped: {
    write: `
say = note("mapped"); fd = os.open("mapped", os.O_CREAT | os.O_RDWR); os.ftruncate(fd, 64 * 4096); sync_dir(".")
page = mmap.mmap(fd, 64 * 4096); version = last("mapped") + 100000
while True:
    version += 1; block = random.randrange(64); page[block * 4096:block * 4096 + 4096] = b"%015d;" % version * 256
    if random.random() < 0.3: page.flush(); say(block, version)
`,
    check: `
acked = {}
for block, version in noted("mapped"): acked[block] = version
data = read("mapped") if acked else b""
for block in acked:
    page = data[block * 4096:block * 4096 + 4096]
    check(page == page[:16] * 256 and int(page[:15]) >= acked[block], "mapped", block, page[:15], "before", acked[block])
figures["mapped"] = len(noted("mapped"))
`,
    // A store to a page whose file is gone is a SIGBUS.
    ends: /Errno|SIGBUS/,
  },
  /** Attributes, sizes, kept space, copies: each made durable by fsync of the file. */
  attributes: {
    write: `
say = note("attributes"); version = last("attributes") + 1000
write("source", content("source", 300000)); fd = os.open("attributed", os.O_CREAT | os.O_RDWR)
while True:
    version += 1; size = version * 4096 % 262144 + version % 4096
    os.ftruncate(fd, 0); os.setxattr(fd, "user.version", b"%d" % version); os.fchmod(fd, 0o600 | version % 64)
    os.posix_fallocate(fd, 0, 300000); source = os.open("source", os.O_RDONLY)
    done = 0
    while done < size: done += os.copy_file_range(source, fd, size - done, done, done)
    os.close(source); os.ftruncate(fd, size); os.utime(fd, (version, version)); os.fsync(fd); say(version)
`,
    check: `
if last("attributes"):
    got = os.stat("attributed"); version = int(os.getxattr("attributed", "user.version")); data = read("attributed")
    check(version >= last("attributes"), "attributes: version", version, "of", last("attributes"))
    if version == last("attributes") and got.st_mtime == version:
        size = version * 4096 % 262144 + version % 4096
        check(got.st_mode & 0o777 == 0o600 | version % 64, "attributes: mode", got.st_mode)
        check(got.st_size == size and data == content("source", 300000)[:size], "attributes: data of version", version)
    check(not data.strip(b"\\0") or data.rstrip(b"\\0") == content("source", 300000)[:len(data.rstrip(b"\\0"))], "attributes: wrong bytes")
figures["attributes"] = len(noted("attributes"))
`,
  },
  /** Removed and synced: must not come back. */
  removed: {
    write: `
say = note("removed"); d = folder("removed")
for i in range(10**9):
    name = "%d-%d" % (round, i); open(d + "/" + name, "w").write(name)
    os.unlink(d + "/" + name); sync_dir(d); say(name)
`,
    check: `
check(not {name for name, in noted("removed")} & set(listed("removed")), "removed: came back")
`,
  },
  /** Directories that are made, moved and filled; no promise but that the tree stays whole. */
  tree: {
    write: `
d = folder("tree")
while True:
    a, b = [d + "/" + "/".join("%d" % random.randrange(4) for _ in range(random.randrange(1, 4))) for _ in "ab"]
    try: random.choice([lambda: os.makedirs(a), lambda: os.rename(a, b), lambda: open(a + "/f", "w").write(a), lambda: os.link(a + "/f", b + "/g"), lambda: os.unlink(a + "/f"), lambda: os.rmdir(a)])()
    except OSError as error:
        if error.errno in (107, 103, 5): raise
`,
    check: `
for top, dirs, files in os.walk("tree"):
    check(os.stat(top).st_nlink == 2 + len(dirs), "tree: nlink of", top)
    for f in files: open(top + "/" + f).read()
`,
  },
  /**
   * Commits with everything synced: the acknowledged one is there, and the repository is whole. git fsyncs files, but not
   * the directory in which it renames the branch: that is done for it.
   */
  git: {
    write: `
say = note("git"); r = mount_path + "/repo"
def run(*a):
    done = subprocess.run(("git", "-C", r, "-c", "user.email=a@b", "-c", "user.name=a", "-c", "core.fsync=all", "-c", "gc.auto=0") + a, capture_output=True, text=True)
    if done.returncode: sys.exit("git: " + " ".join(a) + ": status %d: " % done.returncode + done.stderr.strip().replace("\\n", " | "))
    return done.stdout
if not os.path.exists(r + "/.git/HEAD"): os.makedirs(r, exist_ok=True); run("init", "-q")
for top, dirs, files in os.walk(r + "/.git"):
    for f in files:
        if f.endswith(".lock"): os.unlink(top + "/" + f)
if noted("git"): run("reset", "-q", "--hard")
for i in range(10**9):
    open(r + "/f%d" % (i % 7), "w").write("%d %d" % (round, i) * 100)
    run("add", "-A"); run("commit", "-qm", "%d-%d" % (round, i)); head = run("rev-parse", "HEAD").strip(); sync_dir(r); say(head)
    if random.random() < 0.1: run("gc", "-q", "--prune=now")
`,
    check: `
heads = [h for h, in noted("git")]
if heads:
    run = lambda *a: subprocess.run(("git", "-C", mount_path + "/repo") + a, capture_output=True, text=True)
    fsck = run("fsck", "--full", "--no-dangling"); check(fsck.returncode == 0, "git fsck:", fsck.stdout, fsck.stderr)
    ancestor = run("merge-base", "--is-ancestor", heads[-1], "HEAD"); check(ancestor.returncode == 0, "git:", heads[-1], "is lost", ancestor.stderr)
figures["git"] = len(heads)
`,
    ends: /git: .*status|Errno/,
    programs: ["git"],
  },
  /** fio writes with O_DSYNC and checksums in each block, reads all of it back, and is done: then it must stay so. */
  fio: {
    write: `
say = note("fio"); d = folder("fio")
for i in range(10**9):
    name = "%d-%d" % (round, i); job = ["--name=" + name, "--filename=" + d + "/" + name, "--size=%dk" % random.choice([512, 2048]), "--bssplit=4k/60:16k/30:64k/10",
      "--rw=" + random.choice(["write", "randwrite"]), "--randseed=%d" % random.randrange(10**6), "--ioengine=" + random.choice(["psync", "mmap"]), "--verify=crc32c"]
    how = "--fsync_on_close=1" if "mmap" in job[-2] else random.choice(["--sync=dsync", "--end_fsync=1", "--fsync=8"])
    done = subprocess.run(["fio"] + job + [how, "--end_fsync=1", "--verify_fatal=1", "--verify_state_save=0", "--minimal"], capture_output=True, text=True)
    if done.returncode or "verify" in done.stderr: sys.exit("fio: status %d: " % done.returncode + (done.stderr + done.stdout)[-300:].replace("\\n", " | "))
    sync_dir(d); say(name, job)
    if i >= 8: os.unlink(d + "/%d-%d" % (round, i - 8))
`,
    check: `
jobs = [line for line in noted("fio") if line[0].startswith("%d-" % round)][-8:]
for name, job in jobs:
    done = subprocess.run(["fio"] + [a.replace("=mmap", "=psync") for a in job] + ["--verify_only=1", "--verify_fatal=1", "--verify_state_save=0", "--minimal"], capture_output=True, text=True)
    check(done.returncode == 0 and "verify:" not in done.stderr, "fio", name, job, done.stderr[-300:])
for name in listed("fio"): os.unlink("fio/" + name)
figures["fio"] = len(noted("fio"))
`,
    ends: /fio: status(?!.*(verify:|verify failed))|Errno/,
    programs: ["fio"],
  },
  "sqlite-delete": sqlite("delete", "extra", ""),
  "sqlite-truncate": sqlite("truncate", "full", ""),
  "sqlite-persist": sqlite(
    "persist",
    "full",
    'db.execute("pragma mmap_size=33554432"); db.execute("pragma cache_size=20")',
  ),
  "sqlite-wal": sqlite("wal", "full", 'db.execute("pragma wal_autocheckpoint=50")'),
};

/** Those whose programs are installed. */
export function workloadsHere(): { names: string[]; missing: string[] } {
  const missing: string[] = [];
  const names = Object.keys(WORKLOADS).filter((name) => {
    const lack = programsMissing(...(WORKLOADS[name]?.programs ?? []));
    if (lack !== false) missing.push(`${name}: ${lack}`);
    return lack === false;
  });
  return { names, missing };
}

export interface RoundResult {
  /** What was acknowledged and is not there, or is wrong. Empty when all is well. */
  readonly bad: readonly string[];
  /** What each workload had acknowledged so far, for the summary. */
  readonly figures: Readonly<Record<string, number>>;
}

/**
 * Works on a mount, kills its daemon after `killMs`, mounts again (`killsAtMount` are killed on the way, while they
 * mount), and compares.
 *
 * @param notes A folder outside of the mount, kept between the rounds of one volume.
 */
export async function killRound(
  mounted: Mounted,
  options: {
    readonly notes: string;
    readonly round: number;
    readonly seed: number;
    readonly workloads: readonly string[];
    readonly killMs: number;
    /** The kill waits until so many workloads have noted anything: for machines of any speed. */
    readonly notedFirst?: number;
    readonly killsAtMount?: readonly number[];
    /** Called at the moment of the kill, right before it. */
    readonly beforeKill?: () => void;
    /** Called after the kill, before the next mount. */
    readonly whenDead?: () => Promise<string | null>;
  },
): Promise<RoundResult> {
  const { notes, round, seed, workloads } = options;
  const bad: string[] = [];
  mkdirSync(notes, { recursive: true });
  const words = [mounted.directory, notes, String(round), String(seed)];
  const writers = workloads.map((name) => startWriter(name, words));
  await Promise.all(writers.map((writer) => writer.started));
  await delay(options.killMs);
  const isEarly = (): boolean => {
    const kinds = workloads.filter((name) => (statSync(`${notes}/${name}`, QUIET)?.size ?? 0) > 0);
    return kinds.length < (options.notedFirst ?? 0);
  };
  for (let polls = 0; isEarly() && polls < NOTE_POLLS_MAX; polls++) await delay(50);
  options.beforeKill?.();
  const endings = Promise.all(writers.map((writer) => writer.ended));
  // The dead mount stays until all have met it: what lies under it would take their calls.
  await mounted.kill9(endings);
  for (const early of await endings) if (early !== null) bad.push(early);
  const dead = await options.whenDead?.();
  if (typeof dead === "string") bad.push(dead);
  for (const ms of options.killsAtMount ?? []) await mounted.killWhileMounting(ms);
  await mounted.mount();
  // All checkers, for what earlier rounds have left must still be there.
  const checks = Object.keys(WORKLOADS).map((name) => guarded(name, WORKLOADS[name]?.check ?? ""));
  const show = `\nprint(json.dumps({"bad": bad[:20], "figures": figures}))`;
  const shown = JSON.parse(
    await python(`${COMMON}${checks.join("")}${show}`, [...words, "check"]),
  ) as RoundResult;
  return { bad: [...bad, ...shown.bad], figures: shown.figures };
}

/** An exception of one check is a finding, not the end of the others. */
function guarded(name: string, check: string): string {
  const body = check.trim().replaceAll("\n", "\n    ");
  return `
try:
    ${body}
except Exception as error: check(False, "${name}:", type(error).__name__, error)
`;
}

function startWriter(
  name: string,
  words: readonly string[],
): { started: Promise<void>; ended: Promise<string | null> } {
  const { write, ends = GONE } = WORKLOADS[name] as Workload;
  const program = `${COMMON}print("ready", flush=True)\n${write}`;
  const writer = spawn("python3", ["-c", program, ...words, name], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const started = new Promise<void>((resolve) => {
    createInterface({ input: writer.stdout }).once("line", () => resolve());
    writer.once("close", () => resolve());
  });
  let text = "";
  writer.stderr.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  const ended = new Promise<string | null>((resolve) =>
    writer.on("close", (_code, signal) => {
      const line = signal ?? text.trim().split("\n").at(-1) ?? "";
      resolve(ends.test(line) ? null : `${name} ended early: ${line}`);
    }),
  );
  return { started, ended };
}

/** What a round of this seed does. Of the workloads some, so that each gets its share of the machine. */
export function planRound(
  prng: Prng,
  names: readonly string[],
): { workloads: string[]; killMs: number; killsAtMount: number[] } {
  const rest = [...names];
  const workloads: string[] = [];
  for (let left = 3 + prng.below(4); left > 0 && rest.length > 0; left--) {
    workloads.push(...rest.splice(prng.below(rest.length), 1));
  }
  const killMs = 200 + Math.floor(prng.float() ** 1.5 * 5000);
  const killsAtMount: number[] = [];
  while (prng.below(4) === 0) killsAtMount.push(prng.below(600));
  return { workloads, killMs, killsAtMount };
}

/**
 * The daemon is killed under load, ten times: what was fsynced must be there, what was not may be older but never wrong.
 *
 * Each writer notes outside the mount what the file system has acknowledged, right after it has: the checker reads the
 * notes and compares. A writer ends when the mount under it is gone.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import t from "tap";
import {
  delay,
  mountImpossible,
  must,
  programsMissing,
  python,
  withMount,
} from "../support/mount.ts";

t.setTimeout(900_000);
const skip = (await mountImpossible()) || programsMissing("python3", "git");
const ROUNDS = Number(process.env["KILL9_ROUNDS"] ?? 10);

/** Shared by writers and checker. `content(seed, n)`: bytes that no other seed has. */
const COMMON = `
import hashlib, json, os, random, subprocess, sys
notes, round = sys.argv[2], int(sys.argv[3])
# Relative to a directory of the mount: once that is gone, nothing is written to what lies under it.
os.chdir(sys.argv[1]); mount = "."
if not os.path.ismount(sys.argv[1]): sys.exit("not mounted")
print("ready", flush=True)
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
`;

const WRITERS: Readonly<Record<string, string>> = {
  /** New files, fsynced: all of them must be there, whole. */
  files: `
say = note("files"); d = mount + "/files"; os.makedirs(d, exist_ok=True)
for i in range(10**9):
    name = "%d-%d" % (round, i); size = random.choice([0, 10, 700, 5000, 30000, 300000])
    fd = os.open(d + "/" + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    data = content(name, size)
    for at in range(0, size, 50000): os.write(fd, data[at:at + 50000])
    os.fsync(fd); os.close(fd)
    say(name, size)
`,
  /** A log that only grows: at least as long as acknowledged, and never a wrong byte. */
  log: `
say = note("log"); fd = os.open(mount + "/log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
at = os.fstat(fd).st_size
for i in range(10**9):
    end = at + random.randrange(1, 3000)
    os.write(fd, b"".join(b"%09d;" % n for n in range(at // 10, end // 10 + 1))[at % 10:][:end - at]); at = end
    if i % 3 == 0: os.fdatasync(fd); say(at)
`,
  /** Replaced by rename, fsynced: the acknowledged version or a newer one, whole. */
  replaced: `
say = note("replaced"); version = max([0] + [n for n, in noted("replaced")]) + 1000
while True:
    version += 1
    with open(mount + "/tmp", "wb") as f: f.write(b"%d\\n" % version + content(version, 20000)); f.flush(); os.fsync(f.fileno())
    os.rename(mount + "/tmp", mount + "/replaced"); sync_dir(mount); say(version)
`,
  /** Replaced by rename without any fsync: some version, whole; never empty, never mixed. */
  careless: `
i = 0
while True:
    i += 1
    with open(mount + "/careless.tmp", "wb") as f: f.write(b"%d.%d\\n" % (round, i) + content("%d.%d" % (round, i), random.choice([100, 9000, 200000])))
    os.rename(mount + "/careless.tmp", mount + "/careless")
`,
  /** Never synced: a part of what was written from the start, or nothing. */
  unsynced: `
d = mount + "/unsynced"; os.makedirs(d, exist_ok=True)
for i in range(10**9):
    name = "%d-%d" % (round, i)
    with open(d + "/" + name, "wb") as f:
        for at in range(0, 200000, 40000): f.write(content(name, 200000)[at:at + 40000])
`,
  /** Blocks of one file overwritten in place: of each block the acknowledged version or a newer one, whole. */
  blocks: `
say = note("blocks"); fd = os.open(mount + "/blocks", os.O_CREAT | os.O_RDWR); os.ftruncate(fd, 400 * 4096)
version = max([0] + [v for _, v in noted("blocks")]) + 100000
while True:
    version += 1; block = random.randrange(400)
    os.pwrite(fd, b"%015d;" % version * 256, block * 4096)
    if random.random() < 0.3: os.fsync(fd); say(block, version)
`,
  /** Removed and synced: must not come back. */
  removed: `
say = note("removed"); d = mount + "/removed"; os.makedirs(d, exist_ok=True)
for i in range(10**9):
    name = "%d-%d" % (round, i); open(d + "/" + name, "w").write(name)
    os.unlink(d + "/" + name); sync_dir(d); say(name)
`,
  /** Directories that are made, moved and filled; no promise but that the tree stays whole. */
  tree: `
d = mount + "/tree"; os.makedirs(d, exist_ok=True)
while True:
    a, b = [d + "/" + "/".join("%d" % random.randrange(4) for _ in range(random.randrange(1, 4))) for _ in "ab"]
    try: random.choice([lambda: os.makedirs(a), lambda: os.rename(a, b), lambda: open(a + "/f", "w").write(a), lambda: os.link(a + "/f", b + "/g"), lambda: os.unlink(a + "/f"), lambda: os.rmdir(a)])()
    except OSError as error:
        if error.errno in (107, 103, 5): break
`,
  /** Commits with everything synced: the acknowledged one is there, and the repository is whole. */
  git: `
say = note("git"); r = mount + "/repo"
run = lambda *a: subprocess.run(("git", "-C", r, "-c", "user.email=a@b", "-c", "user.name=a", "-c", "core.fsync=all", "-c", "gc.auto=0") + a, capture_output=True, text=True, check=True).stdout
if not os.path.exists(r + "/.git/HEAD"): os.makedirs(r, exist_ok=True); run("init", "-q")
for top, dirs, files in os.walk(r + "/.git"):
    for f in files:
        if f.endswith(".lock"): os.unlink(top + "/" + f)
if noted("git"): run("reset", "-q", "--hard")
for i in range(10**9):
    open(r + "/f%d" % (i % 7), "w").write("%d %d" % (round, i) * 100)
    run("add", "-A"); run("commit", "-qm", "%d-%d" % (round, i)); say(run("rev-parse", "HEAD").strip())
`,
};

const CHECK = `
bad = []
def check(true, *what):
    if not true: bad.append(" ".join(map(str, what)))
def read(path):
    with open(mount + "/" + path, "rb") as f: return f.read()
for name, size in noted("files"):
    try: check(read("files/" + name) == content(name, size), "files", name, "is wrong")
    except OSError as error: check(False, "files", name, error)
log = read("log"); acked = max([0] + [n for n, in noted("log")])
check(len(log) >= acked, "log: %d bytes of %d acknowledged" % (len(log), acked))
check(log == b"".join(b"%09d;" % n for n in range(len(log) // 10 + 1))[:len(log)], "log: wrong bytes")
acked = [n for n, in noted("replaced")]
if acked:
    data = read("replaced"); version = int(data.split(b"\\n")[0])
    check(version >= max(acked), "replaced: version", version, "of", max(acked))
    check(data.split(b"\\n", 1)[1] == content(version, 20000), "replaced: not whole")
if os.path.exists(mount + "/careless"):
    data = read("careless"); check(b"\\n" in data, "careless: %d bytes" % len(data))
    if b"\\n" in data:
        head, body = data.split(b"\\n", 1)
        check(len(body) in (100, 9000, 200000) and body == content(head.decode(), len(body)), "careless: not whole", head, len(body))
for name in os.listdir(mount + "/unsynced") if os.path.exists(mount + "/unsynced") else []:
    data = read("unsynced/" + name); check(data == content(name, 200000)[:len(data)], "unsynced", name, len(data), "is wrong")
blocks = read("blocks") if os.path.exists(mount + "/blocks") else b""; acked = {}
for block, version in noted("blocks"): acked[block] = version
for block in range(len(blocks) // 4096):
    data = blocks[block * 4096:block * 4096 + 4096]
    if data == bytes(4096): check(block not in acked, "blocks", block, "is empty"); continue
    check(data == data[:16] * 256, "blocks", block, "is mixed")
    check(int(data[:15]) >= acked.get(block, 0), "blocks", block, data[:15], "before", acked.get(block))
gone = {name for name, in noted("removed")}
check(not gone & set(os.listdir(mount + "/removed") if os.path.exists(mount + "/removed") else []), "removed: came back")
for top, dirs, files in os.walk(mount + "/tree"):
    check(os.stat(top).st_nlink == 2 + len(dirs), "tree: nlink of", top)
    for f in files: open(top + "/" + f).read()
heads = [h for h, in noted("git")]
if heads:
    run = lambda *a: subprocess.run(("git", "-C", mount + "/repo") + a, capture_output=True, text=True)
    fsck = run("fsck", "--full", "--no-dangling"); check(fsck.returncode == 0, "git fsck:", fsck.stdout, fsck.stderr)
    ancestor = run("merge-base", "--is-ancestor", heads[-1], "HEAD"); check(ancestor.returncode == 0, "git:", heads[-1], "is lost", ancestor.stderr)
print(json.dumps({"bad": bad[:20], "files": len(noted("files")), "log": len(log), "replaced": len(noted("replaced")), "blocks": len(noted("blocks")), "git": len(heads)}))
`;

t.test("the daemon is killed under load", { skip, timeout: 800_000 }, async (t) => {
  await withMount({ size: "4G", memory: "128M", limitSeconds: 800 }, async (mounted) => {
    const notes = `${mounted.outside}/notes`;
    mkdirSync(notes);
    for (let round = 0; round < ROUNDS; round++) {
      const args = [mounted.directory, notes, String(round)];
      const started: Promise<unknown>[] = [];
      const writers = Object.entries(WRITERS).map(([name, program]) => {
        const writer = spawn("python3", ["-c", COMMON + program, ...args], {
          stdio: ["ignore", "pipe", "pipe"],
        });
        started.push(once(writer.stdout, "data"));
        let text = "";
        writer.stderr?.on("data", (chunk: Buffer) => (text += chunk.toString()));
        return new Promise<string>((resolve) =>
          writer.on("close", () => resolve(`${name}: ${text.trim().split("\n").at(-1)}`)),
        );
      });
      await Promise.all(started);
      await delay(400 + Math.random() * 2500);
      await mounted.kill9();
      const endings = await Promise.all(writers);
      const early = endings.filter(
        (text) => !/Errno (107|103|5|2)\]|git: .*(exit|return).*status|tree: /.test(text),
      );
      t.same(early, [], "no writer ended for another reason");
      await mounted.mount();
      const shown = JSON.parse((await python(COMMON + CHECK, args)).replace("ready\n", "")) as {
        bad: string[];
      };
      t.same(shown.bad, [], `round ${round}: all that was acknowledged is there`);
      t.comment(JSON.stringify(shown));
      await mounted.umount();
      t.match(mounted.fsck(), { code: 0, out: "clean\n" }, `round ${round}: fsck`);
      await mounted.mount();
      // Room for the next round.
      await must("sh", ["-c", `rm -rf unsynced tree`], { cwd: mounted.directory });
    }
    writeFileSync(mounted.path("end"), "");
    t.notMatch(mounted.log(), /"level":"error"/);
  });
});

/**
 * What the benchmark does in a mounted directory. Each workload runs in a Python process of its own, which measures
 * itself: its start and this process cost nothing. Rates; work whose result must not be lost ends with everything durable
 * within the time that is measured.
 */
export interface Workload {
  readonly name: string;
  readonly unit: string;
  /** Mount again, with all caches empty, before it. */
  readonly isCold?: boolean;
  /** Sets `n` (amount of work) and calls start() and stop(); stop(True) makes all durable first. */
  readonly program: string;
}

/** Before each program. `Q`: divisor of the amount of work; the current directory is the mounted one. */
export const PRELUDE = `
import ctypes, os, random, shutil, subprocess, sys, time
Q = int(sys.argv[2]); data = sys.argv[3]; os.chdir(sys.argv[1])
random.seed(1); libc = ctypes.CDLL(None); root = os.open(".", os.O_RDONLY); t = [0, 0]; n = 0
N = 20000 // Q; SIZE = (1024 << 20) // Q; BLOCK = os.urandom(4096)
def start(): t[0] = time.perf_counter()
def stop(durable=False):
    if durable: libc.syncfs(root); os.fsync(root)
    t[1] = time.perf_counter()
def sh(line): subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL)
def names(kind): return ["%s/d%02d/f%05d" % (kind, i % 100, i) for i in range(N)]
def dirs(kind):
    for i in range(100): os.makedirs("%s/d%02d" % (kind, i))
    libc.syncfs(root); os.fsync(root)
`;
export const CODA = `
import json; print(json.dumps([n, t[1] - t[0]]))
`;

export const WORKLOADS: readonly Workload[] = [
  {
    name: "create, empty",
    unit: "files/s",
    program: `
dirs("empty"); start()
for p in names("empty"): os.close(os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
stop(True); n = N`,
  },
  {
    name: "create, 4 KiB",
    unit: "files/s",
    program: `
dirs("small"); start()
for p in names("small"):
    f = os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644); os.write(f, BLOCK); os.close(f)
stop(True); n = N`,
  },
  {
    name: "stat, cold",
    unit: "files/s",
    isCold: true,
    program: `start(); sh("find empty small -printf '%s %m %T@ %p\\\\n'"); stop(); n = 2 * N`,
  },
  {
    name: "stat, warm",
    unit: "files/s",
    program: `start(); sh("find empty small -printf '%s %m %T@ %p\\\\n'"); stop(); n = 2 * N`,
  },
  {
    name: "read 4 KiB files, cold",
    unit: "files/s",
    isCold: true,
    program: `
start()
for p in names("small"):
    f = os.open(p, os.O_RDONLY); os.read(f, 8192); os.close(f)
stop(); n = N`,
  },
  {
    name: "rename",
    unit: "ops/s",
    program: `
start()
for p in names("empty"): os.rename(p, p + ".new")
stop(True); n = N`,
  },
  {
    name: "unlink",
    unit: "ops/s",
    program: `
start()
for p in names("empty"): os.unlink(p + ".new")
for p in names("small"): os.unlink(p)
stop(True); n = 2 * N; sh("rm -rf empty small")`,
  },
  {
    name: "readdir of 10,000, cold",
    unit: "entries/s",
    isCold: true,
    program: `start(); n = len(os.listdir("big")); stop()`,
  },
  {
    name: "untar",
    unit: "files/s",
    program: `
sh("cat %s/tree.tar" % data); n = int(open(data + "/tree.count").read()); start(); sh("mkdir tree && tar xf %s/tree.tar -C tree" % data); stop(True)`,
  },
  {
    name: "read the tree, cold",
    unit: "files/s",
    isCold: true,
    program: `n = int(open(data + "/tree.count").read()); start(); sh("grep -rc no-such-word-anywhere tree || true"); stop()`,
  },
  {
    name: "rm -rf",
    unit: "files/s",
    program: `n = int(open(data + "/tree.count").read()); start(); sh("rm -rf tree"); stop(True)`,
  },
  {
    name: "git clone",
    unit: "files/s",
    program: `
sh("cat %s/repo.git/objects/pack/*" % data); n = int(open(data + "/tree.count").read())
start(); sh("git clone -q --no-hardlinks %s/repo.git clone" % data); stop(True); sh("rm -rf clone")`,
  },
  {
    name: "sequential write",
    unit: "MiB/s",
    program: `
b = os.urandom(1 << 20); f = os.open("data", os.O_CREAT | os.O_WRONLY); start()
for i in range(SIZE >> 20): os.write(f, b)
os.fsync(f); stop(); n = SIZE >> 20`,
  },
  {
    name: "sequential read, cold",
    unit: "MiB/s",
    isCold: true,
    program: `
f = os.open("data", os.O_RDONLY); b = bytearray(1 << 20); start()
while os.readv(f, [b]): n += 1
stop()`,
  },
  {
    name: "random 4 KiB read, cold",
    unit: "reads/s",
    isCold: true,
    program: `
n = 8000 // Q; f = os.open("data", os.O_RDONLY); os.posix_fadvise(f, 0, 0, os.POSIX_FADV_RANDOM); b = bytearray(4096); start()
for i in range(n): os.preadv(f, [b], random.randrange(SIZE // 4096) * 4096)
stop()`,
  },
  {
    name: "4 KiB write and fsync",
    unit: "ops/s",
    program: `
n = 4000 // Q; f = os.open("data", os.O_RDWR); os.fsync(f); start()
for i in range(n): os.pwrite(f, BLOCK, random.randrange(SIZE // 4096) * 4096); os.fsync(f)
stop(); os.unlink("data")`,
  },
];

/** Made before the round's first cold workload that needs it. */
export const PREPARE = `
os.mkdir("big")
for i in range(10000): os.close(os.open("big/some longer name %05d" % i, os.O_CREAT | os.O_WRONLY))
`;

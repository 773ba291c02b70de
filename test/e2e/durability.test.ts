/**
 * What host/DURABILITY.md promises of calls on a mount: each call that acknowledges, with the daemon killed right after
 * it. Calls whose promise a later one would also keep have a kill of their own.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import t from "tap";
import {
  delay,
  type Mounted,
  mountImpossible,
  must,
  programsMissing,
  python,
  withMount,
} from "../support/mount.ts";

t.setTimeout(600_000);
const skip = (await mountImpossible()) || programsMissing("python3");
const CHECKPOINT_POLLS_MAX = 300;

const COMMON = `
import ctypes, mmap, os, sys
# Each test has a folder of its own.
os.makedirs(sys.argv[1], exist_ok=True); os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def content(n, seed): return b"".join(b"%s %011d;" % (seed.encode(), i) for i in range(n // 12 + 1))[:n]
def write(path, data):
    with open(path, "wb") as f: f.write(data)
def read(path):
    with open(path, "rb") as f: return f.read()
def sync_dir(path):
    fd = os.open(path, os.O_RDONLY); os.fsync(fd); os.close(fd)
def page(seed):
    p = mmap.mmap(-1, 8192); p[:] = content(8192, seed); return p
def check(true, what):
    if not true: sys.exit(what)
`;

/** Runs a program on the mount, kills the daemon as soon as it has ended, mounts again, and runs the check. */
async function killAfter(
  mounted: Mounted,
  folder: string,
  work: string,
  check: string,
): Promise<void> {
  const worker = spawn(
    "python3",
    ["-c", `${COMMON}${work}\nprint("done", flush=True)\nimport time; time.sleep(600)`, folder],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  // It keeps its files open: closing them would hand over more.
  const [word] = (await Promise.race([once(worker.stdout, "data"), once(worker, "close")])) as [
    unknown,
  ];
  if (String(word).trim() !== "done") throw new Error(`the program failed: ${word}`);
  const ended = once(worker, "close");
  await mounted.kill9(
    (async () => {
      worker.kill("SIGKILL");
      await ended;
    })(),
  );
  await mounted.mount();
  await python(`${COMMON}${check}`, [folder]);
}

const NAMES = `
os.mkdir("d"); fd = os.open("d", os.O_TMPFILE | os.O_WRONLY); os.write(fd, b"unnamed"); os.fsync(fd)
write("d/made", b""); os.rename("moved", "d/moved"); os.link("linked", "d/linked")
os.symlink("made", "d/symlink"); os.unlink("gone"); os.rmdir("empty")
check(libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"d/named", 0x400) == 0, "linkat")
`;
const HAVE_NAMES = `
for name in ["moved", "linked", "gone", "other"]: write(name, name.encode())
os.mkdir("empty"); sync_dir(".")
`;
const CHECK_NAMES = `
check(sorted(os.listdir("d")) == ["linked", "made", "moved", "named", "symlink"], os.listdir("d"))
check(sorted(set(os.listdir(".")) - {"other"}) == ["d", "linked"], os.listdir("."))
check(read("d/moved") == b"moved" and read("d/named") == b"unnamed", "data of a published file")
check(os.stat("linked").st_nlink == 2 and os.readlink("d/symlink") == "made", "links")
`;

t.test("on a mount", { skip, timeout: 500_000 }, async (t) => {
  await withMount({ limitSeconds: 400 }, async (mounted) => {
    await t.test("kill -9: data, by each call that makes it durable", async (t) => {
      const folder = mounted.path("data");
      await killAfter(
        mounted,
        folder,
        `
keep = []
for name, size in [("fsync", 100), ("fsync-large", 3000000), ("fdatasync", 100), ("fdatasync-large", 3000000)]:
    fd = os.open(name, os.O_CREAT | os.O_WRONLY); keep.append(fd); os.write(fd, content(size, name))
    (os.fdatasync if "data" in name else os.fsync)(fd)
for name, flags in [("O_SYNC", os.O_SYNC), ("O_DSYNC", os.O_DSYNC), ("O_SYNC-direct", os.O_SYNC | os.O_DIRECT), ("O_DSYNC-direct", os.O_DSYNC | os.O_DIRECT)]:
    fd = os.open(name, os.O_CREAT | os.O_WRONLY | flags); keep.append(fd); os.pwritev(fd, [page(name)], 4096)
fd = os.open("RWF_DSYNC", os.O_CREAT | os.O_WRONLY); keep.append(fd); os.pwritev(fd, [page("RWF_DSYNC")], 4096, os.RWF_DSYNC)
fd = os.open("direct", os.O_CREAT | os.O_WRONLY | os.O_DIRECT); keep.append(fd); os.pwritev(fd, [page("direct")], 4096); os.fsync(fd)
fd = os.open("msync", os.O_CREAT | os.O_RDWR); keep.append(fd); os.ftruncate(fd, 12288)
m = mmap.mmap(fd, 12288); m[4096:] = content(8192, "msync"); m.flush()
`,
        `
for name, size in [("fsync", 100), ("fsync-large", 3000000), ("fdatasync", 100), ("fdatasync-large", 3000000)]:
    check(read(name) == content(size, name), name)
for name in ["O_SYNC", "O_DSYNC", "O_SYNC-direct", "O_DSYNC-direct", "RWF_DSYNC", "direct", "msync"]:
    check(read(name) == bytes(4096) + content(8192, name), name)
`,
      );
      t.pass("all of it is there");
    });

    const noFio = programsMissing("fio");
    await t.test("kill -9: asynchronous direct writes with O_DSYNC", { skip: noFio }, async (t) => {
      // io_uring is not allowed everywhere; libaio is, and the kernel treats both alike.
      const job = ["--name=f", "--filename=f", "--size=1m", "--randseed=7"];
      const more = [
        "--rw=randwrite",
        "--verify=crc32c",
        "--ioengine=libaio",
        "--iodepth=4",
        "--direct=1",
      ];
      const verified = [...job, ...more, "--verify_state_save=0"];
      const folder = mounted.path("asynchronous");
      mkdirSync(folder);
      const options = { cwd: folder };
      await must("fio", [...job, "--rw=write", "--zero_buffers", "--end_fsync=1"], options);
      await must("fio", [...verified, "--sync=dsync", "--do_verify=0"], options);
      await mounted.kill9();
      await mounted.mount();
      await must("fio", [...verified, "--verify_only=1"], options);
      t.pass("all of them are there");
    });

    for (const [title, sync] of [
      ["fsync of a directory", `sync_dir(".")`],
      ["fsync of any file", `fd2 = os.open("other", os.O_WRONLY); os.fsync(fd2)`],
      [
        "a write with O_DSYNC",
        `fd2 = os.open("other", os.O_WRONLY | os.O_DSYNC); os.write(fd2, b"x")`,
      ],
    ] as const) {
      await t.test(`kill -9: names and links, by ${title}`, async (t) => {
        const folder = mounted.path(title.replaceAll(" ", "-"));
        await python(COMMON + HAVE_NAMES, [folder]);
        await killAfter(mounted, folder, `${NAMES}\n${sync}`, CHECK_NAMES);
        t.pass("all of them are there");
      });
    }

    for (const sync of ["fsync", "fdatasync"]) {
      await t.test(`kill -9: sizes, attributes, kept space and copies, by ${sync}`, async (t) => {
        const folder = mounted.path(sync);
        await killAfter(
          mounted,
          folder,
          `
write("source", content(500000, "source"))
fd = os.open("f", os.O_CREAT | os.O_RDWR); os.write(fd, content(9000, "f")); os.ftruncate(fd, 5000); os.ftruncate(fd, 7000)
os.posix_fallocate(fd, 0, 100000); os.setxattr(fd, "user.x", b"value"); os.fchmod(fd, 0o604); os.fchown(fd, 7, 8)
os.utime(fd, (5, 6)); os.${sync}(fd)
copy = os.open("copy", os.O_CREAT | os.O_WRONLY); source = os.open("source", os.O_RDONLY); done = 0
while done < 500000: done += os.copy_file_range(source, copy, 500000 - done, done, done)
os.${sync}(copy)
`,
          `
s = os.stat("f"); check(read("f") == content(9000, "f")[:5000] + bytes(95000), "data and size")
check((s.st_mode & 0o777, s.st_uid, s.st_gid, s.st_mtime) == (0o604, 7, 8, 6), "attributes")
check(s.st_blocks * 512 >= 100000, "kept space"); check(os.getxattr("f", "user.x") == b"value", "xattr")
check(read("copy") == content(500000, "source"), "copy")
`,
        );
        t.pass("all of it is there");
      });
    }

    await t.test(
      "kill -9: close and syncfs hand over, the next checkpoint makes it durable",
      async (t) => {
        const folder = mounted.path("handed-over");
        const sequence = (): number => {
          const { out } = mounted.sandbox.run("status", mounted.directory, "--json");
          return (JSON.parse(out) as { pools: { checkpoint: { sequence: number } }[] }).pools[0]!
            .checkpoint.sequence;
        };
        const worker = spawn(
          "python3",
          [
            "-c",
            `${COMMON}
write("closed", content(300000, "closed")); fd = os.open("open", os.O_CREAT | os.O_WRONLY)
os.write(fd, content(300000, "open")); libc.syncfs(fd); print("done", flush=True)
# So that each checkpoint has a reason.
import time
while True: os.utime("closed"); time.sleep(0.1)
`,
            folder,
          ],
          { stdio: ["ignore", "pipe", "ignore"] },
        );
        await once(worker.stdout, "data");
        // The first may have begun before.
        const enough = sequence() + 2;
        for (let poll = 0; sequence() < enough && poll < CHECKPOINT_POLLS_MAX; poll++)
          await delay(1000);
        await mounted.kill9(once(worker, "close"));
        await mounted.mount();
        await python(
          `${COMMON}for name in ["closed", "open"]: check(read(name) == content(300000, name), name)`,
          [folder],
        );
        t.pass("both are there");
      },
    );

    await t.test(
      "umount: all that was written, to files that were never closed in order, too",
      async (t) => {
        const folder = mounted.path("unmounted");
        await python(
          `${COMMON}
write("closed", content(300000, "closed")); fd = os.open("mapped", os.O_CREAT | os.O_RDWR); os.ftruncate(fd, 300000)
m = mmap.mmap(fd, 300000); m[:] = content(300000, "mapped"); os._exit(0)`,
          [folder],
        );
        await mounted.umount();
        t.match(mounted.fsck(), { code: 0, out: "clean\n" });
        await mounted.mount();
        await python(
          `${COMMON}for name in ["closed", "mapped"]: check(read(name) == content(300000, name), name)`,
          [folder],
        );
      },
    );

    await t.test("a killed program: what it wrote or stored is there for others", async (t) => {
      const folder = mounted.path("killed");
      const worker = spawn(
        "python3",
        [
          "-c",
          `${COMMON}
fd = os.open("written", os.O_CREAT | os.O_WRONLY); os.write(fd, content(300000, "written"))
fd2 = os.open("mapped", os.O_CREAT | os.O_RDWR); os.ftruncate(fd2, 300000)
m = mmap.mmap(fd2, 300000); m[:] = content(300000, "mapped"); print("done", flush=True)
import time; time.sleep(600)`,
          folder,
        ],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      await once(worker.stdout, "data");
      worker.kill("SIGKILL");
      await once(worker, "close");
      const check = `${COMMON}for name in ["written", "mapped"]: check(read(name) == content(300000, name), name)`;
      await python(check, [folder]);
      await mounted.remount();
      await python(check, [folder]);
      t.pass("both are there, after a new mount, too");
    });
  });
});

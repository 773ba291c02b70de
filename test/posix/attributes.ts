/** What stat() tells and what changes it: modes, owners, times. */

import { mode, type PosixCase, python, touch, utimensat, withFile } from "../support/posix_case.ts";
import {
  chmodSync,
  chownSync,
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "../support/posix_fs.ts";

const at = (s: bigint, ns = 0n): { s: bigint; ns: bigint } => ({ s, ns });
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
const nanoseconds = (path: string): { atime: bigint; mtime: bigint; ctime: bigint } => {
  const stats = lstatSync(path, { bigint: true });
  return { atime: stats.atimeNs, mtime: stats.mtimeNs, ctime: stats.ctimeNs };
};

export const attributes: PosixCase[] = [
  {
    name: "all twelve permission bits are kept",
    run(dir, t) {
      touch(`${dir}/a`);
      mkdirSync(`${dir}/d`);
      for (const bits of [0, 0o777, 0o4755, 0o2755, 0o1777, 0o7777, 0o644]) {
        chmodSync(`${dir}/a`, bits);
        t.equal(mode(statSync(`${dir}/a`)), bits);
        chmodSync(`${dir}/d`, bits);
        t.equal(mode(statSync(`${dir}/d`)), bits);
      }
      withFile(`${dir}/a`, "r", (fd) => fchmodSync(fd, 0o600));
      t.equal(mode(statSync(`${dir}/a`)), 0o600);
    },
  },
  {
    name: "owner and group up to 2^32 − 2, of links too",
    run(dir, t) {
      touch(`${dir}/a`);
      symlinkSync("a", `${dir}/s`);
      chownSync(`${dir}/a`, 1000, 2000);
      t.match(statSync(`${dir}/a`), { uid: 1000, gid: 2000 });
      chownSync(`${dir}/a`, 4294967294, 4294967294);
      t.match(statSync(`${dir}/a`), { uid: 4294967294, gid: 4294967294 });
      withFile(`${dir}/a`, "r", (fd) => fchownSync(fd, 1, 2));
      lchownSync(`${dir}/s`, 7, 8);
      t.match(lstatSync(`${dir}/s`), { uid: 7, gid: 8 });
      t.match(statSync(`${dir}/a`), { uid: 1, gid: 2 });
    },
  },
  {
    name: "chown of −1 leaves as it is",
    run(dir, t) {
      const shown = python(
        dir,
        `open("a", "w"); os.chown("a", 5, 6); os.chown("a", -1, 7); os.chown("a", 8, -1)
s = os.stat("a"); print(s.st_uid, s.st_gid)`,
      );
      t.equal(shown, "8 7");
    },
  },
  {
    name: "times keep nanoseconds",
    run(dir, t) {
      touch(`${dir}/a`);
      t.equal(utimensat(`${dir}/a`, at(1_600_000_000n, 123_456_789n), at(1_500_000_000n, 1n)), 0);
      t.match(nanoseconds(`${dir}/a`), {
        atime: 1_600_000_000_123_456_789n,
        mtime: 1_500_000_000_000_000_001n,
      });
      utimensat(`${dir}/a`, at(0n, 999_999_999n), at(0n));
      t.match(nanoseconds(`${dir}/a`), { atime: 999_999_999n, mtime: 0n });
    },
  },
  {
    name: "times in 1960, 2100 and 2400",
    run(dir, t) {
      touch(`${dir}/a`);
      mkdirSync(`${dir}/d`);
      symlinkSync("a", `${dir}/s`);
      for (const path of ["a", "d", "s"]) {
        for (const seconds of [-315_619_200n, -1n, 4_102_444_800n, 13_569_465_600n]) {
          t.equal(utimensat(`${dir}/${path}`, at(seconds, 5n), at(seconds + 1n, 7n)), 0);
          t.match(nanoseconds(`${dir}/${path}`), {
            atime: seconds * 1_000_000_000n + 5n,
            mtime: (seconds + 1n) * 1_000_000_000n + 7n,
          });
        }
      }
    },
  },
  {
    name: "one time is set, the other kept (UTIME_OMIT), or now",
    run(dir, t) {
      touch(`${dir}/a`);
      utimensat(`${dir}/a`, at(100n), at(200n));
      utimensat(`${dir}/a`, "omit", at(300n));
      t.match(nanoseconds(`${dir}/a`), { atime: 100_000_000_000n, mtime: 300_000_000_000n });
      const before = BigInt(Date.now() - 2000) * 1_000_000n;
      utimensat(`${dir}/a`, "now", "omit");
      t.ok(nanoseconds(`${dir}/a`).atime > before);
      t.equal(nanoseconds(`${dir}/a`).mtime, 300_000_000_000n);
    },
  },
  {
    name: "utimes changes ctime to now",
    run(dir, t) {
      const before = BigInt(Date.now() - 2000) * 1_000_000n;
      touch(`${dir}/a`);
      utimensat(`${dir}/a`, at(1n), at(1n));
      t.ok(nanoseconds(`${dir}/a`).ctime > before);
      withFile(`${dir}/a`, "r", (fd) => futimesSync(fd, 10, 20));
      t.equal(nanoseconds(`${dir}/a`).mtime, 20_000_000_000n);
    },
  },
  {
    name: "writing and truncating change mtime and ctime",
    async run(dir, t) {
      touch(`${dir}/a`, "x");
      let before = nanoseconds(`${dir}/a`);
      await pause();
      writeFileSync(`${dir}/a`, "yy");
      let after = nanoseconds(`${dir}/a`);
      t.ok(after.mtime > before.mtime && after.ctime > before.ctime, "write");
      before = after;
      await pause();
      truncateSync(`${dir}/a`, 1);
      after = nanoseconds(`${dir}/a`);
      t.ok(after.mtime > before.mtime && after.ctime > before.ctime, "truncate");
      before = after;
      await pause();
      truncateSync(`${dir}/a`, 1);
      t.ok(nanoseconds(`${dir}/a`).mtime > before.mtime, "to the size it has");
    },
  },
  {
    name: "a write through a descriptor is seen in stat at once",
    run(dir, t) {
      withFile(`${dir}/a`, "w", (fd) => {
        for (let size = 1; size < 20; size++) {
          writeSync(fd, "x");
          t.equal(statSync(`${dir}/a`).size, size);
          t.equal(fstatSync(fd).size, size);
        }
      });
    },
  },
  {
    name: "mtime set while a file is dirty stays set",
    run(dir, t) {
      const fd = openSync(`${dir}/a`, "w");
      writeSync(fd, "some data that is not written back yet");
      utimensat(`${dir}/a`, at(1_000n), at(2_000n));
      t.equal(nanoseconds(`${dir}/a`).mtime, 2_000_000_000_000n);
      closeSync(fd);
      t.equal(nanoseconds(`${dir}/a`).mtime, 2_000_000_000_000n, "after close");
    },
  },
  {
    name: "chmod, chown and link change ctime only",
    async run(dir, t) {
      touch(`${dir}/a`);
      const acts = [
        () => chmodSync(`${dir}/a`, 0o600),
        () => chownSync(`${dir}/a`, 1, 1),
        () => linkSync(`${dir}/a`, `${dir}/b`),
        () => unlinkSync(`${dir}/b`),
      ];
      for (const act of acts) {
        const before = nanoseconds(`${dir}/a`);
        await pause();
        act();
        const after = nanoseconds(`${dir}/a`);
        t.ok(after.ctime > before.ctime);
        t.equal(after.mtime, before.mtime);
      }
    },
  },
  {
    name: "entries that come and go change the directory's mtime and ctime",
    async run(dir, t) {
      const acts = [
        () => touch(`${dir}/a`),
        () => linkSync(`${dir}/a`, `${dir}/b`),
        () => unlinkSync(`${dir}/b`),
        () => mkdirSync(`${dir}/d`),
        () => rmdirSync(`${dir}/d`),
        () => symlinkSync("x", `${dir}/s`),
        () => renameSync(`${dir}/s`, `${dir}/u`),
      ];
      for (const act of acts) {
        const before = nanoseconds(dir);
        await pause();
        act();
        const after = nanoseconds(dir);
        t.ok(after.mtime > before.mtime && after.ctime > before.ctime);
      }
    },
  },
  {
    name: "atime follows a read of what is not cached (relatime)",
    async run(dir, t) {
      mkdirSync(`${dir}/d`);
      touch(`${dir}/d/a`, "x");
      python(dir, `fd = os.open("d/a", os.O_RDWR); os.fsync(fd); os.posix_fadvise(fd, 0, 0, 4)`);
      utimensat(`${dir}/d/a`, at(1000n), at(2000n));
      utimensat(`${dir}/d`, at(1000n), at(2000n));
      readFileSync(`${dir}/d/a`);
      readdirSync(`${dir}/d`);
      t.ok(nanoseconds(`${dir}/d/a`).atime > 2000n * 1_000_000_000n, "older than mtime: updated");
      t.ok(nanoseconds(`${dir}/d`).atime > 2000n * 1_000_000_000n, "of a directory too");
      utimensat(`${dir}/d/a`, at(3000n), "omit");
      t.equal(nanoseconds(`${dir}/d/a`).atime, 3000n * 1_000_000_000n, "what is set stays");
    },
  },
  {
    name: "a birth time that later changes do not move",
    async run(dir, t) {
      touch(`${dir}/a`);
      const { birthtimeNs } = statSync(`${dir}/a`, { bigint: true });
      await pause();
      writeFileSync(`${dir}/a`, "x");
      chmodSync(`${dir}/a`, 0o600);
      t.equal(statSync(`${dir}/a`, { bigint: true }).birthtimeNs, birthtimeNs);
    },
  },
  {
    name: "blocks count what is stored, not what is empty",
    run(dir, t) {
      writeFileSync(`${dir}/a`, Buffer.alloc(1 << 20, 1));
      withFile(`${dir}/a`, "r", (fd) => {
        python(dir, `os.fsync(os.open("a", os.O_RDWR))`);
        const { blocks } = fstatSync(fd);
        t.ok(blocks >= 2048 && blocks < 2300, `${blocks} blocks`);
      });
      truncateSync(touch(`${dir}/hole`), 1 << 30);
      t.ok(statSync(`${dir}/hole`).blocks < 64);
    },
  },
  {
    name: "writing takes set-user-id and set-group-id away from a file of another",
    run(dir, t) {
      touch(`${dir}/a`, "x");
      chownSync(`${dir}/a`, 1000, 1000);
      chmodSync(`${dir}/a`, 0o6777);
      python(dir, `os.setgroups([]); os.setgid(1001); os.setuid(1001); open("a", "r+").write("y")`);
      t.equal(mode(statSync(`${dir}/a`)), 0o777);
      chmodSync(`${dir}/a`, 0o6777);
      python(
        dir,
        `
import mmap
page = mmap.mmap(-1, 4096)
os.setgroups([]); os.setgid(1001); os.setuid(1001)
os.pwritev(os.open("a", os.O_WRONLY | getattr(os, "O_DIRECT", 0)), [page], 0)`,
      );
      t.equal(mode(statSync(`${dir}/a`)), 0o777, "directly, too");
      chmodSync(`${dir}/a`, 0o6777);
      python(
        dir,
        `
os.setgroups([]); os.setgid(1001); os.setuid(1001)
os.posix_fallocate(os.open("a", os.O_RDWR), 0, 65536)`,
      );
      t.equal(mode(statSync(`${dir}/a`)), 0o777, "and taking space");
    },
  },
  {
    name: "chown by its owner takes set-user-id away",
    run(dir, t) {
      touch(`${dir}/a`, "x");
      chownSync(`${dir}/a`, 1000, 1000);
      chmodSync(`${dir}/a`, 0o6755);
      python(
        dir,
        `os.setgroups([1002]); os.setgid(1000); os.setuid(1000); os.chown("a", -1, 1002)`,
      );
      t.equal(mode(statSync(`${dir}/a`)), 0o755);
    },
  },
  {
    name: "chown takes set-user-id away from what is no file either, but not from directories",
    run(dir, t) {
      const shown = python(
        dir,
        `
import socket
os.mkfifo("fifo"); os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(1, 3)); os.mkdir("directory")
socket.socket(socket.AF_UNIX).bind("socket")
names = ("fifo", "device", "socket", "directory")
for n in names: os.chown(n, 1000, 1000); os.chmod(n, 0o6755)
pid = os.fork()
if pid == 0:
    os.setgroups([1002]); os.setgid(1000); os.setuid(1000)
    for n in names: os.chown(n, -1, 1002)
    os._exit(0)
os.waitpid(pid, 0)
print(*(oct(os.stat(n).st_mode & 0o7777) for n in names))`,
      );
      t.equal(shown, "0o755 0o755 0o755 0o6755");
    },
  },
];

/** Reading and writing: appends, memory maps, direct and vectored I/O, locks, durability calls. */

import {
  code,
  copyFileRange,
  flock,
  ioctl,
  type PosixCase,
  pattern,
  python,
  readAt,
  syncFileSystem,
  text,
  touch,
  withFile,
  writeAt,
} from "../support/posix_case.ts";
import {
  appendFileSync,
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  readvSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
  writevSync,
} from "../support/posix_fs.ts";

const MIB = 1 << 20;

export const data: PosixCase[] = [
  {
    name: "what was written is read, in all sizes around a block and a page of the cache",
    run(dir, t) {
      for (const size of [0, 1, 511, 512, 4095, 4096, 4097, 16_384, 131_072, 131_073, 1_000_003]) {
        writeFileSync(`${dir}/a`, pattern(size, size));
        t.ok(readFileSync(`${dir}/a`).equals(pattern(size, size)), `${size} bytes`);
      }
    },
  },
  {
    name: "16 MiB, read in odd pieces",
    run(dir, t) {
      const model = pattern(16 * MIB, 1);
      writeFileSync(`${dir}/a`, model);
      withFile(`${dir}/a`, "r", (fd) => {
        const wrong: number[] = [];
        for (let at = 0; at < 16 * MIB; at += 77_777) {
          if (!readAt(fd, at, 77_777).equals(model.subarray(at, at + 77_777))) wrong.push(at);
        }
        t.same(wrong, []);
      });
    },
  },
  {
    name: "reading at and past the end",
    run(dir, t) {
      touch(`${dir}/a`, "12345");
      withFile(`${dir}/a`, "r", (fd) => {
        t.equal(readAt(fd, 3, 10).toString(), "45");
        t.equal(readAt(fd, 5, 10).length, 0);
        t.equal(readAt(fd, 1e12, 10).length, 0);
      });
    },
  },
  {
    name: "O_TRUNC empties, O_APPEND goes to the end whatever the position",
    run(dir, t) {
      touch(`${dir}/a`, "old");
      withFile(`${dir}/a`, "w", () => {});
      t.equal(statSync(`${dir}/a`).size, 0);
      withFile(`${dir}/a`, "a", (fd) => {
        writeSync(fd, "one");
        appendFileSync(`${dir}/a`, "two");
        writeSync(fd, "three", 0);
        t.equal(fstatSync(fd).size, 11);
      });
      t.equal(text(`${dir}/a`), "onetwothree");
    },
  },
  {
    name: "appends of several processes do not run into each other",
    run(dir, t) {
      const shown = python(
        dir,
        `
for p in range(4):
    if os.fork() == 0:
        fd = os.open("log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        for i in range(500): os.write(fd, b"%d:%04d;" % (p, i) * 9 + b"\\n")
        os._exit(0)
for p in range(4): os.wait()
lines = open("log").read().split("\\n")[:-1]
whole = all(len(line) == 63 and len(set(line.split(";")[:-1])) == 1 for line in lines)
order = all([line[2:6] for line in lines if line[0] == str(p)] == ["%04d" % i for i in range(500)] for p in range(4))
print(len(lines), whole, order)`,
      );
      t.equal(shown, "2000 True True");
    },
  },
  {
    name: "several processes write their own parts of one file",
    run(dir, t) {
      const shown = python(
        dir,
        `
open("f", "w")
for p in range(4):
    if os.fork() == 0:
        fd = os.open("f", os.O_RDWR)
        for i in range(400): os.pwrite(fd, bytes([65 + p]) * 1000, (i * 4 + p) * 1000)
        os._exit(0)
for p in range(4): os.wait()
text = open("f").read()
print(len(text), all(text[k * 1000:(k + 1) * 1000] == "ABCD"[k % 4] * 1000 for k in range(1600)))`,
      );
      t.equal(shown, "1600000 True");
    },
  },
  {
    name: "a shared map writes the file, and sees what others write",
    run(dir, t) {
      const shown = python(
        dir,
        `
import mmap
f = open("m", "w+b"); f.truncate(100000)
m = mmap.mmap(f.fileno(), 100000)
m[0:5] = b"hello"; m[99990:100000] = b"0123456789"; m.flush()
a = open("m", "rb").read()
os.pwrite(f.fileno(), b"WRITE", 50000)
b = m[50000:50005]
m[50001] = 48
c = os.pread(f.fileno(), 5, 50000)
m.close(); f.close()
print(a[:5], a[-10:], b, c, len(a))`,
      );
      t.equal(shown, "b'hello' b'0123456789' b'WRITE' b'W0ITE' 100000");
    },
  },
  {
    name: "what a map wrote is there after it is gone, and mtime has moved",
    run(dir, t) {
      const shown = python(
        dir,
        `
import mmap, time
f = open("m", "w+b"); f.write(bytes(300000)); f.flush(); os.fsync(f.fileno())
os.utime("m", (1, 1))
m = mmap.mmap(f.fileno(), 300000)
for at in range(0, 300000, 4096): m[at] = at // 4096 % 251 + 1
m.flush(); m.close(); os.fsync(f.fileno()); f.close()
d = open("m", "rb").read()
print(all(d[at] == at // 4096 % 251 + 1 for at in range(0, 300000, 4096)), os.stat("m").st_mtime > 1000)`,
      );
      t.equal(shown, "True True");
    },
  },
  {
    name: "a private map does not write the file",
    run(dir, t) {
      const shown = python(
        dir,
        `
import mmap
open("m", "wb").write(b"x" * 10000)
f = open("m", "r+b"); m = mmap.mmap(f.fileno(), 10000, access=mmap.ACCESS_COPY)
m[0:4] = b"copy"; print(m[0:4], open("m", "rb").read(4))`,
      );
      t.equal(shown, "b'copy' b'xxxx'");
    },
  },
  {
    name: "two processes share a map",
    run(dir, t) {
      const shown = python(
        dir,
        `
import mmap
f = open("m", "w+b"); f.truncate(8192); m = mmap.mmap(f.fileno(), 8192)
if os.fork() == 0:
    g = open("m", "r+b"); n = mmap.mmap(g.fileno(), 8192); n[5000:5005] = b"child"; os._exit(0)
os.wait(); print(m[5000:5005])`,
      );
      t.equal(shown, "b'child'");
    },
  },
  {
    name: "a map past the new end of a truncated file is SIGBUS, the last page zeros",
    run(dir, t) {
      const shown = python(
        dir,
        `
import mmap
f = open("m", "w+b"); f.write(b"x" * 12288); f.flush(); m = mmap.mmap(f.fileno(), 12288)
m[9000]; f.truncate(5000)
tail = m[5000:8192]
pid = os.fork()
if pid == 0: m[9000]; os._exit(0)
print(tail == bytes(3192), os.WTERMSIG(os.waitpid(pid, 0)[1]))`,
      );
      t.equal(shown, "True 7");
    },
  },
  {
    name: "a program runs from a file",
    run(dir, t) {
      const shown = python(
        dir,
        `
import shutil, subprocess
shutil.copy("/bin/echo", "program"); os.chmod("program", 0o755)
print(subprocess.run(["./program", "ran"], capture_output=True, text=True).stdout.strip())`,
      );
      t.equal(shown, "ran");
    },
  },
  {
    name: "a running program is not written to: ETXTBSY",
    run(dir, t) {
      const shown = python(
        dir,
        `
import shutil, subprocess
shutil.copy("/bin/sleep", "program"); os.chmod("program", 0o755)
child = subprocess.Popen(["./program", "20"])
try: open("program", "r+b"); print("written")
except OSError as error: print(errno.errorcode[error.errno])
child.kill(); child.wait()`,
      );
      t.equal(shown, "ETXTBSY");
    },
  },
  {
    name: "O_DIRECT reads what is buffered, and is read by others",
    run(dir, t) {
      const shown = python(
        dir,
        `
import mmap
b = mmap.mmap(-1, 65536); b[:] = b"d" * 65536
open("f", "wb").write(b"b" * 65536)
fd = os.open("f", os.O_RDWR | os.O_DIRECT)
r = mmap.mmap(-1, 65536); os.preadv(fd, [r], 0); first = r[:] == b"b" * 65536
os.pwritev(fd, [b], 65536); os.pwritev(fd, [memoryview(b)[:4096]], 8192)
d = open("f", "rb").read()
print(first, len(d), d == b"b" * 8192 + b"d" * 4096 + b"b" * 53248 + b"d" * 65536)`,
      );
      t.equal(shown, "True 131072 True");
    },
  },
  {
    name: "vectored reads and writes",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        const parts = [pattern(3, 1), pattern(5000, 2), Buffer.alloc(0), pattern(70_000, 3)];
        t.equal(writevSync(fd, parts, 10), 75_003);
        const back = [Buffer.alloc(10), Buffer.alloc(5003), Buffer.alloc(70_000)];
        t.equal(readvSync(fd, back, 0), 75_013);
        t.ok(Buffer.concat(back).subarray(10).equals(Buffer.concat(parts)));
      });
    },
  },
  {
    name: "copy_file_range()",
    run(dir, t) {
      const model = pattern(3 * MIB, 4);
      writeFileSync(`${dir}/a`, model);
      withFile(`${dir}/a`, "r", (from) => {
        withFile(`${dir}/b`, "w+", (to) => {
          let done = 0;
          while (done < 2 * MIB) {
            const step = copyFileRange(
              { fd: from, offset: 1000 + done },
              { fd: to, offset: 7 + done },
              2 * MIB - done,
            );
            t.ok(step > 0);
            if (step <= 0) break;
            done += step;
          }
          t.ok(readAt(to, 7, 2 * MIB).equals(model.subarray(1000, 1000 + 2 * MIB)));
        });
      });
    },
  },
  {
    name: "copy_file_range() of whole files shares blocks until they are written",
    notOnTmpfs: "it copies",
    run(dir, t) {
      const model = pattern(24 * MIB + 77, 41);
      writeFileSync(`${dir}/a`, model);
      withFile(`${dir}/a`, "r+", (from) => {
        fsyncSync(from);
        const before = statfsSync(dir);
        withFile(`${dir}/b`, "w+", (to) => {
          for (let done = 0; done < model.length; ) {
            const step = copyFileRange(
              { fd: from, offset: done },
              { fd: to, offset: done },
              1 << 30,
            );
            t.ok(step > 0);
            if (step <= 0) break;
            done += step;
          }
          fsyncSync(to);
          const after = statfsSync(dir);
          t.ok((before.bavail - after.bavail) * before.bsize < 2 * MIB, "no space is taken");
          t.equal(fstatSync(to).blocks, fstatSync(from).blocks);
          t.ok(readAt(to, 0, 25 * MIB).equals(model));
          const changed = Buffer.from(model);
          pattern(MIB, 42).copy(changed, 5 * MIB + 3);
          writeAt(from, 5 * MIB + 3, pattern(MIB, 42));
          t.ok(readAt(to, 0, 25 * MIB).equals(model), "the copy does not change");
          fsyncSync(from);
          t.ok(readAt(from, 0, 25 * MIB).equals(changed));
          t.ok(readAt(to, 0, 25 * MIB).equals(model));
          unlinkSync(`${dir}/a`);
          t.ok(readAt(to, 0, 25 * MIB).equals(model), "also when the original is gone");
        });
      });
    },
  },
  {
    name: "fsync, fdatasync, syncfs, on files and after unlink",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        writeAt(fd, 0, pattern(100_000, 5));
        fsyncSync(fd);
        writeAt(fd, 50_000, pattern(10, 6));
        fdatasyncSync(fd);
        t.equal(syncFileSystem(fd), 0);
        t.ok(readAt(fd, 50_000, 10).equals(pattern(10, 6)));
      });
      python(dir, `fd = os.open("a", os.O_RDWR); os.unlink("a"); os.write(fd, b"x"); os.fsync(fd)`);
    },
  },
  {
    name: "O_SYNC and O_DSYNC",
    run(dir, t) {
      const shown = python(
        dir,
        `
for flag in os.O_SYNC, os.O_DSYNC:
    fd = os.open("f%d" % flag, os.O_CREAT | os.O_RDWR | flag)
    for i in range(20): os.pwrite(fd, b"%03d" % i * 100, i * 300)
    print(os.fstat(fd).st_size, os.pread(fd, 3, 300))`,
      );
      t.equal(shown, "6000 b'001'\n6000 b'001'");
    },
  },
  {
    name: "a descriptor for reading is not written to, and the other way: EBADF",
    run(dir, t) {
      touch(`${dir}/a`, "x");
      withFile(`${dir}/a`, "r", (fd) =>
        t.equal(
          code(() => writeSync(fd, "x")),
          "EBADF",
        ),
      );
      withFile(`${dir}/a`, "a", (fd) =>
        t.equal(
          code(() => readAt(fd, 0, 1)),
          "EBADF",
        ),
      );
    },
  },
  {
    name: "flock() keeps others out",
    run(dir, t) {
      const [first, second] = [openSync(touch(`${dir}/a`), "r"), openSync(`${dir}/a`, "r")];
      t.equal(flock(first, 2), 0);
      t.equal(flock(second, 2 | 4), -11);
      t.equal(flock(first, 8), 0);
      t.equal(flock(second, 2 | 4), 0);
      closeSync(first);
      closeSync(second);
    },
  },
  {
    name: "fcntl() locks byte ranges between processes",
    run(dir, t) {
      const shown = python(
        dir,
        `
import fcntl
f = open("a", "w+")
fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)
pid = os.fork()
if pid == 0:
    g = open("a", "r+"); got = 0
    try: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 5)
    except OSError: got += 1
    try: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 10); got += 2
    except OSError: pass
    os._exit(got)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`,
      );
      t.equal(shown, "3");
    },
  },
  {
    name: "an unknown ioctl is ENOTTY",
    run(dir, t) {
      withFile(touch(`${dir}/a`), "r", (fd) => t.equal(ioctl(fd, 0x5a5a, Buffer.alloc(64)), -25));
      withFile(dir, "r", (fd) => t.equal(ioctl(fd, 0x5401, Buffer.alloc(64)), -25));
    },
  },
  {
    name: "sendfile() from and to a file",
    run(dir, t) {
      const shown = python(
        dir,
        `
open("a", "wb").write(bytes(range(256)) * 4000)
a = os.open("a", os.O_RDONLY); b = os.open("b", os.O_CREAT | os.O_WRONLY)
while os.sendfile(b, a, None, 1 << 20): pass
print(open("b", "rb").read() == bytes(range(256)) * 4000)`,
      );
      t.equal(shown, "True");
    },
  },
];

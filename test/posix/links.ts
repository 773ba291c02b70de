/** Hard links, symbolic links, files without a name. */

import {
  code,
  linkOpen,
  O_TMPFILE,
  type PosixCase,
  pattern,
  python,
  readAt,
  text,
  touch,
  withFile,
} from "../support/posix_case.ts";
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "../support/posix_fs.ts";

export const links: PosixCase[] = [
  {
    name: "names of one file share content, attributes and inode",
    run(dir, t) {
      touch(`${dir}/a`, "one");
      linkSync(`${dir}/a`, `${dir}/b`);
      t.equal(statSync(`${dir}/a`).ino, statSync(`${dir}/b`).ino);
      t.equal(statSync(`${dir}/a`).nlink, 2);
      writeFileSync(`${dir}/b`, "other");
      t.equal(text(`${dir}/a`), "other");
      chmodSync(`${dir}/a`, 0o600);
      t.equal(statSync(`${dir}/b`).mode & 0o777, 0o600);
      unlinkSync(`${dir}/a`);
      t.equal(statSync(`${dir}/b`).nlink, 1);
      t.equal(text(`${dir}/b`), "other");
    },
  },
  {
    name: "1,000 names, then one",
    run(dir, t) {
      touch(`${dir}/a`, "x");
      for (let index = 0; index < 1000; index++) linkSync(`${dir}/a`, `${dir}/l${index}`);
      t.equal(statSync(`${dir}/l999`).nlink, 1001);
      for (let index = 0; index < 1000; index++) unlinkSync(`${dir}/l${index}`);
      t.equal(statSync(`${dir}/a`).nlink, 1);
    },
  },
  {
    name: "link() changes ctime, not mtime",
    async run(dir, t) {
      touch(`${dir}/a`);
      const before = statSync(`${dir}/a`, { bigint: true });
      await new Promise((resolve) => setTimeout(resolve, 20));
      linkSync(`${dir}/a`, `${dir}/b`);
      const after = statSync(`${dir}/a`, { bigint: true });
      t.ok(after.ctimeNs > before.ctimeNs);
      t.equal(after.mtimeNs, before.mtimeNs);
    },
  },
  {
    name: "link() refuses directories and names that exist",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      touch(`${dir}/a`);
      touch(`${dir}/b`);
      t.equal(
        code(() => linkSync(`${dir}/d`, `${dir}/e`)),
        "EPERM",
      );
      t.equal(
        code(() => linkSync(`${dir}/a`, `${dir}/b`)),
        "EEXIST",
      );
      t.equal(
        code(() => linkSync(`${dir}/no`, `${dir}/c`)),
        "ENOENT",
      );
      t.equal(
        code(() => linkSync(`${dir}/a`, `${dir}/no/c`)),
        "ENOENT",
      );
    },
  },
  {
    name: "link() names a symbolic link itself",
    run(dir, t) {
      symlinkSync("x", `${dir}/s`);
      linkSync(`${dir}/s`, `${dir}/u`);
      t.equal(readlinkSync(`${dir}/u`), "x");
      t.equal(lstatSync(`${dir}/u`).nlink, 2);
    },
  },
  {
    name: "a symbolic link keeps its text, whatever it is",
    run(dir, t) {
      for (const [index, target] of [
        "a",
        "/",
        "..",
        "no/such//place",
        "é",
        "x".repeat(4095),
      ].entries()) {
        symlinkSync(target, `${dir}/${index}`);
        t.equal(readlinkSync(`${dir}/${index}`), target);
        t.equal(lstatSync(`${dir}/${index}`).size, Buffer.byteLength(target));
      }
      t.equal(
        code(() => symlinkSync("x".repeat(4096), `${dir}/long`)),
        "ENAMETOOLONG",
      );
    },
  },
  {
    name: "symbolic links are followed, 40 deep is ELOOP",
    run(dir, t) {
      touch(`${dir}/0`, "end");
      for (let index = 1; index <= 41; index++) symlinkSync(String(index - 1), `${dir}/${index}`);
      t.equal(text(`${dir}/20`), "end");
      t.equal(
        code(() => text(`${dir}/41`)),
        "ELOOP",
      );
      symlinkSync("self", `${dir}/self`);
      t.equal(
        code(() => text(`${dir}/self`)),
        "ELOOP",
      );
    },
  },
  {
    name: "readlink() of what is no link is EINVAL; O_NOFOLLOW of a link ELOOP",
    run(dir, t) {
      touch(`${dir}/a`);
      symlinkSync("a", `${dir}/s`);
      t.equal(
        code(() => readlinkSync(`${dir}/a`)),
        "EINVAL",
      );
      t.equal(
        code(() => readlinkSync(dir)),
        "EINVAL",
      );
      t.equal(
        code(() => openSync(`${dir}/s`, constants.O_NOFOLLOW)),
        "ELOOP",
      );
    },
  },
  {
    name: "an unlinked open file stays readable and writable",
    run(dir, t) {
      const fd = openSync(touch(`${dir}/a`, "before"), "r+");
      unlinkSync(`${dir}/a`);
      t.equal(fstatSync(fd).nlink, 0);
      t.equal(readAt(fd, 0, 100).toString(), "before");
      writeSync(fd, pattern(300_000, 1), 0, 300_000, 0);
      t.ok(readAt(fd, 0, 300_000).equals(pattern(300_000, 1)));
      t.equal(fstatSync(fd).size, 300_000);
      t.same(readdirSync(dir), [], "nothing hidden is left");
      closeSync(fd);
    },
  },
  {
    name: "an unlinked open file, and a new one of its name, are two",
    run(dir, t) {
      const fd = openSync(touch(`${dir}/a`, "old"), "r");
      unlinkSync(`${dir}/a`);
      touch(`${dir}/a`, "new content");
      t.equal(readAt(fd, 0, 100).toString(), "old");
      t.equal(text(`${dir}/a`), "new content");
      t.not(fstatSync(fd).ino, statSync(`${dir}/a`).ino);
      closeSync(fd);
    },
  },
  {
    name: "what rename replaced stays readable while open",
    run(dir, t) {
      const fd = openSync(touch(`${dir}/b`, "replaced"), "r");
      touch(`${dir}/a`, "new");
      renameSync(`${dir}/a`, `${dir}/b`);
      t.equal(readAt(fd, 0, 100).toString(), "replaced");
      t.equal(fstatSync(fd).nlink, 0);
      closeSync(fd);
      t.equal(text(`${dir}/b`), "new");
    },
  },
  {
    name: "rm -r of a directory with open files leaves nothing",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      const fds = Array.from({ length: 20 }, (_, index) => openSync(`${dir}/d/${index}`, "w"));
      for (let index = 0; index < 20; index++) unlinkSync(`${dir}/d/${index}`);
      t.equal(
        code(() => rmdirSync(`${dir}/d`)),
        "",
      );
      for (const fd of fds) closeSync(fd);
    },
  },
  {
    name: "unlink() of a directory is EISDIR, rmdir() of a file ENOTDIR",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      touch(`${dir}/a`);
      t.equal(
        code(() => unlinkSync(`${dir}/d`)),
        "EISDIR",
      );
      t.equal(
        code(() => rmdirSync(`${dir}/a`)),
        "ENOTDIR",
      );
      t.equal(
        code(() => unlinkSync(`${dir}/no`)),
        "ENOENT",
      );
    },
  },
  {
    name: "O_TMPFILE makes a file without a name, which link() can give",
    run(dir, t) {
      withFile(dir, O_TMPFILE | constants.O_RDWR, (fd) => {
        writeSync(fd, "unnamed");
        t.equal(fstatSync(fd).nlink, 0);
        t.same(readdirSync(dir), []);
        t.equal(linkOpen(fd, `${dir}/a`), 0);
        t.equal(fstatSync(fd).nlink, 1);
      });
      t.equal(text(`${dir}/a`), "unnamed");
    },
  },
  {
    name: "O_TMPFILE with O_EXCL is never linked",
    run(dir, t) {
      withFile(dir, O_TMPFILE | constants.O_RDWR | constants.O_EXCL, (fd) => {
        t.equal(linkOpen(fd, `${dir}/a`), -2);
      });
      t.same(readdirSync(dir), []);
    },
  },
  {
    name: "truncate through one name is seen through another and through an open file",
    run(dir, t) {
      touch(`${dir}/a`, "0123456789");
      linkSync(`${dir}/a`, `${dir}/b`);
      withFile(`${dir}/a`, "r", (fd) => {
        truncateSync(`${dir}/b`, 4);
        t.equal(fstatSync(fd).size, 4);
        const bytes = Buffer.alloc(10);
        t.equal(readSync(fd, bytes), 4);
      });
    },
  },
  {
    name: "a thousand open unlinked files at once",
    run(dir, t) {
      const shown = python(
        dir,
        `
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
files = []
for i in range(1000):
    fd = os.open("f", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    os.write(fd, b"%d" % i); os.unlink("f"); files.append(fd)
print(all(os.pread(fd, 9, 0) == b"%d" % i for i, fd in enumerate(files)), os.listdir("."))`,
      );
      t.equal(shown, "True []");
    },
  },
];

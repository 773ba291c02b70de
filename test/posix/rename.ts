/** rename() and renameat2(). */

import {
  code,
  exists,
  type PosixCase,
  python,
  renameat2,
  text,
  touch,
} from "../support/posix_case.ts";
import {
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeSync,
} from "../support/posix_fs.ts";

const NOREPLACE = 1;
const EXCHANGE = 2;
const WHITEOUT = 4;
const EEXIST = -17;
const ENOENT = -2;
const EINVAL = -22;

export const rename: PosixCase[] = [
  {
    name: "a file moves within and between directories, and keeps its inode",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      const { ino } = statSync(touch(`${dir}/a`, "x"));
      renameSync(`${dir}/a`, `${dir}/b`);
      renameSync(`${dir}/b`, `${dir}/d/c`);
      t.same(readdirSync(dir), ["d"]);
      t.equal(statSync(`${dir}/d/c`).ino, ino);
      t.equal(text(`${dir}/d/c`), "x");
    },
  },
  {
    name: "a file replaces a file",
    run(dir, t) {
      touch(`${dir}/a`, "new");
      touch(`${dir}/b`, "old");
      renameSync(`${dir}/a`, `${dir}/b`);
      t.same(readdirSync(dir), ["b"]);
      t.equal(text(`${dir}/b`), "new");
    },
  },
  {
    name: "a directory replaces an empty directory only",
    run(dir, t) {
      mkdirSync(`${dir}/a/sub`, { recursive: true });
      mkdirSync(`${dir}/empty`);
      mkdirSync(`${dir}/full/x`, { recursive: true });
      t.equal(
        code(() => renameSync(`${dir}/a`, `${dir}/full`)),
        "ENOTEMPTY",
      );
      renameSync(`${dir}/a`, `${dir}/empty`);
      t.same(readdirSync(`${dir}/empty`), ["sub"]);
    },
  },
  {
    name: "files and directories do not replace each other",
    run(dir, t) {
      touch(`${dir}/a`);
      mkdirSync(`${dir}/d`);
      t.equal(
        code(() => renameSync(`${dir}/a`, `${dir}/d`)),
        "EISDIR",
      );
      t.equal(
        code(() => renameSync(`${dir}/d`, `${dir}/a`)),
        "ENOTDIR",
      );
    },
  },
  {
    name: "a directory does not move into itself",
    run(dir, t) {
      mkdirSync(`${dir}/d/e/f`, { recursive: true });
      t.equal(
        code(() => renameSync(`${dir}/d`, `${dir}/d/x`)),
        "EINVAL",
      );
      t.equal(
        code(() => renameSync(`${dir}/d`, `${dir}/d/e/f/x`)),
        "EINVAL",
      );
      t.match(
        code(() => renameSync(`${dir}/d/e/f`, `${dir}/d`)),
        /ENOTEMPTY|EEXIST/,
      );
    },
  },
  {
    name: "renaming one name of a file to another does nothing",
    run(dir, t) {
      touch(`${dir}/a`, "x");
      linkSync(`${dir}/a`, `${dir}/b`);
      renameSync(`${dir}/a`, `${dir}/b`);
      t.same(readdirSync(dir).sort(), ["a", "b"]);
      t.equal(statSync(`${dir}/a`).nlink, 2);
      renameSync(`${dir}/a`, `${dir}/a`);
      t.equal(text(`${dir}/a`), "x");
    },
  },
  {
    name: "what is missing is ENOENT, and nothing is lost",
    run(dir, t) {
      touch(`${dir}/b`, "kept");
      t.equal(
        code(() => renameSync(`${dir}/no`, `${dir}/b`)),
        "ENOENT",
      );
      t.equal(
        code(() => renameSync(`${dir}/b`, `${dir}/no/b`)),
        "ENOENT",
      );
      t.equal(text(`${dir}/b`), "kept");
    },
  },
  {
    name: "nlink of both parents follows a moved directory",
    run(dir, t) {
      mkdirSync(`${dir}/a/sub`, { recursive: true });
      mkdirSync(`${dir}/b`);
      renameSync(`${dir}/a/sub`, `${dir}/b/sub`);
      t.equal(statSync(`${dir}/a`).nlink, 2);
      t.equal(statSync(`${dir}/b`).nlink, 3);
      t.equal(statSync(`${dir}/b/sub/..`).ino, statSync(`${dir}/b`).ino);
      mkdirSync(`${dir}/a/sub`);
      renameSync(`${dir}/a/sub`, `${dir}/b/sub`);
      t.equal(statSync(`${dir}/b`).nlink, 3, "one replaced, one come");
      t.equal(statSync(`${dir}/a`).nlink, 2);
    },
  },
  {
    name: "nlink of a replaced file falls",
    run(dir, t) {
      touch(`${dir}/a`);
      touch(`${dir}/b`);
      linkSync(`${dir}/b`, `${dir}/c`);
      renameSync(`${dir}/a`, `${dir}/b`);
      t.equal(statSync(`${dir}/c`).nlink, 1);
    },
  },
  {
    name: "parents' mtime and the file's ctime change, its mtime does not",
    async run(dir, t) {
      mkdirSync(`${dir}/d`);
      touch(`${dir}/a`);
      const before = statSync(`${dir}/a`, { bigint: true });
      const [from, to] = [statSync(dir, { bigint: true }), statSync(`${dir}/d`, { bigint: true })];
      await new Promise((resolve) => setTimeout(resolve, 20));
      renameSync(`${dir}/a`, `${dir}/d/a`);
      const after = statSync(`${dir}/d/a`, { bigint: true });
      t.equal(after.mtimeNs, before.mtimeNs);
      t.ok(after.ctimeNs > before.ctimeNs);
      t.ok(statSync(dir, { bigint: true }).mtimeNs > from.mtimeNs);
      t.ok(statSync(`${dir}/d`, { bigint: true }).mtimeNs > to.mtimeNs);
    },
  },
  {
    name: "a symbolic link is renamed, not what it names",
    run(dir, t) {
      touch(`${dir}/target`);
      symlinkSync("target", `${dir}/s`);
      touch(`${dir}/old`);
      renameSync(`${dir}/s`, `${dir}/old`);
      t.ok(lstatSync(`${dir}/old`).isSymbolicLink());
      t.ok(exists(`${dir}/target`));
    },
  },
  {
    name: "an open file follows its rename",
    run(dir, t) {
      const fd = openSync(`${dir}/a`, "w");
      writeSync(fd, "one ");
      renameSync(`${dir}/a`, `${dir}/b`);
      writeSync(fd, "two");
      closeSync(fd);
      t.equal(text(`${dir}/b`), "one two");
    },
  },
  {
    name: "RENAME_NOREPLACE",
    run(dir, t) {
      touch(`${dir}/a`, "a");
      touch(`${dir}/b`, "b");
      t.equal(renameat2(`${dir}/a`, `${dir}/b`, NOREPLACE), EEXIST);
      t.equal(text(`${dir}/b`), "b");
      t.equal(renameat2(`${dir}/a`, `${dir}/c`, NOREPLACE), 0);
      t.equal(text(`${dir}/c`), "a");
    },
  },
  {
    name: "RENAME_EXCHANGE of files, and of a file and a directory",
    run(dir, t) {
      touch(`${dir}/a`, "a");
      touch(`${dir}/b`, "b");
      t.equal(renameat2(`${dir}/a`, `${dir}/b`, EXCHANGE), 0);
      t.equal(text(`${dir}/a`), "b");
      t.equal(text(`${dir}/b`), "a");
      mkdirSync(`${dir}/d/e`, { recursive: true });
      const nlink = statSync(dir).nlink;
      t.equal(renameat2(`${dir}/a`, `${dir}/d/e`, EXCHANGE), 0);
      t.ok(statSync(`${dir}/a`).isDirectory());
      t.equal(text(`${dir}/d/e`), "b");
      t.equal(statSync(dir).nlink, nlink + 1);
      t.equal(statSync(`${dir}/d`).nlink, 2);
      t.equal(statSync(`${dir}/a/..`).ino, statSync(dir).ino);
      t.equal(renameat2(`${dir}/a`, `${dir}/no`, EXCHANGE), ENOENT);
      t.equal(renameat2(`${dir}/d`, `${dir}/d/e`, EXCHANGE), EINVAL);
    },
  },
  {
    name: "RENAME_WHITEOUT leaves a 0/0 character device",
    run(dir, t) {
      touch(`${dir}/a`, "a");
      t.equal(renameat2(`${dir}/a`, `${dir}/b`, WHITEOUT), 0);
      t.equal(text(`${dir}/b`), "a");
      const stats = lstatSync(`${dir}/a`);
      t.ok(stats.isCharacterDevice());
      t.equal(stats.rdev, 0);
    },
  },
  {
    name: "flags that contradict each other are EINVAL",
    run(dir, t) {
      touch(`${dir}/a`);
      touch(`${dir}/b`);
      t.equal(renameat2(`${dir}/a`, `${dir}/b`, NOREPLACE | EXCHANGE), EINVAL);
    },
  },
  {
    name: "replacing is atomic: a reader finds the old or the new",
    run(dir, t) {
      const shown = python(
        dir,
        `
import time
open("f", "w").write("v" * 100)
if os.fork() == 0:
    for i in range(1500):
        with open("tmp", "w") as f: f.write(chr(65 + i % 26) * 100)
        os.rename("tmp", "f")
    os._exit(0)
reads = bad = 0
while os.waitpid(-1, os.WNOHANG) == (0, 0):
    try: text = open("f").read()
    except OSError as e: text = str(e)
    reads += 1
    if len(text) != 100 or len(set(text)) != 1: bad += 1
print(reads > 10, bad)`,
      );
      t.equal(shown, "True 0");
    },
  },
];

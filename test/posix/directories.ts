/** Directories: link counts, listing, positions in a listing while it changes. */

import {
  code,
  type Entry,
  lseek,
  mknod,
  type PosixCase,
  python,
  readEntries,
  SEEK_SET,
  touch,
  withFile,
} from "../support/posix_case.ts";
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
} from "../support/posix_fs.ts";

function list(fd: number, room = 4096): Entry[] {
  const all: Entry[] = [];
  for (;;) {
    const some = readEntries(fd, room);
    if (some.length === 0) return all;
    all.push(...some);
  }
}

const namesOf = (entries: readonly Entry[]): string[] =>
  entries
    .map(({ name }) => name)
    .filter((name) => name !== "." && name !== "..")
    .sort();

export const directories: PosixCase[] = [
  {
    name: "nlink is 2 and one for each subdirectory",
    run(dir, t) {
      t.equal(statSync(dir).nlink, 2);
      for (let count = 1; count <= 5; count++) {
        mkdirSync(`${dir}/d${count}`);
        touch(`${dir}/f${count}`);
        t.equal(statSync(dir).nlink, 2 + count);
        t.equal(statSync(`${dir}/d${count}`).nlink, 2);
      }
      rmdirSync(`${dir}/d1`);
      t.equal(statSync(dir).nlink, 6);
    },
  },
  {
    name: "mkdir of what exists is EEXIST, below what does not ENOENT",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      touch(`${dir}/a`);
      t.equal(
        code(() => mkdirSync(`${dir}/d`)),
        "EEXIST",
      );
      t.equal(
        code(() => mkdirSync(`${dir}/a`)),
        "EEXIST",
      );
      t.equal(
        code(() => mkdirSync(`${dir}/no/d`)),
        "ENOENT",
      );
    },
  },
  {
    name: "rmdir refuses what is not empty, and . and ..",
    run(dir, t) {
      mkdirSync(`${dir}/d/e`, { recursive: true });
      t.equal(
        code(() => rmdirSync(`${dir}/d`)),
        "ENOTEMPTY",
      );
      t.equal(
        code(() => rmdirSync(`${dir}/d/.`)),
        "EINVAL",
      );
      t.match(
        code(() => rmdirSync(`${dir}/d/e/..`)),
        /ENOTEMPTY|EEXIST/,
      );
      rmdirSync(`${dir}/d/e`);
      rmdirSync(`${dir}/d`);
      t.notOk(existsSync(`${dir}/d`));
    },
  },
  {
    name: "a listing begins with . and .. and tells types and inodes",
    run(dir, t) {
      touch(`${dir}/file`);
      mkdirSync(`${dir}/dir`);
      symlinkSync("x", `${dir}/link`);
      mknod(`${dir}/fifo`, 0o010600, 0);
      const entries = withFile(dir, "r", (fd) => list(fd));
      const types = Object.fromEntries(entries.map(({ name, type }) => [name, type]));
      t.same(types, { ".": 4, "..": 4, file: 8, dir: 4, link: 10, fifo: 1 });
      for (const { name, ino } of entries) {
        if (name !== ".." && name !== "link") {
          t.equal(Number(ino), statSync(`${dir}/${name}`).ino, `inode of ${name}`);
        }
      }
    },
  },
  {
    name: "a listing in small pieces is the whole listing, each name once",
    run(dir, t) {
      for (let index = 0; index < 500; index++) touch(`${dir}/entry ${index}`);
      withFile(dir, "r", (fd) => {
        const entries = list(fd, 300);
        t.equal(entries.length, 502);
        t.equal(new Set(entries.map(({ name }) => name)).size, 502);
      });
    },
  },
  {
    name: "a position is found again (telldir, seekdir)",
    run(dir, t) {
      for (let index = 0; index < 300; index++) touch(`${dir}/${index}`);
      withFile(dir, "r", (fd) => {
        const entries = list(fd, 500);
        for (const at of [0, 1, 2, 57, 150, 299]) {
          t.ok(lseek(fd, Number(entries[at]!.cookie), SEEK_SET) >= 0);
          const rest = list(fd).map(({ name }) => name);
          t.same(
            rest,
            entries.slice(at + 1).map(({ name }) => name),
          );
        }
      });
    },
  },
  {
    name: "a position stays valid when its entry and others before it are removed",
    run(dir, t) {
      for (let index = 0; index < 300; index++) touch(`${dir}/${index}`);
      withFile(dir, "r", (fd) => {
        const entries = list(fd, 500);
        const at = 150;
        for (const { name } of entries.slice(0, at + 1)) {
          if (!name.startsWith(".")) unlinkSync(`${dir}/${name}`);
        }
        lseek(fd, Number(entries[at]!.cookie), SEEK_SET);
        const rest = list(fd).map(({ name }) => name);
        t.same(
          rest,
          entries.slice(at + 1).map(({ name }) => name),
        );
      });
    },
  },
  {
    name: "rewinding sees what came and went",
    run(dir, t) {
      touch(`${dir}/a`);
      touch(`${dir}/b`);
      withFile(dir, "r", (fd) => {
        t.same(namesOf(list(fd)), ["a", "b"]);
        unlinkSync(`${dir}/a`);
        touch(`${dir}/c`);
        lseek(fd, 0, SEEK_SET);
        t.same(namesOf(list(fd)), ["b", "c"]);
      });
    },
  },
  {
    name: "deleting while listing: every name is given once",
    run(dir, t) {
      const all = Array.from({ length: 2000 }, (_, index) => `file-${index}`);
      for (const name of all) touch(`${dir}/${name}`);
      const seen: string[] = [];
      withFile(dir, "r", (fd) => {
        for (;;) {
          const some = namesOf(readEntries(fd, 1000));
          if (some.length === 0) break;
          for (const name of some) unlinkSync(`${dir}/${name}`);
          seen.push(...some);
        }
      });
      t.same(seen.sort(), all.sort());
      t.same(readdirSync(dir), []);
    },
  },
  {
    name: "what stays is listed once while others come and go",
    run(dir, t) {
      const shown = python(
        dir,
        `
for i in range(400): open("stays-%d" % i, "w")
stop = os.fork()
if stop == 0:
    for i in range(6000):
        open("comes-%d" % (i % 100), "w"); os.unlink("comes-%d" % (i % 100))
        if i % 7 == 0: os.rename("stays-0", "stays-0")
    os._exit(0)
bad = rounds = 0
while os.waitpid(-1, os.WNOHANG) == (0, 0):
    names = [n for n in os.listdir(".") if n.startswith("stays")]
    rounds += 1
    if len(names) != 400 or len(set(names)) != 400: bad += 1
print(rounds > 3, bad)`,
      );
      t.equal(shown, "True 0");
    },
  },
  {
    name: "several processes create in one directory, none is lost",
    run(dir, t) {
      const shown = python(
        dir,
        `
for p in range(4):
    if os.fork() == 0:
        for i in range(300): open("%d-%d" % (p, i), "x").write("x")
        os._exit(0)
for p in range(4): os.wait()
print(len(os.listdir(".")), len(set(os.listdir("."))))`,
      );
      t.equal(shown, "1200 1200");
    },
  },
  {
    name: "of many that create one name, one succeeds",
    run(dir, t) {
      const shown = python(
        dir,
        `
wins = 0
for round in range(60):
    r, w = os.pipe()
    for p in range(4):
        if os.fork() == 0:
            try: os.close(os.open("r%d" % round, os.O_CREAT | os.O_EXCL)); os.write(w, b"1")
            except FileExistsError: pass
            os._exit(0)
    for p in range(4): os.wait()
    os.close(w); wins += len(os.read(r, 10)) == 1; os.close(r)
print(wins)`,
      );
      t.equal(shown, "60");
    },
  },
  {
    name: "rm -r of a tree",
    run(dir, t) {
      for (let outer = 0; outer < 20; outer++) {
        mkdirSync(`${dir}/t/${outer}/x/y`, { recursive: true });
        for (let inner = 0; inner < 20; inner++) touch(`${dir}/t/${outer}/${inner}`, "x");
        linkSync(`${dir}/t/${outer}/0`, `${dir}/t/${outer}/x/y/link`);
      }
      rmSync(`${dir}/t`, { recursive: true });
      t.same(readdirSync(dir), []);
      t.equal(statSync(dir).nlink, 2);
    },
  },
  {
    name: "a directory is fsynced, also one that was moved or removed",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      const fd = openSync(`${dir}/d`, "r");
      touch(`${dir}/d/a`);
      fsyncSync(fd);
      renameSync(`${dir}/d`, `${dir}/e`);
      fsyncSync(fd);
      rmSync(`${dir}/e`, { recursive: true });
      t.equal(
        code(() => fsyncSync(fd)),
        "",
      );
      closeSync(fd);
    },
  },
];

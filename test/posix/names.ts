/** Names and how they are looked up. */

import { code, type PosixCase, python, text, touch } from "../support/posix_case.ts";
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "../support/posix_fs.ts";

export const names: PosixCase[] = [
  {
    name: "a created file is found, and is empty",
    run(dir, t) {
      closeSync(openSync(`${dir}/a`, "wx"));
      t.equal(statSync(`${dir}/a`).size, 0);
      t.same(readdirSync(dir), ["a"]);
    },
  },
  {
    name: "what is not there is ENOENT, also after having been there",
    run(dir, t) {
      t.equal(
        code(() => statSync(`${dir}/no`)),
        "ENOENT",
      );
      touch(`${dir}/no`);
      t.ok(existsSync(`${dir}/no`), "a remembered absence ends with creation");
      unlinkSync(`${dir}/no`);
      t.equal(
        code(() => statSync(`${dir}/no`)),
        "ENOENT",
      );
    },
  },
  {
    name: "O_EXCL refuses what exists, also a dangling symbolic link",
    run(dir, t) {
      touch(`${dir}/a`);
      symlinkSync("nowhere", `${dir}/link`);
      t.equal(
        code(() => openSync(`${dir}/a`, "wx")),
        "EEXIST",
      );
      t.equal(
        code(() => openSync(`${dir}/link`, "wx")),
        "EEXIST",
      );
    },
  },
  {
    name: "O_CREAT through a dangling link makes its target",
    run(dir, t) {
      symlinkSync("target", `${dir}/link`);
      writeFileSync(`${dir}/link`, "x");
      t.equal(text(`${dir}/target`), "x");
      t.ok(lstatSync(`${dir}/link`).isSymbolicLink());
    },
  },
  {
    name: "a name of 255 bytes is taken, of 256 ENAMETOOLONG",
    run(dir, t) {
      const name = "n".repeat(255);
      touch(`${dir}/${name}`);
      t.same(readdirSync(dir), [name]);
      t.equal(
        code(() => touch(`${dir}/${name}n`)),
        "ENAMETOOLONG",
      );
      t.equal(
        code(() => statSync(`${dir}/${name}n`)),
        "ENAMETOOLONG",
      );
      t.equal(
        code(() => mkdirSync(`${dir}/${name}n`)),
        "ENAMETOOLONG",
      );
    },
  },
  {
    name: "255 bytes of UTF-8 come back as they were",
    run(dir, t) {
      const name = "é".repeat(127);
      touch(`${dir}/${name}`);
      mkdirSync(`${dir}/日本`);
      t.same(readdirSync(dir).sort(), [name, "日本"].sort());
    },
  },
  {
    name: "any byte but / and NUL may be in a name",
    run(dir, t) {
      const shown = python(
        dir,
        `
names = [bytes([b]) for b in range(1, 256) if b not in b"/."] + [bytes([b, 255, b]) for b in range(1, 256) if b != 47]
for name in names: open(name, "xb").write(name)
found = os.listdir(b".")
print(sorted(found) == sorted(names), all(open(name, "rb").read() == name for name in names))`,
      );
      t.equal(shown, "True True");
    },
  },
  {
    name: "names differ by case and by Unicode form",
    run(dir, t) {
      const all = ["a", "A", "\u00e9", "e\u0301"];
      for (const name of all) touch(`${dir}/${name}`, name);
      t.same(readdirSync(dir).sort(), [...all].sort());
      for (const name of all) t.equal(text(`${dir}/${name}`), name);
    },
  },
  {
    name: "a path through a file is ENOTDIR",
    run(dir, t) {
      touch(`${dir}/a`);
      t.equal(
        code(() => statSync(`${dir}/a/b`)),
        "ENOTDIR",
      );
      t.equal(
        code(() => statSync(`${dir}/a/.`)),
        "ENOTDIR",
      );
      t.equal(
        code(() => openSync(`${dir}/a/`, "r")),
        "ENOTDIR",
      );
      t.equal(
        code(() => openSync(`${dir}/a`, constants.O_DIRECTORY)),
        "ENOTDIR",
      );
      t.equal(
        code(() => mkdirSync(`${dir}/a/b`)),
        "ENOTDIR",
      );
    },
  },
  {
    name: "a directory is not opened for writing: EISDIR",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      t.equal(
        code(() => openSync(`${dir}/d`, "r+")),
        "EISDIR",
      );
      t.equal(
        code(() => openSync(`${dir}/d`, "w")),
        "EISDIR",
      );
    },
  },
  {
    name: ". and .. lead where they should",
    run(dir, t) {
      mkdirSync(`${dir}/d/e`, { recursive: true });
      t.equal(statSync(`${dir}/d/e/..`).ino, statSync(`${dir}/d`).ino);
      t.equal(statSync(`${dir}/d/e/../..`).ino, statSync(dir).ino);
      t.equal(statSync(`${dir}/d/.`).ino, statSync(`${dir}/d`).ino);
    },
  },
  {
    name: "a path is walked 200 directories deep",
    run(dir, t) {
      let path = dir;
      for (let depth = 0; depth < 200; depth++) {
        path += "/deeper";
        mkdirSync(path);
      }
      touch(`${path}/a`, "deep");
      t.equal(text(`${path}/a`), "deep");
      t.ok(path.length > 1400);
    },
  },
  {
    name: "a tree is deeper than PATH_MAX when walked step by step",
    run(dir, t) {
      const shown = python(
        dir,
        `
name = "x" * 200
for depth in range(60):
    os.mkdir(name); os.chdir(name)
open("end", "w").write("bottom")
inode = os.stat("end").st_ino
os.chdir(args[0]); fd = os.open(".", os.O_RDONLY)
for depth in range(60): fd = os.open(name, os.O_RDONLY, dir_fd=fd)
print(os.stat("end", dir_fd=fd).st_ino == inode, open(os.open("end", os.O_RDONLY, dir_fd=fd)).read())
import subprocess; subprocess.run(["rm", "-rf", "x" * 200], cwd=args[0], check=True)`,
        dir,
      );
      t.equal(shown, "True bottom");
    },
  },
  {
    name: "many names in one directory are each found",
    run(dir, t) {
      for (let index = 0; index < 3000; index++) touch(`${dir}/name-${index}`);
      const found = readdirSync(dir);
      t.equal(found.length, 3000);
      t.equal(new Set(found).size, 3000);
      for (let index = 0; index < 3000; index += 7) t.ok(existsSync(`${dir}/name-${index}`));
      t.notOk(existsSync(`${dir}/name-3000`));
    },
  },
  {
    name: "inode numbers tell files apart",
    run(dir, t) {
      const inos = new Set<number>();
      for (let index = 0; index < 500; index++) inos.add(statSync(touch(`${dir}/${index}`)).ino);
      t.equal(inos.size, 500);
    },
  },
  {
    name: "umask is honoured",
    run(dir, t) {
      const before = process.umask(0o027);
      try {
        closeSync(openSync(`${dir}/a`, "wx", 0o666));
        mkdirSync(`${dir}/d`, 0o777);
      } finally {
        process.umask(before);
      }
      t.equal(statSync(`${dir}/a`).mode & 0o7777, 0o640);
      t.equal(statSync(`${dir}/d`).mode & 0o7777, 0o750);
    },
  },
  {
    name: "a directory that is open goes on being usable when it is removed",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      const fd = openSync(`${dir}/d`, "r");
      rmdirSync(`${dir}/d`);
      t.same(readdirSync(`/proc/self/fd/${fd}`), []);
      t.equal(
        code(() => writeFileSync(`/proc/self/fd/${fd}/a`, "")),
        "ENOENT",
      );
      closeSync(fd);
      mkdirSync(`${dir}/d`);
      chmodSync(`${dir}/d`, 0o700);
    },
  },
];

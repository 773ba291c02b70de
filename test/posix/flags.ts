/** Flags of inodes as chattr(1) sets them, and project ids: ioctl_iflags(2), FS_IOC_FSSETXATTR(2const). */

import { code, ioctl, type PosixCase, touch, withFile, writeAt } from "../support/posix_case.ts";
import {
  appendFileSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "../support/posix_fs.ts";

const GETFLAGS = 0x80086601;
const SETFLAGS = 0x40086602;
const FSGETXATTR = 0x801c581f;
const FSSETXATTR = 0x401c5820;
const IMMUTABLE = 0x10;
const APPEND = 0x20;
const NODUMP = 0x40;
const NOATIME = 0x80;
const COMPRESSED = 0x4;
const NO_COW = 0x800000;
const PROJECT_INHERIT = 0x200;
const EOPNOTSUPP = -95;

function onOpen<T>(path: string, run: (fd: number) => T): T {
  const fd = openSync(path, "r");
  try {
    return run(fd);
  } finally {
    closeSync(fd);
  }
}

function getFlags(path: string): number {
  const buffer = Buffer.alloc(8);
  const status = onOpen(path, (fd) => ioctl(fd, GETFLAGS, buffer));
  return status < 0 ? status : buffer.readUInt32LE(0);
}

function setFlags(path: string, flags: number): number {
  const buffer = Buffer.alloc(8);
  buffer.writeUInt32LE(flags);
  return onOpen(path, (fd) => ioctl(fd, SETFLAGS, buffer));
}

/** xflags and project id. */
function getProject(path: string): [number, number] {
  const buffer = Buffer.alloc(28);
  onOpen(path, (fd) => ioctl(fd, FSGETXATTR, buffer));
  return [buffer.readUInt32LE(0), buffer.readUInt32LE(12)];
}

function setProject(path: string, xflags: number, project: number): number {
  const buffer = Buffer.alloc(28);
  buffer.writeUInt32LE(xflags, 0);
  buffer.writeUInt32LE(project, 12);
  return onOpen(path, (fd) => ioctl(fd, FSSETXATTR, buffer));
}

const SETTABLE = IMMUTABLE | APPEND | NODUMP | NOATIME;

export const flags: PosixCase[] = [
  {
    name: "flags are kept, and inherited where they are",
    run(dir, t) {
      touch(`${dir}/a`);
      mkdirSync(`${dir}/d`);
      t.equal(getFlags(`${dir}/a`) & SETTABLE, 0);
      t.equal(setFlags(`${dir}/a`, NODUMP | NOATIME), 0);
      t.equal(getFlags(`${dir}/a`) & SETTABLE, NODUMP | NOATIME);
      t.equal(setFlags(`${dir}/a`, 0), 0);
      t.equal(getFlags(`${dir}/a`) & SETTABLE, 0);
      const { ctimeMs } = statSync(`${dir}/d`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
      t.equal(setFlags(`${dir}/d`, NODUMP), 0);
      t.ok(statSync(`${dir}/d`).ctimeMs > ctimeMs, "it is a change of the inode");
      touch(`${dir}/d/b`);
      t.equal(getFlags(`${dir}/d/b`) & SETTABLE, NODUMP);
    },
  },
  {
    name: "an immutable file cannot be changed in any way, until it is not any more",
    run(dir, t) {
      const path = `${dir}/a`;
      writeFileSync(path, "as it was");
      linkSync(path, `${dir}/b`);
      t.equal(setFlags(path, IMMUTABLE), 0);
      try {
        t.equal(
          code(() => truncateSync(path, 1)),
          "EPERM",
        );
        t.equal(
          code(() => writeFileSync(path, "new")),
          "EPERM",
        );
        t.equal(
          code(() => unlinkSync(path)),
          "EPERM",
        );
        t.equal(
          code(() => unlinkSync(`${dir}/b`)),
          "EPERM",
        );
        t.equal(
          code(() => renameSync(path, `${dir}/c`)),
          "EPERM",
        );
        t.equal(
          code(() => linkSync(path, `${dir}/c`)),
          "EPERM",
        );
        t.equal(
          code(() => utimesSync(path, 1, 1)),
          "EPERM",
        );
        touch(`${dir}/other`);
        t.equal(
          code(() => renameSync(`${dir}/other`, path)),
          "EPERM",
        );
        statSync(path);
        t.equal(
          code(() => appendFileSync(path, "more")),
          "EPERM",
          "appending",
        );
        t.equal(readFileSync(path, "utf8"), "as it was");
      } finally {
        t.equal(setFlags(path, 0), 0);
      }
      appendFileSync(path, ", and more");
      t.equal(readFileSync(path, "utf8"), "as it was, and more");
      unlinkSync(path);
    },
  },
  {
    name: "what was written before a file became immutable is there",
    run(dir, t) {
      const path = `${dir}/a`;
      writeFileSync(path, "x".repeat(100_000));
      t.equal(setFlags(path, IMMUTABLE), 0);
      t.equal(readFileSync(path, "utf8"), "x".repeat(100_000));
      t.equal(setFlags(path, 0), 0);
    },
  },
  {
    name: "an append-only file takes what is appended, and nothing else",
    run(dir, t) {
      const path = `${dir}/a`;
      writeFileSync(path, "one,");
      t.equal(setFlags(path, APPEND), 0);
      try {
        appendFileSync(path, "two,");
        appendFileSync(path, "x".repeat(10_000));
        t.equal(
          code(() => truncateSync(path, 1)),
          "EPERM",
        );
        t.equal(
          code(() => unlinkSync(path)),
          "EPERM",
        );
        t.equal(
          code(() => renameSync(path, `${dir}/c`)),
          "EPERM",
        );
        // Refused when it is opened, written, or closed: that is up to the file system.
        const overwritten = code(() =>
          withFile(path, "r+", (fd) => writeAt(fd, 1, Buffer.from("X"))),
        );
        t.match(overwritten, /EPERM|EIO/);
        // What is told at close was in the kernel's cache until then, and goes from there a moment later.
        const content = `one,two,${"x".repeat(10_000)}`;
        const deadline = Date.now() + 5_000;
        while (readFileSync(path, "utf8") !== content && Date.now() < deadline);
        t.ok(readFileSync(path, "utf8") === content, "as it was");
      } finally {
        t.equal(setFlags(path, 0), 0);
      }
    },
  },
  {
    name: "directories: immutable ones keep their names, append-only ones get more",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      touch(`${dir}/d/old`);
      t.equal(setFlags(`${dir}/d`, IMMUTABLE), 0);
      t.equal(
        code(() => touch(`${dir}/d/new`)),
        "EPERM",
      );
      t.equal(
        code(() => unlinkSync(`${dir}/d/old`)),
        "EPERM",
      );
      t.equal(
        code(() => renameSync(`${dir}/d/old`, `${dir}/x`)),
        "EPERM",
      );
      writeFileSync(`${dir}/d/old`, "files in it can change");
      t.equal(setFlags(`${dir}/d`, APPEND), 0);
      touch(`${dir}/d/new`);
      t.equal(
        code(() => unlinkSync(`${dir}/d/new`)),
        "EPERM",
      );
      t.equal(setFlags(`${dir}/d`, 0), 0);
      unlinkSync(`${dir}/d/new`);
      unlinkSync(`${dir}/d/old`);
      rmdirSync(`${dir}/d`);
    },
  },
  {
    name: "flags that would promise what is not done are refused",
    run(dir, t) {
      touch(`${dir}/a`);
      t.equal(setFlags(`${dir}/a`, COMPRESSED), EOPNOTSUPP);
      t.equal(setFlags(`${dir}/a`, NO_COW), EOPNOTSUPP);
      t.equal(getFlags(`${dir}/a`) & SETTABLE, 0);
    },
  },
  {
    name: "project ids, inherited, and a border for rename and link",
    notOnTmpfs: "it has none",
    run(dir, t) {
      for (const name of ["p", "q"]) mkdirSync(`${dir}/${name}`);
      t.equal(setProject(`${dir}/p`, PROJECT_INHERIT, 42), 0);
      mkdirSync(`${dir}/p/sub`);
      touch(`${dir}/p/sub/file`);
      t.same(getProject(`${dir}/p`), [PROJECT_INHERIT, 42]);
      t.same(getProject(`${dir}/p/sub`), [PROJECT_INHERIT, 42]);
      t.same(getProject(`${dir}/p/sub/file`), [0, 42]);
      touch(`${dir}/q/file`);
      t.same(getProject(`${dir}/q/file`), [0, 0]);
      t.equal(
        code(() => renameSync(`${dir}/q/file`, `${dir}/p/file`)),
        "EXDEV",
      );
      t.equal(
        code(() => linkSync(`${dir}/q/file`, `${dir}/p/file`)),
        "EXDEV",
      );
      renameSync(`${dir}/p/sub/file`, `${dir}/q/other`);
      renameSync(`${dir}/q/other`, `${dir}/p/back`);
      t.equal(setProject(`${dir}/q/file`, 0, 42), 0);
      renameSync(`${dir}/q/file`, `${dir}/p/file`);
    },
  },
];

/**
 * System calls that node:fs does not have, for tests: by koffi, each returns its result or −errno. And what the cases of
 * test/posix share.
 */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import type { Test } from "tap";
import {
  callForeign,
  closeSync,
  constants,
  isForeign,
  lstatSync,
  NotInLibrary,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  writeFileSync,
  writeSync,
} from "./posix_fs.ts";

/** One requirement of POSIX or Linux on a directory that a file system serves. */
export interface PosixCase {
  readonly name: string;
  /** Why tmpfs, on which the cases are tested first, cannot do it. */
  readonly notOnTmpfs?: string;
  /** Programs without which it is skipped. */
  readonly needs?: readonly string[];
  /** What DynamicFS still lacks; POSIX_NOT_YET=1 runs the case all the same. */
  readonly notYet?: string;
  /** `dir` is empty and the case's own; it is removed afterwards. */
  run(dir: string, t: Test): void | Promise<void>;
}

type Call = (...args: unknown[]) => number | bigint;
interface Koffi {
  load(path: string): { func(prototype: string): Call };
  errno(): number;
}

let koffi: Koffi | null = null;
let libc: ReturnType<Koffi["load"]> | null = null;

/** A function of libc; loaded when it is first called, because not every runtime of the library can. */
function call(prototype: string): (...args: unknown[]) => number {
  let native: Call | null = null;
  return (...args) => {
    if (
      args.some((value, index) => (index === 0 || typeof value === "string") && isForeign(value))
    ) {
      throw new NotInLibrary(prototype.replace(/^\w+ (\w+).*$/, "$1"));
    }
    koffi ??= createRequire(import.meta.url)("koffi") as Koffi;
    libc ??= koffi.load("libc.so.6");
    native ??= libc.func(prototype);
    const result = Number(native(...args));
    return result === -1 ? -koffi.errno() : result;
  };
}

/** A function of extended attributes through the library: its result, or −errno. */
function foreignXattr(name: string, ...args: unknown[]): unknown {
  try {
    return callForeign(name, args);
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    return errno;
  }
}

export const AT_FDCWD = -100;
const rename2 = call("int renameat2(int, const char *, int, const char *, unsigned int)");
const linkAt = call("int linkat(int, const char *, int, const char *, int)");
export const fallocate: (fd: number, mode: number, offset: number, length: number) => number = call(
  "int fallocate(int, int, int64_t, int64_t)",
);
export const lseek: (fd: number, offset: number, whence: number) => number = call(
  "int64_t lseek(int, int64_t, int)",
);
export const mknod: (path: string, mode: number, device: number) => number = call(
  "int mknod(const char *, unsigned int, uint64_t)",
);
const setXattr = call("int lsetxattr(const char *, const char *, void *, size_t, int)");
const getXattr = call("int64_t lgetxattr(const char *, const char *, void *, size_t)");
const listXattr = call("int64_t llistxattr(const char *, void *, size_t)");
const removeXattrOf = call("int lremovexattr(const char *, const char *)");
const utimes = call("int utimensat(int, const char *, void *, int)");
const copyRange = call("int64_t copy_file_range(int, void *, int, void *, size_t, unsigned int)");
export const syncFileSystem: (fd: number) => number = call("int syncfs(int)");
export const ioctl: (fd: number, request: number, argument: Buffer) => number = call(
  "int ioctl(int, unsigned long, void *)",
);
export const flock: (fd: number, operation: number) => number = call("int flock(int, int)");
const getdents = call("int64_t syscall(int64_t, int, void *, size_t)");
const GETDENTS64 = process.arch === "arm64" ? 61 : 217;

export const SEEK_SET = 0;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const KEEP_SIZE = 1;
export const PUNCH_HOLE = 2;
export const COLLAPSE_RANGE = 8;
export const ZERO_RANGE = 16;
export const INSERT_RANGE = 32;
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;
const NO_FOLLOW = { followSymlinks: false };
export const O_TMPFILE: number = 0x40_0000 | constants.O_DIRECTORY;

export function renameat2(from: string, to: string, flags: number): number {
  return rename2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

/** Gives an open file a name. */
export function linkOpen(fd: number, path: string): number {
  return linkAt(AT_FDCWD, `/proc/self/fd/${fd}`, AT_FDCWD, path, 0x400);
}

export function setxattr(path: string, name: string, value: Buffer, flags = 0): number {
  if (isForeign(path)) {
    const options = {
      ...NO_FOLLOW,
      create: flags === XATTR_CREATE,
      replace: flags === XATTR_REPLACE,
    };
    return (foreignXattr("setXattr", path, name, value, options) as number | undefined) ?? 0;
  }
  return setXattr(path, name, value, value.length, flags);
}

/** The value, or −errno. */
export function getxattr(path: string, name: string, room = 65536): Buffer | number {
  if (isForeign(path)) {
    return foreignXattr("getXattr", path, name, NO_FOLLOW) as Buffer | number;
  }
  const buffer = Buffer.alloc(room);
  const length = getXattr(path, name, buffer, room);
  return length < 0 ? length : buffer.subarray(0, length);
}

export function xattrLength(path: string, name: string): number {
  if (isForeign(path)) {
    const value = getxattr(path, name);
    return typeof value === "number" ? value : value.length;
  }
  return getXattr(path, name, null, 0);
}

export function removeXattr(path: string, name: string): number {
  if (isForeign(path)) {
    return (foreignXattr("removeXattr", path, name, NO_FOLLOW) as number | undefined) ?? 0;
  }
  return removeXattrOf(path, name);
}

export function listxattr(path: string): string[] {
  if (isForeign(path)) return (callForeign("listXattr", [path, NO_FOLLOW]) as string[]).sort();
  const buffer = Buffer.alloc(65536);
  const length = listXattr(path, buffer, buffer.length);
  if (length < 0) throw new Error(`llistxattr: ${length}`);
  return buffer.toString("latin1", 0, length).split("\0").slice(0, -1).sort();
}

/** Seconds and nanoseconds of a time; "now" and "omit" as utimensat has them. */
export type Time = { readonly s: bigint; readonly ns: bigint } | "now" | "omit";

export function utimensat(path: string, atime: Time, mtime: Time): number {
  const times = Buffer.alloc(32);
  for (const [index, time] of [atime, mtime].entries()) {
    const { s, ns } =
      time === "now"
        ? { s: 0n, ns: 0x3fff_ffffn }
        : time === "omit"
          ? { s: 0n, ns: 0x3fff_fffen }
          : time;
    times.writeBigInt64LE(s, index * 16);
    times.writeBigInt64LE(ns, index * 16 + 8);
  }
  return utimes(AT_FDCWD, path, times, 0x100);
}

export function copyFileRange(
  from: { readonly fd: number; readonly offset: number },
  to: { readonly fd: number; readonly offset: number },
  length: number,
): number {
  const at = (offset: number): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(offset));
    return bytes;
  };
  return copyRange(from.fd, at(from.offset), to.fd, at(to.offset), length, 0);
}

export interface Entry {
  readonly name: string;
  /** Where the next read goes on: an argument of lseek(). */
  readonly cookie: bigint;
  readonly ino: bigint;
  /** DT_*. */
  readonly type: number;
}

/** One getdents64(2) call on an open directory. */
export function readEntries(fd: number, room = 4096): Entry[] {
  const buffer = Buffer.alloc(room);
  const length = getdents(GETDENTS64, fd, buffer, room);
  if (length < 0) throw new Error(`getdents64: ${length}`);
  const entries: Entry[] = [];
  for (let at = 0; at < length; at += buffer.readUInt16LE(at + 16)) {
    const end = buffer.indexOf(0, at + 19);
    entries.push({
      name: buffer.toString("utf8", at + 19, end),
      cookie: buffer.readBigInt64LE(at + 8),
      ino: buffer.readBigUInt64LE(at),
      type: buffer[at + 18] ?? 0,
    });
  }
  return entries;
}

/** The code of the error that a call throws, "" when it throws none. */
export function code(run: () => unknown): string {
  try {
    run();
    return "";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** Opens, and closes whatever happens. */
export function withFile<T>(path: string, flags: string | number, use: (fd: number) => T): T {
  const fd = openSync(path, flags, 0o644);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

export function touch(path: string, text = ""): string {
  writeFileSync(path, text);
  return path;
}

export function text(path: string): string {
  return readFileSync(path, "utf8");
}

export function exists(path: string): boolean {
  return code(() => lstatSync(path)) === "";
}

export function mode(stats: Stats): number {
  return stats.mode & 0o7777;
}

/** Bytes of which no two neighbours at a block's distance are equal; the same for the same seed. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

export function readAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const done = readSync(fd, bytes, 0, length, offset);
  return bytes.subarray(0, done);
}

export function writeAt(fd: number, offset: number, bytes: Buffer): number {
  return writeSync(fd, bytes, 0, bytes.length, offset);
}

/** Runs Python in the directory. @returns What it printed, trimmed; its error text is thrown. */
export function python(dir: string, program: string, ...args: string[]): string {
  if (isForeign(dir)) throw new NotInLibrary("another process");
  const head = `import os, sys, errno, stat, struct\nos.chdir(sys.argv[1])\nargs = sys.argv[2:]\n`;
  const { status, stdout, stderr } = spawnSync("python3", ["-c", head + program, dir, ...args], {
    encoding: "utf8",
    timeout: 120_000,
  });
  if (status !== 0) throw new Error(`python3: ${status}\n${stderr}`);
  return stdout.trim();
}

/**
 * Runs Python in the directory as somebody without rights. `attempt(function, …)` there gives the name of the error,
 * or "ok".
 */
export function asUser(dir: string, uid: number, program: string, groups: number[] = []): string {
  const head = `
def attempt(function, *args, **more):
    try:
        function(*args, **more)
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
os.setgroups([${groups.join(", ")}]); os.setgid(${uid}); os.setuid(${uid})
`;
  return python(dir, head + program);
}

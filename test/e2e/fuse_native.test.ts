/**
 * Mounts by libfuse 2 (--transport fuse-native): the cases of test/posix but those it cannot express, each by its name
 * and with the reason; what it writes is read by the kernel transport afterwards; and what it would do wrong is refused.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { loadFuseNative } from "../../host/fuse_native/load.ts";
import { GROUPS } from "../posix/groups.ts";
import { delay, Mounted, mountImpossible, programsMissing, withMount } from "../support/mount.ts";
import { OrdinaryUser, ordinaryUserImpossible, USER } from "../support/ordinary_user.ts";
import { code, mknod, setxattr, utimensat } from "../support/posix_case.ts";

t.setTimeout(900_000);

const OPTIONS = "transport=fuse-native";
/** A part of the names of cases: only these. */
const only = process.env["POSIX_CASES"] ?? "";

const OTHERS = "only the user who mounted gets in: fuse-native does not tell who asks";
const ONE_TIME =
  "libfuse passes over a change of one time alone, which fuse-native cannot ask it for";
const MILLISECONDS = "fuse-native has times in milliseconds";
const UNSIGNED = "fuse-native has unsigned times";
const PATHLESS = "libfuse has no path for what is open in a removed directory";
const TEXT = "fuse-native has names as text: what is not UTF-8 is EILSEQ";
const NO_TMPFILE = "libfuse 2 has no O_TMPFILE";
const NO_RENAME2 = "libfuse 2 has no flags of rename";
const NO_SEEK = "libfuse 2 has no SEEK_HOLE: the kernel takes all for data";
const NO_FALLOCATE = "fuse-native has no fallocate";
const NO_IOCTL = "fuse-native has no ioctl";
const NO_HANDLES = "libfuse 2's interface by path finds no file by its number";
const NO_ACL = "libfuse 2 does not have the kernel keep ACLs, so they are refused";

/** Cases whose name begins so, and why not. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "special: a file handle opens its file by inode": NO_HANDLES,
  "names: any byte but / and NUL may be in a name": TEXT,
  "names: a directory that is open goes on being usable when it is removed": PATHLESS,
  "links: O_TMPFILE makes a file without a name": NO_TMPFILE,
  "links: O_TMPFILE with O_EXCL": NO_TMPFILE,
  "rename: RENAME_NOREPLACE": NO_RENAME2,
  "rename: RENAME_EXCHANGE": NO_RENAME2,
  "rename: RENAME_WHITEOUT": NO_RENAME2,
  "rename: replacing is atomic":
    "who opens a file while it is replaced may be told ENOENT by libfuse",
  "attributes: times keep nanoseconds": MILLISECONDS,
  "attributes: times in 1960, 2100 and 2400": UNSIGNED,
  "attributes: one time is set, the other kept": ONE_TIME,
  "attributes: atime follows a read of what is not cached": ONE_TIME,
  "attributes: writing takes set-user-id": OTHERS,
  "attributes: chown by its owner": OTHERS,
  "attributes: chown takes set-user-id away": OTHERS,
  "directories: a directory is fsynced": PATHLESS,
  "space: SEEK_DATA and SEEK_HOLE": NO_SEEK,
  "space: SEEK_DATA sees": NO_SEEK,
  "space: an offset just below 8 PiB": NO_SEEK,
  "space: fallocate() grows": NO_FALLOCATE,
  "space: space that was allocated": NO_FALLOCATE,
  "space: allocated space is a hole": NO_FALLOCATE,
  "space: punching a hole": NO_FALLOCATE,
  "space: a hole in a small file": NO_FALLOCATE,
  "space: a punched hole": NO_FALLOCATE,
  "space: ZERO_RANGE": NO_FALLOCATE,
  "data: copy_file_range() of whole files shares":
    "fuse-native has no copy_file_range: the kernel copies",
  "xattrs: setfattr, getfattr, setfacl": NO_ACL,
  "xattrs: a default ACL": NO_ACL,
  "xattrs: chmod changes the mask": NO_ACL,
  "xattrs: an ACL that says": NO_ACL,
  "xattrs: cp -a keeps ACLs": NO_ACL,
  "permissions: ": OTHERS,
  "flags: ": NO_IOCTL,
};

function packageMissing(): string | false {
  try {
    loadFuseNative();
    return false;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const skip =
  process.geteuid?.() !== 0
    ? "needs root, for devices and owners"
    : mountImpossible() || packageMissing() || programsMissing("python3");

t.test("POSIX", { skip, timeout: 600_000 }, async (t) => {
  await withMount({ size: "1G", limitSeconds: 600, options: OPTIONS }, async (mounted) => {
    await runAll(t, mounted.directory);
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0 }, "fsck is clean");
    t.notMatch(mounted.log(), /"level":"error"/, "nothing went wrong in the daemon");
  });
});

async function runAll(t: Test, directory: string): Promise<void> {
  const unused = new Set(Object.keys(EXCEPTIONS));
  let number = 0;
  for (const [group, cases] of Object.entries(GROUPS)) {
    for (const each of cases) {
      const name = `${group}: ${each.name}`;
      const exception = Object.entries(EXCEPTIONS).find(([key]) => name.startsWith(key));
      if (exception !== undefined) unused.delete(exception[0]);
      if (!name.includes(only)) continue;
      const reason = exception?.[1] ?? each.notYet ?? programsMissing(...(each.needs ?? []));
      await t.test(name, { skip: reason }, async (t) => {
        const dir = join(directory, `${group}${number++}`);
        mkdirSync(dir);
        try {
          await each.run(dir, t);
        } finally {
          rmSync(dir, { recursive: true, force: true });
        }
      });
    }
  }
  t.strictSame([...unused], [], "every exception is of a case");
}

const AT = [2 ** 31 - 3, 2 ** 32 - 3, 2 ** 40 + 1];
const BEFORE = { s: -1n, ns: 0n };

/** What the kernel transport and this one must tell alike of every object. */
function told(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const path = join(directory, name);
      const { mode, uid, gid, nlink, ino, size, rdev, mtimeMs } = lstatSync(path);
      const isFile = (mode & 0o170000) === 0o100000;
      const content = isFile && size < 2 ** 30 ? hashOf(readFileSync(path)) : "";
      const link = (mode & 0o170000) === 0o120000 ? readlinkSync(path) : "";
      const time = Math.floor(mtimeMs);
      return [name, mode, uid, gid, nlink, ino, size, rdev, time, content, link].join(" ");
    });
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A tree with one of everything. */
function makeTree(directory: string): void {
  const path = (name: string): string => join(directory, name);
  mkdirSync(path("a/b"), { recursive: true });
  for (const size of [0, 1, 2049, 4096, 200_000, 3_000_001]) {
    writeFileSync(path(`a/${size}`), Buffer.alloc(size, `${size}\n`));
  }
  linkSync(path("a/4096"), path("a/b/second"));
  symlinkSync("../nowhere/\u00fc", path("a/b/link"));
  mknod(path("a/null"), 0o020644, 0x103);
  mknod(path("a/fifo"), 0o010600, 0);
  chownSync(path("a/1"), 1234, 2 ** 32 - 2);
  chmodSync(path("a/2049"), 0o4751);
  utimesSync(path("a/1"), 1_000_000_000.123, 1_100_000_000.456);
  chmodSync(path("a/b"), 0o1777);
  const fd = openSync(path("far"), "w+");
  for (const at of AT) writeSync(fd, "across", at);
  closeSync(fd);
}

t.test("what it wrote is read by the kernel transport, and the other way", { skip }, async (t) => {
  const settings = { size: "1G", options: OPTIONS };
  await withMount(settings, async (mounted) => {
    makeTree(mounted.directory);
    const again = { atime: 1_000_000_000_123, mtime: 1_100_000_000_456 };
    const times = (): unknown => {
      const { atimeMs, mtimeMs } = lstatSync(mounted.path("a/1"));
      return { atime: atimeMs, mtime: mtimeMs };
    };
    t.same(times(), again, "both times of a utimens");
    const first = told(mounted.directory);
    t.equal(first.length, 13);
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0 }, "fsck is clean");

    settings.options = "rw";
    await mounted.mount();
    t.same(told(mounted.directory), first, "the kernel transport tells the same");
    t.same(
      acrossAt(mounted.path("far")),
      AT.map(() => "\0across"),
    );
    makeTree(`${mounted.directory}/a/b`);
    const second = told(mounted.directory);
    await mounted.umount();

    settings.options = OPTIONS;
    await mounted.mount();
    t.same(told(mounted.directory), second, "and back");
    t.same(
      acrossAt(mounted.path("a/b/far")),
      AT.map(() => "\0across"),
    );
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0 }, "fsck is clean");
  });
});

/** What is at and around 2 GiB, 4 GiB and 1 TiB. */
function acrossAt(path: string): string[] {
  const fd = openSync(path, "r");
  try {
    return AT.map((at) => {
      const bytes = Buffer.alloc(7);
      readSync(fd, bytes, 0, 7, at - 1);
      return bytes.toString("latin1");
    });
  } finally {
    closeSync(fd);
  }
}

t.test("files that are removed while open", { skip }, async (t) => {
  await withMount({ size: "256M", options: OPTIONS }, async (mounted) => {
    const path = mounted.path("open");
    writeFileSync(path, "kept");
    linkSync(path, mounted.path("other"));
    const fd = openSync(path, "r+");
    unlinkSync(path);
    t.same(readdirSync(mounted.directory), ["other"], "nothing is listed of it");
    t.equal(fstatSync(fd).nlink, 1);
    unlinkSync(mounted.path("other"));
    t.equal(fstatSync(fd).nlink, 0);
    writeSync(fd, "K", 0);
    t.equal(readFileSync(`/proc/self/fd/${fd}`, "utf8"), "Kept");
    t.comment("a name like those that libfuse makes is a name");
    const hidden = mounted.path(".fuse_hidden0000000200000fff");
    writeFileSync(mounted.path("mine"), "mine");
    const own = openSync(mounted.path("mine"), "r");
    renameSync(mounted.path("mine"), hidden);
    t.equal(readFileSync(hidden, "utf8"), "mine");
    closeSync(own);
    t.equal(readFileSync(hidden, "utf8"), "mine");
    await mounted.kill9();
    closeSync(fd);
    await mounted.mount();
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0 }, "a crash with such files leaves nothing behind");
  });
});

t.test("a lazy unmount serves until the last file is closed", { skip }, async (t) => {
  const mounted = new Mounted({ size: "256M", options: OPTIONS });
  t.teardown(() => mounted.close());
  mounted.create();
  await mounted.mount();
  const daemon = mounted.pid;
  const fd = openSync(mounted.path("late"), "w");
  const outcome = mounted.sandbox.run("umount", "--lazy", mounted.directory);
  t.match(outcome, { code: 0 });
  writeSync(fd, "after the unmount");
  closeSync(fd);
  while (existsSync(`/proc/${daemon}/exe`)) await delay(10);
  await mounted.mount().catch(() => {});
  t.equal(readFileSync(mounted.path("late"), "utf8"), "after the unmount");
  await mounted.umount();
  t.match(mounted.fsck(), { code: 0 });
});

t.test("what it would do wrong is refused", { skip }, async (t) => {
  await withMount({ size: "256M", options: OPTIONS }, async (mounted) => {
    const remount = mounted.sandbox.run("mount", "-o", "remount,ro", mounted.directory);
    t.match(remount, { code: 12, err: /unmount, and mount again/ });
    t.match(mounted.sandbox.run("status", mounted.directory), { code: 0, out: /ONLINE/ });
    const file = mounted.path("a");
    writeFileSync(file, "x");
    const acl = setxattr(file, "system.posix_acl_access", Buffer.from("02000000", "hex"));
    t.equal(acl, -95, "ACLs: EOPNOTSUPP");
    t.equal(utimensat(file, BEFORE, BEFORE), -75, "times before 1970: EOVERFLOW");
    t.equal(
      code(() => writeFileSync(Buffer.from(`${file}\xff`, "latin1"), "")),
      "EILSEQ",
      "names that are not UTF-8",
    );
    for (const option of ["allow_other", "uid=1", "umask=022", "sync", "dirsync"]) {
      const options = `${OPTIONS},${option}`;
      const result = mounted.sandbox.run("mount", "-o", options, mounted.image, mounted.outside);
      t.match(result, { code: 2 }, option);
    }
    const other = ["--transport", "nfs", mounted.image, mounted.outside];
    t.match(mounted.sandbox.run("mount", ...other), { code: 2, err: /kernel and fuse-native/ });
    const nobody = spawnSync("ls", [mounted.directory], { uid: 65_534, encoding: "utf8" });
    t.match(nobody.stderr, /Permission denied/, "others do not get in");
  });
});

t.test("read-only", { skip }, async (t) => {
  const settings = { size: "256M", options: OPTIONS };
  await withMount(settings, async (mounted) => {
    writeFileSync(mounted.path("a"), "x");
    await mounted.umount();
    settings.options = `${OPTIONS},ro`;
    await mounted.mount();
    t.equal(readFileSync(mounted.path("a"), "utf8"), "x");
    t.throws(() => writeFileSync(mounted.path("b"), ""), { code: "EROFS" });
  });
});

const userImpossible = skip || ordinaryUserImpossible() || programsMissing("fusermount");
const made = userImpossible === false ? await OrdinaryUser.make() : userImpossible;
const noUser = typeof made === "string" ? made : false;

t.test("an ordinary user mounts, and what is made is theirs", { skip: noUser }, async (t) => {
  const user = made as OrdinaryUser;
  t.teardown(() => user.close());
  t.match(user.run("pool", "create", "p", "a.img:256M"), { code: 0 });
  user.shell("mkdir mnt");
  const mounted = user.run("mount", "--json", "a.img", "mnt", "-o", OPTIONS);
  t.match(mounted, { code: 0 });
  const { pid } = JSON.parse(mounted.out) as { pid: number };
  const shown = user.shell(`cd mnt && umask 027 && echo x > a && mkdir d && ln -s a l
    stat -c '%u %g %a' a d l
    chmod 0 a; cat a 2>&1 | grep -o 'Permission denied'
    chmod 500 d; touch d/x 2>&1 | grep -o 'Permission denied'
    chown 0 a 2>&1 | grep -o 'not permitted'`);
  t.same(shown.trim().split("\n"), [
    `${USER} ${USER} 640`,
    `${USER} ${USER} 750`,
    `${USER} ${USER} 777`,
    "Permission denied",
    "Permission denied",
    "not permitted",
  ]);
  t.match(user.run("umount", "mnt"), { code: 0 });
  while (existsSync(`/proc/${pid}/exe`)) await delay(10);
  t.match(user.run("fsck", "a.img"), { code: 0 });
});

/**
 * Mounts by libfuse 2 (--transport fuse-native): the cases of test/posix but those it cannot express, each by its name
 * and with the reason; what it writes is read by the kernel transport afterwards; and what it would do wrong is refused.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { loadFuseNative } from "../../host/fuse_native/load.ts";
import { GROUPS } from "../posix/groups.ts";
import { mountImpossible, programsMissing, withMount } from "../support/mount.ts";

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
const NO_ACL = "libfuse 2 does not have the kernel keep ACLs, so they are refused";

/** Cases whose name begins so, and why not. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
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

/** Quotas on a real mount: who is told what, what df shows, and that kill -9 changes no count. */

import { Buffer } from "node:buffer";
import {
  chownSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import process from "node:process";
import t from "tap";
import { mountImpossible, programsMissing, withMount } from "../support/mount.ts";
import { code } from "../support/posix_case.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

/** EDQUOT, which libuv has no name for. */
const EDQUOT = "Unknown system error -122";

const MIB = 2 ** 20;
const OWNER = 1234;
const skip =
  process.geteuid?.() !== 0
    ? "needs root, for files of several owners"
    : (await mountImpossible()) || programsMissing("chattr");

t.test("quotas of a user and of a project", { skip }, async (t) => {
  await withMount({ size: "256M" }, async (mounted) => {
    const { directory, sandbox } = mounted;
    const quota = (...words: string[]): number | null =>
      sandbox.run("quota", "set", directory, ...words).code;
    const used = (): unknown[] => {
      const { out } = sandbox.run("quota", "list", directory, "--json");
      const { quotas } = JSON.parse(out) as { quotas: Record<string, unknown>[] };
      return quotas.map(({ kind, usedBytes, usedFiles }) => [kind, usedBytes, usedFiles]);
    };
    t.equal(quota("--user", String(OWNER), "--size", "4M", "--files", "3"), 0);
    t.equal(quota("--user", "no such user", "--size", "4M"), 2);
    t.equal(quota("--user", String(OWNER)), 2, "no limit");
    t.equal(quota("--project", "0", "--size", "1M"), 2);
    t.equal(quota("--user", "1", "--group", "1", "--size", "1M"), 2);
    t.equal(sandbox.run("quota", "list", sandbox.path("elsewhere")).code, 4);

    writeFileSync(`${directory}/file`, "");
    chownSync(`${directory}/file`, OWNER, OWNER);
    const file = openSync(`${directory}/file`, "r+");
    writeSync(file, Buffer.alloc(3 * MIB, 1));
    fsyncSync(file);
    writeSync(file, Buffer.alloc(2 * MIB, 2));
    t.equal(
      code(() => fsyncSync(file)),
      "ENOSPC",
      "what was in the cache",
    );
    closeSync(file);
    t.equal(
      code(() => writeFileSync(`${directory}/file`, Buffer.alloc(MIB, 3))),
      "",
      "less",
    );
    for (const name of ["second", "third", "fourth"]) writeFileSync(`${directory}/${name}`, "");
    chownSync(`${directory}/second`, OWNER, OWNER);
    chownSync(`${directory}/third`, OWNER, OWNER);
    t.equal(
      code(() => chownSync(`${directory}/fourth`, OWNER, OWNER)),
      EDQUOT,
    );

    mkdirSync(`${directory}/project`);
    t.equal(sandbox.program("chattr", ["-p", "7", "+P", `${directory}/project`]).code, 0);
    t.equal(quota("--project", "7", "--size", "8M", "--files", "2"), 0);
    writeFileSync(`${directory}/project/file`, Buffer.alloc(2 * MIB, 4), { flush: true });
    const { bavail, blocks, bsize } = statfsSync(`${directory}/project`);
    t.same([blocks * bsize, bavail * bsize], [8 * MIB, 6 * MIB], "df shows the project's");
    t.equal(
      code(() => mkdirSync(`${directory}/project/one too many`)),
      EDQUOT,
    );
    const before = used();
    t.same(before, [
      ["user", MIB, 3],
      ["project", 2 * MIB, 2],
    ]);
    await mounted.kill9();
    await mounted.mount();
    t.same(used(), before);
    t.equal(quota("--project", "7", "--size", "none", "--files", "none"), 0);
    t.equal(
      code(() => mkdirSync(`${directory}/project/not any more`)),
      "",
    );
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0, out: "clean\n" });
  });
});

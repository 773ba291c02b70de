/**
 * What POSIX and Linux ask of a file system, on a real mount. Each case runs on tmpfs first: one that fails there is a
 * wrong case, not a wrong file system.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { mountImpossible, programsMissing, withMount } from "../support/mount.ts";
import type { PosixCase } from "../support/posix_case.ts";
import { GROUPS } from "./groups.ts";

t.setTimeout(900_000);

/** A part of the names of cases: only these. */
const only = process.env["POSIX_CASES"] ?? "";

function notYet(each: PosixCase): string | undefined {
  return process.env["POSIX_NOT_YET"] === undefined ? each.notYet : undefined;
}

async function runAll(t: Test, kind: string, directory: string): Promise<void> {
  let number = 0;
  for (const [group, cases] of Object.entries(GROUPS)) {
    for (const each of cases) {
      if (!`${group}: ${each.name}`.includes(only)) continue;
      const skip =
        (kind === "tmpfs" ? each.notOnTmpfs : notYet(each)) ??
        programsMissing(...(each.needs ?? []));
      await t.test(`${kind}: ${group}: ${each.name}`, { skip }, async (t) => {
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
}

const impossible =
  process.geteuid?.() !== 0
    ? "needs root, for other users' rights and devices"
    : (await mountImpossible()) || programsMissing("python3");

t.test("tmpfs", { skip: impossible, timeout: 600_000 }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "dynamicfs-tmpfs-"));
  const tmpfs = spawnSync("mount", ["-t", "tmpfs", "none", directory]);
  t.equal(tmpfs.status, 0, "tmpfs is mounted");
  try {
    await runAll(t, "tmpfs", directory);
  } finally {
    spawnSync("umount", ["-l", directory]);
    if (existsSync(directory)) rmSync(directory, { recursive: true });
  }
});

t.test("dynamicfs", { skip: impossible, timeout: 600_000 }, async (t) => {
  await withMount({ size: "1G", limitSeconds: 600 }, async (mounted) => {
    await runAll(t, "dynamicfs", mounted.directory);
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0 }, "fsck is clean");
    t.notMatch(mounted.log(), /"level":"error"/, "nothing went wrong in the daemon");
  });
});

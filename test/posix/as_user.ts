/**
 * Runs all cases in a directory, as whoever runs this, and writes to a file which of them passed: the child process of
 * ordinary_user.test.ts.
 *
 *   node build/test/posix/as_user.js DIRECTORY RESULTS
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { programsMissing } from "../support/mount.ts";
import { GROUPS } from "./groups.ts";

const [, , directory = "", results = ""] = process.argv;
const passed: Record<string, boolean> = {};
let number = 0;
t.setTimeout(600_000);
for (const [group, cases] of Object.entries(GROUPS)) {
  for (const each of cases) {
    if (each.notYet !== undefined || programsMissing(...(each.needs ?? [])) !== false) continue;
    const name = `${group}: ${each.name}`;
    const dir = join(directory, `${group}${number++}`);
    const result = await t.test(name, async (t) => {
      mkdirSync(dir);
      await each.run(dir, t);
    });
    passed[name] = result?.ok === true;
    try {
      rmSync(dir, { recursive: true, force: true });
    } catch {
      // A case that needs root may leave what only root can remove.
    }
  }
}
writeFileSync(results, JSON.stringify(passed));

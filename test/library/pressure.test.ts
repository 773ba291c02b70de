/**
 * A small memory budget, a small journal and three operations at a time: renames log data, checkpoints write it back, and
 * each waits for the other's room. Everything must end, and the volume be clean.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import { open } from "../../host/mod.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const ROUNDS = 4200;
const MAIN = fileURLToPath(new URL("../../host/main.js", import.meta.url));

t.test("operations, write-back and checkpoints that wait for each other all end", async (t) => {
  const seed = 12345;
  t.comment(`seed ${seed}`);
  const random = new Prng(seed);
  const folder = mkdtempSync(join(tmpdir(), "dynamicfs-pressure-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const image = join(folder, "a.img");
  const volume = await open(image, { create: { name: "p", size: "512M" }, memoryBudget: 32 << 20 });
  const fs = volume.promises;
  const path = (): string =>
    `/${"abcd"[random.below(4)]}${random.below(2) === 0 ? "" : `/${random.below(30)}`}`;
  const operations: readonly (() => Promise<unknown>)[] = [
    () => fs.mkdir(path(), { recursive: true }),
    () => fs.writeFile(path(), Buffer.alloc(random.below(200_000), random.below(255))),
    () => fs.appendFile(path(), Buffer.alloc(random.below(5_000), 1)),
    () => fs.rename(path(), path()),
    () => fs.rm(path(), { recursive: true, force: true }),
    () => fs.link(path(), path()),
    () => fs.symlink("x".repeat(1 + random.below(300)), path()),
    () => fs.truncate(path(), random.below(300_000)),
    () => fs.setXattr(path(), `user.${random.below(5)}`, Buffer.alloc(random.below(3_000))),
  ];
  let done = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const chosen = [0, 1, 2].map(() => operations[random.below(operations.length)]);
    const results = await Promise.allSettled(chosen.map((operation) => operation?.()));
    done += results.filter(({ status }) => status === "fulfilled").length;
  }
  t.ok(done > ROUNDS, `${done} operations succeeded`);
  t.ok((volume.status().counters["journalBytes"] ?? 0) > 1 << 20, "the journal was used");
  await volume.close();
  const check = spawnSync(process.execPath, [MAIN, "fsck", image], { encoding: "utf8" });
  t.equal(check.status, 0, check.stdout + check.stderr);
});

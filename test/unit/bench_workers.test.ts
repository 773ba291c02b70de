/** The work that `npm run bench -- --tail` and `--scale` measure, on an ordinary directory: all of it is done, and right. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { OPERATIONS, type Operation, preparePaced, runPaced } from "../bench/paced_worker.ts";
import { isInstalled, setEnvironment } from "../bench/processes.ts";
import { describeSeconds, runWork, type WorkOrder } from "../bench/scale_worker.ts";

const skip = isInstalled("python3") ? false : "python3 not installed";
setEnvironment({ PATH: process.env["PATH"] ?? "" });
const directory = mkdtempSync(join(tmpdir(), "dynamicfs-bench-test-"));
t.teardown(() => rmSync(directory, { recursive: true }));

t.test("paced: every arrival of every operation is done and timed", { skip }, async (t) => {
  const names = Object.keys(OPERATIONS) as Operation[];
  const rates = { ...Object.fromEntries(names.map((name) => [name, 20])), stat: 40 };
  const pace = { rates, seconds: 1, largeMib: 1, streamMib: 2 };
  await preparePaced(directory, pace);
  const { operations, streamMibPerSecond } = await runPaced(directory, pace);
  for (const name of names) {
    const { latenciesUs, unfinished, error } = operations[name] ?? {};
    t.equal(error, null, `${name} does not fail`);
    t.equal(latenciesUs?.length, name === "stat" ? 40 : 20, `${name}: one latency of each`);
    t.ok(
      latenciesUs?.every((us) => us >= 0),
      `${name}: none before it was due`,
    );
    // A machine that stands still for seconds may leave some; they are counted all the same.
    t.ok((unfinished ?? -1) >= 0);
  }
  t.ok((streamMibPerSecond ?? -1) >= 0);
  const paced = join(directory, "paced");
  const left = (name: Operation): number => operations[name]?.unfinished ?? Number.NaN;
  t.equal(readdirSync(join(paced, "created")).length, 20 - left("create"));
  t.equal(readdirSync(join(paced, "unlinked")).length, left("unlink"));
  t.equal(statSync(join(paced, "stream")).size % 2 ** 20, 0);
});

t.test("paced: an operation that fails is told, the others go on", { skip }, async (t) => {
  const other = join(directory, "other");
  mkdirSync(other);
  const pace = { rates: { unlink: 20, timer: 20 }, seconds: 1, largeMib: 1, streamMib: 0 };
  await preparePaced(other, pace);
  rmSync(join(other, "paced", "unlinked", "file 0000000"));
  const { operations, streamMibPerSecond } = await runPaced(other, pace);
  t.match(operations.unlink?.error, /^FileNotFoundError/);
  t.equal(operations.timer?.error, null);
  t.equal(streamMibPerSecond, null);
});

t.test("scale: many files, in directories or in one", { skip }, async (t) => {
  for (const filesPerDirectory of [0, 30]) {
    const path = join(directory, `files${filesPerDirectory}`);
    const order: Omit<WorkOrder, "what"> = { path, total: 100, filesPerDirectory };
    if (filesPerDirectory > 0) mkdirSync(path);
    const created = await runWork("create", { ...order, what: "create" });
    t.equal(created.count, 100);
    t.same(
      created.tenths.map(([count]) => count),
      Array.from({ length: 10 }, () => 10),
    );
    t.equal(readdirSync(path).length, filesPerDirectory === 0 ? 100 : 4);
    t.equal((await runWork("find", { ...order, what: "find", picked: 40 })).count, 40);
    t.equal((await runWork("list", { ...order, what: "list" })).count, 100);
    await t.rejects(runWork("list", { ...order, total: 101, what: "list" }), /AssertionError: 100/);
    t.equal((await runWork("remove", { ...order, what: "remove" })).count, 100);
    t.same(readdirSync(directory).includes("files0"), false);
    if (filesPerDirectory > 0) t.same(readdirSync(path), []);
    await t.rejects(runWork("find", { ...order, what: "find" }), /FileNotFoundError/);
  }
});

t.test("scale: a sparse file, and what is wrong in it", { skip }, async (t) => {
  const path = join(directory, "sparse");
  const order = { path, total: 50, fileBytes: 2 ** 30, blockBytes: 4096 };
  const written = await runWork("write", { ...order, what: "sparse_write" });
  t.equal(written.count, 50);
  t.equal(statSync(path).size, 2 ** 30);
  const read = { ...order, what: "sparse_read" } as const;
  t.equal((await runWork("read", read)).count, 50);
  t.equal((await runWork("read", { ...read, picked: 7 })).count, 7);
  // Of fifty random blocks, some lie in the second half.
  truncateSync(path, 2 ** 29);
  truncateSync(path, 2 ** 30);
  await t.rejects(runWork("read", read), /of the sparse file is wrong/);
});

t.test("an estimate is as exact as it can be", async (t) => {
  t.same([0.4, 40, 99.4, 120, 5940, 6000, 9000].map(describeSeconds), [
    ...["0 s", "40 s", "99 s", "2 min", "99 min", "1 h 40 min", "2 h 30 min"],
  ]);
});

/** `dynamicfs stats` on real mounts: what was done is what is counted, in every form, and what cannot be asked says so. */
import { spawn } from "node:child_process";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statfsSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import t from "tap";
import type { MountReport } from "../../host/cli/daemon.ts";
import type { StatsReport } from "../../host/cli/stats_report.ts";
import { loadFuseNative } from "../../host/fuse_native/load.ts";
import { MAIN, mountImpossible, Sandbox } from "../support/cli.ts";

t.setTimeout(900_000);

const skip = mountImpossible();
const MIB = 1024 * 1024;
const FILES = 150;
const FAILURES = 7;

type Document = StatsReport & { readonly mount: MountReport };

const SCHEMA = new URL("../../../host/cli/schema/stats.json", import.meta.url);
const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
(addFormats as unknown as (to: Ajv2020) => void)(ajv);
const isStats = ajv.compile(JSON.parse(readFileSync(SCHEMA, "utf8")));

function documentOf(line: string): Document {
  const document = JSON.parse(line) as Document;
  if (!isStats(document)) throw new Error(`${ajv.errorsText(isStats.errors)}: ${line}`);
  return document;
}

function ask(sandbox: Sandbox, ...words: string[]): Document {
  const { code, out, err } = sandbox.run("stats", "mnt", "--json", ...words);
  if (code !== 0) throw new Error(`stats ended with ${code}: ${err}`);
  return documentOf(out);
}

/** Requests of a type, 0 when there were none. */
function countOf(document: Document, name: string): number {
  return document.requests?.types.find((each) => each.name === name)?.count ?? 0;
}

function mounted(
  t: { teardown(after: () => void): void },
  options: readonly string[] = [],
): Sandbox {
  const sandbox = new Sandbox();
  t.teardown(() => sandbox.close());
  mkdirSync(sandbox.path("mnt"));
  for (const words of [
    ["pool", "create", "tank", "a.img:256M"],
    ["mount", "a.img", "mnt", ...options],
  ]) {
    const { code, err } = sandbox.run(...words);
    if (code !== 0) throw new Error(err);
  }
  return sandbox;
}

function isStale(path: string): boolean {
  try {
    statfsSync(path);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOTCONN";
  }
}

function writeDurably(path: string, byteLength: number): void {
  const fd = openSync(path, "wx");
  writeSync(fd, new Uint8Array(byteLength).fill(7));
  fsyncSync(fd);
  closeSync(fd);
}

t.test("what was done is what is counted", { skip }, async (t) => {
  const sandbox = mounted(t);
  const path = (name: string): string => sandbox.path(`mnt/${name}`);
  const before = ask(sandbox);
  mkdirSync(path("d"));
  for (let index = 0; index < FILES; index += 1) closeSync(openSync(path(`d/f${index}`), "wx"));
  for (let index = 0; index < FAILURES; index += 1) t.throws(() => rmdirSync(path("d")));
  for (let index = 0; index < 20; index += 1) symlinkSync("to", path(`link${index}`));
  for (let index = 0; index < 10; index += 1) renameSync(path(`link${index}`), path(`new${index}`));
  for (let index = 0; index < FILES; index += 1) unlinkSync(path(`d/f${index}`));
  writeDurably(path("large"), MIB);
  const after = ask(sandbox);

  const done = (name: string): number => countOf(after, name) - countOf(before, name);
  t.equal(done("mkdir"), 1);
  // The first is tried in one call, which we do not have.
  const refused = after.requests?.types.find(({ name }) => name === "create")?.errors ?? 0;
  t.equal(done("create") - refused + done("mknod"), FILES + 1, "made, in one of two ways");
  t.equal(done("unlink"), FILES);
  t.equal(done("rmdir"), FAILURES);
  t.equal(done("symlink"), 20);
  t.equal(done("rename") + done("rename2"), 10);
  t.equal(done("fsync"), 1);
  const { requests } = after;
  if (requests === null) throw new Error("no requests");
  const { types } = requests;
  t.equal(types.find(({ name }) => name === "rmdir")?.errors, FAILURES);
  t.match(requests.errorsByCode.find(({ code }) => code === "ENOTEMPTY")?.count, FAILURES);
  t.equal(
    types.reduce((sum, { count }) => sum + count, 0),
    requests.count,
  );
  t.equal(requests.bytesWritten - (before.requests?.bytesWritten ?? 0), MIB);
  for (const { name, count, latencyUs } of types) {
    if (name === "forget" || name === "batch_forget") {
      t.equal(latencyUs, null, `${name} has no reply`);
      continue;
    }
    t.equal(latencyUs?.count, count, `each ${name} has a latency`);
    const { p50 = 0, p90 = 0, p99 = 0, p999 = 0, max = 0 } = latencyUs ?? {};
    t.ok(p50 > 0 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max, name);
  }
  t.equal(requests.underWay, 0);
  t.equal(requests.malformed + requests.refused, 0);
  t.equal(requests.batch === null, false);

  t.ok(after.journal.commits > before.journal.commits, "the fsync is in the journal");
  t.ok(after.journal.records > after.journal.transactions);
  t.equal(after.journal.latencyUs?.count, after.journal.commits);
  const [device] = after.devices;
  t.ok((device?.durableWrites.count ?? 0) >= after.journal.commits);
  t.ok((device?.writes.bytes ?? 0) + (device?.durableWrites.bytes ?? 0) >= MIB);
  t.equal(device?.inFlight, 0);
  for (const operation of [device?.reads, device?.writes, device?.durableWrites])
    t.equal((operation?.bytes ?? 0) >= (operation?.count ?? 0) * 4096, true, "blocks");
  t.ok(after.cache.pageHits > before.cache.pageHits);
  t.equal(after.memory.budgetBytes, 64 * MIB);
  t.ok(after.memory.rssBytes > 10 * MIB && after.memory.pageFramesDirty > 0);
  const { thread, period } = after;
  const parts = [thread.fuseReadMs, thread.fuseReplyMs, thread.submitMs, thread.deviceWaitMs];
  const all = [...parts, thread.spinMs, thread.idleMs, thread.engineMs];
  const sum = all.reduce<number>((total, part) => total + (part ?? Number.NaN), 0);
  // Seconds are rounded to hundredths; what is sampled is an estimate.
  const wall = period.seconds * 1000;
  t.ok(sum >= wall * 0.9 - 10 && sum <= wall * 1.3 + 10, `${sum} of ${wall}`);
  t.ok((thread.fuseReadMs ?? 0) > 0 && (thread.fuseReplyMs ?? 0) > 0);
  t.equal(after.mount.mountPoint, sandbox.path("mnt"));
  t.equal(after.pool, "tank");
  t.equal(period.kind, "mount");
  t.not(after.gc, null);

  t.equal(sandbox.run("umount", "mnt").code, 0);
  t.equal(sandbox.run("mount", "a.img", "mnt").code, 0);
  t.equal(readFileSync(path("large")).length, MIB);
  const again = ask(sandbox);
  t.equal(countOf(again, "unlink"), 0, "another mount begins at 0");
  t.ok((again.requests?.bytesRead ?? 0) >= MIB);
  t.ok(again.cache.deviceBlocks >= MIB / 4096);
  t.ok((again.devices[0]?.reads.bytes ?? 0) >= MIB);
  t.ok(again.cache.pageMisses > 0 && again.cache.pageLoads > 0);
});

t.test("intervals are what happened in them", { skip }, async (t) => {
  const sandbox = mounted(t);
  const before = ask(sandbox);
  const words = ["stats", "mnt", "--interval", "0.2", "--count", "3", "--json"];
  const child = spawn(process.execPath, [MAIN, ...words], {
    cwd: sandbox.directory,
    env: sandbox.environment,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  let isOver = false;
  void ended.then(() => (isOver = true));
  for (let index = 0; !isOver; index += 1) {
    mkdirSync(sandbox.path(`mnt/d${index}`));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  t.equal(await ended, 0);
  const lines = out.trim().split("\n").map(documentOf);
  t.equal(lines.length, 3);
  const made = countOf(ask(sandbox), "mkdir") - countOf(before, "mkdir");
  const inIntervals = lines.reduce((sum, line) => sum + countOf(line, "mkdir"), 0);
  t.ok(inIntervals > 0 && inIntervals <= made, `${inIntervals} of ${made}`);
  for (const line of lines) {
    t.equal(line.period.kind, "interval");
    t.ok(line.period.seconds > 0.1);
    t.equal(
      line.requests?.types.find(({ name }) => name === "init"),
      undefined,
    );
    const mkdir = line.requests?.types.find(({ name }) => name === "mkdir");
    // One may have been read before the border and answered after it.
    t.ok(Math.abs((mkdir?.latencyUs?.count ?? 0) - (mkdir?.count ?? 0)) <= 1);
  }
  t.ok(Date.parse(lines[1]?.period.since ?? "") > Date.parse(lines[0]?.period.since ?? ""));
});

t.test("text", { skip }, async (t) => {
  const sandbox = mounted(t);
  const run = (...words: string[]) => sandbox.run("stats", "mnt", ...words);
  mkdirSync(sandbox.path("mnt/d"));
  const whole = run();
  t.equal(whole.code, 0);
  t.match(whole.out, /^tank on .*mnt: /);
  t.match(whole.out, /^ {2}REQUEST +COUNT +RATE\/s +ERRORS +P50 +P90 +P99 +P99\.9 +MAX$/m);
  t.match(whole.out, /^ {2}mkdir +1 +[\d.]+ +0 +[\d.]+ [µm]s /m);
  t.notMatch(whole.out, /\x1b/, "no colours into a pipe");
  t.match(run("-p").out, /^ {2}mkdir +1 +[\d.]+ +0 +[\d.]+ +[\d.]+ /m, "exact");
  const lines = run("--interval", "0.05", "--count", "2").out.trimEnd().split("\n");
  t.equal(lines.length, 3, "a header and two lines");
  t.match(lines[0], /^ *REQ\/s +ERR\/s .* IDLE +GC$/);
  t.equal(lines[1]?.length, lines[0]?.length, "aligned");
  const bare = run("--interval", "0.05", "--count", "1", "-H").out.trim().split("\t");
  t.equal(bare.length, lines[0]?.trim().split(/ +/).length);
  t.match(run("--interval", "0.05", "--count", "1", "-v").out, /s until now/);
  t.match(run("--help"), { code: 0, out: /--interval=SECONDS|--interval SECONDS/ });
});

t.test("what cannot be asked", { skip }, async (t) => {
  const sandbox = mounted(t);
  const same = (target: string): void => {
    const { code, err } = sandbox.run("stats", target);
    const status = sandbox.run("status", target);
    t.same({ code, err }, { code: status.code, err: status.err }, target);
    t.ok(code !== 0, target);
  };
  mkdirSync(sandbox.path("plain"));
  writeFileSync(sandbox.path("notes.txt"), "notes");
  for (const target of ["plain", "nowhere", "notes.txt"]) same(target);
  for (const words of [
    ["--count", "2"],
    ["--interval", "0"],
    ["--interval", "soon"],
    ["--interval", "1", "--count", "1.5"],
    ["--interval", "1", "--count", "0"],
  ])
    t.equal(sandbox.run("stats", "mnt", ...words).code, 2, words.join(" "));
  t.equal(sandbox.run("stats").code, 2);
  t.equal(sandbox.run("stats", "tank", "--json").code, 0, "by the pool's name");
  t.equal(sandbox.run("stats", "a.img", "--json").code, 0, "by its device");

  const { pid } = ask(sandbox).mount;
  const child = spawn(process.execPath, [MAIN, "stats", "mnt", "--interval", "0.1", "-H"], {
    cwd: sandbox.directory,
    env: sandbox.environment,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  process.kill(pid, "SIGKILL");
  t.not(await ended, 0, "watching ends with the daemon");
  for (let tries = 0; tries < 2000 && !isStale(sandbox.path("mnt")); tries += 1)
    await new Promise((resolve) => setTimeout(resolve, 5));
  t.match(sandbox.run("stats", "mnt"), { code: 8, err: /stale/ });
  same("mnt");
});

function nativeMissing(): string | false {
  try {
    loadFuseNative();
    return false;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

t.test("by fuse-native", { skip: skip || nativeMissing() }, async (t) => {
  const sandbox = mounted(t, ["-o", "transport=fuse-native"]);
  // Everybody here shares this thread with nobody: the daemon serves from another process.
  writeFileSync(sandbox.path("mnt/file"), "content");
  const document = ask(sandbox);
  t.equal(document.transport, "fuse-native");
  t.equal(document.requests, null);
  t.equal(document.thread.fuseReadMs, null);
  t.ok(document.cache.pageHits > 0 && document.devices.length === 1);
  t.match(sandbox.run("stats", "mnt").out, /^ *requests: not known/m);
  t.equal(sandbox.run("stats", "mnt", "--interval", "0.05", "--count", "1").code, 0);
  t.equal(sandbox.run("umount", "mnt").code, 0);
});

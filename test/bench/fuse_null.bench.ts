/**
 * What the transport costs: fstat(2) in a mounted test file system, with attributes cached for no time, so that each is
 * one request (stat(2) would be two: the directory is asked for, too); by one client and by four. Microseconds and requests a second; then how many requests a small file
 * costs. `node build/test/bench/fuse_null.bench.js [--quick]`
 */
import { closeSync, fstatSync, openSync, writeSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { mountTree, whyNoFuse } from "../support/fuse_mount.ts";

const quick = process.argv.includes("--quick");
const STATS = quick ? 3000 : 50_000;
const ROUNDS = quick ? 2 : 5;
const FILES = quick ? 200 : 5000;

function statTimes(path: string, count: number): number {
  const fd = openSync(path, "r");
  const start = performance.now();
  for (let index = 0; index < count; index += 1) fstatSync(fd);
  const elapsed = performance.now() - start;
  closeSync(fd);
  return elapsed;
}

async function manyClients(path: string, clients: number): Promise<number> {
  const script = fileURLToPath(import.meta.url);
  const gate = new Int32Array(new SharedArrayBuffer(8));
  const ends: Promise<unknown>[] = [];
  for (let index = 0; index < clients; index += 1) {
    const worker = new Worker(script, { workerData: { path, count: STATS / 2, gate } });
    ends.push(new Promise((resolve) => worker.on("exit", resolve)));
  }
  while (Atomics.load(gate, 0) < clients) await new Promise((resolve) => setTimeout(resolve, 5));
  const start = performance.now();
  Atomics.store(gate, 1, 1);
  Atomics.notify(gate, 1);
  await Promise.all(ends);
  return (clients * (STATS / 2)) / ((performance.now() - start) / 1000);
}

async function main(): Promise<void> {
  const why = whyNoFuse();
  if (why !== false) {
    console.log(`fuse_null: skipped, ${why}`);
    return;
  }
  for (const spinUs of [50, 0]) {
    const mount = await mountTree({ attributeSeconds: 0, spinUs, limitSeconds: 300 });
    const path = `${mount.mountpoint}/file`;
    closeSync(openSync(path, "w"));
    statTimes(path, STATS / 5);
    const samples = Array.from({ length: ROUNDS }, () => (statTimes(path, STATS) * 1000) / STATS);
    samples.sort((a, b) => a - b);
    const median = (samples[samples.length >> 1] as number).toFixed(1);
    const range = `${(samples[0] as number).toFixed(1)}–${(samples.at(-1) as number).toFixed(1)}`;
    console.log(`fstat, 1 client, spin ${spinUs} µs: ${median} µs (${range})`);
    console.log(
      `fstat, 4 clients, spin ${spinUs} µs: ${Math.round(await manyClients(path, 4))} requests/s`,
    );
    await mount.end();
  }
  const mount = await mountTree({ limitSeconds: 300 });
  const data = Buffer.alloc(4096, 1);
  const start = performance.now();
  for (let index = 0; index < FILES; index += 1) {
    const fd = openSync(`${mount.mountpoint}/f${index}`, "w");
    writeSync(fd, data);
    closeSync(fd);
  }
  const perFile = ((performance.now() - start) * 1000) / FILES;
  const report = await mount.end();
  const requests = Object.entries(report.counters)
    .filter(([, count]) => count >= FILES / 2 && count < FILES * 4)
    .map(([name, count]) => `${name} ${(count / FILES).toFixed(2)}`);
  console.log(`create, write 4 KiB, close: ${perFile.toFixed(1)} µs; ${requests.join(", ")}`);
}

if (isMainThread) await main();
else {
  const { path, count, gate } = workerData as { path: string; count: number; gate: Int32Array };
  Atomics.add(gate, 0, 1);
  Atomics.wait(gate, 1, 0);
  statTimes(path, count);
}

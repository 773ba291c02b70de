/**
 * 4 KiB random reads of an image file through each reactor, in alternating rounds of one run: operations a second, CPU
 * per operation (all threads of this process), median and spread. "cached" reads the kernel's page cache, so it shows
 * what the reactor costs; "direct" the disk. Last, what an idle loop uses.
 * `node build/test/bench/reactor.bench.js [--quick]`
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Prng } from "../../host/base/prng.ts";
import { openFileDevice } from "../../host/device/file_device.ts";
import { UringReactor } from "../../host/reactor/uring_reactor.ts";
import { drive, makeMemory, REACTOR_FORMS } from "../support/reactors.ts";

const quick = process.argv.includes("--quick");
const ROUNDS = quick ? 2 : 9;
const READS = { cached: quick ? 500 : 20_000, direct: quick ? 200 : 3000 };
const FILE_BYTES = (quick ? 8 : 256) << 20;
const BLOCK = 4096;
const MIB = 1 << 20;

const directory = mkdtempSync(join(tmpdir(), "dynamicfs-bench-"));
const path = join(directory, "image");
const core = makeMemory(MIB);
const forms = REACTOR_FORMS.filter((form) => form.skip === false);
let digest = 0;

interface Sample {
  readonly perSecond: number;
  readonly cpuUs: number;
}

async function fillFile(): Promise<void> {
  const reactor = forms[0]!.make(core);
  const device = openFileDevice(reactor, path, { create: FILE_BYTES, preallocate: true });
  new Prng(1).bytes(core.bytes);
  for (let offset = 0; offset < FILE_BYTES; offset += MIB) {
    await drive(reactor, (finish) => device.write(offset, 0, MIB, finish));
  }
  await drive(reactor, (finish) => device.flush(finish));
  device.close();
  reactor.close();
}

async function measure(
  form: (typeof forms)[number],
  direct: boolean,
  depth: number,
  readCount: number,
): Promise<Sample> {
  const reactor = form.make(core);
  const device = openFileDevice(reactor, path, { direct, readOnly: true });
  const prng = new Prng(7);
  const blockCount = FILE_BYTES / BLOCK;
  let started = 0;
  let completed = 0;
  const cpuBefore = process.cpuUsage();
  const before = performance.now();
  await drive(reactor, (finish) => {
    const next = (address: number): void => {
      if (started === readCount) return;
      started += 1;
      device.read(prng.below(blockCount) * BLOCK, address, BLOCK, (status) => {
        if (status !== 0) throw new Error(`read: ${status}`);
        digest = (digest + core.bytes[address]!) >>> 0;
        completed += 1;
        if (completed === readCount) finish();
        else next(address);
      });
    };
    for (let index = 0; index < depth; index += 1) next(index * BLOCK);
  });
  const elapsedMs = performance.now() - before;
  const cpu = process.cpuUsage(cpuBefore);
  device.close();
  reactor.close();
  return {
    perSecond: (readCount / elapsedMs) * 1000,
    cpuUs: (cpu.user + cpu.system) / readCount,
  };
}

function summary(values: number[], digits: number): string {
  const sorted = [...values].sort((a, b) => a - b);
  const show = (value: number | undefined): string => (value ?? 0).toFixed(digits);
  const median = show(sorted[sorted.length >> 1]);
  return `${median} (${show(sorted[0])}–${show(sorted[sorted.length - 1])})`;
}

try {
  await fillFile();
  console.log("reads    depth  reactor    reads/s                  CPU µs per read");
  for (const kind of ["cached", "direct"] as const) {
    for (const depth of [1, 32]) {
      const samples = new Map(forms.map((form) => [form.name, [] as Sample[]]));
      for (let round = -1; round < ROUNDS; round += 1) {
        for (const form of forms) {
          const sample = await measure(form, kind === "direct", depth, READS[kind]);
          // The first round lets the compilers settle and warms the page cache.
          if (round >= 0) samples.get(form.name)!.push(sample);
        }
      }
      for (const [name, list] of samples) {
        const rate = summary(
          list.map((sample) => sample.perSecond),
          0,
        );
        const cpu = summary(
          list.map((sample) => sample.cpuUs),
          1,
        );
        console.log(
          `${kind.padEnd(8)} ${String(depth).padStart(5)}  ${name.padEnd(9)}  ${rate.padEnd(24)} ${cpu}`,
        );
      }
    }
  }
  if (forms.some((form) => form.name === "io_uring")) {
    const reactor = new UringReactor(core);
    const idleMs = quick ? 200 : 3000;
    reactor.timer(idleMs, () => reactor.stop());
    const before = process.cpuUsage();
    await reactor.run();
    const used = process.cpuUsage(before);
    const share = ((used.user + used.system) / 1000 / idleMs) * 100;
    console.log(
      `idle: ${share.toFixed(2)} % of a processor over ${idleMs} ms, ${reactor.stats.sleeps} sleeps`,
    );
    reactor.close();
  }
  console.log(`digest ${digest}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

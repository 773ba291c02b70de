/**
 * The extent allocator, the buffer pool and the dirty map, called from the host as the store does: steady churn, median
 * and spread of several rounds. `node build/test/bench/allocator.bench.js [--quick]`
 */
import { Prng } from "../../host/base/prng.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const quick = process.argv.includes("--quick");
const ROUNDS = quick ? 3 : 7;
const PAIRS = quick ? 5_000 : 200_000;
/** 1 TiB: 8192 regions. */
const BLOCK_COUNT = quick ? 2 ** 22 : 2 ** 28;
const REGION_BLOCKS = 32_768;

const core = loadCore({ memoryPages: Math.ceil(BLOCK_COUNT / 8 / 65_536) + 800 });
const { exports } = core;
const layout = new Layout(core);
const regionCount = BLOCK_COUNT / REGION_BLOCKS;
const space = layout.take(exports.space_bytes(regionCount), 64);
const result = layout.take(24, 8);
const bitmaps = layout.take(BLOCK_COUNT / 8, 4096);
const FRAME_COUNT = 8192;
const pool = layout.take(exports.pool_bytes(FRAME_COUNT), 64);
const frames = layout.take(FRAME_COUNT * 4096, 4096);
const NODES = 50_000;
const slab = layout.take(exports.dirty_bytes(NODES), 64);
const OUT_WORDS = 8192;
const out = layout.take(OUT_WORDS * 4, 8);

let digest = 0;

/** Millions a second over `count` operations. */
function report(name: string, count: number, run: (round: number) => number): void {
  const samples: number[] = [];
  for (let round = -2; round < ROUNDS; round += 1) {
    const start = performance.now();
    digest = (Math.imul(digest, 31) + run(round)) >>> 0;
    // The first two rounds let the compilers settle.
    if (round >= 0) samples.push(count / (performance.now() - start) / 1e3);
  }
  samples.sort((a, b) => a - b);
  const median = samples[samples.length >> 1]!;
  const spread = `${samples[0]!.toFixed(2)}–${samples[samples.length - 1]!.toFixed(2)}`;
  const each = `${(1e3 / median).toFixed(0)} ns`.padStart(9);
  console.log(`${name.padEnd(46)} ${median.toFixed(2).padStart(6)} M/s ${each}  (${spread})`);
}

/** A device that is 90% full, its free runs 1 to 2 × meanRun − 1 blocks long. */
function fillDevice(random: Prng, meanRun: number): void {
  core.bytes.fill(0xff, bitmaps, bitmaps + BLOCK_COUNT / 8);
  for (let at = 0; ; ) {
    at += random.below(meanRun * 18);
    const free = 1 + random.below(2 * meanRun - 1);
    if (at + free >= BLOCK_COUNT) break;
    exports.space_bitmap_clear(bitmaps, at, free);
    at += free;
  }
  exports.space_init(space, BLOCK_COUNT, REGION_BLOCKS);
  const start = performance.now();
  for (let region = 0; region < regionCount; region += 1) {
    exports.space_attach(space, region, bitmaps + (region * REGION_BLOCKS) / 8);
  }
  const each = ((performance.now() - start) * 1e3) / regionCount;
  console.log(
    `\nfree runs of ${meanRun} on average; attaching a region takes ${each.toFixed(1)} us`,
  );
}

console.log(`${BLOCK_COUNT / 2 ** 18} GiB, 10% free; pairs of one free and one alloc`);
for (const meanRun of [16, 64, 256]) {
  const random = new Prng(meanRun);
  fillDevice(random, meanRun);
  for (const most of [1, 8, 64, 256]) {
    const lengths = Uint32Array.from({ length: 65_536 }, () => 1 + random.below(most));
    const picks = Uint32Array.from({ length: 65_536 }, () => random.below(4096));
    const starts = new Float64Array(4096);
    const counts = new Uint32Array(4096);
    let goal = 0;
    let taken = 0;
    const alloc = (slot: number, length: number): void => {
      // Any run will do when there is none so long, as for file data.
      if (exports.space_alloc(space, goal, length, 1, 1, result) !== 0) return;
      const start = core.f64[result / 8]!;
      starts[slot] = start;
      counts[slot] = core.u32[result / 4 + 2]!;
      goal = (start + counts[slot]!) % BLOCK_COUNT;
      taken += 1;
      digest = (digest + start) >>> 0;
    };
    for (let slot = 0; slot < 4096; slot += 1) alloc(slot, lengths[slot]!);
    report(`alloc + free 1..${most}`, PAIRS, (round) => {
      taken = 0;
      for (let pair = 0; pair < PAIRS; pair += 1) {
        const slot = picks[(pair + round) & 65_535]!;
        if (counts[slot]! > 0) exports.space_free(space, starts[slot]!, counts[slot]!);
        counts[slot] = 0;
        alloc(slot, lengths[pair & 65_535]!);
      }
      return taken;
    });
    for (let slot = 0; slot < 4096; slot += 1) {
      if (counts[slot]! > 0) exports.space_free(space, starts[slot]!, counts[slot]!);
    }
  }
  report("alloc that must fail", PAIRS, () => {
    let failed = 0;
    for (let index = 0; index < PAIRS; index += 1) {
      failed += exports.space_alloc(space, 12_345, 20_000, 20_000, 1, result);
    }
    return failed;
  });
}

console.log(`\npool of ${FRAME_COUNT} frames`);
exports.pool_init(pool, FRAME_COUNT, frames);
for (const [name, most] of [
  ["1", 1],
  ["257", 257],
  ["1 or 257", 0],
] as const) {
  const random = new Prng(7);
  const picks = Uint32Array.from({ length: 65_536 }, () => random.below(28));
  const addresses = new Uint32Array(28);
  const counts = Uint32Array.from({ length: 28 }, (_, slot) =>
    most > 0 ? most : slot % 2 === 0 ? 1 : 257,
  );
  for (let slot = 0; slot < 28; slot += 1) {
    addresses[slot] = exports.pool_alloc(pool, counts[slot]!);
  }
  report(`pool_alloc + pool_free, ${name}`, PAIRS, () => {
    let sum = 0;
    for (let pair = 0; pair < PAIRS; pair += 1) {
      const slot = picks[pair & 65_535]!;
      exports.pool_free(pool, addresses[slot]!, counts[slot]!);
      addresses[slot] = exports.pool_alloc(pool, counts[slot]!);
      sum = (sum + addresses[slot]!) >>> 0;
    }
    return sum;
  });
  for (let slot = 0; slot < 28; slot += 1) {
    exports.pool_free(pool, addresses[slot]!, counts[slot]!);
  }
}

console.log("\ndirty map");
const RUNS = quick ? 1_000 : 20_000;
exports.dirty_init(slab, NODES);
const map = exports.dirty_create(slab);

/** Plans, completes and drains all that is dirty. @returns The number of extents. */
function flushAll(): number {
  let extents = 0;
  for (let from = 0; from >= 0; from = core.f64[out / 8]!) {
    let count = exports.dirty_plan(slab, map, from, 256, 65_536, out, OUT_WORDS);
    extents += count;
    for (let at = out + 16; count > 0; count -= 1) {
      exports.dirty_complete(slab, map, core.f64[at / 8]!, core.u32[at / 4 + 2]!);
      at += 16 + core.u32[at / 4 + 3]! * 8;
    }
    if (core.f64[out / 8]! < 0) break;
    // The plan's header is read again by the loop: drain below it.
    const next = core.f64[out / 8]!;
    while (exports.dirty_freed(slab, out, 1000) === 1000);
    core.f64[out / 8] = next;
  }
  while (exports.dirty_freed(slab, out, 1000) === 1000);
  return extents;
}

const random = new Prng(3);
const order = Uint32Array.from({ length: RUNS }, (_, index) => index);
for (let index = RUNS - 1; index > 0; index -= 1) {
  const other = random.below(index + 1);
  [order[index], order[other]] = [order[other]!, order[index]!];
}
for (const [name, blockOf, bufferOf] of [
  ["append, buffers adjacent", (i: number) => i, (i: number) => i],
  ["append, buffers anywhere", (i: number) => i, (i: number) => order[i]! * 2],
  ["insert in random order", (i: number) => order[i]! * 2, (i: number) => i],
] as const) {
  report(`${name}`, RUNS, () => {
    for (let index = 0; index < RUNS; index += 1) {
      exports.dirty_insert(slab, map, blockOf(index), 1, (bufferOf(index) + 1) * 4096);
    }
    const dropped = exports.dirty_truncate(slab, map, 0);
    while (exports.dirty_freed(slab, out, 1000) === 1000);
    return dropped;
  });
  report(`${name}, find each, plan, complete, drain`, RUNS, () => {
    let sum = 0;
    for (let index = 0; index < RUNS; index += 1) {
      exports.dirty_insert(slab, map, blockOf(index), 1, (bufferOf(index) + 1) * 4096);
    }
    for (let index = 0; index < RUNS; index += 1) {
      sum += exports.dirty_find(slab, map, blockOf(order[index]!), result);
    }
    return sum + flushAll();
  });
}
console.log(`\nresult hash ${digest.toString(16)}`);

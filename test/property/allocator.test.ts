/** The allocator and the buffer pool against plain arrays: any order of operations, any fragmentation. */
import t from "tap";
import { EAGAIN, EEXIST, ENOENT, ENOSPC } from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { SPACE_ATTACHED_ONLY } from "../../host/core/abi.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const REGION_BLOCKS = 32_768;
const SEED = Number(process.env.SEED ?? 20_241);

/** Longest run of zeros in [from, end). */
function longestFree(used: Uint8Array, from: number, end: number): number {
  let longest = 0;
  let start = from;
  while (start < end) {
    let free = used.indexOf(0, start);
    if (free < 0 || free >= end) break;
    let stop = used.indexOf(1, free);
    if (stop < 0 || stop > end) stop = end;
    longest = Math.max(longest, stop - free);
    free = stop;
    start = stop;
  }
  return longest;
}

function isAll(used: Uint8Array, value: number, start: number, count: number): boolean {
  for (let at = start; at < start + count; at += 1) if (used[at] !== value) return false;
  return true;
}

/** A length that is now short, now at the border of a word, now long. */
function someCount(random: Prng): number {
  switch (random.below(4)) {
    case 0:
      return 1;
    case 1:
      return 1 + random.below(8);
    case 2:
      return 60 + random.below(80);
    default:
      return 1 + random.below(300);
  }
}

for (let round = 0; round < 8; round += 1) {
  const seed = SEED + round;
  t.test(`allocator: any operations equal a boolean array, seed ${seed}`, (t) => {
    const random = new Prng(seed);
    const core = loadCore({ memoryPages: 8 });
    const { exports } = core;
    const blockCount = 3 * REGION_BLOCKS + 1 + random.below(REGION_BLOCKS);
    const regionCount = 4;
    const layout = new Layout(core);
    const base = layout.take(exports.space_bytes(regionCount), 64);
    const result = layout.take(16, 8);
    const bitmaps = layout.take((regionCount * REGION_BLOCKS) / 8, 64);
    t.equal(exports.space_init(base, blockCount, REGION_BLOCKS), regionCount);
    const bitmapOf = (region: number): number => bitmaps + (region * REGION_BLOCKS) / 8;
    const endOf = (region: number): number => Math.min((region + 1) * REGION_BLOCKS, blockCount);

    const used = new Uint8Array(blockCount);
    const meanRun = [1, 3, 16, 64, 256, 1000, 5000, 30_000][round] as number;
    for (let at = 0; at < blockCount; ) {
      const free = random.below(2 * meanRun) + 1;
      const taken = random.below(2 * meanRun) + 1;
      used.fill(1, at + free, at + free + taken);
      at += free + taken;
    }
    for (let at = 0; at < blockCount; at += 1) {
      if (used[at] === 1) core.bytes[bitmaps + (at >> 3)]! |= 1 << (at & 7);
    }
    const attached = [false, false, false, false];
    const trueLongest = (region: number): number =>
      longestFree(used, region * REGION_BLOCKS, endOf(region));
    const attach = (region: number): void => {
      const before = exports.space_region_longest(base, region);
      t.equal(exports.space_attach(base, region, bitmapOf(region)), 0);
      t.ok(exports.space_region_longest(base, region) <= before, "attaching lowers the bound");
      t.equal(exports.space_region_longest(base, region), trueLongest(region));
      attached[region] = true;
    };
    const checkTotals = (): void => {
      let total = 0;
      for (let region = 0; region < regionCount; region += 1) {
        const size = endOf(region) - region * REGION_BLOCKS;
        const free = size - exports.space_bitmap_count(bitmapOf(region), size);
        const inModel = used
          .subarray(region * REGION_BLOCKS, endOf(region))
          .reduce((n, u) => n - u, size);
        if (free !== inModel || exports.space_region_free(base, region) !== inModel) {
          t.fail(`free blocks of region ${region} differ`);
        }
        if (exports.space_region_longest(base, region) < trueLongest(region)) {
          t.fail(`the bound of region ${region} is too low`);
        }
        total += inModel;
      }
      t.equal(exports.space_free_total(base), total);
    };
    for (let region = 0; region < regionCount; region += 1) {
      const size = endOf(region) - region * REGION_BLOCKS;
      const free = size - exports.space_bitmap_count(bitmapOf(region), size);
      const longest = Math.min(free, trueLongest(region) + random.below(3) * 50);
      t.equal(exports.space_set_summary(base, region, free, longest), 0);
    }

    const runs: { start: number; count: number }[] = [];
    const seen = { exact: 0, short: 0, again: 0, full: 0 };
    for (let step = 0; step < 3000; step += 1) {
      const action = random.below(20);
      if (action < 10) {
        const count = random.below(30) === 0 ? 1 + random.below(40_000) : someCount(random);
        const minCount = random.below(2) === 0 ? count : 1 + random.below(count);
        const goal = random.below(blockCount);
        const flags = random.below(2) * SPACE_ATTACHED_ONLY;
        const wanted = Math.min(count, REGION_BLOCKS);
        const status = exports.space_alloc(base, goal, count, minCount, flags, result);
        let longestHere = 0;
        if (status !== 0 || core.u32[result / 4 + 2] !== wanted) {
          for (let region = 0; region < regionCount; region += 1) {
            if (attached[region]) longestHere = Math.max(longestHere, trueLongest(region));
          }
        }
        if (status === 0) {
          const start = core.f64[result / 8] as number;
          const got = core.u32[result / 4 + 2] as number;
          const region = core.u32[result / 4 + 3] as number;
          const isSound =
            attached[region] === true &&
            start >= region * REGION_BLOCKS &&
            start + got <= endOf(region) &&
            isAll(used, 0, start, got) &&
            got >= minCount &&
            (got === wanted || (got < wanted && longestHere < wanted));
          if (!isSound) t.fail(`alloc(${goal}, ${count}, ${minCount}) gave ${start} + ${got}`);
          const goalEnd = goal + wanted;
          const goalRegion = Math.floor(goal / REGION_BLOCKS);
          if (
            attached[goalRegion] &&
            goalEnd <= endOf(goalRegion) &&
            isAll(used, 0, goal, wanted)
          ) {
            if (start !== goal) t.fail(`the goal ${goal} was free, ${start} was taken`);
          }
          used.fill(1, start, start + got);
          runs.push({ start, count: got });
          seen[got === wanted ? "exact" : "short"] += 1;
        } else if (status === -EAGAIN) {
          const region = core.u32[result / 4 + 3] as number;
          if (attached[region] || flags !== 0 || longestHere >= wanted) {
            t.fail(`asked for region ${region}`);
          }
          seen.again += 1;
          attach(region);
        } else {
          if (status !== -ENOSPC) t.fail(`alloc returned ${status}`);
          if (longestHere >= minCount) t.fail(`ENOSPC for ${minCount}, there is ${longestHere}`);
          if (flags === 0) {
            for (let region = 0; region < regionCount; region += 1) {
              if (trueLongest(region) >= minCount) t.fail(`ENOSPC, region ${region} has a run`);
            }
          }
          seen.full += 1;
        }
      } else if (action < 15 && runs.length > 0) {
        const index = random.below(runs.length);
        const run = runs[index] as { start: number; count: number };
        if (!attached[Math.floor(run.start / REGION_BLOCKS)]) {
          t.equal(exports.space_free(base, run.start, run.count), -EAGAIN);
          continue;
        }
        const count = 1 + random.below(run.count);
        if (exports.space_free(base, run.start, count) !== 0) t.fail("cannot free");
        used.fill(0, run.start, run.start + count);
        if (exports.space_free(base, run.start, count) !== -ENOENT) t.fail("freed twice");
        run.start += count;
        run.count -= count;
        if (run.count === 0) runs.splice(index, 1);
      } else if (action < 19) {
        const start = random.below(blockCount);
        const region = Math.floor(start / REGION_BLOCKS);
        const count = Math.min(someCount(random), endOf(region) - start);
        const free = isAll(used, 0, start, count);
        const expected = !attached[region] ? -EAGAIN : free ? 0 : -EEXIST;
        const isUsed = !attached[region]
          ? -EAGAIN
          : free
            ? 0
            : isAll(used, 1, start, count)
              ? 1
              : 2;
        if (exports.space_is_used(base, start, count) !== isUsed) t.fail("is_used differs");
        if (exports.space_mark(base, start, count) !== expected) t.fail("mark differs");
        if (expected === 0) {
          used.fill(1, start, start + count);
          runs.push({ start, count });
        }
      } else {
        const region = random.below(regionCount);
        if (attached[region]) {
          t.equal(exports.space_detach(base, region), 0);
          attached[region] = false;
        } else {
          attach(region);
        }
      }
      if (step % 200 === 0) checkTotals();
    }
    checkTotals();
    t.comment(`seed ${seed}: ${JSON.stringify(seen)}`);
    t.ok(seen.exact > 100, "allocations succeeded");
    t.end();
  });
}

for (let round = 0; round < 3; round += 1) {
  const seed = SEED + 100 + round;
  t.test(`pool: any operations equal a boolean array, seed ${seed}`, (t) => {
    const random = new Prng(seed);
    const frameCount = [64, 1000, 4097][round] as number;
    const core = loadCore({ memoryPages: 4 + Math.ceil(frameCount / 16) });
    const { exports } = core;
    const layout = new Layout(core);
    const base = layout.take(exports.pool_bytes(frameCount), 64);
    const frames = layout.take(frameCount * 4096, 4096);
    t.equal(exports.pool_init(base, frameCount, frames), 0);
    const used = new Uint8Array(frameCount);
    const runs: { start: number; count: number }[] = [];
    let failures = 0;
    for (let step = 0; step < 6000; step += 1) {
      const grows = Math.floor(step / 500) % 2 === 0;
      if (random.below(10) < (grows ? 7 : 3)) {
        const count = random.below(3) === 0 ? 1 : someCount(random);
        const address = exports.pool_alloc(base, count) >>> 0;
        if (address === 0) {
          failures += 1;
          if (longestFree(used, 0, frameCount) >= count) t.fail(`no run of ${count} was found`);
          continue;
        }
        const start = (address - frames) / 4096;
        if (!Number.isInteger(start) || start < 0 || start + count > frameCount) t.fail("outside");
        if (!isAll(used, 0, start, count)) t.fail("allocated twice");
        used.fill(1, start, start + count);
        runs.push({ start, count });
      } else if (runs.length > 0) {
        const index = random.below(runs.length);
        const run = runs[index] as { start: number; count: number };
        const count = 1 + random.below(run.count);
        run.count -= count;
        exports.pool_free(base, frames + (run.start + run.count) * 4096, count);
        used.fill(0, run.start + run.count, run.start + run.count + count);
        if (run.count === 0) runs.splice(index, 1);
      }
      const free = frameCount - used.reduce((n, u) => n + u, 0);
      if (exports.pool_free_count(base) !== free) t.fail("free count differs");
      if (step % 100 === 0) t.equal(exports.pool_longest(base), longestFree(used, 0, frameCount));
    }
    t.ok(failures > 0, "the pool was full at times");
    t.end();
  });
}

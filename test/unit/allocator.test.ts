import t from "tap";
import { EAGAIN, EBUSY, EEXIST, EINVAL, ENOENT, ENOSPC } from "../../host/base/errno.ts";
import { SPACE_ATTACHED_ONLY } from "../../host/core/abi.ts";
import type { Core } from "../../host/core/core.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const REGION_BLOCKS = 32_768;
const REGION_BYTES = REGION_BLOCKS / 8;

type Fixture = { core: Core; base: number; result: number; bitmap: (region: number) => number };

/** An allocator with nothing attached, and room for the bitmaps of its first 8 regions, all free. */
function makeSpace(blockCount: number): Fixture {
  const core = loadCore({ memoryPages: 40 });
  const regionCount = Math.ceil(blockCount / REGION_BLOCKS);
  const layout = new Layout(core);
  const base = layout.take(core.exports.space_bytes(regionCount), 64);
  const result = layout.take(16, 8);
  const bitmaps = layout.take(8 * REGION_BYTES, 64);
  t.equal(core.exports.space_init(base, blockCount, REGION_BLOCKS), regionCount);
  return { core, base, result, bitmap: (region) => bitmaps + region * REGION_BYTES };
}

function readRun({ core, result }: Fixture): { start: number; count: number; region: number } {
  return {
    start: core.f64[result / 8] as number,
    count: core.u32[result / 4 + 2] as number,
    region: core.u32[result / 4 + 3] as number,
  };
}

t.test("space_init() refuses what cannot be a device", (t) => {
  const core = loadCore({ memoryPages: 4 });
  const base = new Layout(core).take(2000, 8);
  for (const blockCount of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 48 + 1]) {
    t.equal(core.exports.space_init(base, blockCount, REGION_BLOCKS), -EINVAL, `${blockCount}`);
  }
  for (const regionBlocks of [0, 1024, REGION_BLOCKS + 1, 3 * REGION_BLOCKS]) {
    t.equal(core.exports.space_init(base, 1000, regionBlocks), -EINVAL, `${regionBlocks}`);
  }
  t.equal(core.exports.space_init(base, 2 ** 40, REGION_BLOCKS), -EINVAL, "too many regions");
  t.equal(core.exports.space_init(base + 4, 1000, REGION_BLOCKS), -EINVAL, "not aligned");
  t.equal(core.exports.space_bytes(0), 0);
  t.equal(core.exports.space_bytes(65_537), 0);
  t.throws(() => core.exports.space_free_total(base), WebAssembly.RuntimeError);
  t.end();
});

t.test("space_alloc() returns ENOSPC until a summary says otherwise", (t) => {
  const space = makeSpace(3 * REGION_BLOCKS);
  const { exports } = space.core;
  t.equal(exports.space_alloc(space.base, 0, 1, 1, 0, space.result), -ENOSPC);
  t.equal(exports.space_set_summary(space.base, 2, 100, 60), 0);
  t.equal(exports.space_free_total(space.base), 100);
  t.equal(exports.space_alloc(space.base, 0, 1, 1, SPACE_ATTACHED_ONLY, space.result), -ENOSPC);
  t.equal(exports.space_alloc(space.base, 0, 61, 61, 0, space.result), -ENOSPC);
  t.equal(exports.space_alloc(space.base, 0, 61, 60, 0, space.result), -EAGAIN);
  t.equal(readRun(space).region, 2);
  t.end();
});

t.test("space_set_summary() refuses an impossible summary and an attached region", (t) => {
  const { core, base, bitmap } = makeSpace(REGION_BLOCKS + 10);
  t.equal(core.exports.space_set_summary(base, 1, 11, 11), -EINVAL);
  t.equal(core.exports.space_set_summary(base, 1, 5, 6), -EINVAL);
  t.equal(core.exports.space_set_summary(base, 2, 0, 0), -EINVAL);
  t.equal(core.exports.space_attach(base, 0, bitmap(0)), 0);
  t.equal(core.exports.space_set_summary(base, 0, 5, 5), -EBUSY);
  t.end();
});

t.test("space_attach() recomputes the summary, and blocks past the end are used", (t) => {
  const { core, base, bitmap, result } = makeSpace(REGION_BLOCKS + 100);
  core.bytes[bitmap(1) + 1] = 0x10;
  t.equal(core.exports.space_attach(base, 1, bitmap(1)), 0);
  t.equal(core.exports.space_region_free(base, 1), 99);
  t.equal(core.exports.space_region_longest(base, 1), 87);
  t.equal(core.exports.space_attached(base, 1), bitmap(1));
  t.equal(core.exports.space_attached(base, 0), 0);
  t.equal(core.exports.space_bitmap_count(bitmap(1), REGION_BLOCKS), REGION_BLOCKS - 99);
  t.equal(core.exports.space_attach(base, 1, bitmap(1)), -EEXIST);
  t.equal(core.exports.space_attach(base, 0, bitmap(0) + 4), -EINVAL, "not aligned");
  t.equal(core.exports.space_attach(base, 0, core.bytes.length - 8), -EINVAL, "past the memory");
  t.equal(core.exports.space_attach(base, 0, base), -EINVAL, "over the allocator itself");
  t.equal(core.exports.space_mark(base, REGION_BLOCKS + 100, 1), -EINVAL);
  t.equal(core.exports.space_mark(base, REGION_BLOCKS - 1, 2), -EINVAL, "crosses regions");
  t.equal(core.exports.space_mark(base, 0, 1), -EAGAIN);
  t.equal(core.exports.space_detach(base, 1), 0);
  t.equal(core.exports.space_detach(base, 1), -ENOENT);
  t.equal(core.exports.space_alloc(base, 0, 87, 87, 0, result), -EAGAIN, "the summary stays");
  t.end();
});

t.test("space_alloc() takes the goal itself, else what follows it, else what precedes it", (t) => {
  const space = makeSpace(REGION_BLOCKS);
  const { exports } = space.core;
  exports.space_attach(space.base, 0, space.bitmap(0));
  const alloc = (goal: number, count: number): number => {
    t.equal(exports.space_alloc(space.base, goal, count, count, 0, space.result), 0);
    return readRun(space).start;
  };
  t.equal(alloc(1000, 257), 1000);
  t.equal(alloc(1000, 10), 1257);
  t.equal(alloc(REGION_BLOCKS - 5, 10), 0);
  t.equal(alloc(REGION_BLOCKS - 5, 5), REGION_BLOCKS - 5);
  t.equal(exports.space_is_used(space.base, 1000, 267), 1);
  t.equal(exports.space_is_used(space.base, 1000, 268), 2);
  t.equal(exports.space_is_used(space.base, 1267, 20_000), 0);
  t.end();
});

t.test("space_alloc() takes the longest run when there is none of the wanted length", (t) => {
  const space = makeSpace(2 * REGION_BLOCKS);
  const { exports } = space.core;
  space.core.bytes.fill(0xff, space.bitmap(0), space.bitmap(2));
  exports.space_bitmap_clear(space.bitmap(0), 100, 70);
  exports.space_bitmap_clear(space.bitmap(0), 300, 63);
  exports.space_bitmap_clear(space.bitmap(1), 63, 90);
  exports.space_attach(space.base, 0, space.bitmap(0));
  exports.space_attach(space.base, 1, space.bitmap(1));
  t.equal(exports.space_alloc(space.base, 0, 100, 91, 0, space.result), -ENOSPC);
  t.equal(exports.space_alloc(space.base, 0, 100, 10, 0, space.result), 0);
  t.same(readRun(space), { start: REGION_BLOCKS + 63, count: 90, region: 1 });
  t.equal(exports.space_alloc(space.base, 0, 100, 10, 0, space.result), 0);
  t.same(readRun(space), { start: 100, count: 70, region: 0 });
  t.equal(exports.space_alloc(space.base, 0, 63, 63, 0, space.result), 0);
  t.same(readRun(space), { start: 300, count: 63, region: 0 });
  t.equal(exports.space_free_total(space.base), 0);
  t.equal(exports.space_alloc(space.base, 0, 1, 1, 0, space.result), -ENOSPC);
  t.end();
});

t.test(
  "space_alloc() goes to the nearest attached region, then asks for the nearest other",
  (t) => {
    const space = makeSpace(200 * REGION_BLOCKS);
    const { exports } = space.core;
    for (let region = 0; region < 200; region += 1) {
      exports.space_set_summary(space.base, region, 1000, 1000);
    }
    exports.space_attach(space.base, 3, space.bitmap(3));
    exports.space_attach(space.base, 190, space.bitmap(4));
    const alloc = (goalRegion: number, count: number, minCount: number): number =>
      exports.space_alloc(space.base, goalRegion * REGION_BLOCKS, count, minCount, 0, space.result);
    t.equal(alloc(20, 8, 8), 0);
    t.equal(readRun(space).region, 3);
    t.equal(alloc(130, 8, 8), 0);
    t.equal(readRun(space).region, 190);
    t.equal(alloc(130, 40_000, 8), 0, "no region is known to have more than what is left here");
    t.same(readRun(space), {
      start: 190 * REGION_BLOCKS + 8,
      count: REGION_BLOCKS - 8,
      region: 190,
    });
    exports.space_set_summary(space.base, 100, REGION_BLOCKS, REGION_BLOCKS);
    t.equal(alloc(190, 40_000, 8), -EAGAIN);
    t.equal(readRun(space).region, 100);
    t.end();
  },
);

t.test("space_alloc() finds a run that only just begins before the goal", (t) => {
  const space = makeSpace(REGION_BLOCKS);
  const { exports } = space.core;
  for (const count of [1, 2, 63, 64, 65, 127, 128, 257]) {
    space.core.bytes.fill(0xff, space.bitmap(0), space.bitmap(1));
    exports.space_bitmap_clear(space.bitmap(0), 99, count);
    exports.space_attach(space.base, 0, space.bitmap(0));
    t.equal(exports.space_alloc(space.base, 100, count, count, 0, space.result), 0, `${count}`);
    t.equal(readRun(space).start, 99);
    exports.space_detach(space.base, 0);
  }
  t.end();
});

t.test("space_free() raises the bound of long runs that it joins", (t) => {
  const space = makeSpace(REGION_BLOCKS);
  const { exports } = space.core;
  for (const [first, length] of [
    [0, 10_051],
    [9950, 10_051],
  ] as const) {
    space.core.bytes.fill(0xff, space.bitmap(0), space.bitmap(1));
    exports.space_bitmap_clear(space.bitmap(0), first, length);
    exports.space_attach(space.base, 0, space.bitmap(0));
    exports.space_mark(space.base, 10_000, 1);
    t.equal(exports.space_alloc(space.base, 0, length, length, 0, space.result), -ENOSPC);
    t.equal(exports.space_free(space.base, 10_000, 1), 0);
    t.equal(exports.space_alloc(space.base, 0, length, length, 0, space.result), 0);
    t.equal(readRun(space).start, first);
    exports.space_detach(space.base, 0);
  }
  t.end();
});

t.test("space_free() and space_mark() refuse a run that is only partly theirs", (t) => {
  const { core, base, bitmap } = makeSpace(REGION_BLOCKS);
  core.exports.space_attach(base, 0, bitmap(0));
  t.equal(core.exports.space_mark(base, 64, 64), 0);
  t.equal(core.exports.space_mark(base, 127, 2), -EEXIST);
  t.equal(core.exports.space_free(base, 63, 2), -ENOENT);
  t.equal(core.exports.space_free(base, 127, 2), -ENOENT);
  t.equal(core.exports.space_free_total(base), REGION_BLOCKS - 64);
  t.equal(core.exports.space_free(base, 64, 64), 0);
  t.equal(core.exports.space_free(base, 64, 64), -ENOENT);
  for (const start of [-1, 0.5, Number.NaN, 2 ** 60]) {
    t.equal(core.exports.space_free(base, start, 1), -EINVAL);
  }
  t.equal(core.exports.space_free(base, 0, 0), -EINVAL);
  t.end();
});

t.test("pool_alloc() gives runs, and singles from the low end", (t) => {
  const core = loadCore({ memoryPages: 20 });
  const { exports } = core;
  const layout = new Layout(core);
  const base = layout.take(exports.pool_bytes(200), 64);
  const frames = layout.take(200 * 4096, 4096);
  t.equal(exports.pool_init(base, 200, frames), 0);
  t.equal(exports.pool_alloc(base, 201), 0);
  t.equal(exports.pool_alloc(base, 0), 0);
  const run = exports.pool_alloc(base, 100);
  t.equal(run, frames);
  t.equal(exports.pool_alloc(base, 1), frames + 100 * 4096);
  exports.pool_free(base, run + 4096, 2);
  t.equal(exports.pool_alloc(base, 1), run + 4096);
  t.equal(exports.pool_alloc(base, 2), frames + 101 * 4096);
  t.equal(exports.pool_free_count(base), 98);
  t.equal(exports.pool_longest(base), 97);
  t.throws(() => exports.pool_free(base, run + 2 * 4096, 1), "free already");
  t.throws(() => exports.pool_free(base, run + 1, 1), "not a frame");
  t.throws(() => exports.pool_free(base, run - 4096, 1), "before the pool");
  t.throws(() => exports.pool_free(base, frames + 199 * 4096, 2), "past the pool");
  t.equal(exports.pool_free_count(base), 98, "a refused call changes nothing");
  t.end();
});

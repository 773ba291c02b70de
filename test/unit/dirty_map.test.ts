import t from "tap";
import { EBUSY, EINVAL, ENOMEM } from "../../host/base/errno.ts";
import { RUN_DIRTY, RUN_FLUSHING } from "../../host/core/abi.ts";
import type { Core } from "../../host/core/core.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const BLOCK = 4096;
/** Buffers are only numbers to the core. */
const BUFFER = 0x10_0000;
const OUT_WORDS = 1000;

class Fixture {
  readonly core: Core = loadCore({ memoryPages: 4 });
  readonly base: number;
  readonly map: number;
  readonly result: number;
  readonly out: number;

  constructor(nodeCapacity = 100) {
    const layout = new Layout(this.core);
    this.base = layout.take(this.core.exports.dirty_bytes(nodeCapacity), 64);
    this.result = layout.take(24, 8);
    this.out = layout.take(OUT_WORDS * 4, 8);
    this.core.exports.dirty_init(this.base, nodeCapacity);
    this.map = this.core.exports.dirty_create(this.base);
  }

  insert(fileBlock: number, count: number, bufferBlock: number): number {
    const address = BUFFER + bufferBlock * BLOCK;
    return this.core.exports.dirty_insert(this.base, this.map, fileBlock, count, address);
  }

  /** [found, buffer block, length, state] */
  find(fileBlock: number): number[] {
    const found = this.core.exports.dirty_find(this.base, this.map, fileBlock, this.result);
    const [buffer, length, state] = this.core.u32.subarray(this.result / 4, this.result / 4 + 3);
    return [found, found > 0 ? ((buffer as number) - BUFFER) / BLOCK : -1, length ?? 0, state ?? 0];
  }

  /** Extents as [fileBlock, blockCount, ...[buffer block, count]], then the next block to plan from. */
  plan(
    fromBlock: number,
    maxExtent: number,
    maxBlocks: number,
  ): { extents: number[][]; next: number } {
    const { core, out } = this;
    const count = core.exports.dirty_plan(
      this.base,
      this.map,
      fromBlock,
      maxExtent,
      maxBlocks,
      out,
      OUT_WORDS,
    );
    const extents: number[][] = [];
    let at = out + 16;
    for (let index = 0; index < count; index += 1) {
      const extent = [core.f64[at / 8] as number, core.u32[at / 4 + 2] as number];
      const runs = core.u32[at / 4 + 3] as number;
      at += 16;
      for (let run = 0; run < runs; run += 1) {
        extent.push(
          ((core.u32[at / 4] as number) - BUFFER) / BLOCK,
          core.u32[at / 4 + 1] as number,
        );
        at += 8;
      }
      extents.push(extent);
    }
    return { extents, next: core.f64[out / 8] as number };
  }

  /** Pairs of buffer block and count. */
  freed(): number[][] {
    const count = this.core.exports.dirty_freed(this.base, this.out, 100);
    return Array.from({ length: count }, (_, index) => [
      ((this.core.u32[this.out / 4 + index * 2] as number) - BUFFER) / BLOCK,
      this.core.u32[this.out / 4 + index * 2 + 1] as number,
    ]);
  }
}

t.test("dirty_insert() joins runs adjacent in the file and in memory, and only these", (t) => {
  const file = new Fixture();
  const nodes = file.core.exports.dirty_node_free(file.base);
  file.insert(10, 2, 0);
  file.insert(12, 3, 2);
  t.same(file.find(10), [1, 0, 5, RUN_DIRTY]);
  file.insert(15, 1, 7);
  t.same(file.find(10), [1, 0, 5, RUN_DIRTY]);
  file.insert(17, 1, 9);
  file.insert(16, 1, 8);
  t.same(file.find(15), [1, 7, 3, RUN_DIRTY], "a gap is filled from both sides");
  t.equal(file.core.exports.dirty_node_free(file.base), nodes - 2);
  t.same(file.find(0), [0, -1, 10, 0]);
  t.same(file.find(18), [0, -1, 0xffff_ffff, 0]);
  t.end();
});

t.test("dirty_insert() frees the older data that it covers", (t) => {
  const file = new Fixture();
  file.insert(0, 10, 0);
  file.insert(4, 2, 50);
  t.same(file.freed(), [[4, 2]]);
  t.same(file.find(0), [1, 0, 4, RUN_DIRTY]);
  t.same(file.find(5), [1, 51, 1, RUN_DIRTY]);
  t.same(file.find(6), [1, 6, 4, RUN_DIRTY]);
  t.equal(file.core.exports.dirty_count(file.base, file.map), 10);
  t.end();
});

t.test("dirty_plan() makes extents that end at multiples of the largest", (t) => {
  const file = new Fixture();
  file.insert(6, 4, 0);
  file.insert(10, 10, 20);
  file.insert(30, 1, 40);
  const { extents, next } = file.plan(0, 8, 1000);
  t.same(extents, [
    [6, 2, 0, 2],
    [8, 8, 2, 2, 20, 6],
    [16, 4, 26, 4],
    [30, 1, 40, 1],
  ]);
  t.equal(next, -1);
  t.same(file.find(6), [1, 0, 2, RUN_FLUSHING]);
  t.equal(file.core.exports.dirty_count(file.base, file.map), 0);
  t.equal(file.core.exports.dirty_flushing_count(file.base, file.map), 15);
  t.end();
});

t.test("dirty_plan() stops at maxBlocks and says where to go on", (t) => {
  const file = new Fixture();
  file.insert(0, 10, 0);
  t.same(file.plan(0, 8, 5), { extents: [[0, 5, 0, 5]], next: 5 });
  t.same(file.plan(5, 8, 5), {
    extents: [
      [5, 3, 5, 3],
      [8, 2, 8, 2],
    ],
    next: -1,
  });
  t.same(file.plan(0, 8, 5), { extents: [], next: -1 });
  t.end();
});

t.test("dirty_plan() leaves a block whose earlier write is in flight", (t) => {
  const file = new Fixture();
  const { exports } = file.core;
  file.insert(0, 8, 0);
  file.plan(0, 64, 1000);
  file.insert(2, 3, 20);
  t.same(file.find(0), [1, 0, 2, RUN_FLUSHING]);
  t.same(file.find(2), [1, 20, 3, RUN_DIRTY]);
  t.same(file.plan(0, 64, 1000), { extents: [], next: -1 });
  t.equal(exports.dirty_complete(file.base, file.map, 0, 8), 8, "older data, but still wanted");
  t.same(file.freed().sort(), [
    [0, 2],
    [2, 3],
    [5, 3],
  ]);
  t.same(file.plan(0, 64, 1000).extents, [[2, 3, 20, 3]]);
  t.end();
});

t.test("dirty_abort() makes data dirty again where nothing newer lies over it", (t) => {
  const file = new Fixture();
  const { exports } = file.core;
  file.insert(0, 8, 0);
  file.plan(0, 64, 1000);
  file.insert(2, 3, 20);
  t.equal(exports.dirty_abort(file.base, file.map, 0, 8), 5);
  t.same(file.freed(), [[2, 3]]);
  t.same(file.find(0), [1, 0, 2, RUN_DIRTY]);
  t.same(file.find(2), [1, 20, 3, RUN_DIRTY]);
  t.same(file.find(5), [1, 5, 3, RUN_DIRTY]);
  t.equal(exports.dirty_flushing_count(file.base, file.map), 0);
  t.end();
});

t.test("dirty_truncate() cancels what is in flight without giving its buffer back", (t) => {
  const file = new Fixture();
  const { exports } = file.core;
  file.insert(0, 8, 0);
  file.plan(0, 64, 1000);
  file.insert(8, 4, 30);
  t.equal(exports.dirty_truncate(file.base, file.map, 5), 4);
  t.same(file.freed(), [[30, 4]]);
  t.same(file.find(5), [0, -1, 0xffff_ffff, 0]);
  t.equal(exports.dirty_wanted(file.base, file.map, 0, 8, file.result), 1);
  t.equal(file.core.f64[file.result / 8], 0);
  t.equal(file.core.u32[file.result / 4 + 2], 5);
  t.equal(exports.dirty_wanted(file.base, file.map, 5, 3, file.result), 0);
  t.equal(exports.dirty_destroy(file.base, file.map), -EBUSY);
  t.equal(exports.dirty_complete(file.base, file.map, 0, 8), 5);
  t.same(file.freed(), [[0, 8]]);
  t.equal(exports.dirty_destroy(file.base, file.map), 0);
  t.end();
});

t.test("dirty_drop() and dirty_next(): a hole between buffered runs", (t) => {
  const file = new Fixture();
  const { exports } = file.core;
  file.insert(0, 10, 0);
  t.equal(exports.dirty_drop(file.base, file.map, 3, 4), 4);
  t.same(file.freed(), [[3, 4]]);
  t.equal(exports.dirty_next(file.base, file.map, 3, file.result), 1);
  t.equal(file.core.f64[file.result / 8], 7);
  t.equal(file.core.u32[file.result / 4 + 2], 3);
  t.equal(file.core.u32[file.result / 4 + 4], BUFFER + 7 * BLOCK);
  t.equal(exports.dirty_next(file.base, file.map, 10, file.result), 0);
  t.end();
});

t.test("a slab that is full for inserts can still be flushed and truncated", (t) => {
  const file = new Fixture(8);
  const { exports } = file.core;
  let inserted = 0;
  while (file.insert(inserted * 10, 6, inserted * 10) === 0) inserted += 1;
  t.equal(inserted, 7, "8 nodes: the map and 7 runs");
  t.equal(exports.dirty_create(file.base), -ENOMEM);
  t.equal(file.insert(2, 1, 900), -ENOMEM);
  t.same(file.find(2), [1, 2, 4, RUN_DIRTY], "nothing changed");
  t.equal(exports.dirty_drop(file.base, file.map, 2, 2), 2);
  t.equal(file.plan(0, 4, 1000).extents.length, 14);
  for (let index = 0; index < 7; index += 1) {
    exports.dirty_complete(file.base, file.map, index * 10, 6);
  }
  file.freed();
  t.equal(exports.dirty_node_free(file.base), 7);
  t.end();
});

t.test("arguments that cannot be a range are EINVAL, a wrong map traps", (t) => {
  const file = new Fixture();
  const { exports } = file.core;
  for (const block of [-1, 0.5, Number.NaN, 2 ** 52, Number.POSITIVE_INFINITY]) {
    t.equal(file.insert(block, 1, 0), -EINVAL, `${block}`);
    t.equal(exports.dirty_complete(file.base, file.map, block, 1), -EINVAL);
    t.equal(exports.dirty_drop(file.base, file.map, block, 1), -EINVAL);
  }
  t.equal(file.insert(0, 0, 0), -EINVAL);
  t.equal(exports.dirty_insert(file.base, file.map, 0, 1, 0), -EINVAL);
  t.equal(exports.dirty_insert(file.base, file.map, 0, 2, 2 ** 32 - BLOCK), -EINVAL);
  t.equal(exports.dirty_plan(file.base, file.map, 0, 0, 1, file.out, 100), -EINVAL);
  t.equal(exports.dirty_plan(file.base, file.map, 0, 1, 1, file.out, 9), -EINVAL);
  t.throws(() => exports.dirty_count(file.base, 0));
  t.throws(() => exports.dirty_count(file.base, 99));
  t.throws(() => exports.dirty_count(file.base + 8, file.map));
  t.end();
});

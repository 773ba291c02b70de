/** The dirty map against a model of single blocks: what is seen, what is in flight, and where each buffer ends. */
import t from "tap";
import { ENOMEM } from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { RUN_DIRTY, RUN_FLUSHING } from "../../host/core/abi.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const SEED = Number(process.env.SEED ?? 77);
const FILE_BLOCKS = 200;
/** No operation reaches further. */
const FILE_END = FILE_BLOCKS + 50;
const BLOCK_BYTES = 4096;

type Seen = { state: number; buffer: number };
type Buried = { isWanted: boolean; buffer: number };
type Range = { start: number; count: number };

for (let round = 0; round < 10; round += 1) {
  const seed = SEED + round;
  t.test(`dirty map: any operations equal a model of blocks, seed ${seed}`, (t) => {
    const random = new Prng(seed);
    const core = loadCore({ memoryPages: 4 });
    const { exports } = core;
    const layout = new Layout(core);
    const nodeCapacity = [8, 12, 20, 40, 500][round % 5] as number;
    const base = layout.take(exports.dirty_bytes(nodeCapacity), 64);
    const outWords = 8 + random.below(120) * 2 + 2;
    const out = layout.take(outWords * 4, 8);
    const result = layout.take(24, 8);
    const freedRuns = layout.take(16 * 8, 8);
    t.equal(exports.dirty_init(base, nodeCapacity), 0);
    // A second map sits in the same slab: nothing that is done to the first may show in it.
    const other = exports.dirty_create(base);
    t.equal(exports.dirty_insert(base, other, 7, 1, 0xff_0000), 0);
    const map = exports.dirty_create(base);
    t.ok(map > 0 && other > 0);

    const top = new Map<number, Seen>();
    const buried = new Map<number, Buried>();
    const owned = new Set<number>();
    const expectedFreed = new Set<number>();
    let inFlight: Range[] = [];
    let nextBuffer = 1;
    let lastEnd = 0;
    const counts = { noMemory: 0, planned: 0, buried: 0, joined: 0 };

    const fail = (what: string): void => {
      t.fail(what);
    };
    const gone = (buffer: number): void => {
      if (!owned.delete(buffer)) fail("the model lost a buffer");
      expectedFreed.add(buffer);
    };
    const drain = (): void => {
      for (;;) {
        const count = exports.dirty_freed(base, freedRuns, 5);
        for (let index = 0; index < count; index += 1) {
          const address = core.u32[freedRuns / 4 + index * 2] as number;
          const blocks = core.u32[freedRuns / 4 + index * 2 + 1] as number;
          for (let block = 0; block < blocks; block += 1) {
            const buffer = address / BLOCK_BYTES + block;
            if (!expectedFreed.delete(buffer)) fail(`buffer ${buffer} freed, but not due`);
          }
        }
        if (count < 5) break;
      }
      if (expectedFreed.size > 0) fail(`${expectedFreed.size} buffers were not freed`);
    };
    const compare = (): void => {
      let nextSeen = -1;
      for (let block = FILE_END; block >= 0; block -= 1) {
        const found = exports.dirty_find(base, map, block, result);
        const buffer = core.u32[result / 4] as number;
        const length = core.u32[result / 4 + 1] as number;
        const state = core.u32[result / 4 + 2] as number;
        const expected = top.get(block);
        if (expected === undefined) {
          const gap = nextSeen < 0 ? 0xffff_ffff : nextSeen - block;
          if (found !== 0 || length !== gap) fail(`block ${block}: found ${found}, gap ${length}`);
          continue;
        }
        if (found !== 1 || buffer !== expected.buffer * BLOCK_BYTES || state !== expected.state) {
          fail(`block ${block}: ${found} ${buffer} ${state}, not ${JSON.stringify(expected)}`);
        }
        for (let at = 1; at < length; at += 1) {
          const same = top.get(block + at);
          if (same?.state !== state || same.buffer !== expected.buffer + at)
            fail("length too long");
        }
        const after = top.get(block + length);
        if (after?.state === RUN_DIRTY && state === RUN_DIRTY) {
          if (after.buffer === expected.buffer + length) fail("adjacent runs are not one");
        }
        nextSeen = block;
      }
      let dirty = 0;
      let flushing = buried.size;
      for (const seen of top.values()) {
        if (seen.state === RUN_DIRTY) dirty += 1;
        else flushing += 1;
      }
      if (exports.dirty_count(base, map) !== dirty) fail("dirty_count differs");
      if (exports.dirty_flushing_count(base, map) !== flushing) fail("flushing_count differs");
      if (exports.dirty_total(base) !== dirty + 1) fail("dirty_total differs");
      const from = random.below(FILE_BLOCKS);
      const isThere = exports.dirty_next(base, map, from, result);
      const first = [...top.keys()].filter((block) => block >= from).sort((a, b) => a - b)[0];
      if (isThere !== Number(first !== undefined)) fail("dirty_next differs");
      if (first !== undefined) {
        if (core.f64[result / 8] !== first) fail("dirty_next is elsewhere");
        if (core.u32[result / 4 + 3] !== top.get(first)?.state) fail("dirty_next: state");
        if (core.u32[result / 4 + 4] !== (top.get(first)?.buffer ?? 0) * BLOCK_BYTES) {
          fail("dirty_next: buffer");
        }
      }
    };
    const clear = (start: number, end: number, isWanted: boolean): number => {
      let dropped = 0;
      for (let block = start; block < end; block += 1) {
        const seen = top.get(block);
        if (seen === undefined) continue;
        top.delete(block);
        if (seen.state === RUN_DIRTY) {
          gone(seen.buffer);
          dropped += 1;
        } else {
          buried.set(block, { isWanted, buffer: seen.buffer });
          counts.buried += 1;
        }
      }
      return dropped;
    };
    const drop = (start: number, end: number): number => {
      for (const [block, below] of buried) {
        if (block >= start && block < end) below.isWanted = false;
      }
      return clear(start, end, false);
    };
    const settle = ({ start, count }: Range, isWritten: boolean): void => {
      let wanted = 0;
      let again = 0;
      const parts: [number, number][] = [];
      for (
        let from = start;
        exports.dirty_wanted(base, map, from, start + count - from, result);
      ) {
        const first = core.f64[result / 8] as number;
        const blocks = core.u32[result / 4 + 2] as number;
        parts.push([first, blocks]);
        from = first + blocks;
        if (from >= start + count) break;
      }
      const status = isWritten
        ? exports.dirty_complete(base, map, start, count)
        : exports.dirty_abort(base, map, start, count);
      if (status === -ENOMEM) {
        counts.noMemory += 1;
        return;
      }
      const inModel: number[] = [];
      for (let block = start; block < start + count; block += 1) {
        const below = buried.get(block);
        if (below !== undefined) {
          buried.delete(block);
          gone(below.buffer);
          if (below.isWanted) inModel.push(block);
        }
        const seen = top.get(block);
        if (seen?.state !== RUN_FLUSHING) continue;
        inModel.push(block);
        if (isWritten) {
          top.delete(block);
          gone(seen.buffer);
        } else {
          seen.state = RUN_DIRTY;
          again += 1;
        }
      }
      wanted = inModel.length;
      const listed = parts.flatMap(([first, n]) =>
        Array.from({ length: n }, (_, at) => first + at),
      );
      if (listed.join() !== inModel.join()) fail(`wanted ${listed} is not ${inModel}`);
      if (status !== (isWritten ? wanted : again)) fail(`settle returned ${status}`);
    };
    const plan = (from: number): void => {
      const maxExtent = [1, 7, 16, 64][random.below(4)] as number;
      const maxBlocks = 1 + random.below(100);
      const before = new Map([...top].map(([block, seen]) => [block, seen.state]));
      const count = exports.dirty_plan(base, map, from, maxExtent, maxBlocks, out, outWords);
      const next = core.f64[out / 8] as number;
      if (core.u32[out / 4 + 2] !== count) fail("extent count differs");
      const words = core.u32[out / 4 + 3] as number;
      let at = 4;
      let total = 0;
      let lastEnd = -1;
      for (let extent = 0; extent < count; extent += 1) {
        const start = core.f64[(out + at * 4) / 8] as number;
        const blocks = core.u32[out / 4 + at + 2] as number;
        const runCount = core.u32[out / 4 + at + 3] as number;
        at += 4;
        let block = start;
        for (let run = 0; run < runCount; run += 1) {
          const buffer = (core.u32[out / 4 + at] as number) / BLOCK_BYTES;
          const length = core.u32[out / 4 + at + 1] as number;
          at += 2;
          for (let index = 0; index < length; index += 1) {
            const seen = top.get(block);
            if (seen?.state !== RUN_DIRTY || seen.buffer !== buffer + index || buried.has(block)) {
              fail(`block ${block} was planned wrongly`);
            } else {
              seen.state = RUN_FLUSHING;
            }
            block += 1;
          }
        }
        if (block - start !== blocks || start < from || start < lastEnd) fail("bad extent");
        if (Math.floor(start / maxExtent) !== Math.floor((block - 1) / maxExtent)) fail("border");
        if (start === lastEnd && start % maxExtent !== 0) fail("adjacent extents are not one");
        lastEnd = block;
        total += blocks;
        inFlight.push({ start, count: blocks });
        counts.planned += 1;
      }
      if (at !== words || words > outWords || total > maxBlocks) fail("plan exceeds its bounds");
      const end = next < 0 ? FILE_END : next;
      for (let block = from; block < end; block += 1) {
        if (top.get(block)?.state === RUN_DIRTY && !buried.has(block)) fail(`${block} left out`);
      }
      if (next >= 0 && (before.get(next) !== RUN_DIRTY || buried.has(next))) fail("next is wrong");
    };

    for (let step = 0; step < 1500; step += 1) {
      const appends = random.below(3) === 0 && lastEnd < FILE_BLOCKS;
      const start = appends ? lastEnd : random.below(FILE_BLOCKS);
      const count = 1 + random.below(random.below(3) === 0 ? 40 : 6);
      const action = random.below(24);
      if (action < 12) {
        const canHold = exports.dirty_node_free(base) >= 3;
        // Often right behind the last buffer, as when a file is appended to.
        if (random.below(4) === 0) nextBuffer += 1 + random.below(3);
        const status = exports.dirty_insert(base, map, start, count, nextBuffer * BLOCK_BYTES);
        if (status === -ENOMEM) {
          if (canHold) fail("ENOMEM with 3 free nodes");
          counts.noMemory += 1;
        } else {
          if (status !== 0) fail(`insert returned ${status}`);
          clear(start, start + count, true);
          for (let block = 0; block < count; block += 1) {
            top.set(start + block, { state: RUN_DIRTY, buffer: nextBuffer + block });
            owned.add(nextBuffer + block);
          }
          const last = top.get(start - 1);
          if (last?.state === RUN_DIRTY && last.buffer === nextBuffer - 1) counts.joined += 1;
          nextBuffer += count;
          lastEnd = start + count;
        }
      } else if (action < 16) {
        plan(random.below(2) === 0 ? 0 : start);
      } else if (action < 20) {
        if (inFlight.length > 0) {
          const index = random.below(inFlight.length);
          const [range] = inFlight.splice(index, 1) as [Range];
          settle(range, random.below(3) > 0);
        }
      } else if (action < 21) {
        settle({ start, count }, random.below(2) === 0);
      } else if (action < 22) {
        const status = exports.dirty_truncate(base, map, start);
        if (status === -ENOMEM) counts.noMemory += 1;
        else if (status !== drop(start, FILE_END)) fail(`truncate returned ${status}`);
      } else {
        const status = exports.dirty_drop(base, map, start, count);
        if (status === -ENOMEM) counts.noMemory += 1;
        else if (status !== drop(start, start + count)) fail(`drop returned ${status}`);
      }
      drain();
      compare();
    }
    for (const range of inFlight) settle(range, true);
    inFlight = [];
    drain();
    compare();
    if (buried.size > 0) fail("the model has buried blocks that no write will end");
    t.equal(exports.dirty_destroy(base, map), 0);
    for (const seen of top.values()) gone(seen.buffer);
    drain();
    t.equal(owned.size, 0, "every buffer was freed exactly once");
    t.equal(exports.dirty_find(base, other, 7, result), 1, "the other map is as it was");
    t.equal(core.u32[result / 4], 0xff_0000);
    t.equal(exports.dirty_destroy(base, other), 0);
    t.equal(exports.dirty_freed(base, freedRuns, 16), 1);
    t.equal(exports.dirty_node_free(base), nodeCapacity, "all nodes are back");
    t.equal(exports.dirty_total(base), 0);
    t.comment(`seed ${seed}: ${JSON.stringify(counts)}`);
    t.ok(
      counts.planned > 50 && counts.buried > 20 && counts.joined > 5,
      "the interesting cases occurred",
    );
    t.end();
  });
}

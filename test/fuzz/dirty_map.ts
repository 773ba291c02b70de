/** Any arguments to the coalescer: an error or a trap, never a write outside the slab and the result areas. */
import { assert } from "../../host/base/assert.ts";
import type { Prng } from "../../host/base/prng.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const CANARY = 0xa5;
const CANARY_BYTES = 4096;
const OUT_WORDS = 64;

/** A block number that is often valid and often not. */
function anyBlock(random: Prng): number {
  switch (random.below(12)) {
    case 0:
      return Number.NaN;
    case 1:
      return -random.below(2 ** 40);
    case 2:
      return [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 52, 2 ** 64, -0][
        random.below(5)
      ] as number;
    case 3:
      return 2 ** 52 - random.below(4);
    case 4:
      return random.float() * 100;
    default:
      return random.below(100);
  }
}

function anyCount(random: Prng): number {
  switch (random.below(8)) {
    case 0:
      return random.u32();
    case 1:
      return [0, -1, 2 ** 20, 2 ** 20 + 1, 2 ** 31, 2 ** 31 - 1][random.below(6)] as number;
    default:
      return 1 + random.below(20);
  }
}

/** Calls that may trap, but not otherwise fail. */
function call(action: () => number): number | undefined {
  try {
    return action();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) return undefined;
    throw error;
  }
}

export function fuzzDirtyMap(random: Prng, steps: number): void {
  const core = loadCore({ memoryPages: 8 });
  const { exports } = core;
  const layout = new Layout(core);
  const canaries: number[] = [];
  const take = (byteLength: number): number => {
    canaries.push(layout.take(CANARY_BYTES, 64));
    return layout.take(byteLength, 64);
  };
  const nodeCapacity = 60;
  const slab = take(exports.dirty_bytes(nodeCapacity));
  const result = take(24);
  const out = take(OUT_WORDS * 4);
  canaries.push(layout.take(CANARY_BYTES, 64));
  for (const address of canaries) core.bytes.fill(CANARY, address, address + CANARY_BYTES);
  assert(exports.dirty_init(slab, nodeCapacity) === 0, "the slab is laid out");
  const maps = [1, 2, 3].map(() => exports.dirty_create(slab));
  const handles = [slab, slab + 64, result, canaries[0] as number, 0, -8, core.bytes.length - 4];

  for (let step = 0; step < steps; step += 1) {
    const isOurs = random.below(6) > 0;
    const base = isOurs ? slab : (handles[random.below(handles.length)] as number);
    const map =
      (maps[random.below(maps.length)] as number) + (random.below(8) === 0 ? random.below(90) : 0);
    const block = anyBlock(random);
    const count = anyCount(random);
    switch (random.below(13)) {
      case 0:
      case 1:
      case 2:
        call(() => exports.dirty_insert(base, map, block, count, random.u32()));
        break;
      case 3:
        call(() => exports.dirty_find(base, map, block, result));
        break;
      case 4:
        call(() => exports.dirty_next(base, map, block, result));
        break;
      case 5: {
        const words = random.below(OUT_WORDS + 1);
        call(() => exports.dirty_plan(base, map, block, count, anyCount(random), out, words));
        break;
      }
      case 6:
        call(() => exports.dirty_complete(base, map, block, count));
        break;
      case 7:
        call(() => exports.dirty_abort(base, map, block, count));
        break;
      case 8:
        call(() => exports.dirty_truncate(base, map, block));
        break;
      case 9:
        call(() => exports.dirty_drop(base, map, block, count));
        break;
      case 10:
        call(() => exports.dirty_wanted(base, map, block, count, result));
        break;
      case 11:
        call(() => exports.dirty_freed(base, out, random.below(OUT_WORDS / 2)));
        break;
      default:
        if (random.below(4) === 0 && call(() => exports.dirty_destroy(base, map)) === 0) {
          const at = maps.indexOf(map);
          // Ids come back: a map that went may now be a run, and naming it must trap.
          if (at >= 0) maps[at] = call(() => exports.dirty_create(slab)) ?? 0;
          if ((maps[at] ?? 1) <= 0) maps[at] = 1;
        }
        call(() => exports.dirty_init(slab + 4, count) + exports.dirty_bytes(count));
        break;
    }
    if (step % 64 === 0 || step === steps - 1) {
      checkCanaries(core.bytes, canaries, step);
      assert(exports.dirty_node_free(slab) <= nodeCapacity, "no more nodes than there are");
    }
  }
}

function checkCanaries(bytes: Uint8Array, canaries: readonly number[], step: number): void {
  for (const address of canaries) {
    for (let at = address; at < address + CANARY_BYTES; at += 1) {
      assert(bytes[at] === CANARY, `a byte outside was written before step ${step}`);
    }
  }
}

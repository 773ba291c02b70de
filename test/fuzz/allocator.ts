/** Any arguments to the allocator and the pool: an error or a trap, never a write outside what is theirs. */
import { assert } from "../../host/base/assert.ts";
import type { Prng } from "../../host/base/prng.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const CANARY = 0xa5;
const CANARY_BYTES = 4096;

/** A number that a caller should not pass, or sometimes one near what it may. */
function anyNumber(random: Prng, near: readonly number[]): number {
  switch (random.below(10)) {
    case 0:
      return Number.NaN;
    case 1:
      return -random.below(2 ** 40);
    case 2:
      return [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53, 2 ** 64, -0][
        random.below(5)
      ] as number;
    case 3:
      return random.u32();
    case 4:
      return random.float() * 1000;
    default:
      return (near[random.below(near.length)] as number) + random.below(5) - 2;
  }
}

/** Calls that may trap, but not otherwise fail. */
function call(action: () => unknown): number | undefined {
  try {
    const value = action();
    return typeof value === "number" ? value : undefined;
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) return undefined;
    throw error;
  }
}

export function fuzzAllocator(random: Prng, steps: number): void {
  const core = loadCore({ memoryPages: 64 });
  const { exports } = core;
  const layout = new Layout(core);
  const canaries: number[] = [];
  const take = (byteLength: number): number => {
    canaries.push(layout.take(CANARY_BYTES, 64));
    return layout.take(byteLength, 64);
  };
  const regionBlocks = 32_768;
  const blockCount = regionBlocks * 2 + 5000;
  const space = take(exports.space_bytes(3));
  const result = take(16);
  const bitmaps = take((3 * regionBlocks) / 8);
  const poolFrames = 500;
  const pool = take(exports.pool_bytes(poolFrames));
  const frames = take(poolFrames * 4096);
  canaries.push(layout.take(CANARY_BYTES, 64));
  for (const address of canaries) core.bytes.fill(CANARY, address, address + CANARY_BYTES);
  core.bytes.fill(CANARY, frames, frames + poolFrames * 4096);
  // Bytes whose use as a handle must trap: canaries, zeros, unaligned and far addresses.
  const handles = [space, space, space, space, space, pool, result, canaries[1] as number, 0, -8];
  const anyHandle = (): number => handles[random.below(handles.length)] as number;
  const near = [0, 1, 64, 257, regionBlocks, 2 * regionBlocks, blockCount, pool, frames, 2 ** 31];
  const any = (): number => anyNumber(random, near);
  assert(exports.space_init(space, blockCount, regionBlocks) === 3, "the device is laid out");
  assert(exports.pool_init(pool, poolFrames, frames) === 0, "the pool is laid out");

  for (let step = 0; step < steps; step += 1) {
    const base = anyHandle();
    const poolBase = random.below(3) === 0 ? anyHandle() : pool;
    switch (random.below(14)) {
      case 0:
        call(() => exports.space_set_summary(base, any(), any(), any()));
        break;
      case 1:
        call(
          () => exports.space_region_free(base, any()) + exports.space_region_longest(base, any()),
        );
        break;
      case 2: {
        const region = random.below(3);
        // The bitmap must be a region's own memory or be refused: the core cannot know what else lies there.
        const bitmap = random.below(3) === 0 ? space : bitmaps + region * (regionBlocks / 8);
        call(() => exports.space_attach(base, region, bitmap));
        break;
      }
      case 3:
        call(() => exports.space_attach(base, any(), core.bytes.length - random.below(64)));
        break;
      case 4:
        call(() => exports.space_detach(base, any()));
        break;
      case 5:
        call(() => exports.space_attached(base, any()));
        break;
      case 6:
        call(() => exports.space_alloc(base, any(), any(), any(), random.below(3), result));
        break;
      case 7:
        call(() => exports.space_mark(base, any(), any()));
        break;
      case 8:
        call(() => exports.space_free(base, any(), any()));
        break;
      case 9:
        call(() => exports.space_is_used(base, any(), any()));
        break;
      case 10:
        call(() => exports.space_bytes(any()) + exports.pool_bytes(any()));
        break;
      case 11:
        call(() => exports.pool_alloc(poolBase, any()));
        break;
      case 12:
        call(() =>
          exports.pool_free(poolBase, frames + random.below(poolFrames + 9) * 4096, any()),
        );
        call(() => exports.pool_free(poolBase, any(), any()));
        break;
      default:
        call(() => exports.space_init(base + 4, any(), any()));
        call(() => exports.pool_init(pool, any(), core.bytes.length - random.below(4096 * 600)));
        if (random.below(50) === 0) exports.pool_init(pool, poolFrames, frames);
        break;
    }
    if (step % 64 === 0 || step === steps - 1) {
      checkCanaries(core.bytes, canaries, step);
      const total = call(() => exports.space_free_total(space));
      assert(total !== undefined && total >= 0 && total <= blockCount, "free_total is in range");
    }
  }
  for (let at = frames; at < frames + poolFrames * 4096; at += 1) {
    assert(core.bytes[at] === CANARY, "the core wrote into a data frame");
  }
}

function checkCanaries(bytes: Uint8Array, canaries: readonly number[], step: number): void {
  for (const address of canaries) {
    for (let at = address; at < address + CANARY_BYTES; at += 1) {
      assert(bytes[at] === CANARY, `a byte outside was written before step ${step}`);
    }
  }
}

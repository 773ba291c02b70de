/**
 * Fuzzes the page cache's table and the pool of frames against models: any sequence of calls, numbers out of range
 * among them, gives what the contract in host/core/abi.ts says. What it says traps, traps and changes nothing.
 */
import { assert } from "../../host/base/assert.ts";
import type { Prng } from "../../host/base/prng.ts";
import { FRAME_DIRTY, FRAME_LOADING, FRAME_REFERENCED, FRAME_VALID } from "../../host/core/abi.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const PAGE_BYTES = 16384;
const FRAME_BYTES = 4096;
const EXIST = -17;
const INVALID = -22;
const NO_ENTRY = -2;
const BUSY = -16;
const NO_MEMORY = -12;
const FRAMES_MAX = 12;
const POOL_FRAMES = 40;
const FLAGS = FRAME_DIRTY | FRAME_REFERENCED | FRAME_LOADING;

const core = loadCore({ memoryPages: 16 });
const { exports } = core;
const layout = new Layout(core);
const cache = layout.take(exports.cache_bytes(FRAMES_MAX), 64);
const pool = layout.take(exports.pool_bytes(POOL_FRAMES), 64);
const poolFrames = layout.take(POOL_FRAMES * FRAME_BYTES, FRAME_BYTES);
const frames = layout.take(FRAMES_MAX * PAGE_BYTES, PAGE_BYTES);

interface Frame {
  address: string;
  flags: number;
  pins: number;
}

export function fuzzCache(random: Prng, steps: number): void {
  if (random.below(2) === 0) cacheRound(random, steps);
  else poolRound(random, steps);
}

/** Whether a call traps; the memory behind the core's own must be as it was then. */
function traps(call: () => unknown): boolean {
  const before = core.bytes.slice(core.staticEnd);
  try {
    call();
    return false;
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    const isSame = Buffer.compare(before, core.bytes.subarray(core.staticEnd)) === 0;
    assert(isSame, "a call that traps changed something");
    return true;
  }
}

function cacheRound(random: Prng, steps: number): void {
  const count = 1 + random.below(FRAMES_MAX);
  assert(exports.cache_init(cache, count, frames) === 0, "a cache");
  const model: (Frame | null)[] = new Array(count).fill(null);
  const addressOf = (): [number, number] =>
    random.below(10) === 0 ? [random.u32(), random.u32()] : [random.below(count * 2), 0];
  const find = ([low, high]: [number, number]): number =>
    model.findIndex((frame) => frame?.address === `${low}/${high}`);
  for (let step = 0; step < steps; step += 1) {
    const frame = random.below(20) === 0 ? random.u32() : random.below(count);
    const address = addressOf();
    const [low, high] = address;
    const isZero = low === 0 && high === 0;
    const known = model[frame];
    if (frame >= count) {
      assert(
        traps(() => exports.cache_flags(cache, frame)) &&
          traps(() => exports.cache_remove(cache, frame)) &&
          traps(() => exports.cache_pin(cache, frame)) &&
          traps(() => exports.cache_unpin(cache, frame)) &&
          traps(() => exports.cache_set_flags(cache, frame, FRAME_DIRTY, 0)) &&
          traps(() => exports.cache_rekey(cache, frame, 5, 5)),
        `frame ${frame} of ${count} does not trap`,
      );
      continue;
    }
    switch (random.below(9)) {
      case 0: {
        const found = exports.cache_find(cache, low, high);
        const expected = isZero ? -1 : find(address);
        assert(found === expected, `find gives ${found}, not ${expected}`);
        const entry = model[found];
        if (entry !== null && entry !== undefined) entry.flags |= FRAME_REFERENCED;
        break;
      }
      case 1: {
        const got = exports.cache_add(cache, low, high);
        if (isZero) assert(got === INVALID, "address 0");
        else if (find(address) >= 0) assert(got === EXIST, "an address twice");
        else if (!model.includes(null)) assert(got === NO_MEMORY, "a full cache");
        else {
          assert(model[got] === null, `add gives frame ${got}`);
          model[got] = {
            address: `${low}/${high}`,
            flags: FRAME_VALID | FRAME_REFERENCED,
            pins: 0,
          };
        }
        break;
      }
      case 2: {
        const status = exports.cache_remove(cache, frame);
        const expected = known == null ? NO_ENTRY : known.pins > 0 ? BUSY : 0;
        assert(status === expected, `remove gives ${status}, not ${expected}`);
        if (status === 0) model[frame] = null;
        break;
      }
      case 3: {
        const evicted = exports.cache_evict(cache);
        const isFree = (entry: Frame | null | undefined): boolean =>
          entry != null && entry.pins === 0 && (entry.flags & (FRAME_DIRTY | FRAME_LOADING)) === 0;
        if (evicted === -1) assert(!model.some(isFree), "nothing is evicted");
        else {
          assert(isFree(model[evicted]), `frame ${evicted} must not be evicted`);
          model[evicted] = null;
        }
        // The hand took references on its way.
        for (let at = 0; at < count; at += 1) {
          const entry = model[at];
          if (entry != null && (exports.cache_flags(cache, at) & FRAME_REFERENCED) === 0)
            entry.flags &= ~FRAME_REFERENCED;
        }
        break;
      }
      case 4:
        if (known != null) {
          known.pins += 1;
          assert(exports.cache_pin(cache, frame) === known.pins, "pins");
        }
        break;
      case 5:
        if (known != null && known.pins > 0) {
          known.pins -= 1;
          assert(exports.cache_unpin(cache, frame) === known.pins, "pins");
        } else
          assert(
            traps(() => exports.cache_unpin(cache, frame)),
            "an unpin without a pin",
          );
        break;
      case 6: {
        const set = random.below(12) === 0 ? random.u32() : random.below(16) & FLAGS;
        const clear = random.below(12) === 0 ? random.u32() : random.below(16) & FLAGS;
        const status = exports.cache_set_flags(cache, frame, set, clear);
        if (((set | clear) & ~FLAGS) !== 0)
          assert(status === INVALID, `flags ${set}, ${clear}: ${status}`);
        else if (known == null) assert(status === NO_ENTRY, "flags of a free frame");
        else {
          known.flags = (known.flags | set) & ~clear;
          assert(status === known.flags, `flags are ${status}, not ${known.flags}`);
        }
        break;
      }
      case 7: {
        const status = exports.cache_rekey(cache, frame, low, high);
        const other = find(address);
        if (isZero) assert(status === INVALID, "address 0");
        else if (known == null) assert(status === NO_ENTRY, "a free frame gets an address");
        else if (other >= 0 && other !== frame) assert(status === EXIST, "an address twice");
        else if (status === 0) known.address = `${low}/${high}`;
        else assert(other === frame && status === EXIST, `rekey gives ${status}`);
        break;
      }
      default: {
        const from = random.below(count + 1);
        const dirty = model.findIndex(
          (entry, at) => at >= from && ((entry?.flags ?? 0) & FRAME_DIRTY) !== 0,
        );
        assert(exports.cache_next_dirty(cache, from) === dirty, "the next dirty frame");
        assert(
          exports.cache_frame_of(cache, frames + frame * PAGE_BYTES) === frame,
          "a frame's page",
        );
        assert(
          exports.cache_frame_of(cache, frames + random.below(PAGE_BYTES - 1) + 1) === -1,
          "no page",
        );
      }
    }
    const free = model.filter((entry) => entry === null).length;
    const dirty = model.filter((entry) => ((entry?.flags ?? 0) & FRAME_DIRTY) !== 0).length;
    assert(exports.cache_free_count(cache) === free, "free frames");
    assert(exports.cache_dirty_count(cache) === dirty, "dirty frames");
    for (let at = 0; at < count; at += 1) {
      const flags = exports.cache_flags(cache, at);
      assert(flags === (model[at]?.flags ?? 0), `flags of frame ${at} are ${flags}`);
    }
  }
}

function poolRound(random: Prng, steps: number): void {
  const count = 1 + random.below(POOL_FRAMES);
  assert(exports.pool_init(pool, count, poolFrames) === 0, "a pool");
  const taken = new Uint8Array(count);
  for (let step = 0; step < steps; step += 1) {
    if (random.below(2) === 0) {
      const wanted = random.below(12) === 0 ? 1 + random.below(2 ** 31) : 1 + random.below(8);
      const longest = longestRun(taken);
      const address = exports.pool_alloc(pool, wanted) >>> 0;
      if (address === 0)
        assert(longest < wanted, `a run of ${wanted} is not found, there are ${longest}`);
      else {
        const first = (address - poolFrames) / FRAME_BYTES;
        assert(Number.isInteger(first) && first >= 0 && first + wanted <= count, "a run outside");
        assert(!taken.subarray(first, first + wanted).includes(1), "a run that is in use");
        taken.fill(1, first, first + wanted);
      }
    } else {
      const first = random.below(count);
      const wanted = random.below(10) === 0 ? random.u32() : 1 + random.below(6);
      const skew = random.below(15) === 0 ? 1 + random.below(FRAME_BYTES - 1) : 0;
      const isTaken = first + wanted <= count && !taken.subarray(first, first + wanted).includes(0);
      const address = poolFrames + first * FRAME_BYTES + skew;
      const give = (): unknown => exports.pool_free(pool, address, wanted);
      if (isTaken && skew === 0 && wanted > 0) {
        give();
        taken.fill(0, first, first + wanted);
      } else if (wanted > 0)
        assert(traps(give), `${wanted} frames from ${first} on are given back`);
    }
    assert(
      exports.pool_free_count(pool) === taken.filter((used) => used === 0).length,
      "free frames",
    );
    assert(exports.pool_longest(pool) === longestRun(taken), "the longest run");
  }
}

function longestRun(taken: Uint8Array): number {
  let longest = 0;
  let run = 0;
  for (const used of taken) {
    run = used === 0 ? run + 1 : 0;
    if (run > longest) longest = run;
  }
  return longest;
}

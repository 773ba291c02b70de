/**
 * Fuzzes pages. Arbitrary bytes that page_validate accepts bear every page function: no trap, no write outside, valid
 * afterwards. Arbitrary bytes in the page cache, accepted or not, bear every walk: no trap, no endless loop, and nothing
 * changes but the path, the output and the leaf that is put to.
 */
import { assert } from "../../host/base/assert.ts";
import type { Prng } from "../../host/base/prng.ts";
import { PAGE_VALUE_MAX } from "../../host/core/abi.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const PAGE_BYTES = 16384;
const SLOT_BYTES = 20;
const FRAMES = 6;
const GENERATION = 3;
const OUT_BYTES = 6000;
const ERRORS_OF_WALKS = [-2, -11, -28, -117];

const core = loadCore({ memoryPages: 8 });
const { bytes, exports, u32, view } = core;
const layout = new Layout(core);
const cache = layout.take(exports.cache_bytes(FRAMES), 64);
const path = layout.take(exports.path_bytes(), 8);
const out = layout.take(OUT_BYTES, 8);
const key = layout.take(24, 8);
const root = layout.take(48, 8);
const value = layout.take(PAGE_VALUE_MAX, 8);
// The last page ends with the memory: to read or write behind it traps.
const frames = bytes.length - FRAMES * PAGE_BYTES;

export function fuzzPage(random: Prng, steps: number): void {
  random.bytes(bytes.subarray(value, value + PAGE_VALUE_MAX));
  for (let step = 0; step < steps; step += 1) {
    if (step % 4 === 0) walkOver(random);
    else workOn(random);
  }
}

// --- pages ---

/** A number for a key: small, so that keys meet; sometimes the greatest. */
function someNumber(random: Prng): number {
  return random.below(16) === 0 ? 2 ** 53 : random.below(40);
}

function someLength(random: Prng): number {
  return random.below(8) === 0 ? random.below(PAGE_VALUE_MAX + 1) : random.below(64);
}

function insertAny(random: Prng, page: number, level: number): void {
  const [oid, type, offset] = [someNumber(random), random.below(256), someNumber(random)];
  const slot = exports.page_search(page, oid, type, offset);
  if (slot >= 0) return;
  const length = level > 0 ? 40 : someLength(random);
  const at = exports.page_insert(page, -slot - 1, oid, type, offset, length) >>> 0;
  if (at === 0) return;
  random.bytes(bytes.subarray(at, at + length));
  // Pointers among the pages of this cache, also upward and to themselves.
  if (level > 0) setPointer(random, at);
}

function setPointer(random: Prng, address: number): void {
  view.setUint32(address, 1 + random.below(FRAMES + 1), true);
  view.setUint32(address + 4, 0, true);
}

/** A valid page with up to as many items as fit. */
function buildPage(random: Prng, page: number, level: number): void {
  exports.page_init(page, level, random.below(256), GENERATION, 1 + random.below(FRAMES), 0);
  const items = Math.floor(2 ** (random.float() * 9));
  for (let item = 0; item < items; item += 1) insertAny(random, page, level);
  for (let item = 0; item < items >> 2; item += 1) {
    const count = view.getUint16(page + 14, true);
    if (count > 1) exports.page_remove(page, random.below(count));
  }
}

/** Changes some bytes, mostly where they mean something. */
function damage(random: Prng, page: number): void {
  const count = view.getUint16(page + 14, true);
  for (let change = Math.floor(2 ** (random.float() * 6)); change > 0; change -= 1) {
    const [start, length] = [
      [8, 56],
      [32, 4],
      [64, Math.min(count * SLOT_BYTES + 1, PAGE_BYTES - 64)],
      [64 + 16, Math.min(count * SLOT_BYTES + 1, PAGE_BYTES - 80)],
      [0, PAGE_BYTES],
    ][random.below(5)] as [number, number];
    const at = page + start + random.below(length);
    bytes[at] = random.below(2) === 0 ? random.below(256) : bytes[at]! ^ (1 << random.below(8));
  }
}

function anyPage(random: Prng, page: number, level: number): void {
  const kind = random.below(8);
  if (kind === 0) {
    random.bytes(bytes.subarray(page, page + PAGE_BYTES));
    view.setUint32(page + 8, 0x47504644, true);
    view.setUint8(page + 12, level);
    if (random.below(2) === 0) view.setUint16(page + 14, random.below(800), true);
    return;
  }
  buildPage(random, page, level);
  if (kind < 6) damage(random, page);
}

function workOn(random: Prng): void {
  const [page, spare] = [frames + (FRAMES - 1) * PAGE_BYTES, frames + 2 * PAGE_BYTES];
  const level = random.below(3);
  anyPage(random, page, level);
  const before = bytes.slice();
  const code = exports.page_validate(page, random.below(2) === 0 ? -1 : level);
  sameBut(before, [], "page_validate");
  assert(code >= 0 && code <= 10, `page_validate gives ${code}`);
  if (code !== 0) return;
  for (let round = 0; round < 30; round += 1) {
    if (operate(random, page, spare)) sameBut(before, [page, spare], "a page function");
  }
}

/** Does one random thing to a valid page. False when the page has become an empty one. */
function operate(random: Prng, page: number, spare: number): boolean {
  const level = view.getUint8(page + 12);
  const count = view.getUint16(page + 14, true);
  if (count === 0 && level > 0) return false;
  const choice = random.below(8);
  if (choice === 0 && count > 1) {
    exports.page_init(spare, level, 1, GENERATION, 4, 0);
    const left = exports.page_split(page, spare, random.below(count + 1));
    assert(left >= 1 && left < count, `split leaves ${left} of ${count}`);
    valid(spare, level);
    valid(page, level);
    if (level === 0 || random.below(2) === 0) {
      assert(exports.page_merge(page, spare) === 1, "halves cannot be merged");
      assert(view.getUint16(page + 14, true) === count, "a merge lost items");
    }
  } else if (choice === 1 && count > 1) {
    exports.page_remove(page, random.below(count));
  } else if (choice === 2 && count > 0) {
    const slot = random.below(count);
    const length = level > 0 ? 40 : someLength(random);
    const at = exports.page_replace(page, slot, length) >>> 0;
    if (at !== 0 && level === 0) random.bytes(bytes.subarray(at, at + length));
  } else if (choice === 3 && count > 0) {
    const slot = random.below(count);
    const at = exports.page_value(page, slot) >>> 0;
    const length = exports.page_value_length(page, slot);
    assert(at >= page && at + length <= page + PAGE_BYTES, "a value outside its page");
    exports.page_key(page, slot, key);
  } else if (choice === 4) {
    const sum = exports.page_live_bytes(page) + exports.page_free_bytes(page);
    assert(sum === PAGE_BYTES - 64, `live and free bytes are ${sum}`);
  } else {
    insertAny(random, page, level);
  }
  valid(page, level);
  return true;
}

function valid(page: number, level: number): void {
  const code = exports.page_validate(page, level);
  assert(code === 0, `a valid page has become invalid: ${code}`);
}

/** Compares the memory behind the layout's start, but for the records that results go to and some pages. */
function sameBut(before: Uint8Array, pages: readonly number[], what: string): void {
  const gaps = pages.map((page) => [page, page + PAGE_BYTES] as const);
  gaps.push([path, root]);
  gaps.sort(([a], [b]) => a - b);
  let from = core.staticEnd;
  for (const [start, end] of [...gaps, [bytes.length, bytes.length] as const]) {
    const same = Buffer.compare(before.subarray(from, start), bytes.subarray(from, start)) === 0;
    assert(same, `${what} wrote between ${from} and ${start}`);
    from = end;
  }
}

// --- walks ---

/** A cache of pages of any kind that point to each other in any way, and a root that names one of them. */
function walkOver(random: Prng): void {
  assert(exports.cache_init(cache, FRAMES, frames) === 0, "a cache");
  for (let frame = 0; frame < FRAMES; frame += 1) {
    anyPage(random, frames + frame * PAGE_BYTES, frame % 3);
    // One pointer leads nowhere: its page is missing.
    assert(exports.cache_add(cache, frame + 1, 0) === frame, "frames in order");
  }
  bytes.fill(0, root, root + 48);
  setPointer(random, root);
  view.setUint32(root + 40, random.below(16) === 0 ? random.u32() : random.below(4), true);
  for (let round = 0; round < 40; round += 1) {
    const before = bytes.slice();
    const changed = walk(random);
    const pages: number[] = [];
    for (let frame = 0; frame < FRAMES; frame += 1) {
      const page = frames + frame * PAGE_BYTES;
      const same = Buffer.compare(
        before.subarray(page, page + PAGE_BYTES),
        bytes.subarray(page, page + PAGE_BYTES),
      );
      if (same !== 0) pages.push(page);
    }
    assert(pages.length <= changed, `a walk changed ${pages.length} pages`);
    // The cache's table comes first: its flags may change, the walk after this would notice the rest.
    before.set(bytes.subarray(cache, path), cache);
    sameBut(before, pages, "a walk");
  }
}

/** A key of a slot, as it is there now, or any. */
function someKey(random: Prng): [number, number, number] {
  const page = frames + random.below(FRAMES) * PAGE_BYTES;
  const slot = page + 64 + random.below(view.getUint16(page + 14, true) + 1) * SLOT_BYTES;
  if (random.below(4) > 0 && slot + SLOT_BYTES <= page + PAGE_BYTES) {
    const [oid, tail] = [view.getBigUint64(slot, true), view.getBigUint64(slot + 8, true)];
    const offset = tail & ((1n << 56n) - 1n);
    const limit = 2n ** 53n;
    if (oid <= limit && offset <= limit) return [Number(oid), Number(tail >> 56n), Number(offset)];
  }
  return [someNumber(random), random.below(256), someNumber(random)];
}

/** @returns How many pages it may change. */
function walk(random: Prng): number {
  const [oid, type, offset] = someKey(random);
  const length = someLength(random);
  const generation = random.below(8) === 0 ? 4 : GENERATION;
  let status = 0;
  let changes = 0;
  switch (random.below(7)) {
    case 0:
      status = exports.tree_find(cache, root, path, oid, type, offset);
      break;
    case 1:
      status = exports.tree_seek(cache, root, path, oid, type, offset);
      break;
    case 2:
      status = exports.tree_seek_last(cache, root, path, oid, type, offset);
      break;
    case 3:
      if (random.below(4) === 0) {
        // A path that no walk made.
        const at = path + 4 * random.below(exports.path_bytes() / 4);
        u32[at >> 2] = random.below(2) === 0 ? random.u32() : random.below(FRAMES + 2);
      }
      for (let step = 0; step < 20 && status >= 0; step += 1) {
        status = exports.tree_step(cache, path, random.below(3) === 0 ? -1 : 1);
      }
      break;
    case 4: {
      const end = someNumber(random);
      const room = random.below(OUT_BYTES + 1);
      status = exports.tree_scan(
        cache,
        root,
        path,
        oid,
        type,
        offset,
        end,
        type,
        offset,
        out,
        room,
      );
      assert(status <= room / 24, `${status} entries in ${room} bytes`);
      break;
    }
    case 5:
      changes = 1;
      status = exports.tree_put_fast(
        cache,
        root,
        path,
        oid,
        type,
        offset,
        value,
        length,
        generation,
      );
      break;
    default:
      changes = 1;
      status = exports.tree_remove_fast(cache, root, path, oid, type, offset, generation);
  }
  assert(status >= 0 || ERRORS_OF_WALKS.includes(status), `a walk gives ${status}`);
  return changes;
}

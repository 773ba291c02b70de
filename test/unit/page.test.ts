import t from "tap";
import {
  EAGAIN,
  EBUSY,
  EEXIST,
  EINVAL,
  ENOENT,
  ENOMEM,
  ENOSPC,
  EUCLEAN,
} from "../../host/base/errno.ts";
import {
  ENTRY_VALUE,
  FRAME_DIRTY,
  FRAME_LOADING,
  FRAME_REFERENCED,
  FRAME_VALID,
  KEY_OFFSET,
  KEY_OID,
  KEY_TYPE,
  PAGE_BAD_HEAP,
  PAGE_BAD_KEY,
  PAGE_BAD_LEVEL,
  PAGE_BAD_MAGIC,
  PAGE_BAD_ORDER,
  PAGE_BAD_OVERLAP,
  PAGE_BAD_POINTER,
  PAGE_BAD_RESERVED,
  PAGE_BAD_SLOT_COUNT,
  PAGE_BAD_VALUE,
  PAGE_PROBLEMS,
  PAGE_VALUE_MAX,
  PATH_DEPTH,
  PATH_DEPTH_MAX,
  PATH_EXACT,
  PATH_KEY_OFFSET,
  PATH_KEY_OID,
  PATH_KEY_TYPE,
  PATH_LEAF_SLOT,
  PATH_LEVEL_BYTES,
  PATH_LEVELS,
  PATH_MISSING_POINTER,
} from "../../host/core/abi.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import { TreeDriver } from "../support/tree_driver.ts";

const PAGE_BYTES = 16384;
const FIRST_SLOT = 64;
const SLOT_BYTES = 20;
const core = loadCore({ memoryPages: 32 });
const { exports, view, bytes, f64, u32 } = core;
const layout = new Layout(core);
const page = layout.take(PAGE_BYTES, PAGE_BYTES);
const other = layout.take(PAGE_BYTES, PAGE_BYTES);
const key = layout.take(24, 8);
const value = layout.take(PAGE_VALUE_MAX, 8);
const out = layout.take(8192, 8);

function insert(oid: number, length: number, type = 1, offset = 0): number {
  const slot = -exports.page_search(page, oid, type, offset) - 1;
  return exports.page_insert(page, slot, oid, type, offset, length) >>> 0;
}

function keyAt(address: number, slot: number): [number, number, number] {
  exports.page_key(address, slot, key);
  return [f64[(key + KEY_OID) >> 3]!, u32[(key + KEY_TYPE) >> 2]!, f64[(key + KEY_OFFSET) >> 3]!];
}

/** A page with items of 40 bytes, oids 10, 20, 30 …, that validates. */
function filled(level: number, count: number): void {
  exports.page_init(page, level, 1, 5, 4, 0);
  for (let item = 1; item <= count; item += 1) {
    const at = exports.page_insert(page, item - 1, item * 10, 2, 7, 40) >>> 0;
    bytes.fill(item, at, at + 40);
  }
}

t.test("page_init: writes the header of the format and zeroes the rest", (t) => {
  bytes.fill(0xee, page, page + PAGE_BYTES);
  exports.page_init(page, 3, 200, 2 ** 40 + 1, 0x89abcdef, 0xffff0001);
  t.equal(view.getUint32(page + 8, true), 0x47504644);
  t.equal(view.getUint8(page + 12), 3);
  t.equal(view.getUint8(page + 13), 200);
  t.equal(view.getUint16(page + 14, true), 0);
  t.equal(view.getBigUint64(page + 16, true), 2n ** 40n + 1n);
  t.equal(view.getBigUint64(page + 24, true), 0xffff000189abcdefn);
  t.equal(view.getUint16(page + 32, true), PAGE_BYTES);
  t.equal(view.getUint16(page + 34, true), 0);
  t.ok(bytes.subarray(page + 36, page + PAGE_BYTES).every((byte) => byte === 0));
  t.throws(() => exports.page_init(page, 9, 1, 1, 4, 0), "levels end at 8");
  t.end();
});

t.test("page_insert: keeps slots as the format lays them out, keys exact to 2^53", (t) => {
  exports.page_init(page, 0, 1, 1, 4, 0);
  const at = insert(2 ** 53, 5, 255, 2 ** 53);
  t.equal(at, page + PAGE_BYTES - 5, "the first value ends the page");
  t.equal(insert(2 ** 53 - 1, 3, 0, 0), at - 3);
  t.equal(view.getBigUint64(page + FIRST_SLOT, true), 2n ** 53n - 1n, "sorted");
  t.equal(view.getBigUint64(page + FIRST_SLOT + 28, true), (255n << 56n) | (2n ** 53n));
  t.equal(view.getUint16(page + FIRST_SLOT + 36, true), PAGE_BYTES - 5);
  t.equal(view.getUint16(page + FIRST_SLOT + 38, true), 5);
  t.same(keyAt(page, 1), [2 ** 53, 255, 2 ** 53]);
  t.equal(exports.page_validate(page, 0), 0);
  t.equal(exports.page_live_bytes(page), 48);
  t.equal(exports.page_free_bytes(page), PAGE_BYTES - 64 - 48);
  t.end();
});

t.test("page_insert: traps on keys that are none, on disorder and on values too long", (t) => {
  exports.page_init(page, 0, 1, 1, 4, 0);
  insert(5, 1);
  for (const bad of [-1, 0.5, Number.NaN, 2 ** 53 + 2, Number.POSITIVE_INFINITY]) {
    t.throws(() => exports.page_insert(page, 1, bad, 1, 0, 1), `oid ${bad}`);
    t.throws(() => exports.page_insert(page, 1, 9, 1, bad, 1), `offset ${bad}`);
  }
  t.throws(() => exports.page_insert(page, 1, 9, 256, 0, 1), "type 256");
  t.throws(() => exports.page_insert(page, 1, 9, -1, 0, 1), "type −1");
  t.throws(() => exports.page_insert(page, 1, 4, 1, 0, 1), "lower key behind");
  t.throws(() => exports.page_insert(page, 0, 6, 1, 0, 1), "higher key before");
  t.throws(() => exports.page_insert(page, 1, 5, 1, 0, 1), "equal key");
  t.throws(() => exports.page_insert(page, 2, 9, 1, 0, 1), "slot behind the end");
  t.throws(() => exports.page_insert(page, 1, 9, 1, 0, PAGE_VALUE_MAX + 1), "value too long");
  t.throws(() => exports.page_value(page, 1), "no such slot");
  t.equal(view.getUint16(page + 14, true), 1, "nothing was inserted");
  t.end();
});

t.test("page_insert: takes dead bytes when the rest is too small, to the last byte", (t) => {
  exports.page_init(page, 0, 1, 1, 4, 0);
  for (let oid = 1; oid <= 3; oid += 1) insert(oid, 4200);
  const left = exports.page_free_bytes(page) - SLOT_BYTES;
  t.equal(insert(4, left + 1), 0, "one byte too many");
  t.not(insert(4, left), 0, "all that is left");
  t.equal(exports.page_free_bytes(page), 0);
  bytes.fill(0x44, exports.page_value(page, 3) >>> 0, (exports.page_value(page, 3) >>> 0) + left);
  exports.page_remove(page, 1);
  t.equal(exports.page_free_bytes(page), 4220);
  t.not(insert(2, 4200), 0, "gathers");
  t.equal(exports.page_free_bytes(page), 0);
  const kept = exports.page_value(page, 3) >>> 0;
  t.ok(
    bytes.subarray(kept, kept + left).every((byte) => byte === 0x44),
    "values move along",
  );
  t.equal(exports.page_validate(page, 0), 0);
  t.end();
});

t.test("page_replace: same length stays, shorter stays, longer moves or changes nothing", (t) => {
  filled(0, 3);
  const before = exports.page_value(page, 1) >>> 0;
  t.equal(exports.page_replace(page, 1, 40) >>> 0, before);
  t.equal(exports.page_replace(page, 1, 30) >>> 0, before);
  t.equal(exports.page_validate(page, 0), 0);
  t.equal(exports.page_live_bytes(page), 3 * 20 + 110);
  t.not(exports.page_replace(page, 1, 41) >>> 0, before);
  t.equal(exports.page_value_length(page, 1), 41);
  t.not(exports.page_replace(page, 1, 0), 0, "an empty value has an address too");
  t.equal(exports.page_validate(page, 0), 0);
  for (let oid = 100; insert(oid, 1000) !== 0; oid += 1);
  const copy = bytes.slice(page, page + PAGE_BYTES);
  t.equal(exports.page_replace(page, 0, 4000), 0);
  t.same(bytes.slice(page, page + PAGE_BYTES), copy, "nothing changed");
  t.end();
});

t.test("page_search: finds what is there, names where the rest goes", (t) => {
  filled(0, 3);
  const at = (oid: number, type = 2, offset = 7): number =>
    exports.page_search(page, oid, type, offset);
  t.same([at(10), at(20), at(30)], [0, 1, 2]);
  t.same([at(9), at(15), at(31)], [-1, -2, -4]);
  t.same([at(20, 1, 99), at(20, 2, 6), at(20, 2, 8), at(20, 3, 0)], [-2, -2, -3, -3]);
  filled(2, 3);
  t.same([at(10), at(20), at(30)], [-2, 1, 2], "slot 0 of an interior page has no key");
  t.same([at(0), at(15), at(31)], [-2, -2, -4]);
  t.end();
});

t.test("page_split: moves one item when appending, else half of the bytes", (t) => {
  filled(0, 200);
  exports.page_init(other, 0, 1, 5, 8, 0);
  t.equal(exports.page_split(page, other, 200), 199);
  t.same(keyAt(other, 0), [2000, 2, 7]);
  t.equal(exports.page_validate(page, 0), 0);
  t.equal(exports.page_validate(other, 0), 0);

  exports.page_init(page, 0, 1, 5, 4, 0);
  for (let oid = 1; oid <= 100; oid += 1) insert(oid, 10);
  for (let oid = 101; oid <= 103; oid += 1) insert(oid, 4200);
  exports.page_init(other, 0, 1, 5, 8, 0);
  t.equal(exports.page_split(page, other, 5), 101, "by bytes, not by count");
  for (const half of [page, other]) {
    t.equal(exports.page_validate(half, 0), 0);
    t.ok(exports.page_free_bytes(half) >= PAGE_VALUE_MAX + SLOT_BYTES, "room for any item");
  }

  filled(0, 1);
  exports.page_init(other, 0, 1, 5, 8, 0);
  t.equal(exports.page_split(page, other, 0), 1, "one item cannot be split");
  exports.page_init(other, 1, 1, 5, 8, 0);
  t.throws(() => exports.page_split(page, other, 0), "another level");
  t.end();
});

t.test("page_merge: all or nothing, in order only", (t) => {
  filled(0, 200);
  exports.page_init(other, 0, 1, 5, 8, 0);
  exports.page_split(page, other, 3);
  const right = bytes.slice(other, other + PAGE_BYTES);
  t.equal(exports.page_merge(other, page), 0, "keys not above");
  t.equal(exports.page_merge(page, other), 1);
  t.same(bytes.slice(other, other + PAGE_BYTES), right, "the right page stays");
  t.equal(view.getUint16(page + 14, true), 200);
  t.equal(exports.page_validate(page, 0), 0);
  for (let slot = 0; slot < 200; slot += 1) {
    const at = exports.page_value(page, slot) >>> 0;
    if (bytes[at] !== slot + 1) t.fail(`value of slot ${slot}`);
  }
  exports.page_init(other, 0, 1, 5, 8, 0);
  for (let oid = 0; oid < 80; oid += 1) exports.page_insert(other, oid, 9000 + oid, 1, 0, 40);
  const left = bytes.slice(page, page + PAGE_BYTES);
  t.equal(exports.page_merge(page, other), 0, "too much");
  t.same(bytes.slice(page, page + PAGE_BYTES), left, "nothing changed");
  t.end();
});

t.test("page_set_key: within its neighbours; the first of an interior page at will", (t) => {
  filled(0, 3);
  exports.page_set_key(page, 1, 29, 2, 7);
  t.same(keyAt(page, 1), [29, 2, 7]);
  t.throws(() => exports.page_set_key(page, 1, 30, 2, 7));
  t.throws(() => exports.page_set_key(page, 1, 10, 2, 7));
  filled(1, 3);
  exports.page_set_key(page, 0, 999, 0, 0);
  t.equal(exports.page_validate(page, 1), 0);
  t.throws(() => exports.page_insert(page, 0, 1, 0, 0, 40), "nothing before slot 0");
  t.end();
});

t.test("page_validate: names each broken rule", (t) => {
  const slot = (index: number, field: number): number =>
    page + FIRST_SLOT + index * SLOT_BYTES + field;
  const cases: [rule: number, level: number, breakIt: () => void][] = [
    [PAGE_BAD_MAGIC, 0, () => view.setUint8(page + 8, 0x45)],
    [PAGE_BAD_LEVEL, 0, () => view.setUint8(page + 12, 9)],
    [PAGE_BAD_SLOT_COUNT, 0, () => view.setUint16(page + 14, 817, true)],
    [PAGE_BAD_SLOT_COUNT, 1, () => exports.page_init(page, 1, 1, 1, 4, 0)],
    [PAGE_BAD_HEAP, 0, () => view.setUint16(page + 32, PAGE_BYTES + 1, true)],
    [PAGE_BAD_HEAP, 0, () => view.setUint16(page + 34, 1, true)],
    [PAGE_BAD_HEAP, 0, () => view.setUint16(page + 32, 1000, true)],
    [PAGE_BAD_HEAP, 0, () => view.setUint16(page + 14, 2, true)],
    [PAGE_BAD_VALUE, 0, () => view.setUint16(slot(1, 16), 100, true)],
    [PAGE_BAD_VALUE, 0, () => view.setUint16(slot(0, 18), 41, true)],
    [PAGE_BAD_VALUE, 0, () => view.setUint16(slot(1, 18), 0, true)],
    [PAGE_BAD_OVERLAP, 0, () => view.setUint16(slot(2, 16), PAGE_BYTES - 60, true)],
    [PAGE_BAD_ORDER, 0, () => view.setBigUint64(slot(1, 0), 10n, true)],
    [PAGE_BAD_ORDER, 1, () => view.setBigUint64(slot(2, 0), 20n, true)],
    [PAGE_BAD_KEY, 0, () => view.setBigUint64(slot(2, 0), 2n ** 53n + 1n, true)],
    [PAGE_BAD_KEY, 0, () => view.setUint8(slot(2, 14), 0x21)],
    [PAGE_BAD_POINTER, 1, () => view.setBigUint64(exports.page_value(page, 0) >>> 0, 0n, true)],
    [PAGE_BAD_POINTER, 1, () => exports.page_replace(page, 1, 39)],
    [PAGE_BAD_RESERVED, 0, () => view.setUint8(page + 36, 1)],
    [PAGE_BAD_RESERVED, 0, () => view.setUint8(page + 63, 1)],
  ];
  for (const [rule, level, breakIt] of cases) {
    filled(level, 3);
    t.equal(exports.page_validate(page, level), 0);
    breakIt();
    t.equal(exports.page_validate(page, -1), rule, PAGE_PROBLEMS[rule]!);
  }
  filled(0, 3);
  t.equal(exports.page_validate(page, 1), PAGE_BAD_LEVEL, "not the level expected");
  t.end();
});

t.test("page cache: a frame's life", (t) => {
  const cache = layout.take(exports.cache_bytes(4), 64);
  const frames = layout.take(4 * PAGE_BYTES, PAGE_BYTES);
  t.equal(exports.cache_bytes(0), 0);
  t.equal(exports.cache_bytes(2 ** 18 + 1), 0);
  t.equal(exports.cache_init(cache, 4, bytes.length - PAGE_BYTES), -EINVAL, "beyond the memory");
  t.equal(exports.cache_init(cache, 4, cache), -EINVAL, "frames over the table");
  t.throws(() => exports.cache_find(frames, 4, 0), "no cache there");
  t.equal(exports.cache_init(cache, 4, frames), 0);
  t.equal(exports.cache_free_count(cache), 4);
  t.equal(exports.cache_find(cache, 4, 0), -1);
  t.equal(exports.cache_add(cache, 0, 0), -EINVAL);

  for (let index = 0; index < 4; index += 1) {
    t.equal(exports.cache_add(cache, 4, index), index, "frames in order");
  }
  t.equal(exports.cache_add(cache, 4, 0), -EEXIST);
  t.equal(exports.cache_add(cache, 8, 0), -ENOMEM);
  t.equal(exports.cache_find(cache, 4, 2), 2, "both halves of the address count");
  t.equal(exports.cache_flags(cache, 2), FRAME_VALID | FRAME_REFERENCED);
  t.equal(exports.cache_frame_address(cache, 3), frames + 3 * PAGE_BYTES);
  t.equal(exports.cache_frame_of(cache, frames + 3 * PAGE_BYTES), 3);
  t.equal(exports.cache_frame_of(cache, frames + 8), -1);
  t.equal(exports.cache_frame_of(cache, frames - PAGE_BYTES), -1);
  t.equal(exports.cache_frame_of(cache, frames + 4 * PAGE_BYTES), -1);
  t.throws(() => exports.cache_flags(cache, 4), "no such frame");

  t.equal(exports.cache_set_flags(cache, 0, FRAME_DIRTY, 0) & FRAME_DIRTY, FRAME_DIRTY);
  t.equal(exports.cache_set_flags(cache, 1, FRAME_LOADING, 0) & FRAME_LOADING, FRAME_LOADING);
  t.equal(exports.cache_set_flags(cache, 1, FRAME_VALID, 0), -EINVAL);
  t.equal(exports.cache_pin(cache, 2), 1);
  t.equal(exports.cache_pin(cache, 2), 2);
  t.equal(exports.cache_dirty_count(cache), 1);
  t.equal(exports.cache_evict(cache), 3, "the only one that is not held");
  t.equal(exports.cache_find(cache, 4, 3), -1);
  t.equal(exports.cache_evict(cache), -1);
  t.equal(exports.cache_remove(cache, 3), -ENOENT);
  t.equal(exports.cache_set_flags(cache, 3, FRAME_DIRTY, 0), -ENOENT);
  t.equal(exports.cache_remove(cache, 2), -EBUSY);
  t.equal(exports.cache_unpin(cache, 2), 1);
  t.equal(exports.cache_evict(cache), -1, "still pinned");
  t.equal(exports.cache_unpin(cache, 2), 0);
  t.throws(() => exports.cache_unpin(cache, 2));
  t.equal(exports.cache_evict(cache), 2);

  t.equal(exports.cache_next_dirty(cache, 0), 0);
  t.equal(exports.cache_next_dirty(cache, 1), -1);
  t.equal(exports.cache_rekey(cache, 0, 4, 1), -EEXIST);
  t.equal(exports.cache_rekey(cache, 0, 0, 0), -EINVAL);
  t.equal(exports.cache_rekey(cache, 3, 12, 0), -ENOENT);
  t.equal(exports.cache_rekey(cache, 0, 12, 0), 0);
  t.equal(exports.cache_find(cache, 12, 0), 0);
  t.equal(exports.cache_find(cache, 4, 0), -1);
  t.equal(exports.cache_remove(cache, 0), 0, "dirty ones too, when the host says so");
  t.equal(exports.cache_dirty_count(cache), 0);
  t.equal(exports.cache_next_dirty(cache, 0), -1);
  t.equal(exports.cache_free_count(cache), 3);
  t.end();
});

t.test("page cache: CLOCK gives a second chance to what was used", (t) => {
  const cache = layout.take(exports.cache_bytes(3), 64);
  exports.cache_init(cache, 3, layout.take(3 * PAGE_BYTES, PAGE_BYTES));
  for (let index = 1; index <= 3; index += 1) exports.cache_add(cache, index * 4, 0);
  t.equal(exports.cache_evict(cache), 0, "after a turn that clears all marks");
  exports.cache_find(cache, 8, 0);
  t.equal(exports.cache_evict(cache), 2, "frame 1 was used since");
  t.equal(exports.cache_evict(cache), 1);
  t.equal(exports.cache_evict(cache), -1);
  t.end();
});

t.test("walks: a tree of one leaf, and its ends", (t) => {
  const driver = new TreeDriver({ core, layout, frameCount: 4 });
  const { cache, root, path } = driver;
  t.equal(driver.find(1, 1, 1), 0, "an empty tree");
  t.equal(exports.tree_seek(cache, root, path, 0, 0, 0), 0);
  t.equal(exports.tree_seek_last(cache, root, path, 2 ** 53, 255, 2 ** 53), 0);
  t.equal(driver.remove(1, 1, 1), false);

  for (const oid of [10, 20, 30]) {
    bytes.fill(oid, value, value + 9);
    t.equal(driver.put(oid, 1, 0, value, 9), true);
  }
  t.equal(driver.put(20, 1, 0, value, 9), false, "replaced");
  t.equal(driver.find(20, 1, 0), 1);
  t.equal(u32[(path + PATH_EXACT) >> 2], 1);
  t.equal(u32[(path + PATH_DEPTH) >> 2], 1);
  t.equal(driver.find(25, 1, 0), 0);
  t.equal(u32[(path + PATH_EXACT) >> 2], 0);
  t.equal(u32[(path + PATH_LEAF_SLOT) >> 2], 2, "where it would go");

  const oid = (): number => f64[(path + PATH_KEY_OID) >> 3]!;
  t.equal(exports.tree_seek(cache, root, path, 11, 0, 0), 1);
  t.equal(oid(), 20);
  t.equal(exports.tree_step(cache, path, 1), 1);
  t.equal(oid(), 30);
  t.equal(exports.tree_step(cache, path, 1), 0, "behind the last");
  t.equal(exports.tree_step(cache, path, -1), 1);
  t.equal(oid(), 30, "a step back returns to it");
  t.equal(exports.tree_seek_last(cache, root, path, 9, 0, 0), 0);
  t.equal(exports.tree_step(cache, path, 1), 1);
  t.equal(oid(), 10);
  t.equal(exports.tree_step(cache, path, -1), 0);
  t.equal(exports.tree_step(cache, path, 2), -EUCLEAN, "no direction");

  t.equal(
    exports.tree_put_fast(cache, root, path, 40, 1, 0, value, PAGE_VALUE_MAX + 1, 7),
    -EINVAL,
  );
  t.equal(exports.tree_put_fast(cache, root, path, 40, 1, 0, value, 9, 8), 0, "born earlier");
  t.equal(exports.tree_remove_fast(cache, root, path, 10, 1, 0, 8), 0);
  t.equal(exports.tree_remove_fast(cache, root, path, 11, 1, 0, 7), -ENOENT);
  t.equal(exports.tree_remove_fast(cache, root, path, 10, 1, 0, 7), 1);
  t.equal(exports.tree_remove_fast(cache, root, path, 20, 1, 0, 7), 1);
  t.equal(exports.tree_remove_fast(cache, root, path, 30, 1, 0, 7), 0, "the last one stays");
  t.same(driver.check(), { entries: 1, pages: 1 });
  t.end();
});

t.test("tree_scan: names where to continue", (t) => {
  const driver = new TreeDriver({ core, layout, frameCount: 4 });
  const { cache, root, path } = driver;
  for (let oid = 1; oid <= 5; oid += 1) driver.put(oid, 3, oid * 2, value, 9);
  const scan = (start: number, end: number, capacity: number): number =>
    exports.tree_scan(cache, root, path, start, 0, 0, end, 0, 0, out, capacity);
  const next = (): number[] => [
    f64[(path + PATH_KEY_OID) >> 3]!,
    u32[(path + PATH_KEY_TYPE) >> 2]!,
    f64[(path + PATH_KEY_OFFSET) >> 3]!,
  ];
  t.equal(scan(2, 5, 8192), 3, "the end is not in");
  t.same(next(), [5, 0, 0], "the end's key: no more");
  t.equal(f64[out >> 3], 2);
  t.equal(u32[(out + 8) >> 2], 3);
  t.equal(u32[(out + 12) >> 2], 9);
  t.equal(f64[(out + 16) >> 3], 4);
  t.same(bytes.slice(out + ENTRY_VALUE, out + ENTRY_VALUE + 9), bytes.slice(value, value + 9));
  t.equal(f64[(out + 40) >> 3], 3, "the next entry at a multiple of 8");
  bytes.fill(0xaa, out, out + 8192);
  t.equal(scan(1, 9, 119), 2, "the third would need 120 bytes");
  t.same(next(), [3, 3, 6]);
  t.ok(bytes.subarray(out + 80, out + 8192).every((byte) => byte === 0xaa));
  t.equal(scan(1, 9, 39), -ENOSPC);
  t.equal(scan(6, 9, 0), 0, "nothing there needs no room");
  t.equal(scan(4, 4, 8192), 0);
  t.end();
});

t.test("walks: damage is EUCLEAN, a page that is not there EAGAIN", (t) => {
  const driver = new TreeDriver({ core, layout, frameCount: 8 });
  const { cache, root, path } = driver;
  for (let oid = 1; oid <= 600; oid += 1) driver.put(oid, 1, 0, value, 40);
  t.equal(driver.rootLevel, 1);
  const find = (): number => driver.find(300, 1, 0);
  t.equal(find(), 1);
  const top = driver.pageAt(0);
  const leaf = driver.pageAt(1);
  const leafFrame = exports.cache_frame_of(cache, leaf);

  const pointer = exports.page_value(top, u32[(path + PATH_LEVELS + 4) >> 2]!) >>> 0;
  exports.cache_set_flags(cache, leafFrame, FRAME_LOADING, 0);
  t.equal(find(), -EAGAIN, "still being read");
  t.equal(u32[(path + PATH_MISSING_POINTER) >> 2], pointer);
  exports.cache_set_flags(cache, leafFrame, 0, FRAME_LOADING);
  const root0 = view.getUint32(root, true);
  view.setUint32(root, 0xfffff, true);
  t.equal(find(), -EAGAIN);
  t.equal(u32[(path + PATH_MISSING_POINTER) >> 2], root, "the root's own pointer");
  view.setUint32(root, 0, true);
  t.equal(find(), -EUCLEAN, "no pointer at all");
  view.setUint32(root, root0, true);

  for (const level of [0, 2, 9, 0xffffffff]) {
    view.setUint32(root + 40, level, true);
    t.equal(find(), -EUCLEAN, `root recorded at level ${level}`);
  }
  view.setUint32(root + 40, 1, true);
  const withByte = (address: number, byte: number, run: () => void): void => {
    const before = bytes[address]!;
    bytes[address] = byte;
    run();
    bytes[address] = before;
  };
  withByte(leaf + 12, 1, () => t.equal(find(), -EUCLEAN, "a leaf that says level 1"));
  withByte(leaf + 8, 0, () => t.equal(find(), -EUCLEAN, "no magic"));
  withByte(leaf + 15, 0xff, () => t.equal(find(), -EUCLEAN, "too many slots"));
  withByte(top + 14, 0, () =>
    withByte(top + 15, 0, () => t.equal(find(), -EUCLEAN, "no children")),
  );
  t.equal(find(), 1);
  const slot = u32[(path + PATH_LEAF_SLOT) >> 2]!;
  withByte(leaf + FIRST_SLOT + slot * SLOT_BYTES + 17, 0xff, () => {
    t.equal(find(), -EUCLEAN, "a value outside its page");
    t.equal(exports.tree_put_fast(cache, root, path, 300, 1, 0, value, 50, 7), -EUCLEAN);
    t.equal(exports.tree_remove_fast(cache, root, path, 300, 1, 0, 7), -EUCLEAN);
  });
  t.equal(find(), 1);
  t.equal(exports.path_bytes(), PATH_LEVELS + PATH_DEPTH_MAX * PATH_LEVEL_BYTES);
  u32[(path + PATH_DEPTH) >> 2] = 10;
  t.equal(exports.tree_step(cache, path, 1), -EUCLEAN, "a path that cannot be");
  t.end();
});

import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import {
  KEY_OFFSET,
  KEY_OID,
  KEY_TYPE,
  PAGE_PROBLEMS,
  PAGE_VALUE_MAX,
} from "../../host/core/abi.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
t.comment(`SEED=${seed}`);

const PAGE_BYTES = 16384;
const STEPS = 6000;
const CANARY = 0xc5;
const CANARY_BYTES = 64;
const ROOM = PAGE_BYTES - 64;

const core = loadCore({ memoryPages: 8 });
const { exports, bytes, f64, u32, view } = core;
const layout = new Layout(core);
const key = layout.take(24, 8);
const guardedBytes = PAGE_BYTES + 2 * CANARY_BYTES;
const areas = [layout.take(guardedBytes, 64), layout.take(guardedBytes, 64)] as const;

interface Item {
  readonly oid: number;
  readonly type: number;
  readonly offset: number;
  value: Uint8Array;
}

/** A page and what it should hold. */
interface Pair {
  readonly area: number;
  readonly page: number;
  items: Item[];
}

function compare(a: Item, b: Item): number {
  return a.oid - b.oid || a.type - b.type || a.offset - b.offset;
}

function bytesOf(items: readonly Item[]): number {
  return items.reduce((sum, { value }) => sum + 20 + value.length, 0);
}

function start(area: number, level: number): Pair {
  bytes.fill(CANARY, area, area + guardedBytes);
  const page = area + CANARY_BYTES;
  exports.page_init(page, level, 1, 1, 4, 0);
  return { area, page, items: [] };
}

/** Why a page does not hold what it should, or null. */
function problem({ area, page, items }: Pair, level: number): string | null {
  const code = exports.page_validate(page, level);
  // An interior page that has just been made is empty, which is not valid on disk.
  if (code !== 0 && !(level > 0 && items.length === 0)) return `invalid: ${PAGE_PROBLEMS[code]}`;
  const end = area + CANARY_BYTES + PAGE_BYTES;
  for (let at = 0; at < CANARY_BYTES; at += 1) {
    if (bytes[area + at] !== CANARY || bytes[end + at] !== CANARY) return "a write outside";
  }
  if (view.getUint16(page + 14, true) !== items.length) return "wrong count";
  if (exports.page_live_bytes(page) !== bytesOf(items)) return "wrong live bytes";
  if (exports.page_free_bytes(page) !== ROOM - bytesOf(items)) return "wrong free bytes";
  for (const [slot, item] of items.entries()) {
    exports.page_key(page, slot, key);
    const same =
      f64[(key + KEY_OID) >> 3] === item.oid &&
      u32[(key + KEY_TYPE) >> 2] === item.type &&
      f64[(key + KEY_OFFSET) >> 3] === item.offset;
    if (!same) return `wrong key at slot ${slot}`;
    if (exports.page_value_length(page, slot) !== item.value.length) return "wrong length";
    const at = exports.page_value(page, slot) >>> 0;
    if (!Buffer.from(item.value).equals(bytes.subarray(at, at + item.value.length))) {
      return `wrong value at slot ${slot}`;
    }
  }
  return null;
}

/** Small numbers so that keys are often equal, now and then the greatest. */
function someKey(random: Prng): { oid: number; type: number; offset: number } {
  const number = (): number => (random.below(20) === 0 ? 2 ** 53 : random.below(12));
  return { oid: number(), type: random.below(3) * 127, offset: number() };
}

function someValue(random: Prng, level: number, longest: number): Uint8Array {
  const length = random.below(12) === 0 ? random.below(longest + 1) : random.below(80);
  const value = new Uint8Array(level > 0 ? 40 : length);
  random.bytes(value);
  // A page pointer's first copy is not 0.
  if (level > 0) value[0] = value[0]! | 1;
  return value;
}

function put(pair: Pair, item: Item, level: number): string | null {
  const { page, items } = pair;
  const found = exports.page_search(page, item.oid, item.type, item.offset);
  const first = level > 0 && items.length > 0 ? 1 : 0;
  const before = items.slice(first).filter((other) => compare(other, item) < 0).length + first;
  const exact = items.slice(first).find((other) => compare(other, item) === 0);
  if (found !== (exact === undefined ? -before - 1 : before)) return `search says ${found}`;
  const used = bytesOf(items) - (exact === undefined ? -20 : exact.value.length);
  const fits = used + item.value.length <= ROOM;
  const at =
    exact === undefined
      ? exports.page_insert(page, before, item.oid, item.type, item.offset, item.value.length)
      : exports.page_replace(page, before, item.value.length);
  if ((at !== 0) !== fits) return `room: ${fits}, but ${at}`;
  if (!fits) return null;
  bytes.set(item.value, at >>> 0);
  if (exact === undefined) items.splice(before, 0, item);
  else exact.value = item.value;
  return null;
}

function split(from: Pair, to: Pair, level: number, append: boolean): string | null {
  Object.assign(to, start(to.area, level));
  const { items } = from;
  const slot = append ? items.length : Math.min(1, Math.max(0, items.length - 1));
  const left = exports.page_split(from.page, to.page, slot);
  if (items.length < 2) return left === items.length ? null : "split an item";
  if (left < 1 || left >= items.length) return `split leaves ${left} of ${items.length}`;
  to.items = items.splice(left);
  if (append) return to.items.length === 1 ? null : "appending moves one item";
  const largest = [...items, ...to.items].reduce(
    (most, { value }) => Math.max(most, value.length),
    0,
  );
  const difference = Math.abs(bytesOf(items) - bytesOf(to.items));
  return difference <= largest + 21 ? null : `halves differ by ${difference}`;
}

function merge(left: Pair, right: Pair, level: number): string | null {
  const last = left.items.at(-1);
  const next = right.items[0];
  const second = right.items[1];
  const inOrder = (a: Item | undefined, b: Item | undefined): boolean =>
    a === undefined || b === undefined || compare(a, b) < 0;
  // In an interior page the first key does not count, until it is behind another item.
  const counts = level === 0 || left.items.length > 1;
  const ordered =
    (!counts || inOrder(last, next)) && (left.items.length === 0 || inOrder(next, second));
  const fits = bytesOf(left.items) + bytesOf(right.items) <= ROOM;
  const merged = exports.page_merge(left.page, right.page);
  if (merged !== Number(ordered && fits)) return `merge says ${merged}`;
  if (merged === 1) left.items.push(...right.items.map((item) => ({ ...item })));
  return null;
}

for (const [level, longest] of [
  [0, 300],
  [0, PAGE_VALUE_MAX],
  [3, 40],
] as const) {
  t.test(`page: any operations equal a sorted array; level ${level}, to ${longest} bytes`, (t) => {
    const random = new Prng(seed + longest);
    const [a, b] = [start(areas[0], level), start(areas[1], level)];
    let step = 0;
    for (; step < STEPS; step += 1) {
      const [pair, other] = random.below(5) > 0 ? [a, b] : [b, a];
      // More is put than removed for a while, then the other way round.
      const filling = (step >> 9) % 2 === 0;
      const choice = random.below(100);
      let what = "put";
      let found: string | null = null;
      if (choice < 2) {
        what = "split";
        found = split(pair, other, level, random.below(2) === 0);
      } else if (choice < 4) {
        what = "merge";
        found = merge(pair, other, level);
      } else if (choice < (filling ? 30 : 60)) {
        what = "remove";
        if (pair.items.length > 0) {
          const slot = random.below(pair.items.length);
          exports.page_remove(pair.page, slot);
          pair.items.splice(slot, 1);
        }
      } else {
        found = put(pair, { ...someKey(random), value: someValue(random, level, longest) }, level);
      }
      found ??= problem(a, level) ?? problem(b, level);
      if (found !== null) {
        t.fail(`step ${step}, ${what}: ${found}`);
        break;
      }
    }
    t.equal(step, STEPS);
    t.end();
  });
}

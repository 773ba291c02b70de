import t from "tap";
import { EAGAIN } from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import {
  ENTRY_OFFSET,
  ENTRY_OID,
  ENTRY_TYPE,
  ENTRY_VALUE,
  ENTRY_VALUE_LENGTH,
  PATH_KEY_OFFSET,
  PATH_KEY_OID,
  PATH_KEY_TYPE,
  PATH_MISSING_POINTER,
  PATH_VALUE_ADDRESS,
  PATH_VALUE_LENGTH,
} from "../../host/core/abi.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import { PAGE_BYTES, TreeDriver } from "../support/tree_driver.ts";

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
t.comment(`SEED=${seed}`);

const OPERATIONS = 200_000;
const FRAMES = 6000;
const TYPES = 4;
const OFFSETS = 64;

interface Key {
  readonly oid: number;
  readonly type: number;
  readonly offset: number;
}

interface Entry extends Key {
  /** What the value is made from, and its length. */
  stamp: number;
  length: number;
}

function compare(a: Key, b: Key): number {
  return a.oid - b.oid || a.type - b.type || a.offset - b.offset;
}

/** A number for a key, for the map. */
function nameOf({ oid, type, offset }: Key): number {
  return (oid * TYPES + type) * OFFSETS + offset;
}

/** One tree and its model. */
class Subject {
  readonly core = loadCore({ memoryPages: 16 + FRAMES / 4 + 8 });
  readonly layout = new Layout(this.core);
  readonly value = this.layout.take(4200, 8);
  readonly out = this.layout.take(65_536, 8);
  readonly driver = new TreeDriver({ core: this.core, layout: this.layout, frameCount: FRAMES });
  readonly model = new Map<number, Entry>();

  put(entry: Entry): string | null {
    const { core, value, model } = this;
    core.bytes.fill(entry.stamp & 0xff, value, value + entry.length);
    if (entry.length >= 4) core.view.setUint32(value, entry.stamp, true);
    const fresh = this.driver.put(entry.oid, entry.type, entry.offset, value, entry.length);
    const name = nameOf(entry);
    if (fresh === model.has(name)) return `put says ${fresh ? "new" : "replaced"}`;
    model.set(name, entry);
    return null;
  }

  remove(key: Key): string | null {
    const removed = this.driver.remove(key.oid, key.type, key.offset);
    return removed === this.model.delete(nameOf(key)) ? null : `remove says ${removed}`;
  }

  /** Whether a value is the one that an entry was put with. */
  isValue(entry: Entry, address: number, length: number): boolean {
    const { core } = this;
    if (length !== entry.length) return false;
    if (length >= 4 && core.view.getUint32(address, true) !== entry.stamp) return false;
    return length <= 4 || core.bytes[address + length - 1] === (entry.stamp & 0xff);
  }

  /** Whether the path's entry is this one. */
  isAt(entry: Entry): boolean {
    const { f64, u32 } = this.core;
    const { path } = this.driver;
    return (
      f64[(path + PATH_KEY_OID) >> 3] === entry.oid &&
      u32[(path + PATH_KEY_TYPE) >> 2] === entry.type &&
      f64[(path + PATH_KEY_OFFSET) >> 3] === entry.offset &&
      this.isValue(
        entry,
        u32[(path + PATH_VALUE_ADDRESS) >> 2]!,
        u32[(path + PATH_VALUE_LENGTH) >> 2]!,
      )
    );
  }

  find(key: Key): string | null {
    const status = this.driver.find(key.oid, key.type, key.offset);
    const entry = this.model.get(nameOf(key));
    if (status !== Number(entry !== undefined)) return `find says ${status}`;
    return entry === undefined || this.isAt(entry) ? null : "find gives another entry";
  }

  sorted(): Entry[] {
    return [...this.model.values()].sort(compare);
  }

  /** Scans a range in batches and compares it. */
  scan(entries: readonly Entry[], from: Key, end: Key, capacity: number): string | null {
    const { exports, f64, u32 } = this.core;
    const { cache, root, path } = this.driver;
    const { out } = this;
    let index = lowerBound(entries, from);
    const last = Math.max(index, lowerBound(entries, end));
    let { oid, type, offset } = from;
    for (;;) {
      const count = exports.tree_scan(
        cache,
        root,
        path,
        oid,
        type,
        offset,
        end.oid,
        end.type,
        end.offset,
        out,
        capacity,
      );
      if (count < 0) return `scan: ${count}`;
      let at = out;
      for (let copied = 0; copied < count; copied += 1) {
        const entry = entries[index];
        const length = u32[(at + ENTRY_VALUE_LENGTH) >> 2]!;
        const same =
          entry !== undefined &&
          index < last &&
          f64[(at + ENTRY_OID) >> 3] === entry.oid &&
          u32[(at + ENTRY_TYPE) >> 2] === entry.type &&
          f64[(at + ENTRY_OFFSET) >> 3] === entry.offset &&
          this.isValue(entry, at + ENTRY_VALUE, length);
        if (!same) return `scan gives another entry at ${index}`;
        index += 1;
        at += ENTRY_VALUE + Math.ceil(length / 8) * 8;
      }
      if (at > out + capacity) return "scan writes beyond its room";
      const next = {
        oid: f64[(path + PATH_KEY_OID) >> 3]!,
        type: u32[(path + PATH_KEY_TYPE) >> 2]!,
        offset: f64[(path + PATH_KEY_OFFSET) >> 3]!,
      };
      if (compare(next, end) >= 0)
        return index === last ? null : `scan ends at ${index} of ${last}`;
      if (count === 0) return "scan does not go on";
      ({ oid, type, offset } = next);
    }
  }

  /** Seeks both ways and steps, against the sorted entries. */
  seek(entries: readonly Entry[], key: Key, steps: number): string | null {
    const { exports } = this.core;
    const { cache, root, path } = this.driver;
    const exact = this.model.has(nameOf(key));
    const above = lowerBound(entries, key);
    for (const direction of [1, -1]) {
      const walk = direction > 0 ? exports.tree_seek : exports.tree_seek_last;
      let index = direction > 0 || exact ? above : above - 1;
      let status = walk(cache, root, path, key.oid, key.type, key.offset);
      for (let step = 0; step < steps; step += 1) {
        const entry = entries[index];
        if (status !== Number(entry !== undefined)) return `step ${step}: ${status}`;
        if (entry === undefined) {
          // Beyond an end: a step back comes to the entry there.
          const end = entries.at(direction > 0 ? -1 : 0);
          const back = exports.tree_step(cache, path, -direction);
          if (back !== Number(end !== undefined)) return `step back from an end: ${back}`;
          return end === undefined || this.isAt(end) ? null : "step back gives another entry";
        }
        if (!this.isAt(entry)) return `step ${step} gives another entry`;
        status = exports.tree_step(cache, path, direction);
        index += direction;
      }
    }
    return null;
  }
}

function lowerBound(entries: readonly Entry[], key: Key): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(entries[middle]!, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function someLength(random: Prng): number {
  const choice = random.below(100);
  return choice === 0 ? random.below(4201) : choice < 20 ? random.below(16) : random.below(500);
}

t.test("tree: any operations equal a sorted map", (t) => {
  const random = new Prng(seed);
  const subject = new Subject();
  // The key space shrinks and grows with the phases, so that the tree gains and loses levels.
  let oids = 2500;
  const someKey = (): Key => ({
    oid: random.below(oids),
    type: random.below(TYPES),
    offset: random.below(OFFSETS),
  });
  let found: string | null = null;
  let [levels, deepest] = [0, 0];
  for (let step = 0; step < OPERATIONS && found === null; step += 1) {
    const phase = Math.floor(step / 25_000) % 4;
    if (step % 25_000 === 0) oids = [2500, 2500, 40, 2500][phase]!;
    const puts = phase === 1 ? 30 : phase === 2 ? 20 : 65;
    const choice = random.below(100);
    if (choice < puts) {
      found = subject.put({ ...someKey(), stamp: random.u32(), length: someLength(random) });
    } else if (choice < 90) {
      // Misses change nothing: removing takes the keys that are there, mostly.
      let key: Key = someKey();
      for (let tries = 0; tries < 20 && !subject.model.has(nameOf(key)); tries += 1)
        key = someKey();
      found = subject.remove(key);
    } else {
      found = subject.find(someKey());
    }
    if (phase === 2 && step % 25_000 === 0) {
      // Nearly everything goes, in a random order.
      const all = subject.sorted();
      for (let at = all.length - 1; at > 0; at -= 1) {
        const other = random.below(at + 1);
        [all[at], all[other]] = [all[other]!, all[at]!];
      }
      for (const entry of all.slice(0, all.length - random.below(3)))
        found ??= subject.remove(entry);
      levels = subject.driver.rootLevel;
    }
    deepest = Math.max(deepest, subject.driver.rootLevel);
    if (step % 20_000 === 19_999 && found === null) {
      const { entries } = subject.driver.check();
      const sorted = subject.sorted();
      if (entries !== sorted.length) found = `${entries} entries of ${sorted.length}`;
      found ??= subject.scan(
        sorted,
        { oid: 0, type: 0, offset: 0 },
        { oid: 1e9, type: 0, offset: 0 },
        65_536,
      );
      for (let round = 0; round < 40; round += 1) {
        found ??= subject.scan(sorted, someKey(), someKey(), 4224 + random.below(9000));
        found ??= subject.seek(sorted, someKey(), 1 + random.below(400));
        found ??= subject.find(sorted[random.below(sorted.length)] ?? someKey());
      }
    }
    if (found !== null) t.fail(`step ${step}: ${found}`);
  }
  const { splits, merges } = subject.driver;
  t.comment(`${subject.model.size} entries left, ${splits} splits, ${merges} merges`);
  t.equal(deepest, 2, "the tree had three levels");
  t.equal(levels, 0, "and one when nearly empty");
  t.ok(splits > 100 && merges > 100, "splits and merges happened");
  t.end();
});

t.test("tree: ascending and descending inserts, each order of keys found", (t) => {
  for (const direction of [1, -1]) {
    const subject = new Subject();
    let found: string | null = null;
    for (let index = 0; index < 60_000; index += 1) {
      const at = direction > 0 ? index : 60_000 - index;
      const key = { oid: at >> 8, type: (at >> 6) & 3, offset: at & 63 };
      found ??= subject.put({ ...key, stamp: at, length: 40 });
    }
    const sorted = subject.sorted();
    const { pages } = subject.driver.check();
    found ??= subject.scan(
      sorted,
      { oid: 0, type: 0, offset: 0 },
      { oid: 1e9, type: 0, offset: 0 },
      9000,
    );
    found ??= subject.seek(sorted, { oid: 0, type: 0, offset: 0 }, 70_000);
    t.equal(found, null);
    const full = (sorted.length * 60) / (16_320 * pages);
    if (direction > 0) t.ok(full > 0.97, `pages filled in order are full: ${full.toFixed(3)}`);
  }
  t.end();
});

t.test(
  "tree: without a page a walk says which, changes nothing, and goes on when it is back",
  (t) => {
    const random = new Prng(seed + 1);
    const subject = new Subject();
    const { core, driver, out } = subject;
    const { exports, bytes, u32, view } = core;
    const { cache, root, path } = driver;
    for (let step = 0; step < 40_000; step += 1) {
      subject.put({
        oid: random.below(2500),
        type: random.below(TYPES),
        offset: random.below(OFFSETS),
        stamp: step,
        length: 40,
      });
    }
    const sorted = subject.sorted();
    /** Every page but the root, taken out and put back elsewhere. */
    for (let round = 0; round < 300; round += 1) {
      const { oid, type, offset } = sorted[random.below(sorted.length)]!;
      if (driver.find(oid, type, offset) !== 1) t.fail("an entry is missing");
      const depth = 1 + random.below(driver.rootLevel);
      const page = driver.pageAt(depth);
      const frame = exports.cache_frame_of(cache, page);
      const low = view.getUint32(page + 24, true);
      const image = bytes.slice(page, page + PAGE_BYTES);
      exports.cache_remove(cache, frame);
      bytes.fill(0xdd, page, page + PAGE_BYTES);

      const statuses = [
        driver.find(oid, type, offset),
        exports.tree_seek(cache, root, path, oid, type, offset),
        exports.tree_seek_last(cache, root, path, oid, type, offset),
        exports.tree_put_fast(cache, root, path, oid, type, offset, out, 8, driver.generation),
        exports.tree_remove_fast(cache, root, path, oid, type, offset, driver.generation),
        exports.tree_scan(cache, root, path, oid, type, offset, oid + 1, 0, 0, out, 9000),
      ];
      const pointer = u32[(path + PATH_MISSING_POINTER) >> 2]!;
      const named = view.getUint32(pointer, true);
      // A scan and steps from before come to the missing page: they stop before it and lose nothing.
      const steps = stepInto(subject);
      const scanned = scanInto(subject, low);

      const back = exports.cache_add(cache, low, 0);
      bytes.set(image, exports.cache_frame_address(cache, back) >>> 0);
      const ok =
        statuses.every((status) => status === -EAGAIN) &&
        named === low &&
        steps === -EAGAIN &&
        scanned === null;
      if (!ok) {
        t.fail(`round ${round}: ${statuses}, pointer to ${named} not ${low}, ${steps}, ${scanned}`);
        break;
      }
    }
    t.equal(driver.check().entries, sorted.length);
    t.end();

    /** Steps from the first entry to where a page is missing. */
    function stepInto({ core, driver }: Subject): number {
      let status = core.exports.tree_seek(driver.cache, driver.root, driver.path, 0, 0, 0);
      while (status === 1) status = core.exports.tree_step(driver.cache, driver.path, 1);
      return status;
    }

    /** Scans from the first entry to where a page is missing, then puts it to the test that nothing was left out. */
    function scanInto({ core, driver, out }: Subject, low: number): string | null {
      const { exports, f64, u32, view } = core;
      const { cache, root, path } = driver;
      let [oid, type, offset] = [0, 0, 0];
      let index = 0;
      for (;;) {
        const count = exports.tree_scan(
          cache,
          root,
          path,
          oid,
          type,
          offset,
          1e9,
          0,
          0,
          out,
          65_536,
        );
        if (count === -EAGAIN) break;
        if (count <= 0) return `scan: ${count}`;
        index += count;
        oid = f64[(path + PATH_KEY_OID) >> 3]!;
        type = u32[(path + PATH_KEY_TYPE) >> 2]!;
        offset = f64[(path + PATH_KEY_OFFSET) >> 3]!;
      }
      const before = sorted[index - 1];
      const next = sorted[index];
      if (before !== undefined && compare(before, { oid, type, offset }) >= 0) return "goes back";
      if (next === undefined || compare(next, { oid, type, offset }) < 0) return "leaves out";
      return view.getUint32(u32[(path + PATH_MISSING_POINTER) >> 2]!, true) === low
        ? null
        : "pointer";
    }
  },
);

/**
 * The tree that volumes use (host/store/tree.ts) over its pages, from checkpoint to checkpoint, against a plain map: deep
 * trees of few large items a leaf, in and out of order. After every stretch each page is looked at: bounds that the
 * separators above set, order, fill, what is immutable, and that exactly the pages of the tree occupy space.
 */
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import type { Core } from "../../host/core/core.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import { type Geometry, PAGE_BLOCKS, PAGE_BYTES } from "../../host/format/geometry.ts";
import {
  addressBlock,
  PAGE_GENERATION,
  PAGE_SLOT_COUNT,
  POINTER_CHECKSUM,
  POINTER_GENERATION,
  ROOT_LEVEL,
} from "../../host/format/page_pointer.ts";
import type { Pool } from "../../host/pool/pool.ts";
import {
  compareKeys,
  type PageKey,
  PageStore,
  type SealedPage,
} from "../../host/store/page_store.ts";
import type { Space } from "../../host/store/space.ts";
import { Tree } from "../../host/store/tree.ts";

const seed = Number(process.env["SEED"] ?? 4711);
t.comment(`SEED=${seed}`);

const FRAMES = 4000;
const TYPES = 3;
/** Of a leaf's items: four or five fill it. */
const LARGE_BYTES = 3200;
const HEADER_BYTES = 64;

/**
 * Addresses for pages; what is freed twice, or was never taken, is noticed. As on disk, what a checkpoint knew is used again
 * after the next one only, and then soon.
 */
class PageAddresses {
  readonly taken = new Set<number>();
  readonly #again: number[] = [];
  #pending: number[] = [];
  #closing: number[] = [];
  #next = PAGE_BLOCKS;
  reused = 0;

  takePage(): number {
    const old = this.#again.shift();
    if (old !== undefined) this.reused++;
    const block = old ?? this.#next;
    if (old === undefined) this.#next += PAGE_BLOCKS;
    this.taken.add(block);
    return block;
  }

  returnPage(_copy: number, block: number): void {
    this.#drop(block);
    this.#again.push(block);
  }

  free(block: number, _count: number): void {
    this.#drop(block);
    this.#pending.push(block);
  }

  closeGeneration(): void {
    this.#closing = this.#pending;
    this.#pending = [];
  }

  commitGeneration(): void {
    this.#again.push(...this.#closing);
    this.#closing = [];
  }

  #drop(block: number): void {
    if (!this.taken.delete(block)) throw new Error(`block ${block} is given back twice`);
  }
}

interface Shape {
  /** Pages of each level, from the leaves up. */
  readonly pages: number[];
  /** Share of their room that is in use, of all but the last of a level. */
  readonly fill: number[];
}

class Subject {
  readonly core: Core = loadCore({ memoryPages: 64 + FRAMES / 4 });
  readonly space = new PageAddresses();
  readonly model = new Map<string, { key: PageKey; length: number; stamp: number }>();
  readonly pages: PageStore;
  readonly tree: Tree;
  readonly #value: number;

  constructor() {
    const layout = new Layout(this.core);
    this.#value = layout.take(8192, 8);
    this.pages = new PageStore({
      core: this.core,
      pool: {} as Pool,
      space: this.space as unknown as Space,
      geometry: {} as Geometry,
      layout,
      frameCount: FRAMES,
      log: () => {},
    });
    this.pages.generation = 1;
    this.tree = new Tree({ core: this.core, pages: this.pages, layout, treeId: 1 });
    this.tree.format();
  }

  get levels(): number {
    return this.core.view.getUint32(this.tree.root + ROOT_LEVEL, true) + 1;
  }

  put(key: PageKey, length: number, stamp: number): void {
    this.core.bytes.fill(stamp & 255, this.#value, this.#value + length);
    const isNew = this.tree.put(...key, this.#value, length);
    if (isNew === this.model.has(key.join())) throw new Error(`put of ${key}: new is ${isNew}`);
    this.model.set(key.join(), { key, length, stamp });
  }

  remove(key: PageKey): void {
    if (!this.model.delete(key.join())) return;
    this.tree.remove(...key);
  }

  /** All pages are immutable from now on; while they are written, changes go on. */
  checkpoint(meanwhile: () => void = () => {}): void {
    const sealed: SealedPage[] = [];
    this.space.closeGeneration();
    this.pages.seal(this.tree.root, sealed);
    this.pages.generation++;
    meanwhile();
    this.pages.markClean(sealed);
    this.space.commitGeneration();
  }

  /** @throws {Error} What is wrong with the tree. */
  check(): Shape {
    const found: string[] = [];
    const blocks = new Set<number>();
    const shape: Shape = { pages: [], fill: [] };
    this.#visit({ pointer: this.tree.root, level: this.levels - 1, from: null, to: null }, (at) => {
      const { keys, page, level, pointer } = at;
      for (const copy of [0, 8]) {
        const { view } = this.core;
        const block = addressBlock(
          view.getUint32(pointer + copy, true),
          view.getUint32(pointer + copy + 4, true),
        );
        if (blocks.has(block)) throw new Error(`two pointers to block ${block}`);
        blocks.add(block);
      }
      shape.pages[level] = (shape.pages[level] ?? 0) + 1;
      shape.fill[level] = (shape.fill[level] ?? 0) + this.core.exports.page_live_bytes(page);
      shape.fill[level] -= at.to === null ? this.core.exports.page_live_bytes(page) : 0;
      if (level === 0) found.push(...keys.map((key, slot) => this.#entry(page, slot, key)));
    });
    for (const [level, bytes] of shape.fill.entries())
      shape.fill[level] =
        bytes / ((shape.pages[level] as number) - 1) / (PAGE_BYTES - HEADER_BYTES);
    const expected = [...this.model.values()]
      .sort((a, b) => compareKeys(a.key, b.key))
      .map(({ key, length, stamp }) => `${key}: ${length} of ${stamp & 255}`);
    const differs = expected.findIndex((entry, index) => entry !== found[index]);
    if (differs >= 0 || found.length !== expected.length)
      throw new Error(`entry ${differs}: ${found[differs]}, not ${expected[differs]}`);
    const lost = [...this.space.taken].filter((block) => !blocks.has(block));
    if (lost.length > 0 || blocks.size !== this.space.taken.size)
      throw new Error(
        `${blocks.size} blocks in use, ${this.space.taken.size} taken, lost: ${lost}`,
      );
    for (const { key } of this.model.values())
      if (!this.tree.find(...key)) throw new Error(`${key} is not found`);
    return shape;
  }

  #entry(page: number, slot: number, key: PageKey): string {
    const { bytes, exports, view } = this.core;
    const at = exports.page_value(page, slot) >>> 0;
    const length = view.getUint16(page + HEADER_BYTES + slot * 20 + 18, true);
    const whole = bytes.subarray(at, at + length);
    const first = whole[0] as number;
    return `${key}: ${length} of ${whole.every((byte) => byte === first) ? first : "mixed bytes"}`;
  }

  #visit(place: Place, each: (at: Place & { page: number; keys: PageKey[] }) => void): void {
    const { exports, view } = this.core;
    const { pointer, level, from, to } = place;
    const frame = exports.cache_find(
      this.pages.cache,
      view.getUint32(pointer, true),
      view.getUint32(pointer + 4, true),
    );
    if (frame < 0) throw new Error(`a page of level ${level} is not there`);
    const page = this.pages.frameAddress(frame);
    const problem = exports.page_validate(page, level);
    if (problem !== 0) throw new Error(`a page of level ${level} is not valid: ${problem}`);
    const generation = view.getBigUint64(page + PAGE_GENERATION, true);
    if (generation !== view.getBigUint64(pointer + POINTER_GENERATION, true))
      throw new Error("a pointer has another generation than its page");
    if (generation < BigInt(this.pages.generation)) this.#expectUnchanged(page, pointer);
    const count = view.getUint16(page + PAGE_SLOT_COUNT, true);
    if (count === 0 && this.model.size > 0) throw new Error(`an empty page of level ${level}`);
    const keys = Array.from({ length: count }, (_, slot) => this.pages.keyAt(page, slot));
    // An interior page's first key stands for everything below.
    for (const key of keys.slice(level > 0 ? 1 : 0)) {
      if (from !== null && compareKeys(key, from) < 0) throw new Error(`${key} is below ${from}`);
      if (to !== null && compareKeys(key, to) >= 0) throw new Error(`${key} is not below ${to}`);
    }
    each({ ...place, page, keys });
    for (let slot = 0; level > 0 && slot < count; slot++) {
      this.#visit(
        {
          pointer: exports.page_value(page, slot) >>> 0,
          level: level - 1,
          from: slot > 0 ? (keys[slot] as PageKey) : from,
          to: keys[slot + 1] ?? to,
        },
        each,
      );
    }
  }

  /** A page that a checkpoint wrote is as it was written. */
  #expectUnchanged(page: number, pointer: number): void {
    const { exports } = this.core;
    const bad = exports.xxh3_64_verify_units(
      page + 8,
      PAGE_BYTES - 8,
      1,
      pointer + POINTER_CHECKSUM,
    );
    if (bad >= 0) throw new Error("a page of a checkpoint was changed in place");
  }
}

interface Place {
  readonly pointer: number;
  readonly level: number;
  readonly from: PageKey | null;
  readonly to: PageKey | null;
}

t.test("tree: items that come in order fill the pages of every level", async (t) => {
  const subject = new Subject();
  for (let i = 0; i < 4000; i++) {
    subject.put([i >> 3, 0, i], LARGE_BYTES, i);
    if (i % 700 === 0) subject.checkpoint();
  }
  const { pages, fill } = subject.check();
  t.equal(subject.levels, 3);
  t.comment(`pages ${pages}, fill ${fill.map((share) => share.toFixed(2))}`);
  t.ok((pages[1] as number) >= 3, "interior pages were split");
  t.ok((fill[1] as number) > 0.98, "and left full");
  t.equal(pages[0], 1000, "a leaf keeps all but the last of what it had");
});

t.test("tree: items in descending order leave pages half full at least", async (t) => {
  const subject = new Subject();
  for (let i = 3000; i > 0; i--) subject.put([i, 0, 0], LARGE_BYTES, i);
  const { pages, fill } = subject.check();
  t.equal(subject.levels, 3);
  t.comment(`pages ${pages}, fill ${fill.map((share) => share.toFixed(2))}`);
  t.ok((fill[0] as number) > 0.38 && (fill[1] as number) > 0.45);
});

t.test(
  "tree: a leaf that merges with a page of the checkpoint before copies it first",
  async (t) => {
    for (const isLast of [true, false]) {
      const subject = new Subject();
      for (let i = 0; i < 40; i++) subject.put([i, 0, 0], LARGE_BYTES, i);
      // Two of each leaf's four items are left: small enough to merge with, and too large to merge by themselves.
      for (let i = 0; i < 40; i++) if (i % 4 >= 2) subject.remove([i, 0, 0]);
      const { pages } = subject.check();
      subject.checkpoint();
      subject.remove([isLast ? 37 : 1, 0, 0]);
      t.equal(subject.check().pages[0], (pages[0] as number) - 1, "it merged");
      subject.checkpoint();
      subject.check();
    }
  },
);

t.test(
  "tree: any order of puts and removes equals a map, from checkpoint to checkpoint",
  async (t) => {
    const random = new Prng(seed);
    const subject = new Subject();
    let deepest = 0;
    /** Grows, is changed as often as not, and shrinks to nothing. */
    for (const [steps, removes] of [
      [3200, 5],
      [1500, 50],
      [9000, 85],
    ] as const) {
      const change = (step: number): void => {
        const key: PageKey = [random.below(1500), random.below(TYPES), random.below(2) * 2 ** 40];
        const known = [...(step % 16 === 0 ? subject.model.values() : [])];
        if (random.below(100) >= removes)
          subject.put(key, random.below(4) === 0 ? 1 + random.below(200) : LARGE_BYTES, step);
        else subject.remove(known[random.below(known.length)]?.key ?? key);
        deepest = Math.max(deepest, subject.levels);
      };
      for (let step = 0; step < steps; step++) {
        change(step);
        if (random.below(300) === 0) {
          subject.checkpoint(() => {
            for (let count = 1; count < 12; count++) change(step + count);
          });
        }
        if (step % 500 === 0) subject.check();
      }
      subject.check();
    }
    for (const { key } of [...subject.model.values()]) subject.remove(key);
    subject.check();
    t.equal(deepest, 3);
    t.equal(subject.levels, 1);
    t.ok(subject.space.reused > 100, "places were used again");
    t.equal(subject.space.taken.size, 2, "one page is left");
  },
);

/**
 * Builds the space map anew from what the trees point to, with new trees 2 and 3 to hold it, as a checkpoint of its own:
 * bitmaps go to the slots that the checkpoint before does not use, pages to blocks that nothing uses, and one superblock
 * makes them count. So a crash finds either checkpoint whole. The file system's tree is not touched.
 *
 * It runs twice in a repair. First so that nothing in use is handed out: what is in doubt counts as used. Then, when the
 * trees are right, exactly.
 *
 * Memory: 32 bytes a region, and bitmaps in windows, for each of which the trees are walked.
 */
import { setU64 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { EIO, ENOSPC } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { all, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import { Layout } from "../core/layout.ts";
import {
  BLOCK_BYTES,
  type Geometry,
  mapBlock,
  PAGE_BLOCKS,
  PAGE_BYTES,
} from "../format/geometry.ts";
import { ITEM_EXTENT } from "../format/key.ts";
import {
  addressHigh,
  addressLow,
  PAGE_CHECKSUM,
  POINTER_BYTES,
  POINTER_CHECKSUM,
  POINTER_GENERATION,
  ROOT_BYTES,
  ROOT_LEVEL,
  ROOT_TREE_ID,
  TREE_COUNT,
  TREE_FS,
  TREE_POOL,
  TREE_SPACE,
} from "../format/page_pointer.ts";
import {
  ITEM_REGION,
  REGION_BYTES,
  REGION_CHECKSUM,
  REGION_FREE,
  REGION_GENERATION,
  REGION_LONGEST,
  REGION_SLOT,
  REGION_STATE,
  REGION_STATE_EMPTY,
  REGION_STATE_MAPPED,
} from "../format/region.ts";
import type { Superblock } from "../format/superblock.ts";
import { COMMIT_BYTES_MAX } from "../journal/journal.ts";
import type { Pool } from "../pool/pool.ts";
import { writeSuperblock } from "../pool/superblock_set.ts";
import { BlockMap, longestFreeRun } from "./block_map.ts";
import { ITEM_POOL } from "./describe.ts";
import { extentFound, extentItemProblem } from "./item_rules.ts";
import { journalAreaOf, journalPositionOf, readEntries, scanJournal } from "./journal_scan.ts";
import { type LeafFound, LeafSearch } from "./leaf_search.ts";
import { PageReader } from "./page_reader.ts";
import { TreeWalk, WALK_FETCHES } from "./tree_walk.ts";

/** Items of a leaf, and pointers of a page above: less than fit. */
const LEAF_ITEMS = 300;
const FAN_OUT = 250;
const POOL_ITEM_BYTES = 64;
/** Runs of the trees that are replaced: more only if they are damaged, when exactness is not asked for. */
const OLD_RUNS_MAX = 1 << 16;

export interface SpaceRebuildOptions {
  readonly core: Core;
  readonly clock: Clock;
  readonly pool: Pool;
  readonly superblock: Superblock;
  /** Only what is pointed to is used; else also what the journal takes, and the trees that are replaced. */
  readonly exact: boolean;
  /** What the bitmaps on disk say is used stays used, where they can be read, and as far as there is room. */
  readonly keepOld: boolean;
  /** Look for leaves of the file system's tree in what is used and unknown; they stay used. */
  readonly search?: boolean;
  /** Regions at a time, for tests. */
  readonly regions?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface SpaceRebuilt {
  readonly superblock: Superblock;
  /** Regions whose bitmap or counts were not right. */
  readonly regions: number;
  readonly leaves: readonly LeafFound[];
}

/** @throws {FsError} ENOSPC when there is no room for the new trees, EIO when a device fails. */
export function* rebuildSpace(options: SpaceRebuildOptions): Task<SpaceRebuilt> {
  return yield* new SpaceRebuild(options).run();
}

class SpaceRebuild {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #options: SpaceRebuildOptions;
  readonly #superblock: Superblock;
  readonly #geometry: Geometry;
  readonly #generation: number;
  readonly #block: number;
  readonly #commit: number;
  readonly #roots: number;
  readonly #items: number;
  readonly #seen: Uint8Array;
  readonly #bitmaps: number;
  readonly #page: number;
  readonly #walk: TreeWalk;
  readonly #map: BlockMap;
  readonly #search: LeafSearch | null;
  #searched = false;
  /** What the trees 2 and 3 occupy now: pairs of block and count. */
  #old: number[] = [];
  /** Places of new pages, for each copy. */
  #places: [number[], number[]] = [[], []];
  #regions = 0;

  constructor(options: SpaceRebuildOptions) {
    const { core, pool, superblock } = options;
    const { geometry } = superblock;
    const layout = new Layout(core);
    this.#core = core;
    this.#pool = pool;
    this.#options = options;
    this.#superblock = superblock;
    this.#geometry = geometry;
    this.#generation = superblock.sequence + 1;
    this.#block = layout.take(BLOCK_BYTES, BLOCK_BYTES);
    this.#commit = layout.take(options.exact ? 0 : COMMIT_BYTES_MAX, BLOCK_BYTES);
    this.#roots = layout.take(TREE_COUNT * ROOT_BYTES, 8);
    core.bytes.set(superblock.roots, this.#roots);
    this.#items = layout.take(geometry.regionCount * REGION_BYTES, 8);
    this.#seen = new Uint8Array(geometry.regionCount);
    this.#bitmaps = layout.take(2 * geometry.mapBlocks * BLOCK_BYTES, BLOCK_BYTES);
    this.#page = layout.take(PAGE_BYTES, PAGE_BYTES);
    const reader = new PageReader({
      core,
      pool,
      layout,
      blockCount: geometry.blockCount,
      fetches: WALK_FETCHES,
    });
    this.#walk = new TreeWalk({ core, reader, layout });
    const generationMax = superblock.sequence;
    this.#search =
      options.search === true ? new LeafSearch({ core, pool, layout, generationMax }) : null;
    const regions = options.regions ?? geometry.regionCount;
    this.#map = new BlockMap({
      core,
      layout,
      geometry,
      byteLength: Math.min(
        core.bytes.length - layout.end - BLOCK_BYTES,
        regions * geometry.mapBlocks * BLOCK_BYTES,
      ),
    });
  }

  *run(): Task<SpaceRebuilt> {
    const { geometry } = this.#superblock;
    yield* this.#readItems();
    const leaves = Math.ceil(geometry.regionCount / LEAF_ITEMS);
    // A page for the pool's tree, and as many above the leaves as they need.
    let pages = 1 + leaves;
    for (let level = leaves; level > 1; ) {
      level = Math.ceil(level / FAN_OUT);
      pages += level;
    }
    const middle = Math.floor(geometry.blockCount / 2);
    const { keepOld } = this.#options;
    // A map that says that all is used must not be in the way of the new one.
    const attempts = keepOld ? [true, false] : [false];
    for (const [keeps, from] of attempts.flatMap((keeps) =>
      [middle, 0].map((from) => [keeps, from] as const),
    )) {
      this.#places = [[], []];
      this.#regions = 0;
      yield* this.#buildBitmaps(pages, from, keeps);
      if (this.#places[0].length === pages && this.#places[1].length === pages) break;
      this.#searched = true;
    }
    if (this.#places[0].length < pages || this.#places[1].length < pages) {
      throw new FsError(
        ENOSPC,
        "repair/no-space",
        `Cannot repair: no room for ${2 * pages} pages of a new space map`,
      );
    }
    const roots = yield* this.#writeTrees();
    yield* this.#flush();
    let freeBlocks = 0;
    for (let region = 0; region < geometry.regionCount; region++) {
      freeBlocks += this.#core.view.getUint32(this.#item(region) + REGION_FREE, true);
    }
    const { clock } = this.#options;
    const superblock: Superblock = {
      ...this.#superblock,
      sequence: this.#generation,
      deviceIndex: 0,
      deviceCount: 1,
      clean: this.#options.exact,
      timeSeconds: clock.seconds(),
      timeNanoseconds: clock.nanoseconds(),
      freeBlocks,
      roots,
    };
    yield* writeSuperblock(this.#core, this.#pool, superblock, this.#block);
    yield* this.#flush();
    return { superblock, regions: this.#regions, leaves: this.#search?.found ?? [] };
  }

  #item(region: number): number {
    return this.#items + region * REGION_BYTES;
  }

  /** The regions' items as far as they can be read, and where the trees lie that are replaced. */
  *#readItems(): Task<void> {
    const { exports } = this.#core;
    for (const treeId of [TREE_SPACE, TREE_POOL]) {
      yield* this.#walkTree(treeId, {
        mark: (block, blockCount) => {
          if (this.#old.length < 2 * OLD_RUNS_MAX) this.#old.push(block, blockCount);
        },
        item: (key, value, valueLength) => {
          if (treeId !== TREE_SPACE || key.oid !== 0 || key.type !== ITEM_REGION) return;
          if (key.offset >= this.#geometry.regionCount || valueLength !== REGION_BYTES) return;
          exports.bytes_copy(this.#item(key.offset), value, REGION_BYTES);
          this.#seen[key.offset] = 1;
        },
      });
    }
  }

  *#walkTree(
    treeId: number,
    visit: {
      mark(block: number, blockCount: number): void;
      item(
        key: { oid: number; type: number; offset: number },
        value: number,
        valueLength: number,
      ): void;
    },
  ): Task<void> {
    const { exports } = this.#core;
    yield* this.#walk.run(
      this.#roots + (treeId - 1) * ROOT_BYTES,
      treeId,
      {
        pointed: (_place, copies) => {
          for (const { device, block, problem } of copies) {
            if (problem === null && device === 0) visit.mark(block, PAGE_BLOCKS);
          }
        },
        leaf: (page, slotCount) => {
          for (let slot = 0; slot < slotCount; slot++) {
            const value = exports.page_value(page, slot) >>> 0;
            visit.item(this.#walk.keyOf(page, slot), value, exports.page_value_length(page, slot));
          }
          return undefined;
        },
      },
      {
        everyCopy: false,
        generation: this.#superblock.sequence,
        pagesMax: Math.floor(this.#geometry.blockCount / PAGE_BLOCKS),
      },
    );
  }

  /** @param middle Where the second copies begin. @param keepOld What the old bitmaps say is used stays used. */
  *#buildBitmaps(pages: number, middle: number, keepOld: boolean): Task<void> {
    const map = this.#map;
    const { regionCount } = this.#geometry;
    map.open(0);
    for (;;) {
      yield* this.#markWindow();
      for (let region = map.firstRegion; region < map.endRegion; region++) {
        if (this.#search !== null) yield* this.#searchRegion(region, this.#search);
        if (keepOld) {
          const old = yield* this.#readBitmap(region);
          if (old !== 0) map.include(region, old);
        }
        this.#takePlaces(region, pages, middle);
      }
      if (this.#options.exact) this.#clearOld();
      for (let region = map.firstRegion; region < map.endRegion; region++) {
        yield* this.#buildRegion(region);
        this.#options.onProgress?.(region + 1, regionCount);
      }
      if (map.endRegion >= regionCount) return;
      map.open(map.endRegion);
    }
  }

  /** Looks for leaves in what the old bitmap says is used, or without one in all that nothing points to. */
  *#searchRegion(region: number, search: LeafSearch): Task<void> {
    const map = this.#map;
    const blocks = map.blocksOf(region);
    const first = region * this.#geometry.regionBlocks;
    const runs: { block: number; blockCount: number }[] = [];
    let old = yield* this.#readBitmap(region);
    if (old === 0) {
      old = this.#bitmaps;
      this.#core.bytes.fill(0xff, old, old + this.#geometry.mapBlocks * BLOCK_BYTES);
    }
    for (const run of map.differences(region, old)) {
      if (!run.used && run.block < first + blocks) runs.push(run);
    }
    const before = search.found.length;
    for (const { block, blockCount } of this.#searched ? [] : runs) {
      yield* search.run(block, Math.min(blockCount, first + blocks - block));
    }
    const leaves = this.#searched ? search.found : search.found.slice(before);
    for (const { block } of leaves) map.mark(block, PAGE_BLOCKS);
  }

  *#markWindow(): Task<void> {
    const map = this.#map;
    const { core } = this.#options;
    yield* this.#walkTree(TREE_FS, {
      mark: (block, blockCount) => map.mark(block, blockCount),
      item: (key, value, valueLength) => {
        if (key.type !== ITEM_EXTENT || key.oid === 0) return;
        if (extentItemProblem(core, this.#superblock, key, value, valueLength) !== null) return;
        for (const run of extentFound(core, key, value).copies) map.mark(run.block, run.blockCount);
      },
    });
    this.#markOld();
    if (!this.#options.exact) yield* this.#markJournal();
  }

  #markOld(): void {
    for (let index = 0; index < this.#old.length; index += 2) {
      this.#map.mark(this.#old[index] as number, this.#old[index + 1] as number);
    }
  }

  /** The old trees' blocks are free again. */
  #clearOld(): void {
    for (let index = 0; index < this.#old.length; index += 2) {
      this.#map.clear(this.#old[index] as number, this.#old[index + 1] as number);
    }
  }

  /** What replay will find allocated must not be taken before. */
  *#markJournal(): Task<void> {
    const { core, pool, superblock } = this.#options;
    const { blockCount } = this.#geometry;
    try {
      yield* scanJournal(
        core,
        pool,
        journalAreaOf(superblock),
        journalPositionOf(superblock),
        this.#commit,
        (commit) => {
          readEntries(
            core,
            this.#commit,
            commit.byteLength,
            commit.transactions,
            superblock.geometry,
            (entry) => {
              if (entry.kind !== "allocate") return;
              const block = entry["block"] as number;
              const count = entry["blockCount"] as number;
              if (block + count <= blockCount) this.#map.mark(block, count);
            },
          );
        },
      );
    } catch (error) {
      // A journal that cannot be read is not replayed either.
      if (!(error instanceof FsError)) throw error;
    }
  }

  /** Writes a region's bitmap and item unless they are right. */
  *#buildRegion(region: number): Task<void> {
    const { core } = this.#options;
    const { view } = core;
    const map = this.#map;
    const item = this.#item(region);
    const blocks = map.blocksOf(region);
    const isKnown = this.#isKnown(region);
    const old = yield* this.#readBitmap(region);
    const bitmap = map.bitmapOf(region);
    const free = blocks - core.exports.space_bitmap_count(bitmap, blocks);
    const longest = longestFreeRun(core.u32, bitmap, blocks);
    const isSame = old !== 0 && map.differences(region, old).next().done === true;
    if (
      isSame &&
      view.getUint32(item + REGION_FREE, true) === free &&
      view.getUint32(item + REGION_LONGEST, true) >= longest
    ) {
      return;
    }
    this.#regions++;
    if (isSame) {
      view.setUint32(item + REGION_FREE, free, true);
      view.setUint32(item + REGION_LONGEST, longest, true);
      return;
    }
    const wasMapped = isKnown && view.getUint8(item + REGION_STATE) === REGION_STATE_MAPPED;
    const slot = wasMapped ? 1 - view.getUint8(item + REGION_SLOT) : 0;
    const byteLength = this.#geometry.mapBlocks * BLOCK_BYTES;
    core.exports.bytes_fill(item, 0, REGION_BYTES);
    core.exports.xxh3_64(bitmap, byteLength, item + REGION_CHECKSUM);
    setU64(view, item + REGION_GENERATION, this.#generation);
    view.setUint32(item + REGION_FREE, free, true);
    view.setUint32(item + REGION_LONGEST, longest, true);
    view.setUint8(item + REGION_SLOT, slot);
    view.setUint8(item + REGION_STATE, REGION_STATE_MAPPED);
    yield* this.#write(
      [0, 1].map((copy) => mapBlock(this.#geometry, copy, region, slot)),
      bitmap,
      byteLength,
    );
  }

  #isKnown(region: number): boolean {
    const { view } = this.#core;
    const item = this.#item(region);
    if (this.#seen[region] !== 1) return false;
    const state = view.getUint8(item + REGION_STATE);
    const free = view.getUint32(item + REGION_FREE, true);
    return (
      (state === REGION_STATE_EMPTY || state === REGION_STATE_MAPPED) &&
      view.getUint8(item + REGION_SLOT) <= 1 &&
      free <= this.#map.blocksOf(region) &&
      view.getUint32(item + REGION_LONGEST, true) <= free
    );
  }

  #takePlaces(region: number, pages: number, middle: number): void {
    const map = this.#map;
    const first = region * this.#geometry.regionBlocks;
    for (const copy of [0, 1] as const) {
      const places = this.#places[copy];
      let from = Math.max(first, copy === 0 ? 0 : middle);
      while (places.length < pages) {
        const block = map.findFree(region, from, PAGE_BLOCKS);
        if (block < 0) break;
        map.mark(block, PAGE_BLOCKS);
        places.push(block);
        from = block + PAGE_BLOCKS;
      }
    }
  }

  /** Address of a copy of the region's bitmap that is right, or 0. */
  *#readBitmap(region: number): Task<number> {
    const { view, exports } = this.#core;
    const item = this.#item(region);
    if (!this.#isKnown(region)) return 0;
    if (view.getUint8(item + REGION_STATE) === REGION_STATE_EMPTY) {
      this.#map.fillEmpty(region, this.#bitmaps);
      return this.#bitmaps;
    }
    const byteLength = this.#geometry.mapBlocks * BLOCK_BYTES;
    const bad: number[] = [];
    let good = 0;
    for (let copy = 0; copy < 2; copy++) {
      const block = mapBlock(this.#geometry, copy, region, view.getUint8(item + REGION_SLOT));
      const address = this.#bitmaps + copy * byteLength;
      const status = yield (resume) => this.#pool.read(0, block, address, byteLength, resume);
      const expected = item + REGION_CHECKSUM;
      if (status < 0 || exports.xxh3_64_verify_units(address, byteLength, 1, expected) >= 0)
        bad.push(block);
      else good = address;
    }
    // With one copy gone the bitmap is as good as lost: it is written anew, to the other slot.
    return bad.length === 0 ? good : 0;
  }

  /** Writes the trees 2 and 3. Returns the three root records. */
  *#writeTrees(): Task<Uint8Array> {
    const { exports, bytes } = this.#core;
    const { regionCount } = this.#geometry;
    const roots = this.#superblock.roots.slice();
    const record = (treeId: number, level: number, pointer: Uint8Array): void => {
      const at = (treeId - 1) * ROOT_BYTES;
      const root = new DataView(roots.buffer, roots.byteOffset + at, ROOT_BYTES);
      roots.fill(0, at, at + ROOT_BYTES);
      roots.set(pointer, at);
      root.setUint32(ROOT_LEVEL, level, true);
      root.setUint32(ROOT_TREE_ID, treeId, true);
    };
    let children: { key: number; pointer: Uint8Array }[] = [];
    for (let first = 0; first < regionCount; first += LEAF_ITEMS) {
      const place = this.#begin(0, TREE_SPACE);
      const count = Math.min(LEAF_ITEMS, regionCount - first);
      for (let slot = 0; slot < count; slot++) {
        const at =
          exports.page_insert(this.#page, slot, 0, ITEM_REGION, first + slot, REGION_BYTES) >>> 0;
        exports.bytes_copy(at, this.#item(first + slot), REGION_BYTES);
      }
      children.push({ key: first, pointer: yield* this.#finish(place) });
    }
    let level = 0;
    while (children.length > 1) {
      level++;
      const above: typeof children = [];
      for (let first = 0; first < children.length; first += FAN_OUT) {
        const group = children.slice(first, first + FAN_OUT);
        const place = this.#begin(level, TREE_SPACE);
        for (const [slot, { key, pointer }] of group.entries()) {
          const at =
            exports.page_insert(this.#page, slot, 0, ITEM_REGION, key, POINTER_BYTES) >>> 0;
          bytes.set(pointer, at);
        }
        above.push({ key: group[0]?.key ?? 0, pointer: yield* this.#finish(place) });
      }
      children = above;
    }
    record(TREE_SPACE, level, (children[0] as { pointer: Uint8Array }).pointer);
    const place = this.#begin(0, TREE_POOL);
    const at = exports.page_insert(this.#page, 0, 0, ITEM_POOL, 0, POOL_ITEM_BYTES) >>> 0;
    bytes.fill(0, at, at + POOL_ITEM_BYTES);
    record(TREE_POOL, 0, yield* this.#finish(place));
    return roots;
  }

  #begin(level: number, treeId: number): [number, number] {
    const first = this.#places[0].shift() as number;
    const second = this.#places[1].shift() as number;
    this.#core.exports.page_init(
      this.#page,
      level,
      treeId,
      this.#generation,
      addressLow(first),
      addressHigh(0, first),
    );
    return [first, second];
  }

  /** Writes both copies of the page. Returns the pointer to it. */
  *#finish(place: [number, number]): Task<Uint8Array> {
    const { exports, bytes } = this.#core;
    exports.xxh3_64(this.#page + 8, PAGE_BYTES - 8, this.#page + PAGE_CHECKSUM);
    const pointer = new Uint8Array(POINTER_BYTES);
    const view = new DataView(pointer.buffer);
    place.forEach((block, copy) => {
      view.setUint32(copy * 8, addressLow(block), true);
      view.setUint32(copy * 8 + 4, addressHigh(0, block), true);
    });
    const checksum = this.#page + PAGE_CHECKSUM;
    pointer.set(bytes.subarray(checksum, checksum + 8), POINTER_CHECKSUM);
    setU64(view, POINTER_GENERATION, this.#generation);
    yield* this.#write(place, this.#page, PAGE_BYTES);
    return pointer;
  }

  *#write(blocks: readonly number[], address: number, byteLength: number): Task<void> {
    const status = yield all(
      blocks.map(
        (block) => (resume: (status: number) => void) =>
          this.#pool.write(0, block, address, byteLength, resume),
      ),
    );
    if (status < 0)
      throw new FsError(EIO, "repair/write", `Cannot write the space map: error ${status}`);
  }

  *#flush(): Task<void> {
    const status = yield this.#pool.flush();
    if (status < 0)
      throw new FsError(EIO, "repair/flush", `Cannot flush a device: error ${status}`);
  }
}

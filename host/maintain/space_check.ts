/**
 * The space tree's items and the bitmaps that they name, against what the trees really use.
 */
import { all, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { BLOCK_BYTES, type Geometry, mapBlock } from "../format/geometry.ts";
import {
  ITEM_REGION,
  REGION_BYTES,
  REGION_CHECKSUM,
  REGION_FREE,
  REGION_LONGEST,
  REGION_SLOT,
  REGION_STATE,
  REGION_STATE_EMPTY,
  REGION_STATE_MAPPED,
} from "../format/region.ts";
import type { Pool } from "../pool/pool.ts";
import { type BlockMap, longestFreeRun } from "./block_map.ts";
import type { Findings } from "./findings.ts";
import type { Key } from "./tree_walk.ts";

const COPIES = 2;

export class SpaceCheck {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #geometry: Geometry;
  readonly #map: BlockMap;
  readonly #errors: Findings;
  /** The regions' items, REGION_BYTES each. */
  readonly #items: number;
  readonly #seen: Uint8Array;
  readonly #bitmaps: number;
  readonly #regionBytes: number;
  /** Sum of what the items say. */
  freeBlocks = 0;

  constructor(options: {
    core: Core;
    pool: Pool;
    layout: Layout;
    geometry: Geometry;
    map: BlockMap;
    errors: Findings;
  }) {
    const { core, geometry, layout } = options;
    this.#core = core;
    this.#pool = options.pool;
    this.#geometry = geometry;
    this.#map = options.map;
    this.#errors = options.errors;
    this.#regionBytes = geometry.mapBlocks * BLOCK_BYTES;
    this.#items = layout.take(geometry.regionCount * REGION_BYTES, 8);
    this.#bitmaps = layout.take(COPIES * this.#regionBytes, BLOCK_BYTES);
    this.#seen = new Uint8Array(geometry.regionCount);
  }

  /** Core memory that a check of this geometry takes. */
  static memoryBytes(geometry: Geometry): number {
    return geometry.regionCount * REGION_BYTES + (COPIES * geometry.mapBlocks + 1) * BLOCK_BYTES;
  }

  /** An item of the space tree. */
  item(key: Key, value: number, valueLength: number): void {
    const place = { tree: 2, objectId: key.oid, type: key.type, offset: key.offset };
    if (key.oid !== 0 || key.type !== ITEM_REGION || key.offset >= this.#geometry.regionCount) {
      this.#errors.add(
        "DFS-FSCK-ITEM-UNKNOWN",
        "No item of this key belongs into the space tree",
        place,
      );
      return;
    }
    const region = key.offset;
    const problem = this.#itemProblem(region, value, valueLength);
    this.#seen[region] = problem === null ? 1 : 2;
    if (problem !== null) {
      this.#errors.add("DFS-FSCK-REGION", problem, { region });
      return;
    }
    this.#core.exports.bytes_copy(this.#items + region * REGION_BYTES, value, REGION_BYTES);
    this.freeBlocks += this.#core.view.getUint32(value + REGION_FREE, true);
  }

  #itemProblem(region: number, value: number, valueLength: number): string | null {
    if (valueLength !== REGION_BYTES) return `The item is ${valueLength} bytes long`;
    const { view } = this.#core;
    const state = view.getUint8(value + REGION_STATE);
    const slot = view.getUint8(value + REGION_SLOT);
    const free = view.getUint32(value + REGION_FREE, true);
    const longest = view.getUint32(value + REGION_LONGEST, true);
    if (state !== REGION_STATE_EMPTY && state !== REGION_STATE_MAPPED) return `State ${state}`;
    if (slot > 1) return `Slot ${slot}`;
    const blocks = this.#map.blocksOf(region);
    if (free > blocks || longest > free) {
      return `${free} blocks are free, at most ${longest} in a row, of ${blocks}`;
    }
    return null;
  }

  /** Compares the bitmaps of the map's window. `lost`: parts of the trees are not known, so nothing is a leak. */
  *compare(lost: { space: boolean; any: boolean }, onRegion: (region: number) => void): Task<void> {
    for (let region = this.#map.firstRegion; region < this.#map.endRegion; region++) {
      onRegion(region);
      if (this.#seen[region] !== 1) {
        if (this.#seen[region] === 0 && !lost.space) {
          this.#errors.add("DFS-FSCK-REGION", "The region has no item", { region });
        }
        continue;
      }
      const item = this.#items + region * REGION_BYTES;
      let bitmap = this.#bitmaps;
      if (this.#core.view.getUint8(item + REGION_STATE) === REGION_STATE_EMPTY) {
        this.#map.fillEmpty(region, bitmap);
      } else {
        bitmap = yield* this.#readBitmap(region, item);
      }
      if (bitmap === 0) continue;
      this.#checkCounts(region, item, bitmap);
      this.#checkBits(region, bitmap, lost.any);
    }
  }

  /** Address of a copy that is right, or 0. */
  *#readBitmap(region: number, item: number): Task<number> {
    const slot = this.#core.view.getUint8(item + REGION_SLOT);
    const statuses = [0, 0];
    yield all(
      statuses.map((_, copy) => (resume: (status: number) => void) => {
        const block = mapBlock(this.#geometry, copy, region, slot);
        const address = this.#bitmaps + copy * this.#regionBytes;
        this.#pool.read(0, block, address, this.#regionBytes, (status) => {
          statuses[copy] = status;
          resume(0);
        });
      }),
    );
    let good = 0;
    const bad: { copy: number; problem: string }[] = [];
    for (let copy = 0; copy < COPIES; copy++) {
      const address = this.#bitmaps + copy * this.#regionBytes;
      const status = statuses[copy] as number;
      const wrong =
        status >= 0 &&
        this.#core.exports.xxh3_64_verify_units(
          address,
          this.#regionBytes,
          1,
          item + REGION_CHECKSUM,
        ) >= 0;
      if (status < 0) bad.push({ copy, problem: `read error ${status}` });
      else if (wrong) bad.push({ copy, problem: "checksum mismatch" });
      else if (good === 0) good = address;
    }
    for (const { copy, problem } of bad) {
      if (good === 0) break;
      const place = { region, copy, block: mapBlock(this.#geometry, copy, region, slot) };
      this.#errors.add("DFS-FSCK-BITMAP-COPY", `A copy of the bitmap is bad: ${problem}`, place);
    }
    if (good === 0) {
      const problem = bad.map((copy) => copy.problem).join("; ");
      this.#errors.add("DFS-FSCK-BITMAP-LOST", `No copy of the bitmap is good: ${problem}`, {
        region,
      });
    }
    return good;
  }

  #checkCounts(region: number, item: number, bitmap: number): void {
    const blocks = this.#map.blocksOf(region);
    const free = blocks - this.#core.exports.space_bitmap_count(bitmap, blocks);
    const stated = this.#core.view.getUint32(item + REGION_FREE, true);
    const longest = this.#core.view.getUint32(item + REGION_LONGEST, true);
    const run = longestFreeRun(this.#core.u32, bitmap, blocks);
    if (free !== stated) {
      this.#errors.add(
        "DFS-FSCK-REGION-COUNT",
        `${stated} blocks are said to be free, ${free} are`,
        { region },
      );
    } else if (run > longest) {
      this.#errors.add(
        "DFS-FSCK-REGION-COUNT",
        `The longest free run is said to be at most ${longest} blocks, it is ${run}`,
        { region },
      );
    }
  }

  #checkBits(region: number, bitmap: number, lost: boolean): void {
    for (const { block, blockCount, used } of this.#map.differences(region, bitmap)) {
      const place = { region, block, blockCount };
      if (block >= this.#geometry.blockCount) {
        this.#errors.add(
          "DFS-FSCK-BITMAP-END",
          "Blocks behind the device's end are marked free",
          place,
        );
      } else if (used) {
        this.#errors.add("DFS-FSCK-BLOCK-FREE", "Blocks in use are marked free", place);
      } else if (!lost) {
        this.#errors.add(
          "DFS-FSCK-BLOCK-LEAKED",
          "Blocks are marked used, but nothing points to them",
          place,
        );
      }
    }
  }
}

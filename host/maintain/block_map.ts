/**
 * Bitmaps built from what the trees point to, to be compared with those on disk: for as many regions at a time as
 * memory holds. A volume with more regions is walked once for each window.
 */
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { BLOCK_BYTES, fixedAreas, type Geometry } from "../format/geometry.ts";

/** A run of blocks where two bitmaps differ. */
export interface Difference {
  readonly block: number;
  readonly blockCount: number;
  /** Whether the trees use it (and the other map says free). */
  readonly used: boolean;
}

export class BlockMap {
  readonly #core: Core;
  readonly #geometry: Geometry;
  readonly #address: number;
  readonly #regionBytes: number;
  /** Regions that fit at a time. */
  readonly windowRegions: number;
  firstRegion = 0;
  endRegion = 0;

  constructor(options: { core: Core; layout: Layout; geometry: Geometry; byteLength: number }) {
    this.#core = options.core;
    this.#geometry = options.geometry;
    this.#regionBytes = options.geometry.mapBlocks * BLOCK_BYTES;
    const fitting = Math.floor(options.byteLength / this.#regionBytes);
    this.windowRegions = Math.max(1, Math.min(fitting, options.geometry.regionCount));
    this.#address = options.layout.take(this.windowRegions * this.#regionBytes, BLOCK_BYTES);
  }

  /** Begins a window: nothing but the fixed areas, and what lies behind the device's end, is used. */
  open(firstRegion: number): void {
    const { regionBlocks, regionCount, blockCount } = this.#geometry;
    this.firstRegion = firstRegion;
    this.endRegion = Math.min(firstRegion + this.windowRegions, regionCount);
    const bytes = (this.endRegion - this.firstRegion) * this.#regionBytes;
    this.#core.bytes.fill(0, this.#address, this.#address + bytes);
    for (const [start, count] of fixedAreas(this.#geometry)) this.mark(start, count);
    const end = this.endRegion * regionBlocks;
    if (end > blockCount) this.#set(blockCount, end);
  }

  /**
   * Sets the part of a run that lies in the window used.
   *
   * @returns False when any of it was used already.
   */
  mark(block: number, blockCount: number): boolean {
    const { regionBlocks } = this.#geometry;
    const from = Math.max(block, this.firstRegion * regionBlocks);
    const to = Math.min(block + blockCount, this.endRegion * regionBlocks);
    return from >= to || this.#set(from, to);
  }

  /** Sets the part of a run that lies in the window free. */
  clear(block: number, blockCount: number): void {
    const base = this.firstRegion * this.#geometry.regionBlocks;
    const from = Math.max(block, base);
    const to = Math.min(block + blockCount, this.endRegion * this.#geometry.regionBlocks);
    if (from >= to) return;
    this.#core.exports.space_bitmap_clear(this.#address, from - base, to - from);
  }

  /** Address of a region's bitmap; the region is in the window. */
  bitmapOf(region: number): number {
    return this.#bitmap(region);
  }

  /**
   * First of `count` free blocks in a row, at or after `from`, in one region of the window; −1 when there are none.
   */
  findFree(region: number, from: number, count: number): number {
    const first = region * this.#geometry.regionBlocks;
    const { bytes } = this.#core;
    const bitmap = this.#bitmap(region);
    let run = 0;
    for (let bit = Math.max(0, from - first); bit < this.blocksOf(region); bit++) {
      const byte = bytes[bitmap + (bit >> 3)] as number;
      if (byte === 0xff && (bit & 7) === 0) {
        bit += 7;
        run = 0;
        continue;
      }
      run = ((byte >> (bit & 7)) & 1) === 0 ? run + 1 : 0;
      if (run === count) return first + bit - count + 1;
    }
    return -1;
  }

  /** Sets everything used that is used in another bitmap of a region, too. */
  include(region: number, bitmap: number): void {
    const { u32 } = this.#core;
    const ours = this.#bitmap(region) >> 2;
    for (let word = 0; word < this.#regionBytes / 4; word++) {
      u32[ours + word] = (u32[ours + word] as number) | (u32[(bitmap >> 2) + word] as number);
    }
  }

  /** Runs where a bitmap at an address (4-aligned) differs, in order. */
  *differences(region: number, bitmap: number): Generator<Difference> {
    const { u32 } = this.#core;
    const words = this.#regionBytes / 4;
    const ours = this.#bitmap(region) >> 2;
    const theirs = bitmap >> 2;
    const first = region * this.#geometry.regionBlocks;
    let start = -1;
    let used = false;
    for (let word = 0; word < words; word++) {
      const own = u32[ours + word] as number;
      const different = (own ^ (u32[theirs + word] as number)) >>> 0;
      if (different === 0) {
        if (start >= 0) yield { block: first + start, blockCount: word * 32 - start, used };
        start = -1;
        continue;
      }
      for (let bit = 0; bit < 32; bit++) {
        const at = word * 32 + bit;
        const differs = ((different >>> bit) & 1) === 1;
        const ownUsed = ((own >>> bit) & 1) === 1;
        if (start >= 0 && (!differs || ownUsed !== used)) {
          yield { block: first + start, blockCount: at - start, used };
          start = -1;
        }
        if (differs && start < 0) {
          start = at;
          used = ownUsed;
        }
      }
    }
    if (start >= 0) yield { block: first + start, blockCount: words * 32 - start, used };
  }

  /** Fills a bitmap with what an empty region has. */
  fillEmpty(region: number, bitmap: number): void {
    const { regionBlocks, blockCount } = this.#geometry;
    this.#core.bytes.fill(0, bitmap, bitmap + this.#regionBytes);
    const first = region * regionBlocks;
    const runs: (readonly [number, number])[] = [
      ...fixedAreas(this.#geometry),
      [blockCount, regionBlocks],
    ];
    for (const [start, count] of runs) {
      const from = Math.max(start - first, 0);
      const to = Math.min(start + count - first, regionBlocks);
      if (from < to) setBits(this.#core.bytes, bitmap, from, to);
    }
  }

  /** Blocks of a region that exist. */
  blocksOf(region: number): number {
    const { regionBlocks, blockCount } = this.#geometry;
    return Math.min(regionBlocks, blockCount - region * regionBlocks);
  }

  #bitmap(region: number): number {
    return this.#address + (region - this.firstRegion) * this.#regionBytes;
  }

  #set(from: number, to: number): boolean {
    const base = this.firstRegion * this.#geometry.regionBlocks;
    return setBits(this.#core.bytes, this.#address, from - base, to - base);
  }
}

/** Sets bits [from, to) of a bitmap; false when any was set. */
function setBits(bytes: Uint8Array, bitmap: number, from: number, to: number): boolean {
  let fresh = true;
  let at = from;
  while (at < to) {
    const inByte = at % 8;
    const index = bitmap + Math.floor(at / 8);
    const bits = Math.min(8 - inByte, to - at);
    const mask = ((1 << bits) - 1) << inByte;
    const before = bytes[index] as number;
    if ((before & mask) !== 0) fresh = false;
    bytes[index] = before | mask;
    at += bits;
  }
  return fresh;
}

/** Longest run of free blocks in a bitmap (4-aligned). */
export function longestFreeRun(u32: Uint32Array, bitmap: number, blockCount: number): number {
  let longest = 0;
  let free = 0;
  for (let block = 0; block < blockCount; block += 32) {
    const word = u32[(bitmap >> 2) + (block >> 5)] as number;
    const bits = Math.min(32, blockCount - block);
    if (word === 0) free += bits;
    else {
      for (let bit = 0; bit < bits; bit++) {
        free = ((word >>> bit) & 1) === 0 ? free + 1 : 0;
        if (free > longest) longest = free;
      }
    }
    if (free > longest) longest = free;
  }
  return longest;
}

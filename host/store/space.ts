/**
 * Free space of one device: which regions' bitmaps are in memory, what the open generation has taken and given back,
 * and the images of bitmaps that a checkpoint writes.
 *
 * Invariants:
 * - the core's bitmaps say what may not be handed out: blocks in use, blocks freed since the last durable checkpoint
 *   (the disk may still point to them), page addresses held ready, and data blocks whose write is under way;
 * - an image says what the checkpoint's trees point to: the bitmap without the other three;
 * - a region whose image would differ from what is on disk is dirty, and stays attached until its image is durable.
 */
import { assert } from "../base/assert.ts";
import { setU64 } from "../base/bytes.ts";
import { EAGAIN, EIO, ENOMEM, ENOSPC, EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Retry } from "../base/retry.ts";
import { spawn, type Task } from "../base/task.ts";
import { SPACE_ATTACHED_ONLY } from "../core/abi.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import {
  BLOCK_BYTES,
  fixedAreas,
  type Geometry,
  mapBlock,
  PAGE_BLOCKS,
} from "../format/geometry.ts";
import {
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
import type { Pool } from "../pool/pool.ts";

/** Blocks taken at a time when they run low: neighbours on disk, written together. */
const READY_RUN_BLOCKS = 128;
const PENDING_RUNS_MAX = 1 << 18;

/** A bitmap to be written by a checkpoint. */
export interface RegionImage {
  readonly region: number;
  readonly address: number;
  readonly slot: number;
}

type Log = (
  level: "info" | "warn" | "error",
  event: string,
  fields: Record<string, unknown>,
) => void;

export class Space {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #geometry: Geometry;
  readonly #log: Log;
  readonly #base: number;
  readonly #result: number;
  readonly #bitmapBytes: number;
  readonly #bitmaps: number;
  readonly #images: number;
  readonly #imageCapacity: number;
  readonly #freeFrames: number[] = [];
  readonly #attachedRegions: number[] = [];
  #clock = 0;

  readonly #slot: Uint8Array;
  readonly #state: Uint8Array;
  readonly #dirty: Uint8Array;
  /** Regions of the checkpoint under way: still attached until it is durable. */
  readonly #writing: Uint8Array;
  /** Checksums of the bitmaps on disk, 8 bytes a region, in core memory. */
  readonly #checksums: number;
  #dirtyCount = 0;
  readonly #dirtyList: number[] = [];
  readonly #used: Uint8Array;

  /** Freed since the generation was opened: pairs (block, count). */
  #pending: number[] = [];
  #closing: number[] = [];
  pendingBlocks = 0;
  #closingBlocks = 0;
  /** A repair's: nothing is given back, for something else may use it, too. What nothing uses is counted at its end. */
  keepFreed = false;

  readonly #ready: [number[], number[]] = [[], []];
  readonly #pageGoal: [number, number];
  #dataGoal: number;
  /** Data blocks allocated and not yet in a tree: start → count. */
  readonly #unreferenced = new Map<number, number>();

  readonly #loading = new Map<number, ((status: number) => void)[]>();
  /** Blocks that only metadata and removals may use. */
  readonly reserveBlocks: number;

  constructor(options: {
    core: Core;
    pool: Pool;
    geometry: Geometry;
    layout: Layout;
    bitmapBudgetBytes: number;
    log: Log;
  }) {
    const { core, geometry, layout } = options;
    this.#core = core;
    this.#pool = options.pool;
    this.#geometry = geometry;
    this.#log = options.log;
    this.#bitmapBytes = geometry.mapBlocks * BLOCK_BYTES;
    const capacity = Math.max(
      8,
      Math.min(geometry.regionCount, Math.floor(options.bitmapBudgetBytes / 2 / this.#bitmapBytes)),
    );
    this.#imageCapacity = capacity;
    this.#result = layout.take(16, 8);
    this.#checksums = layout.take(geometry.regionCount * 8, 8);
    this.#base = layout.take(core.exports.space_bytes(geometry.regionCount), 64);
    this.#bitmaps = layout.take(capacity * this.#bitmapBytes, BLOCK_BYTES);
    this.#images = layout.take(capacity * this.#bitmapBytes, BLOCK_BYTES);
    for (let i = capacity - 1; i >= 0; i--)
      this.#freeFrames.push(this.#bitmaps + i * this.#bitmapBytes);
    const regions = core.exports.space_init(this.#base, geometry.blockCount, geometry.regionBlocks);
    assert(regions === geometry.regionCount, "space_init refused the geometry");
    this.#slot = new Uint8Array(regions);
    this.#state = new Uint8Array(regions);
    this.#dirty = new Uint8Array(regions);
    this.#writing = new Uint8Array(regions);
    this.#used = new Uint8Array(regions);
    const middle = Math.floor(geometry.blockCount / 2);
    const head = geometry.mapStarts[0] + geometry.regionCount * 2 * geometry.mapBlocks;
    this.#pageGoal = [head, middle];
    this.#dataGoal = Math.min(geometry.blockCount - 1, head + Math.floor(geometry.blockCount / 16));
    this.reserveBlocks = Math.max(512, Math.min(Math.floor(geometry.blockCount / 64), 65536));
  }

  get freeBlocks(): number {
    return this.#core.exports.space_free_total(this.#base);
  }

  /** Freed, and reusable after the next checkpoint, or the one under way. */
  get comingBlocks(): number {
    return this.pendingBlocks + this.#closingBlocks + this.#readyBlocks();
  }

  /** Taken for data that is still being written: nothing points to it, and on disk it is free. */
  get unreferencedBlocks(): number {
    let blocks = 0;
    for (const count of this.#unreferenced.values()) blocks += count;
    return blocks;
  }

  /** Freed by transactions, and reusable after a checkpoint. */
  get awaitedBlocks(): number {
    return this.pendingBlocks + this.#closingBlocks;
  }

  get pendingIsLarge(): boolean {
    return this.#pending.length > PENDING_RUNS_MAX || this.#dirtyCount > this.#imageCapacity / 2;
  }

  get dirtyRegionCount(): number {
    return this.#dirtyCount;
  }

  #readyBlocks(): number {
    return (this.#ready[0].length + this.#ready[1].length) * PAGE_BLOCKS;
  }

  /** What a region's item says, read at mount or written at creation. */
  setRegion(region: number, value: number): void {
    const view = this.#core.view;
    this.#slot[region] = view.getUint8(value + REGION_SLOT) & 1;
    this.#state[region] = view.getUint8(value + REGION_STATE);
    this.#core.exports.bytes_copy(this.#checksums + region * 8, value + REGION_CHECKSUM, 8);
    const free = view.getUint32(value + REGION_FREE, true);
    const longest = view.getUint32(value + REGION_LONGEST, true);
    const status = this.#core.exports.space_set_summary(
      this.#base,
      region,
      free,
      Math.min(longest, free),
    );
    if (status < 0)
      throw new FsError(
        EIO,
        "space/summary",
        `Cannot use region ${region}: ${free} free blocks is impossible`,
      );
  }

  /** Fills a region's item of a new, empty volume. */
  encodeEmpty(region: number, value: number): void {
    const { regionBlocks, blockCount } = this.#geometry;
    const first = region * regionBlocks;
    const count = Math.min(regionBlocks, blockCount - first);
    let free = count;
    for (const [start, length] of fixedAreas(this.#geometry)) {
      free -= Math.max(0, Math.min(start + length, first + count) - Math.max(start, first));
    }
    const view = this.#core.view;
    this.#core.exports.bytes_fill(value, 0, REGION_BYTES);
    view.setUint32(value + REGION_FREE, free, true);
    view.setUint32(value + REGION_LONGEST, free, true);
    view.setUint8(value + REGION_STATE, REGION_STATE_EMPTY);
  }

  /** Fills a region's item for the checkpoint: its image's checksum and summary. */
  encodeImage(image: RegionImage, generation: number, value: number): void {
    const core = this.#core;
    core.exports.bytes_fill(value, 0, REGION_BYTES);
    core.exports.xxh3_64(image.address, this.#bitmapBytes, value + REGION_CHECKSUM);
    setU64(core.view, value + REGION_GENERATION, generation);
    const first = image.region * this.#geometry.regionBlocks;
    const count = Math.min(this.#geometry.regionBlocks, this.#geometry.blockCount - first);
    const free = count - core.exports.space_bitmap_count(image.address, count);
    core.view.setUint32(value + REGION_FREE, free, true);
    core.view.setUint32(value + REGION_LONGEST, free, true);
    core.view.setUint8(value + REGION_SLOT, image.slot);
    core.view.setUint8(value + REGION_STATE, REGION_STATE_MAPPED);
  }

  // --- pages ---

  /** Makes sure that `count` pages can be allocated without waiting. Returns 0 or −ENOSPC; throws Retry. */
  readyPages(count: number): number {
    for (let copy = 0; copy < 2; copy++) {
      const ready = this.#ready[copy as 0 | 1];
      while (ready.length < count) {
        this.#preferRegion(this.#regionOf(this.#pageGoal[copy as 0 | 1]));
        const status = this.#allocate(this.#pageGoal[copy as 0 | 1], READY_RUN_BLOCKS, PAGE_BLOCKS);
        if (status < 0) return status;
        const start = this.#core.f64[this.#result >> 3] as number;
        const taken = this.#core.u32[(this.#result + 8) >> 2] as number;
        const whole = taken - (taken % PAGE_BLOCKS);
        if (whole < taken) this.#giveBack(start + whole, taken - whole);
        for (let block = start + whole - PAGE_BLOCKS; block >= start; block -= PAGE_BLOCKS)
          ready.push(block);
        this.#pageGoal[copy as 0 | 1] = Math.min(start + taken, this.#geometry.blockCount - 1);
      }
    }
    return 0;
  }

  /** Has a goal's region in memory, so that the allocator does not turn to one that is: copies must lie far apart. */
  #preferRegion(region: number): void {
    if (this.#core.exports.space_region_free(this.#base, region) < PAGE_BLOCKS) return;
    if (this.#freeFrames.length > 0 || this.#evictOne()) this.#requireAttached(region);
  }

  get readyPageCount(): number {
    return Math.min(this.#ready[0].length, this.#ready[1].length);
  }

  /** First block of a page for the given copy. Never fails after readyPages. */
  takePage(copy: 0 | 1): number {
    const block = this.#ready[copy].pop();
    assert(block !== undefined, "page addresses ran out: readyPages must be asked first");
    this.#markDirty(this.#regionOf(block));
    return block;
  }

  /** A page that no checkpoint has seen is not needed any more: its address can be used again at once. */
  returnPage(copy: 0 | 1, block: number): void {
    this.#ready[copy].push(block);
  }

  /** Blocks that the last checkpoint may still point to are given back; reusable when the next one is durable. */
  free(block: number, count: number): void {
    assert(count > 0, "freeing nothing");
    if (this.keepFreed) return;
    this.#pending.push(block, count);
    this.pendingBlocks += count;
    this.#markDirty(this.#regionOf(block));
  }

  // --- data ---

  /**
   * Allocates a run for data that is about to be written: 1 to `count` blocks. Result in allocatedStart/Count.
   * Returns 0 or −ENOSPC; throws Retry while a bitmap is loaded.
   */
  allocateData(goal: number, count: number): number {
    const status = this.#allocate(goal > 0 ? goal : this.#dataGoal, count, Math.min(count, 1));
    if (status < 0) return status;
    this.allocatedStart = this.#core.f64[this.#result >> 3] as number;
    this.allocatedCount = this.#core.u32[(this.#result + 8) >> 2] as number;
    this.#unreferenced.set(this.allocatedStart, this.allocatedCount);
    this.#dataGoal = Math.min(
      this.allocatedStart + this.allocatedCount,
      this.#geometry.blockCount - 1,
    );
    return 0;
  }

  allocatedStart = 0;
  allocatedCount = 0;

  /** From now on the first `count` blocks of an allocated run and the rest are two runs. */
  splitAllocated(start: number, count: number): void {
    const whole = this.#unreferenced.get(start);
    assert(whole !== undefined && count > 0 && count < whole, "split run was not allocated");
    this.#unreferenced.set(start, count);
    this.#unreferenced.set(start + count, whole - count);
  }

  /** A tree points to the run from now on. */
  reference(start: number, count: number): void {
    assert(this.#unreferenced.get(start) === count, "referenced run was not allocated");
    this.#unreferenced.delete(start);
    this.#markDirty(this.#regionOf(start));
  }

  /** The run was never pointed to. */
  unallocate(start: number, count: number): void {
    assert(this.#unreferenced.get(start) === count, "returned run was not allocated");
    this.#unreferenced.delete(start);
    this.#giveBack(start, count);
  }

  /** Replay: a journalled transaction points to the run. Throws Retry while its bitmap is loaded. */
  markReplayed(start: number, count: number): void {
    const region = this.#regionOf(start);
    this.#requireAttached(region);
    const used = this.#core.exports.space_is_used(this.#base, start, count);
    if (used === 1) return;
    const status = this.#core.exports.space_mark(this.#base, start, count);
    if (status < 0) {
      throw new FsError(
        EIO,
        "space/replayed-run-in-use",
        `Cannot replay: blocks ${start} to ${start + count - 1} are in use (${status})`,
      );
    }
    this.#markDirty(region);
  }

  #allocate(goal: number, count: number, minCount: number): number {
    const status = this.#core.exports.space_alloc(
      this.#base,
      goal,
      count,
      minCount,
      0,
      this.#result,
    );
    if (status === -EAGAIN) {
      const region = this.#core.u32[(this.#result + 12) >> 2] as number;
      if (this.#freeFrames.length === 0 && !this.#evictOne()) {
        // Every bitmap in memory is dirty: take what there is.
        return this.#core.exports.space_alloc(
          this.#base,
          goal,
          count,
          minCount,
          SPACE_ATTACHED_ONLY,
          this.#result,
        );
      }
      throw new Retry((resume) => this.#load(region, resume));
    }
    if (status === 0) this.#used[this.#core.u32[(this.#result + 12) >> 2] as number] = 1;
    assert(status === 0 || status === -ENOSPC, "space_alloc refused its arguments");
    return status;
  }

  #giveBack(start: number, count: number): void {
    const status = this.#core.exports.space_free(this.#base, start, count);
    if (status === 0) return;
    // A map that says so was not written by us; if it was, this is a bug of ours.
    throw new FsError(
      EUCLEAN,
      "space/free-twice",
      `Cannot free blocks ${start} to ${start + count - 1}: not all of them are in use (${status})`,
    );
  }

  #regionOf(block: number): number {
    return Math.floor(block / this.#geometry.regionBlocks);
  }

  #markDirty(region: number): void {
    if (this.#dirty[region] === 1) return;
    this.#dirty[region] = 1;
    this.#dirtyList.push(region);
    this.#dirtyCount++;
  }

  // --- bitmaps in memory ---

  #requireAttached(region: number): void {
    if (this.#core.exports.space_attached(this.#base, region) !== 0) return;
    throw new Retry((resume) => this.#load(region, resume));
  }

  /** Attaches all regions that the coming checkpoint must write. */
  *attachDirty(): Task<void> {
    for (let i = 0; i < this.#dirtyList.length; i++) {
      const region = this.#dirtyList[i] as number;
      if (this.#core.exports.space_attached(this.#base, region) !== 0) continue;
      const status = yield (resume) => this.#load(region, resume);
      if (status < 0)
        throw new FsError(
          EIO,
          "space/bitmap",
          `Cannot read the bitmap of region ${region}: error ${status}`,
        );
    }
  }

  get allDirtyAttached(): boolean {
    for (const region of this.#dirtyList) {
      if (this.#core.exports.space_attached(this.#base, region) === 0) return false;
    }
    return true;
  }

  #load(region: number, resume: (status: number) => void): void {
    const waiters = this.#loading.get(region);
    if (waiters !== undefined) {
      waiters.push(resume);
      return;
    }
    this.#loading.set(region, [resume]);
    spawn(this.#loadTask(region), (error, status) => {
      const all = this.#loading.get(region) ?? [];
      this.#loading.delete(region);
      if (error !== null) {
        this.#log("error", "space.bitmap_unreadable", { region, cause: String(error) });
      }
      const result = error !== null ? -EIO : (status as number);
      for (const waiter of all) waiter(result);
    });
  }

  *#loadTask(region: number): Task<number> {
    const core = this.#core;
    if (core.exports.space_attached(this.#base, region) !== 0) return 0;
    if (this.#freeFrames.length === 0 && !this.#evictOne()) return -ENOMEM;
    const frame = this.#freeFrames.pop() as number;
    if (this.#state[region] === REGION_STATE_EMPTY) {
      core.exports.bytes_fill(frame, 0, this.#bitmapBytes);
      this.#attach(region, frame);
      const first = region * this.#geometry.regionBlocks;
      const end = first + this.#geometry.regionBlocks;
      for (const [start, length] of fixedAreas(this.#geometry)) {
        const from = Math.max(start, first);
        const to = Math.min(start + length, end, this.#geometry.blockCount);
        if (from < to) core.exports.space_mark(this.#base, from, to - from);
      }
      return 0;
    }
    for (let copy = 0; copy < 2; copy++) {
      const block = mapBlock(this.#geometry, copy, region, this.#slot[region] as number);
      const status = yield (resume) => this.#pool.read(0, block, frame, this.#bitmapBytes, resume);
      const bad =
        status < 0 ||
        core.exports.xxh3_64_verify_units(
          frame,
          this.#bitmapBytes,
          1,
          this.#checksums + region * 8,
        ) >= 0;
      if (!bad) {
        this.#attach(region, frame);
        if (this.#keepsFixedAreas(region)) return 0;
        this.#detach(region);
        this.#log("error", "space.bitmap_invalid", { region, copy, block });
        return -EUCLEAN;
      }
      const member = this.#pool.members[0];
      if (member !== undefined && status >= 0) member.checksumErrors++;
      this.#log("error", "space.bitmap_damaged", { region, copy, block, status });
    }
    this.#freeFrames.push(frame);
    return -EIO;
  }

  /** Whether an attached bitmap keeps us from writing over superblocks, journal and bitmaps. */
  #keepsFixedAreas(region: number): boolean {
    const first = region * this.#geometry.regionBlocks;
    const end = Math.min(first + this.#geometry.regionBlocks, this.#geometry.blockCount);
    return fixedAreas(this.#geometry).every(([start, length]) => {
      const from = Math.max(start, first);
      const to = Math.min(start + length, end);
      return from >= to || this.#core.exports.space_is_used(this.#base, from, to - from) === 1;
    });
  }

  /** Takes back what #attach did last. */
  #detach(region: number): void {
    this.#freeFrames.push(this.#core.exports.space_attached(this.#base, region) >>> 0);
    this.#core.exports.space_detach(this.#base, region);
    this.#attachedRegions.pop();
  }

  #attach(region: number, frame: number): void {
    const status = this.#core.exports.space_attach(this.#base, region, frame);
    assert(status === 0, "region attached twice");
    this.#attachedRegions.push(region);
    this.#used[region] = 1;
  }

  /** CLOCK over attached regions that are clean. */
  #evictOne(): boolean {
    const count = this.#attachedRegions.length;
    for (let turns = 0; turns < 2 * count; turns++) {
      if (this.#clock >= this.#attachedRegions.length) this.#clock = 0;
      const region = this.#attachedRegions[this.#clock] as number;
      const kept =
        this.#dirty[region] === 1 || this.#writing[region] === 1 || this.#holdsTaken(region);
      if (kept || this.#used[region] === 1) {
        if (!kept) this.#used[region] = 0;
        this.#clock++;
        continue;
      }
      const address = this.#core.exports.space_attached(this.#base, region) >>> 0;
      this.#core.exports.space_detach(this.#base, region);
      this.#freeFrames.push(address);
      this.#attachedRegions[this.#clock] = this.#attachedRegions[
        this.#attachedRegions.length - 1
      ] as number;
      this.#attachedRegions.pop();
      return true;
    }
    return false;
  }

  /** Whether the bitmap in memory says more than the one on disk although the region is clean. */
  #holdsTaken(region: number): boolean {
    for (const ready of this.#ready)
      for (const block of ready) if (this.#regionOf(block) === region) return true;
    for (const start of this.#unreferenced.keys())
      if (this.#regionOf(start) === region) return true;
    return false;
  }

  // --- checkpoint ---

  /** Regions that are dirty now, in no order; grows while the checkpoint puts their items. */
  get dirtyRegions(): readonly number[] {
    return this.#dirtyList;
  }

  /** Whether the images of the dirty regions fit into their buffers. */
  get imagesFit(): boolean {
    return this.#dirtyCount <= this.#imageCapacity;
  }

  /**
   * Closes the generation: builds the images of the dirty regions, calls `encode` for each so that its item can be
   * filled, and forgets that they are dirty. Allocates nothing and waits for nothing.
   */
  closeGeneration(encode: (image: RegionImage) => void): RegionImage[] {
    assert(this.#closing.length === 0, "a generation is closing already");
    const core = this.#core;
    const imageOf = new Map<number, number>();
    const images: RegionImage[] = [];
    for (const region of this.#dirtyList) {
      const bitmap = core.exports.space_attached(this.#base, region) >>> 0;
      assert(bitmap !== 0, "dirty region is not attached");
      const address = this.#images + images.length * this.#bitmapBytes;
      core.exports.bytes_copy(address, bitmap, this.#bitmapBytes);
      imageOf.set(region, address);
      images.push({
        region,
        address,
        slot: this.#state[region] === REGION_STATE_EMPTY ? 0 : 1 - (this.#slot[region] as number),
      });
      this.#dirty[region] = 0;
      this.#writing[region] = 1;
    }
    this.#dirtyList.length = 0;
    this.#dirtyCount = 0;
    const clear = (block: number, count: number): void => {
      const region = this.#regionOf(block);
      const address = imageOf.get(region);
      if (address === undefined) return;
      core.exports.space_bitmap_clear(address, block - region * this.#geometry.regionBlocks, count);
    };
    this.#closing = this.#pending;
    this.#closingBlocks = this.pendingBlocks;
    this.#pending = [];
    this.pendingBlocks = 0;
    for (let i = 0; i < this.#closing.length; i += 2)
      clear(this.#closing[i] as number, this.#closing[i + 1] as number);
    for (const ready of this.#ready) for (const block of ready) clear(block, PAGE_BLOCKS);
    for (const [start, count] of this.#unreferenced) clear(start, count);
    for (const image of images) encode(image);
    return images;
  }

  /** Writes both copies of the images. */
  *writeImages(images: readonly RegionImage[]): Task<void> {
    let inFlight = 0;
    let failed = 0;
    let wake: ((status: number) => void) | null = null;
    const done = (status: number): void => {
      if (status < 0) failed = status;
      inFlight--;
      const resume = wake;
      wake = null;
      resume?.(0);
    };
    const wait = (resume: (status: number) => void): void => {
      wake = resume;
    };
    for (const image of images) {
      for (let copy = 0; copy < 2; copy++) {
        while (inFlight >= 32) yield wait;
        inFlight++;
        const block = mapBlock(this.#geometry, copy, image.region, image.slot);
        this.#pool.write(0, block, image.address, this.#bitmapBytes, done);
      }
    }
    while (inFlight > 0) yield wait;
    if (failed < 0)
      throw new FsError(EIO, "space/bitmap-write", `Cannot write a bitmap: error ${failed}`);
  }

  /** The checkpoint is durable: what it freed can be handed out. Returns the freed runs as pairs, for discard. */
  commitGeneration(images: readonly RegionImage[]): number[] {
    for (const image of images) {
      this.#slot[image.region] = image.slot;
      this.#state[image.region] = REGION_STATE_MAPPED;
      this.#writing[image.region] = 0;
      this.#core.exports.xxh3_64(
        image.address,
        this.#bitmapBytes,
        this.#checksums + image.region * 8,
      );
    }
    const freed = this.#closing;
    for (let i = 0; i < freed.length; i += 2)
      this.#giveBack(freed[i] as number, freed[i + 1] as number);
    this.#closing = [];
    this.#closingBlocks = 0;
    return freed;
  }
}

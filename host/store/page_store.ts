/**
 * Pages in memory and on disk: the cache's frames, loading with verification, copy-on-write, and what a checkpoint
 * seals and writes. Knows pages and pointers, not keys.
 *
 * Invariants:
 * - a page whose birth generation is the open one is DIRTY, referenced by no checkpoint, and may be changed in place;
 *   any other page is immutable;
 * - DIRTY pages are never evicted; a page is clean only after the checkpoint that wrote it is durable;
 * - a page enters the cache only after its checksum, address, generation and structure have been verified, that its keys
 *   are those that its place in the tree stands for, and each item by itself: SPEC §4.4. What is in the cache is trusted.
 */
import { assert } from "../base/assert.ts";
import { getU64, setU64 } from "../base/bytes.ts";
import { EIO, ENOMEM, EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Retry } from "../base/retry.ts";
import { spawn, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { type Geometry, PAGE_BLOCKS, PAGE_BYTES } from "../format/geometry.ts";
import { itemProblem, runProblem } from "../format/item_problem.ts";
import {
  addressBlock,
  addressDevice,
  addressHigh,
  addressLow,
  PAGE_ADDRESS,
  PAGE_CHECKSUM,
  PAGE_GENERATION,
  PAGE_LEVEL,
  PAGE_SLOT_COUNT,
  PAGE_TREE_ID,
  POINTER_BYTES,
  POINTER_CHECKSUM,
  POINTER_COPIES,
  POINTER_GENERATION,
} from "../format/page_pointer.ts";
import type { Pool } from "../pool/pool.ts";
import type { Space } from "./space.ts";

const FLAG_DIRTY = 2;
/** Under this device's addresses the cache has pages that nothing points to. */
const NO_DEVICE = 0xffff;
const LOAD_BUFFERS = 32;
/** Leaves loaded together with one that lies beside a cached one: 128 KiB, about what a disk reads in the time of a seek. */
const READ_AHEAD_PAGES = 8;
/** Reading ahead leaves so many buffers to those who wait. */
const READ_AHEAD_BUFFERS_KEPT = 8;
/** Frames that an operation may take without waiting: copies of a few paths, splits and a merge. */
export const FRAMES_PER_OPERATION = 128;
const WRITE_PAGES_MAX = 32;
const WRITES_IN_FLIGHT_MAX = 32;

type Log = (
  level: "info" | "warn" | "error",
  event: string,
  fields: Record<string, unknown>,
) => void;

/** A page that a checkpoint writes: its frame and where its copies go. */
export interface SealedPage {
  readonly frame: number;
  readonly address: number;
  readonly blocks: readonly [number, number];
}

/** A key: object id, type, offset. */
export type PageKey = readonly [oid: number, type: number, offset: number];

/** What the page of a pointer must be, by its place in the tree. Null: no bound. */
export interface PagePlace {
  readonly treeId: number;
  readonly level: number;
  /** First key, and the first one behind. */
  readonly from: PageKey | null;
  readonly to: PageKey | null;
}

const SLOTS_AT = 64;
const SLOT_BYTES = 20;

interface Load {
  readonly pointer: Uint8Array;
  readonly place: PagePlace;
  readonly waiters: ((status: number) => void)[];
}

export class PageStore {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #space: Space;
  readonly #log: Log;
  readonly #geometry: Geometry;
  readonly cache: number;
  readonly #frames: number;
  readonly frameCount: number;
  readonly #buffers: number[] = [];
  readonly #pointerScratch: number;
  readonly #loads = new Map<number, Load>();
  readonly #queued: Load[] = [];
  #healsInFlight = 0;
  #healWaiter: ((status: number) => void) | null = null;

  /** The open generation: that of the checkpoint to come. */
  generation = 0;

  /** Walks down a tree, and those that met a page which was not cached; pages read from devices. */
  walks = 0;
  misses = 0;
  loads = 0;
  heals = 0;

  constructor(options: {
    core: Core;
    pool: Pool;
    space: Space;
    geometry: Geometry;
    layout: Layout;
    frameCount: number;
    log: Log;
  }) {
    const { core, layout } = options;
    this.#core = core;
    this.#geometry = options.geometry;
    this.#pool = options.pool;
    this.#space = options.space;
    this.#log = options.log;
    this.frameCount = options.frameCount;
    this.#pointerScratch = layout.take(POINTER_BYTES, 8);
    this.cache = layout.take(core.exports.cache_bytes(options.frameCount), 64);
    const buffers = layout.take(LOAD_BUFFERS * PAGE_BYTES, PAGE_BYTES);
    for (let i = 0; i < LOAD_BUFFERS; i++) this.#buffers.push(buffers + i * PAGE_BYTES);
    this.#frames = layout.take(options.frameCount * PAGE_BYTES, PAGE_BYTES);
    core.exports.cache_init(this.cache, options.frameCount, this.#frames);
  }

  get freeFrames(): number {
    return this.#core.exports.cache_free_count(this.cache);
  }

  get dirtyFrames(): number {
    return this.#core.exports.cache_dirty_count(this.cache);
  }

  frameAddress(frame: number): number {
    return this.#core.exports.cache_frame_address(this.cache, frame) >>> 0;
  }

  /** Evicts clean pages until `count` frames are free. False if there are not enough. */
  makeFree(count: number): boolean {
    while (this.freeFrames < count) {
      if (this.#core.exports.cache_evict(this.cache) < 0) return false;
    }
    return true;
  }

  // --- loading ---

  /** A Retry that waits for the page of a pointer in core memory. */
  missing(pointerAddress: number, place: PagePlace): Retry {
    this.misses++;
    const pointer = this.#core.bytes.slice(pointerAddress, pointerAddress + POINTER_BYTES);
    const ahead = this.#aheadOf(pointerAddress, place);
    return new Retry((resume) => {
      this.#load({ pointer, place, waiters: [resume] });
      this.#loadAhead(ahead);
    });
  }

  /**
   * Loads leaves that will be wanted soon, and waits for none: at most `pages` of those behind a slot of their parent, as far
   * as they begin before a key.
   */
  readAhead(parent: number, slot: number, treeId: number, end: PageKey, pages: number): void {
    const wanted = this.#leavesFrom(parent, slot, 1, pages, treeId);
    this.#loadAhead(wanted.filter(({ place }) => compareKeys(place.from as PageKey, end) < 0));
  }

  #loadAhead(loads: readonly Load[]): void {
    for (const load of loads) {
      if (this.#buffers.length <= READ_AHEAD_BUFFERS_KEPT) break;
      this.#load(load);
    }
  }

  /** The leaves among so many beside a slot of their parent that are not cached. */
  #leavesFrom(parent: number, slot: number, step: number, pages: number, treeId: number): Load[] {
    const { exports, view, bytes } = this.#core;
    const count = view.getUint16(parent + PAGE_SLOT_COUNT, true);
    const leaves: Load[] = [];
    for (let i = 1; i <= pages; i++) {
      const sibling = slot + i * step;
      // What bounds the parent's ends is not known here.
      if (sibling < 1 || sibling + 1 >= count) break;
      const at = exports.page_value(parent, sibling) >>> 0;
      if (this.#isCached(at)) continue;
      const pointer = bytes.slice(at, at + POINTER_BYTES);
      const [from, to] = [this.keyAt(parent, sibling), this.keyAt(parent, sibling + 1)];
      leaves.push({ pointer, place: { treeId, level: 0, from, to }, waiters: [] });
    }
    return leaves;
  }

  /** Whether the page of the pointer at an address is. */
  #isCached(at: number): boolean {
    const { exports, view } = this.#core;
    return (
      exports.cache_find(this.cache, view.getUint32(at, true), view.getUint32(at + 4, true)) >= 0
    );
  }

  /** The key in a slot of a page in core memory. */
  keyAt(page: number, slot: number): PageKey {
    const { view } = this.#core;
    const at = page + SLOTS_AT + slot * SLOT_BYTES;
    const high = view.getUint32(at + 12, true);
    return [
      getU64(view, at),
      high >>> 24,
      view.getUint32(at + 8, true) + (high & 0xffffff) * 4294967296,
    ];
  }

  /**
   * Pointers to leaves that are likely to be wanted after one that is missing: where its neighbour is cached, somebody
   * walks along the tree or jumps about in a small part of it. A page that is being loaded is in the tree until it has
   * been, since what changes the tree has its pages cached: so a load that nobody waits for is never out of date.
   */
  #aheadOf(pointerAddress: number, place: PagePlace): Load[] {
    const { exports, view } = this.#core;
    const framesEnd = this.#frames + this.frameCount * PAGE_BYTES;
    if (pointerAddress < this.#frames || pointerAddress >= framesEnd) return [];
    const parent = pointerAddress - ((pointerAddress - this.#frames) % PAGE_BYTES);
    if (view.getUint8(parent + PAGE_LEVEL) !== 1) return [];
    const count = view.getUint16(parent + PAGE_SLOT_COUNT, true);
    const pointerAt = (slot: number): number => exports.page_value(parent, slot) >>> 0;
    let slot = 0;
    while (slot < count && pointerAt(slot) !== pointerAddress) slot++;
    const followsCached = slot > 0 && this.#isCached(pointerAt(slot - 1));
    const precedesCached = slot + 1 < count && this.#isCached(pointerAt(slot + 1));
    if (!followsCached && !precedesCached) return [];
    const step = followsCached ? 1 : -1;
    return this.#leavesFrom(parent, slot, step, READ_AHEAD_PAGES, place.treeId);
  }

  #load(load: Load): void {
    const { pointer } = load;
    const view = new DataView(pointer.buffer, pointer.byteOffset, POINTER_BYTES);
    const low = view.getUint32(0, true);
    const high = view.getUint32(4, true);
    if (this.#core.exports.cache_find(this.cache, low, high) >= 0) {
      for (const resume of load.waiters) resume(0);
      return;
    }
    const key = addressBlock(low, high);
    const running = this.#loads.get(key);
    if (running !== undefined) {
      running.waiters.push(...load.waiters);
      return;
    }
    this.#loads.set(key, load);
    if (this.#buffers.length === 0) this.#queued.push(load);
    else this.#start(load, key);
  }

  #start(load: Load, key: number): void {
    const buffer = this.#buffers.pop() as number;
    spawn(this.#loadTask(load, buffer), (error, status) => {
      this.#buffers.push(buffer);
      this.#loads.delete(key);
      if (error !== null)
        this.#log("error", "page.load_failed", { block: key, cause: String(error) });
      const next = this.#queued.shift();
      if (next !== undefined) {
        const view = new DataView(next.pointer.buffer, next.pointer.byteOffset, POINTER_BYTES);
        this.#start(next, addressBlock(view.getUint32(0, true), view.getUint32(4, true)));
      }
      const result = error !== null ? -EIO : (status as number);
      for (const resume of load.waiters) resume(result);
    });
  }

  *#loadTask(load: Load, buffer: number): Task<number> {
    const core = this.#core;
    const { pointer } = load;
    const view = new DataView(pointer.buffer, pointer.byteOffset, POINTER_BYTES);
    const pointerProblem = this.forRepair ? null : this.#pointerProblem(view);
    if (pointerProblem !== null) {
      const block = addressBlock(view.getUint32(0, true), view.getUint32(4, true));
      this.#log("error", "page.pointer_invalid", { block, problem: pointerProblem });
      return -EIO;
    }
    const bad: [number, number][] = [];
    for (let copy = 0; copy < POINTER_COPIES; copy++) {
      const low = view.getUint32(copy * 8, true);
      const high = view.getUint32(copy * 8 + 4, true);
      if (low === 0 && high === 0) continue;
      const device = addressDevice(high);
      const block = addressBlock(low, high);
      const member = this.#pool.member(device);
      if (member === undefined) continue;
      if (
        this.forRepair &&
        runProblem(this.#geometry, getU64(view, copy * 8), PAGE_BLOCKS) !== null
      )
        continue;
      const status = yield (resume) => this.#pool.read(device, block, buffer, PAGE_BYTES, resume);
      const problem = status < 0 ? `read error ${status}` : this.#problem(load, view, buffer);
      if (problem === null) {
        if (!this.makeFree(1)) return -ENOMEM;
        const frame = core.exports.cache_add(
          this.cache,
          view.getUint32(0, true),
          view.getUint32(4, true),
        );
        assert(frame >= 0, "no frame after eviction");
        core.exports.bytes_copy(this.frameAddress(frame), buffer, PAGE_BYTES);
        this.loads++;
        for (const [badDevice, badBlock] of bad) this.#heal(badDevice, badBlock, buffer);
        return 0;
      }
      if (status >= 0) member.checksumErrors++;
      bad.push([device, block]);
      this.#log("error", "page.damaged", { device, block, copy, problem });
    }
    return -EIO;
  }

  /** Why there can be no page behind a pointer: each copy is freed one day, so each must be a place for one. */
  #pointerProblem(view: DataView): string | null {
    const seen: number[] = [];
    for (let at = 0; at < POINTER_COPIES * 8; at += 8) {
      const address = getU64(view, at);
      if (address === 0 && at > 0) continue;
      const problem = runProblem(this.#geometry, address, PAGE_BLOCKS);
      if (problem !== null) return problem;
      if (seen.some((other) => Math.abs(other - address) < PAGE_BLOCKS)) return "copies overlap";
      seen.push(address);
    }
    // What is born in the open generation has not been written yet.
    return getU64(view, POINTER_GENERATION) < this.generation ? null : "generation";
  }

  /** Why a buffer is not the page that the pointer means, or null. */
  #problem(load: Load, view: DataView, buffer: number): string | null {
    const core = this.#core;
    core.bytes.set(load.pointer, this.#pointerScratch);
    const expected = this.#pointerScratch + POINTER_CHECKSUM;
    if (core.exports.xxh3_64_verify_units(buffer + 8, PAGE_BYTES - 8, 1, expected) >= 0)
      return "checksum mismatch";
    if (getU64(core.view, buffer + PAGE_GENERATION) !== getU64(view, POINTER_GENERATION))
      return "stale generation";
    if (
      core.view.getUint32(buffer + PAGE_ADDRESS, true) !== view.getUint32(0, true) ||
      core.view.getUint32(buffer + PAGE_ADDRESS + 4, true) !== view.getUint32(4, true)
    ) {
      return "another page's address";
    }
    const { treeId, level } = load.place;
    if (core.view.getUint8(buffer + PAGE_TREE_ID) !== treeId) return "another tree's page";
    const code = core.exports.page_validate(buffer, level);
    if (code !== 0) return `invalid structure (${code})`;
    return this.forRepair ? null : this.#contentProblem(load.place, buffer);
  }

  /** Of a page that is valid by itself: keys out of its place's range, an item that is none. */
  #contentProblem(place: PagePlace, buffer: number): string | null {
    const { exports, view } = this.#core;
    const { treeId, level, from, to } = place;
    const count = view.getUint16(buffer + PAGE_SLOT_COUNT, true);
    // An interior page's first key stands for everything below.
    const first = level > 0 ? 1 : 0;
    if (count > first) {
      if (from !== null && compareKeys(this.keyAt(buffer, first), from) < 0) return "keys too low";
      if (to !== null && compareKeys(this.keyAt(buffer, count - 1), to) >= 0)
        return "keys too high";
    }
    if (level > 0) return this.#childrenProblem(buffer, count);
    for (let slot = 0; slot < count; slot++) {
      const at = buffer + SLOTS_AT + slot * SLOT_BYTES;
      const high = view.getUint32(at + 12, true);
      const problem = itemProblem(
        view,
        exports.name_hash,
        this.#geometry,
        treeId,
        getU64(view, at),
        high >>> 24,
        view.getUint32(at + 8, true) + (high & 0xffffff) * 4294967296,
        buffer + view.getUint16(at + 16, true),
        view.getUint16(at + 18, true),
      );
      if (problem !== null) return `item ${slot}: ${problem}`;
    }
    return null;
  }

  /** Of pointers to pages that are not looked at yet: one that is as new as the open generation would be taken for ours. */
  #childrenProblem(page: number, count: number): string | null {
    const { view, exports } = this.#core;
    const generation = getU64(view, page + PAGE_GENERATION);
    for (let slot = 0; slot < count; slot++) {
      const pointer = exports.page_value(page, slot) >>> 0;
      if (!(getU64(view, pointer + POINTER_GENERATION) <= generation)) return `pointer ${slot}`;
    }
    return null;
  }

  /**
   * Rewrites a bad copy from a good one, in place: the page is still referenced, and its blocks cannot be handed out
   * before a checkpoint, which waits for heals.
   */
  #heal(device: number, block: number, buffer: number): void {
    if (this.#pool.members[device]?.device.readOnly === true || this.readOnly) return;
    // Something else may lie there, too.
    if (this.forRepair) return;
    const frame = this.#buffers.pop() ?? 0;
    if (frame === 0) return;
    this.#core.exports.bytes_copy(frame, buffer, PAGE_BYTES);
    this.#healsInFlight++;
    this.#pool.write(device, block, frame, PAGE_BYTES, (status) => {
      this.#buffers.push(frame);
      this.#healsInFlight--;
      if (status >= 0) this.heals++;
      this.#log(status < 0 ? "error" : "warn", "page.healed", { device, block, status });
      const resume = this.#healWaiter;
      if (this.#healsInFlight === 0 && resume !== null) {
        this.#healWaiter = null;
        resume(0);
      }
    });
  }

  readOnly = false;

  /**
   * A page that is whole is loaded although an item in it, or a pointer to it or in it, breaks a rule: they are put right
   * one by one, and the rest of the page is kept. Bad copies are left as they are.
   */
  forRepair = false;

  /** Pages that are being read: their buffers are in use, also for those that nobody waits for. */
  get loadsUnderWay(): number {
    return this.#loads.size;
  }

  /** Waits until no heal is being written. */
  *settleHeals(): Task<void> {
    while (this.#healsInFlight > 0) {
      yield (resume) => {
        this.#healWaiter = resume;
      };
    }
  }

  // --- changing ---

  /** Whether the page of a frame was born in the open generation. */
  isOpen(frameAddress: number): boolean {
    return getU64(this.#core.view, frameAddress + PAGE_GENERATION) === this.generation;
  }

  /** Copies an immutable page to a new address, repoints its parent (the pointer in core memory), frees the old. */
  copyOnWrite(frame: number, pointerAddress: number): number {
    const core = this.#core;
    const old = this.frameAddress(frame);
    const oldBlocks = this.#pointerBlocks(pointerAddress);
    const fresh = this.#claim(pointerAddress);
    const address = this.frameAddress(fresh);
    core.exports.bytes_copy(address, old, PAGE_BYTES);
    this.#stamp(address, pointerAddress);
    for (const block of oldBlocks) this.#space.free(block, PAGE_BLOCKS);
    this.#bury(frame, oldBlocks[0] as number);
    return fresh;
  }

  /** A new empty page of the open generation; fills the pointer at `pointerAddress`. Returns its frame. */
  create(level: number, treeId: number, pointerAddress: number): number {
    const core = this.#core;
    core.exports.bytes_fill(pointerAddress, 0, POINTER_BYTES);
    const frame = this.#claim(pointerAddress);
    const address = this.frameAddress(frame);
    const low = core.view.getUint32(pointerAddress, true);
    const high = core.view.getUint32(pointerAddress + 4, true);
    core.exports.page_init(address, level, treeId, this.generation, low, high);
    this.#stamp(address, pointerAddress);
    return frame;
  }

  /** The page that a pointer means leaves the tree. */
  release(frame: number, pointerAddress: number): void {
    const core = this.#core;
    const blocks = this.#pointerBlocks(pointerAddress);
    if (this.isOpen(this.frameAddress(frame))) {
      core.exports.cache_set_flags(this.cache, frame, 0, FLAG_DIRTY);
      core.exports.cache_remove(this.cache, frame);
      this.#space.returnPage(0, blocks[0] as number);
      this.#space.returnPage(1, blocks[1] as number);
      return;
    }
    for (const block of blocks) this.#space.free(block, PAGE_BLOCKS);
    this.#bury(frame, blocks[0] as number);
  }

  /** Nothing points to a page of a generation before any more: nobody finds it under its address from now on. */
  #bury(frame: number, block: number): void {
    const { exports } = this.#core;
    if ((exports.cache_flags(this.cache, frame) & FLAG_DIRTY) === 0) {
      exports.cache_remove(this.cache, frame);
      return;
    }
    // A checkpoint is writing it: its frame stays until that is durable.
    const low = addressLow(block);
    const high = addressHigh(NO_DEVICE, block);
    const older = exports.cache_find(this.cache, low, high);
    if (older >= 0) exports.cache_remove(this.cache, older);
    exports.cache_rekey(this.cache, frame, low, high);
  }

  #pointerBlocks(pointerAddress: number): number[] {
    const blocks: number[] = [];
    for (let copy = 0; copy < POINTER_COPIES; copy++) {
      const low = this.#core.view.getUint32(pointerAddress + copy * 8, true);
      const high = this.#core.view.getUint32(pointerAddress + copy * 8 + 4, true);
      if (low !== 0 || high !== 0) blocks.push(addressBlock(low, high));
    }
    return blocks;
  }

  /** Takes addresses and a frame for a page of the open generation, and writes the addresses into the pointer. */
  #claim(pointerAddress: number): number {
    const core = this.#core;
    const first = this.#space.takePage(0);
    const second = this.#space.takePage(1);
    const low = addressLow(first);
    const high = addressHigh(0, first);
    if (core.exports.cache_find(this.cache, low, high) >= 0) {
      throw new FsError(
        EUCLEAN,
        "page/in-use",
        `Cannot put a page at block ${first}: a tree has one there, although the map says that it is free`,
      );
    }
    const frame = core.exports.cache_add(this.cache, low, high);
    assert(frame >= 0, "no free frame: begin() must make room");
    core.exports.cache_set_flags(this.cache, frame, FLAG_DIRTY, 0);
    const view = core.view;
    view.setUint32(pointerAddress, low, true);
    view.setUint32(pointerAddress + 4, high, true);
    view.setUint32(pointerAddress + 8, addressLow(second), true);
    view.setUint32(pointerAddress + 12, addressHigh(0, second), true);
    core.exports.bytes_fill(pointerAddress + 16, 0, POINTER_GENERATION - 16);
    setU64(view, pointerAddress + POINTER_GENERATION, this.generation);
    return frame;
  }

  #stamp(address: number, pointerAddress: number): void {
    setU64(this.#core.view, address + PAGE_GENERATION, this.generation);
    this.#core.exports.bytes_copy(address + PAGE_ADDRESS, pointerAddress, 8);
  }

  // --- checkpoint ---

  /**
   * Computes the checksums of all pages of a tree that were born in the open generation, children before parents, and
   * stores them in the parents' pointers. Adds the pages to `sealed`.
   */
  seal(pointerAddress: number, sealed: SealedPage[]): void {
    const core = this.#core;
    const view = core.view;
    if (getU64(view, pointerAddress + POINTER_GENERATION) !== this.generation) return;
    const frame = core.exports.cache_find(
      this.cache,
      view.getUint32(pointerAddress, true),
      view.getUint32(pointerAddress + 4, true),
    );
    assert(frame >= 0, "a page of the open generation is not cached");
    const address = this.frameAddress(frame);
    if (view.getUint8(address + PAGE_LEVEL) > 0) {
      const count = view.getUint16(address + PAGE_SLOT_COUNT, true);
      for (let slot = 0; slot < count; slot++) {
        this.seal(core.exports.page_value(address, slot) >>> 0, sealed);
      }
    }
    core.exports.xxh3_64(address + 8, PAGE_BYTES - 8, address + PAGE_CHECKSUM);
    core.exports.bytes_copy(pointerAddress + POINTER_CHECKSUM, address + PAGE_CHECKSUM, 8);
    const blocks = this.#pointerBlocks(pointerAddress);
    sealed.push({ frame, address, blocks: [blocks[0] as number, blocks[1] as number] });
  }

  /** Writes both copies of sealed pages; neighbours on disk go in one write. */
  *writeSealed(sealed: readonly SealedPage[]): Task<void> {
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
    for (const copy of [0, 1] as const) {
      const order = [...sealed].sort((a, b) => a.blocks[copy] - b.blocks[copy]);
      let from = 0;
      while (from < order.length) {
        let to = from + 1;
        while (
          to < order.length &&
          to - from < WRITE_PAGES_MAX &&
          (order[to] as SealedPage).blocks[copy] ===
            (order[to - 1] as SealedPage).blocks[copy] + PAGE_BLOCKS
        ) {
          to++;
        }
        while (inFlight >= WRITES_IN_FLIGHT_MAX) yield wait;
        const run = order.slice(from, to);
        inFlight++;
        const block = (order[from] as SealedPage).blocks[copy];
        if (run.length === 1)
          this.#pool.write(0, block, (run[0] as SealedPage).address, PAGE_BYTES, done);
        else {
          this.#pool.writeVector(
            0,
            block,
            run.map((page) => page.address),
            run.map(() => PAGE_BYTES),
            done,
          );
        }
        from = to;
      }
    }
    while (inFlight > 0) yield wait;
    if (failed < 0) throw new FsError(EIO, "page/write", `Cannot write a page: error ${failed}`);
  }

  /** The checkpoint that wrote these is durable: they may be evicted. */
  markClean(sealed: readonly SealedPage[]): void {
    for (const page of sealed)
      this.#core.exports.cache_set_flags(this.cache, page.frame, 0, FLAG_DIRTY);
  }

  /** Tree id in a page's header. */
  treeIdOf(frameAddress: number): number {
    return this.#core.view.getUint8(frameAddress + PAGE_TREE_ID);
  }
}

export function compareKeys(a: PageKey, b: PageKey): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

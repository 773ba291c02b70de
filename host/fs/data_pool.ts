/**
 * Buffers for file data: runs of 4 KiB frames in core memory, shared by requests, reads and buffered writes, and the
 * slab of the coalescer. Knows who waits for room.
 */
import { EINVAL } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";

const FREED_RUNS = 256;

export class DataPool {
  readonly #core: Core;
  readonly base: number;
  readonly dirtyBase: number;
  readonly frameCount: number;
  readonly #freed: number;
  #waiters: ((status: number) => void)[] = [];

  constructor(core: Core, layout: Layout, frameCount: number) {
    this.#core = core;
    this.frameCount = frameCount;
    const nodes = frameCount * 2 + 1024;
    this.base = layout.take(core.exports.pool_bytes(frameCount), 64);
    this.dirtyBase = layout.take(core.exports.dirty_bytes(nodes), 64);
    this.#freed = layout.take(FREED_RUNS * 8, 8);
    const frames = layout.take(frameCount * BLOCK_BYTES, BLOCK_BYTES);
    if (
      core.exports.pool_init(this.base, frameCount, frames) < 0 ||
      core.exports.dirty_init(this.dirtyBase, nodes) < 0
    ) {
      throw new FsError(
        EINVAL,
        "data-pool/size",
        `Cannot lay out a pool of ${frameCount} data frames`,
      );
    }
  }

  get freeFrames(): number {
    return this.#core.exports.pool_free_count(this.base);
  }

  get dirtyBlocks(): number {
    return this.#core.exports.dirty_total(this.dirtyBase);
  }

  get freeNodes(): number {
    return this.#core.exports.dirty_node_free(this.dirtyBase);
  }

  /** Address of a contiguous run, or 0. */
  take(blockCount: number): number {
    return this.#core.exports.pool_alloc(this.base, blockCount) >>> 0;
  }

  give(address: number, blockCount: number): void {
    this.#core.exports.pool_free(this.base, address, blockCount);
    if (this.#waiters.length > 0) this.#wake();
  }

  /** Returns the buffers that the coalescer no longer needs. Call after what may have freed some. */
  drain(): void {
    const { exports, u32 } = this.#core;
    for (;;) {
      const count = exports.dirty_freed(this.dirtyBase, this.#freed, FREED_RUNS);
      for (let i = 0; i < count; i++) {
        const at = (this.#freed >> 2) + i * 2;
        exports.pool_free(this.base, u32[at] as number, u32[at + 1] as number);
      }
      if (count > 0 && this.#waiters.length > 0) this.#wake();
      if (count < FREED_RUNS) return;
    }
  }

  /** Resumes when some buffer has been given back. */
  whenRoom(resume: (status: number) => void): void {
    this.#waiters.push(resume);
    this.onShortage();
  }

  /** Called when somebody must wait: buffered data should be written back now. */
  onShortage: () => void = () => {};

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resume of waiters) resume(0);
  }
}

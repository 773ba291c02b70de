/**
 * A file's extents in the tree: replacing a range by a newly written run, cutting, and looking up.
 *
 * The two-step rule of transactions holds: `look*` collects what will change (may throw Retry), `apply*` changes it.
 */
import { assert } from "../base/assert.ts";
import { setU64 } from "../base/bytes.ts";
import { EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import {
  EXTENT_ADDRESSES,
  EXTENT_BLOCK_COUNT,
  EXTENT_COPY_COUNT,
  EXTENT_GENERATION,
  EXTENT_UNIT_SHIFT,
  EXTENT_UNIT_SHIFT_VALUE,
  extentBytes,
  extentChecksums,
  extentIsWritten,
  extentProblem,
} from "../format/extent.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import { INODE_SHARED } from "../format/inode.ts";
import { ITEM_EXTENT, ITEM_INODE } from "../format/key.ts";
import { VALUE_BYTES_MAX } from "../format/limits.ts";
import { addressBlock, addressHigh, addressLow } from "../format/page_pointer.ts";
import type { Store } from "../store/store.ts";
import { inodeFlags } from "./inode_data.ts";
import { SharedRuns } from "./shared_runs.ts";

/** An extent as it was looked up: positions in blocks. */
export interface Extent {
  readonly fileBlock: number;
  readonly blockCount: number;
  readonly start: number;
  /** Whether it has data; otherwise it keeps space and reads as zeros. */
  readonly isWritten: boolean;
}

/** What `look` found. */
export interface Overlap {
  readonly extents: readonly Extent[];
  /** Whether these are all; otherwise the rest belongs into another transaction. */
  readonly isComplete: boolean;
  /** Whether their blocks may belong to other files too. */
  readonly isShared: boolean;
}

/** Blocks of a file. */
export interface BlockRange {
  readonly block: number;
  readonly count: number;
}

/** The part of an extent that lies in blocks [from, to) of the file. */
export function within(extent: Extent, from: number, to: number): Extent {
  const fileBlock = Math.max(extent.fileBlock, from);
  return {
    fileBlock,
    blockCount: Math.min(extent.fileBlock + extent.blockCount, to) - fileBlock,
    start: extent.start + (fileBlock - extent.fileBlock),
    isWritten: extent.isWritten,
  };
}

/** Of files that share blocks: what one transaction changes at most. */
export const SHARED_EXTENTS_MAX = 40;
export const SHARED_COUNTS_MAX = 1600;

export class ExtentMap {
  readonly #core: Core;
  readonly #store: Store;
  readonly #old: number;
  readonly #new: number;
  readonly shared: SharedRuns;

  constructor(store: Store, layout: Layout) {
    this.shared = new SharedRuns(store, layout);
    this.#core = store.core;
    this.#store = store;
    this.#old = layout.take(VALUE_BYTES_MAX + 8, 8);
    this.#new = layout.take(VALUE_BYTES_MAX + 8, 8);
  }

  /** Reads the extent that the store stands on. */
  #current(): Extent {
    const { view } = this.#core;
    const at = this.#store.valueAddress;
    const problem = extentProblem(view, at, this.#store.valueLength);
    const fileBlock = this.#store.keyOffset / BLOCK_BYTES;
    if (problem !== null || !Number.isInteger(fileBlock)) {
      throw new FsError(
        EUCLEAN,
        "extent/invalid",
        `Cannot use an extent of inode ${this.#store.keyOid} at ${this.#store.keyOffset}: ${problem ?? "unaligned"}`,
      );
    }
    return {
      fileBlock,
      blockCount: view.getUint32(at + EXTENT_BLOCK_COUNT, true),
      start: addressBlock(
        view.getUint32(at + EXTENT_ADDRESSES, true),
        view.getUint32(at + EXTENT_ADDRESSES + 4, true),
      ),
      isWritten: extentIsWritten(view, at),
    };
  }

  /**
   * The extents that overlap blocks [from, to), in order; at most `max`. Leaves the store's cursor anywhere.
   */
  overlapping(ino: number, from: number, to: number, max: number, writtenOnly = false): Extent[] {
    const store = this.#store;
    const found: Extent[] = [];
    if (from >= to) return found;
    let more: boolean;
    if (
      store.seekLast(ino, ITEM_EXTENT, from * BLOCK_BYTES) &&
      store.keyOid === ino &&
      store.keyType === ITEM_EXTENT
    ) {
      const before = this.#current();
      if (before.fileBlock + before.blockCount > from && (before.isWritten || !writtenOnly))
        found.push(before);
      more = store.seek(ino, ITEM_EXTENT, before.fileBlock * BLOCK_BYTES + 1);
    } else {
      more = store.seek(ino, ITEM_EXTENT, from * BLOCK_BYTES);
    }
    while (more && found.length < max && store.keyOid === ino && store.keyType === ITEM_EXTENT) {
      if (store.keyOffset >= to * BLOCK_BYTES) break;
      const extent = this.#current();
      if (extent.isWritten || !writtenOnly) found.push(extent);
      more = store.next();
    }
    return found;
  }

  /**
   * Where the file keeps space for blocks [block, block + count) that nothing was written to yet.
   *
   * @returns First block on disk, 0 if it keeps none there, and for how many of the blocks that is so.
   */
  keptAt(ino: number, block: number, count: number): { start: number; count: number } {
    for (const extent of this.overlapping(ino, block, block + count, count)) {
      if (extent.isWritten) continue;
      if (extent.fileBlock > block) return { start: 0, count: extent.fileBlock - block };
      const skip = block - extent.fileBlock;
      return { start: extent.start + skip, count: Math.min(count, extent.blockCount - skip) };
    }
    return { start: 0, count };
  }

  /** How many of blocks [block, block + count) one transaction can replace although they are shared. */
  cuttable(ino: number, block: number, count: number): number {
    const extents = this.overlapping(ino, block, block + count, SHARED_EXTENTS_MAX + 1);
    const beyond = extents[SHARED_EXTENTS_MAX];
    return beyond === undefined ? count : beyond.fileBlock - block;
  }

  /**
   * How many of blocks [block, block + count) the file keeps unwritten, and how many have data that is the file's alone
   * as far as is known.
   */
  ownedCount(
    ino: number,
    block: number,
    count: number,
    isShared: boolean,
  ): { kept: number; written: number } {
    let kept = 0;
    let written = 0;
    for (const extent of this.overlapping(ino, block, block + count, count)) {
      const from = Math.max(block, extent.fileBlock);
      const part = Math.min(block + count, extent.fileBlock + extent.blockCount) - from;
      if (!extent.isWritten) kept += part;
      else if (!isShared) written += part;
    }
    return { kept, written };
  }

  /** The parts of blocks [from, to) that no extent covers, in order; at most `max`. */
  holes(ino: number, from: number, to: number, max: number): BlockRange[] {
    const holes: BlockRange[] = [];
    let block = from;
    while (block < to && holes.length < max) {
      const extent = this.firstFrom(ino, block);
      const end = Math.min(to, extent?.fileBlock ?? to);
      if (end > block) holes.push({ block, count: end - block });
      block = extent === null ? to : extent.fileBlock + extent.blockCount;
    }
    return holes;
  }

  /** The first extent that ends after a block, or null. */
  firstFrom(ino: number, block: number): Extent | null {
    return this.overlapping(ino, block, Number.MAX_SAFE_INTEGER / BLOCK_BYTES, 1)[0] ?? null;
  }

  /** The last extent that begins before a block, or null. */
  lastBefore(ino: number, block: number): Extent | null {
    const store = this.#store;
    if (block <= 0) return null;
    if (!store.seekLast(ino, ITEM_EXTENT, block * BLOCK_BYTES - 1)) return null;
    return store.keyOid === ino && store.keyType === ITEM_EXTENT ? this.#current() : null;
  }

  /** Copies the checksums of blocks [block, block + count) of the extent that covers them. */
  copyChecksums(ino: number, extent: Extent, block: number, count: number, to: number): void {
    const at = this.#store.get(ino, ITEM_EXTENT, extent.fileBlock * BLOCK_BYTES);
    assert(at !== 0, "extent vanished");
    const copies = this.#core.view.getUint8(at + EXTENT_COPY_COUNT);
    const from = at + extentChecksums(copies) + (block - extent.fileBlock) * 8;
    this.#core.exports.bytes_copy(to, from, count * 8);
  }

  /**
   * Looks at every key that `cut` of the same range, and a put within it, change.
   *
   * @param max Extents to return at most; of a file that shares blocks fewer, so that their counts fit into a transaction.
   */
  look(ino: number, from: number, to: number, max: number, writtenOnly = false): Overlap {
    const store = this.#store;
    const isShared = this.isShared(ino);
    const extents = this.overlapping(ino, from, to, max + 1, writtenOnly);
    store.get(ino, ITEM_EXTENT, from * BLOCK_BYTES);
    store.get(ino, ITEM_EXTENT, to * BLOCK_BYTES);
    let count = 0;
    let counts = 0;
    for (const extent of extents) {
      if (count === max || (isShared && count === SHARED_EXTENTS_MAX)) break;
      store.get(ino, ITEM_EXTENT, extent.fileBlock * BLOCK_BYTES);
      if (isShared) {
        const part = within(extent, from, to);
        counts += this.shared.look(part.start, part.blockCount);
        if (counts > SHARED_COUNTS_MAX && count > 0) break;
      }
      count++;
    }
    return { extents: extents.slice(0, count), isComplete: count === extents.length, isShared };
  }

  /** Whether blocks of the file may belong to other files too. */
  isShared(ino: number): boolean {
    const inode = this.#store.get(ino, ITEM_INODE, 0);
    return inode !== 0 && (inodeFlags(this.#core, inode) & INODE_SHARED) !== 0;
  }

  /**
   * Takes blocks [from, to) from the extents that `look` returned: cuts those that reach beyond, removes the others.
   *
   * @param frees False when the blocks go on being used.
   * @returns Blocks that the file lost.
   */
  cut(ino: number, overlap: Overlap, from: number, to: number, frees = true): number {
    let lost = 0;
    for (const extent of overlap.extents) {
      const part = within(extent, from, to);
      if (part.blockCount <= 0) continue;
      const end = extent.fileBlock + extent.blockCount;
      const cutTo = part.fileBlock + part.blockCount;
      const at = this.#store.get(ino, ITEM_EXTENT, extent.fileBlock * BLOCK_BYTES);
      assert(at !== 0, "extent vanished between look and cut");
      this.#core.exports.bytes_copy(this.#old, at, this.#store.valueLength);
      if (part.fileBlock > extent.fileBlock)
        this.#putPart(ino, extent, extent.fileBlock, part.fileBlock);
      else this.#store.remove(ino, ITEM_EXTENT, extent.fileBlock * BLOCK_BYTES);
      if (cutTo < end) this.#putPart(ino, extent, cutTo, end);
      if (frees && overlap.isShared) this.shared.release(part.start, part.blockCount);
      else if (frees) this.#store.freeRun(part.start, part.blockCount);
      lost += part.blockCount;
    }
    return lost;
  }

  /** Points a file to blocks [from, to) of another's extent, too; `look` at both before. */
  share(
    ino: number,
    extent: Extent,
    from: number,
    to: number,
    target: number,
    toBlock: number,
  ): void {
    const at = this.#store.get(ino, ITEM_EXTENT, extent.fileBlock * BLOCK_BYTES);
    assert(at !== 0 && extent.isWritten, "extent vanished between look and share");
    this.#core.exports.bytes_copy(this.#old, at, this.#store.valueLength);
    this.#putPart(target, extent, from, to, toBlock);
    this.shared.add(extent.start + (from - extent.fileBlock), to - from);
  }

  /** Puts blocks [from, to) of the extent whose value is in the old scratch as an extent of their own. */
  #putPart(ino: number, extent: Extent, from: number, to: number, fileBlock = from): void {
    const { view, exports } = this.#core;
    const copies = view.getUint8(this.#old + EXTENT_COPY_COUNT);
    assert(copies === 1, "extents with several copies are not written by this version");
    exports.bytes_copy(this.#new, this.#old, extentChecksums(copies));
    view.setUint32(this.#new + EXTENT_BLOCK_COUNT, to - from, true);
    this.#setAddress(extent.start + (from - extent.fileBlock));
    const header = extentChecksums(copies);
    if (!extent.isWritten) {
      this.#store.put(ino, ITEM_EXTENT, fileBlock * BLOCK_BYTES, this.#new, header);
      return;
    }
    const checksums = this.#old + header + (from - extent.fileBlock) * 8;
    exports.bytes_copy(this.#new + header, checksums, (to - from) * 8);
    const byteLength = extentBytes(copies, to - from);
    this.#store.put(ino, ITEM_EXTENT, fileBlock * BLOCK_BYTES, this.#new, byteLength);
  }

  /** Puts a new extent of one copy, with its checksums at an address. */
  putNew(
    ino: number,
    fileBlock: number,
    start: number,
    count: number,
    generation: number,
    checksums: number,
  ): void {
    const { exports } = this.#core;
    this.#fillHeader(start, count, EXTENT_UNIT_SHIFT_VALUE, generation);
    exports.bytes_copy(this.#new + extentChecksums(1), checksums, count * 8);
    this.#store.put(ino, ITEM_EXTENT, fileBlock * BLOCK_BYTES, this.#new, extentBytes(1, count));
  }

  /** Puts an unwritten extent of one copy. */
  putUnwritten(
    ino: number,
    fileBlock: number,
    start: number,
    count: number,
    generation: number,
  ): void {
    this.#fillHeader(start, count, 0, generation);
    this.#store.put(ino, ITEM_EXTENT, fileBlock * BLOCK_BYTES, this.#new, extentChecksums(1));
  }

  #fillHeader(start: number, count: number, unitShift: number, generation: number): void {
    const { view, exports } = this.#core;
    exports.bytes_fill(this.#new, 0, EXTENT_ADDRESSES);
    view.setUint32(this.#new + EXTENT_BLOCK_COUNT, count, true);
    view.setUint8(this.#new + EXTENT_UNIT_SHIFT, unitShift);
    view.setUint8(this.#new + EXTENT_COPY_COUNT, 1);
    setU64(view, this.#new + EXTENT_GENERATION, generation);
    this.#setAddress(start);
  }

  #setAddress(block: number): void {
    this.#core.view.setUint32(this.#new + EXTENT_ADDRESSES, addressLow(block), true);
    this.#core.view.setUint32(this.#new + EXTENT_ADDRESSES + 4, addressHigh(0, block), true);
  }
}

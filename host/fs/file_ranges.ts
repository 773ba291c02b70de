/**
 * What changes ranges of a file without writing data: truncation, holes, zeros, preallocation, and the release of an
 * unlinked file's data.
 *
 * Nothing but this, clones and write-back changes a file's extents; all wait while pieces of the file are in flight.
 */
import { assert } from "../base/assert.ts";
import { EFBIG, EINVAL, EIO, ENOSPC, EOPNOTSUPP, EROFS, ESTALE } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Retry } from "../base/retry.ts";
import { retrying, spawn, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { EXTENT_UNWRITTEN_BLOCKS_MAX } from "../format/extent.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import { INODE_BYTES, INODE_PREALLOCATED } from "../format/inode.ts";
import { ITEM_EXTENT, ITEM_INLINE, ITEM_INODE } from "../format/key.ts";
import { INTENT_GROW, INTENT_SHRINK } from "../store/item_store.ts";
import type { Store } from "../store/store.ts";
import type { BlockQuota } from "./block_quota.ts";
import type { DirtyFiles } from "./dirty_files.ts";
import { type BlockRange, type ExtentMap, within } from "./extent_map.ts";
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from "./file_system.ts";
import { type Flusher, LOGGED_BLOCKS_MAX } from "./flusher.ts";
import {
  addInodeFlags,
  copyInodeForData,
  inodeBlocks,
  inodeSize,
  storeInodeData,
} from "./inode_data.ts";

import { fixedProblem, immutableProblem } from "./inode_flags.ts";

/** 8 PiB: every offset stays an exact integer. */
export const FILE_BYTES_MAX: number = 2 ** 53 - BLOCK_BYTES;
/** Extents that one transaction removes. */
export const CUT_EXTENTS_MAX = 192;
export const CUT_TO: number = Math.floor(Number.MAX_SAFE_INTEGER / BLOCK_BYTES);
/** An unlinked file with this many extents is freed in the transaction that unlinks it. */
const RELEASE_EXTENTS_MAX = 16;
/** Extents that a step of a truncation removes from a file that shares blocks: so many always fit into a transaction. */
const SHORTEN_SHARED_EXTENTS = 3;
/** Unwritten extents that one transaction puts. */
const PREALLOCATED_RUNS_MAX = 64;
/** Holes whose space is asked for at once. */
const HOLES_MAX = 4096;

interface AllocatedRun {
  readonly fileBlock: number;
  readonly start: number;
  readonly count: number;
}

export class FileRanges {
  readonly #core: Core;
  readonly #store: Store;
  readonly #files: DirtyFiles;
  readonly #extents: ExtentMap;
  readonly #flusher: Flusher;
  readonly #quota: BlockQuota;
  readonly #inode: number;

  constructor(options: {
    store: Store;
    files: DirtyFiles;
    extents: ExtentMap;
    flusher: Flusher;
    quota: BlockQuota;
    layout: Layout;
  }) {
    this.#store = options.store;
    this.#core = options.store.core;
    this.#files = options.files;
    this.#extents = options.extents;
    this.#flusher = options.flusher;
    this.#quota = options.quota;
    this.#inode = options.layout.take(INODE_BYTES, 8);
  }

  truncatePrepare(ino: number, size: number, newSize: number): number {
    if (newSize > FILE_BYTES_MAX) return -EFBIG;
    const busy = this.#files.get(ino);
    if (busy !== undefined && busy.inFlight > 0) {
      throw new Retry((resume) => busy.whenIdle(resume));
    }
    // Growing takes nothing away: space kept behind the end stays.
    if (newSize > (busy?.size ?? size)) return 0;
    const from = Math.ceil(newSize / BLOCK_BYTES);
    const cutBlock = Math.floor(newSize / BLOCK_BYTES);
    if (cutBlock < from && this.#extents.overlapping(ino, cutBlock, from, 1)[0]?.isWritten) {
      // What the extent holds after the new end would be seen again when the file grows: the block is written anew.
      const file = this.#files.open(ino);
      if (typeof file === "number") return file;
      this.#files.bringBlock(file, cutBlock);
      if (this.#files.loggedBlocks >= LOGGED_BLOCKS_MAX) this.#flusher.waitForLogged();
    }
    if (!this.#extents.look(ino, from, CUT_TO, CUT_EXTENTS_MAX).isComplete) {
      throw new Retry((resume) => {
        spawn(this.#shorten(ino, newSize), (error) => resume(error === null ? 0 : -EIO));
      });
    }
    this.#store.get(ino, ITEM_INLINE, 0);
    return 0;
  }

  truncateApply(ino: number, size: number, newSize: number): number {
    const file = this.#files.get(ino);
    if (newSize > (file?.size ?? size)) {
      this.#store.logTruncate(ino, newSize);
      if (file !== undefined) this.#files.truncate(file, newSize);
      return 0;
    }
    const from = Math.ceil(newSize / BLOCK_BYTES);
    const overlap = this.#extents.look(ino, from, CUT_TO, CUT_EXTENTS_MAX);
    assert(overlap.isComplete, "a truncation was not prepared");
    const lost = this.#extents.cut(ino, overlap, from, CUT_TO);
    const inline = this.#store.get(ino, ITEM_INLINE, 0);
    if (inline !== 0 && newSize < this.#store.valueLength) {
      const kept = this.#store.scratchAddress + 4200;
      this.#core.exports.bytes_copy(kept, inline, newSize);
      if (newSize === 0) this.#store.remove(ino, ITEM_INLINE, 0);
      else this.#store.put(ino, ITEM_INLINE, 0, kept, newSize);
    }
    const cutBlock = Math.floor(newSize / BLOCK_BYTES);
    const shrinks = file !== undefined && newSize < file.size;
    this.#store.logTruncate(ino, newSize);
    if (file === undefined) return lost;
    const isCut = shrinks && cutBlock < from && this.#files.find(file, cutBlock);
    if (isCut) this.#files.touchTimes(file);
    this.#files.truncate(file, newSize);
    if (isCut) {
      this.#files.log(file, [cutBlock, 1]);
      this.#files.noteLogged(file, cutBlock, 1);
    }
    return lost;
  }

  releasePrepare(ino: number): boolean {
    const file = this.#files.get(ino);
    if (file !== undefined && (file.inFlight > 0 || file.closed)) return false;
    if (!this.#extents.look(ino, 0, CUT_TO, RELEASE_EXTENTS_MAX).isComplete) return false;
    this.#store.get(ino, ITEM_INLINE, 0);
    return true;
  }

  releaseApply(ino: number): void {
    this.#extents.cut(ino, this.#extents.look(ino, 0, CUT_TO, RELEASE_EXTENTS_MAX), 0, CUT_TO);
    if (this.#store.get(ino, ITEM_INLINE, 0) !== 0) this.#store.remove(ino, ITEM_INLINE, 0);
    const file = this.#files.get(ino);
    if (file === undefined) return;
    this.#files.forget(file);
  }

  /** Removes the extents of a much fragmented file from its end on, in several transactions of bounded size. */
  *#shorten(ino: number, newSize: number): Task<void> {
    const keep = Math.ceil(newSize / BLOCK_BYTES);
    for (;;) {
      const more = yield* retrying(() => {
        const begun = this.#store.begin(INTENT_SHRINK);
        if (begun < 0) throw new FsError(begun, "file/shorten", `Cannot truncate: error ${begun}`);
        const inode = this.#store.get(ino, ITEM_INODE, 0);
        if (inode === 0) return false;
        copyInodeForData(this.#core, inode, this.#inode);
        // Walk back to the extent from which on the last ones go.
        let from = Number.MAX_SAFE_INTEGER / BLOCK_BYTES;
        const step = this.#extents.isShared(ino) ? SHORTEN_SHARED_EXTENTS : CUT_EXTENTS_MAX / 2;
        let count = 0;
        for (; count < step; count++) {
          const extent = this.#extents.lastBefore(ino, from);
          if (extent === null || extent.fileBlock < keep) break;
          from = extent.fileBlock;
        }
        if (count < step) return false;
        const overlap = this.#extents.look(ino, from, CUT_TO, CUT_EXTENTS_MAX);
        assert(overlap.isComplete, "a step of a truncation is too large");
        const lost = this.#extents.cut(ino, overlap, from, CUT_TO);
        const size = Math.min(inodeSize(this.#core, this.#inode), from * BLOCK_BYTES);
        storeInodeData(
          this.#core,
          this.#inode,
          size,
          inodeBlocks(this.#core, this.#inode) - lost,
          this.#files.get(ino) ?? null,
        );
        this.#store.put(ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
        this.#store.logTruncate(ino, size);
        const file = this.#files.get(ino);
        if (file !== undefined) this.#files.truncate(file, size);
        this.#store.commit();
        return true;
      });
      if (!more) return;
    }
  }

  /** fallocate(2): may throw Retry, and then has done a part. Returns 0 or −errno. */
  fallocate(ino: number, mode: number, offset: number, byteLength: number): number {
    if (this.#store.readOnly) return -EROFS;
    if (!(offset >= 0) || !(byteLength > 0)) return -EINVAL;
    const grow = (mode & FALLOC_FL_KEEP_SIZE) === 0;
    const operation = mode & ~FALLOC_FL_KEEP_SIZE;
    if (
      operation !== 0 &&
      operation !== FALLOC_FL_ZERO_RANGE &&
      (operation !== FALLOC_FL_PUNCH_HOLE || grow)
    )
      return -EOPNOTSUPP;
    const end = offset + byteLength;
    if (end > FILE_BYTES_MAX) return -EFBIG;
    const file = this.#files.open(ino);
    if (typeof file === "number") return file;
    const forbidden = operation === 0 ? immutableProblem(file.flags) : fixedProblem(file.flags);
    if (forbidden < 0) return forbidden;
    if (operation === FALLOC_FL_PUNCH_HOLE) return this.#zeroRange(ino, offset, end, false, false);
    if (operation === 0) return this.#preallocate(ino, offset, end, grow);
    // Nobody sees that space is kept: what is seen changes in the transaction that zeroes.
    const status = this.#preallocate(ino, offset, end, false);
    return status < 0 ? status : this.#zeroRange(ino, offset, end, true, grow);
  }

  /**
   * Keeps space for every block of a range that has none, so that writing there cannot fail for want of it. One
   * transaction; if that does not do, the caller is asked to come again by a wait that ends at once.
   */
  #preallocate(ino: number, offset: number, end: number, grow: boolean): number {
    const store = this.#store;
    const file = this.#files.open(ino);
    if (typeof file === "number") return file;
    if (file.inFlight > 0) throw new Retry((resume) => file.whenIdle(resume));
    const begun = store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const inode = store.get(ino, ITEM_INODE, 0);
    if (inode === 0) return -ESTALE;
    copyInodeForData(this.#core, inode, this.#inode);
    // A small file's bytes stay in their item: the block that they may grow into counts as an overwrite.
    const first = Math.max(Math.floor(offset / BLOCK_BYTES), file.hasInline ? 1 : 0);
    const last = Math.ceil(end / BLOCK_BYTES);
    const holes = this.#extents.holes(ino, first, last, HOLES_MAX);
    const missing = holes.reduce((sum, hole) => sum + hole.count, 0);
    if (missing > 0) {
      const promised = this.#quota.problem(ino, missing) || store.promise(missing);
      if (promised < 0) return promised;
    }
    const runs = this.#allocate(ino, holes, file.goal);
    if (runs.length === 0 && missing > 0) return -ENOSPC;
    let taken = 0;
    const { generation } = store.pages;
    for (const run of runs) {
      store.referenceRun(run.start, run.count);
      this.#extents.putUnwritten(ino, run.fileBlock, run.start, run.count, generation);
      taken += run.count;
    }
    const isDone = taken === missing && holes.length < HOLES_MAX;
    let size = inodeSize(this.#core, this.#inode);
    if (isDone && grow && end > file.size) {
      file.size = end;
      size = end;
    }
    this.#files.touchTimes(file);
    const blocks = inodeBlocks(this.#core, this.#inode) + taken;
    storeInodeData(this.#core, this.#inode, size, blocks, file);
    if (taken > 0) {
      addInodeFlags(this.#core, this.#inode, INODE_PREALLOCATED);
      file.isPreallocated = true;
    }
    store.put(ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
    store.commit();
    this.#files.settle(file);
    if (!isDone) throw new Retry((resume) => resume(0));
    return 0;
  }

  /** Allocates runs for holes, as many as one transaction takes, and looks at the keys that they will have. */
  #allocate(ino: number, holes: readonly BlockRange[], goal: number): AllocatedRun[] {
    const { space } = this.#store;
    const runs: AllocatedRun[] = [];
    try {
      for (const { block, count } of holes) {
        for (let done = 0; done < count; ) {
          if (runs.length === PREALLOCATED_RUNS_MAX) return runs;
          const last = runs[runs.length - 1];
          const status = space.allocateData(
            last === undefined ? goal : last.start + last.count,
            Math.min(count - done, EXTENT_UNWRITTEN_BLOCKS_MAX),
          );
          if (status < 0) return runs;
          const { allocatedStart: start, allocatedCount } = space;
          runs.push({ fileBlock: block + done, start, count: allocatedCount });
          this.#store.get(ino, ITEM_EXTENT, (block + done) * BLOCK_BYTES);
          done += allocatedCount;
        }
      }
    } catch (error) {
      for (const run of runs) space.unallocate(run.start, run.count);
      throw error;
    }
    return runs;
  }

  /**
   * Makes a range read as zeros and gives its whole blocks back. One transaction, unless the file is much fragmented there.
   *
   * @param keeps Whether space is kept instead: unwritten extents stay, and others come in the place of what had data.
   */
  #zeroRange(ino: number, offset: number, end: number, keeps: boolean, grow: boolean): number {
    const store = this.#store;
    const file = this.#files.open(ino);
    if (typeof file === "number") return file;
    if (file.inFlight > 0) throw new Retry((resume) => file.whenIdle(resume));
    const stop = Math.min(end, file.size);
    const firstWhole = Math.ceil(offset / BLOCK_BYTES);
    const lastWhole =
      stop === file.size ? Math.ceil(stop / BLOCK_BYTES) : Math.floor(stop / BLOCK_BYTES);
    const headBlock = Math.floor(offset / BLOCK_BYTES);
    const tailBlock = Math.floor(stop / BLOCK_BYTES);
    const cutsTail = stop % BLOCK_BYTES !== 0 && tailBlock >= lastWhole;
    if (this.#files.isLogged(file, firstWhole, lastWhole)) this.#flusher.waitForLogged();
    if (file.hasInline) this.#files.bringBlock(file, 0);
    if (offset < stop && headBlock < firstWhole) this.#files.bringBlock(file, headBlock);
    if (offset < stop && cutsTail) this.#files.bringBlock(file, tailBlock);
    const begun = store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const inode = store.get(ino, ITEM_INODE, 0);
    if (inode === 0) return -ESTALE;
    copyInodeForData(this.#core, inode, this.#inode);
    const cutMax = keeps ? PREALLOCATED_RUNS_MAX : CUT_EXTENTS_MAX;
    const overlap = this.#extents.look(ino, firstWhole, lastWhole, cutMax, keeps);
    const last = overlap.extents[overlap.extents.length - 1];
    // Much fragmented: this part now, the caller is asked to come again by a wait that ends at once.
    let cutEnd =
      !overlap.isComplete && last !== undefined
        ? Math.min(last.fileBlock + last.blockCount, lastWhole)
        : lastWhole;
    const dropsInline = firstWhole === 0 && lastWhole > 0 && store.get(ino, ITEM_INLINE, 0) !== 0;
    // From here on nothing waits: what is allocated becomes the file's.
    const kept: AllocatedRun[] = [];
    if (keeps) {
      const ranges = overlap.extents.map((extent): BlockRange => {
        const part = within(extent, firstWhole, lastWhole);
        return { block: part.fileBlock, count: part.blockCount };
      });
      if (dropsInline) ranges.unshift({ block: 0, count: 1 });
      const wanted = ranges.reduce((sum, range) => sum + range.count, 0);
      const promised = store.promise(wanted);
      if (promised < 0) return promised;
      kept.push(...this.#allocate(ino, ranges, file.goal));
      const covered = kept[kept.length - 1];
      if (covered === undefined && wanted > 0) return -ENOSPC;
      const taken = kept.reduce((sum, run) => sum + run.count, 0);
      if (covered !== undefined && taken < wanted) cutEnd = covered.fileBlock + covered.count;
    }
    const { exports } = this.#core;
    const zeroTail = (block: number, from: number, to: number): void => {
      if (from < to && this.#files.find(file, block))
        exports.bytes_fill(this.#files.foundAddress() + from, 0, to - from);
      file.noteWritten(block, 1);
    };
    if (offset < stop) {
      const cutsHead = headBlock < firstWhole;
      if (cutsHead) {
        zeroTail(
          headBlock,
          offset % BLOCK_BYTES,
          Math.min(BLOCK_BYTES, stop - headBlock * BLOCK_BYTES),
        );
      }
      if (cutsTail && (tailBlock !== headBlock || !cutsHead))
        zeroTail(tailBlock, 0, stop % BLOCK_BYTES);
    }
    if (firstWhole < lastWhole) {
      file.changes++;
      exports.dirty_drop(this.#files.pool.dirtyBase, file.map, firstWhole, lastWhole - firstWhole);
      this.#files.pool.drain();
    }
    if (dropsInline) {
      store.remove(ino, ITEM_INLINE, 0);
      file.hasInline = false;
    }
    let lost = this.#extents.cut(ino, overlap, firstWhole, cutEnd);
    for (const run of kept) {
      store.referenceRun(run.start, run.count);
      this.#extents.putUnwritten(ino, run.fileBlock, run.start, run.count, store.pages.generation);
      lost -= run.count;
    }
    if (kept.length > 0) {
      addInodeFlags(this.#core, this.#inode, INODE_PREALLOCATED);
      file.isPreallocated = true;
    }
    this.#files.touchTimes(file);
    let size = inodeSize(this.#core, this.#inode);
    // Where the buffered end of the file is dropped, no write will tell the tree how long the file is.
    if (lastWhole * BLOCK_BYTES >= file.size) size = Math.max(size, file.size);
    if (grow && cutEnd >= lastWhole && end > file.size) {
      file.size = end;
      size = end;
    }
    storeInodeData(
      this.#core,
      this.#inode,
      size,
      inodeBlocks(this.#core, this.#inode) - lost,
      file,
    );
    store.put(ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
    store.commit();
    this.#files.settle(file);
    if (cutEnd < lastWhole) throw new Retry((resume) => resume(0));
    return 0;
  }
}

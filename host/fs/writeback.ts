/**
 * Writes buffered data to its extents: plans runs, allocates, computes checksums, writes neighbours in one go, and when a
 * write has ended puts the extent and the size that it covers in one transaction.
 *
 * Invariant: an extent is in the tree only after its data's write completed; the file's size in the tree never covers
 * bytes of this file that were buffered and not yet written before them in the same piece.
 */
import { assert } from "../base/assert.ts";
import { EIO, ENOSPC } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { retrying, spawn, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { EXTENT_BLOCKS_MAX } from "../format/extent.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import { INODE_BYTES } from "../format/inode.ts";
import { ITEM_INLINE, ITEM_INODE } from "../format/key.ts";
import { INTENT_SHRINK } from "../store/item_store.ts";
import type { Store } from "../store/store.ts";
import type { DataPool } from "./data_pool.ts";
import type { DirtyFile, Flight } from "./dirty_file.ts";
import type { ExtentMap } from "./extent_map.ts";
import { copyInodeForData, inodeBlocks, inodeSize, storeInodeData } from "./inode_data.ts";

/** Files up to this size live in the tree. */
export const INLINE_BYTES_MAX = 2048;
/** What one plan takes at once: bounds the coalescer's output and the time spent planning. */
const PLAN_BLOCKS_MAX = 2048;
const PLAN_WORDS = 16384;
/** Buffers of one write: what a device takes in a vector. */
const GATHER_MAX = 60;
const WRITE_BLOCKS_MAX = 512;
/** Blocks in flight over all files: what the device needs to be busy, and no more. */
const IN_FLIGHT_BLOCKS_MAX = 4096;
const PIECES_MAX = 1024;
/** A transaction for each: some ten microseconds, which a small fsync spends waiting for the disk anyway. */
const PUBLISHED_PER_TURN = 4;

interface Piece {
  readonly file: DirtyFile;
  readonly flight: Flight;
  readonly fileBlock: number;
  readonly count: number;
  readonly start: number;
  /** The file keeps these blocks already, unwritten. */
  readonly isKept: boolean;
  /** Slot of the checksum store. */
  readonly checksums: number;
}

export class Writeback {
  readonly #core: Core;
  readonly #store: Store;
  readonly #pool: DataPool;
  readonly #extents: ExtentMap;
  readonly #plan: number;
  readonly #slots: number[] = [];
  readonly #inode: number;
  #waiters: ((status: number) => void)[] = [];
  #inFlightBlocks = 0;

  /** Writes gathered so far: neighbours on disk. */
  #start = 0;
  #blocks = 0;
  #addresses: number[] = [];
  #lengths: number[] = [];
  #pieces: Piece[] = [];

  /** Pieces whose write has ended, in that order. */
  #written: { readonly piece: Piece; readonly status: number }[] = [];
  #isPublishing = false;

  writtenBytes = 0;
  writes = 0;
  /** Blocks in flight that the journal held when they were planned. */
  loggedInFlight = 0;

  constructor(options: { store: Store; pool: DataPool; extents: ExtentMap; layout: Layout }) {
    this.#core = options.store.core;
    this.#store = options.store;
    this.#pool = options.pool;
    this.#extents = options.extents;
    const { layout } = options;
    this.#plan = layout.take(PLAN_WORDS * 4, 8);
    this.#inode = layout.take(INODE_BYTES, 8);
    const slots = layout.take(PIECES_MAX * EXTENT_BLOCKS_MAX * 8, 8);
    for (let i = PIECES_MAX - 1; i >= 0; i--) this.#slots.push(slots + i * EXTENT_BLOCKS_MAX * 8);
  }

  /**
   * Starts writing what is buffered of a file now. Ends when all of it has been handed to the device; the pieces end
   * later (file.whenIdle).
   */
  *start(file: DirtyFile): Task<void> {
    const { exports } = this.#core;
    if (yield* retrying(() => this.putInlineNow(file))) return;
    let from = 0;
    // While this waited the file may have been written by another, or removed.
    while (from >= 0 && !file.gone) {
      const budget = Math.min(PLAN_BLOCKS_MAX, IN_FLIGHT_BLOCKS_MAX - this.#inFlightBlocks);
      if (budget <= 0 || this.#slots.length < 32) {
        this.kick();
        yield (resume) => this.#waiters.push(resume);
        continue;
      }
      if (this.#store.faulted !== null) return;
      const count = exports.dirty_plan(
        this.#pool.dirtyBase,
        file.map,
        from,
        EXTENT_BLOCKS_MAX,
        Math.min(budget, (this.#slots.length - 16) * 1),
        this.#plan,
        PLAN_WORDS,
      );
      assert(count >= 0, "dirty_plan refused its arguments");
      if (count === 0) return;
      from = this.#core.f64[this.#plan >> 3] as number;
      const planned = this.#readPlan(count, file.unlogged !== null && file.unloggedBlocks === 0);
      // All planned extents count as in flight before the first wait, so that nobody takes the file for idle.
      file.inFlight += planned.length;
      let left = 0;
      for (const extent of planned) {
        file.flights.push(extent);
        left += extent.blockCount;
        if (extent.isLogged) this.loggedInFlight += extent.blockCount;
      }
      const run: Run = { start: 0, count: 0 };
      for (const extent of planned) {
        yield* this.#startExtent(file, extent, run, left);
        left -= extent.blockCount;
      }
      if (run.count > 0) this.#store.space.unallocate(run.start, run.count);
    }
  }

  #readPlan(count: number, isLogged: boolean): PlannedExtent[] {
    const { f64, u32 } = this.#core;
    const planned: PlannedExtent[] = [];
    let at = this.#plan + 16;
    for (let i = 0; i < count; i++) {
      const fileBlock = f64[at >> 3] as number;
      const blockCount = u32[(at + 8) >> 2] as number;
      const runCount = u32[(at + 12) >> 2] as number;
      const runs: number[] = [];
      for (let run = 0; run < runCount; run++) {
        runs.push(u32[(at + 16 + run * 8) >> 2] as number, u32[(at + 20 + run * 8) >> 2] as number);
      }
      planned.push({ fileBlock, blockCount, runs, isLogged, left: blockCount });
      at += 16 + runCount * 8;
    }
    return planned;
  }

  /**
   * Gives one planned extent its place on disk, in as many pieces as space is fragmented into. Extents of one plan lie
   * behind each other, so that few writes do for many small extents.
   *
   * @param run What is left of the last run that was allocated. @param planned Blocks of this extent and those to come.
   */
  *#startExtent(file: DirtyFile, extent: PlannedExtent, run: Run, planned: number): Task<void> {
    const { space } = this.#store;
    let done = 0;
    while (done < extent.blockCount) {
      const kept = yield* this.#keptAt(file, extent.fileBlock + done, extent.blockCount - done);
      const isKept = kept.start !== 0;
      if (!isKept && run.count === 0) {
        let status: number;
        try {
          status = yield* retrying(() => space.allocateData(file.goal, planned - done));
        } catch {
          status = -EIO;
        }
        if (status < 0 || this.#store.faulted !== null) {
          const left = extent.blockCount - done;
          this.#failed(file, extent.fileBlock + done, left, status < 0 ? status : -EIO);
          this.#landed(file, extent, left);
          break;
        }
        run.start = space.allocatedStart;
        run.count = space.allocatedCount;
        file.goal = run.start + run.count;
      }
      const slot = this.#slots.pop();
      if (slot === undefined) {
        // More pieces than expected: fragmented space. Wait for some to end.
        this.kick();
        yield (resume) => this.#waiters.push(resume);
        continue;
      }
      const start = isKept ? kept.start : run.start;
      let count = Math.min(kept.count, gatherable(extent, done));
      if (!isKept) {
        count = Math.min(count, run.count);
        if (count < run.count) space.splitAllocated(start, count);
        run.start += count;
        run.count -= count;
      }
      file.inFlight++;
      this.#gather(extent, done, count, {
        file,
        flight: extent,
        fileBlock: extent.fileBlock + done,
        count,
        start,
        isKept,
        checksums: slot,
      });
      done += count;
    }
    // The extent itself counted as in flight until here: between two pieces the file is not idle.
    file.pieceDone();
    this.onPieceDone(file);
  }

  /**
   * Space that the file keeps for blocks; none where that cannot be told, for the transaction that follows will. For no
   * more blocks than one transaction can replace.
   */
  *#keptAt(
    file: DirtyFile,
    block: number,
    count: number,
  ): Task<{ readonly start: number; readonly count: number }> {
    if (!file.isPreallocated && !file.isShared) return { start: 0, count };
    const extents = this.#extents;
    try {
      return yield* retrying(() => {
        const replaced = file.isShared ? extents.cuttable(file.ino, block, count) : count;
        return extents.keptAt(file.ino, block, replaced);
      });
    } catch {
      return { start: 0, count };
    }
  }

  /** Adds a piece to the write being gathered; starts that first if the piece is no neighbour of it. */
  #gather(extent: PlannedExtent, skip: number, count: number, piece: Piece): void {
    const { exports } = this.#core;
    if (
      this.#blocks > 0 &&
      (this.#start + this.#blocks !== piece.start ||
        this.#blocks + count > WRITE_BLOCKS_MAX ||
        this.#addresses.length + extent.runs.length / 2 > GATHER_MAX)
    ) {
      this.kick();
    }
    if (this.#blocks === 0) this.#start = piece.start;
    this.#blocks += count;
    this.#inFlightBlocks += count;
    let position = 0;
    let checksums = piece.checksums;
    for (let i = 0; i < extent.runs.length; i += 2) {
      const runBlocks = extent.runs[i + 1] as number;
      const from = Math.max(skip, position);
      const to = Math.min(skip + count, position + runBlocks);
      if (from < to) {
        const address = (extent.runs[i] as number) + (from - position) * BLOCK_BYTES;
        exports.xxh3_64_units(address, BLOCK_BYTES, to - from, checksums);
        checksums += (to - from) * 8;
        this.#addresses.push(address);
        this.#lengths.push((to - from) * BLOCK_BYTES);
      }
      position += runBlocks;
    }
    this.#pieces.push(piece);
  }

  /** Hands what has been gathered to the device. */
  kick(): void {
    if (this.#blocks === 0) return;
    const pieces = this.#pieces;
    const start = this.#start;
    const addresses = this.#addresses;
    const lengths = this.#lengths;
    this.#pieces = [];
    this.#addresses = [];
    this.#lengths = [];
    this.writtenBytes += this.#blocks * BLOCK_BYTES;
    this.writes++;
    this.#blocks = 0;
    const done = (status: number): void => {
      for (const piece of pieces) this.#written.push({ piece, status });
      if (!this.#isPublishing) this.#publishSome();
    };
    if (addresses.length === 1) {
      this.#store.pool.write(0, start, addresses[0] as number, lengths[0] as number, done);
    } else {
      this.#store.pool.writeVector(0, start, addresses, lengths, done);
    }
  }

  /** Publishes some of what has been written, and the rest from later turns: requests come between. */
  #publishSome(): void {
    const written = this.#written.splice(0, PUBLISHED_PER_TURN);
    this.#isPublishing = this.#written.length > 0;
    if (this.#isPublishing) this.#store.post(() => this.#publishSome());
    for (const { piece, status } of written) this.#ended(piece, status);
  }

  #ended(piece: Piece, status: number): void {
    if (status < 0) {
      this.#store.fault(
        new FsError(
          EIO,
          "writeback/write",
          `Cannot write file data at block ${piece.start}: error ${status}`,
        ),
      );
      if (!piece.isKept) this.#store.space.unallocate(piece.start, piece.count);
      this.#finish(piece, status);
      return;
    }
    spawn(
      retrying(() => this.#publish(piece)),
      (error, result) => {
        if (error !== null) this.#store.fault(error);
        this.#finish(piece, error !== null ? -EIO : (result as number));
      },
    );
  }

  /** The transaction after a write: the extent, the blocks it replaces, and the inode's size and times. */
  #publish(piece: Piece): number {
    const { file } = piece;
    const store = this.#store;
    const begun = store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    const inode = store.get(file.ino, ITEM_INODE, 0);
    if (inode === 0) {
      if (!piece.isKept) store.space.unallocate(piece.start, piece.count);
      return 0;
    }
    copyInodeForData(this.#core, inode, this.#inode);
    const end = piece.fileBlock + piece.count;
    const overlapping = this.#extents.look(file.ino, piece.fileBlock, end, EXTENT_BLOCKS_MAX + 2);
    const inline = piece.fileBlock === 0 && store.get(file.ino, ITEM_INLINE, 0) !== 0;
    if (piece.isKept) store.convertRun(piece.start, piece.count);
    else store.referenceRun(piece.start, piece.count);
    if (inline) {
      store.remove(file.ino, ITEM_INLINE, 0);
      // The file may outlive this write: from now on its block 0 is in an extent.
      file.hasInline = false;
    }
    assert(overlapping.isComplete, "a piece replaces more than a transaction takes");
    const { length, 0: kept } = overlapping.extents;
    assert(
      !piece.isKept || (length === 1 && kept !== undefined && !kept.isWritten),
      "space that a file kept was taken from it while it was written",
    );
    const lost = this.#extents.cut(file.ino, overlapping, piece.fileBlock, end, !piece.isKept);
    const generation = store.pages.generation;
    this.#extents.putNew(
      file.ino,
      piece.fileBlock,
      piece.start,
      piece.count,
      generation,
      piece.checksums,
    );
    const covered = Math.min(file.size, end * BLOCK_BYTES);
    const size = Math.max(inodeSize(this.#core, this.#inode), covered);
    const blocks = inodeBlocks(this.#core, this.#inode) + piece.count - lost;
    storeInodeData(this.#core, this.#inode, size, blocks, file);
    store.put(file.ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
    store.commit();
    return 0;
  }

  #finish(piece: Piece, status: number): void {
    const { exports } = this.#core;
    const { file } = piece;
    this.#slots.push(piece.checksums);
    this.#inFlightBlocks -= piece.count;
    this.#landed(file, piece.flight, piece.count);
    if (status < 0) this.#failed(file, piece.fileBlock, piece.count, status);
    else {
      this.onWritten(file, piece.fileBlock, piece.count);
      exports.dirty_complete(this.#pool.dirtyBase, file.map, piece.fileBlock, piece.count);
      this.#pool.drain();
    }
    file.pieceDone();
    this.onPieceDone(file);
    if (this.#waiters.length > 0) {
      const waiters = this.#waiters;
      this.#waiters = [];
      for (const resume of waiters) resume(0);
    }
  }

  #landed(file: DirtyFile, flight: Flight, count: number): void {
    file.landed(flight, count);
    if (flight.isLogged) this.loggedInFlight -= count;
  }

  /** Called when an extent has been put for these blocks. */
  onWritten: (file: DirtyFile, fileBlock: number, count: number) => void = () => {};
  /** Called when a piece of a file has ended, well or not. */
  onPieceDone: (file: DirtyFile) => void = () => {};

  #failed(file: DirtyFile, fileBlock: number, count: number, status: number): void {
    file.error = status === -ENOSPC ? status : -EIO;
    this.#core.exports.dirty_abort(this.#pool.dirtyBase, file.map, fileBlock, count);
    this.#pool.drain();
  }

  /**
   * Puts a whole file that fits into the tree: no block, no write. Its own transaction; may throw Retry.
   *
   * @returns Whether it was done.
   */
  putInlineNow(file: DirtyFile): boolean {
    if (file.gone) return true;
    const { exports, u32 } = this.#core;
    const store = this.#store;
    if (file.size > INLINE_BYTES_MAX || file.size === 0 || file.inFlight > 0) return false;
    const found = this.#plan;
    if (exports.dirty_find(this.#pool.dirtyBase, file.map, 0, found) !== 1) return false;
    const buffer = u32[found >> 2] as number;
    if (store.begin(INTENT_SHRINK) < 0) return false;
    const inode = store.get(file.ino, ITEM_INODE, 0);
    if (inode === 0) return false;
    copyInodeForData(this.#core, inode, this.#inode);
    if (inodeBlocks(this.#core, this.#inode) > 0) return false;
    if (exports.dirty_count(this.#pool.dirtyBase, file.map) !== 1) return false;
    store.get(file.ino, ITEM_INLINE, 0);
    store.put(file.ino, ITEM_INLINE, 0, buffer, file.size);
    storeInodeData(this.#core, this.#inode, file.size, 0, file);
    store.put(file.ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
    store.commit();
    exports.dirty_drop(this.#pool.dirtyBase, file.map, 0, 1);
    this.#pool.drain();
    file.hasInline = true;
    this.onPieceDone(file);
    return true;
  }
}

/** Blocks of an extent from `done` on that lie in few enough buffers for one write. */
function gatherable(extent: PlannedExtent, done: number): number {
  let position = 0;
  let runs = 0;
  for (let i = 0; i < extent.runs.length; i += 2) {
    const end = position + (extent.runs[i + 1] as number);
    if (end > done && ++runs > GATHER_MAX) return position - done;
    position = end;
  }
  return extent.blockCount - done;
}

/** Blocks that were allocated and not yet given to a piece. */
interface Run {
  start: number;
  count: number;
}

interface PlannedExtent extends Flight {
  /** Pairs (address, block count). */
  readonly runs: readonly number[];
}

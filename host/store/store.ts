/**
 * The store: three trees, their space and their journal under one order of transactions. Implements what fs/ sees
 * (item_store.ts) and what checkpoint and recovery need.
 *
 * Invariants:
 * - between begin and commit nothing waits, so a transaction is whole in memory, in the journal and in a checkpoint;
 * - every put and removal of the file system's tree, and every data run taken or given back, is in the journal in the
 *   order in which it happened (unless replaying);
 * - after a failed write the store is faulted: it takes no more transactions, and what is durable stays as it is.
 */
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { EIO, ENOMEM, ENOSPC, EROFS, EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Retry } from "../base/retry.ts";
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import type { Done } from "../device/device.ts";
import type { Geometry } from "../format/geometry.ts";
import { ENTRY_ALLOCATE, ENTRY_FREE } from "../format/journal_record.ts";
import { ITEM_INODE } from "../format/key.ts";
import { TREE_FS, TREE_POOL, TREE_SPACE } from "../format/page_pointer.ts";
import { JOURNAL_MEMORY_BYTES, type Journal } from "../journal/journal.ts";
import type { Pool } from "../pool/pool.ts";
import { INTENT_SHRINK, type ItemStore } from "./item_store.ts";
import { FRAMES_PER_OPERATION, PageStore } from "./page_store.ts";
import { Space } from "./space.ts";
import { Tree } from "./tree.ts";

/** Journal bytes that one transaction may append. */
export const TRANSACTION_BYTES_MAX: number = 320 * 1024;
const SCRATCH_BYTES = 8400;
/** What a checkpoint must free to be worth waiting for: it takes about as many blocks as it replaces of its own. */
const CHECKPOINT_GAIN_BLOCKS = 512;

type Log = (
  level: "info" | "warn" | "error",
  event: string,
  fields: Record<string, unknown>,
) => void;

export interface StoreOptions {
  readonly core: Core;
  readonly clock: Clock;
  readonly pool: Pool;
  readonly geometry: Geometry;
  readonly layout: Layout;
  readonly memoryBytes: number;
  readonly frameCount: number;
  readonly readOnly: boolean;
  readonly log: Log;
  /** Calls back from the loop's next turn. */
  readonly post: (callback: () => void) => void;
}

/** What keeps account of inodes: quotas. */
export interface Accounting {
  /** An inode's item is about to be put, or removed (address 0); the item that is there can still be read. */
  inodeChanging(ino: number, address: number): void;
  /** Pages that putUsage may make new. */
  readonly pagesMax: number;
  /** Brings into memory what putUsage needs. */
  gather(): Task<void>;
  /** Puts what belongs to the checkpoint of this instant, without waiting. False if a page was missing. */
  putUsage(): boolean;
}

export class Store implements ItemStore {
  readonly core: Core;
  readonly clock: Clock;
  readonly pool: Pool;
  readonly geometry: Geometry;
  readonly space: Space;
  readonly pages: PageStore;
  readonly fsTree: Tree;
  readonly spaceTree: Tree;
  readonly poolTree: Tree;
  readonly log: Log;
  readonly post: (callback: () => void) => void;
  readonly readOnly: boolean;
  readonly scratchAddress: number;
  readonly journalMemory: number;
  /** One block for superblocks, and room for a ring of them. */
  readonly blockBuffer: number;

  /** Set once the mount knows where the log goes on. */
  journal!: Journal;
  /** Frames that are always left for a checkpoint's pages of the space tree. */
  readonly #checkpointFrames: number;
  /** Asks for a checkpoint soon. */
  requestCheckpoint: () => void = () => {};
  /** Resumes when the next checkpoint to start has ended. */
  whenCheckpointed: (resume: (status: number) => void) => void = (resume) => resume(-EIO);
  /** Journal bytes that a checkpoint may append to keep logged data: always left free in the open half. */
  relogBytes: () => number = () => 0;
  /** Data blocks buffered in memory that will need space. */
  blocksOwed: () => number = () => 0;

  /** Null where there is nothing to keep account of. */
  accounting: Accounting | null = null;

  replaying = false;
  faulted: unknown = null;
  nextObjectId = 2;
  objectCount = 0;
  /** Sequence of the next transaction. */
  transaction = 1;
  transactions = 0;
  changedSinceCheckpoint = false;

  keyOid = 0;
  keyType = 0;
  keyOffset = 0;
  valueAddress = 0;
  valueLength = 0;

  #open = false;
  #changed = false;

  constructor(options: StoreOptions) {
    const { core, layout } = options;
    this.core = core;
    this.clock = options.clock;
    this.pool = options.pool;
    this.geometry = options.geometry;
    this.readOnly = options.readOnly;
    this.log = options.log;
    this.post = options.post;
    this.#checkpointFrames = Math.ceil(options.geometry.regionCount / 100) + 16;
    this.blockBuffer = layout.take(16 * 4096, 4096);
    this.scratchAddress = layout.take(SCRATCH_BYTES, 8);
    this.journalMemory = layout.take(JOURNAL_MEMORY_BYTES, 4096);
    this.space = new Space({
      core,
      pool: options.pool,
      geometry: options.geometry,
      layout,
      bitmapBudgetBytes: Math.floor(options.memoryBytes / 16),
      log: options.log,
    });
    this.pages = new PageStore({
      core,
      pool: options.pool,
      space: this.space,
      geometry: options.geometry,
      layout,
      frameCount: options.frameCount,
      log: options.log,
    });
    this.pages.readOnly = options.readOnly;
    this.fsTree = new Tree({ core, pages: this.pages, layout, treeId: TREE_FS });
    this.spaceTree = new Tree({ core, pages: this.pages, layout, treeId: TREE_SPACE });
    this.poolTree = new Tree({ core, pages: this.pages, layout, treeId: TREE_POOL });
  }

  /** The trees in the order of their roots in the superblock. */
  get trees(): readonly Tree[] {
    return [this.fsTree, this.spaceTree, this.poolTree];
  }

  /** No more changes: a write failed, or an invariant broke. */
  fault(cause: unknown): void {
    if (this.faulted !== null) return;
    this.faulted = cause;
    this.journal?.abort(-EIO);
    this.log("error", "volume.faulted", {
      cause: cause instanceof Error ? cause.message : String(cause),
      stack: cause instanceof Error ? cause.stack : undefined,
    });
  }

  // --- ItemStore ---

  begin(intent: number): number {
    if (this.readOnly && !this.replaying) return -EROFS;
    // Read-only from the failure on; what was buffered is told by fsync: EIO.
    if (this.faulted !== null) return -EROFS;
    if (this.#open && this.#changed) {
      // Two places of a damaged tree share a page: what had been looked at went when the other was changed.
      this.fault(
        new FsError(EUCLEAN, "store/half-done", "Cannot go on: a transaction was left half done"),
      );
      return -EROFS;
    }
    this.#open = true;
    this.#changed = false;
    const { pages, space } = this;
    if (this.replaying) return this.#beginReplay();
    const dirty = pages.dirtyFrames;
    if (dirty > pages.frameCount >> 1) this.requestCheckpoint();
    if (
      dirty > (pages.frameCount >> 2) * 3 ||
      !pages.makeFree(
        FRAMES_PER_OPERATION + this.#checkpointFrames + (this.accounting?.pagesMax ?? 0),
      )
    ) {
      this.waitForCheckpoint();
    }
    if (this.journal.failed < 0) return -EROFS;
    if (this.journal.room < 2 * TRANSACTION_BYTES_MAX + this.relogBytes()) this.waitForRoom();
    if (this.journal.usedBytes > this.journal.sizeBytes / 2) this.requestCheckpoint();
    if (space.pendingIsLarge) this.requestCheckpoint();
    if (space.readyPageCount < FRAMES_PER_OPERATION) {
      const status = space.readyPages(FRAMES_PER_OPERATION);
      if (status < 0 && space.readyPageCount < 32) return this.#noSpace(status, 0);
    }
    const free = space.freeBlocks - this.blocksOwed();
    if (intent === INTENT_SHRINK) {
      // The last of the reserve serves removals even when a checkpoint has nothing to give back.
      if (free < space.reserveBlocks >> 3 && space.pendingBlocks > CHECKPOINT_GAIN_BLOCKS)
        this.waitForCheckpoint();
      return 0;
    }
    return free < space.reserveBlocks ? this.#noSpace(-ENOSPC, space.reserveBlocks - free) : 0;
  }

  /** Replay cannot be interrupted by a checkpoint: what it changes must fit into the cache. */
  #beginReplay(): number {
    if (!this.pages.makeFree(FRAMES_PER_OPERATION)) {
      throw new FsError(
        ENOMEM,
        "recovery/memory",
        "Cannot recover the volume: the changes since its last checkpoint do not fit into memory; mount it with a larger --memory",
      );
    }
    const status = this.space.readyPages(FRAMES_PER_OPERATION);
    return status < 0 && this.space.readyPageCount < 32 ? status : 0;
  }

  /** −ENOSPC, unless a checkpoint will free what is missing: then waits for it. */
  #noSpace(status: number, missing: number): number {
    if (this.space.awaitedBlocks > missing + CHECKPOINT_GAIN_BLOCKS) this.waitForCheckpoint();
    return status;
  }

  /** Blocks of data that can be promised, some of them after a checkpoint. */
  get availableBlocks(): number {
    const { awaitedBlocks, freeBlocks, reserveBlocks } = this.space;
    const coming = Math.max(0, awaitedBlocks - CHECKPOINT_GAIN_BLOCKS - 1);
    return Math.max(0, freeBlocks - this.blocksOwed() - reserveBlocks + coming);
  }

  /** Whether `count` more blocks of data can be promised without waiting. */
  hasRoom(count: number): boolean {
    return this.space.freeBlocks - this.blocksOwed() - this.space.reserveBlocks >= count;
  }

  /** The same for blocks that replace as many others, which the next checkpoints give back. */
  hasRoomForOverwrite(count: number): boolean {
    const { freeBlocks, reserveBlocks } = this.space;
    return freeBlocks - this.blocksOwed() - (reserveBlocks >> 1) >= count;
  }

  /** Whether `count` more blocks of data can be promised. Returns 0 or −ENOSPC; throws Retry while that may change. */
  promise(count: number): number {
    const free = this.space.freeBlocks - this.blocksOwed() - this.space.reserveBlocks;
    return free < count ? this.#noSpace(-ENOSPC, count - free) : 0;
  }

  /** Somebody waits for a checkpoint or for journal room: a checkpoint under way must not wait for them. */
  pressure = false;
  onPressure: () => void = () => {};

  /** Throws a Retry that ends with the next checkpoint. */
  waitForCheckpoint(): never {
    throw new Retry((resume) => {
      this.pressure = true;
      this.whenCheckpointed(resume);
      this.onPressure();
    });
  }

  /** Throws a Retry that waits until the journal's open half has room. */
  waitForRoom(): never {
    throw new Retry((resume) => {
      this.pressure = true;
      this.journal.whenRoom(resume);
      this.onPressure();
    });
  }

  commit(): void {
    if (!this.#open) return;
    this.#open = false;
    if (!this.#changed) return;
    this.#changed = false;
    this.transactions++;
    // Replay counts by the numbers that the journal holds.
    if (!this.replaying) this.journal.endTransaction(this.transaction++);
  }

  get(oid: number, type: number, offset: number): number {
    const tree = this.fsTree;
    if (!tree.find(oid, type, offset)) {
      this.valueLength = 0;
      return 0;
    }
    this.valueAddress = tree.valueAddress;
    this.valueLength = tree.valueLength;
    return tree.valueAddress;
  }

  seek(oid: number, type: number, offset: number): boolean {
    return this.#moved(this.fsTree.seek(oid, type, offset));
  }

  seekLast(oid: number, type: number, offset: number): boolean {
    return this.#moved(this.fsTree.seekLast(oid, type, offset));
  }

  next(): boolean {
    return this.#moved(this.fsTree.next());
  }

  readAhead(oid: number, type: number, offset: number, pages: number): void {
    this.fsTree.readAhead([oid, type, offset], pages);
  }

  #moved(found: boolean): boolean {
    const tree = this.fsTree;
    this.keyOid = found ? tree.keyOid : 0;
    this.keyType = found ? tree.keyType : 0;
    this.keyOffset = found ? tree.keyOffset : 0;
    this.valueAddress = found ? tree.valueAddress : 0;
    this.valueLength = found ? tree.valueLength : 0;
    return found;
  }

  put(oid: number, type: number, offset: number, valueAddress: number, valueLength: number): void {
    this.#change();
    if (!this.replaying)
      this.journal.appendPut(TREE_FS, oid, type, offset, valueAddress, valueLength);
    try {
      if (type === ITEM_INODE) this.accounting?.inodeChanging(oid, valueAddress);
      this.fsTree.put(oid, type, offset, valueAddress, valueLength);
    } catch (error) {
      this.#halfDone(error);
    }
  }

  remove(oid: number, type: number, offset: number): void {
    this.#change();
    if (!this.replaying) this.journal.appendRemove(TREE_FS, oid, type, offset);
    try {
      if (type === ITEM_INODE) this.accounting?.inodeChanging(oid, 0);
      this.fsTree.remove(oid, type, offset);
    } catch (error) {
      this.#halfDone(error);
    }
  }

  allocateObjectId(): number {
    return this.nextObjectId++;
  }

  countObjects(change: number): void {
    this.objectCount += change;
  }

  // --- data runs ---

  /** A tree of this transaction points to a run that allocateData gave. */
  referenceRun(start: number, count: number): void {
    this.#change();
    this.space.reference(start, count);
    if (!this.replaying) this.journal.appendRange(ENTRY_ALLOCATE, 0, start, count);
  }

  /** A run that the tree keeps unwritten has data from this transaction on. */
  convertRun(start: number, count: number): void {
    this.#change();
    if (!this.replaying) this.journal.appendRange(ENTRY_ALLOCATE, 0, start, count);
  }

  /** No tree points to the run any more from this transaction on. */
  freeRun(start: number, count: number): void {
    this.#change();
    this.space.free(start, count);
    if (!this.replaying) this.journal.appendRange(ENTRY_FREE, 0, start, count);
  }

  /** Buffered data of this transaction, for the journal alone. */
  logData(
    ino: number,
    offset: number,
    size: number,
    mtime: number,
    mtimeNs: number,
    address: number,
    byteLength: number,
  ): void {
    this.#change();
    this.journal.appendData(ino, offset, size, mtime, mtimeNs, address, byteLength);
  }

  logTruncate(ino: number, size: number): void {
    this.#change();
    if (!this.replaying) this.journal.appendTruncate(ino, size);
  }

  /** Opens a transaction at a checkpoint's instant, in the room that begin always leaves for it. */
  openRelog(): void {
    assert(!this.#open || !this.#changed, "a changed transaction was left open");
    this.#open = true;
    this.#changed = false;
  }

  /** Makes every transaction so far durable. */
  commitJournal(done: Done): void {
    this.journal.commit(done);
  }

  #change(): void {
    assert(this.#open, "change outside a transaction");
    if (!this.#changed) {
      this.#changed = true;
      this.changedSinceCheckpoint = true;
      if (!this.replaying) this.journal.beginTransaction();
    }
  }

  /** An exception in the middle of a change leaves it half done: nothing of it may reach the disk. */
  #halfDone(error: unknown): never {
    const cause =
      error instanceof Retry ? new Error("a key was changed that had not been looked at") : error;
    this.fault(cause);
    throw cause;
  }
}

/**
 * The data half of the file system: buffered writes, reads, sizes, fsync. Blocks that were written lie in the data pool
 * until the write-back has put them into extents; reads see them first.
 *
 * Bytes after the end of a file in its last block are zero, in a buffer and in what disk and journal together hold: so a
 * file can grow without a look at its end. What cuts a block logs the rest of it in the same transaction.
 *
 * Nothing but this file and write-back changes a file's extents; both stop while a truncation waits for pieces in
 * flight.
 */
import { assert } from "../base/assert.ts";
import { EFBIG, EINVAL, EIO, EISDIR, ENXIO, EOPNOTSUPP, EROFS, ESTALE } from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
import { retrying, spawn, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import type { Done } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import { INODE_BYTES } from "../format/inode.ts";
import { ENTRY_DATA_BYTES } from "../format/journal_record.ts";
import { ITEM_INLINE, ITEM_INODE } from "../format/key.ts";
import { INTENT_GROW, INTENT_SHRINK } from "../store/item_store.ts";
import type { Store } from "../store/store.ts";
import type { DataHooks } from "./data_hooks.ts";
import type { DataPool } from "./data_pool.ts";
import { DirtyFile } from "./dirty_file.ts";
import type { ExtentMap } from "./extent_map.ts";
import {
  type Attributes,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  type ReadResult,
} from "./file_system.ts";
import {
  copyInodeForData,
  inodeBlocks,
  inodeIsRegular,
  inodeSize,
  inodeTimes,
  storeInodeData,
  Times,
} from "./inode_data.ts";
import { Reader } from "./reader.ts";
import type { Writeback } from "./writeback.ts";

/** 8 PiB: every offset stays an exact integer. */
export const FILE_BYTES_MAX: number = 2 ** 53 - BLOCK_BYTES;
/** fsync puts at most this much data into the journal; more goes to its extents first. */
const LOG_BLOCKS_PER_SYNC = 64;
/** Logged and not yet written to extents, over all files: a checkpoint may have to append it again. */
const LOGGED_BLOCKS_MAX = 512;
/** From here on logged files are written back in the background, so that the limit is seldom met. */
const LOGGED_BLOCKS_SOFT = 192;
/** A file with this much buffered is written back at once: large enough for whole extents. */
const EAGER_BLOCKS = 1024;
/** Extents that one transaction removes. */
const CUT_EXTENTS_MAX = 192;
const NODES_PER_WRITE = 64;
/** How long a checkpoint waits for data that is being written. */
const FLUSH_MS_MAX = 500;
/** An unlinked file with this many extents is freed in the transaction that unlinks it. */
const RELEASE_EXTENTS_MAX = 16;

export class FileData implements DataHooks {
  readonly #core: Core;
  readonly #store: Store;
  readonly pool: DataPool;
  readonly #extents: ExtentMap;
  readonly #writeback: Writeback;
  readonly #reader: Reader;
  readonly #found: number;
  readonly #inode: number;
  readonly #files = new Map<number, DirtyFile>();
  readonly #reapQueue: number[] = [];
  #reaping = false;
  #flushing = false;
  #loggedBlocks = 0;
  #progressWaiters: ((status: number) => void)[] = [];

  /** Removes a bounded number of the other items of an unlinked inode; true when it is gone. Set by the namespace. */
  reapItems: (ino: number) => boolean = () => true;

  constructor(options: {
    store: Store;
    pool: DataPool;
    extents: ExtentMap;
    writeback: Writeback;
    layout: Layout;
  }) {
    this.#store = options.store;
    this.#core = options.store.core;
    this.pool = options.pool;
    this.#extents = options.extents;
    this.#writeback = options.writeback;
    this.#found = options.layout.take(32, 8);
    this.#inode = options.layout.take(INODE_BYTES, 8);
    this.#reader = new Reader({
      store: options.store,
      pool: options.pool,
      extents: options.extents,
      layout: options.layout,
      fileOf: (ino) => this.#files.get(ino),
    });
    this.#writeback.onPieceDone = (file) => this.#pieceDone(file);
    this.#writeback.onWritten = (file, first, count) => this.#unlog(file, first, count);
    this.pool.onShortage = () => this.#startWriteback([...this.#files.values()]);
    this.#store.blocksOwed = () => this.pool.dirtyBlocks;
    this.#store.relogBytes = () => this.#loggedBlocks * (BLOCK_BYTES + ENTRY_DATA_BYTES);
    this.#store.onPressure = () => this.#progress();
  }

  get dirtyFiles(): number {
    return this.#files.size;
  }

  get loggedBlocks(): number {
    return this.#loggedBlocks;
  }

  // --- writing ---

  write(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    keepTimes = false,
  ): number {
    return this.#write(ino, offset, address, byteLength, 0, 0, keepTimes);
  }

  writeOwned(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    runAddress: number,
    runBlocks: number,
    keepTimes = false,
  ): number {
    const result = this.#write(ino, offset, address, byteLength, runAddress, runBlocks, keepTimes);
    if (result < 0) this.pool.give(runAddress, runBlocks);
    return result;
  }

  /** Throws Retry before anything has changed; a run that is handed over is then still the caller's. */
  #write(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    runAddress: number,
    runBlocks: number,
    keepTimes: boolean,
  ): number {
    if (this.#store.readOnly) return -EROFS;
    if (this.#store.faulted !== null) return -EIO;
    if (!Number.isSafeInteger(offset) || offset < 0) return -EINVAL;
    if (offset + byteLength > FILE_BYTES_MAX) return -EFBIG;
    const file = this.#fileForWrite(ino);
    if (typeof file === "number") return file;
    if (byteLength === 0) {
      if (runAddress !== 0) this.pool.give(runAddress, runBlocks);
      return 0;
    }
    const end = offset + byteLength;
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.floor((end - 1) / BLOCK_BYTES);
    const count = last - first + 1;

    if (this.pool.freeNodes < NODES_PER_WRITE) this.#waitForWriteback();
    const promised = this.#store.promise(count);
    if (promised < 0) return promised;

    // Parts of blocks that the payload does not cover must be in a buffer, or known to be zero.
    const headPartial = offset % BLOCK_BYTES !== 0;
    const tailPartial = end % BLOCK_BYTES !== 0 && end < file.size;
    if (headPartial) this.#bringBlock(file, first);
    if (tailPartial && (last !== first || !headPartial)) this.#bringBlock(file, last);
    if (file.hasInline && first > 0) this.#bringBlock(file, 0);

    if (runAddress !== 0 && !headPartial && address % BLOCK_BYTES === 0) {
      this.#adopt(file, first, count, end, address, runAddress, runBlocks);
    } else if (count === 1 && this.#find(file, first) && this.#foundState() === 1) {
      this.#core.exports.bytes_copy(
        this.#foundAddress() + (offset % BLOCK_BYTES),
        address,
        byteLength,
      );
      if (runAddress !== 0) this.pool.give(runAddress, runBlocks);
    } else {
      this.#copyIn(file, offset, address, byteLength, first, count);
      if (runAddress !== 0) this.pool.give(runAddress, runBlocks);
    }
    file.noteWritten(first, count);
    if (end > file.size) file.size = end;
    if (!keepTimes) this.#touchTimes(file);
    this.#policy(file);
    return byteLength;
  }

  /** Takes whole blocks of a handed-over run as buffers; gives the rest of the run back. */
  #adopt(
    file: DirtyFile,
    first: number,
    count: number,
    end: number,
    address: number,
    runAddress: number,
    runBlocks: number,
  ): void {
    const used = end % BLOCK_BYTES;
    if (used !== 0) {
      const lastAddress = address + (count - 1) * BLOCK_BYTES;
      this.#fillTail(file, first + count - 1, lastAddress, used);
    }
    const before = (address - runAddress) / BLOCK_BYTES;
    const after = runBlocks - before - count;
    this.#insert(file, first, count, address);
    if (before > 0) this.pool.give(runAddress, before);
    if (after > 0) this.pool.give(address + count * BLOCK_BYTES, after);
  }

  /** Copies a payload into new buffers, in as few runs as the pool has. */
  #copyIn(
    file: DirtyFile,
    offset: number,
    address: number,
    byteLength: number,
    first: number,
    count: number,
  ): void {
    const { exports } = this.#core;
    const runs: number[] = [];
    let left = count;
    let size = count;
    while (left > 0) {
      const run = this.pool.take(Math.min(size, left));
      if (run !== 0) {
        runs.push(run, Math.min(size, left));
        left -= Math.min(size, left);
        continue;
      }
      if (size === 1 || runs.length >= NODES_PER_WRITE) {
        for (let i = 0; i < runs.length; i += 2)
          this.pool.give(runs[i] as number, runs[i + 1] as number);
        this.#waitForWriteback();
      }
      size = Math.max(1, size >> 2);
    }
    const end = offset + byteLength;
    let block = first;
    for (let i = 0; i < runs.length; i += 2) {
      const run = runs[i] as number;
      const blocks = runs[i + 1] as number;
      const from = Math.max(offset, block * BLOCK_BYTES);
      const to = Math.min(end, (block + blocks) * BLOCK_BYTES);
      if (from > block * BLOCK_BYTES) this.#fillHead(file, block, run, from - block * BLOCK_BYTES);
      exports.bytes_copy(run + (from - block * BLOCK_BYTES), address + (from - offset), to - from);
      const lastBlock = block + blocks - 1;
      if (to < (lastBlock + 1) * BLOCK_BYTES) {
        this.#fillTail(
          file,
          lastBlock,
          run + (blocks - 1) * BLOCK_BYTES,
          to - lastBlock * BLOCK_BYTES,
        );
      }
      this.#insert(file, block, blocks, run);
      block += blocks;
    }
  }

  /** Fills bytes [0, used) of a block's buffer with what the file holds there. */
  #fillHead(file: DirtyFile, block: number, buffer: number, used: number): void {
    const { exports } = this.#core;
    if (this.#find(file, block)) exports.bytes_copy(buffer, this.#foundAddress(), used);
    else exports.bytes_fill(buffer, 0, used);
  }

  /** Fills bytes [used, end of block) likewise. */
  #fillTail(file: DirtyFile, block: number, buffer: number, used: number): void {
    const { exports } = this.#core;
    if (this.#find(file, block)) {
      exports.bytes_copy(buffer + used, this.#foundAddress() + used, BLOCK_BYTES - used);
    } else exports.bytes_fill(buffer + used, 0, BLOCK_BYTES - used);
  }

  #insert(file: DirtyFile, block: number, count: number, buffer: number): void {
    const status = this.#core.exports.dirty_insert(
      this.pool.dirtyBase,
      file.map,
      block,
      count,
      buffer,
    );
    assert(status === 0, "coalescer full although nodes were free");
    this.pool.drain();
  }

  #find(file: DirtyFile, block: number): boolean {
    return this.#core.exports.dirty_find(this.pool.dirtyBase, file.map, block, this.#found) === 1;
  }

  #foundAddress(): number {
    return this.#core.u32[this.#found >> 2] as number;
  }

  #foundState(): number {
    return this.#core.u32[(this.#found + 8) >> 2] as number;
  }

  readonly #times = new Times();

  /** The buffered state of a file, made if there is none; or −errno. */
  #fileForWrite(ino: number): DirtyFile | number {
    const known = this.#files.get(ino);
    if (known !== undefined) {
      if (known.closed) {
        // It is being freed. When it is idle the one who frees it must come first: this may be called before him.
        throw new Retry((resume) => known.whenIdle(() => this.#store.post(() => resume(0))));
      }
      return known;
    }
    const inode = this.#store.get(ino, ITEM_INODE, 0);
    if (inode === 0) return -ESTALE;
    if (!inodeIsRegular(this.#core, inode)) return -EISDIR;
    const size = inodeSize(this.#core, inode);
    const blocks = inodeBlocks(this.#core, inode);
    inodeTimes(this.#core, inode, this.#times);
    // With blocks too, when power was lost after a later extent was put and before that of block 0.
    const hasInline = size > 0 && this.#store.get(ino, ITEM_INLINE, 0) !== 0;
    let goal = 0;
    if (blocks > 0) {
      const before = this.#extents.lastBefore(ino, Math.ceil(size / BLOCK_BYTES));
      if (before !== null) goal = before.start + before.blockCount;
    }
    const map = this.#core.exports.dirty_create(this.pool.dirtyBase);
    if (map < 0) this.#waitForWriteback();
    const file = new DirtyFile(ino, map, size);
    // A logged block carries its file's times, whether or not the writes change them.
    Object.assign(file, this.#times);
    file.hasInline = hasInline;
    file.goal = goal;
    this.#files.set(ino, file);
    return file;
  }

  #touchTimes(file: DirtyFile): void {
    const { clock } = this.#store;
    file.mtime = clock.seconds();
    file.mtimeNs = clock.nanoseconds();
    file.ctime = file.mtime;
    file.ctimeNs = file.mtimeNs;
    file.timesDirty = true;
  }

  /** Brings a block's old contents into a buffer if the file has any there; throws Retry while they are read. */
  #bringBlock(file: DirtyFile, block: number): void {
    if (block * BLOCK_BYTES >= file.size || this.#find(file, block)) return;
    if (file.hasInline && block === 0) {
      this.#bringInline(file);
      return;
    }
    if (this.#extents.overlapping(file.ino, block, block + 1, 1).length === 0) return;
    throw new Retry((resume) => this.#loadBlock(file, block, resume));
  }

  #bringInline(file: DirtyFile): void {
    const at = this.#store.get(file.ino, ITEM_INLINE, 0);
    const buffer = at === 0 ? 0 : this.pool.take(1);
    if (at === 0) return;
    if (buffer === 0) this.#waitForWriteback();
    const length = Math.min(this.#store.valueLength, file.size);
    this.#core.exports.bytes_fill(buffer, 0, BLOCK_BYTES);
    this.#core.exports.bytes_copy(buffer, at, length);
    this.#insert(file, 0, 1, buffer);
  }

  /** Reads one block through the verified path and buffers it, unless something newer is there by then. */
  #loadBlock(file: DirtyFile, block: number, resume: (status: number) => void): void {
    const { changes } = file;
    this.#reader.read(file.ino, block * BLOCK_BYTES, BLOCK_BYTES, (result) => {
      if (result.status < 0) {
        resume(result.status);
        return;
      }
      const current = this.#files.get(file.ino);
      const buffer =
        current === file && file.changes === changes && !this.#find(file, block)
          ? this.pool.take(1)
          : 0;
      if (buffer !== 0) {
        const { exports } = this.#core;
        let at = 0;
        for (let i = 0; i < result.parts; i++) {
          exports.bytes_copy(
            buffer + at,
            result.addresses[i] as number,
            result.byteLengths[i] as number,
          );
          at += result.byteLengths[i] as number;
        }
        if (at < BLOCK_BYTES) exports.bytes_fill(buffer + at, 0, BLOCK_BYTES - at);
        if (exports.dirty_insert(this.pool.dirtyBase, file.map, block, 1, buffer) < 0)
          this.pool.give(buffer, 1);
        this.pool.drain();
      }
      result.release();
      resume(0);
    });
  }

  // --- write-back policy ---

  #policy(file: DirtyFile): void {
    const dirty = this.#core.exports.dirty_count(this.pool.dirtyBase, file.map);
    if (dirty >= EAGER_BLOCKS) this.#startWriteback([file]);
    else if (this.pool.dirtyBlocks > this.pool.frameCount >> 2)
      this.#startWriteback([...this.#files.values()]);
  }

  #startWriteback(files: readonly DirtyFile[]): void {
    if (this.#flushing) {
      this.#flushAgain = true;
      return;
    }
    this.#flushing = true;
    spawn(this.#flush(files), (error) => {
      this.#flushing = false;
      if (error !== null) this.#store.fault(error);
      else if (this.#flushAgain) {
        // Somebody asked meanwhile, for files that may not have been on the list.
        this.#flushAgain = false;
        this.#startWriteback([...this.#files.values()]);
      }
    });
  }

  #flushAgain = false;

  *#flush(files: readonly DirtyFile[]): Task<void> {
    for (const file of files) {
      if (this.#files.get(file.ino) !== file || file.closed) continue;
      yield* this.#writeback.start(file);
      this.#settle(file);
    }
    this.#writeback.kick();
  }

  /** Throws a Retry that ends when write-back has freed something. */
  #waitForWriteback(): never {
    throw new Retry((resume) => this.pool.whenRoom(resume));
  }

  #pieceDone(file: DirtyFile): void {
    this.#settle(file);
    this.#progress();
  }

  #progress(): void {
    const waiters = this.#progressWaiters;
    this.#progressWaiters = [];
    for (const resume of waiters) resume(0);
  }

  /** Forgets the buffered state of a file when the tree says the same. */
  #settle(file: DirtyFile): void {
    const { exports } = this.#core;
    if (this.#files.get(file.ino) !== file || file.inFlight > 0) return;
    if (exports.dirty_count(this.pool.dirtyBase, file.map) > 0) return;
    this.#forgetLogged(file);
    if (file.closed || file.error !== 0) return;
    this.#files.delete(file.ino);
    file.gone = true;
    exports.dirty_destroy(this.pool.dirtyBase, file.map);
    this.pool.drain();
  }

  #forgetLogged(file: DirtyFile): void {
    this.#loggedBlocks -= file.logged.size;
    file.logged.clear();
  }

  #noteLogged(file: DirtyFile, first: number, count: number): void {
    const before = file.logged.size;
    for (let block = first; block < first + count; block++) file.logged.add(block);
    this.#loggedBlocks += file.logged.size - before;
  }

  /** The tree has what the journal had of these blocks. */
  #unlog(file: DirtyFile, first: number, count: number): void {
    if (file.logged.size === 0) return;
    for (let block = first; block < first + count; block++)
      if (file.logged.delete(block)) this.#loggedBlocks--;
  }

  /** Writes back what is buffered now; ends early under pressure, unless all of it is wanted. */
  *flushAll(untilDurable: boolean): Task<void> {
    const files = [...this.#files.values()];
    const until = this.#store.clock.monotonicMs() + FLUSH_MS_MAX;
    // On its own: a step of it may wait for the very checkpoint that called.
    let started = false;
    spawn(this.#flush(files), (error) => {
      if (error !== null) this.#store.fault(error);
      started = true;
      this.#progress();
    });
    while (!started || files.some((file) => file.inFlight > 0)) {
      if (this.#store.faulted !== null) return;
      // Nothing depends on it: a file that is written to all the time must not hold up a checkpoint.
      if (!untilDurable && (this.#store.pressure || this.#store.clock.monotonicMs() > until))
        return;
      yield (resume) => this.#progressWaiters.push(resume);
    }
  }

  // --- reading ---

  read(ino: number, offset: number, byteLength: number, done: (result: ReadResult) => void): void {
    this.#reader.read(ino, offset, byteLength, done);
  }

  seek(ino: number, offset: number, whence: number): number {
    const inode = this.#store.get(ino, ITEM_INODE, 0);
    if (inode === 0) return -ESTALE;
    const file = this.#files.get(ino);
    const size = file?.size ?? inodeSize(this.#core, inode);
    if (!(offset >= 0) || offset >= size) return -ENXIO;
    const wantData = whence === 3;
    let block = Math.floor(offset / BLOCK_BYTES);
    const endBlock = Math.ceil(size / BLOCK_BYTES);
    for (let steps = 0; block < endBlock && steps < SEEK_STEPS_MAX; steps++) {
      const data = this.#dataAt(ino, file, block);
      const isData = data > 0;
      if (isData === wantData) return Math.max(offset, block * BLOCK_BYTES);
      block += Math.abs(data);
    }
    return wantData ? -ENXIO : size;
  }

  /** Blocks of data from here on (> 0), or of hole (< 0). */
  #dataAt(ino: number, file: DirtyFile | undefined, block: number): number {
    let nextBuffered = Number.MAX_SAFE_INTEGER;
    if (file !== undefined) {
      if (this.#find(file, block)) return this.#core.u32[(this.#found + 4) >> 2] as number;
      const gap = this.#core.u32[(this.#found + 4) >> 2] as number;
      // A gap of 2^32 − 1 may be longer: the seek goes on from there.
      nextBuffered = block + gap;
    }
    const extent = this.#extents.firstFrom(ino, block);
    if (extent !== null && extent.fileBlock <= block)
      return extent.fileBlock + extent.blockCount - block;
    if (block === 0 && extent?.fileBlock !== 0 && this.#store.get(ino, ITEM_INLINE, 0) !== 0)
      return 1;
    const next = Math.min(nextBuffered, extent?.fileBlock ?? Number.MAX_SAFE_INTEGER);
    return -(next - block);
  }

  // --- durability ---

  fsync(ino: number, done: Done): void {
    spawn(this.#fsync(ino), (error, status) => {
      if (error !== null) this.#store.fault(error);
      done(error !== null ? -EIO : (status as number));
    });
  }

  *#fsync(ino: number): Task<number> {
    const file = this.#files.get(ino);
    if (file !== undefined) {
      const status = yield* this.#makeLoggable(file);
      if (status < 0) return status;
    }
    if (this.#store.faulted !== null) return -EIO;
    return yield (resume) => this.#store.commitJournal(resume);
  }

  /** Puts a file's buffered data into the journal's open half, or into extents when it is much. */
  *#makeLoggable(file: DirtyFile): Task<number> {
    for (;;) {
      // What is being written goes into the journal as an extent, before newer data of the same blocks.
      if (!this.#isLoggable(file) && file.inFlight > 0) yield (resume) => file.whenIdle(resume);
      if (this.#files.get(file.ino) !== file) return 0;
      if (file.error !== 0) {
        const error = file.error;
        file.error = 0;
        this.#settle(file);
        return error;
      }
      if (this.#isLoggable(file)) {
        const status = yield* retrying(() => {
          if (this.#writeback.putInlineNow(file)) return 0;
          // After a wait for room the blocks may be on their way to an extent.
          return this.#isLoggable(file) ? this.#log(file) : NOT_LOGGABLE;
        });
        if (status === NOT_LOGGABLE) continue;
        return status;
      }
      if (this.#store.faulted !== null) return -EIO;
      const dirty = this.#core.exports.dirty_count(this.pool.dirtyBase, file.map);
      if (dirty === 0 && file.inFlight === 0) return 0;
      yield* this.#writeback.start(file);
      this.#writeback.kick();
    }
  }

  #isLoggable(file: DirtyFile): boolean {
    return (
      file.canLogNow &&
      file.unlogged !== null &&
      file.unloggedBlocks <= LOG_BLOCKS_PER_SYNC &&
      this.#loggedBlocks + file.unloggedBlocks <= LOGGED_BLOCKS_MAX
    );
  }

  #log(file: DirtyFile): number {
    if (file.unlogged === null || file.unlogged.length === 0) return 0;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    this.#appendBlocks(file, file.unlogged);
    this.#store.commit();
    for (let i = 0; i < file.unlogged.length; i += 2)
      this.#noteLogged(file, file.unlogged[i] as number, file.unlogged[i + 1] as number);
    file.unlogged.length = 0;
    file.unloggedBlocks = 0;
    if (this.#loggedBlocks - this.#writeback.loggedInFlight > LOGGED_BLOCKS_SOFT) {
      this.#startWriteback([...this.#files.values()].filter((other) => other.logged.size > 0));
    }
    return 0;
  }

  /** Appends DATA entries for those of the listed blocks that are still buffered. */
  #appendBlocks(file: DirtyFile, pairs: readonly number[]): void {
    const { u32 } = this.#core;
    for (let i = 0; i < pairs.length; i += 2) {
      let block = pairs[i] as number;
      const end = block + (pairs[i + 1] as number);
      while (block < end) {
        const found = this.#find(file, block);
        const run = Math.min(u32[(this.#found + 4) >> 2] as number, end - block);
        if (found) {
          this.#store.logData(
            file.ino,
            block * BLOCK_BYTES,
            file.size,
            file.mtime,
            file.mtimeNs,
            this.#foundAddress(),
            run * BLOCK_BYTES,
          );
        }
        block += run;
      }
    }
  }

  /** Everything durable: data to extents or journal, then one commit. */
  sync(done: Done): void {
    spawn(this.#sync(), (error, status) => {
      if (error !== null) this.#store.fault(error);
      done(error !== null ? -EIO : (status as number));
    });
  }

  *#sync(): Task<number> {
    // Blocks written again while older data of theirs is in flight are left out the first time.
    for (let round = 0; round < 2; round++) yield* this.flushAll(true);
    let failed = 0;
    for (const file of this.#files.values()) if (file.error !== 0) failed = file.error;
    if (this.#store.faulted !== null) return -EIO;
    const status = yield (resume) => this.#store.commitJournal(resume);
    return status < 0 ? status : failed;
  }

  /** At a checkpoint's instant: what only the journal before it holds is appended again. */
  relog(): boolean {
    if (this.#loggedBlocks === 0) return false;
    let any = false;
    for (const file of this.#files.values()) {
      if (file.logged.size === 0) continue;
      if (!any) this.#store.openRelog();
      any = true;
      this.#appendBlocks(file, pairsOf(file.logged));
    }
    if (any) this.#store.commit();
    return any;
  }

  // --- recovery ---

  replayLook(ino: number): void {
    const inode = this.#store.get(ino, ITEM_INODE, 0);
    if (inode === 0) return;
    const size = inodeSize(this.#core, inode);
    this.#extents.lastBefore(ino, Math.ceil(size / BLOCK_BYTES));
    this.#store.get(ino, ITEM_INLINE, 0);
  }

  /** A DATA entry: buffered again, to be written to extents by the next checkpoint. */
  replayData(
    ino: number,
    offset: number,
    size: number,
    mtime: number,
    mtimeNs: number,
    address: number,
    byteLength: number,
  ): void {
    const file = this.#fileForWrite(ino);
    if (typeof file === "number") return;
    const first = offset / BLOCK_BYTES;
    this.#copyIn(file, offset, address, byteLength, first, byteLength / BLOCK_BYTES);
    if (this.#replayedTruncate === ino) file.size = size;
    else file.size = Math.max(file.size, size);
    file.mtime = mtime;
    file.mtimeNs = mtimeNs;
    file.ctime = mtime;
    file.ctimeNs = mtimeNs;
    file.timesDirty = true;
  }

  /** A replayed item holds newer data than what was buffered for these blocks. */
  replayDrop(ino: number, fileBlock: number, count: number): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    this.#core.exports.dirty_drop(this.pool.dirtyBase, file.map, fileBlock, count);
    this.pool.drain();
    this.#settle(file);
  }

  /** A replayed inode holds newer times than what was buffered. */
  replayInode(ino: number): void {
    const file = this.#files.get(ino);
    if (file !== undefined) file.timesDirty = false;
    this.#replayedTruncate = 0;
  }

  /** File whose inode, which the same transaction puts later, still has the size from before a truncation. */
  #replayedTruncate = 0;

  replayTruncate(ino: number, size: number): void {
    this.#replayedTruncate = ino;
    const file = this.#files.get(ino);
    if (file !== undefined) this.#truncateBuffers(file, size);
  }

  replayRemoved(ino: number): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    this.#files.delete(ino);
    file.gone = true;
    this.#core.exports.dirty_destroy(this.pool.dirtyBase, file.map);
    this.pool.drain();
  }

  // --- sizes (DataHooks) ---

  overlay(ino: number, out: Attributes): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    out.size = file.size;
    const buffered = this.#core.exports.dirty_count(this.pool.dirtyBase, file.map) + file.inFlight;
    out.blocks = Math.max(
      out.blocks,
      Math.min(out.blocks + buffered * 8, Math.ceil(file.size / BLOCK_BYTES) * 8),
    );
    if (file.timesDirty) {
      out.mtime = file.mtime;
      out.mtimeNs = file.mtimeNs;
      out.ctime = file.ctime;
      out.ctimeNs = file.ctimeNs;
    }
  }

  attributesChanged(ino: number, out: Attributes): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    file.mtime = out.mtime;
    file.mtimeNs = out.mtimeNs;
    file.ctime = out.ctime;
    file.ctimeNs = out.ctimeNs;
  }

  truncatePrepare(ino: number, size: number, newSize: number): number {
    if (newSize > FILE_BYTES_MAX) return -EFBIG;
    const busy = this.#files.get(ino);
    if (busy !== undefined && busy.inFlight > 0) {
      throw new Retry((resume) => busy.whenIdle(resume));
    }
    if (newSize > (busy?.size ?? size)) return 0;
    const from = Math.ceil(newSize / BLOCK_BYTES);
    const cutBlock = Math.floor(newSize / BLOCK_BYTES);
    if (cutBlock < from && this.#extents.overlapping(ino, cutBlock, from, 1).length > 0) {
      // What the extent holds after the new end would be seen again when the file grows: the block is written anew.
      const file = this.#fileForWrite(ino);
      if (typeof file === "number") return file;
      this.#bringBlock(file, cutBlock);
      if (this.#loggedBlocks >= LOGGED_BLOCKS_MAX) this.#waitForLogged();
    }
    const overlapping = this.#extents.look(ino, from, CUT_TO, CUT_EXTENTS_MAX + 1);
    if (overlapping.length > CUT_EXTENTS_MAX) {
      throw new Retry((resume) => {
        spawn(this.#shorten(ino, newSize), (error) => resume(error === null ? 0 : -EIO));
      });
    }
    this.#store.get(ino, ITEM_INLINE, 0);
    return 0;
  }

  truncateApply(ino: number, _size: number, newSize: number): number {
    const file = this.#files.get(ino);
    const from = Math.ceil(newSize / BLOCK_BYTES);
    const overlapping = this.#extents.look(ino, from, CUT_TO, CUT_EXTENTS_MAX + 1);
    const lost = this.#extents.cut(ino, overlapping, from, CUT_TO);
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
    const isCut = shrinks && cutBlock < from && this.#find(file, cutBlock);
    if (isCut) this.#touchTimes(file);
    this.#truncateBuffers(file, newSize);
    if (isCut) {
      this.#appendBlocks(file, [cutBlock, 1]);
      this.#noteLogged(file, cutBlock, 1);
    }
    return lost;
  }

  releasePrepare(ino: number): boolean {
    const file = this.#files.get(ino);
    if (file !== undefined && (file.inFlight > 0 || file.closed)) return false;
    if (this.#extents.look(ino, 0, CUT_TO, RELEASE_EXTENTS_MAX + 1).length > RELEASE_EXTENTS_MAX)
      return false;
    this.#store.get(ino, ITEM_INLINE, 0);
    return true;
  }

  releaseApply(ino: number): void {
    const overlapping = this.#extents.look(ino, 0, CUT_TO, RELEASE_EXTENTS_MAX + 1);
    this.#extents.cut(ino, overlapping, 0, CUT_TO);
    if (this.#store.get(ino, ITEM_INLINE, 0) !== 0) this.#store.remove(ino, ITEM_INLINE, 0);
    const file = this.#files.get(ino);
    if (file === undefined) return;
    this.#forgetLogged(file);
    this.#files.delete(ino);
    file.gone = true;
    this.#core.exports.dirty_destroy(this.pool.dirtyBase, file.map);
    this.pool.drain();
  }

  /** Removes the extents of a much fragmented file from its end on, in several transactions of bounded size. */
  *#shorten(ino: number, newSize: number): Task<void> {
    const keep = Math.ceil(newSize / BLOCK_BYTES);
    for (;;) {
      const more = yield* retrying(() => {
        const begun = this.#store.begin(INTENT_SHRINK);
        if (begun < 0) throw new Error(`Cannot truncate: error ${begun}`);
        const inode = this.#store.get(ino, ITEM_INODE, 0);
        if (inode === 0) return false;
        copyInodeForData(this.#core, inode, this.#inode);
        // Walk back to the extent from which on the last ones go.
        let from = Number.MAX_SAFE_INTEGER / BLOCK_BYTES;
        let count = 0;
        for (; count < CUT_EXTENTS_MAX / 2; count++) {
          const extent = this.#extents.lastBefore(ino, from);
          if (extent === null || extent.fileBlock < keep) break;
          from = extent.fileBlock;
        }
        if (count < CUT_EXTENTS_MAX / 2) return false;
        const overlapping = this.#extents.look(ino, from, CUT_TO, CUT_EXTENTS_MAX + 1);
        const lost = this.#extents.cut(ino, overlapping, from, CUT_TO);
        const size = Math.min(inodeSize(this.#core, this.#inode), from * BLOCK_BYTES);
        storeInodeData(
          this.#core,
          this.#inode,
          size,
          inodeBlocks(this.#core, this.#inode) - lost,
          null,
        );
        this.#store.put(ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
        this.#store.logTruncate(ino, size);
        const file = this.#files.get(ino);
        if (file !== undefined) this.#truncateBuffers(file, size);
        this.#store.commit();
        return true;
      });
      if (!more) return;
    }
  }

  #truncateBuffers(file: DirtyFile, newSize: number): void {
    file.changes++;
    const { exports } = this.#core;
    if (newSize < file.size) {
      exports.dirty_truncate(this.pool.dirtyBase, file.map, Math.ceil(newSize / BLOCK_BYTES));
      this.pool.drain();
      const used = newSize % BLOCK_BYTES;
      if (used !== 0 && this.#find(file, Math.floor(newSize / BLOCK_BYTES))) {
        exports.bytes_fill(this.#foundAddress() + used, 0, BLOCK_BYTES - used);
      }
      if (newSize === 0) file.hasInline = false;
    }
    file.size = newSize;
    this.#settle(file);
  }

  /** Throws a Retry that ends when less buffered data is in the journal alone. */
  #waitForLogged(): never {
    throw new Retry((resume) => {
      this.#progressWaiters.push(resume);
      this.#startWriteback([...this.#files.values()].filter((other) => other.logged.size > 0));
    });
  }

  /** Whether the journal alone holds data of blocks [from, to), so that it would come back if they were dropped. */
  #isLogged(file: DirtyFile, from: number, to: number): boolean {
    for (const block of file.logged)
      if (block >= from && block < to && this.#find(file, block)) return true;
    return false;
  }

  /** Makes the file's buffered data part of the journal before what the open transaction is about to append. */
  orderData(ino: number): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    // All of it is in extents: the trees have it.
    const dirty = this.#core.exports.dirty_count(this.pool.dirtyBase, file.map);
    if (file.inFlight === 0 && dirty === 0) return;
    if (this.#writeback.putInlineNow(file)) return;
    if (!this.#isLoggable(file)) {
      throw new Retry((resume) => {
        spawn(this.#makeLoggable(file), (error, status) =>
          resume(error !== null ? -EIO : Math.min(0, status as number)),
        );
      });
    }
    this.#log(file);
  }

  fallocate(ino: number, mode: number, offset: number, byteLength: number): number {
    if (this.#store.readOnly) return -EROFS;
    if (!(offset >= 0) || !(byteLength > 0)) return -EINVAL;
    const punch = mode === (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    const zero = (mode & ~FALLOC_FL_KEEP_SIZE) === FALLOC_FL_ZERO_RANGE;
    // Reserving space is not there yet: programs fall back to writing zeros.
    if (!punch && !zero) return -EOPNOTSUPP;
    if (offset + byteLength > FILE_BYTES_MAX) return -EFBIG;
    return this.#zeroRange(
      ino,
      offset,
      offset + byteLength,
      zero && (mode & FALLOC_FL_KEEP_SIZE) === 0,
    );
  }

  /** Makes a range read as zeros and gives its whole blocks back. */
  #zeroRange(ino: number, offset: number, end: number, grow: boolean): number {
    const file = this.#fileForWrite(ino);
    if (typeof file === "number") return file;
    if (file.inFlight > 0) throw new Retry((resume) => file.whenIdle(resume));
    const stop = Math.min(end, file.size);
    const firstWhole = Math.ceil(offset / BLOCK_BYTES);
    const lastWhole =
      stop === file.size ? Math.ceil(stop / BLOCK_BYTES) : Math.floor(stop / BLOCK_BYTES);
    const headBlock = Math.floor(offset / BLOCK_BYTES);
    const tailBlock = Math.floor(stop / BLOCK_BYTES);
    const cutsTail = stop % BLOCK_BYTES !== 0 && tailBlock >= lastWhole;
    if (this.#isLogged(file, firstWhole, lastWhole)) this.#waitForLogged();
    if (file.hasInline) this.#bringBlock(file, 0);
    if (offset < stop && headBlock < firstWhole) this.#bringBlock(file, headBlock);
    if (offset < stop && cutsTail) this.#bringBlock(file, tailBlock);
    const begun = this.#store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const inode = this.#store.get(ino, ITEM_INODE, 0);
    if (inode === 0) return -ESTALE;
    copyInodeForData(this.#core, inode, this.#inode);
    let overlapping = this.#extents.look(ino, firstWhole, lastWhole, CUT_EXTENTS_MAX + 1);
    if (overlapping.length > CUT_EXTENTS_MAX) {
      // Much fragmented: this part now, the caller is asked to come again by a wait that ends at once.
      overlapping = overlapping.slice(0, CUT_EXTENTS_MAX);
    }
    const dropsInline =
      firstWhole === 0 && lastWhole > 0 && this.#store.get(ino, ITEM_INLINE, 0) !== 0;
    const { exports } = this.#core;
    const zeroTail = (block: number, from: number, to: number): void => {
      if (from < to && this.#find(file, block))
        exports.bytes_fill(this.#foundAddress() + from, 0, to - from);
      file.noteWritten(block, 1);
    };
    if (offset < stop) {
      if (headBlock < firstWhole) {
        zeroTail(
          headBlock,
          offset % BLOCK_BYTES,
          Math.min(BLOCK_BYTES, stop - headBlock * BLOCK_BYTES),
        );
      }
      if (cutsTail && tailBlock !== headBlock) zeroTail(tailBlock, 0, stop % BLOCK_BYTES);
    }
    if (firstWhole < lastWhole) {
      file.changes++;
      exports.dirty_drop(this.pool.dirtyBase, file.map, firstWhole, lastWhole - firstWhole);
      this.pool.drain();
    }
    if (dropsInline) {
      this.#store.remove(ino, ITEM_INLINE, 0);
      file.hasInline = false;
    }
    const last = overlapping[overlapping.length - 1];
    const cutEnd =
      overlapping.length === CUT_EXTENTS_MAX && last !== undefined
        ? last.fileBlock + last.blockCount
        : lastWhole;
    const lost = this.#extents.cut(ino, overlapping, firstWhole, Math.min(cutEnd, lastWhole));
    this.#touchTimes(file);
    let size = inodeSize(this.#core, this.#inode);
    // Where the buffered end of the file is dropped, no write will tell the tree how long the file is.
    if (lastWhole * BLOCK_BYTES >= file.size) size = Math.max(size, file.size);
    if (grow && end > file.size) {
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
    this.#store.put(ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
    this.#store.commit();
    this.#settle(file);
    if (cutEnd < lastWhole) throw new Retry((resume) => resume(0));
    return 0;
  }

  // --- reaping of unlinked inodes ---

  reap(ino: number): void {
    this.#reapQueue.push(ino);
    if (this.#reaping) return;
    this.#reaping = true;
    spawn(this.#reapAll(), (error) => {
      this.#reaping = false;
      if (error !== null) this.#store.fault(error);
    });
  }

  /** Whether unlinked inodes are still being freed. */
  get isReaping(): boolean {
    return this.#reaping;
  }

  *#reapAll(): Task<void> {
    // Let the operation that called end first.
    yield (resume) => this.#store.post(() => resume(0));
    for (;;) {
      const ino = this.#reapQueue.shift();
      if (ino === undefined || this.#store.faulted !== null) return;
      const file = this.#files.get(ino);
      if (file !== undefined) {
        file.closed = true;
        if (file.inFlight > 0) yield (resume) => file.whenIdle(resume);
        this.#forgetLogged(file);
        this.#files.delete(ino);
        file.gone = true;
        this.#core.exports.dirty_destroy(this.pool.dirtyBase, file.map);
        this.pool.drain();
      }
      while (yield* retrying(() => this.#reapExtents(ino)));
      while (!(yield* retrying(() => this.reapItems(ino))));
    }
  }

  /** Removes a bounded number of extents; whether there may be more. */
  #reapExtents(ino: number): boolean {
    const store = this.#store;
    const begun = store.begin(INTENT_SHRINK);
    if (begun < 0) {
      if (this.#store.faulted !== null || begun === -EROFS) return false;
      throw new Error(`Cannot free inode ${ino}: error ${begun}`);
    }
    const inode = store.get(ino, ITEM_INODE, 0);
    if (inode === 0) return false;
    copyInodeForData(this.#core, inode, this.#inode);
    const overlapping = this.#extents.look(ino, 0, CUT_TO, CUT_EXTENTS_MAX);
    const inline = store.get(ino, ITEM_INLINE, 0) !== 0;
    if (overlapping.length === 0 && !inline) return false;
    const last = overlapping[overlapping.length - 1];
    const lost =
      last === undefined
        ? 0
        : this.#extents.cut(ino, overlapping, 0, last.fileBlock + last.blockCount);
    if (inline) store.remove(ino, ITEM_INLINE, 0);
    storeInodeData(this.#core, this.#inode, 0, inodeBlocks(this.#core, this.#inode) - lost, null);
    store.put(ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
    store.logTruncate(ino, 0);
    store.commit();
    return overlapping.length === CUT_EXTENTS_MAX;
  }
}

/** Blocks as pairs (first, count), in order. */
function pairsOf(blocks: ReadonlySet<number>): number[] {
  const pairs: number[] = [];
  for (const block of [...blocks].sort((a, b) => a - b)) {
    const last = pairs.length - 2;
    if (last >= 0 && (pairs[last] as number) + (pairs[last + 1] as number) === block)
      (pairs[last + 1] as number)++;
    else pairs.push(block, 1);
  }
  return pairs;
}

/** Not a status of fsync: the blocks must go to extents, or another attempt be made later. */
const NOT_LOGGABLE = 1;
const SEEK_STEPS_MAX = 100_000;
const CUT_TO = Math.floor(Number.MAX_SAFE_INTEGER / BLOCK_BYTES);

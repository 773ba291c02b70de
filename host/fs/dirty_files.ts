/**
 * The files that have buffered data, and their buffers: which blocks are newer in the data pool than in the trees, and
 * which of those the journal alone holds.
 *
 * Bytes after the end of a file in its last block are zero, in a buffer and in what disk and journal together hold: so a
 * file can grow without a look at its end.
 */
import { assert } from "../base/assert.ts";
import { EISDIR, ESTALE } from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import { INODE_PREALLOCATED, INODE_SHARED } from "../format/inode.ts";
import { ITEM_INLINE, ITEM_INODE } from "../format/key.ts";
import type { Store } from "../store/store.ts";
import type { DataPool } from "./data_pool.ts";
import { DirtyFile } from "./dirty_file.ts";
import type { ExtentMap } from "./extent_map.ts";
import {
  inodeBlocks,
  inodeFlags,
  inodeIsRegular,
  inodeSize,
  inodeTimes,
  Times,
} from "./inode_data.ts";
import { Reader } from "./reader.ts";

/** Nodes of the coalescer that one write may need. */
export const NODES_PER_WRITE = 64;

export class DirtyFiles {
  readonly #core: Core;
  readonly #store: Store;
  readonly pool: DataPool;
  readonly #extents: ExtentMap;
  readonly #found: number;
  readonly #files = new Map<number, DirtyFile>();
  readonly #times = new Times();
  readonly reader: Reader;
  /** Blocks that the journal holds and no extent does, over all files. */
  loggedBlocks = 0;

  constructor(options: { store: Store; pool: DataPool; extents: ExtentMap; layout: Layout }) {
    this.#store = options.store;
    this.#core = options.store.core;
    this.pool = options.pool;
    this.#extents = options.extents;
    this.#found = options.layout.take(32, 8);
    this.reader = new Reader({ ...options, fileOf: (ino) => this.#files.get(ino) });
  }

  get count(): number {
    return this.#files.size;
  }

  get(ino: number): DirtyFile | undefined {
    return this.#files.get(ino);
  }

  /** The files as they are now. */
  all(): DirtyFile[] {
    return [...this.#files.values()];
  }

  /** Blocks that are buffered and not being written. */
  dirtyCount(file: DirtyFile): number {
    return this.#core.exports.dirty_count(this.pool.dirtyBase, file.map);
  }

  /** Blocks that are buffered, being written or not. */
  bufferedCount(file: DirtyFile): number {
    return file.flights.reduce((sum, { left }) => sum + left, this.dirtyCount(file));
  }

  /** Drops buffers of blocks [first, first + count). */
  drop(file: DirtyFile, first: number, count: number): void {
    this.#core.exports.dirty_drop(this.pool.dirtyBase, file.map, first, count);
    this.pool.drain();
  }

  /** Forgets all that is buffered of a file. */
  forget(file: DirtyFile): void {
    this.forgetLogged(file);
    this.#files.delete(file.ino);
    file.gone = true;
    this.#core.exports.dirty_destroy(this.pool.dirtyBase, file.map);
    this.pool.drain();
  }

  /** Length of the run of buffered blocks, or of the gap, that `find` came upon. */
  foundRun(): number {
    return this.#core.u32[(this.#found + 4) >> 2] as number;
  }

  /** The buffered state of a file, made if there is none; or −errno. */
  open(ino: number): DirtyFile | number {
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
    const flags = inodeFlags(this.#core, inode);
    inodeTimes(this.#core, inode, this.#times);
    // With blocks too, when power was lost after a later extent was put and before that of block 0.
    const hasInline = size > 0 && this.#store.get(ino, ITEM_INLINE, 0) !== 0;
    let goal = 0;
    if (blocks > 0) {
      const before = this.#extents.lastBefore(ino, Math.ceil(size / BLOCK_BYTES));
      if (before !== null) goal = before.start + before.blockCount;
    }
    const map = this.#core.exports.dirty_create(this.pool.dirtyBase);
    if (map < 0) this.waitForRoom();
    const file = new DirtyFile(ino, map, size);
    // A logged block carries its file's times, whether or not the writes change them.
    Object.assign(file, this.#times);
    file.hasInline = hasInline;
    file.flags = flags;
    file.isPreallocated = (flags & INODE_PREALLOCATED) !== 0;
    file.isShared = (flags & INODE_SHARED) !== 0;
    file.goal = goal;
    this.#files.set(ino, file);
    return file;
  }

  /** Brings a block's old contents into a buffer if the file has any there; throws Retry while they are read. */
  bringBlock(file: DirtyFile, block: number): void {
    if (block * BLOCK_BYTES >= file.size || this.find(file, block)) return;
    if (file.hasInline && block === 0) {
      this.#bringInline(file);
      return;
    }
    if (this.#extents.overlapping(file.ino, block, block + 1, 1)[0]?.isWritten !== true) return;
    throw new Retry((resume) => this.#loadBlock(file, block, resume));
  }

  #bringInline(file: DirtyFile): void {
    const at = this.#store.get(file.ino, ITEM_INLINE, 0);
    const buffer = at === 0 ? 0 : this.pool.take(1);
    if (at === 0) return;
    if (buffer === 0) this.waitForRoom();
    const length = Math.min(this.#store.valueLength, file.size);
    this.#core.exports.bytes_fill(buffer, 0, BLOCK_BYTES);
    this.#core.exports.bytes_copy(buffer, at, length);
    this.insert(file, 0, 1, buffer);
  }

  /** Reads one block through the verified path and buffers it, unless something newer is there by then. */
  #loadBlock(file: DirtyFile, block: number, resume: (status: number) => void): void {
    const { changes } = file;
    this.reader.read(file.ino, block * BLOCK_BYTES, BLOCK_BYTES, (result) => {
      if (result.status < 0) {
        resume(result.status);
        return;
      }
      const current = this.#files.get(file.ino);
      const buffer =
        current === file && file.changes === changes && !this.find(file, block)
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

  /** Takes whole blocks of a handed-over run as buffers; gives the rest of the run back. */
  adopt(
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
    this.insert(file, first, count, address);
    if (before > 0) this.pool.give(runAddress, before);
    if (after > 0) this.pool.give(address + count * BLOCK_BYTES, after);
  }

  /** Copies a payload into new buffers, in as few runs as the pool has. */
  copyIn(
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
        this.waitForRoom();
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
      this.insert(file, block, blocks, run);
      block += blocks;
    }
  }

  /** Fills bytes [0, used) of a block's buffer with what the file holds there. */
  #fillHead(file: DirtyFile, block: number, buffer: number, used: number): void {
    const { exports } = this.#core;
    if (this.find(file, block)) exports.bytes_copy(buffer, this.foundAddress(), used);
    else exports.bytes_fill(buffer, 0, used);
  }

  /** Fills bytes [used, end of block) likewise. */
  #fillTail(file: DirtyFile, block: number, buffer: number, used: number): void {
    const { exports } = this.#core;
    if (this.find(file, block)) {
      exports.bytes_copy(buffer + used, this.foundAddress() + used, BLOCK_BYTES - used);
    } else exports.bytes_fill(buffer + used, 0, BLOCK_BYTES - used);
  }

  insert(file: DirtyFile, block: number, count: number, buffer: number): void {
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

  find(file: DirtyFile, block: number): boolean {
    return this.#core.exports.dirty_find(this.pool.dirtyBase, file.map, block, this.#found) === 1;
  }

  foundAddress(): number {
    return this.#core.u32[this.#found >> 2] as number;
  }

  foundState(): number {
    return this.#core.u32[(this.#found + 8) >> 2] as number;
  }

  touchTimes(file: DirtyFile): void {
    const { clock } = this.#store;
    file.mtime = clock.seconds();
    file.mtimeNs = clock.nanoseconds();
    file.ctime = file.mtime;
    file.ctimeNs = file.mtimeNs;
    file.timesDirty = true;
  }

  truncate(file: DirtyFile, newSize: number): void {
    file.changes++;
    const { exports } = this.#core;
    if (newSize < file.size) {
      exports.dirty_truncate(this.pool.dirtyBase, file.map, Math.ceil(newSize / BLOCK_BYTES));
      this.pool.drain();
      const used = newSize % BLOCK_BYTES;
      if (used !== 0 && this.find(file, Math.floor(newSize / BLOCK_BYTES))) {
        exports.bytes_fill(this.foundAddress() + used, 0, BLOCK_BYTES - used);
      }
      if (newSize === 0) file.hasInline = false;
    }
    file.size = newSize;
    this.settle(file);
  }

  /** Forgets the buffered state of a file when the tree says the same. */
  settle(file: DirtyFile): void {
    const { exports } = this.#core;
    if (this.#files.get(file.ino) !== file || file.inFlight > 0) return;
    if (exports.dirty_count(this.pool.dirtyBase, file.map) > 0) return;
    this.forgetLogged(file);
    if (file.closed || file.error !== 0) return;
    this.#files.delete(file.ino);
    file.gone = true;
    exports.dirty_destroy(this.pool.dirtyBase, file.map);
    this.pool.drain();
  }

  noteLogged(file: DirtyFile, first: number, count: number): void {
    const before = file.logged.size;
    for (let block = first; block < first + count; block++) file.logged.add(block);
    this.loggedBlocks += file.logged.size - before;
  }

  /** The tree has what the journal had of these blocks. */
  unlog(file: DirtyFile, first: number, count: number): void {
    if (file.logged.size === 0) return;
    for (let block = first; block < first + count; block++)
      if (file.logged.delete(block)) this.loggedBlocks--;
  }

  forgetLogged(file: DirtyFile): void {
    this.loggedBlocks -= file.logged.size;
    file.logged.clear();
  }

  /** Whether the journal alone holds data of blocks [from, to), so that it would come back if they were dropped. */
  isLogged(file: DirtyFile, from: number, to: number): boolean {
    for (const block of file.logged)
      if (block >= from && block < to && this.find(file, block)) return true;
    return false;
  }

  /** Appends DATA entries for those of the listed blocks that are still buffered. */
  log(file: DirtyFile, pairs: readonly number[]): void {
    const { u32 } = this.#core;
    for (let i = 0; i < pairs.length; i += 2) {
      let block = pairs[i] as number;
      const end = block + (pairs[i + 1] as number);
      while (block < end) {
        const found = this.find(file, block);
        const run = Math.min(u32[(this.#found + 4) >> 2] as number, end - block);
        if (found) {
          this.#store.logData(
            file.ino,
            block * BLOCK_BYTES,
            file.size,
            file.mtime,
            file.mtimeNs,
            this.foundAddress(),
            run * BLOCK_BYTES,
          );
        }
        block += run;
      }
    }
  }

  /** Throws a Retry that ends when write-back has freed something. */
  waitForRoom(): never {
    throw new Retry((resume) => this.pool.whenRoom(resume));
  }
}

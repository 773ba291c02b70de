/**
 * The data half of the file system: buffered writes and reads, and the parts that sizes and ranges, durability, recovery
 * and removal are left to. Blocks that were written lie in the data pool until the write-back has put them into extents;
 * reads see them first.
 */
import { EFBIG, EINVAL, ENOSPC, ENXIO, EPERM, EROFS, ESTALE } from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import type { Done } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import { ENTRY_DATA_BYTES } from "../format/journal_record.ts";
import { ITEM_INLINE, ITEM_INODE } from "../format/key.ts";
import type { Store } from "../store/store.ts";
import { BlockQuota } from "./block_quota.ts";
import type { DataHooks } from "./data_hooks.ts";
import type { DataPool } from "./data_pool.ts";
import type { DirtyFile } from "./dirty_file.ts";
import { DirtyFiles, NODES_PER_WRITE } from "./dirty_files.ts";
import type { ExtentMap } from "./extent_map.ts";
import { FileClone } from "./file_clone.ts";
import { FILE_BYTES_MAX, FileRanges } from "./file_ranges.ts";
import { FileReaper } from "./file_reaper.ts";
import { FileReplay } from "./file_replay.ts";
import { FileSync } from "./file_sync.ts";
import type { Attributes, ReadResult } from "./file_system.ts";
import { Flusher } from "./flusher.ts";
import { inodeSize } from "./inode_data.ts";
import { fixedProblem, immutableProblem } from "./inode_flags.ts";
import type { Quotas } from "./quotas.ts";
import type { Reader } from "./reader.ts";
import { INLINE_BYTES_MAX, type Writeback } from "./writeback.ts";

const SEEK_STEPS_MAX = 100_000;

export class FileData implements DataHooks {
  readonly #core: Core;
  readonly #store: Store;
  readonly pool: DataPool;
  readonly #extents: ExtentMap;
  readonly #files: DirtyFiles;
  readonly #quota: BlockQuota;
  readonly #ranges: FileRanges;
  readonly #clone: FileClone;
  readonly #sync: FileSync;
  readonly flusher: Flusher;
  readonly reaper: FileReaper;
  readonly replay: FileReplay;

  constructor(options: {
    store: Store;
    pool: DataPool;
    extents: ExtentMap;
    writeback: Writeback;
    quotas: Quotas;
    layout: Layout;
  }) {
    const { store, pool } = options;
    this.#store = store;
    this.#core = store.core;
    this.pool = pool;
    this.#extents = options.extents;
    const files = new DirtyFiles(options);
    this.#files = files;
    this.flusher = new Flusher({ ...options, files });
    this.#quota = new BlockQuota({ quotas: options.quotas, files, flusher: this.flusher });
    const parts = { ...options, files, flusher: this.flusher, quota: this.#quota };
    this.#ranges = new FileRanges(parts);
    this.#clone = new FileClone({
      ...parts,
      write: (ino, offset, address, byteLength) => this.write(ino, offset, address, byteLength),
    });
    this.#sync = new FileSync(parts);
    this.reaper = new FileReaper(parts);
    this.replay = new FileReplay(parts);
    store.blocksOwed = () => pool.dirtyBlocks;
    store.relogBytes = () => files.loggedBlocks * (BLOCK_BYTES + ENTRY_DATA_BYTES);
  }

  /** What it reads with, and what that has counted. */
  get reader(): Reader {
    return this.#files.reader;
  }

  get dirtyFiles(): number {
    return this.#files.count;
  }

  get loggedBlocks(): number {
    return this.#files.loggedBlocks;
  }

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
    if (result < 0) this.#files.pool.give(runAddress, runBlocks);
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
    if (this.#store.faulted !== null) return -EROFS;
    if (!Number.isSafeInteger(offset) || offset < 0) return -EINVAL;
    if (offset + byteLength > FILE_BYTES_MAX) return -EFBIG;
    const file = this.#files.open(ino);
    if (typeof file === "number") return file;
    if (byteLength === 0) {
      if (runAddress !== 0) this.#files.pool.give(runAddress, runBlocks);
      return 0;
    }
    if (fixedProblem(file.flags) < 0) {
      const forbidden = this.#appendProblem(file, offset, address, byteLength);
      if (forbidden < 0) return forbidden;
    }
    const end = offset + byteLength;
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.floor((end - 1) / BLOCK_BYTES);
    const count = last - first + 1;

    if (this.#files.pool.freeNodes < NODES_PER_WRITE) this.#files.waitForRoom();
    // A file this small takes no block.
    const isSmall = Math.max(end, file.size) <= INLINE_BYTES_MAX;
    const promised =
      (this.#quota.isOn && !isSmall ? this.#quotaProblem(file, first, count) : 0) ||
      this.#promise(file, first, count);
    if (promised < 0) return promised;

    // Parts of blocks that the payload does not cover must be in a buffer, or known to be zero.
    const headPartial = offset % BLOCK_BYTES !== 0;
    const tailPartial = end % BLOCK_BYTES !== 0 && end < file.size;
    if (headPartial) this.#files.bringBlock(file, first);
    if (tailPartial && (last !== first || !headPartial)) this.#files.bringBlock(file, last);
    if (file.hasInline && first > 0) this.#files.bringBlock(file, 0);

    if (runAddress !== 0 && !headPartial && address % BLOCK_BYTES === 0) {
      this.#files.adopt(file, first, count, end, address, runAddress, runBlocks);
    } else if (count === 1 && this.#files.find(file, first) && this.#files.foundState() === 1) {
      this.#core.exports.bytes_copy(
        this.#files.foundAddress() + (offset % BLOCK_BYTES),
        address,
        byteLength,
      );
      if (runAddress !== 0) this.#files.pool.give(runAddress, runBlocks);
    } else {
      this.#files.copyIn(file, offset, address, byteLength, first, count);
      if (runAddress !== 0) this.#files.pool.give(runAddress, runBlocks);
    }
    file.noteWritten(first, count);
    if (end > file.size) file.size = end;
    if (!keepTimes) this.#files.touchTimes(file);
    this.flusher.afterWrite(file);
    return byteLength;
  }

  /**
   * −EPERM unless a write to a protected file only appends. The kernel's cache writes whole pages: what it repeats of
   * the file before its end must be as it is.
   */
  #appendProblem(file: DirtyFile, offset: number, address: number, byteLength: number): number {
    const immutable = immutableProblem(file.flags);
    if (immutable < 0 || offset >= file.size) return immutable;
    const end = Math.min(offset + byteLength, file.size);
    const { bytes } = this.#core;
    for (let at = offset; at < end; ) {
      const block = Math.floor(at / BLOCK_BYTES);
      const stop = Math.min(end, (block + 1) * BLOCK_BYTES);
      this.#files.bringBlock(file, block);
      const found = this.#files.find(file, block);
      const buffer = found ? this.#files.foundAddress() - block * BLOCK_BYTES : 0;
      for (; at < stop; at++) {
        const old = found ? bytes[buffer + at] : 0;
        if (bytes[address + (at - offset)] !== old) return -EPERM;
      }
    }
    return 0;
  }

  #quotaProblem(file: DirtyFile, first: number, count: number): number {
    const owned = this.#extents.ownedCount(file.ino, first, count, false);
    return this.#quota.problem(file.ino, count - owned.kept - owned.written);
  }

  /**
   * Whether there will be space for blocks that are about to be written. Where the file keeps it (fallocate) there is;
   * what replaces blocks of the file may use a part of the reserve, for it gives as many back.
   */
  #promise(file: DirtyFile, first: number, count: number): number {
    const store = this.#store;
    if (store.hasRoom(count)) {
      file.freeBlocksBefore = -1;
      return 0;
    }
    const owned = this.#extents.ownedCount(file.ino, first, count, file.isShared);
    const inline = first === 0 && file.hasInline ? 1 : 0;
    if (owned.kept === count) return 0;
    if (owned.kept + owned.written + inline < count) return store.promise(count);
    if (store.hasRoomForOverwrite(count)) return 0;
    // Each round of write-back and checkpoint must bring something, or there is nothing left that could.
    const { freeBlocks, awaitedBlocks } = store.space;
    if (this.pool.dirtyBlocks > 0) this.flusher.waitForProgress();
    if (awaitedBlocks === 0 || freeBlocks === file.freeBlocksBefore) return -ENOSPC;
    file.freeBlocksBefore = freeBlocks;
    return store.waitForCheckpoint();
  }

  read(ino: number, offset: number, byteLength: number, done: (result: ReadResult) => void): void {
    this.#files.reader.read(ino, offset, byteLength, done);
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
      if (this.#files.find(file, block)) return this.#files.foundRun();
      const gap = this.#files.foundRun();
      // A gap of 2^32 − 1 may be longer: the seek goes on from there.
      nextBuffered = block + gap;
    }
    const extent = this.#extents.firstFrom(ino, block);
    if (extent !== null && extent.fileBlock <= block) {
      const left = extent.fileBlock + extent.blockCount - block;
      return extent.isWritten ? left : -Math.min(left, nextBuffered - block);
    }
    if (block === 0 && extent?.fileBlock !== 0 && this.#store.get(ino, ITEM_INLINE, 0) !== 0)
      return 1;
    const next = Math.min(nextBuffered, extent?.fileBlock ?? Number.MAX_SAFE_INTEGER);
    return -(next - block);
  }

  overlay(ino: number, out: Attributes): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    out.size = file.size;
    const buffered =
      this.#core.exports.dirty_count(this.#files.pool.dirtyBase, file.map) + file.inFlight;
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

  flagsChanged(ino: number, flags: number): void {
    const file = this.#files.get(ino);
    if (file !== undefined) file.flags = flags;
  }

  attributesChanged(ino: number, out: Attributes): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    file.mtime = out.mtime;
    file.mtimeNs = out.mtimeNs;
    file.ctime = out.ctime;
    file.ctimeNs = out.ctimeNs;
  }

  ctimeChanged(
    ino: number,
    seconds: number,
    nanoseconds: number,
  ): { readonly mtime: number; readonly mtimeNs: number } | null {
    const file = this.#files.get(ino);
    if (file === undefined) return null;
    file.ctime = seconds;
    file.ctimeNs = nanoseconds;
    return file.timesDirty ? file : null;
  }

  // --- ranges ---

  fallocate(ino: number, mode: number, offset: number, byteLength: number): number {
    return this.#ranges.fallocate(ino, mode, offset, byteLength);
  }

  copyRange(
    from: number,
    fromOffset: number,
    to: number,
    toOffset: number,
    byteLength: number,
    done: Done,
  ): void {
    this.#clone.copyRange(from, fromOffset, to, toOffset, byteLength, done);
  }

  truncatePrepare(ino: number, size: number, newSize: number): number {
    return this.#ranges.truncatePrepare(ino, size, newSize);
  }

  truncateApply(ino: number, size: number, newSize: number): number {
    return this.#ranges.truncateApply(ino, size, newSize);
  }

  releasePrepare(ino: number): boolean {
    return this.#ranges.releasePrepare(ino);
  }

  releaseApply(ino: number): void {
    this.#ranges.releaseApply(ino);
  }

  reap(ino: number): void {
    this.reaper.reap(ino);
  }

  // --- durability ---

  fsync(ino: number, done: Done): void {
    this.#sync.fsync(ino, done);
  }

  sync(done: Done): void {
    this.#sync.sync(done);
  }

  relog(): boolean {
    return this.#sync.relog();
  }

  orderData(ino: number): void {
    this.#sync.orderData(ino);
  }
}

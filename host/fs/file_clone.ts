/**
 * Copies of ranges that share blocks (copy_file_range(2)): whole blocks get one more extent that points to them, in
 * transactions of bounded size; only bytes that do not fill a block, or lie differently in theirs, are read and written.
 */
import { assert } from "../base/assert.ts";
import { EFBIG, EINVAL, EIO, EISDIR, EROFS, ESTALE } from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
import { RetryFailed, retrying, spawn, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import type { Done } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import { INODE_BYTES, INODE_SHARED } from "../format/inode.ts";
import { ITEM_EXTENT, ITEM_INLINE, ITEM_INODE } from "../format/key.ts";
import { INTENT_GROW } from "../store/item_store.ts";
import type { Store } from "../store/store.ts";
import type { BlockQuota } from "./block_quota.ts";
import type { DirtyFile } from "./dirty_file.ts";
import type { DirtyFiles } from "./dirty_files.ts";
import {
  type Extent,
  type ExtentMap,
  SHARED_COUNTS_MAX,
  SHARED_EXTENTS_MAX,
  within,
} from "./extent_map.ts";
import { FILE_BYTES_MAX } from "./file_ranges.ts";
import type { ReadResult } from "./file_system.ts";
import type { Flusher } from "./flusher.ts";
import {
  addInodeFlags,
  copyInodeForData,
  inodeBlocks,
  inodeFlags,
  inodeIsRegular,
  inodeSize,
  storeBufferedTimes,
  storeInodeData,
} from "./inode_data.ts";
import { fixedProblem } from "./inode_flags.ts";
import type { Writeback } from "./writeback.ts";

/** Bytes that are copied, not shared, at a time. */
const COPY_BYTES_MAX = 131_072;

type Write = (ino: number, offset: number, address: number, byteLength: number) => number;

/** What is to be copied: from byte offset to byte offset. */
export interface CopiedRange {
  readonly from: number;
  readonly fromOffset: number;
  readonly to: number;
  readonly toOffset: number;
  readonly byteLength: number;
}

export class FileClone {
  readonly #core: Core;
  readonly #store: Store;
  readonly #files: DirtyFiles;
  readonly #extents: ExtentMap;
  readonly #flusher: Flusher;
  readonly #quota: BlockQuota;
  readonly #writeback: Writeback;
  readonly #write: Write;
  readonly #source: number;
  readonly #target: number;

  constructor(options: {
    store: Store;
    files: DirtyFiles;
    extents: ExtentMap;
    flusher: Flusher;
    quota: BlockQuota;
    writeback: Writeback;
    write: Write;
    layout: Layout;
  }) {
    this.#store = options.store;
    this.#core = options.store.core;
    this.#files = options.files;
    this.#extents = options.extents;
    this.#flusher = options.flusher;
    this.#quota = options.quota;
    this.#writeback = options.writeback;
    this.#write = options.write;
    this.#source = options.layout.take(INODE_BYTES, 8);
    this.#target = options.layout.take(INODE_BYTES, 8);
  }

  /**
   * Copies a range of one file over a range of another, or of the same where they do not overlap.
   *
   * @param done Gets the bytes copied, fewer where the source ends, or −errno if there are none.
   */
  copyRange(
    from: number,
    fromOffset: number,
    to: number,
    toOffset: number,
    byteLength: number,
    done: Done,
  ): void {
    const range: CopiedRange = { from, fromOffset, to, toOffset, byteLength };
    const problem = this.#problem(range);
    if (problem < 0) {
      done(problem);
      return;
    }
    spawn(this.#copyAll(range), (error, copied) => {
      if (error !== null) this.#store.fault(error);
      done(error !== null ? -EIO : (copied as number));
    });
  }

  #problem({ from, fromOffset, to, toOffset, byteLength }: CopiedRange): number {
    if (this.#store.readOnly) return -EROFS;
    if (this.#store.faulted !== null) return -EROFS;
    for (const number of [fromOffset, toOffset, byteLength]) if (!(number >= 0)) return -EINVAL;
    if (toOffset + byteLength > FILE_BYTES_MAX) return -EFBIG;
    const distance = Math.abs(fromOffset - toOffset);
    return from === to && distance < byteLength ? -EINVAL : 0;
  }

  *#copyAll(range: CopiedRange): Task<number> {
    let copied = 0;
    while (copied < range.byteLength) {
      let step: number;
      try {
        step = yield* this.#copySome({
          ...range,
          fromOffset: range.fromOffset + copied,
          toOffset: range.toOffset + copied,
          byteLength: range.byteLength - copied,
        });
      } catch (error) {
        // A block that cannot be read is an error of this copy, not of the volume: nothing has been changed.
        if (!(error instanceof RetryFailed)) throw error;
        step = error.status;
      }
      if (step < 0 && copied === 0) return step;
      if (step <= 0) break;
      copied += step;
      // Others' requests come between two transactions.
      yield (resume) => this.#store.post(() => resume(0));
    }
    return copied;
  }

  /** Copies a part of a range. Returns how much, 0 at the end of the source, or −errno. */
  *#copySome(range: CopiedRange): Task<number> {
    const inBlock = range.fromOffset % BLOCK_BYTES;
    const isAligned = inBlock === range.toOffset % BLOCK_BYTES;
    if (isAligned && inBlock === 0) {
      const cloned = yield* retrying(() => this.cloneOnce(range));
      if (cloned !== 0) return cloned;
    }
    const most = isAligned && inBlock > 0 ? BLOCK_BYTES - inBlock : COPY_BYTES_MAX;
    return yield* this.#copyBytes(range, Math.min(range.byteLength, most));
  }

  *#copyBytes(range: CopiedRange, byteLength: number): Task<number> {
    let result: ReadResult | null = null;
    yield (resume) =>
      this.#files.reader.read(range.from, range.fromOffset, byteLength, (read) => {
        result = read;
        resume(0);
      });
    const read = result as unknown as ReadResult;
    try {
      if (read.status < 0) return read.status;
      let at = 0;
      for (let part = 0; part < read.parts; part++) {
        const length = read.byteLengths[part] as number;
        const address = read.addresses[part] as number;
        const offset = range.toOffset + at;
        const written = yield* retrying(() => this.writeOnce(range.to, offset, address, length));
        if (written < 0) return at > 0 ? at : written;
        at += length;
      }
      return at;
    } finally {
      read.release();
    }
  }

  /**
   * One transaction that points the target to blocks of the source. Returns the bytes that it covers, 0 where nothing
   * can be shared, or −errno; throws Retry. A method of its own, as is the next, so that tests can follow each step.
   */
  cloneOnce(range: CopiedRange): number {
    const { from, to } = range;
    const store = this.#store;
    const extents = this.#extents;
    const status = this.#lookAtSource(from);
    if (status <= 0) return status;
    const target = this.#files.open(to);
    if (typeof target === "number") return target;
    const forbidden = fixedProblem(target.flags);
    if (forbidden < 0) return forbidden;
    const fromBlock = range.fromOffset / BLOCK_BYTES;
    const toBlock = range.toOffset / BLOCK_BYTES;
    const left = inodeSize(this.#core, this.#source) - range.fromOffset;
    const byteLength = Math.min(range.byteLength, left);
    // The source's last block, though not full, can be shared where nothing of the target comes after it.
    const takesEnd = byteLength === left && range.toOffset + byteLength >= target.size;
    const blocks = takesEnd
      ? Math.ceil(byteLength / BLOCK_BYTES)
      : Math.floor(byteLength / BLOCK_BYTES);
    if (blocks <= 0) return 0;
    if (this.#isBuffered(from, fromBlock, blocks)) this.#waitForWritten(from);
    if (target.inFlight > 0) throw new Retry((resume) => target.whenIdle(resume));
    if (this.#files.isLogged(target, toBlock, toBlock + blocks)) this.#flusher.waitForLogged();

    const begun = store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const plan = this.#plan(range, fromBlock, toBlock, blocks);
    if (this.#quota.isOn) {
      const owned = extents.ownedCount(to, toBlock, plan.count, false);
      const status = this.#quota.problem(to, plan.count - owned.kept - owned.written);
      if (status < 0) return status;
    }
    const dropsInline = toBlock === 0 && store.get(to, ITEM_INLINE, 0) !== 0;
    if (store.get(from, ITEM_INODE, 0) === 0) return -ESTALE;
    const inode = store.get(to, ITEM_INODE, 0);
    if (inode === 0) return -ESTALE;
    copyInodeForData(this.#core, inode, this.#target);

    // From here on nothing waits.
    const overlap = extents.look(to, toBlock, toBlock + plan.count, SHARED_EXTENTS_MAX);
    assert(overlap.isComplete, "a clone replaces more than a transaction takes");
    const lost = extents.cut(to, overlap, toBlock, toBlock + plan.count);
    if (dropsInline) {
      store.remove(to, ITEM_INLINE, 0);
      target.hasInline = false;
    }
    // Where source and target are one file, the cut may have split what is to be shared.
    const found =
      from === to
        ? extents.overlapping(from, fromBlock, fromBlock + plan.count, 2 * SHARED_EXTENTS_MAX, true)
        : plan.extents;
    let shared = 0;
    for (const extent of found) {
      const part = within(extent, fromBlock, fromBlock + plan.count);
      if (part.blockCount <= 0) continue;
      const at = toBlock + (part.fileBlock - fromBlock);
      extents.share(from, extent, part.fileBlock, part.fileBlock + part.blockCount, to, at);
      shared += part.blockCount;
    }
    if (shared > 0) this.#markShared(from, to, target);
    this.#dropBuffers(target, toBlock, plan.count);
    const copied = Math.min(plan.count * BLOCK_BYTES, byteLength);
    const end = range.toOffset + copied;
    target.size = Math.max(target.size, end);
    this.#files.touchTimes(target);
    const size = Math.max(inodeSize(this.#core, this.#target), end);
    const blockCount = inodeBlocks(this.#core, this.#target) + shared - lost;
    storeInodeData(this.#core, this.#target, size, blockCount, target);
    store.put(to, ITEM_INODE, 0, this.#target, INODE_BYTES);
    store.commit();
    this.#files.settle(target);
    return copied;
  }

  /** Writes bytes that were read. Returns how many, or −errno; throws Retry. */
  writeOnce(to: number, offset: number, address: number, byteLength: number): number {
    return this.#write(to, offset, address, byteLength);
  }

  /** Copies the source's record. Returns 1 if its blocks can be shared, 0 if it has none, or −errno. */
  #lookAtSource(from: number): number {
    const inode = this.#store.get(from, ITEM_INODE, 0);
    if (inode === 0) return -ESTALE;
    if (!inodeIsRegular(this.#core, inode)) return -EISDIR;
    copyInodeForData(this.#core, inode, this.#source);
    const file = this.#files.get(from);
    if (file !== undefined && file.error !== 0) return file.error;
    if (file !== undefined)
      storeInodeData(this.#core, this.#source, file.size, inodeBlocks(this.#core, inode), null);
    return this.#store.get(from, ITEM_INLINE, 0) === 0 ? 1 : 0;
  }

  #isBuffered(ino: number, block: number, count: number): boolean {
    const file = this.#files.get(ino);
    if (file === undefined) return false;
    if (file.inFlight > 0 || this.#files.find(file, block)) return true;
    return this.#files.foundRun() < count;
  }

  /** Throws a Retry that ends when what is buffered of a file is in its extents. */
  #waitForWritten(ino: number): never {
    const file = this.#files.get(ino) as DirtyFile;
    throw new Retry((resume) => {
      // After a failure nothing is written back any more: it would be tried for ever.
      spawn(this.#writeBack(file), (error) =>
        resume(error !== null || this.#store.faulted !== null ? -EIO : 0),
      );
    });
  }

  *#writeBack(file: DirtyFile): Task<void> {
    if (file.gone) return;
    yield* this.#writeback.start(file);
    this.#writeback.kick();
    if (file.inFlight > 0) yield (resume) => file.whenIdle(resume);
    this.#files.settle(file);
  }

  /** Looks at all that one transaction changes, and says how far it goes. */
  #plan(
    { from, to }: CopiedRange,
    fromBlock: number,
    toBlock: number,
    blocks: number,
  ): { readonly count: number; readonly extents: readonly Extent[] } {
    const extents = this.#extents;
    let count = blocks;
    const overlap = extents.look(to, toBlock, toBlock + count, SHARED_EXTENTS_MAX);
    const last = overlap.extents[overlap.extents.length - 1];
    if (!overlap.isComplete && last !== undefined)
      count = Math.min(count, last.fileBlock + last.blockCount - toBlock);
    const found = extents.overlapping(
      from,
      fromBlock,
      fromBlock + count,
      SHARED_EXTENTS_MAX + 1,
      true,
    );
    const beyond = found[SHARED_EXTENTS_MAX];
    if (beyond !== undefined) count = beyond.fileBlock - fromBlock;
    let counts = 0;
    for (const extent of found) {
      const part = within(extent, fromBlock, fromBlock + count);
      if (part.blockCount <= 0) break;
      counts += extents.shared.look(part.start, part.blockCount);
      if (counts > SHARED_COUNTS_MAX && part.fileBlock > fromBlock) {
        count = part.fileBlock - fromBlock;
        break;
      }
      const at = toBlock + (part.fileBlock - fromBlock);
      this.#store.get(from, ITEM_EXTENT, extent.fileBlock * BLOCK_BYTES);
      this.#store.get(to, ITEM_EXTENT, at * BLOCK_BYTES);
    }
    this.#store.get(to, ITEM_EXTENT, (toBlock + count) * BLOCK_BYTES);
    return { count, extents: found };
  }

  /** Notes with both files that their blocks may have counts. */
  #markShared(from: number, to: number, target: DirtyFile): void {
    addInodeFlags(this.#core, this.#target, INODE_SHARED);
    target.isShared = true;
    const source = this.#files.get(from);
    if (source !== undefined) source.isShared = true;
    if (from === to) return;
    const inode = this.#store.get(from, ITEM_INODE, 0);
    assert(inode !== 0, "a file vanished while it was cloned");
    if ((inodeFlags(this.#core, inode) & INODE_SHARED) !== 0) return;
    copyInodeForData(this.#core, inode, this.#source);
    addInodeFlags(this.#core, this.#source, INODE_SHARED);
    storeBufferedTimes(this.#core, this.#source, source ?? null);
    this.#store.put(from, ITEM_INODE, 0, this.#source, INODE_BYTES);
  }

  #dropBuffers(file: DirtyFile, block: number, count: number): void {
    file.changes++;
    this.#files.drop(file, block, count);
  }
}

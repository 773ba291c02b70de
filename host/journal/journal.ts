/**
 * The log of transactions since the last checkpoint: SPEC §7.
 *
 * Records are appended to one of two halves of core memory. A commit seals the open half with a header and makes it
 * durable in one sequential write; meanwhile records go to the other half, and callers that ask for durability then share
 * the next commit (group commit). One commit is in flight at a time, so a commit that has a successor is durable.
 * Nothing is written before someone asks, or a half is full: a checkpoint makes most records needless.
 *
 * Invariants: a half holds whole transactions when it is sealed; on disk commits follow each other without a gap, each
 * naming the checksum of the one before, so replay ends at the first that does not fit.
 */
import { assert } from "../base/assert.ts";
import { getU64, roundUp, setI64, setU64 } from "../base/bytes.ts";
import { EIO } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Histogram } from "../base/histogram.ts";
import { spawn, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Done } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import {
  COMMIT_BYTE_LENGTH,
  COMMIT_CHAIN,
  COMMIT_CHECKED_FROM,
  COMMIT_CHECKSUM,
  COMMIT_FIRST_TRANSACTION,
  COMMIT_HEADER_BYTES,
  COMMIT_MAGIC,
  COMMIT_MAGIC_AT,
  COMMIT_POOL,
  COMMIT_SEQUENCE,
  COMMIT_TRANSACTIONS,
  COMMIT_VERSION,
  ENTRY_ALLOCATE,
  ENTRY_DATA,
  ENTRY_DATA_BYTES,
  ENTRY_END,
  ENTRY_ITEM_BYTES,
  ENTRY_PUT,
  ENTRY_REMOVE,
  ENTRY_TRUNCATE,
} from "../format/journal_record.ts";
import type { Pool } from "../pool/pool.ts";

/** The largest commit, and so the length of a half: part of the format, since a reader must have room for it. */
export const COMMIT_BYTES_MAX: number = 4 * 1024 * 1024;
/** Left for the commit that a checkpoint may need before it can free anything. */
const RESERVE_BLOCKS = (2 * COMMIT_BYTES_MAX) / BLOCK_BYTES;
export const JOURNAL_MEMORY_BYTES: number = 2 * COMMIT_BYTES_MAX;

/** Blocks that are looked through at a time. */
const SCAN_BLOCKS = 256;

/** A place in the journal from which replay can begin. */
export interface JournalPosition {
  sequence: number;
  block: number;
  chain: Uint8Array;
}

export class Journal {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #start: number;
  readonly #blocks: number;
  readonly #poolPrefix: Uint8Array;
  readonly #halves: readonly [number, number];
  /** Called when a commit does not fit until a checkpoint has moved the head. */
  readonly #needCheckpoint: () => void;

  /** Commit counters: sequence of the next commit, and monotonic block positions of head and tail. */
  #sequence: number;
  #tail: number;
  #head: number;
  #chain: Uint8Array;

  #open: 0 | 1 = 0;
  #used = COMMIT_HEADER_BYTES;
  #transactions = 0;
  #records = 0;
  #firstTransaction = 0;
  #lastTransaction = 0;
  #holdsAllocations = false;
  #waiters: Done[] = [];
  /** A commit's write or flush is under way. */
  #inFlight = false;
  #inFlightWaiters: Done[] = [];
  #sealRequested = false;
  #roomWaiters: ((status: number) => void)[] = [];
  #failed = 0;
  #urgent = false;
  /** True while a transaction's entries are being appended: the half may not be sealed. */
  #inTransaction = false;

  /** Told once when a commit could not be written: nothing that follows can become durable. */
  onFailure: (status: number) => void = () => {};

  /** Of commits: how many, blocks of bytes, and the transactions and records in them. */
  commits = 0;
  committedBytes = 0;
  committedTransactions = 0;
  committedRecords = 0;
  /** Commits before which the device was flushed. */
  flushes = 0;
  /** Microseconds from when a commit was sealed to when it was durable. */
  readonly latency: Histogram = new Histogram();

  constructor(options: {
    core: Core;
    pool: Pool;
    start: number;
    blocks: number;
    poolUuid: Uint8Array;
    memory: number;
    position: JournalPosition;
    needCheckpoint: () => void;
  }) {
    this.#core = options.core;
    this.#pool = options.pool;
    this.#start = options.start;
    this.#blocks = options.blocks;
    this.#poolPrefix = options.poolUuid.slice(0, 8);
    this.#halves = [options.memory, options.memory + COMMIT_BYTES_MAX];
    this.#needCheckpoint = options.needCheckpoint;
    this.#sequence = options.position.sequence;
    this.#tail = options.position.block;
    this.#head = options.position.block;
    this.#chain = options.position.chain;
  }

  get sizeBytes(): number {
    return this.#blocks * BLOCK_BYTES;
  }

  /** Bytes on disk that the next checkpoint will free. */
  get usedBytes(): number {
    return (this.#tail - this.#head) * BLOCK_BYTES;
  }

  /** Bytes left in the open half. */
  get room(): number {
    return COMMIT_BYTES_MAX - this.#used;
  }

  get isEmpty(): boolean {
    return this.#transactions === 0;
  }

  /** −errno of the write that failed; the journal takes no more commits. */
  get failed(): number {
    return this.#failed;
  }

  /** Where the next commit will be written: what a checkpoint that contains all transactions so far records. */
  position(): JournalPosition {
    return { sequence: this.#sequence, block: this.#tail % this.#blocks, chain: this.#chain };
  }

  /** Monotonic form of position().block, for `release`. */
  get tail(): number {
    return this.#tail;
  }

  /** Continues after replay: everything before this place is contained in a checkpoint to come. */
  restart(position: JournalPosition): void {
    assert(this.#transactions === 0 && !this.#inFlight, "journal restarted while in use");
    this.#sequence = position.sequence;
    this.#chain = position.chain;
    const at = this.#tail % this.#blocks;
    this.#tail += (position.block - at + this.#blocks) % this.#blocks;
  }

  /**
   * A checkpoint is durable: the journal before `tail` is free, and records of transactions before `transaction` that
   * were never written are needless.
   */
  release(tail: number, transaction: number): void {
    this.#head = tail;
    if (
      this.#transactions > 0 &&
      this.#lastTransaction < transaction &&
      this.#waiters.length === 0 &&
      !this.#inTransaction
    ) {
      this.#resetHalf();
    }
    this.#pump();
    this.#wakeRoomWaiters(0);
  }

  /** Resumes when the open half may have room again. */
  whenRoom(resume: (status: number) => void): void {
    if (this.#failed < 0) {
      resume(this.#failed);
      return;
    }
    this.#roomWaiters.push(resume);
    this.#sealRequested = true;
    this.#pump();
  }

  beginTransaction(): void {
    this.#inTransaction = true;
  }

  appendPut(
    tree: number,
    oid: number,
    type: number,
    offset: number,
    valueAddress: number,
    valueLength: number,
  ): void {
    const padded = (valueLength + 7) & ~7;
    const at = this.#take(ENTRY_ITEM_BYTES + padded);
    this.#item(at, ENTRY_PUT, tree, oid, type, offset, valueLength);
    if (padded > 0) {
      this.#core.exports.bytes_fill(at + ENTRY_ITEM_BYTES + padded - 8, 0, 8);
      this.#core.exports.bytes_copy(at + ENTRY_ITEM_BYTES, valueAddress, valueLength);
    }
  }

  appendRemove(tree: number, oid: number, type: number, offset: number): void {
    this.#item(this.#take(ENTRY_ITEM_BYTES), ENTRY_REMOVE, tree, oid, type, offset, 0);
  }

  /** ENTRY_ALLOCATE or ENTRY_FREE of a run of blocks. */
  appendRange(kind: number, deviceIndex: number, block: number, blockCount: number): void {
    const at = this.#take(16);
    const view = this.#core.view;
    view.setUint32(at, kind, true);
    view.setUint32(at + 4, blockCount, true);
    view.setUint32(at + 8, block >>> 0, true);
    view.setUint32(at + 12, ((deviceIndex << 16) | Math.floor(block / 4294967296)) >>> 0, true);
    if (kind === ENTRY_ALLOCATE) this.#holdsAllocations = true;
  }

  /** Buffered file data, made durable without an extent. */
  appendData(
    ino: number,
    offset: number,
    size: number,
    mtime: number,
    mtimeNs: number,
    address: number,
    byteLength: number,
  ): void {
    const padded = (byteLength + 7) & ~7;
    const at = this.#take(ENTRY_DATA_BYTES + padded);
    const view = this.#core.view;
    view.setUint32(at, ENTRY_DATA, true);
    view.setUint32(at + 4, byteLength, true);
    setU64(view, at + 8, ino);
    setU64(view, at + 16, offset);
    setU64(view, at + 24, size);
    setI64(view, at + 32, mtime);
    view.setUint32(at + 40, mtimeNs, true);
    view.setUint32(at + 44, 0, true);
    if (padded > 0) {
      this.#core.exports.bytes_fill(at + ENTRY_DATA_BYTES + padded - 8, 0, 8);
      this.#core.exports.bytes_copy(at + ENTRY_DATA_BYTES, address, byteLength);
    }
  }

  appendTruncate(ino: number, size: number): void {
    const at = this.#take(24);
    const view = this.#core.view;
    view.setUint32(at, ENTRY_TRUNCATE, true);
    view.setUint32(at + 4, 0, true);
    setU64(view, at + 8, ino);
    setU64(view, at + 16, size);
  }

  endTransaction(transaction: number): void {
    const at = this.#take(16);
    const view = this.#core.view;
    view.setUint32(at, ENTRY_END, true);
    view.setUint32(at + 4, 0, true);
    setU64(view, at + 8, transaction);
    if (this.#transactions === 0) this.#firstTransaction = transaction;
    this.#lastTransaction = transaction;
    this.#transactions++;
    this.#inTransaction = false;
    if (this.#sealRequested) this.#pump();
  }

  /**
   * Makes everything appended so far durable; callers that come while a commit is under way share the next.
   *
   * @param urgent A checkpoint waits for it: may use the last of the area, which others leave free.
   */
  commit(done: Done, urgent = false): void {
    if (urgent) this.#urgent = true;
    if (this.#failed < 0) {
      done(this.#failed);
      return;
    }
    if (this.#transactions === 0) {
      if (this.#inFlight) this.#inFlightWaiters.push(done);
      else done(0);
      return;
    }
    this.#waiters.push(done);
    this.#sealRequested = true;
    this.#pump();
  }

  /** No more commits: everyone who waits gets the error. */
  abort(status: number): void {
    if (this.#failed === 0) this.#failed = status;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const done of waiters) done(status);
    this.#wakeRoomWaiters(status);
  }

  #item(
    at: number,
    kind: number,
    tree: number,
    oid: number,
    type: number,
    offset: number,
    valueLength: number,
  ): void {
    const view = this.#core.view;
    view.setUint32(at, kind | (type << 8) | (valueLength << 16), true);
    view.setUint32(at + 4, tree, true);
    setU64(view, at + 8, oid);
    setU64(view, at + 16, offset);
  }

  #take(byteLength: number): number {
    assert(byteLength <= this.room, "journal half overrun: begin() must reserve room");
    const at = this.#halves[this.#open] + this.#used;
    this.#used += byteLength;
    this.#records++;
    return at;
  }

  #resetHalf(): void {
    this.#used = COMMIT_HEADER_BYTES;
    this.#transactions = 0;
    this.#records = 0;
    this.#holdsAllocations = false;
    this.#sealRequested = false;
  }

  #wakeRoomWaiters(status: number): void {
    if (this.#roomWaiters.length === 0) return;
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    for (const resume of waiters) resume(status);
  }

  /** Starts the next commit if one is wanted and possible. */
  #pump(): void {
    if (!this.#sealRequested || this.#inFlight || this.#inTransaction || this.#failed < 0) return;
    if (this.#transactions === 0) {
      this.#sealRequested = false;
      this.#wakeRoomWaiters(0);
      return;
    }
    const blockCount = roundUp(this.#used, BLOCK_BYTES) / BLOCK_BYTES;
    const at = this.#tail % this.#blocks;
    const skipped = at + blockCount > this.#blocks ? this.#blocks - at : 0;
    const kept = this.#urgent ? 0 : RESERVE_BLOCKS;
    if (this.#tail + skipped + blockCount - this.#head > this.#blocks - kept) {
      this.#needCheckpoint();
      return;
    }
    this.#urgent = false;
    this.#tail += skipped;
    const half = this.#halves[this.#open];
    const byteLength = this.#used;
    this.#seal(half, byteLength);
    const block = this.#tail % this.#blocks;
    this.#tail += blockCount;
    this.#inFlight = true;
    this.#inFlightWaiters = this.#waiters;
    this.#waiters = [];
    const preFlush = this.#holdsAllocations && this.#pool.hasUnflushedWrites;
    this.#open = this.#open === 0 ? 1 : 0;
    this.committedTransactions += this.#transactions;
    this.committedRecords += this.#records;
    this.#resetHalf();
    if (preFlush) this.flushes++;
    this.commits++;
    const startMs = this.#pool.nowMs();
    this.committedBytes += blockCount * BLOCK_BYTES;
    spawn(this.#write(half, block, blockCount, preFlush), (error, status) => {
      this.#inFlight = false;
      this.latency.record((this.#pool.nowMs() - startMs) * 1000);
      const result = error !== null ? -EIO : (status as number);
      if (result < 0) {
        this.#failed = result;
        this.onFailure(result);
      }
      const waiters = this.#inFlightWaiters;
      this.#inFlightWaiters = [];
      for (const done of waiters) done(result);
      if (result < 0) {
        const late = this.#waiters;
        this.#waiters = [];
        for (const done of late) done(result);
      }
      this.#wakeRoomWaiters(result);
      if (result >= 0) this.#pump();
    });
  }

  #seal(half: number, byteLength: number): void {
    const view = this.#core.view;
    view.setUint32(half + COMMIT_MAGIC_AT, COMMIT_MAGIC, true);
    view.setUint32(half + COMMIT_VERSION, 1, true);
    setU64(view, half + COMMIT_SEQUENCE, this.#sequence);
    this.#core.bytes.set(this.#chain, half + COMMIT_CHAIN);
    view.setUint32(half + COMMIT_BYTE_LENGTH, byteLength, true);
    view.setUint32(half + COMMIT_TRANSACTIONS, this.#transactions, true);
    setU64(view, half + COMMIT_FIRST_TRANSACTION, this.#firstTransaction);
    this.#core.bytes.set(this.#poolPrefix, half + COMMIT_POOL);
    setU64(view, half + 56, 0);
    this.#core.exports.xxh3_64(
      half + COMMIT_CHECKED_FROM,
      byteLength - COMMIT_CHECKED_FROM,
      half + COMMIT_CHECKSUM,
    );
    this.#chain = this.#core.bytes.slice(half + COMMIT_CHECKSUM, half + COMMIT_CHECKSUM + 8);
    this.#sequence++;
    const end = roundUp(byteLength, BLOCK_BYTES);
    if (end > byteLength) this.#core.exports.bytes_fill(half + byteLength, 0, end - byteLength);
  }

  *#write(half: number, block: number, blockCount: number, preFlush: boolean): Task<number> {
    if (preFlush) {
      const status = yield this.#pool.flush();
      if (status < 0) return status;
    }
    return yield (resume) =>
      this.#pool.writeDurable(0, this.#start + block, half, blockCount * BLOCK_BYTES, resume);
  }
}

/** What replay found at a place of the journal. */
export interface CommitFound {
  readonly byteLength: number;
  readonly sequence: number;
  readonly firstTransaction: number;
  readonly transactions: number;
  readonly block: number;
  /** Where the next commit is expected. */
  readonly next: JournalPosition;
}

/**
 * Reads the commit that a position expects into a buffer of COMMIT_BYTES_MAX.
 *
 * @returns null where the journal ends.
 */
export function* readCommit(
  core: Core,
  pool: Pool,
  area: { start: number; blocks: number; poolUuid: Uint8Array },
  position: JournalPosition,
  buffer: number,
): Task<CommitFound | null> {
  // A commit that did not fit before the end of the area was written at its start.
  const places = position.block === 0 ? [0] : [position.block, 0];
  // A read may have brought something else: what would end the journal here is looked at twice.
  for (const block of [...places, ...places]) {
    const byteLength = yield* readCommitHeader(core, pool, area, position, block, buffer);
    if (byteLength === 0) continue;
    const blockCount = roundUp(byteLength, BLOCK_BYTES) / BLOCK_BYTES;
    if (block + blockCount > area.blocks) continue;
    if (blockCount > 1) {
      const status = yield (resume) =>
        pool.read(0, area.start + block, buffer, blockCount * BLOCK_BYTES, resume);
      if (status < 0) throwUnreadable(block, status);
      // Another read, perhaps of another commit.
      if (lengthOfFitting(core, area, position, buffer) !== byteLength) continue;
    }
    const bad = core.exports.xxh3_64_verify_units(
      buffer + COMMIT_CHECKED_FROM,
      byteLength - COMMIT_CHECKED_FROM,
      1,
      buffer + COMMIT_CHECKSUM,
    );
    if (bad >= 0) continue;
    return {
      byteLength,
      sequence: position.sequence,
      firstTransaction: getU64(core.view, buffer + COMMIT_FIRST_TRANSACTION),
      transactions: core.view.getUint32(buffer + COMMIT_TRANSACTIONS, true),
      block,
      next: {
        sequence: position.sequence + 1,
        block: (block + blockCount) % area.blocks,
        chain: core.bytes.slice(buffer + COMMIT_CHECKSUM, buffer + COMMIT_CHECKSUM + 8),
      },
    };
  }
  return null;
}

/**
 * Whether the commit that a position expects, and that is not there, was durable once: the next one is, whole. One commit is
 * in flight at a time, so no loss of power does that. Looks as far as the longest commit reaches.
 */
export function* hasSuccessor(
  core: Core,
  pool: Pool,
  area: { start: number; blocks: number; poolUuid: Uint8Array },
  position: JournalPosition,
  buffer: number,
): Task<boolean> {
  const reach = position.block + COMMIT_BYTES_MAX / BLOCK_BYTES + 1;
  // The one expected may have been written at the start of the area.
  const ranges = [[position.block, Math.min(reach, area.blocks)] as const];
  if (reach > area.blocks) ranges.push([0, Math.min(reach - position.block, position.block)]);
  const sequence = position.sequence + 1;
  for (const [from, to] of ranges) {
    for (let block = from; block < to; block += SCAN_BLOCKS) {
      const count = Math.min(SCAN_BLOCKS, to - block);
      const status = yield (resume) =>
        pool.read(0, area.start + block, buffer, count * BLOCK_BYTES, resume);
      if (status < 0) continue;
      const candidates: JournalPosition[] = [];
      for (let index = 0; index < count; index++) {
        const at = buffer + index * BLOCK_BYTES;
        if (core.view.getUint32(at + COMMIT_MAGIC_AT, true) !== COMMIT_MAGIC) continue;
        if (getU64(core.view, at + COMMIT_SEQUENCE) !== sequence) continue;
        const chain = core.bytes.slice(at + COMMIT_CHAIN, at + COMMIT_CHAIN + 8);
        candidates.push({ sequence, block: block + index, chain });
      }
      for (const candidate of candidates) {
        const commit = yield* readCommit(core, pool, area, candidate, buffer);
        if (commit !== null) return true;
      }
    }
  }
  return false;
}

/** Length of the commit whose header fits the position, else 0. Reads one block into the buffer. */
function* readCommitHeader(
  core: Core,
  pool: Pool,
  area: { start: number; poolUuid: Uint8Array },
  position: JournalPosition,
  block: number,
  buffer: number,
): Task<number> {
  const status = yield (resume) => pool.read(0, area.start + block, buffer, BLOCK_BYTES, resume);
  if (status < 0) throwUnreadable(block, status);
  return lengthOfFitting(core, area, position, buffer);
}

function lengthOfFitting(
  core: Core,
  area: { poolUuid: Uint8Array },
  position: JournalPosition,
  buffer: number,
): number {
  const view = core.view;
  if (view.getUint32(buffer + COMMIT_MAGIC_AT, true) !== COMMIT_MAGIC) return 0;
  if (view.getUint32(buffer + COMMIT_VERSION, true) !== 1) return 0;
  if (getU64(view, buffer + COMMIT_SEQUENCE) !== position.sequence) return 0;
  for (let i = 0; i < 8; i++) {
    if (core.bytes[buffer + COMMIT_CHAIN + i] !== position.chain[i]) return 0;
    if (core.bytes[buffer + COMMIT_POOL + i] !== area.poolUuid[i]) return 0;
  }
  const byteLength = view.getUint32(buffer + COMMIT_BYTE_LENGTH, true);
  return byteLength < COMMIT_HEADER_BYTES || byteLength > COMMIT_BYTES_MAX ? 0 : byteLength;
}

function throwUnreadable(block: number, status: number): never {
  throw new FsError(
    EIO,
    "journal/read",
    `Cannot read block ${block} of the journal: error ${status}`,
  );
}

/**
 * Recovery: applies the journal's transactions since the checkpoint, in order. SPEC §7.3.
 *
 * Two passes over the journal. The first marks every data run that a transaction took, so that nothing else is put
 * there while the second applies items. Replay cannot be interrupted by a checkpoint; its end is one.
 */

import { getI64, getU64 } from "../base/bytes.ts";
import { EIO, EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { RetryFailed, retrying, type Task } from "../base/task.ts";
import { entryProblem } from "../format/entry_problem.ts";
import { EXTENT_ADDRESSES, EXTENT_BLOCK_COUNT, extentIsWritten } from "../format/extent.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import {
  COMMIT_FIRST_TRANSACTION,
  COMMIT_HEADER_BYTES,
  COMMIT_TRANSACTIONS,
  ENTRY_ALLOCATE,
  ENTRY_DATA,
  ENTRY_DATA_BYTES,
  ENTRY_END,
  ENTRY_FREE,
  ENTRY_ITEM_BYTES,
  ENTRY_PUT,
  ENTRY_REMOVE,
  ENTRY_TRUNCATE,
  entryLength,
} from "../format/journal_record.ts";
import { ITEM_EXTENT, ITEM_INLINE, ITEM_INODE, ITEM_QUOTA } from "../format/key.ts";
import { addressBlock } from "../format/page_pointer.ts";
import type { Superblock } from "../format/superblock.ts";
import { hasSuccessor, type JournalPosition, readCommit } from "../journal/journal.ts";
import { INTENT_SHRINK } from "./item_store.ts";
import type { Store } from "./store.ts";

/** The data half's part: buffered data that the journal alone holds. */
export interface ReplayTarget {
  /** Looks at what replayData will need, so that it need not wait. */
  replayLook(ino: number): void;
  replayData(
    ino: number,
    offset: number,
    size: number,
    mtime: number,
    mtimeNs: number,
    address: number,
    byteLength: number,
  ): void;
  replayDrop(ino: number, fileBlock: number, count: number): void;
  replayInode(ino: number): void;
  replayTruncate(ino: number, size: number): void;
  replayRemoved(ino: number): void;
  /** @param address 0: the item is removed. */
  replayQuota(key: number, address: number): void;
}

export interface RecoveryResult {
  readonly transactions: number;
  readonly commits: number;
  /** Where the log goes on. */
  readonly position: JournalPosition;
}

/**
 * @param upToDamage What is whole before a durable commit that is damaged is applied, and that is all; else it is refused,
 *   for writing on would destroy what another attempt might read.
 *
 * @throws {FsError} EUCLEAN when the journal is damaged or invalid, EIO when it cannot be read.
 */
export function* recover(
  store: Store,
  superblock: Superblock,
  target: ReplayTarget,
  upToDamage: boolean,
): Task<RecoveryResult> {
  const area = {
    start: superblock.geometry.journalStart,
    blocks: superblock.geometry.journalBlocks,
    poolUuid: superblock.poolUuid,
  };
  const begin: JournalPosition = {
    sequence: superblock.journalSequence,
    block: superblock.journalBlock,
    chain: superblock.journalChain,
  };
  let transactions = 0;
  let commits = 0;
  let position = begin;
  let problem: string | null = null;
  let marked = 0;
  try {
    for (const pass of ["mark", "apply"] as const) {
      position = begin;
      let next = superblock.transactionSequence;
      // The commits of one pass cannot be more than blocks of the area.
      for (let count = 0; count <= area.blocks; count++) {
        const commit = yield* readCommit(
          store.core,
          store.pool,
          area,
          position,
          store.journalMemory,
        );
        if (commit === null) break;
        if (commit.firstTransaction > next) {
          problem = "follows a checkpoint that is lost";
          break;
        }
        next = Math.max(next, commit.firstTransaction + commit.transactions);
        const applied = yield* walk(
          store,
          target,
          commit.byteLength,
          pass,
          superblock.transactionSequence,
        );
        if (pass === "apply") {
          transactions += applied;
          commits++;
        }
        position = commit.next;
      }
      if (pass === "apply") {
        // Nothing has been written yet: another attempt may read the same twice.
        if (position.sequence !== marked)
          throw new Error("the journal does not read the same twice");
        break;
      }
      marked = position.sequence;
      if (yield* hasSuccessor(store.core, store.pool, area, position, store.journalMemory))
        problem = "was durable and is damaged";
      if (problem !== null) reportDamage(store, area.start, position, problem, upToDamage);
    }
  } catch (error) {
    if (error instanceof FsError && !(error instanceof RetryFailed)) throw error;
    const cause =
      error instanceof RetryFailed
        ? `error ${error.status}`
        : error instanceof Error
          ? error.message
          : String(error);
    throw new FsError(EIO, "recovery/failed", `Cannot recover the volume: ${cause}`, {
      cause: error,
    });
  }
  return { transactions, commits, position };
}

function reportDamage(
  store: Store,
  areaStart: number,
  { sequence, block: areaBlock }: JournalPosition,
  problem: string,
  upToDamage: boolean,
): void {
  const block = areaStart + areaBlock;
  store.log("error", "journal.damaged", { sequence, block, problem });
  if (upToDamage) return;
  throw new FsError(
    EUCLEAN,
    "journal/damaged",
    `Cannot recover the volume: commit ${sequence} of the journal, at block ${block}, ${problem}. ` +
      "A read-only mount shows what was there before it; `dynamicfs fsck --repair --yes` gives up what it and later ones held",
  );
}

/** Goes through the transactions of the commit in the journal's memory. Returns how many there were to apply. */
function* walk(
  store: Store,
  target: ReplayTarget,
  byteLength: number,
  pass: "mark" | "apply",
  firstTransaction: number,
): Task<number> {
  const { view } = store.core;
  const end = store.journalMemory + byteLength;
  let at = store.journalMemory + COMMIT_HEADER_BYTES;
  const first = getU64(view, store.journalMemory + COMMIT_FIRST_TRANSACTION);
  const transactions = view.getUint32(store.journalMemory + COMMIT_TRANSACTIONS, true);
  let seen = 0;
  let group = at;
  let count = 0;
  while (at < end) {
    const length = entryLength(view, at, end);
    const problem =
      length === 0
        ? "no entry"
        : entryProblem(view, store.core.exports.name_hash, store.geometry, at);
    if (problem !== null) throwInvalid(problem);
    if (view.getUint8(at) === ENTRY_END) {
      const sequence = getU64(view, at + 8);
      if (sequence !== first + seen++) throwInvalid("sequence");
      if (sequence >= firstTransaction) {
        const from = group;
        const to = at;
        if (pass === "mark") yield* mark(store, from, to);
        else {
          yield* retrying(() => apply(store, target, from, to));
          store.transaction = sequence + 1;
        }
        count++;
      }
      group = at + length;
    }
    at += length;
  }
  if (group !== end || seen !== transactions) throwInvalid("a transaction is cut off");
  return count;
}

function throwInvalid(problem: string): never {
  throw new FsError(
    EUCLEAN,
    "recovery/entry",
    `Cannot recover the volume: an entry of the journal is invalid: ${problem}`,
  );
}

function* mark(store: Store, from: number, to: number): Task<void> {
  const { view } = store.core;
  for (let at = from; at < to; at += entryLength(view, at, to)) {
    if (view.getUint8(at) !== ENTRY_ALLOCATE) continue;
    const count = view.getUint32(at + 4, true);
    const start = addressBlock(view.getUint32(at + 8, true), view.getUint32(at + 12, true));
    yield* retrying(() => store.space.markReplayed(start, count));
  }
}

/** Applies one transaction. Looks at all keys first, so that a Retry finds nothing changed. */
function apply(store: Store, target: ReplayTarget, from: number, to: number): void {
  const { view } = store.core;
  const begun = store.begin(INTENT_SHRINK);
  if (begun < 0)
    throw new FsError(EIO, "recovery/begin", `Cannot recover the volume: error ${begun}`);
  for (let at = from; at < to; at += entryLength(view, at, to)) {
    const kind = view.getUint8(at);
    if (kind === ENTRY_PUT || kind === ENTRY_REMOVE) {
      store.get(getU64(view, at + 8), view.getUint8(at + 1), getU64(view, at + 16));
    }
    if (kind === ENTRY_DATA) target.replayLook(getU64(view, at + 8));
  }
  const taken = new Set<number>();
  for (let at = from; at < to; at += entryLength(view, at, to)) {
    applyEntry(store, target, at, taken);
  }
  store.commit();
}

/** @param taken Starts of the runs that the transaction has taken so far. */
function applyEntry(store: Store, target: ReplayTarget, at: number, taken: Set<number>): void {
  const { view } = store.core;
  const kind = view.getUint8(at);
  const type = view.getUint8(at + 1);
  const oid = getU64(view, at + 8);
  const offset = getU64(view, at + 16);
  switch (kind) {
    case ENTRY_PUT: {
      const value = at + ENTRY_ITEM_BYTES;
      const isNew = store.get(oid, type, offset) === 0;
      store.put(oid, type, offset, value, view.getUint16(at + 2, true));
      if (type === ITEM_INODE && isNew) store.countObjects(1);
      if (type === ITEM_INODE && oid >= store.nextObjectId) store.nextObjectId = oid + 1;
      if (type === ITEM_INODE) target.replayInode(oid);
      // What is left of an extent that was cut is older than what may be buffered, and so is space that was kept.
      const low = view.getUint32(value + EXTENT_ADDRESSES, true);
      const high = view.getUint32(value + EXTENT_ADDRESSES + 4, true);
      if (
        type === ITEM_EXTENT &&
        taken.has(addressBlock(low, high)) &&
        extentIsWritten(view, value)
      ) {
        target.replayDrop(
          oid,
          offset / BLOCK_BYTES,
          view.getUint32(value + EXTENT_BLOCK_COUNT, true),
        );
      }
      if (type === ITEM_INLINE) target.replayDrop(oid, 0, 1);
      if (type === ITEM_QUOTA) target.replayQuota(offset, value);
      break;
    }
    case ENTRY_REMOVE:
      if (store.get(oid, type, offset) === 0) {
        throw new FsError(
          EUCLEAN,
          "recovery/remove",
          `Cannot recover the volume: item ${oid}/${type}/${offset} is not there`,
        );
      }
      store.remove(oid, type, offset);
      if (type === ITEM_INODE) {
        store.countObjects(-1);
        target.replayRemoved(oid);
      }
      if (type === ITEM_QUOTA) target.replayQuota(offset, 0);
      break;
    case ENTRY_ALLOCATE:
      taken.add(addressBlock(view.getUint32(at + 8, true), view.getUint32(at + 12, true)));
      break;
    case ENTRY_FREE: {
      const count = view.getUint32(at + 4, true);
      store.freeRun(
        addressBlock(view.getUint32(at + 8, true), view.getUint32(at + 12, true)),
        count,
      );
      break;
    }
    case ENTRY_DATA:
      target.replayData(
        oid,
        offset,
        getU64(view, at + 24),
        getI64(view, at + 32),
        view.getUint32(at + 40, true),
        at + ENTRY_DATA_BYTES,
        view.getUint32(at + 4, true),
      );
      break;
    case ENTRY_TRUNCATE:
      target.replayTruncate(oid, offset);
      break;
  }
}

/**
 * Reads the journal as replay would (SPEC §7.3), and past its end: a whole commit with a higher sequence behind a place
 * where replay would stop shows that one before it is damaged.
 */
import { getI64, getU64 } from "../base/bytes.ts";
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import { entryProblem } from "../format/entry_problem.ts";
import { BLOCK_BYTES, type Geometry } from "../format/geometry.ts";
import {
  COMMIT_BYTE_LENGTH,
  COMMIT_CHECKED_FROM,
  COMMIT_CHECKSUM,
  COMMIT_FIRST_TRANSACTION,
  COMMIT_HEADER_BYTES,
  COMMIT_MAGIC,
  COMMIT_MAGIC_AT,
  COMMIT_POOL,
  COMMIT_SEQUENCE,
  COMMIT_VERSION,
  ENTRY_ALLOCATE,
  ENTRY_DATA,
  ENTRY_END,
  ENTRY_FREE,
  ENTRY_ITEM_BYTES,
  ENTRY_PUT,
  ENTRY_REMOVE,
  ENTRY_TRUNCATE,
  entryLength,
} from "../format/journal_record.ts";
import { addressBlock, addressDevice } from "../format/page_pointer.ts";
import type { Superblock } from "../format/superblock.ts";
import {
  COMMIT_BYTES_MAX,
  type CommitFound,
  type JournalPosition,
  readCommit,
} from "../journal/journal.ts";
import type { Pool } from "../pool/pool.ts";

/** Blocks read at a time behind the journal's end. */
const SCAN_BLOCKS = COMMIT_BYTES_MAX / BLOCK_BYTES;

export interface JournalArea {
  readonly start: number;
  readonly blocks: number;
  readonly poolUuid: Uint8Array;
}

export function journalAreaOf(superblock: Superblock): JournalArea {
  const { journalStart, journalBlocks } = superblock.geometry;
  return { start: journalStart, blocks: journalBlocks, poolUuid: superblock.poolUuid };
}

export function journalPositionOf(superblock: Superblock): JournalPosition {
  return {
    sequence: superblock.journalSequence,
    block: superblock.journalBlock,
    chain: superblock.journalChain,
  };
}

/**
 * Reads one commit after the other from a position on.
 *
 * @param buffer COMMIT_BYTES_MAX bytes of core memory: holds the commit while `visit` runs.
 * @returns The position where the journal ends.
 */
export function* scanJournal(
  core: Core,
  pool: Pool,
  area: JournalArea,
  from: JournalPosition,
  buffer: number,
  visit: (commit: CommitFound) => void,
): Task<JournalPosition> {
  let position = from;
  for (;;) {
    const commit = yield* readCommit(core, pool, area, position, buffer);
    if (commit === null) return position;
    visit(commit);
    position = commit.next;
  }
}

/** A commit that is whole, wherever it lies. */
export interface StrayCommit {
  readonly sequence: number;
  readonly block: number;
}

/** Looks through the whole journal for whole commits of this pool with a sequence above one. */
export function* findCommitsAbove(
  core: Core,
  pool: Pool,
  area: JournalArea,
  sequence: number,
  buffer: number,
): Task<StrayCommit[]> {
  const candidates: StrayCommit[] = [];
  for (let block = 0; block < area.blocks; block += SCAN_BLOCKS) {
    const count = Math.min(SCAN_BLOCKS, area.blocks - block);
    const status = yield (resume) =>
      pool.read(0, area.start + block, buffer, count * BLOCK_BYTES, resume);
    if (status < 0) continue;
    for (let index = 0; index < count; index++) {
      const at = buffer + index * BLOCK_BYTES;
      if (headerFits(core, area, at) && getU64(core.view, at + COMMIT_SEQUENCE) > sequence) {
        candidates.push({
          sequence: getU64(core.view, at + COMMIT_SEQUENCE),
          block: block + index,
        });
      }
    }
  }
  const found: StrayCommit[] = [];
  for (const candidate of candidates) {
    const count = Math.min(SCAN_BLOCKS, area.blocks - candidate.block);
    const status = yield (resume) =>
      pool.read(0, area.start + candidate.block, buffer, count * BLOCK_BYTES, resume);
    if (status < 0) continue;
    const byteLength = core.view.getUint32(buffer + COMMIT_BYTE_LENGTH, true);
    if (byteLength < COMMIT_HEADER_BYTES || byteLength > count * BLOCK_BYTES) continue;
    const bad = core.exports.xxh3_64_verify_units(
      buffer + COMMIT_CHECKED_FROM,
      byteLength - COMMIT_CHECKED_FROM,
      1,
      buffer + COMMIT_CHECKSUM,
    );
    if (bad < 0) found.push(candidate);
  }
  return found.sort((a, b) => a.sequence - b.sequence);
}

function headerFits(core: Core, area: JournalArea, at: number): boolean {
  if (core.view.getUint32(at + COMMIT_MAGIC_AT, true) !== COMMIT_MAGIC) return false;
  if (core.view.getUint32(at + COMMIT_VERSION, true) !== 1) return false;
  for (let index = 0; index < 8; index++) {
    if (core.bytes[at + COMMIT_POOL + index] !== area.poolUuid[index]) return false;
  }
  return true;
}

/** An entry of a commit, ready to be shown. Values and data are told by their length. */
export interface EntrySummary {
  readonly kind: "put" | "remove" | "end" | "allocate" | "free" | "data" | "truncate";
  readonly [field: string]: number | string;
}

/**
 * What the entries of a commit in core memory say.
 *
 * @returns The rule that they break, or null.
 */
export function readEntries(
  core: Core,
  commit: number,
  byteLength: number,
  transactions: number,
  geometry: Geometry,
  visit: (entry: EntrySummary) => void,
): string | null {
  const { view } = core;
  const end = commit + byteLength;
  let next = getU64(view, commit + COMMIT_FIRST_TRANSACTION);
  let at = commit + COMMIT_HEADER_BYTES;
  let ended = 0;
  let open = false;
  while (at < end) {
    const length = entryLength(view, at, end);
    if (length === 0) return `no entry at byte ${at - commit}`;
    const problem = entryProblem(view, core.exports.name_hash, geometry, at);
    if (problem !== null) return `${problem} at byte ${at - commit}`;
    visit(summaryOf(view, at));
    open = true;
    if (view.getUint8(at) === ENTRY_END) {
      open = false;
      ended++;
      const sequence = getU64(view, at + 8);
      if (sequence !== next) return `transaction ${sequence}, expected ${next}`;
      next = sequence + 1;
    }
    at += length;
  }
  if (open) return "its last transaction has no end";
  if (ended !== transactions) return `${ended} transactions, its header says ${transactions}`;
  return null;
}

function summaryOf(view: DataView, at: number): EntrySummary {
  switch (view.getUint8(at)) {
    case ENTRY_PUT:
    case ENTRY_REMOVE: {
      const put = view.getUint8(at) === ENTRY_PUT;
      return {
        kind: put ? "put" : "remove",
        objectId: getU64(view, at + 8),
        type: view.getUint8(at + 1),
        offset: getU64(view, at + 16),
        ...(put ? { valueLength: view.getUint16(at + 2, true) } : {}),
      };
    }
    case ENTRY_END:
      return { kind: "end", transaction: getU64(view, at + 8) };
    case ENTRY_ALLOCATE:
    case ENTRY_FREE: {
      const low = view.getUint32(at + 8, true);
      const high = view.getUint32(at + 12, true);
      return {
        kind: view.getUint8(at) === ENTRY_ALLOCATE ? "allocate" : "free",
        device: addressDevice(high),
        block: addressBlock(low, high),
        blockCount: view.getUint32(at + 4, true),
      };
    }
    case ENTRY_DATA:
      return {
        kind: "data",
        ino: getU64(view, at + 8),
        offset: getU64(view, at + 16),
        byteLength: view.getUint32(at + 4, true),
        fileSize: getU64(view, at + 24),
        mtimeSeconds: getI64(view, at + 32),
      };
    case ENTRY_TRUNCATE:
      return { kind: "truncate", ino: getU64(view, at + 8), size: getU64(view, at + 16) };
    default:
      return { kind: "end", bytes: ENTRY_ITEM_BYTES };
  }
}

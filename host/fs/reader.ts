/**
 * Reads: plans a range from buffered blocks and extents, reads what is on disk straight into one run of the data pool,
 * and verifies every block before anyone sees it.
 *
 * While a read waits for the disk its extents may be replaced, freed, and, after a checkpoint, written by someone else.
 * Then the checksum does not fit, and the read is planned again; only if the plan is the same is the block damaged.
 */
import { EIO, EISDIR, ENOMEM, ESTALE } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Retry } from "../base/retry.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import { ITEM_INLINE, ITEM_INODE } from "../format/key.ts";
import type { Store } from "../store/store.ts";
import type { DataPool } from "./data_pool.ts";
import type { DirtyFile } from "./dirty_file.ts";
import type { ExtentMap } from "./extent_map.ts";
import type { ReadResult } from "./file_system.ts";
import { inodeIsRegular, inodeSize } from "./inode_data.ts";

const ATTEMPTS_MAX = 3;
const EXTENTS_PER_READ = 4096;

/** A run on disk and where its blocks go. */
interface Segment {
  readonly start: number;
  readonly count: number;
  readonly address: number;
  /** Expected checksums, in core memory. */
  readonly checksums: number;
  readonly fileBlock: number;
}

interface Request {
  readonly ino: number;
  readonly offset: number;
  readonly byteLength: number;
  readonly done: (result: ReadResult) => void;
  attempts: number;
  /** The segments whose checksums did not fit, as text: the same twice is damage. */
  lastBad: string;
}

export class Reader {
  readonly #core: Core;
  readonly #store: Store;
  readonly #pool: DataPool;
  readonly #extents: ExtentMap;
  readonly #found: number;
  readonly #fileOf: (ino: number) => DirtyFile | undefined;

  /** Blocks that reads asked for: those that lay buffered, those that devices were asked for, and all the rest (holes). */
  bufferedBlocks = 0;
  deviceBlocks = 0;
  holeBlocks = 0;

  constructor(options: {
    store: Store;
    pool: DataPool;
    extents: ExtentMap;
    layout: Layout;
    fileOf: (ino: number) => DirtyFile | undefined;
  }) {
    this.#core = options.store.core;
    this.#store = options.store;
    this.#pool = options.pool;
    this.#extents = options.extents;
    this.#found = options.layout.take(32, 8);
    this.#fileOf = options.fileOf;
  }

  read(ino: number, offset: number, byteLength: number, done: (result: ReadResult) => void): void {
    this.#attempt({ ino, offset, byteLength, done, attempts: 0, lastBad: "" });
  }

  #attempt(request: Request): void {
    try {
      this.#plan(request);
    } catch (error) {
      if (error instanceof Retry) {
        error.wait((status) => {
          if (status < 0) request.done(failure(status));
          else this.#attempt(request);
        });
        return;
      }
      if (!(error instanceof FsError)) this.#store.fault(error);
      this.#store.log("error", "read.failed", {
        ino: request.ino,
        offset: request.offset,
        cause: String(error),
      });
      request.done(failure(-EIO));
    }
  }

  #plan(request: Request): void {
    const { ino, offset } = request;
    const inode = this.#store.get(ino, ITEM_INODE, 0);
    if (inode === 0) {
      request.done(failure(-ESTALE));
      return;
    }
    if (!inodeIsRegular(this.#core, inode)) {
      request.done(failure(-EISDIR));
      return;
    }
    const file = this.#fileOf(ino);
    const size = file?.size ?? inodeSize(this.#core, inode);
    const end = Math.min(offset + request.byteLength, size);
    if (end <= offset) {
      request.done(failure(0));
      return;
    }
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.ceil(end / BLOCK_BYTES);
    const count = last - first;
    const total = count + Math.ceil((count * 8) / BLOCK_BYTES);
    const run = this.#pool.take(total);
    if (run === 0) {
      if (total > this.#pool.frameCount) {
        request.done(failure(-ENOMEM));
        return;
      }
      throw new Retry((resume) => this.#pool.whenRoom(resume));
    }
    let segments: Segment[];
    try {
      segments = this.#collect(ino, file, first, last, run, run + count * BLOCK_BYTES);
    } catch (error) {
      this.#pool.give(run, total);
      throw error;
    }
    const finish = (): void => {
      request.done({
        status: 0,
        byteLength: end - offset,
        parts: 1,
        addresses: [run + (offset - first * BLOCK_BYTES)],
        byteLengths: [end - offset],
        release: () => this.#pool.give(run, total),
      });
    };
    if (segments.length === 0) {
      finish();
      return;
    }
    this.#fetch(request, segments, (bad) => {
      if (bad === "") {
        finish();
        return;
      }
      this.#pool.give(run, total);
      if (request.attempts >= ATTEMPTS_MAX || bad === request.lastBad) {
        request.done(failure(-EIO));
        return;
      }
      request.attempts++;
      request.lastBad = bad;
      this.#attempt(request);
    });
  }

  /** Copies what is buffered, zeroes holes, and lists what must be read. */
  #collect(
    ino: number,
    file: DirtyFile | undefined,
    first: number,
    last: number,
    run: number,
    checksums: number,
  ): Segment[] {
    const { exports, u32 } = this.#core;
    const segments: Segment[] = [];
    let block = first;
    while (block < last) {
      let gap = last - block;
      if (file !== undefined) {
        const found = exports.dirty_find(this.#pool.dirtyBase, file.map, block, this.#found) === 1;
        const length = Math.min(u32[(this.#found + 4) >> 2] as number, last - block);
        if (found) {
          const from = u32[this.#found >> 2] as number;
          exports.bytes_copy(run + (block - first) * BLOCK_BYTES, from, length * BLOCK_BYTES);
          this.bufferedBlocks += length;
          block += length;
          continue;
        }
        gap = length;
      }
      this.#collectGap(ino, first, block, block + gap, run, checksums, segments);
      block += gap;
    }
    return segments;
  }

  #collectGap(
    ino: number,
    first: number,
    from: number,
    to: number,
    run: number,
    checksums: number,
    segments: Segment[],
  ): void {
    const { exports } = this.#core;
    let block = from;
    const overlapping = this.#extents.overlapping(ino, from, to, EXTENTS_PER_READ);
    for (const extent of overlapping) {
      const start = Math.max(block, extent.fileBlock);
      const end = Math.min(to, extent.fileBlock + extent.blockCount);
      if (start > block) this.#zeros(ino, first, block, start, run);
      if (!extent.isWritten) {
        this.#zeros(ino, first, start, end, run);
        block = end;
        continue;
      }
      const slot = checksums + (start - first) * 8;
      this.#extents.copyChecksums(ino, extent, start, end - start, slot);
      this.deviceBlocks += end - start;
      const disk = extent.start + (start - extent.fileBlock);
      const previous = segments[segments.length - 1];
      if (
        previous !== undefined &&
        previous.start + previous.count === disk &&
        previous.fileBlock + previous.count === start
      ) {
        segments[segments.length - 1] = { ...previous, count: previous.count + (end - start) };
      } else {
        segments.push({
          start: disk,
          count: end - start,
          address: run + (start - first) * BLOCK_BYTES,
          checksums: slot,
          fileBlock: start,
        });
      }
      block = end;
    }
    if (block < to) this.#zeros(ino, first, block, to, run);
    if (from === 0 && (overlapping[0]?.fileBlock ?? 1) > 0) {
      const inline = this.#store.get(ino, ITEM_INLINE, 0);
      if (inline !== 0)
        exports.bytes_copy(run, inline, Math.min(this.#store.valueLength, BLOCK_BYTES));
    }
  }

  #zeros(_ino: number, first: number, from: number, to: number, run: number): void {
    this.holeBlocks += to - from;
    this.#core.exports.bytes_fill(run + (from - first) * BLOCK_BYTES, 0, (to - from) * BLOCK_BYTES);
  }

  /** Reads and verifies all segments; then calls back with a text that names the bad ones, "" when all are good. */
  #fetch(request: Request, segments: readonly Segment[], done: (bad: string) => void): void {
    let left = segments.length;
    let bad = "";
    const again = request.lastBad !== "";
    for (const segment of segments) {
      this.#store.pool.read(
        0,
        segment.start,
        segment.address,
        segment.count * BLOCK_BYTES,
        (status) => {
          const index =
            status < 0
              ? 0
              : this.#core.exports.xxh3_64_verify_units(
                  segment.address,
                  BLOCK_BYTES,
                  segment.count,
                  segment.checksums,
                );
          if (index >= 0) {
            bad += `${segment.start + index},`;
            if (again) {
              const member = this.#store.pool.members[0];
              if (member !== undefined && status >= 0) member.checksumErrors++;
              this.#store.log("error", "data.damaged", {
                ino: request.ino,
                offset: (segment.fileBlock + index) * BLOCK_BYTES,
                device: 0,
                block: segment.start + index,
                problem: status < 0 ? `read error ${status}` : "checksum mismatch",
              });
            }
          }
          if (--left === 0) done(bad);
        },
      );
    }
  }
}

function failure(status: number): ReadResult {
  return { status, byteLength: 0, parts: 0, addresses: [], byteLengths: [], release: () => {} };
}

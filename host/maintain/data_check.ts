/**
 * Reads what extents point to and compares every unit with its checksum: a few reads at a time, so that a device is kept
 * busy. Findings come as reads end; `drain` waits for the last.
 */
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { EXTENT_BLOCKS_MAX } from "../format/extent.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import type { Pool } from "../pool/pool.ts";

const DATA_BYTES = EXTENT_BLOCKS_MAX * BLOCK_BYTES;
const CHECKSUM_BYTES = EXTENT_BLOCKS_MAX * 8;

/** Memory for each read that is under way. */
export const DATA_CHECK_BYTES: number = DATA_BYTES + CHECKSUM_BYTES;

export interface DataRun {
  readonly ino: number;
  readonly offset: number;
  readonly copy: number;
  readonly device: number;
  readonly block: number;
  readonly blockCount: number;
}

/** A part of a run: `status` is −errno of a read that failed, 0 for bytes that differ. */
export type DataProblem = (
  run: DataRun,
  firstBlock: number,
  blockCount: number,
  status: number,
) => void;

export class DataCheck {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #report: DataProblem;
  readonly #free: number[] = [];
  readonly #depth: number;
  #wake: ((status: number) => void) | null = null;
  blocks = 0;

  constructor(options: {
    core: Core;
    pool: Pool;
    layout: Layout;
    depth: number;
    report: DataProblem;
  }) {
    this.#core = options.core;
    this.#pool = options.pool;
    this.#report = options.report;
    this.#depth = options.depth;
    for (let index = 0; index < options.depth; index++) {
      this.#free.push(options.layout.take(DATA_CHECK_BYTES, BLOCK_BYTES));
    }
  }

  /** Whether a run can be submitted without waiting. */
  get ready(): boolean {
    return this.#free.length > 0;
  }

  /** Waits until `ready`. */
  *wait(): Task<void> {
    while (this.#free.length === 0) yield this.#sleep;
  }

  *drain(): Task<void> {
    while (this.#free.length < this.#depth) yield this.#sleep;
  }

  /** Starts to check a run; its checksums at an address are copied. */
  submit(run: DataRun, checksums: number): void {
    const buffer = this.#free.pop() as number;
    const expected = buffer + DATA_BYTES;
    this.#core.exports.bytes_copy(expected, checksums, run.blockCount * 8);
    const done = (status: number): void => {
      this.#verify(run, buffer, expected, status);
      this.#free.push(buffer);
      const resume = this.#wake;
      this.#wake = null;
      resume?.(0);
    };
    this.blocks += run.blockCount;
    this.#pool.read(run.device, run.block, buffer, run.blockCount * BLOCK_BYTES, done);
  }

  readonly #sleep = (resume: (status: number) => void): void => {
    this.#wake = resume;
  };

  #verify(run: DataRun, buffer: number, expected: number, status: number): void {
    if (status < 0) {
      this.#report(run, 0, run.blockCount, status);
      return;
    }
    let from = 0;
    while (from < run.blockCount) {
      const bad = from + this.#firstBad(buffer, expected, from, run.blockCount - from);
      if (bad >= run.blockCount) return;
      let end = bad + 1;
      while (end < run.blockCount && this.#firstBad(buffer, expected, end, 1) === 0) end++;
      this.#report(run, bad, end - bad, 0);
      from = end;
    }
  }

  /** Index of the first unit that differs; `count` when none does. */
  #firstBad(buffer: number, expected: number, from: number, count: number): number {
    const data = buffer + from * BLOCK_BYTES;
    const bad = this.#core.exports.xxh3_64_verify_units(
      data,
      BLOCK_BYTES,
      count,
      expected + from * 8,
    );
    return bad < 0 ? count : bad;
  }
}

/**
 * Which data blocks belong to several extents, and to how many: what clones share, and what is given back only when the
 * last of them goes.
 *
 * Invariants: runs do not overlap; where two touch, their counts differ. The two-step rule of transactions holds: `look`
 * visits every key that `add` or `release` of the same run changes.
 */
import { assert } from "../base/assert.ts";
import { EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { ITEM_SHARED } from "../format/key.ts";
import {
  SHARED_BLOCK_COUNT,
  SHARED_BYTES,
  SHARED_REFERENCES,
  sharedRunProblem,
} from "../format/shared_run.ts";
import type { Store } from "../store/store.ts";

interface SharedRun {
  readonly start: number;
  readonly end: number;
  readonly references: number;
}

/** Object that the items belong to: the volume. */
const OID = 0;

export class SharedRuns {
  readonly #core: Core;
  readonly #store: Store;
  readonly #value: number;

  constructor(store: Store, layout: Layout) {
    this.#store = store;
    this.#core = store.core;
    this.#value = layout.take(SHARED_BYTES, 8);
  }

  /** Looks at what a change of blocks [start, start + count) needs. @returns How many items that may touch. */
  look(start: number, count: number): number {
    const runs = this.#touching(start, start + count);
    this.#store.get(OID, ITEM_SHARED, start);
    this.#store.get(OID, ITEM_SHARED, start + count);
    for (const run of runs) this.#store.get(OID, ITEM_SHARED, run.start);
    return 2 * runs.length + 3;
  }

  /** One more extent points to the blocks. */
  add(start: number, count: number): void {
    this.#change(start, start + count, 1);
  }

  /** One extent less points to the blocks: those that none points to any more are freed. */
  release(start: number, count: number): void {
    this.#change(start, start + count, -1);
  }

  /** The runs that overlap or touch blocks [start, end), in order. */
  #touching(start: number, end: number): SharedRun[] {
    const store = this.#store;
    const runs: SharedRun[] = [];
    let more: boolean;
    const isRun = (): boolean => store.keyOid === OID && store.keyType === ITEM_SHARED;
    if (store.seekLast(OID, ITEM_SHARED, start - 1) && isRun()) {
      const before = this.#current();
      if (before.end >= start) runs.push(before);
      more = store.seek(OID, ITEM_SHARED, before.start + 1);
    } else more = store.seek(OID, ITEM_SHARED, start);
    for (; more && isRun() && store.keyOffset <= end; more = store.next()) {
      runs.push(this.#current());
    }
    return runs;
  }

  #current(): SharedRun {
    const { view } = this.#core;
    const { keyOffset: start, valueAddress } = this.#store;
    const problem = sharedRunProblem(view, valueAddress, this.#store.valueLength);
    if (problem !== null) {
      throw new FsError(
        EUCLEAN,
        "shared-run/invalid",
        `Cannot use the record of shared blocks at ${start}: ${problem}`,
      );
    }
    const count = view.getUint32(valueAddress + SHARED_BLOCK_COUNT, true);
    const references = view.getUint32(valueAddress + SHARED_REFERENCES, true);
    return { start, end: start + count, references };
  }

  #change(start: number, end: number, change: 1 | -1): void {
    const before = this.#touching(start, end);
    const after: SharedRun[] = [];
    const push = (from: number, to: number, references: number): void => {
      if (from >= to) return;
      if (references === 0) this.#store.freeRun(from, to - from);
      if (references < 2) return;
      const last = after[after.length - 1];
      if (last !== undefined && last.end === from && last.references === references) {
        after[after.length - 1] = { ...last, end: to };
      } else after.push({ start: from, end: to, references });
    };
    let at = start;
    for (const run of before) {
      push(run.start, Math.min(run.end, start), run.references);
      const from = Math.max(run.start, start);
      const to = Math.min(run.end, end);
      if (from < to) {
        push(at, from, 1 + change);
        push(from, to, run.references + change);
        at = to;
      }
      if (run.start >= end || run.end > end) {
        push(at, end, 1 + change);
        at = Math.max(at, end);
      }
      push(Math.max(run.start, end), run.end, run.references);
    }
    push(at, end, 1 + change);
    this.#replace(before, after);
  }

  #replace(before: readonly SharedRun[], after: readonly SharedRun[]): void {
    const { view } = this.#core;
    const kept = new Map(after.map((run) => [run.start, run]));
    for (const run of before)
      if (!kept.has(run.start)) this.#store.remove(OID, ITEM_SHARED, run.start);
    const old = new Map(before.map((run) => [run.start, run]));
    for (const run of after) {
      const same = old.get(run.start);
      if (same?.end === run.end && same.references === run.references) continue;
      assert(run.references <= 0xffff_ffff, "too many clones of one block");
      view.setUint32(this.#value + SHARED_BLOCK_COUNT, run.end - run.start, true);
      view.setUint32(this.#value + SHARED_REFERENCES, run.references, true);
      this.#store.put(OID, ITEM_SHARED, run.start, this.#value, SHARED_BYTES);
    }
  }
}

/**
 * Runs of shared blocks against the extents that point to them: SPEC §5.9. All runs are known before the first extent,
 * for their items come first in the tree.
 *
 * To compare every block's count without a counter for each, a run keeps the sum of a hash of each block that an extent
 * pointed to: it must be the sum over its blocks, times its references.
 */
import { ENOMEM } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Core } from "../core/core.ts";
import { addressDevice } from "../format/page_pointer.ts";
import { SHARED_BLOCK_COUNT, SHARED_REFERENCES, sharedRunProblem } from "../format/shared_run.ts";
import type { Superblock } from "../format/superblock.ts";
import type { Findings } from "./findings.ts";
import type { Key } from "./tree_walk.ts";

/** Some 110 MB. */
const RUNS_MAX = 1 << 22;

export class SharedCheck {
  readonly #core: Core;
  readonly #superblock: Superblock;
  readonly #errors: Findings;
  #starts = new Float64Array(64);
  #counts = new Uint32Array(64);
  #references = new Uint32Array(64);
  #sums = new Float64Array(64);
  #length = 0;
  /** Some of the items could not be seen: nothing follows from the others. */
  isLost = false;

  constructor(options: { core: Core; superblock: Superblock; errors: Findings }) {
    this.#core = options.core;
    this.#superblock = options.superblock;
    this.#errors = options.errors;
  }

  /** The next item. @returns Whether it is valid. */
  item(key: Key, value: number, valueLength: number): boolean {
    const { view } = this.#core;
    let problem = sharedRunProblem(view, value, valueLength);
    const count = problem === null ? view.getUint32(value + SHARED_BLOCK_COUNT, true) : 0;
    const references = problem === null ? view.getUint32(value + SHARED_REFERENCES, true) : 0;
    const last = this.#length - 1;
    const before = last < 0 ? 0 : this.#end(last);
    if (addressDevice(Math.floor(key.offset / 2 ** 32)) !== 0) problem ??= "unknown device";
    if (key.offset + count > this.#superblock.geometry.blockCount) problem ??= "beyond the end";
    if (key.offset < before) problem ??= "it overlaps the run before";
    if (last >= 0 && key.offset === before && this.#references[last] === references)
      problem ??= "it continues the run before";
    if (problem !== null) {
      this.isLost = true;
      this.#errors.add("DFS-FSCK-SHARED-RUN", `A run of shared blocks is invalid: ${problem}`, {
        block: key.offset,
      });
      return false;
    }
    if (this.#length === this.#starts.length) this.#grow();
    this.#starts[this.#length] = key.offset;
    this.#counts[this.#length] = count;
    this.#references[this.#length] = references;
    this.#length++;
    return true;
  }

  /** Calls back with every run. */
  forEach(visit: (block: number, blockCount: number) => void): void {
    for (let index = 0; index < this.#length; index++)
      visit(this.#starts[index] as number, this.#counts[index] as number);
  }

  /**
   * An extent points to a run of blocks; calls back with those parts that are not shared.
   *
   * @param counts Whether to count it; false when the tree is walked again.
   * @returns Whether any of it is shared.
   */
  point(
    block: number,
    blockCount: number,
    counts: boolean,
    own: (block: number, blockCount: number) => void,
  ): boolean {
    const end = block + blockCount;
    let at = block;
    let any = false;
    for (let index = this.#firstEndingAfter(block); index < this.#length; index++) {
      const start = Math.max(at, this.#starts[index] as number);
      if (start >= end) break;
      if (start > at) own(at, start - at);
      at = Math.min(end, this.#end(index));
      any = true;
      if (counts) this.#sums[index] = (this.#sums[index] as number) + hashSum(start, at);
    }
    if (at < end) own(at, end - at);
    return any;
  }

  /** After all extents: reports the runs whose counts are wrong, unless some extents could not be seen. */
  finish(extentsLost: boolean): void {
    if (this.isLost || extentsLost) return;
    for (let index = 0; index < this.#length; index++) {
      const block = this.#starts[index] as number;
      const references = this.#references[index] as number;
      if (hashSum(block, this.#end(index)) * references === this.#sums[index]) continue;
      this.#errors.add(
        "DFS-FSCK-SHARED-COUNT",
        `Shared blocks are said to have ${references} extents each, they have not`,
        { block, blockCount: this.#counts[index] as number },
      );
    }
  }

  #end(index: number): number {
    return (this.#starts[index] as number) + (this.#counts[index] as number);
  }

  #firstEndingAfter(block: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#end(middle) <= block) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #grow(): void {
    const length = this.#length * 2;
    if (length > RUNS_MAX)
      throw new FsError(ENOMEM, "fsck/memory", `Cannot check more than ${RUNS_MAX} shared runs`);
    const grown = <T extends Float64Array | Uint32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.#starts = grown(this.#starts, new Float64Array(length));
    this.#counts = grown(this.#counts, new Uint32Array(length));
    this.#references = grown(this.#references, new Uint32Array(length));
    this.#sums = grown(this.#sums, new Float64Array(length));
  }
}

/** Sum of a 20-bit hash of each of blocks [from, to): exact for any number of references that there can be. */
function hashSum(from: number, to: number): number {
  let sum = 0;
  for (let block = from; block < to; block++) {
    let hash = Math.imul(block ^ (block / 2 ** 32), 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
    sum += (hash >>> 12) + 1;
  }
  return sum;
}

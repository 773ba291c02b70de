/**
 * Blocks that several things claim, and how many extents share each: SPEC §5.6 rule 4, §5.9.
 *
 * A page's blocks are the page's. Of extents that point to the same blocks without a record that says so, those stay
 * whose data has the right checksums: they share the blocks from then on. Records of shared blocks are written anew from
 * what was counted.
 *
 * Memory: four bytes a block, in windows of whole regions; the trees are walked twice for each.
 */
import { getU64, setU64 } from "../base/bytes.ts";
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { EXTENT_BLOCKS_MAX } from "../format/extent.ts";
import { BLOCK_BYTES, fixedAreas, PAGE_BLOCKS } from "../format/geometry.ts";
import { INODE_BLOCKS, INODE_BYTES, INODE_FLAGS, INODE_SHARED } from "../format/inode.ts";
import { ITEM_EXTENT, ITEM_INODE, ITEM_SHARED } from "../format/key.ts";
import { ROOT_BYTES, TREE_COUNT } from "../format/page_pointer.ts";
import { SHARED_BLOCK_COUNT, SHARED_BYTES, SHARED_REFERENCES } from "../format/shared_run.ts";
import type { Superblock } from "../format/superblock.ts";
import type { DataRun } from "./data_check.ts";
import { type ExtentFound, extentFound, extentItemProblem } from "./item_rules.ts";
import type { RepairLog } from "./repair_log.ts";
import type { RepairStore } from "./repair_store.ts";
import type { Key, TreeWalk } from "./tree_walk.ts";

const COUNTER_BYTES = 4;
/** A counter of a block that is a page's, or in a fixed area. */
const TAKEN = 0xffffffff;
const DATA_BYTES = EXTENT_BLOCKS_MAX * BLOCK_BYTES;

interface Run {
  readonly start: number;
  readonly end: number;
  readonly references: number;
}

/** Core memory of a repair of blocks. */
export interface BlocksMemory {
  readonly counters: number;
  /** Blocks of a window. */
  readonly windowBlocks: number;
  readonly data: number;
  readonly value: number;
  readonly roots: number;
}

export function takeBlocksMemory(
  layout: Layout,
  superblock: Superblock,
  byteLength: number,
  regions?: number,
): BlocksMemory {
  const { geometry } = superblock;
  const regionBytes = geometry.regionBlocks * COUNTER_BYTES;
  const fitting = Math.max(1, Math.floor(byteLength / regionBytes));
  const windowRegions = Math.min(fitting, geometry.regionCount, regions ?? geometry.regionCount);
  return {
    counters: layout.take(windowRegions * regionBytes, 8),
    windowBlocks: windowRegions * geometry.regionBlocks,
    data: layout.take(DATA_BYTES + EXTENT_BLOCKS_MAX * 8, BLOCK_BYTES),
    value: layout.take(Math.max(INODE_BYTES, SHARED_BYTES), 8),
    roots: layout.take(TREE_COUNT * ROOT_BYTES, 8),
  };
}

export class BlockRepair {
  readonly #core: Core;
  readonly #repair: RepairStore;
  readonly #log: RepairLog;
  readonly #walk: TreeWalk;
  readonly #memory: BlocksMemory;
  #first = 0;
  #end = 0;
  /** The last run of shared blocks, which the next window may continue. */
  #run: Run | null = null;
  /** Records of shared blocks below this are right. */
  #done = 0;

  constructor(options: {
    repair: RepairStore;
    log: RepairLog;
    walk: TreeWalk;
    memory: BlocksMemory;
  }) {
    this.#repair = options.repair;
    this.#core = options.repair.core;
    this.#log = options.log;
    this.#walk = options.walk;
    this.#memory = options.memory;
  }

  /** The last checkpoint must contain all changes: pages are looked for on disk. */
  *run(onProgress: (done: number, total: number) => void): Task<void> {
    const { blockCount } = this.#repair.superblock.geometry;
    this.#core.bytes.set(this.#repair.superblock.roots, this.#memory.roots);
    const sequence = this.#repair.superblock.sequence;
    for (this.#first = 0; this.#first < blockCount; this.#first = this.#end) {
      this.#end = Math.min(blockCount, this.#first + this.#memory.windowBlocks);
      onProgress(this.#first, blockCount);
      yield* this.#count(sequence);
      yield* this.#settle();
      yield* this.#share();
    }
    yield* this.#emit(null);
    yield* this.#removeRecords(this.#done, Number.POSITIVE_INFINITY, -1);
  }

  #counter(block: number): number {
    return (this.#memory.counters >> 2) + (block - this.#first);
  }

  /** Counts, for each block of the window, the extents that point to it. */
  *#count(sequence: number): Task<void> {
    const { u32 } = this.#core;
    u32.fill(0, this.#counter(this.#first), this.#counter(this.#end));
    const take = (block: number, blockCount: number): void => {
      const from = Math.max(block, this.#first);
      const to = Math.min(block + blockCount, this.#end);
      if (from < to) u32.fill(TAKEN, this.#counter(from), this.#counter(to));
    };
    const { geometry } = this.#repair.superblock;
    for (const [start, count] of fixedAreas(geometry)) take(start, count);
    for (let treeId = 1; treeId <= TREE_COUNT; treeId++) {
      yield* this.#walk.run(
        this.#memory.roots + (treeId - 1) * ROOT_BYTES,
        treeId,
        {
          pointed: (_place, copies) => {
            for (const { device, block, problem } of copies)
              if (device === 0 && problem === null) take(block, PAGE_BLOCKS);
          },
          leaf: () => undefined,
        },
        {
          everyCopy: false,
          generation: sequence,
          pagesMax: Math.floor(geometry.blockCount / PAGE_BLOCKS),
        },
      );
    }
    yield* this.#extents((_key, found) => {
      this.#change(found, 1);
    });
  }

  #change(found: ExtentFound, by: 1 | -1): void {
    const { u32 } = this.#core;
    for (const run of found.copies) {
      for (let block = run.block; block < run.block + run.blockCount; block++) {
        const at = this.#counter(block);
        if (u32[at] !== TAKEN) u32[at] = (u32[at] as number) + by;
      }
    }
  }

  /** Visits the valid extents of the window; one lies in one region, and so in one window. */
  *#extents(
    visit: (key: Key, found: ExtentFound, later: (fix: () => Task<void>) => void) => void,
  ): Task<void> {
    const { superblock } = this.#repair;
    yield* this.#repair.walk(
      (key, value, valueLength, later) => {
        if (key.type !== ITEM_EXTENT) return;
        if (extentItemProblem(this.#core, superblock, key, value, valueLength) !== null) return;
        const found = extentFound(this.#core, key, value);
        const block = found.copies[0]?.block ?? -1;
        if (block >= this.#first && block < this.#end) visit(key, found, later);
      },
      { oid: 1, type: 0, offset: 0 },
    );
  }

  /** Decides about each extent with blocks that something else claims. */
  *#settle(): Task<void> {
    const { u32, bytes } = this.#core;
    yield* this.#extents((key, found, later) => {
      let taken = false;
      let shared = false;
      for (const run of found.copies) {
        for (let block = run.block; block < run.block + run.blockCount; block++) {
          const count = u32[this.#counter(block)] as number;
          if (count === TAKEN) taken = true;
          else if (count > 1) shared = true;
        }
      }
      if (!taken && !shared) return;
      const isWritten = found.checksums !== 0;
      const checksums = isWritten
        ? bytes.slice(found.checksums, found.checksums + 8 * found.blockCount)
        : null;
      later(() => this.#decide(key, found, checksums, taken));
    });
  }

  *#decide(key: Key, found: ExtentFound, checksums: Uint8Array | null, taken: boolean): Task<void> {
    const end = key.offset + found.blockCount * BLOCK_BYTES;
    const place = { ino: key.oid, offset: key.offset, block: found.copies[0]?.block ?? 0 };
    if (checksums === null && !taken && !this.#isShared(found)) return;
    if (checksums === null) {
      this.#log.did(
        "extent-removed",
        `Space kept for a file from byte ${key.offset} to ${end} was something else's`,
        place,
      );
    } else {
      if (!taken) {
        if (!this.#isShared(found)) return;
        const isRight = (yield* this.#isRecorded(found)) || (yield* this.#isData(found, checksums));
        if (isRight) {
          yield* this.#setFlag(key.oid);
          return;
        }
      }
      this.#log.gaveUp(
        "extent-removed",
        `Data of a file from byte ${key.offset} to ${end}: its blocks are something else's`,
        place,
      );
    }
    this.#change(found, -1);
    const { store } = this.#repair;
    const { view, exports } = this.#core;
    const { value } = this.#memory;
    yield* this.#repair.transaction(() => {
      store.get(key.oid, key.type, key.offset);
      const inode = store.get(key.oid, ITEM_INODE, 0);
      if (inode !== 0) {
        exports.bytes_copy(value, inode, INODE_BYTES);
        const blocks = getU64(view, value + INODE_BLOCKS) - found.blockCount;
        setU64(view, value + INODE_BLOCKS, Math.max(0, blocks));
        store.put(key.oid, ITEM_INODE, 0, value, INODE_BYTES);
      }
      store.remove(key.oid, key.type, key.offset);
    });
  }

  #isShared(found: ExtentFound): boolean {
    const { u32 } = this.#core;
    return found.copies.some((run) => {
      for (let block = run.block; block < run.block + run.blockCount; block++)
        if ((u32[this.#counter(block)] as number) > 1) return true;
      return false;
    });
  }

  /** Whether records say of every block of the extent how many share it, and are right. */
  *#isRecorded(found: ExtentFound): Task<boolean> {
    const { store } = this.#repair;
    const { u32, view } = this.#core;
    let right = true;
    yield* this.#repair.look(() => {
      right = true;
      for (const run of found.copies) {
        for (let block = run.block; right && block < run.block + run.blockCount; ) {
          let end = run.block + run.blockCount;
          let references = 1;
          if (store.seekLast(0, ITEM_SHARED, block) && store.keyType === ITEM_SHARED) {
            const stop = store.keyOffset + view.getUint32(store.valueAddress, true);
            if (stop > block) {
              references = view.getUint32(store.valueAddress + SHARED_REFERENCES, true);
              end = Math.min(end, stop);
            } else end = block + 1;
          } else end = block + 1;
          for (; block < end; block++)
            if ((u32[this.#counter(block)] as number) !== references) right = false;
        }
      }
    });
    return right;
  }

  *#isData(found: ExtentFound, checksums: Uint8Array): Task<boolean> {
    const { data } = this.#memory;
    const expected = data + DATA_BYTES;
    this.#core.bytes.set(checksums, expected);
    for (const run of found.copies) {
      const status = yield (resume) => this.#read(run, resume);
      if (status < 0) return false;
      const bad = this.#core.exports.xxh3_64_verify_units(
        data,
        BLOCK_BYTES,
        found.blockCount,
        expected,
      );
      if (bad >= 0) return false;
    }
    return true;
  }

  #read(run: DataRun, resume: (status: number) => void): void {
    const { data } = this.#memory;
    this.#repair.pool.read(run.device, run.block, data, run.blockCount * BLOCK_BYTES, resume);
  }

  *#setFlag(ino: number): Task<void> {
    const { store } = this.#repair;
    const { view, exports } = this.#core;
    const { value } = this.#memory;
    let set = false;
    yield* this.#repair.transaction(() => {
      set = false;
      const inode = store.get(ino, ITEM_INODE, 0);
      if (inode === 0) return;
      exports.bytes_copy(value, inode, INODE_BYTES);
      const flags = view.getUint32(value + INODE_FLAGS, true);
      if ((flags & INODE_SHARED) !== 0) return;
      view.setUint32(value + INODE_FLAGS, (flags | INODE_SHARED) >>> 0, true);
      store.put(ino, ITEM_INODE, 0, value, INODE_BYTES);
      set = true;
    });
    if (set)
      this.#log.did("sharing-corrected", "A file with shared blocks did not say so", { ino });
  }

  // --- records of shared blocks ---

  /** Makes the records of the window's blocks right. */
  *#share(): Task<void> {
    const { u32 } = this.#core;
    for (let block = this.#first; block < this.#end; ) {
      const references = u32[this.#counter(block)] as number;
      let end = block + 1;
      while (end < this.#end && u32[this.#counter(end)] === references) end++;
      if (references > 1 && references !== TAKEN)
        yield* this.#emit({ start: block, end, references });
      block = end;
    }
  }

  /** The next run: the one before is whole, unless this one continues it. */
  *#emit(run: Run | null): Task<void> {
    const before = this.#run;
    this.#run = run;
    if (before === null) return;
    if (run !== null && run.start === before.end && run.references === before.references) {
      this.#run = { ...run, start: before.start };
      return;
    }
    yield* this.#removeRecords(this.#done, before.end, before.start);
    yield* this.#putRecord(before);
    this.#done = before.end;
  }

  /** Removes the records that begin in a range, but for one. */
  *#removeRecords(from: number, to: number, kept: number): Task<void> {
    const { store } = this.#repair;
    const end: Key =
      to === Number.POSITIVE_INFINITY
        ? { oid: 0, type: ITEM_SHARED + 1, offset: 0 }
        : { oid: 0, type: ITEM_SHARED, offset: to };
    yield* this.#repair.walk(
      ({ offset }, _value, _length, later) => {
        if (offset === kept) return;
        later(() =>
          this.#repair.transaction(() => {
            if (store.get(0, ITEM_SHARED, offset) !== 0) store.remove(0, ITEM_SHARED, offset);
          }),
        );
        this.#log.did("sharing-corrected", "A record of shared blocks was removed", {
          block: offset,
        });
      },
      { oid: 0, type: ITEM_SHARED, offset: from },
      end,
    );
  }

  *#putRecord({ start, end, references }: Run): Task<void> {
    const { store } = this.#repair;
    const { view } = this.#core;
    const { value } = this.#memory;
    let same = false;
    yield* this.#repair.transaction(() => {
      const at = store.get(0, ITEM_SHARED, start);
      same =
        at !== 0 &&
        store.valueLength === SHARED_BYTES &&
        view.getUint32(at + SHARED_BLOCK_COUNT, true) === end - start &&
        view.getUint32(at + SHARED_REFERENCES, true) === references;
      if (same) return;
      view.setUint32(value + SHARED_BLOCK_COUNT, end - start, true);
      view.setUint32(value + SHARED_REFERENCES, references, true);
      store.put(0, ITEM_SHARED, start, value, SHARED_BYTES);
    });
    if (same) return;
    this.#log.did("sharing-corrected", `Blocks that ${references} extents share are recorded so`, {
      block: start,
      blockCount: end - start,
    });
  }
}

/**
 * Checks a volume that nobody has mounted, and changes nothing: every superblock, every copy of every page and bitmap,
 * every item, and the checksum of every block of data, each against all that SPEC.md says about it; then that every
 * block and every name is counted exactly once.
 *
 * It trusts no byte: any image gives a report. A walk ends because levels fall and pages do not exceed the device
 * (tree_walk.ts). Memory is what the core has, whatever the volume's size: bitmaps and objects are built in windows, and
 * the trees are walked again for each further one.
 *
 * It sees the newest checkpoint. What the journal holds since then is read and verified, but not applied: a checkpoint
 * must be right by itself.
 */
import { EINVAL } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import { Layout } from "../core/layout.ts";
import type { Device } from "../device/device.ts";
import { BLOCK_BYTES, PAGE_BLOCKS } from "../format/geometry.ts";
import { ITEM_DENTRY, ITEM_INODE } from "../format/key.ts";
import { ROOT_BYTES, TREE_COUNT, TREE_FS, TREE_POOL, TREE_SPACE } from "../format/page_pointer.ts";
import type { Superblock } from "../format/superblock.ts";
import type { Environment } from "../fs/volume.ts";
import { COMMIT_BYTES_MAX } from "../journal/journal.ts";
import { Pool } from "../pool/pool.ts";
import { BlockMap } from "./block_map.ts";
import { DATA_CHECK_BYTES, DataCheck, type DataRun } from "./data_check.ts";
import { ITEM_POOL } from "./describe.ts";
import { Findings } from "./findings.ts";
import { type FsckOptions, type FsckProgress, type FsckReport, reportOf } from "./fsck_report.ts";
import { ItemCheck } from "./item_check.ts";
import type { ExtentFound } from "./item_rules.ts";
import { checkJournal } from "./journal_check.ts";
import { NameCheck } from "./name_check.ts";
import { ObjectTable } from "./object_table.ts";
import { type CopyProblem, type PageCopy, PageReader } from "./page_reader.ts";
import { PathFinder } from "./path_finder.ts";
import { SpaceCheck } from "./space_check.ts";
import { checkSuperblocks, RING_BUFFER_BYTES } from "./superblock_check.ts";
import {
  compareKeys,
  KEY_END,
  KEY_MIN,
  type Key,
  type PagePlace,
  type TreeVisitor,
  TreeWalk,
  WALK_FETCHES,
} from "./tree_walk.ts";

/** Reads of data that are under way at a time, if memory allows. */
const DATA_DEPTH_MAX = 16;
/** Objects for which there is room, whatever the superblock says. */
const OBJECTS_MIN = 65536;
/** Pages between two reports of progress. */
const PROGRESS_PAGES = 64;

/** @throws {FsError} EINVAL without a device, ENOMEM when the core's memory is too small for this volume's regions. */
export function* fsck(
  environment: Environment,
  devices: readonly Device[],
  options: FsckOptions = {},
): Task<FsckReport> {
  if (devices.length === 0)
    throw new FsError(EINVAL, "fsck/no-device", "Cannot check a volume without devices");
  const { core } = environment;
  const pool = new Pool(devices);
  const errors = new Findings();
  const warnings = new Findings();
  const layout = new Layout(core);
  options.onProgress?.({ phase: "superblocks", done: 0, total: null });
  const ring = layout.take(RING_BUFFER_BYTES, BLOCK_BYTES);
  const superblock = yield* checkSuperblocks(core, pool, ring, errors, warnings);
  if (superblock === null) return reportOf({ superblock, errors, warnings, complete: false });
  const check = new Check({ core, pool, layout, superblock, errors, warnings, options });
  return yield* check.run();
}

class Check {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #superblock: Superblock;
  readonly #errors: Findings;
  readonly #warnings: Findings;
  readonly #options: FsckOptions;
  readonly #commitBuffer: number;
  readonly #roots: number;
  readonly #reader: PageReader;
  readonly #walk: TreeWalk;
  readonly #map: BlockMap;
  readonly #space: SpaceCheck;
  readonly #data: DataCheck;
  readonly #table: ObjectTable;
  readonly #items: ItemCheck;
  readonly #names: NameCheck;
  readonly #counts: Record<string, number> = {};
  /** Trees with entries that cannot be seen. */
  readonly #lostTrees = new Set<number>();
  /** Copies whose place is not known. */
  #copiesLost = false;
  #pagesSinceProgress = 0;
  #phase: FsckProgress["phase"] = "trees";
  #blocksDone = 0;

  constructor(options: {
    core: Core;
    pool: Pool;
    layout: Layout;
    superblock: Superblock;
    errors: Findings;
    warnings: Findings;
    options: FsckOptions;
  }) {
    const { core, pool, layout, superblock, errors } = options;
    const { geometry } = superblock;
    this.#core = core;
    this.#pool = pool;
    this.#superblock = superblock;
    this.#errors = errors;
    this.#warnings = options.warnings;
    this.#options = options.options;
    this.#commitBuffer = layout.take(COMMIT_BYTES_MAX, BLOCK_BYTES);
    this.#roots = layout.take(TREE_COUNT * ROOT_BYTES, 8);
    core.bytes.set(superblock.roots, this.#roots);
    this.#reader = new PageReader({
      core,
      pool,
      layout,
      blockCount: geometry.blockCount,
      fetches: WALK_FETCHES,
    });
    this.#walk = new TreeWalk({ core, reader: this.#reader, layout });
    const memory = core.bytes.length - layout.end;
    const depth = Math.floor(memory / 4 / DATA_CHECK_BYTES);
    this.#data = new DataCheck({
      core,
      pool,
      layout,
      depth: Math.max(1, Math.min(depth, DATA_DEPTH_MAX)),
      report: (run, first, count, status) => this.#badData(run, first, count, status),
    });
    // A little is left over for what alignment takes.
    const rest = core.bytes.length - layout.end - SpaceCheck.memoryBytes(geometry) - 64 * 1024;
    const half = Math.max(0, Math.floor(rest / 2));
    const { windows } = options.options;
    const regionBytes = geometry.mapBlocks * BLOCK_BYTES;
    this.#map = new BlockMap({
      core,
      layout,
      geometry,
      byteLength: Math.min(half, (windows?.regions ?? geometry.regionCount) * regionBytes),
    });
    this.#space = new SpaceCheck({ core, pool, layout, geometry, map: this.#map, errors });
    this.#table = new ObjectTable({
      core,
      layout,
      byteLength: half,
      // The superblock's count may be wrong: then a few windows more do.
      objects: windows?.objects ?? Math.max(superblock.objectCount, OBJECTS_MIN),
    });
    this.#items = new ItemCheck({ core, superblock, errors, counts: this.#counts });
    this.#names = new NameCheck({ core, errors, table: this.#table });
  }

  *run(): Task<FsckReport> {
    this.#progress("journal", 0, null);
    const needsRecovery = yield* checkJournal({
      core: this.#core,
      pool: this.#pool,
      superblock: this.#superblock,
      buffer: this.#commitBuffer,
      errors: this.#errors,
      warnings: this.#warnings,
      counts: this.#counts,
    });
    yield* this.#firstPass();
    const any = this.#lostTrees.size > 0;
    const lost = {
      space: this.#lostTrees.has(TREE_SPACE),
      any: any || this.#items.extentsLost || this.#copiesLost,
    };
    yield* this.#compareSpace(lost);
    while (this.#map.endRegion < this.#superblock.geometry.regionCount) {
      this.#map.open(this.#map.endRegion);
      yield* this.#markPass();
      yield* this.#compareSpace(lost);
    }
    yield* this.#countNames();
    this.#checkTotals(any);
    yield* this.#findPaths();
    this.#counts["bytesRead"] = this.#reader.bytesRead + this.#data.blocks * BLOCK_BYTES;
    return reportOf({
      superblock: this.#superblock,
      errors: this.#errors,
      warnings: this.#warnings,
      complete: !any,
      needsRecovery,
      counts: this.#counts,
    });
  }

  // --- trees ---

  /** Everything about pages and items, and the first windows of blocks and objects. */
  *#firstPass(): Task<void> {
    this.#map.open(0);
    this.#table.open(-1);
    this.#phase = "trees";
    const space: TreeVisitor = {
      ...this.#pageVisitor(TREE_SPACE),
      leaf: (page, slotCount) => {
        for (let slot = 0; slot < slotCount; slot++) {
          this.#space.item(
            this.#walk.keyOf(page, slot),
            this.#value(page, slot),
            this.#length(page, slot),
          );
        }
        return undefined;
      },
    };
    const pool: TreeVisitor = {
      ...this.#pageVisitor(TREE_POOL),
      leaf: (page, slotCount, place) => {
        for (let slot = 0; slot < slotCount; slot++) {
          const key = this.#walk.keyOf(page, slot);
          if (key.oid === 0 && key.type === ITEM_POOL && key.offset === 0) continue;
          this.#errors.add(
            "DFS-FSCK-ITEM-UNKNOWN",
            "No item of this key belongs into the pool's tree",
            {
              tree: place.treeId,
              objectId: key.oid,
              type: key.type,
              offset: key.offset,
            },
          );
        }
        return undefined;
      },
    };
    const files: TreeVisitor = {
      ...this.#pageVisitor(TREE_FS),
      leaf: (page, slotCount) => this.#fileItems(page, slotCount),
    };
    for (const [treeId, visitor] of [
      [TREE_SPACE, space],
      [TREE_POOL, pool],
      [TREE_FS, files],
    ] as const) {
      yield* this.#walkTree(treeId, visitor, true);
      this.#counts[`${TREE_NAMES[treeId]}Pages`] = this.#walk.pages;
    }
    this.#items.finish();
    const itemsLost = this.#lostTrees.has(TREE_FS);
    this.#items.shared.finish(itemsLost || this.#items.extentsLost);
    this.#items.quotas.finish(itemsLost || this.#items.inodesLost);
    this.#markShared();
    yield* this.#data.drain();
  }

  *#fileItems(page: number, slotCount: number): Task<void> {
    for (let slot = 0; slot < slotCount; slot++) {
      const key = this.#walk.keyOf(page, slot);
      const value = this.#value(page, slot);
      const extent = this.#items.item(key, value, this.#length(page, slot), this.#table);
      if (extent === null) continue;
      this.#blocksDone += extent.blockCount;
      for (const run of extent.copies) {
        if (this.#markExtent(run, extent, true)) this.#items.sharesBlocks();
        if (this.#options.data === false || extent.checksums === 0) continue;
        if (!this.#data.ready) yield* this.#data.wait();
        this.#data.submit(run, extent.checksums);
      }
    }
  }

  /** Walks all trees again for another window of blocks. */
  *#markPass(): Task<void> {
    this.#phase = "space";
    this.#blocksDone = 0;
    const pointed: Pick<TreeVisitor, "pointed" | "page"> = {
      pointed: (place, copies) => this.#markCopies(place, copies),
      page: () => this.#tick(PAGE_BLOCKS),
    };
    for (let treeId = 1; treeId <= TREE_COUNT; treeId++) {
      const visitor: TreeVisitor = {
        ...pointed,
        leaf: (page, slotCount) => {
          if (treeId !== TREE_FS) return undefined;
          for (let slot = 0; slot < slotCount; slot++) {
            const key = this.#walk.keyOf(page, slot);
            const extent = this.#items.extentOf(
              key,
              this.#value(page, slot),
              this.#length(page, slot),
            );
            if (extent === null) continue;
            for (const run of extent.copies) this.#markExtent(run, extent, false);
          }
          return undefined;
        },
      };
      yield* this.#walkTree(treeId, visitor, false);
    }
    this.#markShared();
  }

  *#walkTree(treeId: number, visitor: TreeVisitor, everyCopy: boolean): Task<void> {
    const root = this.#roots + (treeId - 1) * ROOT_BYTES;
    const { blockCount } = this.#superblock.geometry;
    yield* this.#walk.run(root, treeId, visitor, {
      everyCopy,
      generation: this.#superblock.sequence,
      pagesMax: Math.floor(blockCount / PAGE_BLOCKS),
    });
  }

  #pageVisitor(treeId: number): Omit<TreeVisitor, "leaf"> {
    return {
      pointed: (place, copies) => this.#markCopies(place, copies),
      pointerProblem: (place, problem) => {
        this.#copiesLost = true;
        this.#errors.add(
          "DFS-FSCK-POINTER",
          `A page pointer is invalid: ${problem}`,
          placeFields(place),
        );
      },
      copyProblems: (place, problems, usable) => this.#badCopies(place, problems, usable),
      rangeProblem: (place, problem) => {
        this.#errors.add(
          "DFS-FSCK-PAGE-ORDER",
          `A page does not fit its parent: ${problem}`,
          placeFields(place),
        );
      },
      lost: (from, to) => this.#lost(treeId, from, to),
      page: () => {
        this.#blocksDone += PAGE_BLOCKS;
        this.#tick(PAGE_BLOCKS);
      },
    };
  }

  #lost(treeId: number, from: Key, to: Key): void {
    this.#lostTrees.add(treeId);
    if (treeId === TREE_FS) this.#items.lost(from, to);
  }

  #badCopies(place: PagePlace, problems: readonly CopyProblem[], usable: boolean): void {
    if (usable) {
      for (const { copy, problem } of problems) {
        this.#errors.add(
          "DFS-FSCK-PAGE-COPY",
          `A copy of a page is bad: ${problem}; another copy is good`,
          {
            ...placeFields(place),
            copy: copy.copy,
            block: copy.block,
          },
        );
      }
      return;
    }
    // Copies with the right checksum have the same bytes: one finding says what is wrong with all of them.
    const written = problems.find(({ kind }) => kind === "header" || kind === "structure");
    if (written !== undefined) {
      const code = written.kind === "header" ? "DFS-FSCK-PAGE-HEADER" : "DFS-FSCK-PAGE-STRUCTURE";
      this.#errors.add(code, `A page is invalid: ${written.problem}`, placeFields(place));
      return;
    }
    const text = problems.map(
      ({ copy, problem }) => `copy ${copy.copy} at block ${copy.block}: ${problem}`,
    );
    this.#errors.add(
      "DFS-FSCK-PAGE-LOST",
      `No copy of a page is good: ${text.join("; ")}`,
      placeFields(place),
    );
  }

  // --- blocks ---

  #markCopies(place: PagePlace, copies: readonly PageCopy[]): void {
    for (const { copy, device, block, problem } of copies) {
      if (problem !== null || device !== 0 || this.#map.mark(block, PAGE_BLOCKS)) continue;
      this.#errors.add(
        "DFS-FSCK-BLOCK-SHARED",
        "Blocks of a page are used by something else, too",
        {
          ...placeFields(place),
          copy,
          block,
        },
      );
    }
  }

  #markShared(): void {
    this.#items.shared.forEach((block, blockCount) => {
      if (this.#map.mark(block, blockCount)) return;
      const text = "Shared blocks are used by something else, too";
      this.#errors.add("DFS-FSCK-BLOCK-SHARED", text, { block, blockCount });
    });
  }

  /** @param isFirst Whether this is the first walk of the tree. @returns Whether any of the blocks is shared. */
  #markExtent(run: DataRun, extent: ExtentFound, isFirst: boolean): boolean {
    if (run.device !== 0) return false;
    const { shared } = this.#items;
    const mark = (block: number, blockCount: number): void => {
      if (this.#map.mark(block, blockCount) || shared.isLost) return;
      this.#errors.add(
        "DFS-FSCK-BLOCK-SHARED",
        "Blocks of a file are used by something else, too",
        { ino: run.ino, offset: run.offset, block: run.block, blockCount: run.blockCount },
      );
    };
    const isWritten = extent.checksums !== 0;
    if (isWritten) return shared.point(run.block, run.blockCount, isFirst, mark);
    mark(run.block, run.blockCount);
    return false;
  }

  #badData(run: DataRun, first: number, blockCount: number, status: number): void {
    const place = {
      ino: run.ino,
      offset: run.offset + first * BLOCK_BYTES,
      block: run.block + first,
      blockCount,
      copy: run.copy,
    };
    if (status < 0)
      this.#errors.add(
        "DFS-FSCK-DATA-READ",
        `Data of a file cannot be read: error ${status}`,
        place,
      );
    else this.#errors.add("DFS-FSCK-DATA", "Data of a file does not match its checksum", place);
  }

  *#compareSpace(lost: { space: boolean; any: boolean }): Task<void> {
    const { regionCount } = this.#superblock.geometry;
    yield* this.#space.compare(lost, (region) => {
      if (region % PROGRESS_PAGES === 0) this.#progress("space", region, regionCount);
    });
  }

  // --- names ---

  /** Counts the names of every object, a window of objects at a time. */
  *#countNames(): Task<void> {
    this.#phase = "names";
    this.#blocksDone = 0;
    const lost = this.#lostTrees.has(TREE_FS) || this.#items.namesLost;
    for (;;) {
      yield* this.#walkTree(
        TREE_FS,
        {
          page: () => this.#tick(1),
          leaf: (page, slotCount) => {
            for (let slot = 0; slot < slotCount; slot++) {
              const key = this.#walk.keyOf(page, slot);
              this.#names.item(key, this.#value(page, slot), this.#length(page, slot), lost);
            }
            return undefined;
          },
        },
        false,
      );
      this.#names.finishWindow(lost);
      yield* this.#checkLoops();
      if (!this.#table.full) return;
      this.#table.open(this.#table.ino[this.#table.count - 1] as number);
      yield* this.#walkTree(
        TREE_FS,
        {
          leaf: (page, slotCount) => {
            for (let slot = 0; slot < slotCount; slot++) {
              const key = this.#walk.keyOf(page, slot);
              this.#items.collect(
                key,
                this.#value(page, slot),
                this.#length(page, slot),
                this.#table,
              );
            }
            return undefined;
          },
        },
        false,
      );
    }
  }

  /** Follows directories to the root. Those of other windows are looked up in the tree. */
  *#checkLoops(): Task<void> {
    for (const start of this.#names.openChains()) {
      // Brent's algorithm: the mark jumps to ever further places, so that any loop is met without remembering the way.
      let mark = start;
      let at = start;
      let steps = 0;
      let limit = 1;
      while (at !== 0) {
        at = yield* this.#parentOf(at);
        if (at === mark) {
          this.#names.loop(start);
          break;
        }
        if (++steps === limit) {
          mark = at;
          limit *= 2;
          steps = 0;
        }
      }
    }
  }

  /** Parent of a directory in the tree; 0 for the root, and for what is no directory. */
  *#parentOf(ino: number): Task<number> {
    const wanted: Key = { oid: ino, type: ITEM_INODE, offset: 0 };
    let parent = 0;
    yield* this.#walkTree(
      TREE_FS,
      {
        wants: (from, to) => compareKeys(from, wanted) <= 0 && compareKeys(to, wanted) > 0,
        leaf: (page, slotCount) => {
          for (let slot = 0; slot < slotCount; slot++) {
            if (compareKeys(this.#walk.keyOf(page, slot), wanted) !== 0) continue;
            parent = this.#items.parentOf(
              wanted,
              this.#value(page, slot),
              this.#length(page, slot),
            );
          }
          return undefined;
        },
      },
      false,
    );
    return parent;
  }

  /** Gives the findings about objects their paths, as far as they can be found. */
  *#findPaths(): Task<void> {
    const inos = this.#errors.inos();
    if (inos.size === 0) return;
    const finder = new PathFinder(this.#core, inos);
    yield* this.#walkNames(finder, KEY_MIN, KEY_END);
    const followed = new Set<number>();
    for (const ino of inos) {
      let at = finder.parentOf(ino);
      while (at !== 0 && !followed.has(at)) {
        followed.add(at);
        if (!finder.has(at)) {
          finder.wanted.add(at);
          const parent = yield* this.#parentOf(at);
          const from: Key = { oid: parent, type: ITEM_DENTRY, offset: 0 };
          if (parent !== 0)
            yield* this.#walkNames(finder, from, { ...from, type: ITEM_DENTRY + 1 });
        }
        at = finder.parentOf(at);
      }
    }
    const paths = new Map<number, string>();
    for (const ino of inos) {
      const path = finder.pathOf(ino);
      if (path !== null) paths.set(ino, path);
    }
    this.#errors.setPaths(paths);
  }

  *#walkNames(finder: PathFinder, from: Key, to: Key): Task<void> {
    yield* this.#walkTree(
      TREE_FS,
      {
        wants: (low, high) => compareKeys(low, to) < 0 && compareKeys(high, from) > 0,
        leaf: (page, slotCount) => {
          for (let slot = 0; slot < slotCount; slot++) {
            const key = this.#walk.keyOf(page, slot);
            finder.item(key, this.#value(page, slot), this.#length(page, slot));
          }
          return undefined;
        },
      },
      false,
    );
  }

  #checkTotals(lost: boolean): void {
    const superblock = this.#superblock;
    const place = { sequence: superblock.sequence };
    if (this.#items.highestOid >= superblock.nextObjectId) {
      this.#errors.add(
        "DFS-FSCK-NEXT-OBJECT",
        `The next object is to be ${superblock.nextObjectId}, but there is ${this.#items.highestOid}`,
        place,
      );
    }
    if (lost) return;
    const objects = this.#counts["objects"] ?? 0;
    if (objects !== superblock.objectCount) {
      this.#errors.add(
        "DFS-FSCK-OBJECT-COUNT",
        `${superblock.objectCount} objects are said to exist, there are ${objects}`,
        place,
      );
    }
    if (superblock.clean && this.#space.freeBlocks !== superblock.freeBlocks) {
      this.#errors.add(
        "DFS-FSCK-FREE-COUNT",
        `${superblock.freeBlocks} blocks are said to be free, in the regions' items there are ${this.#space.freeBlocks}`,
        place,
      );
    }
  }

  // --- progress ---

  /** A page has been looked at, which stands for so many blocks of what there is to do. */
  #tick(blocks: number): void {
    if (this.#phase !== "trees") this.#blocksDone += blocks;
    if (++this.#pagesSinceProgress < PROGRESS_PAGES) return;
    this.#pagesSinceProgress = 0;
    const { geometry, freeBlocks } = this.#superblock;
    const total = this.#phase === "trees" ? geometry.blockCount - freeBlocks : null;
    this.#progress(
      this.#phase,
      total === null ? this.#blocksDone : Math.min(this.#blocksDone, total),
      total,
    );
  }

  #progress(phase: FsckProgress["phase"], done: number, total: number | null): void {
    this.#options.onProgress?.({ phase, done, total });
  }

  #value(page: number, slot: number): number {
    return this.#core.exports.page_value(page, slot) >>> 0;
  }

  #length(page: number, slot: number): number {
    return this.#core.exports.page_value_length(page, slot);
  }
}

const TREE_NAMES: Readonly<Record<number, string>> = {
  1: "fileTree",
  2: "spaceTree",
  3: "poolTree",
};

function placeFields(place: PagePlace): Record<string, number> {
  return { tree: place.treeId, level: place.level, block: place.block };
}

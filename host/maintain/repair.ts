/**
 * Repairs a volume that nobody has mounted: SPEC's rules hold again after it, and what could not be kept is named.
 *
 * 1. A check says what is wrong; with nothing wrong, nothing is written.
 * 2. The space map is built anew, with all that is in doubt marked used: from here on nothing in use is handed out.
 * 3. The ordinary store is opened. Pages without a good copy are cut out, others written anew; the journal is replayed;
 *    then items, blocks and names are made to agree, in transactions.
 * 4. The space map is built again, exactly. Superblock slots and the journal are put right.
 * 5. A second check says what is left. If what came to light is again something that can be repaired, it begins anew.
 *
 * Each step ends with a checkpoint, and changes nothing that the one before points to: a repair that is interrupted
 * leaves a volume that can be repaired again, and that has lost nothing else.
 *
 * Memory: what the core has, whatever the volume's size; a window of objects, and of blocks, at a time.
 */
import { EINVAL, EIO } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { all, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import { Layout } from "../core/layout.ts";
import type { Device } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import { ROOT_BYTES } from "../format/page_pointer.ts";
import type { Superblock } from "../format/superblock.ts";
import type { Environment } from "../fs/volume.ts";
import { COMMIT_BYTES_MAX } from "../journal/journal.ts";
import { Pool } from "../pool/pool.ts";
import { readNewest, readSlots, type SlotReport } from "../pool/superblock_set.ts";
import { fsck } from "./fsck.ts";
import type { FsckCode } from "./fsck_codes.ts";
import type { FsckProgress, FsckReport } from "./fsck_report.ts";
import { findCommitsAbove, journalAreaOf } from "./journal_scan.ts";
import type { LeafFound } from "./leaf_search.ts";
import { ObjectTable } from "./object_table.ts";
import { OverlayDevice } from "./overlay_device.ts";
import { PageReader } from "./page_reader.ts";
import { BlockRepair, type BlocksMemory, takeBlocksMemory } from "./repair_blocks.ts";
import { ItemRepair } from "./repair_items.ts";
import { repairLeaves } from "./repair_leaves.ts";
import { RepairLog, type RepairStep } from "./repair_log.ts";
import { NameRepair } from "./repair_names.ts";
import { repairPages } from "./repair_pages.ts";
import { RepairStore } from "./repair_store.ts";
import { rebuildSpace } from "./space_rebuild.ts";
import { RING_BUFFER_BYTES, slotProblem } from "./superblock_check.ts";
import { TreeWalk, WALK_FETCHES } from "./tree_walk.ts";

export interface RepairProgress {
  readonly phase: FsckProgress["phase"] | "pages" | "replay" | "items" | "blocks" | "verify";
  readonly done: number;
  /** null when it is not known. */
  readonly total: number | null;
}

export interface RepairOptions {
  readonly onProgress?: (progress: RepairProgress) => void;
  /** Verify the checksums of all data, too; true if left out. It cannot be repaired, only found. */
  readonly data?: boolean;
  /** Try it in memory: nothing is written. */
  readonly dryRun?: boolean;
  /** A check of the volume as it is, if there was one already. */
  readonly checked?: FsckReport;
  /** For tests: the largest windows. */
  readonly windows?: { readonly regions?: number; readonly objects?: number };
}

/** What a repair did, ready for JSON. */
export interface RepairReport {
  /** What was wrong. */
  readonly before: FsckReport;
  /** Whether anything was changed; in a trial, would be. */
  readonly changed: boolean;
  readonly steps: readonly RepairStep[];
  /** Of all steps; `steps` is capped. */
  readonly stepCount: number;
  readonly stepCounts: Readonly<Record<string, number>>;
  /** What could not be kept. */
  readonly lost: readonly RepairStep[];
  readonly lostCount: number;
  /** What is wrong after it: what cannot be repaired. */
  readonly after: FsckReport;
}

/** Nothing can be done about these: data that is gone, and volumes that are not ours to write. */
const BEYOND_REPAIR: ReadonlySet<FsckCode> = new Set<FsckCode>([
  "DFS-FSCK-DATA",
  "DFS-FSCK-DATA-READ",
  "DFS-FSCK-DEVICE-SIZE",
  "DFS-FSCK-SUPERBLOCK-NONE",
  "DFS-FSCK-UNSUPPORTED",
]);
/** These need no more than a new space map. */
const SPACE_ONLY: ReadonlySet<FsckCode> = new Set<FsckCode>([
  "DFS-FSCK-REGION",
  "DFS-FSCK-REGION-COUNT",
  "DFS-FSCK-FREE-COUNT",
  "DFS-FSCK-BITMAP-COPY",
  "DFS-FSCK-BITMAP-LOST",
  "DFS-FSCK-BITMAP-END",
  "DFS-FSCK-BLOCK-FREE",
  "DFS-FSCK-BLOCK-LEAKED",
  ...([...BEYOND_REPAIR] as FsckCode[]),
]);
const JOURNAL_CODES: readonly FsckCode[] = [
  "DFS-FSCK-JOURNAL-GAP",
  "DFS-FSCK-JOURNAL-ENTRY",
  "DFS-FSCK-JOURNAL-READ",
];
/** What pages occupy may be something else's, too: nothing of it is given back before it is counted. */
const DOUBTFUL: readonly FsckCode[] = [
  "DFS-FSCK-BLOCK-SHARED",
  "DFS-FSCK-POINTER",
  "DFS-FSCK-PAGE-COPY",
  "DFS-FSCK-PAGE-LOST",
  "DFS-FSCK-PAGE-HEADER",
  "DFS-FSCK-PAGE-STRUCTURE",
  "DFS-FSCK-PAGE-ORDER",
];
/** One is the rule; another one for what a journal brings in. */
const ROUNDS_MAX = 4;
const SMALL_BYTES = 64 * 1024;
const ZERO_BYTES = 1024 * 1024;

/** @throws {FsError} EINVAL without a device, ENOSPC or ENOMEM when there is no room to repair, EIO of a device. */
export function* repair(
  environment: Environment,
  devices: readonly Device[],
  options: RepairOptions = {},
): Task<RepairReport> {
  if (devices.length !== 1)
    throw new FsError(EINVAL, "repair/devices", "Cannot repair: this version takes one device");
  const { core } = environment;
  const target = options.dryRun === true ? overlay(environment, devices) : devices;
  const check = (done: RepairOptions["onProgress"]): Task<FsckReport> => {
    core.bytes.fill(0, core.staticEnd);
    return fsck(environment, target, {
      ...(options.data === undefined ? {} : { data: options.data }),
      ...(options.windows === undefined ? {} : { windows: options.windows }),
      ...(done === undefined ? {} : { onProgress: done }),
    });
  };
  const before = options.checked ?? (yield* check(options.onProgress));
  const log = new RepairLog();
  const codes = Object.keys(before.errorCodes) as FsckCode[];
  const isBeyond = codes.some(
    (code) => code === "DFS-FSCK-SUPERBLOCK-NONE" || code === "DFS-FSCK-UNSUPPORTED",
  );
  const shrunk = before.errors.some(({ code }) => code === "DFS-FSCK-DEVICE-SIZE");
  if (isBeyond || shrunk || before.checkpoint === null) return reportOf(before, log, before);
  const verify = (): Task<FsckReport> =>
    check(
      options.onProgress === undefined
        ? undefined
        : (progress) => options.onProgress?.({ ...progress, phase: "verify" }),
    );
  let now = before;
  for (let round = 0; round < ROUNDS_MAX && needsRepair(now); round++) {
    yield* new Repair(environment, target, options, now, log).run();
    yield* repairSlots(environment, target, log);
    now = yield* verify();
  }
  if (now === before && now.warnings.some(({ code }) => code === "DFS-FSCK-SUPERBLOCK-SLOT")) {
    yield* repairSlots(environment, target, log);
    now = yield* verify();
  }
  return reportOf(before, log, now);
}

/** Whether there is something that can be repaired, or a journal of which a check cannot say where it leads. */
function needsRepair(report: FsckReport): boolean {
  const codes = Object.keys(report.errorCodes) as FsckCode[];
  return report.needsRecovery || codes.some((code) => !BEYOND_REPAIR.has(code));
}

function overlay(environment: Environment, devices: readonly Device[]): Device[] {
  const post = environment.post.bind(environment);
  return devices.map((base) => new OverlayDevice({ core: environment.core, base, post }));
}

function reportOf(before: FsckReport, log: RepairLog, after: FsckReport): RepairReport {
  return {
    before,
    changed: log.total > 0,
    steps: log.steps,
    stepCount: log.total,
    stepCounts: Object.fromEntries(log.counts),
    lost: log.lost,
    lostCount: log.lostTotal,
    after,
  };
}

/** Memory of the repair beside the store's. */
interface Reserved {
  readonly small: Layout;
  /** Used by one step at a time. */
  readonly large: number;
  readonly largeBytes: number;
  readonly walk: TreeWalk;
  readonly roots: number;
  readonly items: number;
  readonly names: number;
}

class Repair {
  readonly #environment: Environment;
  readonly #core: Core;
  readonly #devices: readonly Device[];
  readonly #pool: Pool;
  readonly #options: RepairOptions;
  readonly #before: FsckReport;
  readonly #log: RepairLog;
  /** The one that was opened last. */
  #store: RepairStore | null = null;
  /** What the space map says is used is left alone, for it may be. */
  #keepOld: boolean;
  /** Leaves to which nothing points. */
  #leaves: readonly LeafFound[] = [];

  constructor(
    environment: Environment,
    devices: readonly Device[],
    options: RepairOptions,
    before: FsckReport,
    log: RepairLog,
  ) {
    this.#environment = environment;
    this.#core = environment.core;
    this.#devices = devices;
    this.#pool = new Pool(devices);
    this.#options = options;
    this.#before = before;
    this.#log = log;
    this.#keepOld = this.#has(...DOUBTFUL);
  }

  #has(...codes: readonly FsckCode[]): boolean {
    return codes.some((code) => this.#before.errorCodes[code] !== undefined);
  }

  *run(): Task<void> {
    if (this.#before.clean && (yield* this.#replay())) return;
    yield* this.#space(false);
    const codes = Object.keys(this.#before.errorCodes) as FsckCode[];
    const onlySpace = codes.every((code) => SPACE_ONLY.has(code));
    if (!onlySpace || this.#before.needsRecovery) yield* this.#treesInRoom();
    yield* this.#space(true);
    if (this.#has(...JOURNAL_CODES)) yield* this.#zeroJournal();
  }

  #progress(phase: RepairProgress["phase"], done: number, total: number | null): void {
    this.#options.onProgress?.({ phase, done, total });
  }

  /** All is right as far as it can be seen without what the journal says: a mount would replay it, and so does this. */
  *#replay(): Task<boolean> {
    const { store } = yield* this.#open();
    this.#progress("replay", 0, null);
    try {
      yield* this.#replayInto(store);
      return true;
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      return false;
    } finally {
      yield* store.close();
    }
  }

  *#replayInto(store: RepairStore): Task<void> {
    const { journalSequence } = store.superblock;
    const transactions = yield* store.replay();
    if (transactions === 0) return;
    this.#log.did("journal-replayed", `${transactions} transactions of the journal were replayed`, {
      sequence: journalSequence,
      transactions,
    });
  }

  // --- the space map ---

  *#space(exact: boolean): Task<void> {
    const core = this.#core;
    core.bytes.fill(0, core.staticEnd);
    const superblock = yield* this.#newest();
    const rebuilt = yield* rebuildSpace({
      core,
      clock: this.#environment.clock,
      pool: this.#pool,
      superblock,
      exact,
      keepOld: !exact && this.#keepOld,
      search: !exact && !this.#before.complete,
      regions: this.#options.windows?.regions,
      onProgress: (done, total) => this.#progress("space", done, total),
    });
    if (!exact) {
      this.#leaves = rebuilt.leaves;
      return;
    }
    this.#log.did(
      "space-rebuilt",
      `The space map was written anew: ${rebuilt.superblock.freeBlocks} blocks are free`,
      { sequence: rebuilt.superblock.sequence, regions: rebuilt.regions },
    );
  }

  *#newest(): Task<Superblock> {
    const buffer = new Layout(this.#core).take(RING_BUFFER_BYTES, BLOCK_BYTES);
    return yield* readNewest(this.#core, this.#pool, buffer);
  }

  // --- the file system's tree ---

  /** A map that says that all is used would leave no room for a repair: then it is not believed. */
  *#treesInRoom(): Task<void> {
    try {
      yield* this.#trees();
    } catch (error) {
      const isFull = error instanceof FsError && error.reason === "repair/no-space";
      if (!isFull || !this.#keepOld) throw error;
      this.#keepOld = false;
      if (this.#store !== null) yield* this.#store.close();
      yield* this.#space(false);
      yield* this.#trees();
    }
  }

  *#trees(): Task<void> {
    let { store, memory } = yield* this.#open();
    this.#progress("pages", 0, null);
    const cut = yield* repairPages(store, memory.walk, memory.roots, this.#log);
    const room = new Layout(this.#core, memory.large);
    yield* repairLeaves(store, this.#leaves, cut, room, this.#log);
    yield* store.checkpoint();
    this.#progress("replay", 0, null);
    let skip = 0;
    try {
      yield* this.#replayInto(store);
      if (this.#has(...JOURNAL_CODES)) skip = yield* this.#strays(store, memory, true);
    } catch (error) {
      // What is in memory is half done: the checkpoint before is opened again, without the journal.
      yield* store.close();
      ({ store, memory } = yield* this.#open());
      skip = yield* this.#strays(store, memory, false);
      this.#log.gaveUp(
        "journal-discarded",
        `The last changes before the volume was last used could not be replayed: ${error instanceof Error ? error.message : error}`,
        { sequence: store.superblock.journalSequence },
      );
    }
    if (skip > 0) {
      store.superblock = {
        ...store.superblock,
        journalSequence: skip + 1,
        journalChain: new Uint8Array(8),
      };
      store.store.changedSinceCheckpoint = true;
      yield* store.checkpoint();
    }
    if (this.#before.needsRecovery) {
      // What the journal says of the space map may be as wrong as the rest.
      yield* store.close();
      yield* this.#space(false);
      ({ store, memory } = yield* this.#open());
    }
    yield* this.#repairItems(store, memory);
    yield* store.checkpoint();
    yield* this.#repairBlocks(store, memory);
    yield* this.#repairNames(store, memory);
    yield* store.checkpoint();
    yield* store.close();
  }

  *#open(): Task<{ store: RepairStore; memory: Reserved }> {
    let memory: Reserved | undefined;
    const pool = this.#pool;
    const store = yield* RepairStore.open(
      this.#environment,
      this.#devices,
      (layout, superblock) => {
        memory = this.#reserve(layout, superblock, pool);
      },
    );
    this.#store = store;
    if (this.#has(...DOUBTFUL) || (this.#before.needsRecovery && !this.#before.clean))
      store.store.space.keepFreed = true;
    return { store, memory: memory as Reserved };
  }

  #reserve(layout: Layout, superblock: Superblock, pool: Pool): Reserved {
    const core = this.#core;
    const { geometry } = superblock;
    const small = layout.take(SMALL_BYTES, 8);
    const largeBytes =
      2 * 1024 * 1024 +
      Math.max(COMMIT_BYTES_MAX, geometry.regionBlocks * 4, Math.floor(core.bytes.length / 8));
    const large = layout.take(largeBytes, BLOCK_BYTES);
    const reader = new PageReader({
      core,
      pool,
      layout,
      blockCount: geometry.blockCount,
      fetches: WALK_FETCHES,
    });
    return {
      small: new Layout(core, small),
      large,
      largeBytes,
      walk: new TreeWalk({ core, reader, layout }),
      roots: layout.take(ROOT_BYTES, 8),
      items: ItemRepair.take(layout),
      names: NameRepair.take(layout),
    };
  }

  /** @param names Says which are given up. @returns Highest sequence of a commit that no replay may meet again; 0 when there is none. */
  *#strays(store: RepairStore, memory: Reserved, names: boolean): Task<number> {
    const { superblock } = store;
    const found = yield* findCommitsAbove(
      this.#core,
      this.#pool,
      journalAreaOf(superblock),
      superblock.journalSequence - 1,
      memory.large,
    );
    const last = found[found.length - 1];
    if (last === undefined) return superblock.journalSequence;
    if (names) {
      this.#log.gaveUp(
        "journal-discarded",
        `Commits ${superblock.journalSequence} to ${last.sequence} of the journal: the first is damaged, or follows a checkpoint that is lost`,
        { sequence: superblock.journalSequence },
      );
    }
    return last.sequence;
  }

  *#repairItems(store: RepairStore, memory: Reserved): Task<void> {
    let objects = 0;
    const total = store.superblock.objectCount;
    const items = new ItemRepair({ repair: store, log: this.#log, memory: memory.items });
    yield* items.run(() => {
      if (++objects % 1024 === 0) this.#progress("items", Math.min(objects, total), total);
    });
  }

  *#repairBlocks(store: RepairStore, memory: Reserved): Task<void> {
    const isNeeded =
      this.#log.has("extent-removed") ||
      this.#log.has("inode-removed") ||
      this.#log.has("page-cut") ||
      this.#log.has("sharing-corrected") ||
      this.#log.has("journal-discarded") ||
      this.#has(
        "DFS-FSCK-BLOCK-SHARED",
        "DFS-FSCK-SHARED-RUN",
        "DFS-FSCK-SHARED-COUNT",
        "DFS-FSCK-SHARED-FLAG",
        "DFS-FSCK-EXTENT",
      );
    if (!isNeeded) return;
    const layout = new Layout(this.#core, memory.large);
    const blocks: BlocksMemory = takeBlocksMemory(
      layout,
      store.superblock,
      memory.largeBytes - 2 * 1024 * 1024,
      this.#options.windows?.regions,
    );
    const { walk } = memory;
    const block = new BlockRepair({ repair: store, log: this.#log, walk, memory: blocks });
    yield* block.run((done, total) => this.#progress("blocks", done, total));
  }

  *#repairNames(store: RepairStore, memory: Reserved): Task<void> {
    const table = new ObjectTable({
      core: this.#core,
      layout: new Layout(this.#core, memory.large),
      byteLength: memory.largeBytes - SMALL_BYTES,
      objects: this.#options.windows?.objects ?? Number.POSITIVE_INFINITY,
    });
    const names = new NameRepair({
      repair: store,
      log: this.#log,
      table,
      layout: memory.small,
      memory: memory.names,
    });
    let windows = 0;
    const total = Math.ceil(store.superblock.objectCount / table.capacity);
    yield* names.run(() => this.#progress("names", windows++, Math.max(total, windows)));
  }

  // --- the journal ---

  /** Nothing of it counts any more: damage in it goes, and what lies there looks like nothing. */
  *#zeroJournal(): Task<void> {
    const core = this.#core;
    core.bytes.fill(0, core.staticEnd);
    const superblock = yield* this.#newest();
    const zeros = new Layout(core).take(ZERO_BYTES, BLOCK_BYTES);
    core.bytes.fill(0, zeros, zeros + ZERO_BYTES);
    const { journalStart, journalBlocks } = superblock.geometry;
    const step = ZERO_BYTES / BLOCK_BYTES;
    for (let block = 0; block < journalBlocks; block += step) {
      const bytes = Math.min(step, journalBlocks - block) * BLOCK_BYTES;
      const status = yield (resume) =>
        this.#pool.write(0, journalStart + block, zeros, bytes, resume);
      if (status < 0)
        throw new FsError(EIO, "repair/journal", `Cannot write the journal: error ${status}`);
    }
    yield* flush(this.#pool);
  }
}

/** Slots that are damaged or not of this volume: from their twin in the other ring, or as if never written. */
function* repairSlots(
  environment: Environment,
  devices: readonly Device[],
  log: RepairLog,
): Task<void> {
  const { core } = environment;
  const pool = new Pool(devices);
  const layout = new Layout(core);
  const buffer = layout.take(RING_BUFFER_BYTES, BLOCK_BYTES);
  const block = layout.take(BLOCK_BYTES, BLOCK_BYTES);
  const newest = yield* readNewest(core, pool, buffer);
  const sizeBlocks = Math.floor((devices[0]?.sizeBytes ?? 0) / BLOCK_BYTES);
  const slots = yield* readSlots(core, pool, 0, buffer);
  const isRight = (report: SlotReport | undefined): boolean =>
    report?.superblock != null && slotProblem(report.superblock, newest, report.slot) === null;
  for (const report of slots) {
    if (report.ring === 1 && newest.geometry.blockCount !== sizeBlocks) continue;
    const twin = slots.find(({ ring, slot }) => ring !== report.ring && slot === report.slot);
    if (isRight(report)) {
      const isOlder =
        isRight(twin) && (twin?.superblock?.sequence ?? 0) > (report.superblock?.sequence ?? 0);
      if (!isOlder) continue;
    } else if (report.problem === "blank" && !isRight(twin)) continue;
    if (isRight(twin)) {
      const status = yield (resume) => pool.read(0, twin?.block ?? 0, block, BLOCK_BYTES, resume);
      if (status < 0) continue;
    } else core.bytes.fill(0, block, block + BLOCK_BYTES);
    const status = yield all([(resume) => pool.write(0, report.block, block, BLOCK_BYTES, resume)]);
    if (status < 0)
      throw new FsError(EIO, "repair/superblock", `Cannot write a superblock: error ${status}`);
    const text = isRight(twin) ? "written again from the other ring" : "cleared";
    log.did("superblock-written", `Slot ${report.slot} of ring ${report.ring} was ${text}`, {
      ring: report.ring,
      slot: report.slot,
      block: report.block,
    });
  }
  yield* flush(pool);
}

function* flush(pool: Pool): Task<void> {
  const status = yield pool.flush();
  if (status < 0) throw new FsError(EIO, "repair/flush", `Cannot flush a device: error ${status}`);
}

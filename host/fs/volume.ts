/**
 * A volume: devices, core memory and clock put together into a mounted file system. The one place where an engine is
 * assembled; used by the daemon, the library, the tools and the simulator.
 */

import { getU64, uuidText } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { EINVAL, EIO, ENOMEM, EROFS, EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { all, retrying, spawn, type Task } from "../base/task.ts";
import { PATH_DEPTH_MAX } from "../core/abi.ts";
import type { Core } from "../core/core.ts";
import { Layout } from "../core/layout.ts";
import type { Device } from "../device/device.ts";
import { EXTENT_BLOCKS_MAX } from "../format/extent.ts";
import {
  BLOCK_BYTES,
  type Geometry,
  geometryFor,
  PAGE_BYTES,
  RING_BLOCKS,
} from "../format/geometry.ts";
import { POINTER_GENERATION, ROOT_BYTES, ROOT_LEVEL, TREE_COUNT } from "../format/page_pointer.ts";
import { ITEM_REGION, REGION_BYTES } from "../format/region.ts";
import {
  FEATURES_COMPATIBLE,
  FEATURES_INCOMPATIBLE,
  FEATURES_READ_ONLY_COMPATIBLE,
  POOL_NAME_BYTES_MAX,
  type Superblock,
  VERSION_MAJOR,
  VERSION_MINOR,
} from "../format/superblock.ts";
import { JOURNAL_MEMORY_BYTES, Journal } from "../journal/journal.ts";
import { Pool } from "../pool/pool.ts";
import { readNewest } from "../pool/superblock_set.ts";
import { type CheckpointHooks, checkpoint } from "../store/checkpoint.ts";
import { INTENT_GROW } from "../store/item_store.ts";
import { recover } from "../store/recovery.ts";
import { Store } from "../store/store.ts";
import { AccessTimes } from "./access_times.ts";
import { Checkpointer } from "./checkpointer.ts";
import { DataPool } from "./data_pool.ts";
import { ExtentMap } from "./extent_map.ts";
import { FileData } from "./file_data.ts";
import type { FileSystem } from "./file_system.ts";
import { formatRoot, Namespace } from "./namespace.ts";
import { Quotas } from "./quotas.ts";
import { statisticsOf, type VolumeStatistics } from "./statistics.ts";
import { VolumeFileSystem } from "./volume_file_system.ts";
import { Writeback } from "./writeback.ts";

/** What varies outside and comes in from it. */
export interface Environment {
  readonly core: Core;
  readonly clock: Clock;
  /** Calls back once after the delay; returns a cancel function. */
  timer(delayMs: number, callback: () => void): () => void;
  /** Calls back from the loop's next turn. */
  post(callback: () => void): void;
  /** Fills with random bytes (identifiers only; nothing else in the engine is random). */
  randomBytes(target: Uint8Array): void;
  /** One structured line: level "info" | "warn" | "error", a stable event name, and fields. */
  log(level: "info" | "warn" | "error", event: string, fields: Record<string, unknown>): void;
}

export interface CreateOptions {
  /** Owner of the root directory; default 0. */
  readonly uid?: number;
  readonly gid?: number;
  /** 1 to 63 characters of [A-Za-z0-9_.:-], starting with a letter or digit. */
  readonly name: string;
}

export interface MountOptions {
  readonly readOnly: boolean;
  /** Reads leave access times as they are. */
  readonly noAtime?: boolean;
  /** Each read changes the access time, not only as relatime has it. */
  readonly strictAtime?: boolean;
  /** Seconds between checkpoints; default 5. */
  readonly checkpointSeconds?: number;
}

/** State of a mounted volume, ready for JSON: integers, bytes unless the name says otherwise, null when unknown. */
export interface VolumeStatus {
  readonly pool: string;
  readonly uuid: string;
  readonly state: "online" | "read-only" | "faulted";
  readonly format: string;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly availableBytes: number;
  readonly files: number;
  readonly checkpoint: { readonly sequence: number; readonly time: string | null };
  readonly journal: {
    readonly sizeBytes: number;
    readonly usedBytes: number;
    readonly replayedTransactions: number;
  };
  readonly devices: readonly {
    readonly name: string;
    readonly index: number;
    readonly uuid: string;
    readonly state: "online" | "faulted";
    readonly sizeBytes: number;
    readonly usedBytes: number;
    readonly readErrors: number;
    readonly writeErrors: number;
    readonly checksumErrors: number;
  }[];
  readonly cache: {
    readonly memoryBytes: number;
    readonly pageFrames: number;
    readonly pageFramesFree: number;
    readonly pageFramesDirty: number;
    readonly bufferBlocks: number;
    readonly bufferBlocksFree: number;
    readonly dirtyBlocks: number;
  };
  /** Running totals since mount, by stable name. */
  readonly counters: Readonly<Record<string, number>>;
}

const WASM_PAGE_BYTES = 65536;
const MEMORY_BYTES_MIN = 32 * 1024 * 1024;
const MEMORY_BYTES_MAX = 3 * 1024 * 1024 * 1024;
const DEFAULT_CHECKPOINT_SECONDS = 5;
const POOL_NAME = /^[A-Za-z0-9][A-Za-z0-9_.:-]*$/;
/** Item of the pool tree that names the pool: key (0, 32, 0). */
const ITEM_POOL = 32;

/** 64 KiB Wasm pages of core memory for a budget; throws FsError EINVAL below 32 MiB or above 3 GiB. */
export function memoryPagesFor(budgetBytes: number): number {
  if (!(budgetBytes >= MEMORY_BYTES_MIN && budgetBytes <= MEMORY_BYTES_MAX)) {
    throw new FsError(
      EINVAL,
      "volume/memory-budget",
      `Cannot use a memory budget of ${budgetBytes} bytes: it must be between ${MEMORY_BYTES_MIN} and ${MEMORY_BYTES_MAX}`,
    );
  }
  return Math.floor(budgetBytes / WASM_PAGE_BYTES);
}

/** The layers over one device. */
export interface Engine {
  readonly store: Store;
  readonly data: FileData;
  readonly writeback: Writeback;
  readonly namespace: Namespace;
  readonly dataPool: DataPool;
  readonly accessTimes: AccessTimes;
  readonly quotas: Quotas;
}

/** With fewer pages in memory a single operation could wait for ever. */
const FRAMES_MIN = 64;

/** Lays out the core's memory and builds the layers over it, for a device of this geometry. */
export function assemble(
  environment: Environment,
  pool: Pool,
  geometry: Geometry,
  layout: Layout,
  readOnly: boolean,
): Engine {
  const { core, clock, log } = environment;
  const memoryBytes = core.bytes.length;
  const left = memoryBytes - layout.end;
  const dataFrames = Math.floor((left * 0.3) / BLOCK_BYTES);
  const bitmapBudget = Math.floor(memoryBytes / 16);
  const bitmapBytes = Math.min(
    bitmapBudget,
    geometry.regionCount * 2 * geometry.mapBlocks * BLOCK_BYTES + 65536,
  );
  const fixed =
    JOURNAL_MEMORY_BYTES +
    bitmapBytes +
    geometry.regionCount * 24 +
    1024 * EXTENT_BLOCKS_MAX * 8 +
    dataFrames * (BLOCK_BYTES + 160) +
    2 * 1024 * 1024;
  const frameCount = Math.floor((left - fixed) / (PAGE_BYTES + 96));
  if (frameCount < FRAMES_MIN) {
    throw new FsError(
      ENOMEM,
      "volume/memory",
      `Cannot work in ${memoryBytes} bytes of memory: give it a larger budget`,
    );
  }
  const store = new Store({
    core,
    clock,
    pool,
    geometry,
    layout,
    memoryBytes,
    frameCount,
    readOnly,
    log: (level, event, fields) => log(level, event, fields),
    post: (callback) => environment.post(callback),
  });
  const extents = new ExtentMap(store, layout);
  const dataPool = new DataPool(core, layout, dataFrames);
  const writeback = new Writeback({ store, pool: dataPool, extents, layout });
  const quotas = new Quotas(store, layout);
  const data = new FileData({ store, pool: dataPool, extents, writeback, quotas, layout });
  const namespace = new Namespace({ store, core, clock, layout, hooks: data, quotas, readOnly });
  data.reaper.reapItems = (ino) => namespace.removal.reapStep(ino);
  const getAttributes = namespace.getAttributes.bind(namespace);
  const accessTimes = new AccessTimes({ store, layout, getAttributes });
  return { store, data, writeback, namespace, dataPool, accessTimes, quotas };
}

/** Writes a new, empty volume onto the devices. Everything that they held is lost. */
export function* createVolume(
  environment: Environment,
  devices: readonly Device[],
  options: CreateOptions,
): Task<void> {
  const device = devices[0];
  if (device === undefined || devices.length !== 1) {
    throw new FsError(
      EINVAL,
      "volume/devices",
      `Cannot create a volume on ${devices.length} devices: this version takes one`,
    );
  }
  if (!POOL_NAME.test(options.name) || options.name.length > POOL_NAME_BYTES_MAX) {
    throw new FsError(
      EINVAL,
      "volume/name",
      `Cannot name a pool ${JSON.stringify(options.name)}: use 1 to 63 of A-Z a-z 0-9 _ . : - and begin with a letter or digit`,
    );
  }
  if (device.readOnly)
    throw new FsError(
      EROFS,
      "volume/read-only-device",
      `Cannot write to ${device.name}: it is read-only`,
    );
  const { core, clock } = environment;
  const geometry = geometryFor(device.sizeBytes);
  const layout = new Layout(core);
  const pool = new Pool(devices);
  const zeros = layout.take(ZERO_BYTES, BLOCK_BYTES);
  core.exports.bytes_fill(zeros, 0, ZERO_BYTES);
  // The journal is written once, so that later commits find their blocks allocated and nothing old looks valid.
  for (const start of geometry.ringStarts) yield* writeZeros(pool, start, RING_BLOCKS, zeros);
  yield* writeZeros(pool, geometry.journalStart, geometry.journalBlocks, zeros);

  const { store } = assemble(environment, pool, geometry, layout, false);
  const poolUuid = new Uint8Array(16);
  const deviceUuid = new Uint8Array(16);
  for (const uuid of [poolUuid, deviceUuid]) {
    environment.randomBytes(uuid);
    uuid[6] = ((uuid[6] as number) & 0x0f) | 0x40;
    uuid[8] = ((uuid[8] as number) & 0x3f) | 0x80;
  }
  const first: Superblock = {
    versionMajor: VERSION_MAJOR,
    versionMinor: VERSION_MINOR,
    featuresCompatible: FEATURES_COMPATIBLE,
    featuresReadOnlyCompatible: FEATURES_READ_ONLY_COMPATIBLE,
    featuresIncompatible: FEATURES_INCOMPATIBLE,
    poolUuid,
    deviceUuid,
    sequence: 0,
    transactionSequence: 1,
    journalSequence: 1,
    journalBlock: 0,
    journalChain: new Uint8Array(8),
    nextObjectId: 2,
    objectCount: 0,
    deviceIndex: 0,
    deviceCount: 1,
    geometry,
    clean: true,
    timeSeconds: clock.seconds(),
    timeNanoseconds: clock.nanoseconds(),
    freeBlocks: 0,
    name: options.name,
    roots: new Uint8Array(TREE_COUNT * ROOT_BYTES),
  };
  store.journal = journalOf(store, first);
  store.pages.generation = 1;
  for (let region = 0; region < geometry.regionCount; region++) {
    store.space.encodeEmpty(region, store.scratchAddress);
    store.space.setRegion(region, store.scratchAddress);
  }
  yield* retrying(() => store.space.readyPages(16));
  for (const tree of store.trees) tree.format();
  for (let region = 0; region < geometry.regionCount; region++) {
    // A leaf takes over two hundred items; a split needs a handful of pages.
    if (region % 128 === 0) yield* retrying(() => store.space.readyPages(16));
    store.space.encodeEmpty(region, store.scratchAddress);
    store.spaceTree.put(0, ITEM_REGION, region, store.scratchAddress, REGION_BYTES);
  }
  core.exports.bytes_fill(store.scratchAddress, 0, 64);
  store.poolTree.put(0, ITEM_POOL, 0, store.scratchAddress, 64);
  yield* retrying(() => {
    const status = store.begin(INTENT_GROW);
    if (status < 0)
      throw new FsError(EIO, "volume/create", `Cannot create the volume: error ${status}`);
    formatRoot(store, core, clock, layout, { uid: options.uid ?? 0, gid: options.gid ?? 0 });
    store.commit();
  });
  const hooks: CheckpointHooks = { *flushData() {}, relog: () => false };
  yield* checkpoint(store, hooks, first, { clean: true, replayPosition: null });
}

const ZERO_BYTES = 1024 * 1024;

function* writeZeros(pool: Pool, start: number, count: number, zeros: number): Task<void> {
  for (let at = 0; at < count; at += 4 * (ZERO_BYTES / BLOCK_BYTES)) {
    const waits = [];
    for (
      let part = at;
      part < Math.min(count, at + 4 * (ZERO_BYTES / BLOCK_BYTES));
      part += ZERO_BYTES / BLOCK_BYTES
    ) {
      const blocks = Math.min(ZERO_BYTES / BLOCK_BYTES, count - part);
      waits.push((resume: (status: number) => void) =>
        pool.write(0, start + part, zeros, blocks * BLOCK_BYTES, resume),
      );
    }
    const status = yield all(waits);
    if (status < 0)
      throw new FsError(EIO, "volume/create-write", `Cannot write to the device: error ${status}`);
  }
}

/** The log of a volume, from where its superblock says. */
export function journalOf(store: Store, superblock: Superblock): Journal {
  const journal = new Journal({
    core: store.core,
    pool: store.pool,
    start: superblock.geometry.journalStart,
    blocks: superblock.geometry.journalBlocks,
    poolUuid: superblock.poolUuid,
    memory: store.journalMemory,
    position: {
      sequence: superblock.journalSequence,
      block: superblock.journalBlock,
      chain: superblock.journalChain,
    },
    needCheckpoint: () => store.requestCheckpoint(),
  });
  // Without it unmounting would end as if all were well, and what was buffered would be gone without a word.
  journal.onFailure = (status) =>
    store.fault(new Error(`Cannot write the journal: error ${status}`));
  return journal;
}

/**
 * Opens a volume, recovers it if it was not unmounted cleanly, and starts its checkpoints.
 *
 * @throws {FsError} ENODEV not a DynamicFS device, EUCLEAN beyond recovery, EOPNOTSUPP unknown incompatible feature.
 */
export function* mountVolume(
  environment: Environment,
  devices: readonly Device[],
  options: MountOptions,
): Task<Volume> {
  if (devices.length !== 1) {
    throw new FsError(
      EINVAL,
      "volume/devices",
      `Cannot mount ${devices.length} devices: this version takes one`,
    );
  }
  const { core } = environment;
  const layout = new Layout(core);
  const buffer = layout.take(RING_BLOCKS * BLOCK_BYTES, BLOCK_BYTES);
  const pool = new Pool(devices, () => environment.clock.monotonicMs());
  const superblock = yield* readNewest(core, pool, buffer);
  const readOnly = options.readOnly || (devices[0] as Device).readOnly;
  const engine = assemble(environment, pool, superblock.geometry, layout, readOnly);
  const { store, data, namespace } = engine;
  engine.accessTimes.isOn = options.noAtime !== true;
  engine.accessTimes.isStrict = options.strictAtime === true;
  store.pages.generation = superblock.sequence + 1;
  store.nextObjectId = superblock.nextObjectId;
  store.objectCount = superblock.objectCount;
  store.transaction = superblock.transactionSequence;
  store.trees.forEach((tree, index) => {
    core.bytes.set(
      superblock.roots.subarray(index * ROOT_BYTES, (index + 1) * ROOT_BYTES),
      tree.root,
    );
  });
  for (const tree of store.trees) {
    // Their pages are verified when they are read; not all trees are.
    const generation = getU64(core.view, tree.root + POINTER_GENERATION);
    const level = core.view.getUint32(tree.root + ROOT_LEVEL, true);
    if (generation <= superblock.sequence && level < PATH_DEPTH_MAX) continue;
    throw new FsError(
      EUCLEAN,
      "volume/root",
      `Cannot mount: tree ${tree.treeId} has no valid root`,
    );
  }
  yield* loadRegions(store);
  store.journal = journalOf(store, superblock);

  yield* engine.quotas.load();
  store.replaying = true;
  const recovered = yield* recover(store, superblock, data.replay, readOnly);
  store.replaying = false;
  store.journal.restart(recovered.position);

  const checkpointer = new Checkpointer({
    store,
    superblock,
    hooks: {
      *flushData() {
        engine.accessTimes.flush();
        yield* data.flusher.flushAll(false);
      },
      relog: () => data.relog(),
    },
    timer: environment.timer.bind(environment),
    post: environment.post.bind(environment),
    intervalMs: (options.checkpointSeconds ?? DEFAULT_CHECKPOINT_SECONDS) * 1000,
    needed: () => store.changedSinceCheckpoint || data.dirtyFiles > 0,
  });
  if (recovered.transactions > 0) {
    environment.log("info", "volume.recovered", {
      transactions: recovered.transactions,
      commits: recovered.commits,
    });
    if (!readOnly) {
      const status = yield (resume) => checkpointer.whenDone(resume);
      if (status < 0)
        throw new FsError(
          EIO,
          "volume/recovery-checkpoint",
          "Cannot write the recovered state to the device",
        );
    }
  }
  if (!readOnly) {
    const orphans = yield* retrying(() => namespace.removal.orphans());
    for (const ino of orphans) data.reap(ino);
    engine.quotas.resume();
    checkpointer.start();
  }
  return new Volume({
    environment,
    engine,
    checkpointer,
    recoveredTransactions: recovered.transactions,
  });
}

/** Reads the summaries of all regions from the space tree. */
export function* loadRegions(store: Store): Task<void> {
  const { geometry, spaceTree } = store;
  let region = 0;
  while (region < geometry.regionCount) {
    region = yield* retrying(() => {
      let next = region;
      let found = spaceTree.seek(0, ITEM_REGION, region);
      while (found && spaceTree.keyType === ITEM_REGION && next < geometry.regionCount) {
        if (spaceTree.keyOffset !== next || spaceTree.valueLength !== REGION_BYTES) {
          throw new FsError(
            117,
            "volume/region-missing",
            `Cannot mount: the space tree has no valid item for region ${next}`,
          );
        }
        store.space.setRegion(next, spaceTree.valueAddress);
        next++;
        // Keep what was read if the next page must be waited for.
        region = next;
        found = spaceTree.next();
      }
      if (next < geometry.regionCount) {
        throw new FsError(
          117,
          "volume/region-missing",
          `Cannot mount: the space tree has no valid item for region ${next}`,
        );
      }
      return next;
    });
  }
}

export class Volume {
  readonly fs: FileSystem;
  readonly quotas: Quotas;
  readonly #environment: Environment;
  readonly #engine: Engine;
  readonly #checkpointer: Checkpointer;
  readonly #recovered: number;

  constructor(options: {
    environment: Environment;
    engine: Engine;
    checkpointer: Checkpointer;
    recoveredTransactions: number;
  }) {
    this.#environment = options.environment;
    this.#engine = options.engine;
    this.#checkpointer = options.checkpointer;
    this.#recovered = options.recoveredTransactions;
    this.fs = new VolumeFileSystem(options.engine);
    this.quotas = options.engine.quotas;
  }

  status(): VolumeStatus {
    const { store, dataPool, writeback } = this.#engine;
    const { superblock } = this.#checkpointer;
    const { geometry } = store;
    const freeBlocks = Math.max(
      0,
      store.space.freeBlocks + store.space.comingBlocks - dataPool.dirtyBlocks,
    );
    const usedBytes = (geometry.blockCount - freeBlocks) * BLOCK_BYTES;
    const available = store.availableBlocks * BLOCK_BYTES;
    return {
      pool: superblock.name,
      uuid: uuidText(superblock.poolUuid),
      state: store.faulted !== null ? "faulted" : store.readOnly ? "read-only" : "online",
      format: `${superblock.versionMajor}.${superblock.versionMinor}`,
      sizeBytes: geometry.blockCount * BLOCK_BYTES,
      usedBytes,
      availableBytes: available,
      files: store.objectCount,
      checkpoint: {
        sequence: superblock.sequence,
        time: new Date(
          superblock.timeSeconds * 1000 + superblock.timeNanoseconds / 1e6,
        ).toISOString(),
      },
      journal: {
        sizeBytes: store.journal.sizeBytes,
        usedBytes: store.journal.usedBytes,
        replayedTransactions: this.#recovered,
      },
      devices: store.pool.members.map((member, index) => ({
        name: member.device.name,
        index,
        uuid: uuidText(superblock.deviceUuid),
        state: store.faulted !== null ? ("faulted" as const) : ("online" as const),
        sizeBytes: member.device.sizeBytes,
        usedBytes,
        readErrors: member.readErrors,
        writeErrors: member.writeErrors,
        checksumErrors: member.checksumErrors,
      })),
      cache: {
        memoryBytes: store.core.bytes.length,
        pageFrames: store.pages.frameCount,
        pageFramesFree: store.pages.freeFrames,
        pageFramesDirty: store.pages.dirtyFrames,
        bufferBlocks: dataPool.frameCount,
        bufferBlocksFree: dataPool.freeFrames,
        dirtyBlocks: dataPool.dirtyBlocks,
      },
      counters: {
        transactions: store.transactions,
        checkpoints: this.#checkpointer.count,
        checkpointPages: this.#checkpointer.pages,
        journalCommits: store.journal.commits,
        journalBytes: store.journal.committedBytes,
        pageLoads: store.pages.loads,
        pageHeals: store.pages.heals,
        dataWrites: writeback.writes,
        dataBytesWritten: writeback.writtenBytes,
      },
    };
  }

  /** What has been counted since the mount. */
  statistics(): VolumeStatistics {
    const { store, data } = this.#engine;
    return statisticsOf({ store, reader: data.reader, checkpointer: this.#checkpointer });
  }

  /** Runs a checkpoint now; ends when it is durable. Status 0 or −errno. */
  checkpoint(done: (status: number) => void): void {
    this.#checkpointer.whenDone(done);
  }

  /** Whether reads change access times from now on. */
  keepAccessTimes(isOn: boolean): void {
    this.#engine.accessTimes.isOn = isOn;
  }

  /** Makes everything durable, stops timers; the devices can be closed after it. */
  *unmount(): Task<void> {
    const { store, data } = this.#engine;
    this.#checkpointer.stop();
    this.#checkpointer.closing = true;
    this.quotas.stop();
    if (!store.readOnly && store.faulted === null) {
      for (let rounds = 0; rounds < UNMOUNT_ROUNDS_MAX; rounds++) {
        while (data.reaper.isReaping && store.faulted === null) {
          yield (resume) => {
            this.#environment.timer(1, () => resume(0));
          };
        }
        if (store.faulted !== null) break;
        const before = store.changedSinceCheckpoint || data.dirtyFiles > 0;
        if (!before && rounds > 0) break;
        const status = yield (resume) => this.#checkpointer.whenDone(resume);
        if (status < 0) break;
      }
    }
    yield (resume) => this.#checkpointer.whenIdle(resume);
    if (store.faulted !== null) {
      const cause = store.faulted instanceof Error ? store.faulted.message : String(store.faulted);
      throw new FsError(
        EIO,
        "volume/faulted",
        `The volume was unmounted after a failure; what was durable is kept: ${cause}`,
      );
    }
  }
}

const UNMOUNT_ROUNDS_MAX = 8;

/** Runs a task on an environment whose completions come from elsewhere; for callers that live in promises. */
export function runTask<T>(task: Task<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    spawn(task, (error, result) => {
      if (error !== null) reject(error);
      else resolve(result as T);
    });
  });
}

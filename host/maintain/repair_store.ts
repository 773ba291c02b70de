/**
 * The ordinary store, opened for a repair: transactions change the file system's tree in memory, and checkpoints make all
 * of them so far durable at once. The journal is replayed when it is opened and takes nothing new, so a crash finds the
 * last checkpoint and nothing else.
 *
 * Memory: what the store has; checkpoints come before its pages are all dirty.
 */
import { EIO, ENOMEM, ENOSPC } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { retrying, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import { Layout } from "../core/layout.ts";
import type { Device } from "../device/device.ts";
import { BLOCK_BYTES, RING_BLOCKS } from "../format/geometry.ts";
import { ROOT_BYTES } from "../format/page_pointer.ts";
import type { Superblock } from "../format/superblock.ts";
import { Checkpointer } from "../fs/checkpointer.ts";
import { assemble, type Engine, type Environment, journalOf, loadRegions } from "../fs/volume.ts";
import { Pool } from "../pool/pool.ts";
import { readNewest } from "../pool/superblock_set.ts";
import { checkpoint } from "../store/checkpoint.ts";
import { INTENT_SHRINK } from "../store/item_store.ts";
import { FRAMES_PER_OPERATION } from "../store/page_store.ts";
import { recover } from "../store/recovery.ts";
import type { Store } from "../store/store.ts";
import { KEY_MIN, type Key } from "./tree_walk.ts";

/** Items looked at between two returns to the loop. */
const BATCH_ITEMS = 512;
const OFFSET_MAX = 2 ** 53;
const TYPE_MAX = 255;
const REPLAY_ROUNDS_MAX = 8;

/** Something to do about an item, after it has been looked at. */
export type Fix = () => Task<void>;

/** Looks at an item. Stores nothing and asks for nothing: the item's address is good only while it runs. */
export type Visit = (
  key: Key,
  value: number,
  valueLength: number,
  later: (fix: Fix) => void,
) => void;

export class RepairStore {
  readonly core: Core;
  readonly pool: Pool;
  readonly store: Store;
  readonly #engine: Engine;
  readonly #environment: Environment;
  /** Of the last checkpoint. */
  superblock: Superblock;

  private constructor(options: {
    environment: Environment;
    pool: Pool;
    engine: Engine;
    superblock: Superblock;
  }) {
    this.core = options.environment.core;
    this.#environment = options.environment;
    this.pool = options.pool;
    this.#engine = options.engine;
    this.store = options.engine.store;
    this.superblock = options.superblock;
  }

  /**
   * Opens the newest checkpoint, whose space map must be right.
   *
   * @param reserve Takes core memory for the repair itself; the store has what is left.
   */
  static *open(
    environment: Environment,
    devices: readonly Device[],
    reserve: (layout: Layout, superblock: Superblock) => void,
  ): Task<RepairStore> {
    const { core } = environment;
    core.bytes.fill(0, core.staticEnd);
    const layout = new Layout(core);
    const buffer = layout.take(RING_BLOCKS * BLOCK_BYTES, BLOCK_BYTES);
    const pool = new Pool(devices);
    const superblock = yield* readNewest(core, pool, buffer);
    reserve(layout, superblock);
    const engine = assemble(environment, pool, superblock.geometry, layout, false);
    const { store } = engine;
    store.pages.forRepair = true;
    store.pages.generation = superblock.sequence + 1;
    store.nextObjectId = superblock.nextObjectId;
    store.objectCount = superblock.objectCount;
    store.transaction = superblock.transactionSequence;
    store.trees.forEach((tree, index) => {
      const root = superblock.roots.subarray(index * ROOT_BYTES, (index + 1) * ROOT_BYTES);
      core.bytes.set(root, tree.root);
    });
    yield* loadRegions(store);
    store.journal = journalOf(store, superblock);
    store.replaying = true;
    return new RepairStore({ environment, pool, engine, superblock });
  }

  /** Applies the journal, with one or more checkpoints after it. Returns the number of its transactions. */
  *replay(): Task<number> {
    const { store } = this;
    const { data } = this.#engine;
    const recovered = yield* recover(store, this.superblock, data.replay, true);
    // Quotas are counted by the next mount.
    store.accounting = null;
    if (recovered.transactions === 0) return 0;
    store.journal.restart(recovered.position);
    store.replaying = false;
    const checkpointer = new Checkpointer({
      store,
      superblock: this.superblock,
      hooks: {
        *flushData() {
          yield* data.flusher.flushAll(false);
        },
        relog: () => data.relog(),
      },
      timer: this.#environment.timer.bind(this.#environment),
      post: this.#environment.post.bind(this.#environment),
      intervalMs: 0,
      needed: () => true,
    });
    for (let round = 0; round < REPLAY_ROUNDS_MAX; round++) {
      const status = yield (resume) => checkpointer.whenDone(resume);
      if (status < 0 || store.faulted !== null)
        throw new FsError(EIO, "repair/replay", "Cannot write what the journal says");
      if (!store.changedSinceCheckpoint && data.dirtyFiles === 0) break;
    }
    yield (resume) => checkpointer.whenIdle(resume);
    this.superblock = checkpointer.superblock;
    store.replaying = true;
    return recovered.transactions;
  }

  /** Changes the tree in one transaction: looks at every key that it changes before it changes the first. */
  *transaction(change: () => void): Task<void> {
    const { store } = this;
    const { pages } = store;
    const spare = FRAMES_PER_OPERATION + Math.ceil(store.geometry.regionCount / 100) + 40;
    const isFull = pages.dirtyFrames > pages.frameCount >> 1 || !pages.makeFree(spare);
    if (isFull || store.space.pendingIsLarge) yield* this.checkpoint();
    if (!pages.makeFree(spare)) {
      throw new FsError(
        ENOMEM,
        "repair/memory",
        "Cannot repair within this memory; give it a larger --memory",
      );
    }
    yield* retrying(() => {
      if (store.begin(INTENT_SHRINK) < 0) {
        throw new FsError(
          ENOSPC,
          "repair/no-space",
          "Cannot repair: no space is left for the pages that it writes",
        );
      }
      change();
      store.commit();
    });
  }

  /** Runs what only looks at the tree. */
  *look<T>(operation: () => T): Task<T> {
    return yield* retrying(operation);
  }

  /** Makes all transactions so far durable, if there are any. */
  *checkpoint(): Task<void> {
    const { store } = this;
    if (!store.changedSinceCheckpoint) return;
    const { journalSequence, journalBlock, journalChain } = this.superblock;
    const result = yield* checkpoint(
      store,
      { *flushData() {}, relog: () => false },
      this.superblock,
      {
        clean: false,
        replayPosition: {
          sequence: journalSequence,
          block: journalBlock,
          chain: journalChain,
        },
      },
    );
    this.superblock = result.superblock;
  }

  /** Waits until nothing is under way: then the memory can be used for something else. */
  *close(): Task<void> {
    const { pages } = this.store;
    while (pages.loadsUnderWay > 0) {
      yield (resume) => {
        this.#environment.timer(1, () => resume(0));
      };
    }
    yield* pages.settleHeals();
  }

  /**
   * Visits the items from a key on, each once, in order; what a visit asks for is done before the next.
   *
   * @param to Where to end: before this key.
   */
  *walk(visit: Visit, from: Key = KEY_MIN, to: Key | null = null): Task<void> {
    const { store } = this;
    let { oid, type, offset } = from;
    let done = false;
    while (!done) {
      const fixes: Fix[] = [];
      const later = (fix: Fix): void => {
        fixes.push(fix);
      };
      let budget = BATCH_ITEMS;
      yield* retrying(() => {
        for (let found = store.seek(oid, type, offset); found; found = store.next()) {
          const key: Key = { oid: store.keyOid, type: store.keyType, offset: store.keyOffset };
          if (to !== null && isAtOrBehind(key, to)) break;
          visit(key, store.valueAddress, store.valueLength, later);
          ({ oid, type, offset } = after(key));
          if (oid > OFFSET_MAX) break;
          if (fixes.length > 0 || --budget === 0) return;
        }
        done = true;
      });
      for (const fix of fixes) yield* fix();
      // The loop gets a turn: for signals, and for what was posted.
      yield (resume) => this.#environment.post(() => resume(0));
    }
  }
}

function isAtOrBehind(key: Key, end: Key): boolean {
  return (key.oid - end.oid || key.type - end.type || key.offset - end.offset) >= 0;
}

/** The next key that there can be. */
function after(key: Key): Key {
  if (key.offset < OFFSET_MAX) return { ...key, offset: key.offset + 1 };
  if (key.type < TYPE_MAX) return { oid: key.oid, type: key.type + 1, offset: 0 };
  return { oid: key.oid + 1, type: 0, offset: 0 };
}

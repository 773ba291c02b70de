/**
 * A checkpoint makes the state of one instant durable: SPEC §8.
 *
 * 1. Buffered data is written to its extents (by the data half), while operations go on.
 * 2. In one synchronous step the generation is closed: the items of dirty regions are put, all checksums of new pages
 *    are computed bottom-up, roots and counters are copied, and the next generation is opened.
 * 3. Bitmaps and pages, now immutable, are written, while operations go on in the next generation.
 * 4. Barrier; the superblock's slot in both rings; barrier. Then what was freed can be reused, and the journal's head
 *    moves.
 *
 * A crash before the second barrier finds the checkpoint before, with the whole journal since; after it, this one.
 */
import { assert } from "../base/assert.ts";
import { EIO, ENOSPC } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Retry } from "../base/retry.ts";
import { retrying, type Task } from "../base/task.ts";
import { ROOT_BYTES, TREE_COUNT } from "../format/page_pointer.ts";
import { ITEM_REGION, REGION_BYTES } from "../format/region.ts";
import type { Superblock } from "../format/superblock.ts";
import type { JournalPosition } from "../journal/journal.ts";
import { writeSuperblock } from "../pool/superblock_set.ts";
import type { SealedPage } from "./page_store.ts";
import type { Store } from "./store.ts";

const GATHER_TRIES_MAX = 1000;

/** What the data half does around the synchronous step. */
export interface CheckpointHooks {
  /** Writes what is buffered at the start; ends early under pressure, since nothing depends on it being complete. */
  flushData(): Task<void>;
  /**
   * Called after the generation has been closed: buffered data that only the journal before this instant holds is
   * appended again. Returns whether there was any: then the journal is committed before the superblock.
   */
  relog(): boolean;
}

export interface CheckpointResult {
  readonly superblock: Superblock;
  readonly pages: number;
  readonly regions: number;
}

/**
 * Runs one checkpoint. Only one may run at a time.
 *
 * @param previous The superblock of the last checkpoint, whose identity the new one keeps.
 * @param replayPosition During recovery, where replay has got to; otherwise the journal's end.
 */
export function* checkpoint(
  store: Store,
  hooks: CheckpointHooks,
  previous: Superblock,
  options: { clean: boolean; replayPosition: JournalPosition | null },
): Task<CheckpointResult> {
  const { core, pages, space } = store;
  yield* hooks.flushData();

  yield* gather(store);

  // --- the synchronous step ---
  const generation = pages.generation;
  const images = space.closeGeneration((image) => {
    const value = store.scratchAddress;
    space.encodeImage(image, generation, value);
    store.spaceTree.put(0, ITEM_REGION, image.region, value, REGION_BYTES);
  });
  const sealed: SealedPage[] = [];
  for (const tree of store.trees) pages.seal(tree.root, sealed);
  const roots = new Uint8Array(TREE_COUNT * ROOT_BYTES);
  store.trees.forEach((tree, index) => {
    roots.set(core.bytes.subarray(tree.root, tree.root + ROOT_BYTES), index * ROOT_BYTES);
  });
  const position = options.replayPosition ?? store.journal.position();
  const tail = store.journal.tail;
  const transaction = store.transaction;
  const superblock: Superblock = {
    ...previous,
    sequence: generation,
    transactionSequence: transaction,
    journalSequence: position.sequence,
    journalBlock: position.block,
    journalChain: position.chain,
    nextObjectId: store.nextObjectId,
    objectCount: store.objectCount,
    clean: options.clean,
    timeSeconds: store.clock.seconds(),
    timeNanoseconds: store.clock.nanoseconds(),
    freeBlocks: space.freeBlocks + space.comingBlocks + space.unreferencedBlocks,
    roots,
  };
  pages.generation = generation + 1;
  store.changedSinceCheckpoint = false;
  store.pressure = false;
  const relogged = hooks.relog();
  // --- end of the synchronous step ---

  yield* space.writeImages(images);
  yield* pages.writeSealed(sealed);
  yield* pages.settleHeals();
  if (relogged) {
    const status = yield (resume) => store.journal.commit(resume, true);
    if (status < 0)
      throw new FsError(EIO, "checkpoint/relog", `Cannot write the journal: error ${status}`);
  }
  yield* barrier(store);
  yield* writeSuperblock(core, store.pool, superblock, store.blockBuffer);
  yield* barrier(store);

  pages.markClean(sealed);
  space.commitGeneration(images);
  if (options.replayPosition === null) store.journal.release(tail, transaction);
  return { superblock, pages: sealed.length, regions: images.length };
}

function* barrier(store: Store): Task<void> {
  const status = yield store.pool.flush();
  if (status < 0)
    throw new FsError(EIO, "checkpoint/flush", `Cannot flush a device: error ${status}`);
}

/**
 * Brings into memory what the synchronous step needs: bitmaps of dirty regions, and pages of the space tree that hold
 * their items, copied into the open generation; and puts what is kept account of. Copying a page takes and frees blocks, which may make more regions
 * dirty, and operations go on meanwhile: repeats until a pass finds nothing new. Ends without waiting after that pass.
 */
function* gather(store: Store): Task<void> {
  const { pages, space, spaceTree } = store;
  for (let tries = 0; tries < GATHER_TRIES_MAX; tries++) {
    yield* space.attachDirty();
    const { accounting } = store;
    const needed =
      Math.min(Math.ceil(store.geometry.regionCount / 100) + 16, space.dirtyRegionCount * 2 + 24) +
      (accounting?.pagesMax ?? 0);
    const ready = yield* retrying(() => space.readyPages(needed));
    if (ready < 0 && space.readyPageCount < 16) {
      throw new FsError(
        ENOSPC,
        "checkpoint/no-space",
        "Cannot write a checkpoint: no space is left for its pages",
      );
    }
    const regions = [...space.dirtyRegions];
    for (const region of regions) yield* retrying(() => spaceTree.touch(0, ITEM_REGION, region));
    if (accounting !== null) yield* accounting.gather();
    if (!pages.makeFree(needed)) {
      throw new FsError(
        EIO,
        "checkpoint/no-frames",
        "Cannot write a checkpoint: the page cache is full of new pages",
      );
    }
    // Usage first: a page that it copies makes regions dirty.
    const isPut = store.accounting?.putUsage() ?? true;
    if (isPut && putPlaceholders(store) && space.allDirtyAttached) {
      assert(space.imagesFit, "more dirty regions than buffers for their images");
      return;
    }
  }
  throw new FsError(
    EIO,
    "checkpoint/no-progress",
    "Cannot gather what a checkpoint needs in memory",
  );
}

/** Puts an item for every dirty region, also those that this makes dirty. False if a page was missing. */
function putPlaceholders(store: Store): boolean {
  const value = store.scratchAddress;
  store.core.exports.bytes_fill(value, 0, REGION_BYTES);
  const regions = store.space.dirtyRegions;
  try {
    for (let i = 0; i < regions.length; i++) {
      store.spaceTree.put(0, ITEM_REGION, regions[i] as number, value, REGION_BYTES);
    }
  } catch (error) {
    if (error instanceof Retry) return false;
    throw error;
  }
  return true;
}

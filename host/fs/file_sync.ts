/**
 * fsync and sync: puts buffered data into the journal when it is little, into extents when it is much, and commits.
 */
import { EIO } from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
import { retrying, spawn, type Task } from "../base/task.ts";
import type { Done } from "../device/device.ts";
import { INTENT_SHRINK } from "../store/item_store.ts";
import type { Store } from "../store/store.ts";
import type { DirtyFile } from "./dirty_file.ts";
import type { DirtyFiles } from "./dirty_files.ts";
import { type Flusher, LOGGED_BLOCKS_MAX } from "./flusher.ts";
import type { Writeback } from "./writeback.ts";

/** fsync puts at most this much data into the journal; more goes to its extents first. */
const LOG_BLOCKS_PER_SYNC = 64;
/** From here on logged files are written back in the background, so that the limit is seldom met. */
const LOGGED_BLOCKS_SOFT = 192;

export class FileSync {
  readonly #store: Store;
  readonly #files: DirtyFiles;
  readonly #flusher: Flusher;
  readonly #writeback: Writeback;

  constructor(options: {
    store: Store;
    files: DirtyFiles;
    flusher: Flusher;
    writeback: Writeback;
  }) {
    this.#store = options.store;
    this.#files = options.files;
    this.#flusher = options.flusher;
    this.#writeback = options.writeback;
  }

  fsync(ino: number, done: Done): void {
    spawn(this.#fsync(ino), (error, status) => {
      if (error !== null) this.#store.fault(error);
      done(error !== null ? -EIO : (status as number));
    });
  }

  *#fsync(ino: number): Task<number> {
    if (this.#store.faulted !== null) return -EIO;
    const file = this.#files.get(ino);
    if (file !== undefined) {
      const status = yield* this.#makeLoggable(file);
      if (status < 0) return status;
    }
    if (this.#store.faulted !== null) return -EIO;
    return yield (resume) => this.#store.commitJournal(resume);
  }

  /** Puts a file's buffered data into the journal's open half, or into extents when it is much. */
  *#makeLoggable(file: DirtyFile): Task<number> {
    for (;;) {
      // What is being written goes into the journal as an extent, before newer data of the same blocks.
      if (!this.#isLoggable(file) && file.inFlight > 0) yield (resume) => file.whenIdle(resume);
      if (this.#files.get(file.ino) !== file) return 0;
      if (file.error !== 0) {
        const error = file.error;
        file.error = 0;
        this.#files.settle(file);
        return error;
      }
      if (this.#isLoggable(file)) {
        const status = yield* retrying(() => {
          if (this.#writeback.putInlineNow(file)) return 0;
          // After a wait for room the blocks may be on their way to an extent.
          return this.#isLoggable(file) ? this.#log(file) : NOT_LOGGABLE;
        });
        if (status === NOT_LOGGABLE) continue;
        return status;
      }
      if (this.#store.faulted !== null) return -EIO;
      const dirty = this.#files.dirtyCount(file);
      if (dirty === 0 && file.inFlight === 0) return 0;
      yield* this.#writeback.start(file);
      this.#writeback.kick();
    }
  }

  #isLoggable(file: DirtyFile): boolean {
    return (
      file.canLogNow &&
      file.unlogged !== null &&
      file.unloggedBlocks <= LOG_BLOCKS_PER_SYNC &&
      this.#files.loggedBlocks + file.unloggedBlocks <= LOGGED_BLOCKS_MAX
    );
  }

  #log(file: DirtyFile): number {
    if (file.unlogged === null || file.unlogged.length === 0) return 0;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    this.#files.log(file, file.unlogged);
    this.#store.commit();
    for (let i = 0; i < file.unlogged.length; i += 2)
      this.#files.noteLogged(file, file.unlogged[i] as number, file.unlogged[i + 1] as number);
    file.unlogged.length = 0;
    file.unloggedBlocks = 0;
    if (this.#files.loggedBlocks - this.#writeback.loggedInFlight > LOGGED_BLOCKS_SOFT) {
      this.#flusher.start(this.#files.all().filter((other) => other.logged.size > 0));
    }
    return 0;
  }

  /** Everything durable: data to extents or journal, then one commit. */
  sync(done: Done): void {
    spawn(this.#sync(), (error, status) => {
      if (error !== null) this.#store.fault(error);
      done(error !== null ? -EIO : (status as number));
    });
  }

  *#sync(): Task<number> {
    // Blocks written again while older data of theirs is in flight are left out the first time.
    for (let round = 0; round < 2; round++) yield* this.#flusher.flushAll(true);
    let failed = 0;
    for (const file of this.#files.all()) if (file.error !== 0) failed = file.error;
    if (this.#store.faulted !== null) return -EIO;
    const status = yield (resume) => this.#store.commitJournal(resume);
    return status < 0 ? status : failed;
  }

  /** At a checkpoint's instant: what only the journal before it holds is appended again. */
  relog(): boolean {
    if (this.#files.loggedBlocks === 0) return false;
    let any = false;
    for (const file of this.#files.all()) {
      if (file.logged.size === 0) continue;
      if (!any) this.#store.openRelog();
      any = true;
      this.#files.log(file, pairsOf(file.logged));
    }
    if (any) this.#store.commit();
    return any;
  }

  /** Makes the file's buffered data part of the journal before what the open transaction is about to append. */
  orderData(ino: number): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    // All of it is in extents: the trees have it.
    const dirty = this.#files.dirtyCount(file);
    if (file.inFlight === 0 && dirty === 0) return;
    if (this.#writeback.putInlineNow(file)) return;
    if (!this.#isLoggable(file)) {
      throw new Retry((resume) => {
        spawn(this.#makeLoggable(file), (error, status) =>
          resume(error !== null ? -EIO : Math.min(0, status as number)),
        );
      });
    }
    this.#log(file);
  }
}

/** Blocks as pairs (first, count), in order. */
function pairsOf(blocks: ReadonlySet<number>): number[] {
  const pairs: number[] = [];
  for (const block of [...blocks].sort((a, b) => a - b)) {
    const last = pairs.length - 2;
    if (last >= 0 && (pairs[last] as number) + (pairs[last + 1] as number) === block)
      (pairs[last + 1] as number)++;
    else pairs.push(block, 1);
  }
  return pairs;
}

/** Not a status of fsync: the blocks must go to extents, or another attempt be made later. */
const NOT_LOGGABLE = 1;

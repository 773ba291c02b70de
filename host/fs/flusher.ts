/**
 * When buffered data is written back: eagerly for files with much of it, in the background when the pool fills, all of
 * it at a checkpoint or a sync.
 */
import { EROFS } from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
import { spawn, type Task } from "../base/task.ts";
import type { Store } from "../store/store.ts";
import type { DirtyFile } from "./dirty_file.ts";
import type { DirtyFiles } from "./dirty_files.ts";
import type { Writeback } from "./writeback.ts";

/** A file with this much buffered is written back at once: large enough for whole extents. */
const EAGER_BLOCKS = 1024;
/** How long a checkpoint waits for data that is being written. */
const FLUSH_MS_MAX = 500;
/** Logged and not yet written to extents, over all files: a checkpoint may have to append it again. */
export const LOGGED_BLOCKS_MAX = 512;

export class Flusher {
  readonly #store: Store;
  readonly #files: DirtyFiles;
  readonly #writeback: Writeback;
  #flushing = false;
  #flushAgain = false;
  #progressWaiters: ((status: number) => void)[] = [];

  constructor(options: { store: Store; files: DirtyFiles; writeback: Writeback }) {
    this.#store = options.store;
    this.#files = options.files;
    this.#writeback = options.writeback;
    this.#writeback.onPieceDone = (file) => this.pieceDone(file);
    this.#writeback.onWritten = (file, first, count) => this.#files.unlog(file, first, count);
    this.#files.pool.onShortage = () => this.start(this.#files.all());
    this.#store.onPressure = () => this.progress();
  }

  /** Starts what a write has made due. */
  afterWrite(file: DirtyFile): void {
    const dirty = this.#files.dirtyCount(file);
    if (dirty >= EAGER_BLOCKS) this.start([file]);
    else if (this.#files.pool.dirtyBlocks > this.#files.pool.frameCount >> 2)
      this.start(this.#files.all());
  }

  /** Starts the write-back of these files, unless one is under way: then all files are looked at after it. */
  start(files: readonly DirtyFile[]): void {
    if (this.#flushing) {
      this.#flushAgain = true;
      return;
    }
    this.#flushing = true;
    spawn(this.#flush(files), (error) => {
      this.#flushing = false;
      if (error !== null) this.#store.fault(error);
      else if (this.#flushAgain) {
        // Somebody asked meanwhile, for files that may not have been on the list.
        this.#flushAgain = false;
        this.start(this.#files.all());
      } else if (!this.#files.all().some((file) => file.inFlight > 0)) {
        // No piece will end that could wake anybody.
        this.progress();
      }
    });
  }

  *#flush(files: readonly DirtyFile[]): Task<void> {
    for (const file of files) {
      if (this.#files.get(file.ino) !== file || file.closed) continue;
      yield* this.#writeback.start(file);
      this.#files.settle(file);
    }
    this.#writeback.kick();
  }

  /** Writes back what is buffered now; ends early under pressure, unless all of it is wanted. */
  *flushAll(untilDurable: boolean): Task<void> {
    const files = this.#files.all();
    const until = this.#store.clock.monotonicMs() + FLUSH_MS_MAX;
    // On its own: a step of it may wait for the very checkpoint that called.
    let started = false;
    spawn(this.#flush(files), (error) => {
      if (error !== null) this.#store.fault(error);
      started = true;
      this.progress();
    });
    while (!started || files.some((file) => file.inFlight > 0)) {
      if (this.#store.faulted !== null) return;
      // Nothing depends on it: a file that is written to all the time must not hold up a checkpoint.
      if (!untilDurable && (this.#store.pressure || this.#store.clock.monotonicMs() > until))
        return;
      yield (resume) => this.#progressWaiters.push(resume);
    }
  }

  /** Throws a Retry that ends when some of what is buffered has been written back. */
  waitForProgress(): never {
    throw new Retry((resume) => this.#awaitFlush(this.#files.all(), resume));
  }

  /** Throws a Retry that ends when less buffered data is in the journal alone. */
  waitForLogged(): never {
    throw new Retry((resume) => {
      const logged = this.#files.all().filter((other) => other.logged.size > 0);
      this.#awaitFlush(logged, resume);
    });
  }

  /** After a failure nothing is written back any more: who waited for it would wait, or try, for ever. */
  #awaitFlush(files: readonly DirtyFile[], resume: (status: number) => void): void {
    if (this.#store.faulted !== null) {
      resume(-EROFS);
      return;
    }
    this.#progressWaiters.push(resume);
    this.start(files);
  }

  /** A piece of a file has been written. */
  pieceDone(file: DirtyFile): void {
    this.#files.settle(file);
    this.progress();
  }

  /** Wakes those who wait for write-back to get on. */
  progress(): void {
    const waiters = this.#progressWaiters;
    this.#progressWaiters = [];
    for (const resume of waiters) resume(0);
  }
}

/** When checkpoints run: periodically, on pressure, on demand; one at a time. */
import { EIO } from "../base/errno.ts";
import { spawn } from "../base/task.ts";
import type { Superblock } from "../format/superblock.ts";
import { type CheckpointHooks, checkpoint } from "../store/checkpoint.ts";
import type { Store } from "../store/store.ts";

export class Checkpointer {
  readonly #store: Store;
  readonly #hooks: CheckpointHooks;
  readonly #timer: (delayMs: number, callback: () => void) => () => void;
  readonly #post: (callback: () => void) => void;
  readonly #intervalMs: number;
  readonly #needed: () => boolean;
  #running = false;
  #requested = false;
  /** Asked for while one was running: another follows. */
  #again = false;
  #waiters: ((status: number) => void)[] = [];
  /** Those who came while one was running, and wait for the next. */
  #nextWaiters: ((status: number) => void)[] = [];
  #idleWaiters: ((status: number) => void)[] = [];
  #cancel: (() => void) | null = null;
  #stopped = true;

  /** Of the last durable checkpoint. */
  superblock: Superblock;
  /** The volume is being unmounted: checkpoints say so. */
  closing = false;
  count = 0;
  pages = 0;
  /** Milliseconds from start to durable: of the last one, the longest, and of all. */
  lastMs = 0;
  maxMs = 0;
  totalMs = 0;

  constructor(options: {
    store: Store;
    superblock: Superblock;
    hooks: CheckpointHooks;
    timer: (delayMs: number, callback: () => void) => () => void;
    post: (callback: () => void) => void;
    intervalMs: number;
    /** Whether anything changed since the last checkpoint. */
    needed: () => boolean;
  }) {
    this.#store = options.store;
    this.superblock = options.superblock;
    this.#hooks = options.hooks;
    this.#timer = options.timer;
    this.#post = options.post;
    this.#intervalMs = options.intervalMs;
    this.#needed = options.needed;
    // While one runs what made somebody ask is about to pass; if it does not, the next operation asks again.
    this.#store.requestCheckpoint = () => {
      if (!this.#running) this.#request();
    };
    this.#store.whenCheckpointed = (resume) => this.#whenRelieved(resume);
  }

  start(): void {
    this.#stopped = false;
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
    this.#cancel = null;
  }

  /** Resumes when a checkpoint that contains everything up to now is durable. */
  whenDone(resume: (status: number) => void): void {
    if (this.#running) this.#nextWaiters.push(resume);
    else this.#waiters.push(resume);
    this.#request();
  }

  /** Resumes when any checkpoint has ended: who waits for memory or space looks again, and asks again if he must. */
  #whenRelieved(resume: (status: number) => void): void {
    this.#waiters.push(resume);
    if (!this.#running) this.#request();
  }

  whenIdle(resume: (status: number) => void): void {
    if (!this.#running) resume(0);
    else this.#idleWaiters.push(resume);
  }

  #arm(): void {
    if (this.#stopped) return;
    this.#cancel = this.#timer(this.#intervalMs, () => {
      if (this.#needed()) this.#request();
      this.#arm();
    });
  }

  #request(): void {
    if (this.#running) {
      this.#again = true;
      return;
    }
    if (this.#requested) return;
    this.#requested = true;
    this.#post(() => this.#run());
  }

  #run(): void {
    this.#requested = false;
    if (this.#running) return;
    const store = this.#store;
    if (store.faulted !== null || store.readOnly) {
      this.#wake(-EIO);
      return;
    }
    this.#running = true;
    const startMs = store.clock.monotonicMs();
    spawn(
      checkpoint(store, this.#hooks, this.superblock, {
        clean: this.closing,
        replayPosition: null,
      }),
      (error, result) => {
        this.#running = false;
        if (error !== null || result === undefined) {
          store.fault(error);
          this.#wake(-EIO);
        } else {
          this.superblock = result.superblock;
          this.count++;
          this.lastMs = store.clock.monotonicMs() - startMs;
          this.maxMs = Math.max(this.maxMs, this.lastMs);
          this.totalMs += this.lastMs;
          this.pages += result.pages;
          this.#wake(0);
        }
        this.#waiters.push(...this.#nextWaiters);
        this.#nextWaiters = [];
        if (this.#again) {
          this.#again = false;
          this.#request();
        }
        const idle = this.#idleWaiters;
        this.#idleWaiters = [];
        for (const resume of idle) resume(0);
      },
    );
  }

  #wake(status: number): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resume of waiters) resume(status);
  }
}

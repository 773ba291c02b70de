/**
 * An engine without time and threads: one core, devices in memory, and a queue that runs until it is empty. Everything is
 * synchronous, so that a test is a plain function and fails the same way each time.
 */
import type { Clock } from "../../host/base/clock.ts";
import { Prng } from "../../host/base/prng.ts";
import { Retry } from "../../host/base/retry.ts";
import { spawn, type Task } from "../../host/base/task.ts";
import type { Core } from "../../host/core/core.ts";
import { loadCore } from "../../host/core/load.ts";
import { MemoryDevice } from "../../host/device/memory_device.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import type { Environment } from "../../host/fs/volume.ts";

export class MemoryEngine {
  readonly core: Core;
  readonly environment: Environment;
  readonly logged: { level: string; event: string; fields: Record<string, unknown> }[] = [];
  readonly #queue: (() => void)[] = [];
  #now = 1_700_000_000_000;

  constructor(options: { memoryBytes?: number; seed?: number } = {}) {
    this.core = loadCore({ memoryPages: (options.memoryBytes ?? 48 << 20) / 65536 });
    const prng = new Prng(options.seed ?? 1);
    const clock: Clock = {
      seconds: () => Math.floor((this.#now += 1) / 1000),
      nanoseconds: () => (this.#now % 1000) * 1_000_000,
      monotonicMs: () => this.#now,
    };
    this.environment = {
      core: this.core,
      clock,
      // Only waits for something that is about to happen end; checkpoints come when a test asks for them.
      timer: (delayMs, callback) => {
        let cancelled = false;
        if (delayMs < 100) {
          this.post(() => {
            if (!cancelled) callback();
          });
        }
        return () => {
          cancelled = true;
        };
      },
      post: (callback) => this.post(callback),
      randomBytes: (target) => prng.bytes(target),
      log: (level, event, fields) => {
        this.logged.push({ level, event, fields });
      },
    };
  }

  post(callback: () => void): void {
    this.#queue.push(callback);
  }

  /** Runs what was posted, and what that posts, until nothing is left. */
  drain(): void {
    for (let turn = 0; this.#queue.length > 0; turn++) {
      if (turn > 50_000_000) throw new Error("The queue never becomes empty");
      const batch = this.#queue.splice(0);
      for (const callback of batch) callback();
    }
  }

  /** Runs a task to its end. */
  run<T>(task: Task<T>): T {
    let outcome: { error: unknown; result: T | undefined } | undefined;
    spawn(task, (error, result) => {
      outcome = { error, result };
    });
    this.drain();
    if (outcome === undefined) throw new Error("The task waits for something that never comes");
    if (outcome.error !== null) throw outcome.error;
    return outcome.result as T;
  }

  /** Runs an operation until it does not ask to be run again. */
  retry(operation: () => number): number {
    for (;;) {
      try {
        return operation();
      } catch (error) {
        if (!(error instanceof Retry)) throw error;
        const { wait } = error;
        const status = this.run(
          (function* (): Task<number> {
            return yield wait;
          })(),
        );
        if (status < 0) return status;
      }
    }
  }

  device(sizeBytes: number, contents?: SparseBytes): MemoryDevice {
    return new MemoryDevice({
      core: this.core,
      scheduler: this,
      sizeBytes,
      ...(contents === undefined ? {} : { contents }),
    });
  }
}

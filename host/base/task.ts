import { errnoName } from "./errno.ts";
import { FsError } from "./fs_error.ts";
import { Retry } from "./retry.ts";

/**
 * Generator tasks: long work that waits for I/O without promises, so that it is resumed synchronously by the completion
 * and runs the same way under a simulator. A task yields a `Wait`; the scheduler starts it and sends back its status.
 */
export type Wait = (resume: (status: number) => void) => void;
export type Task<T> = Generator<Wait, T, number>;

/**
 * Runs a task until it ends.
 *
 * @param done Called exactly once, with the error that the task threw or null, and its result.
 */
export function spawn<T>(
  task: Task<T>,
  done: (error: unknown, result: T | undefined) => void,
): void {
  let running = false;
  let pending = false;
  let pendingStatus = 0;
  const step = (status: number): void => {
    if (running) {
      // The wait completed synchronously, inside its own start: the loop below picks it up.
      pending = true;
      pendingStatus = status;
      return;
    }
    running = true;
    let next = status;
    for (;;) {
      let item: IteratorResult<Wait, T>;
      try {
        item = task.next(next);
      } catch (error) {
        running = false;
        done(error, undefined);
        return;
      }
      if (item.done === true) {
        running = false;
        done(null, item.value);
        return;
      }
      pending = false;
      item.value(step);
      if (!pending) break;
      next = pendingStatus;
    }
    running = false;
  };
  step(0);
}

/** Runs a synchronous operation inside a task, waiting and running it again while it throws Retry. */
export function* retrying<T>(operation: () => T): Task<T> {
  for (;;) {
    try {
      return operation();
    } catch (error) {
      if (!(error instanceof Retry)) throw error;
      const status = yield error.wait;
      if (status < 0) throw new RetryFailed(status);
    }
  }
}

/** A wait inside `retrying` failed: its status is −errno; what exactly failed was logged where it did. */
export class RetryFailed extends FsError {
  readonly status: number;

  constructor(status: number) {
    super(-status, "task/wait-failed", `Cannot load what is needed: ${errnoName(status)}`);
    this.status = status;
  }
}

/** Starts all waits at once and resumes with the first failure, or 0, when the last has completed. */
export function all(waits: readonly Wait[]): Wait {
  return (resume) => {
    let left = waits.length;
    let first = 0;
    if (left === 0) {
      resume(0);
      return;
    }
    for (const wait of waits) {
      wait((status) => {
        if (status < 0 && first === 0) first = status;
        if (--left === 0) resume(first);
      });
    }
  };
}

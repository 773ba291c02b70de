/**
 * An engine for many short lives: one core, made empty again for each, and a queue in which time is counted in steps.
 *
 * - Calls into the core, turns of the queue and reads of the device are counted. What needs more than a limit is taken
 *   for an endless loop, whether it loops in one call or from turn to turn.
 * - What is logged as an error because of anything but an FsError is a fault, also where the engine lived on.
 */
import type { Clock } from "../../host/base/clock.ts";
import { errnoName } from "../../host/base/errno.ts";
import { FsError } from "../../host/base/fs_error.ts";
import { Prng } from "../../host/base/prng.ts";
import { Retry } from "../../host/base/retry.ts";
import { spawn, type Task } from "../../host/base/task.ts";
import type { CoreExports } from "../../host/core/abi.ts";
import { Core } from "../../host/core/core.ts";
import { loadCore } from "../../host/core/load.ts";
import { MemoryDevice } from "../../host/device/memory_device.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import type { Environment } from "../../host/fs/volume.ts";
import { Fault } from "./target.ts";

/** The least that an engine is given. */
const MEMORY_BYTES = 32 << 20;
const STEPS_MAX = 3_000_000;
const TURNS_MAX = 50_000;
/** How the text of an error begins that is no FsError: an assertion, a trap, or what the language throws. */
const UNEXPECTED = /^(?!FsError)\w*(Error|Fault)\b/;

type AnyFunction = (...args: number[]) => number;

export class FuzzEngine {
  readonly core: Core;
  readonly environment: Environment;
  /** What the engine logged in this life: "event reason". */
  readonly logged: string[] = [];
  steps = 0;
  #turns = 0;
  #queue: (() => void)[] = [];
  #now = 1_700_000_000_000;
  #prng = new Prng(1);
  #fault: Fault | null = null;
  readonly #pristine: Uint8Array;

  constructor(memoryBytes: number = MEMORY_BYTES) {
    const loaded = loadCore({ memoryPages: memoryBytes / 65536 });
    this.#pristine = loaded.bytes.slice(0, loaded.staticEnd);
    this.core = new Core(this.#counted(loaded.exports), loaded.memory);
    const clock: Clock = {
      seconds: () => Math.floor((this.#now += 1) / 1000),
      nanoseconds: () => (this.#now % 1000) * 1_000_000,
      monotonicMs: () => this.#now,
    };
    this.environment = {
      core: this.core,
      clock,
      // Only waits for something that is about to happen end; checkpoints come when they are asked for.
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
      randomBytes: (target) => this.#prng.bytes(target),
      log: (level, event, fields) => this.#log(level, event, fields),
    };
  }

  /** Begins a new life: nothing is left of the one before. */
  reset(): void {
    const { bytes, staticEnd } = this.core;
    bytes.set(this.#pristine, 0);
    bytes.fill(0, staticEnd);
    this.logged.length = 0;
    this.steps = 0;
    this.#turns = 0;
    this.#queue = [];
    this.#now = 1_700_000_000_000;
    this.#prng = new Prng(1);
    this.#fault = null;
  }

  post(callback: () => void): void {
    this.#queue.push(callback);
  }

  /** Runs what was posted, and what that posts, until nothing is left. */
  drain(): void {
    while (this.#queue.length > 0) {
      this.#turns += 1;
      if (this.#turns > TURNS_MAX) this.#fail(new Fault(`it goes on for ${TURNS_MAX} turns`));
      const batch = this.#queue;
      this.#queue = [];
      for (const callback of batch) callback();
    }
  }

  /** Throws what went wrong behind the caller's back. */
  check(): void {
    if (this.#fault !== null) throw this.#fault;
  }

  /** Runs a task to its end. @throws {FsError} Its own; {Fault} anything else. */
  run<T>(task: Task<T>, what: string): T {
    let outcome: { error: unknown; result: T | undefined } | undefined;
    spawn(task, (error, result) => {
      outcome = { error, result };
    });
    this.drain();
    this.check();
    if (outcome === undefined) throw new Fault(`${what} waits for something that never comes`);
    if (outcome.error !== null) throw expected(outcome.error, what);
    return outcome.result as T;
  }

  /** Runs an operation until it does not ask to be run again: its status, also that of an FsError. */
  call(operation: () => number, what: string): number {
    for (;;) {
      try {
        const status = operation();
        if (typeof status !== "number" || Number.isNaN(status))
          throw new Fault(`${what} gives ${status}`);
        this.check();
        return status;
      } catch (error) {
        if (!(error instanceof Retry)) {
          const known = expected(error, what);
          this.check();
          return known.errno;
        }
        const { wait } = error;
        const status = this.wait((resume) => wait(resume), what);
        if (status < 0) return status;
      }
    }
  }

  /** Starts something that completes. */
  wait(start: (resume: (status: number) => void) => void, what: string): number {
    let result: number | undefined;
    start((status) => {
      result = status;
    });
    this.drain();
    this.check();
    if (result === undefined) throw new Fault(`${what} waits for something that never comes`);
    return result;
  }

  device(contents: SparseBytes, readOnly = false): MemoryDevice {
    const { sizeBytes } = contents;
    return new MemoryDevice({ core: this.core, scheduler: this, sizeBytes, contents, readOnly });
  }

  /** The exports that loops of the host call in each round, counted. */
  #counted(exports: CoreExports): CoreExports {
    const counted: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(exports)) {
      const counts = /^(tree_|page_|cache_|space_|xxh3_|bytes_|dirty_|coalesce_)/.test(name);
      if (typeof value !== "function" || !counts) {
        counted[name] = value;
        continue;
      }
      const call = value as AnyFunction;
      // Of what is given too much, a function of the core takes no notice.
      counted[name] = (
        a: number,
        b: number,
        c: number,
        d: number,
        e: number,
        f: number,
        g: number,
        h: number,
        i: number,
        j: number,
        k: number,
      ): number => {
        this.steps += 1;
        if (this.steps > STEPS_MAX)
          this.#fail(new Fault(`it makes more than ${STEPS_MAX} calls of the core`));
        return call(a, b, c, d, e, f, g, h, i, j, k);
      };
    }
    return counted as unknown as CoreExports;
  }

  #fail(fault: Fault): never {
    this.#fault ??= fault;
    throw fault;
  }

  #log(level: string, event: string, fields: Record<string, unknown>): void {
    const text = `${event} ${fields["problem"] ?? fields["reason"] ?? ""}`;
    if (this.logged.length < 1000) this.logged.push(text);
    if (level !== "error") return;
    for (const cause of [fields["cause"], fields["stack"]].map(String))
      if (UNEXPECTED.test(cause)) this.#fault ??= new Fault(`${event}: ${cause}`);
  }
}

/** An FsError that hides no other error, or a fault. */
export function expected(error: unknown, what: string): FsError {
  if (!(error instanceof FsError))
    throw error instanceof Fault
      ? error
      : new Fault(
          `${what}: ${error instanceof Error ? `${error.name}: ${error.message}` : error}`,
          {
            cause: error,
          },
        );
  if (error.cause instanceof Error && !(error.cause instanceof FsError))
    throw new Fault(`${what}: ${error.cause.name}: ${error.cause.message}`, { cause: error.cause });
  if (errnoName(error.errno) !== error.code || !(error.errno < 0) || error.reason === "")
    throw new Fault(`${what}: an FsError without a code: ${error.message}`, { cause: error });
  return error;
}

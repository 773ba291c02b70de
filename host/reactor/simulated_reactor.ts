/**
 * A reactor with a virtual clock, for deterministic tests: time passes only when nothing else can be done, at once, to
 * the next timer. It moves no bytes: simulated and memory devices complete by post() and timer().
 */
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { Reactor, Source } from "./reactor.ts";
import { Timers } from "./timers.ts";

export interface SimulatedReactorOptions {
  /** Wall time at the start, whole seconds since the epoch. Default: 2026-01-01. */
  startSeconds?: number;
}

export class SimulatedReactor implements Reactor {
  readonly kind = "simulated";
  /** The same time, as the engine sees it. */
  readonly clock: Clock;
  /** Turns of the loop so far. */
  turnCount = 0;
  readonly #timers = new Timers();
  #sources: Source[] = [];
  #posted: (() => void)[] = [];
  #nowMs = 0;
  #stopping = false;
  #running = false;

  constructor(options: SimulatedReactorOptions = {}) {
    const startSeconds = options.startSeconds ?? 1_767_225_600;
    this.clock = {
      seconds: () => startSeconds + Math.floor(this.#nowMs / 1000),
      nanoseconds: () => Math.floor((this.#nowMs % 1000) * 1e6),
      monotonicMs: () => this.#nowMs,
    };
  }

  /** Virtual milliseconds since the start. */
  get nowMs(): number {
    return this.#nowMs;
  }

  read(): void {
    noDescriptors();
  }

  write(): void {
    noDescriptors();
  }

  writeVector(): void {
    noDescriptors();
  }

  writeDurable(): void {
    noDescriptors();
  }

  flush(): void {
    noDescriptors();
  }

  discard(): void {
    noDescriptors();
  }

  timer(delayMs: number, callback: () => void): () => void {
    return this.#timers.add(this.#nowMs + delayMs, callback);
  }

  post(callback: () => void): void {
    this.#posted.push(callback);
  }

  addSource(source: Source): void {
    this.#sources = [...this.#sources, source];
  }

  removeSource(source: Source): void {
    this.#sources = this.#sources.filter((candidate) => candidate !== source);
  }

  /**
   * Runs without returning to the event loop until there is nothing left to do, or stop().
   *
   * @param options.until Checked after each turn; true ends the run.
   * @param options.untilMs Virtual time that is not passed; it is reached if nothing ends the run before.
   * @param options.turnsMax A run that is longer is taken for a bug.
   * @throws {AssertionError} After turnsMax turns.
   */
  runSync(
    options: { until?: () => boolean; untilMs?: number; turnsMax?: number } = {},
  ): "idle" | "stopped" | "reached" {
    this.#stopping = false;
    return this.#loop(options);
  }

  #loop(options: {
    until?: () => boolean;
    untilMs?: number;
    turnsMax?: number;
  }): "idle" | "stopped" | "reached" {
    assert(!this.#running, "a reactor runs once at a time");
    this.#running = true;
    const turnsMax = options.turnsMax ?? 10_000_000;
    try {
      if (options.until?.() === true) return "reached";
      for (let turn = 0; turn < turnsMax; turn += 1) {
        const active = this.#turn();
        if (options.until?.() === true) return "reached";
        if (this.#stopping) return "stopped";
        if (active) continue;
        const nextMs = this.#timers.nextMs;
        if (options.untilMs !== undefined && nextMs > options.untilMs) {
          this.#nowMs = Math.max(this.#nowMs, options.untilMs);
          return "reached";
        }
        if (nextMs === Number.POSITIVE_INFINITY) return "idle";
        this.#nowMs = Math.max(this.#nowMs, nextMs);
      }
    } finally {
      this.#running = false;
    }
    assert(false, `a simulation ends within ${turnsMax} turns`);
  }

  /** As runSync() without conditions, but when it is idle, promises may bring more: it ends with stop(). */
  async run(): Promise<void> {
    let idleRounds = 0;
    this.#stopping = false;
    while (!this.#stopping && this.#loop({}) === "idle") {
      for (let count = 0; count < 16; count += 1) await null;
      const hasWork = this.#posted.length > 0 || this.#timers.nextMs !== Number.POSITIVE_INFINITY;
      idleRounds = hasWork ? 0 : idleRounds + 1;
      assert(idleRounds < 1000, "a simulation with nothing left to wait for is stopped");
    }
  }

  stop(): void {
    this.#stopping = true;
  }

  close(): void {
    this.#timers.clear();
    this.#posted = [];
    this.#sources = [];
  }

  #turn(): boolean {
    let active = false;
    this.turnCount += 1;
    for (const source of this.#sources) if (source.poll()) active = true;
    const posted = this.#posted;
    if (posted.length > 0) {
      this.#posted = [];
      active = true;
      let index = 0;
      try {
        for (; index < posted.length; index += 1) (posted[index] as () => void)();
      } finally {
        if (index < posted.length) this.#posted.unshift(...posted.slice(index + 1));
      }
    }
    if (this.#timers.run(this.#nowMs)) active = true;
    return active;
  }
}

function noDescriptors(): never {
  assert(false, "a simulated reactor moves no bytes: use a simulated device");
}

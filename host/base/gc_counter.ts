/**
 * What garbage collection costs this thread. The runtime notes each collection by itself and hands the notes over when
 * its event loop turns: nothing is done while a program runs, and nothing at all where the runtime has no such notes
 * (Deno).
 */
import { type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";
import { isDeno } from "./runtime.ts";

export interface GcCounts {
  readonly count: number;
  readonly totalMs: number;
  /** The longest pause since the start. */
  readonly maxMs: number;
}

export class GcCounter {
  readonly #observer: PerformanceObserver;
  #count = 0;
  #totalMs = 0;
  #maxMs = 0;

  private constructor() {
    this.#observer = new PerformanceObserver((list) => this.#add(list.getEntries()));
    this.#observer.observe({ entryTypes: ["gc"] });
  }

  /** @returns Null where the runtime does not tell. */
  static start(): GcCounter | null {
    // Deno 2.9 lists the type and never has an entry.
    return isDeno ? null : new GcCounter();
  }

  /** Those that the event loop has handed over. */
  counts(): GcCounts {
    this.#add(this.#observer.takeRecords());
    return { count: this.#count, totalMs: this.#totalMs, maxMs: this.#maxMs };
  }

  stop(): void {
    this.#observer.disconnect();
  }

  #add(entries: readonly PerformanceEntry[]): void {
    for (const { duration } of entries) {
      this.#count += 1;
      this.#totalMs += duration;
      if (duration > this.#maxMs) this.#maxMs = duration;
    }
  }
}

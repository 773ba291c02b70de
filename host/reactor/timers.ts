/**
 * Timers of a loop that waits by itself: few, so a sorted array (latest first) is the quickest structure.
 */
export class Timers {
  readonly #entries: TimerEntry[] = [];

  /** Monotonic milliseconds of the earliest timer, Infinity when there is none. */
  get nextMs(): number {
    const length = this.#entries.length;
    return length === 0
      ? Number.POSITIVE_INFINITY
      : (this.#entries[length - 1] as TimerEntry).dueMs;
  }

  /** Adds a timer; one that is due at the same time as another comes after it. Returns a function that cancels it. */
  add(dueMs: number, callback: () => void): () => void {
    const entry: TimerEntry = { dueMs, callback };
    const entries = this.#entries;
    let index = entries.length;
    while (index > 0 && (entries[index - 1] as TimerEntry).dueMs <= dueMs) index -= 1;
    entries.splice(index, 0, entry);
    return () => {
      const at = entries.indexOf(entry);
      if (at >= 0) entries.splice(at, 1);
    };
  }

  /** Calls back what is due. A timer that a callback adds is not called in the same run. */
  run(nowMs: number): boolean {
    const entries = this.#entries;
    if (entries.length === 0 || (entries[entries.length - 1] as TimerEntry).dueMs > nowMs) {
      return false;
    }
    if (entries.length === 1 || (entries[entries.length - 2] as TimerEntry).dueMs > nowMs) {
      (entries.pop() as TimerEntry).callback();
      return true;
    }
    const due: TimerEntry[] = [];
    while (entries.length > 0 && (entries[entries.length - 1] as TimerEntry).dueMs <= nowMs) {
      due.push(entries.pop() as TimerEntry);
    }
    // Put back at once, so that a callback can still cancel one of its companions.
    for (let index = due.length - 1; index >= 0; index -= 1) entries.push(due[index] as TimerEntry);
    for (const entry of due) {
      const at = entries.lastIndexOf(entry);
      if (at < 0) continue;
      entries.splice(at, 1);
      entry.callback();
    }
    return true;
  }

  clear(): void {
    this.#entries.length = 0;
  }
}

interface TimerEntry {
  readonly dueMs: number;
  readonly callback: () => void;
}

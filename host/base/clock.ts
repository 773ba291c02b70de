/** Time as the engine sees it; the simulator has its own. */
export interface Clock {
  /** Wall-clock seconds since the epoch, whole; read `nanoseconds` next for the rest of the same instant. */
  seconds(): number;
  /** Nanoseconds within the second that the last call of seconds() returned, 0 ≤ n < 1e9. */
  nanoseconds(): number;
  /** Monotonic milliseconds, with fraction. */
  monotonicMs(): number;
}

/** The machine's clocks. Wall time has the resolution of performance.now (about a microsecond). */
export class SystemClock implements Clock {
  readonly #originMs: number = performance.timeOrigin;
  #nanoseconds = 0;

  seconds(): number {
    // timeOrigin does not follow clock steps, so a drift of more than a second is taken from Date.
    const date = Date.now();
    let now = this.#originMs + performance.now();
    if (now - date > 1000 || date - now > 1000) now = date;
    const whole = Math.floor(now / 1000);
    this.#nanoseconds = Math.floor((now - whole * 1000) * 1e6);
    return whole;
  }

  nanoseconds(): number {
    return this.#nanoseconds;
  }

  monotonicMs(): number {
    return performance.now();
  }
}

/**
 * The clock that the kernel stamps inodes with. A mounted volume uses it too, so that a time which the kernel keeps
 * (writeback cache) and one that we give are never in the wrong order, and a file that is written as soon as it is made
 * has the time that the kernel means already: it then has nothing to tell us when the file is closed.
 */
import { type Clock, SystemClock } from "../base/clock.ts";
import { CLOCK_REALTIME_COARSE, type Libc, libcIfAvailable, type Mapping } from "./libc.ts";

const TIMESPEC_BYTES = 16;

class KernelClock implements Clock {
  readonly #libc: Libc;
  readonly #time: Mapping;
  readonly #view: DataView;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#time = libc.map(TIMESPEC_BYTES);
    this.#view = new DataView(this.#time.buffer);
  }

  seconds(): number {
    this.#libc.clockGettime(CLOCK_REALTIME_COARSE, this.#time.address);
    const high = this.#view.getInt32(4, true);
    return high * 0x1_0000_0000 + this.#view.getUint32(0, true);
  }

  nanoseconds(): number {
    return this.#view.getUint32(8, true);
  }

  monotonicMs(): number {
    return performance.now();
  }
}

/** The kernel's clock; where it cannot be read, the runtime's. */
export function openClock(): Clock {
  const libc = libcIfAvailable();
  return libc === null ? new SystemClock() : new KernelClock(libc);
}

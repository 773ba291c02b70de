/**
 * One thread, one wait. All I/O of an engine goes through a reactor: completions are called from its loop, never from
 * inside the call that started them, so an operation is never entered in the middle of another.
 */
import type { Done } from "../device/device.ts";

/** Something that is polled without blocking, such as a FUSE channel. */
export interface Source {
  readonly fd: number;
  /** Takes what is ready, without blocking. Returns whether there was anything. */
  poll(): boolean;
}

export interface Reactor {
  readonly kind: "io_uring" | "portable" | "simulated";
  /** Byte transfers between a descriptor and the core's memory. Status: bytes moved, or −errno. */
  read(fd: number, offsetBytes: number, address: number, byteLength: number, done: Done): void;
  write(fd: number, offsetBytes: number, address: number, byteLength: number, done: Done): void;
  writeVector(
    fd: number,
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void;
  /**
   * As write(), without an offset, by another thread: for a descriptor whose write may wait for what this thread has
   * to do. Absent where that cannot be had.
   */
  writeAside?(fd: number, address: number, byteLength: number, done: Done): void;
  /** As write(), and durable when it ends: pwritev2 with RWF_DSYNC, or a write and fdatasync. */
  writeDurable(
    fd: number,
    offsetBytes: number,
    address: number,
    byteLength: number,
    done: Done,
  ): void;
  /** fdatasync. */
  flush(fd: number, done: Done): void;
  /** fallocate(fd, PUNCH_HOLE | KEEP_SIZE) on files, BLKDISCARD on block devices; best effort. */
  discard(fd: number, offsetBytes: number, byteLength: number, done: Done): void;
  /** Calls back once after the delay; returns a function that cancels it. */
  timer(delayMs: number, callback: () => void): () => void;
  /** Calls back from the loop's next turn. Safe only from the reactor's own thread. */
  post(callback: () => void): void;
  addSource(source: Source): void;
  removeSource(source: Source): void;
  /**
   * Runs until stop(). The io_uring form blocks the thread (spinning shortly before each sleep) and never returns to
   * the JavaScript event loop meanwhile; the portable form rides on the event loop.
   */
  run(): Promise<void>;
  stop(): void;
  close(): void;
}

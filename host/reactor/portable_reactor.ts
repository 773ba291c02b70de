/**
 * The reactor over node:fs callbacks and the runtime's own event loop: for library use, other systems than Linux, and
 * containers that forbid io_uring. Each transfer costs a hop to the runtime's thread pool.
 *
 * Invariants:
 * - Completions come from the event loop, whether or not run() was called; run() only keeps the process alive until
 *   stop(). I/O under way and timers keep it alive too; an idle reactor does not.
 * - A completion is never called from the call that started the I/O.
 * - Descriptors come from node:fs: under Deno it does not know others.
 */
import { fdatasync, fstatSync, read, write, writev } from "node:fs";
import {
  clearImmediate,
  clearInterval,
  clearTimeout,
  setImmediate,
  setInterval,
  setTimeout,
} from "node:timers";
import { assert } from "../base/assert.ts";
import { EIO, EOPNOTSUPP } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { isDeno } from "../base/runtime.ts";
import type { Done } from "../device/device.ts";
import {
  discardBlocking,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  libcIfAvailable,
} from "./libc.ts";
import type { Reactor, Source } from "./reactor.ts";

/** Longest transfer of one call: node:fs takes 31 bits, and less keeps the thread pool fair. */
const TRANSFER_MAX = 0x100_0000;
const TIMER_MS_MAX = 0x7fff_ffff;

/** A source that brings its own events: it calls `ready` from the event loop when poll() would find something. */
export interface AttachableSource extends Source {
  attach(ready: () => void): void;
  detach(): void;
}

export class PortableReactor implements Reactor {
  readonly kind = "portable";
  readonly #bytes: Uint8Array;
  readonly #sources = new Set<Source>();
  readonly #cancels = new Set<() => void>();
  #posted: (() => void)[] = [];
  #immediate: NodeJS.Immediate | null = null;
  #run: { resolve: () => void; reject: (error: unknown) => void; keeper: NodeJS.Timeout } | null =
    null;
  #pending = 0;
  #closed = false;

  /** @param core The memory that addresses are offsets into. */
  constructor(core: { readonly bytes: Uint8Array }) {
    this.#bytes = core.bytes;
  }

  read(fd: number, offsetBytes: number, address: number, byteLength: number, done: Done): void {
    this.#begin(address, byteLength);
    let moved = 0;
    const step = (): void => {
      const length = Math.min(byteLength - moved, TRANSFER_MAX);
      read(fd, this.#bytes, address + moved, length, offsetBytes + moved, (error, count) => {
        if (error !== null && error !== undefined) {
          if (isPassing(error)) step();
          else this.#end(done, statusOf(error));
          return;
        }
        moved += count;
        if (count > 0 && moved < byteLength) step();
        else this.#end(done, moved);
      });
    };
    step();
  }

  write(fd: number, offsetBytes: number, address: number, byteLength: number, done: Done): void {
    this.#begin(address, byteLength);
    this.#writeFrom(fd, offsetBytes, address, byteLength, 0, (status) => this.#end(done, status));
  }

  writeVector(
    fd: number,
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void {
    assert(
      addresses.length >= 1 && addresses.length <= 64 && byteLengths.length === addresses.length,
      "a gathering write has 1 to 64 buffers",
    );
    let total = 0;
    const views: Uint8Array[] = [];
    for (let index = 0; index < addresses.length; index += 1) {
      const address = addresses[index] as number;
      const byteLength = byteLengths[index] as number;
      assert(
        address >= 0 && address + byteLength <= this.#bytes.byteLength,
        "a buffer lies in the core",
      );
      views.push(this.#bytes.subarray(address, address + byteLength));
      total += byteLength;
    }
    this.#begin(0, 0);
    /** Writes part after part from where a gathering write was cut short, or from the start. */
    const partFrom = (index: number, skip: number, moved: number): void => {
      if (index === addresses.length) {
        this.#end(done, moved);
        return;
      }
      const address = (addresses[index] as number) + skip;
      const byteLength = (byteLengths[index] as number) - skip;
      this.#writeFrom(fd, offsetBytes + moved, address, byteLength, 0, (status) => {
        if (status < 0) this.#end(done, status);
        else partFrom(index + 1, 0, moved + status);
      });
    };
    if (isDeno || views.length === 1) {
      partFrom(0, 0, 0);
      return;
    }
    writev(fd, views, offsetBytes, (error, count) => {
      if (error !== null && error !== undefined) {
        if (isPassing(error)) partFrom(0, 0, 0);
        else this.#end(done, statusOf(error));
        return;
      }
      if (count === total) {
        this.#end(done, total);
        return;
      }
      let index = 0;
      let skip = count;
      while (skip >= (byteLengths[index] as number)) {
        skip -= byteLengths[index] as number;
        index += 1;
      }
      partFrom(index, skip, count);
    });
  }

  writeDurable(
    fd: number,
    offsetBytes: number,
    address: number,
    byteLength: number,
    done: Done,
  ): void {
    this.#begin(address, byteLength);
    this.#writeFrom(fd, offsetBytes, address, byteLength, 0, (moved) => {
      if (moved < 0) this.#end(done, moved);
      else this.#sync(fd, (status) => this.#end(done, status < 0 ? status : moved));
    });
  }

  flush(fd: number, done: Done): void {
    this.#begin(0, 0);
    this.#sync(fd, (status) => this.#end(done, status));
  }

  #sync(fd: number, done: (status: number) => void): void {
    fdatasync(fd, (error) => {
      if (error === null || error === undefined) done(0);
      else if (isPassing(error)) this.#sync(fd, done);
      else done(statusOf(error));
    });
  }

  /** Without koffi: −EOPNOTSUPP. With it, the call is made at once and blocks for its time. */
  discard(fd: number, offsetBytes: number, byteLength: number, done: Done): void {
    this.#begin(0, 0);
    const calls = libcIfAvailable();
    let status = -EOPNOTSUPP;
    if (calls !== null && fstatSync(fd).isBlockDevice()) {
      status = discardBlocking(calls, fd, offsetBytes, byteLength);
    } else if (calls !== null) {
      const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
      status = calls.fallocate(fd, mode, offsetBytes, byteLength);
    }
    this.post(() => this.#end(done, status));
  }

  timer(delayMs: number, callback: () => void): () => void {
    // setTimeout counts in 31 bits and may be early by a fraction of a millisecond: what is left is waited for again.
    const dueMs = performance.now() + delayMs;
    let handle: NodeJS.Timeout;
    const cancel = (): void => {
      clearTimeout(handle);
      this.#cancels.delete(cancel);
    };
    const arm = (): void => {
      const leftMs = Math.ceil(dueMs - performance.now());
      handle = setTimeout(elapsed, Math.min(Math.max(leftMs, 0), TIMER_MS_MAX));
    };
    const elapsed = (): void => {
      if (performance.now() < dueMs) {
        arm();
        return;
      }
      this.#cancels.delete(cancel);
      this.#guard(callback);
    };
    this.#cancels.add(cancel);
    arm();
    return cancel;
  }

  post(callback: () => void): void {
    this.#posted.push(callback);
    this.#immediate ??= setImmediate(this.#runPosted);
  }

  /** @throws {FsError} EOPNOTSUPP unless the source can attach itself to the event loop. */
  addSource(source: Source): void {
    if (!("attach" in source)) {
      throw new FsError(
        EOPNOTSUPP,
        "reactor/source-needs-io-uring",
        `Cannot watch descriptor ${source.fd} without io_uring`,
      );
    }
    this.#sources.add(source);
    (source as AttachableSource).attach(() => {
      // One call a turn, so that a busy source leaves room for completions and timers.
      if (this.#sources.has(source) && source.poll()) this.post(() => this.#pollAgain(source));
    });
  }

  removeSource(source: Source): void {
    if (this.#sources.delete(source)) (source as AttachableSource).detach();
  }

  run(): Promise<void> {
    assert(this.#run === null && !this.#closed, "a reactor runs once at a time, not after close()");
    return new Promise((resolve, reject) => {
      this.#run = { resolve, reject, keeper: setInterval(() => {}, TIMER_MS_MAX) };
    });
  }

  stop(): void {
    const run = this.#run;
    if (run === null) return;
    this.#run = null;
    clearInterval(run.keeper);
    run.resolve();
  }

  /** Operations that were started and whose callback has not been called. */
  get pending(): number {
    return this.#pending;
  }

  close(): void {
    if (this.#closed) return;
    assert(this.#pending === 0, "no I/O is under way when a reactor closes");
    this.#closed = true;
    this.stop();
    for (const source of this.#sources) this.removeSource(source);
    for (const cancel of this.#cancels) cancel();
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#immediate = null;
    this.#posted = [];
  }

  #pollAgain(source: Source): void {
    if (this.#sources.has(source) && source.poll()) this.post(() => this.#pollAgain(source));
  }

  #writeFrom(
    fd: number,
    offsetBytes: number,
    address: number,
    byteLength: number,
    moved: number,
    then: Done,
  ): void {
    const length = Math.min(byteLength - moved, TRANSFER_MAX);
    write(fd, this.#bytes, address + moved, length, offsetBytes + moved, (error, count) => {
      if (error !== null && error !== undefined) {
        if (isPassing(error)) {
          this.#writeFrom(fd, offsetBytes, address, byteLength, moved, then);
        } else {
          then(statusOf(error));
        }
        return;
      }
      const total = moved + count;
      if (total === byteLength) then(total);
      else if (count === 0) then(-EIO);
      else this.#writeFrom(fd, offsetBytes, address, byteLength, total, then);
    });
  }

  #begin(address: number, byteLength: number): void {
    assert(!this.#closed, "a closed reactor starts no I/O");
    assert(
      address >= 0 && address + byteLength <= this.#bytes.byteLength,
      "a buffer lies in the core",
    );
    this.#pending += 1;
  }

  #end(done: Done, status: number): void {
    this.#pending -= 1;
    this.#guard(() => done(status));
  }

  readonly #runPosted = (): void => {
    this.#immediate = null;
    const posted = this.#posted;
    this.#posted = [];
    let index = 0;
    try {
      for (; index < posted.length; index += 1) this.#guard(posted[index] as () => void);
    } finally {
      if (index < posted.length) {
        this.#posted.unshift(...posted.slice(index + 1));
        if (this.#posted.length > 0) this.#immediate ??= setImmediate(this.#runPosted);
      }
    }
  };

  /** What a callback throws ends run(), as in the other form; without run() it goes to the runtime, uncaught. */
  #guard(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      const run = this.#run;
      if (run === null) throw error;
      this.#run = null;
      clearInterval(run.keeper);
      run.reject(error);
    }
  }
}

function isPassing(error: NodeJS.ErrnoException): boolean {
  return error.code === "EINTR" || error.code === "EAGAIN";
}

function statusOf(error: NodeJS.ErrnoException): number {
  return typeof error.errno === "number" && error.errno !== 0 ? -Math.abs(error.errno) : -EIO;
}

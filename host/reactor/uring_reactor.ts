/**
 * The reactor over io_uring: one thread, and one place where it sleeps.
 *
 * A turn polls the sources, takes completions, runs what was posted and what is due, and submits all I/O that these
 * started in one system call. When a turn did nothing, the loop looks for work for some microseconds more, because a
 * wake-up costs far more than a request, and only then sleeps. Whether looking pays is learnt: on an idle volume, or
 * when answers come later than one looks, it sleeps at once.
 *
 * Invariants:
 * - A completion is called from run(), never from the call that started the I/O.
 * - Each I/O has a slot, whose index is the kernel's user_data; slots are arrays of numbers that are used again, so a
 *   transfer makes no garbage. A slot is free before its callback is called.
 * - The kernel never holds more than IN_FLIGHT_MAX operations, so completions do not overflow; the rest queue here.
 * - Sources are watched (by a one-shot poll) only while the loop sleeps: an awake loop polls them itself, and then the
 *   kernel has nothing to post for each request.
 *
 * Promises are not used by the engine, but its edges do: before the loop sleeps it awaits a few times, and once an idle
 * period lasts a millisecond it passes through the event loop, so that their continuations, signals and messages run.
 */
import { fstatSync } from "node:fs";
import { setImmediate } from "node:timers";
import { assert } from "../base/assert.ts";
import { EAGAIN, EINTR, EINVAL, EIO, EOPNOTSUPP, errnoName } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Histogram } from "../base/histogram.ts";
import { processorCount } from "../base/runtime.ts";
import type { Done } from "../device/device.ts";
import {
  discardBlocking,
  EFD_CLOEXEC,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  type Libc,
  libc,
  MADV_HUGEPAGE,
  type Mapping,
  POLLERR,
  POLLHUP,
  POLLIN,
} from "./libc.ts";
import type { Reactor, Source } from "./reactor.ts";
import { Timers } from "./timers.ts";
import {
  BLOCK_URING_CMD_DISCARD,
  FSYNC_DATASYNC,
  OP_FALLOCATE,
  OP_FSYNC,
  OP_POLL_ADD,
  OP_POLL_REMOVE,
  OP_READ,
  OP_URING_CMD,
  OP_WRITE,
  OP_WRITEV,
  RWF_DSYNC,
  SQE_ASYNC,
  Uring,
} from "./uring.ts";
import { setVector, skipVectors, VECTOR_ENTRY_BYTES } from "./vectors.ts";

const SQ_ENTRIES = 256;
const CQ_ENTRIES = 4096;
const IN_FLIGHT_MAX = 2048;
/** MAX_RW_COUNT of the kernel: what one transfer can move. */
const TRANSFER_MAX = 0x7fff_f000;
const RETRIES_MAX = 100;

/** struct iovec entries of one gathering write; slots have them in chunks of memory that are mapped when needed. */
const VECTOR_MAX = 64;
const VECTOR_BYTES = VECTOR_MAX * VECTOR_ENTRY_BYTES;
const CHUNK_SLOTS = 256;

/** Longer than a durable write takes on a good disk, so that waiting for one costs no wake-up. */
const SPIN_US_DEFAULT = 150;
/** Looking must succeed this often to go on, as a share. A wake-up costs about as much as looking for its full time. */
const SPIN_SHARE_MIN = 0.3;
/** Tried again, to learn, once in so many sleeps, and only if the last sleep was short. */
const SPIN_PROBE_INTERVAL = 16;
const SPIN_PROBE_SLEEP_MS = 0.3;
const AWAITS_PER_SLEEP = 8;
const TURNS_PER_AWAIT = 64;
/**
 * Taken before what they started is handed over. With all that are there, sixteen readers wait for the disk together, and
 * it for them: a third fewer reads. An operation alone in its system call costs less than that.
 */
const COMPLETIONS_PER_TURN = 4;
/** A loop that is never idle lets the runtime's own notes pass, too, about once a second. */
const TURNS_PER_PASS = 65536;
const IDLE_MS = 1;

/** In the high half of user_data: what a completion belongs to; the low half is its number there. */
const TO_SLOT = 0;
const TO_SOURCE = 1;
const TO_WAKE = 2;
const TO_NOBODY = 3;

/** Not opcodes of the kernel's: a write that a kernel thread does, and one that is durable when it completes. */
const WRITE_ASIDE = 255;
const WRITE_DURABLE = 254;

/** What the loop has done, for benchmarks and metrics. */
export interface ReactorStats {
  /** I/O operations completed. */
  operations: number;
  /** Times the loop slept. */
  sleeps: number;
  /** Times it looked for work before sleeping, and found some. */
  spins: number;
  spinHits: number;
  /** Milliseconds of sleeping and of looking for work; with operations under way both are waiting for them. */
  sleepMs: number;
  spinMs: number;
  waitMs: number;
  /** Milliseconds of handing operations to the kernel. */
  submitMs: number;
}

export interface UringReactorOptions {
  /** Microseconds to look for work before sleeping; 0 never. Default 150, and 0 on a machine with one processor. */
  spinUs?: number;
}

interface WatchedSource {
  readonly source: Source;
  readonly id: number;
  armed: boolean;
}

export class UringReactor implements Reactor {
  readonly kind = "io_uring";
  readonly stats: ReactorStats = {
    operations: 0,
    sleeps: 0,
    spins: 0,
    spinHits: 0,
    sleepMs: 0,
    spinMs: 0,
    waitMs: 0,
    submitMs: 0,
  };
  /** Operations handed to the kernel in one call. */
  readonly batches: Histogram = new Histogram();
  /** An eventfd: any thread that writes a number to it (see wakeReactor) ends the loop's sleep. */
  readonly wakeFd: number;
  /** Called from the loop after somebody wrote to wakeFd, once for all writes until then. */
  onWake: (() => void) | null = null;

  readonly #libc: Libc;
  readonly #ring: Uring;
  readonly #base: number;
  readonly #memoryBytes: number;
  readonly #wakeValue: Mapping;
  readonly #timers = new Timers();
  readonly #spinMs: number;
  #sources: WatchedSource[] = [];
  #sourceCount = 0;
  #posted: (() => void)[] = [];
  #postedSpare: (() => void)[] = [];
  #running = false;
  #stopping = false;
  readonly #passes: (() => void)[] = [];
  #closed = false;
  #wakeArmed = false;

  #spinShare = 0.5;
  #sinceProbe = 0;
  #lastSleepMs = Number.POSITIVE_INFINITY;

  // Slots. Addresses are absolute; for a gathering write `address` is that of its iovecs and `vectors` how many.
  #slotCount = 0;
  #done: (Done | null)[] = [];
  #opcode = new Uint8Array(0);
  #retries = new Uint8Array(0);
  #fd = new Int32Array(0);
  #offset = new Float64Array(0);
  #address = new Float64Array(0);
  #left = new Float64Array(0);
  #moved = new Float64Array(0);
  #vectors = new Uint8Array(0);
  #nextFree = new Int32Array(0);
  #firstFree = -1;
  #inFlight = 0;
  /** Operations prepared since the last call that handed some over. */
  #unsubmitted = 0;
  readonly #vectorChunks: (Mapping & { view: DataView })[] = [];
  // First in, first out: slots that wait for room.
  #backlog: number[] = [];
  #backlogHead = 0;

  /**
   * @param core The memory that addresses are offsets into: it never moves (Core's memory does not grow).
   * @throws {FsError} EOPNOTSUPP where io_uring or koffi cannot be had.
   */
  constructor(core: { readonly bytes: Uint8Array }, options: UringReactorOptions = {}) {
    try {
      this.#libc = libc();
    } catch (cause) {
      throw new FsError(
        EOPNOTSUPP,
        "reactor/no-system-calls",
        "Cannot make system calls: koffi does not load",
        { cause },
      );
    }
    this.#ring = new Uring(this.#libc, SQ_ENTRIES, CQ_ENTRIES);
    this.#base = this.#libc.addressOf(core.bytes);
    this.#memoryBytes = core.bytes.byteLength;
    // A megabyte in one piece is few segments to the disk, and one reference each to take and to give back; in pages of
    // 4 KiB it is 256. A kernel without huge pages refuses, and nothing is lost.
    this.#libc.madvise(this.#base, this.#memoryBytes, MADV_HUGEPAGE);
    this.#spinMs = (options.spinUs ?? (processorCount > 1 ? SPIN_US_DEFAULT : 0)) / 1000;
    this.#wakeValue = this.#libc.map(4096);
    // Blocking on purpose: io_uring answers EAGAIN for a descriptor that is not, instead of waiting.
    const wakeFd = this.#libc.eventfd(0, EFD_CLOEXEC);
    if (wakeFd < 0) {
      this.#ring.close();
      throw new FsError(
        -wakeFd,
        "reactor/no-eventfd",
        `Cannot make an eventfd: ${errnoName(wakeFd)}`,
      );
    }
    this.wakeFd = wakeFd;
  }

  read(fd: number, offsetBytes: number, address: number, byteLength: number, done: Done): void {
    assert(address >= 0 && address + byteLength <= this.#memoryBytes, "a buffer lies in the core");
    this.#start(OP_READ, fd, offsetBytes, this.#base + address, byteLength, done);
  }

  write(fd: number, offsetBytes: number, address: number, byteLength: number, done: Done): void {
    assert(address >= 0 && address + byteLength <= this.#memoryBytes, "a buffer lies in the core");
    this.#start(OP_WRITE, fd, offsetBytes, this.#base + address, byteLength, done);
  }

  writeVector(
    fd: number,
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void {
    const count = addresses.length;
    assert(
      count >= 1 && count <= VECTOR_MAX && byteLengths.length === count,
      "a gathering write has 1 to 64 buffers",
    );
    const slot = this.#take(OP_WRITEV, fd, offsetBytes, done);
    let chunk = this.#vectorChunks[slot >>> 8];
    if (chunk === undefined) {
      const mapping = this.#libc.map(CHUNK_SLOTS * VECTOR_BYTES);
      chunk = { ...mapping, view: new DataView(mapping.buffer) };
      this.#vectorChunks[slot >>> 8] = chunk;
    }
    const start = (slot & 255) * VECTOR_BYTES;
    let total = 0;
    for (let index = 0; index < count; index += 1) {
      const address = addresses[index] as number;
      const byteLength = byteLengths[index] as number;
      assert(
        address >= 0 && address + byteLength <= this.#memoryBytes,
        "a buffer lies in the core",
      );
      setVector(chunk.view, start + index * VECTOR_ENTRY_BYTES, this.#base + address, byteLength);
      total += byteLength;
    }
    this.#address[slot] = chunk.address + start;
    this.#vectors[slot] = count;
    this.#left[slot] = total;
    this.#enqueue(slot);
  }

  writeAside(fd: number, address: number, byteLength: number, done: Done): void {
    assert(address >= 0 && address + byteLength <= this.#memoryBytes, "a buffer lies in the core");
    this.#start(WRITE_ASIDE, fd, 0, this.#base + address, byteLength, done);
  }

  writeDurable(
    fd: number,
    offsetBytes: number,
    address: number,
    byteLength: number,
    done: Done,
  ): void {
    assert(address >= 0 && address + byteLength <= this.#memoryBytes, "a buffer lies in the core");
    this.#start(WRITE_DURABLE, fd, offsetBytes, this.#base + address, byteLength, done);
  }

  flush(fd: number, done: Done): void {
    this.#start(OP_FSYNC, fd, 0, 0, 0, done);
  }

  discard(fd: number, offsetBytes: number, byteLength: number, done: Done): void {
    // Rare and for large ranges, so asking each time what the descriptor is costs nothing and is never out of date.
    if (!fstatSync(fd).isBlockDevice()) {
      this.#start(OP_FALLOCATE, fd, offsetBytes, 0, byteLength, done);
      return;
    }
    this.#start(OP_URING_CMD, fd, offsetBytes, 0, byteLength, (status) => {
      // Before Linux 6.12 there is only the call that blocks.
      if (status === -EINVAL || status === -EOPNOTSUPP) {
        done(discardBlocking(this.#libc, fd, offsetBytes, byteLength));
      } else {
        done(status);
      }
    });
  }

  timer(delayMs: number, callback: () => void): () => void {
    return this.#timers.add(performance.now() + delayMs, callback);
  }

  post(callback: () => void): void {
    this.#posted.push(callback);
  }

  /** While run() goes, poll() is called every turn; when it returns false there was nothing left to take. */
  addSource(source: Source): void {
    this.#sources = [...this.#sources, { source, id: this.#sourceCount, armed: false }];
    this.#sourceCount += 1;
  }

  /** Afterwards the kernel no longer holds the source's descriptor. */
  removeSource(source: Source): void {
    const watched = this.#sources.find((candidate) => candidate.source === source);
    if (watched === undefined) return;
    this.#sources = this.#sources.filter((candidate) => candidate !== watched);
    if (!watched.armed || this.#closed) return;
    if (this.#ring.room === 0) this.#ring.submit();
    // The user_data of the poll to remove goes where an address would: id low, kind high.
    this.#ring.prepare(
      OP_POLL_REMOVE,
      -1,
      0,
      TO_SOURCE * 0x1_0000_0000 + watched.id,
      0,
      0,
      0,
      TO_NOBODY,
      0,
    );
    this.#ring.submit();
  }

  /**
   * Blocks the thread until stop(). What a callback throws ends the loop and comes out here; run() can be called again.
   */
  async run(): Promise<void> {
    assert(!this.#running && !this.#closed, "a reactor runs once at a time, and not after close()");
    this.#running = true;
    this.#stopping = false;
    try {
      let turns = 0;
      while (!this.#stopping) {
        if (this.#turn()) {
          turns += 1;
          if (turns % TURNS_PER_AWAIT === 0) await null;
          if (this.#passes.length > 0 || turns % TURNS_PER_PASS === 0) await this.#pass();
          continue;
        }
        if (this.#spin()) continue;
        for (let count = 0; count < AWAITS_PER_SLEEP; count += 1) await null;
        if (this.#stopping || this.#hasWork()) continue;
        if (this.#sleep(IDLE_MS)) continue;
        await this.#pass();
        if (this.#stopping || this.#turn()) continue;
        this.#sleep(Number.POSITIVE_INFINITY);
      }
    } finally {
      this.#running = false;
    }
  }

  /** Calls back from the loop after it has passed through the runtime's event loop, which otherwise waits until it idles. */
  passThenCall(callback: () => void): void {
    this.#passes.push(callback);
  }

  async #pass(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    for (const callback of this.#passes.splice(0)) callback();
  }

  stop(): void {
    this.#stopping = true;
  }

  /** Operations that were started and whose callback has not been called. */
  get pending(): number {
    return this.#inFlight + this.#backlog.length - this.#backlogHead;
  }

  close(): void {
    if (this.#closed) return;
    assert(!this.#running || this.#stopping, "a reactor stops before it closes");
    assert(this.pending === 0, "no I/O is under way when a reactor closes");
    this.#closed = true;
    this.#ring.close();
    this.#timers.clear();
    this.#posted = [];
    this.#libc.close(this.wakeFd);
    for (const chunk of this.#vectorChunks) {
      if (chunk !== undefined) this.#libc.munmap(chunk.address, chunk.buffer.byteLength);
    }
    // wakeValue stays mapped: the kernel may still be ending the read into it.
  }

  // Loop ------------------------------------------------------------------------------------------------------------

  /** Does all that can be done without waiting. Returns whether there was anything. */
  #turn(): boolean {
    let active = false;
    for (const watched of this.#sources) if (watched.source.poll()) active = true;
    if (this.#reap()) active = true;
    if (this.#runPosted()) active = true;
    if (this.#timers.nextMs !== Number.POSITIVE_INFINITY && this.#timers.run(performance.now())) {
      active = true;
    }
    this.#fill();
    if (this.#submit()) active = true;
    return active;
  }

  #submit(): boolean {
    if (this.#unsubmitted === 0) return this.#ring.submit();
    const before = performance.now();
    const any = this.#ring.submit();
    this.stats.submitMs += performance.now() - before;
    this.#noteBatch();
    return any;
  }

  #noteBatch(): void {
    if (this.#unsubmitted === 0) return;
    this.batches.record(this.#unsubmitted);
    this.#unsubmitted = 0;
  }

  /** Whether something can be done that no completion would announce. */
  #hasWork(): boolean {
    return (
      this.#posted.length > 0 ||
      this.#passes.length > 0 ||
      this.#ring.prepared > 0 ||
      this.#ring.ready
    );
  }

  /** Looks for work without sleeping, if that has paid lately. */
  #spin(): boolean {
    if (this.#spinMs === 0) return false;
    if (this.#spinShare < SPIN_SHARE_MIN) {
      if (this.#lastSleepMs > SPIN_PROBE_SLEEP_MS) return false;
      this.#sinceProbe += 1;
      if (this.#sinceProbe < SPIN_PROBE_INTERVAL) return false;
    }
    this.#sinceProbe = 0;
    this.stats.spins += 1;
    const start = performance.now();
    const end = start + this.#spinMs;
    const timersDue = this.#timers.nextMs;
    const isWaiting = this.#inFlight > 0;
    let looked = start;
    do {
      let found = this.#ring.ready;
      for (const watched of this.#sources) if (watched.source.poll()) found = true;
      const now = performance.now();
      if (found || now >= timersDue) {
        this.stats.spinHits += 1;
        // Without what was found, which may have been run already.
        this.#noteSpin(looked - start, isWaiting);
        this.#spinShare += (1 - this.#spinShare) / 8;
        return true;
      }
      looked = now;
      if (now >= end) break;
    } while (!this.#stopping);
    this.#noteSpin(looked - start, isWaiting);
    this.#spinShare -= this.#spinShare / 8;
    return false;
  }

  #noteSpin(ms: number, isWaiting: boolean): void {
    if (isWaiting) this.stats.waitMs += ms;
    else this.stats.spinMs += ms;
  }

  /** Sleeps until there is a completion, a source has something or a timer is due. Returns false after `maxMs`. */
  #sleep(maxMs: number): boolean {
    this.#arm();
    const before = performance.now();
    const untilTimerMs = Math.max(0, this.#timers.nextMs - before);
    this.stats.sleeps += 1;
    this.#noteBatch();
    this.#ring.wait(Math.min(maxMs, untilTimerMs));
    this.#lastSleepMs = performance.now() - before;
    if (this.#inFlight > 0) this.stats.waitMs += this.#lastSleepMs;
    else this.stats.sleepMs += this.#lastSleepMs;
    return this.#ring.ready || untilTimerMs <= maxMs;
  }

  /** Has the kernel watch what can end a sleep and is not watched yet. */
  #arm(): void {
    for (const watched of this.#sources) {
      if (watched.armed) continue;
      if (this.#ring.room === 0) this.#ring.submit();
      watched.armed = true;
      this.#ring.prepare(
        OP_POLL_ADD,
        watched.source.fd,
        0,
        0,
        0,
        POLLIN | POLLERR | POLLHUP,
        watched.id,
        TO_SOURCE,
        0,
      );
    }
    if (!this.#wakeArmed) {
      if (this.#ring.room === 0) this.#ring.submit();
      this.#wakeArmed = true;
      this.#ring.prepare(OP_READ, this.wakeFd, 0, this.#wakeValue.address, 8, 0, 0, TO_WAKE, 0);
    }
  }

  #reap(): boolean {
    const ring = this.#ring;
    const tail = ring.completionTail;
    let any = false;
    for (let left = COMPLETIONS_PER_TURN; left > 0 && ring.next(tail); left -= 1) {
      any = true;
      if (ring.userHigh === TO_SLOT) this.#complete(ring.userLow, ring.result);
      else if (ring.userHigh === TO_SOURCE) this.#sourceFired(ring.userLow);
      else if (ring.userHigh === TO_WAKE) {
        this.#wakeArmed = false;
        if (this.onWake !== null) this.onWake();
      }
    }
    return any;
  }

  #sourceFired(id: number): void {
    for (const watched of this.#sources) if (watched.id === id) watched.armed = false;
  }

  #runPosted(): boolean {
    const posted = this.#posted;
    if (posted.length === 0) return false;
    this.#posted = this.#postedSpare;
    let index = 0;
    try {
      for (; index < posted.length; index += 1) (posted[index] as () => void)();
    } finally {
      // One threw: the others keep their place.
      if (index < posted.length) this.#posted.unshift(...posted.slice(index + 1));
      posted.length = 0;
      this.#postedSpare = posted;
    }
    return true;
  }

  // Slots -----------------------------------------------------------------------------------------------------------

  #start(
    opcode: number,
    fd: number,
    offsetBytes: number,
    absoluteAddress: number,
    byteLength: number,
    done: Done,
  ): void {
    const slot = this.#take(opcode, fd, offsetBytes, done);
    this.#address[slot] = absoluteAddress;
    this.#left[slot] = byteLength;
    this.#enqueue(slot);
  }

  #take(opcode: number, fd: number, offsetBytes: number, done: Done): number {
    assert(!this.#closed, "a closed reactor starts no I/O");
    if (this.#firstFree < 0) this.#grow();
    const slot = this.#firstFree;
    this.#firstFree = this.#nextFree[slot] as number;
    this.#done[slot] = done;
    this.#opcode[slot] = opcode;
    this.#fd[slot] = fd;
    this.#offset[slot] = offsetBytes;
    this.#moved[slot] = 0;
    this.#retries[slot] = 0;
    return slot;
  }

  #release(slot: number): void {
    this.#done[slot] = null;
    this.#nextFree[slot] = this.#firstFree;
    this.#firstFree = slot;
  }

  #grow(): void {
    const old = this.#slotCount;
    const count = old === 0 ? CHUNK_SLOTS : old * 2;
    this.#opcode = grown(this.#opcode, new Uint8Array(count));
    this.#retries = grown(this.#retries, new Uint8Array(count));
    this.#fd = grown(this.#fd, new Int32Array(count));
    this.#offset = grown(this.#offset, new Float64Array(count));
    this.#address = grown(this.#address, new Float64Array(count));
    this.#left = grown(this.#left, new Float64Array(count));
    this.#moved = grown(this.#moved, new Float64Array(count));
    this.#vectors = grown(this.#vectors, new Uint8Array(count));
    this.#nextFree = grown(this.#nextFree, new Int32Array(count));
    for (let slot = count - 1; slot >= old; slot -= 1) {
      this.#done[slot] = null;
      this.#nextFree[slot] = this.#firstFree;
      this.#firstFree = slot;
    }
    this.#slotCount = count;
  }

  #enqueue(slot: number): void {
    if (
      this.#backlog.length === this.#backlogHead &&
      this.#inFlight < IN_FLIGHT_MAX &&
      this.#ring.room > 0
    ) {
      this.#issue(slot);
    } else {
      this.#backlog.push(slot);
    }
  }

  /** Moves operations that waited into the ring, submitting as often as it is full. */
  #fill(): void {
    while (this.#backlogHead < this.#backlog.length && this.#inFlight < IN_FLIGHT_MAX) {
      if (this.#ring.room === 0) {
        this.#submit();
        if (this.#ring.room === 0) return;
      }
      this.#issue(this.#backlog[this.#backlogHead] as number);
      this.#backlogHead += 1;
    }
    if (this.#backlogHead === this.#backlog.length && this.#backlogHead > 0) {
      this.#backlog = [];
      this.#backlogHead = 0;
    }
  }

  #issue(slot: number): void {
    const opcode = this.#opcode[slot] as number;
    const fd = this.#fd[slot] as number;
    const offset = this.#offset[slot] as number;
    const address = this.#address[slot] as number;
    const left = this.#left[slot] as number;
    this.#inFlight += 1;
    this.#unsubmitted += 1;
    if (opcode === OP_READ || opcode === OP_WRITE) {
      const length = Math.min(left, TRANSFER_MAX);
      this.#ring.prepare(opcode, fd, offset, address, length, 0, slot, TO_SLOT, 0);
    } else if (opcode === WRITE_DURABLE) {
      const length = Math.min(left, TRANSFER_MAX);
      this.#ring.prepare(OP_WRITE, fd, offset, address, length, RWF_DSYNC, slot, TO_SLOT, 0);
    } else if (opcode === OP_WRITEV) {
      this.#ring.prepare(
        opcode,
        fd,
        offset,
        address,
        this.#vectors[slot] as number,
        0,
        slot,
        TO_SLOT,
        0,
      );
    } else if (opcode === WRITE_ASIDE) {
      this.#ring.prepare(OP_WRITE | SQE_ASYNC, fd, 0, address, left, 0, slot, TO_SLOT, 0);
    } else if (opcode === OP_FSYNC) {
      this.#ring.prepare(opcode, fd, 0, 0, 0, FSYNC_DATASYNC, slot, TO_SLOT, 0);
    } else if (opcode === OP_FALLOCATE) {
      // Its length travels as the address, its mode as the length.
      const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
      this.#ring.prepare(opcode, fd, offset, left, mode, 0, slot, TO_SLOT, 0);
    } else {
      // The command lies where the offset would, the range's start as the address, its length as the third.
      this.#ring.prepare(opcode, fd, BLOCK_URING_CMD_DISCARD, offset, 0, 0, slot, TO_SLOT, left);
    }
  }

  #complete(slot: number, result: number): void {
    this.#inFlight -= 1;
    if (result === -EAGAIN || result === -EINTR) {
      const retries = (this.#retries[slot] as number) + 1;
      this.#retries[slot] = retries;
      if (retries <= RETRIES_MAX) {
        this.#backlog.push(slot);
        return;
      }
    }
    let status = result;
    const opcode = this.#opcode[slot] as number;
    if (
      result > 0 &&
      (opcode === OP_READ ||
        opcode === OP_WRITE ||
        opcode === OP_WRITEV ||
        opcode === WRITE_DURABLE)
    ) {
      const left = (this.#left[slot] as number) - result;
      const moved = (this.#moved[slot] as number) + result;
      if (left > 0) {
        this.#moved[slot] = moved;
        this.#left[slot] = left;
        this.#offset[slot] = (this.#offset[slot] as number) + result;
        if (opcode === OP_WRITEV) this.#skipVectors(slot, result);
        else this.#address[slot] = (this.#address[slot] as number) + result;
        this.#backlog.push(slot);
        return;
      }
      status = moved;
    } else if (result === 0) {
      // The end of the file, or nothing to move at all. A write that moves nothing would be tried for ever.
      status = opcode === OP_READ || this.#left[slot] === 0 ? (this.#moved[slot] as number) : -EIO;
      if (opcode === OP_FSYNC || opcode === OP_FALLOCATE || opcode === OP_URING_CMD) status = 0;
    }
    const done = this.#done[slot] as Done;
    this.#release(slot);
    this.stats.operations += 1;
    done(status);
  }

  /** Drops the first bytes of a gathering write that was cut short. */
  #skipVectors(slot: number, byteCount: number): void {
    const chunk = this.#vectorChunks[slot >>> 8] as Mapping & { view: DataView };
    const address = this.#address[slot] as number;
    const passed = skipVectors(chunk.view, address - chunk.address, byteCount);
    this.#address[slot] = address + passed * VECTOR_ENTRY_BYTES;
    this.#vectors[slot] = (this.#vectors[slot] as number) - passed;
  }
}

/**
 * Wakes a reactor from another thread of the process.
 *
 * @param wakeFd Its wakeFd. The reactor is open: the number may be another file's afterwards.
 */
export function wakeReactor(wakeFd: number): void {
  const calls = libc();
  one ??= calls.map(4096);
  one.bytes[0] = 1;
  calls.write(wakeFd, one.address, 8);
}

let one: Mapping | undefined;

function grown<T extends Uint8Array | Int32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/**
 * A device for tests that lose power and rot: it knows what is durable, what would be lost, and in what ways.
 *
 * What a disk with a volatile cache promises, and no more:
 * - A write is visible to reads when it completes, and durable when a flush completes that was issued after that; one
 *   that was asked to be durable is at once.
 * - When power is cut, each write that is not durable, completed or not, is there wholly, not at all, or in any subset of
 *   its 512-byte sectors, independently of all others. Order does not matter: the newest of several writes to a sector
 *   that survived is the sector's content, and any of them may be the newest that did.
 *
 * And what a disk does that breaks its promise, each on demand: bit rot, latent read errors, lost, torn and misdirected
 * writes, misdirected reads, flushes that lie, errors, slowness and hangs, a store that fills up, a device that vanishes.
 * `damaged` names the blocks whose contents are not what was written last: what a reader may find wrong, and no other.
 *
 * Everything is a function of the calls and the generator: the same seed replays exactly.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import { isZero } from "../base/bytes.ts";
import { EIO } from "../base/errno.ts";
import type { Prng } from "../base/prng.ts";
import { checkRange, checkVector } from "./check_range.ts";
import type { Device, Done } from "./device.ts";
import { SparseBytes } from "./sparse_bytes.ts";

const CHUNK_BYTES = 4096;
const SECTOR_BYTES = 512;
const BLOCK_BYTES = 4096;
const NO_BYTES = new Uint8Array(0);
/** Never written. */
const ZEROS = new Uint8Array(1 << 20);
const ZEROS_FROM_BYTES = 65_536;

export type SimulatedEvent = "write" | "flush" | "discard";

/**
 * What happens to a write, flush or discard:
 * - "cut": power fails now. The operation was issued: what it writes may or may not be there afterwards.
 * - "error": it fails with −EIO and changes nothing.
 * - "lose": it reports success and does nothing (a lost write, a flush that lies).
 * - "tear": it reports success, and only some of its sectors are written.
 * - a number: the write lands at that offset instead (misdirected), and reports success.
 */
export type Verdict = "cut" | "error" | "lose" | "tear" | number | undefined;

/** What happens to a read: it fails with −EIO, or gives what lies at that offset (misdirected). */
export type ReadVerdict = "error" | number | undefined;

/** How writes that were not durable fare in a crash. */
export type CrashMode =
  /** None is there. */
  | "none"
  /** All are there, as if everything had been flushed. */
  | "all"
  /** Each is there or not. */
  | "subset"
  /** Each is there, or not, or torn at sectors. */
  | "torn";

export interface Scheduler {
  post(callback: () => void): void;
  timer(delayMs: number, callback: () => void): () => void;
}

export interface SimulatedDeviceOptions {
  /** The memory that addresses are offsets into. */
  core: { readonly bytes: Uint8Array };
  scheduler: Scheduler;
  /** For delays; a device with none needs no generator. */
  prng?: Prng;
  /** A multiple of 4,096; or that of `image`. */
  sizeBytes?: number;
  /** What the device holds at first: it becomes the device's, clone it to keep it. */
  image?: SparseBytes;
  name?: string;
  /** Completions come after a random time in this range, hence in another order; by default in the next turn. */
  delayMs?: readonly [min: number, max: number];
  /** What calls after the cut do: nothing for ever, or −EIO. */
  afterCut?: "silent" | "error";
}

interface PendingWrite {
  readonly offsetBytes: number;
  /** What was in the buffers when the write was issued, never changed (images share it); null for a discard. */
  bytes: Uint8Array | null;
  readonly byteLength: number;
  completed: boolean;
}

export class SimulatedDevice implements Device {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly sectorBytes: number = SECTOR_BYTES;
  /** Writes, flushes and discards so far: the index of the next one. */
  eventCount = 0;
  readCount = 0;
  /** Asked at each write, flush and discard, when it is issued. */
  onEvent:
    | ((
        kind: SimulatedEvent,
        index: number,
        offsetBytes: number,
        byteLength: number,
        /** Of a write, what it writes. */
        bytes: Uint8Array,
      ) => Verdict)
    | null = null;
  /** Flushes report success and make nothing durable. */
  dropFlush = false;
  /** Asked at each read, when it is issued. */
  onRead: ((offsetBytes: number, byteLength: number) => ReadVerdict) | null = null;
  /** −errno that every call ends with: the device has vanished. 0: it is there. */
  failure = 0;
  /** −errno that every write ends with: what is below the device is full. */
  writeFailure = 0;
  /** Added to the time of each operation. */
  slowMs = 0;
  /** Blocks that hold something else than was written last: what a reader may find wrong. */
  readonly damaged: Set<number> = new Set();
  /** Those, and the ones that were written again since: a loss of power may undo that. */
  readonly everDamaged: Set<number> = new Set();

  readonly #memory: Uint8Array;
  readonly #scheduler: Scheduler;
  readonly #prng: Prng | undefined;
  readonly #delayMs: readonly [number, number] | undefined;
  readonly #afterCut: "silent" | "error";
  readonly #durable: SparseBytes;
  readonly #current: SparseBytes;
  /** In order of issue. */
  #unflushed: PendingWrite[] = [];
  #badRanges: { offsetBytes: number; byteLength: number }[] = [];
  #isCut = false;
  #inFlight = 0;
  /** Completions that wait for the end of a hang. */
  #held: (() => void)[] | null = null;

  constructor(options: SimulatedDeviceOptions) {
    const sizeBytes = options.image?.sizeBytes ?? options.sizeBytes;
    assert(sizeBytes !== undefined && sizeBytes % 4096 === 0, "a device's size is whole blocks");
    assert(options.delayMs === undefined || options.prng !== undefined, "delays need a generator");
    this.name = options.name ?? "sim";
    this.sizeBytes = sizeBytes;
    this.#memory = options.core.bytes;
    this.#scheduler = options.scheduler;
    this.#prng = options.prng;
    this.#delayMs = options.delayMs;
    this.#afterCut = options.afterCut ?? "silent";
    this.#durable = options.image ?? new SparseBytes(sizeBytes, CHUNK_BYTES);
    this.#current = this.#durable.clone();
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  /** Writes and discards that a crash could still lose. */
  get unflushedCount(): number {
    return this.#unflushed.length;
  }

  /** Operations whose completion has not been called. */
  get inFlight(): number {
    return this.#inFlight;
  }

  read(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    checkRange(this.sizeBytes, offsetBytes, byteLength);
    this.readCount += 1;
    const verdict = this.onRead === null ? undefined : this.onRead(offsetBytes, byteLength);
    if (typeof verdict === "number") checkRange(this.sizeBytes, verdict, byteLength);
    this.#complete(done, () => {
      if (verdict === "error") return -EIO;
      for (const bad of this.#badRanges) {
        if (
          bad.offsetBytes < offsetBytes + byteLength &&
          offsetBytes < bad.offsetBytes + bad.byteLength
        ) {
          return -EIO;
        }
      }
      const from = verdict ?? offsetBytes;
      this.#current.read(from, this.#memory.subarray(address, address + byteLength));
      return 0;
    });
  }

  write(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    this.writeVector(offsetBytes, [address], [byteLength], done);
  }

  writeVector(
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void {
    this.#write(offsetBytes, addresses, byteLengths, false, done);
  }

  writeDurable(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    this.#write(offsetBytes, [address], [byteLength], true, done);
  }

  #write(
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    isDurable: boolean,
    done: Done,
  ): void {
    const byteLength = checkVector(this.sizeBytes, offsetBytes, addresses, byteLengths);
    if (this.#refuse(done)) return;
    const bytes = this.#taken(addresses, byteLengths, byteLength);
    const verdict = this.#event("write", offsetBytes, byteLength, bytes);
    if (this.#failed(verdict, done)) {
      if (verdict === "lose") this.#damage(offsetBytes, byteLength);
      return;
    }
    if (this.writeFailure < 0) {
      this.#complete(done, () => this.writeFailure || -EIO);
      return;
    }
    const target = typeof verdict === "number" ? verdict : offsetBytes;
    checkRange(this.sizeBytes, target, byteLength);
    const write: PendingWrite = { offsetBytes: target, bytes, byteLength, completed: false };
    if (verdict === "tear") {
      this.#damage(offsetBytes, byteLength);
      this.#complete(done, () => {
        this.#tear(write);
        return 0;
      });
      return;
    }
    this.#unflushed.push(write);
    if (verdict === "cut") {
      this.cutPower();
      return;
    }
    if (target !== offsetBytes) {
      this.#damage(offsetBytes, byteLength);
      this.#damage(target, byteLength);
    }
    this.#complete(done, () => {
      assert(
        this.#isUnchanged(addresses, byteLengths, bytes),
        `the buffers of a write of ${byteLength} bytes at ${offsetBytes} do not change while it is under way`,
      );
      this.#apply(write);
      if (typeof verdict === "number") {
        this.#damage(offsetBytes, byteLength);
        this.#damage(target, byteLength);
      }
      if (isDurable && !this.dropFlush) this.#settle(write);
      return 0;
    });
  }

  flush(done: Done): void {
    if (this.#refuse(done)) return;
    const verdict = this.#event("flush", 0, 0);
    if (this.#failed(verdict, done)) return;
    if (verdict === "cut") {
      this.cutPower();
      return;
    }
    const covered = this.#unflushed.filter((write) => write.completed);
    this.#complete(done, () => {
      if (this.dropFlush) return 0;
      const settled = new Set(covered);
      // In order of issue, and none that another flush has settled meanwhile: what was written over it since is newer.
      for (const write of this.#unflushed) if (settled.has(write)) applyTo(this.#durable, write);
      this.#unflushed = this.#unflushed.filter((write) => !settled.has(write));
      return 0;
    });
  }

  discard(offsetBytes: number, byteLength: number, done: Done): void {
    checkRange(this.sizeBytes, offsetBytes, byteLength);
    if (this.#refuse(done)) return;
    const verdict = this.#event("discard", offsetBytes, byteLength);
    if (this.#failed(verdict, done)) return;
    const write: PendingWrite = { offsetBytes, bytes: null, byteLength, completed: false };
    this.#unflushed.push(write);
    if (verdict === "cut") {
      this.cutPower();
      return;
    }
    this.#complete(done, () => {
      this.#apply(write);
      return 0;
    });
  }

  close(): void {
    assert(this.#inFlight === 0 || this.#isCut, "no I/O is under way when a device closes");
  }

  /** From now on nothing completes with success, and nothing more becomes durable. */
  cutPower(): void {
    this.#isCut = true;
  }

  /**
   * What the device could hold after a loss of power at this moment. The device itself is left as it is, so one run can
   * give many images, each independent of all others.
   */
  crashImage(prng: Prng, mode: CrashMode): SparseBytes {
    const image = this.#durable.clone();
    if (mode === "none") return image;
    // One image in some keeps nearly everything, one nearly nothing: an even chance for each write would hardly ever
    // try a single lost one among many.
    const keepShare = [0.05, 0.5, 0.95][prng.below(3)] as number;
    for (const write of this.#unflushed) {
      if (mode === "all") {
        applyTo(image, write);
        continue;
      }
      const fate = prng.float();
      if (fate < keepShare) applyTo(image, write);
      else if (mode === "torn" && prng.below(2) === 0) applyTorn(image, write, prng);
    }
    return image;
  }

  /** What the device would hold if it were flushed now: for tests that end in order. */
  currentImage(): SparseBytes {
    return this.#current.clone();
  }

  /** Bit rot: what is stored changes, now and after a crash. A later write of the place hides it. */
  flipBit(offsetBytes: number, bit: number): void {
    assert(offsetBytes >= 0 && offsetBytes < this.sizeBytes && bit >= 0 && bit < 8, "a bit exists");
    this.#damage(offsetBytes - (offsetBytes % BLOCK_BYTES), BLOCK_BYTES);
    this.#durable.flipBit(offsetBytes, bit);
    this.#current.flipBit(offsetBytes, bit);
    for (const write of this.#unflushed) {
      const at = offsetBytes - write.offsetBytes;
      if (write.bytes === null || at < 0 || at >= write.byteLength || !write.completed) continue;
      write.bytes = write.bytes.slice();
      write.bytes[at] = (write.bytes[at] as number) ^ (1 << bit);
    }
  }

  /** A latent error: reads that touch the range fail with −EIO until it is written (as a disk reallocates a sector). */
  failReads(offsetBytes: number, byteLength: number): void {
    this.#badRanges.push({ offsetBytes, byteLength });
    this.#damage(offsetBytes, byteLength);
  }

  /** The ranges of failReads that are still bad: they outlive a loss of power. */
  get badRanges(): readonly { readonly offsetBytes: number; readonly byteLength: number }[] {
    return this.#badRanges;
  }

  /** What a reader of the device would see now; for tests that look at what lies where. */
  peek(offsetBytes: number, target: Uint8Array): void {
    this.#current.read(offsetBytes, target);
  }

  /** Everything fails from now on, or for so long. */
  vanish(status: number, forMs: number | null): void {
    this.failure = status;
    if (forMs === null) return;
    this.#scheduler.timer(forMs, () => {
      if (this.failure === status) this.failure = 0;
    });
  }

  /** Nothing completes for so long; then everything does, in its order. */
  hang(forMs: number): void {
    if (this.#held !== null) return;
    this.#held = [];
    this.#scheduler.timer(forMs, () => {
      const held = this.#held ?? [];
      this.#held = null;
      for (const end of held) end();
    });
  }

  get isHanging(): boolean {
    return this.#held !== null;
  }

  #damage(offsetBytes: number, byteLength: number): void {
    for (let at = offsetBytes; at < offsetBytes + byteLength; at += BLOCK_BYTES) {
      this.damaged.add(at / BLOCK_BYTES);
      this.everDamaged.add(at / BLOCK_BYTES);
    }
  }

  /** Some of the sectors of a write that says it succeeded: what else was there stays. */
  #tear(write: PendingWrite): void {
    const prng = this.#prng;
    assert(prng !== undefined && write.bytes !== null, "tearing needs a generator");
    const sectors = write.byteLength / SECTOR_BYTES;
    const kept = prng.below(sectors);
    const offset = write.offsetBytes + kept * SECTOR_BYTES;
    const old = new Uint8Array(write.byteLength - kept * SECTOR_BYTES);
    this.#current.read(offset, old);
    write.bytes = write.bytes.slice();
    write.bytes.set(old, kept * SECTOR_BYTES);
    this.#unflushed.push(write);
    this.#apply(write);
    this.#damage(write.offsetBytes, write.byteLength);
  }

  #isUnchanged(
    addresses: readonly number[],
    byteLengths: readonly number[],
    bytes: Uint8Array,
  ): boolean {
    let at = 0;
    for (let index = 0; index < addresses.length; index += 1) {
      const address = addresses[index] as number;
      const end = at + (byteLengths[index] as number);
      const now = this.#memory.subarray(address, address + end - at);
      if (Buffer.compare(bytes.subarray(at, end), now) !== 0) return false;
      at = end;
    }
    return true;
  }

  #event(
    kind: SimulatedEvent,
    offsetBytes: number,
    byteLength: number,
    bytes: Uint8Array = NO_BYTES,
  ): Verdict {
    const index = this.eventCount;
    this.eventCount += 1;
    return this.onEvent?.(kind, index, offsetBytes, byteLength, bytes);
  }

  /** After the cut. Returns true when the call is answered, or never will be. */
  #refuse(done: Done): boolean {
    if (!this.#isCut) return false;
    if (this.#afterCut === "error") this.#scheduler.post(() => done(-EIO));
    return true;
  }

  #failed(verdict: Verdict, done: Done): boolean {
    if (verdict !== "error" && verdict !== "lose") return false;
    this.#complete(done, () => (verdict === "error" ? -EIO : 0));
    return true;
  }

  /** Calls back later with what `finish` then returns, unless power is cut before. */
  #complete(done: Done, finish: () => number): void {
    this.#inFlight += 1;
    const end = (): void => {
      if (this.#held !== null) {
        this.#held.push(end);
        return;
      }
      this.#inFlight -= 1;
      if (!this.#isCut) done(this.failure < 0 ? this.failure : finish());
      else if (this.#afterCut === "error") done(-EIO);
    };
    if (this.#delayMs === undefined || this.#prng === undefined) {
      this.#scheduler.post(end);
    } else {
      const [min, max] = this.#delayMs;
      this.#scheduler.timer(this.slowMs + min + this.#prng.float() * (max - min), end);
    }
  }

  #apply(write: PendingWrite): void {
    write.completed = true;
    applyTo(this.#current, write);
    const end = write.offsetBytes + write.byteLength;
    if (this.#badRanges.length > 0) {
      this.#badRanges = this.#badRanges.filter(
        (bad) => bad.offsetBytes < write.offsetBytes || bad.offsetBytes + bad.byteLength > end,
      );
    }
    if (this.damaged.size > 0) {
      for (let at = write.offsetBytes; at < end; at += BLOCK_BYTES)
        this.damaged.delete(at / BLOCK_BYTES);
    }
    // Keeps the completed ones in the order in which they took effect, so that a flush repeats it.
    const at = this.#unflushed.indexOf(write);
    if (at >= 0 && at < this.#unflushed.length - 1) {
      this.#unflushed.splice(at, 1);
      this.#unflushed.push(write);
    }
  }

  /** Makes one completed write durable, after those to the same place that had completed before it. */
  #settle(write: PendingWrite): void {
    const end = write.offsetBytes + write.byteLength;
    this.#unflushed = this.#unflushed.filter((other) => {
      const isUnder =
        other.completed &&
        other.offsetBytes < end &&
        write.offsetBytes < other.offsetBytes + other.byteLength;
      // In the order in which they took effect: of those that completed `write` is the last.
      if (isUnder) applyTo(this.#durable, other);
      return !isUnder;
    });
  }

  /** What is in the buffers now. */
  #taken(
    addresses: readonly number[],
    byteLengths: readonly number[],
    byteLength: number,
  ): Uint8Array {
    const first = addresses[0] as number;
    // Journals and maps are cleared by large writes of zeros: there is one array of those.
    if (addresses.length === 1 && byteLength >= ZEROS_FROM_BYTES && byteLength <= ZEROS.length) {
      if (isZero(this.#memory.subarray(first, first + byteLength)))
        return ZEROS.subarray(0, byteLength);
    }
    const bytes = this.#durable.memory.take(byteLength);
    let at = 0;
    for (let index = 0; index < addresses.length; index += 1) {
      const address = addresses[index] as number;
      const length = byteLengths[index] as number;
      bytes.set(this.#memory.subarray(address, address + length), at);
      at += length;
    }
    return bytes;
  }
}

function applyTo(image: SparseBytes, write: PendingWrite): void {
  if (write.bytes === null) image.clear(write.offsetBytes, write.byteLength);
  else image.share(write.offsetBytes, write.bytes);
}

/** Applies any subset of the sectors, in one of the shapes that tearing has: a prefix, a suffix, or scattered. */
function applyTorn(image: SparseBytes, write: PendingWrite, prng: Prng): void {
  const sectorCount = write.byteLength / SECTOR_BYTES;
  const shape = prng.below(3);
  const border = prng.below(sectorCount + 1);
  for (let sector = 0; sector < sectorCount; sector += 1) {
    const kept =
      shape === 0 ? sector < border : shape === 1 ? sector >= border : prng.below(2) === 0;
    if (!kept) continue;
    const at = sector * SECTOR_BYTES;
    if (write.bytes === null) image.clear(write.offsetBytes + at, SECTOR_BYTES);
    else image.write(write.offsetBytes + at, write.bytes.subarray(at, at + SECTOR_BYTES));
  }
}

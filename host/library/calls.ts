/**
 * Calls into a file system from promises: waits and repeats on Retry, moves names and payload between JavaScript and
 * the core's memory, and bounds what is under way.
 *
 * Invariants. An operation is one synchronous function that makes at most one change, as its last step: so it may be
 * run again from the start, and no other operation is seen half done. Names are encoded into one scratch region by
 * the operation itself, every time it runs. No more than READS and WRITES transfers are under way, so that
 * the callers' number does not decide whether the pool of buffers suffices.
 */
import { Buffer } from "node:buffer";
import { EOPNOTSUPP } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Retry } from "../base/retry.ts";
import { Attributes, type FileSystem, NAME_BYTES_MAX } from "../fs/file_system.ts";
import { type CallContext, systemError, volumeClosedError } from "./errors.ts";

const BLOCK_BYTES = 4096;
/** Largest transfer of one step: others get their turn between steps. */
const STEP_BYTES = 1024 * 1024;
const READS = 8;
const READS_OF_ONE = 4;
const WRITES = 4;
const SCRATCH_BLOCKS = 2;
/** Longest name or value that the scratch takes beside a name. */
export const SCRATCH_VALUE_BYTES: number = BLOCK_BYTES;

/** A directory entry: the name's bytes and the type, S_IFMT >> 12. */
export interface RawEntry {
  readonly name: Buffer;
  readonly type: number;
  readonly ino: number;
}

export class Calls {
  readonly fs: FileSystem;
  /** The volume's name, for messages. */
  readonly name: string;
  /** Device number that stat reports: tells volumes apart. */
  readonly dev: number;
  /** Filled by operations, read by them before they return. */
  readonly attributes: Attributes = new Attributes();
  readonly #bytes: Buffer;
  readonly #scratch: number;
  readonly #reads = new Permits(READS);
  readonly #writes = new Permits(WRITES);
  readonly #appends = new Map<number, Promise<unknown>>();
  #closing = false;
  #closed = false;
  #active = 0;
  #whenIdle: (() => void) | null = null;

  /** @param memory The core's memory. */
  constructor(fs: FileSystem, memory: Uint8Array<ArrayBuffer>, name: string, dev: number) {
    this.fs = fs;
    this.name = name;
    this.dev = dev;
    this.#bytes = Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength);
    this.#scratch = fs.takeBuffer(SCRATCH_BLOCKS);
    if (this.#scratch === 0) throw systemError(12, { syscall: "open" });
  }

  /** Runs what a caller asked for: refused once the volume is being closed, which waits for it. */
  async guard<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing) throw volumeClosedError(this.name);
    this.#active += 1;
    try {
      return await work();
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#whenIdle?.();
    }
  }

  /** Refuses new work and waits for what is under way. */
  async drain(): Promise<void> {
    this.#closing = true;
    if (this.#active > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
  }

  /** Gives the scratch back. Nothing may be called any more. */
  end(): void {
    this.#closed = true;
    this.fs.giveBuffer(this.#scratch, SCRATCH_BLOCKS);
  }

  /**
   * Runs an operation, again and again while it throws Retry.
   *
   * @param operation Synchronous; makes one change at most, as its last step; returns ≥ 0 or −errno.
   * @returns What the operation returned.
   * @throws {SystemCallError} Its error number.
   */
  call(context: CallContext, operation: () => number): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(volumeClosedError(this.name));
        return;
      }
      let running = false;
      let resumed = false;
      let resumedWith = 0;
      const step = (first: number): void => {
        if (running) {
          // The wait ended inside its own start: the loop below goes on.
          resumed = true;
          resumedWith = first;
          return;
        }
        running = true;
        let status = first;
        for (;;) {
          if (status < 0) {
            reject(systemError(status, context));
            return;
          }
          try {
            const result = operation();
            if (result < 0) reject(systemError(result, context));
            else resolve(result);
            return;
          } catch (error) {
            if (!(error instanceof Retry)) {
              reject(error instanceof FsError ? systemError(error.errno, context, error) : error);
              return;
            }
            resumed = false;
            error.wait(step);
            if (!resumed) break;
            status = resumedWith;
          }
        }
        running = false;
      };
      step(0);
    });
  }

  /**
   * Puts a name where the file system finds it.
   *
   * @param slot 0, or 1 for the second name of an operation.
   * @returns Its address; valid until the next name in the slot.
   */
  encodeName(name: Uint8Array, slot: 0 | 1 = 0): number {
    const address = this.#scratch + slot * (NAME_BYTES_MAX + 1);
    this.#bytes.set(name, address);
    return address;
  }

  /** Address of SCRATCH_VALUE_BYTES for a symlink's target, a value or a small payload. */
  get valueAddress(): number {
    return this.#scratch + BLOCK_BYTES;
  }

  encodeValue(value: Uint8Array): number {
    this.#bytes.set(value, this.valueAddress);
    return this.valueAddress;
  }

  /** Copies from the core's memory. */
  copyOut(address: number, byteLength: number): Buffer {
    return Buffer.from(this.#bytes.subarray(address, address + byteLength));
  }

  /** Runs with a run of buffers of its own, of at least the length asked for. */
  async withBuffer<T>(byteLength: number, work: (address: number) => Promise<T>): Promise<T> {
    const blocks = Math.max(1, Math.ceil(byteLength / BLOCK_BYTES));
    const address = await this.#take(blocks, blocks);
    try {
      return await work(address.address);
    } finally {
      this.fs.giveBuffer(address.address, blocks);
    }
  }

  set(address: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, address);
  }

  /** As many blocks as there are in one run, at least `least`. */
  async #take(wanted: number, least: number): Promise<{ address: number; blocks: number }> {
    for (;;) {
      // A fragmented pool has no long runs however long we wait.
      for (let blocks = wanted; blocks >= least; blocks = Math.floor(blocks / 2)) {
        const address = this.fs.takeBuffer(blocks);
        if (address !== 0) return { address, blocks };
        if (blocks === least) break;
      }
      await new Promise<void>((resolve, reject) => {
        this.fs.whenBuffers((status) => {
          if (status < 0) reject(systemError(status, { syscall: "write" }));
          else resolve();
        });
      });
    }
  }

  /**
   * Reads as much of the range as the file has.
   *
   * @returns Bytes read.
   */
  async read(
    ino: number,
    offset: number,
    target: Uint8Array,
    context: CallContext,
  ): Promise<number> {
    let total = 0;
    while (total < target.length) {
      const steps: Promise<number>[] = [];
      const lengths: number[] = [];
      for (let at = total; at < target.length && steps.length < READS_OF_ONE; ) {
        const length = Math.min(STEP_BYTES, target.length - at);
        const part = target.subarray(at, at + length);
        const from = offset + at;
        steps.push(this.#reads.with(() => this.#readStep(ino, from, part, context)));
        lengths.push(length);
        at += length;
      }
      // All of them have ended before an error is told: nobody writes to the buffer any more.
      const counts = await Promise.allSettled(steps);
      for (const [index, count] of counts.entries()) {
        if (count.status === "rejected") throw count.reason;
        total += count.value;
        if (count.value < lengths[index]!) return total;
      }
    }
    return total;
  }

  #readStep(
    ino: number,
    offset: number,
    target: Uint8Array,
    context: CallContext,
  ): Promise<number> {
    let outcome: Promise<number> | null = null;
    return this.call(context, () => {
      outcome = new Promise<number>((resolve, reject) => {
        this.fs.read(ino, offset, target.length, (result) => {
          if (result.status < 0) {
            result.release();
            reject(systemError(result.status, context));
            return;
          }
          let at = 0;
          for (let part = 0; part < result.parts; part += 1) {
            const address = result.addresses[part]!;
            const length = result.byteLengths[part]!;
            target.set(this.#bytes.subarray(address, address + length), at);
            at += length;
          }
          result.release();
          resolve(at);
        });
      });
      return 0;
    }).then(() => outcome!);
  }

  /** Writes all of the data. */
  async write(ino: number, offset: number, data: Uint8Array, context: CallContext): Promise<void> {
    if (data.length <= BLOCK_BYTES) {
      if (data.length > 0) await this.#writeSmall(ino, () => offset, data, context);
      return;
    }
    await this.#writes.with(async () => {
      for (let done = 0; done < data.length; ) {
        done += await this.#writeStep(ino, offset + done, data.subarray(done), context);
      }
    });
  }

  /**
   * Writes all of the data at the file's end, which nobody else moves meanwhile.
   *
   * @returns The offset after the data.
   */
  append(ino: number, data: Uint8Array, context: CallContext): Promise<number> {
    return this.#exclusively(ino, async () => {
      let end = 0;
      const size = (): number => {
        const status = this.fs.getAttributes(ino, this.attributes);
        if (status < 0) throw new FsError(status, "library/append-size", "Cannot tell the size");
        end = this.attributes.size;
        return end;
      };
      if (data.length <= BLOCK_BYTES) {
        if (data.length > 0) await this.#writeSmall(ino, size, data, context);
        return end + data.length;
      }
      await this.call(context, () => {
        size();
        return 0;
      });
      await this.write(ino, end, data, context);
      return end + data.length;
    });
  }

  #writeSmall(
    ino: number,
    offset: () => number,
    data: Uint8Array,
    context: CallContext,
  ): Promise<number> {
    return this.call(context, () =>
      this.fs.write(ino, offset(), this.encodeValue(data), data.length, false),
    );
  }

  async #writeStep(
    ino: number,
    offset: number,
    data: Uint8Array,
    context: CallContext,
  ): Promise<number> {
    // Steps end at multiples of their length, so that all but the first hand whole buffers over.
    const wanted = Math.min(data.length, STEP_BYTES - (offset % STEP_BYTES));
    const { address, blocks } = await this.#take(Math.ceil(wanted / BLOCK_BYTES), 1);
    const length = Math.min(wanted, blocks * BLOCK_BYTES);
    this.#bytes.set(data.subarray(0, length), address);
    const aligned = offset % BLOCK_BYTES === 0;
    let given = false;
    try {
      await this.call(context, () => {
        if (!aligned) return this.fs.write(ino, offset, address, length, false);
        given = true;
        try {
          return this.fs.writeOwned(ino, offset, address, length, address, blocks, false);
        } catch (error) {
          // It took nothing yet.
          if (error instanceof Retry) given = false;
          throw error;
        }
      });
    } finally {
      if (!given) this.fs.giveBuffer(address, blocks);
    }
    return length;
  }

  async #exclusively<T>(ino: number, work: () => Promise<T>): Promise<T> {
    const before = this.#appends.get(ino);
    const turn = (async () => {
      await before?.catch(() => {});
      return await work();
    })();
    this.#appends.set(ino, turn);
    try {
      return await turn;
    } finally {
      if (this.#appends.get(ino) === turn) this.#appends.delete(ino);
    }
  }

  /** All entries but "." and "..", in the order of the names' bytes. */
  async list(ino: number, context: CallContext): Promise<RawEntry[]> {
    const entries: RawEntry[] = [];
    let cookie = 0;
    for (;;) {
      const batch = await this.listSome(ino, cookie, 1024, context);
      for (const entry of batch.entries) entries.push(entry);
      if (batch.end) break;
      cookie = batch.cookie;
    }
    return entries.sort((a, b) => Buffer.compare(a.name, b.name));
  }

  /** Some entries after a cookie (0: from the start), in the directory's own order. */
  async listSome(
    ino: number,
    cookie: number,
    countMax: number,
    context: CallContext,
  ): Promise<{ entries: RawEntry[]; cookie: number; end: boolean }> {
    const entries: RawEntry[] = [];
    let next = cookie;
    let taken = 0;
    await this.call(context, () => {
      entries.length = 0;
      next = cookie;
      taken = 0;
      return this.fs.readDirectory(ino, cookie, (child, type, address, length, nextCookie) => {
        if (taken >= countMax) return false;
        taken += 1;
        next = nextCookie;
        const name = this.copyOut(address, length);
        if (!isDots(name)) entries.push({ name, type, ino: child });
        return true;
      });
    });
    return { entries, cookie: next, end: taken === 0 };
  }

  remember(ino: number): void {
    this.fs.remember(ino, 1);
  }

  async forget(ino: number): Promise<void> {
    await this.call({ syscall: "close" }, () => {
      this.fs.forget(ino, 1);
      return 0;
    });
  }

  /** Makes a file, or everything (ino 0), durable. */
  flush(ino: number, dataOnly: boolean, context: CallContext): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (status: number): void => {
        if (status < 0) reject(systemError(status, context));
        else resolve();
      };
      if (ino === 0) this.fs.sync(done);
      else this.fs.fsync(ino, dataOnly, done);
    });
  }

  /**
   * Copies a range by sharing blocks where it can: FileSystem.copyRange.
   *
   * @returns Bytes copied; null where the file system cannot.
   */
  async copyRange(
    from: number,
    to: number,
    byteLength: number,
    context: CallContext,
  ): Promise<number | null> {
    const status = await new Promise<number>((resolve) => {
      this.fs.copyRange(from, 0, to, 0, byteLength, resolve);
    });
    if (status === -EOPNOTSUPP) return null;
    if (status < 0) throw systemError(status, context);
    return status;
  }
}

function isDots(name: Uint8Array): boolean {
  return name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
}

/** A counted lock: at most so many at a time, first come first served. */
class Permits {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async with<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

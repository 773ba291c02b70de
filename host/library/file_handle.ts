/**
 * An open file, as Node's FileHandle: position, access mode, and a reference that keeps the data of an unlinked file.
 *
 * Operations at the handle's own position run one after another, in the order of their calls; those with a position
 * of their own do not wait.
 */
import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import { constants, type ReadStream, type WriteStream } from "node:fs";
import * as readline from "node:readline";
import { EBADF, EINVAL, EISDIR } from "../base/errno.ts";
import {
  AttributeChange,
  SET_ATIME,
  SET_GID,
  SET_KILL_PRIVILEGES,
  SET_MODE,
  SET_MTIME,
  SET_SIZE,
  SET_UID,
} from "../fs/file_system.ts";
import {
  bytesOf,
  isView,
  type TimeLike,
  throwIfAborted,
  validId,
  validInteger,
  validMode,
  validObject,
  validOptions,
  validText,
  validTime,
  validViews,
} from "./arguments.ts";
import type { Calls } from "./calls.ts";
import {
  argumentTypeError,
  argumentValueError,
  codedError,
  fileClosedError,
  outOfRangeError,
  systemError,
} from "./errors.ts";
import { BigIntStats, Stats } from "./stats.ts";
import {
  type ReadStreamOptions,
  readStreamOf,
  type WriteStreamOptions,
  writeStreamOf,
} from "./streams.ts";

const { O_ACCMODE, O_APPEND, O_RDONLY, O_SYNC, O_WRONLY, S_IFDIR, S_IFMT, S_IFREG } = {
  // Not among Node's constants.
  O_ACCMODE: 3,
  ...constants,
};
const O_DSYNC = constants.O_DSYNC ?? 0o10000;

/** Longest that readFile takes, as in Node. */
const READ_FILE_BYTES_MAX = 2 ** 31 - 1;
/** First length of a read whose end is not known. */
const UNKNOWN_READ_BYTES = 64 * 1024;
const READ_FILE_STEP_BYTES = 8 * 1024 * 1024;
const WRITE_FILE_STEP_BYTES = 1024 * 1024;

/** What can be written to a file as a whole. */
export type FileData =
  | string
  | NodeJS.ArrayBufferView
  | Iterable<string | NodeJS.ArrayBufferView>
  | AsyncIterable<string | NodeJS.ArrayBufferView>;

/** Options of readFile(). */
export interface ReadFileOptions {
  /** How bytes become text; "buffer" or none for a Buffer. */
  encoding?: string | null | undefined;
  /** How to open the file: "r", "wx", … */
  flag?: string | number | undefined;
  /** Cancels the operation. */
  signal?: AbortSignal | undefined;
}

/** Options of writeFile() and appendFile(). */
export interface WriteFileOptions {
  /** How bytes become text; "buffer" or none for a Buffer. */
  encoding?: string | null | undefined;
  /** Permissions of a file that is made; default 0o666, less the umask. */
  mode?: number | string | undefined;
  /** How to open the file: "r", "wx", … */
  flag?: string | number | undefined;
  /** Whether the data shall be durable before the promise resolves. */
  flush?: boolean | undefined;
  /** Cancels the operation. */
  signal?: AbortSignal | undefined;
}

/** Where read() puts and finds bytes. */
export interface ReadOptions<T extends NodeJS.ArrayBufferView = Buffer> {
  /** Where to put the bytes; default a new Buffer of 16 KiB. */
  buffer?: T | undefined;
  /** First byte of the buffer, default 0. */
  offset?: number | null | undefined;
  /** Bytes to read, default to the buffer's end. */
  length?: number | null | undefined;
  /** null: at the handle's position, which then moves. */
  position?: number | bigint | null | undefined;
}

/** An open file, as Node's FileHandle. Close it: while it is open, its data stay even if its name is gone. */
export class FileHandle extends EventEmitter {
  /** For `await using`: close(). Missing where the runtime has no such symbol. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly #calls: Calls;
  readonly #ino: number;
  readonly #flags: number;
  readonly #guarded: boolean;
  readonly #onClose: () => void;
  #fd: number;
  #position = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #active = 0;
  #whenIdle: (() => void) | null = null;
  #closing: Promise<void> | null = null;
  #locked = false;

  /**
   * Takes over a reference to the inode, given back by close().
   *
   * @param options.flags O_* bits.
   * @param options.guarded False for a handle inside of an operation of the volume, which is guarded as a whole.
   * @param options.onClose Called once, when the descriptor is free again.
   */
  constructor(
    calls: Calls,
    options: {
      ino: number;
      fd: number;
      flags: number;
      guarded: boolean;
      onClose: () => void;
    },
  ) {
    super();
    this.#calls = calls;
    this.#ino = options.ino;
    this.#fd = options.fd;
    this.#flags = options.flags;
    this.#guarded = options.guarded;
    this.#onClose = options.onClose;
    // A bound own property in Node too: programs pass it around.
    this.close = this.close.bind(this);
    if (Symbol.asyncDispose !== undefined) {
      Object.defineProperty(this, Symbol.asyncDispose, { value: this.close });
    }
  }

  /** A number that is the handle's alone while it is open, −1 after. Of no use to the system. */
  get fd(): number {
    return this.#fd;
  }

  /** Not in Node's interface: the inode number, for tools. */
  get ino(): number {
    return this.#ino;
  }

  /** Runs an operation unless the handle is closed; close() waits for it. */
  async #use<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.#fd === -1 || this.#closing !== null) throw fileClosedError(name);
    this.#active += 1;
    try {
      return await (this.#guarded ? this.#calls.guard(work) : work());
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#whenIdle?.();
    }
  }

  /** Runs after the operations at the handle's position that were asked for before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }

  get #readable(): boolean {
    return (this.#flags & O_ACCMODE) !== O_WRONLY;
  }

  get #writable(): boolean {
    return (this.#flags & O_ACCMODE) !== O_RDONLY;
  }

  async #readAt(target: Uint8Array, position: number | null): Promise<number> {
    const context = { syscall: "read" };
    if (!this.#readable) throw systemError(EBADF, context);
    const calls = this.#calls;
    await calls.call(context, () => {
      const status = calls.fs.getAttributes(this.#ino, calls.attributes);
      if (status < 0) return status;
      return (calls.attributes.mode & S_IFMT) === S_IFDIR ? -EISDIR : 0;
    });
    if (position !== null) return await calls.read(this.#ino, position, target, context);
    return await this.#inTurn(async () => {
      const count = await calls.read(this.#ino, this.#position, target, context);
      this.#position += count;
      return count;
    });
  }

  async #writeAt(data: Uint8Array, position: number | null): Promise<number> {
    const context = { syscall: "write" };
    if (!this.#writable) throw systemError(EBADF, context);
    const calls = this.#calls;
    if ((this.#flags & O_APPEND) !== 0) {
      await this.#inTurn(async () => {
        this.#position = await calls.append(this.#ino, data, context);
      });
    } else if (position !== null) {
      await calls.write(this.#ino, position, data, context);
    } else {
      await this.#inTurn(async () => {
        await calls.write(this.#ino, this.#position, data, context);
        this.#position += data.length;
      });
    }
    if ((this.#flags & (O_SYNC | O_DSYNC)) !== 0) await calls.flush(this.#ino, false, context);
    return data.length;
  }

  /**
   * Reads into a buffer: read(buffer, offset, length, position), read(buffer, options) or read(options).
   *
   * @returns How many bytes were read, 0 at the end of the file, and the buffer.
   */
  read<T extends NodeJS.ArrayBufferView>(
    buffer: T,
    offset?: number | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: T }>;
  /** The next entry. */
  read<T extends NodeJS.ArrayBufferView = Buffer>(
    buffer: T,
    options?: ReadOptions<T>,
  ): Promise<{ bytesRead: number; buffer: T }>;
  /** The next entry. */
  read<T extends NodeJS.ArrayBufferView = Buffer>(
    options?: ReadOptions<T>,
  ): Promise<{ bytesRead: number; buffer: T }>;
  read(
    bufferOrOptions?: NodeJS.ArrayBufferView | ReadOptions<NodeJS.ArrayBufferView> | null,
    offsetOrOptions?: number | ReadOptions<NodeJS.ArrayBufferView> | null,
    lengthArgument?: number | null,
    positionArgument?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: NodeJS.ArrayBufferView }> {
    return this.#use("read", async () => {
      let buffer: NodeJS.ArrayBufferView;
      let offset: unknown = offsetOrOptions;
      let length = lengthArgument;
      let position = positionArgument;
      if (isView(bufferOrOptions)) buffer = bufferOrOptions;
      else {
        const options = (
          bufferOrOptions === undefined || bufferOrOptions === null
            ? {}
            : validObject(bufferOrOptions, "options")
        ) as ReadOptions<NodeJS.ArrayBufferView>;
        buffer = options.buffer ?? Buffer.alloc(16384);
        ({ offset = 0, length, position } = options);
        if (!isView(buffer)) {
          throw argumentTypeError(
            "buffer",
            "an instance of Buffer, TypedArray, or DataView",
            buffer,
          );
        }
      }
      if (offset !== null && typeof offset === "object") {
        ({ offset = 0, length, position } = offset as ReadOptions);
      }
      const start = offset === undefined || offset === null ? 0 : validInteger(offset, "offset", 0);
      const count = length ?? buffer.byteLength - start;
      if (count === 0) return { bytesRead: 0, buffer };
      if (buffer.byteLength === 0) {
        throw argumentValueError("buffer", buffer, "is empty and cannot be written");
      }
      if (count < 0) throw outOfRangeError("length", ">= 0", count);
      if (start + count > buffer.byteLength) {
        throw outOfRangeError("length", `<= ${buffer.byteLength - start}`, count);
      }
      const at = typeof position === "bigint" ? Number(position) : position;
      const bytesRead = await this.#readAt(
        bytesOf(buffer).subarray(start, start + count),
        Number.isSafeInteger(at) && at! >= 0 ? at! : null,
      );
      return { bytesRead, buffer };
    });
  }

  /** Reads into several buffers, one after the other. */
  readv<T extends readonly NodeJS.ArrayBufferView[]>(
    buffers: T,
    position?: number | null,
  ): Promise<{ bytesRead: number; buffers: T }> {
    return this.#use("readv", async () => {
      const views = validViews(buffers).map(bytesOf);
      const joined = Buffer.alloc(views.reduce((sum, view) => sum + view.length, 0));
      const at = typeof position === "number" && position >= 0 ? position : null;
      const bytesRead = await this.#readAt(joined, at);
      let from = 0;
      for (const view of views) {
        if (from >= bytesRead) break;
        view.set(joined.subarray(from, Math.min(bytesRead, from + view.length)));
        from += view.length;
      }
      return { bytesRead, buffers };
    });
  }

  /**
   * Writes a buffer, write(buffer, offset, length, position) or write(buffer, options); or a string,
   * write(string, position, encoding). Always writes all of it. In memory only: durable after sync(), or with the
   * volume's next checkpoint.
   */
  write<T extends NodeJS.ArrayBufferView>(
    buffer: T,
    offset?: number | null,
    length?: number | null,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: T }>;
  /** The same with options. */
  write<T extends NodeJS.ArrayBufferView>(
    buffer: T,
    options?: { offset?: number; length?: number; position?: number | null },
  ): Promise<{ bytesWritten: number; buffer: T }>;
  /** Writes a string. */
  write(
    text: string,
    position?: number | null,
    encoding?: string | null,
  ): Promise<{ bytesWritten: number; buffer: string }>;
  write(
    data: NodeJS.ArrayBufferView | string,
    second?: unknown,
    third?: unknown,
    fourth?: unknown,
  ): Promise<{ bytesWritten: number; buffer: NodeJS.ArrayBufferView | string }> {
    return this.#use("write", async () => {
      if (!isView(data)) {
        validText(data, "buffer");
        const encoding = typeof third === "string" ? (third as BufferEncoding) : "utf8";
        if (encoding === "hex" && data.length % 2 !== 0) {
          throw argumentValueError(
            "encoding",
            encoding,
            `is invalid for data of length ${data.length}`,
          );
        }
        const at = typeof second === "number" && second >= 0 ? second : null;
        const bytesWritten = await this.#writeAt(Buffer.from(data, encoding), at);
        return { bytesWritten, buffer: data };
      }
      if (data.byteLength === 0) return { bytesWritten: 0, buffer: data };
      let offset = second;
      let length = third;
      let position = fourth;
      if (typeof offset === "object")
        ({ offset = 0, length, position } = (offset ?? {}) as ReadOptions);
      const start = offset === undefined || offset === null ? 0 : validInteger(offset, "offset", 0);
      const count = typeof length === "number" ? length : data.byteLength - start;
      if (start > data.byteLength) throw outOfRangeError("offset", `<= ${data.byteLength}`, start);
      if (count > data.byteLength - start) {
        throw outOfRangeError("length", `<= ${data.byteLength - start}`, count);
      }
      if (count < 0) throw outOfRangeError("length", ">= 0", count);
      const bytesWritten = await this.#writeAt(
        bytesOf(data).subarray(start, start + count),
        typeof position === "number" && position >= 0 ? position : null,
      );
      return { bytesWritten, buffer: data };
    });
  }

  /** Writes several buffers, one after the other, without others in between. */
  writev<T extends readonly NodeJS.ArrayBufferView[]>(
    buffers: T,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffers: T }> {
    return this.#use("writev", async () => {
      const views = validViews(buffers).map(bytesOf);
      if (views.length === 0) return { bytesWritten: 0, buffers };
      const at = typeof position === "number" && position >= 0 ? position : null;
      return { bytesWritten: await this.#writeAt(Buffer.concat(views), at), buffers };
    });
  }

  /** Reads from the handle's position to the end of the file. */
  readFile(
    options?: { encoding?: null | undefined; signal?: AbortSignal | undefined } | null,
  ): Promise<Buffer>;
  /** As text. */
  readFile(
    options: { encoding: string; signal?: AbortSignal | undefined } | string,
  ): Promise<string>;
  /** As the options say. */
  readFile(options?: ReadFileOptions | string | null): Promise<string | Buffer>;
  readFile(options?: ReadFileOptions | string | null): Promise<string | Buffer> {
    return this.#use("readFile", async () => {
      const { encoding, signal } = validOptions<ReadFileOptions>(options, { flag: "r" });
      throwIfAborted(signal);
      const stats = (await this.#stat()) as Stats;
      const size = (stats.mode & S_IFMT) === S_IFREG ? stats.size : 0;
      if (size > READ_FILE_BYTES_MAX) {
        throw codedError("ERR_FS_FILE_TOO_LARGE", `File size (${size}) is greater than 2 GiB`);
      }
      const parts: Buffer[] = [];
      let total = 0;
      if (size > 0) {
        const whole = Buffer.allocUnsafeSlow(size);
        while (total < size) {
          throwIfAborted(signal);
          const step = whole.subarray(total, total + READ_FILE_STEP_BYTES);
          const count = await this.#readAt(step, null);
          total += count;
          // It became shorter, or the position was not at the start.
          if (count < step.length) break;
        }
        parts.push(whole.subarray(0, total));
      } else {
        // A directory, which cannot be read, or a file that was empty a moment ago.
        for (;;) {
          throwIfAborted(signal);
          const part = Buffer.allocUnsafeSlow(UNKNOWN_READ_BYTES);
          const count = await this.#readAt(part, null);
          if (count === 0) break;
          parts.push(part.subarray(0, count));
          total += count;
        }
      }
      const data = parts.length === 1 ? parts[0]! : Buffer.concat(parts, total);
      return encoding && encoding !== "buffer" ? data.toString(encoding as BufferEncoding) : data;
    });
  }

  /** Writes from the handle's position; does not truncate. */
  writeFile(data: FileData, options?: WriteFileOptions | string | null): Promise<void> {
    return this.#use("writeFile", async () => {
      const { encoding, signal } = validOptions<WriteFileOptions>(options, { encoding: "utf8" });
      const text = (encoding || "utf8") as BufferEncoding;
      const step = async (bytes: Uint8Array): Promise<void> => {
        for (let at = 0; at < bytes.length; at += WRITE_FILE_STEP_BYTES) {
          throwIfAborted(signal);
          await this.#writeAt(bytes.subarray(at, at + WRITE_FILE_STEP_BYTES), null);
        }
      };
      throwIfAborted(signal);
      if (isView(data)) await step(bytesOf(data));
      else if (isPieces(data)) {
        for await (const piece of data) {
          throwIfAborted(signal);
          await step(isView(piece) ? bytesOf(piece) : Buffer.from(validText(piece, "data"), text));
          throwIfAborted(signal);
        }
      } else await step(Buffer.from(validText(data, "data"), text));
    });
  }

  /** The same as writeFile(): a handle opened to append appends. */
  appendFile(data: FileData, options?: WriteFileOptions | string | null): Promise<void> {
    return this.writeFile(data, options);
  }

  /** Makes the file this long: cut, or with zeros at its end. */
  truncate(length: number = 0): Promise<void> {
    return this.#use("truncate", async () => {
      const size = Math.max(0, validInteger(length, "len"));
      const context = { syscall: "ftruncate" };
      if (!this.#writable) throw systemError(EINVAL, context);
      const change = new AttributeChange();
      change.set = SET_SIZE;
      change.size = size;
      await this.#change(change, context.syscall);
    });
  }

  /** Attributes of the file. */
  stat(options?: { bigint?: false | undefined } | null): Promise<Stats>;
  /** Attributes of the file. */
  stat(options: { bigint: true }): Promise<BigIntStats>;
  /** Attributes of the file. */
  stat(options?: { bigint?: boolean | undefined } | null): Promise<Stats | BigIntStats>;
  stat(options?: { bigint?: boolean | undefined } | null): Promise<Stats | BigIntStats> {
    return this.#use("fstat", () => this.#stat(options?.bigint === true));
  }

  async #stat(bigint: boolean = false): Promise<Stats | BigIntStats> {
    const { attributes, fs, dev } = this.#calls;
    let stats: Stats | BigIntStats | undefined;
    await this.#calls.call({ syscall: "fstat" }, () => {
      const status = fs.getAttributes(this.#ino, attributes);
      if (status < 0) return status;
      stats = bigint ? new BigIntStats(attributes, dev) : new Stats(attributes, dev);
      return 0;
    });
    return stats!;
  }

  /** Makes the file's data and attributes durable. */
  sync(): Promise<void> {
    return this.#use("fsync", () => this.#calls.flush(this.#ino, false, { syscall: "fsync" }));
  }

  /** Makes the file's data durable, and what is needed to read it. */
  datasync(): Promise<void> {
    return this.#use("fdatasync", () =>
      this.#calls.flush(this.#ino, true, { syscall: "fdatasync" }),
    );
  }

  /** Changes the permissions. */
  chmod(mode: number | string): Promise<void> {
    return this.#use("fchmod", async () => {
      const change = new AttributeChange();
      change.set = SET_MODE;
      change.mode = validMode(mode) & 0o7777;
      await this.#change(change, "fchmod");
    });
  }

  /** Changes owner and group; −1 leaves one as it is. */
  chown(uid: number, gid: number): Promise<void> {
    return this.#use("fchown", () =>
      this.#change(ownerChange(validId(uid, "uid"), validId(gid, "gid")), "fchown"),
    );
  }

  /** Changes the times of access and change. */
  utimes(atime: TimeLike, mtime: TimeLike): Promise<void> {
    return this.#use("futimes", () =>
      this.#change(timesChange(validTime(atime, "atime"), validTime(mtime, "mtime")), "futime"),
    );
  }

  async #change(change: AttributeChange, syscall: string): Promise<void> {
    const { attributes, fs } = this.#calls;
    await this.#calls.call({ syscall }, () => {
      if ((change.set & SET_KILL_PRIVILEGES) !== 0) {
        const status = fs.getAttributes(this.#ino, attributes);
        if (status < 0) return status;
        if ((attributes.mode & S_IFMT) === S_IFDIR) change.set &= ~SET_KILL_PRIVILEGES;
      }
      return fs.setAttributes(this.#ino, change, attributes);
    });
  }

  /** Waits for what the handle has under way, then gives the file back. Closing twice is no error. */
  close(): Promise<void> {
    if (this.#fd === -1) return Promise.resolve();
    if (this.#closing !== null) return this.#closing;
    this.#closing = (async () => {
      if (this.#active > 0) {
        await new Promise<void>((resolve) => {
          this.#whenIdle = resolve;
        });
      }
      this.#fd = -1;
      this.#onClose();
      await this.#calls.forget(this.#ino);
    })();
    this.emit("close");
    return this.#closing;
  }

  /** A node:stream of the file, from the handle's position unless `start` is given; closes the handle at its end. */
  createReadStream(options?: ReadStreamOptions | string): ReadStream {
    return readStreamOf(this, options);
  }

  /** A node:stream into the file, from the handle's position unless `start` is given; closes the handle at its end. */
  createWriteStream(options?: WriteStreamOptions | string): WriteStream {
    return writeStreamOf(this, options);
  }

  /** The file's lines, without their ends: `for await (const line of handle.readLines())`. */
  readLines(options?: ReadStreamOptions | string): readline.Interface {
    return readline.createInterface({
      input: this.createReadStream(options),
      crlfDelay: Number.POSITIVE_INFINITY,
    });
  }

  /** A byte stream of the web kind, from the handle's position. Does not close the handle; closing it ends the stream. */
  readableWebStream(_options: { type?: "bytes" | undefined } = {}): ReadableStream<Uint8Array> {
    if (this.#fd === -1)
      throw codedError("ERR_INVALID_STATE", "Invalid state: The FileHandle is closed");
    if (this.#closing !== null) {
      throw codedError("ERR_INVALID_STATE", "Invalid state: The FileHandle is closing");
    }
    if (this.#locked)
      throw codedError("ERR_INVALID_STATE", "Invalid state: The FileHandle is locked");
    this.#locked = true;
    return webStreamOf(this, async () => {});
  }
}

/**
 * A byte stream of the web kind that reads at a handle's position.
 *
 * @param ended Called once, at the end, on cancel or after an error.
 */
export function webStreamOf(
  handle: FileHandle,
  ended: () => Promise<void>,
): ReadableStream<Uint8Array> {
  let over = false;
  const finish = async (): Promise<void> => {
    if (over) return;
    over = true;
    await ended();
  };
  let source: ReadableByteStreamController | undefined;
  const stream = new ReadableStream({
    type: "bytes",
    start(controller: ReadableByteStreamController) {
      source = controller;
    },
    async pull(controller: ReadableByteStreamController) {
      if (over) return;
      try {
        const chunk = new Uint8Array(UNKNOWN_READ_BYTES);
        const { bytesRead } = await handle.read(chunk, 0, chunk.length, null);
        if (over) return;
        if (bytesRead === 0) {
          await finish();
          controller.close();
          controller.byobRequest?.respond(0);
        } else controller.enqueue(chunk.subarray(0, bytesRead));
      } catch (error) {
        await finish();
        throw error;
      }
    },
    cancel: finish,
  });
  handle.once("close", () => {
    if (over) return;
    over = true;
    try {
      source?.close();
      source?.byobRequest?.respond(0);
    } catch {
      // Closed or cancelled already.
    }
  });
  return stream as ReadableStream<Uint8Array>;
}

/** Whether data comes in pieces. */
export function isPieces(data: unknown): data is AsyncIterable<string | NodeJS.ArrayBufferView> {
  return (
    data !== null &&
    typeof data === "object" &&
    !isView(data) &&
    (Symbol.asyncIterator in data || Symbol.iterator in data)
  );
}

/** A change of owner, which takes the set-id bits away. */
export function ownerChange(uid: number, gid: number): AttributeChange {
  const change = new AttributeChange();
  // −1 as a signed or an unsigned number leaves the owner as it is.
  if (uid !== -1 && uid !== 0xffff_ffff) {
    change.set |= SET_UID;
    change.uid = uid;
  }
  if (gid !== -1 && gid !== 0xffff_ffff) {
    change.set |= SET_GID;
    change.gid = gid;
  }
  if (change.set !== 0) change.set |= SET_KILL_PRIVILEGES;
  return change;
}

/** @param atime Seconds with fraction: as exact as a double is, some hundred nanoseconds. */
export function timesChange(atime: number, mtime: number): AttributeChange {
  const change = new AttributeChange();
  change.set = SET_ATIME | SET_MTIME;
  [change.atime, change.atimeNs] = timeSpec(atime);
  [change.mtime, change.mtimeNs] = timeSpec(mtime);
  return change;
}

function timeSpec(time: number): [seconds: number, nanoseconds: number] {
  let seconds = Math.trunc(time);
  let ns = Math.trunc((time - seconds) * 1e9);
  if (ns < 0) {
    ns += 1e9;
    seconds -= 1;
  }
  return [seconds, ns === 0 ? 0 : ns];
}

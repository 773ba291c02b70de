/**
 * Node's FileHandle: the arguments in all their forms, and from opening to closing a reference that keeps the data of
 * an unlinked file. What is done to the file is in open_file.ts.
 */
import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import { constants, type ReadStream, type WriteStream } from "node:fs";
import * as readline from "node:readline";
import { EINVAL } from "../base/errno.ts";
import {
  bytesOf,
  type TimeLike,
  throwIfAborted,
  validId,
  validInteger,
  validMode,
  validOptions,
  validTime,
  validViews,
} from "./arguments.ts";
import { modeChange, ownerChange, sizeChange, timesChange } from "./attribute_changes.ts";
import type { Calls } from "./calls.ts";
import { codedError, fileClosedError, systemError } from "./errors.ts";
import {
  type FileData,
  type ReadFileOptions,
  readAll,
  type WriteFileOptions,
  writeAll,
} from "./file_data.ts";
import { OpenFile } from "./open_file.ts";
import type { BigIntStats, Stats } from "./stats.ts";
import {
  type ReadStreamOptions,
  readStreamOf,
  type WriteStreamOptions,
  writeStreamOf,
} from "./streams.ts";
import {
  type ReadOptions,
  readArguments,
  validPosition,
  writeArguments,
  writePosition,
} from "./transfers.ts";
import { webStreamOf } from "./web_stream.ts";

const { S_IFMT, S_IFREG } = constants;

/** An open file, as Node's FileHandle. Close it: while it is open, its data stay even if its name is gone. */
export class FileHandle extends EventEmitter {
  /** For `await using`: close(). Missing where the runtime has no such symbol. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly #calls: Calls;
  readonly #file: OpenFile;
  readonly #guarded: boolean;
  readonly #onClose: () => void;
  #fd: number;
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
    this.#file = new OpenFile(calls, options.ino, options.flags);
    this.#fd = options.fd;
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
    return this.#file.ino;
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
  /** The same with options. */
  read<T extends NodeJS.ArrayBufferView = Buffer>(
    buffer: T,
    options?: ReadOptions<T>,
  ): Promise<{ bytesRead: number; buffer: T }>;
  /** The same, into a buffer of its own unless the options have one. */
  read<T extends NodeJS.ArrayBufferView = Buffer>(
    options?: ReadOptions<T>,
  ): Promise<{ bytesRead: number; buffer: T }>;
  read(
    first?: NodeJS.ArrayBufferView | ReadOptions<NodeJS.ArrayBufferView> | null,
    second?: number | ReadOptions<NodeJS.ArrayBufferView> | null,
    length?: number | null,
    at?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: NodeJS.ArrayBufferView }> {
    return this.#use("read", async () => {
      const { buffer, bytes, position } = readArguments(first, second, length, at);
      if (bytes.length === 0) return { bytesRead: 0, buffer };
      return { bytesRead: await this.#file.read(bytes, position), buffer };
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
      const at = validPosition(position);
      const bytesRead = await this.#file.read(joined, at);
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
      const { buffer, bytes, position } = writeArguments(data, second, third, fourth);
      if (bytes.length === 0 && typeof buffer !== "string") return { bytesWritten: 0, buffer };
      return { bytesWritten: await this.#file.write(bytes, position), buffer };
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
      const at = writePosition(position);
      return { bytesWritten: await this.#file.write(Buffer.concat(views), at), buffers };
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
      const stats = (await this.#file.stat()) as Stats;
      const size = (stats.mode & S_IFMT) === S_IFREG ? stats.size : 0;
      const data = await readAll(size, (target) => this.#file.read(target, null), signal);
      return encoding && encoding !== "buffer" ? data.toString(encoding as BufferEncoding) : data;
    });
  }

  /** Writes from the handle's position; does not truncate. */
  writeFile(data: FileData, options?: WriteFileOptions | string | null): Promise<void> {
    return this.#use("writeFile", async () => {
      const { encoding, signal } = validOptions<WriteFileOptions>(options, { encoding: "utf8" });
      const text = (encoding || "utf8") as BufferEncoding;
      await writeAll(data, text, (bytes) => this.#file.write(bytes, null), signal);
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
      if (!this.#file.writable) throw systemError(EINVAL, context);
      await this.#file.change(sizeChange(size), context.syscall);
    });
  }

  /** Attributes of the file. */
  stat(options?: { bigint?: false | undefined } | null): Promise<Stats>;
  /** Attributes of the file. */
  stat(options: { bigint: true }): Promise<BigIntStats>;
  /** Attributes of the file. */
  stat(options?: { bigint?: boolean | undefined } | null): Promise<Stats | BigIntStats>;
  stat(options?: { bigint?: boolean | undefined } | null): Promise<Stats | BigIntStats> {
    return this.#use("fstat", () => this.#file.stat(options?.bigint === true));
  }

  /** Makes the file's data and attributes durable. */
  sync(): Promise<void> {
    return this.#use("fsync", () => this.#calls.flush(this.#file.ino, false, { syscall: "fsync" }));
  }

  /** Makes the file's data durable, and what is needed to read it. */
  datasync(): Promise<void> {
    return this.#use("fdatasync", () =>
      this.#calls.flush(this.#file.ino, true, { syscall: "fdatasync" }),
    );
  }

  /** Changes the permissions. */
  chmod(mode: number | string): Promise<void> {
    return this.#use("fchmod", () => this.#file.change(modeChange(validMode(mode)), "fchmod"));
  }

  /** Changes owner and group; −1 leaves one as it is. */
  chown(uid: number, gid: number): Promise<void> {
    return this.#use("fchown", () =>
      this.#file.change(ownerChange(validId(uid, "uid"), validId(gid, "gid")), "fchown"),
    );
  }

  /** Changes the times of access and change. */
  utimes(atime: TimeLike, mtime: TimeLike): Promise<void> {
    return this.#use("futimes", () =>
      this.#file.change(
        timesChange(validTime(atime, "atime"), validTime(mtime, "mtime")),
        "futime",
      ),
    );
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
      await this.#calls.forget(this.#file.ino);
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

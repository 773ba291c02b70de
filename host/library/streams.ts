/**
 * node:fs streams over a volume: Node's own ReadStream and WriteStream, given our open, read, write and close, so that
 * their options, events and order of events are Node's by construction.
 */
import type { Buffer } from "node:buffer";
import { createReadStream, createWriteStream, type ReadStream, type WriteStream } from "node:fs";
import type { PathLike } from "./arguments.ts";
import type { FileHandle } from "./file_handle.ts";

/** Options of a stream that reads. Offsets in bytes; `end` is the last byte's, inclusive. */
export interface ReadStreamOptions {
  /** How to open the file: "r", "wx", … */
  flags?: string | undefined;
  /** How bytes become text; "buffer" or none for a Buffer. */
  encoding?: string | undefined;
  /** Permissions of a file that is made; default 0o666, less the umask. */
  mode?: number | undefined;
  /** Close the file at the end or after an error; default true. */
  autoClose?: boolean | undefined;
  /** Emit "close" when the stream is destroyed; default true. */
  emitClose?: boolean | undefined;
  /** First byte; without it, the handle's position or the file's start. */
  start?: number | undefined;
  /** Last byte, inclusive. */
  end?: number | undefined;
  /** Bytes that the stream holds. */
  highWaterMark?: number | undefined;
  /** Cancels the operation. */
  signal?: AbortSignal | undefined;
}

/** Options of a stream that writes. `flush`: durable before it closes. */
export interface WriteStreamOptions {
  /** How to open the file: "r", "wx", … */
  flags?: string | undefined;
  /** How bytes become text; "buffer" or none for a Buffer. */
  encoding?: string | undefined;
  /** Permissions of a file that is made; default 0o666, less the umask. */
  mode?: number | undefined;
  /** Close the file at the end or after an error; default true. */
  autoClose?: boolean | undefined;
  /** Emit "close" when the stream is destroyed; default true. */
  emitClose?: boolean | undefined;
  /** First byte; without it, the handle's position or the file's start. */
  start?: number | undefined;
  /** Bytes that the stream holds. */
  highWaterMark?: number | undefined;
  /** Make the data durable before closing. */
  flush?: boolean | undefined;
  /** Cancels the operation. */
  signal?: AbortSignal | undefined;
}

type Callback = (error: unknown, ...results: unknown[]) => void;

/** What the streams call instead of node:fs, for one stream: its handle stands for every descriptor. */
class StreamCalls {
  #handle: FileHandle | null;
  readonly #open: ((path: PathLike, flags: string, mode: number) => Promise<FileHandle>) | null;

  constructor(
    handle: FileHandle | null,
    open: ((path: PathLike, flags: string, mode: number) => Promise<FileHandle>) | null,
  ) {
    this.#handle = handle;
    this.#open = open;
  }

  open = (path: PathLike, flags: string, mode: number, callback: Callback): void => {
    this.#open!(path, flags, mode).then((handle) => {
      this.#handle = handle;
      callback(null, handle.fd);
    }, callback);
  };

  read = (
    _fd: number,
    buffer: Buffer,
    offset: number,
    length: number,
    position: number | null | undefined,
    callback: Callback,
  ): void => {
    this.#handle!.read(buffer, offset, length, position ?? null).then(
      (result) => callback(null, result.bytesRead, buffer),
      (error) => callback(error, 0, buffer),
    );
  };

  write = (
    _fd: number,
    buffer: Buffer,
    offset: number,
    length: number,
    position: number | null | undefined,
    callback: Callback,
  ): void => {
    this.#handle!.write(buffer, offset, length, position ?? null).then(
      (result) => callback(null, result.bytesWritten, buffer),
      (error) => callback(error, 0, buffer),
    );
  };

  writev = (
    _fd: number,
    buffers: readonly Buffer[],
    position: number | null | undefined,
    callback: Callback,
  ): void => {
    this.#handle!.writev(buffers, position ?? null).then(
      (result) => callback(null, result.bytesWritten, buffers),
      (error) => callback(error, 0, buffers),
    );
  };

  fsync = (_fd: number, callback: Callback): void => {
    this.#handle!.sync().then(() => callback(null), callback);
  };

  close = (_fd: number, callback: Callback = () => {}): void => {
    this.#handle!.close().then(() => callback(null), callback);
  };
}

type NodeReadOptions = Parameters<typeof createReadStream>[1];
type NodeWriteOptions = Parameters<typeof createWriteStream>[1];

function objectOf<T extends object>(options: T | string | undefined): T {
  return typeof options === "string"
    ? ({ encoding: options } as unknown as T)
    : (options ?? ({} as T));
}

/** A stream of an open file. */
export function readStreamOf(
  handle: FileHandle,
  options: ReadStreamOptions | string | undefined,
): ReadStream {
  const stream = createReadStream("", {
    ...objectOf(options),
    fd: handle.fd,
    fs: new StreamCalls(handle, null),
  } as unknown as NodeReadOptions);
  handle.on("close", () => stream.close());
  return stream;
}

/** A stream into an open file. */
export function writeStreamOf(
  handle: FileHandle,
  options: WriteStreamOptions | string | undefined,
): WriteStream {
  const stream = createWriteStream("", {
    ...objectOf(options),
    fd: handle.fd,
    fs: new StreamCalls(handle, null),
  } as unknown as NodeWriteOptions);
  handle.on("close", () => stream.close());
  return stream;
}

/** A stream of the file at a path, opened by `open` when the stream starts. */
export function readStreamAt(
  path: PathLike,
  options: ReadStreamOptions | string | undefined,
  open: (path: PathLike, flags: string, mode: number) => Promise<FileHandle>,
): ReadStream {
  return createReadStream(
    path as Buffer,
    {
      ...objectOf(options),
      fs: new StreamCalls(null, open),
    } as unknown as NodeReadOptions,
  );
}

/** A stream into the file at a path, opened by `open` when the stream starts. */
export function writeStreamAt(
  path: PathLike,
  options: WriteStreamOptions | string | undefined,
  open: (path: PathLike, flags: string, mode: number) => Promise<FileHandle>,
): WriteStream {
  return createWriteStream(
    path as Buffer,
    {
      ...objectOf(options),
      fs: new StreamCalls(null, open),
    } as unknown as NodeWriteOptions,
  );
}

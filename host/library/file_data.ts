/** Whole files: the data of readFile(), writeFile() and appendFile(), and how they are moved in steps. */
import { Buffer } from "node:buffer";
import { bytesOf, isView, throwIfAborted, validText } from "./arguments.ts";
import { codedError } from "./errors.ts";

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
  /** How text becomes bytes; default "utf8". */
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

/** Whether data comes in pieces. */
export function isPieces(data: unknown): data is AsyncIterable<string | NodeJS.ArrayBufferView> {
  return (
    data !== null &&
    typeof data === "object" &&
    !isView(data) &&
    (Symbol.asyncIterator in data || Symbol.iterator in data)
  );
}

/**
 * Reads until there is no more.
 *
 * @param size Bytes that there should be; 0 when that is not known.
 * @param read Reads the next bytes, as many as there are.
 * @throws ERR_FS_FILE_TOO_LARGE above 2 GiB; AbortError between two steps.
 */
export async function readAll(
  size: number,
  read: (target: Uint8Array) => Promise<number>,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  if (size > READ_FILE_BYTES_MAX) {
    throw codedError("ERR_FS_FILE_TOO_LARGE", `File size (${size}) is greater than 2 GiB`);
  }
  if (size > 0) {
    const whole = Buffer.allocUnsafeSlow(size);
    let total = 0;
    while (total < size) {
      throwIfAborted(signal);
      const step = whole.subarray(total, total + READ_FILE_STEP_BYTES);
      const count = await read(step);
      total += count;
      // It became shorter, or the position was not at the start.
      if (count < step.length) break;
    }
    return whole.subarray(0, total);
  }
  // A directory, which cannot be read, or a file that was empty a moment ago.
  const parts: Buffer[] = [];
  for (;;) {
    throwIfAborted(signal);
    const part = Buffer.allocUnsafeSlow(UNKNOWN_READ_BYTES);
    const count = await read(part);
    if (count === 0) return Buffer.concat(parts);
    parts.push(part.subarray(0, count));
  }
}

/**
 * Writes all of the data.
 *
 * @param write Writes all of some bytes behind those before.
 * @throws AbortError between two steps.
 */
export async function writeAll(
  data: FileData,
  encoding: BufferEncoding,
  write: (bytes: Uint8Array) => Promise<unknown>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const step = async (bytes: Uint8Array): Promise<void> => {
    for (let at = 0; at < bytes.length; at += WRITE_FILE_STEP_BYTES) {
      throwIfAborted(signal);
      await write(bytes.subarray(at, at + WRITE_FILE_STEP_BYTES));
    }
  };
  throwIfAborted(signal);
  if (isView(data)) await step(bytesOf(data));
  else if (isPieces(data)) {
    for await (const piece of data) {
      throwIfAborted(signal);
      await step(isView(piece) ? bytesOf(piece) : Buffer.from(validText(piece, "data"), encoding));
      throwIfAborted(signal);
    }
  } else await step(Buffer.from(validText(data, "data"), encoding));
}

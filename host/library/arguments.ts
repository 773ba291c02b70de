/**
 * Validation of arguments, with Node's rules, defaults and messages.
 */
import { Buffer } from "node:buffer";
import { constants } from "node:fs";
import { fileURLToPath } from "node:url";
import { abortError, argumentTypeError, argumentValueError, outOfRangeError } from "./errors.ts";

/** A path in any of Node's forms. In a Buffer, names may be any bytes but NUL. */
export type PathLike = string | Buffer | URL | Uint8Array;

/** A path after validation: what errors show, and the bytes of the names. */
export interface Path {
  readonly text: string;
  readonly bytes: Buffer;
  /** As the caller gave it: results that repeat the path repeat its form. */
  readonly given: string | Buffer;
}

/** A point in time: seconds since the epoch, a numeric string of them, or a Date. */
export type TimeLike = number | string | Date;

/** Options of operations that have an encoding; a string is the encoding. */
export type EncodingOption = { encoding?: string | null | undefined } | string | null | undefined;

/** @param name The argument's name, for the error. */
export function validPath(value: unknown, name: string = "path"): Path {
  const given = value instanceof URL ? fileURLToPath(value) : value;
  if (typeof given === "string") {
    if (given.includes("\0")) throw nulError(name, given);
    return { text: given, bytes: Buffer.from(given, "utf8"), given };
  }
  if (given instanceof Uint8Array) {
    if (given.includes(0)) throw nulError(name, given);
    const bytes = Buffer.from(given);
    return { text: bytes.toString("utf8"), bytes, given: bytes };
  }
  throw argumentTypeError(name, "of type string or an instance of Buffer or URL", given);
}

function nulError(name: string, value: unknown): TypeError {
  return argumentValueError(name, value, "must be a string, Uint8Array, or URL without null bytes");
}

export function validInteger(
  value: unknown,
  name: string,
  min: number = Number.MIN_SAFE_INTEGER,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== "number") throw argumentTypeError(name, "of type number", value);
  if (!Number.isInteger(value)) throw outOfRangeError(name, "an integer", value);
  if (value < min || value > max) throw outOfRangeError(name, `>= ${min} && <= ${max}`, value);
  return value;
}

export function validBoolean(value: unknown, name: string): boolean {
  if (typeof value !== "boolean") throw argumentTypeError(name, "of type boolean", value);
  return value;
}

export function validObject(value: unknown, name: string): object {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw argumentTypeError(name, "of type object", value);
  }
  return value;
}

/** A user or group id; −1 leaves it as it is. */
export function validId(value: unknown, name: string): number {
  return validInteger(value, name, -1, 2 ** 32 - 1);
}

/** Permission bits: a number or an octal string. */
export function validMode(value: unknown, fallback?: number): number {
  let mode = value ?? fallback;
  if (typeof mode === "string") {
    if (!/^[0-7]+$/.test(mode)) {
      throw argumentValueError(
        "mode",
        mode,
        "must be a 32-bit unsigned integer or an octal string",
      );
    }
    mode = Number.parseInt(mode, 8);
  }
  return validInteger(mode, "mode", 0, 2 ** 32 - 1);
}

const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_SYNC, O_TRUNC, O_WRONLY } = constants;

const FLAGS: Readonly<Record<string, number>> = {
  r: O_RDONLY,
  rs: O_RDONLY | O_SYNC,
  sr: O_RDONLY | O_SYNC,
  "r+": O_RDWR,
  "rs+": O_RDWR | O_SYNC,
  "sr+": O_RDWR | O_SYNC,
  w: O_TRUNC | O_CREAT | O_WRONLY,
  wx: O_TRUNC | O_CREAT | O_WRONLY | O_EXCL,
  xw: O_TRUNC | O_CREAT | O_WRONLY | O_EXCL,
  "w+": O_TRUNC | O_CREAT | O_RDWR,
  "wx+": O_TRUNC | O_CREAT | O_RDWR | O_EXCL,
  "xw+": O_TRUNC | O_CREAT | O_RDWR | O_EXCL,
  a: O_APPEND | O_CREAT | O_WRONLY,
  ax: O_APPEND | O_CREAT | O_WRONLY | O_EXCL,
  xa: O_APPEND | O_CREAT | O_WRONLY | O_EXCL,
  as: O_APPEND | O_CREAT | O_WRONLY | O_SYNC,
  sa: O_APPEND | O_CREAT | O_WRONLY | O_SYNC,
  "a+": O_APPEND | O_CREAT | O_RDWR,
  "ax+": O_APPEND | O_CREAT | O_RDWR | O_EXCL,
  "xa+": O_APPEND | O_CREAT | O_RDWR | O_EXCL,
  "as+": O_APPEND | O_CREAT | O_RDWR | O_SYNC,
  "sa+": O_APPEND | O_CREAT | O_RDWR | O_SYNC,
};

/** Open flags: "r", "wx+", … or O_* bits. */
export function validFlags(value: unknown): number {
  if (typeof value === "number") return validInteger(value, "flags", -(2 ** 31), 2 ** 31 - 1);
  if (value === null || value === undefined) return O_RDONLY;
  const flags = typeof value === "string" && Object.hasOwn(FLAGS, value) ? FLAGS[value] : undefined;
  if (flags === undefined) throw argumentValueError("flags", value);
  return flags;
}

/** Node's getOptions: nothing, an encoding, or an object. */
export function validOptions<T extends object>(value: unknown, defaults: T): T {
  let options = value as { encoding?: unknown; signal?: unknown } & T;
  if (value === null || value === undefined || typeof value === "function") return defaults;
  if (typeof value === "string") options = { ...defaults, encoding: value };
  else if (typeof value !== "object") {
    throw argumentTypeError("options", "one of type string or object", value);
  }
  const { encoding } = options;
  if (encoding && encoding !== "buffer" && !Buffer.isEncoding(encoding as string)) {
    throw argumentValueError("encoding", encoding, "is invalid encoding");
  }
  if (options.signal !== undefined) validSignal(options.signal, "options.signal");
  return options;
}

function validSignal(value: unknown, name: string): void {
  if (value === null || typeof value !== "object" || !("aborted" in value)) {
    throw argumentTypeError(name, "an instance of AbortSignal", value);
  }
}

export function throwIfAborted(signal: AbortSignal | undefined | null): void {
  if (signal?.aborted === true) throw abortError(signal);
}

/** @returns Seconds since the epoch, with fraction. */
export function validTime(value: unknown, name: string = "time"): number {
  if (typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value))) {
    return Number(value);
  }
  // Node's own oddity: negative numbers mean now.
  if (typeof value === "number" && Number.isFinite(value)) {
    return value < 0 ? Date.now() / 1000 : value;
  }
  if (value instanceof Date) return value.getTime() / 1000;
  throw argumentTypeError(name, "an instance of Date or an Time in seconds", value);
}

export function isView(value: unknown): value is NodeJS.ArrayBufferView {
  return ArrayBuffer.isView(value);
}

/** The bytes of a view, without a copy. */
export function bytesOf(view: NodeJS.ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

export function validViews(value: unknown): readonly NodeJS.ArrayBufferView[] {
  if (!Array.isArray(value) || !value.every(isView)) {
    throw argumentTypeError("buffers", "an ArrayBufferView[]", value);
  }
  return value;
}

/** Text after everything that is not text was ruled out. */
export function validText(value: unknown, name: string): string {
  if (typeof value !== "string") {
    throw argumentTypeError(
      name,
      "of type string or an instance of Buffer, TypedArray, or DataView",
      value,
    );
  }
  return value;
}

/** A name or target in the encoding that was asked for. */
export function decodeName(bytes: Buffer, encoding: string | null | undefined): string | Buffer {
  if (encoding === "buffer") return bytes;
  return bytes.toString((encoding || "utf8") as BufferEncoding);
}

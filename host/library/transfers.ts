/** The arguments of FileHandle's read(), write(), readv() and writev(), in all the forms that Node takes. */
import { Buffer } from "node:buffer";
import { bytesOf, isView, validInteger, validObject, validText } from "./arguments.ts";
import { argumentTypeError, argumentValueError, outOfRangeError } from "./errors.ts";

/** Where read() puts and finds bytes. */
export interface ReadOptions<T extends NodeJS.ArrayBufferView = Buffer> {
  /** Where to put the bytes; default a new Buffer of 16 KiB. */
  buffer?: T | undefined;
  /** First byte of the buffer, default 0. */
  offset?: number | null | undefined;
  /** Bytes to read, default to the buffer's end. */
  length?: number | null | undefined;
  /** null or −1: at the handle's position, which then moves. */
  position?: number | bigint | null | undefined;
}

/** What is to be read or written. */
export interface Transfer<T> {
  /** What the caller gave, for the result. */
  readonly buffer: T;
  /** The part of it that is meant. */
  readonly bytes: Uint8Array;
  /** null: at the handle's position. */
  readonly position: number | null;
}

interface Range {
  readonly offset?: unknown;
  readonly length?: unknown;
  readonly position?: unknown;
}

/**
 * A position in a file. As newer versions of Node have it for read(): older ones take a number that is no position for
 * the handle's own, and so write where nobody asked for.
 *
 * @returns null for the handle's position: null, undefined, −1.
 */
export function validPosition(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== "number" && typeof value !== "bigint") {
    throw argumentTypeError("position", "one of type integer or bigint", value);
  }
  if (typeof value === "bigint" && (value < -1n || value > Number.MAX_SAFE_INTEGER)) {
    throw outOfRangeError("position", `>= -1 && <= ${Number.MAX_SAFE_INTEGER}`, value);
  }
  const position = validInteger(Number(value), "position", -1);
  return position === -1 ? null : position;
}

/** @returns The part of a buffer that a range means; its offset and length in bytes. */
function partOf(buffer: NodeJS.ArrayBufferView, range: Range): Uint8Array {
  const { byteLength } = buffer;
  const start = validInteger(range.offset ?? 0, "offset", 0);
  if (range.length === undefined || range.length === null) {
    if (start > byteLength) throw outOfRangeError("offset", `<= ${byteLength}`, start);
    return bytesOf(buffer).subarray(start);
  }
  const { length } = range;
  if (typeof length !== "number") throw argumentTypeError("length", "of type number", length);
  if (length === 0) return new Uint8Array(0);
  if (start > byteLength) throw outOfRangeError("offset", `<= ${byteLength}`, start);
  if (length < 0) throw outOfRangeError("length", ">= 0", length);
  if (start + length > byteLength) {
    throw outOfRangeError("length", `<= ${byteLength - start}`, length);
  }
  return bytesOf(buffer).subarray(start, start + validInteger(length, "length"));
}

function isRange(value: unknown): value is Range {
  return value !== null && typeof value === "object";
}

/** The arguments of read(): (buffer, offset, length, position), (buffer, options) or (options). */
export function readArguments(
  first: unknown,
  second: unknown,
  length: unknown,
  position: unknown,
): Transfer<NodeJS.ArrayBufferView> {
  let buffer: unknown = first;
  let range: Range = isRange(second) ? second : { offset: second, length, position };
  if (!isView(buffer)) {
    const options = validObject(first ?? {}, "options") as ReadOptions<NodeJS.ArrayBufferView>;
    buffer = options.buffer ?? Buffer.alloc(16384);
    if (!isView(buffer)) {
      throw argumentTypeError("buffer", "an instance of Buffer, TypedArray, or DataView", buffer);
    }
    if (!isRange(second)) range = options;
  }
  if (buffer.byteLength === 0 && (range.length ?? 0) !== 0) {
    throw argumentValueError("buffer", buffer, "is empty and cannot be written");
  }
  return { buffer, bytes: partOf(buffer, range), position: validPosition(range.position) };
}

/** The arguments of write(): (buffer, offset, length, position), (buffer, options) or (text, position, encoding). */
export function writeArguments(
  first: unknown,
  second: unknown,
  third: unknown,
  fourth: unknown,
): Transfer<NodeJS.ArrayBufferView | string> {
  if (isView(first)) {
    const range: Range = isRange(second)
      ? second
      : { offset: second, length: third, position: fourth };
    if (first.byteLength === 0) return { buffer: first, bytes: new Uint8Array(0), position: null };
    return {
      buffer: first,
      bytes: partOf(first, range),
      position: writePosition(range.position),
    };
  }
  const text = validText(first, "buffer");
  const encoding = typeof third === "string" ? third : "utf8";
  if (!Buffer.isEncoding(encoding)) {
    throw argumentValueError("encoding", encoding, "is invalid encoding");
  }
  if (encoding === "hex" && text.length % 2 !== 0) {
    throw argumentValueError("encoding", encoding, `is invalid for data of length ${text.length}`);
  }
  return { buffer: text, bytes: Buffer.from(text, encoding), position: writePosition(second) };
}

/** Of a write, Node's manual says: what is not a number is the handle's position. */
export function writePosition(value: unknown): number | null {
  return typeof value === "number" || typeof value === "bigint" ? validPosition(value) : null;
}

/** Bytes: integers in little-endian memory, texts of them, zeros. 64-bit ones are safe integers; anything larger is damage and reads as NaN-free but > 2^53. */
import { Buffer } from "node:buffer";

const TWO_32 = 4294967296;

/** Reads a u64 that is meant to be a safe integer. Larger values lose low bits: callers range-check. */
export function getU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_32;
}

/** Writes a safe integer ≥ 0 as u64. */
export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / TWO_32), true);
}

/** Reads an s64 that is meant to be a safe integer. */
export function getI64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getInt32(at + 4, true) * TWO_32;
}

/** Writes a safe integer of either sign as s64. */
export function setI64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setInt32(at + 4, Math.floor(value / TWO_32), true);
}

/** Lower-case hexadecimal of a byte range. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** A 16-byte identifier in the usual 8-4-4-4-12 form. */
export function uuidText(bytes: Uint8Array): string {
  const hex = toHex(bytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Rounds up to a multiple of a power of two or any positive step. */
export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

const ZEROS = new Uint8Array(65_536);

/** Compared with zeros of the same length, as the runtime's memcmp is much faster than a loop. */
export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const part = bytes.subarray(at, at + ZEROS.length);
    const zeros = part.length === ZEROS.length ? ZEROS : ZEROS.subarray(0, part.length);
    if (Buffer.compare(part, zeros) !== 0) return false;
  }
  return true;
}

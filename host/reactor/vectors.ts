/** Arrays of struct iovec {u64 address, u64 length} in memory that the kernel reads. */
import { getU64, setU64 } from "../base/bytes.ts";

export const VECTOR_ENTRY_BYTES = 16;

export function setVector(view: DataView, at: number, address: number, byteLength: number): void {
  setU64(view, at, address);
  setU64(view, at + 8, byteLength);
}

/**
 * Drops the first bytes of what an array describes, for a transfer that was cut short there: entries that are done are
 * passed over, the one in which the cut fell is shortened in place.
 *
 * @param byteCount 0 ≤ x < the sum of the lengths.
 * @returns Entries to pass over.
 */
export function skipVectors(view: DataView, at: number, byteCount: number): number {
  let left = byteCount;
  let entry = at;
  for (;;) {
    const byteLength = getU64(view, entry + 8);
    if (left < byteLength) {
      setVector(view, entry, getU64(view, entry) + left, byteLength - left);
      return (entry - at) / VECTOR_ENTRY_BYTES;
    }
    left -= byteLength;
    entry += VECTOR_ENTRY_BYTES;
  }
}

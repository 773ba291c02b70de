/** The contract of device.ts on ranges, checked where every device form begins. */
import { assert } from "../base/assert.ts";

const BLOCK_BYTES = 4096;

/** Asserts that a range is whole blocks and lies on the device: anything else is a bug above, never bad input. */
export function checkRange(sizeBytes: number, offsetBytes: number, byteLength: number): void {
  assert(
    offsetBytes >= 0 &&
      byteLength > 0 &&
      offsetBytes % BLOCK_BYTES === 0 &&
      byteLength % BLOCK_BYTES === 0 &&
      offsetBytes + byteLength <= sizeBytes,
    `${byteLength} bytes at ${offsetBytes} are whole blocks of a device of ${sizeBytes}`,
  );
}

/** The same for a gathering write. Returns its length. */
export function checkVector(
  sizeBytes: number,
  offsetBytes: number,
  addresses: readonly number[],
  byteLengths: readonly number[],
): number {
  assert(
    addresses.length >= 1 && addresses.length <= 64 && byteLengths.length === addresses.length,
    "a gathering write has 1 to 64 buffers",
  );
  let total = 0;
  for (const byteLength of byteLengths) {
    assert(byteLength > 0 && byteLength % BLOCK_BYTES === 0, "a buffer is whole blocks");
    total += byteLength;
  }
  checkRange(sizeBytes, offsetBytes, total);
  return total;
}

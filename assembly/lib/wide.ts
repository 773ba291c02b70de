/** 128-bit products of 64-bit numbers, which Wasm lacks: four products of 32-bit halves. */

/** The high 64 bits of a × b; the low ones are `a * b`. */
export function multiplyHigh(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const bLow = b & 0xffffffff;
  const aHigh = a >> 32;
  const bHigh = b >> 32;
  const middle = aHigh * bLow;
  // At most (2^32 − 1) × 2^32 + 2 × (2^32 − 1) < 2^64: no carry is lost.
  const cross = ((aLow * bLow) >> 32) + (middle & 0xffffffff) + aLow * bHigh;
  return (middle >> 32) + (cross >> 32) + aHigh * bHigh;
}

/** Both halves of a × b folded into one by exclusive or. */
export function multiplyFold(a: u64, b: u64): u64 {
  return (a * b) ^ multiplyHigh(a, b);
}

/** Whether a number from the host is an integer, 0 ≤ x ≤ limit: only such may be converted to u64. False for NaN. */
export function isWhole(x: f64, limit: f64): bool {
  return x >= 0.0 && x <= limit && trunc(x) == x;
}

/** Bytes of the memory: what lies beyond cannot be a region. */
export function memoryBytes(): u64 {
  return (<u64>memory.size()) << 16;
}

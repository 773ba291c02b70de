/**
 * The exported ABI and nothing else: one thin function an export, documented in host/core/abi.ts.
 * The module imports memory alone; it has no I/O, clock, randomness or callbacks.
 */

const ABI_VERSION: i32 = 1;

export function abi_version(): i32 {
  return ABI_VERSION;
}

export function static_end(): u32 {
  return u32(__heap_base);
}

// --- checksum ---

// --- btree ---

// --- extent ---

// --- coalesce ---

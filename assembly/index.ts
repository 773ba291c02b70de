/**
 * The exported ABI and nothing else: one thin function an export, documented in host/core/abi.ts.
 * The module imports memory alone; it has no I/O, clock, randomness or callbacks.
 */

import { blake3Hash } from "./checksum/blake3";
import { crc } from "./checksum/crc32c";
import { xxh3Wide } from "./checksum/xxh3_128";
import { xxh3, xxh3Units, xxh3VerifyUnits } from "./checksum/xxh3_64";
import { equalBytes } from "./lib/bytes";

const ABI_VERSION: i32 = 1;

export function abi_version(): i32 {
  return ABI_VERSION;
}

export function static_end(): u32 {
  return u32(__heap_base);
}

// --- checksum ---

export function xxh3_64(address: usize, byteLength: u32, result: usize): void {
  store<u64>(result, xxh3(address, byteLength));
}

export function xxh3_64_units(address: usize, unitBytes: u32, unitCount: u32, out: usize): void {
  xxh3Units(address, unitBytes, unitCount, out);
}

export function xxh3_64_verify_units(
  address: usize,
  unitBytes: u32,
  unitCount: u32,
  expected: usize,
): i32 {
  return xxh3VerifyUnits(address, unitBytes, unitCount, expected);
}

export function xxh3_128(address: usize, byteLength: u32, result: usize): void {
  xxh3Wide(address, byteLength, result);
}

export function blake3(address: usize, byteLength: u32, result: usize): void {
  blake3Hash(address, byteLength, result);
}

export function crc32c(address: usize, byteLength: u32, seed: u32): u32 {
  return crc(address, byteLength, seed);
}

export function name_hash(address: usize, byteLength: u32): f64 {
  return f64(xxh3(address, byteLength) & 0xffffffffffff);
}

export function bytes_copy(to: usize, from: usize, byteLength: u32): void {
  memory.copy(to, from, byteLength);
}

export function bytes_fill(to: usize, value: u32, byteLength: u32): void {
  memory.fill(to, u8(value), byteLength);
}

export function bytes_equal(a: usize, b: usize, byteLength: u32): i32 {
  return i32(equalBytes(a, b, byteLength));
}

// --- btree ---

// --- extent ---

// --- coalesce ---

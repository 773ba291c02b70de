/**
 * XXH3-64 with seed 0, of any length. Each range of lengths has its own recipe; all but the longest are scalar.
 *
 * Published vectors: "" → 2d06800538d394c2, "a" → e6c632b61e964e1f, "abc" → 78af5f94892f3950.
 *
 * @see https://github.com/Cyan4973/xxHash/blob/v0.8.3/doc/xxhash_spec.md
 */

import {
  PRIME64_1,
  PRIME_MX2,
  SECRET,
  avalanche,
  avalancheShort,
  mix16,
  secretPair,
} from "./xxh3_mix";
import { accumulateStripes, mergeAccumulators } from "./xxh3_stripes";
import { multiplyFold } from "../lib/wide";

/** XXH3-64, seed 0, of a region. */
export function xxh3(address: usize, byteLength: u32): u64 {
  if (byteLength > 240) {
    accumulateStripes(address, byteLength);
    return mergeAccumulators(11, u64(byteLength) * PRIME64_1);
  }
  if (byteLength > 128) return hash129to240(address, byteLength);
  if (byteLength > 16) return hash17to128(address, byteLength);
  if (byteLength > 8) return hash9to16(address, byteLength);
  if (byteLength > 3) return hash4to8(address, byteLength);
  if (byteLength > 0) return hash1to3(address, byteLength);
  return avalancheShort(secretPair(56));
}

/** Stores the checksum of each of `unitCount` units that lie one after the other. */
export function xxh3Units(address: usize, unitBytes: u32, unitCount: u32, out: usize): void {
  for (let unit: u32 = 0; unit < unitCount; unit++) {
    store<u64>(out, xxh3(address, unitBytes));
    address += unitBytes;
    out += 8;
  }
}

/** The first unit whose checksum is not the expected one, or −1. */
export function xxh3VerifyUnits(
  address: usize,
  unitBytes: u32,
  unitCount: u32,
  expected: usize,
): i32 {
  for (let unit: u32 = 0; unit < unitCount; unit++) {
    if (xxh3(address, unitBytes) != load<u64>(expected)) return unit;
    address += unitBytes;
    expected += 8;
  }
  return -1;
}

function hash1to3(address: usize, byteLength: u32): u64 {
  const first = u32(load<u8>(address));
  const middle = u32(load<u8>(address + (byteLength >> 1)));
  const last = u32(load<u8>(address + byteLength - 1));
  const combined = (first << 16) | (middle << 24) | last | (byteLength << 8);
  return avalancheShort(u64(combined ^ load<u32>(SECRET) ^ load<u32>(SECRET, 4)));
}

function hash4to8(address: usize, byteLength: u32): u64 {
  const first = u64(load<u32>(address));
  const last = u64(load<u32>(address + byteLength - 4));
  let hash = (last + (first << 32)) ^ secretPair(8);
  hash ^= rotl<u64>(hash, 49) ^ rotl<u64>(hash, 24);
  hash *= PRIME_MX2;
  hash ^= (hash >> 35) + byteLength;
  hash *= PRIME_MX2;
  return hash ^ (hash >> 28);
}

function hash9to16(address: usize, byteLength: u32): u64 {
  const first = load<u64>(address) ^ secretPair(24);
  const last = load<u64>(address + byteLength - 8) ^ secretPair(40);
  return avalanche(byteLength + bswap<u64>(first) + last + multiplyFold(first, last));
}

function hash17to128(address: usize, byteLength: u32): u64 {
  const end = address + byteLength;
  let hash = u64(byteLength) * PRIME64_1;
  if (byteLength > 32) {
    if (byteLength > 64) {
      if (byteLength > 96) hash += mix16(address + 48, 96) + mix16(end - 64, 112);
      hash += mix16(address + 32, 64) + mix16(end - 48, 80);
    }
    hash += mix16(address + 16, 32) + mix16(end - 32, 48);
  }
  hash += mix16(address, 0) + mix16(end - 16, 16);
  return avalanche(hash);
}

function hash129to240(address: usize, byteLength: u32): u64 {
  let hash = u64(byteLength) * PRIME64_1;
  for (let offset: usize = 0; offset < 128; offset += 16) hash += mix16(address + offset, offset);
  hash = avalanche(hash);
  for (let offset: usize = 128; offset + 16 <= byteLength; offset += 16) {
    hash += mix16(address + offset, offset - 125);
  }
  hash += mix16(address + byteLength - 16, 119);
  return avalanche(hash);
}

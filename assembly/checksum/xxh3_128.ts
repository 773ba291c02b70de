/**
 * XXH3-128 with seed 0, of any length. Each range of lengths has its own recipe; all but the longest are scalar.
 *
 * Published vectors, high half first: "" → 99aa06d3014798d86001c324468d497f, "abc" →
 * 06b05ab6733a618578af5f94892f3950.
 *
 * @see https://github.com/Cyan4973/xxHash/blob/v0.8.3/doc/xxhash_spec.md
 */

import { multiplyHigh } from "../lib/wide";
import {
  PRIME32_2,
  PRIME64_1,
  PRIME64_2,
  PRIME64_4,
  PRIME_MX2,
  SECRET,
  avalanche,
  avalancheShort,
  mix16,
  secretPair,
} from "./xxh3_mix";
import { accumulateStripes, mergeAccumulators } from "./xxh3_stripes";

/** Stores XXH3-128, seed 0, of a region: the low half, then the high. */
export function xxh3Wide(address: usize, byteLength: u32, result: usize): void {
  if (byteLength > 240) {
    accumulateStripes(address, byteLength);
    const low = mergeAccumulators(11, u64(byteLength) * PRIME64_1);
    storePair(result, low, mergeAccumulators(117, ~(u64(byteLength) * PRIME64_2)));
  } else if (byteLength > 128) {
    hash129to240(address, byteLength, result);
  } else if (byteLength > 16) {
    hash17to128(address, byteLength, result);
  } else if (byteLength > 8) {
    hash9to16(address, byteLength, result);
  } else if (byteLength > 3) {
    hash4to8(address, byteLength, result);
  } else if (byteLength > 0) {
    hash1to3(address, byteLength, result);
  } else {
    storePair(result, avalancheShort(secretPair(64)), avalancheShort(secretPair(80)));
  }
}

function storePair(result: usize, low: u64, high: u64): void {
  store<u64>(result, low);
  store<u64>(result, high, 8);
}

function hash1to3(address: usize, byteLength: u32, result: usize): void {
  const first = u32(load<u8>(address));
  const middle = u32(load<u8>(address + (byteLength >> 1)));
  const last = u32(load<u8>(address + byteLength - 1));
  const low = (first << 16) | (middle << 24) | last | (byteLength << 8);
  const high = rotl<u32>(bswap<u32>(low), 13);
  storePair(
    result,
    avalancheShort(u64(low ^ load<u32>(SECRET) ^ load<u32>(SECRET, 4))),
    avalancheShort(u64(high ^ load<u32>(SECRET, 8) ^ load<u32>(SECRET, 12))),
  );
}

function hash4to8(address: usize, byteLength: u32, result: usize): void {
  const first = u64(load<u32>(address));
  const last = u64(load<u32>(address + byteLength - 4));
  const keyed = (first + (last << 32)) ^ secretPair(16);
  const factor = PRIME64_1 + (u64(byteLength) << 2);
  let low = keyed * factor;
  const high = multiplyHigh(keyed, factor) + (low << 1);
  low ^= high >> 3;
  low ^= low >> 35;
  low *= PRIME_MX2;
  low ^= low >> 28;
  storePair(result, low, avalanche(high));
}

function hash9to16(address: usize, byteLength: u32, result: usize): void {
  const first = load<u64>(address);
  const last = load<u64>(address + byteLength - 8);
  const mixed = first ^ last ^ secretPair(32);
  const keyed = last ^ secretPair(48);
  let low = mixed * PRIME64_1 + (u64(byteLength - 1) << 54);
  const high = multiplyHigh(mixed, PRIME64_1) + keyed + (keyed & 0xffffffff) * (PRIME32_2 - 1);
  low ^= bswap<u64>(high);
  storePair(
    result,
    avalanche(low * PRIME64_2),
    avalanche(multiplyHigh(low, PRIME64_2) + high * PRIME64_2),
  );
}

/** The two sums of bytes at both ends; each takes in the other's input as it is. */
function hash17to128(address: usize, byteLength: u32, result: usize): void {
  let low = u64(byteLength) * PRIME64_1;
  let high: u64 = 0;
  for (let pair = i32((byteLength - 1) >> 5); pair >= 0; pair--) {
    const front = address + 16 * pair;
    const back = address + byteLength - 16 - 16 * pair;
    low = (low + mix16(front, 32 * pair)) ^ plainSum(back);
    high = (high + mix16(back, 32 * pair + 16)) ^ plainSum(front);
  }
  finish(low, high, byteLength, result);
}

function hash129to240(address: usize, byteLength: u32, result: usize): void {
  let low = u64(byteLength) * PRIME64_1;
  let high: u64 = 0;
  for (let offset: usize = 0; offset + 32 <= byteLength; offset += 32) {
    if (offset == 128) {
      low = avalanche(low);
      high = avalanche(high);
    }
    const front = address + offset;
    const secretOffset = offset < 128 ? offset : offset - 125;
    low = (low + mix16(front, secretOffset)) ^ plainSum(front + 16);
    high = (high + mix16(front + 16, secretOffset + 16)) ^ plainSum(front);
  }
  if (byteLength < 160) {
    low = avalanche(low);
    high = avalanche(high);
  }
  const end = address + byteLength;
  low = (low + mix16(end - 16, 103)) ^ plainSum(end - 32);
  high = (high + mix16(end - 32, 119)) ^ plainSum(end - 16);
  finish(low, high, byteLength, result);
}

function plainSum(address: usize): u64 {
  return load<u64>(address) + load<u64>(address, 8);
}

function finish(low: u64, high: u64, byteLength: u32, result: usize): void {
  storePair(
    result,
    avalanche(low + high),
    0 - avalanche(low * PRIME64_1 + high * PRIME64_4 + u64(byteLength) * PRIME64_2),
  );
}

/**
 * XXH3 of more than 240 bytes, in SIMD: eight 64-bit lanes of accumulators over stripes of 64 bytes.
 *
 * Wasm has no multiplication of the low halves of 64-bit lanes (x86's pmuludq), only of neighbours: so two vectors of
 * keys are split into their low and their high halves, and one extended multiplication gives the lanes of the first,
 * another those of the second. The accumulators are locals, so that they stay in registers: hence one long function.
 */

import { multiplyFold } from "../lib/wide";
import {
  PRIME32_1,
  PRIME32_2,
  PRIME32_3,
  PRIME64_1,
  PRIME64_2,
  PRIME64_3,
  PRIME64_4,
  PRIME64_5,
  SECRET,
  avalanche,
} from "./xxh3_mix";

const STRIPE_BYTES: u32 = 64;
const STRIPES_PER_BLOCK: u32 = 16;
const SECRET_BYTES: usize = 192;

/** Where accumulateStripes leaves its result: it is read by mergeAccumulators at once. */
const ACCUMULATORS: usize = memory.data(64, 16);

/** Runs all stripes of an input of at least 65 bytes and leaves the eight accumulators for mergeAccumulators. */
export function accumulateStripes(address: usize, byteLength: u32): void {
  let sum0 = i64x2(PRIME32_3, PRIME64_1);
  let sum1 = i64x2(PRIME64_2, PRIME64_3);
  let sum2 = i64x2(PRIME64_4, PRIME32_2);
  let sum3 = i64x2(PRIME64_5, PRIME32_1);
  let data0: v128, data1: v128, data2: v128, data3: v128;
  let key0: v128, key1: v128, key2: v128, key3: v128;
  let low: v128, high: v128;

  let position = address;
  let stripesLeft = (byteLength - 1) / STRIPE_BYTES;
  while (stripesLeft > 0) {
    const stripes = min(stripesLeft, STRIPES_PER_BLOCK);
    stripesLeft -= stripes;
    const end = position + stripes * STRIPE_BYTES;
    let secret = SECRET;
    while (position != end) {
      data0 = v128.load(position);
      data1 = v128.load(position, 16);
      data2 = v128.load(position, 32);
      data3 = v128.load(position, 48);
      key0 = v128.xor(data0, v128.load(secret));
      key1 = v128.xor(data1, v128.load(secret, 16));
      key2 = v128.xor(data2, v128.load(secret, 32));
      key3 = v128.xor(data3, v128.load(secret, 48));
      sum0 = i64x2.add(sum0, v128.shuffle<i64>(data0, data0, 1, 0));
      sum1 = i64x2.add(sum1, v128.shuffle<i64>(data1, data1, 1, 0));
      sum2 = i64x2.add(sum2, v128.shuffle<i64>(data2, data2, 1, 0));
      sum3 = i64x2.add(sum3, v128.shuffle<i64>(data3, data3, 1, 0));
      low = v128.shuffle<i32>(key0, key1, 0, 2, 4, 6);
      high = v128.shuffle<i32>(key0, key1, 1, 3, 5, 7);
      sum0 = i64x2.add(sum0, i64x2.extmul_low_i32x4_u(low, high));
      sum1 = i64x2.add(sum1, i64x2.extmul_high_i32x4_u(low, high));
      low = v128.shuffle<i32>(key2, key3, 0, 2, 4, 6);
      high = v128.shuffle<i32>(key2, key3, 1, 3, 5, 7);
      sum2 = i64x2.add(sum2, i64x2.extmul_low_i32x4_u(low, high));
      sum3 = i64x2.add(sum3, i64x2.extmul_high_i32x4_u(low, high));
      position += STRIPE_BYTES;
      secret += 8;
    }
    if (stripes == STRIPES_PER_BLOCK) {
      sum0 = scramble(sum0, SECRET + 128);
      sum1 = scramble(sum1, SECRET + 144);
      sum2 = scramble(sum2, SECRET + 160);
      sum3 = scramble(sum3, SECRET + 176);
    }
  }

  // The last 64 bytes, which may overlap the stripe before, with a key of their own.
  position = address + byteLength - STRIPE_BYTES;
  const lastSecret = SECRET + SECRET_BYTES - STRIPE_BYTES - 7;
  data0 = v128.load(position);
  data1 = v128.load(position, 16);
  data2 = v128.load(position, 32);
  data3 = v128.load(position, 48);
  key0 = v128.xor(data0, v128.load(lastSecret));
  key1 = v128.xor(data1, v128.load(lastSecret, 16));
  key2 = v128.xor(data2, v128.load(lastSecret, 32));
  key3 = v128.xor(data3, v128.load(lastSecret, 48));
  sum0 = i64x2.add(sum0, v128.shuffle<i64>(data0, data0, 1, 0));
  sum1 = i64x2.add(sum1, v128.shuffle<i64>(data1, data1, 1, 0));
  sum2 = i64x2.add(sum2, v128.shuffle<i64>(data2, data2, 1, 0));
  sum3 = i64x2.add(sum3, v128.shuffle<i64>(data3, data3, 1, 0));
  low = v128.shuffle<i32>(key0, key1, 0, 2, 4, 6);
  high = v128.shuffle<i32>(key0, key1, 1, 3, 5, 7);
  v128.store(ACCUMULATORS, i64x2.add(sum0, i64x2.extmul_low_i32x4_u(low, high)));
  v128.store(ACCUMULATORS, i64x2.add(sum1, i64x2.extmul_high_i32x4_u(low, high)), 16);
  low = v128.shuffle<i32>(key2, key3, 0, 2, 4, 6);
  high = v128.shuffle<i32>(key2, key3, 1, 3, 5, 7);
  v128.store(ACCUMULATORS, i64x2.add(sum2, i64x2.extmul_low_i32x4_u(low, high)), 32);
  v128.store(ACCUMULATORS, i64x2.add(sum3, i64x2.extmul_high_i32x4_u(low, high)), 48);
}

/** Folds the accumulators of the last accumulateStripes into 64 bits. */
export function mergeAccumulators(secretOffset: usize, start: u64): u64 {
  const secret = SECRET + secretOffset;
  let hash = start;
  for (let offset: usize = 0; offset < 64; offset += 16) {
    hash += multiplyFold(
      load<u64>(ACCUMULATORS + offset) ^ load<u64>(secret + offset),
      load<u64>(ACCUMULATORS + offset, 8) ^ load<u64>(secret + offset, 8),
    );
  }
  return avalanche(hash);
}

function scramble(sum: v128, secret: usize): v128 {
  const mixed = v128.xor(v128.xor(sum, i64x2.shr_u(sum, 47)), v128.load(secret));
  return i64x2.mul(mixed, i64x2.splat(PRIME32_1));
}

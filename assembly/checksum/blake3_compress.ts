/**
 * BLAKE3's compression of one block, and of one block in each of four lanes at once. A round is written once and looped
 * over; which message words it takes comes from a table, whose look-ups hide behind the vector operations.
 *
 * @see https://github.com/BLAKE3-team/BLAKE3-specs/blob/master/blake3.pdf
 */

export const BLOCK_BYTES: u32 = 64;
export const CHAINING_BYTES: u32 = 32;

export const CHUNK_START: u32 = 1;
export const CHUNK_END: u32 = 2;
export const PARENT: u32 = 4;
export const ROOT: u32 = 8;

const IV0: u32 = 0x6a09e667;
const IV1: u32 = 0xbb67ae85;
const IV2: u32 = 0x3c6ef372;
const IV3: u32 = 0xa54ff53a;
const IV4: u32 = 0x510e527f;
const IV5: u32 = 0x9b05688c;
const IV6: u32 = 0x1f83d9ab;
const IV7: u32 = 0x5be0cd19;

/** The eight words that a chunk and a parent start from. */
export const INITIAL: usize = memory.data<u32>([IV0, IV1, IV2, IV3, IV4, IV5, IV6, IV7]);

const ROUNDS: usize = 7;

/** For each round, the offsets in a block of its sixteen words: the permutation, applied once more each round. */
// prettier-ignore
const ORDER: usize = memory.data<u8>([
  0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60,
  8, 24, 12, 40, 28, 0, 16, 52, 4, 44, 48, 20, 36, 56, 60, 32,
  12, 16, 40, 48, 52, 8, 28, 56, 24, 20, 36, 0, 44, 60, 32, 4,
  40, 28, 48, 36, 56, 12, 52, 60, 16, 0, 44, 8, 20, 32, 4, 24,
  48, 52, 36, 44, 60, 40, 56, 32, 28, 8, 20, 12, 0, 4, 24, 16,
  36, 56, 44, 20, 32, 48, 60, 4, 52, 12, 0, 40, 8, 24, 16, 28,
  44, 60, 20, 0, 4, 36, 32, 24, 56, 40, 8, 48, 12, 16, 28, 52,
]);

/** The same, for MESSAGE. */
// prettier-ignore
const ORDER_LANES: usize = memory.data<u8>([
  0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240,
  32, 96, 48, 160, 112, 0, 64, 208, 16, 176, 192, 80, 144, 224, 240, 128,
  48, 64, 160, 192, 208, 32, 112, 224, 96, 80, 144, 0, 176, 240, 128, 16,
  160, 112, 192, 144, 224, 48, 208, 240, 64, 0, 176, 32, 80, 128, 16, 96,
  192, 208, 144, 176, 240, 160, 224, 128, 112, 32, 80, 48, 0, 16, 96, 64,
  144, 224, 176, 80, 128, 192, 240, 16, 208, 48, 0, 160, 32, 96, 64, 112,
  176, 240, 80, 0, 16, 144, 128, 96, 224, 160, 32, 192, 48, 64, 112, 208,
]);

/** The sixteen words of a block of each lane, one vector a word. */
const MESSAGE: usize = memory.data(256, 16);

/**
 * Compresses a block: `out` = f(`chaining`, block). `out` may be `chaining`, and may lie in the block.
 *
 * @param blockBytes How many of the 64 bytes are input; the others are zero.
 */
export function compress(
  chaining: usize,
  block: usize,
  blockBytes: u32,
  counter: u32,
  flags: u32,
  out: usize,
): void {
  let v0 = load<u32>(chaining, 0);
  let v1 = load<u32>(chaining, 4);
  let v2 = load<u32>(chaining, 8);
  let v3 = load<u32>(chaining, 12);
  let v4 = load<u32>(chaining, 16);
  let v5 = load<u32>(chaining, 20);
  let v6 = load<u32>(chaining, 24);
  let v7 = load<u32>(chaining, 28);
  let v8 = IV0;
  let v9 = IV1;
  let v10 = IV2;
  let v11 = IV3;
  let v12 = counter;
  let v13: u32 = 0;
  let v14 = blockBytes;
  let v15 = flags;
  for (let order = ORDER; order != ORDER + 16 * ROUNDS; order += 16) {
    v0 += v4 + load<u32>(block + load<u8>(order, 0));
    v12 = rotr<u32>(v12 ^ v0, 16);
    v8 += v12;
    v4 = rotr<u32>(v4 ^ v8, 12);
    v0 += v4 + load<u32>(block + load<u8>(order, 1));
    v12 = rotr<u32>(v12 ^ v0, 8);
    v8 += v12;
    v4 = rotr<u32>(v4 ^ v8, 7);
    v1 += v5 + load<u32>(block + load<u8>(order, 2));
    v13 = rotr<u32>(v13 ^ v1, 16);
    v9 += v13;
    v5 = rotr<u32>(v5 ^ v9, 12);
    v1 += v5 + load<u32>(block + load<u8>(order, 3));
    v13 = rotr<u32>(v13 ^ v1, 8);
    v9 += v13;
    v5 = rotr<u32>(v5 ^ v9, 7);
    v2 += v6 + load<u32>(block + load<u8>(order, 4));
    v14 = rotr<u32>(v14 ^ v2, 16);
    v10 += v14;
    v6 = rotr<u32>(v6 ^ v10, 12);
    v2 += v6 + load<u32>(block + load<u8>(order, 5));
    v14 = rotr<u32>(v14 ^ v2, 8);
    v10 += v14;
    v6 = rotr<u32>(v6 ^ v10, 7);
    v3 += v7 + load<u32>(block + load<u8>(order, 6));
    v15 = rotr<u32>(v15 ^ v3, 16);
    v11 += v15;
    v7 = rotr<u32>(v7 ^ v11, 12);
    v3 += v7 + load<u32>(block + load<u8>(order, 7));
    v15 = rotr<u32>(v15 ^ v3, 8);
    v11 += v15;
    v7 = rotr<u32>(v7 ^ v11, 7);
    v0 += v5 + load<u32>(block + load<u8>(order, 8));
    v15 = rotr<u32>(v15 ^ v0, 16);
    v10 += v15;
    v5 = rotr<u32>(v5 ^ v10, 12);
    v0 += v5 + load<u32>(block + load<u8>(order, 9));
    v15 = rotr<u32>(v15 ^ v0, 8);
    v10 += v15;
    v5 = rotr<u32>(v5 ^ v10, 7);
    v1 += v6 + load<u32>(block + load<u8>(order, 10));
    v12 = rotr<u32>(v12 ^ v1, 16);
    v11 += v12;
    v6 = rotr<u32>(v6 ^ v11, 12);
    v1 += v6 + load<u32>(block + load<u8>(order, 11));
    v12 = rotr<u32>(v12 ^ v1, 8);
    v11 += v12;
    v6 = rotr<u32>(v6 ^ v11, 7);
    v2 += v7 + load<u32>(block + load<u8>(order, 12));
    v13 = rotr<u32>(v13 ^ v2, 16);
    v8 += v13;
    v7 = rotr<u32>(v7 ^ v8, 12);
    v2 += v7 + load<u32>(block + load<u8>(order, 13));
    v13 = rotr<u32>(v13 ^ v2, 8);
    v8 += v13;
    v7 = rotr<u32>(v7 ^ v8, 7);
    v3 += v4 + load<u32>(block + load<u8>(order, 14));
    v14 = rotr<u32>(v14 ^ v3, 16);
    v9 += v14;
    v4 = rotr<u32>(v4 ^ v9, 12);
    v3 += v4 + load<u32>(block + load<u8>(order, 15));
    v14 = rotr<u32>(v14 ^ v3, 8);
    v9 += v14;
    v4 = rotr<u32>(v4 ^ v9, 7);
  }
  store<u32>(out, v0 ^ v8, 0);
  store<u32>(out, v1 ^ v9, 4);
  store<u32>(out, v2 ^ v10, 8);
  store<u32>(out, v3 ^ v11, 12);
  store<u32>(out, v4 ^ v12, 16);
  store<u32>(out, v5 ^ v13, 20);
  store<u32>(out, v6 ^ v14, 24);
  store<u32>(out, v7 ^ v15, 28);
}

/**
 * Compresses `blockCount` blocks in each of two to four lanes, from the initial words, and stores four chaining values
 * side by side; those of lanes that are not used are garbage.
 *
 * @param input Lane 0; the others follow at `strideBytes`.
 * @param counter Of lane 0; it grows by `counterStep` a lane.
 */
export function compressLanes(
  input: usize,
  strideBytes: u32,
  laneCount: u32,
  blockCount: u32,
  counter: u32,
  counterStep: u32,
  flags: u32,
  flagsFirst: u32,
  flagsLast: u32,
  out: usize,
): void {
  // A lane that is not used repeats the one before: nothing is read beyond the input.
  let lane0 = input;
  let lane1 = lane0 + strideBytes;
  let lane2 = laneCount > 2 ? lane1 + strideBytes : lane1;
  let lane3 = laneCount > 3 ? lane2 + strideBytes : lane2;
  const counters = i32x4.add(
    i32x4.splat(counter),
    i32x4.mul(i32x4.splat(counterStep), i32x4(0, 1, 2, 3)),
  );
  let v0 = i32x4.splat(IV0);
  let v1 = i32x4.splat(IV1);
  let v2 = i32x4.splat(IV2);
  let v3 = i32x4.splat(IV3);
  let v4 = i32x4.splat(IV4);
  let v5 = i32x4.splat(IV5);
  let v6 = i32x4.splat(IV6);
  let v7 = i32x4.splat(IV7);
  let v8: v128, v9: v128, v10: v128, v11: v128, v12: v128, v13: v128, v14: v128, v15: v128;
  let a: v128, b: v128, c: v128, d: v128;
  for (let left = blockCount; left > 0; left--) {
    for (let word: usize = 0; word < BLOCK_BYTES; word += 16) {
      a = v128.load(lane0 + word);
      b = v128.load(lane1 + word);
      c = v128.load(lane2 + word);
      d = v128.load(lane3 + word);
      transpose(MESSAGE + 4 * word, 16, a, b, c, d);
    }
    v8 = i32x4.splat(IV0);
    v9 = i32x4.splat(IV1);
    v10 = i32x4.splat(IV2);
    v11 = i32x4.splat(IV3);
    v12 = counters;
    v13 = i32x4.splat(0);
    v14 = i32x4.splat(BLOCK_BYTES);
    v15 = i32x4.splat(
      flags | (left == blockCount ? flagsFirst : 0) | (left == 1 ? flagsLast : 0),
    );
    for (let order = ORDER_LANES; order != ORDER_LANES + 16 * ROUNDS; order += 16) {
      v0 = i32x4.add(i32x4.add(v0, v4), v128.load(load<u8>(order, 0), MESSAGE));
      v1 = i32x4.add(i32x4.add(v1, v5), v128.load(load<u8>(order, 2), MESSAGE));
      v2 = i32x4.add(i32x4.add(v2, v6), v128.load(load<u8>(order, 4), MESSAGE));
      v3 = i32x4.add(i32x4.add(v3, v7), v128.load(load<u8>(order, 6), MESSAGE));
      v12 = v128.xor(v12, v0);
      v13 = v128.xor(v13, v1);
      v14 = v128.xor(v14, v2);
      v15 = v128.xor(v15, v3);
      v12 = v128.shuffle<i16>(v12, v12, 1, 0, 3, 2, 5, 4, 7, 6);
      v13 = v128.shuffle<i16>(v13, v13, 1, 0, 3, 2, 5, 4, 7, 6);
      v14 = v128.shuffle<i16>(v14, v14, 1, 0, 3, 2, 5, 4, 7, 6);
      v15 = v128.shuffle<i16>(v15, v15, 1, 0, 3, 2, 5, 4, 7, 6);
      v8 = i32x4.add(v8, v12);
      v9 = i32x4.add(v9, v13);
      v10 = i32x4.add(v10, v14);
      v11 = i32x4.add(v11, v15);
      v4 = v128.xor(v4, v8);
      v5 = v128.xor(v5, v9);
      v6 = v128.xor(v6, v10);
      v7 = v128.xor(v7, v11);
      v4 = v128.or(i32x4.shr_u(v4, 12), i32x4.shl(v4, 20));
      v5 = v128.or(i32x4.shr_u(v5, 12), i32x4.shl(v5, 20));
      v6 = v128.or(i32x4.shr_u(v6, 12), i32x4.shl(v6, 20));
      v7 = v128.or(i32x4.shr_u(v7, 12), i32x4.shl(v7, 20));
      v0 = i32x4.add(i32x4.add(v0, v4), v128.load(load<u8>(order, 1), MESSAGE));
      v1 = i32x4.add(i32x4.add(v1, v5), v128.load(load<u8>(order, 3), MESSAGE));
      v2 = i32x4.add(i32x4.add(v2, v6), v128.load(load<u8>(order, 5), MESSAGE));
      v3 = i32x4.add(i32x4.add(v3, v7), v128.load(load<u8>(order, 7), MESSAGE));
      v12 = v128.xor(v12, v0);
      v13 = v128.xor(v13, v1);
      v14 = v128.xor(v14, v2);
      v15 = v128.xor(v15, v3);
      v12 = v128.or(i32x4.shr_u(v12, 8), i32x4.shl(v12, 24));
      v13 = v128.or(i32x4.shr_u(v13, 8), i32x4.shl(v13, 24));
      v14 = v128.or(i32x4.shr_u(v14, 8), i32x4.shl(v14, 24));
      v15 = v128.or(i32x4.shr_u(v15, 8), i32x4.shl(v15, 24));
      v8 = i32x4.add(v8, v12);
      v9 = i32x4.add(v9, v13);
      v10 = i32x4.add(v10, v14);
      v11 = i32x4.add(v11, v15);
      v4 = v128.xor(v4, v8);
      v5 = v128.xor(v5, v9);
      v6 = v128.xor(v6, v10);
      v7 = v128.xor(v7, v11);
      v4 = v128.or(i32x4.shr_u(v4, 7), i32x4.shl(v4, 25));
      v5 = v128.or(i32x4.shr_u(v5, 7), i32x4.shl(v5, 25));
      v6 = v128.or(i32x4.shr_u(v6, 7), i32x4.shl(v6, 25));
      v7 = v128.or(i32x4.shr_u(v7, 7), i32x4.shl(v7, 25));
      v0 = i32x4.add(i32x4.add(v0, v5), v128.load(load<u8>(order, 8), MESSAGE));
      v1 = i32x4.add(i32x4.add(v1, v6), v128.load(load<u8>(order, 10), MESSAGE));
      v2 = i32x4.add(i32x4.add(v2, v7), v128.load(load<u8>(order, 12), MESSAGE));
      v3 = i32x4.add(i32x4.add(v3, v4), v128.load(load<u8>(order, 14), MESSAGE));
      v15 = v128.xor(v15, v0);
      v12 = v128.xor(v12, v1);
      v13 = v128.xor(v13, v2);
      v14 = v128.xor(v14, v3);
      v15 = v128.shuffle<i16>(v15, v15, 1, 0, 3, 2, 5, 4, 7, 6);
      v12 = v128.shuffle<i16>(v12, v12, 1, 0, 3, 2, 5, 4, 7, 6);
      v13 = v128.shuffle<i16>(v13, v13, 1, 0, 3, 2, 5, 4, 7, 6);
      v14 = v128.shuffle<i16>(v14, v14, 1, 0, 3, 2, 5, 4, 7, 6);
      v10 = i32x4.add(v10, v15);
      v11 = i32x4.add(v11, v12);
      v8 = i32x4.add(v8, v13);
      v9 = i32x4.add(v9, v14);
      v5 = v128.xor(v5, v10);
      v6 = v128.xor(v6, v11);
      v7 = v128.xor(v7, v8);
      v4 = v128.xor(v4, v9);
      v5 = v128.or(i32x4.shr_u(v5, 12), i32x4.shl(v5, 20));
      v6 = v128.or(i32x4.shr_u(v6, 12), i32x4.shl(v6, 20));
      v7 = v128.or(i32x4.shr_u(v7, 12), i32x4.shl(v7, 20));
      v4 = v128.or(i32x4.shr_u(v4, 12), i32x4.shl(v4, 20));
      v0 = i32x4.add(i32x4.add(v0, v5), v128.load(load<u8>(order, 9), MESSAGE));
      v1 = i32x4.add(i32x4.add(v1, v6), v128.load(load<u8>(order, 11), MESSAGE));
      v2 = i32x4.add(i32x4.add(v2, v7), v128.load(load<u8>(order, 13), MESSAGE));
      v3 = i32x4.add(i32x4.add(v3, v4), v128.load(load<u8>(order, 15), MESSAGE));
      v15 = v128.xor(v15, v0);
      v12 = v128.xor(v12, v1);
      v13 = v128.xor(v13, v2);
      v14 = v128.xor(v14, v3);
      v15 = v128.or(i32x4.shr_u(v15, 8), i32x4.shl(v15, 24));
      v12 = v128.or(i32x4.shr_u(v12, 8), i32x4.shl(v12, 24));
      v13 = v128.or(i32x4.shr_u(v13, 8), i32x4.shl(v13, 24));
      v14 = v128.or(i32x4.shr_u(v14, 8), i32x4.shl(v14, 24));
      v10 = i32x4.add(v10, v15);
      v11 = i32x4.add(v11, v12);
      v8 = i32x4.add(v8, v13);
      v9 = i32x4.add(v9, v14);
      v5 = v128.xor(v5, v10);
      v6 = v128.xor(v6, v11);
      v7 = v128.xor(v7, v8);
      v4 = v128.xor(v4, v9);
      v5 = v128.or(i32x4.shr_u(v5, 7), i32x4.shl(v5, 25));
      v6 = v128.or(i32x4.shr_u(v6, 7), i32x4.shl(v6, 25));
      v7 = v128.or(i32x4.shr_u(v7, 7), i32x4.shl(v7, 25));
      v4 = v128.or(i32x4.shr_u(v4, 7), i32x4.shl(v4, 25));
    }
    v0 = v128.xor(v0, v8);
    v1 = v128.xor(v1, v9);
    v2 = v128.xor(v2, v10);
    v3 = v128.xor(v3, v11);
    v4 = v128.xor(v4, v12);
    v5 = v128.xor(v5, v13);
    v6 = v128.xor(v6, v14);
    v7 = v128.xor(v7, v15);
    lane0 += BLOCK_BYTES;
    lane1 += BLOCK_BYTES;
    lane2 += BLOCK_BYTES;
    lane3 += BLOCK_BYTES;
  }
  transpose(out, CHAINING_BYTES, v0, v1, v2, v3);
  transpose(out + 16, CHAINING_BYTES, v4, v5, v6, v7);
}

/** Stores the columns of a 4 × 4 matrix of words as rows, `strideBytes` apart. */
function transpose(
  out: usize,
  strideBytes: u32,
  row0: v128,
  row1: v128,
  row2: v128,
  row3: v128,
): void {
  const low01 = v128.shuffle<i32>(row0, row1, 0, 4, 1, 5);
  const high01 = v128.shuffle<i32>(row0, row1, 2, 6, 3, 7);
  const low23 = v128.shuffle<i32>(row2, row3, 0, 4, 1, 5);
  const high23 = v128.shuffle<i32>(row2, row3, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(low01, low23, 0, 2));
  v128.store(out + strideBytes, v128.shuffle<i64>(low01, low23, 1, 3));
  v128.store(out + 2 * strideBytes, v128.shuffle<i64>(high01, high23, 0, 2));
  v128.store(out + 3 * strideBytes, v128.shuffle<i64>(high01, high23, 1, 3));
}

/**
 * BLAKE3's compression of one block in each of four lanes: the same steps as in blake3_compress, where word i of the
 * four states is one vector. The rounds are written out, as there.
 */

import {
  BLOCK_BYTES,
  CHAINING_BYTES,
  IV0,
  IV1,
  IV2,
  IV3,
  IV4,
  IV5,
  IV6,
  IV7,
} from "./blake3_compress";

/** The sixteen words of a block of each lane, one vector a word. */
const MESSAGE: usize = memory.data(256, 16);

/**
 * Compresses `blockCount` blocks in each of two to four lanes, from the initial words, and stores four chaining values
 * side by side; those of lanes that are not used are garbage.
 *
 * @param input Lane 0; the others follow at `strideBytes`.
 * @param counter Of lane 0; it grows by `counterStep` a lane.
 */
// biome-ignore format: half of a quarter round a line
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
  const steps = i32x4.mul(i32x4.splat(counterStep), i32x4(0, 1, 2, 3));
  const counters = i32x4.add(i32x4.splat(counter), steps);
  let v0 = i32x4.splat(IV0);
  let v1 = i32x4.splat(IV1);
  let v2 = i32x4.splat(IV2);
  let v3 = i32x4.splat(IV3);
  let v4 = i32x4.splat(IV4);
  let v5 = i32x4.splat(IV5);
  let v6 = i32x4.splat(IV6);
  let v7 = i32x4.splat(IV7);
  for (let left = blockCount; left > 0; left--) {
    for (let word: usize = 0; word < BLOCK_BYTES; word += 16) {
      transpose(
        MESSAGE + 4 * word, 16,
        v128.load(lane0 + word), v128.load(lane1 + word), v128.load(lane2 + word), v128.load(lane3 + word),
      );
    }
    const m0 = v128.load(MESSAGE, 0);
    const m1 = v128.load(MESSAGE, 16);
    const m2 = v128.load(MESSAGE, 32);
    const m3 = v128.load(MESSAGE, 48);
    const m4 = v128.load(MESSAGE, 64);
    const m5 = v128.load(MESSAGE, 80);
    const m6 = v128.load(MESSAGE, 96);
    const m7 = v128.load(MESSAGE, 112);
    const m8 = v128.load(MESSAGE, 128);
    const m9 = v128.load(MESSAGE, 144);
    const m10 = v128.load(MESSAGE, 160);
    const m11 = v128.load(MESSAGE, 176);
    const m12 = v128.load(MESSAGE, 192);
    const m13 = v128.load(MESSAGE, 208);
    const m14 = v128.load(MESSAGE, 224);
    const m15 = v128.load(MESSAGE, 240);
    let v8 = i32x4.splat(IV0);
    let v9 = i32x4.splat(IV1);
    let v10 = i32x4.splat(IV2);
    let v11 = i32x4.splat(IV3);
    let v12 = counters;
    let v13 = i32x4.splat(0);
    let v14 = i32x4.splat(BLOCK_BYTES);
    let v15 = i32x4.splat(flags | (left == blockCount ? flagsFirst : 0) | (left == 1 ? flagsLast : 0));

    // Round 1
    v0 = sum(v0, v4, m0); v12 = turn16(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn12(v4, v8);
    v0 = sum(v0, v4, m1); v12 = turn8(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn7(v4, v8);
    v1 = sum(v1, v5, m2); v13 = turn16(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn12(v5, v9);
    v1 = sum(v1, v5, m3); v13 = turn8(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn7(v5, v9);
    v2 = sum(v2, v6, m4); v14 = turn16(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn12(v6, v10);
    v2 = sum(v2, v6, m5); v14 = turn8(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn7(v6, v10);
    v3 = sum(v3, v7, m6); v15 = turn16(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn12(v7, v11);
    v3 = sum(v3, v7, m7); v15 = turn8(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn7(v7, v11);
    v0 = sum(v0, v5, m8); v15 = turn16(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn12(v5, v10);
    v0 = sum(v0, v5, m9); v15 = turn8(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn7(v5, v10);
    v1 = sum(v1, v6, m10); v12 = turn16(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn12(v6, v11);
    v1 = sum(v1, v6, m11); v12 = turn8(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn7(v6, v11);
    v2 = sum(v2, v7, m12); v13 = turn16(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn12(v7, v8);
    v2 = sum(v2, v7, m13); v13 = turn8(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn7(v7, v8);
    v3 = sum(v3, v4, m14); v14 = turn16(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn12(v4, v9);
    v3 = sum(v3, v4, m15); v14 = turn8(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn7(v4, v9);

    // Round 2
    v0 = sum(v0, v4, m2); v12 = turn16(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn12(v4, v8);
    v0 = sum(v0, v4, m6); v12 = turn8(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn7(v4, v8);
    v1 = sum(v1, v5, m3); v13 = turn16(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn12(v5, v9);
    v1 = sum(v1, v5, m10); v13 = turn8(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn7(v5, v9);
    v2 = sum(v2, v6, m7); v14 = turn16(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn12(v6, v10);
    v2 = sum(v2, v6, m0); v14 = turn8(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn7(v6, v10);
    v3 = sum(v3, v7, m4); v15 = turn16(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn12(v7, v11);
    v3 = sum(v3, v7, m13); v15 = turn8(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn7(v7, v11);
    v0 = sum(v0, v5, m1); v15 = turn16(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn12(v5, v10);
    v0 = sum(v0, v5, m11); v15 = turn8(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn7(v5, v10);
    v1 = sum(v1, v6, m12); v12 = turn16(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn12(v6, v11);
    v1 = sum(v1, v6, m5); v12 = turn8(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn7(v6, v11);
    v2 = sum(v2, v7, m9); v13 = turn16(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn12(v7, v8);
    v2 = sum(v2, v7, m14); v13 = turn8(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn7(v7, v8);
    v3 = sum(v3, v4, m15); v14 = turn16(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn12(v4, v9);
    v3 = sum(v3, v4, m8); v14 = turn8(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn7(v4, v9);

    // Round 3
    v0 = sum(v0, v4, m3); v12 = turn16(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn12(v4, v8);
    v0 = sum(v0, v4, m4); v12 = turn8(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn7(v4, v8);
    v1 = sum(v1, v5, m10); v13 = turn16(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn12(v5, v9);
    v1 = sum(v1, v5, m12); v13 = turn8(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn7(v5, v9);
    v2 = sum(v2, v6, m13); v14 = turn16(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn12(v6, v10);
    v2 = sum(v2, v6, m2); v14 = turn8(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn7(v6, v10);
    v3 = sum(v3, v7, m7); v15 = turn16(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn12(v7, v11);
    v3 = sum(v3, v7, m14); v15 = turn8(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn7(v7, v11);
    v0 = sum(v0, v5, m6); v15 = turn16(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn12(v5, v10);
    v0 = sum(v0, v5, m5); v15 = turn8(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn7(v5, v10);
    v1 = sum(v1, v6, m9); v12 = turn16(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn12(v6, v11);
    v1 = sum(v1, v6, m0); v12 = turn8(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn7(v6, v11);
    v2 = sum(v2, v7, m11); v13 = turn16(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn12(v7, v8);
    v2 = sum(v2, v7, m15); v13 = turn8(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn7(v7, v8);
    v3 = sum(v3, v4, m8); v14 = turn16(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn12(v4, v9);
    v3 = sum(v3, v4, m1); v14 = turn8(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn7(v4, v9);

    // Round 4
    v0 = sum(v0, v4, m10); v12 = turn16(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn12(v4, v8);
    v0 = sum(v0, v4, m7); v12 = turn8(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn7(v4, v8);
    v1 = sum(v1, v5, m12); v13 = turn16(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn12(v5, v9);
    v1 = sum(v1, v5, m9); v13 = turn8(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn7(v5, v9);
    v2 = sum(v2, v6, m14); v14 = turn16(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn12(v6, v10);
    v2 = sum(v2, v6, m3); v14 = turn8(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn7(v6, v10);
    v3 = sum(v3, v7, m13); v15 = turn16(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn12(v7, v11);
    v3 = sum(v3, v7, m15); v15 = turn8(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn7(v7, v11);
    v0 = sum(v0, v5, m4); v15 = turn16(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn12(v5, v10);
    v0 = sum(v0, v5, m0); v15 = turn8(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn7(v5, v10);
    v1 = sum(v1, v6, m11); v12 = turn16(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn12(v6, v11);
    v1 = sum(v1, v6, m2); v12 = turn8(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn7(v6, v11);
    v2 = sum(v2, v7, m5); v13 = turn16(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn12(v7, v8);
    v2 = sum(v2, v7, m8); v13 = turn8(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn7(v7, v8);
    v3 = sum(v3, v4, m1); v14 = turn16(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn12(v4, v9);
    v3 = sum(v3, v4, m6); v14 = turn8(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn7(v4, v9);

    // Round 5
    v0 = sum(v0, v4, m12); v12 = turn16(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn12(v4, v8);
    v0 = sum(v0, v4, m13); v12 = turn8(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn7(v4, v8);
    v1 = sum(v1, v5, m9); v13 = turn16(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn12(v5, v9);
    v1 = sum(v1, v5, m11); v13 = turn8(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn7(v5, v9);
    v2 = sum(v2, v6, m15); v14 = turn16(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn12(v6, v10);
    v2 = sum(v2, v6, m10); v14 = turn8(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn7(v6, v10);
    v3 = sum(v3, v7, m14); v15 = turn16(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn12(v7, v11);
    v3 = sum(v3, v7, m8); v15 = turn8(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn7(v7, v11);
    v0 = sum(v0, v5, m7); v15 = turn16(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn12(v5, v10);
    v0 = sum(v0, v5, m2); v15 = turn8(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn7(v5, v10);
    v1 = sum(v1, v6, m5); v12 = turn16(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn12(v6, v11);
    v1 = sum(v1, v6, m3); v12 = turn8(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn7(v6, v11);
    v2 = sum(v2, v7, m0); v13 = turn16(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn12(v7, v8);
    v2 = sum(v2, v7, m1); v13 = turn8(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn7(v7, v8);
    v3 = sum(v3, v4, m6); v14 = turn16(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn12(v4, v9);
    v3 = sum(v3, v4, m4); v14 = turn8(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn7(v4, v9);

    // Round 6
    v0 = sum(v0, v4, m9); v12 = turn16(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn12(v4, v8);
    v0 = sum(v0, v4, m14); v12 = turn8(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn7(v4, v8);
    v1 = sum(v1, v5, m11); v13 = turn16(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn12(v5, v9);
    v1 = sum(v1, v5, m5); v13 = turn8(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn7(v5, v9);
    v2 = sum(v2, v6, m8); v14 = turn16(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn12(v6, v10);
    v2 = sum(v2, v6, m12); v14 = turn8(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn7(v6, v10);
    v3 = sum(v3, v7, m15); v15 = turn16(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn12(v7, v11);
    v3 = sum(v3, v7, m1); v15 = turn8(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn7(v7, v11);
    v0 = sum(v0, v5, m13); v15 = turn16(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn12(v5, v10);
    v0 = sum(v0, v5, m3); v15 = turn8(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn7(v5, v10);
    v1 = sum(v1, v6, m0); v12 = turn16(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn12(v6, v11);
    v1 = sum(v1, v6, m10); v12 = turn8(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn7(v6, v11);
    v2 = sum(v2, v7, m2); v13 = turn16(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn12(v7, v8);
    v2 = sum(v2, v7, m6); v13 = turn8(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn7(v7, v8);
    v3 = sum(v3, v4, m4); v14 = turn16(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn12(v4, v9);
    v3 = sum(v3, v4, m7); v14 = turn8(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn7(v4, v9);

    // Round 7
    v0 = sum(v0, v4, m11); v12 = turn16(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn12(v4, v8);
    v0 = sum(v0, v4, m15); v12 = turn8(v12, v0); v8 = i32x4.add(v8, v12); v4 = turn7(v4, v8);
    v1 = sum(v1, v5, m5); v13 = turn16(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn12(v5, v9);
    v1 = sum(v1, v5, m0); v13 = turn8(v13, v1); v9 = i32x4.add(v9, v13); v5 = turn7(v5, v9);
    v2 = sum(v2, v6, m1); v14 = turn16(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn12(v6, v10);
    v2 = sum(v2, v6, m9); v14 = turn8(v14, v2); v10 = i32x4.add(v10, v14); v6 = turn7(v6, v10);
    v3 = sum(v3, v7, m8); v15 = turn16(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn12(v7, v11);
    v3 = sum(v3, v7, m6); v15 = turn8(v15, v3); v11 = i32x4.add(v11, v15); v7 = turn7(v7, v11);
    v0 = sum(v0, v5, m14); v15 = turn16(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn12(v5, v10);
    v0 = sum(v0, v5, m10); v15 = turn8(v15, v0); v10 = i32x4.add(v10, v15); v5 = turn7(v5, v10);
    v1 = sum(v1, v6, m2); v12 = turn16(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn12(v6, v11);
    v1 = sum(v1, v6, m12); v12 = turn8(v12, v1); v11 = i32x4.add(v11, v12); v6 = turn7(v6, v11);
    v2 = sum(v2, v7, m3); v13 = turn16(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn12(v7, v8);
    v2 = sum(v2, v7, m4); v13 = turn8(v13, v2); v8 = i32x4.add(v8, v13); v7 = turn7(v7, v8);
    v3 = sum(v3, v4, m7); v14 = turn16(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn12(v4, v9);
    v3 = sum(v3, v4, m13); v14 = turn8(v14, v3); v9 = i32x4.add(v9, v14); v4 = turn7(v4, v9);

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

// What follows is inlined by the compiler.

function sum(a: v128, b: v128, message: v128): v128 {
  return i32x4.add(i32x4.add(a, b), message);
}

/** `a ^ b` with each word rotated right by 16: as a shuffle of halves, which is quicker than shifts (by 8 it is not). */
function turn16(a: v128, b: v128): v128 {
  const mixed = v128.xor(a, b);
  return v128.shuffle<i16>(mixed, mixed, 1, 0, 3, 2, 5, 4, 7, 6);
}

function turn12(a: v128, b: v128): v128 {
  const mixed = v128.xor(a, b);
  return v128.or(i32x4.shr_u(mixed, 12), i32x4.shl(mixed, 20));
}

function turn8(a: v128, b: v128): v128 {
  const mixed = v128.xor(a, b);
  return v128.or(i32x4.shr_u(mixed, 8), i32x4.shl(mixed, 24));
}

function turn7(a: v128, b: v128): v128 {
  const mixed = v128.xor(a, b);
  return v128.or(i32x4.shr_u(mixed, 7), i32x4.shl(mixed, 25));
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

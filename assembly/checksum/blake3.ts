/**
 * BLAKE3, unkeyed, 256 bits: a binary tree over chunks of 1 KiB. Chunks and their parents go through the compression
 * four at a time; subtrees of 16 chunks wait on a stack for their right sibling.
 *
 * Published vectors: "" → af1349b9f5f9a1a6a0404dea36dcc949 9bcb25c9adc112b7cc9a93cae41f3262, and the lengths of
 * test_vectors.json.
 *
 * @see https://github.com/BLAKE3-team/BLAKE3-specs/blob/master/blake3.pdf
 */

import {
  BLOCK_BYTES,
  CHAINING_BYTES,
  CHUNK_END,
  CHUNK_START,
  INITIAL,
  PARENT,
  ROOT,
  compress,
} from "./blake3_compress";
import { compressLanes } from "./blake3_lanes";

const CHUNK_BYTES: u32 = 1024;
const CHUNKS_PER_SUBTREE: u32 = 16;
const PAIR_BYTES: u32 = 2 * CHAINING_BYTES;

/** Chaining values of the chunks of one subtree, then of their parents, level by level. */
const SUBTREE: usize = memory.data(512, 16);

/**
 * Chaining values of finished subtrees, widest first: at most one for each power of two from 16 chunks to 2^21, and
 * the one that is being joined.
 */
const STACK: usize = memory.data(768, 16);

/** The last block of the input, filled up with zeros. */
const LAST_BLOCK: usize = memory.data(64, 16);

/** Stores BLAKE3 of a region, 32 bytes. */
export function blake3Hash(address: usize, byteLength: u32, result: usize): void {
  if (byteLength <= CHUNK_BYTES) {
    hashChunk(address, byteLength, 0, ROOT, result);
    return;
  }
  const end = address + byteLength;
  const chunkCount = (byteLength - 1) / CHUNK_BYTES + 1;
  let chunk: u32 = 0;
  let top = STACK;
  // The last chunk stays for the end, where it is known what the root is.
  while (chunkCount - chunk > CHUNKS_PER_SUBTREE) {
    const subtreeEnd = address + CHUNKS_PER_SUBTREE * CHUNK_BYTES;
    hashChunks(address, subtreeEnd, chunk);
    joinLevels(CHUNKS_PER_SUBTREE, 1);
    memory.copy(top, SUBTREE, CHAINING_BYTES);
    top += CHAINING_BYTES;
    chunk += CHUNKS_PER_SUBTREE;
    address = subtreeEnd;
    // As many joins as the count of subtrees has trailing zeros in binary.
    for (let width = chunk / CHUNKS_PER_SUBTREE; (width & 1) == 0; width >>= 1) {
      top -= CHAINING_BYTES;
      join(top - CHAINING_BYTES, 0, top - CHAINING_BYTES);
    }
  }
  const rest = chunkCount - chunk;
  hashChunks(address, end, chunk);
  if (top == STACK) {
    joinLevels(rest, 2);
    join(SUBTREE, ROOT, result);
    return;
  }
  joinLevels(rest, 1);
  memory.copy(top, SUBTREE, CHAINING_BYTES);
  for (let left = top - CHAINING_BYTES; left != STACK; left -= CHAINING_BYTES) join(left, 0, left);
  join(STACK, ROOT, result);
}

/** Stores the chaining values of up to 16 chunks, the last of which may be shorter, in SUBTREE. */
function hashChunks(address: usize, end: usize, counter: u32): void {
  let out = SUBTREE;
  let whole = u32(end - address) / CHUNK_BYTES;
  while (whole > 1) {
    const lanes = min<u32>(whole, 4);
    compressLanes(
      address,
      CHUNK_BYTES,
      lanes,
      CHUNK_BYTES / BLOCK_BYTES,
      counter,
      1,
      0,
      CHUNK_START,
      CHUNK_END,
      out,
    );
    address += lanes * CHUNK_BYTES;
    counter += lanes;
    out += lanes * CHAINING_BYTES;
    whole -= lanes;
  }
  while (address != end) {
    const byteLength = min<u32>(u32(end - address), CHUNK_BYTES);
    hashChunk(address, byteLength, counter, 0, out);
    address += byteLength;
    counter++;
    out += CHAINING_BYTES;
  }
}

/** Stores the chaining value of one chunk of up to 1 KiB, or the hash itself if that is all. */
function hashChunk(
  address: usize,
  byteLength: u32,
  counter: u32,
  flagsLast: u32,
  out: usize,
): void {
  let chaining = INITIAL;
  let flags = CHUNK_START;
  let left = byteLength;
  while (left > BLOCK_BYTES) {
    compress(chaining, address, BLOCK_BYTES, counter, flags, out);
    chaining = out;
    flags = 0;
    address += BLOCK_BYTES;
    left -= BLOCK_BYTES;
  }
  memory.fill(LAST_BLOCK, 0, BLOCK_BYTES);
  memory.copy(LAST_BLOCK, address, left);
  compress(chaining, LAST_BLOCK, left, counter, flags | CHUNK_END | flagsLast, out);
}

/**
 * Joins the chaining values in SUBTREE by pairs, level by level, until `target` are left. A value without a sibling
 * rises as it is, which is how BLAKE3 shapes a tree whose chunks are not a power of two.
 */
function joinLevels(count: u32, target: u32): void {
  while (count > target) {
    const pairs = count / 2;
    let pair: u32 = 0;
    while (pairs - pair > 1) {
      const lanes = min<u32>(pairs - pair, 4);
      // In place: a group of pairs is read before its results, half as long, are stored at or before it.
      compressLanes(
        SUBTREE + pair * PAIR_BYTES,
        PAIR_BYTES,
        lanes,
        1,
        0,
        0,
        PARENT,
        0,
        0,
        SUBTREE + pair * CHAINING_BYTES,
      );
      pair += lanes;
    }
    if (pair < pairs) join(SUBTREE + pair * PAIR_BYTES, 0, SUBTREE + pair * CHAINING_BYTES);
    if (count & 1) {
      memory.copy(SUBTREE + pairs * CHAINING_BYTES, SUBTREE + pairs * PAIR_BYTES, CHAINING_BYTES);
    }
    count = pairs + (count & 1);
  }
}

/** Stores the parent of two chaining values that lie side by side; `out` may be the first. */
function join(pair: usize, flags: u32, out: usize): void {
  compress(INITIAL, pair, PAIR_BYTES, 0, PARENT | flags, out);
}

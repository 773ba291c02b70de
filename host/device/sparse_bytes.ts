/**
 * A sparse array of bytes: what a device in memory holds. Chunks appear with the first byte written to them that is not
 * zero; a clone shares all chunks and copies one when either side writes to it, so clones are cheap.
 */

import { isZero } from "../base/bytes.ts";
import { Slab } from "../base/slab.ts";

export class SparseBytes {
  readonly sizeBytes: number;
  readonly #chunkBytes: number;
  #chunks: Map<number, Chunk>;
  /** Chunks that bear this token are ours alone. */
  #token: object = {};

  /** @param chunkBytes A power of two, 512 or more. */
  constructor(sizeBytes: number, chunkBytes: number) {
    this.sizeBytes = sizeBytes;
    this.#chunkBytes = chunkBytes;
    this.#chunks = new Map();
  }

  /** Bytes of memory in chunks, shared ones included. */
  get heldBytes(): number {
    return this.#chunks.size * this.#chunkBytes;
  }

  clone(): SparseBytes {
    const copy = new SparseBytes(this.sizeBytes, this.#chunkBytes);
    copy.#chunks = new Map(this.#chunks);
    this.#token = {};
    return copy;
  }

  /** The caller keeps ranges within the size. */
  read(offsetBytes: number, target: Uint8Array): void {
    const size = this.#chunkBytes;
    const end = target.length;
    let index = Math.floor(offsetBytes / size);
    let start = offsetBytes % size;
    /** Where the zeros begin that come last in what has been read. */
    let zeroFrom = 0;
    for (let at = 0; at < end; index++, start = 0) {
      const length = Math.min(end - at, size - start);
      const chunk = this.#chunks.get(index);
      if (chunk !== undefined) {
        if (zeroFrom < at) target.fill(0, zeroFrom, at);
        target.set(length === size ? chunk.bytes : chunk.bytes.subarray(start, start + length), at);
        zeroFrom = at + length;
      }
      at += length;
    }
    if (zeroFrom < end) target.fill(0, zeroFrom, end);
  }

  write(offsetBytes: number, source: Uint8Array): void {
    const size = this.#chunkBytes;
    const end = source.length;
    let index = Math.floor(offsetBytes / size);
    let start = offsetBytes % size;
    for (let at = 0; at < end; index++, start = 0) {
      const length = Math.min(end - at, size - start);
      const part = length === end ? source : source.subarray(at, at + length);
      at += length;
      if (!this.#chunks.has(index) && isZero(part)) continue;
      this.#own(index, length === size).set(part, start);
    }
  }

  /**
   * Like write, but whole chunks are kept where they are: the caller never changes `source` again. What is written this way
   * to several arrays is there once.
   */
  share(offsetBytes: number, source: Uint8Array): void {
    const size = this.#chunkBytes;
    const end = source.length;
    if (offsetBytes % size !== 0 || end % size !== 0) {
      this.write(offsetBytes, source);
      return;
    }
    let index = offsetBytes / size;
    for (let at = 0; at < end; at += size, index += 1) {
      const bytes = size === end ? source : source.subarray(at, at + size);
      if (this.#chunks.has(index) || !isZero(bytes))
        this.#chunks.set(index, { owner: NOBODY, bytes });
    }
  }

  /** Makes a range zero, and gives chunks back that lie wholly in it. */
  clear(offsetBytes: number, byteLength: number): void {
    this.#each(offsetBytes, byteLength, (index, start, length) => {
      if (!this.#chunks.has(index)) return;
      if (length === this.#chunkBytes) this.#chunks.delete(index);
      else this.#own(index).fill(0, start, start + length);
    });
  }

  flipBit(offsetBytes: number, bit: number): void {
    const chunk = this.#own(Math.floor(offsetBytes / this.#chunkBytes));
    const at = offsetBytes % this.#chunkBytes;
    chunk[at] = (chunk[at] as number) ^ (1 << bit);
  }

  /** Visits every chunk that holds something, in order of offset. Read only, and only during the call. */
  forEachChunk(visit: (offsetBytes: number, bytes: Uint8Array) => void): void {
    for (const index of [...this.#chunks.keys()].sort((a, b) => a - b)) {
      visit(index * this.#chunkBytes, (this.#chunks.get(index) as Chunk).bytes);
    }
  }

  /** @param isReplaced All of it is about to be written: what was there need not be copied. */
  #own(index: number, isReplaced = false): Uint8Array {
    const chunk = this.#chunks.get(index);
    if (chunk !== undefined && chunk.owner === this.#token) return chunk.bytes;
    const bytes = slab.take(this.#chunkBytes);
    if (chunk !== undefined && !isReplaced) bytes.set(chunk.bytes);
    this.#chunks.set(index, { owner: this.#token, bytes });
    return bytes;
  }

  #each(
    offsetBytes: number,
    byteLength: number,
    visit: (index: number, start: number, length: number, at: number) => void,
  ): void {
    let at = 0;
    while (at < byteLength) {
      const index = Math.floor((offsetBytes + at) / this.#chunkBytes);
      const start = (offsetBytes + at) % this.#chunkBytes;
      const length = Math.min(byteLength - at, this.#chunkBytes - start);
      visit(index, start, length, at);
      at += length;
    }
  }
}

const slab = new Slab(1 << 18);
/** The token of chunks that are copied before they change, whoever changes them. */
const NOBODY: object = {};

interface Chunk {
  readonly owner: object;
  readonly bytes: Uint8Array;
}

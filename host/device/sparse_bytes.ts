/**
 * A sparse array of bytes: what a device in memory holds. Chunks appear with the first byte written to them that is not
 * zero; a clone shares all chunks and copies one when either side writes to it, so clones are cheap. Chunks are found
 * through groups of them, which are shared and copied in the same way.
 */

import { isZero } from "../base/bytes.ts";
import { type ByteSource, Slab } from "../base/slab.ts";

export class SparseBytes {
  readonly sizeBytes: number;
  /** Where chunks, and what is to be shared, may take their bytes. */
  readonly memory: ByteSource;
  readonly #chunkBytes: number;
  #groups: Map<number, Group>;
  #count = 0;
  /** Groups and chunks that bear this token are ours alone. */
  #token: object = {};

  /** @param chunkBytes A power of two, 512 or more. */
  constructor(sizeBytes: number, chunkBytes: number, memory: ByteSource = new Slab(SLAB_BYTES)) {
    this.sizeBytes = sizeBytes;
    this.memory = memory;
    this.#chunkBytes = chunkBytes;
    this.#groups = new Map();
  }

  /** Bytes of memory in chunks, shared ones included. */
  get heldBytes(): number {
    return this.#count * this.#chunkBytes;
  }

  /** @param memory Where the clone, and clones of it, take their bytes: by default from where this one does. */
  clone(memory: ByteSource = this.memory): SparseBytes {
    const copy = new SparseBytes(this.sizeBytes, this.#chunkBytes, memory);
    copy.#groups = new Map(this.#groups);
    copy.#count = this.#count;
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
      const chunk = this.#find(index);
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
      if (this.#find(index) === undefined && isZero(part)) continue;
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
      if (this.#find(index) !== undefined || !isZero(bytes))
        this.#set(index, { owner: NOBODY, bytes });
    }
  }

  /** Makes a range zero, and gives chunks back that lie wholly in it. */
  clear(offsetBytes: number, byteLength: number): void {
    const size = this.#chunkBytes;
    const end = offsetBytes + byteLength;
    for (let from = offsetBytes; from < end; ) {
      const index = Math.floor(from / size);
      const start = from % size;
      const length = Math.min(end - from, size - start);
      from += length;
      if (this.#find(index) === undefined) continue;
      if (length === size) this.#set(index, undefined);
      else this.#own(index).fill(0, start, start + length);
    }
  }

  flipBit(offsetBytes: number, bit: number): void {
    const chunk = this.#own(Math.floor(offsetBytes / this.#chunkBytes));
    const at = offsetBytes % this.#chunkBytes;
    chunk[at] = (chunk[at] as number) ^ (1 << bit);
  }

  /** Visits every chunk that holds something, in order of offset. Read only, and only during the call. */
  forEachChunk(visit: (offsetBytes: number, bytes: Uint8Array) => void): void {
    for (const number of [...this.#groups.keys()].sort((a, b) => a - b)) {
      (this.#groups.get(number) as Group).chunks.forEach((chunk, at) => {
        if (chunk !== undefined)
          visit((number * GROUP_CHUNKS + at) * this.#chunkBytes, chunk.bytes);
      });
    }
  }

  #find(index: number): Chunk | undefined {
    return this.#groups.get(Math.floor(index / GROUP_CHUNKS))?.chunks[index % GROUP_CHUNKS];
  }

  #set(index: number, chunk: Chunk | undefined): void {
    const number = Math.floor(index / GROUP_CHUNKS);
    let group = this.#groups.get(number);
    if (group === undefined || group.owner !== this.#token) {
      const chunks =
        group?.chunks.slice() ?? new Array<Chunk | undefined>(GROUP_CHUNKS).fill(undefined);
      group = { owner: this.#token, chunks };
      this.#groups.set(number, group);
    }
    const at = index % GROUP_CHUNKS;
    this.#count += (chunk === undefined ? 0 : 1) - (group.chunks[at] === undefined ? 0 : 1);
    group.chunks[at] = chunk;
  }

  /** @param isReplaced All of it is about to be written: what was there need not be copied. */
  #own(index: number, isReplaced = false): Uint8Array {
    const chunk = this.#find(index);
    if (chunk !== undefined && chunk.owner === this.#token) return chunk.bytes;
    const bytes = this.memory.take(this.#chunkBytes);
    if (!isReplaced) {
      if (chunk === undefined) bytes.fill(0);
      else bytes.set(chunk.bytes);
    }
    this.#set(index, { owner: this.#token, bytes });
    return bytes;
  }
}

const GROUP_CHUNKS = 128;
const SLAB_BYTES = 1 << 18;
/** The token of chunks that are copied before they change, whoever changes them. */
const NOBODY: object = {};

interface Chunk {
  readonly owner: object;
  readonly bytes: Uint8Array;
}

interface Group {
  readonly owner: object;
  readonly chunks: (Chunk | undefined)[];
}

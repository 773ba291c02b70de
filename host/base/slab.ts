/** Gives byte arrays out. */
export interface ByteSource {
  /** What is in it is not said. */
  take(byteLength: number): Uint8Array;
}

/**
 * Byte arrays cut from larger ones: an array with a buffer of its own costs the runtime about a microsecond and the garbage
 * collector more. For arrays that live about as long as their neighbours, since a slab is kept as long as one of them is.
 */
export class Slab implements ByteSource {
  readonly #slabBytes: number;
  #slab: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(slabBytes: number) {
    this.#slabBytes = slabBytes;
  }

  /** Zeros. */
  take(byteLength: number): Uint8Array {
    if (byteLength * 4 > this.#slabBytes) return new Uint8Array(byteLength);
    if (this.#at + byteLength > this.#slab.length) {
      this.#slab = new Uint8Array(this.#slabBytes);
      this.#at = 0;
    }
    const from = this.#at;
    this.#at += byteLength;
    return this.#slab.subarray(from, this.#at);
  }
}

/**
 * The same for bytes that are all given up at once, and their place taken again: the garbage collector, which runs for each
 * so many new bytes of buffers, is left alone.
 */
export class Arena implements ByteSource {
  readonly #slabBytes: number;
  readonly #slabsMax: number;
  readonly #slabs: Uint8Array[] = [];
  #index = 0;
  #at = 0;

  /** @param keptBytes What it keeps for the next time at most; what is taken beyond that is garbage then. */
  constructor(slabBytes: number, keptBytes: number) {
    this.#slabBytes = slabBytes;
    this.#slabsMax = Math.floor(keptBytes / slabBytes);
  }

  /** What was left there, or zeros. */
  take(byteLength: number): Uint8Array {
    if (byteLength > this.#slabBytes) return new Uint8Array(byteLength);
    if (this.#at + byteLength > this.#slabBytes) {
      this.#index += 1;
      this.#at = 0;
      // The last one is not kept: whoever has bytes of it holds it.
      if (this.#index >= this.#slabsMax) this.#slabs.length = this.#index = this.#slabsMax;
    }
    this.#slabs[this.#index] ??= new Uint8Array(this.#slabBytes);
    const from = this.#at;
    this.#at += byteLength;
    return (this.#slabs[this.#index] as Uint8Array).subarray(from, this.#at);
  }

  /** Nobody uses any more what was taken. */
  rewind(): void {
    this.#index = 0;
    this.#at = 0;
  }
}

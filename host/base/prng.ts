/**
 * A small deterministic random generator (xoshiro128**, state filled by splitmix32) for tests, simulation and hash
 * seeds. One seed gives one sequence, on every runtime and for ever: recorded seeds depend on it. Not for secrets.
 *
 * @see https://prng.di.unimi.it/xoshiro128starstar.c
 */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** @param seed Any safe integer. */
  constructor(seed: number) {
    let state = (seed ^ Math.imul(Math.floor(seed / 0x1_0000_0000), 0x9e3779b1)) | 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      return mixed ^ (mixed >>> 15);
    };
    // splitmix32 is a bijection of a counter, so at most one of the four words is zero: the state is never all zero.
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next();
  }

  /** @returns A uniform integer, 0 ≤ x < 2^32. */
  u32(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9);
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /**
   * @param n 1 ≤ n ≤ 2^53.
   * @returns An integer, 0 ≤ x < n; uniform but for a bias below n / 2^53.
   */
  below(n: number): number {
    return Math.floor(this.float() * n);
  }

  /** @returns A multiple of 2^−53, 0 ≤ x < 1. */
  float(): number {
    const high = this.u32() >>> 5;
    return (high * 0x400_0000 + (this.u32() >>> 6)) / 0x20_0000_0000_0000;
  }

  /** Fills a buffer. The same seed gives the same bytes whatever the buffer's alignment. */
  bytes(target: Uint8Array): void {
    let word = 0;
    for (let index = 0; index < target.length; index += 1) {
      word = (index & 3) === 0 ? this.u32() : word >>> 8;
      target[index] = word;
    }
  }
}

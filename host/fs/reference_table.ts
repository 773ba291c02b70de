/**
 * How many references the outside holds to each inode (kernel lookups, open files of the library). A compact open-
 * addressing table: 12 bytes an entry at a load of at most 3/4, so a million inodes take 16 to 32 MiB.
 */
const CAPACITY_MIN = 1024;

export class ReferenceTable {
  #keys: Float64Array = new Float64Array(CAPACITY_MIN);
  #counts: Uint32Array = new Uint32Array(CAPACITY_MIN);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(ino: number): number {
    return this.#counts[this.#find(ino)] as number;
  }

  /** Adds references. */
  add(ino: number, count: number): void {
    let at = this.#find(ino);
    if (this.#keys[at] !== ino) {
      if ((this.#size + 1) * 4 > this.#keys.length * 3) {
        this.#rehash(this.#keys.length * 2);
        at = this.#find(ino);
      }
      this.#keys[at] = ino;
      this.#counts[at] = 0;
      this.#size++;
    }
    this.#counts[at] = (this.#counts[at] as number) + count;
  }

  /** Takes references away, never below 0. Returns what is left. */
  subtract(ino: number, count: number): number {
    const at = this.#find(ino);
    if (this.#keys[at] !== ino) return 0;
    const left = Math.max(0, (this.#counts[at] as number) - count);
    if (left > 0) {
      this.#counts[at] = left;
      return left;
    }
    this.#delete(at);
    if (this.#keys.length > CAPACITY_MIN && this.#size * 8 < this.#keys.length) {
      this.#rehash(this.#keys.length / 2);
    }
    return 0;
  }

  /** Slot of the key, or the empty one where it belongs. */
  #find(ino: number): number {
    const keys = this.#keys;
    const mask = keys.length - 1;
    let at = hash(ino) & mask;
    for (;;) {
      const key = keys[at] as number;
      if (key === ino || key === 0) return at;
      at = (at + 1) & mask;
    }
  }

  /** Removes by shifting later entries of the probe sequence back: no tombstones. */
  #delete(slot: number): void {
    const keys = this.#keys;
    const counts = this.#counts;
    const mask = keys.length - 1;
    let hole = slot;
    let at = slot;
    for (;;) {
      at = (at + 1) & mask;
      const key = keys[at] as number;
      if (key === 0) break;
      const home = hash(key) & mask;
      if (((at - home) & mask) >= ((at - hole) & mask)) {
        keys[hole] = key;
        counts[hole] = counts[at] as number;
        hole = at;
      }
    }
    keys[hole] = 0;
    counts[hole] = 0;
    this.#size--;
  }

  #rehash(capacity: number): void {
    const keys = this.#keys;
    const counts = this.#counts;
    this.#keys = new Float64Array(capacity);
    this.#counts = new Uint32Array(capacity);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as number;
      if (key === 0) continue;
      const at = this.#find(key);
      this.#keys[at] = key;
      this.#counts[at] = counts[i] as number;
    }
  }
}

/** Consecutive inode numbers must not cluster with their neighbours' neighbours: a multiplicative hash. */
function hash(ino: number): number {
  return Math.imul((ino >>> 0) ^ Math.floor(ino / 4294967296), 0x9e3779b1) >>> 7;
}

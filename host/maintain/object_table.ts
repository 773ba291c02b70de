/**
 * What is known of objects while names are counted: as many at a time as memory holds, in ascending order of their
 * inode numbers. A volume with more is walked once for each window.
 */
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";

/** Bytes of core memory for each object. */
export const OBJECT_BYTES = 28;

export const OBJECT_DIRECTORY = 1;
/** Listed as an orphan. */
export const OBJECT_ORPHAN = 2;
/** Reached from the root. */
export const OBJECT_REACHED = 4;
/** On the way that is being followed. */
export const OBJECT_VISITING = 8;
/** Its inode is invalid. */
export const OBJECT_UNKNOWN = 16;

export class ObjectTable {
  readonly capacity: number;
  readonly ino: Float64Array;
  readonly parent: Float64Array;
  readonly nlink: Uint32Array;
  /** Names that point to the object. */
  readonly names: Uint32Array;
  /** Mode in the upper 16 bits, OBJECT_* below. */
  readonly flags: Uint32Array;
  count = 0;
  /** Objects above this are in the window, up to the last in the table. */
  after = -1;
  /** There are more objects than the table holds. */
  full = false;

  /** @param options.objects No more than these are expected. */
  constructor(options: { core: Core; layout: Layout; byteLength: number; objects: number }) {
    const { core, layout } = options;
    const fitting = Math.floor(options.byteLength / OBJECT_BYTES);
    this.capacity = Math.max(4, Math.min(fitting, options.objects));
    const { buffer } = core.memory;
    const count = this.capacity;
    this.ino = new Float64Array(buffer, layout.take(count * 8, 8), count);
    this.parent = new Float64Array(buffer, layout.take(count * 8, 8), count);
    this.nlink = new Uint32Array(buffer, layout.take(count * 4, 4), count);
    this.names = new Uint32Array(buffer, layout.take(count * 4, 4), count);
    this.flags = new Uint32Array(buffer, layout.take(count * 4, 4), count);
  }

  /** Begins a window with the first object above an inode number. */
  open(after: number): void {
    this.after = after;
    this.count = 0;
    this.full = false;
  }

  /** Adds the next object; they come in ascending order. */
  add(
    ino: number,
    object: { mode: number; nlink: number; parent: number; isDirectory: boolean },
  ): void {
    this.#add(
      ino,
      object.parent,
      object.nlink,
      object.mode,
      object.isDirectory ? OBJECT_DIRECTORY : 0,
    );
  }

  /** Adds an object whose inode is invalid: it exists, and no more is known. */
  addUnknown(ino: number): void {
    this.#add(ino, 0, 0, 0, OBJECT_UNKNOWN);
  }

  #add(ino: number, parent: number, nlink: number, mode: number, flags: number): void {
    if (ino <= this.after) return;
    if (this.count === this.capacity) {
      this.full = true;
      return;
    }
    const index = this.count++;
    this.ino[index] = ino;
    this.parent[index] = parent;
    this.nlink[index] = nlink;
    this.names[index] = 0;
    this.flags[index] = ((mode << 16) | flags) >>> 0;
  }

  /** Whether an object with this number would be in the table. */
  covers(ino: number): boolean {
    return ino > this.after && (!this.full || ino <= (this.ino[this.count - 1] as number));
  }

  /** Index of an object, or −1. */
  find(ino: number): number {
    let low = 0;
    let high = this.count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const found = this.ino[middle] as number;
      if (found === ino) return middle;
      if (found < ino) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  modeOf(index: number): number {
    return (this.flags[index] as number) >>> 16;
  }
}

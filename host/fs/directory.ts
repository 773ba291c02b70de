/**
 * Entries of directories in the tree: finding, adding, removing, listing. Two names with the same hash share an item.
 */
import { assert } from "../base/assert.ts";
import { getU64, setU64 } from "../base/bytes.ts";
import { EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import {
  DENTRY_INO,
  DENTRY_NAME,
  DENTRY_NAME_LENGTH,
  DENTRY_SLOT,
  DENTRY_SLOTS,
  DENTRY_TYPE,
  dentriesProblem,
  dentryBytes,
  dentryCookie,
  dentryHash,
} from "../format/dentry.ts";
import { ITEM_DENTRY } from "../format/key.ts";
import { VALUE_BYTES_MAX } from "../format/limits.ts";
import type { ItemStore } from "../store/item_store.ts";
import type { DirectorySink } from "./file_system.ts";

const TYPE_DIRECTORY = 4;
/** What a listing reads ahead: some 4,000 names. */
const READ_AHEAD_PAGES = 16;

export class Directory {
  readonly #store: ItemStore;
  readonly #core: Core;
  readonly #value: number;
  readonly #listed: number;

  /** What find() found. */
  ino = 0;
  type = 0;

  constructor(store: ItemStore, core: Core, layout: Layout) {
    this.#store = store;
    this.#core = core;
    this.#value = layout.take(VALUE_BYTES_MAX + 8, 8);
    this.#listed = layout.take(VALUE_BYTES_MAX + 8, 8);
  }

  hash(nameAddress: number, nameLength: number): number {
    return dentryHash(this.#core.exports.name_hash(nameAddress, nameLength));
  }

  /** Looks a name up; sets ino and type. The key has then been looked at, found or not. */
  find(parent: number, nameAddress: number, nameLength: number): boolean {
    const at = this.#store.get(parent, ITEM_DENTRY, this.hash(nameAddress, nameLength));
    if (at === 0) return false;
    const entry = this.#entry(at, this.#store.valueLength, nameAddress, nameLength);
    if (entry < 0) return false;
    this.ino = getU64(this.#core.view, entry + DENTRY_INO);
    this.type = this.#core.view.getUint8(entry + DENTRY_TYPE);
    return true;
  }

  /** Whether the name, which does not exist, can be added: false when too many names share its hash. */
  hasRoom(parent: number, nameAddress: number, nameLength: number): boolean {
    const at = this.#store.get(parent, ITEM_DENTRY, this.hash(nameAddress, nameLength));
    if (at === 0) return true;
    const length = this.#store.valueLength;
    return length + dentryBytes(nameLength) <= VALUE_BYTES_MAX && this.#freeSlot(at, length) >= 0;
  }

  /** Adds a name that hasRoom said yes to. */
  add(parent: number, nameAddress: number, nameLength: number, ino: number, type: number): void {
    const { view, exports } = this.#core;
    const hash = this.hash(nameAddress, nameLength);
    const at = this.#store.get(parent, ITEM_DENTRY, hash);
    const old = at === 0 ? 0 : this.#store.valueLength;
    const slot = at === 0 ? 0 : this.#freeSlot(at, old);
    assert(slot >= 0, "directory item has no free slot");
    if (old > 0) exports.bytes_copy(this.#value, at, old);
    const entry = this.#value + old;
    setU64(view, entry + DENTRY_INO, ino);
    view.setUint8(entry + DENTRY_TYPE, type);
    view.setUint8(entry + DENTRY_NAME_LENGTH, nameLength);
    view.setUint8(entry + DENTRY_SLOT, slot);
    view.setUint8(entry + DENTRY_SLOT + 1, 0);
    exports.bytes_copy(entry + DENTRY_NAME, nameAddress, nameLength);
    this.#store.put(parent, ITEM_DENTRY, hash, this.#value, old + dentryBytes(nameLength));
  }

  /** Removes a name that exists. */
  remove(parent: number, nameAddress: number, nameLength: number): void {
    const { exports } = this.#core;
    const hash = this.hash(nameAddress, nameLength);
    const at = this.#store.get(parent, ITEM_DENTRY, hash);
    const length = this.#store.valueLength;
    const entry = at === 0 ? -1 : this.#entry(at, length, nameAddress, nameLength);
    assert(entry >= 0, "removed name does not exist");
    const bytes = dentryBytes(nameLength);
    if (bytes === length) {
      this.#store.remove(parent, ITEM_DENTRY, hash);
      return;
    }
    const before = entry - at;
    exports.bytes_copy(this.#value, at, before);
    exports.bytes_copy(this.#value + before, entry + bytes, length - before - bytes);
    this.#store.put(parent, ITEM_DENTRY, hash, this.#value, length - bytes);
  }

  /** Lets a name that exists mean another inode. */
  replace(
    parent: number,
    nameAddress: number,
    nameLength: number,
    ino: number,
    type: number,
  ): void {
    const { view, exports } = this.#core;
    const hash = this.hash(nameAddress, nameLength);
    const at = this.#store.get(parent, ITEM_DENTRY, hash);
    const length = this.#store.valueLength;
    const entry = at === 0 ? -1 : this.#entry(at, length, nameAddress, nameLength);
    assert(entry >= 0, "replaced name does not exist");
    exports.bytes_copy(this.#value, at, length);
    setU64(view, this.#value + (entry - at) + DENTRY_INO, ino);
    view.setUint8(this.#value + (entry - at) + DENTRY_TYPE, type);
    this.#store.put(parent, ITEM_DENTRY, hash, this.#value, length);
  }

  /** Gives entries after a cookie to the sink, "." and ".." first. Returns how many it took. */
  list(ino: number, parent: number, cookie: number, sink: DirectorySink): number {
    let taken = 0;
    const dots = this.#listed;
    this.#core.bytes[dots] = 0x2e;
    this.#core.bytes[dots + 1] = 0x2e;
    if (cookie < 1) {
      if (!sink(ino, TYPE_DIRECTORY, dots, 1, 1)) return taken;
      taken++;
    }
    if (cookie < 2) {
      if (!sink(parent, TYPE_DIRECTORY, dots, 2, 2)) return taken;
      taken++;
    }
    const from = Math.max(cookie, DENTRY_SLOTS);
    let found = this.#store.seek(ino, ITEM_DENTRY, Math.floor(from / DENTRY_SLOTS));
    // Whoever lists goes on to the end: the next pages are read while these names are looked at.
    if (found) this.#store.readAhead(ino, ITEM_DENTRY + 1, 0, READ_AHEAD_PAGES);
    while (found && this.#store.keyOid === ino && this.#store.keyType === ITEM_DENTRY) {
      const hash = this.#store.keyOffset;
      const length = this.#store.valueLength;
      // The sink may look other things up: the entries are given from a copy.
      this.#core.exports.bytes_copy(this.#listed, this.#store.valueAddress, length);
      const count = this.#give(hash, length, from, sink);
      if (count < 0) return taken + -count - 1;
      taken += count;
      try {
        found = this.#store.seek(ino, ITEM_DENTRY, hash + 1);
      } catch (error) {
        // Entries were given already: what is missing comes with the next call.
        if (taken > 0) return taken;
        throw error;
      }
    }
    return taken;
  }

  /** Gives the entries of the copied item in the order of their slots. −(taken) − 1 when the sink stopped. */
  #give(hash: number, length: number, from: number, sink: DirectorySink): number {
    const { view } = this.#core;
    const problem = dentriesProblem(view, this.#listed, length);
    if (problem !== null)
      throw new FsError(EUCLEAN, "directory/item", `Cannot list a directory: ${problem}`);
    let taken = 0;
    const only = length === dentryBytes(view.getUint8(this.#listed + DENTRY_NAME_LENGTH));
    for (let slot = Math.max(0, from - hash * DENTRY_SLOTS); slot < DENTRY_SLOTS; slot++) {
      let entry = this.#listed;
      const end = this.#listed + length;
      while (entry < end) {
        const nameLength = view.getUint8(entry + DENTRY_NAME_LENGTH);
        if (view.getUint8(entry + DENTRY_SLOT) === slot) {
          const ino = getU64(view, entry + DENTRY_INO);
          const type = view.getUint8(entry + DENTRY_TYPE);
          if (!sink(ino, type, entry + DENTRY_NAME, nameLength, dentryCookie(hash, slot)))
            return -taken - 1;
          taken++;
          break;
        }
        entry += dentryBytes(nameLength);
      }
      if (only && taken > 0) break;
    }
    return taken;
  }

  /** Address of the entry with this name, or −1. */
  #entry(at: number, length: number, nameAddress: number, nameLength: number): number {
    const { view, exports } = this.#core;
    let position = 0;
    while (position + DENTRY_NAME < length) {
      const entryName = view.getUint8(at + position + DENTRY_NAME_LENGTH);
      if (
        entryName === nameLength &&
        position + dentryBytes(entryName) <= length &&
        exports.bytes_equal(at + position + DENTRY_NAME, nameAddress, nameLength) === 1
      ) {
        return at + position;
      }
      position += dentryBytes(entryName);
    }
    return -1;
  }

  #freeSlot(at: number, length: number): number {
    const { view } = this.#core;
    let used = 0;
    let position = 0;
    while (position + DENTRY_NAME < length) {
      used |= 1 << view.getUint8(at + position + DENTRY_SLOT);
      position += dentryBytes(view.getUint8(at + position + DENTRY_NAME_LENGTH));
    }
    for (let slot = 0; slot < DENTRY_SLOTS; slot++) if ((used & (1 << slot)) === 0) return slot;
    return -1;
  }
}

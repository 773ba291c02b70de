/**
 * A copy-on-write B+tree over cached pages. The core walks and edits single pages; this decides about copies, splits
 * and merges. A walk that meets a page that is not cached throws Retry; edits of keys that were looked at never do.
 */
import { assert } from "../base/assert.ts";
import { EAGAIN, EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import {
  PATH_DEPTH,
  PATH_EXACT,
  PATH_KEY_OFFSET,
  PATH_KEY_OID,
  PATH_KEY_TYPE,
  PATH_LEVELS,
  PATH_MISSING_POINTER,
  PATH_VALUE_ADDRESS,
  PATH_VALUE_LENGTH,
} from "../core/abi.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { PAGE_BYTES } from "../format/geometry.ts";
import {
  PAGE_LEVEL,
  PAGE_SLOT_COUNT,
  POINTER_BYTES,
  ROOT_BYTES,
  ROOT_LEVEL,
  ROOT_TREE_ID,
} from "../format/page_pointer.ts";
import { compareKeys, type PageKey, type PagePlace, type PageStore } from "./page_store.ts";

/** A pointer's item in an interior page: key and slot, and the value. */
const CHILD_ITEM_BYTES = 20 + POINTER_BYTES;
/** A leaf with less than this tries to merge with a neighbour … */
const MERGE_BELOW_BYTES = PAGE_BYTES / 4;
/** … if both together leave room for more. */
const MERGED_BYTES_MAX = (PAGE_BYTES * 3) / 4;
const RESTARTS_MAX = 32;

export class Tree {
  readonly #core: Core;
  readonly #pages: PageStore;
  readonly #path: number;
  readonly #pointer: number;
  readonly #keyScratch: number;
  /** Address of the root record in core memory: ROOT_BYTES. */
  readonly root: number;
  readonly treeId: number;

  keyOid = 0;
  keyType = 0;
  keyOffset = 0;
  valueAddress = 0;
  valueLength = 0;

  constructor(options: { core: Core; pages: PageStore; layout: Layout; treeId: number }) {
    this.#core = options.core;
    this.#pages = options.pages;
    this.treeId = options.treeId;
    this.root = options.layout.take(ROOT_BYTES, 8);
    this.#path = options.layout.take(options.core.exports.path_bytes(), 8);
    this.#pointer = options.layout.take(POINTER_BYTES, 8);
    this.#keyScratch = options.layout.take(24, 8);
  }

  /** Makes the tree empty: one leaf of the open generation. */
  format(): void {
    const view = this.#core.view;
    this.#pages.create(0, this.treeId, this.root);
    view.setUint32(this.root + ROOT_LEVEL, 0, true);
    view.setUint32(this.root + ROOT_TREE_ID, this.treeId, true);
  }

  /** True if the key exists; sets key and value. */
  find(oid: number, type: number, offset: number): boolean {
    this.#pages.walks++;
    const status = this.#core.exports.tree_find(
      this.#pages.cache,
      this.root,
      this.#path,
      oid,
      type,
      offset,
    );
    if (status < 0) this.#failed(status);
    this.#takePath();
    return status === 1;
  }

  /** Moves to the first entry at or after the key. */
  seek(oid: number, type: number, offset: number): boolean {
    this.#pages.walks++;
    const status = this.#core.exports.tree_seek(
      this.#pages.cache,
      this.root,
      this.#path,
      oid,
      type,
      offset,
    );
    if (status < 0) this.#failed(status);
    this.#takePath();
    return status === 1;
  }

  /** Moves to the last entry at or before the key. */
  seekLast(oid: number, type: number, offset: number): boolean {
    this.#pages.walks++;
    const status = this.#core.exports.tree_seek_last(
      this.#pages.cache,
      this.root,
      this.#path,
      oid,
      type,
      offset,
    );
    if (status < 0) this.#failed(status);
    this.#takePath();
    return status === 1;
  }

  /** Moves to the next entry after seek, with no change between. */
  next(): boolean {
    const status = this.#core.exports.tree_step(this.#pages.cache, this.#path, 1);
    if (status < 0) this.#failed(status);
    this.#takePath();
    return status === 1;
  }

  /** After seek: loads leaves that come next and begin before a key, at most so many, and waits for none. */
  readAhead(end: PageKey, pages: number): void {
    const parent = this.#depth() - 2;
    if (parent < 0) return;
    this.#pages.readAhead(this.#pageAt(parent), this.#slotAt(parent), this.treeId, end, pages);
  }

  /** Inserts or replaces. Returns true if the key is new. */
  put(
    oid: number,
    type: number,
    offset: number,
    valueAddress: number,
    valueLength: number,
  ): boolean {
    const { exports } = this.#core;
    const { cache, generation } = this.#pages;
    this.#pages.walks++;
    const fast = exports.tree_put_fast(
      cache,
      this.root,
      this.#path,
      oid,
      type,
      offset,
      valueAddress,
      valueLength,
      generation,
    );
    if (fast > 0) return fast === 1;
    for (let restarts = 0; restarts < RESTARTS_MAX; restarts++) {
      const found = this.find(oid, type, offset);
      const depth = this.#prepare();
      const page = this.#pageAt(depth - 1);
      const slot = this.#slotAt(depth - 1);
      const at = found
        ? exports.page_replace(page, slot, valueLength) >>> 0
        : exports.page_insert(page, slot, oid, type, offset, valueLength) >>> 0;
      if (at !== 0) {
        exports.bytes_copy(at, valueAddress, valueLength);
        return !found;
      }
      this.#makeRoom(depth - 1, CHILD_ITEM_BYTES);
    }
    throw new FsError(
      EUCLEAN,
      "tree/no-room",
      `Cannot insert into tree ${this.treeId}: splitting does not make room`,
    );
  }

  /** Removes a key that exists. */
  remove(oid: number, type: number, offset: number): void {
    const { exports } = this.#core;
    const { cache, generation } = this.#pages;
    this.#pages.walks++;
    const fast = exports.tree_remove_fast(
      cache,
      this.root,
      this.#path,
      oid,
      type,
      offset,
      generation,
    );
    if (fast === 1) {
      const leaf = this.#depth() - 1;
      if (leaf > 0 && exports.page_live_bytes(this.#pageAt(leaf)) < MERGE_BELOW_BYTES)
        this.#shrink(leaf);
      return;
    }
    const found = this.find(oid, type, offset);
    assert(found, "removed key does not exist");
    const depth = this.#prepare();
    exports.page_remove(this.#pageAt(depth - 1), this.#slotAt(depth - 1));
    this.#shrink(depth - 1);
  }

  /** Loads the path to a key, and nothing more. */
  touch(oid: number, type: number, offset: number): void {
    this.find(oid, type, offset);
  }

  // --- repair ---

  /**
   * Gives the page of a level that a key leads to, and those above it, new places: both copies are written again by the
   * next checkpoint. Throws Retry for pages that are not cached.
   */
  rewrite(level: number, oid: number, type: number, offset: number): void {
    const depth = this.#walkTo(level, oid, type, offset);
    for (let index = 0; index <= depth; index++) this.#own(index);
  }

  /**
   * Drops the page of a level that a key leads to, unread, and all below it: its neighbours' ranges close over it. What
   * it occupies is not given back.
   */
  cut(level: number, oid: number, type: number, offset: number): void {
    const { exports, view } = this.#core;
    if (level >= view.getUint32(this.root + ROOT_LEVEL, true)) {
      this.format();
      return;
    }
    const parent = this.#walkTo(level + 1, oid, type, offset);
    for (let index = 0; index <= parent; index++) this.#own(index);
    exports.page_remove(this.#pageAt(parent), this.#slotAt(parent));
    if (parent === 0 && this.#slotCount(this.#pageAt(0)) === 0) {
      this.#pages.release(this.#frameAt(0), this.root);
      this.format();
    } else this.#shrink(parent);
  }

  /** Fills the path from the root to the page of a level; all of them must be cached. Returns that page's index. */
  #walkTo(level: number, oid: number, type: number, offset: number): number {
    const { exports, u32, view } = this.#core;
    let pointer = this.root;
    for (let index = 0, at = view.getUint32(this.root + ROOT_LEVEL, true); ; index++, at--) {
      const frame = this.#cached(pointer);
      if (frame < 0) throw this.#pages.missing(pointer, this.#placeOf(pointer));
      const page = this.#pages.frameAddress(frame);
      let slot = 0;
      if (at > 0) {
        const found = exports.page_search(page, oid, type, offset);
        slot = found >= 0 ? found : Math.max(0, -found - 2);
      }
      u32[(this.#path + PATH_LEVELS + index * 8) >> 2] = frame;
      u32[(this.#path + PATH_LEVELS + index * 8 + 4) >> 2] = slot;
      if (at === level) return index;
      assert(at > 0, "a level that the tree does not have");
      pointer = exports.page_value(page, slot) >>> 0;
    }
  }

  #failed(status: number): never {
    if (status === -EAGAIN) {
      const pointer = this.#core.u32[(this.#path + PATH_MISSING_POINTER) >> 2] as number;
      throw this.#pages.missing(pointer, this.#placeOf(pointer));
    }
    throw new FsError(
      EUCLEAN,
      "tree/walk",
      `Cannot walk tree ${this.treeId}: its levels do not fit (${status})`,
    );
  }

  /** What the page of a pointer must be: the path leads to it, and says what it stands for. */
  #placeOf(pointer: number): PagePlace {
    const rootLevel = this.#core.view.getUint32(this.root + ROOT_LEVEL, true);
    let from: PageKey | null = null;
    let to: PageKey | null = null;
    let depth = 0;
    while (depth < rootLevel && this.#pointerTo(depth) !== pointer) {
      const page = this.#pageAt(depth);
      const slot = this.#slotAt(depth);
      if (slot > 0) from = this.#pages.keyAt(page, slot);
      if (slot + 1 < this.#slotCount(page)) to = this.#pages.keyAt(page, slot + 1);
      depth++;
    }
    return { treeId: this.treeId, level: rootLevel - depth, from, to };
  }

  #takePath(): void {
    const { f64, u32 } = this.#core;
    const path = this.#path;
    this.keyOid = f64[(path + PATH_KEY_OID) >> 3] as number;
    this.keyOffset = f64[(path + PATH_KEY_OFFSET) >> 3] as number;
    this.keyType = u32[(path + PATH_KEY_TYPE) >> 2] as number;
    this.valueAddress = u32[(path + PATH_VALUE_ADDRESS) >> 2] as number;
    this.valueLength = u32[(path + PATH_VALUE_LENGTH) >> 2] as number;
  }

  get exact(): boolean {
    return this.#core.u32[(this.#path + PATH_EXACT) >> 2] === 1;
  }

  #depth(): number {
    return this.#core.u32[(this.#path + PATH_DEPTH) >> 2] as number;
  }

  #frameAt(level: number): number {
    return this.#core.u32[(this.#path + PATH_LEVELS + level * 8) >> 2] as number;
  }

  #slotAt(level: number): number {
    return this.#core.u32[(this.#path + PATH_LEVELS + level * 8 + 4) >> 2] as number;
  }

  #pageAt(level: number): number {
    return this.#pages.frameAddress(this.#frameAt(level));
  }

  /** Address of the pointer to the path's page at a level. */
  #pointerTo(level: number): number {
    if (level === 0) return this.root;
    return this.#core.exports.page_value(this.#pageAt(level - 1), this.#slotAt(level - 1)) >>> 0;
  }

  /** Copies what the open generation does not own yet on the path. Returns the depth: levels from the root on. */
  #prepare(): number {
    const depth = this.#depth();
    for (let level = 0; level < depth; level++) this.#own(level);
    return depth;
  }

  #own(level: number): void {
    const frame = this.#frameAt(level);
    if (this.#pages.isOpen(this.#pages.frameAddress(frame))) return;
    const fresh = this.#pages.copyOnWrite(frame, this.#pointerTo(level));
    this.#core.u32[(this.#path + PATH_LEVELS + level * 8) >> 2] = fresh;
  }

  #slotCount(page: number): number {
    return this.#core.view.getUint16(page + PAGE_SLOT_COUNT, true);
  }

  /** Splits the path's page at a level, or first an ancestor that has no room for another pointer. Ends the path. */
  #makeRoom(level: number, parentNeeds: number): void {
    const { exports } = this.#core;
    if (level === 0) {
      this.#growRoot();
      return;
    }
    const parent = this.#pageAt(level - 1);
    if (exports.page_free_bytes(parent) < parentNeeds + 8) {
      this.#makeRoom(level - 1, parentNeeds);
      return;
    }
    const page = this.#pageAt(level);
    const levelOfPage = this.#core.view.getUint8(page + PAGE_LEVEL);
    const fresh = this.#pages.create(levelOfPage, this.treeId, this.#pointer);
    const right = this.#pages.frameAddress(fresh);
    // In an interior page the new child goes behind the one that was taken.
    exports.page_split(page, right, this.#slotAt(level) + (levelOfPage > 0 ? 1 : 0));
    exports.page_key(right, 0, this.#keyScratch);
    this.#expectOrder(parent, this.#slotAt(level - 1), right);
    const at = this.#insertChild(parent, this.#slotAt(level - 1) + 1);
    assert(at !== 0, "no room for a pointer that was made room for");
    exports.bytes_copy(at, this.#pointer, POINTER_BYTES);
  }

  /** A page may be pointed to from two places, which no look at one page shows: its keys fit one of them only. */
  #expectOrder(parent: number, slot: number, right: number): void {
    const key = this.#pages.keyAt(right, 0);
    const isAbove = slot === 0 || compareKeys(this.#pages.keyAt(parent, slot), key) < 0;
    const isBelow =
      slot + 1 >= this.#slotCount(parent) ||
      compareKeys(key, this.#pages.keyAt(parent, slot + 1)) < 0;
    if (isAbove && isBelow) return;
    throw new FsError(
      EUCLEAN,
      "tree/order",
      `Cannot change tree ${this.treeId}: a page's keys are out of its range`,
    );
  }

  /** Inserts an item with the key in the key scratch; returns the address of its pointer. */
  #insertChild(parent: number, slot: number): number {
    const { exports, f64, u32 } = this.#core;
    const oid = f64[this.#keyScratch >> 3] as number;
    const offset = f64[(this.#keyScratch + 8) >> 3] as number;
    const type = u32[(this.#keyScratch + 16) >> 2] as number;
    return exports.page_insert(parent, slot, oid, type, offset, POINTER_BYTES) >>> 0;
  }

  #growRoot(): void {
    const { exports, view } = this.#core;
    const level = view.getUint32(this.root + ROOT_LEVEL, true);
    const oldRoot = this.#pageAt(0);
    exports.page_key(oldRoot, 0, this.#keyScratch);
    const frame = this.#pages.create(level + 1, this.treeId, this.#pointer);
    const page = this.#pages.frameAddress(frame);
    const at = this.#insertChild(page, 0);
    exports.bytes_copy(at, this.root, POINTER_BYTES);
    exports.bytes_copy(this.root, this.#pointer, POINTER_BYTES);
    view.setUint32(this.root + ROOT_LEVEL, level + 1, true);
  }

  /** After a removal from the path's page at a level: drops it when empty, merges it when small. */
  #shrink(level: number): void {
    const { exports } = this.#core;
    const page = this.#pageAt(level);
    if (level === 0) {
      this.#collapseRoot();
      return;
    }
    const parent = this.#pageAt(level - 1);
    if (this.#slotCount(page) === 0) {
      if (level === 1 && this.#slotCount(parent) === 1) {
        // The last child of the root is empty: the tree is empty.
        this.#pages.release(this.#frameAt(level), this.#pointerTo(level));
        this.#pages.release(this.#frameAt(0), this.root);
        this.format();
        return;
      }
      this.#pages.release(this.#frameAt(level), this.#pointerTo(level));
      exports.page_remove(parent, this.#slotAt(level - 1));
      this.#shrink(level - 1);
      return;
    }
    if (exports.page_live_bytes(page) >= MERGE_BELOW_BYTES) return;
    if (this.#merge(level, parent)) this.#shrink(level - 1);
  }

  /** Merges the path's page with a cached neighbour under the same parent if both fit. */
  #merge(level: number, parent: number): boolean {
    const { exports } = this.#core;
    // Of interior pages slot 0 stands for everything below: its key is no bound, so they are only dropped when empty.
    if (this.#core.view.getUint8(this.#pageAt(level) + PAGE_LEVEL) > 0) return false;
    const slot = this.#slotAt(level - 1);
    const count = this.#slotCount(parent);
    const leftSlot = slot + 1 < count ? slot : slot - 1;
    if (leftSlot < 0) return false;
    const rightSlot = leftSlot + 1;
    let leftPointer = exports.page_value(parent, leftSlot) >>> 0;
    const rightPointer = exports.page_value(parent, rightSlot) >>> 0;
    let left = this.#cached(leftPointer);
    const right = this.#cached(rightPointer);
    if (left < 0 || right < 0) return false;
    const rightPage = this.#pages.frameAddress(right);
    const leftPage = this.#pages.frameAddress(left);
    const bytes = exports.page_live_bytes(leftPage) + exports.page_live_bytes(rightPage);
    if (bytes > MERGED_BYTES_MAX || left === right) return false;
    if (!this.#inOrder(leftPage, rightPage)) return false;
    if (!this.#pages.isOpen(this.#pages.frameAddress(left))) {
      left = this.#pages.copyOnWrite(left, leftPointer);
      leftPointer = exports.page_value(parent, leftSlot) >>> 0;
    }
    if (exports.page_merge(this.#pages.frameAddress(left), rightPage) !== 1) return false;
    this.#pages.release(right, rightPointer);
    exports.page_remove(parent, rightSlot);
    return true;
  }

  /** Whether two leaves are such, and one follows the other. */
  #inOrder(left: number, right: number): boolean {
    const { view } = this.#core;
    const count = this.#slotCount(left);
    if (view.getUint8(left + PAGE_LEVEL) + view.getUint8(right + PAGE_LEVEL) > 0) return false;
    if (count === 0 || this.#slotCount(right) === 0) return true;
    return compareKeys(this.#pages.keyAt(left, count - 1), this.#pages.keyAt(right, 0)) < 0;
  }

  #cached(pointer: number): number {
    const { exports, view } = this.#core;
    return exports.cache_find(
      this.#pages.cache,
      view.getUint32(pointer, true),
      view.getUint32(pointer + 4, true),
    );
  }

  /** While the root has one child only, and it is cached, the child becomes the root. */
  #collapseRoot(): void {
    const { exports, view } = this.#core;
    for (;;) {
      const level = view.getUint32(this.root + ROOT_LEVEL, true);
      if (level === 0) return;
      const frame = this.#cached(this.root);
      const page = this.#pages.frameAddress(frame);
      if (this.#slotCount(page) !== 1) return;
      const child = exports.page_value(page, 0) >>> 0;
      exports.bytes_copy(this.#pointer, child, POINTER_BYTES);
      this.#pages.release(frame, this.root);
      exports.bytes_copy(this.root, this.#pointer, POINTER_BYTES);
      view.setUint32(this.root + ROOT_LEVEL, level - 1, true);
      if (this.#cached(this.root) < 0) return;
    }
  }
}

/**
 * A B+tree over the core's page cache that lives in memory only, in one generation: the least a host must do around the
 * walks. Splits, new roots, merges and dropped pages; no copy-on-write, no loading.
 */
import { assert } from "../../host/base/assert.ts";
import {
  FRAME_DIRTY,
  KEY_OFFSET,
  KEY_OID,
  KEY_TYPE,
  PATH_DEPTH,
  PATH_LEVEL_BYTES,
  PATH_LEVELS,
} from "../../host/core/abi.ts";
import type { Core } from "../../host/core/core.ts";
import type { Layout } from "../../host/core/layout.ts";

export const PAGE_BYTES = 16384;
export const POINTER_BYTES = 40;
const ROOT_LEVEL = 40;
const ITEM_OF_CHILD = 20 + POINTER_BYTES;
const MERGE_BELOW = PAGE_BYTES / 4;

export class TreeDriver {
  readonly core: Core;
  readonly cache: number;
  readonly root: number;
  readonly path: number;
  readonly generation = 7;
  readonly #treeId = 1;
  readonly #key: number;
  readonly #pointer: number;
  #nextBlock = 4;
  splits = 0;
  merges = 0;

  constructor({ core, layout, frameCount }: { core: Core; layout: Layout; frameCount: number }) {
    this.core = core;
    this.root = layout.take(48, 8);
    this.path = layout.take(core.exports.path_bytes(), 8);
    this.#key = layout.take(24, 8);
    this.#pointer = layout.take(POINTER_BYTES, 8);
    this.cache = layout.take(core.exports.cache_bytes(frameCount), 64);
    const frames = layout.take(frameCount * PAGE_BYTES, PAGE_BYTES);
    assert(core.exports.cache_init(this.cache, frameCount, frames) === 0, "a cache");
    this.#createPage(0, this.root);
    core.view.setUint32(this.root + ROOT_LEVEL, 0, true);
  }

  get rootLevel(): number {
    return this.core.view.getUint32(this.root + ROOT_LEVEL, true);
  }

  find(oid: number, type: number, offset: number): number {
    return this.core.exports.tree_find(this.cache, this.root, this.path, oid, type, offset);
  }

  /** @returns Whether the key is new. */
  put(oid: number, type: number, offset: number, value: number, length: number): boolean {
    const { exports } = this.core;
    for (let attempt = 0; attempt < 32; attempt += 1) {
      const done = exports.tree_put_fast(
        this.cache,
        this.root,
        this.path,
        oid,
        type,
        offset,
        value,
        length,
        this.generation,
      );
      assert(done >= 0, `put: ${done}`);
      if (done > 0) return done === 1;
      this.#makeRoom(this.#depth() - 1, this.#slotAt(this.#depth() - 1));
    }
    throw new Error("splits do not make room");
  }

  /** @returns Whether the key was there. */
  remove(oid: number, type: number, offset: number): boolean {
    const { exports } = this.core;
    const done = exports.tree_remove_fast(
      this.cache,
      this.root,
      this.path,
      oid,
      type,
      offset,
      this.generation,
    );
    if (done === -2) return false;
    assert(done >= 0, `remove: ${done}`);
    const leaf = this.#depth() - 1;
    if (done === 0) exports.page_remove(this.pageAt(leaf), this.#slotAt(leaf));
    this.#shrink(leaf);
    return true;
  }

  pageAt(depth: number): number {
    return this.#pageOf(this.core.u32[(this.path + PATH_LEVELS + depth * PATH_LEVEL_BYTES) >> 2]!);
  }

  #depth(): number {
    return this.core.u32[(this.path + PATH_DEPTH) >> 2]!;
  }

  #slotAt(depth: number): number {
    return this.core.u32[(this.path + PATH_LEVELS + depth * PATH_LEVEL_BYTES + 4) >> 2]!;
  }

  #pageOf(frame: number): number {
    return this.core.exports.cache_frame_address(this.cache, frame) >>> 0;
  }

  slotCount(page: number): number {
    return this.core.view.getUint16(page + 14, true);
  }

  /** The frame of the page that a pointer names, or −1. */
  frameOf(pointer: number): number {
    const { view } = this.core;
    return this.core.exports.cache_find(
      this.cache,
      view.getUint32(pointer, true),
      view.getUint32(pointer + 4, true),
    );
  }

  /** Makes an empty page, and its pointer. */
  #createPage(level: number, pointer: number): number {
    const { exports, view, bytes } = this.core;
    const low = this.#nextBlock;
    this.#nextBlock += 4;
    const frame = exports.cache_add(this.cache, low, 0);
    assert(frame >= 0, `a free frame: ${frame}`);
    exports.cache_set_flags(this.cache, frame, FRAME_DIRTY, 0);
    const page = this.#pageOf(frame);
    exports.page_init(page, level, this.#treeId, this.generation, low, 0);
    bytes.fill(0, pointer, pointer + POINTER_BYTES);
    view.setUint32(pointer, low, true);
    view.setUint32(pointer + 32, this.generation, true);
    return page;
  }

  /** Splits the path's page at a depth, or an ancestor that has no room for one more child. Ends the path. */
  #makeRoom(depth: number, insertSlot: number): void {
    const { exports } = this.core;
    const page = this.pageAt(depth);
    if (depth === 0) {
      this.#growRoot();
      return;
    }
    const parent = this.pageAt(depth - 1);
    const childSlot = this.#slotAt(depth - 1);
    if (exports.page_free_bytes(parent) < ITEM_OF_CHILD) {
      this.#makeRoom(depth - 1, childSlot + 1);
      return;
    }
    const right = this.#createPage(this.core.view.getUint8(page + 12), this.#pointer);
    exports.page_split(page, right, insertSlot);
    this.#insertChild(parent, childSlot + 1, right, this.#pointer);
    this.splits += 1;
  }

  #insertChild(parent: number, slot: number, child: number, pointer: number): void {
    const { exports, f64, u32 } = this.core;
    exports.page_key(child, 0, this.#key);
    const at =
      exports.page_insert(
        parent,
        slot,
        f64[(this.#key + KEY_OID) >> 3]!,
        u32[(this.#key + KEY_TYPE) >> 2]!,
        f64[(this.#key + KEY_OFFSET) >> 3]!,
        POINTER_BYTES,
      ) >>> 0;
    assert(at !== 0, "room for a child");
    exports.bytes_copy(at, pointer, POINTER_BYTES);
  }

  #growRoot(): void {
    const { view, exports } = this.core;
    const level = this.rootLevel + 1;
    const old = this.pageAt(0);
    const page = this.#createPage(level, this.#pointer);
    this.#insertChild(page, 0, old, this.root);
    exports.bytes_copy(this.root, this.#pointer, POINTER_BYTES);
    view.setUint32(this.root + ROOT_LEVEL, level, true);
  }

  #drop(frame: number): void {
    assert(this.core.exports.cache_remove(this.cache, frame) === 0, "a page leaves");
  }

  /** After a removal at a depth: drops the page when it is empty, merges it when it is small. */
  #shrink(depth: number): void {
    const { exports } = this.core;
    const page = this.pageAt(depth);
    const live = exports.page_live_bytes(page);
    if (depth === 0) {
      this.#collapseRoot();
      return;
    }
    if (live >= MERGE_BELOW) return;
    const parent = this.pageAt(depth - 1);
    const slot = this.#slotAt(depth - 1);
    if (live === 0 && this.slotCount(parent) > 1) {
      this.#drop(exports.cache_frame_of(this.cache, page));
      exports.page_remove(parent, slot);
    } else if (!this.#merge(parent, slot + 1 < this.slotCount(parent) ? slot : slot - 1)) {
      return;
    }
    this.#shrink(depth - 1);
  }

  #merge(parent: number, leftSlot: number): boolean {
    const { exports, f64, u32, view } = this.core;
    if (leftSlot < 0) return false;
    const left = this.#pageOf(this.frameOf(exports.page_value(parent, leftSlot) >>> 0));
    const rightFrame = this.frameOf(exports.page_value(parent, leftSlot + 1) >>> 0);
    const right = this.#pageOf(rightFrame);
    if (exports.page_live_bytes(left) + exports.page_live_bytes(right) > PAGE_BYTES * 0.75) {
      return false;
    }
    if (view.getUint8(right + 12) > 0) {
      // The first key of an interior page may be anything: what counts is the one in the parent.
      exports.page_key(parent, leftSlot + 1, this.#key);
      exports.page_set_key(
        right,
        0,
        f64[(this.#key + KEY_OID) >> 3]!,
        u32[(this.#key + KEY_TYPE) >> 2]!,
        f64[(this.#key + KEY_OFFSET) >> 3]!,
      );
    }
    assert(exports.page_merge(left, right) === 1, "pages that fit merge");
    this.#drop(rightFrame);
    exports.page_remove(parent, leftSlot + 1);
    this.merges += 1;
    return true;
  }

  #collapseRoot(): void {
    const { exports, view } = this.core;
    while (this.rootLevel > 0) {
      const frame = this.frameOf(this.root);
      const page = this.#pageOf(frame);
      if (this.slotCount(page) !== 1) return;
      exports.bytes_copy(this.root, exports.page_value(page, 0) >>> 0, POINTER_BYTES);
      view.setUint32(this.root + ROOT_LEVEL, this.rootLevel - 1, true);
      this.#drop(frame);
    }
  }

  /** Validates every page. @returns The number of entries and pages. */
  check(): { entries: number; pages: number } {
    const { exports } = this.core;
    let entries = 0;
    let pages = 0;
    const visit = (pointer: number, level: number): void => {
      const frame = this.frameOf(pointer);
      assert(frame >= 0, "a page is cached");
      const page = this.#pageOf(frame);
      const problem = exports.page_validate(page, level);
      assert(problem === 0, `page_validate: ${problem}`);
      pages += 1;
      const count = this.slotCount(page);
      assert(count > 0 || pages === 1, "only a root is empty");
      if (level === 0) entries += count;
      for (let slot = 0; level > 0 && slot < count; slot += 1) {
        visit(exports.page_value(page, slot) >>> 0, level - 1);
      }
    };
    visit(this.root, this.rootLevel);
    return { entries, pages };
  }
}

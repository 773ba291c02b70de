/**
 * Walks a tree in key order through every page, whatever its bytes are.
 *
 * Invariants: a page is entered only if a copy of it fits its pointer and its keys lie in its parent's range, so entries
 * come in strictly ascending order and no page is entered twice from one tree; levels fall strictly, and no more pages are
 * entered than the device can hold: a walk always ends. Memory is one page a level, and a few for reading ahead.
 */
import { getU64 } from "../base/bytes.ts";
import type { Task } from "../base/task.ts";
import { KEY_BYTES, KEY_OFFSET, KEY_OID, KEY_TYPE } from "../core/abi.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { PAGE_SLOT_COUNT, POINTER_GENERATION, ROOT_LEVEL } from "../format/page_pointer.ts";
import type { CopyProblem, PageCopy, PageFetch, PageReader } from "./page_reader.ts";

export const LEVEL_MAX = 8;
/** Leaves read ahead of the one being looked at. */
export const READ_AHEAD = 8;
/** Buffers that a walk needs: the path, and what is read ahead. */
export const WALK_FETCHES: number = LEVEL_MAX + 1 + READ_AHEAD;

/** A key; compared by object id, type, offset. */
export interface Key {
  readonly oid: number;
  readonly type: number;
  readonly offset: number;
}

export const KEY_MIN: Key = { oid: 0, type: 0, offset: 0 };
/** Above every key. */
export const KEY_END: Key = { oid: Number.POSITIVE_INFINITY, type: 0, offset: 0 };

export function compareKeys(a: Key, b: Key): number {
  return a.oid - b.oid || a.type - b.type || a.offset - b.offset;
}

export function keyText(key: Key): string {
  return key.oid === Number.POSITIVE_INFINITY
    ? "the end"
    : `(${key.oid}, ${key.type}, ${key.offset})`;
}

/** Where a page is, for messages. */
export interface PagePlace {
  readonly treeId: number;
  readonly level: number;
  readonly device: number;
  readonly block: number;
}

export interface TreeVisitor {
  /** A page that is pointed to, before it is read. */
  pointed?(place: PagePlace, copies: readonly PageCopy[]): void;
  /** A rule of the pointer itself is broken; `from`: where the page's range begins. */
  pointerProblem?(place: PagePlace, problem: string, from: Key): void;
  /** Copies that do not fit the pointer; `usable`: another copy does. */
  copyProblems?(
    place: PagePlace,
    problems: readonly CopyProblem[],
    usable: boolean,
    from: Key,
  ): void;
  /** A page whose keys are not in its parent's range, or an empty one: it is not entered. Null of its keys: it has none. */
  rangeProblem?(place: PagePlace, problem: string, first: Key | null, last: Key | null): void;
  /** No entry of this range can be seen, because of a page of this level. */
  lost?(from: Key, to: Key, level: number): void;
  /** A page that is right; a leaf's entries follow. */
  page?(place: PagePlace, page: number, slotCount: number): void;
  /** Entries of a leaf: keys and values by the core's page functions. */
  leaf(page: number, slotCount: number, place: PagePlace): Task<void> | undefined;
  /** Whether the pages of this range are wanted. */
  wants?(from: Key, to: Key): boolean;
}

export interface WalkOptions {
  /** Read and verify all copies, not just one that is right. */
  readonly everyCopy: boolean;
  /** Highest birth generation that the root may have. */
  readonly generation: number;
  /** Pages that there can be. */
  readonly pagesMax: number;
}

export class TreeWalk {
  readonly #core: Core;
  readonly #reader: PageReader;
  readonly #key: number;
  pages = 0;
  /** Set when there were more pages than there can be. */
  endless = false;

  constructor(options: { core: Core; reader: PageReader; layout: Layout }) {
    this.#core = options.core;
    this.#reader = options.reader;
    this.#key = options.layout.take(KEY_BYTES, 8);
  }

  /** The key of a slot. */
  keyOf(page: number, slot: number): Key {
    this.#core.exports.page_key(page, slot, this.#key);
    return {
      oid: this.#core.f64[(this.#key + KEY_OID) >> 3] as number,
      type: this.#core.u32[(this.#key + KEY_TYPE) >> 2] as number,
      offset: this.#core.f64[(this.#key + KEY_OFFSET) >> 3] as number,
    };
  }

  /** @param root Address of a root record in core memory. */
  *run(root: number, treeId: number, visitor: TreeVisitor, options: WalkOptions): Task<void> {
    this.pages = 0;
    this.endless = false;
    const level = this.#core.view.getUint32(root + ROOT_LEVEL, true);
    if (level > LEVEL_MAX) {
      visitor.pointerProblem?.(
        { treeId, level, device: 0, block: 0 },
        `root level ${level}`,
        KEY_MIN,
      );
      visitor.lost?.(KEY_MIN, KEY_END, level);
      return;
    }
    const fetch = this.#start(root, treeId, level, KEY_MIN, visitor, options, options.generation);
    yield* this.#visit(
      fetch,
      { treeId, level, from: KEY_MIN, to: KEY_END, isRoot: true },
      visitor,
      options,
    );
  }

  /** Checks a pointer and starts to read its page; null when nothing can be read. */
  #start(
    pointer: number,
    treeId: number,
    level: number,
    from: Key,
    visitor: TreeVisitor,
    options: WalkOptions,
    generationMax: number,
  ): PageFetch | null {
    const copies = this.#reader.copiesOf(pointer);
    const place = placeOf(treeId, level, copies);
    visitor.pointed?.(place, copies);
    let usable = false;
    if (copies[0]?.copy !== 0) visitor.pointerProblem?.(place, "no first copy", from);
    for (const copy of copies) {
      if (copy.problem !== null) visitor.pointerProblem?.(place, copy.problem, from);
      else usable = true;
    }
    const generation = getU64(this.#core.view, pointer + POINTER_GENERATION);
    if (!(generation <= generationMax)) {
      visitor.pointerProblem?.(
        place,
        `generation ${generation}, above its parent's ${generationMax}`,
        from,
      );
      usable = false;
    }
    return usable ? this.#reader.start(pointer, options.everyCopy) : null;
  }

  *#visit(
    fetch: PageFetch | null,
    at: { treeId: number; level: number; from: Key; to: Key; isRoot: boolean },
    visitor: TreeVisitor,
    options: WalkOptions,
  ): Task<void> {
    if (fetch === null) {
      visitor.lost?.(at.from, at.to, at.level);
      return;
    }
    this.pages++;
    if (this.pages > options.pagesMax) this.endless = true;
    const place = placeOf(at.treeId, at.level, fetch.copies);
    const read = yield* this.#reader.finish(fetch, at);
    if (read.problems.length > 0) {
      visitor.copyProblems?.(place, read.problems, read.page !== 0, at.from);
    }
    const slotCount =
      read.page === 0 ? 0 : this.#core.view.getUint16(read.page + PAGE_SLOT_COUNT, true);
    const outside = read.page === 0 ? null : this.#rangeProblem(read.page, slotCount, at);
    if (outside !== null) {
      const keyOf = (slot: number): Key | null =>
        slot < slotCount ? this.keyOf(read.page, slot) : null;
      visitor.rangeProblem?.(place, outside, keyOf(0), keyOf(Math.max(0, slotCount - 1)));
    }
    if (read.page === 0 || outside !== null || this.endless) {
      visitor.lost?.(at.from, at.to, at.level);
      this.#reader.release(fetch);
      return;
    }
    visitor.page?.(place, read.page, slotCount);
    if (at.level === 0) {
      const task = visitor.leaf(read.page, slotCount, place);
      if (task !== undefined) yield* task;
    } else {
      yield* this.#children(read.page, slotCount, at, fetch, visitor, options);
    }
    this.#reader.release(fetch);
  }

  *#children(
    page: number,
    slotCount: number,
    at: { treeId: number; level: number; from: Key; to: Key },
    parent: PageFetch,
    visitor: TreeVisitor,
    options: WalkOptions,
  ): Task<void> {
    const { exports, view } = this.#core;
    const generation = getU64(view, parent.pointer + POINTER_GENERATION);
    const ahead = at.level === 1 ? READ_AHEAD : 1;
    const started: { fetch: PageFetch | null; from: Key; to: Key }[] = [];
    let next = 0;
    let from = at.from;
    for (;;) {
      while (next < slotCount && started.length < ahead) {
        const to = next + 1 < slotCount ? this.keyOf(page, next + 1) : at.to;
        if (visitor.wants?.(from, to) !== false) {
          const pointer = exports.page_value(page, next) >>> 0;
          const level = at.level - 1;
          const fetch = this.#start(pointer, at.treeId, level, from, visitor, options, generation);
          started.push({ fetch, from, to });
        }
        from = to;
        next++;
      }
      const child = started.shift();
      if (child === undefined) return;
      const { fetch } = child;
      const place = {
        treeId: at.treeId,
        level: at.level - 1,
        from: child.from,
        to: child.to,
        isRoot: false,
      };
      yield* this.#visit(fetch, place, visitor, options);
    }
  }

  #rangeProblem(
    page: number,
    slotCount: number,
    at: { level: number; from: Key; to: Key; isRoot: boolean },
  ): string | null {
    const first = at.level === 0 ? 0 : 1;
    if (slotCount <= first) return slotCount === 0 && !at.isRoot ? "it is empty" : null;
    const low = this.keyOf(page, first);
    const high = this.keyOf(page, slotCount - 1);
    const order = compareKeys(low, at.from);
    if (order < 0 || (order === 0 && at.level > 0)) {
      return `its first key ${keyText(low)} is below its range, which begins at ${keyText(at.from)}`;
    }
    if (compareKeys(high, at.to) >= 0) {
      return `its last key ${keyText(high)} is beyond its range, which ends at ${keyText(at.to)}`;
    }
    return null;
  }
}

function placeOf(treeId: number, level: number, copies: readonly PageCopy[]): PagePlace {
  const first = copies[0];
  return { treeId, level, device: first?.device ?? 0, block: first?.block ?? 0 };
}

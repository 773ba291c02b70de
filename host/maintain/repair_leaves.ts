/** Puts the items of leaves that were found into the tree again, as far as they lie in what was cut out of it. */
import type { Task } from "../base/task.ts";
import { KEY_BYTES } from "../core/abi.ts";
import type { Layout } from "../core/layout.ts";
import { BLOCK_BYTES, PAGE_BYTES } from "../format/geometry.ts";
import { PAGE_SLOT_COUNT, TREE_FS } from "../format/page_pointer.ts";
import { keyAt, type LeafFound, newestLeaves, readLeaf } from "./leaf_search.ts";
import type { RepairLog } from "./repair_log.ts";
import type { CutRange } from "./repair_pages.ts";
import type { RepairStore } from "./repair_store.ts";
import { compareKeys, type Key } from "./tree_walk.ts";

/** Items of one transaction: what it changes must fit into the pages that it may take. */
const BATCH_ITEMS = 16;

/** @param layout Room for a page. */
export function* repairLeaves(
  repair: RepairStore,
  leaves: readonly LeafFound[],
  cut: readonly CutRange[],
  layout: Layout,
  log: RepairLog,
): Task<void> {
  if (cut.length === 0) return;
  const finder = new LeafKeeper(repair, cut, layout, log);
  for (const leaf of newestLeaves(leaves)) yield* finder.keep(leaf.block, false);
  // Those were pointed to, so they are what counts, also of keys that other pages do not have.
  for (const { displaced } of cut) if (displaced !== null) yield* finder.keep(displaced, true);
}

class LeafKeeper {
  readonly #repair: RepairStore;
  readonly #cut: readonly CutRange[];
  readonly #page: number;
  readonly #key: number;
  readonly #log: RepairLog;

  constructor(repair: RepairStore, cut: readonly CutRange[], layout: Layout, log: RepairLog) {
    this.#repair = repair;
    this.#cut = cut;
    this.#page = layout.take(PAGE_BYTES, BLOCK_BYTES);
    this.#key = layout.take(KEY_BYTES, 8);
    this.#log = log;
  }

  #isLost(key: Key): boolean {
    return this.#cut.some(
      ({ from, to }) => compareKeys(key, from) >= 0 && compareKeys(key, to) < 0,
    );
  }

  /** @param displaced What is missing elsewhere counts, too. */
  *keep(block: number, displaced: boolean): Task<void> {
    const { core, pool, store } = this.#repair;
    const page = this.#page;
    const found = yield* readLeaf(core, pool, block, page, this.#key);
    if (found === null) return;
    const count = core.view.getUint16(page + PAGE_SLOT_COUNT, true);
    let items = 0;
    for (let slot = 0; slot < count; ) {
      const keys: { key: Key; slot: number; isLost: boolean }[] = [];
      for (; slot < count && keys.length < BATCH_ITEMS; slot++) {
        const key = keyAt(core, page, slot, this.#key);
        const isLost = this.#isLost(key);
        if (isLost || displaced) keys.push({ key, slot, isLost });
      }
      if (keys.length === 0) continue;
      let put = 0;
      yield* this.#repair.transaction(() => {
        put = 0;
        const wanted = keys.filter(
          ({ key, isLost }) => store.get(key.oid, key.type, key.offset) === 0 || isLost,
        );
        for (const { key, slot: from } of wanted) {
          const length = core.exports.page_value_length(page, from);
          const value = core.exports.page_value(page, from) >>> 0;
          store.put(key.oid, key.type, key.offset, value, length);
          put++;
        }
      });
      items += put;
    }
    if (items === 0) return;
    const where = displaced ? "that was not in its place" : "that nothing pointed to";
    this.#log.did("leaf-found", `${items} items were found again in a page ${where}`, {
      tree: TREE_FS,
      block,
      objectId: found.first.oid,
    });
  }
}

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
  if (leaves.length === 0 || cut.length === 0) return;
  const { core, store } = repair;
  const page = layout.take(PAGE_BYTES, BLOCK_BYTES);
  const keyMemory = layout.take(KEY_BYTES, 8);
  const isLost = (key: Key): boolean =>
    cut.some(({ from, to }) => compareKeys(key, from) >= 0 && compareKeys(key, to) < 0);
  for (const leaf of newestLeaves(leaves)) {
    const found = yield* readLeaf(core, repair.pool, leaf.block, page, keyMemory);
    if (found === null) continue;
    const count = core.view.getUint16(page + PAGE_SLOT_COUNT, true);
    let items = 0;
    for (let slot = 0; slot < count; ) {
      const keys: { key: Key; slot: number }[] = [];
      for (; slot < count && keys.length < BATCH_ITEMS; slot++) {
        const key = keyAt(core, page, slot, keyMemory);
        if (isLost(key)) keys.push({ key, slot });
      }
      if (keys.length === 0) continue;
      items += keys.length;
      yield* repair.transaction(() => {
        for (const { key } of keys) store.get(key.oid, key.type, key.offset);
        for (const { key, slot: from } of keys) {
          const length = core.exports.page_value_length(page, from);
          const value = core.exports.page_value(page, from) >>> 0;
          store.put(key.oid, key.type, key.offset, value, length);
        }
      });
    }
    if (items === 0) continue;
    log.did("leaf-found", `${items} items were found again in a page that nothing pointed to`, {
      tree: TREE_FS,
      block: leaf.block,
      objectId: leaf.first.oid,
    });
  }
}

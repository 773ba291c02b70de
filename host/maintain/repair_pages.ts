/**
 * Pages of the file system's tree: those with a bad copy are written anew from the good one, to another place; those
 * with none are cut out, and what they held is lost.
 */
import type { Task } from "../base/task.ts";
import { PAGE_BLOCKS } from "../format/geometry.ts";
import { ROOT_BYTES, TREE_FS } from "../format/page_pointer.ts";
import type { RepairLog } from "./repair_log.ts";
import type { RepairStore } from "./repair_store.ts";
import { KEY_END, type Key, keyText, type TreeWalk } from "./tree_walk.ts";

/** Pages that one walk remembers: with more, the tree is walked again. */
const REMEMBERED_MAX = 4096;

/** What a page that was cut out stood for. */
export interface CutRange {
  readonly from: Key;
  readonly to: Key;
  /** Block of a leaf that was whole, but not where its keys belong; null: it was not. */
  readonly displaced: number | null;
}

interface BadPage {
  readonly level: number;
  readonly from: Key;
  readonly to: Key;
  readonly block: number;
  readonly problem: string;
  /** First and last key of a page that is whole, if it has any. */
  readonly held: readonly [Key, Key] | null;
}

/**
 * @param roots Address of ROOT_BYTES of core memory.
 * @returns What was cut out.
 */
export function* repairPages(
  repair: RepairStore,
  walk: TreeWalk,
  roots: number,
  log: RepairLog,
): Task<CutRange[]> {
  const { store, core } = repair;
  const cut: CutRange[] = [];
  for (;;) {
    const lost: BadPage[] = [];
    const damaged = new Map<string, BadPage>();
    let last: Pick<BadPage, "block" | "problem" | "held"> = {
      block: 0,
      problem: "its pointer is invalid",
      held: null,
    };
    core.bytes.set(repair.superblock.roots.subarray(0, ROOT_BYTES), roots);
    const note = (level: number, from: Key, block: number, problem: string): void => {
      last = { block, problem, held: null };
      if (damaged.size < REMEMBERED_MAX)
        damaged.set(`${level} ${keyText(from)}`, { level, from, to: from, ...last });
    };
    yield* walk.run(
      roots,
      TREE_FS,
      {
        pointerProblem: (place, problem, from) => note(place.level, from, place.block, problem),
        copyProblems: (place, problems, _usable, from) =>
          note(place.level, from, place.block, problems[0]?.problem ?? "it is damaged"),
        rangeProblem: (place, problem, first, final) => {
          const held = first === null || final === null ? null : ([first, final] as const);
          last = { block: place.block, problem, held };
        },
        lost: (from, to, level) => {
          if (lost.length < REMEMBERED_MAX) lost.push({ level, from, to, ...last });
          damaged.delete(`${level} ${keyText(from)}`);
        },
        leaf: () => undefined,
      },
      {
        everyCopy: true,
        generation: repair.superblock.sequence,
        pagesMax: Math.floor(store.geometry.blockCount / PAGE_BLOCKS),
      },
    );
    if (lost.length === 0 && damaged.size === 0) return cut;
    // From the top down: a page that is written anew must be found by its way before anything is cut away beside it.
    for (const { level, from, block, problem } of damaged.values()) {
      yield* repair.transaction(() =>
        store.fsTree.rewrite(level, from.oid, from.type, from.offset),
      );
      log.did("page-rewritten", `A page was written anew from its good copy: ${problem}`, {
        tree: TREE_FS,
        level,
        block,
      });
    }
    for (const { level, from, to, block, problem, held } of lost) {
      yield* repair.transaction(() => store.fsTree.cut(level, from.oid, from.type, from.offset));
      cut.push({ from, to, displaced: level === 0 && held !== null ? block : null });
      // Of what lies below a page's last key nothing is known.
      const end = held === null ? to : level > 0 ? KEY_END : held[1];
      log.gaveUp(
        "page-cut",
        level === 0
          ? `A page of the tree is lost, and with it what lay from ${keyText(from)} to ${keyText(to)}: ${problem}`
          : `A page of the tree is lost, and what is not found again of what lay from ${keyText(from)} to ${keyText(to)}: ${problem}`,
        {
          tree: TREE_FS,
          level,
          block,
          fromObject: Math.min(from.oid, held?.[0].oid ?? from.oid),
          // Of the end there is no number in JSON.
          toObject: Math.min(Math.max(to.oid, end.oid), Number.MAX_SAFE_INTEGER),
        },
      );
    }
    store.changedSinceCheckpoint = true;
    yield* repair.checkpoint();
  }
}

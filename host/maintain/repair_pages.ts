/**
 * Pages of the file system's tree: those with a bad copy are written anew from the good one, to another place; those
 * with none are cut out, and what they held is lost.
 */
import type { Task } from "../base/task.ts";
import { PAGE_BLOCKS } from "../format/geometry.ts";
import { ROOT_BYTES, TREE_FS } from "../format/page_pointer.ts";
import type { RepairLog } from "./repair_log.ts";
import type { RepairStore } from "./repair_store.ts";
import { type Key, keyText, type TreeWalk } from "./tree_walk.ts";

/** Pages that one walk remembers: with more, the tree is walked again. */
const REMEMBERED_MAX = 4096;

/** What a page that was cut out stood for. */
export interface CutRange {
  readonly from: Key;
  readonly to: Key;
}

interface BadPage {
  readonly level: number;
  readonly from: Key;
  readonly to: Key;
  readonly block: number;
  readonly problem: string;
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
    const last = { block: 0, problem: "its pointer is invalid" };
    core.bytes.set(repair.superblock.roots.subarray(0, ROOT_BYTES), roots);
    const note = (level: number, from: Key, block: number, problem: string): void => {
      last.block = block;
      last.problem = problem;
      if (damaged.size < REMEMBERED_MAX)
        damaged.set(`${level} ${keyText(from)}`, { level, from, to: from, block, problem });
    };
    yield* walk.run(
      roots,
      TREE_FS,
      {
        pointerProblem: (place, problem, from) => note(place.level, from, place.block, problem),
        copyProblems: (place, problems, _usable, from) =>
          note(place.level, from, place.block, problems[0]?.problem ?? "it is damaged"),
        rangeProblem: (place, problem) => {
          last.block = place.block;
          last.problem = problem;
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
    for (const { level, from, to, block, problem } of lost) {
      yield* repair.transaction(() => store.fsTree.cut(level, from.oid, from.type, from.offset));
      cut.push({ from, to });
      log.gaveUp(
        "page-cut",
        level === 0
          ? `A page of the tree is lost, and with it what lay from ${keyText(from)} to ${keyText(to)}: ${problem}`
          : `A page of the tree is lost, and what is not found again of what lay from ${keyText(from)} to ${keyText(to)}: ${problem}`,
        {
          tree: TREE_FS,
          level,
          block,
          fromObject: from.oid,
          // Of the end there is no number in JSON.
          toObject: Math.min(to.oid, Number.MAX_SAFE_INTEGER),
        },
      );
    }
    store.changedSinceCheckpoint = true;
    yield* repair.checkpoint();
  }
}

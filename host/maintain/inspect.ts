/**
 * Records of a device as they lie there, for people who want to see and for tools: plain objects, ready for JSON. Reads
 * only, believes nothing, and tells for each record whether it is valid and if not, which rule it breaks.
 */
import { getU64, toHex, uuidText } from "../base/bytes.ts";
import { EINVAL, ENOENT } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Task } from "../base/task.ts";
import { PAGE_PROBLEMS } from "../core/abi.ts";
import type { Core } from "../core/core.ts";
import { Layout } from "../core/layout.ts";
import type { Device } from "../device/device.ts";
import { BLOCK_BYTES, mapBlock, PAGE_BLOCKS, PAGE_BYTES } from "../format/geometry.ts";
import { COMMIT_FIRST_TRANSACTION } from "../format/journal_record.ts";
import {
  PAGE_ADDRESS,
  PAGE_CHECKSUM,
  PAGE_GENERATION,
  PAGE_LEVEL,
  PAGE_SLOT_COUNT,
  PAGE_TREE_ID,
  ROOT_BYTES,
  TREE_COUNT,
  TREE_FS,
  TREE_SPACE,
} from "../format/page_pointer.ts";
import { ITEM_REGION } from "../format/region.ts";
import type { Superblock } from "../format/superblock.ts";
import type { Environment } from "../fs/volume.ts";
import { COMMIT_BYTES_MAX } from "../journal/journal.ts";
import { Pool } from "../pool/pool.ts";
import { readNewest, readSlots } from "../pool/superblock_set.ts";
import { longestFreeRun } from "./block_map.ts";
import {
  addressText,
  describeItem,
  describePointer,
  describeRegion,
  itemTypeName,
} from "./describe.ts";
import {
  type EntrySummary,
  journalAreaOf,
  journalPositionOf,
  readEntries,
  scanJournal,
} from "./journal_scan.ts";
import { PageReader } from "./page_reader.ts";
import { RING_BUFFER_BYTES } from "./superblock_check.ts";
import { compareKeys, type Key, keyText, TreeWalk, WALK_FETCHES } from "./tree_walk.ts";

/** What to look at. */
export type InspectTarget =
  | { readonly kind: "superblock" }
  /** A tree page by the first block of one of its copies. */
  | { readonly kind: "page"; readonly block: number; readonly device?: number }
  /** Commits that a mount would replay; `entries` lists what they hold. */
  | { readonly kind: "journal"; readonly entries?: boolean }
  /** Items of an object in the newest checkpoint; `tree` is the file system's if left out. */
  | {
      readonly kind: "item";
      readonly objectId: number;
      readonly type?: number;
      readonly offset?: number;
      readonly tree?: number;
    }
  | { readonly kind: "region"; readonly region: number }
  /** Pages and items of all trees, counted. */
  | { readonly kind: "tree" };

/** Items listed of one object at most. */
const ITEMS_MAX = 10000;

/**
 * @returns A plain object, ready for JSON: integers, strings, null when unknown.
 * @throws {FsError} ENODEV, EUCLEAN, EOPNOTSUPP no readable volume; EINVAL a place that cannot be; ENOENT nothing there.
 */
export function* inspect(
  environment: Environment,
  devices: readonly Device[],
  target: InspectTarget,
): Task<unknown> {
  const { core } = environment;
  const pool = new Pool(devices);
  const layout = new Layout(core);
  switch (target.kind) {
    case "superblock":
      return yield* inspectSuperblocks(core, pool, layout);
    case "page":
      return yield* inspectPage(core, pool, layout, target.device ?? 0, target.block);
    case "journal":
      return yield* inspectJournal(core, pool, layout, target.entries === true);
    case "item":
      return yield* inspectItems(core, pool, layout, target);
    case "region":
      return yield* inspectRegion(core, pool, layout, target.region);
    case "tree":
      return yield* inspectTrees(core, pool, layout);
  }
}

function* newest(core: Core, pool: Pool, layout: Layout): Task<Superblock> {
  return yield* readNewest(core, pool, layout.take(RING_BUFFER_BYTES, BLOCK_BYTES));
}

function* inspectSuperblocks(core: Core, pool: Pool, layout: Layout): Task<unknown> {
  const buffer = layout.take(RING_BUFFER_BYTES, BLOCK_BYTES);
  const roots = layout.take(TREE_COUNT * ROOT_BYTES, 8);
  const slots = yield* readSlots(core, pool, 0, buffer);
  const ordered = [...slots].sort(
    (a, b) => (b.superblock?.sequence ?? -1) - (a.superblock?.sequence ?? -1) || a.block - b.block,
  );
  return {
    newestSequence: ordered[0]?.superblock?.sequence ?? null,
    slots: ordered.map(({ ring, slot, block, superblock, problem }) => ({
      ring,
      slot,
      block,
      valid: problem === null,
      ...(problem === null ? {} : { problem }),
      ...(superblock === null ? {} : describeSuperblock(core, superblock, roots)),
    })),
  };
}

function describeSuperblock(core: Core, superblock: Superblock, roots: number): object {
  const { geometry } = superblock;
  core.bytes.set(superblock.roots, roots);
  return {
    sequence: superblock.sequence,
    time: timeText(superblock.timeSeconds, superblock.timeNanoseconds),
    clean: superblock.clean,
    name: superblock.name,
    format: `${superblock.versionMajor}.${superblock.versionMinor}`,
    featuresCompatible: superblock.featuresCompatible,
    featuresReadOnlyCompatible: superblock.featuresReadOnlyCompatible,
    featuresIncompatible: superblock.featuresIncompatible,
    poolUuid: uuidText(superblock.poolUuid),
    deviceUuid: uuidText(superblock.deviceUuid),
    deviceIndex: superblock.deviceIndex,
    deviceCount: superblock.deviceCount,
    transactionSequence: superblock.transactionSequence,
    journalSequence: superblock.journalSequence,
    journalBlock: superblock.journalBlock,
    journalChain: toHex(superblock.journalChain),
    nextObjectId: superblock.nextObjectId,
    objectCount: superblock.objectCount,
    freeBlocks: superblock.freeBlocks,
    geometry: {
      blockCount: geometry.blockCount,
      regionBlocks: geometry.regionBlocks,
      regionCount: geometry.regionCount,
      ringStarts: [...geometry.ringStarts],
      journalStart: geometry.journalStart,
      journalBlocks: geometry.journalBlocks,
      mapStarts: [...geometry.mapStarts],
      mapBlocks: geometry.mapBlocks,
    },
    roots: rootsOf(roots).map((root) => describePointer(core, root, true)),
  };
}

function rootsOf(roots: number): number[] {
  return Array.from({ length: TREE_COUNT }, (_, index) => roots + index * ROOT_BYTES);
}

function* inspectPage(
  core: Core,
  pool: Pool,
  layout: Layout,
  device: number,
  block: number,
): Task<unknown> {
  const member = pool.member(device);
  if (member === undefined || (block + PAGE_BLOCKS) * BLOCK_BYTES > member.device.sizeBytes) {
    throw new FsError(
      EINVAL,
      "inspect/block",
      `Cannot inspect block ${block}: it is beyond the device's end`,
    );
  }
  const page = layout.take(PAGE_BYTES, BLOCK_BYTES);
  const checksum = layout.take(8, 8);
  const walk = new TreeWalk({ core, layout, reader: emptyReader(core, pool, layout) });
  const status = yield (resume) => pool.read(device, block, page, PAGE_BYTES, resume);
  if (status < 0) {
    throw new FsError(-status, "inspect/read", `Cannot read block ${block}: error ${status}`);
  }
  const { view, exports } = core;
  exports.xxh3_64(page + 8, PAGE_BYTES - 8, checksum);
  const code = exports.page_validate(page, -1);
  const header = {
    block,
    valid: code === 0,
    ...(code === 0 ? {} : { problem: PAGE_PROBLEMS[code] ?? `rule ${code}` }),
    checksum: toHex(core.bytes.subarray(page + PAGE_CHECKSUM, page + PAGE_CHECKSUM + 8)),
    checksumRight: exports.bytes_equal(checksum, page + PAGE_CHECKSUM, 8) === 1,
    tree: view.getUint8(page + PAGE_TREE_ID),
    level: view.getUint8(page + PAGE_LEVEL),
    generation: getU64(view, page + PAGE_GENERATION),
    firstCopy: addressText(core, page + PAGE_ADDRESS),
    slotCount: view.getUint16(page + PAGE_SLOT_COUNT, true),
  };
  if (code !== 0) return header;
  const items: unknown[] = [];
  for (let slot = 0; slot < header.slotCount; slot++) {
    const key = walk.keyOf(page, slot);
    const value = exports.page_value(page, slot) >>> 0;
    const valueLength = exports.page_value_length(page, slot);
    items.push(
      header.level > 0
        ? {
            from: slot === 0 ? "the beginning" : keyText(key),
            ...describePointer(core, value, false),
          }
        : describeItem(core, header.tree, key, value, valueLength),
    );
  }
  return { ...header, freeBytes: exports.page_free_bytes(page), items };
}

/** A reader for a walk that only decodes keys. */
function emptyReader(core: Core, pool: Pool, layout: Layout): PageReader {
  return new PageReader({ core, pool, layout, blockCount: 0, fetches: 0 });
}

function* inspectJournal(core: Core, pool: Pool, layout: Layout, entries: boolean): Task<unknown> {
  const superblock = yield* newest(core, pool, layout);
  const buffer = layout.take(COMMIT_BYTES_MAX, BLOCK_BYTES);
  const commits: unknown[] = [];
  const from = journalPositionOf(superblock);
  const end = yield* scanJournal(core, pool, journalAreaOf(superblock), from, buffer, (commit) => {
    const list: EntrySummary[] = [];
    const counts: Record<string, number> = {};
    const problem = readEntries(
      core,
      buffer,
      commit.byteLength,
      commit.transactions,
      superblock.geometry,
      (entry) => {
        counts[entry.kind] = (counts[entry.kind] ?? 0) + 1;
        if (entries) list.push(entry);
      },
    );
    commits.push({
      sequence: commit.sequence,
      block: commit.block,
      byteLength: commit.byteLength,
      transactions: commit.transactions,
      firstTransaction: getU64(core.view, buffer + COMMIT_FIRST_TRANSACTION),
      ...(problem === null ? {} : { problem }),
      counts,
      ...(entries ? { entries: list } : {}),
    });
  });
  return {
    checkpoint: superblock.sequence,
    firstTransaction: superblock.transactionSequence,
    from: { sequence: from.sequence, block: from.block, chain: toHex(from.chain) },
    end: { sequence: end.sequence, block: end.block },
    commits,
  };
}

/** A walk over the newest checkpoint's trees. */
function* openTrees(
  core: Core,
  pool: Pool,
  layout: Layout,
): Task<{ superblock: Superblock; walk: TreeWalk; roots: number[]; pagesMax: number }> {
  const superblock = yield* newest(core, pool, layout);
  const { blockCount } = superblock.geometry;
  const reader = new PageReader({ core, pool, layout, blockCount, fetches: WALK_FETCHES });
  const walk = new TreeWalk({ core, reader, layout });
  const roots = layout.take(TREE_COUNT * ROOT_BYTES, 8);
  core.bytes.set(superblock.roots, roots);
  return { superblock, walk, roots: rootsOf(roots), pagesMax: blockCount / PAGE_BLOCKS };
}

function* inspectItems(
  core: Core,
  pool: Pool,
  layout: Layout,
  target: { objectId: number; type?: number; offset?: number; tree?: number },
): Task<unknown> {
  const trees = yield* openTrees(core, pool, layout);
  const treeId = target.tree ?? TREE_FS;
  const root = trees.roots[treeId - 1];
  if (root === undefined) {
    throw new FsError(
      EINVAL,
      "inspect/tree",
      `Cannot inspect tree ${treeId}: there are ${TREE_COUNT}`,
    );
  }
  const { objectId: oid, type, offset } = target;
  const from: Key = { oid, type: type ?? 0, offset: offset ?? 0 };
  const to: Key =
    type === undefined
      ? { oid: oid + 1, type: 0, offset: 0 }
      : offset === undefined
        ? { oid, type: type + 1, offset: 0 }
        : { oid, type, offset: offset + 1 };
  const items: unknown[] = [];
  const problems: string[] = [];
  let truncated = false;
  yield* trees.walk.run(
    root,
    treeId,
    {
      wants: (low, high) => compareKeys(low, to) < 0 && compareKeys(high, from) > 0,
      lost: (low, high) => {
        problems.push(`Items from ${keyText(low)} to ${keyText(high)} cannot be read`);
      },
      leaf: (page, slotCount) => {
        for (let slot = 0; slot < slotCount; slot++) {
          const key = trees.walk.keyOf(page, slot);
          if (compareKeys(key, from) < 0 || compareKeys(key, to) >= 0) continue;
          if (items.length >= ITEMS_MAX) {
            truncated = true;
            return undefined;
          }
          const value = core.exports.page_value(page, slot) >>> 0;
          const valueLength = core.exports.page_value_length(page, slot);
          items.push(describeItem(core, treeId, key, value, valueLength));
        }
        return undefined;
      },
    },
    { everyCopy: false, generation: trees.superblock.sequence, pagesMax: trees.pagesMax },
  );
  if (items.length === 0 && problems.length === 0) {
    throw new FsError(
      ENOENT,
      "inspect/item",
      `Cannot find an item of object ${oid} in tree ${treeId}`,
    );
  }
  return {
    checkpoint: trees.superblock.sequence,
    tree: treeId,
    objectId: oid,
    items,
    ...(problems.length === 0 ? {} : { problems }),
    ...(truncated ? { truncated } : {}),
  };
}

function* inspectRegion(core: Core, pool: Pool, layout: Layout, region: number): Task<unknown> {
  const trees = yield* openTrees(core, pool, layout);
  const { geometry } = trees.superblock;
  if (!(region >= 0 && region < geometry.regionCount)) {
    throw new FsError(
      EINVAL,
      "inspect/region",
      `Cannot inspect region ${region}: there are ${geometry.regionCount}`,
    );
  }
  const regionBytes = geometry.mapBlocks * BLOCK_BYTES;
  const bitmaps = layout.take(2 * regionBytes, BLOCK_BYTES);
  const item = layout.take(64, 8);
  const wanted: Key = { oid: 0, type: ITEM_REGION, offset: region };
  let found = 0;
  yield* trees.walk.run(
    trees.roots[TREE_SPACE - 1] as number,
    TREE_SPACE,
    {
      wants: (low, high) => compareKeys(low, wanted) <= 0 && compareKeys(high, wanted) > 0,
      leaf: (page, slotCount) => {
        for (let slot = 0; slot < slotCount; slot++) {
          if (compareKeys(trees.walk.keyOf(page, slot), wanted) !== 0) continue;
          found = Math.min(core.exports.page_value_length(page, slot), 64);
          core.exports.bytes_copy(item, core.exports.page_value(page, slot) >>> 0, found);
        }
        return undefined;
      },
    },
    { everyCopy: false, generation: trees.superblock.sequence, pagesMax: trees.pagesMax },
  );
  const fields = found === 0 ? null : describeRegion(core, item, found);
  if (fields === null) {
    throw new FsError(
      ENOENT,
      "inspect/region-item",
      `Cannot find a valid item of region ${region}`,
    );
  }
  const first = region * geometry.regionBlocks;
  const blocks = Math.min(geometry.regionBlocks, geometry.blockCount - first);
  const copies: unknown[] = [];
  for (let copy = 0; copy < 2 && fields.state === "mapped"; copy++) {
    const block = mapBlock(geometry, copy, region, fields.slot);
    const bitmap = bitmaps + copy * regionBytes;
    const status = yield (resume) => pool.read(0, block, bitmap, regionBytes, resume);
    const right =
      status >= 0 && core.exports.xxh3_64_verify_units(bitmap, regionBytes, 1, item) < 0;
    copies.push({
      block,
      checksumRight: right,
      free: right ? blocks - core.exports.space_bitmap_count(bitmap, blocks) : null,
      longestFree: right ? longestFreeRun(core.u32, bitmap, blocks) : null,
    });
  }
  return {
    checkpoint: trees.superblock.sequence,
    region,
    firstBlock: first,
    blocks,
    ...fields,
    copies,
  };
}

function* inspectTrees(core: Core, pool: Pool, layout: Layout): Task<unknown> {
  const trees = yield* openTrees(core, pool, layout);
  const result: unknown[] = [];
  for (const [index, root] of trees.roots.entries()) {
    const treeId = index + 1;
    const pages: Record<string, number> = {};
    const items: Record<string, number> = {};
    const problems: string[] = [];
    yield* trees.walk.run(
      root,
      treeId,
      {
        lost: (low, high) => {
          problems.push(`Items from ${keyText(low)} to ${keyText(high)} cannot be read`);
        },
        page: (place) => {
          const level = `level ${place.level}`;
          pages[level] = (pages[level] ?? 0) + 1;
        },
        leaf: (page, slotCount) => {
          for (let slot = 0; slot < slotCount; slot++) {
            const name = itemTypeName(treeId, trees.walk.keyOf(page, slot).type);
            items[name] = (items[name] ?? 0) + 1;
          }
          return undefined;
        },
      },
      { everyCopy: false, generation: trees.superblock.sequence, pagesMax: trees.pagesMax },
    );
    result.push({
      tree: treeId,
      root: describePointer(core, root, true),
      pages,
      items,
      ...(problems.length === 0 ? {} : { problems }),
    });
  }
  return { checkpoint: trees.superblock.sequence, trees: result };
}

function timeText(seconds: number, nanoseconds: number): string | null {
  const date = new Date(seconds * 1000 + Math.floor(nanoseconds / 1e6));
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

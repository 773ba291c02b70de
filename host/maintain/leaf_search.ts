/**
 * Finds leaves of the file system's tree to which nothing points, because a page above them is lost: they tell what they
 * are by themselves. It looks where the space map says that something lies and the trees do not know what.
 *
 * What was freed before the last checkpoint can look the same where the space map cannot be read, or in space that a file
 * keeps unwritten. So of leaves whose keys overlap only the newest counts.
 *
 * Memory: some hundred bytes a leaf that is found, up to LEAVES_MAX.
 */
import { getU64 } from "../base/bytes.ts";
import { ENOMEM } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Task } from "../base/task.ts";
import { KEY_BYTES, KEY_OFFSET, KEY_OID, KEY_TYPE } from "../core/abi.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { BLOCK_BYTES, PAGE_BYTES } from "../format/geometry.ts";
import {
  PAGE_ADDRESS,
  PAGE_CHECKSUM,
  PAGE_GENERATION,
  PAGE_LEVEL,
  PAGE_SLOT_COUNT,
  PAGE_TREE_ID,
  TREE_FS,
} from "../format/page_pointer.ts";
import type { Pool } from "../pool/pool.ts";
import { compareKeys, type Key } from "./tree_walk.ts";

/** Leaves of some gigabytes of metadata. */
const LEAVES_MAX = 200_000;
const CHUNK_BLOCKS = 256;
const PAGE_MAGIC_AT = 8;
const PAGE_MAGIC = 0x47504644;

/** A leaf that was found. */
export interface LeafFound {
  readonly block: number;
  /** Of its first copy. */
  readonly address: number;
  readonly generation: number;
  readonly first: Key;
  readonly last: Key;
}

export class LeafSearch {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #chunk: number;
  readonly #page: number;
  readonly #key: number;
  readonly #generationMax: number;
  readonly found: LeafFound[] = [];

  constructor(options: { core: Core; pool: Pool; layout: Layout; generationMax: number }) {
    this.#core = options.core;
    this.#pool = options.pool;
    this.#generationMax = options.generationMax;
    this.#chunk = options.layout.take(CHUNK_BLOCKS * BLOCK_BYTES, BLOCK_BYTES);
    this.#page = options.layout.take(PAGE_BYTES, BLOCK_BYTES);
    this.#key = options.layout.take(KEY_BYTES, 8);
  }

  /** Looks at a run of blocks. A chunk that cannot be read is passed over. */
  *run(block: number, blockCount: number): Task<void> {
    const { view } = this.#core;
    for (let at = block; at < block + blockCount; at += CHUNK_BLOCKS) {
      const count = Math.min(CHUNK_BLOCKS, block + blockCount - at);
      const status = yield (resume) =>
        this.#pool.read(0, at, this.#chunk, count * BLOCK_BYTES, resume);
      if (status < 0) continue;
      for (let index = 0; index < count; index++) {
        const header = this.#chunk + index * BLOCK_BYTES;
        if (view.getUint32(header + PAGE_MAGIC_AT, true) !== PAGE_MAGIC) continue;
        if (view.getUint8(header + PAGE_LEVEL) !== 0) continue;
        if (view.getUint8(header + PAGE_TREE_ID) !== TREE_FS) continue;
        const leaf = yield* readLeaf(this.#core, this.#pool, at + index, this.#page, this.#key);
        if (leaf === null || leaf.generation > this.#generationMax) continue;
        if (this.found.length === LEAVES_MAX) {
          throw new FsError(ENOMEM, "repair/leaves", `More than ${LEAVES_MAX} leaves are lost`);
        }
        this.found.push(leaf);
      }
    }
  }
}

/**
 * Reads a leaf and looks whether it is whole.
 *
 * @param page PAGE_BYTES of core memory. @param key KEY_BYTES of it.
 */
export function* readLeaf(
  core: Core,
  pool: Pool,
  block: number,
  page: number,
  key: number,
): Task<LeafFound | null> {
  const { exports, view } = core;
  const status = yield (resume) => pool.read(0, block, page, PAGE_BYTES, resume);
  if (status < 0) return null;
  const bad = exports.xxh3_64_verify_units(page + 8, PAGE_BYTES - 8, 1, page + PAGE_CHECKSUM);
  if (bad >= 0 || exports.page_validate(page, 0) !== 0) return null;
  const count = view.getUint16(page + PAGE_SLOT_COUNT, true);
  if (count === 0 || view.getUint8(page + PAGE_TREE_ID) !== TREE_FS) return null;
  return {
    block,
    address: getU64(view, page + PAGE_ADDRESS),
    generation: getU64(view, page + PAGE_GENERATION),
    first: keyAt(core, page, 0, key),
    last: keyAt(core, page, count - 1, key),
  };
}

/** @param key KEY_BYTES of core memory. */
export function keyAt(core: Core, page: number, slot: number, key: number): Key {
  core.exports.page_key(page, slot, key);
  return {
    oid: core.f64[(key + KEY_OID) >> 3] as number,
    type: core.u32[(key + KEY_TYPE) >> 2] as number,
    offset: core.f64[(key + KEY_OFFSET) >> 3] as number,
  };
}

/** Of leaves whose keys overlap the newest; in the order of their keys, each once. */
export function newestLeaves(leaves: readonly LeafFound[]): LeafFound[] {
  const newestFirst = [...leaves].sort((a, b) => b.generation - a.generation || a.block - b.block);
  const kept: LeafFound[] = [];
  for (const leaf of newestFirst) {
    let low = 0;
    let high = kept.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareKeys((kept[middle] as LeafFound).last, leaf.first) < 0) low = middle + 1;
      else high = middle;
    }
    const next = kept[low];
    if (next === undefined || compareKeys(leaf.last, next.first) < 0) kept.splice(low, 0, leaf);
  }
  return kept;
}

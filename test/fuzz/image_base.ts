/**
 * Images that mutants are made of: small volumes with one of everything, taken apart into superblock, pages, bitmaps and
 * commits by what SPEC.md says. Changed parts are put back with every checksum up to the superblock right.
 */
import type { Task } from "../../host/base/task.ts";
import type { Core } from "../../host/core/core.ts";
import { loadCore } from "../../host/core/load.ts";
import { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { type FileSystem, ROOT_INO } from "../../host/fs/file_system.ts";
import { createVolume, mountVolume } from "../../host/fs/volume.ts";
import { setU64, u64, viewOf } from "../support/image_editor.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, Calls } from "../support/sample_volume.ts";

export const BLOCK = 4096;
export const PAGE = 16384;
export const SIZE_BYTES: number = 64 << 20;
/** Small, so that a mutant copies little. */
const CHUNK_BYTES = 16384;

export interface BasePage {
  readonly tree: number;
  readonly level: number;
  readonly blocks: readonly number[];
  readonly bytes: Uint8Array;
  /** Index among the base's pages, −1 for a root, and where in the parent the pointer lies. */
  readonly parent: number;
  readonly pointerAt: number;
}

export interface BaseItem {
  readonly tree: number;
  readonly oid: number;
  readonly type: number;
  readonly offset: number;
  /** Index of its page, where its slot lies in it, and its value. */
  readonly page: number;
  readonly slotAt: number;
  readonly at: number;
  readonly length: number;
}

export interface BaseCommit {
  /** From the device's start. */
  readonly block: number;
  readonly bytes: Uint8Array;
}

export interface Base {
  readonly name: string;
  readonly contents: SparseBytes;
  readonly superblock: Uint8Array;
  readonly superblockBlocks: readonly number[];
  readonly pages: readonly BasePage[];
  readonly items: readonly BaseItem[];
  readonly commits: readonly BaseCommit[];
  /** Where the next commit would go, its sequence, chain, and the transaction after the last. */
  readonly journalEnd: { block: number; sequence: number; chain: Uint8Array; transaction: number };
  /** Blocks that hold something, for flips that nothing makes up for. */
  readonly usedBlocks: readonly number[];
}

let hasher: Core | undefined;

/** XXH3-64, as eight bytes. */
export function checksum(bytes: Uint8Array): Uint8Array {
  hasher ??= loadCore({ memoryPages: 4 + (4 << 20) / 65536 });
  const at = Math.ceil(hasher.staticEnd / 64) * 64;
  hasher.bytes.set(bytes, at + 64);
  hasher.exports.xxh3_64(at + 64, bytes.length, at);
  return hasher.bytes.slice(at, at + 8);
}

/** The low 48 bits of a name's hash: its key in a directory. */
export function nameHash(name: Uint8Array): number {
  const view = viewOf(checksum(name));
  return view.getUint32(0, true) + view.getUint16(4, true) * 4294967296 || 1;
}

// --- making them ---

function make(work: (calls: Calls, fs: FileSystem) => void, end: "unmount" | "cut"): SparseBytes {
  const contents = new SparseBytes(SIZE_BYTES, CHUNK_BYTES);
  const creator = new MemoryEngine();
  creator.run(
    createVolume(creator.environment, [creator.device(SIZE_BYTES, contents)], { name: "fuzz" }),
  );
  const engine = new MemoryEngine();
  const device = engine.device(SIZE_BYTES, contents);
  const volume = engine.run(mountVolume(engine.environment, [device], { readOnly: false }));
  work(new Calls(engine, volume.fs), volume.fs);
  if (end === "unmount") engine.run(volume.unmount());
  return contents;
}

function syncFile(calls: Calls, ino: number): void {
  calls.engine.run(
    (function* (): Task<void> {
      const status = yield (resume) => calls.fs.fsync(ino, false, resume);
      if (status < 0) throw new Error(`fsync failed: ${status}`);
    })(),
  );
}

function fillAll(calls: Calls): void {
  const directory = calls.directory(ROOT_INO, "dir");
  const nested = calls.directory(directory, "nested");
  calls.file(ROOT_INO, "empty");
  calls.write(calls.file(ROOT_INO, "inline"), 0, bytesOf(700, 1));
  calls.write(calls.file(directory, "small"), 0, bytesOf(5000, 2));
  calls.write(calls.file(nested, "large"), 0, bytesOf(200_000, 3));
  calls.write(calls.file(nested, "sparse"), 1 << 30, bytesOf(10_000, 4));
  const linked = calls.file(ROOT_INO, "linked");
  calls.link(linked, directory, "other name");
  calls.link(linked, nested, "third name");
  calls.symlink(ROOT_INO, "symlink", "dir/small");
  calls.file(ROOT_INO, "fifo", 0o010600);
  calls.file(ROOT_INO, "device", 0o020600);
  const attributes = calls.file(ROOT_INO, "attributes");
  calls.setXattr(attributes, "user.short", bytesOf(20, 5));
  calls.setXattr(attributes, "user.empty", new Uint8Array(0));
  calls.setXattr(attributes, "user.long", bytesOf(5000, 6));
  calls.setXattr(directory, "user.dir", bytesOf(2048, 7));
  const cloned = calls.file(ROOT_INO, "cloned");
  calls.write(cloned, 0, bytesOf(65_536, 9));
  const clone = calls.file(ROOT_INO, "clone");
  calls.clone(cloned, 0, clone, 0, 65_536);
  calls.allocate(calls.file(ROOT_INO, "kept"), 4096, 1 << 20);
  const many = calls.directory(ROOT_INO, "many");
  for (let index = 0; index < 120; index++) calls.file(many, `file number ${index}`);
}

function orphan(calls: Calls): void {
  const ino = calls.file(ROOT_INO, "orphan");
  calls.write(ino, 0, bytesOf(20_000, 8));
  calls.fs.remember(ino, 1);
  calls.sync();
  calls.unlink(ROOT_INO, "orphan");
}

const MAKERS: Record<string, () => SparseBytes> = {
  everything: () =>
    make((calls) => {
      fillAll(calls);
      orphan(calls);
    }, "unmount"),
  fresh: () => make(() => {}, "unmount"),
  journal: () =>
    make((calls) => {
      const directory = calls.directory(ROOT_INO, "dir");
      const first = calls.file(directory, "first");
      calls.write(first, 0, bytesOf(300, 1));
      const second = calls.file(ROOT_INO, "second");
      calls.write(second, 0, bytesOf(9000, 2));
      syncFile(calls, second);
      calls.truncate(second, 5000);
      calls.setXattr(first, "user.short", bytesOf(30, 3));
      calls.symlink(directory, "symlink", "first");
      syncFile(calls, first);
      const third = calls.file(directory, "third");
      calls.write(third, 4096, bytesOf(1 << 20, 4));
      syncFile(calls, third);
      calls.rename(directory, "first", ROOT_INO, "renamed");
      calls.unlink(ROOT_INO, "second");
      syncFile(calls, directory);
    }, "cut"),
};

const made = new Map<string, Base>();

export const BASE_NAMES: readonly string[] = Object.keys(MAKERS);

export function baseOf(name: string): Base {
  let base = made.get(name);
  if (base === undefined) {
    const maker = MAKERS[name];
    if (maker === undefined) throw new Error(`There is no image ${name}`);
    base = takeApart(name, maker());
    made.set(name, base);
  }
  return base;
}

// --- taking them apart ---

function readAt(contents: SparseBytes, block: number, byteLength: number): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  contents.read(block * BLOCK, bytes);
  return bytes;
}

export function pointerBlocks(view: DataView, at: number): number[] {
  return [0, 8, 16].map((part) => u64(view, at + part)).filter((block) => block !== 0);
}

function takeApart(name: string, contents: SparseBytes): Base {
  const blockCount = SIZE_BYTES / BLOCK;
  let slot = 0;
  let newest = -1;
  for (let index = 0; index < 8; index++) {
    const view = viewOf(readAt(contents, 16 + index, BLOCK));
    if (view.getUint32(0, true) !== 0 && u64(view, 80) > newest) {
      newest = u64(view, 80);
      slot = index;
    }
  }
  const superblock = readAt(contents, 16 + slot, BLOCK);
  const header = viewOf(superblock);
  const pages: BasePage[] = [];
  const items: BaseItem[] = [];
  const used = new Set<number>();
  const visit = (tree: number, parent: number, at: number, level: number): void => {
    const from = parent < 0 ? header : viewOf((pages[parent] as BasePage).bytes);
    const blocks = pointerBlocks(from, at);
    const bytes = readAt(contents, blocks[0] as number, PAGE);
    const index = pages.length;
    pages.push({ tree, level, blocks, bytes, parent, pointerAt: at });
    for (const block of blocks) for (let part = 0; part < 4; part++) used.add(block + part);
    const view = viewOf(bytes);
    for (let item = 0; item < view.getUint16(14, true); item++) {
      const slotAt = 64 + item * 20;
      const valueAt = view.getUint16(slotAt + 16, true);
      const length = view.getUint16(slotAt + 18, true);
      if (level > 0) {
        visit(tree, index, valueAt, level - 1);
        continue;
      }
      const high = view.getUint32(slotAt + 12, true);
      items.push({
        tree,
        oid: u64(view, slotAt),
        type: high >>> 24,
        offset: view.getUint32(slotAt + 8, true) + (high & 0xffffff) * 4294967296,
        page: index,
        slotAt,
        at: valueAt,
        length,
      });
    }
  };
  for (let tree = 1; tree <= 3; tree++) {
    const root = 304 + (tree - 1) * 48;
    visit(tree, -1, root, header.getUint32(root + 40, true));
  }
  for (const item of items) {
    if (item.tree !== 1 || item.type !== 6) continue;
    const view = viewOf((pages[item.page] as BasePage).bytes);
    if (view.getUint8(item.at + 4) === 0) continue;
    const block = u64(view, item.at + 16);
    for (let part = 0; part < view.getUint32(item.at, true); part++) used.add(block + part);
  }
  const journalStart = u64(header, 160);
  const commits: BaseCommit[] = [];
  let at = u64(header, 104);
  let sequence = u64(header, 96);
  let chain = superblock.slice(112, 120);
  let transaction = u64(header, 88);
  for (;;) {
    const head = viewOf(readAt(contents, journalStart + at, 64));
    if (head.getUint32(0, true) !== 0x4e524a44 || u64(head, 16) !== sequence) break;
    const bytes = readAt(contents, journalStart + at, head.getUint32(32, true));
    commits.push({ block: journalStart + at, bytes });
    const blocks = Math.ceil(bytes.length / BLOCK);
    for (let part = 0; part < blocks; part++) used.add(journalStart + at + part);
    transaction = u64(head, 40) + head.getUint32(36, true);
    chain = bytes.slice(8, 16);
    sequence++;
    at += blocks;
  }
  const superblockBlocks = [16 + slot, blockCount - 16 + slot];
  for (const block of superblockBlocks) used.add(block);
  for (const start of [176, 184]) for (const part of [0, 1]) used.add(u64(header, start) + part);
  return {
    name,
    contents,
    superblock,
    superblockBlocks,
    pages,
    items,
    commits,
    journalEnd: { block: journalStart + at, sequence, chain, transaction },
    usedBlocks: [...used].sort((a, b) => a - b),
  };
}

// --- putting them together ---

/** Parts of a base that a mutant has changed, and the image that they make. */
export class ImageParts {
  readonly base: Base;
  readonly superblock: Uint8Array;
  readonly pages: Map<number, Uint8Array> = new Map();
  /** By index; behind the last of the base: new ones. */
  readonly commits: Uint8Array[];
  #commitsChanged = false;
  #bitmap: Uint8Array | null = null;
  /** Bytes that are changed after all checksums: nothing makes up for them. */
  readonly flips: { block: number; at: number; mask: number }[] = [];

  constructor(base: Base) {
    this.base = base;
    this.superblock = base.superblock.slice();
    this.commits = base.commits.map((commit) => commit.bytes);
  }

  page(index: number): Uint8Array | null {
    const page = this.base.pages[index];
    if (page === undefined) return null;
    let bytes = this.pages.get(index);
    if (bytes === undefined) {
      bytes = page.bytes.slice();
      this.pages.set(index, bytes);
    }
    return bytes;
  }

  commit(index: number): Uint8Array | null {
    const bytes = this.commits[index];
    if (bytes === undefined) return null;
    this.#commitsChanged = true;
    const copy = bytes === this.base.commits[index]?.bytes ? bytes.slice() : bytes;
    this.commits[index] = copy;
    return copy;
  }

  /** A commit behind the last one, with a right header. */
  addCommit(entries: Uint8Array, transactions: number): void {
    const bytes = new Uint8Array(64 + entries.length);
    bytes.set(entries, 64);
    const view = viewOf(bytes);
    const { journalEnd, commits } = this.base;
    const behind = this.commits.length - commits.length;
    view.setUint32(0, 0x4e524a44, true);
    view.setUint32(4, 1, true);
    setU64(view, 16, journalEnd.sequence + behind);
    view.setUint32(32, bytes.length, true);
    view.setUint32(36, transactions, true);
    setU64(view, 40, journalEnd.transaction);
    bytes.set(this.base.superblock.subarray(48, 56), 48);
    this.commits.push(bytes);
    this.#commitsChanged = true;
  }

  /** The one region's bitmap. */
  bitmap(): Uint8Array {
    if (this.#bitmap === null) {
      const block = this.#bitmapBlocks()[0] as number;
      this.#bitmap = readAt(this.base.contents, block, BLOCK);
    }
    return this.#bitmap;
  }

  #region(): BaseItem | undefined {
    return this.base.items.find((item) => item.tree === 2 && item.type === 16);
  }

  #bitmapBlocks(): number[] {
    const region = this.#region() as BaseItem;
    const slot = (this.base.pages[region.page] as BasePage).bytes[region.at + 24] as number;
    const view = viewOf(this.base.superblock);
    return [u64(view, 176) + slot, u64(view, 184) + slot];
  }

  /** The image; the parts are used up. */
  build(): SparseBytes {
    const { base } = this;
    const image = base.contents.clone();
    const write = (block: number, bytes: Uint8Array): void => {
      if (block >= 0 && (block + Math.ceil(bytes.length / BLOCK)) * BLOCK <= SIZE_BYTES)
        image.write(block * BLOCK, bytes);
    };
    if (this.#bitmap !== null) {
      const region = this.#region() as BaseItem;
      for (const block of this.#bitmapBlocks()) write(block, this.#bitmap);
      this.page(region.page)?.set(checksum(this.#bitmap), region.at);
    }
    // Children come after their parents in the list.
    for (let index = base.pages.length - 1; index >= 0; index--) {
      const bytes = this.pages.get(index);
      if (bytes === undefined) continue;
      const page = base.pages[index] as BasePage;
      const sum = checksum(bytes.subarray(8));
      bytes.set(sum, 0);
      for (const block of page.blocks) write(block, bytes);
      const parent = page.parent < 0 ? this.superblock : this.page(page.parent);
      parent?.set(sum, page.pointerAt + 24);
    }
    if (this.#commitsChanged) this.#writeCommits(write);
    this.superblock.set(checksum(this.superblock.subarray(16)), 8);
    for (const block of base.superblockBlocks) write(block, this.superblock);
    for (const { block, at, mask } of this.flips) {
      const bytes = new Uint8Array(1);
      image.read(block * BLOCK + at, bytes);
      bytes[0] = (bytes[0] as number) ^ mask;
      image.write(block * BLOCK + at, bytes);
    }
    return image;
  }

  #writeCommits(write: (block: number, bytes: Uint8Array) => void): void {
    const { base } = this;
    let chain: Uint8Array = this.superblock.slice(112, 120);
    let end = base.journalEnd.block;
    for (const [index, commit] of this.commits.entries()) {
      const bytes = commit === base.commits[index]?.bytes ? commit.slice() : commit;
      // The first names what the superblock says; whoever changed its own chain meant it.
      if (index > 0) bytes.set(chain, 24);
      else if (base.commits.length === 0) bytes.set(base.journalEnd.chain, 24);
      const length = viewOf(bytes).getUint32(32, true);
      const checked = bytes.subarray(16, Math.max(16, Math.min(length, bytes.length)));
      chain = checksum(checked);
      bytes.set(chain, 8);
      write(base.commits[index]?.block ?? end, bytes);
      if (index >= base.commits.length) end += Math.ceil(bytes.length / BLOCK);
    }
  }
}

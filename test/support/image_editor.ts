/**
 * Changes a volume's image behind the engine's back, and makes every checksum up to the superblock right again: damage
 * that no checksum shows. Decodes pages by itself, by what SPEC.md says.
 */
import type { Core } from "../../host/core/core.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";

const BLOCK = 4096;
const PAGE = 16384;
const RING_SLOTS = 8;

export interface ItemKey {
  readonly oid: number;
  readonly type: number;
  readonly offset: number;
}

/** A page on the way from the root to a leaf. */
export interface PathPage {
  /** First blocks of the copies. */
  readonly blocks: readonly number[];
  readonly bytes: Uint8Array;
  /** The slot that was taken; in the leaf that of the key, −1 if it is not there. */
  readonly slot: number;
}

export class ImageEditor {
  readonly #core: Core;
  readonly #contents: SparseBytes;
  readonly #blockCount: number;
  readonly #scratch: number;

  constructor(core: Core, contents: SparseBytes, sizeBytes: number) {
    this.#core = core;
    this.#contents = contents;
    this.#blockCount = sizeBytes / BLOCK;
    // The end of the memory: nothing runs in the core while an image is edited.
    this.#scratch = core.bytes.length - 2 * PAGE;
  }

  // --- raw bytes ---

  read(block: number, byteLength: number): Uint8Array {
    const bytes = new Uint8Array(byteLength);
    this.#contents.read(block * BLOCK, bytes);
    return bytes;
  }

  write(block: number, bytes: Uint8Array): void {
    this.#contents.write(block * BLOCK, bytes);
  }

  /** Flips bits of one byte and fixes nothing. */
  flip(block: number, byte: number, mask = 1): void {
    const bytes = this.read(block, BLOCK);
    bytes[byte] = (bytes[byte] as number) ^ mask;
    this.write(block, bytes);
  }

  checksum(bytes: Uint8Array): Uint8Array {
    const buffer = new Uint8Array(bytes);
    const at =
      buffer.length <= PAGE
        ? this.#scratch
        : this.#scratch - Math.ceil(buffer.length / BLOCK) * BLOCK;
    this.#core.bytes.set(buffer, at);
    this.#core.exports.xxh3_64(at, buffer.length, this.#scratch + PAGE);
    return this.#core.bytes.slice(this.#scratch + PAGE, this.#scratch + PAGE + 8);
  }

  // --- superblock ---

  /** Blocks of the newest superblock, ring 0 first. */
  superblockBlocks(): [number, number] {
    let newest = -1;
    let slot = 0;
    for (let index = 0; index < RING_SLOTS; index++) {
      const view = viewOf(this.read(16 + index, BLOCK));
      if (view.getUint32(0, true) === 0) continue;
      const sequence = u64(view, 80);
      if (sequence > newest) {
        newest = sequence;
        slot = index;
      }
    }
    return [16 + slot, this.#blockCount - 16 + slot];
  }

  superblock(): Uint8Array {
    return this.read(this.superblockBlocks()[0], BLOCK);
  }

  /** Changes the newest superblock in both rings. */
  editSuperblock(edit: (view: DataView, bytes: Uint8Array) => void): void {
    const bytes = this.superblock();
    edit(viewOf(bytes), bytes);
    bytes.set(this.checksum(bytes.subarray(16)), 8);
    for (const block of this.superblockBlocks()) this.write(block, bytes);
  }

  // --- trees ---

  /** Pages from the root to the leaf where a key is, or would be. */
  path(tree: number, key: ItemKey): PathPage[] {
    const superblock = this.superblock();
    const root = 304 + (tree - 1) * 48;
    let pointer = superblock.subarray(root, root + 40);
    let level = viewOf(superblock).getUint32(root + 40, true);
    const pages: PathPage[] = [];
    for (;;) {
      const blocks = pointerBlocks(pointer);
      const bytes = this.read(blocks[0] as number, PAGE);
      const slot = level > 0 ? childSlot(bytes, key) : keySlot(bytes, key);
      pages.push({ blocks, bytes, slot });
      if (level === 0) return pages;
      const { offset } = slotValue(bytes, slot);
      pointer = bytes.subarray(offset, offset + 40);
      level--;
    }
  }

  /** Changes a page of a key's path: its level, 0 for the leaf. All checksums are right after it. */
  editPage(
    tree: number,
    key: ItemKey,
    level: number,
    edit: (view: DataView, bytes: Uint8Array) => void,
  ): void {
    const path = this.path(tree, key);
    const index = path.length - 1 - level;
    const page = path[index] as PathPage;
    edit(viewOf(page.bytes), page.bytes);
    this.#seal(tree, path, index);
  }

  /** Changes an item's value; `slot` is its slot's offset in the page. */
  editItem(
    tree: number,
    key: ItemKey,
    edit: (value: DataView, context: { page: DataView; slot: number; value: number }) => void,
  ): void {
    this.editPage(tree, key, 0, (view, bytes) => {
      const slot = keySlot(bytes, key);
      if (slot < 0) throw new Error(`There is no item ${key.oid}, ${key.type}, ${key.offset}`);
      const { offset, length } = slotValue(bytes, slot);
      edit(viewOf(bytes.subarray(offset, offset + length)), {
        page: view,
        slot: 64 + slot * 20,
        value: offset,
      });
    });
  }

  /** Removes an item; its value's bytes become dead. */
  removeItem(tree: number, key: ItemKey): void {
    this.editPage(tree, key, 0, (view, bytes) => {
      const slot = keySlot(bytes, key);
      if (slot < 0) throw new Error(`There is no item ${key.oid}, ${key.type}, ${key.offset}`);
      const count = view.getUint16(14, true);
      const { length } = slotValue(bytes, slot);
      bytes.copyWithin(64 + slot * 20, 64 + (slot + 1) * 20, 64 + count * 20);
      view.setUint16(14, count - 1, true);
      view.setUint16(34, view.getUint16(34, true) + length, true);
    });
  }

  /** Inserts an item into the leaf where it belongs, which must have room. */
  insertItem(tree: number, key: ItemKey, value: Uint8Array): void {
    this.editPage(tree, key, 0, (view, bytes) => {
      const count = view.getUint16(14, true);
      let slot = 0;
      while (slot < count && compare(slotKey(bytes, slot), key) < 0) slot++;
      const heap = view.getUint16(32, true) - value.length;
      if (heap < 64 + (count + 1) * 20) throw new Error("The leaf has no room");
      bytes.copyWithin(64 + (slot + 1) * 20, 64 + slot * 20, 64 + count * 20);
      setU64(view, 64 + slot * 20, key.oid);
      setU64(view, 64 + slot * 20 + 8, key.offset);
      view.setUint8(64 + slot * 20 + 15, key.type);
      view.setUint16(64 + slot * 20 + 16, value.length === 0 ? 0 : heap, true);
      view.setUint16(64 + slot * 20 + 18, value.length, true);
      bytes.set(value, heap);
      view.setUint16(14, count + 1, true);
      view.setUint16(32, heap, true);
    });
  }

  /** Every item of a tree, in order. */
  items(tree: number): { key: ItemKey; value: Uint8Array }[] {
    const superblock = this.superblock();
    const root = 304 + (tree - 1) * 48;
    const found: { key: ItemKey; value: Uint8Array }[] = [];
    const visit = (pointer: Uint8Array, level: number): void => {
      const bytes = this.read(pointerBlocks(pointer)[0] as number, PAGE);
      const count = viewOf(bytes).getUint16(14, true);
      for (let slot = 0; slot < count; slot++) {
        const { offset, length } = slotValue(bytes, slot);
        const value = bytes.slice(offset, offset + length);
        if (level > 0) visit(value, level - 1);
        else found.push({ key: slotKey(bytes, slot), value });
      }
    };
    visit(superblock.subarray(root, root + 40), viewOf(superblock).getUint32(root + 40, true));
    return found;
  }

  /** Changes a region's bitmap: both copies, and the checksum in its item. The counts are the caller's. */
  editBitmap(region: number, edit: (bitmap: Uint8Array, item: DataView) => void): void {
    const superblock = viewOf(this.superblock());
    const mapBlocks = superblock.getUint32(152, true) / 32768;
    const key = { oid: 0, type: 16, offset: region };
    this.editItem(2, key, (item) => {
      const blocks = [176, 184].map(
        (start) => u64(superblock, start) + (region * 2 + item.getUint8(24)) * mapBlocks,
      );
      const bitmap = this.read(blocks[0] as number, mapBlocks * BLOCK);
      edit(bitmap, item);
      for (const block of blocks) this.write(block, bitmap);
      new Uint8Array(item.buffer, item.byteOffset, 8).set(this.checksum(bitmap));
    });
  }

  /** Blocks of a region's bitmap, both copies. */
  bitmapBlocks(region: number): number[] {
    const superblock = viewOf(this.superblock());
    const mapBlocks = superblock.getUint32(152, true) / 32768;
    const found = this.items(2).find(({ key }) => key.type === 16 && key.offset === region);
    const slot = found?.value[24] ?? 0;
    return [176, 184].map((start) => u64(superblock, start) + (region * 2 + slot) * mapBlocks);
  }

  /** Makes the checksums of a page and of all above it right, and writes them. */
  #seal(tree: number, path: readonly PathPage[], changed: number): void {
    let checksum = new Uint8Array(8);
    for (let index = changed; index >= 0; index--) {
      const page = path[index] as PathPage;
      if (index < changed) {
        const { offset } = slotValue(page.bytes, page.slot);
        page.bytes.set(checksum, offset + 24);
      }
      checksum = new Uint8Array(this.checksum(page.bytes.subarray(8)));
      page.bytes.set(checksum, 0);
      for (const block of page.blocks) this.write(block, page.bytes);
    }
    this.editSuperblock((_view, bytes) => bytes.set(checksum, 304 + (tree - 1) * 48 + 24));
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function u64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 4294967296;
}

export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 4294967296), true);
}

function pointerBlocks(pointer: Uint8Array): number[] {
  const view = viewOf(pointer);
  return [0, 8, 16].map((at) => u64(view, at)).filter((address) => address !== 0);
}

function slotKey(bytes: Uint8Array, slot: number): ItemKey {
  const view = viewOf(bytes);
  const at = 64 + slot * 20;
  const high = view.getUint32(at + 12, true);
  return {
    oid: u64(view, at),
    type: high >>> 24,
    offset: view.getUint32(at + 8, true) + (high & 0xffffff) * 4294967296,
  };
}

function slotValue(bytes: Uint8Array, slot: number): { offset: number; length: number } {
  const view = viewOf(bytes);
  const at = 64 + slot * 20;
  return { offset: view.getUint16(at + 16, true), length: view.getUint16(at + 18, true) };
}

function compare(a: ItemKey, b: ItemKey): number {
  return a.oid - b.oid || a.type - b.type || a.offset - b.offset;
}

function keySlot(bytes: Uint8Array, key: ItemKey): number {
  const count = viewOf(bytes).getUint16(14, true);
  for (let slot = 0; slot < count; slot++) {
    if (compare(slotKey(bytes, slot), key) === 0) return slot;
  }
  return -1;
}

function childSlot(bytes: Uint8Array, key: ItemKey): number {
  const count = viewOf(bytes).getUint16(14, true);
  let slot = 0;
  while (slot + 1 < count && compare(slotKey(bytes, slot + 1), key) <= 0) slot++;
  return slot;
}

/**
 * Pointers to B+tree pages, and the records that name a tree's root: SPEC §4. The core reads the same layout
 * (assembly/format/page_format.ts).
 *
 * A copy's address is a u64: device index in bits 48 to 63, block number below; 0 is no copy (block 0 of device 0 is
 * never a page).
 */
export const POINTER_BYTES = 40;
export const POINTER_COPIES = 3;
export const POINTER_CHECKSUM = 24;
export const POINTER_GENERATION = 32;

/** A root: a page pointer, then the level of its page (0 = leaf) and the tree's id. */
export const ROOT_LEVEL = 40;
export const ROOT_TREE_ID = 44;
export const ROOT_BYTES = 48;

export const TREE_FS = 1;
export const TREE_SPACE = 2;
export const TREE_POOL = 3;
export const TREE_COUNT = 3;

/** Header of a page: SPEC §4.1. */
export const PAGE_CHECKSUM = 0;
export const PAGE_MAGIC_AT = 8;
export const PAGE_LEVEL = 12;
export const PAGE_TREE_ID = 13;
export const PAGE_SLOT_COUNT = 14;
export const PAGE_GENERATION = 16;
export const PAGE_ADDRESS = 24;
export const PAGE_MAGIC = 0x47504644;

/** Low and high words of an address. */
export function addressLow(block: number): number {
  return block >>> 0;
}

export function addressHigh(device: number, block: number): number {
  return ((device << 16) | Math.floor(block / 4294967296)) >>> 0;
}

export function addressDevice(high: number): number {
  return high >>> 16;
}

export function addressBlock(low: number, high: number): number {
  return (high & 0xffff) * 4294967296 + (low >>> 0);
}

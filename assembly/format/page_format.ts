/**
 * The record layouts of B+tree pages, page pointers and roots: format/SPEC.md §4, mirrored by
 * host/format/page_pointer.ts. No logic.
 *
 *     0      header, 64 bytes
 *     64     slots, 20 bytes each, ascending by key
 *            room
 *     heapStart  heap: values and dead bytes, down from the page's end
 *     16384
 */

export const PAGE_BYTES: u32 = 16384;
export const PAGE_SHIFT: u32 = 14;
export const PAGE_MAGIC: u32 = 0x47504644; // "DFPG"
export const LEVEL_MAX: u32 = 8;

/** The checksum comes first and covers all that follows. */
@unmanaged
export class PageHeader {
  checksum: u64;
  magic: u32;
  level: u8; // 0 = leaf
  treeId: u8;
  slotCount: u16;
  generation: u64;
  address: u64; // of this page's first copy: device << 48 | block
  heapStart: u16; // no byte below is in the heap; 16384 when that is empty
  deadBytes: u16; // bytes of the heap that belong to no value
  reserved0: u32;
  reserved1: u64;
  reserved2: u64;
  reserved3: u64;
}
if (offsetof<PageHeader>("magic") != 8) ERROR("PageHeader.magic is not at 8");
if (offsetof<PageHeader>("level") != 12) ERROR("PageHeader.level is not at 12");
if (offsetof<PageHeader>("treeId") != 13) ERROR("PageHeader.treeId is not at 13");
if (offsetof<PageHeader>("slotCount") != 14) ERROR("PageHeader.slotCount is not at 14");
if (offsetof<PageHeader>("generation") != 16) ERROR("PageHeader.generation is not at 16");
if (offsetof<PageHeader>("address") != 24) ERROR("PageHeader.address is not at 24");
if (offsetof<PageHeader>("heapStart") != 32) ERROR("PageHeader.heapStart is not at 32");
if (offsetof<PageHeader>("deadBytes") != 34) ERROR("PageHeader.deadBytes is not at 34");
if (offsetof<PageHeader>() != 64) ERROR("PageHeader is not 64 bytes");

/** First slot; also where the heap may at most reach down to. */
export const SLOTS: u32 = 64;

/** A slot: packed, so by offsets. A value of no bytes has the offset 0. */
export const SLOT_BYTES: u32 = 20;
export const SLOT_OID: usize = 0; // u64
export const SLOT_TYPE_OFFSET: usize = 8; // u64: type << 56 | offset
export const SLOT_VALUE_OFFSET: usize = 16; // u16, from the page's start
export const SLOT_VALUE_LENGTH: usize = 18; // u16

export const KEY_OFFSET_BITS: u64 = 56;
export const KEY_OFFSET_MASK: u64 = (1 << 56) - 1;
/** The numbers of a key are exact as f64 up to here. */
export const KEY_NUMBER_MAX: u64 = 1 << 53;

/** At least three items fit into a page: what split relies on. */
export const VALUE_BYTES_MAX: u32 = 4200;

/** A page pointer: the value of an interior page's item, and the first part of a root record. */
export const POINTER_COPY0: usize = 0; // u64 address, as PageHeader.address; then two more copies, 0 = none
export const POINTER_BYTES: u32 = 40;

/** A root record: a page pointer, then the level of its page. */
export const ROOT_LEVEL: usize = 40; // u32

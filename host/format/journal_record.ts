/**
 * Commits and entries of the journal: SPEC §7. A commit is one write: a header, then entries, padded with zeros to a
 * block; it contains whole transactions only.
 */
export const COMMIT_MAGIC = 0x4e524a44; // "DJRN"
export const COMMIT_MAGIC_AT = 0; // u32
export const COMMIT_VERSION = 4; // u32: 1
export const COMMIT_CHECKSUM = 8; // u64: XXH3-64 of bytes 16 to byteLength
export const COMMIT_SEQUENCE = 16; // u64
export const COMMIT_CHAIN = 24; // u64: checksum of the commit before
export const COMMIT_BYTE_LENGTH = 32; // u32: header and entries
export const COMMIT_TRANSACTIONS = 36; // u32
export const COMMIT_FIRST_TRANSACTION = 40; // u64
export const COMMIT_POOL = 48; // first 8 bytes of the pool's uuid
export const COMMIT_HEADER_BYTES = 64;
export const COMMIT_CHECKED_FROM = 16;

/**
 * Entries, each a multiple of 8 bytes long and beginning with its kind:
 *
 * - PUT: kind u8, item type u8, value length u16, tree u32, object id u64, offset u64, value
 * - REMOVE: the same with value length 0
 * - END: kind u8, 7 zeros, transaction sequence u64: closes the entries before it
 * - ALLOCATE, FREE: kind u8, 3 zeros, block count u32, first block u64 (device in the top 16 bits)
 * - DATA: kind u8, 3 zeros, byte length u32, ino u64, offset u64, file size u64, mtime s64, mtime ns u32, 4 zeros, bytes
 * - TRUNCATE: kind u8, 7 zeros, ino u64, new size u64: buffered data beyond it is void
 */
export const ENTRY_PUT = 1;
export const ENTRY_REMOVE = 2;
export const ENTRY_END = 3;
export const ENTRY_ALLOCATE = 4;
export const ENTRY_FREE = 5;
export const ENTRY_DATA = 6;
export const ENTRY_TRUNCATE = 7;

export const ENTRY_ITEM_BYTES = 24;
export const ENTRY_END_BYTES = 16;
export const ENTRY_RANGE_BYTES = 16;
export const ENTRY_DATA_BYTES = 48;
export const ENTRY_TRUNCATE_BYTES = 24;

/** Length of the entry at an address, or 0 if there is none that ends by `end`. */
export function entryLength(view: DataView, at: number, end: number): number {
  if (end - at < 16) return 0;
  let length = 0;
  switch (view.getUint8(at)) {
    case ENTRY_PUT:
      length = ENTRY_ITEM_BYTES + ((view.getUint16(at + 2, true) + 7) & ~7);
      break;
    case ENTRY_REMOVE:
      length = ENTRY_ITEM_BYTES;
      break;
    case ENTRY_END:
      length = ENTRY_END_BYTES;
      break;
    case ENTRY_ALLOCATE:
    case ENTRY_FREE:
      length = ENTRY_RANGE_BYTES;
      break;
    case ENTRY_DATA:
      length = ENTRY_DATA_BYTES + Math.ceil(view.getUint32(at + 4, true) / 8) * 8;
      break;
    case ENTRY_TRUNCATE:
      length = ENTRY_TRUNCATE_BYTES;
      break;
  }
  return length > end - at ? 0 : length;
}

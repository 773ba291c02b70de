/**
 * An extent: where a run of a file's blocks lies, with a checksum for each unit of 4 KiB: SPEC §5.6. The item's key
 * offset is the file offset in bytes, a multiple of 4,096. An unwritten one only keeps space: it has no checksums.
 */
export const EXTENT_BLOCK_COUNT = 0; // u32
export const EXTENT_UNIT_SHIFT = 4; // u8: log2 of the unit's bytes; 12, or 0: unwritten
export const EXTENT_COMPRESSION = 5; // u8: 0 none
export const EXTENT_REDUNDANCY = 6; // u8: 0 whole copies
export const EXTENT_COPY_COUNT = 7; // u8: 1 to 3
export const EXTENT_GENERATION = 8; // u64: checkpoint that will first contain it
export const EXTENT_ADDRESSES = 16; // u64 each
export const EXTENT_UNIT_BYTES = 4096;
export const EXTENT_UNIT_SHIFT_VALUE = 12;
/** So that the checksums of the largest extent (2 KiB) leave room for seven in a page. */
export const EXTENT_BLOCKS_MAX = 256;
/** Of an unwritten extent: the blocks of the smallest region. */
export const EXTENT_UNWRITTEN_BLOCKS_MAX = 32768;

/** Length of a written extent's value. */
export function extentBytes(copyCount: number, blockCount: number): number {
  return EXTENT_ADDRESSES + copyCount * 8 + blockCount * 8;
}

/** Whether the extent at an address has data; otherwise it reads as zeros. */
export function extentIsWritten(view: DataView, at: number): boolean {
  return view.getUint8(at + EXTENT_UNIT_SHIFT) !== 0;
}

/** Offset of the checksums within the value; length of an unwritten extent's. */
export function extentChecksums(copyCount: number): number {
  return EXTENT_ADDRESSES + copyCount * 8;
}

/** 0 if the value is a valid extent, else what is wrong with it. */
export function extentProblem(view: DataView, at: number, byteLength: number): string | null {
  if (byteLength < EXTENT_ADDRESSES + 8) return "too short";
  const isWritten = extentIsWritten(view, at);
  const count = view.getUint32(at + EXTENT_BLOCK_COUNT, true);
  if (count === 0 || count > (isWritten ? EXTENT_BLOCKS_MAX : EXTENT_UNWRITTEN_BLOCKS_MAX))
    return `block count ${count}`;
  if (isWritten && view.getUint8(at + EXTENT_UNIT_SHIFT) !== EXTENT_UNIT_SHIFT_VALUE)
    return "unit size";
  if (view.getUint8(at + EXTENT_COMPRESSION) !== 0) return "unknown compression";
  if (view.getUint8(at + EXTENT_REDUNDANCY) !== 0) return "unknown redundancy";
  const copies = view.getUint8(at + EXTENT_COPY_COUNT);
  if (copies === 0 || copies > 3) return `copy count ${copies}`;
  if (byteLength !== (isWritten ? extentBytes(copies, count) : extentChecksums(copies)))
    return `length ${byteLength}`;
  return null;
}

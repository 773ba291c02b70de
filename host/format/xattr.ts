/**
 * Extended attributes: SPEC §5.2. Item (ino, XATTR, hash of the name): u32 value length, u8 name length, 3 zeros, name,
 * and the value if it is at most XATTR_INLINE_BYTES; a larger one lies in items (ino, XATTR_DATA, hash × 64 + index) of
 * XATTR_CHUNK_BYTES each, the last one shorter.
 */
export const XATTR_VALUE_LENGTH = 0; // u32
export const XATTR_NAME_LENGTH = 4; // u8
export const XATTR_NAME = 8;
export const XATTR_INLINE_BYTES = 2048;
export const XATTR_CHUNK_BYTES = 2048;
export const XATTR_CHUNKS_MAX = 32;
export const XATTR_VALUE_BYTES_MAX = 65536;
/** Two names of one inode with the same 44-bit hash cannot both exist: −ENOSPC. */
export const XATTR_HASH_SPAN: number = 2 ** 44;

export function xattrChunkCount(valueLength: number): number {
  return valueLength <= XATTR_INLINE_BYTES ? 0 : Math.ceil(valueLength / XATTR_CHUNK_BYTES);
}

/**
 * Directory entries: SPEC §5.5. Item (directory's ino, DENTRY, hash of the name); its value is the entries whose names
 * have that hash, one after the other: almost always one.
 */
export const DENTRY_INO = 0; // u64
export const DENTRY_TYPE = 8; // u8: S_IFMT >> 12, as in dirent
export const DENTRY_NAME_LENGTH = 9; // u8: 1 to 255
export const DENTRY_SLOT = 10; // u8: 0 to 15, unique among the item's entries, fixed for the entry's life
export const DENTRY_NAME = 12;
/** Entries whose names share a hash. */
export const DENTRY_SLOTS = 16;

/** Bytes of one entry. */
export function dentryBytes(nameLength: number): number {
  return DENTRY_NAME + nameLength;
}

/** 0 is kept for no hash. */
export function dentryHash(nameHash: number): number {
  return nameHash === 0 ? 1 : nameHash;
}

/**
 * Position in a directory listing: cookies 1 and 2 follow "." and "..", an entry's is hash × 16 + slot + 1 (< 2^53);
 * a listing goes on with the first entry whose hash × 16 + slot is not less.
 */
export function dentryCookie(hash: number, slot: number): number {
  return hash * DENTRY_SLOTS + slot + 1;
}

/** What is wrong with the entries of an item, or null. */
export function dentriesProblem(view: DataView, at: number, byteLength: number): string | null {
  let position = 0;
  let slots = 0;
  while (position < byteLength) {
    if (byteLength - position < DENTRY_NAME + 1) return "an entry is cut off";
    const nameLength = view.getUint8(at + position + DENTRY_NAME_LENGTH);
    const slot = view.getUint8(at + position + DENTRY_SLOT);
    if (nameLength === 0 || position + dentryBytes(nameLength) > byteLength)
      return "a name is cut off";
    if (slot >= DENTRY_SLOTS || (slots & (1 << slot)) !== 0) return `slot ${slot}`;
    slots |= 1 << slot;
    position += dentryBytes(nameLength);
  }
  return byteLength === 0 ? "no entries" : null;
}

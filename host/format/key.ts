/** Types of items in a file system's tree: SPEC §5. The key is (object id, type, offset). */
export const ITEM_INODE = 1;
export const ITEM_XATTR = 2;
export const ITEM_XATTR_DATA = 3;
export const ITEM_SYMLINK = 4;
export const ITEM_DENTRY = 5;
export const ITEM_EXTENT = 6;
export const ITEM_INLINE = 7;
export const ITEM_ORPHAN = 8;
export const ITEM_SHARED = 9;
export const ITEM_QUOTA = 10;

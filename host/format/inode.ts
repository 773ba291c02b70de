/**
 * The inode record: SPEC §5.1. Item (ino, INODE, 0).
 */
export const INODE_MODE = 0; // u32: S_IFMT and 07777
export const INODE_NLINK = 4; // u32
export const INODE_UID = 8; // u32
export const INODE_GID = 12; // u32
export const INODE_SIZE = 16; // u64: what is durable; buffered data may have made the file larger
export const INODE_BLOCKS = 24; // u64: blocks of 4 KiB in extents
export const INODE_ATIME = 32; // s64 seconds
export const INODE_MTIME = 40; // s64
export const INODE_CTIME = 48; // s64
export const INODE_BTIME = 56; // s64
export const INODE_ATIME_NS = 64; // u32
export const INODE_MTIME_NS = 68; // u32
export const INODE_CTIME_NS = 72; // u32
export const INODE_BTIME_NS = 76; // u32
export const INODE_GENERATION = 80; // u32
export const INODE_FLAGS = 84; // u32: FS_*_FL, and the two below
export const INODE_RDEV = 88; // u32
export const INODE_PROJECT = 92; // u32
export const INODE_PARENT = 96; // u64: of a directory
export const INODE_ENTRIES = 104; // u32: of a directory
export const INODE_XATTRS = 108; // u32: count
export const INODE_BYTES = 112;

/** The file may have unwritten extents; not shown to anybody. */
export const INODE_PREALLOCATED = 0x04000000;
/** Blocks of the file may belong to other files too; not shown to anybody. */
export const INODE_SHARED = 0x08000000;

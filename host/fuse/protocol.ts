/**
 * The kernel's FUSE ABI as numbers: opcodes, flags, and the offsets of every struct that we read or write.
 *
 * Source: include/uapi/linux/fuse.h, versions 7.31 (Linux 5.4, the oldest we serve) to 7.45 (Linux 6.18). Structs only
 * ever grow at their end or in reserved fields, so one set of offsets serves all of them. All numbers are in the
 * machine's order, which is little-endian wherever we run. Offsets of requests count from the end of the header.
 */

export const FUSE_MAJOR = 7;
/** The newest minor version that this code knows, and the oldest that it serves. */
export const FUSE_MINOR = 45;
export const FUSE_MINOR_MIN = 31;
export const FUSE_ROOT_ID = 1;

// Opcodes -----------------------------------------------------------------------------------------------------------

export const FUSE_LOOKUP = 1;
export const FUSE_FORGET = 2;
export const FUSE_GETATTR = 3;
export const FUSE_SETATTR = 4;
export const FUSE_READLINK = 5;
export const FUSE_SYMLINK = 6;
export const FUSE_MKNOD = 8;
export const FUSE_MKDIR = 9;
export const FUSE_UNLINK = 10;
export const FUSE_RMDIR = 11;
export const FUSE_RENAME = 12;
export const FUSE_LINK = 13;
export const FUSE_OPEN = 14;
export const FUSE_READ = 15;
export const FUSE_WRITE = 16;
export const FUSE_STATFS = 17;
export const FUSE_RELEASE = 18;
export const FUSE_FSYNC = 20;
export const FUSE_SETXATTR = 21;
export const FUSE_GETXATTR = 22;
export const FUSE_LISTXATTR = 23;
export const FUSE_REMOVEXATTR = 24;
export const FUSE_FLUSH = 25;
export const FUSE_INIT = 26;
export const FUSE_OPENDIR = 27;
export const FUSE_READDIR = 28;
export const FUSE_RELEASEDIR = 29;
export const FUSE_FSYNCDIR = 30;
export const FUSE_GETLK = 31;
export const FUSE_SETLK = 32;
export const FUSE_SETLKW = 33;
export const FUSE_ACCESS = 34;
export const FUSE_CREATE = 35;
export const FUSE_INTERRUPT = 36;
export const FUSE_BMAP = 37;
export const FUSE_DESTROY = 38;
export const FUSE_IOCTL = 39;
export const FUSE_POLL = 40;
export const FUSE_NOTIFY_REPLY = 41;
export const FUSE_BATCH_FORGET = 42;
export const FUSE_FALLOCATE = 43;
export const FUSE_READDIRPLUS = 44;
export const FUSE_RENAME2 = 45;
export const FUSE_LSEEK = 46;
export const FUSE_COPY_FILE_RANGE = 47;
export const FUSE_SETUPMAPPING = 48;
export const FUSE_REMOVEMAPPING = 49;
export const FUSE_SYNCFS = 50;
export const FUSE_TMPFILE = 51;
export const FUSE_STATX = 52;
export const FUSE_COPY_FILE_RANGE_64 = 53;
/** One past the largest opcode that we know. */
export const OPCODE_COUNT = 54;

/** Names for statistics and logs, by opcode. */
export const OPCODE_NAMES: readonly string[] = (
  "0 lookup forget getattr setattr readlink symlink 7 mknod mkdir unlink rmdir rename link open read write statfs " +
  "release 19 fsync setxattr getxattr listxattr removexattr flush init opendir readdir releasedir fsyncdir getlk " +
  "setlk setlkw access create interrupt bmap destroy ioctl poll notify_reply batch_forget fallocate readdirplus " +
  "rename2 lseek copy_file_range setupmapping removemapping syncfs tmpfile statx copy_file_range_64"
).split(" ");

export function opcodeName(opcode: number): string {
  return OPCODE_NAMES[opcode] ?? String(opcode);
}

// Headers -----------------------------------------------------------------------------------------------------------

/** struct fuse_in_header: u32 len, u32 opcode, u64 unique, u64 nodeid, u32 uid, gid, pid, u16 total_extlen, padding. */
export const IN_HEADER_BYTES = 40;
export const IN_LEN = 0;
export const IN_OPCODE = 4;
export const IN_UNIQUE = 8;
export const IN_NODEID = 16;
export const IN_UID = 24;
export const IN_GID = 28;
export const IN_PID = 32;
/** Length of extensions after the arguments, in units of 8 bytes (7.38). */
export const IN_TOTAL_EXTLEN = 36;

/** struct fuse_out_header: u32 len, s32 error, u64 unique (0: a notification, whose code is in `error`). */
export const OUT_HEADER_BYTES = 16;
export const OUT_LEN = 0;
export const OUT_ERROR = 4;
export const OUT_UNIQUE = 8;
/** A reply with an error of −512 or below is refused. */
export const ERROR_MAX = 511;
/** What reading the channel of an aborted connection gives, with ABORT_ERROR; of an unmounted one, ENODEV. */
export const ECONNABORTED = 103;

// Attributes and entries --------------------------------------------------------------------------------------------

/** struct fuse_attr. */
export const ATTR_BYTES = 88;
export const ATTR_INO = 0;
export const ATTR_SIZE = 8;
export const ATTR_BLOCKS = 16;
export const ATTR_ATIME = 24;
export const ATTR_MTIME = 32;
export const ATTR_CTIME = 40;
export const ATTR_ATIME_NS = 48;
export const ATTR_MTIME_NS = 52;
export const ATTR_CTIME_NS = 56;
export const ATTR_MODE = 60;
export const ATTR_NLINK = 64;
export const ATTR_UID = 68;
export const ATTR_GID = 72;
export const ATTR_RDEV = 76;
export const ATTR_BLKSIZE = 80;
export const ATTR_FLAGS = 84;

/** struct fuse_attr_out: u64 attr_valid, u32 attr_valid_nsec, u32 dummy, attr. */
export const ATTR_OUT_BYTES = 104;
export const ATTR_OUT_VALID = 0;
export const ATTR_OUT_VALID_NS = 8;
export const ATTR_OUT_DUMMY = 12;
export const ATTR_OUT_ATTR = 16;

/** struct fuse_entry_out. */
export const ENTRY_OUT_BYTES = 128;
export const ENTRY_NODEID = 0;
export const ENTRY_GENERATION = 8;
export const ENTRY_VALID = 16;
export const ENTRY_ATTR_VALID = 24;
export const ENTRY_VALID_NS = 32;
export const ENTRY_ATTR_VALID_NS = 36;
export const ENTRY_ATTR = 40;

/** struct fuse_statx (7.39): as statx(2), without the mount id. */
export const STATX_BYTES = 256;
export const STATX_MASK = 0;
export const STATX_BLKSIZE = 4;
export const STATX_ATTRIBUTES = 8;
export const STATX_NLINK = 16;
export const STATX_UID = 20;
export const STATX_GID = 24;
export const STATX_MODE = 28;
export const STATX_INO = 32;
export const STATX_SIZE = 40;
export const STATX_BLOCKS = 48;
export const STATX_ATTRIBUTES_MASK = 56;
export const STATX_ATIME = 64;
export const STATX_BTIME = 80;
export const STATX_CTIME = 96;
export const STATX_MTIME = 112;
export const STATX_RDEV_MAJOR = 128;
export const STATX_RDEV_MINOR = 132;
/** struct fuse_statx_out: u64 attr_valid, u32 attr_valid_nsec, u32 flags, u64 spare[2], statx. */
export const STATX_OUT_BYTES = 288;
export const STATX_OUT_STAT = 32;
/** STATX_BASIC_STATS | STATX_BTIME of linux/stat.h. */
export const STATX_BASIC_AND_BTIME = 0xfff;

// Requests: offsets after the header, and how long the fixed part is ------------------------------------------------

/** u64 nlookup. */
export const FORGET_IN_BYTES = 8;
/** u32 count, u32 dummy; then count of (u64 nodeid, u64 nlookup). */
export const BATCH_FORGET_IN_BYTES = 8;
export const FORGET_ONE_BYTES = 16;

/** u32 flags, u32 dummy, u64 fh. */
export const GETATTR_IN_BYTES = 16;

export const SETATTR_IN_BYTES = 88;
export const SETATTR_VALID = 0;
export const SETATTR_SIZE = 16;
export const SETATTR_ATIME = 32;
export const SETATTR_MTIME = 40;
export const SETATTR_CTIME = 48;
export const SETATTR_ATIME_NS = 56;
export const SETATTR_MTIME_NS = 60;
export const SETATTR_CTIME_NS = 64;
export const SETATTR_MODE = 68;
export const SETATTR_UID = 76;
export const SETATTR_GID = 80;
export const FATTR_MODE: number = 1 << 0;
export const FATTR_UID: number = 1 << 1;
export const FATTR_GID: number = 1 << 2;
export const FATTR_SIZE: number = 1 << 3;
export const FATTR_ATIME: number = 1 << 4;
export const FATTR_MTIME: number = 1 << 5;
export const FATTR_FH: number = 1 << 6;
export const FATTR_ATIME_NOW: number = 1 << 7;
export const FATTR_MTIME_NOW: number = 1 << 8;
export const FATTR_LOCKOWNER: number = 1 << 9;
export const FATTR_CTIME: number = 1 << 10;
export const FATTR_KILL_SUIDGID: number = 1 << 11;

/** u32 mode, rdev, umask, padding; then the name. */
export const MKNOD_IN_BYTES = 16;
/** u32 mode, umask; then the name. */
export const MKDIR_IN_BYTES = 8;
/** u32 flags, mode, umask, open_flags; then the name. */
export const CREATE_IN_BYTES = 16;
/** u64 newdir; then both names. */
export const RENAME_IN_BYTES = 8;
/** u64 newdir, u32 flags, u32 padding; then both names. */
export const RENAME2_IN_BYTES = 16;
/** u64 oldnodeid; then the name. */
export const LINK_IN_BYTES = 8;
/** u32 flags, open_flags. */
export const OPEN_IN_BYTES = 8;
/** u64 fh, u32 open_flags, s32 backing_id. */
export const OPEN_OUT_BYTES = 16;
export const FOPEN_DIRECT_IO: number = 1 << 0;
export const FOPEN_KEEP_CACHE: number = 1 << 1;
export const FOPEN_CACHE_DIR: number = 1 << 3;

/** u64 fh, u64 offset, u32 size, u32 read_flags, u64 lock_owner, u32 flags, u32 padding. READDIR has the same. */
export const READ_IN_BYTES = 40;
export const READ_OFFSET = 8;
export const READ_SIZE = 16;
export const READ_OPEN_FLAGS = 32;
/** u64 fh, u64 offset, u32 size, u32 write_flags, u64 lock_owner, u32 flags, u32 padding; then the data. */
export const WRITE_IN_BYTES = 40;
export const WRITE_OFFSET = 8;
export const WRITE_SIZE = 16;
export const WRITE_FLAGS = 20;
/** The descriptor's flags, with O_DSYNC and O_SYNC also for a single write that asks for it. */
export const WRITE_OPEN_FLAGS = 32;
/** Of the flags: also set in O_SYNC. The same on all processors that Node runs on. */
export const O_DSYNC = 0o10000;
export const FUSE_WRITE_CACHE: number = 1 << 0;
export const FUSE_WRITE_KILL_SUIDGID: number = 1 << 2;
/** u32 size, u32 padding. */
export const WRITE_OUT_BYTES = 8;

/** u64 blocks, bfree, bavail, files, ffree, u32 bsize, namelen, frsize, padding, spare[6]. */
export const STATFS_OUT_BYTES = 80;

/** u64 fh, u32 flags, u32 release_flags, u64 lock_owner. */
export const RELEASE_IN_BYTES = 24;
/** u64 fh, u32 unused, u32 padding, u64 lock_owner. */
export const FLUSH_IN_BYTES = 24;
/** u64 fh, u32 flags, u32 padding. */
export const FSYNC_IN_BYTES = 16;
export const FSYNC_FLAGS = 8;
export const FUSE_FSYNC_FDATASYNC: number = 1 << 0;
/** u64 padding. */
export const SYNCFS_IN_BYTES = 8;

/** u32 size, flags; with SETXATTR_EXT u32 setxattr_flags, padding too; then the name and the value. */
export const SETXATTR_IN_BYTES = 8;
export const SETXATTR_EXT_IN_BYTES = 16;
export const FUSE_SETXATTR_ACL_KILL_SGID: number = 1 << 0;
/** u32 size, padding; then, for GETXATTR, the name. */
export const GETXATTR_IN_BYTES = 8;
/** u32 size, padding. */
export const GETXATTR_OUT_BYTES = 8;

/** u64 fh, u32 flags, u32 cmd, u64 arg, u32 in_size, u32 out_size. */
export const IOCTL_IN_BYTES = 32;
export const IOCTL_CMD = 12;
/** s32 result, u32 flags, in_iovs, out_iovs; then the data. */
export const IOCTL_OUT_BYTES = 16;
/** linux/fs.h: an unsigned long, or 32 bits of one. */
export const FS_IOC_GETFLAGS = 0x80086601;
export const FS_IOC_SETFLAGS = 0x40086602;
export const FS_IOC_GETVERSION = 0x80087601;
/** struct fsxattr: u32 xflags, extsize, nextents, projid, cowextsize, then 8 bytes of padding. */
export const FS_IOC_FSGETXATTR = 0x801c581f;
export const FS_IOC_FSSETXATTR = 0x401c5820;
export const FSXATTR_BYTES = 28;
export const FSXATTR_PROJID = 12;
/** FUSE_GETATTR, bit of the flags: a file is open, and asked about for its sake. */
export const FUSE_GETATTR_FH = 1;
/** u64 fh, u64 offset, u64 length, u32 mode, u32 padding. */
export const FALLOCATE_IN_BYTES = 32;
/** u64 fh, u64 offset, u32 whence, u32 padding. */
export const LSEEK_IN_BYTES = 24;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
/** u64 offset. */
export const LSEEK_OUT_BYTES = 8;
/** u64 fh_in, off_in, nodeid_out, fh_out, off_out, len, flags. */
export const COPY_FILE_RANGE_IN_BYTES = 56;
/** u32 getattr_flags, u32 reserved, u64 fh, u32 sx_flags, u32 sx_mask. */
export const STATX_IN_BYTES = 24;

/** u64 ino, u64 off, u32 namelen, u32 type, then the name; the whole aligned to 8. */
export const DIRENT_BYTES = 24;
export const DIRENT_OFF = 8;
export const DIRENT_NAMELEN = 16;
export const DIRENT_TYPE = 20;
/** A fuse_entry_out, then a dirent. */
export const DIRENTPLUS_BYTES: number = ENTRY_OUT_BYTES + DIRENT_BYTES;

// INIT --------------------------------------------------------------------------------------------------------------

/** u32 major, minor, max_readahead, flags, then (with INIT_EXT, 7.36) flags2, unused[11]. */
export const INIT_IN_BYTES_MIN = 16;
export const INIT_IN_BYTES = 64;
export const INIT_IN_MAX_READAHEAD = 8;
export const INIT_IN_FLAGS = 12;
export const INIT_IN_FLAGS2 = 16;

/** struct fuse_init_out. */
export const INIT_OUT_BYTES = 64;
export const INIT_OUT_MAX_READAHEAD = 8;
export const INIT_OUT_FLAGS = 12;
export const INIT_OUT_MAX_BACKGROUND = 16;
export const INIT_OUT_CONGESTION = 18;
export const INIT_OUT_MAX_WRITE = 20;
export const INIT_OUT_TIME_GRAN = 24;
export const INIT_OUT_MAX_PAGES = 28;
export const INIT_OUT_FLAGS2 = 32;

export const FUSE_ASYNC_READ: number = 1 << 0;
export const FUSE_POSIX_LOCKS: number = 1 << 1;
export const FUSE_ATOMIC_O_TRUNC: number = 1 << 3;
export const FUSE_EXPORT_SUPPORT: number = 1 << 4;
export const FUSE_BIG_WRITES: number = 1 << 5;
export const FUSE_DONT_MASK: number = 1 << 6;
export const FUSE_IOCTL_DIR: number = 1 << 11;
export const FUSE_FLOCK_LOCKS: number = 1 << 10;
export const FUSE_AUTO_INVAL_DATA: number = 1 << 12;
export const FUSE_DO_READDIRPLUS: number = 1 << 13;
export const FUSE_READDIRPLUS_AUTO: number = 1 << 14;
export const FUSE_ASYNC_DIO: number = 1 << 15;
export const FUSE_WRITEBACK_CACHE: number = 1 << 16;
export const FUSE_NO_OPEN_SUPPORT: number = 1 << 17;
export const FUSE_PARALLEL_DIROPS: number = 1 << 18;
export const FUSE_HANDLE_KILLPRIV: number = 1 << 19;
export const FUSE_POSIX_ACL: number = 1 << 20;
export const FUSE_ABORT_ERROR: number = 1 << 21;
export const FUSE_MAX_PAGES: number = 1 << 22;
export const FUSE_CACHE_SYMLINKS: number = 1 << 23;
export const FUSE_NO_OPENDIR_SUPPORT: number = 1 << 24;
export const FUSE_EXPLICIT_INVAL_DATA: number = 1 << 25;
export const FUSE_HANDLE_KILLPRIV_V2: number = 1 << 28;
export const FUSE_SETXATTR_EXT: number = 1 << 29;
export const FUSE_INIT_EXT: number = 1 << 30;
/** Flags of the second word. */
export const FUSE2_SECURITY_CTX: number = 1 << 0;
export const FUSE2_HAS_EXPIRE_ONLY: number = 1 << 3;
export const FUSE2_DIRECT_IO_ALLOW_MMAP: number = 1 << 4;

// Notifications -----------------------------------------------------------------------------------------------------

export const FUSE_NOTIFY_INVAL_INODE = 2;
export const FUSE_NOTIFY_INVAL_ENTRY = 3;
/** u64 ino, s64 off, s64 len. */
export const NOTIFY_INVAL_INODE_BYTES = 24;
/** u64 parent, u32 namelen, u32 flags; then the name and a NUL. */
export const NOTIFY_INVAL_ENTRY_BYTES = 16;

/** What read(2) of the channel must have room for, at least. */
export const FUSE_MIN_READ_BUFFER = 8192;
export const BLOCK_BYTES = 4096;
/**
 * Largest payload of one request: 64 pages. Larger ones save next to nothing, and whatever comes after them waits for
 * longer (measured in DESIGN §11).
 */
export const MAX_WRITE_BYTES = 262_144;

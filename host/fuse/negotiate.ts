/**
 * What we answer to INIT: the features that we want and the kernel offers. Pure, so that old kernels can be tried in a
 * test. Each feature that is not offered costs speed only; the rest works without it.
 *
 * Not asked for, on purpose: locks (the kernel's own are right for a local filesystem), splice (payloads must land in
 * the core's memory), AUTO_INVAL_DATA (nobody but us changes data, and we would say so), SECURITY_CTX
 * (its data would be ignored).
 */
import {
  FUSE_ABORT_ERROR,
  FUSE_ASYNC_DIO,
  FUSE_ASYNC_READ,
  FUSE_BIG_WRITES,
  FUSE_CACHE_SYMLINKS,
  FUSE_DO_READDIRPLUS,
  FUSE_DONT_MASK,
  FUSE_EXPLICIT_INVAL_DATA,
  FUSE_EXPORT_SUPPORT,
  FUSE_HANDLE_KILLPRIV_V2,
  FUSE_INIT_EXT,
  FUSE_IOCTL_DIR,
  FUSE_MAJOR,
  FUSE_MAX_PAGES,
  FUSE_MINOR,
  FUSE_MINOR_MIN,
  FUSE_NO_OPEN_SUPPORT,
  FUSE_NO_OPENDIR_SUPPORT,
  FUSE_PARALLEL_DIROPS,
  FUSE_POSIX_ACL,
  FUSE_READDIRPLUS_AUTO,
  FUSE_SETXATTR_EXT,
  FUSE_WRITEBACK_CACHE,
  FUSE2_DIRECT_IO_ALLOW_MMAP,
  MAX_WRITE_BYTES,
} from "./protocol.ts";

export interface Offer {
  readonly major: number;
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
}

export interface Wishes {
  /** Let the kernel buffer writes; off, each write(2) is a request. */
  readonly writeback: boolean;
  /** Be told of each open and each read: nothing is read from the kernel's cache. Default false. */
  readonly everyRead?: boolean;
  /** POSIX ACLs, which the kernel then checks. Default true. */
  readonly acl?: boolean;
}

export interface Answer {
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
  readonly maxWriteBytes: number;
  readonly maxPages: number;
  /** A limit only: the mount's own read-ahead is set beside (see mount.ts). */
  readonly maxReadAheadBytes: number;
  readonly maxBackground: number;
  readonly congestionThreshold: number;
  /** ENOSYS to OPEN and OPENDIR makes the kernel open files by itself, with cached data kept. */
  readonly noOpen: boolean;
  readonly noOpendir: boolean;
  readonly writeback: boolean;
  /** The umask is ours to apply. */
  readonly masks: boolean;
  /** SETXATTR comes with flags of its own. */
  readonly extendedSetxattr: boolean;
}

/**
 * Write-back, read-ahead and asynchronous direct transfers that the kernel sends without waiting for an answer. They
 * stand in one queue with everything else: a program that writes a large file fills it, and each small request waits for
 * what is before it. These are 6 MiB at most, some milliseconds, and enough to keep a disk busy.
 */
const BACKGROUND_MAX = 24;

/** The answer; "again" when the kernel speaks a newer major version and repeats INIT with ours; null when too old. */
export function negotiate(offer: Offer, wishes: Wishes): Answer | "again" | null {
  if (offer.major > FUSE_MAJOR) return "again";
  if (offer.major < FUSE_MAJOR || offer.minor < FUSE_MINOR_MIN) return null;
  let wanted =
    FUSE_ASYNC_READ |
    FUSE_EXPORT_SUPPORT |
    FUSE_BIG_WRITES |
    FUSE_IOCTL_DIR |
    FUSE_DO_READDIRPLUS |
    FUSE_READDIRPLUS_AUTO |
    FUSE_ASYNC_DIO |
    FUSE_NO_OPEN_SUPPORT |
    FUSE_PARALLEL_DIROPS |
    FUSE_ABORT_ERROR |
    FUSE_MAX_PAGES |
    FUSE_CACHE_SYMLINKS |
    FUSE_NO_OPENDIR_SUPPORT |
    FUSE_EXPLICIT_INVAL_DATA |
    FUSE_HANDLE_KILLPRIV_V2 |
    FUSE_INIT_EXT;
  const { everyRead = false } = wishes;
  if (everyRead) wanted &= ~(FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT | FUSE_CACHE_SYMLINKS);
  else if (wishes.writeback) wanted |= FUSE_WRITEBACK_CACHE;
  // A default ACL takes the place of the umask: together or not at all.
  const acl = FUSE_POSIX_ACL | FUSE_DONT_MASK;
  if (wishes.acl !== false && (offer.flags & acl) === acl) wanted |= acl | FUSE_SETXATTR_EXT;
  const flags = wanted & offer.flags;
  const maxWriteBytes = (flags & FUSE_MAX_PAGES) !== 0 ? MAX_WRITE_BYTES : 131_072;
  return {
    minor: Math.min(offer.minor, FUSE_MINOR),
    flags,
    // Else programs could not map files that are not cached.
    flags2: everyRead ? offer.flags2 & FUSE2_DIRECT_IO_ALLOW_MMAP : 0,
    maxWriteBytes,
    maxPages: maxWriteBytes / 4096,
    maxReadAheadBytes: 16_777_216,
    maxBackground: BACKGROUND_MAX,
    congestionThreshold: (BACKGROUND_MAX * 3) / 4,
    noOpen: (flags & FUSE_NO_OPEN_SUPPORT) !== 0,
    noOpendir: (flags & FUSE_NO_OPENDIR_SUPPORT) !== 0,
    writeback: (flags & FUSE_WRITEBACK_CACHE) !== 0,
    masks: (flags & FUSE_DONT_MASK) !== 0,
    extendedSetxattr: (flags & FUSE_SETXATTR_EXT) !== 0,
  };
}

/**
 * From opcode to file system call: a table of handlers, each a plain function of the dispatcher.
 *
 * A handler returns the length of the payload that it put into the reply area, −errno, or NO_REPLY when the request
 * has none or will be answered later. It may throw Retry before it has changed anything: it is then run again from
 * the start with the same message. Whoever calls has checked that the fixed part of the body is there.
 *
 * Entries are counted: each one that is given to the kernel is remembered once in the file system, until FORGET.
 * Open files are not: OPEN costs no request, so a file's data is kept by these references alone.
 *
 * With unlimited timeouts the kernel must know of every change. Those that it asks for it applies to its own caches:
 * names and link counts of unlink, rmdir, link and rename (both sides of RENAME_EXCHANGE and what a rename replaced),
 * attributes of the directories, times after reads; size and times of files are its own while it buffers writes, and
 * st_blocks it asks for after each close. So no request needs a notification after it.
 */
import {
  EFBIG,
  EINVAL,
  ENOENT,
  ENOSYS,
  ENOTTY,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  EROFS,
  ESTALE,
} from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
import type { Core } from "../core/core.ts";
import {
  AttributeChange,
  Attributes,
  type FileSystem,
  NewNode,
  SET_ATIME,
  SET_ATIME_NOW,
  SET_CTIME,
  SET_GID,
  SET_KILL_PRIVILEGES,
  SET_MODE,
  SET_MTIME,
  SET_MTIME_NOW,
  SET_SIZE,
  SET_UID,
  VolumeSpace,
  XATTR_KILL_SETGID,
} from "../fs/file_system.ts";
import { flagsOfXflags, isImmutableFile, xflagsOf } from "./file_flags.ts";
import {
  BATCH_FORGET_IN_BYTES,
  BLOCK_BYTES,
  COPY_FILE_RANGE_IN_BYTES,
  CREATE_IN_BYTES,
  DIRENT_BYTES,
  DIRENT_NAMELEN,
  ENTRY_NODEID,
  ENTRY_OUT_BYTES,
  FALLOCATE_IN_BYTES,
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_CTIME,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  FLUSH_IN_BYTES,
  FOPEN_CACHE_DIR,
  FOPEN_KEEP_CACHE,
  FORGET_IN_BYTES,
  FORGET_ONE_BYTES,
  FS_IOC_FSGETXATTR,
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
  FS_IOC_GETVERSION,
  FS_IOC_SETFLAGS,
  FSXATTR_BYTES,
  FSXATTR_PROJID,
  FSYNC_FLAGS,
  FSYNC_IN_BYTES,
  FUSE_ACCESS,
  FUSE_BATCH_FORGET,
  FUSE_BMAP,
  FUSE_COPY_FILE_RANGE,
  FUSE_COPY_FILE_RANGE_64,
  FUSE_CREATE,
  FUSE_DESTROY,
  FUSE_FALLOCATE,
  FUSE_FLUSH,
  FUSE_FORGET,
  FUSE_FSYNC,
  FUSE_FSYNC_FDATASYNC,
  FUSE_FSYNCDIR,
  FUSE_GETATTR,
  FUSE_GETATTR_FH,
  FUSE_GETXATTR,
  FUSE_INTERRUPT,
  FUSE_IOCTL,
  FUSE_LINK,
  FUSE_LISTXATTR,
  FUSE_LOOKUP,
  FUSE_LSEEK,
  FUSE_MKDIR,
  FUSE_MKNOD,
  FUSE_NOTIFY_REPLY,
  FUSE_OPEN,
  FUSE_OPENDIR,
  FUSE_POLL,
  FUSE_READ,
  FUSE_READDIR,
  FUSE_READDIRPLUS,
  FUSE_READLINK,
  FUSE_RELEASE,
  FUSE_RELEASEDIR,
  FUSE_REMOVEXATTR,
  FUSE_RENAME,
  FUSE_RENAME2,
  FUSE_RMDIR,
  FUSE_ROOT_ID,
  FUSE_SETATTR,
  FUSE_SETXATTR,
  FUSE_SETXATTR_ACL_KILL_SGID,
  FUSE_STATFS,
  FUSE_STATX,
  FUSE_SYMLINK,
  FUSE_SYNCFS,
  FUSE_TMPFILE,
  FUSE_UNLINK,
  FUSE_WRITE,
  FUSE_WRITE_CACHE,
  FUSE_WRITE_KILL_SUIDGID,
  GETATTR_IN_BYTES,
  GETXATTR_IN_BYTES,
  IOCTL_CMD,
  IOCTL_IN_BYTES,
  LINK_IN_BYTES,
  LSEEK_IN_BYTES,
  MKDIR_IN_BYTES,
  MKNOD_IN_BYTES,
  OPCODE_COUNT,
  OPEN_IN_BYTES,
  READ_IN_BYTES,
  READ_OFFSET,
  READ_SIZE,
  RELEASE_IN_BYTES,
  RENAME_IN_BYTES,
  RENAME2_IN_BYTES,
  SETATTR_ATIME,
  SETATTR_ATIME_NS,
  SETATTR_CTIME,
  SETATTR_CTIME_NS,
  SETATTR_GID,
  SETATTR_IN_BYTES,
  SETATTR_MODE,
  SETATTR_MTIME,
  SETATTR_MTIME_NS,
  SETATTR_SIZE,
  SETATTR_UID,
  SETATTR_VALID,
  SETXATTR_EXT_IN_BYTES,
  SETXATTR_IN_BYTES,
  STATX_IN_BYTES,
  SYNCFS_IN_BYTES,
  WRITE_FLAGS,
  WRITE_IN_BYTES,
  WRITE_OFFSET,
  WRITE_SIZE,
} from "./protocol.ts";
import { direntBytes, type Reply } from "./reply.ts";
import type { Request } from "./request.ts";
import type { Shown } from "./shown.ts";
import type { FuseStats } from "./stats.ts";

/** The request has no reply, or gets it later. */
export const NO_REPLY = 0x7fff_ffff;

/** Blocks of a slot: a page for the headers and 1 MiB of payload. */
export const SLOT_BLOCKS = 257;
/** A WRITE of this many bytes is handed over with its slot; copying a smaller one is cheaper than its memory. */
const OWNED_BYTES_MIN = 32_768;
const LINK_BYTES_MAX = 4095;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const DOT = 0x2e;
const ACL_PREFIX: Uint8Array = new TextEncoder().encode("system.posix_acl_");

/** What later completions need of the session. Each call ends with a reply to the request as it is now. */
export interface Later {
  read(request: Request, offset: number, byteLength: number): void;
  fsync(request: Request, dataOnly: boolean): void;
  sync(request: Request): void;
  /** Has the kernel forget what it has cached of an inode. */
  dropCached(ino: number): void;
  /** GETATTR or STATX of an immutable file: 0 to answer at once, or NO_REPLY. */
  attributes(request: Request): number;
  /** FS_*_FL and project of the request's inode: what is cached of a file that gets protected is written first. */
  setFlags(request: Request, flags: number, project: number): void;
  copyRange(
    request: Request,
    fromOffset: number,
    to: number,
    toOffset: number,
    byteLength: number,
  ): void;
  /** SEEK_DATA or SEEK_HOLE; as a handler. */
  seek(request: Request, offset: number, whence: number): number;
}

export class Dispatcher {
  readonly fs: FileSystem;
  readonly core: Core;
  readonly request: Request;
  readonly reply: Reply;
  readonly later: Later;
  readonly stats: FuseStats;
  /** Null: owners and modes are shown as they are stored. */
  readonly shown: Shown | null;
  /** By negotiation. */
  noOpen = true;
  noOpendir = true;
  /** SETXATTR has the longer form; the umask is ours to apply. */
  extendedSetxattr = false;
  masks = false;
  writeback = false;
  /** Mounted read-only after it was writable: the kernel refuses changes, and so do we. */
  refusesChanges = false;
  /** What the kernel holds, by inode, where a later session must be told; else null, and the file system alone knows. */
  references: Map<number, number> | null = null;
  /** The inode whose entry is in the reply area and has been remembered for it, or 0. */
  given = 0;

  readonly attributes: Attributes = new Attributes();
  readonly change: AttributeChange = new AttributeChange();
  readonly node: NewNode = new NewNode();
  readonly space: VolumeSpace = new VolumeSpace();

  // Listing: where the next entry goes, where entries must end, and what each has before its dirent.
  #at = 0;
  #limit = 0;
  #prefix = 0;
  readonly #sink = (
    ino: number,
    type: number,
    nameAddress: number,
    nameLength: number,
    nextCookie: number,
  ): boolean => {
    const at = this.#at + this.#prefix;
    const end = at + direntBytes(nameLength);
    if (end > this.#limit) return false;
    this.reply.dirent(at, ino, type, nameAddress, nameLength, nextCookie);
    this.#at = end;
    return true;
  };

  constructor(parts: {
    fs: FileSystem;
    core: Core;
    request: Request;
    reply: Reply;
    later: Later;
    stats: FuseStats;
    shown?: Shown | null;
  }) {
    this.fs = parts.fs;
    this.core = parts.core;
    this.request = parts.request;
    this.reply = parts.reply;
    this.later = parts.later;
    this.stats = parts.stats;
    this.shown = parts.shown ?? null;
  }

  /**
   * Runs the loaded request.
   *
   * @returns Payload length, −errno or NO_REPLY.
   * @throws {Retry} To be run again after its wait; anything else that the file system throws.
   */
  run(): number {
    const request = this.request;
    const opcode = request.opcode;
    this.given = 0;
    if (opcode >= OPCODE_COUNT) return -ENOSYS;
    const handler = HANDLERS[opcode] as Handler;
    if (request.bodyBytes < (BODY_BYTES_MIN[opcode] as number)) {
      this.stats.malformed += 1;
      return opcode === FUSE_FORGET || opcode === FUSE_BATCH_FORGET ? NO_REPLY : -EINVAL;
    }
    if (request.nodeid > Number.MAX_SAFE_INTEGER) return -ESTALE;
    if (this.refusesChanges && CHANGES[opcode] !== 0) return -EROFS;
    return handler(this);
  }

  /**
   * The inode whose fsync makes the loaded request durable, or 0 when it need not be.
   *
   * @param names Of requests that change names only.
   */
  durableIno(names: boolean): number {
    const { opcode, nodeid } = this.request;
    const kind = opcode < OPCODE_COUNT ? (CHANGES[opcode] as number) : 0;
    if (kind === 0 || (names && kind !== CHANGES_NAMES)) return 0;
    if (opcode === FUSE_WRITE) {
      // What the kernel has buffered it will ask an fsync for, after all pages of the program's write.
      return (this.request.u32(WRITE_FLAGS) & FUSE_WRITE_CACHE) !== 0 ? 0 : nodeid;
    }
    const isCopy = opcode === FUSE_COPY_FILE_RANGE || opcode === FUSE_COPY_FILE_RANGE_64;
    return isCopy ? this.request.u64(16) : nodeid;
  }

  /** Gives back the references that came with a reply that nobody took. */
  takeBack(payloadBytes: number): void {
    if (this.given === 0) return;
    if (this.request.opcode !== FUSE_READDIRPLUS) {
      this.forget(this.given, 1);
      return;
    }
    const u32 = this.core.u32;
    let at = this.reply.payload;
    const end = at + payloadBytes;
    while (at < end) {
      const nodeid =
        (u32[(at + ENTRY_NODEID) >>> 2] as number) +
        (u32[(at + ENTRY_NODEID + 4) >>> 2] as number) * 0x1_0000_0000;
      if (nodeid !== 0) this.forget(nodeid, 1);
      at += this.#plusBytes(at);
    }
  }

  /** The kernel gives references back. */
  forget(ino: number, count: number): void {
    this.fs.forget(ino, count);
    if (this.references === null) return;
    const left = (this.references.get(ino) ?? 0) - count;
    if (left > 0) this.references.set(ino, left);
    else this.references.delete(ino);
  }

  #remember(ino: number): void {
    this.fs.remember(ino, 1);
    this.references?.set(ino, (this.references.get(ino) ?? 0) + 1);
  }

  /** Counts the entry in `attributes` as given and encodes it. */
  giveEntry(): number {
    this.#remember(this.attributes.ino);
    this.given = this.attributes.ino;
    return this.reply.entry(this.attributes);
  }

  /** A name that ends the arguments: at `offset` to a NUL. */
  name(offset: number): boolean {
    if (this.request.takeName(offset) >= 0 && this.request.nameLength > 0) return true;
    this.stats.malformed += 1;
    return false;
  }

  list(plus: boolean): number {
    const request = this.request;
    const cookie = request.u64(READ_OFFSET);
    if (cookie > Number.MAX_SAFE_INTEGER) return -EINVAL;
    const start = this.reply.payload;
    this.#at = start;
    this.#limit = start + Math.min(request.u32(READ_SIZE), this.reply.capacity);
    this.#prefix = plus ? ENTRY_OUT_BYTES : 0;
    try {
      const status = this.fs.readDirectory(request.nodeid, cookie, this.#sink);
      if (status < 0) return status;
    } catch (error) {
      // What was listed before the page that is missing can be answered: the rest is asked for again.
      if (!(error instanceof Retry) || this.#at === start) throw error;
    }
    return plus ? this.#addEntries(this.#at) : this.#at - start;
  }

  /** Fills in the attributes of listed names. Returns how many bytes of the reply are complete. */
  #addEntries(end: number): number {
    const { fs, reply, attributes } = this;
    const u32 = this.core.u32;
    const start = reply.payload;
    let at = start;
    try {
      while (at < end) {
        const dirent = at + ENTRY_OUT_BYTES;
        const ino =
          (u32[dirent >>> 2] as number) + (u32[(dirent >>> 2) + 1] as number) * 0x1_0000_0000;
        // "." and ".." get no entry: the kernel has those inodes, and would not count it.
        const nameLength = u32[(dirent + DIRENT_NAMELEN) >>> 2] as number;
        if (this.#isDots(dirent + DIRENT_BYTES, nameLength)) reply.noEntry(at);
        else if (fs.getAttributes(ino, attributes) < 0) {
          // Damaged: still listed, so that the rest can be reached; a look-up will tell what is wrong.
          reply.noEntry(at);
        } else {
          this.#remember(ino);
          this.given = ino;
          reply.entry(attributes, at);
        }
        at += ENTRY_OUT_BYTES + direntBytes(nameLength);
      }
    } catch (error) {
      if (!(error instanceof Retry) || at === start) throw error;
    }
    return at - start;
  }

  #plusBytes(at: number): number {
    const nameLength = this.core.u32[(at + ENTRY_OUT_BYTES + DIRENT_NAMELEN) >>> 2] as number;
    return ENTRY_OUT_BYTES + direntBytes(nameLength);
  }

  #isDots(address: number, length: number): boolean {
    const bytes = this.core.bytes;
    if (length > 2 || bytes[address] !== DOT) return false;
    return length === 1 || bytes[address + 1] === DOT;
  }

  lookup(): number {
    if (!this.name(0)) return -EINVAL;
    const { fs, request, attributes } = this;
    const { nodeid, nameAddress, nameLength } = request;
    let status: number;
    if (this.#isDots(nameAddress, nameLength)) {
      // From file handles (NFS, open_by_handle_at): the inode itself, and the way up from it.
      const ino = nameLength === 1 ? nodeid : fs.parentOf(nodeid);
      if (ino < 0) return ino;
      status = fs.getAttributes(ino, attributes);
      if (status === -ENOENT) return -ESTALE;
    } else {
      status = fs.lookup(nodeid, nameAddress, nameLength, attributes);
      if (status === -ENOENT) return this.reply.negativeEntry();
    }
    return status < 0 ? status : this.giveEntry();
  }

  /** Fills `node` from the header. @param umask Of the request; the kernel has applied it unless it was told not to. */
  newNode(mode: number, rdev: number, umask: number): NewNode {
    const node = this.node;
    node.mode = mode;
    node.umask = this.masks ? umask & 0o777 : 0;
    node.uid = this.request.uid;
    node.gid = this.request.gid;
    node.rdev = rdev;
    return node;
  }

  rename(flags: number, namesAt: number): number {
    const request = this.request;
    const next = request.takeName(namesAt);
    if (next < 0 || request.nameLength === 0) return this.malformed();
    const { nameAddress, nameLength } = request;
    if (!this.name(next)) return -EINVAL;
    if (request.u64(0) > Number.MAX_SAFE_INTEGER) return -ESTALE;
    return done(
      this.fs.rename(
        request.nodeid,
        nameAddress,
        nameLength,
        request.u64(0),
        request.nameAddress,
        request.nameLength,
        flags,
      ),
    );
  }

  malformed(): number {
    this.stats.malformed += 1;
    return -EINVAL;
  }

  /** Whether the name just taken is of an ACL that must not be offered, see shown.ts. */
  isHiddenAcl(): boolean {
    const { nameAddress, nameLength } = this.request;
    if (this.shown === null || nameLength < ACL_PREFIX.length) return false;
    return ACL_PREFIX.every((byte, index) => this.core.bytes[nameAddress + index] === byte);
  }
}

type Handler = (dispatcher: Dispatcher) => number;

/** A reply without payload, or the error. */
function done(status: number): number {
  return Math.min(status, 0);
}

function getattr(d: Dispatcher): number {
  const status = attributesAsked(d);
  return status === 0 ? d.reply.attributes(d.attributes) : status;
}

function statx(d: Dispatcher): number {
  const status = attributesAsked(d);
  return status === 0 ? d.reply.statx(d.attributes) : status;
}

/**
 * Gets the attributes that are asked for: 0, −errno, or NO_REPLY. Opening a file is no request, so an immutable one is
 * protected from writes to the kernel's cache here: the kernel is made to forget the attributes again and again, and asks
 * for them on behalf of an open file only when it is about to write.
 */
function attributesAsked(d: Dispatcher): number {
  const status = d.fs.getAttributes(d.request.nodeid, d.attributes);
  if (status < 0) return status;
  if (!d.writeback || !isImmutableFile(d.attributes)) return 0;
  if ((d.request.u32(0) & FUSE_GETATTR_FH) !== 0) return -EPERM;
  return d.later.attributes(d.request);
}

function ioctl(d: Dispatcher): number {
  const { request, attributes } = d;
  const cmd = request.u32(IOCTL_CMD);
  const gets = cmd === FS_IOC_GETFLAGS || cmd === FS_IOC_FSGETXATTR || cmd === FS_IOC_GETVERSION;
  if (!gets && cmd !== FS_IOC_SETFLAGS && cmd !== FS_IOC_FSSETXATTR) return -ENOTTY;
  const status = d.fs.getAttributes(request.nodeid, attributes);
  if (status < 0) return status;
  if (gets) {
    if (cmd === FS_IOC_FSGETXATTR)
      return d.reply.ioctl(xflagsOf(attributes.flags), 0, 0, attributes.project, 0, 0, 0);
    const value = cmd === FS_IOC_GETFLAGS ? attributes.flags : attributes.generation;
    return d.reply.ioctl(value);
  }
  if (d.refusesChanges) return -EROFS;
  const bytes = cmd === FS_IOC_SETFLAGS ? 4 : FSXATTR_BYTES;
  if (request.bodyBytes < IOCTL_IN_BYTES + bytes) return -EINVAL;
  let flags = request.u32(IOCTL_IN_BYTES);
  let { project } = attributes;
  if (cmd === FS_IOC_FSSETXATTR) {
    flags = flagsOfXflags(flags);
    project = request.u32(IOCTL_IN_BYTES + FSXATTR_PROJID);
    // Hints for extents have no meaning here.
    if (flags < 0 || request.u32(IOCTL_IN_BYTES + 4) !== 0) return -EOPNOTSUPP;
  }
  d.later.setFlags(request, flags, project);
  return NO_REPLY;
}

function setattr(d: Dispatcher): number {
  const { request, change, fs, attributes } = d;
  const valid = request.u32(SETATTR_VALID);
  let set = 0;
  if ((valid & FATTR_MODE) !== 0) {
    set |= SET_MODE;
    change.mode = request.u32(SETATTR_MODE) & 0o7777;
  }
  if ((valid & FATTR_UID) !== 0) {
    set |= SET_UID;
    change.uid = request.u32(SETATTR_UID);
  }
  if ((valid & FATTR_GID) !== 0) {
    set |= SET_GID;
    change.gid = request.u32(SETATTR_GID);
  }
  if ((valid & FATTR_SIZE) !== 0) {
    set |= SET_SIZE;
    change.size = request.u64(SETATTR_SIZE);
    if (change.size > Number.MAX_SAFE_INTEGER) return -EFBIG;
  }
  if ((valid & FATTR_ATIME_NOW) !== 0) set |= SET_ATIME_NOW;
  else if ((valid & FATTR_ATIME) !== 0) {
    set |= SET_ATIME;
    change.atime = request.s64(SETATTR_ATIME);
    change.atimeNs = request.u32(SETATTR_ATIME_NS);
  }
  if ((valid & FATTR_MTIME_NOW) !== 0) set |= SET_MTIME_NOW;
  else if ((valid & FATTR_MTIME) !== 0) {
    set |= SET_MTIME;
    change.mtime = request.s64(SETATTR_MTIME);
    change.mtimeNs = request.u32(SETATTR_MTIME_NS);
  }
  if ((valid & FATTR_CTIME) !== 0) {
    // Buffering writes, the kernel keeps the time of a change that it has not told us of yet.
    set |= SET_CTIME;
    change.ctime = request.s64(SETATTR_CTIME);
    change.ctimeNs = request.u32(SETATTR_CTIME_NS);
  }
  if ((valid & FATTR_KILL_SUIDGID) !== 0) set |= SET_KILL_PRIVILEGES;
  if ((set & (SET_UID | SET_GID)) !== 0 && (set & SET_MODE) === 0) {
    // HANDLE_KILLPRIV_V2 leaves it to us on every chown, but for directories, without a flag.
    const status = fs.getAttributes(request.nodeid, attributes);
    if (status < 0) return status;
    if ((attributes.mode & S_IFMT) !== S_IFDIR) set |= SET_KILL_PRIVILEGES;
  }
  change.set = set;
  if (d.shown !== null && (set & (SET_UID | SET_GID | SET_MODE)) !== 0) {
    let status = fs.getAttributes(request.nodeid, attributes);
    if (status >= 0) status = d.shown.admit(change, attributes);
    if (status < 0) return status;
    if (change.set === 0) return d.reply.attributes(attributes);
  }
  const status = fs.setAttributes(request.nodeid, change, attributes);
  return status < 0 ? status : d.reply.attributes(attributes);
}

function readlink(d: Dispatcher): number {
  return d.fs.readLink(d.request.nodeid, d.reply.payload, LINK_BYTES_MAX);
}

function symlink(d: Dispatcher): number {
  const { request } = d;
  const next = request.takeName(0);
  if (next < 0 || request.nameLength === 0) return d.malformed();
  const { nameAddress, nameLength } = request;
  if (!d.name(next)) return -EINVAL;
  const status = d.fs.makeSymlink(
    request.nodeid,
    nameAddress,
    nameLength,
    request.nameAddress,
    request.nameLength,
    d.newNode(S_IFLNK | 0o777, 0, 0),
    d.attributes,
  );
  return status < 0 ? status : d.giveEntry();
}

function mknod(d: Dispatcher): number {
  const { request } = d;
  if (!d.name(MKNOD_IN_BYTES)) return -EINVAL;
  const status = d.fs.makeNode(
    request.nodeid,
    request.nameAddress,
    request.nameLength,
    d.newNode(request.u32(0), request.u32(4), request.u32(8)),
    d.attributes,
  );
  return status < 0 ? status : d.giveEntry();
}

function mkdir(d: Dispatcher): number {
  const { request } = d;
  if (!d.name(MKDIR_IN_BYTES)) return -EINVAL;
  const status = d.fs.makeDirectory(
    request.nodeid,
    request.nameAddress,
    request.nameLength,
    d.newNode(S_IFDIR | (request.u32(0) & 0o7777), 0, request.u32(4)),
    d.attributes,
  );
  return status < 0 ? status : d.giveEntry();
}

/**
 * ENOSYS, once, where OPEN needs no request: the kernel then makes files by MKNOD, and is spared the RELEASE that every
 * file opened by CREATE is followed by.
 */
function create(d: Dispatcher): number {
  if (d.noOpen) return -ENOSYS;
  const { request } = d;
  if (!d.name(CREATE_IN_BYTES)) return -EINVAL;
  const status = d.fs.makeNode(
    request.nodeid,
    request.nameAddress,
    request.nameLength,
    d.newNode(S_IFREG | (request.u32(4) & 0o7777), 0, request.u32(8)),
    d.attributes,
  );
  if (status < 0) return status;
  return d.reply.opened(FOPEN_KEEP_CACHE, d.giveEntry());
}

function tmpfile(d: Dispatcher): number {
  const { request } = d;
  const node = d.newNode(S_IFREG | (request.u32(4) & 0o7777), 0, request.u32(8));
  const status = d.fs.makeUnnamed(request.nodeid, node, d.attributes);
  if (status < 0) return status;
  return d.reply.opened(FOPEN_KEEP_CACHE, d.giveEntry());
}

function unlink(d: Dispatcher): number {
  if (!d.name(0)) return -EINVAL;
  const { nodeid, nameAddress, nameLength } = d.request;
  return done(d.fs.unlink(nodeid, nameAddress, nameLength));
}

function rmdir(d: Dispatcher): number {
  if (!d.name(0)) return -EINVAL;
  const { nodeid, nameAddress, nameLength } = d.request;
  return done(d.fs.removeDirectory(nodeid, nameAddress, nameLength));
}

function link(d: Dispatcher): number {
  const { request } = d;
  if (!d.name(LINK_IN_BYTES)) return -EINVAL;
  if (request.u64(0) > Number.MAX_SAFE_INTEGER) return -ESTALE;
  const { nodeid, nameAddress, nameLength } = request;
  const status = d.fs.link(request.u64(0), nodeid, nameAddress, nameLength, d.attributes);
  return status < 0 ? status : d.giveEntry();
}

function open(d: Dispatcher): number {
  return d.noOpen ? -ENOSYS : d.reply.opened(FOPEN_KEEP_CACHE, 0);
}

function opendir(d: Dispatcher): number {
  return d.noOpendir ? -ENOSYS : d.reply.opened(FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR, 0);
}

function read(d: Dispatcher): number {
  const offset = d.request.u64(READ_OFFSET);
  if (offset > Number.MAX_SAFE_INTEGER) return 0;
  d.later.read(d.request, offset, d.request.u32(READ_SIZE));
  return NO_REPLY;
}

function write(d: Dispatcher): number {
  const { request, fs } = d;
  const offset = request.u64(WRITE_OFFSET);
  const size = request.u32(WRITE_SIZE);
  if (request.bodyBytes < WRITE_IN_BYTES + size) return d.malformed();
  if (offset + size > Number.MAX_SAFE_INTEGER) return -EFBIG;
  const flags = request.u32(WRITE_FLAGS);
  const kill = (flags & FUSE_WRITE_KILL_SUIDGID) !== 0;
  // Written back from the kernel's cache: it owns the times, and tells them when they have changed.
  const keepTimes = d.writeback && (flags & FUSE_WRITE_CACHE) !== 0;
  const payload = request.body + WRITE_IN_BYTES;
  const run = request.run;
  let status: number;
  if (run !== 0 && size >= OWNED_BYTES_MIN && offset % BLOCK_BYTES === 0) {
    // Whatever comes of it, the slot is the file system's; unless it asks for another try.
    request.run = 0;
    try {
      status = fs.writeOwned(
        request.nodeid,
        offset,
        payload,
        size,
        run,
        SLOT_BLOCKS,
        kill,
        keepTimes,
      );
    } catch (error) {
      if (error instanceof Retry) request.run = run;
      throw error;
    }
    d.stats.writesOwned += 1;
  } else {
    status = fs.write(request.nodeid, offset, payload, size, kill, keepTimes);
  }
  // A protected file: what the cache holds of it was never written.
  if (status === -EPERM && (flags & FUSE_WRITE_CACHE) !== 0) d.later.dropCached(request.nodeid);
  if (status < 0) return status;
  d.stats.bytesWritten += status;
  return d.reply.count(status);
}

function statfs(d: Dispatcher): number {
  const status = d.fs.space(d.space);
  return status < 0 ? status : d.reply.statfs(d.space);
}

function fsync(d: Dispatcher): number {
  d.later.fsync(d.request, (d.request.u32(FSYNC_FLAGS) & FUSE_FSYNC_FDATASYNC) !== 0);
  return NO_REPLY;
}

function syncfs(d: Dispatcher): number {
  d.later.sync(d.request);
  return NO_REPLY;
}

function setxattr(d: Dispatcher): number {
  const { request } = d;
  const size = request.u32(0);
  const valueAt = request.takeName(d.extendedSetxattr ? SETXATTR_EXT_IN_BYTES : SETXATTR_IN_BYTES);
  if (valueAt < 0 || request.nameLength === 0 || request.bodyBytes < valueAt + size) {
    return d.malformed();
  }
  if (d.isHiddenAcl()) return -EOPNOTSUPP;
  const { nodeid, nameAddress, nameLength } = request;
  const value = request.body + valueAt;
  const kill = d.extendedSetxattr && (request.u32(8) & FUSE_SETXATTR_ACL_KILL_SGID) !== 0;
  const flags = request.u32(4) | (kill ? XATTR_KILL_SETGID : 0);
  return done(d.fs.setXattr(nodeid, nameAddress, nameLength, value, size, flags));
}

function getxattr(d: Dispatcher): number {
  const { request, reply } = d;
  if (!d.name(GETXATTR_IN_BYTES)) return -EINVAL;
  if (d.isHiddenAcl()) return -EOPNOTSUPP;
  const { nodeid, nameAddress, nameLength } = request;
  const size = request.u32(0);
  const room = Math.min(size, reply.capacity);
  const status = d.fs.getXattr(nodeid, nameAddress, nameLength, reply.payload, room);
  if (status < 0) return status;
  if (size === 0) return reply.count(status);
  return status > room ? -ERANGE : status;
}

function listxattr(d: Dispatcher): number {
  const { request, reply } = d;
  const size = request.u32(0);
  const room = Math.min(size, reply.capacity);
  const status = d.fs.listXattr(request.nodeid, reply.payload, room, request.uid === 0);
  if (status < 0) return status;
  if (size === 0) return reply.count(status);
  return status > room ? -ERANGE : status;
}

function removexattr(d: Dispatcher): number {
  if (!d.name(0)) return -EINVAL;
  if (d.isHiddenAcl()) return -EOPNOTSUPP;
  const { nodeid, nameAddress, nameLength } = d.request;
  return done(d.fs.removeXattr(nodeid, nameAddress, nameLength));
}

function fallocate(d: Dispatcher): number {
  const { request } = d;
  const offset = request.u64(8);
  const byteLength = request.u64(16);
  if (offset + byteLength > Number.MAX_SAFE_INTEGER) return -EFBIG;
  return done(d.fs.fallocate(request.nodeid, request.u32(24), offset, byteLength));
}

function lseek(d: Dispatcher): number {
  const { request } = d;
  const offset = request.s64(8);
  if (offset < 0 || offset > Number.MAX_SAFE_INTEGER) return -ENXIO;
  return d.later.seek(request, offset, request.u32(16));
}

function copyFileRange(d: Dispatcher): number {
  const { request } = d;
  const fromOffset = request.u64(8);
  const to = request.u64(16);
  const toOffset = request.u64(32);
  // The reply to the first form has 32 bits.
  const most = request.opcode === FUSE_COPY_FILE_RANGE ? 0x7fff_f000 : Number.MAX_SAFE_INTEGER;
  const byteLength = Math.min(request.u64(40), most);
  if (
    fromOffset > Number.MAX_SAFE_INTEGER ||
    to > Number.MAX_SAFE_INTEGER ||
    toOffset + byteLength > Number.MAX_SAFE_INTEGER
  ) {
    return -EFBIG;
  }
  if (request.u32(48) !== 0) return -EINVAL;
  d.later.copyRange(request, fromOffset, to, toOffset, byteLength);
  return NO_REPLY;
}

function forget(d: Dispatcher): number {
  const { nodeid } = d.request;
  const count = d.request.u64(0);
  if (nodeid !== FUSE_ROOT_ID && count > 0) d.forget(nodeid, count);
  return NO_REPLY;
}

function batchForget(d: Dispatcher): number {
  const { request } = d;
  const count = request.u32(0);
  if (request.bodyBytes < BATCH_FORGET_IN_BYTES + count * FORGET_ONE_BYTES) {
    d.stats.malformed += 1;
    return NO_REPLY;
  }
  let at = BATCH_FORGET_IN_BYTES;
  for (let index = 0; index < count; index += 1, at += FORGET_ONE_BYTES) {
    const ino = request.u64(at);
    const references = request.u64(at + 8);
    if (ino === FUSE_ROOT_ID || references === 0) continue;
    d.forget(ino, references);
    // If the next one has to wait, the message is run again from its start.
    request.setU64(at + 8, 0);
  }
  return NO_REPLY;
}

const ok: Handler = () => 0;
const unanswered: Handler = () => NO_REPLY;
const unsupported: Handler = () => -ENOSYS;

/** By opcode: the handler, and the least length of the body. What is not here is not implemented. */
const HANDLERS: Handler[] = new Array<Handler>(OPCODE_COUNT).fill(unsupported);
const BODY_BYTES_MIN: Uint16Array = new Uint16Array(OPCODE_COUNT);
const on = (opcode: number, bodyBytesMin: number, handler: Handler): void => {
  HANDLERS[opcode] = handler;
  BODY_BYTES_MIN[opcode] = bodyBytesMin;
};
on(FUSE_LOOKUP, 2, (d) => d.lookup());
on(FUSE_FORGET, FORGET_IN_BYTES, forget);
on(FUSE_GETATTR, GETATTR_IN_BYTES, getattr);
on(FUSE_SETATTR, SETATTR_IN_BYTES, setattr);
on(FUSE_READLINK, 0, readlink);
on(FUSE_SYMLINK, 4, symlink);
on(FUSE_MKNOD, MKNOD_IN_BYTES + 2, mknod);
on(FUSE_MKDIR, MKDIR_IN_BYTES + 2, mkdir);
on(FUSE_UNLINK, 2, unlink);
on(FUSE_RMDIR, 2, rmdir);
on(FUSE_RENAME, RENAME_IN_BYTES + 4, (d) => d.rename(0, RENAME_IN_BYTES));
on(FUSE_RENAME2, RENAME2_IN_BYTES + 4, (d) => d.rename(d.request.u32(8), RENAME2_IN_BYTES));
on(FUSE_LINK, LINK_IN_BYTES + 2, link);
on(FUSE_OPEN, OPEN_IN_BYTES, open);
on(FUSE_OPENDIR, OPEN_IN_BYTES, opendir);
on(FUSE_READ, READ_IN_BYTES, read);
on(FUSE_WRITE, WRITE_IN_BYTES, write);
on(FUSE_STATFS, 0, statfs);
on(FUSE_RELEASE, RELEASE_IN_BYTES, ok);
on(FUSE_RELEASEDIR, RELEASE_IN_BYTES, ok);
on(FUSE_FSYNC, FSYNC_IN_BYTES, fsync);
on(FUSE_FSYNCDIR, FSYNC_IN_BYTES, fsync);
on(FUSE_SYNCFS, SYNCFS_IN_BYTES, syncfs);
on(FUSE_SETXATTR, SETXATTR_IN_BYTES + 2, setxattr);
on(FUSE_GETXATTR, GETXATTR_IN_BYTES + 2, getxattr);
on(FUSE_LISTXATTR, GETXATTR_IN_BYTES, listxattr);
on(FUSE_REMOVEXATTR, 2, removexattr);
// Once: the kernel writes dirty pages back at close without it, and nothing else happens there.
on(FUSE_FLUSH, FLUSH_IN_BYTES, unsupported);
on(FUSE_READDIR, READ_IN_BYTES, (d) => d.list(false));
on(FUSE_READDIRPLUS, READ_IN_BYTES, (d) => d.list(true));
// The kernel checks permissions by itself (default_permissions).
on(FUSE_ACCESS, 8, unsupported);
on(FUSE_CREATE, CREATE_IN_BYTES + 2, create);
on(FUSE_TMPFILE, CREATE_IN_BYTES, tmpfile);
// What is under way is short, and programs do not expect EINTR from files.
on(FUSE_INTERRUPT, 8, unanswered);
on(FUSE_NOTIFY_REPLY, 0, unanswered);
on(FUSE_BMAP, 16, unsupported);
on(FUSE_DESTROY, 0, ok);
on(FUSE_IOCTL, IOCTL_IN_BYTES, ioctl);
on(FUSE_POLL, 24, unsupported);
on(FUSE_BATCH_FORGET, BATCH_FORGET_IN_BYTES, batchForget);
on(FUSE_FALLOCATE, FALLOCATE_IN_BYTES, fallocate);
on(FUSE_LSEEK, LSEEK_IN_BYTES, lseek);
on(FUSE_COPY_FILE_RANGE, COPY_FILE_RANGE_IN_BYTES, copyFileRange);
on(FUSE_COPY_FILE_RANGE_64, COPY_FILE_RANGE_IN_BYTES, copyFileRange);
on(FUSE_STATX, STATX_IN_BYTES, statx);

/** By opcode: what a request changes. */
const CHANGES_NAMES = 1;
const CHANGES_OBJECT = 2;
const CHANGES: Uint8Array = new Uint8Array(OPCODE_COUNT);
for (const opcode of [
  FUSE_SYMLINK,
  FUSE_MKNOD,
  FUSE_MKDIR,
  FUSE_UNLINK,
  FUSE_RMDIR,
  FUSE_RENAME,
  FUSE_RENAME2,
  FUSE_LINK,
  FUSE_CREATE,
]) {
  CHANGES[opcode] = CHANGES_NAMES;
}
for (const opcode of [
  FUSE_SETATTR,
  FUSE_WRITE,
  FUSE_SETXATTR,
  FUSE_REMOVEXATTR,
  FUSE_TMPFILE,
  FUSE_FALLOCATE,
  FUSE_COPY_FILE_RANGE,
  FUSE_COPY_FILE_RANGE_64,
]) {
  CHANGES[opcode] = CHANGES_OBJECT;
}

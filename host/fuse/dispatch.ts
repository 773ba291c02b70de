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

import { EINVAL, ENOENT, ENOSYS, EROFS, ESTALE } from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
import type { Core } from "../core/core.ts";
import {
  AttributeChange,
  Attributes,
  type FileSystem,
  NewNode,
  VolumeSpace,
} from "../fs/file_system.ts";
import { CachedReads } from "./cached_reads.ts";
import { BODY_BYTES_MIN, CHANGES, CHANGES_NAMES, HANDLERS, type Handler } from "./handlers.ts";
import { done, type Later, NO_REPLY } from "./later.ts";
import {
  DIRENT_BYTES,
  DIRENT_NAMELEN,
  ENTRY_NODEID,
  ENTRY_OUT_BYTES,
  FUSE_BATCH_FORGET,
  FUSE_COPY_FILE_RANGE,
  FUSE_COPY_FILE_RANGE_64,
  FUSE_FORGET,
  FUSE_READDIRPLUS,
  FUSE_WRITE,
  FUSE_WRITE_CACHE,
  O_DSYNC,
  OPCODE_COUNT,
  READ_OFFSET,
  READ_SIZE,
  WRITE_FLAGS,
  WRITE_OPEN_FLAGS,
} from "./protocol.ts";
import { direntBytes, type Reply } from "./reply.ts";
import type { Request } from "./request.ts";
import type { Shown } from "./shown.ts";
import type { FuseStats } from "./stats.ts";

const ACL_PREFIX: Uint8Array = new TextEncoder().encode("system.posix_acl_");
const DOT = 0x2e;
/** S_IFMT and permissions: all that a mode has. */
const MODE_MASK = 0o177777;

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

  readonly cachedReads: CachedReads = new CachedReads();
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

  /**
   * The inode of the loaded request if it is a write whose program wants it durable (O_DSYNC, O_SYNC, RWF_DSYNC), or 0.
   * The kernel asks for an fsync after such a write itself, but not after one that was asynchronous and direct (io_uring or
   * libaio with O_DIRECT), although it passes the flag on.
   */
  durableWriteIno(): number {
    const { request } = this;
    if (request.opcode !== FUSE_WRITE) return 0;
    if ((request.u32(WRITE_FLAGS) & FUSE_WRITE_CACHE) !== 0) return 0;
    return (request.u32(WRITE_OPEN_FLAGS) & O_DSYNC) !== 0 ? request.nodeid : 0;
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
    node.mode = mode & MODE_MASK;
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

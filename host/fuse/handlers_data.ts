/** Handlers of data: READ, WRITE, allocation, holes, copies, durability, space. */
import { EDQUOT, EFBIG, EINVAL, ENOSPC, ENXIO, EPERM } from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
import { SET_KILL_PRIVILEGES, SET_MODE } from "../fs/file_system.ts";
import { S_IFMT, S_IFREG, S_ISGID, S_ISUID } from "../fs/inode_store.ts";
import { isDirect } from "./cached_reads.ts";
import type { Dispatcher } from "./dispatch.ts";
import { done, NO_REPLY, SLOT_BLOCKS } from "./later.ts";
import {
  BLOCK_BYTES,
  FSYNC_FLAGS,
  FUSE_COPY_FILE_RANGE,
  FUSE_FSYNC_FDATASYNC,
  FUSE_WRITE_CACHE,
  FUSE_WRITE_KILL_SUIDGID,
  READ_OFFSET,
  READ_OPEN_FLAGS,
  READ_SIZE,
  WRITE_FLAGS,
  WRITE_IN_BYTES,
  WRITE_OFFSET,
  WRITE_OPEN_FLAGS,
  WRITE_SIZE,
} from "./protocol.ts";

const S_IXGRP = 0o010;
/** A WRITE of this many bytes is handed over with its slot; copying a smaller one is cheaper than its memory. */
const OWNED_BYTES_MIN = 32_768;

export function read(d: Dispatcher): number {
  const offset = d.request.u64(READ_OFFSET);
  if (offset > Number.MAX_SAFE_INTEGER) return 0;
  d.cachedReads.note(d.request.nodeid, d.request.u32(READ_OPEN_FLAGS));
  d.later.read(d.request, offset, d.request.u32(READ_SIZE));
  return NO_REPLY;
}

export function write(d: Dispatcher): number {
  const { request, fs } = d;
  const offset = request.u64(WRITE_OFFSET);
  const size = request.u32(WRITE_SIZE);
  if (request.bodyBytes < WRITE_IN_BYTES + size) return d.malformed();
  if (offset + size > Number.MAX_SAFE_INTEGER) return -EFBIG;
  const flags = request.u32(WRITE_FLAGS);
  const kill = (flags & FUSE_WRITE_KILL_SUIDGID) !== 0;
  // Written back from the kernel's cache: it owns the times, and tells them when they have changed.
  const keepTimes = d.writeback && (flags & FUSE_WRITE_CACHE) !== 0;
  if (kill) dropPrivileges(d, request.nodeid, false);
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
  // To close(2) the kernel tells ENOSPC as it is, and all else as EIO.
  if (status === -EDQUOT && (flags & FUSE_WRITE_CACHE) !== 0) return -ENOSPC;
  if (status < 0) return status;
  d.stats.bytesWritten += status;
  const isPast = (flags & FUSE_WRITE_CACHE) === 0 && isDirect(request.u32(WRITE_OPEN_FLAGS));
  if (isPast && d.cachedReads.mayHold(request.nodeid)) {
    d.later.countForgotten(request, status, offset, size);
    return NO_REPLY;
  }
  return d.reply.count(status);
}

/**
 * Takes set-user-id and set-group-id from a file that a caller without rights over it is about to change; then asks to be
 * run again, when the kernel has forgotten its mode: it knows that it asked for this, and believes in the old one.
 *
 * @param asksNobody The kernel leaves it to us when (FALLOCATE, COPY_FILE_RANGE): for all but root, whose group but the first
 *   we do not know.
 */
function dropPrivileges(d: Dispatcher, ino: number, asksNobody: boolean): void {
  const { attributes, change, request } = d;
  if (asksNobody && request.uid === 0) return;
  if (d.fs.getAttributes(ino, attributes) < 0) return;
  const { mode } = attributes;
  const isOfOthers = asksNobody && request.gid !== attributes.gid;
  const setGid = (mode & S_IXGRP) !== 0 || isOfOthers ? S_ISGID : 0;
  const lost = mode & (S_ISUID | setGid);
  if (lost === 0 || (mode & S_IFMT) !== S_IFREG) return;
  change.set = SET_MODE | SET_KILL_PRIVILEGES;
  change.mode = mode & ~lost & 0o7777;
  if (d.fs.setAttributes(ino, change, attributes) >= 0) d.later.forgetAttributes(ino);
}

export function statfs(d: Dispatcher): number {
  const status = d.fs.space(d.space, d.request.nodeid);
  return status < 0 ? status : d.reply.statfs(d.space);
}

export function fsync(d: Dispatcher): number {
  d.later.fsync(d.request, (d.request.u32(FSYNC_FLAGS) & FUSE_FSYNC_FDATASYNC) !== 0);
  return NO_REPLY;
}

export function syncfs(d: Dispatcher): number {
  d.later.sync(d.request);
  return NO_REPLY;
}

export function fallocate(d: Dispatcher): number {
  const { request } = d;
  const offset = request.u64(8);
  const byteLength = request.u64(16);
  if (offset + byteLength > Number.MAX_SAFE_INTEGER) return -EFBIG;
  dropPrivileges(d, request.nodeid, true);
  return done(d.fs.fallocate(request.nodeid, request.u32(24), offset, byteLength));
}

export function lseek(d: Dispatcher): number {
  const { request } = d;
  const offset = request.s64(8);
  if (offset < 0 || offset > Number.MAX_SAFE_INTEGER) return -ENXIO;
  return d.later.seek(request, offset, request.u32(16));
}

export function copyFileRange(d: Dispatcher): number {
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
  dropPrivileges(d, to, true);
  d.later.copyRange(request, fromOffset, to, toOffset, byteLength);
  return NO_REPLY;
}

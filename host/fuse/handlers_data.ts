/** Handlers of data: READ, WRITE, allocation, holes, copies, durability, space. */
import { EDQUOT, EFBIG, EINVAL, ENOSPC, ENXIO, EPERM } from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
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
  READ_SIZE,
  WRITE_FLAGS,
  WRITE_IN_BYTES,
  WRITE_OFFSET,
  WRITE_SIZE,
} from "./protocol.ts";

/** A WRITE of this many bytes is handed over with its slot; copying a smaller one is cheaper than its memory. */
const OWNED_BYTES_MIN = 32_768;

export function read(d: Dispatcher): number {
  const offset = d.request.u64(READ_OFFSET);
  if (offset > Number.MAX_SAFE_INTEGER) return 0;
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
  return d.reply.count(status);
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
  d.later.copyRange(request, fromOffset, to, toOffset, byteLength);
  return NO_REPLY;
}

/** Handlers of names: making, removing, linking; what is opened, and what the kernel forgets. */
import { constants } from "node:fs";
import { EINVAL, ENOSYS, ESTALE } from "../base/errno.ts";
import { fixedProblem, immutableProblem } from "../fs/inode_flags.ts";
import type { Dispatcher } from "./dispatch.ts";
import { done, NO_REPLY } from "./later.ts";
import {
  BATCH_FORGET_IN_BYTES,
  CREATE_IN_BYTES,
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FORGET_ONE_BYTES,
  FUSE_ROOT_ID,
  LINK_IN_BYTES,
  MKDIR_IN_BYTES,
  MKNOD_IN_BYTES,
} from "./protocol.ts";

const { O_APPEND, O_RDONLY, O_RDWR, O_WRONLY } = constants;
const O_ACCMODE: number = O_WRONLY | O_RDWR;

const LINK_BYTES_MAX = 4095;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

export function readlink(d: Dispatcher): number {
  return d.fs.readLink(d.request.nodeid, d.reply.payload, LINK_BYTES_MAX);
}

export function symlink(d: Dispatcher): number {
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

export function mknod(d: Dispatcher): number {
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

export function mkdir(d: Dispatcher): number {
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
export function create(d: Dispatcher): number {
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
  return d.reply.opened(FOPEN_DIRECT_IO, d.giveEntry());
}

export function tmpfile(d: Dispatcher): number {
  const { request } = d;
  const node = d.newNode(S_IFREG | (request.u32(4) & 0o7777), 0, request.u32(8));
  const status = d.fs.makeUnnamed(request.nodeid, node, d.attributes);
  if (status < 0) return status;
  return d.reply.opened(d.noOpen ? FOPEN_KEEP_CACHE : FOPEN_DIRECT_IO, d.giveEntry());
}

export function unlink(d: Dispatcher): number {
  if (!d.name(0)) return -EINVAL;
  const { nodeid, nameAddress, nameLength } = d.request;
  return done(d.fs.unlink(nodeid, nameAddress, nameLength));
}

export function rmdir(d: Dispatcher): number {
  if (!d.name(0)) return -EINVAL;
  const { nodeid, nameAddress, nameLength } = d.request;
  return done(d.fs.removeDirectory(nodeid, nameAddress, nameLength));
}

export function link(d: Dispatcher): number {
  const { request } = d;
  if (!d.name(LINK_IN_BYTES)) return -EINVAL;
  if (request.u64(0) > Number.MAX_SAFE_INTEGER) return -ESTALE;
  const { nodeid, nameAddress, nameLength } = request;
  const status = d.fs.link(request.u64(0), nodeid, nameAddress, nameLength, d.attributes);
  return status < 0 ? status : d.giveEntry();
}

/** Asked for only where the kernel is to read nothing from its cache. */
export function open(d: Dispatcher): number {
  if (d.noOpen) return -ENOSYS;
  const { attributes, request } = d;
  const status = d.fs.getAttributes(request.nodeid, attributes);
  if (status < 0) return status;
  const flags = request.u32(0);
  // May_open() of the kernel would refuse these, if it knew the flags of our files.
  if ((flags & O_ACCMODE) !== O_RDONLY) {
    const appends = (flags & O_APPEND) !== 0;
    const forbidden = (appends ? immutableProblem : fixedProblem)(attributes.flags);
    if (forbidden < 0) return forbidden;
  }
  return d.reply.opened(FOPEN_DIRECT_IO, 0);
}

export function opendir(d: Dispatcher): number {
  return d.noOpendir ? -ENOSYS : d.reply.opened(0, 0);
}

export function forget(d: Dispatcher): number {
  const { nodeid } = d.request;
  const count = d.request.u64(0);
  if (nodeid !== FUSE_ROOT_ID && count > 0) d.forget(nodeid, count);
  return NO_REPLY;
}

export function batchForget(d: Dispatcher): number {
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

/** Handlers of attributes: GETATTR, STATX, SETATTR, extended attributes, and the ioctls of chattr. */
import { EFBIG, EINVAL, ENOTTY, EOPNOTSUPP, EPERM, ERANGE, EROFS } from "../base/errno.ts";
import {
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
  XATTR_KILL_SETGID,
} from "../fs/file_system.ts";
import type { Dispatcher } from "./dispatch.ts";
import { flagsOfXflags, isImmutableFile, xflagsOf } from "./file_flags.ts";
import { done, NO_REPLY } from "./later.ts";
import {
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
  FS_IOC_FSGETXATTR,
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
  FS_IOC_GETVERSION,
  FS_IOC_SETFLAGS,
  FSXATTR_BYTES,
  FSXATTR_PROJID,
  FUSE_GETATTR_FH,
  FUSE_SETXATTR_ACL_KILL_SGID,
  GETXATTR_IN_BYTES,
  IOCTL_CMD,
  IOCTL_IN_BYTES,
  SETATTR_ATIME,
  SETATTR_ATIME_NS,
  SETATTR_CTIME,
  SETATTR_CTIME_NS,
  SETATTR_GID,
  SETATTR_MODE,
  SETATTR_MTIME,
  SETATTR_MTIME_NS,
  SETATTR_SIZE,
  SETATTR_UID,
  SETATTR_VALID,
  SETXATTR_EXT_IN_BYTES,
  SETXATTR_IN_BYTES,
} from "./protocol.ts";

/** Of a second: the first number that is not of one. */
const NANOSECONDS = 1_000_000_000;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

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

export function getattr(d: Dispatcher): number {
  const status = attributesAsked(d);
  return status === 0 ? d.reply.attributes(d.attributes) : status;
}

export function statx(d: Dispatcher): number {
  const status = attributesAsked(d);
  return status === 0 ? d.reply.statx(d.attributes) : status;
}

export function ioctl(d: Dispatcher): number {
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

export function setattr(d: Dispatcher): number {
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
  const isTime =
    ((set & SET_ATIME) === 0 || change.atimeNs < NANOSECONDS) &&
    ((set & SET_MTIME) === 0 || change.mtimeNs < NANOSECONDS) &&
    ((set & SET_CTIME) === 0 || change.ctimeNs < NANOSECONDS);
  if (!isTime) return d.malformed();
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

export function setxattr(d: Dispatcher): number {
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

export function getxattr(d: Dispatcher): number {
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

export function listxattr(d: Dispatcher): number {
  const { request, reply } = d;
  const size = request.u32(0);
  const room = Math.min(size, reply.capacity);
  const status = d.fs.listXattr(request.nodeid, reply.payload, room, request.uid === 0);
  if (status < 0) return status;
  if (size === 0) return reply.count(status);
  return status > room ? -ERANGE : status;
}

export function removexattr(d: Dispatcher): number {
  if (!d.name(0)) return -EINVAL;
  if (d.isHiddenAcl()) return -EOPNOTSUPP;
  const { nodeid, nameAddress, nameLength } = d.request;
  return done(d.fs.removeXattr(nodeid, nameAddress, nameLength));
}

/** The table of requests: which handler answers each, how long it is at least, and what it changes. */
import { ENOSYS } from "../base/errno.ts";
import type { Dispatcher } from "./dispatch.ts";
import {
  getattr,
  getxattr,
  ioctl,
  listxattr,
  removexattr,
  setattr,
  setxattr,
  statx,
} from "./handlers_attributes.ts";
import {
  copyFileRange,
  fallocate,
  fsync,
  lseek,
  read,
  statfs,
  syncfs,
  write,
} from "./handlers_data.ts";
import {
  batchForget,
  create,
  forget,
  link,
  mkdir,
  mknod,
  open,
  opendir,
  readlink,
  rmdir,
  symlink,
  tmpfile,
  unlink,
} from "./handlers_names.ts";
import { NO_REPLY } from "./later.ts";
import {
  BATCH_FORGET_IN_BYTES,
  COPY_FILE_RANGE_IN_BYTES,
  CREATE_IN_BYTES,
  FALLOCATE_IN_BYTES,
  FLUSH_IN_BYTES,
  FORGET_IN_BYTES,
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
  FUSE_FSYNCDIR,
  FUSE_GETATTR,
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
  FUSE_SETATTR,
  FUSE_SETXATTR,
  FUSE_STATFS,
  FUSE_STATX,
  FUSE_SYMLINK,
  FUSE_SYNCFS,
  FUSE_TMPFILE,
  FUSE_UNLINK,
  FUSE_WRITE,
  GETATTR_IN_BYTES,
  GETXATTR_IN_BYTES,
  IOCTL_IN_BYTES,
  LINK_IN_BYTES,
  LSEEK_IN_BYTES,
  MKDIR_IN_BYTES,
  MKNOD_IN_BYTES,
  OPCODE_COUNT,
  OPEN_IN_BYTES,
  READ_IN_BYTES,
  RELEASE_IN_BYTES,
  RENAME_IN_BYTES,
  RENAME2_IN_BYTES,
  SETATTR_IN_BYTES,
  SETXATTR_IN_BYTES,
  STATX_IN_BYTES,
  SYNCFS_IN_BYTES,
  WRITE_IN_BYTES,
} from "./protocol.ts";

export type Handler = (dispatcher: Dispatcher) => number;

const ok: Handler = () => 0;
const unanswered: Handler = () => NO_REPLY;
const unsupported: Handler = () => -ENOSYS;

/** By opcode: the handler, and the least length of the body. What is not here is not implemented. */
export const HANDLERS: Handler[] = new Array<Handler>(OPCODE_COUNT).fill(unsupported);
export const BODY_BYTES_MIN: Uint16Array = new Uint16Array(OPCODE_COUNT);
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
export const CHANGES_NAMES = 1;
export const CHANGES_OBJECT = 2;
export const CHANGES: Uint8Array = new Uint8Array(OPCODE_COUNT);
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

import { BLOCK_BYTES, MAX_WRITE_BYTES } from "./protocol.ts";
import type { Request } from "./request.ts";

/** The request has no reply, or gets it later. */
export const NO_REPLY = 0x7fff_ffff;

/** Blocks of a slot: one for the headers, and the largest payload. */
export const SLOT_BLOCKS: number = 1 + MAX_WRITE_BYTES / BLOCK_BYTES;

/** What later completions need of the session. Each call ends with a reply to the request as it is now. */
export interface Later {
  read(request: Request, offset: number, byteLength: number): void;
  fsync(request: Request, dataOnly: boolean): void;
  sync(request: Request): void;
  /** Has the kernel forget what it has cached of an inode. */
  dropCached(ino: number): void;
  /** Answers a WRITE when the kernel has forgotten what it has cached of a range. */
  countForgotten(request: Request, byteCount: number, offset: number, byteLength: number): void;
  /** Throws a Retry, to run the request again when the kernel has forgotten the inode's attributes; if it can be told. */
  forgetAttributes(ino: number): void;
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

/** A reply without payload, or the error. */
export function done(status: number): number {
  return Math.min(status, 0);
}

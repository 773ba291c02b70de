/**
 * Which files the kernel may have pages of. An asynchronous direct write (io_submit, io_uring) drops what the kernel has
 * cached of its range before it is sent, and not after: what is read into the cache meanwhile stays there, although the
 * write has replaced it (fs/fuse/file.c of Linux 6.18; other file systems drop it again at the end). So we have it dropped,
 * before the write is answered, where the file has ever been read through the cache.
 *
 * A filter by hash, of fixed size: it forgets nothing, and another file's bit costs no more than a notice.
 */
import { constants } from "node:fs";

const BITS = 1 << 20;

export class CachedReads {
  readonly #words = new Int32Array(BITS / 32);

  /** A file has been read. @param flags Of its open description: O_DIRECT reads past the cache. */
  note(ino: number, flags: number): void {
    if (isDirect(flags)) return;
    const bit = bitOf(ino);
    (this.#words[bit >>> 5] as number) |= 1 << (bit & 31);
  }

  /** Whether the kernel may have pages of the file. */
  mayHold(ino: number): boolean {
    const bit = bitOf(ino);
    return ((this.#words[bit >>> 5] as number) & (1 << (bit & 31))) !== 0;
  }
}

/** Of flags as READ and WRITE carry them. */
export function isDirect(flags: number): boolean {
  return (flags & constants.O_DIRECT) !== 0;
}

function bitOf(ino: number): number {
  return Math.imul((ino >>> 0) ^ Math.floor(ino / 2 ** 32), 0x9e3779b1) >>> 12;
}

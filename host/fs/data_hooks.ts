/** What the names half asks of the data half. */
import type { Attributes } from "./file_system.ts";

export interface DataHooks {
  /** Overrides size, mtime, ctime, blocks of attributes with newer buffered values. */
  overlay(ino: number, out: Attributes): void;
  /**
   * Prepares a size change inside an open transaction; looks at keys (may throw Retry) and returns 0 or −errno; then
   * `truncateApply` puts and removes (bounded work) and returns the blocks (4 KiB) freed.
   */
  truncatePrepare(ino: number, size: number, newSize: number): number;
  truncateApply(ino: number, size: number, newSize: number): number;
  /** Whether `releaseApply` can free the file's data within the open transaction; looks at keys (may throw Retry). */
  releasePrepare(ino: number): boolean;
  /** Frees the file's data and forgets what is buffered. */
  releaseApply(ino: number): void;
  /** The inode's last link and reference are gone: free it in the background; (0, ORPHAN, ino) already exists. */
  reap(ino: number): void;
  /**
   * The file's buffered data goes into the journal before what the caller is about to append (rename over). Call before
   * begin; may throw Retry.
   */
  orderData(ino: number): void;
  /** FS_*_FL were set. */
  flagsChanged(ino: number, flags: number): void;
  /** Times changed explicitly (utimens, chmod …): buffered ones give way. */
  attributesChanged(ino: number, out: Attributes): void;
  /**
   * Something else than data or attributes changed now (a name, a link, an extended attribute): so did ctime alone.
   * Returns the mtime of buffered data, if that is newer than the inode's.
   */
  ctimeChanged(
    ino: number,
    seconds: number,
    nanoseconds: number,
  ): { readonly mtime: number; readonly mtimeNs: number } | null;
}

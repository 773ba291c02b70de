/** Recovery's part of file data: what the journal alone holds is buffered again. SPEC §7.3. */
import { BLOCK_BYTES } from "../format/geometry.ts";
import { ITEM_INLINE, ITEM_INODE } from "../format/key.ts";
import type { ReplayTarget } from "../store/recovery.ts";
import type { Store } from "../store/store.ts";
import type { DirtyFiles } from "./dirty_files.ts";
import type { ExtentMap } from "./extent_map.ts";
import { inodeSize, inodeTimes, Times } from "./inode_data.ts";
import type { Quotas } from "./quotas.ts";

export class FileReplay implements ReplayTarget {
  readonly #store: Store;
  readonly #files: DirtyFiles;
  readonly #extents: ExtentMap;

  readonly #quotas: Quotas;
  readonly #times = new Times();

  constructor(options: { store: Store; files: DirtyFiles; extents: ExtentMap; quotas: Quotas }) {
    this.#quotas = options.quotas;
    this.#store = options.store;
    this.#files = options.files;
    this.#extents = options.extents;
  }

  replayLook(ino: number): void {
    const inode = this.#store.get(ino, ITEM_INODE, 0);
    if (inode === 0) return;
    const size = inodeSize(this.#store.core, inode);
    this.#extents.lastBefore(ino, Math.ceil(size / BLOCK_BYTES));
    this.#store.get(ino, ITEM_INLINE, 0);
  }

  /** A DATA entry: buffered again, to be written to extents by the next checkpoint. */
  replayData(
    ino: number,
    offset: number,
    size: number,
    mtime: number,
    mtimeNs: number,
    address: number,
    byteLength: number,
  ): void {
    const file = this.#files.open(ino);
    if (typeof file === "number") return;
    const first = offset / BLOCK_BYTES;
    this.#files.copyIn(file, offset, address, byteLength, first, byteLength / BLOCK_BYTES);
    if (this.#replayedTruncate === ino) file.size = size;
    else file.size = Math.max(file.size, size);
    const inode = this.#store.get(ino, ITEM_INODE, 0);
    inodeTimes(this.#store.core, inode, this.#times);
    // The data of a change of attributes or of a write that left the times to others: the inode says it all.
    if (this.#times.mtime === mtime && this.#times.mtimeNs === mtimeNs) {
      Object.assign(file, this.#times);
      file.timesDirty = false;
      return;
    }
    file.mtime = mtime;
    file.mtimeNs = mtimeNs;
    // A write sets both to the same.
    file.ctime = mtime;
    file.ctimeNs = mtimeNs;
    file.timesDirty = true;
  }

  /** A replayed item holds newer data than what was buffered for these blocks. */
  replayDrop(ino: number, fileBlock: number, count: number): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    this.#files.drop(file, fileBlock, count);
    this.#files.settle(file);
  }

  /** A replayed inode holds newer times than what was buffered. */
  replayInode(ino: number): void {
    const file = this.#files.get(ino);
    if (file !== undefined) file.timesDirty = false;
    this.#replayedTruncate = 0;
  }

  /** File whose inode, which the same transaction puts later, still has the size from before a truncation. */
  #replayedTruncate = 0;

  replayTruncate(ino: number, size: number): void {
    this.#replayedTruncate = ino;
    const file = this.#files.get(ino);
    if (file !== undefined) this.#files.truncate(file, size);
  }

  replayQuota(key: number, address: number): void {
    this.#quotas.replayed(key, address);
  }

  replayRemoved(ino: number): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    this.#files.forget(file);
  }
}

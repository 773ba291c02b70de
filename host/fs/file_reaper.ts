/** Frees the data and the items of unlinked inodes, in the background and in transactions of bounded size. */
import { EROFS } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { retrying, spawn, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { INODE_BYTES } from "../format/inode.ts";
import { ITEM_INLINE, ITEM_INODE } from "../format/key.ts";
import { INTENT_SHRINK } from "../store/item_store.ts";
import type { Store } from "../store/store.ts";
import type { DirtyFiles } from "./dirty_files.ts";
import type { ExtentMap } from "./extent_map.ts";
import { CUT_EXTENTS_MAX, CUT_TO } from "./file_ranges.ts";
import { copyInodeForData, inodeBlocks, storeInodeData } from "./inode_data.ts";

export class FileReaper {
  readonly #core: Core;
  readonly #store: Store;
  readonly #files: DirtyFiles;
  readonly #extents: ExtentMap;
  readonly #inode: number;

  constructor(options: { store: Store; files: DirtyFiles; extents: ExtentMap; layout: Layout }) {
    this.#store = options.store;
    this.#core = options.store.core;
    this.#files = options.files;
    this.#extents = options.extents;
    this.#inode = options.layout.take(INODE_BYTES, 8);
  }

  readonly #reapQueue: number[] = [];

  #reaping = false;

  /** Removes a bounded number of the other items of an unlinked inode; true when it is gone. Set by the namespace. */
  reapItems: (ino: number) => boolean = () => true;

  reap(ino: number): void {
    this.#reapQueue.push(ino);
    if (this.#reaping) return;
    this.#reaping = true;
    spawn(this.#reapAll(), (error) => {
      this.#reaping = false;
      if (error !== null) this.#store.fault(error);
    });
  }

  /** Whether unlinked inodes are still being freed. */
  get isReaping(): boolean {
    return this.#reaping;
  }

  *#reapAll(): Task<void> {
    // Let the operation that called end first.
    yield (resume) => this.#store.post(() => resume(0));
    for (;;) {
      const ino = this.#reapQueue.shift();
      if (ino === undefined || this.#store.faulted !== null) return;
      const file = this.#files.get(ino);
      if (file !== undefined) {
        file.closed = true;
        if (file.inFlight > 0) yield (resume) => file.whenIdle(resume);
        this.#files.forget(file);
      }
      while (yield* retrying(() => this.#reapExtents(ino)));
      while (!(yield* retrying(() => this.reapItems(ino))));
    }
  }

  /** Removes a bounded number of extents; whether there may be more. */
  #reapExtents(ino: number): boolean {
    const store = this.#store;
    const begun = store.begin(INTENT_SHRINK);
    if (begun < 0) {
      if (this.#store.faulted !== null || begun === -EROFS) return false;
      throw new FsError(begun, "file/reap", `Cannot free inode ${ino}: error ${begun}`);
    }
    const inode = store.get(ino, ITEM_INODE, 0);
    if (inode === 0) return false;
    copyInodeForData(this.#core, inode, this.#inode);
    const overlap = this.#extents.look(ino, 0, CUT_TO, CUT_EXTENTS_MAX);
    const inline = store.get(ino, ITEM_INLINE, 0) !== 0;
    if (overlap.extents.length === 0 && !inline) return false;
    const last = overlap.extents[overlap.extents.length - 1];
    const lost =
      last === undefined ? 0 : this.#extents.cut(ino, overlap, 0, last.fileBlock + last.blockCount);
    if (inline) store.remove(ino, ITEM_INLINE, 0);
    storeInodeData(this.#core, this.#inode, 0, inodeBlocks(this.#core, this.#inode) - lost, null);
    store.put(ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
    store.logTruncate(ino, 0);
    store.commit();
    return !overlap.isComplete;
  }
}

/** Removing names, and what has none any more: at once where one transaction does, else as an orphan that is reaped when nobody holds it. */
import { EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY } from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import { INODE_ENTRIES, INODE_NLINK, INODE_XATTRS } from "../format/inode.ts";
import {
  ITEM_INODE,
  ITEM_ORPHAN,
  ITEM_SYMLINK,
  ITEM_XATTR,
  ITEM_XATTR_DATA,
} from "../format/key.ts";
import { INTENT_SHRINK, type ItemStore } from "../store/item_store.ts";
import type { DataHooks } from "./data_hooks.ts";
import type { Directory } from "./directory.ts";
import { fixedProblem } from "./inode_flags.ts";
import { type InodeStore, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "./inode_store.ts";
import type { NameParts } from "./name_parts.ts";
import type { ReferenceTable } from "./reference_table.ts";

const REAP_ITEMS = 64;

export class NameRemoval {
  readonly #parts: NameParts;
  readonly #store: ItemStore;
  readonly #core: Core;
  readonly #hooks: DataHooks;
  readonly #inodes: InodeStore;
  readonly #directory: Directory;
  readonly #references: ReferenceTable;

  constructor(parts: NameParts) {
    this.#parts = parts;
    this.#store = parts.store;
    this.#core = parts.core;
    this.#hooks = parts.hooks;
    this.#inodes = parts.inodes;
    this.#directory = parts.directory;
    this.#references = parts.references;
  }

  unlink(parent: number, nameAddress: number, nameLength: number): number {
    const inodes = this.#inodes;
    const bad = this.#parts.nameProblem(nameAddress, nameLength);
    if (bad !== 0) return bad === -EEXIST ? -EISDIR : bad;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    const directory = inodes.record(0);
    const record = inodes.record(1);
    let status = this.#parts.loadDirectory(parent, directory);
    if (status < 0) return status;
    if (!this.#directory.find(parent, nameAddress, nameLength)) return -ENOENT;
    const { ino } = this.#directory;
    status = inodes.load(ino, record);
    if (status < 0) return status;
    status = fixedProblem(inodes.flags(record) | inodes.flags(directory));
    if (status < 0) return status;
    if (inodes.isDirectory(record)) return -EISDIR;
    this.lookAtRelease(ino, record);
    inodes.readClock();
    this.#directory.remove(parent, nameAddress, nameLength);
    this.#parts.countEntries(directory, -1);
    inodes.touchMtime(directory);
    inodes.put(parent, directory);
    const reap = this.dropLink(ino, record);
    this.#store.commit();
    if (reap) this.#hooks.reap(ino);
    return 0;
  }

  removeDirectory(parent: number, nameAddress: number, nameLength: number): number {
    const inodes = this.#inodes;
    const bad = this.#parts.nameProblem(nameAddress, nameLength);
    if (bad !== 0)
      return isDot(this.#core, nameAddress, nameLength)
        ? -EINVAL
        : bad === -EEXIST
          ? -ENOTEMPTY
          : bad;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    const directory = inodes.record(0);
    const record = inodes.record(1);
    let status = this.#parts.loadDirectory(parent, directory);
    if (status < 0) return status;
    if (!this.#directory.find(parent, nameAddress, nameLength)) return -ENOENT;
    const { ino } = this.#directory;
    status = inodes.load(ino, record);
    if (status < 0) return status;
    // As may_delete() of the kernel, which would do it if it knew the flags.
    status = fixedProblem(inodes.flags(record) | inodes.flags(directory));
    if (status < 0) return status;
    if (!inodes.isDirectory(record)) return -ENOTDIR;
    if (inodes.u32(record, INODE_ENTRIES) > 0) return -ENOTEMPTY;
    this.lookAtRelease(ino, record);
    inodes.readClock();
    this.#directory.remove(parent, nameAddress, nameLength);
    this.#parts.countEntries(directory, -1);
    inodes.setU32(directory, INODE_NLINK, inodes.u32(directory, INODE_NLINK) - 1);
    inodes.touchMtime(directory);
    inodes.put(parent, directory);
    const reap = this.dropLink(ino, record);
    this.#store.commit();
    if (reap) this.#hooks.reap(ino);
    return 0;
  }

  /** Looks at the keys that dropLink may change, and at what the inode's data needs. */
  lookAtRelease(ino: number, record: number): void {
    const type = this.#inodes.mode(record) & S_IFMT;
    this.#store.get(0, ITEM_ORPHAN, ino);
    this.#store.get(ino, ITEM_INODE, 0);
    if (type === S_IFLNK) this.#store.get(ino, ITEM_SYMLINK, 0);
    const last = type === S_IFDIR || this.#inodes.u32(record, INODE_NLINK) === 1;
    this.#releasable =
      last &&
      this.#references.get(ino) === 0 &&
      this.#inodes.u32(record, INODE_XATTRS) === 0 &&
      (type !== S_IFREG || this.#hooks.releasePrepare(ino));
  }

  /** What lookAtRelease found: nothing hangs on the inode that one transaction could not remove. */
  #releasable = false;

  /**
   * Takes one link from an inode whose record is loaded (a directory loses all of its links). Without any left it is
   * removed at once if nothing hangs on it, else listed as an orphan.
   *
   * @returns Whether the caller must have it reaped after commit.
   */
  dropLink(ino: number, record: number): boolean {
    const inodes = this.#inodes;
    const links = inodes.isDirectory(record) ? 0 : inodes.u32(record, INODE_NLINK) - 1;
    inodes.setU32(record, INODE_NLINK, links);
    if (links > 0) {
      inodes.putChanged(ino, record);
      return false;
    }
    if (this.#releasable) {
      const type = inodes.mode(record) & S_IFMT;
      if (type === S_IFLNK) this.#store.remove(ino, ITEM_SYMLINK, 0);
      if (type === S_IFREG) this.#hooks.releaseApply(ino);
      inodes.remove(ino);
      return false;
    }
    const held = this.#references.get(ino) > 0;
    inodes.putChanged(ino, record);
    this.#store.put(0, ITEM_ORPHAN, ino, this.#store.scratchAddress, 0);
    if (held) this.#parts.unlinked.add(ino);
    return !held;
  }

  remember(ino: number, count: number): void {
    this.#references.add(ino, count);
  }

  forget(ino: number, count: number): void {
    if (this.#references.subtract(ino, count) > 0) return;
    this.#parts.linkable.delete(ino);
    if (this.#parts.unlinked.delete(ino) && !this.#parts.readOnly) this.#hooks.reap(ino);
  }

  /** Inodes without a name that an earlier mount left behind. */
  orphans(): number[] {
    const found: number[] = [];
    let more = this.#store.seek(0, ITEM_ORPHAN, 0);
    while (more && this.#store.keyOid === 0 && this.#store.keyType === ITEM_ORPHAN) {
      found.push(this.#store.keyOffset);
      more = this.#store.next();
    }
    return found;
  }

  /**
   * Removes a bounded number of the items of an orphan whose data is gone; at last the inode itself.
   *
   * @returns True when nothing of it is left, or it cannot go on now.
   */
  reapStep(ino: number): boolean {
    const store = this.#store;
    if (store.begin(INTENT_SHRINK) < 0) return true;
    const record = this.#inodes.record(5);
    const listed = this.#parts.isOrphan(ino);
    if (this.#inodes.load(ino, record) < 0) {
      if (listed) store.remove(0, ITEM_ORPHAN, ino);
      store.commit();
      return true;
    }
    // Linked again (O_TMPFILE), or held again: not ours any more.
    if (!listed || this.#references.get(ino) > 0) {
      if (listed) this.#parts.unlinked.add(ino);
      store.commit();
      return true;
    }
    const keys: number[] = [];
    for (const type of [ITEM_XATTR, ITEM_XATTR_DATA, ITEM_SYMLINK]) {
      let more = store.seek(ino, type, 0);
      while (
        more &&
        keys.length < REAP_ITEMS * 2 &&
        store.keyOid === ino &&
        store.keyType === type
      ) {
        keys.push(type, store.keyOffset);
        more = store.next();
      }
    }
    for (let i = 0; i < keys.length; i += 2)
      store.get(ino, keys[i] as number, keys[i + 1] as number);
    store.get(ino, ITEM_INODE, 0);
    store.get(0, ITEM_ORPHAN, ino);
    for (let i = 0; i < keys.length; i += 2)
      store.remove(ino, keys[i] as number, keys[i + 1] as number);
    if (keys.length < REAP_ITEMS * 2) {
      this.#inodes.remove(ino);
      store.remove(0, ITEM_ORPHAN, ino);
      store.commit();
      return true;
    }
    store.commit();
    return false;
  }
}
function isDot(core: Core, nameAddress: number, nameLength: number): boolean {
  return nameLength === 1 && core.bytes[nameAddress] === 0x2e;
}

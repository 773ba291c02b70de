/** Rename: over what exists, exchange, whiteout, directories between directories. */

import {
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  EMLINK,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
} from "../base/errno.ts";
import { INODE_ENTRIES, INODE_GID, INODE_NLINK, INODE_PARENT, INODE_UID } from "../format/inode.ts";
import { INTENT_GROW, INTENT_SHRINK, type ItemStore } from "../store/item_store.ts";
import type { DataHooks } from "./data_hooks.ts";
import type { Directory } from "./directory.ts";
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, ROOT_INO } from "./file_system.ts";
import { fixedProblem, immutableProblem } from "./inode_flags.ts";
import { type InodeStore, S_IFCHR, S_IFREG } from "./inode_store.ts";
import { LINKS_MAX, type NameParts } from "./name_parts.ts";
import type { NameRemoval } from "./name_removal.ts";

/** Directories deeper than this are refused as new parents of directories: bounds the walk to the root. */
const DEPTH_MAX = 1_000_000;

export class NameRenaming {
  readonly #parts: NameParts;
  readonly #store: ItemStore;
  readonly #hooks: DataHooks;
  readonly #inodes: InodeStore;
  readonly #directory: Directory;

  readonly #removal: NameRemoval;

  constructor(parts: NameParts, removal: NameRemoval) {
    this.#removal = removal;
    this.#parts = parts;
    this.#store = parts.store;
    this.#hooks = parts.hooks;
    this.#inodes = parts.inodes;
    this.#directory = parts.directory;
  }

  rename(
    parent: number,
    nameAddress: number,
    nameLength: number,
    newParent: number,
    newNameAddress: number,
    newNameLength: number,
    flags: number,
  ): number {
    const bad =
      this.#renameNameProblem(nameAddress, nameLength) ||
      this.#renameNameProblem(newNameAddress, newNameLength);
    if (bad !== 0) return bad;
    if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) !== 0) return -EINVAL;
    if ((flags & RENAME_EXCHANGE) !== 0 && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) !== 0)
      return -EINVAL;
    const inodes = this.#inodes;
    if (!this.#directory.find(parent, nameAddress, nameLength)) {
      const status = this.#parts.loadDirectory(parent, inodes.record(0));
      return status < 0 ? status : -ENOENT;
    }
    const ino = this.#directory.ino;
    // What replaces a name must not be found empty after a crash: its data goes into the journal first.
    if ((flags & RENAME_EXCHANGE) === 0 && this.#directory.type === S_IFREG >> 12)
      this.#hooks.orderData(ino);

    const begun = this.#store.begin((flags & RENAME_WHITEOUT) !== 0 ? INTENT_GROW : INTENT_SHRINK);
    if (begun < 0) return begun;
    const from = inodes.record(0);
    const to = newParent === parent ? from : inodes.record(1);
    let status = this.#parts.loadDirectory(parent, from);
    if (status < 0) return status;
    if (newParent !== parent) {
      status = this.#parts.loadDirectory(newParent, to);
      if (status < 0) return status;
    }
    if (!this.#directory.find(parent, nameAddress, nameLength)) return -ENOENT;
    if (this.#directory.ino !== ino) return -ENOENT;
    const type = this.#directory.type;
    const moved = inodes.record(2);
    status = inodes.load(ino, moved);
    if (status < 0) return status;
    const exists = this.#directory.find(newParent, newNameAddress, newNameLength);
    const other = exists ? this.#directory.ino : 0;
    const otherType = exists ? this.#directory.type : 0;
    if (exists && (flags & RENAME_NOREPLACE) !== 0) return -EEXIST;
    if (!exists && (flags & RENAME_EXCHANGE) !== 0) return -ENOENT;
    if (exists && other === ino) return 0;
    const target = inodes.record(3);
    if (exists) {
      status = inodes.load(other, target);
      if (status < 0) return status;
    }
    status = this.#moveProblem(from, to, moved, exists ? target : 0, flags);
    if (status < 0) return status;
    const movesDirectory = inodes.isDirectory(moved);
    if (movesDirectory && newParent !== parent) {
      status = this.#checkAncestry(ino, newParent);
      if (status < 0) return status;
    }
    if ((flags & RENAME_EXCHANGE) !== 0) {
      return this.#exchange({
        parent,
        nameAddress,
        nameLength,
        newParent,
        newNameAddress,
        newNameLength,
        ino,
        type,
        other,
        otherType,
      });
    }
    if (exists) {
      if (inodes.isDirectory(target) && !movesDirectory) return -EISDIR;
      if (!inodes.isDirectory(target) && movesDirectory) return -ENOTDIR;
      if (inodes.isDirectory(target) && inodes.u32(target, INODE_ENTRIES) > 0) return -ENOTEMPTY;
      this.#removal.lookAtRelease(other, target);
    } else if (!this.#directory.hasRoom(newParent, newNameAddress, newNameLength)) return -ENOSPC;
    if (
      movesDirectory &&
      newParent !== parent &&
      !exists &&
      inodes.u32(to, INODE_NLINK) >= LINKS_MAX
    )
      return -EMLINK;
    const whiteout = (flags & RENAME_WHITEOUT) !== 0;
    const whiteoutIno = whiteout ? this.#parts.newObjectId(false, false) : 0;

    inodes.readClock();
    if (whiteout) {
      const record = inodes.record(4);
      inodes.fresh(
        record,
        whiteoutIno,
        S_IFCHR,
        inodes.u32(moved, INODE_UID),
        inodes.u32(moved, INODE_GID),
        0,
        0,
      );
      inodes.setU32(record, INODE_NLINK, 1);
      inodes.put(whiteoutIno, record);
      this.#store.countObjects(1);
      this.#directory.replace(parent, nameAddress, nameLength, whiteoutIno, S_IFCHR >> 12);
    } else {
      this.#directory.remove(parent, nameAddress, nameLength);
      this.#parts.countEntries(from, -1);
    }
    if (exists) this.#directory.replace(newParent, newNameAddress, newNameLength, ino, type);
    else {
      this.#directory.add(newParent, newNameAddress, newNameLength, ino, type);
      this.#parts.countEntries(to, 1);
    }
    if (movesDirectory) {
      // The subdirectory counts where it now is; one that it replaces no longer does.
      inodes.setU32(from, INODE_NLINK, inodes.u32(from, INODE_NLINK) - 1);
      inodes.setU32(to, INODE_NLINK, inodes.u32(to, INODE_NLINK) + (exists ? 0 : 1));
      if (newParent !== parent) inodes.setU64(moved, INODE_PARENT, newParent);
    }
    inodes.touchMtime(from);
    inodes.put(parent, from);
    if (newParent !== parent) {
      inodes.touchMtime(to);
      inodes.put(newParent, to);
    }
    inodes.putChanged(ino, moved);
    const reap = exists && this.#removal.dropLink(other, target);
    this.#store.commit();
    if (reap) this.#hooks.reap(other);
    return 0;
  }

  /** Flags and projects that forbid a rename. @param target 0: nothing has the new name. */
  #moveProblem(from: number, to: number, moved: number, target: number, flags: number): number {
    const inodes = this.#inodes;
    const exchanges = (flags & RENAME_EXCHANGE) !== 0;
    let fixed = inodes.flags(from) | inodes.flags(moved);
    if (target !== 0) fixed |= inodes.flags(target);
    if (exchanges) fixed |= inodes.flags(to);
    return (
      fixedProblem(fixed) ||
      immutableProblem(inodes.flags(to)) ||
      this.#parts.projectProblem(to, moved) ||
      (exchanges ? this.#parts.projectProblem(from, target) : 0)
    );
  }

  #exchange(move: {
    parent: number;
    nameAddress: number;
    nameLength: number;
    newParent: number;
    newNameAddress: number;
    newNameLength: number;
    ino: number;
    type: number;
    other: number;
    otherType: number;
  }): number {
    const inodes = this.#inodes;
    const { parent, newParent, ino, other } = move;
    const from = inodes.record(0);
    const to = newParent === parent ? from : inodes.record(1);
    const moved = inodes.record(2);
    const target = inodes.record(3);
    if (inodes.isDirectory(target) && newParent !== parent) {
      const status = this.#checkAncestry(other, parent);
      if (status < 0) return status;
    }
    inodes.readClock();
    this.#directory.replace(parent, move.nameAddress, move.nameLength, other, move.otherType);
    this.#directory.replace(newParent, move.newNameAddress, move.newNameLength, ino, move.type);
    if (newParent !== parent) {
      const shift = (inodes.isDirectory(target) ? 1 : 0) - (inodes.isDirectory(moved) ? 1 : 0);
      inodes.setU32(from, INODE_NLINK, inodes.u32(from, INODE_NLINK) + shift);
      inodes.setU32(to, INODE_NLINK, inodes.u32(to, INODE_NLINK) - shift);
      if (inodes.isDirectory(moved)) inodes.setU64(moved, INODE_PARENT, newParent);
      if (inodes.isDirectory(target)) inodes.setU64(target, INODE_PARENT, parent);
    }
    inodes.touchMtime(from);
    inodes.put(parent, from);
    if (newParent !== parent) {
      inodes.touchMtime(to);
      inodes.put(newParent, to);
    }
    inodes.putChanged(ino, moved);
    inodes.putChanged(other, target);
    this.#store.commit();
    return 0;
  }

  /** A directory cannot move into itself: −EINVAL if `ino` is `directory` or above it. */
  #checkAncestry(ino: number, directory: number): number {
    const record = this.#inodes.record(5);
    let at = directory;
    for (let depth = 0; depth < DEPTH_MAX; depth++) {
      if (at === ino) return -EINVAL;
      if (at === ROOT_INO) return 0;
      const status = this.#inodes.load(at, record);
      if (status < 0) return status;
      at = this.#inodes.u64(record, INODE_PARENT);
    }
    return -EINVAL;
  }

  #renameNameProblem(nameAddress: number, nameLength: number): number {
    const problem = this.#parts.newNameProblem(nameAddress, nameLength);
    return problem === -EEXIST ? -EBUSY : problem;
  }
}

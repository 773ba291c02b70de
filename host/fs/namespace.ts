/**
 * The names half of the file system: what each POSIX call does to inodes and directory entries.
 *
 * Every change follows item_store.ts: begin, look at every key that will change (may throw Retry), check, change, commit.
 * An inode whose last name goes keeps its data while someone holds a reference: it is listed under (0, ORPHAN, ino), so
 * that a mount after a crash finds it, and freed when the last reference is given back.
 */
import type { Clock } from "../base/clock.ts";
import { EEXIST, EINVAL, ENOENT, ENOTDIR, ESTALE } from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { INODE_NLINK, INODE_PARENT } from "../format/inode.ts";
import { ITEM_INODE, ITEM_SYMLINK } from "../format/key.ts";
import type { ItemStore } from "../store/item_store.ts";
import type { AclStore } from "./acl_store.ts";
import type { Directory } from "./directory.ts";
import { type Attributes, type DirectorySink, ROOT_INO, XATTR_KILL_SETGID } from "./file_system.ts";
import { fixedProblem } from "./inode_flags.ts";
import { InodeStore, S_IFDIR, S_IFLNK, S_IFMT } from "./inode_store.ts";
import { NameAttributes } from "./name_attributes.ts";
import { NameMaking } from "./name_making.ts";
import { NameParts, type NamespaceOptions } from "./name_parts.ts";
import { NameRemoval } from "./name_removal.ts";
import { NameRenaming } from "./name_renaming.ts";
import type { Xattrs } from "./xattr.ts";

export class Namespace {
  readonly #parts: NameParts;
  readonly #store: ItemStore;
  readonly #core: Core;
  readonly #inodes: InodeStore;
  readonly #directory: Directory;
  readonly #xattrs: Xattrs;
  readonly #acls: AclStore;
  readonly attributes: NameAttributes;
  readonly making: NameMaking;
  readonly removal: NameRemoval;
  readonly renaming: NameRenaming;

  constructor(options: NamespaceOptions) {
    const parts = new NameParts(options);
    this.#parts = parts;
    this.#store = parts.store;
    this.#core = parts.core;
    this.#inodes = parts.inodes;
    this.#directory = parts.directory;
    this.#xattrs = parts.xattrs;
    this.#acls = parts.acls;
    this.attributes = new NameAttributes(parts);
    this.making = new NameMaking(parts);
    this.removal = new NameRemoval(parts);
    this.renaming = new NameRenaming(parts, this.removal);
  }

  lookup(parent: number, nameAddress: number, nameLength: number, out: Attributes): number {
    const bad = this.#parts.nameProblem(nameAddress, nameLength);
    if (bad === -EEXIST) return this.#lookupDots(parent, nameLength, out);
    if (bad !== 0) return bad;
    if (!this.#directory.find(parent, nameAddress, nameLength)) {
      const record = this.#inodes.record(0);
      const status = this.#inodes.load(parent, record);
      if (status < 0) return status;
      return this.#inodes.isDirectory(record) ? -ENOENT : -ENOTDIR;
    }
    return this.getAttributes(this.#directory.ino, out);
  }

  /** "." and "..": no entries, but names of every directory. */
  #lookupDots(ino: number, nameLength: number, out: Attributes): number {
    const parent = this.parentOf(ino);
    if (parent < 0) return parent;
    return this.getAttributes(nameLength === 1 ? ino : parent, out);
  }

  getAttributes(ino: number, out: Attributes): number {
    return this.#parts.getAttributes(ino, out);
  }

  readLink(ino: number, bufferAddress: number, bufferLength: number): number {
    const record = this.#inodes.record(0);
    const status = this.#inodes.load(ino, record);
    if (status < 0) return status;
    if ((this.#inodes.mode(record) & S_IFMT) !== S_IFLNK) return -EINVAL;
    const at = this.#store.get(ino, ITEM_SYMLINK, 0);
    if (at === 0) return -ESTALE;
    const length = Math.min(this.#store.valueLength, bufferLength);
    this.#core.exports.bytes_copy(bufferAddress, at, length);
    return length;
  }

  readDirectory(ino: number, cookie: number, sink: DirectorySink): number {
    const record = this.#inodes.record(0);
    const status = this.#inodes.load(ino, record);
    if (status < 0) return status;
    if (!this.#inodes.isDirectory(record)) return -ENOTDIR;
    if (!(cookie >= 0) || !Number.isSafeInteger(cookie)) return -EINVAL;
    return this.#directory.list(ino, this.#inodes.u64(record, INODE_PARENT), cookie, sink);
  }

  parentOf(ino: number): number {
    const record = this.#inodes.record(0);
    const status = this.#inodes.load(ino, record);
    if (status < 0) return status;
    return this.#inodes.isDirectory(record) ? this.#inodes.u64(record, INODE_PARENT) : -ENOTDIR;
  }

  /** Of a change of attributes or names of attributes. */
  #attributeProblem(ino: number): number {
    const record = this.#inodes.record(0);
    const status = this.#inodes.load(ino, record);
    return status < 0 ? status : fixedProblem(this.#inodes.flags(record));
  }

  getXattr(
    ino: number,
    nameAddress: number,
    nameLength: number,
    bufferAddress: number,
    bufferLength: number,
  ): number {
    return this.#xattrs.get(ino, nameAddress, nameLength, bufferAddress, bufferLength);
  }

  setXattr(
    ino: number,
    nameAddress: number,
    nameLength: number,
    valueAddress: number,
    valueLength: number,
    flags: number,
  ): number {
    const forbidden = this.#attributeProblem(ino);
    if (forbidden < 0) return forbidden;
    if (this.#acls.isAcl(nameAddress, nameLength)) {
      const killSetGid = (flags & XATTR_KILL_SETGID) !== 0;
      return this.#acls.set(ino, nameAddress, nameLength, valueAddress, valueLength, killSetGid);
    }
    return this.#xattrs.set(ino, nameAddress, nameLength, valueAddress, valueLength, flags);
  }

  listXattr(ino: number, bufferAddress: number, bufferLength: number, withTrusted = true): number {
    return this.#xattrs.list(ino, bufferAddress, bufferLength, withTrusted);
  }

  removeXattr(ino: number, nameAddress: number, nameLength: number): number {
    const forbidden = this.#attributeProblem(ino);
    if (forbidden < 0) return forbidden;
    return this.#xattrs.remove(ino, nameAddress, nameLength);
  }
}

/** Puts the root directory of a new volume; inside an open transaction. */
export function formatRoot(
  store: ItemStore,
  core: Core,
  clock: Clock,
  layout: Layout,
  owner: { readonly uid: number; readonly gid: number } = { uid: 0, gid: 0 },
): void {
  const inodes = new InodeStore(store, core, clock, layout, null);
  const record = inodes.record(0);
  store.get(ROOT_INO, ITEM_INODE, 0);
  inodes.readClock();
  inodes.fresh(record, ROOT_INO, S_IFDIR | 0o755, owner.uid, owner.gid, 0, ROOT_INO);
  inodes.setU32(record, INODE_NLINK, 2);
  inodes.put(ROOT_INO, record);
  store.countObjects(1);
}

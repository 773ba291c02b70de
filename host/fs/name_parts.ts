/** What all operations on names share: the records they change, who holds which inode, and rules of names. */
import type { Clock } from "../base/clock.ts";
import {
  EEXIST,
  EINVAL,
  ENAMETOOLONG,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  EROFS,
  ESTALE,
  EXDEV,
} from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { INODE_ENTRIES, INODE_NLINK, INODE_PROJECT, INODE_SIZE } from "../format/inode.ts";
import { ITEM_INODE, ITEM_ORPHAN, ITEM_SYMLINK } from "../format/key.ts";
import { OBJECT_ID_MAX } from "../format/limits.ts";
import type { ItemStore } from "../store/item_store.ts";
import { AclStore } from "./acl_store.ts";
import type { DataHooks } from "./data_hooks.ts";
import { Directory } from "./directory.ts";
import type { Attributes } from "./file_system.ts";
import { NAME_BYTES_MAX } from "./file_system.ts";
import { FLAG_PROJECT_INHERIT, immutableProblem } from "./inode_flags.ts";
import { InodeStore, S_IFMT, S_IFREG } from "./inode_store.ts";
import type { InodeQuota } from "./quotas.ts";
import { ReferenceTable } from "./reference_table.ts";
import { Xattrs } from "./xattr.ts";

/** Names that one inode can have. */
export const LINKS_MAX = 0xfffffffe;

export class NameParts {
  readonly store: ItemStore;
  readonly core: Core;
  readonly hooks: DataHooks;
  readonly inodes: InodeStore;
  readonly directory: Directory;
  readonly xattrs: Xattrs;
  readonly acls: AclStore;
  readonly references: ReferenceTable = new ReferenceTable();
  /** Inodes without a name that somebody still holds. */
  readonly unlinked: Set<number> = new Set();
  /** Those of them that were made without one: only they may be given a name. */
  readonly linkable: Set<number> = new Set();
  readonly readOnly: boolean;
  readonly quotas: InodeQuota;

  constructor(options: NamespaceOptions) {
    const { store, core, layout } = options;
    this.store = store;
    this.core = core;
    this.hooks = options.hooks;
    this.quotas = options.quotas;
    this.readOnly = options.readOnly;
    this.inodes = new InodeStore(store, core, options.clock, layout, options.hooks);
    this.directory = new Directory(store, core, layout);
    this.xattrs = new Xattrs(store, core, this.inodes, layout);
    this.acls = new AclStore(store, core, this.inodes, this.xattrs, layout);
  }

  /** Attributes as they are now, buffered data included: 0 or −ESTALE. */
  getAttributes(ino: number, out: Attributes): number {
    const at = this.store.get(ino, ITEM_INODE, 0);
    if (at === 0) return -ESTALE;
    this.inodes.attributes(at, ino, out);
    this.hooks.overlay(ino, out);
    return 0;
  }

  isOrphan(ino: number): boolean {
    return this.store.get(0, ITEM_ORPHAN, ino) !== 0;
  }

  /** Loads a directory that is about to get an entry. */
  loadToAdd(ino: number, record: number): number {
    const status = this.loadDirectory(ino, record);
    return status < 0 ? status : immutableProblem(this.inodes.flags(record));
  }

  loadDirectory(ino: number, record: number): number {
    const status = this.inodes.load(ino, record);
    if (status < 0) return status;
    if (!this.inodes.isDirectory(record)) return -ENOTDIR;
    return this.inodes.u32(record, INODE_NLINK) === 0 ? -ENOENT : 0;
  }

  countEntries(directory: number, change: number): void {
    const entries = this.inodes.u32(directory, INODE_ENTRIES) + change;
    this.inodes.setU32(directory, INODE_ENTRIES, entries);
    this.inodes.setU64(directory, INODE_SIZE, entries);
  }

  /** 0 for a name that can be looked up; "." and ".." exist in every directory. */
  nameProblem(nameAddress: number, nameLength: number): number {
    if (nameLength === 0) return -ENOENT;
    if (nameLength > NAME_BYTES_MAX) return -ENAMETOOLONG;
    const { bytes } = this.core;
    if (
      nameLength <= 2 &&
      bytes[nameAddress] === 0x2e &&
      (nameLength === 1 || bytes[nameAddress + 1] === 0x2e)
    ) {
      return -EEXIST;
    }
    for (let i = 0; i < nameLength; i++) {
      const byte = bytes[nameAddress + i];
      if (byte === 0 || byte === 0x2f) return -EINVAL;
    }
    return 0;
  }

  newNameProblem(nameAddress: number, nameLength: number): number {
    return this.readOnly ? -EROFS : this.nameProblem(nameAddress, nameLength);
  }

  /** −EXDEV where a directory hands on its project, and what would come into it has another. */
  projectProblem(directory: number, record: number): number {
    const inodes = this.inodes;
    if ((inodes.flags(directory) & FLAG_PROJECT_INHERIT) === 0) return 0;
    return inodes.u32(directory, INODE_PROJECT) === inodes.u32(record, INODE_PROJECT) ? 0 : -EXDEV;
  }

  /** −EDQUOT when a new inode's owners may have no more; −ENOSPC when there are no more numbers. */
  newInodeProblem(record: number): number {
    if (this.store.nextObjectId >= OBJECT_ID_MAX) return -ENOSPC;
    if (!this.quotas.areOn) return 0;
    return this.quotas.inodeProblem(this.quotas.ownersAt(record));
  }

  /** The number that the next new inode will have, with its keys looked at. */
  newObjectId(withTarget: boolean, withAcl: boolean): number {
    const ino = this.store.nextObjectId;
    this.store.get(ino, ITEM_INODE, 0);
    if (withAcl) this.acls.lookForInheriting(ino);
    if (withTarget) this.store.get(ino, ITEM_SYMLINK, 0);
    this.store.allocateObjectId();
    return ino;
  }

  isRegular(record: number): boolean {
    return (this.inodes.mode(record) & S_IFMT) === S_IFREG;
  }
}

export interface NamespaceOptions {
  readonly store: ItemStore;
  readonly core: Core;
  readonly clock: Clock;
  readonly layout: Layout;
  readonly hooks: DataHooks;
  readonly quotas: InodeQuota;
  readonly readOnly: boolean;
}

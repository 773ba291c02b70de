/**
 * ACLs as attributes of inodes: setting them changes the mode, changing the mode changes them, and new inodes inherit
 * them. What a mode says by itself is never stored as an ACL.
 *
 * The two-step rule of transactions holds: `look*` after begin (may throw Retry), then what changes.
 */
import { E2BIG, EACCES, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP } from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { INTENT_GROW, INTENT_SHRINK, type ItemStore } from "../store/item_store.ts";
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  type AclEntry,
  aclWithMode,
  decodeAcl,
  encodeAcl,
  inheritedAcl,
  isMinimal,
  modeWithAcl,
} from "./acl.ts";
import { type InodeStore, S_IFDIR, S_IFLNK, S_IFMT, S_ISGID } from "./inode_store.ts";
import type { Xattrs } from "./xattr.ts";

/** 4 bytes and 8 for each entry: 1,024 entries. */
const ACL_BYTES_MAX = 8196;

/** The name of one of the two attributes, in core memory. */
interface Name {
  readonly address: number;
  readonly length: number;
}

/** What a new inode inherits. */
export interface Inheritance {
  /** With the mode that was asked for, or null when the mode says all. */
  readonly access: readonly AclEntry[] | null;
  /** For directories: the parent's default ACL. */
  readonly defaults: readonly AclEntry[] | null;
  readonly mode: number;
}

export class AclStore {
  readonly #store: ItemStore;
  readonly #core: Core;
  readonly #inodes: InodeStore;
  readonly #xattrs: Xattrs;
  readonly #access: Name;
  readonly #default: Name;
  readonly #value: number;

  constructor(store: ItemStore, core: Core, inodes: InodeStore, xattrs: Xattrs, layout: Layout) {
    this.#store = store;
    this.#core = core;
    this.#inodes = inodes;
    this.#xattrs = xattrs;
    const keep = (name: string): Name => {
      const address = layout.take(name.length, 1);
      for (let i = 0; i < name.length; i++) core.bytes[address + i] = name.charCodeAt(i);
      return { address, length: name.length };
    };
    this.#access = keep(ACL_ACCESS);
    this.#default = keep(ACL_DEFAULT);
    this.#value = layout.take(ACL_BYTES_MAX, 8);
  }

  /** Whether an attribute's name is one of an ACL. */
  isAcl(nameAddress: number, nameLength: number): boolean {
    return (
      this.#isName(this.#access, nameAddress, nameLength) ||
      this.#isName(this.#default, nameAddress, nameLength)
    );
  }

  #isName(name: Name, nameAddress: number, nameLength: number): boolean {
    return (
      name.length === nameLength &&
      this.#core.exports.bytes_equal(name.address, nameAddress, nameLength) === 1
    );
  }

  /**
   * Sets an ACL; an empty one removes it.
   *
   * @param killSetGid The caller may not keep a set-group-id bit for the inode's group.
   */
  set(
    ino: number,
    nameAddress: number,
    nameLength: number,
    valueAddress: number,
    valueLength: number,
    killSetGid: boolean,
  ): number {
    if (valueLength > ACL_BYTES_MAX) return -E2BIG;
    const value = this.#core.bytes.slice(valueAddress, valueAddress + valueLength);
    const entries = decodeAcl(value);
    if (entries === null) return -EINVAL;
    if (entries.length === 0) {
      const status = this.remove(ino, nameAddress, nameLength);
      return status === -ENODATA ? 0 : status;
    }
    const begun = this.#store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const inodes = this.#inodes;
    const record = inodes.record(0);
    const status = inodes.load(ino, record);
    if (status < 0) return status;
    const mode = inodes.mode(record);
    const type = mode & S_IFMT;
    if (type === S_IFLNK) return -EOPNOTSUPP;
    const isAccess = this.#isName(this.#access, nameAddress, nameLength);
    if (!isAccess && type !== S_IFDIR) return -EACCES;
    const name = isAccess ? this.#access : this.#default;
    const slot = this.#xattrs.look(ino, name.address, name.length, valueLength);
    if (slot === null) return -ENOSPC;
    inodes.readClock();
    if (isAccess) {
      const changed = modeWithAcl(mode, entries);
      inodes.setMode(record, killSetGid ? changed & ~S_ISGID : changed);
    }
    if (isAccess && isMinimal(entries)) this.#xattrs.drop(ino, record, slot);
    else this.#xattrs.put(ino, record, slot, name.address, name.length, valueAddress, valueLength);
    inodes.putChanged(ino, record);
    this.#store.commit();
    return 0;
  }

  /** Removes an ACL; the mode stays. */
  remove(ino: number, nameAddress: number, nameLength: number): number {
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    const inodes = this.#inodes;
    const record = inodes.record(0);
    const status = inodes.load(ino, record);
    if (status < 0) return status;
    const slot = this.#xattrs.look(ino, nameAddress, nameLength, 0);
    if (slot === null || !slot.exists) return -ENODATA;
    inodes.readClock();
    this.#xattrs.drop(ino, record, slot);
    inodes.putChanged(ino, record);
    this.#store.commit();
    return 0;
  }

  /** Before the mode of a loaded inode is changed: its access ACL, if it has one. */
  lookForMode(ino: number, record: number): readonly AclEntry[] | null {
    const value = this.#xattrs.read(ino, record, this.#access.address, this.#access.length);
    if (value === null) return null;
    this.#xattrs.look(ino, this.#access.address, this.#access.length, value.length);
    return decodeAcl(value);
  }

  /** After it was: the ACL goes with it. The caller puts the record. */
  applyMode(ino: number, record: number, entries: readonly AclEntry[], mode: number): void {
    this.#put(ino, record, this.#access, aclWithMode(entries, mode));
  }

  /** What an inode made in a directory, whose record is loaded, inherits: null when that has no default ACL. */
  inheritance(directory: number, record: number, mode: number): Inheritance | null {
    const { address, length } = this.#default;
    const value = this.#xattrs.read(directory, record, address, length);
    const defaults = value === null ? null : decodeAcl(value);
    if (defaults === null || defaults.length === 0) return null;
    const access = inheritedAcl(defaults, mode);
    return {
      access: isMinimal(access) ? null : access,
      defaults: (mode & S_IFMT) === S_IFDIR ? defaults : null,
      mode: modeWithAcl(mode, access),
    };
  }

  /** Looks at the keys that inherit() puts. */
  lookForInheriting(ino: number): void {
    this.#xattrs.look(ino, this.#access.address, this.#access.length, ACL_BYTES_MAX);
    this.#xattrs.look(ino, this.#default.address, this.#default.length, ACL_BYTES_MAX);
  }

  /** Gives a new inode what it inherits. The caller puts the record. */
  inherit(ino: number, record: number, { access, defaults }: Inheritance): void {
    if (access !== null) this.#put(ino, record, this.#access, access);
    if (defaults !== null) this.#put(ino, record, this.#default, defaults);
  }

  #put(ino: number, record: number, name: Name, entries: readonly AclEntry[]): void {
    const value = encodeAcl(entries);
    this.#core.bytes.set(value, this.#value);
    const slot = this.#xattrs.look(ino, name.address, name.length, value.length);
    // Two names of one inode with the same hash: one in 2^44, and the mode still holds.
    if (slot === null) return;
    this.#xattrs.put(ino, record, slot, name.address, name.length, this.#value, value.length);
  }
}

/** Making what has a name: files, directories, symbolic links, nodes, links; and files without one (O_TMPFILE). */

import { EEXIST, EINVAL, EMLINK, ENAMETOOLONG, ENOENT, ENOSPC, EPERM } from "../base/errno.ts";
import { INODE_FLAGS, INODE_GID, INODE_NLINK, INODE_PROJECT, INODE_SIZE } from "../format/inode.ts";
import { ITEM_ORPHAN, ITEM_SYMLINK } from "../format/key.ts";
import { INTENT_GROW, type ItemStore } from "../store/item_store.ts";
import type { AclStore, Inheritance } from "./acl_store.ts";
import type { DataHooks } from "./data_hooks.ts";
import type { Directory } from "./directory.ts";
import type { Attributes, NewNode } from "./file_system.ts";
import { FLAG_PROJECT_INHERIT, FLAGS_INHERITED, fixedProblem } from "./inode_flags.ts";
import {
  type InodeStore,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
} from "./inode_store.ts";
import { LINKS_MAX, type NameParts } from "./name_parts.ts";

const SYMLINK_BYTES_MAX = 4095;
/** What makeNode makes: regular file, FIFO, character and block device, socket. */
const NODE_TYPES: ReadonlySet<number> = new Set([S_IFREG, 0o010000, S_IFCHR, 0o060000, 0o140000]);

export class NameMaking {
  readonly #parts: NameParts;
  readonly #store: ItemStore;
  readonly #hooks: DataHooks;
  readonly #inodes: InodeStore;
  readonly #directory: Directory;
  readonly #acls: AclStore;

  constructor(parts: NameParts) {
    this.#parts = parts;
    this.#store = parts.store;
    this.#hooks = parts.hooks;
    this.#inodes = parts.inodes;
    this.#directory = parts.directory;
    this.#acls = parts.acls;
  }

  makeNode(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    if ((node.mode & S_IFMT) === 0) node.mode |= S_IFREG;
    const type = node.mode & S_IFMT;
    if (type === S_IFDIR) return -EPERM;
    if (!NODE_TYPES.has(type)) return -EINVAL;
    return this.#make(parent, nameAddress, nameLength, node, 0, 0, out);
  }

  makeDirectory(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    node.mode = (node.mode & 0o7777) | S_IFDIR;
    return this.#make(parent, nameAddress, nameLength, node, 0, 0, out);
  }

  makeSymlink(
    parent: number,
    nameAddress: number,
    nameLength: number,
    targetAddress: number,
    targetLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    if (targetLength === 0) return -ENOENT;
    if (targetLength > SYMLINK_BYTES_MAX) return -ENAMETOOLONG;
    node.mode = S_IFLNK | 0o777;
    return this.#make(parent, nameAddress, nameLength, node, targetAddress, targetLength, out);
  }

  #make(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    targetAddress: number,
    targetLength: number,
    out: Attributes,
  ): number {
    const inodes = this.#inodes;
    const bad = this.#parts.newNameProblem(nameAddress, nameLength);
    if (bad !== 0) return bad;
    const begun = this.#store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const directory = inodes.record(0);
    const status = this.#parts.loadToAdd(parent, directory);
    if (status < 0) return status;
    if (this.#directory.find(parent, nameAddress, nameLength)) return -EEXIST;
    if (!this.#directory.hasRoom(parent, nameAddress, nameLength)) return -ENOSPC;
    const isDirectory = (node.mode & S_IFMT) === S_IFDIR;
    if (isDirectory && inodes.u32(directory, INODE_NLINK) >= LINKS_MAX) return -EMLINK;
    const acl = this.#inheritance(parent, directory, node);
    const record = inodes.record(1);
    inodes.readClock();
    this.#fresh(record, this.#store.nextObjectId, directory, node, isDirectory ? parent : 0);
    const tooMany = this.#parts.newInodeProblem(record);
    if (tooMany < 0) return tooMany;
    const ino = this.#parts.newObjectId(targetLength > 0, acl !== null);
    if (acl !== null) this.#acls.inherit(ino, record, acl);
    inodes.setU32(record, INODE_NLINK, isDirectory ? 2 : 1);
    if (targetLength > 0) {
      inodes.setU64(record, INODE_SIZE, targetLength);
      this.#store.put(ino, ITEM_SYMLINK, 0, targetAddress, targetLength);
    }
    inodes.put(ino, record);
    this.#store.countObjects(1);
    this.#directory.add(parent, nameAddress, nameLength, ino, (node.mode & S_IFMT) >> 12);
    if (isDirectory) inodes.setU32(directory, INODE_NLINK, inodes.u32(directory, INODE_NLINK) + 1);
    this.#parts.countEntries(directory, 1);
    inodes.touchMtime(directory);
    inodes.put(parent, directory);
    this.#store.commit();
    inodes.attributes(record, ino, out);
    return 0;
  }

  /** Takes from a new inode's mode what the directory's default ACL does, or the umask where it has none. */
  #inheritance(parent: number, directory: number, node: NewNode): Inheritance | null {
    const type = node.mode & S_IFMT;
    if (type === S_IFLNK) return null;
    const acl = this.#acls.inheritance(parent, directory, node.mode);
    node.mode = acl === null ? node.mode & ~node.umask : acl.mode;
    node.umask = 0;
    return acl;
  }

  /** Fills the record of a new inode under a directory: set-group-id directories hand on their group. */
  #fresh(record: number, ino: number, directory: number, node: NewNode, parent: number): void {
    const inodes = this.#inodes;
    let { mode, gid } = node;
    if ((inodes.mode(directory) & S_ISGID) !== 0) {
      gid = inodes.u32(directory, INODE_GID);
      if ((mode & S_IFMT) === S_IFDIR) mode |= S_ISGID;
    }
    inodes.fresh(record, ino, mode, node.uid, gid, node.rdev, parent);
    const flags = inodes.flags(directory);
    let inherited = (mode & S_IFMT) === S_IFLNK ? 0 : flags & FLAGS_INHERITED;
    if ((flags & FLAG_PROJECT_INHERIT) !== 0) {
      inodes.setU32(record, INODE_PROJECT, inodes.u32(directory, INODE_PROJECT));
      if ((mode & S_IFMT) === S_IFDIR) inherited |= FLAG_PROJECT_INHERIT;
    }
    inodes.setU32(record, INODE_FLAGS, inherited);
  }

  makeUnnamed(parent: number, node: NewNode, out: Attributes): number {
    const inodes = this.#inodes;
    const begun = this.#store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const directory = inodes.record(0);
    const status = this.#parts.loadToAdd(parent, directory);
    if (status < 0) return status;
    this.#store.get(0, ITEM_ORPHAN, this.#store.nextObjectId);
    node.mode = (node.mode & 0o7777) | S_IFREG;
    const acl = this.#inheritance(parent, directory, node);
    const record = inodes.record(1);
    inodes.readClock();
    this.#fresh(record, this.#store.nextObjectId, directory, node, 0);
    const tooMany = this.#parts.newInodeProblem(record);
    if (tooMany < 0) return tooMany;
    const ino = this.#parts.newObjectId(false, acl !== null);
    if (acl !== null) this.#acls.inherit(ino, record, acl);
    inodes.put(ino, record);
    this.#store.countObjects(1);
    this.#store.put(0, ITEM_ORPHAN, ino, this.#store.scratchAddress, 0);
    this.#store.commit();
    this.#parts.unlinked.add(ino);
    this.#parts.linkable.add(ino);
    inodes.attributes(record, ino, out);
    return 0;
  }

  link(
    ino: number,
    newParent: number,
    nameAddress: number,
    nameLength: number,
    out: Attributes,
  ): number {
    const inodes = this.#inodes;
    const bad = this.#parts.newNameProblem(nameAddress, nameLength);
    if (bad !== 0) return bad;
    // Programs publish a finished file by linking it: what the new name means must be there with it after a crash.
    this.#hooks.orderData(ino);
    const begun = this.#store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const directory = inodes.record(0);
    const record = inodes.record(1);
    let status = this.#parts.loadToAdd(newParent, directory);
    if (status < 0) return status;
    status = inodes.load(ino, record);
    if (status < 0) return status;
    if (inodes.isDirectory(record)) return -EPERM;
    status = fixedProblem(inodes.flags(record)) || this.#parts.projectProblem(directory, record);
    if (status < 0) return status;
    if (this.#directory.find(newParent, nameAddress, nameLength)) return -EEXIST;
    if (!this.#directory.hasRoom(newParent, nameAddress, nameLength)) return -ENOSPC;
    const links = inodes.u32(record, INODE_NLINK);
    if (links >= LINKS_MAX) return -EMLINK;
    // What was unlinked stays so, though somebody holds it: its data may be on the way out already.
    const orphan = links === 0 && this.#parts.linkable.has(ino) && this.#parts.isOrphan(ino);
    if (links === 0 && !orphan) return -ENOENT;
    inodes.readClock();
    if (orphan) {
      this.#store.remove(0, ITEM_ORPHAN, ino);
      this.#parts.unlinked.delete(ino);
      this.#parts.linkable.delete(ino);
    }
    this.#directory.add(
      newParent,
      nameAddress,
      nameLength,
      ino,
      (inodes.mode(record) & S_IFMT) >> 12,
    );
    inodes.setU32(record, INODE_NLINK, links + 1);
    inodes.putChanged(ino, record);
    this.#parts.countEntries(directory, 1);
    inodes.touchMtime(directory);
    inodes.put(newParent, directory);
    this.#store.commit();
    inodes.attributes(record, ino, out);
    this.#hooks.overlay(ino, out);
    return 0;
  }
}

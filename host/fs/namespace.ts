/**
 * The names half of the file system: what each POSIX call does to inodes and directory entries.
 *
 * Every change follows item_store.ts: begin, look at every key that will change (may throw Retry), check, change, commit.
 * An inode whose last name goes keeps its data while someone holds a reference: it is listed under (0, ORPHAN, ino), so
 * that a mount after a crash finds it, and freed when the last reference is given back.
 */

import type { Clock } from "../base/clock.ts";
import {
  EBUSY,
  EEXIST,
  EFBIG,
  EINVAL,
  EISDIR,
  EMLINK,
  ENAMETOOLONG,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  EOPNOTSUPP,
  EPERM,
  EROFS,
  ESTALE,
  EXDEV,
} from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import {
  INODE_ATIME,
  INODE_ATIME_NS,
  INODE_BLOCKS,
  INODE_CTIME,
  INODE_CTIME_NS,
  INODE_ENTRIES,
  INODE_FLAGS,
  INODE_GID,
  INODE_MTIME,
  INODE_MTIME_NS,
  INODE_NLINK,
  INODE_PARENT,
  INODE_PROJECT,
  INODE_SIZE,
  INODE_UID,
  INODE_XATTRS,
} from "../format/inode.ts";
import {
  ITEM_INODE,
  ITEM_ORPHAN,
  ITEM_SYMLINK,
  ITEM_XATTR,
  ITEM_XATTR_DATA,
} from "../format/key.ts";
import { INTENT_GROW, INTENT_SHRINK, type ItemStore } from "../store/item_store.ts";
import { AclStore, type Inheritance } from "./acl_store.ts";
import type { DataHooks } from "./data_hooks.ts";
import { Directory } from "./directory.ts";
import {
  type AttributeChange,
  type Attributes,
  type DirectorySink,
  NAME_BYTES_MAX,
  type NewNode,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  ROOT_INO,
  SET_ATIME,
  SET_ATIME_NOW,
  SET_CTIME,
  SET_GID,
  SET_KILL_PRIVILEGES,
  SET_MODE,
  SET_MTIME,
  SET_MTIME_NOW,
  SET_SIZE,
  SET_UID,
  XATTR_KILL_SETGID,
} from "./file_system.ts";
import {
  FLAG_PROJECT_INHERIT,
  FLAGS_INHERITED,
  FLAGS_OF_DIRECTORIES,
  FLAGS_OF_FILES,
  fixedProblem,
  immutableProblem,
} from "./inode_flags.ts";
import {
  InodeStore,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
} from "./inode_store.ts";
import { ReferenceTable } from "./reference_table.ts";
import { Xattrs } from "./xattr.ts";

const LINKS_MAX = 0xfffffffe;
const SYMLINK_BYTES_MAX = 4095;
const REAP_ITEMS = 64;
/** What makeNode makes: regular file, FIFO, character and block device, socket. */
const NODE_TYPES: ReadonlySet<number> = new Set([S_IFREG, 0o010000, S_IFCHR, 0o060000, 0o140000]);
/** Directories deeper than this are refused as new parents of directories: bounds the walk to the root. */
const DEPTH_MAX = 1_000_000;

export class Namespace {
  readonly #store: ItemStore;
  readonly #core: Core;
  readonly #hooks: DataHooks;
  readonly #inodes: InodeStore;
  readonly #directory: Directory;
  readonly #xattrs: Xattrs;
  readonly #acls: AclStore;
  readonly #references: ReferenceTable = new ReferenceTable();
  /** Inodes without a name that somebody still holds. */
  readonly #unlinked = new Set<number>();
  /** Those of them that were made without one: only they may be given a name. */
  readonly #linkable = new Set<number>();
  readonly readOnly: boolean;

  constructor(options: {
    store: ItemStore;
    core: Core;
    clock: Clock;
    layout: Layout;
    hooks: DataHooks;
    readOnly: boolean;
  }) {
    const { store, core, layout } = options;
    this.#store = store;
    this.#core = core;
    this.#hooks = options.hooks;
    this.readOnly = options.readOnly;
    this.#inodes = new InodeStore(store, core, options.clock, layout);
    this.#directory = new Directory(store, core, layout);
    this.#xattrs = new Xattrs(store, core, this.#inodes, layout);
    this.#acls = new AclStore(store, core, this.#inodes, this.#xattrs, layout);
  }

  // --- looking ---

  lookup(parent: number, nameAddress: number, nameLength: number, out: Attributes): number {
    const bad = this.#nameProblem(nameAddress, nameLength);
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
    const at = this.#store.get(ino, ITEM_INODE, 0);
    if (at === 0) return -ESTALE;
    this.#inodes.attributes(at, ino, out);
    this.#hooks.overlay(ino, out);
    return 0;
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

  // --- attributes ---

  setAttributes(ino: number, change: AttributeChange, out: Attributes): number {
    const inodes = this.#inodes;
    if ((change.set & SET_SIZE) !== 0 && change.size > 0) {
      const known = this.getAttributes(ino, out);
      if (known < 0) return known;
      // What is cut may be longer in a buffer than on disk: then the rest must not come back as zeros.
      if (change.size < out.size) this.#hooks.orderData(ino);
    }
    const begun = this.#store.begin((change.set & SET_SIZE) !== 0 ? INTENT_SHRINK : INTENT_GROW);
    if (begun < 0) return begun;
    const record = inodes.record(0);
    const status = inodes.load(ino, record);
    if (status < 0) return status;
    inodes.attributes(record, ino, out);
    this.#hooks.overlay(ino, out);
    const { set } = change;
    const forbidden = changeProblem(inodes.flags(record), set);
    if (forbidden < 0) return forbidden;
    const size = out.size;
    const resize = (set & SET_SIZE) !== 0;
    if (resize) {
      const type = inodes.mode(record) & S_IFMT;
      if (type === S_IFDIR) return -EISDIR;
      if (type !== S_IFREG) return -EINVAL;
      if (!(change.size >= 0)) return -EINVAL;
      if (!Number.isSafeInteger(change.size)) return -EFBIG;
      const prepared = this.#hooks.truncatePrepare(ino, size, change.size);
      if (prepared < 0) return prepared;
    }
    const capability =
      (set & (SET_UID | SET_GID | SET_SIZE | SET_KILL_PRIVILEGES)) !== 0 &&
      this.#isRegular(record) &&
      this.#xattrs.lookAtCapability(ino, record);
    const acl = (set & SET_MODE) !== 0 ? this.#acls.lookForMode(ino, record) : null;
    inodes.readClock();
    // Buffered times become the inode's, then the explicit ones.
    inodes.setTime(record, INODE_MTIME, INODE_MTIME_NS, out.mtime, out.mtimeNs);
    this.#applyChange(record, change);
    if (capability) this.#xattrs.dropCapability(ino, record);
    if (acl !== null) this.#acls.applyMode(ino, record, acl, inodes.mode(record));
    if (resize) {
      const freed = this.#hooks.truncateApply(ino, size, change.size);
      inodes.setU64(record, INODE_SIZE, change.size);
      inodes.setU64(record, INODE_BLOCKS, Math.max(0, inodes.u64(record, INODE_BLOCKS) - freed));
    }
    inodes.put(ino, record);
    this.#store.commit();
    inodes.attributes(record, ino, out);
    this.#hooks.attributesChanged(ino, out);
    this.#hooks.overlay(ino, out);
    return 0;
  }

  #applyChange(record: number, change: AttributeChange): void {
    const inodes = this.#inodes;
    const { set } = change;
    let mode = inodes.mode(record);
    const type = mode & S_IFMT;
    if ((set & SET_MODE) !== 0) mode = (mode & S_IFMT) | (change.mode & 0o7777);
    if ((set & SET_UID) !== 0) inodes.setU32(record, INODE_UID, change.uid);
    if ((set & SET_GID) !== 0) inodes.setU32(record, INODE_GID, change.gid);
    const owner = (set & (SET_UID | SET_GID)) !== 0 && (set & SET_MODE) === 0;
    // Of directories the bits mean something else.
    if (type !== S_IFDIR && (owner || (set & SET_KILL_PRIVILEGES) !== 0))
      mode = withoutPrivileges(mode);
    inodes.setMode(record, mode);
    if ((set & SET_ATIME_NOW) !== 0) inodes.touchAtime(record);
    else if ((set & SET_ATIME) !== 0)
      inodes.setTime(record, INODE_ATIME, INODE_ATIME_NS, change.atime, change.atimeNs);
    if ((set & SET_SIZE) !== 0) inodes.touchMtime(record);
    if ((set & SET_MTIME_NOW) !== 0) inodes.touchMtime(record);
    else if ((set & SET_MTIME) !== 0)
      inodes.setTime(record, INODE_MTIME, INODE_MTIME_NS, change.mtime, change.mtimeNs);
    if ((set & SET_CTIME) !== 0)
      inodes.setTime(record, INODE_CTIME, INODE_CTIME_NS, change.ctime, change.ctimeNs);
    else inodes.touchCtime(record);
  }

  setFlags(ino: number, flags: number, project: number, out: Attributes): number {
    const inodes = this.#inodes;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    const record = inodes.record(0);
    const status = inodes.load(ino, record);
    if (status < 0) return status;
    if (!this.#isRegular(record) && !inodes.isDirectory(record)) return -EOPNOTSUPP;
    const settable = inodes.isDirectory(record) ? FLAGS_OF_DIRECTORIES : FLAGS_OF_FILES;
    if ((flags & ~settable) !== 0) return -EOPNOTSUPP;
    inodes.readClock();
    inodes.setU32(record, INODE_FLAGS, ((inodes.flags(record) & ~settable) | flags) >>> 0);
    inodes.setU32(record, INODE_PROJECT, project);
    inodes.touchCtime(record);
    inodes.put(ino, record);
    this.#store.commit();
    inodes.attributes(record, ino, out);
    this.#hooks.flagsChanged(ino, inodes.flags(record));
    this.#hooks.overlay(ino, out);
    return 0;
  }

  /** Of a change of attributes or names of attributes. */
  #attributeProblem(ino: number): number {
    const record = this.#inodes.record(0);
    const status = this.#inodes.load(ino, record);
    return status < 0 ? status : fixedProblem(this.#inodes.flags(record));
  }

  #isRegular(record: number): boolean {
    return (this.#inodes.mode(record) & S_IFMT) === S_IFREG;
  }

  /** A write by someone without the right to keep them drops set-user-id, set-group-id and capabilities. */
  killPrivileges(ino: number): number {
    const inodes = this.#inodes;
    const record = inodes.record(0);
    const status = inodes.load(ino, record);
    if (status < 0) return status;
    const mode = inodes.mode(record);
    // Before begin: nearly every file has none, and this runs for each write.
    const held = withoutPrivileges(mode) !== mode || this.#xattrs.lookAtCapability(ino, record);
    if (!this.#isRegular(record) || !held) return 0;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    inodes.load(ino, record);
    const capability = this.#xattrs.lookAtCapability(ino, record);
    inodes.readClock();
    inodes.setMode(record, withoutPrivileges(mode));
    inodes.touchCtime(record);
    if (capability) this.#xattrs.dropCapability(ino, record);
    inodes.put(ino, record);
    this.#store.commit();
    return 0;
  }

  // --- making ---

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
    const bad = this.#newNameProblem(nameAddress, nameLength);
    if (bad !== 0) return bad;
    const begun = this.#store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const directory = inodes.record(0);
    const status = this.#loadToAdd(parent, directory);
    if (status < 0) return status;
    if (this.#directory.find(parent, nameAddress, nameLength)) return -EEXIST;
    if (!this.#directory.hasRoom(parent, nameAddress, nameLength)) return -ENOSPC;
    const isDirectory = (node.mode & S_IFMT) === S_IFDIR;
    if (isDirectory && inodes.u32(directory, INODE_NLINK) >= LINKS_MAX) return -EMLINK;
    const acl = this.#inheritance(parent, directory, node);
    const ino = this.#newObjectId(targetLength > 0, acl !== null);
    const record = inodes.record(1);
    inodes.readClock();
    this.#fresh(record, ino, directory, node, isDirectory ? parent : 0);
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
    this.#countEntries(directory, 1);
    inodes.touchMtime(directory);
    inodes.put(parent, directory);
    this.#store.commit();
    inodes.attributes(record, ino, out);
    return 0;
  }

  /** The number that the next new inode will have, with its keys looked at. */
  #newObjectId(withTarget: boolean, withAcl: boolean): number {
    const ino = this.#store.nextObjectId;
    this.#store.get(ino, ITEM_INODE, 0);
    if (withAcl) this.#acls.lookForInheriting(ino);
    if (withTarget) this.#store.get(ino, ITEM_SYMLINK, 0);
    this.#store.allocateObjectId();
    return ino;
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
    const status = this.#loadToAdd(parent, directory);
    if (status < 0) return status;
    this.#store.get(0, ITEM_ORPHAN, this.#store.nextObjectId);
    node.mode = (node.mode & 0o7777) | S_IFREG;
    const acl = this.#inheritance(parent, directory, node);
    const ino = this.#newObjectId(false, acl !== null);
    const record = inodes.record(1);
    inodes.readClock();
    this.#fresh(record, ino, directory, node, 0);
    if (acl !== null) this.#acls.inherit(ino, record, acl);
    inodes.put(ino, record);
    this.#store.countObjects(1);
    this.#store.put(0, ITEM_ORPHAN, ino, this.#store.scratchAddress, 0);
    this.#store.commit();
    this.#unlinked.add(ino);
    this.#linkable.add(ino);
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
    const bad = this.#newNameProblem(nameAddress, nameLength);
    if (bad !== 0) return bad;
    // Programs publish a finished file by linking it: what the new name means must be there with it after a crash.
    this.#hooks.orderData(ino);
    const begun = this.#store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const directory = inodes.record(0);
    const record = inodes.record(1);
    let status = this.#loadToAdd(newParent, directory);
    if (status < 0) return status;
    status = inodes.load(ino, record);
    if (status < 0) return status;
    if (inodes.isDirectory(record)) return -EPERM;
    status = fixedProblem(inodes.flags(record)) || this.#projectProblem(directory, record);
    if (status < 0) return status;
    if (this.#directory.find(newParent, nameAddress, nameLength)) return -EEXIST;
    if (!this.#directory.hasRoom(newParent, nameAddress, nameLength)) return -ENOSPC;
    const links = inodes.u32(record, INODE_NLINK);
    if (links >= LINKS_MAX) return -EMLINK;
    // What was unlinked stays so, though somebody holds it: its data may be on the way out already.
    const orphan = links === 0 && this.#linkable.has(ino) && this.#isOrphan(ino);
    if (links === 0 && !orphan) return -ENOENT;
    inodes.readClock();
    if (orphan) {
      this.#store.remove(0, ITEM_ORPHAN, ino);
      this.#unlinked.delete(ino);
      this.#linkable.delete(ino);
    }
    this.#directory.add(
      newParent,
      nameAddress,
      nameLength,
      ino,
      (inodes.mode(record) & S_IFMT) >> 12,
    );
    inodes.setU32(record, INODE_NLINK, links + 1);
    inodes.touchCtime(record);
    inodes.put(ino, record);
    this.#countEntries(directory, 1);
    inodes.touchMtime(directory);
    inodes.put(newParent, directory);
    this.#store.commit();
    inodes.attributes(record, ino, out);
    this.#hooks.overlay(ino, out);
    return 0;
  }

  // --- removing ---

  unlink(parent: number, nameAddress: number, nameLength: number): number {
    const inodes = this.#inodes;
    const bad = this.#nameProblem(nameAddress, nameLength);
    if (bad !== 0) return bad === -EEXIST ? -EISDIR : bad;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    const directory = inodes.record(0);
    const record = inodes.record(1);
    let status = this.#loadDirectory(parent, directory);
    if (status < 0) return status;
    if (!this.#directory.find(parent, nameAddress, nameLength)) return -ENOENT;
    const { ino } = this.#directory;
    status = inodes.load(ino, record);
    if (status < 0) return status;
    if (inodes.isDirectory(record)) return -EISDIR;
    status = fixedProblem(inodes.flags(record) | inodes.flags(directory));
    if (status < 0) return status;
    this.#lookAtRelease(ino, record);
    inodes.readClock();
    this.#directory.remove(parent, nameAddress, nameLength);
    this.#countEntries(directory, -1);
    inodes.touchMtime(directory);
    inodes.put(parent, directory);
    const reap = this.#dropLink(ino, record);
    this.#store.commit();
    if (reap) this.#hooks.reap(ino);
    return 0;
  }

  removeDirectory(parent: number, nameAddress: number, nameLength: number): number {
    const inodes = this.#inodes;
    const bad = this.#nameProblem(nameAddress, nameLength);
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
    let status = this.#loadDirectory(parent, directory);
    if (status < 0) return status;
    if (!this.#directory.find(parent, nameAddress, nameLength)) return -ENOENT;
    const { ino } = this.#directory;
    status = inodes.load(ino, record);
    if (status < 0) return status;
    if (!inodes.isDirectory(record)) return -ENOTDIR;
    if (inodes.u32(record, INODE_ENTRIES) > 0) return -ENOTEMPTY;
    status = fixedProblem(inodes.flags(record) | inodes.flags(directory));
    if (status < 0) return status;
    this.#lookAtRelease(ino, record);
    inodes.readClock();
    this.#directory.remove(parent, nameAddress, nameLength);
    this.#countEntries(directory, -1);
    inodes.setU32(directory, INODE_NLINK, inodes.u32(directory, INODE_NLINK) - 1);
    inodes.touchMtime(directory);
    inodes.put(parent, directory);
    const reap = this.#dropLink(ino, record);
    this.#store.commit();
    if (reap) this.#hooks.reap(ino);
    return 0;
  }

  /** Looks at the keys that #dropLink may change, and at what the inode's data needs. */
  #lookAtRelease(ino: number, record: number): void {
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

  /** What #lookAtRelease found: nothing hangs on the inode that one transaction could not remove. */
  #releasable = false;

  /**
   * Takes one link from an inode whose record is loaded (a directory loses all of its links). Without any left it is
   * removed at once if nothing hangs on it, else listed as an orphan.
   *
   * @returns Whether the caller must have it reaped after commit.
   */
  #dropLink(ino: number, record: number): boolean {
    const inodes = this.#inodes;
    const links = inodes.isDirectory(record) ? 0 : inodes.u32(record, INODE_NLINK) - 1;
    inodes.setU32(record, INODE_NLINK, links);
    inodes.touchCtime(record);
    if (links > 0) {
      inodes.put(ino, record);
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
    inodes.put(ino, record);
    this.#store.put(0, ITEM_ORPHAN, ino, this.#store.scratchAddress, 0);
    if (held) this.#unlinked.add(ino);
    return !held;
  }

  // --- rename ---

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
      const status = this.#loadDirectory(parent, inodes.record(0));
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
    let status = this.#loadDirectory(parent, from);
    if (status < 0) return status;
    if (newParent !== parent) {
      status = this.#loadDirectory(newParent, to);
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
      this.#lookAtRelease(other, target);
    } else if (!this.#directory.hasRoom(newParent, newNameAddress, newNameLength)) return -ENOSPC;
    if (
      movesDirectory &&
      newParent !== parent &&
      !exists &&
      inodes.u32(to, INODE_NLINK) >= LINKS_MAX
    )
      return -EMLINK;
    const whiteout = (flags & RENAME_WHITEOUT) !== 0;
    const whiteoutIno = whiteout ? this.#newObjectId(false, false) : 0;

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
      this.#countEntries(from, -1);
    }
    if (exists) this.#directory.replace(newParent, newNameAddress, newNameLength, ino, type);
    else {
      this.#directory.add(newParent, newNameAddress, newNameLength, ino, type);
      this.#countEntries(to, 1);
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
    inodes.touchCtime(moved);
    inodes.put(ino, moved);
    const reap = exists && this.#dropLink(other, target);
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
      this.#projectProblem(to, moved) ||
      (exchanges ? this.#projectProblem(from, target) : 0)
    );
  }

  /** −EXDEV where a directory hands on its project, and what would come into it has another. */
  #projectProblem(directory: number, record: number): number {
    const inodes = this.#inodes;
    if ((inodes.flags(directory) & FLAG_PROJECT_INHERIT) === 0) return 0;
    return inodes.u32(directory, INODE_PROJECT) === inodes.u32(record, INODE_PROJECT) ? 0 : -EXDEV;
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
    inodes.touchCtime(moved);
    inodes.put(ino, moved);
    inodes.touchCtime(target);
    inodes.put(other, target);
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

  // --- extended attributes ---

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

  // --- references and reaping ---

  remember(ino: number, count: number): void {
    this.#references.add(ino, count);
  }

  forget(ino: number, count: number): void {
    if (this.#references.subtract(ino, count) > 0) return;
    this.#linkable.delete(ino);
    if (this.#unlinked.delete(ino) && !this.readOnly) this.#hooks.reap(ino);
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
    const listed = this.#isOrphan(ino);
    if (this.#inodes.load(ino, record) < 0) {
      if (listed) store.remove(0, ITEM_ORPHAN, ino);
      store.commit();
      return true;
    }
    // Linked again (O_TMPFILE), or held again: not ours any more.
    if (!listed || this.#references.get(ino) > 0) {
      if (listed) this.#unlinked.add(ino);
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

  // --- names ---

  #isOrphan(ino: number): boolean {
    return this.#store.get(0, ITEM_ORPHAN, ino) !== 0;
  }

  /** Loads a directory that is about to get an entry. */
  #loadToAdd(ino: number, record: number): number {
    const status = this.#loadDirectory(ino, record);
    return status < 0 ? status : immutableProblem(this.#inodes.flags(record));
  }

  #loadDirectory(ino: number, record: number): number {
    const status = this.#inodes.load(ino, record);
    if (status < 0) return status;
    if (!this.#inodes.isDirectory(record)) return -ENOTDIR;
    return this.#inodes.u32(record, INODE_NLINK) === 0 ? -ENOENT : 0;
  }

  #countEntries(directory: number, change: number): void {
    const entries = this.#inodes.u32(directory, INODE_ENTRIES) + change;
    this.#inodes.setU32(directory, INODE_ENTRIES, entries);
    this.#inodes.setU64(directory, INODE_SIZE, entries);
  }

  /** 0 for a name that can be looked up; "." and ".." exist in every directory. */
  #nameProblem(nameAddress: number, nameLength: number): number {
    if (nameLength === 0) return -ENOENT;
    if (nameLength > NAME_BYTES_MAX) return -ENAMETOOLONG;
    const { bytes } = this.#core;
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

  #newNameProblem(nameAddress: number, nameLength: number): number {
    return this.readOnly ? -EROFS : this.#nameProblem(nameAddress, nameLength);
  }

  #renameNameProblem(nameAddress: number, nameLength: number): number {
    const problem = this.#newNameProblem(nameAddress, nameLength);
    return problem === -EEXIST ? -EBUSY : problem;
  }
}

/** Set-user-id goes; set-group-id goes where the group may execute (else it means mandatory locking). */
function withoutPrivileges(mode: number): number {
  const kept = mode & ~S_ISUID;
  return (kept & 0o010) !== 0 ? kept & ~S_ISGID : kept;
}

function isDot(core: Core, nameAddress: number, nameLength: number): boolean {
  return nameLength === 1 && core.bytes[nameAddress] === 0x2e;
}

/** Puts the root directory of a new volume; inside an open transaction. */
export function formatRoot(
  store: ItemStore,
  core: Core,
  clock: Clock,
  layout: Layout,
  owner: { readonly uid: number; readonly gid: number } = { uid: 0, gid: 0 },
): void {
  const inodes = new InodeStore(store, core, clock, layout);
  const record = inodes.record(0);
  store.get(ROOT_INO, ITEM_INODE, 0);
  inodes.readClock();
  inodes.fresh(record, ROOT_INO, S_IFDIR | 0o755, owner.uid, owner.gid, 0, ROOT_INO);
  inodes.setU32(record, INODE_NLINK, 2);
  inodes.put(ROOT_INO, record);
  store.countObjects(1);
}

/** Whether flags forbid a change of attributes: 0 or −EPERM. */
function changeProblem(flags: number, set: number): number {
  const times = SET_ATIME | SET_ATIME_NOW | SET_MTIME | SET_MTIME_NOW;
  if ((set & (SET_MODE | SET_UID | SET_GID | SET_SIZE)) !== 0) return fixedProblem(flags);
  // The kernel brings the time of earlier writes late, without an access time.
  const isLate = (set & times) === SET_MTIME && (set & SET_CTIME) !== 0;
  if ((set & times) === 0 || isLate) return 0;
  const isNow = (set & (SET_ATIME | SET_MTIME)) === 0;
  return isNow ? immutableProblem(flags) : fixedProblem(flags);
}

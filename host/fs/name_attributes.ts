/** Changes of attributes and flags: chmod, chown, truncate, utimens, chattr; and what writing takes from a mode. */
import { EFBIG, EINVAL, EISDIR, EOPNOTSUPP } from "../base/errno.ts";
import {
  INODE_ATIME,
  INODE_ATIME_NS,
  INODE_BLOCKS,
  INODE_CTIME,
  INODE_CTIME_NS,
  INODE_FLAGS,
  INODE_GID,
  INODE_MTIME,
  INODE_MTIME_NS,
  INODE_PROJECT,
  INODE_SIZE,
  INODE_UID,
} from "../format/inode.ts";
import { INTENT_GROW, INTENT_SHRINK, type ItemStore } from "../store/item_store.ts";
import type { AclStore } from "./acl_store.ts";
import type { DataHooks } from "./data_hooks.ts";
import {
  type AttributeChange,
  type Attributes,
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
} from "./file_system.ts";
import {
  FLAGS_OF_DIRECTORIES,
  FLAGS_OF_FILES,
  fixedProblem,
  immutableProblem,
} from "./inode_flags.ts";
import { type InodeStore, S_IFDIR, S_IFMT, S_IFREG, S_ISGID, S_ISUID } from "./inode_store.ts";
import type { NameParts } from "./name_parts.ts";
import type { Owners } from "./quotas.ts";
import type { Xattrs } from "./xattr.ts";

export class NameAttributes {
  readonly #parts: NameParts;
  readonly #store: ItemStore;
  readonly #hooks: DataHooks;
  readonly #inodes: InodeStore;
  readonly #xattrs: Xattrs;
  readonly #acls: AclStore;

  constructor(parts: NameParts) {
    this.#parts = parts;
    this.#store = parts.store;
    this.#hooks = parts.hooks;
    this.#inodes = parts.inodes;
    this.#xattrs = parts.xattrs;
    this.#acls = parts.acls;
  }

  setAttributes(ino: number, change: AttributeChange, out: Attributes): number {
    const inodes = this.#inodes;
    if ((change.set & SET_SIZE) !== 0 && change.size > 0) {
      const known = this.#parts.getAttributes(ino, out);
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
    const overdrawn = this.#moveProblem(
      record,
      (set & SET_UID) === 0 ? null : change.uid,
      (set & SET_GID) === 0 ? null : change.gid,
      null,
      out.blocks,
    );
    if (overdrawn < 0) return overdrawn;
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
      this.#parts.isRegular(record) &&
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

  /** −EDQUOT when the owners that an inode is about to get cannot take it. @param sectors 512 bytes each. */
  #moveProblem(
    record: number,
    uid: number | null,
    gid: number | null,
    project: number | null,
    sectors: number,
  ): number {
    const { quotas } = this.#parts;
    if (!quotas.areOn) return 0;
    const from = { ...quotas.ownersAt(record) };
    const to: Owners = {
      uid: uid ?? from.uid,
      gid: gid ?? from.gid,
      project: project ?? from.project,
    };
    return quotas.moveProblem(from, to, Math.ceil(sectors / 8));
  }

  setFlags(ino: number, flags: number, project: number, out: Attributes): number {
    const inodes = this.#inodes;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    const record = inodes.record(0);
    const status = inodes.load(ino, record);
    if (status < 0) return status;
    if (!this.#parts.isRegular(record) && !inodes.isDirectory(record)) return -EOPNOTSUPP;
    const settable = inodes.isDirectory(record) ? FLAGS_OF_DIRECTORIES : FLAGS_OF_FILES;
    if ((flags & ~settable) !== 0) return -EOPNOTSUPP;
    inodes.attributes(record, ino, out);
    this.#hooks.overlay(ino, out);
    const overdrawn = this.#moveProblem(record, null, null, project, out.blocks);
    if (overdrawn < 0) return overdrawn;
    inodes.readClock();
    inodes.setTime(record, INODE_MTIME, INODE_MTIME_NS, out.mtime, out.mtimeNs);
    inodes.setU32(record, INODE_FLAGS, ((inodes.flags(record) & ~settable) | flags) >>> 0);
    inodes.setU32(record, INODE_PROJECT, project);
    inodes.touchCtime(record);
    inodes.put(ino, record);
    this.#store.commit();
    inodes.attributes(record, ino, out);
    this.#hooks.flagsChanged(ino, inodes.flags(record));
    this.#hooks.attributesChanged(ino, out);
    this.#hooks.overlay(ino, out);
    return 0;
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
    if (!this.#parts.isRegular(record) || !held) return 0;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    inodes.load(ino, record);
    const capability = this.#xattrs.lookAtCapability(ino, record);
    inodes.readClock();
    inodes.setMode(record, withoutPrivileges(mode));
    if (capability) this.#xattrs.dropCapability(ino, record);
    inodes.putChanged(ino, record);
    this.#store.commit();
    return 0;
  }
}
/** Set-user-id goes; set-group-id goes where the group may execute (else it means mandatory locking). */
function withoutPrivileges(mode: number): number {
  const kept = mode & ~S_ISUID;
  return (kept & 0o010) !== 0 ? kept & ~S_ISGID : kept;
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

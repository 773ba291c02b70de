/**
 * How owners and permissions are shown: `uid=`, `gid=`, `umask=`, `fmask=` and `dmask=`, as vfat and ntfs-3g have them.
 *
 * What is stored does not change by it: new objects are stored with their maker's ids and mode. The kernel checks
 * permissions by what is shown, so what is shown must not give anybody more than what is stored was meant to:
 * - Where an owner is made up, set-user-id (for a group, set-group-id of files) is hidden: a program of anybody would
 *   else run as the owner who is shown.
 * - POSIX ACLs are not offered (negotiate.ts): they would be checked past the masks.
 */
import { EPERM } from "../base/errno.ts";
import {
  type AttributeChange,
  type Attributes,
  SET_GID,
  SET_MODE,
  SET_UID,
} from "../fs/file_system.ts";

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const SPECIAL_BITS = 0o7000;

export interface ShownChoices {
  /** Every object is shown with this owner; null: with its own. */
  readonly uid: number | null;
  readonly gid: number | null;
  /** Permission bits that are hidden, of all but directories and of directories; 0: none. */
  readonly fileMask: number;
  readonly directoryMask: number;
}

export class Shown {
  readonly #uid: number | null;
  readonly #gid: number | null;
  readonly #fileHidden: number;
  readonly #directoryHidden: number;

  constructor(choices: ShownChoices) {
    this.#uid = choices.uid;
    this.#gid = choices.gid;
    const special = (choices.uid === null ? 0 : S_ISUID) | (choices.gid === null ? 0 : S_ISGID);
    this.#fileHidden = (choices.fileMask & 0o777) | special;
    this.#directoryHidden = choices.directoryMask & 0o777;
  }

  /** Null when everything is shown as it is stored. */
  static of(choices: ShownChoices): Shown | null {
    const { uid, gid, fileMask, directoryMask } = choices;
    const isPlain = uid === null && gid === null && fileMask === 0 && directoryMask === 0;
    return isPlain ? null : new Shown(choices);
  }

  uid(attributes: Attributes): number {
    return this.#uid ?? attributes.uid;
  }

  gid(attributes: Attributes): number {
    return this.#gid ?? attributes.gid;
  }

  mode(attributes: Attributes): number {
    return attributes.mode & ~this.#hidden(attributes.mode);
  }

  /**
   * Whether a change of owner or mode can be made, by vfat's rule: what cannot be stored so that it shows is refused,
   * unless it would change nothing that shows: then it is taken out of the change. A mode that is stored is stored as it
   * was asked for: hidden bits that it does not have are taken away.
   *
   * @param current What is stored.
   * @returns 0 or −EPERM.
   */
  admit(change: AttributeChange, current: Attributes): number {
    if ((change.set & SET_UID) !== 0 && this.#uid !== null) {
      if (change.uid !== this.#uid) return -EPERM;
      change.set &= ~SET_UID;
    }
    if ((change.set & SET_GID) !== 0 && this.#gid !== null) {
      if (change.gid !== this.#gid) return -EPERM;
      change.set &= ~SET_GID;
    }
    const hidden = this.#hidden(current.mode);
    if ((change.set & SET_MODE) === 0 || hidden === 0) return 0;
    const wanted = change.mode & 0o7777;
    if ((wanted & hidden & SPECIAL_BITS) !== 0) return -EPERM;
    const before = current.mode & 0o7777 & ~hidden;
    if ((wanted & ~hidden) === before) change.set &= ~SET_MODE;
    else if ((wanted & hidden) !== 0) return -EPERM;
    return 0;
  }

  #hidden(mode: number): number {
    const type = mode & S_IFMT;
    if (type === S_IFDIR) return this.#directoryHidden;
    return type === S_IFLNK ? 0 : this.#fileHidden;
  }
}

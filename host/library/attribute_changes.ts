/** Changes of attributes, as the functions of files and those of paths ask for them. */
import {
  AttributeChange,
  SET_ATIME,
  SET_GID,
  SET_KILL_PRIVILEGES,
  SET_MODE,
  SET_MTIME,
  SET_SIZE,
  SET_UID,
} from "../fs/file_system.ts";

/** @param mode Permission bits; those of the type are not changed. */
export function modeChange(mode: number): AttributeChange {
  const change = new AttributeChange();
  change.set = SET_MODE;
  change.mode = mode & 0o7777;
  return change;
}

/** @param size Bytes. */
export function sizeChange(size: number): AttributeChange {
  const change = new AttributeChange();
  change.set = SET_SIZE;
  change.size = size;
  return change;
}

/** A change of owner, which takes the set-id bits away. */
export function ownerChange(uid: number, gid: number): AttributeChange {
  const change = new AttributeChange();
  // −1 as a signed or an unsigned number leaves the owner as it is.
  if (uid !== -1 && uid !== 0xffff_ffff) {
    change.set |= SET_UID;
    change.uid = uid;
  }
  if (gid !== -1 && gid !== 0xffff_ffff) {
    change.set |= SET_GID;
    change.gid = gid;
  }
  if (change.set !== 0) change.set |= SET_KILL_PRIVILEGES;
  return change;
}

/** @param atime Seconds with fraction: as exact as a double is, some hundred nanoseconds. */
export function timesChange(atime: number, mtime: number): AttributeChange {
  const change = new AttributeChange();
  change.set = SET_ATIME | SET_MTIME;
  [change.atime, change.atimeNs] = timeSpec(atime);
  [change.mtime, change.mtimeNs] = timeSpec(mtime);
  return change;
}

function timeSpec(time: number): [seconds: number, nanoseconds: number] {
  let seconds = Math.trunc(time);
  let ns = Math.trunc((time - seconds) * 1e9);
  if (ns < 0) {
    ns += 1e9;
    seconds -= 1;
  }
  return [seconds, ns === 0 ? 0 : ns];
}

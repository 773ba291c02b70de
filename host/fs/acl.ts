/**
 * POSIX access control lists: acl(5), POSIX 1003.1e draft 17. The kernel enforces them; here they are checked, kept in step with
 * the mode bits, and inherited. Pure functions over decoded lists; the encoding is that of the kernel's xattrs
 * (linux/posix_acl_xattr.h), which is also what is stored.
 */

/** linux/posix_acl.h: whom an entry is about, in the order in which entries stand. */
export const ACL_USER_OBJ = 0x01;
export const ACL_USER = 0x02;
export const ACL_GROUP_OBJ = 0x04;
export const ACL_GROUP = 0x08;
export const ACL_MASK = 0x10;
export const ACL_OTHER = 0x20;

export const ACL_ACCESS = "system.posix_acl_access";
export const ACL_DEFAULT = "system.posix_acl_default";

const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
/** Of entries that name nobody. */
const NO_ID = 0xffffffff;
const RWX = 0o7;
const MODE_BITS = 0o777;

export interface AclEntry {
  readonly tag: number;
  /** r 4, w 2, x 1. */
  permissions: number;
  /** User or group of ACL_USER and ACL_GROUP. */
  readonly id: number;
}

/**
 * Decodes an attribute's value.
 *
 * @returns The entries; an empty list for a value without any, which means that there is no ACL; null when it is invalid.
 */
export function decodeAcl(value: Uint8Array): AclEntry[] | null {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const length = value.byteLength - HEADER_BYTES;
  if (length < 0 || length % ENTRY_BYTES !== 0) return null;
  if (view.getUint32(0, true) !== VERSION) return null;
  const entries: AclEntry[] = [];
  for (let at = HEADER_BYTES; at < value.byteLength; at += ENTRY_BYTES) {
    const tag = view.getUint16(at, true);
    const id = isNamed(tag) ? view.getUint32(at + 4, true) : NO_ID;
    entries.push({ tag, permissions: view.getUint16(at + 2, true), id });
  }
  return entries.length === 0 || isValid(entries) ? entries : null;
}

export function encodeAcl(entries: readonly AclEntry[]): Uint8Array {
  const value = new Uint8Array(HEADER_BYTES + entries.length * ENTRY_BYTES);
  const view = new DataView(value.buffer);
  view.setUint32(0, VERSION, true);
  entries.forEach((entry, index) => {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    view.setUint16(at, entry.tag, true);
    view.setUint16(at + 2, entry.permissions, true);
    view.setUint32(at + 4, isNamed(entry.tag) ? entry.id : NO_ID, true);
  });
  return value;
}

/** Each kind in its place, the three of the mode once, a mask if there are named entries: as posix_acl_valid() has it. */
function isValid(entries: readonly AclEntry[]): boolean {
  let last = 0;
  let seen = 0;
  for (const { tag, permissions, id } of entries) {
    if ((permissions & ~RWX) !== 0 || tag < last) return false;
    const named = isNamed(tag);
    const known = named || [ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER].includes(tag);
    if (!known || (named ? id === NO_ID : (seen & tag) !== 0)) return false;
    seen |= tag;
    last = tag;
  }
  const basic = ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER;
  const needsMask = (seen & (ACL_USER | ACL_GROUP)) !== 0;
  return (seen & basic) === basic && (!needsMask || (seen & ACL_MASK) !== 0);
}

/** Whether the mode says all that a list does: then only the mode is kept. */
export function isMinimal(entries: readonly AclEntry[]): boolean {
  return entries.every(({ tag }) => (tag & (ACL_USER | ACL_GROUP | ACL_MASK)) === 0);
}

/** The mode that goes with an access ACL: the group's bits are the mask where there is one. */
export function modeWithAcl(mode: number, entries: readonly AclEntry[]): number {
  const group = permissionsOf(entries, ACL_MASK) ?? permissionsOf(entries, ACL_GROUP_OBJ) ?? 0;
  const user = permissionsOf(entries, ACL_USER_OBJ) ?? 0;
  const other = permissionsOf(entries, ACL_OTHER) ?? 0;
  return (mode & ~MODE_BITS) | (user << 6) | (group << 3) | other;
}

/** chmod(2): the entries that the mode shows take its bits. */
export function aclWithMode(entries: readonly AclEntry[], mode: number): AclEntry[] {
  const groupTag = entries.some(({ tag }) => tag === ACL_MASK) ? ACL_MASK : ACL_GROUP_OBJ;
  return entries.map((entry) => {
    if (entry.tag === ACL_USER_OBJ) return { ...entry, permissions: (mode >> 6) & RWX };
    if (entry.tag === groupTag) return { ...entry, permissions: (mode >> 3) & RWX };
    if (entry.tag === ACL_OTHER) return { ...entry, permissions: mode & RWX };
    return entry;
  });
}

/** A new file's access ACL under a directory's default one: what creation asked for takes rights away, and adds none. */
export function inheritedAcl(defaults: readonly AclEntry[], mode: number): AclEntry[] {
  const granted = modeWithAcl(0, defaults) & mode;
  return aclWithMode(defaults, granted);
}

function permissionsOf(entries: readonly AclEntry[], tag: number): number | undefined {
  return entries.find((entry) => entry.tag === tag)?.permissions;
}

function isNamed(tag: number): boolean {
  return tag === ACL_USER || tag === ACL_GROUP;
}

/**
 * A quota: what the files of one user, group or project may take, and what they do. SPEC §5.10. Item (0, QUOTA, kind · 2^32
 * + id).
 */
import { getU64 } from "../base/bytes.ts";

export const QUOTA_BLOCKS_MAX = 0; // u64: blocks of 4 KiB; 0: any number
export const QUOTA_INODES_MAX = 8; // u64: 0: any number
export const QUOTA_BLOCKS = 16; // u64: what inodes below QUOTA_COUNTED have
export const QUOTA_INODES = 24; // u64
export const QUOTA_COUNTED = 32; // u64: inodes from this number on are not in the two above
export const QUOTA_BYTES = 40;

export const QUOTA_USER = 0;
export const QUOTA_GROUP = 1;
export const QUOTA_PROJECT = 2;

/** All inodes are counted: no number of one is as high. */
export const QUOTA_ALL: number = 2 ** 53 - 1;

/** Offset of the key. @param kind QUOTA_USER, QUOTA_GROUP or QUOTA_PROJECT. */
export function quotaKey(kind: number, id: number): number {
  return kind * 2 ** 32 + id;
}

export function quotaKind(key: number): number {
  return Math.floor(key / 2 ** 32);
}

export function quotaId(key: number): number {
  return key % 2 ** 32;
}

/** Why an item cannot be used, or null. */
export function quotaProblem(
  view: DataView,
  key: number,
  at: number,
  byteLength: number,
): string | null {
  if (quotaKind(key) > QUOTA_PROJECT) return "unknown kind";
  if (byteLength !== QUOTA_BYTES) return `length ${byteLength}`;
  for (let field = 0; field < QUOTA_BYTES; field += 8) {
    if (getU64(view, at + field) > QUOTA_ALL) return "a number is too large";
  }
  return getU64(view, at + QUOTA_COUNTED) === 0 ? "counted from 0 on" : null;
}

/**
 * Encodes replies into one area of the core's memory: a header of 16 bytes, then the payload. Replies are written to
 * the channel at once, so one area serves all requests but the data of READ, which goes out from where it lies.
 *
 * Each encoder returns the payload's length. Timeouts are the session's: names and attributes stay valid until we say
 * otherwise, because every change passes through us.
 */
import type { Core } from "../core/core.ts";
import type { Attributes, VolumeSpace } from "../fs/file_system.ts";
import { NAME_BYTES_MAX } from "../fs/file_system.ts";
import { isImmutableFile } from "./file_flags.ts";
import {
  ATTR_ATIME,
  ATTR_ATIME_NS,
  ATTR_BLKSIZE,
  ATTR_BLOCKS,
  ATTR_CTIME,
  ATTR_CTIME_NS,
  ATTR_FLAGS,
  ATTR_GID,
  ATTR_INO,
  ATTR_MODE,
  ATTR_MTIME,
  ATTR_MTIME_NS,
  ATTR_NLINK,
  ATTR_OUT_ATTR,
  ATTR_OUT_BYTES,
  ATTR_OUT_DUMMY,
  ATTR_OUT_VALID,
  ATTR_OUT_VALID_NS,
  ATTR_RDEV,
  ATTR_SIZE,
  ATTR_UID,
  BLOCK_BYTES,
  DIRENT_BYTES,
  DIRENT_NAMELEN,
  DIRENT_OFF,
  DIRENT_TYPE,
  ENTRY_ATTR,
  ENTRY_ATTR_VALID,
  ENTRY_ATTR_VALID_NS,
  ENTRY_GENERATION,
  ENTRY_NODEID,
  ENTRY_OUT_BYTES,
  ENTRY_VALID,
  ENTRY_VALID_NS,
  IOCTL_OUT_BYTES,
  OPEN_OUT_BYTES,
  OUT_ERROR,
  OUT_HEADER_BYTES,
  OUT_LEN,
  OUT_UNIQUE,
  STATFS_OUT_BYTES,
  STATX_ATIME,
  STATX_BASIC_AND_BTIME,
  STATX_BLKSIZE,
  STATX_BLOCKS,
  STATX_BTIME,
  STATX_CTIME,
  STATX_GID,
  STATX_INO,
  STATX_MASK,
  STATX_MODE,
  STATX_MTIME,
  STATX_NLINK,
  STATX_OUT_BYTES,
  STATX_OUT_STAT,
  STATX_RDEV_MAJOR,
  STATX_RDEV_MINOR,
  STATX_SIZE,
  STATX_UID,
  WRITE_OUT_BYTES,
} from "./protocol.ts";
import type { Shown } from "./shown.ts";

const TWO_32 = 0x1_0000_0000;

export interface Timeouts {
  readonly entrySeconds: number;
  readonly attributeSeconds: number;
}

export class Reply {
  readonly #core: Core;
  readonly #u32: Uint32Array;
  readonly #entrySeconds: number;
  readonly #attributeSeconds: number;

  /** Where the header lies, and the payload behind it. */
  readonly address: number;
  readonly payload: number;
  /** Room for the payload. */
  readonly capacity: number;
  readonly #shown: Shown | null;
  /** Immutable files whose attributes come with entries of this reply: what the kernel knows of them must not last. */
  readonly immutable: number[] = [];

  /** @param address A multiple of 8. @param shown Null: owners and modes are shown as they are stored. */
  constructor(
    core: Core,
    address: number,
    byteLength: number,
    timeouts: Timeouts,
    shown: Shown | null = null,
  ) {
    this.#core = core;
    this.#u32 = core.u32;
    this.#entrySeconds = timeouts.entrySeconds;
    this.#attributeSeconds = timeouts.attributeSeconds;
    this.address = address;
    this.payload = address + OUT_HEADER_BYTES;
    this.capacity = byteLength - OUT_HEADER_BYTES;
    this.#shown = shown;
  }

  /** @param error 0 or −errno. @param payloadBytes 0 with an error. */
  header(uniqueLow: number, uniqueHigh: number, error: number, payloadBytes: number): void {
    const u32 = this.#u32;
    const at = this.address >>> 2;
    u32[at + OUT_LEN / 4] = OUT_HEADER_BYTES + payloadBytes;
    u32[at + OUT_ERROR / 4] = error;
    u32[at + OUT_UNIQUE / 4] = uniqueLow;
    u32[at + OUT_UNIQUE / 4 + 1] = uniqueHigh;
  }

  attributes(attributes: Attributes): number {
    const at = this.payload;
    this.#set64(at + ATTR_OUT_VALID, this.#attributeSeconds);
    this.#set32(at + ATTR_OUT_VALID_NS, 0);
    this.#set32(at + ATTR_OUT_DUMMY, 0);
    this.#attr(at + ATTR_OUT_ATTR, attributes);
    return ATTR_OUT_BYTES;
  }

  /** @param at Where; the payload's start for a reply of its own. */
  entry(attributes: Attributes, at: number = this.payload): number {
    if (isImmutableFile(attributes)) this.immutable.push(attributes.ino);
    this.#set64(at + ENTRY_NODEID, attributes.ino);
    this.#set64(at + ENTRY_GENERATION, attributes.generation);
    this.#set64(at + ENTRY_VALID, this.#entrySeconds);
    this.#set64(at + ENTRY_ATTR_VALID, this.#attributeSeconds);
    this.#set32(at + ENTRY_VALID_NS, 0);
    this.#set32(at + ENTRY_ATTR_VALID_NS, 0);
    this.#attr(at + ENTRY_ATTR, attributes);
    return ENTRY_OUT_BYTES;
  }

  /** "No such name", to be remembered as such. */
  negativeEntry(): number {
    this.#zero(this.payload, ENTRY_OUT_BYTES);
    this.#set64(this.payload + ENTRY_VALID, this.#entrySeconds);
    return ENTRY_OUT_BYTES;
  }

  /** An open file behind `before` bytes of payload (an entry, in the reply to CREATE). */
  opened(openFlags: number, before: number): number {
    const at = this.payload + before;
    this.#set64(at, 0);
    this.#set32(at + 8, openFlags);
    this.#set32(at + 12, 0);
    return before + OPEN_OUT_BYTES;
  }

  statx(attributes: Attributes): number {
    const out = this.payload;
    this.#zero(out, STATX_OUT_BYTES);
    this.#set64(out, this.#attributeSeconds);
    const at = out + STATX_OUT_STAT;
    this.#set32(at + STATX_MASK, STATX_BASIC_AND_BTIME);
    this.#set32(at + STATX_BLKSIZE, BLOCK_BYTES);
    this.#set32(at + STATX_NLINK, attributes.nlink);
    const shown = this.#shown;
    this.#set32(at + STATX_UID, shown === null ? attributes.uid : shown.uid(attributes));
    this.#set32(at + STATX_GID, shown === null ? attributes.gid : shown.gid(attributes));
    // A u16 with padding behind it.
    this.#set32(at + STATX_MODE, shown === null ? attributes.mode : shown.mode(attributes));
    this.#set64(at + STATX_INO, attributes.ino);
    this.#set64(at + STATX_SIZE, attributes.size);
    this.#set64(at + STATX_BLOCKS, attributes.blocks);
    this.#set64(at + STATX_ATIME, attributes.atime);
    this.#set32(at + STATX_ATIME + 8, attributes.atimeNs);
    this.#set64(at + STATX_BTIME, attributes.btime);
    this.#set32(at + STATX_BTIME + 8, attributes.btimeNs);
    this.#set64(at + STATX_CTIME, attributes.ctime);
    this.#set32(at + STATX_CTIME + 8, attributes.ctimeNs);
    this.#set64(at + STATX_MTIME, attributes.mtime);
    this.#set32(at + STATX_MTIME + 8, attributes.mtimeNs);
    this.#set32(at + STATX_RDEV_MAJOR, (attributes.rdev >>> 8) & 0xfff);
    this.#set32(
      at + STATX_RDEV_MINOR,
      (attributes.rdev & 0xff) | ((attributes.rdev >>> 12) & 0xfff00),
    );
    return STATX_OUT_BYTES;
  }

  statfs(space: VolumeSpace): number {
    const at = this.payload;
    this.#zero(at, STATFS_OUT_BYTES);
    this.#set64(at, space.blocks);
    this.#set64(at + 8, space.blocksFree);
    this.#set64(at + 16, space.blocksAvailable);
    this.#set64(at + 24, space.files);
    this.#set64(at + 32, space.filesFree);
    this.#set32(at + 40, space.blockBytes);
    this.#set32(at + 44, NAME_BYTES_MAX);
    this.#set32(at + 48, space.blockBytes);
    return STATFS_OUT_BYTES;
  }

  /** The result of an ioctl: 0, and u32 numbers behind it. */
  ioctl(...data: readonly number[]): number {
    const at = this.payload;
    this.#zero(at, IOCTL_OUT_BYTES);
    for (let index = 0; index < data.length; index++)
      this.#set32(at + IOCTL_OUT_BYTES + index * 4, data[index] as number);
    return IOCTL_OUT_BYTES + data.length * 4;
  }

  /** A u32 and padding: bytes written, or the size of an extended attribute. */
  count(value: number): number {
    this.#set32(this.payload, value);
    this.#set32(this.payload + 4, 0);
    return WRITE_OUT_BYTES;
  }

  u64(value: number): number {
    this.#set64(this.payload, value);
    return 8;
  }

  /**
   * Puts a directory entry at an address, its name copied by the core.
   *
   * @param at A multiple of 8, with room for 24 bytes and the name, rounded up to 8.
   */
  dirent(
    at: number,
    ino: number,
    type: number,
    nameAddress: number,
    nameLength: number,
    nextCookie: number,
  ): void {
    const byteLength = direntBytes(nameLength);
    // The padding, at most the last 7 bytes, must not show what the area held before.
    this.#set64(at + byteLength - 8, 0);
    this.#set64(at, ino);
    this.#set64(at + DIRENT_OFF, nextCookie);
    this.#set32(at + DIRENT_NAMELEN, nameLength);
    this.#set32(at + DIRENT_TYPE, type);
    this.#core.exports.bytes_copy(at + DIRENT_BYTES, nameAddress, nameLength);
  }

  /** An entry of READDIRPLUS that brings no attributes: the kernel looks it up when asked for it. */
  noEntry(at: number): void {
    this.#zero(at, ENTRY_OUT_BYTES);
  }

  #attr(at: number, attributes: Attributes): void {
    this.#set64(at + ATTR_INO, attributes.ino);
    this.#set64(at + ATTR_SIZE, attributes.size);
    this.#set64(at + ATTR_BLOCKS, attributes.blocks);
    this.#set64(at + ATTR_ATIME, attributes.atime);
    this.#set64(at + ATTR_MTIME, attributes.mtime);
    this.#set64(at + ATTR_CTIME, attributes.ctime);
    this.#set32(at + ATTR_ATIME_NS, attributes.atimeNs);
    this.#set32(at + ATTR_MTIME_NS, attributes.mtimeNs);
    this.#set32(at + ATTR_CTIME_NS, attributes.ctimeNs);
    const shown = this.#shown;
    this.#set32(at + ATTR_MODE, shown === null ? attributes.mode : shown.mode(attributes));
    this.#set32(at + ATTR_NLINK, attributes.nlink);
    this.#set32(at + ATTR_UID, shown === null ? attributes.uid : shown.uid(attributes));
    this.#set32(at + ATTR_GID, shown === null ? attributes.gid : shown.gid(attributes));
    this.#set32(at + ATTR_RDEV, attributes.rdev);
    this.#set32(at + ATTR_BLKSIZE, BLOCK_BYTES);
    this.#set32(at + ATTR_FLAGS, 0);
  }

  #set32(address: number, value: number): void {
    this.#u32[address >>> 2] = value;
  }

  /** A safe integer of either sign. */
  #set64(address: number, value: number): void {
    const at = address >>> 2;
    this.#u32[at] = value; // stored modulo 2^32
    this.#u32[at + 1] = Math.floor(value / TWO_32);
  }

  #zero(address: number, byteLength: number): void {
    this.#u32.fill(0, address >>> 2, (address + byteLength) >>> 2);
  }
}

/** Length of a directory entry in READDIR's reply. */
export function direntBytes(nameLength: number): number {
  return (DIRENT_BYTES + nameLength + 7) & ~7;
}

/**
 * One request of the kernel, decoded where it lies in the core's memory.
 *
 * There is one Request object a session, pointed at one message after another: decoding allocates nothing, and 64-bit
 * fields become numbers without a BigInt. A number above 2^53 − 1 has lost low bits and is only good for being
 * refused; the kernel sends such offsets (up to 2^63 − 1), and such node ids can come from stale NFS handles.
 */
import type { Core } from "../core/core.ts";
import {
  FUSE_INIT,
  IN_GID,
  IN_HEADER_BYTES,
  IN_LEN,
  IN_NODEID,
  IN_OPCODE,
  IN_PID,
  IN_TOTAL_EXTLEN,
  IN_UID,
  IN_UNIQUE,
} from "./protocol.ts";

const TWO_32 = 0x1_0000_0000;

export class Request {
  readonly #u32: Uint32Array;
  readonly #bytes: Uint8Array;

  /** Where the message lies (a multiple of 8), and its length. */
  address = 0;
  byteLength = 0;
  /** The slot that holds the message, 0 when it lies in a parking buffer or the slot was handed over. */
  run = 0;
  /** When it was read, by performance.now(): the session sets it. */
  startedMs = 0;

  opcode = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
  nodeid = 0;
  uid = 0;
  gid = 0;
  /** First byte after the header, and the first after the arguments. */
  body = 0;
  end = 0;

  /** What takeName() found. */
  nameAddress = 0;
  nameLength = 0;

  constructor(core: Core) {
    this.#u32 = core.u32;
    this.#bytes = core.bytes;
  }

  /**
   * Decodes the header.
   *
   * @param address A multiple of 8 in the core's memory.
   * @returns Whether the message is whole. If not, and it has a header, `unique…` and `opcode` are set for an error
   *   reply; else `opcode` is 0.
   */
  load(address: number, byteLength: number): boolean {
    this.address = address;
    this.byteLength = byteLength;
    this.opcode = 0;
    if (byteLength < IN_HEADER_BYTES) return false;
    const u32 = this.#u32;
    const at = address >>> 2;
    this.opcode = u32[at + IN_OPCODE / 4] as number;
    this.uniqueLow = u32[at + IN_UNIQUE / 4] as number;
    this.uniqueHigh = u32[at + IN_UNIQUE / 4 + 1] as number;
    this.nodeid =
      (u32[at + IN_NODEID / 4] as number) + (u32[at + IN_NODEID / 4 + 1] as number) * TWO_32;
    this.uid = u32[at + IN_UID / 4] as number;
    this.gid = u32[at + IN_GID / 4] as number;
    this.body = address + IN_HEADER_BYTES;
    // Kernels before 7.38 have padding there, which is zero.
    const extensionBytes = ((u32[at + IN_TOTAL_EXTLEN / 4] as number) & 0xffff) * 8;
    this.end = address + byteLength - extensionBytes;
    return u32[at + IN_LEN / 4] === byteLength && this.end >= this.body;
  }

  get bodyBytes(): number {
    return this.end - this.body;
  }

  /** The process that asks; 0 for the kernel's own requests. */
  get pid(): number {
    return this.#u32[(this.address + IN_PID) >>> 2] as number;
  }

  get isInit(): boolean {
    return this.opcode === FUSE_INIT;
  }

  /** @param offset Of a field in the body, a multiple of 4. */
  u32(offset: number): number {
    return this.#u32[(this.body + offset) >>> 2] as number;
  }

  /** An unsigned 64-bit field; exact up to 2^53 − 1. */
  u64(offset: number): number {
    const at = (this.body + offset) >>> 2;
    return (this.#u32[at] as number) + (this.#u32[at + 1] as number) * TWO_32;
  }

  /** A signed 64-bit field; exact within ±(2^53 − 1). */
  s64(offset: number): number {
    const at = (this.body + offset) >>> 2;
    return (this.#u32[at] as number) + ((this.#u32[at + 1] as number) | 0) * TWO_32;
  }

  setU64(offset: number, value: number): void {
    const at = (this.body + offset) >>> 2;
    this.#u32[at] = value >>> 0;
    this.#u32[at + 1] = Math.floor(value / TWO_32);
  }

  /**
   * Finds a NUL-terminated string in the body: its place goes to nameAddress and nameLength.
   *
   * @param offset Where it begins in the body.
   * @returns The offset behind its NUL, or −1 when there is none.
   */
  takeName(offset: number): number {
    const bytes = this.#bytes;
    const start = this.body + offset;
    const end = this.end;
    let at = start;
    while (at < end && bytes[at] !== 0) at += 1;
    if (at >= end) return -1;
    this.nameAddress = start;
    this.nameLength = at - start;
    return at - this.body + 1;
  }
}

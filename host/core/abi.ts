/**
 * The contract with the Wasm core: every export, with units, ranges and results.
 *
 * Conventions. Addresses are byte offsets in the core's linear memory, u32. A result is a count or status ≥ 0, or
 * −errno (base/errno.ts). Raw Wasm returns u32 as a signed i32: apply `>>> 0` to addresses. 64-bit numbers cross as
 * f64 when they are safe integers (≤ 2^53: object ids, file offsets, block numbers) and stay in memory otherwise
 * (checksums, page addresses). The core keeps no pointer across calls except where it says so; structures that live
 * across calls are named by their base address (a handle), sized by `*_bytes()` and laid out by the host.
 */

/** assembly/checksum: pure functions of bytes, of any length from 0 and at any alignment. No pointer is kept. */
export interface ChecksumAbi {
  /** Stores XXH3-64, seed 0, of a region as 8 bytes, little-endian, at `resultAddress`. */
  xxh3_64(address: number, byteLength: number, resultAddress: number): void;

  /** Stores XXH3-64 of each of `unitCount` adjacent units of `unitBytes`, 8 bytes a unit. */
  xxh3_64_units(address: number, unitBytes: number, unitCount: number, outAddress: number): void;

  /**
   * Checks what xxh3_64_units stored.
   *
   * @returns The index of the first unit whose checksum differs, or −1.
   */
  xxh3_64_verify_units(
    address: number,
    unitBytes: number,
    unitCount: number,
    expectedAddress: number,
  ): number;

  /** Stores XXH3-128, seed 0, of a region as 16 bytes: the low 64 bits, then the high, each little-endian. */
  xxh3_128(address: number, byteLength: number, resultAddress: number): void;

  /** Stores BLAKE3 (unkeyed, 256 bits) of a region as 32 bytes in the order of its hexadecimal form. */
  blake3(address: number, byteLength: number, resultAddress: number): void;

  /**
   * CRC-32C (Castagnoli, reflected, complemented at both ends), for formats of others.
   *
   * @param seed 0, or the result for the bytes before these.
   * @returns Signed: apply `>>> 0`.
   */
  crc32c(address: number, byteLength: number, seed: number): number;

  /** @returns A name's hash in directories: the low 48 bits of its XXH3-64, as an exact integer. */
  name_hash(address: number, byteLength: number): number;

  /** Copies as if through a third buffer: the regions may overlap. */
  bytes_copy(to: number, from: number, byteLength: number): void;

  /** @param value 0 to 255; higher bits are ignored. */
  bytes_fill(to: number, value: number, byteLength: number): void;

  /** @returns 1 if the regions hold the same bytes, else 0. Not constant-time. */
  bytes_equal(a: number, b: number, byteLength: number): number;
}

/** assembly/btree: pages, the page cache's table, and walks over cached pages. */
export interface TreeAbi {}

/** assembly/extent: free-space bitmaps, and the pool of data buffers. */
export interface SpaceAbi {}

/** assembly/coalesce: dirty ranges of one file. */
export interface CoalesceAbi {}

export interface CoreExports extends ChecksumAbi, TreeAbi, SpaceAbi, CoalesceAbi {
  /** Version of this contract; the loader refuses another. */
  abi_version(): number;
  /** First byte after the core's static data: where the host's layout begins. */
  static_end(): number;
}

/**
 * The contract with the Wasm core: every export, with units, ranges and results.
 *
 * Conventions. Addresses are byte offsets in the core's linear memory, u32. A result is a count or status ≥ 0, or
 * −errno (base/errno.ts). Raw Wasm returns u32 as a signed i32: apply `>>> 0` to addresses. 64-bit numbers cross as
 * f64 when they are safe integers (≤ 2^53: object ids, file offsets, block numbers) and stay in memory otherwise
 * (checksums, page addresses). The core keeps no pointer across calls except where it says so; structures that live
 * across calls are named by their base address (a handle), sized by `*_bytes()` and laid out by the host.
 */

/** assembly/checksum */
export interface ChecksumAbi {}

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

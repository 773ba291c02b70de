/**
 * Where the fixed areas of a device lie: SPEC §2. A pure function of the device's size, written into the superblock and
 * checked against it, so that a damaged superblock cannot point the engine elsewhere.
 */
import { EINVAL } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";

export const BLOCK_BYTES = 4096;
export const PAGE_BYTES = 16384;
export const PAGE_BLOCKS: number = PAGE_BYTES / BLOCK_BYTES;
/** Blocks before the first ring: left to boot loaders and partition tables. */
export const BOOT_BLOCKS = 16;
export const RING_SLOTS = 8;
/** A ring's area: its slots and room for more. */
export const RING_BLOCKS = 16;
export const REGION_BLOCKS_MIN = 32768;
export const REGIONS_MAX = 65536;
export const DEVICE_BYTES_MIN: number = 64 * 1024 * 1024;
/** Copies of a metadata page, and of each bitmap, on a single device. */
export const COPIES = 2;

export interface Geometry {
  readonly blockCount: number;
  readonly regionBlocks: number;
  readonly regionCount: number;
  /** First block of each superblock ring. */
  readonly ringStarts: readonly [number, number];
  readonly journalStart: number;
  readonly journalBlocks: number;
  /** First block of each copy of the region bitmaps. */
  readonly mapStarts: readonly [number, number];
  /** Blocks of one bitmap. */
  readonly mapBlocks: number;
}

/** @throws {FsError} EINVAL if the device is too small. */
export function geometryFor(sizeBytes: number): Geometry {
  if (!(sizeBytes >= DEVICE_BYTES_MIN)) {
    throw new FsError(
      EINVAL,
      "geometry/too-small",
      `Cannot use a device of ${sizeBytes} bytes: the smallest is ${DEVICE_BYTES_MIN}`,
    );
  }
  const blockCount = Math.floor(sizeBytes / BLOCK_BYTES);
  let regionBlocks = REGION_BLOCKS_MIN;
  while (Math.ceil(blockCount / regionBlocks) > REGIONS_MAX) regionBlocks *= 2;
  const regionCount = Math.ceil(blockCount / regionBlocks);
  const mapBlocks = regionBlocks / 8 / BLOCK_BYTES;
  const mapAreaBlocks = regionCount * 2 * mapBlocks;
  const journalBytes = Math.min(Math.max(sizeBytes / 32, 16 * 1024 * 1024), 128 * 1024 * 1024);
  const journalBlocks = Math.floor(journalBytes / BLOCK_BYTES);
  const journalStart = BOOT_BLOCKS + RING_BLOCKS;
  const secondRing = blockCount - RING_BLOCKS;
  return {
    blockCount,
    regionBlocks,
    regionCount,
    ringStarts: [BOOT_BLOCKS, secondRing],
    journalStart,
    journalBlocks,
    mapStarts: [journalStart + journalBlocks, secondRing - mapAreaBlocks],
    mapBlocks,
  };
}

/** The fixed areas as [first block, block count], in order: used in every bitmap. */
export function fixedAreas(geometry: Geometry): readonly (readonly [number, number])[] {
  const mapAreaBlocks = geometry.regionCount * 2 * geometry.mapBlocks;
  const headEnd = geometry.mapStarts[0] + mapAreaBlocks;
  return [
    [0, headEnd],
    [geometry.mapStarts[1], geometry.blockCount - geometry.mapStarts[1]],
  ];
}

/** First block of a bitmap's copy in one of its two slots. */
export function mapBlock(geometry: Geometry, copy: number, region: number, slot: number): number {
  return geometry.mapStarts[copy as 0 | 1] + (region * 2 + slot) * geometry.mapBlocks;
}

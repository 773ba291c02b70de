/**
 * The superblock: SPEC §3. One block; the newest valid slot of the rings is the volume's state. Everything that a mount
 * needs before it can read a tree.
 */
import { getI64, getU64, setI64, setU64 } from "../base/bytes.ts";
import { BLOCK_BYTES, type Geometry, geometryFor } from "./geometry.ts";
import { ROOT_BYTES, TREE_COUNT } from "./page_pointer.ts";

export const SUPERBLOCK_MAGIC = "DYNAMFS1";
export const VERSION_MAJOR = 1;
export const VERSION_MINOR = 0;
export const SUPERBLOCK_CHECKSUM = 8;
export const SUPERBLOCK_CHECKED_FROM = 16;
export const SUPERBLOCK_ROOTS = 304;
export const SUPERBLOCK_FLAG_CLEAN = 1;
export const POOL_NAME_BYTES_MAX = 63;

/** Feature bits that this version knows. */
export const FEATURES_COMPATIBLE = 0;
export const FEATURES_READ_ONLY_COMPATIBLE = 0;
export const FEATURES_INCOMPATIBLE = 0;

export interface Superblock {
  versionMajor: number;
  versionMinor: number;
  featuresCompatible: number;
  featuresReadOnlyCompatible: number;
  featuresIncompatible: number;
  poolUuid: Uint8Array;
  deviceUuid: Uint8Array;
  /** Generation of the checkpoint. */
  sequence: number;
  /** First transaction that the checkpoint does not contain. */
  transactionSequence: number;
  /** Where replay begins: sequence expected there, block within the journal, checksum of the commit before. */
  journalSequence: number;
  journalBlock: number;
  journalChain: Uint8Array;
  nextObjectId: number;
  objectCount: number;
  deviceIndex: number;
  deviceCount: number;
  geometry: Geometry;
  clean: boolean;
  timeSeconds: number;
  timeNanoseconds: number;
  freeBlocks: number;
  name: string;
  /** TREE_COUNT root records of ROOT_BYTES, as they lie on disk. */
  roots: Uint8Array;
}

/** Fills a block; the caller then stores XXH3-64 of bytes 16 to the end at offset 8. */
export function encodeSuperblock(view: DataView, at: number, superblock: Superblock): void {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at, BLOCK_BYTES);
  bytes.fill(0);
  bytes.set(new TextEncoder().encode(SUPERBLOCK_MAGIC), 0);
  view.setUint16(at + 16, superblock.versionMajor, true);
  view.setUint16(at + 18, superblock.versionMinor, true);
  view.setUint32(at + 20, BLOCK_BYTES, true);
  setU64(view, at + 24, superblock.featuresCompatible);
  setU64(view, at + 32, superblock.featuresReadOnlyCompatible);
  setU64(view, at + 40, superblock.featuresIncompatible);
  bytes.set(superblock.poolUuid, 48);
  bytes.set(superblock.deviceUuid, 64);
  setU64(view, at + 80, superblock.sequence);
  setU64(view, at + 88, superblock.transactionSequence);
  setU64(view, at + 96, superblock.journalSequence);
  setU64(view, at + 104, superblock.journalBlock);
  bytes.set(superblock.journalChain, 112);
  setU64(view, at + 120, superblock.nextObjectId);
  setU64(view, at + 128, superblock.objectCount);
  view.setUint16(at + 136, superblock.deviceIndex, true);
  view.setUint16(at + 138, superblock.deviceCount, true);
  view.setUint32(at + 140, BLOCK_BYTES, true);
  const geometry = superblock.geometry;
  setU64(view, at + 144, geometry.blockCount);
  view.setUint32(at + 152, geometry.regionBlocks, true);
  view.setUint32(at + 156, geometry.regionCount, true);
  setU64(view, at + 160, geometry.journalStart);
  setU64(view, at + 168, geometry.journalBlocks);
  setU64(view, at + 176, geometry.mapStarts[0]);
  setU64(view, at + 184, geometry.mapStarts[1]);
  setU64(view, at + 192, geometry.ringStarts[0]);
  setU64(view, at + 200, geometry.ringStarts[1]);
  view.setUint32(at + 208, 0, true);
  view.setUint32(at + 212, superblock.clean ? SUPERBLOCK_FLAG_CLEAN : 0, true);
  setI64(view, at + 216, superblock.timeSeconds);
  view.setUint32(at + 224, superblock.timeNanoseconds, true);
  setU64(view, at + 232, superblock.freeBlocks);
  bytes.set(new TextEncoder().encode(superblock.name).subarray(0, POOL_NAME_BYTES_MAX), 240);
  bytes.set(superblock.roots, SUPERBLOCK_ROOTS);
}

/**
 * Reads a block whose checksum the caller has verified.
 *
 * @returns The superblock, or what rule it breaks.
 */
export function decodeSuperblock(view: DataView, at: number): Superblock | string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at, BLOCK_BYTES);
  if (!hasSuperblockMagic(bytes)) return "no magic";
  if (
    view.getUint32(at + 20, true) !== BLOCK_BYTES ||
    view.getUint32(at + 140, true) !== BLOCK_BYTES
  ) {
    return "block size";
  }
  const blockCount = getU64(view, at + 144);
  if (!Number.isSafeInteger(blockCount * BLOCK_BYTES)) return "block count";
  let geometry: Geometry;
  try {
    geometry = geometryFor(blockCount * BLOCK_BYTES);
  } catch {
    return "block count";
  }
  const same =
    view.getUint32(at + 152, true) === geometry.regionBlocks &&
    view.getUint32(at + 156, true) === geometry.regionCount &&
    getU64(view, at + 160) === geometry.journalStart &&
    getU64(view, at + 168) === geometry.journalBlocks &&
    getU64(view, at + 176) === geometry.mapStarts[0] &&
    getU64(view, at + 184) === geometry.mapStarts[1] &&
    getU64(view, at + 192) === geometry.ringStarts[0] &&
    getU64(view, at + 200) === geometry.ringStarts[1];
  if (!same) return "geometry";
  const journalBlock = getU64(view, at + 104);
  if (journalBlock >= geometry.journalBlocks) return "journal position";
  const numbers = [80, 88, 96, 120, 128].map((offset) => getU64(view, at + offset));
  if (!numbers.every((number) => Number.isSafeInteger(number))) return "number out of range";
  const nameBytes = bytes.subarray(240, 240 + POOL_NAME_BYTES_MAX + 1);
  const end = nameBytes.indexOf(0);
  if (end <= 0) return "name";
  return {
    versionMajor: view.getUint16(at + 16, true),
    versionMinor: view.getUint16(at + 18, true),
    featuresCompatible: getU64(view, at + 24),
    featuresReadOnlyCompatible: getU64(view, at + 32),
    featuresIncompatible: getU64(view, at + 40),
    poolUuid: bytes.slice(48, 64),
    deviceUuid: bytes.slice(64, 80),
    sequence: numbers[0] as number,
    transactionSequence: numbers[1] as number,
    journalSequence: numbers[2] as number,
    journalBlock,
    journalChain: bytes.slice(112, 120),
    nextObjectId: numbers[3] as number,
    objectCount: numbers[4] as number,
    deviceIndex: view.getUint16(at + 136, true),
    deviceCount: view.getUint16(at + 138, true),
    geometry,
    clean: (view.getUint32(at + 212, true) & SUPERBLOCK_FLAG_CLEAN) !== 0,
    timeSeconds: getI64(view, at + 216),
    timeNanoseconds: view.getUint32(at + 224, true),
    freeBlocks: getU64(view, at + 232),
    name: new TextDecoder().decode(nameBytes.subarray(0, end)),
    roots: bytes.slice(SUPERBLOCK_ROOTS, SUPERBLOCK_ROOTS + TREE_COUNT * ROOT_BYTES),
  };
}

/** Whether a block begins as a superblock does. */
export function hasSuperblockMagic(block: Uint8Array): boolean {
  for (let i = 0; i < SUPERBLOCK_MAGIC.length; i++) {
    if (block[i] !== SUPERBLOCK_MAGIC.charCodeAt(i)) return false;
  }
  return true;
}

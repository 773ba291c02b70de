/**
 * The superblocks of a volume: two rings of slots on every device. A checkpoint writes the slot of its sequence in both
 * rings, so that the state before it stays whole until the new one is durable; the newest valid slot wins.
 */
import { isZero } from "../base/bytes.ts";
import { EIO, ENODEV, EOPNOTSUPP, EUCLEAN } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { all, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import {
  BLOCK_BYTES,
  BOOT_BLOCKS,
  geometryFor,
  RING_BLOCKS,
  RING_SLOTS,
} from "../format/geometry.ts";
import {
  decodeSuperblock,
  encodeSuperblock,
  FEATURES_INCOMPATIBLE,
  hasSuperblockMagic,
  SUPERBLOCK_CHECKED_FROM,
  SUPERBLOCK_CHECKSUM,
  type Superblock,
  VERSION_MAJOR,
} from "../format/superblock.ts";
import type { Pool } from "./pool.ts";

/** What one slot holds. */
export interface SlotReport {
  readonly ring: number;
  readonly slot: number;
  readonly block: number;
  readonly superblock: Superblock | null;
  /** null when valid; otherwise why not ("blank" when nothing was ever there). */
  readonly problem: string | null;
}

/** Reads every slot of a device's rings. `buffer` is RING_SLOTS blocks of core memory. */
export function* readSlots(
  core: Core,
  pool: Pool,
  deviceIndex: number,
  buffer: number,
): Task<SlotReport[]> {
  const reports: SlotReport[] = [];
  const size = pool.members[deviceIndex]?.device.sizeBytes ?? 0;
  const starts = [BOOT_BLOCKS, Math.floor(size / BLOCK_BYTES) - RING_BLOCKS];
  for (let ring = 0; ring < starts.length; ring++) {
    const start = starts[ring] as number;
    if (start < BOOT_BLOCKS || (start + RING_SLOTS) * BLOCK_BYTES > size) continue;
    const status = yield (resume) =>
      pool.read(deviceIndex, start, buffer, RING_SLOTS * BLOCK_BYTES, resume);
    for (let slot = 0; slot < RING_SLOTS; slot++) {
      if (status < 0) {
        reports.push({
          ring,
          slot,
          block: start + slot,
          superblock: null,
          problem: `read failed (${status})`,
        });
        continue;
      }
      const decoded = verifySuperblock(core, buffer + slot * BLOCK_BYTES);
      reports.push({
        ring,
        slot,
        block: start + slot,
        superblock: typeof decoded === "string" ? null : decoded,
        problem: typeof decoded === "string" ? decoded : null,
      });
    }
  }
  return reports;
}

/** Decodes a block after checking its checksum; a text says what is wrong. */
export function verifySuperblock(core: Core, address: number): Superblock | string {
  const block = core.bytes.subarray(address, address + BLOCK_BYTES);
  if (!hasSuperblockMagic(block)) return isZero(block) ? "blank" : "no magic";
  const checked = BLOCK_BYTES - SUPERBLOCK_CHECKED_FROM;
  const bad = core.exports.xxh3_64_verify_units(
    address + SUPERBLOCK_CHECKED_FROM,
    checked,
    1,
    address + SUPERBLOCK_CHECKSUM,
  );
  if (bad >= 0) return "checksum mismatch";
  return decodeSuperblock(core.view, address);
}

/**
 * The newest valid superblock of the volume.
 *
 * @throws {FsError} ENODEV no superblock at all, EUCLEAN none valid, EOPNOTSUPP a feature that this version lacks.
 */
export function* readNewest(core: Core, pool: Pool, buffer: number): Task<Superblock> {
  let newest: Superblock | null = null;
  let damaged: string | null = null;
  const name = pool.members[0]?.device.name ?? "device";
  for (let index = 0; index < pool.members.length; index++) {
    // Twice: one read that brings something else must not lead back to an older state, which would then be gone on from.
    for (let attempt = 0; attempt < 2; attempt++) {
      for (const report of yield* readSlots(core, pool, index, buffer)) {
        if (report.superblock !== null) {
          if (newest === null || report.superblock.sequence > newest.sequence)
            newest = report.superblock;
        } else if (report.problem !== "blank" && report.problem !== "no magic") {
          damaged = report.problem;
        }
      }
    }
  }
  if (newest === null) {
    if (damaged !== null) {
      throw new FsError(
        EUCLEAN,
        "superblock/none-valid",
        `Cannot use ${name}: no superblock is valid: ${damaged}`,
      );
    }
    throw new FsError(
      ENODEV,
      "superblock/none",
      `Cannot use ${name}: it holds no DynamicFS volume`,
    );
  }
  const unknown = newest.featuresIncompatible & ~FEATURES_INCOMPATIBLE;
  if (newest.versionMajor > VERSION_MAJOR || unknown !== 0) {
    throw new FsError(
      EOPNOTSUPP,
      "superblock/incompatible",
      `Cannot use ${name}: format ${newest.versionMajor}.${newest.versionMinor} with features 0x${unknown.toString(16)} needs a newer DynamicFS`,
    );
  }
  const expected = geometryFor(pool.members[0]?.device.sizeBytes ?? 0);
  if (newest.geometry.blockCount > expected.blockCount) {
    throw new FsError(
      EUCLEAN,
      "superblock/device-shrunk",
      `Cannot use ${name}: the volume has ${newest.geometry.blockCount} blocks, the device ${expected.blockCount}`,
    );
  }
  return newest;
}

/** Writes the slot of the superblock's sequence in both rings; the caller flushes before and after. */
export function* writeSuperblock(
  core: Core,
  pool: Pool,
  superblock: Superblock,
  buffer: number,
): Task<void> {
  encodeSuperblock(core.view, buffer, superblock);
  core.exports.xxh3_64(
    buffer + SUPERBLOCK_CHECKED_FROM,
    BLOCK_BYTES - SUPERBLOCK_CHECKED_FROM,
    buffer + SUPERBLOCK_CHECKSUM,
  );
  const slot = superblock.sequence % RING_SLOTS;
  const status = yield all(
    superblock.geometry.ringStarts.map(
      (start) => (resume: (status: number) => void) =>
        pool.write(0, start + slot, buffer, BLOCK_BYTES, resume),
    ),
  );
  if (status < 0)
    throw new FsError(EIO, "superblock/write", `Cannot write the superblock: error ${status}`);
}

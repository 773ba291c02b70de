/**
 * The rings of superblocks: which slot is the volume's state, and which slots are not as checkpoints leave them. A crash
 * may tear the slot that was being written, so a bad slot alone is a remark as long as the other ring has a good one.
 */
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import { BLOCK_BYTES, DEVICE_BYTES_MIN, RING_SLOTS } from "../format/geometry.ts";
import {
  FEATURES_INCOMPATIBLE,
  FEATURES_READ_ONLY_COMPATIBLE,
  type Superblock,
  VERSION_MAJOR,
} from "../format/superblock.ts";
import type { Pool } from "../pool/pool.ts";
import { readSlots, type SlotReport } from "../pool/superblock_set.ts";
import type { Findings } from "./findings.ts";

/** Memory for readSlots. */
export const RING_BUFFER_BYTES: number = RING_SLOTS * BLOCK_BYTES;

/**
 * @param buffer RING_BUFFER_BYTES of core memory.
 * @returns The newest superblock if this version can read the volume, else null; findings say why.
 */
export function* checkSuperblocks(
  core: Core,
  pool: Pool,
  buffer: number,
  errors: Findings,
  warnings: Findings,
): Task<Superblock | null> {
  const sizeBytes = pool.members[0]?.device.sizeBytes ?? 0;
  const slots = sizeBytes < DEVICE_BYTES_MIN ? [] : yield* readSlots(core, pool, 0, buffer);
  let newest: Superblock | null = null;
  for (const { superblock } of slots) {
    if (superblock !== null && (newest === null || superblock.sequence > newest.sequence)) {
      newest = superblock;
    }
  }
  const device = pool.members[0]?.device;
  if (newest === null) {
    const blank = slots.every((slot) => slot.problem === "blank" || slot.problem === "no magic");
    const why = blank ? "the device holds no volume" : "every slot is damaged";
    errors.add("DFS-FSCK-SUPERBLOCK-NONE", `No superblock is valid: ${why}`, {
      device: device?.name ?? "none",
    });
    return null;
  }
  const unknown = newest.featuresIncompatible & ~FEATURES_INCOMPATIBLE;
  if (newest.versionMajor > VERSION_MAJOR || unknown !== 0) {
    errors.add(
      "DFS-FSCK-UNSUPPORTED",
      `Format ${newest.versionMajor}.${newest.versionMinor} with features 0x${unknown.toString(16)} needs a newer DynamicFS`,
      { sequence: newest.sequence },
    );
    return null;
  }
  if ((newest.featuresReadOnlyCompatible & ~FEATURES_READ_ONLY_COMPATIBLE) !== 0) {
    warnings.add(
      "DFS-FSCK-FEATURES",
      "Some features are unknown to this version: not all is checked",
      {
        sequence: newest.sequence,
      },
    );
  }
  const deviceBlocks = Math.floor((device?.sizeBytes ?? 0) / BLOCK_BYTES);
  if (newest.geometry.blockCount > deviceBlocks) {
    errors.add(
      "DFS-FSCK-DEVICE-SIZE",
      `The volume has ${newest.geometry.blockCount} blocks, the device only ${deviceBlocks}`,
      { device: device?.name ?? "none" },
    );
    return null;
  }
  if (newest.geometry.blockCount < deviceBlocks) {
    warnings.add(
      "DFS-FSCK-DEVICE-SIZE",
      `The device has ${deviceBlocks} blocks, more than the volume's ${newest.geometry.blockCount}`,
      { device: device?.name ?? "none" },
    );
  }
  if (newest.deviceIndex !== 0 || newest.deviceCount !== pool.members.length) {
    errors.add(
      "DFS-FSCK-SUPERBLOCK-FIELD",
      `It is device ${newest.deviceIndex} of ${newest.deviceCount}, ${pool.members.length} were given`,
      { sequence: newest.sequence },
    );
  }
  checkSlots(slots, newest, deviceBlocks, errors, warnings);
  return newest;
}

function checkSlots(
  slots: readonly SlotReport[],
  newest: Superblock,
  deviceBlocks: number,
  errors: Findings,
  warnings: Findings,
): void {
  const { geometry } = newest;
  for (const report of slots) {
    const { ring, slot, block, superblock } = report;
    if (ring === 1 && geometry.blockCount !== deviceBlocks) continue;
    const place = { ring, slot, block };
    if (superblock !== null) {
      const problem = slotProblem(superblock, newest, slot);
      if (problem !== null) errors.add("DFS-FSCK-SUPERBLOCK-FIELD", problem, place);
      continue;
    }
    const problem = report.problem ?? "unknown";
    const twin = slots.find((other) => other.ring !== ring && other.slot === slot);
    const torn = slot === (newest.sequence + 1) % RING_SLOTS;
    const expected = newest.sequence % RING_SLOTS === slot;
    if (problem === "blank" && !expected && twin?.superblock == null) continue;
    // A ring is read as a whole: one bad sector hides slots that were never written, too.
    const hidden = problem.startsWith("read failed") && twin?.problem === "blank";
    const explained = torn || hidden || twin?.superblock != null;
    (explained ? warnings : errors).add(
      "DFS-FSCK-SUPERBLOCK-SLOT",
      `A slot is not valid: ${problem}${explained ? "; the other ring has it, or a crash tore it" : ""}`,
      place,
    );
  }
}

/** What is wrong with a slot that is valid by itself. */
export function slotProblem(
  superblock: Superblock,
  newest: Superblock,
  slot: number,
): string | null {
  if (superblock.sequence % RING_SLOTS !== slot)
    return `Sequence ${superblock.sequence} lies in slot ${slot}`;
  if (!sameBytes(superblock.poolUuid, newest.poolUuid)) return "A superblock of another volume";
  if (superblock.geometry.blockCount !== newest.geometry.blockCount) {
    return `It has ${superblock.geometry.blockCount} blocks, the newest ${newest.geometry.blockCount}`;
  }
  return null;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

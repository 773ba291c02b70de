/** What a pool's superblock tells without mounting it. */

import { uuidText } from "../base/bytes.ts";
import { Layout } from "../core/layout.ts";
import { RING_SLOTS } from "../format/geometry.ts";
import { Pool } from "../pool/pool.ts";
import { readNewest } from "../pool/superblock_set.ts";
import { withEngine } from "./engine.ts";

const BLOCK_BYTES = 4096;
/** The least that an engine takes: a superblock needs little. */
const MEMORY_BYTES = 32 * 1024 * 1024;

/** The fields that a mounted pool's status shares, and whether it was unmounted cleanly. */
export interface UnmountedPool {
  readonly pool: string;
  readonly uuid: string;
  readonly state: "unmounted";
  readonly format: string;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly clean: boolean;
  readonly checkpoint: { readonly sequence: number; readonly time: string | null };
  readonly devices: readonly {
    readonly name: string;
    readonly index: number;
    readonly sizeBytes: number;
  }[];
}

/** @throws {FsError} ENODEV when it holds no pool, EBUSY when somebody has it mounted. */
export async function readUnmounted(spec: string): Promise<UnmountedPool> {
  let name = spec;
  let deviceBytes = 0;
  const superblock = await withEngine(
    { specs: [spec], memoryBytes: MEMORY_BYTES, readOnly: true, log: () => {} },
    ({ environment, devices }) => {
      name = devices[0]?.name ?? spec;
      deviceBytes = devices[0]?.sizeBytes ?? 0;
      const buffer = new Layout(environment.core).take(RING_SLOTS * BLOCK_BYTES, BLOCK_BYTES);
      return readNewest(environment.core, new Pool(devices), buffer);
    },
  );
  const sizeBytes = superblock.geometry.blockCount * BLOCK_BYTES;
  return {
    pool: superblock.name,
    uuid: uuidText(superblock.poolUuid),
    state: "unmounted",
    format: `${superblock.versionMajor}.${superblock.versionMinor}`,
    sizeBytes,
    usedBytes: sizeBytes - superblock.freeBlocks * BLOCK_BYTES,
    clean: superblock.clean,
    checkpoint: {
      sequence: superblock.sequence,
      time: new Date(superblock.timeSeconds * 1000).toISOString(),
    },
    devices: [{ name, index: superblock.deviceIndex, sizeBytes: deviceBytes }],
  };
}

/**
 * A volume: devices, core memory and clock put together into a mounted file system. The one place where an engine is
 * assembled; used by the daemon, the library, the tools and the simulator.
 */
import type { Clock } from "../base/clock.ts";
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Device } from "../device/device.ts";
import type { FileSystem } from "./file_system.ts";

/** What varies outside and comes in from it. */
export interface Environment {
  readonly core: Core;
  readonly clock: Clock;
  /** Calls back once after the delay; returns a cancel function. */
  timer(delayMs: number, callback: () => void): () => void;
  /** Calls back from the loop's next turn. */
  post(callback: () => void): void;
  /** Fills with random bytes (identifiers only; nothing else in the engine is random). */
  randomBytes(target: Uint8Array): void;
  /** One structured line: level "info" | "warn" | "error", a stable event name, and fields. */
  log(level: "info" | "warn" | "error", event: string, fields: Record<string, unknown>): void;
}

export interface CreateOptions {
  /** 1 to 63 characters of [A-Za-z0-9_.:-], starting with a letter or digit. */
  readonly name: string;
}

export interface MountOptions {
  readonly readOnly: boolean;
  /** Seconds between checkpoints; default 5. */
  readonly checkpointSeconds?: number;
}

/** State of a mounted volume, ready for JSON: integers, bytes unless the name says otherwise, null when unknown. */
export interface VolumeStatus {
  readonly pool: string;
  readonly uuid: string;
  readonly state: "online" | "read-only" | "faulted";
  readonly format: string;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly availableBytes: number;
  readonly files: number;
  readonly checkpoint: { readonly sequence: number; readonly time: string | null };
  readonly journal: { readonly sizeBytes: number; readonly usedBytes: number; readonly replayedTransactions: number };
  readonly devices: readonly {
    readonly name: string;
    readonly index: number;
    readonly uuid: string;
    readonly state: "online" | "faulted";
    readonly sizeBytes: number;
    readonly usedBytes: number;
    readonly readErrors: number;
    readonly writeErrors: number;
    readonly checksumErrors: number;
  }[];
  readonly cache: {
    readonly memoryBytes: number;
    readonly pageFrames: number;
    readonly pageFramesFree: number;
    readonly pageFramesDirty: number;
    readonly bufferBlocks: number;
    readonly bufferBlocksFree: number;
    readonly dirtyBlocks: number;
  };
  /** Running totals since mount, by stable name. */
  readonly counters: Readonly<Record<string, number>>;
}

/** 64 KiB Wasm pages of core memory for a budget; throws FsError EINVAL below 32 MiB or above 3 GiB. */
export declare function memoryPagesFor(budgetBytes: number): number;

/** Writes a new, empty volume onto the devices. Everything that they held is lost. */
export declare function createVolume(
  environment: Environment,
  devices: readonly Device[],
  options: CreateOptions,
): Task<void>;

/**
 * Opens a volume, recovers it if it was not unmounted cleanly, and starts its checkpoints.
 *
 * @throws {FsError} ENODEV not a DynamicFS device, EUCLEAN beyond recovery, EOPNOTSUPP unknown incompatible feature.
 */
export declare function mountVolume(
  environment: Environment,
  devices: readonly Device[],
  options: MountOptions,
): Task<Volume>;

export interface Volume {
  readonly fs: FileSystem;
  status(): VolumeStatus;
  /** Makes everything durable, stops timers; the devices can be closed after it. */
  unmount(): Task<void>;
}

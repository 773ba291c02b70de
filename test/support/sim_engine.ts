/**
 * What a simulation runs on: a core, and one power-on of a device, a clock and the engine in it.
 */
import { Prng } from "../../host/base/prng.ts";
import { spawn, type Task } from "../../host/base/task.ts";
import type { Core } from "../../host/core/core.ts";
import { loadCore } from "../../host/core/load.ts";
import { SimulatedDevice } from "../../host/device/simulated_device.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { createVolume, type Environment } from "../../host/fs/volume.ts";
import { SimulatedReactor } from "../../host/reactor/simulated_reactor.ts";

/** The smallest device there is. */
const DEVICE_BYTES = 64 << 20;
const MEMORY_BYTES = 32 << 20;
export const TURNS_MAX: number = 2_000_000;

const LOG_LINES_MAX = 200;
/** Events about damage, and how many blocks they are about. */
const DAMAGE: Readonly<Record<string, number>> = {
  "data.damaged": 1,
  "page.damaged": 4,
  "space.bitmap_damaged": 1,
};

const RUN_BLOCKS_MAX = 256;

/** What a run found to be wrong. */
export class SimulationFailure extends Error {
  /** The same for failures of the same kind. */
  readonly signature: string;

  constructor(message: string, signature: string = message) {
    super(message);
    this.signature = signature;
    this.name = "SimulationFailure";
  }
}

/** A core that one engine after the other is laid out in. */
export class Machine {
  readonly core: Core;

  constructor() {
    this.core = loadCore({ memoryPages: MEMORY_BYTES / 65536 });
  }

  /** Makes what the host lays out hold anything but zeros: nothing may rely on what was there. */
  soil(prng: Prng): void {
    prng.bytes(this.core.bytes.subarray(this.core.staticEnd));
  }
}

/** One power-on: a device, a clock, and what runs on them until power is gone. */
export class Session {
  readonly core: Core;
  readonly reactor: SimulatedReactor;
  readonly device: SimulatedDevice;
  readonly environment: Environment;
  readonly log: string[] = [];
  /** The volume has met a failure, and takes no more changes. */
  isFaulted = false;
  /** Messages about damaged data, pages and bitmaps so far. */
  damageCount = 0;
  /** Hears of each of them: the first block, and how many it may be one of. */
  onDamage: ((event: string, block: number, count: number) => void) | null = null;

  constructor(
    machine: Machine,
    options: {
      prng: Prng;
      image?: SparseBytes;
      delayMs?: readonly [number, number];
      /** Seconds since the epoch when it begins. */
      startSeconds?: number;
    },
  ) {
    const { prng, startSeconds } = options;
    const reactor = new SimulatedReactor(startSeconds === undefined ? {} : { startSeconds });
    this.reactor = reactor;
    this.core = machine.core;
    this.device = new SimulatedDevice({
      core: machine.core,
      scheduler: reactor,
      prng,
      ...(options.image === undefined ? { sizeBytes: DEVICE_BYTES } : { image: options.image }),
      ...(options.delayMs === undefined ? {} : { delayMs: options.delayMs }),
    });
    this.environment = {
      core: machine.core,
      clock: reactor.clock,
      timer: (delayMs, callback) => reactor.timer(delayMs, callback),
      post: (callback) => reactor.post(callback),
      randomBytes: (target) => prng.bytes(target),
      log: (level, event, fields) => {
        if (level === "info") return;
        if (this.log.length < LOG_LINES_MAX)
          this.log.push(`${level} ${event} ${JSON.stringify(fields)}`);
        if (event === "volume.faulted") this.isFaulted = true;
        const count = DAMAGE[event];
        if (count === undefined) return;
        this.damageCount += 1;
        // A read that fails names the first block of all that it was to bring.
        const isRun = event === "data.damaged" && String(fields.problem).startsWith("read");
        this.onDamage?.(event, fields.block as number, isRun ? RUN_BLOCKS_MAX : count);
      },
    };
  }

  /** Runs a task to its end. */
  run<T>(task: Task<T>): T {
    let outcome: { error: unknown; result: T | undefined } | undefined;
    spawn(task, (error, result) => {
      outcome = { error, result };
    });
    this.reactor.runSync({ until: () => outcome !== undefined, turnsMax: TURNS_MAX });
    if (outcome === undefined)
      throw new SimulationFailure("a task waits for something that never comes");
    if (outcome.error !== null) throw outcome.error;
    return outcome.result as T;
  }
}

/** Made once a process: a core for the workload, one for recovery, and a new volume. */
let machines: { work: Machine; rescue: Machine; fresh: SparseBytes } | null = null;

export function getMachines(): { work: Machine; rescue: Machine; fresh: SparseBytes } {
  if (machines === null) {
    const work = new Machine();
    const rescue = new Machine();
    const session = new Session(work, { prng: new Prng(1) });
    session.run(createVolume(session.environment, [session.device], { name: "simulation" }));
    machines = { work, rescue, fresh: session.device.currentImage() };
  }
  return machines;
}

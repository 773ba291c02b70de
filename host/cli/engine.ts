/**
 * An engine for a command or the daemon: reactor, core, devices and clock, opened together and closed together. The
 * volume on top is the caller's, because some open one and others look below it.
 */
import { randomFillSync } from "node:crypto";
import type { Task } from "../base/task.ts";
import { spawn } from "../base/task.ts";
import { loadCore } from "../core/load.ts";
import type { Device } from "../device/device.ts";
import { openDevice } from "../device/open_device.ts";
import type { Environment } from "../fs/volume.ts";
import { memoryPagesFor } from "../fs/volume.ts";
import { openClock } from "../reactor/kernel_clock.ts";
import { PortableReactor } from "../reactor/portable_reactor.ts";
import type { Reactor } from "../reactor/reactor.ts";
import { UringReactor } from "../reactor/uring_reactor.ts";

export interface EngineOptions {
  /** Devices as on the command line. */
  readonly specs: readonly string[];
  readonly memoryBytes: number;
  readonly readOnly: boolean;
  /** Make image files whose size the spec tells. */
  readonly create?: boolean;
  /** Leave the thread to the runtime's event loop. */
  readonly portable?: boolean;
  readonly log: Environment["log"];
}

export interface Engine {
  readonly reactor: Reactor;
  readonly environment: Environment;
  readonly devices: readonly Device[];
  /** Closes devices and reactor; nothing may be under way. */
  close(): void;
}

/** @throws {FsError} When a device cannot be opened; those before it are closed again. */
export function openEngine(options: EngineOptions): Engine {
  const core = loadCore({ memoryPages: memoryPagesFor(options.memoryBytes) });
  const reactor =
    options.portable === true ? new PortableReactor(core) : openReactor(core, options.log);
  const devices: Device[] = [];
  const close = (): void => {
    for (const device of devices) device.close();
    reactor.close();
  };
  try {
    for (const spec of options.specs) {
      devices.push(openDevice(reactor, core, spec, { readOnly: options.readOnly }));
    }
  } catch (error) {
    close();
    throw error;
  }
  const environment: Environment = {
    core,
    clock: openClock(),
    timer: (delayMs, callback) => reactor.timer(delayMs, callback),
    post: (callback) => reactor.post(callback),
    randomBytes: (target) => {
      randomFillSync(target as Uint8Array<ArrayBuffer>);
    },
    log: options.log,
  };
  return { reactor, environment, devices, close };
}

/** io_uring where it is allowed; else the one that works everywhere. DYNAMICFS_REACTOR=portable asks for it. */
function openReactor(core: ReturnType<typeof loadCore>, log: Environment["log"]): Reactor {
  if (process.env["DYNAMICFS_REACTOR"] !== "portable") {
    try {
      return new UringReactor(core);
    } catch (error) {
      log("warn", "reactor-portable", { reason: error instanceof Error ? error.message : error });
    }
  }
  return new PortableReactor(core);
}

/** Runs one task on the engine's reactor until it is done. */
export async function runTask<T>(engine: Engine, task: Task<T>): Promise<T> {
  let outcome: { error: unknown; result: T | undefined } | undefined;
  spawn(task, (error, result) => {
    outcome = { error, result };
    engine.reactor.stop();
  });
  if (outcome === undefined) await engine.reactor.run();
  if (outcome === undefined) throw new Error("The reactor ended before the task");
  if (outcome.error !== null) throw outcome.error;
  return outcome.result as T;
}

/** Opens an engine for one task, and closes it whatever happens. */
export async function withEngine<T>(
  options: EngineOptions,
  makeTask: (engine: Engine) => Task<T>,
): Promise<T> {
  const engine = openEngine(options);
  try {
    return await runTask(engine, makeTask(engine));
  } finally {
    engine.close();
  }
}

/**
 * The engine's thread: reactor, core, devices, volume and FUSE session. Runs until the mount is gone, then makes
 * everything durable and ends. It prints nothing and catches no signal: that is the control thread's (daemon.ts).
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { join } from "node:path";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { FsError } from "../base/fs_error.ts";
import { spawn } from "../base/task.ts";
import type { Volume } from "../fs/volume.ts";
import { mountVolume } from "../fs/volume.ts";
import { type EndReason, FuseSession } from "../fuse/session.ts";
import { UringReactor } from "../reactor/uring_reactor.ts";
import { toCliError } from "./cli_error.ts";
import type { Engine, EngineOptions } from "./engine.ts";
import { openEngine } from "./engine.ts";
import type { EngineSettings, FromEngine, ToEngine } from "./engine_messages.ts";
import { ownMounts } from "./mount_table.ts";

const BUSY_MS_MAX = 2000;
const BUSY_STEP_MS = 50;
/** linux/errno.h */
const ECONNABORTED = 103;

const settings = workerData as EngineSettings;

function tell(message: FromEngine): void {
  parentPort?.postMessage(message);
}

/** Starts a CPU profile; the returned function writes it. */
function startProfile(directory: string): () => void {
  const session = new Session();
  session.connect();
  session.post("Profiler.enable");
  session.post("Profiler.start");
  return () => {
    // The inspector answers calls of its own thread before they return.
    session.post("Profiler.stop", (error, result) => {
      if (error !== null) return;
      mkdirSync(directory, { recursive: true });
      const path = join(directory, `dynamicfs-${process.pid}-${Date.now()}.cpuprofile`);
      writeFileSync(path, JSON.stringify(result.profile));
    });
    session.disconnect();
  };
}

class EngineThread {
  readonly #engine: Engine;
  #volume: Volume | null = null;
  #session: FuseSession | null = null;
  #ending = false;
  #error: unknown = null;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  start(): void {
    const { environment, devices } = this.#engine;
    const { readOnly, noAtime } = settings.choices;
    spawn(mountVolume(environment, devices, { readOnly, noAtime }), (error, volume) => {
      if (volume === undefined) this.#finish(error);
      else this.#serve(volume);
    });
    this.#listen();
  }

  get error(): unknown {
    return this.#error;
  }

  #serve(volume: Volume): void {
    this.#volume = volume;
    const { choices, mountPoint, specs } = settings;
    const session = new FuseSession({
      reactor: this.#engine.reactor,
      core: this.#engine.environment.core,
      fs: volume.fs,
      log: this.#engine.environment.log,
      readOnly: choices.readOnly,
    });
    this.#session = session;
    session.onEnd((reason) => this.#end(reason === "unmounted" ? null : connectionLost(reason)));
    try {
      session.mountAt(mountPoint, {
        source: choices.source ?? specs[0] ?? "dynamicfs",
        noSuid: choices.noSuid,
        noDev: choices.noDev,
        noExec: choices.noExec,
        noAtime: choices.noAtime,
        ...(choices.allowOther ? { allowOther: true } : {}),
      });
    } catch (error) {
      this.#end(error);
      return;
    }
    const { reactor } = this.#engine;
    const wakeFd = reactor instanceof UringReactor ? reactor.wakeFd : null;
    tell({ type: "mounted", wakeFd, pool: volume.status().pool });
  }

  /** Makes all durable, then stops the loop. */
  #end(error: unknown): void {
    if (this.#ending) return;
    this.#ending = true;
    const volume = this.#volume;
    if (volume === null) {
      this.#finish(error);
      return;
    }
    spawn(volume.unmount(), (unmountError) => this.#finish(error ?? unmountError));
  }

  #finish(error: unknown): void {
    this.#error = error;
    this.#engine.reactor.stop();
  }

  #listen(): void {
    const { reactor } = this.#engine;
    const { port } = settings;
    if (reactor instanceof UringReactor) {
      reactor.onWake = () => {
        for (;;) {
          const received = receiveMessageOnPort(port);
          if (received === undefined) return;
          this.#handle(received.message as ToEngine);
        }
      };
    } else {
      port.on("message", (message: ToEngine) => this.#handle(message));
    }
  }

  #handle(message: ToEngine): void {
    if (message.type === "stop") {
      this.#end(null);
      return;
    }
    const result =
      message.what === "status"
        ? this.#volume?.status()
        : (this.#session?.stats.toCounters() ?? null);
    tell({ type: "answer", id: message.id, result: result ?? null });
  }
}

/** The kernel cut the connection (umount -f, /sys/fs/fuse) with what it had not yet written back. */
function connectionLost(reason: EndReason): FsError {
  return new FsError(
    ECONNABORTED,
    "mount/connection-lost",
    `Cannot go on serving ${settings.mountPoint}: the kernel's connection was ${reason}; what was fsynced is safe`,
  );
}

/**
 * Opens the engine; waits a little for a daemon that has been unmounted by umount(8), which returns before the daemon
 * has written everything.
 */
function openWhenFree(options: EngineOptions): Engine {
  const mounted = ownMounts().some((entry) => options.specs.includes(entry.source));
  for (let left = mounted ? 0 : BUSY_MS_MAX / BUSY_STEP_MS; ; left--) {
    try {
      return openEngine(options);
    } catch (error) {
      if (left <= 0 || !(error instanceof FsError) || error.code !== "EBUSY") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_STEP_MS);
    }
  }
}

async function main(): Promise<void> {
  const stopProfile =
    settings.profileDirectory === null ? null : startProfile(settings.profileDirectory);
  let failure: unknown = null;
  try {
    const engine = openWhenFree({
      specs: settings.specs,
      memoryBytes: settings.memoryBytes,
      readOnly: settings.choices.readOnly,
      log: (level, event, fields) => tell({ type: "log", level, event, fields }),
    });
    const thread = new EngineThread(engine);
    thread.start();
    await engine.reactor.run();
    // The reactor stays open until the process ends, which is soon: the control thread may be writing to its eventfd,
    // whose number must not become another file's.
    for (const device of engine.devices) device.close();
    failure = thread.error;
  } catch (error) {
    failure = error;
  }
  if (failure !== null && !(failure instanceof FsError)) {
    // A bug: the record that people see has no stack.
    const stack = failure instanceof Error ? failure.stack : String(failure);
    tell({ type: "log", level: "error", event: "engine-crashed", fields: { stack } });
  }
  stopProfile?.();
  const what = `cannot serve ${settings.mountPoint}`;
  tell({ type: "ended", error: failure === null ? null : toCliError(failure, what).toRecord() });
  settings.port.close();
}

await main();

/**
 * The engine's thread: reactor, core, devices, volume and FUSE session. Runs until the mount is gone, then makes
 * everything durable and ends. It prints nothing and catches no signal: that is the control thread's (daemon.ts).
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { EBUSY, EOPNOTSUPP, errnoName } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { isDeno } from "../base/runtime.ts";
import { spawn } from "../base/task.ts";
import type { Volume } from "../fs/volume.ts";
import { mountVolume } from "../fs/volume.ts";
import {
  type Durability,
  type EndReason,
  FuseSession,
  type HandedChannel,
} from "../fuse/session.ts";
import { UringReactor } from "../reactor/uring_reactor.ts";
import { type ErrorRecord, toCliError } from "./cli_error.ts";
import type { Engine, EngineOptions } from "./engine.ts";
import { openEngine } from "./engine.ts";
import type { EngineChange, EngineSettings, FromEngine, ToEngine } from "./engine_messages.ts";
import { EngineMeter } from "./engine_stats.ts";
import type { MountChoices } from "./mount_options.ts";
import { ownMounts } from "./mount_table.ts";
import { answerQuota } from "./quota_engine.ts";

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

/** An engine that is closed so that another goes on with its mount, opened for writing. */
interface Resumption {
  readonly channel: HandedChannel;
  /** The remount that waits for it. */
  readonly id: number;
  readonly change: EngineChange;
  /** What became of opening it for writing; then it is read-only again. */
  readonly error: ErrorRecord | null;
}

class EngineThread {
  readonly #engine: Engine;
  readonly #choices: MountChoices;
  readonly #resumption: Resumption | null;
  /** Tells that nobody writes to the eventfd of the engine before this one. */
  readonly #onMoved: () => void;
  #volume: Volume | null = null;
  #session: FuseSession | null = null;
  #meter: EngineMeter | null = null;
  #ending = false;
  #error: unknown = null;
  #next: Resumption | null = null;
  #noAtime: boolean;
  #durability: { sync: boolean; dirSync: boolean };

  constructor(
    engine: Engine,
    choices: MountChoices,
    resumption: Resumption | null,
    onMoved: () => void,
  ) {
    this.#engine = engine;
    this.#choices = choices;
    this.#resumption = resumption;
    this.#onMoved = onMoved;
    this.#noAtime = choices.noAtime;
    this.#durability = { sync: choices.sync, dirSync: choices.dirSync };
  }

  start(): void {
    const { environment, devices } = this.#engine;
    const { readOnly, noAtime, strictAtime } = this.#choices;
    spawn(
      mountVolume(environment, devices, { readOnly, noAtime, strictAtime }),
      (error, volume) => {
        if (volume === undefined) this.#finish(error);
        else this.#serve(volume);
      },
    );
  }

  get error(): unknown {
    return this.#error;
  }

  /** Whether requests were taken. */
  get hasServed(): boolean {
    return this.#session !== null;
  }

  /** How another engine goes on; null when this one was the last. */
  get next(): Resumption | null {
    return this.#next;
  }

  /** What the next engine is opened with. */
  get choices(): MountChoices {
    return { ...this.#choices, noAtime: this.#noAtime, ...this.#durability };
  }

  #serve(volume: Volume): void {
    this.#volume = volume;
    const { mountPoint, specs } = settings;
    const choices = this.#choices;
    const session = new FuseSession({
      reactor: this.#engine.reactor,
      core: this.#engine.environment.core,
      fs: volume.fs,
      log: this.#engine.environment.log,
      readOnly: choices.readOnly,
      shown: choices,
      durability: durabilityOf(choices),
      everyRead: choices.strictAtime,
    });
    session.onEnd((reason) => this.#end(reason === "unmounted" ? null : connectionLost(reason)));
    const resumption = this.#resumption;
    try {
      if (resumption !== null) session.takeOver(resumption.channel);
      else {
        session.mountAt(mountPoint, {
          source: choices.source ?? specs[0] ?? "dynamicfs",
          noSuid: choices.noSuid,
          noDev: choices.noDev,
          noExec: choices.noExec,
          noAtime: choices.noAtime,
          strictAtime: choices.strictAtime,
          sync: choices.sync,
          dirSync: choices.dirSync,
          ...(choices.allowOther ? { allowOther: true } : {}),
        });
      }
    } catch (error) {
      this.#end(error);
      return;
    }
    this.#session = session;
    this.#meter = new EngineMeter(this.#engine.reactor, volume, session);
    this.#listen();
    const { reactor } = this.#engine;
    const wakeFd = reactor instanceof UringReactor ? reactor.wakeFd : null;
    if (resumption === null) {
      tell({ type: "mounted", wakeFd, pool: volume.status().pool });
      return;
    }
    tell({ type: "moved", wakeFd });
    const { id, change, error } = resumption;
    if (error !== null) this.#answer(id, error);
    else this.#remount(id, change);
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
    this.#meter?.stop();
    const { reactor } = this.#engine;
    if (reactor instanceof UringReactor) reactor.onWake = null;
    else settings.port.removeAllListeners("message");
    reactor.stop();
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
      // What came while the engine was opened anew woke the one before.
      reactor.post(() => reactor.onWake?.());
    } else {
      port.on("message", (message: ToEngine) => this.#handle(message));
    }
  }

  #handle(message: ToEngine): void {
    switch (message.type) {
      case "stop":
        this.#end(null);
        break;
      case "moved":
        this.#onMoved();
        break;
      case "remount":
        this.#remount(message.id, message.change);
        break;
      case "query": {
        if (message.what === "status") this.#answer(message.id, this.#volume?.status() ?? null);
        else if (this.#meter === null) this.#answer(message.id, null);
        else this.#meter.read((stats) => this.#answer(message.id, stats));
        break;
      }
      case "quota":
        if (this.#volume === null) this.#answer(message.id, null);
        else answerQuota(this.#volume, message.change, (it) => this.#answer(message.id, it));
    }
  }

  #answer(id: number, result: unknown): void {
    tell({ type: "answer", id, result });
  }

  #remount(id: number, change: EngineChange): void {
    const session = this.#session;
    const volume: Volume & AccessTimeSwitch = this.#volume as Volume;
    const what = `cannot remount ${settings.mountPoint}`;
    const fail = (error: unknown): void => this.#answer(id, toCliError(error, what).toRecord());
    if (session === null || this.#ending || this.#next !== null) {
      fail(new FsError(EBUSY, "remount/busy", "it is being unmounted or remounted"));
      return;
    }
    const noAtime = change.noAtime ?? this.#noAtime;
    if (noAtime !== this.#noAtime) {
      if (volume.keepAccessTimes === undefined) {
        fail(new FsError(EOPNOTSUPP, "remount/atime", "access times are chosen at the mount"));
        return;
      }
      volume.keepAccessTimes(!noAtime && !session.refusesChanges);
      this.#noAtime = noAtime;
    }
    this.#durability = {
      sync: change.sync ?? this.#durability.sync,
      dirSync: change.dirSync ?? this.#durability.dirSync,
    };
    session.durability = durabilityOf(this.#durability);
    if (change.readOnly === true && !volume.fs.readOnly) {
      session.refusesChanges = true;
      volume.keepAccessTimes?.(false);
      volume.fs.sync((synced) => {
        volume.checkpoint((status) => {
          const error = synced < 0 ? synced : status;
          if (error >= 0) this.#answer(id, null);
          else fail(new FsError(-error, "remount/sync", `not all is durable: ${errnoName(error)}`));
        });
      });
    } else if (change.readOnly === false && this.#choices.readOnly) {
      // Opened read-only, recovered in memory alone, and not the only one who may: it takes a new engine.
      session.handOver((channel) => {
        this.#next = { channel, id, change, error: null };
        this.#end(null);
      });
    } else {
      if (change.readOnly === false) {
        session.refusesChanges = false;
        volume.keepAccessTimes?.(!this.#noAtime);
      }
      this.#answer(id, null);
    }
  }
}

/** A volume whose access times can be switched while it is mounted. */
interface AccessTimeSwitch {
  keepAccessTimes?(isOn: boolean): void;
}

function durabilityOf(choices: { readonly sync: boolean; readonly dirSync: boolean }): Durability {
  return choices.sync ? "all" : choices.dirSync ? "names" : "none";
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

/** An engine, and after a remount for writing another one that goes on with its mount. @returns Why it ended, or null. */
async function run(): Promise<unknown> {
  let choices = settings.choices;
  let resumption: Resumption | null = null;
  let before: Engine | null = null;
  const closeBefore = (): void => {
    before?.reactor.close();
    before = null;
  };
  for (;;) {
    let engine: Engine | null = null;
    let thread: EngineThread | null = null;
    let failure: unknown = null;
    try {
      engine = openWhenFree({
        specs: settings.specs,
        memoryBytes: settings.memoryBytes,
        readOnly: choices.readOnly,
        log: (level, event, fields) => tell({ type: "log", level, event, fields }),
      });
      thread = new EngineThread(engine, choices, resumption, closeBefore);
      thread.start();
      await engine.reactor.run();
      // The last reactor stays open until the process ends, which is soon: the control thread may be writing to its
      // eventfd, whose number must not become another file's.
      for (const device of engine.devices) device.close();
      failure = thread.error;
    } catch (error) {
      failure = error;
    }
    const current: Resumption | null = resumption;
    if (thread?.next != null) {
      resumption = thread.next;
      choices = { ...thread.choices, readOnly: false };
      before = engine;
    } else if (current !== null && thread?.hasServed !== true && !choices.readOnly) {
      // Not to be had for writing: read-only as before.
      engine?.reactor.close();
      const error = toCliError(failure, `cannot remount ${settings.mountPoint}`).toRecord();
      resumption = { ...(current as Resumption), error };
      choices = { ...choices, readOnly: true };
    } else {
      return failure;
    }
  }
}

/**
 * Machine code at a function's first call, and good machine code after a seventh of the usual calls: a mount's first
 * seconds are a fifth faster, for some megabytes. Not before everything is loaded: the runtime's own compiled modules
 * fit the flags it began with, and would all be compiled again.
 */
function compileSoon(): void {
  if (isDeno) return;
  setFlagsFromString("--always-sparkplug");
  setFlagsFromString("--interrupt-budget=10000");
}

async function main(): Promise<void> {
  compileSoon();
  const stopProfile =
    settings.profileDirectory === null ? null : startProfile(settings.profileDirectory);
  const failure = await run();
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

/**
 * The engine of a mount by libfuse 2, on the daemon's first thread: fuse-native's binding waits on that thread's event
 * loop and nowhere else. Runs until the mount is gone, then makes everything durable.
 */
import { EOPNOTSUPP } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { spawn } from "../base/task.ts";
import type { Volume } from "../fs/volume.ts";
import { mountVolume } from "../fs/volume.ts";
import { loadFuseNative } from "../fuse_native/load.ts";
import { FuseNativeSession } from "../fuse_native/session.ts";
import { type ErrorRecord, toCliError } from "./cli_error.ts";
import { type Engine, openEngine, runTask } from "./engine.ts";
import type { EngineSettings, ToEngine } from "./engine_messages.ts";
import { EngineMeter } from "./engine_stats.ts";
import type { LogFields, LogLevel } from "./log.ts";
import type { MountChoices } from "./mount_options.ts";
import { answerQuota } from "./quota_engine.ts";

export interface FuseNativeEvents {
  log(level: LogLevel, event: string, fields: LogFields): void;
  answer(id: number, result: unknown): void;
  /** The directory serves. */
  mounted(pool: string): Promise<void>;
}

/** @returns Null after a clean end, else why it could not be served. */
export async function runFuseNative(
  settings: EngineSettings,
  events: FuseNativeEvents,
): Promise<ErrorRecord | null> {
  let engine: Engine | null = null;
  try {
    // What is missing is said before anything is opened.
    loadFuseNative();
    engine = openEngine({
      specs: settings.specs,
      memoryBytes: settings.memoryBytes,
      readOnly: settings.choices.readOnly,
      portable: true,
      log: events.log,
    });
    await serve(engine, settings, events);
    return null;
  } catch (error) {
    return toCliError(error, `cannot serve ${settings.mountPoint}`).toRecord();
  } finally {
    engine?.close();
  }
}

async function serve(
  engine: Engine,
  settings: EngineSettings,
  events: FuseNativeEvents,
): Promise<void> {
  const { choices, mountPoint, specs } = settings;
  const { readOnly, noAtime } = choices;
  const { core } = engine.environment;
  const volume = await runTask(
    engine,
    mountVolume(engine.environment, engine.devices, { readOnly, noAtime }),
  );
  const session = new FuseNativeSession({
    fs: volume.fs,
    memory: core.bytes as Uint8Array<ArrayBuffer>,
    mountPoint,
    source: choices.source ?? specs[0] ?? "dynamicfs",
    options: optionsOf(choices),
    log: events.log,
  });
  const meter = new EngineMeter(engine.reactor, volume, null);
  let failure: unknown = null;
  try {
    const ended = new Promise<void>((resolve) => {
      session.onEnd(resolve);
      settings.port.on("message", (message: ToEngine) => {
        if (message.type === "stop") session.stop();
        else if (message.type === "query") {
          if (message.what === "status") events.answer(message.id, volume.status());
          else meter.read((stats) => events.answer(message.id, stats));
        } else if (message.type === "quota") {
          answerQuota(volume, message.change, (answer) => events.answer(message.id, answer));
        } else if (message.type === "remount") {
          const error = new FsError(
            EOPNOTSUPP,
            "fuse-native/remount",
            "a mount by fuse-native is not changed; unmount, and mount again",
          );
          events.answer(message.id, toCliError(error, `cannot remount ${mountPoint}`).toRecord());
        }
      });
    });
    await session.mount();
    await events.mounted(volume.status().pool);
    await ended;
  } catch (error) {
    failure = error;
  }
  settings.port.removeAllListeners("message");
  meter.stop();
  await end(volume);
  if (failure !== null) throw failure;
}

/** Makes everything durable. */
function end(volume: Volume): Promise<void> {
  return new Promise((resolve, reject) => {
    spawn(volume.unmount(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

function optionsOf(choices: MountChoices): string[] {
  const options = [choices.readOnly ? "ro" : "rw"];
  // Nobody but root can have them, and libfuse takes them away unless asked not to.
  if (process.geteuid?.() === 0) {
    options.push(choices.noSuid ? "nosuid" : "suid", choices.noDev ? "nodev" : "dev");
  }
  if (choices.noExec) options.push("noexec");
  if (choices.noAtime) options.push("noatime");
  return options;
}

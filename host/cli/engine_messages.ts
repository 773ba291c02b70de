/**
 * What the daemon's two threads say to each other. The engine's thread sleeps in the kernel, so the control thread
 * posts a message to its port and then writes to its eventfd; the other direction is an ordinary message.
 */
import type { MessagePort } from "node:worker_threads";
import type { ErrorRecord } from "./cli_error.ts";
import type { LogFields, LogLevel } from "./log.ts";
import type { MountChoices } from "./mount_options.ts";
import type { QuotaChange } from "./quota_engine.ts";

/** What the engine can change while it is mounted. */
export type EngineChange = Partial<Pick<MountChoices, "readOnly" | "noAtime" | "sync" | "dirSync">>;

/** How the engine's thread is started. */
export interface EngineSettings {
  readonly specs: readonly string[];
  readonly mountPoint: string;
  readonly choices: MountChoices;
  readonly memoryBytes: number;
  /** A directory for a CPU profile of the engine, or null. */
  readonly profileDirectory: string | null;
  /** Requests come in here. */
  readonly port: MessagePort;
}

export type ToEngine =
  | { readonly type: "query"; readonly id: number; readonly what: "status" | "stats" }
  /** Answered with an error record or null. Read-only is answered when everything is on the devices. */
  | { readonly type: "remount"; readonly id: number; readonly change: EngineChange }
  /** Answered with a QuotaAnswer. */
  | { readonly type: "quota"; readonly id: number; readonly change: QuotaChange | null }
  /** The eventfd that was used before `moved` is not any more. */
  | { readonly type: "moved" }
  /** End although the kernel still has the mount: the last resort. */
  | { readonly type: "stop" };

export type FromEngine =
  | {
      readonly type: "log";
      readonly level: LogLevel;
      readonly event: string;
      readonly fields: LogFields;
    }
  /** The directory serves. */
  | { readonly type: "mounted"; readonly wakeFd: number | null; readonly pool: string }
  /** The engine was opened anew and sleeps at another eventfd. */
  | { readonly type: "moved"; readonly wakeFd: number | null }
  | { readonly type: "answer"; readonly id: number; readonly result: unknown }
  /** All is on the devices and they are closed, or `error` says why not; the thread ends. */
  | { readonly type: "ended"; readonly error: ErrorRecord | null };

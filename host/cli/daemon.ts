/**
 * The daemon that serves one mount: this thread is the control plane (socket, signals, log), a worker runs the engine.
 *
 * How it ends. However the mount goes away (our own umount, umount(8), fusermount3), the engine sees it, makes
 * everything durable and ends; then this process exits with 0. A crash of the engine detaches the mount point, so that
 * no dead one is left, and exits with 1. The kernel keeps nothing that was not written: a clean end loses nothing.
 */
import { closeSync, readdirSync, writeSync } from "node:fs";
import { setPriority } from "node:os";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { isDeno } from "../base/runtime.ts";
import type { QuotaReport } from "../fs/quotas.ts";
import { wakeReactor } from "../reactor/uring_reactor.ts";
import type { ErrorRecord } from "./cli_error.ts";
import { CliError, toCliError, usageError } from "./cli_error.ts";
import type { ControlRequest } from "./control_protocol.ts";
import { ControlServer } from "./control_server.ts";
import { detach } from "./detach.ts";
import type { EngineChange, EngineSettings, FromEngine, ToEngine } from "./engine_messages.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import { Log } from "./log.ts";
import type { MountChoices } from "./mount_options.ts";
import { CHANGEABLE, OPTION_OF, parseMountOptions, parseRemountOptions } from "./mount_options.ts";
import { FILE_SYSTEM_TYPE, mountAt } from "./mount_table.ts";
import { MountWatcher } from "./mount_watcher.ts";
import type { Output } from "./output.ts";
import { packageVersion, siblingModule } from "./program.ts";
import type { QuotaAnswer, QuotaChange } from "./quota_engine.ts";
import { controlPath, makeRuntimeDirectory } from "./runtime_paths.ts";
import { memoryBytesOf } from "./sizes.ts";

const NICE_MAX = 19;

/**
 * Before the engine starts: the compiler's own threads come last. Beside an engine and a program that wait for each other
 * they would hold one of two processors for milliseconds.
 */
function yieldToEngine(): void {
  if (isDeno) return;
  try {
    for (const thread of readdirSync("/proc/self/task"))
      if (Number(thread) !== process.pid) setPriority(Number(thread), NICE_MAX);
  } catch {
    // Without /proc, or where it is forbidden, nothing is lost but the advantage.
  }
}

const ANSWER_MS_MAX = 10_000;
/** A terminal and npm may both pass on one Ctrl-C: what comes so soon after is the same wish. */
const SAME_SIGNAL_MS = 1000;
/** A clean unmount, then a lazy one, then an end whatever happens. */
const STOP_AFTER_SIGNALS = 2;
const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

export interface ServeOptions {
  /** Absolute where they are paths. */
  readonly specs: readonly string[];
  /** Canonical. */
  readonly mountPoint: string;
  readonly choices: MountChoices;
  readonly log: Log;
  /** Called once when the directory serves. */
  readonly onMounted: (pool: string) => void;
}

/** What a daemon tells about its mount, beside the volume's own status. */
export interface MountReport {
  readonly mountPoint: string;
  readonly pid: number;
  readonly version: string;
  readonly since: string;
  readonly readOnly: boolean;
  readonly devices: readonly string[];
}

/** What a remount answers. */
export interface RemountReport extends MountReport {
  readonly pool: string;
}

/** `dynamicfs daemon`, started by `mount`: serves, and tells a pipe when it is ready or why not. */
export async function daemon(invocation: Invocation, _output: Output): Promise<ExitCode> {
  const log = new Log(invocation.text("log"));
  const readyFd = Number(invocation.text("ready-fd") ?? Number.NaN);
  // All choices come as one value: a default from the environment must not win over what `mount` was told.
  const choices = parseMountOptions(invocation.list("options"));
  const tellReady = (outcome: ReadyOutcome): void => {
    if (!Number.isInteger(readyFd)) return;
    try {
      writeSync(readyFd, `${JSON.stringify(outcome)}\n`);
      closeSync(readyFd);
    } catch {
      // Whoever asked is gone; the mount stays.
    }
  };
  let ready = false;
  try {
    return await serve({
      specs: invocation.many("DEV"),
      mountPoint: invocation.one("DIR"),
      choices,
      log,
      onMounted: (pool) => {
        ready = true;
        tellReady({ pool, error: null });
      },
    });
  } catch (error) {
    const shown = toCliError(error, "cannot mount");
    if (!ready) tellReady({ pool: null, error: shown.toRecord() });
    log.write("error", "daemon-failed", { message: shown.message, cause: shown.cause });
    return shown.exitCode;
  }
}

/** What the ready pipe carries. */
export interface ReadyOutcome {
  readonly pool: string | null;
  readonly error: ErrorRecord | null;
}

/**
 * Serves a mount until it ends.
 *
 * @returns 0 after a clean end.
 * @throws {CliError} When it could not be mounted, or did not end well.
 */
export function serve(options: ServeOptions): Promise<ExitCode> {
  return new DaemonControl(options).run();
}

class DaemonControl {
  readonly #options: ServeOptions;
  /** As they are now, and as they were before the remount under way. */
  #choices: MountChoices;
  #choicesBefore: MountChoices;
  #pool = "";
  #watcher: MountWatcher | null = null;
  readonly #since = new Date().toISOString();
  readonly #queries = new Map<number, (result: unknown) => void>();
  #queryCount = 0;
  #server: ControlServer | undefined;
  #post: (message: ToEngine) => void = () => {};
  #mounted = false;
  #unmounting = false;
  #signalCount = 0;
  #lastSignalMs = Number.NEGATIVE_INFINITY;

  constructor(options: ServeOptions) {
    this.#options = options;
    this.#choices = options.choices;
    this.#choicesBefore = options.choices;
  }

  async run(): Promise<ExitCode> {
    const { log, mountPoint } = this.#options;
    const listeners = SIGNALS.map((signal) => {
      const listener = (): void => this.#onSignal(signal);
      process.on(signal, listener);
      return { signal, listener };
    });
    makeRuntimeDirectory();
    const server = new ControlServer(controlPath(mountPoint), (request) => this.#answer(request));
    let error: ErrorRecord | null = null;
    try {
      error = await this.#runEngine(server);
      // After a clean end nothing is there; an aborted connection leaves a mount point that nobody serves.
      if (error !== null) await this.#removeDeadMount();
    } catch (cause) {
      error = toCliError(cause, `cannot serve ${mountPoint}`).toRecord();
      log.write("error", "engine-crashed", { cause });
      await this.#removeDeadMount();
    }
    // Told to stop although the kernel still has the mount, or unable to take it off: that is what the watcher is for.
    const isLeft = error !== null && mountAt(mountPoint)?.type === FILE_SYSTEM_TYPE;
    if (!isLeft && this.#signalCount <= STOP_AFTER_SIGNALS) this.#watcher?.release();
    for (const resolve of this.#queries.values()) resolve(null);
    if (this.#server !== undefined) await this.#server.close({ ended: true, error });
    for (const { signal, listener } of listeners) process.off(signal, listener);
    log.write(error === null ? "info" : "error", "daemon-ended", { mountPoint, error });
    if (error !== null) throw CliError.fromRecord(error);
    return ExitCode.ok;
  }

  /** @returns Null after a clean end. Rejects when the thread crashed. */
  #runEngine(server: ControlServer): Promise<ErrorRecord | null> {
    const { choices, log, mountPoint, specs } = this.#options;
    const { port1, port2 } = new MessageChannel();
    const settings: EngineSettings = {
      specs,
      mountPoint,
      choices,
      memoryBytes: memoryBytesOf(choices.memory ?? undefined),
      profileDirectory: process.env["DYNAMICFS_CPU_PROF"] || null,
      port: port2,
    };
    if (choices.transport === "fuse-native") return this.#runHere(settings, server, port1);
    yieldToEngine();
    const worker = new Worker(siblingModule("engine_worker"), {
      workerData: settings,
      transferList: [port2],
    });
    return new Promise((resolve, reject) => {
      let ended: ErrorRecord | null | undefined;
      worker.on("message", (message: FromEngine) => {
        switch (message.type) {
          case "log":
            log.write(message.level, message.event, message.fields);
            break;
          case "answer":
            this.#queries.get(message.id)?.(message.result);
            break;
          case "ended":
            ended = message.error;
            break;
          case "mounted":
            this.#post = postTo(port1, message.wakeFd);
            this.#onMounted(server, message.pool).catch(reject);
            break;
          case "moved":
            this.#post = postTo(port1, message.wakeFd);
            this.#post({ type: "moved" });
            break;
        }
      });
      worker.on("error", reject);
      worker.on("exit", () => {
        port1.close();
        if (ended !== undefined) resolve(ended);
        else reject(new Error("The engine's thread ended without a word"));
      });
    });
  }

  /** libfuse is served by this thread, see fuse_native_engine.ts. */
  async #runHere(
    settings: EngineSettings,
    server: ControlServer,
    port: MessagePort,
  ): Promise<ErrorRecord | null> {
    const { log } = this.#options;
    const { runFuseNative } = await import("./fuse_native_engine.ts");
    try {
      return await runFuseNative(settings, {
        log: (level, event, fields) => log.write(level, event, fields),
        answer: (id, result) => this.#queries.get(id)?.(result),
        mounted: async (pool) => {
          this.#post = postTo(port, null);
          await this.#onMounted(server, pool);
        },
      });
    } finally {
      port.close();
      settings.port.close();
    }
  }

  get #isServedHere(): boolean {
    return this.#choices.transport === "fuse-native";
  }

  async #onMounted(server: ControlServer, pool: string): Promise<void> {
    const { log, mountPoint, onMounted, specs } = this.#options;
    this.#mounted = true;
    this.#pool = pool;
    if (this.#choices.autoUnmount) this.#watcher = new MountWatcher(mountPoint);
    await server.listen();
    this.#server = server;
    log.write("info", "mounted", { mountPoint, pool, devices: specs, version: packageVersion() });
    onMounted(pool);
    // A signal that came during the start.
    if (this.#signalCount > 0) await this.#unmount({ lazy: false });
  }

  async #answer(request: ControlRequest): Promise<unknown> {
    switch (request.method) {
      case "ping":
        return this.#report();
      case "status":
        return { mount: this.#report(), status: await this.#query("status") };
      case "stats": {
        const startMs = performance.now();
        const stats = await this.#query("stats");
        return { mount: this.#report(), stats, answerMs: performance.now() - startMs };
      }
      case "unmount":
        await this.#unmount({ lazy: request.lazy ?? false });
        return null;
      case "remount":
        return await this.#remount(request.stage ?? "prepare", request.options ?? "");
      case "quota":
        return await this.#quota(request.quota ?? null);
    }
  }

  /** See ControlRequest. @throws {CliError} Exit code 2 for what a mount cannot change. */
  async #remount(stage: "prepare" | "finish" | "undo", options: string): Promise<RemountReport> {
    const given = parseRemountOptions([options]);
    const fixed = Object.keys(OPTION_OF) as (keyof MountChoices)[];
    for (const name of fixed) {
      if (given[name] === undefined || given[name] === this.#choices[name]) continue;
      throw usageError(
        `-o ${OPTION_OF[name]}`,
        "a remount cannot change it; unmount, and mount with it",
      );
    }
    if (stage === "prepare") this.#choicesBefore = this.#choices;
    const wanted = { ...this.#choices };
    for (const name of CHANGEABLE) {
      wanted[name] = stage === "undo" ? this.#choicesBefore[name] : (given[name] ?? wanted[name]);
    }
    if (stage === "prepare") wanted.readOnly = this.#choices.readOnly && wanted.readOnly;
    await this.#changeEngine(wanted);
    this.#choices = wanted;
    this.#options.log.write("info", "remounted", { stage, options });
    return { ...this.#report(), pool: this.#pool };
  }

  async #changeEngine(wanted: MountChoices): Promise<void> {
    const { readOnly, noAtime, sync, dirSync } = wanted;
    const change: EngineChange = { readOnly, noAtime, sync, dirSync };
    const error = await this.#ask((id) => ({ type: "remount", id, change }));
    if (error !== null) throw CliError.fromRecord(error as ErrorRecord);
  }

  async #quota(change: QuotaChange | null): Promise<readonly QuotaReport[]> {
    const answer = await this.#ask((id) => ({ type: "quota", id, change }));
    if (answer === null)
      throw new CliError({
        exitCode: ExitCode.busy,
        what: "cannot get quotas",
        why: "it is being unmounted",
      });
    const { error, ...result } = answer as QuotaAnswer;
    if (error !== null) throw CliError.fromRecord(error);
    if (change !== null) this.#options.log.write("info", "quota-set", { ...change });
    return (result as { quotas: readonly QuotaReport[] }).quotas;
  }

  #report(): MountReport {
    return {
      mountPoint: this.#options.mountPoint,
      pid: process.pid,
      version: packageVersion(),
      since: this.#since,
      readOnly: this.#choices.readOnly,
      devices: this.#options.specs,
    };
  }

  #query(what: "status" | "stats"): Promise<unknown> {
    return this.#ask((id) => ({ type: "query", id, what }), {
      ms: ANSWER_MS_MAX,
      error: () =>
        new CliError({
          exitCode: ExitCode.cancelled,
          what: `cannot get ${what}`,
          why: `the engine did not answer within ${ANSWER_MS_MAX / 1000} s`,
          code: "engine-silent",
        }),
    });
  }

  /** Asks the engine; without a limit it may take as long as it takes. */
  #ask(
    message: (id: number) => ToEngine,
    limit?: { readonly ms: number; readonly error: () => CliError },
  ): Promise<unknown> {
    const id = ++this.#queryCount;
    return new Promise((resolve, reject) => {
      const timer =
        limit === undefined
          ? undefined
          : setTimeout(() => {
              this.#queries.delete(id);
              reject(limit.error());
            }, limit.ms);
      this.#queries.set(id, (result) => {
        clearTimeout(timer);
        this.#queries.delete(id);
        resolve(result);
      });
      this.#post(message(id));
    });
  }

  async #unmount({ lazy }: { lazy: boolean }): Promise<void> {
    if (this.#unmounting && !lazy) return;
    this.#unmounting = true;
    try {
      await detach(this.#options.mountPoint, { lazy, servedHere: this.#isServedHere });
      this.#options.log.write("info", "detached", { lazy });
    } catch (error) {
      this.#unmounting = false;
      throw error;
    }
  }

  /** First a clean unmount; asked again, a lazy one; asked a third time, an end although the directory is in use. */
  #onSignal(signal: NodeJS.Signals): void {
    const { log } = this.#options;
    const now = performance.now();
    if (now - this.#lastSignalMs < SAME_SIGNAL_MS) return;
    this.#lastSignalMs = now;
    this.#signalCount++;
    log.write("info", "signal", { signal, count: this.#signalCount });
    if (!this.#mounted) return;
    if (this.#signalCount > STOP_AFTER_SIGNALS) {
      this.#post({ type: "stop" });
      return;
    }
    const lazy = this.#signalCount === 2;
    this.#unmount({ lazy }).catch((error: unknown) => {
      log.write("warn", "unmount-failed", {
        message: error instanceof Error ? error.message : String(error),
        hint: "send the signal again to detach a busy directory",
      });
    });
  }

  /** After a crash: nobody will answer there any more. */
  async #removeDeadMount(): Promise<void> {
    const { log, mountPoint } = this.#options;
    if (mountAt(mountPoint)?.type !== FILE_SYSTEM_TYPE) return;
    try {
      await detach(mountPoint, { lazy: true, servedHere: this.#isServedHere });
    } catch (error) {
      log.write("error", "detach-failed", { cause: error });
    }
  }
}

/** Posts to the engine's port and wakes it where it sleeps. */
function postTo(
  port: { postMessage(message: ToEngine): void },
  wakeFd: number | null,
): (message: ToEngine) => void {
  return (message) => {
    port.postMessage(message);
    if (wakeFd !== null) wakeReactor(wakeFd);
  };
}

/** `dynamicfs mount`: checks, then a daemon in the background (daemon.ts) or serving right here. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { parseDeviceSpec } from "../device/open_device.ts";
import { CliError, toCliError, usageError } from "./cli_error.ts";
import type { ReadyOutcome } from "./daemon.ts";
import { detach } from "./detach.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import { Log, openLog } from "./log.ts";
import type { MountChoices } from "./mount_options.ts";
import {
  checkTransport,
  formatMountOptions,
  isRemount,
  parseMountOptions,
  transportOf,
} from "./mount_options.ts";
import { canonicalMountPoint, FILE_SYSTEM_TYPE, isStale, mountAt } from "./mount_table.ts";
import type { Output } from "./output.ts";
import { programCommand } from "./program.ts";
import { defaultLogPath } from "./runtime_paths.ts";
import { memoryBytesOf } from "./sizes.ts";

/** `dynamicfs mount DEV… DIR`, `dynamicfs mount -o remount,… DIR` */
export async function mount(invocation: Invocation, output: Output): Promise<ExitCode> {
  if (isRemount(invocation.list("options"))) return await changeMount(invocation, output);
  if (invocation.many("DEV").length === 0) {
    const usage = "dynamicfs mount DEV… DIR, or dynamicfs mount -o remount,… DIR";
    throw usageError("mount", `DEV is missing: ${usage}`, "dynamicfs mount --help");
  }
  const options = parseMountOptions(invocation.list("options"));
  const transport = invocation.text("transport");
  const choices: MountChoices = {
    ...options,
    readOnly: options.readOnly || invocation.is("read-only"),
    memory: invocation.text("memory") ?? options.memory,
    ...(transport === undefined
      ? {}
      : { transport: transportOf(transport, `--transport ${transport}`) }),
  };
  const devices = invocation.many("DEV");
  const directory = invocation.one("DIR");
  const log = invocation.text("log");
  if (invocation.is("dry-run")) {
    const mountPoint = await prepareMountPoint(directory, { clean: false });
    checkChoices(devices, choices);
    output.message(`would mount ${devices.join(", ")} on ${mountPoint}`);
    return ExitCode.ok;
  }
  if (invocation.is("foreground")) {
    return await mountInForeground(
      { devices, directory, choices, log },
      (pool, mountPoint) => output.message(`${pool} is mounted on ${mountPoint}; Ctrl-C unmounts`),
      (text) => output.warning(text),
    );
  }
  const { mountPoint, pid, pool } = await mountInBackground({ devices, directory, choices, log });
  if (output.machine) {
    output.envelope("dynamicfs.mount/1", { pool, mountPoint, pid, devices });
  } else {
    output.detail(`${pool} is mounted on ${mountPoint}, served by process ${pid}`);
  }
  return ExitCode.ok;
}

async function changeMount(invocation: Invocation, output: Output): Promise<ExitCode> {
  const { remount } = await import("./remount.ts");
  const directory = invocation.one("DIR");
  const readOnly = invocation.is("read-only") ? ["ro"] : [];
  const optionLists = [...invocation.list("options"), ...readOnly];
  const report = await remount({ directory, optionLists, dryRun: invocation.is("dry-run") });
  if (report === null) {
    output.message(`would remount ${directory}`);
  } else if (output.machine) {
    const { pool, mountPoint, pid, devices } = report;
    output.envelope("dynamicfs.mount/1", { pool, mountPoint, pid, devices });
  } else {
    const mode = report.readOnly ? "read-only" : "read-write";
    output.detail(`${report.pool} on ${report.mountPoint} is remounted, ${mode}`);
  }
  return ExitCode.ok;
}

export interface MountRequest {
  readonly devices: readonly string[];
  readonly directory: string;
  readonly choices: MountChoices;
  /** Path of the log; undefined for the default. */
  readonly log: string | undefined;
}

/** Serves in this process until the mount ends. */
export async function mountInForeground(
  request: MountRequest,
  onMounted: (pool: string, mountPoint: string) => void,
  onWarning: (text: string) => void,
): Promise<ExitCode> {
  checkChoices(request.devices, request.choices);
  const mountPoint = await prepareMountPoint(request.directory, { clean: true });
  const { serve } = await import("./daemon.ts");
  return await serve({
    specs: request.devices.map(absoluteSpec),
    mountPoint,
    choices: request.choices,
    log: new Log(request.log, request.log === undefined ? undefined : onWarning),
    onMounted: (pool) => onMounted(pool, mountPoint),
  });
}

/**
 * Starts a daemon in a session of its own, and waits until it serves.
 *
 * @throws {CliError} What the daemon failed with.
 */
export async function mountInBackground(
  request: MountRequest,
): Promise<{ pool: string; mountPoint: string; pid: number }> {
  checkChoices(request.devices, request.choices);
  const mountPoint = await prepareMountPoint(request.directory, { clean: true });
  const logPath = resolve(request.log ?? defaultLogPath(mountPoint));
  const logFd = openLog(logPath);
  const [file, ...args] = programCommand();
  const child = spawn(
    file,
    [
      ...args,
      "daemon",
      ...["--ready-fd", "3"],
      ...["--log", logPath],
      ...["-o", formatMountOptions(request.choices)],
      "--",
      ...request.devices.map(absoluteSpec),
      mountPoint,
    ],
    { detached: true, cwd: "/", stdio: ["ignore", logFd, logFd, "pipe"] },
  );
  closeSync(logFd);
  const giveUp = (): void => {
    child.kill("SIGTERM");
  };
  process.once("SIGINT", giveUp);
  process.once("SIGTERM", giveUp);
  try {
    const outcome = await readOutcome(child, child.stdio[3] as Readable);
    if (outcome?.error != null) throw CliError.fromRecord(outcome.error);
    if (outcome?.pool == null || child.pid === undefined) {
      throw new CliError({
        exitCode: ExitCode.failed,
        what: `cannot mount ${request.devices.join(", ")}`,
        why: "the daemon ended before it was ready",
        try: `cat ${logPath}`,
      });
    }
    child.unref();
    return { pool: outcome.pool, mountPoint, pid: child.pid };
  } finally {
    process.off("SIGINT", giveUp);
    process.off("SIGTERM", giveUp);
  }
}

/** The line that the daemon says when it serves or has failed; null when it dies without a word. */
function readOutcome(child: ChildProcess, pipe: Readable): Promise<ReadyOutcome | null> {
  return new Promise((resolve) => {
    let text = "";
    pipe.on("data", (chunk) => {
      text += String(chunk);
      if (!text.includes("\n")) return;
      pipe.destroy();
      resolve(JSON.parse(text) as ReadyOutcome);
    });
    pipe.on("end", () => resolve(null));
    child.on("error", () => resolve(null));
    child.on("exit", () => setImmediate(() => resolve(null)));
  });
}

/** What can be refused before a daemon is started. */
function checkChoices(devices: readonly string[], choices: MountChoices): void {
  memoryBytesOf(choices.memory ?? undefined);
  checkTransport(choices);
  for (const device of devices) {
    const parsed = parseDeviceSpec(device);
    if (parsed.kind !== "path") continue;
    try {
      statSync(parsed.path);
    } catch (error) {
      throw toCliError(
        error,
        `cannot mount ${device}`,
        `dynamicfs pool create NAME ${parsed.path}:10G`,
      );
    }
  }
}

/**
 * The mount point's canonical path, when something can be mounted there.
 *
 * @param clean Whether a stale mount point is taken off, or left as it is.
 */
async function prepareMountPoint(
  directory: string,
  { clean }: { clean: boolean },
): Promise<string> {
  const what = `cannot mount on ${directory}`;
  const mountPoint = canonicalMountPoint(directory);
  const existing = mountAt(mountPoint);
  if (existing?.type === FILE_SYSTEM_TYPE) {
    if (!isStale(mountPoint)) {
      throw new CliError({
        exitCode: ExitCode.busy,
        what,
        why: `${existing.source} is already mounted there`,
        try: `dynamicfs umount ${mountPoint}`,
        code: "EBUSY",
      });
    }
    if (clean) await detach(mountPoint, { lazy: true });
    else return mountPoint;
  }
  try {
    if (statSync(mountPoint).isDirectory()) return mountPoint;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw toCliError(error, what, code === "ENOENT" ? `mkdir -p ${directory}` : undefined);
  }
  throw usageError(what, "it is not a directory");
}

/**
 * Device specs that are paths become absolute, because the daemon works in the root directory, and lose their size:
 * nothing is created here.
 */
function absoluteSpec(spec: string): string {
  const parsed = parseDeviceSpec(spec);
  return parsed.kind === "path" ? resolve(parsed.path) : spec;
}

/**
 * What all measurements of whole file systems share: children that do the work, what is said, and how it ends.
 *
 * Invariants: one child at a time; a signal ends it, and everything after it but cleaning up is refused; the environment
 * of children is set whole, so that no setting of the user's changes the figures.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { accessSync, constants, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type ParseArgsConfig, parseArgs } from "node:util";

const WORKER_MS_MAX = 900_000;

export const isRoot: boolean = process.getuid?.() === 0;
/** What readers of the figures must know, each once. */
export const notes: string[] = [];
/** Says it to whoever watches: figures alone go to standard output. */
export const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};
/** Adds to `notes`. */
export const note = (text: string): void => {
  if (!notes.includes(text)) notes.push(text);
};

/** Wrong arguments; thrown, so that what is there already is cleaned up. */
export class UsageError extends Error {}

/** @throws {UsageError} Always. */
export function fail(text: string): never {
  throw new UsageError(text);
}

/** @throws {UsageError} When one of those given, separated by commas, is not known. */
export function chooseNames(given: string, known: readonly string[], what: string): string[] {
  const names = given.split(",").filter((name) => name !== "");
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) fail(`no ${what} "${unknown}"; there are ${known.join(", ")}`);
  return names;
}

/** @throws {UsageError} When it is not a number within those bounds. */
export function numberOf(
  flag: string,
  given: string,
  { min, max, whole = false }: { min: number; max: number; whole?: boolean },
): number {
  const value = given.trim() === "" ? Number.NaN : Number(given);
  if (!(value >= min && value <= max) || (whole && !Number.isInteger(value))) {
    fail(`${flag}: "${given}" is not a ${whole ? "whole " : ""}number from ${min} to ${max}`);
  }
  return value;
}

/**
 * What the command line says, by flag.
 *
 * @throws {UsageError} Of what is not among `options`, or lacks its value.
 */
export function parseFlags(
  args: readonly string[],
  options: NonNullable<ParseArgsConfig["options"]>,
): Readonly<Record<string, string | boolean | undefined>> {
  try {
    return parseArgs({ args: [...args], options }).values as Record<string, string | boolean>;
  } catch (error) {
    return fail((error as Error).message);
  }
}

/**
 * Finds out before hours have gone by that a plot could not be written, or that there is no such directory for the disk.
 *
 * @throws {UsageError} Then.
 */
export function checkPaths(dir: string, plot: string | undefined): void {
  const parents = plot === undefined ? [] : [["--plot", dirname(plot)] as const];
  for (const [flag, directory] of [["--dir", dir] as const, ...parents]) {
    try {
      accessSync(directory, constants.W_OK | constants.X_OK);
      if (statSync(directory).isDirectory()) continue;
    } catch {
      // Said below.
    }
    fail(`${flag}: cannot write to a directory ${directory}`);
  }
}

/** Three digits that mean something. */
export function figure(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en-US");
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** What the figures were measured on. */
export function machine(): string {
  const processors = cpus();
  return `${processors.length} × ${processors[0]?.model.trim() ?? "unknown"}, Linux ${release()}, Node ${process.version}`;
}

// ---- children

export const OUTPUT_KEPT: number = 4000;
/** A signal came. */
export let isStopped: boolean = false;
let isCleaningUp = false;
let current: ChildProcess | null = null;

function watchSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      isStopped = true;
      if (!isCleaningUp) current?.kill("SIGKILL");
    });
  }
}

/** The whole environment of the children, so that no setting of the user's changes the figures. */
export let environment: Record<string, string> = {};

/** Of all children that are started after it. */
export function setEnvironment(values: Record<string, string>): void {
  environment = values;
}

/** From now on a signal ends no child, and children are started after one, too. */
export function beginCleaningUp(): void {
  isCleaningUp = true;
}

export interface RunOptions {
  readonly msMax?: number;
  /** Takes each line that it prints to standard error, instead of keeping it for a complaint, if it returns true. */
  readonly onLine?: (line: string) => boolean;
}

/** What the program prints; throws with what it complains of. */
export async function run(
  file: string,
  args: readonly string[],
  { msMax = WORKER_MS_MAX, onLine }: RunOptions = {},
): Promise<string> {
  if (isStopped && !isCleaningUp) throw new Error("interrupted");
  const child = spawn(file, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: environment,
    timeout: msMax,
    killSignal: "SIGKILL",
    // Not in our process group: Ctrl-C is for us, and a daemon must live until it is unmounted.
    detached: true,
  });
  current = child;
  let out = "";
  let err = "";
  child.stdout.on("data", (data) => (out += data));
  if (onLine === undefined) {
    child.stderr.on("data", (data) => (err += data));
  } else {
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (!onLine(line)) err += `${line}\n`;
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  current = null;
  if (isStopped && !isCleaningUp) throw new Error("interrupted");
  if (code !== 0) throw new Error(`${file} ended with ${code}: ${err.slice(-OUTPUT_KEPT)}`.trim());
  return out;
}

/** Whether root or the user has that program. */
export function isInstalled(program: string): boolean {
  const path = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
  return path.split(":").some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether something is mounted on exactly that directory. */
export function isMounted(directory: string): boolean {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.some((line) => line.split(" ")[4] === directory);
}

/** Unmounts what may still be busy for a moment; does nothing where nothing is mounted. */
export async function unmount(directory: string): Promise<void> {
  const [file, args] = isRoot ? ["umount", []] : ["fusermount3", ["-u"]];
  for (let attempt = 1; isMounted(directory); attempt += 1) {
    try {
      await run(file, [...args, directory]);
    } catch (error) {
      if (attempt >= 20) throw error;
      await sleep(100);
    }
  }
}

/** Of all daemons of one file system in one round, all its mounts together. */
export interface Usage {
  cpuSeconds: number;
  rssMib: number;
}

const TICKS_A_SECOND = 100;
const STAT_UTIME = 11;

/** Adds what the process has used; before it ends. */
export function measure(pid: number, usage: Usage): void {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // After the name, which may contain anything.
    const words = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(words[STAT_UTIME]) + Number(words[STAT_UTIME + 1]);
    usage.cpuSeconds += ticks / TICKS_A_SECOND;
    const peak = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    usage.rssMib = Math.max(usage.rssMib, Number(peak?.[1] ?? 0) / 1024);
  } catch {
    note(`a daemon had ended before what it used could be read`);
  }
}

/** Whether there is such a path. */
export function exists(path: string): boolean {
  // By a child: a call of this process on a mount that hangs would hang it, too.
  return spawnSync("test", ["-e", path], { timeout: WORKER_MS_MAX }).status === 0;
}

/** Runs a program. @returns Seconds. */
export async function timed(file: string, args: readonly string[]): Promise<number> {
  const startMs = performance.now();
  await run(file, args);
  return (performance.now() - startMs) / 1000;
}

/** What is cold has nothing in the caches of the system. */
export function dropCaches(): void {
  try {
    writeFileSync("/proc/sys/vm/drop_caches", "3");
  } catch {
    note("caches of the system could not be dropped (needs root): cold means only mounted anew");
  }
}

/** Runs all of a measurement, and sets the exit code: 0, 1 it failed, 2 wrong arguments, 130 a signal ended it. */
export async function runToEnd(main: () => Promise<void>): Promise<void> {
  watchSignals();
  try {
    await main();
  } catch (error) {
    const isUsage = error instanceof UsageError;
    say(isStopped ? "interrupted" : `bench: ${(error as Error).message}`);
    process.exitCode = isStopped ? 130 : isUsage ? 2 : 1;
  }
}

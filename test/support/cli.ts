/** Runs the real command, as a user would. */
import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readMountInfo } from "../../host/base/mountinfo.ts";

export const MAIN: string = fileURLToPath(new URL("../../host/main.js", import.meta.url));

export interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A place of its own for one test file: image files, mount points, control sockets and logs. */
export class Sandbox {
  readonly directory: string = mkdtempSync(join(tmpdir(), "dynamicfs-test-"));
  readonly environment: Record<string, string>;

  constructor() {
    this.environment = {
      PATH: process.env["PATH"] ?? "",
      HOME: this.directory,
      DYNAMICFS_RUNTIME_DIR: join(this.directory, "run"),
      XDG_STATE_HOME: join(this.directory, "state"),
      DYNAMICFS_LOG: join(this.directory, "daemon.log"),
      DYNAMICFS_MEMORY: "64M",
    };
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** `dynamicfs WORDS…` in the sandbox's directory. */
  run(...words: string[]): Result {
    return this.program(process.execPath, [MAIN, ...words]);
  }

  program(file: string, args: readonly string[]): Result {
    const { status, stdout, stderr, error } = spawnSync(file, args, {
      cwd: this.directory,
      env: this.environment,
      encoding: "utf8",
      timeout: 120_000,
      killSignal: "SIGKILL",
    });
    if (error !== undefined && status === null) {
      return { code: null, out: stdout ?? "", err: `${stderr ?? ""}${error.message}` };
    }
    return { code: status, out: stdout, err: stderr };
  }

  /** Takes off whatever is still mounted below, whoever left it, and removes everything. */
  close(): void {
    const mountPoints = readMountInfo()
      .map((record) => record.mountpoint)
      .filter((mountPoint) => mountPoint.startsWith(`${this.directory}/`));
    for (const mountPoint of mountPoints.reverse()) {
      const lazily = process.geteuid?.() === 0 ? ["umount", "-l"] : ["fusermount3", "-uz"];
      spawnSync(lazily[0]!, [...lazily.slice(1), mountPoint], { stdio: "ignore" });
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Why nothing can be mounted here, or false: for tap's `skip`. */
export function mountImpossible(): string | false {
  if (process.platform !== "linux") return "mounting needs Linux";
  try {
    accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
  } catch {
    return "/dev/fuse is missing or not accessible";
  }
  const helper = spawnSync("fusermount3", ["--version"], { stdio: "ignore" });
  if (process.geteuid?.() !== 0 && helper.error !== undefined) return "no root and no fusermount3";
  return false;
}

/**
 * A mounted TreeFs in a child process, for tests and benchmarks. Whatever happens it is unmounted in the end: a
 * watchdog of its own process aborts the connection when its time is up, so that a hung mount hangs nobody else.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { findMount } from "../../host/fuse/mount.ts";
import { libcIfAvailable } from "../../host/reactor/libc.ts";
import type { ServerOptions, ServerReport } from "./fuse_server.ts";

const SERVER = fileURLToPath(
  new URL(`./fuse_server.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url),
);
const CONNECTIONS = "/sys/fs/fuse/connections";

/** Why a kernel mount cannot be tried here, or false. */
export function whyNoFuse(): string | false {
  try {
    accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
  } catch {
    return "no /dev/fuse";
  }
  if (process.getuid?.() !== 0) return "mounting in this test needs root";
  if (libcIfAvailable() === null) return "no system calls (koffi)";
  return false;
}

export interface TestMount {
  readonly mountpoint: string;
  readonly pid: number;
  /** "major:minor" of the mount. */
  readonly device: string;
  /** Unmounts and waits for the server's report. */
  end(): Promise<ServerReport>;
}

export async function mountTree(
  options: Omit<ServerOptions, "mountpoint"> & { readonly limitSeconds?: number } = {},
): Promise<TestMount> {
  const mountpoint = mkdtempSync(join(tmpdir(), "dynamicfs-mount-"));
  const child = spawn(process.execPath, [SERVER, JSON.stringify({ mountpoint, ...options })], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<Record<string, unknown>> => {
    const line = await lines.next();
    if (line.done === true) throw new Error("the server ended without a report");
    return JSON.parse(line.value) as Record<string, unknown>;
  };
  const first = await nextLine();
  if (first["event"] !== "mounted") {
    rmdirSync(mountpoint);
    throw new Error(String(first["message"]));
  }
  const device = findMount(mountpoint)?.device ?? "";
  const watchdog = startWatchdog(child, mountpoint, device, options.limitSeconds ?? 120);
  return {
    mountpoint,
    pid: child.pid as number,
    device,
    async end() {
      try {
        const umount = spawn("umount", [mountpoint], { stdio: "inherit" });
        const status = await new Promise((resolve) => umount.on("close", resolve));
        // In use, since the test has failed: its report still tells more than a time-out.
        if (status !== 0) spawnSync("sh", ["-c", abortScript(device, mountpoint)]);
        return (await nextLine()) as unknown as ServerReport;
      } finally {
        watchdog.kill("SIGKILL");
        if (child.exitCode === null) await new Promise((resolve) => child.on("close", resolve));
        rmdirSync(mountpoint);
      }
    },
  };
}

function startWatchdog(
  child: ChildProcess,
  mountpoint: string,
  device: string,
  seconds: number,
): ChildProcess {
  const minor = device.split(":")[1];
  spawnSync("sh", [
    "-c",
    `[ -e ${CONNECTIONS}/${minor} ] || mount -t fusectl fusectl ${CONNECTIONS}`,
  ]);
  const script = `i=0; while [ $i -lt ${seconds} ]; do sleep 1; kill -0 ${child.pid} 2>/dev/null || exit; i=$((i+1)); done
    ${abortScript(device, mountpoint)}; kill -9 ${child.pid}`;
  return spawn("sh", ["-c", script], { stdio: "ignore", detached: false });
}

function abortScript(device: string, mountpoint: string): string {
  return `echo 1 > ${CONNECTIONS}/${device.split(":")[1]}/abort; umount -l ${mountpoint}`;
}

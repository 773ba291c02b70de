/** How commands that look at a mounted pool find it, and ask the daemon that serves it. */
import { statSync } from "node:fs";
import type { VolumeStatus } from "../fs/volume.ts";
import { CliError } from "./cli_error.ts";
import { ControlClient } from "./control_client.ts";
import type { MountReport } from "./daemon.ts";
import { ExitCode } from "./exit_codes.ts";
import type { MountEntry } from "./mount_table.ts";
import { isStale } from "./mount_table.ts";

/**
 * Asks a mount's daemon.
 *
 * @throws {CliError} Exit code 8 when it is gone, 6 when its socket is not there (for this user).
 */
export async function askDaemon<T>(entry: MountEntry, method: "status" | "stats"): Promise<T> {
  const answer = await ControlClient.ask(entry, { method });
  if (answer !== null) return answer.result as T;
  const stale = isStale(entry.mountPoint);
  throw new CliError({
    exitCode: stale ? ExitCode.faulted : ExitCode.notPermitted,
    what: `cannot ask the daemon of ${entry.mountPoint}`,
    why: stale ? "it is gone, the mount point is stale" : "its control socket is not there",
    try: stale ? `dynamicfs umount --lazy ${entry.mountPoint}` : "dynamicfs mounts",
    code: stale ? "DFS-MOUNT-STALE" : "no-socket",
  });
}

/** Where a pool is mounted, by its name or one of its devices; null when it is not. */
export async function mountOfPool(
  target: string,
  entries: readonly MountEntry[],
): Promise<MountEntry | null> {
  const device = fileId(target);
  for (const entry of entries) {
    const pool = await askDaemon<{ mount: MountReport; status: VolumeStatus | null }>(
      entry,
      "status",
    ).catch(() => null);
    if (pool === null) continue;
    if (pool.status?.pool === target) return entry;
    const ids = pool.mount.devices.map(fileId);
    if (device !== null && ids.includes(device)) return entry;
  }
  return null;
}

function fileId(path: string): string | null {
  try {
    const stats = statSync(path);
    return stats.isBlockDevice() ? `block ${stats.rdev}` : `${stats.dev}:${stats.ino}`;
  } catch {
    return null;
  }
}

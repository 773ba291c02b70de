/**
 * Where a daemon's control socket and log lie. Root's are in fixed places, so that cron, systemd and sudo all find the
 * same ones whatever their environment.
 */
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The directory of control sockets of a user; made with 0700 when asked to. */
export function runtimeDirectory({ make }: { make: boolean }): string {
  const directory = runtimeDirectoryOf(process.geteuid?.() ?? 0, process.env);
  if (make) mkdirSync(directory, { recursive: true, mode: 0o700 });
  return directory;
}

/** The control socket of a mount point, which another user may have mounted. */
export function controlPath(mountPoint: string, uid: number = process.geteuid?.() ?? 0): string {
  return join(runtimeDirectoryOf(uid, process.env), `${shortHash(mountPoint)}.sock`);
}

/** The daemon's log unless --log says otherwise; its directory is made. */
export function defaultLogPath(mountPoint: string): string {
  const root = (process.geteuid?.() ?? 0) === 0;
  const state = process.env["XDG_STATE_HOME"] ?? join(homedir(), ".local/state");
  const directory = root ? "/var/log/dynamicfs" : join(state, "dynamicfs");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const readable = mountPoint
    .replace(/[^A-Za-z0-9.-]+/g, "_")
    .replace(/^_/, "")
    .slice(-80);
  return join(directory, `${readable}-${shortHash(mountPoint)}.log`);
}

function runtimeDirectoryOf(
  uid: number,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const explicit = environment["DYNAMICFS_RUNTIME_DIR"];
  if (explicit !== undefined && explicit !== "") return explicit;
  if (uid === 0) return "/run/dynamicfs";
  const own = uid === (process.geteuid?.() ?? 0) ? environment["XDG_RUNTIME_DIR"] : undefined;
  return join(own ?? `/run/user/${uid}`, "dynamicfs");
}

/** Socket paths are limited to 107 bytes: the mount point's name does not fit. */
function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

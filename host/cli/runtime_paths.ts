/**
 * Where a daemon's control socket and log lie. Root's are in fixed places, so that cron, systemd and sudo all find the
 * same ones whatever their environment.
 */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { CliError } from "./cli_error.ts";
import { ExitCode } from "./exit_codes.ts";

/**
 * Makes the directory of our control sockets, for us alone.
 *
 * @throws {CliError} When somebody else made it: he could answer in our place.
 */
export function makeRuntimeDirectory(): void {
  const uid = process.geteuid?.() ?? 0;
  const directory = runtimeDirectoryOf(uid, process.env);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (isTrusted(directory, uid)) return;
  throw new CliError({
    exitCode: ExitCode.notPermitted,
    what: `cannot use ${directory}`,
    why: "it is not a directory of your own that others cannot write to",
    try: "set XDG_RUNTIME_DIR or DYNAMICFS_RUNTIME_DIR to one that is",
    code: "runtime-directory",
  });
}

/** Whether only its owner, who must be that user, can put something there. */
function isTrusted(directory: string, uid: number): boolean {
  const stats = lstatSync(directory, { throwIfNoEntry: false });
  return stats?.isDirectory() === true && stats.uid === uid && (stats.mode & 0o022) === 0;
}

/** The control socket of a mount point of ours. */
export function controlPath(mountPoint: string): string {
  return join(runtimeDirectoryOf(process.geteuid?.() ?? 0, process.env), socketName(mountPoint));
}

/** The control socket of a mount point that some user mounted; null when it cannot be his. */
export function foreignControlPath(mountPoint: string, uid: number): string | null {
  const directory = runtimeDirectoryOf(uid, process.env);
  return isTrusted(directory, uid) ? join(directory, socketName(mountPoint)) : null;
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
  const own = uid === process.geteuid?.() ? environment["XDG_RUNTIME_DIR"] : undefined;
  if (own !== undefined && own !== "") return join(own, "dynamicfs");
  // Without a login session there is no /run/user/UID.
  const session = `/run/user/${uid}`;
  return existsSync(session) ? join(session, "dynamicfs") : join(tmpdir(), `dynamicfs-${uid}`);
}

/** Named by a hash: socket paths are limited to 107 bytes. */
function socketName(mountPoint: string): string {
  return `${shortHash(mountPoint)}.sock`;
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

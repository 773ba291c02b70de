/**
 * `dynamicfs mount -o remount,…`, also as mount(8) asks its helper: the kernel's flags by mount(2), the daemon's part by
 * its control socket.
 *
 * The order keeps both from contradicting each other: a daemon accepts changes before the kernel lets any through; and
 * read-only, the kernel first writes back what it holds, then the daemon makes it durable and refuses changes. If the
 * kernel refuses (files are open for writing), the daemon goes back.
 */
import { remount as remountKernel } from "../fuse/mount.ts";
import { CliError, toCliError, usageError } from "./cli_error.ts";
import { ControlClient } from "./control_client.ts";
import type { RemountReport } from "./daemon.ts";
import { ExitCode } from "./exit_codes.ts";
import { formatMountOptions, type MountChoices, parseRemountOptions } from "./mount_options.ts";
import { canonicalMountPoint, FILE_SYSTEM_TYPE, mountAt } from "./mount_table.ts";

export interface RemountRequest {
  readonly directory: string;
  readonly optionLists: readonly string[];
  readonly sloppy?: boolean;
  /**
   * The options are all that is to hold, as mount(8) gives them to its helper: it has merged what is mounted or what fstab
   * says with its command line, and an option that it undoes it leaves out. Access times stay: mount(2).
   */
  readonly complete?: boolean;
  readonly dryRun?: boolean;
}

const UNSET: Partial<MountChoices> = {
  readOnly: false,
  noSuid: false,
  noDev: false,
  noExec: false,
  sync: false,
  dirSync: false,
};

/**
 * Changes a mount's options; what is not given stays.
 *
 * @returns What is mounted there now; null after a dry run.
 * @throws {CliError} Exit code 2 for options that a remount cannot change, 4 when nothing of ours is mounted there, 5
 *   when files are open for writing, 6 without root.
 */
export async function remount(request: RemountRequest): Promise<RemountReport | null> {
  const mountPoint = canonicalMountPoint(request.directory);
  const what = `cannot remount ${mountPoint}`;
  const {
    allowOther,
    source: _,
    ...options
  } = parseRemountOptions(request.optionLists, {
    sloppy: request.sloppy ?? false,
  });
  const given = request.complete === true ? { ...UNSET, ...options } : options;
  const entry = mountAt(mountPoint);
  if (entry?.type !== FILE_SYSTEM_TYPE) {
    throw new CliError({
      exitCode: ExitCode.notFound,
      what,
      why: entry === undefined ? "nothing is mounted there" : `it is mounted as ${entry.type}`,
      try: entry === undefined ? "dynamicfs mounts" : `mount -o remount ${mountPoint}`,
    });
  }
  if (allowOther === true && !entry.options.includes("allow_other")) {
    throw usageError("-o allow_other", "a remount cannot change it; unmount, and mount with it");
  }
  if (process.geteuid?.() !== 0) {
    throw new CliError({
      exitCode: ExitCode.notPermitted,
      what,
      why: "only root may change a mount; others unmount, and mount with the new options",
      try: `dynamicfs umount ${mountPoint}`,
      code: "EPERM",
    });
  }
  if (request.dryRun === true) return null;
  const client = await ControlClient.connectTo(entry);
  if (client === null) {
    throw new CliError({
      exitCode: ExitCode.failed,
      what,
      why: "its daemon does not answer",
      try: "dynamicfs mounts",
    });
  }
  const shared = { method: "remount", options: formatMountOptions(given) } as const;
  try {
    await client.request({ ...shared, stage: "prepare" }, 0);
    try {
      remountKernel(mountPoint, given);
    } catch (error) {
      await client.request({ ...shared, stage: "undo" }, 0);
      throw toCliError(error, what, `fuser -vm ${mountPoint}`);
    }
    const report = await client.request({ ...shared, stage: "finish" }, 0);
    return report as RemountReport;
  } finally {
    client.close();
  }
}

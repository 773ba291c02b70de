/** `dynamicfs umount`: asks the daemon, and waits until all is on the devices. */
import { CliError } from "./cli_error.ts";
import { ControlClient } from "./control_client.ts";
import { detach } from "./detach.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import { canonicalMountPoint, FILE_SYSTEM_TYPE, isStale, mountAt } from "./mount_table.ts";
import type { Output } from "./output.ts";

/** `dynamicfs umount DIR` */
export async function umount(invocation: Invocation, output: Output): Promise<ExitCode> {
  const mountPoint = canonicalMountPoint(invocation.one("DIR"));
  const lazy = invocation.is("lazy");
  const entry = mountAt(mountPoint);
  if (entry?.type !== FILE_SYSTEM_TYPE) {
    throw new CliError({
      exitCode: ExitCode.notFound,
      what: `cannot unmount ${mountPoint}`,
      why: entry === undefined ? "nothing is mounted there" : `it is mounted as ${entry.type}`,
      try: entry === undefined ? "dynamicfs mounts" : `umount ${mountPoint}`,
    });
  }
  if (invocation.is("dry-run")) {
    output.message(`would unmount ${mountPoint}`);
    return ExitCode.ok;
  }
  const client = await ControlClient.connectTo(entry);
  if (client === null) {
    // No daemon to ask: a stale mount point has nothing left to write and cannot be unmounted but lazily.
    await detach(mountPoint, { lazy: lazy || isStale(mountPoint) });
  } else {
    try {
      await client.request({ method: "unmount", lazy }, 0);
      // A lazy unmount ends when the last user of the directory is gone: nothing to wait for.
      if (!lazy) await waitForEnd(client, mountPoint);
    } finally {
      client.close();
    }
  }
  if (output.machine) output.envelope("dynamicfs.umount/1", { mountPoint, lazy });
  else output.detail(`${mountPoint} is unmounted`);
  return ExitCode.ok;
}

async function waitForEnd(client: ControlClient, mountPoint: string): Promise<void> {
  const notice = await client.ended();
  if (notice?.error != null) throw CliError.fromRecord(notice.error);
  if (notice !== null) return;
  throw new CliError({
    exitCode: ExitCode.failed,
    what: `${mountPoint} is unmounted`,
    why: "its daemon died before it had written everything; what was fsynced is safe",
    try: "dynamicfs fsck DEV",
  });
}

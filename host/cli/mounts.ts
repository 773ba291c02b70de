/** `dynamicfs mounts`: what is mounted, from the kernel's table and the daemons. */
import { ControlClient } from "./control_client.ts";
import type { MountReport } from "./daemon.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { MountEntry } from "./mount_table.ts";
import { isStale, ownMounts } from "./mount_table.ts";
import type { Output } from "./output.ts";

interface MountRow {
  readonly mountPoint: string;
  readonly source: string;
  readonly state: "online" | "stale" | "unknown";
  readonly readOnly: boolean;
  readonly pid: number | null;
  readonly since: string | null;
  readonly version: string | null;
}

/** `dynamicfs mounts` */
export async function mounts(_invocation: Invocation, output: Output): Promise<ExitCode> {
  const rows = await Promise.all(ownMounts().map(describe));
  if (output.machine) {
    output.envelope("dynamicfs.mounts/1", { mounts: rows });
    return ExitCode.ok;
  }
  if (rows.length === 0) {
    output.message("nothing is mounted");
    return ExitCode.ok;
  }
  output.table(
    ["MOUNT POINT", "SOURCE", "STATE", "MODE", "PID", "SINCE"],
    rows.map((row) => [
      row.mountPoint,
      row.source,
      row.state,
      row.readOnly ? "ro" : "rw",
      row.pid === null ? "-" : String(row.pid),
      row.since ?? "-",
    ]),
    "<<<<><",
  );
  const stale = rows.find((row) => row.state === "stale");
  if (stale !== undefined) {
    output.message(`DFS-MOUNT-STALE: clean with \`dynamicfs umount --lazy ${stale.mountPoint}\``);
  }
  return ExitCode.ok;
}

async function describe(entry: MountEntry): Promise<MountRow> {
  let report: MountReport | null = null;
  try {
    const answer = await ControlClient.ask(entry, { method: "ping" });
    report = answer === null ? null : (answer.result as MountReport);
  } catch {
    // Another user's daemon: the kernel's table has to do.
  }
  const stale = report === null && isStale(entry.mountPoint);
  return {
    mountPoint: entry.mountPoint,
    source: entry.source,
    state: report !== null ? "online" : stale ? "stale" : "unknown",
    readOnly: entry.readOnly,
    pid: report?.pid ?? null,
    since: report?.since ?? null,
    version: report?.version ?? null,
  };
}

/** `dynamicfs status`: the state of pools, in the shape that zpool status made familiar. */
import { formatSize } from "../base/units.ts";
import type { VolumeStatus } from "../fs/volume.ts";
import { CliError, toCliError } from "./cli_error.ts";
import type { MountReport } from "./daemon.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { MountEntry } from "./mount_table.ts";
import { canonicalMountPoint, ownMounts } from "./mount_table.ts";
import { askDaemon, mountOfPool } from "./mounted_pool.ts";
import type { Output } from "./output.ts";

interface MountedPool extends VolumeStatus {
  readonly health: Health;
  readonly codes: readonly string[];
  readonly mount: MountReport;
}

/** Better first. */
type Health = "online" | "degraded" | "faulted";

const SPACE_LOW = 0.1;
const SPACE_CRITICAL = 0.05;

/** `dynamicfs status [TARGET]` */
export async function status(invocation: Invocation, output: Output): Promise<ExitCode> {
  const target = invocation.optional("TARGET");
  const entries = ownMounts();
  const problems: CliError[] = [];
  const pools: MountedPool[] = [];
  const at = target === undefined ? undefined : canonicalMountPoint(target);
  const chosen = target === undefined ? entries : entries.filter((each) => each.mountPoint === at);
  for (const entry of chosen) {
    try {
      pools.push(await askStatus(entry));
    } catch (error) {
      problems.push(toCliError(error, `cannot ask the daemon of ${entry.mountPoint}`));
    }
  }
  if (target !== undefined && chosen.length === 0) {
    const found = await mountOfPool(target, entries);
    if (found === null) return await unmountedStatus(target, output);
    pools.push(await askStatus(found));
  }
  if (output.machine) {
    const errors = problems.map((problem) => problem.toRecord());
    output.envelope("dynamicfs.status/1", { pools, errors });
  } else {
    if (pools.length + problems.length === 0) {
      output.message("nothing is mounted");
      output.message("  try: dynamicfs status DEV, or dynamicfs mount DEV DIR");
    }
    for (const [index, pool] of pools.entries()) {
      if (index > 0) output.data("");
      printPool(pool, output);
    }
  }
  const [problem] = problems;
  if (problem !== undefined) {
    // One document a command: there it is said already.
    if (output.machine) return problem.exitCode;
    throw problem;
  }
  if (!invocation.is("exit-code")) return ExitCode.ok;
  if (pools.some((pool) => pool.health === "faulted")) return ExitCode.faulted;
  return pools.some((pool) => pool.health === "degraded") ? ExitCode.degraded : ExitCode.ok;
}

async function askStatus(entry: MountEntry): Promise<MountedPool> {
  const { mount, status } = await askDaemon<{ mount: MountReport; status: VolumeStatus | null }>(
    entry,
    "status",
  );
  if (status === null) {
    throw new CliError({
      exitCode: ExitCode.failed,
      what: `cannot get the status of ${entry.mountPoint}`,
      why: "it is being unmounted",
    });
  }
  const codes = healthCodes(status);
  return { ...status, health: healthOf(status), codes, mount };
}

function healthOf(status: VolumeStatus): Health {
  if (status.state === "faulted") return "faulted";
  const hurt = status.devices.some((device) => device.state !== "online" || errorsOf(device) > 0);
  return hurt ? "degraded" : "online";
}

function healthCodes(status: VolumeStatus): string[] {
  const codes: string[] = [];
  if (status.state === "faulted") codes.push("DFS-POOL-FAULTED");
  if (status.devices.some((device) => errorsOf(device) > 0)) codes.push("DFS-DEV-ERRORS");
  const free = status.sizeBytes === 0 ? 1 : status.availableBytes / status.sizeBytes;
  if (free < SPACE_CRITICAL) codes.push("DFS-SPACE-CRITICAL");
  else if (free < SPACE_LOW) codes.push("DFS-SPACE-LOW");
  return codes;
}

function errorsOf(device: VolumeStatus["devices"][number]): number {
  return device.readErrors + device.writeErrors + device.checksumErrors;
}

function printPool(pool: MountedPool, output: Output): void {
  const size = (bytes: number): string =>
    output.options.exact ? String(bytes) : formatSize(bytes);
  const color = pool.health === "online" ? "green" : pool.health === "degraded" ? "yellow" : "red";
  const codes = pool.codes.length === 0 ? "" : `  (${pool.codes.join(", ")})`;
  const mode = pool.mount.readOnly || pool.state === "read-only" ? "read-only" : "read-write";
  const lines = [
    `  pool: ${output.style("bold", pool.pool)}        format ${pool.format}        health: ${output.style(color, pool.health.toUpperCase())}${codes}`,
    ` space: ${size(pool.sizeBytes)} raw, ${size(pool.usedBytes)} used; you can still write ${size(pool.availableBytes)}`,
    ` mount: ${pool.mount.mountPoint}, ${mode}, process ${pool.mount.pid}, since ${pool.mount.since}`,
    ` state: ${pool.files} files, checkpoint ${pool.checkpoint.sequence} at ${pool.checkpoint.time ?? "-"}, journal ${size(pool.journal.usedBytes)} of ${size(pool.journal.sizeBytes)}`,
  ];
  if (pool.codes.length > 0) lines.push(`action: dynamicfs explain ${pool.codes[0]}`);
  output.data(lines.join("\n"));
  const percent = (used: number, of: number): string =>
    of === 0 ? "-" : `${Math.round((100 * used) / of)}%`;
  const total = { read: 0, write: 0, checksum: 0 };
  const rows = pool.devices.map((device) => {
    total.read += device.readErrors;
    total.write += device.writeErrors;
    total.checksum += device.checksumErrors;
    return [
      `  ${device.name}`,
      device.state.toUpperCase(),
      size(device.sizeBytes),
      percent(device.usedBytes, device.sizeBytes),
      String(device.readErrors),
      String(device.writeErrors),
      String(device.checksumErrors),
    ];
  });
  rows.unshift([
    pool.pool,
    pool.health.toUpperCase(),
    size(pool.sizeBytes),
    percent(pool.usedBytes, pool.sizeBytes),
    String(total.read),
    String(total.write),
    String(total.checksum),
  ]);
  output.table(["NAME", "STATE", "SIZE", "USED", "READ", "WRITE", "CKSUM"], rows, "<<>>>>>");
  const errorCount = total.read + total.write + total.checksum;
  output.data(
    errorCount === 0 ? "errors: none known" : `errors: ${errorCount} since it was mounted`,
  );
}

/** A pool that is not mounted: what its superblock says. */
async function unmountedStatus(target: string, output: Output): Promise<ExitCode> {
  const pool = await import("./unmounted_pool.ts").then((module) => module.readUnmounted(target));
  if (output.machine) {
    output.envelope("dynamicfs.status/1", { pools: [pool], errors: [] });
    return ExitCode.ok;
  }
  const size = (bytes: number): string =>
    output.options.exact ? String(bytes) : formatSize(bytes);
  const ended = pool.clean ? "unmounted cleanly" : "in use, or not unmounted cleanly";
  output.data(
    [
      `  pool: ${output.style("bold", pool.pool)}        format ${pool.format}        not mounted`,
      ` space: ${size(pool.sizeBytes)} raw, ${size(pool.usedBytes)} used`,
      ` state: checkpoint ${pool.checkpoint.sequence} at ${pool.checkpoint.time ?? "-"}, ${ended}`,
      `  uuid: ${pool.uuid}`,
    ].join("\n"),
  );
  output.table(
    ["NAME", "INDEX", "SIZE"],
    pool.devices.map((device) => [device.name, String(device.index), size(device.sizeBytes)]),
    "<>>",
  );
  return ExitCode.ok;
}

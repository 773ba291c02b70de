/** `dynamicfs pool create`: a new, empty pool; never over something else without a confirmation. */
import type { Stats } from "node:fs";
import { rmSync, statSync } from "node:fs";
import { formatSize } from "../base/units.ts";
import type { DeviceSpec } from "../device/open_device.ts";
import { parseDeviceSpec } from "../device/open_device.ts";
import { detectPathSignature, isPathBlank } from "../device/signatures.ts";
import { createVolume } from "../fs/volume.ts";
import { CliError, usageError } from "./cli_error.ts";
import { confirmLoss } from "./confirm.ts";
import { withEngine } from "./engine.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";
import { memoryBytesOf } from "./sizes.ts";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$/;

/** Making a pool writes a few megabytes: more memory would only be reserved. */
const MEMORY_FOR_CREATE = "64M";

interface Target {
  readonly spec: string;
  readonly parsed: DeviceSpec;
  readonly exists: boolean;
  /** What is on it, null when it is blank. */
  readonly holds: string | null;
}

/** `dynamicfs pool create NAME DEV…` */
export async function poolCreate(invocation: Invocation, output: Output): Promise<ExitCode> {
  const name = invocation.one("NAME");
  const specs = invocation.many("DEV");
  if (!NAME.test(name)) {
    throw usageError(
      `pool name "${name}"`,
      "it must be a letter or digit, then up to 62 of A-Z a-z 0-9 _ . : -",
    );
  }
  await createPool({ name, specs, memory: invocation.text("memory") }, invocation, output);
  const sizes = specs.map(describeSize);
  const dryRun = invocation.is("dry-run");
  if (output.machine) {
    output.envelope("dynamicfs.pool-create/1", { pool: name, devices: specs, dryRun });
  } else {
    output.message(
      `${dryRun ? "would make" : "made"} pool ${name} on ${sizes.join(", ")}\n  next: dynamicfs mount ${specs.map(pathOf).join(" ")} DIR`,
    );
  }
  return ExitCode.ok;
}

/** @throws {CliError} Exit code 9 when a device holds something and that is not confirmed. */
export async function createPool(
  request: { name: string; specs: readonly string[]; memory: string | undefined },
  invocation: Invocation,
  output: Output,
): Promise<void> {
  const { name, specs } = request;
  const targets = specs.map(examine);
  refuseTwice(targets);
  const occupied = targets.filter((target) => target.holds !== null);
  if (occupied.length > 0) {
    const list = occupied.map((target) => pathOf(target.spec)).join(", ");
    const loss = {
      what: `overwrite ${list}`,
      lost: occupied.map((target) => `${pathOf(target.spec)} holds ${target.holds}`),
      name,
      command: `dynamicfs pool create ${name} ${specs.join(" ")} --force --confirm ${name}`,
    };
    if (!invocation.is("force")) {
      throw new CliError({
        exitCode: ExitCode.confirmationNeeded,
        what: `will not ${loss.what}`,
        why: loss.lost.join("; "),
        try: `${loss.command}   (all of it would be lost)`,
        code: "confirmation-needed",
      });
    }
    if (!invocation.is("dry-run")) await confirmLoss(loss, invocation, output);
    else output.message(`would be lost: ${loss.lost.join("; ")}`);
  }
  if (invocation.is("dry-run")) return;
  const memoryBytes = memoryBytesOf(request.memory ?? MEMORY_FOR_CREATE);
  try {
    await withEngine(
      {
        specs: targets.map((target) => (target.exists ? pathOf(target.spec) : target.spec)),
        memoryBytes,
        readOnly: false,
        log: (level, event, fields) => {
          if (level !== "info") output.warning(`${event} ${JSON.stringify(fields)}`);
        },
      },
      ({ environment, devices }) =>
        createVolume(environment, devices, {
          name,
          uid: process.getuid?.() ?? 0,
          gid: process.getgid?.() ?? 0,
        }),
    );
  } catch (error) {
    // A file that we made and could not fill is nobody's.
    for (const { exists, spec } of targets) if (!exists) rmSync(pathOf(spec), { force: true });
    throw error;
  }
}

function examine(spec: string): Target {
  const parsed = parseDeviceSpec(spec);
  if (parsed.kind !== "path") {
    throw usageError(spec, "a pool in memory ends with the command that makes it");
  }
  let stats: Stats | undefined;
  try {
    stats = statSync(parsed.path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  if (stats === undefined) {
    if (parsed.sizeBytes === undefined) {
      throw new CliError({
        exitCode: ExitCode.notFound,
        what: `cannot use ${spec}`,
        why: "there is no such file or device",
        try: `dynamicfs pool create NAME ${spec}:10G   (makes the file)`,
        code: "ENOENT",
      });
    }
    return { spec, parsed, exists: false, holds: null };
  }
  if (stats.isFile() && stats.size === 0) return { spec, parsed, exists: false, holds: null };
  if (stats.isFile() && parsed.sizeBytes !== undefined && stats.size !== parsed.sizeBytes) {
    throw new CliError({
      exitCode: ExitCode.usage,
      what: `cannot make ${parsed.path} with ${formatSize(parsed.sizeBytes)}`,
      why: `it is there and has ${formatSize(stats.size)}`,
      try: `dynamicfs pool create NAME ${parsed.path}   (uses it with its size)`,
      code: "EEXIST",
    });
  }
  return { spec, parsed, exists: true, holds: describeContents(parsed.path) };
}

/** What would be overwritten, or null when it is blank. */
function describeContents(path: string): string | null {
  const signature = detectPathSignature(path);
  if (signature !== null) {
    return signature.detail === "" ? signature.kind : `${signature.kind} (${signature.detail})`;
  }
  return isPathBlank(path) ? null : "data of an unknown kind";
}

/** Two names of one file would give a pool that overwrites itself. */
function refuseTwice(targets: readonly Target[]): void {
  const seen = new Map<string, string>();
  for (const { spec, exists } of targets) {
    const path = pathOf(spec);
    let id = path;
    if (exists) {
      const stats = statSync(path);
      id = stats.isBlockDevice() ? `block ${stats.rdev}` : `${stats.dev}:${stats.ino}`;
    }
    const before = seen.get(id);
    if (before !== undefined) throw usageError(spec, `it is the same device as ${before}`);
    seen.set(id, spec);
  }
}

function pathOf(spec: string): string {
  const parsed = parseDeviceSpec(spec);
  return parsed.kind === "path" ? parsed.path : spec;
}

function describeSize(spec: string): string {
  try {
    const stats = statSync(pathOf(spec));
    return stats.isFile() ? `${pathOf(spec)} (${formatSize(stats.size)})` : pathOf(spec);
  } catch {
    return spec;
  }
}

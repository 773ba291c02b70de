/** `dynamicfs quota`: limits of users, groups and projects on a mounted pool, and what they use. */
import { statSync } from "node:fs";
import { formatSize } from "../base/units.ts";
import type { QuotaReport } from "../fs/quotas.ts";
import { findAccount } from "./accounts.ts";
import { CliError, usageError } from "./cli_error.ts";
import { ControlClient } from "./control_client.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import { canonicalMountPoint, type MountEntry, ownMounts } from "./mount_table.ts";
import type { Output } from "./output.ts";
import type { QuotaChange } from "./quota_engine.ts";
import { sizeOf } from "./sizes.ts";

/** Whom a limit can be for, by the flag that names it. */
const DATABASES = { user: "passwd", group: "group", project: null } as const;

/** `dynamicfs quota list PATH` */
export async function quotaList(invocation: Invocation, output: Output): Promise<ExitCode> {
  const entry = mountOf(invocation.one("PATH"));
  print(entry, await ask(entry, null), output);
  return ExitCode.ok;
}

/** `dynamicfs quota set PATH` */
export async function quotaSet(invocation: Invocation, output: Output): Promise<ExitCode> {
  const entry = mountOf(invocation.one("PATH"));
  const change = changeOf(invocation);
  if (invocation.is("dry-run")) {
    output.message(`would set the quota of ${change.kind} ${change.id} on ${entry.mountPoint}`);
    return ExitCode.ok;
  }
  const quotas = await ask(entry, change);
  const changed = quotas.filter(({ kind, id }) => kind === change.kind && id === change.id);
  if (output.machine || changed.length > 0) print(entry, changed, output);
  else output.detail(`${change.kind} ${change.id} has no quota`);
  return ExitCode.ok;
}

/** @throws {CliError} Exit code 2 unless there is one subject and at least one limit. */
function changeOf(invocation: Invocation): QuotaChange {
  const given = (["user", "group", "project"] as const).filter(
    (kind) => invocation.text(kind) !== undefined,
  );
  const [kind] = given;
  if (kind === undefined || given.length > 1)
    throw usageError("quota set", "give one of --user, --group and --project");
  const name = invocation.text(kind) as string;
  const database = DATABASES[kind];
  const id = database === null ? projectOf(name) : findAccount(database, name);
  if (id === null) {
    const why = database === null ? "it is not a number" : `there is no ${kind} of that name`;
    throw usageError(`--${kind} ${name}`, why);
  }
  const size = invocation.text("size");
  const files = invocation.text("files");
  if (size === undefined && files === undefined)
    throw usageError("quota set", "give --size, --files or both; none takes a limit away");
  return {
    kind,
    id,
    ...(size === undefined ? {} : { bytes: size === "none" ? null : sizeOf("--size", size) }),
    ...(files === undefined ? {} : { files: files === "none" ? null : countOf(files) }),
  };
}

function projectOf(text: string): number | null {
  return /^[0-9]{1,10}$/.test(text) ? Number(text) : null;
}

function countOf(text: string): number {
  if (!/^[1-9][0-9]{0,14}$/.test(text)) throw usageError(`--files ${text}`, "it is no count");
  return Number(text);
}

/** The mount that a path is on. */
function mountOf(path: string): MountEntry {
  const entries = ownMounts();
  const at = entries.find((entry) => entry.mountPoint === canonicalMountPoint(path));
  const device = at?.device ?? statSync(path, { throwIfNoEntry: false })?.dev;
  const entry = entries.find((each) => each.device === device);
  if (entry !== undefined) return entry;
  throw new CliError({
    exitCode: ExitCode.notFound,
    what: `cannot find quotas of ${path}`,
    why: "it is not on a mounted DynamicFS pool",
    try: "dynamicfs mounts",
  });
}

async function ask(entry: MountEntry, change: QuotaChange | null): Promise<readonly QuotaReport[]> {
  const answer = await ControlClient.ask(entry, {
    method: "quota",
    ...(change === null ? {} : { quota: change }),
  });
  if (answer !== null) return answer.result as readonly QuotaReport[];
  throw new CliError({
    exitCode: ExitCode.notPermitted,
    what: `cannot ask the daemon of ${entry.mountPoint}`,
    why: "its control socket is not there, or not for you",
    try: "dynamicfs mounts",
  });
}

function print(entry: MountEntry, quotas: readonly QuotaReport[], output: Output): void {
  if (output.machine) {
    output.envelope("dynamicfs.quota/1", { mountPoint: entry.mountPoint, quotas });
    return;
  }
  if (quotas.length === 0) {
    output.message("nobody has a quota");
    return;
  }
  const size = (bytes: number): string =>
    output.options.exact ? String(bytes) : formatSize(bytes);
  const rows = quotas.map((quota) => [
    `${quota.kind} ${quota.id}`,
    quota.isCounted ? size(quota.usedBytes) : "counting",
    quota.limits.bytes === null ? "none" : size(quota.limits.bytes),
    quota.isCounted ? String(quota.usedFiles) : "counting",
    quota.limits.files === null ? "none" : String(quota.limits.files),
  ]);
  output.table(["QUOTA", "USED", "LIMIT", "FILES", "LIMIT"], rows, "<>>>>");
}

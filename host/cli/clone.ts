/**
 * `dynamicfs clone`: a copy of a file that shares its blocks, or none. What FICLONE does on other file systems, and the
 * kernel does not pass on to FUSE.
 */
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { errnoName } from "../base/errno.ts";
import { libc } from "../reactor/libc.ts";
import { CliError } from "./cli_error.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import { ownMounts } from "./mount_table.ts";
import type { Output } from "./output.ts";

/** What one call may take, so that a Ctrl-C is soon heard. */
const STEP_BYTES = 2 ** 30;

/** `dynamicfs clone SOURCE TARGET` */
export async function clone(invocation: Invocation, output: Output): Promise<ExitCode> {
  const source = resolve(invocation.one("SOURCE"));
  const what = `cannot clone ${source}`;
  const from = statusOf(source);
  if (from === null)
    throw new CliError({ exitCode: ExitCode.notFound, what, why: "it does not exist" });
  if (!from.isFile())
    throw new CliError({ exitCode: ExitCode.usage, what, why: "it is not a regular file" });
  let target = resolve(invocation.one("TARGET"));
  if (statusOf(target)?.isDirectory() === true) target = join(target, basename(source));
  const folder = statusOf(dirname(target));
  if (folder === null) {
    const why = `${dirname(target)} does not exist`;
    throw new CliError({ exitCode: ExitCode.notFound, what, why });
  }
  const mounted = ownMounts().some(({ device }) => device === from.dev);
  if (!mounted || folder.dev !== from.dev) {
    throw new CliError({
      exitCode: ExitCode.failed,
      what,
      why: mounted
        ? "the target is on another file system: blocks cannot be shared"
        : "it is not on a mounted DynamicFS pool",
      try: `cp ${source} ${target}`,
    });
  }
  const existing = statusOf(target);
  if (existing !== null && (existing.ino === from.ino || !invocation.is("replace"))) {
    throw new CliError({
      exitCode: ExitCode.confirmationNeeded,
      what,
      why: existing.ino === from.ino ? "source and target are one file" : `${target} exists`,
      ...(existing.ino === from.ino
        ? {}
        : { try: `dynamicfs clone --replace ${source} ${target}` }),
    });
  }
  if (invocation.is("dry-run")) {
    output.message(`would clone ${source} to ${target}`);
    return ExitCode.ok;
  }
  const bytes = cloneTo(source, target, from.mode & 0o777, what);
  if (output.machine) output.envelope("dynamicfs.clone/1", { source, target, bytes });
  else output.detail(`${target} shares ${bytes} bytes with ${source}`);
  return ExitCode.ok;
}

/** Makes the clone beside the target, and gives it the name when all of it is there. */
function cloneTo(source: string, target: string, mode: number, what: string): number {
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.clone`);
  const from = openSync(source, "r");
  try {
    const to = openSync(temporary, "wx", 0o600);
    try {
      let bytes = 0;
      for (;;) {
        const copied = libc().copyFileRange(from, to, STEP_BYTES);
        if (copied < 0) {
          const why = `copy_file_range() failed with ${errnoName(copied)}`;
          throw new CliError({ exitCode: ExitCode.failed, what, why });
        }
        if (copied === 0) break;
        bytes += copied;
      }
      fchmodSync(to, mode & ~process.umask());
      fsyncSync(to);
      renameSync(temporary, target);
      return bytes;
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
}

function statusOf(path: string): Stats | null {
  return statSync(path, { throwIfNoEntry: false }) ?? null;
}

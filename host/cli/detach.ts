/** Taking a mount point off, from outside of the engine: umount(8) or fusermount3, or the bare system call. */
import { spawn } from "node:child_process";
import { EINVAL, errnoName } from "../base/errno.ts";
import { libcIfAvailable, MNT_DETACH } from "../reactor/libc.ts";
import { CliError } from "./cli_error.ts";
import { ExitCode } from "./exit_codes.ts";

/**
 * Unmounts, and returns when the directory is free. Not lazy, it first has the kernel write back what it holds, which
 * may take long; it runs in another process, so that this one goes on answering.
 *
 * @throws {CliError} EBUSY when somebody uses the directory.
 */
export async function detach(
  mountPoint: string,
  {
    lazy,
    servedHere = false,
  }: {
    readonly lazy: boolean;
    /** This thread answers the kernel: it must not be in the system call that the kernel asks something for. */
    readonly servedHere?: boolean;
  },
): Promise<void> {
  const root = process.geteuid?.() === 0;
  if (root && lazy && !servedHere) {
    const result = libcIfAvailable()?.umount(mountPoint, MNT_DETACH);
    if (result === 0 || result === -EINVAL) return;
    if (result !== undefined) throw failure(mountPoint, errnoName(result), false);
  }
  const commands = root
    ? [["umount", "-i", ...(lazy ? ["-l"] : []), mountPoint]]
    : ["fusermount3", "fusermount"].map((name) => [
        name,
        "-u",
        ...(lazy ? ["-z"] : []),
        mountPoint,
      ]);
  let last = "no command to unmount with was found";
  for (const [file = "", ...args] of commands) {
    const outcome = await runQuietly(file, args);
    if (outcome.code === 0) return;
    if (outcome.code === null) continue;
    last = outcome.text.trim();
    break;
  }
  if (/not mounted|no mount point|not found in|Invalid argument/i.test(last)) return;
  throw failure(mountPoint, last, /busy/i.test(last));
}

function failure(mountPoint: string, why: string, busy: boolean): CliError {
  return new CliError({
    exitCode: busy ? ExitCode.busy : ExitCode.failed,
    what: `cannot unmount ${mountPoint}`,
    why: busy ? "it is in use: a process has its working directory or an open file there" : why,
    try: busy ? `fuser -vm ${mountPoint}, or: dynamicfs umount --lazy ${mountPoint}` : undefined,
    code: busy ? "EBUSY" : "umount",
  });
}

/** @returns Code null when there is no such program. */
function runQuietly(
  file: string,
  args: readonly string[],
): Promise<{ code: number | null; text: string }> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe"], cwd: "/" });
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => {
      text = (text + chunk.toString("utf8")).slice(-4096);
    });
    child.on("error", () => resolve({ code: null, text }));
    child.on("close", (code) => resolve({ code: code ?? 1, text }));
  });
}

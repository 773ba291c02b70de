/** `dynamicfs install-helper`: the two scripts by which mount(8) finds us. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "./cli_error.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import { HELPER_WORD } from "./mount_helper.ts";
import type { Output } from "./output.ts";
import { programCommand } from "./program.ts";

const NAMES = ["mount.fuse.dynamicfs", "mount.dynamicfs"];
const MARK = "# Installed by dynamicfs install-helper";

/** `dynamicfs install-helper` */
export function installHelper(invocation: Invocation, output: Output): ExitCode {
  const directory = join(invocation.text("prefix") ?? "/", "sbin");
  const command = programCommand().map(shellQuote).join(" ");
  const script = `#!/bin/sh\n${MARK}\nexec ${command} ${HELPER_WORD} "$@"\n`;
  const paths = NAMES.map((name) => join(directory, name));
  for (const path of paths) {
    if (!mayWrite(path)) {
      throw new CliError({
        exitCode: ExitCode.notPermitted,
        what: `cannot write ${path}`,
        why: "it exists and is not ours",
        try: `mv ${path} ${path}.old`,
      });
    }
  }
  const dryRun = invocation.is("dry-run");
  if (!dryRun) {
    mkdirSync(directory, { recursive: true });
    for (const path of paths) {
      writeFileSync(path, script);
      chmodSync(path, 0o755);
    }
  }
  if (output.machine) {
    output.envelope("dynamicfs.install-helper/1", { dryRun, paths });
  } else {
    for (const path of paths) output.message(`${dryRun ? "would write" : "wrote"} ${path}`);
    output.message("a line in /etc/fstab: /srv/a.img /mnt/tank fuse.dynamicfs defaults,nofail 0 0");
  }
  return ExitCode.ok;
}

/** Only what is not there, or what an earlier run wrote. */
function mayWrite(path: string): boolean {
  try {
    return readFileSync(path, "utf8").includes(MARK);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

function shellQuote(word: string): string {
  return /^[A-Za-z0-9_./:=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

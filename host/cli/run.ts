/** One command line, from words to exit code: parse, run, report. The only place that turns errors into output. */
import { toCliError } from "./cli_error.ts";
import type { Grammar } from "./command.ts";
import type { ExitCode } from "./exit_codes.ts";
import { ExitCode as Exit } from "./exit_codes.ts";
import type { Streams } from "./output.ts";
import { Output, outputOptionsBefore, outputOptionsOf } from "./output.ts";
import { parseCommandLine } from "./parse.ts";
import { COMMANDS, GLOBAL_FLAGS } from "./table.ts";

/**
 * @param words The command line after the program's name.
 * @returns The exit code; errors have been printed.
 */
export async function run(
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
  streams: Streams = process,
): Promise<ExitCode> {
  const grammar: Grammar = { commands: COMMANDS, globalFlags: GLOBAL_FLAGS };
  let output = new Output(outputOptionsBefore(words, streams), streams);
  let what = "dynamicfs";
  try {
    const { isHelperCall, mountAsHelper } = await import("./mount_helper.ts");
    if (isHelperCall(words, COMMANDS)) {
      what = "cannot mount";
      return await mountAsHelper(words, output);
    }
    const parsed = parseCommandLine(grammar, words, environment);
    if (parsed.kind === "help") {
      const { commandHelp, overview } = await import("./help.ts");
      output.data(parsed.command === undefined ? overview(grammar) : commandHelp(parsed.command));
      return words.length === 0 ? Exit.usage : Exit.ok;
    }
    if (parsed.kind === "version") {
      const { packageVersion } = await import("./program.ts");
      output.data(`dynamicfs ${packageVersion()}`);
      return Exit.ok;
    }
    const { invocation } = parsed;
    output = new Output(outputOptionsOf(invocation, streams), streams);
    what = invocation.command.name;
    const handler = await invocation.command.load();
    return await handler(invocation, output, grammar);
  } catch (error) {
    const shown = toCliError(error, what);
    output.error(shown);
    return shown.exitCode;
  }
}

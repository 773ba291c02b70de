/**
 * Called in place of a command: `dynamicfs SRC DIR -o opts` by mount.fuse3, and `dynamicfs mount-helper SRC DIR [-fnsv]
 * -o opts` by our /sbin/mount.fuse.dynamicfs. Exit codes are those of mount(8) here, because mount passes them on.
 *
 * @see mount(8), "External helpers"
 */
import { existsSync } from "node:fs";
import { toCliError, usageError } from "./cli_error.ts";
import type { Command } from "./command.ts";
import { ExitCode } from "./exit_codes.ts";
import { isRemount, parseMountOptions, parseRemountOptions } from "./mount_options.ts";
import type { Output } from "./output.ts";

/** What our helper script puts before mount's arguments. */
export const HELPER_WORD = "mount-helper";

/** mount(8): incorrect invocation, mount failure. */
const MOUNT_EX_USAGE = 1;
const MOUNT_EX_FAIL = 32;

/** Whether a line is a mount helper's, and not a command. A mistyped command is not taken for a device. */
export function isHelperCall(words: readonly string[], commands: readonly Command[]): boolean {
  const [first, second] = words;
  if (first === HELPER_WORD) return true;
  if (first === undefined || second === undefined || /^-/.test(first) || /^-/.test(second))
    return false;
  if (commands.some((command) => command.name.split(" ")[0] === first)) return false;
  return words.includes("-o") || first.includes("/") || existsSync(first);
}

export interface HelperCall {
  readonly source: string;
  readonly directory: string;
  readonly optionLists: readonly string[];
  readonly fake: boolean;
  readonly sloppy: boolean;
}

/** @throws {CliError} For what mount(8) does not pass to helpers. */
export function parseHelperCall(words: readonly string[]): HelperCall {
  const rest = words[0] === HELPER_WORD ? words.slice(1) : [...words];
  const positionals: string[] = [];
  const optionLists: string[] = [];
  let fake = false;
  let sloppy = false;
  for (let at = 0; at < rest.length; at++) {
    const word = rest[at]!;
    if (!word.startsWith("-") || word === "-") {
      positionals.push(word);
      continue;
    }
    for (const letter of word.slice(1)) {
      if (letter === "f") fake = true;
      else if (letter === "s") sloppy = true;
      else if (letter === "r") optionLists.push("ro");
      else if (letter === "w") optionLists.push("rw");
      else if (letter === "o" || letter === "t" || letter === "N") {
        const value = rest[++at];
        if (value === undefined) throw usageError(`-${letter}`, "it needs a value");
        if (letter === "o") optionLists.push(value);
      } else if (letter !== "n" && letter !== "v" && letter !== "i") {
        throw usageError(
          `-${letter}`,
          "mount helpers do not have this flag",
          "dynamicfs mount --help",
        );
      }
    }
  }
  const [source, directory, more] = positionals;
  if (source === undefined || directory === undefined || more !== undefined) {
    throw usageError(
      "mount helper",
      "it takes SOURCE DIRECTORY [-o OPTIONS]",
      "dynamicfs mount --help",
    );
  }
  return { source, directory, optionLists, fake, sloppy };
}

/** Mounts, or changes what is mounted, and returns when the directory is ready. */
export async function mountAsHelper(words: readonly string[], output: Output): Promise<ExitCode> {
  try {
    const call = parseHelperCall(words);
    const { optionLists, sloppy, directory } = call;
    if (isRemount(optionLists)) {
      if (call.fake) parseRemountOptions(optionLists, { sloppy });
      else
        await (await import("./remount.ts")).remount({
          directory,
          optionLists,
          sloppy,
          complete: true,
        });
      return ExitCode.ok;
    }
    const choices = parseMountOptions(optionLists, { sloppy });
    if (call.fake) return ExitCode.ok;
    const { mountInBackground } = await import("./mount.ts");
    await mountInBackground({
      devices: [call.source],
      directory,
      choices,
      log: undefined,
    });
    return ExitCode.ok;
  } catch (error) {
    const shown = toCliError(error, `cannot mount ${words.at(0) ?? ""}`);
    output.error(shown);
    const code = shown.exitCode === ExitCode.usage ? MOUNT_EX_USAGE : MOUNT_EX_FAIL;
    return code as ExitCode;
  }
}

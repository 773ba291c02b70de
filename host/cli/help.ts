/** Help texts and the manual page, made from the command table. */
import { usageError } from "./cli_error.ts";
import type { Command, Flag, Grammar } from "./command.ts";
import { EXIT_CODE_MEANINGS, ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";
import { environmentName, usageLine } from "./parse.ts";
import { packageVersion } from "./program.ts";

const WIDTH = 88;

/** `dynamicfs help [COMMAND]` */
export function help(invocation: Invocation, output: Output, grammar: Grammar): ExitCode {
  if (invocation.is("man")) {
    output.data(manualPage(grammar));
    return ExitCode.ok;
  }
  const name = invocation.many("COMMAND").join(" ");
  if (name === "") {
    output.data(overview(grammar));
    return ExitCode.ok;
  }
  const command = grammar.commands.find((each) => each.name === name);
  if (command !== undefined) {
    output.data(commandHelp(command));
    return ExitCode.ok;
  }
  const group = grammar.commands.filter((each) => each.name.startsWith(`${name} `));
  if (group.length === 0) throw usageError(name, "this is not a command", "dynamicfs --help");
  output.data(group.map(commandHelp).join("\n"));
  return ExitCode.ok;
}

/** What `dynamicfs --help` prints. */
export function overview(grammar: Grammar): string {
  const shown = grammar.commands.filter((command) => !command.hidden);
  return [
    "dynamicfs: one trustworthy POSIX filesystem over disks of any size",
    "",
    "Usage: dynamicfs COMMAND [ARGUMENTS] [FLAGS]",
    "",
    "Commands:",
    ...columns(shown.map((command) => [command.name, command.summary])),
    "",
    "Flags of every command:",
    ...columns(grammar.globalFlags.map(flagRow)),
    "",
    "Begin with `dynamicfs doctor`, then `dynamicfs pool create --help`.",
    "Exit codes: `dynamicfs explain`. All of it on one page: `dynamicfs help --man`.",
    "",
  ].join("\n");
}

/** What `dynamicfs COMMAND --help` prints. */
export function commandHelp(command: Command): string {
  const lines = [`${command.summary}.`, "", `Usage: ${usageLine(command)}`, ""];
  for (const paragraph of command.description ?? []) lines.push(...wrap(paragraph, WIDTH), "");
  if (command.arguments.length > 0) {
    const rows = command.arguments.map((argument) => {
      const choices = argument.choices === undefined ? "" : ` (${argument.choices.join(", ")})`;
      return [argument.name, `${argument.summary}${choices}`] as const;
    });
    lines.push("Arguments:", ...columns(rows), "");
  }
  if (command.flags.length > 0) lines.push("Flags:", ...columns(command.flags.map(flagRow)), "");
  lines.push("Examples:");
  for (const example of command.examples) {
    lines.push(`  ${example.command}`, `      ${example.does}`);
  }
  lines.push("");
  if (command.schema !== null) lines.push(`--json prints ${command.schema}. `.trimEnd());
  lines.push("Flags of every command: `dynamicfs --help`.", "");
  return lines.join("\n");
}

function flagRow(flag: Flag): readonly [string, string] {
  const value = flag.value === undefined ? "" : ` ${flag.value}`;
  const short = flag.short === undefined ? "" : `-${flag.short}, `;
  const environment = flag.environment === true ? ` [${environmentName(flag)}]` : "";
  return [`${short}--${flag.name}${value}`, `${flag.summary}${environment}`];
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return rows.flatMap(([left, right]) => {
    const [first, ...more] = wrap(right, WIDTH - width - 2);
    const indent = " ".repeat(width + 2);
    return [`  ${left.padEnd(width)}${first ?? ""}`, ...more.map((line) => indent + line)];
  });
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  if (line !== "") lines.push(line);
  return lines;
}

/** The manual page in mdoc(7). */
export function manualPage(grammar: Grammar): string {
  const shown = grammar.commands.filter((command) => !command.hidden);
  const lines = [
    ".Dd $Mdocdate$",
    ".Dt DYNAMICFS 1",
    `.Os DynamicFS ${packageVersion()}`,
    ".Sh NAME",
    ".Nm dynamicfs",
    ".Nd one trustworthy POSIX filesystem over disks of any size",
    ".Sh SYNOPSIS",
    ".Nm",
    ".Ar command",
    ".Op Ar arguments",
    ".Op Ar flags",
    ".Sh DESCRIPTION",
    "Flags may stand anywhere;",
    ".Fl -",
    "ends them.",
    "Data goes to the standard output, messages and progress to the standard error.",
    ".Sh FLAGS OF EVERY COMMAND",
    ...mdocFlags(grammar.globalFlags),
    ".Sh COMMANDS",
  ];
  for (const command of shown) {
    lines.push(`.Ss ${mdoc(usageLine(command).slice("dynamicfs ".length))}`);
    lines.push(`${mdoc(command.summary)}.`);
    for (const paragraph of command.description ?? []) lines.push(".Pp", mdoc(paragraph));
    if (command.arguments.length > 0) {
      lines.push(".Bl -tag -width Ds");
      for (const argument of command.arguments) {
        const choices = argument.choices === undefined ? "" : ` (${argument.choices.join(", ")})`;
        lines.push(`.It Ar ${mdoc(argument.name)}`, mdoc(`${argument.summary}${choices}`));
      }
      lines.push(".El");
    }
    lines.push(...mdocFlags(command.flags));
    for (const example of command.examples) {
      lines.push(".Pp", `${mdoc(example.does)}:`, `.Dl ${mdoc(example.command)}`);
    }
  }
  lines.push(".Sh ENVIRONMENT", ".Bl -tag -width Ds");
  for (const [name, meaning] of environmentRows(grammar)) {
    lines.push(`.It Ev ${mdoc(name)}`, mdoc(meaning));
  }
  lines.push(".El", ".Sh EXIT STATUS", ".Bl -tag -width Ds");
  for (const [code, meaning] of EXIT_CODE_MEANINGS) lines.push(`.It ${code}`, mdoc(meaning));
  lines.push(".El", ".Sh SEE ALSO", ".Xr mount 8 ,", ".Xr fuse 4 ,", ".Xr fstab 5", "");
  return lines.join("\n");
}

/** Variables that are read, with what they do. */
function environmentRows(grammar: Grammar): readonly (readonly [string, string])[] {
  const flags = new Map<string, Flag>();
  for (const flag of [...grammar.globalFlags, ...grammar.commands.flatMap((each) => each.flags)]) {
    if (flag.environment === true) flags.set(flag.name, flag);
  }
  return [
    ...[...flags.values()].map(
      (flag) => [environmentName(flag), `As --${flag.name}: ${flag.summary}`] as const,
    ),
    ["DYNAMICFS_DEBUG", "Show where an error came from"],
    ["DYNAMICFS_RUNTIME_DIR", "Where control sockets lie"],
    ["DYNAMICFS_CPU_PROF", "A directory: the engine writes a CPU profile there when it ends"],
    ["NO_COLOR", "Print no colours"],
  ];
}

function mdocFlags(flags: readonly Flag[]): string[] {
  if (flags.length === 0) return [];
  const lines = [".Bl -tag -width Ds"];
  for (const flag of flags) {
    const short = flag.short === undefined ? "" : `Fl ${flag.short} , `;
    const value = flag.value === undefined ? "" : ` Ar ${mdoc(flag.value)}`;
    lines.push(`.It ${short}Fl -${flag.name}${value}`, mdoc(flag.summary));
  }
  lines.push(".El");
  return lines;
}

/** Text as mdoc takes it: no macro at the start of a line, no escapes. */
function mdoc(text: string): string {
  const escaped = text.replaceAll("\\", "\\e").replaceAll("…", " ...");
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}

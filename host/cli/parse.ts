/**
 * From words to an Invocation. The grammar: flags anywhere, also before the command; `--` ends flags; `--name=value`
 * and `--name value`; short flags can be joined (`-Hp`). Nothing unknown is ever ignored: each mistake is an error
 * that names the nearest thing that exists.
 *
 * One name means one flag in the whole table (a test holds it), so a line can be split into words before it is known
 * which command it is for.
 */
import { parseArgs } from "node:util";
import type { CliError } from "./cli_error.ts";
import { usageError } from "./cli_error.ts";
import type { Argument, Command, Flag, Grammar } from "./command.ts";
import type { FlagValue } from "./invocation.ts";
import { Invocation } from "./invocation.ts";
import { nearest } from "./nearest.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * What a line asks for: a command, or one of the two questions that any line can carry. The command of `--help` is
 * undefined for the overview.
 */
export type Parsed =
  | { readonly kind: "run"; readonly invocation: Invocation }
  | { readonly kind: "help"; readonly command: Command | undefined }
  | { readonly kind: "version" };

/** @throws {CliError} Exit code 2 for anything that the grammar does not know. */
export function parseCommandLine(
  grammar: Grammar,
  words: readonly string[],
  environment: Environment,
): Parsed {
  const { tokens } = parseArgs({
    args: [...words],
    options: optionsOf(grammar),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, FlagValue>();
  const positionals: string[] = [];
  const known = flagsByName(grammar);
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const flag = known.get(token.name);
    if (flag === undefined) throw unknownFlag(grammar, token.rawName, positionals);
    // `--memory --json` forgot the value; one that begins with a dash is written `--memory=-x`.
    const swallowed = token.inlineValue === false && /^-./.test(token.value);
    setFlag(given, flag, swallowed ? undefined : token.value, token.rawName);
  }

  const command = findCommand(grammar, positionals);
  if (given.get("help") === true) {
    if (command === undefined && positionals.length > 0) throw unknownCommand(grammar, positionals);
    return { kind: "help", command };
  }
  if (given.get("version") === true) return { kind: "version" };
  if (command === undefined) {
    if (positionals.length === 0) return { kind: "help", command: undefined };
    throw unknownCommand(grammar, positionals);
  }

  const own = [...grammar.globalFlags, ...command.flags];
  for (const name of given.keys()) {
    if (own.some((flag) => flag.name === name)) continue;
    throw unknownFlag(grammar, `--${name}`, positionals);
  }
  for (const flag of own) {
    if (flag.environment !== true || given.has(flag.name)) continue;
    const variable = environmentName(flag);
    const value = environment[variable];
    if (value !== undefined && value !== "") setFromEnvironment(given, flag, variable, value);
  }
  const rest = positionals.slice(command.name.split(" ").length);
  return { kind: "run", invocation: new Invocation(command, bindArguments(command, rest), given) };
}

/** The variable that holds a flag's default. */
export function environmentName(flag: Flag): string {
  return `DYNAMICFS_${flag.name.toUpperCase().replaceAll("-", "_")}`;
}

/** `pool create NAME DEV…`, as help and errors show it. */
export function usageLine(command: Command): string {
  const words = command.arguments.map((argument) => {
    const name = argument.many === true ? `${argument.name}…` : argument.name;
    return argument.optional === true ? `[${name}]` : name;
  });
  return ["dynamicfs", command.name, ...words].join(" ");
}

function flagsByName(grammar: Grammar): Map<string, Flag> {
  const flags = new Map(grammar.globalFlags.map((flag) => [flag.name, flag]));
  for (const command of grammar.commands) {
    for (const flag of command.flags) flags.set(flag.name, flag);
  }
  return flags;
}

interface ParseOption {
  type: "boolean" | "string";
  multiple: boolean;
  short?: string;
}

function optionsOf(grammar: Grammar): Record<string, ParseOption> {
  const options: Record<string, ParseOption> = {};
  for (const flag of flagsByName(grammar).values()) {
    const option: ParseOption = {
      type: flag.kind === "text" || flag.kind === "list" ? "string" : "boolean",
      multiple: true,
    };
    if (flag.short !== undefined) option.short = flag.short;
    options[flag.name] = option;
  }
  return options;
}

function setFlag(
  given: Map<string, FlagValue>,
  flag: Flag,
  value: string | undefined,
  rawName: string,
): void {
  if (flag.kind === "boolean" || flag.kind === "count") {
    if (value !== undefined) throw usageError(rawName, `it takes no value, "${value}" was given`);
    const before = given.get(flag.name);
    given.set(flag.name, flag.kind === "boolean" ? true : Number(before ?? 0) + 1);
    return;
  }
  if (value === undefined) throw usageError(rawName, `it needs a value: ${rawName} ${flag.value}`);
  checkChoice(rawName, flag.choices, value);
  if (flag.kind === "list") {
    const before = given.get(flag.name);
    given.set(flag.name, [...(Array.isArray(before) ? before : []), value]);
  } else {
    given.set(flag.name, value);
  }
}

function setFromEnvironment(
  given: Map<string, FlagValue>,
  flag: Flag,
  variable: string,
  value: string,
): void {
  if (flag.kind === "text") {
    checkChoice(variable, flag.choices, value);
    given.set(flag.name, value);
    return;
  }
  if (flag.kind === "list") {
    given.set(flag.name, [value]);
    return;
  }
  const lower = value.toLowerCase();
  if (["0", "no", "false", "off"].includes(lower)) return;
  if (flag.kind === "count" && /^[0-9]$/.test(lower)) given.set(flag.name, Number(lower));
  else if (["1", "yes", "true", "on"].includes(lower)) {
    given.set(flag.name, flag.kind === "count" ? 1 : true);
  } else throw usageError(variable, `"${value}" is neither 1 nor 0`);
}

function checkChoice(name: string, choices: readonly string[] | undefined, value: string): void {
  if (choices === undefined || choices.includes(value)) return;
  throw usageError(name, `"${value}" is none of ${choices.join(", ")}`);
}

/** The longest name that the line begins with. */
function findCommand(grammar: Grammar, positionals: readonly string[]): Command | undefined {
  for (const length of [2, 1]) {
    if (positionals.length < length) continue;
    const name = positionals.slice(0, length).join(" ");
    const command = grammar.commands.find((each) => each.name === name);
    if (command !== undefined) return command;
  }
  return undefined;
}

function bindArguments(
  command: Command,
  values: readonly string[],
): ReadonlyMap<string, readonly string[]> {
  const args = command.arguments;
  const required = args.filter((argument) => argument.optional !== true).length;
  const help = `dynamicfs ${command.name} --help`;
  if (values.length < required) {
    const missing = args.filter((argument) => argument.optional !== true)[values.length];
    throw usageError(command.name, `${missing?.name} is missing: ${usageLine(command)}`, help);
  }
  const bound = new Map<string, readonly string[]>();
  let spare = values.length - required;
  let at = 0;
  for (const argument of args) {
    let take = argument.optional === true ? 0 : 1;
    if (argument.many === true) {
      take += spare;
      spare = 0;
    } else if (take === 0 && spare > 0) {
      take = 1;
      spare--;
    }
    const taken = values.slice(at, at + take);
    for (const value of taken) checkArgument(argument, value);
    if (taken.length > 0) bound.set(argument.name, taken);
    at += take;
  }
  if (at < values.length) {
    throw usageError(
      command.name,
      `"${values[at]}" is one argument too many: ${usageLine(command)}`,
      help,
    );
  }
  return bound;
}

function checkArgument(argument: Argument, value: string): void {
  if (value === "") throw usageError(argument.name, "it is empty");
  checkChoice(argument.name, argument.choices, value);
}

function unknownFlag(grammar: Grammar, rawName: string, positionals: readonly string[]): CliError {
  const command = findCommand(grammar, positionals);
  const flags = [
    ...grammar.globalFlags,
    ...(command?.flags ?? grammar.commands.flatMap((each) => (each.hidden ? [] : each.flags))),
  ];
  const names = flags.flatMap((flag) =>
    flag.short === undefined ? [`--${flag.name}`] : [`--${flag.name}`, `-${flag.short}`],
  );
  const close = nearest(rawName, names);
  const of = command === undefined ? "" : ` of "${command.name}"`;
  const hint = close === undefined ? "" : `, did you mean ${close}?`;
  return usageError(
    rawName,
    `this is not a flag${of}${hint}`,
    command === undefined ? "dynamicfs --help" : `dynamicfs ${command.name} --help`,
  );
}

function unknownCommand(grammar: Grammar, positionals: readonly string[]): CliError {
  const names = grammar.commands.filter((each) => !each.hidden).map((each) => each.name);
  const first = positionals[0] ?? "";
  const group = names.filter((name) => name.startsWith(`${first} `));
  if (group.length > 0) {
    const second = positionals[1];
    const close = second === undefined ? undefined : nearest(`${first} ${second}`, group);
    return usageError(
      positionals.slice(0, 2).join(" "),
      `this is not a command; "${first}" has: ${group.map((name) => name.slice(first.length + 1)).join(", ")}`,
      `dynamicfs ${close ?? group[0]} --help`,
    );
  }
  const close = nearest(first, names);
  const hint = close === undefined ? "" : `, did you mean "${close}"?`;
  return usageError(
    first,
    `this is not a command${hint}`,
    close === undefined ? "dynamicfs --help" : `dynamicfs ${close} --help`,
  );
}

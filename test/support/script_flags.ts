/**
 * The command line of a script that runs for long: `--help` says what there is, and anything that cannot be meant ends it
 * with exit code 2 and one line, before hours have gone by.
 */
import process from "node:process";
import { type ParseArgsConfig, parseArgs } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;
type Values<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>["values"];

/** The values of `options`; for `--help` prints `help` and ends the process with 0. */
export function readFlags<const T extends Options>(help: string, options: T): Values<T> {
  const args = process.argv.slice(2);
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${help.trim()}\n`);
    process.exit(0);
  }
  try {
    return parseArgs({ args, options }).values;
  } catch (error) {
    return refuse((error as Error).message.split("\n")[0] as string);
  }
}

/** A whole number of at least `min`. */
export function countOf(flag: string, given: string, min = 0): number {
  const value = given.trim() === "" ? Number.NaN : Number(given);
  if (Number.isSafeInteger(value) && value >= min) return value;
  return refuse(`${flag} takes a whole number of at least ${min}, not "${given}"`);
}

/** Says what is wrong with the command line, and ends the process with 2. */
export function refuse(what: string): never {
  process.stderr.write(`${what}\n`);
  process.exit(2);
}

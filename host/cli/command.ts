/**
 * The vocabulary of the command table: what a command is, and what its handler is given. Types only; the table itself
 * is table.ts.
 */
import type { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";

/** What a shell may offer for an argument or a flag's value. */
export type Completion = "file" | "directory" | "mount" | "command" | "none";

export interface Flag {
  /** Long name without dashes. One name has one kind and one short form in the whole table. */
  readonly name: string;
  readonly short?: string;
  /** `text` and `list` take a value; a `list` may be repeated. */
  readonly kind: "boolean" | "count" | "text" | "list";
  /** How help calls the value: "SIZE". */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly complete?: Completion;
  readonly summary: string;
  /** Whether DYNAMICFS_<NAME> in the environment is its default. Never for what confirms a loss. */
  readonly environment?: boolean;
}

export interface Argument {
  /** As help shows it: "DEV". At most one argument of a command is `many`. */
  readonly name: string;
  readonly summary: string;
  readonly optional?: boolean;
  readonly many?: boolean;
  readonly choices?: readonly string[];
  readonly complete?: Completion;
}

export interface Example {
  readonly command: string;
  readonly does: string;
}

export interface Command {
  /** One or two words: "status", "pool create". */
  readonly name: string;
  readonly summary: string;
  /** Paragraphs for help and the manual. */
  readonly description?: readonly string[];
  /** `destructive` may lose what was stored before, so it asks; `write` changes state; `read` changes nothing. */
  readonly effect: "read" | "write" | "destructive";
  /** Identifies the shape of its JSON output; null when it has none. */
  readonly schema: string | null;
  readonly arguments: readonly Argument[];
  readonly flags: readonly Flag[];
  readonly examples: readonly Example[];
  /** Not shown in help: for the program's own use. */
  readonly hidden?: boolean;
  /** The handler, loaded only when the command runs: `--help` stays fast. */
  load(): Promise<Handler>;
}

/** The whole table: what a command line can say. */
export interface Grammar {
  readonly commands: readonly Command[];
  readonly globalFlags: readonly Flag[];
}

/** Runs one command; returns the exit code, or throws CliError or FsError. */
export type Handler = (
  invocation: Invocation,
  output: Output,
  grammar: Grammar,
) => Promise<ExitCode> | ExitCode;

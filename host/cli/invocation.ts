/** A parsed command line: which command, its arguments and its flags. Made by parse.ts, read by handlers. */
import { assert } from "../base/assert.ts";
import type { Command } from "./command.ts";

export type FlagValue = boolean | number | string | readonly string[];

export class Invocation {
  readonly command: Command;
  readonly #arguments: ReadonlyMap<string, readonly string[]>;
  readonly #flags: ReadonlyMap<string, FlagValue>;

  constructor(
    command: Command,
    args: ReadonlyMap<string, readonly string[]>,
    flags: ReadonlyMap<string, FlagValue>,
  ) {
    this.command = command;
    this.#arguments = args;
    this.#flags = flags;
  }

  /** A required argument. */
  one(name: string): string {
    const value = this.#arguments.get(name)?.[0];
    assert(value !== undefined, `${this.command.name} has no required argument ${name}`);
    return value;
  }

  /** An optional argument. */
  optional(name: string): string | undefined {
    return this.#arguments.get(name)?.[0];
  }

  /** All values of a repeatable argument. */
  many(name: string): readonly string[] {
    return this.#arguments.get(name) ?? [];
  }

  is(flag: string): boolean {
    return this.#flags.get(flag) === true;
  }

  count(flag: string): number {
    const value = this.#flags.get(flag);
    return typeof value === "number" ? value : 0;
  }

  text(flag: string): string | undefined {
    const value = this.#flags.get(flag);
    return typeof value === "string" ? value : undefined;
  }

  list(flag: string): readonly string[] {
    const value = this.#flags.get(flag);
    return Array.isArray(value) ? value : [];
  }
}

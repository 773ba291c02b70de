/**
 * What a fuzz target is: it makes mutants from random numbers, as lists of fields that JSON can hold, and runs them.
 * Running depends on the fields alone, so that a mutant can be kept in a file, replayed, and shrunk field by field.
 */
import type { Prng } from "../../host/base/prng.ts";

/** One field that a mutant changes, or one step that it does: plain data. */
export type Field = Readonly<Record<string, unknown>>;

export interface Target {
  mutate(random: Prng): Field[];
  /**
   * Runs a mutant. Returns what came of it in a word or two, for the coverage of a campaign.
   *
   * @throws {Error} What must not happen.
   */
  run(fields: readonly Field[]): string | Promise<string>;
  /** How many mutants it counts as: messages or calls; else one. */
  mutants?(fields: readonly Field[]): number;
}

/** Something happened that must not: an exception other than FsError, a hang, a wrong answer. */
export class Fault extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "Fault";
  }
}

/** Sizes on the command line. */
import { parseSize } from "../base/units.ts";
import { usageError } from "./cli_error.ts";

const MEMORY_DEFAULT = "256M";

/**
 * The memory budget of an engine.
 *
 * @throws {CliError} Exit code 2.
 */
export function memoryBytesOf(text: string | undefined): number {
  return sizeOf("--memory", text ?? MEMORY_DEFAULT);
}

/**
 * @param name The flag that it is the value of.
 * @throws {CliError} Exit code 2.
 */
export function sizeOf(name: string, text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    throw usageError(name, error instanceof Error ? error.message : String(error));
  }
}

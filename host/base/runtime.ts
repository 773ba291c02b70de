/**
 * What differs between the runtimes and machines that one source runs on, in one place.
 */
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import process from "node:process";

/** True under Deno, whose node:fs vector calls are loops and whose asynchronous calls on one file do not overlap. */
export const isDeno: boolean = "Deno" in globalThis;

/** System calls by koffi are written for the 64-bit Linux ABI, little-endian. */
export const isLinux64: boolean =
  process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64");

/** Processors this process may use. On one, spinning only keeps others from working. */
export const processorCount: number = availableParallelism();

/**
 * Loads a package synchronously, when it is first needed: native ones must not be touched by users who do without.
 *
 * @throws What the module throws, or that it is not installed.
 */
export function requirePackage<T>(name: string): T {
  return createRequire(import.meta.url)(name) as T;
}

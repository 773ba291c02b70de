import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { instantiateSync } from "@assemblyscript/loader";
import { assert } from "../base/assert.ts";
import type { CoreExports } from "./abi.ts";
import { Core } from "./core.ts";

/** The contract in abi.ts that this host was written for. */
const ABI_VERSION = 1;

let compiled: WebAssembly.Module | undefined;

/**
 * Makes an instance of the core with a memory of its own.
 *
 * @param options.memoryPages Size of the memory in pages of 64 KiB, 1 to 65,536; it never grows. Pages are backed by
 *   real memory when first touched.
 * @throws {RangeError} When the system refuses to reserve so much.
 */
export function loadCore({ memoryPages }: { memoryPages: number }): Core {
  compiled ??= new WebAssembly.Module(
    readFileSync(fileURLToPath(import.meta.resolve("#core.wasm"))),
  );
  const memory = new WebAssembly.Memory({ initial: memoryPages, maximum: memoryPages });
  // The loader's own `exports` wrap each function in a closure with rest arguments, for classes we do not have: the
  // instance's are called directly.
  const exports = instantiateSync(compiled, { env: { memory } }).instance
    .exports as unknown as CoreExports;
  assert(
    exports.abi_version() === ABI_VERSION,
    `the core has ABI ${exports.abi_version()}, this host needs ${ABI_VERSION}: build both from one tree`,
  );
  return new Core(exports, memory);
}

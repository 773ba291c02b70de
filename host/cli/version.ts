import { release } from "node:os";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";
import { packageVersion } from "./program.ts";

/** `dynamicfs version` */
export function version(_invocation: Invocation, output: Output): ExitCode {
  const deno = (globalThis as { Deno?: { version: { deno: string } } }).Deno?.version.deno ?? null;
  const fields = {
    version: packageVersion(),
    node: process.versions.node,
    v8: process.versions.v8,
    deno,
    kernel: `${process.platform} ${release()}`,
    arch: process.arch,
  };
  if (output.machine) output.envelope("dynamicfs.version/1", fields);
  else {
    const runtime = deno === null ? `node ${fields.node}` : `deno ${deno}`;
    output.data(`dynamicfs ${fields.version}, ${runtime}, ${fields.kernel} ${fields.arch}`);
  }
  return ExitCode.ok;
}

/** `dynamicfs inspect`: records of a device as they lie there. */

import type { InspectTarget } from "../maintain/inspect.ts";
import { inspect as look } from "../maintain/inspect.ts";
import { usageError } from "./cli_error.ts";
import { withEngine } from "./engine.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";
import { recordText } from "./record_text.ts";
import { memoryBytesOf } from "./sizes.ts";

/** `dynamicfs inspect DEV WHAT [WHERE…]` */
export async function inspect(invocation: Invocation, output: Output): Promise<ExitCode> {
  const spec = invocation.one("DEV");
  const kind = invocation.one("WHAT");
  const target = targetOf(
    kind,
    invocation.many("WHERE").map(wholeNumber),
    invocation.count("verbose") > 0,
  );
  const record = await withEngine(
    {
      specs: [spec],
      memoryBytes: memoryBytesOf(invocation.text("memory")),
      readOnly: true,
      log: (_level, event, fields) => output.detail(`${event} ${JSON.stringify(fields)}`),
    },
    ({ environment, devices }) => look(environment, devices, target),
  );
  if (output.machine) output.envelope("dynamicfs.inspect/1", { device: spec, kind, record });
  else output.data(recordText(record));
  return ExitCode.ok;
}

function targetOf(kind: string, numbers: readonly number[], verbose: boolean): InspectTarget {
  const [first, type, offset] = numbers;
  const needed = (what: string): number => {
    if (first !== undefined) return first;
    throw usageError(`inspect ${kind}`, `WHERE is missing: ${what}`, "dynamicfs inspect --help");
  };
  switch (kind) {
    case "page":
      return { kind, block: needed("the block of the page") };
    case "region":
      return { kind, region: needed("the number of the region") };
    case "item":
      return {
        kind,
        objectId: needed("an object id, then a type and an offset if you like"),
        ...(type === undefined ? {} : { type }),
        ...(offset === undefined ? {} : { offset }),
      };
    case "journal":
      return { kind, entries: verbose };
    case "tree":
      return { kind };
    default:
      return { kind: "superblock" };
  }
}

function wholeNumber(text: string): number {
  const number = /^(\d+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw usageError(text, "this is not a whole number");
  return number;
}

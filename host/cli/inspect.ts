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
  const target = targetOf(kind, invocation.many("WHERE").map(wholeNumber));
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

function targetOf(kind: string, numbers: readonly number[]): InspectTarget {
  const [first, second, third] = numbers;
  switch (kind) {
    case "page":
      if (first === undefined) {
        throw usageError("inspect page", "WHERE is missing: the block of the page");
      }
      return { kind, block: first };
    case "item":
      if (first === undefined) {
        throw usageError("inspect item", "WHERE is missing: object id, then type and offset");
      }
      return {
        kind,
        objectId: first,
        ...(second === undefined ? {} : { type: second }),
        ...(third === undefined ? {} : { offset: third }),
      };
    case "journal":
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

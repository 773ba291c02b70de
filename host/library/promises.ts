/**
 * The functions of node:fs/promises over a volume, put together from their parts by subject.
 *
 * Each operation is a walk and one change, made in one synchronous step (calls.ts). No permissions are checked: who
 * opens a volume is its root. New objects belong to the process and obey its umask.
 *
 * Durability: what a function did survives a crash after sync(), after FileHandle.sync() of an object changed later,
 * with the option `flush`, or with the volume's next checkpoint, some seconds later.
 */
import { constants } from "node:fs";
import { AttributeFunctions } from "./attributes.ts";
import type { Calls } from "./calls.ts";
import type { CopyFunctions } from "./copy_tree.ts";
import { Directories } from "./directories.ts";
import { refuseSynchronous } from "./errors.ts";
import { Files } from "./files.ts";
import { Names } from "./names.ts";
import { type Handles, Opener } from "./opener.ts";
import { StreamFunctions } from "./stream_functions.ts";
import { Trees } from "./trees.ts";
import { Walker } from "./walk.ts";
import { XattrFunctions } from "./xattrs.ts";

/** What of a class programs can see. */
type Public<T> = { [Name in keyof T]: T[Name] };

/** The interface of node:fs/promises; see the Node manual for what is not said here. */
export interface VolumePromises
  extends Public<Files>,
    Public<Names>,
    Public<Directories>,
    Public<Trees>,
    Public<AttributeFunctions>,
    Public<XattrFunctions>,
    Public<StreamFunctions> {
  /** Node's fs.constants. */
  readonly constants: typeof constants;
}

type Method = (...args: unknown[]) => unknown;

/** Functions that do not return a promise. */
const IMMEDIATE: ReadonlySet<string> = new Set([
  "createReadStream",
  "createWriteStream",
  "readable",
  "watch",
]);

/**
 * What programs get: free functions, as those of node:fs/promises are, each refused once the volume is being closed and
 * waited for by close().
 *
 * @param handles What is open; for the volume to close at its end.
 */
export function volumePromises(calls: Calls, handles: Handles): VolumePromises {
  const walker = new Walker(calls);
  const opener = new Opener(calls, walker, handles);
  const attributes = new AttributeFunctions(calls, walker);
  // What the functions of trees call: unguarded, because they are guarded as a whole.
  const inner: Record<string, Method> = {};
  const outer: Record<string, unknown> = {};
  for (const part of [
    new Files(calls, walker, opener),
    new Names(calls, walker),
    new Directories(calls, walker, opener, attributes),
    new Trees(calls, walker, inner as unknown as CopyFunctions),
    attributes,
    new XattrFunctions(calls, walker),
    new StreamFunctions(calls, opener),
  ]) {
    for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(part))) {
      if (name === "constructor") continue;
      const method = (part as unknown as Record<string, Method>)[name]!.bind(part);
      inner[name] = method;
      outer[name] = IMMEDIATE.has(name)
        ? method
        : (...args: unknown[]): unknown => calls.guard(async () => await method(...args));
      Object.defineProperty(outer[name], "name", { value: name });
    }
  }
  Object.defineProperty(outer, "constants", { value: constants, enumerable: true });
  refuseSynchronous(outer);
  return outer as unknown as VolumePromises;
}

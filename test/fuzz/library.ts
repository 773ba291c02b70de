/**
 * Evil arguments of library calls: paths, numbers, buffers and options of every kind, fast-check's arbitrary values
 * among them. Each call fulfils, or rejects with an error that has a code; none waits for ever; the volume is clean
 * afterwards.
 */
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { FsError } from "../../host/base/fs_error.ts";
import type { Prng } from "../../host/base/prng.ts";
import { mountVolume } from "../../host/fs/volume.ts";
import { OpenVolume } from "../../host/library/open_volume.ts";
import type { PortableReactor } from "../../host/reactor/portable_reactor.ts";
import { FuzzEngine } from "./engine.ts";
import { baseOf } from "./image_base.ts";
import { checkImage, findings, isWhole } from "./images.ts";
import { Fault, type Field, type Target } from "./target.ts";

const CALLS = 20;
const HANDLES = 3;
const ROUNDS_MAX = 20_000;

/** Functions, and what kinds of arguments they take: p a path, n a number, d data, o options, a anything, f flags. */
const FUNCTIONS: Readonly<Record<string, string>> = {
  open: "pfn",
  readFile: "po",
  writeFile: "pdo",
  appendFile: "pdo",
  truncate: "pn",
  copyFile: "ppn",
  rename: "pp",
  link: "pp",
  symlink: "pp",
  unlink: "p",
  readlink: "po",
  realpath: "po",
  mkdir: "po",
  mkdtemp: "po",
  readdir: "po",
  opendir: "po",
  rmdir: "po",
  cp: "ppo",
  rm: "po",
  stat: "po",
  lstat: "po",
  statfs: "po",
  access: "pn",
  chmod: "pn",
  lchmod: "pn",
  chown: "pnn",
  lchown: "pnn",
  utimes: "pnn",
  lutimes: "pnn",
  getXattr: "ppo",
  listXattr: "po",
  setXattr: "ppdo",
  removeXattr: "ppo",
};
const METHODS: Readonly<Record<string, string>> = {
  read: "dnnn",
  write: "dnnn",
  readv: "an",
  writev: "an",
  readFile: "o",
  writeFile: "do",
  appendFile: "do",
  truncate: "n",
  stat: "o",
  sync: "",
  datasync: "",
  chmod: "n",
  chown: "nn",
  utimes: "nn",
  close: "",
};

const PATHS = [
  "/",
  "",
  ".",
  "..",
  "/..",
  "/../..",
  "/dir",
  "/dir/",
  "/dir/small",
  "/dir/small/x",
  "/dir/nested",
  "/inline",
  "/empty",
  "/linked",
  "/symlink",
  "/many",
  "/many/file number 3",
  "/new",
  "/new/deep/er",
  "/dir/../dir/./small",
  "//dir//nested//",
  "/a\0b",
  "\0",
  "relative",
  "/x".repeat(3000),
  `/${"n".repeat(256)}`,
  `/${"n".repeat(255)}`,
  "/fifo",
  "/device",
  "/attributes",
  "/kept",
  "/ü\ud800",
  "user.short",
  "user.",
  "",
  "security.capability",
  "system.posix_acl_access",
  "file:///dir/small",
  "/new2",
  "/new3",
  "/loop",
];
const NUMBERS = [
  0,
  1,
  -1,
  3,
  4,
  5,
  100,
  4096,
  65_536,
  1 << 20,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 60,
  -(2 ** 31),
  0.5,
  NaN,
  Infinity,
  -Infinity,
  1e300,
  0o644,
  0o7777,
  1_700_000_000_000,
];
const FLAGS = [
  "r",
  "r+",
  "w",
  "w+",
  "wx",
  "a",
  "a+",
  "ax",
  "as",
  "rs",
  "",
  "x",
  0,
  1,
  2,
  64,
  577,
  1 << 30,
  -1,
  4_194_304,
  65_536,
];

/** An error of ours, thrown by a value that a caller made: it may come back. */
class Thrown extends Error {
  readonly code = "THROWN";
}

/** An argument as data. */
type Argument = Readonly<Record<string, unknown>>;

function decode(argument: Argument): unknown {
  const value = argument["v"];
  switch (argument["k"]) {
    case "path":
      return PATHS[Number(value)];
    case "url":
      return new URL(String(value));
    case "number":
      return NUMBERS[Number(value)];
    case "flag":
      return FLAGS[Number(value)];
    case "bigint":
      return BigInt(String(value));
    case "buffer":
      return Buffer.alloc(Number(value), 7);
    case "view":
      return new DataView(new ArrayBuffer(Number(value)));
    case "u32":
      return new Uint32Array(Number(value));
    case "shared":
      return new Uint8Array(new SharedArrayBuffer(Number(value)));
    case "iterable":
      return [Buffer.from("abc"), "def", value];
    case "undefined":
      return undefined;
    case "null":
      return null;
    case "symbol":
      return Symbol("fuzz");
    case "function":
      return () => true;
    case "thrower":
      return new Proxy(
        {},
        {
          get(): never {
            throw new Thrown("a getter throws");
          },
        },
      );
    case "any":
      return fc.sample(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withNullPrototype: true,
          withTypedArray: true,
        }),
        { seed: Number(value), numRuns: 1 },
      )[0];
    case "options": {
      const options: Record<string, unknown> = {};
      for (const [name, inner] of Object.entries(value as Record<string, Argument>))
        options[name] = decode(inner);
      return options;
    }
    default:
      return value;
  }
}

const OPTIONS = [
  "encoding",
  "flag",
  "mode",
  "recursive",
  "withFileTypes",
  "bigint",
  "force",
  "maxRetries",
  "retryDelay",
  "signal",
  "preserveTimestamps",
  "errorOnExist",
  "dereference",
  "filter",
  "bufferSize",
  "position",
  "offset",
  "length",
  "flush",
  "create",
  "replace",
  "followSymlinks",
  "verbatimSymlinks",
];

function someArgument(random: Prng, kind: string, depth = 0): Argument {
  const choice = random.below(20);
  if (choice === 0) return { k: "any", v: random.below(1 << 30) };
  if (choice === 1)
    return { k: ["undefined", "null", "symbol", "function", "thrower"][random.below(5)], v: 0 };
  const of = choice === 2 ? "pndofa"[random.below(6)] : kind;
  switch (of) {
    case "p":
      if (random.below(20) === 0)
        return {
          k: "url",
          v: ["file:///dir/small", "file:///a%2Fb", "file:///a%00b", "http://x/"][random.below(4)],
        };
      return { k: "path", v: random.below(PATHS.length) };
    case "n":
      if (random.below(12) === 0)
        return {
          k: "bigint",
          v: ["0", "4096", "-1", "9223372036854775807", "18446744073709551616"][random.below(5)],
        };
      return { k: "number", v: random.below(NUMBERS.length) };
    case "f":
      return { k: "flag", v: random.below(FLAGS.length) };
    case "d": {
      const size = [0, 1, 10, 4096, 5000, 70_000][random.below(6)];
      const k = ["buffer", "buffer", "view", "u32", "shared", "iterable", "text"][random.below(7)];
      return k === "text" ? { k: "text", v: "text ".repeat(random.below(200)) } : { k, v: size };
    }
    case "o": {
      if (random.below(4) === 0)
        return {
          k: "text",
          v: ["utf8", "buffer", "hex", "base64", "latin1", "bogus"][random.below(6)],
        };
      const options: Record<string, Argument> = {};
      for (let count = random.below(4); count > 0; count--) {
        const name = OPTIONS[random.below(OPTIONS.length)] as string;
        options[name] =
          random.below(2) === 0
            ? { k: "value", v: [true, false, "utf8", "buffer", 0o700, "w"][random.below(6)] }
            : depth > 1
              ? { k: "null", v: 0 }
              : someArgument(random, "npfd"[random.below(4)] as string, depth + 1);
      }
      return { k: "options", v: options };
    }
    default:
      return { k: "any", v: random.below(1 << 30) };
  }
}

let engine: FuzzEngine | undefined;

export const library: Target = {
  mutate(random: Prng): Field[] {
    const fields: Field[] = [];
    for (let index = 0; index < CALLS; index++) {
      const onHandle = index > 3 && random.below(3) === 0;
      const table = onHandle ? METHODS : FUNCTIONS;
      const names = Object.keys(table);
      // Handles come first, so that there are some.
      const call = index < 2 ? "open" : (names[random.below(names.length)] as string);
      const kinds = (table[call] as string).split("");
      const args = kinds.map((kind) => someArgument(random, kind));
      if (random.below(8) === 0) args.length = random.below(args.length + 1);
      if (index < 2 && random.below(4) > 0) {
        args[0] = {
          k: "path",
          v: PATHS.indexOf(["/dir/small", "/new", "/inline"][random.below(3)] as string),
        };
        args[1] = { k: "flag", v: [1, 3, 5, 6][random.below(4)] };
        args.length = 2;
      }
      fields.push({
        call,
        handle: onHandle ? random.below(HANDLES) : -1,
        args,
        wait: random.below(3) > 0,
      });
    }
    return fields;
  },

  mutants: (fields) => fields.length,

  async run(fields: readonly Field[]): Promise<string> {
    const owner = (engine ??= new FuzzEngine(48 << 20));
    owner.reset();
    const image = baseOf("everything").contents.clone();
    const device = owner.device(image);
    const mounted = owner.run(
      mountVolume(owner.environment, [device], { readOnly: false }),
      "mount",
    );
    const reactor = { close: () => {} } as unknown as PortableReactor;
    const volume = new OpenVolume(mounted, owner.core.bytes, { device, reactor });
    const promises = volume.promises as unknown as Record<string, (...args: unknown[]) => unknown>;
    const handles: Record<string, (...args: unknown[]) => unknown>[] = [];
    const pending: Promise<void>[] = [];
    let open = 0;
    let refused = 0;
    let fault: unknown = null;
    const start = (field: Field): void => {
      const name = String(field["call"]);
      const index = Number(field["handle"]);
      const args = (field["args"] as Argument[]).map(decode);
      const object = index < 0 ? promises : handles[index % Math.max(1, handles.length)];
      const method = object?.[name];
      if (method === undefined) return;
      open += 1;
      const ended = (async () => await method.apply(object, args))()
        .then((result) => {
          if (name === "open" && index < 0) handles.push(result as (typeof handles)[number]);
        })
        .catch((error: unknown) => {
          refused += 1;
          fault ??= problemOf(name, error);
        })
        .finally(() => {
          open -= 1;
        });
      pending.push(ended);
    };
    const settle = async (what: string): Promise<void> => {
      for (let round = 0; open > 0; round++) {
        if (round > ROUNDS_MAX) throw new Fault(`${what} never settles`);
        owner.drain();
        for (let count = 0; count < 4; count++) await null;
        if (round % 16 === 15) await new Promise(setImmediate);
      }
      owner.drain();
      owner.check();
      if (fault !== null) throw fault;
    };
    for (const field of fields) {
      start(field);
      if (field["wait"] === true) await settle(String(field["call"]));
    }
    await settle("what was called");
    open += 1;
    let failure: unknown = null;
    volume.close().then(
      () => {
        open -= 1;
      },
      (error) => {
        failure = error;
        open -= 1;
      },
    );
    await settle("close");
    if (failure !== null)
      throw failure instanceof FsError ? new Fault(`close: ${failure.message}`) : failure;
    const report = checkImage(image);
    if (!isWhole(report)) throw new Fault(`findings afterwards: ${findings(report)}`);
    return `${Math.round((refused / Math.max(1, fields.length)) * 4) * 25} % refused`;
  },
};

/** What is wrong with a rejection, or null. */
function problemOf(name: string, error: unknown): unknown {
  if (error instanceof Fault) return error;
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  if (typeof code === "string" && code !== "") return null;
  // An array as options has a filter() that takes no paths: what a caller's filter throws is the caller's.
  if (
    name === "cp" &&
    error instanceof TypeError &&
    /at filter \(<anonymous>\)/.test(error.stack ?? "")
  )
    return null;
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new Fault(`${name} rejects without a code: ${text}`, { cause: error });
}

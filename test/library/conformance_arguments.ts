/**
 * Wrong arguments: every function with values that are none, compared with Node by the error's name and code; texts of
 * some differ between versions of Node. Left out are values on which Node ends the process.
 */
import { Buffer } from "node:buffer";
import type { Case, FsPromises } from "./conformance.ts";

type Attempt = (fs: FsPromises, path: string) => Promise<unknown>;
type Table = Readonly<Record<string, (value: never) => Attempt>>;

const NO_PATHS: readonly unknown[] = [
  undefined,
  null,
  5,
  {},
  [],
  true,
  "a\0b",
  Buffer.from("a\0b"),
  1n,
];
const NO_NUMBERS: readonly unknown[] = [
  -2,
  Number.NaN,
  1.5,
  Infinity,
  "x",
  {},
  [],
  true,
  2 ** 53,
  5n,
];
const NO_OPTIONS: readonly unknown[] = [5, true, "x", 5n];
const NO_BOOLEANS: readonly unknown[] = [5, "x", {}, 5n];
const NO_DATA: readonly unknown[] = [undefined, null, 5, {}, true, 5n];

/** One path. */
const OF_PATHS =
  "open readFile truncate rm rmdir readdir opendir stat lstat statfs access unlink readlink realpath mkdir mkdtemp".split(
    " ",
  ) as (keyof FsPromises)[];
/** Two paths. */
const OF_TWO = ["rename", "link", "copyFile", "cp"] as (keyof FsPromises)[];

const NUMBERS: Table = {
  "truncate() length": (value) => (fs, path) => fs.truncate(path, value),
  "chown() uid": (value) => (fs, path) => fs.chown(path, value, 0),
  "lchown() gid": (value) => (fs, path) => fs.lchown(path, 0, value),
  "rm() maxRetries": (value) => (fs, path) =>
    fs.rm(`${path}-no`, { force: true, maxRetries: value }),
  "rm() retryDelay": (value) => (fs, path) =>
    fs.rm(`${path}-no`, { force: true, retryDelay: value }),
};
const OPTIONS: Table = {
  "readFile()": (value) => (fs, path) => fs.readFile(path, value),
  "writeFile()": (value) => (fs, path) => fs.writeFile(path, "x", value),
  "readdir()": (value) => (fs, path) => fs.readdir(`${path}/..`, value),
  "readlink()": (value) => (fs, path) => fs.readlink(path, value),
  "realpath()": (value) => (fs, path) => fs.realpath(path, value).then(() => {}),
  "rm()": (value) => (fs, path) => fs.rm(`${path}-no`, value),
  "cp()": (value) => (fs, path) => fs.cp(path, `${path}-2`, value),
};
const BOOLEANS: Table = {
  "writeFile() flush": (value) => (fs, path) => fs.writeFile(path, "x", { flush: value } as object),
  "mkdir() recursive": (value) => (fs, path) => fs.mkdir(`${path}-d`, { recursive: value }),
  "rm() force": (value) => (fs, path) => fs.rm(`${path}-no`, { force: value }),
  "rm() recursive": (value) => (fs, path) => fs.rm(path, { recursive: value }),
  "cp() recursive": (value) => (fs, path) => fs.cp(path, `${path}-2`, { recursive: value }),
};
const DATA: Table = {
  "writeFile()": (value) => (fs, path) => fs.writeFile(path, value),
  "appendFile()": (value) => (fs, path) => fs.appendFile(path, value),
};

async function outcome(attempt: Attempt, fs: FsPromises, path: string): Promise<string> {
  try {
    await attempt(fs, path);
    return "ok";
  } catch (error) {
    const { name, code } = error as { name: string; code?: string };
    return `${name} ${code}`;
  }
}

function casesOf(title: string, table: Table, values: readonly unknown[]): Case[] {
  return Object.entries(table).map(([name, attempt]) => ({
    name: `${name} with ${title}`,
    run: async (fs, dir) => {
      const seen: string[] = [];
      for (const value of values) {
        await fs.writeFile(`${dir}/file`, "data");
        seen.push(await outcome(attempt(value as never), fs, `${dir}/file`));
        await fs.rm(`${dir}/file-2`, { recursive: true, force: true });
      }
      return seen;
    },
  }));
}

type Any = (...args: unknown[]) => Promise<unknown>;
const call =
  (name: keyof FsPromises, ...args: unknown[]): Attempt =>
  (fs) =>
    (fs[name] as unknown as Any)(...args);

/** Cases for conformance.ts. */
export const argumentCases: readonly Case[] = [
  ...casesOf(
    "what is no path",
    Object.fromEntries(OF_PATHS.map((name) => [`${name}()`, (value: never) => call(name, value)])),
    NO_PATHS,
  ),
  ...casesOf(
    "what is no first path",
    Object.fromEntries(
      OF_TWO.map((name) => [
        `${name}()`,
        (value: never): Attempt =>
          (fs, path) =>
            call(name, value, `${path}-2`)(fs, path),
      ]),
    ),
    NO_PATHS,
  ),
  ...casesOf(
    "what is no second path",
    Object.fromEntries(
      [...OF_TWO, "symlink" as const].map((name) => [
        `${name}()`,
        (value: never): Attempt =>
          (fs, path) =>
            call(name, path, value)(fs, path),
      ]),
    ),
    NO_PATHS,
  ),
  ...casesOf("what is no such number", NUMBERS, NO_NUMBERS),
  ...casesOf("what are no options", OPTIONS, NO_OPTIONS),
  ...casesOf("what is no boolean", BOOLEANS, NO_BOOLEANS),
  ...casesOf("what is no data", DATA, NO_DATA),
];

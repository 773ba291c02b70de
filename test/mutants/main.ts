/**
 * Do the tests find bugs? Plants those of list.ts one at a time in a copy of the sources, builds it, and runs the tests that
 * are to catch it until one fails.
 */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { MUTANTS, type Mutant } from "./list.ts";

const TEST_SECONDS_MAX = 600;
/** A bug may make a test wait for ever: it has this time, and several times what it takes without a bug. */
const HANG_SECONDS = 60;
const HANG_FACTOR = 6;
const top = topDirectory(dirname(fileURLToPath(import.meta.url)));

function topDirectory(folder: string): string {
  return existsSync(join(folder, "tsconfig.json")) ? folder : topDirectory(dirname(folder));
}

/** A copy of the project that can be built and tested by itself. */
function copyProject(): string {
  const copy = mkdtempSync(join(tmpdir(), "dynamicfs-mutants-"));
  for (const name of ["package.json", "tsconfig.json", "assembly", "host", "test", "build"])
    cpSync(join(top, name), join(copy, name), { recursive: true });
  symlinkSync(join(top, "node_modules"), join(copy, "node_modules"));
  mkdirSync(join(copy, "tmp"));
  return copy;
}

/** Translates one file alone: each file is by itself, and what the mutation leaves unused is no matter here. */
function build(copy: string, file: string): void {
  const options = { noResolve: true, noCheck: true, types: [], rootDir: "." };
  const config = {
    extends: "./tsconfig.json",
    files: [file],
    include: [],
    compilerOptions: options,
  };
  writeFileSync(join(copy, "tsconfig.mutant.json"), JSON.stringify(config));
  const compiler = join(copy, "node_modules/.bin/tsc");
  spawnSync(compiler, ["-p", "tsconfig.mutant.json"], { cwd: copy, stdio: "ignore" });
}

type Outcome = "passed" | "failed" | "never ended";

function run(test: string, copy: string, secondsMax: number): Outcome {
  const { status, error } = spawnSync(process.execPath, [join("build/test", `${test}.test.js`)], {
    cwd: copy,
    stdio: "ignore",
    timeout: secondsMax * 1000,
    killSignal: "SIGKILL",
    env: {
      ...process.env,
      TAP_BAIL: "1",
      TAP_TIMEOUT: String(TEST_SECONDS_MAX),
      TMPDIR: join(copy, "tmp"),
    },
  });
  if (status !== 0) unmountAll(join(copy, "tmp"));
  if (error !== undefined) return "never ended";
  return status === 0 ? "passed" : "failed";
}

/** A test that ends at its first failure leaves behind what it mounted, and with it a daemon. */
function unmountAll(folder: string): void {
  const list = "/proc/self/mounts";
  if (!existsSync(list)) return;
  const points = readFileSync(list, "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((point) => point.startsWith(`${folder}/`));
  for (const point of points.reverse()) spawnSync("umount", ["-l", point], { stdio: "ignore" });
}

/** For how many seconds a test may run; each is run without a bug before it is first used. */
class Limits {
  readonly #copy: string;
  readonly #seconds = new Map<string, number>();
  /** What all these runs have taken. */
  spentMs = 0;

  constructor(copy: string) {
    this.#copy = copy;
  }

  /** @throws {Error} When the test fails without a bug: then it says nothing. */
  of(test: string): number {
    const known = this.#seconds.get(test);
    if (known !== undefined) return known;
    const startMs = performance.now();
    if (run(test, this.#copy, TEST_SECONDS_MAX) !== "passed")
      throw new Error(`${test} fails, although nothing was planted`);
    const seconds = (performance.now() - startMs) / 1000;
    this.spentMs += seconds * 1000;
    process.stderr.write(`${test} passes as it is, ${Math.round(seconds)} s\n`);
    const limit = Math.ceil(Math.min(TEST_SECONDS_MAX, HANG_SECONDS + HANG_FACTOR * seconds));
    this.#seconds.set(test, limit);
    return limit;
  }
}

/**
 * @returns The test that failed, and how; null when all passed.
 * @throws {Error} When the bug did not get into what is run.
 */
function catcherOf(mutant: Mutant, copy: string, limits: Limits): string | null {
  const path = join(copy, mutant.file);
  const builtPath = join(copy, "build", mutant.file.replace(/\.ts$/, ".js"));
  const source = readFileSync(path, "utf8");
  const sound = readFileSync(builtPath, "utf8");
  writeFileSync(path, plant(mutant, source));
  build(copy, mutant.file);
  writeFileSync(path, source);
  const planted = readFileSync(builtPath, "utf8");
  writeFileSync(builtPath, sound);
  if (planted === sound) throw new Error(`"${mutant.name}": it cannot be built, or does nothing`);
  for (const test of mutant.tests) {
    const limit = limits.of(test);
    writeFileSync(builtPath, planted);
    const outcome = run(test, copy, limit);
    writeFileSync(builtPath, sound);
    if (outcome !== "passed") return outcome === "failed" ? test : `${test} (${outcome})`;
  }
  return null;
}

/** @throws {Error} When the text is not there, or more than once. */
export function plant(mutant: Mutant, source: string): string {
  const parts = source.split(mutant.find);
  if (parts.length === 2) return parts.join(mutant.replace);
  throw new Error(`"${mutant.name}": its text is ${parts.length - 1} times in ${mutant.file}`);
}

const HELP = `npm run mutants -- [WORD…]
  Plants bugs in a copy of the sources, one at a time, and says which test catches each. Exit code 1 when one survives,
  2 for wrong words.
  WORD…   Only those whose names contain one of the words: replay clone`;

function main(words: readonly string[]): number {
  if (words.includes("--help") || words.includes("-h")) {
    process.stdout.write(`${HELP}\n`);
    return 0;
  }
  const chosen = MUTANTS.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
  );
  if (chosen.length === 0) {
    process.stderr.write(`no bug has ${words.join(" or ")} in its name\n`);
    return 2;
  }
  const copy = copyProject();
  const survivors: string[] = [];
  try {
    const limits = new Limits(copy);
    const startMs = performance.now();
    for (const [index, mutant] of chosen.entries()) {
      const beganMs = performance.now() - limits.spentMs;
      const catcher = catcherOf(mutant, copy, limits);
      const nowMs = performance.now();
      if (catcher === null) survivors.push(mutant.name);
      const seconds = Math.round((nowMs - limits.spentMs - beganMs) / 1000);
      const left = ((nowMs - startMs) / (index + 1)) * (chosen.length - index - 1);
      const minutes = Math.ceil(left / 60_000);
      process.stdout.write(
        `${catcher === null ? "SURVIVED" : "caught  "} ${mutant.name}: ${catcher ?? mutant.tests.join(", ")}, ${seconds} s\n`,
      );
      process.stderr.write(`${index + 1} of ${chosen.length}, about ${minutes} min left\n`);
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  process.stdout.write(
    `\n${chosen.length - survivors.length} of ${chosen.length} bugs were caught\n`,
  );
  return survivors.length > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  process.exitCode = main(process.argv.slice(2));

/**
 * Do the tests find bugs? Plants those of list.ts one at a time in a copy of the sources, builds it, and runs the tests that
 * are to catch it until one fails. Exit code 1 when one survives.
 *
 *   npm run mutants                     all
 *   npm run mutants -- replay clone     those whose names contain one of the words
 */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
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
  return copy;
}

function build(copy: string): void {
  // What the mutation leaves unused is no matter here.
  const compiler = join(copy, "node_modules/.bin/tsc");
  spawnSync(compiler, ["-p", "tsconfig.json", "--noCheck"], { cwd: copy, stdio: "ignore" });
}

function passes(test: string, copy: string): boolean {
  const { status } = spawnSync(process.execPath, [join("build/test", `${test}.test.js`)], {
    cwd: copy,
    stdio: "ignore",
    timeout: TEST_SECONDS_MAX * 1000,
    killSignal: "SIGKILL",
    env: { ...process.env, TAP_BAIL: "1" },
  });
  return status === 0;
}

/** @throws {Error} When a test fails without a bug: then it says nothing. */
function checkSound(mutants: readonly Mutant[], copy: string): void {
  for (const test of new Set(mutants.flatMap(({ tests }) => tests))) {
    if (!passes(test, copy)) throw new Error(`${test} fails, although nothing was planted`);
    process.stderr.write(`${test} passes as it is\n`);
  }
}

/** @returns The test that failed, or null when all passed. */
function catcherOf(mutant: Mutant, copy: string): string | null {
  return mutant.tests.find((test) => !passes(test, copy)) ?? null;
}

/** @throws {Error} When the text is not there, or more than once. */
export function plant(mutant: Mutant, source: string): string {
  const parts = source.split(mutant.find);
  if (parts.length === 2) return parts.join(mutant.replace);
  throw new Error(`"${mutant.name}": its text is ${parts.length - 1} times in ${mutant.file}`);
}

function main(words: readonly string[]): number {
  const chosen = MUTANTS.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
  );
  const copy = copyProject();
  const survivors: string[] = [];
  try {
    checkSound(chosen, copy);
    const startMs = performance.now();
    for (const [index, mutant] of chosen.entries()) {
      const path = join(copy, mutant.file);
      const source = readFileSync(path, "utf8");
      writeFileSync(path, plant(mutant, source));
      build(copy);
      const beganMs = performance.now();
      const catcher = catcherOf(mutant, copy);
      const nowMs = performance.now();
      writeFileSync(path, source);
      if (catcher === null) survivors.push(mutant.name);
      const seconds = Math.round((nowMs - beganMs) / 1000);
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
  return survivors.length > 0 || chosen.length === 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  process.exitCode = main(process.argv.slice(2));

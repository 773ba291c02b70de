/**
 * Runs test files and ends with one line, `N passed, N failed`. Each file runs in a process of its own (tap prints TAP
 * when it is run by node), at most two at a time; a file that prints no result, dies or takes too long has failed.
 *
 *   node build/test/support/run.js [KIND | KIND/SUBJECT …]      all kinds but bench, fuzz and programs by default
 *
 * Counted are test points at the leaves; the summary of a subtest is not counted again. Skipped ones are listed with
 * their reasons and are neither passed nor failed.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { TapCounter } from "./tap_counter.ts";

const TESTS = join(dirname(fileURLToPath(import.meta.url)), "..");
const NOT_TESTS = ["bench", "fuzz", "support"];
/** Run only when asked for: they take long, and install what they need. */
const ON_REQUEST = ["programs"];
const FILE_MS_MAX = Number(process.env["TEST_TIMEOUT_S"] ?? 900) * 1000;
const JOBS = Math.max(1, Math.min(2, availableParallelism()));
const OUTPUT_BYTES_SHOWN = 16_000;

interface Outcome {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  readonly skips: readonly string[];
  readonly failures: readonly string[];
  /** The end of what it printed, for a file that failed. */
  readonly output: string;
  readonly seconds: number;
}

function testFiles(wanted: readonly string[]): string[] {
  return readdirSync(TESTS, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".test.js"))
    .filter((file) => !NOT_TESTS.includes(file.split("/")[0] ?? ""))
    .filter((file) =>
      wanted.length === 0
        ? !ON_REQUEST.includes(file.split("/")[0] ?? "")
        : wanted.some((prefix) => file.startsWith(prefix)),
    )
    .sort();
}

function runFile(file: string): Promise<Outcome> {
  const startMs = performance.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--enable-source-maps", join(TESTS, file)], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TAP: "1" },
    });
    const counter = new TapCounter();
    let tail = "";
    let timedOut = false;
    const keep = (text: string): void => {
      tail = (tail + text).slice(-OUTPUT_BYTES_SHOWN);
    };
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, FILE_MS_MAX);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      counter.push(text);
      keep(text);
    });
    child.stderr.setEncoding("utf8").on("data", keep);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      counter.end();
      const failures = [...counter.failures];
      if (timedOut) failures.push(`took longer than ${FILE_MS_MAX / 1000} s`);
      else if (signal !== null) failures.push(`killed by ${signal}`);
      else if (code !== 0 && failures.length === 0) failures.push(`exit code ${code}`);
      else if (counter.passed + counter.skips.length === 0 && failures.length === 0) {
        failures.push("no test ran");
      }
      resolve({
        file,
        passed: counter.passed,
        failed: failures.length,
        skips: counter.skips,
        failures,
        output: tail,
        seconds: (performance.now() - startMs) / 1000,
      });
    });
  });
}

const files = testFiles(process.argv.slice(2));
const outcomes: Outcome[] = [];
const queue = [...files];
await Promise.all(
  Array.from({ length: JOBS }, async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const outcome = await runFile(file);
      outcomes.push(outcome);
      const verdict = outcome.failed === 0 ? "ok    " : "FAILED";
      const skipped = outcome.skips.length === 0 ? "" : `, ${outcome.skips.length} skipped`;
      console.log(
        `${verdict} ${file} (${outcome.passed} passed${skipped}, ${outcome.seconds.toFixed(1)} s)`,
      );
    }
  }),
);

for (const { file, failures, output } of outcomes) {
  if (failures.length === 0) continue;
  console.log(`\n--- ${relative(".", join(TESTS, file))}`);
  console.log(output);
  for (const failure of failures) console.log(`failed: ${failure}`);
}
const skips = outcomes.flatMap(({ file, skips: each }) => each.map((skip) => `${file}: ${skip}`));
if (skips.length > 0) {
  console.log("\nskipped:");
  for (const skip of skips) console.log(`  ${skip}`);
}
const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
const failed = outcomes.reduce((sum, outcome) => sum + outcome.failed, 0);
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

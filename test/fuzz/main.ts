/**
 * Runs a campaign of hostile input; HELP says how. Mutants are made from the seeds N, N + 1 and so on: an image each, or
 * some messages or calls on one volume. So a campaign can be cut in pieces and gone on with. What fails is written to a
 * file with its seed, reduced to the fields that it needs.
 *
 * Progress goes to stderr once in a while, what was found and what was reached to stdout at the end.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Prng } from "../../host/base/prng.ts";
import { countOf, readFlags, refuse } from "../support/script_flags.ts";
import { shrink, TARGETS } from "./campaign.ts";
import type { Field, Target } from "./target.ts";

const PROGRESS_MS = 10_000;

const HELP = `npm run fuzz -- [FLAGS]
  Hostile images, messages and calls: each has to end with a clear error or a working volume, within bounds of time
  and memory. Exit code 1 when one does not, 2 for wrong flags.
  --target NAME,…   Of ${Object.keys(TARGETS).join(", ")} (default all)
  --count N         Mutants of each target (default 1000)
  --seed N          The first seed (default 1); then N + 1 …
  --failures N      Ends a campaign after so many different ones (default 20)
  --out DIR         Where failures are written (default build/fuzz)
  --replay FILE     Runs one of them again`;

const values = readFlags(HELP, {
  target: { type: "string", default: Object.keys(TARGETS).join(",") },
  seed: { type: "string", default: "1" },
  count: { type: "string", default: "1000" },
  out: { type: "string", default: "build/fuzz" },
  failures: { type: "string", default: "20" },
  replay: { type: "string" },
});
const firstSeed = countOf("--seed", values.seed);
const count = countOf("--count", values.count, 1);
const failuresMax = countOf("--failures", values.failures, 1);
const targets = values.target.split(",");
for (const name of targets) {
  if (!(name in TARGETS))
    refuse(`--target: no target ${name}; there are ${Object.keys(TARGETS).join(", ")}`);
}

function nameOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return (text.split("\n")[0] as string).replace(/\d+/g, "N").slice(0, 160);
}

function duration(seconds: number): string {
  return seconds < 90 ? `${seconds.toFixed(0)} s` : `${(seconds / 60).toFixed(1)} min`;
}

async function campaign(name: string): Promise<void> {
  const target = TARGETS[name] as Target;
  const outcomes = new Map<string, number>();
  const failures = new Map<string, number>();
  const start = performance.now();
  let shown = start;
  let done = 0;
  let seed = firstSeed;
  for (; done < count && failures.size < failuresMax; seed += 1) {
    const fields = target.mutate(new Prng(seed));
    done += target.mutants?.(fields) ?? 1;
    try {
      const outcome = await target.run(fields);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } catch (error) {
      const failure = nameOf(error);
      const seen = failures.get(failure) ?? 0;
      failures.set(failure, seen + 1);
      if (seen === 0) {
        const small = await shrink(target, fields, (other) => nameOf(other) === failure);
        mkdirSync(values.out, { recursive: true });
        const file = join(values.out, `${name}-${seed}.json`);
        writeFileSync(file, `${JSON.stringify({ target: name, seed, failure, fields: small })}\n`);
        console.error(`${name}: seed ${seed}: ${failure}\n  --replay ${file}`);
      }
    }
    const now = performance.now();
    if (now - shown > PROGRESS_MS) {
      shown = now;
      const rate = done / ((now - start) / 1000);
      const left = duration(Math.max(0, count - done) / rate);
      const rss = Math.round(process.memoryUsage.rss() / 2 ** 20);
      console.error(
        `${name}: ${done} of ${count}, seed ${seed}, ${rate.toFixed(0)}/s, ${left} left, ${failures.size} failures, ${rss} MiB`,
      );
    }
  }
  const seconds = (performance.now() - start) / 1000;
  const rss = Math.round(process.resourceUsage().maxRSS / 1024);
  console.log(
    `${name}: ${done} mutants, seeds ${firstSeed} to ${seed - 1}, ${duration(seconds)}, ` +
      `${[...failures.values()].reduce((sum, n) => sum + n, 0)} failed, ${outcomes.size} kinds of outcome, at most ${rss} MiB`,
  );
  for (const [failure, times] of failures) console.log(`  ${times} × ${failure}`);
  const top = [...outcomes].sort((a, b) => b[1] - a[1]).slice(0, 25);
  for (const [outcome, times] of top) console.log(`  ${String(times).padStart(8)}  ${outcome}`);
  if (failures.size > 0) process.exitCode = 1;
}

if (values.replay !== undefined) {
  const { target: name, fields } = JSON.parse(readFileSync(values.replay, "utf8")) as {
    target: string;
    fields: Field[];
  };
  console.log(await TARGETS[name]?.run(fields));
} else {
  for (const name of targets) await campaign(name);
}

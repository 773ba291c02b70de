/**
 * Every sequence of up to N operations, crashed at every persistence point: see small_scope.ts.
 * HELP says how. Progress, with an estimate, goes to stderr.
 */
import { type ChildProcess, fork } from "node:child_process";
import { availableParallelism } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { countOf, readFlags, refuse } from "../support/script_flags.ts";
import {
  ALPHABETS,
  type Alphabet,
  type Counts,
  SmallScope,
  sequences,
} from "../support/small_scope.ts";

const FAILURES_SHOWN = 10;
const PROGRESS_MS = 5000;

/** What a job tells its parent. */
type Message =
  | { readonly kind: "progress"; readonly done: number; readonly counts: Counts }
  | { readonly kind: "failure"; readonly text: string };

interface Portion {
  readonly length: number;
  readonly alphabet: Alphabet;
  /** Sequences of this length that are wanted, evenly spread. */
  readonly limit: number;
  readonly part: number;
  readonly parts: number;
}

/** Runs one job's portion. */
function runPortion(portion: Portion, say: (message: Message) => void): void {
  const { length, alphabet, part, parts } = portion;
  let total = 0;
  for (const _ of sequences(length, alphabet)) total += 1;
  const wanted = Math.min(total, portion.limit);
  const scope = new SmallScope();
  let shown = performance.now();
  let [index, taken, done] = [0, 0, 0];
  for (const sequence of sequences(length, alphabet)) {
    // The nth of those wanted is the one at n / wanted of the way.
    const isWanted = Math.floor((index * wanted) / total) >= taken;
    index += 1;
    if (!isWanted) continue;
    taken += 1;
    if ((taken - 1) % parts !== part) continue;
    const text = scope.run(sequence);
    if (text !== null) say({ kind: "failure", text });
    done += 1;
    const now = performance.now();
    if (now - shown < PROGRESS_MS) continue;
    shown = now;
    say({ kind: "progress", done, counts: scope.counts });
  }
  say({ kind: "progress", done, counts: scope.counts });
}

/** Runs a length in several processes. @returns What they found together. */
async function runLength(
  length: number,
  alphabet: Alphabet,
  limit: number,
  part: number,
  parts: number,
  jobs: number,
): Promise<Counts & { length: number; alphabet: Alphabet; seconds: number }> {
  let total = 0;
  for (const _ of sequences(length, alphabet)) total += 1;
  const mine = Math.ceil((Math.min(total, limit) - part) / parts);
  const start = performance.now();
  const reached: { done: number; counts: Counts }[] = [];
  let failures = 0;
  let shown = start;
  const sum = (of: (job: { done: number; counts: Counts }) => number): number =>
    reached.reduce((all, job) => all + of(job), 0);
  const hear = (job: number, message: Message): void => {
    if (message.kind === "failure") {
      failures += 1;
      if (failures <= FAILURES_SHOWN) console.error(`FAILED: ${message.text}`);
      return;
    }
    reached[job] = { done: message.done, counts: { ...message.counts } };
    const now = performance.now();
    const done = sum((each) => each.done);
    if (now - shown < PROGRESS_MS || done === 0) return;
    shown = now;
    const left = Math.ceil((((now - start) / done) * (mine - done)) / 1000);
    console.error(
      `length ${length}: ${done} of ${mine} sequences, ${sum((each) => each.counts.recoveries)} recoveries, ` +
        `${failures} failures, about ${left < 120 ? `${left} s` : `${Math.ceil(left / 60)} min`} left`,
    );
  };
  const portions = Array.from({ length: jobs }, (_, job) => ({
    length,
    alphabet,
    // JSON has no infinity.
    limit: Math.min(limit, Number.MAX_SAFE_INTEGER),
    part: part + parts * job,
    parts: parts * jobs,
  }));
  if (jobs === 1) runPortion(portions[0] as Portion, (message) => hear(0, message));
  else
    await Promise.all(portions.map((portion, job) => runJob(portion, (each) => hear(job, each))));
  const counts: Counts = { sequences: 0, points: 0, images: 0, recoveries: 0, audits: 0, failures };
  for (const { counts: each } of reached)
    for (const name of ["sequences", "points", "images", "recoveries", "audits"] as const)
      counts[name] += each[name];
  return { length, alphabet, ...counts, seconds: (performance.now() - start) / 1000 };
}

function runJob(portion: Portion, hear: (message: Message) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const job: ChildProcess = fork(fileURLToPath(import.meta.url), [
      "--job",
      JSON.stringify(portion),
    ]);
    job.on("message", (message) => hear(message as Message));
    job.on("error", reject);
    job.on("exit", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`a job ended with ${code}`));
    });
  });
}

const HELP = `npm run sim:exhaustive -- [FLAGS]
  Every sequence of a few operations, power lost at each point where that could matter, each image recovered and
  compared with the model. Exit code 1 when anything is wrong, 2 for wrong flags.
  --length N        The longest sequences (default 2)
  --from N          The shortest (default 1)
  --alphabet NAME   Of ${ALPHABETS.join(", ")} (default full up to length 2, small for longer ones)
  --limit COUNT     So many sequences of each length, evenly spread (default all)
  --part I/K        Each Kth, from the Ith
  --jobs N          Processes (default one for each processor)
  --json            One JSON document
  --only "append A/f; rename A/f B/x"
                    That sequence: what is printed of a failure`;

const values = readFlags(HELP, {
  length: { type: "string", default: "2" },
  from: { type: "string", default: "1" },
  limit: { type: "string" },
  alphabet: { type: "string" },
  part: { type: "string", default: "0/1" },
  jobs: { type: "string", default: String(availableParallelism()) },
  only: { type: "string" },
  json: { type: "boolean", default: false },
  /** For jobs: what is theirs. */
  job: { type: "string" },
});

if (values.job !== undefined) {
  runPortion(JSON.parse(values.job) as Portion, (message) => process.send?.(message));
} else if (values.only !== undefined) {
  const scope = new SmallScope();
  const failure = scope.run(values.only.split(";").map((operation) => operation.trim()));
  if (failure !== null) process.exitCode = 1;
  const { points, recoveries } = scope.counts;
  console.log(failure ?? `no fault: ${points} points, ${recoveries} recoveries`);
} else {
  const longest = countOf("--length", values.length, 1);
  const from = countOf("--from", values.from, 1);
  const limit =
    values.limit === undefined ? Number.POSITIVE_INFINITY : countOf("--limit", values.limit, 1);
  const jobs = countOf("--jobs", values.jobs, 1);
  const [part = -1, parts = 0] = values.part.split("/").map(Number);
  if (!(part >= 0 && part < parts)) refuse(`--part is I/K, with I below K, not ${values.part}`);
  const { alphabet } = values;
  if (alphabet !== undefined && !ALPHABETS.includes(alphabet as Alphabet))
    refuse(`--alphabet is one of ${ALPHABETS.join(", ")}, not ${alphabet}`);
  const results: unknown[] = [];
  for (let length = from; length <= longest; length++) {
    const chosen = (alphabet ?? (length < 3 ? "full" : "small")) as Alphabet;
    const result = await runLength(length, chosen, limit, part, parts, jobs);
    if (result.failures > 0) process.exitCode = 1;
    results.push(result);
    if (values.json) continue;
    console.log(
      `length ${length}, ${chosen} alphabet: ${result.sequences} sequences, ${result.points} persistence points, ` +
        `${result.images} images, ${result.recoveries} recoveries, ${result.failures} failures, ${result.seconds.toFixed(0)} s`,
    );
  }
  if (values.json) console.log(JSON.stringify(results));
}

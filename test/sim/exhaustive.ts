/**
 * Every sequence of up to N operations, crashed at every persistence point: see small_scope.ts.
 *
 *   node build/test/sim/exhaustive.js [--length N] [--limit M] [--alphabet full|reduced] [--part I/K] [--only SEQUENCE]
 *
 * Lengths 1 and 2 take the full alphabet and longer ones the reduced one, if it is not said. With a limit M sequences
 * of each length are taken, evenly spread; a part takes each Kth. Exit code 1 when anything is wrong; what is printed of
 * a failure goes to `--only` to show it again.
 */
import { parseArgs } from "node:util";
import { type Alphabet, SmallScope, sequences } from "../support/small_scope.ts";

const FAILURES_SHOWN = 10;
const PROGRESS_MS = 5000;

const { values } = parseArgs({
  options: {
    length: { type: "string", default: "2" },
    /** The shortest. */
    from: { type: "string", default: "1" },
    limit: { type: "string", default: "Infinity" },
    alphabet: { type: "string" },
    part: { type: "string", default: "0/1" },
    only: { type: "string" },
  },
});
const limit = Number(values.limit);
const [part = 0, parts = 1] = values.part.split("/").map(Number);
const scope = new SmallScope();

function report(failure: string | null): void {
  if (failure === null) return;
  process.exitCode = 1;
  if (scope.counts.failures <= FAILURES_SHOWN) console.log(`FAILED: ${failure}`);
}

function runLength(length: number): void {
  const alphabet = (values.alphabet ?? (length < 3 ? "full" : "reduced")) as Alphabet;
  let total = 0;
  for (const _ of sequences(length, alphabet)) total += 1;
  const wanted = Math.min(total, limit);
  const mine = Math.ceil((wanted - part) / parts);
  const start = performance.now();
  const before = { ...scope.counts };
  let shown = start;
  let index = 0;
  let taken = 0;
  let done = 0;
  for (const sequence of sequences(length, alphabet)) {
    // The nth of those wanted is the one at n / wanted of the way.
    const isWanted = Math.floor((index * wanted) / total) >= taken;
    index += 1;
    if (!isWanted) continue;
    taken += 1;
    if ((taken - 1) % parts !== part) continue;
    report(scope.run(sequence));
    done += 1;
    const now = performance.now();
    if (now - shown < PROGRESS_MS) continue;
    shown = now;
    const left = ((now - start) / done) * (mine - done);
    console.error(
      `length ${length}: ${done} of ${mine} sequences, ${scope.counts.recoveries} recoveries, ` +
        `${scope.counts.failures} failures, ${Math.ceil(left / 1000)} s left`,
    );
  }
  const { counts } = scope;
  console.log(
    `length ${length}, ${alphabet} alphabet: ${done} of ${total} sequences, ` +
      `${counts.points - before.points} persistence points, ${counts.images - before.images} images, ` +
      `${counts.recoveries - before.recoveries} recoveries, ${counts.failures - before.failures} failures, ` +
      `${((performance.now() - start) / 1000).toFixed(1)} s`,
  );
}

if (values.only !== undefined) {
  report(scope.run(values.only.split(";").map((operation) => operation.trim())));
  if (scope.counts.failures === 0)
    console.log(`no fault: ${scope.counts.points} points, ${scope.counts.recoveries} recoveries`);
} else {
  for (let length = Number(values.from); length <= Number(values.length); length++)
    runLength(length);
}

/**
 * Loses power many times: `npm run sim -- [--seed N] [--cuts M] [--cut K]`. Runs with the seeds N, N + 1 … until M cuts
 * have been recovered from; a failure prints the seed and the cut that show it again.
 */
import { parseArgs } from "node:util";
import { SimulationFailure, simulate } from "../support/simulation.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    cuts: { type: "string", default: "5000" },
    /** Cuts of one seed, before the next. */
    each: { type: "string", default: "1000" },
    cut: { type: "string" },
    /** Goes on with the next seed after a failure. */
    all: { type: "boolean", default: false },
  },
});
const firstSeed = Number(values.seed);
const cuts = Number(values.cuts);
const each = Number(values.each);

try {
  if (values.cut !== undefined) {
    const result = simulate({ seed: firstSeed, cuts: 1, only: Number(values.cut) });
    console.log(`seed ${firstSeed}, cut ${values.cut}: no fault (${result.cuts} checked)`);
  } else {
    const start = performance.now();
    let done = 0;
    let seed = firstSeed;
    for (; done < cuts; seed += 1) {
      try {
        const result = simulate({ seed, cuts: Math.min(each, cuts - done) });
        done += result.cuts;
        const seconds = ((performance.now() - start) / 1000).toFixed(1);
        console.log(
          `seed ${seed}: ${result.cuts} cuts, ${result.nestedCuts} during recovery, ${result.operations} operations, ` +
            `${result.replayed} transactions replayed; ${done} cuts in ${seconds} s`,
        );
      } catch (error) {
        if (!(error instanceof SimulationFailure) || !values.all) throw error;
        console.error(`seed ${seed}: ${error.message.split("\n").slice(0, 6).join("\n  ")}`);
        process.exitCode = 1;
        done += 1;
      }
    }
  }
} catch (error) {
  console.error(error instanceof SimulationFailure ? error.message : error);
  process.exitCode = 1;
}

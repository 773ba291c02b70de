/**
 * Runs the simulation: `npm run sim -- [--seed N] [--steps M | --cuts M]`.
 *
 * - `--steps M` (the default, 100,000): lives of volumes with every fault, until M operations have been done. Runs seeds
 *   N, N + 1 …, `--each` operations of each. Ends with what was reached; from 60,000 operations on, an operation, state or
 *   fault that was not is an error. `--json` prints it as JSON.
 * - `--cuts M`: loses power at every event of the device, and of nothing else, until M losses have been recovered from.
 *   `--cut K` tries only one of a seed.
 * - `--replay FILE`: runs a plan that was kept.
 *
 * A seed that fails is shrunk, and printed as a plan for `--replay`; `--save FOLDER` writes it there, `--no-shrink` leaves
 * it as it is, `--all` goes on with the next seed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { COMPLETE_FROM, Coverage } from "../support/sim_coverage.ts";
import { countSteps, type Plan, planCuts, planFaults, shrink } from "../support/sim_plan.ts";
import { runPlan, SimulationFailure, type SimulationResult } from "../support/simulation.ts";

/** Operations of each life, and lives, of a seed with cuts. */
const CUT_OPERATIONS = 150;
const CUT_LIVES = 3;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    steps: { type: "string", default: "100000" },
    cuts: { type: "string" },
    /** Operations, or cuts, of one seed before the next. */
    each: { type: "string" },
    cut: { type: "string" },
    replay: { type: "string" },
    json: { type: "boolean", default: false },
    all: { type: "boolean", default: false },
    save: { type: "string" },
    "no-shrink": { type: "boolean", default: false },
    /** Runs of a failing plan at most, to make it shorter. */
    tries: { type: "string", default: "400" },
  },
});

const say = values.json ? console.error : console.log;
const coverage = new Coverage();
const totals = { seeds: 0, operations: 0, cuts: 0, nestedCuts: 0, events: 0, replayed: 0 };
const start = performance.now();
let failures = 0;

function runOne(name: string, plan: Plan, cuts: number): SimulationResult | null {
  try {
    const result = runPlan(plan, { cuts });
    totals.seeds += 1;
    totals.operations += result.operations;
    totals.cuts += result.cuts;
    totals.nestedCuts += result.nestedCuts;
    totals.events += result.events;
    totals.replayed += result.replayed;
    coverage.merge(result.coverage);
    const seconds = (performance.now() - start) / 1000;
    say(
      `${name}: ${result.operations} operations, ${result.cuts} cuts, ${result.nestedCuts} during recovery, ` +
        `${result.replayed} transactions replayed; ${totals.operations} operations, ${totals.cuts} cuts in ${seconds.toFixed(1)} s`,
    );
    return result;
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error;
    failures += 1;
    process.exitCode = 1;
    console.error(`${name}: ${error.message}`);
    if (!values["no-shrink"]) report(name, shorter(plan, cuts, error.signature));
    if (!values.all) process.exit(1);
    return null;
  }
}

function shorter(plan: Plan, cuts: number, signature: string): Plan {
  const fails = (candidate: Plan): boolean => {
    try {
      runPlan(candidate, { cuts });
      return false;
    } catch (error) {
      return error instanceof SimulationFailure && error.signature === signature;
    }
  };
  const short = shrink(plan, fails, Number(values.tries));
  console.error(`shrunk from ${countSteps(plan)} to ${countSteps(short)} steps`);
  return short;
}

function report(name: string, plan: Plan): void {
  const text = `${JSON.stringify(plan)}\n`;
  console.error(`replay with --replay FILE of:\n${text}`);
  if (values.save === undefined) return;
  writeFileSync(join(values.save, `${name.replaceAll(" ", "-")}.json`), text);
}

const seed = Number(values.seed);
if (values.replay !== undefined) {
  runOne(
    values.replay,
    JSON.parse(readFileSync(values.replay, "utf8")) as Plan,
    Number.POSITIVE_INFINITY,
  );
} else if (values.cut !== undefined) {
  const plan = planCuts(seed, CUT_OPERATIONS, CUT_LIVES);
  const result = runPlan(plan, { cuts: 1, only: Number(values.cut) });
  say(`seed ${seed}, cut ${values.cut}: no fault (${result.cuts} checked)`);
} else if (values.cuts !== undefined) {
  const cuts = Number(values.cuts);
  const each = Number(values.each ?? "1000");
  for (let at = seed; totals.cuts < cuts; at++)
    runOne(
      `seed ${at}`,
      planCuts(at, CUT_OPERATIONS, CUT_LIVES),
      Math.min(each, cuts - totals.cuts),
    );
} else {
  const operations = Number(values.steps);
  const each = Number(values.each ?? "5000");
  let planned = 0;
  for (let at = seed; planned < operations; at++) {
    const count = Math.min(each, operations - planned);
    planned += count;
    runOne(`seed ${at}`, planFaults(at, count), Number.POSITIVE_INFINITY);
  }
  if (values.json) console.log(JSON.stringify({ totals, failures, coverage }));
  else console.log(`\n${coverage.text()}`);
  const missing = operations >= COMPLETE_FROM ? coverage.missing() : [];
  if (missing.length > 0) {
    console.error(`\nnever reached: ${missing.join(", ")}`);
    process.exitCode = 1;
  }
}

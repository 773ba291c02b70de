/**
 * Runs the simulation: lives of volumes with every fault, or one loss of power at each event. HELP says how.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { countOf, readFlags } from "../support/script_flags.ts";
import { COMPLETE_FROM, Coverage } from "../support/sim_coverage.ts";
import { countSteps, type Plan, planCuts, planFaults, shrink } from "../support/sim_plan.ts";
import { runPlan, SimulationFailure, type SimulationResult } from "../support/simulation.ts";

/** Operations of each life, and lives, of a seed with cuts. */
const CUT_OPERATIONS = 150;
const CUT_LIVES = 3;
/** Of one seed before the next. */
const CUTS_EACH = 1000;
const STEPS_EACH = 5000;

const HELP = `npm run sim -- [FLAGS]
  The whole engine on simulated disks, beside a model. Exit code 1 when anything is wrong, 2 for wrong flags.
  --steps M        Lives of volumes with every fault, until M operations have been done (default 100000).
                   Ends with what was reached; from ${COMPLETE_FROM.toLocaleString("en-US")} operations on, an operation, state or
                   fault that was not is an error
  --cuts M         Loses power at every event of the device, and of nothing else, until M losses have been
                   recovered from
  --cut K          Only one of a seed's losses
  --replay FILE    A plan that was kept
  --seed N         The first seed (default from the clock); then N + 1 …
  --each N         Operations, or losses, of one seed before the next (default 5000, or 1000)
  --json           What was reached, as JSON
A seed that fails is shrunk, and printed as a plan for --replay.
  --save DIR       Writes it there
  --no-shrink      Leaves it as it is
  --tries N        Runs at most, to make it shorter (default 400)
  --all            Goes on with the next seed`;

const values = readFlags(HELP, {
  seed: { type: "string", default: String(Date.now() % 1_000_000) },
  steps: { type: "string", default: "100000" },
  cuts: { type: "string" },
  each: { type: "string" },
  cut: { type: "string" },
  replay: { type: "string" },
  json: { type: "boolean", default: false },
  all: { type: "boolean", default: false },
  save: { type: "string" },
  "no-shrink": { type: "boolean", default: false },
  tries: { type: "string", default: "400" },
});
const seed = countOf("--seed", values.seed);
const steps = countOf("--steps", values.steps, 1);
const tries = countOf("--tries", values.tries);
const each = values.each === undefined ? null : countOf("--each", values.each, 1);
const cut = values.cut === undefined ? null : countOf("--cut", values.cut);
const cuts = values.cuts === undefined ? null : countOf("--cuts", values.cuts, 1);

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
  const short = shrink(plan, fails, tries);
  console.error(`shrunk from ${countSteps(plan)} to ${countSteps(short)} steps`);
  return short;
}

function report(name: string, plan: Plan): void {
  const text = `${JSON.stringify(plan)}\n`;
  console.error(`replay with --replay FILE of:\n${text}`);
  if (values.save === undefined) return;
  writeFileSync(join(values.save, `${name.replaceAll(" ", "-")}.json`), text);
}

if (values.replay !== undefined) {
  runOne(
    values.replay,
    JSON.parse(readFileSync(values.replay, "utf8")) as Plan,
    Number.POSITIVE_INFINITY,
  );
} else if (cut !== null) {
  const plan = planCuts(seed, CUT_OPERATIONS, CUT_LIVES);
  const result = runPlan(plan, { cuts: 1, only: cut });
  say(`seed ${seed}, cut ${cut}: no fault (${result.cuts} checked)`);
} else if (cuts !== null) {
  for (let at = seed; totals.cuts < cuts; at++)
    runOne(
      `seed ${at}`,
      planCuts(at, CUT_OPERATIONS, CUT_LIVES),
      Math.min(each ?? CUTS_EACH, cuts - totals.cuts),
    );
} else {
  let planned = 0;
  for (let at = seed; planned < steps; at++) {
    const count = Math.min(each ?? STEPS_EACH, steps - planned);
    planned += count;
    runOne(`seed ${at}`, planFaults(at, count), Number.POSITIVE_INFINITY);
  }
  if (values.json) console.log(JSON.stringify({ totals, failures, coverage }));
  else console.log(`\n${coverage.text()}`);
  const missing = steps >= COMPLETE_FROM ? coverage.missing() : [];
  if (missing.length > 0) {
    console.error(`\nnever reached: ${missing.join(", ")}`);
    process.exitCode = 1;
  }
}

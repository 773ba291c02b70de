/**
 * Power is lost at every write and flush of working volumes, and devices break their promises in every way that the
 * simulation knows; what recovery makes of it is compared with what was promised. Fixed seeds: the same runs each time.
 * `npm run sim` tries others, and more.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Coverage } from "../support/sim_coverage.ts";
import { FAULTS, type Plan, planFaults } from "../support/sim_plan.ts";
import { runPlan, simulate } from "../support/simulation.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const CUTS = 6000;
const FIRST_SEED = 7000;
const REGRESSIONS = "test/sim/regressions";

// Only some of the seeds' events, but of many seeds: later events of one seed bring less that is new.
let done = 0;
for (let seed = FIRST_SEED; done < CUTS; seed++) {
  const result = simulate({ seed, cuts: Math.min(CUTS - done, 120), operations: 60 });
  done += result.cuts;
  t.ok(
    result.cuts > 0,
    `crash: ${result.cuts} losses of power, ${result.nestedCuts} during recovery, seed ${seed}`,
  );
}

const coverage = new Coverage();
for (let seed = 1; seed <= 12; seed++) {
  const result = runPlan(planFaults(seed, 2000));
  coverage.merge(result.coverage);
  t.ok(result.operations > 0, `faults: ${result.operations} operations, seed ${seed}`);
}
t.same(coverage.missing(), [], "faults: every operation, state and fault was reached");
t.ok(FAULTS.every((name) => coverage.injected.has(name)));

for (const name of readdirSync(REGRESSIONS)) {
  const plan = JSON.parse(readFileSync(join(REGRESSIONS, name), "utf8")) as Plan;
  t.ok(runPlan(plan).operations > 0, `regression: ${name}`);
}

t.test("crash: one seed gives one run, whatever memory held before", async (t) => {
  const first = simulate({ seed: 31, cuts: 40 });
  const second = simulate({ seed: 31, cuts: 40 });
  t.equal(second.trace, first.trace);
  const soiled = simulate({ seed: 31, cuts: 40, soiled: true });
  t.equal(soiled.trace, first.trace);
  t.not(simulate({ seed: 32, cuts: 40 }).trace, first.trace);
  const faulty = planFaults(5, 500);
  t.equal(runPlan(faulty).trace, runPlan(faulty).trace);
  t.equal(runPlan(JSON.parse(JSON.stringify(faulty)) as Plan).trace, runPlan(faulty).trace);
});

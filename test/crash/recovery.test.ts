/**
 * Power is lost at every write and flush of working volumes; what recovery makes of it is compared with what was
 * promised. Fixed seeds: the same cuts each time. `npm run sim` tries others, and more.
 */
import t from "tap";
import { simulate } from "../support/simulation.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const CUTS = 20_000;
const FIRST_SEED = 7000;

// A seed that once found a wait without end.
t.ok(simulate({ seed: 5064, cuts: 100 }).cuts > 0, "crash: seed 5064 ends");

let done = 0;
for (let seed = FIRST_SEED; done < CUTS; seed++) {
  const cuts = Math.min(CUTS - done, 300);
  const result = simulate({ seed, cuts });
  done += result.cuts;
  t.ok(
    result.cuts > 0 && result.replayed > 0,
    `crash: ${result.cuts} losses of power, ${result.nestedCuts} during recovery, seed ${seed}`,
  );
}

t.test("crash: one seed gives one run, whatever memory held before", async (t) => {
  const first = simulate({ seed: 31, cuts: 40 });
  const second = simulate({ seed: 31, cuts: 40 });
  t.equal(second.trace, first.trace);
  const soiled = simulate({ seed: 31, cuts: 40, soiled: true });
  t.equal(soiled.trace, first.trace);
  t.not(simulate({ seed: 32, cuts: 40 }).trace, first.trace);
});

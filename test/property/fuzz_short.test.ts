/**
 * The short form of the fuzz campaigns: some mutants of each target from fixed seeds, and every input that once did harm.
 * `npm run fuzz` runs the long one.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import { libcIfAvailable } from "../../host/reactor/libc.ts";
import { TARGETS } from "../fuzz/campaign.ts";
import { Fault, type Field, type Target } from "../fuzz/target.ts";

// What runs is bounded by steps, not by time.
t.setTimeout(900_000);

// Tests run from the top of the project; the inputs are not compiled.
const REGRESSIONS = "test/fuzz/regressions";
const SEED = 20_260_101;
/** Seeds of each target: an image, or some messages, calls or steps. */
const RUNS: Readonly<Record<string, number>> = {
  images: 200,
  repairs: 100,
  requests: 30,
  library: 12,
  core: 40,
};

/** Requests go through the binding of system calls, although none of them reaches the system. */
function skipOf(target: string): { skip: string } | Record<string, never> {
  const isMissing = target === "requests" && libcIfAvailable() === null;
  return isMissing ? { skip: "no system calls here" } : {};
}

for (const [name, target] of Object.entries(TARGETS)) {
  t.test(`${name}: mutants from seed ${SEED} on`, skipOf(name), async (t) => {
    const outcomes = new Set<string>();
    for (let seed = SEED; seed < SEED + (RUNS[name] as number); seed += 1) {
      try {
        outcomes.add(await target.run(target.mutate(new Prng(seed))));
      } catch (error) {
        t.fail(`again with: npm run fuzz -- --target ${name} --seed ${seed} --count 1`);
        throw error;
      }
    }
    // A run in which all ends alike has not reached much.
    t.ok(outcomes.size > 1, `${outcomes.size} kinds of outcome`);
  });
}

t.test("inputs that once did harm", async (t) => {
  const files = readdirSync(REGRESSIONS).filter((file) => file.endsWith(".json"));
  t.ok(files.length > 0, "there are some");
  for (const file of files.sort()) {
    const input = JSON.parse(readFileSync(join(REGRESSIONS, file), "utf8")) as {
      target: string;
      failure: string;
      fields: Field[];
    };
    const target = TARGETS[input.target] as Target;
    t.test(`${file}: ${input.failure}`, skipOf(input.target), async (t) => {
      await t.resolves(async () => await target.run(input.fields));
    });
  }
});

t.test("a mutant that is let through is noticed", (t) => {
  // Of the harness: an image that is whole and one that is not have different outcomes, and a wrong one is thrown.
  const images = TARGETS["images"] as Target;
  t.equal(images.run([{ base: "everything" }]), "whole");
  t.match(
    images.run([{ base: "fresh" }, { op: "set", what: "superblock", at: 40, value: "01" }]),
    /^refused/,
  );
  t.ok(new Fault("x") instanceof Error);
  t.end();
});

/** Each bug of test/mutants/list.ts can be planted, and its tests exist. */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { MUTANTS } from "../mutants/list.ts";
import { plant } from "../mutants/main.ts";

const root = new URL("../", new URL(import.meta.resolve("#core.wasm")));

t.test("tidy: mutants fit the sources", async (t) => {
  t.ok(MUTANTS.length >= 30);
  for (const mutant of MUTANTS) {
    const source = readFileSync(new URL(mutant.file, root), "utf8");
    t.doesNotThrow(() => plant(mutant, source));
    for (const test of mutant.tests)
      t.ok(existsSync(new URL(`test/${test}.test.ts`, root)), `${test} of ${mutant.name}`);
  }
});

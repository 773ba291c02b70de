/**
 * The cases of test/posix over the library on Node, without a mount; deno.test.ts runs them on Deno. Those that a
 * function of the library cannot express are skipped by name.
 */
import t from "tap";
import { runPosixCases } from "./posix_cases.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

t.test("POSIX through the library", async (t) => {
  await runPosixCases({
    skip: (name, why) => void t.test(name, { skip: why }, () => {}),
    run: async (name, work) => {
      await t.test(name, (t) => work(t));
    },
  });
});

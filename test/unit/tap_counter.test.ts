/** The runner's own counting: a run must not pass because results were misread. */
import t from "tap";
import { TapCounter } from "../support/tap_counter.ts";

function count(text: string): TapCounter {
  const counter = new TapCounter();
  // Cut at awkward places.
  for (let at = 0; at < text.length; at += 7) counter.push(text.slice(at, at + 7));
  counter.end();
  return counter;
}

t.test("points at the leaves are counted once", async (t) => {
  const counter = count(`TAP version 14
# Subtest: outer
    # Subtest: inner
        ok 1 - a
        ok 2 - b
        1..2
    ok 1 - inner # time=1ms
    1..1
ok 1 - outer # time=2.5ms
ok 2 - plain
1..2
`);
  t.equal(counter.passed, 3);
  t.same(counter.failures, []);
});

t.test("failures, also of a subtest that only failed its plan", async (t) => {
  const counter = count(`# Subtest: one
    not ok 1 - bad
      ---
      found: |
        ok 7 - not a point
      ...
    ok 2 - good
    1..2
not ok 1 - one # time=1ms
# Subtest: planned
    ok 1 - fine
    1..2
not ok 2 - planned
not ok 3 - alone
`);
  t.equal(counter.passed, 2);
  t.same(counter.failures, ["one > bad", "planned", "alone"]);
});

t.test("skips keep their reason and are not passes", async (t) => {
  const counter = count(
    "ok 1 - mount # SKIP no /dev/fuse\nok 2 - later # TODO soon\nok 3 - x\n1..3\n",
  );
  t.equal(counter.passed, 1);
  t.same(counter.skips, ["mount: no /dev/fuse", "later: soon"]);
  t.same(count("1..0 # no engine\n").skips, ["no engine"]);
});

t.test("a bail-out is a failure", async (t) => {
  t.same(count("Bail out! gone\n").failures, ["Bail out! gone"]);
});

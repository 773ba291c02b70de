/** What `npm run bench -- --check` calls slower. */
import t from "tap";
import {
  type Baseline,
  compareWith,
  describeRows,
  parseBaseline,
  spreadOf,
} from "../bench/baseline.ts";

const baseline: Baseline = {
  schema: "dynamicfs.bench-baseline/1",
  machine: "a machine",
  date: "2026-01-01",
  rounds: 3,
  rows: {
    create: { median: 0.3, min: 0.25, max: 0.35 },
    rename: { median: 0.2, min: 0.2, max: 0.2 },
    untar: { median: 1, min: 0.9, max: 1.1 },
    gone: { median: 1, min: 1, max: 1 },
  },
};

t.test("a spread is of all rounds, in any order", async (t) => {
  t.same(spreadOf([3, 1, 2]), { median: 2, min: 1, max: 3 });
  t.same(spreadOf([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 });
  t.equal(spreadOf([]), null);
});

t.test("slower is what is beyond the worst round and the tolerance", async (t) => {
  const verdicts = (ratios: Record<string, number[]>): Record<string, string> =>
    Object.fromEntries(
      compareWith(baseline, new Map(Object.entries(ratios))).map(({ name, verdict }) => [
        name,
        verdict,
      ]),
    );
  t.same(verdicts({ create: [0.22, 0.1, 0.4], rename: [0.16], untar: [1.3], other: [1] }), {
    create: "as before",
    rename: "slower",
    untar: "faster",
    other: "new",
  });
  t.same(verdicts({ create: [0.2, 0.2, 0.29], rename: [], untar: [1.2] }), {
    create: "slower",
    rename: "failed",
    untar: "as before",
  });
  // A round as good as ever: it can still do it.
  t.same(verdicts({ create: [0.2, 0.2, 0.3] }), { create: "as before" });
});

t.test("a baseline is read as it was written, and nothing else is", async (t) => {
  t.same(parseBaseline(JSON.stringify(baseline)), baseline);
  t.throws(() => parseBaseline('{"schema":"other"}'), /not a dynamicfs.bench-baseline/);
  t.throws(() => parseBaseline("no JSON"));
});

t.test("the table says all of it", async (t) => {
  const rows = compareWith(baseline, new Map([["rename", [0.1, 0.11, 0.12]]]));
  const text = describeRows(rows, new Map([["rename", "rename a file"]]));
  t.match(text, /rename a file +0\.20× +0\.20× … 0\.20× +0\.11× +0\.10× … 0\.12× +slower$/);
});

/** The runtime's notes of its garbage collections, counted. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { GcCounter } from "../../host/base/gc_counter.ts";
import { isDeno } from "../../host/base/runtime.ts";

t.test("collections are counted when the event loop has turned", { skip: isDeno }, async (t) => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const counter = GcCounter.start();
  if (counter === null) throw new Error("no counter");
  const before = counter.counts();
  for (let count = 0; count < 3; count += 1) collect();
  await new Promise((resolve) => setImmediate(resolve));
  const after = counter.counts();
  t.ok(after.count >= before.count + 3, `${after.count} after ${before.count}`);
  t.ok(after.totalMs > before.totalMs && after.maxMs > 0 && after.maxMs <= after.totalMs);
  counter.stop();
  collect();
  await new Promise((resolve) => setImmediate(resolve));
  t.same(counter.counts(), after, "not any more");
});

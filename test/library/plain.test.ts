/** The library over a file system without an engine, which says Retry at every turn. */
import assert from "node:assert/strict";
import process from "node:process";
import t from "tap";
import { Calls } from "../../host/library/calls.ts";
import { volumePromises } from "../../host/library/promises.ts";
import { Oracle, runCase } from "./compare.ts";
import { cases, type FsPromises } from "./conformance.ts";
import { PlainFileSystem } from "./plain_fs.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
t.comment(`SEED=${seed}`);

const oracle = new Oracle();
t.teardown(() => oracle.close());

for (const retryShare of [0, 0.2]) {
  t.test(`conformance with ${retryShare * 100} % of calls repeated`, async (t) => {
    const plain = new PlainFileSystem({ seed, retryShare, blocks: 600 });
    const calls = new Calls(plain, plain.memory, "plain", 7);
    const handles = new Map<number, { close(): Promise<void> }>();
    const fs = volumePromises(calls, handles);
    for (const [index, one] of cases.entries()) {
      const expected = await oracle.outcome(one);
      try {
        const seen = await runCase(fs as unknown as FsPromises, one, `/case-${index}`);
        assert.deepEqual(seen, expected);
        t.pass(one.name);
      } catch (error) {
        t.fail(one.name, { difference: (error as Error).stack?.split("\n") });
      }
    }
    t.equal(handles.size, 0, "every handle was closed");
    t.equal(plain.readsOpen, 0, "every read was released");
    t.equal(plain.inodeCount, 1, "every reference was given back");
    calls.end();
    t.equal(plain.blocksTaken, 0, "every buffer was given back");
  });
}

/**
 * The table and an example under Deno, from source: `deno test -A test/library/deno.test.ts`. Under Node it does nothing:
 * deno_run.test.ts starts it.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Test } from "tap";
import { isDeno } from "../../host/base/runtime.ts";
import { open } from "../../host/mod.ts";
import { runCase } from "./compare.ts";
import { cases, type FsPromises } from "./conformance.ts";
import { runPosixCases } from "./posix_cases.ts";

const MIB = 1024 * 1024;

function match(value: unknown, wanted: unknown): void {
  if (wanted instanceof RegExp) assert.match(String(value), wanted);
  else if (wanted !== null && typeof wanted === "object") {
    for (const [key, part] of Object.entries(wanted)) {
      match((value as Record<string, unknown>)[key], part);
    }
  } else assert.equal(value, wanted);
}

/** What the cases use of tap's assertions. */
const assertions = {
  equal: assert.strictEqual,
  not: assert.notStrictEqual,
  same: assert.deepEqual,
  ok: assert.ok,
  notOk: (value: unknown, message?: string): void => assert.ok(!value, message),
  match,
};

if (!isDeno) console.log("TAP version 14\n1..0 # SKIP deno_run.test.ts starts this under Deno");
else {
  test("conformance in memory, under Deno", async () => {
    const volume = await open({ memory: 512 * MIB });
    const failures: string[] = [];
    for (const [index, one] of cases.entries()) {
      try {
        await runCase(volume.promises as unknown as FsPromises, one, `/case-${index}`);
      } catch (error) {
        failures.push(`${one.name}: ${(error as Error).stack}`);
      }
    }
    await volume.close();
    assert.deepEqual(failures, []);
    assert.ok(cases.length >= 120);
  });

  test("the cases of test/posix, under Deno", async () => {
    const failures: string[] = [];
    let passed = 0;
    await runPosixCases({
      skip: () => {},
      run: async (name, work) => {
        try {
          await work(assertions as unknown as Test);
          passed += 1;
        } catch (error) {
          failures.push(`${name}: ${(error as Error).stack}`);
        }
      },
    });
    assert.deepEqual(failures, []);
    assert.ok(passed >= 70);
  });

  test("a volume in a file, closed and opened again, under Deno", async () => {
    const dir = await mkdtemp(join(tmpdir(), "dynamicfs-deno-"));
    const image = join(dir, "a.img");
    const data = new Uint8Array(3 * MIB + 5).map((_, index) => index % 251);
    const first = await open(image, { create: { name: "deno", size: "256M" } });
    await first.promises.writeFile("/x", data);
    await first.close();
    const again = await open(image, { readOnly: true });
    assert.ok((await again.promises.readFile("/x")).equals(data));
    const text = await new Response(again.promises.readable("/x")).arrayBuffer();
    assert.equal(text.byteLength, data.length);
    await again.close();
    await rm(dir, { recursive: true });
  });
}

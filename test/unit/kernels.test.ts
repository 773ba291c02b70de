/** Executed instructions are counted right, and the core's kernels take no more of them than was recorded. */
import t from "tap";
import { COUNTER, countInstructions } from "../bench/instruction_count.ts";
import { compareKernels, countKernels, readRecord, TOLERANCE } from "../bench/kernels.ts";

/** (func (export "sum") (param i32) (result i32) (local i32)): adds up n, n − 1 … 1 in a loop; 0 at once where n is 0. */
const SUM = [
  ...[1, 1, 0x7f],
  // block; local.get 0; i32.eqz; br_if 0
  ...[0x02, 0x40, 0x20, 0, 0x45, 0x0d, 0],
  // loop; local.get 1; local.get 0; i32.add; local.set 1
  ...[0x03, 0x40, 0x20, 1, 0x20, 0, 0x6a, 0x21, 1],
  // local.get 0; i32.const 1; i32.sub; local.tee 0; br_if 0; end; end; local.get 1; end
  ...[0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x0b, 0x20, 1, 0x0b],
];

/** A module of one function. */
function moduleOf(body: readonly number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f],
    ...[3, 2, 1, 0],
    ...[7, 7, 1, 3, 0x73, 0x75, 0x6d, 0, 0],
    ...[10, body.length + 2, 1, body.length, ...body],
  ]);
}

t.test("a loop's instructions are counted as often as it is run", async (t) => {
  const module = new WebAssembly.Module(countInstructions(moduleOf(SUM)));
  const { exports } = new WebAssembly.Instance(module);
  const sum = exports["sum"] as (n: number) => number;
  const counter = exports[COUNTER] as WebAssembly.Global<"i64">;
  for (const [n, instructions] of [
    [0, 3 + 1],
    [1, 3 + 9 + 1],
    [10, 3 + 90 + 1],
    [1000, 3 + 9000 + 1],
  ] as const) {
    counter.value = 0n;
    t.equal(sum(n), (n * (n + 1)) / 2);
    t.equal(counter.value, BigInt(instructions), `of ${n}`);
  }
});

t.test("what is not known is refused", async (t) => {
  t.throws(() => countInstructions(new Uint8Array(8)), { message: "not a WebAssembly module" });
  const wasm = moduleOf(SUM.map((byte) => (byte === 0x6a ? 0xe0 : byte)));
  t.throws(() => countInstructions(wasm), {
    message: /^instruction 0xe0 at byte \d+ is not known$/,
  });
  t.throws(() => countInstructions(moduleOf(SUM).subarray(0, -3)), {
    message: "the module ends too early",
  });
});

t.test("kernels take what they took", async (t) => {
  const now = countKernels();
  t.same(now, countKernels(), "the same each time");
  for (const { kernel, instructions, recorded } of compareKernels(now, readRecord())) {
    const text = `${kernel}: ${instructions} instructions, recorded are ${recorded}; if that is meant, npm run bench -- --kernels --save-baseline`;
    if (instructions === null || recorded === null) t.fail(text);
    else t.ok(instructions <= recorded * (1 + TOLERANCE) && instructions >= recorded * 0.9, text);
  }
});

t.test("more than recorded is told", async (t) => {
  const rows = compareKernels({ a: 103, b: 101, c: 90, e: 1 }, { a: 100, b: 100, c: 100, d: 1 });
  t.same(
    rows.map(({ kernel, verdict }) => `${kernel} ${verdict}`),
    ["a more", "b a little more", "c fewer", "e new", "d gone"],
  );
});

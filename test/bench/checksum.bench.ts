/**
 * Checksums of the core beside hash-wasm's, in alternating rounds of one run: GB/s of cache-warm data, median and
 * spread. `node build/test/bench/checksum.bench.js [--quick]`
 */
import { createBLAKE3, createCRC32, createXXHash3, createXXHash128, type IHasher } from "hash-wasm";
import { Prng } from "../../host/base/prng.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";

const quick = process.argv.includes("--quick");
const ROUNDS = quick ? 3 : 15;
const BYTES_PER_ROUND = quick ? 500_000 : 30_000_000;
const SIZES = [64, 1024, 4096, 65_536, 1_048_576];

const core = loadCore({ memoryPages: 20 });
const { exports } = core;
const layout = new Layout(core);
const result = layout.take(64, 64);
const data = layout.take(1_048_576, 4096);
new Prng(1).bytes(core.bytes.subarray(data, data + 1_048_576));

const cases: [name: string, run: (byteLength: number) => void, hasher: IHasher][] = [
  ["xxh3_64", (byteLength) => exports.xxh3_64(data, byteLength, result), await createXXHash3()],
  ["xxh3_128", (byteLength) => exports.xxh3_128(data, byteLength, result), await createXXHash128()],
  ["blake3", (byteLength) => exports.blake3(data, byteLength, result), await createBLAKE3()],
  [
    "crc32c",
    (byteLength) => core.view.setUint32(result, exports.crc32c(data, byteLength, 0)),
    await createCRC32(0x82f63b78),
  ],
];

function gigabytesPerSecond(run: () => void, byteLength: number): number {
  const count = Math.ceil(BYTES_PER_ROUND / (byteLength + 500));
  const start = performance.now();
  for (let index = 0; index < count; index += 1) run();
  return (count * byteLength) / (performance.now() - start) / 1e6;
}

function summary(samples: number[]): { median: number; text: string } {
  samples.sort((a, b) => a - b);
  const median = samples[samples.length >> 1]!;
  const [low, high] = [samples[0]!, samples[samples.length - 1]!];
  return { median, text: `${median.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})` };
}

console.log("algorithm  bytes    core GB/s             hash-wasm GB/s        ratio");
let digest = 0;
for (const [name, run, hasher] of cases) {
  for (const byteLength of SIZES) {
    const input = core.bytes.subarray(data, data + byteLength);
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = -2; round < ROUNDS; round += 1) {
      const ourSpeed = gigabytesPerSecond(() => run(byteLength), byteLength);
      const theirSpeed = gigabytesPerSecond(() => {
        // digest("binary") would add an allocation that is not the algorithm's.
        hasher.init().update(input);
      }, byteLength);
      // The first two rounds let the compilers settle.
      if (round < 0) continue;
      ours.push(ourSpeed);
      theirs.push(theirSpeed);
    }
    const [a, b] = [summary(ours), summary(theirs)];
    console.log(
      `${name.padEnd(10)} ${String(byteLength).padEnd(8)} ${a.text.padEnd(21)} ` +
        `${b.text.padEnd(21)} ${(a.median / b.median).toFixed(2)}`,
    );
    digest = exports.crc32c(result, 32, digest);
  }
}
console.log(`result ${(digest >>> 0).toString(16).padStart(8, "0")}`);

/**
 * Runs fuzz targets: `node build/test/fuzz/main.js [target] [--seed N] [--seconds S]`. A failure prints the command that
 * shows it again; the same seed gives the same run, since a round's length is counted in steps, not in time.
 */
import { parseArgs } from "node:util";
import { Prng } from "../../host/base/prng.ts";
import { fuzzAllocator } from "./allocator.ts";
import { fuzzChecksum } from "./checksum.ts";
import { fuzzDirtyMap } from "./dirty_map.ts";
import { fuzzPage } from "./page.ts";

/** A target does `steps` random things and throws when something is wrong. A Wasm trap is always wrong. */
const targets: Record<string, (random: Prng, steps: number) => void> = {
  allocator: fuzzAllocator,
  checksum: fuzzChecksum,
  dirtyMap: fuzzDirtyMap,
  page: fuzzPage,
};

const STEPS_PER_ROUND = 200;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string" },
    seconds: { type: "string", default: "5" },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(targets);
const firstSeed = Number(values.seed ?? Date.now() % 1_000_000_000);
const limitMs = Number(values.seconds) * 1000;

for (const name of names) {
  const target = targets[name];
  if (target === undefined) {
    console.error(`No target ${name}; there are: ${Object.keys(targets).join(", ")}`);
    process.exitCode = 2;
    break;
  }
  const start = performance.now();
  let seed = firstSeed;
  console.log(`${name}: seed ${seed}`);
  try {
    do {
      target(new Prng(seed), STEPS_PER_ROUND);
      seed += 1;
    } while (performance.now() - start < limitMs);
    console.log(`${name}: ${seed - firstSeed} rounds of ${STEPS_PER_ROUND} steps, no fault`);
  } catch (error) {
    const kind = error instanceof WebAssembly.RuntimeError ? "trap in the core" : "fault";
    console.error(`${name}: ${kind}; again with: fuzz ${name} --seed ${seed} --seconds 0`);
    console.error(error);
    process.exitCode = 1;
  }
}

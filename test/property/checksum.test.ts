import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import { loadAlgorithms } from "../support/hashes.ts";

const CANARY = 0xc5;
const CANARY_BYTES = 32;
const DATA_BYTES = 200_000;

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
t.comment(`SEED=${seed}`);

const core = loadCore({ memoryPages: 8 });
const layout = new Layout(core);
const data = layout.take(DATA_BYTES, 64);
const guarded = layout.take(2 * CANARY_BYTES + 1024, 8);
const algorithms = await loadAlgorithms();

/** Lengths that are short as often as long, as borders between recipes are close together when short. */
function randomLength(random: Prng): number {
  return Math.min(DATA_BYTES, Math.floor(2 ** (random.float() * 17.6)) - 1);
}

function canariesHold(resultBytes: number): boolean {
  const before = core.bytes.subarray(guarded, guarded + CANARY_BYTES);
  const behind = guarded + CANARY_BYTES + resultBytes;
  const after = core.bytes.subarray(behind, behind + CANARY_BYTES);
  return before.every((byte) => byte === CANARY) && after.every((byte) => byte === CANARY);
}

for (const algorithm of algorithms) {
  t.test(`${algorithm.name}: any bytes of any length equal hash-wasm, canaries hold`, (t) => {
    const random = new Prng(seed);
    for (let step = 0; step < 400; step += 1) {
      const byteLength = randomLength(random);
      const address = data + random.below(DATA_BYTES - byteLength + 1);
      random.bytes(core.bytes.subarray(address, address + Math.min(byteLength, 64)));
      const expected = algorithm.expected(core.bytes.subarray(address, address + byteLength));
      core.bytes.fill(CANARY, guarded, guarded + 2 * CANARY_BYTES + 1024);
      const actual = algorithm.actual(core, address, byteLength, guarded + CANARY_BYTES);
      if (actual !== expected || !canariesHold(algorithm.resultBytes)) {
        t.fail(`step ${step}: ${byteLength} bytes at ${address}: ${actual} instead of ${expected}`);
        break;
      }
    }
    t.end();
  });
}

t.test(
  "xxh3_64_verify_units: finds the first unit with a flipped bit, in data or checksum",
  (t) => {
    const random = new Prng(seed);
    const sums = guarded + CANARY_BYTES;
    for (let step = 0; step < 300; step += 1) {
      const unitBytes = 1 + random.below(5000);
      const unitCount = 1 + random.below(Math.min(40, Math.floor(DATA_BYTES / unitBytes)));
      const address = data + random.below(DATA_BYTES - unitBytes * unitCount + 1);
      random.bytes(core.bytes.subarray(address, address + Math.min(unitBytes, 100)));
      core.bytes.fill(CANARY, guarded, guarded + 2 * CANARY_BYTES + 1024);
      core.exports.xxh3_64_units(address, unitBytes, unitCount, sums);
      const verify = (): number =>
        core.exports.xxh3_64_verify_units(address, unitBytes, unitCount, sums);
      const untouched = verify();
      const held = canariesHold(8 * unitCount);
      const flip = (place: number): void => {
        core.bytes[place] = core.bytes[place]! ^ (1 << (step & 7));
      };
      const inData = random.below(unitBytes * unitCount);
      flip(address + inData);
      const foundInData = verify();
      flip(address + inData);
      const inSums = random.below(8 * unitCount);
      flip(sums + inSums);
      const foundInSums = verify();
      if (
        untouched !== -1 ||
        !held ||
        foundInData !== Math.floor(inData / unitBytes) ||
        foundInSums !== Math.floor(inSums / 8)
      ) {
        t.fail(`step ${step}: ${unitCount} units of ${unitBytes} bytes at ${address}`);
        break;
      }
    }
    t.equal(core.exports.xxh3_64_verify_units(data, 4096, 0, sums), -1, "no units, none differs");
    t.end();
  },
);

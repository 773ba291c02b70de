/**
 * Fuzzes the checksum exports with any addresses and lengths that lie in the memory: nothing but the result changes,
 * and whether a region ends at the memory's end makes no difference.
 */
import { assert } from "../../host/base/assert.ts";
import type { Prng } from "../../host/base/prng.ts";
import { loadCore } from "../../host/core/load.ts";

const core = loadCore({ memoryPages: 4 });
const { bytes, exports, staticEnd } = core;
const oracle = loadCore({ memoryPages: 6 });

export function fuzzChecksum(random: Prng, steps: number): void {
  random.bytes(bytes.subarray(staticEnd));
  // The oracle has the same bytes elsewhere, with others behind them.
  oracle.bytes.fill(random.below(256), staticEnd);
  for (let step = 0; step < steps; step += 1) {
    const byteLength = Math.min(
      Math.floor(2 ** (random.float() * 18)) - 1,
      bytes.length - staticEnd - 64,
    );
    // Half of the regions end with the memory, where reading one byte too many traps.
    const room = bytes.length - staticEnd - byteLength;
    const address = staticEnd + (random.below(2) === 0 ? room : random.below(room + 1));
    const moved = staticEnd + 1 + random.below(64);
    oracle.bytes.set(bytes.subarray(address, address + byteLength), moved);
    checkDigest(random, address, moved, byteLength);
    checkBytes(random, address, byteLength);
  }
}

function checkDigest(random: Prng, address: number, moved: number, byteLength: number): void {
  const what = `${byteLength} bytes at ${address}`;
  assert(
    exports.crc32c(address, byteLength, 0) === oracle.exports.crc32c(moved, byteLength, 0),
    `crc32c of ${what} depends on its place`,
  );
  const name = exports.name_hash(address, byteLength);
  assert(Number.isInteger(name) && name >= 0 && name < 2 ** 48, `name_hash of ${what} is ${name}`);

  const [digest, resultBytes] = (
    [
      ["xxh3_64", 8],
      ["xxh3_128", 16],
      ["blake3", 32],
    ] as const
  )[random.below(3)]!;
  // Not inside the input: a result may be written before all has been read.
  const result = placeOutside(random, address, byteLength, resultBytes);
  if (result < 0) return;
  const before = bytes.slice(staticEnd);
  exports[digest](address, byteLength, result);
  oracle.exports[digest](moved, byteLength, oracle.bytes.length - resultBytes);
  const actual = Buffer.from(bytes.subarray(result, result + resultBytes));
  const expected = Buffer.from(oracle.bytes.subarray(oracle.bytes.length - resultBytes));
  assert(actual.equals(expected), `${digest} of ${what} depends on its place`);
  before.set(actual, result - staticEnd);
  assert(Buffer.from(before).equals(bytes.subarray(staticEnd)), `${digest} of ${what} wrote more`);
}

function checkBytes(random: Prng, from: number, byteLength: number): void {
  const to = staticEnd + random.below(bytes.length - staticEnd - byteLength + 1);
  const expected = bytes.slice(staticEnd);
  const wanted = expected.slice(from - staticEnd, from - staticEnd + byteLength);
  const same = Buffer.from(wanted).equals(bytes.subarray(to, to + byteLength));
  assert(exports.bytes_equal(from, to, byteLength) === Number(same), "bytes_equal is wrong");
  exports.bytes_copy(to, from, byteLength);
  expected.set(wanted, to - staticEnd);
  assert(Buffer.from(expected).equals(bytes.subarray(staticEnd)), "bytes_copy wrote elsewhere");
  const fillLength = Math.min(byteLength, 100);
  exports.bytes_fill(to, step8(to), fillLength);
  expected.fill(step8(to), to - staticEnd, to - staticEnd + fillLength);
  assert(Buffer.from(expected).equals(bytes.subarray(staticEnd)), "bytes_fill wrote elsewhere");
}

function step8(value: number): number {
  return (value * 31) & 0xff;
}

/** An address for a result before or behind a region, or −1 if there is no room. */
function placeOutside(
  random: Prng,
  address: number,
  byteLength: number,
  resultBytes: number,
): number {
  const before = address - staticEnd - resultBytes;
  const behind = bytes.length - (address + byteLength) - resultBytes;
  if (behind >= 0 && (before < 0 || random.below(2) === 0)) {
    return address + byteLength + random.below(behind + 1);
  }
  return before >= 0 ? staticEnd + random.below(before + 1) : -1;
}

/**
 * The B+tree through its driver: inserts in random and in ascending order, finds and scans. Millions a second, median
 * and spread. `node build/test/bench/tree.bench.js [--quick]`
 */
import { Prng } from "../../host/base/prng.ts";
import { PATH_KEY_OFFSET, PATH_KEY_OID, PATH_KEY_TYPE } from "../../host/core/abi.ts";
import type { Core } from "../../host/core/core.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import { TreeDriver } from "../support/tree_driver.ts";

const quick = process.argv.includes("--quick");
const ENTRIES = quick ? 20_000 : 1_000_000;
const FINDS = quick ? 20_000 : 1_000_000;
const ROUNDS = quick ? 1 : 5;
const FRAMES = quick ? 400 : 12_000;
const SCAN_BYTES = 65_536;
const VALUE_MIN = 40;
const VALUE_SPREAD = 32;

const random = new Prng(1);
const oids = new Float64Array(ENTRIES);
const types = new Uint8Array(ENTRIES);
const offsets = new Float64Array(ENTRIES);
const lengths = new Uint8Array(ENTRIES);
for (let index = 0; index < ENTRIES; index += 1) {
  oids[index] = random.below(2 ** 40);
  types[index] = random.below(4);
  offsets[index] = random.below(2 ** 48);
  lengths[index] = VALUE_MIN + random.below(VALUE_SPREAD);
}
const order = new Uint32Array(FINDS).map(() => random.below(ENTRIES));

interface Setup {
  readonly core: Core;
  readonly tree: TreeDriver;
  readonly value: number;
  readonly out: number;
}

function setUp(): Setup {
  const core = loadCore({ memoryPages: 16 + FRAMES / 4 + 40 });
  const layout = new Layout(core);
  const value = layout.take(128, 8);
  const out = layout.take(SCAN_BYTES, 8);
  // Memory is touched for the first time once in a volume's life: not what is measured.
  core.bytes.fill(1, layout.end);
  const tree = new TreeDriver({ core, layout, frameCount: FRAMES });
  random.bytes(core.bytes.subarray(value, value + 128));
  return { core, tree, value, out };
}

function insertRandom({ tree, value }: Setup): void {
  for (let index = 0; index < ENTRIES; index += 1) {
    tree.put(oids[index]!, types[index]!, offsets[index]!, value, lengths[index]!);
  }
}

function insertAscending({ tree, value }: Setup): void {
  for (let index = 0; index < ENTRIES; index += 1) {
    tree.put(1 + (index >> 4), 1, index & 15, value, lengths[index]!);
  }
}

function findAll({ tree }: Setup): number {
  let found = 0;
  for (let index = 0; index < FINDS; index += 1) {
    const at = order[index]!;
    found += tree.find(oids[at]!, types[at]!, offsets[at]!);
  }
  return found;
}

function scanAll({ core, tree, out }: Setup): number {
  const { f64, u32 } = core;
  let count = 0;
  let [oid, type, offset] = [0, 0, 0];
  for (;;) {
    count += core.exports.tree_scan(
      tree.cache,
      tree.root,
      tree.path,
      oid,
      type,
      offset,
      2 ** 53,
      0,
      0,
      out,
      SCAN_BYTES,
    );
    oid = f64[(tree.path + PATH_KEY_OID) >> 3]!;
    type = u32[(tree.path + PATH_KEY_TYPE) >> 2]!;
    offset = f64[(tree.path + PATH_KEY_OFFSET) >> 3]!;
    if (oid === 2 ** 53) return count;
  }
}

const results = new Map<string, number[]>();

function measure(name: string, operations: number, run: () => unknown): void {
  const start = performance.now();
  run();
  const rate = operations / (performance.now() - start) / 1000;
  const samples = results.get(name) ?? [];
  samples.push(rate);
  results.set(name, samples);
}

let digest = 0;
let report = "";
for (let round = 0; round < ROUNDS; round += 1) {
  const ascending = setUp();
  measure("insert ascending", ENTRIES, () => insertAscending(ascending));
  const full = ascending.tree.check();
  const setup = setUp();
  measure("insert random", ENTRIES, () => insertRandom(setup));
  let found = 0;
  measure("find random", FINDS, () => {
    found = findAll(setup);
  });
  let scanned = 0;
  measure("scan all", ENTRIES, () => {
    scanned = scanAll(setup);
  });
  const { entries, pages } = setup.tree.check();
  if (found !== FINDS || scanned !== entries) throw new Error("entries are missing");
  report = `${entries} entries in ${pages} pages, ascending in ${full.pages}`;
  digest = setup.core.exports.crc32c(setup.out, SCAN_BYTES, digest);
}
console.log("operation          M/s");
for (const [name, samples] of results) {
  samples.sort((a, b) => a - b);
  const [low, middle, high] = [samples[0]!, samples[samples.length >> 1]!, samples.at(-1)!];
  console.log(`${name.padEnd(18)} ${middle.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`);
}
console.log(report);
console.log(`result ${(digest >>> 0).toString(16).padStart(8, "0")}`);

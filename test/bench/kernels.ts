/**
 * What the core's kernels cost in executed instructions, exactly: the same on every machine, where times differ from hour to
 * hour. kernels.json holds what they cost in the version that was landed last; a unit test compares (see
 * test/unit/kernels.test.ts), and `npm run bench -- --kernels` shows both.
 *
 * Instructions are those of the compiled module (instruction_count.ts): fewer are not always faster, but many more never are.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { instantiateSync } from "@assemblyscript/loader";
import { assert } from "../../host/base/assert.ts";
import { Prng } from "../../host/base/prng.ts";
import type { CoreExports } from "../../host/core/abi.ts";
import { Core } from "../../host/core/core.ts";
import { Layout } from "../../host/core/layout.ts";
import { PAGE_LEVEL } from "../../host/format/page_pointer.ts";
import { TreeDriver } from "../support/tree_driver.ts";
import { COUNTER, countInstructions } from "./instruction_count.ts";
import { parseFlags, say } from "./processes.ts";

/** In the sources: it is landed with them. */
const RECORD = fileURLToPath(new URL("../../../test/bench/kernels.json", import.meta.url));
const MEMORY_PAGES = 512;
/** More than recorded by so much is more work than before. */
export const TOLERANCE = 0.02;

/** Instructions by kernel: of one call each, on average over those that were made; one decimal. */
export type KernelCounts = Readonly<Record<string, number>>;

interface KernelRecord {
  readonly schema: "dynamicfs.bench-kernels/1";
  readonly instructions: KernelCounts;
}

interface CountingCore {
  readonly core: Core;
  readonly layout: Layout;
  readonly counter: WebAssembly.Global<"i64">;
}

function loadCounting(): CountingCore {
  const wasm = readFileSync(fileURLToPath(import.meta.resolve("#core.wasm")));
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES });
  const module = new WebAssembly.Module(countInstructions(wasm));
  const { exports } = instantiateSync(module, { env: { memory } }).instance;
  const core = new Core(exports as unknown as CoreExports, memory);
  const counter = exports[COUNTER] as unknown as WebAssembly.Global<"i64">;
  return { core, layout: new Layout(core), counter };
}

/** Runs every kernel on inputs that are always the same. */
export function countKernels(): KernelCounts {
  const found: Record<string, number> = {};
  for (const group of [checksums, names, tree, space, buffers]) {
    const { core, layout, counter } = loadCounting();
    group(core, layout, (name, calls, run) => {
      counter.value = 0n;
      run();
      found[name] = Math.round((Number(counter.value) / calls) * 10) / 10;
    });
  }
  return found;
}

type Count = (name: string, calls: number, run: () => void) => void;

function checksums({ bytes, exports }: Core, layout: Layout, count: Count): void {
  const result = layout.take(4096, 64);
  const data = layout.take(1 << 20, 4096);
  new Prng(1).bytes(bytes.subarray(data, data + (1 << 20)));
  for (const length of [64, 4096, 1 << 20])
    count(`xxh3_64 of ${length} bytes`, 1, () => exports.xxh3_64(data, length, result));
  count("xxh3_64_units, 256 blocks", 1, () => exports.xxh3_64_units(data, 4096, 256, result));
  count("xxh3_64_verify_units, 256 blocks", 1, () => {
    const bad = exports.xxh3_64_verify_units(data, 4096, 256, result);
    assert(bad < 0, "what was summed is verified");
  });
  count("xxh3_128 of 4096 bytes", 1, () => exports.xxh3_128(data, 4096, result));
  count("blake3 of 4096 bytes", 1, () => exports.blake3(data, 4096, result));
  count("crc32c of 4096 bytes", 1, () => exports.crc32c(data, 4096, 0));
}

function names({ bytes, exports }: Core, layout: Layout, count: Count): void {
  const name = layout.take(8192, 8);
  bytes.set(new TextEncoder().encode("some file name 000001"), name);
  count("name_hash of 21 bytes", 1, () => exports.name_hash(name, 21));
  count("bytes_equal of 21 bytes", 1, () => exports.bytes_equal(name, name, 21));
  count("bytes_copy of 4096 bytes", 1, () => exports.bytes_copy(name + 4096, name, 4096));
}

function tree(core: Core, layout: Layout, count: Count): void {
  const entries = 20_000;
  const random = new Prng(1);
  const value = layout.take(128, 8);
  random.bytes(core.bytes.subarray(value, value + 128));
  const driver = new TreeDriver({ core, layout, frameCount: 400 });
  const oids = Array.from({ length: entries }, () => random.below(2 ** 40));
  count("tree_put_fast at random", entries, () => {
    for (const oid of oids) driver.put(oid, 1, oid % 64, value, 40 + (oid % 32));
  });
  count("tree_find", entries, () => {
    for (const oid of oids) assert(driver.find(oid, 1, oid % 64) === 1, "an entry is found");
  });
  const { exports } = core;
  const { cache, path, root } = driver;
  count("tree_seek and 100 tree_step", 100, () => {
    for (let index = 0; index < 100; index++) {
      exports.tree_seek(cache, root, path, oids[index] as number, 0, 0);
      for (let step = 0; step < 100; step++) exports.tree_step(cache, path, 1);
    }
  });
  const page = exports.cache_frame_address(cache, 0) >>> 0;
  count("page_validate", 1, () => {
    assert(
      exports.page_validate(page, core.view.getUint8(page + PAGE_LEVEL)) === 0,
      "a page is valid",
    );
  });
  count("tree_remove_fast", entries, () => {
    for (const oid of oids) driver.remove(oid, 1, oid % 64);
  });
  count("tree_put_fast in order", entries, () => {
    for (let index = 0; index < entries; index++)
      driver.put(1 + (index >> 4), 1, index & 15, value, 40 + (index % 32));
  });
}

/** A device of 16 GiB, nine tenths of it in use, free runs of 1 to 127 blocks. */
function space({ bytes, exports, f64, u32 }: Core, layout: Layout, count: Count): void {
  const blockCount = 2 ** 22;
  const regionBlocks = 32_768;
  const regions = blockCount / regionBlocks;
  const base = layout.take(exports.space_bytes(regions), 64);
  const result = layout.take(24, 8);
  const bitmaps = layout.take(blockCount / 8, 4096);
  const random = new Prng(64);
  bytes.fill(0xff, bitmaps, bitmaps + blockCount / 8);
  for (let at = random.below(1152); ; at += random.below(1152)) {
    const free = 1 + random.below(127);
    if (at + free >= blockCount) break;
    exports.space_bitmap_clear(bitmaps, at, free);
    at += free;
  }
  exports.space_init(base, blockCount, regionBlocks);
  count("space_attach", regions, () => {
    for (let region = 0; region < regions; region++)
      exports.space_attach(base, region, bitmaps + (region * regionBlocks) / 8);
  });
  for (const most of [1, 64, 256]) {
    const taken: { start: number; blocks: number }[] = [];
    const lengths = Array.from({ length: 2000 }, () => 1 + random.below(most));
    let goal = 0;
    count(`space_alloc of 1 to ${most} blocks`, lengths.length, () => {
      for (const length of lengths) {
        if (exports.space_alloc(base, goal, length, 1, 1, result) !== 0) continue;
        const start = f64[result / 8] as number;
        const blocks = u32[result / 4 + 2] as number;
        taken.push({ start, blocks });
        goal = (start + blocks) % blockCount;
      }
    });
    assert(taken.length === lengths.length, "there is room");
    count(`space_free of 1 to ${most} blocks`, taken.length, () => {
      for (const { start, blocks } of taken) exports.space_free(base, start, blocks);
    });
  }
}

function buffers({ exports, f64, u32 }: Core, layout: Layout, count: Count): void {
  const runs = 5000;
  const random = new Prng(3);
  const pool = layout.take(exports.pool_bytes(2048), 64);
  exports.pool_init(pool, 2048, layout.take(2048 * 4096, 4096));
  const addresses: number[] = [];
  count("pool_alloc of 1 and 16 frames", 200, () => {
    for (let index = 0; index < 200; index++)
      addresses.push(exports.pool_alloc(pool, index % 2 === 0 ? 1 : 16));
  });
  count("pool_free of 1 and 16 frames", 200, () => {
    addresses.forEach((address, index) => {
      exports.pool_free(pool, address, index % 2 === 0 ? 1 : 16);
    });
  });
  const slab = layout.take(exports.dirty_bytes(3 * runs), 64);
  const result = layout.take(64, 8);
  const out = layout.take(8192 * 4, 8);
  exports.dirty_init(slab, 3 * runs);
  const map = exports.dirty_create(slab);
  const order = Array.from({ length: runs }, (_, index) => index);
  for (let index = runs - 1; index > 0; index--) {
    const other = random.below(index + 1);
    [order[index], order[other]] = [order[other] as number, order[index] as number];
  }
  const drop = (): void => {
    exports.dirty_truncate(slab, map, 0);
    while (exports.dirty_freed(slab, out, 1000) === 1000);
  };
  count("dirty_insert in order", runs, () => {
    for (let index = 0; index < runs; index++)
      exports.dirty_insert(slab, map, index, 1, (index + 1) * 4096);
  });
  drop();
  count("dirty_insert at random", runs, () => {
    for (const block of order) exports.dirty_insert(slab, map, block * 2, 1, (block + 1) * 4096);
  });
  count("dirty_find", runs, () => {
    for (const block of order) exports.dirty_find(slab, map, block * 2, result);
  });
  const planned: [block: number, count: number][] = [];
  count("dirty_plan, each extent", runs, () => {
    for (let from = 0; from >= 0; ) {
      let extents = exports.dirty_plan(slab, map, from, 256, 65_536, out, 8192);
      for (let at = out + 16; extents > 0; extents--) {
        planned.push([f64[at / 8] as number, u32[at / 4 + 2] as number]);
        at += 16 + (u32[at / 4 + 3] as number) * 8;
      }
      from = f64[out / 8] as number;
    }
  });
  assert(planned.length === runs, "all is planned");
  count("dirty_complete", runs, () => {
    for (const [block, blocks] of planned) exports.dirty_complete(slab, map, block, blocks);
  });
}

/** What the last landed version took. */
export function readRecord(): KernelCounts {
  return (JSON.parse(readFileSync(RECORD, "utf8")) as KernelRecord).instructions;
}

export interface KernelRow {
  readonly kernel: string;
  /** null: is no more, or is not recorded. */
  readonly instructions: number | null;
  readonly recorded: number | null;
  readonly verdict: "as recorded" | "a little more" | "more" | "fewer" | "new" | "gone";
}

export function compareKernels(now: KernelCounts, recorded: KernelCounts): KernelRow[] {
  return [...new Set([...Object.keys(now), ...Object.keys(recorded)])].map((kernel): KernelRow => {
    const [a, b] = [now[kernel] ?? null, recorded[kernel] ?? null];
    const row = { kernel, instructions: a, recorded: b };
    if (a === null) return { ...row, verdict: "gone" };
    if (b === null) return { ...row, verdict: "new" };
    if (a > b * (1 + TOLERANCE)) return { ...row, verdict: "more" };
    return { ...row, verdict: a > b ? "a little more" : a < b ? "fewer" : "as recorded" };
  });
}

export const KERNELS_HELP: string = `npm run bench -- --kernels [--json] [--save-baseline]
  Instructions that the core's kernels execute, exactly, beside those recorded in test/bench/kernels.json.
  Exit code 1 when one takes over ${TOLERANCE * 100} % more. Needs no rights, and no quiet machine.
  --save-baseline      Records what they take now`;

/** `npm run bench -- --kernels` */
export function kernels(args: readonly string[]): void {
  const options = parseFlags(args, {
    kernels: { type: "boolean" },
    json: { type: "boolean" },
    "save-baseline": { type: "boolean" },
  });
  const instructions = countKernels();
  if (options["save-baseline"] === true) {
    const record: KernelRecord = { schema: "dynamicfs.bench-kernels/1", instructions };
    writeFileSync(RECORD, `${JSON.stringify(record, null, 2)}\n`);
    say(`recorded ${Object.keys(instructions).length} kernels`);
  }
  const rows = compareKernels(instructions, readRecord());
  if (options.json === true) console.log(JSON.stringify({ rows }, null, 2));
  else {
    console.log(`${"kernel".padEnd(36)}${"instructions".padStart(13)}${"recorded".padStart(13)}`);
    for (const { kernel, instructions: now, recorded, verdict } of rows) {
      const [a, b] = [now, recorded].map((value) =>
        (value?.toLocaleString("en") ?? "").padStart(13),
      );
      console.log(`${kernel.padEnd(36)}${a}${b}${verdict === "as recorded" ? "" : `  ${verdict}`}`);
    }
  }
  const more = rows.filter(({ verdict }) => verdict === "more" || verdict === "gone");
  if (more.length === 0) return;
  say(`more work than before: ${more.map(({ kernel }) => kernel).join(", ")}`);
  process.exitCode = 1;
}

/**
 * SPEC.md against the code: offsets and sizes in its tables are those of the constants, what encodes a superblock puts
 * every field where its table says, its checksum vectors are right, and its hex dumps are what the tables say.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { loadCore } from "../../host/core/load.ts";
import * as dentry from "../../host/format/dentry.ts";
import * as extent from "../../host/format/extent.ts";
import {
  BOOT_BLOCKS,
  DEVICE_BYTES_MIN,
  geometryFor,
  RING_BLOCKS,
} from "../../host/format/geometry.ts";
import * as inode from "../../host/format/inode.ts";
import * as journal from "../../host/format/journal_record.ts";
import * as key from "../../host/format/key.ts";
import * as page from "../../host/format/page_pointer.ts";
import * as quota from "../../host/format/quota.ts";
import * as region from "../../host/format/region.ts";
import * as sharedRun from "../../host/format/shared_run.ts";
import { encodeSuperblock, type Superblock } from "../../host/format/superblock.ts";
import * as xattr from "../../host/format/xattr.ts";
import { COMMIT_BYTES_MAX } from "../../host/journal/journal.ts";
import { u64 } from "../support/image_editor.ts";

interface Row {
  readonly offset: string;
  readonly size: string;
  readonly type: string;
  readonly name: string;
}

const spec = readFileSync(findSpec(), "utf8");

/** SPEC.md, from the sources or from where they are built. */
function findSpec(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const path = join(folder, "host/format/SPEC.md");
    if (existsSync(path)) return path;
    const up = dirname(folder);
    if (up === folder) throw new Error("SPEC.md is not there");
    folder = up;
  }
}

/** Text of a section, up to the next heading of any level. */
function section(number: string): string {
  const start = spec.search(new RegExp(`^#+ ${number.replace(".", "\\.")}[. ]`, "m"));
  if (start < 0) throw new Error(`SPEC.md has no section ${number}`);
  const body = spec.slice(start);
  const end = body.slice(3).search(/^#/m);
  return end < 0 ? body : body.slice(0, end + 3);
}

/** Rows of a section's table of fields. */
function rows(number: string): Row[] {
  const found: Row[] = [];
  for (const line of section(number).split("\n")) {
    const cells = line.split("|").map((cell) => cell.trim());
    if (cells.length < 6 || !/^\d/.test(cells[1] ?? "")) continue;
    found.push({
      offset: cells[1] ?? "",
      size: cells[2] ?? "",
      type: cells[3] ?? "",
      name: cells[4] ?? "",
    });
  }
  if (found.length === 0) throw new Error(`Section ${number} has no table`);
  return found;
}

function upperSnake(name: string): string {
  return name.replace(/([A-Z])/g, "_$1").toUpperCase();
}

const SIZES: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, u64: 8, s64: 8 };

/** Fields lie one behind the other, and their sizes are those of their types. */
function checkShape(t: Tap, number: string): void {
  let end = 0;
  for (const { offset, size, type, name } of rows(number)) {
    if (!/^\d+$/.test(offset) || !/^\d+$/.test(size)) return;
    t.equal(Number(offset), end, `${number} ${name} begins where the field before ends`);
    const expected = SIZES[type];
    if (expected !== undefined)
      t.equal(Number(size) % expected, 0, `${number} ${name}: ${size} bytes of ${type}`);
    end = Number(offset) + Number(size);
  }
}

/** What both the runner and a test in it can do. */
type Tap = Pick<typeof t, "equal" | "ok">;

/** Every field with a constant of its name lies there; constants with no field are an error. */
function checkConstants(
  t: Tap,
  number: string,
  constants: Readonly<Record<string, unknown>>,
  options: {
    prefix: string;
    rename?: Readonly<Record<string, string>>;
    required: readonly string[];
  },
): void {
  const names = new Set<string>();
  for (const { offset, name } of rows(number)) {
    const constant = options.rename?.[name] ?? options.prefix + upperSnake(name);
    const value = constants[constant];
    if (value === undefined || !/^\d+$/.test(offset)) continue;
    t.equal(Number(offset), value, `${number} ${name} is at ${constant}`);
    names.add(constant);
  }
  for (const constant of options.required)
    t.ok(names.has(constant), `${number} tells where ${constant} is`);
}

/** Constants of a module that are offsets: all with this prefix but those named. */
function offsetsOf(
  constants: Readonly<Record<string, unknown>>,
  prefix: string,
  but: readonly string[],
): string[] {
  return Object.keys(constants).filter(
    (name) => name.startsWith(prefix) && typeof constants[name] === "number" && !but.includes(name),
  );
}

t.test("SPEC: fields of each record lie one behind the other", async (t) => {
  for (const number of ["3", "4.1", "4.2", "4.4", "4.5", "5.6", "6", "7.1"]) checkShape(t, number);
});

t.test("SPEC: offsets are those of the code", async (t) => {
  const fixed = ["PAGE_MAGIC", "PAGE_BYTES"];
  checkConstants(t, "4.1", page, {
    prefix: "PAGE_",
    rename: { magic: "PAGE_MAGIC_AT" },
    required: offsetsOf(page, "PAGE_", fixed),
  });
  checkConstants(t, "4.4", page, {
    prefix: "POINTER_",
    required: ["POINTER_CHECKSUM", "POINTER_GENERATION"],
  });
  checkConstants(t, "4.5", page, { prefix: "ROOT_", required: ["ROOT_LEVEL", "ROOT_TREE_ID"] });
  checkConstants(t, "5.6", extent, {
    prefix: "EXTENT_",
    required: offsetsOf(extent, "EXTENT_", [
      "EXTENT_UNIT_BYTES",
      "EXTENT_UNIT_SHIFT_VALUE",
      "EXTENT_BLOCKS_MAX",
      "EXTENT_UNWRITTEN_BLOCKS_MAX",
    ]),
  });
  checkConstants(t, "5.9", sharedRun, {
    prefix: "SHARED_",
    required: offsetsOf(sharedRun, "SHARED_", ["SHARED_BYTES"]),
  });
  checkConstants(t, "5.10", quota, {
    prefix: "QUOTA_",
    required: offsetsOf(quota, "QUOTA_", [
      "QUOTA_BYTES",
      "QUOTA_USER",
      "QUOTA_GROUP",
      "QUOTA_PROJECT",
      "QUOTA_ALL",
    ]),
  });
  checkConstants(t, "6", region, {
    prefix: "REGION_",
    required: offsetsOf(region, "REGION_", [
      "REGION_BYTES",
      "REGION_STATE_EMPTY",
      "REGION_STATE_MAPPED",
    ]),
  });
  checkConstants(t, "7.1", journal, {
    prefix: "COMMIT_",
    rename: { magic: "COMMIT_MAGIC_AT" },
    required: offsetsOf(journal, "COMMIT_", [
      "COMMIT_MAGIC",
      "COMMIT_HEADER_BYTES",
      "COMMIT_CHECKED_FROM",
    ]),
  });
});

t.test("SPEC: lengths and limits are those of the code", async (t) => {
  const end = (number: string): number => {
    const last = rows(number).at(-1);
    return Number(last?.offset) + Number(last?.size);
  };
  t.equal(end("3"), 4096);
  t.equal(end("4.1"), 64);
  t.equal(end("4.2"), 20);
  t.equal(end("4.4"), page.POINTER_BYTES);
  t.equal(end("4.5"), page.ROOT_BYTES);
  t.equal(end("5.9"), sharedRun.SHARED_BYTES);
  t.equal(end("5.10"), quota.QUOTA_BYTES);
  t.equal(end("6"), region.REGION_BYTES);
  t.equal(end("7.1"), journal.COMMIT_HEADER_BYTES);
  t.match(section("4.1"), `0x${page.PAGE_MAGIC.toString(16)}`);
  t.match(section("7.1"), `0x${journal.COMMIT_MAGIC.toString(16)}`);
  t.match(section("7.1"), COMMIT_BYTES_MAX.toLocaleString("en-US"));
  t.match(section("2"), `${DEVICE_BYTES_MIN >> 20} MiB`);
  t.match(section("5.6"), `1 to ${extent.EXTENT_BLOCKS_MAX}`);
  t.match(
    section("5.6"),
    `unwritten extent 1 to ${extent.EXTENT_UNWRITTEN_BLOCKS_MAX.toLocaleString("en-US")}`,
  );
  t.equal(extent.extentBytes(1, 1), 32, "16 + 8c + 8 × blockCount");
});

t.test("SPEC: entries of the journal have the kinds and lengths told", async (t) => {
  const text = section("7.2");
  for (const name of ["PUT", "REMOVE", "END", "ALLOCATE", "FREE", "DATA", "TRUNCATE"]) {
    const kind = (journal as Record<string, unknown>)[`ENTRY_${name}`];
    const row = text.split("\n").find((line) => line.startsWith(`| ${kind} |`));
    t.match(row, new RegExp(`\\| ${name} \\|`), `${name} is kind ${kind}`);
    const view = new DataView(new ArrayBuffer(64));
    view.setUint8(0, kind as number);
    const length = /\| (\d+)/.exec(row?.split(name)[1] ?? "")?.[1];
    t.equal(journal.entryLength(view, 0, 64), Number(length), `${name} is ${length} bytes long`);
  }
});

t.test("SPEC: the layout of a device follows from its size as told", async (t) => {
  for (const size of [64 << 20, 3 * 2 ** 30 + 4096 * 7, 2 ** 40, 40 * 2 ** 40]) {
    const blockCount = Math.floor(size / 4096);
    const geometry = geometryFor(size);
    let regionBlocks = 32768;
    while (Math.ceil(blockCount / regionBlocks) > 65536) regionBlocks *= 2;
    const regionCount = Math.ceil(blockCount / regionBlocks);
    const map = regionCount * 2 * (regionBlocks / 32768);
    const minimum = /max\(S \/ (\d+), (\d+) MiB\), (\d+) MiB\)/.exec(section("2"));
    const journalBytes = Math.min(
      Math.max(size / Number(minimum?.[1]), Number(minimum?.[2]) * 2 ** 20),
      Number(minimum?.[3]) * 2 ** 20,
    );
    const journalBlocks = Math.floor(journalBytes / 4096);
    t.match(geometry, {
      blockCount,
      regionBlocks,
      regionCount,
      journalStart: 32,
      journalBlocks,
      mapStarts: [32 + journalBlocks, blockCount - 16 - map],
      ringStarts: [BOOT_BLOCKS, blockCount - RING_BLOCKS],
    });
  }
});

t.test("SPEC: a superblock's fields are encoded where its table says", async (t) => {
  const geometry = geometryFor(3 * 2 ** 30);
  const superblock: Superblock = {
    versionMajor: 1,
    versionMinor: 2,
    featuresCompatible: 3,
    featuresReadOnlyCompatible: 4,
    featuresIncompatible: 5,
    poolUuid: new Uint8Array(16).fill(6),
    deviceUuid: new Uint8Array(16).fill(7),
    sequence: 8,
    transactionSequence: 9,
    journalSequence: 10,
    journalBlock: 11,
    journalChain: new Uint8Array(8).fill(12),
    nextObjectId: 13,
    objectCount: 14,
    deviceIndex: 15,
    deviceCount: 16,
    geometry,
    clean: true,
    timeSeconds: 17,
    timeNanoseconds: 18,
    freeBlocks: 19,
    name: "twenty",
    roots: new Uint8Array(144).fill(21),
  };
  const block = new DataView(new ArrayBuffer(4096));
  encodeSuperblock(block, 0, superblock);
  const values: Record<string, unknown> = {
    ...superblock,
    ...geometry,
    blockBytes: 4096,
    addressUnitBytes: 4096,
    mapStart0: geometry.mapStarts[0],
    mapStart1: geometry.mapStarts[1],
    ringStart0: geometry.ringStarts[0],
    ringStart1: geometry.ringStarts[1],
    flags: 1,
    reserved: 0,
    checksum: 0,
  };
  for (const { offset, size, type, name } of rows("3")) {
    const at = Number(offset);
    const value = values[name];
    if (type === "u16") t.equal(block.getUint16(at, true), value, name);
    else if (type === "u32") t.equal(block.getUint32(at, true), value, name);
    else if ((type === "u64" || type === "s64") && typeof value === "number")
      t.equal(u64(block, at), value, name);
    else if (value instanceof Uint8Array) {
      t.same(new Uint8Array(block.buffer, at, Number(size)), value, name);
    }
  }
  const text = new TextDecoder().decode(new Uint8Array(block.buffer, 240, 6));
  t.equal(text, "twenty");
  t.equal(new TextDecoder().decode(new Uint8Array(block.buffer, 0, 8)), "DYNAMFS1");
});

const itemsAreTold = /^### 5\.1/m.test(spec);

t.test(
  "SPEC: types of items are those of the code",
  { skip: itemsAreTold ? false : "section 5 is not written" },
  async (t) => {
    for (const [name, type] of Object.entries(key)) {
      t.match(
        spec,
        new RegExp(`^### 5\\.\\d+ .*${name.slice(5)}.*type ${type}`, "m"),
        `${name} is type ${type}`,
      );
    }
  },
);

t.test(
  "SPEC: items of files lie as told",
  { skip: itemsAreTold ? false : "section 5 is not written" },
  async (t) => {
    const modules = { INODE_: inode, DENTRY_: dentry, XATTR_: xattr } as const;
    for (const [number, prefix] of [
      ["5.1", "INODE_"],
      ["5.2", "XATTR_"],
      ["5.5", "DENTRY_"],
    ] as const) {
      checkConstants(t, number, modules[prefix], { prefix, required: [] });
    }
  },
);

t.test("SPEC: the checksum's vectors", async (t) => {
  const core = loadCore({ memoryPages: 64 });
  const at = core.staticEnd + 64;
  const sum = (bytes: Uint8Array): string => {
    core.bytes.set(bytes, at);
    core.exports.xxh3_64(at, bytes.length, core.staticEnd);
    return core.view.getBigUint64(core.staticEnd, true).toString(16).padStart(16, "0");
  };
  const text = section("1.1");
  for (const bytes of [
    new Uint8Array(0),
    new TextEncoder().encode("DynamicFS"),
    new Uint8Array(16368),
  ]) {
    t.match(text, `\`${sum(bytes)}\``, `of ${bytes.length} bytes`);
  }
});

t.test("SPEC: the hex dumps have the checksums that they show", async (t) => {
  const core = loadCore({ memoryPages: 64 });
  const at = core.staticEnd + 64;
  const dumps = [...section("10").matchAll(/```hex\n([\s\S]*?)```/g)].map(
    (match) => match[1] ?? "",
  );
  t.equal(dumps.length, 2);
  for (const [index, text] of dumps.entries()) {
    const bytes = parseDump(text, index === 0 ? 4096 : 16384);
    const from = index === 0 ? 16 : 8;
    core.bytes.set(bytes, at);
    core.exports.xxh3_64(at + from, bytes.length - from, core.staticEnd);
    const stored = bytes.subarray(index === 0 ? 8 : 0, index === 0 ? 16 : 8);
    t.same(core.bytes.slice(core.staticEnd, core.staticEnd + 8), stored);
    if (index === 1) t.equal(core.exports.page_validate(at, 0), 0, "the page is valid");
  }
});

/** Lines of "offset  bytes …"; what is left out is zero. */
function parseDump(text: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (const line of text.split("\n")) {
    const match = /^([0-9a-f]{4}) {2}((?:[0-9a-f]{2} {1,2}){16})/.exec(line);
    if (match === null) continue;
    const values = (match[2] ?? "").trim().split(/ +/);
    for (const [index, value] of values.entries()) {
      bytes[Number.parseInt(match[1] ?? "0", 16) + index] = Number.parseInt(value, 16);
    }
  }
  return bytes;
}

/** inspect shows each kind of record of a real volume, and says what is wrong with damaged ones. */
import t from "tap";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { type InspectTarget, inspect } from "../../host/maintain/inspect.ts";
import { ImageEditor } from "../support/image_editor.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { create, mount, type Sample, sampleVolume } from "../support/sample_volume.ts";

const sample: Sample = sampleVolume();
const engine = new MemoryEngine();

// biome-ignore lint/suspicious/noExplicitAny: records have many shapes, and tests look into them.
type Record = any;

function look(
  target: InspectTarget,
  image: { contents: SparseBytes; sizeBytes: number } = sample,
): Record {
  const record = engine.run(
    inspect(engine.environment, [engine.device(image.sizeBytes, image.contents)], target),
  );
  // What cannot be JSON is not ready for programs.
  t.same(JSON.parse(JSON.stringify(record)), record);
  return record;
}

const ino = (name: string): number => sample.inos[name] as number;

t.test("inspect shows all slots of both rings, the newest first", async (t) => {
  const record = look({ kind: "superblock" });
  t.equal(record.slots.length, 16);
  t.equal(record.newestSequence, record.slots[0].sequence);
  t.equal(record.slots[0].sequence, record.slots[1].sequence);
  t.match(record.slots[0], {
    ring: 0,
    valid: true,
    name: "sample",
    format: "1.0",
    objectCount: 420,
  });
  t.equal(record.slots[0].roots.length, 3);
  t.match(record.slots.at(-1), { valid: false, problem: "blank" });
});

t.test("inspect tells why a slot is not valid", async (t) => {
  const contents = sample.contents.clone();
  const editor = new ImageEditor(engine.core, contents, sample.sizeBytes);
  const [block] = editor.superblockBlocks();
  editor.flip(block, 200);
  const record = look({ kind: "superblock" }, { contents, sizeBytes: sample.sizeBytes });
  const slot = record.slots.find((entry: Record) => entry.block === block);
  t.match(slot, { valid: false, problem: "checksum mismatch" });
});

t.test("inspect shows a leaf with its items, and an interior page with its pointers", async (t) => {
  const editor = new ImageEditor(engine.core, sample.contents, sample.sizeBytes);
  const [top, leaf] = editor.path(1, { oid: ROOT_INO, type: 1, offset: 0 });
  const interior = look({ kind: "page", block: top?.blocks[0] as number });
  t.match(interior, { valid: true, checksumRight: true, tree: 1, level: 1 });
  t.equal(interior.items[0].from, "the beginning");
  t.equal(interior.items[0].copies[0], `0:${leaf?.blocks[0]}`);
  const page = look({ kind: "page", block: leaf?.blocks[1] as number });
  t.match(page, { valid: true, level: 0, firstCopy: `0:${leaf?.blocks[0]}` });
  t.equal(page.items.length, page.slotCount);
});

t.test("inspect tells which rule a block breaks that is no page", async (t) => {
  t.match(look({ kind: "page", block: 0 }), {
    valid: false,
    problem: "magic",
    checksumRight: false,
  });
  t.throws(() => look({ kind: "page", block: sample.sizeBytes / 4096 }), { code: "EINVAL" });
});

t.test("inspect shows every kind of item of an object", async (t) => {
  const root = look({ kind: "item", objectId: ROOT_INO });
  t.match(root.items[0], { item: "inode", kind: "directory", mode: "040755", parent: ROOT_INO });
  const names = root.items.flatMap((item: Record) =>
    (item.names ?? []).map((entry: Record) => entry.name),
  );
  t.ok(names.includes("linked") && names.includes("fifo"));
  const large = look({ kind: "item", objectId: ino("large"), type: 6 });
  t.same(
    large.items.map((item: Record) => item.offset),
    [0, 1 << 20, 2 << 20],
  );
  t.match(large.items[0], { item: "extent", blockCount: 256 });
  t.equal(look({ kind: "item", objectId: ino("large"), type: 6, offset: 1 << 20 }).items.length, 1);
  t.match(look({ kind: "item", objectId: ino("symlink"), type: 4 }).items[0], {
    target: "dir/small",
  });
  const attributes = look({ kind: "item", objectId: ino("attributes"), type: 2 }).items;
  t.same(attributes.map((item: Record) => item.name).sort(), [
    "user.empty",
    "user.long",
    "user.short",
  ]);
  t.match(look({ kind: "item", objectId: 0 }).items[0], { item: "orphan", offset: ino("orphan") });
  t.match(look({ kind: "item", objectId: 0, tree: 3 }).items[0], { item: "pool" });
  t.throws(() => look({ kind: "item", objectId: 1_000_000 }), { code: "ENOENT" });
  t.throws(() => look({ kind: "item", objectId: 1, tree: 9 }), { code: "EINVAL" });
});

t.test("inspect tells what of an object cannot be read", async (t) => {
  const contents = sample.contents.clone();
  const editor = new ImageEditor(engine.core, contents, sample.sizeBytes);
  for (const block of editor.path(1, { oid: ino("dir"), type: 1, offset: 0 }).at(-1)?.blocks ??
    []) {
    editor.flip(block, 1000);
  }
  const record = look(
    { kind: "item", objectId: ino("dir") },
    { contents, sizeBytes: sample.sizeBytes },
  );
  t.same(record.items, []);
  t.equal(record.problems.length, 1);
});

t.test("inspect shows a region with both copies of its bitmap", async (t) => {
  const record = look({ kind: "region", region: 0 });
  t.match(record, { state: "mapped", firstBlock: 0, blocks: sample.sizeBytes / 4096 });
  t.equal(record.copies.length, 2);
  for (const copy of record.copies) t.match(copy, { checksumRight: true, free: record.free });
  t.throws(() => look({ kind: "region", region: 1 }), { code: "EINVAL" });
});

t.test("inspect counts pages and items of all trees", async (t) => {
  const record = look({ kind: "tree" });
  t.equal(record.trees.length, 3);
  t.match(record.trees[0].items, { inode: 420, symlink: 1, orphan: 1 });
  t.match(record.trees[1].items, { region: 1 });
  t.equal(record.trees[0].pages["level 1"], 1);
});

t.test("inspect lists the commits that a mount would replay", async (t) => {
  const device = create(new MemoryEngine(), 64 << 20);
  const { calls } = mount(device);
  calls.file(ROOT_INO, "one");
  calls.sync();
  const file = calls.file(ROOT_INO, "two");
  calls.write(file, 0, new Uint8Array(9000).fill(7));
  calls.sync();
  const brief = look({ kind: "journal" }, device);
  t.ok(brief.commits.length >= 2);
  t.match(brief.commits[0], { sequence: brief.from.sequence, counts: { end: 1 } });
  t.equal(brief.commits[0].entries, undefined);
  t.equal(brief.end.sequence, brief.from.sequence + brief.commits.length);
  const full = look({ kind: "journal", entries: true }, device);
  const entries = full.commits[0].entries;
  t.ok(entries.some((entry: Record) => entry.kind === "put" && entry.objectId === ROOT_INO));
  t.equal(entries.at(-1).kind, "end");
});

t.test("inspect refuses a device without a volume", async (t) => {
  const blank = engine.device(64 << 20);
  t.throws(() => look({ kind: "journal" }, blank), { code: "ENODEV" });
  t.equal(look({ kind: "superblock" }, blank).newestSequence, null);
});

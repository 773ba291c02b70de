/**
 * fsck finds each kind of damage, says what it is with the code that stands for it and nothing else, and never fails on
 * any image. Damage is planted behind the checksums where they would show it first.
 */
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import { explainFsckCode, FSCK_CODES } from "../../host/maintain/fsck_codes.ts";
import type { FsckOptions, FsckReport } from "../../host/maintain/fsck_report.ts";
import {
  cases,
  DENTRY,
  EXTENT,
  FILES,
  INODE,
  ino,
  inode,
  leaf,
  sample,
} from "../support/damage.ts";
import { ImageEditor, setU64, u64 } from "../support/image_editor.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, create, fill, mount } from "../support/sample_volume.ts";

/** One core for all checks: a check lays it out anew each time. */
const checker = new MemoryEngine();

function check(
  image: { contents: SparseBytes; sizeBytes: number },
  options: FsckOptions = {},
): FsckReport {
  return checker.run(
    fsck(checker.environment, [checker.device(image.sizeBytes, image.contents)], options),
  );
}

/** The sample with a change; what fsck says about it. */
function damaged(change: (editor: ImageEditor) => void, options: FsckOptions = {}): FsckReport {
  const contents = sample.contents.clone();
  change(new ImageEditor(checker.core, contents, sample.sizeBytes));
  return check({ contents, sizeBytes: sample.sizeBytes }, options);
}

const codes = (report: FsckReport): string[] => Object.keys(report.errorCodes).sort();

t.test("fsck finds nothing in a volume that was just created", async (t) => {
  const device = create(new MemoryEngine(), 64 << 20);
  const report = check(device);
  t.same(report.errors, []);
  t.same(report.warnings, []);
  t.ok(report.clean && report.complete && !report.needsRecovery);
  t.equal(report.counts["directories"], 1);
});

t.test("fsck finds nothing in a volume with one of everything, and counts it", async (t) => {
  const report = check(sample);
  t.same(report.errors, []);
  t.same(report.warnings, []);
  t.match(report.counts, {
    directories: 4,
    symlinks: 1,
    specials: 3,
    inlineFiles: 1,
    orphans: 1,
    xattrs: 4,
    names: 420,
    dataBlocks: 2570,
  });
});

t.test(
  "fsck finds nothing in any checkpoint while a volume is at work, journal and all",
  async (t) => {
    const device = create(new MemoryEngine(), 64 << 20);
    const { engine, volume, calls } = mount(device);
    const directory = calls.directory(ROOT_INO, "work");
    for (let round = 0; round < 6; round++) {
      for (let index = 0; index < 120; index++) {
        const file = calls.file(directory, `${round}-${index}`);
        if (index % 3 === 0) calls.write(file, 0, bytesOf(index * 97, index));
        if (index % 5 === 0) calls.unlink(directory, `${round}-${index}`);
      }
      if (round % 2 === 0) calls.sync();
      else engine.run(checkpointOf(volume));
      const report = check(device);
      t.same(report.errors, [], `round ${round}`);
      t.equal(report.needsRecovery, round % 2 === 0, `recovery in round ${round}`);
    }
    engine.run(volume.unmount());
    t.same(check(device).errors, []);
  },
);

function* checkpointOf(volume: { checkpoint(done: (status: number) => void): void }) {
  const status: number = yield (resume: (status: number) => void) => volume.checkpoint(resume);
  if (status < 0) throw new Error(`checkpoint failed: ${status}`);
}

// --- damage, one kind at a time ---

t.test(
  "fsck: every code is explained, and nearly every one has a damage planted for it",
  async (t) => {
    const planted = new Set(
      cases.flatMap(({ codes, warnings }) => [...codes, ...(warnings ?? [])]),
    );
    for (const code of planted) t.ok(explainFsckCode(code), code);
    t.equal(explainFsckCode("DFS-FSCK-NOTHING"), null);
    t.match(explainFsckCode("DFS-FSCK-DATA"), { action: /backup/ });
    // These have tests of their own, or need a device that fails.
    const others = Object.keys(FSCK_CODES).filter(
      (code) => !planted.has(code as keyof typeof FSCK_CODES),
    );
    t.comment(others.join(" "));
    t.ok(others.length <= 13);
  },
);

for (const { name, change, codes: expected, warnings = [], incomplete = false } of cases) {
  t.test(`fsck tells damage: ${name}`, async (t) => {
    const report = damaged(change);
    t.same(codes(report), expected, JSON.stringify(report.errors.slice(0, 5)));
    t.same(
      report.warnings.map(({ code }) => code),
      warnings,
    );
    t.equal(report.clean, expected.length === 0);
    t.equal(report.complete, !incomplete);
    const several = damaged(change, { windows: { objects: 7 } });
    t.same(codes(several), expected, "the same when objects are looked at in many windows");
  });
}

t.test("fsck names the files that are damaged", async (t) => {
  const report = damaged((editor) => {
    for (const name of ["sparse", "small"]) {
      const extent = editor
        .items(FILES)
        .find(({ key }) => key.oid === ino(name) && key.type === EXTENT);
      editor.flip(u64(new DataView((extent?.value ?? new Uint8Array(24)).buffer), 16), 77);
    }
    editor.editItem(FILES, inode("orphan"), (item) => item.setUint32(68, 1e9, true));
    editor.editItem(FILES, inode("nested"), (item) => item.setUint32(108, 5, true));
    editor.editItem(FILES, inode("root"), (item) => item.setUint32(108, 5, true));
  });
  const paths = new Map(report.errors.map((error) => [error.place["ino"], error.path]));
  t.equal(paths.get(ino("sparse")), "/dir/nested/sparse");
  t.equal(paths.get(ino("small")), "/dir/small");
  t.equal(paths.get(ino("root")), "/");
  t.equal(paths.get(ino("nested")), "/dir/nested");
  t.equal(paths.get(ino("orphan")), undefined, "a file that was removed has no name");
  t.match(report.errors.find((error) => error.path === "/dir/small")?.where, /\(\/dir\/small\)$/);
});

t.test("fsck without data does not read it", async (t) => {
  const report = damaged(
    (editor) => {
      const extent = editor
        .items(FILES)
        .find(({ key }) => key.oid === ino("sparse") && key.type === EXTENT);
      editor.flip(u64(new DataView((extent?.value ?? new Uint8Array(24)).buffer), 16) + 1, 77);
    },
    { data: false },
  );
  t.same(codes(report), []);
});

t.test("fsck finds the same in several windows of regions", async (t) => {
  // Three regions of 128 MiB.
  const device = create(new MemoryEngine(), 320 << 20);
  const { engine, volume, calls } = mount(device);
  fill(calls);
  engine.run(volume.unmount());
  t.same(check(device, { windows: { regions: 1, objects: 5 } }).errors, []);
  const contents = device.contents.clone();
  const editor = new ImageEditor(checker.core, contents, device.sizeBytes);
  // An extent of the first region moves to the second, which is empty.
  const extent = editor
    .items(FILES)
    .find(({ key }) => key.type === EXTENT && key.offset === 1 << 20);
  if (extent === undefined) throw new Error("There is no large file");
  const blockCount = new DataView(extent.value.buffer).getUint32(0, true);
  editor.editItem(FILES, extent.key, (item) => setU64(item, 16, 32768 + 500));
  for (const options of [{}, { windows: { regions: 1 } }, { windows: { regions: 2 } }]) {
    const report = check({ contents, sizeBytes: device.sizeBytes }, options);
    t.same(codes(report), ["DFS-FSCK-BLOCK-FREE", "DFS-FSCK-BLOCK-LEAKED", "DFS-FSCK-DATA"]);
    t.match(report.errors.find(({ code }) => code === "DFS-FSCK-BLOCK-FREE")?.place, {
      region: 1,
      block: 32768 + 500,
      blockCount,
    });
    t.match(report.errors.find(({ code }) => code === "DFS-FSCK-BLOCK-LEAKED")?.place, {
      region: 0,
      blockCount,
    });
  }
});

t.test("fsck follows a loop of directories through several windows", async (t) => {
  const device = create(new MemoryEngine(), 64 << 20);
  const { engine, volume, calls } = mount(device);
  const chain = [ROOT_INO];
  for (let depth = 0; depth < 40; depth++)
    chain.push(calls.directory(chain[depth] as number, "below"));
  engine.run(volume.unmount());
  t.same(check(device, { windows: { objects: 4 } }).errors, []);
  const contents = device.contents.clone();
  const editor = new ImageEditor(checker.core, contents, device.sizeBytes);
  // The top of the chain moves below its end.
  const top = chain[1] as number;
  const end = chain[40] as number;
  const entry = editor.items(FILES).find(({ key }) => key.oid === ROOT_INO && key.type === DENTRY);
  if (entry === undefined) throw new Error("The root has no entry");
  editor.removeItem(FILES, entry.key);
  editor.insertItem(FILES, { ...entry.key, oid: end }, entry.value);
  editor.editItem(FILES, { oid: top, type: INODE, offset: 0 }, (item) => setU64(item, 96, end));
  for (const [oid, by] of [
    [ROOT_INO, -1],
    [end, 1],
  ] as const) {
    editor.editItem(FILES, { oid, type: INODE, offset: 0 }, (item) => {
      item.setUint32(104, item.getUint32(104, true) + by, true);
      setU64(item, 16, u64(item, 16) + by);
      item.setUint32(4, item.getUint32(4, true) + by, true);
    });
  }
  for (const options of [{}, { windows: { objects: 4 } }]) {
    const report = check({ contents, sizeBytes: device.sizeBytes }, options);
    t.same(report.errorCodes, { "DFS-FSCK-DIRECTORY-LOOP": 1 });
  }
});

// --- journal ---

/** A volume with three commits that a mount would replay. */
function unrecovered(): { contents: SparseBytes; sizeBytes: number; blocks: number[] } {
  const device = create(new MemoryEngine(), 64 << 20);
  const { calls } = mount(device);
  for (let index = 0; index < 3; index++) {
    calls.file(ROOT_INO, `file ${index}`);
    calls.sync();
  }
  const editor = new ImageEditor(checker.core, device.contents, device.sizeBytes);
  const start = u64(new DataView(editor.superblock().buffer), 160);
  const blocks: number[] = [];
  for (let block = start; block < start + 64; block++) {
    if (new DataView(editor.read(block, 4096).buffer).getUint32(0, true) === 0x4e524a44)
      blocks.push(block);
  }
  return { contents: device.contents, sizeBytes: device.sizeBytes, blocks };
}

t.test("fsck tells what a mount would replay", async (t) => {
  const image = unrecovered();
  const report = check(image);
  t.same(report.errors, []);
  t.equal(report.needsRecovery, true);
  t.same(
    report.warnings.map(({ code }) => code),
    ["DFS-FSCK-NEEDS-RECOVERY"],
  );
  t.equal(report.counts["commits"], image.blocks.length);
});

t.test("fsck takes a last commit that is torn for the journal's end", async (t) => {
  const image = unrecovered();
  const editor = new ImageEditor(checker.core, image.contents, image.sizeBytes);
  editor.flip(image.blocks.at(-1) as number, 90);
  const report = check(image);
  t.same(report.errors, []);
  t.equal(report.counts["commits"], image.blocks.length - 1);
});

t.test("fsck tells a damaged commit that others follow", async (t) => {
  const image = unrecovered();
  const editor = new ImageEditor(checker.core, image.contents, image.sizeBytes);
  editor.flip(image.blocks[0] as number, 90);
  t.same(codes(check(image)), ["DFS-FSCK-JOURNAL-GAP"]);
});

t.test("fsck tells a commit that is whole but makes no sense", async (t) => {
  const image = unrecovered();
  const editor = new ImageEditor(checker.core, image.contents, image.sizeBytes);
  const block = image.blocks.at(-1) as number;
  const bytes = editor.read(block, 4096);
  const view = new DataView(bytes.buffer);
  view.setUint8(64, 77);
  bytes.set(editor.checksum(bytes.subarray(16, view.getUint32(32, true))), 8);
  editor.write(block, bytes);
  t.same(codes(check(image)), ["DFS-FSCK-JOURNAL-ENTRY"]);
});

// --- devices that fail ---

/** What fsck says when some blocks of the sample cannot be read. */
function unreadable(blocks: readonly number[]): FsckReport {
  const device = checker.device(sample.sizeBytes, sample.contents);
  const read = device.read.bind(device);
  device.read = (offsetBytes, address, byteLength, done) => {
    const first = offsetBytes / 4096;
    const bad = blocks.some((block) => block >= first && block < first + byteLength / 4096);
    if (bad) checker.post(() => done(-5));
    else read(offsetBytes, address, byteLength, done);
  };
  return checker.run(fsck(checker.environment, [device]));
}

t.test("fsck tells what a device cannot read, and goes on", async (t) => {
  const editor = new ImageEditor(checker.core, sample.contents, sample.sizeBytes);
  const page = leaf(editor)?.blocks ?? [];
  const extent = editor
    .items(FILES)
    .find(({ key }) => key.oid === ino("sparse") && key.type === EXTENT);
  const data = u64(new DataView((extent?.value ?? new Uint8Array(24)).buffer), 16);
  const superblock = new DataView(editor.superblock().buffer);
  const journal = u64(superblock, 160) + u64(superblock, 104);
  const [ring] = editor.superblockBlocks();
  t.same(codes(unreadable([page[0] as number])), ["DFS-FSCK-PAGE-COPY"]);
  t.same(codes(unreadable(page)), ["DFS-FSCK-PAGE-LOST"]);
  t.same(codes(unreadable([data])), ["DFS-FSCK-DATA-READ"]);
  t.same(codes(unreadable([editor.bitmapBlocks(0)[0] as number])), ["DFS-FSCK-BITMAP-COPY"]);
  t.same(codes(unreadable(editor.bitmapBlocks(0))), ["DFS-FSCK-BITMAP-LOST"]);
  t.same(codes(unreadable([journal])), ["DFS-FSCK-JOURNAL-READ"]);
  t.same(codes(unreadable([ring])), [], "the other ring has all superblocks");
});

// --- any image ---

t.test("fsck gives a report for any image of any bytes", async (t) => {
  const seed = Number(process.env["SEED"] ?? 20);
  t.comment(`seed ${seed}`);
  const prng = new Prng(seed);
  const superblock = new ImageEditor(checker.core, sample.contents, sample.sizeBytes);
  const pages = new Set<number>();
  for (const tree of [1, 2, 3]) {
    for (const { key } of superblock.items(tree)) {
      for (const page of superblock.path(tree, key))
        for (const block of page.blocks) pages.add(block);
    }
  }
  const targets = [...pages];
  for (let round = 0; round < 150; round++) {
    const contents = sample.contents.clone();
    const editor = new ImageEditor(checker.core, contents, sample.sizeBytes);
    const flips = 1 + prng.below(4);
    for (let flip = 0; flip < flips; flip++) {
      const kind = prng.below(4);
      if (kind === 0) {
        // Behind the checksums: a page of a random key, at any level.
        const items = editor.items(1 + prng.below(2));
        const key = items[prng.below(items.length)]?.key;
        if (key === undefined) continue;
        const tree = key.type === 16 ? 2 : 1;
        const depth = editor.path(tree, key).length;
        editor.editPage(tree, key, prng.below(depth), (view) => {
          view.setUint8(8 + prng.below(16376), prng.below(256));
        });
        // The image may not be one that the editor can read any more.
        break;
      }
      if (kind === 1) {
        editor.editSuperblock((view) => view.setUint8(16 + prng.below(432), prng.below(256)));
        break;
      }
      const block =
        kind === 2
          ? (targets[prng.below(targets.length)] as number) + prng.below(4)
          : prng.below(sample.sizeBytes / 4096);
      editor.flip(block, prng.below(4096), 1 << prng.below(8));
    }
    const report = check({ contents, sizeBytes: sample.sizeBytes }, { windows: { objects: 100 } });
    if (report.clean !== (report.errorCount === 0)) t.fail(`round ${round}`);
  }
  for (const length of [64 << 20, 100 << 20]) {
    const device = checker.device(length);
    const noise = bytesOf(1 << 20, seed);
    for (let at = 0; at < length; at += 8 << 20) device.contents.write(at, noise);
    t.same(codes(check(device)), ["DFS-FSCK-SUPERBLOCK-NONE"]);
  }
  t.same(
    codes(check(checker.device(8192))),
    ["DFS-FSCK-SUPERBLOCK-NONE"],
    "a device too small for anything",
  );
});

t.test("fsck ends when a tree's pages point to each other by the thousand", async (t) => {
  const report = damaged((editor) => {
    // Every slot of the root points to the same leaf.
    editor.editPage(FILES, inode("dir"), 1, (view, bytes) => {
      const from = view.getUint16(64 + 16, true);
      for (let slot = 1; slot < view.getUint16(14, true); slot++) {
        bytes.copyWithin(view.getUint16(64 + slot * 20 + 16, true), from, from + 40);
      }
    });
  });
  t.same(codes(report), ["DFS-FSCK-BLOCK-SHARED", "DFS-FSCK-PAGE-ORDER"]);
  t.equal(report.complete, false);
});

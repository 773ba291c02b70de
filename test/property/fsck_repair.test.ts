/**
 * Whatever is changed in an image behind its checksums: a repair ends, fsck finds nothing after it but data that does not
 * match its checksum, the volume mounts, a second repair changes nothing, and of what was there before nothing is
 * missing or different but what a step, or what fsck still finds, names.
 */
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { type RepairReport, repair } from "../../host/maintain/repair.ts";
import { cases, FILES, sample } from "../support/damage.ts";
import { contentsOf, type ObjectContents, unexplained } from "../support/image_contents.ts";
import { ImageEditor } from "../support/image_editor.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, create, fill, mount } from "../support/sample_volume.ts";

const ROUNDS = Number(process.env["ROUNDS"] ?? 10);
const SEED = Number(process.env["SEED"] ?? 1);
const MUTATIONS_MAX = 5;

const checker = new MemoryEngine();
const { sizeBytes } = sample;

interface Base {
  readonly name: string;
  readonly contents: SparseBytes;
  /** What it holds once it has been mounted. */
  readonly holds: ReadonlyMap<number, ObjectContents>;
}

const BEYOND = new Set(["all superblocks", "an unknown feature"]);
const kinds = cases.filter(({ name }) => !BEYOND.has(name));
const bases: readonly Base[] = [
  { name: "unmounted", contents: sample.contents, holds: holdings(sample.contents) },
  crashed(),
];

for (let round = 0; round < ROUNDS; round++) {
  const seed = SEED + round;
  t.test(`repair: any damage, seed ${seed}`, async (t) => {
    const prng = new Prng(seed);
    const base = bases[prng.below(bases.length)] as Base;
    const contents = base.contents.clone();
    const done: string[] = [];
    for (let count = 1 + prng.below(MUTATIONS_MAX); count > 0; count--) {
      try {
        done.push(mutate(prng, new ImageEditor(checker.core, contents, sizeBytes)));
      } catch {
        // The editor could not find its way through what was changed before.
        done.push("nothing more");
      }
    }
    const what = `seed ${seed}, ${base.name}: ${done.join("; ")}`;
    const windows = prng.below(3) === 0 ? { regions: 1, objects: 1 + prng.below(60) } : {};
    const device = checker.device(sizeBytes, contents);
    const report = checker.run(repair(checker.environment, [device], { windows }));
    const left = Object.keys(report.after.errorCodes).filter((code) => code !== "DFS-FSCK-DATA");
    t.same(left, [], `nothing is left: ${what}`);
    t.ok(report.after.complete, what);
    const again = checker.run(repair(checker.environment, [device]));
    t.same(again.steps, [], `a second repair changes nothing: ${what}`);
    const now = holdings(contents);
    t.same(unexplained(base.holds, now, namedBy(report)), [], `nothing else is missing: ${what}`);
  });
}

/** Steps, and what fsck still says is wrong. */
function namedBy(report: RepairReport): Pick<RepairReport, "steps" | "lost"> {
  const left = report.after.errors.map(({ message, where, place }) => ({
    kind: "extent-removed" as const,
    message,
    where,
    place,
  }));
  return { steps: [...report.steps, ...left], lost: [...report.lost, ...left] };
}

/** What an image holds after a mount and an unmount. */
function holdings(contents: SparseBytes): ReadonlyMap<number, ObjectContents> {
  const copy = contents.clone();
  const mounted = mount({ contents: copy, sizeBytes });
  const file = mounted.calls.file(ROOT_INO, "made afterwards");
  mounted.calls.write(file, 0, bytesOf(50_000, 3));
  mounted.engine.run(mounted.volume.unmount());
  const holds = contentsOf(new ImageEditor(checker.core, copy, sizeBytes));
  holds.delete(file);
  return holds;
}

/** A volume that was not unmounted: the journal holds changes since its checkpoint. */
function crashed(): Base {
  const device = create(new MemoryEngine(), sizeBytes);
  const { engine, volume, calls } = mount(device);
  fill(calls);
  engine.run(
    (function* () {
      yield (resume) => volume.checkpoint(resume);
    })(),
  );
  const later = calls.directory(ROOT_INO, "later");
  for (let index = 0; index < 30; index++) {
    const file = calls.file(later, `file ${index}`);
    calls.write(file, 0, bytesOf(index * 900, index));
  }
  calls.sync();
  const contents = device.contents.clone();
  return { name: "crashed", contents, holds: holdings(contents) };
}

/** Changes something. Returns what. */
function mutate(prng: Prng, editor: ImageEditor): string {
  const items = editor.items(FILES);
  const item = items[prng.below(items.length)];
  if (item === undefined) return "nothing";
  const { key } = item;
  const place = `(${key.oid}, ${key.type}, ${key.offset})`;
  switch (prng.below(8)) {
    case 0: {
      const kind = kinds[prng.below(kinds.length)];
      kind?.change(editor);
      return kind?.name ?? "nothing";
    }
    case 1:
      editor.removeItem(FILES, key);
      return `${place} removed`;
    case 2: {
      const level = prng.below(editor.path(FILES, key).length);
      const page = editor.path(FILES, key).at(-1 - level);
      const copies = prng.below(3);
      for (const [copy, block] of (page?.blocks ?? []).entries())
        if (copies === 2 || copies === copy) editor.flip(block, 64 + prng.below(4000));
      return `copies ${copies} of the page of level ${level} over ${place}`;
    }
    case 3: {
      const bit = prng.below(16384);
      editor.editBitmap(0, (bitmap) => {
        for (let at = bit; at < Math.min(16384, bit + 40); at++)
          bitmap[at >> 3] = (bitmap[at >> 3] as number) ^ (1 << (at & 7));
      });
      return `bits ${bit} of the bitmap`;
    }
    case 4: {
      const offset = prng.below(2 ** 20) * (prng.below(2) === 0 ? 1 : 4096);
      const type = 1 + prng.below(11);
      const oid = prng.below(440);
      editor.insertItem(FILES, { oid, type, offset }, item.value);
      return `${place} again at (${oid}, ${type}, ${offset})`;
    }
    default: {
      if (item.value.length === 0) return "nothing";
      const at = prng.below(Math.min(item.value.length, 112));
      const byte = prng.below(2) === 0 ? prng.below(256) : (item.value[at] as number) ^ 1;
      editor.editItem(FILES, key, (value) => value.setUint8(at, byte));
      return `byte ${at} of ${place} is ${byte}`;
    }
  }
}

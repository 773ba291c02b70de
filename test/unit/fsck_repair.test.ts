/**
 * A repair leaves a volume in which fsck finds nothing, that mounts, and that holds everything it held before unless a
 * step names it; a second repair finds nothing to do; and a trial says the same and writes nothing.
 */
import t from "tap";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import type { FsckReport } from "../../host/maintain/fsck_report.ts";
import { type RepairOptions, type RepairReport, repair } from "../../host/maintain/repair.ts";
import { cases, sample } from "../support/damage.ts";
import { contentsOf, unexplained } from "../support/image_contents.ts";
import { ImageEditor } from "../support/image_editor.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { mount } from "../support/sample_volume.ts";

/** One core for all: each run lays it out anew. */
const checker = new MemoryEngine();
const { sizeBytes } = sample;

function editorOf(contents: SparseBytes): ImageEditor {
  return new ImageEditor(checker.core, contents, sizeBytes);
}

const healthy = contentsOf(editorOf(sample.contents));

function repaired(contents: SparseBytes, options: RepairOptions = {}): RepairReport {
  const device = checker.device(sizeBytes, contents);
  return checker.run(repair(checker.environment, [device], options));
}

function check(contents: SparseBytes): FsckReport {
  return checker.run(fsck(checker.environment, [checker.device(sizeBytes, contents)]));
}

const BEYOND = new Set(["all superblocks", "an unknown feature"]);

for (const { name, change, codes } of cases) {
  t.test(`repair: ${name}`, async (t) => {
    const contents = sample.contents.clone();
    change(editorOf(contents));
    const damaged = contents.clone();
    if (BEYOND.has(name)) {
      const report = repaired(contents);
      t.notOk(report.changed);
      t.notOk(report.after.clean);
      return;
    }
    const trial = repaired(contents, { dryRun: true });
    t.ok(sameBytes(contents, damaged), "a trial writes nothing");
    const report = repaired(contents);
    t.same(
      report.steps.map(({ kind, message }) => `${kind} ${message}`),
      trial.steps.map(({ kind, message }) => `${kind} ${message}`),
      "a trial says what is done",
    );
    const remaining = name === "a block of data" ? ["DFS-FSCK-DATA"] : [];
    t.same(Object.keys(report.after.errorCodes), remaining, "nothing is left");
    t.same(report.after.warnings, []);
    t.equal(report.after.complete, true);
    if (codes.length > remaining.length) t.ok(report.changed);
    if (name !== "a block of data")
      t.same(unexplained(healthy, contentsOf(editorOf(contents)), report), []);
    const again = repaired(contents);
    t.notOk(again.changed, "a second repair changes nothing");
    t.same(again.steps, []);

    const mounted = mount({ contents, sizeBytes });
    const file = mounted.calls.file(1, "made after the repair");
    mounted.calls.write(file, 0, new Uint8Array(100_000).fill(7));
    mounted.engine.run(mounted.volume.unmount());
    t.same(Object.keys(check(contents).errorCodes), remaining, "and it stays so");
  });
}

function sameBytes(a: SparseBytes, b: SparseBytes): boolean {
  const left = new Uint8Array(1 << 20);
  const right = new Uint8Array(1 << 20);
  for (let at = 0; at < sizeBytes; at += left.length) {
    a.read(at, left);
    b.read(at, right);
    if (Buffer.compare(left, right) !== 0) return false;
  }
  return true;
}

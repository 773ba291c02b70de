/**
 * Repairs of hostile images, the same mutants as those of the target `images`.
 *
 * - A repair ends, with a report or an FsError that says why nothing can be done; a trial says the same and writes nothing.
 * - After it a check finds nothing but data that does not match its checksum; a second repair changes nothing; the volume
 *   mounts, everything in it can be read, changed and checked again.
 * - What the image held before, as far as SPEC.md says how to read it, is there or is named as lost.
 */
import { FsError } from "../../host/base/fs_error.ts";
import type { Prng } from "../../host/base/prng.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { mountVolume } from "../../host/fs/volume.ts";
import { type RepairReport, repair } from "../../host/maintain/repair.ts";
import { contentsOf, type ObjectContents, unexplained } from "../support/image_contents.ts";
import { ImageEditor } from "../support/image_editor.ts";
import { FuzzEngine } from "./engine.ts";
import { baseOf, ImageParts, SIZE_BYTES } from "./image_base.ts";
import { applyField } from "./image_mutation.ts";
import { images, User } from "./images.ts";
import { Fault, type Field, type Target } from "./target.ts";

const REPAIR_BYTES = 32 << 20;
const BEYOND: ReadonlySet<string> = new Set([
  "DFS-FSCK-SUPERBLOCK-NONE",
  "DFS-FSCK-UNSUPPORTED",
  "DFS-FSCK-DEVICE-SIZE",
]);
/** Data of which there is one copy: it can be found bad, and no more. */
const DATA: ReadonlySet<string> = new Set(["DFS-FSCK-DATA", "DFS-FSCK-DATA-READ"]);

let repairer: FuzzEngine | undefined;
let mounter: FuzzEngine | undefined;
const held = new Map<string, ReadonlyMap<number, ObjectContents>>();

export const repairs: Target = {
  mutate: (random: Prng): Field[] => images.mutate(random),

  run(fields: readonly Field[]): string {
    const name = String(fields.find((field) => "base" in field)?.["base"] ?? "everything");
    const parts = new ImageParts(baseOf(name));
    for (const field of fields) applyField(parts, field);
    const image = parts.build();
    const replays = fields.some(({ op, what }) => op === "commit" || what === "commit");
    const expected = replays ? null : expectedOf(name, image);
    const trial = repaired(image.clone(), true);
    const report = repaired(image, false);
    if (textOf(trial) !== textOf(report))
      throw new Fault(`a trial and a repair differ: ${textOf(trial)} and ${textOf(report)}`);
    if (report instanceof FsError) throw new Fault(`no repair: ${report.reason} ${report.message}`);
    const { after } = report;
    const left = Object.keys(after.errorCodes).filter((code) => !DATA.has(code));
    if (left.some((code) => BEYOND.has(code))) {
      if (report.changed) throw new Fault(`something was done, and ${left.join(" ")} is left`);
      return `beyond repair: ${left.sort().join(" ")}`;
    }
    if (left.length > 0) {
      const first = after.errors.find(({ code }) => !DATA.has(code));
      throw new Fault(`after a repair there is ${left.sort().join(" ")}: ${first?.message}`);
    }
    if (!after.complete) throw new Fault("after a repair not everything can be checked");
    const again = repaired(image, false);
    if (again instanceof FsError || again.changed || again.steps.length > 0)
      throw new Fault(`a second repair finds something: ${textOf(again)}`);
    if (expected !== null) compare(expected, image, report);
    use(image, !after.clean);
    if (!report.changed) return "nothing to do";
    const kinds = Object.keys(report.stepCounts).sort();
    return `${report.lostCount > 0 ? "with losses" : "whole"}: ${kinds.slice(0, 3).join(" ")}`;
  },
};

function repaired(image: SparseBytes, dryRun: boolean): RepairReport | FsError {
  repairer ??= new FuzzEngine(REPAIR_BYTES);
  repairer.reset();
  const devices = [repairer.device(image)];
  try {
    return repairer.run(repair(repairer.environment, devices, { dryRun }), "repair");
  } catch (error) {
    if (error instanceof FsError) return error;
    throw error;
  }
}

function textOf(report: RepairReport | FsError): string {
  if (report instanceof FsError) return `${report.reason} ${report.message}`;
  return report.steps.map(({ kind, message, where }) => `${kind} ${message} ${where}`).join("; ");
}

// --- what must be there ---

function read(image: SparseBytes): Map<number, ObjectContents> | null {
  repairer ??= new FuzzEngine(REPAIR_BYTES);
  try {
    return contentsOf(new ImageEditor(repairer.core, image, SIZE_BYTES));
  } catch {
    return null;
  }
}

/**
 * What the mutant holds that the base held, too, once it had been mounted: what differs is the mutation's, or the journal's.
 * Null if the mutant cannot be read.
 */
function expectedOf(name: string, image: SparseBytes): Map<number, ObjectContents> | null {
  const now = read(image);
  if (now === null) return null;
  const expected = new Map<number, ObjectContents>();
  for (const [ino, { mode, nlink, size, parts, paths }] of heldBy(name)) {
    const object = now.get(ino);
    if (object === undefined || object.mode !== mode || object.size !== size) continue;
    const kept = paths.filter((path) => object.paths.includes(path));
    if (kept.length === 0) continue;
    const same = [...parts].filter(([part, hash]) => object.parts.get(part) === hash);
    expected.set(ino, { mode, nlink, size, parts: new Map(same), paths: kept });
  }
  return expected;
}

function heldBy(name: string): ReadonlyMap<number, ObjectContents> {
  let holds = held.get(name);
  if (holds === undefined) {
    const copy = baseOf(name).contents.clone();
    const engine = new FuzzEngine();
    const volume = engine.run(
      mountVolume(engine.environment, [engine.device(copy)], { readOnly: false }),
      "mount",
    );
    engine.run(volume.unmount(), "unmount");
    holds = read(copy) ?? new Map();
    held.set(name, holds);
  }
  return holds;
}

function compare(
  expected: ReadonlyMap<number, ObjectContents>,
  image: SparseBytes,
  report: RepairReport,
): void {
  const now = read(image);
  if (now === null) throw new Fault("a volume that was repaired cannot be read");
  // Of data that is bad the check says so.
  const bad = report.after.errors.map(({ message, where, place }) => ({
    kind: "extent-removed" as const,
    message,
    where,
    place,
  }));
  const missing = unexplained(expected, now, {
    steps: [...report.steps, ...bad],
    lost: [...report.lost, ...bad],
  });
  if (missing.length > 0) throw new Fault(`lost without a word: ${missing.join(", ")}`);
}

// --- what can be done with it ---

/** @param isDataBad What touches such data fails. */
function use(image: SparseBytes, isDataBad: boolean): void {
  mounter ??= new FuzzEngine();
  mounter.reset();
  const volume = mounter.run(
    mountVolume(mounter.environment, [mounter.device(image)], { readOnly: false }),
    "mount",
  );
  const user = new User(mounter, volume.fs);
  user.walk();
  user.write();
  user.note(
    "sync",
    mounter.wait((resume) => volume.fs.sync(resume), "sync"),
  );
  mounter.run(volume.unmount(), "unmount");
  mounter.check();
  const errors = [...user.errors].filter((error) => !(isDataBad && error.endsWith(" EIO")));
  if (errors.length > 0) throw new Fault(`a repaired volume has errors: ${errors.join(", ")}`);
  const after = repaired(image, true);
  const left =
    after instanceof FsError
      ? [after.reason]
      : Object.keys(after.before.errorCodes).filter((code) => !DATA.has(code));
  if (left.length > 0)
    throw new Fault(`a repaired volume has findings once it was used: ${left.join(" ")}`);
}

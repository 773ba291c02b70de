/**
 * A repair that loses power at any write or flush leaves a volume that a second repair puts right, and in which nothing
 * is missing but what one of the two named.
 */
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import { SimulatedDevice } from "../../host/device/simulated_device.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { type RepairReport, repair } from "../../host/maintain/repair.ts";
import { cases, sample } from "../support/damage.ts";
import { contentsOf, unexplained } from "../support/image_contents.ts";
import { ImageEditor } from "../support/image_editor.ts";
import { MemoryEngine } from "../support/memory_engine.ts";

const SEED = Number(process.env["SEED"] ?? 11);
/** Images taken of each repair; the more, the longer. */
const IMAGES = Number(process.env["IMAGES"] ?? 5);
/** Each begins with all of these kinds of damage at once. */
const KINDS: readonly (readonly string[])[] = [
  ["both copies of a leaf", "blocks in use that are marked free"],
  ["a directory below itself", "a file's links", "shared blocks with too small a count"],
  ["both copies of a bitmap", "an inode missing", "an extent where another one is"],
  ["a region's item missing", "an entry gone", "one copy of a leaf"],
];

const checker = new MemoryEngine();
const { sizeBytes } = sample;
const healthy = contentsOf(new ImageEditor(checker.core, sample.contents, sizeBytes));

for (const [round, kinds] of KINDS.entries()) {
  t.test(`a repair of ${kinds.join(", ")} can be interrupted, seed ${SEED}`, async (t) => {
    const prng = new Prng(SEED + round);
    const contents = sample.contents.clone();
    for (const name of kinds) {
      const kind = cases.find((one) => one.name === name);
      if (kind === undefined) throw new Error(`There is no damage of kind ${name}`);
      kind.change(new ImageEditor(checker.core, contents, sizeBytes));
    }
    // Once to know how many events there are, once more to take images at some of them.
    const first = run(contents, () => {});
    t.ok(first.report.after.clean, "without an interruption");
    const wanted = new Set<number>();
    while (wanted.size < Math.min(IMAGES, first.events)) wanted.add(prng.below(first.events));
    const images: SparseBytes[] = [];
    run(contents, (device, event) => {
      if (wanted.has(event)) images.push(device.crashImage(prng, "torn"));
    });
    t.equal(images.length, wanted.size);
    for (const [index, image] of images.entries()) {
      const device = checker.device(sizeBytes, image);
      const again = checker.run(repair(checker.environment, [device]));
      t.same(again.after.errorCodes, {}, `image ${index}`);
      const steps = {
        steps: [...first.report.steps, ...again.steps],
        lost: [...first.report.lost, ...again.lost],
      };
      const now = contentsOf(new ImageEditor(checker.core, image, sizeBytes));
      t.same(unexplained(healthy, now, steps), [], `nothing else is missing in image ${index}`);
      t.notOk(checker.run(repair(checker.environment, [device])).changed, "and no more to do");
    }
  });
}

function run(
  contents: SparseBytes,
  onEvent: (device: SimulatedDevice, event: number) => void,
): { events: number; report: RepairReport } {
  let events = 0;
  const device = new SimulatedDevice({
    core: checker.core,
    scheduler: { post: (callback) => checker.post(callback), timer: checker.environment.timer },
    image: contents.clone(),
  });
  device.onEvent = () => {
    onEvent(device, events++);
    return undefined;
  };
  const report = checker.run(repair(checker.environment, [device]));
  return { events, report };
}

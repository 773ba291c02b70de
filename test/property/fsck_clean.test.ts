/**
 * Whatever a file system does, fsck finds nothing in what lies on its device: at any moment between operations, after a
 * checkpoint, after a crash that loses memory, and after a remount.
 */
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, type Calls, create, mount } from "../support/sample_volume.ts";

const ROUNDS = Number(process.env["ROUNDS"] ?? 1);
const STEPS = Number(process.env["STEPS"] ?? 1500);

interface Node {
  readonly ino: number;
  readonly parent: number;
  readonly name: string;
  readonly isDirectory: boolean;
}

const checker = new MemoryEngine();

for (let round = 0; round < ROUNDS; round++) {
  const seed = Number(process.env["SEED"] ?? 7) + round;
  t.test(`fsck: nothing wrong after any operations, seed ${seed}`, async (t) => {
    const prng = new Prng(seed);
    const device = create(new MemoryEngine(), 64 << 20);
    let mounted = mount(device);
    let nodes: Node[] = [];
    let directories = [ROOT_INO];

    const check = (when: string, contents: SparseBytes = device.contents): boolean => {
      const report = checker.run(
        fsck(checker.environment, [checker.device(device.sizeBytes, contents)]),
      );
      if (report.clean) return true;
      return t.same(report.errors.slice(0, 5), [], `seed ${seed}: ${when}`);
    };

    for (let step = 0; step < STEPS; step++) {
      const { calls } = mounted;
      change(prng, calls, nodes, directories, step);
      if (prng.below(60) === 0) mounted.engine.run(checkpointOf(mounted.volume));
      if (prng.below(40) === 0) calls.sync();
      if (prng.below(50) === 0 && !check(`step ${step}`)) return;
      if (prng.below(100) === 0) {
        // What a mount makes of the device as it is now, with all that is in memory lost.
        const contents = device.contents.clone();
        mount({ contents, sizeBytes: device.sizeBytes });
        if (!check(`recovered at step ${step}`, contents)) return;
      }
      if (prng.below(300) === 0) {
        // Half the times memory is lost without an unmount, after a sync: all that happened must come back.
        if (prng.below(2) === 0) calls.sync();
        else mounted.engine.run(mounted.volume.unmount());
        if (!check(`before the mount at step ${step}`)) return;
        mounted = mount(device);
        if (!check(`after the mount at step ${step}`)) return;
      }
    }
    mounted.engine.run(mounted.volume.unmount());
    check("at the end");
    t.ok(nodes.length > 10, `${nodes.length} objects`);
    nodes = [];
    directories = [];
  });
}

function* checkpointOf(volume: { checkpoint(done: (status: number) => void): void }) {
  const status: number = yield (resume: (status: number) => void) => volume.checkpoint(resume);
  if (status < 0) throw new Error(`checkpoint failed: ${status}`);
}

/** One random operation that can succeed. */
function change(
  prng: Prng,
  calls: Calls,
  nodes: Node[],
  directories: number[],
  step: number,
): void {
  const parent = directories[prng.below(directories.length)] as number;
  const name = `${"n".repeat(prng.below(60))}${step}`;
  const index = prng.below(Math.max(1, nodes.length));
  const node = nodes[index];
  const file = node !== undefined && !node.isDirectory ? node : undefined;
  switch (prng.below(12)) {
    case 0:
      if (directories.length > 20) break;
      directories.push(calls.directory(parent, name));
      break;
    case 1:
    case 2:
    case 3:
      nodes.push({ ino: calls.file(parent, name), parent, name, isDirectory: false });
      break;
    case 4:
      if (file === undefined) break;
      calls.unlink(file.parent, file.name);
      nodes.splice(index, 1);
      break;
    case 5:
    case 6:
      if (file !== undefined)
        calls.write(file.ino, prng.below(400_000), bytesOf(1 + prng.below(60_000), step));
      break;
    case 7:
      if (file !== undefined) calls.write(file.ino, 0, bytesOf(1 + prng.below(1500), step));
      break;
    case 8:
      if (file !== undefined)
        calls.truncate(file.ino, prng.below(3) === 0 ? 0 : prng.below(300_000));
      break;
    case 9:
      if (file !== undefined) {
        calls.setXattr(file.ino, `user.${prng.below(5)}`, bytesOf(prng.below(3) * 2500, step));
      }
      break;
    case 10:
      if (file === undefined) break;
      calls.rename(file.parent, file.name, parent, name);
      nodes[index] = { ...file, parent, name };
      break;
    case 11:
      if (file === undefined) break;
      calls.link(file.ino, parent, name);
      nodes.push({ ...file, parent, name });
      break;
  }
}

/** Copies of ranges: what is shared, what is copied, and that neither file hears of the other afterwards. */
import t from "tap";
import { EFBIG, EINVAL, EIO, EISDIR } from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { spawn } from "../../host/base/task.ts";
import type { MemoryDevice } from "../../host/device/memory_device.ts";
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, ROOT_INO } from "../../host/fs/file_system.ts";
import { mountVolume, type Volume } from "../../host/fs/volume.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, type Calls, create, mount } from "../support/sample_volume.ts";
import { Calls as SimCalls } from "../support/sim_calls.ts";
import { getMachines, Session } from "../support/sim_engine.ts";

const MIB = 2 ** 20;

class CloneVolume {
  readonly device: MemoryDevice = create(new MemoryEngine(), 64 * MIB);
  readonly #mounted = mount(this.device);
  readonly engine: MemoryEngine = this.#mounted.engine;
  readonly calls: Calls = this.#mounted.calls;

  get freeBytes(): number {
    const { sizeBytes, usedBytes } = this.#mounted.volume.status();
    return sizeBytes - usedBytes;
  }

  has(ino: number, expected: Uint8Array): boolean {
    return Buffer.compare(this.calls.read(ino, expected.length), expected) === 0;
  }

  /** Unmounts; what fsck finds. */
  errors(): unknown {
    this.engine.run(this.#mounted.volume.unmount());
    const checker = new MemoryEngine();
    const device = checker.device(this.device.sizeBytes, this.device.contents);
    return checker.run(fsck(checker.environment, [device])).errors;
  }
}

t.test("a copy of a whole file takes no blocks, and lives by itself", async (t) => {
  const volume = new CloneVolume();
  const { calls } = volume;
  const original = bytesOf(10 * MIB + 1234, 1);
  const from = calls.file(ROOT_INO, "from");
  calls.write(from, 0, original);
  calls.sync();
  const before = volume.freeBytes;
  const to = calls.file(ROOT_INO, "to");
  t.equal(calls.clone(from, 0, to, 0, 2 ** 40), original.length);
  calls.sync();
  t.ok(before - volume.freeBytes < MIB, "only records of it");
  t.ok(volume.has(to, original));
  const changed = original.slice();
  changed.set(bytesOf(3 * MIB, 2), 5000);
  calls.write(to, 5000, changed.subarray(5000, 5000 + 3 * MIB));
  calls.truncate(from, 4 * MIB + 77);
  calls.sync();
  t.ok(volume.has(to, changed));
  t.ok(volume.has(from, original.subarray(0, 4 * MIB + 77)));
  calls.unlink(ROOT_INO, "from");
  volume.engine.drain();
  calls.sync();
  t.ok(volume.has(to, changed));
  calls.unlink(ROOT_INO, "to");
  volume.engine.drain();
  calls.sync();
  t.ok(volume.freeBytes >= before + 10 * MIB, "all is given back");
  t.same(volume.errors(), []);
});

t.test("ranges of every alignment give what a copy would", async (t) => {
  const volume = new CloneVolume();
  const { calls } = volume;
  const source = bytesOf(300_000, 3);
  const from = calls.file(ROOT_INO, "from");
  calls.write(from, 0, source);
  const ranges: [number, number, number][] = [
    [0, 0, 300_000],
    [4096, 8192, 100_000],
    [4096, 0, 4096],
    [1, 1, 200_000],
    [5000, 904, 50_000],
    [100, 7, 100_000],
    [299_000, 4096, 5000],
    [290_816, 8192, 9184],
    [290_816, 4096, 4096],
    [0, 4096, 0],
    [300_000, 0, 10],
  ];
  for (const [index, [fromOffset, toOffset, length]] of ranges.entries()) {
    for (const targetBytes of [0, 900, 150_000]) {
      const to = calls.file(ROOT_INO, `to ${index} ${targetBytes}`);
      const target = bytesOf(targetBytes, index);
      if (targetBytes > 0) calls.write(to, 0, target);
      if (index % 2 === 0) calls.sync();
      const copied = Math.max(0, Math.min(length, source.length - fromOffset));
      t.equal(calls.clone(from, fromOffset, to, toOffset, length), copied);
      const end = copied === 0 ? targetBytes : Math.max(targetBytes, toOffset + copied);
      const expected = new Uint8Array(end);
      expected.set(target);
      if (copied > 0) expected.set(source.subarray(fromOffset, fromOffset + copied), toOffset);
      t.ok(volume.has(to, expected), `${fromOffset} to ${toOffset}, ${length}, on ${targetBytes}`);
      if (end < 4096) continue;
      // What is after the end must not come back when the file grows.
      calls.truncate(to, end + 10_000);
      const grown = calls.read(to, end + 10_000).subarray(end);
      t.ok(
        grown.every((byte) => byte === 0),
        "zeros behind it",
      );
    }
  }
  t.same(volume.errors(), []);
});

t.test("holes stay holes, also over what was there", async (t) => {
  const volume = new CloneVolume();
  const { calls, engine } = volume;
  const from = calls.file(ROOT_INO, "sparse");
  const expected = new Uint8Array(8 * MIB);
  expected.set(bytesOf(MIB, 4), 3 * MIB);
  calls.write(from, 3 * MIB, expected.subarray(3 * MIB, 4 * MIB));
  calls.truncate(from, 8 * MIB);
  calls.allocate(from, 6 * MIB, MIB);
  const to = calls.file(ROOT_INO, "to");
  calls.write(to, 0, bytesOf(8 * MIB, 5));
  calls.sync();
  t.equal(calls.clone(from, 0, to, 0, 8 * MIB), 8 * MIB);
  t.ok(volume.has(to, expected));
  t.equal(calls.fs.seek(to, 0, 3), 3 * MIB);
  t.equal(calls.fs.seek(to, 3 * MIB, 4), 4 * MIB);
  t.equal(
    engine.retry(() =>
      calls.fs.fallocate(to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * MIB, MIB),
    ),
    0,
  );
  t.ok(volume.has(from, expected), "a hole punched in one is none in the other");
  t.same(volume.errors(), []);
});

t.test("within one file, and many times", async (t) => {
  const volume = new CloneVolume();
  const { calls } = volume;
  const ino = calls.file(ROOT_INO, "file");
  const unit = bytesOf(MIB, 6);
  calls.write(ino, 0, unit);
  for (let index = 1; index < 40; index++) t.equal(calls.clone(ino, 0, ino, index * MIB, MIB), MIB);
  t.ok(volume.freeBytes > 40 * MIB);
  const expected = new Uint8Array(40 * MIB);
  for (let index = 0; index < 40; index++) expected.set(unit, index * MIB);
  t.equal(calls.clone(ino, 5 * MIB + 4096, ino, 5 * MIB, 4096), 4096, "from what is behind it");
  expected.copyWithin(5 * MIB, 5 * MIB + 4096, 5 * MIB + 8192);
  for (let index = 0; index < 300; index++) {
    const at = ((index * 7919) % 10_000) * 4096;
    expected.set(bytesOf(4096, index), at);
    calls.write(ino, at, expected.subarray(at, at + 4096));
  }
  calls.sync();
  t.ok(volume.has(ino, expected));
  calls.truncate(ino, 2 * MIB);
  calls.sync();
  t.ok(volume.has(ino, expected.subarray(0, 2 * MIB)));
  t.same(volume.errors(), []);
});

t.test("what is buffered, inline or empty is copied, too", async (t) => {
  const volume = new CloneVolume();
  const { calls } = volume;
  const inline = calls.file(ROOT_INO, "inline");
  calls.write(inline, 0, bytesOf(700, 7));
  calls.sync();
  const buffered = calls.file(ROOT_INO, "buffered");
  calls.write(buffered, 0, bytesOf(50_000, 8));
  const empty = calls.file(ROOT_INO, "empty");
  const to = calls.file(ROOT_INO, "to");
  t.equal(calls.clone(empty, 0, to, 0, 100), 0);
  t.equal(calls.clone(inline, 0, to, 0, 4096), 700);
  t.ok(volume.has(to, bytesOf(700, 7)));
  t.equal(calls.clone(buffered, 0, to, 8192, 2 ** 40), 50_000);
  calls.write(buffered, 0, bytesOf(50_000, 9));
  const expected = new Uint8Array(58_192);
  expected.set(bytesOf(700, 7));
  expected.set(bytesOf(50_000, 8), 8192);
  t.ok(volume.has(to, expected));
  calls.sync();
  t.ok(volume.has(to, expected));
  t.same(volume.errors(), []);
});

t.test("what cannot be is refused", async (t) => {
  const volume = new CloneVolume();
  const { calls } = volume;
  const file = calls.file(ROOT_INO, "file");
  calls.write(file, 0, bytesOf(20_000, 10));
  t.equal(calls.clone(file, 0, file, 4096, 8192), -EINVAL, "it overlaps");
  t.equal(calls.clone(file, -1, file, 40_960, 10), -EINVAL);
  t.equal(calls.clone(file, 0, file, 2 ** 53 - 4096, 10), -EFBIG);
  t.equal(calls.clone(ROOT_INO, 0, file, 0, 10), -EISDIR);
  t.equal(calls.clone(file, 0, ROOT_INO, 0, 10), -EISDIR);
  t.ok(volume.has(file, bytesOf(20_000, 10)));
  t.same(volume.errors(), []);
});

function simulated(): {
  session: Session;
  volume: Volume;
  calls: SimCalls;
  make: (name: string) => number;
} {
  const { work, fresh } = getMachines();
  const session = new Session(work, { prng: new Prng(1), image: fresh.clone(), delayMs: [1, 2] });
  const options = { readOnly: false, checkpointSeconds: 30 };
  const volume = session.run(mountVolume(session.environment, [session.device], options));
  const calls = new SimCalls(work.core, volume.fs);
  const make = (name: string): number => {
    let found = 0;
    const task = calls.make(ROOT_INO, name, "file", 0o644, "", (ino) => {
      found = ino;
    });
    session.run(task);
    return found;
  };
  return { session, volume, calls, make };
}

/** The device hangs for 50 ms from the next write on; tells when it does. */
function hangAtWrite({ device }: Session): () => boolean {
  const { writeVector, hang } = device;
  let isHanging = false;
  device.writeVector = (...given): void => {
    if (!isHanging) hang.call(device, 50);
    isHanging = true;
    writeVector.apply(device, given);
  };
  return () => isHanging;
}

t.test("a copy waits for what is on its way to the place it goes to", async (t) => {
  const { session, volume, calls, make } = simulated();
  const [from, to] = [make("from"), make("to")];
  session.run(calls.write(from, 0, bytesOf(MIB, 21).subarray(0, 100_000), () => {}));
  session.run(calls.sync());
  session.run(calls.write(to, 0, bytesOf(MIB, 22).subarray(0, 100_000), () => {}));
  const isHanging = hangAtWrite(session);
  let synced = false;
  spawn(calls.sync(), () => {
    synced = true;
  });
  session.reactor.runSync({ until: isHanging });
  t.equal(session.run(calls.clone(from, 0, to, 0, 100_000)), 100_000);
  session.reactor.runSync({ until: () => synced });
  session.run(calls.sync());
  t.same(session.run(calls.read(to, 0, 100_000)), bytesOf(MIB, 21).subarray(0, 100_000));
  session.run(volume.unmount());
  const image = session.device.currentImage();
  const checker = new Session(getMachines().work, { prng: new Prng(2), image });
  t.same(checker.run(fsck(checker.environment, [checker.device])).errors, []);
});

t.test("a copy ends when what it waits for cannot be written any more", async (t) => {
  const { session, calls, make } = simulated();
  const [from, to] = [make("from"), make("to")];
  session.run(calls.write(from, 0, bytesOf(100_000, 23), () => {}));
  session.run(calls.sync());
  session.run(calls.write(to, 0, bytesOf(100_000, 24), () => {}));
  const isHanging = hangAtWrite(session);
  spawn(calls.sync(), () => {});
  session.reactor.runSync({ until: isHanging });
  // It waits for its target; when that ends, in an error, its source is buffered again.
  let copied: number | null = null;
  spawn(calls.clone(from, 0, to, 0, 100_000), (_, status) => {
    copied = status as number;
  });
  session.run(calls.write(from, 0, bytesOf(8192, 25), () => {}));
  session.device.failure = -EIO;
  session.reactor.runSync({ until: () => copied !== null });
  t.equal(copied, -EIO);
  t.ok(session.isFaulted);
});

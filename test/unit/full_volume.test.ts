/** What a volume without space still takes: writes into space that was kept, and writes over what is there. */
import t from "tap";
import { ENOSPC } from "../../host/base/errno.ts";
import type { MemoryDevice } from "../../host/device/memory_device.ts";
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE, ROOT_INO } from "../../host/fs/file_system.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, type Calls, create, mount } from "../support/sample_volume.ts";

const MIB = 2 ** 20;

/** A mounted volume of 64 MiB. */
class FullVolume {
  readonly device: MemoryDevice = create(new MemoryEngine(), 64 * MIB);
  readonly #mounted = mount(this.device);
  readonly engine: MemoryEngine = this.#mounted.engine;
  readonly calls: Calls = this.#mounted.calls;

  /** What can be written. */
  get availableBytes(): number {
    return this.#mounted.volume.status().availableBytes;
  }

  /** That, and what is kept for metadata or comes with the next checkpoint. */
  get freeBytes(): number {
    const { sizeBytes, usedBytes } = this.#mounted.volume.status();
    return sizeBytes - usedBytes;
  }

  keep(ino: number, mode: number, offset: number, byteLength: number): number {
    return this.engine.retry(() => this.calls.fs.fallocate(ino, mode, offset, byteLength));
  }

  /** Writes a file until there is no space left; returns the bytes that fitted. */
  fill(name: string): number {
    const { calls, engine } = this;
    const ino = calls.file(ROOT_INO, name);
    const payload = calls.fs.takeBuffer(1);
    let size = 0;
    for (;;) {
      const status = engine.retry(() => calls.fs.write(ino, size, payload, 4096, false));
      if (status === -ENOSPC) break;
      if (status !== 4096) throw new Error(`A write gave ${status}`);
      size += status;
    }
    calls.fs.giveBuffer(payload, 1);
    calls.sync();
    return size;
  }

  /** Unmounts; findings of fsck. */
  findings(): unknown {
    this.engine.run(this.#mounted.volume.unmount());
    const checker = new MemoryEngine();
    const device = checker.device(this.device.sizeBytes, this.device.contents);
    return checker.run(fsck(checker.environment, [device])).errors;
  }
}

t.test("what is said to be available can be taken, and no more", async (t) => {
  const volume = new FullVolume();
  const { calls } = volume;
  for (let index = 0; index < 300; index++) calls.file(ROOT_INO, `name ${index}`);
  const old = calls.file(ROOT_INO, "old");
  calls.write(old, 0, bytesOf(12 * MIB, 1));
  calls.sync();
  calls.unlink(ROOT_INO, "old");
  volume.engine.drain();
  const file = calls.file(ROOT_INO, "file");
  const available = volume.availableBytes;
  t.ok(available > 30 * MIB, `${available}, with what was just removed`);
  // Names and their pages take some, and what is free is in pieces.
  t.equal(volume.keep(file, 0, 0, available - MIB / 2), 0);
  t.equal(volume.keep(file, 0, available, 6 * MIB), -ENOSPC, "the rest is for metadata");
  t.same(volume.findings(), []);
});

t.test("space that was kept can be written when there is no other", async (t) => {
  const volume = new FullVolume();
  const { calls } = volume;
  const kept = calls.file(ROOT_INO, "kept");
  t.equal(volume.keep(kept, 0, 0, 8 * MIB), 0);
  const filled = volume.fill("filler");
  t.ok(filled > 16 * MIB, `${filled} bytes fitted beside it`);
  const expected = bytesOf(8 * MIB, 1);
  calls.write(kept, 0, expected);
  calls.sync();
  // Once more, and in pieces: each replaces what gives its place back only with a checkpoint.
  for (let index = 0; index < 3000; index++) {
    const at = ((index * 797) % 2048) * 4096;
    const bytes = bytesOf(4096, index);
    expected.set(bytes, at);
    calls.write(kept, at, bytes);
    if (index % 64 === 0) calls.sync();
  }
  calls.sync();
  t.ok(Buffer.compare(calls.read(kept, expected.length), expected) === 0);
  t.equal(
    volume.engine.retry(() => calls.fs.write(kept, 8 * MIB, calls.fs.takeBuffer(1), 4096, false)),
    -ENOSPC,
    "there is no space for more",
  );
  t.same(volume.findings(), []);
});

t.test("what is there can be written over when there is no space", async (t) => {
  const volume = new FullVolume();
  const { calls } = volume;
  const file = calls.file(ROOT_INO, "old");
  const expected = bytesOf(6 * MIB, 2);
  calls.write(file, 0, expected);
  const small = calls.file(ROOT_INO, "small");
  calls.write(small, 0, bytesOf(100, 3));
  volume.fill("filler");
  expected.set(bytesOf(5 * MIB, 4), 12_345);
  calls.write(file, 12_345, expected.subarray(12_345, 12_345 + 5 * MIB));
  calls.write(small, 10, bytesOf(3000, 5));
  calls.sync();
  t.ok(Buffer.compare(calls.read(file, expected.length), expected) === 0);
  t.ok(Buffer.compare(calls.read(small, 3010).subarray(10), bytesOf(3000, 5)) === 0);
  t.same(volume.findings(), []);
});

t.test("space that cannot be kept is refused, and nothing is taken", async (t) => {
  const volume = new FullVolume();
  const { calls } = volume;
  const ino = calls.file(ROOT_INO, "large");
  const before = volume.freeBytes;
  t.equal(volume.keep(ino, 0, 0, 80 * MIB), -ENOSPC);
  t.equal(volume.keep(ino, FALLOC_FL_KEEP_SIZE, 2 ** 40, 80 * MIB), -ENOSPC);
  t.equal(volume.freeBytes, before);
  t.equal(
    volume.keep(ino, FALLOC_FL_KEEP_SIZE, 2 ** 40, 20 * MIB),
    0,
    "but what there is can be had",
  );
  t.ok(before - volume.freeBytes >= 20 * MIB);
  calls.truncate(ino, 0);
  t.equal(volume.freeBytes, before);
  t.same(volume.findings(), []);
});

t.test("zeroing keeps the space of what it zeroes", async (t) => {
  const volume = new FullVolume();
  const { calls } = volume;
  const ino = calls.file(ROOT_INO, "zeroed");
  const expected = bytesOf(4 * MIB, 6);
  calls.write(ino, 0, expected);
  calls.sync();
  t.equal(volume.keep(ino, FALLOC_FL_ZERO_RANGE, 5000, 3 * MIB), 0);
  expected.fill(0, 5000, 5000 + 3 * MIB);
  t.ok(Buffer.compare(calls.read(ino, expected.length), expected) === 0);
  volume.fill("filler");
  expected.set(bytesOf(3 * MIB, 7), 5000);
  calls.write(ino, 5000, expected.subarray(5000, 5000 + 3 * MIB));
  calls.sync();
  t.ok(Buffer.compare(calls.read(ino, expected.length), expected) === 0);
  t.same(volume.findings(), []);
});

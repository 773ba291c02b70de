/** What is free, as bitmaps on disk say it: a bad copy is not believed. */
import t from "tap";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { BLOCK_BYTES, geometryFor, mapBlock } from "../../host/format/geometry.ts";
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, create, mount } from "../support/sample_volume.ts";

const SIZE_BYTES = 64 << 20;
const BEFORE = bytesOf(300_000, 1);

/** A volume with a file, unmounted; in some copies of its bitmap a free block is said to be in use. */
function damaged(copies: readonly number[]): { contents: SparseBytes; before: number } {
  const { contents } = create(new MemoryEngine(), SIZE_BYTES);
  const { engine, volume, calls } = mount({ contents, sizeBytes: SIZE_BYTES });
  const before = calls.file(ROOT_INO, "before");
  calls.write(before, 0, BEFORE);
  engine.run(volume.unmount());
  const geometry = geometryFor(SIZE_BYTES);
  const byte = new Uint8Array(1);
  for (const copy of copies) {
    for (const slot of [0, 1]) {
      const at = mapBlock(geometry, copy, 0, slot) * BLOCK_BYTES + (geometry.blockCount >> 4);
      contents.read(at, byte);
      byte[0] = (byte[0] as number) ^ 1;
      contents.write(at, byte);
    }
  }
  return { contents, before };
}

t.test("a bad copy of a bitmap is noticed, and the other one is used", async (t) => {
  for (const copies of [[], [0], [1]]) {
    const { contents } = damaged(copies);
    const { engine, volume, calls } = mount({ contents, sizeBytes: SIZE_BYTES });
    const ino = calls.file(ROOT_INO, "file");
    calls.write(ino, 0, bytesOf(1 << 20, 2));
    calls.sync();
    engine.run(volume.unmount());
    const told = engine.logged.filter(({ event }) => event === "space.bitmap_damaged");
    t.equal(told.length, copies.includes(0) ? 1 : 0, `copies ${copies}`);
    const checker = new MemoryEngine();
    const device = checker.device(SIZE_BYTES, contents);
    t.same(checker.run(fsck(checker.environment, [device])).errors, []);
  }
});

t.test("without a good copy nothing is written, and what is there can be read", async (t) => {
  const { contents, before } = damaged([0, 1]);
  const { calls } = mount({ contents, sizeBytes: SIZE_BYTES });
  t.throws(() => calls.file(ROOT_INO, "file"), /failed: -5/);
  t.equal(Buffer.compare(calls.read(before, BEFORE.length), BEFORE), 0);
});

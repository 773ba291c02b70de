/** The data half of the file system where writes, write-back and fsync cross. */
import t from "tap";
import { ENOSPC } from "../../host/base/errno.ts";
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { Space } from "../../host/store/space.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, create, mount } from "../support/sample_volume.ts";

const MIB = 2 ** 20;

function volume(): ReturnType<typeof mount> & { read(ino: number, length: number): Uint8Array } {
  const mounted = mount(create(new MemoryEngine(), 64 * MIB));
  return { ...mounted, read: (ino, length) => mounted.calls.read(ino, length) };
}

function isSame(found: Uint8Array, expected: Uint8Array): boolean {
  return Buffer.compare(found, expected) === 0;
}

t.test("a file that outgrew its inode keeps its first block while it is written", async (t) => {
  const { engine, volume: mounted, calls, read } = volume();
  const ino = calls.file(ROOT_INO, "grows");
  const expected = bytesOf(40_000, 1);
  calls.write(ino, 0, expected.subarray(0, 400));
  calls.sync();
  calls.write(ino, 0, expected);
  // A checkpoint writes all of it back; while it does a later block is written again …
  const offset = 20_480;
  expected.set(bytesOf(4096, 2), offset);
  mounted.checkpoint(() => {});
  engine.post(() => calls.write(ino, offset, expected.subarray(offset, offset + 4096)));
  engine.drain();
  // … and the file is still buffered when a part of the first one is.
  expected.set(bytesOf(300, 3), 0);
  calls.write(ino, 0, expected.subarray(0, 300));
  t.ok(isSame(read(ino, expected.length), expected));
  calls.sync();
  t.ok(isSame(read(ino, expected.length), expected));
});

t.test("fsyncs of single blocks while earlier ones are written back", async (t) => {
  const { engine, volume: mounted, calls, read } = volume();
  const ino = calls.file(ROOT_INO, "database");
  const expected = bytesOf(4 * MIB, 1);
  calls.write(ino, 0, expected);
  calls.sync();
  const before = mounted.status().counters["journalCommits"] as number;
  // Enough fsyncs of single blocks that logged blocks are written back meanwhile.
  for (let index = 0; index < 600; index++) {
    const at = ((index * 397) % 1024) * 4096;
    expected.set(bytesOf(4096, 2 + index), at);
    calls.write(ino, at, expected.subarray(at, at + 4096));
    let status = 1;
    calls.fs.fsync(ino, true, (result) => {
      status = result;
    });
    engine.drain();
    if (status !== 0) throw new Error(`fsync gave ${status}`);
  }
  t.ok(
    (mounted.status().counters["journalCommits"] as number) - before >= 600,
    "each fsync is a commit",
  );
  t.ok(isSame(read(ino, expected.length), expected));
});

t.test("who syncs hears of data that found no place, once, and may try again", async (t) => {
  const { engine, calls, read } = volume();
  const ino = calls.file(ROOT_INO, "homeless");
  const expected = bytesOf(MIB, 5);
  const sync = (start: (done: (status: number) => void) => void): number => {
    let status = 1;
    start((result) => {
      status = result;
    });
    engine.drain();
    return status;
  };
  const { allocateData } = Space.prototype;
  for (const isAll of [false, true]) {
    const start = (done: (status: number) => void): void => {
      if (isAll) calls.fs.sync(done);
      else calls.fs.fsync(ino, false, done);
    };
    calls.write(ino, 0, expected);
    Space.prototype.allocateData = () => -ENOSPC;
    try {
      t.equal(sync(start), -ENOSPC);
    } finally {
      Space.prototype.allocateData = allocateData;
    }
    calls.write(ino, 0, expected);
    if (isAll) sync((done) => calls.fs.fsync(ino, false, done));
    t.equal(sync(start), 0);
    t.ok(isSame(read(ino, expected.length), expected));
  }
});

/** Access times: relatime, kept in memory until a checkpoint or the unmount. */
import t from "tap";
import { Attributes, ROOT_INO } from "../../host/fs/file_system.ts";
import { mountVolume } from "../../host/fs/volume.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, Calls, create } from "../support/sample_volume.ts";

const SIZE_BYTES = 64 << 20;

/** A volume with a file of this size, mounted anew: nothing of it is buffered. */
function mounted(options: { noAtime?: boolean } = {}): {
  engine: MemoryEngine;
  calls: Calls;
  ino: number;
  atime(): string;
  read(): void;
  remount(): void;
} {
  const device = create(new MemoryEngine(), SIZE_BYTES);
  let engine = new MemoryEngine();
  const open = () =>
    engine.run(
      mountVolume(engine.environment, [engine.device(SIZE_BYTES, device.contents)], {
        readOnly: false,
        ...options,
      }),
    );
  let volume = open();
  let calls = new Calls(engine, volume.fs);
  const ino = calls.file(ROOT_INO, "file");
  calls.write(ino, 0, bytesOf(10_000, 1));
  const out = new Attributes();
  return {
    get engine() {
      return engine;
    },
    get calls() {
      return calls;
    },
    ino,
    atime() {
      engine.retry(() => volume.fs.getAttributes(ino, out));
      return `${out.atime}.${out.atimeNs}`;
    },
    read() {
      let status = -1;
      volume.fs.read(ino, 0, 4096, (result) => {
        status = result.status;
        result.release();
      });
      engine.drain();
      if (status !== 0) throw new Error(`A read gave ${status}`);
    },
    remount() {
      engine.run(volume.unmount());
      engine = new MemoryEngine();
      volume = open();
      calls = new Calls(engine, volume.fs);
    },
  };
}

t.test("the first read after a change counts, and survives an unmount", (t) => {
  const volume = mounted();
  const before = volume.atime();
  volume.read();
  const after = volume.atime();
  t.not(after, before);
  volume.read();
  t.equal(volume.atime(), after, "the next one does not: nothing changed since");
  volume.remount();
  t.equal(volume.atime(), after);
  t.end();
});

t.test("a change makes the next read count again", (t) => {
  const volume = mounted();
  volume.read();
  const first = volume.atime();
  volume.calls.write(volume.ino, 0, bytesOf(10, 2));
  t.equal(volume.atime(), first, "a write is no access");
  volume.read();
  t.not(volume.atime(), first);
  t.end();
});

t.test("noatime: reads change nothing", (t) => {
  const volume = mounted({ noAtime: true });
  const before = volume.atime();
  volume.read();
  t.equal(volume.atime(), before);
  volume.remount();
  t.equal(volume.atime(), before);
  t.end();
});

t.test("more files than may wait", (t) => {
  const volume = mounted();
  const inos = Array.from({ length: 2000 }, (_, index) =>
    volume.calls.file(ROOT_INO, `file ${index}`),
  );
  const out = new Attributes();
  const { engine, calls } = volume;
  const times = new Map<number, string>();
  for (const ino of inos) {
    calls.fs.read(ino, 0, 10, (result) => result.release());
    engine.drain();
    engine.retry(() => calls.fs.getAttributes(ino, out));
    times.set(ino, `${out.atime}.${out.atimeNs}`);
    if (out.atime * 1e9 + out.atimeNs <= out.mtime * 1e9 + out.mtimeNs) t.fail(`inode ${ino}`);
  }
  volume.remount();
  let wrong = 0;
  for (const ino of inos) {
    volume.engine.retry(() => volume.calls.fs.getAttributes(ino, out));
    if (`${out.atime}.${out.atimeNs}` !== times.get(ino)) wrong++;
  }
  t.equal(wrong, 0);
  t.end();
});

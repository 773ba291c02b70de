/**
 * A small volume that holds one of everything: directories, files of every layout, links, special files, attributes, an
 * orphan. Made through the file system, so that what tools say about it is what they will say about real ones.
 */
import { Prng } from "../../host/base/prng.ts";
import type { Task } from "../../host/base/task.ts";
import type { MemoryDevice } from "../../host/device/memory_device.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import {
  AttributeChange,
  Attributes,
  type FileSystem,
  NewNode,
  ROOT_INO,
  SET_SIZE,
} from "../../host/fs/file_system.ts";
import { createVolume, mountVolume, type Volume } from "../../host/fs/volume.ts";
import { MemoryEngine } from "./memory_engine.ts";

const READ_BYTES = 1 << 20;

/** Calls of a file system with strings and bytes. */
export class Calls {
  readonly engine: MemoryEngine;
  readonly fs: FileSystem;
  readonly #name: number;
  readonly #payload: number;
  readonly out: Attributes = new Attributes();
  readonly node: NewNode = new NewNode();

  constructor(engine: MemoryEngine, fs: FileSystem) {
    this.engine = engine;
    this.fs = fs;
    // Buffers of the data pool: memory that nothing else uses.
    this.#name = fs.takeBuffer(1);
    this.#payload = fs.takeBuffer(32);
    if (this.#name === 0 || this.#payload === 0) throw new Error("No room for buffers");
  }

  #text(text: string, at: number): [number, number] {
    const bytes = new TextEncoder().encode(text);
    this.engine.core.bytes.set(bytes, at);
    return [at, bytes.length];
  }

  /** Runs an operation, waiting whenever it asks for it. */
  #run(operation: () => number): number {
    const result = this.engine.retry(operation);
    if (result < 0) throw new Error(`An operation failed: ${result}`);
    return result;
  }

  file(parent: number, name: string, mode = 0o100644): number {
    this.node.mode = mode;
    this.#run(() => this.fs.makeNode(parent, ...this.#text(name, this.#name), this.node, this.out));
    return this.out.ino;
  }

  directory(parent: number, name: string): number {
    this.node.mode = 0o040755;
    this.#run(() =>
      this.fs.makeDirectory(parent, ...this.#text(name, this.#name), this.node, this.out),
    );
    return this.out.ino;
  }

  symlink(parent: number, name: string, target: string): number {
    this.node.mode = 0o120777;
    const to = this.#text(target, this.#payload);
    this.#run(() =>
      this.fs.makeSymlink(parent, ...this.#text(name, this.#name), ...to, this.node, this.out),
    );
    return this.out.ino;
  }

  link(ino: number, parent: number, name: string): void {
    this.#run(() => this.fs.link(ino, parent, ...this.#text(name, this.#name), this.out));
  }

  unlink(parent: number, name: string): void {
    this.#run(() => this.fs.unlink(parent, ...this.#text(name, this.#name)));
  }

  rename(parent: number, name: string, newParent: number, newName: string): void {
    const from = this.#text(name, this.#name);
    const to = this.#text(newName, this.#payload);
    this.#run(() => this.fs.rename(parent, ...from, newParent, ...to, 0));
  }

  truncate(ino: number, size: number): void {
    const change = new AttributeChange();
    change.set = SET_SIZE;
    change.size = size;
    this.#run(() => this.fs.setAttributes(ino, change, this.out));
  }

  /** Copies a range; returns the bytes copied. */
  clone(
    from: number,
    fromOffset: number,
    to: number,
    toOffset: number,
    byteLength: number,
  ): number {
    const { engine, fs } = this;
    return engine.run(
      (function* (): Task<number> {
        return yield (resume) => fs.copyRange(from, fromOffset, to, toOffset, byteLength, resume);
      })(),
    );
  }

  /** Keeps space for a range, and grows the file. */
  allocate(ino: number, offset: number, byteLength: number): void {
    this.#run(() => this.fs.fallocate(ino, 0, offset, byteLength));
  }

  setXattr(ino: number, name: string, value: Uint8Array): void {
    this.engine.core.bytes.set(value, this.#payload);
    this.#run(() =>
      this.fs.setXattr(ino, ...this.#text(name, this.#name), this.#payload, value.length, 0),
    );
  }

  write(ino: number, offset: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 65536) {
      const part = bytes.subarray(at, at + 65536);
      this.engine.core.bytes.set(part, this.#payload);
      this.#run(() => this.fs.write(ino, offset + at, this.#payload, part.length, false));
    }
  }

  /** Reads from the beginning on. */
  read(ino: number, length: number): Uint8Array {
    const { engine } = this;
    const found = new Uint8Array(length);
    for (let offset = 0; offset < length; offset += READ_BYTES) {
      const wanted = Math.min(READ_BYTES, length - offset);
      let status = -1;
      this.fs.read(ino, offset, wanted, (result) => {
        status = result.status < 0 ? result.status : result.byteLength;
        let at = offset;
        for (let part = 0; part < result.parts; part++) {
          const address = result.addresses[part] as number;
          const byteLength = result.byteLengths[part] as number;
          found.set(engine.core.bytes.subarray(address, address + byteLength), at);
          at += byteLength;
        }
        result.release();
      });
      engine.drain();
      if (status !== wanted) throw new Error(`A read gave ${status} instead of ${wanted}`);
    }
    return found;
  }

  sync(): void {
    this.engine.run(
      (function* (fs: FileSystem) {
        const status = yield (resume) => fs.sync(resume);
        if (status < 0) throw new Error(`sync failed: ${status}`);
      })(this.fs),
    );
  }
}

export interface Sample {
  readonly sizeBytes: number;
  readonly contents: SparseBytes;
  /** Inode numbers by what they are. */
  readonly inos: Readonly<Record<string, number>>;
}

export const SAMPLE_BYTES: number = 64 << 20;

/** Bytes of which no part is like another. */
export function bytesOf(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  new Prng(seed).bytes(bytes);
  return bytes;
}

export function create(engine: MemoryEngine, sizeBytes: number): MemoryDevice {
  const device = engine.device(sizeBytes);
  engine.run(createVolume(engine.environment, [device], { name: "sample" }));
  return device;
}

/** Mounts a device in an engine of its own; a core is laid out once. */
export function mount(device: { contents: SparseBytes; sizeBytes: number }): {
  engine: MemoryEngine;
  volume: Volume;
  calls: Calls;
} {
  const engine = new MemoryEngine();
  const volume = engine.run(
    mountVolume(engine.environment, [engine.device(device.sizeBytes, device.contents)], {
      readOnly: false,
    }),
  );
  return { engine, volume, calls: new Calls(engine, volume.fs) };
}

/** Fills a volume; returns inode numbers. */
export function fill(calls: Calls): Record<string, number> {
  const inos: Record<string, number> = { root: ROOT_INO };
  inos["dir"] = calls.directory(ROOT_INO, "dir");
  inos["nested"] = calls.directory(inos["dir"], "nested");
  inos["empty"] = calls.file(ROOT_INO, "empty");
  inos["inline"] = calls.file(ROOT_INO, "inline");
  calls.write(inos["inline"], 0, bytesOf(700, 1));
  inos["small"] = calls.file(inos["dir"], "small");
  calls.write(inos["small"], 0, bytesOf(5000, 2));
  inos["large"] = calls.file(inos["nested"], "large");
  calls.write(inos["large"], 0, bytesOf(3 << 20, 3));
  inos["sparse"] = calls.file(inos["nested"], "sparse");
  calls.write(inos["sparse"], 1 << 30, bytesOf(10_000, 4));
  inos["linked"] = calls.file(ROOT_INO, "linked");
  calls.link(inos["linked"], inos["dir"], "other name");
  calls.link(inos["linked"], inos["nested"], "third name");
  inos["symlink"] = calls.symlink(ROOT_INO, "symlink", "dir/small");
  inos["fifo"] = calls.file(ROOT_INO, "fifo", 0o010600);
  inos["socket"] = calls.file(ROOT_INO, "socket", 0o140600);
  inos["device"] = calls.file(ROOT_INO, "device", 0o020600);
  inos["attributes"] = calls.file(ROOT_INO, "attributes");
  calls.setXattr(inos["attributes"], "user.short", bytesOf(20, 5));
  calls.setXattr(inos["attributes"], "user.empty", new Uint8Array(0));
  calls.setXattr(inos["attributes"], "user.long", bytesOf(9000, 6));
  calls.setXattr(inos["dir"], "user.dir", bytesOf(2048, 7));
  inos["cloned"] = calls.file(ROOT_INO, "cloned");
  calls.write(inos["cloned"], 0, bytesOf(2 << 20, 9));
  inos["clone"] = calls.file(ROOT_INO, "clone");
  calls.clone(inos["cloned"], 0, inos["clone"], 0, 2 << 20);
  inos["clone of it"] = calls.file(ROOT_INO, "clone of it");
  calls.clone(inos["clone"], 0, inos["clone of it"], 1 << 20, 2 << 20);
  inos["kept"] = calls.file(ROOT_INO, "kept");
  calls.allocate(inos["kept"], 4096, 1 << 20);
  inos["many"] = calls.directory(ROOT_INO, "many");
  for (let index = 0; index < 400; index++) calls.file(inos["many"], `file number ${index}`);
  return inos;
}

/** A volume with one of everything, unmounted but for an orphan: a file that was removed while it was in use. */
export function sampleVolume(): Sample {
  const device = create(new MemoryEngine(), SAMPLE_BYTES);
  const { engine, volume, calls } = mount(device);
  const inos = fill(calls);
  inos["orphan"] = calls.file(ROOT_INO, "orphan");
  calls.write(inos["orphan"], 0, bytesOf(20_000, 8));
  calls.fs.remember(inos["orphan"], 1);
  calls.sync();
  calls.unlink(ROOT_INO, "orphan");
  engine.run(volume.unmount());
  return { sizeBytes: SAMPLE_BYTES, contents: device.contents, inos };
}

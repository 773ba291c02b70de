/**
 * A disk with a volatile cache and faults, for real mounts: a process that serves a FUSE file system with two files.
 * `disk` is the device; what is written to `control` is a command. What the disk keeps is as in SimulatedDevice: what was
 * written since the last flush is there, gone or torn after a loss of power.
 *
 * Commands: `cut SEED` power is lost, and everything fails · `gone` everything fails, nothing is lost · `back` it works
 * again · `lie` flushes do nothing · `fail-write N` the Nth write from now fails, once · `flip SEED COUNT` turns bits in
 * blocks that are not zero.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { EIO } from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { Retry } from "../../host/base/retry.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import type { Done } from "../../host/device/device.ts";
import { SparseBytes } from "../../host/device/sparse_bytes.ts";
import {
  AttributeChange,
  Attributes,
  NewNode,
  type ReadResult,
  ROOT_INO,
  SET_SIZE,
} from "../../host/fs/file_system.ts";
import { Dispatcher } from "../../host/fuse/dispatch.ts";
import { FuseSession } from "../../host/fuse/session.ts";
import { UringReactor } from "../../host/reactor/uring_reactor.ts";
import { TreeFs, type TreeFsOptions } from "./tree_fs.ts";

const BLOCK = 4096;
const SECTOR = 512;
const POOL_BLOCKS = 4096;

interface Write {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

class FaultyFs extends TreeFs {
  readonly #bytes: Uint8Array;
  readonly #post: (callback: () => void) => void;
  readonly #disk: number;
  readonly #control: number;
  readonly #size: number;
  /** What a flush has made sure, and what reads see. */
  #durable: SparseBytes;
  #current: SparseBytes;
  #unflushed: Write[] = [];
  #isGone = false;
  #lies = false;
  #writesToFailure = 0;

  constructor(options: TreeFsOptions, sizeBytes: number) {
    super(options);
    this.#bytes = options.core.bytes;
    this.#post = options.post;
    this.#size = sizeBytes;
    this.#durable = new SparseBytes(sizeBytes, 32_768);
    this.#current = this.#durable.clone();
    this.#disk = this.#file("disk");
    this.#control = this.#file("control");
    const change = Object.assign(new AttributeChange(), { set: SET_SIZE, size: sizeBytes });
    this.setAttributes(this.#disk, change, new Attributes());
  }

  #file(name: string): number {
    const buffer = this.takeBuffer(1);
    this.#bytes.set(Buffer.from(name), buffer);
    const out = new Attributes();
    const node = Object.assign(new NewNode(), { mode: 0o100600 });
    this.makeNode(ROOT_INO, buffer, name.length, node, out);
    this.giveBuffer(buffer, 1);
    this.remember(out.ino, 1);
    return out.ino;
  }

  override read(
    ino: number,
    offset: number,
    byteLength: number,
    done: (result: ReadResult) => void,
  ): void {
    if (ino !== this.#disk) {
      super.read(ino, offset, byteLength, done);
      return;
    }
    const length = Math.max(0, Math.min(byteLength, this.#size - offset));
    const blocks = Math.max(1, Math.ceil(length / BLOCK));
    const run = this.takeBuffer(blocks);
    if (run === 0) throw new Retry((resume) => this.whenBuffers(resume));
    this.#current.read(offset, this.#bytes.subarray(run, run + length));
    const status = this.#isGone ? -EIO : 0;
    const parts = status < 0 || length === 0 ? 0 : 1;
    this.#post(() =>
      done({
        status,
        byteLength: status < 0 ? 0 : length,
        parts,
        addresses: [run],
        byteLengths: [length],
        release: () => this.giveBuffer(run, blocks),
      }),
    );
  }

  override write(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    killPrivileges: boolean,
  ): number {
    const bytes = this.#bytes.slice(address, address + byteLength);
    if (ino === this.#control) this.#obey(Buffer.from(bytes).toString().trim());
    if (ino !== this.#disk) return super.write(ino, offset, address, byteLength, killPrivileges);
    if (this.#isGone) return -EIO;
    if (this.#writesToFailure > 0 && --this.#writesToFailure === 0) return -EIO;
    this.#put(offset, bytes);
    return byteLength;
  }

  #put(offset: number, bytes: Uint8Array): void {
    this.#current.write(offset, bytes);
    this.#unflushed.push({ offset, bytes });
  }

  override fallocate(ino: number, mode: number, offset: number, byteLength: number): number {
    if (ino !== this.#disk) return super.fallocate(ino, mode, offset, byteLength);
    if (this.#isGone) return -EIO;
    // Of a loop device: discards, which leave zeros.
    const PART = 1 << 20;
    for (let at = 0; at < byteLength; at += PART)
      this.#put(offset + at, new Uint8Array(Math.min(PART, byteLength - at)));
    return 0;
  }

  override fsync(ino: number, dataOnly: boolean, done: Done): void {
    if (ino !== this.#disk && ino !== 0) {
      super.fsync(ino, dataOnly, done);
      return;
    }
    const status = this.#isGone ? -EIO : 0;
    if (status === 0 && !this.#lies) {
      for (const { offset, bytes } of this.#unflushed) this.#durable.write(offset, bytes);
      this.#unflushed = [];
    }
    this.#post(() => done(status));
  }

  #obey(command: string): void {
    const [word, first, second] = command.split(" ");
    if (word === "gone") this.#isGone = true;
    if (word === "back") this.#isGone = false;
    if (word === "lie") this.#lies = true;
    if (word === "fail-write") this.#writesToFailure = Number(first);
    if (word === "cut") this.#cut(new Prng(Number(first)));
    if (word === "flip") this.#flip(new Prng(Number(first)), Number(second));
  }

  #cut(prng: Prng): void {
    const torn = Math.max(0, this.#unflushed.length - 1);
    writeSync(1, `${JSON.stringify({ event: "cut", unflushed: this.#unflushed.length })}\n`);
    this.#unflushed.forEach(({ offset, bytes }, index) => {
      const fate = prng.below(index === torn ? 2 : 3);
      if (fate === 1) this.#durable.write(offset, bytes);
      if (fate === 2) {
        for (let at = 0; at < bytes.length; at += SECTOR)
          if (prng.below(2) === 0)
            this.#durable.write(offset + at, bytes.subarray(at, at + SECTOR));
      }
    });
    this.#unflushed = [];
    this.#current = this.#durable.clone();
    this.#isGone = true;
  }

  #flip(prng: Prng, count: number): void {
    const block = new Uint8Array(BLOCK);
    for (let left = count; left > 0; ) {
      const at = prng.below(this.#size / BLOCK) * BLOCK;
      this.#current.read(at, block);
      if (block.every((byte) => byte === 0)) continue;
      const byte = prng.below(BLOCK);
      const bit = prng.below(8);
      this.#current.flipBit(at + byte, bit);
      this.#durable.flipBit(at + byte, bit);
      left -= 1;
    }
  }
}

// As other FUSE file systems are: they leave O_DSYNC to the kernel, which forgets it for asynchronous direct writes.
Dispatcher.prototype.durableWriteIno = () => 0;

const [mountpoint = "", size = "0"] = process.argv.slice(2);
const core = loadCore({ memoryPages: POOL_BLOCKS / 16 + 32 });
const reactor = new UringReactor(core);
const fs = new FaultyFs(
  {
    core,
    poolStart: new Layout(core).take(POOL_BLOCKS * BLOCK, BLOCK),
    poolBlocks: POOL_BLOCKS,
    post: (callback) => reactor.post(callback),
  },
  Number(size),
);
const session = new FuseSession({
  reactor,
  core,
  fs,
  log: () => {},
  readOnly: false,
  // The kernel keeps nothing back.
  writeback: false,
});
session.onEnd(() => reactor.stop());
session.mountAt(mountpoint, {});
writeSync(1, `${JSON.stringify({ event: "mounted" })}\n`);
await reactor.run();
reactor.close();

/**
 * Calls of a file system with text and bytes, as a client of the simulation makes them; and reading all that there is.
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { EIO } from "../../host/base/errno.ts";
import { type Arena, Slab } from "../../host/base/slab.ts";
import { RetryFailed, retrying, type Task } from "../../host/base/task.ts";
import type { Core } from "../../host/core/core.ts";
import {
  AttributeChange,
  Attributes,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  type FileSystem,
  NewNode,
  ROOT_INO,
  SET_ATIME,
  SET_CTIME,
  SET_GID,
  SET_MODE,
  SET_MTIME,
  SET_SIZE,
  SET_UID,
} from "../../host/fs/file_system.ts";
import {
  BLOCK,
  type Dump,
  describeNode,
  type Node,
  type NodeType,
  type Times,
  timesText,
} from "./crash_model.ts";
import { SimulationFailure } from "./sim_engine.ts";

export const PAYLOAD_BLOCKS: number = 32;

const slab = new Slab(1 << 20);

export type Instant = readonly [seconds: number, nanoseconds: number];

/** Calls of a file system with text and bytes; several may be under way, each with its own buffers. */
export class Calls {
  readonly fs: FileSystem;
  readonly #core: Core;
  readonly #name: number;
  readonly #payload: number;
  readonly #out = new Attributes();
  readonly #node = new NewNode();
  readonly #change = new AttributeChange();

  constructor(core: Core, fs: FileSystem) {
    this.#core = core;
    this.fs = fs;
    this.#name = fs.takeBuffer(1);
    this.#payload = fs.takeBuffer(PAYLOAD_BLOCKS);
    if (this.#name === 0 || this.#payload === 0) throw new SimulationFailure("no room for buffers");
  }

  #text(text: string, at: number): [number, number] {
    // Names of the simulation are ASCII.
    for (let index = 0; index < text.length; index++)
      this.#core.bytes[at + index] = text.charCodeAt(index);
    return [at, text.length];
  }

  /** Runs an operation until it does not ask to be run again, and `applied` at once after it has succeeded. */
  *#run(operation: () => number, applied: (result: number) => void): Task<number> {
    try {
      return yield* retrying(() => {
        const result = operation();
        if (result >= 0) applied(result);
        return result;
      });
    } catch (error) {
      if (error instanceof RetryFailed) return error.status;
      throw error;
    }
  }

  make(
    parent: number,
    name: string,
    kind: NodeType,
    mode: number,
    target: string,
    applied: (ino: number) => void,
  ): Task<number> {
    const node = this.#node;
    const { fs } = this;
    return this.#run(
      () => {
        const at = this.#text(name, this.#name);
        node.mode = kind === "file" ? 0o100000 | mode : mode;
        node.rdev = 0;
        if (kind === "special") {
          // A FIFO, a socket, or a device whose number the target is.
          const [format, rdev] = target.split("/").map(Number) as [number, number];
          node.mode = format | mode;
          node.rdev = rdev;
        }
        if (kind === "file" || kind === "special")
          return fs.makeNode(parent, ...at, node, this.#out);
        if (kind === "directory") return fs.makeDirectory(parent, ...at, node, this.#out);
        const to = this.#text(target, this.#name + 512);
        return fs.makeSymlink(parent, ...at, ...to, node, this.#out);
      },
      () => applied(this.#out.ino),
    );
  }

  /** A regular file without a name. */
  makeUnnamed(parent: number, mode: number, applied: (ino: number) => void): Task<number> {
    const node = this.#node;
    return this.#run(
      () => {
        node.mode = 0o100000 | mode;
        node.rdev = 0;
        return this.fs.makeUnnamed(parent, node, this.#out);
      },
      () => applied(this.#out.ino),
    );
  }

  link(ino: number, parent: number, name: string, applied: () => void): Task<number> {
    return this.#run(
      () => this.fs.link(ino, parent, ...this.#text(name, this.#name), this.#out),
      applied,
    );
  }

  unlink(parent: number, name: string, applied: () => void): Task<number> {
    return this.#run(() => this.fs.unlink(parent, ...this.#text(name, this.#name)), applied);
  }

  removeDirectory(parent: number, name: string, applied: () => void): Task<number> {
    return this.#run(
      () => this.fs.removeDirectory(parent, ...this.#text(name, this.#name)),
      applied,
    );
  }

  rename(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: number,
    applied: () => void,
  ): Task<number> {
    return this.#run(() => {
      const from = this.#text(name, this.#name);
      const to = this.#text(newName, this.#name + 512);
      return this.fs.rename(parent, ...from, newParent, ...to, flags);
    }, applied);
  }

  setMode(ino: number, mode: number, applied: () => void): Task<number> {
    return this.#setAttributes(ino, SET_MODE, mode, 0, applied);
  }

  setOwner(ino: number, uid: number, gid: number, applied: () => void): Task<number> {
    return this.#run(() => {
      const change = this.#change;
      change.set = SET_UID | SET_GID;
      change.uid = uid;
      change.gid = gid;
      return this.fs.setAttributes(ino, change, this.#out);
    }, applied);
  }

  /** @param ctime null: that of the change. */
  setTimes(ino: number, mtime: Instant, ctime: Instant | null, applied: () => void): Task<number> {
    return this.#run(() => {
      const change = this.#change;
      change.set = SET_ATIME | SET_MTIME | (ctime === null ? 0 : SET_CTIME);
      [change.atime, change.atimeNs] = mtime;
      [change.mtime, change.mtimeNs] = mtime;
      if (ctime !== null) [change.ctime, change.ctimeNs] = ctime;
      return this.fs.setAttributes(ino, change, this.#out);
    }, applied);
  }

  /** What POSIX refuses: the number of a case, and what it is tried on. */
  wrong(number: number, parent: number, name: string, ino: number): Task<number> {
    const { fs } = this;
    const out = this.#out;
    const node = this.#node;
    node.mode = 0o100644;
    node.rdev = 0;
    const at = (text: string): [number, number] => this.#text(text, this.#name);
    const long = "x".repeat(256);
    const cases: readonly (() => number)[] = [
      () => fs.makeNode(parent, ...at(long), node, out),
      () => fs.makeNode(parent, ...at(name), node, out),
      () => fs.makeDirectory(parent, ...at(name), node, out),
      () => fs.lookup(parent, ...at("is not there"), out),
      () => fs.unlink(parent, ...at("is not there")),
      () => fs.removeDirectory(parent, ...at("is not there")),
      () => fs.lookup(0x1f_ffff_ffff, ...at(name), out),
      () => fs.getAttributes(0x1f_ffff_ffff, out),
      () => fs.setXattr(ino, ...at(`user.${long}`), this.#payload, 1, 0),
      () => fs.setXattr(ino, ...at("user.absent"), this.#payload, 1, 2),
      () => fs.removeXattr(ino, ...at("user.absent")),
      () => fs.write(ino, 2 ** 53 - 4096, this.#payload, 4096, false),
      () => fs.write(ino, -4096, this.#payload, 4096, false),
      () => fs.fallocate(ino, 0, 0, 0),
      () => fs.fallocate(ino, 0, 2 ** 60, 4096),
      () => fs.fallocate(ino, 0x40, 0, 4096),
      () => fs.rename(parent, ...at("is not there"), parent, this.#name + 512, 3, 0),
      () => fs.link(parent, parent, ...at("hard link of a directory"), out),
    ];
    return this.#run(cases[number % cases.length] as () => number, () => {});
  }

  /** Sets the size, and the mode with it: so that the model can tell whether it is there. */
  truncate(ino: number, size: number, mode: number, applied: () => void): Task<number> {
    return this.#setAttributes(ino, SET_MODE | SET_SIZE, mode, size, applied);
  }

  #setAttributes(
    ino: number,
    set: number,
    mode: number,
    size: number,
    applied: () => void,
  ): Task<number> {
    return this.#run(() => {
      const change = this.#change;
      change.set = set;
      change.mode = mode;
      change.size = size;
      return this.fs.setAttributes(ino, change, this.#out);
    }, applied);
  }

  setXattr(ino: number, name: string, value: Uint8Array, applied: () => void): Task<number> {
    return this.#run(() => {
      this.#core.bytes.set(value, this.#payload);
      return this.fs.setXattr(ino, ...this.#text(name, this.#name), this.#payload, value.length, 0);
    }, applied);
  }

  removeXattr(ino: number, name: string, applied: () => void): Task<number> {
    return this.#run(() => this.fs.removeXattr(ino, ...this.#text(name, this.#name)), applied);
  }

  /** @param bytes At most PAYLOAD_BLOCKS blocks. */
  write(ino: number, offset: number, bytes: Uint8Array, applied: () => void): Task<number> {
    return this.#run(() => {
      this.#core.bytes.set(bytes, this.#payload);
      return this.fs.write(ino, offset, this.#payload, bytes.length, false);
    }, applied);
  }

  /** Hands the payload over in a run of the pool, as FUSE does with large writes. */
  *writeOwned(ino: number, offset: number, bytes: Uint8Array, applied: () => void): Task<number> {
    const blocks = Math.ceil(bytes.length / 4096);
    const run = this.fs.takeBuffer(blocks);
    if (run === 0) return yield* this.write(ino, offset, bytes, applied);
    this.#core.bytes.set(bytes, run);
    let isHandedOver = false;
    const result = yield* this.#run(() => {
      const written = this.fs.writeOwned(ino, offset, run, bytes.length, run, blocks, false);
      // Whatever the result; not when it must be waited for.
      isHandedOver = true;
      return written;
    }, applied);
    if (!isHandedOver) this.fs.giveBuffer(run, blocks);
    return result;
  }

  punch(ino: number, offset: number, byteLength: number, applied: () => void): Task<number> {
    return this.#run(
      () => this.fs.fallocate(ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, byteLength),
      applied,
    );
  }

  *clone(
    from: number,
    fromOffset: number,
    to: number,
    toOffset: number,
    byteLength: number,
  ): Task<number> {
    return yield (resume) => this.fs.copyRange(from, fromOffset, to, toOffset, byteLength, resume);
  }

  /** fallocate(2) in a mode that keeps space. */
  keep(
    ino: number,
    mode: number,
    offset: number,
    byteLength: number,
    applied: () => void,
  ): Task<number> {
    return this.#run(() => this.fs.fallocate(ino, mode, offset, byteLength), applied);
  }

  *fsync(ino: number): Task<number> {
    return yield (resume) => this.fs.fsync(ino, false, resume);
  }

  *sync(): Task<number> {
    return yield (resume) => this.fs.sync(resume);
  }

  /**
   * What is there, or −errno.
   *
   * @param bytes Where it goes: as large as what is wanted.
   */
  *tryRead(
    ino: number,
    offset: number,
    byteLength: number,
    bytes: Uint8Array = slab.take(byteLength),
  ): Task<Uint8Array | number> {
    let at = 0;
    const status = yield (resume) =>
      this.fs.read(ino, offset, byteLength, (result) => {
        if (result.status >= 0) {
          for (let part = 0; part < result.parts; part++) {
            const address = result.addresses[part] as number;
            const length = result.byteLengths[part] as number;
            bytes.set(this.#core.bytes.subarray(address, address + length), at);
            at += length;
          }
        }
        const { status } = result;
        result.release();
        resume(status);
      });
    return status < 0 ? status : at === byteLength ? bytes : bytes.subarray(0, at);
  }

  /** @throws {Error} When it cannot be read. */
  *read(ino: number, offset: number, byteLength: number): Task<Uint8Array> {
    const bytes = yield* this.tryRead(ino, offset, byteLength);
    if (typeof bytes === "number") throw new Error(`reading inode ${ino} failed: ${bytes}`);
    return bytes;
  }

  /**
   * Reads all that there is.
   *
   * @param isTolerant What gives EIO is named in the dump, or left out.
   * @param arena Where the contents of files go; or they have memory of their own.
   * @param withTimes mtime and ctime too.
   */
  *dump(isTolerant = false, arena?: Arena, withTimes = false): Task<Dump> {
    const times = new Map<number, Times>();
    const entries = new Map<string, string>();
    const contents = new Map<number, Uint8Array>();
    const unreadable = new Map<number, Set<number>>();
    let isPartial = false;
    const queue = [ROOT_INO];
    const seen = new Set(queue);
    for (let at = 0; at < queue.length; at++) {
      const ino = queue[at] as number;
      let node: { node: Node; size: number };
      try {
        node = yield* this.node(ino);
      } catch (error) {
        if (!isTolerant || !(error instanceof RetryFailed)) throw error;
        isPartial = true;
        continue;
      }
      entries.set(`i${ino}`, describeNode(node.node));
      if (withTimes && node.node.type === "file") times.set(ino, node.node.times);
      else if (withTimes) entries.set(`t${ino}`, timesText(node.node.times));
      for (const [name, value] of node.node.xattrs) entries.set(`x${ino}/${name}`, value);
      if (node.node.type === "file") {
        const room = arena?.take(node.size);
        const bytes = yield* this.tryRead(ino, 0, node.size, room);
        if (typeof bytes !== "number") contents.set(ino, bytes);
        else if (isTolerant && bytes === -EIO)
          contents.set(ino, yield* this.#readBlocks(ino, node.size, unreadable));
        else throw new SimulationFailure(`reading inode ${ino} failed: ${bytes}`);
      }
      for (const [name, child] of node.node.names) {
        entries.set(`n${ino}/${name}`, String(child));
        if (!seen.has(child)) queue.push(child);
        seen.add(child);
      }
    }
    return { entries, contents, unreadable, isPartial, ...(withTimes ? { times } : {}) };
  }

  /** Block by block what is left of a file. */
  *#readBlocks(ino: number, size: number, unreadable: Map<number, Set<number>>): Task<Uint8Array> {
    const bytes = new Uint8Array(size);
    const bad = new Set<number>();
    unreadable.set(ino, bad);
    for (let block = 0; block * BLOCK < size; block++) {
      const part = yield* this.tryRead(ino, block * BLOCK, BLOCK);
      if (typeof part !== "number") bytes.set(part, block * BLOCK);
      else if (part === -EIO) bad.add(block);
      else throw new SimulationFailure(`reading inode ${ino} failed: ${part}`);
    }
    return bytes;
  }

  /** Attributes, extended attributes, target and names of one object. */
  *node(ino: number): Task<{ node: Node; size: number }> {
    const { fs } = this;
    const must = (result: number): number => {
      if (result < 0) throw new SimulationFailure(`looking at inode ${ino} failed: ${result}`);
      return result;
    };
    const [mode, links, size, owner, rdev, times] = yield* retrying(() => {
      must(fs.getAttributes(ino, this.#out));
      const { mode, nlink, size, uid, gid, rdev } = this.#out;
      const mtime = timeText(this.#out.mtime, this.#out.mtimeNs);
      const ctime = timeText(this.#out.ctime, this.#out.ctimeNs);
      return [mode, nlink, size, `${uid}:${gid}`, rdev, { mtime, ctime }] as const;
    });
    const type = typeOf(mode);
    const xattrs = new Map<string, string>();
    const listed = yield* retrying(() =>
      must(fs.listXattr(ino, this.#payload, PAYLOAD_BLOCKS * 4096)),
    );
    const names = new Map<string, number>();
    if (listed > 0) {
      const list = text(this.#core, this.#payload, listed - 1)
        .split("\0")
        .sort();
      for (const name of list) {
        const length = yield* retrying(() =>
          must(
            fs.getXattr(ino, ...this.#text(name, this.#name), this.#payload, PAYLOAD_BLOCKS * 4096),
          ),
        );
        xattrs.set(name, digest(this.#core.bytes.subarray(this.#payload, this.#payload + length)));
      }
    }
    let target = "";
    if (type === "special") target = `${mode & 0o170000}/${rdev}`;
    if (type === "symlink") {
      const length = yield* retrying(() => must(fs.readLink(ino, this.#payload, 4096)));
      target = text(this.#core, this.#payload, length);
    }
    if (type === "directory") {
      // A listing ends where a page is missing, and goes on from there: only one of nothing is the end.
      let cookie = 0;
      let taken = -1;
      while (taken !== 0) {
        taken = yield* retrying(() =>
          must(
            fs.readDirectory(ino, cookie, (child, _type, nameAddress, nameLength, next) => {
              const name = text(this.#core, nameAddress, nameLength);
              if (name !== "." && name !== "..") names.set(name, child);
              cookie = next;
              return true;
            }),
          ),
        );
      }
    }
    const parent = 0;
    return {
      node: { ino, type, mode: mode & 0o7777, links, owner, target, xattrs, names, parent, times },
      size,
    };
  }
}

export function timeText(seconds: number, nanoseconds: number): string {
  return `${seconds}.${nanoseconds}`;
}

function typeOf(mode: number): NodeType {
  const kind = mode & 0o170000;
  if (kind === 0o040000) return "directory";
  if (kind === 0o120000) return "symlink";
  return kind === 0o100000 ? "file" : "special";
}

function text(core: Core, address: number, length: number): string {
  return Buffer.from(core.bytes.buffer, address, length).toString("latin1");
}

/** The bytes themselves when they are few. */
export function digest(bytes: Uint8Array): string {
  if (bytes.length < 64) return `=${Buffer.from(bytes).toString("latin1")}`;
  return createHash("sha1").update(bytes).digest("hex").slice(0, 16);
}

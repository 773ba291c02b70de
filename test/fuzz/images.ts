/**
 * Hostile images: each mutant is checked, mounted, walked and read wholly, written to, unmounted, and checked again.
 *
 * - Every step works or ends with an FsError; nothing else is thrown, nothing traps, nothing goes on for ever.
 * - A name that is handed out is one: no "/", no NUL, not "." or "..", not empty.
 * - An image without findings is a whole volume: it mounts, all can be read and written, and it is clean afterwards.
 */

import { errnoName } from "../../host/base/errno.ts";
import { FsError } from "../../host/base/fs_error.ts";
import type { Prng } from "../../host/base/prng.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import {
  AttributeChange,
  Attributes,
  type FileSystem,
  NewNode,
  ROOT_INO,
  SET_MODE,
  SET_SIZE,
  VolumeSpace,
} from "../../host/fs/file_system.ts";
import { mountVolume, type Volume } from "../../host/fs/volume.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import type { FsckReport } from "../../host/maintain/fsck_report.ts";
import { FuzzEngine } from "./engine.ts";
import { BASE_NAMES, baseOf, ImageParts } from "./image_base.ts";
import { applyField, mutateImage } from "./image_mutation.ts";
import { Fault, type Field, type Target } from "./target.ts";

const OBJECTS_MAX = 600;
const ENTRIES_MAX = 5000;
const READ_BYTES = 65_536;
const PARTS_READ_MAX = 8;
/** What an image of 64 MiB can come to hold in memory: twice its size is far too much. */
const HELD_BYTES_MAX = 96 << 20;

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

let shared: FuzzEngine | undefined;
/** A check needs less memory, and that is less to make empty. */
const CHECK_BYTES = 10 << 20;
let checker: FuzzEngine | undefined;

export const images: Target = {
  mutate(random: Prng): Field[] {
    const name = [...BASE_NAMES, "everything", "journal"][
      random.below(BASE_NAMES.length + 2)
    ] as string;
    const base = baseOf(name);
    const fields: Field[] = [{ base: name }];
    for (let count = 1 + Math.floor(random.float() ** 3 * 5); count > 0; count--)
      fields.push(...mutateImage(random, base));
    return fields;
  },

  run(fields: readonly Field[]): string {
    const base = baseOf(String(fields.find((field) => "base" in field)?.["base"] ?? "everything"));
    const parts = new ImageParts(base);
    for (const field of fields) applyField(parts, field);
    const image = parts.build();
    shared ??= new FuzzEngine();
    const before = checkImage(image);
    const whole = isWhole(before) && !(before.needsRecovery && fields.some(concernsRecovery));
    const outcome = use(shared, image, whole);
    if (outcome.startsWith("refused")) return outcome;
    const after = checkImage(image);
    if (whole && !isWhole(after))
      throw new Fault(`a clean image has findings after it was used: ${findings(after)}`);
    return outcome;
  },
};

// --- steps ---

/** What a check says of an image, or why it says nothing. */
export function checkImage(image: SparseBytes): FsckReport | FsError {
  checker ??= new FuzzEngine(CHECK_BYTES);
  checker.reset();
  try {
    return checker.run(fsck(checker.environment, [checker.device(image, true)]), "fsck");
  } catch (error) {
    if (error instanceof FsError) return error;
    throw error;
  }
}

/** A check does not replay: what the journal says is not in its findings. */
function concernsRecovery({ op, what }: Field): boolean {
  return op === "commit" || what === "commit" || what === "superblock";
}

export function isWhole(report: FsckReport | FsError): report is FsckReport {
  return !(report instanceof FsError) && report.clean && report.complete;
}

export function findings(report: FsckReport | FsError): string {
  return report instanceof FsError
    ? report.reason
    : report.errors.map((error) => `${error.code} ${error.message}`).join("; ");
}

/** Mounts, reads and writes everything, unmounts. Returns in a few words how it went. */
function use(engine: FuzzEngine, image: SparseBytes, whole: boolean): string {
  engine.reset();
  let volume: Volume;
  try {
    volume = engine.run(
      mountVolume(engine.environment, [engine.device(image)], { readOnly: false }),
      "mount",
    );
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    if (whole) throw new Fault(`a clean image is refused: ${error.reason} ${error.message}`);
    return `refused ${error.reason}`;
  }
  const user = new User(engine, volume.fs);
  user.walk();
  user.write();
  const status = engine.wait((resume) => volume.fs.sync(resume), "sync");
  user.note("sync", status);
  user.walk();
  try {
    engine.run(volume.unmount(), "unmount");
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    user.errors.add(error.reason);
  }
  engine.check();
  if (image.heldBytes > HELD_BYTES_MAX) throw new Fault(`the image holds ${image.heldBytes} bytes`);
  if (user.errors.size === 0) return whole ? "whole" : "works";
  if (whole) throw new Fault(`a clean image has errors: ${[...user.errors].join(", ")}`);
  return `works with ${[...user.errors].sort().slice(0, 2).join(" and ")}`;
}

/** Does all that a user can do, and takes note of errors. */
export class User {
  readonly errors: Set<string> = new Set();
  readonly #engine: FuzzEngine;
  readonly #fs: FileSystem;
  readonly #name: number;
  readonly #payload: number;
  readonly #out = new Attributes();
  #files: number[] = [];
  #directories: number[] = [];
  #names: { parent: number; name: Uint8Array; ino: number }[] = [];

  constructor(engine: FuzzEngine, fs: FileSystem) {
    this.#engine = engine;
    this.#fs = fs;
    this.#name = fs.takeBuffer(1);
    this.#payload = fs.takeBuffer(17);
    if (this.#name === 0 || this.#payload === 0) throw new Fault("no room for buffers");
  }

  note(what: string, status: number, ...allowed: number[]): number {
    if (status < 0 && !allowed.includes(-status)) this.errors.add(`${what} ${errnoName(status)}`);
    return status;
  }

  #do(what: string, operation: () => number, ...allowed: number[]): number {
    return this.note(what, this.#engine.call(operation, what), ...allowed);
  }

  walk(): void {
    const seen = new Set<number>();
    const queue = [ROOT_INO];
    this.#files = [];
    this.#directories = [];
    this.#names = [];
    for (let index = 0; index < queue.length && index < OBJECTS_MAX; index++) {
      const ino = queue[index] as number;
      if (seen.has(ino)) continue;
      seen.add(ino);
      if (this.#do("getattr", () => this.#fs.getAttributes(ino, this.#out)) < 0) continue;
      const { mode, size } = this.#out;
      this.#xattrs(ino);
      const type = mode & S_IFMT;
      if (type === S_IFDIR) {
        this.#directories.push(ino);
        queue.push(...this.#list(ino));
      } else if (type === S_IFREG) {
        this.#files.push(ino);
        this.#read(ino, size);
      } else if (type === S_IFLNK) {
        const length = this.#do("readlink", () => this.#fs.readLink(ino, this.#payload, 8192));
        if (length > 4095) throw new Fault(`a symbolic link of ${length} bytes`);
      }
    }
  }

  #list(ino: number): number[] {
    const { bytes } = this.#engine.core;
    const found: { name: Uint8Array; ino: number }[] = [];
    let cookie = 0;
    for (let round = 0; ; round++) {
      if (round > 2000) throw new Fault(`a directory goes on after ${found.length} entries`);
      let room = 200;
      let next = cookie;
      const before = found.length;
      const taken = this.#do("readdir", () => {
        // It begins anew when it had to wait for a page.
        room = 200;
        next = cookie;
        found.length = before;
        return this.#fs.readDirectory(ino, cookie, (entry, _type, address, length, nextCookie) => {
          if (room-- === 0) return false;
          if (nextCookie <= next)
            throw new Fault(`a directory's position goes from ${next} to ${nextCookie}`);
          next = nextCookie;
          found.push({ name: bytes.slice(address, address + length), ino: entry });
          return true;
        });
      });
      if (taken <= 0 || found.length > ENTRIES_MAX) break;
      cookie = next;
    }
    const inos: number[] = [];
    for (const [index, entry] of found.entries()) {
      if (index < 2) continue; // "." and ".."
      checkName(entry.name);
      this.#names.push({ parent: ino, ...entry });
      inos.push(entry.ino);
      const status = this.#lookup(ino, entry.name);
      if (status >= 0 && this.#out.ino !== entry.ino)
        throw new Fault(`${entry.name} is ${entry.ino} in a listing and ${this.#out.ino} by name`);
    }
    if (this.#fs.parentOf !== undefined) this.#do("parent", () => this.#fs.parentOf(ino));
    return inos;
  }

  #lookup(parent: number, name: Uint8Array): number {
    this.#engine.core.bytes.set(name, this.#name);
    return this.#do("lookup", () => this.#fs.lookup(parent, this.#name, name.length, this.#out));
  }

  #xattrs(ino: number): void {
    const length = this.#do("listxattr", () => this.#fs.listXattr(ino, this.#payload, READ_BYTES));
    if (length <= 0) return;
    if (length > READ_BYTES) throw new Fault(`names of attributes of ${length} bytes`);
    const names = this.#engine.core.bytes.slice(this.#payload, this.#payload + length);
    let start = 0;
    for (let count = 0; start < names.length && count < 50; count++) {
      const end = names.indexOf(0, start);
      if (end <= start) throw new Fault("an attribute's name is empty or does not end");
      const name = names.subarray(start, end);
      this.#engine.core.bytes.set(name, this.#name);
      const value = this.#do("getxattr", () =>
        this.#fs.getXattr(ino, this.#name, name.length, this.#payload, READ_BYTES),
      );
      if (value > READ_BYTES) throw new Fault(`an attribute of ${value} bytes`);
      start = end + 1;
    }
  }

  #read(ino: number, size: number): void {
    if (!(size >= 0)) throw new Fault(`a file of ${size} bytes`);
    const parts: number[] = [0, Math.max(0, size - 10), size];
    let at = 0;
    for (let count = 0; count < PARTS_READ_MAX; count++) {
      const data = this.#do("seek", () => this.#fs.seek(ino, at, 3), 6);
      if (data < 0) break;
      if (data < at) throw new Fault(`SEEK_DATA from ${at} gives ${data}`);
      parts.push(data, data + READ_BYTES, data + 2 * READ_BYTES);
      const hole = this.#do("seek", () => this.#fs.seek(ino, data, 4), 6);
      if (hole < 0) break;
      if (hole < data) throw new Fault(`SEEK_HOLE from ${data} gives ${hole}`);
      at = hole;
    }
    for (const offset of new Set(parts)) this.#readAt(ino, offset, size);
  }

  #readAt(ino: number, offset: number, size: number): void {
    let length = 0;
    const start = (resume: (status: number) => void): void => {
      this.#fs.read(ino, offset, READ_BYTES, (result) => {
        length = result.byteLength;
        let sum = 0;
        for (let part = 0; part < result.parts; part++) sum += result.byteLengths[part] as number;
        const { status } = result;
        result.release();
        if (status >= 0 && sum !== length) throw new Fault(`a read of ${length} has ${sum} bytes`);
        resume(status);
      });
    };
    const status = this.#engine.wait(start, "read");
    this.note("read", status);
    const wanted = Math.max(0, Math.min(READ_BYTES, size - offset));
    if (status >= 0 && length !== wanted)
      throw new Fault(`a read at ${offset} of ${size} gives ${length}`);
  }

  // --- changes ---

  #text(text: string): [number, number] {
    const bytes = new TextEncoder().encode(text);
    this.#engine.core.bytes.set(bytes, this.#name);
    return [this.#name, bytes.length];
  }

  write(): void {
    const fs = this.#fs;
    const out = this.#out;
    const node = new NewNode();
    const change = new AttributeChange();
    const made: number[] = [];
    this.#do("statfs", () => fs.space(new VolumeSpace()));
    for (const directory of this.#directories.slice(0, 4)) {
      node.mode = 0o100644;
      if (
        this.#do(
          "mknod",
          () => fs.makeNode(directory, ...this.#text("new file"), node, out),
          1,
          28,
        ) >= 0
      )
        made.push(out.ino);
      node.mode = 0o040755;
      this.#do(
        "mkdir",
        () => fs.makeDirectory(directory, ...this.#text("new dir"), node, out),
        1,
        28,
      );
    }
    for (const ino of [...made, ...this.#files.slice(0, 16)]) {
      this.#do("write", () => fs.write(ino, 3000, this.#payload, 6000, false), 1, 28);
      this.#do(
        "setxattr",
        () => fs.setXattr(ino, ...this.#text("user.new"), this.#payload, 3000, 0),
        1,
        28,
      );
    }
    for (const [index, ino] of this.#files.entries()) {
      if (index > 24) break;
      change.set = SET_SIZE;
      change.size = [0, 5, 4096, 5000, 70_000][index % 5] as number;
      this.#do("truncate", () => fs.setAttributes(ino, change, out), 1, 28);
      change.set = SET_MODE;
      change.mode = 0o600;
      this.#do("chmod", () => fs.setAttributes(ino, change, out), 1, 28);
      if (index % 6 === 0) this.#do("fallocate", () => fs.fallocate(ino, 0, 0, 100_000), 1, 28);
      if (index % 6 === 1) this.#do("punch", () => fs.fallocate(ino, 3, 4096, 50_000), 1, 28);
      if (index % 6 === 2) this.#copy(ino, made[0] ?? ino);
      if (index % 8 === 3)
        this.note(
          "fsync",
          this.#engine.wait((resume) => fs.fsync(ino, false, resume), "fsync"),
        );
    }
    for (const [index, { parent, name, ino }] of this.#names.entries()) {
      if (index > 60) break;
      const core = this.#engine.core.bytes;
      core.set(name, this.#name);
      const from = [parent, this.#name, name.length] as const;
      // What has several names or none cannot always be removed twice, and a directory may be in use.
      if (index % 4 === 0) this.#do("unlink", () => fs.unlink(...from), 21, 2, 1);
      if (index % 4 === 1) this.#do("rmdir", () => fs.removeDirectory(...from), 20, 39, 2, 1);
      if (index % 4 === 2) {
        const text = new TextEncoder().encode(`renamed ${index}`);
        core.set(text, this.#name + 512);
        this.#do(
          "rename",
          () => fs.rename(...from, ROOT_INO, this.#name + 512, text.length, 0),
          2,
          22,
          1,
        );
      }
      if (index % 4 === 3) {
        const text = new TextEncoder().encode(`linked ${index}`);
        core.set(text, this.#name + 512);
        this.#do("link", () => fs.link(ino, ROOT_INO, this.#name + 512, text.length, out), 1, 2);
      }
    }
    for (const { ino } of this.#names.slice(0, 8))
      this.#do("removexattr", () => fs.removeXattr(ino, ...this.#text("user.new")), 61, 2, 1, 116);
  }

  #copy(from: number, to: number): void {
    const status = this.#engine.wait(
      (resume) => this.#fs.copyRange(from, 0, to, 8192, 65_536, resume),
      "copy",
    );
    this.note("copy", status, 1, 22, 28);
  }
}

function checkName(name: Uint8Array): void {
  const isDots = name.every((byte) => byte === 0x2e) && name.length <= 2;
  if (name.length === 0 || name.length > 255 || isDots || name.includes(0x2f) || name.includes(0))
    throw new Fault(`a directory has the name ${JSON.stringify(Buffer.from(name).toString())}`);
}

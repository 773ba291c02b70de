/**
 * Small scope, exhaustively: every sequence of a few operations from a small alphabet on a small volume, power lost at
 * each point where that could matter, and each volume that a mount then finds compared with the model of crash_model.ts
 * and shown to fsck. After CrashMonkey's ACE: most bugs need few operations on few names, but the right ones.
 *
 * - A sequence is text, `append A/f; rename A/f B/x`, and does the same each time: no delays, no chance. Each ends with an
 *   fsync of what it touched last and a checkpoint, so that all of it reaches the device.
 * - Only what the last operation and this tail do to the device is looked at: the rest is that of a shorter sequence,
 *   which is a sequence of its own. So a run of one length is complete with those of all shorter ones.
 * - A sequence is run again for each of its successors. A volume at work can not be forked, and its mount is cheap
 *   beside the recoveries.
 * - Images that agree in all blocks that a recovery reads (but those it had written itself) are recovered once: it is
 *   deterministic, and knows nothing else of them. Each is compared with each model. `auditEvery` tests that they are equal.
 */
import { createHash } from "node:crypto";
import { Prng } from "../../host/base/prng.ts";
import type { Task } from "../../host/base/task.ts";
import type { Device, Done } from "../../host/device/device.ts";
import type { SimulatedDevice } from "../../host/device/simulated_device.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  RENAME_EXCHANGE,
  ROOT_INO,
} from "../../host/fs/file_system.ts";
import { createVolume, mountVolume, type Volume } from "../../host/fs/volume.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import {
  type Dump,
  difference,
  FileModel,
  type Moment,
  type Node,
  UNKNOWN_TIMES,
  VolumeModel,
} from "./crash_model.ts";
import { Calls, digest } from "./sim_calls.ts";
import { Machine, Session, SimulationFailure } from "./sim_engine.ts";

const BLOCK = 4096;
const SECTOR = 512;
const WRITE_BYTES = 32 * BLOCK;
/** More than fsync puts into the journal. */
const MUCH_BYTES = 66 * BLOCK;
/** Recoveries that are remembered: those of a few sequences. */
const KNOWN_MAX = 64;
const CONTENTS_MAX = 20_000;

/**
 * Which operations there are. "reduced" keeps one of each kind, on fewer files; "small" has files alone: create, link,
 * rename, unlink, write, fallocate, truncate, fsync and sync, on the names that are there and one new one in each directory.
 */
export const ALPHABETS = ["full", "reduced", "small"] as const;
export type Alphabet = (typeof ALPHABETS)[number];

// --- sequences ---

type Kind = "file" | "directory" | "symlink";

/** What is there before each sequence, durable; setUp() makes it. */
const BEFORE: readonly (readonly [string, Kind])[] = [
  ["A", "directory"],
  ["B", "directory"],
  ["A/f", "file"],
  ["B/g", "file"],
  ["B/e", "directory"],
];

const FRESH = ["x", "y", "z"];
const PERSISTENCE: ReadonlySet<string> = new Set(["fsync", "sync", "checkpoint"]);

/** Of each file: how its data, its size and its attributes change. */
const CHANGES: Readonly<Record<Alphabet, readonly string[]>> = {
  full: [
    ...["append", "extend", "overwrite", "patch", "keep", "reserve", "punch", "zero", "cut"],
    ...["empty", "grow", "setxattr", "setxattr-large", "removexattr", "chmod"],
  ],
  reduced: ["append", "overwrite", "keep", "punch", "zero", "cut", "setxattr"],
  small: ["append", "overwrite", "keep", "cut"],
};

/** Names and kinds alone: enough to tell which operations work. */
class Names {
  readonly kinds: Map<string, Kind>;
  /** Of each path what it leads to: the same for names of one file. */
  readonly #objects: Map<string, string>;
  /** Of each path that ever was: so that names that were never used are interchangeable, and only one is tried. */
  readonly used: Set<string>;

  constructor(
    kinds: Iterable<readonly [string, Kind]>,
    used: Iterable<string>,
    objects: Iterable<readonly [string, string]> = [],
  ) {
    this.kinds = new Map(kinds);
    this.used = new Set(used);
    this.#objects = new Map(objects);
    for (const path of this.kinds.keys())
      if (!this.#objects.has(path)) this.#objects.set(path, path);
  }

  /** Where something new may go. */
  free(): string[] {
    const paths: string[] = [];
    for (const directory of ["A", "B"]) {
      if (this.kinds.get(directory) !== "directory") continue;
      for (const path of this.used)
        if (
          path.startsWith(`${directory}/`) &&
          !this.kinds.has(path) &&
          path.split("/").length === 2
        )
          paths.push(path);
      const name = FRESH.find((each) => !this.used.has(`${directory}/${each}`));
      if (name !== undefined) paths.push(`${directory}/${name}`);
    }
    return paths;
  }

  of(...kinds: Kind[]): string[] {
    return [...this.kinds].filter(([, kind]) => kinds.includes(kind)).map(([path]) => path);
  }

  isEmpty(path: string): boolean {
    return ![...this.kinds.keys()].some((each) => each.startsWith(`${path}/`));
  }

  after(operation: string): Names {
    const [verb = "", from = "", to = ""] = operation.split(" ");
    const next = new Names(this.kinds, this.used, this.#objects);
    const isSame = this.#objects.get(from) === this.#objects.get(to);
    if (verb === "create") next.#put(from, "file");
    else if (verb === "mkdir") next.#put(from, "directory");
    else if (verb === "symlink") next.#put(from, "symlink");
    else if (verb === "link") next.#put(to, this.kinds.get(from) as Kind, this.#objects.get(from));
    else if (verb === "unlink" || verb === "rmdir") next.#take(from);
    else if (verb === "rename" || verb === "exchange") {
      // rename(2): two names of one file stay as they are.
      if (isSame) return next;
      const moved = next.#take(from);
      const back = next.#take(to);
      for (const [path, kind, object] of moved)
        next.#put(to + path.slice(from.length), kind, object);
      if (verb === "exchange")
        for (const [path, kind, object] of back)
          next.#put(from + path.slice(to.length), kind, object);
    }
    return next;
  }

  /** @param object What it leads to; if left out something new. */
  #put(path: string, kind: Kind, object = `${path} ${this.used.size} ${this.kinds.size}`): void {
    this.kinds.set(path, kind);
    this.#objects.set(path, object);
    this.used.add(path);
  }

  #take(top: string): [string, Kind, string][] {
    const taken = [...this.kinds]
      .filter(([path]) => path === top || path.startsWith(`${top}/`))
      .map(([path, kind]): [string, Kind, string] => [path, kind, this.#objects.get(path) ?? path]);
    for (const [path] of taken) {
      this.kinds.delete(path);
      this.#objects.delete(path);
    }
    return taken;
  }
}

function operationsOn(names: Names, alphabet: Alphabet): string[] {
  if (alphabet === "small") return smallOperationsOn(names);
  const isFull = alphabet === "full";
  const free = isFull ? names.free() : names.free().slice(0, 1).concat(names.free().slice(-1));
  const places = [...new Set(free)];
  const files = names.of("file");
  const directories = names.of("directory");
  const list: string[] = [];
  for (const to of places) {
    list.push(`create ${to}`, `mkdir ${to}`);
    if (isFull || to === places[0]) list.push(`symlink ${to}`);
  }
  for (const from of isFull ? names.of("file", "symlink") : files) {
    for (const to of places) list.push(`link ${from} ${to}`);
  }
  for (const from of names.kinds.keys()) {
    const isDirectory = names.kinds.get(from) === "directory";
    for (const to of places) if (!to.startsWith(`${from}/`)) list.push(`rename ${from} ${to}`);
    for (const to of names.kinds.keys()) {
      if (to === from || to.startsWith(`${from}/`) || from.startsWith(`${to}/`)) continue;
      if (isDirectory !== (names.kinds.get(to) === "directory")) continue;
      if (!isDirectory || names.isEmpty(to)) list.push(`rename ${from} ${to}`);
      if (isFull && from < to) list.push(`exchange ${from} ${to}`);
    }
  }
  for (const path of names.of("file", "symlink")) list.push(`unlink ${path}`);
  for (const path of directories) if (names.isEmpty(path)) list.push(`rmdir ${path}`);
  for (const path of isFull ? files : files.slice(0, 2))
    for (const verb of CHANGES[alphabet]) list.push(`${verb} ${path}`);
  for (const path of isFull ? [...files, ...directories] : files.slice(0, 2))
    list.push(`fsync ${path}`);
  list.push("sync", "checkpoint");
  return list;
}

function smallOperationsOn(names: Names): string[] {
  const places = names.free();
  const files = names.of("file");
  return [
    ...places.map((to) => `create ${to}`),
    ...files.flatMap((from) => places.map((to) => `link ${from} ${to}`)),
    ...files.flatMap((from) =>
      [...places, ...files].filter((to) => to !== from).map((to) => `rename ${from} ${to}`),
    ),
    ...files.map((path) => `unlink ${path}`),
    ...files.slice(0, 2).flatMap((path) => CHANGES.small.map((verb) => `${verb} ${path}`)),
    ...files.slice(0, 2).map((path) => `fsync ${path}`),
    "sync",
    "checkpoint",
  ];
}

function verbOf(operation: string): string {
  return operation.split(" ", 1)[0] as string;
}

/** All sequences of a length, but those that are as good as shorter ones. */
export function* sequences(length: number, alphabet: Alphabet): Generator<string[]> {
  function* from(names: Names, sequence: string[]): Generator<string[]> {
    if (sequence.length === length) {
      yield sequence;
      return;
    }
    const last = sequence.at(-1);
    for (const operation of operationsOn(names, alphabet)) {
      const persists = PERSISTENCE.has(verbOf(operation));
      // All that was there before is durable.
      if (persists && last === undefined && length > 1) continue;
      // What has just been made durable is again.
      if (persists && last === operation) continue;
      yield* from(names.after(operation), [...sequence, operation]);
    }
  }
  yield* from(
    new Names(
      BEFORE,
      BEFORE.map(([path]) => path),
    ),
    [],
  );
}

/** What makes all of a sequence reach the device, first by the journal and then by the tree. */
function tailOf(sequence: readonly string[]): string[] {
  let names = new Names(BEFORE, []);
  for (const operation of sequence) names = names.after(operation);
  const touched = sequence.flatMap((operation) => operation.split(" ").slice(1)).reverse();
  const path = touched.find((each) => names.kinds.has(each) && names.kinds.get(each) !== "symlink");
  return [path === undefined ? "sync" : `fsync ${path}`, "checkpoint"];
}

// --- the device ---

interface Pending {
  readonly number: number;
  readonly offset: number;
  /** null: zeros, of a discard. */
  readonly bytes: Uint8Array | null;
  readonly length: number;
  /** Of each of its blocks, made when they are first asked for. */
  readonly hashes: Map<number, string>;
  completed: boolean;
}

/** Of each block that has ever been written, what is there. */
type Hashes = ReadonlyMap<number, string>;

/** An image that a loss of power could leave. */
interface Image {
  readonly text: string;
  readonly hashes: Hashes;
  readonly make: () => SparseBytes;
}

/** Watches a device. Where a simulated one answers "what could be there now" by chance, this one lists it. */
class WatchedDevice implements Device {
  readonly name = "watched";
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly sectorBytes: number;
  readonly #inner: SimulatedDevice;
  readonly #memory: Uint8Array;
  readonly #durable: SparseBytes;
  readonly #hashes = new Map<number, string>();
  #pending: Pending[] = [];
  #count = 0;
  /** Told at each persistence point; `full` where no more can be pending. */
  onPoint: (event: string, full: boolean) => void = () => {};

  constructor(inner: SimulatedDevice, memory: Uint8Array) {
    this.#inner = inner;
    this.#memory = memory;
    this.#durable = inner.currentImage();
    this.sizeBytes = inner.sizeBytes;
    this.sectorBytes = inner.sectorBytes;
  }

  read(offset: number, address: number, length: number, done: Done): void {
    this.#inner.read(offset, address, length, done);
  }

  write(offset: number, address: number, length: number, done: Done): void {
    const write = this.#issue(offset, [address], [length]);
    this.#inner.write(offset, address, length, this.#completing(write, done));
  }

  writeVector(
    offset: number,
    addresses: readonly number[],
    lengths: readonly number[],
    done: Done,
  ): void {
    const write = this.#issue(offset, addresses, lengths);
    this.#inner.writeVector(offset, addresses, lengths, this.#completing(write, done));
  }

  writeDurable(offset: number, address: number, length: number, done: Done): void {
    const write = this.#issue(offset, [address], [length]);
    this.#inner.writeDurable(offset, address, length, (status) => {
      this.onPoint(`before durable write ${write.number} completes`, true);
      write.completed = true;
      if (status >= 0) {
        const end = offset + length;
        this.#settle(
          (each) => each.completed && each.offset < end && offset < each.offset + each.length,
        );
      }
      done(status);
    });
  }

  flush(done: Done): void {
    const number = this.#count++;
    this.onPoint(`before flush ${number}`, true);
    const covered = new Set(this.#pending.filter((write) => write.completed));
    this.#inner.flush((status) => {
      if (status >= 0) this.#settle((write) => covered.has(write));
      done(status);
    });
  }

  discard(offset: number, length: number, done: Done): void {
    this.onPoint(`before discard ${this.#count}`, false);
    const write = { number: this.#count++, offset, bytes: null, length, ...fresh() };
    this.#pending.push(write);
    this.#inner.discard(offset, length, this.#completing(write, done));
  }

  close(): void {
    this.#inner.close();
  }

  /** All that is looked at: nothing of what is pending, all, and at a full point each missing or torn. */
  images(full: boolean): Image[] {
    const pending = this.#pending.slice();
    const durable = this.#durable.clone();
    const images = [this.#image(durable, pending, "all", () => null)];
    if (!full) return images;
    if (pending.length > 0) images.push(this.#image(durable, pending, "none", () => NONE));
    for (const write of pending) {
      const sectors = write.length / SECTOR;
      const half = sectors >> 1;
      const { number } = write;
      const only = (range: Range) => (each: Pending) => (each === write ? range : null);
      if (pending.length > 1)
        images.push(this.#image(durable, pending, `all but write ${number}`, only(NONE)));
      images.push(
        this.#image(durable, pending, `write ${number} torn, first half`, only([0, half])),
      );
      images.push(
        this.#image(durable, pending, `write ${number} torn, second half`, only([half, sectors])),
      );
    }
    return images;
  }

  #issue(offset: number, addresses: readonly number[], lengths: readonly number[]): Pending {
    const length = lengths.reduce((sum, each) => sum + each, 0);
    const bytes = new Uint8Array(length);
    let at = 0;
    addresses.forEach((address, index) => {
      const part = lengths[index] as number;
      bytes.set(this.#memory.subarray(address, address + part), at);
      at += part;
    });
    const number = this.#count++;
    this.onPoint(`before write ${number} of ${length} bytes at ${offset}`, false);
    const write = { number, offset, bytes, length, ...fresh() };
    this.#pending.push(write);
    return write;
  }

  #completing(write: Pending, done: Done): Done {
    return (status) => {
      write.completed = true;
      if (status < 0) this.#pending = this.#pending.filter((each) => each !== write);
      done(status);
    };
  }

  #settle(isCovered: (write: Pending) => boolean): void {
    for (const write of this.#pending) {
      if (!isCovered(write)) continue;
      applyTo(this.#durable, write, null);
      for (const block of blocksOf(write)) this.#hashes.set(block, hashOf(write, block));
    }
    this.#pending = this.#pending.filter((write) => !isCovered(write));
  }

  /** @param keep Which sectors of a write are there; null for all. */
  #image(
    durable: SparseBytes,
    pending: readonly Pending[],
    text: string,
    keep: (write: Pending) => Range | null,
  ): Image {
    const hashes = new Map(this.#hashes);
    const torn: number[] = [];
    for (const write of pending) {
      const range = keep(write);
      if (range === NONE) continue;
      for (const block of blocksOf(write)) {
        const at = (block * BLOCK - write.offset) / SECTOR;
        if (range === null || (range[0] <= at && range[1] >= at + BLOCK / SECTOR))
          hashes.set(block, hashOf(write, block));
        else if (range[0] < at + BLOCK / SECTOR && range[1] > at) torn.push(block);
      }
    }
    const make = (): SparseBytes => {
      const image = durable.clone();
      for (const write of pending) applyTo(image, write, keep(write));
      return image;
    };
    if (torn.length > 0) {
      const image = make();
      for (const block of torn) hashes.set(block, hashBlock(image, block));
    }
    return { text, hashes, make };
  }
}

type Range = readonly [from: number, to: number];
const NONE: Range = [0, 0];

function applyTo(image: SparseBytes, write: Pending, sectors: Range | null): void {
  const from = sectors === null ? 0 : sectors[0] * SECTOR;
  const to = sectors === null ? write.length : sectors[1] * SECTOR;
  if (from === to) return;
  if (write.bytes === null) image.clear(write.offset + from, to - from);
  else image.write(write.offset + from, write.bytes.subarray(from, to));
}

function* blocksOf(write: Pending): Generator<number> {
  const end = (write.offset + write.length) / BLOCK;
  for (let block = Math.floor(write.offset / BLOCK); block < end; block++) yield block;
}

const scratch = new Uint8Array(BLOCK);
const ZERO_HASH = createHash("sha1").update(scratch).digest("base64");

function fresh(): { hashes: Map<number, string>; completed: boolean } {
  return { hashes: new Map(), completed: false };
}

/** Of a block that a write covers: writes are of whole blocks. */
function hashOf(write: Pending, block: number): string {
  if (write.bytes === null) return ZERO_HASH;
  let hash = write.hashes.get(block);
  if (hash === undefined) {
    const at = block * BLOCK - write.offset;
    hash = createHash("sha1")
      .update(write.bytes.subarray(at, at + BLOCK))
      .digest("base64");
    write.hashes.set(block, hash);
  }
  return hash;
}

function hashBlock(image: SparseBytes, block: number): string {
  image.read(block * BLOCK, scratch);
  return createHash("sha1").update(scratch).digest("base64");
}

// --- one sequence ---

let machines: { work: Machine; rescue: Machine; before: SparseBytes; dump: Dump } | null = null;
const source = new Uint8Array(1 << 20);

/** Made once a process: what each sequence begins with. */
function getMachines(): { work: Machine; rescue: Machine; before: SparseBytes; dump: Dump } {
  if (machines !== null) return machines;
  new Prng(4).bytes(source);
  const work = new Machine();
  const session = new Session(work, { prng: new Prng(1) });
  session.run(createVolume(session.environment, [session.device], { name: "small" }));
  const volume = session.run(mountVolume(session.environment, [session.device], MOUNT));
  const calls = new Calls(session.core, volume.fs);
  session.run(setUp(calls));
  session.run(calls.sync());
  const dump = session.run(calls.dump());
  session.run(volume.unmount());
  machines = { work, rescue: new Machine(), before: session.device.currentImage(), dump };
  return machines;
}

const MOUNT = { readOnly: false, checkpointSeconds: 3600 };

function* setUp(calls: Calls): Task<void> {
  const inos = new Map([["", ROOT_INO]]);
  for (const [path, kind] of BEFORE) {
    const [directory, name] = split(path);
    const parent = inos.get(directory) as number;
    const mode = kind === "directory" ? 0o755 : 0o644;
    must(yield* calls.make(parent, name, kind, mode, "", (ino) => inos.set(path, ino)));
  }
  const f = inos.get("A/f") as number;
  const g = inos.get("B/g") as number;
  must(yield* calls.write(f, 0, source.subarray(0, 3 * BLOCK + 1000), nothing));
  must(yield* calls.write(g, 0, source.subarray(0, 900), nothing));
  for (const ino of [f, g])
    must(yield* calls.setXattr(ino, "user.a", source.subarray(7, 30), nothing));
}

function nothing(): void {}

function must(result: number): void {
  if (result < 0) throw new SimulationFailure(`a call failed: ${result}`);
}

function split(path: string): [directory: string, name: string] {
  const slash = path.lastIndexOf("/");
  return [path.slice(0, Math.max(0, slash)), path.slice(slash + 1)];
}

/** Does operations to a volume and to its model. */
class Worker {
  readonly #calls: Calls;
  readonly #volume: Volume;
  readonly #model: VolumeModel;
  #step = 0;

  constructor(calls: Calls, volume: Volume, model: VolumeModel) {
    this.#calls = calls;
    this.#volume = volume;
    this.#model = model;
  }

  *run(operation: string): Task<void> {
    const [verb = "", path = "", to = ""] = operation.split(" ");
    this.#step += 1;
    if (verb === "create" || verb === "mkdir" || verb === "symlink") yield* this.#make(verb, path);
    else if (verb === "link") yield* this.#link(path, to);
    else if (verb === "rename" || verb === "exchange") yield* this.#rename(verb, path, to);
    else if (verb === "unlink" || verb === "rmdir") yield* this.#remove(verb, path);
    else if (PERSISTENCE.has(verb)) yield* this.#persist(verb, path);
    else if (verb === "setxattr" || verb === "setxattr-large" || verb === "removexattr")
      yield* this.#setXattr(verb, path);
    else yield* this.#change(verb, path);
  }

  #ino(path: string): number {
    let ino: number = ROOT_INO;
    if (path === "") return ino;
    for (const name of path.split("/")) {
      const next = this.#model.node(ino).names.get(name);
      if (next === undefined) throw new SimulationFailure(`no ${path}`);
      ino = next;
    }
    return ino;
  }

  #place(path: string): [parent: number, name: string] {
    const [directory, name] = split(path);
    return [this.#ino(directory), name];
  }

  *#make(verb: string, path: string): Task<void> {
    const model = this.#model;
    const type = verb === "create" ? "file" : verb === "mkdir" ? "directory" : "symlink";
    const mode = type === "symlink" ? 0o777 : 0o700 + this.#step;
    const target = type === "symlink" ? `to/${this.#step}` : "";
    const [parent, name] = this.#place(path);
    must(
      yield* this.#calls.make(parent, name, type, mode, target, (ino) => {
        const tick = model.begin(verb);
        const links = type === "directory" ? 2 : 1;
        const [names, xattrs, times] = [new Map(), new Map(), UNKNOWN_TIMES];
        model.putNode({
          ino,
          type,
          mode,
          links,
          owner: "0:0",
          target,
          names,
          xattrs,
          parent,
          times,
        });
        model.putName(parent, name, ino);
        if (type === "directory") model.link(parent, 1);
        if (type === "file") model.addFile(new FileModel(ino, tick, model.memory));
        model.end();
      }),
    );
  }

  *#link(path: string, to: string): Task<void> {
    const model = this.#model;
    const ino = this.#ino(path);
    const [parent, name] = this.#place(to);
    must(
      yield* this.#calls.link(ino, parent, name, () => {
        const tick = model.begin("link");
        model.putName(parent, name, ino);
        model.link(ino, 1);
        model.files.get(ino)?.published(tick);
        model.end();
      }),
    );
  }

  *#rename(verb: string, path: string, to: string): Task<void> {
    const model = this.#model;
    const from = this.#place(path);
    const over = this.#place(to);
    const ino = this.#ino(path);
    const other = model.node(over[0]).names.get(over[1]);
    const move = (moved: number, parent: number, newParent: number): void => {
      const node: Node = model.node(moved);
      if (node.type !== "directory" || parent === newParent) return;
      node.parent = newParent;
      model.link(parent, -1);
      model.link(newParent, 1);
    };
    const flags = verb === "exchange" ? RENAME_EXCHANGE : 0;
    must(
      yield* this.#calls.rename(...from, ...over, flags, () => {
        const tick = model.begin(verb);
        if (other !== ino) {
          if (verb === "exchange") {
            model.putName(...from, other as number);
            move(other as number, over[0], from[0]);
          } else {
            model.removeName(...from);
          }
          model.putName(...over, ino);
          move(ino, from[0], over[0]);
          if (verb === "rename" && other !== undefined) this.#lose(other, over[0]);
          if (verb === "rename") model.files.get(ino)?.published(tick);
        }
        model.end();
      }),
    );
  }

  *#remove(verb: string, path: string): Task<void> {
    const model = this.#model;
    const [parent, name] = this.#place(path);
    const ino = this.#ino(path);
    const applied = (): void => {
      model.begin(verb);
      model.removeName(parent, name);
      this.#lose(ino, parent);
      model.end();
    };
    if (verb === "rmdir") must(yield* this.#calls.removeDirectory(parent, name, applied));
    else must(yield* this.#calls.unlink(parent, name, applied));
  }

  /** An object has lost a name. */
  #lose(ino: number, parent: number): void {
    const isDirectory = this.#model.node(ino).type === "directory";
    this.#model.link(ino, -1);
    if (isDirectory) this.#model.link(parent, -1);
  }

  *#persist(verb: string, path: string): Task<void> {
    const model = this.#model;
    const promise = model.promise();
    const ino = verb === "fsync" ? this.#ino(path) : 0;
    // A checkpoint keeps what it was handed, as sync does.
    if (verb === "fsync") model.files.get(ino)?.promised(promise);
    else for (const file of model.files.values()) file.promised(promise);
    if (verb === "fsync") must(yield* this.#calls.fsync(ino));
    else if (verb === "sync") must(yield* this.#calls.sync());
    else must(yield (resume) => this.#volume.checkpoint(resume));
    model.acknowledge(promise);
  }

  *#setXattr(verb: string, path: string): Task<void> {
    const model = this.#model;
    const ino = this.#ino(path);
    const name = "user.a";
    const isGone = verb === "removexattr";
    const length = verb === "setxattr" ? 60 : 9000;
    const value = source.subarray(this.#step, this.#step + length);
    const text = digest(value);
    const applied = (): void => {
      model.begin(verb);
      model.setXattr(ino, name, isGone ? undefined : text);
      model.end();
    };
    // New files have none to remove.
    if (isGone && !model.node(ino).xattrs.has(name)) return;
    if (isGone) must(yield* this.#calls.removeXattr(ino, name, applied));
    else must(yield* this.#calls.setXattr(ino, name, value, applied));
  }

  *#change(verb: string, path: string): Task<void> {
    const ino = this.#ino(path);
    const size = (this.#model.files.get(ino) as FileModel).size;
    const half = size >> 1;
    if (verb === "append") yield* this.#write(ino, size, 700);
    else if (verb === "extend") yield* this.#write(ino, size, MUCH_BYTES);
    else if (verb === "overwrite") yield* this.#write(ino, 0, 2 * BLOCK);
    else if (verb === "patch") yield* this.#write(ino, half, 300);
    else if (verb === "keep") yield* this.#keep(ino, 0, size, 10_000);
    else if (verb === "reserve") yield* this.#keep(ino, FALLOC_FL_KEEP_SIZE, 0, size + 20_000);
    else if (verb === "zero") yield* this.#keep(ino, FALLOC_FL_ZERO_RANGE, half, half + 5000);
    else if (verb === "punch")
      yield* this.#keep(ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, BLOCK + half);
    else if (verb === "cut") yield* this.#truncate(ino, half);
    else if (verb === "empty") yield* this.#truncate(ino, 0);
    else if (verb === "grow") yield* this.#truncate(ino, size + 5000);
    else if (verb === "chmod") yield* this.#truncate(ino, -1);
    else throw new SimulationFailure(`there is no operation ${verb}`);
  }

  *#write(ino: number, offset: number, length: number): Task<void> {
    const from = 10_000 * this.#step;
    for (let at = 0; at < length; at += WRITE_BYTES) {
      const part = source.subarray(from + at, from + Math.min(at + WRITE_BYTES, length));
      must(
        yield* this.#calls.write(ino, offset + at, part, () => {
          this.#model.tick += 1;
          this.#model.files.get(ino)?.write(this.#model.tick, offset + at, part);
        }),
      );
    }
  }

  *#keep(ino: number, mode: number, offset: number, length: number): Task<void> {
    must(
      yield* this.#calls.keep(ino, mode, offset, length, () => {
        this.#model.tick += 1;
        const file = this.#model.files.get(ino);
        if (mode & (FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE))
          file?.punch(this.#model.tick, offset, length);
        if (!(mode & FALLOC_FL_KEEP_SIZE)) file?.grow(this.#model.tick, offset + length);
      }),
    );
  }

  /** @param size -1 leaves it: only the mode changes. */
  *#truncate(ino: number, size: number): Task<void> {
    const model = this.#model;
    const mode = 0o600 + this.#step;
    const applied = (): void => {
      const tick = model.begin("truncate");
      const node = model.node(ino);
      node.mode = mode;
      model.putNode(node);
      if (size >= 0) model.files.get(ino)?.truncate(tick, size);
      model.end();
    };
    if (size < 0) must(yield* this.#calls.setMode(ino, mode, applied));
    else must(yield* this.#calls.truncate(ino, size, mode, applied));
  }
}

// --- all sequences ---

/** What a mount and fsck made of an image, and of which blocks they made it. */
interface Recovered {
  readonly hashes: Hashes;
  readonly uses: Uses;
  readonly dump: Dump;
  readonly problem: string | null;
}

export interface Counts {
  sequences: number;
  points: number;
  images: number;
  /** Images that were not equal to one that had been recovered. */
  recoveries: number;
  /** Images that were recovered to see that they are equal to others. */
  audits: number;
  failures: number;
}

const UNUSED = 0;
const READ = 1;
const WRITTEN = 2;

/** Which blocks of an image a recovery has read: those that it had written itself before tell nothing of the image. */
class Uses {
  readonly #of: Uint8Array;

  constructor(sizeBytes: number) {
    this.#of = new Uint8Array(sizeBytes / BLOCK);
  }

  hasRead(block: number): boolean {
    return this.#of[block] === READ;
  }

  watch(device: SimulatedDevice): void {
    const of = this.#of;
    device.onRead = (offset, length): undefined => {
      const end = Math.ceil((offset + length) / BLOCK);
      for (let block = Math.floor(offset / BLOCK); block < end; block++)
        if (of[block] === UNUSED) of[block] = READ;
    };
    // A device without delays completes things in their order: what is read from now on is what is written now.
    device.onEvent = (kind, _index, offset, length): undefined => {
      if (kind === "flush") return;
      const end = Math.floor((offset + length) / BLOCK);
      for (let block = Math.ceil(offset / BLOCK); block < end; block++)
        if (of[block] === UNUSED) of[block] = WRITTEN;
    };
  }
}

export interface SmallScopeOptions {
  /** For planted bugs: what the engine sees of the device. Recovery sees the real one. */
  readonly wrap?: (device: Device) => Device;
  /** Each so many images that are taken to be equal to a known one are recovered all the same, and compared. */
  readonly auditEvery?: number;
}

/** Runs sequences, and keeps what it learnt of images from one to the next. */
export class SmallScope {
  readonly counts: Counts = {
    sequences: 0,
    points: 0,
    images: 0,
    recoveries: 0,
    audits: 0,
    failures: 0,
  };
  readonly #options: SmallScopeOptions;
  /** Latest first. */
  readonly #recovered: Recovered[] = [];
  readonly #contents = new Map<string, Uint8Array>();
  #hits = 0;

  constructor(options: SmallScopeOptions = {}) {
    this.#options = options;
  }

  /** @returns null, or the sequence, and in more lines the first cut that shows what is wrong, and what is. */
  run(sequence: readonly string[]): string | null {
    this.counts.sequences += 1;
    let problem: string | null;
    try {
      problem = this.#run(sequence);
    } catch (error) {
      problem = textOf(error);
    }
    if (problem === null) return null;
    this.counts.failures += 1;
    return `${sequence.join("; ")}\n  ${problem}`;
  }

  #run(sequence: readonly string[]): string | null {
    const { work, before, dump } = getMachines();
    const { wrap } = this.#options;
    const session = new Session(work, { prng: new Prng(9), image: before.clone() });
    const device = new WatchedDevice(session.device, session.core.bytes);
    const volume = session.run(mountVolume(session.environment, [wrap?.(device) ?? device], MOUNT));
    const model = new VolumeModel(dump);
    const worker = new Worker(new Calls(session.core, volume.fs), volume, model);
    const tail = tailOf(sequence);
    let cuts: { recovered: Recovered; cut: string; moment: Moment }[] = [];
    /** Pairs of what was recovered and what had been promised, since the model last changed. */
    const seen = new Map<Recovered, number>();
    let during = "";
    const point = (event: string, full: boolean): void => {
      this.counts.points += 1;
      const moment = model.moment();
      for (const image of device.images(full)) {
        this.counts.images += 1;
        const recovered = this.#recoveredOf(image);
        if (seen.get(recovered) === moment.acknowledged) continue;
        seen.set(recovered, moment.acknowledged);
        cuts.push({ recovered, cut: `${during}, ${event}: ${image.text}`, moment });
      }
    };
    const begin = Math.max(0, sequence.length - 1);
    for (const [index, operation] of [...sequence, ...tail].entries()) {
      during = operation;
      if (index === begin) device.onPoint = point;
      session.run(worker.run(operation));
      if (index >= begin) point("when it has returned", true);
      for (const { recovered, cut, moment } of cuts) {
        const problem = recovered.problem ?? model.problem(recovered.dump, moment);
        if (problem !== null)
          return `then ${tail.join("; ")}\n  power lost in ${cut}\n  ${problem}`;
      }
      cuts = [];
      seen.clear();
    }
    session.device.cutPower();
    return null;
  }

  /** A recovery sees nothing of an image but what it reads: what agrees there is recovered to the same. */
  #recoveredOf(image: Image): Recovered {
    const known = this.#recovered;
    const place = known.findIndex((each) => agrees(each, image.hashes));
    if (place >= 0) {
      const [found] = known.splice(place, 1) as [Recovered];
      known.unshift(found);
      this.#hits += 1;
      const { auditEvery } = this.#options;
      if (auditEvery !== undefined && this.#hits % auditEvery === 0) this.#audit(image, found);
      return found;
    }
    this.counts.recoveries += 1;
    const recovered = this.#recover(image);
    known.unshift(recovered);
    if (known.length > KNOWN_MAX) known.pop();
    return recovered;
  }

  #audit(image: Image, found: Recovered): void {
    this.counts.audits += 1;
    const { dump, problem } = this.#recover(image);
    if (problem !== found.problem) throw new Error(`equal images differ: ${problem}`);
    const changed = difference(dump, found.dump);
    if (changed !== null) throw new Error(`equal images differ: ${changed}`);
  }

  #recover(image: Image): Recovered {
    const { rescue } = getMachines();
    const uses = new Uses(getMachines().before.sizeBytes);
    const { hashes } = image;
    const dump: Dump = { entries: new Map(), contents: new Map() };
    try {
      const session = new Session(rescue, { prng: new Prng(3), image: image.make() });
      uses.watch(session.device);
      const volume = session.run(mountVolume(session.environment, [session.device], MOUNT));
      const found = session.run(new Calls(session.core, volume.fs).dump());
      for (const [key, value] of found.entries) dump.entries.set(key, value);
      for (const [ino, bytes] of found.contents) dump.contents.set(ino, this.#shared(bytes));
      if (session.log.some((line) => line.startsWith("error")))
        return { hashes, uses, dump, problem: `recovery logged ${session.log.join("; ")}` };
      const again = new Session(rescue, {
        prng: new Prng(1),
        image: session.device.currentImage(),
      });
      uses.watch(again.device);
      const report = again.run(fsck(again.environment, [again.device]));
      if (report.clean && report.complete) return { hashes, uses, dump, problem: null };
      const errors = report.errors.slice(0, 5).map((finding) => JSON.stringify(finding));
      const problem = `fsck finds ${report.errorCount} errors: ${errors.join(" ")}`;
      return { hashes, uses, dump, problem };
    } catch (error) {
      return { hashes, uses, dump, problem: `recovery failed: ${textOf(error)}` };
    }
  }

  /** One copy of equal contents. */
  #shared(bytes: Uint8Array): Uint8Array {
    const hash = createHash("sha1").update(bytes).digest("base64");
    const known = this.#contents.get(hash);
    if (known !== undefined) return known;
    if (this.#contents.size >= CONTENTS_MAX) this.#contents.clear();
    this.#contents.set(hash, bytes);
    return bytes;
  }
}

function agrees(known: Recovered, hashes: Hashes): boolean {
  for (const [block, hash] of hashes)
    if (known.uses.hasRead(block) && (known.hashes.get(block) ?? beforeHash(block)) !== hash)
      return false;
  for (const [block, hash] of known.hashes)
    if (!hashes.has(block) && known.uses.hasRead(block) && beforeHash(block) !== hash) return false;
  return true;
}

const beforeHashes = new Map<number, string>();

/** Of a block that nothing has been written to. */
function beforeHash(block: number): string {
  let hash = beforeHashes.get(block);
  if (hash === undefined) {
    hash = hashBlock(getMachines().before, block);
    beforeHashes.set(block, hash);
  }
  return hash;
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

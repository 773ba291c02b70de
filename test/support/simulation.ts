/**
 * The whole engine in one process on a simulated device, clock and generator: clients work on a volume, and what the
 * device could hold after a loss of power is recovered and compared with a model, at every write and flush.
 *
 * One seed gives one run, which `trace` proves; a cut is numbered within its run, so seed and number show it again.
 */
import { createHash } from "node:crypto";
import { EEXIST, EINVAL, ENODATA, ENOENT, ENOTEMPTY, ESTALE } from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { RetryFailed, retrying, spawn, type Task } from "../../host/base/task.ts";
import type { Core } from "../../host/core/core.ts";
import { loadCore } from "../../host/core/load.ts";
import type { Device } from "../../host/device/device.ts";
import { type CrashMode, SimulatedDevice } from "../../host/device/simulated_device.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { type CopiedRange, FileClone } from "../../host/fs/file_clone.ts";
import {
  AttributeChange,
  Attributes,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  type FileSystem,
  NewNode,
  RENAME_EXCHANGE,
  ROOT_INO,
  SET_MODE,
  SET_SIZE,
} from "../../host/fs/file_system.ts";
import { createVolume, type Environment, mountVolume, type Volume } from "../../host/fs/volume.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import { SimulatedReactor } from "../../host/reactor/simulated_reactor.ts";
import {
  type Dump,
  describeNode,
  difference,
  FileModel,
  type Moment,
  type Node,
  type Promised,
  VolumeModel,
} from "./crash_model.ts";

/** The smallest device there is. */
const DEVICE_BYTES = 64 << 20;
const MEMORY_BYTES = 32 << 20;
const TURNS_MAX = 2_000_000;
const TRACE_LINES_SHOWN = 60;
const FILE_BYTES_MAX = 512 << 10;
const PAYLOAD_BLOCKS = 32;

type CopyWatcher = (range: CopiedRange, copied: number, bytes: Uint8Array | null) => void;

/** Hears of each step of a copy when it has been applied. */
let copyWatcher: CopyWatcher = () => {};
const copySources = new Map<number, FileModel>();

const { cloneOnce, writeOnce } = FileClone.prototype;
FileClone.prototype.cloneOnce = function watched(range: CopiedRange): number {
  const copied = cloneOnce.call(this, range);
  if (copied > 0) copyWatcher(range, copied, null);
  return copied;
};
FileClone.prototype.writeOnce = function watched(to, toOffset, address, byteLength): number {
  const written = writeOnce.call(this, to, toOffset, address, byteLength);
  const { bytes } = getMachines().work.core;
  const range = { from: 0, fromOffset: 0, to, toOffset, byteLength };
  if (written > 0) copyWatcher(range, written, bytes.slice(address, address + written));
  return written;
};

/** What a run found to be wrong. */
export class SimulationFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = "SimulationFailure";
  }
}

/** A core that one engine after the other is laid out in. */
export class Machine {
  readonly core: Core;

  constructor() {
    this.core = loadCore({ memoryPages: MEMORY_BYTES / 65536 });
  }

  /** Makes what the host lays out hold anything but zeros: nothing may rely on what was there. */
  soil(prng: Prng): void {
    prng.bytes(this.core.bytes.subarray(this.core.staticEnd));
  }
}

/** One power-on: a device, a clock, and what runs on them until power is gone. */
export class Session {
  readonly core: Core;
  readonly reactor: SimulatedReactor = new SimulatedReactor();
  readonly device: SimulatedDevice;
  readonly environment: Environment;
  readonly log: string[] = [];

  constructor(
    machine: Machine,
    options: { prng: Prng; image?: SparseBytes; delayMs?: readonly [number, number] },
  ) {
    const { reactor } = this;
    const { prng } = options;
    this.core = machine.core;
    this.device = new SimulatedDevice({
      core: machine.core,
      scheduler: reactor,
      prng,
      ...(options.image === undefined ? { sizeBytes: DEVICE_BYTES } : { image: options.image }),
      ...(options.delayMs === undefined ? {} : { delayMs: options.delayMs }),
    });
    this.environment = {
      core: machine.core,
      clock: reactor.clock,
      timer: (delayMs, callback) => reactor.timer(delayMs, callback),
      post: (callback) => reactor.post(callback),
      randomBytes: (target) => prng.bytes(target),
      log: (level, event, fields) => {
        if (level !== "info") this.log.push(`${level} ${event} ${JSON.stringify(fields)}`);
      },
    };
  }

  /** Runs a task to its end. */
  run<T>(task: Task<T>): T {
    let outcome: { error: unknown; result: T | undefined } | undefined;
    spawn(task, (error, result) => {
      outcome = { error, result };
    });
    this.reactor.runSync({ until: () => outcome !== undefined, turnsMax: TURNS_MAX });
    if (outcome === undefined)
      throw new SimulationFailure("a task waits for something that never comes");
    if (outcome.error !== null) throw outcome.error;
    return outcome.result as T;
  }
}

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
    kind: "file" | "directory" | "symlink",
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
        if (kind === "file") return fs.makeNode(parent, ...at, node, this.#out);
        if (kind === "directory") return fs.makeDirectory(parent, ...at, node, this.#out);
        const to = this.#text(target, this.#name + 512);
        return fs.makeSymlink(parent, ...at, ...to, node, this.#out);
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
    return yield* this.#run(
      () => this.fs.writeOwned(ino, offset, run, bytes.length, run, blocks, false),
      applied,
    );
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

  *read(ino: number, offset: number, byteLength: number): Task<Uint8Array> {
    const bytes = new Uint8Array(byteLength);
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
    if (status < 0) throw new SimulationFailure(`reading inode ${ino} failed: ${status}`);
    return bytes.subarray(0, at);
  }

  /** Reads all that there is. */
  *dump(): Task<Dump> {
    const entries = new Map<string, string>();
    const contents = new Map<number, Uint8Array>();
    const queue = [ROOT_INO];
    const seen = new Set(queue);
    for (let ino = queue.shift(); ino !== undefined; ino = queue.shift()) {
      const node = yield* this.#node_(ino);
      entries.set(`i${ino}`, describeNode(node.node));
      for (const [name, value] of node.node.xattrs) entries.set(`x${ino}/${name}`, value);
      if (node.node.type === "file") contents.set(ino, yield* this.read(ino, 0, node.size));
      for (const [name, child] of node.node.names) {
        entries.set(`n${ino}/${name}`, String(child));
        if (!seen.has(child)) queue.push(child);
        seen.add(child);
      }
    }
    return { entries, contents };
  }

  *#node_(ino: number): Task<{ node: Node; size: number }> {
    const { fs } = this;
    const must = (result: number): number => {
      if (result < 0) throw new SimulationFailure(`looking at inode ${ino} failed: ${result}`);
      return result;
    };
    const [mode, links, size] = yield* retrying(() => {
      must(fs.getAttributes(ino, this.#out));
      return [this.#out.mode, this.#out.nlink, this.#out.size] as const;
    });
    const kind = mode & 0o170000;
    const type = kind === 0o040000 ? "directory" : kind === 0o120000 ? "symlink" : "file";
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
    return { node: { ino, type, mode: mode & 0o7777, links, target, xattrs, names, parent }, size };
  }
}

function text(core: Core, address: number, length: number): string {
  return String.fromCharCode(...core.bytes.subarray(address, address + length));
}

function digest(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest("hex").slice(0, 16);
}

export interface SimulationOptions {
  readonly seed: number;
  /** Ends after so many cuts have been checked. */
  readonly cuts: number;
  /** Only this cut of the run is checked. */
  readonly only?: number;
  /** For planted bugs: what the engine sees of the device it works on. Recovery always sees the real one. */
  readonly wrap?: (device: SimulatedDevice) => Device;
  /** Operations of each life of the volume. */
  readonly operations?: number;
  /** Losses of power that the volume goes on from, in one run. */
  readonly lives?: number;
  /** Told before each cut is checked how many there were. */
  readonly onCut?: (cuts: number) => void;
  /** Fills memory with anything first. */
  readonly soiled?: boolean;
}

export interface SimulationResult {
  readonly cuts: number;
  /** Cuts during the recovery from a cut. */
  readonly nestedCuts: number;
  readonly operations: number;
  readonly events: number;
  /** Transactions that recoveries replayed. */
  readonly replayed: number;
  /** A hash of all operations, their results, and all events of the device. */
  readonly trace: string;
}

interface Cut {
  readonly number: number;
  readonly image: SparseBytes;
  readonly mode: CrashMode;
  readonly event: string;
  readonly moment: Moment;
}

/** Made once a process: a core for the workload, one for recovery, and a new volume. */
let machines: { work: Machine; rescue: Machine; fresh: SparseBytes } | null = null;

function getMachines(): { work: Machine; rescue: Machine; fresh: SparseBytes } {
  if (machines === null) {
    const work = new Machine();
    const rescue = new Machine();
    const session = new Session(work, { prng: new Prng(1) });
    session.run(createVolume(session.environment, [session.device], { name: "simulation" }));
    machines = { work, rescue, fresh: session.device.currentImage() };
  }
  return machines;
}

/** @throws {SimulationFailure} With seed, cut, difference and trace. */
export function simulate(options: SimulationOptions): SimulationResult {
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #prng: Prng;
  readonly #hash = createHash("sha1");
  #trace: string[] = [];
  #cuts = 0;
  #checked = 0;
  #nestedCuts = 0;
  #operations = 0;
  #events = 0;
  #replayed = 0;
  #pending: Cut[] = [];
  #failure: SimulationFailure | null = null;
  #rescueLog: readonly string[] = [];
  #model!: VolumeModel;
  #clientsLeft = 0;
  #modeCounter = 0;
  #life = 0;
  /** Random bytes that writes take theirs from. */
  readonly #source = new Uint8Array(1 << 20);

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#prng = new Prng(options.seed);
    this.#prng.bytes(this.#source);
  }

  run(): SimulationResult {
    const { work, rescue, fresh } = getMachines();
    if (this.#options.soiled === true) {
      const prng = new Prng(this.#options.seed + 77);
      work.soil(prng);
      rescue.soil(prng);
    }
    let image: SparseBytes | null = fresh.clone();
    const lives = this.#options.lives ?? 3;
    for (this.#life = 0; this.#life < lives && !this.#isDone(); this.#life++) {
      image = this.#liveOnce(image);
    }
    return {
      cuts: this.#checked,
      nestedCuts: this.#nestedCuts,
      operations: this.#operations,
      events: this.#events,
      replayed: this.#replayed,
      trace: this.#hash.digest("hex"),
    };
  }

  #isDone(): boolean {
    const { only, cuts } = this.#options;
    return only !== undefined ? this.#cuts > only : this.#checked >= cuts;
  }

  /** Quotas that never bind come and go: each fsck compares what they count. */
  #changeQuotas(volume: Volume, prng: Prng): void {
    for (const kind of ["user", "group"] as const) {
      if (prng.below(3) === 0) continue;
      const bytes = prng.below(4) === 0 ? null : 2 ** 40;
      volume.quotas.set({ kind, id: 0 }, { bytes, files: null }, (status) => {
        if (status < 0) this.#note(`a quota was refused: ${status}`);
      });
      this.#note(`quota of ${kind} 0: ${bytes}`);
    }
  }

  /** One life: mount, work, lose power. Returns what the device held then. */
  #liveOnce(image: SparseBytes): SparseBytes {
    const prng = new Prng(this.#prng.u32());
    const { work } = getMachines();
    const session = new Session(work, { prng: new Prng(prng.u32()), image, delayMs: [0.02, 1.5] });
    const cutPrng = new Prng(prng.u32());
    const device = this.#options.wrap?.(session.device) ?? session.device;
    const checkpointSeconds = [0.03, 0.2, 1, 30][prng.below(4)] as number;
    const volume = session.run(
      mountVolume(session.environment, [device], { readOnly: false, checkpointSeconds }),
    );
    this.#note(`life ${this.#life}: mounted, checkpoints every ${checkpointSeconds} s`);
    this.#changeQuotas(volume, prng);
    const reader = new Calls(work.core, volume.fs);
    const model = new VolumeModel(session.run(reader.dump()));
    model.remember();
    this.#model = model;

    session.device.onEvent = (kind, index, offsetBytes, byteLength) => {
      this.#events += 1;
      this.#hash.update(`${kind} ${index} ${offsetBytes} ${byteLength}\n`);
      const mode = (["none", "all", "subset", "subset", "torn", "torn", "torn"] as const)[
        cutPrng.below(7)
      ] as CrashMode;
      const number = this.#cuts;
      this.#cuts += 1;
      // Every image has a generator of its own, so that one can be made without the others.
      const seed = cutPrng.u32();
      const { only } = this.#options;
      if (only === undefined ? !this.#isDone() : only === number) {
        this.#pending.push({
          number,
          image: session.device.crashImage(new Prng(seed), mode),
          mode,
          event: `before ${kind} ${index} of ${byteLength} bytes at ${offsetBytes}, ${session.device.unflushedCount} writes unflushed`,
          moment: model.moment(),
        });
      }
      return undefined;
    };

    const operations = this.#options.operations ?? 150;
    const clients = 1 + prng.below(5);
    this.#clientsLeft = clients;
    for (let client = 0; client < clients; client++) {
      const worker = new Client(
        this,
        session,
        volume,
        model,
        new Prng(prng.u32()),
        this.#source,
        client,
      );
      spawn(worker.work(Math.ceil(operations / clients)), (error) => {
        this.#clientsLeft -= 1;
        if (error !== null) this.#fail(`client ${client} failed: ${stackOf(error)}`);
      });
    }
    session.reactor.runSync({
      turnsMax: TURNS_MAX,
      until: () => {
        this.#checkPending();
        return this.#clientsLeft === 0 || this.#isDone();
      },
    });
    if (this.#clientsLeft > 0 && !this.#isDone())
      this.#fail("clients wait for something that never comes");
    const state = volume.status().state;
    if (state !== "online") this.#fail(`the volume is ${state}: ${session.log.join("; ")}`);
    session.device.onEvent = null;
    session.device.cutPower();
    const last = session.device.crashImage(cutPrng, "torn");
    if (!this.#isDone() && this.#options.only === undefined) {
      this.#check({
        number: this.#cuts,
        image: last.clone(),
        mode: "torn",
        event: "at the end",
        moment: model.moment(),
      });
    }
    this.#cuts += 1;
    return last;
  }

  #checkPending(): void {
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    for (const cut of pending) this.#check(cut);
  }

  #check(cut: Cut): void {
    this.#checked += 1;
    this.#options.onCut?.(this.#checked);
    try {
      this.#recover(cut);
    } catch (error) {
      if (error instanceof SimulationFailure && error === this.#failure) throw error;
      const log = this.#rescueLog.map((line) => `\n  ${line}`).join("");
      this.#fail(
        `cut ${cut.number}, ${cut.mode}, ${cut.event}:\n${stackOf(error)}${log}`,
        cut.number,
      );
    }
  }

  #recover(cut: Cut): void {
    const { rescue } = getMachines();
    const prng = new Prng(this.#options.seed ^ (cut.number * 0x9e37));
    const nestedImages: SparseBytes[] = [];
    const nests = cut.number % 8 === 0;
    const session = new Session(rescue, { prng: new Prng(prng.u32()), image: cut.image });
    this.#rescueLog = session.log;
    if (nests) {
      session.device.onEvent = (_kind, index) => {
        if (nestedImages.length < 4 && prng.below(1 + (index >> 2)) === 0) {
          nestedImages.push(
            session.device.crashImage(prng, prng.below(2) === 0 ? "torn" : "subset"),
          );
        }
        return undefined;
      };
    }
    const volume = session.run(
      mountVolume(session.environment, [session.device], {
        readOnly: false,
        checkpointSeconds: 3600,
      }),
    );
    session.device.onEvent = null;
    this.#replayed += volume.status().journal.replayedTransactions;
    const calls = new Calls(session.core, volume.fs);
    const dump = session.run(calls.dump());
    const problem = this.#model.problem(dump, cut.moment);
    if (problem !== null) throw new SimulationFailure(problem);
    if (session.log.some((line) => line.startsWith("error"))) {
      throw new SimulationFailure(`recovery logged ${session.log.join("; ")}`);
    }
    if (cut.number % 4 === 1) this.#goesOn(session, volume, calls, dump);
    else this.#fsck(session.device.currentImage(), "after recovery");
    for (const image of nestedImages) {
      this.#nestedCuts += 1;
      const again = new Session(rescue, { prng: new Prng(prng.u32()), image });
      const second = again.run(
        mountVolume(again.environment, [again.device], {
          readOnly: false,
          checkpointSeconds: 3600,
        }),
      );
      const found = again.run(new Calls(again.core, second.fs).dump());
      const changed = difference(dump, found);
      if (changed !== null)
        throw new SimulationFailure(`after a second loss of power, during recovery: ${changed}`);
      this.#fsck(again.device.currentImage(), "after a second recovery");
    }
  }

  /** The recovered volume takes new data, and keeps all when it is unmounted in order. */
  #goesOn(session: Session, volume: Volume, calls: Calls, before: Dump): void {
    const { rescue } = getMachines();
    session.run(
      (function* (source: Uint8Array): Task<void> {
        let ino = 0;
        const must = (result: number): void => {
          if (result < 0)
            throw new SimulationFailure(`a recovered volume takes no new file: ${result}`);
        };
        must(
          yield* calls.make(ROOT_INO, "after recovery", "file", 0o644, "", (made) => {
            ino = made;
          }),
        );
        must(yield* calls.write(ino, 0, source.subarray(0, 70_000), () => {}));
        for (const [file, bytes] of [...before.contents].slice(0, 8)) {
          must(yield* calls.write(file, bytes.length >> 1, source.subarray(100, 5000), () => {}));
        }
        must(yield* calls.fsync(ino));
      })(this.#source),
    );
    const dump = session.run(calls.dump());
    session.run(volume.unmount());
    const image = session.device.currentImage();
    this.#fsck(image.clone(), "after it was used and unmounted");
    const again = new Session(rescue, { prng: new Prng(1), image });
    const second = again.run(mountVolume(again.environment, [again.device], { readOnly: true }));
    const changed = difference(dump, again.run(new Calls(again.core, second.fs).dump()));
    if (changed !== null)
      throw new SimulationFailure(`after it was used and unmounted: ${changed}`);
  }

  #fsck(image: SparseBytes, when: string): void {
    const session = new Session(getMachines().rescue, { prng: new Prng(1), image });
    const report = session.run(fsck(session.environment, [session.device]));
    if (!report.clean || !report.complete) {
      const errors = report.errors.slice(0, 10).map((finding) => JSON.stringify(finding));
      throw new SimulationFailure(
        `fsck ${when} finds ${report.errorCount} errors:\n  ${errors.join("\n  ")}`,
      );
    }
  }

  // --- for clients ---

  note(text: string): void {
    this.#operations += 1;
    this.#note(text);
  }

  #note(text: string): void {
    this.#trace.push(text);
    this.#hash.update(`${text}\n`);
    if (this.#trace.length > 4 * TRACE_LINES_SHOWN)
      this.#trace = this.#trace.slice(-TRACE_LINES_SHOWN);
  }

  /** A mode that no recent change has given: it tells which changes are there. */
  nextMode(): number {
    this.#modeCounter += 1;
    return this.#modeCounter % 0o1000;
  }

  #fail(message: string, cut?: number): never {
    const again = `npm run sim -- --seed ${this.#options.seed}${cut === undefined ? "" : ` --cut ${cut}`}`;
    const failure = new SimulationFailure(
      `${message}\n\nThe last operations:\n${this.#trace.slice(-TRACE_LINES_SHOWN).join("\n")}\n\nAgain with: ${again}`,
    );
    this.#failure ??= failure;
    throw this.#failure;
  }
}

function stackOf(error: unknown): string {
  if (error instanceof SimulationFailure) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Errors that an operation may meet because another client was quicker. */
const RACES: ReadonlySet<number> = new Set([
  -ENOENT,
  -EEXIST,
  -ENOTEMPTY,
  -ESTALE,
  -ENODATA,
  -EINVAL,
]);

class Client {
  readonly #simulation: Simulation;
  readonly #session: Session;
  readonly #calls: Calls;
  readonly #fs: FileSystem;
  readonly #volume: Volume;
  readonly #model: VolumeModel;
  readonly #prng: Prng;
  readonly #source: Uint8Array;
  readonly #index: number;
  readonly #held: number[] = [];
  /** Files that this client works on more than on others. */
  #favourite = 0;

  constructor(
    simulation: Simulation,
    session: Session,
    volume: Volume,
    model: VolumeModel,
    prng: Prng,
    source: Uint8Array,
    index: number,
  ) {
    this.#simulation = simulation;
    this.#session = session;
    this.#volume = volume;
    this.#fs = volume.fs;
    this.#calls = new Calls(session.core, volume.fs);
    this.#model = model;
    this.#prng = prng;
    this.#source = source;
    this.#index = index;
  }

  *work(operations: number): Task<void> {
    const { reactor } = this.#session;
    for (let count = 0; count < operations; count++) {
      const pauseMs = this.#prng.below(3) === 0 ? this.#prng.float() * 20 : 0;
      yield (resume) => {
        reactor.timer(pauseMs, () => resume(0));
      };
      yield* this.#operate();
    }
    for (const ino of this.#held) this.#fs.forget(ino, 1);
  }

  #note(text: string, result: number): void {
    this.#simulation.note(
      `${this.#session.reactor.nowMs.toFixed(2)} ms, tick ${this.#model.tick}, client ${this.#index}: ${text} = ${result}`,
    );
    if (result < 0 && !RACES.has(result)) throw new SimulationFailure(`${text} failed: ${result}`);
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.#prng.below(items.length)];
  }

  #directories(): Node[] {
    return [...this.#model.nodes.values()].filter((node) => node.type === "directory");
  }

  #file(): number | undefined {
    const { files } = this.#model;
    if (files.has(this.#favourite) && this.#prng.below(3) > 0) return this.#favourite;
    const chosen = this.#pick([...files.keys()]);
    if (chosen !== undefined) this.#favourite = chosen;
    return chosen;
  }

  #newName(): string {
    const long = this.#prng.below(12) === 0 ? "-".repeat(this.#prng.below(200)) : "";
    return `n${this.#prng.below(24)}${long}`;
  }

  /** A directory and a name in it. */
  #name(): { parent: number; name: string; ino: number } | undefined {
    const directory = this.#pick(this.#directories().filter((node) => node.names.size > 0));
    if (directory === undefined) return undefined;
    const [name, ino] = this.#pick([...directory.names]) as [string, number];
    return { parent: directory.ino, name, ino };
  }

  *#operate(): Task<void> {
    const kinds: readonly (readonly [number, () => Task<void>])[] = [
      [14, () => this.#create()],
      [34, () => this.#write()],
      [12, () => this.#fsync()],
      [2, () => this.#sync()],
      [10, () => this.#rename()],
      [8, () => this.#replace()],
      [8, () => this.#truncate()],
      [8, () => this.#unlink()],
      [4, () => this.#link()],
      [3, () => this.#symlink()],
      [4, () => this.#makeDirectory()],
      [3, () => this.#removeDirectory()],
      [4, () => this.#setXattr()],
      [2, () => this.#removeXattr()],
      [6, () => this.#punch()],
      [5, () => this.#keep()],
      [7, () => this.#clone()],
      [4, () => this.#read()],
      [2, () => this.#checkpoint()],
      [2, () => this.#setMode()],
    ];
    let choice = this.#prng.below(kinds.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, operation] of kinds) {
      choice -= weight;
      if (choice < 0) {
        yield* operation();
        return;
      }
    }
  }

  *#create(): Task<void> {
    const parent = (this.#pick(this.#directories()) as Node).ino;
    yield* this.#createAt(parent, this.#newName());
  }

  *#createAt(parent: number, name: string): Task<number> {
    const mode = this.#simulation.nextMode();
    let made = 0;
    const result = yield* this.#calls.make(parent, name, "file", mode, "", (ino) => {
      made = ino;
      const tick = this.#model.begin(`create ${parent}/${name}`);
      this.#model.putNode(newNode(ino, "file", mode, 1, "", parent));
      this.#model.putName(parent, name, ino);
      this.#model.addFile(new FileModel(ino, tick));
      this.#model.end();
    });
    this.#note(`create ${parent}/${name} as ${made}`, result);
    if (result >= 0) this.#favourite = made;
    return result < 0 ? 0 : made;
  }

  #length(): number {
    const prng = this.#prng;
    const kind = prng.below(20);
    if (kind < 6) return 1 + prng.below(900);
    if (kind < 10) return 1 + prng.below(2600);
    if (kind < 14) return 4096 * (1 + prng.below(3));
    if (kind < 18) return 1 + prng.below(20_000);
    return 1 + prng.below(PAYLOAD_BLOCKS * 4096);
  }

  *#write(): Task<void> {
    const ino = this.#file();
    if (ino === undefined) return;
    const count = this.#prng.below(12) === 0 ? 4 : 1;
    for (let index = 0; index < count; index++) yield* this.#writeTo(ino);
  }

  *#writeTo(ino: number): Task<void> {
    const prng = this.#prng;
    const file = this.#model.files.get(ino);
    if (file === undefined) return;
    const length = this.#length();
    const place = prng.below(4);
    let offset = place === 0 ? file.size : prng.below(Math.min(FILE_BYTES_MAX, file.size + 9000));
    if (place === 1) offset = 0;
    if (place === 2) offset -= offset % 4096;
    offset = Math.min(offset, FILE_BYTES_MAX - length);
    const from = prng.below(this.#source.length - length);
    const bytes = this.#source.subarray(from, from + length);
    const applied = (): void => {
      this.#model.tick += 1;
      this.#model.files.get(ino)?.write(this.#model.tick, offset, bytes);
    };
    const owned = offset % 4096 === 0 && length >= 4096 && prng.below(2) === 0;
    const result = owned
      ? yield* this.#calls.writeOwned(ino, offset, bytes, applied)
      : yield* this.#calls.write(ino, offset, bytes, applied);
    this.#note(`write ${ino} ${offset}+${length}${owned ? " owned" : ""}`, result);
  }

  *#fsync(): Task<void> {
    const ino =
      this.#prng.below(4) === 0 ? this.#pick([...this.#model.nodes.keys()]) : this.#file();
    if (ino !== undefined) yield* this.#fsyncOf(ino);
  }

  *#fsyncOf(ino: number): Task<void> {
    const promise = this.#model.promise();
    this.#model.files.get(ino)?.promised(promise);
    const result = yield* this.#calls.fsync(ino);
    if (result >= 0) this.#model.acknowledge(promise);
    this.#note(`fsync ${ino} of tick ${promise.tick}`, result);
  }

  *#sync(): Task<void> {
    const promise: Promised = this.#model.promise();
    for (const file of this.#model.files.values()) file.promised(promise);
    const result = yield* this.#calls.sync();
    if (result >= 0) this.#model.acknowledge(promise);
    this.#note(`sync of tick ${promise.tick}`, result);
  }

  *#rename(): Task<void> {
    const from = this.#name();
    if (from === undefined) return;
    const parent = (this.#pick(this.#directories()) as Node).ino;
    const over =
      this.#prng.below(2) === 0
        ? this.#pick([...this.#model.node(parent).names.keys()])
        : undefined;
    const exchange = over !== undefined && this.#prng.below(4) === 0;
    yield* this.#renameTo(from.parent, from.name, parent, over ?? this.#newName(), exchange);
  }

  *#renameTo(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    exchange: boolean,
  ): Task<number> {
    const text = `${exchange ? "exchange" : "rename"} ${parent}/${name} ${newParent}/${newName}`;
    const allowed = this.#renameWorks(parent, name, newParent, newName, exchange);
    if (!allowed) return 0;
    const applied = (): void => {
      const model = this.#model;
      const tick = model.begin(text);
      const ino = model.node(parent).names.get(name) as number;
      const other = model.node(newParent).names.get(newName);
      if (other === ino) {
        // Two names of one file: nothing happens.
      } else if (exchange) {
        model.putName(parent, name, other as number);
        model.putName(newParent, newName, ino);
        this.#move(ino, parent, newParent);
        this.#move(other as number, newParent, parent);
      } else {
        model.removeName(parent, name);
        model.putName(newParent, newName, ino);
        this.#move(ino, parent, newParent);
        if (other !== undefined) {
          const wasDirectory = model.node(other).type === "directory";
          model.link(other, -1);
          if (wasDirectory) model.link(newParent, -1);
        }
        model.files.get(ino)?.published(tick);
      }
      model.end();
    };
    const result = yield* this.#calls.rename(
      parent,
      name,
      newParent,
      newName,
      exchange ? RENAME_EXCHANGE : 0,
      applied,
    );
    this.#note(text, result);
    return result;
  }

  /** A directory that moved counts in its new parent. */
  #move(ino: number, from: number, to: number): void {
    const node = this.#model.node(ino);
    if (node.type !== "directory") return;
    node.parent = to;
    if (from === to) return;
    this.#model.link(from, -1);
    this.#model.link(to, 1);
  }

  /** Leaves out what POSIX refuses for the kinds of objects, so that errors mean races. */
  #renameWorks(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    exchange: boolean,
  ): boolean {
    const model = this.#model;
    const ino = model.node(parent).names.get(name);
    const other = model.node(newParent).names.get(newName);
    if (ino === undefined) return false;
    const isDirectory = model.node(ino).type === "directory";
    if (isDirectory && this.#isInside(newParent, ino)) return false;
    if (other === undefined) return !exchange;
    const otherIsDirectory = model.node(other).type === "directory";
    if (exchange) return !(otherIsDirectory && this.#isInside(parent, other));
    return isDirectory === otherIsDirectory;
  }

  #isInside(directory: number, ino: number): boolean {
    for (let at = directory; at !== ROOT_INO; at = this.#model.node(at).parent)
      if (at === ino) return true;
    return ino === ROOT_INO;
  }

  /** What programs do to save a file: write another, perhaps fsync it, rename it over. */
  *#replace(): Task<void> {
    const target = this.#name();
    if (target === undefined || this.#model.nodes.get(target.ino)?.type !== "file") return;
    const name = `tmp${this.#index}`;
    const ino = yield* this.#createAt(target.parent, name);
    if (ino === 0) return;
    const writes = 1 + this.#prng.below(3);
    for (let count = 0; count < writes; count++) yield* this.#writeTo(ino);
    if (this.#prng.below(2) === 0) yield* this.#fsyncOf(ino);
    if (this.#model.nodes.get(target.parent)?.names.get(name) !== ino) return;
    yield* this.#renameTo(target.parent, name, target.parent, target.name, false);
    if (this.#prng.below(3) === 0) yield* this.#fsyncOf(target.parent);
  }

  *#truncate(): Task<void> {
    const ino = this.#file();
    const file = ino === undefined ? undefined : this.#model.files.get(ino);
    if (ino === undefined || file === undefined) return;
    const kind = this.#prng.below(6);
    let size = this.#prng.below(file.size + 1);
    if (kind === 0) size = 0;
    if (kind === 1) size -= size % 4096;
    if (kind === 2) size = file.size + this.#prng.below(20_000);
    if (kind === 3) size = file.size - this.#prng.below(Math.min(file.size, 4096) + 1);
    const mode = this.#simulation.nextMode();
    const result = yield* this.#calls.truncate(ino, size, mode, () => {
      const tick = this.#model.begin(`truncate ${ino}`);
      const node = this.#model.nodes.get(ino);
      if (node !== undefined) {
        node.mode = mode;
        this.#model.putNode(node);
        this.#model.files.get(ino)?.truncate(tick, size);
      }
      this.#model.end();
    });
    this.#note(`truncate ${ino} to ${size}`, result);
  }

  *#setMode(): Task<void> {
    const ino = this.#pick(
      [...this.#model.nodes.values()].filter((node) => node.type !== "symlink"),
    )?.ino;
    if (ino === undefined) return;
    const mode = this.#simulation.nextMode();
    const result = yield* this.#calls.setMode(ino, mode, () => {
      this.#model.begin(`chmod ${ino}`);
      const node = this.#model.nodes.get(ino);
      if (node !== undefined) {
        node.mode = mode;
        this.#model.putNode(node);
      }
      this.#model.end();
    });
    this.#note(`chmod ${ino} ${mode.toString(8)}`, result);
  }

  *#unlink(): Task<void> {
    const found = this.#name();
    if (found === undefined || this.#model.node(found.ino).type === "directory") return;
    const hold = this.#prng.below(3) === 0;
    if (hold) {
      this.#fs.remember(found.ino, 1);
      this.#held.push(found.ino);
    }
    const { parent, name } = found;
    const result = yield* this.#calls.unlink(parent, name, () => {
      this.#model.begin(`unlink ${parent}/${name}`);
      const ino = this.#model.node(parent).names.get(name) as number;
      this.#model.removeName(parent, name);
      this.#model.link(ino, -1);
      this.#model.end();
    });
    this.#note(`unlink ${parent}/${name}, inode ${found.ino}${hold ? ", held" : ""}`, result);
    if (this.#held.length > 3) this.#fs.forget(this.#held.shift() as number, 1);
    if (hold && this.#prng.below(2) === 0) yield* this.#writeUnlinked(found.ino);
  }

  /** Data of a file without a name: gone after a crash, whatever happens. */
  *#writeUnlinked(ino: number): Task<void> {
    if (this.#model.nodes.has(ino) || !this.#held.includes(ino)) return;
    const bytes = this.#source.subarray(0, 1 + this.#prng.below(30_000));
    const result = yield* this.#calls.write(ino, this.#prng.below(9000), bytes, () => {});
    // A symlink takes no data: EISDIR is how the data half says so.
    if (result !== -21) this.#note(`write to unlinked ${ino}`, result);
    if (this.#prng.below(2) === 0) yield* this.#fsyncOf(ino);
  }

  *#link(): Task<void> {
    const ino = this.#pick(
      [...this.#model.nodes.values()].filter((node) => node.type !== "directory"),
    )?.ino;
    if (ino === undefined) return;
    const parent = (this.#pick(this.#directories()) as Node).ino;
    const name = this.#newName();
    const result = yield* this.#calls.link(ino, parent, name, () => {
      const tick = this.#model.begin(`link ${ino} ${parent}/${name}`);
      this.#model.putName(parent, name, ino);
      this.#model.link(ino, 1);
      this.#model.files.get(ino)?.published(tick);
      this.#model.end();
    });
    this.#note(`link ${ino} ${parent}/${name}`, result);
  }

  *#symlink(): Task<void> {
    const parent = (this.#pick(this.#directories()) as Node).ino;
    const name = this.#newName();
    const target = `target/${"x".repeat(this.#prng.below(400))}`;
    const result = yield* this.#calls.make(parent, name, "symlink", 0o777, target, (ino) => {
      this.#model.begin(`symlink ${parent}/${name}`);
      this.#model.putNode(newNode(ino, "symlink", 0o777, 1, target, parent));
      this.#model.putName(parent, name, ino);
      this.#model.end();
    });
    this.#note(`symlink ${parent}/${name}`, result);
  }

  *#makeDirectory(): Task<void> {
    const parent = (this.#pick(this.#directories()) as Node).ino;
    const name = this.#newName();
    const mode = this.#simulation.nextMode();
    const result = yield* this.#calls.make(parent, name, "directory", mode, "", (ino) => {
      this.#model.begin(`mkdir ${parent}/${name}`);
      this.#model.putNode(newNode(ino, "directory", mode, 2, "", parent));
      this.#model.putName(parent, name, ino);
      this.#model.link(parent, 1);
      this.#model.end();
    });
    this.#note(`mkdir ${parent}/${name}`, result);
  }

  *#removeDirectory(): Task<void> {
    const found = this.#pick(
      this.#directories().filter((node) => node.ino !== ROOT_INO && node.names.size === 0),
    );
    if (found === undefined) return;
    const { parent } = found;
    const name = [...this.#model.node(parent).names].find(([, ino]) => ino === found.ino)?.[0];
    if (name === undefined) return;
    const result = yield* this.#calls.removeDirectory(parent, name, () => {
      this.#model.begin(`rmdir ${parent}/${name}`);
      const ino = this.#model.node(parent).names.get(name) as number;
      this.#model.removeName(parent, name);
      this.#model.link(ino, -1);
      this.#model.link(parent, -1);
      this.#model.end();
    });
    this.#note(`rmdir ${parent}/${name}`, result);
  }

  *#setXattr(): Task<void> {
    const ino = this.#pick(
      [...this.#model.nodes.values()].filter((node) => node.type !== "symlink"),
    )?.ino;
    if (ino === undefined) return;
    const name = `user.x${this.#prng.below(4)}`;
    const length = this.#prng.below(4) === 0 ? this.#prng.below(12_000) : this.#prng.below(100);
    const from = this.#prng.below(this.#source.length - length);
    const value = this.#source.subarray(from, from + length);
    const result = yield* this.#calls.setXattr(ino, name, value, () => {
      this.#model.begin(`setxattr ${ino} ${name}`);
      if (this.#model.nodes.has(ino)) this.#model.setXattr(ino, name, digest(value));
      this.#model.end();
    });
    this.#note(`setxattr ${ino} ${name} of ${length}`, result);
  }

  *#removeXattr(): Task<void> {
    const node = this.#pick([...this.#model.nodes.values()].filter((each) => each.xattrs.size > 0));
    if (node === undefined) return;
    const name = this.#pick([...node.xattrs.keys()]) as string;
    const result = yield* this.#calls.removeXattr(node.ino, name, () => {
      this.#model.begin(`removexattr ${node.ino} ${name}`);
      if (this.#model.nodes.has(node.ino)) this.#model.setXattr(node.ino, name, undefined);
      this.#model.end();
    });
    this.#note(`removexattr ${node.ino} ${name}`, result);
  }

  *#punch(): Task<void> {
    const ino = this.#file();
    const file = ino === undefined ? undefined : this.#model.files.get(ino);
    if (ino === undefined || file === undefined || file.size === 0) return;
    let offset = this.#prng.below(file.size);
    let length = 1 + this.#prng.below(20_000);
    if (this.#prng.below(2) === 0) {
      offset -= offset % 4096;
      if (this.#prng.below(2) === 0) length = Math.ceil(length / 4096) * 4096;
    }
    const result = yield* this.#calls.punch(ino, offset, length, () => {
      this.#model.tick += 1;
      this.#model.files.get(ino)?.punch(this.#model.tick, offset, length);
    });
    this.#note(`punch ${ino} ${offset}+${length}`, result);
  }

  /** Preallocation and zeroing, within the file and beyond its end. */
  *#keep(): Task<void> {
    const prng = this.#prng;
    const ino = this.#file();
    const file = ino === undefined ? undefined : this.#model.files.get(ino);
    if (ino === undefined || file === undefined) return;
    let offset = prng.below(file.size + 10_000);
    if (prng.below(3) === 0) offset -= offset % 4096;
    const length = 1 + prng.below(60_000);
    const zero = prng.below(3) === 0;
    const keepSize = prng.below(2) === 0;
    const mode = (zero ? FALLOC_FL_ZERO_RANGE : 0) | (keepSize ? FALLOC_FL_KEEP_SIZE : 0);
    const result = yield* this.#calls.keep(ino, mode, offset, length, () => {
      this.#model.tick += 1;
      const model = this.#model.files.get(ino);
      if (zero) model?.punch(this.#model.tick, offset, length);
      if (!keepSize) model?.grow(this.#model.tick, offset + length);
    });
    this.#note(`${zero ? "zero" : "keep"} ${ino} ${offset}+${length} mode ${mode}`, result);
  }

  /** Copies a range, from aligned offsets to aligned ones mostly, so that blocks are shared. */
  *#clone(): Task<void> {
    const prng = this.#prng;
    const to = this.#file();
    const from = prng.below(6) === 0 ? to : this.#pick([...this.#model.files.keys()]);
    if (from === undefined || to === undefined) return;
    const source = this.#model.files.get(from) as FileModel;
    const { size } = source;
    let fromOffset = prng.below(3) === 0 ? 0 : prng.below(size + 1);
    let toOffset = prng.below(3) === 0 ? 0 : prng.below(FILE_BYTES_MAX - 200_000);
    if (prng.below(4) > 0) {
      fromOffset -= fromOffset % 4096;
      toOffset -= toOffset % 4096;
    }
    let length = prng.below(4) === 0 ? FILE_BYTES_MAX - toOffset : 1 + prng.below(150_000);
    if (from === to) length = Math.min(length, Math.abs(fromOffset - toOffset));
    const model = this.#model;
    // The source may lose its last name meanwhile.
    copySources.set(from, source);
    copyWatcher = (range, copied, bytes) => {
      model.tick += 1;
      const end = range.fromOffset + copied;
      const contents = copySources.get(range.from)?.contents(model.tick);
      const part = bytes ?? contents?.subarray(range.fromOffset, end);
      if (part !== undefined) model.files.get(range.to)?.write(model.tick, range.toOffset, part);
    };
    this.#fs.remember(from, 1);
    this.#fs.remember(to, 1);
    const result = yield* this.#calls.clone(from, fromOffset, to, toOffset, length);
    this.#fs.forget(from, 1);
    this.#fs.forget(to, 1);
    this.#note(`clone ${from} ${fromOffset}+${length} to ${to} ${toOffset}`, result);
  }

  *#read(): Task<void> {
    const ino = this.#file();
    const file = ino === undefined ? undefined : this.#model.files.get(ino);
    if (ino === undefined || file === undefined || file.size === 0) return;
    const offset = this.#prng.below(file.size);
    const before = this.#model.tick;
    this.#fs.remember(ino, 1);
    const bytes = yield* this.#calls.read(ino, offset, 1 + this.#prng.below(60_000));
    this.#fs.forget(ino, 1);
    const problem = file.readProblem(bytes, offset, before);
    if (problem !== null) throw new SimulationFailure(problem);
    this.#note(`read ${ino} at ${offset}`, bytes.length);
  }

  *#checkpoint(): Task<void> {
    const status = yield (resume) => this.#volume.checkpoint(resume);
    this.#note("checkpoint", status);
  }
}

function newNode(
  ino: number,
  type: Node["type"],
  mode: number,
  links: number,
  target: string,
  parent: number,
): Node {
  return { ino, type, mode, links, target, xattrs: new Map(), names: new Map(), parent };
}

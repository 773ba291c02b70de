/**
 * A client of the simulation: it works off steps, each with a seed of its own, and tells the model what was applied.
 */
import {
  EEXIST,
  EINVAL,
  EIO,
  EISDIR,
  ENODATA,
  ENODEV,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  EROFS,
  ESTALE,
  errnoName,
} from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { RetryFailed, type Task } from "../../host/base/task.ts";
import { type CopiedRange, FileClone } from "../../host/fs/file_clone.ts";
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_ZERO_RANGE,
  type FileSystem,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  ROOT_INO,
} from "../../host/fs/file_system.ts";
import type { Volume } from "../../host/fs/volume.ts";
import {
  type Bag,
  describeNode,
  FileModel,
  type Node,
  type Promised,
  timesText,
  UNKNOWN_TIMES,
  type VolumeModel,
} from "./crash_model.ts";
import { Calls, digest, type Instant, PAYLOAD_BLOCKS, timeText } from "./sim_calls.ts";
import { add, type Coverage, type StateName } from "./sim_coverage.ts";
import { getMachines, type Session, SimulationFailure } from "./sim_engine.ts";
import type { Faults } from "./sim_faults.ts";
import { isFault, type Step } from "./sim_plan.ts";

const FILE_BYTES_MAX = 512 << 10;
/** What fills a volume: kept space, behind all that files hold. */
const FILL_BYTES = 6 << 20;
/** With more than this available nothing may be refused for want of space: no operation asks for more at once. */
const FULL_BELOW_BYTES = FILL_BYTES;

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

/** Errors that an operation may meet because another client was quicker. */
const RACES: ReadonlySet<number> = new Set([
  -ENOENT,
  -EEXIST,
  -ENOTDIR,
  -EISDIR,
  -ENOTEMPTY,
  -ESTALE,
  -ENODATA,
  -EINVAL,
]);

/** Bytes that writes take theirs from: the same in every run. */
const SOURCE: Uint8Array = new Uint8Array(1 << 20);
new Prng(1).bytes(SOURCE);

/** What the clients of one life share. */
export interface Stage {
  readonly session: Session;
  readonly volume: Volume;
  readonly model: VolumeModel;
  readonly faults: Faults;
  readonly coverage: Coverage;
  /** Operations under way. */
  running: number;
  /** No space was left at some time. */
  isFull: boolean;
  /** Writes a line into the trace. */
  readonly note: (text: string) => void;
  /** A mode that no recent change has given: it tells which changes are there. */
  readonly nextMode: () => number;
}

const READ_BYTES_MAX = 60_000;

export class Client {
  readonly #stage: Stage;
  readonly #session: Session;
  readonly #calls: Calls;
  readonly #fs: FileSystem;
  readonly #model: VolumeModel;
  readonly #source: Uint8Array = SOURCE;
  readonly #index: number;
  readonly #held: number[] = [];
  readonly #operations: Readonly<Record<string, () => Task<void>>> = {
    create: () => this.#create(),
    write: () => this.#write(),
    fsync: () => this.#fsync(),
    sync: () => this.#sync(),
    rename: () => this.#rename(),
    replace: () => this.#replace(),
    truncate: () => this.#truncate(),
    unlink: () => this.#unlink(),
    link: () => this.#link(),
    unnamed: () => this.#unnamed(),
    symlink: () => this.#symlink(),
    mkdir: () => this.#makeDirectory(),
    mknod: () => this.#makeSpecial(),
    rmdir: () => this.#removeDirectory(),
    setxattr: () => this.#setXattr(),
    removexattr: () => this.#removeXattr(),
    punch: () => this.#punch(),
    keep: () => this.#keep(),
    fill: () => this.#fill(),
    clone: () => this.#clone(),
    read: () => this.#read(),
    stat: () => this.#stat(),
    list: () => this.#list(),
    checkpoint: () => this.#checkpoint(),
    chmod: () => this.#setMode(),
    chown: () => this.#setOwner(),
    utimes: () => this.#setTimes(),
    wrong: () => this.#wrong(),
  };
  #prng: Prng = new Prng(0);
  readonly #readBuffer: Uint8Array = new Uint8Array(READ_BYTES_MAX);
  /** Files that this client works on more than on others. */
  #favourite = 0;
  /** At the beginning of the operation: whether changes were refused, and how much damage had been met. */
  #wasFaulted = false;
  #damageBefore = 0;

  constructor(stage: Stage, index: number) {
    this.#stage = stage;
    this.#session = stage.session;
    this.#fs = stage.volume.fs;
    this.#calls = new Calls(stage.session.core, stage.volume.fs);
    this.#model = stage.model;
    this.#index = index;
  }

  *work(steps: readonly Step[]): Task<void> {
    const { reactor } = this.#session;
    const stage = this.#stage;
    for (const step of steps) {
      const prng = new Prng(step.seed);
      this.#prng = prng;
      const pauseMs = prng.below(3) === 0 ? prng.float() * 20 : 0;
      yield (resume) => {
        if (pauseMs > 0) reactor.timer(pauseMs, () => resume(0));
        else reactor.post(() => resume(0));
      };
      if (isFault(step.kind)) {
        const done = stage.faults.inject(step.kind, prng);
        stage.note(`fault ${step.kind}${done ? "" : ", to come"}`);
        continue;
      }
      stage.coverage.operation(step.kind, this.#state(), stage.faults.last);
      this.#begin();
      stage.running += 1;
      yield* (this.#operations[step.kind] as () => Task<void>)();
      stage.running -= 1;
    }
    for (const ino of this.#held) this.#fs.forget(ino, 1);
  }

  #begin(): void {
    this.#wasFaulted = this.#session.isFaulted;
    this.#damageBefore = this.#session.damageCount;
  }

  #state(): StateName {
    const { session, faults, isFull, running } = this.#stage;
    if (session.isFaulted) return "refusing";
    if (session.device.isHanging || session.device.slowMs > 0) return "slow";
    if (isFull) return "full";
    if (faults.checkpointing) return "checkpoint";
    return running > 0 ? "together" : "alone";
  }

  /** @param kind Whether it changes something, which a volume that has failed refuses. */
  #note(text: string, result: number, kind: "change" | "other" = "change"): void {
    const stage = this.#stage;
    stage.note(
      `${this.#session.reactor.nowMs.toFixed(2)} ms, tick ${this.#model.tick}, client ${this.#index}: ${text} = ${result}`,
    );
    if (result < 0) {
      add(stage.coverage.errors, errnoName(result), 1);
      if (!RACES.has(result) && !this.#isExcused(result))
        throw new SimulationFailure(`${text} failed: ${errnoName(result)}`);
    } else if (this.#wasFaulted && kind === "change") {
      throw new SimulationFailure(`${text} succeeded after a failure`);
    }
    // An operation may consist of several.
    this.#begin();
  }

  #isExcused(result: number): boolean {
    const stage = this.#stage;
    if (result === -ENOSPC && stage.volume.status().availableBytes < FULL_BELOW_BYTES) {
      stage.isFull = true;
      return true;
    }
    // Only damage that was met explains an error; what it was, the session has looked at.
    if (result === -EIO && this.#session.damageCount > this.#damageBefore) return true;
    if (!stage.faults.failing) return false;
    return result === -EIO || result === -EROFS || result === -ENODEV || result === -ENOSPC;
  }

  #nextMode(): number {
    return this.#stage.nextMode();
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.#prng.below(items.length)];
  }

  #from(bag: Bag): number | undefined {
    return bag.size === 0 ? undefined : bag.at(this.#prng.below(bag.size));
  }

  /** Any directory. */
  #directory(): number {
    return this.#from(this.#model.directories) as number;
  }

  /** Anything at all. */
  #any(): number {
    const { directories, others } = this.#model;
    const index = this.#prng.below(directories.size + others.size);
    return index < directories.size ? directories.at(index) : others.at(index - directories.size);
  }

  #file(): number | undefined {
    const { files, regular } = this.#model;
    if (files.has(this.#favourite) && this.#prng.below(3) > 0) return this.#favourite;
    const chosen = this.#from(regular);
    if (chosen !== undefined) this.#favourite = chosen;
    return chosen;
  }

  #newName(): string {
    const long = this.#prng.below(12) === 0 ? "-".repeat(this.#prng.below(200)) : "";
    return `n${this.#prng.below(24)}${long}`;
  }

  /** A directory and a name in it. */
  #name(): { parent: number; name: string; ino: number } | undefined {
    for (let tries = 0; tries < 8; tries++) {
      const directory = this.#model.node(this.#directory());
      if (directory.names.size === 0) continue;
      const [name, ino] = this.#pick([...directory.names]) as [string, number];
      return { parent: directory.ino, name, ino };
    }
    return undefined;
  }

  *#create(): Task<void> {
    const parent = this.#directory();
    yield* this.#createAt(parent, this.#newName());
  }

  *#createAt(parent: number, name: string): Task<number> {
    const mode = this.#nextMode();
    let made = 0;
    const result = yield* this.#calls.make(parent, name, "file", mode, "", (ino) => {
      made = ino;
      const tick = this.#model.begin(`create ${parent}/${name}`);
      this.#model.putNode(newNode(ino, "file", mode, 1, "", parent));
      this.#model.putName(parent, name, ino);
      this.#model.addFile(new FileModel(ino, tick, this.#model.memory));
      this.#model.changed(ino, true);
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
    const file = this.#model.history.get(ino);
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
      this.#model.history.get(ino)?.write(this.#model.tick, offset, bytes, true);
      this.#model.changed(ino, true);
    };
    const owned = offset % 4096 === 0 && length >= 4096 && prng.below(2) === 0;
    const result = owned
      ? yield* this.#calls.writeOwned(ino, offset, bytes, applied)
      : yield* this.#calls.write(ino, offset, bytes, applied);
    this.#note(`write ${ino} ${offset}+${length}${owned ? " owned" : ""}`, result);
  }

  *#fsync(): Task<void> {
    const ino = this.#prng.below(4) === 0 ? this.#any() : this.#file();
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
    const parent = this.#directory();
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
      if (other !== ino) model.changed(ino, false);
      if (exchange && other !== undefined && other !== ino) model.changed(other, false);
      model.end();
    };
    const isFree = this.#model.node(newParent).names.get(newName) === undefined;
    const plain = isFree && this.#prng.below(3) === 0 ? RENAME_NOREPLACE : 0;
    const flags = exchange ? RENAME_EXCHANGE : plain;
    const result = yield* this.#calls.rename(parent, name, newParent, newName, flags, applied);
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
    const mode = this.#nextMode();
    const ended = this.#steps(ino);
    const result = yield* this.#calls.truncate(ino, size, mode, () => {
      ended();
      const tick = this.#model.begin(`truncate ${ino}`);
      const node = this.#model.nodes.get(ino);
      if (node !== undefined) {
        node.mode = mode;
        this.#model.putNode(node);
        this.#model.history.get(ino)?.truncate(tick, size);
        this.#model.changed(ino, true);
      }
      this.#model.end();
    });
    this.#note(`truncate ${ino} to ${size}`, result);
  }

  *#setOwner(): Task<void> {
    const ino = this.#any();
    const uid = this.#prng.below(5000);
    const gid = this.#prng.below(5000);
    const result = yield* this.#calls.setOwner(ino, uid, gid, () => {
      this.#model.begin(`chown ${ino}`);
      const node = this.#model.nodes.get(ino);
      if (node !== undefined) {
        node.owner = `${uid}:${gid}`;
        this.#model.putNode(node);
        this.#model.changed(ino, false);
      }
      this.#model.end();
    });
    this.#note(`chown ${ino} ${uid}:${gid}`, result);
  }

  *#makeSpecial(): Task<void> {
    const parent = this.#directory();
    const name = this.#newName();
    const mode = this.#nextMode();
    const formats = [0o010000, 0o140000, 0o020000, 0o060000];
    const format = formats[this.#prng.below(4)] as number;
    const rdev = format === 0o020000 || format === 0o060000 ? 1 + this.#prng.below(60_000) : 0;
    const target = `${format}/${rdev}`;
    const result = yield* this.#calls.make(parent, name, "special", mode, target, (ino) => {
      this.#model.begin(`mknod ${parent}/${name}`);
      this.#model.putNode(newNode(ino, "special", mode, 1, target, parent));
      this.#model.putName(parent, name, ino);
      this.#model.changed(ino, true);
      this.#model.end();
    });
    this.#note(`mknod ${parent}/${name} ${target}`, result);
  }

  /** What must fail, whatever the volume holds. */
  *#wrong(): Task<void> {
    const number = this.#prng.below(1000);
    const found = this.#name();
    if (found === undefined) return;
    // The name must still be there when the call is made, or it may succeed.
    this.#fs.remember(found.ino, 1);
    const result = yield* this.#calls.wrong(number, found.parent, found.name, found.ino);
    this.#fs.forget(found.ino, 1);
    const text = `wrong ${number} of ${found.parent}/${found.name}`;
    if (result >= 0) throw new SimulationFailure(`${text} succeeded`);
    this.#stage.note(`${text} = ${result}`);
    add(this.#stage.coverage.errors, errnoName(result), 1);
  }

  /** Attributes, extended attributes and target of one object, as they are now. */
  *#stat(): Task<void> {
    yield* this.#compare(this.#any());
  }

  /** All of a directory. */
  *#list(): Task<void> {
    yield* this.#compare(this.#directory());
  }

  *#compare(ino: number): Task<void> {
    const { model } = this.#stage;
    this.#fs.remember(ino, 1);
    const before = model.tick;
    let found: { node: Node; size: number } | number;
    try {
      found = yield* this.#calls.node(ino);
    } catch (error) {
      if (!(error instanceof RetryFailed)) throw error;
      found = error.status;
    }
    this.#fs.forget(ino, 1);
    this.#note(`look at ${ino}`, typeof found === "number" ? found : 0, "other");
    const node = model.nodes.get(ino);
    // Others may have changed it meanwhile.
    if (typeof found === "number" || node === undefined || model.tick !== before) return;
    const { size } = found;
    const file = model.files.get(ino);
    const wrong =
      describeNode(found.node) !== describeNode(node) ||
      !sameMaps(found.node.xattrs, node.xattrs) ||
      !sameMaps(found.node.names, node.names) ||
      (file?.isStepping !== true &&
        timesText(found.node.times) !== timesText((file ?? node).times)) ||
      (file !== undefined && file.size !== size) ||
      (node.type === "directory" && node.names.size !== size);
    if (!wrong) return;
    const xattrs = `${[...found.node.xattrs]} not ${[...node.xattrs]}`;
    const names = `${[...found.node.names]} not ${[...node.names]}`;
    throw new SimulationFailure(
      `inode ${ino} is ${describeNode(found.node)} of ${size}, not ${describeNode(node)} of ` +
        `${file?.size ?? node.names.size}; times ${timesText(found.node.times)} not ` +
        `${timesText((file ?? node).times)}; attributes ${xattrs}; names ${names}`,
    );
  }

  /** Keeps much space, until none is left. */
  *#fill(): Task<void> {
    const ino = this.#file();
    if (ino === undefined) return;
    const offset = FILE_BYTES_MAX + this.#prng.below(1 << 26);
    const ended = this.#steps(ino);
    const result = yield* this.#calls.keep(ino, FALLOC_FL_KEEP_SIZE, offset, FILL_BYTES, () => {
      this.#model.tick += 1;
      ended();
      this.#model.changed(ino, true);
    });
    this.#note(`fill ${ino}`, result);
  }

  *#setMode(): Task<void> {
    const ino = this.#any();
    if (this.#model.node(ino).type === "symlink") return;
    const mode = this.#nextMode();
    const result = yield* this.#calls.setMode(ino, mode, () => {
      this.#model.begin(`chmod ${ino}`);
      const node = this.#model.nodes.get(ino);
      if (node !== undefined) {
        node.mode = mode;
        this.#model.putNode(node);
        this.#model.changed(ino, false);
      }
      this.#model.end();
    });
    this.#note(`chmod ${ino} ${mode.toString(8)}`, result);
  }

  *#setTimes(): Task<void> {
    const ino = this.#any();
    const prng = this.#prng;
    const mtime: Instant = [prng.below(2 ** 34) - 2 ** 33, prng.below(1_000_000_000)];
    // As the kernel sets it, which has a clock: never in the future.
    const ctime: Instant | null = prng.below(4) === 0 ? [prng.below(2 ** 30), 0] : null;
    const result = yield* this.#calls.setTimes(ino, mtime, ctime, () => {
      const model = this.#model;
      model.begin(`utimes ${ino}`);
      model.changed(ino, false);
      const { times } = model.files.get(ino) ?? model.nodes.get(ino) ?? { times: UNKNOWN_TIMES };
      model.setTimes(ino, timeText(...mtime), ctime === null ? times.ctime : timeText(...ctime));
      model.end();
    });
    this.#note(`utimes ${ino} ${timeText(...mtime)}`, result);
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
    const offset = this.#prng.below(9000);
    const result = yield* this.#calls.write(ino, offset, bytes, () => {
      // A copy that began before may still read it.
      this.#model.tick += 1;
      this.#model.history.get(ino)?.write(this.#model.tick, offset, bytes);
      this.#model.changed(ino, true);
    });
    // A symlink takes no data: EISDIR is how the data half says so.
    if (result !== -21) this.#note(`write to unlinked ${ino}`, result);
    if (this.#prng.below(2) === 0) yield* this.#fsyncOf(ino);
  }

  *#link(): Task<void> {
    const ino = this.#from(this.#model.others);
    if (ino === undefined) return;
    const parent = this.#directory();
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

  /** O_TMPFILE: a file without a name, which gets one with all that was written, or is gone. */
  *#unnamed(): Task<void> {
    const model = this.#model;
    const parent = this.#directory();
    const mode = this.#nextMode();
    let ino = 0;
    const made = yield* this.#calls.makeUnnamed(parent, mode, (fresh) => {
      ino = fresh;
      this.#fs.remember(ino, 1);
      model.tick += 1;
      model.history.set(ino, new FileModel(ino, model.tick, model.memory));
      model.changed(ino, true);
    });
    this.#note(`create unnamed in ${parent} as ${ino}`, made);
    if (made < 0) return;
    for (let count = this.#prng.below(3); count > 0; count--) yield* this.#writeTo(ino);
    const name = this.#newName();
    if (this.#prng.below(4) > 0) {
      const result = yield* this.#calls.link(ino, parent, name, () => {
        const tick = model.begin(`link unnamed ${ino} ${parent}/${name}`);
        model.putNode(newNode(ino, "file", mode, 1, "", parent));
        model.putName(parent, name, ino);
        const file = model.history.get(ino) as FileModel;
        model.addFile(file);
        model.changed(ino, false);
        file.published(tick);
        model.end();
      });
      this.#note(`link unnamed ${ino} ${parent}/${name}`, result);
    }
    this.#fs.forget(ino, 1);
  }

  *#symlink(): Task<void> {
    const parent = this.#directory();
    const name = this.#newName();
    const target = `target/${"x".repeat(this.#prng.below(400))}`;
    const result = yield* this.#calls.make(parent, name, "symlink", 0o777, target, (ino) => {
      this.#model.begin(`symlink ${parent}/${name}`);
      this.#model.putNode(newNode(ino, "symlink", 0o777, 1, target, parent));
      this.#model.putName(parent, name, ino);
      this.#model.changed(ino, true);
      this.#model.end();
    });
    this.#note(`symlink ${parent}/${name}`, result);
  }

  *#makeDirectory(): Task<void> {
    const parent = this.#directory();
    const name = this.#newName();
    const mode = this.#nextMode();
    const result = yield* this.#calls.make(parent, name, "directory", mode, "", (ino) => {
      this.#model.begin(`mkdir ${parent}/${name}`);
      this.#model.putNode(newNode(ino, "directory", mode, 2, "", parent));
      this.#model.putName(parent, name, ino);
      this.#model.link(parent, 1);
      this.#model.changed(ino, true);
      this.#model.end();
    });
    this.#note(`mkdir ${parent}/${name}`, result);
  }

  *#removeDirectory(): Task<void> {
    let found: Node | undefined;
    for (let tries = 0; tries < 8 && found === undefined; tries++) {
      const node = this.#model.node(this.#directory());
      if (node.ino !== ROOT_INO && node.names.size === 0) found = node;
    }
    if (found === undefined) return;
    const { ino } = found;
    const { parent } = found;
    const name = [...this.#model.node(parent).names].find(([, child]) => child === ino)?.[0];
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
    const ino = this.#any();
    // Only files and directories take attributes of users.
    const { type } = this.#model.node(ino);
    if (type === "symlink" || type === "special") return;
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
    let node: Node | undefined;
    for (let tries = 0; tries < 12 && node === undefined; tries++) {
      const each = this.#model.node(this.#any());
      if (each.xattrs.size > 0) node = each;
    }
    if (node === undefined) return;
    const { ino } = node;
    const name = this.#pick([...node.xattrs.keys()]) as string;
    const result = yield* this.#calls.removeXattr(ino, name, () => {
      this.#model.begin(`removexattr ${ino} ${name}`);
      if (this.#model.nodes.has(ino)) this.#model.setXattr(ino, name, undefined);
      this.#model.end();
    });
    this.#note(`removexattr ${ino} ${name}`, result);
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
    const ended = this.#steps(ino);
    const result = yield* this.#calls.punch(ino, offset, length, () => {
      this.#model.tick += 1;
      ended();
      this.#model.history.get(ino)?.punch(this.#model.tick, offset, length);
      this.#model.changed(ino, true);
    });
    this.#note(`punch ${ino} ${offset}+${length}`, result);
  }

  /** An operation on a file that may take several transactions; to be called when it has succeeded. */
  #steps(ino: number): () => void {
    const end = this.#model.history.get(ino)?.beginSteps(this.#model.tick);
    return () => end?.(this.#model.tick);
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
    const ended = this.#steps(ino);
    const result = yield* this.#calls.keep(ino, mode, offset, length, () => {
      this.#model.tick += 1;
      ended();
      const model = this.#model.history.get(ino);
      if (zero) model?.punch(this.#model.tick, offset, length);
      if (!keepSize) model?.grow(this.#model.tick, offset + length);
      this.#model.changed(ino, true);
    });
    this.#note(`${zero ? "zero" : "keep"} ${ino} ${offset}+${length} mode ${mode}`, result);
  }

  /** Copies a range, from aligned offsets to aligned ones mostly, so that blocks are shared. */
  *#clone(): Task<void> {
    const prng = this.#prng;
    const to = this.#file();
    const from = prng.below(6) === 0 ? to : this.#from(this.#model.regular);
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
      const part =
        bytes ?? copySources.get(range.from)?.contents(model.tick, range.fromOffset, end);
      // It may have lost its last name, too, and be what another copy reads.
      if (part === undefined) return;
      model.history.get(range.to)?.write(model.tick, range.toOffset, part);
      model.changed(range.to, true);
    };
    this.#fs.remember(from, 1);
    this.#fs.remember(to, 1);
    const ended = this.#steps(to);
    const result = yield* this.#calls.clone(from, fromOffset, to, toOffset, length);
    if (result >= 0) ended();
    this.#fs.forget(from, 1);
    this.#fs.forget(to, 1);
    this.#note(`clone ${from} ${fromOffset}+${length} to ${to} ${toOffset}`, result);
  }

  *#read(): Task<void> {
    const ino = this.#file();
    const file = ino === undefined ? undefined : this.#model.files.get(ino);
    if (ino === undefined || file === undefined || file.size === 0) return;
    const offset = this.#prng.below(file.size);
    const length = 1 + this.#prng.below(this.#prng.below(4) === 0 ? READ_BYTES_MAX : 6000);
    const before = this.#model.tick;
    this.#fs.remember(ino, 1);
    const room = this.#readBuffer.subarray(0, length);
    const bytes = yield* this.#calls.tryRead(ino, offset, length, room);
    this.#fs.forget(ino, 1);
    this.#note(
      `read ${ino} at ${offset}`,
      typeof bytes === "number" ? bytes : bytes.length,
      "other",
    );
    if (typeof bytes === "number") return;
    const problem = file.readProblem(bytes, offset, before);
    if (problem !== null) throw new SimulationFailure(problem);
  }

  *#checkpoint(): Task<void> {
    const status = yield (resume) => this.#stage.volume.checkpoint(resume);
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
  return {
    ino,
    type,
    mode,
    links,
    owner: "0:0",
    target,
    xattrs: new Map(),
    names: new Map(),
    parent,
    times: UNKNOWN_TIMES,
  };
}

function sameMaps<V>(first: ReadonlyMap<string, V>, second: ReadonlyMap<string, V>): boolean {
  if (first.size !== second.size) return false;
  for (const [key, value] of first) if (second.get(key) !== value) return false;
  return true;
}

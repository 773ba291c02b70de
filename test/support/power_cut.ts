/**
 * One promise at a time: a small piece of work on a simulated device, power lost before each of its writes and flushes
 * and after the last, and each volume that a mount then finds shown to a check.
 *
 * The work says what it was told is durable, right after it was told; a check sees what had been said at its cut.
 */
import { Prng } from "../../host/base/prng.ts";
import type { Task } from "../../host/base/task.ts";
import type { CrashMode, SimulatedDevice } from "../../host/device/simulated_device.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { createVolume, mountVolume, type Volume } from "../../host/fs/volume.ts";
import type { Times } from "./crash_model.ts";
import { Calls, digest, type Instant } from "./sim_calls.ts";
import { Machine, Session } from "./sim_engine.ts";

const WRITE_BYTES = 32 * 4096;
/** How a write that was not flushed may fare: see SimulatedDevice. */
const MODES: readonly CrashMode[] = ["none", "torn", "all", "subset", "torn", "torn"];

let machines: { work: Machine; rescue: Machine; fresh: SparseBytes } | null = null;

function getMachines(): { work: Machine; rescue: Machine; fresh: SparseBytes } {
  if (machines === null) {
    const work = new Machine();
    const rescue = new Machine();
    const session = new Session(work, { prng: new Prng(1) });
    session.run(createVolume(session.environment, [session.device], { name: "cut" }));
    machines = { work, rescue, fresh: session.device.currentImage() };
  }
  return machines;
}

/** An object of a volume. */
export interface Thing {
  readonly ino: number;
  readonly type: string;
  readonly mode: number;
  readonly nlink: number;
  readonly target: string;
  readonly bytes: Uint8Array;
  /** By name: what sum() makes of the value. */
  readonly xattrs: ReadonlyMap<string, string>;
  readonly times: Times;
}

/** All of a volume, by path; the root is "". */
export type Found = ReadonlyMap<string, Thing>;

/** What stands for an attribute's value. */
export function sum(bytes: Uint8Array): string {
  return digest(bytes);
}

/** Bytes of which no block is like another. */
export function content(byteLength: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  new Prng(seed).bytes(bytes);
  return bytes;
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** A mounted volume, by path. What fails throws. */
export class Rig {
  readonly session: Session;
  readonly volume: Volume;
  readonly calls: Calls;
  /** What the work was told is durable. */
  readonly said: Set<string> = new Set();
  readonly #inos = new Map<string, number>([["", ROOT_INO]]);

  constructor(session: Session, volume: Volume) {
    this.session = session;
    this.volume = volume;
    this.calls = new Calls(session.core, volume.fs);
  }

  /** The work has been told so much. */
  say(text: string): void {
    this.said.add(text);
  }

  ino(path: string): number {
    const ino = this.#inos.get(path);
    if (ino === undefined) throw new Error(`no ${path}`);
    return ino;
  }

  *#make(path: string, kind: "file" | "directory" | "symlink", target: string): Task<number> {
    const [parent, name] = this.#split(path);
    let made = 0;
    const mode = kind === "directory" ? 0o755 : 0o644;
    must(yield* this.calls.make(parent, name, kind, mode, target, (ino) => (made = ino)));
    this.#inos.set(path, made);
    return made;
  }

  /** A new file with these bytes. */
  *file(path: string, bytes: Uint8Array = new Uint8Array(0)): Task<void> {
    yield* this.#make(path, "file", "");
    yield* this.write(path, 0, bytes);
  }

  *mkdir(path: string): Task<void> {
    yield* this.#make(path, "directory", "");
  }

  *symlink(target: string, path: string): Task<void> {
    yield* this.#make(path, "symlink", target);
  }

  *write(path: string, offset: number, bytes: Uint8Array): Task<void> {
    for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
      const part = bytes.subarray(at, at + WRITE_BYTES);
      must(yield* this.calls.write(this.ino(path), offset + at, part, nothing));
    }
  }

  *read(path: string, offset: number, byteLength: number): Task<Uint8Array> {
    return yield* this.calls.read(this.ino(path), offset, byteLength);
  }

  *fsync(path: string): Task<void> {
    must(yield* this.calls.fsync(this.ino(path)));
  }

  *sync(): Task<void> {
    must(yield* this.calls.sync());
  }

  /** As stat(2) tells them now. */
  *times(path: string): Task<Times> {
    return (yield* this.calls.node(this.ino(path))).node.times;
  }

  /** utimensat(2). */
  *setTimes(path: string, mtime: Instant): Task<void> {
    must(yield* this.calls.setTimes(this.ino(path), mtime, null, nothing));
  }

  *rename(from: string, to: string): Task<void> {
    must(yield* this.calls.rename(...this.#split(from), ...this.#split(to), 0, nothing));
    this.#inos.set(to, this.ino(from));
    this.#inos.delete(from);
  }

  *link(from: string, to: string): Task<void> {
    must(yield* this.calls.link(this.ino(from), ...this.#split(to), nothing));
    this.#inos.set(to, this.ino(from));
  }

  *unlink(path: string): Task<void> {
    must(yield* this.calls.unlink(...this.#split(path), nothing));
  }

  *chmod(path: string, mode: number): Task<void> {
    must(yield* this.calls.setMode(this.ino(path), mode, nothing));
  }

  *truncate(path: string, size: number): Task<void> {
    must(yield* this.calls.truncate(this.ino(path), size, 0o644, nothing));
  }

  *setXattr(path: string, name: string, value: Uint8Array): Task<void> {
    must(yield* this.calls.setXattr(this.ino(path), name, value, nothing));
  }

  *fallocate(path: string, mode: number, offset: number, byteLength: number): Task<void> {
    must(yield* this.calls.keep(this.ino(path), mode, offset, byteLength, nothing));
  }

  /** copy_file_range(2), from the beginning to the beginning. */
  *copy(from: string, to: string, byteLength: number): Task<void> {
    must(yield* this.calls.clone(this.ino(from), 0, this.ino(to), 0, byteLength));
  }

  *wait(ms: number): Task<void> {
    yield (resume) => {
      this.session.reactor.timer(ms, () => resume(0));
    };
  }

  #split(path: string): [number, string] {
    const slash = path.lastIndexOf("/");
    return [this.ino(path.slice(0, Math.max(0, slash))), path.slice(slash + 1)];
  }
}

function nothing(): void {}

function must(result: number): void {
  if (result < 0) throw new CallFailed(result);
}

/** A call that returned −errno. */
export class CallFailed extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`a call failed: ${status}`);
    this.status = status;
  }
}

export interface PowerCutOptions {
  /** Made durable before; not cut. */
  readonly before?: (rig: Rig) => Task<void>;
  readonly work: (rig: Rig) => Task<void>;
  /**
   * Throws at what must not be. Otherwise names what it saw: so that a test can tell that all that may be has been.
   *
   * @param image What the device held, for those who look deeper. Mounted already.
   */
  readonly check: (found: Found, said: ReadonlySet<string>) => string;
  /** Seconds between checkpoints; default an hour: none. */
  readonly checkpointSeconds?: number;
  readonly seed?: number;
  readonly setDevice?: (device: SimulatedDevice) => void;
}

/** @returns How often the check saw what, and how many cuts there were. */
export function cutPower(options: PowerCutOptions): {
  cuts: number;
  seen: ReadonlyMap<string, number>;
} {
  const seen = new Map<string, number>();
  const cuts: { image: SparseBytes; said: Set<string>; text: string }[] = [];
  const seed = options.seed ?? 1;
  const modes = new Prng(seed + 99);
  const { rig, end } = start(options, seed);
  const { device } = rig.session;
  const take = (event: string, mode: CrashMode): void => {
    const image = device.crashImage(new Prng(modes.u32()), mode);
    cuts.push({ image, said: new Set(rig.said), text: `${mode}, ${event}` });
  };
  device.onEvent = (kind, index) => {
    take(`before ${kind} ${index}`, MODES[modes.below(MODES.length)] as CrashMode);
    return undefined;
  };
  rig.session.run(options.work(rig));
  device.onEvent = null;
  for (const mode of MODES) take("at the end", mode);
  end();
  for (const { image, said, text } of cuts) {
    try {
      const outcome = options.check(look(image), said);
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    } catch (error) {
      throw new Error(`${text}, told of ${[...said].join(", ") || "nothing"}: ${error}`, {
        cause: error,
      });
    }
  }
  return { cuts: cuts.length, seen };
}

/** Mounts a new volume and does what comes before. `end` loses power for good. */
export function start(
  options: Pick<PowerCutOptions, "before" | "checkpointSeconds" | "setDevice">,
  seed: number,
): { rig: Rig; end: () => void } {
  const { work, fresh } = getMachines();
  const session = new Session(work, {
    prng: new Prng(seed),
    image: fresh.clone(),
    delayMs: [0.02, 1.5],
  });
  options.setDevice?.(session.device);
  const volume = session.run(
    mountVolume(session.environment, [session.device], {
      readOnly: false,
      checkpointSeconds: options.checkpointSeconds ?? 3600,
    }),
  );
  const rig = new Rig(session, volume);
  if (options.before !== undefined) {
    session.run(options.before(rig));
    session.run(rig.sync());
  }
  return { rig, end: () => session.device.cutPower() };
}

/** Mounts what a device holds, which may throw. The image is the device's from then on. */
export function remount(
  image: SparseBytes,
  setDevice: (device: SimulatedDevice) => void = () => {},
  readOnly = false,
): Rig {
  const session = new Session(getMachines().rescue, { prng: new Prng(5), image });
  setDevice(session.device);
  const options = { readOnly, checkpointSeconds: 3600 };
  return new Rig(session, session.run(mountVolume(session.environment, [session.device], options)));
}

/** Mounts what a device holds, and reads all of it. */
export function look(image: SparseBytes): Found {
  return contentsOf(remount(image));
}

/** Reads all that a mounted volume holds. */
export function contentsOf(rig: Rig): Found {
  const dump = rig.session.run(rig.calls.dump(false, undefined, true));
  const found = new Map<string, Thing>();
  const visit = (ino: number, path: string): void => {
    const [type = "", mode = "", links = "", , target = ""] = (
      dump.entries.get(`i${ino}`) ?? ""
    ).split(" ");
    const xattrs = new Map<string, string>();
    const children: [string, number][] = [];
    for (const [key, value] of dump.entries) {
      if (key.startsWith(`x${ino}/`)) xattrs.set(key.slice(key.indexOf("/") + 1), value);
      if (key.startsWith(`n${ino}/`))
        children.push([key.slice(key.indexOf("/") + 1), Number(value)]);
    }
    const bytes = dump.contents.get(ino) ?? new Uint8Array(0);
    const nlink = Number(links);
    const [mtime = "", ctime = ""] = (dump.entries.get(`t${ino}`) ?? "").split(" ");
    const times = dump.times?.get(ino) ?? { mtime, ctime };
    const kept = Number.parseInt(mode, 8);
    found.set(path, { ino, type, mode: kept, nlink, target, bytes, xattrs, times });
    for (const [name, child] of children) visit(child, path === "" ? name : `${path}/${name}`);
  };
  visit(ROOT_INO, "");
  return found;
}

/**
 * A mount by libfuse 2 through the package fuse-native: hands each request to Operations and its result back.
 *
 * Invariants.
 * - The binding waits on the event loop of the process's first thread, so a session lives there and nothing on that
 *   thread may touch the mounted tree: it would wait for itself.
 * - Every request is answered once, with −EIO for an error of ours; libfuse's thread waits for it without limit.
 * - Nobody tells when the kernel has ended the mount; libfuse closes its descriptor of /dev/fuse then, which is
 *   looked at every now and then.
 */
import { readdirSync, readlinkSync } from "node:fs";
import { clearInterval, setInterval } from "node:timers";
import { EINVAL, EIO, EOPNOTSUPP } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { FileSystem } from "../fs/file_system.ts";
import { Calls } from "../library/calls.ts";
import { type FuseNative, type FuseNativePackage, loadFuseNative, type Signal } from "./load.ts";
import { Operations } from "./operations.ts";

const DEVICE = "/dev/fuse";
const LOOK_MS = 50;
/** What the binding copies of the mount point and of the options. */
const TEXT_BYTES_MAX = 1023;
const WORD = 0x1_0000_0000;
/** Of the access time in the binding's memory of a request (fuse-native.c); the modification time follows. */
const LOCALS_ATIME = 104;

export interface FuseNativeMount {
  readonly fs: FileSystem;
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly mountPoint: string;
  /** Shown as the source of the mount. */
  readonly source: string;
  /** As of mount(8): ro, noexec … */
  readonly options: readonly string[];
  readonly log: (
    level: "info" | "warn" | "error",
    event: string,
    fields: Record<string, unknown>,
  ) => void;
}

export class FuseNativeSession {
  readonly #settings: FuseNativeMount;
  readonly #package: FuseNativePackage;
  readonly #calls: Calls;
  readonly #operations: Operations;
  readonly #fuse: FuseNative;
  #locals: Uint8Array | null = null;
  #descriptor = "";
  /** Null unless mounted. */
  #timer: NodeJS.Timeout | null = null;
  #onEnd: () => void = () => {};

  /** @throws {FsError} When the package cannot be used. */
  constructor(settings: FuseNativeMount) {
    this.#settings = settings;
    this.#package = loadFuseNative();
    this.#calls = new Calls(settings.fs, settings.memory, settings.mountPoint, 0);
    const uid = process.geteuid?.() ?? 0;
    const gid = process.getegid?.() ?? 0;
    this.#operations = new Operations(this.#calls, { uid, gid });
    const handlers = this.#makeHandlers();
    this.#fuse = new this.#package.Fuse(settings.mountPoint, handlers, { timeout: false });
    for (const [name, run] of Object.entries(handlers)) {
      (this.#fuse as unknown as Record<string, unknown>)[`_op_${name}`] = run;
    }
    this.#fuse._fuseOptions = () => this.#options();
    this.#keepLocals();
  }

  /** Called once, when the kernel has ended the mount and every request is answered. */
  onEnd(callback: () => void): void {
    this.#onEnd = callback;
  }

  /** @throws {FsError} When libfuse cannot mount. */
  async mount(): Promise<void> {
    const { mountPoint } = this.#settings;
    for (const text of [mountPoint, this.#options()]) {
      if (Buffer.byteLength(text) > TEXT_BYTES_MAX) {
        throw new FsError(EINVAL, "fuse-native/too-long", `libfuse cannot take ${text}`);
      }
    }
    const before = new Set(fuseDescriptors());
    await new Promise<void>((resolve, reject) => {
      this.#fuse.mount((error) => {
        if (error === null) resolve();
        else reject(cannotMount(mountPoint, error));
      });
    });
    const own = fuseDescriptors().find((each) => !before.has(each));
    if (own === undefined) {
      throw new FsError(EIO, "fuse-native/no-descriptor", "libfuse does not hold /dev/fuse");
    }
    this.#descriptor = own;
    this.#timer = setInterval(() => {
      if (!fuseDescriptors().includes(this.#descriptor)) this.stop();
    }, LOOK_MS);
  }

  /** Ends the session; if the kernel still has the mount, what it asks from now on fails. */
  stop(): void {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    const thread = this.#fuse._thread;
    if (thread !== null) {
      this.#package.binding.fuse_native_unmount(this.#settings.mountPoint, thread);
    }
    this.#calls.drain().then(() => {
      this.#calls.end();
      this.#onEnd();
    }, this.#onEnd);
  }

  #options(): string {
    const { options, source } = this.#settings;
    return `-o${[
      ...options,
      "default_permissions",
      "use_ino",
      "big_writes",
      "subtype=dynamicfs",
      // Names of one file are several to libfuse: the kernel asks for each one's attributes.
      "attr_timeout=0",
      `fsname=${source.replace(/[\\,]/g, "\\$&")}`,
    ].join(",")}`;
  }

  /** utimens gets the access time twice; the other is in the binding's memory of the request. */
  #keepLocals(): void {
    const handlers = this.#fuse._handlers;
    const number = this.#package.binding.op_utimens;
    const handler = handlers[number];
    if (handler === undefined) {
      throw new FsError(EOPNOTSUPP, "fuse-native/handlers", "fuse-native is not as expected");
    }
    handlers[number] = (locals, operation, ...values) => {
      this.#locals = locals;
      handler(locals, operation, ...values);
      this.#locals = null;
    };
  }

  /** Answers a request with what its work tells, or with its error. */
  #answer(signal: Signal, work: Promise<void>, failed: (status: number) => void = signal): void {
    work.catch((error: unknown) => {
      const { errno } = error as NodeJS.ErrnoException;
      if (typeof errno === "number" && errno < 0) {
        failed(errno);
        return;
      }
      const fields = { stack: error instanceof Error ? error.stack : String(error) };
      this.#settings.log("error", "request-failed", fields);
      failed(-EIO);
    });
  }

  #makeHandlers(): Readonly<Record<string, (signal: Signal, ...values: never[]) => void>> {
    const ops = this.#operations;
    const status =
      (work: (...values: never[]) => Promise<number>) =>
      (signal: Signal, ...values: never[]): void =>
        this.#answer(
          signal,
          work(...values).then((result) => signal(Math.min(result, 0))),
        );
    const value =
      (work: (...values: never[]) => Promise<unknown>) =>
      (signal: Signal, ...values: never[]): void =>
        this.#answer(
          signal,
          work(...values).then((result) => signal(0, result)),
        );
    /** The binding takes its buffer back with the answer; it has none when nothing fits into it. */
    const transfer =
      (index: number, pad: readonly unknown[], work: (...values: never[]) => Promise<number>) =>
      (signal: Signal, ...values: never[]): void => {
        const buffer = values[index] as unknown as Uint8Array;
        const back = (): ArrayBufferLike =>
          buffer.byteLength === 0 ? new ArrayBuffer(1) : buffer.buffer;
        const finish = (result: number): void => signal(result, ...pad, back());
        this.#answer(signal, work(...values).then(finish), finish);
      };
    return {
      getattr: value((path: string) => ops.getattr(path)),
      fgetattr: value((path: string, handle: number) => ops.fgetattr(path, handle)),
      statfs: value(() => ops.statfs()),
      readlink: value((path: string) => ops.readlink(path)),
      readdir: (signal, path) =>
        this.#answer(
          signal,
          ops.readdir(path).then(({ names, stats }) => signal(0, names, stats)),
        ),
      mknod: status((path: string, mode: number, rdev: number) => ops.mknod(path, mode, rdev)),
      mkdir: status((path: string, mode: number) => ops.mkdir(path, mode)),
      symlink: status((target: string, path: string) => ops.symlink(target, path)),
      link: status((from: string, to: string) => ops.link(from, to)),
      unlink: status((path: string) => ops.unlink(path)),
      rmdir: status((path: string) => ops.rmdir(path)),
      rename: status((from: string, to: string) => ops.rename(from, to)),
      chmod: status((path: string, mode: number) => ops.chmod(path, mode)),
      chown: status((path: string, uid: number, gid: number) => ops.chown(path, uid, gid)),
      truncate: status((path: string, low: number, high: number) =>
        ops.truncate(path, 0, low + high * WORD),
      ),
      ftruncate: status((path: string, handle: number, low: number, high: number) =>
        ops.truncate(path, handle, low + high * WORD),
      ),
      utimens: status((path: string, low: number, high: number) => {
        const times = timesOf(this.#locals, low, high);
        if (times === null) return Promise.resolve(-EOPNOTSUPP);
        return ops.utimens(path, times.atimeMs, times.mtimeMs);
      }),
      open: handle((path: string) => ops.open(path), this.#answer.bind(this)),
      create: handle(
        (path: string, mode: number) => ops.create(path, mode),
        this.#answer.bind(this),
      ),
      release: status((_path: string, handle: number) => ops.release(handle)),
      read: transfer(
        2,
        [0],
        (_path: string, handle: number, buffer: Uint8Array, _length, low: number, high: number) =>
          ops.read(handle, low + high * WORD, buffer),
      ),
      write: transfer(
        2,
        [0],
        (_path: string, handle: number, buffer: Uint8Array, _length, low: number, high: number) =>
          ops.write(handle, low + high * WORD, buffer),
      ),
      fsync: status((path: string, dataOnly: number, handle: number) =>
        ops.fsync(path, dataOnly !== 0, handle),
      ),
      fsyncdir: status((path: string, dataOnly: number) => ops.fsync(path, dataOnly !== 0, 0)),
      setxattr: transfer(
        2,
        [],
        (path: string, name: string, buffer: Uint8Array, _position, flags: number) =>
          ops.setxattr(path, name, buffer, flags),
      ),
      getxattr: transfer(2, [], (path: string, name: string, buffer: Uint8Array) =>
        ops.getxattr(path, name, buffer),
      ),
      listxattr: transfer(1, [], (path: string, buffer: Uint8Array) => ops.listxattr(path, buffer)),
      removexattr: status((path: string, name: string) => ops.removexattr(path, name)),
    } satisfies Record<string, (signal: Signal, ...values: never[]) => void>;
  }
}

/** Answers with a handle, which is positive. */
function handle(
  work: (...values: never[]) => Promise<number>,
  answer: (signal: Signal, work: Promise<void>) => void,
): (signal: Signal, ...values: never[]) => void {
  return (signal, ...values) =>
    answer(
      signal,
      work(...values).then((result) => signal(Math.min(result, 0), Math.max(result, 0))),
    );
}

/** The times of a utimens request, or null where the binding's memory is not as known. */
function timesOf(
  locals: Uint8Array | null,
  low: number,
  high: number,
): { atimeMs: number; mtimeMs: number } | null {
  if (locals === null || locals.byteLength < LOCALS_ATIME + 16) return null;
  const view = new DataView(locals.buffer, locals.byteOffset, locals.byteLength);
  if (
    view.getUint32(LOCALS_ATIME, true) !== low ||
    view.getUint32(LOCALS_ATIME + 4, true) !== high
  ) {
    return null;
  }
  return {
    atimeMs: Number(view.getBigInt64(LOCALS_ATIME, true)),
    mtimeMs: Number(view.getBigInt64(LOCALS_ATIME + 8, true)),
  };
}

function fuseDescriptors(): string[] {
  return readdirSync("/proc/self/fd").filter((each) => {
    try {
      return readlinkSync(`/proc/self/fd/${each}`) === DEVICE;
    } catch {
      return false;
    }
  });
}

function cannotMount(mountPoint: string, cause: Error): FsError {
  const needs = process.geteuid?.() === 0 ? "" : "; users need fusermount (package fuse3 or fuse)";
  return new FsError(
    EIO,
    "fuse-native/mount",
    `libfuse cannot mount on ${mountPoint}: ${cause.message}${needs}; what it printed is in the log`,
    { cause },
  );
}

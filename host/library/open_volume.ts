/**
 * open(): a volume in this process, without a mount. Puts core, reactor, device and engine together, and takes them
 * apart again: the process can end when every volume is closed.
 */
import { statSync, unlinkSync } from "node:fs";
import { SystemClock } from "../base/clock.ts";
import { EEXIST, EINVAL } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { spawn, type Task } from "../base/task.ts";
import { parseSize } from "../base/units.ts";
import { loadCore } from "../core/load.ts";
import type { Device } from "../device/device.ts";
import { openDevice, parseDeviceSpec } from "../device/open_device.ts";
import type { QuotaLimits, QuotaReport, QuotaSubject } from "../fs/quotas.ts";
import {
  createVolume,
  type Environment,
  memoryPagesFor,
  mountVolume,
  type Volume,
  type VolumeStatus,
} from "../fs/volume.ts";
import { PortableReactor } from "../reactor/portable_reactor.ts";
import { Calls } from "./calls.ts";
import { refuseSynchronous, systemError } from "./errors.ts";
import { type VolumePromises, volumePromises } from "./promises.ts";

const MEMORY_BUDGET_BYTES = 64 * 1024 * 1024;
/** A new file-backed volume grows to this unless told otherwise; the file is sparse. */
const SIZE_BYTES = 1024 * 1024 * 1024;

/** A new volume. */
export interface CreateSettings {
  /** 1 to 63 characters of [A-Za-z0-9_.:-], starting with a letter or digit; default "volume". */
  name?: string | undefined;
  /** Bytes, or text such as "10G". Default 1 GiB; a block device has its own. */
  size?: number | string | undefined;
}

/** How to open a volume. */
export interface OpenOptions {
  /**
   * Make a new volume. Its file must be missing or empty: what is there is never overwritten. Without this the volume
   * must exist; one in memory is always new.
   */
  create?: CreateSettings | undefined;
  /** Change nothing; default false. */
  readOnly?: boolean | undefined;
  /** Bytes of core memory, 32 MiB to 3 GiB; default 64 MiB. Reserved at once, used as needed. */
  memoryBudget?: number | undefined;
  /** Seconds after which changes are durable without being asked for; default 5. */
  checkpointSeconds?: number | undefined;
  /** Takes one structured line of the engine's log; default: nobody does. */
  log?:
    | ((level: "info" | "warn" | "error", event: string, fields: Record<string, unknown>) => void)
    | undefined;
}

/** Where a volume lies: "./a.img", "/dev/sdb", "mem:256M", or so many bytes of memory. */
export type VolumeSource = string | { readonly memory: number };

/**
 * Opens a volume, or makes one.
 *
 * @example In memory
 * ```ts
 * import { open } from "dynamicfs";
 * const volume = await open({ memory: 64 * 1024 * 1024 });
 * await volume.promises.writeFile("/hello.txt", "Hello");
 * console.log(await volume.promises.readFile("/hello.txt", "utf8")); // Hello
 * await volume.close();
 * ```
 *
 * @example In a file, made on the first run
 * ```ts
 * import { existsSync, rmSync } from "node:fs";
 * import { tmpdir } from "node:os";
 * import { open } from "dynamicfs";
 * const image = `${tmpdir()}/dynamicfs-example-${process.pid}.img`;
 * const volume = await open(image, existsSync(image) ? {} : { create: { name: "home", size: "1G" } });
 * await volume.promises.mkdir("/notes", { recursive: true });
 * await volume.sync(); // now it survives a power cut
 * await volume.close();
 * rmSync(image);
 * ```
 *
 * @throws {FsError} ENOENT no such file; EEXIST `create` would overwrite; ENODEV not a DynamicFS volume; EBUSY open
 *   elsewhere; EUCLEAN damaged beyond recovery; EINVAL a bad size, name or budget.
 */
export async function open(source: VolumeSource, options: OpenOptions = {}): Promise<OpenVolume> {
  const inMemory = typeof source !== "string" || source.startsWith("mem:");
  const create = options.create ?? (inMemory ? {} : undefined);
  const { spec, newPath } = targetOf(source, create);
  const core = loadCore({
    memoryPages: memoryPagesFor(options.memoryBudget ?? MEMORY_BUDGET_BYTES),
  });
  const reactor = new PortableReactor(core);
  const environment: Environment = {
    core,
    clock: new SystemClock(),
    timer: (delayMs, callback) => reactor.timer(delayMs, callback),
    post: (callback) => reactor.post(callback),
    randomBytes: (target) => {
      crypto.getRandomValues(target as Uint8Array<ArrayBuffer>);
    },
    log: options.log ?? (() => {}),
  };
  const readOnly = options.readOnly ?? false;
  let device: Device | undefined;
  let isWritten = false;
  try {
    // A new volume is written even if it is then only read.
    device = openDevice(reactor, core, spec, { readOnly: readOnly && create === undefined });
    if (create !== undefined) {
      await run(
        createVolume(environment, [device], {
          name: create.name ?? "volume",
          uid: process.getuid?.() ?? 0,
          gid: process.getgid?.() ?? 0,
        }),
      );
      isWritten = true;
    }
    const volume = await run(
      mountVolume(environment, [device], {
        readOnly,
        ...(options.checkpointSeconds === undefined
          ? {}
          : { checkpointSeconds: options.checkpointSeconds }),
      }),
    );
    return new OpenVolume(volume, core.bytes, { device, reactor });
  } catch (error) {
    device?.close();
    reactor.close();
    if (device !== undefined && newPath !== null && !isWritten) unlinkSync(newPath);
    throw error;
  }
}

/** What to open, and whether it is made for it. */
interface Target {
  readonly spec: string;
  /** A file that was not there before. */
  readonly newPath: string | null;
}

/** @throws {FsError} EEXIST when creating would overwrite something. */
function targetOf(source: VolumeSource, create: CreateSettings | undefined): Target {
  if (typeof source !== "string") return { spec: `mem:${source.memory}`, newPath: null };
  const parsed = parseDeviceSpec(source);
  if (parsed.kind === "memory") return { spec: source, newPath: null };
  const { path } = parsed;
  if (create === undefined) {
    if (parsed.sizeBytes === undefined) return { spec: path, newPath: null };
    throw new FsError(
      EINVAL,
      "library/size-without-create",
      `Cannot open "${source}": only a volume that is created is given a size`,
    );
  }
  const size = create.size ?? parsed.sizeBytes ?? SIZE_BYTES;
  const spec = `${path}:${typeof size === "number" ? size : parseSize(size)}`;
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return { spec, newPath: path };
  if (stats.isFile() && stats.size === 0) return { spec, newPath: null };
  throw new FsError(
    EEXIST,
    "library/create-exists",
    stats.isBlockDevice()
      ? `Cannot create a volume on "${path}": disks are formatted by the command, which asks first`
      : `Cannot create a volume in "${path}": it is not an empty file`,
  );
}

function run<T>(task: Task<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    spawn(task, (error, result) => {
      if (error !== null) reject(error);
      else resolve(result as T);
    });
  });
}

/** A volume that is open in this process. Made by open(). */
export class OpenVolume {
  /** The volume's name. */
  readonly name: string;
  /**
   * The functions of node:fs/promises, over this volume. Pass `volume` itself where a program wants
   * `{ promises }`, or this object where it wants node:fs/promises.
   */
  readonly promises: VolumePromises;
  /** For `await using`: close(). Missing where the runtime has no such symbol. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly #volume: Volume;
  readonly #calls: Calls;
  readonly #handles = new Map<number, { close(): Promise<void> }>();
  readonly #below: { device: Device; reactor: PortableReactor };
  #closed: Promise<void> | null = null;
  #lastStatus: VolumeStatus | null = null;

  /** Not for programs: see open(). */
  constructor(
    volume: Volume,
    memory: Uint8Array<ArrayBuffer>,
    below: { device: Device; reactor: PortableReactor },
  ) {
    this.#volume = volume;
    this.#below = below;
    const status = volume.status();
    this.name = status.pool;
    this.#calls = new Calls(volume.fs, memory, status.pool, deviceNumber(status.uuid));
    this.promises = volumePromises(this.#calls, this.#handles);
    if (Symbol.asyncDispose !== undefined) {
      Object.defineProperty(this, Symbol.asyncDispose, { value: () => this.close() });
    }
  }

  /** State, space and counters, ready for JSON. After close(): the last ones. */
  status(): VolumeStatus {
    return this.#lastStatus ?? this.#volume.status();
  }

  /** Who has a quota, and what is used of it. */
  quotas(): QuotaReport[] {
    return this.#volume.quotas.list();
  }

  /**
   * Limits what the files of a user, a group or a project take on disk: what would take more fails with EDQUOT. Without any
   * limit the quota is removed. Durable with the next sync().
   *
   * @throws {SystemCallError} EINVAL for an id or limit that cannot be, ENOSPC for one quota too many, EROFS.
   */
  async setQuota(subject: QuotaSubject, limits: QuotaLimits): Promise<void> {
    const set = (): Promise<void> =>
      new Promise((resolve, reject) => {
        this.#volume.quotas.set(subject, limits, (status) => {
          if (status < 0) reject(systemError(status, { syscall: "setQuota" }));
          else resolve();
        });
      });
    await this.#calls.guard(set);
  }

  /** Makes every change so far durable. */
  async sync(): Promise<void> {
    await this.#calls.guard(() => this.#calls.flush(0, false, { syscall: "sync" }));
  }

  /**
   * Waits for what is under way, makes everything durable and lets the file go. Handles that are still open are closed.
   * Closing twice is no error; any other use afterwards is: ERR_VOLUME_CLOSED.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#calls.drain();
    await Promise.all([...this.#handles.values()].map((handle) => handle.close()));
    this.#calls.end();
    this.#lastStatus = this.#volume.status();
    try {
      await run(this.#volume.unmount());
    } finally {
      this.#below.device.close();
      this.#below.reactor.close();
    }
  }
}

// Programs written for synchronous functions are told what to use, instead of "is not a function".
refuseSynchronous(OpenVolume.prototype);

/** What stat calls `dev`: from the volume's identity, so that two volumes differ and one keeps its own. */
function deviceNumber(uuid: string): number {
  return Number.parseInt(uuid.replaceAll("-", "").slice(0, 8), 16) >>> 0;
}

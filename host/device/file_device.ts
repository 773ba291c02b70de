/**
 * A regular file as a device. One writer at a time, or many readers: held by flock where koffi is there, else by a lock
 * file beside the image, which names its process.
 *
 * O_DIRECT where the file system takes it: the engine has its own cache, and the kernel's would hold everything twice.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statfsSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { EAGAIN, EBUSY, EEXIST, EINVAL, EIO, EISDIR, errnoName } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { formatSize } from "../base/units.ts";
import {
  F_GETFL,
  F_SETFL,
  type Libc,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  libcIfAvailable,
  O_DIRECT,
} from "../reactor/libc.ts";
import type { Reactor } from "../reactor/reactor.ts";
import { DescriptorDevice } from "./descriptor_device.ts";
import { lockHolder, processText } from "./holder.ts";

const BLOCK_BYTES = 4096;
/**
 * As statfs(2) has it. Linux forgets about RWF_DSYNC for asynchronous direct writes to files of FUSE file systems: no
 * FSYNC follows, and the write completes.
 */
const FUSE_SUPER_MAGIC = 0x65735546;
/** Image files lie on disks of any kind: the smallest unit that all of them keep whole. */
const SECTOR_BYTES = 512;

export interface FileDeviceOptions {
  /** Makes the file, with this size, if it is missing or empty; one that is there must have this size. */
  create?: number;
  readOnly?: boolean;
  /** O_DIRECT where the file system takes it. Default true. */
  direct?: boolean;
  /** Takes the space from the file system when the file is made, so that it cannot run out later. Default false. */
  preallocate?: boolean;
}

/**
 * Opens an image file and locks it.
 *
 * @throws {FsError} EBUSY when another process or device has it; EEXIST when it is there with another size than
 *   `create`; EINVAL when it is empty; what the system says.
 */
export function openFileDevice(
  reactor: Reactor,
  path: string,
  options: FileDeviceOptions = {},
): DescriptorDevice {
  const readOnly = options.readOnly ?? false;
  const { create } = options;
  if (create !== undefined && (readOnly || !(create > 0) || create % BLOCK_BYTES !== 0)) {
    throw new FsError(
      EINVAL,
      "device/bad-create-size",
      readOnly
        ? `Cannot create "${path}" read-only`
        : `Cannot create "${path}" with ${create} bytes: the size must be a multiple of ${BLOCK_BYTES}`,
    );
  }
  const calls = libcIfAvailable();
  const { fd, isNew } = openImage(path, readOnly, create !== undefined);
  let unlock: (() => void) | undefined;
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) {
      throw new FsError(
        stats.isDirectory() ? EISDIR : EINVAL,
        "device/not-a-file",
        `Cannot use "${path}" as a device: it is neither a regular file nor a block device`,
      );
    }
    unlock = lock(calls, fd, path, readOnly, stats.ino);
    let sizeBytes = stats.size;
    if (create !== undefined && sizeBytes === 0) {
      ftruncateSync(fd, create);
      if (options.preallocate === true) preallocate(calls, fd, path, create);
      // The name must be there after a crash if anything in the file is.
      fsyncSync(fd);
      syncDirectory(dirname(path));
      sizeBytes = create;
    } else if (create !== undefined && sizeBytes !== create) {
      throw new FsError(
        EEXIST,
        "device/other-size",
        `Cannot create "${path}" with ${formatSize(create)}: it is there and has ${formatSize(sizeBytes)}`,
      );
    }
    sizeBytes -= sizeBytes % BLOCK_BYTES;
    if (sizeBytes === 0) {
      throw new FsError(
        EINVAL,
        "device/empty-file",
        `Cannot use "${path}" as a device: it is empty (give it a size: ${path}:10G)`,
      );
    }
    const held = unlock;
    return new DescriptorDevice({
      reactor,
      fd,
      name: path,
      sizeBytes,
      readOnly,
      direct: (options.direct ?? true) && setDirect(calls, fd),
      sectorBytes: SECTOR_BYTES,
      ignoresDsync: statfsSync(path).type === FUSE_SUPER_MAGIC,
      release: () => {
        closeSync(fd);
        held();
      },
    });
  } catch (error) {
    closeSync(fd);
    if (isNew) unlinkSync(path);
    unlock?.();
    throw asFsError(error, "device/file-not-opened", `Cannot open "${path}"`);
  }
}

function openImage(
  path: string,
  readOnly: boolean,
  mayCreate: boolean,
): { fd: number; isNew: boolean } {
  try {
    if (mayCreate) {
      const { O_RDWR, O_CREAT, O_EXCL } = constants;
      try {
        return { fd: openSync(path, O_RDWR | O_CREAT | O_EXCL, 0o600), isNew: true };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    }
    return { fd: openSync(path, readOnly ? "r" : "r+"), isNew: false };
  } catch (error) {
    throw asFsError(error, "device/file-not-found", `Cannot open "${path}"`);
  }
}

/** Sets O_DIRECT on an open descriptor, where the file system takes it. */
export function setDirect(calls: Libc | null, fd: number): boolean {
  if (calls === null) return false;
  const flags = calls.fcntl(fd, F_GETFL, 0);
  return flags >= 0 && calls.fcntl(fd, F_SETFL, flags | O_DIRECT) >= 0;
}

function preallocate(calls: Libc | null, fd: number, path: string, sizeBytes: number): void {
  const status = calls === null ? 0 : calls.fallocate(fd, 0, 0, sizeBytes);
  if (status < 0) {
    throw new FsError(
      -status,
      "device/not-preallocated",
      `Cannot reserve ${formatSize(sizeBytes)} for "${path}": ${errnoName(status)}`,
    );
  }
}

function syncDirectory(path: string): void {
  try {
    const fd = openSync(path, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // Some systems do not open directories; their names are durable with the file.
  }
}

/** Locks an image for one writer or many readers; returns what drops the lock after the descriptor is closed. */
function lock(
  calls: Libc | null,
  fd: number,
  path: string,
  shared: boolean,
  ino: number,
): () => void {
  if (calls === null) return lockBeside(path);
  const status = calls.flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
  if (status === 0) return () => {};
  if (status !== -EAGAIN) {
    throw new FsError(-status, "device/not-locked", `Cannot lock "${path}": ${errnoName(status)}`);
  }
  throw busy(path, lockHolder(ino));
}

function busy(path: string, holder: string | null): FsError {
  return new FsError(
    EBUSY,
    "device/file-locked",
    `Cannot open "${path}": it is in use${holder === null ? "" : ` by ${holder}`}`,
  );
}

/** Without koffi there is no lock that the system drops when a process dies, so the file names it. */
function lockBeside(path: string): () => void {
  const lockPath = `${path}.lock`;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      const fd = openSync(lockPath, "wx", 0o600);
      writeSync(fd, String(process.pid));
      closeSync(fd);
      return () => unlinkSync(lockPath);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const pid = Number(readFileSync(lockPath, "utf8"));
    if (!(pid > 0) || isAlive(pid)) throw busy(path, pid > 0 ? processText(pid) : null);
    unlinkSync(lockPath);
  }
  throw busy(path, null);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** An error of node:fs as one of ours; ours pass through. */
export function asFsError(error: unknown, reason: string, message: string): FsError {
  if (error instanceof FsError) return error;
  const { errno, code } = error as NodeJS.ErrnoException;
  return new FsError(
    typeof errno === "number" && errno !== 0 ? errno : EIO,
    reason,
    `${message}: ${code ?? String(error)}`,
    { cause: error },
  );
}

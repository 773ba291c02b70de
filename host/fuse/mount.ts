/**
 * Getting a FUSE channel attached to a directory, and off it again.
 *
 * As root by mount(2); otherwise by fusermount3, the set-user-id helper of libfuse, which sends the channel over a
 * socket. The kernel's first request comes after mount(2) has returned, so a single-threaded server may mount itself.
 * It must not touch the tree afterwards: unmounting is done in another process, the mount's device number is read from
 * /proc, not by stat.
 */
import { spawn, spawnSync } from "node:child_process";
import { realpathSync, statSync, writeFileSync } from "node:fs";
import process from "node:process";
import {
  EACCES,
  EBUSY,
  EINVAL,
  EIO,
  ENODEV,
  ENOENT,
  ENOTDIR,
  EPERM,
  errnoName,
} from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { type MountRecord, readMountInfo } from "../base/mountinfo.ts";
import {
  F_GETFL,
  F_SETFL,
  type Libc,
  libc,
  MS_BIND,
  MS_DIRSYNC,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_RELATIME,
  MS_REMOUNT,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  O_NONBLOCK,
  O_RDWR,
} from "../reactor/libc.ts";

const TYPE = "fuse.dynamicfs";
const SUBTYPE = "dynamicfs";
const HELPERS = ["fusermount3", "fusermount"];
const READ_AHEAD_BYTES_DEFAULT = 1_048_576;
/**
 * So much may wait in the kernel to be written here; from half of it on the kernel hands it over while the program goes
 * on, so that both work at once (measured in DESIGN §11). The kernel gives FUSE 1 % of its limit, since it trusts no
 * user's server: that throttles every copy.
 */
const DIRTY_BYTES = 134_217_728;
/** Not less, though nothing has been written here yet: the kernel gives room by what was written lately. */
const DIRTY_BYTES_MIN = 125_829_120;
/** The same as a share of the kernel's limit, for those before Linux 6.2. */
const DIRTY_PERCENT = 40;

/** What the kernel enforces by itself. */
export interface KernelFlags {
  readonly noSuid?: boolean;
  readonly noDev?: boolean;
  readonly noExec?: boolean;
  readonly noAtime?: boolean;
  readonly strictAtime?: boolean;
  /** Each write(2) is followed by an fsync. */
  readonly sync?: boolean;
  readonly dirSync?: boolean;
}

export interface MountChoices extends KernelFlags {
  /** Other users may use the mount. Default: as root yes, otherwise no (fuse.conf must say user_allow_other). */
  readonly allowOther?: boolean;
  /** First field of /proc/mounts; default "dynamicfs". */
  readonly source?: string;
  /** The kernel reads ahead so much; root only, others get 128 KiB. Default 1 MiB. */
  readonly readAheadBytes?: number;
  /** Mount by fusermount3 even as root. */
  readonly helper?: boolean;
}

export interface MountedChannel {
  /** Nonblocking. */
  readonly fd: number;
  /** Canonical, as in /proc/self/mountinfo. */
  readonly mountpoint: string;
  readonly byHelper: boolean;
}

/**
 * Mounts.
 *
 * @throws {FsError} ENOENT, ENOTDIR, EBUSY for the directory; ENODEV, EPERM, EACCES for what the machine lacks.
 */
export function mountChannel(
  mountpoint: string,
  choices: MountChoices & { readonly readOnly: boolean },
): MountedChannel {
  const canonical = checkMountpoint(mountpoint);
  const isRoot = process.getuid?.() === 0;
  const byHelper = choices.helper === true || !isRoot;
  const fd = byHelper
    ? mountByHelper(libc(), canonical, choices, isRoot)
    : mountAsRoot(libc(), canonical, choices);
  return { fd, mountpoint: canonical, byHelper };
}

function checkMountpoint(mountpoint: string): string {
  let canonical: string;
  try {
    canonical = realpathSync(mountpoint);
    if (!statSync(canonical).isDirectory()) {
      throw new FsError(
        ENOTDIR,
        "fuse/mountpoint-not-directory",
        `Cannot mount at ${mountpoint}: it is not a directory; choose or create one`,
      );
    }
  } catch (cause) {
    if (cause instanceof FsError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT") {
      throw new FsError(
        ENOENT,
        "fuse/mountpoint-missing",
        `Cannot mount at ${mountpoint}: there is no such directory; create it first`,
        { cause },
      );
    }
    if (code === "ENOTCONN") {
      throw new FsError(
        EBUSY,
        "fuse/mountpoint-dead",
        `Cannot mount at ${mountpoint}: the server of an earlier mount is gone; run umount -l ${mountpoint}`,
        { cause },
      );
    }
    throw new FsError(
      EIO,
      "fuse/mountpoint-unusable",
      `Cannot mount at ${mountpoint}: ${(cause as Error).message}`,
      { cause },
    );
  }
  if (findMount(canonical)?.type === TYPE) {
    throw new FsError(
      EBUSY,
      "fuse/mountpoint-busy",
      `Cannot mount at ${canonical}: a DynamicFS volume is mounted there; unmount it first`,
    );
  }
  return canonical;
}

function mountAsRoot(
  calls: Libc,
  mountpoint: string,
  choices: MountChoices & { readonly readOnly: boolean },
): number {
  const fd = calls.open("/dev/fuse", O_RDWR | O_NONBLOCK);
  if (fd < 0) {
    if (fd === -ENOENT || fd === -ENODEV) {
      throw new FsError(
        ENODEV,
        "fuse/no-device",
        "Cannot mount: /dev/fuse is missing; load the module (modprobe fuse), or give the container the device " +
          "(--device /dev/fuse --cap-add SYS_ADMIN)",
      );
    }
    throw new FsError(
      -fd,
      "fuse/device-refused",
      `Cannot open /dev/fuse: ${errnoName(fd)}; check its permissions, and the container's device rules`,
    );
  }
  const flags = flagsOf(choices);
  const data =
    `fd=${fd},rootmode=40000,user_id=${process.getuid?.() ?? 0},group_id=${process.getgid?.() ?? 0}` +
    `,default_permissions${choices.allowOther === false ? "" : ",allow_other"}`;
  const status = calls.mount(choices.source ?? SUBTYPE, mountpoint, TYPE, flags, data);
  if (status < 0) {
    calls.close(fd);
    const hint =
      status === -EPERM || status === -EACCES
        ? "; mounting needs CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN)"
        : status === -ENODEV
          ? "; this kernel has no FUSE: load the module (modprobe fuse)"
          : "";
    throw new FsError(
      -status,
      "fuse/mount-refused",
      `Cannot mount at ${mountpoint}: ${errnoName(status)}${hint}`,
    );
  }
  return fd;
}

function flagsOf(choices: KernelFlags & { readonly readOnly: boolean }): number {
  let flags = 0;
  if (choices.readOnly) flags |= MS_RDONLY;
  if (choices.noSuid === true) flags |= MS_NOSUID;
  if (choices.noDev === true) flags |= MS_NODEV;
  if (choices.noExec === true) flags |= MS_NOEXEC;
  if (choices.noAtime === true) flags |= MS_NOATIME;
  else if (choices.strictAtime === true) flags |= MS_STRICTATIME;
  if (choices.sync === true) flags |= MS_SYNCHRONOUS;
  if (choices.dirSync === true) flags |= MS_DIRSYNC;
  return flags;
}

/**
 * Changes the flags of a mount, others stay. Read-only and sync are the whole file system's: the kernel first writes
 * back what it holds. Never from the thread that serves the mount.
 *
 * @throws {FsError} EBUSY: files are open for writing; EPERM: not root.
 */
export function remount(
  mountpoint: string,
  change: KernelFlags & { readonly readOnly?: boolean },
): void {
  const options = findMount(mountpoint)?.options ?? [];
  const has = (option: string): boolean => options.includes(option);
  const isReadOnly = change.readOnly ?? has("ro");
  const isSync = change.sync ?? has("sync");
  const isDirSync = change.dirSync ?? has("dirsync");
  let flags = flagsOf({
    readOnly: isReadOnly,
    noSuid: change.noSuid ?? has("nosuid"),
    noDev: change.noDev ?? has("nodev"),
    noExec: change.noExec ?? has("noexec"),
    noAtime: change.noAtime ?? has("noatime"),
    // It is told by nothing.
    strictAtime: !has("noatime") && !has("relatime"),
    sync: isSync,
    dirSync: isDirSync,
  });
  // Without any flag of access times the kernel would keep noatime.
  if ((flags & (MS_NOATIME | MS_STRICTATIME)) === 0) flags |= MS_RELATIME;
  if (has("nodiratime")) flags |= MS_NODIRATIME;
  const ofMountOnly =
    isReadOnly === has("ro") && isSync === has("sync") && isDirSync === has("dirsync");
  const status = libc().mount(
    "none",
    mountpoint,
    null,
    flags | MS_REMOUNT | (ofMountOnly ? MS_BIND : 0),
    null,
  );
  if (status === 0) return;
  const hint =
    status === -EBUSY
      ? `; files are open for writing (fuser -vm ${mountpoint})`
      : status === -EPERM
        ? "; only root may remount: unmount, and mount with the new options"
        : "";
  throw new FsError(
    -status,
    "fuse/remount-refused",
    `Cannot remount ${mountpoint}: ${errnoName(status)}${hint}`,
  );
}

/** The helper's options are a comma-separated list, in which a backslash escapes. */
function escaped(value: string): string {
  return value.replace(/[\\,]/g, "\\$&");
}

function mountByHelper(
  calls: Libc,
  mountpoint: string,
  choices: MountChoices & { readonly readOnly: boolean },
  isRoot: boolean,
): number {
  const options = ["default_permissions", `subtype=${SUBTYPE}`];
  options.push(`fsname=${escaped(choices.source ?? SUBTYPE)}`);
  if (choices.readOnly) options.push("ro");
  if (choices.allowOther ?? isRoot) options.push("allow_other");
  if (choices.noSuid === true) options.push("nosuid");
  if (choices.noDev === true) options.push("nodev");
  if (choices.noExec === true) options.push("noexec");
  if (choices.noAtime === true) options.push("noatime");
  if (choices.sync === true) options.push("sync");
  if (choices.dirSync === true) options.push("dirsync");
  const pair = calls.socketPair();
  if (typeof pair === "number") {
    throw new FsError(-pair, "fuse/no-socket", `Cannot mount: no socket pair: ${errnoName(pair)}`);
  }
  const [ours, theirs] = pair;
  try {
    let output = "";
    let found = false;
    for (const helper of HELPERS) {
      const result = spawnSync(helper, ["-o", options.join(","), "--", mountpoint], {
        stdio: ["ignore", "ignore", "pipe", theirs],
        env: { ...process.env, _FUSE_COMMFD: "3" },
        encoding: "utf8",
      });
      if ((result.error as NodeJS.ErrnoException | undefined)?.code === "ENOENT") continue;
      found = true;
      output = result.error?.message ?? result.stderr.trim();
      if (result.status === 0) {
        const fd = calls.receiveDescriptor(ours);
        if (fd >= 0) {
          const before = calls.fcntl(fd, F_GETFL, 0);
          calls.fcntl(fd, F_SETFL, Math.max(before, 0) | O_NONBLOCK);
          return fd;
        }
        output ||= `it sent no channel (${errnoName(fd)})`;
      }
      break;
    }
    if (!found) {
      throw new FsError(
        EPERM,
        "fuse/no-helper",
        `Cannot mount at ${mountpoint}: this needs root, or fusermount3; install the package fuse3`,
      );
    }
    throw new FsError(
      EPERM,
      "fuse/helper-failed",
      `Cannot mount at ${mountpoint}: fusermount3 says: ${output}`,
    );
  } finally {
    calls.close(ours);
    calls.close(theirs);
  }
}

/**
 * Raises the mount's read-ahead and its share of dirty pages, if we may.
 *
 * @returns The read-ahead in KiB, or null when it stayed as it was.
 */
export function raiseReadAhead(mountpoint: string, choices: MountChoices): number | null {
  const device = findMount(mountpoint)?.device;
  if (device === undefined) return null;
  const kib = Math.ceil((choices.readAheadBytes ?? READ_AHEAD_BYTES_DEFAULT) / 1024);
  const base = `/sys/class/bdi/${device}`;
  if (!trySet(`${base}/max_bytes`, DIRTY_BYTES)) trySet(`${base}/max_ratio`, DIRTY_PERCENT);
  else trySet(`${base}/min_bytes`, DIRTY_BYTES_MIN);
  return trySet(`${base}/read_ahead_kb`, kib) ? kib : null;
}

function trySet(path: string, value: number): boolean {
  try {
    writeFileSync(path, String(value));
    return true;
  } catch {
    return false; // not root, or an old kernel: slower, not wrong
  }
}

/** The topmost mount at a canonical path, from /proc: no file system is asked. */
export function findMount(mountpoint: string): MountRecord | null {
  try {
    return readMountInfo().findLast((record) => record.mountpoint === mountpoint) ?? null;
  } catch {
    return null;
  }
}

/** Starts umount in a process of its own: the thread that serves the mount must not wait for it. */
export function startUnmount(mountpoint: string, byHelper: boolean, lazy: boolean): void {
  const [command, args] = unmountCommand(mountpoint, byHelper, lazy);
  const child = spawn(command, args, { stdio: "ignore", detached: true });
  child.on("error", () => {}); // nothing is unmounted then, and onEnd does not come
  child.unref();
}

/**
 * Unmounts and waits. Never from the thread that serves the mount.
 *
 * @throws {FsError} EBUSY when it is in use.
 */
export function unmountAndWait(
  mountpoint: string,
  options: { readonly byHelper?: boolean; readonly lazy?: boolean } = {},
): void {
  const byHelper = options.byHelper ?? process.getuid?.() !== 0;
  const [command, args] = unmountCommand(mountpoint, byHelper, options.lazy ?? false);
  const result = spawnSync(command, args, {
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
  });
  if (result.status === 0) return;
  const output = result.error?.message ?? result.stderr.trim();
  throw new FsError(
    /busy/i.test(output) ? EBUSY : EINVAL,
    "fuse/unmount-failed",
    `Cannot unmount ${mountpoint}: ${output}; close what uses it (fuser -vm ${mountpoint}), or unmount lazily`,
  );
}

function unmountCommand(
  mountpoint: string,
  byHelper: boolean,
  lazy: boolean,
): [command: string, args: string[]] {
  if (byHelper) return ["fusermount3", ["-u", ...(lazy ? ["-z"] : []), "--", mountpoint]];
  return ["umount", [...(lazy ? ["-l"] : []), "--", mountpoint]];
}

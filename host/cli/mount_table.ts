/** What the kernel says is mounted, as the commands see it. */
import { realpathSync, statfsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { readMountInfo } from "../base/mountinfo.ts";

/** The type by which /etc/fstab and the kernel's table know us. */
export const FILE_SYSTEM_TYPE = "fuse.dynamicfs";

export interface MountEntry {
  readonly mountPoint: string;
  /** As st_dev of what is on it. Whether a mount is the one of a file is seen by this: another may be hung or stale. */
  readonly device: number;
  readonly type: string;
  readonly source: string;
  readonly readOnly: boolean;
  /** Of the mount, then of the file system. */
  readonly options: readonly string[];
  /** Who mounted it, for FUSE; null for others. */
  readonly uid: number | null;
}

/** All mounts, in order: a later one covers an earlier one on the same directory. */
export function readMounts(text?: string): MountEntry[] {
  return readMountInfo(text).map(({ device, mountpoint, type, source, options }) => {
    const user = options.find((option) => option.startsWith("user_id="));
    return {
      mountPoint: mountpoint,
      device: deviceNumber(device),
      type,
      source,
      readOnly: options.includes("ro"),
      options,
      uid: user === undefined ? null : Number(user.slice("user_id=".length)),
    };
  });
}

/** st_dev of "major:minor", by makedev(3) of glibc. */
function deviceNumber(text: string): number {
  const [major = 0, minor = 0] = text.split(":").map(Number);
  const low = (minor & 0xff) | ((major & 0xfff) << 8);
  // The upper bits by multiplication: a shift has only 32 of them.
  return low + (minor >>> 8) * 2 ** 20 + (major >>> 12) * 2 ** 44;
}

/** Our mounts. */
export function ownMounts(): MountEntry[] {
  return readMounts().filter((entry) => entry.type === FILE_SYSTEM_TYPE);
}

/** What is mounted on exactly that directory, topmost; undefined when nothing is. */
export function mountAt(mountPoint: string): MountEntry | undefined {
  return readMounts().findLast((entry) => entry.mountPoint === mountPoint);
}

/** Whether a mount's server is gone. What the kernel knows by heart, as attributes, it still tells: space is asked for. */
export function isStale(mountPoint: string): boolean {
  try {
    statfsSync(mountPoint);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOTCONN";
  }
}

/**
 * The path by which the kernel knows a directory. Looks at the parent only, because a stale mount point cannot be
 * looked at itself; a symbolic link to a mount point is followed when it can be.
 */
export function canonicalMountPoint(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {}
  try {
    return join(realpathSync(dirname(absolute)), basename(absolute));
  } catch {
    return absolute;
  }
}

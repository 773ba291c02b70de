/** Who uses a file or a disk that we cannot have: for the message only, so everything here is best effort. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { readMountInfo } from "../base/mountinfo.ts";

/** The process that holds a flock on an inode, as /proc/locks tells, or null. */
export function lockHolder(ino: number): string | null {
  try {
    for (const line of readFileSync("/proc/locks", "utf8").split("\n")) {
      // "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; waiters have "->" after the number.
      const fields = line.trim().split(/\s+/);
      if (fields[1] !== "FLOCK" || !fields[5]?.endsWith(`:${ino}`)) continue;
      return processText(Number(fields[4]));
    }
  } catch {
    // Not Linux, or hidden.
  }
  return null;
}

/** "process 1234 (name)". */
export function processText(pid: number): string {
  if (pid === process.pid) return "this process";
  try {
    return `process ${pid} (${readFileSync(`/proc/${pid}/comm`, "utf8").trim()})`;
  } catch {
    return `process ${pid}`;
  }
}

/** What uses a block device: a mount, swap, or a device on top of it; null when it is not to be seen. */
export function diskUser(path: string, rdev: number): string | null {
  const numbers = deviceNumbers(rdev);
  try {
    const mounted = readMountInfo().find(({ device }) => device === numbers);
    if (mounted !== undefined) return `mounted on ${mounted.mountpoint}`;
    for (const line of readFileSync("/proc/swaps", "utf8").split("\n").slice(1)) {
      if (line.split(/\s+/)[0] === path) return "in use as swap";
    }
    const [holder] = readdirSync(`/sys/dev/block/${numbers}/holders`);
    if (holder !== undefined) return `part of ${holder}`;
  } catch {
    // Not Linux, or hidden.
  }
  return null;
}

/** "major:minor", by the encoding of glibc's dev_t. */
function deviceNumbers(rdev: number): string {
  const low = rdev % 0x1_0000_0000;
  const high = Math.floor(rdev / 0x1_0000_0000);
  const major = ((low >>> 8) & 0xfff) + (high & 0xffff_f000);
  const minor = (low & 0xff) + ((low >>> 12) & 0xf_ff00);
  return `${major}:${minor}`;
}

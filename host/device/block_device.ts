/**
 * A raw block device. Claimed exclusively (O_EXCL): the kernel then refuses to mount it, and refuses us while it, or a
 * partition of it, is mounted or otherwise in use.
 */
import { closeSync, openSync, statSync } from "node:fs";
import { getU64 } from "../base/bytes.ts";
import { EAGAIN, EBUSY, EINVAL, ENXIO, EOPNOTSUPP, errnoName } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import {
  BLKGETSIZE64,
  BLKSSZGET,
  type Libc,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  libcIfAvailable,
  O_EXCL,
  O_RDWR,
} from "../reactor/libc.ts";
import type { Reactor } from "../reactor/reactor.ts";
import { DescriptorDevice } from "./descriptor_device.ts";
import { asFsError, setDirect } from "./file_device.ts";
import { diskUser, lockHolder } from "./holder.ts";

const BLOCK_BYTES = 4096;

export interface BlockDeviceOptions {
  readOnly?: boolean;
  /** O_DIRECT. Default true. */
  direct?: boolean;
}

/**
 * Opens a block device: exclusively, or for reading beside other readers.
 *
 * @throws {FsError} EBUSY when it is mounted or in use, saying by what where that is known; EINVAL when its sectors are
 *   larger than 4,096 bytes; EOPNOTSUPP where koffi cannot be had; what the system says.
 */
export function openBlockDevice(
  reactor: Reactor,
  path: string,
  options: BlockDeviceOptions = {},
): DescriptorDevice {
  const readOnly = options.readOnly ?? false;
  const calls = libcIfAvailable();
  if (calls === null) {
    throw new FsError(
      EOPNOTSUPP,
      "device/no-system-calls",
      `Cannot open "${path}": block devices need koffi`,
    );
  }
  let rdev: number;
  let ino: number;
  try {
    ({ rdev, ino } = statSync(path));
  } catch (error) {
    throw asFsError(error, "device/disk-not-found", `Cannot open "${path}"`);
  }
  const claim = readOnly ? -1 : claimExclusively(calls, path, rdev);
  let fd = -1;
  try {
    // Beside the claim, as Deno's node:fs takes neither a descriptor of others nor O_EXCL for something that exists.
    fd = openSync(path, readOnly ? "r" : "r+");
    // By convention a lock on the node keeps udev and others from probing. Readers and udev itself may be there.
    const locked = calls.flock(fd, (readOnly ? LOCK_SH : LOCK_EX) | LOCK_NB);
    if (readOnly && locked === -EAGAIN) {
      const holder = lockHolder(ino);
      throw new FsError(
        EBUSY,
        "device/disk-locked",
        `Cannot open "${path}": it is in use${holder === null ? "" : ` by ${holder}`}`,
      );
    }
    const sizeBytes = ask(calls, fd, path, BLKGETSIZE64, 8);
    const sectorBytes = ask(calls, fd, path, BLKSSZGET, 4);
    if (sectorBytes > BLOCK_BYTES) {
      throw new FsError(
        EINVAL,
        "device/large-sectors",
        `Cannot use "${path}": its sectors have ${sectorBytes} bytes, more than ${BLOCK_BYTES}`,
      );
    }
    const usableBytes = sizeBytes - (sizeBytes % BLOCK_BYTES);
    if (usableBytes === 0) {
      throw new FsError(ENXIO, "device/no-medium", `Cannot use "${path}": it has no size`);
    }
    const open = fd;
    return new DescriptorDevice({
      reactor,
      fd,
      name: path,
      sizeBytes: usableBytes,
      readOnly,
      direct: (options.direct ?? true) && setDirect(calls, fd),
      sectorBytes,
      release: () => {
        closeSync(open);
        if (claim >= 0) calls.close(claim);
      },
    });
  } catch (error) {
    if (fd >= 0) closeSync(fd);
    if (claim >= 0) calls.close(claim);
    throw asFsError(error, "device/disk-not-opened", `Cannot open "${path}"`);
  }
}

function claimExclusively(calls: Libc, path: string, rdev: number): number {
  const claim = calls.open(path, O_RDWR | O_EXCL);
  if (claim >= 0) return claim;
  if (claim !== -EBUSY) {
    throw new FsError(
      -claim,
      "device/disk-not-claimed",
      `Cannot open "${path}": ${errnoName(claim)}`,
    );
  }
  const user = diskUser(path, rdev);
  throw new FsError(
    EBUSY,
    "device/disk-in-use",
    `Cannot open "${path}": it is ${user ?? "in use by another process or device"}`,
  );
}

function ask(calls: Libc, fd: number, path: string, request: number, byteLength: 4 | 8): number {
  const record = new Uint8Array(8);
  const status = calls.ioctlRecord(fd, request, record.subarray(0, byteLength));
  if (status < 0) {
    throw new FsError(
      -status,
      "device/disk-not-measured",
      `Cannot measure "${path}": ${errnoName(status)}`,
    );
  }
  return getU64(new DataView(record.buffer), 0);
}

/** From what a user writes to an open device: `./a.img`, `./a.img:10G`, `/dev/sdb`, `mem:256M`. */
import { statSync } from "node:fs";
import { EINVAL, ENOENT, EOPNOTSUPP } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { parseSize } from "../base/units.ts";
import type { Reactor } from "../reactor/reactor.ts";
import { openBlockDevice } from "./block_device.ts";
import type { Device } from "./device.ts";
import { asFsError, openFileDevice } from "./file_device.ts";
import { MemoryDevice } from "./memory_device.ts";

const BLOCK_BYTES = 4096;

export type DeviceSpec =
  | { readonly kind: "memory"; readonly sizeBytes: number }
  /** A file or a block device; with a size, a file that is made if it is missing. */
  | { readonly kind: "path"; readonly path: string; readonly sizeBytes: number | undefined };

export interface OpenDeviceOptions {
  readOnly?: boolean;
  /** O_DIRECT where it can be had. Default true. */
  direct?: boolean;
  /** For a file that is made. Default false. */
  preallocate?: boolean;
}

/**
 * Reads a device's specification. Sizes are rounded down to whole blocks of 4,096.
 *
 * @throws {FsError} EINVAL for what is none; EOPNOTSUPP for kinds that are not there yet.
 */
export function parseDeviceSpec(text: string): DeviceSpec {
  const memory = /^mem:(.*)$/.exec(text);
  if (memory !== null) return { kind: "memory", sizeBytes: wholeBlocks(text, memory[1] ?? "") };
  const scheme = /^([a-z][a-z0-9+]+):\/\//.exec(text);
  if (scheme !== null) {
    throw new FsError(
      EOPNOTSUPP,
      "device/unknown-kind",
      `Cannot use "${text}": devices of the kind ${scheme[1]} are not supported`,
    );
  }
  const sized = /^(.+):(\d[\d.]*\s*[a-z]*)$/i.exec(text);
  const path = sized?.[1] ?? text;
  if (path === "") throw new FsError(EINVAL, "device/no-path", "Cannot use an empty name");
  const sizeBytes = sized === null ? undefined : wholeBlocks(text, sized[2] ?? "");
  return { kind: "path", path, sizeBytes };
}

/**
 * Opens a device by its specification.
 *
 * @param core The memory that addresses are offsets into.
 * @throws {FsError} As parseDeviceSpec, openFileDevice and openBlockDevice do.
 */
export function openDevice(
  reactor: Reactor,
  core: { readonly bytes: Uint8Array },
  spec: string,
  options: OpenDeviceOptions = {},
): Device {
  const parsed = parseDeviceSpec(spec);
  const readOnly = options.readOnly ?? false;
  if (parsed.kind === "memory") {
    const { sizeBytes } = parsed;
    return new MemoryDevice({ core, scheduler: reactor, sizeBytes, name: spec, readOnly });
  }
  const { path, sizeBytes } = parsed;
  const direct = options.direct ?? true;
  if (isBlockDevice(path, sizeBytes !== undefined)) {
    if (sizeBytes !== undefined) {
      throw new FsError(
        EINVAL,
        "device/disk-has-its-size",
        `Cannot give "${path}" a size: it is a block device`,
      );
    }
    return openBlockDevice(reactor, path, { readOnly, direct });
  }
  return openFileDevice(reactor, path, {
    readOnly,
    direct,
    preallocate: options.preallocate ?? false,
    ...(sizeBytes === undefined ? {} : { create: sizeBytes }),
  });
}

function isBlockDevice(path: string, mayBeMissing: boolean): boolean {
  try {
    return statSync(path).isBlockDevice();
  } catch (error) {
    const failure = asFsError(error, "device/not-found", `Cannot open "${path}"`);
    if (mayBeMissing && failure.errno === -ENOENT) return false;
    throw failure;
  }
}

function wholeBlocks(spec: string, size: string): number {
  const sizeBytes = parseSize(size);
  if (sizeBytes < BLOCK_BYTES) {
    throw new FsError(
      EINVAL,
      "device/too-small",
      `Cannot use "${spec}": a device has at least ${BLOCK_BYTES} bytes`,
    );
  }
  return sizeBytes - (sizeBytes % BLOCK_BYTES);
}

/**
 * A device behind an open descriptor: what files and block devices have in common. The reactor moves the bytes; here
 * its byte counts become the device's statuses.
 */
import { assert } from "../base/assert.ts";
import { EIO, EOPNOTSUPP, EROFS } from "../base/errno.ts";
import type { Reactor } from "../reactor/reactor.ts";
import { checkRange, checkVector } from "./check_range.ts";
import type { Device, Done } from "./device.ts";

export interface DescriptorDeviceOptions {
  reactor: Reactor;
  /** From node:fs: under Deno it knows no others. */
  fd: number;
  name: string;
  sizeBytes: number;
  readOnly: boolean;
  /** The descriptor has O_DIRECT: buffers must be aligned for the disk. */
  direct: boolean;
  sectorBytes: number;
  /** RWF_DSYNC is taken for done, but does nothing: a durable write is a write and a flush. Default false. */
  ignoresDsync?: boolean;
  /** Closes the descriptor and drops locks. */
  release: () => void;
}

/** Covers every disk's needs; blocks in the core are aligned to 4,096 anyway. */
const DIRECT_ALIGNMENT = 512;

export class DescriptorDevice implements Device {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly direct: boolean;
  readonly sectorBytes: number;
  readonly #reactor: Reactor;
  readonly #fd: number;
  readonly #release: () => void;
  readonly #ignoresDsync: boolean;
  #canDiscard = true;
  #closed = false;

  constructor(options: DescriptorDeviceOptions) {
    this.name = options.name;
    this.sizeBytes = options.sizeBytes;
    this.readOnly = options.readOnly;
    this.direct = options.direct;
    this.sectorBytes = options.sectorBytes;
    this.#reactor = options.reactor;
    this.#fd = options.fd;
    this.#release = options.release;
    this.#ignoresDsync = options.ignoresDsync ?? false;
  }

  read(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    checkRange(this.sizeBytes, offsetBytes, byteLength);
    this.#checkAddress(address);
    this.#reactor.read(this.#fd, offsetBytes, address, byteLength, (moved) =>
      done(statusOf(moved, byteLength)),
    );
  }

  write(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    checkRange(this.sizeBytes, offsetBytes, byteLength);
    this.#checkAddress(address);
    if (this.readOnly) {
      this.#reactor.post(() => done(-EROFS));
      return;
    }
    this.#reactor.write(this.#fd, offsetBytes, address, byteLength, (moved) =>
      done(statusOf(moved, byteLength)),
    );
  }

  writeVector(
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void {
    const byteLength = checkVector(this.sizeBytes, offsetBytes, addresses, byteLengths);
    for (const address of addresses) this.#checkAddress(address);
    if (this.readOnly) {
      this.#reactor.post(() => done(-EROFS));
      return;
    }
    if (addresses.length === 1) {
      this.write(offsetBytes, addresses[0] as number, byteLength, done);
      return;
    }
    this.#reactor.writeVector(this.#fd, offsetBytes, addresses, byteLengths, (moved) =>
      done(statusOf(moved, byteLength)),
    );
  }

  writeDurable(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    checkRange(this.sizeBytes, offsetBytes, byteLength);
    this.#checkAddress(address);
    if (this.readOnly) {
      this.#reactor.post(() => done(-EROFS));
      return;
    }
    if (this.#ignoresDsync) {
      this.write(offsetBytes, address, byteLength, (status) => {
        if (status < 0) done(status);
        else this.flush(done);
      });
      return;
    }
    this.#reactor.writeDurable(this.#fd, offsetBytes, address, byteLength, (moved) =>
      done(statusOf(moved, byteLength)),
    );
  }

  flush(done: Done): void {
    assert(!this.#closed, "a closed device takes no calls");
    this.#reactor.flush(this.#fd, done);
  }

  discard(offsetBytes: number, byteLength: number, done: Done): void {
    checkRange(this.sizeBytes, offsetBytes, byteLength);
    assert(!this.#closed, "a closed device takes no calls");
    if (this.readOnly || !this.#canDiscard) {
      this.#reactor.post(() => done(this.readOnly ? -EROFS : 0));
      return;
    }
    this.#reactor.discard(this.#fd, offsetBytes, byteLength, (status) => {
      // It is advice: where it cannot be taken, nothing is lost and nobody needs to ask again.
      if (status === -EOPNOTSUPP) this.#canDiscard = false;
      done(status === -EOPNOTSUPP ? 0 : status);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#release();
  }

  #checkAddress(address: number): void {
    assert(!this.#closed, "a closed device takes no calls");
    assert(
      !this.direct || address % DIRECT_ALIGNMENT === 0,
      `a buffer for direct I/O is aligned to ${DIRECT_ALIGNMENT}, not at ${address}`,
    );
  }
}

/** A device is never short: the file was cut from outside, or the disk is broken. */
function statusOf(moved: number, byteLength: number): number {
  if (moved < 0) return moved;
  return moved === byteLength ? 0 : -EIO;
}

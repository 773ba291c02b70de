/**
 * A device in memory, for tests and volumes that need not outlive the process. It takes memory as it is written to, and
 * gives it back when chunks are discarded.
 */
import { EROFS } from "../base/errno.ts";
import { checkRange, checkVector } from "./check_range.ts";
import type { Device, Done } from "./device.ts";
import { SparseBytes } from "./sparse_bytes.ts";

const CHUNK_BYTES = 1 << 20;

export interface MemoryDeviceOptions {
  /** The memory that addresses are offsets into. */
  core: { readonly bytes: Uint8Array };
  /** Where completions come from: a reactor. */
  scheduler: { post(callback: () => void): void };
  /** A multiple of 4,096. */
  sizeBytes: number;
  name?: string;
  readOnly?: boolean;
  /** What another one held: closed, or no longer used. */
  contents?: SparseBytes;
}

export class MemoryDevice implements Device {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly sectorBytes = 512;
  readonly contents: SparseBytes;
  readonly #bytes: Uint8Array;
  readonly #scheduler: { post(callback: () => void): void };

  constructor(options: MemoryDeviceOptions) {
    this.name = options.name ?? "mem";
    this.sizeBytes = options.sizeBytes;
    this.readOnly = options.readOnly ?? false;
    this.contents = options.contents ?? new SparseBytes(options.sizeBytes, CHUNK_BYTES);
    this.#bytes = options.core.bytes;
    this.#scheduler = options.scheduler;
  }

  read(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    checkRange(this.sizeBytes, offsetBytes, byteLength);
    this.contents.read(offsetBytes, this.#bytes.subarray(address, address + byteLength));
    this.#post(done, 0);
  }

  write(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    checkRange(this.sizeBytes, offsetBytes, byteLength);
    if (this.readOnly) {
      this.#post(done, -EROFS);
      return;
    }
    this.contents.write(offsetBytes, this.#bytes.subarray(address, address + byteLength));
    this.#post(done, 0);
  }

  writeVector(
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void {
    checkVector(this.sizeBytes, offsetBytes, addresses, byteLengths);
    if (this.readOnly) {
      this.#post(done, -EROFS);
      return;
    }
    let offset = offsetBytes;
    for (let index = 0; index < addresses.length; index += 1) {
      const address = addresses[index] as number;
      const byteLength = byteLengths[index] as number;
      this.contents.write(offset, this.#bytes.subarray(address, address + byteLength));
      offset += byteLength;
    }
    this.#post(done, 0);
  }

  writeDurable(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    this.write(offsetBytes, address, byteLength, done);
  }

  flush(done: Done): void {
    this.#post(done, 0);
  }

  discard(offsetBytes: number, byteLength: number, done: Done): void {
    checkRange(this.sizeBytes, offsetBytes, byteLength);
    if (!this.readOnly) this.contents.clear(offsetBytes, byteLength);
    this.#post(done, this.readOnly ? -EROFS : 0);
  }

  close(): void {}

  #post(done: Done, status: number): void {
    this.#scheduler.post(() => done(status));
  }
}

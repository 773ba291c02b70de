/**
 * A device that keeps what is written to it in memory, over another that is only read: a repair can be tried on it, and
 * says exactly what it would do.
 *
 * Memory: what is written, up to a limit; beyond it writes fail with ENOSPC.
 */
import { ENOSPC } from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import type { Device, Done } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";

/** What a trial may write: the pages of a few million objects. */
const OVERLAY_BYTES_MAX: number = 512 * 1024 * 1024;

export class OverlayDevice implements Device {
  readonly #core: Core;
  readonly #base: Device;
  readonly #blocks = new Map<number, Uint8Array>();
  readonly #post: (callback: () => void) => void;

  constructor(options: { core: Core; base: Device; post: (callback: () => void) => void }) {
    this.#core = options.core;
    this.#base = options.base;
    this.#post = options.post;
  }

  get name(): string {
    return this.#base.name;
  }

  get sizeBytes(): number {
    return this.#base.sizeBytes;
  }

  get sectorBytes(): number {
    return this.#base.sectorBytes;
  }

  readonly readOnly = false;

  read(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    const first = offsetBytes / BLOCK_BYTES;
    const count = byteLength / BLOCK_BYTES;
    const own: number[] = [];
    for (let index = 0; index < count; index++)
      if (this.#blocks.has(first + index)) own.push(index);
    const fill = (): void => {
      for (const index of own) {
        const block = this.#blocks.get(first + index);
        if (block !== undefined) this.#core.bytes.set(block, address + index * BLOCK_BYTES);
      }
    };
    if (own.length === count) {
      // What the base cannot read does not matter once it has been written.
      fill();
      this.#post(() => done(0));
      return;
    }
    this.#base.read(offsetBytes, address, byteLength, (status) => {
      if (status >= 0) fill();
      done(status);
    });
  }

  write(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    this.writeVector(offsetBytes, [address], [byteLength], done);
  }

  writeVector(
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void {
    let block = offsetBytes / BLOCK_BYTES;
    for (const [part, address] of addresses.entries()) {
      const end = address + (byteLengths[part] as number);
      for (let at = address; at < end; at += BLOCK_BYTES) {
        this.#blocks.set(block++, this.#core.bytes.slice(at, at + BLOCK_BYTES));
      }
    }
    const status = this.#blocks.size * BLOCK_BYTES > OVERLAY_BYTES_MAX ? -ENOSPC : 0;
    this.#post(() => done(status));
  }

  writeDurable(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    this.writeVector(offsetBytes, [address], [byteLength], done);
  }

  flush(done: Done): void {
    this.#post(() => done(0));
  }

  discard(_offsetBytes: number, _byteLength: number, done: Done): void {
    this.#post(() => done(0));
  }

  /** The base is its owner's. */
  close(): void {
    this.#blocks.clear();
  }
}

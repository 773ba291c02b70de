import { assert } from "../base/assert.ts";
import { ENOMEM } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Core } from "./core.ts";

/**
 * Hands out regions of the core's memory, once, in order of address, while a volume is set up. Nothing is given back:
 * what lives and dies has its own allocator inside a region.
 */
export class Layout {
  readonly #limit: number;
  #end: number;

  /** @param start First free address, at or after `core.staticEnd`. */
  constructor(core: Core, start: number = core.staticEnd) {
    assert(start >= core.staticEnd, "a layout starts after the core's static data");
    this.#limit = core.bytes.length;
    this.#end = start;
  }

  /** First address that is not taken. */
  get end(): number {
    return this.#end;
  }

  /**
   * Takes a region; its bytes are zero if nobody wrote there before.
   *
   * @param byteLength 0 or more.
   * @param align A power of two, in bytes.
   * @returns The region's address.
   * @throws {FsError} ENOMEM when the memory ends before the region does.
   */
  take(byteLength: number, align: number): number {
    assert(Number.isSafeInteger(byteLength) && byteLength >= 0, "a region's length is a count");
    assert(align >= 1 && Number.isInteger(Math.log2(align)), "an alignment is a power of two");
    const address = Math.ceil(this.#end / align) * align;
    if (address + byteLength > this.#limit) {
      throw new FsError(
        ENOMEM,
        "core/memory-full",
        `Cannot lay out ${byteLength} bytes at ${address}: the core has ${this.#limit} bytes`,
      );
    }
    this.#end = address + byteLength;
    return address;
  }
}

/**
 * Reads tree pages for tools: every copy, checked against the pointer in all that SPEC §4.4 says, past any cache. Bytes
 * on disk are never trusted; what is wrong with each copy is told in words, and a walk uses the first that is right.
 *
 * Memory: one buffer of three pages for each page that is held at a time, laid out once.
 */
import { assert } from "../base/assert.ts";
import { getU64 } from "../base/bytes.ts";
import type { Task } from "../base/task.ts";
import { PAGE_PROBLEMS } from "../core/abi.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { PAGE_BLOCKS, PAGE_BYTES } from "../format/geometry.ts";
import {
  addressBlock,
  addressDevice,
  PAGE_ADDRESS,
  PAGE_GENERATION,
  PAGE_LEVEL,
  PAGE_TREE_ID,
  POINTER_CHECKSUM,
  POINTER_COPIES,
  POINTER_GENERATION,
} from "../format/page_pointer.ts";
import type { Pool } from "../pool/pool.ts";

/** One copy as a pointer names it. */
export interface PageCopy {
  readonly copy: number;
  readonly device: number;
  readonly block: number;
  /** Why it cannot be there, or null. */
  readonly problem: string | null;
}

/** What is wrong with a copy that was read. */
export interface CopyProblem {
  readonly copy: PageCopy;
  readonly kind: "read" | "checksum" | "header" | "structure";
  readonly problem: string;
}

/** Pages of a tree that are being read or held. */
export interface PageFetch {
  /** Address of the buffers in core memory: one page for each copy. */
  readonly buffer: number;
  copies: readonly PageCopy[];
  /** Address of the pointer: in the parent, which must be held until the page is verified. */
  pointer: number;
  readonly statuses: number[];
  pending: number;
  wake: ((status: number) => void) | null;
}

/** What the pointer's place says about the page. */
export interface PageExpectation {
  readonly level: number;
  readonly treeId: number;
}

/** A valid page's address and what is wrong with its copies; 0 when no copy can be used. */
export interface PageRead {
  readonly page: number;
  readonly problems: readonly CopyProblem[];
}

export class PageReader {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #blockCount: number;
  readonly #free: PageFetch[] = [];
  bytesRead = 0;

  /** @param options.fetches Pages held or being read at a time. @param options.blockCount Of device 0's volume. */
  constructor(options: {
    core: Core;
    pool: Pool;
    layout: Layout;
    blockCount: number;
    fetches: number;
  }) {
    this.#core = options.core;
    this.#pool = options.pool;
    this.#blockCount = options.blockCount;
    for (let index = 0; index < options.fetches; index++) {
      this.#free.push({
        buffer: options.layout.take(POINTER_COPIES * PAGE_BYTES, 4096),
        copies: [],
        pointer: 0,
        statuses: [0, 0, 0],
        pending: 0,
        wake: null,
      });
    }
  }

  get available(): number {
    return this.#free.length;
  }

  /** The copies that a pointer in core memory names. */
  copiesOf(pointer: number): PageCopy[] {
    const { view } = this.#core;
    const copies: PageCopy[] = [];
    for (let copy = 0; copy < POINTER_COPIES; copy++) {
      const low = view.getUint32(pointer + copy * 8, true);
      const high = view.getUint32(pointer + copy * 8 + 4, true);
      if (low === 0 && high === 0) continue;
      const device = addressDevice(high);
      const block = addressBlock(low, high);
      let problem: string | null = null;
      if (device >= this.#pool.members.length) problem = `device ${device} is not part of the pool`;
      else if (block + PAGE_BLOCKS > this.#blockCount) problem = `block ${block} is beyond the end`;
      else {
        const twin = copies.find(
          (other) => other.device === device && Math.abs(other.block - block) < PAGE_BLOCKS,
        );
        if (twin !== undefined) problem = `copy ${copy} overlaps copy ${twin.copy}`;
      }
      copies.push({ copy, device, block, problem });
    }
    return copies;
  }

  /** Starts to read the page of a pointer. `everyCopy`: all of them, else the first that can be there. */
  start(pointer: number, everyCopy: boolean): PageFetch {
    const fetch = this.#free.pop();
    assert(fetch !== undefined, "more pages held than buffers");
    fetch.pointer = pointer;
    fetch.copies = this.copiesOf(pointer);
    fetch.pending = 1;
    fetch.statuses.fill(1);
    for (const copy of fetch.copies) {
      if (copy.problem !== null) continue;
      this.#read(fetch, copy);
      if (!everyCopy) break;
    }
    this.#settle(fetch);
    return fetch;
  }

  release(fetch: PageFetch): void {
    this.#free.push(fetch);
  }

  /** Waits for the reads and verifies each copy; reads the others when those that were read are bad. */
  *finish(fetch: PageFetch, expected: PageExpectation): Task<PageRead> {
    const problems: CopyProblem[] = [];
    let page = 0;
    yield* this.#wait(fetch);
    for (const copy of fetch.copies) {
      if (copy.problem !== null) continue;
      if (fetch.statuses[copy.copy] === 1) {
        if (page !== 0) continue;
        fetch.pending++;
        this.#read(fetch, copy);
        this.#settle(fetch);
        yield* this.#wait(fetch);
      }
      const address = fetch.buffer + copy.copy * PAGE_BYTES;
      const status = fetch.statuses[copy.copy] as number;
      const problem =
        status < 0
          ? { copy, kind: "read" as const, problem: `read error ${status}` }
          : this.#verify(address, fetch.pointer, copy, expected);
      if (problem !== null) problems.push(problem);
      else if (page === 0) page = address;
    }
    return { page, problems };
  }

  #read(fetch: PageFetch, copy: PageCopy): void {
    fetch.pending++;
    this.bytesRead += PAGE_BYTES;
    const address = fetch.buffer + copy.copy * PAGE_BYTES;
    this.#pool.read(copy.device, copy.block, address, PAGE_BYTES, (status) => {
      fetch.statuses[copy.copy] = Math.min(status, 0);
      this.#settle(fetch);
    });
  }

  #settle(fetch: PageFetch): void {
    fetch.pending--;
    if (fetch.pending > 0) return;
    const resume = fetch.wake;
    fetch.wake = null;
    resume?.(0);
  }

  *#wait(fetch: PageFetch): Task<void> {
    while (fetch.pending > 0) {
      yield (resume) => {
        fetch.wake = resume;
      };
    }
  }

  #verify(
    address: number,
    pointer: number,
    copy: PageCopy,
    expected: PageExpectation,
  ): CopyProblem | null {
    const { exports, view } = this.#core;
    const checksum = pointer + POINTER_CHECKSUM;
    if (exports.xxh3_64_verify_units(address + 8, PAGE_BYTES - 8, 1, checksum) >= 0) {
      return { copy, kind: "checksum", problem: "checksum mismatch" };
    }
    const treeId = view.getUint8(address + PAGE_TREE_ID);
    const level = view.getUint8(address + PAGE_LEVEL);
    const generation = getU64(view, address + PAGE_GENERATION);
    const pointed = getU64(view, pointer + POINTER_GENERATION);
    let header: string | null = null;
    if (treeId !== expected.treeId) header = `tree ${treeId}, expected ${expected.treeId}`;
    else if (level !== expected.level) header = `level ${level}, expected ${expected.level}`;
    else if (generation !== pointed) header = `generation ${generation}, expected ${pointed}`;
    else if (!sameU64(view, address + PAGE_ADDRESS, pointer))
      header = "the address of another page";
    if (header !== null) return { copy, kind: "header", problem: header };
    const code = exports.page_validate(address, expected.level);
    if (code !== 0) {
      return { copy, kind: "structure", problem: PAGE_PROBLEMS[code] ?? `rule ${code}` };
    }
    return null;
  }
}

function sameU64(view: DataView, a: number, b: number): boolean {
  return (
    view.getUint32(a, true) === view.getUint32(b, true) &&
    view.getUint32(a + 4, true) === view.getUint32(b + 4, true)
  );
}

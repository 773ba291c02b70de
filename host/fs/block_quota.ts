/** Whether files may take more blocks: quotas know what is on disk, this adds what is buffered. */
import { EDQUOT } from "../base/errno.ts";
import type { DirtyFiles } from "./dirty_files.ts";
import type { Flusher } from "./flusher.ts";
import type { Quotas } from "./quotas.ts";

export class BlockQuota {
  readonly #quotas: Quotas;
  readonly #files: DirtyFiles;
  readonly #flusher: Flusher;

  constructor(options: { quotas: Quotas; files: DirtyFiles; flusher: Flusher }) {
    this.#quotas = options.quotas;
    this.#files = options.files;
    this.#flusher = options.flusher;
  }

  get isOn(): boolean {
    return this.#quotas.areOn;
  }

  /**
   * Whether a file may take so many more blocks: 0 or −EDQUOT. Throws Retry, before anything has changed, where that
   * depends on buffered data, of which nobody knows how much will need new blocks until it has been written.
   */
  problem(ino: number, blockCount: number): number {
    if (blockCount <= 0) return 0;
    const found = this.#quotas.ownersOf(ino);
    if (typeof found === "number") return 0;
    const left = this.#quotas.blocksLeft(found);
    const { frameCount, freeFrames } = this.#files.pool;
    // More than is buffered of all files, being written or not.
    if (left >= frameCount - freeFrames + blockCount) return 0;
    if (left < blockCount) return -EDQUOT;
    const owners = { ...found };
    let buffered = 0;
    for (const file of this.#files.all()) {
      if (file.closed || file.gone) continue;
      const others = this.#quotas.ownersOf(file.ino);
      if (typeof others === "number" || !this.#quotas.haveOneInCommon(owners, others)) continue;
      buffered += this.#files.bufferedCount(file);
    }
    if (left < buffered + blockCount) this.#flusher.waitForProgress();
    return 0;
  }
}

/** Runs the table over node:fs/promises and over ours, and compares what both saw. */
import assert from "node:assert/strict";
import * as nodeFs from "node:fs/promises";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Assert, Case, FsPromises } from "./conformance.ts";

/** One case over one implementation, in a directory that is removed afterwards. */
export async function runCase(fs: FsPromises, one: Case, dir: string): Promise<unknown> {
  await fs.mkdir(dir, { mode: 0o755 });
  try {
    return await one.run(fs, dir, assert as unknown as Assert);
  } finally {
    await fs.rm(dir, { recursive: true, force: true });
  }
}

/** The oracle's outcomes, made when first asked for. */
export class Oracle {
  readonly #root: Promise<string> = mkdtemp(join(tmpdir(), "dynamicfs-oracle-"));
  readonly #seen = new Map<string, Promise<unknown>>();

  /** Paths are as long as ours are, so that errors about lengths agree. */
  async outcome(one: Case): Promise<unknown> {
    let seen = this.#seen.get(one.name);
    if (seen === undefined) {
      seen = this.#root.then((root) => runCase(nodeFs, one, join(root, `case-${this.#seen.size}`)));
      this.#seen.set(one.name, seen);
    }
    return await seen;
  }

  async close(): Promise<void> {
    await rm(await this.#root, { recursive: true, force: true });
  }
}

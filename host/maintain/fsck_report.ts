/** What a check is asked and what it answers. */
import { uuidText } from "../base/bytes.ts";
import type { Superblock } from "../format/superblock.ts";
import type { Finding, Findings } from "./findings.ts";

export interface FsckProgress {
  readonly phase: "superblocks" | "journal" | "trees" | "names" | "space";
  readonly done: number;
  /** null when it is not known. */
  readonly total: number | null;
}

export interface FsckOptions {
  readonly onProgress?: (progress: FsckProgress) => void;
  /** Read all data and verify its checksums; true if left out. */
  readonly data?: boolean;
  /** For tests: the largest windows, so that a small volume needs several. */
  readonly windows?: { readonly regions?: number; readonly objects?: number };
}

/** What a check found, ready for JSON. */
export interface FsckReport {
  /** No errors: what the newest checkpoint holds is right, and so is the journal since. */
  readonly clean: boolean;
  /** False when damage or a missing feature kept parts from being checked. */
  readonly complete: boolean;
  readonly pool: string | null;
  readonly uuid: string | null;
  /** Generation of the checkpoint that was checked. */
  readonly checkpoint: number | null;
  /** The journal holds transactions that a mount will replay. */
  readonly needsRecovery: boolean;
  readonly errors: readonly Finding[];
  /** Of all errors; `errors` is capped. */
  readonly errorCount: number;
  readonly errorCodes: Readonly<Record<string, number>>;
  /** What is odd but explained by a crash, or harmless. */
  readonly warnings: readonly Finding[];
  /** What was looked at, by stable name. */
  readonly counts: Readonly<Record<string, number>>;
}

/** What a report is made of. */
export interface Outcome {
  readonly superblock: Superblock | null;
  readonly errors: Findings;
  readonly warnings: Findings;
  readonly complete: boolean;
  readonly needsRecovery?: boolean;
  readonly counts?: Record<string, number>;
}

export function reportOf(outcome: Outcome): FsckReport {
  const { superblock, errors, warnings } = outcome;
  return {
    clean: errors.total === 0,
    complete: outcome.complete,
    pool: superblock?.name ?? null,
    uuid: superblock === null ? null : uuidText(superblock.poolUuid),
    checkpoint: superblock?.sequence ?? null,
    needsRecovery: outcome.needsRecovery ?? false,
    errors: errors.list,
    errorCount: errors.total,
    errorCodes: Object.fromEntries(errors.counts),
    warnings: warnings.list,
    counts: outcome.counts ?? {},
  };
}

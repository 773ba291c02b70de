/**
 * The journal since the checkpoint: every commit that a mount would replay, and whether one that was durable is damaged.
 * Nothing is applied.
 */
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Superblock } from "../format/superblock.ts";
import type { Pool } from "../pool/pool.ts";
import type { Findings } from "./findings.ts";
import {
  findCommitsAbove,
  journalAreaOf,
  journalPositionOf,
  readEntries,
  scanJournal,
} from "./journal_scan.ts";

/**
 * @param options.buffer COMMIT_BYTES_MAX bytes of core memory.
 * @returns Whether there are transactions to replay.
 */
export function* checkJournal(options: {
  core: Core;
  pool: Pool;
  superblock: Superblock;
  buffer: number;
  errors: Findings;
  warnings: Findings;
  counts: Record<string, number>;
}): Task<boolean> {
  const { core, pool, superblock, buffer, errors } = options;
  const area = journalAreaOf(superblock);
  let commits = 0;
  let transactions = 0;
  let pending = 0;
  let next = superblock.transactionSequence;
  let isGap = false;
  try {
    const end = yield* scanJournal(
      core,
      pool,
      area,
      journalPositionOf(superblock),
      buffer,
      (commit) => {
        if (commit.firstTransaction > next && !isGap) {
          isGap = true;
          errors.add(
            "DFS-FSCK-JOURNAL-GAP",
            `Commit ${commit.sequence} follows a checkpoint that is lost: it begins with transaction ${commit.firstTransaction}, not ${next}. A mount is refused`,
            { sequence: commit.sequence, block: area.start + commit.block },
          );
        }
        next = Math.max(next, commit.firstTransaction + commit.transactions);
        if (isGap) return;
        commits++;
        transactions += commit.transactions;
        const first = commit.firstTransaction;
        // The checkpoint may contain what was still waiting for its commit.
        const contained = Math.max(0, superblock.transactionSequence - first);
        pending += Math.max(0, commit.transactions - contained);
        const problem = readEntries(
          core,
          buffer,
          commit.byteLength,
          commit.transactions,
          superblock.geometry,
          () => {},
        );
        if (problem === null) return;
        errors.add("DFS-FSCK-JOURNAL-ENTRY", `A commit cannot be replayed: ${problem}`, {
          sequence: commit.sequence,
          block: area.start + commit.block,
        });
      },
    );
    const [stray] = yield* findCommitsAbove(core, pool, area, end.sequence, buffer);
    if (stray !== undefined) {
      errors.add(
        "DFS-FSCK-JOURNAL-GAP",
        `Commit ${end.sequence} is damaged: commit ${stray.sequence} follows it, so it was durable. A mount is refused`,
        { sequence: end.sequence, block: area.start + end.block },
      );
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    errors.add("DFS-FSCK-JOURNAL-READ", message, { block: area.start });
  }
  options.counts["commits"] = commits;
  options.counts["transactions"] = transactions;
  if (pending > 0) {
    options.warnings.add(
      "DFS-FSCK-NEEDS-RECOVERY",
      `The volume was not unmounted: ${pending} transactions will be replayed when it is mounted`,
      { commits, transactions: pending },
    );
  }
  return pending > 0;
}

/** What a mounted volume counts, gathered from where it is counted: running totals since the mount, ready for JSON. */
import type { HistogramCounts } from "../base/histogram.ts";
import type { OperationStats, Pool } from "../pool/pool.ts";
import type { Store } from "../store/store.ts";
import type { Checkpointer } from "./checkpointer.ts";
import type { Reader } from "./reader.ts";

/** Operations of one kind on a device; latency in microseconds. */
export interface OperationCounts {
  readonly count: number;
  readonly bytes: number;
  readonly latency: HistogramCounts;
}

export interface DeviceCounts {
  readonly name: string;
  readonly inFlight: number;
  readonly inFlightMax: number;
  readonly reads: OperationCounts;
  readonly writes: OperationCounts;
  /** Writes that are durable when they complete: the journal's. */
  readonly durableWrites: OperationCounts;
  readonly flushes: OperationCounts;
  readonly discards: OperationCounts;
}

export interface VolumeStatistics {
  readonly cache: {
    /** Walks down a tree: those that found all their pages in memory, and those that met one which was not. */
    readonly pageHits: number;
    readonly pageMisses: number;
    readonly pageLoads: number;
    /** Blocks that reads asked for, by where they came from. */
    readonly bufferedBlocks: number;
    readonly deviceBlocks: number;
    readonly holeBlocks: number;
  };
  readonly devices: readonly DeviceCounts[];
  readonly journal: {
    readonly commits: number;
    readonly transactions: number;
    readonly records: number;
    readonly bytes: number;
    /** Commits that flushed the device first. */
    readonly flushes: number;
    /** Microseconds from sealed to durable. */
    readonly latency: HistogramCounts;
  };
  readonly checkpoints: {
    readonly count: number;
    readonly pages: number;
    readonly lastMs: number;
    readonly maxMs: number;
    readonly totalMs: number;
  };
}

export function statisticsOf(parts: {
  store: Store;
  reader: Reader;
  checkpointer: Checkpointer;
}): VolumeStatistics {
  const { store, reader, checkpointer } = parts;
  const { journal, pages } = store;
  return {
    cache: {
      pageHits: pages.walks - pages.misses,
      pageMisses: pages.misses,
      pageLoads: pages.loads,
      bufferedBlocks: reader.bufferedBlocks,
      deviceBlocks: reader.deviceBlocks,
      holeBlocks: reader.holeBlocks,
    },
    devices: devicesOf(store.pool),
    journal: {
      commits: journal.commits,
      transactions: journal.committedTransactions,
      records: journal.committedRecords,
      bytes: journal.committedBytes,
      flushes: journal.flushes,
      latency: journal.latency.counts(),
    },
    checkpoints: {
      count: checkpointer.count,
      pages: checkpointer.pages,
      lastMs: checkpointer.lastMs,
      maxMs: checkpointer.maxMs,
      totalMs: checkpointer.totalMs,
    },
  };
}

function devicesOf(pool: Pool): DeviceCounts[] {
  return pool.members.map((member) => ({
    name: member.device.name,
    inFlight: member.inFlight,
    inFlightMax: member.inFlightMax,
    reads: countsOf(member.reads),
    writes: countsOf(member.writes),
    durableWrites: countsOf(member.durableWrites),
    flushes: countsOf(member.flushes),
    discards: countsOf(member.discards),
  }));
}

function countsOf(stats: OperationStats): OperationCounts {
  return { count: stats.count, bytes: stats.bytes, latency: stats.latency.counts() };
}

/**
 * What an engine has counted since it serves, gathered when somebody asks. Only sums and histograms leave it: the command
 * that asks makes rates, differences and percentiles of them (stats_report.ts).
 */
import { performance as nodePerformance } from "node:perf_hooks";
import { setImmediate } from "node:timers";
import { GcCounter, type GcCounts } from "../base/gc_counter.ts";
import type { HistogramCounts } from "../base/histogram.ts";
import type { VolumeStatistics } from "../fs/statistics.ts";
import type { Volume, VolumeStatus } from "../fs/volume.ts";
import type { FuseSession } from "../fuse/session.ts";
import { type FuseCounts, SAMPLE_INTERVAL } from "../fuse/stats.ts";
import type { Reactor } from "../reactor/reactor.ts";
import { type ReactorStats, UringReactor } from "../reactor/uring_reactor.ts";

/** Where the engine's thread spent its time, in milliseconds; null is not known. */
export interface EngineTimes {
  /** Reading requests from the kernel and handing it replies: reckoned from one in `sampledOneIn`. */
  readonly fuseReadMs: number | null;
  readonly fuseReplyMs: number | null;
  /** Handing operations to the kernel for the devices. */
  readonly submitMs: number | null;
  /** Nothing to do but wait for them. */
  readonly deviceWaitMs: number | null;
  /** Looking for work before sleeping. */
  readonly spinMs: number | null;
  readonly idleMs: number | null;
}

export interface EngineStats {
  readonly transport: "kernel" | "fuse-native";
  readonly pool: string;
  /** When counting began, RFC 3339. Another one is another engine, which began at 0. */
  readonly since: string;
  readonly elapsedMs: number;
  readonly sampledOneIn: number;
  readonly fuse: (FuseCounts & { readonly underWay: number; readonly notices: number }) | null;
  readonly times: EngineTimes;
  /** Times the loop slept, and operations handed to the kernel in one call. */
  readonly sleeps: number | null;
  readonly submissions: HistogramCounts | null;
  readonly volume: VolumeStatistics;
  readonly gc: GcCounts | null;
  readonly memory: {
    /** Of the process. */
    readonly rssBytes: number;
    /** Of the engine's JavaScript. */
    readonly heapUsedBytes: number;
    readonly budgetBytes: number;
    readonly pageFrames: number;
    readonly pageFramesFree: number;
    readonly pageFramesDirty: number;
    readonly bufferBlocks: number;
    readonly bufferBlocksFree: number;
    readonly dirtyBlocks: number;
  };
}

/** Reads one engine's counters, from the moment that it is made. */
export class EngineMeter {
  readonly #reactor: Reactor;
  readonly #volume: Volume;
  readonly #session: FuseSession | null;
  readonly #gc: GcCounter | null = GcCounter.start();
  readonly #startMs: number = performance.now();
  readonly #since: string = new Date().toISOString();
  readonly #before: ReactorStats | null;

  /** @param session Null when something else than our own transport serves. */
  constructor(reactor: Reactor, volume: Volume, session: FuseSession | null) {
    this.#reactor = reactor;
    this.#volume = volume;
    this.#session = session;
    this.#before = reactor instanceof UringReactor ? { ...reactor.stats } : null;
  }

  /** Calls back with the totals, when the runtime's notes of its collections have come. */
  read(done: (stats: EngineStats) => void): void {
    const reactor = this.#reactor;
    const finish = (): void => done(this.#stats());
    if (reactor instanceof UringReactor) reactor.passThenCall(finish);
    else setImmediate(finish);
  }

  stop(): void {
    this.#gc?.stop();
  }

  #stats(): EngineStats {
    const session = this.#session;
    const status = this.#volume.status();
    const { memoryBytes, ...cache } = status.cache satisfies VolumeStatus["cache"];
    const fuse = session?.stats.counts() ?? null;
    const reactor = this.#reactor instanceof UringReactor ? this.#reactor : null;
    return {
      transport: session === null ? "fuse-native" : "kernel",
      pool: status.pool,
      since: this.#since,
      elapsedMs: performance.now() - this.#startMs,
      sampledOneIn: SAMPLE_INTERVAL,
      fuse:
        session === null || fuse === null
          ? null
          : { ...fuse, underWay: session.underWay, notices: session.invalidator?.sent ?? 0 },
      times: this.#times(reactor, fuse),
      sleeps: reactor?.stats.sleeps ?? null,
      submissions: reactor?.batches.counts() ?? null,
      volume: this.#volume.statistics(),
      gc: this.#gc?.counts() ?? null,
      memory: {
        rssBytes: process.memoryUsage.rss(),
        heapUsedBytes: process.memoryUsage().heapUsed,
        budgetBytes: memoryBytes,
        ...cache,
      },
    };
  }

  #times(reactor: UringReactor | null, fuse: FuseCounts | null): EngineTimes {
    const before = this.#before;
    if (reactor === null || before === null) {
      // A reactor on the runtime's event loop: that knows when it was idle.
      const { idle } = nodePerformance.eventLoopUtilization();
      return {
        fuseReadMs: null,
        fuseReplyMs: null,
        submitMs: null,
        deviceWaitMs: null,
        spinMs: null,
        idleMs: idle,
      };
    }
    const { stats } = reactor;
    return {
      fuseReadMs: fuse?.readMs ?? null,
      fuseReplyMs: fuse?.replyMs ?? null,
      submitMs: stats.submitMs - before.submitMs,
      deviceWaitMs: stats.waitMs - before.waitMs,
      spinMs: stats.spinMs - before.spinMs,
      idleMs: stats.sleepMs - before.sleepMs,
    };
  }
}

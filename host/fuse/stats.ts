/**
 * What a session did: typed arrays and plain numbers, so that counting allocates nothing, read when somebody asks.
 *
 * Latency is from when a request was read to when its reply was handed to the kernel, of each request: two readings of
 * the clock, some 80 ns. How long the reads and the replies themselves take needs two more, so it is measured for one in
 * SAMPLE_INTERVAL; a prime, lest a program's pattern beats with it.
 */
import { Histogram, type HistogramCounts } from "../base/histogram.ts";
import { OPCODE_COUNT, OPCODE_NAMES } from "./protocol.ts";

/** One read, and one reply, in so many is timed. */
export const SAMPLE_INTERVAL = 13;

/** Requests of one type. */
export interface RequestCounts {
  readonly name: string;
  readonly count: number;
  /** Replies with an error. */
  readonly errors: number;
  /** Microseconds, of those that were answered. */
  readonly latency: HistogramCounts;
}

/** Running totals of a session, ready for JSON. */
export interface FuseCounts {
  readonly requests: readonly RequestCounts[];
  /** By errno. */
  readonly errors: readonly (readonly [errno: number, count: number])[];
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly writesOwned: number;
  readonly retries: number;
  readonly parked: number;
  readonly pauses: number;
  readonly unanswered: number;
  readonly malformed: number;
  readonly refused: number;
  readonly underWayMax: number;
  /** Requests taken at a time. */
  readonly batches: HistogramCounts;
  /** Milliseconds of reading and of replying, reckoned from those that were timed. */
  readonly readMs: number;
  readonly replyMs: number;
}

export class FuseStats {
  /** Requests by opcode; those of opcodes that we do not know at 0. */
  readonly requests: Float64Array<ArrayBuffer> = new Float64Array(OPCODE_COUNT);
  /** Replies with an error, by errno and by opcode. */
  readonly errors: Float64Array<ArrayBuffer> = new Float64Array(512);
  readonly failures: Float64Array<ArrayBuffer> = new Float64Array(OPCODE_COUNT);
  /** Microseconds by opcode. */
  readonly latencies: readonly Histogram[] = Histogram.rows(OPCODE_COUNT);
  /** Requests taken each time that there were any. */
  readonly batches: Histogram = new Histogram();
  /** Payload of READ and WRITE. */
  bytesRead = 0;
  bytesWritten = 0;
  /** WRITE payloads handed over without a copy. */
  writesOwned = 0;
  /** Times a request had to wait for a page, room or a buffer. */
  retries = 0;
  /** Requests that wait just now. */
  parked = 0;
  /** The most requests that were under way at once: parked, or waiting for a completion. */
  underWayMax = 0;
  /** Times reading stopped because no buffer was free. */
  pauses = 0;
  /** Replies that nobody waited for any more. */
  unanswered = 0;
  /** Messages that were not well-formed, and replies that the kernel refused: bugs, on one side or the other. */
  malformed = 0;
  refused = 0;

  /** At 0 the next one is timed. */
  readsUntilSample = 0;
  repliesUntilSample = 0;
  #reads = 0;
  #readsTimed = 0;
  #readMs = 0;
  #replies = 0;
  #repliesTimed = 0;
  #replyMs = 0;

  get total(): number {
    let total = 0;
    for (const count of this.requests) total += count;
    return total;
  }

  /**
   * A request has been read.
   *
   * @param beforeMs The time before it was, or 0 when this one is not timed.
   * @returns The time.
   */
  taken(beforeMs: number): number {
    const nowMs = performance.now();
    this.#reads += 1;
    if (this.readsUntilSample > 0) this.readsUntilSample -= 1;
    else if (beforeMs > 0) {
      this.readsUntilSample = SAMPLE_INTERVAL - 1;
      this.#readsTimed += 1;
      this.#readMs += nowMs - beforeMs;
    }
    return nowMs;
  }

  /** A reply has been handed to the kernel. @param beforeMs As for taken(). */
  replied(beforeMs: number): void {
    this.#replies += 1;
    if (this.repliesUntilSample > 0) this.repliesUntilSample -= 1;
    else if (beforeMs > 0) {
      this.repliesUntilSample = SAMPLE_INTERVAL - 1;
      this.#repliesTimed += 1;
      this.#replyMs += performance.now() - beforeMs;
    }
  }

  /** The request that was read at `startedMs` has its reply. */
  answered(opcode: number, startedMs: number): void {
    const histogram = this.latencies[opcode < OPCODE_COUNT ? opcode : 0] as Histogram;
    histogram.record((performance.now() - startedMs) * 1000);
  }

  failed(opcode: number, errno: number): void {
    const { errors, failures } = this;
    const index = opcode < OPCODE_COUNT ? opcode : 0;
    errors[errno] = (errors[errno] as number) + 1;
    failures[index] = (failures[index] as number) + 1;
  }

  /** By name, without what never happened: for logs and benchmarks. */
  toCounters(): Record<string, number> {
    const { requests, errors: _errors, batches: _batches, ...counters } = this.counts();
    return {
      ...counters,
      ...Object.fromEntries(requests.map(({ name, count }) => [name, count])),
    };
  }

  counts(): FuseCounts {
    const requests: RequestCounts[] = [];
    this.requests.forEach((count, opcode) => {
      if (count === 0) return;
      const name = opcode === 0 ? "unknown" : (OPCODE_NAMES[opcode] as string);
      const errors = this.failures[opcode] as number;
      requests.push({
        name,
        count,
        errors,
        latency: (this.latencies[opcode] as Histogram).counts(),
      });
    });
    const errors: [number, number][] = [];
    this.errors.forEach((count, errno) => {
      if (count > 0) errors.push([errno, count]);
    });
    return {
      requests,
      errors,
      bytesRead: this.bytesRead,
      bytesWritten: this.bytesWritten,
      writesOwned: this.writesOwned,
      retries: this.retries,
      parked: this.parked,
      pauses: this.pauses,
      unanswered: this.unanswered,
      malformed: this.malformed,
      refused: this.refused,
      underWayMax: this.underWayMax,
      batches: this.batches.counts(),
      readMs: (this.#readMs / Math.max(1, this.#readsTimed)) * this.#reads,
      replyMs: (this.#replyMs / Math.max(1, this.#repliesTimed)) * this.#replies,
    };
  }
}

/** Counts of what a session did: typed arrays and plain numbers, so that counting costs nothing. */
import { OPCODE_COUNT, OPCODE_NAMES } from "./protocol.ts";

export class FuseStats {
  /** Requests by opcode; those of opcodes that we do not know at 0. */
  readonly requests: Float64Array<ArrayBuffer> = new Float64Array(OPCODE_COUNT);
  /** Replies with an error, by errno. */
  readonly errors: Float64Array<ArrayBuffer> = new Float64Array(512);
  /** Payload of READ and WRITE. */
  bytesRead = 0;
  bytesWritten = 0;
  /** WRITE payloads handed over without a copy. */
  writesOwned = 0;
  /** Times a request had to wait for a page, room or a buffer. */
  retries = 0;
  /** Requests that wait just now. */
  parked = 0;
  /** Times reading stopped because no buffer was free. */
  pauses = 0;
  /** Replies that nobody waited for any more. */
  unanswered = 0;
  /** Messages that were not well-formed, and replies that the kernel refused: bugs, on one side or the other. */
  malformed = 0;
  refused = 0;

  get total(): number {
    let total = 0;
    for (const count of this.requests) total += count;
    return total;
  }

  /** By name, without what never happened: for status output and metrics. */
  toCounters(): Record<string, number> {
    const counters: Record<string, number> = {
      bytesRead: this.bytesRead,
      bytesWritten: this.bytesWritten,
      writesOwned: this.writesOwned,
      retries: this.retries,
      parked: this.parked,
      pauses: this.pauses,
      unanswered: this.unanswered,
      malformed: this.malformed,
      refused: this.refused,
    };
    this.requests.forEach((count, opcode) => {
      if (count > 0) counters[opcode === 0 ? "unknown" : (OPCODE_NAMES[opcode] as string)] = count;
    });
    return counters;
  }
}

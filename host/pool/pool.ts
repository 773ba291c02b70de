/**
 * The devices of a volume as one address space of (device index, block), with their error counters. Knows no format but
 * the block size.
 */
import { Histogram } from "../base/histogram.ts";
import { all, type Wait } from "../base/task.ts";
import type { Device, Done } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";

/** Operations of one kind on a device. */
export class OperationStats {
  count = 0;
  bytes = 0;
  /** Microseconds from when it was started to when it had completed. */
  readonly latency: Histogram = new Histogram();

  note(byteLength: number, ms: number): void {
    this.count += 1;
    this.bytes += byteLength;
    this.latency.record(ms * 1000);
  }
}

export class Member {
  readonly device: Device;
  readonly reads: OperationStats = new OperationStats();
  readonly writes: OperationStats = new OperationStats();
  readonly durableWrites: OperationStats = new OperationStats();
  readonly flushes: OperationStats = new OperationStats();
  readonly discards: OperationStats = new OperationStats();
  /** Operations under way, and the most there have been. */
  inFlight = 0;
  inFlightMax = 0;
  readErrors = 0;
  writeErrors = 0;
  checksumErrors = 0;
  /** Writes that have completed. */
  completedWrites = 0;
  /** Of those, the ones that are durable: no power cut can undo them. Flushes overlap, so this is no difference. */
  flushedWrites = 0;

  constructor(device: Device) {
    this.device = device;
  }

  begin(): void {
    this.inFlight += 1;
    if (this.inFlight > this.inFlightMax) this.inFlightMax = this.inFlight;
  }
}

export class Pool {
  readonly members: readonly Member[];
  readonly #nowMs: () => number;

  /** @param nowMs A monotonic clock, for latencies; without it they are 0. */
  constructor(devices: readonly Device[], nowMs: () => number = () => 0) {
    this.#nowMs = nowMs;
    this.members = devices.map((device) => new Member(device));
  }

  member(index: number): Member | undefined {
    return this.members[index];
  }

  read(deviceIndex: number, block: number, address: number, byteLength: number, done: Done): void {
    const member = this.members[deviceIndex] as Member;
    const startMs = this.#nowMs();
    member.begin();
    member.device.read(block * BLOCK_BYTES, address, byteLength, (status) => {
      member.inFlight--;
      member.reads.note(byteLength, this.#nowMs() - startMs);
      if (status < 0) member.readErrors++;
      done(status);
    });
  }

  write(deviceIndex: number, block: number, address: number, byteLength: number, done: Done): void {
    const member = this.members[deviceIndex] as Member;
    const startMs = this.#nowMs();
    member.begin();
    member.device.write(block * BLOCK_BYTES, address, byteLength, (status) => {
      member.inFlight--;
      member.writes.note(byteLength, this.#nowMs() - startMs);
      if (status < 0) member.writeErrors++;
      member.completedWrites++;
      done(status);
    });
  }

  writeVector(
    deviceIndex: number,
    block: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void {
    const member = this.members[deviceIndex] as Member;
    let total = 0;
    for (const byteLength of byteLengths) total += byteLength;
    const startMs = this.#nowMs();
    member.begin();
    member.device.writeVector(block * BLOCK_BYTES, addresses, byteLengths, (status) => {
      member.inFlight--;
      member.writes.note(total, this.#nowMs() - startMs);
      if (status < 0) member.writeErrors++;
      member.completedWrites++;
      done(status);
    });
  }

  /** A write that is durable when it completes; it leaves what `flush` has to do as it is. */
  writeDurable(
    deviceIndex: number,
    block: number,
    address: number,
    byteLength: number,
    done: Done,
  ): void {
    const member = this.members[deviceIndex] as Member;
    const startMs = this.#nowMs();
    member.begin();
    member.device.writeDurable(block * BLOCK_BYTES, address, byteLength, (status) => {
      member.inFlight--;
      member.durableWrites.note(byteLength, this.#nowMs() - startMs);
      if (status < 0) member.writeErrors++;
      done(status);
    });
  }

  discard(deviceIndex: number, block: number, blockCount: number, done: Done): void {
    const member = this.members[deviceIndex] as Member;
    const byteLength = blockCount * BLOCK_BYTES;
    const startMs = this.#nowMs();
    member.begin();
    member.device.discard(block * BLOCK_BYTES, byteLength, (status) => {
      member.inFlight--;
      member.discards.note(byteLength, this.#nowMs() - startMs);
      done(status);
    });
  }

  /** Monotonic milliseconds, 0 without a clock. */
  nowMs(): number {
    return this.#nowMs();
  }

  /** Whether some completed write could still be undone by a power cut. */
  get hasUnflushedWrites(): boolean {
    for (const member of this.members)
      if (member.completedWrites > member.flushedWrites) return true;
    return false;
  }

  /** Barrier: completes when every write that had completed before is durable on its device. */
  flush(): Wait {
    return all(
      this.members.map((member) => (resume: (status: number) => void) => {
        const before = member.completedWrites;
        const startMs = this.#nowMs();
        member.begin();
        member.device.flush((status) => {
          member.inFlight--;
          member.flushes.note(0, this.#nowMs() - startMs);
          if (status < 0) member.writeErrors++;
          else member.flushedWrites = Math.max(member.flushedWrites, before);
          resume(status);
        });
      }),
    );
  }
}

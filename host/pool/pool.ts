/**
 * The devices of a volume as one address space of (device index, block), with their error counters. Knows no format but
 * the block size.
 */
import { all, type Wait } from "../base/task.ts";
import type { Device, Done } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";

export class Member {
  readonly device: Device;
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
}

export class Pool {
  readonly members: readonly Member[];

  constructor(devices: readonly Device[]) {
    this.members = devices.map((device) => new Member(device));
  }

  member(index: number): Member | undefined {
    return this.members[index];
  }

  read(deviceIndex: number, block: number, address: number, byteLength: number, done: Done): void {
    const member = this.members[deviceIndex] as Member;
    member.device.read(block * BLOCK_BYTES, address, byteLength, (status) => {
      if (status < 0) member.readErrors++;
      done(status);
    });
  }

  write(deviceIndex: number, block: number, address: number, byteLength: number, done: Done): void {
    const member = this.members[deviceIndex] as Member;
    member.device.write(block * BLOCK_BYTES, address, byteLength, (status) => {
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
    member.device.writeVector(block * BLOCK_BYTES, addresses, byteLengths, (status) => {
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
    member.device.writeDurable(block * BLOCK_BYTES, address, byteLength, (status) => {
      if (status < 0) member.writeErrors++;
      done(status);
    });
  }

  discard(deviceIndex: number, block: number, blockCount: number, done: Done): void {
    const member = this.members[deviceIndex] as Member;
    member.device.discard(block * BLOCK_BYTES, blockCount * BLOCK_BYTES, done);
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
        member.device.flush((status) => {
          if (status < 0) member.writeErrors++;
          else member.flushedWrites = Math.max(member.flushedWrites, before);
          resume(status);
        });
      }),
    );
  }
}

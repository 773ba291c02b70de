/**
 * What the pool needs of a disk. Buffers are addresses in the core's memory; offsets and lengths are multiples of the
 * device's block size (4,096 here, as O_DIRECT wants). A completion is called exactly once, never before the call
 * returns on real devices, with 0 or −errno; a short transfer is completed by the device or reported as −EIO.
 *
 * Writes that complete are durable only after a later flush completes (write-back caches; POSIX fdatasync, NVMe flush).
 */
export type Done = (status: number) => void;

export interface Device {
  /** For messages: a path, "mem", "sim". */
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** A power of two ≤ 4,096: the unit that a power cut cannot tear. */
  readonly sectorBytes: number;
  read(offsetBytes: number, address: number, byteLength: number, done: Done): void;
  write(offsetBytes: number, address: number, byteLength: number, done: Done): void;
  /** Gathers buffers into one contiguous write. The arrays are the device's until completion; 1 to 64 entries. */
  writeVector(
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void;
  /**
   * A write that is durable when it completes (RWF_DSYNC, FUA); of other writes it says nothing, but none to the same
   * place that completed before can undo it. Costs less than a write and a flush after it.
   */
  writeDurable(offsetBytes: number, address: number, byteLength: number, done: Done): void;
  flush(done: Done): void;
  /** Tells that a range is unused (BLKDISCARD, hole punch). Advice: may do nothing. */
  discard(offsetBytes: number, byteLength: number, done: Done): void;
  /** Releases the descriptor and the exclusive lock. No I/O may be under way. */
  close(): void;
}

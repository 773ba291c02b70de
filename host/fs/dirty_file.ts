/** An extent that was planned and whose pieces have not all ended. */
export interface Flight {
  readonly fileBlock: number;
  readonly blockCount: number;
  /** When it was planned the journal held its data. */
  readonly isLogged: boolean;
  /** Blocks whose pieces have not ended. */
  left: number;
}

/** A file with buffered data: what is newer in memory than in the tree. */
export class DirtyFile {
  readonly ino: number;
  /** Map of the coalescer. */
  readonly map: number;
  size: number;
  mtime = 0;
  mtimeNs = 0;
  ctime = 0;
  ctimeNs = 0;
  /** The buffered times are newer than the inode's. */
  timesDirty = false;
  /** Pieces whose write, or the transaction after it, is under way. */
  inFlight = 0;
  /** Blocks written since the last fsync, as pairs (first block, count); null: too many to list. */
  unlogged: number[] | null = [];
  unloggedBlocks = 0;
  /** Blocks whose data the journal holds although no extent does. */
  readonly logged: Set<number> = new Set();
  /** Planned extents that are being written. */
  readonly flights: Flight[] = [];
  /** Where the last extent on disk ended: the goal of the next. */
  goal = 0;
  /** FS_*_FL of its inode. */
  flags = 0;
  /** It may have unwritten extents. */
  isPreallocated = false;
  /** Its blocks may belong to other files too. */
  isShared = false;
  /** Free blocks when a write last waited for a checkpoint because space had run out; −1: none did. */
  freeBlocksBefore = -1;
  /** Bytes of block 0 may lie in an INLINE item. */
  hasInline = false;
  /** Counts what changed its contents: what was read before a change must not be buffered after it. */
  changes = 0;
  /** Its map is destroyed: nothing is buffered any more. */
  gone = false;
  /** Being freed: no new writes. */
  closed = false;
  /** −errno of a write that failed, until someone has been told. */
  error = 0;
  #idleWaiters: ((status: number) => void)[] = [];

  constructor(ino: number, map: number, size: number) {
    this.ino = ino;
    this.map = map;
    this.size = size;
  }

  /**
   * Whether the unlogged blocks may be logged while extents are being written: all that is in flight is in the journal
   * already, and none of it is older data of these blocks, whose extent would follow them there.
   */
  get canLogNow(): boolean {
    if (this.inFlight === 0) return true;
    const unlogged = this.unlogged;
    if (unlogged === null) return false;
    for (const flight of this.flights) {
      if (!flight.isLogged) return false;
      const end = flight.fileBlock + flight.blockCount;
      for (let i = 0; i < unlogged.length; i += 2) {
        const first = unlogged[i] as number;
        if (first < end && first + (unlogged[i + 1] as number) > flight.fileBlock) return false;
      }
    }
    return true;
  }

  /** Blocks of a flight have been written, or will not be. */
  landed(flight: Flight, count: number): void {
    flight.left -= count;
    if (flight.left > 0) return;
    const last = this.flights.pop() as Flight;
    if (last !== flight) this.flights[this.flights.indexOf(flight)] = last;
  }

  noteWritten(block: number, count: number): void {
    this.changes++;
    this.unloggedBlocks += count;
    const list = this.unlogged;
    if (list === null) return;
    const last = list.length - 2;
    if (last >= 0 && (list[last] as number) + (list[last + 1] as number) === block) {
      list[last + 1] = (list[last + 1] as number) + count;
      return;
    }
    if (list.length >= UNLOGGED_RUNS_MAX * 2) this.unlogged = null;
    else list.push(block, count);
  }

  whenIdle(resume: (status: number) => void): void {
    if (this.inFlight === 0) resume(0);
    else this.#idleWaiters.push(resume);
  }

  pieceDone(): void {
    this.inFlight--;
    if (this.inFlight > 0) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resume of waiters) resume(0);
  }
}

const UNLOGGED_RUNS_MAX = 64;

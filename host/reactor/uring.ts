/**
 * The io_uring rings as typed arrays over mapped memory: submission entries are written, completions read, without a
 * call; `enter` is the one system call. No policy here: see uring_reactor.ts.
 *
 * Only the thread that made a ring may use it (IORING_SETUP_SINGLE_ISSUER).
 *
 * @see linux/io_uring.h, io_uring_setup(2), io_uring_enter(2)
 */
import { setU64 } from "../base/bytes.ts";
import { EAGAIN, EBUSY, EINTR, EINVAL, EOPNOTSUPP, errnoName } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Libc } from "./libc.ts";
import { MAP_POPULATE, MAP_SHARED, type Mapping, PROT_READ, PROT_WRITE } from "./libc.ts";

export const OP_NOP = 0;
export const OP_WRITEV = 2;
export const OP_FSYNC = 3;
export const OP_POLL_ADD = 6;
export const OP_POLL_REMOVE = 7;
export const OP_FALLOCATE = 17;
export const OP_READ = 22;
export const OP_WRITE = 23;
export const OP_URING_CMD = 46;

/** linux/fs.h, for the flags of a write. */
export const RWF_DSYNC = 2;
export const FSYNC_DATASYNC = 1;
/** _IO(0x12, 0): discards a range of a block device, Linux 6.12. */
export const BLOCK_URING_CMD_DISCARD = 0x1200;

const SETUP_CQSIZE = 1 << 3;
const SETUP_CLAMP = 1 << 4;
const SETUP_SUBMIT_ALL = 1 << 7;
const SETUP_COOP_TASKRUN = 1 << 8;
const SETUP_TASKRUN_FLAG = 1 << 9;
const SETUP_SINGLE_ISSUER = 1 << 12;
const SETUP_DEFER_TASKRUN = 1 << 13;

const FEAT_SINGLE_MMAP = 1 << 0;
const FEAT_NODROP = 1 << 1;
const FEAT_EXT_ARG = 1 << 8;
const FEATURES_NEEDED = FEAT_SINGLE_MMAP | FEAT_NODROP | FEAT_EXT_ARG;

const ENTER_GETEVENTS = 1 << 0;
const ENTER_EXT_ARG = 1 << 3;

const SQ_CQ_OVERFLOW = 1 << 1;
const SQ_TASKRUN = 1 << 2;

const OFF_SQ_RING = 0;
const OFF_SQES = 0x1000_0000;

const ETIME = 62;

/** Best first: a kernel refuses flags that it does not know, so each step leaves out the newer ones. */
const SETUP_FLAGS: readonly number[] = [
  // Linux 6.1: completions are processed only when we ask for them, so nothing interrupts the thread.
  SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN | SETUP_TASKRUN_FLAG | SETUP_SUBMIT_ALL,
  // Linux 5.19.
  SETUP_COOP_TASKRUN | SETUP_TASKRUN_FLAG | SETUP_SUBMIT_ALL,
  0,
];

/** IOSQE_ASYNC, to be added to an opcode: the entry's flags are the byte behind it. */
export const SQE_ASYNC = 0x1000;

export class Uring {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #rings: Int32Array;
  readonly #ringsAddress: number;
  readonly #ringsBytes: number;
  readonly #sqes: Int32Array;
  readonly #sqesAddress: number;
  readonly #sqesBytes: number;
  readonly #wait: Mapping;
  readonly #waitView: DataView;
  readonly #sqMask: number;
  readonly #sqEntries: number;
  readonly #cqMask: number;
  // Indexes of u32 words in #rings.
  readonly #sqHeadAt: number;
  readonly #sqTailAt: number;
  readonly #sqFlagsAt: number;
  readonly #cqHeadAt: number;
  readonly #cqTailAt: number;
  readonly #cqesAt: number;
  #sqTail = 0;
  #cqHead = 0;
  #closed = false;

  /** The flags that the kernel took, for messages. */
  readonly setupFlags: number;

  /** Of the completion that next() took. */
  userLow = 0;
  userHigh = 0;
  result = 0;

  /**
   * @param sqEntryCount Entries that one submission can hold, a power of two.
   * @param cqEntryCount Completions that can wait, a power of two; more are kept by the kernel until there is room.
   * @throws {FsError} EOPNOTSUPP where io_uring is missing, forbidden or too old (before Linux 5.11).
   */
  constructor(libc: Libc, sqEntryCount: number, cqEntryCount: number) {
    this.#libc = libc;
    const params = new Uint8Array(120);
    const view = new DataView(params.buffer);
    let fd = -EINVAL;
    let flags = 0;
    for (const candidate of SETUP_FLAGS) {
      params.fill(0);
      flags = candidate | SETUP_CQSIZE | SETUP_CLAMP;
      view.setUint32(4, cqEntryCount, true);
      view.setUint32(8, flags, true);
      fd = libc.ioUringSetup(sqEntryCount, params);
      if (fd !== -EINVAL) break;
    }
    if (fd < 0) {
      throw new FsError(
        EOPNOTSUPP,
        "reactor/no-io-uring",
        `Cannot set up io_uring: ${errnoName(fd)} (see /proc/sys/kernel/io_uring_disabled and the container's seccomp profile)`,
      );
    }
    this.#fd = fd;
    this.setupFlags = flags;
    const features = view.getUint32(20, true);
    if ((features & FEATURES_NEEDED) !== FEATURES_NEEDED) {
      libc.close(fd);
      throw new FsError(
        EOPNOTSUPP,
        "reactor/io-uring-too-old",
        `Cannot use this kernel's io_uring: features are 0x${features.toString(16)}, needs Linux 5.11`,
      );
    }
    this.#sqEntries = view.getUint32(0, true);
    const cqEntries = view.getUint32(4, true);
    // struct io_sqring_offsets is at 40, struct io_cqring_offsets at 80.
    const sqArrayOffset = view.getUint32(40 + 24, true);
    const cqesOffset = view.getUint32(80 + 20, true);
    this.#ringsBytes = Math.max(sqArrayOffset + this.#sqEntries * 4, cqesOffset + cqEntries * 16);
    this.#sqesBytes = this.#sqEntries * 64;
    this.#ringsAddress = this.#mapRing(this.#ringsBytes, OFF_SQ_RING);
    this.#sqesAddress = this.#mapRing(this.#sqesBytes, OFF_SQES);
    this.#rings = new Int32Array(libc.viewAt(this.#ringsAddress, this.#ringsBytes));
    this.#sqes = new Int32Array(libc.viewAt(this.#sqesAddress, this.#sqesBytes));
    this.#sqHeadAt = view.getUint32(40, true) >>> 2;
    this.#sqTailAt = view.getUint32(44, true) >>> 2;
    this.#sqFlagsAt = view.getUint32(56, true) >>> 2;
    this.#cqHeadAt = view.getUint32(80, true) >>> 2;
    this.#cqTailAt = view.getUint32(84, true) >>> 2;
    this.#cqesAt = cqesOffset >>> 2;
    this.#sqMask = this.#sqEntries - 1;
    this.#cqMask = cqEntries - 1;
    // The indirection is the identity for ever.
    for (let index = 0; index < this.#sqEntries; index += 1) {
      this.#rings[(sqArrayOffset >>> 2) + index] = index;
    }
    this.#wait = libc.map(4096);
    this.#waitView = new DataView(this.#wait.buffer);
    // struct io_uring_getevents_arg at 0, its struct __kernel_timespec at 64.
    setU64(this.#waitView, 16, this.#wait.address + 64);
  }

  #mapRing(byteLength: number, offset: number): number {
    const address = this.#libc.mmap(
      0,
      byteLength,
      PROT_READ | PROT_WRITE,
      MAP_SHARED | MAP_POPULATE,
      this.#fd,
      offset,
    );
    if (address < 0) {
      this.#libc.close(this.#fd);
      throw new FsError(
        -address,
        "reactor/ring-not-mapped",
        `Cannot map ${byteLength} bytes of io_uring rings: ${errnoName(address)}`,
      );
    }
    return address;
  }

  /** Entries that can be prepared before the next submit. */
  get room(): number {
    const head = Atomics.load(this.#rings, this.#sqHeadAt);
    return this.#sqEntries - ((this.#sqTail - head) | 0);
  }

  /** Entries prepared and not submitted. */
  get prepared(): number {
    return (this.#sqTail - Atomics.load(this.#rings, this.#sqHeadAt)) | 0;
  }

  /**
   * Writes a submission entry. The caller has seen that there is room.
   *
   * @param offset The entry's `off`, a safe integer.
   * @param address Its `addr`: an absolute address, or what the operation takes there.
   * @param operationFlags Its flags at byte 28 (rw_flags, fsync_flags, poll32_events).
   * @param address3 Its `addr3`, for URING_CMD.
   */
  prepare(
    opcode: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    operationFlags: number,
    userLow: number,
    userHigh: number,
    address3: number,
  ): void {
    const sqes = this.#sqes;
    const at = (this.#sqTail & this.#sqMask) << 4;
    sqes[at] = opcode;
    sqes[at + 1] = fd;
    sqes[at + 2] = offset;
    sqes[at + 3] = offset / 0x1_0000_0000;
    sqes[at + 4] = address;
    sqes[at + 5] = address / 0x1_0000_0000;
    sqes[at + 6] = length;
    sqes[at + 7] = operationFlags;
    sqes[at + 8] = userLow;
    sqes[at + 9] = userHigh;
    sqes[at + 10] = 0;
    sqes[at + 11] = 0;
    sqes[at + 12] = address3;
    sqes[at + 13] = address3 / 0x1_0000_0000;
    sqes[at + 14] = 0;
    sqes[at + 15] = 0;
    this.#sqTail = (this.#sqTail + 1) | 0;
  }

  /** Whether next() would find something, or the kernel has something that it posts when it is entered. */
  get ready(): boolean {
    return (
      Atomics.load(this.#rings, this.#cqTailAt) !== this.#cqHead ||
      (Atomics.load(this.#rings, this.#sqFlagsAt) & (SQ_TASKRUN | SQ_CQ_OVERFLOW)) !== 0
    );
  }

  /** Where completions end just now: next() is called until it gets there, so that a turn is bounded. */
  get completionTail(): number {
    return Atomics.load(this.#rings, this.#cqTailAt);
  }

  /** Takes a completion into userLow, userHigh and result. Returns false when `tail` is reached. */
  next(tail: number): boolean {
    const head = this.#cqHead;
    if (head === tail) return false;
    const at = this.#cqesAt + ((head & this.#cqMask) << 2);
    this.userLow = this.#rings[at] as number;
    this.userHigh = this.#rings[at + 1] as number;
    this.result = this.#rings[at + 2] as number;
    this.#cqHead = (head + 1) | 0;
    Atomics.store(this.#rings, this.#cqHeadAt, this.#cqHead);
    return true;
  }

  /** Submits what is prepared and lets the kernel post what it holds back. Returns false when there was neither. */
  submit(): boolean {
    const count = this.prepared;
    if (
      count === 0 &&
      (Atomics.load(this.#rings, this.#sqFlagsAt) & (SQ_TASKRUN | SQ_CQ_OVERFLOW)) === 0
    ) {
      return false;
    }
    Atomics.store(this.#rings, this.#sqTailAt, this.#sqTail);
    this.#check(this.#libc.ioUringEnter(this.#fd, count, 0, ENTER_GETEVENTS, 0, 0));
    return true;
  }

  /**
   * Submits what is prepared and sleeps until there is a completion.
   *
   * @param timeoutMs At most so long; Infinity for ever.
   */
  wait(timeoutMs: number): void {
    Atomics.store(this.#rings, this.#sqTailAt, this.#sqTail);
    let flags = ENTER_GETEVENTS;
    let address = 0;
    let byteLength = 0;
    if (timeoutMs !== Number.POSITIVE_INFINITY) {
      const seconds = Math.floor(timeoutMs / 1000);
      setU64(this.#waitView, 64, seconds);
      setU64(this.#waitView, 72, Math.floor((timeoutMs - seconds * 1000) * 1e6));
      flags |= ENTER_EXT_ARG;
      address = this.#wait.address;
      byteLength = 24;
    }
    this.#check(this.#libc.ioUringEnter(this.#fd, this.prepared, 1, flags, address, byteLength));
  }

  #check(status: number): void {
    // Busy: completions must be taken first. Again: no memory for requests just now. Both pass by themselves.
    if (
      status >= 0 ||
      status === -ETIME ||
      status === -EINTR ||
      status === -EBUSY ||
      status === -EAGAIN
    ) {
      return;
    }
    throw new FsError(
      -status,
      "reactor/enter-failed",
      `Cannot enter io_uring: ${errnoName(status)}`,
    );
  }

  /** Closes the ring; the kernel cancels what is under way. Its memory may still be written until that is done. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#libc.close(this.#fd);
    this.#libc.munmap(this.#ringsAddress, this.#ringsBytes);
    this.#libc.munmap(this.#sqesAddress, this.#sqesBytes);
    this.#libc.munmap(this.#wait.address, 4096);
  }
}

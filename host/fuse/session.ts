/**
 * A mounted session: reads requests from the FUSE channel, runs them, answers at once.
 *
 * Buffers. Requests are read into slots of 65 blocks from the file system's data pool, at 80 bytes before the second
 * block, so that the payload of a WRITE begins on a block (O_DIRECT) and can be handed over with its slot. Everything
 * else is done with a slot when its handler returns, and the slot takes the next request. A request that must wait
 * (Retry) moves to a small parking buffer, or keeps its slot if it is large; then another slot goes on. One spare slot
 * is held back, so that a write that waits for room does not keep fsync from getting through. When there is no slot
 * the session stops reading until the pool has room.
 *
 * Invariants:
 * - One request is run at a time, from the reactor's loop only; what waits is run again from the loop, never from
 *   inside the call that ended the wait.
 * - Every request gets exactly one reply, or none if its opcode has none. An error of ours becomes EIO, never silence:
 *   a request without a reply would hang a process for ever.
 * - Each entry in a reply is remembered once in the file system; if nobody took the reply, it is forgotten again.
 * - Nothing here may touch the mounted tree (stat, umount): the kernel would ask us, and we would wait for ourselves.
 * - A session hands its channel over to another (over an engine that was opened anew) only when nothing is under way:
 *   what the kernel asks meanwhile waits in the channel, and nobody sees the change.
 */
import { AssertionError, assert } from "../base/assert.ts";
import { setU64 } from "../base/bytes.ts";
import {
  EAGAIN,
  EINTR,
  EIO,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOSYS,
  ENXIO,
  EPROTO,
  errnoName,
} from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { Retry } from "../base/retry.ts";
import type { Core } from "../core/core.ts";
import { Attributes, type FileSystem, type ReadResult } from "../fs/file_system.ts";
import { fixedProblem } from "../fs/inode_flags.ts";
import { type Libc, libc } from "../reactor/libc.ts";
import type { Reactor, Source } from "../reactor/reactor.ts";
import { Dispatcher } from "./dispatch.ts";
import { Invalidator } from "./invalidate.ts";
import { type Later, NO_REPLY, SLOT_BLOCKS } from "./later.ts";
import {
  type MountChoices,
  type MountedChannel,
  mountChannel,
  raiseReadAhead,
  startUnmount,
} from "./mount.ts";
import { type Answer, negotiate } from "./negotiate.ts";
import {
  BLOCK_BYTES,
  ECONNABORTED,
  ERROR_MAX,
  FUSE_BATCH_FORGET,
  FUSE_COPY_FILE_RANGE,
  FUSE_FORGET,
  FUSE_INIT,
  FUSE_INIT_EXT,
  FUSE_INTERRUPT,
  FUSE_MAJOR,
  FUSE_STATX,
  IN_HEADER_BYTES,
  INIT_IN_BYTES_MIN,
  INIT_IN_FLAGS,
  INIT_IN_FLAGS2,
  INIT_OUT_BYTES,
  INIT_OUT_CONGESTION,
  INIT_OUT_FLAGS,
  INIT_OUT_FLAGS2,
  INIT_OUT_MAX_BACKGROUND,
  INIT_OUT_MAX_PAGES,
  INIT_OUT_MAX_READAHEAD,
  INIT_OUT_MAX_WRITE,
  INIT_OUT_TIME_GRAN,
  MAX_WRITE_BYTES,
  OPCODE_COUNT,
  OUT_HEADER_BYTES,
  opcodeName,
  SEEK_DATA,
  WRITE_IN_BYTES,
} from "./protocol.ts";
import { Reply } from "./reply.ts";
import { Request } from "./request.ts";
import { Shown, type ShownChoices } from "./shown.ts";
import { FuseStats } from "./stats.ts";

/** Where in a slot a request begins: the payload of a WRITE then lies on a block. */
const MESSAGE_AT: number = BLOCK_BYTES - IN_HEADER_BYTES - WRITE_IN_BYTES;
const MESSAGE_BYTES_MAX: number = IN_HEADER_BYTES + WRITE_IN_BYTES + MAX_WRITE_BYTES;
/** Requests taken in a turn before the loop sees to completions and hands over what they started: few, as there. */
const REQUESTS_PER_POLL = 4;

// What a session takes from the pool for itself: replies (128 KiB of directory at most), iovecs, parking.
const REPLY_BLOCKS = 33;
const VECTOR_BLOCKS = 5;
const PARKING_BYTES = 8192;
const PARKING_COUNT = 32;
const NOTICE_BLOCKS = 2;
const PARKING_BLOCKS: number = (PARKING_COUNT * PARKING_BYTES) / BLOCK_BYTES;
const NOTICES_AT: number = (REPLY_BLOCKS + VECTOR_BLOCKS + PARKING_BLOCKS) * BLOCK_BYTES;
const OWN_BLOCKS: number = REPLY_BLOCKS + VECTOR_BLOCKS + PARKING_BLOCKS + NOTICE_BLOCKS;
/** Times that a hole is looked for again because the kernel had data there. */
const SEEK_ROUNDS_MAX = 16;
/** UIO_MAXIOV of the kernel, less one for the header. */
const PARTS_MAX = 1023;
/** Slots that wait with large requests, at most: more would take the room that they wait for. */
const PARKED_SLOTS_MAX = 4;
/** Different messages of unexpected errors that are logged; all are counted. */
const FAILURES_LOGGED_MAX = 64;

/** Timeouts of names and attributes: a generation, since every change passes through us. */
const UNLIMITED_SECONDS = 1_000_000_000;

export type FuseLog = (
  level: "info" | "warn" | "error",
  event: string,
  fields: Record<string, unknown>,
) => void;

/** Why a session ended: unmounted, or the connection was aborted (umount -f, /sys/fs/fuse), or the channel failed. */
export type EndReason = "unmounted" | "aborted" | "failed";

export interface FuseSessionOptions {
  readonly reactor: Reactor;
  readonly core: Core;
  readonly fs: FileSystem;
  readonly log: FuseLog;
  readonly readOnly: boolean;
  /** Let the kernel buffer writes. Default true. */
  readonly writeback?: boolean;
  /** Be told of each read: nothing is read from the kernel's cache. Default false. */
  readonly everyRead?: boolean;
  /** Seconds that the kernel may keep attributes and names; default unlimited. Others are for measurements. */
  readonly attributeSeconds?: number;
  readonly entrySeconds?: number;
  /** Default: as they are stored. */
  readonly shown?: ShownChoices;
  /** Default "none"; see FuseSession.durability. */
  readonly durability?: Durability;
}

/**
 * Which changes are answered only when they are durable: none, those of names (dirsync), or all (sync). Data that the
 * kernel buffers is not changed yet; mounted with sync it asks for an fsync after each write(2).
 */
export type Durability = "none" | "names" | "all";

/** A mount on its way from one session to the next. */
export interface HandedChannel extends MountedChannel {
  /** Null when the kernel has not asked yet. */
  readonly answer: Answer | null;
  /** What the kernel holds, by inode: the next file system must know. */
  readonly references: ReadonlyMap<number, number>;
}

/** A request that waits: its message lies in a parking buffer or still in its slot. */
interface Parked {
  address: number;
  byteLength: number;
  /** The slot, or 0 with a parking buffer. */
  run: number;
  readonly startedMs: number;
}

/** A request that was answered by a completion: only what the reply needs is kept. */
class Continuation {
  uniqueLow = 0;
  uniqueHigh = 0;
  opcode = 0;
  startedMs = 0;
  readonly read: (result: ReadResult) => void;
  readonly done: (status: number) => void;

  constructor(
    read: (self: Continuation, result: ReadResult) => void,
    done: (self: Continuation, status: number) => void,
  ) {
    this.read = (result) => read(this, result);
    this.done = (status) => done(this, status);
  }
}

export class FuseSession implements Source, Later {
  readonly stats: FuseStats = new FuseStats();
  /** What was negotiated, null until the kernel's first request. */
  answer: Answer | null = null;
  /** Changes of requests that come from now on. */
  durability: Durability;
  readonly #flagged = new Attributes();

  readonly #reactor: Reactor;
  readonly #core: Core;
  readonly #fs: FileSystem;
  readonly #log: FuseLog;
  readonly #libc: Libc;
  /** Absolute address of the core's memory. */
  readonly #base: number;
  readonly #options: FuseSessionOptions;
  readonly #request: Request;
  readonly #reply: Reply;
  readonly #dispatcher: Dispatcher;
  readonly #own: number;
  readonly #vectors: number;
  readonly #endCallbacks: ((reason: EndReason) => void)[] = [];
  readonly #failuresSeen = new Set<string>();

  #fd = -1;
  #invalidator: Invalidator | null = null;
  #mountpoint = "";
  #byHelper = false;
  /** The slot that the next request is read into, or 0: reading has stopped. The spare, or 0. */
  #slot = 0;
  #spare = 0;
  #watching = false;
  #awaitingBuffers = false;
  #parkedSlots = 0;
  #parking: number[] = [];
  /** What the request being run was parked as before, if it was. */
  #current: Parked | null = null;
  #idle: Continuation[] = [];
  /** Requests that a completion will answer. */
  #underWay = 0;
  #handOver: ((channel: HandedChannel) => void) | null = null;

  /** @throws {FsError} ENOMEM when the data pool is too small; EOPNOTSUPP without system calls. */
  constructor(options: FuseSessionOptions) {
    this.#options = options;
    this.#reactor = options.reactor;
    this.#core = options.core;
    this.#fs = options.fs;
    this.#log = options.log;
    this.#libc = libc();
    this.#base = this.#libc.addressOf(options.core.bytes);
    this.#own = this.#fs.takeBuffer(OWN_BLOCKS);
    if (this.#own === 0) throw noMemory();
    this.#vectors = this.#own + REPLY_BLOCKS * BLOCK_BYTES;
    for (let index = 0; index < PARKING_COUNT; index += 1) {
      this.#parking.push(this.#vectors + VECTOR_BLOCKS * BLOCK_BYTES + index * PARKING_BYTES);
    }
    this.#request = new Request(options.core);
    this.durability = options.durability ?? "none";
    const shown = options.shown === undefined ? null : Shown.of(options.shown);
    const timeouts = {
      entrySeconds: options.entrySeconds ?? UNLIMITED_SECONDS,
      attributeSeconds: options.attributeSeconds ?? UNLIMITED_SECONDS,
    };
    const replyBytes = REPLY_BLOCKS * BLOCK_BYTES;
    this.#reply = new Reply(options.core, this.#own, replyBytes, timeouts, shown);
    this.#dispatcher = new Dispatcher({
      fs: options.fs,
      core: options.core,
      request: this.#request,
      reply: this.#reply,
      later: this,
      stats: this.stats,
      shown,
    });
    if (options.readOnly) this.#dispatcher.references = new Map();
  }

  /** The channel, −1 when not mounted. */
  get fd(): number {
    return this.#fd;
  }

  /** Requests that were read and not yet answered. */
  get underWay(): number {
    return this.#underWay + this.stats.parked;
  }

  /** Notifications to the kernel; null when not mounted. */
  get invalidator(): Invalidator | null {
    return this.#invalidator;
  }

  /**
   * Mounts, and serves from the reactor's next turn on.
   *
   * @throws {FsError} With what went wrong and what to do about it.
   */
  mountAt(mountpoint: string, choices: MountChoices): void {
    this.#takeSlots();
    try {
      this.#attach(mountChannel(mountpoint, { ...choices, readOnly: this.#options.readOnly }));
    } catch (error) {
      this.#giveSlots();
      throw error;
    }
    const readAheadKib = raiseReadAhead(this.#mountpoint, choices);
    this.#watch();
    this.#log("info", "fuse/mounted", {
      mountpoint: this.#mountpoint,
      helper: this.#byHelper,
      readAheadKib,
    });
  }

  /** Goes on with a mount that another session has handed over. */
  takeOver(channel: HandedChannel): void {
    this.#takeSlots();
    this.#attach(channel);
    if (channel.answer !== null) this.#apply(channel.answer);
    for (const [ino, count] of channel.references) this.#fs.remember(ino, count);
    if (this.#dispatcher.references !== null) {
      this.#dispatcher.references = new Map(channel.references);
    }
    this.#watch();
  }

  /**
   * Stops reading, and calls back when nothing is under way: the session then serves no more, and its buffers are given
   * back. Only of a session that was opened read-only, since others do not know what the kernel holds.
   */
  handOver(done: (channel: HandedChannel) => void): void {
    assert(
      this.#dispatcher.references !== null && this.#fd >= 0,
      "a read-only mount is handed over",
    );
    this.#handOver = done;
    this.#unwatch();
    this.#handOverIfIdle();
  }

  /** Whether changes are refused although the file system could be changed: remounted read-only. */
  get refusesChanges(): boolean {
    return this.#dispatcher.refusesChanges;
  }

  set refusesChanges(refuse: boolean) {
    this.#dispatcher.refusesChanges = refuse;
  }

  #takeSlots(): void {
    assert(this.#fd < 0, "a session mounts once");
    this.#slot = this.#fs.takeBuffer(SLOT_BLOCKS);
    this.#spare = this.#slot === 0 ? 0 : this.#fs.takeBuffer(SLOT_BLOCKS);
    if (this.#spare !== 0) return;
    this.#giveSlots();
    throw noMemory();
  }

  #attach(channel: MountedChannel): void {
    this.#fd = channel.fd;
    this.#mountpoint = channel.mountpoint;
    this.#byHelper = channel.byHelper;
    this.#invalidator = new Invalidator({
      core: this.#core,
      reactor: this.#reactor,
      channelFd: channel.fd,
      address: this.#own + NOTICES_AT,
      byteLength: NOTICE_BLOCKS * BLOCK_BYTES,
    });
  }

  #handOverIfIdle(): void {
    const done = this.#handOver;
    if (done === null || this.#underWay > 0 || this.stats.parked > 0 || this.#fd < 0) return;
    this.#handOver = null;
    const channel: HandedChannel = {
      fd: this.#fd,
      mountpoint: this.#mountpoint,
      byHelper: this.#byHelper,
      answer: this.answer,
      references: this.#dispatcher.references ?? new Map(),
    };
    this.#fd = -1;
    this.#invalidator?.close();
    this.#giveSlots();
    this.#fs.giveBuffer(this.#own, OWN_BLOCKS);
    this.#reactor.post(() => done(channel));
  }

  /** Calls back when the session has ended and its buffers are given back. */
  onEnd(callback: (reason: EndReason) => void): void {
    this.#endCallbacks.push(callback);
  }

  /**
   * Starts unmounting in a process of its own: the kernel writes back what it holds, which this thread must serve
   * meanwhile. onEnd tells when it is over; if somebody still uses the mount, nothing happens.
   *
   * @param lazy Take it out of the tree now, end when the last user is gone.
   */
  unmount(lazy = false): void {
    if (this.#fd >= 0) startUnmount(this.#mountpoint, this.#byHelper, lazy);
  }

  // Reading -----------------------------------------------------------------------------------------------------------

  poll(): boolean {
    let any = false;
    let taken = 0;
    for (let count = 0; count < REQUESTS_PER_POLL && this.#slot !== 0; count += 1) {
      const address = this.#slot + MESSAGE_AT;
      const beforeMs = this.stats.readsUntilSample === 0 ? performance.now() : 0;
      const length = this.#libc.read(this.#fd, this.#base + address, MESSAGE_BYTES_MAX);
      if (length < 0) {
        if (length === -EAGAIN) break;
        any = true;
        // ENOENT: the request was withdrawn while it was being read.
        if (length === -EINTR || length === -ENOENT) continue;
        this.#end(length);
        break;
      }
      any = true;
      taken += 1;
      this.#receive(address, length, beforeMs);
    }
    if (taken > 0) this.stats.batches.record(taken);
    return any;
  }

  #receive(address: number, byteLength: number, beforeMs: number): void {
    const request = this.#request;
    request.startedMs = this.stats.taken(beforeMs);
    const whole = request.load(address, byteLength);
    request.run = this.#slot;
    this.#current = null;
    const opcode = request.opcode;
    const requests = this.stats.requests;
    const index = opcode < OPCODE_COUNT ? opcode : 0;
    requests[index] = (requests[index] as number) + 1;
    if (!whole) this.#refuseMalformed();
    else if (opcode === FUSE_INIT) this.#init();
    else this.#run();
    if (request.run !== this.#slot) this.#nextSlot();
  }

  #refuseMalformed(): void {
    this.stats.malformed += 1;
    const { opcode, byteLength } = this.#request;
    this.#log("error", "fuse/malformed-request", { opcode: opcodeName(opcode), byteLength });
    if (opcode !== 0) this.#answer(-EIO);
  }

  /** Runs the loaded request until it is answered, parked or waits for a completion. */
  #run(): void {
    let status: number;
    let durableIno = 0;
    try {
      if (this.durability !== "none") {
        durableIno = this.#dispatcher.durableIno(this.durability === "names");
      }
      if (durableIno === 0) durableIno = this.#dispatcher.durableWriteIno();
      status = this.#dispatcher.run();
    } catch (error) {
      if (error instanceof Retry) {
        this.#park(error);
        return;
      }
      status = this.#errnoOf(error, this.#request.opcode);
    }
    if (status === NO_REPLY) return;
    if (status >= 0 && durableIno !== 0) this.#answerDurably(status, durableIno);
    else this.#answer(status);
  }

  /** The slot was handed over or waits: another one goes on. */
  #nextSlot(): void {
    this.#slot = this.#takeSlot();
    if (this.#slot !== 0) {
      if (this.#spare === 0) this.#spare = this.#fs.takeBuffer(SLOT_BLOCKS);
      return;
    }
    this.#slot = this.#spare;
    this.#spare = 0;
    if (this.#slot !== 0) return;
    this.stats.pauses += 1;
    // The channel stays readable: a loop that watched it would not sleep.
    this.#unwatch();
    this.#awaitBuffers();
  }

  #takeSlot(): number {
    return this.#parkedSlots > PARKED_SLOTS_MAX ? 0 : this.#fs.takeBuffer(SLOT_BLOCKS);
  }

  #awaitBuffers(): void {
    // With too many slots parked, the first that is done with goes on.
    if (this.#awaitingBuffers || this.#parkedSlots > PARKED_SLOTS_MAX) return;
    this.#awaitingBuffers = true;
    this.#fs.whenBuffers(() => {
      this.#reactor.post(() => {
        this.#awaitingBuffers = false;
        this.#resumeReading();
      });
    });
  }

  #resumeReading(): void {
    if (this.#fd < 0 || this.#slot !== 0) return;
    this.#slot = this.#takeSlot();
    if (this.#slot === 0) this.#awaitBuffers();
    else this.#watch();
  }

  /** Gets a slot back: it goes on reading, becomes the spare, or goes back to the pool. */
  #returnSlot(run: number): void {
    if (this.#fd < 0) this.#fs.giveBuffer(run, SLOT_BLOCKS);
    else if (this.#slot === 0) {
      this.#slot = run;
      this.#watch();
    } else if (this.#spare === 0) this.#spare = run;
    else this.#fs.giveBuffer(run, SLOT_BLOCKS);
  }

  #giveSlots(): void {
    if (this.#slot !== 0) this.#fs.giveBuffer(this.#slot, SLOT_BLOCKS);
    if (this.#spare !== 0) this.#fs.giveBuffer(this.#spare, SLOT_BLOCKS);
    this.#slot = 0;
    this.#spare = 0;
  }

  #watch(): void {
    if (this.#watching || this.#handOver !== null) return;
    this.#watching = true;
    this.#reactor.addSource(this);
  }

  #unwatch(): void {
    if (!this.#watching) return;
    this.#watching = false;
    this.#reactor.removeSource(this);
  }

  // Waiting -----------------------------------------------------------------------------------------------------------

  #park(retry: Retry): void {
    const request = this.#request;
    this.stats.retries += 1;
    let parked = this.#current;
    if (parked === null) {
      const { address, byteLength, run, startedMs } = request;
      parked = { address, byteLength, run, startedMs };
      const buffer = request.byteLength <= PARKING_BYTES ? this.#parking.pop() : undefined;
      if (buffer !== undefined) {
        this.#core.exports.bytes_copy(buffer, request.address, request.byteLength);
        parked.address = buffer;
        parked.run = 0;
      } else {
        request.run = 0; // taken from the loop, which goes on with another
        this.#parkedSlots += 1;
      }
      this.stats.parked += 1;
      this.#noteUnderWay();
    }
    const waiting = parked;
    retry.wait((status) => this.#reactor.post(() => this.#unpark(waiting, status)));
  }

  #unpark(parked: Parked, status: number): void {
    const request = this.#request;
    if (this.#fd >= 0) {
      request.load(parked.address, parked.byteLength);
      request.run = parked.run;
      request.startedMs = parked.startedMs;
      this.#current = parked;
      const retries = this.stats.retries;
      if (status < 0) {
        if (hasReply(request.opcode)) this.#answer(status);
      } else this.#run();
      this.#current = null;
      // Parked again, it keeps its place.
      if (this.stats.retries !== retries) return;
    } else {
      request.run = parked.run;
    }
    this.stats.parked -= 1;
    if (parked.run === 0) {
      this.#parking.push(parked.address);
    } else {
      this.#parkedSlots -= 1;
      if (request.run !== 0) this.#returnSlot(request.run);
      else this.#resumeReading();
    }
    this.#handOverIfIdle();
  }

  // Later: requests that a completion answers -------------------------------------------------------------------------

  read(request: Request, offset: number, byteLength: number): void {
    const continuation = this.#continue(request);
    try {
      this.#fs.read(request.nodeid, offset, byteLength, continuation.read);
    } catch (error) {
      this.#rest(continuation);
      throw error;
    }
  }

  fsync(request: Request, dataOnly: boolean): void {
    const continuation = this.#continue(request);
    try {
      this.#fs.fsync(request.nodeid, dataOnly, continuation.done);
    } catch (error) {
      this.#rest(continuation);
      throw error;
    }
  }

  sync(request: Request): void {
    const continuation = this.#continue(request);
    try {
      this.#fs.sync(continuation.done);
    } catch (error) {
      this.#rest(continuation);
      throw error;
    }
  }

  copyRange(
    request: Request,
    fromOffset: number,
    to: number,
    toOffset: number,
    byteLength: number,
  ): void {
    const continuation = this.#continue(request);
    const { opcode } = request;
    const answer = (copied: number): void =>
      this.#finishWith(continuation, () =>
        opcode === FUSE_COPY_FILE_RANGE ? this.#reply.count(copied) : this.#reply.u64(copied),
      );
    const done = (copied: number): void => {
      if (copied < 0) this.#finish(continuation, copied);
      else if (this.durability !== "all") answer(copied);
      else {
        this.#fs.fsync(to, false, (status) => {
          if (status < 0) this.#finish(continuation, status);
          else answer(copied);
        });
      }
    };
    try {
      this.#fs.copyRange(request.nodeid, fromOffset, to, toOffset, byteLength, done);
    } catch (error) {
      this.#rest(continuation);
      throw error;
    }
  }

  setFlags(request: Request, flags: number, project: number): void {
    const continuation = this.#continue(request);
    const ino = request.nodeid;
    const apply = (): void => {
      let status: number;
      try {
        status = this.#fs.setFlags(ino, flags, project, this.#flagged);
      } catch (error) {
        this.#retryLater(continuation, error, apply);
        return;
      }
      if (status < 0) {
        this.#finish(continuation, status);
        return;
      }
      // The kernel does not know that this changes attributes: the time of change, and whether it may write.
      const finish = (): void => this.#finishWith(continuation, () => this.#reply.ioctl());
      if (this.#invalidator?.isAvailable === true) this.#invalidator.inode(ino, -1, 0, finish);
      else finish();
    };
    const protects = fixedProblem(flags) < 0;
    if (protects && this.#invalidator?.isAvailable === true) {
      this.#invalidator.inode(ino, 0, 0, apply);
    } else apply();
  }

  /** What the kernel is told to forget before it gets a reply that is older, it does not learn by that reply. */
  attributes(request: Request): number {
    if (this.#invalidator?.isAvailable !== true) return 0;
    const continuation = this.#continue(request);
    const { nodeid: ino, opcode } = request;
    const answer = (): void => {
      try {
        const status = this.#fs.getAttributes(ino, this.#flagged);
        if (status < 0) this.#finish(continuation, status);
        else {
          this.#finishWith(continuation, () =>
            opcode === FUSE_STATX
              ? this.#reply.statx(this.#flagged)
              : this.#reply.attributes(this.#flagged),
          );
        }
      } catch (error) {
        this.#retryLater(continuation, error, answer);
      }
    };
    this.#invalidator.inode(ino, -1, 0, answer);
    return NO_REPLY;
  }

  countForgotten(request: Request, byteCount: number, offset: number, byteLength: number): void {
    const isDurable = this.durability === "all" || this.#dispatcher.durableWriteIno() !== 0;
    const continuation = this.#continue(request);
    const { nodeid: ino } = request;
    const answer = (): void => this.#finishWith(continuation, () => this.#reply.count(byteCount));
    const finish = (): void => {
      if (!isDurable) {
        answer();
        return;
      }
      try {
        this.#fs.fsync(ino, false, (status) => {
          if (status < 0) this.#finish(continuation, status);
          else answer();
        });
      } catch (error) {
        this.#retryLater(continuation, error, finish);
      }
    };
    if (this.#invalidator?.isAvailable === true)
      this.#invalidator.inode(ino, offset, byteLength, finish);
    else finish();
  }

  forgetAttributes(ino: number): void {
    const invalidator = this.#invalidator;
    if (invalidator?.isAvailable !== true) return;
    throw new Retry((resume) => invalidator.inode(ino, -1, 0, () => resume(0)));
  }

  dropCached(ino: number): void {
    if (this.#invalidator?.isAvailable === true) this.#invalidator.inode(ino, 0, 0, () => {});
  }

  /** Has the kernel forget what it knows of an immutable file: it asks before it writes. */
  #distrust(ino: number): void {
    if (this.#invalidator?.isAvailable === true) this.#invalidator.inode(ino, -1, 0, () => {});
  }

  /**
   * A file system knows holes only as far as it has the data, but the kernel asks without writing back what it holds:
   * a file that was just written would be a hole, and copied as one. So a hole is told only after the kernel has
   * handed over its dirty pages there. Data that we have is data, whatever the kernel holds.
   */
  seek(request: Request, offset: number, whence: number): number {
    const { nodeid } = request;
    const found = this.#fs.seek(nodeid, offset, whence);
    const isSure = (whence === SEEK_DATA && found === offset) || this.answer?.writeback === false;
    if (isSure) return found < 0 ? found : this.#reply.u64(found);
    if (found < 0 && found !== -ENXIO) return found;
    // Then the kernel takes the whole file for data, now and later.
    if (this.#invalidator?.isAvailable !== true) return -ENOSYS;
    this.#seekOn(this.#continue(request), nodeid, offset, whence, found, 0);
    return NO_REPLY;
  }

  /** Has the kernel write back the hole just found, and looks again until that changes nothing. */
  #seekOn(
    continuation: Continuation,
    ino: number,
    offset: number,
    whence: number,
    found: number,
    round: number,
  ): void {
    const start = whence === SEEK_DATA || found < 0 ? offset : found;
    let end = whence === SEEK_DATA ? found : -ENXIO;
    const again = (): void => {
      try {
        const now = this.#fs.seek(ino, offset, whence);
        const isSettled = now === found || (whence === SEEK_DATA && now === offset);
        if (isSettled || round >= SEEK_ROUNDS_MAX || (now < 0 && now !== -ENXIO)) {
          const payloadBytes = now < 0 ? 0 : this.#reply.u64(now);
          const { uniqueLow, uniqueHigh, opcode } = continuation;
          this.#send(uniqueLow, uniqueHigh, opcode, Math.min(now, 0), payloadBytes);
          this.#answered(continuation);
        } else this.#seekOn(continuation, ino, offset, whence, now, round + 1);
      } catch (error) {
        this.#retryLater(continuation, error, again);
      }
    };
    const flush = (): void => {
      try {
        if (whence !== SEEK_DATA && round < SEEK_ROUNDS_MAX && found >= 0) {
          end = this.#fs.seek(ino, found, SEEK_DATA);
        }
      } catch (error) {
        this.#retryLater(continuation, error, flush);
        return;
      }
      this.#invalidator?.inode(ino, start, end > start ? end - start : 0, again);
    };
    flush();
  }

  #retryLater(continuation: Continuation, error: unknown, again: () => void): void {
    if (error instanceof Retry) {
      this.stats.retries += 1;
      error.wait((status) =>
        this.#reactor.post(status < 0 ? () => this.#finish(continuation, status) : again),
      );
    } else this.#finish(continuation, this.#errnoOf(error, continuation.opcode));
  }

  #answered(continuation: Continuation): void {
    this.stats.answered(continuation.opcode, continuation.startedMs);
    this.#rest(continuation);
  }

  #noteUnderWay(): void {
    const { stats } = this;
    const underWay = this.#underWay + stats.parked;
    if (underWay > stats.underWayMax) stats.underWayMax = underWay;
  }

  /** The request is answered, or failed before it waited. */
  #rest(continuation: Continuation): void {
    this.#idle.push(continuation);
    this.#underWay -= 1;
    if (this.#handOver !== null) this.#handOverIfIdle();
  }

  #continue(request: Request): Continuation {
    this.#underWay += 1;
    this.#noteUnderWay();
    const continuation =
      this.#idle.pop() ??
      new Continuation(
        (self, result) => this.#finishRead(self, result),
        (self, status) => this.#finish(self, status),
      );
    continuation.uniqueLow = request.uniqueLow;
    continuation.uniqueHigh = request.uniqueHigh;
    continuation.opcode = request.opcode;
    continuation.startedMs = request.startedMs;
    return continuation;
  }

  #finish(continuation: Continuation, status: number): void {
    const { uniqueLow, uniqueHigh, opcode } = continuation;
    this.#send(uniqueLow, uniqueHigh, opcode, Math.min(status, 0), 0);
    this.#answered(continuation);
  }

  /** Answers with what `encode` puts into the reply. */
  #finishWith(continuation: Continuation, encode: () => number): void {
    const { uniqueLow, uniqueHigh, opcode } = continuation;
    this.#send(uniqueLow, uniqueHigh, opcode, 0, encode());
    this.#answered(continuation);
  }

  #finishRead(continuation: Continuation, result: ReadResult): void {
    const { uniqueLow, uniqueHigh, opcode } = continuation;
    try {
      if (result.status < 0) this.#send(uniqueLow, uniqueHigh, opcode, result.status, 0);
      else this.#sendParts(uniqueLow, uniqueHigh, result);
    } finally {
      result.release();
      this.#answered(continuation);
    }
  }

  /** Keeps a reply back until what it tells of is durable: the area that it lies in serves other requests meanwhile. */
  #answerDurably(payloadBytes: number, ino: number): void {
    const continuation = this.#continue(this.#request);
    const { uniqueLow, uniqueHigh, opcode } = continuation;
    const { given } = this.#dispatcher;
    const { payload } = this.#reply;
    const kept = this.#core.bytes.slice(payload, payload + payloadBytes);
    const finish = (status: number): void => {
      if (status >= 0 && this.#fd >= 0) this.#core.bytes.set(kept, payload);
      const error = Math.min(status, 0);
      const isTaken = this.#send(
        uniqueLow,
        uniqueHigh,
        opcode,
        error,
        error < 0 ? 0 : payloadBytes,
      );
      if (given !== 0 && (error < 0 || !isTaken)) this.#dispatcher.forget(given, 1);
      this.#answered(continuation);
    };
    const flush = (): void => {
      try {
        this.#fs.fsync(ino, false, finish);
      } catch (error) {
        if (error instanceof Retry) {
          this.stats.retries += 1;
          error.wait((status) => this.#reactor.post(status < 0 ? () => finish(status) : flush));
        } else finish(this.#errnoOf(error, opcode));
      }
    };
    flush();
  }

  // Replies -----------------------------------------------------------------------------------------------------------

  /** Answers the loaded request. @param status Payload length or −errno. */
  #answer(status: number): void {
    const { uniqueLow, uniqueHigh, opcode, startedMs } = this.#request;
    const payloadBytes = Math.max(status, 0);
    const error = Math.min(status, 0);
    if (!this.#send(uniqueLow, uniqueHigh, opcode, error, payloadBytes)) {
      this.#dispatcher.takeBack(payloadBytes);
    }
    this.stats.answered(opcode, startedMs);
  }

  /** Writes the reply area to the channel. Returns whether the kernel took it. */
  #send(
    uniqueLow: number,
    uniqueHigh: number,
    opcode: number,
    error: number,
    payloadBytes: number,
  ): boolean {
    if (this.#fd < 0) return false;
    let sentError = error;
    if (error < 0) {
      if (error < -ERROR_MAX) sentError = -EIO;
      this.stats.failed(opcode, -sentError);
    }
    const reply = this.#reply;
    reply.header(uniqueLow, uniqueHigh, sentError, payloadBytes);
    const length = OUT_HEADER_BYTES + payloadBytes;
    const beforeMs = this.stats.repliesUntilSample === 0 ? performance.now() : 0;
    const status = this.#libc.write(this.#fd, this.#base + reply.address, length);
    this.stats.replied(beforeMs);
    if (reply.immutable.length > 0)
      for (const ino of reply.immutable.splice(0)) this.#distrust(ino);
    return status >= 0 || this.#sendFailed(status, uniqueLow, uniqueHigh, opcode, payloadBytes);
  }

  #sendParts(uniqueLow: number, uniqueHigh: number, result: ReadResult): void {
    if (this.#fd < 0) return;
    const { parts, byteLength } = result;
    if (parts > PARTS_MAX) {
      this.#errnoOf(new AssertionError(`a read has ${parts} parts`), 0);
      this.#send(uniqueLow, uniqueHigh, 0, -EIO, 0);
      return;
    }
    this.#reply.header(uniqueLow, uniqueHigh, 0, byteLength);
    const view = this.#core.view;
    let at = this.#vectors;
    setU64(view, at, this.#base + this.#reply.address);
    setU64(view, at + 8, OUT_HEADER_BYTES);
    for (let index = 0; index < parts; index += 1) {
      at += 16;
      setU64(view, at, this.#base + (result.addresses[index] as number));
      setU64(view, at + 8, result.byteLengths[index] as number);
    }
    const beforeMs = this.stats.repliesUntilSample === 0 ? performance.now() : 0;
    const status = this.#libc.writev(this.#fd, this.#base + this.#vectors, parts + 1);
    this.stats.replied(beforeMs);
    if (status >= 0) this.stats.bytesRead += byteLength;
    else this.#sendFailed(status, uniqueLow, uniqueHigh, 0, byteLength);
  }

  #sendFailed(
    status: number,
    uniqueLow: number,
    uniqueHigh: number,
    opcode: number,
    payloadBytes: number,
  ): false {
    // ENOENT: nobody waits any more. ENODEV: unmounted; the next read says so, too.
    if (status === -ENOENT || status === -ENODEV) {
      this.stats.unanswered += 1;
      return false;
    }
    this.stats.refused += 1;
    this.#log("error", "fuse/reply-refused", {
      opcode: opcodeName(opcode),
      payloadBytes,
      errno: errnoName(status),
    });
    // A short error is never refused, and somebody waits.
    this.#reply.header(uniqueLow, uniqueHigh, -EIO, 0);
    this.#libc.write(this.#fd, this.#base + this.#reply.address, OUT_HEADER_BYTES);
    return false;
  }

  /** The one translation of what was thrown into what a program sees. */
  #errnoOf(error: unknown, opcode: number): number {
    const isExpected = error instanceof FsError;
    const text = error instanceof Error ? error.message : String(error);
    const key = isExpected ? error.reason : text;
    if (!this.#failuresSeen.has(key) && this.#failuresSeen.size < FAILURES_LOGGED_MAX) {
      this.#failuresSeen.add(key);
      this.#log(isExpected ? "warn" : "error", "fuse/request-failed", {
        opcode: opcodeName(opcode),
        message: text,
        reason: isExpected ? error.reason : undefined,
        stack: error instanceof Error ? error.stack : undefined,
        cause: error instanceof Error ? error.cause : undefined,
      });
    }
    return isExpected && error.errno < 0 && error.errno >= -ERROR_MAX ? error.errno : -EIO;
  }

  // INIT and the end --------------------------------------------------------------------------------------------------

  #init(): void {
    const request = this.#request;
    if (request.bodyBytes < INIT_IN_BYTES_MIN) {
      this.#refuseMalformed();
      return;
    }
    const flags = request.u32(INIT_IN_FLAGS);
    const offer = {
      major: request.u32(0),
      minor: request.u32(4),
      flags,
      flags2: (flags & FUSE_INIT_EXT) !== 0 ? request.u32(INIT_IN_FLAGS2) : 0,
    };
    const answer = negotiate(offer, {
      writeback: this.#options.writeback ?? true,
      everyRead: this.#options.everyRead ?? false,
      acl: this.#dispatcher.shown === null,
    });
    if (answer === null) {
      this.#log("error", "fuse/kernel-too-old", { major: offer.major, minor: offer.minor });
      this.#answer(-EPROTO);
      return;
    }
    const view = this.#core.view;
    const out = this.#reply.payload;
    this.#core.bytes.fill(0, out, out + INIT_OUT_BYTES);
    view.setUint32(out, FUSE_MAJOR, true);
    if (answer === "again") {
      this.#answer(INIT_OUT_BYTES);
      return;
    }
    view.setUint32(out + 4, answer.minor, true);
    view.setUint32(out + INIT_OUT_MAX_READAHEAD, answer.maxReadAheadBytes, true);
    view.setInt32(out + INIT_OUT_FLAGS, answer.flags, true);
    view.setUint16(out + INIT_OUT_MAX_BACKGROUND, answer.maxBackground, true);
    view.setUint16(out + INIT_OUT_CONGESTION, answer.congestionThreshold, true);
    view.setUint32(out + INIT_OUT_MAX_WRITE, answer.maxWriteBytes, true);
    view.setUint32(out + INIT_OUT_TIME_GRAN, 1, true);
    view.setUint16(out + INIT_OUT_MAX_PAGES, answer.maxPages, true);
    view.setInt32(out + INIT_OUT_FLAGS2, answer.flags2, true);
    this.#apply(answer);
    this.#answer(INIT_OUT_BYTES);
    this.#log("info", "fuse/negotiated", {
      minor: answer.minor,
      offered: (offer.flags >>> 0).toString(16),
      flags: (answer.flags >>> 0).toString(16),
      writeback: answer.writeback,
    });
  }

  #apply(answer: Answer): void {
    this.answer = answer;
    const dispatcher = this.#dispatcher;
    dispatcher.noOpen = answer.noOpen;
    dispatcher.noOpendir = answer.noOpendir;
    dispatcher.extendedSetxattr = answer.extendedSetxattr;
    dispatcher.masks = answer.masks;
    dispatcher.writeback = answer.writeback;
  }

  #end(status: number): void {
    if (this.#fd < 0) return;
    const reason: EndReason =
      status === -ENODEV ? "unmounted" : status === -ECONNABORTED ? "aborted" : "failed";
    this.#unwatch();
    this.#libc.close(this.#fd);
    this.#fd = -1;
    this.#invalidator?.close();
    this.#giveSlots();
    // Parked requests are not run any more; their slots come back when their waits end.
    this.#fs.giveBuffer(this.#own, OWN_BLOCKS);
    this.#log(reason === "unmounted" ? "info" : "error", "fuse/ended", {
      mountpoint: this.#mountpoint,
      reason,
      errno: errnoName(status),
      requests: this.stats.total,
    });
    this.#reactor.post(() => {
      for (const callback of this.#endCallbacks) callback(reason);
    });
  }
}

function hasReply(opcode: number): boolean {
  return opcode !== FUSE_FORGET && opcode !== FUSE_BATCH_FORGET && opcode !== FUSE_INTERRUPT;
}

function noMemory(): FsError {
  return new FsError(
    ENOMEM,
    "fuse/no-buffers",
    "Cannot serve a mount: the data pool has no room for request buffers; raise --memory",
  );
}

/** Inode records: copied out of the tree into scratch, changed there, and put back whole. */
import { getI64, getU64, setI64, setU64 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { EIO, ESTALE } from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import {
  INODE_ATIME,
  INODE_ATIME_NS,
  INODE_BLOCKS,
  INODE_BTIME,
  INODE_BTIME_NS,
  INODE_BYTES,
  INODE_CTIME,
  INODE_CTIME_NS,
  INODE_FLAGS,
  INODE_GENERATION,
  INODE_GID,
  INODE_MODE,
  INODE_MTIME,
  INODE_MTIME_NS,
  INODE_NLINK,
  INODE_PARENT,
  INODE_PREALLOCATED,
  INODE_PROJECT,
  INODE_RDEV,
  INODE_SHARED,
  INODE_SIZE,
  INODE_UID,
} from "../format/inode.ts";
import { ITEM_INODE } from "../format/key.ts";
import type { ItemStore } from "../store/item_store.ts";
import type { DataHooks } from "./data_hooks.ts";
import type { Attributes } from "./file_system.ts";

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;

const RECORDS = 6;

export class InodeStore {
  readonly #hooks: Pick<DataHooks, "ctimeChanged"> | null;
  readonly #store: ItemStore;
  readonly #core: Core;
  readonly #clock: Clock;
  readonly #records: number;
  /** The instant of the running operation. */
  nowSeconds = 0;
  nowNanoseconds = 0;

  /** @param hooks Hears of ctimes: buffered data has its own. */
  constructor(
    store: ItemStore,
    core: Core,
    clock: Clock,
    layout: Layout,
    hooks: Pick<DataHooks, "ctimeChanged"> | null,
  ) {
    this.#hooks = hooks;
    this.#store = store;
    this.#core = core;
    this.#clock = clock;
    this.#records = layout.take(RECORDS * INODE_BYTES, 8);
  }

  /** Address of one of the scratch records. */
  record(index: number): number {
    return this.#records + index * INODE_BYTES;
  }

  readClock(): void {
    this.nowSeconds = this.#clock.seconds();
    this.nowNanoseconds = this.#clock.nanoseconds();
  }

  /** Copies an inode's record to a scratch record. 0, or −ESTALE when there is no such inode. */
  load(ino: number, record: number): number {
    const at = this.#store.get(ino, ITEM_INODE, 0);
    if (at === 0) return -ESTALE;
    if (this.#store.valueLength !== INODE_BYTES) return -EIO;
    this.#core.exports.bytes_copy(record, at, INODE_BYTES);
    return 0;
  }

  put(ino: number, record: number): void {
    this.#store.put(ino, ITEM_INODE, 0, record, INODE_BYTES);
  }

  /** Puts an inode of which something else than data or attributes changed: ctime is now. */
  putChanged(ino: number, record: number): void {
    this.touchCtime(record);
    const data = this.#hooks?.ctimeChanged(ino, this.nowSeconds, this.nowNanoseconds) ?? null;
    // An inode in the journal has all times as they are then: recovery takes it for the newer one. SPEC §7.3.
    if (data !== null) this.setTime(record, INODE_MTIME, INODE_MTIME_NS, data.mtime, data.mtimeNs);
    this.put(ino, record);
  }

  remove(ino: number): void {
    this.#store.remove(ino, ITEM_INODE, 0);
    this.#store.countObjects(-1);
  }

  mode(record: number): number {
    return this.#core.view.getUint32(record + INODE_MODE, true);
  }

  setMode(record: number, mode: number): void {
    this.#core.view.setUint32(record + INODE_MODE, mode, true);
  }

  /** FS_*_FL and our own. */
  flags(record: number): number {
    return this.#core.view.getUint32(record + INODE_FLAGS, true);
  }

  isDirectory(record: number): boolean {
    return (this.mode(record) & S_IFMT) === S_IFDIR;
  }

  u32(record: number, field: number): number {
    return this.#core.view.getUint32(record + field, true);
  }

  setU32(record: number, field: number, value: number): void {
    this.#core.view.setUint32(record + field, value, true);
  }

  u64(record: number, field: number): number {
    return getU64(this.#core.view, record + field);
  }

  setU64(record: number, field: number, value: number): void {
    setU64(this.#core.view, record + field, value);
  }

  setTime(
    record: number,
    field: number,
    nsField: number,
    seconds: number,
    nanoseconds: number,
  ): void {
    setI64(this.#core.view, record + field, seconds);
    this.#core.view.setUint32(record + nsField, nanoseconds, true);
  }

  touchCtime(record: number): void {
    this.setTime(record, INODE_CTIME, INODE_CTIME_NS, this.nowSeconds, this.nowNanoseconds);
  }

  touchMtime(record: number): void {
    this.setTime(record, INODE_MTIME, INODE_MTIME_NS, this.nowSeconds, this.nowNanoseconds);
    this.touchCtime(record);
  }

  touchAtime(record: number): void {
    this.setTime(record, INODE_ATIME, INODE_ATIME_NS, this.nowSeconds, this.nowNanoseconds);
  }

  /** Fills a record for a new inode: all times now, no links. */
  fresh(
    record: number,
    ino: number,
    mode: number,
    uid: number,
    gid: number,
    rdev: number,
    parent: number,
  ): void {
    const { view } = this.#core;
    this.#core.exports.bytes_fill(record, 0, INODE_BYTES);
    view.setUint32(record + INODE_MODE, mode, true);
    view.setUint32(record + INODE_UID, uid, true);
    view.setUint32(record + INODE_GID, gid, true);
    view.setUint32(record + INODE_RDEV, rdev, true);
    // Inode numbers are never used again, so that a constant would do; low bits of the birth tell images apart.
    view.setUint32(record + INODE_GENERATION, (ino ^ this.nowSeconds) >>> 0, true);
    setU64(view, record + INODE_PARENT, parent);
    this.touchMtime(record);
    this.touchAtime(record);
    this.setTime(record, INODE_BTIME, INODE_BTIME_NS, this.nowSeconds, this.nowNanoseconds);
  }

  /** Reads a record, in scratch or in a page, into attributes. */
  attributes(at: number, ino: number, out: Attributes): void {
    const { view } = this.#core;
    out.ino = ino;
    out.generation = view.getUint32(at + INODE_GENERATION, true);
    out.mode = view.getUint32(at + INODE_MODE, true);
    out.nlink = view.getUint32(at + INODE_NLINK, true);
    out.uid = view.getUint32(at + INODE_UID, true);
    out.gid = view.getUint32(at + INODE_GID, true);
    out.rdev = view.getUint32(at + INODE_RDEV, true);
    out.size = getU64(view, at + INODE_SIZE);
    out.blocks = getU64(view, at + INODE_BLOCKS) * 8;
    out.atime = getI64(view, at + INODE_ATIME);
    out.atimeNs = view.getUint32(at + INODE_ATIME_NS, true);
    out.mtime = getI64(view, at + INODE_MTIME);
    out.mtimeNs = view.getUint32(at + INODE_MTIME_NS, true);
    out.ctime = getI64(view, at + INODE_CTIME);
    out.ctimeNs = view.getUint32(at + INODE_CTIME_NS, true);
    out.btime = getI64(view, at + INODE_BTIME);
    out.btimeNs = view.getUint32(at + INODE_BTIME_NS, true);
    out.project = view.getUint32(at + INODE_PROJECT, true);
    out.flags = view.getUint32(at + INODE_FLAGS, true) & ~(INODE_PREALLOCATED | INODE_SHARED);
  }
}

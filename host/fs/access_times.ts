/**
 * Access times as relatime and lazytime keep them: mount(8). A read changes the time if it is not newer than the last
 * change, or a day old; it is kept in memory and put into the inode when a checkpoint runs for other reasons, when too many
 * wait, and at the unmount. A crash may lose them, and no read waits for one.
 */

import { setI64 } from "../base/bytes.ts";
import { Retry } from "../base/retry.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import {
  INODE_ATIME,
  INODE_ATIME_NS,
  INODE_BYTES,
  INODE_CTIME,
  INODE_CTIME_NS,
  INODE_MTIME,
  INODE_MTIME_NS,
} from "../format/inode.ts";
import { ITEM_INODE } from "../format/key.ts";
import { INTENT_GROW } from "../store/item_store.ts";
import type { Store } from "../store/store.ts";
import { Attributes } from "./file_system.ts";
import { FLAG_NOATIME } from "./inode_flags.ts";

const DAY_SECONDS = 86_400;
const WAITING_MAX = 1024;
/** Inodes of one transaction: each may copy a path of its own, and a nearly full volume has few pages ready. */
const PUT_MAX = 8;

interface Time {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export class AccessTimes {
  readonly #store: Store;
  readonly #core: Core;
  readonly #inode: number;
  readonly #getAttributes: (ino: number, out: Attributes) => number;
  readonly #waiting = new Map<number, Time>();
  readonly #out: Attributes = new Attributes();
  #isPosted = false;
  /** Off: access times stay as they are (noatime). */
  isOn = true;
  /** Each read counts, however new the time is (strictatime). */
  isStrict = false;

  constructor(options: {
    store: Store;
    layout: Layout;
    getAttributes: (ino: number, out: Attributes) => number;
  }) {
    this.#store = options.store;
    this.#core = options.store.core;
    this.#inode = options.layout.take(INODE_BYTES, 8);
    this.#getAttributes = options.getAttributes;
  }

  /** Somebody has read an inode. */
  note(ino: number): void {
    const { clock, readOnly, faulted } = this.#store;
    if (!this.isOn || readOnly || faulted !== null) return;
    const out = this.#out;
    try {
      if (this.#getAttributes(ino, out) < 0) return;
    } catch (error) {
      // Its page has left the cache since it was read: not worth reading it again.
      if (error instanceof Retry) return;
      throw error;
    }
    this.overlay(out);
    if ((out.flags & FLAG_NOATIME) !== 0) return;
    const seconds = clock.seconds();
    if (!this.isStrict && !isStale(out, seconds)) return;
    this.#waiting.set(ino, { seconds, nanoseconds: clock.nanoseconds() });
    if (this.#waiting.size < WAITING_MAX || this.#isPosted) return;
    this.#isPosted = true;
    this.#store.post(() => {
      this.#isPosted = false;
      this.flush();
    });
  }

  /** Gives attributes the access time that their inode has not been told of. */
  overlay(out: Attributes): void {
    if (this.#waiting.size === 0) return;
    const time = this.#waiting.get(out.ino);
    if (time === undefined) return;
    out.atime = time.seconds;
    out.atimeNs = time.nanoseconds;
  }

  /** The inode has been given a time of its own, or is gone. */
  drop(ino: number): void {
    this.#waiting.delete(ino);
  }

  /** Puts what waits into the inodes, as far as that needs no waiting. */
  flush(): void {
    if (this.#store.readOnly || this.#store.faulted !== null) return;
    try {
      while (this.#waiting.size > 0) this.#putSome();
    } catch (error) {
      // No room just now: the rest waits, or is lost.
      if (!(error instanceof Retry)) throw error;
      if (this.#waiting.size >= WAITING_MAX) this.#waiting.clear();
    }
  }

  /** Whether an inode exists and its page is at hand; one that would have to be read loses its time. */
  #isCached(ino: number): boolean {
    try {
      return this.#store.get(ino, ITEM_INODE, 0) !== 0;
    } catch (error) {
      if (error instanceof Retry) return false;
      throw error;
    }
  }

  #setTime(field: number, nsField: number, seconds: number, nanoseconds: number): void {
    setI64(this.#core.view, this.#inode + field, seconds);
    this.#core.view.setUint32(this.#inode + nsField, nanoseconds, true);
  }

  #putSome(): void {
    const store = this.#store;
    // The last of the space is for removals: without room the times are lost.
    if (store.begin(INTENT_GROW) < 0) {
      this.#waiting.clear();
      return;
    }
    const batch = [...this.#waiting].slice(0, PUT_MAX);
    const present = batch.filter(([ino]) => this.#isCached(ino));
    for (const [ino, time] of present) {
      this.#core.exports.bytes_copy(this.#inode, store.get(ino, ITEM_INODE, 0), INODE_BYTES);
      // With those of buffered data: an inode in the journal is newer than what comes before it.
      this.#getAttributes(ino, this.#out);
      const { mtime, mtimeNs, ctime, ctimeNs } = this.#out;
      this.#setTime(INODE_MTIME, INODE_MTIME_NS, mtime, mtimeNs);
      this.#setTime(INODE_CTIME, INODE_CTIME_NS, ctime, ctimeNs);
      this.#setTime(INODE_ATIME, INODE_ATIME_NS, time.seconds, time.nanoseconds);
      store.put(ino, ITEM_INODE, 0, this.#inode, INODE_BYTES);
    }
    store.commit();
    for (const [ino] of batch) this.#waiting.delete(ino);
  }
}

/** relatime: not newer than the last change, or a day old. */
function isStale(out: Attributes, nowSeconds: number): boolean {
  if (nowSeconds - out.atime >= DAY_SECONDS) return true;
  return (
    !isAfter(out.atime, out.atimeNs, out.mtime, out.mtimeNs) ||
    !isAfter(out.atime, out.atimeNs, out.ctime, out.ctimeNs)
  );
}

function isAfter(seconds: number, nanoseconds: number, than: number, thanNs: number): boolean {
  return seconds > than || (seconds === than && nanoseconds > thanNs);
}

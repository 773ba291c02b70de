/**
 * Telling the kernel that something changed without it (a rollback, a policy, the library on the same volume), and
 * having it hand over what it has buffered.
 *
 * A notification can wait for a request that is under way: INVAL_ENTRY takes the directory's lock, which a process
 * holds while it waits for our reply to its mkdir; INVAL_INODE writes dirty pages back, and waits for an inode that is
 * being evicted, which may wait for our reply to its last WRITE. Written by the thread that serves the session, such a
 * notification would wait for itself. So a kernel thread writes them (Reactor.writeAside), and requests are served
 * meanwhile.
 */
import { EAGAIN, EINVAL, ENODEV, ENOENT } from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import type { Done } from "../device/device.ts";
import { NAME_BYTES_MAX } from "../fs/file_system.ts";
import type { Reactor } from "../reactor/reactor.ts";
import {
  FUSE_NOTIFY_INVAL_ENTRY,
  FUSE_NOTIFY_INVAL_INODE,
  NOTIFY_INVAL_ENTRY_BYTES,
  NOTIFY_INVAL_INODE_BYTES,
  OUT_HEADER_BYTES,
} from "./protocol.ts";

/** Room of one message: the headers and the longest name. */
const MESSAGE_BYTES = 512;

export class Invalidator {
  readonly #core: Core;
  readonly #reactor: Reactor;
  readonly #free: number[] = [];
  readonly #queue: (() => void)[] = [];
  /** Notifications sent. */
  sent = 0;
  #fd: number;

  /**
   * @param channelFd The session's descriptor.
   * @param address Memory for messages, `byteLength` long: 512 bytes for each that is under way at once.
   */
  constructor(parts: {
    core: Core;
    reactor: Reactor;
    channelFd: number;
    address: number;
    byteLength: number;
  }) {
    this.#core = parts.core;
    this.#reactor = parts.reactor;
    this.#fd = parts.reactor.writeAside === undefined ? -1 : parts.channelFd;
    for (let at = 0; at + MESSAGE_BYTES <= parts.byteLength; at += MESSAGE_BYTES) {
      this.#free.push(parts.address + at);
    }
  }

  /** Whether notifications can be sent. */
  get isAvailable(): boolean {
    return this.#fd >= 0;
  }

  /**
   * Drops cached attributes and, from `offset` on, cached data; dirty pages there are written to us first.
   *
   * @param offset −1: attributes alone.
   * @param byteLength 0: to the end.
   * @param done 0 also when the kernel does not have the inode; −ENODEV after the end; −EAGAIN when not available.
   */
  inode(ino: number, offset: number, byteLength: number, done: Done): void {
    this.#start((address) => {
      const at = address + OUT_HEADER_BYTES;
      this.#set64(at, ino);
      this.#set64(at + 8, offset);
      this.#set64(at + 16, byteLength);
      this.#send(address, FUSE_NOTIFY_INVAL_INODE, NOTIFY_INVAL_INODE_BYTES, done);
    }, done);
  }

  /** Drops a cached name, or the knowledge that there is none. @param done As for inode(). */
  entry(parent: number, name: Uint8Array, done: Done): void {
    if (name.length === 0 || name.length > NAME_BYTES_MAX) {
      this.#reactor.post(() => done(-EINVAL));
      return;
    }
    this.#start((address) => {
      const at = address + OUT_HEADER_BYTES;
      this.#set64(at, parent);
      this.#core.view.setUint32(at + 8, name.length, true);
      this.#core.view.setUint32(at + 12, 0, true);
      const nameAt = at + NOTIFY_INVAL_ENTRY_BYTES;
      this.#core.bytes.set(name, nameAt);
      this.#core.bytes[nameAt + name.length] = 0;
      const length = NOTIFY_INVAL_ENTRY_BYTES + name.length + 1;
      this.#send(address, FUSE_NOTIFY_INVAL_ENTRY, length, done);
    }, done);
  }

  /** The session has ended. What is under way is completed still. */
  close(): void {
    this.#fd = -1;
    for (const start of this.#queue.splice(0)) start();
  }

  #start(begin: (address: number) => void, done: Done): void {
    const start = (): void => {
      if (this.#fd < 0) {
        this.#reactor.post(() => done(-ENODEV));
        return;
      }
      begin(this.#free.pop() as number);
    };
    if (this.#fd < 0) this.#reactor.post(() => done(-EAGAIN));
    else if (this.#free.length > 0) start();
    else this.#queue.push(start);
  }

  #send(address: number, code: number, payloadBytes: number, done: Done): void {
    const length = OUT_HEADER_BYTES + payloadBytes;
    const { view } = this.#core;
    view.setUint32(address, length, true);
    view.setInt32(address + 4, code, true);
    this.#set64(address + 8, 0);
    this.sent += 1;
    this.#reactor.writeAside?.(this.#fd, address, length, (status) => {
      this.#free.push(address);
      this.#queue.shift()?.();
      done(status === -ENOENT || status > 0 ? 0 : status);
    });
  }

  /** A safe integer of either sign. */
  #set64(address: number, value: number): void {
    this.#core.u32[address >>> 2] = value;
    this.#core.u32[(address >>> 2) + 1] = Math.floor(value / 0x1_0000_0000);
  }
}

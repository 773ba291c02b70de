/**
 * An open file: an inode, how it may be used, and a position.
 *
 * Operations at the own position run one after another, in the order of their calls; those with a position of their
 * own do not wait.
 */
import { constants } from "node:fs";
import { EBADF, EISDIR } from "../base/errno.ts";
import { type AttributeChange, SET_KILL_PRIVILEGES } from "../fs/file_system.ts";
import type { Calls } from "./calls.ts";
import { systemError } from "./errors.ts";
import { BigIntStats, Stats } from "./stats.ts";

const { O_APPEND, O_RDONLY, O_SYNC, O_WRONLY, S_IFDIR, S_IFMT } = constants;
/** Not among Node's constants. */
const O_ACCMODE = 3;
const O_DSYNC = constants.O_DSYNC ?? 0o10000;

/** What is done to an open file; opening and closing it is the owner's. */
export class OpenFile {
  readonly #calls: Calls;
  readonly ino: number;
  readonly #flags: number;
  #position = 0;
  #turn: Promise<unknown> = Promise.resolve();

  /** @param flags O_* bits. */
  constructor(calls: Calls, ino: number, flags: number) {
    this.#calls = calls;
    this.ino = ino;
    this.#flags = flags;
  }

  /** Runs after the operations at the handle's position that were asked for before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }

  get #isReadable(): boolean {
    return (this.#flags & O_ACCMODE) !== O_WRONLY;
  }

  /** Whether it was opened to be written. */
  get writable(): boolean {
    return (this.#flags & O_ACCMODE) !== O_RDONLY;
  }

  /**
   * Reads as much as there is.
   *
   * @param position null: at the own one, which moves.
   * @returns Bytes read.
   */
  async read(target: Uint8Array, position: number | null): Promise<number> {
    const context = { syscall: "read" };
    if (!this.#isReadable) throw systemError(EBADF, context);
    const calls = this.#calls;
    await calls.call(context, () => {
      const status = calls.fs.getAttributes(this.ino, calls.attributes);
      if (status < 0) return status;
      return (calls.attributes.mode & S_IFMT) === S_IFDIR ? -EISDIR : 0;
    });
    if (position !== null) return await calls.read(this.ino, position, target, context);
    return await this.#inTurn(async () => {
      const count = await calls.read(this.ino, this.#position, target, context);
      this.#position += count;
      return count;
    });
  }

  /**
   * Writes all of the data; at the end of a file that was opened to append.
   *
   * @param position null: at the own one, which moves.
   * @returns Bytes written.
   */
  async write(data: Uint8Array, position: number | null): Promise<number> {
    const context = { syscall: "write" };
    if (!this.writable) throw systemError(EBADF, context);
    const calls = this.#calls;
    if ((this.#flags & O_APPEND) !== 0) {
      await this.#inTurn(async () => {
        this.#position = await calls.append(this.ino, data, context);
      });
    } else if (position !== null) {
      await calls.write(this.ino, position, data, context);
    } else {
      await this.#inTurn(async () => {
        await calls.write(this.ino, this.#position, data, context);
        this.#position += data.length;
      });
    }
    if ((this.#flags & (O_SYNC | O_DSYNC)) !== 0) await calls.flush(this.ino, false, context);
    return data.length;
  }

  /** Attributes of the file. */
  async stat(bigint: boolean = false): Promise<Stats | BigIntStats> {
    const { attributes, fs, dev } = this.#calls;
    let stats: Stats | BigIntStats | undefined;
    await this.#calls.call({ syscall: "fstat" }, () => {
      const status = fs.getAttributes(this.ino, attributes);
      if (status < 0) return status;
      stats = bigint ? new BigIntStats(attributes, dev) : new Stats(attributes, dev);
      return 0;
    });
    return stats!;
  }

  /** Changes attributes. */
  async change(change: AttributeChange, syscall: string): Promise<void> {
    const { attributes, fs } = this.#calls;
    await this.#calls.call({ syscall }, () => {
      if ((change.set & SET_KILL_PRIVILEGES) !== 0) {
        const status = fs.getAttributes(this.ino, attributes);
        if (status < 0) return status;
        if ((attributes.mode & S_IFMT) === S_IFDIR) change.set &= ~SET_KILL_PRIVILEGES;
      }
      return fs.setAttributes(this.ino, change, attributes);
    });
  }
}

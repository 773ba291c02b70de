/** Attributes by path: reading them, changing them, and what may be done with an object. */
import { constants } from "node:fs";
import { EACCES, EROFS } from "../base/errno.ts";
import { type AttributeChange, SET_KILL_PRIVILEGES, VolumeSpace } from "../fs/file_system.ts";
import {
  type Path,
  type PathLike,
  type TimeLike,
  validId,
  validInteger,
  validMode,
  validPath,
  validTime,
} from "./arguments.ts";
import { modeChange, ownerChange, timesChange } from "./attribute_changes.ts";
import type { Calls } from "./calls.ts";
import { codedError } from "./errors.ts";
import { BigIntStats, StatFs, Stats } from "./stats.ts";
import type { Walker } from "./walk.ts";

const { S_IFDIR, S_IFMT, W_OK, X_OK } = constants;

/** Whether 64-bit integers are wanted. */
export interface BigIntOption {
  /** 64-bit integers, with nanoseconds. */
  bigint?: boolean | undefined;
}

/** The functions of attributes. */
export class AttributeFunctions {
  readonly #calls: Calls;
  readonly #walker: Walker;

  constructor(calls: Calls, walker: Walker) {
    this.#calls = calls;
    this.#walker = walker;
  }

  /** Attributes of what a path leads to. */
  stat(path: PathLike, options?: { bigint?: false | undefined } | null): Promise<Stats>;
  /** Attributes of the file. */
  stat(path: PathLike, options: { bigint: true }): Promise<BigIntStats>;
  /** Attributes of the file. */
  stat(path: PathLike, options?: BigIntOption | null): Promise<Stats | BigIntStats>;
  async stat(path: PathLike, options?: BigIntOption | null): Promise<Stats | BigIntStats> {
    return await this.#stat(path, "stat", true, options?.bigint === true);
  }

  /** Attributes of a path, of a symlink itself. */
  lstat(path: PathLike, options?: { bigint?: false | undefined } | null): Promise<Stats>;
  /** As bigints. */
  lstat(path: PathLike, options: { bigint: true }): Promise<BigIntStats>;
  /** As the options say. */
  lstat(path: PathLike, options?: BigIntOption | null): Promise<Stats | BigIntStats>;
  async lstat(path: PathLike, options?: BigIntOption | null): Promise<Stats | BigIntStats> {
    return await this.#stat(path, "lstat", false, options?.bigint === true);
  }

  async #stat(
    path: PathLike,
    syscall: string,
    follow: boolean,
    bigint: boolean,
  ): Promise<Stats | BigIntStats> {
    const at = validPath(path);
    const { attributes, dev } = this.#calls;
    let stats: Stats | BigIntStats | undefined;
    await this.#calls.call({ syscall, path: at.text }, () => {
      const status = this.#walker.to(at.bytes, follow);
      if (status < 0) return status;
      stats = bigint ? new BigIntStats(attributes, dev) : new Stats(attributes, dev);
      return 0;
    });
    return stats!;
  }

  /** Space of the volume. */
  statfs(path: PathLike, options?: { bigint?: false | undefined } | null): Promise<StatFs>;
  /** As bigints. */
  statfs(path: PathLike, options: { bigint: true }): Promise<StatFs<bigint>>;
  /** As the options say. */
  statfs(path: PathLike, options?: BigIntOption | null): Promise<StatFs | StatFs<bigint>>;
  async statfs(path: PathLike, options?: BigIntOption | null): Promise<StatFs | StatFs<bigint>> {
    const at = validPath(path);
    const space = new VolumeSpace();
    await this.#calls.call({ syscall: "statfs", path: at.text }, () => {
      const status = this.#walker.to(at.bytes, true);
      return status < 0 ? status : this.#calls.fs.space(space, this.#walker.ino);
    });
    return options?.bigint === true ? new StatFs(space, BigInt) : new StatFs(space, Number);
  }

  /**
   * Whether there is something, and with W_OK whether the volume can be written, with X_OK whether it is a directory or
   * somebody may execute it: what root would be told.
   */
  async access(path: PathLike, mode: number = constants.F_OK): Promise<void> {
    const at = validPath(path);
    const wanted = validInteger(mode ?? constants.F_OK, "mode", 0, 7);
    const calls = this.#calls;
    await calls.call({ syscall: "access", path: at.text }, () => {
      const status = this.#walker.to(at.bytes, true);
      if (status < 0) return status;
      const bits = calls.attributes.mode;
      const isDirectory = (bits & S_IFMT) === S_IFDIR;
      if ((wanted & W_OK) !== 0 && calls.fs.readOnly) return -EROFS;
      if ((wanted & X_OK) !== 0 && !isDirectory && (bits & 0o111) === 0) return -EACCES;
      return 0;
    });
  }

  /** Changes the permissions. */
  async chmod(path: PathLike, mode: number | string): Promise<void> {
    const at = validPath(path);
    await this.#change(at, "chmod", true, modeChange(validMode(mode)));
  }

  /** Not there, as in Node on Linux: a symlink has no permissions. */
  async lchmod(_path: PathLike, _mode: number | string): Promise<void> {
    throw codedError("ERR_METHOD_NOT_IMPLEMENTED", "The lchmod() method is not implemented");
  }

  /** Changes owner and group; −1 leaves one as it is. */
  async chown(path: PathLike, uid: number, gid: number): Promise<void> {
    const at = validPath(path);
    await this.#change(at, "chown", true, ownerChange(validId(uid, "uid"), validId(gid, "gid")));
  }

  /** Changes owner and group of a symlink itself. */
  async lchown(path: PathLike, uid: number, gid: number): Promise<void> {
    const at = validPath(path);
    await this.#change(at, "lchown", false, ownerChange(validId(uid, "uid"), validId(gid, "gid")));
  }

  /** Changes the times of access and change. */
  async utimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> {
    const at = validPath(path);
    await this.#change(at, "utime", true, timesChange(validTime(atime), validTime(mtime)));
  }

  /** Changes the times of a symlink itself. */
  async lutimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> {
    const at = validPath(path);
    await this.#change(at, "lutime", false, timesChange(validTime(atime), validTime(mtime)));
  }

  async #change(
    path: Path,
    syscall: string,
    follow: boolean,
    change: AttributeChange,
  ): Promise<void> {
    const { attributes, fs } = this.#calls;
    const wanted = change.set;
    await this.#calls.call({ syscall, path: path.text }, () => {
      const status = this.#walker.to(path.bytes, follow);
      if (status < 0) return status;
      if (fs.readOnly) return -EROFS;
      const isDirectory = (attributes.mode & S_IFMT) === S_IFDIR;
      change.set = isDirectory ? wanted & ~SET_KILL_PRIVILEGES : wanted;
      return fs.setAttributes(this.#walker.ino, change, attributes);
    });
  }
}

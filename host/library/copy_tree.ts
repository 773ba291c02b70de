/**
 * cp: Node's algorithm, options and errors, over a volume's functions.
 *
 * @see https://github.com/nodejs/node/blob/v20.x/lib/internal/fs/cp/cp.js
 */
import { posix } from "node:path";
import { EEXIST, EINVAL, EISDIR, ENOTDIR } from "../base/errno.ts";
import { type PathLike, validBoolean, validInteger, validObject, validPath } from "./arguments.ts";
import type { Dirent } from "./directory.ts";
import { argumentTypeError, codedTypeError, operationError } from "./errors.ts";
import type { BigIntStats, Stats } from "./stats.ts";

/** Options of cp(). */
export interface CopyOptions {
  /** Copy what symlinks lead to. */
  dereference?: boolean | undefined;
  /** With force false: fail where something is already. */
  errorOnExist?: boolean | undefined;
  /** Whether to copy an item; for a directory, with all that is in it. */
  filter?: ((source: string, destination: string) => boolean | Promise<boolean>) | undefined;
  /** Replace what is there; default true. */
  force?: boolean | undefined;
  /** Flags of copyFile(). */
  mode?: number | undefined;
  /** Keep the times of access and of change. */
  preserveTimestamps?: boolean | undefined;
  /** Directories too, with all that is in them. */
  recursive?: boolean | undefined;
  /** Copy relative symlinks as they are, not made absolute. */
  verbatimSymlinks?: boolean | undefined;
}

/** The functions that a copy is made of. */
export interface CopyFunctions {
  chmod(path: string, mode: number): Promise<void>;
  copyFile(source: string, destination: string, mode?: number): Promise<void>;
  lstat(path: string, options: { bigint: true }): Promise<BigIntStats>;
  mkdir(path: string, options?: { recursive?: boolean }): Promise<unknown>;
  readdir(path: string, options: { withFileTypes: true }): Promise<Dirent[]>;
  readlink(path: string): Promise<string>;
  stat(path: string, options: { bigint: true }): Promise<BigIntStats>;
  stat(path: string): Promise<Stats>;
  symlink(target: string, path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  utimes(path: string, atime: Date, mtime: Date): Promise<void>;
}

interface Settings {
  dereference: boolean;
  errorOnExist: boolean;
  filter: CopyOptions["filter"];
  force: boolean;
  mode: number;
  preserveTimestamps: boolean;
  recursive: boolean;
  verbatimSymlinks: boolean;
}

function validSettings(options: CopyOptions | undefined): Settings {
  if (options !== undefined) validObject(options, "options");
  const flag = (name: keyof CopyOptions, otherwise: boolean): boolean =>
    validBoolean(options?.[name] ?? otherwise, `options.${name}`);
  const settings: Settings = {
    dereference: flag("dereference", false),
    errorOnExist: flag("errorOnExist", false),
    force: flag("force", true),
    preserveTimestamps: flag("preserveTimestamps", false),
    recursive: flag("recursive", false),
    verbatimSymlinks: flag("verbatimSymlinks", false),
    mode: validInteger(options?.mode ?? 0, "mode", 0, 7),
    filter: options?.filter,
  };
  if (settings.dereference && settings.verbatimSymlinks) {
    throw codedTypeError(
      "ERR_INCOMPATIBLE_OPTION_PAIR",
      'Option "dereference" cannot be used in combination with option "verbatimSymlinks"',
    );
  }
  if (settings.filter !== undefined && typeof settings.filter !== "function") {
    throw argumentTypeError("options.filter", "of type function", settings.filter);
  }
  return settings;
}

function failure(code: string, prefix: string, message: string, path: string): Error {
  const kinds: Record<string, [string, number]> = {
    ERR_FS_CP_EINVAL: ["EINVAL", EINVAL],
    ERR_FS_CP_DIR_TO_NON_DIR: ["EISDIR", EISDIR],
    ERR_FS_CP_NON_DIR_TO_DIR: ["ENOTDIR", ENOTDIR],
    ERR_FS_CP_EEXIST: ["EEXIST", EEXIST],
    ERR_FS_EISDIR: ["EISDIR", EISDIR],
  };
  const [posixCode, errno] = kinds[code] ?? ["EINVAL", EINVAL];
  return operationError(code, prefix, { code: posixCode, errno, message, path, syscall: "cp" });
}

function invalid(message: string, path: string): Error {
  return failure("ERR_FS_CP_EINVAL", "Invalid src or dest", message, path);
}

export async function copyTree(
  fs: CopyFunctions,
  source: PathLike,
  destination: PathLike,
  options: CopyOptions | undefined,
): Promise<void> {
  const settings = validSettings(options);
  const from = validPath(source, "src").text;
  const to = validPath(destination, "dest").text;
  await new Copy(fs, settings).run(from, to);
}

class Copy {
  readonly #fs: CopyFunctions;
  readonly #settings: Settings;

  constructor(fs: CopyFunctions, settings: Settings) {
    this.#fs = fs;
    this.#settings = settings;
  }

  async run(from: string, to: string): Promise<void> {
    const checked = await this.#check(from, to);
    if (checked === null) return;
    await this.#checkParents(from, checked.source, to);
    const parent = posix.dirname(to);
    if ((await missingIsNull(this.#fs.stat(parent, { bigint: true }))) === null) {
      await this.#fs.mkdir(parent, { recursive: true });
    }
    await this.#copy(checked.source, checked.destination, from, to);
  }

  #statOf(path: string): Promise<BigIntStats> {
    return this.#settings.dereference
      ? this.#fs.stat(path, { bigint: true })
      : this.#fs.lstat(path, { bigint: true });
  }

  /** @returns null when the filter says no. */
  async #check(
    from: string,
    to: string,
  ): Promise<{ source: BigIntStats; destination: BigIntStats | null } | null> {
    const { filter } = this.#settings;
    if (filter !== undefined && !(await filter(from, to))) return null;
    const source = await this.#statOf(from);
    const destination = await missingIsNull(this.#statOf(to));
    if (destination !== null) {
      if (source.ino === destination.ino && source.dev === destination.dev) {
        throw invalid("src and dest cannot be the same", to);
      }
      if (source.isDirectory() && !destination.isDirectory()) {
        throw failure(
          "ERR_FS_CP_DIR_TO_NON_DIR",
          "Cannot overwrite non-directory with directory",
          `cannot overwrite non-directory ${to} with directory ${from}`,
          to,
        );
      }
      if (!source.isDirectory() && destination.isDirectory()) {
        throw failure(
          "ERR_FS_CP_NON_DIR_TO_DIR",
          "Cannot overwrite directory with non-directory",
          `cannot overwrite directory ${to} with non-directory ${from}`,
          to,
        );
      }
    }
    if (source.isDirectory() && isBelow(from, to)) throw intoItself(from, to);
    return { source, destination };
  }

  /** By inodes, where names deceive: whether the destination lies in the source. */
  async #checkParents(from: string, source: BigIntStats, to: string): Promise<void> {
    const sourceParent = absolute(posix.dirname(from));
    for (
      let at = absolute(posix.dirname(to));
      at !== sourceParent && at !== "/";
      at = posix.dirname(at)
    ) {
      const stats = await missingIsNull(this.#fs.stat(at, { bigint: true }));
      if (stats === null) return;
      if (stats.ino === source.ino && stats.dev === source.dev) throw intoItself(from, to);
    }
  }

  async #copy(
    source: BigIntStats,
    destination: BigIntStats | null,
    from: string,
    to: string,
  ): Promise<void> {
    if (source.isDirectory()) {
      if (!this.#settings.recursive) {
        throw failure(
          "ERR_FS_EISDIR",
          "Path is a directory",
          `${from} is a directory (not copied)`,
          from,
        );
      }
      await this.#copyDirectory(source, destination, from, to);
    } else if (source.isSymbolicLink()) await this.#copyLink(destination, from, to);
    else if (source.isSocket()) {
      throw failure(
        "ERR_FS_CP_SOCKET",
        "Cannot copy a socket file",
        `cannot copy a socket file: ${to}`,
        to,
      );
    } else if (source.isFIFO()) {
      throw failure(
        "ERR_FS_CP_FIFO_PIPE",
        "Cannot copy a FIFO pipe",
        `cannot copy a FIFO pipe: ${to}`,
        to,
      );
    } else await this.#copyFile(source, destination, from, to);
  }

  async #copyFile(
    source: BigIntStats,
    destination: BigIntStats | null,
    from: string,
    to: string,
  ): Promise<void> {
    const fs = this.#fs;
    if (destination !== null) {
      if (!this.#settings.force) {
        if (!this.#settings.errorOnExist) return;
        throw failure("ERR_FS_CP_EEXIST", "Target already exists", `${to} already exists`, to);
      }
      await fs.unlink(to);
    }
    await fs.copyFile(from, to, this.#settings.mode);
    if (this.#settings.preserveTimestamps) {
      const { atime, mtime } = await fs.stat(from);
      await fs.utimes(to, atime, mtime);
    }
    await fs.chmod(to, Number(source.mode) & 0o7777);
  }

  async #copyDirectory(
    source: BigIntStats,
    destination: BigIntStats | null,
    from: string,
    to: string,
  ): Promise<void> {
    if (destination === null) await this.#fs.mkdir(to);
    for (const { name } of await this.#fs.readdir(from, { withFileTypes: true })) {
      const itemFrom = posix.join(from, name);
      const itemTo = posix.join(to, name);
      const checked = await this.#check(itemFrom, itemTo);
      if (checked !== null) await this.#copy(checked.source, checked.destination, itemFrom, itemTo);
    }
    if (destination === null) await this.#fs.chmod(to, Number(source.mode) & 0o7777);
  }

  async #copyLink(destination: BigIntStats | null, from: string, to: string): Promise<void> {
    const fs = this.#fs;
    let target = await fs.readlink(from);
    if (!this.#settings.verbatimSymlinks && !posix.isAbsolute(target)) {
      target = posix.resolve(absolute(posix.dirname(from)), target);
    }
    if (destination === null) {
      await fs.symlink(target, to);
      return;
    }
    let old: string;
    try {
      old = await fs.readlink(to);
    } catch (error) {
      if ((error as { code?: string }).code !== "EINVAL") throw error;
      await fs.symlink(target, to);
      return;
    }
    if (!posix.isAbsolute(old)) old = posix.resolve(absolute(posix.dirname(to)), old);
    if (isBelow(target, old)) {
      throw invalid(`cannot copy ${target} to a subdirectory of self ${old}`, to);
    }
    const stats = await fs.stat(from, { bigint: true });
    if (stats.isDirectory() && isBelow(old, target)) {
      throw failure(
        "ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY",
        "Cannot overwrite symlink in subdirectory of self",
        `cannot overwrite ${old} with ${target}`,
        to,
      );
    }
    await fs.unlink(to);
    await fs.symlink(target, to);
  }
}

function absolute(path: string): string {
  return posix.resolve("/", path);
}

/** By names alone; a path is below itself. */
function isBelow(above: string, path: string): boolean {
  const parts = absolute(above).split("/").filter(Boolean);
  const others = absolute(path).split("/").filter(Boolean);
  return parts.every((part, index) => others[index] === part);
}

function intoItself(from: string, to: string): Error {
  return invalid(`cannot copy ${from} to a subdirectory of self ${to}`, to);
}

async function missingIsNull<T>(promise: Promise<T>): Promise<T | null> {
  try {
    return await promise;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return null;
    throw error;
  }
}

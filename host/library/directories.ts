/** Directories: making, listing and removing them. */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { posix } from "node:path";
import { EBUSY, EEXIST, EINVAL, ENOTDIR, ENOTEMPTY, EROFS } from "../base/errno.ts";
import {
  decodeName,
  type EncodingOption,
  type Path,
  type PathLike,
  validBoolean,
  validInteger,
  validMode,
  validOptions,
  validPath,
} from "./arguments.ts";
import type { AttributeFunctions } from "./attributes.ts";
import type { Calls } from "./calls.ts";
import { type Dir, type Dirent, type DirOptions, toDirent, typeBits } from "./directory.ts";
import { systemError } from "./errors.ts";
import { newNode, umask } from "./new_node.ts";
import type { Opener } from "./opener.ts";
import { removeTree } from "./remove_tree.ts";
import type { Walker } from "./walk.ts";

const { S_IFDIR, S_IFMT } = constants;
const SLASH = Buffer.from("/");
const TEMPORARY_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/** Options of mkdir(). */
export interface MakeDirectoryOptions {
  /** Make the directories above too, and let it be there already. */
  recursive?: boolean | undefined;
  /** Default 0o777, less the umask. */
  mode?: number | string | undefined;
}

/** Options of readdir(). */
export interface ReadDirectoryOptions {
  /** How names become text, default "utf8"; "buffer" for Buffers. */
  encoding?: string | null | undefined;
  /** Entries that tell their type, instead of names. */
  withFileTypes?: boolean | undefined;
  /** The directories below too, with names relative to the path. */
  recursive?: boolean | undefined;
}

/** The functions of directories. */
export class Directories {
  readonly #calls: Calls;
  readonly #walker: Walker;
  readonly #opener: Opener;
  readonly #attributes: AttributeFunctions;

  constructor(calls: Calls, walker: Walker, opener: Opener, attributes: AttributeFunctions) {
    this.#calls = calls;
    this.#walker = walker;
    this.#opener = opener;
    this.#attributes = attributes;
  }

  /**
   * Makes a directory.
   *
   * @returns With `recursive`, the first directory that was made, or undefined if all were there.
   */
  async mkdir(
    path: PathLike,
    options?: MakeDirectoryOptions | number | string | null,
  ): Promise<string | undefined> {
    const settings =
      typeof options === "number" || typeof options === "string" ? { mode: options } : options;
    const { recursive = false, mode = 0o777 } = settings ?? {};
    const at = validPath(path);
    validBoolean(recursive, "options.recursive");
    const bits = validMode(mode, 0o777);
    if (recursive) return await this.#makeDirectories(at, bits);
    await this.#makeDirectory(at, bits, { syscall: "mkdir", path: at.text });
    return undefined;
  }

  async #makeDirectory(
    path: Path,
    mode: number,
    context: { syscall: string; path: string },
  ): Promise<void> {
    const calls = this.#calls;
    const walker = this.#walker;
    await calls.call(context, () => {
      const status = walker.toNew(path.bytes, true);
      if (status < 0) return status;
      return calls.fs.makeDirectory(
        walker.parent,
        calls.encodeName(walker.name),
        walker.name.length,
        newNode(S_IFDIR | (mode & 0o1777 & ~umask())),
        calls.attributes,
      );
    });
  }

  async #makeDirectories(path: Path, mode: number): Promise<string | undefined> {
    const context = { syscall: "mkdir", path: path.text };
    // Down to up until one can be made, then up to down: as few steps as there are missing ones.
    const missing = [path];
    let first: Path | undefined;
    while (missing.length > 0) {
      const at = missing.at(-1)!;
      try {
        await this.#makeDirectory(at, mode, context);
        first ??= at;
        missing.pop();
      } catch (error) {
        const { code } = error as { code?: string };
        if (code === "ENOENT" && first === undefined) {
          const above = validPath(dirname(at));
          if (above.bytes.equals(at.bytes) || above.text === ".") throw error;
          missing.push(above);
        } else if (code === "EEXIST") {
          const above = missing.length > 1;
          const stats = await this.#attributes.stat(at.given).catch((failure) => {
            // Node names the dangling symlink where it is in the way.
            if (failure.code === "ENOENT" && above) {
              throw systemError(ENOTDIR, { syscall: "mkdir", path: at.text });
            }
            throw systemError(failure.errno, context);
          });
          if (!stats.isDirectory()) throw systemError(above ? ENOTDIR : EEXIST, context);
          missing.pop();
        } else throw error;
      }
    }
    return first?.text.replace(/(?<=[^/])\/+$/, "");
  }

  /**
   * Makes a directory of a new name.
   *
   * @param prefix Six letters and digits are put behind it.
   * @returns Its path.
   */
  mkdtemp(prefix: PathLike, options: "buffer" | { encoding: "buffer" }): Promise<Buffer>;
  /** As text. */
  mkdtemp(prefix: PathLike, options?: EncodingOption): Promise<string>;
  async mkdtemp(prefix: PathLike, options?: EncodingOption): Promise<string | Buffer> {
    const { encoding } = validOptions<{ encoding?: string | null }>(options, {});
    const start = validPath(prefix, "prefix");
    if (start.bytes.length === 0) throw systemError(EINVAL, { syscall: "mkdtemp", path: "XXXXXX" });
    for (;;) {
      let letters = "";
      for (const byte of randomBytes(6)) letters += TEMPORARY_LETTERS[byte % 62];
      const path = validPath(Buffer.concat([start.bytes, Buffer.from(letters)]));
      const context = { syscall: "mkdtemp", path: `${start.text}XXXXXX` };
      try {
        await this.#makeDirectory(path, 0o700, context);
        return decodeName(path.bytes, encoding);
      } catch (error) {
        if ((error as { code?: string }).code !== "EEXIST") throw error;
      }
    }
  }

  /** Names in a directory, in the order of their bytes, or entries that tell the type too. */
  readdir(
    path: PathLike,
    options: { encoding: "buffer"; withFileTypes?: false; recursive?: boolean } | "buffer",
  ): Promise<Buffer[]>;
  /** As entries. */
  readdir(
    path: PathLike,
    options: { encoding?: BufferEncoding | null; withFileTypes: true; recursive?: boolean },
  ): Promise<Dirent[]>;
  /** As text. */
  readdir(
    path: PathLike,
    options?:
      | { encoding?: BufferEncoding | null; withFileTypes?: false; recursive?: boolean }
      | BufferEncoding
      | null,
  ): Promise<string[]>;
  /** As the options say. */
  readdir(
    path: PathLike,
    options?: ReadDirectoryOptions | string | null,
  ): Promise<string[] | Buffer[] | Dirent[]>;
  async readdir(
    path: PathLike,
    options?: ReadDirectoryOptions | string | null,
  ): Promise<string[] | Buffer[] | Dirent[]> {
    const { encoding, withFileTypes, recursive } = validOptions<ReadDirectoryOptions>(options, {});
    const at = validPath(path);
    const result: (string | Buffer | Dirent)[] = [];
    const root = await this.#opener.openDirectory(at, "scandir");
    // Directories still to be read, the next one last; names below the path.
    const left: { ino: number; below: Buffer; path: string }[] = [
      { ino: root, below: Buffer.alloc(0), path: at.text },
    ];
    try {
      while (left.length > 0) {
        const current = left.pop()!;
        const context = { syscall: "scandir", path: current.path };
        let entries: Awaited<ReturnType<Calls["list"]>>;
        try {
          entries = await this.#calls.list(current.ino, context);
        } catch (error) {
          // Removed since its entry was read.
          if ((error as { code?: string }).code === "ENOENT" && current.below.length > 0) continue;
          throw error;
        }
        for (const entry of entries) {
          const below =
            current.below.length === 0
              ? entry.name
              : Buffer.concat([current.below, SLASH, entry.name]);
          if (withFileTypes) result.push(toDirent(entry, current.path, encoding));
          else result.push(decodeName(below, encoding));
          if (recursive && typeBits(entry) === S_IFDIR) {
            left.push({
              ino: entry.ino,
              below,
              path: posix.join(current.path, entry.name.toString()),
            });
          }
        }
      }
    } finally {
      await this.#calls.forget(root);
    }
    return result as string[] | Buffer[] | Dirent[];
  }

  /** Opens a directory, to read its entries one by one: `for await (const entry of await opendir(path))`. */
  async opendir(path: PathLike, options?: DirOptions | string | null): Promise<Dir> {
    const at = validPath(path);
    const settings = validOptions<DirOptions>(options, { encoding: "utf8" });
    if (settings.bufferSize !== undefined) {
      validInteger(settings.bufferSize, "options.bufferSize", 1, 2 ** 32 - 1);
    }
    return await this.#opener.dir(at, settings);
  }

  /** Removes an empty directory. */
  async rmdir(
    path: PathLike,
    options?: { recursive?: boolean; maxRetries?: number },
  ): Promise<void> {
    const at = validPath(path);
    if (options?.recursive === true) {
      // Node's older way to say rm; it insists on a directory.
      if ((await this.#attributes.stat(at.given)).isDirectory())
        return await removeTree(this.#calls, this.#walker, path, { recursive: true });
    }
    const calls = this.#calls;
    const walker = this.#walker;
    await calls.call({ syscall: "rmdir", path: at.text }, () => {
      let status = walker.toParent(at.bytes);
      if (status < 0) return status;
      if (walker.kind === "dot") return -EINVAL;
      if (walker.kind === "dot-dot") return -ENOTEMPTY;
      if (walker.kind === "root") return -EBUSY;
      status = walker.lookupLast();
      if (status < 0) return status;
      if ((calls.attributes.mode & S_IFMT) !== S_IFDIR) return -ENOTDIR;
      if (calls.fs.readOnly) return -EROFS;
      return calls.fs.removeDirectory(
        walker.parent,
        calls.encodeName(walker.name),
        walker.name.length,
      );
    });
  }
}

/** The path above, in the form of the path. */
function dirname(path: Path): string | Buffer {
  if (typeof path.given === "string") return posix.dirname(path.given);
  return Buffer.from(posix.dirname(path.bytes.toString("latin1")), "latin1");
}

/**
 * Directory entries and open directories, as Node's fs.Dirent and fs.Dir.
 */
import type { Buffer } from "node:buffer";
import { constants } from "node:fs";
import { posix } from "node:path";
import { decodeName } from "./arguments.ts";
import type { Calls, RawEntry } from "./calls.ts";
import { codedError, synchronousError } from "./errors.ts";

const { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } = constants;

/** A directory entry; the name is a Buffer when the encoding "buffer" was asked for. */
export class Dirent<N extends string | Buffer = string> {
  /** The name, without the path. */
  name: N;
  /** The directory that was read, as it was named. */
  parentPath: string;
  /** The same; Node's older name. */
  path: string;
  readonly #type: number;

  /** Made by the volume's functions, not by programs. @param type S_IFMT bits. */
  constructor(name: N, type: number, parentPath: string) {
    this.name = name;
    this.parentPath = parentPath;
    this.path = parentPath;
    this.#type = type;
  }

  /** Whether it is a regular file. */
  isFile(): boolean {
    return this.#type === S_IFREG;
  }
  /** Whether it is a directory. */
  isDirectory(): boolean {
    return this.#type === S_IFDIR;
  }
  /** Whether it is a symbolic link. */
  isSymbolicLink(): boolean {
    return this.#type === S_IFLNK;
  }
  /** Whether it is a block device. */
  isBlockDevice(): boolean {
    return this.#type === S_IFBLK;
  }
  /** Whether it is a character device. */
  isCharacterDevice(): boolean {
    return this.#type === S_IFCHR;
  }
  /** Whether it is a FIFO. */
  isFIFO(): boolean {
    return this.#type === S_IFIFO;
  }
  /** Whether it is a socket. */
  isSocket(): boolean {
    return this.#type === S_IFSOCK;
  }
}

/** The S_IFMT bits of a raw entry's type. */
export function typeBits(entry: RawEntry): number {
  return entry.type << 12;
}

export function toDirent(
  entry: RawEntry,
  parentPath: string,
  encoding: string | null | undefined,
): Dirent {
  return new Dirent(decodeName(entry.name, encoding) as string, typeBits(entry), parentPath);
}

/** What an open directory needs to know. */
export interface DirOptions {
  /** How names become text, default "utf8"; "buffer" for Buffers. */
  encoding?: string | null | undefined;
  /** Entries fetched at a time; default 32. */
  bufferSize?: number | undefined;
  /** Whether the entries of directories below follow, each after its directory. */
  recursive?: boolean | undefined;
}

/**
 * An open directory. Entries come in the directory's own order; those made or removed meanwhile may or may not come.
 * Iterating closes it.
 */
export class Dir {
  /** The path that the operation was given. */
  readonly path: string;
  /** For `await using`: close(), unless it is closed. Missing where the runtime has no such symbol. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly #calls: Calls;
  readonly #options: DirOptions;
  readonly #buffered: Dirent[] = [];
  /** Directories still to be read, the current one last. */
  readonly #open: { ino: number; path: string; cookie: number }[];
  readonly #ino: number;
  #closed = false;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #onClose: () => void;

  /** The directory's reference, taken by the caller, is given back by close(). */
  constructor(calls: Calls, ino: number, path: string, options: DirOptions, onClose: () => void) {
    this.#calls = calls;
    this.#ino = ino;
    this.path = path;
    this.#options = options;
    this.#open = [{ ino, path, cookie: 0 }];
    this.#onClose = onClose;
    if (Symbol.asyncDispose !== undefined) {
      Object.defineProperty(this, Symbol.asyncDispose, { value: () => this.#dispose() });
    }
  }

  /** The next entry, or null after the last. */
  read(): Promise<Dirent | null> {
    if (this.#closed) return Promise.reject(closedError());
    const result = this.#turn.then(() => this.#calls.guard(() => this.#next()));
    this.#turn = result.catch(() => {});
    return result;
  }

  async #next(): Promise<Dirent | null> {
    while (this.#buffered.length === 0) {
      const current = this.#open.at(-1);
      if (current === undefined) return null;
      const context = { syscall: "scandir", path: current.path };
      const { entries, cookie, end } = await this.#calls.listSome(
        current.ino,
        current.cookie,
        this.#options.bufferSize ?? 32,
        context,
      );
      if (end) {
        this.#open.pop();
        continue;
      }
      current.cookie = cookie;
      for (const entry of entries) {
        this.#buffered.push(toDirent(entry, current.path, this.#options.encoding));
        if (this.#options.recursive === true && typeBits(entry) === S_IFDIR) {
          const path = posix.join(current.path, entry.name.toString());
          this.#open.unshift({ ino: entry.ino, path, cookie: 0 });
        }
      }
    }
    return this.#buffered.shift()!;
  }

  /** Not there: a volume has no synchronous functions. */
  readSync(): never {
    throw synchronousError("readSync");
  }

  /** Gives the directory back; reading goes no more. */
  async close(): Promise<void> {
    if (this.#closed) throw closedError();
    this.#closed = true;
    await this.#turn;
    this.#onClose();
    await this.#calls.forget(this.#ino);
  }

  /** Not there: a volume has no synchronous functions. */
  closeSync(): never {
    throw synchronousError("closeSync");
  }

  async #dispose(): Promise<void> {
    if (!this.#closed) await this.close();
  }

  /** All entries that are left; closes the directory at their end. */
  async *entries(): AsyncGenerator<Dirent, void, void> {
    try {
      for (;;) {
        const entry = await this.read();
        if (entry === null) break;
        yield entry;
      }
    } finally {
      await this.#dispose();
    }
  }

  /** As entries(). */
  [Symbol.asyncIterator](): AsyncGenerator<Dirent, void, void> {
    return this.entries();
  }
}

function closedError(): Error {
  return codedError("ERR_DIR_CLOSED", "Directory handle was closed");
}

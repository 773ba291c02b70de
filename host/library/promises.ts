/**
 * The functions of node:fs/promises over a volume.
 *
 * Each operation is a walk and one change, made in one synchronous step (calls.ts). No permissions are checked: who
 * opens a volume is its root. New objects belong to the process and obey its umask.
 *
 * Durability: what a function did survives a crash after sync(), after FileHandle.sync() of an object changed later,
 * with the option `flush`, or with the volume's next checkpoint, some seconds later.
 */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { constants, type ReadStream, type WriteStream } from "node:fs";
import { posix } from "node:path";
import process from "node:process";
import {
  EACCES,
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENAMETOOLONG,
  ENOENT,
  ENOSYS,
  ENOTDIR,
  ENOTEMPTY,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  EROFS,
} from "../base/errno.ts";
import {
  AttributeChange,
  NewNode,
  ROOT_INO,
  SET_KILL_PRIVILEGES,
  SET_MODE,
  SET_SIZE,
  VolumeSpace,
} from "../fs/file_system.ts";
import {
  decodeName,
  type EncodingOption,
  isView,
  type Path,
  type PathLike,
  type TimeLike,
  throwIfAborted,
  validBoolean,
  validFlags,
  validId,
  validInteger,
  validMode,
  validOptions,
  validPath,
  validText,
  validTime,
} from "./arguments.ts";
import type { Calls } from "./calls.ts";
import { type CopyOptions, copyTree } from "./copy_tree.ts";
import { Dir, type Dirent, type DirOptions, toDirent, typeBits } from "./directory.ts";
import { codedError, refuseSynchronous, systemError } from "./errors.ts";
import {
  type FileData,
  FileHandle,
  isPieces,
  ownerChange,
  type ReadFileOptions,
  timesChange,
  type WriteFileOptions,
  webStreamOf,
} from "./file_handle.ts";
import { type RemoveOptions, removeTree } from "./remove_tree.ts";
import { BigIntStats, StatFs, Stats } from "./stats.ts";
import {
  type ReadStreamOptions,
  readStreamAt,
  type WriteStreamOptions,
  writeStreamAt,
} from "./streams.ts";
import { Walker } from "./walk.ts";
import { getXattr, listXattr, removeXattr, setXattr, type XattrOptions } from "./xattrs.ts";

const {
  COPYFILE_EXCL,
  COPYFILE_FICLONE_FORCE,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  W_OK,
  X_OK,
} = constants;
const ACCESS_MODE = 3;
const COPY_STEP_BYTES = 1024 * 1024;
const TEMPORARY_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/** Whether 64-bit integers are wanted. */
export interface BigIntOption {
  /** 64-bit integers, with nanoseconds. */
  bigint?: boolean | undefined;
}

/** Options of mkdir(). */
export interface MakeDirectoryOptions {
  /** Make the directories above too, and let it be there already. */
  recursive?: boolean | undefined;
  /** Default 0o777, less the umask. */
  mode?: number | string | undefined;
}

/** Options of readdir(). */
export interface ReadDirectoryOptions {
  /** How bytes become text; "buffer" or none for a Buffer. */
  encoding?: string | null | undefined;
  /** Entries that tell their type, instead of names. */
  withFileTypes?: boolean | undefined;
  /** The directories below too, with names relative to the path. */
  recursive?: boolean | undefined;
}

/** The interface of node:fs/promises; see the Node manual for what is not said here. */
export class VolumePromises {
  readonly #calls: Calls;
  readonly #walker: Walker;
  /** What is open: files by descriptor, directories by negative numbers. */
  readonly #handles: Map<number, { close(): Promise<void> }>;

  /** Unguarded: programs get what guardedPromises() makes of it. */
  constructor(calls: Calls, handles: Map<number, { close(): Promise<void> }>) {
    this.#calls = calls;
    this.#walker = new Walker(calls);
    this.#handles = handles;
  }

  /** Node's fs.constants. */
  get constants(): typeof constants {
    return constants;
  }

  // --- Files -------------------------------------------------------------------------------------------------------

  /**
   * Opens a file.
   *
   * @param flags "r" (default), "w", "a+", …, or O_* bits.
   * @param mode Of a file that is made; default 0o666, less the umask.
   */
  async open(path: PathLike, flags?: string | number, mode?: number | string): Promise<FileHandle> {
    return await this.#openHandle(path, flags, mode, true);
  }

  /** Opens a file for a caller (guarded) or for an operation of ours. */
  async #openHandle(
    pathLike: PathLike,
    flagsLike: string | number | undefined,
    modeLike: number | string | undefined,
    guarded: boolean,
  ): Promise<FileHandle> {
    const path = validPath(pathLike);
    const flags = validFlags(flagsLike);
    const mode = validMode(modeLike, 0o666);
    const ino = await this.#openInode(path, flags, mode);
    let fd = 3;
    while (this.#handles.has(fd)) fd += 1;
    const onClose = (): void => {
      this.#handles.delete(fd);
    };
    const handle = new FileHandle(this.#calls, { ino, fd, flags, guarded, onClose });
    this.#handles.set(fd, handle);
    return handle;
  }

  /** @returns The inode's number, with a reference taken. */
  async #openInode(path: Path, flags: number, mode: number): Promise<number> {
    const calls = this.#calls;
    const walker = this.#walker;
    const { attributes, fs } = calls;
    const writes = (flags & ACCESS_MODE) !== O_RDONLY || (flags & O_TRUNC) !== 0;
    const exclusive = (flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0;
    const context = { syscall: "open", path: path.text };
    return await calls.call(context, () => {
      if ((flags & O_CREAT) !== 0 && (flags & O_DIRECTORY) !== 0) return -EINVAL;
      const follow = (flags & O_NOFOLLOW) === 0 && !exclusive;
      let status = 0;
      if ((flags & O_CREAT) !== 0) {
        // Whatever is there: with a slash behind, nothing is created.
        status = walker.toParent(path.bytes);
        if (status < 0) return status;
        if (walker.trailingSlash && walker.kind === "name") return -EISDIR;
      }
      status = walker.to(path.bytes, follow);
      if (status === -ENOENT && walker.creatable && (flags & O_CREAT) !== 0) {
        if (walker.trailingSlash) return -EISDIR;
        if (fs.readOnly) return -EROFS;
        status = fs.makeNode(
          walker.parent,
          calls.encodeName(walker.name),
          walker.name.length,
          newNode(S_IFREG | (mode & 0o7777 & ~umask())),
          attributes,
        );
        if (status < 0) return status;
        calls.remember(attributes.ino);
        return attributes.ino;
      }
      if (status < 0) return status;
      const ino = walker.ino;
      if (exclusive) return -EEXIST;
      const type = attributes.mode & S_IFMT;
      if (type === S_IFLNK) return -ELOOP;
      if ((flags & O_CREAT) !== 0 && walker.trailingSlash) return -EISDIR;
      if (type === S_IFDIR) {
        if (writes || (flags & O_CREAT) !== 0) return -EISDIR;
      } else {
        if ((flags & O_DIRECTORY) !== 0) return -ENOTDIR;
        // What a FIFO, socket or device stands for is outside of the volume.
        if (type !== S_IFREG) return -ENXIO;
        if (writes && fs.readOnly) return -EROFS;
        if ((flags & O_TRUNC) !== 0) {
          const change = new AttributeChange();
          change.set = SET_SIZE;
          status = fs.setAttributes(ino, change, attributes);
          if (status < 0) return status;
        }
      }
      calls.remember(ino);
      return ino;
    });
  }

  /** Opens, works and closes; the error of the work comes first. */
  async #with<T>(
    path: PathLike,
    flags: string | number,
    mode: number | string | undefined,
    work: (handle: FileHandle) => Promise<T>,
  ): Promise<T> {
    const handle = await this.#openHandle(path, flags, mode, false);
    try {
      return await work(handle);
    } finally {
      await handle.close();
    }
  }

  /** Reads a whole file: a Buffer, or a string when there is an encoding. */
  readFile(
    path: PathLike | FileHandle,
    options?: { encoding?: null | undefined; flag?: string | number; signal?: AbortSignal } | null,
  ): Promise<Buffer>;
  /** As text. */
  readFile(
    path: PathLike | FileHandle,
    options:
      | { encoding: BufferEncoding; flag?: string | number; signal?: AbortSignal }
      | BufferEncoding,
  ): Promise<string>;
  /** As the options say. */
  readFile(
    path: PathLike | FileHandle,
    options?: ReadFileOptions | string | null,
  ): Promise<string | Buffer>;
  async readFile(
    path: PathLike | FileHandle,
    options?: ReadFileOptions | string | null,
  ): Promise<string | Buffer> {
    const settings = validOptions<ReadFileOptions>(options, { flag: "r" });
    if (path instanceof FileHandle) return await path.readFile(settings);
    throwIfAborted(settings.signal);
    return await this.#with(path, settings.flag || "r", 0o666, (handle) =>
      handle.readFile(settings),
    );
  }

  /** Replaces a file's content: text, bytes, or pieces of them from an iterable or a stream. */
  async writeFile(
    path: PathLike | FileHandle,
    data: FileData,
    options?: WriteFileOptions | string | null,
  ): Promise<void> {
    const settings = validOptions<WriteFileOptions>(options, {
      encoding: "utf8",
      mode: 0o666,
      flag: "w",
      flush: false,
    });
    const flush = validBoolean(settings.flush ?? false, "options.flush");
    if (!isView(data) && !isPieces(data)) validText(data, "data");
    if (path instanceof FileHandle) return await path.writeFile(data, settings);
    throwIfAborted(settings.signal);
    await this.#with(path, settings.flag || "w", settings.mode, async (handle) => {
      await handle.writeFile(data, settings);
      if (flush) await handle.sync();
    });
  }

  /** Adds to a file's end, and makes the file if there is none. */
  async appendFile(
    path: PathLike | FileHandle,
    data: FileData,
    options?: WriteFileOptions | string | null,
  ): Promise<void> {
    const settings = validOptions<WriteFileOptions>(options, {
      encoding: "utf8",
      mode: 0o666,
      flag: "a",
    });
    await this.writeFile(path, data, { ...settings, flag: settings.flag || "a" });
  }

  /** Makes a file this long: cut, or with zeros at its end. */
  async truncate(path: PathLike, length: number = 0): Promise<void> {
    await this.#with(path, "r+", undefined, (handle) => handle.truncate(length));
  }

  /**
   * Copies a file's content and permissions.
   *
   * @param mode COPYFILE_EXCL: fail if there is something already.
   */
  async copyFile(source: PathLike, destination: PathLike, mode?: number): Promise<void> {
    const from = validPath(source, "src");
    const to = validPath(destination, "dest");
    const flags = mode === undefined || mode === null ? 0 : validInteger(mode, "mode", 0, 7);
    const context = { syscall: "copyfile", path: from.text, dest: to.text };
    if ((flags & COPYFILE_FICLONE_FORCE) !== 0) throw systemError(EOPNOTSUPP, context);
    const calls = this.#calls;
    const walker = this.#walker;
    const { attributes, fs } = calls;
    let sourceMode = 0;
    const sourceIno = await calls.call(context, () => {
      const status = walker.to(from.bytes, true);
      if (status < 0) return status;
      sourceMode = attributes.mode;
      if ((sourceMode & S_IFMT) === S_IFDIR) return -EISDIR;
      if ((sourceMode & S_IFMT) !== S_IFREG) return -ENXIO;
      calls.remember(walker.ino);
      return walker.ino;
    });
    try {
      const openFlags = O_WRONLY | O_CREAT | ((flags & COPYFILE_EXCL) !== 0 ? O_EXCL : 0);
      const targetIno = await this.#openInode(to, openFlags, sourceMode & 0o7777).catch((error) => {
        if (typeof error.errno === "number") throw systemError(error.errno, context);
        throw error;
      });
      try {
        if (targetIno !== sourceIno) {
          const change = new AttributeChange();
          change.set = SET_SIZE | SET_MODE;
          change.mode = sourceMode & 0o7777;
          await calls.call(context, () => fs.setAttributes(targetIno, change, attributes));
          const buffer = Buffer.allocUnsafeSlow(COPY_STEP_BYTES);
          for (let offset = 0; ; ) {
            const count = await calls.read(sourceIno, offset, buffer, context);
            await calls.write(targetIno, offset, buffer.subarray(0, count), context);
            offset += count;
            if (count < buffer.length) break;
          }
        }
      } finally {
        await calls.forget(targetIno);
      }
    } finally {
      await calls.forget(sourceIno);
    }
  }

  /** Copies a file, or with `recursive` a directory with all that is in it. */
  async cp(source: PathLike, destination: PathLike, options?: CopyOptions): Promise<void> {
    await copyTree(this, source, destination, options);
  }

  // --- Names -------------------------------------------------------------------------------------------------------

  /** Gives an object another name; what had the name goes, in the same step. */
  async rename(oldPath: PathLike, newPath: PathLike): Promise<void> {
    const from = validPath(oldPath, "oldPath");
    const to = validPath(newPath, "newPath");
    const calls = this.#calls;
    const walker = this.#walker;
    const { attributes, fs } = calls;
    await calls.call({ syscall: "rename", path: from.text, dest: to.text }, () => {
      let status = walker.toParent(from.bytes);
      if (status < 0) return status;
      const { parent, name, kind, trailingSlash } = walker;
      status = walker.toParent(to.bytes);
      if (status < 0) return status;
      if (kind !== "name" || walker.kind !== "name") return -EBUSY;
      if (fs.readOnly) return -EROFS;
      status = fs.lookup(parent, calls.encodeName(name), name.length, attributes);
      if (status < 0) return status;
      const ino = attributes.ino;
      const isDirectory = (attributes.mode & S_IFMT) === S_IFDIR;
      if (!isDirectory && (trailingSlash || walker.trailingSlash)) return -ENOTDIR;
      if (isDirectory) {
        for (let at = walker.parent; at !== ROOT_INO; ) {
          if (at === ino) return -EINVAL;
          at = fs.parentOf(at);
          if (at < 0) return at;
        }
      }
      status = walker.lookupLast();
      if (status >= 0 && walker.ino === ino) return 0;
      if (status >= 0 && (attributes.mode & S_IFMT) === S_IFDIR) {
        for (let at = parent; at !== ROOT_INO; ) {
          if (at === walker.ino) return -ENOTEMPTY;
          at = fs.parentOf(at);
          if (at < 0) return at;
        }
      }
      return fs.rename(
        parent,
        calls.encodeName(name, 0),
        name.length,
        walker.parent,
        calls.encodeName(walker.name, 1),
        walker.name.length,
        0,
      );
    });
  }

  /** Gives a file one more name. A symlink is not followed: it is linked itself. */
  async link(existingPath: PathLike, newPath: PathLike): Promise<void> {
    const from = validPath(existingPath, "existingPath");
    const to = validPath(newPath, "newPath");
    const calls = this.#calls;
    const walker = this.#walker;
    const { attributes, fs } = calls;
    await calls.call({ syscall: "link", path: from.text, dest: to.text }, () => {
      let status = walker.to(from.bytes, false);
      if (status < 0) return status;
      const ino = walker.ino;
      const isDirectory = (attributes.mode & S_IFMT) === S_IFDIR;
      status = this.#toNew(to, false);
      if (status < 0) return status;
      if (isDirectory) return -EPERM;
      return fs.link(
        ino,
        walker.parent,
        calls.encodeName(walker.name),
        walker.name.length,
        attributes,
      );
    });
  }

  /** Walks to where something new shall be. */
  #toNew(path: Path, isDirectory: boolean): number {
    const walker = this.#walker;
    let status = walker.toParent(path.bytes);
    if (status < 0) return status;
    if (walker.kind !== "name") return -EEXIST;
    status = walker.lookupLast();
    if (status >= 0) return -EEXIST;
    if (status !== -ENOENT) return status;
    if (walker.trailingSlash && !isDirectory) return -ENOENT;
    return this.#calls.fs.readOnly ? -EROFS : 0;
  }

  /**
   * Makes a symbolic link.
   *
   * @param target What it says: any text, up to 4,095 bytes; need not exist.
   * @param _type For Windows; not used.
   */
  async symlink(target: PathLike, path: PathLike, _type?: string | null): Promise<void> {
    const to = validPath(target, "target");
    const at = validPath(path);
    const calls = this.#calls;
    const walker = this.#walker;
    const { attributes, fs } = calls;
    await calls.call({ syscall: "symlink", path: to.text, dest: at.text }, () => {
      if (to.bytes.length === 0) return -ENOENT;
      if (to.bytes.length > 4095) return -ENAMETOOLONG;
      const status = this.#toNew(at, false);
      if (status < 0) return status;
      return fs.makeSymlink(
        walker.parent,
        calls.encodeName(walker.name),
        walker.name.length,
        calls.encodeValue(to.bytes),
        to.bytes.length,
        newNode(S_IFLNK | 0o777),
        attributes,
      );
    });
  }

  /** Takes a name away; the file goes with its last name, when nobody has it open. */
  async unlink(path: PathLike): Promise<void> {
    const at = validPath(path);
    const calls = this.#calls;
    const walker = this.#walker;
    await calls.call({ syscall: "unlink", path: at.text }, () => {
      let status = walker.toParent(at.bytes);
      if (status < 0) return status;
      if (walker.kind !== "name") return -EISDIR;
      status = walker.lookupLast();
      if (status < 0) return status;
      if ((calls.attributes.mode & S_IFMT) === S_IFDIR) return -EISDIR;
      if (walker.trailingSlash) return -ENOTDIR;
      if (calls.fs.readOnly) return -EROFS;
      return calls.fs.unlink(walker.parent, calls.encodeName(walker.name), walker.name.length);
    });
  }

  /** What a symbolic link says. */
  readlink(path: PathLike, options: "buffer" | { encoding: "buffer" }): Promise<Buffer>;
  /** As text. */
  readlink(path: PathLike, options?: EncodingOption): Promise<string>;
  async readlink(path: PathLike, options?: EncodingOption): Promise<string | Buffer> {
    const { encoding } = validOptions<{ encoding?: string | null }>(options, {});
    const at = validPath(path, "oldPath");
    const calls = this.#calls;
    let target: Buffer = Buffer.alloc(0);
    await calls.call({ syscall: "readlink", path: at.text }, () => {
      let status = this.#walker.to(at.bytes, false);
      if (status < 0) return status;
      if ((calls.attributes.mode & S_IFMT) !== S_IFLNK) return -EINVAL;
      status = calls.fs.readLink(this.#walker.ino, calls.valueAddress, 4096);
      if (status >= 0) target = calls.copyOut(calls.valueAddress, status);
      return status;
    });
    return decodeName(target, encoding);
  }

  /** The path without symbolic links, "." and "..". */
  realpath(path: PathLike, options: "buffer" | { encoding: "buffer" }): Promise<Buffer>;
  /** As text. */
  realpath(path: PathLike, options?: EncodingOption): Promise<string>;
  async realpath(path: PathLike, options?: EncodingOption): Promise<string | Buffer> {
    const { encoding } = validOptions<{ encoding?: string | null }>(options, {});
    const at = validPath(path);
    let bytes: Buffer = Buffer.alloc(0);
    await this.#calls.call({ syscall: "realpath", path: at.text }, () => {
      const status = this.#walker.to(at.bytes, true);
      if (status < 0) return status;
      const { trail } = this.#walker;
      bytes = Buffer.concat(trail.length === 0 ? [SLASH] : trail.flatMap((name) => [SLASH, name]));
      return 0;
    });
    return decodeName(bytes, encoding);
  }

  // --- Directories -------------------------------------------------------------------------------------------------

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
      const status = this.#toNew(path, true);
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
          const stats = await this.stat(at.given).catch((failure) => {
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
    const root = await this.#openDirectory(at, "scandir");
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

  /** @returns A directory's inode number, with a reference taken. */
  async #openDirectory(path: Path, syscall: string): Promise<number> {
    const calls = this.#calls;
    return await calls.call({ syscall, path: path.text }, () => {
      const status = this.#walker.to(path.bytes, true);
      if (status < 0) return status;
      if ((calls.attributes.mode & S_IFMT) !== S_IFDIR) return -ENOTDIR;
      calls.remember(this.#walker.ino);
      return this.#walker.ino;
    });
  }

  /** Opens a directory, to read its entries one by one: `for await (const entry of await opendir(path))`. */
  async opendir(path: PathLike, options?: DirOptions | string | null): Promise<Dir> {
    const at = validPath(path);
    const settings = validOptions<DirOptions>(options, { encoding: "utf8" });
    if (settings.bufferSize !== undefined) {
      validInteger(settings.bufferSize, "options.bufferSize", 1, 2 ** 32 - 1);
    }
    const ino = await this.#openDirectory(at, "opendir");
    // Descriptors are for files; what is open is found by them when the volume is closed.
    let key = -1;
    while (this.#handles.has(key)) key -= 1;
    const dir = new Dir(this.#calls, ino, at.text, settings, () => this.#handles.delete(key));
    this.#handles.set(key, dir);
    return dir;
  }

  /** Removes an empty directory. */
  async rmdir(
    path: PathLike,
    options?: { recursive?: boolean; maxRetries?: number },
  ): Promise<void> {
    const at = validPath(path);
    if (options?.recursive === true) {
      // Node's older way to say rm; it insists on a directory.
      if ((await this.stat(at.given)).isDirectory())
        return await this.rm(path, { recursive: true });
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

  /** Removes a file, or with `recursive` a directory with all that is in it; with `force`, nothing is no error. */
  async rm(path: PathLike, options?: RemoveOptions): Promise<void> {
    await removeTree(this.#calls, this.#walker, path, options);
  }

  // --- Attributes --------------------------------------------------------------------------------------------------

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
      return status < 0 ? status : this.#calls.fs.space(space);
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
    const change = new AttributeChange();
    change.set = SET_MODE;
    change.mode = validMode(mode) & 0o7777;
    await this.#change(at, "chmod", true, change);
  }

  /** Not there, as in Node on Linux: a symlink has no permissions. */
  async lchmod(_path: PathLike, _mode: number | string): Promise<void> {
    throw codedError("ERR_METHOD_NOT_IMPLEMENTED", "The lchmod() method is not implemented");
  }

  /** @param uid, gid −1 leaves it as it is. */
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

  // --- Extended attributes (not in Node) -----------------------------------------------------------------------------

  /**
   * Reads an extended attribute.
   *
   * @throws {SystemCallError} ENODATA when there is none of the name.
   */
  async getXattr(
    path: PathLike,
    name: string | Uint8Array,
    options?: XattrOptions,
  ): Promise<Buffer> {
    return await getXattr(this.#calls, this.#walker, path, name, options);
  }

  /**
   * Sets an extended attribute.
   *
   * @param name With its class: "user.comment".
   * @param options.create Fail with EEXIST if it is there. @param options.replace Fail with ENODATA if it is not.
   */
  async setXattr(
    path: PathLike,
    name: string | Uint8Array,
    value: string | NodeJS.ArrayBufferView,
    options?: XattrOptions & { create?: boolean; replace?: boolean },
  ): Promise<void> {
    await setXattr(this.#calls, this.#walker, path, name, value, options);
  }

  /** Names of the extended attributes. */
  async listXattr(path: PathLike, options?: XattrOptions): Promise<string[]> {
    return await listXattr(this.#calls, this.#walker, path, options);
  }

  /**
   * Removes an extended attribute.
   *
   * @throws {SystemCallError} ENODATA when there is none of the name.
   */
  async removeXattr(
    path: PathLike,
    name: string | Uint8Array,
    options?: XattrOptions,
  ): Promise<void> {
    await removeXattr(this.#calls, this.#walker, path, name, options);
  }

  // --- Streams (in Node, functions of node:fs) -----------------------------------------------------------------------

  /** A node:stream of a file. */
  createReadStream(path: PathLike, options?: ReadStreamOptions | string): ReadStream {
    return readStreamAt(path, options, (at, flags, mode) => this.#openForStream(at, flags, mode));
  }

  /** A node:stream into a file. */
  createWriteStream(path: PathLike, options?: WriteStreamOptions | string): WriteStream {
    return writeStreamAt(path, options, (at, flags, mode) => this.#openForStream(at, flags, mode));
  }

  #openForStream(path: PathLike, flags: string, mode: number): Promise<FileHandle> {
    return this.#calls.guard(() => this.#openHandle(path, flags, mode, true));
  }

  /** A byte stream of the web kind: `new Response(volume.promises.readable("/page.html"))`. */
  readable(path: PathLike): ReadableStream<Uint8Array> {
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (reader === undefined) {
          const handle = await this.#openForStream(path, "r", 0);
          reader = webStreamOf(handle, () => handle.close()).getReader();
        }
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: async (reason) => {
        await reader?.cancel(reason);
      },
    });
  }

  /** Not there: fails with ENOSYS. */
  // biome-ignore lint/correctness/useYield: Node's is an iterator too, which fails when it is asked for the first event.
  async *watch(path: PathLike): AsyncGenerator<never, void, void> {
    throw systemError(ENOSYS, { syscall: "watch", path: validPath(path, "filename").text });
  }
}

const SLASH = Buffer.from("/");

function dirname(path: Path): string | Buffer {
  if (typeof path.given === "string") return posix.dirname(path.given);
  return Buffer.from(posix.dirname(path.bytes.toString("latin1")), "latin1");
}

function newNode(mode: number): NewNode {
  const node = new NewNode();
  node.mode = mode;
  node.uid = process.getuid?.() ?? 0;
  node.gid = process.getgid?.() ?? 0;
  return node;
}

function umask(): number {
  try {
    return process.umask();
  } catch {
    // Deno without the permission to ask.
    return 0o022;
  }
}

/** Methods that do not return a promise. */
const IMMEDIATE: ReadonlySet<string> = new Set([
  "createReadStream",
  "createWriteStream",
  "readable",
  "watch",
]);

/**
 * What programs get: free functions, as those of node:fs/promises are, each refused once the volume is being closed and
 * waited for by close().
 */
export function guardedPromises(calls: Calls, inner: VolumePromises): VolumePromises {
  const outer = Object.create(VolumePromises.prototype) as Record<string, unknown>;
  const methods = inner as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const name of Object.getOwnPropertyNames(VolumePromises.prototype)) {
    if (name === "constructor" || name === "constants") continue;
    const method = methods[name]!.bind(inner);
    const value = IMMEDIATE.has(name)
      ? method
      : (...args: unknown[]): Promise<unknown> => calls.guard(() => method(...args));
    Object.defineProperty(value, "name", { value: name });
    Object.defineProperty(outer, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  Object.defineProperty(outer, "constants", { value: constants, enumerable: true });
  refuseSynchronous(outer);
  return outer as unknown as VolumePromises;
}

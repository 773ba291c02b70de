/** Files: opening them, and what is done with the content of a whole file. */
import { Buffer } from "node:buffer";
import { constants } from "node:fs";
import { EISDIR, ENXIO, EOPNOTSUPP } from "../base/errno.ts";
import { SET_MODE } from "../fs/file_system.ts";
import {
  isView,
  type PathLike,
  throwIfAborted,
  validBoolean,
  validInteger,
  validOptions,
  validPath,
  validText,
} from "./arguments.ts";
import { sizeChange } from "./attribute_changes.ts";
import type { Calls } from "./calls.ts";
import { type CallContext, systemError } from "./errors.ts";
import {
  type FileData,
  isPieces,
  type ReadFileOptions,
  type WriteFileOptions,
} from "./file_data.ts";
import { FileHandle } from "./file_handle.ts";
import type { Opener } from "./opener.ts";
import type { Walker } from "./walk.ts";

const { COPYFILE_EXCL, COPYFILE_FICLONE_FORCE, O_CREAT, O_EXCL, O_WRONLY } = constants;
const { S_IFDIR, S_IFMT, S_IFREG } = constants;
/** The two of lseek() that Node has no names for. */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const COPY_STEP_BYTES = 1024 * 1024;

/** The functions of files. */
export class Files {
  readonly #calls: Calls;
  readonly #walker: Walker;
  readonly #opener: Opener;

  constructor(calls: Calls, walker: Walker, opener: Opener) {
    this.#calls = calls;
    this.#walker = walker;
    this.#opener = opener;
  }

  /**
   * Opens a file.
   *
   * @param flags "r" (default), "w", "a+", …, or O_* bits.
   * @param mode Of a file that is made; default 0o666, less the umask.
   */
  async open(path: PathLike, flags?: string | number, mode?: number | string): Promise<FileHandle> {
    return await this.#opener.open(path, flags, mode, true);
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
    return await this.#opener.with(path, settings.flag || "r", 0o666, (handle) =>
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
    await this.#opener.with(path, settings.flag || "w", settings.mode, async (handle) => {
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
    await this.#opener.with(path, "r+", undefined, (handle) => handle.truncate(length));
  }

  /**
   * Copies a file's content and permissions. The copy shares the blocks of the original until one of them is written; what
   * is a hole stays one.
   *
   * @param mode COPYFILE_EXCL: fail if there is something already. COPYFILE_FICLONE and COPYFILE_FICLONE_FORCE change
   *   nothing.
   */
  async copyFile(source: PathLike, destination: PathLike, mode?: number): Promise<void> {
    const from = validPath(source, "src");
    const to = validPath(destination, "dest");
    const flags = mode === undefined || mode === null ? 0 : validInteger(mode, "mode", 0, 7);
    const context = { syscall: "copyfile", path: from.text, dest: to.text };
    const calls = this.#calls;
    const walker = this.#walker;
    const { attributes, fs } = calls;
    let sourceMode = 0;
    let size = 0;
    const sourceIno = await calls.call(context, () => {
      const status = walker.to(from.bytes, true);
      if (status < 0) return status;
      sourceMode = attributes.mode;
      size = attributes.size;
      if ((sourceMode & S_IFMT) === S_IFDIR) return -EISDIR;
      if ((sourceMode & S_IFMT) !== S_IFREG) return -ENXIO;
      calls.remember(walker.ino);
      return walker.ino;
    });
    try {
      const openFlags = O_WRONLY | O_CREAT | ((flags & COPYFILE_EXCL) !== 0 ? O_EXCL : 0);
      const targetIno = await this.#opener
        .openInode(to, openFlags, sourceMode & 0o7777)
        .catch((error) => {
          if (typeof error.errno === "number") throw systemError(error.errno, context);
          throw error;
        });
      try {
        if (targetIno !== sourceIno) {
          const change = sizeChange(0);
          change.set |= SET_MODE;
          change.mode = sourceMode & 0o7777;
          await calls.call(context, () => fs.setAttributes(targetIno, change, attributes));
          const shared = await calls.copyRange(sourceIno, targetIno, size, context);
          if (shared === null && (flags & COPYFILE_FICLONE_FORCE) !== 0)
            throw systemError(EOPNOTSUPP, context);
          if (shared === null) await this.#copyData(sourceIno, targetIno, size, context);
        }
      } finally {
        await calls.forget(targetIno);
      }
    } finally {
      await calls.forget(sourceIno);
    }
  }

  /** Copies what there is in the first bytes of a file into an empty one; holes stay holes. */
  async #copyData(from: number, to: number, size: number, context: CallContext): Promise<void> {
    const calls = this.#calls;
    const { attributes, fs } = calls;
    const buffer = Buffer.allocUnsafeSlow(Math.min(size, COPY_STEP_BYTES));
    for (let offset = 0; offset < size; ) {
      let start = offset;
      let end = size;
      await calls.call(context, () => {
        const data = fs.seek(from, offset, SEEK_DATA);
        start = data === -ENXIO ? size : data < 0 ? offset : data;
        const hole = start < size ? fs.seek(from, start, SEEK_HOLE) : size;
        end = hole < 0 ? size : Math.min(hole, size);
        return 0;
      });
      for (let at = start; at < end; ) {
        const step = buffer.subarray(0, Math.min(buffer.length, end - at));
        const count = await calls.read(from, at, step, context);
        // It became shorter meanwhile.
        if (count === 0) return;
        await calls.write(to, at, step.subarray(0, count), context);
        at += count;
      }
      offset = Math.max(start, end);
    }
    await calls.call(context, () => fs.setAttributes(to, sizeChange(size), attributes));
  }
}

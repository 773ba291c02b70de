/**
 * Opening: from a path and flags to a file or directory that is open, and the list of all that are, for the volume's
 * end. The functions of the volume open through this, so that what O_CREAT or a trailing slash means is said once.
 */
import { constants } from "node:fs";
import { EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, ENXIO, EROFS } from "../base/errno.ts";
import { type Path, type PathLike, validFlags, validMode, validPath } from "./arguments.ts";
import { sizeChange } from "./attribute_changes.ts";
import type { Calls } from "./calls.ts";
import { Dir, type DirOptions } from "./directory.ts";
import { FileHandle } from "./file_handle.ts";
import { newNode, umask } from "./new_node.ts";
import type { Walker } from "./walk.ts";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_TRUNC } = constants;
const { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } = constants;
const ACCESS_MODE = 3;

/** What is open: files by descriptor, directories by negative numbers. */
export type Handles = Map<number, { close(): Promise<void> }>;

/** Opens files and directories of a volume. */
export class Opener {
  readonly #calls: Calls;
  readonly #walker: Walker;
  readonly #handles: Handles;

  constructor(calls: Calls, walker: Walker, handles: Handles) {
    this.#calls = calls;
    this.#walker = walker;
    this.#handles = handles;
  }

  /** Opens a file for a caller (guarded) or for an operation of ours. */
  async open(
    pathLike: PathLike,
    flagsLike: string | number | undefined,
    modeLike: number | string | undefined,
    guarded: boolean,
  ): Promise<FileHandle> {
    const path = validPath(pathLike);
    const flags = validFlags(flagsLike);
    const mode = validMode(modeLike, 0o666);
    const ino = await this.openInode(path, flags, mode);
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
  async openInode(path: Path, flags: number, mode: number): Promise<number> {
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
          status = fs.setAttributes(ino, sizeChange(0), attributes);
          if (status < 0) return status;
        }
      }
      calls.remember(ino);
      return ino;
    });
  }

  /** Opens, works and closes; the error of the work comes first. */
  async with<T>(
    path: PathLike,
    flags: string | number,
    mode: number | string | undefined,
    work: (handle: FileHandle) => Promise<T>,
  ): Promise<T> {
    const handle = await this.open(path, flags, mode, false);
    try {
      return await work(handle);
    } finally {
      await handle.close();
    }
  }

  /** @returns A directory's inode number, with a reference taken. */
  async openDirectory(path: Path, syscall: string): Promise<number> {
    const calls = this.#calls;
    return await calls.call({ syscall, path: path.text }, () => {
      const status = this.#walker.to(path.bytes, true);
      if (status < 0) return status;
      if ((calls.attributes.mode & S_IFMT) !== S_IFDIR) return -ENOTDIR;
      calls.remember(this.#walker.ino);
      return this.#walker.ino;
    });
  }

  /** @param path Of the directory, for its `path`. */
  async dir(path: Path, options: DirOptions): Promise<Dir> {
    const ino = await this.openDirectory(path, "opendir");
    // Descriptors are for files; what is open is found by them when the volume is closed.
    let key = -1;
    while (this.#handles.has(key)) key -= 1;
    const dir = new Dir(this.#calls, ino, path.text, options, () => this.#handles.delete(key));
    this.#handles.set(key, dir);
    return dir;
  }
}

/** Names of objects: renaming, hard and symbolic links, and what a path says when links are followed. */
import { Buffer } from "node:buffer";
import { constants } from "node:fs";
import {
  EBUSY,
  EINVAL,
  EISDIR,
  ENAMETOOLONG,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  EROFS,
} from "../base/errno.ts";
import { ROOT_INO } from "../fs/file_system.ts";
import {
  decodeName,
  type EncodingOption,
  type PathLike,
  validOptions,
  validPath,
} from "./arguments.ts";
import type { Calls } from "./calls.ts";
import { newNode } from "./new_node.ts";
import type { Walker } from "./walk.ts";

const { S_IFDIR, S_IFLNK, S_IFMT } = constants;
const SLASH = Buffer.from("/");

/** The functions of names and links. */
export class Names {
  readonly #calls: Calls;
  readonly #walker: Walker;

  constructor(calls: Calls, walker: Walker) {
    this.#calls = calls;
    this.#walker = walker;
  }

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
      status = walker.toNew(to.bytes, false);
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
      const status = walker.toNew(at.bytes, false);
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
}

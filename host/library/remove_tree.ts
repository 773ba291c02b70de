/**
 * rm: removes a tree, going down by inode numbers, so that nobody can lead it elsewhere by renaming meanwhile. Each
 * entry is one step; a crash in between leaves a smaller tree.
 */
import { Buffer } from "node:buffer";
import { constants } from "node:fs";
import { EBUSY, EINVAL, EISDIR, ENOTDIR, EROFS } from "../base/errno.ts";
import { type PathLike, validBoolean, validInteger, validObject, validPath } from "./arguments.ts";
import type { Calls } from "./calls.ts";
import { operationError, type SystemCallError } from "./errors.ts";
import type { Walker } from "./walk.ts";

const { S_IFDIR, S_IFLNK, S_IFMT } = constants;

/** Options of rm(). */
export interface RemoveOptions {
  /** Nothing there is no error. */
  force?: boolean | undefined;
  /** Directories too, with all that is in them. */
  recursive?: boolean | undefined;
  /** Taken for Node's sake: nothing here is busy for a while. */
  maxRetries?: number | undefined;
  /** Taken for Node's sake. */
  retryDelay?: number | undefined;
}

export async function removeTree(
  calls: Calls,
  walker: Walker,
  path: PathLike,
  options: RemoveOptions | undefined,
): Promise<void> {
  const at = validPath(path);
  if (options !== undefined) validObject(options, "options");
  const recursive = validBoolean(options?.recursive ?? false, "options.recursive");
  validInteger(options?.retryDelay ?? 100, "options.retryDelay", 0, 2 ** 31 - 1);
  validInteger(options?.maxRetries ?? 0, "options.maxRetries", 0, 2 ** 32 - 1);
  const force = validBoolean(options?.force ?? false, "options.force");
  let parent = 0;
  let name: Buffer = Buffer.alloc(0);
  let mode = 0;
  let special = false;
  let isLink = false;
  try {
    await calls.call({ syscall: "lstat", path: at.text }, () => {
      let status = walker.to(at.bytes, false);
      if (status < 0) return status;
      mode = calls.attributes.mode;
      status = walker.toParent(at.bytes);
      if (status < 0) return status;
      ({ parent, name } = walker);
      special = walker.kind !== "name";
      if (special) return 0;
      const address = calls.encodeName(name);
      status = calls.fs.lookup(parent, address, name.length, calls.attributes);
      isLink = status >= 0 && (calls.attributes.mode & S_IFMT) === S_IFLNK;
      return status;
    });
  } catch (error) {
    if (force && (error as SystemCallError).code === "ENOENT") return;
    throw error;
  }
  if ((mode & S_IFMT) === S_IFDIR && !recursive) {
    throw operationError("ERR_FS_EISDIR", "Path is a directory", {
      code: "EISDIR",
      message: "is a directory",
      path: at.text,
      syscall: "rm",
      errno: EISDIR,
    });
  }
  // "link/" is what the link leads to: neither of them is what this path names in its directory. As Node does, not a word.
  if (isLink && (mode & S_IFMT) !== S_IFLNK) return;
  await remove(calls, { parent, name, path: at.text, special });
}

interface Target {
  readonly parent: number;
  readonly name: Buffer;
  /** For errors. */
  readonly path: string;
  /** ".", ".." or "/": cannot be removed. */
  readonly special: boolean;
  /** Not empty, and yet nothing was found in it: the next time this is an error. */
  isOdd?: boolean;
}

/** Removes a file or an empty directory. @returns Whether it is gone; else it is a directory with entries. */
async function removeOne(calls: Calls, target: Target, into: { ino: number }): Promise<boolean> {
  const { attributes, fs } = calls;
  const context = { syscall: "unlink", path: target.path };
  try {
    await calls.call(context, () => {
      const address = calls.encodeName(target.name);
      context.syscall = "unlink";
      const status = fs.lookup(target.parent, address, target.name.length, attributes);
      if (status < 0) return status;
      into.ino = attributes.ino;
      if (fs.readOnly) return -EROFS;
      if ((attributes.mode & S_IFMT) !== S_IFDIR) {
        return fs.unlink(target.parent, calls.encodeName(target.name), target.name.length);
      }
      context.syscall = "rmdir";
      return fs.removeDirectory(target.parent, calls.encodeName(target.name), target.name.length);
    });
    return true;
  } catch (error) {
    const { code } = error as SystemCallError;
    // Somebody else was faster.
    if (code === "ENOENT") return true;
    if (code === "ENOTEMPTY" && target.isOdd !== true) return false;
    throw error;
  }
}

async function remove(calls: Calls, target: Target): Promise<void> {
  if (target.special) {
    await calls.call({ syscall: "rmdir", path: target.path }, () =>
      target.name.length === 1 ? -EINVAL : -EBUSY,
    );
    return;
  }
  // A stack of our own: trees may be deeper than the engine's.
  const stack: Target[] = [target];
  while (stack.length > 0) {
    const current = stack.at(-1)!;
    const found = { ino: 0 };
    if (await removeOne(calls, current, found)) {
      stack.pop();
      continue;
    }
    const context = { syscall: "scandir", path: current.path };
    const { entries } = await calls.listSome(found.ino, 0, 1024, context).catch((error) => {
      const { code } = error as SystemCallError;
      if (code === "ENOENT" || error.errno === -ENOTDIR) return { entries: [] };
      throw error;
    });
    current.isOdd = entries.length === 0;
    for (const entry of entries) {
      const path = `${current.path.replace(/\/$/, "")}/${entry.name.toString()}`;
      stack.push({ parent: found.ino, name: entry.name, path, special: false });
    }
  }
}

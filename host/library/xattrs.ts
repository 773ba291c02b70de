/** Extended attributes by path, which node:fs does not have. Names carry their class: "user.comment". */
import { Buffer } from "node:buffer";
import { constants } from "node:fs";
import { ENODATA, EPERM, ERANGE, EROFS } from "../base/errno.ts";
import { NAME_BYTES_MAX } from "../fs/file_system.ts";
import { bytesOf, isView, type PathLike, validPath, validText } from "./arguments.ts";
import { type Calls, SCRATCH_VALUE_BYTES } from "./calls.ts";
import { systemError } from "./errors.ts";
import type { Walker } from "./walk.ts";

/** XATTR_SIZE_MAX and XATTR_LIST_MAX. */
const VALUE_BYTES_MAX = 65536;
const { S_IFDIR, S_IFMT, S_IFREG } = constants;
const USER = Buffer.from("user.");
const CREATE = 1;
const REPLACE = 2;

/** Whether a symlink at the path's end is followed; default true. */
export interface XattrOptions {
  /** Default true. */
  followSymlinks?: boolean | undefined;
}

function nameBytes(name: string | Uint8Array): Buffer {
  return validPath(name as PathLike, "name").bytes;
}

/** The name's length, or −ERANGE as the kernel says when it is none or too long. */
function checkName(name: Buffer): number {
  return name.length === 0 || name.length > NAME_BYTES_MAX ? -ERANGE : 0;
}

/**
 * What Linux asks of a name before the file system does: attributes of the class "user" are for files and directories.
 *
 * @param refusal What is said to others.
 * @returns 0 or −errno.
 */
function checkAccess(name: Buffer, mode: number, refusal: number): number {
  if (checkName(name) < 0) return -ERANGE;
  const type = mode & S_IFMT;
  if (type === S_IFREG || type === S_IFDIR) return 0;
  return name.subarray(0, USER.length).equals(USER) ? -refusal : 0;
}

/** The functions of extended attributes. */
export class XattrFunctions {
  readonly #calls: Calls;
  readonly #walker: Walker;

  constructor(calls: Calls, walker: Walker) {
    this.#calls = calls;
    this.#walker = walker;
  }

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
    const at = validPath(path);
    const key = nameBytes(name);
    const context = { syscall: "getxattr", path: at.text };
    const follow = options?.followSymlinks !== false;
    return await readValue(this.#calls, context, (address, length) => {
      let status = this.#walker.to(at.bytes, follow);
      if (status < 0) return status;
      status = checkAccess(key, this.#calls.attributes.mode, ENODATA);
      if (status < 0) return status;
      return this.#calls.fs.getXattr(
        this.#walker.ino,
        this.#calls.encodeName(key),
        key.length,
        address,
        length,
      );
    });
  }

  /** Names of the extended attributes. */
  async listXattr(path: PathLike, options?: XattrOptions): Promise<string[]> {
    const at = validPath(path);
    const context = { syscall: "listxattr", path: at.text };
    const follow = options?.followSymlinks !== false;
    const names = await readValue(this.#calls, context, (address, length) => {
      const status = this.#walker.to(at.bytes, follow);
      return status < 0 ? status : this.#calls.fs.listXattr(this.#walker.ino, address, length);
    });
    return names.toString().split("\0").slice(0, -1);
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
    const at = validPath(path);
    const key = nameBytes(name);
    const bytes = isView(value) ? bytesOf(value) : Buffer.from(validText(value, "value"));
    const flags =
      (options?.create === true ? CREATE : 0) | (options?.replace === true ? REPLACE : 0);
    const context = { syscall: "setxattr", path: at.text };
    const follow = options?.followSymlinks !== false;
    // E2BIG is what the kernel says, before it looks at the path.
    if (bytes.length > VALUE_BYTES_MAX) throw systemError(7, context);
    const store = (address: number): number => {
      let status = this.#walker.to(at.bytes, follow);
      if (status < 0) return status;
      if (this.#calls.fs.readOnly) return -EROFS;
      status = checkAccess(key, this.#calls.attributes.mode, EPERM);
      if (status < 0) return status;
      this.#calls.set(address, bytes);
      const nameAddress = this.#calls.encodeName(key);
      return this.#calls.fs.setXattr(
        this.#walker.ino,
        nameAddress,
        key.length,
        address,
        bytes.length,
        flags,
      );
    };
    if (bytes.length <= SCRATCH_VALUE_BYTES) {
      await this.#calls.call(context, () => store(this.#calls.valueAddress));
    } else {
      await this.#calls.withBuffer(bytes.length, (address) =>
        this.#calls.call(context, () => store(address)),
      );
    }
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
    const at = validPath(path);
    const key = nameBytes(name);
    const follow = options?.followSymlinks !== false;
    await this.#calls.call({ syscall: "removexattr", path: at.text }, () => {
      let status = this.#walker.to(at.bytes, follow);
      if (status < 0) return status;
      if (this.#calls.fs.readOnly) return -EROFS;
      status = checkAccess(key, this.#calls.attributes.mode, EPERM);
      if (status < 0) return status;
      return this.#calls.fs.removeXattr(this.#walker.ino, this.#calls.encodeName(key), key.length);
    });
  }
}

/** Reads into the scratch, and what does not fit there into a buffer of its own. */
async function readValue(
  calls: Calls,
  context: { syscall: string; path: string },
  read: (address: number, length: number) => number,
): Promise<Buffer> {
  let value: Buffer | null = null;
  await calls.call(context, () => {
    value = null;
    const length = read(calls.valueAddress, SCRATCH_VALUE_BYTES);
    if (length === -ERANGE) return read(calls.valueAddress, 0);
    if (length >= 0) value = calls.copyOut(calls.valueAddress, length);
    return length;
  });
  if (value !== null) return value;
  return await calls.withBuffer(VALUE_BYTES_MAX, async (address) => {
    const length = await calls.call(context, () => read(address, VALUE_BYTES_MAX));
    return calls.copyOut(address, length);
  });
}

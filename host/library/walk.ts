/**
 * From paths to inodes, by POSIX rules: all relative to the root, ".." stops there, symlinks are followed up to 40,
 * a trailing slash asks for a directory.
 *
 * Synchronous, so that a walk and the operation it is for are one step: nothing moves between them. May throw Retry.
 *
 * @see https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap04.html#tag_04_16
 */
import { Buffer } from "node:buffer";
import { constants } from "node:fs";
import { EEXIST, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EROFS } from "../base/errno.ts";
import { NAME_BYTES_MAX, ROOT_INO } from "../fs/file_system.ts";
import { type Calls, SCRATCH_VALUE_BYTES } from "./calls.ts";

const { S_IFDIR, S_IFLNK, S_IFMT } = constants;
const SYMLINKS_MAX = 40;
/** PATH_MAX, with the NUL that we do not have. */
const PATH_BYTES_MAX = 4096;
const SLASH = 0x2f;
const DOT = 0x2e;
const NO_NAME = Buffer.alloc(0);

/** What the last component is: some operations have no meaning for ".", ".." and "/". */
export type LastKind = "name" | "dot" | "dot-dot" | "root";

/** One walk's result; valid until the next walk. */
export class Walker {
  readonly #calls: Calls;
  /** The directory that holds the last component. */
  parent: number = ROOT_INO;
  /** The last component. */
  name: Buffer = NO_NAME;
  kind: LastKind = "root";
  trailingSlash = false;
  /** The object found, its attributes in `calls.attributes`. */
  ino: number = ROOT_INO;
  /** Of a walk that failed with ENOENT: only the last component is missing, so it could be created. */
  creatable = false;
  /** Names from the root to the object, without symlinks. */
  trail: Buffer[] = [];

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Finds the directory of a path's last component, which itself is not looked at.
   *
   * @returns 0 or −errno; sets parent, name, kind, trailingSlash.
   */
  toParent(path: Uint8Array): number {
    return this.#walk(path, false, true);
  }

  /**
   * Finds an object.
   *
   * @param follow Whether a symlink at the end is followed; one before the end, or before a trailing slash, always is.
   * @returns 0 or −errno; sets ino, `calls.attributes`, trail and, unless it ends at a directory by "..", parent and
   *   name.
   */
  to(path: Uint8Array, follow: boolean): number {
    return this.#walk(path, follow, false);
  }

  /** Looks the last component up after toParent(). @returns 0 or −errno; sets ino and `calls.attributes`. */
  lookupLast(): number {
    const calls = this.#calls;
    const status = calls.fs.lookup(
      this.parent,
      calls.encodeName(this.name),
      this.name.length,
      calls.attributes,
    );
    if (status >= 0) this.ino = calls.attributes.ino;
    return status;
  }

  /**
   * Finds where something new shall be.
   *
   * @returns 0 or −errno: EEXIST if there is something already; sets parent and name.
   */
  toNew(path: Uint8Array, isDirectory: boolean): number {
    let status = this.toParent(path);
    if (status < 0) return status;
    if (this.kind !== "name") return -EEXIST;
    status = this.lookupLast();
    if (status >= 0) return -EEXIST;
    if (status !== -ENOENT) return status;
    if (this.trailingSlash && !isDirectory) return -ENOENT;
    return this.#calls.fs.readOnly ? -EROFS : 0;
  }

  #walk(path: Uint8Array, follow: boolean, parentOnly: boolean): number {
    this.creatable = false;
    this.kind = "root";
    this.name = NO_NAME;
    this.trailingSlash = false;
    this.parent = ROOT_INO;
    this.trail = [];
    if (path.length === 0) return -ENOENT;
    if (path.length >= PATH_BYTES_MAX) return -ENAMETOOLONG;
    const calls = this.#calls;
    const { attributes, fs } = calls;
    const left: Buffer[] = [];
    this.#push(path, left);
    let current = ROOT_INO;
    // Whether `attributes` are those of `current`.
    let known = false;
    let links = 0;
    this.ino = current;
    while (left.length > 0) {
      const name = left.pop()!;
      const last = left.length === 0;
      if (known && (attributes.mode & S_IFMT) !== S_IFDIR) return -ENOTDIR;
      const dots = name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));
      if (last) {
        this.parent = current;
        this.name = name;
        this.kind = dots ? (name.length === 1 ? "dot" : "dot-dot") : "name";
        if (parentOnly) return name.length > NAME_BYTES_MAX ? -ENAMETOOLONG : 0;
      }
      if (dots) {
        if (name.length === 2 && current !== ROOT_INO) {
          const up = fs.parentOf(current);
          if (up < 0) return up;
          current = up;
          known = false;
          this.trail.pop();
        }
        continue;
      }
      if (name.length > NAME_BYTES_MAX) return -ENAMETOOLONG;
      const status = fs.lookup(current, calls.encodeName(name), name.length, attributes);
      if (status < 0) {
        this.creatable = status === -ENOENT && last;
        return status;
      }
      const isLink = (attributes.mode & S_IFMT) === S_IFLNK;
      if (isLink && (!last || follow || this.trailingSlash)) {
        links += 1;
        if (links > SYMLINKS_MAX) return -ELOOP;
        const length = fs.readLink(attributes.ino, calls.valueAddress, SCRATCH_VALUE_BYTES);
        if (length < 0) return length;
        const target = calls.copyOut(calls.valueAddress, length);
        if (length === 0) return -ENOENT;
        if (target[0] === SLASH) {
          current = ROOT_INO;
          this.trail = [];
        }
        this.kind = "root";
        known = false;
        this.#push(target, left, last);
        continue;
      }
      current = attributes.ino;
      known = true;
      this.trail.push(name);
    }
    this.ino = current;
    if (!known) {
      const status = fs.getAttributes(current, attributes);
      if (status < 0) return status;
    }
    if (this.trailingSlash && !parentOnly && (attributes.mode & S_IFMT) !== S_IFDIR) {
      return -ENOTDIR;
    }
    return 0;
  }

  /** Puts a path's components on the stack, the first on top. */
  #push(path: Uint8Array, left: Buffer[], last: boolean = true): void {
    const bytes = Buffer.from(path.buffer, path.byteOffset, path.byteLength);
    let end = bytes.length;
    if (last && bytes[end - 1] === SLASH) this.trailingSlash = true;
    while (end > 0) {
      const slash = bytes.lastIndexOf(SLASH, end - 1);
      if (slash + 1 < end) left.push(bytes.subarray(slash + 1, end));
      end = slash;
    }
  }
}

/**
 * File system calls by path, as libfuse 2's high-level interface asks them, over the interface by inode.
 *
 * Invariants.
 * - An operation walks its path and makes its change in one synchronous function, run again from the start on Retry:
 *   nobody sees it half done, and no path goes stale between the walk and the change.
 * - Who calls is not known here. Only the user who mounted gets in (no allow_other), so new objects are theirs.
 * - Permissions are the kernel's business (default_permissions), and so is taking set-user-id away.
 *
 * Files that are removed while open. libfuse 2 renames them to `.fuse_hidden` and two numbers, and removes that when
 * they are closed. Here such a rename removes the name at once and keeps the file for its open handles: nothing is
 * listed, link counts are true, and a crash leaves nothing behind. (When their directory is removed too, libfuse has no
 * path for them any more, and answers ENOENT itself.) The second number counts up by one for each, so
 * another's rename to such a name is a rename.
 */
import { Buffer } from "node:buffer";
import {
  EBADF,
  EBUSY,
  EINVAL,
  EIO,
  ENAMETOOLONG,
  ENOENT,
  ENOTDIR,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  ERANGE,
} from "../base/errno.ts";
import {
  AttributeChange,
  type Attributes,
  type FileSystem,
  NAME_BYTES_MAX,
  NewNode,
  ROOT_INO,
  SET_ATIME,
  SET_GID,
  SET_MODE,
  SET_MTIME,
  SET_SIZE,
  SET_UID,
  VolumeSpace,
} from "../fs/file_system.ts";
import { type Calls, SCRATCH_VALUE_BYTES } from "../library/calls.ts";
import { encodeEntry, encodeSpace, encodeStat, fitsStat } from "./stat.ts";

/** linux/errno.h: the name is not UTF-8, which is all that fuse-native can tell. */
const EILSEQ = 84;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const UNCHANGED = 0xffff_ffff;
const LINK_BYTES_MAX = 4095;
const XATTR_BYTES_MAX = 65_536;
const ACL_PREFIX = "system.posix_acl_";
const REPLACEMENT = "\ufffd";
const HIDDEN = /^\.fuse_hidden[0-9a-f]{8}([0-9a-f]{8})$/;
/** libfuse passes over names that exist. */
const HIDDEN_STEP_MAX = 16;
/** libfuse keeps handles in 64 bits, fuse-native in 31. */
const HANDLE_MAX = 0x7fff_ffff;

interface Handle {
  readonly ino: number;
}

export interface Listing {
  readonly names: string[];
  readonly stats: Uint32Array[];
}

export class Operations {
  readonly #calls: Calls;
  readonly #fs: FileSystem;
  readonly #owner: { readonly uid: number; readonly gid: number };
  readonly #handles = new Map<number, Handle>();
  readonly #opened = new Map<number, number>();
  /** By directory and name: what was removed while open. */
  readonly #hidden = new Map<string, number>();
  #hiddenCount = 0;
  #lastHandle = 0;
  // Of the walk that ended last.
  #parent = 0;
  #name: Buffer = Buffer.alloc(0);
  #text = "";

  constructor(calls: Calls, owner: { readonly uid: number; readonly gid: number }) {
    this.#calls = calls;
    this.#fs = calls.fs;
    this.#owner = owner;
  }

  get #out(): Attributes {
    return this.#calls.attributes;
  }

  /** Walks to the directory of a path's last name: `#parent`, `#name`. @returns 0 or −errno. */
  #walkToParent(path: string): number {
    // A byte that is not UTF-8 has become this; which it was cannot be known.
    if (path.includes(REPLACEMENT)) return -EILSEQ;
    const names = path.split("/").filter((name) => name !== "");
    const last = names.pop();
    if (last === undefined) return -EBUSY;
    let ino = ROOT_INO;
    for (const name of names) {
      const status = this.#step(ino, name);
      if (status < 0) return status;
      ino = status;
    }
    this.#parent = ino;
    this.#text = last;
    this.#name = Buffer.from(last, "utf8");
    return this.#name.length > NAME_BYTES_MAX ? -ENAMETOOLONG : 0;
  }

  /** @returns The inode of a name; `#out` holds its attributes. */
  #step(parent: number, text: string): number {
    const removed = this.#hidden.get(`${parent}/${text}`);
    if (removed !== undefined) {
      const status = this.#fs.getAttributes(removed, this.#out);
      return status < 0 ? status : removed;
    }
    const name = Buffer.from(text, "utf8");
    if (name.length > NAME_BYTES_MAX) return -ENAMETOOLONG;
    const status = this.#fs.lookup(parent, this.#calls.encodeName(name), name.length, this.#out);
    return status < 0 ? status : this.#out.ino;
  }

  /** @returns The inode of a path; `#out` holds its attributes. */
  #walk(path: string): number {
    if (path === "/") {
      const status = this.#fs.getAttributes(ROOT_INO, this.#out);
      return status < 0 ? status : ROOT_INO;
    }
    const status = this.#walkToParent(path);
    return status < 0 ? status : this.#step(this.#parent, this.#text);
  }

  #call(syscall: string, operation: () => number): Promise<number> {
    return this.#calls.call({ syscall }, operation);
  }

  /** Runs on the inode of a path. */
  #at(syscall: string, path: string, operation: (ino: number) => number): Promise<number> {
    return this.#call(syscall, () => {
      const ino = this.#walk(path);
      return ino < 0 ? ino : operation(ino);
    });
  }

  /** Runs on a path's directory and last name. */
  #in(
    syscall: string,
    path: string,
    operation: (parent: number, name: number, length: number) => number,
  ): Promise<number> {
    return this.#call(syscall, () => {
      const status = this.#walkToParent(path);
      if (status < 0) return status;
      return operation(this.#parent, this.#calls.encodeName(this.#name), this.#name.length);
    });
  }

  #inoOf(handle: number): number {
    return this.#handles.get(handle)?.ino ?? -EBADF;
  }

  #stat(path: string): Uint32Array | number {
    if (!fitsStat(this.#out)) return -EOVERFLOW;
    const stat = encodeStat(this.#out);
    // libfuse takes one off for the hidden name that it believes to be there.
    if (this.#isHidden(path)) stat[6] = this.#out.nlink + 1;
    return stat;
  }

  #isHidden(path: string): boolean {
    if (!HIDDEN.test(path.slice(path.lastIndexOf("/") + 1))) return false;
    return [...this.#hidden.values()].includes(this.#out.ino);
  }

  async getattr(path: string): Promise<Uint32Array> {
    let stat: Uint32Array | number = -EIO;
    await this.#at("stat", path, () => {
      stat = this.#stat(path);
      return typeof stat === "number" ? stat : 0;
    });
    return stat as unknown as Uint32Array;
  }

  async fgetattr(path: string, handle: number): Promise<Uint32Array> {
    const ino = this.#inoOf(handle);
    if (ino < 0) return await this.getattr(path);
    let stat: Uint32Array | number = -EIO;
    await this.#call("fstat", () => {
      const status = this.#fs.getAttributes(ino, this.#out);
      if (status < 0) return status;
      stat = this.#stat(path);
      return typeof stat === "number" ? stat : 0;
    });
    return stat as unknown as Uint32Array;
  }

  async readdir(path: string): Promise<Listing> {
    let ino = 0;
    let parent = 0;
    await this.#at("readdir", path, (found) => {
      ino = found;
      parent = this.#fs.parentOf(found);
      return (this.#out.mode & S_IFMT) === S_IFDIR ? parent : -ENOTDIR;
    });
    const names = [".", ".."];
    const stats = [encodeEntry(ino, 4), encodeEntry(parent, 4)];
    for (let cookie = 0; ; ) {
      const batch = await this.#calls.listSome(ino, cookie, 1024, { syscall: "readdir" });
      for (const entry of batch.entries) {
        // A name that is not UTF-8 is shown as well as can be; asked for, it is EILSEQ.
        names.push(entry.name.toString("utf8"));
        stats.push(encodeEntry(entry.ino, entry.type));
      }
      if (batch.end) return { names, stats };
      cookie = batch.cookie;
    }
  }

  async readlink(path: string): Promise<string> {
    let target = "";
    await this.#at("readlink", path, (ino) => {
      const address = this.#calls.valueAddress;
      const length = this.#fs.readLink(ino, address, LINK_BYTES_MAX);
      if (length < 0) return length;
      const bytes = this.#calls.copyOut(address, length);
      target = bytes.toString("utf8");
      return Buffer.from(target, "utf8").equals(bytes) ? 0 : -EILSEQ;
    });
    return target;
  }

  #newNode(mode: number, rdev: number): NewNode {
    const node = new NewNode();
    node.mode = mode;
    node.uid = this.#owner.uid;
    node.gid = this.#owner.gid;
    node.rdev = rdev;
    return node;
  }

  mknod(path: string, mode: number, rdev: number): Promise<number> {
    return this.#in("mknod", path, (parent, name, length) =>
      done(this.#fs.makeNode(parent, name, length, this.#newNode(mode, rdev), this.#out)),
    );
  }

  mkdir(path: string, mode: number): Promise<number> {
    const type = S_IFDIR | (mode & 0o7777);
    return this.#in("mkdir", path, (parent, name, length) =>
      done(this.#fs.makeDirectory(parent, name, length, this.#newNode(type, 0), this.#out)),
    );
  }

  symlink(target: string, path: string): Promise<number> {
    const text = Buffer.from(target, "utf8");
    if (target.includes(REPLACEMENT)) return Promise.resolve(-EILSEQ);
    if (text.length > LINK_BYTES_MAX) return Promise.resolve(-ENAMETOOLONG);
    return this.#in("symlink", path, (parent, name, length) => {
      const address = this.#calls.encodeValue(text);
      const node = this.#newNode(0o120777, 0);
      return done(
        this.#fs.makeSymlink(parent, name, length, address, text.length, node, this.#out),
      );
    });
  }

  link(from: string, to: string): Promise<number> {
    return this.#at("link", from, (ino) => {
      const status = this.#walkToParent(to);
      if (status < 0) return status;
      const name = this.#calls.encodeName(this.#name);
      return done(this.#fs.link(ino, this.#parent, name, this.#name.length, this.#out));
    });
  }

  async unlink(path: string): Promise<number> {
    let removed = 0;
    const status = await this.#in("unlink", path, (parent, name, length) => {
      const key = `${parent}/${this.#text}`;
      removed = this.#hidden.get(key) ?? 0;
      if (removed === 0) return done(this.#fs.unlink(parent, name, length));
      this.#hidden.delete(key);
      return 0;
    });
    if (removed !== 0) await this.#calls.forget(removed);
    return status;
  }

  rmdir(path: string): Promise<number> {
    return this.#in("rmdir", path, (parent, name, length) =>
      done(this.#fs.removeDirectory(parent, name, length)),
    );
  }

  rename(from: string, to: string): Promise<number> {
    return this.#call("rename", () => {
      let status = this.#walkToParent(to);
      if (status < 0) return status;
      const newParent = this.#parent;
      const newName = this.#name;
      const newText = this.#text;
      const replaced = this.#step(newParent, newText);
      status = this.#walkToParent(from);
      if (status < 0) return status;
      const parent = this.#parent;
      const name = this.#name;
      const text = this.#text;
      const count = this.#hiddenNumber(newText);
      if (count > 0 && replaced === -ENOENT) {
        const ino = this.#step(parent, text);
        if (ino < 0) return ino;
        if (this.#opened.has(ino)) {
          status = this.#fs.unlink(parent, this.#calls.encodeName(name), name.length);
          if (status < 0) return status;
          this.#fs.remember(ino, 1);
          this.#hidden.set(`${newParent}/${newText}`, ino);
          this.#hiddenCount = count;
          return 0;
        }
      }
      // What was removed while open has no name to be moved.
      if (this.#hidden.has(`${parent}/${text}`)) return -EPERM;
      return done(
        this.#fs.rename(
          parent,
          this.#calls.encodeName(name, 0),
          name.length,
          newParent,
          this.#calls.encodeName(newName, 1),
          newName.length,
          0,
        ),
      );
    });
  }

  /** The number in a name that libfuse may have chosen just now to hide a file, or 0. */
  #hiddenNumber(name: string): number {
    const count = Number.parseInt(HIDDEN.exec(name)?.[1] ?? "0", 16);
    const step = count - this.#hiddenCount;
    return step > 0 && step <= HIDDEN_STEP_MAX ? count : 0;
  }

  #change(syscall: string, path: string, handle: number, change: AttributeChange): Promise<number> {
    const ino = this.#inoOf(handle);
    const apply = (ino: number): number => done(this.#fs.setAttributes(ino, change, this.#out));
    return ino < 0 ? this.#at(syscall, path, apply) : this.#call(syscall, () => apply(ino));
  }

  chmod(path: string, mode: number): Promise<number> {
    const change = new AttributeChange();
    change.set = SET_MODE;
    change.mode = mode & 0o7777;
    return this.#change("chmod", path, 0, change);
  }

  chown(path: string, uid: number, gid: number): Promise<number> {
    const change = new AttributeChange();
    change.set = (uid === UNCHANGED ? 0 : SET_UID) | (gid === UNCHANGED ? 0 : SET_GID);
    change.uid = uid;
    change.gid = gid;
    return this.#change("chown", path, 0, change);
  }

  /** @param handle 0: by path. */
  truncate(path: string, handle: number, size: number): Promise<number> {
    const change = new AttributeChange();
    change.set = SET_SIZE;
    change.size = size;
    return this.#change("truncate", path, handle, change);
  }

  /** In milliseconds since 1970. */
  utimens(path: string, atimeMs: number, mtimeMs: number): Promise<number> {
    // They could be stored, but not be shown.
    if (atimeMs < 0 || mtimeMs < 0) return Promise.resolve(-EOVERFLOW);
    const change = new AttributeChange();
    change.set = SET_ATIME | SET_MTIME;
    change.atime = Math.floor(atimeMs / 1000);
    change.atimeNs = (atimeMs % 1000) * 1e6;
    change.mtime = Math.floor(mtimeMs / 1000);
    change.mtimeNs = (mtimeMs % 1000) * 1e6;
    return this.#change("utimes", path, 0, change);
  }

  #newHandle(ino: number): number {
    this.#fs.remember(ino, 1);
    do {
      this.#lastHandle = this.#lastHandle >= HANDLE_MAX ? 1 : this.#lastHandle + 1;
    } while (this.#handles.has(this.#lastHandle));
    this.#handles.set(this.#lastHandle, { ino });
    this.#opened.set(ino, (this.#opened.get(ino) ?? 0) + 1);
    return this.#lastHandle;
  }

  open(path: string): Promise<number> {
    return this.#at("open", path, (ino) => this.#newHandle(ino));
  }

  create(path: string, mode: number): Promise<number> {
    return this.#in("open", path, (parent, name, length) => {
      const node = this.#newNode(mode, 0);
      const status = this.#fs.makeNode(parent, name, length, node, this.#out);
      return status < 0 ? status : this.#newHandle(this.#out.ino);
    });
  }

  async release(handle: number): Promise<number> {
    const ino = this.#inoOf(handle);
    if (ino < 0) return 0;
    this.#handles.delete(handle);
    const left = (this.#opened.get(ino) ?? 1) - 1;
    if (left > 0) this.#opened.set(ino, left);
    else {
      this.#opened.delete(ino);
      // libfuse removes a hidden name after this, but not if its directory is gone.
      for (const [key, hidden] of this.#hidden) {
        if (hidden !== ino) continue;
        this.#hidden.delete(key);
        await this.#calls.forget(ino);
      }
    }
    await this.#calls.forget(ino);
    return 0;
  }

  async read(handle: number, offset: number, target: Uint8Array): Promise<number> {
    const ino = this.#inoOf(handle);
    if (ino < 0) return ino;
    return await this.#calls.read(ino, offset, target, { syscall: "read" });
  }

  async write(handle: number, offset: number, data: Uint8Array): Promise<number> {
    const ino = this.#inoOf(handle);
    if (ino < 0) return ino;
    await this.#calls.write(ino, offset, data, { syscall: "write" });
    return data.length;
  }

  async fsync(path: string, dataOnly: boolean, handle: number): Promise<number> {
    let ino = this.#inoOf(handle);
    if (ino < 0) {
      await this.#at("fsync", path, (found) => {
        ino = found;
        return 0;
      });
    }
    await this.#calls.flush(ino, dataOnly, { syscall: "fsync" });
    return 0;
  }

  async statfs(): Promise<Uint32Array> {
    const space = new VolumeSpace();
    await this.#call("statfs", () => done(this.#fs.space(space)));
    return encodeSpace(space);
  }

  async setxattr(path: string, name: string, value: Uint8Array, flags: number): Promise<number> {
    const problem = xattrProblem(name);
    if (problem < 0) return problem;
    if (value.length > XATTR_BYTES_MAX) return -ERANGE;
    const bytes = Buffer.from(name, "utf8");
    const set = (address: number): Promise<number> =>
      this.#at("setxattr", path, (ino) => {
        const length = value.length;
        const at = this.#calls.encodeName(bytes);
        return done(this.#fs.setXattr(ino, at, bytes.length, address, length, flags));
      });
    return await this.#calls.withBuffer(Math.max(1, value.length), async (address) => {
      this.#calls.set(address, value);
      return await set(address);
    });
  }

  /** @returns The value's length; with an empty target it alone. */
  async getxattr(path: string, name: string, target: Uint8Array): Promise<number> {
    const problem = xattrProblem(name);
    if (problem < 0) return problem;
    const bytes = Buffer.from(name, "utf8");
    return await this.#filled("getxattr", path, target, (ino, address, length) =>
      this.#fs.getXattr(ino, this.#calls.encodeName(bytes), bytes.length, address, length),
    );
  }

  /** Names that end in NUL each; as getxattr. */
  async listxattr(path: string, target: Uint8Array): Promise<number> {
    const all = Buffer.alloc(XATTR_BYTES_MAX);
    const isRoot = this.#owner.uid === 0;
    const length = await this.#filled("listxattr", path, all, (ino, address, room) =>
      this.#fs.listXattr(ino, address, room, isRoot),
    );
    const names = all.toString("latin1", 0, length).split("\0").slice(0, -1);
    const shown = names.filter((name) => !name.startsWith(ACL_PREFIX));
    const list = Buffer.from(shown.map((name) => `${name}\0`).join(""), "latin1");
    if (target.length === 0) return list.length;
    if (list.length > target.length) return -ERANGE;
    target.set(list);
    return list.length;
  }

  async #filled(
    syscall: string,
    path: string,
    target: Uint8Array,
    operation: (ino: number, address: number, length: number) => number,
  ): Promise<number> {
    if (target.length <= SCRATCH_VALUE_BYTES) {
      return await this.#at(syscall, path, (ino) => {
        const address = this.#calls.valueAddress;
        const length = operation(ino, address, target.length);
        if (length > 0 && target.length > 0) target.set(this.#calls.copyOut(address, length));
        return length;
      });
    }
    return await this.#calls.withBuffer(target.length, (address) =>
      this.#at(syscall, path, (ino) => {
        const length = operation(ino, address, target.length);
        if (length > 0) target.set(this.#calls.copyOut(address, length));
        return length;
      }),
    );
  }

  async removexattr(path: string, name: string): Promise<number> {
    const problem = xattrProblem(name);
    if (problem < 0) return problem;
    const bytes = Buffer.from(name, "utf8");
    return await this.#at("removexattr", path, (ino) =>
      done(this.#fs.removeXattr(ino, this.#calls.encodeName(bytes), bytes.length)),
    );
  }
}

/** ACLs need the kernel's help, which libfuse 2 does not ask for. */
function xattrProblem(name: string): number {
  if (name.startsWith(ACL_PREFIX)) return -EOPNOTSUPP;
  if (name.includes(REPLACEMENT)) return -EILSEQ;
  const length = Buffer.byteLength(name);
  return length === 0 ? -EINVAL : length > NAME_BYTES_MAX ? -ERANGE : 0;
}

/** Results that tell nothing but success. */
function done(status: number): number {
  return Math.min(status, 0);
}

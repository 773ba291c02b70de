/** The two halves of the file system, names and data, as one FileSystem. */

import type { Done } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import type { Store } from "../store/store.ts";
import type { AccessTimes } from "./access_times.ts";
import type { FileData } from "./file_data.ts";
import {
  type AttributeChange,
  type Attributes,
  type DirectorySink,
  type FileSystem,
  type NewNode,
  type ReadResult,
  SET_ATIME,
  SET_ATIME_NOW,
  type VolumeSpace,
} from "./file_system.ts";
import type { Namespace } from "./namespace.ts";
import type { Quotas } from "./quotas.ts";

export class VolumeFileSystem implements FileSystem {
  readonly #store: Store;
  readonly #names: Namespace;
  readonly #data: FileData;

  readonly #accessTimes: AccessTimes;
  readonly #quotas: Quotas;

  constructor(parts: {
    readonly store: Store;
    readonly namespace: Namespace;
    readonly data: FileData;
    readonly accessTimes: AccessTimes;
    readonly quotas: Quotas;
  }) {
    this.#store = parts.store;
    this.#names = parts.namespace;
    this.#data = parts.data;
    this.#accessTimes = parts.accessTimes;
    this.#quotas = parts.quotas;
  }

  get readOnly(): boolean {
    return this.#store.readOnly || this.#store.faulted !== null;
  }

  lookup(parent: number, nameAddress: number, nameLength: number, out: Attributes): number {
    const status = this.#names.lookup(parent, nameAddress, nameLength, out);
    if (status >= 0) this.#accessTimes.overlay(out);
    return status;
  }

  getAttributes(ino: number, out: Attributes): number {
    const status = this.#names.getAttributes(ino, out);
    if (status >= 0) this.#accessTimes.overlay(out);
    return status;
  }

  setAttributes(ino: number, change: AttributeChange, out: Attributes): number {
    const status = this.#names.attributes.setAttributes(ino, change, out);
    if (status < 0) return status;
    if ((change.set & (SET_ATIME | SET_ATIME_NOW)) !== 0) this.#accessTimes.drop(ino);
    this.#accessTimes.overlay(out);
    return status;
  }

  makeNode(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    return this.#names.making.makeNode(parent, nameAddress, nameLength, node, out);
  }

  makeDirectory(
    parent: number,
    nameAddress: number,
    nameLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    return this.#names.making.makeDirectory(parent, nameAddress, nameLength, node, out);
  }

  makeSymlink(
    parent: number,
    nameAddress: number,
    nameLength: number,
    targetAddress: number,
    targetLength: number,
    node: NewNode,
    out: Attributes,
  ): number {
    return this.#names.making.makeSymlink(
      parent,
      nameAddress,
      nameLength,
      targetAddress,
      targetLength,
      node,
      out,
    );
  }

  makeUnnamed(parent: number, node: NewNode, out: Attributes): number {
    return this.#names.making.makeUnnamed(parent, node, out);
  }

  link(
    ino: number,
    newParent: number,
    nameAddress: number,
    nameLength: number,
    out: Attributes,
  ): number {
    const status = this.#names.making.link(ino, newParent, nameAddress, nameLength, out);
    if (status >= 0) this.#accessTimes.overlay(out);
    return status;
  }

  unlink(parent: number, nameAddress: number, nameLength: number): number {
    return this.#names.removal.unlink(parent, nameAddress, nameLength);
  }

  removeDirectory(parent: number, nameAddress: number, nameLength: number): number {
    return this.#names.removal.removeDirectory(parent, nameAddress, nameLength);
  }

  rename(
    parent: number,
    nameAddress: number,
    nameLength: number,
    newParent: number,
    newNameAddress: number,
    newNameLength: number,
    flags: number,
  ): number {
    return this.#names.renaming.rename(
      parent,
      nameAddress,
      nameLength,
      newParent,
      newNameAddress,
      newNameLength,
      flags,
    );
  }

  readLink(ino: number, bufferAddress: number, bufferLength: number): number {
    const status = this.#names.readLink(ino, bufferAddress, bufferLength);
    if (status >= 0) this.#accessTimes.note(ino);
    return status;
  }

  readDirectory(ino: number, cookie: number, sink: DirectorySink): number {
    const taken = this.#names.readDirectory(ino, cookie, sink);
    if (taken >= 0) this.#accessTimes.note(ino);
    return taken;
  }

  parentOf(ino: number): number {
    return this.#names.parentOf(ino);
  }

  getXattr(
    ino: number,
    nameAddress: number,
    nameLength: number,
    bufferAddress: number,
    bufferLength: number,
  ): number {
    return this.#names.getXattr(ino, nameAddress, nameLength, bufferAddress, bufferLength);
  }

  setXattr(
    ino: number,
    nameAddress: number,
    nameLength: number,
    valueAddress: number,
    valueLength: number,
    flags: number,
  ): number {
    return this.#names.setXattr(ino, nameAddress, nameLength, valueAddress, valueLength, flags);
  }

  listXattr(ino: number, bufferAddress: number, bufferLength: number, withTrusted = true): number {
    return this.#names.listXattr(ino, bufferAddress, bufferLength, withTrusted);
  }

  removeXattr(ino: number, nameAddress: number, nameLength: number): number {
    return this.#names.removeXattr(ino, nameAddress, nameLength);
  }

  space(out: VolumeSpace, ino = 0): number {
    const { space, geometry } = this.#store;
    const free = Math.max(0, space.freeBlocks + space.comingBlocks - this.#data.pool.dirtyBlocks);
    out.blockBytes = BLOCK_BYTES;
    out.blocks = geometry.blockCount;
    out.blocksFree = free;
    out.blocksAvailable = this.#store.availableBlocks;
    out.files = this.#store.objectCount + free;
    out.filesFree = out.blocksAvailable;
    if (ino !== 0 && this.#quotas.areOn) this.#quotas.narrow(ino, out);
    return 0;
  }

  remember(ino: number, count: number): void {
    this.#names.removal.remember(ino, count);
  }

  forget(ino: number, count: number): void {
    this.#names.removal.forget(ino, count);
  }

  read(ino: number, offset: number, byteLength: number, done: (result: ReadResult) => void): void {
    this.#data.read(ino, offset, byteLength, (result) => {
      if (result.status >= 0) this.#accessTimes.note(ino);
      done(result);
    });
  }

  write(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    killPrivileges: boolean,
    keepTimes = false,
  ): number {
    if (killPrivileges) {
      const status = this.#names.attributes.killPrivileges(ino);
      if (status < 0) return status;
    }
    return this.#data.write(ino, offset, address, byteLength, keepTimes);
  }

  writeOwned(
    ino: number,
    offset: number,
    address: number,
    byteLength: number,
    runAddress: number,
    runBlocks: number,
    killPrivileges: boolean,
    keepTimes = false,
  ): number {
    if (killPrivileges) {
      const status = this.#names.attributes.killPrivileges(ino);
      if (status < 0) {
        this.#data.pool.give(runAddress, runBlocks);
        return status;
      }
    }
    return this.#data.writeOwned(
      ino,
      offset,
      address,
      byteLength,
      runAddress,
      runBlocks,
      keepTimes,
    );
  }

  fallocate(ino: number, mode: number, offset: number, byteLength: number): number {
    return this.#data.fallocate(ino, mode, offset, byteLength);
  }

  setFlags(ino: number, flags: number, project: number, out: Attributes): number {
    return this.#names.attributes.setFlags(ino, flags, project, out);
  }

  copyRange(
    from: number,
    fromOffset: number,
    to: number,
    toOffset: number,
    byteLength: number,
    done: Done,
  ): void {
    this.#data.copyRange(from, fromOffset, to, toOffset, byteLength, (status) => {
      if (status > 0) this.#accessTimes.note(from);
      done(status);
    });
  }

  seek(ino: number, offset: number, whence: number): number {
    return this.#data.seek(ino, offset, whence);
  }

  fsync(ino: number, _dataOnly: boolean, done: Done): void {
    this.#data.fsync(ino, done);
  }

  sync(done: Done): void {
    if (this.#store.readOnly) {
      done(0);
      return;
    }
    this.#data.sync(done);
  }

  takeBuffer(blockCount: number): number {
    return this.#data.pool.take(blockCount);
  }

  giveBuffer(address: number, blockCount: number): void {
    this.#data.pool.give(address, blockCount);
  }

  whenBuffers(resume: (status: number) => void): void {
    this.#data.pool.whenRoom(resume);
  }
}

/** Extended attributes of inodes: xattr(7). */
import { E2BIG, EEXIST, EINVAL, EIO, ENODATA, ENOSPC, EOPNOTSUPP, ERANGE } from "../base/errno.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import { INODE_XATTRS } from "../format/inode.ts";
import { ITEM_XATTR, ITEM_XATTR_DATA } from "../format/key.ts";
import {
  XATTR_CHUNK_BYTES,
  XATTR_HASH_SPAN,
  XATTR_INLINE_BYTES,
  XATTR_NAME,
  XATTR_NAME_LENGTH,
  XATTR_VALUE_BYTES_MAX,
  XATTR_VALUE_LENGTH,
  xattrChunkCount,
} from "../format/xattr.ts";
import { INTENT_GROW, INTENT_SHRINK, type ItemStore } from "../store/item_store.ts";
import { ACL_ACCESS, ACL_DEFAULT } from "./acl.ts";
import type { InodeStore } from "./inode_store.ts";

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
const CHUNK_SPAN = 64;
const LISTED_MAX = 65536;
/** Of system. there are the two of ACLs alone, which AclStore sets. */
const PREFIXES = ["user.", "trusted.", "security."];
const TRUSTED = "trusted.";
const CAPABILITY = "security.capability";

/** Where an attribute is, or will be. */
export interface XattrSlot {
  readonly hash: number;
  readonly exists: boolean;
  /** Parts of the value that it has. */
  readonly chunks: number;
}

export class Xattrs {
  readonly #store: ItemStore;
  readonly #core: Core;
  readonly #inodes: InodeStore;
  readonly #value: number;
  /** Address of the name CAPABILITY. */
  readonly #capability: number;

  constructor(store: ItemStore, core: Core, inodes: InodeStore, layout: Layout) {
    this.#store = store;
    this.#core = core;
    this.#inodes = inodes;
    this.#value = layout.take(XATTR_NAME + 256 + XATTR_INLINE_BYTES, 8);
    this.#capability = layout.take(CAPABILITY.length, 1);
    for (let i = 0; i < CAPABILITY.length; i++) {
      core.bytes[this.#capability + i] = CAPABILITY.charCodeAt(i);
    }
  }

  get(
    ino: number,
    nameAddress: number,
    nameLength: number,
    bufferAddress: number,
    bufferLength: number,
  ): number {
    const record = this.#inodes.record(0);
    const status = this.#inodes.load(ino, record);
    if (status < 0) return status;
    if (this.#inodes.u32(record, INODE_XATTRS) === 0)
      return this.#supported(nameAddress, nameLength) ? -ENODATA : -EOPNOTSUPP;
    const hash = this.#hash(nameAddress, nameLength);
    const at = this.#find(ino, hash, nameAddress, nameLength);
    if (at === 0) return this.#supported(nameAddress, nameLength) ? -ENODATA : -EOPNOTSUPP;
    const length = this.#core.view.getUint32(at + XATTR_VALUE_LENGTH, true);
    if (bufferLength === 0) return length;
    if (length > bufferLength) return -ERANGE;
    const chunks = xattrChunkCount(length);
    if (chunks === 0) {
      this.#core.exports.bytes_copy(bufferAddress, at + XATTR_NAME + nameLength, length);
      return length;
    }
    for (let i = 0; i < chunks; i++) {
      const chunk = this.#store.get(ino, ITEM_XATTR_DATA, hash * CHUNK_SPAN + i);
      const bytes = Math.min(XATTR_CHUNK_BYTES, length - i * XATTR_CHUNK_BYTES);
      if (chunk === 0 || this.#store.valueLength !== bytes) return -EIO;
      this.#core.exports.bytes_copy(bufferAddress + i * XATTR_CHUNK_BYTES, chunk, bytes);
    }
    return length;
  }

  set(
    ino: number,
    nameAddress: number,
    nameLength: number,
    valueAddress: number,
    valueLength: number,
    flags: number,
  ): number {
    if (nameLength === 0 || nameLength > 255) return -ERANGE;
    if (!this.#supported(nameAddress, nameLength)) return -EOPNOTSUPP;
    if (valueLength > XATTR_VALUE_BYTES_MAX) return -E2BIG;
    if (flags !== 0 && flags !== XATTR_CREATE && flags !== XATTR_REPLACE) return -EINVAL;
    const begun = this.#store.begin(INTENT_GROW);
    if (begun < 0) return begun;
    const record = this.#inodes.record(0);
    const status = this.#inodes.load(ino, record);
    if (status < 0) return status;
    const slot = this.look(ino, nameAddress, nameLength, valueLength);
    if (slot === null) return -ENOSPC;
    if (slot.exists && flags === XATTR_CREATE) return -EEXIST;
    if (!slot.exists && flags === XATTR_REPLACE) return -ENODATA;
    this.#inodes.readClock();
    this.put(ino, record, slot, nameAddress, nameLength, valueAddress, valueLength);
    this.#inodes.putChanged(ino, record);
    this.#store.commit();
    return 0;
  }

  /** Looks at what put() and drop() change. Null when another name of the inode has the same hash. */
  look(
    ino: number,
    nameAddress: number,
    nameLength: number,
    valueLength: number,
  ): XattrSlot | null {
    const hash = this.#hash(nameAddress, nameLength);
    const item = this.#store.get(ino, ITEM_XATTR, hash);
    const at = this.#find(ino, hash, nameAddress, nameLength);
    if (at === 0 && item !== 0) return null;
    const chunks = at === 0 ? 0 : this.#chunksOf(at);
    this.#lookAtChunks(ino, hash, Math.max(chunks, xattrChunkCount(valueLength)));
    return { hash, exists: at !== 0, chunks };
  }

  /** Sets an attribute that was looked at; the caller puts the record. */
  put(
    ino: number,
    record: number,
    slot: XattrSlot,
    nameAddress: number,
    nameLength: number,
    valueAddress: number,
    valueLength: number,
  ): void {
    const { hash, chunks } = slot;
    this.#putValue(ino, hash, nameAddress, nameLength, valueAddress, valueLength, chunks);
    if (slot.exists) return;
    this.#inodes.setU32(record, INODE_XATTRS, this.#inodes.u32(record, INODE_XATTRS) + 1);
  }

  /** Removes an attribute that was looked at, if it exists; the caller puts the record. */
  drop(ino: number, record: number, slot: XattrSlot): void {
    if (slot.exists) this.#drop(ino, record, slot.hash, slot.chunks);
  }

  /** A copy of an attribute's value, or null. `record`: the inode's, loaded. */
  read(ino: number, record: number, nameAddress: number, nameLength: number): Uint8Array | null {
    if (this.#inodes.u32(record, INODE_XATTRS) === 0) return null;
    const length = this.get(ino, nameAddress, nameLength, 0, 0);
    if (length < 0) return null;
    const value = new Uint8Array(length);
    const hash = this.#hash(nameAddress, nameLength);
    const chunks = xattrChunkCount(length);
    const { bytes } = this.#core;
    if (chunks === 0) {
      const at = this.#find(ino, hash, nameAddress, nameLength) + XATTR_NAME + nameLength;
      value.set(bytes.subarray(at, at + length));
    }
    for (let i = 0; i < chunks; i++) {
      const at = this.#store.get(ino, ITEM_XATTR_DATA, hash * CHUNK_SPAN + i);
      value.set(bytes.subarray(at, at + this.#store.valueLength), i * XATTR_CHUNK_BYTES);
    }
    return value;
  }

  #putValue(
    ino: number,
    hash: number,
    nameAddress: number,
    nameLength: number,
    valueAddress: number,
    valueLength: number,
    oldChunks: number,
  ): void {
    const { view, exports } = this.#core;
    const chunks = xattrChunkCount(valueLength);
    view.setUint32(this.#value + XATTR_VALUE_LENGTH, valueLength, true);
    view.setUint32(this.#value + XATTR_NAME_LENGTH, nameLength, true);
    exports.bytes_copy(this.#value + XATTR_NAME, nameAddress, nameLength);
    const inline = chunks === 0 ? valueLength : 0;
    exports.bytes_copy(this.#value + XATTR_NAME + nameLength, valueAddress, inline);
    this.#store.put(ino, ITEM_XATTR, hash, this.#value, XATTR_NAME + nameLength + inline);
    for (let i = 0; i < Math.max(chunks, oldChunks); i++) {
      const key = hash * CHUNK_SPAN + i;
      if (i >= chunks) this.#store.remove(ino, ITEM_XATTR_DATA, key);
      else {
        const bytes = Math.min(XATTR_CHUNK_BYTES, valueLength - i * XATTR_CHUNK_BYTES);
        this.#store.put(ino, ITEM_XATTR_DATA, key, valueAddress + i * XATTR_CHUNK_BYTES, bytes);
      }
    }
  }

  /** @param withTrusted Names of trusted. too: only who may read them is told of them. */
  list(ino: number, bufferAddress: number, bufferLength: number, withTrusted: boolean): number {
    const record = this.#inodes.record(0);
    const status = this.#inodes.load(ino, record);
    if (status < 0) return status;
    if (this.#inodes.u32(record, INODE_XATTRS) === 0) return 0;
    const { view, bytes, exports } = this.#core;
    let total = 0;
    let found = this.#store.seek(ino, ITEM_XATTR, 0);
    while (found && this.#store.keyOid === ino && this.#store.keyType === ITEM_XATTR) {
      const nameLength = view.getUint8(this.#store.valueAddress + XATTR_NAME_LENGTH);
      const nameAddress = this.#store.valueAddress + XATTR_NAME;
      if (!withTrusted && startsWith(bytes, nameAddress, nameLength, TRUSTED)) {
        found = this.#store.next();
        continue;
      }
      if (bufferLength > 0) {
        if (total + nameLength + 1 > bufferLength) return -ERANGE;
        exports.bytes_copy(bufferAddress + total, nameAddress, nameLength);
        bytes[bufferAddress + total + nameLength] = 0;
      }
      total += nameLength + 1;
      if (total > LISTED_MAX) return -E2BIG;
      found = this.#store.next();
    }
    return total;
  }

  remove(ino: number, nameAddress: number, nameLength: number): number {
    if (!this.#supported(nameAddress, nameLength)) return -EOPNOTSUPP;
    const begun = this.#store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    const record = this.#inodes.record(0);
    const status = this.#inodes.load(ino, record);
    if (status < 0) return status;
    const slot = this.look(ino, nameAddress, nameLength, 0);
    if (slot === null || !slot.exists) return -ENODATA;
    this.#inodes.readClock();
    this.drop(ino, record, slot);
    this.#inodes.putChanged(ino, record);
    this.#store.commit();
    return 0;
  }

  /**
   * Whether a file has capabilities, which changes of its data or owner take away; looks at what dropCapability removes.
   *
   * @param record The inode's, loaded.
   */
  lookAtCapability(ino: number, record: number): boolean {
    if (this.#inodes.u32(record, INODE_XATTRS) === 0) return false;
    const hash = this.#hash(this.#capability, CAPABILITY.length);
    const at = this.#find(ino, hash, this.#capability, CAPABILITY.length);
    if (at === 0) return false;
    this.#capabilityChunks = this.#chunksOf(at);
    this.#lookAtChunks(ino, hash, this.#capabilityChunks);
    return true;
  }

  /** What lookAtCapability found. */
  #capabilityChunks = 0;

  /** Removes the capabilities that lookAtCapability found; the caller puts the record. */
  dropCapability(ino: number, record: number): void {
    const hash = this.#hash(this.#capability, CAPABILITY.length);
    this.#drop(ino, record, hash, this.#capabilityChunks);
  }

  #drop(ino: number, record: number, hash: number, chunks: number): void {
    this.#store.remove(ino, ITEM_XATTR, hash);
    for (let i = 0; i < chunks; i++) {
      this.#store.remove(ino, ITEM_XATTR_DATA, hash * CHUNK_SPAN + i);
    }
    this.#inodes.setU32(record, INODE_XATTRS, this.#inodes.u32(record, INODE_XATTRS) - 1);
  }

  /** Parts of the value of the attribute whose item lies at an address. */
  #chunksOf(item: number): number {
    return xattrChunkCount(this.#core.view.getUint32(item + XATTR_VALUE_LENGTH, true));
  }

  #lookAtChunks(ino: number, hash: number, count: number): void {
    for (let i = 0; i < count; i++) this.#store.get(ino, ITEM_XATTR_DATA, hash * CHUNK_SPAN + i);
  }

  /** Hash of the name, 1 to 2^44 − 1. */
  #hash(nameAddress: number, nameLength: number): number {
    const hash = this.#core.exports.name_hash(nameAddress, nameLength) % XATTR_HASH_SPAN;
    return hash === 0 ? 1 : hash;
  }

  /** Address of the attribute's item if it has this very name, else 0. */
  #find(ino: number, hash: number, nameAddress: number, nameLength: number): number {
    const at = this.#store.get(ino, ITEM_XATTR, hash);
    if (at === 0 || this.#core.view.getUint8(at + XATTR_NAME_LENGTH) !== nameLength) return 0;
    return this.#core.exports.bytes_equal(at + XATTR_NAME, nameAddress, nameLength) === 1 ? at : 0;
  }

  #supported(nameAddress: number, nameLength: number): boolean {
    const { bytes } = this.#core;
    for (const prefix of PREFIXES)
      if (startsWith(bytes, nameAddress, nameLength, prefix)) return true;
    return (
      isText(bytes, nameAddress, nameLength, ACL_ACCESS) ||
      isText(bytes, nameAddress, nameLength, ACL_DEFAULT)
    );
  }
}

/** Whether a name begins with a prefix and goes on after it. */
function startsWith(bytes: Uint8Array, address: number, length: number, prefix: string): boolean {
  if (length <= prefix.length) return false;
  for (let i = 0; i < prefix.length; i++)
    if (bytes[address + i] !== prefix.charCodeAt(i)) return false;
  return true;
}

function isText(bytes: Uint8Array, address: number, length: number, text: string): boolean {
  if (length !== text.length) return false;
  for (let i = 0; i < length; i++) if (bytes[address + i] !== text.charCodeAt(i)) return false;
  return true;
}

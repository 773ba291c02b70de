/**
 * Items that break the rules of their object are put right or removed, and what their inode says of them is made to
 * agree: SPEC §5.1 to §5.8. One object at a time, in the order of the tree. What objects say about each other is left to
 * repair_names.ts, blocks that several things claim to repair_blocks.ts.
 *
 * An object with items but no inode gets one, as far as the items tell what it was: then it can have a name again.
 */
import { getU64, setI64, setU64 } from "../base/bytes.ts";
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import {
  DENTRY_NAME,
  DENTRY_NAME_LENGTH,
  DENTRY_SLOT,
  DENTRY_SLOTS,
  dentryBytes,
  dentryHash,
} from "../format/dentry.ts";
import { EXTENT_BLOCK_COUNT, EXTENT_GENERATION, extentIsWritten } from "../format/extent.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import {
  INODE_ATIME_NS,
  INODE_BLOCKS,
  INODE_BTIME,
  INODE_BTIME_NS,
  INODE_BYTES,
  INODE_CTIME_NS,
  INODE_FLAGS,
  INODE_MODE,
  INODE_MTIME_NS,
  INODE_NLINK,
  INODE_PARENT,
  INODE_PREALLOCATED,
  INODE_SIZE,
  INODE_XATTRS,
} from "../format/inode.ts";
import {
  ITEM_DENTRY,
  ITEM_EXTENT,
  ITEM_INLINE,
  ITEM_INODE,
  ITEM_ORPHAN,
  ITEM_QUOTA,
  ITEM_SHARED,
  ITEM_SYMLINK,
  ITEM_XATTR,
  ITEM_XATTR_DATA,
} from "../format/key.ts";
import { OBJECT_ID_MAX, VALUE_BYTES_MAX } from "../format/limits.ts";
import {
  QUOTA_BLOCKS,
  QUOTA_BYTES,
  QUOTA_COUNTED,
  QUOTA_INODES,
  quotaId,
  quotaKind,
  quotaProblem,
} from "../format/quota.ts";
import { sharedRunProblem } from "../format/shared_run.ts";
import {
  XATTR_CHUNK_BYTES,
  XATTR_CHUNKS_MAX,
  XATTR_VALUE_LENGTH,
  xattrChunkCount,
} from "../format/xattr.ts";
import {
  extentItemProblem,
  inodeProblem,
  isName,
  nameText,
  ROOT_INO,
  S_IFDIR,
  S_IFMT,
  xattrProblem,
} from "./item_rules.ts";
import type { RepairLog } from "./repair_log.ts";
import type { Fix, RepairStore } from "./repair_store.ts";
import { type Key, keyText } from "./tree_walk.ts";

const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const INLINE_BYTES_MAX = 2048;
const SYMLINK_BYTES_MAX = 4095;
const CHUNK_KEYS = 2 * XATTR_CHUNKS_MAX;
/** Owners, and nobody else, of what was found without an inode. */
const MODE_FOUND = 0o600;
const MODE_FOUND_DIRECTORY = 0o700;
const MODE_ROOT = 0o755;
const QUOTA_KINDS: readonly string[] = ["user", "group", "project"];

/** Items of the volume itself: object 0. Others of it are removed. */
const VOLUME_ITEMS: ReadonlySet<number> = new Set([ITEM_ORPHAN, ITEM_SHARED]);

/** The object whose items come now. */
class ObjectSeen {
  readonly oid: number;
  /** Its inode, as it was found; null when there is none that can be used. */
  inode: Uint8Array | null = null;
  /** The inode was invalid by itself, and differs from what is in the tree. */
  corrected = false;
  /** Items that stay, but for the inode. */
  items = 0;
  /** File type that the inode, or without one the first item that tells, says; 0 when nothing does. */
  type = 0;
  xattrs = 0;
  readonly chunked = new Map<number, { missing: number; next: number; broken: boolean }>();
  targetBytes = -1;
  blocks = 0;
  extentEnd = 0;
  dataEnd = 0;
  unwritten = false;
  firstExtent = -1;
  inlineBytes = 0;
  last: { offset: number; end: number; generation: number; blockCount: number } | null = null;

  constructor(oid: number) {
    this.oid = oid;
    if (oid === ROOT_INO) this.type = S_IFDIR;
  }
}

export class ItemRepair {
  readonly #core: Core;
  readonly #repair: RepairStore;
  readonly #log: RepairLog;
  readonly #record: number;
  readonly #value: number;
  #object = new ObjectSeen(0);

  constructor(options: { repair: RepairStore; log: RepairLog; memory: number }) {
    this.#repair = options.repair;
    this.#core = options.repair.core;
    this.#log = options.log;
    this.#record = options.memory;
    this.#value = options.memory + 128;
  }

  /** Takes the memory for a repair of items. */
  static take(layout: Layout): number {
    return layout.take(128 + VALUE_BYTES_MAX + 8, 8);
  }

  *run(onObject: (ino: number) => void): Task<void> {
    yield* this.#repair.walk((key, value, valueLength, later) => {
      if (key.oid >= OBJECT_ID_MAX) {
        this.#drop("item-removed", `No object has such a number: ${keyText(key)}`, key, later);
        return;
      }
      if (key.oid !== this.#object.oid) {
        this.#finish(later);
        this.#object = new ObjectSeen(key.oid);
        onObject(key.oid);
      }
      this.#item(key, value, valueLength, later);
    });
    const fixes: Fix[] = [];
    this.#finish((fix) => fixes.push(fix));
    for (const fix of fixes) yield* fix();
    yield* this.#ensureRoot();
  }

  // --- one item ---

  #item(key: Key, value: number, length: number, later: (fix: Fix) => void): void {
    if (key.oid === 0) {
      this.#volumeItem(key, value, length, later);
      return;
    }
    switch (key.type) {
      case ITEM_INODE:
        this.#inode(key, value, length, later);
        break;
      case ITEM_XATTR:
        this.#xattr(key, value, length, later);
        break;
      case ITEM_XATTR_DATA:
        this.#xattrData(key, length, later);
        break;
      case ITEM_SYMLINK:
        this.#symlink(key, value, length, later);
        break;
      case ITEM_DENTRY:
        this.#dentries(key, value, length, later);
        break;
      case ITEM_EXTENT:
        this.#extent(key, value, length, later);
        break;
      case ITEM_INLINE:
        this.#inline(key, length, later);
        break;
      default:
        this.#drop("item-removed", `An item whose key has no meaning: ${keyText(key)}`, key, later);
    }
  }

  #volumeItem(key: Key, value: number, length: number, later: (fix: Fix) => void): void {
    if (key.type === ITEM_QUOTA) {
      this.#quota(key, value, length, later);
      return;
    }
    let problem: string | null = null;
    if (!VOLUME_ITEMS.has(key.type)) problem = `its key has no meaning: ${keyText(key)}`;
    else if (key.type === ITEM_ORPHAN && length !== 0) problem = "an orphan's has a value";
    else if (key.type === ITEM_SHARED) {
      problem = sharedRunProblem(this.#core.view, value, length);
      // What is shared is counted anew, from the extents: nothing is lost with it.
      if (problem !== null) {
        later(() => this.#remove(key));
        this.#log.did("sharing-corrected", `A record of shared blocks was removed: ${problem}`, {
          block: key.offset,
        });
        return;
      }
    }
    if (problem !== null)
      this.#drop("item-removed", `An item of the volume: ${problem}`, key, later);
  }

  /** Limits are kept. What the files take may be something else after the repair: the next mount counts it. */
  #quota(key: Key, value: number, length: number, later: (fix: Fix) => void): void {
    const { view, bytes } = this.#core;
    const problem = quotaProblem(view, key.offset, value, length);
    if (problem !== null) {
      this.#drop("item-removed", `A quota that is invalid: ${problem}`, key, later);
      return;
    }
    const quota = bytes.slice(value, value + QUOTA_BYTES);
    const uncounted = new DataView(quota.buffer);
    setU64(uncounted, QUOTA_BLOCKS, 0);
    setU64(uncounted, QUOTA_INODES, 0);
    setU64(uncounted, QUOTA_COUNTED, 1);
    if (quota.every((byte, index) => byte === bytes[value + index])) return;
    const subject = `${QUOTA_KINDS[quotaKind(key.offset)]} ${quotaId(key.offset)}`;
    this.#log.did("quota-recounted", `The quota of ${subject} is counted anew by the next mount`, {
      offset: key.offset,
    });
    later(() => this.#put(key, quota));
  }

  *#put(key: Key, value: Uint8Array): Task<void> {
    const { store } = this.#repair;
    yield* this.#repair.transaction(() => {
      store.get(key.oid, key.type, key.offset);
      this.#core.bytes.set(value, this.#value);
      store.put(key.oid, key.type, key.offset, this.#value, value.length);
    });
  }

  /** Removes an item that means something to somebody. */
  #drop(
    kind: Parameters<RepairLog["gaveUp"]>[0],
    what: string,
    key: Key,
    later: (fix: Fix) => void,
  ): void {
    this.#log.gaveUp(kind, what, { ino: key.oid, offset: key.offset });
    later(() => this.#remove(key));
  }

  *#remove(key: Key): Task<void> {
    const { store } = this.#repair;
    yield* this.#repair.transaction(() => {
      if (store.get(key.oid, key.type, key.offset) === 0) return;
      store.remove(key.oid, key.type, key.offset);
    });
  }

  #inode(key: Key, value: number, length: number, later: (fix: Fix) => void): void {
    const object = this.#object;
    if (key.offset !== 0) {
      this.#drop("item-removed", `An inode that lies elsewhere: ${keyText(key)}`, key, later);
      return;
    }
    if (length !== INODE_BYTES) return;
    object.inode = this.#core.bytes.slice(value, value + INODE_BYTES);
    const problem = inodeProblem(this.#core, key, value, length);
    if (problem === null)
      object.type = this.#core.view.getUint32(value + INODE_MODE, true) & S_IFMT;
    else {
      object.type = correctInode(object.inode, key.oid);
      object.corrected = true;
      this.#log.did("inode-corrected", `An inode was invalid: ${problem}`, { ino: key.oid });
    }
  }

  /** Whether items of a type of file may belong to the object. */
  #isOther(type: number): boolean {
    const object = this.#object;
    if (object.type === 0) object.type = type;
    return object.type !== type;
  }

  #xattr(key: Key, value: number, length: number, later: (fix: Fix) => void): void {
    const object = this.#object;
    const problem = xattrProblem(this.#core, key, value, length);
    if (problem !== null) {
      this.#drop("attribute-removed", `An extended attribute: ${problem}`, key, later);
      return;
    }
    object.items++;
    object.xattrs++;
    const bytes = this.#core.view.getUint32(value + XATTR_VALUE_LENGTH, true);
    if (xattrChunkCount(bytes) > 0)
      object.chunked.set(key.offset, { missing: bytes, next: 0, broken: false });
  }

  #xattrData(key: Key, length: number, later: (fix: Fix) => void): void {
    const hash = Math.floor(key.offset / CHUNK_KEYS);
    const chunk = this.#object.chunked.get(hash);
    if (chunk === undefined || chunk.missing === 0) {
      this.#log.gaveUp(
        "attribute-removed",
        "A part of an attribute's value that no attribute has",
        {
          ino: key.oid,
          hash,
        },
      );
      later(() => this.#remove(key));
      return;
    }
    const expected = Math.min(chunk.missing, XATTR_CHUNK_BYTES);
    if (key.offset % CHUNK_KEYS !== chunk.next || length !== expected) chunk.broken = true;
    if (chunk.broken) return;
    chunk.missing -= expected;
    chunk.next++;
  }

  #symlink(key: Key, value: number, length: number, later: (fix: Fix) => void): void {
    const object = this.#object;
    let problem: string | null = null;
    if (key.offset !== 0) problem = `its key is ${keyText(key)}`;
    else if (length === 0 || length > SYMLINK_BYTES_MAX) problem = `it is ${length} bytes long`;
    else if (this.#core.bytes.subarray(value, value + length).includes(0))
      problem = "it contains a zero";
    else if (this.#isOther(S_IFLNK)) problem = "its object is no symbolic link";
    if (problem !== null) {
      this.#drop("target-removed", `A symbolic link's target: ${problem}`, key, later);
      return;
    }
    object.items++;
    object.targetBytes = length;
  }

  #dentries(key: Key, value: number, length: number, later: (fix: Fix) => void): void {
    const { view, bytes, exports } = this.#core;
    if (this.#isOther(S_IFDIR)) {
      this.#drop("entry-removed", "Entries of what is no directory", key, later);
      return;
    }
    this.#object.items++;
    const kept: Uint8Array[] = [];
    const moved: Uint8Array[] = [];
    let slots = 0;
    let changed = false;
    let at = 0;
    while (at < length) {
      const nameLength =
        length - at > DENTRY_NAME ? view.getUint8(value + at + DENTRY_NAME_LENGTH) : 0;
      if (nameLength === 0 || at + dentryBytes(nameLength) > length) {
        this.#log.gaveUp("entry-removed", "The end of a directory's item: a name is cut off", {
          ino: key.oid,
          offset: key.offset,
        });
        changed = true;
        break;
      }
      const name = value + at + DENTRY_NAME;
      const entry = bytes.slice(value + at, value + at + dentryBytes(nameLength));
      at += entry.length;
      const place = { ino: key.oid, target: getU64(viewOf(entry), 0) };
      if (place.target === 0 || place.target >= OBJECT_ID_MAX) {
        const text = nameText(this.#core, name, nameLength);
        this.#log.gaveUp("entry-removed", `${text} leads to what can be no object`, place);
        changed = true;
        continue;
      }
      if (!isName(bytes, name, nameLength)) {
        changed = true;
        const text = nameText(this.#core, name, nameLength);
        this.#log.gaveUp("entry-removed", `A name that is none: ${text}`, place);
        continue;
      }
      if (dentryHash(exports.name_hash(name, nameLength)) !== key.offset) {
        changed = true;
        moved.push(entry);
        continue;
      }
      if (kept.some((other) => isSameName(other, entry))) {
        changed = true;
        const text = nameText(this.#core, name, nameLength);
        this.#log.gaveUp("entry-removed", `A name that is there twice: ${text}`, place);
        continue;
      }
      const slot = entry[DENTRY_SLOT] as number;
      if (slot >= DENTRY_SLOTS || (slots & (1 << slot)) !== 0) {
        changed = true;
        entry[DENTRY_SLOT] = freeSlot(slots);
        this.#log.did("entry-corrected", `An entry had slot ${slot}`, place);
      }
      slots |= 1 << (entry[DENTRY_SLOT] as number);
      kept.push(entry);
    }
    if (!changed && length > 0) return;
    later(() => this.#putEntries(key, kept));
    for (const entry of moved) later(() => this.#moveEntry(key, entry));
  }

  *#putEntries(key: Key, entries: readonly Uint8Array[]): Task<void> {
    if (entries.length === 0) {
      yield* this.#remove(key);
      return;
    }
    const { store } = this.#repair;
    yield* this.#repair.transaction(() => {
      store.get(key.oid, key.type, key.offset);
      let length = 0;
      for (const entry of entries) {
        this.#core.bytes.set(entry, this.#value + length);
        length += entry.length;
      }
      store.put(key.oid, key.type, key.offset, this.#value, length);
    });
  }

  /** Puts an entry where its name is looked for. */
  *#moveEntry(key: Key, entry: Uint8Array): Task<void> {
    const { store } = this.#repair;
    const { bytes, exports } = this.#core;
    const nameLength = entry[DENTRY_NAME_LENGTH] as number;
    let added = false;
    yield* this.#repair.transaction(() => {
      bytes.set(entry, this.#value);
      const hash = dentryHash(exports.name_hash(this.#value + DENTRY_NAME, nameLength));
      const at = store.get(key.oid, ITEM_DENTRY, hash);
      const old = at === 0 ? [] : parseEntries(bytes.slice(at, at + store.valueLength));
      added = false;
      if (old === null || old.some((other) => isSameName(other, entry))) return;
      let slots = 0;
      let length = 0;
      for (const other of old) {
        slots |= 1 << (other[DENTRY_SLOT] as number);
        bytes.set(other, this.#value + length);
        length += other.length;
      }
      if (old.length >= DENTRY_SLOTS || length + entry.length > VALUE_BYTES_MAX) return;
      bytes.set(entry, this.#value + length);
      bytes[this.#value + length + DENTRY_SLOT] = freeSlot(slots);
      store.put(key.oid, ITEM_DENTRY, hash, this.#value, length + entry.length);
      added = true;
    });
    const name = JSON.stringify(new TextDecoder().decode(entry.subarray(DENTRY_NAME)));
    const place = { ino: key.oid, target: getU64(viewOf(entry), 0) };
    if (added) this.#log.did("entry-moved", `${name} was put where it is looked for`, place);
    else
      this.#log.gaveUp("entry-removed", `${name} could not be put where it is looked for`, place);
  }

  #extent(key: Key, value: number, length: number, later: (fix: Fix) => void): void {
    const object = this.#object;
    const { view } = this.#core;
    const problem = this.#isOther(S_IFREG)
      ? "its object is no regular file"
      : extentItemProblem(this.#core, this.#repair.superblock, key, value, length);
    if (problem !== null) {
      this.#drop(
        "extent-removed",
        `Data of a file from byte ${key.offset} on: ${problem}`,
        key,
        later,
      );
      return;
    }
    const blockCount = view.getUint32(value + EXTENT_BLOCK_COUNT, true);
    const generation = getU64(view, value + EXTENT_GENERATION);
    const end = key.offset + blockCount * BLOCK_BYTES;
    const { last } = object;
    if (last !== null && key.offset < last.end) {
      // Of two that overlap the newer one is right, if there is one.
      const isOlder = generation <= last.generation;
      const away = isOlder ? { ...key } : { ...key, offset: last.offset };
      const awayEnd = isOlder ? end : last.end;
      this.#log.gaveUp(
        "extent-removed",
        `Data of a file from byte ${away.offset} to ${awayEnd}: other data lies there, too`,
        { ino: key.oid, offset: away.offset },
      );
      later(() => this.#remove(away));
      if (isOlder) return;
      object.blocks -= last.blockCount;
    }
    object.items++;
    if (object.firstExtent < 0) object.firstExtent = key.offset;
    object.blocks += blockCount;
    object.last = { offset: key.offset, end, generation, blockCount };
    if (extentIsWritten(view, value)) object.dataEnd = Math.max(object.dataEnd, end);
    else object.unwritten = true;
  }

  #inline(key: Key, length: number, later: (fix: Fix) => void): void {
    const object = this.#object;
    let problem: string | null = null;
    if (key.offset !== 0) problem = `its key is ${keyText(key)}`;
    else if (length === 0 || length > INLINE_BYTES_MAX) problem = `it is ${length} bytes long`;
    else if (this.#isOther(S_IFREG)) problem = "its object is no regular file";
    else if (object.firstExtent === 0) problem = "an extent lies there, too";
    if (problem !== null) {
      this.#drop("inline-removed", `The first bytes of a file: ${problem}`, key, later);
      return;
    }
    object.items++;
    object.inlineBytes = length;
  }

  // --- an object ---

  /** No more items of this object: its inode is made to agree with them. */
  #finish(later: (fix: Fix) => void): void {
    const object = this.#object;
    if (object.oid === 0) return;
    for (const [hash, { missing, broken }] of object.chunked) {
      if (missing === 0 && !broken) continue;
      object.xattrs--;
      this.#log.gaveUp(
        "attribute-removed",
        "An extended attribute: a part of its value is missing",
        {
          ino: object.oid,
          hash,
        },
      );
      later(() => this.#removeAttribute(object.oid, hash));
    }
    if (object.inode === null && object.items === 0) {
      this.#log.gaveUp("inode-removed", "An object of which nothing is left", { ino: object.oid });
      later(() => this.#removeObject(object.oid));
      return;
    }
    const isMade = object.inode === null;
    const inode = object.inode ?? new Uint8Array(INODE_BYTES);
    const before = inode.slice();
    const view = viewOf(inode);
    if (isMade) this.#fillInode(inode, object);
    else if (object.type === 0 || (view.getUint32(INODE_MODE, true) & S_IFMT) === 0)
      view.setUint32(INODE_MODE, modeOf(object, view.getUint32(INODE_MODE, true)), true);
    if (view.getUint32(INODE_NLINK, true) !== 0 || isMade) {
      if (object.type === S_IFLNK && object.targetBytes < 0) {
        this.#log.gaveUp("inode-removed", "A symbolic link without a target", { ino: object.oid });
        later(() => this.#removeObject(object.oid));
        return;
      }
      this.#agree(object, view);
    }
    if (isMade) {
      this.#log.did(
        "inode-made",
        "An object had lost its inode: its owner, mode and times are new",
        {
          ino: object.oid,
        },
      );
    } else if (inode.some((byte, index) => byte !== before[index])) {
      this.#log.did("inode-corrected", changesText(viewOf(before), view), { ino: object.oid });
    } else if (!object.corrected) return;
    later(() => this.#putInode(object.oid, inode));
  }

  #agree(object: ObjectSeen, view: DataView): void {
    view.setUint32(INODE_XATTRS, object.xattrs, true);
    if (object.type === S_IFLNK) setU64(view, INODE_SIZE, object.targetBytes);
    if (object.type !== S_IFREG) return;
    setU64(view, INODE_BLOCKS, object.blocks);
    const size = getU64(view, INODE_SIZE);
    const needed = Math.max(
      object.inlineBytes,
      Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES < object.dataEnd ? object.dataEnd : 0,
    );
    // Data beyond the end is no proof that the end is right: nothing is cut off.
    if (needed > size) setU64(view, INODE_SIZE, needed);
    if (object.unwritten) {
      view.setUint32(
        INODE_FLAGS,
        (view.getUint32(INODE_FLAGS, true) | INODE_PREALLOCATED) >>> 0,
        true,
      );
    }
  }

  #fillInode(inode: Uint8Array, object: ObjectSeen): void {
    const view = viewOf(inode);
    const { clock } = this.#repair.store;
    view.setUint32(INODE_MODE, modeOf(object, 0), true);
    view.setUint32(INODE_NLINK, 1, true);
    const seconds = clock.seconds();
    const nanoseconds = clock.nanoseconds();
    for (let field = 0; field < 4; field++) {
      setI64(view, INODE_BTIME - 24 + field * 8, seconds);
      view.setUint32(INODE_ATIME_NS + field * 4, nanoseconds, true);
    }
    object.type = view.getUint32(INODE_MODE, true) & S_IFMT;
  }

  *#putInode(ino: number, inode: Uint8Array): Task<void> {
    const { store } = this.#repair;
    yield* this.#repair.transaction(() => {
      store.get(ino, ITEM_INODE, 0);
      this.#core.bytes.set(inode, this.#record);
      store.put(ino, ITEM_INODE, 0, this.#record, INODE_BYTES);
    });
  }

  *#removeAttribute(ino: number, hash: number): Task<void> {
    yield* this.#removeRange(
      { oid: ino, type: ITEM_XATTR_DATA, offset: hash * CHUNK_KEYS },
      { oid: ino, type: ITEM_XATTR_DATA, offset: (hash + 1) * CHUNK_KEYS },
    );
    yield* this.#remove({ oid: ino, type: ITEM_XATTR, offset: hash });
  }

  /** Removes an object with all its items. */
  *#removeObject(ino: number): Task<void> {
    yield* this.#removeRange(
      { oid: ino, type: 0, offset: 0 },
      { oid: ino + 1, type: 0, offset: 0 },
    );
  }

  *#removeRange(from: Key, to: Key): Task<void> {
    yield* this.#repair.walk(
      (key, _value, _length, later) => later(() => this.#remove(key)),
      from,
      to,
    );
  }

  *#ensureRoot(): Task<void> {
    const { store } = this.#repair;
    if (yield* this.#repair.look(() => store.get(ROOT_INO, ITEM_INODE, 0) !== 0)) return;
    const inode = new Uint8Array(INODE_BYTES);
    this.#fillInode(inode, new ObjectSeen(ROOT_INO));
    viewOf(inode).setUint32(INODE_NLINK, 2, true);
    setU64(viewOf(inode), INODE_PARENT, ROOT_INO);
    yield* this.#putInode(ROOT_INO, inode);
    this.#log.did("inode-made", "There was no root directory: a new one was made", {
      ino: ROOT_INO,
    });
  }
}

/** Makes what breaks the rules of an inode right. Returns its file type; 0 when that is not known. */
function correctInode(inode: Uint8Array, oid: number): number {
  const view = viewOf(inode);
  for (const field of [INODE_ATIME_NS, INODE_MTIME_NS, INODE_CTIME_NS, INODE_BTIME_NS]) {
    if (view.getUint32(field, true) >= 1e9) view.setUint32(field, 0, true);
  }
  for (const field of [INODE_SIZE, INODE_BLOCKS, INODE_PARENT]) {
    if (!Number.isSafeInteger(getU64(view, field))) setU64(view, field, 0);
  }
  const mode = view.getUint32(INODE_MODE, true);
  const type = mode & S_IFMT;
  const isKnown =
    mode <= 0o177777 &&
    [0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000].includes(type);
  if (oid === ROOT_INO) {
    view.setUint32(INODE_MODE, S_IFDIR | (mode & 0o7777), true);
    return S_IFDIR;
  }
  if (isKnown) return type;
  view.setUint32(INODE_MODE, mode & 0o7777, true);
  return 0;
}

/** Mode of an object whose inode does not say what it is. */
function modeOf(object: ObjectSeen, permissions: number): number {
  if (object.type === 0) object.type = S_IFREG;
  const directory = object.oid === ROOT_INO ? MODE_ROOT : MODE_FOUND_DIRECTORY;
  const fallback = object.type === S_IFDIR ? directory : MODE_FOUND;
  const bits = permissions & 0o7777;
  return object.type | (bits === 0 ? fallback : bits);
}

function changesText(before: DataView, after: DataView): string {
  const changes: string[] = [];
  const add = (name: string, old: number | bigint, now: number | bigint): void => {
    if (old !== now) changes.push(`${name} ${old}, now ${now}`);
  };
  add("mode", before.getUint32(INODE_MODE, true), after.getUint32(INODE_MODE, true));
  add("size", getU64(before, INODE_SIZE), getU64(after, INODE_SIZE));
  add("blocks", getU64(before, INODE_BLOCKS), getU64(after, INODE_BLOCKS));
  add("attributes", before.getUint32(INODE_XATTRS, true), after.getUint32(INODE_XATTRS, true));
  add("flags", before.getUint32(INODE_FLAGS, true), after.getUint32(INODE_FLAGS, true));
  return `An inode did not agree with its items: ${changes.join("; ")}`;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Entries of an item that is right; null if it is not. */
function parseEntries(item: Uint8Array): Uint8Array[] | null {
  const entries: Uint8Array[] = [];
  for (let at = 0; at < item.length; ) {
    const nameLength = item[at + DENTRY_NAME_LENGTH] ?? 0;
    if (nameLength === 0 || at + dentryBytes(nameLength) > item.length) return null;
    entries.push(item.subarray(at, at + dentryBytes(nameLength)));
    at += dentryBytes(nameLength);
  }
  return entries;
}

function isSameName(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = DENTRY_NAME; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

function freeSlot(slots: number): number {
  let slot = 0;
  while (slot < DENTRY_SLOTS - 1 && (slots & (1 << slot)) !== 0) slot++;
  return slot;
}

/**
 * Items of the file system's tree, each by itself and together with the others of its object: SPEC §5. Items come in
 * ascending order of their keys, so that an object's are adjacent and one object is held at a time. What objects say about
 * each other (names, links, parents) is name_check.ts's.
 *
 * A finding is about its cause: what follows from damage already told (counts of an object with an invalid item, say) is
 * not checked.
 */
import { getU64 } from "../base/bytes.ts";
import type { Core } from "../core/core.ts";
import {
  DENTRY_INO,
  DENTRY_NAME,
  DENTRY_NAME_LENGTH,
  DENTRY_TYPE,
  dentriesProblem,
  dentryBytes,
  dentryHash,
} from "../format/dentry.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import {
  INODE_BLOCKS,
  INODE_ENTRIES,
  INODE_FLAGS,
  INODE_MODE,
  INODE_NLINK,
  INODE_PARENT,
  INODE_SHARED,
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
import { OBJECT_ID_MAX } from "../format/limits.ts";
import type { Superblock } from "../format/superblock.ts";
import {
  XATTR_CHUNK_BYTES,
  XATTR_CHUNKS_MAX,
  XATTR_VALUE_LENGTH,
  xattrChunkCount,
} from "../format/xattr.ts";
import type { Findings } from "./findings.ts";
import type { FsckCode } from "./fsck_codes.ts";
import {
  type ExtentFound,
  extentFound,
  extentItemProblem,
  inodeProblem,
  isName,
  isRepeated,
  nameText,
  ROOT_INO,
  S_IFDIR,
  S_IFMT,
  xattrProblem,
} from "./item_rules.ts";
import type { ObjectTable } from "./object_table.ts";
import { QuotaCheck } from "./quota_check.ts";
import { SharedCheck } from "./shared_check.ts";
import { type Key, keyText } from "./tree_walk.ts";

const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const TYPE_COUNTERS: Readonly<Record<number, string>> = {
  [S_IFREG]: "files",
  [S_IFDIR]: "directories",
  [S_IFLNK]: "symlinks",
};
const INLINE_BYTES_MAX = 2048;
const SYMLINK_BYTES_MAX = 4095;

/** What has been seen of the object whose items come now. */
class ObjectSeen {
  readonly oid: number;
  /** Some of its items are unknown or invalid: sums prove nothing. */
  gap: boolean;
  hasInode = false;
  mode = 0;
  nlink = 0;
  size = 0;
  blocks = 0;
  entriesStated = 0;
  xattrsStated = 0;

  items = 0;
  entries = 0;
  subdirectories = 0;
  xattrs = 0;
  flags = 0;
  /** Whether it has been said that its flags are wrong. */
  flagsTold = false;
  extentBlocks = 0;
  extentEnd = 0;
  /** Where the last extent with data ends. */
  dataEnd = 0;
  extentAtStart = false;
  inlineBytes = 0;
  targetBytes = -1;
  /** Index of the chunk that comes next. */
  nextChunk = 0;
  /** Extended attributes with chunks: hash → bytes of the value that are to come. */
  readonly chunked = new Map<number, number>();

  constructor(oid: number, gap: boolean) {
    this.oid = oid;
    this.gap = gap;
  }

  get type(): number {
    return this.mode & S_IFMT;
  }
}

export class ItemCheck {
  readonly #core: Core;
  readonly #superblock: Superblock;
  readonly #errors: Findings;
  readonly #counts: Record<string, number>;
  #object = new ObjectSeen(-1, true);
  /** Objects up to this may have items that cannot be seen. */
  #gapUntil = -1;
  highestOid = 0;
  /** An invalid extent: blocks of it count as leaked if nobody says so. */
  extentsLost = false;
  /** An invalid directory item: names of it are missing elsewhere. */
  namesLost = false;

  readonly shared: SharedCheck;
  readonly quotas: QuotaCheck;
  /** An invalid inode: nobody knows whose it was. */
  inodesLost = false;

  constructor(options: {
    core: Core;
    superblock: Superblock;
    errors: Findings;
    counts: Record<string, number>;
  }) {
    this.shared = new SharedCheck(options);
    this.quotas = new QuotaCheck(options);
    this.#core = options.core;
    this.#superblock = options.superblock;
    this.#errors = options.errors;
    this.#counts = options.counts;
  }

  /** Checks the next item. @returns The extent, if it is one that is valid. */
  item(key: Key, value: number, valueLength: number, table: ObjectTable): ExtentFound | null {
    if (key.oid >= OBJECT_ID_MAX) {
      this.#unknown(key);
      return null;
    }
    if (key.oid !== this.#object.oid) {
      this.finish();
      this.#object = new ObjectSeen(key.oid, key.oid <= this.#gapUntil);
      if (key.oid > this.highestOid) this.highestOid = key.oid;
    }
    this.#object.items++;
    if (key.oid === 0 && key.type === ITEM_SHARED) {
      if (this.shared.item(key, value, valueLength)) this.#count("sharedRuns", 1);
      return null;
    }
    if (key.oid === 0 && key.type === ITEM_QUOTA) {
      if (this.quotas.item(key, value, valueLength)) this.#count("quotas", 1);
      return null;
    }
    if (key.oid === 0 && key.type !== ITEM_ORPHAN) {
      this.#unknown(key);
      return null;
    }
    switch (key.type) {
      case ITEM_INODE:
        this.#inode(key, value, valueLength, table);
        return null;
      case ITEM_XATTR:
        this.#xattr(key, value, valueLength);
        return null;
      case ITEM_XATTR_DATA:
        this.#xattrData(key, valueLength);
        return null;
      case ITEM_SYMLINK:
        this.#symlink(key, value, valueLength);
        return null;
      case ITEM_DENTRY:
        this.#dentries(key, value, valueLength);
        return null;
      case ITEM_EXTENT:
        return this.#extent(key, value, valueLength);
      case ITEM_INLINE:
        this.#inline(key, valueLength);
        return null;
      case ITEM_ORPHAN:
        this.#orphan(key, valueLength);
        return null;
      default:
        this.#unknown(key);
        return null;
    }
  }

  /** Items of this range cannot be seen. */
  lost(from: Key, to: Key): void {
    if (from.oid === 0) this.shared.isLost = true;
    if (from.oid <= this.#object.oid) this.#object.gap = true;
    this.#gapUntil = Math.max(this.#gapUntil, to.oid);
  }

  /** The extent of an item, if it is one and valid; nothing is reported. */
  extentOf(key: Key, value: number, valueLength: number): ExtentFound | null {
    if (key.type !== ITEM_EXTENT || key.oid === 0) return null;
    return extentItemProblem(this.#core, this.#superblock, key, value, valueLength) === null
      ? extentFound(this.#core, key, value)
      : null;
  }

  /** The object of the last item has a shared block: its inode must say so. */
  sharesBlocks(): void {
    const object = this.#object;
    if (!object.hasInode || (object.flags & INODE_SHARED) !== 0 || object.flagsTold) return;
    object.flagsTold = true;
    this.#errors.add("DFS-FSCK-SHARED-FLAG", "A file with shared blocks does not say so", {
      ino: object.oid,
    });
  }

  /** Adds an object to a table, for a further window; nothing is reported. */
  collect(key: Key, value: number, valueLength: number, table: ObjectTable): void {
    if (key.type !== ITEM_INODE || key.oid === 0) return;
    const problem = inodeProblem(this.#core, key, value, valueLength);
    if (problem === null) this.#tabulate(key.oid, value, table);
    else table.addUnknown(key.oid);
  }

  /** The parent that a directory's inode names; 0 for the root, and for what is no valid directory. */
  parentOf(key: Key, value: number, valueLength: number): number {
    if (key.oid === ROOT_INO || inodeProblem(this.#core, key, value, valueLength) !== null)
      return 0;
    const mode = this.#core.view.getUint32(value + INODE_MODE, true);
    return (mode & S_IFMT) === S_IFDIR ? getU64(this.#core.view, value + INODE_PARENT) : 0;
  }

  /** No more items of this object. */
  finish(): void {
    const object = this.#object;
    if (object.oid <= 0 || object.gap) return;
    const place = { ino: object.oid };
    if (!object.hasInode) {
      this.#errors.add(
        "DFS-FSCK-INODE-MISSING",
        `There are ${object.items} items of an object without an inode`,
        place,
      );
      return;
    }
    // An object without names is being removed, in several steps.
    if (object.nlink === 0) return;
    if (object.type === S_IFDIR) this.#finishDirectory(object);
    if (object.type === S_IFREG) this.#finishFile(object);
    if (object.type === S_IFLNK && object.targetBytes !== object.size) {
      const found = object.targetBytes < 0 ? "it has none" : `it has ${object.targetBytes} bytes`;
      this.#errors.add(
        "DFS-FSCK-SYMLINK",
        `The target is said to have ${object.size} bytes, but ${found}`,
        place,
      );
    }
    for (const [hash, missing] of object.chunked) {
      if (missing === 0) continue;
      this.#errors.add("DFS-FSCK-XATTR", `${missing} bytes of an attribute's value are missing`, {
        ...place,
        hash,
      });
    }
    if (object.xattrs !== object.xattrsStated) {
      this.#errors.add(
        "DFS-FSCK-XATTR-COUNT",
        `${object.xattrsStated} extended attributes are said to exist, there are ${object.xattrs}`,
        place,
      );
    }
  }

  #finishDirectory(object: ObjectSeen): void {
    const place = { ino: object.oid };
    if (object.entries !== object.entriesStated) {
      this.#errors.add(
        "DFS-FSCK-ENTRY-COUNT",
        `${object.entriesStated} entries are said to exist, there are ${object.entries}`,
        place,
      );
    }
    if (object.size !== object.entries) {
      this.#errors.add(
        "DFS-FSCK-ENTRY-COUNT",
        `The size of a directory with ${object.entries} entries is ${object.size}`,
        place,
      );
    }
    if (object.nlink !== object.subdirectories + 2) {
      this.#errors.add(
        "DFS-FSCK-NLINK",
        `A directory with ${object.subdirectories} directories in it has ${object.nlink} links`,
        place,
      );
    }
  }

  #finishFile(object: ObjectSeen): void {
    const place = { ino: object.oid };
    if (object.extentBlocks !== object.blocks) {
      this.#errors.add(
        "DFS-FSCK-INODE-BLOCKS",
        `The file is said to have ${object.blocks} blocks, its extents have ${object.extentBlocks}`,
        place,
      );
    }
    if (object.dataEnd > Math.ceil(object.size / BLOCK_BYTES) * BLOCK_BYTES) {
      this.#errors.add(
        "DFS-FSCK-EXTENT-BEYOND-END",
        `The last extent with data ends at ${object.dataEnd}, the file at ${object.size}`,
        place,
      );
    }
    if (object.inlineBytes > object.size) {
      this.#errors.add(
        "DFS-FSCK-INLINE",
        `${object.inlineBytes} bytes are inline in a file of ${object.size}`,
        place,
      );
    }
    if (object.inlineBytes > 0 && object.extentAtStart) {
      this.#errors.add("DFS-FSCK-INLINE", "The first block is both inline and in an extent", place);
    }
  }

  // --- one item ---

  #unknown(key: Key): void {
    this.#object.gap = true;
    this.#errors.add(
      "DFS-FSCK-ITEM-UNKNOWN",
      `No item of this key belongs into a file system: ${keyText(key)}`,
      {
        tree: 1,
        objectId: key.oid,
        type: key.type,
        offset: key.offset,
      },
    );
  }

  #invalid(code: FsckCode, what: string, problem: string, key: Key): void {
    this.#object.gap = true;
    this.#errors.add(code, `${what} is invalid: ${problem}`, { ino: key.oid, offset: key.offset });
  }

  #count(name: string, by: number): void {
    this.#counts[name] = (this.#counts[name] ?? 0) + by;
  }

  #inode(key: Key, value: number, valueLength: number, table: ObjectTable): void {
    const object = this.#object;
    this.#count("objects", 1);
    object.hasInode = true;
    const problem = inodeProblem(this.#core, key, value, valueLength);
    object.flagsTold = problem !== null;
    if (problem !== null) {
      this.inodesLost = true;
      table.addUnknown(key.oid);
      this.#invalid("DFS-FSCK-INODE", "An inode", problem, key);
      return;
    }
    this.quotas.inode(key.oid, value);
    const { view } = this.#core;
    object.mode = view.getUint32(value + INODE_MODE, true);
    object.nlink = view.getUint32(value + INODE_NLINK, true);
    object.flags = view.getUint32(value + INODE_FLAGS, true);
    object.size = getU64(view, value + INODE_SIZE);
    object.blocks = getU64(view, value + INODE_BLOCKS);
    object.entriesStated = view.getUint32(value + INODE_ENTRIES, true);
    object.xattrsStated = view.getUint32(value + INODE_XATTRS, true);
    this.#count(TYPE_COUNTERS[object.type] ?? "specials", 1);
    this.#tabulate(key.oid, value, table);
  }

  #tabulate(oid: number, value: number, table: ObjectTable): void {
    const { view } = this.#core;
    const mode = view.getUint32(value + INODE_MODE, true);
    table.add(oid, {
      mode,
      nlink: view.getUint32(value + INODE_NLINK, true),
      parent: getU64(view, value + INODE_PARENT),
      isDirectory: (mode & S_IFMT) === S_IFDIR,
    });
  }

  #xattr(key: Key, value: number, valueLength: number): void {
    const object = this.#object;
    this.#count("xattrs", 1);
    object.xattrs++;
    const problem = xattrProblem(this.#core, key, value, valueLength);
    if (problem !== null) {
      this.#invalid("DFS-FSCK-XATTR", "An extended attribute", problem, key);
      return;
    }
    const length = this.#core.view.getUint32(value + XATTR_VALUE_LENGTH, true);
    if (xattrChunkCount(length) > 0) object.chunked.set(key.offset, length);
  }

  #xattrData(key: Key, valueLength: number): void {
    const object = this.#object;
    if (object.gap) return;
    const hash = Math.floor(key.offset / (2 * XATTR_CHUNKS_MAX));
    const index = key.offset % (2 * XATTR_CHUNKS_MAX);
    const missing = object.chunked.get(hash);
    if (missing === undefined || missing === 0) {
      this.#invalid("DFS-FSCK-XATTR", "A part of an attribute's value", "no attribute has it", key);
      return;
    }
    const expected = Math.min(missing, XATTR_CHUNK_BYTES);
    if (index !== object.nextChunk) {
      this.#invalid(
        "DFS-FSCK-XATTR",
        `Part ${index} of an attribute's value`,
        `part ${object.nextChunk} is missing`,
        key,
      );
      return;
    }
    if (valueLength !== expected) {
      this.#invalid(
        "DFS-FSCK-XATTR",
        `Part ${index} of an attribute's value`,
        `it is ${valueLength} bytes long`,
        key,
      );
      return;
    }
    object.chunked.set(hash, missing - expected);
    object.nextChunk = missing > expected ? index + 1 : 0;
  }

  #symlink(key: Key, value: number, valueLength: number): void {
    const object = this.#object;
    object.targetBytes = valueLength;
    let problem: string | null = null;
    if (key.offset !== 0) problem = `its key is ${keyText(key)}`;
    else if (valueLength === 0 || valueLength > SYMLINK_BYTES_MAX)
      problem = `it is ${valueLength} bytes long`;
    else if (this.#core.bytes.subarray(value, value + valueLength).includes(0))
      problem = "it contains a zero";
    else if (this.#isOther(S_IFLNK)) problem = "its object is no symbolic link";
    if (problem !== null)
      this.#invalid("DFS-FSCK-SYMLINK", "A symbolic link's target", problem, key);
  }

  /** Whether the object is known to be of another type. */
  #isOther(type: number): boolean {
    return this.#object.hasInode && this.#object.mode !== 0 && this.#object.type !== type;
  }

  #dentries(key: Key, value: number, valueLength: number): void {
    const object = this.#object;
    const { view, exports } = this.#core;
    const problem = this.#isOther(S_IFDIR)
      ? "its object is no directory"
      : dentriesProblem(view, value, valueLength);
    if (problem !== null) {
      this.namesLost = true;
      this.#invalid("DFS-FSCK-DENTRY", "An item of a directory", problem, key);
      return;
    }
    for (let at = value; at < value + valueLength; ) {
      const nameLength = view.getUint8(at + DENTRY_NAME_LENGTH);
      const name = at + DENTRY_NAME;
      this.#count("names", 1);
      object.entries++;
      if (view.getUint8(at + DENTRY_TYPE) === S_IFDIR >> 12) object.subdirectories++;
      const place = { ino: key.oid, offset: key.offset, target: getU64(view, at + DENTRY_INO) };
      if (!isName(this.#core.bytes, name, nameLength)) {
        this.#errors.add(
          "DFS-FSCK-DENTRY",
          `A name is invalid: ${nameText(this.#core, name, nameLength)}`,
          place,
        );
      }
      const hash = dentryHash(exports.name_hash(name, nameLength));
      if (hash !== key.offset) {
        this.#errors.add(
          "DFS-FSCK-DENTRY-HASH",
          `The hash of ${nameText(this.#core, name, nameLength)} is ${hash}: it cannot be found here`,
          place,
        );
      }
      if (isRepeated(this.#core, value, at)) {
        this.#errors.add(
          "DFS-FSCK-DENTRY",
          `A name is there twice: ${nameText(this.#core, name, nameLength)}`,
          place,
        );
      }
      at += dentryBytes(nameLength);
    }
  }

  #extent(key: Key, value: number, valueLength: number): ExtentFound | null {
    const object = this.#object;
    this.#count("extents", 1);
    const problem = this.#isOther(S_IFREG)
      ? "its object is no regular file"
      : extentItemProblem(this.#core, this.#superblock, key, value, valueLength);
    if (problem !== null) {
      this.extentsLost = true;
      this.#invalid("DFS-FSCK-EXTENT", "An extent", problem, key);
      return null;
    }
    const found = extentFound(this.#core, key, value);
    this.#count("dataBlocks", found.blockCount);
    if (key.offset < object.extentEnd) {
      this.#errors.add(
        "DFS-FSCK-EXTENT-OVERLAP",
        `It overlaps the one before, which ends at ${object.extentEnd}`,
        {
          ino: key.oid,
          offset: key.offset,
        },
      );
    }
    if (key.offset === 0) object.extentAtStart = true;
    object.extentBlocks += found.blockCount;
    object.extentEnd = Math.max(object.extentEnd, key.offset + found.blockCount * BLOCK_BYTES);
    if (found.checksums !== 0) object.dataEnd = object.extentEnd;
    return found;
  }

  #inline(key: Key, valueLength: number): void {
    this.#count("inlineFiles", 1);
    this.#object.inlineBytes = valueLength;
    let problem: string | null = null;
    if (key.offset !== 0) problem = `its key is ${keyText(key)}`;
    else if (valueLength === 0 || valueLength > INLINE_BYTES_MAX)
      problem = `it is ${valueLength} bytes long`;
    else if (this.#isOther(S_IFREG)) problem = "its object is no regular file";
    if (problem !== null) this.#invalid("DFS-FSCK-INLINE", "Inline data", problem, key);
  }

  #orphan(key: Key, valueLength: number): void {
    this.#count("orphans", 1);
    if (key.oid !== 0) this.#unknown(key);
    else if (valueLength !== 0)
      this.#invalid("DFS-FSCK-ORPHAN", "An orphan's item", "it has a value", key);
  }
}

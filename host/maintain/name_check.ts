/**
 * Names against objects: every entry's target exists and has the type stated, every object has as many names as links,
 * every directory one name, in the directory that it names as its parent, and a way up to the root; objects without
 * links are listed as orphans, and only those. One window of objects (object_table.ts) at a time.
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
} from "../format/dentry.ts";
import { ITEM_DENTRY, ITEM_ORPHAN } from "../format/key.ts";
import type { Findings } from "./findings.ts";
import { nameText, ROOT_INO, S_IFDIR } from "./item_rules.ts";
import {
  OBJECT_DIRECTORY,
  OBJECT_ORPHAN,
  OBJECT_REACHED,
  OBJECT_UNKNOWN,
  OBJECT_VISITING,
  type ObjectTable,
} from "./object_table.ts";
import type { Key } from "./tree_walk.ts";

const TYPE_DIRECTORY = S_IFDIR >> 12;

export class NameCheck {
  readonly #core: Core;
  readonly #errors: Findings;
  readonly #table: ObjectTable;
  /** Directories from which the way up leaves the window. */
  #open: number[] = [];

  constructor(options: { core: Core; errors: Findings; table: ObjectTable }) {
    this.#core = options.core;
    this.#errors = options.errors;
    this.#table = options.table;
  }

  /** Counts the names of an item. `lost`: targets may be missing because parts of the tree are. */
  item(key: Key, value: number, valueLength: number, lost: boolean): void {
    if (key.type === ITEM_ORPHAN && key.oid === 0) this.#orphan(key, lost);
    if (key.type !== ITEM_DENTRY || key.oid === 0) return;
    const { view } = this.#core;
    if (dentriesProblem(view, value, valueLength) !== null) return;
    for (let at = value; at < value + valueLength; ) {
      this.#entry(key, at, lost);
      at += dentryBytes(view.getUint8(at + DENTRY_NAME_LENGTH));
    }
  }

  #entry(key: Key, at: number, lost: boolean): void {
    const { view } = this.#core;
    const table = this.#table;
    const target = getU64(view, at + DENTRY_INO);
    if (!table.covers(target)) return;
    const index = table.find(target);
    const place = { ino: key.oid, offset: key.offset, target };
    const name = (): string =>
      nameText(this.#core, at + DENTRY_NAME, view.getUint8(at + DENTRY_NAME_LENGTH));
    if (index < 0) {
      if (!lost)
        this.#errors.add(
          "DFS-FSCK-DENTRY-TARGET",
          `${name()} leads to an object that does not exist`,
          place,
        );
      return;
    }
    if (((table.flags[index] as number) & OBJECT_UNKNOWN) !== 0) return;
    table.names[index] = (table.names[index] as number) + 1;
    const type = view.getUint8(at + DENTRY_TYPE);
    const actual = table.modeOf(index) >> 12;
    if (type !== actual) {
      this.#errors.add(
        "DFS-FSCK-DENTRY-TYPE",
        `${name()} is said to be of type ${type}, its inode is of type ${actual}`,
        place,
      );
    } else if (type === TYPE_DIRECTORY && table.parent[index] !== key.oid) {
      this.#errors.add(
        "DFS-FSCK-DIRECTORY-PARENT",
        `${name()} is a directory whose inode names ${table.parent[index]} as its parent`,
        place,
      );
    }
  }

  #orphan(key: Key, lost: boolean): void {
    const table = this.#table;
    if (!table.covers(key.offset)) return;
    const index = table.find(key.offset);
    const place = { ino: key.offset };
    if (index < 0) {
      if (!lost)
        this.#errors.add("DFS-FSCK-ORPHAN", "An orphan is listed that does not exist", place);
      return;
    }
    table.flags[index] = (table.flags[index] as number) | OBJECT_ORPHAN;
  }

  /** Compares what was counted for every object of the window. `lost`: names may be missing. */
  finishWindow(lost: boolean): void {
    const table = this.#table;
    this.#open = [];
    if (table.after < ROOT_INO && table.covers(ROOT_INO) && table.find(ROOT_INO) < 0 && !lost) {
      this.#errors.add("DFS-FSCK-ROOT", "There is no root directory", { ino: ROOT_INO });
    }
    for (let index = 0; index < table.count; index++) {
      const flags = table.flags[index] as number;
      if ((flags & OBJECT_UNKNOWN) !== 0) continue;
      this.#checkLinks(index, flags, lost);
    }
    for (let index = 0; index < table.count; index++) this.#reach(index);
  }

  #checkLinks(index: number, flags: number, lost: boolean): void {
    const table = this.#table;
    const ino = table.ino[index] as number;
    const nlink = table.nlink[index] as number;
    const names = table.names[index] as number;
    const place = { ino };
    const listed = (flags & OBJECT_ORPHAN) !== 0;
    if (listed && nlink !== 0) {
      this.#errors.add(
        "DFS-FSCK-ORPHAN",
        `An object is listed as an orphan, but has ${nlink} links`,
        place,
      );
    }
    if (!listed && nlink === 0 && !lost) {
      this.#errors.add(
        "DFS-FSCK-ORPHAN-MISSING",
        "An object has no links, but is not listed as an orphan",
        place,
      );
    }
    if ((flags & OBJECT_DIRECTORY) === 0) {
      if (names !== nlink && (names > nlink || !lost)) {
        this.#errors.add(
          "DFS-FSCK-NLINK",
          `An object with ${names} names has ${nlink} links`,
          place,
        );
      }
      return;
    }
    const expected = ino === ROOT_INO || nlink === 0 ? 0 : 1;
    if (names > expected) {
      this.#errors.add(
        "DFS-FSCK-DIRECTORY-NAMES",
        `A directory has ${names} names, ${expected} expected`,
        place,
      );
    } else if (names < expected && !lost) {
      this.#errors.add("DFS-FSCK-UNREACHABLE", "A directory has no name", place);
    }
  }

  /** Follows a directory's parents until one is known to be reached. */
  #reach(start: number): void {
    const table = this.#table;
    const isLink = OBJECT_DIRECTORY;
    if (((table.flags[start] as number) & isLink) === 0) return;
    const way: number[] = [];
    let at = start;
    while (at >= 0 && ((table.flags[at] as number) & (OBJECT_REACHED | OBJECT_VISITING)) === 0) {
      table.flags[at] = (table.flags[at] as number) | OBJECT_VISITING;
      way.push(at);
      if (table.ino[at] === ROOT_INO || (table.nlink[at] as number) === 0) break;
      const parent = table.parent[at] as number;
      if (!table.covers(parent)) {
        // A loop through several windows has a directory below its parent in number: one such is enough to find it.
        if (parent > (table.ino[at] as number)) this.#open.push(table.ino[at] as number);
        break;
      }
      at = table.find(parent);
    }
    const last = way[way.length - 1];
    const closed = at >= 0 && at !== last && ((table.flags[at] as number) & OBJECT_VISITING) !== 0;
    const own = at === last && table.parent[at] === table.ino[at] && table.ino[at] !== ROOT_INO;
    if (closed || own) this.loop(table.ino[at] as number);
    for (const index of way) {
      table.flags[index] = ((table.flags[index] as number) & ~OBJECT_VISITING) | OBJECT_REACHED;
    }
  }

  /** Directories whose way up must be followed through the tree: each ends in another window, above. */
  openChains(): readonly number[] {
    return this.#open;
  }

  /** The directory is its own ancestor. */
  loop(ino: number): void {
    this.#errors.add(
      "DFS-FSCK-DIRECTORY-LOOP",
      "A directory lies within itself: it cannot be reached from the root",
      { ino },
    );
  }
}

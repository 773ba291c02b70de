/**
 * Names: every entry leads to an inode of its type, a directory has one name and a way up to the root, and what has no
 * name gets one in lost+found: `#` and its inode number. Counts of links and entries follow from that: SPEC §5.10.
 *
 * Memory: 28 bytes an object, in windows of inode numbers; the tree is walked three times for each.
 */
import { getU64, setU64 } from "../base/bytes.ts";
import type { Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import {
  DENTRY_INO,
  DENTRY_NAME,
  DENTRY_NAME_LENGTH,
  DENTRY_TYPE,
  dentriesProblem,
  dentryBytes,
} from "../format/dentry.ts";
import {
  INODE_ATIME_NS,
  INODE_BTIME,
  INODE_BYTES,
  INODE_ENTRIES,
  INODE_MODE,
  INODE_NLINK,
  INODE_PARENT,
  INODE_SIZE,
} from "../format/inode.ts";
import { ITEM_DENTRY, ITEM_INODE, ITEM_ORPHAN } from "../format/key.ts";
import { Directory } from "../fs/directory.ts";
import { ROOT_INO, S_IFDIR, S_IFMT } from "./item_rules.ts";
import {
  OBJECT_DIRECTORY,
  OBJECT_ORPHAN,
  OBJECT_REACHED,
  type ObjectTable,
} from "./object_table.ts";
import type { RepairLog } from "./repair_log.ts";
import type { RepairStore } from "./repair_store.ts";
import type { Key } from "./tree_walk.ts";

/** The entry that a directory keeps was found: the one in the directory that its inode names, where there is one. */
const OBJECT_KEPT = 32;
/** An entry lies in the directory that the inode names. */
const OBJECT_IN_PARENT = 64;
const TYPE_DIRECTORY = S_IFDIR >> 12;
const LOST_FOUND = "lost+found";
const MODE_LOST_FOUND: number = S_IFDIR | 0o700;
const NAME_BYTES = 256;

interface Entry {
  readonly directory: number;
  readonly name: Uint8Array;
  readonly target: number;
  readonly type: number;
}

export class NameRepair {
  readonly #core: Core;
  readonly #repair: RepairStore;
  readonly #log: RepairLog;
  readonly #table: ObjectTable;
  readonly #directory: Directory;
  readonly #record: number;
  readonly #name: number;
  #lostFound = 0;

  constructor(options: {
    repair: RepairStore;
    log: RepairLog;
    table: ObjectTable;
    layout: Layout;
    memory: number;
  }) {
    this.#repair = options.repair;
    this.#core = options.repair.core;
    this.#log = options.log;
    this.#table = options.table;
    this.#record = options.memory;
    this.#name = options.memory + INODE_BYTES;
    this.#directory = new Directory(options.repair.store, this.#core, options.layout);
  }

  static take(layout: Layout): number {
    return layout.take(INODE_BYTES + NAME_BYTES, 8);
  }

  *run(onWindow: () => void): Task<void> {
    const table = this.#table;
    let after = -1;
    do {
      onWindow();
      table.open(after);
      yield* this.#collect();
      yield* this.#count();
      yield* this.#settleEntries();
      yield* this.#settleObjects();
      yield* this.#attachLoops();
      after = table.full ? (table.ino[table.count - 1] as number) : after;
    } while (table.full);
    yield* this.#countEntries();
  }

  /** The objects of the window. */
  *#collect(): Task<void> {
    const { view } = this.#core;
    yield* this.#repair.walk(
      (key, value) => {
        if (key.type !== ITEM_INODE) return;
        const mode = view.getUint32(value + INODE_MODE, true);
        const nlink = view.getUint32(value + INODE_NLINK, true);
        this.#table.add(key.oid, {
          mode,
          // The root is never removed.
          nlink: key.oid === ROOT_INO ? Math.max(2, nlink) : nlink,
          parent: getU64(view, value + INODE_PARENT),
          isDirectory: (mode & S_IFMT) === S_IFDIR,
        });
      },
      { oid: Math.max(1, this.#table.after), type: 0, offset: 0 },
    );
  }

  /** Counts the names of the window's objects, and which of them are listed as orphans. */
  *#count(): Task<void> {
    const table = this.#table;
    yield* this.#repair.walk((key, value, valueLength, later) => {
      if (key.oid === 0 && key.type === ITEM_ORPHAN) {
        this.#orphan(key, later);
        return;
      }
      this.#entries(key, value, valueLength, ({ directory, target }) => {
        const index = table.find(target);
        if (index < 0) return;
        table.names[index] = (table.names[index] as number) + 1;
        if (table.parent[index] === directory) this.#mark(index, OBJECT_IN_PARENT);
      });
    });
  }

  #mark(index: number, flag: number): void {
    const { flags } = this.#table;
    flags[index] = (flags[index] as number) | flag;
  }

  #is(index: number, flag: number): boolean {
    return ((this.#table.flags[index] as number) & flag) !== 0;
  }

  #orphan(key: Key, later: (fix: () => Task<void>) => void): void {
    const table = this.#table;
    if (!table.covers(key.offset)) return;
    const index = table.find(key.offset);
    if (index >= 0) {
      this.#mark(index, OBJECT_ORPHAN);
      return;
    }
    this.#log.did("orphan-unlisted", "What was listed as removed does not exist", {
      ino: key.offset,
    });
    later(() => this.#unlist(key.offset));
  }

  #entries(key: Key, value: number, valueLength: number, visit: (entry: Entry) => void): void {
    if (key.type !== ITEM_DENTRY || key.oid === 0) return;
    const { view, bytes } = this.#core;
    if (dentriesProblem(view, value, valueLength) !== null) return;
    for (let at = value; at < value + valueLength; ) {
      const length = view.getUint8(at + DENTRY_NAME_LENGTH);
      const target = getU64(view, at + DENTRY_INO);
      if (this.#table.covers(target) && target !== this.#lostFound) {
        visit({
          directory: key.oid,
          name: bytes.subarray(at + DENTRY_NAME, at + DENTRY_NAME + length),
          target,
          type: view.getUint8(at + DENTRY_TYPE),
        });
      }
      at += dentryBytes(length);
    }
  }

  /** Entries that lead to nothing, or to a directory that has another name, go; wrong types are put right. */
  *#settleEntries(): Task<void> {
    const table = this.#table;
    yield* this.#repair.walk(
      (key, value, valueLength, later) => {
        this.#entries(key, value, valueLength, (found) => {
          const index = table.find(found.target);
          const entry = { ...found, name: found.name.slice() };
          if (index < 0) {
            later(() => this.#removeEntry(entry, "leads to an object that does not exist"));
            return;
          }
          if (this.#is(index, OBJECT_DIRECTORY)) {
            const wanted = this.#is(index, OBJECT_IN_PARENT)
              ? table.parent[index] === entry.directory
              : entry.directory !== entry.target;
            if (entry.target === ROOT_INO || !wanted || this.#is(index, OBJECT_KEPT)) {
              table.names[index] = (table.names[index] as number) - 1;
              const why = "is another name of a directory";
              later(() => this.#removeEntry(entry, why));
              return;
            }
            this.#mark(index, OBJECT_KEPT);
            if (table.parent[index] !== entry.directory) {
              table.parent[index] = entry.directory;
              this.#log.did("entry-corrected", `A directory named another parent than it is in`, {
                ino: entry.target,
              });
              later(() => this.#setParent(entry.target, entry.directory));
            }
          }
          const type = table.modeOf(index) >> 12;
          if (entry.type !== type) {
            this.#log.did("entry-corrected", `${text(entry.name)} was said to be of another type`, {
              ino: entry.directory,
              target: entry.target,
            });
            later(() => this.#retype(entry, type));
          }
        });
      },
      { oid: 1, type: 0, offset: 0 },
    );
  }

  *#removeEntry(entry: Entry, why: string): Task<void> {
    this.#log.gaveUp("entry-removed", `${text(entry.name)} ${why}`, {
      ino: entry.directory,
      target: entry.target,
    });
    yield* this.#unlink(entry);
  }

  *#unlink(entry: Entry): Task<void> {
    yield* this.#repair.transaction(() => {
      this.#core.bytes.set(entry.name, this.#name);
      if (this.#directory.find(entry.directory, this.#name, entry.name.length))
        this.#directory.remove(entry.directory, this.#name, entry.name.length);
    });
  }

  *#retype(entry: Entry, type: number): Task<void> {
    yield* this.#repair.transaction(() => {
      const { length } = entry.name;
      this.#core.bytes.set(entry.name, this.#name);
      if (this.#directory.find(entry.directory, this.#name, length))
        this.#directory.replace(entry.directory, this.#name, length, entry.target, type);
    });
  }

  /** Objects of the window: names for those without, links as many as names, orphans listed. */
  *#settleObjects(): Task<void> {
    const table = this.#table;
    for (let index = 0; index < table.count; index++) {
      const ino = table.ino[index] as number;
      if (ino === ROOT_INO || ino === this.#lostFound) {
        if (this.#is(index, OBJECT_ORPHAN)) yield* this.#unlist(ino);
        continue;
      }
      const nlink = table.nlink[index] as number;
      const isDirectory = this.#is(index, OBJECT_DIRECTORY);
      const listed = this.#is(index, OBJECT_ORPHAN);
      let names = table.names[index] as number;
      if (names === 0 && nlink === 0) {
        if (listed) continue;
        this.#log.did("orphan-listed", "An object without links was not listed as removed", {
          ino,
        });
        yield* this.#list(ino);
        continue;
      }
      if (listed) {
        this.#log.did("orphan-unlisted", "An object was listed as removed that is not", { ino });
        yield* this.#unlist(ino);
      }
      if (names === 0) {
        yield* this.#attach(index);
        names = 1;
      }
      // A directory's links are counted with its entries.
      if (isDirectory && nlink !== 0) continue;
      const wanted = isDirectory ? 2 : names;
      if (nlink === wanted) continue;
      this.#log.did("links-corrected", `An object with ${names} names had ${nlink} links`, { ino });
      table.nlink[index] = wanted;
      yield* this.#change(ino, (view, at) => view.setUint32(at + INODE_NLINK, wanted, true));
    }
  }

  *#list(ino: number): Task<void> {
    const { store } = this.#repair;
    yield* this.#repair.transaction(() => {
      if (store.get(0, ITEM_ORPHAN, ino) === 0) store.put(0, ITEM_ORPHAN, ino, this.#record, 0);
    });
  }

  *#unlist(ino: number): Task<void> {
    const { store } = this.#repair;
    yield* this.#repair.transaction(() => {
      if (store.get(0, ITEM_ORPHAN, ino) !== 0) store.remove(0, ITEM_ORPHAN, ino);
    });
  }

  // --- ways up ---

  /** Directories that lie within themselves, or in what is none, go to lost+found. */
  *#attachLoops(): Task<void> {
    const table = this.#table;
    for (let index = 0; index < table.count; index++) {
      if (!this.#is(index, OBJECT_DIRECTORY) || table.nlink[index] === 0) continue;
      // Brent's algorithm, as in a check: the mark jumps to ever further places.
      let at = table.ino[index] as number;
      let mark = at;
      let steps = 0;
      let limit = 1;
      while (at !== ROOT_INO && !this.#isReached(at)) {
        at = yield* this.#parentOf(at);
        if (at === 0) break;
        if (at === mark) {
          yield* this.#cutLoop(at);
          break;
        }
        if (++steps === limit) {
          mark = at;
          limit *= 2;
          steps = 0;
        }
      }
      for (
        let up = index;
        up >= 0 && !this.#is(up, OBJECT_REACHED);
        up = table.find(table.parent[up] as number)
      ) {
        this.#mark(up, OBJECT_REACHED);
      }
    }
  }

  #isReached(ino: number): boolean {
    const index = this.#table.find(ino);
    return index >= 0 && this.#is(index, OBJECT_REACHED);
  }

  *#parentOf(ino: number): Task<number> {
    const index = this.#table.find(ino);
    if (index >= 0) return this.#table.parent[index] as number;
    const { store } = this.#repair;
    return yield* this.#repair.look(() => {
      const at = store.get(ino, ITEM_INODE, 0);
      if (at === 0) return 0;
      const mode = this.#core.view.getUint32(at + INODE_MODE, true);
      return (mode & S_IFMT) === S_IFDIR ? getU64(this.#core.view, at + INODE_PARENT) : 0;
    });
  }

  /** Moves a directory of a loop to lost+found. */
  *#cutLoop(ino: number): Task<void> {
    const parent = yield* this.#parentOf(ino);
    const entries: Entry[] = [];
    yield* this.#repair.walk(
      (key, value, valueLength) => {
        const { view, bytes } = this.#core;
        if (dentriesProblem(view, value, valueLength) !== null) return;
        for (let at = value; at < value + valueLength; ) {
          const length = view.getUint8(at + DENTRY_NAME_LENGTH);
          if (getU64(view, at + DENTRY_INO) === ino) {
            const name = bytes.slice(at + DENTRY_NAME, at + DENTRY_NAME + length);
            entries.push({ directory: key.oid, name, target: ino, type: TYPE_DIRECTORY });
          }
          at += dentryBytes(length);
        }
      },
      { oid: parent, type: ITEM_DENTRY, offset: 0 },
      { oid: parent, type: ITEM_DENTRY + 1, offset: 0 },
    );
    for (const entry of entries) yield* this.#unlink(entry);
    const index = this.#table.find(ino);
    if (index >= 0) yield* this.#attach(index);
    else yield* this.#attachObject(ino, TYPE_DIRECTORY);
  }

  // --- lost+found ---

  *#attach(index: number): Task<void> {
    const table = this.#table;
    yield* this.#attachObject(table.ino[index] as number, table.modeOf(index) >> 12);
    table.names[index] = 1;
    if (this.#is(index, OBJECT_DIRECTORY)) table.parent[index] = this.#lostFound;
  }

  *#attachObject(ino: number, type: number): Task<void> {
    if (this.#lostFound === 0) yield* this.#findLostFound();
    const directory = this.#lostFound;
    let name = "";
    yield* this.#repair.transaction(() => {
      for (let turn = 0; ; turn++) {
        name = turn === 0 ? `#${ino}` : `#${ino}.${turn}`;
        const length = this.#put(name);
        if (this.#directory.find(directory, this.#name, length)) continue;
        if (this.#directory.hasRoom(directory, this.#name, length)) break;
      }
      this.#directory.add(directory, this.#name, this.#put(name), ino, type);
    });
    if (type === TYPE_DIRECTORY) yield* this.#setParent(ino, directory);
    const kind = type === TYPE_DIRECTORY ? "directory-attached" : "object-attached";
    this.#log.did(kind, `An object without a name is ${LOST_FOUND}/${name} now`, { ino });
  }

  #put(name: string): number {
    const bytes = new TextEncoder().encode(name);
    this.#core.bytes.set(bytes, this.#name);
    return bytes.length;
  }

  /** Finds or makes the directory; with another name when that is taken by something else. */
  *#findLostFound(): Task<void> {
    const { store } = this.#repair;
    const { view, exports } = this.#core;
    yield* this.#repair.transaction(() => {
      for (let turn = 0; ; turn++) {
        const length = this.#put(turn === 0 ? LOST_FOUND : `${LOST_FOUND}.${turn}`);
        if (this.#directory.find(ROOT_INO, this.#name, length)) {
          const { ino, type } = this.#directory;
          const at = store.get(ino, ITEM_INODE, 0);
          const mode = at === 0 ? 0 : view.getUint32(at + INODE_MODE, true);
          const isUsable =
            type === TYPE_DIRECTORY &&
            (mode & S_IFMT) === S_IFDIR &&
            getU64(view, at + INODE_PARENT) === ROOT_INO;
          if (!isUsable) continue;
          this.#lostFound = ino;
          return;
        }
        if (!this.#directory.hasRoom(ROOT_INO, this.#name, length)) continue;
        const ino = store.nextObjectId;
        store.get(ino, ITEM_INODE, 0);
        this.#directory.add(ROOT_INO, this.#name, length, ino, TYPE_DIRECTORY);
        const at = this.#record;
        exports.bytes_fill(at, 0, INODE_BYTES);
        view.setUint32(at + INODE_MODE, MODE_LOST_FOUND, true);
        view.setUint32(at + INODE_NLINK, 2, true);
        setU64(view, at + INODE_PARENT, ROOT_INO);
        const seconds = store.clock.seconds();
        const nanoseconds = store.clock.nanoseconds();
        for (let field = 0; field < 4; field++) {
          setU64(view, at + INODE_BTIME - 24 + field * 8, seconds);
          view.setUint32(at + INODE_ATIME_NS + field * 4, nanoseconds, true);
        }
        store.put(ino, ITEM_INODE, 0, at, INODE_BYTES);
        store.nextObjectId = ino + 1;
        this.#lostFound = ino;
        return;
      }
    });
  }

  *#setParent(ino: number, parent: number): Task<void> {
    yield* this.#change(ino, (view, at) => setU64(view, at + INODE_PARENT, parent));
  }

  *#change(ino: number, change: (view: DataView, at: number) => void): Task<void> {
    const { store } = this.#repair;
    const { view, exports } = this.#core;
    yield* this.#repair.transaction(() => {
      const at = store.get(ino, ITEM_INODE, 0);
      if (at === 0) return;
      exports.bytes_copy(this.#record, at, INODE_BYTES);
      change(view, this.#record);
      store.put(ino, ITEM_INODE, 0, this.#record, INODE_BYTES);
    });
  }

  // --- counts ---

  /** Makes every directory's counts agree with its entries, and the volume's with its objects. */
  *#countEntries(): Task<void> {
    const { view } = this.#core;
    const { store } = this.#repair;
    let directory = 0;
    let inode: DataView | null = null;
    let entries = 0;
    let subdirectories = 0;
    let objects = 0;
    let highest = ROOT_INO;
    const finish = (later: (fix: () => Task<void>) => void): void => {
      const before = inode;
      const ino = directory;
      if (before === null) return;
      if (before.getUint32(INODE_NLINK, true) === 0 && ino !== ROOT_INO) return;
      const wanted = { entries, links: subdirectories + 2 };
      const found = {
        entries: before.getUint32(INODE_ENTRIES, true),
        links: before.getUint32(INODE_NLINK, true),
      };
      const parent = ino === ROOT_INO ? ROOT_INO : getU64(before, INODE_PARENT);
      const isRight =
        found.entries === wanted.entries &&
        found.links === wanted.links &&
        getU64(before, INODE_SIZE) === wanted.entries &&
        getU64(before, INODE_PARENT) === parent;
      if (isRight) return;
      this.#log.did(
        "directory-counts-corrected",
        `A directory with ${wanted.entries} entries and ${subdirectories} directories had ${found.entries} and ${found.links} links`,
        { ino },
      );
      later(() =>
        this.#change(ino, (record, at) => {
          record.setUint32(at + INODE_ENTRIES, wanted.entries, true);
          record.setUint32(at + INODE_NLINK, wanted.links, true);
          setU64(record, at + INODE_SIZE, wanted.entries);
          setU64(record, at + INODE_PARENT, parent);
        }),
      );
    };
    yield* this.#repair.walk(
      (key, value, valueLength, later) => {
        if (key.oid !== directory) {
          finish(later);
          directory = key.oid;
          inode = null;
          entries = 0;
          subdirectories = 0;
          highest = key.oid;
        }
        if (key.type === ITEM_INODE) {
          objects++;
          const isDirectory = (view.getUint32(value + INODE_MODE, true) & S_IFMT) === S_IFDIR;
          if (isDirectory)
            inode = new DataView(this.#core.bytes.slice(value, value + INODE_BYTES).buffer);
        }
        if (key.type !== ITEM_DENTRY) return;
        for (let at = value; at < value + valueLength; ) {
          entries++;
          if (view.getUint8(at + DENTRY_TYPE) === TYPE_DIRECTORY) subdirectories++;
          at += dentryBytes(view.getUint8(at + DENTRY_NAME_LENGTH));
        }
      },
      { oid: 1, type: 0, offset: 0 },
    );
    const last: (() => Task<void>)[] = [];
    finish((fix) => last.push(fix));
    for (const fix of last) yield* fix();
    if (store.objectCount !== objects || store.nextObjectId <= highest) {
      this.#log.did(
        "totals-corrected",
        `${objects} objects, the next is ${Math.max(store.nextObjectId, highest + 1)}`,
        { objects },
      );
      store.objectCount = objects;
      store.nextObjectId = Math.max(store.nextObjectId, highest + 1);
      store.changedSinceCheckpoint = true;
    }
  }
}

function text(name: Uint8Array): string {
  return JSON.stringify(new TextDecoder().decode(name));
}

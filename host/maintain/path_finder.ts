/**
 * Names of objects that findings are about: a person wants the file, not its number. One walk finds the entries that
 * point to them; from there on, each directory names its parent, whose entries are searched.
 */
import { getU64 } from "../base/bytes.ts";
import type { Core } from "../core/core.ts";
import {
  DENTRY_INO,
  DENTRY_NAME,
  DENTRY_NAME_LENGTH,
  dentriesProblem,
  dentryBytes,
} from "../format/dentry.ts";
import { ITEM_DENTRY } from "../format/key.ts";
import { ROOT_INO } from "./item_rules.ts";
import type { Key } from "./tree_walk.ts";

/** Deeper paths than this are given up: the kernel's own limit is 4,096 bytes. */
const DEPTH_MAX = 2048;

export class PathFinder {
  readonly #core: Core;
  /** Objects whose entries are looked for. */
  readonly wanted: Set<number>;
  readonly #entries = new Map<number, { parent: number; name: string }>();

  constructor(core: Core, wanted: Iterable<number>) {
    this.#core = core;
    this.wanted = new Set(wanted);
  }

  /** Remembers the entries of an item that point to wanted objects. */
  item(key: Key, value: number, valueLength: number): void {
    const { view, bytes } = this.#core;
    if (key.type !== ITEM_DENTRY || dentriesProblem(view, value, valueLength) !== null) return;
    for (let at = value; at < value + valueLength; ) {
      const nameLength = view.getUint8(at + DENTRY_NAME_LENGTH);
      const target = getU64(view, at + DENTRY_INO);
      if (this.wanted.has(target) && !this.#entries.has(target)) {
        const name = new TextDecoder().decode(
          bytes.slice(at + DENTRY_NAME, at + DENTRY_NAME + nameLength),
        );
        this.#entries.set(target, { parent: key.oid, name });
      }
      at += dentryBytes(nameLength);
    }
  }

  has(ino: number): boolean {
    return ino === ROOT_INO || this.#entries.has(ino);
  }

  /** The directory that an object's entry lies in; 0 when it has none, or is the root. */
  parentOf(ino: number): number {
    return ino === ROOT_INO ? 0 : (this.#entries.get(ino)?.parent ?? 0);
  }

  /** The path from the root; null while a part of it is not known, or when there is none. */
  pathOf(ino: number): string | null {
    const names: string[] = [];
    let at = ino;
    while (at !== ROOT_INO) {
      const entry = this.#entries.get(at);
      if (entry === undefined || names.length > DEPTH_MAX) return null;
      names.unshift(entry.name);
      at = entry.parent;
    }
    return `/${names.join("/")}`;
  }
}

/**
 * Checks the items of a whole tree by SPEC §5.1 to §5.5 and §5.8, and what they say about each other. It shares no code and
 * no constants with what writes them: numbers here are those of the document.
 */
import { ROOT_INO } from "../../host/fs/file_system.ts";
import type { ModelItem } from "./model_store.ts";

interface Seen {
  readonly mode: number;
  readonly nlink: number;
  readonly size: number;
  readonly parent: number;
  readonly entries: number;
  readonly xattrs: number;
  names: number;
  namedBy: number;
  listed: number;
  subdirectories: number;
  attributes: number;
  target: number;
  readonly chunks: Map<number, number>;
}

/**
 * @param objectCount What the store counted.
 * @param hashOf A name's hash.
 * @returns What is wrong, a line each; empty when nothing is.
 */
export function treeProblems(
  items: readonly ModelItem[],
  objectCount: number,
  hashOf: (name: string) => number,
): string[] {
  const problems: string[] = [];
  const objects = new Map<number, Seen>();
  for (const { oid, type, offset, value } of items) {
    if (type !== 1) continue;
    const view = new DataView(value.buffer, value.byteOffset, value.length);
    if (value.length !== 112 || offset !== 0) {
      problems.push(`inode ${oid} has ${value.length} bytes at ${offset}`);
      continue;
    }
    objects.set(oid, {
      mode: view.getUint32(0, true),
      nlink: view.getUint32(4, true),
      size: Number(view.getBigUint64(16, true)),
      parent: Number(view.getBigUint64(96, true)),
      entries: view.getUint32(104, true),
      xattrs: view.getUint32(108, true),
      names: 0,
      namedBy: 0,
      listed: 0,
      subdirectories: 0,
      attributes: 0,
      target: -1,
      chunks: new Map(),
    });
    for (const at of [64, 68, 72, 76]) {
      if (view.getUint32(at, true) >= 1e9) problems.push(`inode ${oid}: nanoseconds at ${at}`);
    }
  }
  if (objects.size !== objectCount)
    problems.push(`${objects.size} objects, ${objectCount} counted`);
  const orphans = new Set<number>();
  for (const { oid, type, offset, value } of items) {
    if (type === 1) continue;
    if (type === 8) {
      if (oid !== 0 || value.length !== 0) problems.push(`orphan (${oid}, 8, ${offset})`);
      orphans.add(offset);
      continue;
    }
    const object = objects.get(oid);
    if (object === undefined) {
      problems.push(`item (${oid}, ${type}, ${offset}) of no object`);
      continue;
    }
    const view = new DataView(value.buffer, value.byteOffset, value.length);
    if (type === 2) {
      const length = view.getUint32(0, true);
      const nameLength = view.getUint8(4);
      const name = Buffer.from(value.subarray(8, 8 + nameLength)).toString("latin1");
      const expected = 8 + nameLength + (length <= 2048 ? length : 0);
      if (nameLength === 0 || value.length !== expected) problems.push(`xattr ${name} of ${oid}`);
      if ((hashOf(name) % 2 ** 44 || 1) !== offset)
        problems.push(`hash of xattr ${name} of ${oid}`);
      object.attributes++;
      if (length > 2048) object.chunks.set(offset, length);
    } else if (type === 3) {
      const hash = Math.floor(offset / 64);
      const left = object.chunks.get(hash) ?? 0;
      if (left === 0 || value.length !== Math.min(2048, left)) {
        problems.push(`chunk ${offset} of ${oid}`);
      }
      object.chunks.set(hash, left - value.length);
    } else if (type === 4) {
      object.target = value.length;
    } else if (type === 5) {
      entryProblems(oid, offset, value, object, objects, hashOf, problems);
    } else {
      problems.push(`item (${oid}, ${type}, ${offset}) is unknown`);
    }
  }
  for (const [ino, object] of objects) objectProblems(ino, object, objects, orphans, problems);
  for (const ino of orphans) if (!objects.has(ino)) problems.push(`orphan ${ino} does not exist`);
  return problems;
}

function entryProblems(
  oid: number,
  hash: number,
  value: Uint8Array,
  directory: Seen,
  objects: ReadonlyMap<number, Seen>,
  hashOf: (name: string) => number,
  problems: string[],
): void {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const slots = new Set<number>();
  const names = new Set<string>();
  if (value.length === 0) problems.push(`an item of directory ${oid} is empty`);
  if ((directory.mode & 0o170000) !== 0o040000) problems.push(`entries in ${oid}, no directory`);
  for (let at = 0; at < value.length; ) {
    const nameLength = view.getUint8(at + 9);
    const name = Buffer.from(value.subarray(at + 12, at + 12 + nameLength)).toString("latin1");
    const target = objects.get(Number(view.getBigUint64(at, true)));
    const slot = view.getUint8(at + 10);
    if (at + 12 + nameLength > value.length || nameLength === 0) {
      problems.push(`an entry of ${oid} is cut off`);
      return;
    }
    if (slot > 15 || slots.has(slot)) problems.push(`slot ${slot} of ${name} in ${oid}`);
    if (names.has(name)) problems.push(`${name} is twice in ${oid}`);
    if (view.getUint8(at + 11) !== 0) problems.push(`reserved byte of ${name} in ${oid}`);
    if ((hashOf(name) || 1) !== hash) problems.push(`hash of ${name} in ${oid}`);
    slots.add(slot);
    names.add(name);
    directory.listed++;
    at += 12 + nameLength;
    if (target === undefined) {
      problems.push(`${name} in ${oid} leads nowhere`);
      continue;
    }
    target.names++;
    target.namedBy = oid;
    if (target.mode >> 12 !== view.getUint8(at - 12 - nameLength + 8)) {
      problems.push(`type of ${name} in ${oid}`);
    }
    if ((target.mode & 0o170000) === 0o040000) directory.subdirectories++;
  }
}

function objectProblems(
  ino: number,
  object: Seen,
  objects: ReadonlyMap<number, Seen>,
  orphans: ReadonlySet<number>,
  problems: string[],
): void {
  const say = (text: string): void => {
    problems.push(`inode ${ino}: ${text}`);
  };
  if (orphans.has(ino) !== (object.nlink === 0))
    say(`nlink ${object.nlink}, orphan ${orphans.has(ino)}`);
  if (object.nlink === 0) {
    if (object.names > 0 || object.listed > 0) say("an orphan with names");
    return;
  }
  if (object.xattrs !== object.attributes)
    say(`${object.xattrs} xattrs, ${object.attributes} found`);
  for (const [hash, left] of object.chunks) if (left !== 0) say(`${left} bytes of ${hash} missing`);
  const type = object.mode & 0o170000;
  if (type === 0o120000 && object.target !== object.size) say(`target of ${object.target} bytes`);
  if (type !== 0o120000 && object.target >= 0) say("a target");
  if (type !== 0o040000) {
    if (object.names !== object.nlink) say(`${object.names} names, nlink ${object.nlink}`);
    if (object.parent !== 0 || object.entries !== 0) say("fields of a directory");
    return;
  }
  if (object.entries !== object.listed) say(`${object.entries} entries, ${object.listed} found`);
  if (object.size !== object.listed) say(`size ${object.size}, ${object.listed} entries`);
  if (object.nlink !== 2 + object.subdirectories) say(`nlink ${object.nlink} of a directory`);
  if (ino === ROOT_INO) {
    if (object.names !== 0 || object.parent !== ROOT_INO) say("the root is named");
    return;
  }
  if (object.names !== 1 || object.namedBy !== object.parent) {
    say(`parent ${object.parent}, named by ${object.namedBy}, ${object.names} names`);
  }
  let at = object;
  for (let depth = 0; depth <= objects.size; depth++) {
    if (at.parent === ROOT_INO) return;
    const up = objects.get(at.parent);
    if (up === undefined) break;
    at = up;
  }
  say("no way to the root");
}

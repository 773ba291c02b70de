/**
 * What a volume's image holds, read by what SPEC.md says and not by the engine: objects with their names, attributes and
 * the blocks of their data. For comparing a volume before and after something.
 */
import { createHash } from "node:crypto";
import { EXTENT_BLOCKS_MAX } from "../../host/format/extent.ts";
import type { RepairReport } from "../../host/maintain/repair.ts";
import { type ImageEditor, u64, viewOf } from "./image_editor.ts";

export interface ObjectContents {
  readonly mode: number;
  readonly nlink: number;
  readonly size: number;
  /** Paths from the root, in order. */
  readonly paths: string[];
  /** Hashes of what it holds, by what it is: `block 4096`, `inline`, `target`, `xattr 7`. */
  readonly parts: Map<string, string>;
}

/** Every object with an inode, by its number. */
export function contentsOf(editor: ImageEditor): Map<number, ObjectContents> {
  const objects = new Map<number, ObjectContents>();
  const entries: { directory: number; name: string; target: number }[] = [];
  for (const { key, value } of editor.items(1)) {
    const view = viewOf(value);
    if (key.oid === 0) continue;
    if (key.type === 1) {
      objects.set(key.oid, {
        mode: view.getUint32(0, true),
        nlink: view.getUint32(4, true),
        size: u64(view, 16),
        paths: [],
        parts: new Map(),
      });
      continue;
    }
    const parts = objects.get(key.oid)?.parts;
    if (key.type === 2) parts?.set(`xattr ${key.offset}`, hash(value));
    if (key.type === 3) parts?.set(`xattr data ${key.offset}`, hash(value));
    if (key.type === 4) parts?.set("target", hash(value));
    if (key.type === 7) parts?.set("inline", hash(value));
    if (key.type === 6 && view.getUint8(4) !== 0) {
      const block = u64(view, 16);
      const count = view.getUint32(0, true);
      // A longer one is damage.
      for (let index = 0; index < count && count <= EXTENT_BLOCKS_MAX; index++) {
        const data = hash(editor.read(block + index, 4096));
        parts?.set(`block ${key.offset + index * 4096}`, data);
      }
    }
    if (key.type !== 5) continue;
    for (let at = 0; at < value.length; at += 12 + (value[at + 9] as number)) {
      const name = new TextDecoder().decode(
        value.subarray(at + 12, at + 12 + (value[at + 9] ?? 0)),
      );
      entries.push({ directory: key.oid, name, target: u64(view, at) });
    }
  }
  const parents = new Map<number, { directory: number; name: string }[]>();
  for (const entry of entries)
    parents.set(entry.target, [...(parents.get(entry.target) ?? []), entry]);
  for (const [ino, object] of objects) {
    if (ino === 1) object.paths.push("/");
    for (const { directory, name } of parents.get(ino) ?? []) {
      let path = `/${name}`;
      let at = directory;
      for (let depth = 0; at !== 1 && depth < 1000; depth++) {
        const up = parents.get(at)?.[0];
        if (up === undefined) break;
        path = `/${up.name}${path}`;
        at = up.directory;
      }
      if (at === 1) object.paths.push(path);
    }
    object.paths.sort();
  }
  return objects;
}

/** What is missing or different and named by no step. */
export function unexplained(
  before: ReadonlyMap<number, ObjectContents>,
  after: ReadonlyMap<number, ObjectContents>,
  report: Pick<RepairReport, "steps" | "lost">,
): string[] {
  const found: string[] = [];
  const isIn = (steps: RepairReport["steps"], ino: number): boolean =>
    steps.some(({ place }) => {
      if (place["ino"] === ino || place["target"] === ino) return true;
      const { fromObject, toObject } = place;
      return ino >= Number(fromObject) && ino <= Number(toObject);
    });
  for (const [ino, object] of before) {
    if (object.nlink === 0) continue;
    const now = after.get(ino);
    if (now === undefined) {
      if (!isIn(report.lost, ino)) found.push(`object ${ino} is gone`);
      continue;
    }
    for (const [part, hash] of object.parts)
      if (now.parts.get(part) !== hash && !isIn(report.lost, ino))
        found.push(`${part} of object ${ino} is gone`);
    if (!isIn(report.steps, ino)) {
      if (now.mode !== object.mode) found.push(`object ${ino} has mode ${now.mode}`);
      if (now.size !== object.size && (object.mode & 0o170000) !== 0o040000)
        found.push(`object ${ino} has size ${now.size}`);
      for (const path of object.paths) {
        const directories = [...before].filter(([, other]) =>
          other.paths.some((above) => path.startsWith(above)),
        );
        if (now.paths.includes(path)) continue;
        if (directories.some(([above]) => isIn(report.steps, above))) continue;
        found.push(`${path} is not object ${ino}`);
      }
    }
    if (now.paths.length === 0) found.push(`object ${ino} cannot be reached`);
  }
  return found;
}

function hash(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("hex");
}

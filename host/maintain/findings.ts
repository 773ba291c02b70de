/**
 * What a check found. Codes are part of the interface: scripts and `dynamicfs explain` know them, so one is never given
 * another meaning. The list is capped, because a badly damaged volume has millions of findings; the totals are exact.
 */
import type { FsckCode } from "./fsck_codes.ts";

/** One fact about one place. */
export interface Finding {
  readonly code: FsckCode;
  /** For people: what is wrong and the values that show it. */
  readonly message: string;
  /** The place, for people: "ino 7, offset 4096". */
  readonly where: string;
  /** The place, for programs: block, tree, ino, offset, region … */
  readonly place: Readonly<Record<string, number | string>>;
  /** Path of the object that `place.ino` names, when it could be found. */
  readonly path?: string;
}

/** Findings kept in full; more are only counted. */
export const FINDINGS_MAX = 1000;

export class Findings {
  readonly list: Finding[] = [];
  /** How often each code was found. */
  readonly counts: Map<FsckCode, number> = new Map();
  total = 0;

  add(code: FsckCode, message: string, place: Finding["place"]): void {
    this.total++;
    this.counts.set(code, (this.counts.get(code) ?? 0) + 1);
    if (this.list.length >= FINDINGS_MAX) return;
    const where = Object.entries(place)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ");
    this.list.push({ code, message, where, place });
  }

  /** Inode numbers that findings in the list are about. */
  inos(): Set<number> {
    const inos = new Set<number>();
    for (const { place } of this.list) if (typeof place["ino"] === "number") inos.add(place["ino"]);
    return inos;
  }

  /** Adds paths to the findings that are about these objects. */
  setPaths(paths: ReadonlyMap<number, string>): void {
    for (const [index, finding] of this.list.entries()) {
      const path = paths.get(finding.place["ino"] as number);
      if (path === undefined) continue;
      this.list[index] = { ...finding, path, where: `${finding.where} (${path})` };
    }
  }
}

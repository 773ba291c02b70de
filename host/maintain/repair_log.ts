/**
 * What a repair did, and what it could not save. As findings, the list is capped and the totals are exact; what is lost
 * has a list of its own, so that it is not crowded out by what is only put right.
 */
import type { Finding } from "./findings.ts";

/** What was done: stable names, part of the interface. */
export type RepairKind =
  | "superblock-written"
  | "space-rebuilt"
  | "page-rewritten"
  | "page-cut"
  | "leaf-found"
  | "journal-replayed"
  | "journal-discarded"
  | "item-removed"
  | "inode-made"
  | "inode-corrected"
  | "inode-removed"
  | "attribute-removed"
  | "target-removed"
  | "extent-removed"
  | "inline-removed"
  | "sharing-corrected"
  | "quota-recounted"
  | "entry-removed"
  | "entry-corrected"
  | "entry-moved"
  | "directory-attached"
  | "object-attached"
  | "orphan-listed"
  | "orphan-unlisted"
  | "links-corrected"
  | "directory-counts-corrected"
  | "totals-corrected";

export interface RepairStep {
  readonly kind: RepairKind;
  readonly message: string;
  /** The place, for people. */
  readonly where: string;
  /** The place, for programs. */
  readonly place: Finding["place"];
}

/** Steps, and losses, that are kept in full; more are only counted. */
export const STEPS_MAX = 1000;

export class RepairLog {
  readonly steps: RepairStep[] = [];
  readonly lost: RepairStep[] = [];
  readonly counts: Map<RepairKind, number> = new Map();
  total = 0;
  lostTotal = 0;

  /** Something was put right, and nothing is missing because of it. */
  did(kind: RepairKind, message: string, place: Finding["place"]): void {
    this.total++;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    if (this.steps.length < STEPS_MAX) this.steps.push(stepOf(kind, message, place));
  }

  /** Something was put right by giving up what the message names. */
  gaveUp(kind: RepairKind, message: string, place: Finding["place"]): void {
    this.did(kind, message, place);
    this.lostTotal++;
    if (this.lost.length < STEPS_MAX) this.lost.push(stepOf(kind, message, place));
  }

  has(kind: RepairKind): boolean {
    return this.counts.has(kind);
  }
}

function stepOf(kind: RepairKind, message: string, place: Finding["place"]): RepairStep {
  const where = Object.entries(place)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
  return { kind, message, where, place };
}

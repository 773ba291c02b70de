/**
 * Mutations of images: what may be changed, and to what. Fields are plain data; items are named by their keys, so that a
 * recorded mutant keeps its meaning when the engine comes to lay out pages in another way.
 */
import type { Prng } from "../../host/base/prng.ts";
import { setU64, u64, viewOf } from "../support/image_editor.ts";
import { type Base, type BaseItem, BLOCK, type ImageParts, nameHash, PAGE } from "./image_base.ts";
import type { Field } from "./target.ts";

type FieldAt = readonly [at: number, size: number];

/** "offset:size" of each. */
function table(text: string): FieldAt[] {
  return text.split(" ").map((field) => field.split(":").map(Number) as unknown as FieldAt);
}

const SUPERBLOCK: readonly FieldAt[] = table(
  "0:8 16:2 18:2 20:4 24:8 32:8 40:8 48:8 64:8 80:8 88:8 96:8 104:8 112:8 120:8 128:8 " +
    "136:2 138:2 140:4 144:8 152:4 156:4 160:8 168:8 176:8 184:8 192:8 200:8 208:4 212:4 216:8 224:4 232:8 240:8 296:8 448:8",
);
const ROOT: readonly FieldAt[] = table("0:8 8:8 16:8 24:8 32:8 40:4 44:4");
const PAGE_HEADER: readonly FieldAt[] = table("8:4 12:1 13:1 14:2 16:8 24:8 32:2 34:2 36:4");
const SLOT: readonly FieldAt[] = table("0:8 8:4 8:8 15:1 16:2 18:2");
const POINTER: readonly FieldAt[] = table("0:8 8:8 16:8 24:8 32:8");
const COMMIT: readonly FieldAt[] = table("0:4 4:4 16:8 24:8 32:4 36:4 40:8 48:8 56:8");
/** Of items, by tree × 256 + type. */
const ITEMS: Readonly<Record<number, readonly FieldAt[]>> = {
  257: table(
    "0:4 4:4 8:4 12:4 16:8 24:8 32:8 40:8 48:8 56:8 64:4 " +
      "68:4 72:4 76:4 80:4 84:4 88:4 92:4 96:8 104:4 108:4",
  ),
  258: table("0:4 4:1 5:1 8:1 12:4"),
  259: table("0:4"),
  260: table("0:1 1:1"),
  261: table("0:8 8:1 9:1 10:1 11:1 12:1 13:1 14:1"),
  262: table("0:4 4:1 5:1 6:1 7:1 8:8 16:8 24:8 32:8"),
  263: table("0:1"),
  265: table("0:4 4:4"),
  528: table("0:8 8:8 16:4 20:4 24:1 25:1 26:4"),
};
const HOSTILE_NAMES = [
  "..",
  ".",
  "a/b",
  "/",
  "../../etc/passwd",
  "a\0b",
  "\0",
  "/etc",
  "..\0",
  "",
  "x".repeat(255),
];

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function unhex(text: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(String(text), "hex"));
}

function pick<T>(random: Prng, list: readonly T[]): T {
  return list[random.below(list.length)] as T;
}

/** Another value of a field: near the old one, at a limit, or one that means something elsewhere. */
function another(random: Prng, base: Base, old: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8);
  bytes.set(old);
  const view = viewOf(bytes);
  const size = old.length;
  const value = view.getBigUint64(0, true);
  const set = (next: bigint): void => view.setBigUint64(0, BigInt.asUintN(64, next), true);
  switch (random.below(9)) {
    case 0:
      set(value ^ (1n << BigInt(random.below(size * 8))));
      break;
    case 1:
      set(value + 1n);
      break;
    case 2:
      set(value - 1n);
      break;
    case 3:
      set(0n);
      break;
    case 4:
      set(-1n);
      break;
    case 5:
      set(
        pick(random, [
          1n,
          2n,
          1n << 31n,
          (1n << 31n) - 1n,
          1n << 32n,
          1n << 52n,
          (1n << 53n) - 1n,
          1n << 53n,
          1n << 63n,
          (1n << 63n) - 1n,
          4096n,
          4095n,
          256n,
          65535n,
          16384n,
          64n,
          255n,
          2048n,
          32768n,
        ]),
      );
      break;
    case 6: {
      const item = pick(random, base.items);
      set(BigInt(pick(random, [item.oid, item.offset, item.length, item.at])));
      break;
    }
    case 7: {
      const block = pick(random, [
        ...base.usedBlocks,
        0,
        15,
        16,
        32,
        4127,
        4128,
        16383,
        16384,
        16380,
        16366,
      ]);
      set(BigInt(block + (random.below(4) === 0 ? random.below(5) - 2 : 0)));
      break;
    }
    default:
      random.bytes(bytes);
  }
  return bytes.slice(0, size);
}

function setField(
  random: Prng,
  base: Base,
  bytes: Uint8Array,
  where: Field,
  from: number,
  [at, size]: FieldAt,
): Field | null {
  if (from + at + size > bytes.length) return null;
  const old = bytes.slice(from + at, from + at + size);
  const value = another(random, base, old);
  return { op: "set", ...where, at: from + at, value: hex(value), old: hex(old) };
}

function keyOf(item: BaseItem): Field {
  return { tree: item.tree, oid: item.oid, type: item.type, offset: item.offset };
}

function itemValue(base: Base, item: BaseItem): Uint8Array {
  const { bytes } = base.pages[item.page] as { bytes: Uint8Array };
  return bytes.slice(item.at, item.at + item.length);
}

/** An item's type first, since there are many of some and one of others. */
function someItem(random: Prng, base: Base, tree = 0): BaseItem {
  const kinds = [...new Set(base.items.map((item) => item.tree * 256 + item.type))].filter(
    (kind) => tree === 0 || kind >> 8 === tree,
  );
  const kind = pick(random, kinds);
  return pick(
    random,
    base.items.filter((item) => item.tree * 256 + item.type === kind),
  );
}

/** A value with a field changed, a few bytes changed, another length, or another item's value. */
function changedValue(random: Prng, base: Base, item: BaseItem): Uint8Array {
  let value = itemValue(base, item);
  const choice = random.below(10);
  if (choice < 6 && value.length > 0) {
    const fields = ITEMS[item.tree * 256 + item.type] ?? [[0, 1]];
    const [at, size] = pick(random, fields);
    if (at + size <= value.length) value.set(another(random, base, value.slice(at, at + size)), at);
  } else if (choice === 6 && value.length > 0) {
    const at = random.below(value.length);
    value[at] = random.below(256);
  } else if (choice === 7) {
    value = value.slice(0, random.below(value.length + 1));
  } else if (choice === 8) {
    const longer = new Uint8Array(Math.min(4200, value.length + 1 + random.below(300)));
    longer.set(value);
    value = longer;
  } else {
    value = itemValue(base, someItem(random, base, item.tree));
  }
  return value;
}

function hostileEntry(random: Prng, base: Base): Field[] {
  const directories = base.items.filter((item) => item.tree === 1 && item.type === 1);
  const name = new TextEncoder().encode(pick(random, HOSTILE_NAMES));
  const target = pick(random, directories).oid;
  const value = new Uint8Array(12 + name.length);
  const view = viewOf(value);
  setU64(view, 0, target);
  value[8] = pick(random, [4, 8, 10, 0, 15]);
  value[9] = name.length;
  value[10] = random.below(17);
  value.set(name, 12);
  const oid = random.below(3) > 0 ? 1 : pick(random, directories).oid;
  return [{ op: "insert", tree: 1, oid, type: 5, offset: nameHash(name), value: hex(value) }];
}

/** One field of a mutant, or a few that belong together. */
export function mutateImage(random: Prng, base: Base): Field[] {
  const one = (field: Field | null): Field[] => (field === null ? [] : [field]);
  const choice = random.below(100);
  if (choice < 7) {
    return one(
      setField(random, base, base.superblock, { what: "superblock" }, 0, pick(random, SUPERBLOCK)),
    );
  }
  if (choice < 11) {
    const tree = random.below(3);
    return one(
      setField(
        random,
        base,
        base.superblock,
        { what: "superblock" },
        304 + tree * 48,
        pick(random, ROOT),
      ),
    );
  }
  if (choice < 17) {
    const page = random.below(base.pages.length);
    const { bytes } = base.pages[page] as { bytes: Uint8Array };
    return one(setField(random, base, bytes, { what: "page", page }, 0, pick(random, PAGE_HEADER)));
  }
  if (choice < 25) {
    const page = random.below(base.pages.length);
    const { bytes } = base.pages[page] as { bytes: Uint8Array };
    const slot = random.below(Math.max(1, viewOf(bytes).getUint16(14, true)));
    return one(
      setField(random, base, bytes, { what: "page", page }, 64 + slot * 20, pick(random, SLOT)),
    );
  }
  if (choice < 31) {
    const children = base.pages
      .map((_, index) => index)
      .filter((index) => (base.pages[index]?.parent ?? -1) >= 0);
    if (children.length === 0) return [];
    const child = base.pages[pick(random, children)];
    if (child === undefined) return [];
    const bytes = base.pages[child.parent]?.bytes as Uint8Array;
    const where = { what: "page", page: child.parent };
    if (random.below(3) > 0)
      return one(setField(random, base, bytes, where, child.pointerAt, pick(random, POINTER)));
    // Another page's pointer, all of it.
    const other = pick(random, base.pages);
    const from =
      other.parent < 0 ? base.superblock : (base.pages[other.parent]?.bytes as Uint8Array);
    const value = hex(from.slice(other.pointerAt, other.pointerAt + 40));
    return [{ op: "set", ...where, at: child.pointerAt, value }];
  }
  if (choice < 62) {
    const item = someItem(random, base);
    if (random.below(5) === 0) {
      return [{ op: "put", ...keyOf(item), value: hex(changedValue(random, base, item)) }];
    }
    const value = itemValue(base, item);
    const fields = ITEMS[item.tree * 256 + item.type] ?? [[0, 1]];
    const found = setField(
      random,
      base,
      value,
      { what: "item", ...keyOf(item) },
      0,
      pick(random, fields),
    );
    return one(found);
  }
  if (choice < 66) return [{ op: "remove", ...keyOf(someItem(random, base)) }];
  if (choice < 72) {
    const item = someItem(random, base);
    const other = someItem(random, base, item.tree);
    const key = {
      tree: item.tree,
      oid: pick(random, [item.oid, other.oid, 0, 1, item.oid + 1, 2 ** 53, 9999]),
      type: pick(random, [item.type, item.type, other.type, random.below(12), random.below(256)]),
      offset: pick(random, [
        item.offset,
        other.offset,
        0,
        4096,
        item.offset + 1,
        2 ** 53 - 1,
        2 ** 53,
      ]),
    };
    return [{ op: "insert", ...key, value: hex(changedValue(random, base, item)) }];
  }
  if (choice < 76) return hostileEntry(random, base);
  if (choice < 81) {
    const start = random.below(2) === 0 ? pick(random, base.usedBlocks) : random.below(32768);
    const count = 1 + random.below(random.below(2) === 0 ? 4 : 16384);
    return [{ op: "bits", start, count, used: random.below(2) === 1 }];
  }
  if (choice < 93) return mutateJournal(random, base);
  const block = pick(random, base.usedBlocks);
  return [{ op: "flip", block, byte: random.below(BLOCK), mask: 1 << random.below(8) }];
}

function mutateJournal(random: Prng, base: Base): Field[] {
  if (base.commits.length > 0 && random.below(2) === 0) {
    const commit = random.below(base.commits.length);
    const bytes = base.commits[commit]?.bytes as Uint8Array;
    const where = { what: "commit", commit };
    if (random.below(4) === 0) {
      const found = setField(random, base, bytes, where, 0, pick(random, COMMIT));
      return found === null ? [] : [found];
    }
    // A field of an entry: all begin at multiples of 8.
    const at = 64 + 8 * random.below((bytes.length - 64) / 8);
    const field = pick(random, [
      [0, 1],
      [1, 1],
      [2, 2],
      [4, 4],
      [0, 8],
    ] as const);
    const found = setField(random, base, bytes, where, at, field);
    return found === null ? [] : [found];
  }
  const entries: Uint8Array[] = [];
  let transaction = base.journalEnd.transaction;
  let transactions = 0;
  for (let round = 1 + random.below(3); round > 0; round--) {
    for (let count = 1 + random.below(4); count > 0; count--) entries.push(someEntry(random, base));
    const end = new Uint8Array(16);
    end[0] = 3;
    setU64(viewOf(end), 8, random.below(8) === 0 ? random.u32() : transaction);
    if (random.below(12) > 0) {
      entries.push(end);
      transaction++;
      transactions++;
    }
  }
  return [{ op: "commit", transactions, value: hex(Buffer.concat(entries)) }];
}

function someEntry(random: Prng, base: Base): Uint8Array {
  const item = someItem(random, base, 1);
  const block = random.below(2) === 0 ? pick(random, base.usedBlocks) : random.below(17000);
  const oid = random.below(8) === 0 ? pick(random, [0, 1, 5000, 2 ** 53 - 1, 2 ** 53]) : item.oid;
  const kind = random.below(16) === 0 ? random.below(256) : 1 + random.below(7);
  const odd = (value: number): number =>
    random.below(6) === 0
      ? pick(random, [0, 1, 4095, 4096, 2 ** 31, 2 ** 40, 2 ** 53 - 1, 2 ** 53, 2 ** 62])
      : value;
  if (kind === 1 || kind === 2) {
    const value =
      kind === 2
        ? new Uint8Array(0)
        : random.below(3) === 0
          ? itemValue(base, item)
          : changedValue(random, base, item);
    const bytes = new Uint8Array(24 + Math.ceil(value.length / 8) * 8);
    const view = viewOf(bytes);
    bytes[0] = kind;
    bytes[1] = random.below(10) === 0 ? random.below(12) : item.type;
    view.setUint16(2, value.length, true);
    view.setUint32(4, random.below(12) === 0 ? random.below(5) : 1, true);
    setU64(view, 8, oid);
    setU64(view, 16, odd(item.offset));
    bytes.set(value, 24);
    return bytes;
  }
  if (kind === 6) {
    const length = pick(random, [0, 1, 100, 4096, 4097, 9000]);
    const bytes = new Uint8Array(48 + Math.ceil(length / 8) * 8);
    const view = viewOf(bytes);
    bytes[0] = 6;
    view.setUint32(4, random.below(10) === 0 ? random.u32() : length, true);
    setU64(view, 8, oid);
    setU64(view, 16, odd(4096 * random.below(8) + random.below(2) * 100));
    setU64(view, 24, odd(4096 * random.below(12) + random.below(4096)));
    setU64(view, 32, odd(1_700_000_000));
    view.setUint32(40, random.below(8) === 0 ? random.u32() : 5, true);
    bytes.fill(7, 48, 48 + length);
    return bytes;
  }
  const bytes = new Uint8Array(kind === 7 ? 24 : 16);
  const view = viewOf(bytes);
  bytes[0] = kind;
  view.setUint32(4, random.below(8) === 0 ? random.u32() : 1 + random.below(64), true);
  setU64(view, 8, kind === 7 ? oid : odd(block));
  if (kind === 7) setU64(view, 16, odd(random.below(100_000)));
  return bytes;
}

// --- applying ---

function findItem(base: Base, field: Field): BaseItem | undefined {
  return base.items.find(
    (item) =>
      item.tree === field["tree"] &&
      item.oid === field["oid"] &&
      item.type === field["type"] &&
      item.offset === field["offset"],
  );
}

function place(bytes: Uint8Array | null, at: number, value: Uint8Array): void {
  if (bytes === null || at < 0 || at >= bytes.length) return;
  bytes.set(value.subarray(0, bytes.length - at), at);
}

/** Does what a field says; one that does not fit this base does nothing. */
export function applyField(parts: ImageParts, field: Field): void {
  const { base } = parts;
  const value = unhex(field["value"] ?? "");
  const at = Number(field["at"] ?? 0);
  switch (field["op"]) {
    case "set":
      if (field["what"] === "superblock") place(parts.superblock, at, value);
      if (field["what"] === "page") place(parts.page(Number(field["page"])), at, value);
      if (field["what"] === "commit") place(parts.commit(Number(field["commit"])), at, value);
      if (field["what"] === "item") {
        const item = findItem(base, field);
        if (item !== undefined) place(parts.page(item.page), item.at + at, value);
      }
      break;
    case "put":
    case "remove":
    case "insert": {
      const oid = Number(field["oid"]);
      const type = Number(field["type"]);
      const offset = Number(field["offset"]);
      const tree = Number(field["tree"]);
      const index = leafFor(base, tree, oid, type, offset);
      const bytes = index < 0 ? null : parts.page(index);
      if (bytes === null) break;
      if (field["op"] !== "insert") removeItem(bytes, oid, type, offset);
      if (field["op"] !== "remove") insertItem(bytes, oid, type, offset, value);
      break;
    }
    case "bits": {
      const bitmap = parts.bitmap();
      const start = Number(field["start"]);
      for (let bit = start; bit < Math.min(start + Number(field["count"]), 32768); bit++) {
        const mask = 1 << (bit & 7);
        const old = bitmap[bit >> 3] as number;
        bitmap[bit >> 3] = field["used"] === true ? old | mask : old & ~mask;
      }
      break;
    }
    case "commit":
      parts.addCommit(value, Number(field["transactions"]));
      break;
    case "flip":
      parts.flips.push({
        block: Number(field["block"]),
        at: Number(field["byte"]),
        mask: Number(field["mask"]),
      });
      break;
  }
}

function slotKey(view: DataView, slot: number): [number, number, number] {
  const at = 64 + slot * 20;
  const high = view.getUint32(at + 12, true);
  return [
    u64(view, at),
    high >>> 24,
    view.getUint32(at + 8, true) + (high & 0xffffff) * 4294967296,
  ];
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let part = 0; part < 3; part++) {
    if (a[part] !== b[part]) return (a[part] as number) < (b[part] as number) ? -1 : 1;
  }
  return 0;
}

/** The last leaf whose first key is not above. */
function leafFor(base: Base, tree: number, ...key: [number, number, number]): number {
  let found = -1;
  for (const [index, page] of base.pages.entries()) {
    if (page.tree !== tree || page.level !== 0) continue;
    if (found < 0 || compare(slotKey(viewOf(page.bytes), 0), key) <= 0) found = index;
  }
  return found;
}

/** Slots that there can be, whatever the header says. */
function slotCount(view: DataView): number {
  return Math.min(view.getUint16(14, true), Math.floor((PAGE - 64) / 20) - 1);
}

function removeItem(bytes: Uint8Array, ...key: [number, number, number]): void {
  const view = viewOf(bytes);
  const count = slotCount(view);
  for (let slot = 0; slot < count; slot++) {
    if (compare(slotKey(view, slot), key) !== 0) continue;
    const length = view.getUint16(64 + slot * 20 + 18, true);
    bytes.copyWithin(64 + slot * 20, 64 + (slot + 1) * 20, 64 + count * 20);
    view.setUint16(14, count - 1, true);
    view.setUint16(34, view.getUint16(34, true) + length, true);
    return;
  }
}

function insertItem(
  bytes: Uint8Array,
  oid: number,
  type: number,
  offset: number,
  value: Uint8Array,
): void {
  const view = viewOf(bytes);
  const count = slotCount(view);
  let slot = 0;
  while (slot < count && compare(slotKey(view, slot), [oid, type, offset]) < 0) slot++;
  const heap = view.getUint16(32, true) - value.length;
  if (heap < 64 + (count + 1) * 20 || heap + value.length > PAGE) return;
  bytes.copyWithin(64 + (slot + 1) * 20, 64 + slot * 20, 64 + count * 20);
  setU64(view, 64 + slot * 20, oid);
  setU64(view, 64 + slot * 20 + 8, offset);
  view.setUint8(64 + slot * 20 + 15, type);
  view.setUint16(64 + slot * 20 + 16, value.length === 0 ? 0 : heap, true);
  view.setUint16(64 + slot * 20 + 18, value.length, true);
  bytes.set(value, heap);
  view.setUint16(14, count + 1, true);
  view.setUint16(32, heap, true);
}

/**
 * Checks that arbitrary bytes are a page that all other functions may work on. The codes are PAGE_BAD_* in
 * host/core/abi.ts.
 */
import {
  KEY_NUMBER_MAX,
  KEY_OFFSET_MASK,
  LEVEL_MAX,
  PAGE_BYTES,
  PAGE_MAGIC,
  PageHeader,
  POINTER_BYTES,
  POINTER_COPY0,
  SLOT_BYTES,
  SLOT_OID,
  SLOT_TYPE_OFFSET,
  SLOT_VALUE_LENGTH,
  SLOT_VALUE_OFFSET,
  SLOTS,
  VALUE_BYTES_MAX,
} from "../format/page_format";
import { isBelow, slotAt, valueAt } from "./page";

const BAD_MAGIC: i32 = 1;
const BAD_LEVEL: i32 = 2;
const BAD_SLOT_COUNT: i32 = 3;
const BAD_HEAP: i32 = 4;
const BAD_VALUE: i32 = 5;
const BAD_OVERLAP: i32 = 6;
const BAD_ORDER: i32 = 7;
const BAD_KEY: i32 = 8;
const BAD_POINTER: i32 = 9;
const BAD_RESERVED: i32 = 10;

/** One bit for each byte of a page: part of a value. */
const TAKEN: usize = memory.data(2048, 16);
const TAKEN_BYTES: usize = 2048;

export function validatePage(page: usize, expectedLevel: i32): i32 {
  const header = changetype<PageHeader>(page);
  const bad = headerProblem(page);
  if (bad != 0) return bad;
  if (expectedLevel >= 0 && header.level != expectedLevel) return BAD_LEVEL;
  if (header.level > 0 && header.slotCount == 0) return BAD_SLOT_COUNT;
  if ((header.reserved0 | header.reserved1 | header.reserved2 | header.reserved3) != 0) {
    return BAD_RESERVED;
  }
  const badKey = keyProblem(page);
  return badKey != 0 ? badKey : valueProblem(page);
}

/** The rules that the header alone tells: the walks check these on every page that they meet. */
export function headerProblem(page: usize): i32 {
  const header = changetype<PageHeader>(page);
  if (header.magic != PAGE_MAGIC) return BAD_MAGIC;
  if (header.level > LEVEL_MAX) return BAD_LEVEL;
  const heapStart = <u32>header.heapStart;
  if (heapStart > PAGE_BYTES || header.deadBytes > PAGE_BYTES - heapStart) return BAD_HEAP;
  if (SLOTS + <u32>header.slotCount * SLOT_BYTES > heapStart) return BAD_SLOT_COUNT;
  return 0;
}

function keyProblem(page: usize): i32 {
  const header = changetype<PageHeader>(page);
  const count = <u32>header.slotCount;
  const firstOrdered: u32 = header.level > 0 ? 2 : 1;
  let oidBefore: u64 = 0;
  let tailBefore: u64 = 0;
  for (let slot: u32 = 0; slot < count; slot++) {
    const at = slotAt(page, slot);
    const oid = load<u64>(at, SLOT_OID);
    const tail = load<u64>(at, SLOT_TYPE_OFFSET);
    if (oid > KEY_NUMBER_MAX || (tail & KEY_OFFSET_MASK) > KEY_NUMBER_MAX) return BAD_KEY;
    if (slot >= firstOrdered && !isBelow(oidBefore, tailBefore, oid, tail)) return BAD_ORDER;
    oidBefore = oid;
    tailBefore = tail;
  }
  return 0;
}

function valueProblem(page: usize): i32 {
  const header = changetype<PageHeader>(page);
  const count = <u32>header.slotCount;
  const interior = header.level > 0;
  let bytes: u32 = 0;
  memory.fill(TAKEN, 0, TAKEN_BYTES);
  for (let slot: u32 = 0; slot < count; slot++) {
    const at = slotAt(page, slot);
    const offset = <u32>load<u16>(at, SLOT_VALUE_OFFSET);
    const length = <u32>load<u16>(at, SLOT_VALUE_LENGTH);
    if (length == 0 && offset == 0 && !interior) continue;
    if (length == 0 || length > VALUE_BYTES_MAX) return BAD_VALUE;
    if (offset < header.heapStart || offset + length > PAGE_BYTES) return BAD_VALUE;
    if (!take(offset, length)) return BAD_OVERLAP;
    if (interior && (length != POINTER_BYTES || load<u64>(valueAt(page, at), POINTER_COPY0) == 0)) {
      return BAD_POINTER;
    }
    bytes += length;
  }
  return bytes + header.deadBytes == PAGE_BYTES - header.heapStart ? 0 : BAD_HEAP;
}

/** Marks bytes as taken; false when some were. */
function take(offset: u32, length: u32): bool {
  let at = offset;
  const end = offset + length;
  while (at < end) {
    const inWord = at & 63;
    const bits = min(end - at, 64 - inWord);
    const mask = (~(<u64>0) >> (64 - bits)) << inWord;
    const word = TAKEN + ((at >> 6) << 3);
    const before = load<u64>(word);
    if ((before & mask) != 0) return false;
    store<u64>(word, before | mask);
    at += bits;
  }
  return true;
}

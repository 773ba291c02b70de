/** Binary search among a page's slots. */
import { PageHeader, SLOT_BYTES, SLOT_OID, SLOT_TYPE_OFFSET, SLOTS } from "../format/page_format";
import { pageAt } from "./page";

/** The slot that has a key, else −(slot where it would be inserted) − 1. */
export function searchPage(page: usize, oid: u64, tail: u64): i32 {
  const header = pageAt(page);
  const upper = upperBound(page, oid, tail);
  const first: u32 = header.level > 0 ? 1 : 0;
  if (upper > first && hasKey(page, upper - 1, oid, tail)) return i32(upper - 1);
  return -(<i32>upper) - 1;
}

export function hasKey(page: usize, slot: u32, oid: u64, tail: u64): bool {
  const at = page + SLOTS + slot * SLOT_BYTES;
  return load<u64>(at, SLOT_OID) == oid && load<u64>(at, SLOT_TYPE_OFFSET) == tail;
}

/**
 * Number of slots whose key is not above this one. Slot 0 of an interior page always counts, so there the child to go to
 * is the slot before. The slots must lie in the page; if they are not in order, so is the answer: inside 0..slotCount.
 */
export function upperBound(page: usize, oid: u64, tail: u64): u32 {
  const header = changetype<PageHeader>(page);
  const count = <u32>header.slotCount;
  // Invariant: slots below `low` are not above the key, those from `low + length` on are.
  let low: u32 = header.level > 0 && count > 0 ? 1 : 0;
  let length = count - low;
  while (length > 0) {
    const half = length >> 1;
    const at = page + SLOTS + (low + half) * SLOT_BYTES;
    const slotOid = load<u64>(at, SLOT_OID);
    if (slotOid < oid || (slotOid == oid && load<u64>(at, SLOT_TYPE_OFFSET) <= tail)) {
      low += half + 1;
      length -= half + 1;
    } else {
      length = half;
    }
  }
  return low;
}

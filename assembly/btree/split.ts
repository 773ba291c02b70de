/** Splitting a page in two, by bytes. */
import {
  PAGE_BYTES,
  PageHeader,
  SLOT_BYTES,
  SLOT_OID,
  SLOT_TYPE_OFFSET,
  SLOT_VALUE_LENGTH,
} from "../format/page_format";
import { copyValue, insertItem, liveBytes, pageAt, slotAt, truncateItems, valueAt } from "./page";

/**
 * Moves the upper items of a page to an empty one. Inserts at the right edge are most often followed by more of them: then
 * only one item moves, and the page stays full. Else the halves differ by at most one item's bytes, so that with items
 * of at most 4,220 bytes in 16,320 each has room for one more of any length.
 */
export function splitPage(page: usize, empty: usize, insertSlot: u32): u32 {
  const header = pageAt(page);
  const count = <u32>header.slotCount;
  const other = pageAt(empty);
  assert(page != empty && other.slotCount == 0 && other.heapStart == PAGE_BYTES);
  assert(other.level == header.level && insertSlot <= count);
  if (count < 2) return count;
  const keep = insertSlot == count ? count - 1 : balancedCount(page);
  truncateItems(page, keep, appendItems(empty, page, keep));
  return keep;
}

/** How many items to keep, 1 to slotCount − 1, for halves as equal in bytes as can be. */
function balancedCount(page: usize): u32 {
  const count = <u32>changetype<PageHeader>(page).slotCount;
  const half = liveBytes(page) >> 1;
  let bytes: u32 = 0;
  for (let slot: u32 = 0; slot < count; slot++) {
    const item = SLOT_BYTES + load<u16>(slotAt(page, slot), SLOT_VALUE_LENGTH);
    if (bytes + (item >> 1) >= half) return min(max(slot, 1), count - 1);
    bytes += item;
  }
  return count - 1;
}

/** Appends items of `from`, from a slot on, to a page with room for them. Returns the bytes of their values. */
export function appendItems(page: usize, from: usize, firstSlot: u32): u32 {
  const count = <u32>changetype<PageHeader>(from).slotCount;
  let bytes: u32 = 0;
  for (let slot = firstSlot; slot < count; slot++) {
    const at = slotAt(from, slot);
    const length = <u32>load<u16>(at, SLOT_VALUE_LENGTH);
    const end = <u32>changetype<PageHeader>(page).slotCount;
    const oid = load<u64>(at, SLOT_OID);
    const to = insertItem(page, end, oid, load<u64>(at, SLOT_TYPE_OFFSET), length);
    assert(to != 0);
    copyValue(to, valueAt(from, at), length);
    bytes += length;
  }
  return bytes;
}

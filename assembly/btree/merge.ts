/** Merging a page into its left neighbour. */
import {
  PAGE_BYTES,
  PageHeader,
  SLOT_BYTES,
  SLOT_OID,
  SLOT_TYPE_OFFSET,
  SLOTS,
} from "../format/page_format";
import { gather, isBelow, liveBytes, pageAt, slotAt } from "./page";
import { appendItems } from "./split";

/** Appends all items of `right` to `left` if they fit and are in order. */
export function mergePages(left: usize, right: usize): bool {
  const into = pageAt(left);
  const from = pageAt(right);
  assert(left != right && into.level == from.level);
  if (liveBytes(left) + liveBytes(right) > PAGE_BYTES - SLOTS) return false;
  if (!inOrder(left, right)) return false;
  const rightHeap = PAGE_BYTES - from.heapStart - from.deadBytes;
  const slots = (<u32>into.slotCount + from.slotCount) * SLOT_BYTES;
  if (SLOTS + slots + rightHeap > into.heapStart && !gather(left)) return false;
  appendItems(left, right, 0);
  return true;
}

function inOrder(left: usize, right: usize): bool {
  const into = changetype<PageHeader>(left);
  const from = changetype<PageHeader>(right);
  if (into.slotCount == 0 || from.slotCount == 0) return true;
  const first = slotAt(right, 0);
  if (into.level > 0) {
    // Behind other items, a key that did not count begins to.
    if (from.slotCount > 1 && !isSlotBelow(first, slotAt(right, 1))) return false;
    // And before them, the first of `left` still stands for −∞.
    if (into.slotCount == 1) return true;
  }
  return isSlotBelow(slotAt(left, into.slotCount - 1), first);
}

function isSlotBelow(slotAddress: usize, other: usize): bool {
  return isBelow(
    load<u64>(slotAddress, SLOT_OID),
    load<u64>(slotAddress, SLOT_TYPE_OFFSET),
    load<u64>(other, SLOT_OID),
    load<u64>(other, SLOT_TYPE_OFFSET),
  );
}

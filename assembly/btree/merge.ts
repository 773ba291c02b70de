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
  if (into.slotCount == 0 || changetype<PageHeader>(right).slotCount == 0) return true;
  // The one item of an interior page counts as −∞.
  if (into.slotCount == 1 && into.level > 0) return true;
  const last = slotAt(left, into.slotCount - 1);
  const first = slotAt(right, 0);
  return isBelow(
    load<u64>(last, SLOT_OID),
    load<u64>(last, SLOT_TYPE_OFFSET),
    load<u64>(first, SLOT_OID),
    load<u64>(first, SLOT_TYPE_OFFSET),
  );
}

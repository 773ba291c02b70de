/**
 * What entries of the journal must be by themselves, whoever wrote them: SPEC §7.2. What they put does not come by way of a
 * page that is verified, so each is looked at before anything of its commit is applied.
 */
import { getU64 } from "../base/bytes.ts";
import { BLOCK_BYTES, type Geometry } from "./geometry.ts";
import { itemProblem, type NameHash, runProblem } from "./item_problem.ts";
import {
  ENTRY_ALLOCATE,
  ENTRY_DATA,
  ENTRY_END,
  ENTRY_FREE,
  ENTRY_ITEM_BYTES,
  ENTRY_PUT,
  ENTRY_REMOVE,
} from "./journal_record.ts";
import { VALUE_BYTES_MAX } from "./limits.ts";
import { TREE_FS } from "./page_pointer.ts";

/** What is wrong with the entry of a commit at an address, or null. */
export function entryProblem(
  view: DataView,
  nameHash: NameHash,
  geometry: Geometry,
  at: number,
): string | null {
  const oid = getU64(view, at + 8);
  switch (view.getUint8(at)) {
    case ENTRY_PUT:
    case ENTRY_REMOVE: {
      const offset = getU64(view, at + 16);
      const type = view.getUint8(at + 1);
      const byteLength = view.getUint16(at + 2, true);
      if (view.getUint32(at + 4, true) !== TREE_FS) return "tree";
      if (!(oid < Number.MAX_SAFE_INTEGER && offset < Number.MAX_SAFE_INTEGER)) return "key";
      if (view.getUint8(at) === ENTRY_REMOVE) return null;
      if (byteLength > VALUE_BYTES_MAX) return "length";
      const value = at + ENTRY_ITEM_BYTES;
      return itemProblem(view, nameHash, geometry, TREE_FS, oid, type, offset, value, byteLength);
    }
    case ENTRY_END:
      return oid < Number.MAX_SAFE_INTEGER ? null : "sequence";
    case ENTRY_ALLOCATE:
    case ENTRY_FREE:
      return runProblem(geometry, oid, view.getUint32(at + 4, true));
    case ENTRY_DATA: {
      const start = getU64(view, at + 16);
      const byteLength = view.getUint32(at + 4, true);
      const size = getU64(view, at + 24);
      const isBlocks = start % BLOCK_BYTES === 0 && byteLength % BLOCK_BYTES === 0;
      const isInFile = size <= Number.MAX_SAFE_INTEGER && start + byteLength < size + BLOCK_BYTES;
      if (!(oid > 0 && oid < Number.MAX_SAFE_INTEGER)) return "key";
      return isBlocks && byteLength > 0 && isInFile ? null : "range";
    }
    default:
      return oid > 0 &&
        oid < Number.MAX_SAFE_INTEGER &&
        getU64(view, at + 16) <= Number.MAX_SAFE_INTEGER
        ? null
        : "range";
  }
}

/**
 * A run of blocks that more than one extent points to: SPEC §5.9. Item (0, SHARED, address of its first block). Blocks in
 * use without such an item have one extent, or are pages.
 */
export const SHARED_BLOCK_COUNT = 0; // u32
export const SHARED_REFERENCES = 4; // u32: extents that point to each of the blocks, 2 or more
export const SHARED_BYTES = 8;

/** null if the value is valid by itself, else what is wrong with it. */
export function sharedRunProblem(view: DataView, at: number, byteLength: number): string | null {
  if (byteLength !== SHARED_BYTES) return `length ${byteLength}`;
  if (view.getUint32(at + SHARED_BLOCK_COUNT, true) === 0) return "no blocks";
  const references = view.getUint32(at + SHARED_REFERENCES, true);
  return references < 2 ? `${references} references` : null;
}

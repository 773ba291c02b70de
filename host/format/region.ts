/**
 * An item of the space tree: one region's bitmap and summary: SPEC §6. Key (device index, REGION, region).
 */
export const ITEM_REGION = 16;
export const REGION_CHECKSUM = 0; // u64: XXH3-64 of the bitmap
export const REGION_GENERATION = 8; // u64: checkpoint that wrote it
export const REGION_FREE = 16; // u32 blocks
export const REGION_LONGEST = 20; // u32 blocks: longest free run, an upper bound
export const REGION_SLOT = 24; // u8: which of its two places holds it
export const REGION_STATE = 25; // u8
export const REGION_BYTES = 32;
/** Nothing but the fixed areas is used; no bitmap was ever written. */
export const REGION_STATE_EMPTY = 0;
export const REGION_STATE_MAPPED = 1;

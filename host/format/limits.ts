/** Limits that hold for items of every kind. */

/** Bytes of an item's value: SPEC §4.2. */
export const VALUE_BYTES_MAX = 4200;

/** Numbers of objects are below this: SPEC §1. */
export const OBJECT_ID_MAX: number = Number.MAX_SAFE_INTEGER;

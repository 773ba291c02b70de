/**
 * CRC-32C (Castagnoli), sixteen bytes a step through sixteen tables; a long input is shortened first. For formats of
 * others only: XXH3 is faster at any length. Rejected: two interleaved streams, which gain nothing, as look-ups and
 * not waiting for them are the limit.
 *
 * Published vectors: "123456789" → e3069283, 32 zero bytes → 8a9136aa.
 *
 * @see RFC 3720, appendix B.4; M. Kounavis and F. Berry, "A Systematic Approach to Building High Performance
 *   Software-Based CRC Generators" (2005)
 */

import { FOLDED, FOLDED_BYTES, foldCrc } from "./crc32c_fold";

const POLYNOMIAL: u32 = 0x82f63b78; // reflected: bit 31 is the coefficient of x^0
const FOLD_BYTES_MIN: u32 = 5120; // shorter is quicker without; not below FOLDED_BYTES + 15
const TABLE_BYTES: usize = 1024;
const OFFSET_MASK: u32 = 0x3fc; // a byte times the 4 bytes of a table's entry

/**
 * Sixteen tables of 256 words. Table t, entry b: the remainder of byte b with t zero bytes after it. Built at first
 * use, which entry 1 shows: it is not zero in a table that was built.
 */
const TABLES: usize = memory.data(16384, 64);

/** CRC-32C of a region, going on from `seed`: 0, or the CRC of what precedes. */
export function crc(address: usize, byteLength: u32, seed: u32): u32 {
  if (load<u32>(TABLES, 4) == 0) buildTables();
  const whole = byteLength & ~15;
  let state: u32;
  if (byteLength >= FOLD_BYTES_MIN) {
    foldCrc(~seed, address, whole);
    state = sixteens(0, FOLDED, FOLDED_BYTES);
  } else {
    state = sixteens(~seed, address, whole);
  }
  return ~bytes(state, address + whole, byteLength & 15);
}

/** `byteLength` is a multiple of 16. Of each step only the first four look-ups wait for the step before. */
function sixteens(state: u32, address: usize, byteLength: u32): u32 {
  const end = address + byteLength;
  let word: u64;
  let rest: u32;
  while (address != end) {
    word = load<u64>(address, 8);
    rest =
      load<u32>((u32(word) << 2) & OFFSET_MASK, TABLES + 7 * TABLE_BYTES) ^
      load<u32>(u32(word >> 6) & OFFSET_MASK, TABLES + 6 * TABLE_BYTES) ^
      load<u32>(u32(word >> 14) & OFFSET_MASK, TABLES + 5 * TABLE_BYTES) ^
      load<u32>(u32(word >> 22) & OFFSET_MASK, TABLES + 4 * TABLE_BYTES) ^
      load<u32>(u32(word >> 30) & OFFSET_MASK, TABLES + 3 * TABLE_BYTES) ^
      load<u32>(u32(word >> 38) & OFFSET_MASK, TABLES + 2 * TABLE_BYTES) ^
      load<u32>(u32(word >> 46) & OFFSET_MASK, TABLES + 1 * TABLE_BYTES) ^
      load<u32>(u32(word >> 54) & OFFSET_MASK, TABLES + 0 * TABLE_BYTES);
    word = load<u64>(address) ^ state;
    rest ^=
      load<u32>(u32(word >> 30) & OFFSET_MASK, TABLES + 11 * TABLE_BYTES) ^
      load<u32>(u32(word >> 38) & OFFSET_MASK, TABLES + 10 * TABLE_BYTES) ^
      load<u32>(u32(word >> 46) & OFFSET_MASK, TABLES + 9 * TABLE_BYTES) ^
      load<u32>(u32(word >> 54) & OFFSET_MASK, TABLES + 8 * TABLE_BYTES);
    state =
      rest ^
      (load<u32>((u32(word) << 2) & OFFSET_MASK, TABLES + 15 * TABLE_BYTES) ^
        load<u32>(u32(word >> 6) & OFFSET_MASK, TABLES + 14 * TABLE_BYTES) ^
        (load<u32>(u32(word >> 14) & OFFSET_MASK, TABLES + 13 * TABLE_BYTES) ^
          load<u32>(u32(word >> 22) & OFFSET_MASK, TABLES + 12 * TABLE_BYTES)));
    address += 16;
  }
  return state;
}

function bytes(state: u32, address: usize, byteLength: u32): u32 {
  const end = address + byteLength;
  while (address != end) {
    state = (state >> 8) ^ load<u32>(TABLES + (((state ^ load<u8>(address)) & 0xff) << 2));
    address++;
  }
  return state;
}

function buildTables(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder >> 1) ^ (POLYNOMIAL & -(remainder & 1));
    }
    store<u32>(TABLES + (byte << 2), remainder);
  }
  for (let entry = TABLES; entry != TABLES + 15 * TABLE_BYTES; entry += 4) {
    const remainder = load<u32>(entry);
    const next = (remainder >> 8) ^ load<u32>(TABLES + ((remainder & 0xff) << 2));
    store<u32>(entry, next, TABLE_BYTES);
  }
}

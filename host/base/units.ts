/** Sizes as people write and read them: binary units by default, decimal ones when they are named. */
import { EINVAL } from "./errno.ts";
import { FsError } from "./fs_error.ts";

const PREFIXES = "KMGTPE";
const SIZE = /^(\d+(?:\.\d+)?|\.\d+)\s*(?:([KMGTPE])(i?B)?|B)?$/i;

/**
 * Bytes of a size: `10G`, `10GiB` and `10g` are 10 × 2^30, `10GB` is 10^10, `4096` and `4096B` are bytes. Fractions are
 * allowed before a unit and rounded down to a byte.
 *
 * @throws {FsError} EINVAL when the text is no size, or is not below 2^53.
 */
export function parseSize(text: string): number {
  const match = SIZE.exec(text.trim());
  const number = match?.[1];
  if (number === undefined) {
    throw new FsError(
      EINVAL,
      "units/not-a-size",
      `Cannot read "${text}" as a size: try 10G or 512M`,
    );
  }
  const prefix = match?.[2];
  let bytes = Number(number);
  if (prefix !== undefined) {
    const step = match?.[3]?.toUpperCase() === "B" ? 1000 : 1024;
    bytes = Math.floor(bytes * step ** (PREFIXES.indexOf(prefix.toUpperCase()) + 1));
  }
  if (!Number.isSafeInteger(bytes)) {
    throw new FsError(
      EINVAL,
      "units/size-out-of-range",
      `Cannot use "${text}" as a size: it must be a whole number of bytes below 8 PiB`,
    );
  }
  return bytes;
}

/**
 * A size for people, in binary units with three significant digits: `4 KiB`, `1.5 GiB`, `12.3 TiB`, `512 bytes`.
 *
 * @param bytes 0 or more.
 */
export function formatSize(bytes: number): string {
  if (bytes < 1024) return bytes === 1 ? "1 byte" : `${Math.floor(bytes)} bytes`;
  let value = bytes / 1024;
  let prefix = 0;
  // 1,023.5 would round to four digits.
  while (value >= 1023.5 && prefix < PREFIXES.length - 1) {
    value /= 1024;
    prefix += 1;
  }
  const text =
    value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
  const short = text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return `${short} ${PREFIXES[prefix]}iB`;
}

/**
 * Attributes and space as fuse-native's binding takes them: arrays of 32-bit words, 64-bit values as two of them, times
 * in milliseconds since 1970.
 */
import type { Attributes, VolumeSpace } from "../fs/file_system.ts";

const STAT_WORDS = 18;
const SPACE_WORDS = 11;
const WORD = 0x1_0000_0000;
const BLOCK_BYTES = 4096;
const NAME_BYTES_MAX = 255;

/** Whether the number fits: others would be shown as the number of another file. */
export function fitsStat(attributes: Attributes): boolean {
  return attributes.ino < WORD;
}

/** struct stat. A time before 1970 is shown as 1970: the binding's are unsigned. */
export function encodeStat(a: Attributes): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[0] = a.mode;
  words[1] = a.uid;
  words[2] = a.gid;
  setLong(words, 3, a.size);
  words[6] = a.nlink;
  words[7] = a.ino;
  words[8] = a.rdev;
  words[9] = BLOCK_BYTES;
  setLong(words, 10, a.blocks);
  setLong(words, 12, milliseconds(a.atime, a.atimeNs));
  setLong(words, 14, milliseconds(a.mtime, a.mtimeNs));
  setLong(words, 16, milliseconds(a.ctime, a.ctimeNs));
  return words;
}

/** What a directory entry tells: number and type. @param type S_IFMT >> 12. */
export function encodeEntry(ino: number, type: number): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[0] = type << 12;
  words[7] = ino;
  return words;
}

/** struct statvfs, in larger units where a count of blocks does not fit. */
export function encodeSpace(space: VolumeSpace): Uint32Array {
  let unit = 1;
  while (space.blocks / unit >= WORD) unit *= 2;
  const words = new Uint32Array(SPACE_WORDS);
  words[0] = space.blockBytes;
  words[1] = space.blockBytes * unit;
  words[2] = Math.floor(space.blocks / unit);
  words[3] = Math.floor(space.blocksFree / unit);
  words[4] = Math.floor(space.blocksAvailable / unit);
  words[5] = Math.min(space.files, WORD - 1);
  words[6] = Math.min(space.filesFree, WORD - 1);
  words[7] = words[6] as number;
  words[10] = NAME_BYTES_MAX;
  return words;
}

function setLong(words: Uint32Array, index: number, value: number): void {
  words[index] = value % WORD;
  words[index + 1] = Math.floor(value / WORD);
}

function milliseconds(seconds: number, nanoseconds: number): number {
  return Math.max(0, seconds * 1000 + Math.floor(nanoseconds / 1e6));
}

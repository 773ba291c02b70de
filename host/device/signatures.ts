/**
 * What a disk or file already holds, as blkid would tell, so that nothing is overwritten without being asked. Magic
 * numbers only: a false alarm costs a question, a miss costs somebody's data, so doubtful cases count as found.
 *
 * @see util-linux libblkid/src/superblocks
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { toHex, uuidText } from "../base/bytes.ts";
import { ENXIO } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { BLKGETSIZE64, libcIfAvailable } from "../reactor/libc.ts";
import { asFsError } from "./file_device.ts";

export interface Signature {
  /** As blkid names it: "ext4", "LVM2_member", "gpt", "dynamicfs". */
  readonly kind: string;
  /** For people: label and UUID where they are known; may be empty. */
  readonly detail: string;
}

/** Reads a range; shorter at the end. The result is used before the next call. */
export type ReadAt = (offsetBytes: number, byteLength: number) => Uint8Array;

const KIB = 1024;
/** Covers every magic near the start; the others are read one by one. */
const HEAD_BYTES = 72 * KIB;
const DYNAMICFS_SLOTS_START = 65_536;
const DYNAMICFS_SLOTS_BYTES = 16 * 4096;

/** What a plain magic at a fixed place means. */
const MAGICS: readonly (readonly [kind: string, offsetBytes: number, magic: string])[] = [
  ["crypto_LUKS", 0, "LUKS\xba\xbe"],
  ["bluestore", 0, "bluestore block device\n"],
  ["squashfs", 0, "hsqs"],
  ["qcow2", 0, "QFI\xfb"],
  ["vmdk", 0, "KDMV"],
  ["vhdx", 0, "vhdxfile"],
  ["BitLocker", 3, "-FVE-FS-"],
  ["apfs", 32, "NXSB"],
  ["f2fs", 1024, "\x10\x20\xf5\xf2"],
  ["erofs", 1024, "\xe2\xe1\xf5\xe0"],
  ["hfsplus", 1024, "H+"],
  ["hfsplus", 1024, "HX"],
  ["linux_raid_member", 0, "\xfc\x4e\x2b\xa9"],
  ["linux_raid_member", 4096, "\xfc\x4e\x2b\xa9"],
  ["bcachefs", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"],
  ["bcachefs", 4096 + 24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"],
  ["jfs", 32_768, "JFS1"],
  ["iso9660", 32_769, "CD001"],
  ["udf", 32_769, "BEA01"],
  ["reiserfs", 65_536 + 52, "ReIsEr"],
  ["reiserfs", 8192 + 52, "ReIsEr"],
];

/**
 * What is there, or null when nothing is recognised (which does not mean that nothing is there: see isBlank).
 *
 * @param sizeBytes Of the whole device: some formats keep their label at the end.
 */
export function detectSignature(readAt: ReadAt, sizeBytes: number): Signature | null {
  const head = new Uint8Array(HEAD_BYTES);
  head.set(readAt(0, Math.min(HEAD_BYTES, sizeBytes)).subarray(0, HEAD_BYTES));
  return (
    detectDynamicFs(readAt, sizeBytes) ??
    detectKnownHeads(head) ??
    detectMagic(head) ??
    detectZfs(readAt, sizeBytes) ??
    detectAtEnd(readAt, sizeBytes) ??
    detectPartitions(head)
  );
}

/** As detectSignature, for a path that nobody has open yet. */
export function detectPathSignature(path: string): Signature | null {
  return withPath(path, detectSignature);
}

/** Whether the parts that file systems begin and end with hold nothing but zeros. */
export function isBlank(readAt: ReadAt, sizeBytes: number): boolean {
  const edgeBytes = Math.min(sizeBytes, 1024 * KIB);
  return (
    readAt(0, edgeBytes).every((byte) => byte === 0) &&
    readAt(sizeBytes - edgeBytes, edgeBytes).every((byte) => byte === 0)
  );
}

/** As isBlank, for a path that nobody has open yet. */
export function isPathBlank(path: string): boolean {
  return withPath(path, isBlank);
}

function detectDynamicFs(readAt: ReadAt, sizeBytes: number): Signature | null {
  // A ring of superblocks near the start and one at the end, each a slot in 4 KiB.
  for (const start of [DYNAMICFS_SLOTS_START, sizeBytes - DYNAMICFS_SLOTS_BYTES]) {
    if (start < 0 || start >= sizeBytes) continue;
    const ring = readAt(start - (start % 4096), DYNAMICFS_SLOTS_BYTES);
    for (let at = 0; at + 8 <= ring.length; at += 4096) {
      if (has(ring, at, "DYNAMFS1")) return { kind: "dynamicfs", detail: "" };
    }
  }
  return null;
}

/** Formats whose label and UUID are worth showing, or that need more than a magic. */
function detectKnownHeads(head: Uint8Array): Signature | null {
  const view = new DataView(head.buffer);
  if (view.getUint16(1080, true) === 0xef53) {
    const compatible = view.getUint32(1024 + 92, true);
    const incompatible = view.getUint32(1024 + 96, true);
    const readOnlyCompatible = view.getUint32(1024 + 100, true);
    // Extents, 64bit, flex_bg and so on are ext4's; a journal alone is ext3.
    const isExt4 = (incompatible & ~0x6) !== 0 || (readOnlyCompatible & ~0x7) !== 0;
    const kind = isExt4 ? "ext4" : (compatible & 4) !== 0 ? "ext3" : "ext2";
    return { kind, detail: describe(text(head, 1144, 16), uuidText(head.subarray(1128, 1144))) };
  }
  if (has(head, 0, "XFSB")) {
    return {
      kind: "xfs",
      detail: describe(text(head, 108, 12), uuidText(head.subarray(32, 48))),
    };
  }
  if (has(head, 65_536 + 64, "_BHRfS_M")) {
    const label = text(head, 65_536 + 299, 256);
    return { kind: "btrfs", detail: describe(label, uuidText(head.subarray(65_568, 65_584))) };
  }
  for (let sector = 0; sector < 4; sector += 1) {
    if (has(head, sector * 512, "LABELONE") && has(head, sector * 512 + 24, "LVM2 001")) {
      return { kind: "LVM2_member", detail: describe("", text(head, sector * 512 + 32, 32)) };
    }
  }
  for (const pageBytes of [4096, 8192, 16_384, 32_768, 65_536]) {
    if (has(head, pageBytes - 10, "SWAPSPACE2") || has(head, pageBytes - 10, "SWAP-SPACE")) {
      const label = text(head, 1052, 16);
      return { kind: "swap", detail: describe(label, uuidText(head.subarray(1036, 1052))) };
    }
  }
  if (has(head, 3, "NTFS    ")) {
    const serial = toHex(head.slice(72, 80).reverse());
    return { kind: "ntfs", detail: describe("", serial) };
  }
  if (has(head, 3, "EXFAT   ")) return { kind: "exfat", detail: "" };
  if (head[510] === 0x55 && head[511] === 0xaa) {
    if (has(head, 82, "FAT32   "))
      return { kind: "vfat", detail: describe(text(head, 71, 11), "") };
    if (has(head, 54, "FAT")) return { kind: "vfat", detail: describe(text(head, 43, 11), "") };
  }
  return null;
}

function detectMagic(head: Uint8Array): Signature | null {
  for (const [kind, offsetBytes, magic] of MAGICS) {
    if (has(head, offsetBytes, magic)) return { kind, detail: "" };
  }
  return null;
}

/** Of the four labels, two at the start and two at the end, each with a ring of uberblocks in its second half. */
function detectZfs(readAt: ReadAt, sizeBytes: number): Signature | null {
  const labelBytes = 256 * KIB;
  const end = sizeBytes - (sizeBytes % labelBytes);
  for (const label of [0, labelBytes, end - labelBytes, end - 2 * labelBytes]) {
    if (label < 0 || label + labelBytes > sizeBytes) continue;
    const ring = readAt(label + 128 * KIB, 128 * KIB);
    for (let at = 0; at + 8 <= ring.length; at += KIB) {
      if (has(ring, at, "\x0c\xb1\xba\0\0\0\0\0") || has(ring, at, "\0\0\0\0\0\xba\xb1\x0c")) {
        return { kind: "zfs_member", detail: "" };
      }
    }
  }
  return null;
}

function detectAtEnd(readAt: ReadAt, sizeBytes: number): Signature | null {
  // mdraid 1.0: 8 KiB before the end, down to 4 KiB. 0.90: the last whole 64 KiB.
  const version1 = sizeBytes - 8 * KIB - (sizeBytes % (4 * KIB));
  const version0 = sizeBytes - (sizeBytes % (64 * KIB)) - 64 * KIB;
  for (const offsetBytes of [version1, version0]) {
    if (offsetBytes < 0) continue;
    if (has(readAt(offsetBytes, 4096), 0, "\xfc\x4e\x2b\xa9")) {
      return { kind: "linux_raid_member", detail: "" };
    }
  }
  const backup = readAt(Math.max(0, sizeBytes - 4096), 4096);
  for (const at of [backup.length - 512, 0]) {
    if (has(backup, at, "EFI PART")) return { kind: "gpt", detail: "backup table at the end" };
  }
  return null;
}

function detectPartitions(head: Uint8Array): Signature | null {
  for (const sectorBytes of [512, 4096]) {
    if (has(head, sectorBytes, "EFI PART")) return { kind: "gpt", detail: "partition table" };
  }
  if (head[510] !== 0x55 || head[511] !== 0xaa) return null;
  let partitionCount = 0;
  for (let at = 446; at < 510; at += 16) {
    const status = head[at];
    if (status !== 0 && status !== 0x80) return { kind: "boot sector", detail: "" };
    if (head[at + 4] !== 0) partitionCount += 1;
  }
  const noun = partitionCount === 1 ? "partition" : "partitions";
  return { kind: "dos", detail: `partition table with ${partitionCount} ${noun}` };
}

function withPath<T>(path: string, use: (readAt: ReadAt, sizeBytes: number) => T): T {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    throw asFsError(error, "device/not-readable", `Cannot read "${path}"`);
  }
  try {
    const sizeBytes = sizeOf(fd, path);
    return use((offsetBytes, byteLength) => {
      const bytes = new Uint8Array(Math.max(0, Math.min(byteLength, sizeBytes - offsetBytes)));
      let at = 0;
      while (at < bytes.length) {
        const count = readSync(fd, bytes, at, bytes.length - at, offsetBytes + at);
        if (count === 0) break;
        at += count;
      }
      return bytes.subarray(0, at);
    }, sizeBytes);
  } catch (error) {
    throw asFsError(error, "device/not-examined", `Cannot read "${path}"`);
  } finally {
    closeSync(fd);
  }
}

function sizeOf(fd: number, path: string): number {
  const stats = fstatSync(fd);
  if (!stats.isBlockDevice()) return stats.size;
  const record = new Uint8Array(8);
  const status = libcIfAvailable()?.ioctlRecord(fd, BLKGETSIZE64, record) ?? -ENXIO;
  if (status < 0) {
    throw new FsError(-status, "device/size-unknown", `Cannot tell the size of "${path}"`);
  }
  return Number(new DataView(record.buffer).getBigUint64(0, true));
}

/** Whether Latin-1 text stands at a place. */
function has(bytes: Uint8Array, at: number, magic: string): boolean {
  if (at < 0 || at + magic.length > bytes.length) return false;
  for (let index = 0; index < magic.length; index += 1) {
    if (bytes[at + index] !== magic.charCodeAt(index)) return false;
  }
  return true;
}

/** Text of a fixed field, up to its first NUL, without padding or control characters. */
function text(bytes: Uint8Array, at: number, lengthMax: number): string {
  const field = bytes.subarray(at, at + lengthMax);
  const end = field.indexOf(0);
  return new TextDecoder()
    .decode(end < 0 ? field : field.subarray(0, end))
    .replace(/[\x00-\x1f\x7f]/g, "?")
    .trim();
}

function describe(label: string, uuid: string): string {
  const parts: string[] = [];
  if (label !== "" && label !== "NO NAME") parts.push(`label "${label}"`);
  if (uuid !== "") parts.push(`UUID ${uuid}`);
  return parts.join(", ");
}

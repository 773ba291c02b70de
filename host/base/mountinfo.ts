/** The kernel's table of mounts, /proc/self/mountinfo (proc(5)), read without asking any file system. */
import { readFileSync } from "node:fs";

/** A line of the table. */
export interface MountRecord {
  /** "major:minor". */
  readonly device: string;
  readonly mountpoint: string;
  readonly type: string;
  readonly source: string;
  /** Of the mount, then of the file system. */
  readonly options: readonly string[];
}

/**
 * All mounts, in order: a later one covers an earlier one on the same directory.
 *
 * @throws When there is no such table (not Linux, or /proc is hidden).
 */
export function readMountInfo(
  text: string = readFileSync("/proc/self/mountinfo", "utf8"),
): MountRecord[] {
  return text.split("\n").flatMap((line) => {
    const fields = line.split(" ");
    // Between the mount's options and the separator stand any number of optional fields.
    const separator = fields.indexOf("-", 6);
    const [type, source, superOptions = ""] = fields.slice(separator + 1);
    const [, , device, , mountpoint, options = ""] = fields;
    if (separator < 0 || device === undefined || mountpoint === undefined) return [];
    if (type === undefined || source === undefined) return [];
    return [
      {
        device,
        mountpoint: unescaped(mountpoint),
        type,
        source: unescaped(source),
        options: [...options.split(","), ...superOptions.split(",")],
      },
    ];
  });
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Trees of files for tests on mounts: where to get a real one, and everything about one in a text that can be compared. */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { must } from "./mount.ts";

/** Folders of installed packages that hold so many files together, each small: what programs really look like. */
export function packageFolders(filesMin: number): { root: string; folders: string[] } {
  const require = createRequire(import.meta.url);
  const root = dirname(dirname(realpathSync(require.resolve("tap/package.json"))));
  const folders: string[] = [];
  let files = 0;
  for (const folder of readdirSync(root).sort()) {
    if (folder.startsWith(".") || !lstatSync(join(root, folder)).isDirectory()) continue;
    const inside = readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => lstatSync(join(entry.parentPath ?? entry.path, entry.name)).size);
    if (inside.reduce((sum, size) => sum + size, 0) > 20_000_000) continue;
    folders.push(folder);
    files += inside.length;
    if (files >= filesMin) return { root, folders };
  }
  throw new Error(`There are only ${files} files in the installed packages`);
}

const MANIFEST = `
import hashlib, json, os, stat, sys
os.chdir(sys.argv[1])
skip_times = "no-times" in sys.argv
first = {}
for top, dirs, files in os.walk(b"."):
    dirs.sort()
    for name in [b"."] * (top == b".") + sorted(dirs + files):
        path = os.path.join(top, name)
        s = os.lstat(path)
        kind = stat.S_IFMT(s.st_mode)
        line = [path.decode("utf8", "backslashreplace"), oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, s.st_rdev]
        if not skip_times: line.append(s.st_mtime_ns)
        if kind == stat.S_IFREG:
            digest = hashlib.sha256()
            with open(path, "rb") as f:
                while part := f.read(1 << 20): digest.update(part)
            line += [s.st_size, digest.hexdigest(), first.setdefault(s.st_ino, line[0])]
        if kind == stat.S_IFLNK: line.append(os.readlink(path).decode("utf8", "backslashreplace"))
        for key in sorted(os.listxattr(path, follow_symlinks=False)):
            line += [key, os.getxattr(path, key, follow_symlinks=False).hex()]
        print(json.dumps(line))
`;

/**
 * A line for each object below a directory: path, mode, owner, nlink, device, mtime in ns, and by its kind size, SHA-256
 * and the first other name, or the link's text; and extended attributes.
 */
export function manifest(directory: string, ...options: "no-times"[]): Promise<string> {
  return must("python3", ["-c", MANIFEST, directory, ...options]);
}

/** What the first lines are in which two texts differ; "" when they do not. */
export function difference(before: string, after: string): string {
  if (before === after) return "";
  const [old, now] = [before.split("\n"), after.split("\n")];
  const [oldSet, nowSet] = [new Set(old), new Set(now)];
  const lines = [
    ...old.filter((line) => !nowSet.has(line)).map((line) => `- ${line}`),
    ...now.filter((line) => !oldSet.has(line)).map((line) => `+ ${line}`),
  ];
  return `${lines.length} lines differ:\n${lines.slice(0, 12).join("\n")}`;
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

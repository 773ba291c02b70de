/** What a new object is given besides its name: type, permissions and the owner, who is the process. */
import process from "node:process";
import { NewNode } from "../fs/file_system.ts";

/** @param mode S_IFMT and permission bits, the umask already taken off. */
export function newNode(mode: number): NewNode {
  const node = new NewNode();
  node.mode = mode;
  node.uid = process.getuid?.() ?? 0;
  node.gid = process.getgid?.() ?? 0;
  return node;
}
/** The process's file mode creation mask. */
export function umask(): number {
  try {
    return process.umask();
  } catch {
    // Deno without the permission to ask.
    return 0o022;
  }
}

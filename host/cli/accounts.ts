/** Ids of users and groups by name. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Ids that no object can have: (uid_t) −1 says "leave it" to chown(2). */
const ID_MAX = 0xffff_fffe;

/** @returns The id that a decimal number or a name stands for, or null. */
export type FindAccount = (database: "passwd" | "group", text: string) => number | null;

/** By /etc/passwd and /etc/group; else by getent, which knows of directories and the like. */
export const findAccount: FindAccount = (database, text) => {
  if (/^[0-9]+$/.test(text)) {
    const id = Number(text);
    return id <= ID_MAX ? id : null;
  }
  let table = "";
  try {
    table = readFileSync(`/etc/${database}`, "utf8");
  } catch {
    // Not there: getent may know.
  }
  const found = idIn(table, text);
  if (found !== null || !/^[A-Za-z_][^:,\s]*$/.test(text)) return found;
  const { stdout } = spawnSync("getent", [database, text], { encoding: "utf8", timeout: 10_000 });
  return idIn(stdout ?? "", text);
};

/** @param table Lines of `name:x:id:…`. */
function idIn(table: string, name: string): number | null {
  for (const line of table.split("\n")) {
    const [first, , id] = line.split(":");
    if (first === name && id !== undefined && /^[0-9]+$/.test(id)) return Number(id);
  }
  return null;
}

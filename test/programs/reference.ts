/**
 * The kernel's ext4 to compare with: an image on a loop device, for one test; where that cannot be had, a directory of
 * the machine's own file system.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import process from "node:process";
import { must, runProgram } from "../support/mount.ts";

/** Calls back with an empty directory and what it is on. */
export async function withReference(
  folder: string,
  test: (directory: string, kind: string) => Promise<void>,
): Promise<void> {
  const directory = `${folder}/reference`;
  const image = `${folder}/reference.img`;
  mkdirSync(directory);
  const made =
    process.geteuid?.() === 0 &&
    (await runProgram("sh", ["-c", `truncate -s 3G ${image} && mkfs.ext4 -q ${image}`])).code === 0;
  const mounted = made && (await runProgram("mount", ["-o", "loop", image, directory])).code === 0;
  if (mounted) rmSync(`${directory}/lost+found`, { recursive: true });
  try {
    await test(directory, mounted ? "ext4" : "the machine's own disk");
  } finally {
    if (mounted) await must("umount", ["-l", directory]);
    rmSync(image, { force: true });
  }
}

/** Installs Debian packages where a program is missing. @returns Why it is missing still, or false. */
export function provide(program: string, ...packages: string[]): string | false {
  const found = (): boolean => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
  if (found()) return false;
  installPackages(...packages);
  return found() ? false : `${program} is not installed (package ${packages[0]})`;
}

/** Installs Debian packages if we may. */
export function installPackages(...packages: string[]): void {
  if (process.geteuid?.() !== 0) return;
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = `apt-get install -qqy ${packages.join(" ")}`;
  const line = `${install} || { apt-get -qq update && ${install}; }`;
  spawnSync("sh", ["-c", line], { env: environment, stdio: "ignore", timeout: 600_000 });
}

/**
 * auto_unmount: a small process that frees the mount point when its daemon dies, however it dies.
 *
 * It is a shell that waits at one end of a socket whose other end only the daemon has: the kernel closes that when the
 * daemon is gone, also by SIGKILL. A daemon that ends well says so first. The watcher takes the mount off lazily, since
 * a dead one cannot be unmounted otherwise, and only if the same mount (by its device number) is still on top there. It
 * is in a session of its own and ignores signals, so that what kills the daemon's group does not kill it first.
 *
 * Why not fusermount3's auto_unmount: it is the same, but works only for mounts that fusermount3 has made.
 *
 * Why it is not the default: a dead mount point refuses everything (ENOTCONN). A freed one shows the empty directory
 * below, and what programs then write goes to another disk, unnoticed, and out of sight with the next mount. A mount
 * that follows cleans a dead mount point anyway.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Writable } from "node:stream";
import { findMount } from "../fuse/mount.ts";

/** $1: the mount point as mountinfo writes it; $2: the device number; $3: the mount point; $4…: how to unmount. */
const SCRIPT = `trap '' HUP INT TERM QUIT
IFS= read -r word && exit 0
top=
while read -r _ _ device _ directory _; do
  [ "$directory" = "$1" ] && top=$device
done < /proc/self/mountinfo
[ "$top" = "$2" ] || exit 0
directory=$3
shift 3
exec "$@" -- "$directory"
`;

export class MountWatcher {
  readonly #input: Writable | null;

  /** Watches over this process's mount. */
  constructor(mountPoint: string) {
    const device = findMount(mountPoint)?.device ?? "";
    const command =
      process.geteuid?.() === 0 ? ["umount", "-i", "-l"] : ["fusermount3", "-u", "-z", "-q"];
    const child: ChildProcess = spawn(
      "sh",
      ["-c", SCRIPT, "sh", escaped(mountPoint), device, mountPoint, ...command],
      { cwd: "/", detached: true, stdio: ["pipe", "ignore", "ignore"] },
    );
    child.on("error", () => {}); // no shell: the mount works, and is not freed
    child.unref();
    this.#input = child.stdin;
    this.#input?.on("error", () => {});
    (this.#input as { unref?: () => void } | null)?.unref?.();
  }

  /** The mount is gone, or another takes care of it. */
  release(): void {
    this.#input?.end("ended\n");
  }
}

/** As the kernel writes a path into mountinfo. */
function escaped(path: string): string {
  return path.replace(
    /[ \t\n\\#]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
}

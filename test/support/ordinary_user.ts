/**
 * An ordinary user with an ordinary machine around him: a mount namespace of its own in which he has an entry in
 * /etc/passwd, a home on a tmpfs, a /dev/fuse that everybody may open, and user_allow_other in fuse.conf. Made by root; the
 * machine itself is not changed, and all of it is gone when the process that made it ends.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { accessSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MAIN, type Result } from "./cli.ts";
import { programsMissing } from "./mount.ts";

const NAME = "dfstest";
export const USER = 61234;

const SETUP = `set -e
mount -t tmpfs -o dev,mode=755,size=2g none "$1"
cd "$1"
mknod -m 666 fuse c 0x$(stat -c %t /dev/fuse) 0x$(stat -c %T /dev/fuse)
mount --bind fuse /dev/fuse
(cat /etc/passwd; echo "${NAME}:x:${USER}:${USER}::$1/home:/bin/sh") > passwd
mount --bind passwd /etc/passwd
(cat /etc/group; echo "${NAME}:x:${USER}:") > group
mount --bind group /etc/group
if [ -e /etc/fuse.conf ]; then echo user_allow_other > fuse.conf; mount --bind fuse.conf /etc/fuse.conf; fi
mkdir -m 755 home
chown ${USER}:${USER} home
setpriv --reuid=${USER} --regid=${USER} --clear-groups -- sh -c ': <> /dev/fuse && "$0" --version < "$1" > /dev/null' "$2" "$3"
echo ready
exec cat > /dev/null`;

/** Why there can be no such user here, or false. */
export function ordinaryUserImpossible(): string | false {
  if (process.geteuid?.() !== 0) return "needs root, to become an ordinary user";
  try {
    accessSync("/dev/fuse");
  } catch {
    return "/dev/fuse is missing";
  }
  for (const program of ["unshare", "nsenter", "setpriv", "fusermount3"]) {
    const missing = programsMissing(program);
    if (missing !== false) return missing;
  }
  return false;
}

export class OrdinaryUser {
  readonly #root: string = mkdtempSync(join(tmpdir(), "dynamicfs-user-"));
  readonly #namespace: ChildProcess;
  readonly home: string = join(this.#root, "home");
  readonly environment: Record<string, string> = {
    PATH: process.env["PATH"] ?? "",
    HOME: this.home,
    TMPDIR: this.home,
    DYNAMICFS_RUNTIME_DIR: join(this.home, "run"),
    DYNAMICFS_LOG: join(this.home, "daemon.log"),
    DYNAMICFS_MEMORY: "64M",
  };

  private constructor() {
    const unshare = ["-m", "--propagation", "private", "sh", "-c", SETUP, "sh", this.#root];
    this.#namespace = spawn("unshare", [...unshare, process.execPath, MAIN], {
      stdio: ["pipe", "pipe", "pipe"],
    });
  }

  /** @returns The user, or why this machine does not allow one. */
  static async make(): Promise<OrdinaryUser | string> {
    const user = new OrdinaryUser();
    const child = user.#namespace;
    let text = "";
    child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    const isReady = await new Promise<boolean>((resolve) => {
      child.stdout?.on("data", () => resolve(true));
      child.on("close", () => resolve(false));
    });
    if (isReady) return user;
    rmSync(user.#root, { recursive: true, force: true });
    return `an ordinary user cannot be made here: ${text.trim()}`;
  }

  path(name: string): string {
    return join(this.home, name);
  }

  /** `dynamicfs WORDS…` in the user's home. */
  run(...words: string[]): Result {
    return this.program(process.execPath, [MAIN, ...words]);
  }

  /** A program in the user's home. @param uid Somebody else: 0 for root. */
  program(file: string, args: readonly string[], uid: number = USER): Result {
    const become = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--"];
    const enter = ["-t", String(this.#namespace.pid), "-m", "--"];
    const inHome = ["sh", "-c", 'cd "$0" && exec "$@"', this.home];
    const { status, stdout, stderr, error } = spawnSync(
      "nsenter",
      [...enter, ...become, ...inHome, file, ...args],
      {
        env: this.environment,
        encoding: "utf8",
        timeout: 600_000,
        killSignal: "SIGKILL",
        maxBuffer: 1 << 26,
      },
    );
    return { code: status, out: stdout ?? "", err: `${stderr ?? ""}${error?.message ?? ""}` };
  }

  /** A shell line; its output, trimmed. */
  shell(line: string, uid: number = USER): string {
    const { code, out, err } = this.program("sh", ["-c", line], uid);
    return `${out}${err}`.trim() + (code === 0 ? "" : ` [${code}]`);
  }

  close(): void {
    // Whatever is still mounted goes with the namespace, when its last process is gone.
    this.program("sh", ["-c", 'umount -l "$0"/mnt* 2> /dev/null', this.home], 0);
    this.#namespace.kill("SIGKILL");
    rmSync(this.#root, { recursive: true, force: true });
  }
}

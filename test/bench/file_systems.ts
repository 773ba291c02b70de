/**
 * The file systems that are measured, and the directory in which all of it lies: one image file is the disk of each of
 * them in turn.
 *
 * Invariant: whatever happens, `Work.cleanUp` takes off mounts and loop devices and removes the directory.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Prng } from "../../host/base/prng.ts";
import {
  beginCleaningUp,
  environment,
  exists,
  isInstalled,
  isMounted,
  isRoot,
  isStopped,
  measure,
  note,
  OUTPUT_KEPT,
  run,
  say,
  setEnvironment,
  type Usage,
  unmount,
} from "./processes.ts";

const MIB = 2 ** 20;
const MAIN = fileURLToPath(new URL("../../host/main.js", import.meta.url));
const MOUNT_MS_MAX = 30_000;
const POLL_MS = 10;
/** So much at both ends of the disk is made zero, so that nothing finds what was there before. */
const WIPE_BYTES = 16 * MIB;

/** Where all lies: the disk, the mount points, what is copied in. */
export class Work {
  readonly directory: string;
  readonly disk: string;
  readonly target: string;
  readonly lower: string;
  readonly archive: string;
  readonly repository: string;
  /** The loop device over the disk, while a file system of the kernel has it. */
  loop: string | null = null;

  /** Of the disk; what it holds is lost when it is filled or made sparse. */
  #diskBytes = 0;

  /** @param parent An existing directory, on whose file system the disk is to lie. */
  constructor(parent: string) {
    this.directory = realpathSync(mkdtempSync(join(parent, "dynamicfs-bench-")));
    this.disk = join(this.directory, "disk.img");
    this.target = join(this.directory, "mnt");
    this.lower = join(this.directory, "lower");
    this.archive = join(this.directory, "tree.tar");
    this.repository = join(this.directory, "repository");
    mkdirSync(this.target);
    mkdirSync(this.lower);
    mkdirSync(join(this.directory, "run"), { mode: 0o700 });
    const fixed = "2024-01-01T00:00:00Z";
    setEnvironment({
      PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`,
      HOME: this.directory,
      LC_ALL: "C.UTF-8",
      DYNAMICFS_RUNTIME_DIR: join(this.directory, "run"),
      XDG_STATE_HOME: join(this.directory, "state"),
      DYNAMICFS_LOG: join(this.directory, "daemon.log"),
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_AUTHOR_NAME: "bench",
      GIT_AUTHOR_EMAIL: "bench@example.org",
      GIT_AUTHOR_DATE: fixed,
      GIT_COMMITTER_NAME: "bench",
      GIT_COMMITTER_EMAIL: "bench@example.org",
      GIT_COMMITTER_DATE: fixed,
    });
  }

  /**
   * Written in full once, and then used by all: a write into a hole would cost whoever writes to new places a
   * change of the metadata of the file system below.
   */
  fillDisk(bytes: number): void {
    this.#diskBytes = bytes;
    const block = Buffer.alloc(4 * MIB, 0xa5);
    const fd = openSync(this.disk, "wx", 0o600);
    for (let at = 0; at < bytes; at += block.length) writeSync(fd, block, 0, block.length, at);
    fsyncSync(fd);
    closeSync(fd);
  }

  /** Makes an empty disk with nothing but holes: for sizes that would take too long, or too much space, to write. */
  makeSparseDisk(bytes: number): void {
    this.#diskBytes = bytes;
    const fd = openSync(this.disk, "w", 0o600);
    ftruncateSync(fd, bytes);
    closeSync(fd);
  }

  wipeDisk(): void {
    const zeros = Buffer.alloc(WIPE_BYTES);
    const fd = openSync(this.disk, "r+");
    for (const at of [0, this.#diskBytes - WIPE_BYTES]) writeSync(fd, zeros, 0, WIPE_BYTES, at);
    fsyncSync(fd);
    closeSync(fd);
  }

  /** A tree like that of a program's sources, the same each time; its archive, and a repository of it. */
  async makeTree(fileCount: number): Promise<void> {
    const random = new Prng(1);
    const tree = join(this.directory, "tree");
    const words = Array.from({ length: 500 }, () => random.below(2 ** 30).toString(36));
    for (let index = 0; index < fileCount; index += 1) {
      const parts = [`module${index % 12}`, `part${index % 84}`, `deep${index % 168}`];
      const folder = join(tree, ...parts.slice(0, 1 + (index % 3)));
      mkdirSync(folder, { recursive: true });
      // Most files are small, a few are large: the product of two even spreads.
      const length = 200 + Math.floor((random.below(200) * random.below(200)) / 20) * 10;
      let text = "";
      while (text.length < length) text += `${words[random.below(words.length)]} `;
      writeFileSync(join(folder, `source_file_${index}.c`), text);
    }
    await run("tar", ["-cf", this.archive, "-C", this.directory, "tree"]);
    const git = async (...args: string[]): Promise<string> =>
      await run("git", ["-C", tree, "-c", "gc.auto=0", ...args]);
    await git("init", "-q");
    await git("add", ".");
    await git("commit", "-q", "-m", "all");
    await run("git", ["clone", "-q", "--bare", "--no-local", tree, this.repository]);
    rmSync(tree, { recursive: true });
  }

  async attachLoop(): Promise<string> {
    if (this.loop !== null) return this.loop;
    const show = ["--find", "--show"];
    let out: string;
    try {
      out = await run("losetup", [...show, "--direct-io=on", this.disk]);
    } catch (error) {
      if (isStopped) throw error;
      note("the loop device does not allow direct I/O here: ext4 has a second cache below it");
      out = await run("losetup", [...show, this.disk]);
    }
    this.loop = out.trim();
    return this.loop;
  }

  async detachLoop(): Promise<void> {
    if (this.loop === null) return;
    await run("losetup", ["--detach", this.loop]);
    this.loop = null;
  }

  async cleanUp(): Promise<void> {
    beginCleaningUp();
    const remaining = [this.target, this.lower].filter(isMounted);
    for (const directory of remaining) {
      try {
        await unmount(directory);
      } catch (error) {
        say(`${(error as Error).message}; detaching ${directory}`);
        spawnSync(isRoot ? "umount" : "fusermount3", [isRoot ? "-l" : "-uz", directory]);
      }
    }
    await this.detachLoop().catch((error: Error) => say(error.message));
    // A daemon that still writes its last words must not leave something behind.
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

/** One that can be measured. */
export interface FileSystem {
  readonly name: string;
  /** Why it cannot be used here. */
  unusable(): string | null;
  make(work: Work): Promise<void>;
  mount(work: Work): Promise<void>;
  unmount(work: Work, usage: Usage): Promise<void>;
}

/** Why what needs those programs cannot be used here, or null. */
export function missing(programs: readonly string[], needsRoot: boolean): string | null {
  if (needsRoot && !isRoot) return "needs root";
  const absent = programs.filter((program) => !isInstalled(program));
  return absent.length === 0 ? null : `${absent.join(", ")} not installed`;
}

/** Without what is put off until later and would run beside the work; and no holes in the disk. */
const EXT4_ARGS = [
  ...["-q", "-F", "-t", "ext4", "-m", "0"],
  ...["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
];

export const ext4: FileSystem = {
  name: "ext4",
  unusable: () => missing(["mke2fs", "losetup", "mount"], true),
  async make(work) {
    await run("mke2fs", [...EXT4_ARGS, await work.attachLoop()]);
  },
  async mount(work) {
    await run("mount", ["-t", "ext4", await work.attachLoop(), work.target]);
  },
  async unmount(work) {
    await unmount(work.target);
    await work.detachLoop();
  },
};

/** The daemon of a peer, in the foreground so that its process is known. */
let daemon: ChildProcess | null = null;

async function startDaemon(work: Work, file: string, args: readonly string[]): Promise<void> {
  const child = spawn(file, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: environment,
    detached: true,
  });
  daemon = child;
  let err = "";
  let failure: Error | null = null;
  child.stderr.on("data", (data) => (err = `${err}${data}`.slice(-OUTPUT_KEPT)));
  child.once("error", (error) => (failure = error));
  const endMs = performance.now() + MOUNT_MS_MAX;
  while (!isMounted(work.target)) {
    const hasEnded = child.exitCode !== null || failure !== null;
    if (hasEnded || isStopped || performance.now() > endMs) {
      child.kill();
      daemon = null;
      throw new Error(`${file} did not mount: ${err}`.trim());
    }
    await sleep(POLL_MS);
  }
}

async function stopDaemon(work: Work, usage: Usage): Promise<void> {
  const child = daemon;
  if (child?.pid === undefined) return;
  measure(child.pid, usage);
  const ended =
    child.exitCode !== null
      ? Promise.resolve()
      : new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await unmount(work.target);
  // What it has in its own caches it writes only now.
  await ended;
  daemon = null;
}

const fuse2fs: FileSystem = {
  name: "fuse2fs",
  unusable: () => missing(["mke2fs", "fuse2fs"], false),
  async make(work) {
    await run("mke2fs", [...EXT4_ARGS, work.disk]);
  },
  async mount(work) {
    await startDaemon(work, "fuse2fs", ["-f", "-o", "rw,fakeroot", work.disk, work.target]);
  },
  unmount: stopDaemon,
};

const ntfs3g: FileSystem = {
  name: "ntfs-3g",
  unusable: () => missing(["mkntfs", "ntfs-3g", "losetup"], true),
  async make(work) {
    await run("mkntfs", ["-Q", "-F", "-q", await work.attachLoop()]);
  },
  async mount(work) {
    const device = await work.attachLoop();
    await startDaemon(work, "ntfs-3g", ["-o", "no_detach,big_writes", device, work.target]);
  },
  async unmount(work, usage) {
    await stopDaemon(work, usage);
    await work.detachLoop();
  },
};

const bindfs: FileSystem = {
  name: "bindfs",
  unusable: () => missing(["mke2fs", "bindfs", "losetup", "mount"], true),
  make: ext4.make,
  async mount(work) {
    await run("mount", ["-t", "ext4", await work.attachLoop(), work.lower]);
    await startDaemon(work, "bindfs", ["-f", work.lower, work.target]);
  },
  async unmount(work, usage) {
    await stopDaemon(work, usage);
    await unmount(work.lower);
    await work.detachLoop();
  },
};

let dynamicfsPid: number | null = null;

/** Runs our own command line. @returns What it prints. */
export const dynamicfsRun = async (...args: string[]): Promise<string> =>
  await run(process.execPath, [MAIN, ...args]);

export const dynamicfs: FileSystem = {
  name: "dynamicfs",
  unusable: () => (exists("/dev/fuse") ? null : "no /dev/fuse"),
  async make(work) {
    await dynamicfsRun("pool", "create", "bench", work.disk);
  },
  async mount(work) {
    const out = await dynamicfsRun("mount", "--json", work.disk, work.target);
    dynamicfsPid = (JSON.parse(out) as { pid: number }).pid;
  },
  async unmount(work, usage) {
    if (dynamicfsPid !== null) measure(dynamicfsPid, usage);
    dynamicfsPid = null;
    await dynamicfsRun("umount", work.target);
  },
};

export const PEERS: readonly FileSystem[] = [ext4, fuse2fs, ntfs3g, bindfs];

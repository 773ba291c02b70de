/**
 * The file systems that the benchmark compares, all on one disk: a file that is written once in full. Kernel file systems
 * have a loop device over it with direct I/O, image file systems the file itself, folder file systems a folder of kernel
 * ext4 on the loop device.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { MAIN } from "../support/cli.ts";

export interface Peer {
  readonly name: string;
  /** Programs it needs. */
  readonly needs: readonly string[];
  readonly on: "loop" | "image" | "folder";
  /** Shell lines; IMG, LOOP, SRC and MNT are set. `mount` stays in the foreground, unless `isKernel`. */
  readonly format: string;
  readonly mount: string;
  readonly isKernel?: boolean;
}

const EXT4 = "mkfs.ext4 -qF -E nodiscard,lazy_itable_init=0,lazy_journal_init=0";
const NODE = `${JSON.stringify(process.execPath)} ${JSON.stringify(MAIN)}`;

export const PEERS: readonly Peer[] = [
  {
    name: "ext4",
    needs: ["mkfs.ext4", "losetup"],
    on: "loop",
    format: `${EXT4} $LOOP`,
    mount: "mount $LOOP $MNT",
    isKernel: true,
  },
  {
    name: "dynamicfs",
    needs: [],
    on: "image",
    format: `${NODE} pool create bench $IMG`,
    mount: `${NODE} mount -f $IMG $MNT`,
  },
  {
    name: "fuse2fs",
    needs: ["fuse2fs"],
    on: "image",
    format: `${EXT4} $IMG`,
    mount: "fuse2fs -f -o rw,allow_other $IMG $MNT",
  },
  {
    name: "ntfs-3g",
    needs: ["ntfs-3g", "mkntfs"],
    on: "loop",
    format: "mkntfs -qQF $LOOP",
    mount: "ntfs-3g -o no_detach,big_writes,noatime $LOOP $MNT",
  },
  {
    name: "bindfs",
    needs: ["bindfs"],
    on: "folder",
    format: "true",
    mount: "bindfs -f --multithreaded $SRC $MNT",
  },
];

export function isInstalled(peer: Peer): boolean {
  return peer.needs.every(
    (program) => spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0,
  );
}

const CLOCK_TICKS_PER_SECOND = 100;
const HEAD_MIB = 64;

/** One disk under a work directory, and what is mounted from it. */
export class Bed {
  readonly directory: string;
  readonly image: string;
  readonly mountPoint: string;
  readonly #base: string;
  #daemon: ChildProcess | null = null;
  #loop = "";
  /** Of all daemons of the peer that is mounted. */
  #cpuSeconds = 0;
  #rssBytes = 0;

  constructor(directory: string, sizeMib: number) {
    this.directory = directory;
    this.image = `${directory}/disk.img`;
    this.mountPoint = `${directory}/mnt`;
    this.#base = `${directory}/base`;
    for (const each of [directory, this.mountPoint, this.#base])
      mkdirSync(each, { recursive: true });
    if (!existsSync(this.image)) {
      this.#run(`dd if=/dev/zero of=$IMG bs=1M count=${sizeMib} conv=fsync status=none`);
    }
  }

  async setUp(peer: Peer): Promise<void> {
    this.#cpuSeconds = 0;
    this.#rssBytes = 0;
    this.#run(`dd if=/dev/zero of=$IMG bs=1M count=${HEAD_MIB} conv=notrunc,fsync status=none`);
    if (peer.on !== "image") this.#loop = this.#run("losetup --direct-io=on --show -f $IMG").trim();
    if (peer.on === "folder") {
      this.#run(`${EXT4} $LOOP && mount $LOOP ${this.#base} && mkdir $SRC`);
    }
    this.#run(peer.format);
    await this.mount(peer);
  }

  async mount(peer: Peer): Promise<void> {
    if (peer.on === "folder" && !isMounted(this.#base)) this.#run(`mount $LOOP ${this.#base}`);
    if (peer.isKernel === true) {
      this.#run(peer.mount);
      return;
    }
    const log = openSync(`${this.directory}/daemon.log`, "a");
    const daemon = spawn("sh", ["-c", `exec ${peer.mount}`], {
      env: this.#environment(),
      stdio: ["ignore", log, log],
      cwd: "/",
    });
    closeSync(log);
    this.#daemon = daemon;
    for (let tries = 0; !isMounted(this.mountPoint); tries++) {
      if (tries > 3000 || daemon.exitCode !== null) throw new Error(`${peer.name} does not mount`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async umount(): Promise<void> {
    const daemon = this.#daemon;
    this.#account();
    if (isMounted(this.mountPoint)) {
      const ended =
        daemon === null || daemon.exitCode !== null
          ? Promise.resolve()
          : new Promise<void>((resolve) => daemon.on("exit", () => resolve()));
      this.#run("umount $MNT || (sleep 2; umount $MNT)");
      const timer = setTimeout(() => daemon?.kill("SIGKILL"), 60_000);
      await ended;
      clearTimeout(timer);
    }
    this.#daemon = null;
    if (isMounted(this.#base)) this.#run(`umount ${this.#base}`);
  }

  /** Everything cold: the daemon's caches, the kernel's. */
  async remount(peer: Peer): Promise<void> {
    await this.umount();
    this.#run("sync");
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    await this.mount(peer);
  }

  async tearDown(): Promise<void> {
    try {
      await this.umount();
    } catch {
      // A mount that hangs: the next peer must not be measured beside it.
      this.#daemon?.kill("SIGKILL");
      this.#daemon = null;
      spawnSync("umount", ["-l", this.mountPoint]);
      spawnSync("umount", ["-l", this.#base]);
    }
    if (this.#loop !== "") this.#run("losetup -d $LOOP");
    this.#loop = "";
  }

  /** What the daemon has used since setUp: CPU seconds, peak of resident bytes. */
  usage(): { cpuSeconds: number; rssBytes: number } {
    const own = this.#daemonUsage();
    return {
      cpuSeconds: this.#cpuSeconds + own.cpuSeconds,
      rssBytes: Math.max(this.#rssBytes, own.rssBytes),
    };
  }

  /** Ends whatever hangs in the mount: for a worker that takes too long. */
  abort(): void {
    this.#daemon?.kill("SIGKILL");
  }

  #account(): void {
    const { cpuSeconds, rssBytes } = this.#daemonUsage();
    this.#cpuSeconds += cpuSeconds;
    this.#rssBytes = Math.max(this.#rssBytes, rssBytes);
  }

  #daemonUsage(): { cpuSeconds: number; rssBytes: number } {
    const pid = this.#daemon?.pid;
    if (pid === undefined) return { cpuSeconds: 0, rssBytes: 0 };
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      return {
        cpuSeconds: (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND,
        rssBytes: Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024,
      };
    } catch {
      return { cpuSeconds: 0, rssBytes: 0 };
    }
  }

  #environment(): Record<string, string> {
    return {
      ...(process.env as Record<string, string>),
      IMG: this.image,
      LOOP: this.#loop,
      MNT: this.mountPoint,
      SRC: `${this.#base}/src`,
      DYNAMICFS_RUNTIME_DIR: `${this.directory}/run`,
      XDG_STATE_HOME: `${this.directory}/state`,
    };
  }

  #run(line: string): string {
    const { status, stdout, stderr } = spawnSync("sh", ["-c", line], {
      env: this.#environment(),
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`${line}: ${status} ${stderr.slice(-400)}`);
    return stdout;
  }
}

export function isMounted(directory: string): boolean {
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .some((line) => line.split(" ")[1] === directory);
}

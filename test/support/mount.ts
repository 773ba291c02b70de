/**
 * A volume on an image file, really mounted, for one test: made, served by a daemon of its own, and taken off whatever
 * happens. A watchdog cuts the kernel's connection when the time is up, so that a mount that hangs ends with errors
 * instead of holding up the test; on failure the daemon's log is printed.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { MAIN, type Result, Sandbox } from "./cli.ts";

export { mountImpossible } from "./cli.ts";

export interface MountSettings {
  /** As on the command line; default 1G. The image is sparse. */
  readonly size?: string;
  /** The daemon's budget; default 64M. */
  readonly memory?: string;
  /** `-o` of mount. */
  readonly options?: string;
  /** What to put the volume on instead of a new image file. `size` is not for block devices. */
  readonly device?: string;
  /** After so many seconds the connection is cut; default 300. */
  readonly limitSeconds?: number;
}

const CONNECTIONS = "/sys/fs/fuse/connections";
const MOUNT_MS_MAX = 60_000;
const BUSY_TRIES_MAX = 50;

/** Why a test that needs these programs cannot run here, or false. */
export function programsMissing(...programs: string[]): string | false {
  for (const program of programs) {
    const { error } = spawnSync(program, ["--version"], { stdio: "ignore" });
    if (error !== undefined) return `${program} is not installed`;
  }
  return false;
}

/** Makes a volume, mounts it, runs the test, and cleans up. */
export async function withMount(
  settings: MountSettings,
  test: (mounted: Mounted) => Promise<void> | void,
): Promise<void> {
  const mounted = new Mounted(settings);
  try {
    mounted.create();
    await mounted.mount();
    await test(mounted);
    if (mounted.isMounted) await mounted.umount();
  } catch (error) {
    process.stderr.write(`--- the daemon's log\n${mounted.log().slice(-8000)}\n---\n`);
    throw error;
  } finally {
    await mounted.close();
  }
}

export class Mounted {
  readonly sandbox: Sandbox = new Sandbox();
  readonly image: string;
  /** The mount point. */
  readonly directory: string = this.sandbox.path("mnt");
  /** A folder beside it, on another file system. */
  readonly outside: string = this.sandbox.path("outside");
  readonly #settings: MountSettings;
  #daemon: ChildProcess | null = null;
  #watchdog: ChildProcess | null = null;

  constructor(settings: MountSettings) {
    this.#settings = settings;
    this.image = settings.device ?? this.sandbox.path("a.img");
    mkdirSync(this.directory);
    mkdirSync(this.outside);
    this.sandbox.environment["DYNAMICFS_MEMORY"] = settings.memory ?? "64M";
  }

  path(name: string): string {
    return `${this.directory}/${name}`;
  }

  /** What the daemon has written so far, all its lives together. */
  log(): string {
    try {
      return readFileSync(this.sandbox.path("daemon.log"), "utf8");
    } catch {
      return "";
    }
  }

  get isMounted(): boolean {
    return this.#daemon !== null;
  }

  /** The daemon's process. */
  get pid(): number {
    return this.#daemon?.pid as number;
  }

  create(): void {
    const { device, size } = this.#settings;
    const spec = device?.startsWith("/dev/") === true ? device : `${this.image}:${size ?? "1G"}`;
    expectZero(this.sandbox.run("pool", "create", "test", spec));
  }

  #start(): ChildProcess {
    const log = openSync(this.sandbox.path("daemon.log"), "a");
    const options = this.#settings.options === undefined ? [] : ["-o", this.#settings.options];
    const words = ["mount", "-f", this.image, this.directory, ...options];
    const daemon = spawn(process.execPath, [MAIN, ...words], {
      cwd: "/",
      env: this.sandbox.environment,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    return daemon;
  }

  async mount(): Promise<void> {
    const logged = Buffer.byteLength(this.log());
    const daemon = this.#start();
    const startMs = performance.now();
    while (!Buffer.from(this.log()).subarray(logged).includes("is mounted on")) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) {
        throw new Error(`The daemon ended with ${daemon.exitCode ?? daemon.signalCode}`);
      }
      if (performance.now() - startMs > MOUNT_MS_MAX) {
        daemon.kill("SIGKILL");
        throw new Error("The daemon does not mount");
      }
      await delay(5);
    }
    this.#daemon = daemon;
    this.#watchdog = this.#watch(daemon);
  }

  /** Unmounts, and waits until the daemon has ended well. */
  async umount(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === null) throw new Error("Not mounted");
    const ended = exitOf(daemon);
    let result = await runProgram("umount", [this.directory]);
    // Anybody's df is enough to make it busy for a moment.
    for (let tries = 0; /busy/.test(result.err) && tries < BUSY_TRIES_MAX; tries++) {
      await delay(100);
      result = await runProgram("umount", [this.directory]);
    }
    expectZero(result);
    const code = await ended;
    this.#forget();
    if (code !== 0) throw new Error(`The daemon ended with ${code}`);
  }

  async remount(): Promise<void> {
    await this.umount();
    await this.mount();
  }

  /** Ends the daemon as a power cut would end it, and takes the dead mount off: `after` something, if need be. */
  async kill9(after?: Promise<unknown>): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === null) throw new Error("Not mounted");
    const ended = exitOf(daemon);
    daemon.kill("SIGKILL");
    await ended;
    await after;
    this.#forget();
    await runProgram("umount", ["-l", this.directory]);
  }

  /** Starts a daemon and kills it so much later, wherever it is by then: often in the middle of recovery. */
  async killWhileMounting(afterMs: number): Promise<void> {
    const daemon = this.#start();
    const ended = exitOf(daemon);
    await delay(afterMs);
    daemon.kill("SIGKILL");
    await ended;
    await runProgram("umount", ["-l", this.directory]);
  }

  /** Checks the image; it must not be mounted. @returns The exit code, 0 when all is well, and what was found. */
  fsck(): Result {
    return this.sandbox.run("fsck", this.image);
  }

  /** One line of /proc/PID/status in bytes, for example VmHWM. */
  memoryOf(field: string): number {
    const text = readFileSync(`/proc/${this.pid}/status`, "utf8");
    const kib = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1];
    return Number(kib) * 1024;
  }

  async close(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon !== null) {
      const ended = exitOf(daemon);
      daemon.kill("SIGKILL");
      await ended;
      this.#forget();
    }
    this.sandbox.close();
  }

  #forget(): void {
    const watchdog = this.#watchdog?.pid;
    if (watchdog !== undefined) {
      try {
        process.kill(-watchdog, "SIGKILL");
      } catch {
        // Its time was up.
      }
    }
    this.#watchdog = null;
    this.#daemon = null;
  }

  /** Outlives a test process that hangs in a system call: that is what it is for. */
  #watch(daemon: ChildProcess): ChildProcess {
    const line = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .find((each) => each.split(" ")[4] === this.directory);
    const minor = line?.split(" ")[2]?.split(":")[1];
    const script = `sleep ${this.#settings.limitSeconds ?? 300}; kill -0 ${daemon.pid} 2>/dev/null || exit
      echo "watchdog: time is up" >> "$1"; echo 1 > ${CONNECTIONS}/${minor}/abort; kill -9 ${daemon.pid}; umount -l "$2"`;
    const log = this.sandbox.path("daemon.log");
    const watchdog = spawn("sh", ["-c", script, "sh", log, this.directory], {
      cwd: "/",
      stdio: "ignore",
      // A group of its own, so that it and its sleep end together.
      detached: true,
    });
    watchdog.unref();
    return watchdog;
  }
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function exitOf(child: ChildProcess): Promise<number | string> {
  if (child.exitCode !== null) return Promise.resolve(child.exitCode);
  if (child.signalCode !== null) return Promise.resolve(child.signalCode);
  return new Promise((resolve) =>
    child.on("exit", (code, signal) => resolve(code ?? signal ?? "")),
  );
}

/** Runs a program without holding up the event loop, which reaps the daemon. */
export function runProgram(
  file: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly input?: string } = {},
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: options.cwd ?? "/",
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (err += text));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out, err }));
    if (options.input !== undefined) child.stdin?.end(options.input);
  });
}

/** A program, or a shell line, that must succeed. @returns What it printed. */
export async function must(
  file: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly input?: string } = {},
): Promise<string> {
  const result = await runProgram(file, args, options);
  if (result.code !== 0) {
    throw new Error(
      `${file} ${args.join(" ").slice(0, 200)}: exit code ${result.code}\n${result.out.slice(-1500)}${result.err.slice(-1500)}`,
    );
  }
  return result.out;
}

export function shell(line: string, cwd: string): Promise<string> {
  return must("sh", ["-ec", line], { cwd });
}

/** A Python program as a child process; arguments in sys.argv[1:]. */
export function python(program: string, args: readonly string[], cwd?: string): Promise<string> {
  return must("python3", ["-c", program, ...args], cwd === undefined ? {} : { cwd });
}

function expectZero(result: Result): void {
  if (result.code !== 0) {
    throw new Error(
      `Exit code ${result.code}: ${result.out.slice(-2000)}${result.err.slice(-2000)}`,
    );
  }
}

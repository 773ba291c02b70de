/**
 * A device with faults under a real mount: faulty_disk_server.ts as a child process, its file `disk` as an image file or,
 * through a loop device, as a block device. This is what dm-flakey would be, where a kernel has no device mapper.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { whyNoFuse } from "./fuse_mount.ts";

const SERVER = fileURLToPath(new URL("./faulty_disk_server.js", import.meta.url));

/** Why there can be no such block device here, or false. */
export function whyNoLoop(): string | false {
  const noFuse = whyNoFuse();
  if (noFuse !== false) return noFuse;
  const { status } = spawnSync("losetup", ["--find"], { stdio: "ignore" });
  return status === 0 ? false : "no loop devices (losetup)";
}

export class FaultyDisk {
  /** Give this to the daemon. */
  readonly path: string;
  /** Of each `cut`, how many writes were not flushed. */
  readonly unflushed: number[] = [];
  readonly #folder: string;
  readonly #server: ChildProcess;
  readonly #isLoop: boolean;

  private constructor(folder: string, server: ChildProcess, isLoop: boolean) {
    this.#folder = folder;
    this.#server = server;
    this.#isLoop = isLoop;
    if (!isLoop) {
      this.path = `${folder}/disk`;
      return;
    }
    const words = ["--find", "--show", "--direct-io=on", `${folder}/disk`];
    const { stdout, stderr, status } = spawnSync("losetup", words, { encoding: "utf8" });
    if (status !== 0) throw new Error(`losetup: ${stderr}`);
    this.path = stdout.trim();
  }

  static async start(sizeBytes: number, kind: "file" | "loop"): Promise<FaultyDisk> {
    const folder = mkdtempSync(join(tmpdir(), "dynamicfs-faulty-"));
    const server = spawn(process.execPath, [SERVER, folder, String(sizeBytes)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface({ input: server.stdout as NodeJS.ReadableStream });
    await Promise.race([once(lines, "line"), once(server, "close")]);
    if (server.exitCode !== null) throw new Error("the faulty disk did not start");
    const disk = new FaultyDisk(folder, server, kind === "loop");
    lines.on("line", (line) => {
      disk.unflushed.push((JSON.parse(line) as { unflushed: number }).unflushed);
    });
    return disk;
  }

  /** See faulty_disk_server.ts. */
  command(text: string): void {
    const fd = openSync(`${this.#folder}/control`, "w");
    writeSync(fd, text);
    closeSync(fd);
  }

  async close(): Promise<void> {
    if (this.#isLoop) spawnSync("losetup", ["--detach", this.path]);
    // In another process: this one must not wait for the server by a system call.
    const umount = spawn("umount", ["-l", this.#folder], { stdio: "ignore" });
    await once(umount, "close");
    if (this.#server.exitCode === null) {
      this.#server.kill("SIGKILL");
      await once(this.#server, "close");
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

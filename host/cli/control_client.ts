/** A command's end of the control socket (control_protocol.ts). */

import type { Socket } from "node:net";
import { createConnection } from "node:net";
import { CliError } from "./cli_error.ts";
import type { ControlReply, ControlRequest, EndedNotice } from "./control_protocol.ts";
import { LineSplitter, REPLY_BYTES_MAX } from "./control_protocol.ts";
import { ExitCode } from "./exit_codes.ts";
import type { MountEntry } from "./mount_table.ts";
import { foreignControlPath } from "./runtime_paths.ts";

const CONNECT_MS_MAX = 5000;
const REPLY_MS_MAX = 30_000;

export class ControlClient {
  readonly #socket: Socket;
  readonly #lines: string[] = [];
  readonly #waiters: ((line: string | null) => void)[] = [];
  #ended = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const splitter = new LineSplitter(REPLY_BYTES_MAX);
    const end = (): void => {
      this.#ended = true;
      for (const waiter of this.#waiters.splice(0)) waiter(null);
    };
    socket.on("data", (chunk: Buffer) => {
      const lines = splitter.push(chunk);
      if (lines === null) {
        socket.destroy();
        return;
      }
      for (const line of lines) {
        const waiter = this.#waiters.shift();
        if (waiter === undefined) this.#lines.push(line);
        else waiter(line);
      }
    });
    socket.on("close", end);
    socket.on("error", end);
  }

  /** @returns Null when nobody listens: no daemon, or it was killed. */
  static connect(path: string): Promise<ControlClient | null> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      socket.setTimeout(CONNECT_MS_MAX, () => {
        socket.destroy();
        resolve(null);
      });
      socket.once("connect", () => {
        socket.setTimeout(0);
        socket.removeAllListeners("error");
        resolve(new ControlClient(socket));
      });
      socket.once("error", (error: NodeJS.ErrnoException) => {
        if (error.code === "EACCES" || error.code === "EPERM") reject(error);
        else resolve(null);
      });
    });
  }

  /** The daemon of a mount; its socket lies with the user who mounted it. */
  static connectTo(entry: MountEntry): Promise<ControlClient | null> {
    const path = foreignControlPath(entry.mountPoint, entry.uid ?? 0);
    return path === null ? Promise.resolve(null) : ControlClient.connect(path);
  }

  /**
   * @param timeoutMs An unmount writes everything back first: it may take as long as it takes (0).
   * @throws {CliError} What the daemon answers with, or that it does not answer.
   */
  async request(request: ControlRequest, timeoutMs: number = REPLY_MS_MAX): Promise<unknown> {
    this.#socket.write(`${JSON.stringify(request)}\n`);
    const line = await this.#line(timeoutMs);
    if (line === null) {
      throw new CliError({
        exitCode: ExitCode.failed,
        what: `cannot get ${request.method}`,
        why: "the daemon does not answer",
        try: "dynamicfs mounts",
      });
    }
    const reply = JSON.parse(line) as ControlReply;
    if (!reply.ok) throw CliError.fromRecord(reply.error);
    return reply.result;
  }

  /** Asks one thing of a mount's daemon. Null when nobody listens. */
  static async ask(
    entry: MountEntry,
    request: ControlRequest,
  ): Promise<{ result: unknown } | null> {
    const client = await ControlClient.connectTo(entry);
    if (client === null) return null;
    try {
      return { result: await client.request(request) };
    } finally {
      client.close();
    }
  }

  /** After an unmount: waits until the daemon has ended. Null when it died before it could tell. */
  async ended(): Promise<EndedNotice | null> {
    const line = await this.#line(0);
    return line === null ? null : (JSON.parse(line) as EndedNotice);
  }

  close(): void {
    this.#socket.destroy();
  }

  #line(timeoutMs: number): Promise<string | null> {
    const ready = this.#lines.shift();
    if (ready !== undefined) return Promise.resolve(ready);
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const waiter = (line: string | null): void => {
        clearTimeout(timer);
        resolve(line);
      };
      this.#waiters.push(waiter);
      if (timeoutMs > 0) {
        timer = setTimeout(() => {
          this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
          resolve(null);
        }, timeoutMs);
      }
    });
  }
}

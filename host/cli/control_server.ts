/** The daemon's end of the control socket (control_protocol.ts). Only the user who mounted can connect: mode 0600. */
import { chmodSync, rmSync } from "node:fs";
import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import { toCliError, usageError } from "./cli_error.ts";
import type { ControlReply, ControlRequest, EndedNotice } from "./control_protocol.ts";
import {
  CONNECTIONS_MAX,
  decodeRequest,
  IDLE_MS_MAX,
  LineSplitter,
  REQUEST_BYTES_MAX,
  REQUESTS_PENDING_MAX,
} from "./control_protocol.ts";

/** unix(7): sun_path without its final zero. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Answers a request; what it throws becomes an error reply. */
export type ControlHandler = (request: ControlRequest) => Promise<unknown>;

export class ControlServer {
  readonly #path: string;
  readonly #handler: ControlHandler;
  readonly #server: Server;
  /** Connections whose unmount succeeded: they are told when it is done. */
  readonly #waiting = new Set<Socket>();
  /** Each with the end of its last reply: replies go out in the order of requests. */
  readonly #connections = new Map<Socket, Promise<void>>();

  /** @param path Nobody listens there: a socket that a killed daemon left is removed. */
  constructor(path: string, handler: ControlHandler) {
    this.#path = path;
    this.#handler = handler;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** @throws {CliError} Exit code 2 when the path is longer than the system takes: it would be cut silently. */
  async listen(): Promise<void> {
    if (Buffer.byteLength(this.#path) > SOCKET_PATH_BYTES_MAX) {
      throw usageError(this.#path, `a socket's path has at most ${SOCKET_PATH_BYTES_MAX} bytes`);
    }
    rmSync(this.#path, { force: true });
    // The socket is created with the umask's permissions: closed to others from its first moment.
    const umask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once("error", reject);
        this.#server.listen(this.#path, () => resolve());
      });
    } finally {
      process.umask(umask);
    }
    chmodSync(this.#path, 0o600);
  }

  /** Tells those who wait how it ended, closes all connections and removes the socket. */
  async close(notice: EndedNotice): Promise<void> {
    this.#server.close();
    await Promise.all(this.#connections.values());
    await Promise.all(
      [...this.#connections.keys()].map(
        (socket) =>
          new Promise<void>((resolve) => {
            socket.once("close", resolve);
            if (this.#waiting.has(socket)) socket.end(`${JSON.stringify(notice)}\n`);
            socket.destroySoon();
          }),
      ),
    );
    rmSync(this.#path, { force: true });
  }

  #serve(socket: Socket): void {
    this.#connections.set(socket, Promise.resolve());
    socket.on("close", () => {
      this.#connections.delete(socket);
      this.#waiting.delete(socket);
    });
    socket.on("error", () => socket.destroy());
    socket.setTimeout(IDLE_MS_MAX, () => {
      if (!this.#waiting.has(socket)) socket.destroy();
    });
    const splitter = new LineSplitter(REQUEST_BYTES_MAX);
    let pending = 0;
    socket.on("data", (chunk: Buffer) => {
      const lines = splitter.push(chunk);
      if (lines === null || pending + lines.length > REQUESTS_PENDING_MAX) {
        socket.destroy();
        return;
      }
      pending += lines.length;
      for (const line of lines) {
        const reply = async (): Promise<void> => {
          const answer = await this.#answer(line, socket);
          pending--;
          if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
        };
        this.#connections.set(
          socket,
          (this.#connections.get(socket) ?? Promise.resolve()).then(reply),
        );
      }
    });
  }

  async #answer(line: string, socket: Socket): Promise<ControlReply> {
    const request = decodeRequest(line);
    if (typeof request === "string") {
      const error = { code: "usage", exitCode: 2, what: "bad request", why: request, try: null };
      return { ok: false, error: error as never };
    }
    try {
      const result = await this.#handler(request);
      if (request.method === "unmount") this.#waiting.add(socket);
      return { ok: true, result };
    } catch (error) {
      return { ok: false, error: toCliError(error, request.method).toRecord() };
    }
  }
}

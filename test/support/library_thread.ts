/**
 * The library as synchronous functions, for the cases of test/posix: a thread has the volume, this one waits for it.
 */
import { Buffer } from "node:buffer";
import { constants } from "node:fs";
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import { giveAway } from "./posix_fs.ts";

const ANSWER_MS_MAX = 120_000;
const TYPES = {
  isFile: constants.S_IFREG,
  isDirectory: constants.S_IFDIR,
  isSymbolicLink: constants.S_IFLNK,
};

interface Answer {
  readonly value?: unknown;
  readonly error?: { code?: string; message: string };
}

/** Attributes with the methods that they lost on their way. */
function withMethods(attributes: Record<string, unknown>): Record<string, unknown> {
  const type = Number(attributes["mode"]) & constants.S_IFMT;
  for (const [name, bits] of Object.entries(TYPES)) attributes[name] = () => type === bits;
  return attributes;
}

export interface LibraryThread {
  /** A function of node:fs, or "status". */
  call(name: string, args: unknown[]): unknown;
  end(): Promise<void>;
}

/** Opens a volume in memory; everything below `directory`, which exists there, is in it until end(). */
export async function startLibrary(directory: string): Promise<LibraryThread> {
  const { port1, port2 } = new MessageChannel();
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const file = import.meta.url.endsWith(".ts") ? "./library_worker.ts" : "./library_worker.js";
  const worker = new Worker(new URL(file, import.meta.url), {
    workerData: { directory, flag, port: port2 },
    transferList: [port2],
  });
  await new Promise<void>((resolve, reject) => {
    worker.once("error", reject);
    port1.once("message", () => resolve());
  });
  /** The answer: on a busy machine it may come through after the flag that tells of it. */
  const take = (name: string): Answer => {
    const end = performance.now() + ANSWER_MS_MAX;
    const never = new Int32Array(new SharedArrayBuffer(4));
    while (performance.now() < end) {
      const got = receiveMessageOnPort(port1) as { message: Answer } | undefined;
      if (got !== undefined) return got.message;
      Atomics.wait(never, 0, 0, 1);
    }
    throw new Error(`${name} has no answer`);
  };
  const ask = (name: string, args: unknown[]): unknown => {
    Atomics.store(flag, 0, 0);
    port1.postMessage({ name, args });
    if (Atomics.wait(flag, 0, 0, ANSWER_MS_MAX) === "timed-out") {
      throw new Error(`${name} does not end`);
    }
    const { value, error } = take(name);
    if (error !== undefined) throw Object.assign(new Error(error.message), error);
    return value;
  };
  const call = (name: string, args: unknown[]): unknown => {
    if (name === "existsSync") {
      try {
        ask("accessSync", args);
        return true;
      } catch {
        return false;
      }
    }
    if (name === "readSync") {
      const [fd, buffer, offset = 0, count, position] = args as [
        number,
        Buffer,
        number?,
        number?,
        number?,
      ];
      const length = count ?? buffer.length - offset;
      const bytes = ask(name, [fd, length, position ?? null]) as Uint8Array;
      buffer.set(bytes, offset);
      return bytes.length;
    }
    if (name === "readvSync") {
      const [fd, views, position] = args as [number, Uint8Array[], number | undefined];
      const length = views.reduce((sum, view) => sum + view.length, 0);
      const bytes = ask("readSync", [fd, length, position ?? null]) as Uint8Array;
      let at = 0;
      for (const view of views) {
        view.set(bytes.subarray(at, at + view.length));
        at += view.length;
      }
      return bytes.length;
    }
    const value = ask(name, args);
    if (name.endsWith("statSync")) return withMethods(value as Record<string, unknown>);
    if (value instanceof Uint8Array) {
      return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    return value;
  };
  giveAway(directory, call);
  return {
    call,
    async end() {
      giveAway(directory, null);
      ask("end", []);
      port1.close();
      await worker.terminate();
    },
  };
}

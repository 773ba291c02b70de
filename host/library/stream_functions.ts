/** Streams by path; in Node they are functions of node:fs itself. And watch(), which is not there. */
import type { ReadStream, WriteStream } from "node:fs";
import { ENOSYS } from "../base/errno.ts";
import { type PathLike, validPath } from "./arguments.ts";
import type { Calls } from "./calls.ts";
import { systemError } from "./errors.ts";
import type { FileHandle } from "./file_handle.ts";
import type { Opener } from "./opener.ts";
import {
  type ReadStreamOptions,
  readStreamAt,
  type WriteStreamOptions,
  writeStreamAt,
} from "./streams.ts";
import { webStreamOf } from "./web_stream.ts";

/** The functions of streams. They do not wait: the file is opened when it is first read or written. */
export class StreamFunctions {
  readonly #calls: Calls;
  readonly #opener: Opener;

  constructor(calls: Calls, opener: Opener) {
    this.#calls = calls;
    this.#opener = opener;
  }

  /** A node:stream of a file. */
  createReadStream(path: PathLike, options?: ReadStreamOptions | string): ReadStream {
    return readStreamAt(path, options, (at, flags, mode) => this.#open(at, flags, mode));
  }

  /** A node:stream into a file. */
  createWriteStream(path: PathLike, options?: WriteStreamOptions | string): WriteStream {
    return writeStreamAt(path, options, (at, flags, mode) => this.#open(at, flags, mode));
  }

  #open(path: PathLike, flags: string, mode: number): Promise<FileHandle> {
    return this.#calls.guard(() => this.#opener.open(path, flags, mode, true));
  }

  /** A byte stream of the web kind: `new Response(volume.promises.readable("/page.html"))`. */
  readable(path: PathLike): ReadableStream<Uint8Array> {
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (reader === undefined) {
          const handle = await this.#open(path, "r", 0);
          reader = webStreamOf(handle, () => handle.close()).getReader();
        }
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: async (reason) => {
        await reader?.cancel(reason);
      },
    });
  }

  /** Not there: fails with ENOSYS. */
  // biome-ignore lint/correctness/useYield: Node's is an iterator too, which fails when it is asked for the first event.
  async *watch(path: PathLike): AsyncGenerator<never, void, void> {
    throw systemError(ENOSYS, { syscall: "watch", path: validPath(path, "filename").text });
  }
}

/** An open file as a stream of the web kind. */
import type { FileHandle } from "./file_handle.ts";

const CHUNK_BYTES = 64 * 1024;

/**
 * A byte stream of the web kind that reads at a handle's position.
 *
 * @param ended Called once, at the end, on cancel or after an error.
 */
export function webStreamOf(
  handle: FileHandle,
  ended: () => Promise<void>,
): ReadableStream<Uint8Array> {
  let over = false;
  const finish = async (): Promise<void> => {
    if (over) return;
    over = true;
    await ended();
  };
  let source: ReadableByteStreamController | undefined;
  const stream = new ReadableStream({
    type: "bytes",
    start(controller: ReadableByteStreamController) {
      source = controller;
    },
    async pull(controller: ReadableByteStreamController) {
      if (over) return;
      try {
        const chunk = new Uint8Array(CHUNK_BYTES);
        const { bytesRead } = await handle.read(chunk, 0, chunk.length, null);
        if (over) return;
        if (bytesRead === 0) {
          await finish();
          controller.close();
          controller.byobRequest?.respond(0);
        } else controller.enqueue(chunk.subarray(0, bytesRead));
      } catch (error) {
        await finish();
        throw error;
      }
    },
    cancel: finish,
  });
  handle.once("close", () => {
    if (over) return;
    over = true;
    try {
      source?.close();
      source?.byobRequest?.respond(0);
    } catch {
      // Closed or cancelled already.
    }
  });
  return stream as ReadableStream<Uint8Array>;
}

/** A volume in memory in a thread of its own, whose functions another thread calls and waits for. See library_thread.ts. */
import type { MessagePort } from "node:worker_threads";
import { workerData } from "node:worker_threads";
import type { FileHandle } from "../../host/mod.ts";
import { open } from "../../host/mod.ts";
import { FOREIGN_FD } from "./posix_fs.ts";

const { directory, flag, port } = workerData as {
  directory: string;
  flag: Int32Array;
  port: MessagePort;
};
const volume = await open({ memory: 512 * 1024 * 1024 });
const fs = volume.promises;
await fs.mkdir(directory);
const files = new Map<number, FileHandle>();

type Values = unknown[];
type Function = (...args: Values) => Promise<unknown>;
const byName = fs as unknown as Record<string, Function>;

/** Functions of descriptors: methods of a handle. */
const OF_DESCRIPTORS: Readonly<Record<string, string>> = {
  fchmodSync: "chmod",
  fchownSync: "chown",
  fdatasyncSync: "datasync",
  fstatSync: "stat",
  fsyncSync: "sync",
  ftruncateSync: "truncate",
  futimesSync: "utimes",
  writeFileSync: "writeFile",
  appendFileSync: "appendFile",
  readFileSync: "readFile",
};

async function run(name: string, args: Values): Promise<unknown> {
  const [first, ...rest] = args;
  if (name === "openSync") {
    const handle = await byName["open"]!(...args);
    let fd = FOREIGN_FD;
    while (files.has(fd)) fd += 1;
    files.set(fd, handle as FileHandle);
    return fd;
  }
  if (name === "status") return volume.status();
  if (name === "end") {
    await volume.close();
    return null;
  }
  if (typeof first === "number") {
    const handle = files.get(first);
    if (handle === undefined) throw Object.assign(new Error("EBADF"), { code: "EBADF" });
    if (name === "closeSync") {
      files.delete(first);
      return await handle.close();
    }
    if (name === "readSync") {
      const [length, position] = rest as [number, number | null];
      const bytes = new Uint8Array(length);
      const { bytesRead } = await handle.read(bytes, 0, length, position);
      return bytes.subarray(0, bytesRead);
    }
    if (name === "writeSync") {
      const [data, ...where] = rest as [Uint8Array, ...number[]];
      return (await handle.write(data, ...where)).bytesWritten;
    }
    if (name === "writevSync") {
      const [views, position] = rest as [Uint8Array[], number | null];
      return (await handle.writev(views, position)).bytesWritten;
    }
    const method = OF_DESCRIPTORS[name];
    if (method === undefined) throw new Error(`No function ${name}`);
    return await (handle as unknown as Record<string, Function>)[method]!(...rest);
  }
  const result = await byName[name.replace(/Sync$/, "")]!(...args);
  return result;
}

/** Methods and getters do not pass from thread to thread. */
function plain(value: unknown): unknown {
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
  return Array.isArray(value) ? value : { ...value };
}

port.on("message", ({ name, args }: { name: string; args: Values }) => {
  void run(name, args)
    .then(
      (value) => port.postMessage({ value: plain(value) }),
      (error) => {
        const { code, errno, syscall, message, stack } = error;
        port.postMessage({ error: { code, errno, syscall, message, stack } });
      },
    )
    .then(() => {
      Atomics.store(flag, 0, 1);
      Atomics.notify(flag, 0);
    });
});
port.postMessage({ value: "ready" });

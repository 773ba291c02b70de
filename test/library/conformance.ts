/**
 * What node:fs/promises does, as one table. Each case is a function of an implementation, an empty directory and
 * assert; it asserts what matters and returns what it saw. The same table runs over node:fs/promises, as the oracle, and
 * over a volume; what they return must be equal too, error messages included.
 */
import { Buffer } from "node:buffer";
import { type EventEmitter, once } from "node:events";
import { constants } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { pathToFileURL } from "node:url";
import { argumentCases } from "./conformance_arguments.ts";

export type FsPromises = typeof import("node:fs/promises");

/** What cases use of node:assert/strict. */
export interface Assert {
  ok(value: unknown): void;
  equal(actual: unknown, expected: unknown): void;
  notEqual(actual: unknown, expected: unknown): void;
  deepEqual(actual: unknown, expected: unknown): void;
  match(text: string, expression: RegExp): void;
  throws(run: () => unknown, error: object): void;
}

export interface Case {
  readonly name: string;
  readonly run: (fs: FsPromises, dir: string, assert: Assert) => Promise<unknown>;
}

/** What of an error a program can see. */
export interface Failure {
  name: unknown;
  code: unknown;
  errno: unknown;
  syscall: unknown;
  path: unknown;
  dest: unknown;
  message: string;
}

/** The error that a promise must reject with, without the directory's name. */
export async function failure(promise: Promise<unknown>, dir: string): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    const { name, code, errno, syscall, path, dest, message } = error as Record<string, unknown>;
    const hide = (text: unknown): unknown =>
      typeof text === "string" ? text.replaceAll(dir, "$") : text;
    return {
      name,
      code,
      errno,
      syscall,
      path: hide(path),
      dest: hide(dest),
      message: hide(message) as string,
    };
  }
  throw new Error("Nothing was thrown");
}

async function collect(stream: AsyncIterable<Uint8Array | string>): Promise<string> {
  let text = "";
  for await (const chunk of stream) {
    text += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("latin1");
  }
  return text;
}

const CASES: Case[] = [];

function add(name: string, run: Case["run"]): void {
  CASES.push({ name, run });
}

/** A case that expects an error. */
function fails(
  name: string,
  code: string,
  run: (fs: FsPromises, dir: string) => Promise<unknown>,
): void {
  add(name, async (fs, dir, assert) => {
    const error = await failure((async () => await run(fs, dir))(), dir);
    assert.equal(error.code, code);
    return error;
  });
}

/** Times are numbers of seconds on their way down, and lose less of their fraction in newer Nodes. */
function roundToMs(ns: bigint): number {
  return Math.round(Number(ns) / 1e6);
}

/** Makes something first. */
async function tree(fs: FsPromises, dir: string): Promise<void> {
  await fs.mkdir(`${dir}/d/e/f`, { recursive: true });
  await fs.writeFile(`${dir}/a`, "alpha");
  await fs.writeFile(`${dir}/d/b`, "beta");
  await fs.writeFile(`${dir}/d/e/c`, "gamma");
  await fs.symlink("d", `${dir}/to-d`);
  await fs.symlink("a", `${dir}/to-a`);
  await fs.symlink("nowhere", `${dir}/dangling`);
  await fs.symlink("loop", `${dir}/loop`);
}

// --- writeFile, readFile, appendFile ---------------------------------------------------------------------------------

add("writeFile() and readFile() of a string", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, "héllo");
  assert.equal(await fs.readFile(`${dir}/x`, "utf8"), "héllo");
  return await fs.readFile(`${dir}/x`);
});
add("readFile() without encoding gives a Buffer", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, "abc");
  const data = await fs.readFile(`${dir}/x`);
  assert.ok(Buffer.isBuffer(data));
  return data.length;
});
add("readFile() in every encoding", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, Buffer.from([0, 0x7f, 0xc3, 0xa9, 0xff, 0x41, 0x42, 0x43]));
  const seen: string[] = [];
  for (const encoding of ["utf8", "latin1", "hex", "base64", "base64url", "ascii", "utf16le"]) {
    seen.push(await fs.readFile(`${dir}/x`, { encoding: encoding as BufferEncoding }));
  }
  return seen;
});
add("readFile() of an empty file", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, "");
  assert.equal((await fs.readFile(`${dir}/x`)).length, 0);
  return await fs.readFile(`${dir}/x`, "utf8");
});
add("writeFile() truncates what was there", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, "a long line of text");
  await fs.writeFile(`${dir}/x`, "short");
  assert.equal(await fs.readFile(`${dir}/x`, "utf8"), "short");
});
add("writeFile() of every kind of data", async (fs, dir) => {
  const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  const kinds = [
    Buffer.from("buffer"),
    bytes,
    bytes.subarray(2, 5),
    new Uint16Array([258, 772]),
    new DataView(bytes.buffer, 1, 3),
    ["one", "two", Buffer.from("three")],
    new Set(["a", "b"]),
    (async function* () {
      yield "x";
      yield Buffer.from("y");
    })(),
    Readable.from(["from", " ", "stream"]),
  ];
  const seen: string[] = [];
  for (const data of kinds) {
    await fs.writeFile(`${dir}/x`, data as unknown as string);
    seen.push(await fs.readFile(`${dir}/x`, "latin1"));
  }
  return seen;
});
add("writeFile() with an encoding", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, "c3a9", "hex");
  assert.equal(await fs.readFile(`${dir}/x`, "utf8"), "é");
  await fs.writeFile(`${dir}/x`, ["w6k="], { encoding: "base64" });
  return await fs.readFile(`${dir}/x`, "utf8");
});
add("writeFile() with mode and umask", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "", { mode: 0o777 });
  await fs.writeFile(`${dir}/y`, "", { mode: "640" as unknown as number });
  await fs.writeFile(`${dir}/z`, "");
  const modes: number[] = [];
  for (const name of ["x", "y", "z"]) modes.push((await fs.stat(`${dir}/${name}`)).mode);
  return modes;
});
add("writeFile() with every flag", async (fs, dir) => {
  const seen: unknown[] = [];
  for (const flag of ["r+", "w", "wx", "xw", "w+", "wx+", "a", "ax", "a+", "ax+", "as", "rs+"]) {
    await fs.writeFile(`${dir}/x`, "12345");
    try {
      await fs.writeFile(`${dir}/x`, "ab", { flag });
      seen.push(await fs.readFile(`${dir}/x`, "utf8"));
    } catch (error) {
      seen.push((error as { code: string }).code);
    }
  }
  return seen;
});
add("writeFile() with flush", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, "safe", { flush: true } as object);
  assert.equal(await fs.readFile(`${dir}/x`, "utf8"), "safe");
});
add("appendFile() makes and adds", async (fs, dir, assert) => {
  await fs.appendFile(`${dir}/x`, "one ");
  await fs.appendFile(`${dir}/x`, Buffer.from("two "));
  await fs.appendFile(`${dir}/x`, "three", { encoding: "utf8" });
  assert.equal(await fs.readFile(`${dir}/x`, "utf8"), "one two three");
});
add("appendFile() 50 times at once loses nothing", async (fs, dir, assert) => {
  await Promise.all(
    Array.from({ length: 50 }, (_, index) => fs.appendFile(`${dir}/x`, `${index}\n`)),
  );
  const lines = (await fs.readFile(`${dir}/x`, "utf8")).trim().split("\n").map(Number);
  assert.deepEqual(
    lines.sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, index) => index),
  );
});
add("a file of 3 MiB and a bit", async (fs, dir, assert) => {
  const data = Buffer.alloc(3 * 1024 * 1024 + 123);
  for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(at, Math.min(at, data.length - 4));
  await fs.writeFile(`${dir}/x`, data);
  assert.ok((await fs.readFile(`${dir}/x`)).equals(data));
  await fs.appendFile(`${dir}/x`, data);
  assert.ok((await fs.readFile(`${dir}/x`)).equals(Buffer.concat([data, data])));
  return (await fs.stat(`${dir}/x`)).size;
});
add("readFile() with flag a+ makes the file", async (fs, dir) => {
  return await fs.readFile(`${dir}/x`, { flag: "a+", encoding: "utf8" });
});
add("readFile() and writeFile() of a handle", async (fs, dir) => {
  const handle = await fs.open(`${dir}/x`, "w+");
  await fs.writeFile(handle, "through ");
  await fs.appendFile(handle, "a handle");
  const end = await fs.readFile(handle, "utf8");
  await handle.close();
  return [end, await fs.readFile(`${dir}/x`, "utf8")];
});
fails("readFile() of a missing file", "ENOENT", (fs, dir) => fs.readFile(`${dir}/x`));
fails("readFile() of a directory", "EISDIR", (fs, dir) => fs.readFile(dir));
fails("readFile() below a file", "ENOTDIR", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "");
  await fs.readFile(`${dir}/x/y`);
});
fails("readFile() of a file with a slash", "ENOTDIR", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "");
  await fs.readFile(`${dir}/x/`);
});
fails("readFile() in a wrong encoding", "ERR_INVALID_ARG_VALUE", (fs, dir) =>
  fs.readFile(`${dir}/x`, "klingon" as BufferEncoding),
);
fails("readFile() with options of a wrong type", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  fs.readFile(`${dir}/x`, 42 as unknown as "utf8"),
);
fails("readFile() with an aborted signal", "ABORT_ERR", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "");
  await fs.readFile(`${dir}/x`, { signal: AbortSignal.abort() });
});
fails("readFile() without a path", "ERR_INVALID_ARG_TYPE", (fs) =>
  (fs.readFile as (path?: string) => Promise<unknown>)(),
);
fails("writeFile() to a directory", "EISDIR", (fs, dir) => fs.writeFile(dir, ""));
fails("writeFile() where there is no directory", "ENOENT", (fs, dir) =>
  fs.writeFile(`${dir}/no/x`, ""),
);
fails("writeFile() of a number", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  fs.writeFile(`${dir}/x`, 42 as unknown as string),
);
fails("writeFile() of null", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  fs.writeFile(`${dir}/x`, null as unknown as string),
);
fails("writeFile() exclusively where something is", "EEXIST", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "");
  await fs.writeFile(`${dir}/x`, "", { flag: "wx" });
});
fails("writeFile() with a wrong flag", "ERR_INVALID_ARG_VALUE", (fs, dir) =>
  fs.writeFile(`${dir}/x`, "", { flag: "q" }),
);
fails("writeFile() with a wrong flush", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  fs.writeFile(`${dir}/x`, "", { flush: "yes" } as object),
);
fails("writeFile() with an aborted signal", "ABORT_ERR", (fs, dir) =>
  fs.writeFile(`${dir}/x`, "", { signal: AbortSignal.abort() }),
);
fails("writeFile() aborted between pieces", "ABORT_ERR", async (fs, dir) => {
  const controller = new AbortController();
  const pieces = (async function* () {
    yield "one";
    controller.abort();
    yield "two";
  })();
  await fs.writeFile(`${dir}/x`, pieces, { signal: controller.signal });
});
fails("writeFile() with a signal that is none", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  fs.writeFile(`${dir}/x`, "", { signal: "no" as unknown as AbortSignal }),
);

// --- Paths -----------------------------------------------------------------------------------------------------------

add("paths as string, Buffer and URL", async (fs, dir) => {
  await fs.writeFile(Buffer.from(`${dir}/x`), "1");
  await fs.appendFile(pathToFileURL(`${dir}/x`), "2");
  return await fs.readFile(`${dir}/x`, "utf8");
});
add("paths with dots and many slashes", async (fs, dir, assert) => {
  await tree(fs, dir);
  assert.equal(await fs.readFile(`${dir}//d/./e/..///b`, "utf8"), "beta");
  assert.equal(await fs.readFile(`${dir}/to-d/e/../b`, "utf8"), "beta");
  return await fs.readdir(`${dir}/d/e/`);
});
add("names of any bytes", async (fs, dir, assert) => {
  const name = Buffer.from([0xff, 0xfe, 0x41, 0x80]);
  await fs.writeFile(Buffer.concat([Buffer.from(`${dir}/`), name]), "bytes");
  const names = (await fs.readdir(dir, "buffer")) as unknown as Buffer[];
  assert.deepEqual(names, [name]);
  return await fs.readdir(dir);
});
add("names of 255 bytes, with spaces, quotes and newlines", async (fs, dir) => {
  const names = ["n".repeat(255), "é".repeat(127), " a b ", 'it\'s "x"\n', "-rf", "\\", "..."];
  for (const name of names) await fs.writeFile(`${dir}/${name}`, name);
  for (const name of names) await fs.unlink(`${dir}/${name}`);
  return await fs.readdir(dir);
});
fails("a name of 256 bytes", "ENAMETOOLONG", (fs, dir) =>
  fs.writeFile(`${dir}/${"n".repeat(256)}`, ""),
);
fails("a path of 5,000 bytes", "ENAMETOOLONG", (fs, dir) => fs.stat(`${dir}/${"n/".repeat(2500)}`));
fails("an empty path", "ENOENT", (fs) => fs.stat(""));
fails("a path with NUL", "ERR_INVALID_ARG_VALUE", (fs, dir) =>
  fs.stat(`${dir}/\0`).catch((error) => {
    error.message = error.message.replace(/Received .*/, "");
    throw error;
  }),
);
fails("a path of a wrong type", "ERR_INVALID_ARG_TYPE", (fs) => fs.stat(7 as unknown as string));
fails("a path that is an object", "ERR_INVALID_ARG_TYPE", (fs) => fs.stat({} as unknown as string));
fails("a URL that is not a file's", "ERR_INVALID_URL_SCHEME", (fs) =>
  fs.stat(new URL("https://example.org/")),
);
fails("a dot below a file", "ENOTDIR", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "");
  await fs.stat(`${dir}/x/.`);
});
fails("dots below a file", "ENOTDIR", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "");
  await fs.stat(`${dir}/x/../x`);
});
fails("a loop of symlinks", "ELOOP", async (fs, dir) => {
  await tree(fs, dir);
  await fs.readFile(`${dir}/loop`);
});
add("a chain of 40 symlinks holds, one of 41 does not", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/l0`, "end");
  for (let index = 1; index <= 41; index += 1)
    await fs.symlink(`l${index - 1}`, `${dir}/l${index}`);
  assert.equal(await fs.readFile(`${dir}/l40`, "utf8"), "end");
  return await failure(fs.readFile(`${dir}/l41`), dir);
});

// --- open and FileHandle ---------------------------------------------------------------------------------------------

add("open() makes, keeps and truncates as its flags say", async (fs, dir) => {
  const seen: unknown[] = [];
  for (const flags of ["r", "r+", "w", "w+", "a", "a+", "wx", "ax+", "rs", constants.O_RDWR]) {
    for (const exists of [true, false]) {
      await fs.rm(`${dir}/x`, { force: true });
      if (exists) await fs.writeFile(`${dir}/x`, "12345");
      try {
        const handle = await fs.open(`${dir}/x`, flags);
        seen.push([flags, exists, (await handle.stat()).size]);
        await handle.close();
      } catch (error) {
        seen.push([flags, exists, (error as { code: string }).code]);
      }
    }
  }
  return seen;
});
add("open() with numeric flags", async (fs, dir) => {
  const { O_CREAT, O_EXCL, O_WRONLY, O_APPEND, O_TRUNC, O_RDWR } = constants;
  const first = await fs.open(`${dir}/x`, O_CREAT | O_EXCL | O_WRONLY, 0o600);
  await first.write("12345");
  await first.close();
  const second = await fs.open(`${dir}/x`, O_WRONLY | O_APPEND);
  await second.write("6");
  await second.close();
  const seen = [await fs.readFile(`${dir}/x`, "utf8"), (await fs.stat(`${dir}/x`)).mode];
  await (await fs.open(`${dir}/x`, O_RDWR | O_TRUNC)).close();
  return [...seen, (await fs.stat(`${dir}/x`)).size];
});
add("open() through a dangling symlink makes its target", async (fs, dir) => {
  await tree(fs, dir);
  await fs.writeFile(`${dir}/dangling`, "made");
  return await fs.readFile(`${dir}/nowhere`, "utf8");
});
add("open() of a directory to read", async (fs, dir) => {
  const handle = await fs.open(dir, "r");
  const isDirectory = (await handle.stat()).isDirectory();
  const error = await failure(handle.read(Buffer.alloc(1)), dir);
  await handle.close();
  return [isDirectory, error];
});
fails("open() of a missing file", "ENOENT", (fs, dir) => fs.open(`${dir}/x`));
fails("open() exclusively of a dangling symlink", "EEXIST", async (fs, dir) => {
  await tree(fs, dir);
  await fs.open(`${dir}/dangling`, "wx");
});
fails("open() of a directory to write", "EISDIR", (fs, dir) => fs.open(dir, "r+"));
fails("open() with O_CREAT of a directory", "EISDIR", (fs, dir) =>
  fs.open(dir, constants.O_CREAT | constants.O_RDONLY),
);
fails("open() of a new file with a slash", "EISDIR", (fs, dir) => fs.open(`${dir}/x/`, "w"));
fails("open() of a symlink with O_NOFOLLOW", "ELOOP", async (fs, dir) => {
  await tree(fs, dir);
  await fs.open(`${dir}/to-a`, constants.O_RDONLY | constants.O_NOFOLLOW);
});
fails("open() of a file with O_DIRECTORY", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.open(`${dir}/a`, constants.O_RDONLY | constants.O_DIRECTORY);
});
fails("open() with a wrong mode", "ERR_INVALID_ARG_VALUE", (fs, dir) =>
  fs.open(`${dir}/x`, "w", "rw" as unknown as number),
);
fails("open() with a negative mode", "ERR_OUT_OF_RANGE", (fs, dir) => fs.open(`${dir}/x`, "w", -1));
fails("open() with flags of a wrong type", "ERR_INVALID_ARG_VALUE", (fs, dir) =>
  fs.open(`${dir}/x`, {} as unknown as string),
);
add("FileHandle.fd is a number, and -1 once closed", async (fs, dir, assert) => {
  const handle = await fs.open(`${dir}/x`, "w");
  assert.ok(handle.fd > 2);
  let closed = 0;
  (handle as unknown as EventEmitter).on("close", () => {
    closed += 1;
  });
  await handle.close();
  await handle.close();
  return [handle.fd, closed];
});
add("FileHandle.read() in all its forms", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, "0123456789");
  const handle = await fs.open(`${dir}/x`);
  const seen: unknown[] = [];
  const note = ({ bytesRead, buffer }: { bytesRead: number; buffer: NodeJS.ArrayBufferView }) => {
    const { buffer: memory, byteOffset, byteLength } = buffer;
    seen.push([bytesRead, Buffer.from(memory, byteOffset, Math.min(12, byteLength)).toString()]);
  };
  note(await handle.read(Buffer.alloc(3), 0, 3, 0));
  note(await handle.read(Buffer.alloc(4), 1, 2, null));
  note(await handle.read(Buffer.alloc(4), 1, 2));
  note(await handle.read(Buffer.alloc(3)));
  note(await handle.read({ buffer: Buffer.alloc(3), position: 5 }));
  note(await handle.read(Buffer.alloc(5), { offset: 2, length: 2, position: 8 }));
  note(await handle.read(new Uint8Array(2), 0, 2, 9));
  note(await handle.read(Buffer.alloc(2), 0, 2, 100));
  note(await handle.read(new Uint16Array(2), 0, 4, 0));
  note(await handle.read({ buffer: Buffer.alloc(2), offset: 1 }));
  const plain = await handle.read();
  assert.equal(plain.buffer.byteLength, 16384);
  seen.push(plain.bytesRead, (await handle.read(Buffer.alloc(1), 0, 0, 0)).bytesRead);
  await handle.close();
  return seen;
});
add("FileHandle.read() with wrong arguments", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "0123456789");
  const handle = await fs.open(`${dir}/x`);
  const seen = [
    await failure(handle.read(Buffer.alloc(3), 0, 4, 0), dir),
    await failure(handle.read(Buffer.alloc(3), -1, 1, 0), dir),
    await failure(handle.read(Buffer.alloc(3), 1.5, 1, 0), dir),
    await failure(handle.read(Buffer.alloc(3), "1" as unknown as number, 1, 0), dir),
    await failure(handle.read(Buffer.alloc(0), 0, 1, 0), dir),
    await failure(handle.read({ buffer: "x" as unknown as Buffer }), dir),
    await failure(handle.read("x" as unknown as Buffer), dir),
  ];
  await handle.close();
  return seen;
});
add("FileHandle.write() in all its forms", async (fs, dir) => {
  const handle = await fs.open(`${dir}/x`, "w+");
  const seen: unknown[] = [];
  const note = async (result: Promise<{ bytesWritten: number }>) => {
    seen.push((await result).bytesWritten, await fs.readFile(`${dir}/x`, "latin1"));
  };
  await note(handle.write(Buffer.from("abcdef")));
  await note(handle.write(Buffer.from("ABCDEF"), 1, 2, 0));
  await note(handle.write(Buffer.from("uvwxyz"), 4));
  await note(handle.write(Buffer.from("123"), { position: 3, length: 2 } as unknown as number));
  await note(handle.write("string"));
  await note(handle.write("é", 0, "latin1"));
  await note(handle.write("ff", null, "hex"));
  await note(handle.write(new Uint8Array(0)));
  await note(handle.write(Buffer.from("tail"), 0, 4, 40));
  await handle.close();
  return seen;
});
add("FileHandle.write() with wrong arguments", async (fs, dir) => {
  const handle = await fs.open(`${dir}/x`, "w");
  const seen = [
    await failure(handle.write(Buffer.from("abc"), 4), dir),
    await failure(handle.write(Buffer.from("abc"), 1, 3), dir),
    await failure(handle.write(Buffer.from("abc"), 0, -1), dir),
    await failure(handle.write(Buffer.from("abc"), -1), dir),
    await failure(handle.write(42 as unknown as string), dir),
    await failure(handle.write({} as unknown as string), dir),
    await failure(handle.write("abc", 0, "hex"), dir),
  ];
  await handle.close();
  return seen;
});
add("FileHandle in append mode writes at the end, wherever", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "123");
  const handle = await fs.open(`${dir}/x`, "a+");
  await handle.write(Buffer.from("4"), 0, 1, 0);
  await handle.write("5");
  await fs.appendFile(`${dir}/x`, "6");
  await handle.write("7");
  const { bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
  await handle.close();
  return [bytesRead, await fs.readFile(`${dir}/x`, "utf8")];
});
add("FileHandle.readv() and writev()", async (fs, dir) => {
  const handle = await fs.open(`${dir}/x`, "w+");
  const seen: unknown[] = [];
  seen.push((await handle.writev([Buffer.from("ab"), Buffer.from("cde")])).bytesWritten);
  seen.push((await handle.writev([Buffer.from("XY")], 1)).bytesWritten);
  seen.push((await handle.writev([])).bytesWritten);
  const buffers = [Buffer.alloc(2), Buffer.alloc(0), Buffer.alloc(2), Buffer.alloc(4)];
  const result = await handle.readv(buffers, 0);
  seen.push(result.bytesRead, buffers.map(String), result.buffers === buffers);
  seen.push(await failure(handle.readv("x" as unknown as Buffer[]), dir));
  seen.push(await failure(handle.writev([1] as unknown as Buffer[]), dir));
  await handle.close();
  return seen;
});
add("FileHandle.readFile() and writeFile() go on from the position", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "0123456789");
  const handle = await fs.open(`${dir}/x`, "r+");
  await handle.read(Buffer.alloc(4));
  const rest = await handle.readFile("utf8");
  await handle.writeFile("end");
  await handle.appendFile("!");
  const empty = await handle.readFile();
  await handle.close();
  return [rest, empty.length, await fs.readFile(`${dir}/x`, "utf8")];
});
add("FileHandle.truncate() cuts and grows", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "0123456789");
  const handle = await fs.open(`${dir}/x`, "r+");
  const seen: unknown[] = [];
  await handle.truncate(4);
  seen.push(await fs.readFile(`${dir}/x`, "latin1"));
  await handle.truncate(6);
  seen.push(await fs.readFile(`${dir}/x`, "latin1"));
  await handle.truncate(-5);
  seen.push(await fs.readFile(`${dir}/x`, "latin1"));
  await handle.write("ab");
  await handle.truncate();
  seen.push((await handle.stat()).size);
  seen.push(await failure(handle.truncate("1" as unknown as number), dir));
  seen.push(await failure(handle.truncate(1.5), dir));
  await handle.close();
  return seen;
});
add("FileHandle.stat(), chmod(), chown(), utimes()", async (fs, dir) => {
  const handle = await fs.open(`${dir}/x`, "w");
  await handle.chmod(0o604);
  await handle.chown(12, 34);
  await handle.utimes(1_000_000_000.5, new Date(1_500_000_000_123));
  const stats = await handle.stat();
  const big = await handle.stat({ bigint: true });
  await handle.close();
  return [
    stats.mode,
    stats.uid,
    stats.gid,
    stats.atimeMs,
    Math.round(stats.mtimeMs),
    stats.mtime,
    roundToMs(big.mtimeNs),
    big.atime,
  ];
});
add("FileHandle.sync() and datasync()", async (fs, dir) => {
  const handle = await fs.open(`${dir}/x`, "w");
  await handle.write("durable");
  await handle.datasync();
  await handle.sync();
  await handle.close();
  return await fs.readFile(`${dir}/x`, "utf8");
});
add("FileHandle read of one opened to write and back", async (fs, dir) => {
  const writer = await fs.open(`${dir}/x`, "w");
  const reader = await fs.open(`${dir}/x`, "r");
  const seen = [
    await failure(writer.read(Buffer.alloc(1), 0, 1, 0), dir),
    await failure(reader.write("x"), dir),
    await failure(reader.truncate(1), dir),
    await failure(writer.readFile(), dir),
    await failure(reader.writev([Buffer.from("x")]), dir),
  ];
  await writer.close();
  await reader.close();
  return seen;
});
add("FileHandle after close()", async (fs, dir) => {
  const handle = await fs.open(`${dir}/x`, "w+");
  await handle.close();
  const one = Buffer.alloc(1);
  return [
    await failure(handle.read(one, 0, 1, 0), dir),
    await failure(handle.write("x"), dir),
    await failure(handle.stat(), dir),
    await failure(handle.truncate(), dir),
    await failure(handle.sync(), dir),
    await failure(handle.datasync(), dir),
    await failure(handle.chmod(0o600), dir),
    await failure(handle.chown(1, 1), dir),
    await failure(handle.utimes(1, 1), dir),
    await failure(handle.readv([one]), dir),
    await failure(handle.writev([one]), dir),
  ].map(({ message, code }) => [message, code]);
});
add("FileHandle keeps an unlinked file", async (fs, dir, assert) => {
  const handle = await fs.open(`${dir}/x`, "w+");
  await handle.write("still here");
  await fs.unlink(`${dir}/x`);
  assert.equal((await handle.stat()).nlink, 0);
  await handle.write("!", 10);
  const { buffer } = await handle.read(Buffer.alloc(11), 0, 11, 0);
  await handle.close();
  return [buffer.toString(), await fs.readdir(dir)];
});
add("FileHandle follows its file through rename and replacement", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "old");
  const handle = await fs.open(`${dir}/x`);
  await fs.writeFile(`${dir}/y`, "new");
  await fs.rename(`${dir}/y`, `${dir}/x`);
  const old = await handle.readFile("utf8");
  await handle.close();
  return [old, await fs.readFile(`${dir}/x`, "utf8")];
});
add("FileHandle.close() waits for what is under way", async (fs, dir) => {
  const handle = await fs.open(`${dir}/x`, "w");
  const write = handle.write(Buffer.alloc(1_000_000, 1));
  const close = handle.close();
  const [{ bytesWritten }] = await Promise.all([write, close]);
  return [bytesWritten, (await fs.stat(`${dir}/x`)).size];
});
add("FileHandle.createReadStream()", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "0123456789");
  const seen: unknown[] = [];
  for (const options of [
    {},
    { start: 3 },
    { start: 2, end: 5 },
    { end: 0 },
    { highWaterMark: 3 },
  ]) {
    const handle = await fs.open(`${dir}/x`);
    const stream = handle.createReadStream({ ...options, encoding: "latin1" });
    seen.push(await collect(stream), stream.bytesRead);
    seen.push(handle.fd);
  }
  const kept = await fs.open(`${dir}/x`);
  seen.push(await collect(kept.createReadStream({ autoClose: false, encoding: "utf8" })));
  seen.push(kept.fd > 2);
  await kept.close();
  return seen;
});
add("FileHandle.createWriteStream()", async (fs, dir) => {
  const handle = await fs.open(`${dir}/x`, "w");
  const stream = handle.createWriteStream({ start: 2 });
  stream.write("ab");
  stream.write(Buffer.from("cd"));
  stream.end("é", "latin1");
  await once(stream, "close");
  return [stream.bytesWritten, handle.fd, await fs.readFile(`${dir}/x`, "latin1")];
});
add("streams of handles in a pipeline", async (fs, dir, assert) => {
  const data = Buffer.alloc(700_000, "pipeline ");
  await fs.writeFile(`${dir}/x`, data);
  const from = await fs.open(`${dir}/x`);
  const to = await fs.open(`${dir}/y`, "w");
  await pipeline(from.createReadStream(), to.createWriteStream());
  assert.ok((await fs.readFile(`${dir}/y`)).equals(data));
  return [from.fd, to.fd];
});
add("FileHandle.readLines()", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "one\ntwo\r\nthree\n\nfive");
  const handle = await fs.open(`${dir}/x`);
  const lines: string[] = [];
  for await (const line of handle.readLines()) lines.push(line);
  return lines;
});
add("FileHandle.readableWebStream()", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, Buffer.alloc(200_000, "web "));
  const handle = await fs.open(`${dir}/x`);
  const stream = handle.readableWebStream({ type: "bytes" } as object);
  let text = "";
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString();
  }
  assert.throws(() => handle.readableWebStream(), { code: "ERR_INVALID_STATE" });
  await handle.close();
  return text.length;
});

// --- Directories -----------------------------------------------------------------------------------------------------

add("mkdir() and its mode", async (fs, dir) => {
  const plain = await fs.mkdir(`${dir}/a`);
  await fs.mkdir(`${dir}/b`, 0o700);
  await fs.mkdir(`${dir}/c/`, { mode: "1777" });
  await fs.mkdir(`${dir}/d`, { mode: 0o7777 });
  const modes: number[] = [];
  for (const name of ["a", "b", "c", "d"]) modes.push((await fs.stat(`${dir}/${name}`)).mode);
  return [plain, modes];
});
add("mkdir() recursive returns the first directory made", async (fs, dir) => {
  const seen = [
    await fs.mkdir(`${dir}/a/b/c`, { recursive: true }),
    await fs.mkdir(`${dir}/a/b/c`, { recursive: true }),
    await fs.mkdir(`${dir}/a/b/x/y/`, { recursive: true }),
    await fs.mkdir(`${dir}/a/z`, { recursive: true }),
  ];
  return seen.map((path) => path?.replace(dir, "$"));
});
add("mkdir() counts links", async (fs, dir) => {
  await fs.mkdir(`${dir}/d`);
  const before = (await fs.stat(`${dir}/d`)).nlink;
  await fs.mkdir(`${dir}/d/e`);
  await fs.writeFile(`${dir}/d/f`, "");
  const between = (await fs.stat(`${dir}/d`)).nlink;
  await fs.rmdir(`${dir}/d/e`);
  return [before, between, (await fs.stat(`${dir}/d`)).nlink];
});
fails("mkdir() where something is", "EEXIST", (fs, dir) => fs.mkdir(dir));
fails("mkdir() at a dangling symlink", "EEXIST", async (fs, dir) => {
  await tree(fs, dir);
  await fs.mkdir(`${dir}/dangling`);
});
fails("mkdir() where there is nothing above", "ENOENT", (fs, dir) => fs.mkdir(`${dir}/a/b`));
fails("mkdir() below a file", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.mkdir(`${dir}/a/b`);
});
fails("mkdir() recursive at a file", "EEXIST", async (fs, dir) => {
  await tree(fs, dir);
  await fs.mkdir(`${dir}/a`, { recursive: true });
});
fails("mkdir() recursive below a file", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.mkdir(`${dir}/a/b/c`, { recursive: true });
});
fails("mkdir() with a wrong option", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  fs.mkdir(`${dir}/x`, { recursive: "yes" as unknown as boolean }),
);
fails("mkdir() with a wrong mode", "ERR_INVALID_ARG_VALUE", (fs, dir) => fs.mkdir(`${dir}/x`, "9"));
add("mkdir() at the root is there already", async (fs, _dir, assert) => {
  assert.equal(await fs.mkdir("/", { recursive: true }), undefined);
  return await failure(fs.mkdir("/"), "\0");
});
add("mkdtemp() makes directories of different names", async (fs, dir, assert) => {
  const one = await fs.mkdtemp(`${dir}/t-`);
  const two = await fs.mkdtemp(`${dir}/t-`);
  assert.notEqual(one, two);
  assert.match(one, /\/t-[A-Za-z0-9]{6}$/);
  const buffer = (await fs.mkdtemp(`${dir}/t-`, "buffer")) as unknown as Buffer;
  assert.ok(Buffer.isBuffer(buffer));
  return [(await fs.stat(one)).mode, (await fs.readdir(dir)).length];
});
add("mkdtemp() where there is no directory", async (fs, dir, assert) => {
  const { code, syscall, message } = await failure(fs.mkdtemp(`${dir}/no/t-`), dir);
  assert.equal(code, "ENOENT");
  return [syscall, message.replace(/\w{6}'$/, "")];
});
fails("mkdtemp() without a prefix", "ERR_INVALID_ARG_TYPE", (fs) =>
  (fs.mkdtemp as (prefix?: string) => Promise<string>)(),
);
add("readdir() gives names in order", async (fs, dir) => {
  for (const name of ["b", "a", "C", "10", "9", "é", "z.txt", ".hidden"]) {
    await fs.writeFile(`${dir}/${name}`, "");
  }
  return [
    await fs.readdir(dir),
    await fs.readdir(dir, "buffer"),
    await fs.readdir(dir, "hex" as "utf8"),
  ];
});
add("readdir() with file types", async (fs, dir) => {
  await tree(fs, dir);
  const entries = await fs.readdir(dir, { withFileTypes: true });
  return entries.map((entry) => [
    entry.name,
    entry.isFile(),
    entry.isDirectory(),
    entry.isSymbolicLink(),
    entry.isBlockDevice(),
    entry.isCharacterDevice(),
    entry.isFIFO(),
    entry.isSocket(),
    entry.parentPath.replace(dir, "$"),
    // Not in newer Nodes.
    (entry.path ?? dir).replace(dir, "$"),
  ]);
});
add("readdir() recursive", async (fs, dir) => {
  await tree(fs, dir);
  await fs.unlink(`${dir}/to-d`);
  const names = await fs.readdir(dir, { recursive: true });
  const entries = await fs.readdir(dir, { recursive: true, withFileTypes: true });
  return [
    names.sort(),
    entries.map((entry) => `${entry.parentPath.replace(dir, "$")} ${entry.name}`).sort(),
  ];
});
add("readdir() of 1,500 entries", async (fs, dir, assert) => {
  const names = Array.from(
    { length: 1500 },
    (_, index) => `file-${String(index).padStart(5, "0")}`,
  );
  await Promise.all(names.map((name) => fs.writeFile(`${dir}/${name}`, "")));
  assert.deepEqual(await fs.readdir(dir), names);
});
add("readdir() through a symlink", async (fs, dir) => {
  await tree(fs, dir);
  return await fs.readdir(`${dir}/to-d`);
});
fails("readdir() of a missing directory", "ENOENT", (fs, dir) => fs.readdir(`${dir}/x`));
fails("readdir() of a file", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.readdir(`${dir}/a`);
});
add("opendir() iterates", async (fs, dir) => {
  await tree(fs, dir);
  const names: string[] = [];
  const opened = await fs.opendir(dir);
  const path = opened.path.replace(dir, "$");
  for await (const entry of opened) {
    names.push(`${entry.name} ${entry.isFile()} ${entry.parentPath.replace(dir, "$")}`);
  }
  return [path, names.sort(), await failure(opened.close(), dir)];
});
add("opendir() read() and close()", async (fs, dir, assert) => {
  for (let index = 0; index < 100; index += 1) await fs.writeFile(`${dir}/${index}`, "");
  const opened = await fs.opendir(dir, { bufferSize: 3 });
  const seen = new Set<string>();
  for (let entry = await opened.read(); entry !== null; entry = await opened.read()) {
    seen.add(entry.name);
  }
  assert.equal(seen.size, 100);
  assert.equal(await opened.read(), null);
  await opened.close();
  return await failure(opened.close(), dir);
});
add("opendir() left in the middle is closed", async (fs, dir) => {
  await tree(fs, dir);
  const opened = await fs.opendir(dir);
  for await (const _ of opened) break;
  return await failure(opened.close(), dir);
});
add("opendir() recursive", async (fs, dir) => {
  await tree(fs, dir);
  const names: string[] = [];
  for await (const entry of await fs.opendir(dir, { recursive: true })) names.push(entry.name);
  return names.sort();
});
fails("opendir() of a missing directory", "ENOENT", (fs, dir) => fs.opendir(`${dir}/x`));
fails("opendir() of a file", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.opendir(`${dir}/a`);
});
add("rmdir() removes an empty directory", async (fs, dir) => {
  await fs.mkdir(`${dir}/x`);
  await fs.mkdir(`${dir}/y`);
  await fs.rmdir(`${dir}/x`);
  await fs.rmdir(`${dir}/y/`);
  return await fs.readdir(dir);
});
fails("rmdir() of a full directory", "ENOTEMPTY", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rmdir(`${dir}/d`);
});
fails("rmdir() of a file", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rmdir(`${dir}/a`);
});
fails("rmdir() of a symlink to a directory", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rmdir(`${dir}/to-d`);
});
fails("rmdir() of nothing", "ENOENT", (fs, dir) => fs.rmdir(`${dir}/x`));
fails("rmdir() of a dot", "EINVAL", (fs, dir) => fs.rmdir(`${dir}/.`));
fails("rmdir() of dots", "ENOTEMPTY", async (fs, dir) => {
  await fs.mkdir(`${dir}/x`);
  await fs.rmdir(`${dir}/x/..`);
});
add("rm() of files, symlinks and trees", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rm(`${dir}/a`);
  await fs.rm(`${dir}/to-d`);
  await fs.rm(`${dir}/dangling`, { recursive: true });
  await fs.rm(`${dir}/d`, { recursive: true, maxRetries: 3, retryDelay: 1 });
  await fs.rm(`${dir}/missing`, { force: true });
  await fs.rm(`${dir}/missing`, { force: true, recursive: true });
  return await fs.readdir(dir);
});
add("rm() of a tree with many entries at every level", async (fs, dir) => {
  for (let outer = 0; outer < 5; outer += 1) {
    await fs.mkdir(`${dir}/x/${outer}/deep/er`, { recursive: true });
    for (let inner = 0; inner < 30; inner += 1) {
      await fs.writeFile(`${dir}/x/${outer}/deep/${inner}`, "");
      await fs.symlink("../..", `${dir}/x/${outer}/deep/er/${inner}`);
    }
  }
  await fs.rm(`${dir}/x`, { recursive: true, force: true });
  return await fs.readdir(dir);
});
fails("rm() of a directory without recursive", "ERR_FS_EISDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rm(`${dir}/d`);
});
fails("rm() of nothing", "ENOENT", (fs, dir) => fs.rm(`${dir}/x`));
fails("rm() with a wrong option", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  fs.rm(`${dir}/x`, { recursive: 1 as unknown as boolean }),
);

// --- Names -----------------------------------------------------------------------------------------------------------

add("rename() moves files and directories, and replaces", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rename(`${dir}/a`, `${dir}/d/b`);
  await fs.rename(`${dir}/d/e`, `${dir}/moved`);
  await fs.mkdir(`${dir}/empty`);
  await fs.rename(`${dir}/moved`, `${dir}/empty`);
  await fs.rename(`${dir}/dangling`, `${dir}/d/link`);
  return [
    await fs.readFile(`${dir}/d/b`, "utf8"),
    await fs.readFile(`${dir}/empty/c`, "utf8"),
    await fs.readdir(dir),
    await fs.readdir(`${dir}/d`),
    (await fs.stat(`${dir}/d`)).nlink,
  ];
});
add("rename() to itself and to another link of itself", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rename(`${dir}/a`, `${dir}/a`);
  await fs.link(`${dir}/a`, `${dir}/a2`);
  await fs.rename(`${dir}/a`, `${dir}/a2`);
  return await fs.readdir(dir);
});
fails("rename() of nothing", "ENOENT", (fs, dir) => fs.rename(`${dir}/x`, `${dir}/y`));
fails("rename() to where there is no directory", "ENOENT", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rename(`${dir}/a`, `${dir}/no/y`);
});
fails("rename() of a file over a directory", "EISDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rename(`${dir}/a`, `${dir}/d/e/f`);
});
fails("rename() of a directory over a file", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rename(`${dir}/d`, `${dir}/a`);
});
fails("rename() over a full directory", "ENOTEMPTY", async (fs, dir) => {
  await tree(fs, dir);
  await fs.mkdir(`${dir}/other`);
  await fs.rename(`${dir}/other`, `${dir}/d`);
});
fails("rename() of a directory into itself", "EINVAL", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rename(`${dir}/d`, `${dir}/d/e/f/d`);
});
fails("rename() over an ancestor", "ENOTEMPTY", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rename(`${dir}/d/e/f`, `${dir}/d`);
});
fails("rename() of a file to a name with a slash", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rename(`${dir}/a`, `${dir}/y/`);
});
fails("rename() of a dot", "EBUSY", async (fs, dir) => {
  await tree(fs, dir);
  await fs.rename(`${dir}/d/.`, `${dir}/y`);
});
fails("rename() with a wrong new path", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  fs.rename(`${dir}/x`, undefined as unknown as string),
);
add("link() makes one more name", async (fs, dir, assert) => {
  await tree(fs, dir);
  await fs.link(`${dir}/a`, `${dir}/d/hard`);
  await fs.appendFile(`${dir}/d/hard`, "+");
  const stats = await fs.stat(`${dir}/a`);
  assert.equal(stats.ino, (await fs.stat(`${dir}/d/hard`)).ino);
  await fs.unlink(`${dir}/a`);
  return [
    stats.nlink,
    await fs.readFile(`${dir}/d/hard`, "utf8"),
    (await fs.stat(`${dir}/d/hard`)).nlink,
  ];
});
add("link() of a symlink links the symlink", async (fs, dir) => {
  await tree(fs, dir);
  await fs.link(`${dir}/dangling`, `${dir}/hard`);
  return [(await fs.lstat(`${dir}/hard`)).isSymbolicLink(), await fs.readlink(`${dir}/hard`)];
});
fails("link() of nothing", "ENOENT", (fs, dir) => fs.link(`${dir}/x`, `${dir}/y`));
fails("link() over something", "EEXIST", async (fs, dir) => {
  await tree(fs, dir);
  await fs.link(`${dir}/a`, `${dir}/d`);
});
fails("link() of a directory", "EPERM", async (fs, dir) => {
  await tree(fs, dir);
  await fs.link(`${dir}/d`, `${dir}/y`);
});
add("symlink() and readlink() of any text", async (fs, dir) => {
  const targets = ["a", "/abs", "../..", "é", "x".repeat(4000), "with space"];
  const seen: unknown[] = [];
  for (const [index, target] of targets.entries()) {
    await fs.symlink(target, `${dir}/${index}`);
    seen.push(
      (await fs.readlink(`${dir}/${index}`)) === target,
      (await fs.lstat(`${dir}/${index}`)).size,
    );
  }
  await fs.symlink("typed", `${dir}/t`, "file");
  seen.push(
    await fs.readlink(`${dir}/t`, "buffer"),
    await fs.readlink(`${dir}/t`, { encoding: "hex" }),
  );
  return seen;
});
fails("symlink() over something", "EEXIST", async (fs, dir) => {
  await tree(fs, dir);
  await fs.symlink("x", `${dir}/dangling`);
});
fails("symlink() to an empty text", "ENOENT", (fs, dir) => fs.symlink("", `${dir}/x`));
fails("symlink() to a text that is too long", "ENAMETOOLONG", (fs, dir) =>
  fs.symlink("x".repeat(4096), `${dir}/x`).catch((error) => {
    error.message = error.message.replace(/x{100,}/, "x…");
    error.path = "";
    throw error;
  }),
);
fails("readlink() of a file", "EINVAL", async (fs, dir) => {
  await tree(fs, dir);
  await fs.readlink(`${dir}/a`);
});
fails("readlink() of nothing", "ENOENT", (fs, dir) => fs.readlink(`${dir}/x`));
add("unlink() of files and symlinks", async (fs, dir) => {
  await tree(fs, dir);
  await fs.unlink(`${dir}/a`);
  await fs.unlink(`${dir}/to-d`);
  return await fs.readdir(dir);
});
fails("unlink() of a directory", "EISDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.unlink(`${dir}/d`);
});
fails("unlink() of nothing", "ENOENT", (fs, dir) => fs.unlink(`${dir}/x`));
fails("unlink() of a file with a slash", "ENOTDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.unlink(`${dir}/a/`);
});
add("realpath() takes symlinks and dots away", async (fs, dir) => {
  await tree(fs, dir);
  await fs.symlink(`${dir}/to-d/e`, `${dir}/deep`);
  const real = await fs.realpath(dir);
  const seen: string[] = [];
  for (const path of ["to-d/./e/../b", "deep/c", "to-a", "d//e/"]) {
    seen.push((await fs.realpath(`${dir}/${path}`)).replace(real, "$"));
  }
  seen.push(await fs.realpath("/"), await fs.realpath("/../.."));
  seen.push(String(Buffer.isBuffer(await fs.realpath(dir, "buffer"))));
  return seen;
});
fails("realpath() of a dangling symlink", "ENOENT", async (fs, dir) => {
  await tree(fs, dir);
  await fs.realpath(`${dir}/dangling`);
});

// --- Attributes ------------------------------------------------------------------------------------------------------

add("stat() and lstat() tell types apart", async (fs, dir) => {
  await tree(fs, dir);
  const seen: unknown[] = [];
  for (const path of ["a", "d", "to-a", "to-d", "to-d/", "."]) {
    for (const stats of [await fs.stat(`${dir}/${path}`), await fs.lstat(`${dir}/${path}`)]) {
      seen.push([
        path,
        stats.isFile(),
        stats.isDirectory(),
        stats.isSymbolicLink(),
        stats.isFIFO(),
        stats.isSocket(),
        stats.isBlockDevice(),
        stats.isCharacterDevice(),
        stats.mode,
        stats.isDirectory() ? 0 : stats.size,
        stats.uid,
        stats.gid,
        stats.nlink,
        stats.rdev,
      ]);
    }
  }
  return seen;
});
add("stat() has all fields, as numbers and as bigints", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, Buffer.alloc(5000, 1));
  const stats = await fs.stat(`${dir}/x`);
  const big = await fs.stat(`${dir}/x`, { bigint: true });
  assert.equal(BigInt(stats.ino), big.ino);
  assert.equal(BigInt(stats.dev), big.dev);
  assert.equal(BigInt(stats.size), big.size);
  assert.equal(big.mtimeNs / 1_000_000n, big.mtimeMs);
  assert.equal(Math.floor(stats.mtimeMs), Number(big.mtimeMs));
  assert.ok(Math.abs(stats.mtimeMs - Date.now()) < 60_000);
  assert.ok(stats.birthtimeMs > 0 && stats.ctimeMs > 0 && stats.atimeMs > 0);
  assert.ok(stats.mtime instanceof Date && big.birthtime instanceof Date);
  assert.ok(big.isFile() && !big.isDirectory() && !big.isSymbolicLink());
  const types = (object: object) =>
    Object.entries(object)
      // Dates are made when they are asked for in newer Nodes.
      .filter(([, value]) => typeof value !== "object")
      .map(([key, value]) => `${key}: ${typeof value}`)
      .sort();
  return [
    stats.blksize,
    types(stats),
    types(big),
    (await fs.lstat(`${dir}/x`, { bigint: true })).size,
  ];
});
fails("stat() of nothing", "ENOENT", (fs, dir) => fs.stat(`${dir}/x`));
fails("lstat() of nothing", "ENOENT", (fs, dir) => fs.lstat(`${dir}/x`));
fails("stat() of a dangling symlink", "ENOENT", async (fs, dir) => {
  await tree(fs, dir);
  await fs.stat(`${dir}/dangling`);
});
add("stat() times move with changes", async (fs, dir, assert) => {
  await fs.mkdir(`${dir}/d`);
  await fs.writeFile(`${dir}/d/x`, "1");
  const past = new Date(1_000_000_000_000);
  for (const path of ["d", "d/x"]) await fs.utimes(`${dir}/${path}`, past, past);
  await fs.chmod(`${dir}/d/x`, 0o600);
  assert.equal((await fs.stat(`${dir}/d/x`)).mtimeMs, past.getTime());
  assert.ok((await fs.stat(`${dir}/d/x`)).ctimeMs > past.getTime());
  await fs.writeFile(`${dir}/d/x`, "22");
  assert.ok((await fs.stat(`${dir}/d/x`)).mtimeMs > past.getTime());
  assert.equal((await fs.stat(`${dir}/d`)).mtimeMs, past.getTime());
  await fs.writeFile(`${dir}/d/y`, "");
  assert.ok((await fs.stat(`${dir}/d`)).mtimeMs > past.getTime());
});
add("chmod() of all bits", async (fs, dir) => {
  await tree(fs, dir);
  const modes: number[] = [];
  for (const mode of [0, 0o777, 0o4755, 0o2755, 0o1777, "644", "0600"]) {
    await fs.chmod(`${dir}/a`, mode);
    modes.push((await fs.stat(`${dir}/a`)).mode);
  }
  await fs.chmod(`${dir}/to-d`, 0o711);
  modes.push((await fs.stat(`${dir}/d`)).mode, (await fs.lstat(`${dir}/to-d`)).mode);
  return modes;
});
fails("chmod() of nothing", "ENOENT", (fs, dir) => fs.chmod(`${dir}/x`, 0o600));
fails("chmod() with a wrong mode", "ERR_INVALID_ARG_VALUE", (fs, dir) => fs.chmod(dir, "u+x"));
fails("chmod() without a mode", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  (fs.chmod as (path: string) => Promise<void>)(dir),
);
fails("lchmod() is not there", "ERR_METHOD_NOT_IMPLEMENTED", (fs, dir) => fs.lchmod(dir, 0o600));
add("chown() and lchown()", async (fs, dir) => {
  await tree(fs, dir);
  await fs.chown(`${dir}/to-a`, 1, 2);
  await fs.lchown(`${dir}/to-a`, 3, 4);
  await fs.chown(`${dir}/d`, -1, 5);
  const owners: number[] = [];
  for (const path of ["a", "to-a", "d"]) {
    const { uid, gid } = await fs.lstat(`${dir}/${path}`);
    owners.push(uid, gid);
  }
  return owners;
});
add("chown() takes the set-id bits away from files", async (fs, dir) => {
  await tree(fs, dir);
  await fs.chmod(`${dir}/a`, 0o6755);
  await fs.chmod(`${dir}/d`, 0o2755);
  await fs.chown(`${dir}/a`, 1, 1);
  await fs.chown(`${dir}/d`, 1, 1);
  return [(await fs.stat(`${dir}/a`)).mode, (await fs.stat(`${dir}/d`)).mode];
});
fails("chown() of nothing", "ENOENT", (fs, dir) => fs.chown(`${dir}/x`, 1, 1));
fails("lchown() of nothing", "ENOENT", (fs, dir) => fs.lchown(`${dir}/x`, 1, 1));
fails("chown() with a wrong owner", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  fs.chown(dir, "root" as unknown as number, 1),
);
fails("chown() with an owner out of range", "ERR_OUT_OF_RANGE", (fs, dir) => fs.chown(dir, -2, 1));
add("a set-group-id directory hands its group down", async (fs, dir) => {
  await fs.mkdir(`${dir}/d`);
  await fs.chown(`${dir}/d`, 0, 77);
  await fs.chmod(`${dir}/d`, 0o2775);
  await fs.writeFile(`${dir}/d/x`, "");
  await fs.mkdir(`${dir}/d/e`);
  const x = await fs.stat(`${dir}/d/x`);
  const e = await fs.stat(`${dir}/d/e`);
  return [x.gid, x.mode, e.gid, e.mode];
});
add("utimes() of every kind of time", async (fs, dir) => {
  await tree(fs, dir);
  const seen: unknown[] = [];
  for (const [atime, mtime] of [
    [0, 1],
    [1.5, 2.25],
    ["3.125", "4"],
    [new Date(5000), new Date("2001-02-03T04:05:06.789Z")],
    [2 ** 33, 2 ** 32 + 0.5],
    [new Date(-1500), new Date(-1)],
    [1234567890.123456, 1234567890.999999],
  ] as const) {
    await fs.utimes(`${dir}/a`, atime, mtime);
    const stats = await fs.stat(`${dir}/a`, { bigint: true });
    seen.push([roundToMs(stats.atimeNs), roundToMs(stats.mtimeNs)]);
  }
  return seen;
});
add("utimes() and lutimes() of a symlink", async (fs, dir) => {
  await tree(fs, dir);
  await fs.utimes(`${dir}/to-a`, 1, 2);
  await fs.lutimes(`${dir}/to-a`, 3, 4);
  const times = (stats: { atimeMs: number; mtimeMs: number }) => [stats.atimeMs, stats.mtimeMs];
  return [times(await fs.stat(`${dir}/a`)), times(await fs.lstat(`${dir}/to-a`))];
});
fails("utimes() of nothing", "ENOENT", (fs, dir) => fs.utimes(`${dir}/x`, 1, 1));
fails("lutimes() of nothing", "ENOENT", (fs, dir) => fs.lutimes(`${dir}/x`, 1, 1));
fails("utimes() with a wrong time", "ERR_INVALID_ARG_TYPE", (fs, dir) => fs.utimes(dir, "soon", 1));
fails("utimes() without times", "ERR_INVALID_ARG_TYPE", (fs, dir) =>
  (fs.utimes as (path: string) => Promise<void>)(dir),
);
add("access() as root is told", async (fs, dir) => {
  await tree(fs, dir);
  const { F_OK, R_OK, W_OK, X_OK } = constants;
  await fs.access(`${dir}/a`);
  await fs.access(`${dir}/a`, F_OK | R_OK | W_OK);
  await fs.access(`${dir}/d`, R_OK | X_OK);
  await fs.access(`${dir}/to-a`, R_OK);
  await fs.chmod(`${dir}/a`, 0o100);
  return await fs.access(`${dir}/a`, X_OK);
});
fails("access() to execute what nobody may", "EACCES", async (fs, dir) => {
  await tree(fs, dir);
  await fs.access(`${dir}/a`, constants.X_OK);
});
fails("access() of nothing", "ENOENT", (fs, dir) => fs.access(`${dir}/x`));
fails("access() of a dangling symlink", "ENOENT", async (fs, dir) => {
  await tree(fs, dir);
  await fs.access(`${dir}/dangling`);
});
add("statfs() has all fields", async (fs, dir, assert) => {
  const stats = await fs.statfs(dir);
  const big = await fs.statfs(dir, { bigint: true });
  assert.ok(stats.bsize > 0 && stats.blocks >= stats.bfree && stats.bfree >= stats.bavail);
  assert.equal(typeof big.blocks, "bigint");
  const old = (object: object) => Object.keys(object).filter((key) => key !== "frsize");
  return [old(stats), old(big)];
});
fails("statfs() of nothing", "ENOENT", (fs, dir) => fs.statfs(`${dir}/x`));
add("truncate() cuts and grows", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "0123456789");
  await fs.truncate(`${dir}/x`, 3);
  const cut = await fs.readFile(`${dir}/x`, "latin1");
  await fs.truncate(`${dir}/x`, 5);
  const grown = await fs.readFile(`${dir}/x`, "latin1");
  await fs.truncate(`${dir}/x`);
  return [cut, grown, (await fs.stat(`${dir}/x`)).size];
});
add("truncate() to far beyond leaves zeros", async (fs, dir, assert) => {
  await fs.writeFile(`${dir}/x`, "start");
  await fs.truncate(`${dir}/x`, 3_000_000);
  const data = await fs.readFile(`${dir}/x`);
  assert.equal(
    data.subarray(5).findIndex((byte) => byte !== 0),
    -1,
  );
  return data.length;
});
fails("truncate() of nothing", "ENOENT", (fs, dir) => fs.truncate(`${dir}/x`));
fails("truncate() of a directory", "EISDIR", (fs, dir) => fs.truncate(dir));
fails("truncate() to a length of a wrong type", "ERR_INVALID_ARG_TYPE", async (fs, dir) => {
  await fs.writeFile(`${dir}/x`, "");
  await fs.truncate(`${dir}/x`, "1" as unknown as number);
});

// --- Copies ----------------------------------------------------------------------------------------------------------

add("copyFile() copies content and permissions", async (fs, dir, assert) => {
  const data = Buffer.alloc(2_500_000, "copy ");
  await fs.writeFile(`${dir}/x`, data);
  await fs.chmod(`${dir}/x`, 0o751);
  await fs.copyFile(`${dir}/x`, `${dir}/y`);
  assert.ok((await fs.readFile(`${dir}/y`)).equals(data));
  await fs.writeFile(`${dir}/z`, Buffer.alloc(3_000_000));
  await fs.copyFile(`${dir}/x`, `${dir}/z`);
  return [(await fs.stat(`${dir}/y`)).mode, (await fs.stat(`${dir}/z`)).size];
});
add("copyFile() to itself and through symlinks", async (fs, dir) => {
  await tree(fs, dir);
  await fs.copyFile(`${dir}/a`, `${dir}/a`);
  await fs.copyFile(`${dir}/to-a`, `${dir}/copy`);
  await fs.copyFile(`${dir}/d/b`, `${dir}/dangling`);
  return [
    await fs.readFile(`${dir}/a`, "utf8"),
    (await fs.lstat(`${dir}/copy`)).isFile(),
    await fs.readFile(`${dir}/nowhere`, "utf8"),
  ];
});
fails("copyFile() exclusively over something", "EEXIST", async (fs, dir) => {
  await tree(fs, dir);
  await fs.copyFile(`${dir}/a`, `${dir}/d/b`, constants.COPYFILE_EXCL);
});
fails("copyFile() of nothing", "ENOENT", (fs, dir) => fs.copyFile(`${dir}/x`, `${dir}/y`));
fails("copyFile() to where there is no directory", "ENOENT", async (fs, dir) => {
  await tree(fs, dir);
  await fs.copyFile(`${dir}/a`, `${dir}/no/y`);
});
fails("copyFile() to a directory", "EISDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.copyFile(`${dir}/a`, `${dir}/d`);
});
add("copyFile() with a wrong mode", async (fs, dir, assert) => {
  assert.equal(
    (await failure(fs.copyFile(`${dir}/x`, `${dir}/y`, 8), dir)).code,
    "ERR_OUT_OF_RANGE",
  );
});
add("cp() of a file", async (fs, dir) => {
  await tree(fs, dir);
  await fs.cp(`${dir}/a`, `${dir}/new/deep/a`);
  await fs.cp(`${dir}/a`, `${dir}/d/b`);
  await fs.writeFile(`${dir}/kept`, "kept");
  await fs.cp(`${dir}/a`, `${dir}/kept`, { force: false });
  return [
    await fs.readFile(`${dir}/new/deep/a`, "utf8"),
    await fs.readFile(`${dir}/d/b`, "utf8"),
    await fs.readFile(`${dir}/kept`, "utf8"),
  ];
});
add("cp() of a tree", async (fs, dir) => {
  await tree(fs, dir);
  await fs.symlink("b", `${dir}/d/relative`);
  await fs.symlink("/abs", `${dir}/d/absolute`);
  await fs.chmod(`${dir}/d/b`, 0o640);
  await fs.cp(`${dir}/d`, `${dir}/copy`, { recursive: true });
  await fs.cp(`${dir}/d`, `${dir}/verbatim`, { recursive: true, verbatimSymlinks: true });
  await fs.cp(`${dir}/d/e`, `${dir}/copy/e`, { recursive: true });
  return [
    await fs.readdir(`${dir}/copy`),
    await fs.readFile(`${dir}/copy/e/c`, "utf8"),
    (await fs.readlink(`${dir}/copy/relative`)).replace(dir, "$"),
    await fs.readlink(`${dir}/copy/absolute`),
    await fs.readlink(`${dir}/verbatim/relative`),
    (await fs.stat(`${dir}/copy/b`)).mode,
  ];
});
add("cp() with filter, dereference and timestamps", async (fs, dir) => {
  await tree(fs, dir);
  await fs.symlink("../a", `${dir}/d/link`);
  await fs.utimes(`${dir}/d/b`, 1000, 2000);
  const asked: string[] = [];
  await fs.cp(`${dir}/d`, `${dir}/copy`, {
    recursive: true,
    dereference: true,
    preserveTimestamps: true,
    filter: async (from, to) => {
      asked.push(`${from.replace(dir, "$")} ${to.replace(dir, "$")}`);
      return !from.endsWith("/e");
    },
  });
  return [
    asked.sort(),
    (await fs.readdir(`${dir}/copy`)).sort(),
    (await fs.lstat(`${dir}/copy/link`)).isFile(),
    (await fs.stat(`${dir}/copy/b`)).mtimeMs,
  ];
});
fails("cp() of a directory without recursive", "ERR_FS_EISDIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.cp(`${dir}/d`, `${dir}/copy`);
});
fails("cp() into itself", "ERR_FS_CP_EINVAL", async (fs, dir) => {
  await tree(fs, dir);
  await fs.cp(`${dir}/d`, `${dir}/d/e/d`, { recursive: true });
});
fails("cp() to itself", "ERR_FS_CP_EINVAL", async (fs, dir) => {
  await tree(fs, dir);
  await fs.cp(`${dir}/a`, `${dir}/a`);
});
fails("cp() over something that may not go", "ERR_FS_CP_EEXIST", async (fs, dir) => {
  await tree(fs, dir);
  await fs.cp(`${dir}/a`, `${dir}/d/b`, { force: false, errorOnExist: true });
});
fails("cp() of a directory over a file", "ERR_FS_CP_DIR_TO_NON_DIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.cp(`${dir}/d`, `${dir}/a`, { recursive: true });
});
fails("cp() of a file over a directory", "ERR_FS_CP_NON_DIR_TO_DIR", async (fs, dir) => {
  await tree(fs, dir);
  await fs.cp(`${dir}/a`, `${dir}/d`, { recursive: true });
});
fails("cp() of nothing", "ENOENT", (fs, dir) => fs.cp(`${dir}/x`, `${dir}/y`));
fails("cp() with options that exclude each other", "ERR_INCOMPATIBLE_OPTION_PAIR", (fs, dir) =>
  fs.cp(dir, `${dir}/y`, { dereference: true, verbatimSymlinks: true }),
);

// --- The rest --------------------------------------------------------------------------------------------------------

add("constants are Node's", async (fs) => [fs.constants.O_CREAT, fs.constants.COPYFILE_EXCL]);
add("functions work without their object", async (fs, dir) => {
  const { readFile, writeFile, readdir } = fs;
  await writeFile(`${dir}/x`, "free");
  return [await readFile(`${dir}/x`, "utf8"), await readdir(dir)];
});
add("parallel operations on many files", async (fs, dir, assert) => {
  await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      const path = `${dir}/${index % 10}/${index}`;
      await fs.mkdir(`${dir}/${index % 10}`, { recursive: true });
      await fs.writeFile(path, `file ${index}`.repeat(index));
      assert.equal(await fs.readFile(path, "utf8"), `file ${index}`.repeat(index));
      if (index % 3 === 0) await fs.rename(path, `${path}.moved`);
      if (index % 7 === 0) await fs.rm(path, { force: true });
    }),
  );
  return (await fs.readdir(dir, { recursive: true })).sort();
});

/** All cases, in an order that does not matter. */
export const cases: readonly Case[] = [...CASES, ...argumentCases];

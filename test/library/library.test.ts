/** The library over the engine: the table compared with node:fs/promises, and what a volume has beyond it. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { constants, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { Prng } from "../../host/base/prng.ts";
import { type OpenVolume, open } from "../../host/mod.ts";
import { Oracle, runCase } from "./compare.ts";
import { cases, type FsPromises, failure } from "./conformance.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const MIB = 1024 * 1024;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
t.comment(`SEED=${seed}`);

const oracle = new Oracle();
t.teardown(() => oracle.close());

/** The whole table, one assertion a case. */
async function conformance(t: Test, volume: OpenVolume): Promise<void> {
  const fs = volume.promises as unknown as FsPromises;
  for (const [index, one] of cases.entries()) {
    const expected = await oracle.outcome(one);
    try {
      assert.deepEqual(await runCase(fs, one, `/case-${index}`), expected);
      t.pass(one.name);
    } catch (error) {
      t.fail(one.name, { difference: (error as Error).stack?.split("\n") });
    }
  }
  t.strictSame(await volume.promises.readdir("/"), [], "nothing is left behind");
}

t.test("conformance in memory", async (t) => {
  const volume = await open({ memory: 512 * MIB });
  await conformance(t, volume);
  await volume.close();
});

t.test("conformance in a file", async (t) => {
  const image = join(t.testdir(), "a.img");
  const volume = await open(image, { create: { name: "file", size: "512M" } });
  await conformance(t, volume);
  await volume.close();
});

t.test("what Node takes for something else, or does not have", async (t) => {
  const volume = await open({ memory: 256 * MIB });
  const fs = volume.promises;
  const handle = await fs.open("/sparse", "w+");
  for (const position of [Number.NaN, 1.5, Infinity, -2, 2 ** 53, -2n, 2n ** 63n]) {
    const range = { name: "RangeError", code: "ERR_OUT_OF_RANGE" };
    await t.rejects(handle.read(Buffer.alloc(4), 0, 4, position), range, `read at ${position}`);
    await t.rejects(handle.write("abcd", position as number), range, `write at ${position}`);
    await t.rejects(handle.writev([Buffer.alloc(4)], position as number), range);
    await t.rejects(handle.readv([Buffer.alloc(4)], position as number), range);
  }
  for (const length of [Number.NaN, 1.5]) {
    await t.rejects(handle.read(Buffer.alloc(4), 0, length, 0), { code: "ERR_OUT_OF_RANGE" });
    await t.rejects(handle.write(Buffer.alloc(4), 0, length, 0), { code: "ERR_OUT_OF_RANGE" });
  }
  await t.rejects(handle.read(Buffer.alloc(4), 0, 4, "0" as never), {
    code: "ERR_INVALID_ARG_TYPE",
  });
  await t.rejects(handle.write(Buffer.alloc(1), 0, 1, Number.MAX_SAFE_INTEGER), { code: "EFBIG" });
  t.equal((await handle.stat()).size, 0, "nothing was written");
  await t.rejects(fs.mkdtemp(""), { code: "EINVAL" });

  await handle.write("start", 0);
  await handle.write("middle", 2 ** 40);
  await handle.truncate(2 ** 50);
  await handle.close();
  await fs.copyFile("/sparse", "/copy");
  const copy = await fs.open("/copy");
  t.equal((await copy.stat()).size, 2 ** 50, "a hole is copied as a hole");
  t.ok((await copy.stat()).blocks < 100);
  t.equal(String((await copy.read(Buffer.alloc(5), 0, 5, 0)).buffer), "start");
  t.equal(String((await copy.read(Buffer.alloc(6), 0, 6, 2 ** 40)).buffer), "middle");
  await copy.close();

  await fs.symlink("copy", "/link");
  const itself = { followSymlinks: false };
  await t.rejects(fs.setXattr("/link", "user.x", "1", itself), { code: "EPERM" });
  await t.rejects(fs.getXattr("/link", "user.x", itself), { code: "ENODATA" });
  await t.rejects(fs.removeXattr("/link", "user.x", itself), { code: "EPERM" });
  await fs.setXattr("/link", "trusted.x", "1", itself);
  t.equal(String(await fs.getXattr("/link", "trusted.x", itself)), "1");
  await volume.close();
});

t.test("rm() of a symlink with a slash leaves the link, and what it leads to", async (t) => {
  const volume = await open({ memory: 64 * MIB });
  const fs = volume.promises;
  await fs.mkdir("/directory/below", { recursive: true });
  await fs.symlink("directory", "/link");
  await fs.rm("/link/", { recursive: true, force: true });
  t.equal(await fs.readlink("/link"), "directory");
  t.same(await fs.readdir("/directory"), ["below"]);
  await t.rejects(fs.rm("/link/"), { code: "ERR_FS_EISDIR" });
  await fs.rm("/link");
  t.same((await fs.readdir("/")).sort(), ["directory"]);
  await volume.close();
});

t.test("open() makes nothing over something", async (t) => {
  const dir = t.testdir();
  const image = join(dir, "a.img");
  await t.rejects(open(image), { code: "ENOENT" }, "nothing is made without being asked for");
  await t.rejects(open(image, { create: { name: "not a name!" } }), { code: "EINVAL" });
  t.notOk(existsSync(image), "a failed create leaves no file");
  writeFileSync(image, "precious");
  await t.rejects(open(image, { create: {} }), { code: "EEXIST" });
  await t.rejects(open(image), { name: "FsError" }, "what is no volume is not opened");
  await t.rejects(open(`${image}:1G`), { code: "EINVAL" }, "a size is for a new volume");
  await t.rejects(open({ memory: 512 * MIB }, { memoryBudget: 1000 }), { code: "EINVAL" });
  await t.rejects(open("nbd://host/disk"), { code: "EOPNOTSUPP" });
});

t.test("a closed volume opens again with everything in it", async (t) => {
  const image = join(t.testdir(), "a.img");
  const first = await open(image, { create: { name: "kept", size: 256 * MIB } });
  const data = Buffer.alloc(5 * MIB + 77);
  new Prng(seed).bytes(data);
  await first.promises.mkdir("/a/b", { recursive: true });
  await first.promises.writeFile("/a/b/big", data);
  for (let index = 0; index < 300; index += 1) {
    await first.promises.writeFile(`/a/${index}`, `small ${index}`, { mode: 0o640 });
  }
  await first.promises.symlink("b/big", "/a/link");
  await first.promises.link("/a/7", "/a/seven");
  await first.promises.setXattr("/a/7", "user.note", "kept too");
  await first.promises.utimes("/a/8", 1_000_000_000.25, 1_000_000_001.5);
  const before = await first.promises.stat("/a/b/big", { bigint: true });
  t.equal(first.name, "kept");
  await first.close();

  for (const readOnly of [false, true]) {
    const again = await open(image, { readOnly });
    const fs = again.promises;
    t.equal(again.name, "kept");
    t.ok((await fs.readFile("/a/link")).equals(data));
    t.equal((await fs.readdir("/a")).length, 303);
    t.equal(await fs.readFile("/a/seven", "utf8"), "small 7");
    t.equal((await fs.stat("/a/7")).nlink, 2);
    t.equal((await fs.stat("/a/8")).mtimeMs, 1_000_000_001_500);
    t.equal((await fs.stat("/a/9")).mode, 0o100640);
    t.equal(String(await fs.getXattr("/a/7", "user.note")), "kept too");
    const after = await fs.stat("/a/b/big", { bigint: true });
    t.equal(after.ino, before.ino);
    t.equal(after.dev, before.dev);
    t.equal(after.mtimeNs, before.mtimeNs);
    await again.close();
  }
});

t.test("a read-only volume refuses changes", async (t) => {
  const image = join(t.testdir(), "a.img");
  const first = await open(image, { create: { name: "ro", size: 256 * MIB } });
  await first.promises.mkdir("/d");
  await first.promises.writeFile("/x", "data");
  await first.close();
  const volume = await open(image, { readOnly: true });
  const fs = volume.promises;
  t.equal(volume.status().state, "read-only");
  const attempts: [string, () => Promise<unknown>][] = [
    ["access", () => fs.access("/x", constants.W_OK)],
    ["writeFile", () => fs.writeFile("/x", "")],
    ["writeFile new", () => fs.writeFile("/y", "")],
    ["open r+", () => fs.open("/x", "r+")],
    ["mkdir", () => fs.mkdir("/e")],
    ["mkdtemp", () => fs.mkdtemp("/t")],
    ["rmdir", () => fs.rmdir("/d")],
    ["unlink", () => fs.unlink("/x")],
    ["rm", () => fs.rm("/d", { recursive: true })],
    ["rename", () => fs.rename("/x", "/y")],
    ["link", () => fs.link("/x", "/y")],
    ["symlink", () => fs.symlink("x", "/y")],
    ["chmod", () => fs.chmod("/x", 0o600)],
    ["chown", () => fs.chown("/x", 1, 1)],
    ["utimes", () => fs.utimes("/x", 1, 1)],
    ["truncate", () => fs.truncate("/x")],
    ["copyFile", () => fs.copyFile("/x", "/y")],
    ["setXattr", () => fs.setXattr("/x", "user.a", "")],
    ["removeXattr", () => fs.removeXattr("/x", "user.a")],
  ];
  for (const [name, attempt] of attempts) await t.rejects(attempt(), { code: "EROFS" }, name);
  await fs.access("/x", constants.R_OK);
  t.equal(await fs.readFile("/x", "utf8"), "data");
  const handle = await fs.open("/x");
  await handle.sync();
  await handle.close();
  await volume.sync();
  await volume.close();
});

t.test("100 MiB written at random offsets", async (t) => {
  const prng = new Prng(seed);
  const size = 100 * MIB;
  const model = Buffer.alloc(size);
  const volume = await open({ memory: 512 * MIB });
  const handle = await volume.promises.open("/big", "w+");
  for (let round = 0; round < 400; round += 1) {
    const length = prng.below(4) === 0 ? prng.below(3 * MIB) : prng.below(20_000);
    let offset = prng.below(size - length);
    if (prng.below(2) === 0) offset -= offset % 4096;
    const data = Buffer.alloc(length);
    prng.bytes(data);
    data.copy(model, offset);
    await handle.write(data, 0, length, offset);
    if (round % 100 === 50) await handle.sync();
  }
  await handle.truncate(size);
  const hash = createHash("sha256");
  for await (const chunk of handle.createReadStream({ start: 0, highWaterMark: MIB })) {
    hash.update(chunk as Buffer);
  }
  t.equal(hash.digest("hex"), createHash("sha256").update(model).digest("hex"));
  const samples = Array.from({ length: 50 }, () => prng.below(size - 100_000));
  const reader = await volume.promises.open("/big");
  for (const offset of samples) {
    const { buffer } = await reader.read(Buffer.alloc(100_000), 0, 100_000, offset);
    if (!buffer.equals(model.subarray(offset, offset + 100_000))) t.fail(`differs at ${offset}`);
  }
  await reader.close();
  await volume.close();
});

t.test("an unlinked file gives its space back when it is closed", async (t) => {
  const volume = await open({ memory: 256 * MIB });
  const fs = volume.promises;
  await volume.sync();
  const before = volume.status().files;
  const handle = await fs.open("/x", "w+");
  await handle.write(Buffer.alloc(8 * MIB, 7));
  await fs.unlink("/x");
  await volume.sync();
  const { buffer } = await handle.read(Buffer.alloc(10), 0, 10, 8 * MIB - 10);
  t.ok(buffer.equals(Buffer.alloc(10, 7)));
  await t.rejects(fs.stat("/x"), { code: "ENOENT" });
  await handle.close();
  // It is freed piece by piece, behind the caller's back.
  for (let turn = 0; turn < 1000 && volume.status().files !== before; turn += 1) {
    await volume.sync();
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal(volume.status().files, before);
  await volume.close();
});

t.test("a full volume says so, and goes on when there is room", async (t) => {
  const volume = await open({ memory: 64 * MIB }, { memoryBudget: 32 * MIB });
  const fs = volume.promises;
  const data = Buffer.alloc(MIB, 1);
  const fill = async (name: string): Promise<number> => {
    for (let count = 0; ; count += 1) {
      try {
        await fs.writeFile(`/${name}-${count}`, data);
      } catch (error) {
        t.match(error, { code: "ENOSPC", syscall: "write" });
        return count;
      }
    }
  };
  const first = await fill("first");
  t.ok(first > 20, "most of the volume is for data");
  for (let index = 0; index < first; index += 1) {
    if (!(await fs.readFile(`/first-${index}`)).equals(data)) t.fail(`file ${index} differs`);
  }
  for (let index = 0; index <= first; index += 1) await fs.unlink(`/first-${index}`);
  await volume.sync();
  for (let turn = 0; turn < 1000 && volume.status().files !== 1; turn += 1) await volume.sync();
  await volume.sync();
  t.ok((await fill("second")) >= first - 2, "the room is there again");
  await volume.close();
});

t.test("two volumes at once know nothing of each other", async (t) => {
  const [one, two] = await Promise.all([
    open({ memory: 128 * MIB }, { create: { name: "one" } }),
    open({ memory: 128 * MIB }, { create: { name: "two" } }),
  ]);
  await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      await one.promises.writeFile(`/${index}`, `one ${index}`);
      await two.promises.writeFile(`/${index}`, `two ${index}`);
    }),
  );
  t.equal(await one.promises.readFile("/7", "utf8"), "one 7");
  t.equal(await two.promises.readFile("/7", "utf8"), "two 7");
  t.strictSame([one.name, two.name], ["one", "two"]);
  t.not((await one.promises.stat("/")).dev, (await two.promises.stat("/")).dev);
  await one.close();
  t.equal(await two.promises.readFile("/8", "utf8"), "two 8");
  await two.close();
});

t.test("200 operations at once, of 64 KiB each", async (t) => {
  const volume = await open({ memory: 512 * MIB }, { memoryBudget: 32 * MIB });
  const fs = volume.promises;
  await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      const data = Buffer.alloc(65_536 + index, index);
      await fs.writeFile(`/${index}`, data);
      await fs.appendFile("/shared", data.subarray(0, 100));
      if (index % 4 === 0) await fs.copyFile(`/${index}`, `/${index}.copy`);
      if (!(await fs.readFile(`/${index}`)).equals(data)) t.fail(`file ${index} differs`);
    }),
  );
  t.equal((await fs.readdir("/")).length, 251);
  t.equal((await fs.stat("/shared")).size, 20_000);
  await volume.close();
});

t.test("files larger than the memory", async (t) => {
  const volume = await open({ memory: 512 * MIB }, { memoryBudget: 32 * MIB });
  const fs = volume.promises;
  const chunk = Buffer.alloc(MIB);
  const hash = createHash("sha256");
  const handle = await fs.open("/big", "w");
  for (let index = 0; index < 128; index += 1) {
    chunk.writeUInt32LE(index, 4 * index);
    hash.update(chunk);
    await handle.write(chunk);
  }
  await handle.close();
  const read = createHash("sha256");
  await pipeline(fs.createReadStream("/big"), read);
  t.equal(read.digest("hex"), hash.digest("hex"));
  await volume.close();
});

t.test("extended attributes", async (t) => {
  const volume = await open({ memory: 128 * MIB });
  const fs = volume.promises;
  await fs.writeFile("/x", "");
  await fs.symlink("x", "/link");
  t.strictSame(await fs.listXattr("/x"), []);
  await fs.setXattr("/x", "user.one", "1");
  await fs.setXattr("/link", "user.two", Buffer.alloc(6000, 2));
  t.strictSame((await fs.listXattr("/x")).sort(), ["user.one", "user.two"]);
  t.equal(String(await fs.getXattr("/link", "user.one")), "1");
  t.ok((await fs.getXattr("/x", "user.two")).equals(Buffer.alloc(6000, 2)));
  await t.rejects(fs.getXattr("/x", "user.none"), {
    code: "ENODATA",
    message: "ENODATA: no data available, getxattr '/x'",
  });
  await t.rejects(fs.setXattr("/x", "user.one", "", { create: true }), { code: "EEXIST" });
  await t.rejects(fs.setXattr("/x", "user.none", "", { replace: true }), { code: "ENODATA" });
  await t.rejects(fs.setXattr("/x", "user.big", Buffer.alloc(70_000)), { code: "E2BIG" });
  await fs.removeXattr("/x", "user.two");
  await t.rejects(fs.removeXattr("/x", "user.two"), { code: "ENODATA" });
  t.strictSame(await fs.listXattr("/link", { followSymlinks: false }), []);
  await volume.close();
});

t.test("a copied file shares blocks until one of the two is written", async (t) => {
  const volume = await open({ memory: 128 * MIB });
  const fs = volume.promises;
  const content = Buffer.alloc(20 * MIB);
  new Prng(seed).bytes(content);
  await fs.writeFile("/original", content);
  await fs.copyFile("/original", "/warm");
  await fs.rm("/warm");
  const before = await fs.statfs("/");
  for (let index = 0; index < 10; index++)
    await fs.copyFile("/original", `/copy-${index}`, constants.COPYFILE_FICLONE_FORCE);
  const after = await fs.statfs("/");
  t.ok((before.bavail - after.bavail) * before.bsize < 10 * MIB, "200 MiB take less than 10");
  const handle = await fs.open("/copy-3", "r+");
  await handle.write(Buffer.from("changed"), 0, 7, 5 * MIB);
  await handle.close();
  t.ok((await fs.readFile("/original")).equals(content));
  t.ok((await fs.readFile("/copy-4")).equals(content));
  content.write("changed", 5 * MIB);
  t.ok((await fs.readFile("/copy-3")).equals(content));
  await volume.close();
});

t.test("streams by path", async (t) => {
  const volume = await open({ memory: 128 * MIB });
  const fs = volume.promises;
  const data = Buffer.alloc(3 * MIB);
  new Prng(seed).bytes(data);
  await pipeline(
    Readable.from([data.subarray(0, 1000), data.subarray(1000)]),
    fs.createWriteStream("/x"),
  );
  t.ok((await fs.readFile("/x")).equals(data));
  const parts: Buffer[] = [];
  for await (const chunk of fs.createReadStream("/x", { start: 10, end: 2 * MIB })) {
    parts.push(chunk as Buffer);
  }
  t.ok(Buffer.concat(parts).equals(data.subarray(10, 2 * MIB + 1)));
  const missing = fs.createReadStream("/missing");
  const [error] = await once(missing, "error");
  t.equal((error as { code: string }).code, "ENOENT");
  const text = await new Response(fs.readable("/x")).arrayBuffer();
  t.ok(Buffer.from(text).equals(data));
  const reader = fs.readable("/x").getReader();
  t.ok((await reader.read()).value!.length > 0);
  await reader.cancel();
  await t.rejects(fs.readable("/missing").getReader().read(), { code: "ENOENT" });
  await fs.writeFile("/y", fs.createReadStream("/x"));
  t.ok((await fs.readFile("/y")).equals(data));
  await volume.close();
});

t.test("a volume is Node's fs for those who take { promises }", async (t) => {
  const volume = await open({ memory: 64 * MIB });
  t.ok(Object.keys(volume.promises).includes("readFile"));
  const sync = volume as unknown as { readFileSync(path: string): void };
  t.throws(() => sync.readFileSync("/x"), {
    code: "ERR_METHOD_NOT_IMPLEMENTED",
    message: /use promises\.readFile\(\)/,
  });
  const watch = volume.promises.watch("/");
  await t.rejects(watch.next(), { code: "ENOSYS", syscall: "watch" });
  t.equal(typeof volume.status().sizeBytes, "number");
  t.doesNotThrow(() => JSON.stringify(volume.status()));
  await volume.close();
});

t.test("close() waits for what is under way, and nothing works after it", async (t) => {
  const image = join(t.testdir(), "a.img");
  const volume = await open(image, { create: { name: "closing", size: 256 * MIB } });
  const handle = await volume.promises.open("/kept", "w");
  const forgotten = await volume.promises.open("/forgotten", "w");
  const directory = await volume.promises.opendir("/");
  const write = volume.promises.writeFile("/x", Buffer.alloc(3 * MIB, 1));
  const close = volume.close();
  await t.rejects(volume.promises.readFile("/x"), {
    code: "ERR_VOLUME_CLOSED",
    message: 'The volume "closing" is closed',
  });
  await write;
  await close;
  await volume.close();
  t.equal(handle.fd, -1);
  t.match(await failure(forgotten.write("x"), "\0"), { code: "EBADF" });
  t.match(await failure(directory.read(), "\0"), { code: "ERR_DIR_CLOSED" });
  await t.rejects(volume.sync(), { code: "ERR_VOLUME_CLOSED" });
  t.equal(volume.status().pool, "closing", "the last status stays");
  const again = await open(image);
  t.equal((await again.promises.stat("/x")).size, 3 * MIB);
  await again.close();
});

t.test("the process ends when every volume is closed", async (t) => {
  const module = fileURLToPath(new URL("../../host/mod.js", import.meta.url));
  const script = `
    const { open } = await import(${JSON.stringify(module)});
    const volume = await open({ memory: ${128 * MIB} });
    await volume.promises.writeFile("/x", "end");
    process.stdout.write(await volume.promises.readFile("/x", "utf8"));
    await volume.close();`;
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script]);
  t.equal(stdout, "end");
});

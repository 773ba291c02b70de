/**
 * What host/DURABILITY.md promises of the library's calls: a process that dies right after one of them, and another that
 * opens what it left.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { type OpenVolume, open } from "../../host/mod.ts";

t.setTimeout(600_000);
const MODULE = fileURLToPath(new URL("../../host/mod.js", import.meta.url));
const CONTENT = `const content = (length, seed) => Buffer.from(Array.from({ length }, (_, i) => (i * 31 + (i >> 8) + seed) % 251));`;

function content(length: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 31 + (i >> 8) + seed) % 251));
}

/** Runs lines with a new volume in a process that then kills itself. @returns The volume, opened again. */
async function afterDeath(t: Test, lines: string): Promise<OpenVolume> {
  const folder = mkdtempSync(join(tmpdir(), "dynamicfs-durability-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const image = join(folder, "a.img");
  const script = `
    const { open } = await import(${JSON.stringify(MODULE)});
    const volume = await open(${JSON.stringify(image)}, { create: { size: "128M" }, checkpointSeconds: 3600 });
    const fs = volume.promises;
    ${CONTENT}
    ${lines}
    process.kill(process.pid, "SIGKILL");
    await new Promise(() => setTimeout(() => {}, 1e6));`;
  const { signal, stderr } = spawnSync(
    process.execPath,
    ["--input-type=module", "--eval", script],
    { encoding: "utf8" },
  );
  t.equal(signal, "SIGKILL", stderr);
  const volume = await open(image);
  t.teardown(() => volume.close());
  return volume;
}

t.test("file.sync(), datasync(), flush and O_SYNC: the file, and all names before", async (t) => {
  const { promises } = await afterDeath(
    t,
    `
    await fs.mkdir("/d");
    for (const [name, call] of [["sync", "sync"], ["datasync", "datasync"]]) {
      const file = await fs.open("/d/" + name, "w");
      await file.writeFile(content(200_000, 1)); await file.chmod(0o640); await file[call]();
    }
    await fs.writeFile("/d/flush", content(200_000, 1), { flush: true });
    const file = await fs.open("/d/flags", "as");
    await file.appendFile(content(200_000, 1));
    const stream = (await fs.open("/d/stream", "w")).createWriteStream({ flush: true });
    await new Promise((resolve, reject) => stream.on("error", reject).on("close", resolve).end(content(200_000, 1)));`,
  );
  for (const name of ["sync", "datasync", "flush", "flags", "stream"]) {
    t.ok((await promises.readFile(`/d/${name}`)).equals(content(200_000, 1)), name);
  }
  t.equal((await promises.stat("/d/sync")).mode & 0o777, 0o640);
});

t.test("volume.sync(): everything", async (t) => {
  const { promises } = await afterDeath(
    t,
    `
    await fs.mkdir("/d");
    for (const size of [0, 100, 5000, 900_000]) await fs.writeFile("/d/" + size, content(size, size));
    await fs.rename("/d/100", "/d/moved"); await fs.link("/d/5000", "/linked");
    await volume.sync();`,
  );
  t.same((await promises.readdir("/d")).sort(), ["0", "5000", "900000", "moved"]);
  t.ok((await promises.readFile("/d/moved")).equals(content(100, 100)));
  t.ok((await promises.readFile("/d/900000")).equals(content(900_000, 900_000)));
  t.equal((await promises.stat("/linked")).nlink, 2);
});

t.test("volume.close(): everything, and nothing is left to recover", async (t) => {
  const volume = await afterDeath(
    t,
    `
    const file = await fs.open("/left open", "w"); await file.write(content(900_000, 3));
    await volume.close();`,
  );
  t.ok((await volume.promises.readFile("/left open")).equals(content(900_000, 3)));
  t.equal(volume.status().journal.replayedTransactions, 0);
});

t.test("without a sync: a file that was renamed into place is whole, or the old one", async (t) => {
  const { promises } = await afterDeath(
    t,
    `
    await fs.writeFile("/f", content(300_000, 1)); await volume.sync();
    await fs.writeFile("/f.tmp", content(300_000, 2)); await fs.rename("/f.tmp", "/f");
    await fs.writeFile("/other", "x", { flush: true });`,
  );
  // The fsync of another file made the rename durable.
  t.ok((await promises.readFile("/f")).equals(content(300_000, 2)));
});

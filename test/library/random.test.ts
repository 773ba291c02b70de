/** Any sequence of operations has the outcomes that node:fs/promises has, and leaves the same tree. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import * as nodeFs from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import { open } from "../../host/mod.ts";
import { type FsPromises, failure } from "./conformance.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const MIB = 1024 * 1024;
const ROUNDS = 1500;
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
t.comment(`SEED=${seed}`);

type Operation = (fs: FsPromises, dir: string) => Promise<unknown>;

/** One operation with its arguments; the paths are few, so that they meet. */
function randomOperation(prng: Prng): [string, Operation] {
  const name = (): string => ["a", "b", "c", "link"][prng.below(4)]!;
  const path = (): string => {
    let text = name();
    while (prng.below(3) === 0) text += `/${name()}`;
    return prng.below(15) === 0 ? `${text}/` : text;
  };
  // Only what changes nothing goes up, so that nothing outside of the scratch directory is touched.
  const upward = `${path()}/../${path()}`;
  const look = prng.below(8) === 0 ? upward : path();
  const one = path();
  const two = path();
  const length = prng.below(3) === 0 ? prng.below(100_000) : prng.below(100);
  const offset = prng.below(50_000);
  const data = Buffer.alloc(length, 1 + prng.below(255));
  const mode = prng.below(0o10000) & ~0o6000;
  const target = prng.below(4) === 0 ? `../${name()}` : name();
  const table: [string, Operation][] = [
    ["mkdir", (fs, dir) => fs.mkdir(`${dir}/${one}`)],
    [
      "mkdirp",
      async (fs, dir) =>
        (await fs.mkdir(`${dir}/${one}/${two}`, { recursive: true })) !== undefined,
    ],
    ["rmdir", (fs, dir) => fs.rmdir(`${dir}/${one}`)],
    ["unlink", (fs, dir) => fs.unlink(`${dir}/${one}`)],
    ["rename", (fs, dir) => fs.rename(`${dir}/${one}`, `${dir}/${two}`)],
    ["link", (fs, dir) => fs.link(`${dir}/${one}`, `${dir}/${two}`)],
    ["symlink", (fs, dir) => fs.symlink(target, `${dir}/${one}`)],
    ["write", (fs, dir) => fs.writeFile(`${dir}/${one}`, data)],
    ["write", (fs, dir) => fs.writeFile(`${dir}/${one}`, data, { flag: "wx" })],
    ["append", (fs, dir) => fs.appendFile(`${dir}/${one}`, data)],
    ["truncate", (fs, dir) => fs.truncate(`${dir}/${one}`, offset)],
    [
      "patch",
      async (fs, dir) => {
        const handle = await fs.open(`${dir}/${one}`, "r+");
        try {
          return (await handle.write(data, 0, data.length, offset)).bytesWritten;
        } finally {
          await handle.close();
        }
      },
    ],
    ["read", (fs, dir) => fs.readFile(`${dir}/${look}`)],
    ["readdir", (fs, dir) => fs.readdir(`${dir}/${look}`)],
    ["readlink", (fs, dir) => fs.readlink(`${dir}/${look}`)],
    [
      "realpath",
      async (fs, dir) =>
        (await fs.realpath(`${dir}/${look}`)).slice((await fs.realpath(dir)).length),
    ],
    ["chmod", (fs, dir) => fs.chmod(`${dir}/${one}`, mode)],
    ["lutimes", (fs, dir) => fs.lutimes(`${dir}/${one}`, offset, length)],
    [
      "copy",
      async (fs, dir) => {
        // Node removes the destination when the source turns out to be a directory; we do not.
        if ((await fs.stat(`${dir}/${one}`)).isDirectory()) return "directory";
        return await fs.copyFile(`${dir}/${one}`, `${dir}/${two}`);
      },
    ],
    ["rm", (fs, dir) => fs.rm(`${dir}/${one}`, { recursive: prng.below(2) === 0, force: true })],
    [
      "stat",
      async (fs, dir) => {
        const { mode, nlink, size, uid, gid } = await fs.stat(`${dir}/${look}`);
        const isDirectory = (mode & 0o170000) === 0o040000;
        return [mode, nlink, isDirectory ? 0 : size, uid, gid];
      },
    ],
  ];
  const [kind, operation] = table[prng.below(table.length)]!;
  return [`${kind} ${one} ${two} ${look} ${length} ${offset}`, operation];
}

async function outcome(fs: FsPromises, dir: string, operation: Operation): Promise<unknown> {
  let value: unknown;
  try {
    value = await operation(fs, dir);
  } catch (error) {
    return await failure(Promise.reject(error), dir);
  }
  return value;
}

/** Everything of a tree but its inode numbers and the times that move by themselves. */
async function snapshot(fs: FsPromises, dir: string): Promise<unknown[]> {
  const seen: unknown[] = [];
  for (const entry of await fs.readdir(dir, { withFileTypes: true })) {
    const path = `${dir}/${entry.name}`;
    const { mode, nlink, size } = await fs.lstat(path);
    if (entry.isDirectory()) seen.push([entry.name, mode, nlink, await snapshot(fs, path)]);
    else if (entry.isSymbolicLink()) seen.push([entry.name, size, await fs.readlink(path)]);
    else seen.push([entry.name, mode, nlink, size, await fs.readFile(path)]);
  }
  return seen;
}

t.test(`${ROUNDS} random operations`, async (t) => {
  const scratch = t.testdir();
  // Symlinks lead one directory up at most.
  const theirs = join(scratch, "t/w");
  const ours = "/t/w";
  const image = join(scratch, "a.img");
  let volume = await open(image, {
    create: { name: "random", size: 512 * MIB },
    memoryBudget: 32 * MIB,
  });
  await nodeFs.mkdir(theirs, { recursive: true });
  await volume.promises.mkdir(ours, { recursive: true });
  for (let round = 0; round < ROUNDS; round += 1) {
    const make = (): [string, Operation] => randomOperation(new Prng(seed * 1_000_003 + round));
    const expected = await outcome(nodeFs, theirs, make()[1]);
    const [name, operation] = make();
    if (process.env["TRACE"] !== undefined) console.error(round, name, expected);
    const seen = await outcome(volume.promises as unknown as FsPromises, ours, operation);
    try {
      assert.deepEqual(seen, expected);
    } catch (error) {
      t.fail(`round ${round}: ${name}`, { difference: (error as Error).stack?.split("\n") });
      break;
    }
    if (round % 500 === 499) {
      await volume.close();
      volume = await open(image, { memoryBudget: 32 * MIB });
      const fs = volume.promises as unknown as FsPromises;
      assert.deepEqual(await snapshot(fs, ours), await snapshot(nodeFs, theirs));
      t.pass(`the same tree after ${round + 1} operations, closed and opened again`);
    }
  }
  await volume.close();
});

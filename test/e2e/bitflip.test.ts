/**
 * Bits that turn over at random places of a device. Hundreds of rounds in this process, on copies of one image, and a few
 * on a real mount. Whatever happens, a read gives the right bytes or an error, never wrong ones; the log names the place;
 * and metadata, of which there are two copies, survives a single flip anywhere.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import t, { type Test } from "tap";
import { FsError } from "../../host/base/fs_error.ts";
import { Prng } from "../../host/base/prng.ts";
import type { Task } from "../../host/base/task.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { Attributes, type FileSystem, ROOT_INO } from "../../host/fs/file_system.ts";
import { mountVolume } from "../../host/fs/volume.ts";
import { manifest, packageFolders } from "../support/file_tree.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { mountImpossible, programsMissing, python, shell, withMount } from "../support/mount.ts";
import { sampleVolume } from "../support/sample_volume.ts";

t.setTimeout(900_000);
const SEED = Number(process.env["TEST_SEED"] ?? Math.floor(Math.random() * 1e9));
const EIO = -5;
const EUCLEAN = -117;
const EBADMSG = -74;
const DAMAGE = [EIO, EUCLEAN, EBADMSG];

/** All that can be seen of a volume: for each path its attributes and data, or the error met there. */
type Picture = Map<string, string>;

function look(engine: MemoryEngine, fs: FileSystem): Picture {
  const picture: Picture = new Map();
  const out = new Attributes();
  const visit = (ino: number, path: string): void => {
    const status = attempt(engine, () => fs.getAttributes(ino, out));
    if (status < 0) {
      picture.set(path, `attributes: ${status}`);
      return;
    }
    const { mode, nlink, size, mtime, mtimeNs, rdev } = out;
    picture.set(path, JSON.stringify({ mode, nlink, size, mtime, mtimeNs, rdev }));
    const type = mode & 0o170000;
    if (type === 0o100000) picture.set(`${path}: data`, data(engine, fs, ino, size));
    if (type === 0o040000) list(ino, path);
  };
  const list = (ino: number, path: string): void => {
    const entries: [string, number][] = [];
    let cookie = 0;
    for (;;) {
      let taken = 0;
      const status = attempt(engine, () => {
        taken = 0;
        const found: [string, number, number][] = [];
        const result = fs.readDirectory(ino, cookie, (child, _type, address, length, next) => {
          found.push([
            Buffer.from(engine.core.bytes.subarray(address, address + length)).toString(),
            child,
            next,
          ]);
          return true;
        });
        for (const [name, child, next] of found) {
          if (name !== "." && name !== "..") entries.push([name, child]);
          cookie = next;
          taken += 1;
        }
        return result;
      });
      if (status < 0) {
        picture.set(`${path}/`, `list: ${status}`);
        break;
      }
      if (taken === 0) break;
    }
    for (const [name, child] of entries) visit(child, `${path}/${name}`);
  };
  visit(ROOT_INO, "");
  return picture;
}

function attempt(engine: MemoryEngine, operation: () => number): number {
  try {
    return engine.retry(operation);
  } catch (error) {
    if (error instanceof FsError) return error.errno;
    throw error;
  }
}

/** Bytes of a file as text that can be compared; holes of the sample are large, so only what is not zero counts. */
function data(engine: MemoryEngine, fs: FileSystem, ino: number, size: number): string {
  let sum = 0;
  const PART = 256 * 1024;
  for (let at = 0; at < size; ) {
    const start = attempt(engine, () => fs.seek(ino, at, 3));
    if (start === -6) break;
    if (start < 0) return `seek: ${start}`;
    at = start;
    let status = 0;
    let length = 0;
    let isDone = false;
    fs.read(ino, at, Math.min(PART, size - at), (result) => {
      status = result.status;
      length = result.byteLength;
      let offset = at;
      for (let part = 0; part < result.parts; part++) {
        const address = result.addresses[part]!;
        const bytes = engine.core.bytes.subarray(address, address + result.byteLengths[part]!);
        for (const byte of bytes) {
          if (byte !== 0) sum = (Math.imul(sum, 31) + byte + (offset % 65_521)) | 0;
          offset += 1;
        }
      }
      result.release();
      isDone = true;
    });
    engine.drain();
    if (!isDone) throw new Error("A read never ended");
    if (status < 0) return `read: ${status}`;
    if (length === 0) break;
    at += length;
  }
  return String(sum);
}

/** What differs between two pictures, errors of damage set aside. */
function compare(right: Picture, seen: Picture): { wrong: string[]; refused: string[] } {
  const wrong: string[] = [];
  const refused: string[] = [];
  const isError = (text: string): boolean =>
    DAMAGE.some((code) => /^[a-z]+: -\d+$/.test(text) && text.endsWith(`: ${code}`));
  for (const [path, text] of seen) {
    if (right.get(path) === text) continue;
    if (isError(text)) refused.push(`${path} ${text}`);
    else wrong.push(`${path}: ${text} and not ${right.get(path)}`);
  }
  const unlisted = [...seen].filter(([, text]) => isError(text)).map(([path]) => path);
  for (const path of right.keys()) {
    if (seen.has(path)) continue;
    if (!unlisted.some((each) => path.startsWith(each))) wrong.push(`${path} is missing`);
  }
  return { wrong, refused };
}

/** Places worth turning: those that hold anything. */
function usedBlocks(contents: SparseBytes): number[] {
  const block = new Uint8Array(4096);
  const used: number[] = [];
  for (let at = 0; at < contents.sizeBytes; at += 4096) {
    contents.read(at, block);
    if (block.some((byte) => byte !== 0)) used.push(at);
  }
  return used;
}

function open(
  contents: SparseBytes,
  sizeBytes: number,
): { engine: MemoryEngine; picture: Picture | number; unmounted: boolean } {
  const engine = new MemoryEngine({ memoryBytes: 32 << 20 });
  try {
    const volume = engine.run(
      mountVolume(engine.environment, [engine.device(sizeBytes, contents)], { readOnly: false }),
    );
    const picture = look(engine, volume.fs);
    let unmounted = true;
    try {
      engine.run(volume.unmount() as Task<void>);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      unmounted = false;
    }
    return { engine, picture, unmounted };
  } catch (error) {
    if (error instanceof FsError) return { engine, picture: error.errno, unmounted: false };
    throw error;
  }
}

function rounds(t: Test, count: number, flips: (prng: Prng) => number, isSingle: boolean): void {
  const { contents, sizeBytes } = sampleVolume();
  // Once without damage: recovery has run, orphans are gone.
  const { picture: right } = open(contents, sizeBytes);
  if (typeof right === "number") throw new Error(`The sample does not mount: ${right}`);
  t.ok(right.size > 400);
  const used = usedBlocks(contents);
  let refusals = 0;
  let unmountable = 0;
  for (let round = 0; round < count; round++) {
    const seed = SEED + round;
    const prng = new Prng(seed);
    const copy = contents.clone();
    for (let left = flips(prng); left > 0; left--) {
      const block = used[prng.below(used.length)]!;
      copy.flipBit(block + prng.below(4096), prng.below(8));
    }
    const { engine, picture } = open(copy, sizeBytes);
    const logged = engine.logged.filter(({ level }) => level !== "info");
    if (typeof picture === "number") {
      unmountable += 1;
      if (isSingle || !DAMAGE.includes(picture)) t.fail(`seed ${seed}: does not mount: ${picture}`);
      continue;
    }
    const { wrong, refused } = compare(right, picture);
    if (wrong.length > 0) t.fail(`seed ${seed}: ${wrong.slice(0, 3).join("; ")}`);
    if (refused.length > 0) {
      refusals += 1;
      const names = logged.some(({ fields }) => "ino" in fields || "block" in fields);
      if (!names) t.fail(`seed ${seed}: ${refused[0]} and no log line names a place`);
      const metadata = refused.filter((text) => !text.includes(": data read: "));
      if (isSingle && metadata.length > 0) t.fail(`seed ${seed}: metadata lost: ${metadata[0]}`);
      // Clones share their blocks, and the damage of them.
      const own = refused.filter((text) => !text.startsWith("/clone"));
      const expected = own.length === refused.length ? 1 : 0;
      if (isSingle && own.length > expected)
        t.fail(`seed ${seed}: one flip, ${refused.length} files`);
    }
  }
  t.comment(
    `seed ${SEED}: ${count} rounds, ${refusals} with files refused, ${unmountable} not mountable`,
  );
  t.ok(refusals > 0, "some flips hit data: the test can fail");
}

t.test("one bit anywhere: metadata survives", (t) => {
  rounds(t, 300, () => 1, true);
  t.end();
});

t.test("up to 200 bits: right, or an error", (t) => {
  rounds(t, 150, (prng) => 2 + prng.below(199), false);
  t.end();
});

const skip = (await mountImpossible()) || programsMissing("python3", "tar");

/** Reads everything below; prints paths that could not be read, with the error. */
const READ = `
import errno, hashlib, json, os, sys
os.chdir(sys.argv[1]); seen, refused = {}, {}
def failed(error): refused[os.path.relpath(error.filename, ".")] = errno.errorcode[error.errno]
for top, dirs, files in os.walk(".", onerror=failed):
    for name in files:
        path = os.path.relpath(os.path.join(top, name), ".")
        try:
            if not os.path.islink(path): seen[path] = hashlib.sha256(open(path, "rb").read()).hexdigest()
        except OSError as error: refused[path] = errno.errorcode[error.errno]
print(json.dumps([seen, refused]))
`;

t.test("on a real mount", { skip, timeout: 600_000 }, async (t) => {
  await withMount({ size: "512M", limitSeconds: 500 }, async (mounted) => {
    const { root, folders } = packageFolders(2000);
    await shell(`tar cf - -C ${root} ${folders.join(" ")} | tar xf - -C .`, mounted.directory);
    const [right] = JSON.parse(await python(READ, [mounted.directory])) as [Record<string, string>];
    t.ok(Object.keys(right).length >= 2000 && (await manifest(mounted.directory)).length > 0);
    await mounted.umount();
    const pristine = `${mounted.outside}/pristine.img`;
    await shell(`cp --sparse=always ${mounted.image} ${pristine}`, mounted.outside);
    let refusedInAll = 0;
    for (let round = 0; round < 3; round++) {
      const prng = new Prng(SEED + round);
      await shell(`cp --sparse=always ${pristine} ${mounted.image}`, mounted.outside);
      const flipped = flipImage(mounted.image, prng, 25);
      await mounted.mount();
      const [seen, refused] = JSON.parse(await python(READ, [mounted.directory])) as [
        Record<string, string>,
        Record<string, string>,
      ];
      const wrong = Object.entries(seen).filter(([path, sum]) => right[path] !== sum);
      t.same(wrong, [], `seed ${SEED + round}: what can be read is right`);
      const missing = Object.keys(right).filter(
        (path) =>
          !(path in seen) &&
          !Object.keys(refused).some((each) => path === each || path.startsWith(`${each}/`)),
      );
      t.same(missing, [], "nothing is missing without an error");
      t.same(
        Object.values(refused).filter((code) => code !== "EIO"),
        [],
        "the error is EIO",
      );
      const damaged = Object.keys(refused);
      refusedInAll += damaged.length;
      if (damaged.length > 0) {
        t.match(mounted.log(), /data\.damaged|page\.damaged/, "and the log names the place");
      }
      t.comment(`${flipped} bits turned, ${damaged.length} files refused`);
      await mounted.umount();
    }
    t.ok(refusedInAll > 0, "some bits hit data: the test can fail");
    t.match(mounted.log(), /page\.healed|page\.damaged|data\.damaged/);
  });
});

/** Turns bits in blocks of the image that hold something. @returns How many. */
function flipImage(image: string, prng: Prng, count: number): number {
  const fd = openSync(image, "r+");
  const block = Buffer.alloc(4096);
  let flipped = 0;
  const blocks = fstatSync(fd).size / 4096;
  while (flipped < count) {
    const at = prng.below(blocks) * 4096;
    readSync(fd, block, 0, 4096, at);
    if (block.every((byte) => byte === 0)) continue;
    const byte = prng.below(4096);
    block[byte] = block[byte]! ^ (1 << prng.below(8));
    writeSync(fd, block, 0, 4096, at);
    flipped += 1;
  }
  closeSync(fd);
  return flipped;
}

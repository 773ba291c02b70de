/**
 * `dynamicfs fsck --repair` on an image file, as a user meets it: what the disk lost is named and not given up without
 * --yes, the rest is where it was, and everything is said in JSON, too.
 */
import { Buffer } from "node:buffer";
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import t from "tap";
import { loadCore } from "../../host/core/load.ts";
import { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { open } from "../../host/mod.ts";
import { Sandbox } from "../support/cli.ts";
import { ImageEditor } from "../support/image_editor.ts";

t.setTimeout(900_000);

const MIB = 2 ** 20;
const DIRECTORIES = 8;
const FILES = 150;
const TREE_FILES = 1;

/** What a file holds: some in the tree, some in blocks of their own. */
const textOf = (directory: number, file: number): string =>
  `file ${file} of directory ${directory}\n`.repeat(1 + (file % 5) * 40);

async function makeVolume(image: string): Promise<void> {
  const volume = await open(image, { create: { name: "tank", size: "64M" } });
  try {
    const fs = volume.promises;
    for (let directory = 0; directory < DIRECTORIES; directory++) {
      await fs.mkdir(`/directory ${directory}`);
      for (let file = 0; file < FILES; file++)
        await fs.writeFile(`/directory ${directory}/file ${file}`, textOf(directory, file));
    }
  } finally {
    await volume.close();
  }
}

/** Changes an image file as a disk, or a bug, might. */
function damage(image: string, change: (editor: ImageEditor) => void): void {
  const sizeBytes = statSync(image).size;
  const contents = new SparseBytes(sizeBytes, 65_536);
  const chunk = Buffer.alloc(MIB);
  const file = openSync(image, "r+");
  try {
    for (let at = 0; at < sizeBytes; at += MIB) {
      readSync(file, chunk, 0, MIB, at);
      if (chunk.some((byte) => byte !== 0)) contents.write(at, chunk);
    }
    change(new ImageEditor(loadCore({ memoryPages: 64 }), contents, sizeBytes));
    for (let at = 0; at < sizeBytes; at += MIB) {
      contents.read(at, chunk);
      writeSync(file, chunk, 0, MIB, at);
    }
  } finally {
    closeSync(file);
  }
}

/** Files whose contents are right, and the names in lost+found. */
async function readVolume(image: string): Promise<{ right: number; found: string[] }> {
  const volume = await open(image);
  try {
    const fs = volume.promises;
    let right = 0;
    let found: string[] = [];
    for (const name of (await fs.readdir("/")) as string[]) {
      if (name === "lost+found") found = (await fs.readdir("/lost+found")) as string[];
      const directory = Number(/^directory (\d)$/.exec(name)?.[1] ?? -1);
      if (directory < 0) continue;
      for (const file of (await fs.readdir(`/${name}`)) as string[]) {
        const text = (await fs.readFile(`/${name}/${file}`, "utf8")) as string;
        if (text === textOf(directory, Number(file.slice(5)))) right++;
      }
    }
    return { right, found };
  } finally {
    await volume.close();
  }
}

t.test("counts and links are put right, and nothing is lost", async (t) => {
  const sandbox = new Sandbox();
  t.teardown(() => sandbox.close());
  const image = sandbox.path("a.img");
  await makeVolume(image);
  t.match(sandbox.run("fsck", "a.img", "--repair"), { code: 0, out: "clean\n" });
  damage(image, (editor) => {
    for (const { key } of editor
      .items(TREE_FILES)
      .filter(({ key }) => key.type === 1)
      .slice(5, 9))
      editor.editItem(TREE_FILES, key, (inode) => inode.setUint32(4, 7, true));
  });
  t.match(sandbox.run("fsck", "a.img"), { code: 11, out: /DFS-FSCK-NLINK/ });
  const before = readFileSync(image);
  const trial = sandbox.run("fsck", "a.img", "--repair", "--dry-run");
  t.match(trial, { code: 11, out: /a repair would do this: 4 errors/ });
  t.ok(before.equals(readFileSync(image)), "a trial writes nothing");
  const repaired = sandbox.run("fsck", "a.img", "--repair", "--json");
  t.equal(repaired.code, 0, repaired.err);
  t.match(JSON.parse(repaired.out), {
    schema: "dynamicfs.fsck/1",
    clean: true,
    repair: {
      state: "done",
      changed: true,
      lostCount: 0,
      errorCodesBefore: { "DFS-FSCK-NLINK": 4 },
    },
  });
  t.match(sandbox.run("fsck", "a.img"), { code: 0, out: "clean\n" });
  t.same(await readVolume(image), { right: DIRECTORIES * FILES, found: [] });
});

t.test("what is lost is named, and given up only when that is agreed to", async (t) => {
  const sandbox = new Sandbox();
  t.teardown(() => sandbox.close());
  const image = sandbox.path("a.img");
  await makeVolume(image);
  damage(image, (editor) => {
    // Both copies of a leaf somewhere in the middle.
    const items = editor.items(TREE_FILES);
    const key = items[items.length >> 1]?.key ?? { oid: 1, type: 1, offset: 0 };
    for (const block of editor.path(TREE_FILES, key).at(-1)?.blocks ?? [])
      editor.flip(block + 1, 500);
  });
  const before = readFileSync(image);
  const refused = sandbox.run("fsck", "a.img", "--repair");
  t.match(refused, { code: 9, out: /would be: lost at .*--yes agrees to it\n$/s });
  t.ok(before.equals(readFileSync(image)), "and nothing is written");
  const repaired = sandbox.run("fsck", "a.img", "--repair", "--yes", "--json");
  t.equal(repaired.code, 3, repaired.err);
  const report = JSON.parse(repaired.out);
  t.ok(report.clean && report.repair.lostCount > 0);
  t.match(sandbox.run("fsck", "a.img"), { code: 0, out: "clean\n" });
  const { right } = await readVolume(image);
  // A leaf holds some dozens of files.
  t.ok(
    right > DIRECTORIES * FILES - 300 && right < DIRECTORIES * FILES,
    `${right} files are right`,
  );
  t.match(sandbox.run("fsck", "a.img"), { code: 0, out: "clean\n" }, "and it stays clean in use");
  t.same(
    readdirSync(sandbox.directory).filter((name) => name.startsWith("a.img")),
    ["a.img"],
  );
});

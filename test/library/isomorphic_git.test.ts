/** isomorphic-git works on a volume as it is: two hundred files, branches, and everything there after reopening. */
import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import * as nodeFs from "node:fs/promises";
import { join } from "node:path";
import git from "isomorphic-git";
import t from "tap";
import { type OpenVolume, open } from "../../host/mod.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const author = {
  name: "Ada",
  email: "ada@example.org",
  timestamp: 1_700_000_000,
  timezoneOffset: 0,
};
const dir = "/repo";

function isGitThere(): boolean {
  try {
    execFileSync("git", ["--version"]);
    return true;
  } catch {
    return false;
  }
}

/** Copies a tree out of a volume. */
async function copyOut(volume: OpenVolume, from: string, to: string): Promise<void> {
  await nodeFs.mkdir(to, { recursive: true });
  for (const entry of await volume.promises.readdir(from, { withFileTypes: true })) {
    const source = `${from}/${entry.name}`;
    const target = join(to, entry.name);
    if (entry.isDirectory()) await copyOut(volume, source, target);
    else if (entry.isSymbolicLink()) {
      await nodeFs.symlink(await volume.promises.readlink(source), target);
    } else await nodeFs.writeFile(target, await volume.promises.readFile(source));
  }
}

t.test("init, add, commit, branch, checkout, status, log, reopen, fsck", async (t) => {
  const scratch = t.testdir();
  const image = join(scratch, "a.img");
  let volume = await open(image, { create: { name: "git", size: "256M" } });
  let fs: object = volume;
  await volume.promises.mkdir(dir);
  await git.init({ fs: fs as typeof nodeFs, dir, defaultBranch: "main" });
  const names: string[] = [];
  for (let index = 0; index < 200; index += 1) {
    const name = `src/${index % 10}/file-${index}.txt`;
    await volume.promises.mkdir(`${dir}/src/${index % 10}`, { recursive: true });
    await volume.promises.writeFile(`${dir}/${name}`, `line ${index}\n`.repeat(1 + index));
    names.push(name);
  }
  await volume.promises.symlink("src/0/file-0.txt", `${dir}/link`);
  names.push("link");
  await git.add({ fs: fs as typeof nodeFs, dir, filepath: "." });
  const first = await git.commit({ fs: fs as typeof nodeFs, dir, message: "First", author });
  await git.branch({ fs: fs as typeof nodeFs, dir, ref: "topic", checkout: true });
  await volume.promises.writeFile(`${dir}/topic.txt`, "only here\n");
  await volume.promises.unlink(`${dir}/src/3/file-3.txt`);
  await git.add({ fs: fs as typeof nodeFs, dir, filepath: "topic.txt" });
  await git.remove({ fs: fs as typeof nodeFs, dir, filepath: "src/3/file-3.txt" });
  const second = await git.commit({ fs: fs as typeof nodeFs, dir, message: "Second", author });
  await git.checkout({ fs: fs as typeof nodeFs, dir, ref: "main" });
  await t.rejects(volume.promises.stat(`${dir}/topic.txt`), { code: "ENOENT" });
  await volume.promises.appendFile(`${dir}/src/5/file-5.txt`, "changed\n");
  await volume.close();

  volume = await open(image);
  // The other form in which programs take a file system.
  fs = volume.promises;
  const options = { fs: fs as typeof nodeFs, dir };
  const matrix = await git.statusMatrix(options);
  t.equal(matrix.length, 201);
  const changed = matrix.filter(([, head, work, stage]) => head !== 1 || work !== 1 || stage !== 1);
  t.strictSame(changed, [["src/5/file-5.txt", 1, 2, 1]]);
  t.strictSame(
    (await git.log({ ...options, ref: "topic" })).map(({ oid }) => oid),
    [second, first],
  );
  t.strictSame((await git.listBranches(options)).sort(), ["main", "topic"]);
  t.strictSame((await git.listFiles({ ...options, ref: first })).sort(), names.sort());
  const { blob } = await git.readBlob({ ...options, oid: second, filepath: "topic.txt" });
  t.equal(Buffer.from(blob).toString(), "only here\n");
  t.equal(await volume.promises.readFile(`${dir}/link`, "utf8"), "line 0\n");
  await t.test("git fsck", { skip: isGitThere() ? false : "git is not installed" }, async (t) => {
    const copy = join(scratch, "copy");
    await copyOut(volume, dir, copy);
    execFileSync("git", ["-C", copy, "fsck", "--strict"], { stdio: "pipe" });
    const head = execFileSync("git", ["-C", copy, "rev-parse", "topic"], { encoding: "utf8" });
    t.equal(head.trim(), second);
  });
  await volume.close();
});

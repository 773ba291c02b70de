/** 100,000 files in one directory. */
import { mkdirSync } from "node:fs";
import t from "tap";
import { mountImpossible, programsMissing, python, withMount } from "../support/mount.ts";

t.setTimeout(900_000);
const skip = (await mountImpossible()) || programsMissing("python3");
const COUNT = 100_000;

const CREATE = `
import os, sys
for i in range(int(sys.argv[1])): os.close(os.open("some name that is longer %06d" % i, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
`;
const LIST = `
import os, sys
names = os.listdir(".")
print(len(names), len(set(names)), sorted(names) == ["some name that is longer %06d" % i for i in range(int(sys.argv[1]))])
`;
const STAT = `
import os, random, sys
inodes = set()
for i in range(int(sys.argv[1])):
    s = os.stat("some name that is longer %06d" % i); inodes.add(s.st_ino); assert s.st_size == 0 and s.st_nlink == 1
missing = 0
for i in range(1000):
    try: os.stat("some name that is longer %06dx" % i)
    except FileNotFoundError: missing += 1
print(len(inodes), missing)
`;
const DELETE = `
import os
with os.scandir(".") as entries:
    for entry in entries: os.unlink(entry.name)
print(len(os.listdir(".")), os.stat(".").st_nlink)
`;

t.test("a directory of 100,000 files", { skip, timeout: 800_000 }, async (t) => {
  await withMount({ size: "1G", limitSeconds: 800 }, async (mounted) => {
    const big = mounted.path("big");
    const timed = async (what: string, program: string): Promise<string> => {
      const startMs = performance.now();
      const shown = await python(program, [String(COUNT)], big);
      t.comment(`${what}: ${((performance.now() - startMs) / 1000).toFixed(2)} s`);
      return shown.trim();
    };
    mkdirSync(big);
    await timed("create", CREATE);
    const all = `${COUNT} ${COUNT} True`;
    t.equal(await timed("list", LIST), all);
    t.equal(await timed("stat", STAT), `${COUNT} 1000`);
    await mounted.remount();
    t.equal(await timed("list after a new mount", LIST), all);
    t.equal(await timed("stat after a new mount", STAT), `${COUNT} 1000`);
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0, out: "clean\n" });
    await mounted.mount();
    t.equal(await timed("delete", DELETE), "0 2");
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0, out: "clean\n" });
  });
});

/** What people do all day, with their programs, on a real mount; then everything is compared after a new mount. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import t from "tap";
import { difference, manifest, packageFolders } from "../support/file_tree.ts";
import {
  mountImpossible,
  must,
  programsMissing,
  python,
  shell,
  withMount,
} from "../support/mount.ts";

t.setTimeout(900_000);
const skip =
  (await mountImpossible()) ||
  programsMissing("tar", "git", "rsync", "python3", "setfattr", "diff");

const withAcls = programsMissing("setfacl", "getfacl") === false;

const SQLITE = `
import os, sqlite3, sys
db = sqlite3.connect("data.db", isolation_level=None, timeout=60)
print(db.execute("pragma journal_mode=wal").fetchone()[0])
db.execute("create table t(id integer primary key, who int, text blob)")
db.execute("create index i on t(who, text)")
workers = []
for who in range(3):
    pid = os.fork()
    if pid == 0:
        own = sqlite3.connect("data.db", isolation_level=None, timeout=60)
        for n in range(100):
            own.execute("begin immediate")
            own.executemany("insert into t(who, text) values(?, ?)", [(who, os.urandom(50 + n * 3)) for _ in range(5)])
            own.execute("commit")
        own.execute("delete from t where who = ? and id % 3 = 0", (who,))
        own.close(); os._exit(0)
    workers.append(pid)
print([os.waitpid(pid, 0)[1] for pid in workers])
print(db.execute("pragma integrity_check").fetchone()[0])
db.execute("pragma wal_checkpoint(truncate)"); db.execute("vacuum")
print(db.execute("pragma integrity_check").fetchone()[0], db.execute("select count(*) > 500 from t").fetchone()[0])
`;

const MAPS = `
import mmap, os, random
size = 4 << 20
open("map", "wb").truncate(size)
workers = []
for who in range(4):
    pid = os.fork()
    if pid == 0:
        f = open("map", "r+b"); m = mmap.mmap(f.fileno(), size)
        for block in range(who, size // 4096, 4): m[block * 4096:block * 4096 + 4096] = bytes([who + 1]) * 4000 + b"%096d" % block
        m.flush() if who % 2 else None
        os._exit(0)
    workers.append(pid)
for pid in workers: os.waitpid(pid, 0)
d = open("map", "rb").read()
print(all(d[b * 4096:b * 4096 + 4096] == bytes([b % 4 + 1]) * 4000 + b"%096d" % b for b in range(size // 4096)))
`;

t.test("programs", { skip, timeout: 800_000 }, async (t) => {
  await withMount({ size: "2G", memory: "128M", limitSeconds: 800 }, async (mounted) => {
    const { directory, outside } = mounted;
    const { root, folders } = packageFolders(3500);
    await must("tar", ["cf", `${outside}/tree.tar`, "-C", root, ...folders]);

    await t.test("tar, cp -a, diff -r", async (t) => {
      await shell(`mkdir tree && tar xf ${outside}/tree.tar -C tree`, directory);
      const files = Number(await shell("find tree -type f | wc -l", directory));
      t.ok(files >= 3500, `${files} files`);
      await shell("cp -a tree copy", directory);
      t.equal(await shell("diff -r --no-dereference tree copy", directory), "");
      for (const folder of folders) {
        t.equal(
          await shell(`diff -r --no-dereference ${root}/${folder} tree/${folder}`, directory),
          "",
        );
      }
      t.equal(
        difference(await manifest(`${directory}/tree`), await manifest(`${directory}/copy`)),
        "",
      );
      await shell(
        "tar cf again.tar -C copy . && mkdir third && tar xf again.tar -C third",
        directory,
      );
      t.equal(
        await shell("diff -r --no-dereference copy third && rm -rf third again.tar", directory),
        "",
      );
    });

    await t.test("git", async (t) => {
      await shell(
        `mkdir origin && cd origin && git init -q . && git config user.email t@example.org && git config user.name t
        for d in ../tree/*; do cp -r "$d" . ; git add -A; git commit -qm "add $d"; done
        git mv ${folders[0]} moved; git commit -qm moved; git tag v1; git branch side HEAD~1; git gc -q`,
        directory,
      );
      await shell(
        "git clone -q --no-hardlinks origin clone && git clone -q file://$PWD/origin pack",
        directory,
      );
      for (const name of ["origin", "clone", "pack"]) {
        await shell(
          "git fsck --full --strict --no-dangling && git status --porcelain > s && test ! -s s || grep -qx '?? s' s; rm s",
          `${directory}/${name}`,
        );
      }
      t.equal(await shell("diff -r --exclude=.git origin clone", directory), "");
      t.equal(
        await shell("git -C clone rev-parse HEAD", directory),
        await shell("git -C origin rev-parse HEAD", directory),
      );
    });

    await t.test("SQLite in WAL mode", async (t) => {
      const shown = await python(SQLITE, [], directory);
      t.equal(shown, "wal\n[0, 0, 0]\nok\nok 1\n");
    });

    await t.test("shared maps of several processes", async (t) => {
      t.equal(await python(MAPS, [], directory), "True\n");
    });

    await t.test("links, holes, attributes, times; rsync out and back", async (t) => {
      await shell(
        `mkdir -p odd/sub && cd odd
        echo one > first; ln first second; ln first sub/third; ln -s ../first sub/link; ln -s /nowhere dangling
        truncate -s 1G sparse; printf middle | dd of=sparse bs=1 seek=500000000 conv=notrunc status=none
        printf '%s' end | dd of=sparse bs=1 seek=1073741800 conv=notrunc status=none
        mkfifo fifo; setfattr -n user.color -v green first; setfattr -n user.bin -v 0x00ff10 sub
        touch -d '1960-02-03 04:05:06.123456789' old; touch -d '2100-02-03 04:05:06.987654321' new
        touch -h -d '1970-01-02 03:04:05.5' sub/link dangling; touch -d '2001-01-01' fifo
        chmod 4750 old; chmod 1777 sub; printf x > "$(printf 'new\\nline')"; : > empty; printf x > ünï`,
        directory,
      );
      t.ok(statSync(`${directory}/odd/sparse`).blocks < 200, "a hole takes no space");
      if (withAcls) {
        await shell(
          `setfacl -m u:1234:rwx,g:55:- first; mkdir shared; : > shared/before
          setfacl -m u:77:rx,d:u:77:rwx,d:g::r shared; : > shared/inherits`,
          `${directory}/odd`,
        );
      }
      const archive = withAcls ? "-aHAXS" : "-aHXS";
      await must("rsync", [archive, `${directory}/odd/`, `${outside}/odd/`]);
      await must("rsync", [archive, `${outside}/odd/`, `${directory}/back/`]);
      if (withAcls) {
        const acls = (where: string): Promise<string> =>
          shell("find . -not -type l -print0 | sort -z | xargs -0 getfacl -n", where);
        t.match(await acls(`${directory}/odd`), /shared\/inherits\n(.*\n)+?user:77:rwx/);
        t.equal(await acls(`${outside}/odd`), await acls(`${directory}/odd`));
        t.equal(await acls(`${directory}/back`), await acls(`${directory}/odd`));
      }
      const odd = await manifest(`${directory}/odd`);
      t.equal(difference(odd, await manifest(`${outside}/odd`)), "", "out");
      t.equal(difference(odd, await manifest(`${directory}/back`)), "", "and back");
      t.ok(statSync(`${directory}/back/sparse`).blocks < 400);
      t.equal(
        await must("rsync", [
          `${archive}ni`,
          "--delete",
          `${directory}/odd/`,
          `${directory}/back/`,
        ]),
        "",
      );
    });

    await t.test("a file that is appended to and one that is rewritten", async (t) => {
      for (let index = 0; index < 200; index++) {
        writeFileSync(`${directory}/log`, `line ${index}\n`, { flag: "a" });
        writeFileSync(
          `${directory}/settings`,
          JSON.stringify({ index, fill: "x".repeat(index * 37) }),
        );
      }
      t.equal(readFileSync(`${directory}/log`, "utf8").split("\n").length, 201);
      t.equal(JSON.parse(readFileSync(`${directory}/settings`, "utf8")).index, 199);
    });

    await t.test("all of it is there after a new mount, twice", async (t) => {
      const before = await manifest(directory);
      await mounted.remount();
      t.equal(difference(before, await manifest(directory)), "");
      await mounted.umount();
      t.match(mounted.fsck(), { code: 0, out: "clean\n" });
      await mounted.mount();
      t.equal(difference(before, await manifest(directory)), "");
      t.equal(
        await python(
          SQLITE.split("\n").slice(0, 3).join("\n") +
            `
print(db.execute("pragma integrity_check").fetchone()[0])`,
          [],
          directory,
        ),
        "ok\n",
      );
      await shell("git fsck --full --strict --no-dangling", `${directory}/clone`);
      await shell("rm -rf ./*", directory);
      await mounted.umount();
      t.match(mounted.fsck(), { code: 0, out: "clean\n" }, "fsck of the emptied volume");
    });
  });
});

/**
 * A small volume is filled by several writers at once, three times. What was fsynced keeps its content, the writers are
 * told ENOSPC, and removing files makes room again although there was none.
 */
import { mkdirSync } from "node:fs";
import t from "tap";
import { mountImpossible, must, programsMissing, python, withMount } from "../support/mount.ts";

t.setTimeout(900_000);
const skip = (await mountImpossible()) || programsMissing("python3");

/** Four processes write until there is no room; each notes what fsync has acknowledged. */
const FILL = `
import errno, hashlib, json, os, random, sys
mount, notes, round = sys.argv[1], sys.argv[2], int(sys.argv[3])
def content(name, size):
    block = b"".join(hashlib.sha512(b"%s %d" % (name.encode(), i)).digest() for i in range(64))
    return (block * (size // 4096 + 1))[:size]
def writer(who):
    said, errors = [], []
    random.seed(round * 10 + who)
    for i in range(100000):
        name = "%d-%d-%d" % (round, who, i); size = random.choice([0, 100, 3000, 4096, 50000, 1000000, 3000000]); fd = -1
        try:
            fd = os.open(mount + "/" + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            data = content(name, size)
            for at in range(0, size, 65536):
                part = data[at:at + 65536]
                if os.write(fd, part) != len(part): raise OSError(errno.ENOSPC, "short")
            if i % 2: os.fsync(fd)
            closing, fd = fd, -1
            os.close(closing)
            if i % 2: said.append([name, size])
        except OSError as error:
            errors.append(errno.errorcode[error.errno])
            if fd >= 0:
                try: os.close(fd)
                except OSError as error: errors.append(errno.errorcode[error.errno])
            if len(errors) > 8: break
    json.dump([said, errors], open("%s/%d-%d" % (notes, round, who), "w"))
children = []
for who in range(4):
    pid = os.fork()
    if pid == 0: writer(who); os._exit(0)
    children.append(pid)
statuses = [os.waitpid(pid, 0)[1] for pid in children]
errors = set()
for who in range(4): errors |= set(json.load(open("%s/%d-%d" % (notes, round, who)))[1])
free = os.statvfs(mount)
print(json.dumps([statuses, sorted(errors), free.f_bavail * free.f_bsize < 16 << 20]))
`;

/** All that was acknowledged and not removed since. */
const VERIFY = `
import hashlib, json, os, sys
mount, notes = sys.argv[1], sys.argv[2]
def content(name, size):
    block = b"".join(hashlib.sha512(b"%s %d" % (name.encode(), i)).digest() for i in range(64))
    return (block * (size // 4096 + 1))[:size]
bad, good = [], 0
names = set(os.listdir(mount))
removed = set(json.load(open(notes + "/removed"))) if os.path.exists(notes + "/removed") else set()
for file in os.listdir(notes):
    if file == "removed": continue
    for name, size in json.load(open(notes + "/" + file))[0]:
        if name in removed: continue
        try: same = open(mount + "/" + name, "rb").read() == content(name, size)
        except OSError as error: same = False; bad.append(str(error))
        if same: good += 1
        else: bad.append(name)
for name in names: open(mount + "/" + name, "rb").read()
print(json.dumps([bad[:10], good > 10]))
`;

/** Removes two of three files on the full volume. */
const REMOVE = `
import json, os, sys
mount, notes = sys.argv[1], sys.argv[2]
removed = json.load(open(notes + "/removed")) if os.path.exists(notes + "/removed") else []
failed = []
for i, name in enumerate(sorted(os.listdir(mount))):
    if i % 3 == 0: continue
    try: os.unlink(mount + "/" + name); removed.append(name)
    except OSError as error: failed.append(str(error))
json.dump(removed, open(notes + "/removed", "w"))
fd = os.open(mount, os.O_RDONLY); os.fsync(fd)
print(json.dumps(failed))
`;

t.test("a full volume", { skip, timeout: 800_000 }, async (t) => {
  await withMount({ size: "256M", limitSeconds: 800 }, async (mounted) => {
    const { directory, outside } = mounted;
    const notes = `${outside}/notes`;
    mkdirSync(notes);
    const args = [directory, notes];
    const run = async (program: string, ...more: string[]): Promise<unknown> =>
      JSON.parse(await python(program, [...args, ...more]));
    for (let round = 0; round < 3; round++) {
      t.same(
        await run(FILL, String(round)),
        [[0, 0, 0, 0], ["ENOSPC"], true],
        `round ${round}: full`,
      );
      t.same(await run(VERIFY), [[], true], "nothing is damaged");
      t.same(await run(REMOVE), [], "removing works without room");
      t.same(await run(VERIFY), [[], true], "and removes nothing else");
      await mounted.remount();
      t.same(await run(VERIFY), [[], true], "after a new mount");
      await mounted.umount();
      t.match(mounted.fsck(), { code: 0, out: "clean\n" });
      await mounted.mount();
    }
    await must("sh", ["-c", "rm -f ./*"], { cwd: directory });
    await must("sync", ["-f", "."], { cwd: directory });
    await python(
      `open("big", "wb").write(bytes(range(256)) * 4096 * 100); import os; os.sync()`,
      [],
      directory,
    );
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0, out: "clean\n" });
  });
});

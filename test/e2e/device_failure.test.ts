/**
 * A device that stops taking writes under a mount: the image lies on a tmpfs that fills up. What was fsynced stays
 * readable and is there afterwards, changes are refused, and the pool says what happened.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import process from "node:process";
import t from "tap";
import { Sandbox } from "../support/cli.ts";
import { mountImpossible } from "../support/mount.ts";
import { code } from "../support/posix_case.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const skip = process.geteuid?.() === 0 ? await mountImpossible() : "needs root, to mount a tmpfs";
const MIB = 1 << 20;

t.test("the disk below a mount is full", { skip }, async (t) => {
  const sandbox = new Sandbox();
  t.teardown(() => sandbox.close());
  const disk = sandbox.path("disk");
  mkdirSync(disk);
  sandbox.program("mount", ["-t", "tmpfs", "-o", "size=40m", "none", disk]);
  t.teardown(() => sandbox.program("umount", ["-l", disk]));
  mkdirSync(sandbox.path("mnt"));
  sandbox.run("pool", "create", "tank", "disk/a.img:256M");
  t.equal(sandbox.run("mount", "disk/a.img", "mnt").code, 0);
  const content = (index: number): Buffer => Buffer.alloc(MIB, `content ${index} `);
  const synced: number[] = [];
  const file = (index: number): string => sandbox.path(`mnt/file-${index}`);
  const failed = code(() => {
    for (let index = 0; index < 100; index++) {
      const fd = openSync(file(index), "w");
      try {
        writeSync(fd, content(index));
        fsyncSync(fd);
        synced.push(index);
      } finally {
        closeSync(fd);
      }
    }
  });
  t.match(failed, /ENOSPC|EIO/);
  t.ok(synced.length > 5, `${synced.length} files were fsynced`);
  t.equal(
    code(() => mkdirSync(sandbox.path("mnt/new"))),
    "EROFS",
  );
  t.equal(
    code(() => unlinkSync(file(0))),
    "EROFS",
  );
  t.equal(
    code(() => writeFileSync(sandbox.path("mnt/other"), "x")),
    "EROFS",
  );
  const intact = (): boolean =>
    synced.every((index) => readFileSync(file(index)).equals(content(index)));
  t.ok(intact(), "what was fsynced can be read");
  t.match(sandbox.run("status", "mnt"), { out: /FAULTED/ });
  sandbox.run("umount", "mnt");
  sandbox.program("mount", ["-o", "remount,size=400m", disk]);
  t.equal(sandbox.run("mount", "disk/a.img", "mnt").code, 0, "with space again it mounts");
  t.ok(intact(), "and holds what was fsynced");
  writeFileSync(sandbox.path("mnt/other"), "x");
  t.equal(sandbox.run("umount", "mnt").code, 0);
  t.equal(sandbox.run("fsck", "disk/a.img").code, 0);
});

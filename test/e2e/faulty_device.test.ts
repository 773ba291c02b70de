/**
 * Real mounts on a disk of our own that fails: it loses power with writes in its cache, some of them torn; it refuses a
 * write; it goes away and comes back; its bits turn. As an image file, and as a block device.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import t, { type Test } from "tap";
import { Prng } from "../../host/base/prng.ts";
import { FaultyDisk, whyNoLoop } from "../support/faulty_disk.ts";
import { killRound, workloadsHere } from "../support/kill9.ts";
import { Mounted, mountImpossible, programsMissing } from "../support/mount.ts";
import { code } from "../support/posix_case.ts";

t.setTimeout(900_000);
const skip = (await mountImpossible()) || whyNoLoop() || programsMissing("python3");
const SEED = Number(process.env["TEST_SEED"] ?? Math.floor(Math.random() * 1e9));
const MIB = 1 << 20;

async function withFaulty(
  kind: "file" | "loop",
  test: (mounted: Mounted, disk: FaultyDisk) => Promise<void>,
): Promise<void> {
  const disk = await FaultyDisk.start(512 * MIB, kind);
  try {
    const mounted = new Mounted({ device: disk.path, size: "512M", limitSeconds: 400 });
    try {
      mounted.create();
      await mounted.mount();
      await test(mounted, disk);
      if (mounted.isMounted) await mounted.umount();
    } finally {
      await mounted.close();
    }
  } finally {
    await disk.close();
  }
}

function synced(mounted: Mounted, name: string): void {
  const fd = openSync(mounted.path(name), "w");
  try {
    writeSync(fd, name.repeat(1000));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

async function afterFsyncs(t: Test, mounted: Mounted, disk: FaultyDisk): Promise<void> {
  for (let index = 0; index < 20; index++) synced(mounted, `f${index}`);
  disk.command(`cut ${SEED}`);
  await mounted.kill9();
  disk.command("back");
  await mounted.mount();
  for (let index = 0; index < 20; index++) {
    const name = `f${index}`;
    t.equal(readFileSync(mounted.path(name), "utf8"), name.repeat(1000));
  }
}

t.test("an image file on a FUSE file system: fsyncs reach its disk", { skip }, async (t) => {
  await withFaulty("file", (mounted, disk) => afterFsyncs(t, mounted, disk));
});

t.test("a block device", { skip }, async (t) => {
  await withFaulty("loop", async (mounted, disk) => {
    await t.test("power is lost after fsyncs: all of them are there", (t) =>
      afterFsyncs(t, mounted, disk),
    );

    await t.test("power is lost under load: what was acknowledged is there", async (t) => {
      const prng = new Prng(SEED);
      const { bad, figures } = await killRound(mounted, {
        notes: `${mounted.outside}/notes`,
        round: 0,
        seed: SEED,
        workloads: workloadsHere().names.filter((_, index) => index % 3 === SEED % 3),
        killMs: 300 + prng.below(1000),
        notedFirst: 2,
        beforeKill: () => disk.command(`cut ${prng.u32()}`),
        whenDead: async () => {
          disk.command("back");
          return null;
        },
      });
      t.same(bad, [], `seed ${SEED}: all of it`);
      t.comment(`${disk.unflushed} writes in the cache; ${JSON.stringify(figures)}`);
    });

    await t.test("it goes away and comes back: errors, and nothing is lost", async (t) => {
      synced(mounted, "before");
      disk.command("gone");
      t.match(
        code(() => synced(mounted, "during")),
        /EIO|EROFS/,
      );
      disk.command("back");
      t.match(
        code(() => synced(mounted, "after")),
        /EIO|EROFS/,
        "until it is mounted again",
      );
      t.equal(
        code(() => mkdirSync(mounted.path("d"))),
        "EROFS",
      );
      t.equal(readFileSync(mounted.path("before"), "utf8"), "before".repeat(1000));
      t.match(mounted.sandbox.run("status", mounted.directory), { out: /FAULTED/ });
      await mounted.kill9();
      await mounted.mount();
      t.equal(readFileSync(mounted.path("before"), "utf8"), "before".repeat(1000));
      writeFileSync(mounted.path("new"), "works");
      await mounted.umount();
      t.match(mounted.fsck(), { code: 0, out: "clean\n" });
    });
  });
});

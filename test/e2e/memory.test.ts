/**
 * A volume with a million files within a small budget: the daemon's memory follows --memory, not the number of files.
 */
import t from "tap";
import { mountImpossible, programsMissing, python, withMount } from "../support/mount.ts";

t.setTimeout(3_600_000);
const skip = (await mountImpossible()) || programsMissing("python3");
const COUNT = 1_000_000;
const MIB = 1024 * 1024;
const RSS_BYTES_MAX = 600 * MIB;

const CREATE = `
import os, sys
for d in range(int(sys.argv[1]) // 1000):
    os.mkdir("%04d" % d); fd = os.open("%04d" % d, os.O_RDONLY)
    for i in range(1000):
        f = os.open("file-%06d" % i, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=fd)
        if i % 50 == 0: os.write(f, b"%d %d;" % (d, i) * 20)
        os.close(f)
    os.close(fd)
`;
const LIST = `
import os
count = 0
for top, dirs, files in os.walk("."): count += len(files)
print(count)
`;
const READ = `
import os, sys
wrong = 0
for d in range(int(sys.argv[1]) // 1000):
    for i in range(0, 1000, 50):
        wrong += open("%04d/file-%06d" % (d, i), "rb").read() != b"%d %d;" % (d, i) * 20
print(wrong)
`;

t.test(`${COUNT} files with --memory 256M`, { skip, timeout: 3_500_000 }, async (t) => {
  await withMount({ size: "8G", memory: "256M", limitSeconds: 3500 }, async (mounted) => {
    let peakBytes = 0;
    const timed = async (what: string, run: () => Promise<string>): Promise<string> => {
      const startMs = performance.now();
      const shown = await run();
      const seconds = (performance.now() - startMs) / 1000;
      if (mounted.isMounted) peakBytes = Math.max(peakBytes, mounted.memoryOf("VmHWM"));
      t.comment(
        `${what}: ${seconds.toFixed(2)} s, daemon's peak ${(peakBytes / MIB).toFixed(0)} MiB`,
      );
      return shown.trim();
    };
    const work = (program: string) => () => python(program, [String(COUNT)], mounted.directory);
    await timed("create", work(CREATE));
    t.equal(await timed("list", work(LIST)), String(COUNT));
    t.equal(await timed("read", work(READ)), "0");
    await timed("unmount", async () => {
      await mounted.umount();
      return "";
    });
    await timed("mount", async () => {
      await mounted.mount();
      return "";
    });
    t.equal(await timed("list after a new mount", work(LIST)), String(COUNT));
    t.equal(await timed("read after a new mount", work(READ)), "0");
    t.ok(peakBytes < RSS_BYTES_MAX, `${(peakBytes / MIB).toFixed(0)} MiB at most`);
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0, out: "clean\n" });
  });
});

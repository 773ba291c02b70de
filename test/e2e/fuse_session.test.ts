import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { open, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import {
  EEXIST,
  ENODATA,
  ENOENT,
  ENOTTY,
  ENXIO,
  EOPNOTSUPP,
  ERANGE,
} from "../../host/base/errno.ts";
import { FsError } from "../../host/base/fs_error.ts";
import { Prng } from "../../host/base/prng.ts";
import { findMount, mountChannel } from "../../host/fuse/mount.ts";
import { mountTree, whyNoFuse } from "../support/fuse_mount.ts";
import type { ServerReport } from "../support/fuse_server.ts";
import * as posix from "../support/posix_case.ts";

const skip = whyNoFuse();
const S_IFMT = 0o170000;

/** What must hold for every session that ended well. */
function checkEnd(t: Test, report: ServerReport, reason = "unmounted"): void {
  t.equal(report.reason, reason);
  t.equal(report.fs.accountingErrors, 0, "every reference and buffer was given back once");
  t.equal(report.fs.blocksTaken, 0, "no buffer is left");
  t.equal(report.counters["parked"], 0);
  t.equal(report.counters["malformed"], 0);
  t.equal(report.counters["refused"], 0);
  t.same(report.logs, []);
}

function codeOf(action: () => unknown): string {
  try {
    action();
    return "no error";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

function pattern(seed: number, byteLength: number): Buffer {
  const data = Buffer.alloc(byteLength);
  new Prng(seed).bytes(data);
  return data;
}

t.test("e2e: files, directories and links", { skip }, async (t) => {
  const mount = await mountTree({ noAtime: true, source: "pool one" });
  try {
    const at = (name: string): string => join(mount.mountpoint, name);
    t.match(findMount(mount.mountpoint), { type: "fuse.dynamicfs", source: "pool one" });

    writeFileSync(at("a"), "hello", { mode: 0o640 });
    t.equal(readFileSync(at("a"), "utf8"), "hello");
    const a = statSync(at("a"));
    t.same([a.size, a.mode & 0o7777, a.nlink, a.blocks], [5, 0o640, 1, 8]);
    linkSync(at("a"), at("b"));
    t.equal(statSync(at("a")).nlink, 2, "the other name knows of the link");
    t.equal(statSync(at("b")).ino, a.ino);
    unlinkSync(at("a"));
    t.equal(statSync(at("b")).nlink, 1);
    t.equal(
      codeOf(() => statSync(at("a"))),
      "ENOENT",
    );

    mkdirSync(at("d/e"), { recursive: true });
    t.equal(statSync(at("d")).nlink, 3);
    t.equal(
      codeOf(() => rmdirSync(at("d"))),
      "ENOTEMPTY",
    );
    t.equal(
      codeOf(() => mkdirSync(at("d"))),
      "EEXIST",
    );
    t.equal(
      codeOf(() => unlinkSync(at("d"))),
      "EISDIR",
    );
    t.equal(
      codeOf(() => rmdirSync(at("b"))),
      "ENOTDIR",
    );
    renameSync(at("d/e"), at("e"));
    t.same([statSync(at("d")).nlink, statSync(mount.mountpoint).nlink], [2, 4]);

    symlinkSync("some/where", at("l"));
    t.equal(readlinkSync(at("l")), "some/where");
    t.ok(lstatSync(at("l")).isSymbolicLink());

    writeFileSync(at("c"), "other");
    const held = openSync(at("c"), "r");
    renameSync(at("b"), at("c"));
    t.equal(readFileSync(at("c"), "utf8"), "hello");
    t.equal(fstatSync(held).nlink, 0, "what was replaced has no name");
    const buffer = Buffer.alloc(5);
    t.equal(readSync(held, buffer), 5);
    t.equal(buffer.toString(), "other", "and keeps its data while it is open");
    closeSync(held);

    t.equal(posix.renameat2(at("c"), at("d"), 1), -EEXIST, "RENAME_NOREPLACE");
    const inos = [statSync(at("c")).ino, statSync(at("d")).ino];
    t.equal(posix.renameat2(at("c"), at("d"), 2), 0, "RENAME_EXCHANGE");
    t.same([statSync(at("d")).ino, statSync(at("c")).ino], inos);
    t.equal(posix.renameat2(at("d"), at("moved"), 4), 0, "RENAME_WHITEOUT");
    const whiteout = lstatSync(at("d"));
    t.ok(whiteout.isCharacterDevice());
    t.equal(whiteout.rdev, 0);

    t.equal(posix.mknod(at("fifo"), 0o010600, 0), 0);
    t.ok(statSync(at("fifo")).isFIFO());
    t.equal(posix.mknod(at("disk"), 0o060600, (7 << 8) | 3), 0);
    t.equal(statSync(at("disk")).rdev, (7 << 8) | 3);

    chmodSync(at("moved"), 0o4755);
    chownSync(at("moved"), 12, 34);
    const moved = statSync(at("moved"));
    t.same([moved.uid, moved.gid, moved.mode & 0o7777], [12, 34, 0o755], "chown drops set-user-id");
    const before1970 = { s: -2n, ns: 500_000_000n };
    t.equal(posix.utimensat(at("moved"), before1970, { s: 5_000_000_000n, ns: 250_000_000n }), 0);
    const times = statSync(at("moved"));
    t.same([times.atimeMs, times.mtimeMs], [-1500, 5_000_000_000_250]);
    t.ok(times.birthtimeMs > 1.7e12, "statx tells the birth time");

    const name255 = "n".repeat(255);
    writeFileSync(at(name255), "");
    t.ok(readdirSync(mount.mountpoint).includes(name255));
    const bytes = Buffer.concat([
      Buffer.from(`${mount.mountpoint}/`),
      Buffer.from([0xff, 0xfe, 1]),
    ]);
    writeFileSync(bytes, "any bytes");
    t.equal(readFileSync(bytes, "utf8"), "any bytes");

    const space = statfsSync(mount.mountpoint);
    t.same([space.bsize, space.blocks, space.bavail], [4096, 1_000_000, 800_000]);

    const unnamed = openSync(mount.mountpoint, posix.O_TMPFILE | constants.O_RDWR, 0o600);
    writeSync(unnamed, "unnamed");
    t.equal(fstatSync(unnamed).nlink, 0);
    t.equal(posix.linkOpen(unnamed, at("named")), 0, "O_TMPFILE");
    closeSync(unnamed);
    t.equal(readFileSync(at("named"), "utf8"), "unnamed");
  } finally {
    checkEnd(t, await mount.end());
  }
});

t.test("e2e: data, holes, truncation and fallocate", { skip }, async (t) => {
  const mount = await mountTree();
  try {
    const path = join(mount.mountpoint, "data");
    const data = pattern(1, 5_000_001);
    writeFileSync(path, data);
    t.equal(Buffer.compare(readFileSync(path), data), 0);
    const fd = openSync(path, "r+");
    writeSync(fd, data.subarray(0, 12_345), 0, 12_345, 777);
    data.copy(data, 777, 0, 12_345);
    ftruncateSync(fd, 4_000_003);
    ftruncateSync(fd, 4_500_000);
    data.fill(0, 4_000_003);
    fsyncSync(fd);
    const read = readFileSync(path);
    t.equal(Buffer.compare(read, data.subarray(0, 4_500_000)), 0);
    t.equal(posix.fallocate(fd, 3, 8192, 8192), 0, "PUNCH_HOLE");
    data.fill(0, 8192, 16_384);
    t.equal(Buffer.compare(readFileSync(path), data.subarray(0, 4_500_000)), 0);
    t.equal(posix.fallocate(fd, 0, 0, 5_000_000), 0);
    t.equal(fstatSync(fd).size, 5_000_000);
    t.equal(posix.fallocate(fd, 8, 0, 4096), -EOPNOTSUPP, "COLLAPSE_RANGE ends in the kernel");
    closeSync(fd);

    const sparse = openSync(join(mount.mountpoint, "sparse"), "w+");
    writeSync(sparse, data, 0, 5000, 0);
    t.equal(posix.lseek(sparse, 0, posix.SEEK_DATA), 0, "data that the kernel has not written yet");
    writeSync(sparse, data, 0, 5000, 1 << 20);
    t.equal(posix.lseek(sparse, 8192, posix.SEEK_DATA), 1 << 20);
    t.equal(posix.lseek(sparse, 0, posix.SEEK_HOLE), 8192);
    t.equal(posix.lseek(sparse, 1 << 20, posix.SEEK_HOLE), (1 << 20) + 5000);
    t.equal(posix.lseek(sparse, 2 << 20, posix.SEEK_DATA), -ENXIO);
    closeSync(sparse);
    t.equal(
      statSync(join(mount.mountpoint, "sparse")).blocks,
      32,
      "after close, blocks are asked for",
    );
  } finally {
    const report = await mount.end();
    t.ok((report.counters["writesOwned"] ?? 0) >= 4, "large writes were handed over");
    checkEnd(t, report);
  }
});

t.test(
  "e2e: 5,000 names are listed once each, and stat of them costs no request",
  { skip },
  async (t) => {
    const mount = await mountTree();
    const count = 5000;
    try {
      const directory = join(mount.mountpoint, "many");
      mkdirSync(directory);
      for (let index = 0; index < count; index += 1) {
        closeSync(openSync(join(directory, `file-${index}`), "w"));
      }
      for (let round = 0; round < 2; round += 1) {
        const names = readdirSync(directory);
        t.equal(new Set(names).size, count);
        t.equal(names.length, count);
      }
      for (let index = 0; index < count; index += 1) statSync(join(directory, `file-${index}`));
      for (let index = 0; index < 1000; index += 1) existsSync(join(directory, "missing"));
      rmSync(directory, { recursive: true });
      t.same(readdirSync(mount.mountpoint), []);
    } finally {
      const report = await mount.end();
      const { counters } = report;
      t.ok(
        (counters["lookup"] ?? 0) < count + 100,
        "one look-up a creation, none for what is known",
      );
      t.equal(counters["open"], 1, "open costs no request");
      t.equal(counters["opendir"], 1);
      t.equal(counters["release"] ?? 0, 0);
      t.ok((counters["getattr"] ?? 0) < 3 * count);
      checkEnd(t, report);
    }
  },
);

t.test("e2e: extended attributes", { skip }, async (t) => {
  const mount = await mountTree();
  try {
    const path = join(mount.mountpoint, "x");
    writeFileSync(path, "");
    const big = pattern(2, 60_000);
    t.equal(posix.getxattr(path, "user.none"), -ENODATA);
    t.equal(posix.setxattr(path, "user.empty", Buffer.alloc(0)), 0);
    t.equal(posix.setxattr(path, "user.big", big), 0);
    t.equal(posix.setxattr(path, "user.big", big, 1), -EEXIST, "XATTR_CREATE");
    t.equal(posix.setxattr(path, "user.none", big, 2), -ENODATA, "XATTR_REPLACE");
    t.same(posix.getxattr(path, "user.empty"), Buffer.alloc(0));
    t.same(posix.getxattr(path, "user.big"), big);
    t.equal(posix.xattrLength(path, "user.big"), 60_000);
    t.equal(posix.getxattr(path, "user.big", 10), -ERANGE);
    t.same(posix.listxattr(path), ["user.big", "user.empty"]);
    t.equal(posix.removeXattr(path, "user.empty"), 0);
    t.equal(posix.removeXattr(path, "user.empty"), -ENODATA);
    t.same(posix.listxattr(path), ["user.big"]);
  } finally {
    checkEnd(t, await mount.end());
  }
});

t.test(
  "e2e: random operations, with waits at every turn, equal a plain model",
  { skip },
  async (t) => {
    const seed = 9001;
    const prng = new Prng(seed);
    const mount = await mountTree({ retryShare: 0.3, seed, poolBlocks: 2000, heldRuns: 3 });
    try {
      const model = new Map<string, Buffer>();
      const at = (name: string): string => join(mount.mountpoint, name);
      const pick = (): string => `name-${prng.below(12)}`;
      for (let step = 0; step < 1500; step += 1) {
        const name = pick();
        const other = pick();
        const has = model.has(name);
        switch (prng.below(8)) {
          case 0:
          case 1: {
            const data = pattern(step, prng.below(5) === 0 ? 200_000 : prng.below(9000));
            writeFileSync(at(name), data);
            model.set(name, data);
            break;
          }
          case 2: {
            const data = model.get(name);
            if (data === undefined || data.length === 0) break;
            const patch = pattern(step, prng.below(5000));
            const offset = prng.below(data.length);
            const fd = openSync(at(name), "r+");
            writeSync(fd, patch, 0, patch.length, offset);
            closeSync(fd);
            const grown = Buffer.alloc(Math.max(data.length, offset + patch.length));
            data.copy(grown);
            patch.copy(grown, offset);
            model.set(name, grown);
            break;
          }
          case 3:
            t.equal(
              codeOf(() => unlinkSync(at(name))),
              has ? "no error" : "ENOENT",
              `seed ${seed}`,
            );
            model.delete(name);
            break;
          case 4:
            if (!has || name === other) break;
            renameSync(at(name), at(other));
            model.set(other, model.get(name) as Buffer);
            model.delete(name);
            break;
          case 5: {
            const names = readdirSync(mount.mountpoint).sort();
            t.same(names, [...model.keys()].sort(), `names, seed ${seed}, step ${step}`);
            break;
          }
          case 6:
            if (!has) break;
            if (Buffer.compare(readFileSync(at(name)), model.get(name) as Buffer) !== 0) {
              t.fail(`${name} differs, seed ${seed}, step ${step}`);
            }
            break;
          default: {
            if (!has) break;
            const fd = openSync(at(name), "r+");
            const size = prng.below(20_000);
            ftruncateSync(fd, size);
            if (prng.below(2) === 0) fsyncSync(fd);
            closeSync(fd);
            const cut = Buffer.alloc(size);
            (model.get(name) as Buffer).copy(cut);
            model.set(name, cut);
          }
        }
      }
      for (const [name, data] of model) {
        t.equal(Buffer.compare(readFileSync(at(name)), data), 0, name);
      }
    } finally {
      const report = await mount.end();
      t.ok(report.fs.retries > 1000, "many calls had to wait");
      t.ok((report.counters["retries"] ?? 0) > 1000, "and so had requests");
      checkEnd(t, report);
    }
  },
);

t.test("e2e: a pool for hardly more than one request, and eight writers", { skip }, async (t) => {
  // 110 blocks of the session's own, and three slots.
  const mount = await mountTree({ poolBlocks: 110 + 3 * 65 + 20, heldRuns: 2, retryShare: 0.05 });
  try {
    const hashes = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        const path = join(mount.mountpoint, `w${index}`);
        const data = pattern(index, 3_000_000 + index);
        await writeFile(path, data);
        const file = await open(path, "r+");
        await file.sync();
        await file.close();
        const hash = (bytes: Buffer): string => createHash("sha1").update(bytes).digest("hex");
        return hash(data) === hash(await readFile(path));
      }),
    );
    t.same(hashes, new Array(8).fill(true));
  } finally {
    const report = await mount.end();
    t.ok((report.counters["pauses"] ?? 0) > 0, "reading stopped for want of buffers");
    t.equal(report.fs.fsyncs, 8);
    checkEnd(t, report);
  }
});

t.test("e2e: read-only, without write-back, unknown ioctl", { skip }, async (t) => {
  const mount = await mountTree({ readOnly: true });
  try {
    const path = join(mount.mountpoint, "a");
    t.equal(
      codeOf(() => writeFileSync(path, "")),
      "EROFS",
    );
  } finally {
    checkEnd(t, await mount.end());
  }
  const plain = await mountTree({ writeback: false });
  try {
    const path = join(plain.mountpoint, "a");
    const data = pattern(5, 300_000);
    writeFileSync(path, data);
    t.equal(Buffer.compare(readFileSync(path), data), 0);
    const fd = openSync(path, "r");
    t.equal(posix.ioctl(fd, 0x1234, Buffer.alloc(256)), -ENOTTY);
    t.equal(posix.lseek(fd, 0, posix.SEEK_HOLE), 300_000);
    closeSync(fd);
    chmodSync(path, 0o6755);
    const child = openSync(path, "r+");
    writeSync(child, "as root, privileges stay");
    closeSync(child);
    t.equal(statSync(path).mode & (S_IFMT | 0o7777), 0o106755);
  } finally {
    checkEnd(t, await plain.end());
  }
});

t.test(
  "e2e: a file that appears behind the kernel's back is seen after a notification",
  { skip },
  async (t) => {
    const mount = await mountTree({ behindName: "late", behindMs: 300 });
    const path = join(mount.mountpoint, "late");
    let sawMissing = false;
    try {
      for (let tries = 0; tries < 100; tries += 1) {
        const found = await stat(path).then(
          () => true,
          () => false,
        );
        if (found) break;
        sawMissing = true;
        await sleep(50);
      }
      t.ok(sawMissing, "its absence was cached");
      t.same(readdirSync(mount.mountpoint), ["late"]);
    } finally {
      const report = await mount.end();
      t.ok((report.counters["lookup"] ?? 0) <= 3, "not by asking again and again");
      t.same(report.logs, ["entry 0", "inode 0"]);
    }
  },
);

t.test("e2e: an aborted connection ends the session, and says so", { skip }, async (t) => {
  const mount = await mountTree();
  const control = `/sys/fs/fuse/connections/${mount.device.split(":")[1]}/abort`;
  t.teardown(() => rmSync(mount.mountpoint, { recursive: true, force: true }));
  writeFileSync(control, "1");
  t.match(
    codeOf(() => readdirSync(mount.mountpoint)),
    /ENOTCONN|ECONNABORTED/,
  );
  const report = await mount.end();
  t.equal(report.reason, "aborted");
  t.match(report.logs, [/fuse\/ended/]);
  t.equal(report.fs.blocksTaken, 0);
});

const skipHelper = skip === false && !existsSync("/usr/bin/fusermount3") ? "no fusermount3" : skip;
t.test("e2e: mounted by fusermount3", { skip: skipHelper }, async (t) => {
  const mount = await mountTree({ helper: true, source: "a,b\\c" });
  try {
    t.match(findMount(mount.mountpoint), { type: "fuse.dynamicfs", source: "a,b\\c" });
    writeFileSync(join(mount.mountpoint, "f"), "by the helper");
    t.equal(readFileSync(join(mount.mountpoint, "f"), "utf8"), "by the helper");
  } finally {
    checkEnd(t, await mount.end());
  }
});

t.test("mountChannel() says what is wrong with a mount point", { skip }, (t) => {
  const directory = mkdtempSync(join(tmpdir(), "dynamicfs-mount-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const failure = (path: string): FsError => {
    try {
      mountChannel(path, { readOnly: false });
    } catch (error) {
      if (error instanceof FsError) return error;
      throw error;
    }
    throw new Error("mounted");
  };
  t.match(failure(join(directory, "none")), { errno: -ENOENT, reason: "fuse/mountpoint-missing" });
  writeFileSync(join(directory, "file"), "");
  t.match(failure(join(directory, "file")), { reason: "fuse/mountpoint-not-directory" });
  t.end();
});

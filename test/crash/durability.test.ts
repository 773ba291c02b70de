/**
 * What host/DURABILITY.md promises for a loss of power and for faults of a device, one test for each sentence: power is
 * lost before each write and flush of a small piece of work, with any of the unflushed writes there, gone or torn.
 */
import t, { type Test } from "tap";
import { EIO, EROFS } from "../../host/base/errno.ts";
import { FsError } from "../../host/base/fs_error.ts";
import { Prng } from "../../host/base/prng.ts";
import type { Task } from "../../host/base/task.ts";
import { geometryFor } from "../../host/format/geometry.ts";
import {
  CallFailed,
  content,
  contentsOf,
  cutPower,
  type Found,
  look,
  type PowerCutOptions,
  type Rig,
  remount,
  same,
  start,
  sum,
  type Thing,
} from "../support/power_cut.ts";

t.setTimeout(900_000);
const BLOCK = 4096;

/** Runs with and without checkpoints meanwhile. All of `outcomes` must have been seen: the test can fail. */
function promise(
  t: Test,
  outcomes: readonly string[],
  options: Omit<PowerCutOptions, "checkpointSeconds" | "seed">,
): void {
  const seen = new Set<string>();
  let cuts = 0;
  for (const checkpointSeconds of [3600, 0.002]) {
    for (const seed of [1, 2]) {
      const result = cutPower({ ...options, checkpointSeconds, seed });
      cuts += result.cuts;
      for (const outcome of result.seen.keys()) seen.add(outcome);
    }
  }
  t.same([...seen].sort(), [...outcomes].sort(), `${cuts} losses of power`);
}

function ensure(isTrue: boolean, text: string): void {
  if (!isTrue) throw new Error(text);
}

function at(found: Found, path: string): Thing {
  const thing = found.get(path);
  if (thing === undefined) throw new Error(`${path} is not there`);
  return thing;
}

/** In the tree, in the journal, in extents. */
const PUBLISHED = [900, 30_000, 500_000];
const SIZES = [0, 1, 700, 2048, 2049, 4096, 100_000, 600_000];

t.test("fsync: the data, size, attributes and name of a file", async (t) => {
  promise(t, [...SIZES.keys()].map((count) => `${count} files`).concat(`${SIZES.length} files`), {
    *work(rig) {
      for (const size of SIZES) {
        const path = `f${size}`;
        yield* rig.file(path, content(size, size));
        yield* rig.setXattr(path, "user.x", content(300, size));
        yield* rig.chmod(path, 0o640);
        yield* rig.fsync(path);
        rig.say(path);
      }
    },
    check(found, said) {
      for (const path of said) {
        const { bytes, mode, xattrs } = at(found, path);
        const size = Number(path.slice(1));
        ensure(same(bytes, content(size, size)), `${path} has other bytes`);
        ensure(mode === 0o640, `${path} has mode ${mode.toString(8)}`);
        ensure(xattrs.get("user.x") === sum(content(300, size)), `${path} lacks its attribute`);
      }
      return `${said.size} files`;
    },
  });
});

t.test("fsync: both times, whatever is put into the journal after the data", async (t) => {
  const told = ["written", "renamed", "set", "nothing"];
  promise(t, told, {
    *before(rig) {
      yield* rig.file("f", content(9000, 1));
      yield* rig.file("other");
    },
    *work(rig) {
      const say = function* (what: string, path: string): Task<void> {
        const { mtime, ctime } = yield* rig.times(path);
        yield* rig.fsync(path);
        rig.say(`${what} ${mtime} ${ctime}`);
      };
      yield* rig.wait(10);
      yield* rig.write("f", 5000, content(100, 2));
      yield* say("written", "f");
      // An access time, put by the next checkpoint, or a rename: each puts the inode behind the data in the journal.
      yield* rig.read("f", 0, 9000);
      rig.volume.checkpoint(() => {});
      for (let count = 0; count < 6; count++) {
        yield* rig.write("other", 0, content(100, count));
        yield* rig.fsync("other");
      }
      yield* rig.wait(20);
      yield* rig.write("f", 100, content(100, 3));
      yield* rig.wait(10);
      yield* rig.rename("f", "g");
      yield* say("renamed", "g");
      yield* rig.wait(20);
      yield* rig.write("g", 100, content(100, 4));
      yield* rig.setTimes("g", [-5, 7]);
      yield* say("set", "g");
      yield* rig.wait(20);
    },
    check(found, said) {
      const last = [...said].at(-1) ?? "nothing";
      const [what = "", mtime = "", ctime = ""] = last.split(" ");
      const { times } = found.get("g") ?? at(found, "f");
      // What came after may be there as well, and has a later ctime.
      const isLater = times.ctime > ctime;
      if (what !== "nothing" && !isLater)
        ensure(
          times.mtime === mtime && times.ctime === ctime,
          `times are ${times.mtime} ${times.ctime}, told ${last}`,
        );
      if (what === "set") ensure(!isLater, "nothing came after that");
      return what;
    },
  });
});

function* changeNames(rig: Rig): Task<void> {
  yield* rig.mkdir("d");
  yield* rig.file("d/made");
  yield* rig.rename("moved", "d/moved");
  yield* rig.link("linked", "d/linked");
  yield* rig.unlink("gone");
  yield* rig.symlink("made", "d/symlink");
}

function* haveNames(rig: Rig): Task<void> {
  for (const name of ["moved", "linked", "gone", "other"])
    yield* rig.file(name, content(5000, name.length));
}

function namesAre(found: Found): void {
  ensure(at(found, "d").type === "directory" && at(found, "d/made").type === "file", "made");
  ensure(same(at(found, "d/moved").bytes, content(5000, 5)) && !found.has("moved"), "moved");
  ensure(at(found, "d/linked").nlink === 2 && at(found, "linked").nlink === 2, "linked");
  ensure(!found.has("gone") && at(found, "d/symlink").target === "made", "the others");
}

t.test("fsync of any file: every change of names before it", async (t) => {
  promise(t, ["told", "not told"], {
    before: haveNames,
    *work(rig) {
      yield* changeNames(rig);
      yield* rig.write("other", 0, content(10, 1));
      yield* rig.fsync("other");
      rig.say("told");
    },
    check(found, said) {
      if (said.size > 0) namesAre(found);
      return said.size > 0 ? "told" : "not told";
    },
  });
});

t.test("fsync of a directory: names, directories, links and removals", async (t) => {
  promise(t, ["told", "not told"], {
    before: haveNames,
    *work(rig) {
      yield* changeNames(rig);
      yield* rig.fsync("");
      rig.say("told");
    },
    check(found, said) {
      if (said.size > 0) namesAre(found);
      return said.size > 0 ? "told" : "not told";
    },
  });
});

t.test("without fsync: changes of names are there up to some moment, in order", async (t) => {
  const outcomes = new Set<string>();
  const options: Omit<PowerCutOptions, "seed"> = {
    checkpointSeconds: 0.004,
    *work(rig) {
      for (let index = 0; index < 60; index++) {
        yield* rig.mkdir(`d${index}`);
        yield* rig.wait(0.3);
      }
    },
    check(found) {
      const count = found.size - 1;
      for (let index = 0; index < count; index++) at(found, `d${index}`);
      return String(count);
    },
  };
  for (const seed of [1, 2]) {
    for (const outcome of cutPower({ ...options, seed }).seen.keys()) outcomes.add(outcome);
  }
  t.ok(outcomes.size > 3, `${outcomes.size} moments`);
});

t.test("write: each block of 4 KiB is the old or the new one, never a mixture", async (t) => {
  const blocks = 64;
  const old = content(blocks * BLOCK, 1);
  const young = content(blocks * BLOCK, 2);
  promise(t, ["old", "new", "some of both"], {
    *before(rig) {
      yield* rig.file("f", old);
    },
    *work(rig) {
      for (let block = 0; block < blocks; block += 4) {
        yield* rig.write("f", block * BLOCK, young.subarray(block * BLOCK, (block + 4) * BLOCK));
        if (block % 16 === 8) yield* rig.fsync("f");
        yield* rig.wait(0.5);
      }
      yield* rig.fsync("f");
      rig.say("all");
    },
    check(found, said) {
      const { bytes } = at(found, "f");
      ensure(bytes.length === old.length, "another size");
      let changed = 0;
      for (let from = 0; from < bytes.length; from += BLOCK) {
        const block = bytes.subarray(from, from + BLOCK);
        const isNew = same(block, young.subarray(from, from + BLOCK));
        ensure(isNew || same(block, old.subarray(from, from + BLOCK)), `a mixture at ${from}`);
        if (isNew) changed += 1;
      }
      ensure(said.size === 0 || changed === blocks, "an acknowledged block is old");
      return changed === 0 ? "old" : changed === blocks ? "new" : "some of both";
    },
  });
});

t.test("append: never a byte that was not written, and no size beyond what was", async (t) => {
  const log = content(120_000, 3);
  promise(t, ["told", "not told"], {
    *before(rig) {
      yield* rig.file("trash", content(2_000_000, 9));
      yield* rig.sync();
      yield* rig.unlink("trash");
      yield* rig.file("log");
    },
    *work(rig) {
      for (let from = 0; from < log.length; from += 3000) {
        yield* rig.write("log", from, log.subarray(from, from + 3000));
        if (from % 12_000 === 9000) {
          yield* rig.fsync("log");
          rig.say(String(from + 3000));
        }
        yield* rig.wait(0.2);
      }
    },
    check(found, said) {
      const { bytes } = at(found, "log");
      const told = Math.max(0, ...[...said].map(Number));
      ensure(bytes.length >= told && bytes.length <= log.length, `${bytes.length} of ${told}`);
      ensure(same(bytes.subarray(0, told), log.subarray(0, told)), "acknowledged bytes are wrong");
      for (let from = told - (told % BLOCK); from < bytes.length; from += BLOCK) {
        bytes.subarray(from, from + BLOCK).forEach((byte, index) => {
          ensure(byte === 0 || byte === log[from + index], `a foreign byte at ${from + index}`);
        });
      }
      return told > 0 ? "told" : "not told";
    },
  });
});

t.test("rename over a file: the old or the new one, whole, without fsync", async (t) => {
  for (const size of PUBLISHED) {
    promise(t, ["old", "new"], {
      *before(rig) {
        yield* rig.file("f", content(size, 1));
      },
      *work(rig) {
        yield* rig.file("f.tmp", content(size, 2));
        yield* rig.rename("f.tmp", "f");
        yield* rig.fsync("");
        rig.say("renamed");
      },
      check(found, said) {
        const { bytes } = at(found, "f");
        const isNew = same(bytes, content(size, 2));
        ensure(isNew || same(bytes, content(size, 1)), `${bytes.length} other bytes`);
        ensure(isNew || said.size === 0, "an acknowledged rename is lost");
        return isNew ? "new" : "old";
      },
    });
  }
});

t.test("link: where the name is, the file is whole, without fsync", async (t) => {
  for (const size of PUBLISHED) {
    promise(t, ["there", "not there"], {
      *work(rig) {
        yield* rig.file("tmp", content(size, 2));
        yield* rig.link("tmp", "published");
        yield* rig.unlink("tmp");
        yield* rig.fsync("");
        rig.say("published");
      },
      check(found, said) {
        const thing = found.get("published");
        ensure(thing !== undefined || said.size === 0, "an acknowledged name is lost");
        ensure(thing === undefined || same(thing.bytes, content(size, 2)), "it is not whole");
        return thing === undefined ? "not there" : "there";
      },
    });
  }
});

t.test("unlink: gone when told, else gone or whole", async (t) => {
  promise(t, ["gone", "whole"], {
    *before(rig) {
      yield* rig.file("f", content(200_000, 1));
    },
    *work(rig) {
      yield* rig.unlink("f");
      // Others write meanwhile: where its blocks were, if it went wrong.
      yield* rig.file("g", content(200_000, 2));
      yield* rig.fsync("g");
      rig.say("gone");
    },
    check(found, said) {
      const thing = found.get("f");
      ensure(thing === undefined || said.size === 0, "it came back");
      ensure(thing === undefined || same(thing.bytes, content(200_000, 1)), "it is not whole");
      return thing === undefined ? "gone" : "whole";
    },
  });
});

t.test("unlink of an open file: after a crash it is gone, and its space is free", async (t) => {
  const { rig, end } = start({}, 1);
  const { usedBytes } = rig.volume.status();
  rig.session.run(
    (function* (): Task<void> {
      yield* rig.file("f", content(4_000_000, 1));
      rig.volume.fs.remember(rig.ino("f"), 1);
      yield* rig.sync();
      yield* rig.unlink("f");
      yield* rig.write("f", 0, content(300_000, 2));
      yield* rig.fsync("f");
    })(),
  );
  end();
  const again = remount(rig.session.device.crashImage(new Prng(1), "none"));
  again.session.run(again.volume.unmount());
  const found = look(again.session.device.currentImage());
  t.same([...found.keys()], [""]);
  t.ok(again.volume.status().usedBytes - usedBytes < 400_000);
});

t.test("truncate: one size or the other, and zeros behind a cut, not what was there", async (t) => {
  const old = content(50_000, 1);
  promise(t, ["50000", "10000", "50000, with zeros"], {
    *before(rig) {
      yield* rig.file("f", old);
    },
    *work(rig) {
      yield* rig.truncate("f", 10_000);
      yield* rig.fsync("f");
      rig.say("cut");
      yield* rig.truncate("f", 50_000);
      yield* rig.fsync("f");
      rig.say("grown");
    },
    check(found, said) {
      const { bytes } = at(found, "f");
      ensure(same(bytes.subarray(0, 10_000), old.subarray(0, 10_000)), "the beginning is wrong");
      if (bytes.length === 10_000) {
        ensure(!said.has("grown"), "the size is lost");
        return "10000";
      }
      ensure(bytes.length === 50_000, `${bytes.length} bytes`);
      if (same(bytes, old)) {
        ensure(!said.has("cut"), "the cut is lost");
        return "50000";
      }
      ensure(
        bytes.subarray(10_000).every((byte) => byte === 0),
        "old bytes behind the cut",
      );
      return "50000, with zeros";
    },
  });
});

t.test("fallocate: the size, zeros where nothing was written, and what was punched", async (t) => {
  const KEEP_SIZE = 1;
  const PUNCH_HOLE = 2;
  const old = content(40_000, 1);
  promise(t, ["before", "kept", "written", "punched"], {
    *before(rig) {
      yield* rig.file("f");
    },
    *work(rig) {
      yield* rig.fallocate("f", 0, 0, 40_000);
      yield* rig.fsync("f");
      rig.say("kept");
      yield* rig.write("f", 0, old);
      yield* rig.fsync("f");
      rig.say("written");
      yield* rig.fallocate("f", PUNCH_HOLE | KEEP_SIZE, 0, 8192);
      yield* rig.fsync("f");
      rig.say("punched");
    },
    check(found, said) {
      const { bytes } = at(found, "f");
      if (bytes.length === 0) {
        ensure(said.size === 0, "the kept space is lost");
        return "before";
      }
      ensure(bytes.length === 40_000, `${bytes.length} bytes`);
      for (let from = 0; from < bytes.length; from += BLOCK) {
        const block = bytes.subarray(from, from + BLOCK);
        const isZero = block.every((byte) => byte === 0);
        const isOld = same(block, old.subarray(from, from + BLOCK));
        ensure(isZero || isOld, `other bytes at ${from}`);
        ensure(isOld || from < 8192 || !said.has("written"), `lost at ${from}`);
        ensure(isZero || from >= 8192 || !said.has("punched"), `not punched at ${from}`);
      }
      return [...said].at(-1) ?? "before";
    },
  });
});

t.test("setxattr and chmod: the old or the new value, the new one when told", async (t) => {
  const values = [content(50, 1), content(9000, 2), content(400, 3)];
  promise(t, ["0", "1", "2"], {
    *before(rig) {
      yield* rig.file("f");
      yield* rig.setXattr("f", "user.x", values[0] as Uint8Array);
      yield* rig.chmod("f", 0);
    },
    *work(rig) {
      for (const index of [1, 2]) {
        yield* rig.setXattr("f", "user.x", values[index] as Uint8Array);
        yield* rig.chmod("f", index);
        yield* rig.fsync("f");
        rig.say(String(index));
      }
    },
    check(found, said) {
      const { mode, xattrs } = at(found, "f");
      const value = values.findIndex((each) => xattrs.get("user.x") === sum(each));
      ensure(value >= 0, "another value");
      ensure(mode === value || mode + 1 === value, `mode ${mode} after value ${value}`);
      ensure(mode >= said.size, "an acknowledged change is lost");
      return String(value);
    },
  });
});

t.test(
  "copy_file_range: the whole copy when told, never other bytes; later writes leave it",
  async (t) => {
    const source = content(300_000, 1);
    promise(t, ["told", "not told"], {
      *before(rig) {
        yield* rig.file("source", source);
      },
      *work(rig) {
        yield* rig.file("copy");
        yield* rig.copy("source", "copy", source.length);
        yield* rig.fsync("copy");
        rig.say("copied");
        yield* rig.write("source", 0, content(200_000, 2));
        yield* rig.fsync("source");
      },
      check(found, said) {
        const bytes = found.get("copy")?.bytes ?? new Uint8Array(0);
        ensure(said.size === 0 || same(bytes, source), "an acknowledged copy is not whole");
        for (let from = 0; from < bytes.length; from += BLOCK) {
          const block = bytes.subarray(from, from + BLOCK);
          const expected = source.subarray(from, from + block.length);
          ensure(same(block, expected) || block.every((byte) => byte === 0), `other at ${from}`);
        }
        return said.size === 0 ? "not told" : "told";
      },
    });
  },
);

t.test("sync: everything", async (t) => {
  promise(t, ["told", "not told"], {
    before: haveNames,
    *work(rig) {
      yield* changeNames(rig);
      for (const size of SIZES) yield* rig.file(`f${size}`, content(size, size));
      yield* rig.sync();
      rig.say("synced");
    },
    check(found, said) {
      if (said.size === 0) return "not told";
      namesAre(found);
      for (const size of SIZES)
        ensure(same(at(found, `f${size}`).bytes, content(size, size)), `file of ${size}`);
      return "told";
    },
  });
});

t.test("unmount: everything, and nothing is left to recover", async (t) => {
  const { rig } = start({}, 1);
  rig.session.run(
    (function* (): Task<void> {
      for (const size of SIZES) yield* rig.file(`f${size}`, content(size, size));
      yield* rig.volume.unmount();
    })(),
  );
  const image = rig.session.device.crashImage(new Prng(1), "none");
  const again = remount(image.clone());
  t.equal(again.volume.status().journal.replayedTransactions, 0);
  const found = look(image);
  for (const size of SIZES) t.ok(same(at(found, `f${size}`).bytes, content(size, size)));
});

t.test(
  "without fsync: what a program handed over is durable after the next checkpoint",
  async (t) => {
    promise(t, ["told", "not told"], {
      *work(rig) {
        for (const size of SIZES) yield* rig.file(`f${size}`, content(size, size));
        yield (resume) => rig.volume.checkpoint(resume);
        rig.say("checkpoint");
      },
      check(found, said) {
        if (said.size === 0) return "not told";
        for (const size of SIZES)
          ensure(same(at(found, `f${size}`).bytes, content(size, size)), `file of ${size}`);
        return "told";
      },
    });
  },
);

t.test("without fsync: checkpoints come by themselves, each interval", async (t) => {
  const { rig, end } = start({ checkpointSeconds: 5 }, 1);
  rig.session.run(
    (function* (): Task<void> {
      yield* rig.file("f", content(600_000, 1));
      yield* rig.wait(7000);
    })(),
  );
  end();
  const found = look(rig.session.device.crashImage(new Prng(1), "none"));
  t.ok(same(at(found, "f").bytes, content(600_000, 1)));
});

/** Three files, each synced. */
function* haveFiles(rig: Rig): Task<void> {
  for (const path of ["a", "b", "c"]) yield* rig.file(path, content(100_000, path.charCodeAt(0)));
}

function filesAreWhole(found: Found, paths: readonly string[]): void {
  for (const path of paths)
    ensure(same(at(found, path).bytes, content(100_000, path.charCodeAt(0))), `${path} is wrong`);
}

/** What a call fails with, or 0. */
function* statusOf(call: Task<void>): Task<number> {
  try {
    yield* call;
    return 0;
  } catch (error) {
    if (error instanceof CallFailed) return error.status;
    throw error;
  }
}

t.test(
  "a failed write: fsync says EIO, so does each one after it, and nothing told is lost",
  async (t) => {
    let failures = 0;
    // Into the journal, and into extents.
    for (let round = 0; round < 24; round++) {
      const size = round % 2 === 0 ? 700_000 : 9000;
      const failing = round >> 1;
      const { rig } = start({ before: haveFiles }, round);
      const { device } = rig.session;
      const first = device.eventCount + failing;
      // One failure alone: those after it would work.
      device.onEvent = (_kind, index) => (index === first ? "error" : undefined);
      const young = content(size, 2);
      const statuses: number[] = [];
      rig.session.run(
        (function* (): Task<void> {
          yield* rig.write("a", 0, young);
          statuses.push(yield* statusOf(rig.fsync("a")));
          const { state } = rig.volume.status();
          t.equal(state, statuses[0] === 0 ? "online" : "faulted", "and status says so");
          yield (resume) => rig.volume.checkpoint(() => resume(0));
          statuses.push(yield* statusOf(rig.fsync("a")), yield* statusOf(rig.fsync("b")));
          statuses.push(yield* statusOf(rig.mkdir("d")));
        })(),
      );
      const found = look(device.crashImage(new Prng(1), "subset"));
      filesAreWhole(found, ["b", "c"]);
      if (statuses[0] === 0)
        t.ok(
          same(at(found, "a").bytes.subarray(0, size), young),
          `write ${failing}: what was told`,
        );
      if (device.eventCount <= first) continue;
      failures += 1;
      t.same(
        statuses,
        [statuses[0] === 0 ? 0 : -EIO, -EIO, -EIO, -EROFS],
        `write ${failing} failed`,
      );
    }
    t.ok(failures > 3, `${failures} failures`);
  },
);

t.test("a device that vanishes: errors, and all that was told when it is back", async (t) => {
  for (let failing = 0; failing < 12; failing++) {
    const { rig } = start({ before: haveFiles }, failing);
    const { device } = rig.session;
    const first = device.eventCount + failing;
    device.onEvent = (_kind, index) => {
      if (index < first) return undefined;
      device.failReads(0, device.sizeBytes);
      return "error";
    };
    let told = 0;
    const status = rig.session.run(
      (function* (): Task<number> {
        for (;;) {
          const failed = yield* statusOf(rig.write("a", told * 70_000, content(70_000, told)));
          if (failed < 0) return failed;
          const notSynced = yield* statusOf(rig.fsync("a"));
          if (notSynced < 0) return notSynced;
          told += 1;
        }
      })(),
    );
    t.equal(status, -EIO, `from write ${failing} on`);
    const found = look(device.crashImage(new Prng(1), "none"));
    filesAreWhole(found, ["b", "c"]);
    for (let part = 0; part < told; part++) {
      const bytes = at(found, "a").bytes.subarray(part * 70_000, (part + 1) * 70_000);
      t.ok(same(bytes, content(70_000, part)), "what was told is there");
    }
  }
});

/** What a mount of it shows: "refused", or what the check makes of it. */
function lookOrRefused(look: () => string): string {
  try {
    return look();
  } catch (error) {
    if (error instanceof FsError) return "refused";
    if (/failed: -(5|117|74)$/.test((error as Error).message)) return "refused";
    throw error;
  }
}

t.test("a device that lies about flushes: older bytes or an error, never wrong ones", async (t) => {
  const seen = new Set<string>();
  const versions = [0, 1, 2, 3, 4].map((version) => content(120_000, version));
  for (let seed = 0; seed < 12; seed++) {
    const { rig } = start(
      {
        *before(rig) {
          yield* rig.file("f", versions[0]);
        },
        checkpointSeconds: seed % 2 === 0 ? 3600 : 0.003,
      },
      seed,
    );
    const { device } = rig.session;
    device.dropFlush = true;
    rig.session.run(
      (function* (): Task<void> {
        for (const version of versions.slice(1)) {
          yield* rig.write("f", 0, version);
          yield* rig.fsync("f");
          yield* rig.wait(10);
        }
      })(),
    );
    for (const mode of ["none", "subset", "torn", "subset", "torn", "all"] as const) {
      const image = device.crashImage(new Prng(seed * 10 + seen.size), mode);
      const outcome = lookOrRefused(() => {
        const { bytes } = at(look(image), "f");
        for (let from = 0; from < bytes.length; from += BLOCK) {
          const block = bytes.subarray(from, from + BLOCK);
          ensure(
            versions.some((version) => same(block, version.subarray(from, from + block.length))),
            `seed ${seed}, ${mode}: other bytes at ${from}`,
          );
        }
        return same(bytes, versions[4] as Uint8Array) ? "as told" : "older";
      });
      seen.add(outcome);
    }
  }
  t.ok(seen.has("older") && seen.has("as told"), [...seen].join(", "));
});

t.test(
  "lost and misdirected writes: all is right, or an error names it; never wrong bytes",
  async (t) => {
    const seen = new Map<string, number>();
    const paths = ["a", "b", "c", "d", "e"];
    let writes = 1;
    for (let lost = 0; lost < writes; lost++) {
      for (const isMisdirected of [false, true]) {
        const { rig } = start({ before: haveFiles }, 1);
        const { device } = rig.session;
        const prng = new Prng(lost);
        let count = 0;
        device.onEvent = (kind, _index, _offset, byteLength) => {
          if (kind !== "write" || count++ !== lost) return undefined;
          return isMisdirected
            ? prng.below((device.sizeBytes - byteLength) / BLOCK) * BLOCK
            : "lose";
        };
        rig.session.run(
          (function* (): Task<void> {
            yield* rig.file("d", content(100_000, 100));
            yield* rig.fsync("d");
            yield* rig.file("e", content(100_000, 101));
            yield* rig.volume.unmount();
          })(),
        );
        writes = Math.max(writes, count);
        const outcome = lookOrRefused(() => {
          filesAreWhole(look(device.currentImage()), paths);
          return "right";
        });
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      }
    }
    t.ok((seen.get("right") ?? 0) > (seen.get("refused") ?? 0), JSON.stringify([...seen]));
    t.ok(seen.has("refused"), "some are noticed");
  },
);

/** Where a block of these bytes lies on the device. */
function placeOf(
  image: { read(offset: number, target: Uint8Array): void },
  bytes: Uint8Array,
): number {
  const block = new Uint8Array(BLOCK);
  for (let at = 0; at < DEVICE_BYTES; at += BLOCK) {
    image.read(at, block);
    if (same(block, bytes)) return at;
  }
  throw new Error("it is nowhere");
}

const DEVICE_BYTES = 64 << 20;

t.test("rot or a bad sector in data: EIO for its block alone", async (t) => {
  const { rig, end } = start({ before: haveFiles }, 1);
  rig.session.run(rig.volume.unmount());
  end();
  const image = rig.session.device.currentImage();
  const bytes = content(100_000, "b".charCodeAt(0));
  const place = placeOf(image, bytes.subarray(10 * BLOCK, 11 * BLOCK));
  for (const damage of ["rot", "a bad sector"]) {
    const again = remount(image.clone(), (device) => {
      if (damage === "rot") device.flipBit(place + 5, 3);
      else device.failReads(place, 512);
    });
    const ino = rig.ino("b");
    again.session.run(
      (function* (): Task<void> {
        const before = yield* again.calls.read(ino, 0, 10 * BLOCK);
        t.ok(same(before, bytes.subarray(0, 10 * BLOCK)), `${damage}: the blocks before it`);
        const after = yield* again.calls.read(ino, 11 * BLOCK, 5 * BLOCK);
        t.ok(same(after, bytes.subarray(11 * BLOCK, 16 * BLOCK)), "the blocks behind it");
        let failed = "";
        try {
          yield* again.calls.read(ino, 10 * BLOCK, BLOCK);
        } catch (error) {
          failed = (error as Error).message;
        }
        t.match(failed, /failed: -5$/, "EIO");
      })(),
    );
  }
});

t.test("metadata: either half of the device may be unreadable or rotten", async (t) => {
  const { rig, end } = start({ before: haveFiles }, 1);
  rig.session.run(rig.volume.unmount());
  end();
  const image = rig.session.device.currentImage();
  const places = metadataOf(image);
  let heals = 0;
  for (const damage of ["rot", "bad sectors"]) {
    for (const half of [0, 1]) {
      const hit = places.filter((place) => Math.floor(place / (DEVICE_BYTES / 2)) === half);
      t.ok(hit.length > 4, `${hit.length} places`);
      const copy = image.clone();
      if (damage === "rot") for (const place of hit) copy.flipBit(place + 20, 1);
      const again = remount(copy, (device) => {
        if (damage !== "rot") for (const place of hit) device.failReads(place, 512);
      });
      again.session.run(
        (function* (): Task<void> {
          for (const path of ["a", "b", "c"]) {
            const bytes = yield* again.calls.read(rig.ino(path), 0, 100_000);
            t.ok(
              same(bytes, content(100_000, path.charCodeAt(0))),
              `${damage} in half ${half}: ${path}`,
            );
          }
          heals += again.volume.status().counters["pageHeals"] ?? 0;
        })(),
      );
    }
  }
  t.ok(heals > 0, `${heals} pages were written again`);
});

/** Superblocks, pages and bitmaps: all that is not zero outside of data and journal. */
function metadataOf(image: { read(offset: number, target: Uint8Array): void }): number[] {
  const { journalStart, journalBlocks } = geometryFor(DEVICE_BYTES);
  const data = new Set<string>();
  for (const path of ["a", "b", "c"]) {
    const bytes = content(25 * BLOCK, 0);
    bytes.fill(0).set(content(100_000, path.charCodeAt(0)));
    for (let from = 0; from < bytes.length; from += BLOCK)
      data.add(sum(bytes.subarray(from, from + BLOCK)));
  }
  const places: number[] = [];
  const block = new Uint8Array(BLOCK);
  for (let at = 0; at < DEVICE_BYTES; at += BLOCK) {
    const number = at / BLOCK;
    if (number >= journalStart && number < journalStart + journalBlocks) continue;
    image.read(at, block);
    if (block.some((byte) => byte !== 0) && !data.has(sum(block))) places.push(at);
  }
  return places;
}

t.test(
  "the journal has one copy: a bad sector, or rot with whole commits behind it, refuses the mount",
  async (t) => {
    const { rig, end } = start({ before: haveFiles }, 1);
    const { journalStart, journalBlocks } = geometryFor(DEVICE_BYTES);
    const commits: number[] = [];
    rig.session.device.onEvent = (kind, _index, offsetBytes) => {
      const block = offsetBytes / BLOCK - journalStart;
      if (kind === "write" && block >= 0 && block < journalBlocks) commits.push(offsetBytes);
      return undefined;
    };
    rig.session.run(
      (function* (): Task<void> {
        yield* rig.write("a", 0, content(100, 1));
        yield* rig.fsync("a");
        yield* rig.write("b", 0, content(100, 2));
        yield* rig.fsync("b");
      })(),
    );
    end();
    const image = rig.session.device.crashImage(new Prng(1), "none");
    t.equal(commits.length, 2);
    const [place = 0, next = 0] = commits;
    const whole = look(image.clone());
    t.ok(same(at(whole, "a").bytes.subarray(0, 100), content(100, 1)));
    t.throws(() => remount(image.clone(), (device) => device.failReads(place, BLOCK)), FsError);
    const rotten = image.clone();
    rotten.flipBit(place + 70, 1);
    t.throws(() => remount(rotten.clone()), {
      code: "EUCLEAN",
      message: /of the journal.* was durable and is damaged/,
    });
    const shown = remount(rotten.clone(), undefined, true);
    t.match(shown.session.log, [/^error journal.damaged/], "but it can be looked at, up to there");
    filesAreWhole(contentsOf(shown), ["a", "b", "c"]);
    const last = image.clone();
    last.flipBit(next + 70, 1);
    t.same(remount(last.clone()).session.log, [], "the last one may have been under way");
    t.ok(same(at(look(last), "a").bytes.subarray(0, 100), content(100, 1)), "the first is there");
  },
);

t.test(
  "truncate of a file in many pieces: from its end on, in steps; each is a whole cut",
  async (t) => {
    const pieces = 400;
    const old = new Uint8Array((2 * pieces - 1) * BLOCK);
    for (let piece = 0; piece < pieces; piece++) old.set(content(BLOCK, piece), 2 * piece * BLOCK);
    promise(t, ["whole", "cut"], {
      *before(rig) {
        yield* rig.file("f");
        for (let piece = 0; piece < pieces; piece++) {
          const from = 2 * piece * BLOCK;
          yield* rig.write("f", from, old.subarray(from, from + BLOCK));
        }
      },
      *work(rig) {
        yield* rig.truncate("f", 5000);
        yield* rig.fsync("f");
        rig.say("cut");
      },
      check(found, said) {
        const { bytes } = at(found, "f");
        ensure(bytes.length >= 5000 && same(bytes, old.subarray(0, bytes.length)), "other bytes");
        ensure(said.size === 0 || bytes.length === 5000, "the cut is lost");
        // A size in between is whole, too: each step takes pieces from the end.
        return bytes.length === 5000 ? "cut" : "whole";
      },
    });
  },
);

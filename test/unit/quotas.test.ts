/** Quotas: what is counted, refused and kept through crashes. */
import t, { type Test } from "tap";
import { EDQUOT, EINVAL } from "../../host/base/errno.ts";
import type { MemoryDevice } from "../../host/device/memory_device.ts";
import { ITEM_QUOTA } from "../../host/format/key.ts";
import { TREE_FS } from "../../host/format/page_pointer.ts";
import { QUOTA_BLOCKS, QUOTA_USER, quotaKey } from "../../host/format/quota.ts";
import {
  AttributeChange,
  Attributes,
  ROOT_INO,
  SET_GID,
  SET_UID,
  VolumeSpace,
} from "../../host/fs/file_system.ts";
import { FLAG_PROJECT_INHERIT } from "../../host/fs/inode_flags.ts";
import type { QuotaKind, QuotaReport } from "../../host/fs/quotas.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import { repair } from "../../host/maintain/repair.ts";
import { ImageEditor } from "../support/image_editor.ts";
import { MemoryEngine } from "../support/memory_engine.ts";
import { bytesOf, type Calls, create, mount } from "../support/sample_volume.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const ALICE = 1000;
const STAFF = 50;

/** A volume whose quotas are looked at. */
class QuotaVolume {
  device: MemoryDevice = create(new MemoryEngine(), 64 * MIB);
  mounted = mount(this.device);

  get calls(): Calls {
    return this.mounted.calls;
  }

  get engine(): MemoryEngine {
    return this.mounted.engine;
  }

  set(kind: QuotaKind, id: number, bytes: number | null, files: number | null = null): number {
    let result: number | null = null;
    this.mounted.volume.quotas.set({ kind, id }, { bytes, files }, (status) => {
      result = status;
    });
    this.engine.drain();
    if (result === null) throw new Error("The quota was not answered");
    return result;
  }

  of(kind: QuotaKind, id: number): QuotaReport | undefined {
    return this.mounted.volume.quotas.list().find((each) => each.kind === kind && each.id === id);
  }

  /** Bytes and files that a quota counts, after a sync. */
  used(kind: QuotaKind, id: number): [number, number] {
    this.calls.sync();
    this.engine.drain();
    const quota = this.of(kind, id);
    return [quota?.usedBytes ?? -1, quota?.usedFiles ?? -1];
  }

  /** The result of a file's creation: 0 or −errno. */
  make(owner: number, name: string, parent: number = ROOT_INO): number {
    this.calls.node.uid = owner;
    this.calls.node.gid = owner;
    return attempt(() => this.calls.file(parent, name));
  }

  own(ino: number, uid: number, gid: number): number {
    const change = new AttributeChange();
    change.set = SET_UID | SET_GID;
    change.uid = uid;
    change.gid = gid;
    return this.engine.retry(() =>
      this.mounted.volume.fs.setAttributes(ino, change, new Attributes()),
    );
  }

  /** As after a power cut: what was written to the device is there, memory is not. */
  crash(): void {
    this.mounted = mount(this.mounted.engine.device(64 * MIB, this.device.contents.clone()));
    this.engine.drain();
  }

  check(t: Test): void {
    this.engine.run(this.mounted.volume.unmount());
    const checker = new MemoryEngine();
    const device = checker.device(this.device.sizeBytes, this.device.contents);
    t.same(checker.run(fsck(checker.environment, [device])).errors, []);
  }
}

/** 0 or a positive result, or the −errno of the operation that failed. */
function attempt(operation: () => unknown): number {
  try {
    const result = operation();
    return typeof result === "number" ? result : 0;
  } catch (error) {
    return Number(/failed: (-\d+)$/.exec((error as Error).message)?.[1] ?? Number.NaN);
  }
}

t.test("a new quota counts what is there, and then what changes", async (t) => {
  const volume = new QuotaVolume();
  const { calls } = volume;
  for (let i = 0; i < 700; i++) volume.make(i % 2 === 0 ? ALICE : 7, `file ${i}`);
  const large = volume.make(ALICE, "large");
  calls.write(large, 0, bytesOf(100 * KIB, 1));
  calls.sync();
  t.equal(volume.set("user", ALICE, 10 * MIB), 0);
  t.equal(volume.of("user", ALICE)?.isCounted, true);
  t.same(volume.used("user", ALICE), [100 * KIB, 351]);
  calls.write(large, 200 * KIB, bytesOf(20 * KIB, 2));
  t.same(volume.used("user", ALICE), [120 * KIB, 351]);
  calls.truncate(large, 10 * KIB);
  t.same(volume.used("user", ALICE), [12 * KIB, 351]);
  calls.allocate(large, 0, MIB);
  t.same(volume.used("user", ALICE), [MIB, 351], "space that is kept counts");
  const clone = volume.make(ALICE, "clone");
  calls.clone(large, 0, clone, 0, 2 ** 30);
  t.same(volume.used("user", ALICE), [MIB + 12 * KIB, 352], "shared blocks count for each file");
  t.equal(volume.own(clone, 7, 7), 0);
  t.same(volume.used("user", ALICE), [MIB, 351]);
  calls.unlink(ROOT_INO, "large");
  calls.unlink(ROOT_INO, "file 0");
  t.same(volume.used("user", ALICE), [0, 349]);
  t.equal(volume.set("user", ALICE, null), 0);
  t.equal(volume.of("user", ALICE), undefined);
  volume.check(t);
});

t.test("counting goes on beside changes, and after a crash", async (t) => {
  const volume = new QuotaVolume();
  const { calls } = volume;
  for (let i = 0; i < 1500; i++) volume.make(ALICE, `file ${i}`);
  calls.sync();
  const { quotas } = volume.mounted.volume;
  let status = 1;
  quotas.set({ kind: "user", id: ALICE }, { bytes: MIB, files: null }, (result) => {
    status = result;
  });
  t.equal(status, 0);
  t.equal(volume.of("user", ALICE)?.isCounted, false, "it has just begun");
  // Those below where it has got to, those above, and new ones.
  calls.unlink(ROOT_INO, "file 3");
  // More of these than new ones: what is wrong with the one must not make up for the other.
  for (const above of [1496, 1497, 1498, 1499]) calls.unlink(ROOT_INO, `file ${above}`);
  volume.make(ALICE, "new");
  calls.sync();
  volume.crash();
  t.equal(volume.of("user", ALICE)?.isCounted, true);
  t.same(volume.used("user", ALICE), [0, 1496]);
  volume.crash();
  t.same(volume.used("user", ALICE), [0, 1496], "and again");
});

t.test("what was counted since the checkpoint is counted by replay", async (t) => {
  const volume = new QuotaVolume();
  const { calls } = volume;
  volume.set("user", ALICE, 8 * MIB);
  volume.set("group", STAFF, null, 100);
  const file = volume.make(ALICE, "file");
  calls.write(file, 0, bytesOf(MIB, 3));
  volume.own(file, ALICE, STAFF);
  calls.sync();
  t.same(volume.used("group", STAFF), [MIB, 1]);
  volume.crash();
  t.same(volume.used("user", ALICE), [MIB, 1]);
  t.same(volume.used("group", STAFF), [MIB, 1]);
  t.match(volume.of("group", STAFF), { limits: { bytes: null, files: 100 }, isCounted: true });
});

t.test("beyond a limit there is EDQUOT, and nothing is lost below it", async (t) => {
  const volume = new QuotaVolume();
  const { calls } = volume;
  volume.set("user", ALICE, MIB, 3);
  const file = volume.make(ALICE, "file");
  const chunk = bytesOf(64 * KIB, 4);
  let written = 0;
  while (attempt(() => calls.write(file, written, chunk)) >= 0 && written <= MIB)
    written += chunk.length;
  t.equal(written, MIB, "buffered data counts, too");
  t.equal(
    attempt(() => calls.write(file, written, chunk)),
    -EDQUOT,
  );
  t.equal(attempt(() => calls.write(file, 4096, chunk)) >= 0, true, "what is there can be changed");
  t.equal(
    attempt(() => calls.allocate(file, 2 * MIB, MIB)),
    -EDQUOT,
  );
  const second = volume.make(ALICE, "second");
  t.equal(
    attempt(() => calls.clone(file, 0, second, 0, MIB)),
    -EDQUOT,
  );
  t.equal(attempt(() => calls.write(second, 0, bytesOf(100, 5))) >= 0, true, "no block of its own");
  const third = volume.make(ALICE, "third");
  t.ok(third > 0);
  t.equal(volume.make(ALICE, "fourth"), -EDQUOT);
  t.equal(volume.make(7, "another's") > 0, true);
  const others = volume.make(7, "to be given");
  t.equal(volume.own(others, ALICE, ALICE), -EDQUOT, "nor by a gift");
  calls.unlink(ROOT_INO, "file");
  t.same(volume.used("user", ALICE), [0, 2]);
  t.equal(volume.own(others, ALICE, ALICE), 0);
  t.ok(attempt(() => calls.write(second, 0, bytesOf(MIB, 6))) >= 0);
  volume.check(t);
});

t.test(
  "a directory that hands on its project is limited as a whole, and df shows it",
  async (t) => {
    const volume = new QuotaVolume();
    const { calls } = volume;
    const { fs } = volume.mounted.volume;
    t.equal(volume.set("project", 0, MIB), -EINVAL);
    t.equal(volume.set("project", 9, MIB, 10), 0);
    const folder = calls.directory(ROOT_INO, "folder");
    const status = volume.engine.retry(() =>
      fs.setFlags(folder, FLAG_PROJECT_INHERIT, 9, new Attributes()),
    );
    t.equal(status, 0);
    const file = volume.make(ALICE, "file", folder);
    calls.write(file, 0, bytesOf(MIB / 2, 7));
    t.same(volume.used("project", 9), [MIB / 2, 2]);
    const space = new VolumeSpace();
    t.equal(fs.space(space, folder), 0);
    t.match(space, { blocks: 256, blocksFree: 128, blocksAvailable: 128, files: 10, filesFree: 8 });
    fs.space(space, ROOT_INO);
    t.ok(space.blocks > 10_000, "elsewhere it is the volume");
    t.equal(
      attempt(() => calls.write(file, MIB, bytesOf(MIB, 8))),
      -EDQUOT,
    );
    volume.check(t);
  },
);

t.test("limits that cannot be are refused", async (t) => {
  const volume = new QuotaVolume();
  for (const [id, bytes, files] of [
    [-1, MIB, null],
    [2 ** 32 - 1, MIB, null],
    [1.5, MIB, null],
    [1, 0, null],
    [1, -5, null],
    [1, null, 0.5],
    [1, Number.NaN, null],
  ] as const) {
    t.equal(volume.set("user", id, bytes, files), -EINVAL, `${id} ${bytes} ${files}`);
  }
  t.equal(volume.set("nobody" as QuotaKind, 1, MIB), -EINVAL);
  t.equal(volume.set("user", 1, null, null), 0, "none, and there was none");
  t.same(volume.mounted.volume.quotas.list(), []);
});

t.test("after a repair limits are as before, and the next mount counts usage anew", async (t) => {
  const volume = new QuotaVolume();
  const file = volume.make(ALICE, "file");
  volume.calls.write(file, 0, bytesOf(MIB, 9));
  t.equal(volume.set("user", ALICE, 4 * MIB, 10), 0);
  t.equal(volume.set("group", STAFF, 2 * MIB), 0);
  t.same(volume.used("user", ALICE), [MIB, 1]);
  volume.engine.run(volume.mounted.volume.unmount());

  const checker = new MemoryEngine();
  const { contents, sizeBytes } = volume.device;
  const editor = new ImageEditor(checker.core, contents, sizeBytes);
  const key = { oid: 0, type: ITEM_QUOTA, offset: quotaKey(QUOTA_USER, ALICE) };
  editor.editItem(TREE_FS, key, (value) => value.setUint8(QUOTA_BLOCKS, 77));
  const device = checker.device(sizeBytes, contents);
  const { before, after, lost } = checker.run(repair(checker.environment, [device]));
  t.same(Object.keys(before.errorCodes), ["DFS-FSCK-QUOTA-USAGE"]);
  t.same([after.errors, lost], [[], []]);

  volume.mounted = mount(volume.device);
  volume.engine.drain();
  t.same(volume.used("user", ALICE), [MIB, 1]);
  t.match(volume.of("user", ALICE), { limits: { bytes: 4 * MIB, files: 10 }, isCounted: true });
  t.match(volume.of("group", STAFF), { limits: { bytes: 2 * MIB, files: null } });
  volume.check(t);
});

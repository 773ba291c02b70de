import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Prng } from "../../host/base/prng.ts";
import { openBlockDevice } from "../../host/device/block_device.ts";
import { DescriptorDevice } from "../../host/device/descriptor_device.ts";
import type { Device, Done } from "../../host/device/device.ts";
import { type FileDeviceOptions, openFileDevice } from "../../host/device/file_device.ts";
import { MemoryDevice } from "../../host/device/memory_device.ts";
import { openDevice, parseDeviceSpec } from "../../host/device/open_device.ts";
import { detectPathSignature, detectSignature, isBlank } from "../../host/device/signatures.ts";
import {
  SimulatedDevice,
  type SimulatedDeviceOptions,
} from "../../host/device/simulated_device.ts";
import { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { PortableReactor } from "../../host/reactor/portable_reactor.ts";
import type { Reactor } from "../../host/reactor/reactor.ts";
import { SimulatedReactor } from "../../host/reactor/simulated_reactor.ts";
import { drive, makeMemory, REACTOR_FORMS } from "../support/reactors.ts";

const directory = mkdtempSync(join(tmpdir(), "dynamicfs-device-"));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

const BLOCK = 4096;
const MIB = 1 << 20;
const core = makeMemory(2 * MIB);

/** Runs one operation of a device to its end. */
async function once(reactor: Reactor, start: (done: Done) => void): Promise<number> {
  let result = Number.NaN;
  await drive(reactor, (finish) => {
    start((status) => {
      result = status;
      finish();
    });
  });
  return result;
}

/** What every device promises: the same random operations as on a plain array. */
async function checkAgainstArray(
  t: Test,
  reactor: Reactor,
  device: Device,
  operationCount: number,
): Promise<void> {
  const seed = 99;
  const prng = new Prng(seed);
  const blockCount = 64;
  const model = new Uint8Array(blockCount * BLOCK);
  for (let block = 0; block < blockCount; block += 1) {
    core.bytes.fill(0, 0, BLOCK);
    await once(reactor, (done) => device.write(block * BLOCK, 0, BLOCK, done));
  }
  for (let count = 0; count < operationCount; count += 1) {
    const block = prng.below(blockCount - 8);
    const length = (1 + prng.below(8)) * BLOCK;
    const kind = prng.below(6);
    const context = `operation ${count}, kind ${kind}, seed ${seed}`;
    let status: number;
    if (kind === 0) {
      core.bytes.fill(0xaa, 0, length);
      status = await once(reactor, (done) => device.read(block * BLOCK, 0, length, done));
      const expected = model.subarray(block * BLOCK, block * BLOCK + length);
      if (Buffer.compare(core.bytes.subarray(0, length), expected) !== 0) {
        t.fail(`contents differ: ${context}`);
      }
    } else if (kind === 1) {
      prng.bytes(core.bytes.subarray(0, length));
      model.set(core.bytes.subarray(0, length), block * BLOCK);
      status = await once(reactor, (done) => device.write(block * BLOCK, 0, length, done));
    } else if (kind === 2) {
      const addresses: number[] = [];
      const lengths: number[] = [];
      let at = block * BLOCK;
      for (let part = 0; part < length / BLOCK; part += 1) {
        const address = (part * 37 + 100) * BLOCK;
        prng.bytes(core.bytes.subarray(address, address + BLOCK));
        model.set(core.bytes.subarray(address, address + BLOCK), at);
        addresses.push(address);
        lengths.push(BLOCK);
        at += BLOCK;
      }
      status = await once(reactor, (done) =>
        device.writeVector(block * BLOCK, addresses, lengths, done),
      );
    } else if (kind === 3) {
      status = await once(reactor, (done) => device.flush(done));
    } else if (kind === 4) {
      prng.bytes(core.bytes.subarray(0, length));
      model.set(core.bytes.subarray(0, length), block * BLOCK);
      status = await once(reactor, (done) => device.writeDurable(block * BLOCK, 0, length, done));
    } else {
      status = await once(reactor, (done) => device.discard(block * BLOCK, length, done));
      // Contents are undefined now: write them again.
      if (status === 0) {
        core.bytes.fill(0, 0, length);
        model.fill(0, block * BLOCK, block * BLOCK + length);
        status = await once(reactor, (done) => device.write(block * BLOCK, 0, length, done));
      }
    }
    if (status !== 0) t.fail(`status is ${status}: ${context}`);
  }
  t.equal(device.sizeBytes >= blockCount * BLOCK, true);
}

for (const form of REACTOR_FORMS) {
  t.test(`files, ${form.name}`, { skip: form.skip }, async (t) => {
    const reactor = form.make(core);
    const open = (name: string, options?: FileDeviceOptions) =>
      openFileDevice(reactor, join(directory, `${form.name}-${name}`), options);
    t.teardown(() => reactor.close());

    t.test("equals a plain array", async (t) => {
      const device = open("array", { create: MIB });
      t.equal(device.sizeBytes, MIB);
      t.comment(`O_DIRECT: ${device.direct}`);
      await checkAgainstArray(t, reactor, device, 150);
      device.close();
    });

    t.test("a new file has its size, mode 0600, and keeps what was written", async (t) => {
      const path = join(directory, `${form.name}-new`);
      const device = open("new", { create: MIB, preallocate: true });
      const stats = statSync(path);
      t.equal(stats.size, MIB);
      t.equal(stats.mode & 0o777, 0o600);
      core.bytes.fill(0x5a, 0, BLOCK);
      t.equal(await once(reactor, (done) => device.write(MIB - BLOCK, 0, BLOCK, done)), 0);
      t.equal(await once(reactor, (done) => device.flush(done)), 0);
      device.close();
      const again = open("new", { create: MIB });
      core.bytes.fill(0, 0, BLOCK);
      t.equal(await once(reactor, (done) => again.read(MIB - BLOCK, 0, BLOCK, done)), 0);
      t.ok(core.bytes.subarray(0, BLOCK).every((byte) => byte === 0x5a));
      again.close();
    });

    t.test("a second open is refused with EBUSY until the first closes", (t) => {
      const first = open("locked", { create: MIB });
      t.throws(() => open("locked"), { code: "EBUSY", message: /is in use/ });
      t.throws(() => open("locked", { readOnly: true }), { code: "EBUSY" });
      first.close();
      const reader = open("locked", { readOnly: true });
      t.throws(() => open("locked"), { code: "EBUSY" });
      open("locked", { readOnly: true }).close();
      reader.close();
      open("locked").close();
      t.end();
    });

    t.test("read-only devices refuse writes", async (t) => {
      open("read-only", { create: MIB }).close();
      const device = open("read-only", { readOnly: true });
      t.equal(await once(reactor, (done) => device.write(0, 0, BLOCK, done)), -30);
      t.equal(await once(reactor, (done) => device.writeVector(0, [0], [BLOCK], done)), -30);
      t.equal(await once(reactor, (done) => device.read(0, 0, BLOCK, done)), 0);
      device.close();
    });

    t.test("a file that was cut short from outside gives EIO, not old bytes", async (t) => {
      const device = open("cut", { create: MIB });
      truncateSync(join(directory, `${form.name}-cut`), MIB / 2 + BLOCK);
      t.equal(await once(reactor, (done) => device.read(MIB / 2, 0, 2 * BLOCK, done)), -5);
      device.close();
    });

    t.test("what cannot be a device is refused, and nothing is left behind", (t) => {
      t.throws(() => open("missing"), { code: "ENOENT" });
      writeFileSync(join(directory, `${form.name}-empty`), "");
      t.throws(() => open("empty"), { code: "EINVAL", message: /is empty/ });
      t.throws(() => open("odd", { create: 5000 }), { code: "EINVAL" });
      open("sized", { create: MIB }).close();
      t.throws(() => open("sized", { create: 2 * MIB }), { code: "EEXIST" });
      mkdirSync(join(directory, `${form.name}-directory`));
      t.throws(() => open("directory"), { code: "EISDIR" });
      t.throws(() => open("huge", { create: 2 ** 52 }), { name: "FsError" });
      t.equal(existsSync(join(directory, `${form.name}-huge`)), false);
      t.throws(() => open("no/such/folder", { create: MIB }), { code: "ENOENT" });
      t.end();
    });

    t.test("ranges that are not whole blocks of the device are bugs", (t) => {
      const device = open("ranges", { create: MIB });
      const bad = { name: "AssertionError" };
      t.throws(() => device.read(1, 0, BLOCK, () => {}), bad);
      t.throws(() => device.read(0, 0, 100, () => {}), bad);
      t.throws(() => device.read(MIB, 0, BLOCK, () => {}), bad);
      t.throws(() => device.write(-BLOCK, 0, BLOCK, () => {}), bad);
      t.throws(() => device.writeVector(0, [], [], () => {}), bad);
      device.close();
      t.throws(() => device.flush(() => {}), bad);
      t.end();
    });
  });
}

t.test("files: another process that holds the lock is named", (t) => {
  const path = join(directory, "held");
  writeFileSync(path, new Uint8Array(MIB));
  const script = `
    import { openFileDevice } from ${JSON.stringify(import.meta.resolve("../../host/device/file_device.js"))};
    import { PortableReactor } from ${JSON.stringify(import.meta.resolve("../../host/reactor/portable_reactor.js"))};
    try {
      openFileDevice(new PortableReactor({ bytes: new Uint8Array(65536) }), ${JSON.stringify(path)});
      console.log("opened");
    } catch (error) { console.log(error.code, error.message); }`;
  const reactor = new PortableReactor(core);
  const device = openFileDevice(reactor, path);
  const child = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  t.match(child.stdout, /^EBUSY /);
  t.match(child.stdout, new RegExp(`process ${process.pid} `));
  device.close();
  reactor.close();
  t.end();
});

/** A loop device over a file of that size, or why there is none. */
function makeLoop(sizeBytes: number): { path: string; file: string } | string {
  if (process.getuid?.() !== 0) return "block devices need root";
  const file = join(directory, `loop-${sizeBytes}`);
  writeFileSync(file, "");
  truncateSync(file, sizeBytes);
  const result = spawnSync("losetup", ["--find", "--show", file], { encoding: "utf8" });
  if (result.status !== 0) return `losetup: ${result.error?.message ?? result.stderr}`;
  return { path: result.stdout.trim(), file };
}

t.test("where RWF_DSYNC does nothing a durable write is a write and then a flush", async (t) => {
  const calls: string[] = [];
  const results = { write: BLOCK, flush: 0 };
  const reactor = {
    write: (_fd: number, _at: number, _address: number, _length: number, done: Done) => {
      calls.push("write");
      done(results.write);
    },
    flush: (_fd: number, done: Done) => {
      calls.push("flush");
      done(results.flush);
    },
  } as unknown as Reactor;
  const device = new DescriptorDevice({
    reactor,
    fd: -1,
    name: "fuse",
    sizeBytes: MIB,
    readOnly: false,
    direct: true,
    sectorBytes: 512,
    ignoresDsync: true,
    release: () => {},
  });
  const statuses: number[] = [];
  const write = (): void => device.writeDurable(0, 0, BLOCK, (status) => statuses.push(status));
  write();
  t.same([calls.splice(0), statuses.splice(0)], [["write", "flush"], [0]]);
  results.flush = -5;
  write();
  t.same([calls.splice(0), statuses.splice(0)], [["write", "flush"], [-5]]);
  results.write = -28;
  write();
  t.same([calls.splice(0), statuses.splice(0)], [["write"], [-28]]);
});

t.test("block devices", async (t) => {
  const loop = makeLoop(16 * MIB);
  if (typeof loop === "string") {
    t.pass("not here", { skip: loop });
    return;
  }
  t.teardown(() => spawnSync("losetup", ["--detach", loop.path]));

  for (const form of REACTOR_FORMS) {
    t.test(
      `${form.name}: equals a plain array, and is exclusive`,
      { skip: form.skip },
      async (t) => {
        const reactor = form.make(core);
        const device = openDevice(reactor, core, loop.path);
        t.equal(device.sizeBytes, 16 * MIB);
        t.ok(device.sectorBytes >= 512 && device.sectorBytes <= 4096);
        t.throws(() => openBlockDevice(reactor, loop.path), { code: "EBUSY" });
        await checkAgainstArray(t, reactor, device, 80);
        t.equal(await once(reactor, (done) => device.flush(done)), 0);
        device.close();
        openBlockDevice(reactor, loop.path).close();
        reactor.close();
      },
    );

    t.test(`${form.name}: discard gives space back`, { skip: form.skip }, async (t) => {
      const reactor = form.make(core);
      const device = openDevice(reactor, core, loop.path);
      core.bytes.fill(1, 0, MIB);
      t.equal(await once(reactor, (done) => device.write(0, 0, MIB, done)), 0);
      t.equal(await once(reactor, (done) => device.flush(done)), 0);
      t.equal(await once(reactor, (done) => device.discard(0, MIB, done)), 0);
      t.equal(await once(reactor, (done) => device.read(0, 0, MIB, done)), 0);
      t.ok(core.bytes.subarray(0, MIB).every((byte) => byte === 0));
      device.close();
      reactor.close();
    });
  }

  t.test("a mounted one is refused, and the message says where it is mounted", (t) => {
    const made = spawnSync("mkfs.ext4", ["-q", "-F", loop.path], { encoding: "utf8" });
    const point = join(directory, "mounted");
    mkdirSync(point, { recursive: true });
    const mounted = spawnSync("mount", [loop.path, point], { encoding: "utf8" });
    if (made.status !== 0 || mounted.status !== 0) {
      t.pass("not here", { skip: `mkfs.ext4 or mount: ${made.stderr} ${mounted.stderr}` });
    } else {
      try {
        const reactor = new PortableReactor(core);
        t.throws(() => openDevice(reactor, core, loop.path), {
          code: "EBUSY",
          message: /mounted on .*mounted/,
        });
        openDevice(reactor, core, loop.path, { readOnly: true }).close();
        t.match(detectPathSignature(loop.path), { kind: "ext4" });
        reactor.close();
      } finally {
        execFileSync("umount", [point]);
      }
    }
    t.end();
  });
});

t.test("memory: equals a plain array and holds only what is not zero", async (t) => {
  const reactor = new PortableReactor(core);
  const device = openDevice(reactor, core, "mem:256M");
  t.ok(device instanceof MemoryDevice);
  t.equal(device.sizeBytes, 256 * MIB);
  core.bytes.fill(0, 0, MIB);
  await once(reactor, (done) => device.write(128 * MIB, 0, MIB, done));
  t.equal((device as MemoryDevice).contents.heldBytes, 0);
  await checkAgainstArray(t, reactor, device, 150);
  t.equal((device as MemoryDevice).contents.heldBytes, MIB);
  await once(reactor, (done) => device.discard(0, MIB, done));
  t.equal((device as MemoryDevice).contents.heldBytes, 0);
  device.close();
  reactor.close();
});

t.test("parseDeviceSpec() reads every form", (t) => {
  t.same(parseDeviceSpec("./a.img"), { kind: "path", path: "./a.img", sizeBytes: undefined });
  t.same(parseDeviceSpec("./a.img:10G"), {
    kind: "path",
    path: "./a.img",
    sizeBytes: 10 * 2 ** 30,
  });
  t.same(parseDeviceSpec("/dev/disk/by-path/pci-0000:00:1f.2-ata-1"), {
    kind: "path",
    path: "/dev/disk/by-path/pci-0000:00:1f.2-ata-1",
    sizeBytes: undefined,
  });
  t.same(parseDeviceSpec("mem:256M"), { kind: "memory", sizeBytes: 256 * MIB });
  t.same(parseDeviceSpec("mem:5000"), { kind: "memory", sizeBytes: BLOCK });
  t.throws(() => parseDeviceSpec("mem:"), { code: "EINVAL" });
  t.throws(() => parseDeviceSpec("./a.img:10X"), { code: "EINVAL" });
  t.throws(() => parseDeviceSpec("./a.img:1K"), { code: "EINVAL" });
  t.throws(() => parseDeviceSpec("nbd://host/export"), { code: "EOPNOTSUPP" });
  t.end();
});

t.test("signatures: real ones, made by the tools that are here", (t) => {
  const tools: [kind: string, command: string, ...args: string[]][] = [
    ["ext4", "mkfs.ext4", "-q", "-F", "-L", "my label"],
    ["ext2", "mkfs.ext2", "-q", "-F"],
    ["ext3", "mkfs.ext3", "-q", "-F"],
    ["swap", "mkswap"],
    ["xfs", "mkfs.xfs", "-q"],
    ["btrfs", "mkfs.btrfs", "-q"],
    ["vfat", "mkfs.vfat"],
    ["ntfs", "mkfs.ntfs", "-F", "-Q"],
    ["crypto_LUKS", "cryptsetup", "-q", "--pbkdf-force-iterations", "1000", "luksFormat"],
  ];
  for (const [kind, command, ...args] of tools) {
    const path = join(directory, `signature-${kind}`);
    writeFileSync(path, "");
    truncateSync(path, 320 * MIB);
    const made = spawnSync(command, [...args, path], { encoding: "utf8", input: "" });
    if (made.status !== 0) {
      t.pass(kind, { skip: `${command}: ${made.error?.message ?? made.stderr}` });
      continue;
    }
    const found = detectPathSignature(path);
    t.equal(found?.kind, kind);
    if (kind === "ext4") t.match(found?.detail, /^label "my label", UUID [0-9a-f-]{36}$/);
    rmSync(path);
  }
  t.end();
});

t.test("signatures: magic numbers at their places; blank and noise are nothing", (t) => {
  const sizeBytes = 8 * MIB;
  const make = (...parts: [offset: number, text: string][]): Uint8Array => {
    const bytes = new Uint8Array(sizeBytes);
    for (const [offset, magic] of parts) bytes.set(Buffer.from(magic, "latin1"), offset);
    return bytes;
  };
  const kindOf = (bytes: Uint8Array): string | undefined =>
    detectSignature((offset, length) => bytes.subarray(offset, offset + length), bytes.length)
      ?.kind;
  t.equal(kindOf(make()), undefined);
  for (let slot = 0; slot < 8; slot += 1) {
    t.equal(kindOf(make([65_536 + slot * 4096, "DYNAMFS1"])), "dynamicfs", `slot ${slot}`);
    t.equal(kindOf(make([sizeBytes - 65_536 + slot * 4096, "DYNAMFS1"])), "dynamicfs");
  }
  t.equal(kindOf(make([0, "XFSB"])), "xfs");
  t.equal(kindOf(make([65_600, "_BHRfS_M"])), "btrfs");
  t.equal(kindOf(make([512, "LABELONE"], [536, "LVM2 001"])), "LVM2_member");
  t.equal(kindOf(make([4096, "\xfc\x4e\x2b\xa9"])), "linux_raid_member");
  t.equal(kindOf(make([sizeBytes - 65_536, "\xfc\x4e\x2b\xa9"])), "linux_raid_member");
  t.equal(kindOf(make([sizeBytes - 8192, "\xfc\x4e\x2b\xa9"])), "linux_raid_member");
  t.equal(kindOf(make([131_072 + 5 * 1024, "\x0c\xb1\xba\0\0\0\0\0"])), "zfs_member");
  t.equal(kindOf(make([sizeBytes - 131_072, "\x0c\xb1\xba\0\0\0\0\0"])), "zfs_member");
  t.equal(kindOf(make([32_769, "CD001"])), "iso9660");
  t.equal(kindOf(make([512, "EFI PART"], [510, "\x55\xaa"])), "gpt");
  t.equal(kindOf(make([sizeBytes - 512, "EFI PART"])), "gpt");
  t.equal(kindOf(make([446, "\x80\0\0\0\x83"], [510, "\x55\xaa"])), "dos");
  t.equal(kindOf(make([3, "EXFAT   "])), "exfat");
  t.equal(kindOf(new Uint8Array(100)), undefined, "smaller than any of them");

  const readOf =
    (bytes: Uint8Array) =>
    (offset: number, length: number): Uint8Array =>
      bytes.subarray(offset, offset + length);
  t.equal(isBlank(readOf(make()), sizeBytes), true);
  t.equal(isBlank(readOf(make([5000, "x"])), sizeBytes), false);
  t.equal(isBlank(readOf(make([sizeBytes - 1, "x"])), sizeBytes), false);
  t.end();
});

t.test("SparseBytes: clones share, and none sees the other's writes", (t) => {
  const original = new SparseBytes(MIB, 4096);
  const one = new Uint8Array(10_000).fill(1);
  original.write(3000, one);
  const copy = original.clone();
  const second = copy.clone();
  copy.write(4000, new Uint8Array(200).fill(2));
  original.flipBit(3000, 7);
  second.clear(0, MIB);
  const read = (from: SparseBytes, offset: number): number => {
    const byte = new Uint8Array(1);
    from.read(offset, byte);
    return byte[0] as number;
  };
  t.same([read(original, 3000), read(original, 4000)], [0x81, 1]);
  t.same([read(copy, 3000), read(copy, 4000), read(copy, 4200)], [1, 2, 1]);
  t.same([read(second, 3000), second.heldBytes], [0, 0]);
  t.equal(read(original, 2999), 0);
  const offsets: number[] = [];
  original.forEachChunk((offset) => offsets.push(offset));
  t.same(offsets, [0, 4096, 8192, 12_288]);
  t.end();
});

// The simulated device -----------------------------------------------------------------------------------------------

interface Simulation {
  reactor: SimulatedReactor;
  device: SimulatedDevice;
  /** Starts a write of one block filled with a byte, from a buffer of its own. */
  write(block: number, fill: number, done?: Done): void;
  /** The first byte of each block of an image, when each of its sectors agrees; else −1. */
  blocks(image: SparseBytes, count: number): number[];
}

function simulate(options: Partial<SimulatedDeviceOptions> = {}): Simulation {
  const reactor = new SimulatedReactor();
  const device = new SimulatedDevice({ core, scheduler: reactor, sizeBytes: MIB, ...options });
  let buffer = 0;
  return {
    reactor,
    device,
    write(block, fill, done = () => {}) {
      buffer = (buffer + BLOCK) % (2 * MIB);
      core.bytes.fill(fill, buffer, buffer + BLOCK);
      device.write(block * BLOCK, buffer, BLOCK, done);
    },
    blocks(image, count) {
      const bytes = new Uint8Array(count * BLOCK);
      image.read(0, bytes);
      return Array.from({ length: count }, (_, block) => {
        const part = bytes.subarray(block * BLOCK, (block + 1) * BLOCK);
        return part.every((byte) => byte === part[0]) ? (part[0] as number) : -1;
      });
    },
  };
}

t.test("simulated: equals a plain array", async (t) => {
  const reactor = new SimulatedReactor();
  const device = new SimulatedDevice({
    core,
    scheduler: reactor,
    sizeBytes: MIB,
    prng: new Prng(5),
    delayMs: [0.1, 2],
  });
  await checkAgainstArray(t, reactor, device, 150);
  device.close();
});

t.test("simulated: only what completed before a flush was issued is durable", (t) => {
  const { reactor, device, write, blocks } = simulate();
  write(0, 1);
  t.equal(device.inFlight, 1);
  t.same(blocks(device.currentImage(), 1), [0], "a write is seen when it completes");
  reactor.runSync();
  t.same(blocks(device.currentImage(), 1), [1]);
  t.same(blocks(device.crashImage(new Prng(1), "none"), 1), [0]);
  t.same(blocks(device.crashImage(new Prng(1), "all"), 1), [1]);
  // The second is under way when the flush is issued.
  write(1, 2);
  device.flush(() => {});
  reactor.runSync();
  t.same(blocks(device.crashImage(new Prng(1), "none"), 2), [1, 0]);
  t.equal(device.unflushedCount, 1);
  device.flush(() => {});
  t.same(blocks(device.crashImage(new Prng(1), "none"), 2), [1, 0], "not yet completed");
  reactor.runSync();
  t.same(blocks(device.crashImage(new Prng(1), "none"), 2), [1, 2]);
  t.equal(device.eventCount, 4);
  t.end();
});

t.test("simulated: a crash gives every subset of what was not flushed, and nothing else", (t) => {
  const { reactor, device, write, blocks } = simulate();
  write(0, 9);
  reactor.runSync();
  device.flush(() => {});
  reactor.runSync();
  write(0, 1);
  reactor.runSync();
  write(1, 2);
  write(2, 3);
  const seen = new Map<string, number>();
  let torn = 0;
  const prng = new Prng(77);
  for (let round = 0; round < 1000; round += 1) {
    const whole = blocks(device.crashImage(prng, "subset"), 3);
    seen.set(whole.join(), (seen.get(whole.join()) ?? 0) + 1);
    const image = device.crashImage(prng, "torn");
    const bytes = new Uint8Array(3 * BLOCK);
    image.read(0, bytes);
    for (let sector = 0; sector < 24; sector += 1) {
      const part = bytes.subarray(sector * 512, (sector + 1) * 512);
      const old = sector < 8 ? 9 : 0;
      const fresh = Math.floor(sector / 8) + 1;
      if (!part.every((byte) => byte === old) && !part.every((byte) => byte === fresh)) {
        t.fail(`sector ${sector} of round ${round} is neither old nor new`);
      }
    }
    if (blocks(image, 3).includes(-1)) torn += 1;
  }
  t.equal(seen.size, 8, "each of 2^3 subsets");
  t.ok(torn > 100, `${torn} images with a torn block`);
  t.same(blocks(device.currentImage(), 3), [1, 0, 0], "the device itself is as before");
  t.end();
});

t.test(
  "simulated: of several unflushed writes to a block, any may be the newest that survives",
  (t) => {
    const { reactor, device, write, blocks } = simulate();
    for (const fill of [1, 2, 3]) {
      write(0, fill);
      reactor.runSync();
    }
    const prng = new Prng(3);
    const seen = new Set<number>();
    for (let round = 0; round < 500; round += 1) {
      seen.add(blocks(device.crashImage(prng, "subset"), 1)[0] as number);
    }
    t.same([...seen].sort(), [0, 1, 2, 3]);
    t.end();
  },
);

t.test("simulated: power is cut at a chosen event, and the interrupted write may be there", (t) => {
  for (const afterCut of ["silent", "error"] as const) {
    const { reactor, device, write, blocks } = simulate({ afterCut });
    const statuses: number[] = [];
    device.onEvent = (_kind, index) => (index === 2 ? "cut" : undefined);
    write(0, 1, (status) => statuses.push(status));
    reactor.runSync();
    write(1, 2, (status) => statuses.push(status));
    write(2, 3, (status) => statuses.push(status));
    t.equal(device.isCut, true);
    write(3, 4, (status) => statuses.push(status));
    device.flush((status) => statuses.push(status));
    reactor.runSync();
    t.same(statuses, afterCut === "silent" ? [0] : [0, -5, -5, -5]);
    t.same(blocks(device.crashImage(new Prng(1), "all"), 4), [1, 2, 3, 0]);
  }
  t.end();
});

t.test("simulated: a durable write needs no flush, and makes no other write durable", (t) => {
  const { reactor, device, write, blocks } = simulate();
  const durable = (block: number, fill: number, done: (status: number) => void): void => {
    core.bytes.fill(fill, 0, BLOCK);
    device.writeDurable(block * BLOCK, 0, BLOCK, done);
    reactor.runSync();
  };
  const statuses: number[] = [];
  const done = (status: number): void => {
    statuses.push(status);
  };
  write(0, 1, done);
  write(1, 2, done);
  reactor.runSync();
  durable(2, 3, done);
  t.same(blocks(device.crashImage(new Prng(1), "none"), 4), [0, 0, 3, 0]);
  durable(1, 4, done);
  t.same(
    blocks(device.crashImage(new Prng(1), "all"), 4),
    [1, 4, 3, 0],
    "an older write to the same place does not come back",
  );
  t.same(blocks(device.crashImage(new Prng(1), "none"), 4), [0, 4, 3, 0]);
  t.same(statuses, [0, 0, 0, 0]);
  device.dropFlush = true;
  durable(3, 5, done);
  t.same(blocks(device.crashImage(new Prng(1), "none"), 4), [0, 4, 3, 0], "it lied");
  t.end();
});

t.test(
  "simulated: faults: a lying flush, lost, failed and misdirected writes, rot, bad sectors",
  (t) => {
    const { reactor, device, write, blocks } = simulate();
    const statuses: number[] = [];
    const done = (status: number): void => {
      statuses.push(status);
    };
    device.onEvent = (_kind, index) =>
      index === 1 ? "lose" : index === 2 ? "error" : index === 3 ? 7 * BLOCK : undefined;
    write(0, 1, done);
    write(1, 2, done);
    write(2, 3, done);
    write(3, 4, done);
    reactor.runSync();
    t.same(statuses, [0, 0, -5, 0]);
    t.same(blocks(device.currentImage(), 8), [1, 0, 0, 0, 0, 0, 0, 4]);
    device.dropFlush = true;
    device.flush(done);
    reactor.runSync();
    t.equal(statuses.at(-1), 0);
    t.same(blocks(device.crashImage(new Prng(1), "none"), 1), [0], "the flush lied");
    device.dropFlush = false;
    device.flush(done);
    reactor.runSync();
    t.same(blocks(device.crashImage(new Prng(1), "none"), 1), [1]);

    device.flipBit(100, 1);
    for (const image of [device.currentImage(), device.crashImage(new Prng(1), "all")]) {
      const bytes = new Uint8Array(BLOCK);
      image.read(0, bytes);
      t.same([bytes[99], bytes[100]], [1, 3]);
    }
    device.failReads(7 * BLOCK + 512, 512);
    device.read(7 * BLOCK, 0, BLOCK, done);
    device.read(6 * BLOCK, 0, BLOCK, done);
    reactor.runSync();
    t.same(statuses.slice(-2), [-5, 0]);
    write(7, 5, done);
    reactor.runSync();
    device.read(7 * BLOCK, 0, BLOCK, done);
    reactor.runSync();
    t.equal(statuses.at(-1), 0, "writing a bad sector heals it");
    t.end();
  },
);

t.test("simulated: a buffer that changes under a write is caught", (t) => {
  const { reactor, device } = simulate();
  core.bytes.fill(1, 0, BLOCK);
  device.write(0, 0, BLOCK, () => {});
  core.bytes[5] = 2;
  t.throws(() => reactor.runSync(), { name: "AssertionError" });
  t.end();
});

t.test("simulated: one seed gives the same completions, times and images", (t) => {
  const run = (seed: number): string => {
    const log: string[] = [];
    const { reactor, device, write, blocks } = simulate({
      prng: new Prng(seed),
      delayMs: [0.5, 5],
    });
    for (let index = 0; index < 20; index += 1) {
      write(index, index + 1, () => log.push(`${index}@${reactor.nowMs}`));
      if (index === 10) device.flush(() => log.push("flushed"));
    }
    reactor.runSync({ untilMs: 3 });
    const prng = new Prng(seed);
    for (let round = 0; round < 5; round += 1) {
      log.push(blocks(device.crashImage(prng, "torn"), 20).join());
    }
    return log.join("\n");
  };
  t.equal(run(1), run(1));
  t.not(run(1), run(2));
  const order = [...run(1).matchAll(/(\d+)@/g)].map((match) => Number(match[1]));
  t.not(order.join(), [...order].sort((a, b) => a - b).join(), "completions come out of order");
  t.end();
});

t.test("simulated: crash images are cheap enough for tens of thousands", (t) => {
  const { reactor, device, write } = simulate({ sizeBytes: 64 * MIB });
  for (let block = 0; block < 2000; block += 1) {
    write(block * 8, 7);
    if (block % 16 === 0) reactor.runSync();
  }
  reactor.runSync();
  device.flush(() => {});
  reactor.runSync();
  for (let block = 0; block < 20; block += 1) write(block, 8);
  reactor.runSync();
  const prng = new Prng(1);
  const start = performance.now();
  const imageCount = 500;
  for (let round = 0; round < imageCount; round += 1) device.crashImage(prng, "torn");
  const microseconds = ((performance.now() - start) / imageCount) * 1000;
  t.comment(`${microseconds.toFixed(0)} µs for an image with 20 unflushed writes over 64 MiB`);
  t.pass("made");
  t.end();
});

t.test("files without koffi are locked by a file that names its process", (t) => {
  // The path that the loader takes is chosen at run time, so a child process runs it with koffi hidden.
  const path = join(directory, "without-koffi");
  writeFileSync(path, new Uint8Array(MIB));
  const script = `
    import { Module } from "node:module";
    const resolve = Module._resolveFilename;
    Module._resolveFilename = function (name, ...rest) {
      if (name === "koffi") throw new Error("hidden");
      return resolve.call(this, name, ...rest);
    };
    const { openFileDevice } = await import(${JSON.stringify(import.meta.resolve("../../host/device/file_device.js"))});
    const { PortableReactor } = await import(${JSON.stringify(import.meta.resolve("../../host/reactor/portable_reactor.js"))});
    const { existsSync, writeFileSync } = await import("node:fs");
    const path = ${JSON.stringify(path)};
    const reactor = new PortableReactor({ bytes: new Uint8Array(65536) });
    const device = openFileDevice(reactor, path);
    console.log("direct", device.direct, "lock", existsSync(path + ".lock"));
    try { openFileDevice(reactor, path); } catch (error) { console.log(error.code); }
    device.close();
    console.log("lock", existsSync(path + ".lock"));
    writeFileSync(path + ".lock", "999999999");
    openFileDevice(reactor, path).close();
    console.log("stale lock taken");
    openFileDevice(reactor, path).read(0, 0, 4096, (status) => console.log("read", status));`;
  const child = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  t.equal(
    child.stdout,
    "direct false lock true\nEBUSY\nlock false\nstale lock taken\nread 0\n",
    child.stderr,
  );
  t.end();
});

t.test("a portable reactor does not keep a process alive that is done", (t) => {
  const script = `
    const { PortableReactor } = await import(${JSON.stringify(import.meta.resolve("../../host/reactor/portable_reactor.js"))});
    const reactor = new PortableReactor({ bytes: new Uint8Array(65536) });
    const cancel = reactor.timer(60000, () => {});
    reactor.post(() => { console.log("posted"); cancel(); });`;
  const child = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    timeout: 30_000,
  });
  t.equal(child.status, 0);
  t.equal(child.stdout, "posted\n");
  t.end();
});

import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import t from "tap";
import { getU64 } from "../../host/base/bytes.ts";
import { Prng } from "../../host/base/prng.ts";
import { libc, POLLIN } from "../../host/reactor/libc.ts";
import { Timers } from "../../host/reactor/timers.ts";
import { UringReactor } from "../../host/reactor/uring_reactor.ts";
import { setVector, skipVectors } from "../../host/reactor/vectors.ts";
import { drive, makeMemory, REACTOR_FORMS } from "../support/reactors.ts";

const directory = mkdtempSync(join(tmpdir(), "dynamicfs-reactor-"));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

const BLOCK = 4096;
const MEMORY_BYTES = 4 << 20;

for (const form of REACTOR_FORMS) {
  t.test(`${form.name}: the same promises`, { skip: form.skip }, async (t) => {
    const core = makeMemory(MEMORY_BYTES);

    t.test("1,000 random reads and writes at depth 64 equal a plain array", async (t) => {
      const seed = 20_261;
      const prng = new Prng(seed);
      const path = join(directory, `${form.name}-random`);
      const blockCount = 128;
      const model = new Uint8Array(blockCount * BLOCK);
      writeFileSync(path, model);
      const fd = openSync(path, "r+");
      const reactor = form.make(core);
      const busy = new Set<number>();
      const freeBuffers = Array.from({ length: 64 }, (_, index) => index * BLOCK);
      let started = 0;
      let completed = 0;
      let insideCall = false;
      await drive(reactor, (finish) => {
        const startOne = (): void => {
          const block = prng.below(blockCount);
          if (busy.has(block)) return;
          const address = freeBuffers.pop();
          if (address === undefined) return;
          busy.add(block);
          started += 1;
          const isWrite = prng.below(2) === 0;
          const end = (status: number): void => {
            if (insideCall) t.fail("a completion came from inside the call");
            if (status !== BLOCK) t.fail(`status is ${status}, seed ${seed}`);
            if (!isWrite) {
              const expected = model.subarray(block * BLOCK, (block + 1) * BLOCK);
              const got = core.bytes.subarray(address, address + BLOCK);
              if (Buffer.compare(expected, got) !== 0)
                t.fail(`block ${block} differs, seed ${seed}`);
            }
            busy.delete(block);
            freeBuffers.push(address);
            completed += 1;
            if (started < 1000) fill();
            else if (completed === started) finish();
          };
          insideCall = true;
          if (isWrite) {
            const buffer = core.bytes.subarray(address, address + BLOCK);
            prng.bytes(buffer);
            model.set(buffer, block * BLOCK);
            reactor.write(fd, block * BLOCK, address, BLOCK, end);
          } else {
            core.bytes.fill(0xee, address, address + BLOCK);
            reactor.read(fd, block * BLOCK, address, BLOCK, end);
          }
          insideCall = false;
        };
        const fill = (): void => {
          while (freeBuffers.length > 0 && started < 1000) startOne();
        };
        fill();
      });
      t.equal(completed, 1000);
      t.equal(reactor.pending, 0);
      t.equal(Buffer.compare(readFileSync(path), model), 0, "the file is the model");
      reactor.close();
      closeSync(fd);
    });

    t.test("more operations than any queue holds all complete once", async (t) => {
      const path = join(directory, `${form.name}-many`);
      writeFileSync(path, new Uint8Array(64 * BLOCK));
      const fd = openSync(path, "r+");
      const reactor = form.make(core);
      const count = form.name === "io_uring" ? 9000 : 1500;
      const seen = new Uint8Array(count);
      let left = count;
      await drive(reactor, (finish) => {
        for (let index = 0; index < count; index += 1) {
          reactor.read(fd, (index % 64) * BLOCK, (index % 512) * BLOCK, BLOCK, (status) => {
            if (status !== BLOCK) t.fail(`status is ${status}`);
            seen[index] = (seen[index] as number) + 1;
            left -= 1;
            if (left === 0) finish();
          });
        }
      });
      t.ok(seen.every((times) => times === 1));
      reactor.close();
      closeSync(fd);
    });

    t.test("a gathering write puts its buffers in order, and a flush answers 0", async (t) => {
      const path = join(directory, `${form.name}-vector`);
      const fd = openSync(path, "w+");
      const reactor = form.make(core);
      const lengths = [4096, 12_288, 8192, 4096];
      const addresses = [65_536, 8192, 0, 131_072];
      const parts = addresses.map((address, index) => {
        const part = core.bytes.subarray(address, address + (lengths[index] as number));
        part.fill(index + 1);
        return part;
      });
      const statuses: number[] = [];
      await drive(reactor, (finish) => {
        reactor.writeVector(fd, 4096, addresses, lengths, (status) => {
          statuses.push(status);
          reactor.flush(fd, (flushed) => {
            statuses.push(flushed);
            finish();
          });
        });
      });
      t.same(statuses, [28_672, 0]);
      const expected = Buffer.concat([new Uint8Array(4096), ...parts]);
      t.equal(Buffer.compare(readFileSync(path), expected), 0);
      reactor.close();
      closeSync(fd);
    });

    t.test("a read at the end is short, and errors are negative", async (t) => {
      const path = join(directory, `${form.name}-short`);
      writeFileSync(path, new Uint8Array(6000));
      const fd = openSync(path, "r");
      const reactor = form.make(core);
      const statuses: number[] = [];
      await drive(reactor, (finish) => {
        const end = (status: number): void => {
          statuses.push(status);
          if (statuses.length === 4) finish();
        };
        reactor.read(fd, 4096, 0, 4096, (short) => {
          end(short);
          reactor.read(fd, 8192, 0, 4096, (empty) => {
            end(empty);
            reactor.write(fd, 0, 0, 4096, (refused) => {
              end(refused);
              reactor.read(9999, 0, 0, 4096, end);
            });
          });
        });
      });
      t.same(statuses, [1904, 0, -9, -9], "short, end, EBADF for a read-only file, EBADF");
      reactor.close();
      closeSync(fd);
    });

    t.test("a write to a full device fails with ENOSPC", async (t) => {
      const fd = openSync("/dev/full", "w");
      const reactor = form.make(core);
      let status = 0;
      await drive(reactor, (finish) => {
        reactor.writeVector(fd, 0, [0, 8192], [4096, 4096], (result) => {
          status = result;
          finish();
        });
      });
      t.equal(status, -28);
      reactor.close();
      closeSync(fd);
    });

    t.test("discard punches a hole", async (t) => {
      const path = join(directory, `${form.name}-hole`);
      writeFileSync(path, new Uint8Array(1 << 20).fill(7));
      const fd = openSync(path, "r+");
      const reactor = form.make(core);
      let status = 1;
      await drive(reactor, (finish) => {
        reactor.discard(fd, 65_536, 524_288, (result) => {
          status = result;
          finish();
        });
      });
      if (status === -95) {
        t.pass("not here", { skip: "this file system cannot punch holes" });
      } else {
        t.equal(status, 0);
        t.equal(statSync(path).size, 1 << 20);
        const contents = readFileSync(path);
        t.ok(contents.subarray(65_536, 589_824).every((byte) => byte === 0));
        t.equal(contents[65_535], 7);
        t.equal(contents[589_824], 7);
      }
      reactor.close();
      closeSync(fd);
    });

    t.test("timers come in order, not early, and can be cancelled", async (t) => {
      const reactor = form.make(core);
      const order: string[] = [];
      const startMs = performance.now();
      let lateMs = 0;
      await drive(reactor, (finish) => {
        reactor.timer(25, () => {
          order.push("c");
          lateMs = performance.now() - startMs;
          finish();
        });
        const cancel = reactor.timer(5, () => order.push("cancelled"));
        reactor.timer(1, () => {
          order.push("a");
          cancel();
        });
        reactor.timer(12, () => order.push("b"));
      });
      t.same(order, ["a", "b", "c"]);
      t.ok(lateMs >= 25, `${lateMs} ms`);
      reactor.close();
    });

    t.test("posted callbacks run in order, in the next turn", async (t) => {
      const reactor = form.make(core);
      const order: number[] = [];
      await drive(reactor, (finish) => {
        reactor.post(() => {
          order.push(1);
          reactor.post(() => {
            order.push(3);
            finish();
          });
          order.push(2);
        });
        order.push(0);
      });
      t.same(order, [0, 1, 2, 3]);
      reactor.close();
    });

    t.test("what a callback throws comes out of run(), which can go on", async (t) => {
      const reactor = form.make(core);
      const order: string[] = [];
      reactor.post(() => {
        throw new RangeError("from a callback");
      });
      reactor.post(() => {
        order.push("second");
        reactor.stop();
      });
      await t.rejects(reactor.run(), RangeError);
      if (order.length === 0) await reactor.run();
      t.same(order, ["second"]);
      reactor.close();
    });

    t.test("promises go on while the loop runs, however long the chain", async (t) => {
      const reactor = form.make(core);
      let depth = 0;
      const chain = async (): Promise<void> => {
        for (let round = 0; round < 5; round += 1) {
          for (let index = 0; index < 40; index += 1) await null;
          await new Promise<void>((resolve) => reactor.post(resolve));
          depth += 1;
        }
        reactor.stop();
      };
      const running = reactor.run();
      await Promise.all([running, chain()]);
      t.equal(depth, 5);
      reactor.close();
    });
  });
}

const uring = REACTOR_FORMS[0];

t.test("io_uring: sources and waking", { skip: uring?.skip ?? false }, async (t) => {
  const core = makeMemory(65_536);

  t.test(
    "a sleeping loop is woken by a source, and leaves its descriptor when it goes",
    async (t) => {
      const calls = libc();
      const pair = calls.socketPair();
      if (typeof pair === "number") throw new Error(`socketpair: ${pair}`);
      const [near, far] = pair;
      const memory = calls.map(4096);
      const reactor = new UringReactor(core);
      let taken = 0;
      const source = {
        fd: near,
        poll(): boolean {
          if ((calls.poll(near, POLLIN, 0) & POLLIN) === 0) return false;
          const count = calls.read(near, memory.address, 1);
          taken += count;
          if (taken === 3) reactor.stop();
          return true;
        },
      };
      reactor.addSource(source);
      // Long enough apart that the loop sleeps in between.
      for (const delayMs of [5, 15, 25]) {
        reactor.timer(delayMs, () => calls.write(far, memory.address + 1, 1));
      }
      const sleepsBefore = reactor.stats.sleeps;
      await reactor.run();
      t.equal(taken, 3);
      t.ok(reactor.stats.sleeps > sleepsBefore);
      reactor.removeSource(source);
      calls.close(near);
      // With its last holder gone the other end sees the end of the stream.
      t.equal(calls.poll(far, POLLIN, 1000) & POLLIN, POLLIN);
      t.equal(calls.read(far, memory.address, 1), 0);
      calls.close(far);
      reactor.close();
    },
  );

  t.test("another thread wakes a sleeping loop through wakeFd", async (t) => {
    const reactor = new UringReactor(core);
    let wakes = 0;
    reactor.onWake = () => {
      wakes += 1;
      if (wakes === 3) reactor.stop();
    };
    const worker = new Worker(
      `const { parentPort, workerData } = require("node:worker_threads");
       const { writeSync } = require("node:fs");
       let left = 3;
       const timer = setInterval(() => {
         writeSync(workerData, new Uint8Array(new BigUint64Array([1n]).buffer));
         left -= 1;
         if (left === 0) clearInterval(timer);
       }, 20);`,
      { eval: true, workerData: reactor.wakeFd },
    );
    const exited = new Promise((resolve) => worker.once("exit", resolve));
    await reactor.run();
    t.equal(wakes, 3);
    await exited;
    reactor.close();
  });

  t.test("an idle loop sleeps instead of spinning", async (t) => {
    const reactor = new UringReactor(core);
    reactor.timer(200, () => reactor.stop());
    const before = process.cpuUsage();
    await reactor.run();
    const used = process.cpuUsage(before);
    t.ok(reactor.stats.sleeps <= 4, `slept ${reactor.stats.sleeps} times`);
    t.comment(`CPU in 200 idle ms: ${(used.user + used.system) / 1000} ms`);
    reactor.close();
  });

  t.test(
    "the core's memory may be huge pages",
    { skip: existsSync("/sys/kernel/mm/transparent_hugepage") ? false : "a kernel without them" },
    (t) => {
      const memory = new WebAssembly.Memory({ initial: 64, maximum: 64 });
      const bytes = new Uint8Array(memory.buffer);
      const reactor = new UringReactor({ bytes });
      const address = libc().addressOf(bytes);
      let holds = false;
      let flags = "";
      for (const line of readFileSync("/proc/self/smaps", "utf8").split("\n")) {
        const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
        if (range !== null) {
          holds =
            Number.parseInt(range[1] ?? "", 16) <= address &&
            address < Number.parseInt(range[2] ?? "", 16);
        } else if (holds && line.startsWith("VmFlags:")) flags = line;
      }
      t.match(flags, / hg( |$)/);
      reactor.close();
      t.end();
    },
  );

  t.test("a buffer outside the core is refused before the kernel sees it", (t) => {
    const reactor = new UringReactor(core);
    t.throws(() => reactor.read(0, 0, 65_536 - 4096, 8192, () => {}), { name: "AssertionError" });
    t.throws(() => reactor.write(0, 0, -4096, 4096, () => {}), { name: "AssertionError" });
    t.equal(reactor.pending, 0);
    reactor.close();
    t.end();
  });

  t.end();
});

t.test(
  "timers: equal times keep their order; a callback's new timer waits for the next run",
  (t) => {
    const timers = new Timers();
    const order: string[] = [];
    timers.add(2, () => order.push("b"));
    timers.add(1, () => {
      order.push("a");
      timers.add(0, () => order.push("d"));
      cancel();
    });
    timers.add(2, () => order.push("c"));
    const cancel = timers.add(2, () => order.push("cancelled"));
    t.equal(timers.nextMs, 1);
    t.equal(timers.run(0.5), false);
    t.equal(timers.run(2), true);
    t.same(order, ["a", "b", "c"]);
    t.equal(timers.run(2), true);
    t.same(order, ["a", "b", "c", "d"]);
    t.equal(timers.nextMs, Number.POSITIVE_INFINITY);
    t.end();
  },
);

t.test("vectors: a gathering write that is cut anywhere goes on where it stopped", (t) => {
  const seed = 31;
  const prng = new Prng(seed);
  const view = new DataView(new ArrayBuffer(64 * 16));
  for (let round = 0; round < 200; round += 1) {
    const count = 1 + prng.below(64);
    const expected: number[] = [];
    for (let index = 0; index < count; index += 1) {
      // Above 2^32, as real addresses are.
      const address = 0x7f00_0000_0000 + prng.below(1 << 20);
      const byteLength = 1 + prng.below(20);
      setVector(view, index * 16, address, byteLength);
      for (let at = 0; at < byteLength; at += 1) expected.push(address + at);
    }
    const moved: number[] = [];
    let at = 0;
    let left = expected.length;
    while (left > 0) {
      const cut = Math.min(left, 1 + prng.below(50));
      for (let entry = at; moved.length < expected.length - left + cut; entry += 16) {
        const start = getU64(view, entry);
        for (let index = 0; index < getU64(view, entry + 8); index += 1) {
          if (moved.length < expected.length - left + cut) moved.push(start + index);
        }
      }
      left -= cut;
      if (left > 0) at += skipVectors(view, at, cut) * 16;
    }
    if (moved.join() !== expected.join()) t.fail(`round ${round}, seed ${seed}`);
  }
  t.pass("200 writes");
  t.end();
});

t.test(
  "io_uring: a write that no longer fits fails with ENOSPC, not with a short count",
  async (t) => {
    const point = join(directory, "small");
    mkdirSync(point);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", point], {
      encoding: "utf8",
    });
    if (mounted.status !== 0 || uring?.skip !== false) {
      t.pass("not here", { skip: `mount: ${mounted.stderr}` });
      return;
    }
    try {
      const reactor = new UringReactor(makeMemory(1 << 20));
      const fd = openSync(join(point, "file"), "w+");
      const statuses: number[] = [];
      await drive(reactor, (finish) => {
        reactor.writeVector(fd, 0, [0, 65_536], [40_960, 40_960], (vector) => {
          statuses.push(vector);
          reactor.write(fd, 0, 0, 262_144, (plain) => {
            statuses.push(plain);
            finish();
          });
        });
      });
      t.same(statuses, [-28, -28]);
      closeSync(fd);
      reactor.close();
    } finally {
      spawnSync("umount", [point]);
    }
  },
);

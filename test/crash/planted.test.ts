/**
 * The simulation finds what it is there to find: faults that would lose data are put into the engine or under it, and
 * each must be caught within a few cuts.
 */
import t from "tap";
import type { Device, Done } from "../../host/device/device.ts";
import type { SimulatedDevice } from "../../host/device/simulated_device.ts";
import { geometryFor } from "../../host/format/geometry.ts";
import { FileData } from "../../host/fs/file_data.ts";
import { SharedRuns } from "../../host/fs/shared_runs.ts";
import { Journal } from "../../host/journal/journal.ts";
import { Space } from "../../host/store/space.ts";
import { Store } from "../../host/store/store.ts";
import { SimulationFailure, type SimulationOptions, simulate } from "../support/simulation.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const CUTS_MAX = 2500;
/** For a fault that needs two unlikely things at once. */
const RARE_CUTS_MAX = 20_000;
const BLOCK_BYTES = 4096;
/** A block near the beginning of what can be allocated. */
const LOW_GOAL = 4400;

/** Runs seeds until one fails. Returns the cuts that it took, or 0. */
function cutsUntilCaught(
  options: Partial<SimulationOptions>,
  cutsMax: number = CUTS_MAX,
): { cuts: number; message: string } {
  let before = 0;
  for (let seed = 100; before < cutsMax; seed++) {
    let last = 0;
    try {
      last = simulate({ ...options, seed, cuts: 400, onCut: (count) => (last = count) }).cuts;
    } catch (error) {
      if (!(error instanceof SimulationFailure)) throw error;
      return { cuts: before + last, message: error.message.split("\n").slice(0, 2).join(" ") };
    }
    before += last;
  }
  return { cuts: 0, message: "" };
}

function caught(
  name: string,
  options: Partial<SimulationOptions>,
  cutsMax: number = CUTS_MAX,
): void {
  const { cuts, message } = cutsUntilCaught(options, cutsMax);
  t.ok(cuts > 0, `crash: finds ${name}`);
  if (cuts > 0) t.comment(`after ${cuts} cuts: ${message.slice(0, 200)}`);
}

/** Replaces a method of a class while `run` runs. */
function patched<C, K extends keyof C>(
  prototype: C,
  key: K,
  make: (original: C[K]) => C[K],
  run: () => void,
): void {
  const original = prototype[key];
  prototype[key] = make(original);
  try {
    run();
  } finally {
    prototype[key] = original;
  }
}

/** Leaves out flushes after which only some areas of the device have been written. */
class LazyDevice implements Device {
  readonly name = "lazy";
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly sectorBytes: number;
  readonly #device: SimulatedDevice;
  readonly #drops: (writtenBlocks: readonly number[]) => boolean;
  #written: number[] = [];

  constructor(device: SimulatedDevice, drops: (writtenBlocks: readonly number[]) => boolean) {
    this.#device = device;
    this.#drops = drops;
    this.sizeBytes = device.sizeBytes;
    this.sectorBytes = device.sectorBytes;
  }

  read(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    this.#device.read(offsetBytes, address, byteLength, done);
  }

  write(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    this.#written.push(offsetBytes / BLOCK_BYTES);
    this.#device.write(offsetBytes, address, byteLength, done);
  }

  writeVector(
    offsetBytes: number,
    addresses: readonly number[],
    byteLengths: readonly number[],
    done: Done,
  ): void {
    this.#written.push(offsetBytes / BLOCK_BYTES);
    this.#device.writeVector(offsetBytes, addresses, byteLengths, done);
  }

  writeDurable(offsetBytes: number, address: number, byteLength: number, done: Done): void {
    const block = offsetBytes / BLOCK_BYTES;
    if (this.#drops([block])) this.#device.write(offsetBytes, address, byteLength, done);
    else this.#device.writeDurable(offsetBytes, address, byteLength, done);
  }

  flush(done: Done): void {
    const written = this.#written;
    this.#written = [];
    if (this.#drops(written)) this.#device.read(0, 0, BLOCK_BYTES, done);
    else this.#device.flush(done);
  }

  discard(offsetBytes: number, byteLength: number, done: Done): void {
    this.#device.discard(offsetBytes, byteLength, done);
  }

  close(): void {
    this.#device.close();
  }
}

const { journalStart, journalBlocks, ringStarts } = geometryFor(64 << 20);
const isJournal = (block: number): boolean =>
  block >= journalStart && block < journalStart + journalBlocks;
const isRing = (block: number): boolean => block < journalStart || block >= ringStarts[1];

caught("no flush between a checkpoint's pages and its superblock", {
  wrap: (device) =>
    new LazyDevice(
      device,
      (written) => !written.some((block) => isRing(block) || isJournal(block)),
    ),
});

caught("no flush after the journal", {
  wrap: (device) =>
    new LazyDevice(device, (written) => written.length > 0 && written.every(isJournal)),
});

patched(
  Journal.prototype,
  "commit",
  (commit) =>
    function early(this: Journal, done: Done, urgent?: boolean): void {
      commit.call(this, () => {}, urgent);
      done(0);
    },
  () => caught("a journal that acknowledges before it writes", {}),
);

// What was just freed is taken first, block by block, so that it matters; by itself that is no fault.
patched(
  Space.prototype,
  "allocateData",
  (allocate) =>
    function lowest(this: Space): number {
      return allocate.call(this, LOW_GOAL, 1);
    },
  () => {
    t.equal(
      cutsUntilCaught({}, 300).cuts,
      0,
      "crash: finds nothing in an allocator that begins low",
    );
    patched(
      Space.prototype,
      "closeGeneration",
      (close) =>
        function eager(this: Space, encode: Parameters<Space["closeGeneration"]>[0]) {
          const images = close.call(this, encode);
          this.commitGeneration(images);
          return images;
        },
      () =>
        caught(
          "blocks that are used again before the checkpoint that frees them is durable",
          {},
          RARE_CUTS_MAX,
        ),
    );
  },
);

patched(
  Store.prototype,
  "freeRun",
  (free) =>
    function forgetful(this: Store, start: number, count: number): void {
      if (!this.replaying) free.call(this, start, count);
    },
  () => caught("a replay that gives no blocks back", {}),
);

patched(
  Store.prototype,
  "convertRun",
  () => function silent(): void {},
  () => caught("data in kept space that the journal does not wait for", {}),
);

patched(
  SharedRuns.prototype,
  "add",
  () => function uncounted(): void {},
  () => caught("a clone that does not count", {}),
);

patched(
  FileData.prototype,
  "orderData",
  () => function unordered(): void {},
  () => caught("a rename whose data may come later", {}),
);

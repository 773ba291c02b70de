/**
 * The short form of the exhaustive search: all sequences of one operation, and a part, evenly spread, of those of two and
 * three, power lost at every point. `npm run sim:exhaustive` does all of them.
 */
import t from "tap";
import type { Device, Done } from "../../host/device/device.ts";
import { type Alphabet, SmallScope, sequences } from "../support/small_scope.ts";

// What runs is bounded by its number, not by time.
t.setTimeout(900_000);

const PORTIONS: readonly (readonly [length: number, alphabet: Alphabet, count: number])[] = [
  [1, "full", 1000],
  [2, "full", 400],
  [3, "small", 250],
];

for (const [length, alphabet, count] of PORTIONS) {
  t.test(`sequences of ${length}, ${alphabet} alphabet`, async (t) => {
    const all = [...sequences(length, alphabet)];
    const wanted = Math.min(count, all.length);
    const scope = new SmallScope({ auditEvery: 50 });
    for (let index = 0; index < wanted; index++) {
      const sequence = all[Math.floor((index * all.length) / wanted)] as string[];
      const problem = scope.run(sequence);
      if (problem !== null) t.fail(`npm run sim:exhaustive -- --only "${problem}`);
    }
    t.equal(scope.counts.failures, 0);
    t.equal(scope.counts.sequences, wanted);
    t.ok(scope.counts.recoveries > 2 * wanted, `${scope.counts.recoveries} recoveries`);
    t.ok(
      scope.counts.audits > 0,
      `${scope.counts.audits} of the images taken as equal were seen to be`,
    );
  });
}

/** A device that an engine with a bug would make of a good one. */
class Planted implements Device {
  readonly name = "planted";
  readonly readOnly = false;
  readonly #inner: Device;

  constructor(inner: Device) {
    this.#inner = inner;
  }

  get sizeBytes(): number {
    return this.#inner.sizeBytes;
  }

  get sectorBytes(): number {
    return this.#inner.sectorBytes;
  }

  read(offset: number, address: number, length: number, done: Done): void {
    this.#inner.read(offset, address, length, done);
  }

  write(offset: number, address: number, length: number, done: Done): void {
    this.#inner.write(offset, address, length, done);
  }

  writeVector(
    offset: number,
    addresses: readonly number[],
    lengths: readonly number[],
    done: Done,
  ): void {
    this.#inner.writeVector(offset, addresses, lengths, done);
  }

  writeDurable(offset: number, address: number, length: number, done: Done): void {
    this.#inner.writeDurable(offset, address, length, done);
  }

  flush(done: Done): void {
    this.#inner.flush(done);
  }

  discard(offset: number, length: number, done: Done): void {
    this.#inner.discard(offset, length, done);
  }

  close(): void {
    this.#inner.close();
  }
}

class WithoutFlush extends Planted {
  override flush(done: Done): void {
    done(0);
  }
}

class WithoutDurability extends Planted {
  override writeDurable(offset: number, address: number, length: number, done: Done): void {
    this.write(offset, address, length, done);
  }
}

class WithoutEveryThirdWrite extends Planted {
  #count = 0;

  override write(offset: number, address: number, length: number, done: Done): void {
    this.#count += 1;
    if (this.#count % 3 === 0) done(0);
    else super.write(offset, address, length, done);
  }
}

/** Says that a durable write is done before it is. */
class Hasty extends Planted {
  override writeDurable(offset: number, address: number, length: number, done: Done): void {
    super.writeDurable(offset, address, length, () => {});
    done(0);
  }
}

const PLANTED: Readonly<Record<string, new (inner: Device) => Device>> = {
  "flushes are left out": WithoutFlush,
  "commits are not waited for": WithoutDurability,
  "a write is lost": WithoutEveryThirdWrite,
  "an fsync returns early": Hasty,
};

for (const [bug, Device] of Object.entries(PLANTED)) {
  t.test(`found: ${bug}`, async (t) => {
    const scope = new SmallScope({ wrap: (inner) => new Device(inner) });
    let failure: string | null = null;
    for (const sequence of sequences(1, "full")) {
      failure = scope.run(sequence);
      if (failure !== null) break;
    }
    // Not by a failure of what plants it.
    t.match(failure, /power lost in/);
    t.comment(failure);
  });
}

/** The journal as a ring: it never runs over what no checkpoint contains, and is read back across its end. */
import t from "tap";
import { EIO } from "../../host/base/errno.ts";
import { Layout } from "../../host/core/layout.ts";
import type { Done } from "../../host/device/device.ts";
import { ENTRY_ALLOCATE } from "../../host/format/journal_record.ts";
import {
  COMMIT_BYTES_MAX,
  JOURNAL_MEMORY_BYTES,
  Journal,
  type JournalPosition,
  readCommit,
} from "../../host/journal/journal.ts";
import { Pool } from "../../host/pool/pool.ts";
import { MemoryEngine } from "../support/memory_engine.ts";

const BLOCK = 4096;
const START = 100;
const BLOCKS = 4096;
const DATA_BYTES = 200 * 1024;

class Ring {
  readonly engine = new MemoryEngine();
  readonly pool = new Pool([this.engine.device(32 << 20)]);
  readonly #layout = new Layout(this.engine.core);
  readonly memory: number = this.#layout.take(JOURNAL_MEMORY_BYTES, BLOCK);
  readonly buffer: number = this.#layout.take(COMMIT_BYTES_MAX, BLOCK);
  readonly data: number = this.#layout.take(DATA_BYTES, 8);
  readonly begin: JournalPosition = { sequence: 1, block: 0, chain: new Uint8Array(8) };
  asked = 0;
  transaction = 0;
  journal: Journal = this.#open(this.begin);

  #open(position: JournalPosition): Journal {
    return new Journal({
      core: this.engine.core,
      pool: this.pool,
      start: START,
      blocks: BLOCKS,
      poolUuid: new Uint8Array(16),
      memory: this.memory,
      position,
      needCheckpoint: () => {
        this.asked++;
      },
    });
  }

  /** As after a crash, with the log going on at a position. */
  reopen(position: JournalPosition): void {
    this.journal = this.#open(position);
  }

  /** A commit of one transaction. @returns Its status, or null if it waits. */
  commit(): number | null {
    const { journal } = this;
    journal.beginTransaction();
    journal.appendData(7, this.transaction * BLOCK, BLOCK, 0, 0, this.data, DATA_BYTES);
    journal.endTransaction(++this.transaction);
    let result: number | null = null;
    const done: Done = (status) => {
      result = status;
    };
    journal.commit(done);
    this.engine.drain();
    return result;
  }

  /** Sequences that replay finds from a position on. */
  read(from: JournalPosition): number[] {
    const area = { start: START, blocks: BLOCKS, poolUuid: new Uint8Array(16) };
    const found: number[] = [];
    let position = from;
    for (;;) {
      const { core } = this.engine;
      const commit = this.engine.run(readCommit(core, this.pool, area, position, this.buffer));
      if (commit === null) return found;
      found.push(commit.sequence);
      position = commit.next;
    }
  }
}

t.test("what no checkpoint contains is not overwritten, however much is committed", async (t) => {
  const ring = new Ring();
  let done = 0;
  while (ring.commit() === 0) done++;
  t.ok(done * DATA_BYTES < BLOCKS * BLOCK && done > 8, `${done} commits fit`);
  t.ok(ring.asked > 0, "a checkpoint is asked for");
  const all = Array.from({ length: done }, (_, index) => index + 1);
  t.same(ring.read(ring.begin), all, "all can be read");
});

t.test("a checkpoint makes room, and the log goes on over the end of the area", async (t) => {
  const ring = new Ring();
  for (let round = 0; round < 40; round++) {
    const { journal } = ring;
    const position = journal.position();
    const { tail } = journal;
    const first = ring.transaction + 1;
    for (let count = 0; count < 3; count++) t.equal(ring.commit(), 0);
    t.same(
      ring.read(position),
      [0, 1, 2].map((index) => position.sequence + index),
      `from block ${position.block} on`,
    );
    journal.release(tail, first);
  }
  t.equal(ring.asked, 0);
});

t.test(
  "what is left of a log that was abandoned is not taken for the end of the new one",
  async (t) => {
    const ring = new Ring();
    t.equal(ring.commit(), 0);
    const second = ring.journal.position();
    for (let count = 0; count < 2; count++) t.equal(ring.commit(), 0);
    t.same(ring.read(ring.begin), [1, 2, 3]);
    // The second commit again, of the same length and with other bytes: the third is whole, and has the right number.
    ring.reopen(second);
    ring.engine.core.bytes.fill(1, ring.data, ring.data + DATA_BYTES);
    t.equal(ring.commit(), 0);
    t.same(ring.read(ring.begin), [1, 2]);
  },
);

t.test("a commit with extents is written after a flush of what they point to", async (t) => {
  const ring = new Ring();
  const events: string[] = [];
  const { flush } = ring.pool;
  ring.pool.flush = () => {
    events.push("flush");
    return flush.call(ring.pool);
  };
  const { writeDurable } = ring.pool;
  ring.pool.writeDurable = (...words) => {
    events.push("commit");
    writeDurable.apply(ring.pool, words);
  };
  ring.pool.write(0, 4000, ring.data, BLOCK, () => {});
  ring.engine.drain();
  ring.journal.beginTransaction();
  ring.journal.appendRange(ENTRY_ALLOCATE, 0, 4000, 1);
  ring.journal.endTransaction(1);
  let status = 1;
  ring.journal.commit((result) => {
    status = result;
  });
  ring.engine.drain();
  t.equal(status, 0);
  t.same(events, ["flush", "commit"]);
});

t.test("when the flush before a commit fails nothing is written, and all are told", async (t) => {
  const ring = new Ring();
  let written = 0;
  ring.pool.flush = () => (resume) => resume(-EIO);
  ring.pool.writeDurable = (...words) => {
    written++;
    words[4](0);
  };
  ring.pool.write(0, 4000, ring.data, BLOCK, () => {});
  ring.engine.drain();
  ring.journal.beginTransaction();
  ring.journal.appendRange(ENTRY_ALLOCATE, 0, 4000, 1);
  ring.journal.endTransaction(1);
  const told: number[] = [];
  for (let waiter = 0; waiter < 2; waiter++) ring.journal.commit((status) => told.push(status));
  ring.engine.drain();
  t.same(told, [-EIO, -EIO]);
  t.equal(written, 0);
  t.equal(ring.journal.failed, -EIO);
});

t.test("one commit is written at a time; when it fails, so do those behind it", async (t) => {
  for (const outcome of [0, -EIO]) {
    const ring = new Ring();
    const writes: Done[] = [];
    ring.pool.writeDurable = (...words) => {
      writes.push(words[4]);
    };
    const told: string[] = [];
    for (const name of ["first", "second"]) {
      ring.journal.beginTransaction();
      ring.journal.appendData(7, 0, BLOCK, 0, 0, ring.data, BLOCK);
      ring.journal.endTransaction(++ring.transaction);
      ring.journal.commit((status) => told.push(`${name} ${status}`));
      ring.engine.drain();
    }
    t.equal(writes.length, 1, "the second waits for the first");
    t.same(told, []);
    writes[0]?.(outcome);
    ring.engine.drain();
    if (outcome < 0) {
      t.same(told, [`first ${outcome}`, `second ${outcome}`]);
      t.equal(ring.commit(), outcome, "and so does what comes later");
      t.equal(writes.length, 1);
      continue;
    }
    t.same(told, ["first 0"]);
    writes[1]?.(0);
    ring.engine.drain();
    t.same(told, ["first 0", "second 0"]);
  }
});

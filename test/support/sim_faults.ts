/**
 * Puts faults into a simulated device, and knows what each may cost. A volume on one device has two copies of all metadata
 * and one of data and journal (host/format/SPEC.md §1.1, §4.4, §6, §7), so what is checked of it is:
 *
 * - metadata (superblocks, pages, bitmaps), damaged in any number of places but in one copy of each: nothing is lost;
 * - data damaged at rest, lost, torn or misdirected: EIO for the damaged blocks, and for no other; never a wrong byte;
 * - a read that brings something else once: nothing is lost, data, metadata and journal are read again or from the other
 *   copy; superblocks and journal are read only by mounts, so some recoveries meet one (simulation.ts);
 * - a journal that is damaged after it was written, with whole commits behind the damage, refuses the mount, and so does one
 *   that cannot be read. Damage to its last commit makes it shorter (DESIGN §11: a torn commit and a rotten one look the
 *   same): the volume comes back as it was at some moment since its last checkpoint, so what had been fsynced since may be
 *   lost: the names of one moment, the files' bytes as they fit it, none wrong;
 * - a flush that lies: acknowledged changes may be lost, and metadata of both copies. It mounts as it was at some moment,
 *   with EIO where something is missing, or is refused with an error;
 * - an error of a write or flush, a device that is full or gone: changes are refused from then on (EROFS, EIO), what can
 *   be read is right, and what had been acknowledged is there at the next mount;
 * - slowness: nothing.
 */
import { EIO, ENODEV, ENOSPC } from "../../host/base/errno.ts";
import type { Prng } from "../../host/base/prng.ts";
import type {
  ReadVerdict,
  SimulatedDevice,
  SimulatedEvent,
  Verdict,
} from "../../host/device/simulated_device.ts";
import { geometryFor } from "../../host/format/geometry.ts";
import type { Coverage } from "./sim_coverage.ts";
import { add } from "./sim_coverage.ts";
import type { FaultName } from "./sim_plan.ts";

const BLOCK = 4096;
const PAGE_MAGIC = 0x47504644;
const PAGE_MAGIC_AT = 8;
const PAGE_ADDRESS_AT = 24;
const PLACES_MAX = 400;
const MISDIRECTED_BLOCKS_MAX = 16;

const TARGETS = ["metadata", "data", "journal"] as const;
type Target = (typeof TARGETS)[number];

interface Place {
  readonly block: number;
  readonly count: number;
}

export class Faults {
  /** The last that was put in. */
  last: FaultName | "none" = "none";
  /** Part of the journal since the last checkpoint may be missing. */
  journalHit = false;
  /** Flushes have lied. */
  lied = false;
  /** The device has refused something, or will. */
  failing = false;
  /** Blocks of data were hit. */
  dataHit = false;
  /** A checkpoint is being written. */
  checkpointing = false;
  /** Blocks whose next read is misdirected, so that it is no wonder if something is wrong with them. */
  readonly strayed: Set<number> = new Set();
  readonly #device: SimulatedDevice;
  readonly #side: 0 | 1;
  readonly #coverage: Coverage;
  readonly #head = new Uint8Array(32);
  readonly #places: Record<Target, Place[]> = { metadata: [], data: [], journal: [] };
  #armed: { kind: "lose" | "tear" | "misdirect"; target: Target; name: FaultName; prng: Prng }[] =
    [];
  #nextRead: Prng | null = null;
  #nextWriteFails = false;
  #nextFlushFails = false;

  constructor(device: SimulatedDevice, side: 0 | 1, coverage: Coverage) {
    this.#device = device;
    this.#side = side;
    this.#coverage = coverage;
    device.onRead = (offsetBytes, byteLength) => this.#read(offsetBytes, byteLength);
  }

  /** Puts a fault in; false if there is nothing for it to hit. */
  inject(name: FaultName, prng: Prng): boolean {
    const done = this.#inject(name, prng);
    if (done) this.#count(name);
    return done;
  }

  #count(name: FaultName): void {
    this.last = name;
    add(this.#coverage.injected, name, 1);
  }

  #inject(name: FaultName, prng: Prng): boolean {
    const device = this.#device;
    if (device.failure < 0) return false;
    const [what, target] = split(name);
    switch (what) {
      case "rot":
      case "latent": {
        const place = this.#find(target, prng);
        if (place === null) return false;
        if (target === "journal") this.journalHit = true;
        if (target === "data") this.dataHit = true;
        const at = place * BLOCK;
        if (what === "latent") device.failReads(at, BLOCK);
        else {
          for (let count = 1 + prng.below(3); count > 0; count--)
            device.flipBit(at + prng.below(BLOCK), prng.below(8));
        }
        return true;
      }
      case "lost-write":
        this.#armed.push({ kind: "lose", target, name, prng });
        return false;
      case "torn-write":
        this.#armed.push({ kind: "tear", target, name, prng });
        return false;
      case "misdirected-write":
        this.#armed.push({ kind: "misdirect", target, name, prng });
        return false;
      case "misdirected-read":
        this.#nextRead = prng;
        return false;
      case "slow":
        device.slowMs = device.slowMs > 0 ? 0 : 5 + prng.below(500);
        return true;
      case "hang":
        device.hang(1000 * (1 + prng.below(600)));
        return true;
      case "lying-flush":
        device.dropFlush = true;
        this.lied = true;
        return true;
      case "write-error":
        this.#nextWriteFails = true;
        return false;
      case "flush-error":
        this.#nextFlushFails = true;
        return false;
      case "device-full":
        device.writeFailure = -ENOSPC;
        this.failing = true;
        return true;
      case "vanish":
        // Back or not: what was promised meanwhile is not there, so changes stay refused until the next mount.
        device.vanish(
          prng.below(2) === 0 ? -EIO : -ENODEV,
          prng.below(2) === 0 ? null : 10 + prng.below(2000),
        );
        this.failing = true;
        return true;
      default:
        throw new Error(`no fault ${name}`);
    }
  }

  /** Looks at a write, flush or discard before it happens. */
  event(kind: SimulatedEvent, offsetBytes: number, byteLength: number, bytes: Uint8Array): Verdict {
    if (kind === "flush") {
      if (!this.#nextFlushFails) return undefined;
      this.#nextFlushFails = false;
      this.failing = true;
      this.#count("flush-error");
      return "error";
    }
    if (kind !== "write") return undefined;
    const block = offsetBytes / BLOCK;
    const count = byteLength / BLOCK;
    const target = this.#targetOf(block, count, bytes);
    this.#noteCheckpoint(block, target);
    if (this.#nextWriteFails) {
      this.#nextWriteFails = false;
      this.failing = true;
      this.#count("write-error");
      return "error";
    }
    this.#forget(block, count, target);
    const verdict = target === null ? undefined : this.#strike(target, block, count);
    if (target !== null && verdict === undefined) {
      const places = this.#places[target];
      if (places.length >= PLACES_MAX) places.shift();
      places.push({ block, count });
    }
    return verdict;
  }

  /** What lay there has been given up: it is no place of its kind any more. */
  #forget(block: number, count: number, target: Target | null): void {
    for (const kind of TARGETS) {
      if (kind === target) continue;
      const places = this.#places[kind];
      const overlaps = (place: Place): boolean =>
        place.block < block + count && block < place.block + place.count;
      if (places.some(overlaps)) this.#places[kind] = places.filter((each) => !overlaps(each));
    }
  }

  #noteCheckpoint(block: number, target: Target | null): void {
    const { ringStarts, journalStart } = GEOMETRY;
    if (block < journalStart || block >= ringStarts[1]) {
      this.checkpointing = false;
      // What the journal holds until then is in the trees, or is logged again; which of it, only the engine knows.
      return;
    }
    if (target !== "journal" && target !== "data") this.checkpointing = true;
  }

  #strike(target: Target, block: number, count: number): Verdict {
    if (this.#armed.length === 0) return undefined;
    const index = this.#armed.findIndex((each) => each.target === target);
    const armed = this.#armed[index];
    if (armed === undefined) return undefined;
    let verdict: Verdict = armed.kind === "tear" ? "tear" : "lose";
    if (armed.kind === "misdirect") {
      const to =
        count > MISDIRECTED_BLOCKS_MAX ? null : this.#landing(target, block, count, armed.prng);
      if (to === null) return undefined;
      verdict = to * BLOCK;
    }
    this.#armed = this.#armed.filter((each) => each !== armed);
    if (target === "journal") this.journalHit = true;
    if (target === "data") this.dataHit = true;
    this.#count(armed.name);
    return verdict;
  }

  /** Where a misdirected write goes: over something of the same kind. */
  #landing(target: Target, block: number, count: number, prng: Prng): number | null {
    for (let tries = 0; tries < 40; tries++) {
      const place = this.#places[target][prng.below(this.#places[target].length || 1)];
      if (place === undefined) return null;
      if (place.count < count) continue;
      if (place.block < block + count && block < place.block + place.count) continue;
      if (!this.#isSafe(place.block, count)) continue;
      return place.block;
    }
    return null;
  }

  #read(offsetBytes: number, byteLength: number): ReadVerdict {
    if (this.#nextRead === null) return undefined;
    const { ringStarts, journalStart, journalBlocks } = GEOMETRY;
    const block = offsetBytes / BLOCK;
    if (block < journalStart + journalBlocks || block >= ringStarts[1]) return undefined;
    const elsewhere = this.#nextRead.below((GEOMETRY.blockCount * BLOCK - byteLength) / BLOCK);
    this.#nextRead = null;
    for (let at = 0; at * BLOCK < byteLength; at++) this.strayed.add(block + at);
    this.#count("misdirected-read");
    return elsewhere * BLOCK;
  }

  /** A block of what was written lately that still is what it was. */
  #find(target: Target, prng: Prng): number | null {
    const places = this.#places[target];
    for (let tries = 0; tries < 40 && places.length > 0; tries++) {
      const place = places[prng.below(places.length)] as Place;
      const block = place.block + prng.below(place.count);
      if (this.#isSafe(block, 1)) return block;
    }
    return null;
  }

  /** Whether damage to these blocks leaves a good copy of all metadata. */
  #isSafe(block: number, count: number): boolean {
    for (let at = block - 3; at < block + count; at++) {
      const side = this.#fixedSide(at);
      if (side === null) {
        this.#device.peek(at * BLOCK, this.#head);
        if (isPage(this.#head) && pageSide(this.#head, at) !== this.#side) return false;
      } else if (side !== this.#side && at >= block && side !== "journal") return false;
    }
    return true;
  }

  /** Of what has its place: its copy; of the journal its name; else null. */
  #fixedSide(block: number): 0 | 1 | "journal" | null {
    const { ringStarts, journalStart, journalBlocks, mapStarts, blockCount } = GEOMETRY;
    if (block < journalStart) return 0;
    if (block < journalStart + journalBlocks) return "journal";
    if (block < journalStart + journalBlocks + 2) return 0;
    if (block >= ringStarts[1] || block >= mapStarts[1] || block >= blockCount) return 1;
    return null;
  }

  /** What a write is of; null for metadata of the copy that is not to be damaged. */
  #targetOf(block: number, count: number, bytes: Uint8Array): Target | null {
    const side = this.#fixedSide(block);
    if (side === "journal") return "journal";
    if (side !== null) return side === this.#side ? "metadata" : null;
    if (!isPage(bytes)) return "data";
    for (let page = 0; page < count; page += 4) {
      const head = bytes.subarray(page * BLOCK);
      if (!isPage(head) || pageSide(head, block + page) !== this.#side) return null;
    }
    return "metadata";
  }
}

const GEOMETRY = geometryFor(64 << 20);

function isPage(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 32);
  return view.getUint32(PAGE_MAGIC_AT, true) === PAGE_MAGIC;
}

function pageSide(bytes: Uint8Array, block: number): 0 | 1 {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 32);
  return view.getUint32(PAGE_ADDRESS_AT, true) === block ? 0 : 1;
}

function split(name: FaultName): [string, Target] {
  const target = /-(metadata|data|journal)$/.exec(name)?.[1] as Target | undefined;
  return [target === undefined ? name : name.slice(0, -target.length - 1), target ?? "data"];
}

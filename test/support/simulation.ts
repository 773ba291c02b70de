/**
 * The whole engine in one process on a simulated device, clock and generator: clients work on a volume while faults are put
 * into its device, and what the device could hold after a loss of power is recovered and compared with a model.
 *
 * A plan (sim_plan.ts) says what is done; one plan gives one run, which `trace` proves, and a cut is numbered within its
 * run. What each fault may cost is written in sim_faults.ts.
 */
import { createHash } from "node:crypto";
import { FsError } from "../../host/base/fs_error.ts";
import { Prng } from "../../host/base/prng.ts";
import { Arena } from "../../host/base/slab.ts";
import { spawn, type Task } from "../../host/base/task.ts";
import type { Device } from "../../host/device/device.ts";
import type { CrashMode, SimulatedDevice } from "../../host/device/simulated_device.ts";
import type { SparseBytes } from "../../host/device/sparse_bytes.ts";
import { geometryFor } from "../../host/format/geometry.ts";
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { mountVolume, type Volume } from "../../host/fs/volume.ts";
import { fsck } from "../../host/maintain/fsck.ts";
import type { FsckReport } from "../../host/maintain/fsck_report.ts";
import { repair } from "../../host/maintain/repair.ts";
import { type Dump, difference, type Moment, VolumeModel } from "./crash_model.ts";
import { Calls, timeText } from "./sim_calls.ts";
import { Client, type Stage } from "./sim_client.ts";
import { add, Coverage } from "./sim_coverage.ts";
import { getMachines, Session, SimulationFailure, TURNS_MAX } from "./sim_engine.ts";
import { Faults } from "./sim_faults.ts";
import { isFault, type Life, type Plan, planCuts, type Step } from "./sim_plan.ts";

export { Machine, Session, SimulationFailure } from "./sim_engine.ts";

/** Keeps the choice of quotas apart from what else a life does. */
const QUOTA_SEED = 0x5bd1e995;
const HASHED_CHARS = 1 << 16;
const TRACE_LINES_SHOWN = 60;
const SOURCE = new Uint8Array(70_000);
const SECONDS_BETWEEN_LIVES = 1_000_000;
/** What a mount, or one recovery, read from files: compared or copied before the next. */
const dumps = new Arena(1 << 22, 1 << 26);
/** What devices hold and models remember, during one plan. */
const memory = new Arena(1 << 20, 1 << 28);
new Prng(2).bytes(SOURCE);
const { journalStart, journalBlocks, ringStarts, blockCount } = geometryFor(64 << 20);
/** What a mount reads first: of each in turn, one read of a recovery brings something else. */
const STRAYS = [
  { name: "ring 0", from: ringStarts[0], to: journalStart },
  { name: "journal", from: journalStart, to: journalStart + journalBlocks },
  { name: "ring 1", from: ringStarts[1], to: blockCount },
] as const;

export interface RunOptions {
  /** Ends after so many cuts have been checked. */
  readonly cuts?: number;
  /** Only this cut of the run is checked. */
  readonly only?: number;
  /** For planted bugs: what the engine sees of the device it works on. Recovery always sees the real one. */
  readonly wrap?: (device: SimulatedDevice) => Device;
  /** Told before each cut is checked how many there were. */
  readonly onCut?: (cuts: number) => void;
  /** Fills memory with anything first. */
  readonly soiled?: boolean;
}

export interface SimulationOptions extends RunOptions {
  readonly seed: number;
  /** Operations of each life of the volume. */
  readonly operations?: number;
  /** Losses of power that the volume goes on from, in one run. */
  readonly lives?: number;
}

export interface SimulationResult {
  readonly cuts: number;
  /** Cuts during the recovery from a cut. */
  readonly nestedCuts: number;
  readonly operations: number;
  readonly events: number;
  /** Transactions that recoveries replayed. */
  readonly replayed: number;
  readonly coverage: Coverage;
  /** A hash of all operations, their results, and all events of the device. */
  readonly trace: string;
}

/** What damage excuses at a moment. */
interface Excuses {
  readonly journalHit: boolean;
  readonly lied: boolean;
  readonly dataHit: boolean;
  readonly isFull: boolean;
  /** Blocks that were damaged at any time. */
  readonly damaged: ReadonlySet<number>;
  readonly badRanges: readonly { readonly offsetBytes: number; readonly byteLength: number }[];
  readonly fault: string;
}

interface Cut {
  readonly number: number;
  readonly image: SparseBytes;
  readonly mode: CrashMode;
  readonly event: string;
  readonly moment: Moment;
  readonly excuses: Excuses;
}

/** A volume between two lives. */
interface Rest {
  readonly image: SparseBytes;
  readonly damaged: ReadonlySet<number>;
  readonly badRanges: Excuses["badRanges"];
}

/**
 * Loses power at every write and flush of a few lives without other faults.
 *
 * @throws {SimulationFailure} With seed, cut, difference and trace.
 */
export function simulate(options: SimulationOptions): SimulationResult {
  const { seed, operations = 150, lives = 3 } = options;
  return runPlan(planCuts(seed, operations, lives), options);
}

/** @throws {SimulationFailure} As simulate(). */
export function runPlan(plan: Plan, options: RunOptions = {}): SimulationResult {
  return new Simulation(plan, options).run();
}

class Simulation {
  readonly #plan: Plan;
  readonly #options: RunOptions;
  readonly #cutsMax: number;
  readonly #hash = createHash("sha1");
  /** When this life began: clocks go on between them. */
  #startSeconds = 1_767_225_600;
  /** Not hashed yet: one call for many lines. */
  #unhashed = "";
  readonly #coverage = new Coverage();
  #trace: string[] = [];
  #cuts = 0;
  #checked = 0;
  #nestedCuts = 0;
  #operations = 0;
  #events = 0;
  #replayed = 0;
  #pending: Cut[] = [];
  #failure: SimulationFailure | null = null;
  #rescueLog: readonly string[] = [];
  #model!: VolumeModel;
  #clientsLeft = 0;
  #modeCounter = 0;
  /** Blocks of the volume that were ever damaged. */
  #damaged: Set<number> = new Set();

  constructor(plan: Plan, options: RunOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#cutsMax = options.cuts ?? Number.POSITIVE_INFINITY;
  }

  run(): SimulationResult {
    const { work, rescue, fresh } = getMachines();
    if (this.#options.soiled === true) {
      const prng = new Prng(this.#plan.seed + 77);
      work.soil(prng);
      rescue.soil(prng);
    }
    let rest: Rest | null = null;
    memory.rewind();
    for (const life of this.#plan.lives) {
      if (this.#isDone()) break;
      this.#startSeconds += SECONDS_BETWEEN_LIVES;
      rest ??= { image: fresh.clone(memory), damaged: new Set(), badRanges: [] };
      rest = this.#live(life, rest);
    }
    return {
      cuts: this.#checked,
      nestedCuts: this.#nestedCuts,
      operations: this.#operations,
      events: this.#events,
      replayed: this.#replayed,
      coverage: this.#coverage,
      trace: this.#hash.update(this.#unhashed).digest("hex"),
    };
  }

  #isDone(): boolean {
    const { only } = this.#options;
    return only !== undefined ? this.#cuts > only : this.#checked >= this.#cutsMax;
  }

  /** Quotas that never bind come and go: each fsck compares what they count. */
  #changeQuotas(volume: Volume, prng: Prng): void {
    for (const kind of ["user", "group"] as const) {
      if (prng.below(3) === 0) continue;
      const bytes = prng.below(4) === 0 ? null : 2 ** 40;
      volume.quotas.set({ kind, id: 0 }, { bytes, files: null }, (status) => {
        if (status < 0) this.#note(`a quota was refused: ${status}`);
      });
      this.#note(`quota of ${kind} 0: ${bytes}`);
    }
  }

  /** Mounts, works, and ends. Returns what the device held then; null when the volume has lost what it cannot get back. */
  #live(life: Life, rest: Rest): Rest | null {
    const prng = new Prng(life.seed);
    const { work } = getMachines();
    const session = new Session(work, {
      prng: new Prng(prng.u32()),
      image: rest.image,
      delayMs: life.delayMs,
      startSeconds: this.#startSeconds,
    });
    this.#damaged = new Set(rest.damaged);
    for (const block of rest.damaged) session.device.damaged.add(block);
    for (const bad of rest.badRanges) session.device.failReads(bad.offsetBytes, bad.byteLength);
    const faults = new Faults(session.device, this.#plan.side, this.#coverage);
    session.onDamage = (event, block, count) =>
      this.#judgeDamage(session.device, faults, event, block, count);
    const device = this.#options.wrap?.(session.device) ?? session.device;
    let volume: Volume;
    let model: VolumeModel;
    try {
      const options = { readOnly: false, checkpointSeconds: life.checkpointSeconds };
      const mount = (): Volume => session.run(mountVolume(session.environment, [device], options));
      try {
        volume = mount();
      } catch (error) {
        const isGap = error instanceof FsError && error.reason === "journal/damaged";
        if (!isGap || !isJournalDamaged(rest)) throw error;
        session.run(repair(session.environment, [device]));
        volume = mount();
        this.#note("repaired");
      }
      this.#note(`mounted, checkpoints every ${life.checkpointSeconds} s`);
      this.#changeQuotas(volume, new Prng(life.seed ^ QUOTA_SEED));
      dumps.rewind();
      const { clock } = session.reactor;
      model = new VolumeModel(
        session.run(new Calls(work.core, volume.fs).dump(false, dumps, true)),
        () => timeText(clock.seconds(), clock.nanoseconds()),
        memory,
      );
    } catch (error) {
      this.#fail(`a volume that was whole does not mount: ${stackOf(error)}`);
    }
    this.#model = model;
    const stage: Stage = {
      session,
      volume,
      model,
      faults,
      coverage: this.#coverage,
      running: 0,
      isFull: false,
      note: (text) => {
        this.#operations += 1;
        this.#note(text);
      },
      nextMode: () => {
        this.#modeCounter += 1;
        return this.#modeCounter % 0o1000;
      },
    };
    const cutPrng = new Prng(prng.u32());
    this.#watch(life, stage, cutPrng);
    this.#startClients(life.steps, stage);
    session.reactor.runSync({
      turnsMax: TURNS_MAX,
      until: () => {
        this.#checkPending();
        return this.#clientsLeft === 0 || this.#isDone();
      },
    });
    if (this.#clientsLeft > 0 && !this.#isDone())
      this.#fail("clients wait for something that never comes");
    if (volume.status().state !== (session.isFaulted ? "faulted" : "online"))
      this.#fail(`the volume is ${volume.status().state}: ${session.log.join("; ")}`);
    if (session.isFaulted && !faults.failing)
      this.#fail(`the volume failed, the device did not: ${session.log.join("; ")}`);
    const isUnmounted = life.end === "unmount" && !this.#isDone() && this.#unmount(stage);
    this.#coverage.operation(isUnmounted ? "unmount" : "crash", "alone", faults.last);
    return this.#end(stage, cutPrng, isUnmounted);
  }

  #judgeDamage(
    device: SimulatedDevice,
    faults: Faults,
    event: string,
    block: number,
    count: number,
  ): void {
    add(this.#coverage.outcomes, `${faults.last} noticed`, 1);
    if (faults.failing) return;
    for (let at = block; at < block + count; at++)
      if (device.damaged.has(at) || faults.strayed.has(at)) return;
    this.#failure ??= this.#failureOf(`${event} at block ${block}, which nobody damaged`);
  }

  /** Looks at each event of the device: puts faults in, and takes images. */
  #watch(life: Life, stage: Stage, cutPrng: Prng): void {
    const { session, faults, model } = stage;
    const { device } = session;
    device.onEvent = (kind, index, offsetBytes, byteLength, bytes) => {
      this.#events += 1;
      this.#hashLine(`${kind} ${index} ${offsetBytes} ${byteLength}`);
      if (life.cutEvery > 0 && (life.cutEvery === 1 || cutPrng.below(life.cutEvery) === 0)) {
        const mode = CRASH_MODES[cutPrng.below(CRASH_MODES.length)] as CrashMode;
        const number = this.#cuts;
        this.#cuts += 1;
        // Every image has a generator of its own, so that one can be made without the others.
        const seed = cutPrng.u32();
        const { only } = this.#options;
        if (only === undefined ? !this.#isDone() : only === number) {
          this.#pending.push({
            number,
            image: device.crashImage(new Prng(seed), mode),
            mode,
            event: `before ${kind} ${index} of ${byteLength} bytes at ${offsetBytes}, ${device.unflushedCount} writes unflushed`,
            moment: model.moment(),
            excuses: this.#excuses(stage),
          });
        }
      }
      return faults.event(kind, offsetBytes, byteLength, bytes);
    };
  }

  #excuses(stage: Stage): Excuses {
    const { device } = stage.session;
    const { faults } = stage;
    for (const block of device.everDamaged) this.#damaged.add(block);
    return {
      journalHit: faults.journalHit,
      lied: faults.lied,
      dataHit: faults.dataHit,
      isFull: stage.isFull,
      damaged: this.#damaged.size === 0 ? NOTHING : new Set(this.#damaged),
      badRanges: [...device.badRanges],
      fault: faults.last,
    };
  }

  #startClients(steps: readonly Step[], stage: Stage): void {
    const lists = new Map<number, Step[]>();
    for (const step of steps) {
      const list = lists.get(step.client);
      if (list === undefined) lists.set(step.client, [step]);
      else list.push(step);
    }
    this.#clientsLeft = lists.size;
    for (const [index, list] of lists) {
      spawn(new Client(stage, index).work(list), (error) => {
        this.#clientsLeft -= 1;
        if (error !== null)
          this.#failure ??= this.#failureOf(`client ${index} failed: ${stackOf(error)}`);
      });
    }
  }

  /** False when it could not be unmounted in order, as after a failure. */
  #unmount(stage: Stage): boolean {
    const { session, volume, model, faults } = stage;
    const promise = model.promise();
    for (const file of model.files.values()) file.promised(promise);
    try {
      session.run(volume.unmount());
    } catch (error) {
      if (faults.failing && error instanceof FsError) return false;
      this.#fail(`cannot be unmounted: ${stackOf(error)}`);
    }
    if (session.device.inFlight > 0) this.#fail("unmounted with I/O under way");
    model.acknowledge(promise);
    return true;
  }

  #end(stage: Stage, cutPrng: Prng, isUnmounted: boolean): Rest | null {
    const { session, model, faults } = stage;
    const { device } = session;
    this.#checkPending();
    device.onEvent = null;
    device.cutPower();
    const image = device.crashImage(cutPrng, "torn");
    // What an unmounted volume holds is in its trees.
    if (isUnmounted) faults.journalHit = false;
    const excuses = this.#excuses(stage);
    if (!this.#isDone() && this.#options.only === undefined) {
      this.#check({
        number: this.#cuts,
        image: image.clone(),
        mode: "torn",
        event: isUnmounted ? "after it was unmounted" : "at the end",
        moment: model.moment(),
        excuses,
      });
    }
    this.#cuts += 1;
    // A journal that was cut short is repaired by the mount: what came back is to be kept from then on.
    if (faults.lied || faults.dataHit || isJournalUnreadable(excuses)) return null;
    return { image, damaged: excuses.damaged, badRanges: excuses.badRanges };
  }

  #checkPending(): void {
    if (this.#failure !== null) throw this.#failure;
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    for (const cut of pending) this.#check(cut);
  }

  #check(cut: Cut): void {
    this.#checked += 1;
    this.#options.onCut?.(this.#checked);
    try {
      const outcome = this.#recover(cut);
      add(this.#coverage.outcomes, `${cut.excuses.fault} ${outcome}`, 1);
    } catch (error) {
      if (error instanceof SimulationFailure && error === this.#failure) throw error;
      const log = this.#rescueLog.map((line) => `\n  ${line}`).join("");
      this.#fail(
        stackOf(error),
        `cut ${cut.number}, ${cut.mode}, ${cut.event}, last fault ${cut.excuses.fault}:${log}\n`,
        cut.number,
      );
    }
  }

  /** Mounts what was left, and compares it with what was promised. Returns how it went. */
  #recover(cut: Cut): string {
    const { rescue } = getMachines();
    const { excuses } = cut;
    const prng = new Prng(this.#plan.seed ^ (cut.number * 0x9e37));
    const strayPrng = new Prng(this.#plan.seed + cut.number);
    const nestedImages: SparseBytes[] = [];
    const isWhole = excuses.damaged.size === 0 && !excuses.lied;
    const nests = cut.number % 8 === 0 && isWhole;
    dumps.rewind();
    const session = new Session(rescue, { prng: new Prng(prng.u32()), image: cut.image });
    this.#rescueLog = session.log;
    for (const bad of excuses.badRanges) session.device.failReads(bad.offsetBytes, bad.byteLength);
    let unjustified: string | null = null;
    session.onDamage = (event, block, count) => {
      if (excuses.lied) return;
      for (let at = block; at < block + count; at++) if (excuses.damaged.has(at)) return;
      unjustified ??= `${event} at block ${block}, which nobody damaged`;
    };
    if (nests) {
      session.device.onEvent = (_kind, index) => {
        if (nestedImages.length < 4 && prng.below(1 + (index >> 2)) === 0) {
          nestedImages.push(
            session.device.crashImage(prng, prng.below(2) === 0 ? "torn" : "subset"),
          );
        }
        return undefined;
      };
    }
    const stray =
      isWhole && cut.number % 16 === 5 ? STRAYS[(cut.number >> 4) % STRAYS.length] : undefined;
    let hasStrayed = false;
    if (stray !== undefined) {
      session.device.onRead = (offsetBytes, byteLength) => {
        const block = offsetBytes / 4096;
        if (hasStrayed || block < stray.from || block >= stray.to) return undefined;
        hasStrayed = true;
        return strayPrng.below((session.device.sizeBytes - byteLength) / 4096) * 4096;
      };
    }
    let volume: Volume;
    let isRepaired = false;
    try {
      volume = session.run(mountVolume(session.environment, [session.device], MOUNT));
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      if (!excuses.journalHit || excuses.lied || error.reason !== "journal/damaged") {
        if (!mayRefuse(excuses)) throw error;
        return "refused";
      }
      // As a user would: what is behind the damage is given up.
      session.run(repair(session.environment, [session.device]));
      volume = session.run(mountVolume(session.environment, [session.device], MOUNT));
      isRepaired = true;
    }
    session.device.onEvent = null;
    session.device.onRead = null;
    if (hasStrayed) add(this.#coverage.outcomes, `misdirected-read of ${stray?.name}`, 1);
    this.#replayed += volume.status().journal.replayedTransactions;
    const calls = new Calls(session.core, volume.fs);
    const dump = session.run(calls.dump(!isWhole, dumps, true));
    if (unjustified !== null) throw new SimulationFailure(unjustified);
    const isWeak = excuses.journalHit || excuses.lied;
    const problem = this.#model.problem(dump, cut.moment, isWeak);
    if (problem !== null) throw new SimulationFailure(problem);
    const hasLost = dump.isPartial === true || (dump.unreadable?.size ?? 0) > 0;
    if (dump.isPartial === true && !excuses.lied) throw new SimulationFailure("metadata was lost");
    if (hasLost && !excuses.lied && !excuses.dataHit)
      throw new SimulationFailure("data was lost that nobody damaged");
    if (!isWhole) {
      const report = this.#fsckReport(session.device.currentImage(), excuses);
      if (report.clean && hasLost) throw new SimulationFailure("fsck is content with lost data");
      if (!excuses.lied) this.#judgeReport(report, excuses);
      if (isRepaired) return "mounted after a repair";
      return hasLost ? "mounted with errors" : isWeak ? "mounted, perhaps older" : "mounted whole";
    }
    if (session.log.some((line) => line.startsWith("error"))) {
      throw new SimulationFailure(`recovery logged ${session.log.join("; ")}`);
    }
    if (cut.number % 4 === 1 && !excuses.isFull) this.#goesOn(session, volume, calls, dump);
    else this.#fsck(session.device.currentImage(), "after recovery");
    for (const image of nestedImages) this.#recoverAgain(image, prng, dump);
    return "mounted whole";
  }

  #recoverAgain(image: SparseBytes, prng: Prng, before: Dump): void {
    this.#nestedCuts += 1;
    const session = new Session(getMachines().rescue, { prng: new Prng(prng.u32()), image });
    const volume = session.run(mountVolume(session.environment, [session.device], MOUNT));
    const found = session.run(new Calls(session.core, volume.fs).dump(false, dumps, true));
    const changed = difference(before, found);
    if (changed !== null)
      throw new SimulationFailure(`after a second loss of power, during recovery: ${changed}`);
    this.#fsck(session.device.currentImage(), "after a second recovery");
  }

  /** The recovered volume takes new data, and keeps all when it is unmounted in order. */
  #goesOn(session: Session, volume: Volume, calls: Calls, before: Dump): void {
    const { rescue } = getMachines();
    session.run(
      (function* (): Task<void> {
        let ino = 0;
        const must = (result: number): void => {
          if (result < 0)
            throw new SimulationFailure(`a recovered volume takes no new file: ${result}`);
        };
        must(
          yield* calls.make(ROOT_INO, "after recovery", "file", 0o644, "", (made) => {
            ino = made;
          }),
        );
        must(yield* calls.write(ino, 0, SOURCE, () => {}));
        for (const [file, bytes] of [...before.contents].slice(0, 8)) {
          must(yield* calls.write(file, bytes.length >> 1, SOURCE.subarray(100, 5000), () => {}));
        }
        must(yield* calls.fsync(ino));
      })(),
    );
    const dump = session.run(calls.dump(false, dumps, true));
    session.run(volume.unmount());
    const image = session.device.currentImage();
    this.#fsck(image.clone(), "after it was used and unmounted");
    const again = new Session(rescue, { prng: new Prng(1), image });
    const second = again.run(mountVolume(again.environment, [again.device], { readOnly: true }));
    const changed = difference(
      dump,
      again.run(new Calls(again.core, second.fs).dump(false, dumps, true)),
    );
    if (changed !== null)
      throw new SimulationFailure(`after it was used and unmounted: ${changed}`);
  }

  #fsckReport(image: SparseBytes, excuses?: Excuses): FsckReport {
    const session = new Session(getMachines().rescue, { prng: new Prng(1), image });
    for (const bad of excuses?.badRanges ?? [])
      session.device.failReads(bad.offsetBytes, bad.byteLength);
    return session.run(fsck(session.environment, [session.device]));
  }

  #fsck(image: SparseBytes, when: string): void {
    const report = this.#fsckReport(image);
    if (!report.clean || !report.complete)
      throw new SimulationFailure(`fsck ${when} finds ${errorsOf(report)}`);
  }

  /** Of a damaged volume fsck finds the damage, and nothing that follows from it. */
  #judgeReport(report: FsckReport, excuses: Excuses): void {
    for (const code of Object.keys(report.errorCodes)) {
      if (COPY_CODES.has(code)) continue;
      if (DATA_CODES.has(code) && excuses.dataHit) continue;
      // A gap of an earlier life is there until a checkpoint of this one is durable.
      if (JOURNAL_CODES.has(code) && (excuses.journalHit || isJournalDamaged(excuses))) continue;
      throw new SimulationFailure(`fsck of a damaged volume finds ${errorsOf(report)}`);
    }
  }

  #hashLine(text: string): void {
    this.#unhashed += `${text}\n`;
    if (this.#unhashed.length < HASHED_CHARS) return;
    this.#hash.update(this.#unhashed);
    this.#unhashed = "";
  }

  #note(text: string): void {
    this.#trace.push(text);
    this.#hashLine(text);
    if (this.#trace.length > 4 * TRACE_LINES_SHOWN)
      this.#trace = this.#trace.slice(-TRACE_LINES_SHOWN);
  }

  #failureOf(problem: string, where = "", cut?: number): SimulationFailure {
    // Cuts are counted otherwise where there are faults.
    const hasFaults = this.#plan.lives.some(({ steps }) => steps.some(({ kind }) => isFault(kind)));
    const again = `seed ${this.#plan.seed}${cut === undefined || hasFaults ? "" : ` --cut ${cut}`}`;
    const trace = this.#trace.slice(-TRACE_LINES_SHOWN).join("\n");
    return new SimulationFailure(
      `${where}${problem}\n\nThe last operations:\n${trace}\n\nAgain with: npm run sim -- --${again}`,
      signatureOf(problem),
    );
  }

  #fail(problem: string, where = "", cut?: number): never {
    this.#failure ??= this.#failureOf(problem, where, cut);
    throw this.#failure;
  }
}

const NOTHING: ReadonlySet<number> = new Set();
const MOUNT = { readOnly: false, checkpointSeconds: 3600 } as const;
const CRASH_MODES = ["none", "all", "subset", "subset", "torn", "torn", "torn"] as const;
const COPY_CODES: ReadonlySet<string> = new Set([
  "DFS-FSCK-SUPERBLOCK-SLOT",
  "DFS-FSCK-SUPERBLOCK-FIELD",
  "DFS-FSCK-PAGE-COPY",
  "DFS-FSCK-BITMAP-COPY",
]);
const DATA_CODES: ReadonlySet<string> = new Set(["DFS-FSCK-DATA", "DFS-FSCK-DATA-READ"]);
const JOURNAL_CODES: ReadonlySet<string> = new Set([
  "DFS-FSCK-JOURNAL-GAP",
  "DFS-FSCK-JOURNAL-READ",
]);

/** A mount may be refused where a flush has lied, and where the journal cannot be read. */
function mayRefuse(excuses: Excuses): boolean {
  return excuses.lied || isJournalUnreadable(excuses);
}

function isJournalDamaged(excuses: Pick<Excuses, "damaged">): boolean {
  for (const block of excuses.damaged)
    if (block >= journalStart && block < journalStart + journalBlocks) return true;
  return false;
}

function isJournalUnreadable(excuses: Excuses): boolean {
  const end = journalStart + journalBlocks;
  const isInJournal = (offsetBytes: number): boolean =>
    offsetBytes >= journalStart * 4096 && offsetBytes < end * 4096;
  return excuses.badRanges.some((bad) => isInJournal(bad.offsetBytes));
}

function errorsOf(report: FsckReport): string {
  const errors = report.errors.slice(0, 10).map((finding) => JSON.stringify(finding));
  return `${report.errorCount} errors:\n  ${errors.join("\n  ")}`;
}

/** What two failures of the same kind have in common. */
function signatureOf(problem: string): string {
  return (problem.split("\n")[0] as string).replace(/[0-9a-f]*\d[0-9a-f]*/g, "#").slice(0, 48);
}

function stackOf(error: unknown): string {
  if (error instanceof SimulationFailure) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/**
 * What a simulated run does, as data: lives of a volume, and the steps of each. A seed gives a plan; a plan that failed is
 * shrunk and kept as JSON. Each step has a seed of its own, so that leaving one out leaves the others as they are, as far
 * as the volume's contents allow.
 */
import { Prng } from "../../host/base/prng.ts";

/** Operations and their weights: as with real programs, most of them look. */
export const OPERATIONS = {
  create: 14,
  write: 34,
  fsync: 12,
  sync: 2,
  rename: 10,
  replace: 8,
  truncate: 8,
  unlink: 8,
  link: 4,
  unnamed: 4,
  symlink: 3,
  mkdir: 4,
  mknod: 2,
  rmdir: 3,
  setxattr: 4,
  removexattr: 2,
  punch: 6,
  keep: 5,
  clone: 7,
  read: 16,
  stat: 48,
  list: 4,
  checkpoint: 2,
  chmod: 2,
  chown: 2,
  utimes: 2,
  wrong: 4,
} as const;

export type OperationName = keyof typeof OPERATIONS | "fill" | "unmount" | "crash";
export const OPERATION_NAMES: readonly OperationName[] = [
  ...(Object.keys(OPERATIONS) as (keyof typeof OPERATIONS)[]),
  "fill",
  "unmount",
  "crash",
];

/** What can go wrong with a device. `metadata`: of one of two copies; `data` and `journal` have one. */
export const FAULTS = [
  "rot-metadata",
  "rot-data",
  "rot-journal",
  "latent-metadata",
  "latent-data",
  "latent-journal",
  "lost-write-metadata",
  "lost-write-data",
  "lost-write-journal",
  "torn-write-metadata",
  "torn-write-data",
  "torn-write-journal",
  "misdirected-write-metadata",
  "misdirected-write-data",
  "misdirected-read",
  "slow",
  "hang",
  "lying-flush",
  "write-error",
  "flush-error",
  "device-full",
  "vanish",
] as const;

export type FaultName = (typeof FAULTS)[number];
const FAULT_NAMES: ReadonlySet<string> = new Set(FAULTS);

export function isFault(kind: string): kind is FaultName {
  return FAULT_NAMES.has(kind);
}

export interface Step {
  readonly client: number;
  readonly kind: Exclude<OperationName, "unmount" | "crash"> | FaultName;
  readonly seed: number;
}

/** One mount of the volume. */
export interface Life {
  readonly seed: number;
  readonly checkpointSeconds: number;
  /** How long an operation of the device takes. */
  readonly delayMs: readonly [number, number];
  readonly end: "crash" | "unmount";
  /** A loss of power is looked at before about one in so many events of the device; 0: before none. */
  readonly cutEvery: number;
  readonly steps: readonly Step[];
}

export interface Plan {
  readonly version: 1;
  readonly seed: number;
  /** Which copy of metadata faults may damage: never both. */
  readonly side: 0 | 1;
  readonly lives: readonly Life[];
}

const DELAYS: readonly (readonly [number, number])[] = [
  [0.02, 0.1],
  [0.02, 1.5],
  [0.02, 1.5],
  [1, 40],
];
const CHECKPOINT_SECONDS = [0.03, 0.2, 1, 30];

function steps(prng: Prng, count: number, clients: number): Step[] {
  const kinds = Object.entries(OPERATIONS) as [Step["kind"], number][];
  const total = kinds.reduce((sum, [, weight]) => sum + weight, 0);
  const list: Step[] = [];
  for (let index = 0; index < count; index++) {
    let choice = prng.below(total);
    let at = 0;
    while (choice >= (kinds[at] as [Step["kind"], number])[1]) {
      choice -= (kinds[at] as [Step["kind"], number])[1];
      at += 1;
    }
    const [kind] = kinds[at] as [Step["kind"], number];
    list.push({ client: prng.below(clients), kind, seed: prng.u32() });
  }
  return list;
}

/** Lives that end with a loss of power, each event of the device a cut, and nothing else wrong. */
export function planCuts(seed: number, operations: number, lives: number): Plan {
  const prng = new Prng(seed);
  const list: Life[] = [];
  for (let index = 0; index < lives; index++) {
    list.push({
      seed: prng.u32(),
      checkpointSeconds: CHECKPOINT_SECONDS[prng.below(4)] as number,
      delayMs: DELAYS[prng.below(4)] as readonly [number, number],
      end: "crash",
      cutEvery: 1,
      steps: steps(prng, operations, 1 + prng.below(5)),
    });
  }
  return { version: 1, seed, side: 0, lives: list };
}

const GENTLE = FAULTS.filter((name) => /metadata|^slow|^hang|misdirected-read/.test(name));
const SINGLE = FAULTS.filter((name) => name.endsWith("data") && !name.endsWith("metadata"));
const JOURNAL = FAULTS.filter((name) => name.endsWith("journal"));
const FAILING = ["write-error", "flush-error", "device-full", "vanish"] as const;

/** Lives with all kinds of faults, remounts, and some losses of power. */
export function planFaults(seed: number, operations: number): Plan {
  const prng = new Prng(seed);
  const side = prng.below(2) as 0 | 1;
  const list: Life[] = [];
  for (let left = operations; left > 0; ) {
    const count = Math.min(left, 60 + prng.below(60 << prng.below(6)));
    left -= count;
    const clients = 1 + prng.below(6);
    const plan = steps(prng, count, clients);
    const put = (kind: Step["kind"], from = 0): void => {
      const at = Math.floor(plan.length * (from + prng.float() * (1 - from)));
      plan.splice(at, 0, { client: prng.below(clients), kind, seed: prng.u32() });
    };
    // A long life is none that less happens in.
    for (let parts = Math.ceil(count / 200); parts > 0; parts--) {
      const theme = prng.below(10);
      // Metadata has two copies, and time heals: those can happen in any number.
      if (theme < 7)
        for (let index = prng.below(6); index > 0; index--)
          put(GENTLE[prng.below(GENTLE.length)] as FaultName);
      if (theme === 4 || theme === 5)
        for (let index = 1 + prng.below(3); index > 0; index--)
          put(SINGLE[prng.below(SINGLE.length)] as FaultName);
    }
    // What ends a life, or makes its promises weak, comes late in it.
    const ending = prng.below(7);
    if (ending < 2) put(JOURNAL[prng.below(JOURNAL.length)] as FaultName, 0.5);
    if (ending === 2 || ending === 3) put(FAILING[prng.below(FAILING.length)] as FaultName, 0.6);
    if (ending === 4) put("lying-flush", 0.3);
    if (prng.below(6) === 0) for (let index = 0; index < 8; index++) put("fill");
    list.push({
      seed: prng.u32(),
      checkpointSeconds: CHECKPOINT_SECONDS[prng.below(4)] as number,
      delayMs: DELAYS[prng.below(4)] as readonly [number, number],
      end: prng.below(3) === 0 ? "unmount" : "crash",
      cutEvery: 480,
      steps: plan,
    });
  }
  return { version: 1, seed, side, lives: list };
}

export function countSteps(plan: Plan): number {
  return plan.lives.reduce((sum, life) => sum + life.steps.length, 0);
}

/**
 * A plan as short as dropping parts makes it, which still fails: first whole lives, then chunks of steps, halving their
 * length until single steps are left (delta debugging).
 *
 * @param fails Runs a plan and says whether it fails in the same way.
 * @param triesMax Runs at most.
 */
export function shrink(plan: Plan, fails: (plan: Plan) => boolean, triesMax: number): Plan {
  let best = plan;
  let tries = 0;
  const attempt = (candidate: Plan): boolean => {
    if (tries >= triesMax) return false;
    tries += 1;
    if (!fails(candidate)) return false;
    best = candidate;
    return true;
  };
  for (let index = best.lives.length - 1; index >= 0 && best.lives.length > 1; index--)
    attempt({ ...best, lives: best.lives.filter((_, at) => at !== index) });
  for (let shorter = true; shorter && tries < triesMax; ) {
    shorter = false;
    let chunk = Math.ceil(countSteps(best) / 2);
    for (; chunk >= 1 && tries < triesMax; chunk = Math.floor(chunk / 2)) {
      for (let start = countSteps(best) - chunk; start > -chunk && tries < triesMax; start -= chunk)
        if (attempt(without(best, Math.max(0, start), start + chunk))) shorter = true;
    }
  }
  return best;
}

/** Leaves out steps, counted through all lives. */
function without(plan: Plan, from: number, to: number): Plan {
  let at = 0;
  const lives = plan.lives.map((life) => {
    const first = at;
    at += life.steps.length;
    return { ...life, steps: life.steps.filter((_, i) => first + i < from || first + i >= to) };
  });
  return { ...plan, lives };
}

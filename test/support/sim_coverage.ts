/**
 * What a run of the simulation has reached: how often each operation met each state of the volume and each fault, so that
 * a run that exercises nothing is seen.
 */
import { FAULTS, type FaultName, OPERATION_NAMES, type OperationName } from "./sim_plan.ts";

/** What else was going on when an operation began. */
export const STATES = [
  /** Nothing. */
  "alone",
  /** Other operations were under way. */
  "together",
  /** A checkpoint was being written. */
  "checkpoint",
  /** The device did not answer, or slowly. */
  "slow",
  /** No space was left. */
  "full",
  /** After a failure. */
  "refusing",
] as const;
export type StateName = (typeof STATES)[number];

/** Below this many operations a run may leave things out. */
export const COMPLETE_FROM = 60_000;

const FAULT_COUNT = FAULTS.length + 1;
const indexOf = <K>(names: readonly K[]): Map<K, number> =>
  new Map(names.map((name, index) => [name, index]));
const OPERATION_INDEX = indexOf<OperationName>(OPERATION_NAMES);
const STATE_INDEX = indexOf<StateName>(STATES);
const FAULT_INDEX = indexOf<FaultName>(FAULTS);

export class Coverage {
  /** Counts by operation, state and fault; the fault is the last of this life, the last index is none. */
  readonly #cells: Float64Array = new Float64Array(
    OPERATION_NAMES.length * STATES.length * FAULT_COUNT,
  );
  /** Faults that were put in. */
  readonly injected: Map<FaultName, number> = new Map();
  /** What came of it: "fault outcome" → count. */
  readonly outcomes: Map<string, number> = new Map();
  /** Operations that failed, by errno. */
  readonly errors: Map<string, number> = new Map();

  operation(name: OperationName, state: StateName, fault: FaultName | "none"): void {
    const row = (OPERATION_INDEX.get(name) as number) * STATES.length;
    const index = (row + (STATE_INDEX.get(state) as number)) * FAULT_COUNT;
    const at = index + (fault === "none" ? FAULTS.length : (FAULT_INDEX.get(fault) as number));
    this.#cells[at] = (this.#cells[at] as number) + 1;
  }

  merge(other: Coverage): void {
    other.#cells.forEach((count, at) => {
      this.#cells[at] = (this.#cells[at] as number) + count;
    });
    for (const [key, count] of other.injected) add(this.injected, key, count);
    for (const [key, count] of other.outcomes) add(this.outcomes, key, count);
    for (const [key, count] of other.errors) add(this.errors, key, count);
  }

  sum(select: (name: string, state: string, fault: string) => boolean): number {
    let total = 0;
    this.#cells.forEach((count, at) => {
      if (count > 0 && select(...cellName(at))) total += count;
    });
    return total;
  }

  /** Names of operations, states and faults that were never reached. */
  missing(): string[] {
    const missing: string[] = [];
    for (const name of OPERATION_NAMES)
      if (this.sum((each) => each === name) === 0) missing.push(`operation ${name}`);
    for (const state of STATES)
      if (this.sum((_, each) => each === state) === 0) missing.push(`state ${state}`);
    for (const fault of FAULTS) if (!this.injected.has(fault)) missing.push(`fault ${fault}`);
    return missing;
  }

  /** Tables for people. */
  text(): string {
    const lines = [row("operation", STATES)];
    for (const name of OPERATION_NAMES) {
      const counts = STATES.map((state) =>
        this.sum((each, at) => each === name && at === state).toString(),
      );
      lines.push(row(name, counts));
    }
    lines.push("", row("fault", ["put in", "operations", "outcomes"]));
    for (const fault of FAULTS) {
      const outcomes = [...this.outcomes]
        .filter(([key]) => key.startsWith(`${fault} `))
        .map(([key, count]) => `${key.slice(fault.length + 1)}: ${count}`);
      const operations = this.sum((_, __, each) => each === fault);
      const injected = this.injected.get(fault) ?? 0;
      lines.push(`${row(fault, [String(injected), String(operations)])}  ${outcomes.join(", ")}`);
    }
    const errors = [...this.errors].sort(([a], [b]) => (a < b ? -1 : 1));
    lines.push("", `refusals: ${errors.map(([key, count]) => `${key} ${count}`).join(", ")}`);
    return lines.join("\n");
  }

  toJSON(): Record<string, Record<string, number>> {
    const cells: Record<string, number> = {};
    this.#cells.forEach((count, at) => {
      if (count > 0) cells[cellName(at).join(" ")] = count;
    });
    return {
      cells,
      injected: Object.fromEntries(this.injected),
      outcomes: Object.fromEntries(this.outcomes),
      errors: Object.fromEntries(this.errors),
    };
  }
}

export function add<K>(counts: Map<K, number>, key: K, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}

function cellName(at: number): [name: string, state: string, fault: string] {
  const row = Math.floor(at / FAULT_COUNT);
  return [
    OPERATION_NAMES[Math.floor(row / STATES.length)] as string,
    STATES[row % STATES.length] as string,
    FAULTS[at % FAULT_COUNT] ?? "none",
  ];
}

function row(name: string, columns: readonly string[]): string {
  return name.padEnd(28) + columns.map((column) => column.padStart(11)).join("");
}

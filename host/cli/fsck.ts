/** `dynamicfs fsck`: checks a pool that is not mounted, and changes nothing unless it is asked to repair. */
import type { Task } from "../base/task.ts";
import { fsck as check } from "../maintain/fsck.ts";
import type { FsckReport } from "../maintain/fsck_report.ts";
import { type RepairProgress, type RepairReport, repair } from "../maintain/repair.ts";
import { type Engine, withEngine } from "./engine.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";
import { memoryBytesOf } from "./sizes.ts";

/** An estimate from less than this would only jump about. */
const ESTIMATE_AFTER_MS = 3000;

/** How a repair ended, or did not begin. */
interface Outcome {
  readonly report: RepairReport;
  readonly state: "done" | "trial" | "refused";
}

/** `dynamicfs fsck DEV…` */
export async function fsck(invocation: Invocation, output: Output): Promise<ExitCode> {
  const specs = invocation.many("DEV");
  const wantsRepair = invocation.is("repair");
  const data = !invocation.is("no-data");
  const estimate = new Estimate();
  const onProgress = (progress: RepairProgress): void =>
    output.progress(progressLine(progress, estimate), { ...progress });
  const isTrial = invocation.is("dry-run");
  const options = {
    specs,
    memoryBytes: memoryBytesOf(invocation.text("memory")),
    readOnly: !wantsRepair || isTrial,
    log: (_level: string, event: string, fields: Record<string, unknown>) =>
      output.detail(`${event} ${JSON.stringify(fields)}`),
  };
  if (!wantsRepair) {
    const report = await withEngine(options, ({ environment, devices }) =>
      check(environment, devices, { data, onProgress }),
    );
    printFindings(report, output);
    if (output.machine) output.envelope("dynamicfs.fsck/1", { devices: specs, ...report });
    else printSummary(report, output);
    return exitCodeOf(report);
  }
  const outcome = await withEngine(options, function* ({ environment, devices }): Task<Outcome> {
    const engine: Pick<Engine, "environment" | "devices"> = { environment, devices };
    let checked: FsckReport | undefined;
    if (isTrial || !invocation.is("yes")) {
      // What it would do decides whether it may.
      const report = yield* repair(engine.environment, engine.devices, {
        data,
        onProgress,
        dryRun: true,
      });
      if (isTrial) return { report, state: "trial" };
      if (report.lostCount > 0) return { report, state: "refused" };
      if (!report.changed) return { report, state: "done" };
      checked = report.before;
    }
    const report = yield* repair(engine.environment, engine.devices, {
      data,
      onProgress,
      ...(checked === undefined ? {} : { checked }),
    });
    return { report, state: "done" };
  });
  return printRepair(outcome, specs, output);
}

function exitCodeOf(report: FsckReport): ExitCode {
  if (!report.clean) return ExitCode.dataErrors;
  return report.complete ? ExitCode.ok : ExitCode.partial;
}

function printFindings(report: FsckReport, output: Output): void {
  for (const { code, message, where } of report.errors) {
    output.event("error", { code, message, where });
    if (!output.machine) output.data(`${output.style("red", code)} at ${where}: ${message}`);
  }
  for (const { code, message, where } of report.warnings) {
    output.event("event", { code, message, where });
    if (!output.machine) output.warning(`${code} at ${where}: ${message}`);
  }
}

function printSummary(report: FsckReport, output: Output): void {
  const counts = Object.entries(report.counts).map(([name, count]) => `${count} ${name}`);
  if (counts.length > 0) output.message(`checked ${counts.join(", ")}`);
  if (report.errors.length < report.errorCount) {
    output.message(`the first ${report.errors.length} errors are shown`);
  }
  const incomplete = report.complete ? "" : ", some parts could not be checked";
  output.data(`${report.clean ? "clean" : `${report.errorCount} errors`}${incomplete}`);
  if (report.needsRecovery)
    output.message("it was not unmounted cleanly: the next mount replays its journal");
}

function printRepair(outcome: Outcome, specs: readonly string[], output: Output): ExitCode {
  const { report, state } = outcome;
  // What the volume is now.
  const now = state === "done" ? report.after : report.before;
  const would = state === "done" ? "" : "would be: ";
  printFindings(now, output);
  const lost = new Set(report.lost.map(({ where, message }) => `${where} ${message}`));
  for (const { kind, message, where } of report.steps) {
    if (lost.has(`${where} ${message}`)) continue;
    output.event("event", { repair: kind, message, where });
    if (!output.machine) output.message(`${would}${kind} at ${where}: ${message}`);
  }
  for (const { kind, message, where } of report.lost) {
    output.event("event", { repair: kind, lost: true, message, where });
    if (!output.machine)
      output.data(`${would}${output.style("red", "lost")} at ${where}: ${message}`);
  }
  if (output.machine) {
    const { steps, stepCount, stepCounts, lostCount, changed } = report;
    output.envelope("dynamicfs.fsck/1", {
      devices: specs,
      ...now,
      repair: {
        state,
        changed,
        steps,
        stepCount,
        stepCounts,
        lost: report.lost,
        lostCount,
        errorCodesBefore: report.before.errorCodes,
        errorCodesAfter: report.after.errorCodes,
      },
    });
  } else {
    if (report.steps.length < report.stepCount)
      output.message(`the first ${report.steps.length} of ${report.stepCount} steps are shown`);
    if (report.lost.length < report.lostCount)
      output.message(`the first ${report.lost.length} of ${report.lostCount} losses are shown`);
    output.data(repairText(outcome));
  }
  if (state === "trial") return exitCodeOf(report.before);
  if (state === "refused") return ExitCode.confirmationNeeded;
  if (!report.after.clean) return ExitCode.dataErrors;
  return report.lostCount > 0 || !report.after.complete ? ExitCode.partial : ExitCode.ok;
}

function repairText({ report, state }: Outcome): string {
  const { before, after, changed, lostCount } = report;
  const left = after.clean ? "clean" : `${after.errorCount} errors that cannot be repaired`;
  if (!changed) return before.clean ? "clean" : left;
  const losses = lostCount === 0 ? "nothing is lost" : `${lostCount} losses, each named above`;
  const what = `${before.errorCount} errors, ${report.stepCount} steps, ${losses}`;
  if (state === "done") return `repaired: ${what}; ${left}`;
  if (state === "trial") return `a repair would do this: ${what}; then ${left}`;
  return `not repaired, since something would be given up: ${what}; --yes agrees to it`;
}

/** How long the rest of a phase takes, going by what it took so far. */
class Estimate {
  #phase = "";
  #begin = 0;

  text(progress: RepairProgress): string {
    const now = performance.now();
    if (progress.phase !== this.#phase) {
      this.#phase = progress.phase;
      this.#begin = now;
    }
    const elapsed = now - this.#begin;
    const { done, total } = progress;
    if (total === null || done <= 0 || done > total || elapsed < ESTIMATE_AFTER_MS) return "";
    const seconds = Math.ceil((elapsed * (total - done)) / done / 1000);
    if (seconds < 120) return `, about ${seconds} s left`;
    return `, about ${Math.ceil(seconds / 60)} min left`;
  }
}

function progressLine(progress: RepairProgress, estimate: Estimate): string {
  const { phase, done, total } = progress;
  const left = estimate.text(progress);
  if (total === null || total === 0) return `fsck ${phase} ${done}`;
  return `fsck ${phase} ${Math.min(100, Math.floor((100 * done) / total))}% ${done}/${total}${left}`;
}

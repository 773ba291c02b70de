/** `dynamicfs fsck`: checks a pool that is not mounted, and changes nothing. */
import { fsck as check } from "../maintain/fsck.ts";
import type { FsckProgress } from "../maintain/fsck_report.ts";
import { withEngine } from "./engine.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";
import { memoryBytesOf } from "./sizes.ts";

/** `dynamicfs fsck DEV…` */
export async function fsck(invocation: Invocation, output: Output): Promise<ExitCode> {
  const specs = invocation.many("DEV");
  const report = await withEngine(
    {
      specs,
      memoryBytes: memoryBytesOf(invocation.text("memory")),
      readOnly: true,
      log: (_level, event, fields) => output.detail(`${event} ${JSON.stringify(fields)}`),
    },
    ({ environment, devices }) =>
      check(environment, devices, {
        data: !invocation.is("no-data"),
        onProgress: (progress) => output.progress(progressLine(progress), { ...progress }),
      }),
  );
  for (const { code, message, where } of report.errors) {
    output.event("error", { code, message, where });
    if (!output.machine) output.data(`${output.style("red", code)} at ${where}: ${message}`);
  }
  for (const { code, message, where } of report.warnings) {
    output.event("event", { code, message, where });
    if (!output.machine) output.warning(`${code} at ${where}: ${message}`);
  }
  if (output.machine) output.envelope("dynamicfs.fsck/1", { devices: specs, ...report });
  else {
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
  if (!report.clean) return ExitCode.dataErrors;
  return report.complete ? ExitCode.ok : ExitCode.partial;
}

function progressLine(progress: FsckProgress): string {
  const { phase, done, total } = progress;
  if (total === null || total === 0) return `fsck ${phase} ${done}`;
  return `fsck ${phase} ${Math.min(100, Math.floor((100 * done) / total))}% ${done}/${total}`;
}

/** The engine's part of `dynamicfs quota`. */
import { errnoName } from "../base/errno.ts";
import type { QuotaLimits, QuotaReport, QuotaSubject } from "../fs/quotas.ts";
import { QUOTAS_MAX } from "../fs/quotas.ts";
import type { Volume } from "../fs/volume.ts";
import { CliError, type ErrorRecord } from "./cli_error.ts";
import { ExitCode } from "./exit_codes.ts";

/** Limits to change: what is left out stays, null is none. */
export interface QuotaChange extends QuotaSubject {
  readonly bytes?: number | null;
  readonly files?: number | null;
}

/** All quotas, after the change if there was one: it is durable then. */
export type QuotaAnswer =
  | { readonly error: null; readonly quotas: readonly QuotaReport[] }
  | { readonly error: ErrorRecord };

/** @param change Null: only list them. */
export function answerQuota(
  volume: Volume,
  change: QuotaChange | null,
  done: (answer: QuotaAnswer) => void,
): void {
  const list = (): void => done({ error: null, quotas: volume.quotas.list() });
  if (change === null) {
    list();
    return;
  }
  const fail = (status: number): void => done({ error: refusal(change, status).toRecord() });
  const { kind, id } = change;
  volume.quotas.set({ kind, id }, limitsAfter(volume, change), (status) => {
    if (status < 0) {
      fail(status);
      return;
    }
    volume.fs.sync((synced) => {
      if (synced < 0) fail(synced);
      else list();
    });
  });
}

function limitsAfter(volume: Volume, { kind, id, bytes, files }: QuotaChange): QuotaLimits {
  const now = volume.quotas.list().find((quota) => quota.kind === kind && quota.id === id)?.limits;
  return {
    bytes: bytes === undefined ? (now?.bytes ?? null) : bytes,
    files: files === undefined ? (now?.files ?? null) : files,
  };
}

function refusal({ kind, id }: QuotaChange, status: number): CliError {
  const code = errnoName(status);
  const [exitCode, why] = ((): [ExitCode, string] => {
    switch (code) {
      case "EINVAL":
        return [
          ExitCode.usage,
          kind === "project" && id === 0
            ? "0 is the id of what is in no project"
            : "it is no id, or no limit",
        ];
      case "EROFS":
        return [ExitCode.notPermitted, "the file system is read-only"];
      case "ENOSPC":
        return [ExitCode.noSpace, `no space is left, or there are ${QUOTAS_MAX} quotas already`];
      default:
        return [ExitCode.failed, code];
    }
  })();
  return new CliError({ exitCode, what: `cannot set a quota for ${kind} ${id}`, why, code });
}

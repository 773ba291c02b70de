/** An error that a person at a terminal is meant to read: what failed, why, and the command to try next. */
import { AssertionError } from "../base/assert.ts";
import { FsError } from "../base/fs_error.ts";
import { ExitCode } from "./exit_codes.ts";

export interface CliErrorOptions {
  readonly exitCode: ExitCode;
  /** What was being done, with its object: "cannot mount ./a.img". */
  readonly what: string;
  /** Why it did not work: "it is in use by another process". */
  readonly why: string;
  /** A command that leads on. */
  readonly try?: string | undefined;
  /** Stable name for programs: "usage", "ENODEV", "device/locked". */
  readonly code?: string;
  readonly cause?: unknown;
}

export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly what: string;
  readonly why: string;
  readonly try: string | undefined;
  readonly code: string;

  constructor(options: CliErrorOptions) {
    super(`${options.what}: ${options.why}`, { cause: options.cause });
    this.name = "CliError";
    this.exitCode = options.exitCode;
    this.what = options.what;
    this.why = options.why;
    this.try = options.try;
    this.code = options.code ?? (options.exitCode === ExitCode.usage ? "usage" : "failed");
  }

  /** A plain object that survives JSON and threads. */
  toRecord(): ErrorRecord {
    return {
      code: this.code,
      exitCode: this.exitCode,
      what: this.what,
      why: this.why,
      try: this.try ?? null,
    };
  }

  static fromRecord(record: ErrorRecord): CliError {
    return new CliError({ ...record, try: record.try ?? undefined });
  }
}

/** An error as JSON output, the control socket and the daemon's ready pipe carry it. */
export interface ErrorRecord {
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly what: string;
  readonly why: string;
  readonly try: string | null;
}

/** A mistake in the command line or the environment: exit code 2. */
export function usageError(what: string, why: string, tryCommand?: string): CliError {
  return new CliError({ exitCode: ExitCode.usage, what, why, try: tryCommand });
}

/** Exit codes of POSIX codes, where a code has one meaning whatever was being done. */
const EXIT_CODES: Readonly<Record<string, ExitCode>> = {
  ENOENT: ExitCode.notFound,
  ENODEV: ExitCode.notFound,
  ENXIO: ExitCode.notFound,
  EBUSY: ExitCode.busy,
  EAGAIN: ExitCode.busy,
  EPERM: ExitCode.notPermitted,
  EACCES: ExitCode.notPermitted,
  EROFS: ExitCode.notPermitted,
  ENOSPC: ExitCode.noSpace,
  EDQUOT: ExitCode.noSpace,
  EUCLEAN: ExitCode.faulted,
  EBADMSG: ExitCode.faulted,
  EOPNOTSUPP: ExitCode.unsupported,
  ETIMEDOUT: ExitCode.cancelled,
};

/** What a POSIX code means to a person, for errors of the system that carry nothing better. */
const PLAIN_WORDS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or directory",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EBUSY: "it is in use",
  EEXIST: "it exists already",
  ENOTDIR: "not a directory",
  EISDIR: "it is a directory",
  ENOSPC: "no space left",
  EROFS: "the file system is read-only",
  ENOTCONN: "its daemon is gone",
  ECONNREFUSED: "nobody listens there",
};

/**
 * Any error as one for people. Errors of the engine keep their text; errors of the system lose Node's syntax
 * ("ENOENT: no such file or directory, open 'x'").
 *
 * @param what What was being done.
 * @param tryCommand A command that leads on, when the error has none of its own.
 */
export function toCliError(error: unknown, what: string, tryCommand?: string): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof FsError) {
    // "Cannot open "x": it is locked" tells what failed better than the caller knows.
    const said = /^(Cannot .+?): (.+)$/s.exec(error.message);
    return new CliError({
      exitCode:
        error.code === "EINVAL" ? ExitCode.usage : (EXIT_CODES[error.code] ?? ExitCode.failed),
      what: said === null ? what : `c${said[1]!.slice(1)}`,
      why: said === null ? error.message : said[2]!,
      try: tryCommand,
      code: error.reason,
      cause: error,
    });
  }
  if (error instanceof Error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) {
      const words = PLAIN_WORDS[code] ?? error.message;
      const named = path !== undefined && !what.includes(path) ? `${path}: ${words}` : words;
      return new CliError({
        exitCode: EXIT_CODES[code] ?? ExitCode.failed,
        what,
        why: named,
        try: tryCommand,
        code,
        cause: error,
      });
    }
    const bug =
      error instanceof AssertionError ||
      ["RuntimeError", "TypeError", "ReferenceError"].includes(error.name);
    return new CliError({
      exitCode: ExitCode.failed,
      what,
      why: bug ? `this is a bug: ${error.message}` : error.message,
      try: tryCommand ?? (bug ? "set DYNAMICFS_DEBUG=1 and run it again to see where" : undefined),
      code: bug ? "bug" : "failed",
      cause: error,
    });
  }
  return new CliError({ exitCode: ExitCode.failed, what, why: String(error), try: tryCommand });
}

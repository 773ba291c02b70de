import { errnoName } from "./errno.ts";

/**
 * An error that is meant for a caller: a POSIX code for programs, a reason that names the one site that raised it for
 * logs, and a message for people.
 */
export class FsError extends Error {
  /** Symbolic POSIX code, as in Node's errors: "ENOSPC". */
  readonly code: string;
  /** Negative error number, as in Node's errors: −28. */
  readonly errno: number;
  /** Ours, raised in one place only: "space/no-extent-large-enough". */
  readonly reason: string;

  constructor(errno: number, reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "FsError";
    this.errno = -Math.abs(errno);
    this.code = errnoName(errno);
    this.reason = reason;
  }
}

/**
 * Exit codes: part of the interface, documented in `dynamicfs help` and the man page. A code is never given a new
 * meaning; a caller must take an unknown one for failure.
 */
export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  partial: 3,
  notFound: 4,
  busy: 5,
  notPermitted: 6,
  degraded: 7,
  faulted: 8,
  confirmationNeeded: 9,
  noSpace: 10,
  dataErrors: 11,
  unsupported: 12,
  cancelled: 13,
  wrongKey: 14,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** What each code says, in the order in which help prints them. */
export const EXIT_CODE_MEANINGS: readonly (readonly [code: ExitCode, meaning: string])[] = [
  [ExitCode.ok, "done"],
  [ExitCode.failed, "failed; any code that is not listed means this too"],
  [ExitCode.usage, "usage or configuration error: nothing was done"],
  [ExitCode.partial, "partly done: some items were skipped or could not be read"],
  [ExitCode.notFound, "not found: no such pool, device, mount point or item"],
  [ExitCode.busy, "busy, locked or fenced: somebody else uses it"],
  [ExitCode.notPermitted, "not permitted: missing privilege, policy or protection"],
  [ExitCode.degraded, "degraded (`status --exit-code`)"],
  [ExitCode.faulted, "faulted: the pool cannot be brought into use"],
  [ExitCode.confirmationNeeded, "confirmation needed: something would be lost, nothing was done"],
  [ExitCode.noSpace, "no space, or a quota is exhausted"],
  [ExitCode.dataErrors, "data errors were found"],
  [ExitCode.unsupported, "the format has a feature that this version does not know"],
  [ExitCode.cancelled, "timed out or cancelled; can be resumed"],
  [ExitCode.wrongKey, "wrong key or password"],
  [ExitCode.interrupted, "interrupted (SIGINT)"],
  [ExitCode.terminated, "terminated (SIGTERM)"],
];

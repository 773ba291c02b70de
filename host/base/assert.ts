/** A broken invariant: a bug, never a caller's mistake. After one the volume refuses writes. */
export class AssertionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "AssertionError";
  }
}

/** Throws AssertionError unless the condition holds. Stays on in release. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

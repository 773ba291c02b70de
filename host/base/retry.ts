/**
 * Thrown by an operation that needs something that is not there yet, before it has changed anything. The catcher calls
 * `wait`; `resume(0)` means run the operation again from the start, `resume(−errno)` that it fails with that error.
 * Not an Error: it carries no stack, so throwing it is cheap.
 */
export class Retry {
  readonly wait: (resume: (status: number) => void) => void;

  constructor(wait: (resume: (status: number) => void) => void) {
    this.wait = wait;
  }
}

/** Both real reactors over one memory, for tests that must hold for each. */
import { PortableReactor } from "../../host/reactor/portable_reactor.ts";
import type { Reactor } from "../../host/reactor/reactor.ts";
import { UringReactor } from "../../host/reactor/uring_reactor.ts";

export interface ReactorForm {
  readonly name: "io_uring" | "portable";
  /** Why it cannot run here, or false. */
  readonly skip: string | false;
  make(core: { readonly bytes: Uint8Array }): Reactor & { readonly pending: number };
}

function whyNoUring(): string | false {
  try {
    new UringReactor({ bytes: new Uint8Array(65_536) }).close();
    return false;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export const REACTOR_FORMS: readonly ReactorForm[] = [
  { name: "io_uring", skip: whyNoUring(), make: (core) => new UringReactor(core) },
  { name: "portable", skip: false, make: (core) => new PortableReactor(core) },
];

/** Memory as the core has it: page-aligned, never moving. */
export function makeMemory(byteLength: number): { bytes: Uint8Array<ArrayBuffer> } {
  const pages = Math.ceil(byteLength / 65_536);
  return {
    bytes: new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer),
  };
}

/** Starts something and runs the reactor until it calls `finish`. */
export async function drive(reactor: Reactor, start: (finish: () => void) => void): Promise<void> {
  let finished = false;
  start(() => {
    finished = true;
    reactor.stop();
  });
  // stop() before run() is not remembered: what finished at once needs no loop.
  if (!finished) await reactor.run();
}

import type { CoreExports } from "./abi.ts";

/**
 * One instance of the Wasm core and its memory. The memory never grows, so the views are made once and stay valid; any
 * address in it is a plain number, the same for the core, the host and system calls.
 */
export class Core {
  /** The raw exports: u32 results come signed, apply `>>> 0`. */
  readonly exports: CoreExports;
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** Indexed by address / 4. */
  readonly u32: Uint32Array<ArrayBuffer>;
  /** Indexed by address / 8. */
  readonly f64: Float64Array<ArrayBuffer>;
  /** First address after the core's static data: the host lays out the rest. Below lies what is the core's own. */
  readonly staticEnd: number;

  constructor(exports: CoreExports, memory: WebAssembly.Memory) {
    this.exports = exports;
    this.memory = memory;
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.u32 = new Uint32Array(memory.buffer);
    this.f64 = new Float64Array(memory.buffer);
    this.staticEnd = exports.static_end() >>> 0;
  }
}

/**
 * Counts the WebAssembly instructions that a module executes: each straight run of them begins, in the copy that is made here,
 * with an addition to a counter. Unlike a time the count is the same on every machine and in every run.
 *
 * Counted is each instruction of the binary but those that only mark structure (`block`, `loop`, `end`, `else`), once each time it is
 * reached; a bulk operation is one, however long. A run that a trap ends counts whole. Binary format: WebAssembly Core
 * Specification 2.0, chapter 5.
 */

/** The name of the exported global: a mutable i64. */
export const COUNTER = "executed instructions";

const SECTION_IMPORT = 2;
const SECTION_GLOBAL = 6;
const SECTION_EXPORT = 7;
const SECTION_CODE = 10;
/** The order in which sections stand, by id: 12 (data count) comes before 10. */
const ORDER: readonly number[] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];
const EXTERNAL_GLOBAL = 3;
const TYPE_I64 = 0x7e;
const END = 0x0b;

/**
 * A copy of a module that counts.
 *
 * @throws {Error} For what is no module, and an instruction or import that is not known here: never a wrong count.
 */
export function countInstructions(wasm: Uint8Array): Uint8Array<ArrayBuffer> {
  const sections = readSections(wasm);
  const imported = importedGlobals(sections.find(({ id }) => id === SECTION_IMPORT)?.bytes);
  const globals = sections.find(({ id }) => id === SECTION_GLOBAL)?.bytes;
  const counter = imported + (globals === undefined ? 0 : new Reader(globals).u32());
  const zero = [TYPE_I64, 1, 0x42, 0, END];
  const name = new TextEncoder().encode(COUNTER);
  const entry = [...u32(name.length), ...name, EXTERNAL_GLOBAL, ...u32(counter)];
  const changed = sections.map(({ id, bytes }): Section => {
    if (id === SECTION_GLOBAL) return { id, bytes: withEntry(bytes, zero) };
    if (id === SECTION_EXPORT) return { id, bytes: withEntry(bytes, entry) };
    if (id === SECTION_CODE) return { id, bytes: countedCode(bytes, counter) };
    return { id, bytes };
  });
  for (const [id, bytes] of [
    [SECTION_GLOBAL, zero],
    [SECTION_EXPORT, entry],
  ] as const) {
    if (sections.some((section) => section.id === id)) continue;
    const before = changed.findIndex(
      (section) => section.id !== 0 && ORDER.indexOf(section.id) > ORDER.indexOf(id),
    );
    const added = { id, bytes: Uint8Array.from([1, ...bytes]) };
    changed.splice(before < 0 ? changed.length : before, 0, added);
  }
  const out = new Writer();
  out.bytes(wasm.subarray(0, 8));
  for (const { id, bytes } of changed) {
    // Names of functions stay right: no function is added.
    out.byte(id);
    out.bytes(u32(bytes.length));
    out.bytes(bytes);
  }
  return out.taken();
}

interface Section {
  readonly id: number;
  readonly bytes: Uint8Array;
}

function readSections(wasm: Uint8Array): Section[] {
  const head = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  if (!head.every((byte, at) => wasm[at] === byte)) throw new Error("not a WebAssembly module");
  const reader = new Reader(wasm, 8);
  const sections: Section[] = [];
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const length = reader.u32();
    sections.push({ id, bytes: reader.take(length) });
  }
  return sections;
}

function importedGlobals(bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return 0;
  const reader = new Reader(bytes);
  let globals = 0;
  for (let left = reader.u32(); left > 0; left--) {
    reader.take(reader.u32());
    reader.take(reader.u32());
    const kind = reader.byte();
    if (kind === 0) reader.u32();
    else if (kind === 1) {
      reader.byte();
      limits(reader);
    } else if (kind === 2) limits(reader);
    else if (kind === EXTERNAL_GLOBAL) {
      reader.take(2);
      globals += 1;
    } else throw new Error(`an import of kind ${kind} is not known`);
  }
  return globals;
}

function limits(reader: Reader): void {
  const flags = reader.byte();
  reader.u32();
  if ((flags & 1) !== 0) reader.u32();
}

/** A section that is a vector, and one element more. */
function withEntry(section: Uint8Array, entry: readonly number[]): Uint8Array {
  const reader = new Reader(section);
  const count = reader.u32();
  const out = new Writer();
  out.bytes(u32(count + 1));
  out.bytes(reader.rest());
  out.bytes(entry);
  return out.taken();
}

function countedCode(section: Uint8Array, counter: number): Uint8Array {
  const reader = new Reader(section);
  const count = reader.u32();
  const out = new Writer();
  out.bytes(u32(count));
  for (let index = 0; index < count; index++) {
    const body = countedBody(reader.take(reader.u32()), counter);
    out.bytes(u32(body.length));
    out.bytes(body);
  }
  return out.taken();
}

function countedBody(body: Uint8Array, counter: number): Uint8Array {
  const reader = new Reader(body);
  for (let left = reader.u32(); left > 0; left--) {
    reader.u32();
    reader.byte();
  }
  const out = new Writer();
  out.bytes(body.subarray(0, reader.at));
  let from = reader.at;
  let run = 0;
  /** Writes what has been read since the last call, and before it the addition of the instructions in it. */
  const endRun = (): void => {
    if (run > 0) {
      out.bytes([0x23, ...u32(counter), 0x42, ...s32(run), 0x7c, 0x24, ...u32(counter)]);
    }
    out.bytes(body.subarray(from, reader.at));
    from = reader.at;
    run = 0;
  };
  while (!reader.isAtEnd) {
    const opcode = skipInstruction(reader);
    if (!isMark(opcode)) run += 1;
    if (endsRun(opcode)) endRun();
  }
  endRun();
  return out.taken();
}

/** block, loop, else, end. */
function isMark(opcode: number): boolean {
  return opcode === 0x02 || opcode === 0x03 || opcode === 0x05 || opcode === END;
}

/** What comes behind it is reached more or less often: all of control but nop and the calls, which come back. */
function endsRun(opcode: number): boolean {
  return opcode <= 0x0f && opcode !== 0x01;
}

/** Reads one instruction. Returns its opcode, that of the prefix where there is one. */
function skipInstruction(reader: Reader): number {
  const start = reader.at;
  const opcode = reader.byte();
  const unknown = (sub = ""): never => {
    throw new Error(`instruction 0x${opcode.toString(16)}${sub} at byte ${start} is not known`);
  };
  if (opcode === 0x02 || opcode === 0x03 || opcode === 0x04) reader.leb();
  else if (opcode === 0x0c || opcode === 0x0d || opcode === 0x10) reader.u32();
  else if (opcode === 0x0e) for (let left = reader.u32(); left >= 0; left--) reader.u32();
  else if (opcode === 0x11) {
    reader.u32();
    reader.u32();
  } else if (opcode === 0x1c) reader.take(reader.u32());
  else if ((opcode >= 0x20 && opcode <= 0x26) || opcode === 0xd2) reader.u32();
  else if (opcode >= 0x28 && opcode <= 0x3e) memoryArgument(reader);
  else if (opcode === 0x3f || opcode === 0x40 || opcode === 0xd0) reader.byte();
  else if (opcode === 0x41 || opcode === 0x42) reader.leb();
  else if (opcode === 0x43) reader.take(4);
  else if (opcode === 0x44) reader.take(8);
  else if (opcode === 0xfc) {
    const sub = reader.u32();
    if (sub === 8 || sub === 10 || sub === 12 || sub === 14) {
      reader.u32();
      reader.u32();
    } else if (sub > 7 && sub <= 17) reader.u32();
    else if (sub > 17) unknown(` ${sub}`);
  } else if (opcode === 0xfd) {
    const sub = reader.u32();
    if (sub <= 11 || sub === 92 || sub === 93) memoryArgument(reader);
    else if (sub === 12 || sub === 13) reader.take(16);
    else if (sub >= 21 && sub <= 34) reader.byte();
    else if (sub >= 84 && sub <= 91) {
      memoryArgument(reader);
      reader.byte();
    } else if (sub > 275) unknown(` ${sub}`);
  } else if (
    !(
      opcode <= 0x01 ||
      opcode === 0x05 ||
      opcode === END ||
      opcode === 0x0f ||
      opcode === 0x1a ||
      opcode === 0x1b ||
      (opcode >= 0x45 && opcode <= 0xc4) ||
      opcode === 0xd1
    )
  ) {
    unknown();
  }
  return opcode;
}

function memoryArgument(reader: Reader): void {
  if (reader.u32() >= 32) throw new Error("more than one memory is not known");
  reader.u32();
}

class Reader {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    const byte = this.#bytes[this.at];
    if (byte === undefined) throw new Error("the module ends too early");
    this.at += 1;
    return byte;
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  /** Passes over a number of any sign and size. */
  leb(): void {
    while (this.byte() >= 0x80);
  }

  take(length: number): Uint8Array {
    const end = this.at + length;
    if (end > this.#bytes.length) throw new Error("the module ends too early");
    const taken = this.#bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }

  rest(): Uint8Array {
    return this.take(this.#bytes.length - this.at);
  }
}

class Writer {
  #room: Uint8Array<ArrayBuffer> = new Uint8Array(4096);
  #length = 0;

  byte(value: number): void {
    this.bytes([value]);
  }

  bytes(values: ArrayLike<number>): void {
    const end = this.#length + values.length;
    if (end > this.#room.length) {
      const larger = new Uint8Array(Math.max(end, this.#room.length * 2));
      larger.set(this.#room.subarray(0, this.#length));
      this.#room = larger;
    }
    this.#room.set(values, this.#length);
    this.#length = end;
  }

  taken(): Uint8Array<ArrayBuffer> {
    return this.#room.slice(0, this.#length);
  }
}

/** LEB128 of 0 to 2³² − 1. */
function u32(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) + 0x80);
  return [...bytes, left];
}

/** LEB128 with a sign, of 0 to 2³¹ − 1. */
function s32(value: number): number[] {
  const bytes = u32(value);
  const last = bytes.at(-1) as number;
  if (last < 0x40) return bytes;
  return [...bytes.slice(0, -1), last + 0x80, 0];
}

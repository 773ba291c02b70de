/**
 * Hostile messages in the FUSE channel: a session over a real volume reads requests that no kernel would send. The
 * channel is in this process: reads and writes of its descriptor are answered here instead of by the system.
 *
 * Each message that has a header and wants a reply gets exactly one, with its length right and an error that the kernel
 * takes; what is too short for one is dropped. The session goes on, and the volume is clean afterwards.
 */
import { Buffer } from "node:buffer";
import type { Prng } from "../../host/base/prng.ts";
import { mountVolume } from "../../host/fs/volume.ts";
import {
  FUSE_BATCH_FORGET,
  FUSE_FORGET,
  FUSE_INIT,
  FUSE_INTERRUPT,
  FUSE_NOTIFY_REPLY,
  FUSE_STATFS,
  MAX_WRITE_BYTES,
} from "../../host/fuse/protocol.ts";
import { FuseSession } from "../../host/fuse/session.ts";
import { libc } from "../../host/reactor/libc.ts";
import type { Reactor, Source } from "../../host/reactor/reactor.ts";
import { setU64, viewOf } from "../support/image_editor.ts";
import { FuzzEngine } from "./engine.ts";
import { baseOf } from "./image_base.ts";
import { checkImage, findings, isWhole, User } from "./images.ts";
import { Fault, type Field, type Target } from "./target.ts";

const CHANNEL = 0x7fff_0000;
const HEADER = 40;
const MESSAGES = 24;
const EAGAIN = 11;
const ENODEV = 19;
const UNANSWERED = [FUSE_FORGET, FUSE_BATCH_FORGET, FUSE_INTERRUPT, FUSE_NOTIFY_REPLY];

/** The other end of the channel. */
class Channel {
  readonly queue: Uint8Array[] = [];
  /** Replies by unique: errors. */
  readonly replies = new Map<number, number[]>();
  ended = false;
  #memory: Uint8Array = new Uint8Array(0);
  #base = 0;

  attach(memory: Uint8Array, base: number): void {
    this.#memory = memory;
    this.#base = base;
  }

  read(address: number, byteLength: number): number {
    const message = this.queue.shift();
    if (message === undefined) return this.ended ? -ENODEV : -EAGAIN;
    if (message.length > byteLength) return -22;
    this.#memory.set(message, address - this.#base);
    return message.length;
  }

  write(address: number, byteLength: number): number {
    this.#reply(address - this.#base, byteLength, byteLength);
    return byteLength;
  }

  writev(vectors: number, count: number): number {
    const view = viewOf(this.#memory);
    const at = vectors - this.#base;
    let total = 0;
    for (let index = 0; index < count; index++) {
      const address = Number(view.getBigUint64(at + index * 16, true)) - this.#base;
      const length = Number(view.getBigUint64(at + index * 16 + 8, true));
      if (!(address >= 0 && address + length <= this.#memory.length))
        throw new Fault("a reply lies outside the memory");
      total += length;
    }
    const first = Number(view.getBigUint64(at, true)) - this.#base;
    this.#reply(first, Number(view.getBigUint64(at + 8, true)), total);
    return total;
  }

  #reply(at: number, headBytes: number, byteLength: number): void {
    const view = viewOf(this.#memory);
    if (headBytes < 16) throw new Fault("a reply without a header");
    const length = view.getUint32(at, true);
    const error = view.getInt32(at + 4, true);
    const unique = Number(view.getBigUint64(at + 8, true));
    if (length !== byteLength) throw new Fault(`a reply of ${byteLength} bytes says ${length}`);
    if (error > 0 || error < -511) throw new Fault(`a reply has the error ${error}`);
    if (error < 0 && length !== 16) throw new Fault(`an error of ${length} bytes`);
    if (unique === 0) throw new Fault("a notification that nobody needs");
    const seen = this.replies.get(unique);
    if (seen === undefined) this.replies.set(unique, [error]);
    else seen.push(error);
  }
}

let channel = new Channel();
let engine: FuzzEngine | undefined;

/** Has the channel's descriptor answered here, and all others by the system as before. */
function setUp(): FuzzEngine {
  if (engine !== undefined) return engine;
  engine = new FuzzEngine(48 << 20);
  const system = libc() as {
    -readonly [Name in "read" | "write" | "writev" | "close"]: (...args: number[]) => number;
  };
  const { read, write, writev, close } = system;
  system.read = (fd, address, length, ...rest) =>
    fd === CHANNEL
      ? channel.read(address as number, length as number)
      : read(fd as number, address as number, length as number, ...rest);
  system.write = (fd, address, length, ...rest) =>
    fd === CHANNEL
      ? channel.write(address as number, length as number)
      : write(fd as number, address as number, length as number, ...rest);
  system.writev = (fd, address, count, ...rest) =>
    fd === CHANNEL
      ? channel.writev(address as number, count as number)
      : writev(fd as number, address as number, count as number, ...rest);
  system.close = (fd, ...rest) => (fd === CHANNEL ? 0 : close(fd as number, ...rest));
  return engine;
}

function reactorOf(owner: FuzzEngine): Reactor & { source: Source | null } {
  const none = (): never => {
    throw new Fault("the session moves bytes through the reactor");
  };
  return {
    kind: "simulated",
    source: null,
    read: none,
    write: none,
    writeVector: none,
    writeDurable: none,
    flush: none,
    discard: none,
    timer: (delayMs, callback) => owner.environment.timer(delayMs, callback),
    post: (callback) => owner.post(callback),
    addSource(source): void {
      this.source = source;
    },
    removeSource(): void {
      this.source = null;
    },
    run: none,
    stop: () => {},
    close: () => {},
  };
}

export const requests: Target = {
  mutate(random: Prng): Field[] {
    const fields: Field[] = [];
    if (random.below(4) === 0) {
      fields.push({
        init: true,
        flags: random.u32(),
        flags2: random.u32(),
        minor: random.below(50),
        readOnly: random.below(4) === 0,
        durability: ["none", "names", "all"][random.below(3)],
      });
    }
    for (let count = MESSAGES; count > 0; count--) fields.push(someMessage(random));
    return fields;
  },

  mutants: (fields) => fields.length,

  run(fields: readonly Field[]): string {
    const owner = setUp();
    const image = baseOf("everything").contents.clone();
    owner.reset();
    channel = new Channel();
    channel.attach(owner.core.bytes, libc().addressOf(owner.core.bytes));
    const volume = owner.run(
      mountVolume(owner.environment, [owner.device(image)], { readOnly: false }),
      "mount",
    );
    const reactor = reactorOf(owner);
    const init = fields.find((field) => field["init"] === true) ?? {};
    const session = new FuseSession({
      reactor,
      core: owner.core,
      fs: volume.fs,
      log: (level, event, details) => owner.environment.log(level, event, details),
      readOnly: init["readOnly"] === true,
      durability: (init["durability"] ?? "none") as "none" | "names" | "all",
    });
    session.takeOver({
      fd: CHANNEL,
      mountpoint: "/fuzz",
      byHelper: false,
      answer: null,
      references: new Map(),
    });
    const settle = (): void => {
      for (let round = 0; round < 20_000; round++) {
        owner.drain();
        if (reactor.source === null || !reactor.source.poll()) {
          owner.drain();
          if (channel.queue.length === 0 || reactor.source === null) return;
        }
      }
      throw new Fault("the session never comes to rest");
    };
    channel.queue.push(initMessage(init));
    settle();
    const wanted = new Map<number, number>();
    for (const [index, field] of fields.entries()) {
      if (field["init"] === true) continue;
      const unique = index + 10;
      const message = encode(field, unique);
      channel.queue.push(message);
      if (message.length >= HEADER) wanted.set(unique, viewOf(message).getUint32(4, true));
      if (field["wait"] !== false) settle();
    }
    settle();
    owner.check();
    for (const [unique, opcode] of wanted) {
      const replies = channel.replies.get(unique)?.length ?? 0;
      const isSilent = UNANSWERED.includes(opcode) || opcode === 0;
      if (replies > 1 || (replies === 0 && !isSilent))
        throw new Fault(`opcode ${opcode} has ${replies} replies`);
    }
    channel.queue.push(encode({ opcode: FUSE_STATFS, nodeid: 1 }, 1_000_000));
    settle();
    if (channel.replies.get(1_000_000)?.[0] !== 0) throw new Fault("the session does not go on");
    channel.ended = true;
    settle();
    owner.check();
    // What the kernel held is given back when it goes; the file system is still there.
    const user = new User(owner, volume.fs);
    user.walk();
    if (user.errors.size > 0) throw new Fault(`afterwards: ${[...user.errors].join(", ")}`);
    owner.run(volume.unmount(), "unmount");
    owner.check();
    const report = checkImage(image);
    if (!isWhole(report)) throw new Fault(`findings afterwards: ${findings(report)}`);
    const errors = [...channel.replies.values()].filter(([error]) => error !== 0).length;
    return `${Math.round((errors / Math.max(1, channel.replies.size)) * 4) * 25} % refused`;
  },
};

function initMessage(init: Field): Uint8Array {
  const body = new Uint8Array(64);
  const view = viewOf(body);
  view.setUint32(0, 7, true);
  view.setUint32(4, Math.max(31, Number(init["minor"] ?? 40)), true);
  view.setUint32(8, 1 << 20, true);
  view.setUint32(12, Number(init["flags"] ?? 0xffff_ffff), true);
  view.setUint32(16, Number(init["flags2"] ?? 0), true);
  return encode({ opcode: FUSE_INIT, nodeid: 0, body: Buffer.from(body).toString("hex") }, 2);
}

function encode(field: Field, unique: number): Uint8Array {
  const body = Buffer.from(String(field["body"] ?? ""), "hex");
  const fill = Math.min(Number(field["fill"] ?? 0), MAX_WRITE_BYTES);
  const bytes = new Uint8Array(HEADER + body.length + fill);
  const view = viewOf(bytes);
  const cut = field["cut"] === undefined ? bytes.length : Number(field["cut"]);
  view.setUint32(0, Number(field["len"] ?? Math.min(cut, bytes.length)), true);
  view.setUint32(4, Number(field["opcode"]), true);
  setU64(view, 8, unique);
  view.setBigUint64(16, BigInt.asUintN(64, BigInt(String(field["nodeid"] ?? 1))), true);
  view.setUint32(24, Number(field["uid"] ?? 0), true);
  view.setUint32(28, Number(field["uid"] ?? 0), true);
  view.setUint32(32, 1, true);
  view.setUint16(36, Number(field["ext"] ?? 0), true);
  bytes.set(body, HEADER);
  bytes.fill(0x61, HEADER + body.length);
  return bytes.slice(0, Math.min(cut, bytes.length, HEADER + 40 + MAX_WRITE_BYTES));
}

// --- messages ---

const NAMES = [
  "dir",
  "nested",
  "inline",
  "empty",
  "linked",
  "symlink",
  "many",
  "file number 3",
  "new",
  "a",
  "..",
  ".",
  "a/b",
  "/",
  "",
  "x".repeat(255),
  "x".repeat(256),
  "x".repeat(4000),
  "user.short",
  "user.long",
  "security.capability",
  "system.posix_acl_access",
  "trusted.x",
  "\u00ff\ufffd",
];
const NUMBERS: readonly bigint[] = [
  0n,
  1n,
  2n,
  3n,
  7n,
  100n,
  4095n,
  4096n,
  65536n,
  1n << 20n,
  (1n << 20n) + 1n,
  1n << 30n,
  (1n << 31n) - 1n,
  1n << 31n,
  (1n << 32n) - 1n,
  1n << 32n,
  1n << 40n,
  1n << 47n,
  (1n << 53n) - 1n,
  1n << 53n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
  (1n << 64n) - 4096n,
];

/** The parts of a body by opcode: u4 and u8 numbers, m a mode, s a size, f flags, n a name, o an inode, d data. */
const BODIES: Readonly<Record<number, string>> = {
  1: "n",
  2: "u8",
  3: "f u4 u8",
  4: "F u4 u8 s8 u8 u8 u8 u8 u4 u4 u4 m u4 u4 u4 u4",
  5: "",
  6: "n n",
  8: "m u4 u4 u4 n",
  9: "m u4 n",
  10: "n",
  11: "n",
  12: "o n n",
  13: "o n",
  14: "u4 u4",
  15: "u8 s8 s4 u4 u8 u4 u4",
  16: "u8 s8 D f u8 u4 u4 d",
  17: "",
  18: "u8 u4 u4 u8",
  20: "u8 f u4",
  21: "x f n x",
  22: "s4 u4 n",
  23: "s4 u4",
  24: "n",
  25: "u8 u4 u4 u8",
  26: "u4 u4 u4 u4",
  27: "u4 u4",
  28: "u8 s8 s4 u4 u8 u4 u4",
  29: "u8 u4 u4 u8",
  30: "u8 f u4",
  31: "u8 u8",
  34: "u4 u4",
  35: "u4 m u4 u4 n",
  36: "u8",
  37: "u8 u4 u4",
  38: "",
  39: "u8 u4 i u8 u4 u4 d",
  40: "u8 u8 u4 u4",
  41: "",
  42: "c u4 o u8 o u8",
  43: "u8 s8 s8 f u4",
  44: "u8 s8 s4 u4 u8 u4 u4",
  45: "o f u4 n n",
  46: "u8 s8 w u4",
  47: "u8 s8 o u8 s8 s8 u8",
  48: "u8 u8",
  49: "u4 u4",
  50: "u8",
  51: "u4 m u4 u4",
  52: "u4 u4 u8 u4 u4",
  53: "u8 s8 o u8 s8 s8 u8",
};

function number(random: Prng): bigint {
  return NUMBERS[random.below(NUMBERS.length)] as bigint;
}

function inode(random: Prng): bigint {
  const choice = random.below(10);
  if (choice < 8) return BigInt(1 + random.below(40));
  return choice === 8 ? BigInt(random.below(200)) : number(random);
}

function bytesOf(value: bigint, size: number): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, BigInt.asUintN(64, value), true);
  return bytes.slice(0, size);
}

function part(random: Prng, kind: string, parts: { dataBytes: number }): Uint8Array {
  switch (kind) {
    case "n": {
      const name = Buffer.from(NAMES[random.below(NAMES.length)] as string);
      return random.below(12) === 0 ? name : Buffer.concat([name, Buffer.alloc(1)]);
    }
    case "o":
      return bytesOf(inode(random), 8);
    case "m":
      return bytesOf(
        BigInt(
          [0o100644, 0o040755, 0o020600, 0o120777, 0o010600, 0o104755, 0, 0o170000, random.u32()][
            random.below(9)
          ] as number,
        ),
        4,
      );
    case "s8":
      return bytesOf(random.below(2) === 0 ? BigInt(random.below(300_000)) : number(random), 8);
    case "s4":
      return bytesOf(random.below(2) === 0 ? BigInt(random.below(70_000)) : number(random), 4);
    case "f":
      return bytesOf(BigInt(random.below(4) === 0 ? random.u32() : random.below(8)), 4);
    case "F":
      return bytesOf(BigInt(random.below(8192)), 4);
    case "w":
      return bytesOf(BigInt(random.below(6)), 4);
    case "c":
      return bytesOf(random.below(2) === 0 ? BigInt(random.below(4)) : number(random), 4);
    case "i":
      return bytesOf(
        [0x80086601n, 0x40086602n, 0x80087601n, 0x801c581fn, 0x401c5820n, 0n, BigInt(random.u32())][
          random.below(7)
        ] as bigint,
        4,
      );
    case "x": {
      const length = [0, 4, 20, 300, 5000][random.below(5)] as number;
      if (parts.dataBytes < 0) {
        parts.dataBytes = length;
        return bytesOf(random.below(5) === 0 ? number(random) : BigInt(length), 4);
      }
      return new Uint8Array(parts.dataBytes);
    }
    case "D":
      parts.dataBytes = [0, 1, 100, 4096, 5000, 12_288][random.below(6)] as number;
      return bytesOf(random.below(6) === 0 ? number(random) : BigInt(parts.dataBytes), 4);
    case "d":
      return new Uint8Array(Math.max(0, parts.dataBytes));
    case "u8":
      return bytesOf(random.below(2) === 0 ? 0n : number(random), 8);
    default:
      return bytesOf(random.below(2) === 0 ? 0n : number(random), 4);
  }
}

function someMessage(random: Prng): Field {
  const opcodes = Object.keys(BODIES).map(Number);
  let opcode = opcodes[random.below(opcodes.length)] as number;
  if (opcode === FUSE_INIT && random.below(8) > 0) opcode = 16;
  const parts = { dataBytes: -1 };
  const pieces = (BODIES[opcode] as string).split(" ").filter((kind) => kind !== "");
  const body = Buffer.concat(pieces.map((kind) => part(random, kind, parts)));
  const field: Record<string, unknown> = { opcode, nodeid: inode(random).toString() };
  if (random.below(12) === 0)
    field["opcode"] = random.below(2) === 0 ? random.below(80) : random.u32();
  let bytes: Uint8Array = body;
  switch (random.below(16)) {
    case 0:
      bytes = body.subarray(0, random.below(body.length + 1));
      break;
    case 1: {
      bytes = new Uint8Array(body);
      for (let count = 1 + random.below(4); count > 0 && bytes.length > 0; count--)
        bytes[random.below(bytes.length)] = random.below(256);
      break;
    }
    case 2:
      field["len"] = Number(number(random) & 0xffff_ffffn);
      break;
    case 3:
      field["ext"] = random.below(3) === 0 ? 65535 : random.below(12);
      break;
    case 4:
      field["fill"] = random.below(4) === 0 ? MAX_WRITE_BYTES : random.below(20_000);
      break;
    case 5:
      field["cut"] = random.below(HEADER + body.length + 1);
      break;
  }
  if (random.below(3) === 0) field["wait"] = false;
  if (random.below(3) === 0) field["uid"] = 1000;
  field["body"] = Buffer.from(bytes).toString("hex");
  return field;
}

import { constants } from "node:fs";
import t from "tap";
import {
  EFBIG,
  EINVAL,
  ENODATA,
  ENOENT,
  ENOSYS,
  ENOTTY,
  EOPNOTSUPP,
  EPERM,
  EROFS,
  ESTALE,
} from "../../host/base/errno.ts";
import { Prng } from "../../host/base/prng.ts";
import { Retry } from "../../host/base/retry.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import { Attributes, VolumeSpace } from "../../host/fs/file_system.ts";
import { Dispatcher } from "../../host/fuse/dispatch.ts";
import { NO_REPLY } from "../../host/fuse/later.ts";
import { negotiate } from "../../host/fuse/negotiate.ts";
import * as abi from "../../host/fuse/protocol.ts";
import { Reply } from "../../host/fuse/reply.ts";
import { Request } from "../../host/fuse/request.ts";
import { Shown } from "../../host/fuse/shown.ts";
import { FuseStats } from "../../host/fuse/stats.ts";
import { TreeFs } from "../support/tree_fs.ts";

const POOL_BLOCKS = 64;
const MESSAGE_BYTES = 65_536;
const REPLY_BYTES = 33 * 4096;

/** A dispatcher over a TreeFs, fed with messages by hand. */
function makeRig(options: { retryShare?: number; seed?: number; shown?: Shown } = {}) {
  const core = loadCore({ memoryPages: 24 });
  const layout = new Layout(core);
  const message = layout.take(MESSAGE_BYTES, 4096);
  const replyAddress = layout.take(REPLY_BYTES, 4096);
  const fs = new TreeFs({
    core,
    poolStart: layout.take(POOL_BLOCKS * 4096, 4096),
    poolBlocks: POOL_BLOCKS,
    post: () => {},
    ...options,
  });
  const request = new Request(core);
  const timeouts = { entrySeconds: 7, attributeSeconds: 5 };
  const reply = new Reply(core, replyAddress, REPLY_BYTES, timeouts, options.shown);
  const stats = new FuseStats();
  const later: string[] = [];
  const dispatcher = new Dispatcher({
    fs,
    core,
    request,
    reply,
    stats,
    shown: options.shown ?? null,
    later: {
      read: (_, offset, byteLength) => later.push(`read ${offset} ${byteLength}`),
      fsync: (_, dataOnly) => later.push(`fsync ${dataOnly}`),
      sync: () => later.push("sync"),
      attributes: () => 0,
      countForgotten: (_, byteCount, offset, byteLength) =>
        later.push(`forgotten ${byteCount} ${offset} ${byteLength}`),
      forgetAttributes: (ino) => later.push(`attributes ${ino}`),
      dropCached: (ino) => later.push(`drop ${ino}`),
      setFlags: (_, flags, project) => later.push(`flags ${flags} ${project}`),
      copyRange: (_, fromOffset, to, toOffset, byteLength) =>
        later.push(`copy ${fromOffset} to ${to} ${toOffset} ${byteLength}`),
      seek: (_, offset, whence) => {
        later.push(`seek ${offset} ${whence}`);
        return NO_REPLY;
      },
    },
  });
  /** Writes a message: u32 numbers, and text as it is. */
  const load = (opcode: number, nodeid: number, ...body: (number | string)[]): boolean => {
    const { view, bytes } = core;
    let at = message + abi.IN_HEADER_BYTES;
    for (const item of body) {
      if (typeof item === "number") {
        view.setUint32(at, item, true);
        at += 4;
      } else {
        bytes.set(Buffer.from(item, "latin1"), at);
        at += item.length;
      }
    }
    bytes.fill(0, message, message + abi.IN_HEADER_BYTES);
    view.setUint32(message + abi.IN_LEN, at - message, true);
    view.setUint32(message + abi.IN_OPCODE, opcode, true);
    view.setUint32(message + abi.IN_UNIQUE, 0x1234, true);
    view.setUint32(message + abi.IN_NODEID, nodeid, true);
    view.setUint32(message + abi.IN_UID, 1000, true);
    view.setUint32(message + abi.IN_GID, 100, true);
    return request.load(message, at - message);
  };
  const run = (opcode: number, nodeid: number, ...body: (number | string)[]): number => {
    load(opcode, nodeid, ...body);
    return dispatcher.run();
  };
  /** A u64 of the reply. */
  const out = (offset: number): bigint => core.view.getBigUint64(reply.payload + offset, true);
  const out32 = (offset: number): number => core.view.getUint32(reply.payload + offset, true);
  return { core, fs, request, reply, dispatcher, stats, later, message, load, run, out, out32 };
}

t.test("protocol: structs have the sizes of linux/fuse.h 7.45", (t) => {
  const sizes: [name: string, bytes: number][] = [
    ["IN_HEADER_BYTES", 40],
    ["OUT_HEADER_BYTES", 16],
    ["ATTR_BYTES", 88],
    ["ATTR_OUT_BYTES", 104],
    ["ENTRY_OUT_BYTES", 128],
    ["STATX_BYTES", 256],
    ["STATX_OUT_BYTES", 288],
    ["SETATTR_IN_BYTES", 88],
    ["GETATTR_IN_BYTES", 16],
    ["READ_IN_BYTES", 40],
    ["WRITE_IN_BYTES", 40],
    ["STATFS_OUT_BYTES", 80],
    ["INIT_IN_BYTES", 64],
    ["INIT_OUT_BYTES", 64],
    ["IOCTL_IN_BYTES", 32],
    ["FALLOCATE_IN_BYTES", 32],
    ["LSEEK_IN_BYTES", 24],
    ["COPY_FILE_RANGE_IN_BYTES", 56],
    ["STATX_IN_BYTES", 24],
    ["DIRENT_BYTES", 24],
    ["DIRENTPLUS_BYTES", 152],
    ["NOTIFY_INVAL_INODE_BYTES", 24],
    ["NOTIFY_INVAL_ENTRY_BYTES", 16],
  ];
  const known = new Map<string, unknown>(Object.entries(abi));
  for (const [name, bytes] of sizes) t.equal(known.get(name), bytes, name);
  // The last field of a struct ends where the struct does.
  t.equal(abi.ATTR_FLAGS + 4, abi.ATTR_BYTES);
  t.equal(abi.ENTRY_ATTR + abi.ATTR_BYTES, abi.ENTRY_OUT_BYTES);
  t.equal(abi.ATTR_OUT_ATTR + abi.ATTR_BYTES, abi.ATTR_OUT_BYTES);
  t.equal(abi.STATX_OUT_STAT + abi.STATX_BYTES, abi.STATX_OUT_BYTES);
  t.equal(abi.SETATTR_GID + 8, abi.SETATTR_IN_BYTES);
  t.equal(abi.OPCODE_NAMES.length, abi.OPCODE_COUNT);
  t.equal(abi.opcodeName(abi.FUSE_READDIRPLUS), "readdirplus");
  t.equal(abi.opcodeName(abi.FUSE_COPY_FILE_RANGE_64), "copy_file_range_64");
  t.equal(abi.opcodeName(4096), "4096");
  t.end();
});

t.test("Request.load() decodes the header, and refuses messages that are cut", (t) => {
  const rig = makeRig();
  t.ok(rig.load(abi.FUSE_LOOKUP, 1, "name\0"));
  const { request, core, message } = rig;
  t.equal(request.opcode, abi.FUSE_LOOKUP);
  t.equal(request.nodeid, 1);
  t.same([request.uid, request.gid], [1000, 100]);
  t.equal(request.takeName(0), 5);
  t.equal(request.nameLength, 4);
  t.equal(request.takeName(5), -1, "nothing after the NUL");
  t.notOk(request.load(message, 44), "shorter than it says");
  t.notOk(request.load(message, 39), "shorter than a header");
  t.equal(request.opcode, 0);
  core.view.setUint16(message + abi.IN_TOTAL_EXTLEN, 1, true);
  t.notOk(request.load(message, 45), "an extension that begins in the header");
  core.view.setUint16(message + abi.IN_TOTAL_EXTLEN, 0, true);
  core.view.setBigUint64(message + abi.IN_NODEID, 2n ** 53n + 2n, true);
  t.ok(request.load(message, 45));
  t.equal(rig.dispatcher.run(), -ESTALE, "no inode has such a number");
  t.end();
});

t.test("Reply encodes attributes, entries, statx and statfs at the kernel's offsets", (t) => {
  const { reply, out, out32, core } = makeRig();
  const attributes = Object.assign(new Attributes(), {
    ino: 2 ** 40 + 3,
    generation: 9,
    mode: 0o100644,
    nlink: 2,
    uid: 0xffff_fffe,
    gid: 5,
    rdev: (259 << 8) | 0x21 | (0x12300 << 12),
    size: 2 ** 52,
    blocks: 8,
    atime: -2,
    atimeNs: 999_999_999,
    mtime: 2 ** 33,
    mtimeNs: 1,
    ctime: 3,
    ctimeNs: 2,
    btime: 4,
    btimeNs: 3,
  });
  t.equal(reply.entry(attributes), 128);
  t.equal(out(0), 2n ** 40n + 3n, "nodeid");
  t.equal(out(8), 9n, "generation");
  t.equal(out(16), 7n, "entry_valid");
  t.equal(out(24), 5n, "attr_valid");
  const attr = abi.ENTRY_ATTR;
  t.equal(out(attr), 2n ** 40n + 3n, "ino");
  t.equal(out(attr + 8), 2n ** 52n, "size");
  t.equal(BigInt.asIntN(64, out(attr + 24)), -2n, "atime before 1970");
  t.equal(out(attr + 32), 2n ** 33n, "mtime after 2106");
  t.equal(out32(attr + 48), 999_999_999);
  t.equal(out32(attr + 60), 0o100644, "mode");
  t.equal(out32(attr + 68), 0xffff_fffe, "uid");
  t.equal(reply.attributes(attributes), 104);
  t.equal(out(0), 5n);
  t.equal(out(16), 2n ** 40n + 3n);
  t.equal(reply.statx(attributes), 288);
  t.equal(out32(32), 0xfff, "mask");
  t.equal(core.view.getUint16(reply.payload + 32 + 28, true), 0o100644);
  t.equal(out(32 + 80), 4n, "btime");
  t.same([out32(32 + 128), out32(32 + 132)], [259, 0x12321], "device number");
  const space = Object.assign(new VolumeSpace(), { blocks: 2 ** 45, blocksFree: 7 });
  t.equal(reply.statfs(space), 80);
  t.equal(out(0), 2n ** 45n);
  t.same([out32(40), out32(44), out32(48)], [4096, 255, 4096]);
  t.equal(reply.negativeEntry(), 128);
  t.same([out(0), out(16), out(24)], [0n, 7n, 0n]);
  t.end();
});

t.test("negotiate() takes of what is wanted what is offered", (t) => {
  const wishes = { writeback: true };
  const all = { major: 7, minor: 45, flags: -1, flags2: -1 };
  t.equal(negotiate({ ...all, major: 8, minor: 0 }, wishes), "again");
  t.equal(negotiate({ ...all, minor: 30 }, wishes), null);
  t.equal(negotiate({ ...all, major: 6 }, wishes), null);
  const full = negotiate(all, wishes);
  if (full === null || full === "again") throw new Error("not answered");
  t.equal(full.minor, 45);
  t.equal(full.maxWriteBytes, 262_144);
  t.equal(full.maxPages, 64);
  for (const flag of [
    abi.FUSE_WRITEBACK_CACHE,
    abi.FUSE_NO_OPEN_SUPPORT,
    abi.FUSE_NO_OPENDIR_SUPPORT,
    abi.FUSE_HANDLE_KILLPRIV_V2,
    abi.FUSE_EXPORT_SUPPORT,
    abi.FUSE_INIT_EXT,
    abi.FUSE_POSIX_ACL,
    abi.FUSE_DONT_MASK,
    abi.FUSE_SETXATTR_EXT,
  ]) {
    t.ok((full.flags & flag) !== 0, `asks for 0x${flag.toString(16)}`);
  }
  for (const flag of [
    abi.FUSE_POSIX_LOCKS,
    abi.FUSE_FLOCK_LOCKS,
    abi.FUSE_ATOMIC_O_TRUNC,
    abi.FUSE_AUTO_INVAL_DATA,
  ]) {
    t.equal(full.flags & flag, 0, `does not ask for 0x${flag.toString(16)}`);
  }
  t.match(negotiate({ ...all, minor: 99 }, wishes), { minor: 45 });
  t.match(negotiate({ ...all, minor: 31, flags: 0 }, wishes), {
    flags: 0,
    minor: 31,
    maxWriteBytes: 131_072,
    noOpen: false,
    noOpendir: false,
    writeback: false,
  });
  t.match(negotiate(all, { writeback: false }), {
    writeback: false,
    flags: full.flags & ~abi.FUSE_WRITEBACK_CACHE,
  });
  t.match(full, { masks: true, extendedSetxattr: true });
  const acl = abi.FUSE_POSIX_ACL | abi.FUSE_SETXATTR_EXT;
  t.match(negotiate({ ...all, flags: ~abi.FUSE_DONT_MASK }, wishes), {
    flags: full.flags & ~acl & ~abi.FUSE_DONT_MASK,
    masks: false,
    extendedSetxattr: false,
  });
  t.end();
});

t.test("dispatch: what the kernel learns by a refusal", (t) => {
  const { run, dispatcher, later } = makeRig();
  t.equal(run(abi.FUSE_FLUSH, 1, 0, 0, 0, 0, 0, 0), -ENOSYS);
  t.equal(run(abi.FUSE_OPEN, 1, 0, 0), -ENOSYS);
  t.equal(run(abi.FUSE_OPENDIR, 1, 0, 0), -ENOSYS);
  t.equal(run(abi.FUSE_CREATE, 1, 0, 0o100644, 0, 0, "a\0"), -ENOSYS, "files are made by MKNOD");
  t.equal(run(abi.FUSE_ACCESS, 1, 0, 0), -ENOSYS);
  const copy = [0, 0, 4096, 0, 9, 0, 0, 0, 8192, 0, 1 << 20, 0];
  t.equal(run(abi.FUSE_COPY_FILE_RANGE, 1, ...copy, 0, 0), NO_REPLY);
  t.equal(later.at(-1), "copy 4096 to 9 8192 1048576");
  t.equal(run(abi.FUSE_COPY_FILE_RANGE, 1, ...copy, 1, 0), -EINVAL, "flags");
  t.equal(run(abi.FUSE_IOCTL, 1, 0, 0, 0, 0x1234, 0, 0, 0, 0), -ENOTTY);
  t.equal(run(200, 1), -ENOSYS);
  t.equal(run(7, 1), -ENOSYS, "a gap in the opcodes");
  t.equal(run(abi.FUSE_INTERRUPT, 1, 1, 0), NO_REPLY);
  dispatcher.noOpen = false;
  dispatcher.noOpendir = false;
  t.equal(run(abi.FUSE_OPEN, 1, 0, 0), 16);
  t.equal(run(abi.FUSE_OPENDIR, 1, 0, 0), 16);
  t.equal(run(abi.FUSE_CREATE, 1, 0, 0o100644, 0, 0, "a\0"), 144);
  t.end();
});

t.test("dispatch: entries are counted once each, and taken back with a reply that failed", (t) => {
  const { run, fs, dispatcher, out, out32 } = makeRig();
  t.equal(run(abi.FUSE_LOOKUP, 1, "none\0"), 128);
  t.equal(out(0), 0n, "a negative entry");
  t.equal(fs.references, 0);
  for (let index = 0; index < 40; index += 1) {
    t.equal(run(abi.FUSE_MKNOD, 1, 0o100644, 0, 0, 0, `file${index}\0`), 128);
  }
  t.equal(fs.references, 40);
  dispatcher.takeBack(128);
  t.equal(fs.references, 39);
  const length = run(abi.FUSE_READDIRPLUS, 1, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 0);
  t.ok(length > 3500 && length <= 4096);
  const given = fs.references - 39;
  t.equal(given, Math.floor((length - 2 * 160) / 160), "not for . and ..");
  t.equal(out32(128 + 16), 1, "the first name is .");
  t.equal(out(0), 0n, "and has no entry");
  dispatcher.takeBack(length);
  t.equal(fs.references, 39);
  t.equal(run(abi.FUSE_LOOKUP, 1, ".\0"), 128);
  t.equal(out(0), 1n);
  t.equal(run(abi.FUSE_LOOKUP, 77, ".\0"), -ESTALE);
  t.equal(run(abi.FUSE_LOOKUP, 77, "..\0"), -ENOENT);
  t.equal(run(abi.FUSE_FORGET, 5, 1, 0), NO_REPLY);
  t.equal(run(abi.FUSE_BATCH_FORGET, 0, 2, 0, 6, 0, 1, 0, 7, 0, 1, 0), NO_REPLY);
  t.equal(fs.references, 37);
  for (let count = 0; count < 4; count += 1) t.equal(run(abi.FUSE_LOOKUP, 1, "file8\0"), 128);
  const ino = Number(out(0));
  t.equal(fs.references, 41);
  t.equal(run(abi.FUSE_FORGET, ino, 3, 0), NO_REPLY);
  t.equal(fs.references, 38);
  t.equal(run(abi.FUSE_BATCH_FORGET, 0, 1, 0, ino, 0, 2, 0), NO_REPLY);
  t.equal(fs.references, 36, "the one that came with the name, too");
  t.equal(fs.accountingErrors, 0);
  t.end();
});

t.test("dispatch: offsets beyond 2^53", (t) => {
  const { run, later } = makeRig();
  const huge = [0xffff_ffff, 0x7fff_ffff];
  t.equal(run(abi.FUSE_READ, 1, 0, 0, ...huge, 4096, 0, 0, 0, 0, 0), 0, "past every end");
  t.equal(run(abi.FUSE_WRITE, 1, 0, 0, ...huge, 4, 0, 0, 0, 0, 0, "data"), -EFBIG);
  const size = [abi.FATTR_SIZE, 0, 0, 0, ...huge, ...new Array<number>(16).fill(0)];
  t.equal(run(abi.FUSE_SETATTR, 1, ...size), -EFBIG);
  t.equal(run(abi.FUSE_FALLOCATE, 1, 0, 0, 0, 0, ...huge, 0, 0), -EFBIG);
  t.equal(run(abi.FUSE_READ, 1, 0, 0, 4096, 1, 8192, 0, 0, 0, 0, 0), NO_REPLY);
  t.same(later, [`read ${2 ** 32 + 4096} 8192`]);
  t.end();
});

t.test("dispatch: what is read into the kernel's cache is dropped by direct writes", (t) => {
  const { run, later, dispatcher } = makeRig();
  const read = (flags: number): number =>
    run(abi.FUSE_READ, 1, 0, 0, 0, 0, 4096, 0, 0, 0, flags, 0);
  const write = (writeFlags: number, flags: number): number =>
    run(abi.FUSE_WRITE, 1, 0, 0, 8, 0, 4, writeFlags, 0, 0, flags, 0, "data");
  const { O_DIRECT } = constants;
  // The root is a directory here: what matters is what comes of a write that the file system takes.
  dispatcher.fs.write = () => 4;
  t.equal(read(O_DIRECT), NO_REPLY);
  t.not(write(0, O_DIRECT), NO_REPLY, "there is nothing to drop");
  t.equal(read(0), NO_REPLY);
  t.not(write(0, 0), NO_REPLY, "the kernel keeps its cache in step");
  t.not(write(abi.FUSE_WRITE_CACHE, O_DIRECT), NO_REPLY, "it comes from there");
  t.equal(write(0, O_DIRECT), NO_REPLY);
  t.equal(later.at(-1), "forgotten 4 8 4");
  t.end();
});

t.test("dispatch: any bytes give an answer, never an exception", (t) => {
  const seed = 4711;
  const prng = new Prng(seed);
  const { core, request, dispatcher, reply, message } = makeRig();
  let malformed = 0;
  for (let round = 0; round < 60_000; round += 1) {
    const opcode = prng.below(abi.OPCODE_COUNT + 2);
    const length = abi.IN_HEADER_BYTES + prng.below(prng.below(4) === 0 ? 300 : 100);
    const bytes = core.bytes.subarray(message, message + length);
    prng.bytes(bytes);
    // Small numbers and short texts, so that the inside of operations is reached, too.
    if (prng.below(3) > 0) for (let at = 40; at < length; at += 1) bytes[at]! &= 3;
    core.view.setUint32(message + abi.IN_LEN, length, true);
    core.view.setUint32(message + abi.IN_OPCODE, opcode, true);
    core.view.setBigUint64(message + abi.IN_NODEID, BigInt(prng.below(8)), true);
    core.view.setUint16(message + abi.IN_TOTAL_EXTLEN, prng.below(8) === 0 ? 9 : 0, true);
    if (!request.load(message, length)) {
      malformed += 1;
      continue;
    }
    let status: number;
    try {
      status = dispatcher.run();
    } catch (error) {
      if (error instanceof Retry) continue;
      t.fail(`opcode ${opcode}, round ${round}, seed ${seed}: ${error}`);
      break;
    }
    if (status === NO_REPLY) continue;
    if (status < -511 || status > reply.capacity) {
      t.fail(`opcode ${opcode} answers ${status}, round ${round}, seed ${seed}`);
    }
  }
  t.ok(malformed > 100, "some were refused at once");
  t.ok(dispatcher.stats.malformed > 100, "some later");
  t.end();
});

t.test("dispatch: BATCH_FORGET that has to wait forgets each inode once", (t) => {
  const { run, fs, load, dispatcher } = makeRig({ retryShare: 0.5, seed: 3 });
  const insist = (attempt: () => number): number => {
    for (;;) {
      try {
        return attempt();
      } catch (error) {
        if (!(error instanceof Retry)) throw error;
      }
    }
  };
  const body: number[] = [30, 0];
  for (let index = 0; index < 30; index += 1) {
    insist(() => run(abi.FUSE_MKNOD, 1, 0o100644, 0, 0, 0, `f${index}\0`));
    body.push(index + 2, 0, 1, 0);
  }
  t.equal(fs.references, 30);
  load(abi.FUSE_BATCH_FORGET, 0, ...body);
  t.equal(
    insist(() => dispatcher.run()),
    NO_REPLY,
  );
  t.equal(fs.references, 0);
  t.equal(fs.accountingErrors, 0);
  t.ok(fs.retries > 20);
  t.end();
});

t.test("dispatch: names without an end are refused", (t) => {
  const { run, stats } = makeRig();
  t.equal(run(abi.FUSE_LOOKUP, 1, "name"), -EINVAL);
  t.equal(run(abi.FUSE_UNLINK, 1, "\0\0"), -EINVAL);
  t.equal(run(abi.FUSE_RENAME2, 1, 1, 0, 0, 0, "a\0bc"), -EINVAL);
  t.equal(run(abi.FUSE_SYMLINK, 1, "a\0target"), -EINVAL);
  t.equal(run(abi.FUSE_SETXATTR, 1, 100, 0, "user.a\0short"), -EINVAL);
  t.equal(stats.malformed, 5);
  t.end();
});

t.test("dispatch: owners and modes as they are shown", (t) => {
  const shown = new Shown({ uid: 7, gid: null, fileMask: 0o22, directoryMask: 0o77 });
  const { run, out, out32, fs } = makeRig({ shown });
  const attr = abi.ENTRY_ATTR;
  t.equal(run(abi.FUSE_MKNOD, 1, 0o100666, 0, 0, 0, "a\0"), 128);
  const ino = Number(out(0));
  t.equal(out32(attr + 60), 0o100644, "mode");
  t.same([out32(attr + 68), out32(attr + 72)], [7, 100], "uid and gid");
  const attributes = new Attributes();
  fs.getAttributes(ino, attributes);
  t.match(attributes, { uid: 1000, gid: 100, mode: 0o100666 }, "stored as its maker's");
  const setattr = (valid: number, values: { mode?: number; uid?: number }): number => {
    const body = new Array<number>(22).fill(0);
    body[abi.SETATTR_VALID / 4] = valid;
    body[abi.SETATTR_MODE / 4] = values.mode ?? 0;
    body[abi.SETATTR_UID / 4] = values.uid ?? 0;
    return run(abi.FUSE_SETATTR, ino, ...body);
  };
  t.equal(setattr(abi.FATTR_UID, { uid: 1000 }), -EPERM, "its real owner is not shown");
  t.equal(setattr(abi.FATTR_UID, { uid: 7 }), 104);
  t.equal(setattr(abi.FATTR_MODE, { mode: 0o100777 }), -EPERM);
  t.equal(setattr(abi.FATTR_MODE, { mode: 0o100600 }), 104);
  t.equal(out32(16 + 60), 0o100600);
  const acl = "system.posix_acl_access\0";
  t.equal(run(abi.FUSE_GETXATTR, ino, 0, 0, acl), -EOPNOTSUPP);
  t.equal(run(abi.FUSE_SETXATTR, ino, 0, 0, acl), -EOPNOTSUPP);
  t.equal(run(abi.FUSE_REMOVEXATTR, ino, acl), -EOPNOTSUPP);
  t.equal(run(abi.FUSE_GETXATTR, ino, 0, 0, "user.a\0"), -ENODATA);
  const all = { major: 7, minor: 45, flags: -1, flags2: 0 };
  const answer = negotiate(all, { writeback: true, acl: false });
  t.match(answer, { masks: false, extendedSetxattr: false });
  t.end();
});

t.test("dispatch: what refuses changes still answers questions", (t) => {
  const { run, dispatcher } = makeRig();
  t.equal(run(abi.FUSE_MKNOD, 1, 0o100644, 0, 0, 0, "a\0"), 128);
  const ino = dispatcher.attributes.ino;
  dispatcher.refusesChanges = true;
  const zeros = (count: number): number[] => new Array<number>(count).fill(0);
  const changes: [opcode: number, body: (number | string)[]][] = [
    [abi.FUSE_SETATTR, zeros(22)],
    [abi.FUSE_SYMLINK, ["n\0to\0"]],
    [abi.FUSE_MKNOD, [...zeros(4), "n\0"]],
    [abi.FUSE_MKDIR, [...zeros(2), "n\0"]],
    [abi.FUSE_UNLINK, ["a\0"]],
    [abi.FUSE_RMDIR, ["a\0"]],
    [abi.FUSE_RENAME, [...zeros(2), "a\0b\0"]],
    [abi.FUSE_RENAME2, [...zeros(4), "a\0b\0"]],
    [abi.FUSE_LINK, [ino, 0, "n\0"]],
    [abi.FUSE_CREATE, [...zeros(4), "n\0"]],
    [abi.FUSE_TMPFILE, zeros(4)],
    [abi.FUSE_WRITE, zeros(10)],
    [abi.FUSE_SETXATTR, [...zeros(4), "user.a\0"]],
    [abi.FUSE_REMOVEXATTR, ["user.a\0"]],
    [abi.FUSE_FALLOCATE, zeros(8)],
    [abi.FUSE_COPY_FILE_RANGE, zeros(14)],
    [abi.FUSE_COPY_FILE_RANGE_64, zeros(14)],
  ];
  for (const [opcode, body] of changes) {
    t.equal(run(opcode, ino, ...body), -EROFS, abi.opcodeName(opcode));
  }
  t.equal(run(abi.FUSE_LOOKUP, 1, "a\0"), 128);
  t.equal(run(abi.FUSE_GETATTR, ino, ...zeros(4)), 104);
  t.equal(run(abi.FUSE_FORGET, ino, 2, 0), NO_REPLY);
  t.end();
});

t.test("dispatch: what must be durable before it is answered", (t) => {
  const { load, dispatcher } = makeRig();
  const zeros = (count: number): number[] => new Array<number>(count).fill(0);
  const durable = (names: boolean, opcode: number, ...body: (number | string)[]): number => {
    load(opcode, 5, ...body);
    return dispatcher.durableIno(names);
  };
  for (const names of [true, false]) {
    t.equal(durable(names, abi.FUSE_MKDIR, 0, 0, "n\0"), 5);
    t.equal(durable(names, abi.FUSE_RENAME2, ...zeros(4), "a\0b\0"), 5);
    t.equal(durable(names, abi.FUSE_LOOKUP, "n\0"), 0);
    t.equal(durable(names, abi.FUSE_FORGET, 1, 0), 0);
    t.equal(durable(names, 4000), 0, "an opcode that nobody knows");
    t.equal(durable(names, abi.FUSE_SETATTR, ...zeros(22)), names ? 0 : 5);
  }
  const write = zeros(10);
  t.equal(durable(false, abi.FUSE_WRITE, ...write), 5, "straight from a program");
  t.equal(dispatcher.durableWriteIno(), 0, "that did not ask for it");
  write[abi.WRITE_OPEN_FLAGS / 4] = 0o10000;
  durable(false, abi.FUSE_WRITE, ...write);
  t.equal(dispatcher.durableWriteIno(), 5, "with O_DSYNC");
  write[abi.WRITE_FLAGS / 4] = abi.FUSE_WRITE_CACHE;
  t.equal(durable(false, abi.FUSE_WRITE, ...write), 0, "the kernel asks for an fsync");
  t.equal(dispatcher.durableWriteIno(), 0, "for O_DSYNC, too");
  const copy = zeros(14);
  copy[4] = 9;
  t.equal(durable(false, abi.FUSE_COPY_FILE_RANGE, ...copy), 9, "the target");
  t.end();
});

/** Each operation of the names half: what it does to attributes and counts, and each error. */
import t from "tap";
import {
  E2BIG,
  EBUSY,
  EEXIST,
  EFBIG,
  EINVAL,
  EISDIR,
  EMLINK,
  ENAMETOOLONG,
  ENODATA,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  EROFS,
  ESTALE,
} from "../../host/base/errno.ts";
import {
  ROOT_INO,
  SET_ATIME,
  SET_ATIME_NOW,
  SET_CTIME,
  SET_GID,
  SET_KILL_PRIVILEGES,
  SET_MODE,
  SET_MTIME,
  SET_MTIME_NOW,
  SET_SIZE,
  SET_UID,
} from "../../host/fs/file_system.ts";
import { ReferenceTable } from "../../host/fs/reference_table.ts";
import { ContractError } from "../support/model_store.ts";
import { Rig } from "../support/namespace_rig.ts";

const LONG = "n".repeat(256);
const NOWHERE = 777;
const INODE = 1;
const NLINK_AT = 4;
const LINKS_MAX = 2 ** 32 - 2;

/** Sets the link count that the tree holds. */
function setLinks(rig: Rig, ino: number, count: number): void {
  for (const item of rig.store.items) {
    if (item.oid !== ino || item.type !== INODE) continue;
    new DataView(item.value.buffer, item.value.byteOffset).setUint32(NLINK_AT, count, true);
  }
}

const bytes = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value);

t.test("a new root is an empty directory", (t) => {
  const rig = new Rig();
  const root = rig.stat(ROOT_INO);
  t.match(root, { ino: 1, mode: 0o040755, nlink: 2, size: 0, blocks: 0, uid: 0, gid: 0 });
  t.equal(rig.parentOf(ROOT_INO), ROOT_INO);
  const found = rig.list(ROOT_INO);
  t.same(found, [
    { name: ".", ino: 1, type: 4, cookie: 1 },
    { name: "..", ino: 1, type: 4, cookie: 2 },
  ]);
  t.equal(rig.store.objectCount, 1);
  t.same(rig.problems(), []);
  t.end();
});

t.test("a name's hash is the one of SPEC §5", (t) => {
  const { core, store } = new Rig();
  core.bytes.set(new TextEncoder().encode("DynamicFS"), store.scratchAddress);
  t.equal(core.exports.name_hash(store.scratchAddress, 9), 0x7966a2535731);
  t.end();
});

t.test("names that cannot be", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f");
  const directory = rig.directory(ROOT_INO, "d");
  const commits = rig.store.commits;
  for (const [name, status] of [
    ["", -ENOENT],
    [LONG, -ENAMETOOLONG],
    ["a/b", -EINVAL],
    ["a\0b", -EINVAL],
  ] as const) {
    const title = JSON.stringify(name.slice(0, 8));
    t.equal(rig.lookup(ROOT_INO, name), status, `lookup ${title}`);
    t.equal(rig.file(ROOT_INO, name), status, `makeNode ${title}`);
    t.equal(rig.directory(ROOT_INO, name), status, `makeDirectory ${title}`);
    t.equal(rig.symlink(ROOT_INO, name, "x"), status, `makeSymlink ${title}`);
    t.equal(rig.link(file, ROOT_INO, name), status, `link ${title}`);
    t.equal(rig.unlink(ROOT_INO, name), status, `unlink ${title}`);
    t.equal(rig.removeDirectory(ROOT_INO, name), status, `removeDirectory ${title}`);
    t.equal(rig.rename(ROOT_INO, name, ROOT_INO, "x"), status, `rename ${title}`);
    t.equal(rig.rename(ROOT_INO, "f", ROOT_INO, name), status, `rename to ${title}`);
  }
  for (const name of [".", ".."]) {
    t.equal(rig.lookup(directory, name), name === "." ? directory : ROOT_INO, `lookup ${name}`);
    t.equal(rig.lookup(file, name), -ENOTDIR, `lookup ${name} in a file`);
    t.equal(rig.file(ROOT_INO, name), -EEXIST, `makeNode ${name}`);
    t.equal(rig.directory(ROOT_INO, name), -EEXIST, `makeDirectory ${name}`);
    t.equal(rig.symlink(ROOT_INO, name, "x"), -EEXIST, `makeSymlink ${name}`);
    t.equal(rig.link(file, ROOT_INO, name), -EEXIST, `link ${name}`);
    t.equal(rig.unlink(directory, name), -EISDIR, `unlink ${name}`);
    t.equal(rig.rename(directory, name, ROOT_INO, "x"), -EBUSY, `rename ${name}`);
    t.equal(rig.rename(ROOT_INO, "f", directory, name), -EBUSY, `rename to ${name}`);
  }
  t.equal(rig.removeDirectory(directory, "."), -EINVAL);
  t.equal(rig.removeDirectory(directory, ".."), -ENOTEMPTY);
  t.equal(rig.store.commits, commits, "nothing was changed");
  for (const name of ["...", "..a", "a".repeat(255), "\xff\x01\x7f", " "]) {
    const ino = rig.file(directory, name);
    t.ok(ino > 0, `${JSON.stringify(name.slice(0, 8))} is a name`);
    t.equal(rig.lookup(directory, name), ino);
  }
  t.same(rig.problems(), []);
  t.end();
});

t.test("objects and parents that are not there", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f");
  for (const [parent, status] of [
    [NOWHERE, -ESTALE],
    [file, -ENOTDIR],
  ] as const) {
    t.equal(rig.lookup(parent, "x"), status, "lookup");
    t.equal(rig.file(parent, "x"), status, "makeNode");
    t.equal(rig.directory(parent, "x"), status, "makeDirectory");
    t.equal(rig.symlink(parent, "x", "x"), status, "makeSymlink");
    t.equal(rig.unnamed(parent), status, "makeUnnamed");
    t.equal(rig.link(file, parent, "x"), status, "link");
    t.equal(rig.unlink(parent, "x"), status, "unlink");
    t.equal(rig.removeDirectory(parent, "x"), status, "removeDirectory");
    t.equal(rig.rename(parent, "x", ROOT_INO, "y"), status, "rename from");
    t.equal(rig.rename(ROOT_INO, "f", parent, "y"), status, "rename to");
    t.equal(rig.list(parent), status, "readDirectory");
    t.equal(rig.parentOf(parent), status, "parentOf");
  }
  t.equal(rig.statStatus(NOWHERE), -ESTALE);
  t.equal(rig.setAttributes(NOWHERE, { set: SET_MODE }), -ESTALE);
  t.equal(rig.readLink(NOWHERE), -ESTALE);
  t.equal(rig.link(NOWHERE, ROOT_INO, "x"), -ESTALE);
  t.equal(rig.getXattr(NOWHERE, "user.a"), -ESTALE);
  t.equal(rig.setXattr(NOWHERE, "user.a", bytes(1)), -ESTALE);
  t.equal(rig.listXattr(NOWHERE), -ESTALE);
  t.equal(rig.removeXattr(NOWHERE, "user.a"), -ESTALE);
  t.equal(rig.lookup(ROOT_INO, "x"), -ENOENT);
  t.equal(rig.unlink(ROOT_INO, "x"), -ENOENT);
  t.equal(rig.removeDirectory(ROOT_INO, "x"), -ENOENT);
  t.equal(rig.rename(ROOT_INO, "x", ROOT_INO, "y"), -ENOENT);
  t.end();
});

t.test("makeNode() makes each type with the caller's owner, and touches the directory", (t) => {
  const rig = new Rig();
  const before = rig.stat(ROOT_INO);
  for (const type of [0o100000, 0o010000, 0o020000, 0o060000, 0o140000]) {
    const name = type.toString(8);
    const ino = rig.file(ROOT_INO, name, type | 0o7640, { uid: 5, gid: 6, rdev: 0x10203 });
    t.match(rig.stat(ino), {
      mode: type | 0o7640,
      nlink: 1,
      uid: 5,
      gid: 6,
      rdev: 0x10203,
      size: 0,
    });
  }
  t.equal(rig.stat(rig.file(ROOT_INO, "plain", 0o644)).mode, 0o100644, "no type is a file");
  t.equal(rig.file(ROOT_INO, "x", 0o040755), -EPERM, "directories have their own call");
  for (const type of [0o120000, 0o170000, 0o150000]) {
    t.equal(rig.file(ROOT_INO, "x", type), -EINVAL, `type ${type.toString(8)}`);
  }
  t.equal(rig.file(ROOT_INO, "plain"), -EEXIST);
  const after = rig.stat(ROOT_INO);
  t.ok(after.mtime > before.mtime && after.ctime === after.mtime, "mtime and ctime");
  t.equal(after.atime, before.atime);
  t.match(after, { size: 6, nlink: 2 });
  const made = rig.stat(rig.file(ROOT_INO, "times"));
  t.same([made.atime, made.mtime, made.ctime], Array(3).fill(made.btime), "all times are one");
  t.same(rig.problems(), []);
  t.end();
});

t.test("directories count their subdirectories; set-group-id is handed on", (t) => {
  const rig = new Rig();
  const top = rig.directory(ROOT_INO, "top", 0o2775, { gid: 50 });
  const below = rig.directory(top, "below", 0o755, { gid: 9 });
  const file = rig.file(top, "file", 0o100644, { gid: 9 });
  const unnamed = rig.unnamed(top);
  t.match(rig.stat(below), { gid: 50, mode: 0o042755, nlink: 2 });
  t.match(rig.stat(file), { gid: 50, mode: 0o100644 });
  t.match(rig.stat(unnamed), { gid: 50 });
  t.match(rig.stat(top), { nlink: 3, size: 2 });
  t.equal(rig.stat(ROOT_INO).nlink, 3);
  t.equal(rig.parentOf(below), top);
  t.equal(rig.parentOf(top), ROOT_INO);
  t.equal(rig.removeDirectory(ROOT_INO, "top"), -ENOTEMPTY);
  t.equal(rig.removeDirectory(top, "file"), -ENOTDIR);
  t.equal(rig.unlink(top, "below"), -EISDIR);
  t.equal(rig.unlink(top, "file"), 0);
  t.equal(rig.removeDirectory(top, "below"), 0);
  t.equal(rig.stat(top).nlink, 2);
  t.equal(rig.statStatus(below), -ESTALE, "an empty directory that nobody holds goes at once");
  t.equal(rig.removeDirectory(ROOT_INO, "top"), 0);
  t.equal(rig.stat(ROOT_INO).nlink, 2);
  t.same(rig.problems(), []);
  t.end();
});

t.test("makeSymlink() and readLink()", (t) => {
  const rig = new Rig();
  const longest = "t".repeat(4095);
  const link = rig.symlink(ROOT_INO, "l", "some/where");
  t.match(rig.stat(link), { mode: 0o120777, size: 10, nlink: 1 });
  t.equal(rig.readLink(link), "some/where");
  t.equal(rig.readLink(link, 4), "some", "a buffer that is too short");
  t.equal(rig.readLink(rig.symlink(ROOT_INO, "longest", longest)), longest);
  t.equal(rig.symlink(ROOT_INO, "x", `${longest}t`), -ENAMETOOLONG);
  t.equal(rig.symlink(ROOT_INO, "x", ""), -ENOENT);
  t.equal(rig.symlink(ROOT_INO, "l", "x"), -EEXIST);
  t.equal(rig.readLink(ROOT_INO), -EINVAL);
  t.equal(rig.unlink(ROOT_INO, "l"), 0);
  t.equal(rig.unlink(ROOT_INO, "longest"), 0);
  t.equal(rig.store.items.length, 1, "targets go with their links");
  t.end();
});

t.test("link() adds a name and sets the time of change", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f");
  const before = rig.stat(file);
  t.equal(rig.link(file, ROOT_INO, "g"), 0);
  t.equal(rig.out.nlink, 2, "the attributes given are the new ones");
  const after = rig.stat(file);
  t.ok(after.ctime > before.ctime && after.mtime === before.mtime);
  t.same(rig.hooks.ordered, [file], "its data is published with the name");
  t.equal(rig.link(file, ROOT_INO, "g"), -EEXIST);
  t.equal(rig.link(rig.directory(ROOT_INO, "d"), ROOT_INO, "x"), -EPERM);
  t.equal(rig.unlink(ROOT_INO, "f"), 0);
  t.equal(rig.stat(file).nlink, 1);
  t.ok(rig.stat(file).ctime > after.ctime, "unlink sets it too");
  t.same(rig.problems(), []);
  setLinks(rig, file, LINKS_MAX);
  t.equal(rig.link(file, ROOT_INO, "x"), -EMLINK);
  setLinks(rig, ROOT_INO, LINKS_MAX);
  t.equal(rig.directory(ROOT_INO, "x"), -EMLINK);
  t.ok(rig.file(ROOT_INO, "x") > 0, "files need no link of the directory");
  t.end();
});

t.test("makeUnnamed() makes a file that link() can name once, and only while it is held", (t) => {
  const rig = new Rig();
  const file = rig.unnamed(ROOT_INO, 0o640);
  rig.remember(file);
  t.match(rig.stat(file), { mode: 0o100640, nlink: 0 });
  t.same(rig.orphans(), [file]);
  t.equal(rig.stat(ROOT_INO).size, 0);
  t.equal(rig.link(file, ROOT_INO, "f"), 0);
  t.same(rig.orphans(), []);
  t.equal(rig.stat(file).nlink, 1);
  t.equal(rig.unlink(ROOT_INO, "f"), 0);
  t.equal(rig.link(file, ROOT_INO, "again"), -ENOENT, "now it is an unlinked file");
  rig.forget(file);
  rig.reap();
  t.equal(rig.statStatus(file), -ESTALE);
  const other = rig.unnamed(ROOT_INO);
  rig.remember(other, 2);
  rig.forget(other);
  t.same(rig.hooks.reaped, []);
  rig.forget(other);
  t.same(rig.hooks.reaped, [other], "without a holder it goes");
  t.equal(rig.link(other, ROOT_INO, "late"), -ENOENT);
  rig.reap();
  t.same(rig.problems(), []);
  t.equal(rig.store.items.length, 1);
  t.end();
});

t.test("an unlinked file stays while it is held, over a crash until it is reaped", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f");
  rig.remember(file, 3);
  rig.forget(file, 1);
  t.equal(rig.unlink(ROOT_INO, "f"), 0);
  t.match(rig.stat(file), { nlink: 0 });
  t.equal(rig.link(file, ROOT_INO, "back"), -ENOENT);
  t.equal(rig.setAttributes(file, { set: SET_MODE, mode: 0o600 }), 0, "it can be changed");
  t.equal(rig.setXattr(file, "user.a", bytes(5000)), 0);
  t.same(rig.problems(), []);
  rig.forget(file, 1);
  t.same(rig.hooks.reaped, []);
  rig.remount();
  t.same(rig.orphans(), [file]);
  rig.hooks.reaped.push(file);
  rig.reap();
  t.equal(rig.statStatus(file), -ESTALE);
  t.same(rig.orphans(), []);
  t.equal(rig.store.items.length, 1, "nothing of it is left");
  t.equal(rig.store.objectCount, 1);
  t.end();
});

t.test("a file whose data is too much for one transaction is listed and reaped", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f");
  rig.hooks.heavy.add(file);
  t.equal(rig.unlink(ROOT_INO, "f"), 0);
  t.same(rig.hooks.reaped, [file]);
  t.same(rig.orphans(), [file]);
  t.same(rig.problems(), []);
  rig.reap();
  const light = rig.file(ROOT_INO, "g");
  t.equal(rig.unlink(ROOT_INO, "g"), 0);
  t.same(rig.hooks.released, [light], "others go at once");
  t.same(rig.hooks.reaped, []);
  t.equal(rig.store.items.length, 1);
  t.end();
});

t.test("reapStep() removes a bounded number of items in one transaction", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f");
  for (let i = 0; i < 5; i++) t.equal(rig.setXattr(file, `user.${i}`, bytes(65_536)), 0);
  t.equal(rig.unlink(ROOT_INO, "f"), 0);
  t.equal(rig.store.items.length, 2 + 1 + 5 + 5 * 32);
  t.ok(rig.reap() >= 3, "165 items take several");
  t.equal(rig.store.items.length, 1);
  const held = rig.file(ROOT_INO, "held");
  rig.hooks.heavy.add(held);
  t.equal(rig.unlink(ROOT_INO, "held"), 0);
  rig.remember(held);
  rig.reap();
  t.equal(rig.stat(held).nlink, 0, "one that is held again is left alone");
  rig.forget(held);
  rig.reap();
  t.equal(rig.statStatus(held), -ESTALE);
  rig.hooks.reaped.push(NOWHERE);
  t.equal(rig.reap(), 1, "one that is gone already");
  t.end();
});

t.test("a removed directory that is held takes no new names", (t) => {
  const rig = new Rig();
  const directory = rig.directory(ROOT_INO, "d");
  rig.remember(directory);
  const file = rig.file(ROOT_INO, "f");
  t.equal(rig.removeDirectory(ROOT_INO, "d"), 0);
  t.equal(rig.stat(directory).nlink, 0);
  t.equal(rig.file(directory, "x"), -ENOENT);
  t.equal(rig.directory(directory, "x"), -ENOENT);
  t.equal(rig.unnamed(directory), -ENOENT);
  t.equal(rig.link(file, directory, "x"), -ENOENT);
  t.equal(rig.rename(ROOT_INO, "f", directory, "x"), -ENOENT);
  t.equal(rig.lookup(directory, "x"), -ENOENT);
  t.same(rig.problems(), []);
  t.end();
});

t.test("rename() moves, keeps counts and parents, and sets times", (t) => {
  const rig = new Rig();
  const a = rig.directory(ROOT_INO, "a");
  const b = rig.directory(ROOT_INO, "b");
  const moved = rig.directory(a, "m");
  const before = [rig.stat(a), rig.stat(b), rig.stat(moved)];
  t.equal(rig.rename(a, "m", b, "n"), 0);
  t.equal(rig.lookup(a, "m"), -ENOENT);
  t.equal(rig.lookup(b, "n"), moved);
  t.equal(rig.parentOf(moved), b);
  const after = [rig.stat(a), rig.stat(b), rig.stat(moved)];
  t.same([after[0]?.nlink, after[1]?.nlink], [2, 3]);
  for (const i of [0, 1])
    t.ok((after[i]?.mtime ?? 0) > (before[i]?.mtime ?? 0), "both directories");
  t.ok((after[2]?.ctime ?? 0) > (before[2]?.ctime ?? 0), "what moved");
  t.equal(after[2]?.mtime, before[2]?.mtime);
  t.equal(rig.rename(b, "n", b, "n"), 0, "onto itself");
  t.equal(rig.rename(b, "n", b, "o"), 0, "within a directory");
  t.equal(rig.parentOf(moved), b);
  t.same(rig.problems(), []);
  t.end();
});

t.test("rename() refuses loops, and what does not fit together", (t) => {
  const rig = new Rig();
  const a = rig.directory(ROOT_INO, "a");
  const b = rig.directory(a, "b");
  const c = rig.directory(b, "c");
  const file = rig.file(ROOT_INO, "f");
  rig.directory(ROOT_INO, "empty");
  t.equal(rig.rename(ROOT_INO, "a", a, "x"), -EINVAL, "into itself");
  t.equal(rig.rename(ROOT_INO, "a", c, "x"), -EINVAL, "into what it contains");
  t.equal(rig.rename(ROOT_INO, "a", a, "b"), -EINVAL);
  t.equal(rig.rename(b, "c", ROOT_INO, "a"), -ENOTEMPTY, "over what contains it");
  t.equal(rig.rename(ROOT_INO, "f", ROOT_INO, "a"), -EISDIR);
  t.equal(rig.rename(ROOT_INO, "a", ROOT_INO, "f"), -ENOTDIR);
  t.equal(rig.rename(ROOT_INO, "empty", ROOT_INO, "a"), -ENOTEMPTY);
  t.equal(rig.rename(ROOT_INO, "f", ROOT_INO, "g", 8), -EINVAL, "an unknown flag");
  t.equal(rig.link(file, a, "same"), 0);
  t.equal(rig.rename(ROOT_INO, "f", a, "same"), 0, "two names of one inode");
  t.equal(rig.lookup(ROOT_INO, "f"), file, "both stay");
  t.equal(rig.rename(ROOT_INO, "empty", b, "c"), 0, "over an empty directory");
  t.equal(rig.statStatus(c), -ESTALE);
  t.same([rig.stat(ROOT_INO).nlink, rig.stat(b).nlink], [3, 3]);
  setLinks(rig, ROOT_INO, LINKS_MAX);
  t.equal(rig.rename(b, "c", ROOT_INO, "x"), -EMLINK);
  setLinks(rig, ROOT_INO, 3);
  t.same(rig.problems(), []);
  t.end();
});

t.test("rename() over a file frees it, or lists it while it is held", (t) => {
  const rig = new Rig();
  const a = rig.file(ROOT_INO, "a");
  const b = rig.file(ROOT_INO, "b");
  t.equal(rig.rename(ROOT_INO, "a", ROOT_INO, "b"), 0);
  t.equal(rig.lookup(ROOT_INO, "b"), a);
  t.equal(rig.statStatus(b), -ESTALE);
  t.ok(rig.hooks.ordered.includes(a), "the data of what replaces it is ordered first");
  const c = rig.file(ROOT_INO, "c");
  rig.remember(a);
  t.equal(rig.rename(ROOT_INO, "c", ROOT_INO, "b"), 0);
  t.equal(rig.stat(a).nlink, 0);
  t.same(rig.orphans(), [a]);
  t.equal(rig.link(c, ROOT_INO, "d"), 0);
  t.equal(rig.rename(ROOT_INO, "d", ROOT_INO, "e"), 0);
  t.equal(rig.stat(c).nlink, 2);
  rig.forget(a);
  rig.reap();
  t.same(rig.problems(), []);
  t.end();
});

t.test("rename() with RENAME_NOREPLACE, EXCHANGE and WHITEOUT", (t) => {
  const rig = new Rig();
  const a = rig.directory(ROOT_INO, "a");
  const b = rig.directory(ROOT_INO, "b");
  const directory = rig.directory(a, "x");
  const file = rig.file(b, "y");
  t.equal(rig.rename(a, "x", b, "y", 1), -EEXIST);
  t.equal(rig.rename(a, "x", b, "z", 1), 0);
  t.equal(rig.rename(b, "z", a, "x", 1), 0);
  for (const flags of [3, 6, 7]) t.equal(rig.rename(a, "x", b, "y", flags), -EINVAL);
  t.equal(rig.rename(a, "x", b, "none", 2), -ENOENT);
  t.equal(rig.rename(a, "x", b, "y", 2), 0, "different types are exchanged");
  t.same([rig.lookup(a, "x"), rig.lookup(b, "y")], [file, directory]);
  t.same([rig.stat(a).nlink, rig.stat(b).nlink, rig.parentOf(directory)], [2, 3, b]);
  t.equal(rig.rename(ROOT_INO, "b", b, "y", 2), -EINVAL, "with what it contains");
  t.equal(rig.rename(b, "y", ROOT_INO, "b", 2), -EINVAL, "with what contains it");
  t.equal(rig.rename(a, "x", b, "w", 4), 0);
  const whiteout = rig.lookup(a, "x");
  t.match(rig.stat(whiteout), { mode: 0o020000, rdev: 0, nlink: 1 });
  t.equal(rig.stat(a).size, 1);
  t.equal(rig.rename(b, "w", b, "v", 5), 0, "WHITEOUT and NOREPLACE");
  t.equal(rig.lookup(b, "v"), file);
  t.same(rig.problems(), []);
  t.end();
});

t.test("setAttributes() changes what is named, and the time of change", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f", 0o106755);
  const before = rig.stat(file);
  t.equal(rig.setAttributes(file, { set: SET_MODE, mode: 0o170640 }), 0);
  t.equal(rig.stat(file).mode, 0o100640, "the type stays");
  t.ok(rig.stat(file).ctime > before.ctime);
  t.equal(rig.stat(file).mtime, before.mtime);
  const times = { atime: -5, atimeNs: 1, mtime: 2 ** 40, mtimeNs: 999_999_999 };
  t.equal(rig.setAttributes(file, { set: SET_ATIME | SET_MTIME, ...times }), 0);
  t.match(rig.stat(file), times, "before 1970 and after 2106, to the nanosecond");
  t.equal(rig.setAttributes(file, { set: SET_CTIME, ctime: 9, ctimeNs: 8 }), 0);
  t.match(rig.stat(file), { ctime: 9, ctimeNs: 8 });
  t.equal(rig.setAttributes(file, { set: SET_ATIME_NOW | SET_MTIME_NOW }), 0);
  const now = rig.stat(file);
  t.same([now.atime, now.mtime, now.ctime], Array(3).fill(rig.now));
  t.equal(now.btime, before.btime);
  t.match(rig.out, { ino: file, mtime: now.mtime, mode: 0o100640 }, "gives the new attributes");
  t.end();
});

t.test("setAttributes() of the size asks the data half", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f");
  const before = rig.stat(file);
  t.equal(rig.setAttributes(file, { set: SET_SIZE, size: 5000 }), 0);
  t.same(rig.hooks.truncated, [{ ino: file, size: 0, newSize: 5000 }]);
  const after = rig.stat(file);
  t.equal(after.size, 5000);
  t.ok(after.mtime > before.mtime && after.ctime === after.mtime);
  rig.hooks.truncateStatus = -ENOSPC;
  t.equal(rig.setAttributes(file, { set: SET_SIZE, size: 1 }), -ENOSPC);
  t.equal(rig.stat(file).size, 5000);
  rig.hooks.truncateStatus = 0;
  rig.hooks.overlays.set(file, { size: 9000, mtime: 4 });
  t.match(rig.stat(file), { size: 9000, mtime: 4 }, "buffered values are newer");
  t.equal(rig.setAttributes(file, { set: SET_MODE, mode: 0o600 }), 0);
  t.match(rig.out, { size: 9000, mtime: 4 });
  rig.hooks.overlays.clear();
  t.match(rig.stat(file), { size: 5000, mtime: 4 }, "times are kept, the size is the data half's");
  t.equal(rig.setAttributes(ROOT_INO, { set: SET_SIZE, size: 0 }), -EISDIR);
  const fifo = rig.file(ROOT_INO, "p", 0o010600);
  t.equal(rig.setAttributes(fifo, { set: SET_SIZE, size: 0 }), -EINVAL);
  t.equal(rig.setAttributes(file, { set: SET_SIZE, size: -1 }), -EINVAL);
  t.equal(rig.setAttributes(file, { set: SET_SIZE, size: 2 ** 60 }), -EFBIG);
  t.end();
});

t.test("privileges go with the owner, with a write, and with the size", (t) => {
  const rig = new Rig();
  const capability = (ino: number): unknown => rig.getXattr(ino, "security.capability");
  const file = (name: string, mode: number): number => {
    const ino = rig.file(ROOT_INO, name, 0o100000 | mode);
    t.equal(rig.setXattr(ino, "security.capability", bytes(24)), 0);
    t.equal(rig.setXattr(ino, "user.kept", bytes(24)), 0);
    return ino;
  };
  for (const [name, set] of [
    ["uid", SET_UID],
    ["gid", SET_GID],
    ["write", SET_KILL_PRIVILEGES],
    ["truncate", SET_SIZE | SET_KILL_PRIVILEGES],
  ] as const) {
    const ino = file(name, 0o6755);
    t.equal(rig.setAttributes(ino, { set, uid: 3, gid: 4, size: 0 }), 0);
    t.equal(rig.stat(ino).mode, 0o100755, name);
    t.equal(capability(ino), -ENODATA, name);
    t.same(rig.listXattr(ino), ["user.kept"], name);
  }
  const written = file("written", 0o6745);
  t.equal(
    rig.call(() => rig.names.attributes.killPrivileges(written)),
    0,
  );
  t.equal(rig.stat(written).mode, 0o102745, "set-group-id without group execution means locking");
  t.equal(capability(written), -ENODATA);
  const plain = rig.file(ROOT_INO, "plain");
  const commits = rig.store.commits;
  t.equal(
    rig.call(() => rig.names.attributes.killPrivileges(plain)),
    0,
  );
  t.equal(rig.store.commits, commits, "nothing to drop is no change");
  t.equal(
    rig.call(() => rig.names.attributes.killPrivileges(NOWHERE)),
    -ESTALE,
  );
  const truncated = file("by root", 0o6755);
  t.equal(rig.setAttributes(truncated, { set: SET_SIZE, size: 1 }), 0);
  t.equal(rig.stat(truncated).mode, 0o106755, "who may keep them keeps set-user-id");
  t.equal(capability(truncated), -ENODATA, "capabilities go whoever it is");
  const both = file("both", 0o755);
  t.equal(rig.setAttributes(both, { set: SET_UID | SET_MODE, uid: 1, mode: 0o4755 }), 0);
  t.equal(rig.stat(both).mode, 0o104755, "a mode that is given counts");
  const directory = rig.directory(ROOT_INO, "d", 0o6755);
  t.equal(rig.setAttributes(directory, { set: SET_UID | SET_GID, uid: 1, gid: 1 }), 0);
  t.equal(rig.stat(directory).mode, 0o046755, "of a directory they mean something else");
  t.same(rig.problems(), []);
  t.end();
});

t.test("extended attributes: values of every length, flags, names", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f");
  t.same(rig.listXattr(file), []);
  const before = rig.stat(file);
  for (const length of [0, 1, 2048, 2049, 4096, 65_536, 5, 65_535, 2048]) {
    const value = bytes(length, length % 251);
    t.equal(rig.setXattr(file, "user.a", value), 0, `${length} bytes`);
    t.same(rig.getXattr(file, "user.a"), value);
    t.equal(rig.getXattr(file, "user.a", 0), length, "its length");
    if (length > 1) t.equal(rig.getXattr(file, "user.a", length - 1), -ERANGE);
    t.same(rig.problems(), [], "parts of longer values are gone");
  }
  t.ok(rig.stat(file).ctime > before.ctime && rig.stat(file).mtime === before.mtime);
  t.equal(rig.setXattr(file, "user.a", bytes(65_537)), -E2BIG);
  t.equal(rig.setXattr(file, "user.a", bytes(1), 1), -EEXIST, "XATTR_CREATE");
  t.equal(rig.setXattr(file, "user.b", bytes(1), 2), -ENODATA, "XATTR_REPLACE");
  t.equal(rig.setXattr(file, "user.b", bytes(1), 4), -EINVAL);
  t.equal(rig.setXattr(file, "user.b", bytes(1), 1), 0);
  t.equal(rig.setXattr(file, "user.b", bytes(2), 2), 0);
  for (const name of ["trusted.x", "security.x", `user.${"n".repeat(250)}`]) {
    t.equal(rig.setXattr(file, name, bytes(1)), 0, name.slice(0, 12));
  }
  for (const name of ["user.", "other.x", "user", "system.other", "USER.x"]) {
    t.equal(rig.setXattr(file, name, bytes(1)), -EOPNOTSUPP, name);
    t.equal(rig.getXattr(file, name), -EOPNOTSUPP, name);
    t.equal(rig.removeXattr(file, name), -EOPNOTSUPP, name);
  }
  for (const name of ["system.posix_acl_access", "system.posix_acl_default"]) {
    t.equal(rig.setXattr(file, name, bytes(1)), -EINVAL, `${name}: no ACL`);
    t.equal(rig.getXattr(file, name), -ENODATA, name);
    t.equal(rig.removeXattr(file, name), -ENODATA, name);
  }
  t.equal(rig.setXattr(file, "", bytes(1)), -ERANGE);
  t.equal(rig.setXattr(file, `user.${"n".repeat(251)}`, bytes(1)), -ERANGE);
  const names = rig.listXattr(file) as string[];
  t.equal(names.length, 5);
  const total = names.reduce((sum, name) => sum + name.length + 1, 0);
  t.equal(rig.listXattr(file, 0), total);
  t.equal(rig.listXattr(file, total - 1), -ERANGE);
  t.equal((rig.listXattr(file, total) as string[]).length, 5);
  t.equal(rig.getXattr(file, "user.none"), -ENODATA);
  t.equal(rig.removeXattr(file, "user.none"), -ENODATA);
  for (const name of names) t.equal(rig.removeXattr(file, name), 0);
  t.same(rig.listXattr(file), []);
  t.equal(rig.getXattr(file, "user.a"), -ENODATA);
  t.equal(rig.setXattr(ROOT_INO, "user.root", bytes(3)), 0, "directories have them too");
  t.same(rig.problems(), []);
  t.end();
});

t.test("readDirectory() goes on from a cookie; cookies stay right when others go", (t) => {
  for (const hashes of [undefined, 1]) {
    const rig = new Rig(hashes === undefined ? {} : { hashes });
    const names = [..."abcdefgh"];
    for (const name of names) rig.file(ROOT_INO, name);
    const all = rig.list(ROOT_INO);
    if (typeof all === "number") return t.fail(`list ${all}`);
    t.same(
      all
        .slice(2)
        .map(({ name }) => name)
        .sort(),
      names,
    );
    for (const [index, { cookie }] of all.entries()) {
      t.same(rig.listSome(ROOT_INO, cookie), all.slice(index + 1), `after entry ${index}`);
    }
    const [third, fourth] = [all[2], all[3]];
    t.equal(rig.unlink(ROOT_INO, third?.name ?? ""), 0);
    t.same(rig.listSome(ROOT_INO, third?.cookie ?? 0), all.slice(3), "after one that is gone");
    t.equal(rig.unlink(ROOT_INO, fourth?.name ?? ""), 0);
    t.same(rig.listSome(ROOT_INO, third?.cookie ?? 0), all.slice(4), "before one that is gone");
    t.equal(rig.listSome(ROOT_INO, -1), -EINVAL);
    t.equal(rig.listSome(ROOT_INO, 1.5), -EINVAL);
    t.same(rig.listSome(ROOT_INO, Number.MAX_SAFE_INTEGER), []);
    t.same(rig.problems(), []);
  }
  t.end();
});

t.test("names with one hash: 16 in a directory, no more", (t) => {
  const rig = new Rig({ hashes: 1 });
  for (let i = 0; i < 16; i++) t.ok(rig.file(ROOT_INO, `f${i}`) > 0);
  const file = rig.lookup(ROOT_INO, "f3");
  const commits = rig.store.commits;
  t.equal(rig.file(ROOT_INO, "x"), -ENOSPC);
  t.equal(rig.link(file, ROOT_INO, "x"), -ENOSPC);
  t.equal(rig.store.commits, commits);
  t.equal(rig.rename(ROOT_INO, "f3", ROOT_INO, "f4"), 0, "replacing needs no room");
  t.equal(rig.lookup(ROOT_INO, "f4"), file);
  t.ok(rig.file(ROOT_INO, "x") > 0, "one went: there is room for one");
  const long = new Rig({ hashes: 1 });
  let made = 0;
  while (long.file(ROOT_INO, String.fromCharCode(97 + made).repeat(255)) > 0) made++;
  t.equal(made, 15, "of the longest names 15 fit into an item");
  t.same(rig.problems(), []);
  t.same(long.problems(), []);
  t.end();
});

t.test("a read-only volume changes nothing", (t) => {
  const rig = new Rig({ readOnly: true });
  rig.store.beginStatus = -EROFS;
  const commits = rig.store.commits;
  t.equal(rig.file(ROOT_INO, "x"), -EROFS);
  t.equal(rig.directory(ROOT_INO, "x"), -EROFS);
  t.equal(rig.symlink(ROOT_INO, "x", "y"), -EROFS);
  t.equal(rig.unnamed(ROOT_INO), -EROFS);
  t.equal(rig.link(ROOT_INO, ROOT_INO, "x"), -EROFS);
  t.equal(rig.unlink(ROOT_INO, "x"), -EROFS);
  t.equal(rig.removeDirectory(ROOT_INO, "x"), -EROFS);
  t.equal(rig.rename(ROOT_INO, "x", ROOT_INO, "y"), -EROFS);
  t.equal(rig.setAttributes(ROOT_INO, { set: SET_MODE, mode: 0 }), -EROFS);
  t.equal(rig.setXattr(ROOT_INO, "user.a", bytes(1)), -EROFS);
  t.equal(rig.removeXattr(ROOT_INO, "user.a"), -EROFS);
  t.equal(rig.stat(ROOT_INO).mode, 0o040755);
  t.same(rig.listXattr(ROOT_INO), []);
  t.equal(rig.store.commits, commits);
  t.end();
});

t.test("a full store refuses to grow, before anything has changed", (t) => {
  const rig = new Rig();
  const file = rig.file(ROOT_INO, "f");
  const items = rig.store.items.length;
  const next = rig.store.nextObjectId;
  rig.store.beginStatus = -ENOSPC;
  t.equal(rig.file(ROOT_INO, "x"), -ENOSPC);
  t.equal(rig.link(file, ROOT_INO, "x"), -ENOSPC);
  t.equal(rig.setXattr(file, "user.a", bytes(1)), -ENOSPC);
  t.same([rig.store.items.length, rig.store.nextObjectId], [items, next]);
  t.end();
});

/** tap compares error classes by their fields alone. */
function breaks(
  t: { ok(value: unknown, name: string): unknown },
  act: () => void,
  name: string,
): void {
  let thrown: unknown;
  try {
    act();
  } catch (error) {
    thrown = error;
  }
  t.ok(thrown instanceof ContractError, name);
}

t.test("the store double holds its users to the contract", (t) => {
  const { store, core } = new Rig();
  const { scratchAddress } = store;
  breaks(t, () => store.put(9, 1, 0, scratchAddress, 1), "no transaction");
  store.begin(0);
  breaks(t, () => store.put(9, 1, 0, scratchAddress, 1), "not looked at");
  t.equal(store.get(9, 1, 0), 0);
  const at = store.get(ROOT_INO, INODE, 0);
  breaks(t, () => store.put(9, 1, 0, at, 8), "a value inside a page");
  breaks(t, () => store.remove(9, 1, 0), "what does not exist");
  store.put(9, 1, 0, scratchAddress, 8);
  t.equal(core.view.getUint32(at, true), 0xdbdbdbdb, "pages move when something changes");
  breaks(t, () => store.get(9, 1, 1), "a first look after a change");
  breaks(t, () => store.begin(0), "left open");
  store.commit();
  t.end();
});

t.test("a million references fit into 32 MiB", (t) => {
  const table = new ReferenceTable();
  const before = process.memoryUsage().arrayBuffers;
  for (let ino = 1; ino <= 1_000_000; ino++) table.add(ino, 1);
  t.equal(table.size, 1_000_000);
  t.ok(process.memoryUsage().arrayBuffers - before < 64 << 20, "while it grows, both tables");
  t.equal(table.subtract(500_000, 1), 0);
  t.equal(table.get(500_000), 0);
  t.equal(table.get(500_001), 1);
  t.end();
});

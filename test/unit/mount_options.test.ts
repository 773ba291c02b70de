/** Mount options: what is honoured, ignored and refused, at a mount and at a remount. */
import t from "tap";
import type { FindAccount } from "../../host/cli/accounts.ts";
import { findAccount } from "../../host/cli/accounts.ts";
import { CliError } from "../../host/cli/cli_error.ts";
import {
  formatMountOptions,
  isRemount,
  type MountChoices,
  parseMountOptions,
  parseRemountOptions,
} from "../../host/cli/mount_options.ts";

const find: FindAccount = (database, text) => {
  if (text === "ada") return database === "passwd" ? 1815 : 1816;
  return findAccount(database, text);
};

function parse(...lists: string[]): MountChoices {
  return parseMountOptions(lists, { findAccount: find });
}

function refusal(act: () => unknown): CliError {
  try {
    act();
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

t.test("switches, a later one wins", async (t) => {
  const choices = parse("ro,nosuid,nodev", "noexec,noatime,allow_other,auto_unmount,sync,dirsync");
  t.match(choices, { readOnly: true, noSuid: true, noDev: true, noExec: true, noAtime: true });
  t.match(choices, { allowOther: true, autoUnmount: true, sync: true, dirSync: true });
  t.equal(parse("ro,rw").readOnly, false);
  t.equal(parse("sync", "async").sync, false);
  t.equal(parse("noexec,exec").noExec, false);
});

t.test("owners and masks", async (t) => {
  t.match(parse("uid=5,gid=7"), { uid: 5, gid: 7, fileMask: 0, directoryMask: 0 });
  t.match(parse("uid=ada,gid=ada"), { uid: 1815, gid: 1816 });
  t.equal(parse("uid=root").uid, 0, "by /etc/passwd");
  t.equal(parse("uid=4294967294").uid, 4_294_967_294);
  t.match(parse("umask=027"), { fileMask: 0o27, directoryMask: 0o27 });
  t.match(parse("umask=0"), { fileMask: 0, directoryMask: 0 });
  t.match(parse("umask=22,fmask=133"), { fileMask: 0o133, directoryMask: 0o22 });
  t.match(parse("dmask=0007"), { fileMask: 0, directoryMask: 7 });
  t.match(parse("fmask=133,umask=22"), { fileMask: 0o22 }, "a later one wins");
  const bad: [option: string, says: RegExp][] = [
    ["umask=8", /octal/],
    ["umask=1777", /octal/],
    ["umask=-1", /octal/],
    ["fmask=0x10", /octal/],
    ["dmask=", /needs a value/],
    ["umask", /needs a value/],
    ["uid=nobody-of-that-name", /no such user/],
    ["gid=nobody-of-that-name", /no such group/],
    ["uid=4294967295", /up to 4294967294/],
    ["uid=-1", /no such user/],
    ["uid=1.5", /no such user/],
  ];
  for (const [option, says] of bad) {
    const error = refusal(() => parse(option));
    t.equal(error.exitCode, 2, option);
    t.match(error.message, says, option);
  }
});

t.test("what means nothing to a file system", async (t) => {
  const fstab = "defaults,nofail,_netdev,x-systemd.requires=a,user,auto,relatime,comment=b";
  t.same(parse(fstab), parse());
  t.same(parse("nonempty,use_ino,big_writes,default_permissions"), parse(), "libfuse's habits");
  t.same(parse(""), parse());
});

t.test("values", async (t) => {
  t.match(parse("memory=1G,fsname=a=b,subtype=x"), { memory: "1G", source: "a=b" });
  t.match(refusal(() => parse("memory")).message, /needs a value/);
});

t.test("what is refused, and what is not known", async (t) => {
  for (const option of ["remount", "lazytime", "mand", "bind", "allow_root"]) {
    const error = refusal(() => parse(option));
    t.equal(error.exitCode, 2, option);
    t.notMatch(error.message, /not a mount option/, option);
  }
  t.match(refusal(() => parse("noatme")).message, /did you mean noatime/);
  t.match(refusal(() => parse("ro=1")).message, /not a mount option/);
  t.match(refusal(() => parse("toString")).message, /not a mount option/);
  t.same(parseMountOptions(["frob"], { sloppy: true }), parse());
  t.equal(refusal(() => parseMountOptions(["umask=9"], { sloppy: true })).exitCode, 2);
});

t.test("survives the daemon's line", async (t) => {
  for (const list of [
    "",
    "ro,nosuid,nodev,noexec,noatime,sync,dirsync,allow_other,auto_unmount",
    "uid=5,gid=0,fmask=133,dmask=22,fsname=x,memory=1G",
  ]) {
    const choices = parse(list);
    t.same(parse(formatMountOptions(choices)), choices, list);
  }
});

t.test("a remount takes what is given, and nothing else", async (t) => {
  t.equal(isRemount(["ro,remount"]), true);
  t.equal(isRemount(["ro", "x-remount"]), false);
  t.same(parseRemountOptions(["remount"]), {});
  t.same(parseRemountOptions(["remount,ro,noatime"]), { readOnly: true, noAtime: true });
  t.same(
    parseRemountOptions([
      "ro,noexec,relatime,remount,user_id=0,group_id=0,rootmode=40000,default_permissions,allow_other",
    ]),
    { readOnly: true, noExec: true, noAtime: false, allowOther: true },
    "as mount(8) puts it together from the kernel's table",
  );
  t.same(parseRemountOptions(["remount,rw,nofail,umask=022"]), {
    readOnly: false,
    fileMask: 0o22,
    directoryMask: 0o22,
  });
  t.equal(refusal(() => parseRemountOptions(["remount,frob"])).exitCode, 2);
  const given = parseRemountOptions(["remount,rw,nodev,async,nodirsync"]);
  t.same(parseRemountOptions([formatMountOptions(given)]), given, "survives the control socket");
});

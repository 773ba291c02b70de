/**
 * Mount options, as after `-o` and in /etc/fstab. What we honour, what means nothing to us, and what we refuse because
 * ignoring it would break a promise.
 */
import { type FindAccount, findAccount } from "./accounts.ts";
import { usageError } from "./cli_error.ts";
import { nearest } from "./nearest.ts";

export interface MountChoices {
  readonly readOnly: boolean;
  readonly noSuid: boolean;
  readonly noDev: boolean;
  readonly noExec: boolean;
  readonly noAtime: boolean;
  /** Each read changes access times: so nothing is read from the kernel's cache. */
  readonly strictAtime: boolean;
  /** Every change, or every change of names, is durable when its call returns. */
  readonly sync: boolean;
  readonly dirSync: boolean;
  /** Users other than the one who mounts may enter. */
  readonly allowOther: boolean;
  /** The owner that every object is shown with; null: its own. */
  readonly uid: number | null;
  readonly gid: number | null;
  /** Permission bits that are not shown: of files and the like, of directories. */
  readonly fileMask: number;
  readonly directoryMask: number;
  /** The mount point is freed when its daemon dies. */
  readonly autoUnmount: boolean;
  /** Shown as the source of the mount; null for the first device's path. */
  readonly source: string | null;
  /** As given, unparsed; null for the default. */
  readonly memory: string | null;
  /** How the kernel is spoken to: by ourselves, or by libfuse 2. */
  readonly transport: Transport;
}

export type Transport = "kernel" | "fuse-native";
export const TRANSPORTS: readonly Transport[] = ["kernel", "fuse-native"];

const DEFAULTS: MountChoices = {
  readOnly: false,
  noSuid: false,
  noDev: false,
  noExec: false,
  noAtime: false,
  strictAtime: false,
  sync: false,
  dirSync: false,
  allowOther: false,
  uid: null,
  gid: null,
  fileMask: 0,
  directoryMask: 0,
  autoUnmount: false,
  source: null,
  memory: null,
  transport: "kernel",
};

/** What a remount can change. */
export const CHANGEABLE: readonly [
  "readOnly",
  "noSuid",
  "noDev",
  "noExec",
  "noAtime",
  "sync",
  "dirSync",
] = ["readOnly", "noSuid", "noDev", "noExec", "noAtime", "sync", "dirSync"];

/** The option that a choice comes from, for messages. */
export const OPTION_OF: Readonly<Partial<Record<keyof MountChoices, string>>> = {
  allowOther: "allow_other",
  uid: "uid",
  gid: "gid",
  fileMask: "fmask",
  directoryMask: "dmask",
  autoUnmount: "auto_unmount",
  source: "fsname",
  memory: "memory",
  transport: "transport",
  strictAtime: "strictatime",
};

/** For mount(8), fstab(5) and systemd, not for a file system; or what holds anyway. */
const WITHOUT_MEANING = new Set([
  "defaults",
  "auto",
  "noauto",
  "user",
  "nouser",
  "users",
  "owner",
  "group",
  "nofail",
  "fail",
  "_netdev",
  "default_permissions",
  "nolazytime",
  "nodiratime",
  "diratime",
  "nomand",
  "silent",
  "loud",
  "_rnetdev",
  "nonempty",
  "big_writes",
  "kernel_cache",
  "use_ino",
  "readdir_ino",
]);

/** The kernel tells them of a FUSE mount, and mount(8) gives them back to a remount. */
const TOLD_BY_KERNEL = /^(user_id|group_id|rootmode|fd|max_read|blksize)=|^remount$/;

/** Each is refused with its reason. */
const REFUSED: Readonly<Record<string, string>> = {
  remount: "a remount takes only the mount point: dynamicfs mount -o remount,… DIR",
  lazytime: "access times are kept in memory until the next checkpoint anyway",
  allow_root: "FUSE lets in the one who mounts, or everybody: allow_other",
  mand: "mandatory locks do not exist any more",
  bind: "bind mounts are made by mount(8)",
};

/** Options without a value, and what each sets. */
const SWITCHES: Readonly<Record<string, Partial<MountChoices>>> = {
  ro: { readOnly: true },
  rw: { readOnly: false },
  suid: { noSuid: false },
  nosuid: { noSuid: true },
  dev: { noDev: false },
  nodev: { noDev: true },
  exec: { noExec: false },
  noexec: { noExec: true },
  atime: { noAtime: false },
  noatime: { noAtime: true },
  relatime: { noAtime: false },
  norelatime: { noAtime: false },
  strictatime: { noAtime: false, strictAtime: true },
  nostrictatime: { strictAtime: false },
  sync: { sync: true },
  async: { sync: false },
  dirsync: { dirSync: true },
  nodirsync: { dirSync: false },
  allow_other: { allowOther: true },
  auto_unmount: { autoUnmount: true },
};
const WITH_VALUE = [
  "uid",
  "gid",
  "umask",
  "fmask",
  "dmask",
  "fsname",
  "subtype",
  "memory",
  "transport",
] as const;

export interface ParseMountOptions {
  /** Whether unknown options are ignored (mount -s). */
  readonly sloppy?: boolean;
  readonly findAccount?: FindAccount;
}

/**
 * @param lists Values of `-o`: options separated by commas; a later one wins over an earlier one.
 * @throws {CliError} Exit code 2 for an option that is unknown or refused, or for a bad value.
 */
export function parseMountOptions(
  lists: readonly string[],
  options: ParseMountOptions = {},
): MountChoices {
  return { ...DEFAULTS, ...given(lists, options) };
}

/** Whether the options ask for a change of what is mounted. */
export function isRemount(lists: readonly string[]): boolean {
  return lists.some((list) => list.split(",").includes("remount"));
}

/**
 * The options of a remount: what is given, and nothing else.
 *
 * @throws {CliError} As parseMountOptions.
 */
export function parseRemountOptions(
  lists: readonly string[],
  options: ParseMountOptions = {},
): Partial<MountChoices> {
  const own = lists.map((list) =>
    list
      .split(",")
      .filter((option) => !TOLD_BY_KERNEL.test(option))
      .join(","),
  );
  return given(own, options);
}

function given(
  lists: readonly string[],
  { sloppy = false, findAccount: find = findAccount }: ParseMountOptions,
): Partial<MountChoices> {
  let choices: Partial<MountChoices> = {};
  for (const option of lists.flatMap((list) => list.split(","))) {
    const [name = "", ...rest] = option.split("=");
    const value = rest.length === 0 ? undefined : rest.join("=");
    if (option === "" || WITHOUT_MEANING.has(option) || /^(x-|X-|comment=)/.test(option)) continue;
    const refusal = Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined;
    if (refusal !== undefined) throw usageError(`-o ${option}`, refusal);
    if ((WITH_VALUE as readonly string[]).includes(name)) {
      if (value === undefined || value === "") throw usageError(`-o ${name}`, "it needs a value");
      choices = { ...choices, ...withValue(name as (typeof WITH_VALUE)[number], value, find) };
      continue;
    }
    const change = value === undefined && Object.hasOwn(SWITCHES, name) ? SWITCHES[name] : null;
    if (change != null) choices = { ...choices, ...change };
    else if (!sloppy) throw unknownOption(option, name);
  }
  return choices;
}

function withValue(
  name: (typeof WITH_VALUE)[number],
  value: string,
  find: FindAccount,
): Partial<MountChoices> {
  switch (name) {
    case "uid":
      return { uid: account("passwd", name, value, find) };
    case "gid":
      return { gid: account("group", name, value, find) };
    case "umask":
      return { fileMask: mask(name, value), directoryMask: mask(name, value) };
    case "fmask":
      return { fileMask: mask(name, value) };
    case "dmask":
      return { directoryMask: mask(name, value) };
    case "fsname":
      return { source: value };
    case "memory":
      return { memory: value };
    case "transport":
      return { transport: transportOf(value, `-o transport=${value}`) };
    case "subtype":
      return {};
  }
}

/** @throws {CliError} Exit code 2 for another one. */
export function transportOf(value: string, what: string): Transport {
  const known = TRANSPORTS.find((each) => each === value);
  if (known !== undefined) return known;
  throw usageError(what, `there are ${TRANSPORTS.join(" and ")}`);
}

/**
 * Refuses what a mount by libfuse 2 would do wrong.
 *
 * @throws {CliError} Exit code 2, with the reason.
 */
export function checkTransport(choices: MountChoices): void {
  if (choices.transport === "kernel") return;
  const refuse = (option: string, why: string): never => {
    throw usageError(`--transport ${choices.transport} with -o ${option}`, why);
  };
  if (choices.allowOther) {
    refuse("allow_other", "fuse-native does not tell who asks, so new files would not be theirs");
  }
  if (choices.strictAtime) refuse("strictatime", "only the kernel transport does it");
  if (choices.sync) refuse("sync", "only the kernel transport does it");
  if (choices.dirSync) refuse("dirsync", "only the kernel transport does it");
  if (choices.uid !== null) refuse("uid", "only the kernel transport does it");
  if (choices.gid !== null) refuse("gid", "only the kernel transport does it");
  if (choices.fileMask !== 0 || choices.directoryMask !== 0) {
    refuse("umask", "only the kernel transport does it");
  }
}

function account(
  database: "passwd" | "group",
  name: string,
  value: string,
  find: FindAccount,
): number {
  const id = find(database, value);
  if (id !== null) return id;
  const kind = database === "passwd" ? "user" : "group";
  throw usageError(
    `-o ${name}=${value}`,
    /^[0-9]+$/.test(value) ? `ids go up to ${2 ** 32 - 2}` : `there is no such ${kind}`,
  );
}

function mask(name: string, value: string): number {
  if (/^[0-7]{1,4}$/.test(value) && Number.parseInt(value, 8) <= 0o777) {
    return Number.parseInt(value, 8);
  }
  throw usageError(`-o ${name}=${value}`, "it is not an octal number of 0 to 777");
}

/** The same as a value of `-o`, to hand on to the daemon. */
export function formatMountOptions(choices: Partial<MountChoices>): string {
  const options: string[] = [];
  const add = (value: boolean | undefined, yes: string, no: string | null): void => {
    if (value === true) options.push(yes);
    else if (value === false && no !== null) options.push(no);
  };
  add(choices.readOnly, "ro", "rw");
  add(choices.noSuid, "nosuid", "suid");
  add(choices.noDev, "nodev", "dev");
  add(choices.noExec, "noexec", "exec");
  add(choices.noAtime, "noatime", "relatime");
  add(choices.sync, "sync", "async");
  add(choices.dirSync, "dirsync", "nodirsync");
  add(choices.strictAtime, "strictatime", null);
  add(choices.allowOther, "allow_other", null);
  add(choices.autoUnmount, "auto_unmount", null);
  const { uid, gid, fileMask, directoryMask, source, memory, transport } = choices;
  if (uid != null) options.push(`uid=${uid}`);
  if (gid != null) options.push(`gid=${gid}`);
  if (fileMask !== undefined) options.push(`fmask=${fileMask.toString(8)}`);
  if (directoryMask !== undefined) options.push(`dmask=${directoryMask.toString(8)}`);
  if (source != null) options.push(`fsname=${source}`);
  if (memory != null) options.push(`memory=${memory}`);
  if (transport !== undefined && transport !== "kernel") options.push(`transport=${transport}`);
  return options.join(",");
}

function unknownOption(option: string, name: string): Error {
  const close = nearest(name, [...Object.keys(SWITCHES), ...WITH_VALUE, ...WITHOUT_MEANING]);
  return usageError(
    `-o ${option}`,
    close === undefined
      ? "this is not a mount option"
      : `this is not a mount option, did you mean ${close}?`,
    "dynamicfs mount --help",
  );
}

/**
 * Mount options, as after `-o` and in /etc/fstab. What we honour, what means nothing to us, and what we refuse because
 * ignoring it would break a promise.
 */
import { usageError } from "./cli_error.ts";
import { nearest } from "./nearest.ts";

export interface MountChoices {
  readonly readOnly: boolean;
  readonly noSuid: boolean;
  readonly noDev: boolean;
  readonly noExec: boolean;
  readonly noAtime: boolean;
  /** Users other than the one who mounts may enter. */
  readonly allowOther: boolean;
  /** Shown as the source of the mount; null for the first device's path. */
  readonly source: string | null;
  /** As given, unparsed; null for the default. */
  readonly memory: string | null;
}

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
  "async",
  "default_permissions",
  "nolazytime",
  "nodiratime",
  "diratime",
  "nostrictatime",
  "nomand",
  "silent",
  "loud",
  "_rnetdev",
]);

/** Each is refused with its reason. */
const REFUSED: Readonly<Record<string, string>> = {
  remount: "a mount cannot be changed yet; unmount, and mount with the new options",
  uid: "owners are those that the pool stores; use chown",
  gid: "owners are those that the pool stores; use chgrp",
  umask: "permissions are those that the pool stores; use chmod",
  sync: "synchronous mounts are not offered; use fsync where it matters",
  dirsync: "synchronous mounts are not offered; use fsync where it matters",
  strictatime: "access times are kept as relatime does, or not at all (noatime)",
  lazytime: "access times are kept as relatime does, or not at all (noatime)",
  mand: "mandatory locks do not exist any more",
  bind: "bind mounts are made by mount(8)",
};

const SWITCHES = [
  "ro",
  "rw",
  "suid",
  "nosuid",
  "dev",
  "nodev",
  "exec",
  "noexec",
  "atime",
  "noatime",
  "relatime",
  "norelatime",
  "allow_other",
] as const;
const WITH_VALUE = ["fsname", "subtype", "memory"] as const;

/**
 * @param lists Values of `-o`: options separated by commas; a later one wins over an earlier one.
 * @param sloppy Whether unknown options are ignored (mount -s).
 * @throws {CliError} Exit code 2 for an option that is unknown or refused.
 */
export function parseMountOptions(
  lists: readonly string[],
  { sloppy = false }: { sloppy?: boolean } = {},
): MountChoices {
  const choices = {
    readOnly: false,
    noSuid: false,
    noDev: false,
    noExec: false,
    noAtime: false,
    allowOther: false,
    source: null as string | null,
    memory: null as string | null,
  };
  for (const option of lists.flatMap((list) => list.split(","))) {
    const [name = "", ...rest] = option.split("=");
    const value = rest.length === 0 ? undefined : rest.join("=");
    if (option === "" || WITHOUT_MEANING.has(option) || /^(x-|X-|comment=)/.test(option)) continue;
    const refusal = REFUSED[name];
    if (refusal !== undefined) throw usageError(`-o ${option}`, refusal);
    if ((WITH_VALUE as readonly string[]).includes(name)) {
      if (value === undefined || value === "") throw usageError(`-o ${name}`, "it needs a value");
      if (name === "fsname") choices.source = value;
      if (name === "memory") choices.memory = value;
      continue;
    }
    switch (value === undefined ? name : "") {
      case "ro":
        choices.readOnly = true;
        break;
      case "rw":
        choices.readOnly = false;
        break;
      case "suid":
        choices.noSuid = false;
        break;
      case "nosuid":
        choices.noSuid = true;
        break;
      case "dev":
        choices.noDev = false;
        break;
      case "nodev":
        choices.noDev = true;
        break;
      case "exec":
        choices.noExec = false;
        break;
      case "noexec":
        choices.noExec = true;
        break;
      case "noatime":
        choices.noAtime = true;
        break;
      case "atime":
      case "relatime":
      case "norelatime":
        choices.noAtime = false;
        break;
      case "allow_other":
        choices.allowOther = true;
        break;
      default:
        if (!sloppy) throw unknownOption(option, name);
    }
  }
  return choices;
}

/** The same as a value of `-o`, to hand on to the daemon. */
export function formatMountOptions(choices: MountChoices): string {
  const options = [choices.readOnly ? "ro" : "rw"];
  if (choices.noSuid) options.push("nosuid");
  if (choices.noDev) options.push("nodev");
  if (choices.noExec) options.push("noexec");
  if (choices.noAtime) options.push("noatime");
  if (choices.allowOther) options.push("allow_other");
  if (choices.source !== null) options.push(`fsname=${choices.source}`);
  if (choices.memory !== null) options.push(`memory=${choices.memory}`);
  return options.join(",");
}

function unknownOption(option: string, name: string): Error {
  const close = nearest(name, [...SWITCHES, ...WITH_VALUE, ...WITHOUT_MEANING]);
  return usageError(
    `-o ${option}`,
    close === undefined
      ? "this is not a mount option"
      : `this is not a mount option, did you mean ${close}?`,
    "dynamicfs mount --help",
  );
}

/** What codes mean and what helps: exit codes, errors of the engine, and conditions that messages name. */
import { explainFsckCode, FSCK_CODES } from "../maintain/fsck_codes.ts";
import { CliError } from "./cli_error.ts";
import { EXIT_CODE_MEANINGS, ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import { nearest } from "./nearest.ts";
import type { Output } from "./output.ts";

interface Explanation {
  readonly code: string;
  readonly meaning: string;
  /** What to do about it. */
  readonly action: string | null;
}

/** Never reuse a code for something else. */
const CONDITIONS: readonly Explanation[] = [
  {
    code: "DFS-MOUNT-STALE",
    meaning:
      'A mount point whose daemon was killed: every access says "Transport endpoint is not connected".',
    action:
      "Mount it again (that cleans it), or run `dynamicfs umount --lazy DIR`. Nothing that was fsynced is lost.",
  },
  {
    code: "DFS-POOL-FAULTED",
    meaning:
      "The daemon met something that it cannot work around, and refuses writes so that nothing gets worse.",
    action: "Read the daemon's log, unmount, then run `dynamicfs fsck DEV`.",
  },
  {
    code: "DFS-DEV-ERRORS",
    meaning:
      "A device returned errors, or data that does not match its checksum. Copies were used where there were any.",
    action: "Check cables and the disk's own health report; copy what matters elsewhere.",
  },
  {
    code: "DFS-SPACE-LOW",
    meaning: "Less than a tenth of the pool is free.",
    action: "Remove what is not needed; space returns within seconds.",
  },
  {
    code: "DFS-SPACE-CRITICAL",
    meaning: "Less than a twentieth of the pool is free: writes may soon fail with ENOSPC.",
    action: "Remove what is not needed; removing works on a full pool too.",
  },
  {
    code: "DFS-DEV-LOCKED",
    meaning: "Another process has the device: a daemon that serves it, or a tool that reads it.",
    action: "`dynamicfs mounts` shows who serves what; unmount there first.",
  },
];

const ERRORS: readonly Explanation[] = [
  {
    code: "EUCLEAN",
    meaning: "A structure on a device contradicts itself.",
    action: "dynamicfs fsck DEV",
  },
  {
    code: "EBADMSG",
    meaning: "Data does not match its checksum, and no good copy is left.",
    action: "dynamicfs fsck DEV",
  },
  {
    code: "EIO",
    meaning: "A device failed to read or write.",
    action: "dynamicfs status, then the kernel's log",
  },
  {
    code: "ENODEV",
    meaning: "The device does not carry a pool.",
    action: "dynamicfs inspect DEV superblock",
  },
  { code: "EBUSY", meaning: "Somebody else uses it.", action: "dynamicfs mounts" },
  { code: "ENOSPC", meaning: "No space is left on the pool.", action: "dynamicfs status" },
  {
    code: "EROFS",
    meaning: "The pool is mounted read-only, or became so after an error.",
    action: "dynamicfs status",
  },
  {
    code: "EOPNOTSUPP",
    meaning: "The pool has a feature that this version does not know.",
    action: "Use the newer version that wrote it.",
  },
  {
    code: "ENOTCONN",
    meaning: "The daemon of a mount point is gone: see DFS-MOUNT-STALE.",
    action: "dynamicfs umount --lazy DIR",
  },
];

/** What fsck finds. */
function fsckCodes(): Explanation[] {
  const found: Explanation[] = [];
  for (const code of Object.keys(FSCK_CODES)) {
    const known = explainFsckCode(code);
    if (known !== null) found.push({ code, ...known });
  }
  return found;
}

/** `dynamicfs explain [CODE]` */
export function explain(invocation: Invocation, output: Output): ExitCode {
  const code = invocation.optional("CODE");
  const all = [...exitCodes(), ...CONDITIONS, ...fsckCodes(), ...ERRORS];
  if (code === undefined) {
    if (output.machine) output.envelope("dynamicfs.explain/1", { codes: all });
    else
      output.table(
        ["CODE", "MEANING"],
        all.map((each) => [each.code, each.meaning]),
        "<<",
      );
    return ExitCode.ok;
  }
  const found = all.find((each) => each.code.toLowerCase() === code.toLowerCase());
  if (found === undefined) {
    const close = nearest(
      code.toUpperCase(),
      all.map((each) => each.code),
    );
    throw new CliError({
      exitCode: ExitCode.notFound,
      what: code,
      why:
        close === undefined
          ? "nothing is known by this code"
          : `no such code, did you mean ${close}?`,
      try: close === undefined ? "dynamicfs explain" : `dynamicfs explain ${close}`,
    });
  }
  if (output.machine) output.envelope("dynamicfs.explain/1", { codes: [found] });
  else {
    output.data(`${output.style("bold", found.code)}  ${found.meaning}`);
    if (found.action !== null) output.data(`what to do: ${found.action}`);
  }
  return ExitCode.ok;
}

function exitCodes(): Explanation[] {
  return EXIT_CODE_MEANINGS.map(([code, meaning]) => ({
    code: String(code),
    meaning: `exit code: ${meaning}`,
    action: null,
  }));
}

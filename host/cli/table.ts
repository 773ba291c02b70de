/**
 * Every command, once: the parser, help, the manual, completions and the tests are made from this table. Handlers are
 * loaded when they run.
 */
import type { Command, Flag } from "./command.ts";

/** Flags of every command. */
export const GLOBAL_FLAGS: readonly Flag[] = [
  { name: "help", short: "h", kind: "boolean", summary: "Show help for the command" },
  { name: "version", short: "V", kind: "boolean", summary: "Show the version" },
  {
    name: "json",
    kind: "boolean",
    environment: true,
    summary: "Print one JSON document instead of text",
  },
  {
    name: "ndjson",
    kind: "boolean",
    environment: true,
    summary: "Print JSON lines as things happen: progress, events, errors, a summary",
  },
  {
    name: "no-header",
    short: "H",
    kind: "boolean",
    environment: true,
    summary: "Print tables without header, separated by tabs",
  },
  {
    name: "exact",
    short: "p",
    kind: "boolean",
    environment: true,
    summary: "Print exact numbers: bytes instead of GiB",
  },
  {
    name: "quiet",
    short: "q",
    kind: "boolean",
    environment: true,
    summary: "Print data and errors only",
  },
  {
    name: "verbose",
    short: "v",
    kind: "count",
    environment: true,
    summary: "Say more; repeat for more still",
  },
  {
    name: "yes",
    short: "y",
    kind: "boolean",
    environment: true,
    summary: "Answer yes where nothing can be lost for good",
  },
  {
    name: "confirm",
    kind: "text",
    value: "NAME",
    summary: "Confirm a loss by the name that would have to be typed",
  },
  {
    name: "dry-run",
    short: "n",
    kind: "boolean",
    environment: true,
    summary: "Say what would be done, do nothing",
  },
  { name: "no-color", kind: "boolean", environment: true, summary: "Print no colours" },
];

const MEMORY: Flag = {
  name: "memory",
  kind: "text",
  value: "SIZE",
  environment: true,
  summary: "Memory for caches and buffers, 32M to 3G (default 256M)",
};

const READ_ONLY: Flag = {
  name: "read-only",
  kind: "boolean",
  summary: "Change nothing on the devices",
};

const LOG: Flag = {
  name: "log",
  kind: "text",
  value: "FILE",
  environment: true,
  complete: "file",
  summary: "Where the daemon writes its log, one JSON object a line",
};

const OPTIONS: Flag = {
  name: "options",
  short: "o",
  kind: "list",
  value: "OPTIONS",
  summary: "Mount options, separated by commas: ro, umask=022, memory=512M …",
};

const TRANSPORT: Flag = {
  name: "transport",
  kind: "text",
  value: "KIND",
  environment: true,
  summary: "How to reach the kernel: kernel (default), or fuse-native (libfuse 2, does less)",
};

const QUOTA_PATH = {
  name: "PATH",
  complete: "mount",
  summary: "A mount point, or anything below it",
} as const;

const DEVICES = {
  name: "DEV",
  many: true,
  complete: "file",
  summary: "An image file or a block device: ./a.img, /dev/loop0",
} as const;

export const COMMANDS: readonly Command[] = [
  {
    name: "pool create",
    summary: "Make a new, empty pool on devices",
    description: [
      "A device is an image file (./a.img), an image file that is made with that size (./a.img:10G), or a block device (/dev/loop0).",
      "A device that holds something is refused, and what was found on it is shown. To overwrite it, give --force and confirm by typing the new pool's name, or by --confirm NAME in scripts.",
    ],
    effect: "destructive",
    schema: "dynamicfs.pool-create/1",
    arguments: [
      {
        name: "NAME",
        summary: "The pool's name: a letter or digit, then up to 62 of A-Z a-z 0-9 _ . : -",
      },
      { ...DEVICES, summary: "Where the pool lives: ./a.img:10G makes the file" },
    ],
    flags: [
      {
        name: "force",
        kind: "boolean",
        summary: "Overwrite a device that holds something, once confirmed",
      },
      MEMORY,
    ],
    examples: [
      { command: "dynamicfs pool create tank ./a.img:10G", does: "a pool in a new file of 10 GiB" },
      {
        command: "dynamicfs pool create tank /dev/sdb --force --confirm tank",
        does: "a pool on a disk, whatever it held",
      },
    ],
    load: async () => (await import("./pool_create.ts")).poolCreate,
  },
  {
    name: "mount",
    summary: "Mount a pool on a directory",
    description: [
      "Returns when the directory is ready. A daemon serves it until `dynamicfs umount DIR` (or umount, or fusermount3 -u).",
      "A mount point that a killed daemon left behind is cleaned first. In /etc/fstab the type is fuse.dynamicfs, see `dynamicfs install-helper --help`.",
      "Mount options: ro, rw, nosuid, nodev, noexec, sync, dirsync, noatime, strictatime, allow_other, auto_unmount, uid=USER, gid=GROUP, umask=MODE, fmask=MODE, dmask=MODE, memory=SIZE, fsname=NAME, and what fstab has for mount(8).",
      "With -o remount,… and the mount point alone, root changes what is mounted: ro, rw, nosuid, nodev, noexec, sync, dirsync and their opposites. Read-only, it returns when everything is on the devices.",
    ],
    effect: "write",
    schema: "dynamicfs.mount/1",
    arguments: [
      { ...DEVICES, optional: true },
      { name: "DIR", complete: "directory", summary: "The mount point" },
    ],
    flags: [
      OPTIONS,
      {
        name: "foreground",
        short: "f",
        kind: "boolean",
        summary: "Serve in this process, log to stderr, unmount on Ctrl-C",
      },
      TRANSPORT,
      MEMORY,
      READ_ONLY,
      LOG,
    ],
    examples: [
      { command: "dynamicfs mount ./a.img /mnt/tank", does: "mount and return" },
      {
        command: "dynamicfs mount ./a.img /mnt/tank -o ro,allow_other --memory 1G",
        does: "read-only, for all users, with more cache",
      },
      { command: "dynamicfs mount -o remount,ro /mnt/tank", does: "change a mount's options" },
    ],
    load: async () => (await import("./mount.ts")).mount,
  },
  {
    name: "umount",
    summary: "Unmount a directory, and wait until all is on the devices",
    effect: "write",
    schema: "dynamicfs.umount/1",
    arguments: [{ name: "DIR", complete: "mount", summary: "The mount point" }],
    flags: [
      {
        name: "lazy",
        short: "l",
        kind: "boolean",
        summary: "Detach now, finish when the last user of the directory is gone",
      },
    ],
    examples: [
      { command: "dynamicfs umount /mnt/tank", does: "unmount" },
      { command: "dynamicfs umount --lazy /mnt/tank", does: "unmount although it is in use" },
    ],
    load: async () => (await import("./umount.ts")).umount,
  },
  {
    name: "clone",
    summary: "Copy a file by sharing its blocks, in no time and no space",
    effect: "write",
    schema: "dynamicfs.clone/1",
    arguments: [
      { name: "SOURCE", complete: "file", summary: "A file on a mounted pool" },
      {
        name: "TARGET",
        complete: "file",
        summary: "Where on the same pool: a new name, or a directory",
      },
    ],
    flags: [
      {
        name: "replace",
        kind: "boolean",
        summary: "Replace the target if there is one, at once and as a whole",
      },
    ],
    examples: [
      {
        command: "dynamicfs clone vm.img vm-2.img",
        does: "a second image that shares the first one's blocks",
      },
    ],
    load: async () => (await import("./clone.ts")).clone,
  },
  {
    name: "quota list",
    summary: "Show the quotas of a mounted pool, and what is used of them",
    effect: "read",
    schema: "dynamicfs.quota/1",
    arguments: [QUOTA_PATH],
    flags: [],
    examples: [{ command: "dynamicfs quota list /mnt/tank", does: "a table" }],
    load: async () => (await import("./quota.ts")).quotaList,
  },
  {
    name: "quota set",
    summary: "Limit what a user's, a group's or a project's files may take",
    description: [
      "Writes and new files beyond a limit fail with EDQUOT; what is there stays, and can be changed in place and removed.",
      "A limit that is not given stays as it is; none takes it away. A new quota first counts what is there: until then it refuses nothing.",
      "A project is a directory with all that is made in it: chattr -p ID +P DIR.",
    ],
    effect: "write",
    schema: "dynamicfs.quota/1",
    arguments: [QUOTA_PATH],
    flags: [
      { name: "user", kind: "text", value: "USER", summary: "For a user: a name or number" },
      { name: "group", kind: "text", value: "GROUP", summary: "For a group: a name or number" },
      { name: "project", kind: "text", value: "ID", summary: "For a project: its number" },
      { name: "size", kind: "text", value: "SIZE", summary: "Bytes on disk: 10G, or none" },
      { name: "files", kind: "text", value: "COUNT", summary: "Files of all types, or none" },
    ],
    examples: [
      {
        command: "dynamicfs quota set /mnt/tank --user alice --size 10G --files 100000",
        does: "two limits for a user",
      },
      {
        command: "dynamicfs quota set /mnt/tank --project 7 --size none --files none",
        does: "no quota any more",
      },
    ],
    load: async () => (await import("./quota.ts")).quotaSet,
  },
  {
    name: "mounts",
    summary: "List what is mounted",
    effect: "read",
    schema: "dynamicfs.mounts/1",
    arguments: [],
    flags: [],
    examples: [
      { command: "dynamicfs mounts", does: "a table" },
      { command: "dynamicfs mounts -H", does: "the same for scripts, separated by tabs" },
    ],
    load: async () => (await import("./mounts.ts")).mounts,
  },
  {
    name: "status",
    summary: "Show the state of pools: health, space, devices, errors",
    description: [
      "A mounted pool is asked through its daemon. For a device that is not mounted, its superblocks are read.",
    ],
    effect: "read",
    schema: "dynamicfs.status/1",
    arguments: [
      {
        name: "TARGET",
        optional: true,
        complete: "mount",
        summary: "A mount point, a pool's name or a device; all that is mounted when left out",
      },
    ],
    flags: [
      {
        name: "exit-code",
        kind: "boolean",
        summary: "Exit with 7 when a pool is degraded, 8 when one is faulted",
      },
    ],
    examples: [
      { command: "dynamicfs status", does: "everything that is mounted" },
      { command: "dynamicfs status /mnt/tank --json", does: "one pool, for programs" },
      { command: "dynamicfs status ./a.img", does: "a pool that is not mounted" },
    ],
    load: async () => (await import("./status.ts")).status,
  },
  {
    name: "stats",
    summary: "Show what a mounted pool does: requests, latencies, cache, devices, where time goes",
    description: [
      "Everything since the mount, or with --interval what happened in each interval, a line each (with -v in full, with --json a document each), until Ctrl-C.",
      "Latency of a request is from when it was read to when its reply was handed to the kernel. Percentiles are within 3.2 % of what was measured; a maximum is exact since the mount, and within 6.3 % in an interval that did not raise it.",
      "The share of time that reading requests and replying take is reckoned from one in 13 of them. DEV is waiting for devices with nothing else to do, SPIN is looking for work before sleeping.",
      "Mounted by fuse-native, requests and their latencies are not known, nor where time goes but idle.",
    ],
    effect: "read",
    schema: "dynamicfs.stats/1",
    arguments: [{ name: "DIR", complete: "mount", summary: "The mount point" }],
    flags: [
      {
        name: "interval",
        kind: "text",
        value: "SECONDS",
        summary: "Show differences each so many seconds, 0.05 or more",
      },
      { name: "count", kind: "text", value: "N", summary: "End after so many intervals" },
    ],
    examples: [
      { command: "dynamicfs stats /mnt/tank", does: "everything since the mount" },
      { command: "dynamicfs stats /mnt/tank --interval 1", does: "a line each second" },
      {
        command: "dynamicfs stats /mnt/tank --interval 10 --count 6 --json",
        does: "a minute as six JSON lines",
      },
    ],
    load: async () => (await import("./stats.ts")).stats,
  },
  {
    name: "fsck",
    summary: "Check everything on a pool that is not mounted, and repair what can be repaired",
    description: [
      "Reads the superblocks, the trees, the space maps and the journal, and compares them; then all data against its checksums. Changes nothing without --repair.",
      "Exits with 0 when all is well, with 11 when errors were found, and with 3 when parts could not be checked.",
      "With --repair it puts right what contradicts itself: counts, space maps, pages and superblocks with a good copy. What has lost its name goes to lost+found; what cannot be kept is named as lost, and only given up with --yes. It can be interrupted and run again. With --dry-run it says exactly what it would do.",
      "Then it exits with 0 when nothing is wrong any more and nothing was lost, with 3 when losses were named, with 9 when it needs --yes for them, and with 11 when errors are left that it cannot repair, such as data that does not match its checksum.",
    ],
    effect: "write",
    schema: "dynamicfs.fsck/1",
    arguments: [DEVICES],
    flags: [
      {
        name: "no-data",
        kind: "boolean",
        summary: "Check structures only, do not read the files' data",
      },
      {
        name: "repair",
        kind: "boolean",
        summary: "Repair what can be repaired; asks for --yes if something must be given up",
      },
      MEMORY,
    ],
    examples: [
      { command: "dynamicfs fsck ./a.img", does: "check, with progress on a terminal" },
      { command: "dynamicfs fsck ./a.img --ndjson", does: "progress and findings as JSON lines" },
      { command: "dynamicfs fsck ./a.img --repair --dry-run", does: "what a repair would do" },
      { command: "dynamicfs fsck ./a.img --repair --yes", does: "repair, whatever is lost by it" },
    ],
    load: async () => (await import("./fsck.ts")).fsck,
  },
  {
    name: "inspect",
    summary: "Show records of a device as they lie there",
    effect: "read",
    schema: "dynamicfs.inspect/1",
    arguments: [
      { name: "DEV", complete: "file", summary: "An image file or a block device" },
      {
        name: "WHAT",
        choices: ["superblock", "tree", "page", "journal", "item", "region"],
        summary: "Which kind of record",
      },
      {
        name: "WHERE",
        optional: true,
        many: true,
        summary:
          "For a page its block; for an item its object id, type and offset; for a region its number",
      },
    ],
    flags: [MEMORY],
    examples: [
      { command: "dynamicfs inspect ./a.img superblock", does: "the superblocks, newest first" },
      { command: "dynamicfs inspect ./a.img page 4096", does: "the tree page at block 4096" },
      {
        command: "dynamicfs inspect ./a.img journal -v",
        does: "what would be replayed, item by item",
      },
      { command: "dynamicfs inspect ./a.img item 1", does: "all items of the root directory" },
    ],
    load: async () => (await import("./inspect.ts")).inspect,
  },
  {
    name: "doctor",
    summary: "Check whether this machine has what DynamicFS needs",
    effect: "read",
    schema: "dynamicfs.doctor/1",
    arguments: [],
    flags: [],
    examples: [
      { command: "dynamicfs doctor", does: "each check, and what to do about a problem" },
      { command: "dynamicfs doctor --json", does: "the same for programs" },
    ],
    load: async () => (await import("./doctor.ts")).doctor,
  },
  {
    name: "start",
    summary: "Try it: make a pool in a file, mount it, serve until Ctrl-C",
    description: [
      "The pool is made on the first run and found again on the next ones. This is what `npm start` runs.",
    ],
    effect: "write",
    schema: null,
    arguments: [],
    flags: [
      {
        name: "image",
        kind: "text",
        value: "FILE",
        environment: true,
        complete: "file",
        summary: "Where the pool lives (default .dynamicfs/embedded.img)",
      },
      {
        name: "size",
        kind: "text",
        value: "SIZE",
        environment: true,
        summary: "Size of a new pool; the file is sparse (default 4G)",
      },
      {
        name: "at",
        kind: "text",
        value: "DIR",
        environment: true,
        complete: "directory",
        summary: "Where it is mounted (default .dynamicfs/mnt)",
      },
      MEMORY,
    ],
    examples: [{ command: "dynamicfs start", does: "mount .dynamicfs/mnt, unmount on Ctrl-C" }],
    load: async () => (await import("./start.ts")).start,
  },
  {
    name: "install-helper",
    summary: "Let mount(8) and /etc/fstab know the type fuse.dynamicfs",
    description: [
      "Writes PREFIX/sbin/mount.fuse.dynamicfs and PREFIX/sbin/mount.dynamicfs. A line in /etc/fstab then is:",
      "/srv/a.img /mnt/tank fuse.dynamicfs defaults,allow_other,nofail 0 0",
    ],
    effect: "write",
    schema: "dynamicfs.install-helper/1",
    arguments: [],
    flags: [
      {
        name: "prefix",
        kind: "text",
        value: "DIR",
        complete: "directory",
        summary: "The root that sbin/ lies under (default /)",
      },
    ],
    examples: [
      { command: "dynamicfs install-helper", does: "install for this system" },
      {
        command: "dynamicfs install-helper --prefix ./package --dry-run",
        does: "say what would be written",
      },
    ],
    load: async () => (await import("./install_helper.ts")).installHelper,
  },
  {
    name: "explain",
    summary: "Explain an exit code, an error code or a term of the status",
    effect: "read",
    schema: "dynamicfs.explain/1",
    arguments: [
      {
        name: "CODE",
        optional: true,
        summary: "An exit code (5), an error (EUCLEAN) or a code such as DFS-MOUNT-STALE",
      },
    ],
    flags: [],
    examples: [
      { command: "dynamicfs explain 9", does: "what exit code 9 means" },
      { command: "dynamicfs explain DFS-MOUNT-STALE", does: "what is wrong and what helps" },
    ],
    load: async () => (await import("./explain.ts")).explain,
  },
  {
    name: "completion",
    summary: "Print a completion script for a shell",
    effect: "read",
    schema: null,
    arguments: [{ name: "SHELL", choices: ["bash", "zsh", "fish"], summary: "Which shell" }],
    flags: [],
    examples: [
      { command: 'eval "$(dynamicfs completion bash)"', does: "complete in this shell" },
      {
        command: "dynamicfs completion fish > ~/.config/fish/completions/dynamicfs.fish",
        does: "complete in every fish",
      },
    ],
    load: async () => (await import("./completion.ts")).completion,
  },
  {
    name: "help",
    summary: "Show help, or the manual page",
    effect: "read",
    schema: null,
    arguments: [
      {
        name: "COMMAND",
        optional: true,
        many: true,
        complete: "command",
        summary: "A command's name",
      },
    ],
    flags: [{ name: "man", kind: "boolean", summary: "Print the manual page's source (mdoc)" }],
    examples: [
      { command: "dynamicfs help pool create", does: "help for one command" },
      { command: "dynamicfs help --man > dynamicfs.1", does: "the manual page" },
    ],
    load: async () => (await import("./help.ts")).help,
  },
  {
    name: "version",
    summary: "Show versions of the program, the runtime and the system",
    effect: "read",
    schema: "dynamicfs.version/1",
    arguments: [],
    flags: [],
    examples: [{ command: "dynamicfs version --json", does: "for bug reports" }],
    load: async () => (await import("./version.ts")).version,
  },
  {
    name: "daemon",
    summary: "Serve a mount (run by `mount`)",
    effect: "write",
    schema: null,
    hidden: true,
    arguments: [DEVICES, { name: "DIR", complete: "directory", summary: "The mount point" }],
    flags: [
      OPTIONS,
      LOG,
      {
        name: "ready-fd",
        kind: "text",
        value: "FD",
        summary: "Descriptor that is told the outcome",
      },
    ],
    examples: [{ command: "dynamicfs daemon ./a.img /mnt/tank", does: "what `mount` starts" }],
    load: async () => (await import("./daemon.ts")).daemon,
  },
];

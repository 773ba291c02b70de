/** Mount options on real mounts, as root: what they show, change, refuse and keep. For ordinary users see test/posix. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import t from "tap";
import { readMountInfo } from "../../host/base/mountinfo.ts";
import { Volume } from "../../host/fs/volume.ts";
import { MAIN, mountImpossible, type Result, Sandbox } from "../support/cli.ts";
import { delay, Mounted, programsMissing, runProgram, withMount } from "../support/mount.ts";
import { asUser, code, mode, setxattr } from "../support/posix_case.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const skip = process.geteuid?.() !== 0 ? "changing mounts needs root" : mountImpossible() || false;
/** What mount(8) calls for the type fuse.dynamicfs where ours is not installed. */
const HELPER = "/sbin/mount.fuse3";
const HELPER_MISSING =
  programsMissing("unshare") || (existsSync(HELPER) ? false : `${HELPER} is not installed`);
const FIXED =
  "keepAccessTimes" in Volume.prototype ? false : "access times are chosen at the mount";
const ACL_KNOWN = programsMissing("setfacl");

function optionsAt(directory: string): readonly string[] {
  return readMountInfo().findLast((record) => record.mountpoint === directory)?.options ?? [];
}

function remount(mounted: Mounted, options: string): Result {
  return mounted.sandbox.run("mount", "-o", `remount,${options}`, mounted.directory);
}

/** Kills the daemon: what its memory alone held is lost. Then mounts again. */
async function crash(mounted: Mounted): Promise<void> {
  await mounted.kill9();
  await mounted.mount();
}

t.test("owners and permissions are shown as asked, and stored as they are", { skip }, async (t) => {
  const options = "uid=54321,gid=54322,umask=027,allow_other";
  const mounted = new Mounted({ size: "256M", options });
  t.teardown(() => mounted.close());
  mounted.create();
  await mounted.mount();
  const path = (name: string): string => mounted.path(name);
  writeFileSync(path("a"), "hello");
  mkdirSync(path("d"));
  symlinkSync("a", path("s"));
  chmodSync(path("d"), 0o755);
  t.match(lstatSync(mounted.directory), { uid: 54321, gid: 54322 });
  for (const [name, bits] of Object.entries({ a: 0o640, d: 0o750, s: 0o777 })) {
    t.match(lstatSync(path(name)), { uid: 54321, gid: 54322 }, name);
    t.equal(mode(lstatSync(path(name))), bits, name);
  }
  t.same(readdirSync(mounted.directory).sort(), ["a", "d", "s"]);

  const attempts = `print(attempt(os.chmod, "a", 0o600), attempt(os.open, "a", os.O_RDWR), attempt(os.open, "d/n", os.O_CREAT), attempt(os.chown, "a", 54321, 54322))`;
  t.equal(asUser(mounted.directory, 54321, attempts), "ok ok ok ok", "the owner who is shown");
  const open = `print(attempt(os.open, "a", os.O_RDONLY))`;
  chmodSync(path("a"), 0o640);
  t.equal(asUser(mounted.directory, 9, open, [54322]), "ok", "a member of the group");
  t.equal(asUser(mounted.directory, 9, "print(attempt(os.listdir, '.'))"), "EACCES", "another");

  t.equal(
    code(() => chmodSync(path("a"), 0o666)),
    "",
    "nothing visible would change",
  );
  t.equal(
    code(() => chmodSync(path("a"), 0o777)),
    "EPERM",
  );
  t.equal(
    code(() => chmodSync(path("a"), 0o4640)),
    "EPERM",
  );
  t.equal(
    code(() => chownSync(path("a"), 0, 54322)),
    "EPERM",
  );
  t.equal(
    code(() => chownSync(path("a"), 54321, 0)),
    "EPERM",
  );
  t.equal(
    code(() => chownSync(path("a"), 54321, 54322)),
    "",
  );
  if (ACL_KNOWN === false) {
    const acl = await runProgram("setfacl", ["-m", "u:9:rwx", path("a")]);
    t.match(acl, { code: 1, err: /not supported/ }, "an ACL would be checked past the mask");
  }
  await mounted.umount();

  const plain = mounted.sandbox.path("plain");
  mkdirSync(plain);
  t.equal(mounted.sandbox.run("mount", mounted.image, plain).code, 0);
  t.match(lstatSync(`${plain}/a`), { uid: 0, gid: 0 }, "the maker's");
  t.equal(mode(lstatSync(`${plain}/a`)), 0o640);
  t.match(lstatSync(`${plain}/d/n`), { uid: 54321, gid: 54321 }, "a user's new file");
  t.equal(mode(lstatSync(`${plain}/d`)), 0o755, "hidden bits are kept");
  t.equal(mounted.sandbox.run("umount", plain).code, 0);
  t.equal(mounted.fsck().code, 0);
});

t.test("what a remount changes", { skip }, async (t) => {
  await withMount({ size: "256M" }, async (mounted) => {
    const { directory } = mounted;
    const options = (): readonly string[] => optionsAt(directory);
    const held = openSync(mounted.path("held"), "w");
    const busy = remount(mounted, "ro");
    t.match(busy, { code: 5, err: /open for writing/ });
    writeSync(held, "still writable\n");
    closeSync(held);

    t.match(remount(mounted, "ro"), { code: 0, err: "" });
    t.ok(options().includes("ro") && !options().includes("rw"), "the kernel knows");
    t.equal(
      code(() => writeFileSync(mounted.path("no"), "")),
      "EROFS",
    );
    const status = JSON.parse(mounted.sandbox.run("status", directory, "--json").out);
    t.equal(status.pools[0].mount.readOnly, true, "so does the daemon");
    t.equal(status.pools[0].cache.dirtyBlocks, 0);
    const row = new RegExp(`^${directory}\t.*\tonline\tro\t`, "m");
    t.match(mounted.sandbox.run("mounts", "-H").out, row);

    // The kernel alone is asked for rw: the daemon still refuses.
    t.equal((await runProgram("mount", ["-i", "-o", "remount,rw", directory])).code, 0);
    t.equal(
      code(() => mkdirSync(mounted.path("no"))),
      "EROFS",
    );
    t.equal(remount(mounted, "rw").code, 0);
    mkdirSync(mounted.path("yes"));

    // And for ro: the kernel refuses.
    t.equal((await runProgram("mount", ["-i", "-o", "remount,ro", directory])).code, 0);
    t.equal(
      code(() => mkdirSync(mounted.path("no"))),
      "EROFS",
    );
    t.equal(readFileSync(mounted.path("held"), "utf8"), "still writable\n");
    t.equal(remount(mounted, "rw").code, 0);

    t.equal(remount(mounted, "nosuid,nodev,noexec").code, 0);
    t.same(
      options().filter((option) => /^no/.test(option)),
      ["nosuid", "nodev", "noexec"],
    );
    writeFileSync(mounted.path("program"), "#!/bin/sh\n");
    chmodSync(mounted.path("program"), 0o755);
    await t.rejects(runProgram(mounted.path("program"), []), { code: "EACCES" });
    t.equal(remount(mounted, "exec").code, 0);
    t.same(
      options().filter((option) => /^no/.test(option)),
      ["nosuid", "nodev"],
      "others stay",
    );
    t.equal((await runProgram(mounted.path("program"), [])).code, 0);
  });
});

t.test("access times: noatime and atime, and read-only", { skip: skip || FIXED }, async (t) => {
  await withMount({ size: "256M" }, async (mounted) => {
    /** Whether a read of what nobody has cached changes the access time. */
    const isKept = (): boolean =>
      asUser(
        mounted.directory,
        0,
        `fd = os.open("a", os.O_RDONLY); os.fsync(fd); os.posix_fadvise(fd, 0, 0, 4)
before = os.fstat(fd).st_atime_ns; os.read(fd, 9); os.close(fd)
print(os.stat("a").st_atime_ns != before)`,
      ) === "True";
    const age = (): void => {
      asUser(mounted.directory, 0, `os.utime("a", (1000, 2000))`);
    };
    writeFileSync(mounted.path("a"), "text");
    age();
    t.equal(isKept(), true);
    age();
    t.equal(remount(mounted, "noatime").code, 0);
    t.ok(optionsAt(mounted.directory).includes("noatime"));
    t.equal(isKept(), false);
    t.equal(remount(mounted, "atime").code, 0);
    t.ok(optionsAt(mounted.directory).includes("relatime"));
    t.equal(isKept(), true);
    age();
    t.equal(remount(mounted, "ro").code, 0);
    t.equal(isKept(), false);
    t.equal(remount(mounted, "rw").code, 0);
    t.equal(isKept(), true);
  });
});

t.test(
  "strictatime: each read counts, and protected files are refused at open",
  { skip },
  async (t) => {
    await withMount({ options: "strictatime" }, async (mounted) => {
      const path = `${mounted.directory}/file`;
      writeFileSync(path, "content");
      const atime = (): bigint => statSync(path, { bigint: true }).atimeNs;
      for (let round = 0; round < 3; round++) {
        const before = atime();
        await delay(30);
        t.equal(readFileSync(path, "utf8"), "content");
        t.ok(atime() > before, "also of what was just read");
      }
      t.notMatch(optionsAt(mounted.directory), /relatime/);
      if (programsMissing("chattr") === false) {
        t.equal(mounted.sandbox.program("chattr", ["+i", path]).code, 0);
        t.throws(() => openSync(path, "r+"), { code: "EPERM" });
        t.equal(readFileSync(path, "utf8"), "content");
        t.equal(mounted.sandbox.program("chattr", ["-i", path]).code, 0);
      }
      closeSync(openSync(path, "r+"));
    });
  },
);

t.test("what a remount refuses", { skip }, async (t) => {
  await withMount({ size: "256M", options: "umask=022,memory=64M" }, async (mounted) => {
    for (const option of ["uid=5", "umask=077", "memory=1G", "auto_unmount", "frob", "umask=9"]) {
      t.equal(remount(mounted, `${option},nodev`).code, 2, option);
    }
    t.notOk(optionsAt(mounted.directory).includes("nodev"), "nothing was done");
    t.equal(remount(mounted, "umask=022,memory=64M,nofail").code, 0, "what holds already");
    t.match(mounted.sandbox.run("mount", "-o", "remount,ro", "/"), { code: 4 });
    t.match(mounted.sandbox.run("mount", mounted.directory), { code: 2, err: /DEV is missing/ });
    t.equal(remount(mounted, "ro,frob").code, 2);
    const dry = mounted.sandbox.run("mount", "-n", "-o", "remount,ro", mounted.directory);
    t.match(dry, { code: 0, err: /would remount/ });
    writeFileSync(mounted.path("a"), "");
  });
});

t.test("read-only, everything is on the disk before the command returns", { skip }, async (t) => {
  await withMount({ size: "256M" }, async (mounted) => {
    mkdirSync(mounted.path("d"));
    for (let index = 0; index < 50; index++) {
      writeFileSync(mounted.path(`d/${index}`), Buffer.alloc(index * 1000, index));
    }
    t.equal(remount(mounted, "ro").code, 0);
    await mounted.kill9();
    const check = JSON.parse(mounted.sandbox.run("fsck", mounted.image, "--json").out);
    t.match(check, { clean: true, needsRecovery: false }, "no journal to replay");
    await mounted.mount();
    for (let index = 0; index < 50; index++) {
      const bytes = readFileSync(mounted.path(`d/${index}`));
      t.ok(bytes.equals(Buffer.alloc(index * 1000, index)), `file ${index}`);
    }
  });
});

t.test("a mount that began read-only becomes writable under its users", { skip }, async (t) => {
  const mounted = new Mounted({ size: "256M", options: "ro" });
  t.teardown(() => mounted.close());
  mounted.create();
  const first = mounted.sandbox.path("first");
  mkdirSync(first);
  t.equal(mounted.sandbox.run("mount", mounted.image, first).code, 0);
  mkdirSync(`${first}/d`);
  for (const name of ["kept", "d/removed"]) writeFileSync(`${first}/${name}`, name.repeat(1000));
  t.equal(mounted.sandbox.run("umount", first).code, 0);

  await mounted.mount();
  const fd = openSync(mounted.path("d/removed"), "r");
  const asker = lookups(mounted.directory);
  await once(asker.process.stdout as NodeJS.ReadableStream, "data");
  t.match(remount(mounted, "rw"), { code: 0, err: "" });

  writeFileSync(mounted.path("new"), "new");
  appendTo(mounted.path("kept"), "!");
  unlinkSync(mounted.path("d/removed"));
  // What was opened before the change is still held after it.
  await delay(50);
  const bytes = Buffer.alloc(20_000);
  t.equal(readSync(fd, bytes), 9000, "an unlinked file keeps its data while it is open");
  t.equal(bytes.toString("latin1", 0, 9), "d/removed");
  closeSync(fd);
  t.match(await asker.stop(), /^[0-9]+ 0$/m, "nobody saw an error meanwhile");

  t.equal(remount(mounted, "ro").code, 0);
  t.equal(
    code(() => unlinkSync(mounted.path("new"))),
    "EROFS",
  );
  t.equal(remount(mounted, "rw").code, 0);
  unlinkSync(mounted.path("new"));
  await mounted.umount();
  t.match(mounted.fsck(), { code: 0, out: /^clean/ });
  await mounted.mount();
  t.equal(statSync(mounted.path("kept")).size, 4001);
  t.notOk(existsSync(mounted.path("d/removed")) || existsSync(mounted.path("new")));
  await mounted.umount();
});

t.test("a device that others read does not become writable", { skip }, async (t) => {
  const mounted = new Mounted({ size: "256M", options: "ro" });
  t.teardown(() => mounted.close());
  mounted.create();
  await mounted.mount();
  const other = mounted.sandbox.path("other");
  mkdirSync(other);
  t.equal(mounted.sandbox.run("mount", "-o", "ro", mounted.image, other).code, 0);
  t.match(remount(mounted, "rw"), { code: 5, err: /in use|locked/ });
  t.ok(optionsAt(mounted.directory).includes("ro"));
  t.same(readdirSync(mounted.directory), [], "it serves as before");
  t.equal(mounted.sandbox.run("umount", other).code, 0);
  t.equal(remount(mounted, "rw").code, 0, "now it does");
  mkdirSync(mounted.path("d"));
  await mounted.umount();
});

t.test("mount(8) and fstab", { skip: skip || HELPER_MISSING }, async (t) => {
  const sandbox = new Sandbox();
  t.teardown(() => sandbox.close());
  mkdirSync(sandbox.path("mnt"));
  t.equal(sandbox.run("pool", "create", "p", "a.img:256M").code, 0);
  writeFileSync(
    sandbox.path("helper"),
    `#!/bin/sh\nexec ${process.execPath} ${MAIN} mount-helper "$@"\n`,
  );
  chmodSync(sandbox.path("helper"), 0o755);
  // In a mount namespace of its own: the system's helper and fstab are covered there, and nowhere else.
  const script = `
    mount --bind helper ${HELPER}
    show() { echo "$1: $(grep " $PWD/mnt " /proc/self/mountinfo | tail -1 | cut -d" " -f6,10)"; }
    mount -t fuse.dynamicfs -o noexec,umask=022 "$PWD/a.img" "$PWD/mnt" && show mounted
    mount -o remount,ro "$PWD/mnt" && show ro
    touch mnt/no 2>&1 | grep -o Read-only
    mount -o remount,rw,exec "$PWD/mnt" && show exec
    mount -o remount,uid=5 "$PWD/mnt" 2>/dev/null || echo refused
    umount "$PWD/mnt"
    echo "$PWD/a.img $PWD/mnt fuse.dynamicfs umask=077,nofail,nosuid 0 0" > fstab
    mount --bind fstab /etc/fstab
    mount "$PWD/mnt" && show fstab
    touch mnt/new; stat -c %a mnt/new
    mount -o remount,ro "$PWD/mnt" && show fstab-ro
    umount "$PWD/mnt"`;
  const result = sandbox.program("unshare", ["-m", "--propagation", "private", "sh", "-c", script]);
  t.same(result.out.split("\n"), [
    "mounted: rw,noexec,relatime rw,user_id=0,group_id=0,default_permissions,allow_other",
    "ro: ro,noexec,relatime ro,user_id=0,group_id=0,default_permissions,allow_other",
    "Read-only",
    "exec: rw,relatime rw,user_id=0,group_id=0,default_permissions,allow_other",
    "refused",
    "fstab: rw,nosuid,relatime rw,user_id=0,group_id=0,default_permissions,allow_other",
    "600",
    "fstab-ro: ro,nosuid,relatime ro,user_id=0,group_id=0,default_permissions,allow_other",
    "",
  ]);
});

t.test("auto_unmount frees the mount point of a killed daemon", { skip }, async (t) => {
  const sandbox = new Sandbox();
  t.teardown(() => sandbox.close());
  // A name that the kernel writes with escapes.
  const directory = sandbox.path("m n\\t");
  mkdirSync(directory);
  t.equal(sandbox.run("pool", "create", "p", "a.img:256M").code, 0);
  const pid = (): number => {
    const { mounts } = JSON.parse(sandbox.run("mounts", "--json").out);
    return mounts.find((each: { mountPoint: string }) => each.mountPoint === directory).pid;
  };
  const isMounted = (): boolean => optionsAt(directory).length > 0;

  t.equal(sandbox.run("mount", "a.img", directory, "-o", "auto_unmount").code, 0);
  writeFileSync(`${directory}/a`, "durable or not");
  process.kill(pid(), "SIGKILL");
  await until(() => !isMounted());
  t.same(readdirSync(directory), [], "the directory below is there again");

  t.equal(sandbox.run("mount", "a.img", directory).code, 0);
  process.kill(pid(), "SIGKILL");
  await until(() => code(() => readdirSync(directory)) === "ENOTCONN");
  await delay(200);
  t.ok(isMounted(), "without the option it stays, and refuses everything");

  t.equal(sandbox.run("mount", "a.img", directory, "-o", "auto_unmount").code, 0);
  t.equal(sandbox.run("umount", directory).code, 0);
  t.equal(sandbox.run("mount", "a.img", directory).code, 0);
  await delay(200);
  t.ok(isMounted(), "a watcher whose mount has ended leaves the next one alone");
  t.equal(sandbox.run("umount", directory).code, 0);
  t.equal(sandbox.run("fsck", "a.img").code, 0);
});

t.test("sync: what a call has changed outlives the daemon", { skip }, async (t) => {
  const mounted = new Mounted({ size: "256M", options: "sync" });
  t.teardown(() => mounted.close());
  mounted.create();
  await mounted.mount();
  t.ok(optionsAt(mounted.directory).includes("sync"));
  const path = (name: string): string => mounted.path(name);
  mkdirSync(path("d"));
  const fd = openSync(path("written"), "w");
  for (let index = 0; index < 20; index++) writeSync(fd, `line ${index}\n`);
  await mounted.kill9();
  t.equal(
    code(() => closeSync(fd)),
    "ENOTCONN",
  );
  await mounted.mount();
  t.ok(statSync(path("d")).isDirectory());
  t.match(readFileSync(path("written"), "utf8"), /^line 19\n/m, "although it was not closed");

  for (const name of ["a", "b", "c", "x"]) writeFileSync(path(name), name);
  await crash(mounted);
  const acts: Record<string, () => unknown> = {
    chmod: () => chmodSync(path("a"), 0o600),
    rename: () => renameSync(path("b"), path("d/b")),
    link: () => linkSync(path("c"), path("d/c")),
    symlink: () => symlinkSync("a", path("s")),
    unlink: () => unlinkSync(path("x")),
    truncate: () => truncateSync(path("c"), 0),
    xattr: () => setxattr(path("a"), "user.k", Buffer.from("v")),
  };
  for (const act of Object.values(acts)) act();
  writeFileSync(path("direct"), "");
  await crash(mounted);
  t.equal(mode(statSync(path("a"))), 0o600);
  t.ok(existsSync(path("d/b")) && !existsSync(path("b")));
  t.match(statSync(path("c")), { nlink: 2, size: 0 });
  t.ok(lstatSync(path("s")).isSymbolicLink() && !existsSync(path("x")));
  t.equal(
    asUser(mounted.directory, 0, `print(os.getxattr("a", "user.k").decode())`),
    "v",
    "an attribute",
  );
  asUser(
    mounted.directory,
    0,
    `import mmap\nm = mmap.mmap(-1, 65536); m.write(b"y" * 65536)\nos.write(os.open("direct", os.O_WRONLY | os.O_DIRECT), m)`,
  );
  await crash(mounted);
  t.equal(readFileSync(path("direct"), "latin1"), "y".repeat(65_536), "O_DIRECT");
  t.equal(remount(mounted, "async").code, 0);
  t.notOk(optionsAt(mounted.directory).includes("sync"));
  await mounted.umount();
  t.equal(mounted.fsck().code, 0);
});

t.test("dirsync: names outlive the daemon; so they do after remount,sync", { skip }, async (t) => {
  const mounted = new Mounted({ size: "256M", options: "dirsync" });
  t.teardown(() => mounted.close());
  mounted.create();
  await mounted.mount();
  mkdirSync(mounted.path("d"));
  writeFileSync(mounted.path("d/a"), "");
  renameSync(mounted.path("d/a"), mounted.path("d/b"));
  await crash(mounted);
  t.same(readdirSync(mounted.path("d")), ["b"]);
  rmSync(mounted.path("d"), { recursive: true });
  await crash(mounted);
  t.same(readdirSync(mounted.directory), []);
  t.equal(remount(mounted, "sync").code, 0);
  writeFileSync(mounted.path("f"), "text");
  chmodSync(mounted.path("f"), 0o604);
  await crash(mounted);
  t.equal(mode(statSync(mounted.path("f"))), 0o604);
  t.equal(readFileSync(mounted.path("f"), "utf8"), "text");
  await mounted.umount();
});

function appendTo(path: string, text: string): void {
  writeFileSync(path, text, { flag: "a" });
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2000; tries++) {
    if (condition()) return;
    await delay(5);
  }
  throw new Error("It did not come about");
}

/** Looks up names that are not there, each new to the kernel. stop() tells how many, and how many failed otherwise. */
function lookups(directory: string): { process: ChildProcess; stop: () => Promise<string> } {
  const program = `
    const { lstatSync } = require("node:fs");
    let count = 0, failed = 0;
    process.on("SIGTERM", () => { console.log(count + " " + failed); process.exit(); });
    const ask = () => {
      for (let round = 0; round < 50; round++) {
        try { lstatSync(process.argv[1] + "/none" + count++); failed++; }
        catch (error) { if (error.code !== "ENOENT") failed++; }
      }
      setImmediate(ask);
    };
    ask();
    console.log("started");`;
  const child = spawn(process.execPath, ["-e", program, directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  return {
    process: child,
    stop: async () => {
      child.kill("SIGTERM");
      await once(child, "close");
      return text;
    },
  };
}

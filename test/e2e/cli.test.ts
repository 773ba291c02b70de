/** The real command in processes of its own: usage, and the life of a pool from creation to check. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import t from "tap";
import { MAIN, mountImpossible, Sandbox } from "../support/cli.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const skip = mountImpossible();
const sandbox = new Sandbox();
t.teardown(() => sandbox.close());

t.test("help, usage errors and JSON", async (t) => {
  t.match(sandbox.run("--help"), { code: 0, out: /pool create/, err: "" });
  t.equal(sandbox.run().code, 2, "no command at all is a usage error");
  const mistyped = sandbox.run("staus");
  t.match(mistyped, {
    code: 2,
    out: "",
    err: /did you mean "status"\?\n {2}try: dynamicfs status --help\n$/,
  });
  t.notMatch(mistyped.err, /\n\s+at /, "no stack trace");
  const doctor = sandbox.run("doctor", "--json");
  t.ok(doctor.code === 0 || doctor.code === 1);
  const envelope = JSON.parse(doctor.out);
  t.match(envelope, { schema: "dynamicfs.doctor/1", time: String });
  t.equal(envelope.healthy, doctor.code === 0);
  t.ok(envelope.checks.length >= 6);
  t.equal(sandbox.run("mounts").code, 0);
  t.match(sandbox.run("umount", "/"), { code: 4, err: /try: umount \// });
  t.match(sandbox.run("mount", "nowhere.img", "."), { code: 4, err: /try: dynamicfs pool create/ });
  t.equal(
    sandbox.run("--version").out,
    `dynamicfs ${JSON.parse(sandbox.run("version", "--json").out).version}\n`,
  );
});

t.test("bash takes the completion script", async (t) => {
  const script = sandbox.run("completion", "bash").out;
  const ask = `${script}\nCOMP_WORDS=(dynamicfs mo); COMP_CWORD=1; _dynamicfs; echo "\${COMPREPLY[@]}"
COMP_WORDS=(dynamicfs pool ""); COMP_CWORD=2; _dynamicfs; echo "\${COMPREPLY[@]}"
COMP_WORDS=(dynamicfs status --exit); COMP_CWORD=2; _dynamicfs; echo "\${COMPREPLY[@]}"`;
  t.equal(sandbox.program("bash", ["-c", ask]).out, "mount mounts\ncreate\n--exit-code\n");
});

t.test("install-helper writes two scripts, and nothing over another's", async (t) => {
  const prefix = sandbox.path("root");
  t.equal(sandbox.run("install-helper", "--prefix", prefix, "-n").code, 0);
  t.equal(existsSync(prefix), false, "a dry run writes nothing");
  t.equal(sandbox.run("install-helper", "--prefix", prefix).code, 0);
  t.equal(sandbox.run("install-helper", "--prefix", prefix).code, 0, "again");
  t.equal(statSync(`${prefix}/sbin/mount.fuse.dynamicfs`).mode & 0o111, 0o111);
  const helper = `${prefix}/sbin/mount.dynamicfs`;
  t.match(
    sandbox.program(helper, []),
    { code: 1, err: /SOURCE DIRECTORY/ },
    "mount(8)'s exit code",
  );
  t.equal(sandbox.program(helper, ["/a", "/b", "-f"]).code, 0, "a fake mount does nothing");
  writeFileSync(helper, "somebody else's");
  t.equal(sandbox.run("install-helper", "--prefix", prefix).code, 6);
});

t.test("the life of a pool", { skip }, async (t) => {
  const mountPoint = sandbox.path("mnt");
  mkdirSync(mountPoint);
  t.match(sandbox.run("pool", "create", "tank", "a.img:256M", "-n"), { code: 0 });
  t.equal(existsSync(sandbox.path("a.img")), false, "a dry run makes nothing");
  t.match(sandbox.run("pool", "create", "tank", "a.img:256M"), { code: 0, err: /made pool tank/ });
  t.equal(statSync(sandbox.path("a.img")).mode & 0o777, 0o600);
  t.equal(statSync(sandbox.path("a.img")).size, 256 * 1024 * 1024);

  const again = sandbox.run("pool", "create", "other", "a.img");
  t.match(again, { code: 9, err: /dynamicfs/ }, "what holds a pool is not overwritten");
  t.equal(
    sandbox.run("pool", "create", "other", "a.img", "--force").code,
    9,
    "nor without its name",
  );
  t.equal(sandbox.run("pool", "create", "other", "a.img", "--force", "--yes").code, 9);
  t.equal(sandbox.run("pool", "create", "other", "a.img", "--force", "--confirm", "tank").code, 9);

  const unmounted = JSON.parse(sandbox.run("status", "a.img", "--json").out);
  t.match(unmounted, {
    schema: "dynamicfs.status/1",
    pools: [{ pool: "tank", state: "unmounted" }],
  });

  t.match(sandbox.run("mount", "a.img", "mnt"), { code: 0, err: "" });
  t.equal(sandbox.run("mount", "a.img", "mnt").code, 5, "already mounted there");
  mkdirSync(sandbox.path("mnt2"));
  t.equal(sandbox.run("mount", "a.img", "mnt2").code, 5, "the device is locked");
  t.equal(sandbox.run("fsck", "a.img").code, 5, "a mounted pool is not checked");
  writeFileSync(`${mountPoint}/hello`, "world\n");

  const status = JSON.parse(sandbox.run("status", "mnt", "--json").out);
  t.match(status, { schema: "dynamicfs.status/1", errors: [] });
  t.match(status.pools[0], {
    pool: "tank",
    state: "online",
    mount: { mountPoint, readOnly: false },
  });
  t.equal(sandbox.run("status", "tank", "--exit-code").code, 0, "by its name");
  t.equal(sandbox.run("status", "a.img").code, 0, "by its device");
  t.match(sandbox.run("status").out, /pool: tank/);
  t.match(
    sandbox.run("mounts", "-H").out,
    new RegExp(`^${mountPoint}\t.*\tonline\trw\t\\d+\t`, "m"),
  );

  const held = openSync(`${mountPoint}/hello`, "r");
  t.match(sandbox.run("umount", "mnt"), { code: 5, err: /in use/ }, "busy");
  const clone = (...words: string[]): number | null => sandbox.run("clone", ...words).code;
  writeFileSync(sandbox.path("mnt/original"), "x".repeat(100_000));
  t.equal(clone("mnt/original", "mnt/copy"), 0);
  t.equal(readFileSync(sandbox.path("mnt/copy"), "utf8"), "x".repeat(100_000));
  t.equal(clone("mnt/original", "mnt/copy"), 9, "it exists");
  t.equal(clone("--replace", "mnt/original", "mnt/copy"), 0);
  t.equal(clone("--replace", "mnt/original", "mnt/original"), 9);
  t.equal(clone("mnt/nothing", "mnt/other"), 4);
  t.equal(clone("mnt/original", "mnt/no/such"), 4);
  t.equal(clone("mnt/original", "elsewhere"), 1, "on another file system");
  t.equal(clone("mnt", "mnt/other"), 2);
  t.same(
    readdirSync(sandbox.path("mnt")).filter((name) => name.endsWith(".clone")),
    [],
  );
  closeSync(held);
  t.equal(sandbox.run("umount", "mnt").code, 0);
  t.equal(existsSync(`${mountPoint}/hello`), false);
  t.equal(sandbox.run("umount", "mnt").code, 4);

  t.match(sandbox.run("fsck", "a.img"), { code: 0, out: "clean\n" });
  t.equal(sandbox.run("mount", "a.img", "mnt", "-o", "ro").code, 0);
  t.equal(readFileSync(`${mountPoint}/hello`, "utf8"), "world\n", "the data is there again");
  t.throws(() => writeFileSync(`${mountPoint}/no`, ""), { code: "EROFS" });
  t.equal(sandbox.run("umount", "mnt").code, 0);
  t.equal(JSON.parse(sandbox.run("fsck", "a.img", "--json").out).clean, true);
  t.equal(sandbox.run("inspect", "a.img", "superblock").code, 0);
});

t.test("what cannot be mounted says why", { skip }, async (t) => {
  mkdirSync(sandbox.path("here"));
  writeFileSync(sandbox.path("blank.img"), "");
  truncateSync(sandbox.path("blank.img"), 64 * 1024 * 1024);
  t.match(sandbox.run("mount", "blank.img", "here"), { code: 4, err: /holds no DynamicFS volume/ });
  t.equal(sandbox.run("status", "blank.img").code, 4);
  t.equal(sandbox.run("mount", "blank.img", "nowhere").code, 4);
  t.equal(sandbox.run("mount", "blank.img", "here", "--memory", "1M").code, 2);
  writeFileSync(sandbox.path("notes.txt"), "x".repeat(1024 * 1024));
  t.match(sandbox.run("pool", "create", "p", "notes.txt"), { code: 9, err: /unknown kind/ });
});

t.test("however the mount goes away, the daemon ends cleanly", { skip }, async (t) => {
  mkdirSync(sandbox.path("end"));
  t.equal(sandbox.run("pool", "create", "endings", "end.img:256M").code, 0);

  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    const daemon = await foreground("end.img", "end");
    writeFileSync(sandbox.path(`end/${signal}`), signal);
    daemon.kill(signal);
    const [code] = await once(daemon, "exit");
    t.equal(code, 0, `${signal} unmounts`);
  }
  const outside = await foreground("end.img", "end");
  const command = process.geteuid?.() === 0 ? ["umount"] : ["fusermount3", "-u"];
  t.equal(sandbox.program(command[0]!, [...command.slice(1), sandbox.path("end")]).code, 0);
  t.same(await once(outside, "exit"), [0, null], "umount from outside");

  const killed = await foreground("end.img", "end");
  t.equal(readFileSync(sandbox.path("end/SIGHUP"), "utf8"), "SIGHUP");
  killed.kill("SIGKILL");
  await once(killed, "exit");
  t.match(sandbox.run("mounts", "-H").out, /\tstale\t/);
  t.equal(sandbox.run("status", "end").code, 8, "a stale mount point");
  t.equal(sandbox.run("mount", "a.img", "mnt").code, 0, "beside it");
  t.equal(sandbox.run("clone", "mnt/copy", "mnt/beside").code, 0, "nor is a clone told of it");
  t.equal(sandbox.run("umount", "mnt").code, 0);
  t.equal(sandbox.run("mount", "end.img", "end").code, 0, "is cleaned by the next mount");
  t.equal(readFileSync(sandbox.path("end/SIGTERM"), "utf8"), "SIGTERM");
  t.equal(sandbox.run("umount", "end").code, 0);
  t.equal(sandbox.run("fsck", "end.img").code, 0);
});

t.test("the helper mounts as mount(8) asks", { skip }, async (t) => {
  mkdirSync(sandbox.path("fstab"));
  t.equal(sandbox.run("pool", "create", "helped", "helped.img:256M").code, 0);
  const mountPoint = sandbox.path("fstab");
  t.equal(sandbox.run(sandbox.path("helped.img"), mountPoint, "-o", "rw,noatime,dev,suid").code, 0);
  t.equal(sandbox.run("umount", mountPoint).code, 0);
  t.match(sandbox.run(sandbox.path("gone.img"), mountPoint, "-o", "rw"), {
    code: 32,
    err: /gone.img/,
  });
});

/** `dynamicfs mount -f`, once it serves. */
async function foreground(image: string, directory: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [MAIN, "mount", "-f", image, directory], {
    cwd: sandbox.directory,
    env: sandbox.environment,
    stdio: ["ignore", "ignore", "pipe"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  let text = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("is mounted on")) resolve();
    });
    child.on("exit", () => reject(new Error(`it did not mount: ${text}`)));
  });
  return child;
}

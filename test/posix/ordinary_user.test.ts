/**
 * What an ordinary user gets, who mounts by fusermount3. He runs the cases of POSIX on a tmpfs first: what he cannot do
 * there needs root (other users, devices), and is left out; all else must hold on his own mount, too.
 */
import { fileURLToPath } from "node:url";
import t from "tap";
import { OrdinaryUser, ordinaryUserImpossible, USER } from "../support/ordinary_user.ts";
import { GROUPS } from "./groups.ts";

const CASES = fileURLToPath(new URL("./as_user.js", import.meta.url));
/** Fewer would mean that the tests, not the user, lack something. */
const CASES_MIN = 110;

t.setTimeout(900_000);

const impossible = ordinaryUserImpossible();
const made = impossible === false ? await OrdinaryUser.make() : impossible;
const skip = typeof made === "string" ? made : false;
const user = made as OrdinaryUser;
if (skip === false) t.teardown(() => user.close());

/** Waits for the end of the daemon that served a directory. */
function ended(pid: number): boolean {
  return /^ended$/m.test(
    user.shell(
      `for i in $(seq 500); do kill -0 ${pid} 2>/dev/null || { echo ended; break; }; sleep 0.02; done`,
    ),
  );
}

function mount(directory: string, options?: string): number {
  const words = options === undefined ? [] : ["-o", options];
  user.shell(`mkdir -p ${directory}`);
  const { code, out, err } = user.run("mount", "--json", "a.img", directory, ...words);
  if (code !== 0) throw new Error(`mount: ${err}`);
  return JSON.parse(out).pid as number;
}

t.test("POSIX", { skip, timeout: 800_000 }, async (t) => {
  t.match(user.run("pool", "create", "p", "a.img:1G"), { code: 0 });
  const pid = mount("mnt");
  const results = (kind: string, directory: string): Record<string, boolean> => {
    user.shell(`mkdir -p ${directory}`);
    const words = [CASES, user.path(directory), user.path(`${kind}.json`)];
    const child = user.program(process.execPath, words);
    const text = user.shell(`cat ${kind}.json`);
    if (!text.startsWith("{")) throw new Error(`${kind}: ${child.out.slice(-2000)}${child.err}`);
    const failures = child.out.split(/^# Subtest: /m).filter((part) => /^not ok/m.test(part));
    if (kind === "dynamicfs") for (const failure of failures) details.push(failure);
    return JSON.parse(text) as Record<string, boolean>;
  };
  const details: string[] = [];
  const onTmpfs = results("tmpfs", "tmpfs");
  const onMount = results("dynamicfs", "mnt/cases");
  let count = 0;
  for (const [group, cases] of Object.entries(GROUPS)) {
    for (const each of cases) {
      const name = `${group}: ${each.name}`;
      if (onTmpfs[name] === undefined || each.notOnTmpfs !== undefined) continue;
      if (!onTmpfs[name]) {
        t.pass(name, { skip: "an ordinary user cannot do it on tmpfs either" });
        continue;
      }
      count++;
      const detail = details.find((text) => text.startsWith(name)) ?? "";
      t.ok(onMount[name], name, onMount[name] ? {} : { detail });
    }
  }
  t.ok(count >= CASES_MIN, `${count} cases were run`);
  t.equal(user.shell("umount mnt"), "", "umount(8) lets the owner of a FUSE mount");
  t.ok(ended(pid));
  t.match(user.run("fsck", "a.img"), { code: 0, out: "clean\n" });
  t.equal(user.shell(`grep -c '"level":"error"' daemon.log`), "0 [1]");
});

t.test("however it is unmounted, the daemon ends with everything on disk", { skip }, async (t) => {
  t.match(user.run("pool", "create", "p", "a.img:1G", "--force", "--confirm", "p"), { code: 0 });
  const ways: [how: string, unmount: () => string][] = [
    ["fusermount3 -u", () => user.shell("fusermount3 -u mnt")],
    ["umount", () => user.shell("umount mnt")],
    ["dynamicfs umount", () => String(user.run("umount", "mnt").code || "")],
    ["root's umount", () => user.shell("umount mnt", 0)],
    ["fusermount3 -u -z", () => user.shell("fusermount3 -u -z mnt")],
  ];
  for (const [index, [how, unmount]] of ways.entries()) {
    const pid = mount("mnt");
    user.shell(
      `mkdir mnt/d${index}; head -c 3000000 /dev/urandom > mnt/d${index}/a; md5sum < mnt/d${index}/a > sum${index}`,
    );
    t.equal(unmount(), "", how);
    t.ok(ended(pid), `${how}: the daemon ends`);
    const check = JSON.parse(user.run("fsck", "a.img", "--json").out);
    t.match(check, { clean: true, needsRecovery: false }, `${how}: nothing is left to do`);
  }
  t.notMatch(user.shell("cat daemon.log"), /"event":"daemon-ended".*"error":\{/);
  const pid = mount("mnt", "ro");
  for (const index of ways.keys()) {
    t.equal(user.shell(`md5sum < mnt/d${index}/a | cmp - sum${index}`), "", `data ${index}`);
  }
  const busy = user.shell("cd mnt && fusermount3 -u ../mnt");
  t.match(busy, /busy/i, "in use");
  t.equal(user.shell("fusermount3 -u mnt"), "");
  t.ok(ended(pid));
});

t.test("options", { skip }, async (t) => {
  user.shell("rm -f a.img");
  t.match(user.run("pool", "create", "p", "a.img:256M"), { code: 0 });
  let pid = mount("mnt");
  const kernel = (): string => user.shell(`grep " ${user.path("mnt")} " /proc/self/mountinfo`);
  t.match(kernel(), / rw,nosuid,nodev,/, "fusermount3 gives no others their set-user-id programs");
  t.match(user.shell("ls mnt", USER + 1), /Permission denied/, "another user");
  t.match(user.shell("ls mnt", 0), /Permission denied/, "nor root");
  t.match(user.run("mount", "-o", "remount,ro", "mnt"), { code: 6, err: /only root/ });
  t.equal(user.shell("touch mnt/a && ls mnt"), "a");
  user.shell("umount mnt");
  t.ok(ended(pid));

  pid = mount("mnt", "uid=0,gid=0,umask=022,sync,auto_unmount");
  t.equal(user.shell("stat -c '%u %g %a' mnt/a"), "0 0 644");
  t.match(user.shell("echo x > mnt/a"), /Permission denied/, "root's, as it is shown");
  t.match(kernel(), /,sync/);
  user.shell(`kill -9 ${pid}`);
  t.ok(ended(pid));
  for (let tries = 0; tries < 100 && kernel() !== " [1]" && kernel() !== "[1]"; tries++) {
    user.shell("sleep 0.05");
  }
  t.equal(kernel().trim(), "[1]", "auto_unmount, by fusermount3");
  t.equal(user.shell("ls mnt"), "");

  const others = user.shell("test -e /etc/fuse.conf") === "";
  if (!others) {
    t.pass("allow_other", { skip: "no /etc/fuse.conf, which would allow allow_other" });
    return;
  }
  pid = mount("mnt", "allow_other,ro");
  t.equal(user.shell("ls mnt", USER + 1), "a");
  t.match(user.shell("touch mnt/b"), /Read-only/);
  user.environment["DYNAMICFS_RUNTIME_DIR"] = user.path("run");
  const root = user.program(
    process.execPath,
    [...dynamicfs(), "mount", "-o", "remount,rw", "mnt"],
    0,
  );
  t.equal(root.code, 0, root.err);
  t.equal(user.shell("touch mnt/b && ls mnt"), "a\nb", "root may remount what a user has mounted");
  t.match(kernel(), / rw,nosuid,nodev,/);
  user.shell("umount mnt");
  t.ok(ended(pid));
  t.match(user.run("fsck", "a.img"), { code: 0 });
});

function dynamicfs(): string[] {
  return [fileURLToPath(new URL("../../host/main.js", import.meta.url))];
}

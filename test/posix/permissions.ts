/** What somebody without rights may do. */

import { asUser, mode, type PosixCase, touch } from "../support/posix_case.ts";
import { chmodSync, chownSync, lstatSync, mkdirSync, statSync } from "../support/posix_fs.ts";

const USER = 54321;

export const permissions: PosixCase[] = [
  {
    name: "new objects belong to who made them",
    run(dir, t) {
      chmodSync(dir, 0o777);
      asUser(dir, USER, `open("a", "w"); os.mkdir("d"); os.symlink("x", "s"); os.mkfifo("p")`);
      for (const name of ["a", "d", "s", "p"]) {
        t.match(lstatSync(`${dir}/${name}`), { uid: USER, gid: USER });
      }
    },
  },
  {
    name: "files are read, written and run by whom their mode says",
    run(dir, t) {
      chmodSync(dir, 0o755);
      for (const [name, bits] of Object.entries({ none: 0o700, read: 0o704, write: 0o702 })) {
        touch(`${dir}/${name}`, "x");
        chmodSync(`${dir}/${name}`, bits);
      }
      const shown = asUser(
        dir,
        USER,
        `for n in "none", "read", "write": print(attempt(os.open, n, os.O_RDONLY), attempt(os.open, n, os.O_WRONLY))`,
      );
      t.equal(shown, "EACCES EACCES\nok EACCES\nEACCES ok");
    },
  },
  {
    name: "owner, group and others each have their bits",
    run(dir, t) {
      chmodSync(dir, 0o755);
      touch(`${dir}/a`, "x");
      chownSync(`${dir}/a`, USER, 777);
      chmodSync(`${dir}/a`, 0o240);
      const program = `print(attempt(os.open, "a", os.O_RDONLY), attempt(os.open, "a", os.O_WRONLY))`;
      t.equal(asUser(dir, USER, program), "EACCES ok", "the owner");
      t.equal(asUser(dir, USER + 1, program, [777]), "ok EACCES", "a member of the group");
      t.equal(asUser(dir, USER + 1, program), "EACCES EACCES", "another");
    },
  },
  {
    name: "a directory without x is not entered, without r not listed, without w not changed",
    run(dir, t) {
      chmodSync(dir, 0o755);
      for (const [name, bits] of Object.entries({ r: 0o754, x: 0o751, rx: 0o755, wx: 0o753 })) {
        mkdirSync(`${dir}/${name}`);
        touch(`${dir}/${name}/a`, "x");
        chmodSync(`${dir}/${name}`, bits);
      }
      const shown = asUser(
        dir,
        USER,
        `for n in "r", "x", "rx", "wx":
    print(attempt(os.listdir, n), attempt(os.stat, n + "/a"), attempt(os.open, n + "/b", os.O_CREAT | os.O_WRONLY), attempt(os.unlink, n + "/a"))`,
      );
      t.equal(
        shown,
        "ok EACCES EACCES EACCES\nEACCES ok EACCES EACCES\nok ok EACCES EACCES\nEACCES ok ok ok",
      );
    },
  },
  {
    name: "only the owner changes modes, owners and times",
    run(dir, t) {
      chmodSync(dir, 0o755);
      touch(`${dir}/a`);
      chmodSync(`${dir}/a`, 0o666);
      touch(`${dir}/mine`);
      chownSync(`${dir}/mine`, USER, USER);
      const shown = asUser(
        dir,
        USER,
        `for n in "a", "mine":
    print(attempt(os.chmod, n, 0o600), attempt(os.chown, n, -1, ${USER}), attempt(os.chown, n, 1, 1), attempt(os.utime, n, (1, 1)), attempt(os.utime, n))`,
      );
      t.equal(shown, "EPERM EPERM EPERM EPERM ok\nok ok EPERM ok ok");
    },
  },
  {
    name: "in a sticky directory only owners remove and rename",
    run(dir, t) {
      chmodSync(dir, 0o1777);
      touch(`${dir}/theirs`);
      touch(`${dir}/mine`);
      chownSync(`${dir}/mine`, USER, USER);
      const shown = asUser(
        dir,
        USER,
        `print(attempt(os.unlink, "theirs"), attempt(os.rename, "theirs", "x"), attempt(os.rename, "mine", "theirs"), attempt(os.unlink, "mine"))`,
      );
      t.equal(shown, "EPERM EPERM EPERM ok");
    },
  },
  {
    name: "a set-group-id directory hands its group down, and the bit to directories",
    run(dir, t) {
      mkdirSync(`${dir}/g`);
      chownSync(`${dir}/g`, USER, 4242);
      chmodSync(`${dir}/g`, 0o2777);
      asUser(dir, USER, `open("g/a", "w"); os.mkdir("g/d"); os.symlink("x", "g/s")`);
      t.equal(statSync(`${dir}/g/a`).gid, 4242);
      t.equal(statSync(`${dir}/g/d`).gid, 4242);
      t.equal(lstatSync(`${dir}/g/s`).gid, 4242);
      t.equal(mode(statSync(`${dir}/g/d`)) & 0o2000, 0o2000);
      t.equal(mode(statSync(`${dir}/g/a`)) & 0o2000, 0);
    },
  },
  {
    name: "chmod of one who is not in the group drops set-group-id",
    run(dir, t) {
      chmodSync(dir, 0o755);
      touch(`${dir}/a`);
      chownSync(`${dir}/a`, USER, 4242);
      asUser(dir, USER, `os.chmod("a", 0o2755)`);
      t.equal(mode(statSync(`${dir}/a`)), 0o755);
    },
  },
  {
    name: "access() answers for the real user",
    run(dir, t) {
      chmodSync(dir, 0o755);
      touch(`${dir}/a`);
      chmodSync(`${dir}/a`, 0o744);
      const shown = asUser(
        dir,
        USER,
        `print(os.access("a", os.R_OK), os.access("a", os.W_OK), os.access("a", os.X_OK), os.access("no", os.F_OK))`,
      );
      t.equal(shown, "True False False False");
    },
  },
  {
    name: "an ACL lets one user in",
    needs: ["setfacl"],
    run(dir, t) {
      chmodSync(dir, 0o755);
      touch(`${dir}/a`, "x");
      chmodSync(`${dir}/a`, 0o600);
      const program = `print(attempt(os.open, "a", os.O_RDONLY), attempt(os.open, "a", os.O_WRONLY))`;
      t.equal(asUser(dir, USER, program), "EACCES EACCES");
      asRoot(dir, `subprocess.run(["setfacl", "-m", "u:${USER}:r", "a"], check=True)`);
      t.equal(asUser(dir, USER, program), "ok EACCES");
      t.equal(asUser(dir, USER + 1, program), "EACCES EACCES");
    },
  },
  {
    name: "trusted attributes are not for others, user ones go by the mode",
    run(dir, t) {
      chmodSync(dir, 0o755);
      touch(`${dir}/a`);
      chmodSync(`${dir}/a`, 0o644);
      asRoot(dir, `os.setxattr("a", "trusted.t", b"1"); os.setxattr("a", "user.u", b"2")`);
      const shown = asUser(
        dir,
        USER,
        `print(os.listxattr("a"), attempt(os.getxattr, "a", "trusted.t"), attempt(os.getxattr, "a", "user.u"), attempt(os.setxattr, "a", "user.u", b"3"))`,
      );
      t.equal(shown, "['user.u'] ENODATA ok EACCES");
    },
  },
];

function asRoot(dir: string, program: string): void {
  asUser(dir, 0, `import subprocess\n${program}`);
}

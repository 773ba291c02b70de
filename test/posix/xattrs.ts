/** Extended attributes. */

import {
  getxattr,
  listxattr,
  type PosixCase,
  pattern,
  python,
  removeXattr,
  setxattr,
  touch,
  XATTR_CREATE,
  XATTR_REPLACE,
  xattrLength,
} from "../support/posix_case.ts";
import { linkSync, mkdirSync, renameSync, statSync, symlinkSync } from "../support/posix_fs.ts";

const ENODATA = -61;
const EEXIST = -17;
const ERANGE = -34;
const EPERM = -1;
const EOPNOTSUPP = -95;

export const xattrs: PosixCase[] = [
  {
    name: "set, get, list, remove",
    run(dir, t) {
      touch(`${dir}/a`);
      t.same(listxattr(`${dir}/a`), []);
      t.equal(setxattr(`${dir}/a`, "user.one", Buffer.from("1")), 0);
      t.equal(setxattr(`${dir}/a`, "user.two", Buffer.from("zwei")), 0);
      t.equal(String(getxattr(`${dir}/a`, "user.one")), "1");
      t.same(listxattr(`${dir}/a`), ["user.one", "user.two"]);
      t.equal(removeXattr(`${dir}/a`, "user.one"), 0);
      t.same(listxattr(`${dir}/a`), ["user.two"]);
      t.equal(getxattr(`${dir}/a`, "user.one"), ENODATA);
      t.equal(removeXattr(`${dir}/a`, "user.one"), ENODATA);
    },
  },
  {
    name: "an empty value is not the same as none",
    run(dir, t) {
      touch(`${dir}/a`);
      setxattr(`${dir}/a`, "user.empty", Buffer.alloc(0));
      t.equal(xattrLength(`${dir}/a`, "user.empty"), 0);
      t.same(listxattr(`${dir}/a`), ["user.empty"]);
    },
  },
  {
    name: "XATTR_CREATE and XATTR_REPLACE",
    run(dir, t) {
      touch(`${dir}/a`);
      t.equal(setxattr(`${dir}/a`, "user.x", Buffer.from("1"), XATTR_REPLACE), ENODATA);
      t.equal(setxattr(`${dir}/a`, "user.x", Buffer.from("1"), XATTR_CREATE), 0);
      t.equal(setxattr(`${dir}/a`, "user.x", Buffer.from("2"), XATTR_CREATE), EEXIST);
      t.equal(setxattr(`${dir}/a`, "user.x", Buffer.from("3"), XATTR_REPLACE), 0);
      t.equal(String(getxattr(`${dir}/a`, "user.x")), "3");
    },
  },
  {
    name: "sizes are told, and what does not fit is ERANGE",
    run(dir, t) {
      touch(`${dir}/a`);
      setxattr(`${dir}/a`, "user.x", Buffer.alloc(100, 1));
      t.equal(xattrLength(`${dir}/a`, "user.x"), 100);
      t.equal(getxattr(`${dir}/a`, "user.x", 99), ERANGE);
      t.equal((getxattr(`${dir}/a`, "user.x", 100) as Buffer).length, 100);
    },
  },
  {
    name: "values of every size up to 64 KiB",
    run(dir, t) {
      touch(`${dir}/a`);
      for (const size of [1, 100, 1000, 2000, 4000, 4097, 9000, 16_384, 40_000, 65_536]) {
        t.equal(setxattr(`${dir}/a`, "user.x", pattern(size, size)), 0, `${size} bytes`);
        t.ok(pattern(size, size).equals(getxattr(`${dir}/a`, "user.x") as Buffer));
      }
      t.equal(setxattr(`${dir}/a`, "user.x", Buffer.from("small again")), 0);
      t.equal(String(getxattr(`${dir}/a`, "user.x")), "small again");
      t.equal(setxattr(`${dir}/a`, "user.y", Buffer.alloc(65_537)), -7, "E2BIG");
    },
  },
  {
    name: "200 attributes on one file, and a name of 255 bytes",
    run(dir, t) {
      touch(`${dir}/a`);
      const all: string[] = [];
      for (let index = 0; index < 200; index++) {
        all.push(`user.attribute-${index}`);
        t.equal(setxattr(`${dir}/a`, all.at(-1)!, pattern(50, index)), 0);
      }
      const long = `user.${"n".repeat(250)}`;
      t.equal(setxattr(`${dir}/a`, long, Buffer.from("x")), 0);
      t.same(listxattr(`${dir}/a`), [...all, long].sort());
      t.ok(pattern(50, 77).equals(getxattr(`${dir}/a`, "user.attribute-77") as Buffer));
    },
  },
  {
    name: "on directories; through links; across rename",
    run(dir, t) {
      mkdirSync(`${dir}/d`);
      touch(`${dir}/a`);
      linkSync(`${dir}/a`, `${dir}/b`);
      setxattr(`${dir}/d`, "user.x", Buffer.from("dir"));
      setxattr(`${dir}/a`, "user.x", Buffer.from("file"));
      renameSync(`${dir}/d`, `${dir}/e`);
      t.equal(String(getxattr(`${dir}/e`, "user.x")), "dir");
      t.equal(String(getxattr(`${dir}/b`, "user.x")), "file");
    },
  },
  {
    name: "user attributes are for files and directories only, trusted ones for all",
    run(dir, t) {
      symlinkSync("x", `${dir}/s`);
      t.equal(setxattr(`${dir}/s`, "user.x", Buffer.from("1")), EPERM);
      t.equal(setxattr(`${dir}/s`, "trusted.x", Buffer.from("1")), 0);
      t.equal(String(getxattr(`${dir}/s`, "trusted.x")), "1");
    },
  },
  {
    name: "an unknown namespace is EOPNOTSUPP",
    run(dir, t) {
      touch(`${dir}/a`);
      t.equal(setxattr(`${dir}/a`, "nonsense.x", Buffer.from("1")), EOPNOTSUPP);
    },
  },
  {
    name: "setting one changes ctime",
    async run(dir, t) {
      touch(`${dir}/a`);
      const before = statSync(`${dir}/a`, { bigint: true });
      await new Promise((resolve) => setTimeout(resolve, 20));
      setxattr(`${dir}/a`, "user.x", Buffer.from("1"));
      const after = statSync(`${dir}/a`, { bigint: true });
      t.ok(after.ctimeNs > before.ctimeNs);
      t.equal(after.mtimeNs, before.mtimeNs);
    },
  },
  {
    name: "setfattr, getfattr, setfacl and getfacl agree",
    needs: ["setfacl", "getfacl", "setfattr", "getfattr"],
    run(dir, t) {
      const shown = python(
        dir,
        `
import subprocess
run = lambda *a: subprocess.run(a, capture_output=True, text=True, check=True).stdout
open("a", "w"); os.chmod("a", 0o640)
run("setfattr", "-n", "user.k", "-v", "value", "a")
print(run("getfattr", "--only-values", "-n", "user.k", "a"))
run("setfacl", "-m", "u:1234:rwx,g:55:r", "a")
print([l for l in run("getfacl", "-nc", "a").split("\\n") if l])
print(oct(os.stat("a").st_mode & 0o777))`,
      );
      t.equal(
        shown,
        "value\n['user::rw-', 'user:1234:rwx', 'group::r--', 'group:55:r--', 'mask::rwx', 'other::---']\n0o670",
      );
    },
  },
  {
    name: "a default ACL is inherited",
    needs: ["setfacl", "getfacl"],
    run(dir, t) {
      const shown = python(
        dir,
        `
import subprocess
run = lambda *a: subprocess.run(a, capture_output=True, text=True, check=True).stdout
os.mkdir("d"); run("setfacl", "-d", "-m", "u:1234:rwx", "d")
open("d/a", "w"); os.mkdir("d/e")
print("user:1234:rwx" in run("getfacl", "-nc", "d/a"), "default:user:1234:rwx" in run("getfacl", "-nc", "d/e"))
print([l for l in run("getfacl", "-nc", "d/a").split("\\n") if l][-2:])`,
      );
      t.equal(shown, "True True\n['mask::rw-', 'other::r--']");
    },
  },
  {
    name: "chmod changes the mask of an ACL, and setting an ACL the mode",
    needs: ["setfacl", "getfacl"],
    run(dir, t) {
      const shown = python(
        dir,
        `
import subprocess
run = lambda *a: subprocess.run(a, capture_output=True, text=True, check=True).stdout
acl = lambda: " ".join(l for l in run("getfacl", "-ncE", "a").split("\\n") if l)
open("a", "w"); os.chmod("a", 0o640)
run("setfacl", "-m", "u:1234:rwx", "a")
os.chmod("a", 0o604); print(acl(), oct(os.stat("a").st_mode & 0o777))
run("setfacl", "-m", "m::r", "a"); print(acl(), oct(os.stat("a").st_mode & 0o777))
run("setfacl", "-b", "a"); print(acl(), oct(os.stat("a").st_mode & 0o777), os.listxattr("a"))`,
      );
      t.equal(
        shown,
        "user::rw- user:1234:rwx group::r-- mask::--- other::r-- 0o604\n" +
          "user::rw- user:1234:rwx group::r-- mask::r-- other::r-- 0o644\n" +
          "user::rw- group::r-- other::r-- 0o644 []",
      );
    },
  },
  {
    name: "an ACL that says what the mode does is not kept",
    run(dir, t) {
      const shown = python(
        dir,
        `
import struct
def acl(*entries): return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)
open("a", "w")
os.setxattr("a", "system.posix_acl_access", acl((1, 6, 2**32 - 1), (4, 4, 2**32 - 1), (32, 0, 2**32 - 1)))
print(oct(os.stat("a").st_mode & 0o777), os.listxattr("a"))`,
      );
      t.equal(shown, "0o640 []");
    },
  },
  {
    name: "an invalid ACL is refused: EINVAL; a default one belongs to directories: EACCES",
    run(dir, t) {
      const shown = python(
        dir,
        `
import struct
def acl(*entries, version=2): return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *e) for e in entries)
def attempt(name, value):
    try: os.setxattr("a", "system.posix_acl_" + name, value); return "ok"
    except OSError as e: return errno.errorcode[e.errno]
none = 2**32 - 1
open("a", "w")
base = [(1, 6, none), (4, 4, none), (32, 4, none)]
print(attempt("access", acl(*base[:2])), attempt("access", acl(*base, version=1)) in ("EINVAL", "ENOTSUP"),
      attempt("access", acl((1, 6, none), (2, 7, 1000), (4, 4, none), (32, 4, none))),
      attempt("access", acl(*base[::-1])), attempt("access", b"x"), attempt("default", acl(*base)))
print(os.listxattr("a"))`,
      );
      t.equal(shown, "EINVAL True EINVAL EINVAL EINVAL EACCES\n[]");
    },
  },
  {
    name: "a default ACL takes the place of the umask, and is handed on to directories",
    needs: ["setfacl"],
    run(dir, t) {
      const shown = python(
        dir,
        `
import subprocess
run = lambda *a: subprocess.run(a, capture_output=True, text=True, check=True).stdout
mode = lambda p: oct(os.stat(p).st_mode & 0o7777)
os.umask(0o077)
os.mkdir("plain"); open("plain/a", "w"); os.mkdir("plain/d"); os.mkfifo("plain/f")
print(*(mode("plain/" + n) for n in "adf"))
os.mkdir("d"); run("setfacl", "-d", "-m", "u::rwx,g::rx,o::rx", "d")
open("d/a", "w"); os.mkdir("d/e"); os.mkdir("d/e/f"); os.mkfifo("d/p"); os.symlink("a", "d/l")
fd = os.open("d", os.O_TMPFILE | os.O_RDWR, 0o666)
print(*(mode("d/" + n) for n in ("a", "e", "e/f", "p")), oct(os.fstat(fd).st_mode & 0o777))
print(os.listxattr("d/a"), os.listxattr("d/e/f"), os.listxattr("d/l", follow_symlinks=False))`,
      );
      t.equal(
        shown,
        "0o600 0o700 0o600\n0o644 0o755 0o755 0o644 0o644\n[] ['system.posix_acl_default'] []",
      );
    },
  },
  {
    name: "cp -a keeps ACLs",
    needs: ["setfacl", "getfacl"],
    run(dir, t) {
      const shown = python(
        dir,
        `
import subprocess
run = lambda *a: subprocess.run(a, capture_output=True, text=True, check=True).stdout
os.mkdir("d"); open("d/a", "w")
run("setfacl", "-m", "u:1234:rw,g:77:---", "d/a"); run("setfacl", "-d", "-m", "g:88:rwx", "d")
run("cp", "-a", "d", "e")
print(run("getfacl", "-nR", "d").replace("d", "e") == run("getfacl", "-nR", "e").replace("d", "e"), os.listxattr("e"), os.listxattr("e/a"))`,
      );
      t.equal(shown, "True ['system.posix_acl_default'] ['system.posix_acl_access']");
    },
  },
];

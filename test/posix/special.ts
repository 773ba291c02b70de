/** FIFOs, sockets, devices. */

import { code, mknod, type PosixCase, python, text } from "../support/posix_case.ts";
import { chmodSync, lstatSync, readdirSync, renameSync, unlinkSync } from "../support/posix_fs.ts";

export const special: PosixCase[] = [
  {
    name: "a FIFO carries bytes between processes",
    run(dir, t) {
      const shown = python(
        dir,
        `
os.mkfifo("p")
if os.fork() == 0: open("p", "w").write("through the pipe"); os._exit(0)
print(open("p").read(), stat.S_ISFIFO(os.stat("p").st_mode)); os.wait()`,
      );
      t.equal(shown, "through the pipe True");
    },
  },
  {
    name: "a socket is bound, connected to, and unlinked",
    run(dir, t) {
      const shown = python(
        dir,
        `
import socket
server = socket.socket(socket.AF_UNIX); server.bind("s"); server.listen()
client = socket.socket(socket.AF_UNIX); client.connect("s"); client.send(b"hi")
print(server.accept()[0].recv(9), stat.S_ISSOCK(os.stat("s").st_mode)); os.unlink("s")
try: socket.socket(socket.AF_UNIX).connect("s")
except FileNotFoundError: print("gone")`,
      );
      t.equal(shown, "b'hi' True\ngone");
    },
  },
  {
    name: "devices keep their numbers, large ones too",
    run(dir, t) {
      const shown = python(
        dir,
        `
for i, (kind, major, minor) in enumerate([(stat.S_IFCHR, 1, 3), (stat.S_IFBLK, 7, 300), (stat.S_IFCHR, 4095, 1048575)]):
    os.mknod("d%d" % i, kind | 0o600, os.makedev(major, minor))
    s = os.lstat("d%d" % i); print(stat.S_IFMT(s.st_mode) == kind, os.major(s.st_rdev), os.minor(s.st_rdev), s.st_size)`,
      );
      t.equal(shown, "True 1 3 0\nTrue 7 300 0\nTrue 4095 1048575 0");
    },
  },
  {
    name: "the device is what opens",
    run(dir, t) {
      t.equal(mknod(`${dir}/null`, 0o020666, (1 << 8) | 3), 0);
      t.equal(text(`${dir}/null`), "");
    },
  },
  {
    name: "mknod() of a regular file, and of what exists",
    run(dir, t) {
      t.equal(mknod(`${dir}/a`, 0o100640, 0), 0);
      t.ok(lstatSync(`${dir}/a`).isFile());
      t.equal(mknod(`${dir}/a`, 0o010600, 0), -17);
    },
  },
  {
    name: "they are renamed, changed and removed like files",
    run(dir, t) {
      mknod(`${dir}/p`, 0o010600, 0);
      renameSync(`${dir}/p`, `${dir}/q`);
      chmodSync(`${dir}/q`, 0o666);
      t.equal(lstatSync(`${dir}/q`).mode, 0o010666);
      unlinkSync(`${dir}/q`);
      t.same(readdirSync(dir), []);
      t.equal(
        code(() => unlinkSync(`${dir}/q`)),
        "ENOENT",
      );
    },
  },
];

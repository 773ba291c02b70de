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
  {
    name: "a file handle opens its file by inode, and is stale when that is gone (NFS)",
    run(dir, t) {
      const shown = python(
        dir,
        `import ctypes
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure): _fields_ = [("n", ctypes.c_uint), ("kind", ctypes.c_int), ("bytes", ctypes.c_ubyte * 128)]
def handle(path):
    made = Handle(); made.n = 128; mount = ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), ctypes.byref(made), ctypes.byref(mount), 0) < 0: raise OSError(ctypes.get_errno(), path)
    return made
def opened(made):
    fd = libc.open_by_handle_at(root, ctypes.byref(made), os.O_RDONLY)
    if fd < 0: raise OSError(ctypes.get_errno(), "open_by_handle_at")
    return fd
root = os.open(".", os.O_RDONLY)
os.makedirs("d/e"); open("d/e/f", "w").write("content"); open("gone", "w").write("x")
file, folder, gone = handle("d/e/f"), handle("d/e"), handle("gone")
os.rename("d/e", "d/moved"); os.unlink("gone")
try: open("/proc/sys/vm/drop_caches", "w").write("2")
except OSError: pass
print(os.read(opened(file), 100).decode(), os.listdir(opened(folder)), os.fstat(opened(file)).st_ino == os.stat("d/moved/f").st_ino)
try: opened(gone); print("opened")
except OSError as error: print(error.errno)`,
      );
      t.equal(shown.trim(), "content ['f'] True\n116");
    },
  },
  {
    name: "inotify tells what happens to a directory's names and files",
    run(dir, t) {
      const shown = python(
        dir,
        `import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
watch = libc.inotify_init1(os.O_NONBLOCK)
libc.inotify_add_watch(watch, b".", 0xfff & ~0x30)
with open("a", "w") as f: f.write("x")
os.rename("a", "b"); os.mkdir("d"); os.unlink("b"); os.rmdir("d")
data = os.read(watch, 65536); seen = []
while data:
    _, mask, _, length = struct.unpack("iIII", data[:16])
    name = data[16:16 + length].rstrip(b"\\0").decode(); data = data[16 + length:]
    seen.append("%s:%x" % (name, mask & 0xfff))
print(" ".join(seen))`,
      );
      t.equal(shown.trim(), "a:100 a:2 a:8 a:40 b:80 d:100 b:200 d:200");
    },
  },
];

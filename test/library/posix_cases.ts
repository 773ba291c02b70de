/** The cases of test/posix over the library, for any runner: with the names of those that are no cases for it. */
import type { Test } from "tap";
import { GROUPS } from "../posix/groups.ts";
import { startLibrary } from "../support/library_thread.ts";
import { mkdirSync, NotInLibrary, rmSync } from "../support/posix_fs.ts";

const DIRECTORY = "/library";

/** Why a case is no case for the library: by reason, the cases as "group: name". */
const NOT_HERE: Readonly<Record<string, readonly string[]>> = {
  "needs another process": [
    "names: any byte but / and NUL may be in a name",
    "names: a tree is deeper than PATH_MAX when walked step by step",
    "links: a thousand open unlinked files at once",
    "rename: replacing is atomic: a reader finds the old or the new",
    "attributes: chown of −1 leaves as it is",
    "attributes: atime follows a read of what is not cached (relatime)",
    "attributes: blocks count what is stored, not what is empty",
    "attributes: writing takes set-user-id and set-group-id away from a file of another",
    "attributes: chown by its owner takes set-user-id away",
    "attributes: chown takes set-user-id away from what is no file either, but not from directories",
    "directories: what stays is listed once while others come and go",
    "directories: several processes create in one directory, none is lost",
    "directories: of many that create one name, one succeeds",
    "data: appends of several processes do not run into each other",
    "data: several processes write their own parts of one file",
    "data: a shared map writes the file, and sees what others write",
    "data: what a map wrote is there after it is gone, and mtime has moved",
    "data: a private map does not write the file",
    "data: two processes share a map",
    "data: a map past the new end of a truncated file is SIGBUS, the last page zeros",
    "data: a program runs from a file",
    "data: a running program is not written to: ETXTBSY",
    "data: O_DIRECT reads what is buffered, and is read by others",
    "data: O_SYNC and O_DSYNC",
    "data: fcntl() locks byte ranges between processes",
    "data: sendfile() from and to a file",
    "xattrs: setfattr, getfattr, setfacl and getfacl agree",
    "xattrs: a default ACL is inherited",
    "xattrs: chmod changes the mask of an ACL, and setting an ACL the mode",
    "xattrs: an ACL that says what the mode does is not kept",
    "xattrs: an invalid ACL is refused: EINVAL; a default one belongs to directories: EACCES",
    "xattrs: a default ACL takes the place of the umask, and is handed on to directories",
    "xattrs: cp -a keeps ACLs",
    "special: a file handle opens its file by inode, and is stale when that is gone (NFS)",
    "special: inotify tells what happens to a directory's names and files",
    "special: a FIFO carries bytes between processes",
    "special: a socket is bound, connected to, and unlinked",
    "special: devices keep their numbers, large ones too",
    "permissions: new objects belong to who made them",
    "permissions: files are read, written and run by whom their mode says",
    "permissions: owner, group and others each have their bits",
    "permissions: a directory without x is not entered, without r not listed, without w not changed",
    "permissions: only the owner changes modes, owners and times",
    "permissions: in a sticky directory only owners remove and rename",
    "permissions: a set-group-id directory hands its group down, and the bit to directories",
    "permissions: chmod of one who is not in the group drops set-group-id",
    "permissions: access() answers for the real user",
    "permissions: an ACL lets one user in",
    "permissions: trusted attributes are not for others, user ones go by the mode",
  ],
  "asks by /proc/self/fd": [
    "names: a directory that is open goes on being usable when it is removed",
  ],
  "O_TMPFILE is not among the flags": [
    "links: O_TMPFILE makes a file without a name, which link() can give",
    "links: O_TMPFILE with O_EXCL is never linked",
  ],
  "renameat2() is not in Node": [
    "rename: RENAME_NOREPLACE",
    "rename: RENAME_EXCHANGE of files, and of a file and a directory",
    "rename: RENAME_WHITEOUT leaves a 0/0 character device",
    "rename: flags that contradict each other are EINVAL",
  ],
  "times are seconds with a fraction, not nanoseconds": [
    "attributes: times keep nanoseconds",
    "attributes: times in 1960, 2100 and 2400",
    "attributes: one time is set, the other kept (UTIME_OMIT), or now",
    "attributes: utimes changes ctime to now",
    "attributes: mtime set while a file is dirty stays set",
  ],
  "mknod() is not in Node": [
    "directories: a listing begins with . and .. and tells types and inodes",
    "special: the device is what opens",
    "special: mknod() of a regular file, and of what exists",
    "special: they are renamed, changed and removed like files",
  ],
  "getdents64(): a position in a listing is not told": [
    "directories: a listing in small pieces is the whole listing, each name once",
    "directories: a position is found again (telldir, seekdir)",
    "directories: a position stays valid when its entry and others before it are removed",
    "directories: rewinding sees what came and went",
    "directories: deleting while listing: every name is given once",
  ],
  "lseek() is not in Node": [
    "space: SEEK_DATA and SEEK_HOLE find what is there",
    "space: SEEK_DATA sees what is not yet written back",
    "space: SEEK_HOLE of a full file is its end",
    "space: an offset just below 8 PiB",
  ],
  "fallocate() is not in Node": [
    "space: fallocate() grows a file with zeros, or keeps its size",
    "space: punching a hole leaves zeros, the size, and the rest",
    "space: a punched hole gives its blocks back",
    "space: PUNCH_HOLE without KEEP_SIZE, and lengths of 0, are refused",
    "space: ZERO_RANGE",
    "space: space that was allocated can be written and read, in any order",
    "space: allocated space is a hole to SEEK_DATA, and given back by truncation",
    "space: a hole in a small file is there when the file is read again",
    "space: COLLAPSE_RANGE and INSERT_RANGE move what follows",
  ],
  "copy_file_range() is not in Node": [
    "data: copy_file_range()",
    "data: copy_file_range() of whole files shares blocks until they are written",
  ],
  "ioctl() is not in Node": [
    "data: an unknown ioctl is ENOTTY",
    "flags: flags are kept, and inherited where they are",
    "flags: an immutable file cannot be changed in any way, until it is not any more",
    "flags: what was written before a file became immutable is there",
    "flags: an append-only file takes what is appended, and nothing else",
    "flags: directories: immutable ones keep their names, append-only ones get more",
    "flags: flags that would promise what is not done are refused",
    "flags: project ids, inherited, and a border for rename and link",
  ],
  "syncfs() of a descriptor is not in Node": [
    "data: fsync, fdatasync, syncfs, on files and after unlink",
  ],
  "flock() is not in Node": ["data: flock() keeps others out"],
  "the caller gives no buffer of a size": [
    "xattrs: sizes are told, and what does not fit is ERANGE",
  ],
};

/** How a runner is told. */
export interface Runner {
  skip(name: string, why: string): void;
  run(name: string, work: (t: Test) => Promise<void>): Promise<void>;
}

export async function runPosixCases(runner: Runner): Promise<void> {
  const library = await startLibrary(DIRECTORY);
  const reasons = new Map<string, string>();
  for (const [why, names] of Object.entries(NOT_HERE)) {
    for (const name of names) reasons.set(name, why);
  }
  let number = 0;
  try {
    for (const [group, cases] of Object.entries(GROUPS)) {
      for (const each of cases) {
        const name = `${group}: ${each.name}`;
        const why = reasons.get(name);
        reasons.delete(name);
        if (why !== undefined) {
          runner.skip(name, why);
          continue;
        }
        await runner.run(name, async (t) => {
          const dir = `${DIRECTORY}/${group}${number++}`;
          mkdirSync(dir);
          try {
            await each.run(dir, t);
          } catch (error) {
            if (error instanceof NotInLibrary)
              throw new Error(`Not in the library: ${error.message}`);
            throw error;
          } finally {
            rmSync(dir, { recursive: true, force: true });
          }
        });
      }
    }
    if (reasons.size > 0) {
      throw new Error(`There are no such cases: ${[...reasons.keys()].join(", ")}`);
    }
  } finally {
    await library.end();
  }
}

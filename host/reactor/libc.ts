/**
 * The system calls that node:fs does not have, by koffi. Loaded when first asked for, so that everything else runs
 * where koffi does not.
 *
 * Conventions: each call returns what the kernel does, 0 or more, or −errno; none throws. Addresses are plain numbers,
 * absolute in this process (user space ends below 2^47, so they are safe integers and no BigInt is made per call): the
 * address of the core's memory, from addressOf(), plus an offset. Whoever passes one keeps the memory alive and in
 * place until the call, or the kernel's use of it, ends.
 */
import process from "node:process";
import { setU64 } from "../base/bytes.ts";
import { ENODATA } from "../base/errno.ts";
import { isLinux64, requirePackage } from "../base/runtime.ts";

/** asm-generic/fcntl.h; O_DIRECT and O_DIRECTORY depend on the processor. */
const onArm = process.arch === "arm64";
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0x40;
export const O_EXCL = 0x80;
export const O_NONBLOCK = 0x800;
export const O_CLOEXEC = 0x8_0000;
export const O_DIRECT: number = onArm ? 0x1_0000 : 0x4000;
export const O_DIRECTORY: number = onArm ? 0x4000 : 0x1_0000;
export const O_PATH = 0x20_0000;

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;
export const MAP_ANONYMOUS = 0x20;
export const MAP_POPULATE = 0x8000;
/** For madvise(). */
export const MADV_HUGEPAGE = 14;

export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;

export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

export const F_GETFL = 3;
export const F_SETFL = 4;
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;

export const EFD_CLOEXEC = 0x8_0000;
export const EFD_NONBLOCK = 0x800;

/** linux/mount.h, for mount(). */
export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_SYNCHRONOUS = 16;
export const MS_REMOUNT = 32;
export const MS_DIRSYNC = 128;
export const MS_NOATIME = 1024;
export const MS_STRICTATIME: number = 1 << 24;
export const MS_NODIRATIME = 2048;
export const MS_BIND = 4096;
export const MS_RELATIME = 0x20_0000;
/** For umount2(). */
export const MNT_FORCE = 1;
export const MNT_DETACH = 2;

/** linux/time.h: the time of the last timer tick, as the kernel stamps inodes. */
export const CLOCK_REALTIME_COARSE = 5;

export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 16;

/** linux/fs.h */
export const BLKDISCARD = 0x1277;
export const BLKSSZGET = 0x1268;
export const BLKPBSZGET = 0x127b;
export const BLKGETSIZE64 = 0x8008_1272;
export const BLKFLSBUF = 0x1261;

/** The same on every processor. */
const SYS_io_uring_setup = 425;
const SYS_io_uring_enter = 426;
const SYS_io_uring_register = 427;

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0x8_0000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x4000_0000;

/** Memory that this module mapped: outside any garbage collector, page-aligned, zero at first. */
export interface Mapping {
  readonly address: number;
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What is held on a byte range of a file, as OFD locks tell: pid −1 when the holder is another OFD lock. */
export interface LockHolder {
  readonly exclusive: boolean;
  readonly pid: number;
}

export interface Libc {
  /** The absolute address of a view's first byte; valid while its buffer lives and is not detached or grown. */
  addressOf(view: ArrayBufferView): number;
  /** A view of memory at an absolute address. The caller keeps the memory mapped for as long as it uses the view. */
  viewAt(address: number, byteLength: number): ArrayBuffer;

  open(path: string, flags: number, mode?: number): number;
  close(fd: number): number;
  read(fd: number, address: number, byteLength: number): number;
  write(fd: number, address: number, byteLength: number): number;
  /** @param iovAddress An array of struct iovec {u64 address, u64 length}. */
  readv(fd: number, iovAddress: number, count: number): number;
  writev(fd: number, iovAddress: number, count: number): number;
  pread(fd: number, address: number, byteLength: number, offsetBytes: number): number;
  pwrite(fd: number, address: number, byteLength: number, offsetBytes: number): number;
  fsync(fd: number): number;
  fdatasync(fd: number): number;
  fallocate(fd: number, mode: number, offsetBytes: number, byteLength: number): number;
  /** From one descriptor's position to another's. @returns Bytes copied, 0 at the end, or −errno. */
  copyFileRange(fromFd: number, toFd: number, byteLength: number): number;
  /** The argument is an integer. */
  ioctl(fd: number, request: number, argument: number): number;
  /** The argument is a record that the kernel reads or fills. */
  ioctlRecord(fd: number, request: number, record: Uint8Array): number;
  /** LOCK_EX | LOCK_NB and so on: the lock is the open file's, not the process's. */
  flock(fd: number, operation: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  /** Sets (F_RDLCK, F_WRLCK) or drops (F_UNLCK) an OFD lock on the whole file without waiting: −EAGAIN when held. */
  ofdLock(fd: number, type: number): number;
  /** Who would refuse an exclusive lock on the whole file; null when nobody would. */
  ofdHolder(fd: number): LockHolder | null;
  /** ftruncate. */
  truncate(fd: number, sizeBytes: number): number;
  eventfd(initial: number, flags: number): number;
  /** Waits until a descriptor has one of the events. Returns the events that it has, 0 after the timeout, or −errno. */
  poll(fd: number, events: number, timeoutMs: number): number;
  dup(fd: number): number;
  /** clock_gettime: the time as {i64 seconds, i64 nanoseconds} at an address. */
  clockGettime(clock: number, address: number): number;
  /** mmap: the address, or −errno. */
  mmap(
    address: number,
    byteLength: number,
    protection: number,
    flags: number,
    fd: number,
    offsetBytes: number,
  ): number;
  munmap(address: number, byteLength: number): number;
  madvise(address: number, byteLength: number, advice: number): number;
  /** Anonymous private memory. @throws {Error} When there is none. */
  map(byteLength: number): Mapping;
  mount(
    source: string,
    target: string,
    type: string | null,
    flags: number,
    data: string | null,
  ): number;
  umount(target: string, flags: number): number;
  /** A pair of connected AF_UNIX stream sockets, close-on-exec, or −errno. */
  socketPair(): readonly [number, number] | number;
  /** Receives one descriptor that was passed over a socket (SCM_RIGHTS). −ENODATA: a message without one, or the end. */
  receiveDescriptor(socketFd: number): number;
  /** Passes a descriptor over a socket, with one zero byte. */
  sendDescriptor(socketFd: number, fd: number): number;

  ioUringSetup(entryCount: number, params: Uint8Array): number;
  ioUringEnter(
    fd: number,
    submitCount: number,
    completeCountMin: number,
    flags: number,
    argumentAddress: number,
    argumentBytes: number,
  ): number;
  ioUringRegister(fd: number, opcode: number, argumentAddress: number, count: number): number;
}

/** The few names of koffi in use: typed here because its own types say `any` for calls. */
interface Koffi {
  load(path: string | null): {
    func(
      name: string,
      result: string,
      parameters: readonly string[],
    ): (...args: never[]) => unknown;
  };
  errno(): number;
  address(value: unknown): bigint;
  view(pointer: bigint, byteLength: number): ArrayBuffer;
}

let loaded: Libc | undefined;
let failure: unknown;

/**
 * The system calls of this machine.
 *
 * @throws {Error} Where they cannot be had: another system than 64-bit Linux, or koffi is not installed.
 */
export function libc(): Libc {
  if (loaded !== undefined) return loaded;
  if (failure !== undefined) throw failure;
  try {
    loaded = bind();
    return loaded;
  } catch (error) {
    failure = error;
    throw error;
  }
}

/** The system calls, or null where they cannot be had. */
export function libcIfAvailable(): Libc | null {
  try {
    return libc();
  } catch {
    return null;
  }
}

function bind(): Libc {
  if (!isLinux64) {
    throw new Error(`System calls need 64-bit Linux, this is ${process.platform} ${process.arch}`);
  }
  const koffi = requirePackage<Koffi>("koffi");
  // The C library that the process itself is linked with: its file name differs between glibc and musl.
  const library = koffi.load(null);
  const errno = koffi.errno;

  /** Binds one function whose failures are −1 and errno. */
  const bindCall = <A extends readonly unknown[]>(
    name: string,
    result: string,
    parameters: readonly string[],
  ): ((...args: A) => number) =>
    library.func(name, result, parameters) as unknown as (...args: A) => number;

  const I = "int";
  const P = "uintptr_t";
  const Z = "size_t";
  const L = "int64_t";
  type N = number;
  const cOpen = bindCall<[string, N, N]>("open", I, ["str", I, I]);
  const cClose = bindCall<[N]>("close", I, [I]);
  const cRead = bindCall<[N, N, N]>("read", L, [I, P, Z]);
  const cWrite = bindCall<[N, N, N]>("write", L, [I, P, Z]);
  const cReadv = bindCall<[N, N, N]>("readv", L, [I, P, I]);
  const cWritev = bindCall<[N, N, N]>("writev", L, [I, P, I]);
  const cPread = bindCall<[N, N, N, N]>("pread", L, [I, P, Z, L]);
  const cPwrite = bindCall<[N, N, N, N]>("pwrite", L, [I, P, Z, L]);
  const cFsync = bindCall<[N]>("fsync", I, [I]);
  const cFdatasync = bindCall<[N]>("fdatasync", I, [I]);
  const cFallocate = bindCall<[N, N, N, N]>("fallocate", I, [I, I, L, L]);
  const cCopyFileRange = bindCall<[N, N, N, N, N, N]>("copy_file_range", L, [I, P, I, P, Z, I]);
  const cFtruncate = bindCall<[N, N]>("ftruncate", I, [I, L]);
  // Variadic in C; on Linux the arguments travel in the same registers.
  const cIoctl = bindCall<[N, N, N]>("ioctl", I, [I, "unsigned long", P]);
  const cFlock = bindCall<[N, N]>("flock", I, [I, I]);
  const cFcntl = bindCall<[N, N, N]>("fcntl", I, [I, I, P]);
  const cEventfd = bindCall<[N, N]>("eventfd", I, ["unsigned int", I]);
  const cPoll = bindCall<[N, N, N]>("poll", I, [P, "unsigned long", I]);
  const cClockGettime = bindCall<[N, N]>("clock_gettime", I, [I, P]);
  const cDup = bindCall<[N]>("dup", I, [I]);
  const cMmap = bindCall<[N, N, N, N, N, N]>("mmap", "intptr_t", [P, Z, I, I, I, L]);
  const cMunmap = bindCall<[N, N]>("munmap", I, [P, Z]);
  const cMadvise = bindCall<[N, N, N]>("madvise", I, [P, Z, I]);
  const cMount = bindCall<[string, string, string | null, N, string | null]>("mount", I, [
    "str",
    "str",
    "str",
    "unsigned long",
    "str",
  ]);
  const cUmount2 = bindCall<[string, N]>("umount2", I, ["str", I]);
  const cSocketpair = bindCall<[N, N, N, N]>("socketpair", I, [I, I, I, P]);
  const cRecvmsg = bindCall<[N, N, N]>("recvmsg", L, [I, P, I]);
  const cSendmsg = bindCall<[N, N, N]>("sendmsg", L, [I, P, I]);
  const cSyscall = bindCall<[N, N, N, N, N, N, N]>("syscall", L, [L, P, P, P, P, P, P]);

  const status = (result: number): number => (result < 0 ? -errno() : result);
  const addressOf = (view: ArrayBufferView): number => Number(koffi.address(view));

  const map = (byteLength: number): Mapping => {
    const address = cMmap(
      0,
      byteLength,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS,
      -1,
      0,
    );
    if (address === -1) throw new Error(`Cannot map ${byteLength} bytes: errno ${errno()}`);
    const buffer = koffi.view(BigInt(address), byteLength);
    return { address, buffer, bytes: new Uint8Array(buffer) };
  };

  // Arguments of rare calls are written to one page of our own: calls are synchronous, so it is free again at once.
  const scratch = map(4096);
  const scratchView = new DataView(scratch.buffer);
  const FLOCK = 0;
  const POLLFD = 64;
  const PAIR = 80;
  const MSGHDR = 128;
  const IOVEC = 192;
  const PAYLOAD = 256;
  const CONTROL = 320;
  const RECORD = 1024;
  const RECORD_BYTES = 3072;

  const fillFlock = (type: number): void => {
    scratch.bytes.fill(0, FLOCK, FLOCK + 32); // whence SEEK_SET, start 0, length 0 (to the end), pid 0 as OFD wants
    scratchView.setInt16(FLOCK, type, true);
  };

  const fillMessage = (controlBytes: number): void => {
    scratch.bytes.fill(0, MSGHDR, RECORD);
    setU64(scratchView, MSGHDR + 16, scratch.address + IOVEC);
    setU64(scratchView, MSGHDR + 24, 1);
    setU64(scratchView, MSGHDR + 32, scratch.address + CONTROL);
    setU64(scratchView, MSGHDR + 40, controlBytes);
    setU64(scratchView, IOVEC, scratch.address + PAYLOAD);
    setU64(scratchView, IOVEC + 8, 1);
  };

  return {
    addressOf,
    viewAt: (address, byteLength) => koffi.view(BigInt(address), byteLength),
    open: (path, flags, mode = 0) => status(cOpen(path, flags | O_CLOEXEC, mode)),
    close: (fd) => status(cClose(fd)),
    read: (fd, address, byteLength) => status(cRead(fd, address, byteLength)),
    write: (fd, address, byteLength) => status(cWrite(fd, address, byteLength)),
    readv: (fd, iovAddress, count) => status(cReadv(fd, iovAddress, count)),
    writev: (fd, iovAddress, count) => status(cWritev(fd, iovAddress, count)),
    pread: (fd, address, byteLength, offsetBytes) =>
      status(cPread(fd, address, byteLength, offsetBytes)),
    pwrite: (fd, address, byteLength, offsetBytes) =>
      status(cPwrite(fd, address, byteLength, offsetBytes)),
    fsync: (fd) => status(cFsync(fd)),
    fdatasync: (fd) => status(cFdatasync(fd)),
    fallocate: (fd, mode, offsetBytes, byteLength) =>
      status(cFallocate(fd, mode, offsetBytes, byteLength)),
    copyFileRange: (fromFd, toFd, byteLength) =>
      status(cCopyFileRange(fromFd, 0, toFd, 0, byteLength, 0)),
    truncate: (fd, sizeBytes) => status(cFtruncate(fd, sizeBytes)),
    ioctl: (fd, request, argument) => status(cIoctl(fd, request, argument)),
    ioctlRecord(fd, request, record) {
      if (record.length > RECORD_BYTES) return status(cIoctl(fd, request, addressOf(record)));
      scratch.bytes.set(record, RECORD);
      const result = status(cIoctl(fd, request, scratch.address + RECORD));
      record.set(scratch.bytes.subarray(RECORD, RECORD + record.length));
      return result;
    },
    flock: (fd, operation) => status(cFlock(fd, operation)),
    fcntl: (fd, command, argument) => status(cFcntl(fd, command, argument)),
    ofdLock(fd, type) {
      fillFlock(type);
      return status(cFcntl(fd, F_OFD_SETLK, scratch.address + FLOCK));
    },
    ofdHolder(fd) {
      fillFlock(F_WRLCK);
      if (cFcntl(fd, F_OFD_GETLK, scratch.address + FLOCK) < 0) return null;
      const type = scratchView.getInt16(FLOCK, true);
      if (type === F_UNLCK) return null;
      return { exclusive: type === F_WRLCK, pid: scratchView.getInt32(FLOCK + 24, true) };
    },
    eventfd: (initial, flags) => status(cEventfd(initial, flags)),
    poll(fd, events, timeoutMs) {
      scratchView.setInt32(POLLFD, fd, true);
      scratchView.setInt16(POLLFD + 4, events, true);
      scratchView.setInt16(POLLFD + 6, 0, true);
      const result = status(cPoll(scratch.address + POLLFD, 1, timeoutMs));
      return result > 0 ? scratchView.getUint16(POLLFD + 6, true) : result;
    },
    clockGettime: (clock, address) => status(cClockGettime(clock, address)),
    dup: (fd) => status(cDup(fd)),
    mmap(address, byteLength, protection, flags, fd, offsetBytes) {
      const result = cMmap(address, byteLength, protection, flags, fd, offsetBytes);
      return result === -1 ? -errno() : result;
    },
    munmap: (address, byteLength) => status(cMunmap(address, byteLength)),
    madvise: (address, byteLength, advice) => status(cMadvise(address, byteLength, advice)),
    map,
    mount: (source, target, type, flags, data) => status(cMount(source, target, type, flags, data)),
    umount: (target, flags) => status(cUmount2(target, flags)),
    socketPair() {
      const result = status(
        cSocketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, scratch.address + PAIR),
      );
      if (result < 0) return result;
      return [scratchView.getInt32(PAIR, true), scratchView.getInt32(PAIR + 4, true)];
    },
    receiveDescriptor(socketFd) {
      fillMessage(24);
      const result = status(cRecvmsg(socketFd, scratch.address + MSGHDR, MSG_CMSG_CLOEXEC));
      if (result < 0) return result;
      const controlBytes = scratchView.getUint32(MSGHDR + 40, true);
      const hasDescriptor =
        controlBytes >= 20 &&
        scratchView.getInt32(CONTROL + 8, true) === SOL_SOCKET &&
        scratchView.getInt32(CONTROL + 12, true) === SCM_RIGHTS;
      return hasDescriptor ? scratchView.getInt32(CONTROL + 16, true) : -ENODATA;
    },
    sendDescriptor(socketFd, fd) {
      fillMessage(24);
      setU64(scratchView, CONTROL, 20);
      scratchView.setInt32(CONTROL + 8, SOL_SOCKET, true);
      scratchView.setInt32(CONTROL + 12, SCM_RIGHTS, true);
      scratchView.setInt32(CONTROL + 16, fd, true);
      return status(cSendmsg(socketFd, scratch.address + MSGHDR, 0));
    },
    ioUringSetup(entryCount, params) {
      scratch.bytes.set(params, RECORD);
      const result = status(
        cSyscall(SYS_io_uring_setup, entryCount, scratch.address + RECORD, 0, 0, 0, 0),
      );
      params.set(scratch.bytes.subarray(RECORD, RECORD + params.length));
      return result;
    },
    ioUringEnter: (fd, submitCount, completeCountMin, flags, argumentAddress, argumentBytes) =>
      status(
        cSyscall(
          SYS_io_uring_enter,
          fd,
          submitCount,
          completeCountMin,
          flags,
          argumentAddress,
          argumentBytes,
        ),
      ),
    ioUringRegister: (fd, opcode, argumentAddress, count) =>
      status(cSyscall(SYS_io_uring_register, fd, opcode, argumentAddress, count, 0, 0)),
  };
}

/** BLKDISCARD: tells a disk that a range is unused, and waits for it. Returns 0 or −errno. */
export function discardBlocking(
  calls: Libc,
  fd: number,
  offsetBytes: number,
  byteLength: number,
): number {
  const range = new Uint8Array(16);
  const view = new DataView(range.buffer);
  setU64(view, 0, offsetBytes);
  setU64(view, 8, byteLength);
  return calls.ioctlRecord(fd, BLKDISCARD, range);
}

/**
 * Errors as node:fs makes them: same class, code, errno, syscall, path, dest and message, so that programs and tests
 * written against node:fs/promises cannot tell the difference. The one place of the library that words an error.
 *
 * @see https://nodejs.org/api/errors.html
 */
import { inspect } from "node:util";
import { errnoName } from "../base/errno.ts";
import type { FsError } from "../base/fs_error.ts";

/** What libuv says for each code (uv-common.h); ours where it has no text. */
const TEXTS: Readonly<Record<string, string>> = {
  EPERM: "operation not permitted",
  ENOENT: "no such file or directory",
  EINTR: "interrupted system call",
  EIO: "i/o error",
  ENXIO: "no such device or address",
  E2BIG: "argument list too long",
  EBADF: "bad file descriptor",
  EAGAIN: "resource temporarily unavailable",
  ENOMEM: "not enough memory",
  EACCES: "permission denied",
  EFAULT: "bad address in system call argument",
  EBUSY: "resource busy or locked",
  EEXIST: "file already exists",
  EXDEV: "cross-device link not permitted",
  ENODEV: "no such device",
  ENOTDIR: "not a directory",
  EISDIR: "illegal operation on a directory",
  EINVAL: "invalid argument",
  ENFILE: "file table overflow",
  EMFILE: "too many open files",
  ENOTTY: "inappropriate ioctl for device",
  EFBIG: "file too large",
  ENOSPC: "no space left on device",
  ESPIPE: "invalid seek",
  EROFS: "read-only file system",
  EMLINK: "too many links",
  ERANGE: "result too large",
  ENAMETOOLONG: "name too long",
  ENOSYS: "function not implemented",
  ENOTEMPTY: "directory not empty",
  ELOOP: "too many symbolic links encountered",
  ENODATA: "no data available",
  EPROTO: "protocol error",
  EBADMSG: "checksum mismatch",
  EOVERFLOW: "value too large for defined data type",
  ENOTSUP: "operation not supported on socket",
  ETIMEDOUT: "connection timed out",
  ESTALE: "stale file handle",
  EUCLEAN: "structure needs cleaning",
  EDQUOT: "disk quota exceeded",
};

/** An error of a system call, as Node reports it. */
export interface SystemCallError extends Error {
  /** Symbolic POSIX code: "ENOENT". */
  code: string;
  /** Negative error number. */
  errno: number;
  /** The operation that failed: "open". */
  syscall: string;
  /** The path that the operation was given. */
  path?: string;
  /** The second path, of operations with two. */
  dest?: string;
}

/** What an operation was asked for; goes into its errors. */
export interface CallContext {
  readonly syscall: string;
  readonly path?: string | undefined;
  readonly dest?: string | undefined;
}

/**
 * The error of an operation that failed with an error number.
 *
 * @param errno Of either sign.
 * @param cause What the engine threw, when it told more than a number.
 */
export function systemError(errno: number, context: CallContext, cause?: FsError): SystemCallError {
  // libuv has one name for the two numbers that Linux makes equal.
  const code = errnoName(errno) === "EOPNOTSUPP" ? "ENOTSUP" : errnoName(errno);
  let message = `${code}: ${TEXTS[code] ?? "unknown error"}, ${context.syscall}`;
  if (context.path !== undefined) message += ` '${context.path}'`;
  if (context.dest !== undefined) message += ` -> '${context.dest}'`;
  const error = new Error(message, cause === undefined ? undefined : { cause }) as SystemCallError;
  error.errno = -Math.abs(errno);
  error.code = code;
  error.syscall = context.syscall;
  if (context.path !== undefined) error.path = context.path;
  if (context.dest !== undefined) error.dest = context.dest;
  return error;
}

function coded<T extends Error>(error: T, code: string): T & { code: string } {
  // As Node does it: the code shows in the stack, but not in the name.
  const result = error as T & { code: string };
  const { name } = error;
  Object.defineProperty(error, "name", {
    value: `${name} [${code}]`,
    configurable: true,
    writable: true,
  });
  void error.stack;
  delete (error as { name?: string }).name;
  result.code = code;
  return result;
}

/** How Node describes a value of a wrong type. */
function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "function") return `function ${value.name}`;
  if (typeof value === "object") {
    const name = (value as { constructor?: { name?: string } }).constructor?.name;
    return name ? `an instance of ${name}` : inspect(value, { depth: -1 });
  }
  let text = inspect(value, { colors: false });
  if (text.length > 28) text = `${text.slice(0, 25)}...`;
  return `type ${typeof value} (${text})`;
}

function kind(name: string): string {
  return name.includes(".") ? "property" : "argument";
}

/** @param expected "of type string or an instance of Buffer or URL". */
export function argumentTypeError(name: string, expected: string, value: unknown): TypeError {
  return coded(
    new TypeError(`The "${name}" ${kind(name)} must be ${expected}. Received ${describe(value)}`),
    "ERR_INVALID_ARG_TYPE",
  );
}

/** @param reason "is invalid", "must be …". */
export function argumentValueError(
  name: string,
  value: unknown,
  reason: string = "is invalid",
): TypeError {
  let text = inspect(value);
  if (text.length > 128) text = `${text.slice(0, 128)}...`;
  return coded(
    new TypeError(`The ${kind(name)} '${name}' ${reason}. Received ${text}`),
    "ERR_INVALID_ARG_VALUE",
  );
}

/** @param range ">= 0 && <= 7", "an integer". */
export function outOfRangeError(name: string, range: string, value: unknown): RangeError {
  let text = inspect(value);
  if ((typeof value === "number" || typeof value === "bigint") && /^-?\d{10,}n?$/.test(text)) {
    if (Math.abs(Number(value)) > 2 ** 32) text = text.replace(/\B(?=(\d{3})+(?!\d))/g, "_");
  }
  return coded(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${text}`),
    "ERR_OUT_OF_RANGE",
  );
}

/** An error with one of Node's own codes and a fixed text. */
export function codedError(code: string, message: string): Error {
  return coded(new Error(message), code);
}

/** An argument error with one of Node's own codes and a fixed text. */
export function codedTypeError(code: string, message: string): TypeError {
  return coded(new TypeError(message), code);
}

/** What rm and cp throw: Node's SystemError, whose code is Node's and whose info holds the POSIX one. */
export function operationError(
  code: string,
  prefix: string,
  info: { code: string; errno: number; message: string; path: string; syscall: string },
): Error {
  const error = new Error(
    `${prefix}: ${info.syscall} returned ${info.code} (${info.message}) ${info.path}`,
  ) as SystemCallError & { info: unknown };
  Object.defineProperty(error, "name", {
    value: "SystemError",
    configurable: true,
    writable: true,
    enumerable: false,
  });
  error.code = code;
  error.info = info;
  error.errno = info.errno;
  error.syscall = info.syscall;
  error.path = info.path;
  return error;
}

/** What a cancelled operation rejects with. */
export function abortError(signal: AbortSignal): Error {
  const error = new Error("The operation was aborted", { cause: signal.reason }) as Error & {
    code: string;
  };
  error.code = "ABORT_ERR";
  error.name = "AbortError";
  return error;
}

/** An operation on a file handle that was closed. */
export function fileClosedError(syscall: string): Error {
  const error = new Error("file closed") as SystemCallError;
  error.code = "EBADF";
  error.syscall = syscall;
  return error;
}

/** An operation on a volume that was closed. */
export function volumeClosedError(name: string): Error {
  return codedError("ERR_VOLUME_CLOSED", `The volume "${name}" is closed`);
}

/** A member of node:fs that would have to wait without returning to the event loop. */
export function synchronousError(method: string): Error {
  const name = method.replace(/Sync$/, "");
  return codedError(
    "ERR_METHOD_NOT_IMPLEMENTED",
    `The ${method}() method is not implemented: a volume has no synchronous functions, use promises.${name === "exists" ? "access" : name}()`,
  );
}

const SYNCHRONOUS: readonly string[] = (
  "access appendFile chmod chown copyFile cp exists lchown link lstat lutimes mkdir mkdtemp open opendir read readdir " +
  "readFile readlink realpath rename rm rmdir stat statfs symlink truncate unlink utimes write writeFile"
).split(" ");

/** Gives an object the synchronous functions of node:fs, each of which says that it is not there. */
export function refuseSynchronous(target: object): void {
  for (const name of SYNCHRONOUS) {
    const method = `${name}Sync`;
    Object.defineProperty(target, method, {
      value: () => {
        throw synchronousError(method);
      },
      configurable: true,
    });
  }
}

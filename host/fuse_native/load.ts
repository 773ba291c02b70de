/**
 * The optional package fuse-native: loaded when it is asked for, and what is missing said where it cannot be.
 *
 * What is used of it, by its names: the class with its mount(), its table of handlers and its `_op_` methods. The last
 * are not documented, so the package is pinned to one version, and what does not look as expected is refused.
 */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { EOPNOTSUPP } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import { isDeno } from "../base/runtime.ts";

export const FUSE_NATIVE_VERSION = "2.2.6";

/** Ends a request: 0, a count or −errno, then what the operation answers with. */
export type Signal = (status: number, ...results: unknown[]) => void;

/** Called by the binding: the thread's own memory, the operation's number, and its arguments. */
export type Handler = (locals: Uint8Array, operation: number, ...values: unknown[]) => void;

export interface FuseNative {
  readonly _handlers: Handler[];
  readonly _thread: Uint8Array | null;
  _fuseOptions: () => string;
  mount(done: (error: Error | null) => void): void;
}

export interface FuseNativePackage {
  /** `names` has a key for each operation that the kernel is to be offered. */
  readonly Fuse: new (
    mountPoint: string,
    names: Readonly<Record<string, unknown>>,
    options: { readonly timeout: false },
  ) => FuseNative;
  readonly binding: {
    /** Lets the event loop end; the mount must be gone. */
    fuse_native_unmount(mountPoint: string, thread: Uint8Array): void;
    readonly op_utimens: number;
  };
}

/** @throws {FsError} What is missing, and what to do about it. */
export function loadFuseNative(): FuseNativePackage {
  if (isDeno) {
    // Its binding calls functions of libuv, which Deno does not have: it would end the process, not fail.
    throw unavailable("its binding needs Node's event loop, and this is Deno");
  }
  const require = createRequire(import.meta.url);
  try {
    const path = require.resolve("fuse-native/package.json");
    const { version } = require(path) as { version: string };
    if (version !== FUSE_NATIVE_VERSION) throw unavailable(`version ${version} is installed`);
    const own = createRequire(path);
    const binding = (own("node-gyp-build") as (path: string) => unknown)(dirname(path));
    return {
      Fuse: own("./index.js") as FuseNativePackage["Fuse"],
      binding: binding as FuseNativePackage["binding"],
    };
  } catch (error) {
    if (error instanceof FsError) throw error;
    throw unavailable(reasonOf(error), error);
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (message.includes("libfuse.so.2")) {
    return "libfuse.so.2 is missing; install it: apt-get install libfuse2 (Debian 13 and later: libfuse2t64)";
  }
  if (code === "MODULE_NOT_FOUND") {
    return `it is not installed; install it: npm install fuse-native@${FUSE_NATIVE_VERSION}`;
  }
  return message.split("\n")[0] ?? "";
}

function unavailable(reason: string, cause?: unknown): FsError {
  const message = `The package fuse-native ${FUSE_NATIVE_VERSION} cannot be used: ${reason}`;
  return new FsError(EOPNOTSUPP, "fuse-native/unavailable", message, { cause });
}

/**
 * The functions of node:fs that the cases of test/posix use. They are Node's, except for what lies below a directory
 * that was given to somebody else: so the same cases run over a mount and over the library, which has no mount.
 */
import nodeFs from "node:fs";

/** Descriptors from here on are not the system's. */
export const FOREIGN_FD = 1_000_000;

type Call = (name: string, args: unknown[]) => unknown;
let foreign: { readonly prefix: string; readonly call: Call } | null = null;

/** What cannot be asked for without a mount: the case is no case for the library. */
export class NotInLibrary extends Error {}

/** From now on, `call` does what is asked for below a directory; null ends it. */
export function giveAway(prefix: string, call: Call | null): void {
  foreign = call === null ? null : { prefix, call };
}

/** Whether an argument is a path below the directory given away, or a descriptor from there. */
export function isForeign(value: unknown): boolean {
  if (foreign === null) return false;
  if (typeof value === "number") return value >= FOREIGN_FD;
  if (typeof value === "string") return value.startsWith(foreign.prefix);
  return Buffer.isBuffer(value) && value.toString("latin1").startsWith(foreign.prefix);
}

export function callForeign(name: string, args: unknown[]): unknown {
  return foreign!.call(name, args);
}

/** Whether a call is not the system's: by its first argument, or a path that is the second one. */
function isCallForeign([first, second]: readonly unknown[]): boolean {
  return isForeign(first) || (typeof second !== "number" && isForeign(second));
}

type Name = keyof typeof nodeFs;

function either<N extends Name>(name: N): (typeof nodeFs)[N] {
  const own = nodeFs[name] as (...args: unknown[]) => unknown;
  const chosen = (...args: unknown[]): unknown =>
    isCallForeign(args) ? callForeign(name, args) : own(...args);
  return chosen as unknown as (typeof nodeFs)[N];
}

export type { Stats } from "node:fs";

export const constants: typeof nodeFs.constants = nodeFs.constants;
export const accessSync: typeof nodeFs.accessSync = either("accessSync");
export const appendFileSync: typeof nodeFs.appendFileSync = either("appendFileSync");
export const chmodSync: typeof nodeFs.chmodSync = either("chmodSync");
export const chownSync: typeof nodeFs.chownSync = either("chownSync");
export const closeSync: typeof nodeFs.closeSync = either("closeSync");
export const copyFileSync: typeof nodeFs.copyFileSync = either("copyFileSync");
export const existsSync: typeof nodeFs.existsSync = either("existsSync");
export const fchmodSync: typeof nodeFs.fchmodSync = either("fchmodSync");
export const fchownSync: typeof nodeFs.fchownSync = either("fchownSync");
export const fdatasyncSync: typeof nodeFs.fdatasyncSync = either("fdatasyncSync");
export const fstatSync: typeof nodeFs.fstatSync = either("fstatSync");
export const fsyncSync: typeof nodeFs.fsyncSync = either("fsyncSync");
export const ftruncateSync: typeof nodeFs.ftruncateSync = either("ftruncateSync");
export const futimesSync: typeof nodeFs.futimesSync = either("futimesSync");
export const lchownSync: typeof nodeFs.lchownSync = either("lchownSync");
export const linkSync: typeof nodeFs.linkSync = either("linkSync");
export const lstatSync: typeof nodeFs.lstatSync = either("lstatSync");
export const lutimesSync: typeof nodeFs.lutimesSync = either("lutimesSync");
export const mkdirSync: typeof nodeFs.mkdirSync = either("mkdirSync");
export const openSync: typeof nodeFs.openSync = either("openSync");
export const readSync: typeof nodeFs.readSync = either("readSync");
export const readFileSync: typeof nodeFs.readFileSync = either("readFileSync");
export const readdirSync: typeof nodeFs.readdirSync = either("readdirSync");
export const readlinkSync: typeof nodeFs.readlinkSync = either("readlinkSync");
export const readvSync: typeof nodeFs.readvSync = either("readvSync");
export const renameSync: typeof nodeFs.renameSync = either("renameSync");
export const rmSync: typeof nodeFs.rmSync = either("rmSync");
export const rmdirSync: typeof nodeFs.rmdirSync = either("rmdirSync");
export const statSync: typeof nodeFs.statSync = either("statSync");
export const statfsSync: typeof nodeFs.statfsSync = either("statfsSync");
export const symlinkSync: typeof nodeFs.symlinkSync = either("symlinkSync");
export const truncateSync: typeof nodeFs.truncateSync = either("truncateSync");
export const unlinkSync: typeof nodeFs.unlinkSync = either("unlinkSync");
export const utimesSync: typeof nodeFs.utimesSync = either("utimesSync");
export const writeSync: typeof nodeFs.writeSync = either("writeSync");
export const writeFileSync: typeof nodeFs.writeFileSync = either("writeFileSync");
export const writevSync: typeof nodeFs.writevSync = either("writevSync");

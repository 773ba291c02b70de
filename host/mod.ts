/**
 * DynamicFS as a library: a POSIX filesystem in a file or in memory, used through the functions of node:fs/promises,
 * without a mount. The same source runs on Node and Deno.
 *
 * ```ts
 * import { open } from "dynamicfs";
 *
 * const volume = await open({ memory: 64 * 1024 * 1024 });
 * const fs = volume.promises;
 * await fs.mkdir("/a/b", { recursive: true });
 * await fs.writeFile("/a/b/c.txt", "Hello");
 * console.log(await fs.readdir("/a/b")); // [ "c.txt" ]
 * await volume.close();
 * ```
 *
 * @module
 */
export { FsError } from "./base/fs_error.ts";
export type { QuotaKind, QuotaLimits, QuotaReport, QuotaSubject } from "./fs/quotas.ts";
export type { VolumeStatus } from "./fs/volume.ts";
export type { EncodingOption, PathLike, TimeLike } from "./library/arguments.ts";
export type { BigIntOption } from "./library/attributes.ts";
export type { CopyOptions } from "./library/copy_tree.ts";
export type { MakeDirectoryOptions, ReadDirectoryOptions } from "./library/directories.ts";
export { Dir, Dirent, type DirOptions } from "./library/directory.ts";
export type { SystemCallError } from "./library/errors.ts";
export type { FileData, ReadFileOptions, WriteFileOptions } from "./library/file_data.ts";
export { FileHandle } from "./library/file_handle.ts";
export {
  type CreateSettings,
  type OpenOptions,
  OpenVolume,
  open,
  type VolumeSource,
} from "./library/open_volume.ts";
export type { VolumePromises } from "./library/promises.ts";
export type { RemoveOptions } from "./library/remove_tree.ts";
export { BigIntStats, StatFs, Stats } from "./library/stats.ts";
export type { ReadStreamOptions, WriteStreamOptions } from "./library/streams.ts";
export type { ReadOptions } from "./library/transfers.ts";
export type { XattrOptions } from "./library/xattrs.ts";

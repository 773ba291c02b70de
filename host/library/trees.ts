/** Trees: what is made of many operations, one for each object in the tree. */
import type { PathLike } from "./arguments.ts";
import type { Calls } from "./calls.ts";
import { type CopyFunctions, type CopyOptions, copyTree } from "./copy_tree.ts";
import { type RemoveOptions, removeTree } from "./remove_tree.ts";
import type { Walker } from "./walk.ts";

/** The functions of trees. */
export class Trees {
  readonly #calls: Calls;
  readonly #walker: Walker;
  readonly #functions: CopyFunctions;

  constructor(calls: Calls, walker: Walker, functions: CopyFunctions) {
    this.#calls = calls;
    this.#walker = walker;
    this.#functions = functions;
  }

  /** Copies a file, or with `recursive` a directory with all that is in it. */
  async cp(source: PathLike, destination: PathLike, options?: CopyOptions): Promise<void> {
    await copyTree(this.#functions, source, destination, options);
  }

  /** Removes a file, or with `recursive` a directory with all that is in it; with `force`, nothing is no error. */
  async rm(path: PathLike, options?: RemoveOptions): Promise<void> {
    await removeTree(this.#calls, this.#walker, path, options);
  }
}

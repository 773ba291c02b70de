/**
 * Quotas against the inodes that they count: SPEC §5.10. All quotas are known before the first inode, for their items come
 * first in the tree.
 */
import { getU64 } from "../base/bytes.ts";
import { ENOMEM } from "../base/errno.ts";
import { FsError } from "../base/fs_error.ts";
import type { Core } from "../core/core.ts";
import { INODE_BLOCKS, INODE_GID, INODE_PROJECT, INODE_UID } from "../format/inode.ts";
import {
  QUOTA_BLOCKS,
  QUOTA_COUNTED,
  QUOTA_INODES,
  quotaId,
  quotaKey,
  quotaKind,
  quotaProblem,
} from "../format/quota.ts";
import type { Findings } from "./findings.ts";
import type { Key } from "./tree_walk.ts";

/** Some 100 MB; a mounted volume takes fewer. */
const QUOTAS_MAX = 1 << 20;
/** By kind. */
const OWNER_FIELDS: readonly number[] = [INODE_UID, INODE_GID, INODE_PROJECT];
const KINDS: readonly string[] = ["user", "group", "project"];

interface Usage {
  readonly blocksStated: number;
  readonly inodesStated: number;
  readonly counted: number;
  blocks: number;
  inodes: number;
}

export class QuotaCheck {
  readonly #core: Core;
  readonly #errors: Findings;
  readonly #usages = new Map<number, Usage>();

  constructor(options: { core: Core; errors: Findings }) {
    this.#core = options.core;
    this.#errors = options.errors;
  }

  /** The next item. @returns Whether it is valid. */
  item(key: Key, value: number, valueLength: number): boolean {
    const { view } = this.#core;
    const problem = quotaProblem(view, key.offset, value, valueLength);
    if (problem !== null) {
      this.#errors.add("DFS-FSCK-QUOTA", `A quota is invalid: ${problem}`, { offset: key.offset });
      return false;
    }
    if (this.#usages.size === QUOTAS_MAX)
      throw new FsError(ENOMEM, "fsck/memory", `Cannot check more than ${QUOTAS_MAX} quotas`);
    this.#usages.set(key.offset, {
      blocksStated: getU64(view, value + QUOTA_BLOCKS),
      inodesStated: getU64(view, value + QUOTA_INODES),
      counted: getU64(view, value + QUOTA_COUNTED),
      blocks: 0,
      inodes: 0,
    });
    return true;
  }

  /** An inode that is valid. */
  inode(ino: number, value: number): void {
    if (this.#usages.size === 0) return;
    const { view } = this.#core;
    OWNER_FIELDS.forEach((field, kind) => {
      const usage = this.#usages.get(quotaKey(kind, view.getUint32(value + field, true)));
      if (usage === undefined || ino >= usage.counted) return;
      usage.inodes++;
      usage.blocks += getU64(view, value + INODE_BLOCKS);
    });
  }

  /** After all inodes. @param inodesLost Some of them could not be seen: nothing follows. */
  finish(inodesLost: boolean): void {
    if (inodesLost) return;
    for (const [key, usage] of this.#usages) {
      const { blocks, blocksStated, inodes, inodesStated } = usage;
      if (blocks === blocksStated && inodes === inodesStated) continue;
      this.#errors.add(
        "DFS-FSCK-QUOTA-USAGE",
        `A quota says ${blocksStated} blocks and ${inodesStated} inodes, there are ${blocks} and ${inodes}`,
        { kind: KINDS[quotaKind(key)] ?? "", id: quotaId(key) },
      );
    }
  }
}

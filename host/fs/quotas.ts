/**
 * Quotas: limits to the blocks and inodes of a user's, a group's or a project's files, and what these take now.
 *
 * Invariants.
 * - Only those with a limit have an account, so that volumes without quotas pay nothing.
 * - Usage follows the trees: each put or removal of an inode moves what it changes from its old owners to its new ones, in
 *   the same transaction. It is kept in memory and put with each checkpoint, at its very instant; replay repeats the moves
 *   on top of that.
 * - A new account counts what is there in steps, by inode number, while operations go on: inodes below `counted` are in it,
 *   those above are not. Where it has got to is put with each step. Until it has counted all it refuses nothing.
 * - Blocks count when an extent has them, so buffered data is added up where a limit is near. Once a write has been
 *   accepted nothing is refused any more.
 */
import { getU64, setU64 } from "../base/bytes.ts";
import { EDQUOT, EINVAL, EIO, ENOSPC, EROFS, ESTALE } from "../base/errno.ts";
import { Retry } from "../base/retry.ts";
import { RetryFailed, retrying, spawn, type Task } from "../base/task.ts";
import type { Core } from "../core/core.ts";
import type { Layout } from "../core/layout.ts";
import type { Done } from "../device/device.ts";
import { BLOCK_BYTES } from "../format/geometry.ts";
import {
  INODE_BLOCKS,
  INODE_BYTES,
  INODE_FLAGS,
  INODE_GID,
  INODE_PROJECT,
  INODE_UID,
} from "../format/inode.ts";
import { ITEM_INODE, ITEM_QUOTA } from "../format/key.ts";
import {
  QUOTA_ALL,
  QUOTA_BLOCKS,
  QUOTA_BLOCKS_MAX,
  QUOTA_BYTES,
  QUOTA_COUNTED,
  QUOTA_GROUP,
  QUOTA_INODES,
  QUOTA_INODES_MAX,
  QUOTA_PROJECT,
  QUOTA_USER,
  quotaId,
  quotaKey,
  quotaKind,
} from "../format/quota.ts";
import { INTENT_SHRINK } from "../store/item_store.ts";
import type { Store } from "../store/store.ts";
import type { VolumeSpace } from "./file_system.ts";
import { FLAG_PROJECT_INHERIT } from "./inode_flags.ts";

/** Bounds memory, and the pages that a checkpoint puts at its instant. */
export const QUOTAS_MAX = 4096;
/** Inodes that a step of counting looks at. */
const COUNT_STEP = 256;
const KINDS: readonly QuotaKind[] = ["user", "group", "project"];

export type QuotaKind = "user" | "group" | "project";

/** Whom a quota is for: a user or group by number, or a project id. */
export interface QuotaSubject {
  readonly kind: QuotaKind;
  /** 0 to 2^32 − 2. */
  readonly id: number;
}

/** Limits; null for none. */
export interface QuotaLimits {
  readonly bytes: number | null;
  readonly files: number | null;
}

export interface QuotaReport extends QuotaSubject {
  readonly limits: QuotaLimits;
  /** What its files take on disk; buffered data is not in it. */
  readonly usedBytes: number;
  readonly usedFiles: number;
  /** False while a new quota still counts: until then it refuses nothing. */
  readonly isCounted: boolean;
}

interface Account {
  readonly key: number;
  blocksMax: number;
  inodesMax: number;
  blocks: number;
  inodes: number;
  counted: number;
}

/** What the names half asks. */
export type InodeQuota = Pick<Quotas, "areOn" | "inodeProblem" | "moveProblem" | "ownersAt">;

/** Owners of an inode, as quotas know them. */
export interface Owners {
  uid: number;
  gid: number;
  project: number;
}

export class Quotas {
  readonly #store: Store;
  readonly #core: Core;
  readonly #value: number;
  readonly #accounts = new Map<number, Account>();
  /** Those whose usage the tree does not have yet. */
  readonly #changed = new Set<Account>();
  readonly #owners: Owners = { uid: 0, gid: 0, project: 0 };
  #stopped = false;

  constructor(store: Store, layout: Layout) {
    this.#store = store;
    this.#core = store.core;
    this.#value = layout.take(QUOTA_BYTES, 8);
  }

  /** Whether there are any: what follows is asked only then. */
  get areOn(): boolean {
    return this.#accounts.size > 0;
  }

  // --- limits ---

  /** In the order of kinds and ids. */
  list(): QuotaReport[] {
    const accounts = [...this.#accounts.values()].sort((a, b) => a.key - b.key);
    return accounts.map((account) => ({
      kind: KINDS[quotaKind(account.key)] as QuotaKind,
      id: quotaId(account.key),
      limits: {
        bytes: account.blocksMax === 0 ? null : account.blocksMax * BLOCK_BYTES,
        files: account.inodesMax === 0 ? null : account.inodesMax,
      },
      usedBytes: account.blocks * BLOCK_BYTES,
      usedFiles: account.inodes,
      isCounted: account.counted === QUOTA_ALL,
    }));
  }

  /**
   * Sets limits; what is above them already stays. Without any the quota is removed. Not durable before the next sync.
   *
   * @param done Gets 0; −EINVAL for a subject or limit that cannot be, −ENOSPC for one quota too many, or another −errno.
   */
  set({ kind, id }: QuotaSubject, limits: QuotaLimits, done: Done): void {
    const { bytes, files } = limits;
    const isLimit = (value: number | null): boolean =>
      value === null || (Number.isSafeInteger(value) && value > 0);
    const number = KINDS.indexOf(kind);
    if (number < 0 || !(id >= 0 && id < 0xffff_ffff && Number.isInteger(id))) done(-EINVAL);
    else if (!isLimit(bytes) || !isLimit(files)) done(-EINVAL);
    // What nobody has given to a project is not one.
    else if (number === QUOTA_PROJECT && id === 0) done(-EINVAL);
    else {
      const blocksMax = bytes === null ? 0 : Math.max(1, Math.floor(bytes / BLOCK_BYTES));
      spawn(
        retrying(() => this.#put(quotaKey(number, id), blocksMax, files ?? 0)),
        (error, status) => {
          if (error !== null) this.#failed(error);
          done(error === null ? (status as number) : -EIO);
        },
      );
    }
  }

  #put(key: number, blocksMax: number, inodesMax: number): number {
    const store = this.#store;
    if (store.readOnly) return -EROFS;
    const begun = store.begin(INTENT_SHRINK);
    if (begun < 0) return begun;
    const isThere = store.get(0, ITEM_QUOTA, key) !== 0;
    if (blocksMax === 0 && inodesMax === 0) {
      if (!isThere) return 0;
      store.remove(0, ITEM_QUOTA, key);
      store.commit();
      this.#forget(key);
      return 0;
    }
    const known = this.#accounts.get(key);
    if (known === undefined && this.#accounts.size >= QUOTAS_MAX) return -ENOSPC;
    const account = known ?? { key, blocksMax, inodesMax, blocks: 0, inodes: 0, counted: 1 };
    account.blocksMax = blocksMax;
    account.inodesMax = inodesMax;
    this.#encode(account);
    store.put(0, ITEM_QUOTA, key, this.#value, QUOTA_BYTES);
    store.commit();
    if (known === undefined) {
      this.#add(account);
      this.#count(account);
    }
    return 0;
  }

  #add(account: Account): void {
    this.#accounts.set(account.key, account);
    this.#store.accounting = this;
  }

  #forget(key: number): void {
    const account = this.#accounts.get(key);
    if (account === undefined) return;
    this.#accounts.delete(key);
    this.#changed.delete(account);
    if (!this.areOn) this.#store.accounting = null;
  }

  #encode(account: Account): void {
    const { view } = this.#core;
    setU64(view, this.#value + QUOTA_BLOCKS_MAX, account.blocksMax);
    setU64(view, this.#value + QUOTA_INODES_MAX, account.inodesMax);
    setU64(view, this.#value + QUOTA_BLOCKS, account.blocks);
    setU64(view, this.#value + QUOTA_INODES, account.inodes);
    setU64(view, this.#value + QUOTA_COUNTED, account.counted);
  }

  // --- usage ---

  /** Reads the accounts of a volume that is being mounted, before its journal is replayed. */
  *load(): Task<void> {
    yield* retrying(() => {
      const store = this.#store;
      this.#accounts.clear();
      let found = store.seek(0, ITEM_QUOTA, 0);
      while (found && store.keyOid === 0 && store.keyType === ITEM_QUOTA) {
        this.replayed(store.keyOffset, store.valueAddress);
        found = store.next();
      }
    });
  }

  /** An item of the tree, or of the journal that is being replayed. @param at 0: it is removed. */
  replayed(key: number, at: number): void {
    this.#forget(key);
    if (at === 0) return;
    const { view } = this.#core;
    this.#add({
      key,
      blocksMax: getU64(view, at + QUOTA_BLOCKS_MAX),
      inodesMax: getU64(view, at + QUOTA_INODES_MAX),
      blocks: getU64(view, at + QUOTA_BLOCKS),
      inodes: getU64(view, at + QUOTA_INODES),
      counted: getU64(view, at + QUOTA_COUNTED),
    });
  }

  /** Goes on counting where an earlier mount ended. */
  resume(): void {
    for (const account of this.#accounts.values()) {
      if (account.counted < QUOTA_ALL) this.#count(account);
    }
  }

  /** Ends counting; the next mount goes on with it. */
  stop(): void {
    this.#stopped = true;
  }

  /** An inode's item is about to be put or, at address 0, removed. */
  inodeChanging(ino: number, at: number): void {
    const { fsTree } = this.#store;
    const { view } = this.#core;
    const isThere = fsTree.find(ino, ITEM_INODE, 0) && fsTree.valueLength === INODE_BYTES;
    const old = isThere ? fsTree.valueAddress : 0;
    const oldBlocks = old === 0 ? 0 : getU64(view, old + INODE_BLOCKS);
    const blocks = at === 0 ? 0 : getU64(view, at + INODE_BLOCKS);
    const inodes = (at === 0 ? 0 : 1) - (old === 0 ? 0 : 1);
    for (let kind = QUOTA_USER; kind <= QUOTA_PROJECT; kind++) {
      const before = old === 0 ? -1 : idOf(view, old, kind);
      const after = at === 0 ? -1 : idOf(view, at, kind);
      if (before === after || before < 0 || after < 0) {
        const id = after < 0 ? before : after;
        if (blocks !== oldBlocks || inodes !== 0)
          this.#move(ino, quotaKey(kind, id), blocks - oldBlocks, inodes);
      } else {
        this.#move(ino, quotaKey(kind, before), -oldBlocks, -1);
        this.#move(ino, quotaKey(kind, after), blocks, 1);
      }
    }
  }

  #move(ino: number, key: number, blocks: number, inodes: number): void {
    const account = this.#accounts.get(key);
    if (account === undefined || ino >= account.counted) return;
    account.blocks = Math.max(0, account.blocks + blocks);
    account.inodes = Math.max(0, account.inodes + inodes);
    this.#changed.add(account);
  }

  /** Pages that putUsage may make new. */
  get pagesMax(): number {
    return this.areOn ? Math.ceil(this.#accounts.size / 64) + 8 : 0;
  }

  /** Brings into memory what putUsage needs. */
  *gather(): Task<void> {
    for (const { key } of [...this.#changed])
      yield* retrying(() => this.#store.fsTree.touch(0, ITEM_QUOTA, key));
  }

  /** Puts what has changed since the last checkpoint, without waiting. False if a page was missing. */
  putUsage(): boolean {
    try {
      for (const account of this.#changed) {
        this.#encode(account);
        this.#store.fsTree.put(0, ITEM_QUOTA, account.key, this.#value, QUOTA_BYTES);
        this.#changed.delete(account);
      }
    } catch (error) {
      if (error instanceof Retry) return false;
      throw error;
    }
    return true;
  }

  // --- counting ---

  #count(account: Account): void {
    spawn(this.#countAll(account), (error) => {
      if (error !== null) this.#failed(error);
    });
  }

  /** What cannot be read is no reason to stop everything: a quota that cannot count refuses nothing. */
  #failed(error: unknown): void {
    if (error instanceof RetryFailed)
      this.#store.log("error", "quota.unreadable", { cause: String(error) });
    else this.#store.fault(error);
  }

  *#countAll(account: Account): Task<void> {
    while (account.counted < QUOTA_ALL) {
      const going = yield* retrying(() => this.#countSome(account));
      if (!going) return;
      // Requests come between two steps.
      yield (resume) => this.#store.post(() => resume(0));
    }
  }

  /** One step. False when it is not wanted any more. */
  #countSome(account: Account): boolean {
    const store = this.#store;
    const { key } = account;
    if (this.#stopped || this.#accounts.get(key) !== account) return false;
    if (store.begin(INTENT_SHRINK) < 0) return false;
    const { view } = this.#core;
    const kind = quotaKind(key);
    const id = quotaId(key);
    let blocks = 0;
    let inodes = 0;
    let next = account.counted;
    let found = store.seek(next, ITEM_INODE, 0);
    for (let steps = 0; found && steps < COUNT_STEP; steps++) {
      const at = store.valueAddress;
      if (store.keyType === ITEM_INODE && idOf(view, at, kind) === id) {
        blocks += getU64(view, at + INODE_BLOCKS);
        inodes++;
      }
      next = store.keyOid + 1;
      found = store.seek(next, ITEM_INODE, 0);
    }
    if (store.get(0, ITEM_QUOTA, key) === 0) return false;
    account.blocks += blocks;
    account.inodes += inodes;
    account.counted = found ? next : QUOTA_ALL;
    this.#encode(account);
    store.put(0, ITEM_QUOTA, key, this.#value, QUOTA_BYTES);
    store.commit();
    return true;
  }

  // --- limits at work ---

  /** Owners of an inode, in an object that the next call uses again. −ESTALE when there is none. */
  ownersOf(ino: number): Owners | number {
    const at = this.#store.get(ino, ITEM_INODE, 0);
    return at === 0 ? -ESTALE : this.ownersAt(at);
  }

  /** Those of an inode record. */
  ownersAt(at: number): Owners {
    const { view } = this.#core;
    this.#owners.uid = idOf(view, at, QUOTA_USER);
    this.#owners.gid = idOf(view, at, QUOTA_GROUP);
    this.#owners.project = idOf(view, at, QUOTA_PROJECT);
    return this.#owners;
  }

  /** Blocks that files of these owners may still take; Infinity without a limit. */
  blocksLeft(owners: Owners): number {
    return this.#left(owners, null, (account) =>
      account.blocksMax === 0 ? Number.POSITIVE_INFINITY : account.blocksMax - account.blocks,
    );
  }

  /** 0, or −EDQUOT when one more inode of these owners is one too many. */
  inodeProblem(owners: Owners): number {
    return this.#inodesLeft(owners, null) < 1 ? -EDQUOT : 0;
  }

  /** 0, or −EDQUOT when those that an inode gets cannot take it from those that it has. */
  moveProblem(from: Owners, to: Owners, blocks: number): number {
    if (this.#inodesLeft(to, from) < 1) return -EDQUOT;
    const left = this.#left(to, from, (account) =>
      account.blocksMax === 0 ? Number.POSITIVE_INFINITY : account.blocksMax - account.blocks,
    );
    return blocks > 0 && left < blocks ? -EDQUOT : 0;
  }

  /** Whether the quotas that bind one also bind the other: buffered data of both counts together. */
  haveOneInCommon(a: Owners, b: Owners): boolean {
    return (
      (a.uid === b.uid && this.#limitsBlocks(QUOTA_USER, a.uid)) ||
      (a.gid === b.gid && this.#limitsBlocks(QUOTA_GROUP, a.gid)) ||
      (a.project === b.project && this.#limitsBlocks(QUOTA_PROJECT, a.project))
    );
  }

  /** What a directory that hands on its project has: the project's limits, as df shows them. */
  narrow(ino: number, out: VolumeSpace): void {
    const at = this.#store.get(ino, ITEM_INODE, 0);
    if (at === 0) return;
    const { view } = this.#core;
    if ((view.getUint32(at + INODE_FLAGS, true) & FLAG_PROJECT_INHERIT) === 0) return;
    const account = this.#accounts.get(quotaKey(QUOTA_PROJECT, idOf(view, at, QUOTA_PROJECT)));
    if (account === undefined) return;
    if (account.blocksMax > 0 && account.blocksMax < out.blocks) {
      const left = Math.max(0, account.blocksMax - account.blocks);
      out.blocks = account.blocksMax;
      out.blocksFree = Math.min(out.blocksFree, left);
      out.blocksAvailable = Math.min(out.blocksAvailable, left);
    }
    if (account.inodesMax > 0 && account.inodesMax < out.files) {
      out.files = account.inodesMax;
      out.filesFree = Math.min(out.filesFree, Math.max(0, account.inodesMax - account.inodes));
    }
  }

  #limitsBlocks(kind: number, id: number): boolean {
    const account = this.#accounts.get(quotaKey(kind, id));
    return account !== undefined && account.blocksMax > 0;
  }

  #inodesLeft(owners: Owners, except: Owners | null): number {
    return this.#left(owners, except, (account) =>
      account.inodesMax === 0 ? Number.POSITIVE_INFINITY : account.inodesMax - account.inodes,
    );
  }

  /** The least that the accounts of these owners have left, but those that it has in common with others. */
  #left(owners: Owners, except: Owners | null, of: (account: Account) => number): number {
    let left = Number.POSITIVE_INFINITY;
    const look = (kind: number, id: number, other: number | undefined): void => {
      const account = id === other ? undefined : this.#accounts.get(quotaKey(kind, id));
      if (account !== undefined && account.counted === QUOTA_ALL)
        left = Math.min(left, of(account));
    };
    look(QUOTA_USER, owners.uid, except?.uid);
    look(QUOTA_GROUP, owners.gid, except?.gid);
    look(QUOTA_PROJECT, owners.project, except?.project);
    return left;
  }
}

const FIELDS: readonly number[] = [INODE_UID, INODE_GID, INODE_PROJECT];

/** Who owns a record, of one kind. */
function idOf(view: DataView, at: number, kind: number): number {
  return view.getUint32(at + (FIELDS[kind] as number), true);
}

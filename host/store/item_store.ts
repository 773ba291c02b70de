/**
 * The trees as fs/ sees them: items under keys (object id, type, offset), changed by atomic, ordered transactions.
 *
 * An operation: `begin`, look at every key that it will change (get or seek: these may throw Retry), decide, then put and
 * remove (these never throw Retry for keys looked at since begin), then `commit`. Nothing is visible to a crash until
 * commit, and a transaction is never split. Value addresses are in the core's memory and valid until the next put,
 * remove or return to the loop; never write through them.
 */
/** Whether a transaction may use the last reserve of space: removals may, so that a full volume can be emptied. */
export const INTENT_GROW = 0;
export const INTENT_SHRINK = 1;

export interface ItemStore {
  /** Opens a transaction. Returns 0, −ENOSPC or −EROFS; throws Retry when frames, journal or space must be waited for. */
  begin(intent: number): number;
  /** Ends the transaction; without puts or removes it leaves nothing. */
  commit(): void;

  /** Address of the value, 0 if there is none; its length is in `valueLength`. */
  get(oid: number, type: number, offset: number): number;
  /** Moves to the first entry at or after the key; true if there is one. Sets key*, value*. */
  seek(oid: number, type: number, offset: number): boolean;
  /** Moves to the last entry at or before the key. */
  seekLast(oid: number, type: number, offset: number): boolean;
  /** Moves to the next entry; only right after seek or next, with no change between. */
  next(): boolean;
  /** After seek: what comes next and lies before a key is read into memory, at most so many pages; nobody waits for it. */
  readAhead(oid: number, type: number, offset: number, pages: number): void;
  keyOid: number;
  keyType: number;
  keyOffset: number;
  valueAddress: number;
  valueLength: number;

  /** Inserts or replaces; the value is copied from the core's memory (not from inside a tree page). */
  put(oid: number, type: number, offset: number, valueAddress: number, valueLength: number): void;
  /** Removes; the key must exist. */
  remove(oid: number, type: number, offset: number): void;

  /** 8,400 bytes of the core's memory to build values in; free again after each put. */
  readonly scratchAddress: number;
  /** The inode number that allocateObjectId gives next; never used before. */
  readonly nextObjectId: number;
  allocateObjectId(): number;
  /** Adds to the count of inodes (statfs). */
  countObjects(change: number): void;
}

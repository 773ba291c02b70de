/**
 * A test double of ItemStore that holds its users to the contract: what is not promised does not work here. A change of a
 * key that was not looked at since begin, a value read from a page after a change, a wait after the first change, a value
 * put from inside a page, a change left open: each throws ContractError, or hands out poisoned bytes.
 *
 * Items are a sorted array. With `retryShare`, the first look at a key throws Retry by chance, as one at a page that is
 * not cached does; `evict` forgets which keys are cached.
 */
import { Prng } from "../../host/base/prng.ts";
import { Retry } from "../../host/base/retry.ts";
import type { Core } from "../../host/core/core.ts";
import type { Layout } from "../../host/core/layout.ts";
import { VALUE_BYTES_MAX } from "../../host/format/limits.ts";
import type { ItemStore } from "../../host/store/item_store.ts";

const SCRATCH_BYTES = 8400;
/** Where values that were handed out lie until the next change. */
const WINDOW_BYTES = 1 << 19;
const POISON = 0xdb;

/** The user of the store broke its contract. */
export class ContractError extends Error {}

export interface ModelItem {
  readonly oid: number;
  readonly type: number;
  readonly offset: number;
  value: Uint8Array;
}

export class ModelStore implements ItemStore {
  readonly items: ModelItem[] = [];
  readonly scratchAddress: number;
  nextObjectId = 2;
  objectCount = 0;
  /** Transactions that changed something. */
  commits = 0;
  retries = 0;
  /** What begin returns: 0 or −errno. */
  beginStatus = 0;
  retryShare: number;

  keyOid = 0;
  keyType = 0;
  keyOffset = 0;
  valueAddress = 0;
  valueLength = 0;

  readonly #core: Core;
  readonly #random: Prng;
  readonly #window: number;
  #windowUsed = 0;
  #open = false;
  #changed = false;
  #allocated = false;
  readonly #looked = new Set<string>();
  readonly #cached = new Set<string>();
  /** Index of the item that seek or next moved to; −1 when next may not be called. */
  #cursor = -1;

  constructor(options: { core: Core; layout: Layout; retryShare?: number; seed?: number }) {
    this.#core = options.core;
    this.retryShare = options.retryShare ?? 0;
    this.#random = new Prng(options.seed ?? 1);
    this.scratchAddress = options.layout.take(SCRATCH_BYTES, 8);
    this.#window = options.layout.take(WINDOW_BYTES, 8);
  }

  /** Whether something was changed that no commit made whole. */
  get unfinished(): boolean {
    return this.#changed || this.#allocated;
  }

  /** No key is cached any more. */
  evict(): void {
    this.#cached.clear();
  }

  begin(_intent: number): number {
    if (this.unfinished) throw new ContractError("begin: a changed transaction was left open");
    if (this.#chance("begin")) this.#wait("begin");
    if (this.beginStatus < 0) return this.beginStatus;
    this.#open = true;
    this.#looked.clear();
    return 0;
  }

  commit(): void {
    if (this.#allocated && !this.#changed) throw new ContractError("commit: an unused object id");
    if (this.#changed) this.commits++;
    this.#open = false;
    this.#changed = false;
    this.#allocated = false;
    this.#looked.clear();
  }

  get(oid: number, type: number, offset: number): number {
    this.#cursor = -1;
    this.#look(oid, type, offset);
    const index = this.#lowerBound(oid, type, offset);
    const item = this.items[index];
    if (item === undefined || order(item, oid, type, offset) !== 0) {
      this.valueLength = 0;
      return 0;
    }
    this.#hand(item);
    return this.valueAddress;
  }

  seek(oid: number, type: number, offset: number): boolean {
    this.#look(oid, type, offset);
    return this.#move(this.#lowerBound(oid, type, offset));
  }

  readAhead(): void {}

  seekLast(oid: number, type: number, offset: number): boolean {
    this.#look(oid, type, offset);
    const index = this.#lowerBound(oid, type, offset);
    const item = this.items[index];
    const exact = item !== undefined && order(item, oid, type, offset) === 0;
    return this.#move(exact ? index : index - 1);
  }

  next(): boolean {
    if (this.#cursor < 0) throw new ContractError("next: not right after seek");
    return this.#move(this.#cursor + 1);
  }

  put(oid: number, type: number, offset: number, valueAddress: number, valueLength: number): void {
    this.#change("put", oid, type, offset);
    if (!(valueLength >= 0 && valueLength <= VALUE_BYTES_MAX)) {
      throw new ContractError(`put: a value of ${valueLength} bytes`);
    }
    const end = valueAddress + valueLength;
    if (valueLength > 0 && valueAddress < this.#window + WINDOW_BYTES && end > this.#window) {
      throw new ContractError("put: the value lies inside a page");
    }
    const value = this.#core.bytes.slice(valueAddress, end);
    const index = this.#lowerBound(oid, type, offset);
    const item = this.items[index];
    if (item !== undefined && order(item, oid, type, offset) === 0) item.value = value;
    else this.items.splice(index, 0, { oid, type, offset, value });
    this.#poison();
  }

  remove(oid: number, type: number, offset: number): void {
    this.#change("remove", oid, type, offset);
    const index = this.#lowerBound(oid, type, offset);
    const item = this.items[index];
    if (item === undefined || order(item, oid, type, offset) !== 0) {
      throw new ContractError(`remove: ${keyOf(oid, type, offset)} does not exist`);
    }
    this.items.splice(index, 1);
    this.#poison();
  }

  allocateObjectId(): number {
    if (!this.#open) throw new ContractError("allocateObjectId: no transaction is open");
    this.#allocated = true;
    return this.nextObjectId++;
  }

  countObjects(change: number): void {
    if (!this.#changed) throw new ContractError("countObjects: nothing was changed");
    this.objectCount += change;
  }

  #change(what: string, oid: number, type: number, offset: number): void {
    const key = keyOf(oid, type, offset);
    if (!this.#open) throw new ContractError(`${what}: no transaction is open`);
    if (!this.#looked.has(key)) throw new ContractError(`${what}: ${key} was not looked at`);
    this.#changed = true;
    this.#cursor = -1;
  }

  #look(oid: number, type: number, offset: number): void {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset >= 2 ** 56) {
      throw new ContractError(`look: an offset of ${offset}`);
    }
    const key = keyOf(oid, type, offset);
    if (this.unfinished) {
      // Only keys that were looked at before are sure to be there now.
      if (!this.#looked.has(key)) throw new ContractError(`look: ${key} after the first change`);
      return;
    }
    if (this.#chance(key)) this.#wait(key);
    this.#looked.add(key);
  }

  #chance(key: string): boolean {
    return this.retryShare > 0 && !this.#cached.has(key) && this.#random.float() < this.retryShare;
  }

  #wait(key: string): never {
    this.retries++;
    this.#poison();
    throw new Retry((resume) => {
      this.#cached.add(key);
      resume(0);
    });
  }

  #move(index: number): boolean {
    this.#cursor = index;
    const item = this.items[index];
    if (item === undefined) {
      this.#cursor = -1;
      this.keyOid = 0;
      this.keyType = 0;
      this.keyOffset = 0;
      this.valueAddress = 0;
      this.valueLength = 0;
      return false;
    }
    this.#look(item.oid, item.type, item.offset);
    this.keyOid = item.oid;
    this.keyType = item.type;
    this.keyOffset = item.offset;
    this.#hand(item);
    return true;
  }

  #hand(item: ModelItem): void {
    const { length } = item.value;
    // An empty value has an address too: 0 would say that there is none.
    if (this.#windowUsed + length + 8 > WINDOW_BYTES) this.#poison();
    this.valueAddress = this.#window + this.#windowUsed;
    this.valueLength = length;
    this.#core.bytes.set(item.value, this.valueAddress);
    this.#windowUsed += (length + 15) & ~7;
  }

  #poison(): void {
    this.#core.bytes.fill(POISON, this.#window, this.#window + this.#windowUsed);
    this.#windowUsed = 0;
  }

  #lowerBound(oid: number, type: number, offset: number): number {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order(this.items[middle] as ModelItem, oid, type, offset) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function order(item: ModelItem, oid: number, type: number, offset: number): number {
  return item.oid - oid || item.type - type || item.offset - offset;
}

function keyOf(oid: number, type: number, offset: number): string {
  return `(${oid}, ${type}, ${offset})`;
}

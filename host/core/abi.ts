/**
 * The contract with the Wasm core: every export, with units, ranges and results.
 *
 * Conventions. Addresses are byte offsets in the core's linear memory, u32. A result is a count or status ≥ 0, or
 * −errno (base/errno.ts). Raw Wasm returns u32 as a signed i32: apply `>>> 0` to addresses. 64-bit numbers cross as
 * f64 when they are safe integers (≤ 2^53: object ids, file offsets, block numbers) and stay in memory otherwise
 * (checksums, page addresses). The core keeps no pointer across calls except where it says so; structures that live
 * across calls are named by their base address (a handle), sized by `*_bytes()` and laid out by the host.
 */

/**
 * assembly/checksum: pure functions of bytes, of any length from 0 and at any alignment. No pointer is kept; a result
 * must not lie in the bytes it is made from.
 */
export interface ChecksumAbi {
  /** Stores XXH3-64, seed 0, of a region as 8 bytes, little-endian, at `resultAddress`. */
  xxh3_64(address: number, byteLength: number, resultAddress: number): void;

  /** Stores XXH3-64 of each of `unitCount` adjacent units of `unitBytes`, 8 bytes a unit. */
  xxh3_64_units(address: number, unitBytes: number, unitCount: number, outAddress: number): void;

  /**
   * Checks what xxh3_64_units stored.
   *
   * @returns The index of the first unit whose checksum differs, or −1.
   */
  xxh3_64_verify_units(
    address: number,
    unitBytes: number,
    unitCount: number,
    expectedAddress: number,
  ): number;

  /** Stores XXH3-128, seed 0, of a region as 16 bytes: the low 64 bits, then the high, each little-endian. */
  xxh3_128(address: number, byteLength: number, resultAddress: number): void;

  /** Stores BLAKE3 (unkeyed, 256 bits) of a region as 32 bytes in the order of its hexadecimal form. */
  blake3(address: number, byteLength: number, resultAddress: number): void;

  /**
   * CRC-32C (Castagnoli, reflected, complemented at both ends), for formats of others.
   *
   * @param seed 0, or the result for the bytes before these.
   * @returns Signed: apply `>>> 0`.
   */
  crc32c(address: number, byteLength: number, seed: number): number;

  /** @returns A name's hash in directories: the low 48 bits of its XXH3-64, as an exact integer. */
  name_hash(address: number, byteLength: number): number;

  /** Copies as if through a third buffer: the regions may overlap. */
  bytes_copy(to: number, from: number, byteLength: number): void;

  /** @param value 0 to 255; higher bits are ignored. */
  bytes_fill(to: number, value: number, byteLength: number): void;

  /** @returns 1 if the regions hold the same bytes, else 0. Not constant-time. */
  bytes_equal(a: number, b: number, byteLength: number): number;
}

/** Longest value of an item in a page, in bytes: at least three items fit. */
export const PAGE_VALUE_MAX = 4200;

/** What page_key writes, 8-aligned: f64 object id, f64 offset, u32 type, u32 0. */
export const KEY_OID = 0;
export const KEY_OFFSET = 8;
export const KEY_TYPE = 16;
export const KEY_BYTES = 24;

/** What page_validate found broken: 0 is nothing. */
export const PAGE_BAD_MAGIC = 1;
/** Above 8, or not the one expected. */
export const PAGE_BAD_LEVEL = 2;
/** The slots reach into the heap, or an interior page has none. */
export const PAGE_BAD_SLOT_COUNT = 3;
/** The heap begins outside the page, or live and dead bytes do not add up to it. */
export const PAGE_BAD_HEAP = 4;
/** A value is too long or not inside the heap. */
export const PAGE_BAD_VALUE = 5;
export const PAGE_BAD_OVERLAP = 6;
/** Keys do not ascend strictly (the key of slot 0 of an interior page does not count). */
export const PAGE_BAD_ORDER = 7;
/** A number in a key is above 2^53. */
export const PAGE_BAD_KEY = 8;
/** A value of an interior page is not a page pointer with a first copy. */
export const PAGE_BAD_POINTER = 9;
export const PAGE_BAD_RESERVED = 10;

/** Names of the rules, indexed by the code of page_validate. */
export const PAGE_PROBLEMS: readonly string[] = [
  "none",
  "magic",
  "level",
  "slot count",
  "heap",
  "value range",
  "value overlap",
  "key order",
  "key range",
  "page pointer",
  "reserved bytes",
];

/** Flags of a frame. VALID is the core's own: it says that the frame is in use. */
export const FRAME_VALID = 1;
/** Differs from what is on disk: never evicted. */
export const FRAME_DIRTY = 2;
/** Used since the clock's hand last passed. */
export const FRAME_REFERENCED = 4;
/** Contents are still being read: never evicted, and missing (−EAGAIN) for walks. */
export const FRAME_LOADING = 8;

/** Levels of a path at most: page levels 0 to 8. */
export const PATH_DEPTH_MAX = 9;
/**
 * A path record, 8-aligned, path_bytes() long: where a walk ended, and what it found there. Key and value are those of
 * the entry when the walk returned 1. From PATH_LEVELS on, the root's level first, PATH_DEPTH pairs of PATH_LEVEL_BYTES:
 * u32 frame, u32 slot. In interior pages the slot is that of the child taken; in the leaf that of the entry, or where
 * the key would be inserted.
 */
export const PATH_KEY_OID = 0;
export const PATH_KEY_OFFSET = 8;
export const PATH_KEY_TYPE = 16;
export const PATH_VALUE_ADDRESS = 20;
export const PATH_VALUE_LENGTH = 24;
/** Levels that are filled, the leaf's included. */
export const PATH_DEPTH = 28;
/** 1 when the entry has exactly the key asked for. */
export const PATH_EXACT = 32;
/** After −EAGAIN: address of the page pointer whose page is not cached. It lies in the root record or in a page. */
export const PATH_MISSING_POINTER = 36;
export const PATH_LEAF_FRAME = 40;
export const PATH_LEAF_SLOT = 44;
export const PATH_LEVELS = 48;
export const PATH_LEVEL_BYTES = 8;

/**
 * An entry that tree_scan copied out: f64 object id, u32 type, u32 valueLength, f64 offset, then the value. The next
 * entry follows at the next multiple of 8; the bytes between are undefined.
 */
export const ENTRY_OID = 0;
export const ENTRY_TYPE = 8;
export const ENTRY_VALUE_LENGTH = 12;
export const ENTRY_OFFSET = 16;
export const ENTRY_VALUE = 24;

/**
 * assembly/btree: pages, the page cache's table, and walks over cached pages.
 *
 * A page is 16 KiB, in memory as on disk (format/SPEC.md): a header, slots sorted by key from byte 64 up, values from
 * the end down. A key is (objectId f64, type 0 to 255, offset f64), both f64 integers, 0 ≤ x ≤ 2^53; anything else
 * traps. In an interior page (level > 0) a value is a page pointer of 40 bytes, and slot 0 takes every key below that
 * of slot 1: its own key is never looked at.
 *
 * `page` is the address of a page that page_init made or page_validate accepted; another traps or gives nonsense, but
 * nothing is written outside the page. A slot is < slotCount unless said otherwise; another traps. Value addresses
 * hold until the next insert, replace, split or merge of the page.
 */
export interface TreeAbi {
  /**
   * Makes an empty page; all its bytes are written.
   *
   * @param generation f64, the birth generation. @param addressLow, addressHigh u32 halves of its first copy's address.
   */
  page_init(
    page: number,
    level: number,
    treeId: number,
    generation: number,
    addressLow: number,
    addressHigh: number,
  ): void;
  /**
   * @returns The slot that has this key; else −(slot where it would be inserted) − 1. In an interior page that is not
   *   empty slot 0 is neither found nor a place to insert: the child to go to is the slot found, or the one before.
   */
  page_search(page: number, oid: number, type: number, offset: number): number;
  /**
   * Inserts an item at the slot that page_search named; traps when the order would break. Gathers dead bytes if it
   * must.
   *
   * @param slot ≤ slotCount. @param valueLength ≤ PAGE_VALUE_MAX, else traps.
   * @returns Address of the value (`>>> 0`), for the caller to fill, all of it; 0 when there is no room.
   */
  page_insert(
    page: number,
    slot: number,
    oid: number,
    type: number,
    offset: number,
    valueLength: number,
  ): number;
  /**
   * Gives an item's value another length. With the same or a smaller one it stays where it is and keeps its first
   * bytes; else it is undefined.
   *
   * @returns Address of the value (`>>> 0`); 0 when there is no room, and nothing changed.
   */
  page_replace(page: number, slot: number, valueLength: number): number;
  page_remove(page: number, slot: number): void;
  /**
   * Changes a key in place; traps when the order would break. For slot 0 of an interior page: before page_merge moves
   * it behind another page's items, give it the key that stands for that page in the parent.
   */
  page_set_key(page: number, slot: number, oid: number, type: number, offset: number): void;
  /**
   * Moves the upper items to an empty page of the same level, such that both have room for an item of any length.
   *
   * @param insertSlot Where an insert found no room. At slotCount (appending) only the last item moves, so that pages
   *   filled in order stay full. For an interior page: the slot where the new child will be inserted.
   * @returns Items left in `page`; all of them when it has fewer than 2.
   */
  page_split(page: number, emptyPage: number, insertSlot: number): number;
  /**
   * Appends all items of `right` to `left`. The same level, and keys all higher (page_set_key first for interior pages).
   *
   * @returns 1; 0 when they do not fit or are not in order, and nothing changed. `right` is unchanged in both cases.
   */
  page_merge(left: number, right: number): number;
  /** Bytes of slots and values. */
  page_live_bytes(page: number): number;
  /** Bytes left for slots (20 each) and values, once dead bytes are gathered. */
  page_free_bytes(page: number): number;
  /** Address of a value (`>>> 0`); inside the page also when the length is 0. */
  page_value(page: number, slot: number): number;
  page_value_length(page: number, slot: number): number;
  /** Writes a slot's key as a record: KEY_OID, KEY_OFFSET, KEY_TYPE, KEY_BYTES. */
  page_key(page: number, slot: number, result: number): void;
  /**
   * Checks arbitrary bytes for all that the other functions rely on, but not the checksum, address and generation.
   *
   * @param expectedLevel 0 to 8, or −1 for any.
   * @returns 0, or a code PAGE_BAD_*.
   */
  page_validate(page: number, expectedLevel: number): number;

  /** Bytes of the table for `frameCount` frames (1 to 2^18), or 0 when out of range. */
  cache_bytes(frameCount: number): number;
  /**
   * Lays out an empty cache. `base` and `framesAddress` are 8-aligned; frame f is the 16 KiB from framesAddress +
   * f × 16,384 on. A base that was never initialised traps, a frame out of range too.
   *
   * @returns 0; −EINVAL.
   */
  cache_init(base: number, frameCount: number, framesAddress: number): number;
  /** @returns The frame of the page whose first copy has this address (sets REFERENCED), also if LOADING; or −1. */
  cache_find(base: number, addressLow: number, addressHigh: number): number;
  /**
   * Takes a free frame for an address: VALID and REFERENCED. Its contents are whatever was there.
   *
   * @returns The frame; −ENOMEM when none is free (nothing is evicted); −EEXIST when the address is in the cache;
   *   −EINVAL for address 0.
   */
  cache_add(base: number, addressLow: number, addressHigh: number): number;
  /** Frees a frame, also a dirty one. @returns 0; −EBUSY when it is pinned; −ENOENT when it is free. */
  cache_remove(base: number, frame: number): number;
  /**
   * Frees one frame that is clean, unpinned and not loading, by the CLOCK algorithm.
   *
   * @returns The frame, or −1 when there is none (at once if all are held).
   */
  cache_evict(base: number): number;
  /** Keeps a frame in use from being evicted or removed until as many unpins. @returns Its pins, at most 65,535. */
  cache_pin(base: number, frame: number): number;
  /** @returns The pins left. Traps when there is none. */
  cache_unpin(base: number, frame: number): number;
  /** @returns FRAME_* bits; 0 for a free frame. */
  cache_flags(base: number, frame: number): number;
  /**
   * Sets, then clears bits of DIRTY, REFERENCED, LOADING of a frame in use.
   *
   * @returns The flags now; −EINVAL for other bits; −ENOENT when the frame is free.
   */
  cache_set_flags(base: number, frame: number, set: number, clear: number): number;
  cache_free_count(base: number): number;
  cache_dirty_count(base: number): number;
  /** Address of a frame's page (`>>> 0`). */
  cache_frame_address(base: number, frame: number): number;
  /** @returns The frame whose page begins at this address; −1 when none does. */
  cache_frame_of(base: number, pageAddress: number): number;
  /** @returns The first DIRTY frame at or after `fromFrame`, or −1. `fromFrame` may be frameCount. */
  cache_next_dirty(base: number, fromFrame: number): number;
  /** Gives a frame in use another address. @returns 0; −EEXIST; −ENOENT when the frame is free; −EINVAL for address 0. */
  cache_rekey(base: number, frame: number, addressLow: number, addressHigh: number): number;

  /** Bytes of a path record. */
  path_bytes(): number;
  /**
   * Finds a key. `tree` is the address of a root record: page pointer (40 bytes), u32 level at +40. All walks: nothing
   * is changed but the path record, flags REFERENCED, and what the function is for; bytes of damaged pages may give a
   * wrong answer or an error, never a trap, an endless loop or a write outside.
   *
   * @returns 1 found (key and value in the path); 0 not (PATH_LEAF_SLOT is where it would be inserted); −EAGAIN when a
   *   page is not cached (PATH_MISSING_POINTER); −EUCLEAN when a level is not one below its parent's, the root's is not
   *   the one recorded, or a page's header or value is broken.
   */
  tree_find(
    cache: number,
    tree: number,
    path: number,
    oid: number,
    type: number,
    offset: number,
  ): number;
  /** Moves to the first entry ≥ a key. @returns 1; 0 when there is none: the path is behind the last; as tree_find. */
  tree_seek(
    cache: number,
    tree: number,
    path: number,
    oid: number,
    type: number,
    offset: number,
  ): number;
  /** Moves to the last entry ≤ a key. @returns 1; 0 when there is none: the path is before the first; as tree_find. */
  tree_seek_last(
    cache: number,
    tree: number,
    path: number,
    oid: number,
    type: number,
    offset: number,
  ): number;
  /**
   * Moves on from an entry found by find, seek, seek_last or step: neither the tree nor the cache's frames have changed
   * since.
   *
   * @param direction 1 or −1.
   * @returns 1; 0 at the end: the path is then behind the last or before the first, and a step back returns to it, but
   *   its key and value are still those of the entry; −EAGAIN: key and value are unchanged, load the page and seek
   *   again by key; −EUCLEAN, also for a path that cannot be.
   */
  tree_step(cache: number, path: number, direction: number): number;
  /**
   * Copies entries with start ≤ key < end to `outAddress` (8-aligned), as ENTRY_*, until they end or the next does not
   * fit into `outCapacity` bytes. The path's key is then where to continue: the end's key if there is no more.
   *
   * @returns How many; −EAGAIN or −EUCLEAN when that comes before the first entry (else the next call says so); −ENOSPC
   *   when the first entry does not fit (24 + PAGE_VALUE_MAX bytes hold any).
   */
  tree_scan(
    cache: number,
    tree: number,
    path: number,
    oid: number,
    type: number,
    offset: number,
    endOid: number,
    endType: number,
    endOffset: number,
    outAddress: number,
    outCapacity: number,
  ): number;
  /**
   * Inserts or replaces when that needs neither copy-on-write nor a split: every page on the path was born in
   * `generation` (so is DIRTY) and the leaf has room. The value must not lie in a page. No key or value in the path.
   *
   * @param generation f64, the open generation.
   * @returns 1 inserted; 2 replaced; 0 the host must do it: nothing changed, path as tree_find; −EINVAL when the value
   *   is longer than PAGE_VALUE_MAX; errors as tree_find.
   */
  tree_put_fast(
    cache: number,
    tree: number,
    path: number,
    oid: number,
    type: number,
    offset: number,
    valueAddress: number,
    valueLength: number,
    generation: number,
  ): number;
  /**
   * Removes when that neither needs copy-on-write nor empties the leaf. The path is that of tree_find before.
   *
   * @returns 1 removed; 0 the host must do it: nothing changed, path as tree_find; −ENOENT; errors as tree_find.
   */
  tree_remove_fast(
    cache: number,
    tree: number,
    path: number,
    oid: number,
    type: number,
    offset: number,
    generation: number,
  ): number;
}

/** Flag of space_alloc: never ask for a region to be loaded. */
export const SPACE_ATTACHED_ONLY = 1;

/**
 * assembly/extent: free-space bitmaps of one device, and the pool of data buffers.
 *
 * A device is `blockCount` blocks cut into regions of `regionBlocks`; region r holds the blocks from r × regionBlocks
 * on. In a bitmap, bit b of the region is bit (b mod 8) of byte (b div 8), and 1 means used. Summaries of all regions
 * stay in memory; a bitmap is there only while attached. `base` is 8-aligned; a base that was never initialised traps.
 */
export interface SpaceAbi {
  /** Bytes for a device of `regionCount` regions (1 to 65,536), or 0 when out of range. */
  space_bytes(regionCount: number): number;
  /**
   * Lays out an allocator with nothing free and nothing attached. `blockCount` f64, 1 to 2^48; `regionBlocks` a power
   * of two, 32,768 to 2^31, such that there are at most 65,536 regions. @returns Their number,
   * ceil(blockCount / regionBlocks), which `space_bytes` must
   * have been asked for; −EINVAL.
   */
  space_init(base: number, blockCount: number, regionBlocks: number): number;
  /**
   * Sets the summary of a region that is not attached: its free blocks, and an upper bound of its longest free run.
   * @returns 0; −EBUSY while attached; −EINVAL (also when longest > free, or free > blocks of the region).
   */
  space_set_summary(base: number, region: number, free: number, longest: number): number;
  /** Free blocks of a region, exact as far as its summary was; −EINVAL. */
  space_region_free(base: number, region: number): number;
  /** Upper bound of the longest free run of a region (raised by frees, lowered by scans that fail); −EINVAL. */
  space_region_longest(base: number, region: number): number;
  /**
   * Makes a region's bitmap (regionBlocks / 8 bytes, 8-aligned) usable where it lies: THE POINTER IS KEPT until detach.
   * Sets the bits past the device's end; recomputes the summary exactly (compare space_region_free before and after to
   * find a stale one). @returns 0; −EEXIST when attached already; −EINVAL.
   */
  space_attach(base: number, region: number, bitmapAddress: number): number;
  /** Forgets the bitmap; the summary stays. @returns 0; −ENOENT when not attached; −EINVAL. */
  space_detach(base: number, region: number): number;
  /** Address of a region's bitmap (`>>> 0`), 0 when it is not attached or out of range. */
  space_attached(base: number, region: number): number;
  /**
   * Takes a contiguous run, inside one region: `count` blocks from `goal` onward in its region if they exist, else a
   * run of `count` there, else in the attached region nearest to it. When no attached region has `count`: asks for a
   * region that may have (−EAGAIN, unless flags has SPACE_ATTACHED_ONLY), then takes about the longest run ≥
   * `minCount`, then asks for a region that may have that. Loading the region asked for and calling again always makes
   * progress: attaching corrects its summary.
   *
   * @param goal f64, 0 ≤ goal < blockCount.
   * @param count 1 or more; more than a region is cut to a region.
   * @param minCount 1 ≤ minCount ≤ count.
   * @param flags 0 or SPACE_ATTACHED_ONLY (1).
   * @param result 8-aligned, 16 bytes: f64 start, u32 count, u32 region. Written on 0; on −EAGAIN only `region`.
   * @returns 0; −EAGAIN with `region` to load; −ENOSPC (with SPACE_ATTACHED_ONLY: none in attached regions); −EINVAL.
   */
  space_alloc(
    base: number,
    goal: number,
    count: number,
    minCount: number,
    flags: number,
    result: number,
  ): number;
  /**
   * Sets a run used. `start` f64; the run lies in one region (the caller splits at borders), count ≥ 1.
   * @returns 0; −EEXIST when any of it was used (nothing changed); −EAGAIN when its region is not attached; −EINVAL.
   */
  space_mark(base: number, start: number, count: number): number;
  /** Sets a run free; as space_mark, but −ENOENT when any of it was free already (nothing changed). */
  space_free(base: number, start: number, count: number): number;
  /** 1 all used, 0 all free, 2 mixed; −EAGAIN when its region is not attached; −EINVAL as space_mark. */
  space_is_used(base: number, start: number, count: number): number;
  /** f64: free blocks of the device, the sum of all summaries. O(1). */
  space_free_total(base: number): number;
  /** Clears bits of a bitmap that is not attached (an image to be written). @returns How many were set. */
  space_bitmap_clear(bitmapAddress: number, firstBit: number, count: number): number;
  /** Number of set bits among the first `bitCount` of a bitmap (8-aligned address). */
  space_bitmap_count(bitmapAddress: number, bitCount: number): number;

  /** Bytes for a pool of `frameCount` frames (1 to 2^20 of 4 KiB), or 0 when out of range. */
  pool_bytes(frameCount: number): number;
  /** Lays out a pool of frames of 4 KiB from `framesAddress` on, all free. @returns 0; −EINVAL. */
  pool_init(base: number, frameCount: number, framesAddress: number): number;
  /**
   * Takes `count` ≥ 1 contiguous frames. Single frames come from the pool's low end, runs from where the last one
   * ended, so that singles do not break up the room for runs.
   * @returns Their address (`>>> 0`), or 0 when no run is long enough. Contents are whatever was there.
   */
  pool_alloc(base: number, count: number): number;
  /** Gives frames back: any part of what was taken. Traps unless all of them are taken frames of this pool. */
  pool_free(base: number, address: number, count: number): void;
  pool_free_count(base: number): number;
  /** Longest free run in frames, exact (scans the pool: microseconds). */
  pool_longest(base: number): number;
}

/** States of a buffered run, as dirty_find and dirty_next report them. */
export const RUN_DIRTY = 1;
export const RUN_FLUSHING = 2;

/**
 * assembly/coalesce: the buffered blocks of one file (a map), in two layers, over one slab of nodes shared by all maps.
 *
 * A run is blocks contiguous in the file and in memory (4 KiB each). Layers: DIRTY (1), newest, nobody writes it yet;
 * FLUSHING (2), planned, its write is in flight, buffer immutable. A DIRTY run may lie over FLUSHING blocks, which are
 * then not seen any more, but keep their buffers until completed or aborted. All `fileBlock`/`fromBlock` are f64,
 * integers ≥ 0, and fileBlock + count ≤ 2^52. A map id is ≥ 1; a wrong `base` or map id traps. Buffers that are not
 * needed any more are queued for the host: call dirty_freed after whatever may have freed some. A few nodes are held
 * back for drop, truncate and plan, so that these go on when insert says −ENOMEM.
 */
export interface CoalesceAbi {
  /** Bytes for a slab of `nodeCapacity` nodes (8 to 2^24; a map is one, a run is one), or 0 when out of range. */
  dirty_bytes(nodeCapacity: number): number;
  /** `base` is 8-aligned. @returns 0; −EINVAL. */
  dirty_init(base: number, nodeCapacity: number): number;
  /** @returns A new empty map's id (≥ 1), or −ENOMEM. */
  dirty_create(base: number): number;
  /** Frees the map, its DIRTY runs and their buffers. @returns 0; −EBUSY while a write is in flight (nothing changed). */
  dirty_destroy(base: number, map: number): number;
  /**
   * Puts newest data over these blocks: the buffer belongs to the map from now on. Older DIRTY parts go (their buffers
   * to dirty_freed); FLUSHING parts sink below. Runs adjacent in the file and in memory become one.
   *
   * @param count Blocks, 1 to 2^20; `bufferAddress` ≠ 0, count × 4 KiB long.
   * @returns 0; −ENOMEM (nothing changed; never while dirty_node_free ≥ 3); −EINVAL.
   */
  dirty_insert(
    base: number,
    map: number,
    fileBlock: number,
    count: number,
    bufferAddress: number,
  ): number;
  /**
   * Newest buffer of one block.
   * @param result 4-aligned, 12 bytes: u32 bufferAddress (of this block), u32 length, u32 state (1 DIRTY, 2 FLUSHING).
   * @returns 1 with length = blocks from here on that lie in the same run; or 0 with bufferAddress 0, state 0 and
   *   length = blocks until the next buffered one (2^32 − 1 if none or further); −EINVAL.
   */
  dirty_find(base: number, map: number, fileBlock: number, result: number): number;
  /**
   * First DIRTY or FLUSHING run that ends after fromBlock, its part from fromBlock on (SEEK_DATA, truncation).
   * @param result 8-aligned, 24 bytes: f64 fileBlock, u32 blockCount, u32 state, u32 bufferAddress, u32 0.
   * @returns 1, or 0 when there is none (result untouched); −EINVAL.
   */
  dirty_next(base: number, map: number, fromBlock: number, result: number): number;
  /** DIRTY blocks of a map. */
  dirty_count(base: number, map: number): number;
  /** Blocks of a map whose write is in flight, also those covered or cancelled since. */
  dirty_flushing_count(base: number, map: number): number;
  /** f64: DIRTY blocks of all maps. */
  dirty_total(base: number): number;
  /** Nodes that insert and create may still use. */
  dirty_node_free(base: number): number;
  /**
   * Plans writes: takes DIRTY runs from fromBlock on, in file order, joins adjacent blocks into extents and makes them
   * FLUSHING. No extent crosses a multiple of maxExtentBlocks, so that later overwrites line up. Blocks whose earlier
   * write is still in flight are left DIRTY. Each extent must later be completed or aborted, in any order.
   *
   * @param maxExtentBlocks 1 or more. @param maxBlocks 1 or more: bounds the sum of all extents.
   * @param outAddress 8-aligned; `outCapacityWords` u32 words, 10 or more. Header: f64 nextFromBlock (−1 when nothing
   *   is left behind the last extent), u32 extentCount, u32 words used in all. Then each extent: f64 fileBlock,
   *   u32 blockCount, u32 runCount, runCount × (u32 bufferAddress, u32 blockCount), in file order. All 8-aligned.
   * @returns Number of extents: 0 when nothing can be planned now; −EINVAL.
   */
  dirty_plan(
    base: number,
    map: number,
    fromBlock: number,
    maxExtentBlocks: number,
    maxBlocks: number,
    outAddress: number,
    outCapacityWords: number,
  ): number;
  /**
   * Next part of a range in flight that is still wanted, i.e. not truncated or dropped since it was planned: what the
   * file's extents may point to. Ask before dirty_complete, and only when it matters.
   * @param result 8-aligned, 16 bytes: f64 fileBlock, u32 blockCount, u32 0.
   * @returns 1, or 0 when nothing in the range is; −EINVAL.
   */
  dirty_wanted(base: number, map: number, fileBlock: number, count: number, result: number): number;
  /**
   * The write of the blocks in flight in this range ended well: their buffers go to dirty_freed.
   * @returns How many of them were still wanted (not truncated or dropped meanwhile; covered ones are wanted);
   *   −EINVAL; −ENOMEM only for a range other than whole planned extents.
   */
  dirty_complete(base: number, map: number, fileBlock: number, count: number): number;
  /**
   * The write failed: blocks in flight in this range are DIRTY again unless newer data covers them or they were
   * dropped; then their buffers go to dirty_freed. @returns How many became DIRTY again; errors as dirty_complete.
   */
  dirty_abort(base: number, map: number, fileBlock: number, count: number): number;
  /**
   * Forgets all blocks at or after fromBlock: DIRTY ones are freed; those in flight are cancelled, their buffers stay
   * until completed or aborted. @returns How many DIRTY blocks went; −ENOMEM (nothing changed: needs up to 2 nodes of
   * those held back; complete or drain first); −EINVAL.
   */
  dirty_truncate(base: number, map: number, fromBlock: number): number;
  /** The same for a range (up to 4 nodes): a hole is punched, or the data went another way. */
  dirty_drop(base: number, map: number, fileBlock: number, count: number): number;
  /**
   * Takes queued buffers that are the host's again: writes up to `capacityRuns` pairs (u32 address, u32 blockCount).
   * @returns How many; fewer than capacityRuns means that the queue is empty.
   */
  dirty_freed(base: number, outAddress: number, capacityRuns: number): number;
}

export interface CoreExports extends ChecksumAbi, TreeAbi, SpaceAbi, CoalesceAbi {
  /** Version of this contract; the loader refuses another. */
  abi_version(): number;
  /** First byte after the core's static data: where the host's layout begins. */
  static_end(): number;
}

/**
 * The page cache's table: which page lies in which frame, and what may be evicted. Contents, reading and writing are the
 * host's.
 *
 *     base   Cache header, 64 bytes
 *     +64    FrameRecord[frameCount], 16 bytes each
 *            table[capacity] u32   frame + 1, 0 = empty; capacity is a power of two ≥ 2 × frameCount
 *
 * The table is hashed by address with linear probing; removal moves entries back, so there are no tombstones and at most
 * half is ever used. Free frames are a stack. `heldCount` counts the frames that CLOCK may not take (dirty, loading or
 * pinned), so that a search that must fail costs nothing.
 */
import { PAGE_BYTES, PAGE_SHIFT } from "../format/page_format";
import { EBUSY, EEXIST, EINVAL, ENOENT, ENOMEM } from "../lib/errno";
import { memoryBytes } from "../lib/whole";

@unmanaged
export class Cache {
  magic: u32;
  frameCount: u32;
  frames: u32; // address of frame 0
  freeHead: u32; // frame + 1, 0 = none
  freeCount: u32;
  dirtyCount: u32;
  heldCount: u32;
  hand: u32; // where CLOCK looks next
  tableMask: u32;
  hashShift: u32;
  table: u32;
}
if (offsetof<Cache>() > 64) ERROR("the header of a Cache is 64 bytes");

@unmanaged
class FrameRecord {
  address: u64; // of the page's first copy
  nextFree: u32; // frame + 1, 0 = none
  pins: u16;
  flags: u8;
}
if (offsetof<FrameRecord>() > 16) ERROR("a FrameRecord is 16 bytes");

const HEADER_BYTES: u32 = 64;
const CACHE_MAGIC: u32 = 0x48434143; // "CACH"
const FRAME_COUNT_MAX: u32 = 1 << 18; // 4 GiB, all the memory there can be

const VALID: u32 = 1;
const DIRTY: u32 = 2;
const REFERENCED: u32 = 4;
const LOADING: u32 = 8;

/** 2^64 divided by the golden ratio: spreads addresses that are multiples of a page's blocks. */
const HASH_FACTOR: u64 = 0x9e3779b97f4a7c15;

function tableCapacity(frameCount: u32): u32 {
  return (<u32>1) << (32 - clz(frameCount * 2 - 1));
}

export function cacheBytes(frameCount: u32): u32 {
  if (frameCount == 0 || frameCount > FRAME_COUNT_MAX) return 0;
  return HEADER_BYTES + frameCount * 16 + tableCapacity(frameCount) * 4;
}

/** A cache at a base that was initialised; traps at any other. */
export function cacheAt(base: usize): Cache {
  const cache = changetype<Cache>(base);
  assert((base & 7) == 0 && cache.magic == CACHE_MAGIC);
  return cache;
}

export function initCache(base: usize, frameCount: u32, frames: usize): i32 {
  const bytes = cacheBytes(frameCount);
  if (bytes == 0 || base == 0 || (base & 7) != 0 || frames == 0 || (frames & 7) != 0) {
    return -EINVAL;
  }
  const framesEnd = <u64>frames + ((<u64>frameCount) << PAGE_SHIFT);
  if (<u64>base + bytes > memoryBytes() || framesEnd > memoryBytes()) return -EINVAL;
  if (<u64>base < framesEnd && <u64>frames < <u64>base + bytes) return -EINVAL;

  memory.fill(base, 0, bytes);
  const cache = changetype<Cache>(base);
  const capacity = tableCapacity(frameCount);
  cache.magic = CACHE_MAGIC;
  cache.frameCount = frameCount;
  cache.frames = u32(frames);
  cache.freeHead = 1;
  cache.freeCount = frameCount;
  cache.tableMask = capacity - 1;
  cache.hashShift = 64 - ctz(capacity);
  cache.table = u32(base) + HEADER_BYTES + frameCount * 16;
  for (let frame: u32 = 0; frame + 1 < frameCount; frame++) {
    recordOf(cache, frame).nextFree = frame + 2;
  }
  return 0;
}

function recordOf(cache: Cache, frame: u32): FrameRecord {
  return changetype<FrameRecord>(changetype<usize>(cache) + HEADER_BYTES + frame * 16);
}

/** A frame's record; traps when there is no such frame. */
function checkedRecord(cache: Cache, frame: u32): FrameRecord {
  assert(frame < cache.frameCount);
  return recordOf(cache, frame);
}

// --- the table ---

function home(cache: Cache, address: u64): u32 {
  return u32((address * HASH_FACTOR) >> cache.hashShift);
}

/** Position of an address, or of the empty entry that ends the search for it. */
function position(cache: Cache, address: u64): u32 {
  const mask = cache.tableMask;
  let at = home(cache, address);
  // At most half of the entries are used: an empty one is met before a full turn.
  for (let probe: u32 = 0; probe <= mask; probe++) {
    const entry = load<u32>(cache.table + at * 4);
    if (entry == 0 || recordOf(cache, entry - 1).address == address) return at;
    at = (at + 1) & mask;
  }
  return unreachable();
}

function lookUp(cache: Cache, address: u64): i32 {
  return <i32>load<u32>(cache.table + position(cache, address) * 4) - 1;
}

function enter(cache: Cache, frame: u32): void {
  const at = position(cache, recordOf(cache, frame).address);
  store<u32>(cache.table + at * 4, frame + 1);
}

function leave(cache: Cache, frame: u32): void {
  const mask = cache.tableMask;
  let hole = position(cache, recordOf(cache, frame).address);
  let at = hole;
  for (let probe: u32 = 0; probe <= mask; probe++) {
    at = (at + 1) & mask;
    const entry = load<u32>(cache.table + at * 4);
    if (entry == 0) break;
    // An entry may move back to the hole unless that lies before its home.
    const start = home(cache, recordOf(cache, entry - 1).address);
    if (((at - start) & mask) < ((at - hole) & mask)) continue;
    store<u32>(cache.table + hole * 4, entry);
    hole = at;
  }
  store<u32>(cache.table + hole * 4, 0);
}

// --- frames ---

export function findFrame(base: usize, address: u64): i32 {
  const cache = cacheAt(base);
  const frame = lookUp(cache, address);
  if (frame >= 0) touch(recordOf(cache, frame));
  return frame;
}

/** As findFrame(), for a base that cacheAt() has checked; −1 also while the page is being read. */
export function findLoaded(cache: Cache, address: u64): i32 {
  const frame = lookUp(cache, address);
  if (frame < 0) return -1;
  const record = recordOf(cache, frame);
  if ((record.flags & LOADING) != 0) return -1;
  touch(record);
  return frame;
}

function touch(record: FrameRecord): void {
  // Not written when it is set: the line stays clean.
  if ((record.flags & REFERENCED) == 0) record.flags |= u8(REFERENCED);
}

export function addFrame(base: usize, address: u64): i32 {
  const cache = cacheAt(base);
  if (address == 0) return -EINVAL;
  if (lookUp(cache, address) >= 0) return -EEXIST;
  if (cache.freeHead == 0) return -ENOMEM;
  const frame = cache.freeHead - 1;
  const record = recordOf(cache, frame);
  cache.freeHead = record.nextFree;
  cache.freeCount--;
  record.address = address;
  record.nextFree = 0;
  record.pins = 0;
  record.flags = u8(VALID | REFERENCED);
  enter(cache, frame);
  return i32(frame);
}

export function removeFrame(base: usize, frame: u32): i32 {
  const cache = cacheAt(base);
  const record = checkedRecord(cache, frame);
  if ((record.flags & VALID) == 0) return -ENOENT;
  if (record.pins != 0) return -EBUSY;
  changeFlags(cache, record, 0);
  leave(cache, frame);
  record.address = 0;
  record.nextFree = cache.freeHead;
  cache.freeHead = frame + 1;
  cache.freeCount++;
  return 0;
}

export function evictFrame(base: usize): i32 {
  const cache = cacheAt(base);
  const frameCount = cache.frameCount;
  if (frameCount - cache.freeCount == cache.heldCount) return -1;
  // The first turn may only clear REFERENCED, the second then finds a frame.
  for (let step: u32 = 0; step < 2 * frameCount; step++) {
    const frame = cache.hand;
    cache.hand = frame + 1 == frameCount ? 0 : frame + 1;
    const record = recordOf(cache, frame);
    if ((record.flags & VALID) == 0 || isHeld(record)) continue;
    if ((record.flags & REFERENCED) == 0) {
      removeFrame(base, frame);
      return i32(frame);
    }
    record.flags &= u8(~REFERENCED);
  }
  return -1;
}

function isHeld(record: FrameRecord): bool {
  return record.pins != 0 || (record.flags & (DIRTY | LOADING)) != 0;
}

function changeFlags(cache: Cache, record: FrameRecord, flags: u32): void {
  const wasHeld = u32(isHeld(record));
  const wasDirty = u32((record.flags & DIRTY) != 0);
  record.flags = u8(flags);
  cache.heldCount += u32(isHeld(record)) - wasHeld;
  cache.dirtyCount += u32((flags & DIRTY) != 0) - wasDirty;
}

export function pinFrame(base: usize, frame: u32): i32 {
  const cache = cacheAt(base);
  const record = checkedRecord(cache, frame);
  assert((record.flags & VALID) != 0 && record.pins < 65535);
  if (!isHeld(record)) cache.heldCount++;
  record.pins++;
  return record.pins;
}

export function unpinFrame(base: usize, frame: u32): i32 {
  const cache = cacheAt(base);
  const record = checkedRecord(cache, frame);
  assert(record.pins > 0);
  record.pins--;
  if (!isHeld(record)) cache.heldCount--;
  return record.pins;
}

export function flagsOf(base: usize, frame: u32): i32 {
  return checkedRecord(cacheAt(base), frame).flags;
}

export function setFlags(base: usize, frame: u32, set: u32, clear: u32): i32 {
  const cache = cacheAt(base);
  const record = checkedRecord(cache, frame);
  if (((set | clear) & ~(DIRTY | REFERENCED | LOADING)) != 0) return -EINVAL;
  if ((record.flags & VALID) == 0) return -ENOENT;
  changeFlags(cache, record, (record.flags | set) & ~clear);
  return record.flags;
}

export function freePageCount(base: usize): u32 {
  return cacheAt(base).freeCount;
}

export function dirtyPageCount(base: usize): u32 {
  return cacheAt(base).dirtyCount;
}

export function frameAddress(base: usize, frame: u32): usize {
  const cache = cacheAt(base);
  assert(frame < cache.frameCount);
  return pageOf(cache, frame);
}

/** Address of a frame that exists. */
export function pageOf(cache: Cache, frame: u32): usize {
  return <usize>cache.frames + ((<usize>frame) << PAGE_SHIFT);
}

/** Whether a frame exists and holds a page. */
export function isInUse(cache: Cache, frame: u32): bool {
  return frame < cache.frameCount && (recordOf(cache, frame).flags & VALID) != 0;
}

export function frameOf(base: usize, page: usize): i32 {
  const cache = cacheAt(base);
  const distance = u32(page) - cache.frames;
  if (page < <usize>cache.frames || (distance & (PAGE_BYTES - 1)) != 0) return -1;
  const frame = distance >> PAGE_SHIFT;
  return frame < cache.frameCount ? i32(frame) : -1;
}

export function nextDirty(base: usize, fromFrame: u32): i32 {
  const cache = cacheAt(base);
  if (cache.dirtyCount == 0) return -1;
  for (let frame = fromFrame; frame < cache.frameCount; frame++) {
    if ((recordOf(cache, frame).flags & DIRTY) != 0) return i32(frame);
  }
  return -1;
}

export function rekeyFrame(base: usize, frame: u32, address: u64): i32 {
  const cache = cacheAt(base);
  const record = checkedRecord(cache, frame);
  if (address == 0) return -EINVAL;
  if ((record.flags & VALID) == 0) return -ENOENT;
  if (lookUp(cache, address) >= 0) return -EEXIST;
  leave(cache, frame);
  record.address = address;
  enter(cache, frame);
  return 0;
}

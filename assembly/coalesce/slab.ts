/**
 * The slab of 32-byte nodes that all maps share, and the queue of buffers that are the host's again.
 *
 *     base   Slab header, 64 bytes
 *     +64    nodes, ids from 1
 *
 *     MAP    kind, 0, 0, top root, buried root, dirty, flushing, last
 *     RUN    kind, state, 0, fileBlock, blockCount, bufferAddress, left, right
 *     CHUNK  kind, 0, pair count, next chunk, 3 × (bufferAddress, blockCount)
 *
 * A run that goes gives its node to the queue (or back, if a chunk has room), so queueing needs no memory of its own.
 * RESERVE nodes are kept from insert and create: without them a full slab could neither be flushed nor truncated, both
 * of which may have to cut a run in two.
 */
import { EINVAL } from "../lib/errno";
import { memoryBytes } from "../lib/whole";

@unmanaged
export class Slab {
  magic: u32;
  capacity: u32;
  /** Nodes not in use, the reserve among them. */
  available: u32;
  /** First node of the list of returned ones. */
  returned: u32;
  /** The first id that was never used: laying out a slab touches no node. */
  fresh: u32;
  /** First chunk of the queue. */
  queue: u32;
  dirtyTotal: u64;
}
if (offsetof<Slab>() > 64) ERROR("the header of a Slab is 64 bytes");

@unmanaged
export class MapNode {
  kind: u8;
  state: u8;
  unused: u16;
  /** Root of the runs that are seen: DIRTY and FLUSHING, never overlapping. */
  top: u32;
  /** Root of the runs in flight that are not seen any more: COVERED and CANCELLED, never overlapping. */
  buried: u32;
  dirty: u32;
  flushing: u32;
  /** The last run of top, 0 when not known. */
  last: u32;
}

@unmanaged
export class RunNode {
  kind: u8;
  state: u8;
  unused: u16;
  reserved: u32;
  fileBlock: u64;
  blockCount: u32;
  bufferAddress: u32;
  left: u32;
  right: u32;
}
if (offsetof<RunNode>() != 32) ERROR("a node is 32 bytes");
if (offsetof<MapNode>("top") != 4) ERROR("MapNode.top is at 4");
if (offsetof<MapNode>("buried") != 8) ERROR("MapNode.buried is at 8");
if (offsetof<RunNode>("left") != 24) ERROR("RunNode.left is at 24");
if (offsetof<RunNode>("right") != 28) ERROR("RunNode.right is at 28");

@unmanaged
class ChunkNode {
  kind: u8;
  state: u8;
  pairCount: u16;
  next: u32;
}

/** Nodes kept from insert and create, and of these the ones kept from drop and truncate: plan alone may use them. */
export const RESERVE: u32 = 64;
export const PLAN_RESERVE: u32 = 32;

const HEADER_BYTES: u32 = 64;
const NODE_BYTES: u32 = 32;
const CAPACITY_MIN: u32 = 8;
const CAPACITY_MAX: u32 = 1 << 24;
const SLAB_MAGIC: u32 = 0x59545244; // "DRTY"
const PAIRS_MAX: u16 = 3;
const PAIRS_OFFSET: u32 = 8;
const BLOCK_SHIFT: u32 = 12;

const KIND_FREE: u8 = 0;
const KIND_MAP: u8 = 1;
const KIND_RUN: u8 = 2;
const KIND_CHUNK: u8 = 3;

export function slabBytes(nodeCapacity: u32): u32 {
  if (nodeCapacity < CAPACITY_MIN || nodeCapacity > CAPACITY_MAX) return 0;
  return HEADER_BYTES + (nodeCapacity + RESERVE) * NODE_BYTES;
}

export function initSlab(base: usize, nodeCapacity: u32): i32 {
  const bytes = slabBytes(nodeCapacity);
  if (bytes == 0 || base == 0 || (base & 7) != 0) return -EINVAL;
  if (<u64>base + bytes > memoryBytes()) return -EINVAL;
  memory.fill(base, 0, HEADER_BYTES);
  const slab = changetype<Slab>(base);
  slab.magic = SLAB_MAGIC;
  slab.capacity = nodeCapacity + RESERVE;
  slab.available = slab.capacity;
  slab.fresh = 1;
  return 0;
}

/** The slab at a base that was initialised; traps at any other. */
export function slabAt(base: usize): Slab {
  const slab = changetype<Slab>(base);
  assert((base & 7) == 0 && slab.magic == SLAB_MAGIC);
  return slab;
}

function nodeAddress(slab: Slab, id: u32): usize {
  return changetype<usize>(slab) + HEADER_BYTES - NODE_BYTES + id * NODE_BYTES;
}

export function runAt(slab: Slab, id: u32): RunNode {
  return changetype<RunNode>(nodeAddress(slab, id));
}

/** The map with an id from the host; traps at any other. */
export function mapAt(slab: Slab, id: u32): MapNode {
  assert(id >= 1 && id < slab.fresh);
  const map = changetype<MapNode>(nodeAddress(slab, id));
  assert(map.kind == KIND_MAP);
  return map;
}

export function endOf(run: RunNode): u64 {
  return run.fileBlock + run.blockCount;
}

/** Where the buffer of a run would go on: past the end of the memory at most, hence u64. */
export function bufferEnd(run: RunNode): u64 {
  return <u64>run.bufferAddress + ((<u64>run.blockCount) << BLOCK_SHIFT);
}

/** Address of the buffer of one block of a run. */
export function bufferOf(run: RunNode, fileBlock: u64): u32 {
  return run.bufferAddress + (u32(fileBlock - run.fileBlock) << BLOCK_SHIFT);
}

/** Takes a node. The caller has seen that one is available. */
function takeNode(slab: Slab): u32 {
  assert(slab.available > 0);
  slab.available--;
  const id = slab.returned;
  if (id != 0) {
    slab.returned = changetype<ChunkNode>(nodeAddress(slab, id)).next;
    return id;
  }
  return slab.fresh++;
}

export function returnNode(slab: Slab, id: u32): void {
  const node = changetype<ChunkNode>(nodeAddress(slab, id));
  node.kind = KIND_FREE;
  node.next = slab.returned;
  slab.returned = id;
  slab.available++;
}

export function newMap(slab: Slab): u32 {
  const id = takeNode(slab);
  memory.fill(nodeAddress(slab, id), 0, NODE_BYTES);
  changetype<MapNode>(nodeAddress(slab, id)).kind = KIND_MAP;
  return id;
}

export function newRun(
  slab: Slab,
  state: u8,
  fileBlock: u64,
  blockCount: u32,
  bufferAddress: u32,
): u32 {
  const id = takeNode(slab);
  const run = runAt(slab, id);
  run.kind = KIND_RUN;
  run.state = state;
  run.fileBlock = fileBlock;
  run.blockCount = blockCount;
  run.bufferAddress = bufferAddress;
  return id;
}

/** Ends a run that is in no tree: its buffer goes to the queue, its node too or back. */
export function queueBuffer(slab: Slab, id: u32): void {
  const run = runAt(slab, id);
  const address = run.bufferAddress;
  const blocks = run.blockCount;
  if (slab.queue != 0) {
    const chunk = changetype<ChunkNode>(nodeAddress(slab, slab.queue));
    const last = changetype<usize>(chunk) + PAIRS_OFFSET + (chunk.pairCount - 1) * 8;
    if (<u64>load<u32>(last) + ((<u64>load<u32>(last, 4)) << BLOCK_SHIFT) == <u64>address) {
      store<u32>(last, load<u32>(last, 4) + blocks, 4);
      returnNode(slab, id);
      return;
    }
    if (chunk.pairCount < PAIRS_MAX) {
      store<u32>(last, address, 8);
      store<u32>(last, blocks, 12);
      chunk.pairCount++;
      returnNode(slab, id);
      return;
    }
  }
  const chunk = changetype<ChunkNode>(nodeAddress(slab, id));
  chunk.kind = KIND_CHUNK;
  chunk.pairCount = 1;
  chunk.next = slab.queue;
  store<u32>(changetype<usize>(chunk) + PAIRS_OFFSET, address);
  store<u32>(changetype<usize>(chunk) + PAIRS_OFFSET, blocks, 4);
  slab.queue = id;
}

/** Takes up to `capacity` pairs (address, blocks) out of the queue. */
export function drainQueue(base: usize, out: usize, capacity: u32): u32 {
  const slab = slabAt(base);
  let taken: u32 = 0;
  while (taken < capacity && slab.queue != 0) {
    const id = slab.queue;
    const chunk = changetype<ChunkNode>(nodeAddress(slab, id));
    chunk.pairCount--;
    const pair = changetype<usize>(chunk) + PAIRS_OFFSET + <u32>chunk.pairCount * 8;
    store<u64>(out + taken * 8, load<u64>(pair));
    taken++;
    if (chunk.pairCount == 0) {
      slab.queue = chunk.next;
      returnNode(slab, id);
    }
  }
  return taken;
}

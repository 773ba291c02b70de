/**
 * Runs that do not overlap, ordered by fileBlock: a treap whose priorities are a hash of the node's id, so it is as good
 * as balanced and the same on every machine. A tree is named by its slot, the address of the u32 that holds its root.
 * All walks are loops that go down one level a step. Rejected: balanced trees, which need twice the code to cut and join.
 */
import { endOf, RunNode, runAt, Slab } from "./slab";

const LEFT: usize = 24;
const RIGHT: usize = 28;

/** The finaliser of MurmurHash3: ids are handed out in sequence, their priorities must not be. */
function priority(id: u32): u32 {
  let hash = id;
  hash = (hash ^ (hash >> 16)) * 0x85ebca6b;
  hash = (hash ^ (hash >> 13)) * 0xc2b2ae35;
  return hash ^ (hash >> 16);
}

function leftSlot(run: RunNode): usize {
  return changetype<usize>(run) + LEFT;
}

function rightSlot(run: RunNode): usize {
  return changetype<usize>(run) + RIGHT;
}

/** The run that holds `block` or else the first one after it; 0 when there is none. */
export function runAtOrAfter(slab: Slab, root: u32, block: u64): u32 {
  let found: u32 = 0;
  while (root != 0) {
    const run = runAt(slab, root);
    if (endOf(run) > block) {
      found = root;
      root = run.left;
    } else {
      root = run.right;
    }
  }
  return found;
}

/** The last run that starts before `block`; 0 when there is none. */
export function runBefore(slab: Slab, root: u32, block: u64): u32 {
  let found: u32 = 0;
  while (root != 0) {
    const run = runAt(slab, root);
    if (run.fileBlock < block) {
      found = root;
      root = run.right;
    } else {
      root = run.left;
    }
  }
  return found;
}

/** The last run of all; 0 when there is none. */
export function lastRun(slab: Slab, root: u32): u32 {
  let found = root;
  while (root != 0) {
    found = root;
    root = runAt(slab, root).right;
  }
  return found;
}

export function addRun(slab: Slab, slot: usize, id: u32): void {
  const added = runAt(slab, id);
  const rank = priority(id);
  const block = added.fileBlock;
  let at = load<u32>(slot);
  while (at != 0 && priority(at) >= rank) {
    const run = runAt(slab, at);
    slot = block < run.fileBlock ? leftSlot(run) : rightSlot(run);
    at = load<u32>(slot);
  }
  store<u32>(slot, id);
  // What hung here goes below the added run, split at its block.
  let before = leftSlot(added);
  let after = rightSlot(added);
  while (at != 0) {
    const run = runAt(slab, at);
    if (run.fileBlock < block) {
      store<u32>(before, at);
      before = rightSlot(run);
      at = run.right;
    } else {
      store<u32>(after, at);
      after = leftSlot(run);
      at = run.left;
    }
  }
  store<u32>(before, 0);
  store<u32>(after, 0);
}

/** Takes a run out of the tree it is in. The node keeps its contents. */
export function removeRun(slab: Slab, slot: usize, id: u32): void {
  const removed = runAt(slab, id);
  const block = removed.fileBlock;
  let at = load<u32>(slot);
  while (at != id) {
    assert(at != 0);
    const run = runAt(slab, at);
    slot = block < run.fileBlock ? leftSlot(run) : rightSlot(run);
    at = load<u32>(slot);
  }
  let before = removed.left;
  let after = removed.right;
  while (before != 0 && after != 0) {
    if (priority(before) > priority(after)) {
      store<u32>(slot, before);
      slot = rightSlot(runAt(slab, before));
      before = load<u32>(slot);
    } else {
      store<u32>(slot, after);
      slot = leftSlot(runAt(slab, after));
      after = load<u32>(slot);
    }
  }
  store<u32>(slot, before != 0 ? before : after);
}

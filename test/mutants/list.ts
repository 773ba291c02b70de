/**
 * Bugs that people write, one at a time: what is left out, swapped, off by one, not counted or not looked at. Each names the
 * tests that are to catch it, the likeliest first.
 */
export interface Mutant {
  /** What the bug does. */
  readonly name: string;
  readonly file: string;
  /** Source text, there exactly once. */
  readonly find: string;
  readonly replace: string;
  /** Test files without their ending. */
  readonly tests: readonly string[];
}

const CRASH = ["crash/recovery"];
const NAMES = ["property/namespace", "unit/namespace"];

export const MUTANTS: readonly Mutant[] = [
  // --- order and durability ---
  {
    name: "a checkpoint writes its superblock before its pages are flushed",
    file: "host/store/checkpoint.ts",
    find: `  yield* barrier(store);
  yield* writeSuperblock(`,
    replace: "  yield* writeSuperblock(",
    tests: CRASH,
  },
  {
    name: "blocks are reused before the superblock is flushed",
    file: "host/store/checkpoint.ts",
    find: `store.blockBuffer);
  yield* barrier(store);`,
    replace: "store.blockBuffer);",
    tests: [...CRASH, "crash/planted"],
  },
  {
    name: "a checkpoint writes its pages after its superblock",
    file: "host/store/checkpoint.ts",
    find: `  yield* pages.writeSealed(sealed);
  yield* pages.settleHeals();`,
    replace: `  yield* writeSuperblock(core, store.pool, superblock, store.blockBuffer);
  yield* pages.writeSealed(sealed);
  yield* pages.settleHeals();`,
    tests: CRASH,
  },
  {
    name: "what is logged again is committed after the superblock",
    file: "host/store/checkpoint.ts",
    find: `  if (relogged) {
    const`,
    replace: `  if (relogged) yield* writeSuperblock(core, store.pool, superblock, store.blockBuffer);
  if (relogged) {
    const`,
    tests: CRASH,
  },
  {
    name: "a checkpoint goes on although a page could not be written",
    file: "host/store/page_store.ts",
    find: `    if (failed < 0) throw new FsError(EIO, "page/write"`,
    replace: `    if (failed > 0) throw new FsError(EIO, "page/write"`,
    tests: ["crash/durability", ...CRASH],
  },
  {
    name: "a checkpoint writes one ring of superblocks only",
    file: "host/pool/superblock_set.ts",
    find: `    superblock.geometry.ringStarts.map(`,
    replace: `    superblock.geometry.ringStarts.slice(0, 1).map(`,
    tests: ["unit/inspect", "unit/fsck", ...CRASH],
  },
  {
    name: "data that the journal alone holds is not logged again by a checkpoint",
    file: "host/store/checkpoint.ts",
    find: "  if (relogged) {",
    replace: "  if (relogged && sealed.length < 0) {",
    tests: CRASH,
  },
  {
    name: "a commit with extents does not wait for their data",
    file: "host/journal/journal.ts",
    find: "    if (preFlush) {",
    replace: "    if (preFlush && blockCount < 0) {",
    tests: CRASH,
  },
  {
    name: "a commit is not durable when it is acknowledged",
    file: "host/journal/journal.ts",
    find: "      this.#pool.writeDurable(0, this.#start + block,",
    replace: "      this.#pool.write(0, this.#start + block,",
    tests: CRASH,
  },
  {
    name: "a commit does not wait for the one before it: their writes may change places",
    file: "host/journal/journal.ts",
    find: `!this.#sealRequested || this.#inFlight || this.#inTransaction`,
    replace: `!this.#sealRequested || this.#inTransaction`,
    tests: ["unit/journal", ...CRASH],
  },
  {
    name: "a commit is written before the flush of what it points to",
    file: "host/journal/journal.ts",
    find: `    if (preFlush) {
      const status = yield this.#pool.flush();
      if (status < 0) return status;
    }
    return yield (resume) =>
      this.#pool.writeDurable(0, this.#start + block, half, blockCount * BLOCK_BYTES, resume);`,
    replace: `    const written = yield (resume) =>
      this.#pool.writeDurable(0, this.#start + block, half, blockCount * BLOCK_BYTES, resume);
    if (written < 0 || !preFlush) return written;
    return yield this.#pool.flush();`,
    tests: ["unit/journal", ...CRASH],
  },
  {
    name: "a commit goes on when the flush before it has failed",
    file: "host/journal/journal.ts",
    find: `      const status = yield this.#pool.flush();
      if (status < 0) return status;`,
    replace: `      yield this.#pool.flush();`,
    tests: ["unit/journal", "crash/durability", ...CRASH],
  },
  {
    name: "who waits for a commit is not told that it failed",
    file: "host/journal/journal.ts",
    find: `      for (const done of waiters) done(result);
      if (result < 0) {`,
    replace: `      for (const done of waiters) done(0);
      if (result < 0) {`,
    tests: ["unit/journal", "crash/durability", ...CRASH],
  },
  {
    name: "the journal may overtake its own head",
    file: "host/journal/journal.ts",
    find: "this.#head > this.#blocks - kept) {",
    replace: "this.#head > this.#blocks * 2 - kept) {",
    tests: ["unit/journal"],
  },
  {
    name: "fsync returns while its data is only buffered",
    file: "host/fs/file_sync.ts",
    find: "    this.#files.log(file, file.unlogged);\n",
    replace: "",
    tests: CRASH,
  },
  {
    name: "fsync keeps an error of write-back to itself",
    file: "host/fs/file_sync.ts",
    find: `        this.#files.settle(file);
        return error;`,
    replace: `        this.#files.settle(file);
        return Math.max(0, error);`,
    tests: ["unit/file_data", "crash/durability", ...CRASH],
  },
  {
    name: "sync keeps errors of write-back to itself",
    file: "host/fs/file_sync.ts",
    find: `    return status < 0 ? status : failed;`,
    replace: `    return status < 0 ? status : Math.max(0, failed);`,
    tests: ["unit/file_data", "crash/durability", ...CRASH],
  },
  {
    name: "fsync drops an error before anybody has heard of it",
    file: "host/fs/writeback.ts",
    find: `    file.error = status === -ENOSPC ? status : -EIO;`,
    replace: `    file.error = 0 * status * -ENOSPC;`,
    tests: ["unit/file_data", "crash/durability", ...CRASH],
  },
  {
    name: "a write of data that failed counts as done",
    file: "host/fs/writeback.ts",
    find: "    if (status < 0) {\n      this.#store.fault(",
    replace: "    if (status < 0 && piece.count < 0) {\n      this.#store.fault(",
    tests: ["e2e/device_failure"],
  },
  {
    name: "a rename does not put the data of its file before itself",
    file: "host/fs/name_renaming.ts",
    find: "      this.#hooks.orderData(ino);",
    replace: "      void ino;",
    tests: [...CRASH, "unit/namespace"],
  },
  {
    name: "an extent is published before its data has been written",
    file: "host/fs/writeback.ts",
    find: `      this.#store.pool.write(0, start, addresses[0] as number, lengths[0] as number, done);
    } else {`,
    replace: `      this.#store.pool.write(0, start, addresses[0] as number, lengths[0] as number, () => {});
      done(0);
    } else {`,
    tests: CRASH,
  },
  {
    name: "an extent does not say that its blocks are taken",
    file: "host/fs/writeback.ts",
    find: "    else store.referenceRun(piece.start, piece.count);",
    replace: "    else store.space.reference(piece.start, piece.count);",
    tests: CRASH,
  },
  // --- recovery ---
  {
    name: "replay takes a torn commit",
    file: "host/journal/journal.ts",
    find: "    if (bad >= 0) continue;",
    replace: "    if (bad >= 1) continue;",
    tests: CRASH,
  },
  {
    name: "replay does not look at the chain",
    file: "host/journal/journal.ts",
    find: "    if (core.bytes[buffer + COMMIT_CHAIN + i] !== position.chain[i]) return 0;\n",
    replace: "",
    tests: ["unit/journal"],
  },
  {
    name: "replay gives no blocks back",
    file: "host/store/recovery.ts",
    find: `      store.freeRun(
        addressBlock(view.getUint32(at + 8, true), view.getUint32(at + 12, true)),
        count,
      );`,
    replace: "      void count;",
    tests: CRASH,
  },
  {
    name: "replay puts things where later transactions have theirs",
    file: "host/store/recovery.ts",
    find: "    yield* retrying(() => store.space.markReplayed(start, count));",
    replace: "    yield* retrying(() => void [start, count]);",
    tests: CRASH,
  },
  {
    name: "replay forgets truncations of what is buffered",
    file: "host/store/recovery.ts",
    find: "      target.replayTruncate(oid, offset);",
    replace: "      void target;",
    tests: CRASH,
  },
  {
    name: "replay keeps older buffered data over a newer extent",
    file: "host/store/recovery.ts",
    find: "        taken.has(addressBlock(low, high)) &&",
    replace: "        !taken.has(addressBlock(low, high)) &&",
    tests: CRASH,
  },
  {
    name: "replay uses numbers of inodes again",
    file: "host/store/recovery.ts",
    find: "oid >= store.nextObjectId) store.nextObjectId = oid + 1;",
    replace: "oid > store.nextObjectId) store.nextObjectId = oid + 1;",
    tests: CRASH,
  },
  {
    name: "replay applies what the checkpoint has already",
    file: "host/store/recovery.ts",
    find: "      if (sequence >= firstTransaction) {",
    replace: "      if (sequence >= firstTransaction - 1) {",
    tests: CRASH,
  },
  {
    name: "of two superblocks the older one is taken",
    file: "host/pool/superblock_set.ts",
    find: `report.superblock.sequence > newest.sequence`,
    replace: `report.superblock.sequence < newest.sequence`,
    tests: ["unit/inspect", ...CRASH],
  },
  // --- checksums and copies ---
  {
    name: "pages are not verified",
    file: "host/store/page_store.ts",
    find: `      return "checksum mismatch";`,
    replace: "      return null;",
    tests: ["e2e/bitflip"],
  },
  {
    name: "the second copy of a page is not asked",
    file: "host/store/page_store.ts",
    find: "    for (let copy = 0; copy < POINTER_COPIES; copy++) {\n      const low = view.getUint32(copy * 8, true);",
    replace:
      "    for (let copy = 0; copy < 1; copy++) {\n      const low = view.getUint32(copy * 8, true);",
    tests: ["e2e/bitflip", "unit/fsck"],
  },
  {
    name: "superblocks are not verified",
    file: "host/pool/superblock_set.ts",
    find: `  if (bad >= 0) return "checksum mismatch";`,
    replace: `  if (bad >= 1) return "checksum mismatch";`,
    tests: ["unit/inspect", "unit/fsck", "e2e/bitflip"],
  },
  {
    name: "bitmaps are not verified",
    file: "host/store/space.ts",
    find: `          this.#checksums + region * 8,
        ) >= 0;`,
    replace: `          this.#checksums + region * 8,
        ) >= 1;`,
    tests: ["unit/space"],
  },
  {
    name: "bad copies of pages are not healed",
    file: "host/store/page_store.ts",
    find: "this.#heal(badDevice, badBlock, buffer);",
    replace: "void [badDevice, badBlock];",
    tests: ["crash/durability"],
  },
  {
    name: "data is not verified",
    file: "host/fs/reader.ts",
    find: "          if (index >= 0) {",
    replace: "          if (index >= 0 && status < 0) {",
    tests: ["e2e/bitflip"],
  },
  {
    name: "only the first block of a run is verified",
    file: "host/fs/reader.ts",
    find: "                  segment.count,\n                  segment.checksums,",
    replace: "                  1,\n                  segment.checksums,",
    tests: ["e2e/bitflip"],
  },
  // --- space ---
  {
    name: "blocks that are shared are freed with the first of their files",
    file: "host/fs/extent_map.ts",
    find: "      if (frees && overlap.isShared) this.shared.release(part.start, part.blockCount);\n      else if",
    replace: "      if",
    tests: ["unit/clone", ...CRASH],
  },
  {
    name: "a clone counts one block too few",
    file: "host/fs/extent_map.ts",
    find: "this.shared.add(extent.start + (from - extent.fileBlock), to - from);",
    replace: "this.shared.add(extent.start + (from - extent.fileBlock), to - from - 1);",
    tests: ["unit/clone", ...CRASH],
  },
  {
    name: "a clone is not counted",
    file: "host/fs/extent_map.ts",
    find: `    this.shared.add(extent.start + (from - extent.fileBlock), to - from);`,
    replace: `    void this.shared;`,
    tests: ["unit/clone"],
  },
  {
    name: "a clone does not tell its source that it shares",
    file: "host/fs/file_clone.ts",
    find: `    this.#store.put(from, ITEM_INODE, 0, this.#source, INODE_BYTES);`,
    replace: `    void INODE_BYTES;`,
    tests: ["unit/clone", ...CRASH],
  },
  {
    name: "the lock is on another inode: a clone waits for its source, and its target is being written",
    file: "host/fs/file_clone.ts",
    find: `    if (target.inFlight > 0) throw`,
    replace: `    if ((this.#files.get(from)?.inFlight ?? 0) > 0) throw`,
    tests: ["unit/clone", ...CRASH],
  },
  {
    name: "a copy waits for data that nobody writes any more",
    file: "host/fs/file_clone.ts",
    find: `resume(error !== null || this.#store.faulted !== null ? -EIO : 0)`,
    replace: `resume(error !== null ? -EIO : 0)`,
    tests: ["unit/clone"],
  },
  {
    name: "blocks of two files are freed with the first",
    file: "host/fs/shared_runs.ts",
    find: `push(from, to, run.references + change);`,
    replace: `push(from, to, run.references + 2 * Math.min(change, 0) + Math.max(change, 0));`,
    tests: ["unit/clone"],
  },
  {
    name: "what is left of an extent begins a block too early on disk",
    file: "host/fs/extent_map.ts",
    find: "    this.#setAddress(extent.start + (from - extent.fileBlock));",
    replace: "    this.#setAddress(extent.start + Math.max(0, from - extent.fileBlock - 1));",
    tests: [...CRASH, "posix/posix"],
  },
  {
    name: "the part of an extent behind a cut is lost",
    file: "host/fs/extent_map.ts",
    find: "      if (cutTo < end) this.#putPart(ino, extent, cutTo, end);",
    replace: "      if (cutTo < end - 1) this.#putPart(ino, extent, cutTo, end);",
    tests: CRASH,
  },
  {
    name: "what is left of an extent has the checksums of the block before",
    file: "host/fs/extent_map.ts",
    find: `    const checksums = this.#old + header + (from - extent.fileBlock) * 8;`,
    replace: `    const checksums = this.#old + header + Math.max(0, from - extent.fileBlock - 1) * 8;`,
    tests: ["unit/clone", ...CRASH],
  },
  {
    name: "freed blocks are used again before the checkpoint that frees them",
    file: "host/store/space.ts",
    find: `    for (const image of images) encode(image);
    return images;`,
    replace: `    for (const image of images) encode(image);
    for (let i = 0; i < this.#closing.length; i += 2)
      this.#giveBack(this.#closing[i] as number, this.#closing[i + 1] as number);
    this.#closing = [];
    this.#closingBlocks = 0;
    return images;`,
    tests: [...CRASH, "crash/planted"],
  },
  {
    name: "a bitmap is written over the one that the last checkpoint has",
    file: "host/store/space.ts",
    find: `: 1 - (this.#slot[region] as number),`,
    replace: `: (this.#slot[region] as number),`,
    tests: CRASH,
  },
  {
    name: "a full volume takes more than it has",
    file: "host/store/store.ts",
    find: "    return free < count ? this.#noSpace(-ENOSPC, count - free) : 0;",
    replace: "    return free < 0 ? this.#noSpace(-ENOSPC, count - free) : 0;",
    tests: ["unit/full_volume", "library/pressure", "e2e/enospc"],
  },
  // --- data ---
  {
    name: "a cut leaves old bytes behind the end of the file",
    file: "host/fs/file_ranges.ts",
    find: "      this.#files.bringBlock(file, cutBlock);\n      if",
    replace: "      if",
    tests: [...CRASH, "posix/posix"],
  },
  {
    name: "a hole keeps what is buffered in it",
    file: "host/fs/file_ranges.ts",
    find: "      exports.dirty_drop(this.#files.pool.dirtyBase, file.map, firstWhole, lastWhole - firstWhole);",
    replace: "      void exports;",
    tests: [...CRASH, "posix/posix"],
  },
  {
    name: "a partial write forgets the rest of its block",
    file: "host/fs/file_data.ts",
    find: "    if (headPartial) this.#files.bringBlock(file, first);\n",
    replace: "",
    tests: [...CRASH, "library/random"],
  },
  {
    name: "a read sees stale buffers of a file that is being written back",
    file: "host/fs/writeback.ts",
    find: "exports.dirty_complete(this.#pool.dirtyBase, file.map, piece.fileBlock, piece.count);",
    replace: "void exports;",
    tests: ["library/random", "unit/file_data", "library/pressure", "posix/posix"],
  },
  {
    name: "a read is served what is on disk, although newer data is buffered",
    file: "host/fs/reader.ts",
    find: `      if (file !== undefined) {
        const found`,
    replace: `      if (file !== undefined && first > last) {
        const found`,
    tests: ["library/random"],
  },
  {
    name: "a write into a small file loses what it does not write",
    file: "host/fs/dirty_files.ts",
    find: "      this.#bringInline(file);\n",
    replace: "",
    tests: CRASH,
  },
  // --- names ---
  {
    name: "a new name does not count as a link",
    file: "host/fs/name_making.ts",
    find: "    inodes.setU32(record, INODE_NLINK, links + 1);",
    replace: "    inodes.setU32(record, INODE_NLINK, Math.max(1, links));",
    tests: NAMES,
  },
  {
    name: "a removed directory goes on counting in its parent",
    file: "host/fs/name_removal.ts",
    find: "    inodes.setU32(directory, INODE_NLINK, inodes.u32(directory, INODE_NLINK) - 1);\n",
    replace: "",
    tests: NAMES,
  },
  {
    name: "a directory that moved says that its parent is the old one",
    file: "host/fs/name_renaming.ts",
    find: "      if (newParent !== parent) inodes.setU64(moved, INODE_PARENT, newParent);\n",
    replace: "",
    tests: NAMES,
  },
  {
    name: "directories that change places keep their parents",
    file: "host/fs/name_renaming.ts",
    find: "      if (inodes.isDirectory(target)) inodes.setU64(target, INODE_PARENT, parent);\n",
    replace: "",
    tests: NAMES,
  },
  {
    name: "a directory can be moved into itself",
    file: "host/fs/name_renaming.ts",
    find: "      if (at === ino) return -EINVAL;\n",
    replace: "",
    tests: NAMES,
  },
  {
    name: "a removed file that is open is not listed for the next mount",
    file: "host/fs/name_removal.ts",
    find: `    inodes.putChanged(ino, record);
    this.#store.put(0, ITEM_ORPHAN, ino, this.#store.scratchAddress, 0);
    if (held)`,
    replace: `    inodes.putChanged(ino, record);
    if (held)`,
    tests: NAMES,
  },
  {
    name: "a removed file is freed while somebody has it open",
    file: "host/fs/name_removal.ts",
    find: "      this.#references.get(ino) === 0 &&\n      this.#inodes",
    replace: "      this.#inodes",
    tests: [...NAMES, "posix/posix"],
  },
  {
    name: "the lock is on another inode: references are counted for the parent",
    file: "host/fs/name_removal.ts",
    find: "    this.#references.add(ino, count);",
    replace: "    this.#references.add(ino + 1, count);",
    tests: [...NAMES, "posix/posix"],
  },
  {
    name: "a listing leaves out the name after the one it stopped at",
    file: "host/fs/directory.ts",
    find: "found = this.#store.seek(ino, ITEM_DENTRY, hash + 1);",
    replace: "found = this.#store.seek(ino, ITEM_DENTRY, hash + 2 ** 32);",
    tests: NAMES,
  },
  {
    name: "of names with one hash the first is taken",
    file: "host/fs/directory.ts",
    find: "        exports.bytes_equal(at + position + DENTRY_NAME, nameAddress, nameLength) === 1",
    replace: "        exports.bytes_equal(at + position + DENTRY_NAME, nameAddress, 1) === 1",
    tests: NAMES,
  },
  {
    name: "chunks of a longer attribute stay behind",
    file: "host/fs/xattr.ts",
    find: "      if (i >= chunks) this.#store.remove(ino, ITEM_XATTR_DATA, key);",
    replace: "      if (i >= chunks) continue;",
    tests: NAMES,
  },
  {
    name: "chmod leaves an ACL as it was",
    file: "host/fs/name_attributes.ts",
    find: "    if (acl !== null) this.#acls.applyMode(ino, record, acl, inodes.mode(record));\n",
    replace: "",
    tests: [...NAMES, "posix/posix"],
  },
  {
    name: "a write does not take set-user-id away",
    file: "host/fs/name_attributes.ts",
    find: "    inodes.setMode(record, withoutPrivileges(mode));\n",
    replace: "",
    tests: [...NAMES, "posix/posix", "library/posix"],
  },
  // --- what is kept in memory ---
  {
    name: "a file with buffered data keeps its ctime when it is renamed",
    file: "host/fs/file_data.ts",
    find: `    file.ctime = seconds;
    file.ctimeNs = nanoseconds;`,
    replace: "",
    tests: ["crash/recovery"],
  },
  {
    name: "a read takes back the mtime of a write that was made durable",
    file: "host/fs/access_times.ts",
    find: "      this.#setTime(INODE_MTIME, INODE_MTIME_NS, mtime, mtimeNs);",
    replace: "",
    tests: ["crash/durability"],
  },
  {
    name: "what is recovered has the mtime as its ctime",
    file: "host/fs/file_replay.ts",
    find: "if (this.#times.mtime === mtime && this.#times.mtimeNs === mtimeNs) {",
    replace: "if (inode < 0) {",
    tests: ["crash/durability"],
  },
  {
    name: "a stale access time comes back after utimens",
    file: "host/fs/volume_file_system.ts",
    find: "(change.set & (SET_ATIME | SET_ATIME_NOW)) !== 0) this.#accessTimes.drop(ino);",
    replace: "(change.set & (SET_ATIME | SET_ATIME_NOW)) < 0) this.#accessTimes.drop(ino);",
    tests: ["unit/access_times", "library/posix", "posix/posix"],
  },
  {
    name: "a page that was freed is still cached under its address",
    file: "host/store/page_store.ts",
    find: "    exports.cache_rekey(this.cache, frame, low, high);\n",
    replace: "    void low;\n",
    tests: ["property/tree_store", "property/fsck_clean", ...CRASH, "library/pressure"],
  },
  {
    name: "a page may be evicted before it has been written",
    file: "host/store/page_store.ts",
    find: "    core.exports.cache_set_flags(this.cache, frame, FLAG_DIRTY, 0);\n    const view",
    replace: "    const view",
    tests: ["property/tree_store", "library/pressure", ...CRASH],
  },
  {
    name: "a split puts its pointer one slot too far to the left",
    file: "host/store/tree.ts",
    find: "this.#insertChild(parent, this.#slotAt(level - 1) + 1);",
    replace: "this.#insertChild(parent, this.#slotAt(level - 1));",
    tests: ["property/tree_store"],
  },
  {
    name: "an interior page splits before the child that is wanted",
    file: "host/store/tree.ts",
    find: "this.#slotAt(level) + (levelOfPage > 0 ? 1 : 0));",
    replace: "this.#slotAt(level));",
    tests: ["property/tree_store"],
  },
  {
    name: "a page that another transaction wrote is changed in place",
    file: "host/store/tree.ts",
    find: "    if (!this.#pages.isOpen(this.#pages.frameAddress(left))) {",
    replace: "    if (left < 0) {",
    tests: ["property/tree_store", ...CRASH],
  },
  {
    name: "a page that was copied gives one of its places back only",
    file: "host/store/page_store.ts",
    find: `    for (const block of oldBlocks) this.#space.free(block, PAGE_BLOCKS);`,
    replace: `    this.#space.free(oldBlocks[0] as number, PAGE_BLOCKS);`,
    tests: ["property/tree_store", "property/fsck_clean"],
  },
  {
    name: "a merge drops the pointer to the page that is kept",
    file: "host/store/tree.ts",
    find: `    exports.page_remove(parent, rightSlot);`,
    replace: `    exports.page_remove(parent, leftSlot);`,
    tests: ["property/tree_store"],
  },
  {
    name: "a page that was merged away keeps its space",
    file: "host/store/tree.ts",
    find: `    this.#pages.release(right, rightPointer);`,
    replace: `    void rightPointer;`,
    tests: ["property/tree_store"],
  },
  // --- quotas ---
  {
    name: "quotas are not counted by replay",
    file: "host/store/store.ts",
    find: "      if (type === ITEM_INODE) this.accounting?.inodeChanging(oid, 0);",
    replace:
      "      if (type === ITEM_INODE && !this.replaying) this.accounting?.inodeChanging(oid, 0);",
    tests: ["unit/quotas", ...CRASH],
  },
  {
    name: "a new quota counts an inode twice that changes meanwhile",
    file: "host/fs/quotas.ts",
    find: "account === undefined || ino >= account.counted) return;",
    replace: "account === undefined) return;",
    tests: ["unit/quotas", ...CRASH],
  },
  // --- what the kernel is told ---
  {
    name: "FORGET of several references gives one back",
    file: "host/fuse/handlers_names.ts",
    find: "if (nodeid !== FUSE_ROOT_ID && count > 0) d.forget(nodeid, count);",
    replace: "if (nodeid !== FUSE_ROOT_ID && count > 0) d.forget(nodeid, 1);",
    tests: ["unit/fuse_protocol", "e2e/fuse_session", "posix/posix"],
  },
  {
    name: "FORGET gives one reference too few back",
    file: "host/fuse/handlers_names.ts",
    find: `count > 0) d.forget(nodeid, count);`,
    replace: `count > 0) d.forget(nodeid, count - 1);`,
    tests: ["unit/fuse_protocol", "e2e/fuse_session", "posix/posix"],
  },
  {
    name: "FORGET gives one reference too many back",
    file: "host/fs/reference_table.ts",
    find: `(this.#counts[at] as number) - count);`,
    replace: `(this.#counts[at] as number) - count - 1);`,
    tests: [...NAMES, "posix/posix"],
  },
  {
    name: "the last of a batch of FORGETs is left out",
    file: "host/fuse/handlers_names.ts",
    find: `  for (let index = 0; index < count; index += 1, at`,
    replace: `  for (let index = 1; index < count; index += 1, at`,
    tests: ["unit/fuse_protocol", "e2e/fuse_session", "posix/posix"],
  },
  {
    name: "a batch of FORGETs that had to wait gives references back twice",
    file: "host/fuse/handlers_names.ts",
    find: `    request.setU64(at + 8, 0);
`,
    replace: ``,
    tests: ["unit/fuse_protocol"],
  },
  {
    name: "the kernel's cache goes on serving what a direct write has replaced",
    file: "host/fuse/cached_reads.ts",
    find: `    if (isDirect(flags)) return;`,
    replace: `    if (!isDirect(flags)) return;`,
    tests: ["unit/fuse_protocol"],
  },
  {
    name: "a name that is given to the kernel is not counted",
    file: "host/fuse/dispatch.ts",
    find: `    this.#remember(this.attributes.ino);
`,
    replace: ``,
    tests: ["unit/fuse_protocol"],
  },
];

/**
 * Every code that fsck can give, with what it means and what helps. Stable: scripts and `dynamicfs explain` know them;
 * one is never given another meaning.
 */
const ACTIONS: Readonly<Record<string, string>> = {
  copy: "Nothing is lost: `dynamicfs fsck --repair`, or reading it on a mount, writes the bad copy anew.",
  disk: "Check the disk and its cables. `dynamicfs fsck --repair` keeps what is left and names what is not.",
  data: "Check the disk and its cables; restore what is named from a backup.",
  report:
    "`dynamicfs fsck --repair` puts it right. No disk does this by itself: please report it, with `dynamicfs inspect`.",
  space: "Space is lost, no data: `dynamicfs fsck --repair` gets it back.",
  danger:
    "`dynamicfs fsck --repair` before anything is written: that could overwrite data. Or mount it read-only.",
  version: "Use the version that wrote it.",
};

/** For each code what it means, and what helps: words, or the name of one of the actions above. */
export const FSCK_CODES = {
  "DFS-FSCK-SUPERBLOCK-NONE": {
    meaning: "No superblock is valid.",
    action: "Is it the right device? If it is, restore from a backup.",
  },
  "DFS-FSCK-SUPERBLOCK-SLOT": {
    meaning: "A superblock slot is damaged, or was torn by a crash.",
    action: "The next checkpoints rewrite it.",
  },
  "DFS-FSCK-SUPERBLOCK-FIELD": {
    meaning: "A superblock is whole, but not of this volume or not in its place.",
    action: "report",
  },
  "DFS-FSCK-DEVICE-SIZE": {
    meaning: "The device has another size than the volume on it.",
    action: "Give the device its size back.",
  },
  "DFS-FSCK-UNSUPPORTED": {
    meaning: "The volume needs a newer version.",
    action: "version",
  },
  "DFS-FSCK-FEATURES": {
    meaning: "The volume has features that this version does not know, but can read around.",
    action: "version",
  },
  "DFS-FSCK-NEEDS-RECOVERY": {
    meaning: "The volume was not unmounted: the journal will be replayed.",
    action: "Mount it.",
  },
  "DFS-FSCK-JOURNAL-READ": { meaning: "The journal cannot be read.", action: "disk" },
  "DFS-FSCK-JOURNAL-GAP": {
    meaning:
      "A commit that was durable is damaged, or follows a checkpoint that is lost: it and later ones cannot be applied.",
    action:
      "Try again, it may be the cable. A read-only mount shows what was there before it; `dynamicfs fsck --repair --yes` gives up the rest, changes of the last seconds.",
  },
  "DFS-FSCK-JOURNAL-ENTRY": {
    meaning: "A commit is whole, but breaks the format's rules.",
    action: "report",
  },
  "DFS-FSCK-POINTER": { meaning: "A page pointer breaks the format's rules.", action: "report" },
  "DFS-FSCK-PAGE-COPY": { meaning: "One copy of a page is bad, another is good.", action: "copy" },
  "DFS-FSCK-PAGE-LOST": {
    meaning: "No copy of a page is good: what it holds, and all below it, is lost.",
    action: "disk",
  },
  "DFS-FSCK-PAGE-HEADER": {
    meaning: "A page is whole, but not the one that is pointed to.",
    action: "report",
  },
  "DFS-FSCK-PAGE-STRUCTURE": {
    meaning: "A page is whole, but breaks the format's rules.",
    action: "report",
  },
  "DFS-FSCK-PAGE-ORDER": {
    meaning: "A page's keys are not in its parent's range.",
    action: "report",
  },
  "DFS-FSCK-ITEM-UNKNOWN": { meaning: "An item's key has no meaning.", action: "report" },
  "DFS-FSCK-REGION": { meaning: "The item of a region is missing or invalid.", action: "danger" },
  "DFS-FSCK-REGION-COUNT": {
    meaning: "A region's count of free blocks is not that of its bitmap.",
    action: "report",
  },
  "DFS-FSCK-FREE-COUNT": {
    meaning: "The superblock's count of free blocks is wrong.",
    action: "report",
  },
  "DFS-FSCK-BITMAP-COPY": {
    meaning: "One copy of a bitmap is bad, another is good.",
    action: "copy",
  },
  "DFS-FSCK-BITMAP-LOST": { meaning: "No copy of a bitmap is good.", action: "danger" },
  "DFS-FSCK-BITMAP-END": {
    meaning: "A bitmap marks blocks free that the device does not have.",
    action: "danger",
  },
  "DFS-FSCK-BLOCK-SHARED": { meaning: "Blocks are used by two things.", action: "danger" },
  "DFS-FSCK-SHARED-RUN": {
    meaning: "A record of blocks that several files share breaks the format's rules.",
    action: "danger",
  },
  "DFS-FSCK-SHARED-COUNT": {
    meaning: "Blocks that several files share have another count than there are files.",
    action: "danger",
  },
  "DFS-FSCK-SHARED-FLAG": {
    meaning:
      "A file does not say that it shares blocks: removing it would free them for the others, too.",
    action: "danger",
  },
  "DFS-FSCK-QUOTA": { meaning: "A quota breaks the format's rules.", action: "report" },
  "DFS-FSCK-QUOTA-USAGE": {
    meaning: "What a quota says is in use is not what its files take.",
    action: "report",
  },
  "DFS-FSCK-BLOCK-FREE": { meaning: "Blocks in use are marked free.", action: "danger" },
  "DFS-FSCK-BLOCK-LEAKED": {
    meaning: "Blocks are marked used that nothing uses.",
    action: "space",
  },
  "DFS-FSCK-OBJECT-COUNT": {
    meaning: "The superblock's count of objects is wrong.",
    action: "report",
  },
  "DFS-FSCK-NEXT-OBJECT": { meaning: "The next object's number is in use.", action: "danger" },
  "DFS-FSCK-INODE": { meaning: "An inode breaks the format's rules.", action: "report" },
  "DFS-FSCK-INODE-MISSING": { meaning: "An object has items, but no inode.", action: "report" },
  "DFS-FSCK-INODE-BLOCKS": { meaning: "A file's count of blocks is wrong.", action: "report" },
  "DFS-FSCK-NLINK": { meaning: "A count of links is wrong.", action: "report" },
  "DFS-FSCK-ENTRY-COUNT": { meaning: "A directory's count of entries is wrong.", action: "report" },
  "DFS-FSCK-DENTRY": {
    meaning: "Entries of a directory break the format's rules.",
    action: "report",
  },
  "DFS-FSCK-DENTRY-HASH": {
    meaning: "An entry lies where its name is not looked for.",
    action: "report",
  },
  "DFS-FSCK-DENTRY-TARGET": { meaning: "An entry leads to nothing.", action: "report" },
  "DFS-FSCK-DENTRY-TYPE": {
    meaning: "An entry and its inode are of different types.",
    action: "report",
  },
  "DFS-FSCK-DIRECTORY-PARENT": {
    meaning: "A directory names another parent than the one it is in.",
    action: "report",
  },
  "DFS-FSCK-DIRECTORY-NAMES": { meaning: "A directory has several names.", action: "report" },
  "DFS-FSCK-DIRECTORY-LOOP": { meaning: "A directory lies within itself.", action: "report" },
  "DFS-FSCK-UNREACHABLE": { meaning: "A directory has no name.", action: "report" },
  "DFS-FSCK-ROOT": { meaning: "There is no root directory.", action: "report" },
  "DFS-FSCK-SYMLINK": {
    meaning: "A symbolic link's target is missing or invalid.",
    action: "report",
  },
  "DFS-FSCK-XATTR": {
    meaning: "An extended attribute is invalid, or a part of it is missing.",
    action: "report",
  },
  "DFS-FSCK-XATTR-COUNT": { meaning: "A count of extended attributes is wrong.", action: "report" },
  "DFS-FSCK-EXTENT": { meaning: "An extent breaks the format's rules.", action: "report" },
  "DFS-FSCK-EXTENT-OVERLAP": { meaning: "Two extents of a file overlap.", action: "report" },
  "DFS-FSCK-EXTENT-BEYOND-END": {
    meaning: "An extent lies beyond its file's end.",
    action: "report",
  },
  "DFS-FSCK-INLINE": {
    meaning: "Data in the tree is invalid, or an extent lies there too.",
    action: "report",
  },
  "DFS-FSCK-ORPHAN": { meaning: "An object is listed as removed, but is not.", action: "report" },
  "DFS-FSCK-ORPHAN-MISSING": {
    meaning: "An object without links is not listed as removed: its space is lost.",
    action: "space",
  },
  "DFS-FSCK-DATA": { meaning: "Data of a file does not match its checksum.", action: "data" },
  "DFS-FSCK-DATA-READ": { meaning: "Data of a file cannot be read.", action: "data" },
} as const;

export type FsckCode = keyof typeof FSCK_CODES;

/** What a code means and what helps, for people; null when it is none of ours. */
export function explainFsckCode(code: string): { meaning: string; action: string } | null {
  if (!Object.hasOwn(FSCK_CODES, code)) return null;
  const { meaning, action } = FSCK_CODES[code as FsckCode];
  return { meaning, action: ACTIONS[action] ?? action };
}

/**
 * One of each kind of damage, planted in the sample volume behind the checksums where they would show it first, with the
 * codes that fsck tells it by.
 */
import { ROOT_INO } from "../../host/fs/file_system.ts";
import { type ImageEditor, type ItemKey, type PathPage, setU64, u64 } from "./image_editor.ts";
import { type Sample, sampleVolume } from "./sample_volume.ts";

export const INODE = 1;
export const XATTR = 2;
export const XATTR_DATA = 3;
export const SYMLINK = 4;
export const DENTRY = 5;
export const EXTENT = 6;
export const INLINE = 7;
export const ORPHAN = 8;
export const SHARED = 9;
export const QUOTA = 10;
export const FILES = 1;
export const SPACE = 2;

export const sample: Sample = sampleVolume();

export const ino = (name: string): number => sample.inos[name] as number;
export const inode = (name: string): ItemKey => ({ oid: ino(name), type: INODE, offset: 0 });

/** The directory item that holds a name. */
export function dentryOf(
  editor: ImageEditor,
  directory: string,
  name: string,
): { key: ItemKey; value: Uint8Array } {
  const found = editor
    .items(FILES)
    .find(
      ({ key, value }) =>
        key.oid === ino(directory) &&
        key.type === DENTRY &&
        new TextDecoder().decode(value.subarray(12)) === name,
    );
  if (found === undefined) throw new Error(`There is no ${name}`);
  return found;
}

export interface DamageCase {
  readonly name: string;
  readonly change: (editor: ImageEditor) => void;
  readonly codes: readonly string[];
  /** Codes of warnings. */
  readonly warnings?: readonly string[];
  readonly incomplete?: boolean;
}

export const leaf = (editor: ImageEditor): PathPage | undefined =>
  editor.path(FILES, inode("dir")).at(-1);
export const root = (editor: ImageEditor): PathPage | undefined =>
  editor.path(FILES, inode("dir"))[0];

export const cases: readonly DamageCase[] = [
  {
    name: "a bit of one superblock",
    change: (editor) => editor.flip(editor.superblockBlocks()[0], 100),
    codes: [],
    warnings: ["DFS-FSCK-SUPERBLOCK-SLOT"],
  },
  {
    name: "all superblocks",
    change: (editor) => {
      for (let slot = 0; slot < 8; slot++) {
        editor.flip(16 + slot, 90);
        editor.flip(sample.sizeBytes / 4096 - 16 + slot, 90);
      }
    },
    codes: ["DFS-FSCK-SUPERBLOCK-NONE"],
    incomplete: true,
  },
  {
    name: "an unknown feature",
    change: (editor) => editor.editSuperblock((view) => view.setUint32(40, 1 << 30, true)),
    codes: ["DFS-FSCK-UNSUPPORTED"],
    incomplete: true,
  },
  {
    name: "the count of objects",
    change: (editor) => editor.editSuperblock((view) => setU64(view, 128, 7)),
    codes: ["DFS-FSCK-OBJECT-COUNT"],
  },
  {
    name: "the next object id",
    change: (editor) => editor.editSuperblock((view) => setU64(view, 120, 17)),
    codes: ["DFS-FSCK-NEXT-OBJECT"],
  },
  {
    name: "one copy of a leaf",
    change: (editor) => editor.flip(leaf(editor)?.blocks[1] as number, 3000),
    codes: ["DFS-FSCK-PAGE-COPY"],
  },
  {
    name: "the first copy of a root",
    change: (editor) => editor.flip(root(editor)?.blocks[0] as number, 3000),
    codes: ["DFS-FSCK-PAGE-COPY"],
  },
  {
    name: "both copies of a leaf",
    change: (editor) => {
      for (const block of leaf(editor)?.blocks ?? []) editor.flip(block, 3000);
    },
    codes: ["DFS-FSCK-PAGE-LOST"],
    incomplete: true,
  },
  {
    name: "both copies of the root",
    change: (editor) => {
      for (const block of root(editor)?.blocks ?? []) editor.flip(block, 30);
    },
    codes: ["DFS-FSCK-PAGE-LOST"],
    incomplete: true,
  },
  {
    name: "a page's generation",
    change: (editor) => editor.editPage(FILES, inode("dir"), 0, (view) => setU64(view, 16, 1)),
    codes: ["DFS-FSCK-PAGE-HEADER"],
    incomplete: true,
  },
  {
    name: "a page's tree",
    change: (editor) => editor.editPage(FILES, inode("dir"), 0, (view) => view.setUint8(13, 2)),
    codes: ["DFS-FSCK-PAGE-HEADER"],
    incomplete: true,
  },
  {
    name: "a page's address",
    change: (editor) => editor.editPage(FILES, inode("dir"), 0, (view) => setU64(view, 24, 5000)),
    codes: ["DFS-FSCK-PAGE-HEADER"],
    incomplete: true,
  },
  {
    name: "a page's heap",
    change: (editor) =>
      editor.editPage(FILES, inode("dir"), 0, (view) => view.setUint16(34, 9, true)),
    codes: ["DFS-FSCK-PAGE-STRUCTURE"],
    incomplete: true,
  },
  {
    name: "a key below its parent's range",
    change: (editor) => {
      const last = { oid: ino("many"), type: DENTRY, offset: 2 ** 48 - 1 };
      editor.editPage(FILES, last, 0, (view) => setU64(view, 64, 1));
    },
    codes: ["DFS-FSCK-PAGE-ORDER"],
    incomplete: true,
  },
  {
    name: "a pointer's generation above its parent's",
    change: (editor) =>
      editor.editPage(FILES, inode("dir"), 1, (view) => {
        setU64(view, view.getUint16(64 + 16, true) + 32, 99);
      }),
    codes: ["DFS-FSCK-POINTER"],
    incomplete: true,
  },
  {
    name: "a pointer's second copy beyond the end",
    change: (editor) =>
      editor.editPage(FILES, inode("dir"), 1, (view) => {
        setU64(view, view.getUint16(64 + 16, true) + 8, 1 << 30);
      }),
    codes: ["DFS-FSCK-POINTER"],
  },
  {
    name: "one copy of a bitmap",
    change: (editor) => editor.flip(editor.bitmapBlocks(0)[1] as number, 2000),
    codes: ["DFS-FSCK-BITMAP-COPY"],
  },
  {
    name: "both copies of a bitmap",
    change: (editor) => {
      for (const block of editor.bitmapBlocks(0)) editor.flip(block, 2000);
    },
    codes: ["DFS-FSCK-BITMAP-LOST"],
  },
  {
    name: "blocks marked that nothing uses",
    change: (editor) =>
      editor.editBitmap(0, (bitmap, item) => {
        bitmap[1900] = (bitmap[1900] as number) | 0xff;
        item.setUint32(16, item.getUint32(16, true) - 8, true);
        item.setUint32(20, item.getUint32(16, true), true);
      }),
    codes: ["DFS-FSCK-BLOCK-LEAKED", "DFS-FSCK-FREE-COUNT"],
  },
  {
    name: "blocks in use that are marked free",
    change: (editor) =>
      editor.editBitmap(0, (bitmap, item) => {
        bitmap[100] = 0;
        item.setUint32(16, item.getUint32(16, true) + 8, true);
      }),
    codes: ["DFS-FSCK-BLOCK-FREE", "DFS-FSCK-FREE-COUNT"],
  },
  {
    name: "blocks behind the device's end that are marked free",
    change: (editor) =>
      editor.editBitmap(0, (bitmap) => {
        bitmap[4000] = 0;
      }),
    codes: ["DFS-FSCK-BITMAP-END"],
  },
  {
    name: "a region's count of free blocks",
    change: (editor) =>
      editor.editItem(SPACE, { oid: 0, type: 16, offset: 0 }, (item) => {
        item.setUint32(16, item.getUint32(16, true) + 1, true);
      }),
    codes: ["DFS-FSCK-FREE-COUNT", "DFS-FSCK-REGION-COUNT"],
  },
  {
    name: "a region's longest free run",
    change: (editor) =>
      editor.editItem(SPACE, { oid: 0, type: 16, offset: 0 }, (item) =>
        item.setUint32(20, 10, true),
      ),
    codes: ["DFS-FSCK-REGION-COUNT"],
  },
  {
    name: "a region's state",
    change: (editor) =>
      editor.editItem(SPACE, { oid: 0, type: 16, offset: 0 }, (item) => item.setUint8(25, 7)),
    codes: ["DFS-FSCK-FREE-COUNT", "DFS-FSCK-REGION"],
  },
  {
    name: "a region's item missing",
    change: (editor) => editor.removeItem(SPACE, { oid: 0, type: 16, offset: 0 }),
    codes: ["DFS-FSCK-FREE-COUNT", "DFS-FSCK-REGION"],
  },
  {
    name: "an item of no known type",
    change: (editor) =>
      editor.insertItem(FILES, { oid: ino("empty"), type: 99, offset: 0 }, new Uint8Array(4)),
    codes: ["DFS-FSCK-ITEM-UNKNOWN"],
  },
  {
    name: "an unknown item of the space tree",
    change: (editor) =>
      editor.insertItem(SPACE, { oid: 0, type: 17, offset: 0 }, new Uint8Array(4)),
    codes: ["DFS-FSCK-ITEM-UNKNOWN"],
  },
  {
    name: "an inode's type",
    change: (editor) =>
      editor.editItem(FILES, inode("small"), (item) => item.setUint32(0, 0o070644, true)),
    codes: ["DFS-FSCK-INODE"],
  },
  {
    name: "an inode's nanoseconds",
    change: (editor) =>
      editor.editItem(FILES, inode("small"), (item) => item.setUint32(68, 1e9, true)),
    codes: ["DFS-FSCK-INODE"],
  },
  {
    name: "an inode missing",
    change: (editor) => {
      editor.removeItem(FILES, inode("small"));
      editor.editSuperblock((view) => setU64(view, 128, u64(view, 128) - 1));
    },
    codes: ["DFS-FSCK-DENTRY-TARGET", "DFS-FSCK-INODE-MISSING"],
  },
  {
    name: "a file's links",
    change: (editor) =>
      editor.editItem(FILES, inode("linked"), (item) => item.setUint32(4, 2, true)),
    codes: ["DFS-FSCK-NLINK"],
  },
  {
    name: "a directory's links",
    change: (editor) => editor.editItem(FILES, inode("dir"), (item) => item.setUint32(4, 9, true)),
    codes: ["DFS-FSCK-NLINK"],
  },
  {
    name: "a directory's count of entries",
    change: (editor) =>
      editor.editItem(FILES, inode("many"), (item) => item.setUint32(104, 399, true)),
    codes: ["DFS-FSCK-ENTRY-COUNT"],
  },
  {
    name: "a file's blocks",
    change: (editor) => editor.editItem(FILES, inode("large"), (item) => setU64(item, 24, 1)),
    codes: ["DFS-FSCK-INODE-BLOCKS"],
  },
  {
    name: "a file's size below its extents",
    change: (editor) => editor.editItem(FILES, inode("large"), (item) => setU64(item, 16, 4096)),
    codes: ["DFS-FSCK-EXTENT-BEYOND-END"],
  },
  {
    name: "a directory's parent",
    change: (editor) =>
      editor.editItem(FILES, inode("nested"), (item) => setU64(item, 96, ROOT_INO)),
    codes: ["DFS-FSCK-DIRECTORY-PARENT"],
  },
  {
    name: "an entry's target",
    change: (editor) => {
      const { key } = dentryOf(editor, "dir", "small");
      editor.editItem(FILES, key, (item) => setU64(item, 0, 100_000));
    },
    codes: ["DFS-FSCK-DENTRY-TARGET", "DFS-FSCK-NLINK"],
  },
  {
    name: "an entry's type",
    change: (editor) => {
      const { key } = dentryOf(editor, "dir", "small");
      editor.editItem(FILES, key, (item) => item.setUint8(8, 12));
    },
    codes: ["DFS-FSCK-DENTRY-TYPE"],
  },
  {
    name: "an entry's name",
    change: (editor) => {
      const { key } = dentryOf(editor, "dir", "small");
      editor.editItem(FILES, key, (item) => item.setUint8(12, 0x53));
    },
    codes: ["DFS-FSCK-DENTRY-HASH"],
  },
  {
    name: "a name with a slash",
    change: (editor) => {
      const { key } = dentryOf(editor, "dir", "small");
      editor.editItem(FILES, key, (item) => item.setUint8(12, 0x2f));
    },
    codes: ["DFS-FSCK-DENTRY", "DFS-FSCK-DENTRY-HASH"],
  },
  {
    name: "an entry's length",
    change: (editor) => {
      const { key } = dentryOf(editor, "dir", "small");
      editor.editItem(FILES, key, (item) => item.setUint8(9, 250));
    },
    codes: ["DFS-FSCK-DENTRY"],
  },
  {
    name: "an entry gone",
    change: (editor) => {
      editor.removeItem(FILES, dentryOf(editor, "dir", "small").key);
      editor.editItem(FILES, inode("dir"), (item) => {
        item.setUint32(104, item.getUint32(104, true) - 1, true);
        setU64(item, 16, u64(item, 16) - 1);
      });
    },
    codes: ["DFS-FSCK-NLINK"],
  },
  {
    name: "a directory without a name",
    change: (editor) => {
      editor.removeItem(FILES, dentryOf(editor, "root", "many").key);
      editor.editItem(FILES, inode("root"), (item) => {
        item.setUint32(104, item.getUint32(104, true) - 1, true);
        setU64(item, 16, u64(item, 16) - 1);
        item.setUint32(4, item.getUint32(4, true) - 1, true);
      });
    },
    codes: ["DFS-FSCK-UNREACHABLE"],
  },
  {
    name: "a directory below itself",
    change: (editor) => {
      // dir/nested, whose parent is dir, becomes the parent of dir: out of the root's sight.
      const entry = dentryOf(editor, "root", "dir");
      editor.removeItem(FILES, entry.key);
      editor.insertItem(FILES, { ...entry.key, oid: ino("nested") }, entry.value);
      editor.editItem(FILES, inode("dir"), (item) => setU64(item, 96, ino("nested")));
      for (const [name, by] of [
        ["root", -1],
        ["nested", 1],
      ] as const) {
        editor.editItem(FILES, inode(name), (item) => {
          item.setUint32(104, item.getUint32(104, true) + by, true);
          setU64(item, 16, u64(item, 16) + by);
          item.setUint32(4, item.getUint32(4, true) + by, true);
        });
      }
    },
    codes: ["DFS-FSCK-DIRECTORY-LOOP"],
  },
  {
    name: "a symbolic link's target",
    change: (editor) => editor.removeItem(FILES, { oid: ino("symlink"), type: SYMLINK, offset: 0 }),
    codes: ["DFS-FSCK-SYMLINK"],
  },
  {
    name: "a symbolic link's size",
    change: (editor) => editor.editItem(FILES, inode("symlink"), (item) => setU64(item, 16, 3)),
    codes: ["DFS-FSCK-SYMLINK"],
  },
  {
    name: "an attribute's name",
    change: (editor) => {
      const key = editor
        .items(FILES)
        .find((item) => item.key.oid === ino("dir") && item.key.type === XATTR)?.key;
      editor.editItem(FILES, key ?? inode("dir"), (item) => item.setUint8(8, 0x55));
    },
    codes: ["DFS-FSCK-XATTR"],
  },
  {
    name: "a part of an attribute's value",
    change: (editor) => {
      const parts = editor.items(FILES).filter((item) => item.key.type === XATTR_DATA);
      editor.removeItem(FILES, parts[4]?.key ?? inode("dir"));
    },
    codes: ["DFS-FSCK-XATTR"],
  },
  {
    name: "a part of an attribute's value in the middle",
    change: (editor) => {
      const parts = editor.items(FILES).filter((item) => item.key.type === XATTR_DATA);
      editor.removeItem(FILES, parts[1]?.key ?? inode("dir"));
    },
    codes: ["DFS-FSCK-XATTR"],
  },
  {
    name: "a directory's size",
    change: (editor) => editor.editItem(FILES, inode("many"), (item) => setU64(item, 16, 77)),
    codes: ["DFS-FSCK-ENTRY-COUNT"],
  },
  {
    name: "an inode's count of attributes",
    change: (editor) =>
      editor.editItem(FILES, inode("attributes"), (item) => item.setUint32(108, 9, true)),
    codes: ["DFS-FSCK-XATTR-COUNT"],
  },
  {
    name: "inline data beyond the file's size",
    change: (editor) => editor.editItem(FILES, inode("inline"), (item) => setU64(item, 16, 10)),
    codes: ["DFS-FSCK-INLINE"],
  },
  {
    name: "inline data where an extent is",
    change: (editor) =>
      editor.insertItem(FILES, { oid: ino("large"), type: INLINE, offset: 0 }, new Uint8Array(10)),
    codes: ["DFS-FSCK-INLINE"],
  },
  {
    name: "an extent's length",
    change: (editor) =>
      editor.editItem(FILES, { oid: ino("large"), type: EXTENT, offset: 0 }, (item) =>
        item.setUint32(0, 7, true),
      ),
    codes: ["DFS-FSCK-EXTENT"],
  },
  {
    name: "an extent's address beyond the end",
    change: (editor) =>
      editor.editItem(FILES, { oid: ino("large"), type: EXTENT, offset: 0 }, (item) =>
        setU64(item, 16, 1 << 29),
      ),
    codes: ["DFS-FSCK-EXTENT"],
  },
  {
    name: "an extent where another one is",
    change: (editor) => {
      const other = editor
        .items(FILES)
        .find(({ key }) => key.oid === ino("large") && key.offset === 1 << 20);
      editor.editItem(FILES, { oid: ino("large"), type: EXTENT, offset: 0 }, (item) => {
        setU64(item, 16, u64(new DataView((other?.value ?? new Uint8Array(24)).buffer), 16));
      });
    },
    codes: ["DFS-FSCK-BLOCK-LEAKED", "DFS-FSCK-BLOCK-SHARED", "DFS-FSCK-DATA"],
  },
  {
    name: "an extent that overlaps another in the file",
    change: (editor) =>
      editor.editItem(
        FILES,
        { oid: ino("large"), type: EXTENT, offset: 1 << 20 },
        (_item, { page, slot }) => {
          page.setUint32(slot + 8, (1 << 20) - 4096, true);
        },
      ),
    codes: ["DFS-FSCK-EXTENT-OVERLAP"],
  },
  {
    name: "a block of data",
    change: (editor) => {
      const extent = editor
        .items(FILES)
        .find(({ key }) => key.oid === ino("sparse") && key.type === EXTENT);
      editor.flip(u64(new DataView((extent?.value ?? new Uint8Array(24)).buffer), 16) + 1, 77);
    },
    codes: ["DFS-FSCK-DATA"],
  },
  {
    name: "a run of shared blocks that overlaps another",
    change: (editor) => {
      const [run] = editor.items(FILES).filter(({ key }) => key.type === SHARED);
      const offset = (run?.key.offset ?? 0) + 1;
      editor.insertItem(
        FILES,
        { oid: 0, type: SHARED, offset },
        new Uint8Array([1, 0, 0, 0, 2, 0, 0, 0]),
      );
    },
    codes: ["DFS-FSCK-SHARED-RUN"],
  },
  {
    name: "a quota that counts what is not there",
    change: (editor) => {
      // A user who has nothing, and is said to have a block.
      const value = new Uint8Array(40);
      value.set([1], 16);
      value.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f], 32);
      editor.insertItem(FILES, { oid: 0, type: QUOTA, offset: 12345 }, value);
    },
    codes: ["DFS-FSCK-QUOTA-USAGE"],
  },
  {
    name: "a quota of an unknown kind",
    change: (editor) => {
      const value = new Uint8Array(40);
      value.set([1], 32);
      editor.insertItem(FILES, { oid: 0, type: QUOTA, offset: 3 * 2 ** 32 }, value);
    },
    codes: ["DFS-FSCK-QUOTA"],
  },
  {
    name: "shared blocks with too small a count",
    change: (editor) => {
      const [run] = editor.items(FILES).filter(({ key }) => key.type === SHARED);
      editor.editItem(FILES, run?.key ?? inode("dir"), (item) => item.setUint32(4, 2, true));
    },
    codes: ["DFS-FSCK-SHARED-COUNT"],
  },
  {
    name: "shared blocks that nothing says are shared",
    change: (editor) => {
      for (const { key } of editor.items(FILES))
        if (key.type === SHARED) editor.removeItem(FILES, key);
    },
    codes: ["DFS-FSCK-BLOCK-SHARED"],
  },
  {
    name: "a file with shared blocks that does not say so",
    change: (editor) =>
      editor.editItem(FILES, inode("clone"), (item) => item.setUint32(84, 0, true)),
    codes: ["DFS-FSCK-SHARED-FLAG"],
  },
  {
    name: "an orphan that has links",
    change: (editor) =>
      editor.editItem(FILES, inode("orphan"), (item) => item.setUint32(4, 1, true)),
    codes: ["DFS-FSCK-NLINK", "DFS-FSCK-ORPHAN"],
  },
  {
    name: "an orphan that is not listed",
    change: (editor) => editor.removeItem(FILES, { oid: 0, type: ORPHAN, offset: ino("orphan") }),
    codes: ["DFS-FSCK-ORPHAN-MISSING"],
  },
  {
    name: "an orphan that does not exist",
    change: (editor) =>
      editor.insertItem(FILES, { oid: 0, type: ORPHAN, offset: 70_000 }, new Uint8Array(0)),
    codes: ["DFS-FSCK-ORPHAN"],
  },
];

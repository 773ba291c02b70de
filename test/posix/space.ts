/** Where a file has data and where it has none: holes, truncation, allocation, far offsets. */

import {
  COLLAPSE_RANGE,
  code,
  fallocate,
  INSERT_RANGE,
  KEEP_SIZE,
  lseek,
  type PosixCase,
  PUNCH_HOLE,
  pattern,
  python,
  readAt,
  SEEK_DATA,
  SEEK_HOLE,
  touch,
  withFile,
  writeAt,
  ZERO_RANGE,
} from "../support/posix_case.ts";
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "../support/posix_fs.ts";

const MIB = 1 << 20;
const ENXIO = -6;
const EFBIG = "EFBIG";
const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);

export const space: PosixCase[] = [
  {
    name: "a hole reads as zeros, data around it as written",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        writeAt(fd, 0, pattern(5000, 1));
        writeAt(fd, 3 * MIB + 77, pattern(5000, 2));
        t.equal(fstatSync(fd).size, 3 * MIB + 5077);
        const all = readAt(fd, 0, 4 * MIB);
        t.ok(all.subarray(0, 5000).equals(pattern(5000, 1)));
        t.ok(isZero(all.subarray(5000, 3 * MIB + 77)));
        t.ok(all.subarray(3 * MIB + 77).equals(pattern(5000, 2)));
      });
    },
  },
  {
    name: "truncating up gives zeros",
    run(dir, t) {
      writeFileSync(`${dir}/a`, pattern(1000, 3));
      truncateSync(`${dir}/a`, 100_000);
      const all = readFileSync(`${dir}/a`);
      t.equal(all.length, 100_000);
      t.ok(all.subarray(0, 1000).equals(pattern(1000, 3)));
      t.ok(isZero(all.subarray(1000)));
    },
  },
  {
    name: "what truncating down cut off does not come back",
    run(dir, t) {
      for (const cut of [0, 1, 100, 4095, 4096, 4097, 65_536, 99_999]) {
        writeFileSync(`${dir}/a`, pattern(100_000, 4));
        truncateSync(`${dir}/a`, cut);
        t.ok(readFileSync(`${dir}/a`).equals(pattern(100_000, 4).subarray(0, cut)), `${cut}: cut`);
        truncateSync(`${dir}/a`, 100_000);
        const all = readFileSync(`${dir}/a`);
        t.ok(all.subarray(0, cut).equals(pattern(100_000, 4).subarray(0, cut)), `${cut}: kept`);
        t.ok(isZero(all.subarray(cut)), `${cut}: zeros`);
      }
    },
  },
  {
    name: "the same with data that is on the disk already",
    run(dir, t) {
      for (const cut of [1, 700, 4095, 4097, 65_537]) {
        withFile(`${dir}/a${cut}`, "w+", (fd) => {
          writeAt(fd, 0, pattern(200_000, 5));
          fsyncSync(fd);
          ftruncateSync(fd, cut);
          fsyncSync(fd);
          ftruncateSync(fd, 200_000);
          fsyncSync(fd);
          const all = readAt(fd, 0, 200_001);
          t.equal(all.length, 200_000);
          t.ok(all.subarray(0, cut).equals(pattern(200_000, 5).subarray(0, cut)));
          t.ok(isZero(all.subarray(cut)));
        });
      }
    },
  },
  {
    name: "writing past a truncated end leaves zeros between",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        writeAt(fd, 0, pattern(10_000, 6));
        ftruncateSync(fd, 3000);
        writeAt(fd, 9000, Buffer.from("end"));
        const all = readAt(fd, 0, 20_000);
        t.ok(isZero(all.subarray(3000, 9000)));
        t.equal(all.subarray(9000).toString(), "end");
      });
    },
  },
  {
    name: "small files grow and shrink through every layout",
    run(dir, t) {
      const model = pattern(20_000, 7);
      for (const size of [1, 50, 700, 1500, 3000, 4096, 5000, 9000, 20_000, 4097, 300, 0]) {
        withFile(`${dir}/a`, "a+", (fd) => {
          const now = fstatSync(fd).size;
          if (size < now) ftruncateSync(fd, size);
          else writeAt(fd, now, model.subarray(now, size));
          fsyncSync(fd);
        });
        t.ok(readFileSync(`${dir}/a`).equals(model.subarray(0, size)), `${size} bytes`);
      }
    },
  },
  {
    name: "SEEK_DATA and SEEK_HOLE find what is there",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        ftruncateSync(fd, 8 * MIB);
        writeAt(fd, 2 * MIB, pattern(MIB, 8));
        fsyncSync(fd);
        t.equal(lseek(fd, 0, SEEK_HOLE), 0);
        t.equal(lseek(fd, 0, SEEK_DATA), 2 * MIB);
        t.equal(lseek(fd, 2 * MIB + 5, SEEK_DATA), 2 * MIB + 5);
        t.equal(lseek(fd, 2 * MIB, SEEK_HOLE), 3 * MIB);
        t.equal(lseek(fd, 3 * MIB, SEEK_DATA), ENXIO);
        t.equal(lseek(fd, 8 * MIB, SEEK_DATA), ENXIO);
        t.equal(lseek(fd, 8 * MIB, SEEK_HOLE), ENXIO);
      });
    },
  },
  {
    name: "SEEK_DATA sees what is not yet written back",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        ftruncateSync(fd, 4 * MIB);
        writeAt(fd, MIB, pattern(8192, 9));
        t.equal(lseek(fd, 0, SEEK_DATA), MIB);
        t.equal(lseek(fd, MIB, SEEK_HOLE), MIB + 8192);
      });
    },
  },
  {
    name: "SEEK_HOLE of a full file is its end",
    run(dir, t) {
      writeFileSync(`${dir}/a`, pattern(10_000, 10));
      withFile(`${dir}/a`, "r", (fd) => {
        t.equal(lseek(fd, 0, SEEK_HOLE), 10_000);
        t.equal(lseek(fd, 9999, SEEK_DATA), 9999);
        t.equal(lseek(fd, 10_000, SEEK_HOLE), ENXIO);
      });
    },
  },
  {
    name: "fallocate() grows a file with zeros, or keeps its size",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        writeAt(fd, 0, pattern(1000, 11));
        t.equal(fallocate(fd, KEEP_SIZE, 0, 5 * MIB), 0);
        t.equal(fstatSync(fd).size, 1000);
        t.equal(fallocate(fd, 0, 0, 2 * MIB), 0);
        t.equal(fstatSync(fd).size, 2 * MIB);
        const all = readAt(fd, 0, 2 * MIB);
        t.ok(all.subarray(0, 1000).equals(pattern(1000, 11)));
        t.ok(isZero(all.subarray(1000)));
        t.ok(fstatSync(fd).blocks >= 2 * 2048, "space is really taken");
      });
    },
  },
  {
    name: "space that was allocated can be written and read, in any order",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        const model = Buffer.alloc(2 * MIB);
        writeAt(fd, 5000, pattern(3000, 31));
        model.set(pattern(3000, 31), 5000);
        t.equal(fallocate(fd, 0, 0, 2 * MIB), 0);
        fsyncSync(fd);
        const { blocks } = fstatSync(fd);
        for (const [index, at] of [MIB, 4096, 100_000, 2 * MIB - 7000, 4090].entries()) {
          writeAt(fd, at, pattern(6000, 32 + index));
          model.set(pattern(6000, 32 + index), at);
          if (index % 2 === 0) fsyncSync(fd);
          t.ok(readAt(fd, 0, 3 * MIB).equals(model), `written at ${at}`);
        }
        fsyncSync(fd);
        t.equal(fstatSync(fd).blocks, blocks, "written into the space that was kept");
      });
    },
  },
  {
    name: "allocated space is a hole to SEEK_DATA, and given back by truncation",
    notOnTmpfs: "its allocated pages count as data",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        t.equal(fallocate(fd, KEEP_SIZE, 0, 4 * MIB), 0);
        t.equal(fstatSync(fd).size, 0);
        t.ok(fstatSync(fd).blocks >= 4 * 2048);
        ftruncateSync(fd, 3 * MIB);
        t.ok(fstatSync(fd).blocks >= 3 * 2048, "growing keeps it");
        writeAt(fd, MIB, pattern(4096, 33));
        fsyncSync(fd);
        t.equal(lseek(fd, 0, SEEK_DATA), MIB);
        t.equal(lseek(fd, MIB, SEEK_HOLE), MIB + 4096);
        t.equal(lseek(fd, MIB + 4096, SEEK_DATA), ENXIO);
        ftruncateSync(fd, 2 * MIB);
        t.equal(fstatSync(fd).blocks, 2 * 2048);
        ftruncateSync(fd, 0);
        t.equal(fstatSync(fd).blocks, 0);
      });
    },
  },
  {
    name: "punching a hole leaves zeros, the size, and the rest",
    run(dir, t) {
      for (const synced of [false, true]) {
        withFile(`${dir}/a${synced}`, "w+", (fd) => {
          const model = pattern(MIB, 12);
          writeAt(fd, 0, model);
          if (synced) fsyncSync(fd);
          for (const [from, length] of [
            [100_000, 50_000],
            [4096, 8192],
            [700_001, 3],
            [40_960, 100],
            [819_200, 4097],
            [900_000, 500_000],
          ] as const) {
            t.equal(fallocate(fd, KEEP_SIZE | PUNCH_HOLE, from, length), 0);
            model.fill(0, from, Math.min(from + length, MIB));
            t.ok(readAt(fd, 0, 2 * MIB).equals(model), `${from}+${length}`);
          }
          t.equal(fstatSync(fd).size, MIB);
        });
      }
    },
  },
  {
    name: "a hole in a small file is there when the file is read again",
    run(dir, t) {
      for (const [from, length] of [
        [0, 300],
        [100, 50],
        [900, 100],
        [0, 1000],
      ] as const) {
        const path = `${dir}/a${from}-${length}`;
        const model = pattern(1000, 12);
        withFile(path, "w+", (fd) => {
          writeAt(fd, 0, model);
          fsyncSync(fd);
          t.equal(fallocate(fd, KEEP_SIZE | PUNCH_HOLE, from, length), 0);
          fsyncSync(fd);
          model.fill(0, from, from + length);
          // What the cache holds goes, too.
          ftruncateSync(fd, 995);
          ftruncateSync(fd, 1000);
          model.fill(0, 995);
        });
        python(
          dir,
          `fd = os.open("a${from}-${length}", os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)`,
        );
        t.ok(readFileSync(path).equals(model), `${from}+${length}`);
      }
    },
  },
  {
    name: "a punched hole gives its blocks back",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        writeAt(fd, 0, pattern(4 * MIB, 13));
        fsyncSync(fd);
        const before = fstatSync(fd).blocks;
        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 0, 3 * MIB);
        fsyncSync(fd);
        const freed = before - fstatSync(fd).blocks;
        t.equal(freed, 3 * 2048);
        t.equal(lseek(fd, 0, SEEK_DATA), 3 * MIB);
      });
    },
  },
  {
    name: "PUNCH_HOLE without KEEP_SIZE, and lengths of 0, are refused",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        writeAt(fd, 0, pattern(10_000, 14));
        t.equal(fallocate(fd, PUNCH_HOLE, 0, 4096), -95);
        t.equal(fallocate(fd, 0, 0, 0), -22);
      });
    },
  },
  {
    name: "ZERO_RANGE",
    notOnTmpfs: "not implemented there",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        const model = pattern(200_000, 15);
        writeAt(fd, 0, model);
        t.equal(fallocate(fd, ZERO_RANGE, 10_000, 100_000), 0);
        model.fill(0, 10_000, 110_000);
        t.ok(readAt(fd, 0, 300_000).equals(model));
        t.equal(fallocate(fd, ZERO_RANGE, 190_000, 60_000), 0);
        t.equal(fstatSync(fd).size, 250_000);
        fsyncSync(fd);
        t.ok(fstatSync(fd).blocks * 512 >= 250_000, "space is kept");
        t.equal(fallocate(fd, KEEP_SIZE | ZERO_RANGE, 0, 300_000), 0);
        t.equal(fstatSync(fd).size, 250_000);
        t.ok(isZero(readAt(fd, 0, 300_000)));
      });
    },
  },
  {
    name: "COLLAPSE_RANGE and INSERT_RANGE move what follows",
    notYet: "Linux does not pass these modes to FUSE file systems",
    notOnTmpfs: "not implemented there",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        const model = pattern(20 * 4096, 16);
        writeAt(fd, 0, model);
        t.equal(fallocate(fd, COLLAPSE_RANGE, 4 * 4096, 3 * 4096), 0);
        const less = Buffer.concat([model.subarray(0, 4 * 4096), model.subarray(7 * 4096)]);
        t.ok(readAt(fd, 0, 100_000).equals(less), "collapsed");
        t.equal(fallocate(fd, INSERT_RANGE, 2 * 4096, 5 * 4096), 0);
        const more = Buffer.concat([
          less.subarray(0, 2 * 4096),
          Buffer.alloc(5 * 4096),
          less.subarray(2 * 4096),
        ]);
        t.ok(readAt(fd, 0, 200_000).equals(more), "inserted");
        t.equal(fallocate(fd, COLLAPSE_RANGE, 1, 4096), -22, "not aligned");
      });
    },
  },
  {
    name: "an offset just below 8 PiB",
    run(dir, t) {
      const far = 2 ** 53 - 65_536;
      withFile(`${dir}/a`, "w+", (fd) => {
        t.equal(writeAt(fd, far, pattern(5000, 17)), 5000);
        t.equal(fstatSync(fd).size, far + 5000);
        fsyncSync(fd);
        t.ok(readAt(fd, far, 5000).equals(pattern(5000, 17)));
        t.ok(isZero(readAt(fd, far - 5000, 5000)));
        t.equal(lseek(fd, 4096, SEEK_DATA), far);
        ftruncateSync(fd, 10);
        t.equal(fstatSync(fd).size, 10);
      });
    },
  },
  {
    name: "beyond the largest file size: EFBIG, and nothing changes",
    notOnTmpfs: "its limit is the kernel's",
    run(dir, t) {
      withFile(`${dir}/a`, "w+", (fd) => {
        // A write would be refused only when the kernel writes it back; these are refused at once.
        t.equal(
          code(() => ftruncateSync(fd, Number.MAX_SAFE_INTEGER)),
          EFBIG,
        );
        t.equal(fstatSync(fd).size, 0);
      });
    },
  },
  {
    name: "statfs() tells blocks that fall as files come",
    run(dir, t) {
      const before = statfsSync(dir);
      t.ok(before.bsize >= 512 && before.blocks > 0 && before.bfree <= before.blocks);
      t.ok(before.files > 0 && before.ffree > 0);
      withFile(`${dir}/a`, "w", (fd) => {
        writeAt(fd, 0, pattern(8 * MIB, 18));
        fsyncSync(fd);
      });
      const after = statfsSync(dir);
      t.ok(before.bfree - after.bfree >= (7 * MIB) / before.bsize);
    },
  },
  {
    name: "a file written backwards, and one in scattered pieces",
    run(dir, t) {
      const model = pattern(MIB, 19);
      withFile(`${dir}/a`, "w+", (fd) => {
        for (let at = MIB - 1000; at > -1000; at -= 1000) {
          const from = Math.max(0, at);
          writeAt(fd, from, model.subarray(from, at + 1000));
        }
        t.ok(readAt(fd, 0, 2 * MIB).equals(model));
      });
      withFile(`${dir}/b`, "w+", (fd) => {
        for (let step = 0; step < 1024; step++) {
          const at = ((step * 389) % 1024) * 1024;
          writeAt(fd, at, model.subarray(at, at + 1024));
          if (step % 100 === 0) fsyncSync(fd);
        }
        t.ok(readAt(fd, 0, 2 * MIB).equals(model));
      });
    },
  },
  {
    name: "overwriting everywhere, synced now and then, gives the last of each",
    run(dir, t) {
      const model = Buffer.alloc(300_000);
      const fd = openSync(touch(`${dir}/a`), "r+");
      let state = 12345;
      let size = 0;
      for (let step = 0; step < 400; step++) {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        const from = state % 290_000;
        const bytes = pattern((state >>> 7) % 10_000, step);
        writeAt(fd, from, bytes);
        bytes.copy(model, from);
        size = Math.max(size, bytes.length === 0 ? 0 : from + bytes.length);
        if (step % 37 === 0) fsyncSync(fd);
        if (step % 91 === 0) {
          const cut = (state >>> 3) % 290_000;
          ftruncateSync(fd, cut);
          model.fill(0, cut);
          size = cut;
        }
      }
      t.ok(readAt(fd, 0, 300_000).equals(model.subarray(0, size)));
      closeSync(fd);
      t.equal(statSync(`${dir}/a`).size, size);
    },
  },
];

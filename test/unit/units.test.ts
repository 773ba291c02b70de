import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import { formatSize, parseSize } from "../../host/base/units.ts";

t.test("parseSize() reads binary, decimal and plain sizes", (t) => {
  const cases: [string, number][] = [
    ["0", 0],
    ["4096", 4096],
    ["512B", 512],
    ["1K", 1024],
    ["1k", 1024],
    ["1KiB", 1024],
    ["1KB", 1000],
    ["10G", 10 * 2 ** 30],
    ["10GiB", 10 * 2 ** 30],
    ["10GB", 1e10],
    ["10gb", 1e10],
    [" 256 M ", 256 * 2 ** 20],
    ["1.5G", 1.5 * 2 ** 30],
    [".5K", 512],
    ["1.0001K", 1024],
    ["2T", 2 ** 41],
    ["7P", 7 * 2 ** 50],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ];
  for (const [text, bytes] of cases) t.equal(parseSize(text), bytes, text);
  t.end();
});

t.test("parseSize() refuses what is no size, with a code", (t) => {
  for (const text of ["", "G", "10X", "-1", "1e9", "10 GiBs", "0x10", "1.2.3K", "10iB", "1.5"]) {
    t.throws(() => parseSize(text), { code: "EINVAL" }, `"${text}"`);
  }
  t.throws(() => parseSize("8P"), { code: "EINVAL", message: /below 8 PiB/ });
  t.end();
});

t.test("formatSize() shows three digits in binary units", (t) => {
  const cases: [number, string][] = [
    [0, "0 bytes"],
    [1, "1 byte"],
    [1023, "1023 bytes"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [2 ** 20 - 1, "1 MiB"],
    [1023 * 1024, "1023 KiB"],
    [256 * 2 ** 20, "256 MiB"],
    [10 * 2 ** 30, "10 GiB"],
    [1.25 * 2 ** 40, "1.25 TiB"],
    [12.34 * 2 ** 40, "12.3 TiB"],
    [Number.MAX_SAFE_INTEGER, "8 PiB"],
  ];
  for (const [bytes, text] of cases) t.equal(formatSize(bytes), text, String(bytes));
  t.end();
});

t.test("formatSize() never strays more than 0.5 % from what it was given", (t) => {
  const seed = 4711;
  const prng = new Prng(seed);
  for (let round = 0; round < 2000; round += 1) {
    const bytes = Math.floor(2 ** (10 + prng.float() * 42));
    const back = parseSize(formatSize(bytes).replace(" ", ""));
    if (Math.abs(back - bytes) > bytes * 0.0051) t.fail(`${bytes} became ${back}, seed ${seed}`);
  }
  t.pass("2,000 sizes");
  t.end();
});

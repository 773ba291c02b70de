import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import { loadAlgorithms } from "../support/hashes.ts";

const LONGEST_BYTES = 1_048_576 + 13;

const core = loadCore({ memoryPages: 40 });
const layout = new Layout(core);
const result = layout.take(64, 8);
const data = layout.take(LONGEST_BYTES + 64, 64);
const algorithms = await loadAlgorithms();

/** Published by the authors: XXH3's and CRC-32C's of short texts, BLAKE3's of bytes that count from 0 to 250. */
const VECTORS: Record<string, [input: Uint8Array, digest: string][]> = {
  xxh3_64: [
    [Buffer.from(""), "2d06800538d394c2"],
    [Buffer.from("a"), "e6c632b61e964e1f"],
    [Buffer.from("abc"), "78af5f94892f3950"],
  ],
  xxh3_128: [
    [Buffer.from(""), "99aa06d3014798d86001c324468d497f"],
    [Buffer.from("abc"), "06b05ab6733a618578af5f94892f3950"],
  ],
  blake3: [
    [Buffer.from(""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"],
    [Buffer.from("abc"), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"],
    [counting(1), "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"],
    [counting(1024), "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"],
    [counting(1025), "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"],
  ],
  crc32c: [
    [Buffer.from(""), "00000000"],
    [Buffer.from("123456789"), "e3069283"],
    [new Uint8Array(32), "8a9136aa"],
    [new Uint8Array(32).fill(0xff), "62a8ab43"],
  ],
};

function counting(byteLength: number): Uint8Array {
  return Uint8Array.from({ length: byteLength }, (_, index) => index % 251);
}

for (const algorithm of algorithms) {
  t.test(`${algorithm.name}() equals the published vectors`, (t) => {
    for (const [input, digest] of VECTORS[algorithm.name] ?? []) {
      core.bytes.set(input, data);
      t.equal(algorithm.actual(core, data, input.length, result), digest);
    }
    t.end();
  });

  t.test(`${algorithm.name}() equals hash-wasm at every length to 2100 and some to 1 MiB`, (t) => {
    new Prng(1).bytes(core.bytes.subarray(data, data + LONGEST_BYTES + 64));
    const lengths = Array.from({ length: 2101 }, (_, index) => index);
    for (let power = 4096; power <= 1_048_576; power *= 2) {
      lengths.push(power - 1, power, power + 1, power + 13, power + 1024, power - 1025);
    }
    let differing = 0;
    for (const byteLength of lengths) {
      if (byteLength > LONGEST_BYTES) continue;
      const address = data + (byteLength % 29);
      const expected = algorithm.expected(core.bytes.subarray(address, address + byteLength));
      const actual = algorithm.actual(core, address, byteLength, result);
      if (actual !== expected && ++differing <= 3) t.equal(actual, expected, `${byteLength} bytes`);
    }
    t.equal(differing, 0);
    t.end();
  });
}

t.test("crc32c() goes on from a seed", (t) => {
  new Prng(2).bytes(core.bytes.subarray(data, data + 5000));
  const whole = core.exports.crc32c(data, 5000, 0);
  for (const cut of [0, 1, 15, 16, 17, 4096, 4999, 5000]) {
    const first = core.exports.crc32c(data, cut, 0);
    t.equal(core.exports.crc32c(data + cut, 5000 - cut, first), whole);
  }
  t.end();
});

t.test("name_hash() is the low 48 bits of XXH3-64", (t) => {
  for (const name of ["", "a", "README.md", "x".repeat(255)]) {
    core.bytes.set(Buffer.from(name), data);
    core.exports.xxh3_64(data, name.length, result);
    const expected = Number(core.view.getBigUint64(result, true) & 0xffff_ffff_ffffn);
    t.equal(core.exports.name_hash(data, name.length), expected);
  }
  t.end();
});

t.test("bytes_copy() copies between overlapping regions, bytes_fill() takes the low byte", (t) => {
  core.bytes.set(counting(301), data);
  core.exports.bytes_copy(data + 7, data, 293);
  t.same(core.bytes.slice(data + 7, data + 300), counting(293));
  core.exports.bytes_fill(data, 0x1ab, 300);
  t.same(core.bytes.slice(data, data + 300), new Uint8Array(300).fill(0xab));
  t.equal(core.bytes[data + 300], 300 % 251, "the byte behind is untouched");
  t.end();
});

t.test("bytes_equal() sees a difference at every place of every length", (t) => {
  const a = data;
  const b = data + 1001;
  let wrong = 0;
  for (const byteLength of [0, 1, 7, 8, 9, 63, 64, 65, 127, 200]) {
    core.bytes.fill(0x5a, a, b + byteLength + 1);
    // What lies outside differs, and must not count.
    core.bytes[a + byteLength] = 1;
    if (core.exports.bytes_equal(a, b, byteLength) !== 1) wrong += 1;
    for (let place = 0; place < byteLength; place += 1) {
      core.bytes[b + place] = 0x5b;
      if (core.exports.bytes_equal(a, b, byteLength) !== 0) wrong += 1;
      core.bytes[b + place] = 0x5a;
    }
  }
  t.equal(wrong, 0);
  t.end();
});

t.test("an address outside the memory traps instead of wrapping", (t) => {
  const end = core.bytes.length;
  for (const algorithm of algorithms) {
    t.throws(() => algorithm.actual(core, end - 100, 200, result), WebAssembly.RuntimeError);
    t.throws(() => algorithm.actual(core, end - 100, 5000, result), WebAssembly.RuntimeError);
    t.equal(typeof algorithm.actual(core, end - 100, 100, result), "string");
  }
  t.end();
});

t.test("Layout.take() aligns, never overlaps, and throws ENOMEM at the end of the memory", (t) => {
  const small = loadCore({ memoryPages: 4 });
  const layout = new Layout(small);
  const first = layout.take(10, 64);
  const second = layout.take(10, 4096);
  t.ok(first >= small.staticEnd);
  t.equal(first % 64, 0);
  t.equal(second % 4096, 0);
  t.ok(second >= first + 10);
  t.equal(layout.end, second + 10);
  t.throws(() => layout.take(small.bytes.length, 1), {
    code: "ENOMEM",
    reason: "core/memory-full",
  });
  t.equal(layout.end, second + 10, "a refused region takes nothing");
  t.equal(
    layout.take(small.bytes.length - layout.end, 1),
    second + 10,
    "the last byte can be taken",
  );
  t.end();
});

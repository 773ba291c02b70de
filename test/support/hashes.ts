/**
 * The oracle of the checksum tests: hash-wasm's implementations beside the core's, both as hexadecimal text in each
 * algorithm's customary form.
 */
import { createBLAKE3, createCRC32, createXXHash3, createXXHash128, type IHasher } from "hash-wasm";
import type { Core } from "../../host/core/core.ts";

export interface Algorithm {
  readonly name: string;
  /** Length of the core's result in bytes. */
  readonly resultBytes: number;
  /** hash-wasm's answer. */
  expected(data: Uint8Array): string;
  /** The core's answer; it is written to `resultAddress` if the core writes one. */
  actual(core: Core, address: number, byteLength: number, resultAddress: number): string;
}

export async function loadAlgorithms(): Promise<Algorithm[]> {
  const of = (hasher: IHasher): ((data: Uint8Array) => string) => {
    return (data) => hasher.init().update(data).digest("hex");
  };
  const [xxh3, xxh128, blake3, crc32c] = await Promise.all([
    createXXHash3(0, 0),
    createXXHash128(0, 0),
    createBLAKE3(),
    createCRC32(0x82f63b78),
  ]);
  return [
    {
      name: "xxh3_64",
      resultBytes: 8,
      expected: of(xxh3),
      actual(core, address, byteLength, resultAddress) {
        core.exports.xxh3_64(address, byteLength, resultAddress);
        return hexBackwards(core.bytes.subarray(resultAddress, resultAddress + 8));
      },
    },
    {
      name: "xxh3_128",
      resultBytes: 16,
      expected: of(xxh128),
      actual(core, address, byteLength, resultAddress) {
        core.exports.xxh3_128(address, byteLength, resultAddress);
        return hexBackwards(core.bytes.subarray(resultAddress, resultAddress + 16));
      },
    },
    {
      name: "blake3",
      resultBytes: 32,
      expected: of(blake3),
      actual(core, address, byteLength, resultAddress) {
        core.exports.blake3(address, byteLength, resultAddress);
        return Buffer.from(core.bytes.subarray(resultAddress, resultAddress + 32)).toString("hex");
      },
    },
    {
      name: "crc32c",
      resultBytes: 0,
      expected: of(crc32c),
      actual(core, address, byteLength) {
        const crc = core.exports.crc32c(address, byteLength, 0) >>> 0;
        return crc.toString(16).padStart(8, "0");
      },
    },
  ];
}

function hexBackwards(bytes: Uint8Array): string {
  return Buffer.from(bytes).reverse().toString("hex");
}

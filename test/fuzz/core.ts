/** Calls of the core: what the ABI takes from the host, against models; arbitrary pages and walks over them. */
import type { Prng } from "../../host/base/prng.ts";
import { Prng as Random } from "../../host/base/prng.ts";
import { fuzzAllocator } from "./allocator.ts";
import { fuzzCache } from "./cache.ts";
import { fuzzChecksum } from "./checksum.ts";
import { fuzzDirtyMap } from "./dirty_map.ts";
import { fuzzPage } from "./page.ts";
import type { Field, Target } from "./target.ts";

/** Does `steps` random things and throws when something is wrong. A Wasm trap that the ABI does not name is wrong. */
const PARTS: Readonly<Record<string, (random: Prng, steps: number) => void>> = {
  allocator: fuzzAllocator,
  cache: fuzzCache,
  checksum: fuzzChecksum,
  dirtyMap: fuzzDirtyMap,
  page: fuzzPage,
};
const STEPS = 50;

export const core: Target = {
  mutate(random: Prng): Field[] {
    const names = Object.keys(PARTS);
    const part = names[random.below(names.length)];
    return [{ part, seed: random.u32(), steps: STEPS }];
  },

  mutants: (fields) => fields.reduce((sum, field) => sum + Number(field["steps"]), 0),

  run(fields: readonly Field[]): string {
    for (const field of fields)
      PARTS[String(field["part"])]?.(new Random(Number(field["seed"])), Number(field["steps"]));
    return fields.map((field) => field["part"]).join(" ");
  },
};

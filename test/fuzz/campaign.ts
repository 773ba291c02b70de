/** The targets by name, and what campaigns and tests do with them. */
import { core } from "./core.ts";
import { images } from "./images.ts";
import { library } from "./library.ts";
import { repairs } from "./repairs.ts";
import { requests } from "./requests.ts";
import type { Field, Target } from "./target.ts";

export const TARGETS: Readonly<Record<string, Target>> = {
  images,
  repairs,
  requests,
  library,
  core,
};

/** Leaves out one field after the other, as long as the mutant fails in the same way. */
export async function shrink(
  target: Target,
  fields: readonly Field[],
  isSame: (error: unknown) => boolean,
): Promise<Field[]> {
  let smallest = [...fields];
  for (let again = true; again; ) {
    again = false;
    for (let index = smallest.length - 1; index >= 0; index -= 1) {
      const fewer = smallest.filter((_, at) => at !== index);
      try {
        await target.run(fewer);
      } catch (error) {
        if (!isSame(error)) continue;
        smallest = fewer;
        again = true;
      }
    }
  }
  return smallest;
}

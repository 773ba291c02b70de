/**
 * The daemon is killed under load, twice, and once more while it recovers: what was acknowledged must be there, what
 * was not may be older but never wrong. Every workload is used once; `npm run kill9` does many such rounds, and longer.
 */
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import { killRound, workloadsHere } from "../support/kill9.ts";
import { mountImpossible, programsMissing, withMount } from "../support/mount.ts";

t.setTimeout(900_000);
const skip = (await mountImpossible()) || programsMissing("python3");
const SEED = Number(process.env["TEST_SEED"] ?? Math.floor(Math.random() * 1e9));
const ROUNDS = 2;

t.test("the daemon is killed under load", { skip, timeout: 800_000 }, async (t) => {
  const { names, missing } = workloadsHere();
  if (missing.length > 0) t.comment(`left out: ${missing.join(", ")}`);
  await withMount({ size: "4G", memory: "128M", limitSeconds: 800 }, async (mounted) => {
    const prng = new Prng(SEED);
    let kinds = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const { bad, figures } = await killRound(mounted, {
        notes: `${mounted.outside}/notes`,
        round,
        seed: SEED,
        workloads: names.filter((_, index) => index % ROUNDS === round),
        killMs: 300 + prng.below(1200),
        notedFirst: 3,
        killsAtMount: round === 1 ? [100 + prng.below(300)] : [],
      });
      t.same(bad, [], `seed ${SEED}, round ${round}: all that was acknowledged is there`);
      t.comment(JSON.stringify(figures));
      kinds = Object.values(figures).filter((count) => count > 0).length;
    }
    t.ok(kinds >= 8 || missing.length > 0, "much was acknowledged: the test can fail");
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0, out: "clean\n" }, "fsck");
    t.notMatch(mounted.log(), /"level":"error"/);
    await mounted.mount();
  });
});

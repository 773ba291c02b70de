/**
 * Kills the daemon of a real mount under real programs, round after round: `npm run kill9 -- [--rounds N] [--seed S]`.
 *
 * Round i does what seed S + i says: which programs, when the kill comes, how often it comes again while the next mount
 * recovers. Ten rounds share a volume. The processes themselves are not repeatable: a seed shows the same plan again, not
 * the same instant. Ends with 1 and the seed if anything acknowledged was missing; `--keep` leaves that volume there.
 */
import { parseArgs } from "node:util";
import { Prng } from "../../host/base/prng.ts";
import { killRound, planRound, WORKLOADS, workloadsHere } from "../support/kill9.ts";
import { Mounted, mountImpossible } from "../support/mount.ts";

const VOLUME_ROUNDS = 10;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    /** Only these workloads, with commas. */
    only: { type: "string" },
    keep: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const firstSeed = Number(values.seed);
const impossible = await mountImpossible();
if (impossible !== false) {
  console.error(`cannot mount here: ${impossible}`);
  process.exit(2);
}
const here = workloadsHere();
for (const lack of here.missing) console.log(`left out: ${lack}`);
const wanted = values.only?.split(",") ?? here.names;
const unknown = wanted.filter((name) => !(name in WORKLOADS));
if (unknown.length > 0 || !(rounds > 0) || !Number.isFinite(firstSeed)) {
  console.error(`unknown: ${unknown}; there are ${Object.keys(WORKLOADS)}`);
  process.exit(2);
}

const startMs = performance.now();
const totals: Record<string, number> = {};
let acknowledged = 0;
let kills = 0;
let fscks = 0;
let failures = 0;
let mounted: Mounted | null = null;
let figures: Readonly<Record<string, number>> = {};

function settle(): void {
  for (const [name, count] of Object.entries(figures)) totals[name] = (totals[name] ?? 0) + count;
  figures = {};
}

function fsck(volume: Mounted, when: string): string | null {
  fscks += 1;
  const { code, out, err } = volume.fsck();
  return code === 0 ? null : `fsck ${when}: exit code ${code}: ${(out + err).slice(0, 500)}`;
}

for (let round = 0; round < rounds; round++) {
  const seed = firstSeed + round;
  const prng = new Prng(seed);
  if (round % VOLUME_ROUNDS === 0 || mounted === null) {
    settle();
    await mounted?.close();
    mounted = new Mounted({
      size: "4G",
      memory: prng.below(2) === 0 ? "64M" : "128M",
      limitSeconds: 300,
    });
    mounted.create();
    await mounted.mount();
  }
  const volume: Mounted = mounted;
  const plan = planRound(prng, wanted);
  const bad: string[] = [];
  try {
    const result = await killRound(volume, {
      ...plan,
      notes: `${volume.outside}/notes`,
      round,
      seed,
      whenDead: async () => (prng.below(4) === 0 ? fsck(volume, "before recovery") : null),
    });
    bad.push(...result.bad);
    figures = result.figures;
    if (prng.below(3) === 0) {
      await volume.umount();
      const found = fsck(volume, "after the unmount");
      if (found !== null) bad.push(found);
      await volume.mount();
    }
    const error = /^.*"level":"error".*$/m.exec(volume.log());
    if (error !== null) bad.push(`the log has ${error[0].slice(0, 300)}`);
  } catch (error) {
    bad.push((error as Error).stack ?? String(error));
  }
  kills += 1 + plan.killsAtMount.length;
  const count = Object.values(figures).reduce((sum, each) => sum + each, 0);
  acknowledged = Object.values(totals).reduce((sum, each) => sum + each, 0) + count;
  const seconds = (performance.now() - startMs) / 1000;
  const left = (seconds / (round + 1)) * (rounds - round - 1);
  const again = plan.killsAtMount.length === 0 ? "" : ` and at ${plan.killsAtMount} ms of mounting`;
  console.log(
    `round ${round + 1} of ${rounds}, seed ${seed}: ${plan.workloads.join(" ")}; killed after ${plan.killMs} ms${again}; ` +
      `${bad.length === 0 ? "ok" : "FAILED"}; ${minutes(left)} left`,
  );
  if (bad.length > 0) {
    failures += 1;
    console.log(`seed ${seed} failed (npm run kill9 -- --rounds 1 --seed ${seed}):`);
    for (const each of bad) console.log(`  ${each}`);
    console.log(volume.log().slice(-3000));
    if (values.keep) console.log(`kept: ${volume.sandbox.directory}`);
    settle();
    if (!values.keep) await volume.close();
    else if (volume.isMounted) await volume.kill9();
    mounted = null;
  }
}
settle();
await mounted?.close();
console.log(
  `${rounds} rounds, ${kills} kills, ${acknowledged} acknowledgements checked, ${fscks} fscks in ` +
    `${minutes((performance.now() - startMs) / 1000)}: ${failures} failed`,
);
console.log(
  `acknowledged: ${Object.entries(totals)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ")}`,
);
process.exitCode = failures === 0 ? 0 : 1;

function minutes(seconds: number): string {
  return seconds < 90 ? `${seconds.toFixed(0)} s` : `${(seconds / 60).toFixed(0)} min`;
}

/**
 * Kills the daemon of a real mount under real programs, round after round. HELP says how.
 *
 * Round i does what seed S + i says: which programs, when the kill comes, how often it comes again while the next mount
 * recovers. Ten rounds share a volume. The processes themselves are not repeatable: a seed shows the same plan again, not
 * the same instant.
 */
import { Prng } from "../../host/base/prng.ts";
import { FaultyDisk, whyNoLoop } from "../support/faulty_disk.ts";
import { killRound, planRound, WORKLOADS, workloadsHere } from "../support/kill9.ts";
import { Mounted, mountImpossible } from "../support/mount.ts";
import { countOf, readFlags, refuse } from "../support/script_flags.ts";

/** Rounds on one volume; fewer where the disk is in memory. */
const VOLUME_ROUNDS = { image: 10, file: 5, loop: 5 };
const DISK_BYTES = 1 << 30;

const HELP = `npm run kill9 -- [FLAGS]
  Kills the daemon of a real mount under real programs, round after round, and checks what was acknowledged.
  Exit code 1, and the seed, when anything is missing; 2 for wrong flags, or where nothing can be mounted.
  --rounds N       (default 20)
  --seed N         Of the first round (default from the clock); then N + 1 …
  --only NAME,…    Programs, of ${Object.keys(WORKLOADS).join(", ")}
  --disk KIND      image (default): an image file, that loses nothing. file, loop: a faulty disk of ours, as an image
                   file or a block device, that loses power each time: what was not flushed is gone, there, or torn
  --keep           Leaves the volume of a failure there`;

const values = readFlags(HELP, {
  rounds: { type: "string", default: "20" },
  seed: { type: "string", default: String(Date.now() % 1_000_000) },
  only: { type: "string" },
  disk: { type: "string", default: "image" },
  keep: { type: "boolean", default: false },
});
const rounds = countOf("--rounds", values.rounds, 1);
const firstSeed = countOf("--seed", values.seed);
const impossible = await mountImpossible();
if (impossible !== false) refuse(`cannot mount here: ${impossible}`);
const kind = values.disk;
if (kind !== "image" && kind !== "file" && kind !== "loop")
  refuse(`--disk is image, file or loop, not ${kind}`);
const lack = kind === "image" ? false : whyNoLoop();
if (lack !== false) refuse(`no such disk here: ${lack}`);
const here = workloadsHere();
for (const lack of here.missing) console.log(`left out: ${lack}`);
const wanted = values.only?.split(",") ?? here.names;
const unknown = wanted.filter((name) => !(name in WORKLOADS));
if (unknown.length > 0)
  refuse(`--only: no program ${unknown}; there are ${Object.keys(WORKLOADS).join(", ")}`);

const startMs = performance.now();
const totals: Record<string, number> = {};
let acknowledged = 0;
let kills = 0;
let fscks = 0;
let failures = 0;
let mounted: Mounted | null = null;
let disk: FaultyDisk | null = null;
let dropped = 0;
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
  if (round % VOLUME_ROUNDS[kind] === 0 || mounted === null) {
    settle();
    await mounted?.close();
    await disk?.close();
    disk = kind === "image" ? null : await FaultyDisk.start(DISK_BYTES, kind);
    mounted = new Mounted({
      ...(disk === null ? { size: "4G" } : { device: disk.path, size: `${DISK_BYTES}` }),
      memory: prng.below(2) === 0 ? "64M" : "128M",
      limitSeconds: 300,
    });
    mounted.create();
    await mounted.mount();
  }
  const volume: Mounted = mounted;
  const faulty: FaultyDisk | null = disk;
  const plan = planRound(prng, wanted);
  const bad: string[] = [];
  try {
    const result = await killRound(volume, {
      ...plan,
      notes: `${volume.outside}/notes`,
      round,
      seed,
      beforeKill: () => faulty?.command(`cut ${seed}`),
      whenDead: async () => {
        faulty?.command("back");
        return prng.below(4) === 0 ? fsck(volume, "before recovery") : null;
      },
    });
    dropped += faulty?.unflushed.splice(0).reduce((sum, count) => sum + count, 0) ?? 0;
    bad.push(...result.bad);
    figures = result.figures;
    if (prng.below(3) === 0) {
      await volume.umount();
      const found = fsck(volume, "after the unmount");
      if (found !== null) bad.push(found);
      await volume.mount();
    }
    const error = /^.*"level":"error".*$/m.exec(volume.log());
    // A disk that has lost power fails.
    if (error !== null && faulty === null) bad.push(`the log has ${error[0].slice(0, 300)}`);
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
    console.log(`seed ${seed} failed (npm run kill9 -- --rounds 1 --seed ${seed} --disk ${kind}):`);
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
await disk?.close();
if (kind !== "image") console.log(`${dropped} writes in the disk's cache when power was lost`);
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

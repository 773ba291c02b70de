/** Scripts that run for long tell their flags, and end with 2 and one line when they cannot mean what is asked. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";

function script(path: string, ...args: string[]) {
  const file = fileURLToPath(new URL(`../${path}.js`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status, out: stdout, err: stderr };
}

const FLAGS: Readonly<Record<string, readonly string[]>> = {
  "sim/main": ["--steps", "--cuts", "--cut", "--replay", "--seed", "--each", "--json", "--tries"],
  "sim/exhaustive": ["--length", "--from", "--alphabet", "--limit", "--part", "--jobs", "--only"],
  "rounds/main": ["--rounds", "--seed", "--only", "--disk", "--keep"],
  "fuzz/main": ["--target", "--count", "--seed", "--failures", "--out", "--replay"],
  "mutants/main": [],
};

const WRONG: readonly (readonly [path: string, args: readonly string[], said: RegExp])[] = [
  ["sim/main", ["--frob"], /^Unknown option '--frob'/],
  ["sim/main", ["--steps", "many"], /^--steps takes a whole number of at least 1, not "many"/],
  ["sim/main", ["--seed", "-1"], /--seed/],
  ["sim/main", ["--cuts", ""], /^--cuts takes a whole number/],
  ["sim/exhaustive", ["--length", "0"], /^--length takes a whole number of at least 1/],
  ["sim/exhaustive", ["--part", "3/2"], /^--part is I\/K/],
  ["sim/exhaustive", ["--alphabet", "greek"], /^--alphabet is one of full, /],
  ["rounds/main", ["--rounds", "1.5"], /^--rounds takes a whole number/],
  ["fuzz/main", ["--target", "images,frob"], /^--target: no target frob; there are images, /],
  ["fuzz/main", ["--count", "1e99"], /^--count takes a whole number/],
  ["mutants/main", ["no such bug"], /^no bug has no such bug in its name/],
];

for (const [path, flags] of Object.entries(FLAGS)) {
  t.test(`${path} --help`, async (t) => {
    const { status, out, err } = script(path, "--help");
    t.equal(status, 0);
    t.equal(err, "");
    t.match(out, /^npm run /);
    for (const flag of flags) t.ok(out.includes(`  ${flag}`), flag);
  });
}

for (const [path, args, said] of WRONG) {
  t.test(`${path} ${args.join(" ")}`, async (t) => {
    const { status, out, err } = script(path, ...args);
    t.equal(status, 2);
    t.match(err, said);
    t.equal(err.trim().split("\n").length, 1, "one line");
    t.equal(out, "");
  });
}

/** Wrong flags of `npm run bench` end with 2 and say what is wrong, before anything is made. */
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import t from "tap";

const BENCH = fileURLToPath(new URL("../bench/bench.js", import.meta.url));

function bench(...args: string[]): { status: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BENCH, ...args], {
    encoding: "utf8",
    timeout: 300_000,
  });
  return { status, out: stdout, err: stderr };
}

const WRONG: readonly (readonly [args: readonly string[], said: RegExp])[] = [
  [["--frob"], /^bench: Unknown option '--frob'/],
  [["--tail", "--check"], /^bench: Unknown option '--check'/],
  [["--tail", "--seconds", "soon"], /--seconds: "soon" is not a number from 1 to 3600/],
  [["--tail", "--rate", "0"], /--rate: "0" is not a number from/],
  [["--tail", "--peers", "ext4,fat"], /no peer "fat"; there are ext4, /],
  [["--scale", "--parts", "rates,frob"], /no part "frob"; there are rates, /],
  [["--scale", "--parts", ","], /--parts: there are rates, /],
  [["--scale", "--files", "10000,1e-3"], /--files: "1e-3" is not a whole number from 10/],
  [["--scale", "--files", "20.5"], /--files: "20.5" is not a whole number/],
  [["--scale", "--names", ""], /--names: "" is not a whole number/],
  [["--scale", "--random-bytes", "3Q"], /--random-bytes: Cannot read "3Q" as a size/],
  [["--scale", "--random-bytes", "1"], /--random-bytes: "1" is not from/],
  [["--scale", "--plot", `${tmpdir()}/no/such/folder/x.svg`], /--plot: cannot write to /],
  [["--tail", "--dir", `${tmpdir()}/no/such/folder`], /--dir: cannot write to /],
];

for (const [args, said] of WRONG) {
  t.test(`bench ${args.join(" ")}`, async (t) => {
    const { status, out, err } = bench(...args);
    t.equal(status, 2);
    t.match(err, said);
    t.equal(err.trim().split("\n").length, 1, "one line");
    t.equal(out, "");
  });
}

t.test("--help tells of all flags", async (t) => {
  for (const args of [["--help"], ["--tail", "--help"], ["-h"]]) {
    const { status, out, err } = bench(...args);
    t.equal(status, 0);
    t.equal(err, "");
    for (const flag of [
      ...["--quick", "--runs", "--only", "--peers", "--dir", "--json", "--check"],
      ...["--save-baseline", "--tail", "--seconds", "--rate", "--plot", "--scale", "--parts"],
      ...["--files", "--names", "--random-bytes"],
    ]) {
      t.ok(out.includes(flag), flag);
    }
  }
});

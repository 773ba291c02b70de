/** The benchmark still runs: one workload, on a volume of ours alone. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { Sandbox } from "../support/cli.ts";
import { mountImpossible, programsMissing } from "../support/mount.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const skip = (await mountImpossible()) || programsMissing("python3", "git", "tar");
const BENCH = fileURLToPath(new URL("../bench/bench.js", import.meta.url));

t.test("npm run bench", { skip, timeout: 120_000 }, (t) => {
  const sandbox = new Sandbox();
  t.teardown(() => sandbox.close());
  const directory = sandbox.path("bench");
  mkdirSync(directory);
  const args = ["--only", "create", "--peers", "none", "--quick", "--dir", directory];
  const json = sandbox.program(process.execPath, [BENCH, ...args, "--json"]);
  t.equal(json.code, 0, json.err);
  const { samples, usages } = JSON.parse(json.out) as {
    samples: { fileSystem: string; workload: string; value: number }[];
    usages: { rssMib: number }[];
  };
  t.match(samples, [{ fileSystem: "dynamicfs", workload: "create" }]);
  t.equal(samples.length, 1);
  t.ok((samples[0]?.value ?? 0) > 0, "files were created");
  t.ok((usages[0]?.rssMib ?? 0) > 0, "what the daemon used is known");
  t.ok(existsSync(directory));
  t.strictSame(readdirSync(directory), [], "nothing is left behind");
  const wrong = sandbox.program(process.execPath, [BENCH, "--only", "nothing", ...args.slice(2)]);
  t.equal(wrong.code, 2);
  t.strictSame(readdirSync(directory), [], "nor after a wrong argument");
  t.end();
});

/** Runs deno.test.ts under Deno, from the source that Node runs compiled. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

/** The nearest directory above with a package.json and this test's source. */
function projectRoot(): string {
  let at = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(at, "test/library/deno.test.ts"))) {
    const above = dirname(at);
    if (above === at) throw new Error("The project's root is not above this test");
    at = above;
  }
  return at;
}

const root = projectRoot();

/** The package's own binary, also when its installation script was not run; else the one on the path. */
function denoBinary(): string | null {
  const packages = join(root, "node_modules/@deno");
  const found = existsSync(packages)
    ? readdirSync(packages).map((name) => join(packages, name, "deno"))
    : [];
  for (const binary of [...found, "deno"]) {
    if (spawnSync(binary, ["--version"]).status === 0) return binary;
  }
  return null;
}

const deno = denoBinary();

t.test("the library under Deno", { skip: deno === null ? "deno cannot run here" : false }, (t) => {
  const args = ["test", "--allow-all", "--no-check", "test/library/deno.test.ts"];
  const run = spawnSync(deno!, args, {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  t.equal(run.status, 0, "every test passes", { output: `${run.stdout}\n${run.stderr}` });
  t.match(run.stdout, /3 passed/);
  t.end();
});

/**
 * What npm scripts start with: plain JavaScript, because on a fresh clone there is no compiler yet. Installs what
 * package-lock.json names when node_modules is missing or older, builds, and then runs a task in this same process.
 *
 *   node .bootstrap.mjs start|test|test:deno|test:e2e|test:programs|sim|sim:exhaustive|kill9|fuzz|mutants|bench [ARGUMENTS]
 */
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const top = dirname(fileURLToPath(import.meta.url));
process.chdir(top);

/** Runs a program with our output, and ends with its exit code if it fails. */
function run(file, args) {
  const { error, status } = spawnSync(file, args, { stdio: ["ignore", 2, 2] });
  if (error !== undefined) {
    process.stderr.write(`cannot run ${file}: ${error.message}\n`);
    process.exit(1);
  }
  if (status !== 0) process.exit(status ?? 1);
}

function npm(args) {
  const npmScript = process.env.npm_execpath;
  if (npmScript?.endsWith(".js")) run(process.execPath, [npmScript, ...args]);
  else run("npm", args);
}

/** npm writes the mark when it has installed all that the lock file names. */
function isInstalled() {
  const mark = "node_modules/.package-lock.json";
  if (!existsSync(mark) || !existsSync("node_modules/.bin/tsc")) return false;
  return statSync(mark).mtimeMs >= statSync("package-lock.json").mtimeMs;
}

/** Runs a built module as if it had been given to node. */
async function runBuilt(module, args) {
  const path = join(top, "build", module);
  if (!existsSync(path)) {
    process.stderr.write(`${module} is not there: nothing to run\n`);
    process.exit(1);
  }
  process.argv = [process.execPath, path, ...args];
  await import(pathToFileURL(path).href);
}

const [task = "test", ...args] = process.argv.slice(2);
if (!isInstalled()) {
  // npm ci follows a link and empties what it points to, which belongs to others.
  if (lstatSync("node_modules", { throwIfNoEntry: false })?.isSymbolicLink()) {
    process.stderr.write(
      "node_modules is a link, and older than package-lock.json: install there\n",
    );
    process.exit(1);
  }
  process.stderr.write("installing packages (npm ci) …\n");
  npm(["ci", "--no-audit", "--no-fund"]);
}
process.stderr.write("building …\n");
npm(["run", "--silent", "build"]);
if (statSync("build/core.wasm").size === 0) throw new Error("build/core.wasm is empty");

switch (task) {
  case "start":
    await runBuilt("host/main.js", ["start", ...args]);
    break;
  case "test":
    await runBuilt("test/support/run.js", args);
    break;
  case "test:e2e":
    await runBuilt("test/support/run.js", ["e2e", ...args]);
    break;
  case "test:programs":
    process.env.TEST_TIMEOUT_S ??= "1800";
    await runBuilt(
      "test/support/run.js",
      args.length > 0 ? args.map((name) => `programs/${name}`) : ["programs"],
    );
    break;
  case "test:deno":
    await runBuilt("test/support/run.js", ["library/deno_run", ...args]);
    break;
  case "sim":
    await runBuilt("test/sim/main.js", args);
    break;
  case "sim:exhaustive":
    await runBuilt("test/sim/exhaustive.js", args);
    break;
  case "kill9":
    await runBuilt("test/rounds/main.js", args);
    break;
  case "fuzz":
    await runBuilt("test/fuzz/main.js", args);
    break;
  case "mutants":
    await runBuilt("test/mutants/main.js", args);
    break;
  case "bench":
    // Without a name: DynamicFS beside other file systems. With names: those measurements of single parts.
    if (args.length === 0 || args[0].startsWith("-")) {
      await runBuilt("test/bench/bench.js", args);
      break;
    }
    for (const file of readdirSync("build/test/bench").sort()) {
      const wanted = args.some((name) => file.startsWith(name));
      if (file.endsWith(".bench.js") && wanted) await runBuilt(`test/bench/${file}`, []);
    }
    break;
  default:
    process.stderr.write(`no task "${task}"\n`);
    process.exit(2);
}

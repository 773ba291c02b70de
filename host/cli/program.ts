/** Where the program itself lies: its entry, its version, and how to start it again. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** ".js" as built, ".ts" where the runtime takes TypeScript. */
const EXTENSION = import.meta.url.endsWith(".ts") ? "ts" : "js";

/** A module next to this one, as the runtime must name it. */
export function siblingModule(name: string): URL {
  return new URL(`./${name}.${EXTENSION}`, import.meta.url);
}

/** The command line that starts this program again, before its arguments. */
export function programCommand(): [file: string, ...args: string[]] {
  const main = fileURLToPath(new URL(`../main.${EXTENSION}`, import.meta.url));
  if ("Deno" in globalThis) return [process.execPath, "run", "--allow-all", main];
  return [process.execPath, ...process.execArgv, main];
}

/** The package's version. */
export function packageVersion(): string {
  // host/cli or build/host/cli: the package lies two or three folders up.
  for (const up of ["../../package.json", "../../../package.json"]) {
    try {
      const manifest = JSON.parse(readFileSync(new URL(up, import.meta.url), "utf8"));
      if (manifest.name === "dynamicfs") return manifest.version;
    } catch {}
  }
  return "unknown";
}

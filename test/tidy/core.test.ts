import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";

const wasmPath = fileURLToPath(import.meta.resolve("#core.wasm"));
const module = new WebAssembly.Module(readFileSync(wasmPath));
const root = new URL("../", new URL(import.meta.resolve("#core.wasm")));

t.test("tidy: the core imports memory alone", (t) => {
  const imports = WebAssembly.Module.imports(module);
  t.same(imports, [{ module: "env", name: "memory", kind: "memory" }]);
  t.end();
});

t.test("tidy: core exports match abi.ts", (t) => {
  const source = readFileSync(new URL("host/core/abi.ts", root), "utf8");
  const inContract = Array.from(source.matchAll(/^ {2}([a-z]\w*)\(/gm), (match) => match[1]);
  const exported = WebAssembly.Module.exports(module)
    .filter(({ kind }) => kind === "function")
    .map(({ name }) => name);
  t.ok(inContract.length > 10, "the contract was found in the text");
  t.same(exported.sort(), inContract.sort());
  t.end();
});

t.test("tidy: the core has no allocator and no garbage collector", (t) => {
  const text = readFileSync(wasmPath.replace(/\.wasm$/, ".wat"), "utf8");
  t.match(text, /^\(module/);
  t.notMatch(text, /~lib\/rt/);
  t.end();
});

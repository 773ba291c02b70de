/** host/DURABILITY.md: each proof is a test that exists, each promise has a proof, and no proof stands there for nothing. */
import { readFileSync } from "node:fs";
import t from "tap";

const root = new URL("../", new URL(import.meta.resolve("#core.wasm")));
const text = readFileSync(new URL("host/DURABILITY.md", root), "utf8");
const [promises = "", proofs = ""] = text.split("## 9. Proofs");
/** Sections in which each list item is a promise. */
const PROMISES = /^## [3-6]\..*?(?=^## )/gms;
/** Number → file and name. */
const named = new Map(
  Array.from(
    proofs.matchAll(/^\| (\d+) \| (\S+) \| (.+?) \|$/gm),
    ([, id, file, name]) => [id as string, { file: file as string, name: name as string }] as const,
  ),
);

t.test("tidy: the tests that DURABILITY.md names exist", (t) => {
  t.ok(named.size > 30, `${named.size} tests`);
  for (const [id, { file, name }] of named) {
    const source = readFileSync(new URL(`test/${file}.test.ts`, root), "utf8");
    t.ok(
      source.includes(`"${name}`) || source.includes(`\`${name}`) || isPart(source, name),
      `[${id}] ${file}: ${name}`,
    );
  }
  t.end();
});

/** Within a template: a name that a test makes. */
function isPart(source: string, name: string): boolean {
  return source.split("\n").some((line) => line.includes("`") && line.includes(name));
}

t.test("tidy: each promise has a proof, and each proof a promise", (t) => {
  const used = new Set(Array.from(promises.matchAll(/\[(\d+)\]/g), (match) => match[1] as string));
  t.same(
    [...used].filter((id) => !named.has(id)),
    [],
    "all numbers are explained",
  );
  t.same(
    [...named.keys()].filter((id) => !used.has(id)),
    [],
    "all proofs are used",
  );
  const sections = promises.match(PROMISES) ?? [];
  t.equal(sections.length, 4);
  for (const section of sections) {
    for (const item of section.split(/^(?=- |\| )/m).slice(1)) {
      if (/^\|( fault |---)/.test(item)) continue;
      t.match(item, /\[\d+\]/, item.slice(0, 60));
    }
  }
  t.end();
});

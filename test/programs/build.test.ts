/** A C project built by make, and this package installed and compiled: the same on a mount and on ext4. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { difference, manifest } from "../support/file_tree.ts";
import { mountImpossible, must, runProgram, shell, withMount } from "../support/mount.ts";
import { provide, withReference } from "./reference.ts";

t.setTimeout(1_800_000);
const noMount = await mountImpossible();
const SOURCES = 200;

/** A library of many files, a program that uses all of them, and a test that compares what it prints. */
function writeProject(directory: string): void {
  mkdirSync(`${directory}/src`, { recursive: true });
  const names = Array.from({ length: SOURCES }, (_, index) => `part${index}`);
  for (const [index, name] of names.entries()) {
    writeFileSync(
      `${directory}/src/${name}.c`,
      `#include "all.h"\n#include <string.h>\nstatic char store[${1000 + index}];\n` +
        `long ${name}(long x) { memset(store, (int)x, sizeof store); return x * ${index + 1} + store[${index}]; }\n`,
    );
  }
  writeFileSync(`${directory}/src/all.h`, names.map((name) => `long ${name}(long x);\n`).join(""));
  writeFileSync(
    `${directory}/src/main.c`,
    `#include "all.h"\n#include <stdio.h>\nint main(void) { long sum = 0;\n${names
      .map((name) => `sum += ${name}(3);`)
      .join("\n")}\nprintf("%ld\\n", sum); return 0; }\n`,
  );
  writeFileSync(
    `${directory}/Makefile`,
    `OBJECTS = ${names.map((name) => `out/${name}.o`).join(" ")}
program: out/main.o libparts.a
\tcc -o $@ out/main.o libparts.a
libparts.a: $(OBJECTS)
\tar rcD $@ $(OBJECTS)
out/%.o: src/%.c src/all.h
\t@mkdir -p out
\tcc -O1 -frandom-seed=$< -c -o $@ $<
check: program
\t./program > out/printed
`,
  );
}

const noCompiler = noMount || provide("cc", "gcc", "libc6-dev") || provide("make", "make");

t.test("make -j2 of a C project", { skip: noCompiler }, async (t) => {
  await withMount({ size: "2G", limitSeconds: 900 }, async ({ directory, outside }) => {
    await withReference(outside, async (reference, kind) => {
      const built: string[] = [];
      for (const place of [reference, directory]) {
        writeProject(`${place}/project`);
        await shell("make -s -j2 check", `${place}/project`);
        t.match(
          (await runProgram("make", ["-q", "program"], { cwd: `${place}/project` })).code,
          0,
          "nothing is left to make",
        );
        await shell("touch src/part7.c", `${place}/project`);
        const again = await must("make", ["check"], { cwd: `${place}/project` });
        t.equal(again.match(/-c -o/g)?.length, 1, "what changed is compiled again, nothing else");
        built.push(await manifest(`${place}/project`, "no-times"));
      }
      t.equal(difference(built[0] as string, built[1] as string), "", `as on ${kind}`);
    });
  });
});

t.test("npm ci and tsc", { skip: noMount }, async (t) => {
  await withMount({ size: "3G", memory: "128M", limitSeconds: 900 }, async (mounted) => {
    const place = `${mounted.directory}/package`;
    mkdirSync(place);
    for (const name of ["package.json", "package-lock.json", "tsconfig.json", "host"])
      cpSync(name, `${place}/${name}`, { recursive: true });
    mkdirSync(`${place}/test`);
    const installed = await runProgram(
      "npm",
      ["ci", "--no-audit", "--no-fund", "--prefer-offline"],
      {
        cwd: place,
      },
    );
    if (installed.code !== 0 && /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.test(installed.err)) {
      t.pass("no registry can be reached: npm ci was not tried", { skip: "no network" });
      return;
    }
    t.equal(installed.code, 0, `npm ci: ${installed.err.slice(-300)}`);
    await shell("npx tsc -p tsconfig.json --outDir out", place);
    const before = await manifest(`${place}/out`);
    const lock = readFileSync(`${place}/node_modules/.package-lock.json`, "utf8");
    await mounted.remount();
    t.equal(difference(before, await manifest(`${place}/out`)), "");
    t.equal(readFileSync(`${place}/node_modules/.package-lock.json`, "utf8"), lock);
    await shell("rm -rf node_modules", place);
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0, out: "clean\n" });
  });
});

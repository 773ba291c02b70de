/** Python's own tests of files and directories on a mount: what fails there fails on ext4 too. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import t from "tap";
import { mountImpossible, runProgram, withMount } from "../support/mount.ts";
import { installPackages, withReference } from "./reference.ts";

t.setTimeout(1_800_000);
const SUITES = [
  "test_os",
  "test_posix",
  "test_shutil",
  "test_tempfile",
  "test_pathlib",
  "test_mmap",
  "test_fcntl",
  "test_glob",
  "test_fileio",
  "test_largefile",
  "test_zipfile",
  "test_tarfile",
];

/** The first Python that has its own tests; Debian's gets them. */
function pythonWithTests(): string | null {
  const has = (python: string): boolean =>
    spawnSync(python, ["-c", "import test.test_os"]).status === 0;
  const all = ["python3", "/usr/bin/python3"];
  const found = all.find(has);
  if (found !== undefined) return found;
  const line = "import sys; print('%d.%d' % sys.version_info[:2])";
  const version = spawnSync("/usr/bin/python3", ["-c", line], { encoding: "utf8" });
  if (version.status !== 0) return null;
  installPackages(`libpython${version.stdout.trim()}-testsuite`);
  return all.find(has) ?? null;
}

const python = pythonWithTests();
const skip =
  (await mountImpossible()) ||
  (python === null && "no Python has its own tests (Debian: package libpython3.*-testsuite)");

/** Names of the tests that failed, and how many ran. */
async function failures(directory: string): Promise<{ failed: string[]; ran: number }> {
  mkdirSync(`${directory}/tmp`, { recursive: true });
  const failed: string[] = [];
  let ran = 0;
  for (const suite of SUITES) {
    const result = await runProgram(
      "env",
      [
        `TMPDIR=${directory}/tmp`,
        `HOME=${directory}/tmp`,
        "timeout",
        "300",
        python ?? "",
        "-m",
        "test",
        "-v",
        "-w",
        "--tempdir",
        `${directory}/tmp`,
        suite,
      ],
      { cwd: directory },
    );
    const text = result.out + result.err;
    for (const [, name, place] of text.matchAll(/^(?:FAIL|ERROR): (\w+) \(([\w.]+)\)/gm))
      failed.push(`${suite}: ${place}.${name}`);
    ran += Number(/^Ran (\d+) tests/m.exec(text)?.[1] ?? 0);
    if (result.code !== 0 && !failed.some((each) => each.startsWith(`${suite}:`))) {
      failed.push(`${suite}: exit code ${result.code}`);
    }
  }
  return { failed: [...new Set(failed)].sort(), ran };
}

t.test("Python's tests", { skip }, async (t) => {
  await withMount({ size: "3G", memory: "128M", limitSeconds: 1500 }, async (mounted) => {
    await withReference(mounted.outside, async (reference, kind) => {
      const expected = await failures(reference);
      const found = await failures(mounted.directory);
      t.ok(found.ran > 500, `${found.ran} tests ran`);
      t.equal(found.ran, expected.ran, "as many as there");
      t.same(
        found.failed.filter((name) => !expected.failed.includes(name)),
        [],
        `nothing fails that works on ${kind} (where ${expected.failed.length} fail)`,
      );
    });
    await mounted.umount();
    t.match(mounted.fsck(), { code: 0, out: "clean\n" });
  });
});

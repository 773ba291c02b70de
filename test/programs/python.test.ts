/** Python's own tests of files and directories on a mount: what fails there fails on ext4 too. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import t from "tap";
import { mountImpossible, programsMissing, runProgram, withMount } from "../support/mount.ts";
import { provide, withReference } from "./reference.ts";

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

function suitesMissing(): string | false {
  const found = (): boolean =>
    existsSync("/usr/lib") &&
    readdirSync("/usr/lib").some((name) => existsSync(`/usr/lib/${name}/test/test_os.py`));
  if (!found()) provide("no-such-program", "libpython3-testsuite");
  return found() ? false : "Python's tests are not installed (package libpython3-testsuite)";
}

const skip = (await mountImpossible()) || programsMissing("python3") || suitesMissing();

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
        "python3",
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
    if (
      result.code !== 0 &&
      !failed.some((each) => each.startsWith(`${suite}:`)) &&
      !/resource denied|NOT run|skipped/.test(text)
    )
      failed.push(`${suite}: exit code ${result.code}`);
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

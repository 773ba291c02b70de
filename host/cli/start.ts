/** `dynamicfs start`, what `npm start` runs: a pool in a file, made on the first run, served until Ctrl-C. */
import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { formatSize } from "../base/units.ts";
import type { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import { mountInForeground } from "./mount.ts";
import { parseMountOptions } from "./mount_options.ts";
import { canonicalMountPoint, isStale } from "./mount_table.ts";
import type { Output } from "./output.ts";
import { sizeOf } from "./sizes.ts";

const POOL_NAME = "embedded";

/** `dynamicfs start` */
export async function start(invocation: Invocation, output: Output): Promise<ExitCode> {
  const image = invocation.text("image") ?? ".dynamicfs/embedded.img";
  const size = invocation.text("size") ?? "4G";
  const directory = invocation.text("at") ?? ".dynamicfs/mnt";
  const isNew = !existsSync(image) || statSync(image).size === 0;
  if (isNew) {
    sizeOf("--size", size);
    mkdirSync(dirname(image), { recursive: true });
    const { createPool } = await import("./pool_create.ts");
    const specs = [`${image}:${size}`];
    await createPool({ name: POOL_NAME, specs, memory: undefined }, invocation, output);
  }
  if (!isStale(canonicalMountPoint(directory))) mkdirSync(directory, { recursive: true });
  const log = join(dirname(image), "daemon.log");
  const code = await mountInForeground(
    {
      devices: [image],
      directory,
      choices: { ...parseMountOptions([]), memory: invocation.text("memory") ?? null },
      log,
    },
    (_pool, mountPoint) => {
      const shown = relative(process.cwd(), mountPoint) || mountPoint;
      const state = isNew ? "new" : "found again with its data";
      output.data(
        [
          `DynamicFS is mounted on ${mountPoint}`,
          `  pool ${POOL_NAME}, ${formatSize(statSync(image).size)} in ${image} (${state})`,
          "  try, in another terminal:",
          `    cp -r host ${shown}/ && ls -l ${shown}/host`,
          `    df -h ${shown}`,
          `    node build/host/main.js status ${shown}`,
          `  its log: ${log}`,
          "  Ctrl-C unmounts; the next start finds the same data.",
        ].join("\n"),
      );
    },
    (text) => output.warning(text),
  );
  output.message("unmounted; everything is in the image");
  return code;
}

#!/usr/bin/env node
/** The `dynamicfs` command. Everything it does is under cli/. */
import { run } from "./cli/run.ts";

// A reader that closes its end early (`| head`) is not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await run(process.argv.slice(2));

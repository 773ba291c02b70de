/** One way to ask before something is lost for good. */
import { createInterface } from "node:readline/promises";
import { CliError } from "./cli_error.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";

export interface Loss {
  /** What would be done: "overwrite /dev/sdb". */
  readonly what: string;
  /** What would be lost, a line each. */
  readonly lost: readonly string[];
  /** What has to be typed, or given by --confirm. */
  readonly name: string;
  /** A command that confirms without a terminal. */
  readonly command: string;
}

/**
 * Returns when the loss is confirmed: by --confirm with the right name, or by typing it. --yes is not enough.
 *
 * @throws {CliError} Exit code 9 otherwise; nothing has been done.
 */
export async function confirmLoss(
  loss: Loss,
  invocation: Invocation,
  output: Output,
): Promise<void> {
  const given = invocation.text("confirm");
  if (given === loss.name) return;
  if (given !== undefined) {
    throw refusal(loss, `--confirm ${given} is not the name "${loss.name}"`);
  }
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) {
    throw refusal(loss, `this would be lost: ${loss.lost.join("; ")}`);
  }
  output.warning(`this would be lost for good: ${loss.what}`);
  for (const line of loss.lost) process.stderr.write(`  ${line}\n`);
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`Type "${loss.name}" to go on: `);
    if (answer.trim() !== loss.name) throw refusal(loss, "it was not confirmed");
  } finally {
    prompt.close();
  }
}

function refusal(loss: Loss, why: string): CliError {
  return new CliError({
    exitCode: ExitCode.confirmationNeeded,
    what: `will not ${loss.what}`,
    why,
    try: loss.command,
    code: "confirmation-needed",
  });
}

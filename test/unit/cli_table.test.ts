/** The command table keeps its own rules, and everything made from it is whole. */
import t from "tap";
import type { Flag, Grammar } from "../../host/cli/command.ts";
import { completionScript } from "../../host/cli/completion.ts";
import { EXIT_CODE_MEANINGS, ExitCode } from "../../host/cli/exit_codes.ts";
import { commandHelp, manualPage, overview } from "../../host/cli/help.ts";
import { Output } from "../../host/cli/output.ts";
import { parseCommandLine } from "../../host/cli/parse.ts";
import { run } from "../../host/cli/run.ts";
import { COMMANDS, GLOBAL_FLAGS } from "../../host/cli/table.ts";

const grammar: Grammar = { commands: COMMANDS, globalFlags: GLOBAL_FLAGS };
const shown = COMMANDS.filter((command) => !command.hidden);

/** Two streams that remember. */
function listen() {
  const heard = { out: "", err: "" };
  const streams = {
    stdout: { write: (text: string) => (heard.out += text) },
    stderr: { write: (text: string) => (heard.err += text) },
  };
  return { heard, streams };
}

t.test("every command is described, has an effect and an example that parses", async (t) => {
  for (const command of COMMANDS) {
    t.match(command.summary, /^[A-Z].*[^.]$/, `${command.name}: summary`);
    t.ok(["read", "write", "destructive"].includes(command.effect), `${command.name}: effect`);
    t.ok(command.examples.length > 0, `${command.name}: example`);
    t.ok(command.schema === null || /^dynamicfs\.[a-z-]+\/\d+$/.test(command.schema));
    t.ok(command.arguments.filter((argument) => argument.many).length <= 1, command.name);
    for (const example of command.examples) {
      const line = example.command.replace(/^eval "\$\((.*)\)"$/, "$1").replace(/ > .*$/, "");
      const [program, ...words] = line.split(" ");
      t.equal(program, "dynamicfs", example.command);
      const parsed = parseCommandLine(grammar, words, {});
      t.equal(parsed.kind === "run" && parsed.invocation.command, command, example.command);
    }
  }
});

t.test("one flag name means one thing in the whole table", async (t) => {
  const byName = new Map<string, Flag>();
  const byShort = new Map<string, string>();
  for (const flag of [...GLOBAL_FLAGS, ...COMMANDS.flatMap((command) => command.flags)]) {
    const before = byName.get(flag.name) ?? flag;
    t.equal(flag.kind, before.kind, `--${flag.name}`);
    t.equal(flag.short, before.short, `--${flag.name}`);
    byName.set(flag.name, flag);
    if (flag.short !== undefined) {
      t.equal(byShort.get(flag.short) ?? flag.name, flag.name, `-${flag.short}`);
      byShort.set(flag.short, flag.name);
    }
    t.equal(flag.value !== undefined, flag.kind === "text" || flag.kind === "list", flag.name);
  }
  for (const name of ["confirm", "force"]) t.not(byName.get(name)?.environment, true, name);
});

t.test("help, manual and completions contain every command and flag", async (t) => {
  const all = overview(grammar);
  const manual = manualPage(grammar);
  for (const command of shown) {
    t.match(all, `  ${command.name} `, command.name);
    t.match(manual, `.Ss ${command.name}`, command.name);
    const help = commandHelp(command);
    for (const flag of command.flags)
      t.match(help, `--${flag.name}`, `${command.name} ${flag.name}`);
    for (const example of command.examples) t.match(help, example.command);
    for (const shell of ["bash", "zsh", "fish"]) {
      const script = completionScript(shell, grammar);
      for (const word of command.name.split(" ")) t.match(script, word, `${shell}: ${word}`);
      for (const flag of command.flags) t.match(script, flag.name, `${shell}: ${flag.name}`);
    }
  }
  for (const hidden of COMMANDS.filter((command) => command.hidden)) {
    t.notMatch(all, `  ${hidden.name} `, hidden.name);
  }
  for (const [code] of EXIT_CODE_MEANINGS) t.match(manual, `.It ${code}\n`);
  t.same(
    EXIT_CODE_MEANINGS.map(([code]) => code),
    Object.values(ExitCode),
    "each code is explained",
  );
});

t.test("errors are one line, then what to try; JSON carries the same", async (t) => {
  const { heard, streams } = listen();
  t.equal(await run(["staus", "--json"], {}, streams), 2);
  t.equal(
    heard.err,
    'dynamicfs: staus: this is not a command, did you mean "status"?\n  try: dynamicfs status --help\n',
  );
  const envelope = JSON.parse(heard.out);
  t.match(envelope, { schema: "dynamicfs.error/1", error: { code: "usage", exitCode: 2 } });
  t.match(envelope.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
});

t.test("commands that need no machine", async (t) => {
  for (const words of [
    ["version", "--json"],
    ["explain", "DFS-MOUNT-STALE", "--json"],
    ["doctor", "--json"],
  ]) {
    const { heard, streams } = listen();
    const code = await run(words, {}, streams);
    t.ok(code === 0 || words[0] === "doctor", words.join(" "));
    t.match(JSON.parse(heard.out).schema, `dynamicfs.${words[0]}/1`);
    t.equal(heard.err, "", "nothing beside the data");
  }
  const { streams } = listen();
  t.equal(await run(["explain", "DFS-NOPE"], {}, streams), 4);
});

t.test("Output: tables, tabs, envelopes", async (t) => {
  const options = {
    json: false,
    ndjson: false,
    noHeader: false,
    exact: false,
    quiet: true,
    verbosity: 0,
    color: false,
    debug: false,
  };
  const { heard, streams } = listen();
  const output = new Output(options, streams);
  output.table(
    ["NAME", "N"],
    [
      ["ab", "1"],
      ["日本", "22"],
    ],
    "<>",
  );
  t.equal(heard.out, "NAME   N\nab     1\n日本  22\n");
  output.message("silent");
  t.equal(heard.err, "", "-q silences messages");
  const tabs = listen();
  new Output({ ...options, noHeader: true }, tabs.streams).table(["A", "B"], [["1", "2"]], "<<");
  t.equal(tabs.heard.out, "1\t2\n");
  const lines = listen();
  const stream = new Output({ ...options, ndjson: true }, lines.streams);
  stream.event("error", { code: "x" });
  stream.envelope("dynamicfs.test/1", { big: 12345678901234567890n, none: null });
  const [first, last] = lines.heard.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  t.match(first, { type: "error", code: "x" });
  t.match(last, {
    type: "summary",
    schema: "dynamicfs.test/1",
    big: "12345678901234567890",
    none: null,
  });
});

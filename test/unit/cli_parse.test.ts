/** The command line's grammar: parse.ts over a small table, mount options and helper calls. */
import t from "tap";
import { CliError } from "../../host/cli/cli_error.ts";
import type { Command, Flag, Grammar } from "../../host/cli/command.ts";
import { decodeRequest, LineSplitter } from "../../host/cli/control_protocol.ts";
import { isHelperCall, parseHelperCall } from "../../host/cli/mount_helper.ts";
import { readMounts } from "../../host/cli/mount_table.ts";
import { nearest } from "../../host/cli/nearest.ts";
import { type Environment, parseCommandLine } from "../../host/cli/parse.ts";
import { recordText } from "../../host/cli/record_text.ts";

function command(name: string, more: Partial<Command>): Command {
  return {
    name,
    summary: name,
    effect: "read",
    schema: null,
    arguments: [],
    flags: [],
    examples: [],
    load: async () => () => 0,
    ...more,
  };
}

const json: Flag = { name: "json", kind: "boolean", environment: true, summary: "" };
const grammar: Grammar = {
  globalFlags: [
    json,
    { name: "help", short: "h", kind: "boolean", summary: "" },
    { name: "version", kind: "boolean", summary: "" },
    { name: "verbose", short: "v", kind: "count", environment: true, summary: "" },
    { name: "confirm", kind: "text", value: "NAME", summary: "" },
  ],
  commands: [
    command("status", {
      arguments: [{ name: "TARGET", summary: "", optional: true }],
      flags: [{ name: "exit-code", kind: "boolean", summary: "" }],
    }),
    command("mount", {
      arguments: [
        { name: "DEV", summary: "", many: true },
        { name: "DIR", summary: "" },
      ],
      flags: [
        { name: "options", short: "o", kind: "list", value: "OPTIONS", summary: "" },
        { name: "memory", kind: "text", value: "SIZE", environment: true, summary: "" },
        { name: "foreground", short: "f", kind: "boolean", summary: "" },
      ],
    }),
    command("pool create", { arguments: [{ name: "NAME", summary: "" }] }),
    command("pool list", {}),
    command("paint", { arguments: [{ name: "COLOR", summary: "", choices: ["red", "blue"] }] }),
  ],
};

function parse(line: string, environment: Environment = {}): ReturnType<typeof parseCommandLine> {
  return parseCommandLine(grammar, line.split(" ").filter(Boolean), environment);
}

function invocation(line: string, environment: Environment = {}) {
  const parsed = parse(line, environment);
  if (parsed.kind !== "run") throw new Error(`${line} asks for ${parsed.kind}`);
  return parsed.invocation;
}

function refusal(act: () => unknown): CliError {
  try {
    act();
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

t.test("flags stand anywhere, joined, with = or after a space", async (t) => {
  const first = invocation("--json mount -fv -o ro a.img -o noatime --memory=1G /mnt -v");
  t.equal(first.command.name, "mount");
  t.same(first.many("DEV"), ["a.img"]);
  t.equal(first.one("DIR"), "/mnt");
  t.equal(first.is("json"), true);
  t.equal(first.is("foreground"), true);
  t.equal(first.count("verbose"), 2);
  t.same(first.list("options"), ["ro", "noatime"]);
  t.equal(first.text("memory"), "1G");
  t.equal(invocation("mount --memory 2G a b").text("memory"), "2G");
});

t.test("-- ends flags", async (t) => {
  const parsed = invocation("mount -- --json -x /mnt");
  t.same(parsed.many("DEV"), ["--json", "-x"]);
  t.equal(parsed.one("DIR"), "/mnt");
  t.equal(parsed.is("json"), false);
});

t.test("a repeated argument takes what the others leave", async (t) => {
  t.same(invocation("mount a b c /mnt").many("DEV"), ["a", "b", "c"]);
  t.equal(invocation("status").optional("TARGET"), undefined);
  t.equal(invocation("status x").optional("TARGET"), "x");
});

t.test("commands of two words", async (t) => {
  t.equal(invocation("pool create tank").one("NAME"), "tank");
  t.equal(invocation("pool --json list").command.name, "pool list");
});

t.test("every mistake is exit code 2 and names the nearest thing", async (t) => {
  const mistakes: readonly (readonly [line: string, says: RegExp, tries?: RegExp])[] = [
    ["staus", /did you mean "status"/, /status --help/],
    ["status --exit-cod", /did you mean --exit-code/],
    ["status --memory 1G", /not a flag of "status"/],
    ["mount a", /DIR is missing/],
    ["mount", /DEV is missing/],
    ["status a b", /"b" is one argument too many/],
    ["pool", /"pool" has: create, list/],
    ["pool creat x", /"pool" has/, /pool create --help/],
    ["mount a b --memory", /needs a value/],
    ["mount --memory --json a b", /needs a value/],
    ["status --json=1", /takes no value/],
    ["paint green", /none of red, blue/],
    ["frobnicate", /not a command$/, /dynamicfs --help/],
    ["status -x", /not a flag of "status"/],
    ["--help staus", /did you mean "status"/],
  ];
  for (const [line, says, tries] of mistakes) {
    const error = refusal(() => parse(line));
    t.equal(error.exitCode, 2, line);
    t.match(error.message, says, line);
    if (tries !== undefined) t.match(error.try, tries, line);
  }
});

t.test("questions that any line can ask", async (t) => {
  t.same(parse(""), { kind: "help", command: undefined });
  t.equal(parse("mount --help").kind, "help");
  t.same(parse("--version"), { kind: "version" });
});

t.test("the environment gives defaults, the line wins", async (t) => {
  const environment = { DYNAMICFS_JSON: "1", DYNAMICFS_MEMORY: "1G", DYNAMICFS_VERBOSE: "2" };
  t.equal(invocation("status", environment).is("json"), true);
  t.equal(invocation("status", environment).count("verbose"), 2);
  t.equal(invocation("status", environment).text("memory"), undefined, "not a flag of status");
  t.equal(invocation("mount a b", environment).text("memory"), "1G");
  t.equal(invocation("mount a b --memory 2G", environment).text("memory"), "2G");
  t.equal(invocation("status", { DYNAMICFS_JSON: "no" }).is("json"), false);
  t.equal(invocation("status", { DYNAMICFS_CONFIRM: "tank" }).text("confirm"), undefined);
  const error = refusal(() => parse("status", { DYNAMICFS_JSON: "maybe" }));
  t.match(error.message, /DYNAMICFS_JSON: "maybe" is neither 1 nor 0/);
});

t.test("nearest() suggests only what is near", async (t) => {
  t.equal(nearest("mout", ["mount", "umount"]), "mount");
  t.equal(nearest("ofr", ["for"]), "for", "a transposition is one edit");
  t.equal(nearest("xyzzy", ["mount", "status"]), undefined);
});

t.test("mount helpers: what mount(8) and mount.fuse3 pass", async (t) => {
  const commands = grammar.commands;
  t.equal(isHelperCall(["./a.img", "/mnt", "-o", "rw,dev,suid"], commands), true);
  t.equal(isHelperCall(["a.img", "/mnt", "-o", "rw"], commands), true);
  t.equal(isHelperCall(["mount-helper", "a.img", "/mnt"], commands), true);
  t.equal(isHelperCall(["mount", "a.img", "/mnt"], commands), false);
  t.equal(isHelperCall(["staus", "/mnt"], commands), false, "a mistyped command");
  t.equal(isHelperCall(["--json", "status"], commands), false);
  t.same(
    parseHelperCall(["mount-helper", "/a.img", "/mnt", "-nsv", "-o", "ro,nofail", "-t", "fuse"]),
    {
      source: "/a.img",
      directory: "/mnt",
      optionLists: ["ro,nofail"],
      fake: false,
      sloppy: true,
    },
  );
  t.match(parseHelperCall(["/a", "/b", "-f", "-r"]), { fake: true, optionLists: ["ro"] });
  t.equal(refusal(() => parseHelperCall(["/a", "-o", "ro"])).exitCode, 2);
  t.equal(refusal(() => parseHelperCall(["/a", "/b", "-Z"])).exitCode, 2);
});

t.test("mountinfo is read as the kernel writes it", async (t) => {
  const text = [
    "36 35 98:0 / / rw,noatime master:1 - ext4 /dev/root rw,errors=continue",
    "90 36 0:50 / /mnt/a\\040b rw,nosuid - fuse.dynamicfs /srv/x\\134y.img rw,user_id=1000,group_id=0",
    "",
  ].join("\n");
  t.same(readMounts(text)[1], {
    mountPoint: "/mnt/a b",
    device: 50,
    type: "fuse.dynamicfs",
    source: "/srv/x\\y.img",
    readOnly: false,
    options: ["rw", "nosuid", "rw", "user_id=1000", "group_id=0"],
    uid: 1000,
  });
  t.equal(readMounts(text)[0]?.uid, null);
  t.equal(readMounts(text)[0]?.device, 98 * 256);
  // makedev(3): bits 0 to 7 and 20 on are the minor number's, 8 to 19 and 44 on the major's.
  const large = text.replace("0:50", "4097:1048575");
  t.equal(readMounts(large)[1]?.device, 2 ** 44 + 256 + 255 + 4095 * 2 ** 20);
});

t.test("control requests are checked, lines are bounded", async (t) => {
  t.same(decodeRequest('{"method":"unmount","lazy":true}'), { method: "unmount", lazy: true });
  const remount = { method: "remount", stage: "finish", options: "ro" };
  t.same(decodeRequest(JSON.stringify(remount)), remount);
  for (const bad of [
    JSON.stringify({ ...remount, stage: "start" }),
    JSON.stringify({ ...remount, options: 1 }),
  ]) {
    t.type(decodeRequest(bad), "string", bad);
  }
  for (const bad of ["", "[]", "null", '{"method":"rm"}', '{"method":"unmount","lazy":1}', "{"]) {
    t.type(decodeRequest(bad), "string", bad);
  }
  const splitter = new LineSplitter(8);
  t.same(splitter.push(Buffer.from("ab")), []);
  t.same(splitter.push(Buffer.from("c\nd\n\ne")), ["abc", "d", ""]);
  t.same(splitter.push(Buffer.from("1234567")), [], "8 bytes are within the bound");
  t.equal(splitter.push(Buffer.from("8")), null, "9 are not");
});

t.test("recordText() shows nested records", async (t) => {
  const record = { a: 1, list: [{ b: 2, c: null }, 3], bytes: new Uint8Array([1, 255]), empty: [] };
  t.equal(recordText(record), "a: 1\nlist:\n  - b: 2\n    c: -\n  - 3\nbytes: 01ff\nempty: none");
});

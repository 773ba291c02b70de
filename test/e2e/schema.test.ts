/** Every command's --json output has a schema in host/cli/schema, and says nothing that the schema does not. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import t, { type Test } from "tap";
import { COMMANDS } from "../../host/cli/table.ts";
import { type Result, Sandbox } from "../support/cli.ts";
import { mountImpossible } from "../support/mount.ts";

// A loaded machine takes its time; the runner has a limit of its own.
t.setTimeout(900_000);

const FOLDER = new URL("../../../host/cli/schema/", import.meta.url);
const skip = await mountImpossible();

interface Schema {
  readonly $id: string;
  readonly properties?: Record<string, Schema>;
  readonly items?: Schema;
  additionalProperties?: unknown;
}

/** Readers must allow for more fields; here they are mistakes. */
function close(schema: Schema): void {
  if (schema.properties !== undefined) schema.additionalProperties ??= false;
  for (const property of Object.values(schema.properties ?? {})) close(property);
  if (schema.items !== undefined) close(schema.items);
}

const schemas = readdirSync(fileURLToPath(FOLDER)).map((name) => {
  const schema = JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as Schema;
  if (schema.$id !== `dynamicfs.${name.replace(".json", "")}/1`)
    throw new Error(`${name} has the id ${schema.$id}`);
  close(schema);
  return schema;
});
const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true });
(addFormats as unknown as (to: Ajv2020) => void)(ajv);
for (const schema of schemas) ajv.addSchema(schema);
const seen = new Set<string>();

/** Checks the document that a command printed. */
function valid(t: Test, { out }: Result, expected: string): void {
  for (const line of out.trim().split("\n")) {
    const { type, ...document } = JSON.parse(line) as { type?: string; schema?: string };
    if (type !== undefined && type !== "summary" && type !== "error") continue;
    const id = document.schema ?? "none";
    seen.add(id);
    t.equal(id, expected);
    const holds = ajv.validate(id, document);
    t.ok(holds, `${id}: ${ajv.errorsText()}`, { document: JSON.stringify(document) });
  }
}

t.test("each command's document has a schema", async (t) => {
  const ids = new Set(schemas.map((schema) => schema.$id));
  for (const command of COMMANDS) {
    if (command.schema === undefined || command.schema === null) continue;
    t.ok(ids.has(command.schema), `${command.name}: ${command.schema}`);
  }
});

t.test("documents of a pool's life", { skip }, async (t) => {
  const sandbox = new Sandbox();
  t.teardown(() => sandbox.close());
  const run = (...words: string[]): Result => sandbox.run(...words, "--json");
  valid(t, run("doctor"), "dynamicfs.doctor/1");
  valid(t, run("version"), "dynamicfs.version/1");
  valid(t, run("explain"), "dynamicfs.explain/1");
  valid(t, run("explain", "DFS-FSCK-REGION"), "dynamicfs.explain/1");
  valid(t, run("install-helper", "--prefix", sandbox.path("root")), "dynamicfs.install-helper/1");
  valid(t, run("pool", "create", "tank", "a.img:64M", "--dry-run"), "dynamicfs.pool-create/1");
  valid(t, run("pool", "create", "tank", "a.img:64M"), "dynamicfs.pool-create/1");
  valid(t, run("pool", "create", "tank", "a.img"), "dynamicfs.error/1");
  sandbox.program("mkdir", ["mnt"]);
  valid(t, run("mount", "a.img", "mnt"), "dynamicfs.mount/1");
  valid(t, run("mounts"), "dynamicfs.mounts/1");
  valid(t, run("status", "mnt"), "dynamicfs.status/1");
  valid(t, run("status"), "dynamicfs.status/1");
  valid(t, run("stats", "mnt"), "dynamicfs.stats/1");
  writeFileSync(sandbox.path("mnt/original"), "content");
  valid(t, run("clone", "mnt/original", "mnt/copy"), "dynamicfs.clone/1");
  valid(t, run("quota", "list", "mnt"), "dynamicfs.quota/1");
  valid(t, run("quota", "set", "mnt", "--user", "7", "--size", "1M"), "dynamicfs.quota/1");
  valid(t, run("quota", "list", "mnt/copy"), "dynamicfs.quota/1");
  valid(t, run("stats", "mnt", "--interval", "0.05", "--count", "2"), "dynamicfs.stats/1");
  valid(t, sandbox.run("stats", "mnt", "--ndjson"), "dynamicfs.stats/1");
  valid(t, run("umount", "mnt"), "dynamicfs.umount/1");
  valid(t, run("status", "a.img"), "dynamicfs.status/1");
  valid(t, run("status", "nowhere"), "dynamicfs.error/1");
  for (const what of [
    ["superblock"],
    ["tree"],
    ["journal"],
    ["region", "0"],
    ["item", "1", "1", "0"],
  ])
    valid(t, run("inspect", "a.img", ...what), "dynamicfs.inspect/1");
  valid(t, run("fsck", "a.img"), "dynamicfs.fsck/1");
  valid(t, sandbox.run("fsck", "a.img", "--ndjson"), "dynamicfs.fsck/1");
  sandbox.program("dd", [
    "if=/dev/urandom",
    "of=a.img",
    "bs=4k",
    "seek=4130",
    "count=1",
    "conv=notrunc",
  ]);
  sandbox.program("dd", [
    "if=/dev/urandom",
    "of=a.img",
    "bs=4k",
    "seek=8192",
    "count=1",
    "conv=notrunc",
  ]);
  valid(t, run("fsck", "a.img"), "dynamicfs.fsck/1");
  valid(t, run("fsck", "a.img", "--repair", "--dry-run"), "dynamicfs.fsck/1");
  valid(t, run("fsck", "a.img", "--repair"), "dynamicfs.fsck/1");
  valid(t, run("fsck", "a.img", "--repair", "--yes"), "dynamicfs.fsck/1");
  t.same([...seen].sort(), schemas.map((schema) => schema.$id).sort(), "all of them were seen");
});

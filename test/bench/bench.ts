/**
 * Compares DynamicFS with kernel ext4 and with other FUSE file systems, on one disk and in one run: every round does all
 * workloads on each, in changing order, and a peer's figure is compared with ext4's of the same round.
 *
 *   npm run bench -- [--quick] [--runs N] [--only WORKLOAD,…] [--peers NAME,…] [--dir D] [--json]
 *
 * Needs root (loop devices, emptying caches), Linux and python3. Nothing else should run meanwhile.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageFolders } from "../support/file_tree.ts";
import { shell } from "../support/mount.ts";
import { Bed, isInstalled, PEERS, type Peer } from "./peers.ts";
import { CODA, PRELUDE, PREPARE, WORKLOADS, type Workload } from "./workloads.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    runs: { type: "string", default: "3" },
    only: { type: "string", default: "" },
    peers: { type: "string", default: "" },
    dir: { type: "string" },
    json: { type: "boolean", default: false },
  },
});

const WORKLOAD_MS_MAX = 600_000;
const MIB = 1024 * 1024;

/** Rates by workload, of one peer in one round. */
type Round = Map<string, number | null>;
interface Results {
  readonly rounds: Map<string, Round[]>;
  readonly usage: Map<string, { cpuSeconds: number; rssBytes: number }[]>;
}

/** A source tree and a repository of it, on the machine's own disk: what workloads copy from. */
async function makeData(directory: string): Promise<string> {
  const data = join(directory, options.quick ? "data-quick" : "data");
  if (existsSync(`${data}/tree.count`)) return data;
  rmSync(data, { recursive: true, force: true });
  mkdirSync(data, { recursive: true });
  const { root, folders } = packageFolders(options.quick ? 2500 : 9000);
  await shell(`tar cf ${data}/tree.tar -C ${root} ${folders.join(" ")}`, data);
  await shell(
    `mkdir tree && tar xf tree.tar -C tree && cd tree && git init -q && git config gc.auto 0
    for folder in *; do git add -A "$folder"; git -c user.name=b -c user.email=b@example.org commit -qm "$folder"; done
    git gc -q && cd .. && git clone -q --bare tree repo.git && rm -rf tree
    tar tf tree.tar | wc -l > count && mv count tree.count`,
    data,
  );
  return data;
}

/** Runs Python in the mounted directory. @returns The rate, or null when it failed. */
function work(bed: Bed, data: string, program: string): Promise<number | null> {
  return new Promise((resolve) => {
    const args = ["-c", PRELUDE + program + CODA, bed.mountPoint, options.quick ? "5" : "1", data];
    const child = spawn("python3", args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/" });
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
    const timer = setTimeout(() => bed.abort(), WORKLOAD_MS_MAX);
    child.on("close", (code) => {
      clearTimeout(timer);
      if (code === 0) {
        const [count, seconds] = JSON.parse(out) as [number, number];
        resolve(count / seconds);
      } else {
        process.stderr.write(`    failed: ${err.trim().split("\n").at(-1)}\n`);
        resolve(null);
      }
    });
  });
}

async function measure(
  bed: Bed,
  peer: Peer,
  data: string,
  wanted: readonly Workload[],
): Promise<Round> {
  const round: Round = new Map();
  await bed.setUp(peer);
  await work(bed, data, PREPARE);
  for (const workload of wanted) {
    if (workload.isCold === true) await bed.remount(peer);
    round.set(workload.name, await work(bed, data, workload.program));
  }
  return round;
}

function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

function cell(
  results: Results,
  peer: string,
  workload: string,
): { rate: number | null; ratio: number | null } {
  const own = results.rounds.get(peer) ?? [];
  const base = results.rounds.get("ext4") ?? [];
  const rates: number[] = [];
  const ratios: number[] = [];
  for (const [index, round] of own.entries()) {
    const rate = round.get(workload) ?? null;
    const reference = base[index]?.get(workload) ?? null;
    if (rate !== null) rates.push(rate);
    if (rate !== null && reference !== null) ratios.push(rate / reference);
  }
  return { rate: median(rates), ratio: median(ratios) };
}

function human(rate: number): string {
  if (rate >= 1e6) return `${(rate / 1e6).toFixed(2)}M`;
  return rate >= 10_000 ? `${(rate / 1000).toFixed(1)}k` : rate.toFixed(rate < 100 ? 1 : 0);
}

function table(results: Results, peers: readonly string[], wanted: readonly Workload[]): string {
  const lines = [`| workload | ${peers.join(" | ")} |`, `|---|${"---|".repeat(peers.length)}`];
  for (const { name, unit } of wanted) {
    const cells = peers.map((peer) => {
      const { rate, ratio } = cell(results, peer, name);
      if (rate === null) return "fails";
      return peer === "ext4" || ratio === null
        ? human(rate)
        : `${human(rate)} (${ratio.toFixed(2)})`;
    });
    lines.push(`| ${name}, ${unit} | ${cells.join(" | ")} |`);
  }
  const used = (
    peer: string,
    of: (each: { cpuSeconds: number; rssBytes: number }) => number,
  ): string => {
    const value = median((results.usage.get(peer) ?? []).map(of));
    return value === null || value === 0 ? "-" : value.toFixed(0);
  };
  lines.push(
    `| daemon, CPU s | ${peers.map((peer) => used(peer, (each) => each.cpuSeconds)).join(" | ")} |`,
  );
  lines.push(
    `| daemon, peak MiB | ${peers.map((peer) => used(peer, (each) => each.rssBytes / MIB)).join(" | ")} |`,
  );
  return lines.join("\n");
}

async function main(): Promise<void> {
  if (process.platform !== "linux" || process.geteuid?.() !== 0) {
    process.stderr.write("the benchmark needs Linux and root, for loop devices and empty caches\n");
    process.exitCode = 1;
    return;
  }
  const chosen = (text: string, name: string): boolean =>
    text === "" || text.split(",").some((part) => name.includes(part));
  const wanted = WORKLOADS.filter(({ name }, index) => {
    if (chosen(options.only, name)) return true;
    // What others need: files to look at, rename or read.
    return WORKLOADS.slice(index).some(
      (later) =>
        chosen(options.only, later.name) && options.only !== "" && isMadeBy(name, later.name),
    );
  });
  const peers = PEERS.filter((peer) => {
    if (peer.name !== "ext4" && !chosen(options.peers, peer.name)) return false;
    if (isInstalled(peer)) return true;
    process.stderr.write(`${peer.name} is not installed: left out\n`);
    return false;
  });
  const isOwn = options.dir === undefined;
  const directory = options.dir ?? mkdtempSync(join(tmpdir(), "dynamicfs-bench-"));
  const results: Results = { rounds: new Map(), usage: new Map() };
  try {
    mkdirSync(directory, { recursive: true });
    const data = await makeData(directory);
    const bed = new Bed(directory, options.quick ? 2048 : 4096);
    for (let run = 0; run < Number(options.runs); run++) {
      for (const peer of run % 2 === 0 ? peers : [...peers].reverse()) {
        process.stderr.write(`round ${run + 1}: ${peer.name}\n`);
        try {
          const round = await measure(bed, peer, data, wanted);
          results.rounds.set(peer.name, [...(results.rounds.get(peer.name) ?? []), round]);
        } catch (error) {
          process.stderr.write(`    ${error instanceof Error ? error.message : error}\n`);
          results.rounds.set(peer.name, [...(results.rounds.get(peer.name) ?? []), new Map()]);
        } finally {
          results.usage.set(peer.name, [...(results.usage.get(peer.name) ?? []), bed.usage()]);
          await bed.tearDown();
        }
      }
    }
  } finally {
    if (isOwn) rmSync(directory, { recursive: true, force: true });
  }
  const names = peers.map(({ name }) => name);
  if (options.json) {
    const workloads = wanted.map(({ name, unit }) => ({
      name,
      unit,
      results: Object.fromEntries(names.map((peer) => [peer, cell(results, peer, name)])),
    }));
    const daemons = Object.fromEntries(results.usage);
    console.log(
      JSON.stringify(
        { quick: options.quick, runs: Number(options.runs), workloads, daemons },
        null,
        2,
      ),
    );
  } else {
    console.log(table(results, names, wanted));
    console.log(
      `\nMedians of ${options.runs} rounds; in brackets the median ratio to ext4 of the same round.`,
    );
  }
}

/** Whether a workload leaves what another needs. */
function isMadeBy(maker: string, user: string): boolean {
  if (maker.startsWith("create")) return /stat|rename|unlink|4 KiB files/.test(user);
  if (maker === "rename") return user === "unlink";
  if (maker === "untar") return /tree|rm -rf/.test(user);
  return maker === "sequential write" && /read, cold|fsync/.test(user) && !/tree|files/.test(user);
}

await main();

/**
 * Serves a TreeFs over FUSE: the child process of tests and benchmarks of the transport. Options come as JSON in the
 * first argument. Writes lines of JSON: {"event":"mounted"}, then, after the unmount, {"event":"ended", …}.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { Layout } from "../../host/core/layout.ts";
import { loadCore } from "../../host/core/load.ts";
import { Attributes, NewNode, ROOT_INO } from "../../host/fs/file_system.ts";
import { FuseSession } from "../../host/fuse/session.ts";
import { UringReactor } from "../../host/reactor/uring_reactor.ts";
import { TreeFs } from "./tree_fs.ts";

export interface ServerOptions {
  readonly mountpoint: string;
  readonly poolBlocks?: number;
  readonly retryShare?: number;
  readonly heldRuns?: number;
  readonly seed?: number;
  readonly helper?: boolean;
  readonly writeback?: boolean;
  readonly attributeSeconds?: number;
  readonly entrySeconds?: number;
  readonly spinUs?: number;
  readonly readOnly?: boolean;
  readonly noAtime?: boolean;
  readonly source?: string;
  /** A file of this name appears in the root, behind the kernel's back, when `behindMs` have passed. */
  readonly behindName?: string;
  readonly behindMs?: number;
}

export interface ServerReport {
  readonly event: "ended";
  readonly reason: string;
  readonly counters: Record<string, number>;
  readonly errors: Record<string, number>;
  readonly fs: {
    readonly writes: number;
    readonly writesOwned: number;
    readonly fsyncs: number;
    readonly retries: number;
    readonly accountingErrors: number;
    readonly blocksTaken: number;
  };
  readonly logs: readonly string[];
  readonly reactor: { readonly sleeps: number; readonly spins: number; readonly spinHits: number };
  readonly cpuMs: number;
}

const options = JSON.parse(process.argv[2] as string) as ServerOptions;
const poolBlocks = options.poolBlocks ?? 4096;
const core = loadCore({ memoryPages: Math.ceil(poolBlocks / 16) + 32 });
const reactor = new UringReactor(
  core,
  options.spinUs === undefined ? {} : { spinUs: options.spinUs },
);
const fs = new TreeFs({
  core,
  poolStart: new Layout(core).take(poolBlocks * 4096, 4096),
  poolBlocks,
  post: (callback) => reactor.post(callback),
  ...(options.retryShare === undefined ? {} : { retryShare: options.retryShare }),
  ...(options.heldRuns === undefined ? {} : { heldRuns: options.heldRuns }),
  ...(options.seed === undefined ? {} : { seed: options.seed }),
});
const logs: string[] = [];
const session = new FuseSession({
  reactor,
  core,
  fs,
  log: (level, event, fields) => {
    if (level !== "info") logs.push(`${event} ${JSON.stringify(fields)}`);
  },
  readOnly: options.readOnly ?? false,
  ...(options.writeback === undefined ? {} : { writeback: options.writeback }),
  ...(options.attributeSeconds === undefined ? {} : { attributeSeconds: options.attributeSeconds }),
  ...(options.entrySeconds === undefined ? {} : { entrySeconds: options.entrySeconds }),
});

session.onEnd((reason) => {
  const errors: Record<string, number> = {};
  session.stats.errors.forEach((count, errno) => {
    if (count > 0) errors[errno] = count;
  });
  const { writes, writesOwned, fsyncs, retries, accountingErrors } = fs;
  const report: ServerReport = {
    event: "ended",
    reason,
    counters: session.stats.toCounters(),
    errors,
    fs: { writes, writesOwned, fsyncs, retries, accountingErrors, blocksTaken: fs.blocksTaken },
    logs,
    reactor: reactor.stats,
    cpuMs: process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000,
  };
  writeSync(1, `${JSON.stringify(report)}\n`);
  reactor.stop();
});
try {
  session.mountAt(options.mountpoint, {
    ...(options.helper === undefined ? {} : { helper: options.helper }),
    ...(options.noAtime === undefined ? {} : { noAtime: options.noAtime }),
    ...(options.source === undefined ? {} : { source: options.source }),
  });
} catch (error) {
  writeSync(1, `${JSON.stringify({ event: "failed", message: (error as Error).message })}\n`);
  process.exit(1);
}
if (options.behindName !== undefined) {
  const name = Buffer.from(options.behindName);
  reactor.timer(options.behindMs ?? 0, () => {
    const buffer = fs.takeBuffer(1);
    core.bytes.set(name, buffer);
    const node = Object.assign(new NewNode(), { mode: 0o100600 });
    fs.makeNode(ROOT_INO, buffer, name.length, node, new Attributes());
    fs.giveBuffer(buffer, 1);
    session.invalidator?.entry(ROOT_INO, name, (status) => logs.push(`entry ${status}`));
    session.invalidator?.inode(ROOT_INO, 0, 0, (status) => logs.push(`inode ${status}`));
  });
}
writeSync(1, `${JSON.stringify({ event: "mounted" })}\n`);
await reactor.run();
reactor.close();

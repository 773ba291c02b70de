/** `dynamicfs doctor`: what the machine must have, and what to do about what it has not. */
import { spawnSync } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { freemem } from "node:os";
import { isLinux64 } from "../base/runtime.ts";
import { formatSize } from "../base/units.ts";
import { ExitCode } from "./exit_codes.ts";
import type { Invocation } from "./invocation.ts";
import type { Output } from "./output.ts";

interface Check {
  readonly name: string;
  /** "warning": works without, with less. */
  readonly state: "ok" | "warning" | "problem";
  readonly finding: string;
  readonly action: string | null;
}

const NODE_MAJOR_MIN = 20;
const MEMORY_BYTES_MIN = 512 * 1024 * 1024;

/** `dynamicfs doctor` */
export async function doctor(_invocation: Invocation, output: Output): Promise<ExitCode> {
  const checks = [
    checkRuntime(),
    checkWasmSimd(),
    await checkSystemCalls(),
    await checkIoUring(),
    checkFuseDevice(),
    checkFusermount(),
    checkAllowOther(),
    checkMemory(),
  ];
  const healthy = checks.every((check) => check.state !== "problem");
  if (output.machine) output.envelope("dynamicfs.doctor/1", { healthy, checks });
  else {
    const colors = { ok: "green", warning: "yellow", problem: "red" } as const;
    for (const { name, state, finding, action } of checks) {
      output.data(`${output.style(colors[state], state.padEnd(8))} ${name.padEnd(18)} ${finding}`);
      if (action !== null) output.data(`${" ".repeat(28)}-> ${action}`);
    }
  }
  return healthy ? ExitCode.ok : ExitCode.failed;
}

function good(name: string, finding: string): Check {
  return { name, state: "ok", finding, action: null };
}

function checkRuntime(): Check {
  const deno = (globalThis as { Deno?: { version: { deno: string } } }).Deno;
  if (deno !== undefined) return good("runtime", `deno ${deno.version.deno}`);
  const major = Number(process.versions.node.split(".")[0]);
  if (major >= NODE_MAJOR_MIN) return good("runtime", `node ${process.versions.node}`);
  return {
    name: "runtime",
    state: "problem",
    finding: `node ${process.versions.node}`,
    action: `install Node ${NODE_MAJOR_MIN} or newer`,
  };
}

function checkWasmSimd(): Check {
  // (module (func (result v128) i32.const 0 i8x16.splat))
  const module = [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15,
    11,
  ];
  if (WebAssembly.validate(new Uint8Array(module))) return good("wasm simd", "available");
  return {
    name: "wasm simd",
    state: "problem",
    finding: "not available",
    action: "use a processor with SSE4.1 or NEON, and a runtime that has WebAssembly SIMD",
  };
}

async function checkSystemCalls(): Promise<Check> {
  if (!isLinux64) {
    return {
      name: "system calls",
      state: "problem",
      finding: `${process.platform} ${process.arch}`,
      action: "mounting needs 64-bit Linux; the library works here",
    };
  }
  try {
    const { libc } = await import("../reactor/libc.ts");
    libc();
    return good("system calls", "koffi works");
  } catch (error) {
    return {
      name: "system calls",
      state: "problem",
      finding: error instanceof Error ? error.message.split("\n")[0]! : String(error),
      action: "npm install koffi",
    };
  }
}

async function checkIoUring(): Promise<Check> {
  const name = "io_uring";
  try {
    const { UringReactor } = await import("../reactor/uring_reactor.ts");
    new UringReactor({ bytes: new Uint8Array(65_536) }).close();
    return good(name, "allowed");
  } catch (error) {
    const disabled = readText("/proc/sys/kernel/io_uring_disabled")?.trim();
    return {
      name,
      state: "warning",
      finding: error instanceof Error ? error.message : String(error),
      action:
        disabled !== undefined && disabled !== "0"
          ? "sysctl kernel.io_uring_disabled=0, or live with a slower engine"
          : "allow io_uring in the container's seccomp profile, or live with a slower engine",
    };
  }
}

function checkFuseDevice(): Check {
  const name = "/dev/fuse";
  try {
    accessSync(name, constants.R_OK | constants.W_OK);
    return good(name, "can be opened");
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return {
      name,
      state: "problem",
      finding: missing ? "is missing" : "is not accessible",
      action: missing
        ? "modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
        : "chmod 0666 /dev/fuse, or run as root",
    };
  }
}

function checkFusermount(): Check {
  const found = ["fusermount3", "fusermount"].find(
    (name) => spawnSync(name, ["--version"], { stdio: "ignore" }).error === undefined,
  );
  if (found !== undefined) return good("fusermount3", `${found} found`);
  const root = process.geteuid?.() === 0;
  return {
    name: "fusermount3",
    state: root ? "warning" : "problem",
    finding: root ? "not found; root does without" : "not found",
    action: "install it: apt install fuse3",
  };
}

function checkAllowOther(): Check {
  const name = "user_allow_other";
  if (process.geteuid?.() === 0) return good(name, "not needed by root");
  if (/^\s*user_allow_other/m.test(readText("/etc/fuse.conf") ?? "")) return good(name, "on");
  return {
    name,
    state: "warning",
    finding: "off: only you can enter what you mount",
    action: "add the line user_allow_other to /etc/fuse.conf, if others must",
  };
}

function checkMemory(): Check {
  const bytes = availableMemory();
  if (bytes >= MEMORY_BYTES_MIN) return good("memory", `${formatSize(bytes)} available`);
  return {
    name: "memory",
    state: "warning",
    finding: `${formatSize(bytes)} available`,
    action: "mount with less: --memory 64M",
  };
}

/** What the kernel says can be had without swapping. */
function availableMemory(): number {
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(readText("/proc/meminfo") ?? "");
  return match === null ? freemem() : Number(match[1]) * 1024;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

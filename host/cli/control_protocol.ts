/**
 * What is said over a control socket: JSON objects, one a line, each request answered by one reply in order. Bounds
 * are part of the protocol: who breaks them is disconnected.
 */
import type { ErrorRecord } from "./cli_error.ts";
import type { QuotaChange } from "./quota_engine.ts";

export interface ControlRequest {
  readonly method: "ping" | "status" | "stats" | "unmount" | "remount" | "quota";
  /** For unmount: detach although the directory is in use. */
  readonly lazy?: boolean;
  /**
   * For remount. The kernel's flags are the command's to change, in between: a daemon must accept changes before the
   * kernel lets them through, and refuse them only when the kernel has handed over what it holds. "undo" goes back to
   * what was before "prepare".
   */
  readonly stage?: "prepare" | "finish" | "undo";
  /** For remount: as after -o. */
  readonly options?: string;
  /** For quota: limits to change; without it they are only listed. */
  readonly quota?: QuotaChange;
}

export type ControlReply =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: ErrorRecord };

/** Sent after a successful unmount when all is on the devices, and nothing more after it. */
export interface EndedNotice {
  readonly ended: true;
  readonly error: ErrorRecord | null;
}

export const REQUEST_BYTES_MAX = 4096;
export const CONNECTIONS_MAX = 16;
export const REQUESTS_PENDING_MAX = 16;
export const IDLE_MS_MAX = 60_000;
/** A status of very many devices still fits. */
export const REPLY_BYTES_MAX: number = 16 * 1024 * 1024;

/** @returns The request, or why it is none. */
export function decodeRequest(line: string): ControlRequest | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return "not JSON";
  }
  if (typeof value !== "object" || value === null) return "not an object";
  const { method, lazy, stage, options } = value as Record<string, unknown>;
  if (lazy !== undefined && typeof lazy !== "boolean") return "lazy is not a boolean";
  switch (method) {
    case "ping":
    case "status":
    case "stats":
    case "unmount":
      return lazy === undefined ? { method } : { method, lazy };
    case "remount":
      if (typeof options !== "string") return "options is not a string";
      if (stage !== "prepare" && stage !== "finish" && stage !== "undo") return "unknown stage";
      return { method, stage, options };
    case "quota": {
      const { quota } = value as Record<string, unknown>;
      if (quota === undefined) return { method };
      return isQuotaChange(quota) ? { method, quota } : "invalid quota";
    }
    default:
      return "unknown method";
  }
}

function isQuotaChange(value: unknown): value is QuotaChange {
  if (typeof value !== "object" || value === null) return false;
  const { kind, id, bytes, files } = value as Record<string, unknown>;
  const isLimit = (limit: unknown): boolean =>
    limit === undefined || limit === null || Number.isSafeInteger(limit);
  if (kind !== "user" && kind !== "group" && kind !== "project") return false;
  return Number.isSafeInteger(id) && isLimit(bytes) && isLimit(files);
}

/** Cuts a stream into lines within a bound. */
export class LineSplitter {
  readonly #bytesMax: number;
  #chunks: Buffer[] = [];
  #byteCount = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** @returns Complete lines, or null when one is longer than the bound: nothing after it can be trusted. */
  push(chunk: Buffer): string[] | null {
    const lines: string[] = [];
    let rest = chunk;
    for (;;) {
      const end = rest.indexOf(0x0a);
      const part = end < 0 ? rest : rest.subarray(0, end);
      this.#byteCount += part.length;
      if (this.#byteCount > this.#bytesMax) return null;
      this.#chunks.push(part);
      if (end < 0) return lines;
      lines.push(Buffer.concat(this.#chunks).toString("utf8"));
      this.#chunks = [];
      this.#byteCount = 0;
      rest = rest.subarray(end + 1);
    }
  }
}

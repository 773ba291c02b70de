/** The daemon's log: one JSON object a line, {"time","level","event",…}. Bounded: a full file is kept once as `.1`. */
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export type LogLevel = "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

const LOG_BYTES_MAX = 8 * 1024 * 1024;
const STDERR = 2;

export class Log {
  readonly #path: string | undefined;
  #fd: number;
  readonly #onWarning: ((text: string) => void) | undefined;
  #byteCount = 0;

  /**
   * @param path A file that is appended to, or undefined for stderr.
   * @param onWarning Called for warnings and errors too, where a person watches while the log goes to a file.
   */
  constructor(path: string | undefined, onWarning?: (text: string) => void) {
    this.#path = path;
    this.#onWarning = onWarning;
    this.#fd = path === undefined ? STDERR : openLog(path);
    if (path !== undefined) this.#byteCount = fstatSync(this.#fd).size;
  }

  write(level: LogLevel, event: string, fields: LogFields = {}): void {
    if (level !== "info") {
      const { hint, message } = fields;
      this.#onWarning?.([event, message, hint].filter((part) => part !== undefined).join(": "));
    }
    const record = { time: new Date().toISOString(), level, event, pid: process.pid, ...fields };
    const line = Buffer.from(`${JSON.stringify(record, errorsAsText)}\n`);
    try {
      if (this.#path !== undefined && this.#byteCount + line.length > LOG_BYTES_MAX) {
        closeSync(this.#fd);
        this.#fd = STDERR;
        renameSync(this.#path, `${this.#path}.1`);
        this.#fd = openLog(this.#path);
        this.#byteCount = 0;
      }
      writeSync(this.#fd, line);
      this.#byteCount += line.length;
    } catch {
      // A full disk or a closed terminal must not stop a file system.
    }
  }
}

/** Opens a log for appending, for its owner only; its directory is made. */
export function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true });
  return openSync(path, "a", 0o600);
}

function errorsAsText(_key: string, value: unknown): unknown {
  if (value instanceof Error) return value.stack ?? value.message;
  return typeof value === "bigint" ? value.toString() : value;
}

/**
 * Everything that a command says. Data goes to stdout, messages and progress to stderr, so that a pipe sees data
 * only. With --json a command prints one envelope, `{"schema":"dynamicfs.status/1","time":…, …}`; with --ndjson one
 * object a line, as things happen. Bytes and counters are integers, times RFC 3339, unknown is null, nothing is
 * localized.
 */
import type { CliError } from "./cli_error.ts";
import type { Invocation } from "./invocation.ts";

/** The two streams, so that tests can listen. */
export interface Streams {
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
}

export interface OutputOptions {
  readonly json: boolean;
  readonly ndjson: boolean;
  readonly noHeader: boolean;
  readonly exact: boolean;
  readonly quiet: boolean;
  readonly verbosity: number;
  readonly color: boolean;
  /** Show where an error came from. */
  readonly debug: boolean;
}

export type Style = "bold" | "dim" | "red" | "green" | "yellow";

const STYLES: Readonly<Record<Style, readonly [on: number, off: number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
};

/** A terminal shows at most 4 progress lines a second; a log file gets one each 10 seconds. */
const PROGRESS_TTY_MS = 250;
const PROGRESS_PLAIN_MS = 10_000;

export class Output {
  readonly options: OutputOptions;
  readonly #streams: Streams;
  #progressShown = false;
  #progressLastMs = 0;

  constructor(options: OutputOptions, streams: Streams = process) {
    this.options = options;
    this.#streams = streams;
  }

  /** Whether the output is for programs: handlers then print no prose on stdout. */
  get machine(): boolean {
    return this.options.json || this.options.ndjson;
  }

  /** Lines of data. */
  data(text: string): void {
    this.#clearProgress();
    this.#streams.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
  }

  /** What a person wants to know and a program does not. */
  message(text: string): void {
    if (this.options.quiet) return;
    this.#clearProgress();
    this.#streams.stderr.write(`${text}\n`);
  }

  /** A message for `-v`. */
  detail(text: string): void {
    if (this.options.verbosity > 0) this.message(text);
  }

  /** Something that is wrong but does not stop the command; not silenced by -q. */
  warning(text: string): void {
    this.#clearProgress();
    this.#streams.stderr.write(`dynamicfs: ${this.style("yellow", "warning")}: ${text}\n`);
  }

  /** The one JSON document of a command. With --ndjson it is the last line, of type "summary". */
  envelope(schema: string, fields: Readonly<Record<string, unknown>>): void {
    const head = this.options.ndjson ? { type: "summary" } : {};
    const body = { ...head, schema, time: new Date().toISOString(), ...fields };
    this.data(JSON.stringify(body, jsonSafe));
  }

  /** One line of a stream; says nothing without --ndjson. */
  event(type: "progress" | "event" | "error", fields: Readonly<Record<string, unknown>>): void {
    if (!this.options.ndjson) return;
    this.data(JSON.stringify({ type, time: new Date().toISOString(), ...fields }, jsonSafe));
  }

  /** How far a long command is: rewritten in place on a terminal, a line now and then elsewhere. */
  progress(text: string, fields: Readonly<Record<string, unknown>> = {}): void {
    const tty = this.#streams.stderr.isTTY === true && process.env["TERM"] !== "dumb";
    const now = performance.now();
    const interval = tty || this.options.ndjson ? PROGRESS_TTY_MS : PROGRESS_PLAIN_MS;
    if (now - this.#progressLastMs < interval && this.#progressLastMs !== 0) return;
    if (this.#progressLastMs === 0 && !tty && !this.options.ndjson) {
      // The first line comes after one interval: a short command stays silent.
      this.#progressLastMs = now;
      return;
    }
    this.#progressLastMs = now;
    if (this.options.ndjson) this.event("progress", fields);
    if (this.options.quiet || this.machine) return;
    this.#streams.stderr.write(tty ? `\r\x1b[2K${text}` : `${text}\n`);
    this.#progressShown = tty;
  }

  /**
   * Columns, padded by the widest cell; with -H no header and tabs, for `cut` and `awk`.
   *
   * @param align "<" or ">" a column.
   */
  table(header: readonly string[], rows: readonly (readonly string[])[], align: string): void {
    if (this.options.noHeader) {
      for (const row of rows) this.data(row.join("\t"));
      return;
    }
    const all = [header, ...rows];
    const widths = header.map((_, column) =>
      Math.max(...all.map((row) => displayWidth(row[column] ?? ""))),
    );
    for (const [index, row] of all.entries()) {
      const cells = row.map((cell, column) => {
        const fill = " ".repeat(widths[column]! - displayWidth(cell));
        return align[column] === ">" ? fill + cell : cell + fill;
      });
      const line = cells.join("  ").trimEnd();
      this.data(index === 0 ? this.style("bold", line) : line);
    }
  }

  style(style: Style, text: string): string {
    if (!this.options.color) return text;
    const [on, off] = STYLES[style];
    return `\x1b[${on}m${text}\x1b[${off}m`;
  }

  /** Prints what went wrong and what to try; a program also gets it as JSON on stdout. */
  error(error: CliError): void {
    this.#clearProgress();
    if (this.machine) {
      const { exitCode, ...rest } = error.toRecord();
      this.envelope("dynamicfs.error/1", { error: { ...rest, exitCode } });
    }
    this.#streams.stderr.write(`${this.style("red", "dynamicfs")}: ${error.what}: ${error.why}\n`);
    if (error.try !== undefined) this.#streams.stderr.write(`  try: ${error.try}\n`);
    if (this.options.debug) {
      const origin = error.cause instanceof Error ? error.cause : error;
      this.#streams.stderr.write(`${origin.stack}\n`);
    }
  }

  #clearProgress(): void {
    if (!this.#progressShown) return;
    this.#streams.stderr.write("\r\x1b[2K");
    this.#progressShown = false;
  }
}

/** The output options that global flags and the environment ask for. */
export function outputOptionsOf(invocation: Invocation, streams: Streams): OutputOptions {
  return {
    json: invocation.is("json"),
    ndjson: invocation.is("ndjson"),
    noHeader: invocation.is("no-header"),
    exact: invocation.is("exact"),
    quiet: invocation.is("quiet"),
    verbosity: invocation.count("verbose"),
    color: !invocation.is("no-color") && wantsColor(streams),
    debug: debugWanted(),
  };
}

/** Options for what happens before a line is understood: errors still honour --json when it is there. */
export function outputOptionsBefore(words: readonly string[], streams: Streams): OutputOptions {
  const flags = words.slice(0, words.includes("--") ? words.indexOf("--") : words.length);
  return {
    json: flags.includes("--json"),
    ndjson: flags.includes("--ndjson"),
    noHeader: false,
    exact: false,
    quiet: false,
    verbosity: 0,
    color: !flags.includes("--no-color") && wantsColor(streams),
    debug: debugWanted(),
  };
}

function debugWanted(): boolean {
  return !["", "0", undefined].includes(process.env["DYNAMICFS_DEBUG"]);
}

/** NO_COLOR and FORCE_COLOR (no-color.org, force-color.org), TERM=dumb, else whether people look at both streams. */
function wantsColor(streams: Streams): boolean {
  const env = process.env;
  if (env["NO_COLOR"] !== undefined && env["NO_COLOR"] !== "") return false;
  if (env["FORCE_COLOR"] !== undefined && env["FORCE_COLOR"] !== "")
    return env["FORCE_COLOR"] !== "0";
  return env["TERM"] !== "dumb" && streams.stdout.isTTY === true && streams.stderr.isTTY === true;
}

/** 64-bit identifiers become strings: JSON numbers lose them. */
function jsonSafe(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

/** Columns that a text takes on a terminal, colours not counted; wide characters count as two. */
function displayWidth(text: string): number {
  const plain = text.replace(/\x1b\[[0-9]*m/g, "");
  if (/^[\x20-\x7e]*$/.test(plain)) return plain.length;
  let width = 0;
  for (const { segment } of new Intl.Segmenter().segment(plain)) {
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]|\p{Emoji_Presentation}/u.test(
        segment,
      )
        ? 2
        : 1;
  }
  return width;
}

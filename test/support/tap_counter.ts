/** Counts the results in a TAP stream. A subtest's own line only sums up its points, so it counts only by itself. */

/** A `#` in a name is escaped; what follows a bare one is a directive, or a comment such as the time it took. */
const POINT =
  /^( *)(not )?ok\b(?: \d+)?(?: - )?((?:\\#|[^#])*)(?:#\s*(?:(skip|todo)\S*\s*(.*?)|.*?))?\s*$/i;

export class TapCounter {
  passed = 0;
  readonly failures: string[] = [];
  /** "name: reason" */
  readonly skips: string[] = [];
  #rest = "";
  /** Names of the subtests that are open, from outside in, with their indentation. */
  readonly #open: { indent: number; name: string; points: number; failures: number }[] = [];
  /** The indentation of a YAML diagnostic that is being skipped, or −1. */
  #diagnosticIndent = -1;

  push(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  end(): void {
    if (this.#rest !== "") this.#line(this.#rest);
    this.#rest = "";
  }

  #line(line: string): void {
    const indent = line.length - line.trimStart().length;
    if (this.#diagnosticIndent >= 0) {
      if (line.trim() === "..." && indent === this.#diagnosticIndent) this.#diagnosticIndent = -1;
      return;
    }
    if (line.trim() === "---") {
      this.#diagnosticIndent = indent;
      return;
    }
    const subtest = /^( *)# Subtest: (.*)$/.exec(line);
    if (subtest !== null) {
      this.#open.push({ indent, name: subtest[2] ?? "", points: 0, failures: 0 });
      return;
    }
    const point = POINT.exec(line);
    if (point !== null) this.#point(indent, point);
    else if (/^ *Bail out!/.test(line)) this.#fail(line.trim());
    else if (/^ *1\.\.0\s*#\s*(.*)$/.test(line) && this.#open.length === 0) {
      this.skips.push(line.replace(/^ *1\.\.0\s*#\s*(skip\S*\s*)?/i, ""));
    }
  }

  #point(indent: number, [, , not, text = "", directive, reason]: RegExpExecArray): void {
    const name = text.trim();
    const inner = this.#open.at(-1);
    if (inner !== undefined && inner.indent === indent) {
      this.#open.pop();
      const outer = this.#open.at(-1);
      if (outer !== undefined) {
        outer.points += inner.points;
        outer.failures += inner.failures;
      }
      if (directive === undefined && not === undefined && inner.points > 0) return;
      if (not !== undefined && inner.failures > 0) return;
    }
    const path = [...this.#open.map((each) => each.name), name].join(" > ");
    const here = this.#open.at(-1);
    if (here !== undefined) here.points++;
    if (directive !== undefined) this.skips.push(`${path}: ${reason || directive}`);
    else if (not === undefined) this.passed++;
    else this.#fail(path);
  }

  #fail(what: string): void {
    this.failures.push(what);
    const here = this.#open.at(-1);
    if (here !== undefined) here.failures++;
  }
}

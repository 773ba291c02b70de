/** The plots of `npm run bench`: well formed whatever the names, with ticks that enclose what is shown. */
import t from "tap";
import {
  escapeXml,
  linearTicks,
  logTicks,
  type Panel,
  type Plot,
  renderPlot,
  shortDuration,
  shortNumber,
} from "../bench/plot.ts";

interface Element {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly text: string;
}

const ENTITIES: Readonly<Record<string, string>> = {
  ...{ amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" },
};

function unescapeXml(text: string): string {
  if (/[<>]|&(?!(amp|lt|gt|quot|apos);)/.test(text)) throw new Error(`not escaped: ${text}`);
  return text.replace(/&(\w+);/g, (_, name: string) => ENTITIES[name] as string);
}

/**
 * As much of an XML parser as our own files need.
 *
 * @throws {Error} Of what is not well formed.
 */
function parseXml(text: string): Element[] {
  const [head, body] = text.split("?>\n");
  if (head === undefined || body === undefined || !head.startsWith("<?xml "))
    throw new Error("no XML declaration");
  const elements: Element[] = [];
  const open: string[] = [];
  const tag = /<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>([^<]*)/gy;
  let end = 0;
  for (let match = tag.exec(body); match !== null; match = tag.exec(body)) {
    const [, slash, name = "", words = "", empty, after = ""] = match;
    end = tag.lastIndex;
    if (slash === "/") {
      if (open.pop() !== name) throw new Error(`</${name}> closes another element`);
    } else {
      if (open.length === 0 && elements.length > 0) throw new Error("a second root");
      const attributes = new Map<string, string>();
      for (const [, key = "", value = ""] of words.matchAll(/([\w:-]+)="([^"]*)"/g)) {
        if (attributes.has(key)) throw new Error(`${key} twice in <${name}>`);
        attributes.set(key, unescapeXml(value));
      }
      const isEmpty = empty === "/";
      elements.push({ name, attributes, text: isEmpty ? "" : unescapeXml(after) });
      if (!isEmpty) open.push(name);
    }
  }
  if (end !== body.length) throw new Error(`not XML: ${body.slice(end, end + 60)}`);
  if (open.length > 0) throw new Error(`never closed: ${open.join(", ")}`);
  return elements;
}

const panel = (settings: Partial<Panel>): Panel => ({
  title: "a panel",
  x: { label: "files", scale: "linear" },
  y: { label: "op/s", scale: "linear" },
  series: [
    {
      name: "ours",
      points: [
        [0, 1],
        [5, 7],
        [10, 4],
      ],
    },
  ],
  ...settings,
});
const plot = (settings: Partial<Plot>): Plot => ({
  ...{ title: "a plot", panels: [panel({})], columns: 2, sharedLegend: false },
  ...settings,
});
const textsOf = (svg: string): string[] =>
  parseXml(svg).flatMap(({ name, text }) => (name === "text" ? [text] : []));
const numbersOf = (text: string | undefined): number[] => (text ?? "").split(/[ ,]/).map(Number);

t.test("the parser of this test finds what is wrong", async (t) => {
  for (const wrong of ["<a><b></a></b>", "<a>", "<a/><a/>", "<a>&nope;</a>", '<a x="1" x="2"/>']) {
    t.throws(() => parseXml(`<?xml version="1.0"?>\n${wrong}`), wrong);
  }
  t.throws(() => parseXml("<a/>"));
});

t.test("what names contain is text, not markup", async (t) => {
  const name = `<b> & "quoted" & 'so' \u0007]]> µs`;
  const svg = renderPlot(
    plot({
      title: name,
      subtitle: name,
      panels: [
        panel({
          title: name,
          x: { label: name, scale: "linear", ticks: [{ value: 1, text: name }] },
          series: [{ name, points: [[1, 2]] }],
        }),
      ],
    }),
  );
  const shown = name.replace("\u0007", "");
  t.equal(textsOf(svg).filter((text) => text === shown).length, 6);
  t.equal(parseXml(svg).find((element) => element.name === "title")?.text, shown);
  t.equal(unescapeXml(escapeXml("\ud800<\udc00😀&amp;")), "<😀&amp;");
});

t.test("everything lies within the picture, and the lines where their values are", async (t) => {
  const svg = renderPlot(
    plot({
      panels: [
        panel({
          x: { label: "files", scale: "log" },
          y: { label: "time", scale: "log", format: shortDuration },
          series: [
            {
              name: "ours",
              points: [
                [10, 1],
                [100, 10],
                [1000, 100],
              ],
            },
          ],
        }),
        panel({}),
        panel({}),
      ],
    }),
  );
  const elements = parseXml(svg);
  const root = elements[0];
  t.equal(root?.name, "svg");
  const [, , width = 0, height = 0] = numbersOf(root?.attributes.get("viewBox"));
  for (const { attributes } of elements) {
    for (const [keys, limit] of [
      [["x", "x1", "x2", "cx"], width],
      [["y", "y1", "y2", "cy"], height],
    ] as const) {
      for (const key of keys) {
        const value = Number(attributes.get(key) ?? 0);
        if (!(value >= 0 && value <= limit)) t.fail(`${key}="${attributes.get(key)}"`);
      }
    }
  }
  // The first line with three points: what grows by the same factor lies on a straight one.
  const line = elements
    .filter(({ name }) => name === "polyline")
    .map(({ attributes }) => numbersOf(attributes.get("points")))
    .find((numbers) => numbers.length === 6);
  const [x0 = 0, y0 = 0, x1 = 0, y1 = 0, x2 = 0, y2 = 0] = line ?? [];
  t.ok(Math.abs(x1 - (x0 + x2) / 2) < 0.2 && x2 > x0, "x");
  t.ok(Math.abs(y1 - (y0 + y2) / 2) < 0.2 && y2 < y0, "y grows upwards");
  const texts = textsOf(svg);
  for (const label of ["10", "100", "1k", "1 µs", "10 µs", "100 µs"]) {
    t.ok(texts.includes(label), `tick ${label}`);
  }
});

t.test("what an axis cannot show is left out", async (t) => {
  const points: [number, number][] = [
    [1, 0],
    [2, Number.NaN],
    [3, Number.POSITIVE_INFINITY],
    [4, -1],
  ];
  for (const series of [[], [{ name: "ours", points: [] }], [{ name: "ours", points }]]) {
    const svg = renderPlot(plot({ panels: [panel({ y: { label: "s", scale: "log" }, series })] }));
    t.notMatch(svg, /NaN|Infinity/);
    parseXml(svg);
  }
  t.ok(textsOf(renderPlot(plot({ panels: [panel({ series: [] })] }))).includes("nothing measured"));
  parseXml(renderPlot(plot({ panels: [] })));
});

t.test("a legend is of each panel, or one of all", async (t) => {
  const panels = [panel({}), panel({})];
  const ours = (sharedLegend: boolean): number =>
    textsOf(renderPlot(plot({ panels, sharedLegend }))).filter((text) => text === "ours").length;
  t.equal(ours(false), 2);
  t.equal(ours(true), 1);
});

t.test("it is legible on light and on dark", async (t) => {
  const svg = renderPlot(plot({}));
  const dark = /prefers-color-scheme:dark\)\{(.*)\}<\/style>/.exec(svg)?.[1] ?? "";
  for (const { name, attributes } of parseXml(svg)) {
    const look = attributes.get("class");
    if (look !== undefined) t.ok(dark.includes(`.${look}{`), `${name} .${look}`);
    else t.ok(["svg", "title", "style"].includes(name), `${name} has a class`);
  }
});

t.test("linear ticks are round and enclose", async (t) => {
  t.same(linearTicks(0, 10), [0, 2, 4, 6, 8, 10]);
  t.same(linearTicks(0, 23_000), [0, 5000, 10_000, 15_000, 20_000, 25_000]);
  t.same(linearTicks(0, 0.3), [0, 0.1, 0.2, 0.3]);
  t.same(linearTicks(-3, 3), [-4, -2, 0, 2, 4]);
  for (const [min, max] of [
    [0, 0],
    [5, 5],
    [0, 1e-9],
    [0, 1e15],
    [7, 1234.5],
  ] as const) {
    const ticks = linearTicks(min, max);
    t.ok((ticks[0] as number) <= min && (ticks.at(-1) as number) >= max, `${min} to ${max}`);
    t.ok(ticks.length >= 2 && ticks.length <= 12, `${min} to ${max}: ${ticks}`);
  }
});

t.test("logarithmic ticks are powers of ten, finer of few", async (t) => {
  t.same(logTicks(1, 10_000), [1, 10, 100, 1000, 10_000]);
  t.same(logTicks(3000, 20_000), [2000, 5000, 10_000, 20_000]);
  t.same(logTicks(100, 100), [100, 200]);
  for (const [min, max] of [
    [0.003, 0.004],
    [9.99, 10.01],
    [1e-6, 1e12],
    [1, 1e7],
    [10, 1000],
    [999_999, 1_000_001],
  ] as const) {
    const ticks = logTicks(min, max);
    t.ok((ticks[0] as number) <= min && (ticks.at(-1) as number) >= max, `${min} to ${max}`);
    t.ok(ticks.length >= 2 && ticks.length <= 9, `${min} to ${max}: ${ticks}`);
  }
});

t.test("numbers and durations are short", async (t) => {
  t.same([0, 0.25, 950, 1500, 20_000, 1e6, 2.5e9].map(shortNumber), [
    ...["0", "0.25", "950", "1.5k", "20k", "1M", "2.5G"],
  ]);
  t.same([8.24, 120, 999.9, 3400, 999_999, 2e6].map(shortDuration), [
    ...["8.24 µs", "120 µs", "1 ms", "3.4 ms", "1 s", "2 s"],
  ]);
});

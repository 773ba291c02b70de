/**
 * Plots as SVG files that need nothing else: panels of lines with axes, ticks and legends.
 *
 * Invariants: the same data gives the same bytes; every text is escaped; the background is the plot's own, light by
 * default and dark for those who prefer that, so it can be read on any page; what tells lines apart is the shape of the
 * marks, too, not the colour alone. Points that an axis cannot show (not finite; not above zero on a logarithmic one) are
 * left out.
 */

/** A position on an axis that is named. */
export interface Tick {
  readonly value: number;
  readonly text: string;
}

export interface Axis {
  /** With the unit. */
  readonly label: string;
  readonly scale: "linear" | "log";
  /** Instead of round numbers. Those outside what is shown are left out. */
  readonly ticks?: readonly Tick[];
  /** Of round numbers; `shortNumber` by default. */
  readonly format?: (value: number) => string;
}

export interface Series {
  readonly name: string;
  /** Joined in this order. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Panel {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

export interface Plot {
  readonly title: string;
  /** What it was measured on, and how; shown small. */
  readonly subtitle?: string;
  readonly panels: readonly Panel[];
  /** Panels beside each other. */
  readonly columns: number;
  /** One legend for all panels, whose lines have the same names; otherwise each has its own. */
  readonly sharedLegend: boolean;
}

const PANEL_WIDTH = 330;
const PANEL_HEIGHT = 250;
const GAP = 18;
const MARGIN = 16;
const LEFT = 52;
const RIGHT = 12;
const BOTTOM = 36;
const PANEL_TITLE = 20;
const LINE = 15;
const FONT_SIZE = 11;
/** Of the average letter, as a share of the font's size: there is nothing here that could measure text. */
const LETTER = 0.56;
const TICKS_WANTED = 5;

/** Dark on light, light on dark: the same hues. */
const COLORS: readonly (readonly [light: string, dark: string])[] = [
  ["#0060a8", "#5ab4ff"],
  ["#c24e00", "#ff9955"],
  ["#007a55", "#3fd6a0"],
  ["#9b3d83", "#e79bd2"],
  ["#8a6d00", "#e5c33c"],
  ["#555555", "#bbbbbb"],
];
const INK = ["#1f2328", "#e6edf3"] as const;
const FAINT = ["#d5d9de", "#3a4048"] as const;
const PAPER = ["#ffffff", "#0d1117"] as const;

/** Text for content and attributes of XML, without characters that XML does not allow. */
export function escapeXml(text: string): string {
  return text
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "")
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "")
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;")
    .replace(/'/g, "&apos;");
}

/** At most four digits: 950, 1.5k, 20k, 1M, 0.05. */
export function shortNumber(value: number): string {
  const magnitude = Math.abs(value);
  for (const [unit, letter] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (magnitude >= unit) return `${Number((value / unit).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

/** @param us Microseconds. @returns Three digits and the unit that fits: 8.2 µs, 120 µs, 3.4 ms, 2 s. */
export function shortDuration(us: number): string {
  // What rounds to 1000 is 1 of the next.
  const rounded = Number(us.toPrecision(3));
  if (rounded < 1000) return `${rounded} µs`;
  if (rounded < 1e6) return `${Number((rounded / 1000).toPrecision(3))} ms`;
  return `${Number((rounded / 1e6).toPrecision(3))} s`;
}

/** Multiples of 1, 2 or 5 times a power of ten, about as many as wanted, that enclose min and max. */
export function linearTicks(min: number, max: number, wanted: number = TICKS_WANTED): number[] {
  const span = max > min ? max - min : Math.abs(max) || 1;
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const first = Math.floor(min / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(max / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
}

/**
 * Powers of ten that enclose min and max, and of few decades 2 and 5 times them, too.
 *
 * @param min Above 0, at most `max`.
 */
export function logTicks(min: number, max: number, wanted: number = TICKS_WANTED): number[] {
  const low = Math.floor(Math.log10(min) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.log10(max) - 1e-9));
  const decades = high - low;
  const factors = decades <= 2 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil(decades / (wanted + 2)));
  const all: number[] = [];
  for (let power = low; power <= high + stride - 1; power += stride) {
    for (const factor of factors) all.push(Number((factor * 10 ** power).toPrecision(3)));
  }
  // Only one beyond each end is needed.
  const start = all.findLastIndex((value) => value <= min * (1 + 1e-9));
  const end = all.findIndex((value) => value >= max * (1 - 1e-9));
  const first = Math.max(0, start);
  return all.slice(first, Math.max(end, first + 1) + 1);
}

interface Scale {
  readonly ticks: readonly Tick[];
  /** Of what is shown: 0 at its beginning, 1 at its end. */
  at(value: number): number;
  shows(value: number): boolean;
}

/** @param values All that are to be shown, unless the axis cannot. */
function scaleOf(axis: Axis, values: readonly number[]): Scale {
  const isLog = axis.scale === "log";
  const shows = (value: number): boolean => Number.isFinite(value) && (!isLog || value > 0);
  const shown = values.filter(shows);
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (const value of shown) {
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  if (shown.length === 0) [min, max] = [isLog ? 1 : 0, isLog ? 10 : 1];
  // A bar or a rate without its zero would mislead.
  if (!isLog) min = Math.min(0, min);
  const format = axis.format ?? shortNumber;
  let ticks: readonly Tick[];
  if (axis.ticks === undefined) {
    const round = isLog ? logTicks(min, max) : linearTicks(min, max);
    min = round[0] as number;
    max = round.at(-1) as number;
    ticks = round.map((value) => ({ value, text: format(value) }));
  } else {
    if (max <= min) max = isLog ? min * 10 : min + 1;
    ticks = axis.ticks.filter(({ value }) => value >= min && value <= max);
  }
  const of = (value: number): number => (isLog ? Math.log10(value) : value);
  return { ticks, shows, at: (value) => (of(value) - of(min)) / (of(max) - of(min)) };
}

const round = (value: number): string => String(Number(value.toFixed(1)));

function text(
  x: number,
  y: number,
  content: string,
  { anchor = "start", size = FONT_SIZE, bold = false, turned = false } = {},
): string {
  const attributes = [
    `x="${round(x)}" y="${round(y)}" font-size="${size}" class="ink" fill="${INK[0]}"`,
    anchor === "start" ? "" : ` text-anchor="${anchor}"`,
    bold ? ' font-weight="bold"' : "",
    turned ? ` transform="rotate(-90 ${round(x)} ${round(y)})"` : "",
  ];
  return `<text ${attributes.join("")}>${escapeXml(content)}</text>`;
}

/** The mark of each line: circle, square, triangle, diamond, again from the first with the next colour. */
function mark(index: number, x: number, y: number): string {
  const color = index % COLORS.length;
  const look = `class="s${color}" fill="${COLORS[color]?.[0]}"`;
  const points = (pairs: readonly (readonly [number, number])[]): string =>
    pairs.map(([dx, dy]) => `${round(x + dx)},${round(y + dy)}`).join(" ");
  switch (index % 4) {
    case 0:
      return `<circle cx="${round(x)}" cy="${round(y)}" r="2.6" ${look}/>`;
    case 1:
      return `<rect x="${round(x - 2.4)}" y="${round(y - 2.4)}" width="4.8" height="4.8" ${look}/>`;
    case 2:
      return `<polygon points="${points([
        [0, -3.2],
        [3.2, 2.6],
        [-3.2, 2.6],
      ])}" ${look}/>`;
    default:
      return `<polygon points="${points([
        [0, -3.4],
        [3.4, 0],
        [0, 3.4],
        [-3.4, 0],
      ])}" ${look}/>`;
  }
}

function line(index: number, points: readonly (readonly [number, number])[]): string {
  const color = index % COLORS.length;
  const path = points.map(([x, y]) => `${round(x)},${round(y)}`).join(" ");
  return `<polyline points="${path}" fill="none" class="l${color}" stroke="${COLORS[color]?.[0]}" stroke-width="1.6" stroke-linejoin="round"/>`;
}

/** Names with their marks, in as many lines as they need. */
function legend(
  names: readonly string[],
  indexOf: (name: string) => number,
  width: number,
): { readonly height: number; draw(x: number, y: number): string[] } {
  const placed: { name: string; x: number; row: number }[] = [];
  let x = 0;
  let row = 0;
  for (const name of names) {
    const wide = 24 + name.length * FONT_SIZE * LETTER + 12;
    if (x > 0 && x + wide > width) {
      x = 0;
      row += 1;
    }
    placed.push({ name, x, row });
    x += wide;
  }
  return {
    height: names.length === 0 ? 0 : (row + 1) * LINE,
    draw: (left, top) =>
      placed.flatMap(({ name, x, row }) => {
        const y = top + row * LINE + LINE / 2;
        const index = indexOf(name);
        return [
          line(index, [
            [left + x, y],
            [left + x + 18, y],
          ]),
          mark(index, left + x + 9, y),
          text(left + x + 24, y + 4, name),
        ];
      }),
  };
}

/** Marks closer than this would be one blot. */
const MARK_DISTANCE = 7;

function drawPanel(
  panel: Panel,
  left: number,
  top: number,
  { indexOf, hasLegend }: { indexOf: (name: string) => number; hasLegend: boolean },
): string[] {
  const { title, series } = panel;
  const names = hasLegend ? series.map(({ name }) => name) : [];
  const key = legend(names, indexOf, PANEL_WIDTH - LEFT);
  const x0 = left + LEFT;
  const x1 = left + PANEL_WIDTH - RIGHT;
  const y0 = top + PANEL_HEIGHT - BOTTOM;
  const y1 = top + PANEL_TITLE + key.height + 6;
  const points = series.flatMap((each) => each.points);
  const horizontal = scaleOf(
    panel.x,
    points.map(([x]) => x),
  );
  const vertical = scaleOf(
    panel.y,
    points.map(([, y]) => y),
  );
  const px = (value: number): number => x0 + horizontal.at(value) * (x1 - x0);
  const py = (value: number): number => y0 - vertical.at(value) * (y0 - y1);
  const grid = (ax: number, ay: number, bx: number, by: number): string =>
    `<line x1="${round(ax)}" y1="${round(ay)}" x2="${round(bx)}" y2="${round(by)}" class="faint" stroke="${FAINT[0]}"/>`;
  const parts = [
    text(left, top + 13, title, { bold: true, size: 12 }),
    ...key.draw(x0, top + PANEL_TITLE),
  ];
  // A label that would run into the one before is left out, its line stays.
  let lastEnd = Number.NEGATIVE_INFINITY;
  for (const { value, text: label } of horizontal.ticks) {
    const x = px(value);
    parts.push(grid(x, y0, x, y1));
    const half = (label.length * FONT_SIZE * LETTER) / 2;
    if (x - half < lastEnd) continue;
    parts.push(text(x, y0 + 15, label, { anchor: "middle" }));
    lastEnd = x + half + 4;
  }
  let lastTop = Number.POSITIVE_INFINITY;
  for (const { value, text: label } of vertical.ticks) {
    const y = py(value);
    parts.push(grid(x0, y, x1, y));
    if (y > lastTop - FONT_SIZE) continue;
    parts.push(text(x0 - 5, y + 4, label, { anchor: "end" }));
    lastTop = y;
  }
  parts.push(
    text((x0 + x1) / 2, y0 + 29, panel.x.label, { anchor: "middle" }),
    text(left + 9, (y0 + y1) / 2, panel.y.label, { anchor: "middle", turned: true }),
  );
  for (const { name, points: all } of series) {
    const shown = all.flatMap(([x, y]) =>
      horizontal.shows(x) && vertical.shows(y) ? [[px(x), py(y)] as const] : [],
    );
    const index = indexOf(name);
    if (shown.length > 1) parts.push(line(index, shown));
    let lastX = Number.NEGATIVE_INFINITY;
    let lastY = Number.NEGATIVE_INFINITY;
    for (const [position, [x, y]] of shown.entries()) {
      const isEnd = position === shown.length - 1;
      if (!isEnd && Math.hypot(x - lastX, y - lastY) < MARK_DISTANCE) continue;
      parts.push(mark(index, x, y));
      lastX = x;
      lastY = y;
    }
  }
  if (points.length === 0) {
    parts.push(text((x0 + x1) / 2, (y0 + y1) / 2, "nothing measured", { anchor: "middle" }));
  }
  return parts;
}

function styles(): string {
  const rules = [
    `.paper{fill:${PAPER[1]}}`,
    `.ink{fill:${INK[1]}}`,
    `.faint{stroke:${FAINT[1]}}`,
    ...COLORS.map(([, dark], index) => `.s${index}{fill:${dark}}.l${index}{stroke:${dark}}`),
  ];
  return `<style>@media (prefers-color-scheme:dark){${rules.join("")}}</style>`;
}

/** @returns A whole SVG document. With one legend, lines of one name look the same in all panels. */
export function renderPlot(plot: Plot): string {
  const names = [...new Set(plot.panels.flatMap(({ series }) => series.map(({ name }) => name)))];
  const columns = Math.max(1, Math.min(plot.columns, plot.panels.length));
  const rows = Math.ceil(plot.panels.length / columns);
  const width = 2 * MARGIN + columns * PANEL_WIDTH + (columns - 1) * GAP;
  const key = legend(plot.sharedLegend ? names : [], (name) => names.indexOf(name), width);
  const parts: string[] = [text(MARGIN, MARGIN + 14, plot.title, { bold: true, size: 16 })];
  let top = MARGIN + 24;
  if (plot.subtitle !== undefined) {
    parts.push(text(MARGIN, top + 11, plot.subtitle));
    top += LINE + 3;
  }
  parts.push(...key.draw(MARGIN, top));
  top += key.height + 8;
  for (const [index, panel] of plot.panels.entries()) {
    const left = MARGIN + (index % columns) * (PANEL_WIDTH + GAP);
    const above = top + Math.floor(index / columns) * (PANEL_HEIGHT + GAP);
    // With its own legend, a panel counts its own lines, so that the first has the first colour.
    const own = panel.series.map(({ name }) => name);
    const indexOf = (name: string): number => (plot.sharedLegend ? names : own).indexOf(name);
    parts.push(...drawPanel(panel, left, above, { indexOf, hasLegend: !plot.sharedLegend }));
  }
  const height = top + rows * (PANEL_HEIGHT + GAP) - GAP + MARGIN;
  return `${[
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" role="img">`,
    `<title>${escapeXml(plot.title)}</title>`,
    styles(),
    `<rect width="${width}" height="${height}" class="paper" fill="${PAPER[0]}"/>`,
    ...parts,
    "</svg>",
  ].join("\n")}\n`;
}

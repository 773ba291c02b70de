/** Any plain value as indented text for people: maps as `name: value`, lists with dashes, bytes in hexadecimal. */

export function recordText(value: unknown): string {
  return lines(value).join("\n");
}

function lines(value: unknown): string[] {
  if (value instanceof Uint8Array) return [Buffer.from(value).toString("hex")];
  if (Array.isArray(value)) {
    if (value.length === 0) return ["none"];
    return value.flatMap((item) => {
      const [first = "", ...rest] = lines(item);
      return [`- ${first}`, ...rest.map((line) => `  ${line}`)];
    });
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, field]) => field !== undefined);
    if (entries.length === 0) return ["none"];
    return entries.flatMap(([name, field]) => {
      const inner = lines(field);
      const scalar = typeof field !== "object" || field === null || field instanceof Uint8Array;
      if (inner.length === 1 && (scalar || inner[0] === "none")) return [`${name}: ${inner[0]}`];
      return [`${name}:`, ...inner.map((line) => `  ${line}`)];
    });
  }
  return [value === null ? "-" : String(value)];
}

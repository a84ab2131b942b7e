/** Pure. The text of an Mcp-* header: plain, or `=?base64?...?=` where it holds what a header cannot (SEP-2243). */

/** Null: the sentinel is broken, so the header cannot be compared with anything. */
export function headerText(value: string): string | null {
  const sentinel = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/.exec(value);
  if (sentinel === null) return value;
  const bytes = Buffer.from(sentinel[1] ?? "", "base64");
  if (bytes.toString("base64") !== sentinel[1]) return null;
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : null;
}

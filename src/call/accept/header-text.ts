/** Pure. The text of an Mcp-* header: plain, or `=?base64?...?=` where it holds what a header cannot (SEP-2243). */

const PREFIX = "=?base64?";
const SUFFIX = "?=";

/** Null: the sentinel is broken, so the header cannot be compared with anything. */
export function headerText(value: string): string | null {
  if (!value.startsWith(PREFIX) || !value.endsWith(SUFFIX)) return value;
  const encoded = value.slice(PREFIX.length, -SUFFIX.length);
  const bytes = Buffer.from(encoded, "base64");
  // Node skips junk and unused bits: only the one canonical spelling comes back as it was.
  if (bytes.toString("base64") !== encoded) return null;
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : null;
}

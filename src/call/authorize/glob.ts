/** Pure. Patterns in which `*` stands for any characters, `/` and line breaks among them, and every other character for itself. */

/** Compares code units as they are: no folding, no normalising, no percent-decoding (a twin of a name is another name). */
export type Glob = (text: string) => boolean;

export function isPattern(written: string): boolean {
  return written.includes("*");
}

/** Time grows with the length of the text, not with the number of ways to match: each part takes the first place it fits. */
export function globOf(written: string): Glob {
  const parts = written.split("*");
  const first = parts[0] ?? "";
  const last = parts.at(-1) ?? "";
  if (parts.length === 1) return (text) => text === written;
  if (parts.length === 2) return (text) => text.length >= first.length + last.length && text.startsWith(first) && text.endsWith(last);
  const middle = parts.slice(1, -1).filter((part) => part !== "");
  return (text) => {
    if (!text.startsWith(first)) return false;
    let from = first.length;
    for (const part of middle) {
      const found = text.indexOf(part, from);
      if (found === -1) return false;
      from = found + part.length;
    }
    return text.length - last.length >= from && text.endsWith(last);
  };
}

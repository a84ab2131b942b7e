/** Pure. What differs between two definitions, for a terminal: a path a line, texts word by word, and nothing that hides. */
import { plain } from "./table.ts";

export type DifferenceJson = { readonly path: string; readonly was?: unknown; readonly is?: unknown };

/** Words before and after what has changed, to know where it is. */
const CONTEXT_WORDS = 6;
/** What is shown of one value; the whole of it is in `--json`. */
const VALUE_CHARACTERS_MAX = 4_000;

export function differenceLines(differences: readonly DifferenceJson[]): string[] {
  return differences.flatMap(linesOf);
}

function linesOf(difference: DifferenceJson): string[] {
  const path = plain(difference.path);
  if (!("was" in difference)) return [`  ${path}: added`, `    + ${shown(difference.is)}`];
  if (!("is" in difference)) return [`  ${path}: removed`, `    - ${shown(difference.was)}`];
  const { was, is } = difference;
  if (typeof was === "string" && typeof is === "string") return [`  ${path}: changed`, ...changedWords(was, is)];
  return [`  ${path}: changed`, `    - ${shown(was)}`, `    + ${shown(is)}`];
}

/** Without the words that both begin and end with, but for a few. */
function changedWords(was: string, is: string): string[] {
  const [before, after] = [was.split(/(?<=\s)/), is.split(/(?<=\s)/)];
  const least = Math.min(before.length, after.length);
  let start = 0;
  while (start < least && before[start] === after[start]) start++;
  let end = 0;
  while (end < least - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end++;
  const part = (words: readonly string[]) => {
    const [from, to] = [Math.max(0, start - CONTEXT_WORDS), Math.min(words.length, words.length - end + CONTEXT_WORDS)];
    return `${from > 0 ? "... " : ""}${cut(words.slice(from, to).join(""))}${to < words.length ? " ..." : ""}`;
  };
  return [`    - ${part(before)}`, `    + ${part(after)}`];
}

function shown(value: unknown): string {
  return cut(typeof value === "string" ? value : (JSON.stringify(value) ?? ""));
}

/** A line stays a line: a break within a text is shown as one. */
function cut(text: string): string {
  const whole = plain(text.replaceAll("\n", "\\n").replaceAll("\t", "\\t"));
  return whole.length <= VALUE_CHARACTERS_MAX ? whole : `${whole.slice(0, VALUE_CHARACTERS_MAX)} (${whole.length} characters)`;
}

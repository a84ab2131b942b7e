/** Pure. How many members a reported object may have, and how much is said of what is wrong with a body: an answer never grows with what was sent. */
import type { z } from "zod";
import { type Issue, wordsOf } from "../../issues.ts";

/** More members than any event has; each one costs time to read, in which no call is answered. */
export const MEMBERS_MAX = 64;
export const KEY_CHARACTERS_MAX = 128;
/** Whoever mends five faults sends it again, and hears of the next. */
const ISSUES_MAX = 5;
const DETAIL_CHARACTERS_MAX = 500;

/** To be asked before a schema reads `value`. Null: not an object, or one of a usual size. */
export function overfull(value: unknown): string | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const keys = Object.keys(value);
  if (keys.length > MEMBERS_MAX) return `at most ${MEMBERS_MAX} members`;
  if (keys.some((key) => key.length > KEY_CHARACTERS_MAX)) return `a member's name has at most ${KEY_CHARACTERS_MAX} characters`;
  // A schema drops it without a word: the reporter would believe that it was counted.
  return keys.includes("__proto__") ? "a member may not be named __proto__" : null;
}

/** `whole`: what is meant where an issue has no path. */
export function wordsOfIssues({ issues }: Pick<z.ZodError, "issues">, whole: string): string {
  const words = issues.slice(0, ISSUES_MAX).map((issue) => `${cut(issue.path.join(".")) || whole}: ${cut(saidOf(issue))}`);
  const more = issues.length - words.length;
  return cut([...words, ...(more > 0 ? [`and ${more} more`] : [])].join("; "));
}

/** A schema reports what it received in its words alone. */
function saidOf(issue: Issue): string {
  const { code, keys = [], message } = issue;
  if (code === "unrecognized_keys") return `there is no member ${keys.map((key) => JSON.stringify(key)).join(", ")} here`;
  if (code === "invalid_type" && message.endsWith("received undefined")) return "is missing";
  return wordsOf(issue, message.endsWith("received null") ? null : {});
}

/** No half of a character is left behind. */
export function cut(text: string): string {
  return text.length <= DETAIL_CHARACTERS_MAX ? text : `${text.slice(0, DETAIL_CHARACTERS_MAX - 3).toWellFormed()}...`;
}

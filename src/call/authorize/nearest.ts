/** Pure. Which name somebody meant who wrote another. */

/** Those that are near, or none. */
export function nearestOf(written: string, known: Iterable<string>): string[] {
  return [...known].filter((candidate) => candidate !== written && isNear(written, candidate));
}

/** `; did you mean limit?`, or nothing. */
export function didYouMean(written: string, known: Iterable<string>): string {
  const near = nearestOf(written, known).slice(0, NAMED_MAX);
  return near.length === 0 ? "" : `; did you mean ${near.join(" or ")}?`;
}

/** More of them are no help. */
const NAMED_MAX = 3;

/** Same letters in another case, or at most two edits (one in a short word). */
export function isNear(written: string, meant: string): boolean {
  const [a, b] = [written.toLowerCase(), meant.toLowerCase()];
  if (a === b || a === `${b}s` || b === `${a}s`) return true;
  return a.length <= 64 && b.length <= 80 && editDistance(a, b) <= (Math.min(a.length, b.length) <= 5 ? 1 : 2);
}

/** Levenshtein's distance with neighbours swapped counted as one edit, row by row. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? 0) + 1 : change;
      next.push(Math.min(change, swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}

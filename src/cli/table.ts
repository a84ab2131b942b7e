/** Pure. Rows as aligned text: numbers to the right, words to the left, nothing for nothing. */

export type Cell = string | number | null | undefined;

export function table(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => columns.map((_, i) => cellText(row[i])));
  const widths = columns.map((name, i) => Math.max(name.length, ...texts.map((row) => row[i]?.length ?? 0)));
  const right = columns.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number" || row[i] == null));
  const line = (cells: readonly string[]) =>
    cells
      .map((text, i) => (right[i] === true ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd();
  return [line(columns), ...texts.map(line)].join("\n");
}

function cellText(cell: Cell): string {
  if (cell === null || cell === undefined) return "-";
  return typeof cell === "number" ? grouped(cell) : plain(cell);
}

/** 5000000 as 5_000_000, the form that the configuration reads back. */
export function grouped(amount: number): string {
  return String(amount).replace(/\B(?=(\d{3})+(?!\d))/g, "_");
}

/** A name from outside must not steer the terminal: control and bidi characters become visible. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\u200b-\u200f\u2028-\u202e\u2066-\u2069]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Pure. Rows as aligned text: numbers to the right, words to the left, nothing for nothing. */

import { visibly } from "../visible-text.ts";

export type Cell = string | number | null | undefined;

export function table(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => columns.map((_, i) => cellText(row[i])));
  const widths = columns.map((name, i) => texts.reduce((widest, row) => Math.max(widest, row[i]?.length ?? 0), name.length));
  const right = columns.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number" || row[i] == null));
  const line = (cells: readonly string[]) =>
    cells
      .map((text, i) => (right[i] === true ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd();
  return [line(columns), ...texts.map(line)].join("\n");
}

/** One thing, a member a line; what is nested as JSON. */
export function memberTable(thing: object): string {
  const rows = Object.entries(thing).map(([key, value]): Cell[] => [key, textOf(value)]);
  return table(["", ""], rows).trim();
}

function textOf(value: unknown): Cell {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function cellText(cell: Cell): string {
  if (cell === null || cell === undefined) return "-";
  return typeof cell === "number" ? grouped(cell) : plain(cell);
}

/** 5000000 as 5_000_000, the form that the configuration reads back. */
export function grouped(amount: number): string {
  const [whole = "", ...fraction] = String(amount).split(".");
  return [whole.replace(/\B(?=(\d{3})+(?!\d))/g, "_"), ...fraction].join(".");
}

/** A name from outside must not steer the terminal: controls, and characters without a shape of their own, become visible. */
export function plain(text: string): string {
  return visibly(text);
}

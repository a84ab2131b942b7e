/** Pure. Rows as a CSV file (RFC 4180), which no spreadsheet takes for anything but what it says. */
import type { Cell } from "./table.ts";

export function csvText(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [columns, ...rows].map((row) => row.map(cellText).join(",")).join("\r\n");
}

/** A spreadsheet runs what begins with one of these; a name from outside must stay a name. Numbers are written as they are. */
const FORMULA = /^[=+\-@\t\r]/;

function cellText(cell: Cell): string {
  if (cell === null || cell === undefined) return "";
  if (typeof cell === "number") return String(cell);
  const text = FORMULA.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

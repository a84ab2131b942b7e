/** Pure. A CSV file (RFC 4180) as rows with the lines they begin on, or what is wrong on which line; nothing is guessed. */

export type CsvRow = { readonly line: number; readonly cells: readonly string[] };
export type LineFault = { readonly line: number; readonly message: string };
export type Csv = { readonly rows: readonly CsvRow[]; readonly faults: readonly LineFault[] };

/** A byte order mark, CRLF or LF, and quoted cells with commas, line breaks and doubled quotes; blank lines are no rows. */
export function readCsv(text: string): Csv {
  const rows: CsvRow[] = [];
  const faults: LineFault[] = [];
  let at = text.startsWith("\uFEFF") ? 1 : 0;
  let line = 1;
  while (at < text.length) {
    const begun = line;
    const cells: string[] = [];
    for (let more = true; more; ) {
      const cell = text[at] === '"' ? quoted(text, at) : bare(text, at);
      if ("fault" in cell) {
        faults.push({ line, message: cell.fault });
        at = lineEnd(text, at);
        break;
      }
      cells.push(cell.value);
      line += breaksIn(cell.value);
      at = cell.end;
      more = text[at] === ",";
      if (more) at += 1;
    }
    at = beyondBreak(text, at);
    line += 1;
    const blank = cells.length === 1 && cells[0] === "";
    if (!blank && faults.at(-1)?.line !== begun) rows.push({ line: begun, cells });
  }
  return { rows, faults };
}

type Cell = { readonly value: string; readonly end: number } | { readonly fault: string };

function quoted(text: string, start: number): Cell {
  let value = "";
  for (let at = start + 1; ; ) {
    const quote = text.indexOf('"', at);
    if (quote === -1) return { fault: "a quoted cell does not end" };
    value += text.slice(at, quote);
    if (text[quote + 1] !== '"') {
      const after = text[quote + 1];
      const ends = after === undefined || after === "," || after === "\n" || text.startsWith("\r\n", quote + 1);
      return ends ? { value, end: quote + 1 } : { fault: "text follows a quoted cell" };
    }
    value += '"';
    at = quote + 2;
  }
}

function bare(text: string, start: number): Cell {
  let end = start;
  while (end < text.length && text[end] !== "," && text[end] !== "\n") end += 1;
  const value = text.slice(start, text[end] === "\n" && text[end - 1] === "\r" && end > start ? end - 1 : end);
  return value.includes('"') ? { fault: "a quote within a cell that is not quoted" } : { value, end: start + value.length };
}

function lineEnd(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end === -1 ? text.length : end;
}

function beyondBreak(text: string, at: number): number {
  return text.startsWith("\r\n", at) ? at + 2 : at + 1;
}

function breaksIn(value: string): number {
  return value.split("\n").length - 1;
}

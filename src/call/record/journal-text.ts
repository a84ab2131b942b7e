/** Pure. What passes between the journal's threads for every call, as one text a group: a text is copied, an object is taken apart. */
import type { JournalReply, Numbered } from "./journal-protocol.ts";
import type { Amount, NoticeRow, RecordRow, Row, UsageRow } from "./rows.ts";

// An object of two rows cost both threads 60 us, their text costs 5. No field holds a line feed: JSON and ids have none.

export function rowsText(rows: readonly Numbered[]): string {
  let text = "";
  for (const { number, row } of rows) text += `${number}\n${rowText(row)}\n`;
  return text;
}

function rowText(row: Row): string {
  if (row.kind === "append") return `append\n${recordText(row)}`;
  if (row.kind === "permit") return `permit\n${row.callId}\n${row.atMs}\n${row.moves}\n${row.audit}\n${row.usage}\n${row.key}`;
  if (row.kind === "notice") return `notice\n${noticeText(row)}`;
  const notices = row.notices.map((notice) => `\n${noticeText(notice)}`).join("");
  const usage = row.usage === null ? "" : usageText(row.usage);
  return `settle\n${row.callId}\n${row.moves}\n${row.key}\n${recordText(row.record)}\n${usage}\n${row.notices.length}${notices}`;
}

function noticeText({ budget, scope, windowStartMs, percent, record }: NoticeRow): string {
  return `${budget}\n${JSON.stringify(scope)}\n${windowStartMs}\n${percent}\n${recordText(record)}`;
}

function recordText({ recordKind, callId, before, after }: RecordRow): string {
  return `${recordKind}\n${callId ?? ""}\n${before}\n${after}`;
}

function usageText({ atMs, logicalCallId, attributes, quantities, amounts }: UsageRow): string {
  return `${atMs}\n${logicalCallId ?? ""}\n${attributes}\n${quantities.join(" ")}\n${amounts.map((each) => each.join(" ")).join(" ")}`;
}

export function rowsIn(text: string): Numbered[] {
  const fields = new Fields(text);
  const rows: Numbered[] = [];
  while (!fields.done) rows.push({ number: Number(fields.next()), row: rowIn(fields) });
  return rows;
}

function rowIn(fields: Fields): Row {
  const kind = fields.next();
  if (kind === "append") return recordIn(fields);
  if (kind === "notice") return noticeIn(fields);
  const callId = fields.next();
  if (kind === "permit") {
    const atMs = Number(fields.next());
    return { kind, callId, atMs, moves: fields.next(), audit: fields.next(), usage: fields.next(), key: fields.next() };
  }
  const settled = { callId, moves: fields.next(), key: fields.next(), record: recordIn(fields), usage: usageIn(fields) };
  return { kind: "settle", ...settled, notices: Array.from({ length: Number(fields.next()) }, () => noticeIn(fields)) };
}

function noticeIn(fields: Fields): NoticeRow {
  const [budget, scope] = [fields.next(), JSON.parse(fields.next()) as string];
  return { kind: "notice", budget, scope, windowStartMs: Number(fields.next()), percent: Number(fields.next()), record: recordIn(fields) };
}

function recordIn(fields: Fields): RecordRow {
  const recordKind = fields.next();
  return { kind: "append", recordKind, callId: fields.next() || null, before: fields.next(), after: fields.next() };
}

function usageIn(fields: Fields): UsageRow | null {
  const atMs = fields.next();
  if (atMs === "") return null;
  return {
    atMs: Number(atMs),
    logicalCallId: fields.next() || null,
    attributes: fields.next(),
    quantities: fields.next().split(" ").map(Number),
    amounts: amountsIn(fields.next()),
  };
}

function amountsIn(text: string): readonly Amount[] {
  if (text === "") return [];
  const words = text.split(" ");
  return Array.from({ length: words.length / 2 }, (_, i): Amount => [words[2 * i] ?? "", Number(words[2 * i + 1])]);
}

class Fields {
  readonly #fields: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#fields = text.split("\n");
  }

  /** The text ends with a line feed, so behind the last field stands an empty one. */
  get done(): boolean {
    return this.#at >= this.#fields.length - 1;
  }

  next(): string {
    const field = this.#fields[this.#at++];
    if (field === undefined) throw new Error("a group of rows that ends half-way");
    return field;
  }
}

export function writtenText(numbers: readonly number[]): string {
  return numbers.join(" ");
}

export function writtenIn(text: string): Extract<JournalReply, { kind: "written" }> {
  return { kind: "written", numbers: text.split(" ").map(Number) };
}

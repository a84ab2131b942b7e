/** Pure. Server-sent events as bytes: cut at their borders, never written anew; only an event that must change is. */

export type SseEvent = {
  /** The event as it arrived, its closing blank line included. */
  readonly bytes: Buffer;
  /** The joined `data` lines, or null where the event has none (a comment, an id for polling). */
  readonly data: Buffer | null;
  readonly hasId: boolean;
};

export type EventCutter = {
  /** The events that `chunk` completes. Null: an event is larger than allowed. */
  push(chunk: Buffer): SseEvent[] | null;
  /** Bytes of an event that never ended. */
  readonly rest: number;
};

const LF = 0x0a;
const CR = 0x0d;

/** Linear in the bytes: what was searched once for a border is not searched again. */
export function createEventCutter(eventBytesMax: number): EventCutter {
  let pending: Buffer = Buffer.alloc(0);
  let searched = 0;
  return {
    get rest() {
      return pending.length;
    },
    push(chunk) {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      const events: SseEvent[] = [];
      for (let end = borderAfter(pending, searched); end !== -1; end = borderAfter(pending, 0)) {
        events.push(eventOf(pending.subarray(0, end)));
        pending = pending.subarray(end);
        searched = 0;
      }
      // A border is at most four bytes long, so the last three may be the beginning of one.
      searched = Math.max(0, pending.length - 3);
      return pending.length > eventBytesMax ? null : events;
    },
  };
}

/** Where the first blank line ends, or -1. Line ends are LF, CR or CRLF (HTML, section 9.2.5). */
function borderAfter(bytes: Buffer, from: number): number {
  for (let i = from; i < bytes.length; i++) {
    if (bytes[i] !== LF && bytes[i] !== CR) continue;
    const next = lineEnd(bytes, i);
    // A CR at the very end may be half of a CRLF.
    if (next === -1) return -1;
    const second = bytes[next] === LF || bytes[next] === CR ? lineEnd(bytes, next) : 0;
    if (second === -1) return -1;
    if (second > 0) return second;
    if (i === 0) return next;
    i = next - 1;
  }
  return -1;
}

function lineEnd(bytes: Buffer, at: number): number {
  if (bytes[at] === LF) return at + 1;
  if (at + 1 >= bytes.length) return bytes[at] === CR ? -1 : at + 1;
  return bytes[at + 1] === LF ? at + 2 : at + 1;
}

function eventOf(bytes: Buffer): SseEvent {
  let hasId = false;
  const data: Buffer[] = [];
  for (const line of linesOf(bytes)) {
    if (startsWith(line, "data")) data.push(fieldValue(line, 4));
    else if (startsWith(line, "id")) hasId = true;
  }
  return { bytes, data: data.length === 0 ? null : data.length === 1 ? (data[0] ?? null) : joined(data), hasId };
}

function linesOf(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  for (let i = start; i < bytes.length; i++) {
    if (bytes[i] !== LF && bytes[i] !== CR) continue;
    lines.push(bytes.subarray(start, i));
    if (bytes[i] === CR && bytes[i + 1] === LF) i++;
    start = i + 1;
  }
  return lines;
}

/** The field's name is the whole line or stands before a colon. */
function startsWith(line: Buffer, field: string): boolean {
  const length = field.length;
  return line.toString("latin1", 0, length) === field && (line.length === length || line[length] === 0x3a);
}

function fieldValue(line: Buffer, nameLength: number): Buffer {
  const start = nameLength + 1;
  return line.subarray(line[start] === 0x20 ? start + 1 : start);
}

function joined(lines: readonly Buffer[]): Buffer {
  const pieces: Buffer[] = [];
  for (const [i, line] of lines.entries()) pieces.push(...(i === 0 ? [line] : [NEWLINE, line]));
  return Buffer.concat(pieces);
}

const NEWLINE = Buffer.from("\n");

/** The same event with other data: its other lines stay. */
export function withData(event: SseEvent, data: Buffer): Buffer {
  const kept = linesOf(event.bytes).filter((line) => line.length > 0 && !startsWith(line, "data"));
  return Buffer.concat([...kept.flatMap((line) => [line, NEWLINE]), dataLines(data), NEWLINE]);
}

/** An event of our own. */
export function messageEvent(data: Buffer): Buffer {
  return Buffer.concat([Buffer.from("event: message\n"), dataLines(data), NEWLINE]);
}

function dataLines(data: Buffer): Buffer {
  const lines = data.includes(LF) || data.includes(CR) ? data.toString().split(/\r\n|\r|\n/) : [data];
  return Buffer.concat(lines.flatMap((line) => [Buffer.from("data: "), Buffer.from(line), NEWLINE]));
}

/** Pure. Server-sent events as bytes: cut at their borders, never written anew; only an event that must change is. */

export type SseEvent = {
  /** The event as it arrived, its closing blank line included; without the byte order mark that may begin a stream. */
  readonly bytes: Buffer;
  /** The joined `data` lines, or null where the event has none (a comment, an id for polling). */
  readonly data: Buffer | null;
  /** The value of its last `event` line; empty is the same as `message`. */
  readonly type: string;
  /** The value of its last `id` line, which a client comes back with; null: it has none. */
  readonly id: string | null;
  /** How long a client is to wait before it comes back; null: the event does not say. */
  readonly retryMs: number | null;
};

export type EventCutter = {
  /** The events that `chunk` completes, up to the first that is larger than allowed. */
  push(chunk: Buffer): SseEvent[];
  /** True from the first event on that is larger than allowed: nothing comes after it. */
  readonly oversized: boolean;
  /** Bytes of an event that never ended. */
  readonly rest: number;
};

const LF = 0x0a;
const CR = 0x0d;

/** Linear in the bytes, however small the chunks: what was searched for a border is not searched again, what was joined seldom moves. */
export function createEventCutter(eventBytesMax: number): EventCutter {
  const pending = createPending();
  let searched = 0;
  let first = true;
  let oversized = false;
  const giveUp = () => {
    oversized = true;
    pending.drop(pending.bytes.length);
  };
  return {
    get rest() {
      return pending.bytes.length;
    },
    get oversized() {
      return oversized;
    },
    push(chunk) {
      if (oversized) return [];
      pending.add(chunk);
      const events: SseEvent[] = [];
      for (let end = borderAfter(pending.bytes, searched); end !== -1; end = borderAfter(pending.bytes, 0)) {
        if (end > eventBytesMax) {
          giveUp();
          return events;
        }
        const bytes = pending.bytes.subarray(0, end);
        events.push(eventOf(first ? withoutMark(bytes) : bytes));
        pending.drop(end);
        first = false;
      }
      // The last byte may end the line that a blank one follows.
      searched = Math.max(0, pending.bytes.length - 1);
      if (pending.bytes.length > eventBytesMax) giveUp();
      return events;
    },
  };
}

/** Bytes that wait for more. Room is doubled: joined anew with every chunk, 4 MiB in single bytes would copy 8 TB. */
function createPending() {
  let room: Buffer = Buffer.alloc(0);
  let bytes: Buffer = room;
  let end = 0;
  return {
    get bytes() {
      return bytes;
    },
    add(chunk: Buffer) {
      if (bytes.length === 0) {
        bytes = chunk;
        room = chunk;
        end = chunk.length;
        return;
      }
      const length = bytes.length + chunk.length;
      if (end + chunk.length > room.length) {
        room = Buffer.allocUnsafe(length * 2);
        bytes.copy(room);
        end = bytes.length;
      }
      chunk.copy(room, end);
      end += chunk.length;
      bytes = room.subarray(end - length, end);
    },
    /** Drops from the front: what was given out of it stays as it is. */
    drop(count: number) {
      bytes = bytes.subarray(count);
    },
  };
}

/** Where the first blank line ends, or -1. Line ends are LF, CR or CRLF (HTML, section 9.2.5). */
function borderAfter(bytes: Buffer, from: number): number {
  for (let i = from; i < bytes.length; i++) {
    if (bytes[i] !== LF && bytes[i] !== CR) continue;
    if (i === 0) return lineEnd(bytes, i);
    const next = lineEnd(bytes, i);
    if (bytes[next] === LF || bytes[next] === CR) return lineEnd(bytes, next);
    i = next - 1;
  }
  return -1;
}

/** A CR at the very end is an end: waiting for its LF would hold the event back. The LF is then an event of nothing. */
function lineEnd(bytes: Buffer, at: number): number {
  return bytes[at] === CR && bytes[at + 1] === LF ? at + 2 : at + 1;
}

function eventOf(bytes: Buffer): SseEvent {
  let id: string | null = null;
  let type = "";
  let retryMs: number | null = null;
  const data: Buffer[] = [];
  for (const line of linesOf(bytes)) {
    if (startsWith(line, "data")) data.push(fieldValue(line, 4));
    else if (startsWith(line, "event")) type = fieldValue(line, 5).toString();
    else if (startsWith(line, "id")) id = fieldValue(line, 2).toString();
    else if (startsWith(line, "retry")) retryMs = digitsOf(fieldValue(line, 5).toString()) ?? retryMs;
  }
  return { bytes, data: data.length === 0 ? null : data.length === 1 ? (data[0] ?? null) : joined(data), type, id, retryMs };
}

/** Anything else than digits is no time (HTML, section 9.2.6). */
function digitsOf(text: string): number | null {
  return /^[0-9]{1,9}$/.test(text) ? Number(text) : null;
}

/** A byte order mark is one at the beginning of a stream only, where the client may already have a comment of ours. */
function withoutMark(bytes: Buffer): Buffer {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

/** With an empty one between CR and LF: empty lines say nothing. */
function linesOf(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== LF && bytes[i] !== CR) continue;
    lines.push(bytes.subarray(start, i));
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

/** Clients read messages from events of type `message` only, the default; others are keep-alives of a server's own. */
export function carriesMessage(event: SseEvent): event is SseEvent & { readonly data: Buffer } {
  return event.data !== null && event.data.length > 0 && (event.type === "" || event.type === "message");
}

/** A stream that ends in CR leaves its reader waiting for an LF: the last event of ours never does. */
export function withEnd(bytes: Buffer): Buffer {
  return bytes.at(-1) === CR ? Buffer.concat([bytes, NEWLINE]) : bytes;
}

/** The same event with other data: its other lines stay. */
export function withData(event: SseEvent, data: Buffer): Buffer {
  const kept = linesOf(event.bytes).filter((line) => line.length > 0 && !startsWith(line, "data"));
  return Buffer.concat([...kept.flatMap((line) => [line, NEWLINE]), dataLines(data), NEWLINE]);
}

/** The same event under another id. */
export function withId(event: SseEvent, id: string): SseEvent {
  const lines = linesOf(event.bytes).filter((line) => line.length > 0);
  const changed = lines.flatMap((line) => [startsWith(line, "id") ? Buffer.from(`id: ${id}`) : line, NEWLINE]);
  return { ...event, id, bytes: Buffer.concat([...changed, NEWLINE]) };
}

/** An event of our own. */
export function messageEvent(data: Buffer): Buffer {
  return Buffer.concat([Buffer.from("event: message\n"), dataLines(data), NEWLINE]);
}

function dataLines(data: Buffer): Buffer {
  const lines = data.includes(LF) || data.includes(CR) ? data.toString().split(/\r\n|\r|\n/) : [data];
  return Buffer.concat(lines.flatMap((line) => [Buffer.from("data: "), Buffer.from(line), NEWLINE]));
}

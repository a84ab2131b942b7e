/** Pure. One JSON-RPC message as one line: our id for the client's on the way out, and whose a broken line was on the way in. */
import { type Edit, splice } from "../../../json.ts";
import type { McpRequest } from "../../accept/request.ts";

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;

/** The received bytes with our id in place of the client's id and progress token, on one line. */
export function lineOf(request: McpRequest, id: number): Buffer {
  const replacement = Buffer.from(String(id));
  const spans = [request.idSpan, request.progressTokenSpan].filter((span) => span !== null);
  const edits: Edit[] = spans.map((span) => ({ ...span, replacement })).toSorted((a, b) => a.start - b.start);
  const end = request.body.length;
  const line = splice(request.body, [...edits, { start: end, end, replacement: Buffer.from("\n") }]);
  // Strict JSON has no raw line break inside a string: every one is white space between tokens.
  for (let i = 0; i < line.length - 1; i++) if (line[i] === LF || line[i] === CR) line[i] = SPACE;
  return withoutSeparators(line);
}

/** Line ends by Unicode, to Node's readline and Python's splitlines among others. JSON has them in strings alone, where the escape says the same. */
const SEPARATORS = ["\u0085", "\u2028", "\u2029"].map((each) => ({
  bytes: Buffer.from(each),
  spelling: Buffer.from(`\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`),
}));

function withoutSeparators(line: Buffer): Buffer {
  const edits: Edit[] = [];
  for (const { bytes, spelling } of SEPARATORS) {
    for (let at = line.indexOf(bytes); at !== -1; at = line.indexOf(bytes, at + bytes.length)) {
      edits.push({ start: at, end: at + bytes.length, replacement: spelling });
    }
  }
  return edits.length === 0
    ? line
    : splice(
        line,
        edits.toSorted((a, b) => a.start - b.start),
      );
}

const ID_FIRST = /^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*([0-9]{1,15})\s*,/;
const ID_LAST = /,\s*"id"\s*:\s*([0-9]{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$/;

/** The id in the two ends of a line that was too long to keep; NaN where it stands elsewhere. Good for failing a request, never for answering it. */
export function idOfEnds(ends: Buffer): number {
  const text = ends.toString("latin1");
  return Number(ID_FIRST.exec(text)?.[1] ?? ID_LAST.exec(text)?.[1] ?? Number.NaN);
}

/** The id of an answer that two parsers could read differently; NaN for a banner, a log line and other noise. */
export function idOfInvalid(line: Buffer): number {
  try {
    const message = JSON.parse(line.toString()) as { id?: unknown; method?: unknown } | null;
    return message !== null && message.method === undefined && typeof message.id === "number" ? message.id : Number.NaN;
  } catch {
    return Number.NaN;
  }
}

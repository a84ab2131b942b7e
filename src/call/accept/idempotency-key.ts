/** Pure. The key that a caller gives its call, so that a retry of it is known for one: from the header, from `_meta`, or from both. */
import { type JsonNode, stringValue } from "../../json.ts";
import { malformed, type Refusal, refuse } from "../../refusal.ts";
import type { Span } from "./request.ts";

export const KEY_MEMBER = "io.tollgate/idempotencyKey";

/** Visible ASCII characters: what a header and a JSON string can both hold without an encoding. 255 as other APIs take. */
const KEY = /^[!-~]{1,255}$/;
/** RFC 9651 section 3.3.3. */
const STRUCTURED = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/;
const WORDS = "Idempotency-Key: 1 to 255 visible ASCII characters, plain or as a string of RFC 9651";
const MEMBER_WORDS = `_meta["${KEY_MEMBER}"]: a string of 1 to 255 visible ASCII characters`;

/** Null: none was given. Both at once have to agree. */
export function keyIn(header: string | null, body: Buffer, node: JsonNode | undefined): string | null | Refusal {
  const ofHeader = header === null ? null : headerKey(header);
  if (ofHeader !== null && !KEY.test(ofHeader)) return wrong(-32600, WORDS);
  if (node === undefined) return ofHeader;
  const ofMeta = stringValue(body, node) ?? "";
  if (!KEY.test(ofMeta)) return wrong(-32602, MEMBER_WORDS);
  if (ofHeader !== null && ofHeader !== ofMeta) return refuse("header_mismatch", { header: "Idempotency-Key" });
  return ofMeta;
}

/** draft-ietf-httpapi-idempotency-key-header asks for a string of RFC 9651, in quotes; most clients send the bare text. Empty: neither. */
function headerKey(value: string): string {
  if (!value.startsWith('"')) return value;
  return (STRUCTURED.exec(value)?.[1] ?? "").replace(/\\(["\\])/g, "$1");
}

function wrong(code: -32600 | -32602, words: string): Refusal {
  return { ...malformed(code, words), facts: { invalid: words } };
}

/** What goes when the member goes: with the comma before it, or else behind it. Null: it is not there. */
export function keySpanIn(meta: JsonNode | undefined): Span | null {
  const members = meta?.members ?? [];
  const at = members.findIndex(({ name }) => name === KEY_MEMBER);
  const found = members[at];
  if (found === undefined) return null;
  const [before, after] = [members[at - 1], members[at + 1]];
  const start = before?.value.end ?? found.start;
  return { start, end: before === undefined && after !== undefined ? after.start : found.value.end };
}

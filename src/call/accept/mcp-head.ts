/** Pure. The head of a request to an MCP endpoint: method, media types, and which headers go on to the upstream. */
import { malformed, type Refusal, refuse } from "../../refusal.ts";
import type { Headers } from "./door.ts";
import { LEGACY_REVISIONS, MODERN_REVISION, nameMember } from "./methods.ts";
import type { Message, MessageHeaders } from "./parse.ts";
import type { Era } from "./request.ts";

export type McpHead = {
  readonly httpMethod: "POST" | "GET" | "DELETE";
  readonly era: Era;
  readonly messageHeaders: MessageHeaders;
  /** For GET and DELETE, which carry no message. */
  readonly bodyless: Message;
  readonly sessionId: string | null;
  readonly lastEventId: string | null;
  readonly accept: string;
};

/** Headers that MCP means for the server in every era; everything else stays here. */
const FORWARDED = new Set(["mcp-protocol-version", "traceparent", "tracestate", "baggage"]);
/** base64url: a server's id of 4 KiB at most, sealed by a gateway. */
const SESSION_ID = /^[A-Za-z0-9_-]{1,5500}$/;

export function judgeMcpHead(method: string, headers: Headers): McpHead | { refusal: Refusal; era: Era } {
  const protocolVersion = headers.get("mcp-protocol-version") ?? null;
  const era: Era = protocolVersion === MODERN_REVISION ? "modern" : "legacy";
  const refusal = judgeMethod(method, era) ?? (method === "POST" ? judgePost(headers) : judgeBodyless(method, headers, protocolVersion));
  if (refusal !== null) return { refusal, era };
  const sessionId = headers.get("mcp-session-id") ?? null;
  // A session id that no gateway seals cannot be anybody's session.
  if (era === "legacy" && sessionId !== null && !SESSION_ID.test(sessionId)) return { refusal: refuse("session_unknown"), era };
  return {
    httpMethod: method as McpHead["httpMethod"],
    era,
    messageHeaders: {
      protocolVersion,
      mcpMethod: headers.get("mcp-method") ?? null,
      mcpName: headers.get("mcp-name") ?? null,
      idempotencyKey: headers.get("idempotency-key") ?? null,
    },
    bodyless: { ...BODYLESS, course: method === "GET" ? "stream" : "end", revision: protocolVersion },
    sessionId,
    lastEventId: headers.get("last-event-id") ?? null,
    accept: headers.get("accept") ?? "",
  };
}

function judgeMethod(method: string, era: Era): Refusal | null {
  const allowed = era === "modern" ? ["POST"] : ["POST", "GET", "DELETE"];
  return allowed.includes(method) ? null : refuse("http_method", { allow: allowed.join(", ") });
}

function judgePost(headers: Headers): Refusal | null {
  if (headers.has("content-encoding")) return refuse("media_type", {}, "a content coding");
  if (!/^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i.test(headers.get("content-type") ?? "")) return refuse("media_type");
  return acceptsBoth(headers.get("accept") ?? "") ? null : refuse("not_acceptable");
}

/** A client says the same at every call, and taking it apart costs 15 us of a call's 600. Bounded: anybody may send anything. */
const judged = new Map<string, boolean>();
const JUDGED_MAX = 64;
const JUDGED_LENGTH_MAX = 256;

function acceptsBoth(accept: string): boolean {
  const before = judged.get(accept);
  if (before !== undefined) return before;
  const both = accepts(accept, "application/json") && accepts(accept, "text/event-stream");
  if (judged.size >= JUDGED_MAX) judged.clear();
  if (accept.length <= JUDGED_LENGTH_MAX) judged.set(accept, both);
  return both;
}

function judgeBodyless(method: string, headers: Headers, protocolVersion: string | null): Refusal | null {
  if (protocolVersion !== null && !LEGACY_REVISIONS.includes(protocolVersion)) {
    return malformed(-32600, "an unknown MCP-Protocol-Version");
  }
  return method === "GET" && !accepts(headers.get("accept") ?? "", "text/event-stream") ? refuse("not_acceptable") : null;
}

function accepts(accept: string, type: string): boolean {
  const [kind] = type.split("/");
  return accept.split(",").some((each) => {
    const [range, ...parameters] = each.split(";").map((part) => part.trim().toLowerCase());
    if (parameters.some((parameter) => /^q=0(\.0{0,3})?$/.test(parameter))) return false;
    return range === type || range === "*/*" || range === `${kind}/*`;
  });
}

/**
 * `Mcp-Method` and `Mcp-Name` go on only where they were compared with the body: what the upstream routes by is what was judged.
 * `Mcp-Param-*` must pass unknown (SEP-2243). The older era knows none of them.
 */
export function forwardedHeaders(headers: Headers, { era, method }: Pick<Message, "era" | "method">): Record<string, string> {
  const forwarded: Record<string, string> = Object.create(null);
  for (const [name, value] of headers) {
    const compared = (name === "mcp-method" && method !== null) || (name === "mcp-name" && method !== null && nameMember(method) !== null);
    if (FORWARDED.has(name) || (era === "modern" && (compared || name.startsWith("mcp-param-")))) forwarded[name] = value;
  }
  return forwarded;
}

const BODYLESS: Message = {
  course: "stream",
  era: "legacy",
  revision: null,
  method: null,
  idText: null,
  idSpan: null,
  target: null,
  targetSpan: null,
  argumentsSpan: null,
  progressTokenSpan: null,
  followUp: null,
  idempotencyKey: null,
  keySpan: null,
};

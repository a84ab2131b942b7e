/** Pure. How each no is said on the wire: the table of refusals turned into status, headers and body. */
import { type Facts, type Question, type Quota, type Refusal, WIRE, type Wire } from "../../refusal.ts";
import type { Course, Era } from "./request.ts";

export type RefusalMode = "jsonrpc" | "http" | "toolResult";

/** What the answer depends on beside the refusal. */
export type ReplyContext = {
  readonly mode: RefusalMode;
  readonly publicUrl: string;
  readonly server: string | null;
  readonly method: string | null;
  readonly course: Course | null;
  readonly era: Era | null;
  readonly idText: string | null;
  readonly callId: string;
};

export type Reply = { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string };

const JSON_TYPE = "application/json";
const PROBLEM_TYPE = "application/problem+json";

export function replyOf(refusal: Refusal, context: ReplyContext): Reply {
  const wire: Wire = WIRE[refusal.refused];
  const status = statusOf(refusal, wire, context);
  const headers = { ...challenge(refusal, context), ...hints(refusal, status) };
  if (refusal.question !== undefined && context.idText !== null) {
    return { status: 200, headers: { "content-type": JSON_TYPE }, body: questionResult(refusal.question, context) };
  }
  if (status === 200 && context.mode === "toolResult" && context.method === "tools/call" && context.idText !== null) {
    return { status, headers: { ...headers, "content-type": JSON_TYPE }, body: toolResult(refusal, context) };
  }
  if (wire.code === null || !hasError(context)) {
    return { status, headers: { ...headers, "content-type": PROBLEM_TYPE }, body: JSON.stringify(problemOf(refusal, status, context)) };
  }
  return { status, headers: { ...headers, "content-type": JSON_TYPE }, body: rpcError(refusal, status, context) };
}

/** The refusal as a stream's last message, once status and headers are out. */
export function rpcError(refusal: Refusal, status: number, context: ReplyContext): string {
  const wire: Wire = WIRE[refusal.refused];
  const code = refusal.code ?? wire.code ?? -32603;
  const error = { code, message: wire.title, data: problemOf(refusal, status, context) };
  return `{"jsonrpc":"2.0","id":${context.idText ?? "null"},"error":${JSON.stringify(error)}}`;
}

/** A bug of the gateway: nothing of it is told but the call's id. */
export function faultBody(context: ReplyContext): string {
  const error = {
    code: -32603,
    message: "Internal error",
    data: { type: "about:blank", title: "Internal error", status: 500, call_id: context.callId },
  };
  return `{"jsonrpc":"2.0","id":${context.idText ?? "null"},"error":${JSON.stringify(error)}}`;
}

function statusOf(refusal: Refusal, wire: Wire, { mode, course, era, idText }: ReplyContext): number {
  // Clients fall back to the older era on 200 + error at a handshake, and without an id there is no error to carry the no.
  if (course === "handshake" || idText === null) return wire.http;
  // Up to 2025-11-25 a 404 ends the session, so an unknown method is said with 200 in every mode.
  if (refusal.refused === "method_unknown" && era === "legacy") return 200;
  return mode === "http" ? wire.http : wire.status;
}

const MESSAGELESS: ReadonlySet<Course | null> = new Set(["notification", "response", "stream", "end"]);

/**
 * True where a JSON-RPC error can be said: with the id, or with `null` where a POST to an MCP route could not be read that far
 * (JSON-RPC 2.0 section 5). GET, DELETE, notifications and other routes get the problem alone.
 */
function hasError({ idText, course, server }: ReplyContext): boolean {
  return idText !== null || (server !== null && !MESSAGELESS.has(course));
}

/** Whatever the cause, an unknown name is told in the same bytes: a fact would tell which of them it was. */
const SECRETIVE: ReadonlySet<string> = new Set(["tool_unknown", "task_unknown", "server_unknown"]);

function factsOf({ refused, facts }: Refusal): Facts {
  return SECRETIVE.has(refused) ? {} : facts;
}

type Problem = Facts & { type: string; title: string; status: number; detail: string; reason: string; call_id: string };

function problemOf(refusal: Refusal, status: number, { publicUrl, callId }: ReplyContext): Problem {
  const { title, remedy } = WIRE[refusal.refused];
  return {
    type: `${publicUrl}/problems/${refusal.refused}`,
    title,
    status,
    detail: remedy,
    reason: refusal.refused,
    call_id: callId,
    ...factsOf(refusal),
  };
}

function toolResult(refusal: Refusal, { idText, era, callId }: ReplyContext): string {
  const { title, remedy } = WIRE[refusal.refused];
  const { resets_at, budget, limit_name, retry_after_ms = 0, approval_id, of, code, first_call, hint } = factsOf(refusal);
  const facts = [
    ...[budget && `budget ${budget}`, resets_at && `resets at ${resets_at}`, approval_id && `approval ${approval_id}`],
    ...[limit_name && `limit ${limit_name}`, limit_name && `again in ${Math.max(1, Math.ceil(retry_after_ms / 1000))} s`],
    ...[first_call && `call ${first_call.call_id}, ${first_call.outcome ?? "its fate is unknown"}`],
    ...[of && `the ${of}`, code && `code ${code}`, hint],
  ]
    .filter(Boolean)
    .join(", ");
  const text = `${title}${facts === "" ? "" : ` (${facts})`}. ${remedy} [${refusal.refused}, ${callId}]`;
  const result = { content: [{ type: "text", text }], isError: true, ...(era === "modern" ? { resultType: "complete" } : {}) };
  return `{"jsonrpc":"2.0","id":${idText ?? "null"},"result":${JSON.stringify(result)}}`;
}

/** SEP-2322: the client asks its user, and repeats the request with the answer and the state. */
function questionResult({ message, key, requestState }: Question, { idText }: ReplyContext): string {
  const params = { mode: "form", message, requestedSchema: { type: "object", properties: {} } };
  const inputRequests = { [key]: { method: "elicitation/create", params } };
  return `{"jsonrpc":"2.0","id":${idText ?? "null"},"result":${JSON.stringify({ resultType: "input_required", inputRequests, requestState })}}`;
}

/** RFC 6750 section 3, RFC 9728 section 5.1. A challenge only where another token would help. */
function challenge(refusal: Refusal, { publicUrl, server }: ReplyContext): Record<string, string> {
  const path = server === null ? "" : server === "" ? "/mcp" : `/mcp/${server}`;
  const metadata = `resource_metadata="${publicUrl}/.well-known/oauth-protected-resource${path}"`;
  const scope = `scope="${refusal.facts.scope ?? "mcp"}"`;
  switch (refusal.refused) {
    case "credential_missing":
      return { "www-authenticate": `Bearer ${metadata}, ${scope}` };
    case "credential_invalid":
      return { "www-authenticate": `Bearer ${metadata}, error="invalid_token"` };
    case "scope_insufficient":
      return { "www-authenticate": `Bearer error="insufficient_scope", ${scope}, ${metadata}` };
    default:
      return {};
  }
}

function hints(refusal: Refusal, status: number): Record<string, string> {
  const { retry_after_ms, resets_at, allow } = factsOf(refusal);
  const headers: Record<string, string> = {};
  if (allow !== undefined) headers.allow = allow;
  if (retry_after_ms !== undefined) headers["retry-after"] = String(Math.max(1, Math.ceil(retry_after_ms / 1000)));
  else if (status === 503) headers["retry-after"] = "1";
  // RFC 9110 section 10.2.3 takes a date as well, and this file has no clock.
  else if (status === 429 && resets_at !== undefined) headers["retry-after"] = new Date(resets_at).toUTCString();
  return { ...headers, ...rateLimitOf(refusal.quotas ?? []) };
}

/** draft-ietf-httpapi-ratelimit-headers-10: lists of Strings with parameters (RFC 9651). A limit's name holds no quote. */
function rateLimitOf(quotas: readonly Quota[]): Record<string, string> {
  if (quotas.length === 0) return {};
  const seconds = (ms: number) => Math.max(1, Math.ceil(ms / 1000));
  const policies = quotas.map(({ name, quota, windowMs, burst }) => {
    if (windowMs === null) return `"${name}";q=${quota};qu="concurrent-requests"`;
    // A parameter of our own, which the draft lets others take as a comment.
    return `"${name}";q=${quota};w=${seconds(windowMs)}${burst === undefined ? "" : `;burst=${burst}`}`;
  });
  const states = quotas.map(({ name, left, resetMs }) => `"${name}";r=${left}${resetMs === null ? "" : `;t=${seconds(resetMs)}`}`);
  return { "ratelimit-policy": policies.join(", "), ratelimit: states.join(", ") };
}

/** Pure. What arrived, parsed once: bytes that passed the strict scan, and where in them each part stands. */
import type { CallId, ServerName } from "../../ids.ts";

/** Half-open byte offsets into `McpRequest.body`. */
export type Span = { readonly start: number; readonly end: number };

/** modern = 2026-07-28 (self-describing, stateless); legacy = 2025-11-25 and older (initialize, sessions). */
export type Era = "modern" | "legacy";

/** What a message is about; policies address it as `server/name`, `prompt:server/name`, `resource:server/uri`, `method:server/method`. */
export type Target =
  | { readonly kind: "tool"; readonly name: string }
  | { readonly kind: "prompt"; readonly name: string }
  | { readonly kind: "resource"; readonly name: string }
  | { readonly kind: "method"; readonly name: string };

/** What an element of a list stands for. */
export type Listed = Target | { readonly kind: "task"; readonly name: string };

/**
 * How the life of a message branches:
 * - `metered`: tools/call, resources/read, prompts/get, completion/complete: policed, held, permitted, settled;
 * - `list`: tools/list, prompts/list, resources/list, resources/templates/list, tasks/list: free, filtered to what is callable;
 * - `task`: tasks/get, tasks/result, tasks/update, tasks/cancel: policed by the call that made the task, free but for its result;
 * - `handshake`: initialize, server/discover, ping: free, never refused for rate or budget;
 * - `other`: any other request (logging/setLevel, resources/subscribe, unknown): free, policed by its target;
 * - `notification`, `response`: no id to answer (202); `stream`: GET; `end`: DELETE.
 */
export type Course = "metered" | "list" | "task" | "handshake" | "other" | "notification" | "response" | "stream" | "end";

/** `requestState` as its text reads, or null where the server gave none. */
export type FollowUp = { readonly requestState: string | null };

export type McpRequest = {
  readonly callId: CallId;
  /** Wall clock, milliseconds since the epoch, when the head was complete. */
  readonly receivedAtMs: number;
  /** Monotonic milliseconds (performance.now) of the same instant; durations come from this one only. */
  readonly receivedMonoMs: number;
  /** The server that is meant; until a view's request is addressed, the name in the route, empty for `/mcp`. */
  readonly server: ServerName;
  /** `/mcp` or `/mcp/{view}` where it came to several servers as one; null: to this server's own route. */
  readonly view: string | null;
  readonly httpMethod: "POST" | "GET" | "DELETE";
  readonly course: Course;
  readonly era: Era;
  /** The MCP revision: header and `_meta` (agreed) in the modern era; header, or null when absent, in the legacy era. */
  readonly revision: string | null;
  /** JSON-RPC method, or null for a response, GET and DELETE. */
  readonly method: string | null;
  /** The id exactly as it stands in the body (`7`, `"a"`), or null where there is none. */
  readonly idText: string | null;
  readonly idSpan: Span | null;
  readonly target: Target | null;
  /** Span of `params.name` or `params.uri` including its quotes. */
  readonly targetSpan: Span | null;
  /** Received bytes of `params.arguments` (an object), or null. */
  readonly argumentsSpan: Span | null;
  /** `params._meta.progressToken` as it stands, or null. */
  readonly progressTokenSpan: Span | null;
  /** Set where the request answers an `input_required` (multi round-trip requests, SEP-2322) of the modern era. */
  readonly followUp: FollowUp | null;
  /** What the caller calls this call, so that its retry is known for one; null: nothing. Never logged, recorded or forwarded. */
  readonly idempotencyKey: string | null;
  readonly body: Buffer;
  /** Value of the one Authorization header, or null. A secret: never logged, never forwarded. */
  readonly authorization: string | null;
  /** As the client holds it, sealed; from the permit on its server's own, which no client sees. */
  readonly sessionId: string | null;
  readonly lastEventId: string | null;
  /** By the event that it resumes: the call whose stream it goes on with. */
  readonly resumes?: ResumedCall;
  readonly accept: string;
  /** Request headers that MCP lets through to the upstream (Mcp-Method, Mcp-Name, Mcp-Param-*, traceparent, ...), lower-case names. */
  readonly forwarded: Readonly<Record<string, string>>;
  readonly userAgent: string | null;
  readonly remoteAddress: string;
};

/** `idTag`: of the id that its client gave it, in the words of `stream-tag.ts`. */
export type ResumedCall = { readonly callId: CallId; readonly idTag: string };

/** What is known of a request that was refused before it became one; control characters removed, texts cut. */
export type RequestSketch = {
  readonly callId: CallId;
  readonly receivedAtMs: number;
  readonly receivedMonoMs: number;
  readonly httpMethod: string;
  readonly path: string;
  readonly server: string | null;
  readonly method: string | null;
  readonly era: Era | null;
  readonly revision: string | null;
  readonly idText: string | null;
  readonly userAgent: string | null;
  readonly remoteAddress: string;
};

/** The bytes of `params.arguments`, or of an empty object: what rules judge is what the upstream gets. */
export function argumentsOf(request: Pick<McpRequest, "argumentsSpan" | "body">): Buffer {
  const span = request.argumentsSpan;
  return span === null ? EMPTY_OBJECT : request.body.subarray(span.start, span.end);
}

const EMPTY_OBJECT = Buffer.from("{}");

/** What is counted of a request: the name and the arguments that a model wrote. One that asks for a task repeats nothing of it. */
export function inputTextsOf(request: McpRequest): string[] {
  return request.course === "metered" ? [request.target?.name ?? "", argumentsOf(request).toString()] : [];
}

/** How a policy names a target (decisions.md: the grammar of patterns). */
export function pathOf(server: string, target: Target): string {
  return target.kind === "tool" ? `${server}/${target.name}` : `${target.kind}:${server}/${target.name}`;
}

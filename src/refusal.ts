/** Pure. Every way Tollgate says no, in one table: exact inside, kind outside. A forgotten row does not compile. */

/** What the caller may know about a refusal; members of the RFC 9457 problem. Never a policy's inside, never a secret. */
export type Facts = {
  readonly scope?: string;
  readonly budget?: string;
  /** What the budget itself has to say to whoever has used it up. */
  readonly hint?: string;
  readonly meter?: string;
  readonly resets_at?: string;
  readonly remaining?: number;
  readonly required?: number;
  readonly retry_after_ms?: number;
  readonly supported?: readonly string[];
  readonly requested?: string;
  readonly allow?: string;
  readonly header?: string;
  readonly limit?: number;
  /** Of the policies' limits, the one that says no. */
  readonly limit_name?: string;
  readonly upstream_status?: number;
  /** A guard's own short word for why. */
  readonly code?: string;
  /** What a guard has refused: with the result, the call was made. */
  readonly of?: "arguments" | "result";
  /** The question to a person that this call waits for. */
  readonly approval_id?: string;
  /** Which member of a posted body is wrong, and what it must be: fixed words. */
  readonly invalid?: string;
  /** The call that this one repeats. */
  readonly first_call?: FirstCall;
  /** MCP 2026-07-28, as -32021 names what the client has to declare. */
  readonly requiredCapabilities?: { readonly extensions: Readonly<Record<string, object>> };
};

/** What a retry may know of the call that it repeats. Null: not known. */
export type FirstCall = {
  readonly call_id: string;
  /** `unknown`: it may have been carried out; it is charged as held, and not carried out again by itself. */
  readonly fate: "known" | "unknown";
  readonly outcome: string | null;
  readonly usage: Readonly<Record<string, number>> | null;
  /** RFC 3339, UTC: until when the key is taken. */
  readonly key_expires_at: string;
};

/** Where a rule stands in the policy files. */
export type RuleRef = { readonly name: string; readonly file: string; readonly line: number };

/** A value, never thrown (a thrown refusal costs 5,158 ns, a returned one 24). `note` is for our own record and log only. */
export type Refusal = {
  readonly refused: Reason;
  readonly facts: Facts;
  readonly note: string | null;
  /** Set only where one reason has several JSON-RPC codes (`request_malformed`); otherwise the row's code counts. */
  readonly code: number | null;
  /** The rule that says no, for our own record; null where none does. */
  readonly rule: RuleRef | null;
  /** How the limit that says no stands, for the RateLimit fields. */
  readonly quotas?: readonly Quota[];
  /** Set where the client can put a question to its user in place of the error (multi round-trip requests, MCP 2026-07-28). */
  readonly question?: Question;
};

/** One window of a limit, or its places (draft-ietf-httpapi-ratelimit-headers). Null: of places there is no window, and nobody knows when one is free. */
export type Quota = {
  readonly name: string;
  readonly quota: number;
  readonly windowMs: number | null;
  /** As many at once, where that is not `quota`. */
  readonly burst?: number;
  readonly left: number;
  readonly resetMs: number | null;
};

/** One form without fields: the user is told something, and continues or does not. */
export type Question = { readonly message: string; readonly key: string; readonly requestState: string };

export function refuse(reason: Reason, facts: Facts = NO_FACTS, note: string | null = null, rule: RuleRef | null = null): Refusal {
  return { refused: reason, facts, note, code: null, rule };
}

/** JSON-RPC 2.0 section 5.1: -32700 unreadable, -32600 not a request, -32602 params that the revision requires are missing. */
export function malformed(code: -32700 | -32600 | -32602, note: string): Refusal {
  return { refused: "request_malformed", facts: NO_FACTS, note, code, rule: null };
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === "object" && value !== null && "refused" in value;
}

/**
 * One row of contract section 7. `code` null: the answer is `application/problem+json`, never a JSON-RPC error.
 * `status` is used with `refusals: jsonrpc`, `http` with `refusals: http` and wherever there is no id to answer.
 */
export type Wire = {
  readonly status: number;
  readonly code: number | null;
  readonly http: number;
  readonly title: string;
  readonly remedy: string;
};

const row = (status: number, code: number | null, http: number, title: string, remedy: string): Wire => ({
  status,
  code,
  http,
  title,
  remedy,
});

const NO_FACTS: Facts = Object.freeze({});

export const WIRE = {
  credential_missing: row(
    401,
    null,
    401,
    "An access token is required",
    "Obtain an access token from the authorization server that the challenge names, for this resource.",
  ),
  credential_invalid: row(
    401,
    null,
    401,
    "The access token is not valid here",
    "Obtain a new access token whose audience is exactly this route.",
  ),
  scope_insufficient: row(
    403,
    null,
    403,
    "The access token lacks a scope that this call needs",
    "Request a token with all the scopes of the challenge.",
  ),
  origin_forbidden: row(
    403,
    null,
    403,
    "This Origin is not allowed",
    "Call from an origin in listen.allowedOrigins, or without an Origin header.",
  ),
  host_unknown: row(
    421,
    null,
    421,
    "This Host is not served here",
    "Use the gateway's public URL, or add the host to listen.allowedHosts.",
  ),
  route_unknown: row(404, null, 404, "There is nothing at this path", "Use /mcp or /mcp/{server}."),
  http_method: row(405, null, 405, "This HTTP method is not allowed here", "Use a method of the Allow header."),
  not_acceptable: row(406, null, 406, "The client does not accept what MCP answers", "Send Accept: application/json, text/event-stream."),
  request_timeout: row(408, null, 408, "The request did not arrive in time", "Send the whole request within the limits."),
  request_malformed: row(400, -32600, 400, "The request is malformed", "Send one JSON-RPC message that every JSON parser reads alike."),
  header_mismatch: row(
    400,
    -32020,
    400,
    "A header disagrees with the body",
    "Make MCP-Protocol-Version, Mcp-Method and Mcp-Name equal to the body.",
  ),
  revision_unsupported: row(400, -32022, 400, "This protocol revision is not supported", "Use one of the supported revisions."),
  capability_missing: row(400, -32021, 400, "The request needs a capability that the client did not declare", "Declare the capability."),
  method_unknown: row(
    404,
    -32601,
    404,
    "This method is not known here",
    "Use a method of the protocol revision, or ask for a method: permit.",
  ),
  request_too_large: row(413, null, 413, "The request is too large", "Send at most the documented number of bytes."),
  media_type: row(
    415,
    null,
    415,
    "The content type or coding is not supported",
    "Send application/json in UTF-8, without a content coding.",
  ),
  session_unknown: row(404, null, 404, "This session does not exist here", "Start a new session with initialize."),
  server_unknown: row(
    404,
    null,
    404,
    "There is no such server for this agent",
    "Check the server's name, or ask its operator for an entitlement.",
  ),
  tool_unknown: row(200, -32602, 404, "Unknown tool", "Use a tool of tools/list."),
  task_unknown: row(200, -32602, 404, "Unknown task", "Use the id of a task that a call of your own was answered with."),
  approval_required: row(200, 40330, 403, "A person has to approve this call", "Make the same call again once it is approved."),
  approval_denied: row(200, 40331, 403, "A person has denied this call", "Do not repeat it; after retry_after_ms the same call asks anew."),
  call_unknown: row(404, null, 404, "Unknown call", "Use the id of a call of your own that has ended."),
  arguments_denied: row(
    200,
    40301,
    403,
    "These arguments are not permitted",
    "Call with arguments within the policy, or ask the operator.",
  ),
  tool_changed: row(
    200,
    40303,
    403,
    "This tool is not what was approved",
    "Read tools/list again; the tool is back once the operator has approved its new definition.",
  ),
  entitlement_denied: row(200, 40302, 403, "This call is not permitted", "Ask the operator for an entitlement."),
  content_refused: row(
    200,
    40304,
    403,
    "A guard does not let this content pass",
    "Leave out what the code names. Where the arguments were refused, nothing was called; where the result was, the call was made and is charged.",
  ),
  agent_suspended: row(200, 40310, 403, "This agent is suspended", "Ask the agent's owner to have it reinstated."),
  agent_revoked: row(200, 40311, 403, "This agent is revoked", "Register a new agent; a revocation is final."),
  agent_unknown: row(200, 40313, 403, "This identity is not a registered agent", "Ask the operator to register the agent."),
  rate_limited: row(200, 42901, 429, "Too many calls in too short a time", "Wait as long as told (retry_after_ms) before the next call."),
  loop_detected: row(
    200,
    42903,
    429,
    "The same call was made over and over",
    "Do not repeat it: do something else. It passes again once it has been left alone for as long as told (retry_after_ms).",
  ),
  concurrency_limited: row(200, 42902, 429, "Too many requests of this agent are under way", "Wait until one of them is answered."),
  access_requests_full: row(429, null, 429, "Too many requests for a right are undecided", "Wait until one of them is decided."),
  budget_exhausted: row(200, 42910, 429, "The budget is used up", "Wait until it resets, or ask the budget's owner."),
  budget_insufficient: row(
    200,
    40321,
    403,
    "The budget has less left than this call may need",
    "Make a smaller call, or wait until it resets.",
  ),
  result_over_budget: row(
    200,
    40322,
    403,
    "The result is larger than the budget can carry",
    "The call was made and is charged; ask for a smaller result.",
  ),
  idempotency_mismatch: row(
    200,
    42201,
    422,
    "This idempotency key belongs to a different call",
    "Use a new key for a new call; a retry repeats method, name and arguments.",
  ),
  idempotency_in_flight: row(
    200,
    40901,
    409,
    "The call with this idempotency key is still under way",
    "Wait retry_after_ms and repeat the call with the same key to hear how it ended.",
  ),
  idempotency_settled: row(
    200,
    40902,
    409,
    "The call with this idempotency key has ended",
    "It was not made again: first_call tells how it ended. Use a new key to make the call anew.",
  ),
  exchange_failed: row(
    200,
    50202,
    502,
    "The gateway could not obtain its own token for the server",
    "Tell the operator: the server's credential needs attention.",
  ),
  upstream_unreachable: row(200, 50201, 502, "The server behind the gateway cannot be reached", "Try again later."),
  upstream_timeout: row(
    200,
    50401,
    504,
    "The server behind the gateway did not answer in time",
    "Try again later; the call may have been carried out.",
  ),
  upstream_invalid: row(
    200,
    50203,
    502,
    "The server behind the gateway gave an answer that is not MCP",
    "Tell the operator of the server.",
  ),
  store_unavailable: row(503, 50301, 503, "The gateway cannot record or count calls now, so it makes none", "Try again later."),
  overloaded: row(503, 50302, 503, "The gateway has no room for this call now", "Try again later."),
} as const satisfies Record<string, Wire>;

export type Reason = keyof typeof WIRE;

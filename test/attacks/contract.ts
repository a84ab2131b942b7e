/** Pure. How the contract says that each refusal is said, written down apart from the gateway's own table: a wrong row there shows here. */

export const MODES = ["jsonrpc", "http", "toolResult"] as const;
export type Mode = (typeof MODES)[number];

/** `refusals: jsonrpc`: status, JSON-RPC code (null: a problem document); then the status with `refusals: http`. */
const ROWS = {
  credential_missing: [401, null, 401],
  credential_invalid: [401, null, 401],
  scope_insufficient: [403, null, 403],
  origin_forbidden: [403, null, 403],
  host_unknown: [421, null, 421],
  route_unknown: [404, null, 404],
  http_method: [405, null, 405],
  not_acceptable: [406, null, 406],
  request_timeout: [408, null, 408],
  // Its code is one of three (JSON-RPC 2.0 section 5.1), so each attack names its own.
  request_malformed: [400, -32600, 400],
  header_mismatch: [400, -32020, 400],
  revision_unsupported: [400, -32022, 400],
  capability_missing: [400, -32021, 400],
  method_unknown: [404, -32601, 404],
  request_too_large: [413, null, 413],
  media_type: [415, null, 415],
  session_unknown: [404, null, 404],
  server_unknown: [404, null, 404],
  tool_unknown: [200, -32602, 404],
  // Identical for a task of another and one that never was.
  task_unknown: [200, -32602, 404],
  arguments_denied: [200, 40301, 403],
  entitlement_denied: [200, 40302, 403],
  exchange_failed: [200, 50202, 502],
  upstream_unreachable: [200, 50201, 502],
  upstream_timeout: [200, 50401, 504],
  upstream_invalid: [200, 50203, 502],
  overloaded: [503, 50302, 503],
} as const satisfies Record<string, readonly [number, number | null, number]>;

export type RefusalReason = keyof typeof ROWS;
export const REASONS = Object.keys(ROWS) as [RefusalReason, ...RefusalReason[]];

/**
 * What was refused: `call` is tools/call, `handshake` is initialize, server/discover or ping, `request` any other message with an id,
 * `bodyless` what has no id to answer (GET, DELETE, notifications, another route).
 */
export const SUBJECTS = ["call", "request", "handshake", "bodyless"] as const;
export type Subject = (typeof SUBJECTS)[number];

/** `form` says where the reason stands: a problem document, a JSON-RPC error, a tool's result. */
export type Told = { readonly status: number; readonly code: number | null; readonly form: "problem" | "error" | "result" };

/** Once a stream has begun, its last message says the no that a status can no longer say: a JSON-RPC error in every mode. */
export function toldInStream(reason: RefusalReason): Told {
  return { status: 200, code: ROWS[reason][1], form: "error" };
}

export function toldIn(mode: Mode, reason: RefusalReason, subject: Subject, era: "modern" | "legacy", ownCode: number | null): Told {
  const [status, code, http] = ROWS[reason];
  const inMode = mode === "http" || subject === "handshake" || subject === "bodyless" ? http : status;
  // Up to 2025-11-25 a 404 ends the session there.
  const said = reason === "method_unknown" && era === "legacy" && subject !== "bodyless" ? 200 : inMode;
  if (said === 200 && mode === "toolResult" && subject === "call") return { status: 200, code: null, form: "result" };
  if (code === null || subject === "bodyless") return { status: said, code: null, form: "problem" };
  return { status: said, code: ownCode ?? code, form: "error" };
}

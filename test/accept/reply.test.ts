import { expect, test } from "vitest";
import { faultBody, type RefusalMode, type ReplyContext, replyOf } from "../../src/call/accept/reply.ts";
import { type Facts, malformed, type Reason, refuse, WIRE, type Wire } from "../../src/refusal.ts";

const MODES: readonly RefusalMode[] = ["jsonrpc", "http", "toolResult"];
const REASONS = Object.keys(WIRE) as Reason[];
const CALL: ReplyContext = {
  mode: "jsonrpc",
  publicUrl: "https://gate.example",
  server: "tickets",
  method: "tools/call",
  course: "metered",
  era: "modern",
  idText: '"a1"',
  callId: "call_1",
};
const wire = (reason: Reason): Wire => WIRE[reason];
const problemIn = (body: string) => {
  const parsed = JSON.parse(body);
  return parsed.error?.data ?? parsed;
};

/** Contract section 7, read by a person: reason -> status and code in jsonrpc, status in http. */
const CONTRACT: Readonly<Record<Reason, readonly [number, number | null, number]>> = {
  credential_missing: [401, null, 401],
  credential_invalid: [401, null, 401],
  scope_insufficient: [403, null, 403],
  origin_forbidden: [403, null, 403],
  host_unknown: [421, null, 421],
  route_unknown: [404, null, 404],
  http_method: [405, null, 405],
  not_acceptable: [406, null, 406],
  request_timeout: [408, null, 408],
  request_malformed: [400, -32600, 400],
  header_mismatch: [400, -32020, 400],
  revision_unsupported: [400, -32022, 400],
  capability_missing: [400, -32021, 400],
  method_unknown: [404, -32601, 404],
  request_too_large: [413, null, 413],
  media_type: [415, null, 415],
  session_unknown: [404, null, 404],
  server_unknown: [404, null, 404],
  tool_unknown: [200, -32602, WIRE.tool_unknown.http],
  task_unknown: [200, -32602, WIRE.task_unknown.http],
  call_unknown: [404, null, 404],
  rate_limited: [200, 42901, 429],
  concurrency_limited: [200, 42902, 429],
  loop_detected: [200, 42903, 429],
  access_requests_full: [429, null, 429],
  approval_required: [200, 40330, 403],
  approval_denied: [200, 40331, 403],
  arguments_denied: [200, 40301, 403],
  entitlement_denied: [200, 40302, 403],
  tool_changed: [200, 40303, 403],
  content_refused: [200, 40304, 403],
  agent_suspended: [200, 40310, 403],
  agent_revoked: [200, 40311, 403],
  agent_unknown: [200, 40313, 403],
  budget_exhausted: [200, 42910, 429],
  budget_insufficient: [200, 40321, 403],
  result_over_budget: [200, 40322, 403],
  idempotency_mismatch: [200, 42201, 422],
  idempotency_in_flight: [200, 40901, 409],
  idempotency_settled: [200, 40902, 409],
  exchange_failed: [200, 50202, 502],
  upstream_unreachable: [200, 50201, 502],
  upstream_timeout: [200, 50401, 504],
  upstream_invalid: [200, 50203, 502],
  store_unavailable: [503, 50301, 503],
  overloaded: [503, 50302, 503],
};

for (const mode of MODES) {
  test.each(REASONS)(`${mode}: %s to a tool call has the status, code and problem of its row`, (reason) => {
    const [status, code, http] = CONTRACT[reason];
    const reply = replyOf(refuse(reason), { ...CALL, mode });
    expect(reply.status).toBe(mode === "http" ? http : status);
    if (mode === "toolResult" && status === 200) {
      const { result, id, error } = JSON.parse(reply.body);
      expect([id, error, result.isError, result.resultType, result.content.length]).toEqual(["a1", undefined, true, "complete", 1]);
      expect(result.content[0].text).toContain(wire(reason).remedy);
      expect(result.content[0].text).toContain("call_1");
      return;
    }
    const parsed = JSON.parse(reply.body);
    expect(reply.headers["content-type"]).toBe(code === null ? "application/problem+json" : "application/json");
    expect(parsed.error?.code ?? null).toBe(code);
    expect(parsed.id).toBe(code === null ? undefined : "a1");
    expect(problemIn(reply.body)).toEqual({
      type: `https://gate.example/problems/${reason}`,
      title: wire(reason).title,
      status: reply.status,
      detail: wire(reason).remedy,
      reason,
      call_id: "call_1",
    });
  });

  test.each(REASONS)(`${mode}: %s to a handshake takes the http column`, (reason) => {
    for (const method of ["initialize", "server/discover", "ping"]) {
      const reply = replyOf(refuse(reason), { ...CALL, mode, method, course: "handshake" });
      expect(reply.status).toBe(wire(reason).http);
      expect(JSON.parse(reply.body).result).toBeUndefined();
    }
  });

  test.each(REASONS)(`${mode}: %s to what has no id takes the http column and a problem document`, (reason) => {
    for (const course of ["notification", "response", "stream", "end"] as const) {
      const reply = replyOf(refuse(reason), { ...CALL, mode, course, method: null, idText: null });
      expect([reply.status, reply.headers["content-type"]]).toEqual([wire(reason).http, "application/problem+json"]);
      expect(JSON.parse(reply.body)).toMatchObject({ reason, status: wire(reason).http });
    }
  });

  test.each(REASONS)(`${mode}: %s never says a note, and a method that is no tool call never gets a result`, (reason) => {
    const note = "policy support-reads-tickets line 12";
    expect(replyOf(refuse(reason, {}, note), { ...CALL, mode }).body).not.toContain("support-reads");
    expect(JSON.parse(replyOf(refuse(reason), { ...CALL, mode, method: "resources/read" }).body).result).toBeUndefined();
  });
}

test("a body that could not be read is answered with its code and the id null", () => {
  const unread = { ...CALL, course: null, method: null, idText: null };
  const reply = replyOf(malformed(-32700, "bytes"), unread);
  expect([reply.status, reply.headers["content-type"]]).toEqual([400, "application/json"]);
  expect(JSON.parse(reply.body)).toMatchObject({
    jsonrpc: "2.0",
    id: null,
    error: { code: -32700, data: { reason: "request_malformed" } },
  });
  const elsewhere = replyOf(malformed(-32600, "two hosts"), { ...unread, server: null });
  expect(elsewhere.headers["content-type"]).toBe("application/problem+json");
});

test("an unknown method is 404 in the newer era and 200 in the older one, where 404 would end a session", () => {
  for (const mode of MODES) {
    const status = (era: "modern" | "legacy") =>
      replyOf(refuse("method_unknown"), { ...CALL, mode, era, method: "x/y", course: "other" }).status;
    expect([status("modern"), status("legacy")]).toEqual([404, 200]);
  }
});

test("the id is echoed byte for byte", () => {
  const reply = replyOf(refuse("entitlement_denied"), { ...CALL, idText: "9007199254740993" });
  expect(reply.body.startsWith('{"jsonrpc":"2.0","id":9007199254740993,"error":')).toBe(true);
});

test("an unknown tool is told in identical bytes whatever the cause", () => {
  const facts: Facts[] = [{}, { scope: "tickets.read" }, { budget: "b", resets_at: "2026-12-01T00:00:00Z", retry_after_ms: 5 }];
  for (const mode of MODES) {
    const replies = facts.map((each) => JSON.stringify(replyOf(refuse("tool_unknown", each, "forbidden"), { ...CALL, mode })));
    expect(new Set(replies).size).toBe(1);
  }
});

test("challenges name the metadata of the route and what would help", () => {
  const metadata = 'resource_metadata="https://gate.example/.well-known/oauth-protected-resource/mcp/tickets"';
  const challenge = (reason: Reason, facts: Facts = {}, context: Partial<ReplyContext> = {}) =>
    replyOf(refuse(reason, facts), { ...CALL, ...context }).headers["www-authenticate"];
  expect(challenge("credential_missing")).toBe(`Bearer ${metadata}, scope="mcp"`);
  expect(challenge("credential_missing", { scope: "mcp tickets.read" })).toBe(`Bearer ${metadata}, scope="mcp tickets.read"`);
  expect(challenge("credential_invalid")).toBe(`Bearer ${metadata}, error="invalid_token"`);
  expect(challenge("scope_insufficient", { scope: "a b" })).toBe(`Bearer error="insufficient_scope", scope="a b", ${metadata}`);
  for (const reason of REASONS.filter((each) => !/^(credential_|scope_)/.test(each)))
    expect(challenge(reason, { scope: "a" })).toBeUndefined();
});

test("Retry-After stands where waiting helps", () => {
  const after = (reason: Reason, facts: Facts, mode: RefusalMode = "http") =>
    replyOf(refuse(reason, facts), { ...CALL, mode }).headers["retry-after"];
  expect(after("store_unavailable", {})).toBe("1");
  expect(after("overloaded", { retry_after_ms: 2_500 })).toBe("3");
  expect(after("budget_exhausted", { retry_after_ms: 60_000 })).toBe("60");
  expect(after("budget_exhausted", { resets_at: "2026-12-01T00:00:00.000Z" })).toBe("Tue, 01 Dec 2026 00:00:00 GMT");
  expect(after("entitlement_denied", {})).toBeUndefined();
});

test("the facts of a budget are in the problem and in the sentence for a model", () => {
  const refusal = refuse("budget_exhausted", { budget: "support-month", remaining: 3, resets_at: "2026-12-01T00:00:00Z" });
  expect(problemIn(replyOf(refusal, CALL).body)).toMatchObject({
    budget: "support-month",
    remaining: 3,
    resets_at: "2026-12-01T00:00:00Z",
  });
  const { result } = JSON.parse(replyOf(refusal, { ...CALL, mode: "toolResult" }).body);
  expect(result.content[0].text).toContain("support-month");
  expect(result.content[0].text).toContain("2026-12-01T00:00:00Z");
});

test("resultType belongs to the newer era only", () => {
  const { result } = JSON.parse(replyOf(refuse("entitlement_denied"), { ...CALL, mode: "toolResult", era: "legacy" }).body);
  expect(result).not.toHaveProperty("resultType");
});

test("Allow names the methods", () => {
  expect(replyOf(refuse("http_method", { allow: "POST" }), { ...CALL, idText: null }).headers.allow).toBe("POST");
});

test("codes of our own stay outside what JSON-RPC and MCP reserve", () => {
  for (const reason of REASONS) {
    const { code } = wire(reason);
    if (code !== null && code < 0) expect([-32600, -32601, -32602, -32020, -32021, -32022]).toContain(code);
    else if (code !== null) expect(code).toBeGreaterThan(40_000);
  }
});

test("a fault tells nothing but the call's id", () => {
  expect(JSON.parse(faultBody(CALL))).toEqual({
    jsonrpc: "2.0",
    id: "a1",
    error: {
      code: -32603,
      message: "Internal error",
      data: { type: "about:blank", title: "Internal error", status: 500, call_id: "call_1" },
    },
  });
});

test("a limit that says no is a sentence in toolResult, and stands in the RateLimit fields in every mode", () => {
  const windows = { name: "polite:10/s", quota: 10, windowMs: 1_000, burst: 4, left: 0, resetMs: 40 };
  const places = { name: "polite:concurrent", quota: 8, windowMs: null, left: 3, resetMs: null };
  const refusal = { ...refuse("rate_limited", { limit_name: "polite", retry_after_ms: 1_200 }), quotas: [windows, places] };
  for (const mode of MODES) {
    const { headers } = replyOf(refusal, { ...CALL, mode });
    expect(headers["retry-after"]).toBe("2");
    expect(headers["ratelimit-policy"]).toBe('"polite:10/s";q=10;w=1;burst=4, "polite:concurrent";q=8;qu="concurrent-requests"');
    expect(headers.ratelimit).toBe('"polite:10/s";r=0;t=1, "polite:concurrent";r=3');
  }
  const said = JSON.parse(replyOf(refusal, { ...CALL, mode: "toolResult" }).body).result.content[0].text;
  expect(said).toBe(
    "Too many calls in too short a time (limit polite, again in 2 s). Wait as long as told (retry_after_ms) before the next call. [rate_limited, call_1]",
  );
});

/** Whatever an upstream does, the agent hears its row of the table, and the books know what may have run. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Outcome, OutcomeKind } from "../../src/call/forward/outcome.ts";
import type { Reason } from "../../src/refusal.ts";
import { type BadUpstream, type Misbehaviour, startBadUpstream } from "../fixtures/bad-upstream.ts";
import { request, send, upstreamAt } from "./http-client.ts";
import { KeptAnswer } from "./stdio-message.ts";

type Row = { readonly kind: OutcomeKind; readonly refused: Reason | null; readonly sent: boolean; readonly status?: number };

/** Sent, and nobody knows whether it ran: the whole hold is posted. */
const invalid: Row = { kind: "unknown", refused: "upstream_invalid", sent: true };
const broken: Row = { kind: "unknown", refused: "upstream_unreachable", sent: true };
const late: Row = { kind: "timeout", refused: "upstream_timeout", sent: true };
const tooLarge: Row = invalid;
const errorPage: Row = { kind: "http_error", refused: "upstream_invalid", sent: true };
const fine: Row = { kind: "result", refused: null, sent: true };

const TABLE: Readonly<Record<Misbehaviour, Row>> = {
  hang: late,
  "hang-after-head": late,
  "hang-after-progress": late,
  html: { ...invalid, status: 200 },
  "html-as-json": { ...invalid, status: 200 },
  "no-content": { ...invalid, status: 204 },
  empty: { ...invalid, status: 200 },
  redirect: { ...invalid, status: 302 },
  gzip: { ...invalid, status: 200 },
  "half-event": invalid,
  "half-event-reset": broken,
  "no-final-event": invalid,
  "truncated-json": invalid,
  "short-body": broken,
  "long-event": invalid,
  "endless-event": tooLarge,
  "huge-json": tooLarge,
  // Refused before anything ran: nothing is charged.
  unauthorized: { kind: "http_error", refused: "exchange_failed", sent: false, status: 401 },
  forbidden: { kind: "http_error", refused: "exchange_failed", sent: false, status: 403 },
  "not-found": { ...errorPage, status: 404 },
  "error-500": { ...errorPage, status: 500 },
  unavailable: { kind: "http_error", refused: null, sent: true, status: 503 },
  "too-many": { kind: "http_error", refused: null, sent: true, status: 429 },
  reset: broken,
  "reset-mid-body": broken,
  "duplicate-keys": invalid,
  "invalid-utf8": invalid,
  "wrong-id": invalid,
  batch: invalid,
  "event-after-final": fine,
  "two-finals": fine,
  "open-after-final": fine,
};

let bad: BadUpstream;
beforeAll(async () => {
  bad = await startBadUpstream();
});
afterAll(() => bad.close());

async function callOn(mode: Misbehaviour): Promise<{ outcome: Outcome; answer: KeptAnswer }> {
  const upstream = upstreamAt(bad.badUrl(mode), { timeoutMs: mode.startsWith("hang") ? 300 : 20_000 });
  const answer = new KeptAnswer();
  const outcome = await send(upstream, request("tools/call", { name: "echo", arguments: {} }), { answer });
  await upstream.close(0);
  return { outcome, answer };
}

for (const [mode, row] of Object.entries(TABLE) as [Misbehaviour, Row][]) {
  test(`${mode} gives ${row.refused ?? row.kind}, ${row.sent ? "sent" : "not sent"}`, async () => {
    const { outcome, answer } = await callOn(mode);
    expect({ kind: outcome.kind, refused: outcome.refusal?.refused ?? null, sent: outcome.sent }).toEqual({
      kind: row.kind,
      refused: row.refused,
      sent: row.sent,
    });
    if (row.status !== undefined) expect(outcome.status).toBe(row.status);
    // What refuses delivers nothing: no body of the upstream's, no result to digest, no text to count.
    if (row.refused !== null) expect([outcome.last, outcome.result, outcome.resultTexts]).toEqual([null, null, []]);
    expect(`${outcome.last} ${JSON.stringify(outcome.headers)} ${answer.pieces} ${JSON.stringify(outcome.refusal?.facts)}`).not.toMatch(
      /hunter2|secret-scope|upstream\.internal|It works/,
    );
    expect(bad.received.at(-1)?.body.toString()).toContain("tools/call");
  });
}

test("a redirect is never followed", () => {
  expect(bad.followed()).toBe(0);
});

test("busy upstreams say when to come back, and nothing else", async () => {
  for (const [mode, seconds] of [
    ["unavailable", "7"],
    ["too-many", "9"],
  ] as const) {
    const { outcome } = await callOn(mode);
    expect(outcome.headers).toEqual({ "retry-after": seconds });
    expect(outcome.last).toBeNull();
  }
});

test("the first of two results counts, and what comes after an answer is nobody's", async () => {
  const two = await callOn("two-finals");
  expect(two.outcome.resultTexts).toEqual(["first"]);
  expect(two.outcome.last?.toString()).not.toContain("second");
  const late = await callOn("event-after-final");
  expect(`${late.answer.pieces}${late.outcome.last}`).not.toContain("late");
});

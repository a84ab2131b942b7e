/** Whether a call is the retry of another one: by the key that its caller gave it, one call runs, and its retries hear of it. */
import { LRUCache } from "lru-cache";
import type { CallId, ServerName } from "../../ids.ts";
import { type FirstCall, isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import type { Permit } from "../authorize/permit.ts";
import type { Round } from "../budget/rounds.ts";
import type { Outcome } from "../forward/outcome.ts";
import { fingerprintText } from "./fingerprint.ts";
import type { KeyClaim, KnownKey, RetryKeys } from "./retry-key.ts";
import { rfc3339 } from "./rfc3339.ts";
import type { Story } from "./story.ts";

export type Retries = {
  /** Null: it is no retry. An outcome: what the call that it repeats was answered with. */
  admit(story: Story, agent: Agent, request: McpRequest, permit: Permit): Refusal | null | Promise<Refusal | Outcome | null>;
  /** The request as it goes to a server that understands keys: with one of ours, from which nobody reads the caller's. */
  shown(agent: Agent, request: McpRequest): McpRequest;
  /** Whether this key was brought before, so that the request will hardly run: `admit` knows whether it does. */
  repeats(agent: Agent, request: McpRequest): boolean;
  leave(story: Story): void;
};

export type RetryParts = {
  readonly keys: RetryKeys;
  /** 256 bits under a key of the gateway's own: what was digested cannot be guessed from it. */
  readonly digest: (text: string) => string;
  /** How long a key is kept. */
  readonly keepMs: number;
  /** Whether the server understands Idempotency-Key. */
  readonly understands: (server: ServerName) => boolean;
  /** Null: what was kept cannot be read any more. */
  readonly replay: (request: McpRequest, first: CallId, key: string, sealed: string) => Outcome | null;
  /** The request was refused before anything was held: it may come again. */
  readonly putBack: (round: Round) => void;
  readonly fault: (thrown: unknown) => void;
};

/** How soon it makes sense to ask again: most calls take less. */
const RETRY_MS = 1_000;
/** How long a person may take to answer a server's question, as rounds are remembered; about 400 bytes each. */
const WAITING_MS = 900_000;
const WAITING_MAX = 100_000;
/** Keys of calls that run or have ended, as far as this process remembers; about 100 bytes each. */
const SEEN_MAX = 100_000;

export function createRetries({ keys, digest, keepMs, understands, replay, putBack, fault }: RetryParts): Retries {
  /** Keys of calls whose server waits for input, by the id of the call: the round that brings it need not repeat the key. */
  const waiting = new LRUCache<string, string>({ max: WAITING_MAX, ttl: WAITING_MS });
  const seen = new Map<string, true>();
  const see = (key: string) => {
    if (seen.size >= SEEN_MAX) seen.clear();
    seen.set(key, true);
  };

  function claimOf({ profile, person }: Agent, request: McpRequest, { replayMs }: Permit, key: string): KeyClaim {
    const { callId, receivedAtMs } = request;
    return {
      key,
      fingerprint: digest(JSON.stringify(["call", key, fingerprintText(request)])),
      callId,
      agent: profile.id,
      subject: person === null ? null : digest(subjectText(profile.customer, person)),
      atMs: receivedAtMs,
      expiresMs: receivedAtMs + Math.max(keepMs, replayMs ?? 0),
      replayUntilMs: replayMs === null ? null : receivedAtMs + replayMs,
    };
  }

  async function begin(story: Story, request: McpRequest, claim: KeyClaim): Promise<Refusal | Outcome | null> {
    let begun: Awaited<ReturnType<RetryKeys["begin"]>>;
    try {
      begun = await keys.begin(claim);
    } catch (thrown) {
      fault(thrown);
      return refuse("store_unavailable", {}, "the keys of earlier calls cannot be read");
    }
    see(claim.key);
    if (begun.kind === "begun") {
      story.retry = claim;
      return null;
    }
    const callId = begun.kind === "ended" ? begun.known.callId : begun.callId;
    if (begun.kind === "mismatch") return refuse("idempotency_mismatch", {}, `the key is that of ${callId}`);
    story.round = { ...story.round, logicalCallId: callId };
    if (begun.kind === "in_flight") return refuse("idempotency_in_flight", { retry_after_ms: RETRY_MS }, `it repeats ${callId}`);
    const { known } = begun;
    const isKept = known.result !== null && known.replayUntilMs !== null && known.replayUntilMs > claim.atMs;
    const again = isKept && known.result !== null ? replay(request, callId, claim.key, known.result) : null;
    if (again === null) return refuse("idempotency_settled", { first_call: firstCall(known) }, `it repeats ${callId}`);
    story.note = `it repeats ${callId}, and was answered with what that was answered with`;
    return again;
  }

  return {
    admit(story, agent, request, permit) {
      if (request.course !== "metered") return null;
      const { idempotencyKey } = request;
      const own = idempotencyKey === null ? null : digest(keyText(agent, idempotencyKey));
      const key = own ?? (story.round.key === null ? undefined : waiting.get(story.round.logicalCallId));
      if (key === undefined) return null;
      const { round } = story;
      return begin(story, request, claimOf(agent, request, permit, key)).then((said) => {
        if (said !== null && isRefusal(said)) putBack(round);
        return said;
      });
    },
    shown(agent, request) {
      const { idempotencyKey, server } = request;
      if (idempotencyKey === null || !understands(server)) return request;
      // Servers often know agents by one credential: two agents' same key must not meet there.
      const key = digest(JSON.stringify(["shown", server, keyText(agent, idempotencyKey)]));
      return { ...request, forwarded: { ...request.forwarded, "idempotency-key": `"${key}"` } };
    },
    repeats: (agent, { course, idempotencyKey }) =>
      course === "metered" && idempotencyKey !== null && seen.has(digest(keyText(agent, idempotencyKey))),
    leave({ retry, round, outcome, settlement, refusal }) {
      if (retry === null) return;
      // What was not sent, and what waits for input, runs again under its key.
      if (settlement === null || settlement.state === "voided" || outcome?.kind === "input_required") seen.delete(retry.key);
      if (outcome?.kind === "input_required" && settlement?.state === "posted" && refusal === null)
        waiting.set(round.logicalCallId, retry.key);
      keys.end(retry);
    },
  };
}

/** The agent's and the person's for whom it calls: anybody else's same key is another one. A new token or a new instance changes nothing. */
function keyText({ profile, person }: Agent, key: string): string {
  return JSON.stringify(["key", profile.customer, profile.id, person, key]);
}

export function subjectText(customer: string, person: string): string {
  return JSON.stringify(["subject", customer, person]);
}

function firstCall({ callId, record, expiresMs, state }: KnownKey): FirstCall {
  const fate = state === "settled" && record?.settlement === "posted" ? "known" : "unknown";
  return { call_id: callId, fate, outcome: record?.outcome ?? null, usage: record?.usage ?? null, key_expires_at: rfc3339(expiresMs) };
}

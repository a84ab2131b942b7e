/** `/v1/me`: what an agent asks about itself with its own credential, answered from what it may know and nothing else. */
import type { Answer } from "../../call/accept/answer.ts";
import type { OwnQuestion } from "../../call/accept/own-question.ts";
import { BODY_BYTES_MAX } from "../../call/accept/read-body.ts";
import type { Agent } from "../../call/authenticate/agent.ts";
import { StoreUnavailable } from "../../call/record/journal.ts";
import type { Reader } from "../../call/record/reader.ts";
import type { ServerName } from "../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import { RegistryAway } from "../postgres.ts";
import { type AccessRequests, OPEN_MAX, requestPage } from "./access-requests.ts";
import { identityPage } from "./identity-page.ts";
import { isOwn, ownCallPage } from "./own-call.ts";
import { limitRowsOf } from "./paces.ts";
import { permittedTo } from "./permitted.ts";
import { readIntent, readWish } from "./posted.ts";
import { isInspected, type RehearseParts, rehearse } from "./rehearse.ts";
import { type Lent, lentRowsOf, sharesOf } from "./shares.ts";
import { remainingRow, verdictOf } from "./verdict.ts";

export type MeParts = RehearseParts & {
  /** The caller of any route of this gateway, by its Authorization header. */
  readonly authenticate: (authorization: string | null, nowMs: number) => Agent | Refusal | Promise<Agent | Refusal>;
  readonly reader: Pick<Reader, "ask">;
  readonly accessRequests: AccessRequests;
  /** Of the counters of limits. */
  readonly leftOf: Parameters<typeof limitRowsOf>[1];
  /** Parts of its budgets that an agent has handed on. */
  readonly lentBy: (agentId: string) => readonly Lent[];
  readonly fault: (thrown: unknown) => void;
};

export type Me = (question: OwnQuestion, answer: Answer, refuse: (refusal: Refusal) => void) => Promise<void>;

/** Of one agent at a time: each may read the journal or a server's list. */
export const IN_FLIGHT_MAX = 8;
/** Each is asked for in the ledger. */
const LENT_MAX = 100;
const LIMITS = { in_flight: IN_FLIGHT_MAX, access_requests_open: OPEN_MAX, body_bytes: BODY_BYTES_MAX };

type Page = { readonly status: 200 | 201; readonly json: object };

export function createMe(parts: MeParts): Me {
  const inFlight = new Map<string, number>();
  return async (question, answer, refuseRecorded) => {
    try {
      const agent = await parts.authenticate(question.authorization, question.receivedAtMs);
      // A credential that is not taken is recorded as on every other route; what follows reads, and is not.
      if (isRefusal(agent)) return refuseRecorded(agent);
      const { id } = agent.profile;
      const others = inFlight.get(id) ?? 0;
      if (others >= IN_FLIGHT_MAX) return answer.refuse(refuse("concurrency_limited", { limit: IN_FLIGHT_MAX, retry_after_ms: 1_000 }));
      inFlight.set(id, others + 1);
      try {
        const page = await PAGES[question.page](parts, agent, question);
        if (isRefusal(page)) answer.refuse(page);
        else send(answer, page);
      } finally {
        const left = (inFlight.get(id) ?? 1) - 1;
        if (left > 0) inFlight.set(id, left);
        else inFlight.delete(id);
      }
    } catch (thrown) {
      if (thrown instanceof StoreUnavailable || thrown instanceof RegistryAway) return answer.refuse(refuse("store_unavailable"));
      parts.fault(thrown);
      answer.fault();
    }
  };
}

function send(answer: Answer, { status, json }: Page): void {
  const body = Buffer.from(JSON.stringify(json));
  answer.head(status, { "content-type": "application/json", "content-length": String(body.length) });
  answer.last(body);
}

type Answering = (parts: MeParts, agent: Agent, question: OwnQuestion) => Promise<Page | Refusal>;

const PAGES: Readonly<Record<OwnQuestion["page"], Answering>> = {
  async identity({ policies, ledger, leftOf, lentBy, now }, agent) {
    const { policySet } = policies;
    const nowMs = now();
    const servers = permittedTo(policySet, agent, policySet.servers, nowMs);
    const shares = await sharesOf(policySet, ledger, agent, nowMs);
    const lent = await lentRowsOf(ledger, lentBy(agent.profile.id).slice(0, LENT_MAX), nowMs);
    return { status: 200, json: identityPage(agent, servers, shares, lent, limitRowsOf(policySet, leftOf, agent, nowMs), LIMITS) };
  },

  async call(parts, agent, { about }) {
    const found = /^call_/.test(about) ? await parts.reader.ask("record", about) : null;
    if (found === null || !isOwn(found.record, agent.profile.id)) return refuse("call_unknown");
    return { status: 200, json: ownCallPage(found.record, await needsOf(parts, agent, found.record)) };
  },

  async check(parts, agent, { body }) {
    const intent = readIntent(body);
    if (isRefusal(intent)) return intent;
    const rehearsal = await rehearse(parts, agent, intent);
    return { status: 200, json: { ...verdictOf(rehearsal.refusal, rehearsal.left), inspected: isInspected(rehearsal) } };
  },

  async "access-requests"({ accessRequests }, agent, { httpMethod, body }) {
    if (httpMethod === "GET") return { status: 200, json: { items: (await accessRequests.ofAgent(agent.profile.id)).map(requestPage) } };
    const wish = readWish(body);
    if (isRefusal(wish)) return wish;
    const row = await accessRequests.create(agent.profile, wish);
    return isRefusal(row) ? row : { status: 201, json: requestPage(row) };
  },
};

type Asked = { readonly reason: string | null; readonly server: string | null; readonly target: { kind: string; name: string } | null };

/** Judged anew, since the arguments of the call are not kept: which scopes it lacks, or what its budgets have left. */
async function needsOf(parts: MeParts, agent: Agent, { reason, server, target }: Asked): Promise<object | null> {
  const judged = reason === "scope_insufficient" || reason === "budget_exhausted" || reason === "budget_insufficient";
  if (!judged || server === null || target?.kind !== "tool") return null;
  const { refusal, left } = await rehearse(parts, agent, { server: server as ServerName, tool: target.name, argumentBytes: null });
  if (reason !== "scope_insufficient") return { budgets: left.map(remainingRow) };
  return refusal?.facts.scope === undefined ? null : { scope: refusal.facts.scope };
}

/** One HTTP upstream among several: each call of a view reaches it in an era that it speaks, in a session of the gateway's own. */
import { LRUCache } from "lru-cache";
import { isScanFault, member, scanJson } from "../../json.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { Era, McpRequest } from "../accept/request.ts";
import { beforeEnd, type Deadline, startDeadline } from "./deadline.ts";
import { forClient } from "./for-client.ts";
import { handshake, mention, onOurBehalf, type Session, speaksModern } from "./http-own-words.ts";
import type { HttpUpstreamOptions } from "./http-upstream.ts";
import type { Wire } from "./http-wire.ts";
import { sameId } from "./message.ts";
import { modernised, withinSession } from "./other-era.ts";
import type { Outcome } from "./outcome.ts";
import { accepted, ended, endedUnsent, notSent, unknownFate } from "./outcomes.ts";
import type { Crossing, ForwardJob, Upstream } from "./upstream.ts";

export type CrossingOptions = Pick<HttpUpstreamOptions, "name" | "timeoutMs" | "mono" | "reissue"> & { readonly wire: Wire };
type Forward = (job: ForwardJob) => Promise<Outcome>;
type Speaks = { readonly era: Era; readonly atMs: number };
type UnderWay = { readonly principal: string; readonly clientIdText: string; readonly cancel: () => void };

/** Requests of a server that one call answers: a flood of pings must not become a flood of POSTs. */
const ASKED_MAX = 100;
/** How long it counts that a server speaks an era: it may be replaced by a newer one. */
const ERA_FRESH_MS = 300_000;
/** MCP 2025-11-25 asks for 404; servers in the field say 400 as well. */
const FORGOTTEN: ReadonlySet<number> = new Set([400, 404]);
/** One a principal; beyond them the least recently used begins anew. */
const SESSIONS_MAX = 10_000;
/** Servers end idle sessions sooner or later: a later call begins a new one. */
const SESSION_IDLE_MS = 1_800_000;

export function createHttpCrossing(options: CrossingOptions, forward: Forward, define: Upstream["definition"]): Forward {
  const sessions = createOwnSessions(options);
  const speaks = new Map<Era, Speaks>();
  const underWay = new Map<string, UnderWay>();
  let lastId = 0;

  /** The client's own era where the server speaks it, else the other one. */
  async function eraFor(job: ForwardJob): Promise<Era | Refusal> {
    const wanted = job.request.era;
    const known = speaks.get(wanted);
    if (known !== undefined && options.mono() - known.atMs < ERA_FRESH_MS) return known.era;
    const modern = () => onOurBehalf(options.wire, job.issued, options.timeoutMs, reissueFor(options, job), speaksModern);
    const era = await (wanted === "modern"
      ? modernElseLegacy(modern, () => sessions.get(job))
      : legacyElseModern(modern, () => sessions.get(job)));
    if (!isRefusal(era)) speaks.set(wanted, { era, atMs: options.mono() });
    return era;
  }

  async function inSession(job: ForwardJob, session: Session): Promise<{ readonly outcome: Outcome; readonly lost: boolean }> {
    const { request, agent, issued, answer } = job;
    lastId += 1;
    // Several clients share the session: their own ids could be equal.
    const idText = String(lastId);
    const tell = (message: string) => mention(options.wire, issued, options.timeoutMs, session, message);
    const cancel = () => tell(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${idText}}}`);
    // What leaving means in the client's era has to be said in the server's.
    const leaves = request.era === "modern" ? answer.gone : null;
    leaves?.addEventListener("abort", cancel, { once: true });
    underWay.set(idText, { principal: agent.principal, clientIdText: request.idText ?? "null", cancel });
    try {
      const crossing = crossingFor(request, tell);
      const outcome = await forward({ ...job, request: withinSession(request, session, idText), crossing });
      // An error under our own id is the call's answer, whatever its status: what it answers is not sent again.
      const lost = session.id !== null && outcome.kind === "http_error" && FORGOTTEN.has(outcome.status ?? 0) && !crossing.answered;
      return { outcome, lost };
    } finally {
      leaves?.removeEventListener("abort", cancel);
      underWay.delete(idText);
    }
  }

  function cancelFor(request: McpRequest, principal: string): Outcome {
    const id = cancelledId(request);
    for (const call of underWay.values()) if (id !== null && call.principal === principal && sameId(call.clientIdText, id)) call.cancel();
    return accepted(202);
  }

  async function inLegacyEra(job: ForwardJob, prelude: Deadline): Promise<Outcome> {
    for (let attempt = 1; ; attempt++) {
      const session = await beforeEnd(prelude, sessions.get(job));
      // From the second attempt on the call has gone out once, whatever the server made of it.
      if (session === null) return attempt === 1 ? endedUnsent(prelude.ending ?? "timeout") : ended(prelude.ending ?? "timeout", 0);
      if (isRefusal(session)) return attempt === 1 ? notSent(session) : unknownFate(session, 0);
      const { outcome, lost } = await inSession(job, session);
      if (!lost) return backInLegacyEra(job.request, outcome);
      // To the client there is no session that it could begin anew.
      if (attempt === 2) {
        const facts = { upstream_status: outcome.status ?? 0 };
        return { ...outcome, refusal: refuse("upstream_invalid", facts, "it forgets every session") };
      }
      // The server has forgotten the session: nothing ran, and a new one serves.
      sessions.forget(job);
    }
  }

  return async (job) => {
    const { request, agent, answer, stopped } = job;
    if (request.course === "notification") return cancelFor(request, agent.principal);
    using prelude = startDeadline(options.timeoutMs, request.era === "modern" ? answer.gone : null, stopped);
    const era = await beforeEnd(prelude, eraFor(job));
    if (era === null) return endedUnsent(prelude.ending ?? "timeout");
    if (isRefusal(era)) return notSent(era);
    if (era === "legacy") return await inLegacyEra(job, prelude);
    if (request.era === "modern") return await forward(job);
    // Known since the tool was recognised; a tool whose list cannot be read now is sent without.
    const definition = request.target?.kind === "tool" ? await define(request.target.name, agent, job.issued) : null;
    const parameterHeaders = definition === null || isRefusal(definition) ? [] : definition.parameterHeaders;
    return backInLegacyEra(
      request,
      await forward({ ...job, request: modernised(request, parameterHeaders), crossing: crossingFor(request) }),
    );
  };
}

type OwnSessions = { get(job: ForwardJob): Promise<Session | Refusal>; forget(job: ForwardJob): void };

/** One session for each principal and credential, begun when it is first needed. */
function createOwnSessions(options: CrossingOptions): OwnSessions {
  const sessions = new LRUCache<string, Promise<Session | Refusal>>({ max: SESSIONS_MAX, ttl: SESSION_IDLE_MS, updateAgeOnGet: true });
  const keyOf = ({ agent, issued }: ForwardJob) => JSON.stringify([agent.principal, issued.shareKey]);
  return {
    get(job) {
      const key = keyOf(job);
      const known = sessions.get(key);
      if (known !== undefined) return known;
      const begun = onOurBehalf(options.wire, job.issued, options.timeoutMs, reissueFor(options, job), handshake);
      sessions.set(key, begun);
      void begun.then((session) => {
        if (isRefusal(session) && sessions.get(key) === begun) sessions.delete(key);
      });
      return begun;
    },
    forget: (job) => void sessions.delete(keyOf(job)),
  };
}

function reissueFor({ reissue, name }: CrossingOptions, { agent }: ForwardJob) {
  return (failed: ForwardJob["issued"]) => reissue(agent, name, failed);
}

async function modernElseLegacy(
  modern: () => Promise<boolean | Refusal>,
  session: () => Promise<Session | Refusal>,
): Promise<Era | Refusal> {
  const spoken = await modern();
  if (spoken === true) return "modern";
  if (isRefusal(spoken)) return spoken;
  const begun = await session();
  return isRefusal(begun) ? begun : "legacy";
}

async function legacyElseModern(
  modern: () => Promise<boolean | Refusal>,
  session: () => Promise<Session | Refusal>,
): Promise<Era | Refusal> {
  const begun = await session();
  if (!isRefusal(begun)) return "legacy";
  return (await modern()) === true ? "modern" : begun;
}

/** `tell` answers what a server asks on the stream: the session declared no capability, so nothing but a ping has a result. */
function crossingFor(request: McpRequest, tell: (message: string) => void = () => {}): Crossing & { readonly answered: boolean } {
  let answered = false;
  let asked = 0;
  return {
    clientEra: request.era,
    get answered() {
      return answered;
    },
    forClient(bytes, message) {
      answered ||= message.idText !== "null";
      return forClient(bytes, message, request);
    },
    onRequest(bytes, { root, method }) {
      asked += 1;
      if (asked > ASKED_MAX) return;
      const id = member(root, "id");
      const idText = id === undefined ? "null" : bytes.toString("utf8", id.start, id.end);
      const answer = method === "ping" ? '"result":{}' : '"error":{"code":-32601,"message":"Method not found"}';
      tell(`{"jsonrpc":"2.0","id":${idText},${answer}}`);
    },
  };
}

/** Up to 2025-11-25 a 404 ends a session, so an error comes with 200; and nobody there can answer an `input_required`. */
function backInLegacyEra({ era }: McpRequest, outcome: Outcome): Outcome {
  if (era === "modern") return outcome;
  if (outcome.kind === "input_required") {
    return { ...outcome, refusal: refuse("upstream_invalid", {}, "it asks for input that a client of this era cannot give") };
  }
  return outcome.kind === "http_error" && outcome.last !== null ? { ...outcome, status: 200 } : outcome;
}

/** The `requestId` of a cancellation as it stands in the body. */
function cancelledId({ method, body }: McpRequest): string | null {
  const root = method === "notifications/cancelled" ? scanJson(body, { treeDepth: 2 }) : null;
  const params = root === null || isScanFault(root) ? undefined : member(root, "params");
  const id = params === undefined ? undefined : member(params, "requestId");
  return id === undefined ? null : body.toString("utf8", id.start, id.end);
}

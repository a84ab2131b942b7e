/** Legacy sessions belong to the principal, the route and the backend that opened them: anyone else finds nothing there. */
import { LRUCache } from "lru-cache";
import type { CallId, ServerName } from "../../ids.ts";
import { malformed, type Refusal, refuse } from "../../refusal.ts";
import type { Seal } from "../../seal.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import { idKeyOf, idTagOf, tagged, untagged } from "./stream-tag.ts";
import { createUnderWay, type Settled, type UnderWayCall } from "./under-way.ts";

export type SessionRequest = Pick<McpRequest, "server" | "sessionId" | "idText">;
type CallRequest = SessionRequest & Pick<McpRequest, "callId">;
type Asking = SessionRequest & Pick<McpRequest, "callId" | "era" | "course">;
type Holder = Pick<Agent, "principal">;
type Route = Pick<McpRequest, "server" | "view">;
type Stream = Route & Pick<McpRequest, "sessionId" | "callId" | "idText" | "resumes">;

export type Sessions = {
  /** What the client holds in place of the server's own session id, which it never sees. Null: no server may mint such an id. */
  seal(agent: Holder, route: Route, sessionId: string): string | null;
  /** What the client is to know a server's event by, so that it resumes a stream of this session only. */
  eventId(agent: Holder, stream: Stream, eventId: string): string;
  /** The request with the server's own session id in place of the sealed one, and the server's own event id. */
  open(agent: Holder, request: McpRequest): McpRequest | Refusal;
  /** What was opened has come to its end, and what it came to is settled: its id may be used again in the session. */
  ended(principal: string, request: Asking, settled: Settled): void;
  /** The result of this request was not delivered, and its session could deliver it once more. */
  withhold(principal: string, request: CallRequest): void;
  /** Its stream was ended because more would have passed than was paid for: none of its session is resumed any more. */
  cut(principal: string, request: CallRequest): void;
  /** Whether what this request goes on with was cut. */
  isCut(principal: string, request: Pick<McpRequest, "server" | "sessionId" | "idText" | "resumes">): boolean;
  /** The call whose stream this request is, or goes on with. Null: it is not under way here. */
  underWay(request: Pick<McpRequest, "callId" | "idText" | "resumes">): UnderWayCall | null;
  /** Whether the result of this request comes on no other stream than its own. */
  isKept(request: Pick<McpRequest, "callId">): boolean;
  /** Whether a response must not come on this stream, which is not its request's: it was withheld, or nothing is settled yet. */
  isWithheld(principal: string, stream: SessionRequest & Pick<McpRequest, "resumes">, idText: string): boolean;
};

/** Visible ASCII (MCP 2025-11-25, Session Management); sealed, 4 KiB are 5.5 kB of the 16 KiB that a request's headers may have. */
const SESSION_ID = /^[!-~]{1,4096}$/;
const WITHHELD_MAX = 100_000;
/** A session nobody uses for a day is over. */
const IDLE_MS = 86_400_000;

export const CUT: Refusal = refuse("session_unknown", {}, "a stream of this session was over its budget: none is resumed");

export type SessionsOptions = {
  readonly seal: Seal;
  /** What stands behind each name: a server that is re-pointed elsewhere has ended its sessions. */
  readonly backends: ReadonlyMap<ServerName, string>;
  /**
   * Within what streams are resumed. Which results were withheld is known to this process alone: where a budget may withhold one,
   * this is random, so that neither another gateway nor a later start hands it out.
   */
  readonly epoch: () => string;
};

export function createSessions({ seal, backends, epoch }: SessionsOptions): Sessions {
  const holder = ({ principal }: Holder, { server, view }: Route) => JSON.stringify([principal, view, server, backends.get(server)]);
  const streamHolder = (agent: Holder, stream: Stream) => JSON.stringify([holder(agent, stream), stream.sessionId, epoch()]);
  // By the server's own id, which is one, however many seals of it there are.
  const withheld = new LRUCache<string, true>({ max: WITHHELD_MAX, ttl: IDLE_MS });
  // Ids are compared as values: an upstream may write one in another way.
  const resultKey = (principal: string, { server, sessionId }: SessionRequest, idText: string | null) =>
    JSON.stringify([server, sessionId, principal, idText === null ? null : idKeyOf(idText)]);
  const underWay = createUnderWay();
  // Without a session many calls have one id; each is known by its own.
  const withheldCalls = new LRUCache<CallId, true>({ max: WITHHELD_MAX, ttl: IDLE_MS });
  const cut = new LRUCache<string, true>({ max: WITHHELD_MAX, ttl: IDLE_MS });
  const sessionKey = (principal: string, { server, sessionId }: SessionRequest) => JSON.stringify([server, sessionId, principal]);
  const isCut: Sessions["isCut"] = (principal, request) =>
    cut.has(request.sessionId === null ? (request.resumes?.callId ?? "") : sessionKey(principal, request));
  const begun = (principal: string, request: McpRequest): McpRequest | Refusal => {
    if (!isAsking(request)) return request;
    const key = resultKey(principal, request, request.idText);
    // A server answers one of two equal ids; whoever waits for the other waits for ever.
    if (underWay.has(key) && request.sessionId !== null) return malformed(-32600, "an id that is under way in this session");
    underWay.begin(key, request.callId);
    return request;
  };
  return {
    seal: (agent, route, sessionId) => (SESSION_ID.test(sessionId) ? seal.seal("session", holder(agent, route), sessionId) : null),
    eventId(agent, stream, eventId) {
      const { idText, callId, resumes = null } = stream;
      return seal.mark(streamHolder(agent, stream), tagged(idText === null ? resumes : { callId, idTag: idTagOf(idText) }, eventId));
    },
    open(agent, request) {
      if (request.sessionId === null && request.lastEventId === null) return begun(agent.principal, request);
      const sessionId = request.sessionId === null ? null : seal.open("session", holder(agent, request), request.sessionId);
      if (sessionId === null && request.sessionId !== null) return refuse("session_unknown");
      const opened = { ...request, sessionId };
      if (request.lastEventId === null) return begun(agent.principal, opened);
      const marked = seal.unmark(streamHolder(agent, opened), request.lastEventId);
      const event = marked === null ? null : untagged(marked);
      if (event === null) return refuse("session_unknown", {}, "an event id of another stream");
      const { call, eventId } = event;
      const resuming = { ...opened, lastEventId: eventId, ...(call === null ? {} : { resumes: call }) };
      return isCut(agent.principal, resuming) ? CUT : begun(agent.principal, resuming);
    },
    ended(principal, request, settled) {
      if (!isAsking(request)) return;
      underWay.end(resultKey(principal, request, request.idText), request.callId, settled);
    },
    underWay(request) {
      const callId = callOf(request);
      return callId === null ? null : underWay.find(callId);
    },
    withhold(principal, request) {
      withheld.set(resultKey(principal, request, request.idText), true);
      withheldCalls.set(request.callId, true);
    },
    cut(principal, request) {
      cut.set(request.sessionId === null ? request.callId : sessionKey(principal, request), true);
    },
    isCut,
    isKept: ({ callId }) => withheldCalls.has(callId),
    isWithheld(principal, stream, idText) {
      const key = resultKey(principal, stream, idText);
      const { sessionId, resumes } = stream;
      if (sessionId !== null || resumes === undefined) return underWay.has(key) || withheld.has(key);
      // Without a session an id says little: the event that is resumed says of which call the answer is, and another's is not its.
      return withheldCalls.has(resumes.callId) || idTagOf(idText) !== resumes.idTag || underWay.isCounted(key);
    },
  };
}

/** Whose answer its stream is. */
function callOf({ idText, callId, resumes }: Pick<McpRequest, "callId" | "idText" | "resumes">): CallId | null {
  return idText === null ? (resumes?.callId ?? null) : callId;
}

/** A posted response carries the id of the server's own request; in 2026-07-28 nothing comes on another stream. */
function isAsking({ era, idText, course }: Asking): boolean {
  return era === "legacy" && idText !== null && course !== "response";
}

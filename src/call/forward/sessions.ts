/** Legacy sessions belong to the principal and the route that opened them: anyone else finds nothing there. */
import { LRUCache } from "lru-cache";
import type { ServerName } from "../../ids.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Outcome } from "./outcome.ts";

export type SessionRequest = Pick<McpRequest, "server" | "sessionId" | "idText">;

export type Sessions = {
  bind(sessionId: string, principal: string, server: ServerName): void;
  owns(sessionId: string, principal: string, server: ServerName): boolean;
  end(sessionId: string, principal: string, server: ServerName): void;
  /** The result of this request was not delivered, and its session could deliver it once more. */
  withhold(principal: string, request: SessionRequest): void;
  isWithheld(principal: string, stream: SessionRequest, idText: string): boolean;
  /** Binds what an answer opened, ends what a DELETE ended. */
  follow(
    principal: string,
    request: Pick<McpRequest, "course" | "sessionId" | "server">,
    outcome: Pick<Outcome, "kind" | "sessionId">,
  ): void;
};

const SESSIONS_MAX = 100_000;
/** About 20 MB of ids and principals: an upstream may mint ids of 16 kB. */
const CHARACTERS_MAX = 20_000_000;
/** A session nobody uses for a day is over. */
const IDLE_MS = 86_400_000;

export function createSessions(): Sessions {
  const owners = new LRUCache<string, string>({
    max: SESSIONS_MAX,
    maxSize: CHARACTERS_MAX,
    sizeCalculation: (principal, id) => principal.length + id.length,
    ttl: IDLE_MS,
    updateAgeOnGet: true,
  });
  const key = (sessionId: string, server: ServerName) => `${server} ${sessionId}`;
  const withheld = new LRUCache<string, true>({ max: SESSIONS_MAX, ttl: IDLE_MS });
  // Ids are compared as values: an upstream may write one in another way.
  const resultKey = (principal: string, { server, sessionId }: SessionRequest, idText: string | null) =>
    JSON.stringify([server, sessionId, principal, idText === null ? null : JSON.parse(idText)]);
  const sessions: Sessions = {
    bind(sessionId, principal, server) {
      // An upstream that mints one id for two clients must not hand the first client's session to the second.
      if (!owners.has(key(sessionId, server))) owners.set(key(sessionId, server), principal);
    },
    owns: (sessionId, principal, server) => owners.get(key(sessionId, server)) === principal,
    end(sessionId, principal, server) {
      if (owners.get(key(sessionId, server)) === principal) owners.delete(key(sessionId, server));
    },
    withhold(principal, request) {
      withheld.set(resultKey(principal, request, request.idText), true);
    },
    isWithheld: (principal, stream, idText) => withheld.has(resultKey(principal, stream, idText)),
    follow(principal, { course, sessionId, server }, outcome) {
      if (outcome.sessionId !== null) sessions.bind(outcome.sessionId, principal, server);
      if (course === "end" && sessionId !== null && outcome.kind === "accepted") sessions.end(sessionId, principal, server);
    },
  };
  return sessions;
}

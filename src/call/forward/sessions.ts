/** Legacy sessions belong to the principal and the route that opened them: anyone else finds nothing there. */
import { LRUCache } from "lru-cache";
import type { ServerName } from "../../ids.ts";

export type Sessions = {
  bind(sessionId: string, principal: string, server: ServerName): void;
  owns(sessionId: string, principal: string, server: ServerName): boolean;
  end(sessionId: string, principal: string, server: ServerName): void;
};

/** About 20 MB of ids and principals. */
const SESSIONS_MAX = 100_000;
/** A session nobody uses for a day is over. */
const IDLE_MS = 86_400_000;

export function createSessions(): Sessions {
  const owners = new LRUCache<string, string>({ max: SESSIONS_MAX, ttl: IDLE_MS, updateAgeOnGet: true });
  const key = (sessionId: string, server: ServerName) => `${server} ${sessionId}`;
  return {
    bind(sessionId, principal, server) {
      // An upstream that mints one id for two clients must not hand the first client's session to the second.
      if (!owners.has(key(sessionId, server))) owners.set(key(sessionId, server), principal);
    },
    owns: (sessionId, principal, server) => owners.get(key(sessionId, server)) === principal,
    end(sessionId, principal, server) {
      if (owners.get(key(sessionId, server)) === principal) owners.delete(key(sessionId, server));
    },
  };
}

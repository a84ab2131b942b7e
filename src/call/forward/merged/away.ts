/** Servers that did not answer a list in time are left alone for a while, for the principal that waited: no list waits for them again and again. */
import { LRUCache } from "lru-cache";
import type { ServerName } from "../../../ids.ts";
import type { Agent } from "../../authenticate/agent.ts";

export type Away = { has(server: ServerName, agent: Agent): boolean; add(server: ServerName, agent: Agent): void };

/** How long a server that was too slow for a list is left out of the next ones. */
const AWAY_MS = 30_000;
/** Pairs of a server and a principal: what an agent does to a server of its own concerns nobody else. */
const AWAY_MAX = 10_000;

export function createAway(mono: () => number): Away {
  const until = new LRUCache<string, number>({ max: AWAY_MAX });
  return {
    has: (server, { principal }) => (until.get(`${server} ${principal}`) ?? 0) > mono(),
    add: (server, { principal }) => void until.set(`${server} ${principal}`, mono() + AWAY_MS),
  };
}

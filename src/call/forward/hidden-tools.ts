/** What a list has hidden from whom, because it was not what counts: not listed, never callable, whatever the server tells the gateway itself. */
import { LRUCache } from "lru-cache";
import type { ServerName } from "../../ids.ts";
import type { Agent } from "../authenticate/agent.ts";

export type HiddenTools = {
  hide(agent: Agent, server: ServerName, tool: string, sha256: string): void;
  show(agent: Agent, server: ServerName, tool: string): void;
  /** Of the definition that was hidden last, hex; null: none was, or long ago. */
  hidden(agent: Agent, server: ServerName, tool: string): string | null;
};

/** A client that never lists again must not be shut out for ever by what its server has taken back: then the gateway's own reading counts. */
const HIDDEN_MS = 300_000;
const HIDDEN_MAX = 20_000;

export function createHiddenTools(): HiddenTools {
  const tools = new LRUCache<string, string>({ max: HIDDEN_MAX, ttl: HIDDEN_MS });
  const keyOf = ({ principal }: Agent, server: ServerName, tool: string) => JSON.stringify([server, tool, principal]);
  return {
    hide: (agent, server, tool, sha256) => void tools.set(keyOf(agent, server, tool), sha256),
    show: (agent, server, tool) => void tools.delete(keyOf(agent, server, tool)),
    hidden: (agent, server, tool) => tools.get(keyOf(agent, server, tool)) ?? null,
  };
}

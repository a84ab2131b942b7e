/** The streams that are open now, so that those of an agent can be ended as soon as it may no longer listen. */
import type { Agent } from "./call/authenticate/agent.ts";

export type OpenStreams = {
  /** Aborted when the stream must end; at once where all have been ended already. */
  open(callId: string, agent: Agent): AbortSignal;
  closed(callId: string): void;
  end(which: (agent: Agent) => boolean): void;
  /** When the gateway drains: those that open later end as well. */
  endAll(): void;
};

export function createOpenStreams(): OpenStreams {
  const streams = new Map<string, { readonly agent: Agent; readonly ending: AbortController }>();
  let over = false;
  const end: OpenStreams["end"] = (which) => {
    for (const { agent, ending } of streams.values()) if (which(agent)) ending.abort();
  };
  return {
    open(callId, agent) {
      const ending = new AbortController();
      if (over) ending.abort();
      streams.set(callId, { agent, ending });
      return ending.signal;
    },
    closed: (callId) => void streams.delete(callId),
    end,
    endAll() {
      over = true;
      end(() => true);
    },
  };
}

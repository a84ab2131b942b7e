/** The streams that are open now, so that those of an agent can be ended as soon as it may no longer listen. */
import type { Agent } from "./call/authenticate/agent.ts";

export type OpenStreams = {
  /** Aborted when the stream must end; at once where all have been ended already. */
  open(callId: string, agent: Agent, mayGoOn: () => boolean): AbortSignal;
  closed(callId: string): void;
  end(which: (agent: Agent) => boolean): void;
  /** Ends those that another set of policies would not let begin. */
  judgeAnew(): void;
  /** When the gateway drains: those that open later end as well. */
  endAll(): void;
};

export function createOpenStreams(): OpenStreams {
  const streams = new Map<string, { readonly agent: Agent; readonly mayGoOn: () => boolean; readonly ending: AbortController }>();
  let over = false;
  const end: OpenStreams["end"] = (which) => {
    for (const { agent, ending } of streams.values()) if (which(agent)) ending.abort();
  };
  return {
    open(callId, agent, mayGoOn) {
      const ending = new AbortController();
      if (over) ending.abort();
      streams.set(callId, { agent, mayGoOn, ending });
      return ending.signal;
    },
    closed: (callId) => void streams.delete(callId),
    end,
    judgeAnew() {
      for (const { mayGoOn, ending } of streams.values()) if (!mayGoOn()) ending.abort();
    },
    endAll() {
      over = true;
      end(() => true);
    },
  };
}

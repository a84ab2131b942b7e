/** How many calls each agent has made in the last minute, as it was when a call came. */

/** Seconds that are looked back over, each counted by itself. */
const SECONDS = 60;
/** Agents counted at once: 300 bytes each. Beyond it the one that has been silent longest begins anew. */
const AGENTS_MAX = 10_000;

export type CallRates = {
  /** A call has come; it counts itself. */
  note(agentId: string, callId: string, nowMs: number): void;
  /** Null: that call was not noted. */
  rateOf(callId: string): number | null;
  forget(callId: string): void;
};

type Recent = { readonly counts: Uint32Array; second: number };

export function createCallRates(): CallRates {
  const agents = new Map<string, Recent>();
  const rates = new Map<string, number>();
  return {
    note(agentId, callId, nowMs) {
      const recent = agents.get(agentId) ?? { counts: new Uint32Array(SECONDS), second: 0 };
      // What was noted last stands last: the first is who has been silent longest.
      agents.delete(agentId);
      agents.set(agentId, recent);
      const [oldest] = agents.keys();
      if (agents.size > AGENTS_MAX && oldest !== undefined) agents.delete(oldest);
      advance(recent, Math.floor(nowMs / 1_000));
      const at = recent.second % SECONDS;
      recent.counts[at] = (recent.counts[at] ?? 0) + 1;
      rates.set(
        callId,
        recent.counts.reduce((sum, count) => sum + count, 0),
      );
    },
    rateOf: (callId) => rates.get(callId) ?? null,
    forget: (callId) => void rates.delete(callId),
  };
}

/** A clock that goes back counts on in the second where it was. */
function advance(recent: Recent, second: number): void {
  for (let each = Math.max(recent.second + 1, second - SECONDS + 1); each <= second; each++) recent.counts[each % SECONDS] = 0;
  recent.second = Math.max(recent.second, second);
}

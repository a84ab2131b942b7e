/** Keeps the flood of one agent from the others without being told to: its calls at once have an end, and a storm of its refusals is answered slowly. */
import { LRUCache } from "lru-cache";
import type { CallId } from "../../ids.ts";
import type { Answer } from "../accept/answer.ts";

export type Crowds = {
  /** False: the agent has as many calls under way as one may have. */
  enter(agentId: string, callId: CallId): boolean;
  /** What never entered has nothing to leave. */
  leave(callId: CallId): void;
  /** Before another refusal is answered; null: at once. */
  hold(agentId: string, answer: Pick<Answer, "gone">): Promise<void> | null;
  /** Holds nothing any longer. */
  close(): void;
};

/** More than any client needs, and a small part of what one gateway carries. */
const CALLS_MAX = 1_024;
/** An agent that is refused more often within a second does not listen to its refusals. */
const REFUSALS_MAX = 50;
const SECOND_MS = 1_000;
/** Each of its connections then asks four times a second at most: measured with `npm run bench:flood`. */
const HOLD_MS = 250;
/** Held at once, of all agents: each keeps its request. Beyond it a refusal is answered at once. */
const HELD_MAX = 4_096;
/** Agents whose refusals are counted, 100 bytes each. */
const AGENTS_MAX = 10_000;

export function createCrowds(mono: () => number): Crowds {
  const underWay = new Map<string, number>();
  const entered = new Map<CallId, string>();
  const storms = new LRUCache<string, { sinceMs: number; refusals: number }>({ max: AGENTS_MAX });
  const holding = new Set<() => void>();
  let closed = false;
  return {
    enter(agentId, callId) {
      const others = underWay.get(agentId) ?? 0;
      if (others >= CALLS_MAX) return false;
      underWay.set(agentId, others + 1);
      entered.set(callId, agentId);
      return true;
    },
    leave(callId) {
      const agentId = entered.get(callId);
      if (agentId === undefined) return;
      entered.delete(callId);
      const left = (underWay.get(agentId) ?? 1) - 1;
      if (left > 0) underWay.set(agentId, left);
      else underWay.delete(agentId);
    },
    hold(agentId, answer) {
      const nowMs = mono();
      const known = storms.get(agentId);
      const storm = known !== undefined && nowMs - known.sinceMs < SECOND_MS ? known : { sinceMs: nowMs, refusals: 0 };
      storms.set(agentId, storm);
      storm.refusals += 1;
      if (storm.refusals <= REFUSALS_MAX || holding.size >= HELD_MAX || closed) return null;
      return new Promise((resolve) => {
        const { gone } = answer;
        const end = () => {
          clearTimeout(timer);
          gone.removeEventListener("abort", end);
          holding.delete(end);
          resolve();
        };
        const timer = setTimeout(end, HOLD_MS);
        gone.addEventListener("abort", end);
        holding.add(end);
        if (gone.aborted) end();
      });
    },
    close() {
      closed = true;
      for (const end of [...holding]) end();
    },
  };
}

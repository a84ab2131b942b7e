/** Tokens in memory: asked for once however many wait, kept until shortly before their end, gone at once with the agent they were for. */
import { LRUCache } from "lru-cache";
import type { AgentId } from "../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { IssuedToken } from "./issued-token.ts";

export type Obtained = { readonly issued: IssuedToken /** Milliseconds since the epoch. */; readonly untilMs: number };
type Answer = IssuedToken | Refusal;

export type KeptTokens = {
  /** `owner`: the agent that the token is for, or null where all agents share it. */
  get(key: string, owner: AgentId | null, obtain: () => Promise<Obtained | Refusal>): Answer | Promise<Answer>;
  /** True where `refused` was kept and is no longer. */
  drop(key: string, refused: IssuedToken): boolean;
  /** Everything that was obtained for the agent, and what is on its way. */
  forget(owner: AgentId): void;
};

/** Tokens and failures in memory; the least recently used goes first. */
const KEPT_MAX = 10_000;
/** Between a failure, here or at the upstream, and the next attempt: calls that fail must not become a storm at the authorization server. */
const BACK_OFF_MS = 1_000;

export function createKeptTokens(now: () => number): KeptTokens {
  const kept = new LRUCache<string, Obtained & { readonly owner: AgentId | null; readonly obtainedAtMs: number }>({ max: KEPT_MAX });
  const failed = new LRUCache<string, { readonly refusal: Refusal; readonly untilMs: number }>({ max: KEPT_MAX });
  const inFlight = new Map<string, { readonly flight: Flight; readonly answer: Promise<Answer> }>();

  async function take(key: string, owner: AgentId | null, flight: Flight, obtain: () => Promise<Obtained | Refusal>): Promise<Answer> {
    try {
      const obtained = await obtain();
      if (flight.forgotten) return refuse("exchange_failed", {}, "the agent was stopped meanwhile");
      const nowMs = now();
      if (isRefusal(obtained)) {
        failed.set(key, { refusal: obtained, untilMs: nowMs + BACK_OFF_MS });
        return obtained;
      }
      if (nowMs < obtained.untilMs) kept.set(key, { ...obtained, owner, obtainedAtMs: nowMs });
      return obtained.issued;
    } finally {
      if (inFlight.get(key)?.flight === flight) inFlight.delete(key);
    }
  }

  return {
    get(key, owner, obtain) {
      const nowMs = now();
      const known = kept.get(key);
      if (known !== undefined && nowMs < known.untilMs) return known.issued;
      const failure = failed.get(key);
      if (failure !== undefined && nowMs < failure.untilMs) return failure.refusal;
      const running = inFlight.get(key);
      if (running !== undefined) return running.answer;
      const flight: Flight = { owner, forgotten: false };
      const answer = take(key, owner, flight, obtain);
      inFlight.set(key, { flight, answer });
      return answer;
    },
    drop(key, refused) {
      const known = kept.get(key);
      // An upstream that refuses even a token of this second refuses them all; a new one for each call would be a storm.
      if (known?.issued !== refused || now() - known.obtainedAtMs < BACK_OFF_MS) return false;
      return kept.delete(key);
    },
    forget(owner) {
      for (const [key, each] of kept.entries()) if (each.owner === owner) kept.delete(key);
      for (const [key, { flight }] of inFlight) {
        if (flight.owner !== owner) continue;
        flight.forgotten = true;
        inFlight.delete(key);
      }
    },
  };
}

type Flight = { readonly owner: AgentId | null; forgotten: boolean };

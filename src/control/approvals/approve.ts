/** The place in the life of a call where a person says yes: the question is made, found again, or its one use taken. */
import { LRUCache } from "lru-cache";
import { argumentsOf, type McpRequest } from "../../call/accept/request.ts";
import type { Agent } from "../../call/authenticate/agent.ts";
import { noteOfRef } from "../../call/authorize/decide.ts";
import type { Approval, ApprovalLine, Approved, Permit, Unapproved } from "../../call/authorize/permit.ts";
import type { Amounts, Ledger } from "../../call/budget/reservation.ts";
import type { Round } from "../../call/budget/rounds.ts";
import type { Outcome } from "../../call/forward/outcome.ts";
import type { Scribe } from "../../call/record/compose.ts";
import type { Story } from "../../call/record/story.ts";
import type { Steps } from "../../call/steps.ts";
import type { CallId } from "../../ids.ts";
import { isRefusal, type Refusal, type RuleRef, refuse } from "../../refusal.ts";
import type { Seal } from "../../seal.ts";
import { RegistryAway } from "../postgres.ts";
import type { ApprovalRow } from "../tables.ts";
import { type Approvals, PENDING_MAX } from "./approvals.ts";
import { askedCallOf } from "./asked-call.ts";
import { questionTo, type Reaction, reactionIn, takesQuestions, withoutReaction } from "./round-trip.ts";

export type ApproveParts = {
  readonly approvals: Approvals;
  readonly seal: Seal;
  readonly ledger: Pick<Ledger, "weigh">;
  /** What the call would hold. */
  readonly reserve: (permit: Permit, request: McpRequest, round: Round) => Amounts | Refusal;
  readonly scribe: Pick<Scribe, "digest">;
  /** The request was refused before anything was held: it may come again. */
  readonly putBack: (round: Round) => void;
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
};

export type Approving = Pick<Steps, "approve" | "leave"> & {
  /** Where nothing was sent, the yes is given back before the client hears of it and calls again. */
  unlessSent(callId: CallId, forwarding: Promise<Outcome>): Promise<Outcome>;
};

type Asking = {
  readonly agent: Agent;
  readonly request: McpRequest;
  readonly permit: Permit;
  readonly approval: Approval;
  readonly reaction: Reaction | null;
};

/** How soon it makes sense to ask again: a person reads and decides meanwhile. */
const RETRY_MS = 5_000;
/** Approved calls whose server may still ask for input: ten rounds of 15 minutes, as rounds are remembered. */
const ROUNDS_MS = 9_000_000;
const ROUNDS_KEPT = 10_000;
/** A yes that others take first, so often in a row, is not waited for. */
const TRIES_MAX = 5;

export function createApproving({ approvals, seal, ledger, reserve, scribe, putBack, now, fault }: ApproveParts): Approving {
  const uses = new Map<CallId, string>();
  const underWay = new LRUCache<string, ApprovalLine>({ max: ROUNDS_KEPT, ttl: ROUNDS_MS });

  async function judge(asking: Asking, round: Round): Promise<Approved | Unapproved> {
    const { agent, request, permit, approval, reaction } = asking;
    const amounts = reserve(permit, request, round);
    if (isRefusal(amounts)) return amounts;
    // What the budgets cannot carry, nobody is asked about.
    const { refusal } = await ledger.weigh(permit.draws, amounts, now());
    if (refusal !== null) return refusal;
    const asked = askedCallOf(agent, request, permit.rule, approval, reaction !== null);
    if (reaction?.declined === true && reaction.approvalId !== null) {
      await approvals.withdraw(reaction.approvalId, asked.fingerprint, agent.profile.id);
      const row = await approvals.find(reaction.approvalId);
      if (row?.fingerprint === asked.fingerprint) return denied(row, permit.rule, now());
    }
    for (let i = 0; i < TRIES_MAX; i++) {
      const row = (await approvals.standing(asked.fingerprint)) ?? (await ask(asking, asked));
      if (row === null) return refuse("concurrency_limited", { limit: PENDING_MAX, retry_after_ms: RETRY_MS }, FULL, permit.rule);
      if (row.state === "pending") return pending(asking, row);
      if (row.state !== "approved") return denied(row, permit.rule, now());
      if (await approvals.use(row.id, request.callId)) return take(row, request, reaction, round);
    }
    return refuse("overloaded", { retry_after_ms: RETRY_MS }, "others took each yes first", permit.rule);
  }

  function ask({ agent, request, permit, approval }: Asking, asked: ReturnType<typeof askedCallOf>): Promise<ApprovalRow | null> {
    return approvals.ask({
      ...asked,
      profile: agent.profile,
      callId: request.callId,
      rule: permit.rule,
      approvers: approval.by,
      withinMs: approval.withinMs,
      argumentsHmac: scribe.digest(agent, argumentsOf(request)).hmac,
    });
  }

  function take(row: ApprovalRow, request: McpRequest, reaction: Reaction | null, round: Round): Approved {
    const line = lineOf(row);
    uses.set(request.callId, row.id);
    underWay.set(round.logicalCallId, line);
    return { request: reaction === null ? request : withoutReaction(request), approval: line };
  }

  function pending({ agent, request, permit, reaction }: Asking, row: ApprovalRow): Unapproved {
    const retry_after_ms = Math.max(1, Math.min(RETRY_MS, row.expires_ms - now()));
    const refusal = refuse("approval_required", { approval_id: row.id, retry_after_ms }, noteOfRef(permit.rule), permit.rule);
    // Asked once: whoever continues too early is told so, and a server's own question is not replaced by ours.
    const isNew = request.followUp === null || (reaction !== null && reaction.approvalId !== row.id);
    const question = isNew && takesQuestions(request) ? { question: questionTo(seal, agent.principal, row.target, row.id) } : {};
    return { ...refusal, ...question, approval: lineOf(row) };
  }

  async function giveBack(callId: CallId): Promise<void> {
    const id = uses.get(callId);
    uses.delete(callId);
    // Where that fails the yes counts as used, and the next call asks anew.
    if (id !== undefined) await approvals.giveBack(id, callId).catch((thrown) => thrown instanceof RegistryAway || fault(thrown));
  }

  return {
    approve(agent, request, permit, round) {
      // A round that a server asked for brings what that server gave, which may look like ours where it is a gateway too.
      const reaction = round.key === null ? reactionIn(seal, agent.principal, request) : null;
      const { approval } = permit;
      if (approval === null) return { request: reaction === null ? request : withoutReaction(request), approval: null };
      const before = round.key === null ? undefined : underWay.get(round.logicalCallId);
      if (before !== undefined) return { request, approval: before };
      return judge({ agent, request, permit, approval, reaction }, round)
        .catch((thrown: unknown) => {
          if (thrown instanceof RegistryAway) return refuse("store_unavailable", {}, thrown.message);
          throw thrown;
        })
        .then((said) => {
          if ("refused" in said) putBack(round);
          return said;
        });
    },
    leave(story) {
      const { callId } = story.opening;
      if (!uses.has(callId)) return undefined;
      if (!wasSpent(story)) return giveBack(callId);
      uses.delete(callId);
      return undefined;
    },
    unlessSent(callId, forwarding) {
      if (!uses.has(callId)) return forwarding;
      return forwarding.then(async (outcome) => {
        if (!outcome.sent) await giveBack(callId);
        return outcome;
      });
    },
  };
}

const FULL = `${PENDING_MAX} calls of this agent wait for a person`;

/** True as well where nobody knows: then it counts as used. */
function wasSpent({ reservation, settlement, issued, outcome }: Story): boolean {
  if (reservation !== null) return settlement !== null && settlement.state !== "voided";
  return outcome === null ? issued !== null : outcome.sent;
}

function denied(row: ApprovalRow, rule: RuleRef | null, nowMs: number): Unapproved {
  const facts = { approval_id: row.id, retry_after_ms: Math.max(1, row.expires_ms - nowMs) };
  return { ...refuse("approval_denied", facts, noteOfRef(rule), rule), approval: lineOf(row) };
}

function lineOf({ id, state, decided_by, decided_reason, decided_at }: ApprovalRow): ApprovalLine {
  return { id, state, by: decided_by, reason: decided_reason, decided_at };
}

/** The decision without the call: what a call would hear now, from policy, budgets and the server's own list. Nothing is held or forwarded. */
import type { Agent } from "../../call/authenticate/agent.ts";
import type { PolicySet } from "../../call/authorize/candidates.ts";
import type { Asked } from "../../call/authorize/circumstances.ts";
import { decide } from "../../call/authorize/decide.ts";
import type { Permit } from "../../call/authorize/permit.ts";
import type { Amounts, Ledger, Left } from "../../call/budget/reservation.ts";
import type { Definition } from "../../call/forward/upstream.ts";
import type { ServerName } from "../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";

/** `tool` null: the server as a whole. `argumentBytes`: JSON of an object, as a call would send it. */
export type Intent = { readonly server: ServerName; readonly tool: string | null; readonly argumentBytes: Buffer | null };

export type Rehearsal = { readonly permit: Permit | null; readonly refusal: Refusal | null; readonly left: readonly Left[] };

/** Guards look at calls only: nothing is sent to them for a question. True where they would look, and may still refuse. */
export function isInspected({ permit }: Rehearsal): boolean {
  return permit !== null && permit.guards.length > 0;
}

export type RehearseParts = {
  readonly policies: { readonly policySet: PolicySet };
  readonly ledger: Pick<Ledger, "weigh">;
  /** What the call would hold. */
  readonly reserve: (permit: Permit, asked: Asked, round: { readonly calls: 1; readonly task: null }) => Amounts | Refusal;
  /** The tool as its server lists it for this agent; null: the server has no such tool. */
  readonly define: (agent: Agent, server: ServerName, tool: string) => Promise<Definition | null | Refusal>;
  /** False while nothing can be recorded: no call is made then. */
  readonly available: () => boolean;
  readonly now: () => number;
};

const NOTHING = Buffer.alloc(0);
const ONCE = { calls: 1, task: null } as const;

/** In the order of a call, so that the first no is the one that a call would hear. */
export async function rehearse(parts: RehearseParts, agent: Agent, { server, tool, argumentBytes }: Intent): Promise<Rehearsal> {
  if (!parts.available()) return { permit: null, refusal: refuse("store_unavailable"), left: [] };
  const nowMs = parts.now();
  const permit = decide(parts.policies.policySet, agent, askedFor(server, tool, argumentBytes), nowMs);
  if (isRefusal(permit)) return { permit: null, refusal: permit, left: [] };
  if (tool === null) return { permit, refusal: null, left: [] };
  const amounts = parts.reserve(permit, askedFor(server, tool, argumentBytes), ONCE);
  if (isRefusal(amounts)) return { permit, refusal: amounts, left: [] };
  const { refusal, left } = await parts.ledger.weigh(permit.draws, amounts, nowMs);
  if (refusal !== null) return { permit, refusal, left };
  if (permit.approval !== null) return { permit, refusal: refuse("approval_required"), left };
  const definition = await parts.define(agent, server, tool);
  if (isRefusal(definition)) return { permit, refusal: definition, left };
  // The server has been read by now, if it had not been before.
  const again =
    parts.policies.policySet.pinned.length === 0
      ? permit
      : decide(parts.policies.policySet, agent, askedFor(server, tool, argumentBytes), nowMs);
  if (isRefusal(again)) return { permit: null, refusal: again, left: [] };
  return definition === null ? { permit: null, refusal: refuse("tool_unknown"), left: [] } : { permit, refusal: null, left };
}

export function askedFor(server: ServerName, tool: string | null, argumentBytes: Buffer | null): Asked {
  const body = argumentBytes ?? NOTHING;
  const argumentsSpan = argumentBytes === null ? null : { start: 0, end: body.length };
  return tool === null
    ? { server, course: "handshake", method: "ping", target: null, body, argumentsSpan }
    : { server, course: "metered", method: "tools/call", target: { kind: "tool", name: tool }, body, argumentsSpan };
}

/** What calls wait for: shown to whoever may see calls, decided by whom the rule names. */
import { z } from "zod";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { iso } from "../agents/profiles.ts";
import type { Approvals } from "../approvals/approvals.ts";
import { approversOf, mayDecide, ruleOf } from "../approvals/approvers.ts";
import type { ApprovalRow } from "../tables.ts";
import { isTheirs } from "./permissions.ts";
import { type Answer, type Caller, NOT_THERE, pageOf, type Route, route } from "./route.ts";

export type ApprovalRoutesParts = {
  readonly approvals: Approvals;
  readonly agentById: (id: string) => AgentProfile | undefined;
  /** The address of the page where this caller, and whoever else has it, decides this one. */
  readonly linkFor: (approvalId: string, by: string) => string;
  readonly now: () => number;
};

const PAGE_MAX = 1_000;
const STATES = ["pending", "approved", "denied", "expired"] as const;
export const REASON_CHARACTERS_MAX = 512;
const reasoned = z.strictObject({
  reason: z.string().trim().min(1).max(REASON_CHARACTERS_MAX).describe("Why; it stands in the record of the call."),
});

export function approvalRoutes({ approvals, agentById, linkFor, now }: ApprovalRoutesParts): readonly Route[] {
  const shown = (row: ApprovalRow, caller: Caller) => {
    const mayNow = row.state === "pending" && row.expires_ms > now() && mayDecide(row, caller);
    return { ...approvalJson(row, agentById(row.agent_id)), may_decide: mayNow, link: mayNow ? linkFor(row.id, caller.name) : null };
  };
  const mine = async (caller: Caller, id = ""): Promise<ApprovalRow | null> => {
    const row = await approvals.find(id);
    return row === undefined || !isTheirs(caller, row.customer) ? null : row;
  };
  const decide = (state: "approved" | "denied"): Route =>
    route({
      method: "POST",
      path: state === "approved" ? "/approvals/:id/approve" : "/approvals/:id/deny",
      // The rule names who decides, also where that key may do nothing else.
      permission: null,
      summary: state === "approved" ? "Approves a call: the same call then goes through once." : "Denies a call.",
      body: reasoned,
      async answer({ caller, params, body }): Promise<Answer> {
        const known = await mine(caller, params.id);
        if (known === null) return NOT_THERE;
        if (!mayDecide(known, caller)) return { status: 403, detail: `this is decided by ${approversOf(known).join(" or ")}` };
        const answer = await approvals.decide(known.id, { state, reason: body.reason, by: caller.name, via: "api" });
        if (answer === null) return NOT_THERE;
        return answer.stands
          ? { status: 200, json: shown(answer.row, caller) }
          : { status: 409, detail: `it was ${answer.row.state} before` };
      },
    });
  return [
    route({
      method: "GET",
      path: "/approvals",
      permission: "approvals:read",
      summary: "Lists what calls wait for, the oldest first. state: pending, approved, denied or expired.",
      body: null,
      async answer({ caller, query }) {
        const { state = null } = query;
        if (state !== null && !isState(state)) return { status: 400, detail: `state: there is ${STATES.join(", ")}` };
        const { limit, after } = pageOf(query, PAGE_MAX);
        const rows = await approvals.list({ customer: caller.customer, state, after, limit: limit + 1 });
        const items = rows.slice(0, limit);
        const next_cursor = rows.length > limit ? (items.at(-1)?.id ?? null) : null;
        return { status: 200, json: { items: items.map((row) => shown(row, caller)), next_cursor } };
      },
    }),
    route({
      method: "GET",
      path: "/approvals/:id",
      permission: "approvals:read",
      summary: "Shows one.",
      body: null,
      async answer({ caller, params }) {
        const row = await mine(caller, params.id);
        return row === null ? NOT_THERE : { status: 200, json: shown(row, caller) };
      },
    }),
    decide("approved"),
    decide("denied"),
  ];
}

function isState(written: string): written is ApprovalRow["state"] {
  return STATES.some((state) => state === written);
}

function approvalJson(row: ApprovalRow, profile: AgentProfile | undefined) {
  const { id, state, customer, target, call_id, created_at, decided_at, decided_by, decided_reason, used_by } = row;
  const { name = null, owner = null, purpose = null, team = null } = profile ?? {};
  return {
    ...{ id, state, target, call_id, created_at },
    agent: { id: row.agent_id, name, owner, purpose, team, customer },
    // As text: a number that no double holds survives it. Null: decided, or larger than is shown.
    arguments: row.arguments,
    arguments_bytes: row.arguments_bytes,
    arguments_sha256: row.arguments_sha256,
    rule: ruleOf(row),
    approvers: approversOf(row),
    expires_at: iso(row.expires_ms),
    ...{ decided_at, decided_by, decided_reason, used_by },
  };
}

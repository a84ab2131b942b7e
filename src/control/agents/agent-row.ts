/** An agent's row in the registry: what may stand in it, and how it is found within a change. */
import type { AgentKind, RiskClass } from "../../call/authenticate/agent.ts";
import type { AgentId } from "../../ids.ts";
import type { AgentRow } from "../tables.ts";
import type { Writing } from "../writing.ts";
import { iso } from "./profiles.ts";
import type { RegistryFault } from "./registry.ts";

export type AgentAttributes = {
  readonly owner?: string | undefined;
  readonly purpose?: string | undefined;
  readonly customer?: string | undefined;
  readonly team?: string | null | undefined;
  readonly workflow?: string | null | undefined;
  readonly kind?: AgentKind | undefined;
  readonly riskClass?: RiskClass | undefined;
};

/** Names are matched by policies and shown to people; `agt_` is reserved, since policies match id or name. */
const NAME = /^(?!agt_)[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/;
const TEXT_MAX = 512;

export async function find(writing: Writing, idOrName: string): Promise<AgentRow | undefined> {
  const byId = await writing.db
    .selectFrom("agent")
    .selectAll()
    .where("id", "=", idOrName as AgentId)
    .executeTakeFirst();
  return byId ?? (await rowByName(writing, idOrName));
}

export async function rowByName({ db }: Writing, name: string): Promise<AgentRow | undefined> {
  return await db.selectFrom("agent").selectAll().where("name", "=", name).executeTakeFirst();
}

/** Null: free for this agent, or for a new one where `id` is null. Names are never given again: policies, budgets and records may still mean the first by it. */
export async function takenFault(writing: Writing, name: string, id: AgentId | null): Promise<RegistryFault | null> {
  const row = await rowByName(writing, name);
  if (row !== undefined && row.id !== id) return { fault: "conflict", detail: `an agent is named ${name} already` };
  const former = await writing.db.selectFrom("former_name").select("agent_id").where("name", "=", name).executeTakeFirst();
  if (former === undefined || former.agent_id === id) return null;
  return { fault: "conflict", detail: `an agent was named ${name} once, and no other is ever named so` };
}

export function absent(idOrName: string): RegistryFault {
  return { fault: "absent", detail: `there is no agent ${idOrName}` };
}

export function declaredFault(name: string): RegistryFault {
  return { fault: "conflict", detail: `a policy file declares ${name} and owns its attributes: change them there` };
}

export function faultOfName(name: string): string | null {
  return NAME.test(name) ? null : "name: 1 to 128 of letters, digits, . _ @ -, and not beginning with agt_";
}

export function faultOf({ owner, purpose, customer, team, workflow }: AgentAttributes): string | null {
  const texts = [owner, purpose, customer, team, workflow];
  const wrong = texts.some((text) => typeof text === "string" && (text.trim() === "" || text.length > TEXT_MAX || /\p{Cc}/u.test(text)));
  return wrong ? `owner, purpose, customer, team and workflow have 1 to ${TEXT_MAX} characters, no control characters` : null;
}

/** What the file owns cannot be said here. */
export function onlyDeclared(agent: AgentAttributes & { readonly name: string }, known: AgentRow): RegistryFault | null {
  const { name: _, ...said } = columnsOf(agent);
  const differs = Object.entries(said).some(([column, value]) => value !== undefined && value !== known[column as keyof AgentRow]);
  return differs ? declaredFault(agent.name) : null;
}

/** Only what was said. */
export function columnsOf(to: AgentAttributes & { readonly name?: string | undefined }): Partial<AgentRow> {
  const { name, kind, customer, team, workflow, owner, purpose, riskClass } = to;
  const columns = { name, kind, customer, team, workflow, owner, purpose, risk_class: riskClass };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}

/** Nobody is left without somebody who answers for it: the customer's owner, or else whoever has registered it. */
export function newRow(
  agent: AgentAttributes & { readonly name: string },
  id: AgentId,
  customerOwner: string | null,
  by: string,
  nowMs: number,
): AgentRow {
  return {
    id,
    name: agent.name,
    kind: agent.kind ?? "autonomous",
    state: "active",
    state_cause: null,
    customer: agent.customer ?? "default",
    team: agent.team ?? null,
    workflow: agent.workflow ?? null,
    owner: agent.owner ?? customerOwner ?? by,
    purpose: agent.purpose ?? `not stated; registered by ${by}`,
    risk_class: agent.riskClass ?? "unclassified",
    declared: 0,
    issuer: null,
    issuer_name: null,
    created_at: iso(nowMs),
    created_by: by,
  };
}

export function detailsOf(row: AgentRow): Record<string, string | null> {
  const { id, name, kind, customer, team, workflow, owner, purpose, risk_class } = row;
  return { agent_id: id, agent: name, kind, customer, team, workflow, owner, purpose, risk_class };
}

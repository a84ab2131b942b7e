/** Pure. Whose usage a reported event is, as budgets ask it. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import type { ReportedUse } from "../../call/authorize/reported-draws.ts";
import type { StoredEvent } from "../../call/record/event-query.ts";
import { SETTLED } from "../../call/record/event-types.ts";

/** One for each meter. None of a call's event: what a call has drawn is given back on the budget itself. */
export function usesOf(event: StoredEvent, meters: readonly string[], find: (id: string) => AgentProfile | undefined): ReportedUse[] {
  if (event.type === SETTLED) return [];
  const text = (member: string) => (typeof event.data[member] === "string" ? event.data[member] : null);
  const [agentId, agentName] = [text("agent_id") ?? "", text("agent") ?? ""];
  const [team, workflow, instance, server, tool] = ["team", "workflow", "instance", "server", "tool"].map(text);
  const where = { team: team ?? null, workflow: workflow ?? null, instance: instance ?? null, server: server ?? null, tool: tool ?? null };
  return meters.map((meter) => ({ ...where, agentId, agentName, customer: event.subject, kind: find(agentId)?.kind ?? "", meter }));
}
